//! A chain behind a node: any Substrate chain with `pallet-contracts`, over WebSocket.
//!
//! All that differs between chains is read from their metadata. What is read is, by default, the
//! latest *final* block: it may lag a few blocks behind, which costs time and nothing else, since
//! a move names the position that it answers and is refused when the position has changed. The
//! best block would lag less but can be undone, and a worker would act on what never happened.

mod any;
mod dry_run;
mod effects;
mod link;
mod network;
mod nonces;
mod pool;
mod reason;
mod rotation;
mod runtime;
#[cfg(test)]
mod sandbox;
mod sending;
mod transaction;

use super::{Balance, Call, Chain, Error, Estimate, Event, Funds, Limits, Now, Receipt, Weight};
use crate::keys::{address, Account, Signer};
use dry_run::{Code, Failure, Trial};
use effects::Effects;
use link::Link;
use lockstep_protocol::Hash;
use network::Network;
use nonces::Accounts;
use scale::Encode;
use sending::Included;
use sp_core::hashing::blake2_256;
use std::future::Future;
use std::num::NonZero;
use std::time::Duration;
use subxt::utils::H256;

/// Which block is read, and in which a transaction must be before its sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finality {
    /// The latest that will not be undone.
    Final,
    /// The latest. For test chains: what was read or done may be undone.
    Best,
}

/// How a node is talked to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which block counts.
    pub finality: Finality,
    /// The hash of the network's first block; `None` takes the network of the first endpoint
    /// that answers.
    pub genesis: Option<Hash>,
    /// How long it may take until some endpoint says which network it is on.
    pub connecting: Duration,
    /// How long one answer of one endpoint may take.
    pub request: Duration,
    /// How long a question may take, with reconnections and other endpoints.
    pub patience: Duration,
    /// How long a transaction is waited for.
    pub inclusion: Duration,
    /// Between two looks for a transaction.
    pub poll: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            finality: Finality::Final,
            genesis: None,
            connecting: Duration::from_secs(10),
            request: Duration::from_secs(15),
            patience: Duration::from_secs(60),
            inclusion: Duration::from_secs(600),
            poll: Duration::from_millis(300),
        }
    }
}

/// A chain behind one or several nodes.
pub struct Node {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

struct Client {
    network: Network,
    accounts: Accounts,
    options: Options,
}

impl Node {
    /// Connects to the first of `urls` (`ws://` or `wss://`) that answers; the others take over
    /// when it fails. All must be on one network, and the network must run contracts.
    ///
    /// # Errors
    /// When no endpoint answers, one is on another network, or the chain is not understood.
    pub fn connect(urls: &[String], options: Options) -> Result<Node, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|source| Error::Io {
                path: "threads for the connection".into(),
                source,
            })?;
        let network = runtime.block_on(Network::connect(urls, options.clone()))?;
        Ok(Node {
            runtime,
            client: Client {
                network,
                accounts: Accounts::default(),
                options,
            },
        })
    }

    /// The hash of the network's first block, which tells it from all others.
    pub fn genesis(&self) -> Hash {
        self.client.network.genesis().0
    }

    /// The endpoint in use.
    pub fn endpoint(&self) -> &str {
        self.client.network.endpoint()
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

impl Chain for Node {
    fn now(&self) -> Result<Now, Error> {
        self.wait(self.client.now())
    }

    fn funds(&self, account: &Account) -> Result<Funds, Error> {
        self.wait(self.client.funds(account))
    }

    fn issuance(&self) -> Result<Balance, Error> {
        self.wait(self.client.issuance())
    }

    fn extrinsic_limit(&self) -> Result<Weight, Error> {
        self.wait(self.client.extrinsic_limit())
    }

    fn estimate(&self, from: &Account, call: &Call) -> Result<Estimate, Error> {
        self.wait(self.client.estimate(from, call))
    }

    fn submit(&self, signer: &Signer, call: &Call, limits: &Limits) -> Result<Receipt, Error> {
        self.wait(self.client.submit(signer, call, limits))
    }

    fn deploy(
        &self,
        signer: &Signer,
        code: &[u8],
        input: &[u8],
        salt: &[u8],
    ) -> Result<(Account, Receipt), Error> {
        self.wait(self.client.deploy(signer, code, input, salt))
    }

    fn events(&self, contract: &Account, block: u32) -> Result<Vec<Event>, Error> {
        self.wait(self.client.events(contract, block))
    }

    fn code_hash(&self, contract: &Account) -> Result<Option<Hash>, Error> {
        self.wait(self.client.code_hash(contract))
    }
}

impl Client {
    async fn now(&self) -> Result<Now, Error> {
        let ask = async |link: &Link| {
            let head = self.network.head(link).await?;
            let last = self.network.moment(link, head).await?;
            Ok(Now {
                block: last.block.saturating_add(1),
                ..last
            })
        };
        self.network.ask(self.network.patience(), ask).await
    }

    async fn funds(&self, account: &Account) -> Result<Funds, Error> {
        let ask = async |link: &Link| {
            let head = self.network.head(link).await?;
            Ok(self.network.account(link, head.hash, account).await?.1)
        };
        self.network.ask(self.network.patience(), ask).await
    }

    async fn issuance(&self) -> Result<Balance, Error> {
        let ask = async |link: &Link| {
            let head = self.network.head(link).await?;
            self.network
                .number(link, head.hash, runtime::ISSUANCE)
                .await
        };
        self.network.ask(self.network.patience(), ask).await
    }

    async fn extrinsic_limit(&self) -> Result<Weight, Error> {
        let ask = async |link: &Link| {
            let head = self.network.head(link).await?;
            let runtime = self.network.runtime(link, head.hash).await?;
            Ok(runtime.extrinsic_limit()?)
        };
        self.network.ask(self.network.patience(), ask).await
    }

    async fn code_hash(&self, contract: &Account) -> Result<Option<Hash>, Error> {
        let ask = async |link: &Link| {
            let head = self.network.head(link).await?;
            let runtime = self.network.runtime(link, head.hash).await?;
            let key = runtime.account_key(runtime::CONTRACT, contract)?;
            let stored = link.storage(head.hash, &key).await?;
            Ok(runtime.code_hash(stored.as_deref())?.map(|hash| hash.0))
        };
        self.network.ask(self.network.patience(), ask).await
    }

    async fn events(&self, contract: &Account, block: u32) -> Result<Vec<Event>, Error> {
        let ask = async |link: &Link| {
            let hash = link.block(block).await?;
            let runtime = self.network.runtime(link, hash).await?;
            let at = self
                .network
                .moment(
                    link,
                    link::Block {
                        number: block,
                        hash,
                    },
                )
                .await?;
            let stored = link.storage(hash, &runtime.key(runtime::EVENTS)?).await?;
            Ok(effects::of_contract(&runtime, stored, at, contract)?)
        };
        self.network.ask(self.network.patience(), ask).await
    }

    async fn estimate(&self, from: &Account, call: &Call) -> Result<Estimate, Error> {
        let question = dry_run::call_question(from, call);
        let trial = self.attempt(dry_run::CALL, &question, None).await?;
        self.judge(from, call.value, trial).await
    }

    /// Tries something out on the state after a block, or after the block that is read.
    async fn attempt(
        &self,
        function: &str,
        question: &[u8],
        block: Option<H256>,
    ) -> Result<Trial, Error> {
        let ask = async |link: &Link| {
            let block = match block {
                Some(block) => block,
                None => self.network.head(link).await?.hash,
            };
            let answer = link.call(block, function, question).await?;
            let runtime = self.network.runtime(link, block).await?;
            Ok(dry_run::answer(&answer, &runtime)?)
        };
        self.network.ask(self.network.patience(), ask).await
    }

    /// What a trial that was to cost `value` says.
    async fn judge(&self, from: &Account, value: Balance, trial: Trial) -> Result<Estimate, Error> {
        match trial.failure {
            None => Ok(trial.estimate),
            Some(failure) => Err(self.explain(from, value, failure).await),
        }
    }

    /// Tells an account that cannot pay from a call that cannot work.
    async fn explain(&self, from: &Account, value: Balance, failure: Failure) -> Error {
        if !failure.reason.is_lack_of_funds() {
            return Error::Failed(failure.to_string());
        }
        let ask = async |link: &Link| {
            let head = self.network.head(link).await?;
            let runtime = self.network.runtime(link, head.hash).await?;
            let (_, funds) = self.network.account(link, head.hash, from).await?;
            Ok((funds.free, runtime.existential_deposit()?))
        };
        let (free, least) = match self.network.ask(self.network.patience(), ask).await {
            Ok(found) => found,
            Err(error) => return error,
        };
        let needed = value.saturating_add(least);
        let deposit = failure.reason.name == "Contracts::StorageDepositNotEnoughFunds";
        if free >= needed && !deposit {
            // The caller has enough; a contract lacks money, or is not allowed to spend it.
            return Error::Failed(failure.to_string());
        }
        Error::Unfunded {
            account: address(from),
            free,
            what: match (value, deposit) {
                (0, true) => "the storage deposit of the call".to_owned(),
                (_, true) => format!("{value} and the storage deposit of the call"),
                _ => format!("{value}"),
            },
            missing: NonZero::new(needed.saturating_sub(free)),
        }
    }

    async fn submit(
        &self,
        signer: &Signer,
        call: &Call,
        limits: &Limits,
    ) -> Result<Receipt, Error> {
        let payload = transaction::call(call, limits);
        let cost = call.value.saturating_add(limits.deposit);
        let meaning = ("call", &call.contract, call.value, &call.input).using_encoded(blake2_256);
        let included = self.send(signer, &payload, meaning, cost).await?;
        let (effects, at) = self.effects(&included).await?;
        if effects.failure.as_ref().is_some_and(|why| why.is_revert()) {
            // The block keeps no record of what the contract said. Asked again after the block,
            // it most likely says the same.
            let question = dry_run::call_question(&signer.account(), call);
            let block = Some(included.block.hash);
            let again = self.attempt(dry_run::CALL, &question, block).await;
            let said = again.ok().map(|trial| trial.estimate);
            let said = said.filter(|estimate| estimate.reverted);
            return Err(Error::Reverted(
                said.map(|estimate| estimate.output).unwrap_or_default(),
            ));
        }
        let (_, receipt) = self
            .receipt(signer, cost, call.input.len(), &included, effects, at)
            .await?;
        Ok(receipt)
    }

    async fn deploy(
        &self,
        signer: &Signer,
        code: &[u8],
        input: &[u8],
        salt: &[u8],
    ) -> Result<(Account, Receipt), Error> {
        let hash = H256(blake2_256(code));
        let uploaded = async |link: &Link| {
            let head = self.network.head(link).await?;
            let runtime = self.network.runtime(link, head.hash).await?;
            let key = runtime.hash_key(runtime::CODE, hash)?;
            Ok(link.storage(head.hash, &key).await?.is_some())
        };
        let uploaded = self.network.ask(self.network.patience(), uploaded).await?;
        let source = match uploaded {
            true => Code::Existing(hash),
            false => Code::Upload(code),
        };
        let account = signer.account();
        let question = dry_run::instance_question(&account, source, input, salt);
        let trial = self.attempt(dry_run::INSTANTIATE, &question, None).await?;
        let estimate = self.judge(&account, 0, trial).await?;
        if estimate.reverted {
            return Err(Error::Reverted(estimate.output));
        }
        let limits = Limits {
            weight: estimate.weight.with_margin(),
            deposit: estimate.deposit,
        };
        let meaning = ("instance", hash, input, salt).using_encoded(blake2_256);
        let (included, bytes) = if uploaded {
            let payload = transaction::instantiate(hash, input, salt, &limits);
            let sending = self.send(signer, &payload, meaning, limits.deposit);
            (sending.await?, input.len())
        } else {
            let payload = transaction::upload(code, input, salt, &limits);
            let sending = self.send(signer, &payload, meaning, limits.deposit);
            (sending.await?, code.len() + input.len())
        };
        let (effects, at) = self.effects(&included).await?;
        let (instance, receipt) = self
            .receipt(signer, limits.deposit, bytes, &included, effects, at)
            .await?;
        let instance = instance
            .ok_or_else(|| runtime::unknown("an instance was made and no event names it"))?;
        Ok((instance, receipt))
    }

    async fn effects(&self, included: &Included) -> Result<(Effects, Now), Error> {
        let ask = async |link: &Link| {
            let block = included.block;
            let runtime = self.network.runtime(link, block.hash).await?;
            let at = self.network.moment(link, block).await?;
            let key = runtime.key(runtime::EVENTS)?;
            let stored = link.storage(block.hash, &key).await?;
            let account = &included.sent.account;
            let effects = Effects::read(&runtime, stored, included.index, at, account)?;
            Ok((effects, at))
        };
        let asked = self.network.ask(self.network.patience(), ask).await;
        asked.map_err(|error| sending::forgotten(&included.sent, error))
    }

    /// What a transaction did, as its sender is told; the instance, when it made one.
    async fn receipt(
        &self,
        signer: &Signer,
        cost: Balance,
        bytes: usize,
        included: &Included,
        effects: Effects,
        at: Now,
    ) -> Result<(Option<Account>, Receipt), Error> {
        tracing::debug!(
            by = signer.name(),
            hash = ?included.sent.hash,
            nonce = included.sent.nonce,
            block = at.block,
            index = included.index,
            bytes,
            ref_time = effects.weight.ref_time,
            deposit = effects.deposit,
            fee = effects.fee,
            failure = effects.failure.as_ref().map(|why| why.name.as_str()),
            "transaction included"
        );
        if let Some(reason) = effects.failure {
            let debug = String::new();
            let failure = Failure { reason, debug };
            return Err(self.explain(&signer.account(), cost, failure).await);
        }
        Ok((
            effects.instance,
            Receipt {
                at,
                bytes,
                weight: effects.weight,
                deposit: effects.deposit,
                fee: effects.fee,
                events: effects.events,
            },
        ))
    }
}

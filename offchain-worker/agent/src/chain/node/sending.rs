//! How a transaction gets into a block once, and only once.
//!
//! The same signed bytes may be offered again and again, to several nodes: at most one block takes
//! them. A call is signed anew only after its earlier transaction is dead for certain, that is,
//! when a block that will not be undone gave its nonce to another, or came after the last block
//! in which it was valid.

use super::link::{Block, Fault, Link};
use super::nonces::{Sender, Sent};
use super::pool::Verdict;
use super::transaction::Era;
use super::{runtime, Client, Finality};
use crate::chain::{Balance, Error, Hash};
use crate::keys::{address, Account, Signer};
use scale::{Compact, Decode, Encode};
use std::cell::Cell;
use std::num::NonZero;
use std::sync::Arc;
use subxt::tx::Payload;
use subxt::utils::H256;
use tokio::time::{sleep, Instant};

/// How often a call is signed anew before giving up.
const ATTEMPTS: usize = 5;

/// After how many blocks without the transaction it is offered again.
const OFFER_AGAIN: u32 = 4;

const RIVALLED: &str = "another transaction of the account took its number";
const EXPIRED: &str = "the blocks that could hold it are final without it";

/// A transaction in a block.
#[derive(Debug)]
pub struct Included {
    /// The block.
    pub block: Block,
    /// Its place in the block.
    pub index: u32,
    /// The transaction.
    pub sent: Arc<Sent>,
}

/// What became of a transaction.
enum Fate {
    Included(Included),
    /// Another transaction got its nonce.
    Rivalled,
    /// No block that could hold it does.
    Expired,
}

/// How a transaction set off.
enum Start {
    /// Some node has it: the one behind this connection, or it is not known which.
    Away(Arc<Sent>, Option<u64>),
    /// No node has it, for this reason, and another may be signed.
    Back(H256, &'static str),
}

/// What a look at the chain shows.
enum Sight {
    Fate(Fate),
    /// Nothing yet, up to this height.
    Waiting(u32),
}

impl Client {
    /// Gets a call into a block that will not be undone. `meaning` tells it from other calls,
    /// whatever its limits are; `cost` is what it may cost the signer on top of the fee.
    pub(super) async fn send(
        &self,
        signer: &Signer,
        payload: &impl Payload,
        meaning: Hash,
        cost: Balance,
    ) -> Result<Included, Error> {
        let account = signer.account();
        let sender = self.accounts.sender(&account);
        self.await_strangers(&sender, &account).await?;

        let mut resumed = sender.resume(&meaning);
        let mut attempts = 0;
        loop {
            let start = match resumed.take() {
                Some(sent) => Start::Away(sent, None),
                None => self.launch(&sender, signer, payload, meaning, cost).await?,
            };
            let (hash, reason) = match start {
                Start::Back(hash, reason) => {
                    sleep(self.options.poll).await;
                    (hash, reason)
                }
                Start::Away(sent, at) => {
                    let fate = self.fate(&sent, at).await;
                    match fate.map_err(|error| give_up(&sender, &sent, error))? {
                        Fate::Included(included) => {
                            sender.land(&sent);
                            return Ok(included);
                        }
                        Fate::Rivalled => {
                            sender.land(&sent);
                            (sent.hash, RIVALLED)
                        }
                        Fate::Expired => {
                            sender.land(&sent);
                            attempts = ATTEMPTS;
                            (sent.hash, EXPIRED)
                        }
                    }
                }
            };
            attempts += 1;
            if attempts >= ATTEMPTS {
                return Err(Error::Lost {
                    hash: format!("{hash:?}"),
                    reason: reason.to_owned(),
                });
            }
        }
    }

    /// Before the first transaction of an account: waits for what another process sent that was
    /// not in the first block that this one read, since its caller may have decided without it.
    async fn await_strangers(&self, sender: &Sender, account: &Account) -> Result<(), Error> {
        let mut alone = sender.turn.lock().await;
        if *alone {
            return Ok(());
        }
        let until = self.network.patience();
        let at_start = async |link: &Link| self.nonce(link, self.network.start(), account).await;
        let now = async |link: &Link| {
            let head = self.network.head(link).await?;
            self.nonce(link, head.hash, account).await
        };
        let next = async |link: &Link| link.next_nonce(account).await;
        let known = match self.options.finality {
            Finality::Final => self.network.ask(until, at_start).await,
            // The first block may have been undone.
            Finality::Best => self.network.ask(until, &now).await,
        };
        let known = match known {
            // So long ago that whatever was on its way then has arrived and been read.
            Err(Error::Pruned { .. }) => self.network.ask(until, &now).await?,
            known => known?,
        };
        let next = self.network.ask(until, next).await?;
        let count = next.saturating_sub(known);
        if count > 0 {
            let until = Instant::now() + self.options.inclusion;
            while self.network.ask(until, &now).await? < next && Instant::now() < until {
                sleep(self.options.poll).await;
            }
        }
        *alone = true;
        if count > 0 {
            return Err(Error::Overtaken {
                account: *account,
                count,
            });
        }
        Ok(())
    }

    /// Signs a call and offers it to a node.
    async fn launch(
        &self,
        sender: &Sender,
        signer: &Signer,
        payload: &impl Payload,
        meaning: Hash,
        cost: Balance,
    ) -> Result<Start, Error> {
        let _turn = sender.turn.lock().await;
        let sign = async |link: &Link| self.sign(link, sender, signer, payload, meaning).await;
        let sent = self.network.ask(self.network.patience(), sign).await?;
        let sent = Arc::new(sent);
        sender.take_off(sent.clone());

        let offers = Cell::new(0);
        let at = Cell::new(None);
        let offer = async |link: &Link| {
            offers.set(offers.get() + 1);
            at.set(Some(link.serial));
            link.offer(&sent.bytes).await
        };
        let verdict = match self.network.ask(self.network.patience(), offer).await {
            Ok(verdict) => verdict,
            Err(error) => return Err(give_up(sender, &sent, error)),
        };
        tracing::debug!(
            by = signer.name(),
            hash = ?sent.hash,
            nonce = sent.nonce,
            bytes = sent.bytes.len(),
            last_block = sent.era.last(),
            ?verdict,
            "transaction offered"
        );
        let start = match verdict {
            Verdict::Taken => return Ok(Start::Away(sent, at.get())),
            // An earlier offer, whose answer was lost, may have been taken.
            _ if offers.get() > 1 => return Ok(Start::Away(sent, at.get())),
            Verdict::Stale | Verdict::Rivalled => Ok(Start::Back(sent.hash, RIVALLED)),
            Verdict::Outdated => Ok(Start::Back(sent.hash, "the runtime was just upgraded")),
            Verdict::Busy => Ok(Start::Back(sent.hash, "the node's pool is full")),
            Verdict::Unpaid => Err(self.unpaid(&sent, cost).await),
            Verdict::Refused(reason) => Err(Error::Rejected(reason)),
        };
        sender.land(&sent);
        start
    }

    async fn sign(
        &self,
        link: &Link,
        sender: &Sender,
        signer: &Signer,
        payload: &impl Payload,
        meaning: Hash,
    ) -> Result<Sent, Fault> {
        let account = signer.account();
        let head = self.network.head(link).await?;
        let best = link.best().await?;
        // The runtime that will execute it, which may be newer than the one that is read.
        let runtime = self.network.runtime(link, best.hash).await?;
        if !sender.abandoned().is_empty() {
            let used = self.nonce(link, head.hash, &account).await?;
            sender.bury(used, head.number);
        }
        for earlier in sender.abandoned() {
            link.offer(&earlier.bytes).await?;
        }
        let nonce = sender.free_nonce(link.next_nonce(&account).await?);
        let era = Era::from(head, best.number);
        let signed = runtime.sign(payload, signer, nonce, &era)?;
        Ok(Sent {
            account,
            nonce,
            bytes: signed.bytes,
            hash: signed.hash,
            era,
            meaning,
        })
    }

    /// Waits until it is certain what became of a transaction, and offers it again meanwhile: a
    /// node that restarts has forgotten its pool.
    async fn fate(&self, sent: &Arc<Sent>, at: Option<u64>) -> Result<Fate, Error> {
        let until = Instant::now() + self.options.inclusion;
        let looked = Cell::new(None);
        let offered = Cell::new(at.map(|serial| (serial, sent.era.birth)));
        loop {
            let look = async |link: &Link| {
                let sight = self.look(link, sent, &looked).await?;
                if let Sight::Waiting(height) = sight {
                    let due = match offered.get() {
                        Some((serial, at)) => serial != link.serial || height >= at + OFFER_AGAIN,
                        None => true,
                    };
                    if due {
                        let verdict = link.offer(&sent.bytes).await?;
                        tracing::trace!(hash = ?sent.hash, ?verdict, "offered again");
                        offered.set(Some((link.serial, height)));
                    }
                }
                Ok(sight)
            };
            if let Sight::Fate(fate) = self.network.ask(until, look).await? {
                return Ok(fate);
            }
            if Instant::now() >= until {
                return Err(self.unresolved(
                    sent,
                    format!(
                        "no block held it within {} s; does the chain make blocks, and are they finalized?",
                        self.options.inclusion.as_secs()
                    ),
                ));
            }
            sleep(self.options.poll).await;
        }
    }

    async fn look(
        &self,
        link: &Link,
        sent: &Arc<Sent>,
        looked: &Cell<Option<H256>>,
    ) -> Result<Sight, Fault> {
        let head = self.network.head(link).await?;
        if looked.get() == Some(head.hash) {
            return Ok(Sight::Waiting(head.number));
        }
        let used = self.nonce(link, head.hash, &sent.account).await?;
        if used > sent.nonce {
            return self.find(link, sent, head).await;
        }
        if head.number >= sent.era.last() {
            return Ok(Sight::Fate(Fate::Expired));
        }
        looked.set(Some(head.hash));
        Ok(Sight::Waiting(head.number))
    }

    /// Looks into the one block that can hold a transaction: the first after which its nonce is
    /// used.
    async fn find(&self, link: &Link, sent: &Arc<Sent>, head: Block) -> Result<Sight, Fault> {
        let (mut before, mut number) = (sent.era.birth, head.number);
        while number > before + 1 {
            let middle = before + (number - before) / 2;
            let hash = link.block(middle).await?;
            if self.nonce(link, hash, &sent.account).await? > sent.nonce {
                number = middle;
            } else {
                before = middle;
            }
        }
        let hash = link.block(number).await?;
        let body = link.body(hash).await?;
        if let Some(index) = body.iter().position(|bytes| *bytes == sent.bytes) {
            return Ok(Sight::Fate(Fate::Included(Included {
                block: Block { number, hash },
                index: index as u32,
                sent: sent.clone(),
            })));
        }
        // Blocks that are not final may have changed while they were looked at.
        if link.block(head.number).await? != head.hash {
            return Ok(Sight::Waiting(head.number));
        }
        Ok(Sight::Fate(Fate::Rivalled))
    }

    async fn nonce(&self, link: &Link, block: H256, account: &Account) -> Result<u64, Fault> {
        Ok(self.network.account(link, block, account).await?.0)
    }

    /// What an account that cannot pay for a transaction is told.
    async fn unpaid(&self, sent: &Sent, cost: Balance) -> Error {
        let ask = async |link: &Link| {
            let best = link.best().await?;
            let runtime = self.network.runtime(link, best.hash).await?;
            let (_, funds) = self.network.account(link, best.hash, &sent.account).await?;
            let question = [&sent.bytes[..], &(sent.bytes.len() as u32).encode()].concat();
            let answer = link
                .call(best.hash, "TransactionPaymentApi_query_info", &question)
                .await?;
            type Info = (Compact<u64>, Compact<u64>, u8, Balance);
            let (_, _, _, fee) = Info::decode(&mut &answer[..]).map_err(runtime::unknown)?;
            let needed = fee
                .saturating_add(cost)
                .saturating_add(runtime.existential_deposit()?);
            Ok(Error::Unfunded {
                account: address(&sent.account),
                free: funds.free,
                what: format!("a fee of {fee} and up to {cost} for what the call sends and stores"),
                missing: NonZero::new(needed.saturating_sub(funds.free)),
            })
        };
        let asked = self.network.ask(self.network.patience(), ask).await;
        asked.unwrap_or_else(|error| error)
    }

    fn unresolved(&self, sent: &Sent, reason: String) -> Error {
        Error::Unresolved {
            hash: format!("{:?}", sent.hash),
            until: sent.era.last(),
            reason,
        }
    }
}

/// Nobody waits for a transaction any more. When it may still arrive, it is remembered.
fn give_up(sender: &Sender, sent: &Sent, error: Error) -> Error {
    if !error.is_transient() {
        sender.land(sent);
        return forgotten(sent, error);
    }
    sender.abandon(sent);
    match error {
        Error::Unresolved { .. } => error,
        other => Error::Unresolved {
            hash: format!("{:?}", sent.hash),
            until: sent.era.last(),
            reason: other.to_string(),
        },
    }
}

/// Tells the sender of a transaction that a state is missing which would say what became of it.
pub(super) fn forgotten(sent: &Sent, error: Error) -> Error {
    match error {
        Error::Pruned { .. } => Error::Forgotten {
            hash: format!("{:?}", sent.hash),
        },
        other => other,
    }
}

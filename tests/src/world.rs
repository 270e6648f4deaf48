//! A chain in memory, the three contracts, and people with money.

use crate::books::Books;
use crate::gas::Table;
use ink_sandbox::frame_support::traits::fungible::Mutate;
use ink_sandbox::frame_support::traits::tokens::{Fortitude, Precision};
use ink_sandbox::macros::DefaultSandboxRuntime as Runtime;
use ink_sandbox::{pallet_balances, pallet_timestamp, AccountId32};
use lockstep_agent::chain::bundle::Bundles;
use lockstep_agent::chain::contracts::{Addresses, Contracts};
use lockstep_agent::chain::embedded::{Clock, Embedded, ENDOWMENT};
use lockstep_agent::chain::{Balance, Call, Chain, Error, Limits, Now, Receipt};
use lockstep_agent::keys::{Account, Signer};
use lockstep_interface::{dispute, escrow, selector, stake, Bounds, Message, Millis};
use scale::Encode;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

type Balances = pallet_balances::Pallet<Runtime>;
type Timestamp = pallet_timestamp::Pallet<Runtime>;

/// From the request to unbond to the withdrawal, in milliseconds.
pub const UNBONDING: Millis = 5_000_000;

/// More than any message is charged for storage, in plancks.
const MOST_DEPOSIT: Balance = 10_000;

/// Limits under which small and short terms are possible.
pub const BOUNDS: Bounds = Bounds {
    min_reward: 10,
    min_stake: 100,
    min_bond: 10,
    min_demand_fee: 5,
    min_open: 10_000,
    min_work: 10_000,
    min_window: 10_000,
    min_replay: 1_000,
    min_clock: 10_000,
    min_increment: 1_000,
    min_blocks: 2,
    max_time: 1_000_000_000,
    max_blocks: 1_000,
};

/// A contract, named by the errors of its messages.
pub trait Refusal: Debug {
    /// Its address.
    fn contract(at: &Addresses) -> Account;
}

impl Refusal for stake::Error {
    fn contract(at: &Addresses) -> Account {
        at.stake
    }
}

impl Refusal for escrow::Error {
    fn contract(at: &Addresses) -> Account {
        at.escrow
    }
}

impl Refusal for dispute::Error {
    fn contract(at: &Addresses) -> Account {
        at.dispute
    }
}

/// A chain with the contracts on it. Nothing costs a fee, so that every balance can be followed
/// to the last unit.
pub struct World {
    chain: Arc<Embedded>,
    contracts: Contracts,
    people: RefCell<BTreeMap<Account, Signer>>,
    pub(crate) books: RefCell<Books>,
    pub(crate) gas: RefCell<Table>,
}

impl World {
    /// The contracts, deployed and wired by Alice.
    ///
    /// # Panics
    /// When they cannot be deployed.
    pub fn new() -> World {
        let chain = Arc::new(Embedded::in_memory(Clock::Own));
        let bundles = Bundles::shipped().expect("the shipped bundles are well-formed");
        let contracts = Contracts::deploy(
            chain.clone(),
            &Signer::dev("Alice"),
            &bundles,
            UNBONDING,
            &BOUNDS,
            b"",
            &mut |_| {},
        )
        .expect("the contracts deploy");
        World::on(chain, contracts)
    }

    /// The contracts before the last steps of a deployment: escrow and dispute know whom they
    /// call, but nobody is appointed yet.
    ///
    /// # Panics
    /// When they cannot be deployed.
    pub fn unwired() -> World {
        let chain = Arc::new(Embedded::in_memory(Clock::Own));
        let bundles = Bundles::shipped().expect("the shipped bundles are well-formed");
        let deploy = |code: &[u8], arguments: &[u8]| {
            let input = [&selector("new")[..], arguments].concat();
            let deployed = chain.deploy(&Signer::dev("Alice"), code, &input, b"");
            deployed.expect("the contract deploys").0
        };
        let stake = deploy(&bundles.stake.wasm, &UNBONDING.encode());
        let escrow = deploy(&bundles.escrow.wasm, &(stake, BOUNDS).encode());
        let dispute = deploy(&bundles.dispute.wasm, &escrow.encode());
        let at = Addresses {
            stake,
            escrow,
            dispute,
        };
        World::on(chain.clone(), Contracts::new(chain, at))
    }

    fn on(chain: Arc<Embedded>, contracts: Contracts) -> World {
        let books = Books::open(&*chain, contracts.addresses());
        World {
            chain,
            contracts,
            people: RefCell::default(),
            books: RefCell::new(books),
            gas: RefCell::default(),
        }
    }

    /// Somebody with an endowment. The same name is the same person.
    ///
    /// # Panics
    /// When the chain fails.
    pub fn person(&self, name: &str) -> Signer {
        let signer = Signer::dev(name);
        let account = signer.account();
        if self
            .people
            .borrow_mut()
            .insert(account, signer.clone())
            .is_none()
        {
            let owned = self.chain.funds(&account).expect("the chain answers");
            let missing = ENDOWMENT - owned.free.min(ENDOWMENT);
            self.chain.mint(&account, missing).expect("the chain mints");
            self.books.borrow_mut().minted(missing);
        }
        signer
    }

    /// Gives somebody more money.
    ///
    /// # Panics
    /// When the chain fails.
    pub fn endow(&self, who: &Signer, amount: Balance) {
        self.chain
            .mint(&who.account(), amount)
            .expect("the chain mints");
        self.books.borrow_mut().minted(amount);
    }

    /// Whoever deployed the contracts.
    pub fn deployer(&self) -> Signer {
        self.person("Alice")
    }

    /// The person with this account.
    ///
    /// # Panics
    /// When nobody has it.
    pub fn signer(&self, account: &Account) -> Signer {
        self.people.borrow()[account].clone()
    }

    /// Everybody so far.
    pub fn people(&self) -> Vec<Account> {
        self.people.borrow().keys().copied().collect()
    }

    /// The worker's client of the contracts.
    pub fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    /// Where the contracts are.
    pub fn at(&self) -> &Addresses {
        self.contracts.addresses()
    }

    /// The chain.
    pub fn chain(&self) -> &Embedded {
        &self.chain
    }

    /// What messages have cost so far.
    pub fn gas(&self) -> Table {
        self.gas.borrow().clone()
    }

    /// What an account can spend.
    ///
    /// # Panics
    /// When the chain fails.
    pub fn free(&self, account: &Account) -> Balance {
        self.chain.funds(account).expect("the chain answers").free
    }

    /// Sends a message. Replies with what happened, or with the contract's reason to refuse.
    ///
    /// # Errors
    /// The contract's.
    ///
    /// # Panics
    /// When the contract traps.
    pub fn tell<M, T, E>(&self, who: &Signer, value: Balance, message: &M) -> Result<Receipt, E>
    where
        M: Message<Reply = Result<T, E>>,
        E: Refusal,
    {
        let contract = E::contract(self.at());
        let input = message.call();
        match self.call(who, contract, value, input) {
            Ok(receipt) => {
                let bytes = message.encoded_size() + M::SELECTOR.len();
                self.gas.borrow_mut().add(M::NAME, receipt.weight, bytes);
                Ok(receipt)
            }
            Err(Error::Reverted(output)) => match M::reply(&output) {
                Ok(Err(refusal)) => Err(refusal),
                _ => panic!("`{}` reverted with {output:?}", M::NAME),
            },
            Err(error) => panic!("`{}` failed: {error}", M::NAME),
        }
    }

    /// Sends a message and replies with its result.
    ///
    /// # Errors
    /// The contract's.
    ///
    /// # Panics
    /// When the contract traps.
    pub fn ask<M, T, E>(&self, who: &Signer, value: Balance, message: &M) -> Result<T, E>
    where
        M: Message<Reply = Result<T, E>>,
        E: Refusal,
    {
        let call = Call {
            contract: E::contract(self.at()),
            value,
            input: message.call(),
        };
        let estimate = self
            .chain
            .estimate(&who.account(), &call)
            .unwrap_or_else(|error| panic!("`{}` failed: {error}", M::NAME));
        let reply = M::reply(&estimate.output).expect("the reply has the interface's form")?;
        self.tell(who, value, message)?;
        Ok(reply)
    }

    /// Sends bytes to a contract.
    ///
    /// # Errors
    /// When the contract reverts or traps.
    pub fn call(
        &self,
        who: &Signer,
        contract: Account,
        value: Balance,
        input: Vec<u8>,
    ) -> Result<Receipt, Error> {
        let call = Call {
            contract,
            value,
            input,
        };
        let limits = Limits {
            weight: self.chain.extrinsic_limit()?,
            deposit: MOST_DEPOSIT,
        };
        let receipt = self.chain.submit(who, &call, &limits)?;
        self.books
            .borrow_mut()
            .deposited(who.account(), receipt.deposit);
        Ok(receipt)
    }

    /// Height and time that a message sent now would see.
    ///
    /// # Panics
    /// When the chain fails.
    pub fn now(&self) -> Now {
        self.chain.now().expect("the chain answers")
    }

    /// Lets milliseconds pass, with blocks.
    ///
    /// # Panics
    /// When the chain fails.
    pub fn wait(&self, milliseconds: Millis) {
        self.chain.advance(milliseconds).expect("time passes");
    }

    /// Waits until a message sent now would see the time `then`.
    ///
    /// # Panics
    /// When that is in the past.
    pub fn wait_until(&self, then: Millis) {
        let now = self.now().time;
        assert!(now <= then, "{then} was {} ms ago", now - then);
        if now < then {
            self.wait(then - now);
        }
        assert_eq!(self.now().time, then);
    }

    /// Lets milliseconds pass in a single block, as when a chain stood still.
    ///
    /// # Panics
    /// When the chain fails.
    pub fn stand_still(&self, milliseconds: Millis) {
        self.chain
            .intervene(|| {
                let now = Timestamp::get();
                Timestamp::set_timestamp(now + milliseconds);
            })
            .expect("time passes");
    }

    /// Takes money from an account by force, so that it can be missing for once; to be given back
    /// with [`World::restore`].
    ///
    /// # Panics
    /// When the account has less.
    pub fn confiscate(&self, account: &Account, amount: Balance) {
        self.chain
            .intervene(|| {
                Balances::burn_from(
                    &AccountId32::new(*account),
                    amount,
                    Precision::Exact,
                    Fortitude::Force,
                )
                .expect("the account has the amount");
            })
            .expect("the chain works");
    }

    /// Gives back what [`World::confiscate`] took.
    ///
    /// # Panics
    /// When the chain fails.
    pub fn restore(&self, account: &Account, amount: Balance) {
        self.chain.mint(account, amount).expect("the chain mints");
    }
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

//! The books: what went in, what must come out, and who paid for storage.

use crate::world::World;
use lockstep_agent::chain::contracts::Addresses;
use lockstep_agent::chain::embedded::DEV_ACCOUNTS;
use lockstep_agent::chain::{Balance, Chain};
use lockstep_agent::keys::{Account, Signer};
use lockstep_interface::dispute::DemandStatus;
use lockstep_interface::stake::Staker;
use lockstep_interface::BURN_ACCOUNT;
use std::collections::{BTreeMap, BTreeSet};

/// What the contracts had when they were deployed, and what has been charged since.
pub struct Books {
    issuance: Balance,
    /// Of stake, escrow and dispute: free and held in the beginning.
    initial: [(Balance, Balance); 3],
    /// Storage deposits of each person: charged less refunded.
    deposits: BTreeMap<Account, i128>,
    /// Refunds of storage deposits to each person.
    refunds: BTreeMap<Account, u32>,
}

/// What the pallet may keep of one refund, in plancks: it rounds the part for items and the part
/// for bytes down.
pub const ROUNDING: i128 = 2;

/// What the records of a contract say is owed to somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledgers {
    /// By the stake contract.
    pub stake: Balance,
    /// By escrow.
    pub escrow: Balance,
    /// By the dispute contract.
    pub dispute: Balance,
}

impl Books {
    pub(crate) fn open(chain: &dyn Chain, at: &Addresses) -> Books {
        let initial = [at.stake, at.escrow, at.dispute].map(|contract| {
            let funds = chain.funds(&contract).expect("the chain answers");
            (funds.free, funds.held)
        });
        Books {
            issuance: chain.issuance().expect("the chain answers"),
            initial,
            deposits: BTreeMap::new(),
            refunds: BTreeMap::new(),
        }
    }

    pub(crate) fn minted(&mut self, amount: Balance) {
        self.issuance += amount;
    }

    pub(crate) fn deposited(&mut self, who: Account, amount: i128) {
        *self.deposits.entry(who).or_default() += amount;
        if amount < 0 {
            *self.refunds.entry(who).or_default() += 1;
        }
    }
}

impl World {
    /// What a person has in storage deposits.
    pub fn deposit(&self, who: &Account) -> i128 {
        let books = self.books.borrow();
        books.deposits.get(who).copied().unwrap_or_default()
    }

    /// What the pallet has kept of a person's refunds at most.
    pub fn kept(&self, who: &Account) -> i128 {
        let refunds = self.books.borrow().refunds.get(who).copied();
        ROUNDING * i128::from(refunds.unwrap_or_default())
    }

    /// What a person owns: spendable money, stake and storage deposits.
    ///
    /// # Panics
    /// When the chain fails.
    pub fn wealth(&self, who: &Signer) -> i128 {
        let account = who.account();
        let staker = self.contracts().staker(account).expect("a getter answers");
        let stake = staker.free + staker.locked + staker.unbonding;
        (self.free(&account) + stake) as i128 + self.deposit(&account)
    }

    /// Adds up every record of every contract.
    ///
    /// # Panics
    /// When the chain fails.
    pub fn ledgers(&self) -> Ledgers {
        let contracts = self.contracts();
        let mut sums = Ledgers::default();
        for person in self.people() {
            let staker = contracts.staker(person).expect("a getter answers");
            sums.stake += staker.free + staker.locked + staker.unbonding;
        }
        sums.escrow += contracts.escrow_config().expect("a getter answers").burn;
        for task in 0..contracts.task_count().expect("a getter answers") {
            if let Some(record) = contracts.task(task).expect("a getter answers") {
                sums.escrow += record.held + record.owed;
            }
            for attempt in 1..=MOST_ATTEMPTS {
                if let Some(record) = contracts.attempt(task, attempt).expect("a getter answers") {
                    sums.escrow += record.owed + record.pool;
                }
            }
        }
        sums.dispute += contracts.dispute_config().expect("a getter answers").burn;
        for listed in contracts.disputes(0).expect("a getter answers") {
            let record = self.dispute(listed.id);
            sums.dispute += match record.settled {
                false => record.bond,
                true => record.owed_challenger + record.owed_solver,
            };
        }
        for listed in contracts.demands(0).expect("a getter answers") {
            let record = self.demand_record(listed.id);
            sums.dispute += match record.status {
                DemandStatus::Waiting => record.fee,
                _ => record.owed_demander + record.owed_solver,
            };
        }
        sums
    }

    /// Checks that no money appeared or vanished: what each contract holds is exactly what its
    /// records owe, what is held for storage is exactly what people were charged, and nobody was
    /// refunded more than that.
    ///
    /// # Panics
    /// When the books do not balance.
    pub fn check_books(&self) {
        let books = self.books.borrow();
        let funds = |account: &Account| self.chain().funds(account).expect("the chain answers");
        let issuance = self.chain().issuance().expect("the chain answers");
        assert_eq!(issuance, books.issuance, "money appeared or vanished");

        let ledgers = self.ledgers();
        let owed = [ledgers.stake, ledgers.escrow, ledgers.dispute];
        let at = [self.at().stake, self.at().escrow, self.at().dispute];
        let mut held = 0;
        for ((contract, owed), (free, deposit)) in at.iter().zip(owed).zip(books.initial) {
            let now = funds(contract);
            assert_eq!(
                now.free - free,
                owed,
                "a contract's balance is what it owes"
            );
            held += now.held as i128 - deposit as i128;
        }
        for (who, charged) in &books.deposits {
            let name = self.signer(who);
            assert!(
                *charged >= 0,
                "{name:?} gained {charged} of others' deposits"
            );
        }
        let charged: i128 = books.deposits.values().sum();
        assert_eq!(held, charged, "deposits belong to those who were charged");

        let mut everybody: BTreeSet<Account> = self.people().into_iter().collect();
        everybody.extend(DEV_ACCOUNTS.map(|name| Signer::dev(name).account()));
        everybody.extend(at);
        everybody.insert(BURN_ACCOUNT);
        let total: Balance = everybody
            .iter()
            .map(funds)
            .map(|funds| funds.free + funds.held)
            .sum();
        assert_eq!(total, issuance, "nobody else received anything");
    }

    /// Checks the books, and that nothing is left in them: nobody is owed anything and nobody has
    /// a storage deposit, except the people whose stake is still there.
    ///
    /// # Panics
    /// When something is left.
    pub fn check_empty(&self) {
        self.check_books();
        let ledgers = self.ledgers();
        assert_eq!((ledgers.escrow, ledgers.dispute), (0, 0), "nothing is owed");
        for person in self.people() {
            let staker = self.contracts().staker(person).expect("a getter answers");
            let stakes = staker != Staker::default();
            let deposit = self.deposit(&person);
            let left = stakes || deposit <= self.kept(&person);
            assert!(left, "{:?} still has {deposit}", self.signer(&person));
        }
    }
}

/// More attempts than any scenario makes.
const MOST_ATTEMPTS: u32 = 8;

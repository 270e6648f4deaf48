//! The stake contract: what solvers stand to lose.

use crate::{Account, Balance, Logged, Millis};
use core::fmt;
use scale::{Decode, Encode};
use scale_info::TypeInfo;

/// An account's stake. The three amounts are disjoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Staker {
    /// Can be locked or unbonded.
    pub free: Balance,
    /// Secures attempts; can be slashed.
    pub locked: Balance,
    /// On its way out.
    pub unbonding: Balance,
    /// When `unbonding` can be withdrawn; 0 when nothing is unbonding.
    pub release: Millis,
}

/// The contract's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Config {
    /// Who deployed the contract, and may appoint escrow once.
    pub deployer: Account,
    /// The one contract that may lock, unlock and slash.
    pub escrow: Option<Account>,
    /// From the request to unbond to the withdrawal.
    pub delay: Millis,
}

messages! {
    /// Names the escrow contract. Only the deployer, only once.
    "appoint" Appoint {
        /// The escrow contract.
        escrow: Account,
    } -> Result<(), Error>;

    /// Adds the transferred value to the caller's free stake. Payable.
    "deposit" Deposit {} -> Result<(), Error>;

    /// Starts unbonding free stake. An earlier request that is still waiting waits again.
    "request_unbond" RequestUnbond {
        /// How much of the free stake.
        amount: Balance,
    } -> Result<(), Error>;

    /// Makes all unbonding stake free again.
    "cancel_unbond" CancelUnbond {} -> Result<(), Error>;

    /// Pays out all unbonding stake whose delay has passed. The record of an account that holds
    /// nothing afterwards is removed; an account whose whole stake was slashed calls this to
    /// have its storage deposit back.
    "withdraw" Withdraw {} -> Result<(), Error>;

    /// Locks free stake. Only escrow.
    "lock" Lock {
        /// Whose stake.
        owner: Account,
        /// How much.
        amount: Balance,
    } -> Result<(), Error>;

    /// Makes locked stake free. Only escrow.
    "unlock" Unlock {
        /// Whose stake.
        owner: Account,
        /// How much.
        amount: Balance,
    } -> Result<(), Error>;

    /// Takes locked stake and transfers it to escrow, which divides it. Only escrow.
    "slash" Slash {
        /// Whose stake.
        owner: Account,
        /// How much.
        amount: Balance,
    } -> Result<(), Error>;

    /// The stake of an account; `None` when it has no record.
    "staker" GetStaker {
        /// Which account.
        owner: Account,
    } -> Option<Staker>;

    /// The contract's settings.
    "config" GetConfig {} -> Config;
}

/// An event of this contract as the chain shows it; its subject is the owner of the stake.
pub type Log = Logged<Account, Event>;

/// What happened in the stake contract.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Event {
    /// Escrow was named.
    Appointed {
        /// The escrow contract.
        escrow: Account,
    },
    /// Stake was added.
    Deposited {
        /// Whose.
        owner: Account,
        /// How much.
        amount: Balance,
    },
    /// Free stake started unbonding.
    UnbondRequested {
        /// Whose.
        owner: Account,
        /// How much was added to what is unbonding.
        amount: Balance,
        /// When all of it can be withdrawn.
        release: Millis,
    },
    /// Unbonding stake is free again.
    UnbondCancelled {
        /// Whose.
        owner: Account,
        /// How much.
        amount: Balance,
    },
    /// Unbonded stake was paid out.
    Withdrawn {
        /// Whose.
        owner: Account,
        /// How much.
        amount: Balance,
    },
    /// Free stake was locked.
    Locked {
        /// Whose.
        owner: Account,
        /// How much.
        amount: Balance,
    },
    /// Locked stake is free again.
    Unlocked {
        /// Whose.
        owner: Account,
        /// How much.
        amount: Balance,
    },
    /// Locked stake was taken.
    Slashed {
        /// Whose.
        owner: Account,
        /// How much.
        amount: Balance,
    },
}

impl Event {
    /// The account whose stake the event is about.
    pub fn owner(&self) -> Option<Account> {
        match self {
            Event::Appointed { .. } => None,
            Event::Deposited { owner, .. }
            | Event::UnbondRequested { owner, .. }
            | Event::UnbondCancelled { owner, .. }
            | Event::Withdrawn { owner, .. }
            | Event::Locked { owner, .. }
            | Event::Unlocked { owner, .. }
            | Event::Slashed { owner, .. } => Some(*owner),
        }
    }
}

/// Why the stake contract refuses a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Error {
    /// Only the deployer may appoint.
    NotDeployer,
    /// Escrow has been appointed already.
    AlreadyAppointed,
    /// Escrow has not been appointed yet.
    NotAppointed,
    /// Only escrow may lock, unlock or slash.
    NotEscrow,
    /// The amount is zero.
    Zero,
    /// The account has no record.
    NoStake,
    /// The account has less free stake.
    NotFree,
    /// The account has less locked stake.
    NotLocked,
    /// Nothing is unbonding.
    NotUnbonding,
    /// The delay has not passed.
    TooEarly,
    /// The payment was refused, for example since the receiver would stay below the existential
    /// deposit.
    Transfer,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::NotDeployer => "only the deployer may appoint escrow",
            Error::AlreadyAppointed => "escrow is appointed only once",
            Error::NotAppointed => "the deployer must appoint escrow first",
            Error::NotEscrow => "only escrow may lock, unlock and slash",
            Error::Zero => "the amount must not be zero",
            Error::NoStake => "the account has no stake: deposit first",
            Error::NotFree => "the account has too little free stake: deposit more",
            Error::NotLocked => "the account has less locked stake",
            Error::NotUnbonding => "nothing is unbonding: request it first",
            Error::TooEarly => "the unbonding delay has not passed",
            Error::Transfer => {
                "the payment was refused: the receiver may stay below the existential deposit"
            }
        })
    }
}

impl core::error::Error for Error {}

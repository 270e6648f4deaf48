//! The escrow contract: the life of a task, and who is paid.

use crate::{
    stake, terms::TermsFault, Account, Attempt, Balance, BlockNumber, Bounds, Hash, Logged,
    MetricProof, Millis, Task, TaskId, Terms,
};
use alloc::vec::Vec;
use core::fmt;
use lockstep_protocol::{
    task::{Commitment, SpecFault},
    tree::Opening,
};
use scale::{Decode, Encode};
use scale_info::TypeInfo;

/// Bytes of an artifacts' location, at most.
pub const MAX_LOCATION: usize = 256;

/// The part of a slashed stake that burns, in percent. Only this deters a solver that convicts
/// itself to collect the rest.
pub const SLASH_BURN: Balance = 20;
/// The part of a slashed stake that compensates the submitter, in percent. The rest is divided
/// among those who proved the attempt wrong.
pub const SLASH_SUBMITTER: Balance = 30;
/// What a missed commit deadline burns, in percent of the stake, on top of the price difference
/// that the submitter receives: it makes accepting a task and sitting on it cost something even
/// at the highest price.
pub const MISSED_DEADLINE_BURN: Balance = 10;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum TaskStatus {
    /// Waits for a solver; its price rises.
    Open,
    /// A solver works on it.
    Assigned,
    /// A result is committed and open to challenge.
    Committed,
    /// The result stood; the solver is paid.
    Settled,
    /// Over without a result; the reward is refunded.
    Cancelled,
}

/// A task as escrow stores it. The submitter pays for the storage; its size is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct TaskRecord {
    /// Who submitted it.
    pub submitter: Account,
    /// BLAKE3 of the encoded [`Task`]; the whole task is in the `Submitted` event.
    pub terms_hash: Hash,
    /// The offer.
    pub terms: Terms,
    /// Checkpoints of the task.
    pub segments: u32,
    /// State slots of its program.
    pub slots: u32,
    /// The block that contains the `Submitted` event.
    pub block: BlockNumber,
    /// Where it stands.
    pub status: TaskStatus,
    /// Attempts so far; the number of the current or latest one.
    pub attempts: Attempt,
    /// Open time of earlier periods, in milliseconds.
    pub open_before: Millis,
    /// When the current open period began.
    pub opened_at: Millis,
    /// What is held for the reward.
    pub held: Balance,
    /// What the submitter can withdraw.
    pub owed: Balance,
    /// Disputes and demands that are not over, of all attempts.
    pub challenges: u32,
    /// What the settled attempt committed to; zeros before settlement.
    pub result: Commitment,
}

impl TaskRecord {
    /// Open time up to `now`, over all attempts, in milliseconds.
    pub fn open_time(&self, now: Millis) -> Millis {
        match self.status {
            TaskStatus::Open => self
                .open_before
                .saturating_add(now.saturating_sub(self.opened_at)),
            _ => self.open_before,
        }
    }

    /// The price at which the task can be accepted at `now`; `None` when it cannot.
    pub fn price(&self, now: Millis) -> Option<Balance> {
        let open = self.open_time(now);
        (self.status == TaskStatus::Open && open <= self.terms.open).then(|| self.terms.price(open))
    }
}

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum AttemptStatus {
    /// The solver works.
    Working,
    /// The commit deadline passed.
    Missed,
    /// A result is committed and open to challenge.
    Committed,
    /// The result was proven wrong or was withheld; the stake is slashed.
    Wrong,
    /// The result stood.
    Final,
}

/// An attempt as escrow stores it. The solver pays for the storage; its size is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct AttemptRecord {
    /// Who accepted the task.
    pub solver: Account,
    /// At which price.
    pub price: Balance,
    /// Stake locked for it.
    pub stake: Balance,
    /// Where it stands.
    pub status: AttemptStatus,
    /// Last moment to commit.
    pub deadline: Millis,
    /// The window ends no earlier than this: acceptance plus the audit time.
    pub audit_end: Millis,
    /// What was committed; zeros before.
    pub commitment: Commitment,
    /// The metric that the terms' goal asks for, as proven with the commitment;
    /// [`NO_METRIC`](crate::goal::NO_METRIC) without.
    pub metric: u32,
    /// The block that contains the `Committed` event; 0 before.
    pub block: BlockNumber,
    /// Last moment to challenge; 0 before the commit.
    pub window_end: Millis,
    /// Disputes and demands that are not over.
    pub challenges: u32,
    /// Challenges that proved it wrong and earn a share.
    pub wins: u32,
    /// Shares that are not paid yet.
    pub unpaid: u32,
    /// What the winners have not been paid yet.
    pub pool: Balance,
    /// What the solver can withdraw.
    pub owed: Balance,
}

/// Records that one page of a list holds, at most. A page may exceed it by the attempts of its
/// last task.
pub const PAGE: u32 = 64;

/// Attempts at one task that a list looks for, so that nobody can make lists long.
pub const LISTED_ATTEMPTS: Attempt = 16;

/// What is left of a task.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct ListedTask {
    /// Its number.
    pub id: TaskId,
    /// Its record; `None` when only attempts are left.
    pub task: Option<TaskRecord>,
    /// The attempts that are not pruned, latest first, of the latest [`LISTED_ATTEMPTS`]; without the task's
    /// record, of the first.
    pub attempts: Vec<(Attempt, AttemptRecord)>,
}

/// A part of the list of tasks.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct TaskPage {
    /// Those that exist, by number.
    pub tasks: Vec<ListedTask>,
    /// The number at which the next page begins.
    pub next: TaskId,
}

/// How a challenge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Outcome {
    /// The commitment stands: the dispute was lost, or the demand answered.
    Upheld,
    /// A dispute was won. Every won dispute earns a share.
    Wrong,
    /// A demand was not answered. It earns a share only when it is what proves the attempt
    /// wrong, since demands are cheap and would dilute the shares of disputes.
    Withheld,
}

/// What the dispute contract learns when a challenge is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Challenged {
    /// Who defends.
    pub solver: Account,
    /// What is challenged.
    pub commitment: Commitment,
}

/// The contract's settings and totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Config {
    /// Who deployed the contract, and may appoint the dispute contract once.
    pub deployer: Account,
    /// The stake contract.
    pub stake: Account,
    /// The one contract that may report challenges.
    pub dispute: Option<Account>,
    /// Who may pause the intake of tasks.
    pub owner: Account,
    /// To whom ownership is offered.
    pub heir: Option<Account>,
    /// Whether no new task is taken in.
    pub paused: bool,
    /// Limits of terms.
    pub bounds: Bounds,
    /// What waits to be burned.
    pub burn: Balance,
}

messages! {
    /// Names the dispute contract. Only the deployer, only once.
    "appoint" Appoint {
        /// The dispute contract.
        dispute: Account,
    } -> Result<(), Error>;

    /// Stops or resumes the intake of new tasks. Only the owner.
    "pause" Pause {
        /// Whether to stop.
        paused: bool,
    } -> Result<(), Error>;

    /// Offers ownership, or withdraws the offer. Only the owner.
    "offer_ownership" OfferOwnership {
        /// To whom; `None` withdraws.
        heir: Option<Account>,
    } -> Result<(), Error>;

    /// Takes the ownership that was offered to the caller.
    "take_ownership" TakeOwnership {} -> Result<(), Error>;

    /// Submits a task and pays its reward ceiling, exactly. Payable.
    "submit" Submit {
        /// The task.
        task: Task,
        /// Where its program, genesis state and datasets are found, at most 256 bytes.
        artifacts: Vec<u8>,
    } -> Result<TaskId, Error>;

    /// Accepts an open task at its current price and locks the stake. Replies with the number of
    /// the attempt.
    "accept" Accept {
        /// Which task.
        task: TaskId,
        /// What the solver believes the task to be.
        terms_hash: Hash,
        /// The lowest price at which the solver wants it.
        min_price: Balance,
    } -> Result<Attempt, Error>;

    /// Commits to a result. Only the attempt's solver, up to its deadline.
    "commit" Commit {
        /// Which task.
        task: TaskId,
        /// What the solver believes the task to be.
        terms_hash: Hash,
        /// The solver's attempt.
        attempt: Attempt,
        /// The checkpoint trace and the final state.
        commitment: Commitment,
        /// The chunk of the trace that ends with the final state.
        last: Opening,
        /// The final state's metric, when the terms have a goal; without it the result earns as if
        /// the goal were missed.
        metric: Option<MetricProof>,
        /// Where the checkpoints are found, at most 256 bytes.
        artifacts: Vec<u8>,
    } -> Result<(), Error>;

    /// Settles an attempt whose window is past and that no open challenge disputes. Anyone.
    "finalize" Finalize {
        /// Which task.
        task: TaskId,
        /// Its current attempt.
        attempt: Attempt,
    } -> Result<(), Error>;

    /// Ends an attempt that missed its commit deadline. Anyone.
    "expire" Expire {
        /// Which task.
        task: TaskId,
        /// Its current attempt.
        attempt: Attempt,
    } -> Result<(), Error>;

    /// Cancels an open task and refunds the reward. Only the submitter.
    "cancel" Cancel {
        /// Which task.
        task: TaskId,
    } -> Result<(), Error>;

    /// Pays the submitter what it is owed. Replies with the amount.
    "withdraw_refund" WithdrawRefund {
        /// Which task.
        task: TaskId,
    } -> Result<Balance, Error>;

    /// Pays the solver what it is owed. Replies with the amount.
    "withdraw_reward" WithdrawReward {
        /// Which task.
        task: TaskId,
        /// The solver's attempt.
        attempt: Attempt,
    } -> Result<Balance, Error>;

    /// Sends what burns to [`BURN_ACCOUNT`](crate::BURN_ACCOUNT), once it exceeds the
    /// existential deposit. Anyone. Replies with the amount.
    "flush_burn" FlushBurn {} -> Result<Balance, Error>;

    /// Removes a task that is over and owes nothing. Only the submitter.
    "prune_task" PruneTask {
        /// Which task.
        task: TaskId,
    } -> Result<(), Error>;

    /// Removes an attempt that is over and owes nothing. Only its solver.
    "prune_attempt" PruneAttempt {
        /// Which task.
        task: TaskId,
        /// The solver's attempt.
        attempt: Attempt,
    } -> Result<(), Error>;

    /// Registers a dispute or a demand. Only the dispute contract.
    "challenge_opened" ChallengeOpened {
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
        /// The hash of the task that the challenger brought.
        terms_hash: Hash,
        /// The trace that the challenger means.
        trace: Hash,
    } -> Result<Challenged, Error>;

    /// Registers the end of a dispute or a demand. Only the dispute contract. Replies whether the
    /// challenger earns a share.
    "challenge_closed" ChallengeClosed {
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
        /// How it ended.
        outcome: Outcome,
    } -> Result<bool, Error>;

    /// Pays one winner's share. Only the dispute contract, once for each share. Replies with the
    /// amount.
    "pay_share" PayShare {
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
        /// Who won.
        winner: Account,
    } -> Result<Balance, Error>;

    /// How many tasks have been submitted: the next task's number.
    "task_count" GetTaskCount {} -> TaskId;

    /// A task; `None` when it never was or is pruned.
    "task" GetTask {
        /// Which task.
        task: TaskId,
    } -> Option<TaskRecord>;

    /// An attempt; `None` when it never was or is pruned.
    "attempt" GetAttempt {
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
    } -> Option<AttemptRecord>;

    /// Tasks from number `from` on, and the attempts at them, as far as they are not pruned.
    "list_tasks" ListTasks {
        /// The lowest number.
        from: TaskId,
        /// How many numbers to look at, at most [`PAGE`].
        limit: u32,
    } -> TaskPage;

    /// The price at which a task can be accepted now; `None` when it cannot.
    "price" GetPrice {
        /// Which task.
        task: TaskId,
    } -> Option<Balance>;

    /// The contract's settings and totals.
    "config" GetConfig {} -> Config;
}

/// An event of this contract as the chain shows it; its subject is the task.
pub type Log = Logged<TaskId, Event>;

/// What happened in escrow.
#[allow(clippy::large_enum_variant)] // A message has one or two of them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Event {
    /// The dispute contract was named.
    Appointed {
        /// The dispute contract.
        dispute: Account,
    },
    /// The intake of tasks was stopped or resumed.
    Paused {
        /// Whether it is stopped.
        paused: bool,
    },
    /// Ownership was offered, or the offer withdrawn.
    OwnershipOffered {
        /// To whom.
        heir: Option<Account>,
    },
    /// Ownership changed hands.
    OwnershipTaken {
        /// The new owner.
        owner: Account,
    },
    /// A task was submitted and is open.
    Submitted {
        /// Its number.
        task: TaskId,
        /// By whom.
        submitter: Account,
        /// The whole task.
        content: Task,
        /// Where its files are.
        artifacts: Vec<u8>,
    },
    /// A solver took a task.
    Accepted {
        /// Which task.
        task: TaskId,
        /// The number of the new attempt.
        attempt: Attempt,
        /// By whom.
        solver: Account,
        /// At which price.
        price: Balance,
        /// Last moment to commit.
        deadline: Millis,
    },
    /// A result was committed.
    Committed {
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
        /// The checkpoint trace and the final state.
        commitment: Commitment,
        /// The metric that was proven with it.
        metric: Option<u32>,
        /// Last moment to challenge.
        window_end: Millis,
        /// Where the checkpoints are.
        artifacts: Vec<u8>,
    },
    /// A result stood.
    Settled {
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
        /// What the solver can withdraw: its price, or the part that the goal leaves of it.
        earned: Balance,
        /// What the submitter can withdraw of the reward.
        refund: Balance,
    },
    /// An attempt missed its deadline.
    Missed {
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
        /// What the submitter can withdraw of the stake.
        compensation: Balance,
        /// What burns of the stake.
        burned: Balance,
    },
    /// A result was proven wrong, or was withheld.
    ProvenWrong {
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
        /// What the submitter can withdraw of the stake.
        compensation: Balance,
        /// What burns of the stake.
        burned: Balance,
        /// What is divided among the winners.
        pool: Balance,
    },
    /// A task is open again.
    Reopened {
        /// Which task.
        task: TaskId,
    },
    /// A task is over without a result.
    Cancelled {
        /// Which task.
        task: TaskId,
        /// What the submitter can withdraw of the reward.
        refund: Balance,
    },
    /// The submitter was paid.
    RefundWithdrawn {
        /// Which task.
        task: TaskId,
        /// How much.
        amount: Balance,
    },
    /// A solver was paid.
    RewardWithdrawn {
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
        /// How much.
        amount: Balance,
    },
    /// A winner was paid.
    SharePaid {
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
        /// Who.
        winner: Account,
        /// How much.
        amount: Balance,
    },
    /// What waited to be burned is gone.
    Burned {
        /// How much.
        amount: Balance,
    },
    /// A task was removed.
    TaskPruned {
        /// Which task.
        task: TaskId,
    },
    /// An attempt was removed.
    AttemptPruned {
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
    },
}

impl Event {
    /// The task that the event is about.
    pub fn task(&self) -> Option<TaskId> {
        match self {
            Event::Appointed { .. }
            | Event::Paused { .. }
            | Event::OwnershipOffered { .. }
            | Event::OwnershipTaken { .. }
            | Event::Burned { .. } => None,
            Event::Submitted { task, .. }
            | Event::Accepted { task, .. }
            | Event::Committed { task, .. }
            | Event::Settled { task, .. }
            | Event::Missed { task, .. }
            | Event::ProvenWrong { task, .. }
            | Event::Reopened { task }
            | Event::Cancelled { task, .. }
            | Event::RefundWithdrawn { task, .. }
            | Event::RewardWithdrawn { task, .. }
            | Event::SharePaid { task, .. }
            | Event::TaskPruned { task }
            | Event::AttemptPruned { task, .. } => Some(*task),
        }
    }
}

/// Why escrow refuses a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Error {
    /// The bounds allow no terms, or terms that overflow.
    Bounds,
    /// Only the deployer may appoint.
    NotDeployer,
    /// The dispute contract has been appointed already.
    AlreadyAppointed,
    /// The dispute contract has not been appointed yet.
    NotAppointed,
    /// Only the dispute contract may report challenges.
    NotDispute,
    /// Only the owner may do this.
    NotOwner,
    /// Ownership was not offered to the caller.
    NotHeir,
    /// No new tasks are taken in.
    Paused,
    /// The specification is refused.
    Spec(SpecFault),
    /// The terms are refused.
    Terms(TermsFault),
    /// A location is longer than [`MAX_LOCATION`].
    Location,
    /// The transferred value is not the reward ceiling.
    Value,
    /// There is no such task.
    NoTask,
    /// There is no such attempt, or it is not the current one.
    NoAttempt,
    /// The task is another than the caller believes.
    OtherTask,
    /// The commitment is another than the caller believes.
    OtherCommitment,
    /// The task or attempt is not in the state that this needs.
    Status,
    /// The task has been open for as long as its terms allow.
    Closed,
    /// The price is below the caller's minimum.
    Price,
    /// Only the submitter may do this.
    NotSubmitter,
    /// Only the attempt's solver may do this.
    NotSolver,
    /// The deadline or the window has passed.
    TooLate,
    /// The deadline or the window has not passed.
    TooEarly,
    /// The opening does not show the final state as the last entry of the trace.
    Opening,
    /// The proof does not show the metric of the goal in the final state, or there is no goal.
    Metric,
    /// Disputes or demands are not over.
    Challenged,
    /// Something is still owed.
    Owed,
    /// Nothing is owed to the caller.
    NothingOwed,
    /// What waits to be burned is below the existential deposit.
    Dust,
    /// The payment was refused, for example since the receiver would stay below the existential
    /// deposit.
    Transfer,
    /// The stake contract refused.
    Stake(stake::Error),
    /// The stake contract did not answer as it should.
    StakeCall,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Error::Spec(fault) => return write!(f, "the specification is refused: {fault}"),
            Error::Terms(fault) => return write!(f, "the terms are refused: {fault}"),
            Error::Stake(error) => return write!(f, "the stake contract refuses: {error}"),
            Error::Bounds => "the bounds allow no terms, or terms that overflow",
            Error::NotDeployer => "only the deployer may appoint the dispute contract",
            Error::AlreadyAppointed => "the dispute contract is appointed only once",
            Error::NotAppointed => "the deployer must appoint the dispute contract first",
            Error::NotDispute => "only the dispute contract may report challenges",
            Error::NotOwner => "only the owner may do this",
            Error::NotHeir => "ownership was not offered to this account",
            Error::Paused => "no new tasks are taken in at present",
            Error::Location => "a location has at most 256 bytes",
            Error::Value => "the transferred value must be exactly the reward ceiling",
            Error::NoTask => "there is no such task",
            Error::NoAttempt => "there is no such attempt, or it is not the current one",
            Error::OtherTask => "the terms hash is not that of the task: read the task again",
            Error::OtherCommitment => "the attempt has committed to another trace",
            Error::Status => "the task or attempt is not in the state that this needs",
            Error::Closed => "the task's open time is over",
            Error::Price => "the price is still below the minimum that was asked",
            Error::NotSubmitter => "only the task's submitter may do this",
            Error::NotSolver => "only the attempt's solver may do this",
            Error::TooLate => "the deadline or window has passed",
            Error::TooEarly => "the deadline or window has not passed yet",
            Error::Opening => "the opening does not show the final state as the trace's last entry",
            Error::Metric => "the proof does not show the goal's metric in the final state",
            Error::Challenged => "a dispute or demand is not over yet",
            Error::Owed => "something is still owed: withdraw it first",
            Error::NothingOwed => "nothing is owed",
            Error::Dust => "what waits to be burned is below the existential deposit",
            Error::Transfer => {
                "the payment was refused: the receiver may stay below the existential deposit"
            }
            Error::StakeCall => "the stake contract did not answer as it should",
        };
        f.write_str(text)
    }
}

impl core::error::Error for Error {}

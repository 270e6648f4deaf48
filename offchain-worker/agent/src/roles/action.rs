use crate::chain::{Balance, Receipt};
use crate::local::Verdict;
use lockstep_interface::{Attempt, DemandId, DisputeId, TaskId};
use lockstep_protocol::game::{Game, Move};
use lockstep_protocol::task::Commitment;
use std::fmt;

/// Money that was withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Money {
    /// A task's price.
    Reward,
    /// What a task did not cost, or compensates.
    Refund,
    /// What a dispute's bond pays.
    Bond,
    /// What a demand pays.
    Fee,
    /// A share of a slashed stake.
    Share,
}

/// What a role did.
#[derive(Clone, Debug)]
pub enum Action {
    /// Took a task.
    Accepted {
        /// Which.
        task: TaskId,
        /// The number of the attempt.
        attempt: Attempt,
        /// At least at this price.
        price: Balance,
        /// What the chain said.
        receipt: Receipt,
    },
    /// Added stake.
    Staked {
        /// How much.
        amount: Balance,
        /// What the chain said.
        receipt: Receipt,
    },
    /// Ran a segment of a task.
    Trained {
        /// Which task.
        task: TaskId,
        /// Segments done.
        done: u32,
        /// Segments of the task.
        of: u32,
    },
    /// Claimed a result.
    Committed {
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
        /// The claim.
        commitment: Commitment,
        /// What the chain said.
        receipt: Receipt,
    },
    /// Made a move in a dispute.
    Moved {
        /// Which dispute.
        dispute: DisputeId,
        /// The position before.
        before: Box<Game>,
        /// The position after, unless the dispute is gone.
        after: Option<Box<Game>>,
        /// The move.
        mv: Box<Move>,
        /// What the mover has in place of the part that it selects.
        own: Option<Vec<u8>>,
        /// What the chain said.
        receipt: Receipt,
    },
    /// Settled a dispute that was decided.
    Settled {
        /// Which dispute.
        dispute: DisputeId,
        /// Whether a clock decided it, and no move.
        timeout: bool,
        /// What the chain said.
        receipt: Receipt,
    },
    /// Posted a demanded chunk.
    Answered {
        /// Which demand.
        demand: DemandId,
        /// What the chain said.
        receipt: Receipt,
    },
    /// Demanded a withheld chunk.
    Demanded {
        /// The demand's number.
        demand: DemandId,
        /// Which task.
        task: TaskId,
        /// Why.
        reason: String,
        /// What the chain said.
        receipt: Receipt,
    },
    /// Ended a demand that was not answered.
    ExpiredDemand {
        /// Which demand.
        demand: DemandId,
        /// What the chain said.
        receipt: Receipt,
    },
    /// Checked a segment of a commitment.
    Checked {
        /// Which task.
        task: TaskId,
        /// Segments done.
        done: u32,
        /// Segments to check.
        of: u32,
    },
    /// Finished an audit.
    Audited {
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
        /// What was found.
        verdict: Verdict,
    },
    /// Opened a dispute.
    Opened {
        /// Its number.
        dispute: DisputeId,
        /// Which task.
        task: TaskId,
        /// The bond.
        bond: Balance,
        /// What the chain said.
        receipt: Receipt,
    },
    /// Settled a task.
    Finalized {
        /// Which.
        task: TaskId,
        /// What the chain said.
        receipt: Receipt,
    },
    /// Ended an attempt that missed its deadline.
    ExpiredAttempt {
        /// Which task.
        task: TaskId,
        /// What the chain said.
        receipt: Receipt,
    },
    /// Withdrew money.
    Withdrew {
        /// What for.
        money: Money,
        /// How much.
        amount: Balance,
        /// What the chain said.
        receipt: Receipt,
    },
    /// Removed a record that was over, and got its storage deposit back.
    Pruned {
        /// What it was.
        what: String,
        /// What the chain said.
        receipt: Receipt,
    },
}

impl Action {
    /// What sort of thing it is, in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Action::Accepted { .. } => "accepted",
            Action::Staked { .. } => "staked",
            Action::Trained { .. } => "trained",
            Action::Committed { .. } => "committed",
            Action::Moved { .. } => "moved",
            Action::Settled { .. } => "settled",
            Action::Answered { .. } => "answered",
            Action::Demanded { .. } => "demanded",
            Action::ExpiredDemand { .. } => "expired_demand",
            Action::Checked { .. } => "checked",
            Action::Audited { .. } => "audited",
            Action::Opened { .. } => "opened",
            Action::Finalized { .. } => "finalized",
            Action::ExpiredAttempt { .. } => "expired_attempt",
            Action::Withdrew { .. } => "withdrew",
            Action::Pruned { .. } => "pruned",
        }
    }

    /// What the chain said, when it was asked.
    pub fn receipt(&self) -> Option<&Receipt> {
        match self {
            Action::Trained { .. } | Action::Checked { .. } | Action::Audited { .. } => None,
            Action::Accepted { receipt, .. }
            | Action::Staked { receipt, .. }
            | Action::Committed { receipt, .. }
            | Action::Moved { receipt, .. }
            | Action::Settled { receipt, .. }
            | Action::Answered { receipt, .. }
            | Action::Demanded { receipt, .. }
            | Action::ExpiredDemand { receipt, .. }
            | Action::Opened { receipt, .. }
            | Action::Finalized { receipt, .. }
            | Action::ExpiredAttempt { receipt, .. }
            | Action::Withdrew { receipt, .. }
            | Action::Pruned { receipt, .. } => Some(receipt),
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Money::Reward => "reward",
            Money::Refund => "refund",
            Money::Bond => "bond",
            Money::Fee => "fee",
            Money::Share => "share of the slashed stake",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Accepted { task, attempt, .. } => {
                write!(f, "accepted task {task}, attempt {attempt}")
            }
            Action::Staked { amount, .. } => write!(f, "staked {amount}"),
            Action::Trained { task, done, of } => {
                write!(f, "trained task {task}: {done} of {of} segments")
            }
            Action::Committed {
                task,
                attempt,
                commitment,
                ..
            } => write!(
                f,
                "committed task {task}, attempt {attempt}: trace {}",
                hex::encode(commitment.trace)
            ),
            Action::Moved {
                dispute, before, ..
            } => {
                write!(
                    f,
                    "moved in dispute {dispute}, position {}",
                    before.position
                )
            }
            Action::Settled {
                dispute, timeout, ..
            } => {
                let why = if *timeout {
                    ", whose clock ran out"
                } else {
                    ""
                };
                write!(f, "settled dispute {dispute}{why}")
            }
            Action::Answered { demand, .. } => write!(f, "answered demand {demand}"),
            Action::Demanded {
                demand,
                task,
                reason,
                ..
            } => {
                write!(
                    f,
                    "demanded a chunk of task {task} (demand {demand}): {reason}"
                )
            }
            Action::ExpiredDemand { demand, .. } => {
                write!(f, "ended demand {demand}, which was not answered")
            }
            Action::Checked { task, done, of } => {
                write!(f, "checked task {task}: {done} of {of} segments")
            }
            Action::Audited {
                task,
                attempt,
                verdict,
            } => match verdict {
                Verdict::Clean => write!(f, "audited task {task}, attempt {attempt}: right"),
                Verdict::Wrong { segment, .. } => {
                    write!(
                        f,
                        "audited task {task}, attempt {attempt}: segment {segment} is wrong"
                    )
                }
            },
            Action::Opened { dispute, task, .. } => {
                write!(f, "opened dispute {dispute} of task {task}")
            }
            Action::Finalized { task, .. } => write!(f, "settled task {task}"),
            Action::ExpiredAttempt { task, .. } => {
                write!(
                    f,
                    "ended the attempt at task {task}, which missed its deadline"
                )
            }
            Action::Withdrew { money, amount, .. } => write!(f, "withdrew {amount} ({money})"),
            Action::Pruned { what, .. } => write!(f, "removed {what}"),
        }
    }
}

//! What the chain has seen of a task: its events, from the block of its submission on.

use crate::money;
use crate::time;
use crate::wording;
use anyhow::Result;
use lockstep_agent::chain::contracts::Contracts;
use lockstep_agent::chain::Now;
use lockstep_agent::keys::address;
use lockstep_agent::roles::Observer;
use lockstep_interface::dispute::Event as Disputed;
use lockstep_interface::escrow::{Event as Escrowed, TaskRecord};
use lockstep_interface::{Account, Attempt, DisputeId, Task, TaskId};
use lockstep_protocol::game::{Move, Outcome, Side};
use lockstep_protocol::task::Commitment;

/// A task's events.
pub struct History {
    /// The task as it was submitted.
    pub task: Task,
    /// Where its files are.
    pub artifacts: String,
    /// What happened, in words.
    pub lines: Vec<Line>,
    /// Its attempts, in order.
    pub attempts: Vec<Attempted>,
    /// Its disputes, in order.
    pub disputes: Vec<Dispute>,
    /// Why events are missing from some block on, when they are.
    pub gap: Option<String>,
}

/// Something that happened.
pub struct Line {
    /// When.
    pub at: Now,
    /// What.
    pub what: String,
}

/// An attempt.
pub struct Attempted {
    /// Its number.
    pub number: Attempt,
    /// Who solves.
    pub solver: Account,
    /// The result, and where its checkpoints are, once there is one.
    pub result: Option<(Commitment, String)>,
    /// How it stands, in a word.
    pub status: &'static str,
}

/// A dispute.
pub struct Dispute {
    /// Its number.
    pub id: DisputeId,
    /// The attempt whose result is disputed.
    pub attempt: Attempt,
    /// Who disputes it.
    pub challenger: Account,
    /// The moves that did not end it.
    pub moves: Vec<(Now, Move)>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

impl History {
    /// Reads the events of every block from the task's submission to now.
    ///
    /// # Errors
    /// When the submission is not to be had, or the observer stops the reading.
    pub fn read(
        contracts: &Contracts,
        id: TaskId,
        record: &TaskRecord,
        observer: &mut dyn Observer,
    ) -> Result<History> {
        let submission = contracts.submission(id, record)?;
        let mut history = History {
            task: submission.task,
            artifacts: submission.artifacts,
            lines: Vec::new(),
            attempts: Vec::new(),
            disputes: Vec::new(),
            gap: None,
        };
        let end = contracts.now()?.block;
        for block in record.block..end {
            if let Err(error) = history.block(contracts, id, block) {
                history.gap = Some(format!("the events from block {block} on: {error:#}"));
                break;
            }
            let going_on = observer.step(block + 1 - record.block, end - record.block);
            anyhow::ensure!(going_on, "stopped");
        }
        Ok(history)
    }

    /// The attempt with this number.
    pub fn attempt(&self, number: Attempt) -> Option<&Attempted> {
        self.attempts.iter().find(|a| a.number == number)
    }

    /// The latest attempt that has a result.
    pub fn latest_result(&self) -> Option<&Attempted> {
        self.attempts.iter().rev().find(|a| a.result.is_some())
    }

    fn block(&mut self, contracts: &Contracts, id: TaskId, block: u32) -> Result<()> {
        for (at, event) in contracts.escrow_events(block)? {
            if event.task() == Some(id) {
                self.escrow(at, event);
            }
        }
        for (at, event) in contracts.dispute_events(block)? {
            self.dispute(id, at, event);
        }
        Ok(())
    }

    fn say(&mut self, at: Now, what: String) {
        self.lines.push(Line { at, what });
    }

    fn mark(&mut self, number: Attempt, status: &'static str) {
        if let Some(attempt) = self.attempts.iter_mut().find(|a| a.number == number) {
            attempt.status = status;
        }
    }

    fn escrow(&mut self, at: Now, event: Escrowed) {
        let what = match event {
            Escrowed::Submitted { submitter, .. } => {
                format!("submitted by {}", address(&submitter))
            }
            Escrowed::Accepted {
                attempt,
                solver,
                price,
                ..
            } => {
                self.attempts.push(Attempted {
                    number: attempt,
                    solver,
                    result: None,
                    status: "at work",
                });
                let (who, price) = (address(&solver), money::show(price));
                format!("attempt {attempt}: accepted by {who} at {price}")
            }
            Escrowed::Committed {
                attempt,
                commitment,
                window_end,
                metric,
                artifacts,
                ..
            } => {
                let artifacts = String::from_utf8_lossy(&artifacts).into_owned();
                if let Some(attempted) = self.attempts.iter_mut().find(|a| a.number == attempt) {
                    attempted.result = Some((commitment, artifacts));
                }
                self.mark(attempt, "committed");
                let open = time::show(window_end.saturating_sub(at.time));
                let proven = metric.map(f32::from_bits);
                let proven = proven.map_or(String::new(), |x| format!(", metric {x} proven"));
                format!(
                    "attempt {attempt}: a result is committed{proven}, open to challenge for {open}"
                )
            }
            Escrowed::Settled {
                attempt, earned, ..
            } => {
                self.mark(attempt, "settled");
                format!(
                    "attempt {attempt}: settled, {} to the solver",
                    money::show(earned)
                )
            }
            Escrowed::Missed {
                attempt, burned, ..
            } => {
                self.mark(attempt, "missed its deadline");
                let burned = money::show(burned);
                format!("attempt {attempt}: missed its deadline; {burned} of the stake burn")
            }
            Escrowed::ProvenWrong {
                attempt,
                compensation,
                burned,
                pool,
                ..
            } => {
                self.mark(attempt, "proven wrong");
                format!(
                    "attempt {attempt}: proven wrong; of the stake {} to the submitter, {} to the \
                     winners, {} burn",
                    money::show(compensation),
                    money::show(pool),
                    money::show(burned)
                )
            }
            Escrowed::Reopened { .. } => "open again".into(),
            Escrowed::Cancelled { refund, .. } => {
                format!("cancelled, {} back to the submitter", money::show(refund))
            }
            Escrowed::RefundWithdrawn { amount, .. } => {
                format!("the submitter is paid {}", money::show(amount))
            }
            Escrowed::RewardWithdrawn {
                attempt, amount, ..
            } => {
                format!(
                    "attempt {attempt}: the solver is paid {}",
                    money::show(amount)
                )
            }
            Escrowed::SharePaid { winner, amount, .. } => format!(
                "{} is paid a share of {} of the slashed stake",
                address(&winner),
                money::show(amount)
            ),
            _ => return,
        };
        self.say(at, what);
    }

    fn dispute(&mut self, id: TaskId, at: Now, event: Disputed) {
        match event {
            Disputed::Opened {
                dispute,
                task,
                attempt,
                challenger,
            } if task == id => {
                self.disputes.push(Dispute {
                    id: dispute,
                    attempt,
                    challenger,
                    moves: Vec::new(),
                    outcome: None,
                });
                let who = address(&challenger);
                self.say(
                    at,
                    format!("attempt {attempt}: dispute {dispute} opened by {who}"),
                );
            }
            Disputed::Moved { dispute, mv, .. } => {
                if let Some(known) = self.known(dispute) {
                    known.moves.push((at, mv));
                }
            }
            Disputed::Decided {
                dispute, outcome, ..
            }
            | Disputed::Settled {
                dispute, outcome, ..
            } => {
                let Some(known) = self.known(dispute) else {
                    return;
                };
                if known.outcome.replace(outcome).is_none() {
                    let winner = wording::side(outcome.winner);
                    self.say(at, format!("dispute {dispute}: the {winner} wins"));
                }
            }
            Disputed::Demanded {
                demand,
                task,
                attempt,
                segment,
                slot,
                ..
            } if task == id => self.say(
                at,
                format!(
                    "attempt {attempt}: demand {demand} for a chunk of checkpoint {segment}, slot \
                     {slot}"
                ),
            ),
            _ => {}
        }
    }

    fn known(&mut self, id: DisputeId) -> Option<&mut Dispute> {
        self.disputes.iter_mut().find(|dispute| dispute.id == id)
    }
}

impl Dispute {
    /// Who won, once somebody has.
    pub fn winner(&self) -> Option<Side> {
        self.outcome.map(|outcome| outcome.winner)
    }
}

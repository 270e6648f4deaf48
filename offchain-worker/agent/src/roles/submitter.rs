//! The submitter: offers a task, and looks after it until its money is back or spent.

use super::{Action, Error, Money, Worker};
use crate::chain::Receipt;
use crate::run::goal;
use crate::run::workload::Workload;
use lockstep_interface::escrow::{
    self, AttemptStatus, Cancel, Expire, Finalize, ListedTask, PruneTask, TaskRecord, TaskStatus,
    WithdrawRefund,
};
use lockstep_interface::{Task, TaskId, Terms};

/// The submitter.
pub struct Submitter {
    worker: Worker,
    /// Whether to remove tasks that are over, for their storage deposits.
    prune: bool,
}

impl Submitter {
    /// A submitter that also removes what is over when `prune` is set.
    pub fn new(worker: Worker, prune: bool) -> Submitter {
        Submitter { worker, prune }
    }

    /// Publishes a task's files in the store and submits it. `artifacts` tells solvers where the
    /// store is.
    ///
    /// # Errors
    /// When the terms' goal asks for what the program does not have, or the store or the contract
    /// refuses.
    pub fn submit(
        &self,
        workload: &Workload,
        terms: Terms,
        artifacts: &str,
    ) -> Result<(TaskId, Receipt), Error> {
        let task = Task {
            spec: workload.spec.clone(),
            terms,
        };
        goal::check(&workload.program, &terms)?;
        workload.publish(&self.worker.store)?;
        self.worker.store.put_value(&task)?;
        let message = escrow::Submit {
            task,
            artifacts: artifacts.as_bytes().to_vec(),
        };
        let sent =
            self.worker
                .contracts
                .escrow(&self.worker.signer, terms.reward_ceiling, &message)?;
        Ok(sent)
    }

    /// Makes the one move that is due; `None` when there is none.
    ///
    /// # Errors
    /// When the chain fails. The next call tries again.
    pub fn react(&mut self) -> Result<Option<Action>, Error> {
        for listed in self.worker.contracts.tasks()? {
            let Some(record) = &listed.task else {
                continue;
            };
            if record.submitter == self.worker.me() {
                if let Some(action) = self.look_after(&listed, record)? {
                    return Ok(Some(action));
                }
            }
        }
        Ok(None)
    }

    fn look_after(
        &self,
        listed: &ListedTask,
        record: &TaskRecord,
    ) -> Result<Option<Action>, Error> {
        let id = listed.id;
        let Worker {
            signer, contracts, ..
        } = &self.worker;
        let now = contracts.now()?;
        if record.owed > 0 {
            let message = WithdrawRefund { task: id };
            let (amount, receipt) = contracts.escrow(signer, 0, &message)?;
            return Ok(Some(Action::Withdrew {
                money: Money::Refund,
                amount,
                receipt,
            }));
        }
        let attempt = listed
            .attempts
            .last()
            .filter(|(number, _)| *number == record.attempts)
            .map(|(_, attempt)| attempt);
        match (record.status, attempt) {
            (TaskStatus::Open, _) if record.open_time(now.time) > record.terms.open => {
                let ((), receipt) = contracts.escrow(signer, 0, &Cancel { task: id })?;
                Ok(Some(Action::Pruned {
                    what: format!("the offer of task {id}"),
                    receipt,
                }))
            }
            (TaskStatus::Assigned, Some(attempt))
                if attempt.status == AttemptStatus::Working && now.time > attempt.deadline =>
            {
                let message = Expire {
                    task: id,
                    attempt: record.attempts,
                };
                let ((), receipt) = contracts.escrow(signer, 0, &message)?;
                Ok(Some(Action::ExpiredAttempt { task: id, receipt }))
            }
            (TaskStatus::Committed, Some(attempt))
                if now.time > attempt.window_end && attempt.challenges == 0 =>
            {
                let message = Finalize {
                    task: id,
                    attempt: record.attempts,
                };
                let ((), receipt) = contracts.escrow(signer, 0, &message)?;
                Ok(Some(Action::Finalized { task: id, receipt }))
            }
            (TaskStatus::Settled | TaskStatus::Cancelled, _) => self.prune(listed, record),
            _ => Ok(None),
        }
    }

    /// Removes a task once every attempt at it is gone, so that solvers still find theirs.
    fn prune(&self, listed: &ListedTask, record: &TaskRecord) -> Result<Option<Action>, Error> {
        if !self.prune || record.challenges > 0 || !listed.attempts.is_empty() {
            return Ok(None);
        }
        let id = listed.id;
        let message = PruneTask { task: id };
        let ((), receipt) = self
            .worker
            .contracts
            .escrow(&self.worker.signer, 0, &message)?;
        Ok(Some(Action::Pruned {
            what: format!("task {id}"),
            receipt,
        }))
    }
}

//! The solver: takes tasks that pay, runs them, claims the results and defends them.

mod appetite;
mod defend;

pub use appetite::{Appetite, Effort, Skip};

use super::{Action, Error, Fetched, Library, Money, Observer, Postponed, Worker};
use crate::run::fault::{Fault, Level, Place};
use crate::run::goal;
use crate::run::training::Training;
use lockstep_interface::escrow::{
    Accept, AttemptRecord, AttemptStatus, Commit, Finalize, ListedTask, PruneAttempt, TaskRecord,
    TaskStatus, WithdrawReward,
};
use lockstep_interface::{stake, Attempt, TaskId};
use lockstep_protocol::task::Commitment;
use lockstep_protocol::tree;
use std::collections::BTreeMap;

/// How a cheat cheats. For demonstrations and tests.
#[derive(Clone, Copy, Debug)]
pub struct Cheating {
    /// What kind of error.
    pub level: Level,
    /// Where, as far as it is not left to chance.
    pub place: Place,
    /// The seed of the rest.
    pub seed: u64,
}

/// The solver.
pub struct Solver {
    worker: Worker,
    appetite: Appetite,
    cheating: Option<Cheating>,
    library: Library,
    faults: BTreeMap<TaskId, Fault>,
    training: Option<(TaskId, Attempt, Training)>,
    defences: defend::Defences,
    skipped: BTreeMap<TaskId, Skip>,
    /// Whether to take new tasks.
    accepts: bool,
}

impl Solver {
    /// An honest solver.
    pub fn new(worker: Worker, appetite: Appetite) -> Solver {
        Solver {
            worker,
            appetite,
            cheating: None,
            library: Library::default(),
            faults: BTreeMap::new(),
            training: None,
            defences: defend::Defences::default(),
            skipped: BTreeMap::new(),
            accepts: true,
        }
    }

    /// Takes no new task from now on; what was begun is finished.
    pub fn accept_nothing(&mut self) {
        self.accepts = false;
    }

    /// A solver that plants an error in everything it runs and then defends it.
    pub fn cheat(worker: Worker, appetite: Appetite, cheating: Cheating) -> Solver {
        Solver {
            cheating: Some(cheating),
            ..Solver::new(worker, appetite)
        }
    }

    /// Why open tasks were passed over, by task.
    pub fn skipped(&self) -> &BTreeMap<TaskId, Skip> {
        &self.skipped
    }

    /// The error planted in a task's run, once it has begun.
    pub fn fault(&self, task: TaskId) -> Option<&Fault> {
        self.faults.get(&task)
    }

    /// Makes the one move that is due; `None` when there is none. Disputes come first, new tasks
    /// last. A long run is cut into segments, so that no dispute waits for it.
    ///
    /// # Errors
    /// When the chain, the store or the engine fails. The next call tries again.
    pub fn react(&mut self, observer: &mut dyn Observer) -> Result<Option<Action>, Error> {
        let mut postponed = Postponed::default();
        let defended = self.defend();
        if let Some(action) = postponed.hear(defended)? {
            return Ok(Some(action));
        }
        let mut busy = false;
        let tasks = self.worker.contracts.tasks()?;
        for listed in &tasks {
            for (number, attempt) in &listed.attempts {
                if attempt.solver != self.worker.me() {
                    continue;
                }
                busy |= attempt.status == AttemptStatus::Working;
                let attended = self.attend(listed, *number, attempt, observer);
                if let Some(action) = postponed.hear(attended)? {
                    return Ok(Some(action));
                }
            }
        }
        if busy || !self.accepts {
            return postponed.last(Ok(None));
        }
        let accepted = self.accept(&tasks);
        postponed.last(accepted)
    }

    /// Takes what is owed and nothing else; `None` when nothing is.
    ///
    /// # Errors
    /// When the chain fails.
    pub fn collect(&self) -> Result<Option<Action>, Error> {
        if let Some(action) = self.collect_bonds()? {
            return Ok(Some(action));
        }
        let Worker {
            signer, contracts, ..
        } = &self.worker;
        for ListedTask {
            id: task, attempts, ..
        } in contracts.tasks()?
        {
            for (attempt, record) in attempts {
                if record.solver == self.worker.me() && record.owed > 0 {
                    let message = WithdrawReward { task, attempt };
                    let (amount, receipt) = contracts.escrow(signer, 0, &message)?;
                    return Ok(Some(Action::Withdrew {
                        money: Money::Reward,
                        amount,
                        receipt,
                    }));
                }
            }
        }
        Ok(None)
    }

    /// Sees to one of its attempts.
    fn attend(
        &mut self,
        listed: &ListedTask,
        number: Attempt,
        attempt: &AttemptRecord,
        observer: &mut dyn Observer,
    ) -> Result<Option<Action>, Error> {
        let id = listed.id;
        let now = self.worker.contracts.now()?;
        match (attempt.status, &listed.task) {
            (AttemptStatus::Working, Some(record)) if now.time <= attempt.deadline => {
                return self.work(id, record, number, observer).map(Some);
            }
            (AttemptStatus::Committed, Some(record))
                if now.time > attempt.window_end
                    && attempt.challenges == 0
                    && record.status == TaskStatus::Committed =>
            {
                let Worker {
                    signer, contracts, ..
                } = &self.worker;
                let message = Finalize {
                    task: id,
                    attempt: number,
                };
                let ((), receipt) = contracts.escrow(signer, 0, &message)?;
                return Ok(Some(Action::Finalized { task: id, receipt }));
            }
            _ => {}
        }
        let Worker {
            signer, contracts, ..
        } = &self.worker;
        if attempt.owed > 0 {
            let message = WithdrawReward {
                task: id,
                attempt: number,
            };
            let (amount, receipt) = contracts.escrow(signer, 0, &message)?;
            return Ok(Some(Action::Withdrew {
                money: Money::Reward,
                amount,
                receipt,
            }));
        }
        let over = !matches!(
            attempt.status,
            AttemptStatus::Working | AttemptStatus::Committed
        );
        if over && attempt.challenges == 0 && attempt.unpaid == 0 {
            let message = PruneAttempt {
                task: id,
                attempt: number,
            };
            let ((), receipt) = contracts.escrow(signer, 0, &message)?;
            let what = format!("attempt {number} at task {id}");
            return Ok(Some(Action::Pruned { what, receipt }));
        }
        Ok(None)
    }

    /// Runs the next segment of an attempt, or claims its result.
    fn work(
        &mut self,
        id: TaskId,
        record: &TaskRecord,
        number: Attempt,
        observer: &mut dyn Observer,
    ) -> Result<Action, Error> {
        let fetched = self.library.get(&self.worker, id, record)?;
        let ours =
            |(task, attempt, _): &(TaskId, Attempt, Training)| *task == id && *attempt == number;
        if !self.training.as_ref().is_some_and(ours) {
            let fault = self.plant(id, &fetched)?;
            let training = Training::resume(
                fetched.workload.clone(),
                self.worker.device,
                self.worker.store.clone(),
                self.worker.local.clone(),
                fault,
            )?;
            self.training = Some((id, number, training));
        }
        let Some((_, _, training)) = &mut self.training else {
            unreachable!("the run was resumed above");
        };
        if !training.finished() {
            training.segment(observer)?;
            return Ok(Action::Trained {
                task: id,
                done: training.done(),
                of: fetched.workload.spec.segments(),
            });
        }
        let spent = training.spent();
        tracing::info!(
            task = id,
            compute = ?spent.compute,
            checkpoints = ?spent.commit,
            device = training.device(),
            "run finished"
        );
        let claim = training.claim();
        let file = claim.concat();
        let trace = self.worker.store.put(&file)?;
        let state = *claim.last().expect("a task has at least one segment");
        let commitment = Commitment { trace, state };
        // Nothing can be shown of a state that a cheat has made up.
        let goal = record
            .terms
            .goal
            .filter(|_| training.checkpoints().last() == Some(&state));
        let program = &fetched.workload.program;
        let metric = goal
            .map(|goal| goal::prove(&self.worker.store, program, &state, &goal))
            .transpose()?;
        let message = Commit {
            task: id,
            terms_hash: record.terms_hash,
            attempt: number,
            commitment,
            last: tree::prove_open(&file, file.len() as u64 - 32),
            metric,
            artifacts: self.worker.store.location().as_bytes().to_vec(),
        };
        let ((), receipt) = self
            .worker
            .contracts
            .escrow(&self.worker.signer, 0, &message)?;
        self.training = None;
        Ok(Action::Committed {
            task: id,
            attempt: number,
            commitment,
            receipt,
        })
    }

    /// The error of this task's run; none when honest.
    fn plant(&mut self, id: TaskId, fetched: &Fetched) -> Result<Option<Fault>, Error> {
        let Some(Cheating { level, place, seed }) = self.cheating else {
            return Ok(None);
        };
        if let Some(fault) = self.faults.get(&id) {
            return Ok(Some(*fault));
        }
        let fault = Fault::plant(&fetched.workload, self.worker.device, level, place, seed)?;
        self.faults.insert(id, fault);
        Ok(Some(fault))
    }

    /// Takes the first open task that suits.
    fn accept(&mut self, tasks: &[ListedTask]) -> Result<Option<Action>, Error> {
        let now = self.worker.contracts.now()?;
        for listed in tasks {
            let Some(record) = &listed.task else {
                continue;
            };
            let Some(price) = record.price(now.time) else {
                continue;
            };
            let id = listed.id;
            match self.consider(id, record, price)? {
                Ok(action) => return Ok(Some(action)),
                Err(skip) => {
                    if self.skipped.get(&id) != Some(&skip) {
                        tracing::info!(task = id, why = %skip, "skipped");
                    }
                    self.skipped.insert(id, skip);
                }
            }
        }
        Ok(None)
    }

    fn consider(
        &mut self,
        id: TaskId,
        record: &TaskRecord,
        price: u128,
    ) -> Result<Result<Action, Skip>, Error> {
        // Nobody knows the metric of a goal before the work is done.
        let least = record.terms.least(price);
        if let Err(skip) = self.appetite.terms(&record.terms, least) {
            return Ok(Err(skip));
        }
        let fetched = match self.library.get(&self.worker, id, record) {
            Ok(fetched) => fetched,
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => return Ok(Err(Skip::Files(error.to_string()))),
        };
        if let Err(error) = goal::check(&fetched.workload.program, &record.terms) {
            return Ok(Err(Skip::Files(error.to_string())));
        }
        if let Err(skip) = self
            .appetite
            .workload(&fetched.workload, &record.terms, least)
        {
            return Ok(Err(skip));
        }
        let Worker {
            signer, contracts, ..
        } = &self.worker;
        let staked = contracts.staker(signer.account())?.free;
        if let Some(missing) = record.terms.stake.checked_sub(staked).filter(|m| *m > 0) {
            if missing > self.appetite.top_up {
                return Ok(Err(Skip::Stake {
                    need: record.terms.stake,
                    have: staked,
                }));
            }
            let ((), receipt) = contracts.stake(signer, missing, &stake::Deposit {})?;
            return Ok(Ok(Action::Staked {
                amount: missing,
                receipt,
            }));
        }
        let message = Accept {
            task: id,
            terms_hash: record.terms_hash,
            min_price: price,
        };
        let (attempt, receipt) = contracts.escrow(signer, 0, &message)?;
        self.skipped.remove(&id);
        Ok(Ok(Action::Accepted {
            task: id,
            attempt,
            price,
            receipt,
        }))
    }
}

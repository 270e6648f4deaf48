//! The verbs of a task's life, each a message to the contracts that is expected to succeed.

use crate::world::World;
use lockstep_agent::chain::Balance;
use lockstep_agent::keys::Signer;
use lockstep_interface::dispute::{self, Answer, AnswerChunk, DemandRecord, DisputeRecord};
use lockstep_interface::escrow::{self, AttemptRecord, TaskRecord};
use lockstep_interface::{stake, Attempt, DemandId, DisputeId, Millis, Task, TaskId, Terms};
use lockstep_protocol::player::FileId;
use lockstep_protocol::rehearsal::Run;
use lockstep_protocol::task::TaskSpec;
use lockstep_protocol::{tree, Hash};
use scale::Encode;

/// An offer with amounts that divide badly.
pub const TERMS: Terms = Terms {
    reward_floor: 1_003,
    reward_ceiling: 2_011,
    stake: 10_007,
    bond: 1_213,
    demand_fee: 17,
    ramp: 1_000_000,
    open: 4_000_000,
    work: 2_000_000,
    audit: 3_000_000,
    window: 1_000_000,
    replay: 50_000,
    clock: 600_000,
    increment: 2_000,
    min_blocks: 3,
    goal: None,
};

/// Where everything is said to be found.
const NOWHERE: &[u8] = b"nowhere";

/// A submitted task.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its number.
    pub id: TaskId,
    /// All of it.
    pub task: Task,
}

impl Job {
    /// The terms hash.
    pub fn hash(&self) -> Hash {
        self.task.hash()
    }
}

impl World {
    /// Submits a task by the person named "submitter".
    ///
    /// # Panics
    /// When it is refused.
    pub fn submit(&self, spec: &TaskSpec, terms: Terms) -> Job {
        let task = Task {
            spec: spec.clone(),
            terms,
        };
        let message = escrow::Submit {
            task: task.clone(),
            artifacts: NOWHERE.to_vec(),
        };
        let id = self
            .ask(&self.person("submitter"), terms.reward_ceiling, &message)
            .expect("the task is taken in");
        Job { id, task }
    }

    /// Adds to somebody's stake.
    ///
    /// # Panics
    /// When it is refused.
    pub fn stake(&self, who: &Signer, amount: Balance) {
        self.tell(who, amount, &stake::Deposit {})
            .expect("stake is taken in");
    }

    /// Accepts a task at any price.
    ///
    /// # Panics
    /// When it is refused.
    pub fn accept(&self, job: &Job, solver: &Signer) -> Attempt {
        let message = escrow::Accept {
            task: job.id,
            terms_hash: job.hash(),
            min_price: 0,
        };
        self.ask(solver, 0, &message).expect("the task is accepted")
    }

    /// Commits to the result of a run.
    ///
    /// # Panics
    /// When it is refused.
    pub fn commit(&self, job: &Job, attempt: Attempt, solver: &Signer, run: &Run) {
        self.tell(solver, 0, &commit(job, attempt, run))
            .expect("the result is committed");
    }

    /// Submits a task, and has the person named "solver" stake for it, accept it and commit to
    /// the result of a run.
    ///
    /// # Panics
    /// When anything is refused.
    pub fn committed(&self, run: &Run, terms: Terms) -> (Job, Attempt) {
        let solver = self.person("solver");
        let job = self.submit(&run.spec, terms);
        let attempt = self.attempt_by(&job, &solver, run);
        (job, attempt)
    }

    /// Has somebody stake for a task, accept it and commit to the result of a run.
    ///
    /// # Panics
    /// When anything is refused.
    pub fn attempt_by(&self, job: &Job, solver: &Signer, run: &Run) -> Attempt {
        self.stake(solver, job.task.terms.stake);
        let attempt = self.accept(job, solver);
        self.commit(job, attempt, solver, run);
        attempt
    }

    /// Disputes the commitment of a run.
    ///
    /// # Panics
    /// When it is refused.
    pub fn open(&self, job: &Job, attempt: Attempt, challenger: &Signer, run: &Run) -> DisputeId {
        let message = open(job, attempt, run);
        self.ask(challenger, job.task.terms.bond, &message)
            .expect("the commitment is open to challenge")
    }

    /// Demands a chunk (segment, slot, chunk) of the commitment of a run.
    ///
    /// # Panics
    /// When it is refused.
    pub fn demand(
        &self,
        job: &Job,
        attempt: Attempt,
        demander: &Signer,
        run: &Run,
        place: (u32, u32, u64),
    ) -> DemandId {
        let message = demand(job, attempt, run, place);
        self.ask(demander, job.task.terms.demand_fee, &message)
            .expect("the commitment is open to challenge")
    }

    /// Lets the time to answer a demand run out.
    ///
    /// # Panics
    /// When the demand is accepted as failed too early or refused afterwards.
    pub fn expire_demand(&self, demand: DemandId) {
        let record = self.demand_record(demand);
        let message = dispute::ExpireDemand { demand };
        let anyone = self.person("bystander");
        let now = self.now();
        if !record.expired(now.time, now.block) {
            let early = self.tell(&anyone, 0, &message);
            assert_eq!(early, Err(dispute::Error::Running));
        }
        let end = record.since + record.clock;
        if self.now().time <= end {
            self.wait_until(end + 1);
        }
        while self.now().block <= record.since_block + record.min_blocks {
            self.wait(1);
        }
        self.tell(&anyone, 0, &message)
            .expect("the time to answer is over");
    }

    /// Waits for the end of an attempt's window and settles it.
    ///
    /// # Panics
    /// When it is refused.
    pub fn finalize(&self, job: &Job, attempt: Attempt) {
        let end = self.attempt_record(job, attempt).window_end;
        if self.now().time <= end {
            self.wait_until(end + 1);
        }
        let message = escrow::Finalize {
            task: job.id,
            attempt,
        };
        self.tell(&self.person("bystander"), 0, &message)
            .expect("the window is past and nothing is open");
    }

    /// Pays out and removes everything of a task that is over, and whatever burns.
    ///
    /// # Panics
    /// When something is not over.
    pub fn clear(&self, job: &Job) {
        for listed in self.contracts().disputes(0).expect("a getter answers") {
            if listed.task == job.id {
                self.clear_dispute(listed.id);
            }
        }
        for listed in self.contracts().demands(0).expect("a getter answers") {
            if listed.task == job.id {
                self.clear_demand(listed.id);
            }
        }
        let task = job.id;
        for attempt in 1..=self.task(job).attempts {
            let record = self.attempt_record(job, attempt);
            let solver = self.signer(&record.solver);
            if record.owed > 0 {
                let message = escrow::WithdrawReward { task, attempt };
                self.tell(&solver, 0, &message).expect("the solver is paid");
            }
            let message = escrow::PruneAttempt { task, attempt };
            self.tell(&solver, 0, &message)
                .expect("the attempt is over");
            let staker = self.contracts().staker(record.solver);
            if staker.expect("a getter answers") == stake::Staker::default()
                && self.deposit(&record.solver) > 0
            {
                self.tell(&solver, 0, &stake::Withdraw {})
                    .expect("an empty record is given up");
            }
        }
        let submitter = self.signer(&self.task(job).submitter);
        if self.task(job).owed > 0 {
            self.tell(&submitter, 0, &escrow::WithdrawRefund { task })
                .expect("the submitter is paid");
        }
        self.tell(&submitter, 0, &escrow::PruneTask { task })
            .expect("the task is over");
        self.flush();
    }

    /// Burns what waits to be burned.
    ///
    /// # Panics
    /// When the contracts refuse to burn something.
    pub fn flush(&self) {
        let anyone = self.person("bystander");
        let contracts = self.contracts();
        if contracts.escrow_config().expect("a getter answers").burn > 0 {
            self.tell(&anyone, 0, &escrow::FlushBurn {})
                .expect("escrow burns");
        }
        if contracts.dispute_config().expect("a getter answers").burn > 0 {
            self.tell(&anyone, 0, &dispute::FlushBurn {})
                .expect("dispute burns");
        }
    }

    fn clear_dispute(&self, dispute: DisputeId) {
        let record = self.dispute(dispute);
        let (solver, challenger) = (self.signer(&record.solver), self.signer(&record.challenger));
        if record.share == dispute::Share::Earned {
            self.tell(&challenger, 0, &dispute::ClaimShare { dispute })
                .expect("the share is paid");
        }
        let owed = [
            (&solver, record.owed_solver),
            (&challenger, record.owed_challenger),
        ];
        for (who, amount) in owed {
            if amount > 0 {
                self.tell(who, 0, &dispute::Withdraw { dispute })
                    .expect("the bond is divided");
            }
        }
        self.tell(&challenger, 0, &dispute::Prune { dispute })
            .expect("the dispute is over");
    }

    fn clear_demand(&self, demand: DemandId) {
        let record = self.demand_record(demand);
        let (solver, demander) = (self.signer(&record.solver), self.signer(&record.demander));
        if record.share == dispute::Share::Earned {
            self.tell(&demander, 0, &dispute::ClaimDemandShare { demand })
                .expect("the share is paid");
        }
        let owed = [
            (&solver, record.owed_solver),
            (&demander, record.owed_demander),
        ];
        for (who, amount) in owed {
            if amount > 0 {
                self.tell(who, 0, &dispute::WithdrawFee { demand })
                    .expect("the fee is paid");
            }
        }
        self.tell(&demander, 0, &dispute::PruneDemand { demand })
            .expect("the demand is over");
    }

    /// A task's record.
    ///
    /// # Panics
    /// When there is none.
    pub fn task(&self, job: &Job) -> TaskRecord {
        let record = self.contracts().task(job.id).expect("a getter answers");
        record.expect("the task has a record")
    }

    /// An attempt's record.
    ///
    /// # Panics
    /// When there is none.
    pub fn attempt_record(&self, job: &Job, attempt: Attempt) -> AttemptRecord {
        let record = self.contracts().attempt(job.id, attempt);
        record
            .expect("a getter answers")
            .expect("the attempt has a record")
    }

    /// A dispute's record.
    ///
    /// # Panics
    /// When there is none.
    pub fn dispute(&self, dispute: DisputeId) -> DisputeRecord {
        let record = self.contracts().dispute_record(dispute);
        record
            .expect("a getter answers")
            .expect("the dispute has a record")
    }

    /// A demand's record.
    ///
    /// # Panics
    /// When there is none.
    pub fn demand_record(&self, demand: DemandId) -> DemandRecord {
        let record = self.contracts().demand_record(demand);
        record
            .expect("a getter answers")
            .expect("the demand has a record")
    }

    /// The price at which a task can be accepted by a message sent now.
    ///
    /// # Panics
    /// When the chain fails.
    pub fn price(&self, job: &Job) -> Option<Balance> {
        self.contracts().price(job.id).expect("a getter answers")
    }
}

/// The message that commits to the result of a run.
pub fn commit(job: &Job, attempt: Attempt, run: &Run) -> escrow::Commit {
    let trace = run.bytes(FileId::Checkpoints);
    escrow::Commit {
        task: job.id,
        terms_hash: job.hash(),
        attempt,
        commitment: run.commitment(),
        last: tree::prove_open(&trace, trace.len() as u64 - 32),
        metric: None,
        artifacts: NOWHERE.to_vec(),
    }
}

/// The message that disputes the commitment of a run.
pub fn open(job: &Job, attempt: Attempt, run: &Run) -> dispute::Open {
    dispute::Open {
        task: job.id,
        attempt,
        content: job.task.clone(),
        trace: run.commitment().trace,
    }
}

/// How long a price takes to rise from the floor to `price`, rounded up to milliseconds.
pub fn rise(terms: &Terms, price: Balance) -> Millis {
    let rise = (price - terms.reward_floor) * Balance::from(terms.ramp);
    rise.div_ceil(terms.reward_ceiling - terms.reward_floor) as Millis
}

/// The answer to a demand, from the files of a run.
///
/// # Panics
/// When the run has no such chunk.
pub fn answer(run: &Run, segment: u32, slot: u32, chunk: u64) -> Answer {
    let last = run.spec.first_step(segment) + run.spec.segment_steps(segment) - 1;
    let node = run.spec.nodes - run.spec.slots + slot;
    let entry = |file: FileId, index: u32| tree::prove_open(&run.bytes(file), index as u64 * 32);
    let tensor = run.bytes(FileId::Tensor { step: last, node });
    let start = chunk * tree::CHUNK;
    Answer {
        node: run.program.nodes[slot as usize].encode(),
        program: entry(FileId::Program, slot),
        chunk: (start < tensor.len() as u64).then(|| AnswerChunk {
            checkpoint: entry(FileId::Checkpoints, segment),
            tensor: entry(FileId::StateAfter { step: last }, slot),
            data: tree::prove_open(&tensor, start),
        }),
    }
}

/// The message that demands a chunk of a run's checkpoint.
pub fn demand(job: &Job, attempt: Attempt, run: &Run, place: (u32, u32, u64)) -> dispute::Demand {
    let (segment, slot, chunk) = place;
    dispute::Demand {
        task: job.id,
        attempt,
        content: job.task.clone(),
        trace: run.commitment().trace,
        segment,
        slot,
        chunk,
    }
}

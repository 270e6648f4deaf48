//! The roles. Each has one public verb, `react`: read the chain and the local artifacts, make the
//! one move that is due, say what it was. Nothing is carried from one call to the next that could
//! not be had again, so a role can be killed at any instant and made anew.

mod action;
pub mod challenger;
mod error;
pub mod solver;
pub mod submitter;

pub use action::{Action, Money};
pub use challenger::Challenger;
pub use error::Error;
use error::Postponed;
pub use solver::Solver;
pub use submitter::Submitter;

pub use crate::run::training::{Observer, Unobserved};

use crate::chain::contracts::Contracts;
use crate::chain::Now;
use crate::keys::Signer;
use crate::local::Local;
use crate::run::workload::Workload;
use crate::run::Device;
use crate::store::Store;
use lockstep_interface::dispute::{DisputeRecord, Event, Play, Settle};
use lockstep_interface::escrow::TaskRecord;
use lockstep_interface::{Account, DisputeId, Task, TaskId};
use lockstep_protocol::game::Move;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What every role works with.
#[derive(Clone)]
pub struct Worker {
    /// Whose money and whose moves.
    pub signer: Signer,
    /// The contracts.
    pub contracts: Contracts,
    /// Artifacts, own and fetched.
    pub store: Store,
    /// What is remembered between runs.
    pub local: Arc<Local>,
    /// What programs run on.
    pub device: Device,
}

/// A task whose files are here and verified.
#[derive(Clone)]
struct Fetched {
    task: Task,
    workload: Arc<Workload>,
}

/// Verified tasks, so that a role verifies each once.
#[derive(Default)]
struct Library(BTreeMap<TaskId, Fetched>);

impl Library {
    fn get(&mut self, worker: &Worker, id: TaskId, record: &TaskRecord) -> Result<Fetched, Error> {
        if let Some(fetched) = self.0.get(&id) {
            return Ok(fetched.clone());
        }
        let submission = worker.contracts.submission(id, record)?;
        let store = worker.store.with_source(&submission.artifacts)?;
        let workload = Workload::fetch(&store, &submission.task.spec)?;
        let fetched = Fetched {
            task: submission.task,
            workload: Arc::new(workload),
        };
        self.0.insert(id, fetched.clone());
        Ok(fetched)
    }
}

impl Worker {
    fn me(&self) -> Account {
        self.signer.account()
    }

    /// Makes a move in a dispute. `own` is what the mover has in place of what it selects.
    fn play(
        &self,
        id: DisputeId,
        record: &DisputeRecord,
        mv: Move,
        own: Option<Vec<u8>>,
    ) -> Result<Action, Error> {
        let message = Play {
            dispute: id,
            position: record.game.hash(),
            mv: mv.clone(),
        };
        let ((), receipt) = self.contracts.dispute(&self.signer, 0, &message)?;
        let after = self.contracts.dispute_record(id)?;
        Ok(Action::Moved {
            dispute: id,
            before: Box::new(record.game.clone()),
            after: after.map(|record| Box::new(record.game)),
            mv: Box::new(mv),
            own,
            receipt,
        })
    }

    /// The move that led to a dispute's position.
    fn last_move(&self, id: DisputeId, record: &DisputeRecord) -> Result<Option<Move>, Error> {
        let Some(before) = record.game.position.checked_sub(1) else {
            return Ok(None);
        };
        let events = self.contracts.dispute_events(record.block)?;
        Ok(events.into_iter().find_map(|(_, event)| match event {
            Event::Moved {
                dispute,
                position,
                mv,
                ..
            } if dispute == id && position == before => Some(mv),
            _ => None,
        }))
    }

    /// Settles a dispute that is decided: by a move, or since the clock of whoever is to move has
    /// expired; `None` when it is not.
    fn settle(
        &self,
        id: DisputeId,
        record: &DisputeRecord,
        now: Now,
    ) -> Result<Option<Action>, Error> {
        let timeout = match record.game.turn() {
            Some(turn) if record.clocks.expired(turn, now.time, now.block) => true,
            None if !record.settled => false,
            _ => return Ok(None),
        };
        let ((), receipt) = self
            .contracts
            .dispute(&self.signer, 0, &Settle { dispute: id })?;
        Ok(Some(Action::Settled {
            dispute: id,
            timeout,
            receipt,
        }))
    }
}

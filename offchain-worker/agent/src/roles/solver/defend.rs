//! Defending commitments: moves in disputes and answers to demands.

use super::{Action, Error, Money, Postponed, Solver, Worker};
use crate::run::files::Files;
use crate::run::training::key;
use lockstep_interface::dispute::{
    Answer, AnswerChunk, DemandRecord, DemandStatus, DisputeRecord, GiveAnswer, Listed, Withdraw,
    WithdrawFee,
};
use lockstep_interface::{Account, DemandId, DisputeId, TaskId};
use lockstep_protocol::eval::Blob;
use lockstep_protocol::game::Side;
use lockstep_protocol::player::{self, Evidence, FileId};
use lockstep_protocol::tree::{self, CHUNK};
use scale::Encode;
use std::collections::BTreeMap;

/// The files of tasks in dispute, so that each is computed once.
pub type Defences = BTreeMap<TaskId, Files>;

impl Solver {
    /// The most urgent move of a defender.
    pub(super) fn defend(&mut self) -> Result<Option<Action>, Error> {
        let me = self.worker.me();
        let mut postponed = Postponed::default();
        for (id, record) in self.urgent(me)? {
            let moved = self.dispute(id, &record);
            if let Some(action) = postponed.hear(moved)? {
                return Ok(Some(action));
            }
        }
        for listed in self.worker.contracts.demands(0)? {
            if listed.solver != me || !listed.open {
                continue;
            }
            if let Some(record) = self.worker.contracts.demand_record(listed.id)? {
                let answered = self.demand(listed.id, &record);
                if let Some(action) = postponed.hear(answered)? {
                    return Ok(Some(action));
                }
            }
        }
        postponed.last(self.collect_bonds())
    }

    /// The open disputes that it defends, those whose clock runs out first at the front: whoever
    /// opens many and answers fast gains no time.
    fn urgent(&self, me: Account) -> Result<Vec<(DisputeId, DisputeRecord)>, Error> {
        let mut open = Vec::new();
        for listed in self.worker.contracts.disputes(0)? {
            if listed.solver == me && listed.open {
                let record = self.worker.contracts.dispute_record(listed.id)?;
                open.extend(record.map(|record| (listed.id, record)));
            }
        }
        open.sort_by_key(|(id, record)| {
            let clocks = &record.clocks;
            (
                clocks.since.saturating_add(clocks.left(Side::Defender)),
                *id,
            )
        });
        Ok(open)
    }

    /// Takes what disputes and demands that are over owe.
    pub(super) fn collect_bonds(&self) -> Result<Option<Action>, Error> {
        let Worker {
            signer, contracts, ..
        } = &self.worker;
        let me = self.worker.me();
        for Listed {
            id, solver, open, ..
        } in contracts.disputes(0)?
        {
            if solver == me && !open {
                let record = contracts.dispute_record(id)?;
                if record.is_some_and(|record| record.owed_solver > 0) {
                    let message = Withdraw { dispute: id };
                    let (amount, receipt) = contracts.dispute(signer, 0, &message)?;
                    return Ok(Some(Action::Withdrew {
                        money: Money::Bond,
                        amount,
                        receipt,
                    }));
                }
            }
        }
        for Listed {
            id, solver, open, ..
        } in contracts.demands(0)?
        {
            if solver == me && !open {
                let record = contracts.demand_record(id)?;
                if record.is_some_and(|record| record.owed_solver > 0) {
                    let message = WithdrawFee { demand: id };
                    let (amount, receipt) = contracts.dispute(signer, 0, &message)?;
                    return Ok(Some(Action::Withdrew {
                        money: Money::Fee,
                        amount,
                        receipt,
                    }));
                }
            }
        }
        Ok(None)
    }

    fn dispute(&mut self, id: DisputeId, record: &DisputeRecord) -> Result<Option<Action>, Error> {
        let now = self.worker.contracts.now()?;
        match record.game.turn() {
            Some(Side::Defender) if record.clocks.expired(Side::Defender, now.time, now.block) => {
                return Ok(None);
            }
            Some(Side::Defender) => {}
            // Whoever has lost leaves it to the winner.
            None if record.game.winner() == Some(Side::Challenger) => return Ok(None),
            Some(Side::Challenger) | None => return self.worker.settle(id, record, now),
        }
        let mv = match self.files(record.task)? {
            Some(files) => player::defend(&record.game, files),
            None => return Ok(None),
        };
        match mv {
            Ok(Some(mv)) => self.worker.play(id, record, mv, None).map(Some),
            Ok(None) => Ok(None),
            // Only a cheat is asked for what it does not have, and then time is all it can lose.
            Err(error) if self.cheating.is_some() => {
                tracing::info!(dispute = id, %error, "no move left");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn demand(&mut self, id: DemandId, record: &DemandRecord) -> Result<Option<Action>, Error> {
        let now = self.worker.contracts.now()?;
        if record.status != DemandStatus::Waiting || record.expired(now.time, now.block) {
            return Ok(None);
        }
        let Some(files) = self.files(record.task)? else {
            return Ok(None);
        };
        let answer = answer(files, record)?;
        let message = GiveAnswer { demand: id, answer };
        let ((), receipt) = self
            .worker
            .contracts
            .dispute(&self.worker.signer, 0, &message)?;
        Ok(Some(Action::Answered {
            demand: id,
            receipt,
        }))
    }

    /// The files of a task's run; `None` when the task is gone.
    fn files(&mut self, task: TaskId) -> Result<Option<&mut Files>, Error> {
        if !self.defences.contains_key(&task) {
            let Some(record) = self.worker.contracts.task(task)? else {
                return Ok(None);
            };
            let fetched = self.library.get(&self.worker, task, &record)?;
            let fault = self.plant(task, &fetched)?;
            let run = key(&fetched.workload, fault.as_ref());
            let files = Files::new(
                fetched.workload,
                self.worker.device,
                self.worker.store.clone(),
                self.worker.local.checkpoints(&run)?,
                fault,
            )?;
            self.defences.insert(task, files);
        }
        Ok(self.defences.get_mut(&task))
    }
}

/// The demanded chunk with its way up to the trace, or the proof that there is none.
fn answer(files: &mut Files, record: &DemandRecord) -> Result<Answer, Error> {
    let place = &record.place;
    let node = files.node(place.slot);
    let program = files.file(FileId::Program)?;
    let mut answer = Answer {
        node: node.encode(),
        program: tree::prove_open(bytes(&program), place.slot as u64 * 32),
        chunk: None,
    };
    if place.chunk < tree::chunks(node.bytes()) {
        let trace = files.file(FileId::Checkpoints)?;
        let (state, tensor) = files.checkpoint(place.segment, place.slot)?;
        answer.chunk = Some(AnswerChunk {
            checkpoint: tree::prove_open(bytes(&trace), place.segment as u64 * 32),
            tensor: tree::prove_open(&state, place.slot as u64 * 32),
            data: tree::prove_open(&tensor, place.chunk * CHUNK),
        });
    }
    Ok(answer)
}

fn bytes(blob: &Blob) -> &[u8] {
    (**blob).as_ref()
}

//! The files a dispute asks for, made again from the nearest checkpoint when they are asked for.

use super::fault::Fault;
use super::training::{claim, engine, state_hash};
use super::workload::{load_state, state_file, Workload};
use super::{Device, Error};
use crate::store::Store;
use lockstep_engine::Engine;
use lockstep_protocol::eval::Blob;
use lockstep_protocol::player::{Evidence, FileId};
use lockstep_protocol::program::Node;
use lockstep_protocol::task::Dataset;
use lockstep_protocol::Hash;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One party's files. Each is computed at most once; the larger ones are kept on a bound.
pub struct Files {
    workload: Arc<Workload>,
    store: Store,
    engine: Box<dyn Engine>,
    fault: Option<Fault>,
    checkpoints: Vec<Hash>,
    /// The step before which the engine's state stands.
    at: Option<u32>,
    made: BTreeMap<FileId, Blob>,
}

/// Bytes of tensors and fold traces that are kept.
const KEPT_BYTES: usize = 1 << 30;

impl Files {
    /// The files of a run with these checkpoints, whose states are in `store`.
    ///
    /// # Errors
    /// When the engine refuses the task.
    pub fn new(
        workload: Arc<Workload>,
        device: Device,
        store: Store,
        checkpoints: Vec<Hash>,
        fault: Option<Fault>,
    ) -> Result<Files, Error> {
        let engine = engine(&workload, device, fault.as_ref())?;
        Ok(Files {
            workload,
            store,
            engine,
            fault,
            checkpoints,
            at: None,
            made: BTreeMap::new(),
        })
    }

    /// The state file at the end of a segment, and one of its tensors.
    ///
    /// # Errors
    /// When the store does not have them.
    pub fn checkpoint(&self, segment: u32, slot: u32) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let program = &self.workload.program;
        let missing = || Error::NoFile(format!("checkpoint {segment}, slot {slot}"));
        let state = self.checkpoints.get(segment as usize).ok_or_else(missing)?;
        let file = self.store.get_exact(state, program.slots as u64 * 32)?;
        let entry = file
            .get(slot as usize * 32..)
            .and_then(|rest| rest.first_chunk::<32>());
        let hash = entry.ok_or_else(missing)?;
        let tensor = self
            .store
            .get_exact(hash, program.nodes[slot as usize].bytes())?;
        Ok((file, tensor))
    }

    fn make(&mut self, id: FileId) -> Result<Blob, Error> {
        let bytes = match id {
            FileId::Checkpoints => claim(&self.checkpoints, self.fault.as_ref()).concat(),
            FileId::Program => self.workload.program.file(),
            FileId::Dataset(number) => {
                let dataset = self.workload.inputs.datasets.get(number as usize);
                return dataset.cloned().ok_or_else(|| no_file(id));
            }
            FileId::Steps { segment } => self.steps(segment)?,
            FileId::StateBefore { step } => {
                self.go_to(step)?;
                state_file(&self.engine.state())
            }
            FileId::StateAfter { step } => {
                let segment = step / self.workload.spec.segment;
                let last = self.last_step(segment) == step;
                let forged = self.fault.as_ref().and_then(Fault::forged);
                if last && forged.is_some_and(|(at, _)| at == segment) {
                    return Err(no_file(id));
                }
                self.go_to(step)?;
                self.engine.step(step);
                self.at = Some(step + 1);
                state_file(&self.engine.state())
            }
            FileId::Nodes { step } => {
                self.go_to(step)?;
                let mut hashes = Vec::with_capacity(self.workload.program.nodes.len() * 32);
                self.engine.trace(step, &mut |_, value| {
                    hashes.extend(blake3::hash(value).as_bytes());
                });
                hashes
            }
            FileId::Tensor { step, node } => {
                self.go_to(step)?;
                self.engine.tensor(step, node)
            }
            FileId::Fold {
                step,
                node,
                element,
            } => {
                self.go_to(step)?;
                self.engine.fold(step, node, element)
            }
        };
        Ok(Arc::new(bytes))
    }

    /// The step trace of a segment.
    fn steps(&mut self, segment: u32) -> Result<Vec<u8>, Error> {
        let spec = self.workload.spec.clone();
        let first = spec.first_step(segment);
        self.go_to(first)?;
        let mut hashes = Vec::with_capacity(spec.segment_steps(segment) as usize * 32);
        for step in first..=self.last_step(segment) {
            self.engine.step(step);
            self.at = Some(step + 1);
            hashes.extend(state_hash(&*self.engine));
        }
        if let Some((at, hash)) = self.fault.as_ref().and_then(Fault::forged) {
            if at == segment {
                let last = hashes.len() - 32;
                hashes[last..].copy_from_slice(&hash);
            }
        }
        Ok(hashes)
    }

    /// Brings the engine's state to that before `step`.
    fn go_to(&mut self, step: u32) -> Result<(), Error> {
        let segment = step / self.workload.spec.segment;
        let first = self.workload.spec.first_step(segment);
        let from = match self.at {
            Some(at) if (first..=step).contains(&at) => at,
            _ => {
                self.at = None;
                let state = match segment.checked_sub(1) {
                    None => self.workload.genesis.clone(),
                    Some(before) => {
                        let hash = self.checkpoints.get(before as usize);
                        let hash =
                            hash.ok_or_else(|| Error::NoFile(format!("checkpoint {before}")))?;
                        load_state(&self.store, &self.workload.program, hash)?
                    }
                };
                self.engine.load(&state)?;
                first
            }
        };
        for s in from..step {
            self.engine.step(s);
        }
        self.at = Some(step);
        Ok(())
    }

    fn last_step(&self, segment: u32) -> u32 {
        let spec = &self.workload.spec;
        spec.first_step(segment) + spec.segment_steps(segment) - 1
    }

    fn forget_large(&mut self) {
        let kept: usize = self.made.values().map(|blob| (**blob).as_ref().len()).sum();
        if kept > KEPT_BYTES {
            self.made
                .retain(|id, _| !matches!(id, FileId::Tensor { .. } | FileId::Fold { .. }));
        }
    }
}

impl Evidence for Files {
    type Error = Error;

    fn file(&mut self, id: FileId) -> Result<Blob, Error> {
        if let Some(blob) = self.made.get(&id) {
            return Ok(blob.clone());
        }
        let blob = self.make(id)?;
        self.forget_large();
        self.made.insert(id, blob.clone());
        Ok(blob)
    }

    fn node(&self, index: u32) -> Node {
        self.workload.program.nodes[index as usize].clone()
    }

    fn datasets(&self) -> Vec<Dataset> {
        self.workload.spec.datasets.clone()
    }
}

fn no_file(id: FileId) -> Error {
    Error::NoFile(format!("{id:?}"))
}

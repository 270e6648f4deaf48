//! Running a task from its genesis to its last checkpoint, a segment at a time.

use super::fault::{Cheat, Fault};
use super::workload::{load_state, save_state, Workload};
use super::{trial, Device, Error};
use crate::local::Local;
use crate::store::Store;
use lockstep_engine::Engine;
use lockstep_protocol::Hash;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Hears how far a run is, and may stop it.
pub trait Observer {
    /// `done` of `total` steps are done. `false` stops the run; it goes on from the last
    /// checkpoint when it is started again.
    fn step(&mut self, done: u32, total: u32) -> bool;
}

/// Hears nothing and never stops.
pub struct Unobserved;

impl Observer for Unobserved {
    fn step(&mut self, _: u32, _: u32) -> bool {
        true
    }
}

/// One party's run of a task. What it has done is in the local database and the store, so it can
/// be dropped at any moment and made again.
pub struct Training {
    workload: Arc<Workload>,
    store: Store,
    local: Arc<Local>,
    engine: Box<dyn Engine>,
    fault: Option<Fault>,
    key: Hash,
    checkpoints: Vec<Hash>,
    /// The checkpoint after those, which is being stored while the next segment runs.
    saving: Option<JoinHandle<Result<Hash, Error>>>,
    /// Whether the engine's state is that at the end of the last segment.
    loaded: bool,
    spent: Spent,
}

/// Where the time of a run went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Computing steps.
    pub compute: Duration,
    /// Waiting for checkpoints to be hashed and stored.
    pub commit: Duration,
}

impl Training {
    /// The run of a task, as far as it has come. With a `fault` it is that of a cheat.
    ///
    /// # Errors
    /// When the engine refuses the task or the local database cannot be read.
    pub fn resume(
        workload: Arc<Workload>,
        device: Device,
        store: Store,
        local: Arc<Local>,
        fault: Option<Fault>,
    ) -> Result<Training, Error> {
        let engine = engine(&workload, device, fault.as_ref())?;
        let key = key(&workload, fault.as_ref());
        let checkpoints = local.checkpoints(&key)?;
        Ok(Training {
            workload,
            store,
            local,
            engine,
            fault,
            key,
            checkpoints,
            saving: None,
            loaded: false,
            spent: Spent::default(),
        })
    }

    /// Segments that have been run; the last may not be stored yet.
    pub fn done(&self) -> u32 {
        self.checkpoints.len() as u32 + self.saving.is_some() as u32
    }

    /// The state hashes of the segments that are stored.
    pub fn checkpoints(&self) -> &[Hash] {
        &self.checkpoints
    }

    /// What the party claims: the checkpoints, and where it lies a hash of its own making.
    pub fn claim(&self) -> Vec<Hash> {
        claim(&self.checkpoints, self.fault.as_ref())
    }

    /// Whether every segment is done.
    pub fn finished(&self) -> bool {
        self.checkpoints.len() == self.workload.spec.segments() as usize
    }

    /// Where the time went since the run was resumed.
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// What runs it.
    pub fn device(&self) -> String {
        self.engine.name()
    }

    /// Runs the next segment. Its last state is hashed, stored and remembered while the one after
    /// it runs; that of the last segment, before this returns. Nothing to do when the run is
    /// finished.
    ///
    /// # Errors
    /// When the observer stops it, or the store or the database fails; what was done before stays.
    pub fn segment(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        if self.finished() {
            return Ok(());
        }
        if !self.loaded {
            self.settle()?;
            self.load()?;
        }
        let spec = &self.workload.spec;
        let (segment, segments) = (self.done(), spec.segments());
        let first = spec.first_step(segment);
        // The state leaves the checkpoint here; an interruption must load it again.
        self.loaded = false;
        for step in first..first + spec.segment_steps(segment) {
            let start = Instant::now();
            self.engine.step(step);
            self.spent.compute += start.elapsed();
            if !observer.step(step + 1, spec.steps) {
                return Err(Error::Interrupted);
            }
        }
        self.settle()?;
        self.save(segment);
        self.loaded = true;
        if segment + 1 == segments {
            self.settle()?;
        }
        Ok(())
    }

    /// Begins to store the engine's state as the checkpoint of `segment`.
    fn save(&mut self, segment: u32) {
        let start = Instant::now();
        let state: Vec<Vec<u8>> = self.engine.state().iter().map(|t| t.to_vec()).collect();
        let (store, local, key) = (self.store.clone(), self.local.clone(), self.key);
        self.saving = Some(std::thread::spawn(move || {
            let tensors: Vec<&[u8]> = state.iter().map(Vec::as_slice).collect();
            let hash = save_state(&store, &tensors)?;
            local.record_checkpoint(&key, segment, &hash)?;
            Ok(hash)
        }));
        self.spent.commit += start.elapsed();
    }

    /// Waits for the checkpoint that is being stored.
    fn settle(&mut self) -> Result<(), Error> {
        let Some(saving) = self.saving.take() else {
            return Ok(());
        };
        let start = Instant::now();
        let saved = saving.join().unwrap_or_else(|panic| resume_unwind(panic));
        self.spent.commit += start.elapsed();
        if saved.is_err() {
            self.loaded = false;
        }
        self.checkpoints.push(saved?);
        Ok(())
    }

    fn load(&mut self) -> Result<(), Error> {
        let program = &self.workload.program;
        let state = loop {
            let Some(last) = self.checkpoints.last() else {
                break self.workload.genesis.clone();
            };
            match load_state(&self.store, program, last) {
                Ok(state) => break state,
                Err(error) => {
                    tracing::warn!(%error, segment = self.checkpoints.len() - 1,
                        "the last checkpoint cannot be read; its segment runs again");
                    self.checkpoints.pop();
                }
            }
        };
        self.engine.load(&state)?;
        self.loaded = true;
        Ok(())
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        if let Some(saving) = self.saving.take() {
            // Whoever resumes the run finds what was stored, and runs the rest again.
            let _ = saving.join();
        }
    }
}

/// The engine of an honest party, or of a cheat.
///
/// # Errors
/// When the engine refuses the task or the error cannot be planted.
pub fn engine(
    workload: &Workload,
    device: Device,
    fault: Option<&Fault>,
) -> Result<Box<dyn Engine>, Error> {
    match fault {
        None => trial::engine(device, workload),
        Some(fault) => Ok(Box::new(Cheat::new(workload, device, fault)?)),
    }
}

/// What names a run in the local database: the task's computation, and the error of a cheat.
pub fn key(workload: &Workload, fault: Option<&Fault>) -> Hash {
    match fault {
        None => workload.spec.hash(),
        Some(fault) => {
            let text = format!("{}{fault}", hex::encode(workload.spec.hash()));
            *blake3::hash(text.as_bytes()).as_bytes()
        }
    }
}

/// Checkpoints as a party claims them.
pub fn claim(checkpoints: &[Hash], fault: Option<&Fault>) -> Vec<Hash> {
    let mut claimed = checkpoints.to_vec();
    if let Some((segment, hash)) = fault.and_then(Fault::forged) {
        if let Some(entry) = claimed.get_mut(segment as usize) {
            *entry = hash;
        }
    }
    claimed
}

/// The hash of an engine's state, which is hashed where it lies.
pub fn state_hash(engine: &dyn Engine) -> Hash {
    *blake3::hash(&engine.hashes().concat()).as_bytes()
}

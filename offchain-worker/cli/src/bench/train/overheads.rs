//! What being verifiable adds to training: hashing and storing checkpoints, and the trace of a step
//! when it is disputed.

use anyhow::Result;
use lockstep_agent::run::training::state_hash;
use lockstep_agent::run::workload::save_state;
use lockstep_agent::store::Store;
use lockstep_engine::cpu::Cpu;
use lockstep_engine::Engine;
use lockstep_protocol::Hash;
use serde::{Deserialize, Serialize};
use std::panic::resume_unwind;
use std::path::Path;
use std::time::Instant;

/// Steps between checkpoints of which a share is given.
pub const SEGMENT: u32 = 100;

/// Times each is measured; the median counts.
const TURNS: u32 = 5;

/// Milliseconds of each.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Overheads {
    /// Bytes of the state, which is what a checkpoint holds.
    pub state: u64,
    /// To hash the state where it lies, as an auditor does, on one thread.
    pub hash_ms: f64,
    /// To hash the state and write its files, as a solver does while the next steps run.
    pub store_ms: f64,
    /// How much longer the next steps take for that: the copy of the state that is stored, and what
    /// the steps lose to the writer.
    pub held_ms: f64,
    /// To run a step once more and hash every node's value, as in a dispute.
    pub trace_ms: f64,
}

/// Measures them with an engine that holds a state in the middle of training.
///
/// # Errors
/// When the temporary folder cannot be written.
pub fn run(engine: &mut Cpu) -> Result<Overheads> {
    let folder = std::env::temp_dir().join(format!("lockstep-bench-{}", std::process::id()));
    let measured = measure(engine, &folder);
    // What is left behind is in the machine's folder for such things.
    let _ = std::fs::remove_dir_all(&folder);
    measured
}

fn measure(engine: &mut Cpu, folder: &Path) -> Result<Overheads> {
    let store = Store::open(&folder.display().to_string())?;
    let [mut hash, mut stored, mut held, mut trace] = [const { Vec::new() }; 4];
    for turn in 0..TURNS {
        // A state that is in the store already would not be written again.
        engine.step(turn);
        let began = Instant::now();
        let hashed = state_hash(engine);
        hash.push(ms(began));

        let began = Instant::now();
        let (steps, took, saved) = train_while_storing(engine, &store)?;
        let with = ms(began);
        assert_eq!(saved, hashed, "one state has one hash");
        let began = Instant::now();
        (0..steps).for_each(|step| engine.step(step));
        held.push(with - ms(began));
        stored.push(took);

        let began = Instant::now();
        let mut hashes: Vec<Hash> = Vec::new();
        engine.trace(turn, &mut |_, value| {
            hashes.push(*blake3::hash(value).as_bytes());
        });
        trace.push(ms(began));
    }
    let [hash_ms, store_ms, held_ms, trace_ms] = [hash, stored, held, trace].map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    Ok(Overheads {
        state: engine.state().iter().map(|slot| slot.len() as u64).sum(),
        hash_ms,
        store_ms,
        held_ms,
        trace_ms,
    })
}

/// Stores the state as a solver does, beside steps of the next segment: how many there were until
/// it was stored, milliseconds that storing took, and the state's hash.
fn train_while_storing(engine: &mut Cpu, store: &Store) -> Result<(u32, f64, Hash)> {
    let copy: Vec<Vec<u8>> = engine.state().iter().map(|slot| slot.to_vec()).collect();
    std::thread::scope(|scope| {
        let storing = scope.spawn(move || {
            let began = Instant::now();
            let tensors: Vec<&[u8]> = copy.iter().map(Vec::as_slice).collect();
            let saved = save_state(store, &tensors);
            saved.map(|hash| (ms(began), hash))
        });
        let mut steps = 0;
        while steps < SEGMENT && (steps == 0 || !storing.is_finished()) {
            engine.step(steps);
            steps += 1;
        }
        let stored = storing.join().unwrap_or_else(|panic| resume_unwind(panic));
        let (took, hash) = stored?;
        Ok((steps, took, hash))
    })
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

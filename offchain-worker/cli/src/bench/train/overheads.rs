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
    /// To copy the state, hash it and write its files, as a solver does, which trains on once it is
    /// copied.
    pub store_ms: f64,
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
    let [mut hash, mut stored, mut trace] = [const { Vec::new() }; 3];
    for turn in 0..TURNS {
        // A state that is in the store already would not be written again.
        engine.step(turn);
        let began = Instant::now();
        let hashed = state_hash(engine);
        hash.push(began.elapsed());

        let began = Instant::now();
        let copy: Vec<Vec<u8>> = engine.state().iter().map(|slot| slot.to_vec()).collect();
        let tensors: Vec<&[u8]> = copy.iter().map(Vec::as_slice).collect();
        let saved = save_state(&store, &tensors)?;
        stored.push(began.elapsed());
        assert_eq!(saved, hashed, "one state has one hash");

        let began = Instant::now();
        let mut hashes: Vec<Hash> = Vec::new();
        engine.trace(turn, &mut |_, value| {
            hashes.push(*blake3::hash(value).as_bytes());
        });
        trace.push(began.elapsed());
    }
    let [hash_ms, store_ms, trace_ms] = [hash, stored, trace].map(|mut times| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e3
    });
    Ok(Overheads {
        state: engine.state().iter().map(|slot| slot.len() as u64).sum(),
        hash_ms,
        store_ms,
        trace_ms,
    })
}

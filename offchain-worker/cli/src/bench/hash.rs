//! BLAKE3 of tensors where they lie against the plain library.
//!
//! A tensor is committed by the hash of its bytes as they are in memory: there is nothing to
//! serialise, so hashing a state costs what the library costs.

use super::{measure, Patience, Table, Watch};
use crate::screen;
use lockstep_engine::cpu::{Cpu, Options};
use lockstep_engine::{Engine, Error, Job};
use lockstep_graph::lower::copy;
use lockstep_protocol::eval::Inputs;
use lockstep_protocol::program::{Dim, Dtype, Node, Program, Source};
use lockstep_protocol::tree;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// One tensor size.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Bytes of the tensor.
    pub bytes: usize,
    /// GB/s of hashing the engine's state, one thread, fastest run.
    pub gbps: f64,
    /// GB/s of `blake3::hash` on a plain vector of as many bytes.
    pub peer_gbps: f64,
    /// Ours over the library's, as a fraction.
    pub share: f64,
    /// Whether both are the same hash.
    pub equal: bool,
}

/// All rows.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// One for each size.
    pub rows: Vec<Row>,
}

/// Hashes state tensors of `sizes` bytes, each a multiple of 4.
///
/// # Errors
/// When the engine cannot be started.
pub fn run(sizes: &[usize], patience: Patience, watch: Watch) -> Result<Report, Error> {
    let mut rows = Vec::new();
    for (done, &bytes) in sizes.iter().enumerate() {
        watch(done, sizes.len(), &screen::bytes(bytes as u64));
        let content: Vec<u8> = (0..bytes).map(|i| (i * 31 % 251) as u8).collect();
        let mut engine = Cpu::new(holding(bytes), Options::default())?;
        engine.load(std::slice::from_ref(&content))?;
        let (mut own, mut other) = ([0; 32], [0; 32]);
        let mut ours = || own = tree::hash(engine.state()[0]);
        let mut theirs = || other = *blake3::hash(&content).as_bytes();
        let times = measure(patience, &mut [&mut ours, &mut theirs]);
        let (ours, theirs) = (times[0], times[1]);
        let speed = |seconds: f64| bytes as f64 / seconds / 1e9;
        rows.push(Row {
            bytes,
            gbps: speed(ours.best),
            peer_gbps: speed(theirs.best),
            share: theirs.best / ours.best,
            equal: own == other,
        });
    }
    Ok(Report { rows })
}

/// A program that holds one tensor of `bytes` bytes.
fn holding(bytes: usize) -> Job {
    let len = (bytes / 4) as u64;
    let state = Node::Source(Source::State {
        shape: vec![Dim(len)],
        dtype: Dtype::U32,
    });
    let copied = copy(&state, 0);
    Job {
        program: Arc::new(Program {
            slots: 1,
            nodes: vec![state, copied],
        }),
        inputs: Inputs::default(),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "BLAKE3 of a state tensor in place, and of a plain vector by the library, one thread"
        )?;
        let mut table = Table::new(&["bytes", "GB/s", "library", "share", "hash"]);
        for row in &self.rows {
            table.row(&[
                row.bytes.to_string(),
                format!("{:.2}", row.gbps),
                format!("{:.2}", row.peer_gbps),
                format!("{:.1}%", row.share * 100.0),
                if row.equal { "equal" } else { "DIFFERENT" }.into(),
            ]);
        }
        write!(f, "{table}")
    }
}

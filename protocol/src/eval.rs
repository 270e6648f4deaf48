//! The reference evaluator: every value of a training step, straight from the definitions.
//!
//! It is the oracle that engines are compared with, written to be read rather than to be fast.

use crate::permutation;
use crate::program::{Access, Node, Program, Source};
use crate::step::{self, Reads};
use crate::Hash;
use alloc::{collections::BTreeMap, sync::Arc, vec, vec::Vec};
use core::{convert::Infallible, fmt};

/// Bytes that are shared and never change: a file in memory or mapped into it.
pub type Blob = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// What a program reads besides its state.
#[derive(Clone, Default)]
pub struct Inputs {
    /// The task's seed.
    pub seed: u64,
    /// Dataset files, in the order of the task.
    pub datasets: Vec<Blob>,
    /// Constants by their hash.
    pub constants: BTreeMap<Hash, Blob>,
}

/// An input that a program needs and that is absent or of the wrong length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The source node.
    pub node: u32,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}: {}", self.node, self.what)
    }
}

impl core::error::Error for Missing {}

impl Inputs {
    /// Checks that every source of `program` can be had, with exact lengths.
    ///
    /// # Errors
    /// The first source that cannot.
    pub fn check(&self, program: &Program) -> Result<(), Missing> {
        for (n, node) in program.nodes.iter().enumerate() {
            let missing = |what| {
                Err(Missing {
                    node: n as u32,
                    what,
                })
            };
            match node {
                Node::Source(Source::Constant { hash, .. }) => match self.constants.get(hash) {
                    None => return missing("the constant is not at hand"),
                    Some(blob) if (**blob).as_ref().len() as u64 != node.bytes() => {
                        return missing("the constant has another length than the node")
                    }
                    Some(_) => {}
                },
                Node::Source(Source::Batch {
                    dataset,
                    record_size,
                    ..
                }) => match self.datasets.get(*dataset as usize) {
                    None => return missing("the dataset is not at hand"),
                    Some(blob) => {
                        let len = (**blob).as_ref().len();
                        if len == 0 || len % *record_size as usize != 0 {
                            return missing("the dataset is not a whole number of records");
                        }
                    }
                },
                _ => {}
            }
        }
        Ok(())
    }

    /// The bytes of a source node in a step.
    ///
    /// # Panics
    /// When [`Inputs::check`] would have failed, or `state` has no such slot.
    pub fn source(&self, source: &Source, position: u32, step: u32, state: &[Vec<u8>]) -> Vec<u8> {
        match source {
            Source::State { .. } => state[position as usize].clone(),
            Source::Constant { hash, .. } => (*self.constants[hash]).as_ref().to_vec(),
            Source::Step => step.to_le_bytes().to_vec(),
            Source::Seed => self.seed.to_le_bytes().to_vec(),
            Source::Batch {
                dataset,
                batch,
                record_size,
                offset,
                fields,
                dtype,
            } => {
                let file = (*self.datasets[*dataset as usize]).as_ref();
                let size = *record_size as usize;
                let records = (file.len() / size) as u64;
                let take = *fields as usize * dtype.size() as usize;
                let mut out = Vec::with_capacity(*batch as usize * take);
                for row in 0..*batch {
                    let record = permutation::record(self.seed, step, *batch, row, records);
                    let start = record as usize * size + *offset as usize;
                    out.extend_from_slice(&file[start..start + take]);
                }
                out
            }
        }
    }
}

/// The value of every node in a step, as bytes, in node order.
///
/// # Panics
/// When the program is not valid or an input is missing.
pub fn run(program: &Program, step: u32, inputs: &Inputs, state: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = Vec::with_capacity(program.nodes.len());
    for (position, node) in (0..).zip(&program.nodes) {
        values.push(value(node, position, step, inputs, state, &values));
    }
    values
}

/// The value of one node in a step, as bytes, from the values of the nodes before it.
///
/// # Panics
/// When the program is not valid or an input is missing.
pub fn value(
    node: &Node,
    position: u32,
    step: u32,
    inputs: &Inputs,
    state: &[Vec<u8>],
    values: &[Vec<u8>],
) -> Vec<u8> {
    match node {
        Node::Source(source) => inputs.source(source, position, step, state),
        Node::Map(body) => fill(node, |element| {
            infallible(step::map(body, element, &mut Values(values)))
        }),
        Node::Fold(_) => fill(node, |element| {
            let mut last = 0;
            for_each_accumulator(node, values, element, |acc| last = acc);
            last
        }),
    }
}

/// The fold trace of one element: the accumulator after each step of the reduction, as bytes.
///
/// # Panics
/// When the node is not a fold of a valid program, or `values` lacks a node that it reads.
pub fn fold_trace(node: &Node, values: &[Vec<u8>], element: u64) -> Vec<u8> {
    let dtype = node.dtype();
    let size = dtype.size() as usize;
    let mut trace = Vec::with_capacity(node.reduction() as usize * size);
    for_each_accumulator(node, values, element, |acc| {
        trace.extend_from_slice(&acc.to_le_bytes()[..size])
    });
    trace
}

fn for_each_accumulator(node: &Node, values: &[Vec<u8>], element: u64, mut each: impl FnMut(u32)) {
    let Node::Fold(fold) = node else {
        panic!("only a fold has accumulators");
    };
    let reads = &mut Values(values);
    let mut acc = infallible(step::fold_init(fold, element, reads));
    for r in 0..node.reduction() {
        acc = infallible(step::fold_step(fold, element, r, acc, reads));
        each(acc);
    }
}

fn fill(node: &Node, mut element: impl FnMut(u64) -> u32) -> Vec<u8> {
    let size = node.dtype().size() as usize;
    let mut out = vec![0; node.bytes() as usize];
    for (i, cell) in out.chunks_exact_mut(size).enumerate() {
        cell.copy_from_slice(&element(i as u64).to_le_bytes()[..size]);
    }
    out
}

/// Operands from the values of all nodes.
pub struct Values<'a>(pub &'a [Vec<u8>]);

impl Reads for Values<'_> {
    type Error = Infallible;
    fn load(&mut self, _: usize, access: &Access, offset: u64) -> Result<u32, Infallible> {
        let at = (offset * access.dtype.size()) as usize;
        Ok(access.dtype.load(&self.0[access.node as usize][at..]))
    }
}

fn infallible<T>(result: Result<T, Infallible>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

//! The bytes that a run reads and writes.

use super::buffer::Buffer;
use super::plan::{Place, Plan};
use crate::batches::Batches;
use lockstep_protocol::eval::{Blob, Inputs};
use lockstep_protocol::program::{Node, Program, Source};

/// The constants of a program, aligned.
pub struct Constants(Vec<Option<Constant>>);

enum Constant {
    /// Aligned as it is.
    Shared(Blob),
    Copied(Buffer),
}

impl Constants {
    /// Takes the constants from checked inputs, copying only what is not aligned.
    pub fn new(program: &Program, inputs: &Inputs) -> Constants {
        let constant = |node: &Node| {
            let Node::Source(Source::Constant { hash, .. }) = node else {
                return None;
            };
            let blob = &inputs.constants[hash];
            let bytes = (**blob).as_ref();
            if bytes.as_ptr().align_offset(4) == 0 {
                return Some(Constant::Shared(blob.clone()));
            }
            let mut copy = Buffer::zeroed(bytes.len());
            copy.bytes_mut().copy_from_slice(bytes);
            Some(Constant::Copied(copy))
        };
        Constants(program.nodes.iter().map(constant).collect())
    }

    fn bytes(&self, node: usize) -> &[u8] {
        match &self.0[node] {
            Some(Constant::Shared(blob)) => (**blob).as_ref(),
            Some(Constant::Copied(buffer)) => buffer.bytes(),
            None => panic!("node {node} is not a constant"),
        }
    }
}

/// The values of a run, to be read.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    plan: &'a Plan,
    constants: &'a Constants,
    state: &'a [Buffer],
    next: &'a [Buffer],
    buffers: &'a [Buffer],
}

impl<'a> Values<'a> {
    /// The bytes of a node that has run and that the plan still keeps.
    pub fn get(&self, node: u32) -> &'a [u8] {
        let node = node as usize;
        let bytes = self.plan.bytes[node];
        match self.plan.places[node] {
            Place::Absent => panic!("node {node} does not run"),
            Place::State(slot) => self.state[slot].bytes(),
            Place::Constant => self.constants.bytes(node),
            Place::Next(slot) => self.next[slot].bytes(),
            Place::Buffer(b) => &self.buffers[b].bytes()[..bytes],
        }
    }
}

/// Where every value of a run lies.
pub struct Memory<'a> {
    /// The place of every node.
    pub plan: &'a Plan,
    /// The program's constants.
    pub constants: &'a Constants,
    /// The state before the step.
    pub state: &'a [Buffer],
    /// The state after the step.
    pub next: &'a mut [Buffer],
    /// Buffers that values share, one after another.
    pub buffers: &'a mut [Buffer],
}

impl Memory<'_> {
    /// Everything, to be read.
    pub fn values(&self) -> Values<'_> {
        Values {
            plan: self.plan,
            constants: self.constants,
            state: self.state,
            next: self.next,
            buffers: self.buffers,
        }
    }

    /// Lets `compute` write a node's bytes, if the plan wants them written.
    pub fn write(&mut self, node: usize, compute: impl FnOnce(Values<'_>, &mut [u8])) {
        let slot = |memory: &mut Self, other: &mut Buffer| match memory.plan.places[node] {
            Place::Next(slot) => std::mem::swap(&mut memory.next[slot], other),
            Place::Buffer(b) => std::mem::swap(&mut memory.buffers[b], other),
            Place::Absent | Place::State(_) | Place::Constant => {}
        };
        if matches!(self.plan.places[node], Place::Next(_) | Place::Buffer(_)) {
            // The buffer is out while it is written, so nobody can read it meanwhile.
            let mut buffer = Buffer::default();
            slot(self, &mut buffer);
            let bytes = self.plan.bytes[node];
            compute(self.values(), &mut buffer.bytes_mut()[..bytes]);
            slot(self, &mut buffer);
        }
    }
}

/// Writes the bytes of a source in a step, whose records `batches` has looked up.
pub fn write_source(
    source: &Source,
    node: usize,
    inputs: &Inputs,
    batches: &Batches,
    step: u32,
    values: Values<'_>,
    out: &mut [u8],
) {
    match source {
        Source::State { .. } => out.copy_from_slice(values.state[node].bytes()),
        Source::Constant { .. } => out.copy_from_slice(values.constants.bytes(node)),
        Source::Step | Source::Seed | Source::Batch { .. } => {
            batches.write(source, inputs, step, out)
        }
    }
}

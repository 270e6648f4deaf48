//! Which nodes may hold a NaN that is not canonical.
//!
//! Reading such a NaN makes it canonical, so an operand that may hold one has to be copied. What a
//! kernel stores is canonical; only bytes from outside can be otherwise, and those that lie in
//! memory, constants and the state that was loaded, are looked through.

use super::buffer::{view, Buffer};
use lockstep_protocol::eval::Inputs;
use lockstep_protocol::float;
use lockstep_protocol::program::{Dtype, Node, Program, Source};

/// For every node, whether it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payloads(Vec<bool>);

impl Payloads {
    /// Those of a program with checked inputs and a state that holds none.
    pub fn new(program: &Program, inputs: &Inputs) -> Payloads {
        let outside = |node: &Node| match node {
            Node::Source(Source::Constant { dtype, hash, .. }) => {
                holds_one(*dtype, (*inputs.constants[hash]).as_ref())
            }
            Node::Source(Source::Batch { dtype, .. }) => *dtype == Dtype::F32,
            _ => false,
        };
        let payloads = Payloads(program.nodes.iter().map(outside).collect());
        payloads.with_state(program, &[])
    }

    /// The same with another state; a slot that is missing holds none.
    pub fn with_state(&self, program: &Program, state: &[Buffer]) -> Payloads {
        let mut payloads = self.clone();
        for (slot, next) in program.next_state().enumerate() {
            let dtype = program.nodes[slot].dtype();
            let now = state
                .get(slot)
                .is_some_and(|buffer| holds_one(dtype, buffer.bytes()));
            // A source may be the next state.
            payloads.0[slot] = now || payloads.0[next];
        }
        payloads
    }

    /// None at all, where nothing depends on it.
    pub fn none(program: &Program) -> Payloads {
        Payloads(vec![false; program.nodes.len()])
    }

    /// Whether a node may hold one.
    pub fn of(&self, node: u32) -> bool {
        self.0[node as usize]
    }
}

/// Whether a tensor holds a NaN that is not canonical.
fn holds_one(dtype: Dtype, bytes: &[u8]) -> bool {
    let strange = |word: u32| float::canonical(word) != word;
    match bytes.as_ptr().align_offset(4) {
        _ if dtype != Dtype::F32 => false,
        0 => view::<u32>(bytes).iter().any(|word| strange(*word)),
        _ => {
            let words = bytes.as_chunks().0.iter();
            words.copied().any(|word| strange(u32::from_le_bytes(word)))
        }
    }
}

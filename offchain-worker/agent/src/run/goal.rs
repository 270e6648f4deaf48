//! The metric that a task's goal asks for: whether the program has it, and the proof of it.

use super::Error;
use crate::store::{self, Store};
use lockstep_interface::{Goal, MetricProof, Terms};
use lockstep_protocol::program::{Dtype, Program};
use lockstep_protocol::{tree, Hash};

/// Makes sure that the slot of the terms' goal, if they have one, holds a single f32, so that the
/// metric can be proven.
///
/// # Errors
/// When the program has no such slot, or it holds something else.
pub fn check(program: &Program, terms: &Terms) -> Result<(), Error> {
    let Some(goal) = &terms.goal else {
        return Ok(());
    };
    let states = &program.nodes[..program.slots as usize];
    let Some(node) = states.get(goal.slot as usize) else {
        return Err(Error::Invalid(format!(
            "its goal is about state slot {} and the program has {}",
            goal.slot, program.slots
        )));
    };
    if node.dtype() != Dtype::F32 || node.bytes() != 4 {
        return Err(Error::Invalid(format!(
            "its goal is about state slot {}, which is no single f32: no metric can be proven",
            goal.slot
        )));
    }
    Ok(())
}

/// Shows the metric of a goal that was checked in a state from the store.
///
/// # Errors
/// When a file of the state is absent or damaged.
pub fn prove(
    store: &Store,
    program: &Program,
    state: &Hash,
    goal: &Goal,
) -> Result<MetricProof, store::Error> {
    let file = store.get_exact(state, u64::from(program.slots) * 32)?;
    let at = goal.slot as usize * 32;
    let hash = file[at..at + 32].try_into().expect("a hash has 32 bytes");
    let bytes = store.get_exact(&hash, 4)?;
    let bytes = bytes.try_into().expect("the store gave 4 bytes");
    Ok(MetricProof {
        metric: u32::from_le_bytes(bytes),
        slot: tree::prove_open(&file, at as u64),
    })
}

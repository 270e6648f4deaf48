//! What adversaries play: selections at random, moves broken in one place, errors anywhere.

use super::Fault;
use crate::game::{Game, Move, Phase};
use crate::program::Node;
use crate::random::{Case, Rng};
use crate::tree;
use alloc::vec::Vec;
use scale::{Decode, Encode};

/// A selection that the position allows, as likely at the ends as between.
///
/// # Panics
/// When it is not the challenger's turn.
pub fn random_selection(game: &Game, revealed: &[u8], rng: &mut Rng) -> Move {
    let mut pick = |n: u64| match rng.below(4) {
        0 => 0,
        1 => n - 1,
        _ => rng.below(n),
    };
    match game.phase {
        Phase::Choose => {
            if pick(3) == 0 {
                Move::DisputeState
            } else {
                Move::DisputeNodes
            }
        }
        _ if game.search.span.count == 1 => {
            let entries = revealed.len() as u64 / game.search.width as u64;
            Move::SelectEntry {
                index: pick(entries) as u32,
                chunk: revealed.to_vec(),
            }
        }
        _ => {
            let values: Vec<_> = revealed
                .chunks_exact(32)
                .map(|v| v.try_into().unwrap())
                .collect();
            let index = pick(values.len() as u64) as u32;
            Move::SelectSubtree {
                index,
                value: values[index as usize],
                siblings: tree::frontier_siblings(game.search.span, &values, index),
            }
        }
    }
}

/// Breaks a right move in one place.
pub fn garble(mv: Move, rng: &mut Rng) -> Move {
    let bytes = mv.encode();
    for _ in 0..100 {
        let mut wrong = bytes.clone();
        match rng.below(4) {
            0 => wrong.truncate(rng.below(bytes.len() as u64) as usize),
            1 => wrong.push(rng.below(256) as u8),
            _ => {
                let at = rng.below(bytes.len() as u64) as usize;
                wrong[at] ^= 1 << rng.below(8);
            }
        }
        if let Ok(other) = Move::decode(&mut wrong.as_slice()) {
            if other != mv {
                return other;
            }
        }
    }
    Move::DisputeNodes
}

/// A planted error in a random program. Elements are near the ends as often as elsewhere.
pub fn random_fault(case: &Case, steps: u32, rng: &mut Rng) -> Fault {
    let step = rng.below(steps as u64) as u32;
    let node = rng.below(case.program.nodes.len() as u64) as u32;
    let target = &case.program.nodes[node as usize];
    let mut place = |n: u64| match rng.below(4) {
        0 => 0,
        1 => n - 1,
        _ => rng.below(n),
    };
    let element = place(target.len());
    let r = place(target.reduction());
    match rng.below(6) {
        0 => Fault::State {
            step,
            slot: rng.below(case.program.slots as u64) as u32,
        },
        1 => Fault::Step { step },
        2 | 3 if matches!(target, Node::Fold(_)) => Fault::Accumulator {
            step,
            node,
            element,
            r,
        },
        _ => Fault::Element {
            step,
            node,
            element,
        },
    }
}

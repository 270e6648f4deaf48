//! What a dispute costs: one that is really played through the contracts, and bounds for larger
//! tasks from the sizes that the same encoders give the largest possible moves.

use super::Table;
use crate::args::DemoArgs;
use crate::demo::{self, story::Line};
use crate::screen::bytes;
use anyhow::Result;
use lockstep_agent::run::fault::{Level, Place};
use lockstep_agent::run::Device;
use lockstep_interface::dispute::Play;
use lockstep_interface::Message;
use lockstep_protocol::game::Move;
use lockstep_protocol::program::{Node, Program};
use lockstep_protocol::referee::Operand;
use lockstep_protocol::task::TaskSpec;
use lockstep_protocol::tree::{self, Opening, Span, CHUNK};
use scale::Encode;
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// The most that a dispute can take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// Moves of the solver, who makes more of them.
    pub moves: usize,
    /// Moves of the challenger.
    pub challenger_moves: usize,
    /// Bytes of the solver's calldata.
    pub bytes: u64,
    /// Bytes of the challenger's calldata.
    pub challenger_bytes: u64,
    /// Bytes of the largest single move.
    pub largest: u64,
}

/// The numbers of a task that decide how long a dispute is.
#[derive(Clone, Debug)]
struct Shape {
    segments: u64,
    segment: u64,
    nodes: u64,
    /// Bytes of the disputed node's encoding.
    encoding: usize,
    /// Bytes of its value.
    tensor: u64,
    /// Bytes of its fold trace; 0 for a map.
    fold: u64,
    /// Bytes of the value behind each access.
    reads: Vec<u64>,
}

/// A larger task than one likes to run, and what a dispute of it takes at most.
#[derive(Clone, Debug, Serialize)]
pub struct Large {
    /// Steps of the task.
    pub steps: u64,
    /// Nodes of its program.
    pub nodes: u64,
    /// Elements of its largest tensor.
    pub elements: u64,
    /// Steps of its longest fold.
    pub reduction: u64,
    /// The bound.
    pub bound: Bound,
}

/// A played dispute and the bounds.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where the error was planted.
    pub fault: String,
    /// Every move of the dispute.
    pub moves: Vec<Line>,
    /// How it ended.
    pub outcome: String,
    /// Bounds for larger tasks.
    pub large: Vec<Large>,
}

/// The most that a dispute over a task can take, whatever its players do.
pub fn bound(program: &Program, spec: &TaskSpec) -> Bound {
    let shape = |node: &Node| Shape {
        segments: spec.segments() as u64,
        segment: spec.segment as u64,
        nodes: spec.nodes as u64,
        encoding: node.encoded_size(),
        tensor: node.bytes(),
        fold: match node {
            Node::Fold(_) => node.reduction() * node.dtype().size(),
            _ => 0,
        },
        reads: node.accesses().map(|a| a.len * a.dtype.size()).collect(),
    };
    let bounds = program.nodes.iter().map(|node| shape(node).bound());
    bounds.fold(Bound::default(), |a, b| Bound {
        moves: a.moves.max(b.moves),
        challenger_moves: a.challenger_moves.max(b.challenger_moves),
        bytes: a.bytes.max(b.bytes),
        challenger_bytes: a.challenger_bytes.max(b.challenger_bytes),
        largest: a.largest.max(b.largest),
    })
}

/// Plays a dispute over a recipe's task on a chain in memory, and computes the bounds.
///
/// # Errors
/// When the dispute does not end as it should.
pub fn run(recipe: &Path, seed: u64, device: Device) -> Result<Report> {
    let args = DemoArgs {
        node: false,
        recipe: recipe.to_owned(),
        level: Level::Fold,
        fault: Place::default(),
        seed: Some(seed),
        audit: None,
        floor: 0.0,
    };
    let tale = demo::second_act(&args, device)?;
    Ok(Report {
        fault: tale.fault,
        moves: tale.moves,
        outcome: tale.outcome,
        large: larger_tasks(),
    })
}

fn larger_tasks() -> Vec<Large> {
    let sizes: [(u64, u64, u64, u64); 4] = [
        (10_000, 200, 1_000_000, 1_000),
        (100_000, 1_000, 10_000_000, 2_048),
        (1_000_000, 5_000, 100_000_000, 4_096),
        (1_000_000, 10_000, 200_000_000, 10_000),
    ];
    let large = |(steps, nodes, elements, reduction): (u64, u64, u64, u64)| {
        let segment = steps.isqrt();
        let shape = Shape {
            segments: steps.div_ceil(segment),
            segment,
            nodes,
            // The largest node of the format, and as many reads of the largest tensor as a
            // matrix product with bias has.
            encoding: lockstep_protocol::program::limits::NODE_BYTES,
            tensor: elements * 4,
            fold: reduction * 4,
            reads: vec![elements * 4; 3],
        };
        Large {
            steps,
            nodes,
            elements,
            reduction,
            bound: shape.bound(),
        }
    };
    sizes.into_iter().map(large).collect()
}

impl Shape {
    fn bound(&self) -> Bound {
        let mut bound = Bound::default();
        let hashes = |n: u64| n * 32;
        let (checkpoints, steps) = (hashes(self.segments), hashes(self.segment));
        let nodes = hashes(self.nodes);
        bound.search(checkpoints, 32);
        bound.defend(&Move::OpenSteps {
            left: Some(opening(checkpoints)),
            root: [0; 32],
            last: opening(steps),
        });
        bound.search(steps, 32);
        bound.defend(&Move::OpenNodes {
            left: Some(opening(steps)),
            root: [0; 32],
        });
        bound.challenge(&Move::DisputeNodes);
        bound.search(nodes, 32);
        bound.defend(&Move::OpenNode {
            node: vec![0; self.encoding],
            program: opening(nodes),
            slot: None,
        });
        bound.search(self.tensor, 4);
        if self.fold > 0 {
            bound.defend(&Move::OpenFold {
                root: [0; 32],
                last: opening(self.fold),
            });
            bound.search(self.fold, 4);
        }
        let operand = |len: &u64| {
            Some(Operand {
                tensor: opening(nodes),
                element: opening(*len),
            })
        };
        bound.defend(&Move::Prove {
            left: (self.fold > 0).then(|| opening(self.fold)),
            node: vec![0; self.encoding],
            operands: self.reads.iter().map(operand).collect(),
        });
        bound
    }
}

impl Bound {
    /// The reveals and selections that lead to an entry of a file, along its deepest way.
    fn search(&mut self, len: u64, width: u64) {
        let mut span = Span::whole(len);
        while span.count > 1 {
            let frontier = tree::frontier(span);
            self.defend(&Move::Reveal(vec![0; frontier.len() * 32]));
            let deepest = frontier.iter().max_by_key(|span| span.count);
            let below = *deepest.expect("a frontier is not empty");
            let depth = frontier.len().next_power_of_two().ilog2() as usize;
            self.challenge(&Move::SelectSubtree {
                index: frontier.len() as u32 - 1,
                value: [0; 32],
                siblings: vec![[0; 32]; depth],
            });
            span = below;
        }
        let chunk = vec![0; len.min(CHUNK) as usize];
        self.defend(&Move::Reveal(chunk.clone()));
        let index = (chunk.len() as u64 / width) as u32 - 1;
        self.challenge(&Move::SelectEntry { index, chunk });
    }

    fn defend(&mut self, mv: &Move) {
        let size = size(mv);
        self.moves += 1;
        self.bytes += size;
        self.largest = self.largest.max(size);
    }

    fn challenge(&mut self, mv: &Move) {
        let size = size(mv);
        self.challenger_moves += 1;
        self.challenger_bytes += size;
        self.largest = self.largest.max(size);
    }
}

/// Bytes of the call that makes a move.
fn size(mv: &Move) -> u64 {
    let play = Play {
        dispute: u64::MAX,
        position: [0; 32],
        mv: mv.clone(),
    };
    play.call().len() as u64
}

/// The largest opening of a file.
fn opening(len: u64) -> Opening {
    Opening {
        chunk: vec![0; len.min(CHUNK) as usize],
        path: vec![[0; 32]; tree::depth(len) as usize],
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "a dispute over {}", self.fault)?;
        let mut table = Table::new(&[
            "position",
            "side",
            "calldata",
            "ref_time",
            "proof_size",
            "of limit",
        ]);
        for line in &self.moves {
            table.row(&[
                line.position.to_string(),
                line.side.into(),
                line.bytes.to_string(),
                format!("{:.2} G", line.ref_time as f64 / 1e9),
                bytes(line.proof_size),
                format!("{:.2}%", line.share * 100.0),
            ]);
        }
        write!(f, "{table}")?;
        let side = |name| self.moves.iter().filter(move |line| line.side == name);
        let total = |name| side(name).map(|line| line.bytes as u64).sum::<u64>();
        writeln!(
            f,
            "solver {} moves and {}; challenger {} moves and {}; largest share {:.2}%",
            side("solver").count(),
            bytes(total("solver")),
            side("challenger").count(),
            bytes(total("challenger")),
            self.moves.iter().map(|line| line.share).fold(0.0, f64::max) * 100.0
        )?;
        writeln!(f, "{}\n\nat most, for larger tasks", self.outcome)?;
        let mut table = Table::new(&[
            "steps",
            "nodes",
            "elements",
            "K",
            "solver's moves",
            "calldata",
            "challenger's moves",
            "calldata",
            "largest move",
        ]);
        for large in &self.large {
            let bound = &large.bound;
            table.row(&[
                large.steps.to_string(),
                large.nodes.to_string(),
                large.elements.to_string(),
                large.reduction.to_string(),
                bound.moves.to_string(),
                bytes(bound.bytes),
                bound.challenger_moves.to_string(),
                bytes(bound.challenger_bytes),
                bytes(bound.largest),
            ]);
        }
        write!(f, "{table}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_task_of_the_design_stays_within_its_budget() {
        for large in larger_tasks() {
            let Bound {
                moves,
                challenger_moves,
                bytes,
                challenger_bytes,
                ..
            } = large.bound;
            assert!(moves <= 24 && challenger_moves <= 24, "{large:?}");
            assert!(
                bytes <= 64 << 10 && challenger_bytes <= 64 << 10,
                "{large:?}"
            );
        }
    }
}

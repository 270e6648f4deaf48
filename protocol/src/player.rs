//! The moves that an honest party plays, each derived from the position and its own files alone.

use crate::eval::Blob;
use crate::game::{File, Game, Move, Phase};
use crate::program::{Access, Node};
use crate::referee::{batch_element, Operand};
use crate::step::{self, Reads};
use crate::task::Dataset;
use crate::tree::{self, Opening, Span};
use crate::Hash;
use alloc::{vec, vec::Vec};
use scale::Encode;

/// A file of a party's own run of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileId {
    /// State hashes at segment ends.
    Checkpoints,
    /// State hashes after each step of a segment.
    Steps {
        /// The segment.
        segment: u32,
    },
    /// Tensor hashes of the state before a step.
    StateBefore {
        /// The step, counted over the task.
        step: u32,
    },
    /// Tensor hashes of the state after a step.
    StateAfter {
        /// The step, counted over the task.
        step: u32,
    },
    /// The hash of every node's value in a step.
    Nodes {
        /// The step, counted over the task.
        step: u32,
    },
    /// A node's value in a step.
    Tensor {
        /// The step, counted over the task.
        step: u32,
        /// The node.
        node: u32,
    },
    /// The fold trace of an element.
    Fold {
        /// The step, counted over the task.
        step: u32,
        /// The node.
        node: u32,
        /// The element.
        element: u64,
    },
    /// The hash of every node's encoding.
    Program,
    /// A dataset, by its number in the task.
    Dataset(u32),
}

/// A party's own files, each made when it is first asked for.
pub trait Evidence {
    /// Why a file cannot be had.
    type Error;

    /// The bytes of a file.
    ///
    /// # Errors
    /// When it cannot be had.
    fn file(&mut self, id: FileId) -> Result<Blob, Self::Error>;

    /// A node of the program.
    fn node(&self, index: u32) -> Node;

    /// The task's datasets.
    fn datasets(&self) -> Vec<Dataset>;
}

/// The file that the position searches, in a party's own run.
pub fn searched(game: &Game) -> FileId {
    let step = game.step;
    match game.search.file {
        File::Checkpoints => FileId::Checkpoints,
        File::Steps => FileId::Steps {
            segment: game.segment,
        },
        File::Nodes => FileId::Nodes { step },
        File::State => FileId::StateAfter { step },
        File::Tensor => FileId::Tensor {
            step,
            node: game.node,
        },
        File::Fold => FileId::Fold {
            step,
            node: game.node,
            element: game.element,
        },
    }
}

/// The defender's move; `None` when it is not the defender's turn.
///
/// # Errors
/// When a file that the move needs cannot be had.
pub fn defend<E: Evidence>(game: &Game, own: &mut E) -> Result<Option<Move>, E::Error> {
    let step = game.step;
    Ok(Some(match game.phase {
        Phase::Select | Phase::Choose | Phase::Over(_) => return Ok(None),
        Phase::Reveal => {
            let file = own.file(searched(game))?;
            Move::Reveal(reveal(bytes(&file), game.search.span))
        }
        Phase::OpenSteps => {
            let left = owed_left(game, own)?;
            let file = own.file(FileId::Steps {
                segment: game.segment,
            })?;
            let (root, last) = root_and_last(bytes(&file));
            Move::OpenSteps { left, root, last }
        }
        Phase::OpenNodes => {
            let left = owed_left(game, own)?;
            let file = own.file(FileId::Nodes { step })?;
            Move::OpenNodes {
                left,
                root: tree::hash(bytes(&file)),
            }
        }
        Phase::OpenNode => {
            let program = own.file(FileId::Program)?;
            let slot = if game.node < game.frame.slots {
                let state = own.file(FileId::StateBefore { step })?;
                Some(entry(bytes(&state), game.node, 32))
            } else {
                None
            };
            Move::OpenNode {
                node: own.node(game.node).encode(),
                program: entry(bytes(&program), game.node, 32),
                slot,
            }
        }
        Phase::ShowSlot => {
            let trace = own.file(FileId::Nodes { step })?;
            let index = game.frame.nodes - game.frame.slots + game.node;
            Move::ShowSlot(entry(bytes(&trace), index, 32))
        }
        Phase::OpenFold => {
            let id = FileId::Fold {
                step,
                node: game.node,
                element: game.element,
            };
            let file = own.file(id)?;
            let (root, last) = root_and_last(bytes(&file));
            Move::OpenFold { root, last }
        }
        Phase::Prove => prove(game, own)?,
    }))
}

/// The challenger's move; `None` when it is not the challenger's turn.
///
/// `revealed` is what the defender's last move revealed. `target` is the segment whose transition
/// the challenger knows to be wrong; without one it selects the first checkpoint that differs
/// from its own. Where nothing differs, the first entry is selected: an honest challenger never
/// comes there.
///
/// # Errors
/// When a file that the move needs cannot be had.
pub fn challenge<E: Evidence>(
    game: &Game,
    own: &mut E,
    target: Option<u32>,
    revealed: &[u8],
) -> Result<Option<Move>, E::Error> {
    Ok(Some(match game.phase {
        Phase::Choose => {
            let trace = own.file(FileId::Nodes { step: game.step })?;
            if tree::hash(bytes(&trace)) == game.trace {
                Move::DisputeState
            } else {
                Move::DisputeNodes
            }
        }
        Phase::Select => {
            let search = &game.search;
            let target = match (search.file, target) {
                (File::Checkpoints, Some(segment)) => Some(segment as u64 * 32),
                _ => None,
            };
            let file = own.file(searched(game))?;
            if search.span.count == 1 {
                select_entry(bytes(&file), search.span, search.width, revealed, target)
            } else {
                select_subtree(bytes(&file), search.span, revealed, target)
            }
        }
        _ => return Ok(None),
    }))
}

fn bytes(blob: &Blob) -> &[u8] {
    (**blob).as_ref()
}

fn reveal(file: &[u8], span: Span) -> Vec<u8> {
    if span.count == 1 {
        part(file, span).to_vec()
    } else {
        tree::prove_frontier(file, span).concat()
    }
}

fn part(file: &[u8], span: Span) -> &[u8] {
    let range = span.byte_range(file.len() as u64);
    &file[range.start as usize..range.end as usize]
}

fn entry(file: &[u8], index: u32, width: u64) -> Opening {
    tree::prove_open(file, index as u64 * width)
}

fn root_and_last(file: &[u8]) -> (Hash, Opening) {
    (
        tree::hash(file),
        tree::prove_open(file, file.len() as u64 - 1),
    )
}

fn owed_left<E: Evidence>(game: &Game, own: &mut E) -> Result<Option<Opening>, E::Error> {
    if !game.search.owes_left {
        return Ok(None);
    }
    let file = own.file(searched(game))?;
    let before = (game.search.entry - 1) * game.search.width as u64;
    Ok(Some(tree::prove_open(bytes(&file), before)))
}

fn select_subtree(file: &[u8], span: Span, revealed: &[u8], target: Option<u64>) -> Move {
    let len = file.len() as u64;
    let values: Vec<Hash> = revealed
        .chunks_exact(32)
        .map(|v| v.try_into().expect("chunks have 32 bytes"))
        .collect();
    let spans = tree::frontier(span);
    let index = match target {
        Some(byte) => spans.iter().position(|s| s.byte_range(len).contains(&byte)),
        None => spans
            .iter()
            .zip(&values)
            .position(|(s, value)| tree::subtree(part(file, *s), len, *s) != *value),
    }
    .unwrap_or(0);
    Move::SelectSubtree {
        index: index as u32,
        value: values[index],
        siblings: tree::frontier_siblings(span, &values, index as u32),
    }
}

fn select_entry(file: &[u8], span: Span, width: u8, revealed: &[u8], target: Option<u64>) -> Move {
    let width = width as usize;
    let own = part(file, span);
    let index = match target {
        Some(byte) => Some((byte - span.byte_range(file.len() as u64).start) as usize / width),
        None => own
            .chunks_exact(width)
            .zip(revealed.chunks_exact(width))
            .position(|(mine, theirs)| mine != theirs),
    };
    Move::SelectEntry {
        index: index.unwrap_or(0) as u32,
        chunk: revealed.to_vec(),
    }
}

fn prove<E: Evidence>(game: &Game, own: &mut E) -> Result<Move, E::Error> {
    let node = own.node(game.node);
    if let Node::Source(source) = &node {
        let datasets = own.datasets();
        let frame = &game.frame;
        let (dataset, start) = batch_element(
            source,
            game.element,
            game.step,
            frame.batch,
            frame.seed,
            &datasets,
        )
        .expect("a valid program's batches agree with its task");
        let file = own.file(FileId::Dataset(dataset as u32))?;
        let record = tree::prove_open(bytes(&file), start);
        return Ok(Move::ProveRecord {
            node: node.encode(),
            datasets,
            record,
        });
    }
    let left = owed_left(game, own)?;
    let trace = own.file(FileId::Nodes { step: game.step })?;
    let mut collector = Collector {
        own,
        step: game.step,
        trace: &trace,
        operands: vec![None; node.accesses().count()],
    };
    match &node {
        Node::Map(body) => {
            step::map(body, game.element, &mut collector)?;
        }
        Node::Fold(fold) => {
            if game.r == 0 {
                step::fold_init(fold, game.element, &mut collector)?;
            }
            step::fold_step(fold, game.element, game.r as u64, game.acc, &mut collector)?;
        }
        Node::Source(_) => {}
    }
    let operands = collector.operands;
    Ok(Move::Prove {
        left,
        node: node.encode(),
        operands,
    })
}

/// Executes a step and keeps an opening of every operand that it reads.
struct Collector<'a, E: Evidence> {
    own: &'a mut E,
    step: u32,
    trace: &'a Blob,
    operands: Vec<Option<Operand>>,
}

impl<E: Evidence> Reads for Collector<'_, E> {
    type Error = E::Error;

    fn load(&mut self, slot: usize, access: &Access, offset: u64) -> Result<u32, E::Error> {
        let file = self.own.file(FileId::Tensor {
            step: self.step,
            node: access.node,
        })?;
        let start = offset * access.dtype.size();
        self.operands[slot] = Some(Operand {
            tensor: entry(bytes(self.trace), access.node, 32),
            element: tree::prove_open(bytes(&file), start),
        });
        Ok(access.dtype.load(&bytes(&file)[start as usize..]))
    }
}

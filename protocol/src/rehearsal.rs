//! A whole task in memory, honest or with one planted error, and games played between such runs:
//! what the tests of the game, of the contracts and of the agents rehearse.

pub mod adversary;
pub mod sample;

use crate::eval::{self, Blob, Inputs, Values};
use crate::game::{Game, Move, Side};
use crate::player::{self, Evidence, FileId};
use crate::program::{Node, Program};
use crate::random::Case;
use crate::task::{Commitment, Dataset, TaskSpec};
use crate::{step, tree, Hash};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

/// Where a run departs from the truth. What follows is computed from the wrong value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// A checkpoint is a hash of nothing.
    Checkpoint {
        /// Of which segment.
        segment: u32,
    },
    /// The state hash after a step is a hash of nothing.
    Step {
        /// Which step.
        step: u32,
    },
    /// The state after a step has another tensor in a slot than the program computed.
    State {
        /// Which step.
        step: u32,
        /// Which slot.
        slot: u32,
    },
    /// An element of a node has another value.
    Element {
        /// Which step.
        step: u32,
        /// Which node.
        node: u32,
        /// Which element.
        element: u64,
    },
    /// A fold goes wrong at step `r`.
    Accumulator {
        /// Which step.
        step: u32,
        /// Which node.
        node: u32,
        /// Which element.
        element: u64,
        /// Which step of the fold.
        r: u64,
    },
}

/// Every file of a run.
pub struct Run {
    /// What each step computes.
    pub program: Program,
    /// The task.
    pub spec: TaskSpec,
    inputs: Inputs,
    /// The state before each step, and after the last.
    states: Vec<Vec<Vec<u8>>>,
    /// State hashes, index s is the state before step s.
    hashes: Vec<Hash>,
    values: Vec<Vec<Vec<u8>>>,
    fault: Option<Fault>,
}

/// The file of a list of tensors: their hashes one after another.
pub fn state_file(state: &[Vec<u8>]) -> Vec<u8> {
    state.iter().flat_map(|tensor| tree::hash(tensor)).collect()
}

impl Run {
    /// Runs a task of `steps` steps with a checkpoint every `segment` of them.
    ///
    /// # Panics
    /// When the case is not valid or the numbers make no task.
    pub fn new(case: Case, steps: u32, segment: u32, fault: Option<Fault>) -> Run {
        let spec = case.spec(steps, segment);
        spec.check().expect("the case makes a task");
        let Case {
            program,
            inputs,
            state: genesis,
            ..
        } = case;
        let mut run = Run {
            program,
            spec,
            inputs,
            hashes: vec![tree::hash(&state_file(&genesis))],
            states: vec![genesis],
            values: Vec::new(),
            fault,
        };
        for step in 0..steps {
            run.advance(step);
        }
        run
    }

    fn advance(&mut self, step: u32) {
        let state = self.states.last().unwrap().clone();
        let mut values: Vec<Vec<u8>> = Vec::new();
        for (n, node) in (0..).zip(&self.program.nodes) {
            let mut value = eval::value(node, n, step, &self.inputs, &state, &values);
            match self.fault {
                Some(Fault::Element {
                    step: s,
                    node: m,
                    element,
                }) if (s, m) == (step, n) => {
                    flip(&mut value, node, element);
                }
                Some(Fault::Accumulator {
                    step: s,
                    node: m,
                    element,
                    r,
                }) if (s, m) == (step, n) => {
                    let trace = wrong_fold(node, &values, element, r);
                    let size = node.dtype().size() as usize;
                    let at = element as usize * size;
                    value[at..at + size].copy_from_slice(&trace[trace.len() - size..]);
                }
                _ => {}
            }
            values.push(value);
        }
        let mut next: Vec<Vec<u8>> = values[self.program.next_state()].to_vec();
        if let Some(Fault::State { step: s, slot }) = self.fault {
            if s == step {
                next[slot as usize][0] ^= 1;
            }
        }
        let mut hash = tree::hash(&state_file(&next));
        let segment_end = (step + 1) % self.spec.segment == 0 || step + 1 == self.spec.steps;
        match self.fault {
            Some(Fault::Step { step: s }) if s == step => hash[0] ^= 1,
            Some(Fault::Checkpoint { segment })
                if segment_end && segment == step / self.spec.segment =>
            {
                hash[0] ^= 1
            }
            _ => {}
        }
        self.values.push(values);
        self.states.push(next);
        self.hashes.push(hash);
    }

    /// What the solver of this run commits to.
    pub fn commitment(&self) -> Commitment {
        Commitment {
            trace: tree::hash(&self.checkpoints()),
            state: *self.hashes.last().unwrap(),
        }
    }

    fn checkpoints(&self) -> Vec<u8> {
        (0..self.spec.segments())
            .flat_map(|s| {
                self.hashes[(self.spec.first_step(s) + self.spec.segment_steps(s)) as usize]
            })
            .collect()
    }

    /// A file of the run.
    pub fn bytes(&self, id: FileId) -> Vec<u8> {
        match id {
            FileId::Checkpoints => self.checkpoints(),
            FileId::Steps { segment } => {
                let first = self.spec.first_step(segment) as usize + 1;
                let count = self.spec.segment_steps(segment) as usize;
                self.hashes[first..first + count].concat()
            }
            FileId::StateBefore { step } => state_file(&self.states[step as usize]),
            FileId::StateAfter { step } => state_file(&self.states[step as usize + 1]),
            FileId::Nodes { step } => state_file(&self.values[step as usize]),
            FileId::Tensor { step, node } => self.values[step as usize][node as usize].clone(),
            FileId::Fold {
                step,
                node,
                element,
            } => self.fold(step, node, element),
            FileId::Program => self.program.file(),
            FileId::Dataset(k) => (*self.inputs.datasets[k as usize]).as_ref().to_vec(),
        }
    }

    fn fold(&self, step: u32, n: u32, element: u64) -> Vec<u8> {
        let values = &self.values[step as usize];
        let node = &self.program.nodes[n as usize];
        match self.fault {
            Some(Fault::Accumulator {
                step: s,
                node: m,
                element: e,
                r,
            }) if (s, m, e) == (step, n, element) => wrong_fold(node, values, element, r),
            Some(Fault::Element {
                step: s,
                node: m,
                element: e,
            }) if (s, m, e) == (step, n, element) => {
                // The lie is told in the last entry, which is bound to the element.
                let mut trace = eval::fold_trace(node, values, element);
                flip(&mut trace, node, node.reduction() - 1);
                trace
            }
            _ => eval::fold_trace(node, values, element),
        }
    }
}

/// Changes an element by a bit that rounding does not absorb.
fn flip(bytes: &mut [u8], node: &Node, element: u64) {
    let size = node.dtype().size() as usize;
    let high = element as usize * size + size.min(3) - 1;
    bytes[high] ^= if size == 4 { 0x20 } else { 1 };
}

fn wrong_fold(node: &Node, values: &[Vec<u8>], element: u64, wrong: u64) -> Vec<u8> {
    let Node::Fold(fold) = node else {
        panic!("the fault names a fold")
    };
    let reads = &mut Values(values);
    let size = node.dtype().size() as usize;
    let mut acc = step::fold_init(fold, element, reads).unwrap_or_else(|e| match e {});
    let mut trace = Vec::new();
    for r in 0..node.reduction() {
        acc = step::fold_step(fold, element, r, acc, reads).unwrap_or_else(|e| match e {});
        trace.extend_from_slice(&acc.to_le_bytes()[..size]);
        if r == wrong {
            flip(&mut trace, node, r);
            let at = r as usize * size;
            acc = node.dtype().stored(node.dtype().load(&trace[at..]));
        }
    }
    trace
}

/// A party's files, made when asked for.
pub struct Own<'a> {
    /// Whose run it is.
    pub run: &'a Run,
    cache: BTreeMap<FileId, Blob>,
}

impl<'a> Own<'a> {
    /// The files of `run`.
    pub fn new(run: &'a Run) -> Own<'a> {
        Own {
            run,
            cache: BTreeMap::new(),
        }
    }
}

impl Evidence for Own<'_> {
    type Error = Infallible;

    fn file(&mut self, id: FileId) -> Result<Blob, Infallible> {
        let run = self.run;
        Ok(self
            .cache
            .entry(id)
            .or_insert_with(|| Arc::new(run.bytes(id)) as Blob)
            .clone())
    }

    fn node(&self, index: u32) -> Node {
        self.run.program.nodes[index as usize].clone()
    }

    fn datasets(&self) -> Vec<Dataset> {
        self.run.spec.datasets.clone()
    }
}

/// What was played.
#[derive(Default)]
pub struct Record {
    /// Moves of the defender and of the challenger.
    pub moves: [usize; 2],
    /// Encoded bytes of all moves.
    pub bytes: usize,
}

/// Plays a game out. Each player sees the position and what the defender last revealed; a player
/// that returns `None` lets its time run out. Refused moves count as nothing and then as time out.
pub fn play(
    game: &mut Game,
    mut defender: impl FnMut(&Game) -> Option<Move>,
    mut challenger: impl FnMut(&Game, &[u8]) -> Option<Move>,
) -> Record {
    use scale::Encode;
    let mut revealed = Vec::new();
    let mut record = Record::default();
    while let Some(turn) = game.turn() {
        let mv = match turn {
            Side::Defender => defender(game),
            Side::Challenger => challenger(game, &revealed),
        };
        let before = game.clone();
        match mv.map(|mv| (game.play(turn, &mv), mv)) {
            Some((Ok(()), mv)) => {
                assert_eq!(game.position, before.position + 1);
                record.moves[turn as usize] += 1;
                record.bytes += mv.encode().len();
                if let Move::Reveal(bytes) = mv {
                    revealed = bytes;
                }
            }
            Some((Err(_), _)) => {
                assert_eq!(*game, before, "a refused move changes nothing");
                game.time_out();
            }
            None => game.time_out(),
        }
    }
    record
}

/// Plays the honest defender's strategy from the files of `run`.
pub fn honest_defender<'a>(run: &'a Run) -> impl FnMut(&Game) -> Option<Move> + 'a {
    let mut own = Own::new(run);
    move |game| player::defend(game, &mut own).unwrap_or_else(|e| match e {})
}

/// Plays the honest challenger's strategy from the files of `run`.
pub fn honest_challenger<'a>(
    run: &'a Run,
    target: Option<u32>,
) -> impl FnMut(&Game, &[u8]) -> Option<Move> + 'a {
    let mut own = Own::new(run);
    move |game, revealed| {
        player::challenge(game, &mut own, target, revealed).unwrap_or_else(|e| match e {})
    }
}

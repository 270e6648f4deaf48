//! The way of a dispute, from the checkpoints down to one scalar step, with what both sides have.
//!
//! The chain's events hold the solver's side: every value it revealed. They name the challenger's
//! selections and not its own values; those are computed again here.

use super::history::Dispute;
use super::outline::slot_name;
use crate::wording::{self, value};
use lockstep_agent::run::files::Files;
use lockstep_agent::run::Error;
use lockstep_interface::dispute::Play;
use lockstep_interface::Message;
use lockstep_protocol::game::{File, Game, Move, Phase, Refusal};
use lockstep_protocol::player::{searched, Evidence, FileId};
use lockstep_protocol::program::{Access, Body, Node, Op, Program};
use lockstep_protocol::step::{self, coordinates, Reads};
use lockstep_protocol::task::{Commitment, TaskSpec};
use lockstep_protocol::Hash;

/// A dispute that was played again from its moves.
pub struct Path {
    /// Each selected entry, from the checkpoints down.
    pub levels: Vec<Level>,
    /// Every move: who made it, what it was, and the bytes of its message.
    pub moves: Vec<(&'static str, String, usize)>,
    /// The position after the last known move.
    pub end: Game,
    /// The state before the disputed segment, on which both sides agree; absent before the
    /// solver has shown it.
    pub agreed: Option<Hash>,
}

/// A file that was searched to an entry.
pub struct Level {
    /// The position in which the entry was selected.
    pub game: Game,
    /// The entry's number.
    pub selected: u64,
    /// What the solver claims for it.
    pub solver: Vec<u8>,
    /// What it is when computed again.
    pub own: Option<Vec<u8>>,
}

impl Path {
    /// Plays a dispute's moves again.
    ///
    /// # Errors
    /// When a move does not fit, which no chain with the right contracts shows.
    pub fn replay(
        spec: &TaskSpec,
        program: &Program,
        commitment: &Commitment,
        dispute: &Dispute,
    ) -> Result<Path, Refusal> {
        let mut path = Path {
            levels: Vec::new(),
            moves: Vec::new(),
            end: Game::new(spec, commitment),
            agreed: None,
        };
        for (_, mv) in &dispute.moves {
            let game = path.end.clone();
            let turn = game.turn().ok_or(Refusal::Over)?;
            if let Move::SelectEntry { index, chunk } = mv {
                let (selected, solver) = wording::selected(&game, *index, chunk);
                path.levels.push(Level {
                    selected,
                    solver: solver.to_vec(),
                    own: None,
                    game: game.clone(),
                });
            }
            let message = Play {
                dispute: dispute.id,
                position: game.hash(),
                mv: mv.clone(),
            };
            let said = wording::played(program, &game, mv, None);
            path.moves
                .push((wording::side(turn), said, message.call().len()));
            path.end.play(turn, mv)?;
            path.look_left();
        }
        path.look_left();
        Ok(path)
    }

    /// Keeps the agreed state before the disputed segment as soon as the position has it, before
    /// that of the disputed step takes its place.
    fn look_left(&mut self) {
        let game = &self.end;
        let found = match game.search.file {
            File::Checkpoints => {
                let selected = !matches!(game.phase, Phase::Reveal | Phase::Select);
                selected && !game.search.owes_left
            }
            File::Steps => true,
            _ => false,
        };
        if self.agreed.is_none() && found {
            self.agreed = Some(game.before);
        }
    }

    /// Computes again what the solver's values should be.
    ///
    /// # Errors
    /// When a file cannot be had.
    pub fn compute(&mut self, files: &mut Files) -> Result<(), Error> {
        for level in &mut self.levels {
            let game = &level.game;
            // The state at the end of a segment is the last entry of its steps, and need not be
            // that of the segment as it follows from the task's beginning.
            let (id, entry) = match game.search.file {
                File::Checkpoints => {
                    let segment = level.selected as u32;
                    let spec = &game.frame;
                    let steps = spec.segment.min(spec.steps - segment * spec.segment);
                    (FileId::Steps { segment }, u64::from(steps) - 1)
                }
                _ => (searched(game), level.selected),
            };
            let file = files.file(id)?;
            let width = usize::from(game.search.width);
            let start = entry as usize * width;
            level.own = (*file)
                .as_ref()
                .get(start..start + width)
                .map(<[u8]>::to_vec);
        }
        Ok(())
    }

    /// The scalar step at the bottom with its operands, computed again; nothing when the dispute
    /// has not come there.
    ///
    /// # Errors
    /// When a file cannot be had.
    pub fn scalar(&self, program: &Program, files: &mut Files) -> Result<Option<String>, Error> {
        let game = &self.end;
        if !matches!(game.search.file, File::Tensor | File::Fold) || game.phase != Phase::Prove {
            return Ok(None);
        }
        let node = &program.nodes[game.node as usize];
        let mut reads = Operands {
            files,
            step: game.step,
            words: Vec::new(),
        };
        let (body, acc, result) = match node {
            Node::Source(_) => return Ok(None),
            Node::Map(body) => (body, None, step::map(body, game.element, &mut reads)?),
            Node::Fold(fold) => {
                let acc = match game.r {
                    0 => step::fold_init(fold, game.element, &mut reads)?,
                    r => reads.accumulator(game, r - 1)?,
                };
                let r = u64::from(game.r);
                let result = step::fold_step(fold, game.element, r, acc, &mut reads)?;
                (&fold.body, Some(acc), result)
            }
        };
        let dtype = node.dtype();
        let acc = acc.map(|acc| format!("the accumulator, {}", value(dtype, acc)));
        let words = reads.words.iter();
        let read = |(access, word): &(Access, u32)| {
            format!("node {}, {}", access.node, value(access.dtype, *word))
        };
        let operands: Vec<String> = words.map(read).chain(acc).collect();
        Ok(Some(format!(
            "{} of {}: {}",
            operation(body),
            operands.join("; "),
            value(dtype, result)
        )))
    }
}

impl Level {
    /// Entries of the file.
    pub fn entries(&self) -> u64 {
        self.game.search.len / u64::from(self.game.search.width)
    }

    /// From what the entry was selected, in words. `names` are those of the state's slots.
    pub fn among(&self, program: &Program, names: &[String]) -> String {
        let (game, entries) = (&self.game, self.entries());
        let node = |n: u64| program.nodes.get(n as usize);
        match game.search.file {
            File::Checkpoints => {
                format!("of {entries}, one for every {} steps", game.frame.segment)
            }
            File::Steps => format!(
                "of segment {}, steps {} to {}",
                game.segment,
                game.step,
                u64::from(game.step) + entries - 1
            ),
            File::Nodes => {
                let kind = node(self.selected).map_or(String::new(), wording::kind);
                let name = slot_name(program, names, self.selected as usize);
                let name = name.map_or(String::new(), |name| format!(" {name},"));
                format!("{kind},{name} one of {entries} nodes")
            }
            File::State => {
                let name = names.get(self.selected as usize);
                format!("{}, of {entries}", name.map_or("", String::as_str))
            }
            File::Tensor => match node(u64::from(game.node)) {
                Some(node) => {
                    let shape = node.shape();
                    let mut at = vec![0; shape.len()];
                    coordinates(self.selected, &shape, &mut at);
                    let shape = wording::shape(&shape);
                    format!("at {at:?} of {shape}, node {}", game.node)
                }
                None => format!("of {entries}"),
            },
            File::Fold => format!("of the {entries} steps of the fold"),
        }
    }
}

/// The body in a word, when it is one operation; otherwise how long it is.
fn operation(body: &Body) -> String {
    match body.ops[..] {
        [Op::FFma(..)] => "Fused multiply-add".into(),
        [Op::FAdd(..)] => "Sum".into(),
        [Op::FMul(..)] => "Product".into(),
        [Op::FMax(..)] => "Maximum".into(),
        [_] => "One operation".into(),
        ref ops => format!("A chain of {} operations", ops.len()),
    }
}

/// Reads of a scalar step from one's own files, which are kept.
struct Operands<'a> {
    files: &'a mut Files,
    step: u32,
    words: Vec<(Access, u32)>,
}

impl Operands<'_> {
    /// The accumulator of the disputed element after step `r`.
    fn accumulator(&mut self, game: &Game, r: u32) -> Result<u32, Error> {
        let trace = self.files.file(FileId::Fold {
            step: self.step,
            node: game.node,
            element: game.element,
        })?;
        let width = usize::from(game.search.width);
        let mut word = [0; 4];
        word[..width].copy_from_slice(&(*trace).as_ref()[r as usize * width..][..width]);
        Ok(u32::from_le_bytes(word))
    }
}

impl Reads for Operands<'_> {
    type Error = Error;

    fn load(&mut self, _: usize, access: &Access, offset: u64) -> Result<u32, Error> {
        let tensor = self.files.file(FileId::Tensor {
            step: self.step,
            node: access.node,
        })?;
        let start = offset * access.dtype.size();
        let word = access.dtype.load(&(*tensor).as_ref()[start as usize..]);
        self.words.push((access.clone(), word));
        Ok(word)
    }
}

//! A dispute, told move by move.

use super::{describe, Narrator};
use lockstep_agent::chain::{Receipt, Weight};
use lockstep_agent::roles::Action;
use lockstep_agent::run::workload::Workload;
use lockstep_protocol::game::{File, Game, Move, Phase, Reason, Side};
use lockstep_protocol::program::{Dtype, Fold, Node};
use serde::Serialize;

/// Tells what it hears.
pub struct Story<'a> {
    say: &'a Narrator,
    workload: &'a Workload,
    limit: Weight,
    lines: Vec<Line>,
    checking: bool,
    end: Option<Game>,
    last: Option<Game>,
}

/// One move.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Moves made before.
    pub position: u32,
    /// Who moved.
    pub side: &'static str,
    /// What was said.
    pub what: String,
    /// Bytes of calldata.
    pub bytes: usize,
    /// Picoseconds of computation.
    pub ref_time: u64,
    /// Bytes of storage proof.
    pub proof_size: u64,
    /// Share of what an extrinsic may compute.
    pub share: f64,
}

impl<'a> Story<'a> {
    /// A story about disputes of one task.
    pub fn new(say: &'a Narrator, workload: &'a Workload, limit: Weight) -> Story<'a> {
        Story {
            say,
            workload,
            limit,
            lines: Vec::new(),
            checking: false,
            end: None,
            last: None,
        }
    }

    /// Something happened.
    pub fn hear(&mut self, who: &str, action: &Action) {
        match action {
            Action::Checked { .. } => {
                if !self.checking {
                    self.say.line(format!("{who}: runs the task again"));
                    self.checking = true;
                }
            }
            Action::Moved {
                before,
                after,
                mv,
                own,
                receipt,
                ..
            } => {
                self.moved(before, after.as_deref(), mv, own.as_deref(), receipt);
            }
            other => self.say.line(describe(who, other)),
        }
    }

    /// How the dispute ended, in one sentence.
    pub fn outcome(&self) -> Option<String> {
        let game = self.end.as_ref().or(self.last.as_ref())?;
        let Phase::Over(outcome) = game.phase else {
            return Some("the cheat's clock ran out and the challenger won".into());
        };
        let who = match outcome.winner {
            Side::Defender => "solver",
            Side::Challenger => "challenger",
        };
        let dtype = self.node(game.node).map_or(Dtype::F32, Node::dtype);
        Some(match outcome.reason {
            Reason::Disproven { found } if game.search.file == File::Fold || leaf(game) => format!(
                "the contract executed the step itself: it is {}, the solver claimed {}; the {who} wins",
                value(dtype, found),
                value(dtype, game.claim),
            ),
            Reason::Disproven { .. } => {
                format!("the contract compared the two hashes: they differ; the {who} wins")
            }
            Reason::Proven => format!("the contract found the claim right; the {who} wins"),
            Reason::MalformedNode => format!("the program has a malformed node; the {who} wins"),
            Reason::Timeout => format!("the other side's clock ran out; the {who} wins"),
        })
    }

    /// All moves.
    pub fn into_lines(self) -> Vec<Line> {
        self.lines
    }

    fn moved(
        &mut self,
        before: &Game,
        after: Option<&Game>,
        mv: &Move,
        own: Option<&[u8]>,
        receipt: &Receipt,
    ) {
        let side = match before.turn() {
            Some(Side::Challenger) => "challenger",
            _ => "solver",
        };
        let line = Line {
            position: before.position,
            side,
            what: self.what(before, mv, own),
            bytes: receipt.bytes,
            ref_time: receipt.weight.ref_time,
            proof_size: receipt.weight.proof_size,
            share: receipt.weight.ref_time as f64 / self.limit.ref_time as f64,
        };
        if self.lines.is_empty() {
            self.say.line(self.say.paint.dim(format!(
                "{:>2} {:<10} {:<80} {:>5} {:>7} {:>8}",
                "", "", "", "bytes", "Gps", "of limit"
            )));
        }
        let costs = format!(
            "{:>5} {:>7.2} {:>7.2}%",
            line.bytes,
            line.ref_time as f64 / 1e9,
            line.share * 100.0
        );
        self.say.line(format!(
            "{:>2} {:<10} {:<80} {}",
            line.position,
            line.side,
            line.what,
            self.say.paint.dim(costs)
        ));
        self.lines.push(line);
        self.last = Some(before.clone());
        if let Some(game) = after {
            if game.turn().is_none() {
                self.end = Some(game.clone());
            }
        }
    }

    fn node(&self, index: u32) -> Option<&Node> {
        self.workload.program.nodes.get(index as usize)
    }

    fn what(&self, game: &Game, mv: &Move, own: Option<&[u8]>) -> String {
        let file = file_name(game);
        match mv {
            Move::Reveal(bytes) if game.search.span.count == 1 => {
                let entries = bytes.len() / (game.search.width as usize).max(1);
                format!("reveals {entries} entries of the {file}")
            }
            Move::Reveal(bytes) => {
                format!("reveals {} subtrees of the {file}", bytes.len() / 32)
            }
            Move::SelectSubtree {
                index,
                value: theirs,
                ..
            } => self.compared(&format!("subtree {index}"), game, theirs, own),
            Move::SelectEntry { index, chunk } => {
                let width = game.search.width as usize;
                let start = *index as usize * width;
                let theirs = chunk.get(start..start + width).unwrap_or_default();
                let at = game.search.span.byte_range(game.search.len).start / width as u64
                    + *index as u64;
                let name = match game.search.file {
                    File::Checkpoints => format!("checkpoint {at}"),
                    File::Steps => format!("step {}", game.step as u64 + at),
                    File::Nodes => format!("node {at}"),
                    File::State => format!("slot {at}"),
                    File::Tensor => format!("element {at}"),
                    File::Fold => format!("r = {at}"),
                };
                self.compared(&name, game, theirs, own)
            }
            Move::OpenSteps { .. } => format!(
                "names its step trace of segment {} ({} steps)",
                game.segment,
                game.segment_steps()
            ),
            Move::OpenNodes { .. } => {
                format!(
                    "names its node trace of step {} ({} nodes)",
                    game.step, game.frame.nodes
                )
            }
            Move::DisputeNodes => "says that a node of it is wrong".into(),
            Move::DisputeState => "says that it does not end in the claimed state".into(),
            Move::OpenNode { .. } => {
                let node = self.node(game.node).map_or(String::new(), kind);
                format!("shows node {} of the program: {node}", game.node)
            }
            Move::ShowSlot(_) => format!("shows slot {} at the end of the trace", game.node),
            Move::OpenFold { .. } => format!(
                "names its fold trace of element {} ({} steps)",
                game.element, game.reduction
            ),
            Move::Prove { operands, .. } => {
                let shown = operands.iter().flatten().count();
                format!("shows {shown} operands; the contract executes the scalar step")
            }
            Move::ProveRecord { .. } => "shows the record of the dataset".into(),
        }
    }

    fn compared(&self, name: &str, game: &Game, theirs: &[u8], own: Option<&[u8]>) -> String {
        let dtype = match game.search.file {
            File::Tensor | File::Fold if game.search.span.count == 1 => {
                self.node(game.node).map(Node::dtype)
            }
            _ => None,
        };
        let show = |bytes: &[u8]| match dtype {
            Some(dtype) if bytes.len() == dtype.size() as usize => {
                let mut word = [0; 4];
                word[..bytes.len()].copy_from_slice(bytes);
                value(dtype, u32::from_le_bytes(word))
            }
            _ => hex::encode(&bytes[..bytes.len().min(6)]),
        };
        let own = own.map_or("?".into(), show);
        format!("selects {name}: solver {}, challenger {own}", show(theirs))
    }
}

/// Whether the disputed element is itself the last scalar step.
fn leaf(game: &Game) -> bool {
    game.search.file == File::Tensor
}

fn file_name(game: &Game) -> &'static str {
    match game.search.file {
        File::Checkpoints => "checkpoint trace",
        File::Steps => "step trace",
        File::Nodes => "node trace",
        File::State => "state",
        File::Tensor => "node's tensor",
        File::Fold => "fold trace",
    }
}

fn kind(node: &Node) -> String {
    let shape = |dims: &[lockstep_protocol::program::Dim]| {
        dims.iter()
            .map(|d| d.0.to_string())
            .collect::<Vec<_>>()
            .join("x")
    };
    match node {
        Node::Source(_) => format!("source {}", shape(&node.shape())),
        Node::Map(body) => format!("map {}, {} operations", shape(&body.shape), body.ops.len()),
        Node::Fold(Fold { body, red, .. }) => {
            format!("fold {} over {}", shape(&body.shape), shape(red))
        }
    }
}

fn value(dtype: Dtype, bits: u32) -> String {
    match dtype {
        Dtype::F32 => {
            let x = f32::from_bits(bits);
            let plain = x == 0.0 || (1e-3..1e6).contains(&x.abs());
            let shown = if plain {
                x.to_string()
            } else {
                format!("{x:e}")
            };
            format!("{shown} ({bits:08x})")
        }
        Dtype::I32 => (bits as i32).to_string(),
        Dtype::I8 => (bits as i8).to_string(),
        Dtype::U32 | Dtype::U8 | Dtype::U16 => bits.to_string(),
    }
}

//! A dispute, told move by move.

use super::{describe, Narrator};
use crate::wording;
use lockstep_agent::chain::{Receipt, Weight};
use lockstep_agent::roles::Action;
use lockstep_agent::run::workload::Workload;
use lockstep_protocol::game::{Game, Move, Phase};
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
        let program = &self.workload.program;
        Some(match game.phase {
            Phase::Over(outcome) => wording::outcome(program, game, &outcome),
            _ => "the cheat's clock ran out and the challenger won".into(),
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
        let line = Line {
            position: before.position,
            side: before.turn().map_or("", wording::side),
            what: wording::played(&self.workload.program, before, mv, own),
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
}

//! Disputes, told: their moves, what is right at every level, and the way down.

use super::draw::descent::{Descent, Level};
use super::draw::Ink;
use super::history::Dispute;
use super::path::{self, Path};
use super::{Picture, Subject, Told};
use crate::screen::count;
use crate::wording;
use anyhow::{Context as _, Result};
use lockstep_agent::keys::address;
use lockstep_agent::run::files::Files;
use lockstep_interface::Account;
use lockstep_protocol::game::Side;

impl Subject<'_> {
    /// Every dispute played again, or why it cannot be.
    pub(super) fn paths(&self) -> Vec<Result<Path, String>> {
        let path = |dispute: &Dispute| {
            let attempt = self.history.attempt(dispute.attempt);
            let result = attempt.and_then(|attempt| attempt.result.as_ref());
            let (commitment, _) = result.ok_or("the disputed result is not in the events")?;
            let workload = &self.workload;
            Path::replay(&workload.spec, &workload.program, commitment, dispute)
                .map_err(|refusal| format!("its moves do not fit: {refusal}"))
        };
        self.history.disputes.iter().map(path).collect()
    }

    /// A dispute, told from its moves.
    pub(super) fn tell(&self, dispute: &Dispute, path: Result<Path, String>) -> Told {
        let solver = self.history.attempt(dispute.attempt).map(|a| a.solver);
        let heading = format!(
            "attempt {}, solver {}, challenger {}",
            dispute.attempt,
            solver.map_or("unknown".into(), |solver| brief(&solver)),
            brief(&dispute.challenger)
        );
        let mut path = match path {
            Ok(path) => path,
            Err(why) => {
                return Told {
                    picture: None,
                    heading: format!("Dispute {}: {heading}", dispute.id),
                    moves: Vec::new(),
                    notes: vec![why],
                }
            }
        };
        let mut notes = Vec::new();
        let scalar = self.compute(&mut path).unwrap_or_else(|error| {
            notes.push(format!("What is right could not be computed: {error:#}"));
            None
        });
        let moves = path.moves.iter().enumerate();
        Told {
            moves: moves
                .map(|(k, (side, what, bytes))| {
                    [
                        k.to_string(),
                        side.to_string(),
                        what.clone(),
                        bytes.to_string(),
                    ]
                })
                .collect(),
            picture: Some(Picture {
                name: format!("dispute-{}", dispute.id),
                scene: self
                    .descent(dispute, &path, heading.clone(), scalar)
                    .scene(),
            }),
            heading,
            notes,
        }
    }

    /// Computes what is right at every level, and the scalar step at the bottom.
    fn compute(&self, path: &mut Path) -> Result<Option<String>> {
        if path.levels.is_empty() {
            return Ok(None);
        }
        let workload = self.workload.clone();
        let mut checkpoints = vec![[0; 32]; workload.spec.segments() as usize];
        if let Some(before) = path.end.segment.checked_sub(1) {
            let agreed = path
                .agreed
                .context("the agreed state is not in the events")?;
            checkpoints[before as usize] = agreed;
        }
        let device = self.context.settings.device;
        let program = workload.program.clone();
        let mut files = Files::new(workload, device, self.store.clone(), checkpoints, None)?;
        path.compute(&mut files)?;
        Ok(path.scalar(&program, &mut files)?)
    }

    fn descent(
        &self,
        dispute: &Dispute,
        path: &Path,
        heading: String,
        scalar: Option<String>,
    ) -> Descent {
        let program = &self.workload.program;
        let names = self.names.as_deref().unwrap_or_default();
        let level = |level: &path::Level| {
            let content = |bytes: &Vec<u8>| wording::content(program, &level.game, bytes);
            Level {
                name: wording::entry(&level.game, level.selected),
                among: level.among(program, names),
                entries: level.entries(),
                selected: level.selected,
                solver: content(&level.solver),
                own: level.own.as_ref().map(content),
            }
        };
        let end = match (&dispute.outcome, path.end.turn()) {
            (Some(outcome), _) => wording::outcome(program, &path.end, outcome),
            (None, Some(side)) => {
                format!("undecided; the {} is to move", wording::side(side))
            }
            (None, None) => "decided".into(),
        };
        let all = u64::from(self.workload.spec.steps) * self.described.steps;
        let title = match scalar {
            Some(_) => format!("from {} scalar steps to one", count(all)),
            None => format!("{} levels down", path.levels.len()),
        };
        Descent {
            title: format!("Dispute {}: {title}", dispute.id),
            note: heading,
            levels: path.levels.iter().map(level).collect(),
            bottom: [capital(&end)].into_iter().chain(scalar).collect(),
            ink: match dispute.winner() {
                Some(Side::Challenger) => Ink::Wrong,
                Some(Side::Defender) => Ink::Right,
                None => Ink::Third,
            },
        }
    }
}

/// The two ends of an address.
fn brief(account: &Account) -> String {
    let address = address(account);
    match (
        address.get(..6),
        address.get(address.len().saturating_sub(6)..),
    ) {
        (Some(start), Some(end)) => format!("{start}…{end}"),
        _ => address,
    }
}

/// With a capital letter.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

//! A task in words and numbers.

use super::{history, Subject};
use crate::goal::Shown;
use crate::money;
use crate::screen::{bytes, count};
use lockstep_agent::keys::address;
use lockstep_interface::escrow::TaskRecord;
use lockstep_interface::Terms;
use lockstep_protocol::program::Node;
use std::time::Duration;

impl Subject<'_> {
    /// What the task is: names and values.
    pub(super) fn facts(&self, record: &TaskRecord) -> Vec<(&'static str, String)> {
        let (spec, terms) = (&self.workload.spec, &record.terms);
        let sources = &self.workload.program.nodes[..spec.slots as usize];
        let state: u64 = sources.iter().map(Node::bytes).sum();
        let memory = &self.described.memory;
        let records: Vec<String> = spec
            .datasets
            .iter()
            .map(|d| {
                format!(
                    "{} records of {}",
                    count(d.records),
                    bytes(d.record_size.into())
                )
            })
            .collect();
        let mut facts = vec![
            ("submitter", address(&record.submitter)),
            ("reward", reward(terms)),
            (
                "stake and bond",
                format!(
                    "{} and {}",
                    money::show(terms.stake),
                    money::show(terms.bond)
                ),
            ),
            (
                "run",
                format!(
                    "{} steps of {} records, {} checkpoints",
                    spec.steps,
                    spec.batch,
                    spec.segments()
                ),
            ),
            ("data", records.join(", ")),
        ];
        if let Some(goal) = terms.goal {
            let slots = self.names.as_deref().unwrap_or_default();
            facts.push(("goal", Shown { goal, slots }.to_string()));
        }
        if let Some(parameters) = self.parameters() {
            facts.push(("parameters", count(parameters)));
        }
        facts.extend([
            (
                "state",
                format!("{} in {} tensors", bytes(state), spec.slots),
            ),
            (
                "program",
                format!(
                    "{} nodes; {} floating-point operations and {} scalar steps a training step",
                    spec.nodes,
                    count(self.described.flops),
                    count(self.described.steps)
                ),
            ),
            (
                "memory",
                format!(
                    "{} while training",
                    bytes(memory.state + memory.constants + memory.buffers)
                ),
            ),
        ]);
        facts
    }

    /// What names the task and its parts: names and values.
    pub(super) fn hashes(&self, record: &TaskRecord) -> Vec<(String, String)> {
        let spec = &self.workload.spec;
        let mut hashes = vec![
            ("task and terms".to_owned(), hex::encode(record.terms_hash)),
            ("program".to_owned(), hex::encode(spec.program)),
            ("first state".to_owned(), hex::encode(spec.genesis)),
        ];
        for (k, dataset) in spec.datasets.iter().enumerate() {
            hashes.push((format!("dataset {k}"), hex::encode(dataset.root)));
        }
        if let Some((result, _)) = self.history.latest_result().and_then(|a| a.result.as_ref()) {
            hashes.push(("final state".to_owned(), hex::encode(result.state)));
        }
        hashes
    }

    /// Number, solver, status and checkpoint trace of each attempt.
    pub(super) fn attempts(&self) -> Vec<[String; 4]> {
        let row = |attempt: &history::Attempted| {
            let trace = attempt.result.as_ref();
            [
                attempt.number.to_string(),
                address(&attempt.solver),
                attempt.status.to_owned(),
                trace.map_or(String::new(), |(result, _)| hex::encode(result.trace)),
            ]
        };
        self.history.attempts.iter().map(row).collect()
    }

    /// Time, block and what happened.
    pub(super) fn lines(&self) -> Vec<[String; 3]> {
        let row = |line: &history::Line| {
            let since = std::time::UNIX_EPOCH + Duration::from_millis(line.at.time);
            let time = humantime::format_rfc3339_seconds(since).to_string();
            [time, line.at.block.to_string(), line.what.clone()]
        };
        self.history.lines.iter().map(row).collect()
    }

    /// Elements of the state that are neither metrics nor what an optimizer remembers of another
    /// tensor, by their names.
    fn parameters(&self) -> Option<u64> {
        let names = self.names.as_ref()?;
        let is = |name: &str| {
            let parent = name.rsplit_once('.').map_or("", |(parent, _)| parent);
            !name.starts_with("metric.") && !names.iter().any(|other| other == parent)
        };
        let nodes = names.iter().zip(&self.workload.program.nodes);
        Some(
            nodes
                .filter(|(name, _)| is(name))
                .map(|(_, node)| node.len())
                .sum(),
        )
    }
}

/// The price in the beginning, and the highest when it rises.
fn reward(terms: &Terms) -> String {
    let (floor, ceiling) = (terms.reward_floor, terms.reward_ceiling);
    match floor == ceiling {
        true => money::show(floor),
        false => format!("{} to {}", money::show(floor), money::show(ceiling)),
    }
}

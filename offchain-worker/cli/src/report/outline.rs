//! A program as a list that a person can read: its nodes in order, each with the part of the step
//! that it belongs to, and long programs in runs of nodes.

use super::draw::arcs::{Arcs, Row};
use super::draw::Ink;
use crate::screen::count;
use crate::wording::shape;
use lockstep_engine::cpu::{Description, NodeCost};
use lockstep_protocol::program::{Fold, Node, Program};
use std::collections::BTreeMap;
use std::ops::Range;

/// A list has no more rows than this, or about so many.
pub const ROWS: usize = 180;

/// The part of a step that a node belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The state before the step, records and constants.
    Input,
    /// What the metrics follow from: the model and its loss.
    Forward,
    /// Gradients and what is made of them.
    Backward,
    /// The state after the step.
    Update,
}

impl Stage {
    /// All of them, in order.
    const ALL: [Stage; 4] = [Stage::Input, Stage::Forward, Stage::Backward, Stage::Update];

    fn name(self) -> &'static str {
        match self {
            Stage::Input => "state, records, constants",
            Stage::Forward => "model and loss",
            Stage::Backward => "gradients",
            Stage::Update => "next state",
        }
    }

    fn ink(self) -> Ink {
        match self {
            Stage::Input => Ink::Faint,
            Stage::Forward => Ink::First,
            Stage::Backward => Ink::Third,
            Stage::Update => Ink::Second,
        }
    }
}

/// The stage of every node. `metrics` are the slots that hold metrics; without any, whatever is
/// no source and no next state counts as the model.
pub fn stages(program: &Program, metrics: &[usize]) -> Vec<Stage> {
    let next = program.next_state();
    let mut forward = vec![metrics.is_empty(); program.nodes.len()];
    for slot in metrics {
        forward[next.start + slot] = true;
    }
    for n in (0..program.nodes.len()).rev() {
        if forward[n] {
            for access in program.nodes[n].accesses() {
                forward[access.node as usize] = true;
            }
        }
    }
    let stage = |(n, node): (usize, &Node)| match node {
        Node::Source(_) => Stage::Input,
        _ if next.contains(&n) => Stage::Update,
        _ if forward[n] => Stage::Forward,
        _ => Stage::Backward,
    };
    program.nodes.iter().enumerate().map(stage).collect()
}

/// Nodes `0..looks.len()` in consecutive runs, about `most` of them at most. As long as there are
/// too many, neighbours that look alike become one run; then as many neighbours of one stage as
/// need be.
fn runs<Look: PartialEq>(stages: &[Stage], looks: &[Look], most: usize) -> Vec<Range<usize>> {
    let single = split(looks.len(), |_| true);
    if single.len() <= most {
        return single;
    }
    let alike = split(looks.len(), |n| {
        stages[n] != stages[n - 1] || looks[n] != looks[n - 1]
    });
    if alike.len() <= most {
        return alike;
    }
    let of_stage = split(looks.len(), |n| stages[n] != stages[n - 1]);
    let length = looks
        .len()
        .div_ceil(most.saturating_sub(of_stage.len()).max(1));
    of_stage
        .into_iter()
        .flat_map(|run| {
            let end = run.end;
            run.step_by(length).map(move |n| n..(n + length).min(end))
        })
        .collect()
}

/// `0..len` cut before each number but 0 where `cut` says so.
fn split(len: usize, cut: impl Fn(usize) -> bool) -> Vec<Range<usize>> {
    let mut starts: Vec<usize> = (0..len).filter(|n| *n == 0 || cut(*n)).collect();
    starts.push(len);
    starts.windows(2).map(|w| w[0]..w[1]).collect()
}

/// The program as a list. `names` are those of the state's slots, where they are known.
pub fn outline(
    program: &Program,
    described: &Description,
    names: &[String],
    metrics: &[usize],
) -> Arcs {
    let stages = stages(program, metrics);
    let costs = &described.nodes;
    let looks: Vec<_> = costs
        .iter()
        .map(|c| (c.kernel, &c.shape, c.reduction))
        .collect();
    let runs = runs(&stages, &looks, ROWS);
    let mut row_of = vec![0; program.nodes.len()];
    for (row, run) in runs.iter().enumerate() {
        row_of[run.clone()].fill(row);
    }
    let work = costs
        .iter()
        .filter(|c| c.runs)
        .map(|c| c.steps)
        .sum::<u64>()
        .max(1);
    let row = |(row, run): (usize, &Range<usize>)| {
        let nodes = &program.nodes[run.clone()];
        let accesses = nodes.iter().flat_map(Node::accesses);
        let mut reads: Vec<usize> = accesses.map(|a| row_of[a.node as usize]).collect();
        reads.retain(|read| *read != row);
        reads.sort_unstable();
        reads.dedup();
        let costs = &costs[run.clone()];
        let done: u64 = costs.iter().filter(|c| c.runs).map(|c| c.steps).sum();
        Row {
            label: match run.len() {
                1 => run.start.to_string(),
                _ => format!("{}-{}", run.start, run.end - 1),
            },
            kind: kinds(costs),
            shape: shapes(nodes),
            name: name(program, names, run),
            share: done as f64 / work as f64,
            ink: stages[run.start].ink(),
            reads,
        }
    };
    let rows: Vec<Row> = runs.iter().enumerate().map(row).collect();
    let collapsed = match rows.len() < program.nodes.len() {
        true => format!("; consecutive nodes in {} runs", rows.len()),
        false => String::new(),
    };
    Arcs {
        title: "One training step, node by node".into(),
        note: format!(
            "{} nodes, {} scalar steps; an arc leads from what is read to what reads it{collapsed}",
            program.nodes.len(),
            count(work)
        ),
        groups: Stage::ALL.map(|s| (s.name().to_owned(), s.ink())).into(),
        rows,
    }
}

/// How nodes are computed: `12 map, 3 fold`.
fn kinds(costs: &[NodeCost]) -> String {
    if let [cost] = costs {
        return cost.kernel.into();
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for cost in costs {
        *counts.entry(cost.kernel).or_default() += 1;
    }
    let words: Vec<String> = counts
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    words.join(", ")
}

/// The one shape of all nodes, and over what they fold; nothing when they differ.
fn shapes(nodes: &[Node]) -> String {
    let look = |node: &Node| match node {
        Node::Fold(Fold { body, red, .. }) => {
            format!("{} over {}", shape(&body.shape), shape(red))
        }
        _ => shape(&node.shape()),
    };
    match nodes {
        [first, rest @ ..] if rest.iter().all(|n| look(n) == look(first)) => look(first),
        _ => String::new(),
    }
}

/// The name of the slot that a node reads or writes, where it is known.
pub fn slot_name<'a>(program: &Program, names: &'a [String], node: usize) -> Option<&'a str> {
    let slot = match node < program.slots as usize {
        true => node,
        false => node.checked_sub(program.next_state().start)?,
    };
    names.get(slot).map(String::as_str)
}

/// The slot that a run reads or writes, or the first and the last of several.
fn name(program: &Program, names: &[String], run: &Range<usize>) -> String {
    let slot = |node: usize| slot_name(program, names, node);
    match (slot(run.start), slot(run.end - 1)) {
        (Some(first), Some(last)) if first != last => format!("{first} … {last}"),
        (Some(first), _) => first.to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe;
    use lockstep_engine::cpu::describe;
    use std::path::Path;

    #[test]
    fn few_nodes_stand_alone_and_many_become_runs_that_cover_them_in_order() {
        let stages: Vec<Stage> = (0..900).map(|n| Stage::ALL[n / 225]).collect();
        let looks: Vec<usize> = (0..900).collect();
        assert_eq!(runs(&stages[..50], &looks[..50], 60).len(), 50);
        let many = runs(&stages, &looks, 60);
        assert!(many.len() <= 60, "{}", many.len());
        assert!(many
            .iter()
            .all(|run| stages[run.start] == stages[run.end - 1]));
        let covered: Vec<usize> = many.into_iter().flatten().collect();
        assert_eq!(covered, looks);
        let alike: Vec<usize> = (0..900).map(|n| n / 30).collect();
        let runs = runs(&stages, &alike, 60);
        assert_eq!((runs.len(), runs[0].clone()), (32, 0..30));
    }

    #[test]
    fn a_step_reads_its_inputs_runs_forward_then_backward_and_ends_in_the_next_state() {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits/mlp.toml");
        let made = recipe::make(&recipe).unwrap();
        let program = &made.workload.program;
        let names: Vec<String> = made
            .task
            .built
            .slots
            .iter()
            .map(|s| s.name.clone())
            .collect();
        let metrics: Vec<usize> = (0..names.len())
            .filter(|n| names[*n].starts_with("metric."))
            .collect();
        let stages = stages(program, &metrics);
        for stage in Stage::ALL {
            assert!(stages.contains(&stage), "{stage:?}");
        }
        let last = |wanted| stages.iter().rposition(|s| *s == wanted).unwrap();
        assert!(last(Stage::Forward) < last(Stage::Update));
        let drawn = outline(program, &describe(program), &names, &metrics);
        assert_eq!(drawn.rows.len(), program.nodes.len());
        for (k, row) in drawn.rows.iter().enumerate() {
            assert!(row.reads.iter().all(|read| *read < k));
        }
        let shares: f64 = drawn.rows.iter().map(|row| row.share).sum();
        assert!((shares - 1.0).abs() < 1e-9);
        assert!(drawn.rows[0].name.starts_with("0.linear"));
    }
}

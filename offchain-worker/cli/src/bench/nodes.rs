//! Where the time of a training step goes, node by node.

use super::train::models::{self, ModelName};
use super::Table;
use anyhow::Result;
use lockstep_engine::cpu::{describe, Cpu, Options};
use lockstep_engine::Engine;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// One node of the program.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its position in the program.
    pub node: u32,
    /// How it is computed.
    pub kernel: &'static str,
    /// Microseconds in the fastest step: a machine that does other things too slows others down.
    pub us: f64,
    /// GFLOP/s.
    pub gflops: f64,
    /// GB/s of its value and of every tensor that it reads.
    pub gbps: f64,
    /// Dimensions of its value.
    pub shape: Vec<u64>,
    /// Steps of its reduction.
    pub reduction: u64,
    /// Nodes that it reads.
    pub reads: Vec<u32>,
}

/// All nodes, those that take longest first.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which model.
    pub model: ModelName,
    /// Our code path and threads.
    pub engine: String,
    /// Microseconds of all nodes of a kernel.
    pub kernels: BTreeMap<&'static str, f64>,
    /// One for each node that a step needs.
    pub rows: Vec<Row>,
}

/// Runs steps of a model for some seconds and times their nodes.
///
/// # Errors
/// When the engine cannot be started.
pub fn run(model: ModelName, threads: usize, seconds: f64) -> Result<Report> {
    let case = models::case(model);
    let job = case.job();
    let options = Options {
        threads: Some(threads),
        ..Options::default()
    };
    let mut cpu = Cpu::new(job.clone(), options)?;
    cpu.load(&case.built.genesis())?;
    let description = describe(&job.program);
    let mut fastest = vec![Duration::MAX; description.nodes.len()];
    let began = Instant::now();
    let mut steps = 0;
    while began.elapsed().as_secs_f64() < seconds || steps < 3 {
        cpu.step_timed(steps % models::STEPS, &mut |node, time| {
            let fastest = &mut fastest[node as usize];
            *fastest = time.min(*fastest);
        });
        steps += 1;
    }
    let costs = description.nodes.into_iter().zip(fastest);
    let row = |(cost, time): (lockstep_engine::cpu::NodeCost, Duration)| {
        let rate = |count: u64| count as f64 / time.as_secs_f64() / 1e9;
        let node = &job.program.nodes[cost.node as usize];
        Row {
            node: cost.node,
            kernel: cost.kernel,
            us: time.as_secs_f64() * 1e6,
            gflops: rate(cost.flops),
            gbps: rate(cost.traffic),
            reads: node.accesses().map(|access| access.node).collect(),
            shape: cost.shape,
            reduction: cost.reduction,
        }
    };
    let mut rows: Vec<Row> = costs.filter(|(cost, _)| cost.runs).map(row).collect();
    rows.sort_by(|a, b| b.us.total_cmp(&a.us));
    let mut kernels = BTreeMap::new();
    for row in &rows {
        *kernels.entry(row.kernel).or_default() += row.us;
    }
    Ok(Report {
        model,
        engine: cpu.name(),
        kernels,
        rows,
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "nodes of a step of {} ({})", self.model, self.engine)?;
        let mut table = Table::new(&["kernel", "node", "us", "GFLOP/s", "GB/s", "value", "reads"]);
        for row in &self.rows {
            table.row(&[
                row.kernel.into(),
                row.node.to_string(),
                format!("{:.1}", row.us),
                format!("{:.1}", row.gflops),
                format!("{:.1}", row.gbps),
                format!("{:?} x {}", row.shape, row.reduction),
                format!("{:?}", row.reads),
            ]);
        }
        writeln!(f, "{table}")?;
        let mut table = Table::new(&["all", "us"]);
        for (kernel, us) in &self.kernels {
            table.row(&[(*kernel).into(), format!("{us:.1}")]);
        }
        let sum: f64 = self.kernels.values().sum();
        table.row(&["nodes".into(), format!("{sum:.1}")]);
        write!(f, "{table}")
    }
}

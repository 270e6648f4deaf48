//! What a program costs on this engine, node by node, for people and for pricing.

use super::kernel::Kernel;
use super::payloads::Payloads;
use super::plan::{Goal, Place, Plan};
use super::simd::Simd;
use lockstep_protocol::program::{Body, Dtype, Fold, Node, Op, Program, Source};
use serde::Serialize;

/// A program as the engine runs it.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// The widest instruction set of this machine, for which kernels are chosen.
    pub simd: String,
    /// Every node, in order.
    pub nodes: Vec<NodeCost>,
    /// Sum over the nodes that run in a step.
    pub flops: u64,
    /// Sum over the nodes that run in a step.
    pub steps: u64,
    /// Sum over the nodes that run in a step, in bytes.
    pub traffic: u64,
    /// What the engine holds.
    pub memory: MemoryUse,
}

/// One node.
#[derive(Clone, Debug, Serialize)]
pub struct NodeCost {
    /// Its position in the program.
    pub node: u32,
    /// How it is computed: `contraction`, `scatter`, `fold`, `map`, or what kind of source it is.
    pub kernel: &'static str,
    /// Dimensions of its value.
    pub shape: Vec<u64>,
    /// Element type of its value.
    pub dtype: &'static str,
    /// Steps of the reduction of each element; 1 for all but folds.
    pub reduction: u64,
    /// Floating-point operations, a fused multiply-add counted as two.
    pub flops: u64,
    /// Evaluations of the body: elements times reduction. Steps that a guard skips count, and so
    /// do those of a node that is computed along the way.
    pub steps: u64,
    /// Bytes of its value.
    pub bytes: u64,
    /// Bytes of its value and of every tensor that it reads.
    pub traffic: u64,
    /// Whether a step needs it; other nodes only run in a trace.
    pub runs: bool,
}

/// Bytes that the engine holds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct MemoryUse {
    /// The state before and after the step.
    pub state: u64,
    /// Constants.
    pub constants: u64,
    /// Buffers that the values of a step share.
    pub buffers: u64,
    /// What these buffers would take if each value had its own.
    pub unshared: u64,
}

/// What each node of a valid program costs and how the engine computes it here.
pub fn describe(program: &Program) -> Description {
    let simd = Simd::best();
    let plan = Plan::new(program, Goal::Advance);
    let mut memory = MemoryUse {
        buffers: plan.buffers.iter().map(|len| *len as u64).sum(),
        ..MemoryUse::default()
    };
    let nodes: Vec<NodeCost> = (0..program.nodes.len())
        .map(|n| cost(program, n, simd, plan.places[n] != Place::Absent))
        .collect();
    for (node, place) in nodes.iter().zip(&plan.places) {
        match place {
            Place::Absent => {}
            Place::State(_) | Place::Next(_) => memory.state += node.bytes,
            Place::Constant => memory.constants += node.bytes,
            Place::Buffer(_) => memory.unshared += node.bytes,
        }
    }
    let running = || nodes.iter().filter(|node| node.runs);
    Description {
        simd: simd.to_string(),
        flops: running().map(|node| node.flops).sum(),
        steps: running().map(|node| node.steps).sum(),
        traffic: running().map(|node| node.traffic).sum(),
        memory,
        nodes,
    }
}

fn cost(program: &Program, n: usize, simd: Simd, runs: bool) -> NodeCost {
    let node = &program.nodes[n];
    let (kernel, steps, along) = match node {
        Node::Source(source) => (source_name(source), 0, 0),
        _ => {
            let kernel = Kernel::new(program, node, &Payloads::none(program), simd);
            let name = kernel.as_ref().map_or("none", Kernel::name);
            let along = kernel.as_ref().map_or(0, Kernel::along);
            (name, node.len() * node.reduction(), along)
        }
    };
    let mut read: Vec<u32> = node.accesses().map(|access| access.node).collect();
    read.sort_unstable();
    read.dedup();
    let operands = read.iter().map(|n| program.nodes[*n as usize].bytes());
    NodeCost {
        node: n as u32,
        kernel,
        shape: node.shape().iter().map(|dim| dim.0).collect(),
        dtype: dtype_name(node.dtype()),
        reduction: node.reduction(),
        flops: flops(node) * steps,
        steps: steps + along,
        bytes: node.bytes(),
        traffic: node.bytes() + operands.sum::<u64>(),
        runs,
    }
}

/// Floating-point operations of one evaluation of the body.
fn flops(node: &Node) -> u64 {
    let body: &Body = match node {
        Node::Source(_) => return 0,
        Node::Map(body) => body,
        Node::Fold(Fold { body, .. }) => body,
    };
    let cost = |op: &Op| match op {
        Op::FFma(..) => 2,
        Op::FAdd(..)
        | Op::FSub(..)
        | Op::FMul(..)
        | Op::FDiv(..)
        | Op::FSqrt(..)
        | Op::FMin(..)
        | Op::FMax(..) => 1,
        _ => 0,
    };
    body.ops.iter().map(cost).sum()
}

fn source_name(source: &Source) -> &'static str {
    match source {
        Source::State { .. } => "state",
        Source::Batch { .. } => "batch",
        Source::Constant { .. } => "constant",
        Source::Step => "step",
        Source::Seed => "seed",
    }
}

fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "f32",
        Dtype::I32 => "i32",
        Dtype::U32 => "u32",
        Dtype::U8 => "u8",
        Dtype::I8 => "i8",
        Dtype::U16 => "u16",
    }
}

//! The kernel that computes a node.

use super::block::Block;
use super::contraction::Contraction;
use super::memory::Values;
use super::simd::Simd;
use super::workers::Team;
use lockstep_protocol::program::{Node, Program, Source};

/// How a map or fold is computed.
pub enum Kernel {
    /// As a sum of products, by packing and micro-kernels.
    Contraction(Box<Contraction>),
    /// By the block interpreter.
    Block(Box<Block>),
}

impl Kernel {
    /// Chooses a kernel; `None` for a source.
    pub fn new(program: &Program, node: &Node, simd: Simd) -> Option<Kernel> {
        let payload = |n: u32| from_outside(&program.nodes[n as usize]);
        let contraction = match node {
            Node::Source(_) => return None,
            Node::Map(_) => None,
            Node::Fold(fold) => Contraction::recognise(fold, simd, payload),
        };
        Some(match contraction {
            Some(contraction) => Kernel::Contraction(Box::new(contraction)),
            None => Kernel::Block(Box::new(Block::new(node, simd, payload))),
        })
    }

    /// What the kernel is called in a plan.
    pub fn name(&self) -> &'static str {
        match self {
            Kernel::Contraction(_) => "contraction",
            Kernel::Block(block) => block.name(),
        }
    }

    /// Whether the work may be worth more than one task of `grain`.
    pub fn divisible(&self, grain: u64) -> bool {
        match self {
            Kernel::Contraction(contraction) => contraction.divisible(grain),
            Kernel::Block(block) => block.divisible(grain),
        }
    }

    /// Computes every element of the node.
    pub fn run(&self, values: Values<'_>, team: Team, out: &mut [u8]) {
        match self {
            Kernel::Contraction(contraction) => contraction.run(values, team, out),
            Kernel::Block(block) => block.run(values, team, out),
        }
    }
}

/// Whether a node's bytes come from outside and may hold a NaN that is not canonical.
fn from_outside(node: &Node) -> bool {
    matches!(
        node,
        Node::Source(Source::State { .. } | Source::Batch { .. } | Source::Constant { .. })
    )
}

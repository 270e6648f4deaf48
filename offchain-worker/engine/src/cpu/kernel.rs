//! The kernel that computes a node.

use super::block::Block;
use super::contraction::Contraction;
use super::integer::{IntegerProduct, ScaledProduct};
use super::magnitude::Magnitude;
use super::memory::Values;
use super::simd::Simd;
use super::workers::Team;
use lockstep_protocol::program::{Node, Program, Source};

/// How a map or fold is computed.
pub enum Kernel {
    /// As a sum of products, by packing and micro-kernels.
    Contraction(Box<Contraction>),
    /// As a sum of products of bytes, by packing and micro-kernels.
    Integer(Box<IntegerProduct>),
    /// As a quantised product, together with the sums of products of bytes that it scales.
    Scaled(Box<ScaledProduct>),
    /// As a greatest magnitude, in any order.
    Magnitude(Box<Magnitude>),
    /// By the block interpreter.
    Block(Box<Block>),
}

impl Kernel {
    /// Chooses a kernel; `None` for a source.
    pub fn new(program: &Program, node: &Node, simd: Simd) -> Option<Kernel> {
        let payload = |n: u32| from_outside(&program.nodes[n as usize]);
        let product = match node {
            Node::Source(_) => return None,
            Node::Map(_) => None,
            Node::Fold(fold) => {
                let floats = Contraction::recognise(fold, simd, payload);
                let floats = floats.map(|product| Kernel::Contraction(Box::new(product)));
                let integers = || IntegerProduct::recognise(fold, simd);
                let scaled = || ScaledProduct::recognise(program, fold, simd, payload);
                let magnitude = || Magnitude::recognise(fold, simd);
                floats
                    .or_else(|| Some(Kernel::Integer(Box::new(integers()?))))
                    .or_else(|| Some(Kernel::Scaled(Box::new(scaled()?))))
                    .or_else(|| Some(Kernel::Magnitude(Box::new(magnitude()?))))
            }
        };
        Some(product.unwrap_or_else(|| Kernel::Block(Box::new(Block::new(node, simd, payload)))))
    }

    /// What the kernel is called in a plan.
    pub fn name(&self) -> &'static str {
        match self {
            Kernel::Contraction(_) => "contraction",
            Kernel::Integer(_) => "integer contraction",
            Kernel::Scaled(_) => "quantised contraction",
            Kernel::Magnitude(_) => "greatest magnitude",
            Kernel::Block(block) => block.name(),
        }
    }

    /// Evaluations of the body of another node that is computed along the way.
    pub fn along(&self) -> u64 {
        match self {
            Kernel::Scaled(product) => product.terms(),
            _ => 0,
        }
    }

    /// Whether the work may be worth more than one task of `grain`.
    pub fn divisible(&self, grain: u64) -> bool {
        match self {
            Kernel::Contraction(contraction) => contraction.divisible(grain),
            Kernel::Integer(product) => product.divisible(grain),
            Kernel::Scaled(product) => product.divisible(grain),
            Kernel::Magnitude(greatest) => greatest.divisible(grain),
            Kernel::Block(block) => block.divisible(grain),
        }
    }

    /// Computes every element of the node.
    pub fn run(&self, values: Values<'_>, team: Team, out: &mut [u8]) {
        match self {
            Kernel::Contraction(contraction) => contraction.run(values, team, out),
            Kernel::Integer(product) => product.run(values, team, out),
            Kernel::Scaled(product) => product.run(values, team, out),
            Kernel::Magnitude(greatest) => greatest.run(values, team, out),
            Kernel::Block(block) => block.run(values, team, out),
        }
    }
}

/// The nodes whose values the kernel of a node reads.
pub fn reads(program: &Program, node: &Node) -> Vec<u32> {
    let payload = |n: u32| from_outside(&program.nodes[n as usize]);
    let scaled = match node {
        Node::Fold(fold) => ScaledProduct::recognise(program, fold, Simd::Baseline, payload),
        _ => None,
    };
    match scaled {
        Some(scaled) => scaled.reads().collect(),
        None => node.accesses().map(|access| access.node).collect(),
    }
}

/// Whether a node's bytes come from outside and may hold a NaN that is not canonical.
fn from_outside(node: &Node) -> bool {
    matches!(
        node,
        Node::Source(Source::State { .. } | Source::Batch { .. } | Source::Constant { .. })
    )
}

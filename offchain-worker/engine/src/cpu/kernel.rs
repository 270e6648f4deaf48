//! The kernel that computes a node.

use super::block::folding::Folding;
use super::block::map::Map;
use super::contraction::Contraction;
use super::integer::{IntegerProduct, ScaledProduct};
use super::magnitude::Magnitude;
use super::memory::Values;
use super::payloads::Payloads;
use super::simd::Simd;
use super::workers::Team;
use lockstep_protocol::program::{Node, Program};

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
    /// As any other fold.
    Folding(Box<Folding>),
    /// As a map.
    Map(Box<Map>),
}

impl Kernel {
    /// Chooses a kernel; `None` for a source.
    pub fn new(program: &Program, node: &Node, payloads: &Payloads, simd: Simd) -> Option<Kernel> {
        let payload = |n: u32| payloads.of(n);
        let fold = match node {
            Node::Source(_) => return None,
            Node::Map(body) => {
                let map = Map::new(body, simd, payload);
                return Some(Kernel::Map(Box::new(map)));
            }
            Node::Fold(fold) => fold,
        };
        let floats = || Contraction::recognise(fold, simd, payload);
        let integers = || IntegerProduct::recognise(fold, simd);
        let scaled = || ScaledProduct::recognise(program, fold, simd, payload);
        let magnitude = || Magnitude::recognise(fold, simd);
        let special = None
            .or_else(|| Some(Kernel::Contraction(Box::new(floats()?))))
            .or_else(|| Some(Kernel::Integer(Box::new(integers()?))))
            .or_else(|| Some(Kernel::Scaled(Box::new(scaled()?))))
            .or_else(|| Some(Kernel::Magnitude(Box::new(magnitude()?))));
        let any = || Kernel::Folding(Box::new(Folding::new(fold, simd, payload)));
        Some(special.unwrap_or_else(any))
    }

    /// What the kernel is called in a plan.
    pub fn name(&self) -> &'static str {
        match self {
            Kernel::Contraction(_) => "contraction",
            Kernel::Integer(_) => "integer contraction",
            Kernel::Scaled(_) => "quantised contraction",
            Kernel::Magnitude(_) => "greatest magnitude",
            Kernel::Folding(folding) => folding.name(),
            Kernel::Map(_) => "map",
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
            Kernel::Folding(folding) => folding.divisible(grain),
            Kernel::Map(map) => map.divisible(grain),
        }
    }

    /// Computes every element of the node.
    pub fn run(&self, values: Values<'_>, team: Team, out: &mut [u8]) {
        match self {
            Kernel::Contraction(contraction) => contraction.run(values, team, out),
            Kernel::Integer(product) => product.run(values, team, out),
            Kernel::Scaled(product) => product.run(values, team, out),
            Kernel::Magnitude(greatest) => greatest.run(values, team, out),
            Kernel::Folding(folding) => folding.run(values, team, out),
            Kernel::Map(map) => map.run(values, team, out),
        }
    }
}

/// The nodes whose values the kernel of a node reads.
pub fn reads(program: &Program, node: &Node) -> Vec<u32> {
    let scaled = match node {
        Node::Fold(fold) => ScaledProduct::recognise(program, fold, Simd::Baseline, |_| false),
        _ => None,
    };
    match scaled {
        Some(scaled) => scaled.reads().collect(),
        None => node.accesses().map(|access| access.node).collect(),
    }
}

//! Which nodes get no value of their own: a node that one other reads, once, is computed inside it.

use super::body;
use super::linear::{Linear, Place};
use super::tile::Contraction;
use lockstep_protocol::program::{Access, Node, Program};

/// Most operations of a kernel, so that it keeps its registers and compiles quickly.
pub const MOST_OPERATIONS: usize = 512;

/// Most tensors that a kernel reads.
pub const MOST_READS: usize = 24;

/// For every node, what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nobody needs it.
    Unused,
    /// It has a value in memory.
    Stored,
    /// It is computed where it is read.
    Inlined,
}

/// A contraction that is computed in the kernel of a node that comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hosted {
    /// The contraction.
    pub sum: usize,
    /// The fold that adds up its batches.
    pub outer: Option<usize>,
}

/// What happens to every node.
pub struct Fusion {
    /// For every node, its role.
    pub roles: Vec<Role>,
    /// For every node that is stored, the contraction that its kernel computes: itself or one that
    /// it is computed from.
    pub hosted: Vec<Option<Hosted>>,
}

impl Fusion {
    /// Decides for all nodes, when `wanted` says which ones must be stored and `apart` which ones have
    /// kernels that end with them. With `fuse`, a node that one other reads, once, may be computed
    /// inside that.
    pub fn new(
        program: &Program,
        tiles: &[Option<Contraction>],
        wanted: impl Fn(usize) -> bool,
        apart: impl Fn(usize) -> bool,
        fuse: bool,
    ) -> Fusion {
        let nodes = &program.nodes;
        let mut roles = vec![Role::Unused; nodes.len()];
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
        for (n, node) in nodes.iter().enumerate().rev() {
            if wanted(n) || !readers[n].is_empty() {
                roles[n] = Role::Stored;
                for access in node.accesses() {
                    readers[access.node as usize].push(n);
                }
            }
        }
        let mut hosted: Vec<Option<Hosted>> = tiles
            .iter()
            .enumerate()
            .map(|(sum, tile)| tile.as_ref().map(|_| Hosted { sum, outer: None }))
            .collect();
        if !fuse {
            return Fusion { roles, hosted };
        }
        // What a kernel that ends in this node would read and compute, besides what it inlines.
        let mut reads: Vec<usize> = nodes.iter().map(|node| node.accesses().count()).collect();
        let mut operations: Vec<usize> = nodes.iter().map(size).collect();
        for n in 0..nodes.len() {
            let [reader] = readers[n].as_slice() else {
                continue;
            };
            let reader = *reader;
            let fits = operations[n] + operations[reader] <= MOST_OPERATIONS
                && reads[n] + reads[reader] <= MOST_READS;
            if wanted(n) || apart(n) || tiles[reader].is_some() || !fits {
                continue;
            }
            let inlined = match hosted[n] {
                None => inlinable(program, n, reader),
                Some(_) if hosted[reader].is_some() => false,
                Some(tile) => {
                    let within = hosts(program, tiles, tile, n, reader);
                    hosted[reader] = within;
                    within.is_some()
                }
            };
            if inlined {
                roles[n] = Role::Inlined;
                hosted[n] = None;
                reads[reader] = reads[reader] + reads[n] - 1;
                operations[reader] += operations[n];
            }
        }
        Fusion { roles, hosted }
    }
}

/// The contraction `tile`, whose kernel ends in `n`, as one whose kernel ends in `reader`.
fn hosts(
    program: &Program,
    tiles: &[Option<Contraction>],
    tile: Hosted,
    n: usize,
    reader: usize,
) -> Option<Hosted> {
    let node = &program.nodes[reader];
    match node {
        Node::Source(_) => None,
        Node::Map(body) => {
            let access = body.reads.iter().find(|access| access.node as usize == n)?;
            let same = node.len() == program.nodes[n].len();
            (same && element_for_element(node, access)).then_some(tile)
        }
        Node::Fold(fold) => {
            let reads = &fold.body.reads;
            let access = reads.iter().find(|access| access.node as usize == n)?;
            let product = tiles[n].as_ref()?;
            let adds = product.batches_are_steps_of(fold, access);
            adds.then_some(Hosted {
                sum: n,
                outer: Some(reader),
            })
        }
    }
}

/// Whether each element of a map reads the element of the same number.
fn element_for_element(node: &Node, access: &Access) -> bool {
    let (scope, body) = body::scope(node);
    let place = Place::new(access);
    let mut straight = Linear::default();
    straight.add_row_major(&body.shape, 0, 1);
    place.condition(&scope).is_none() && scope.same(&place.offset, &straight)
}

/// Operations of a node, roughly.
pub fn size(node: &Node) -> usize {
    match node {
        Node::Source(_) => 0,
        Node::Map(body) => body.ops.len() + 1,
        Node::Fold(fold) => fold.body.ops.len() + 1,
    }
}

/// Whether the reader computes `n` no more often than `n` has elements.
fn inlinable(program: &Program, n: usize, reader: usize) -> bool {
    let (node, reader) = (&program.nodes[n], &program.nodes[reader]);
    let (body, steps) = match (node, reader) {
        (Node::Source(_), _) | (_, Node::Source(_)) => return false,
        // The loops of two folds inside one another are better apart.
        (Node::Fold(_), Node::Fold(_)) => return false,
        (_, Node::Map(body)) => (body, 1),
        (_, Node::Fold(fold)) => (&fold.body, reader.reduction()),
    };
    // An index word or an initial value is read apart from the rest of the body.
    let operand = body.reads.iter().any(|access| access.node as usize == n);
    operand && reader.len().saturating_mul(steps) <= node.len()
}

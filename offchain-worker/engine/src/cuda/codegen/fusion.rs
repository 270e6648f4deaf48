//! Which nodes get no value of their own: a node that one other reads, once, is computed inside it.

use lockstep_protocol::program::{Node, Program};

/// Most operations of a kernel, so that it keeps its registers and compiles quickly.
const MOST_OPERATIONS: usize = 512;

/// Most tensors that a kernel reads.
const MOST_READS: usize = 24;

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

/// The role of every node, when `wanted` says which ones must be stored and `tiled` which ones are
/// computed by kernels that neither inline nor can be inlined.
pub fn roles(
    program: &Program,
    wanted: impl Fn(usize) -> bool,
    tiled: impl Fn(usize) -> bool,
    fuse: bool,
) -> Vec<Role> {
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
    if !fuse {
        return roles;
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
        if !wanted(n) && !tiled(n) && !tiled(reader) && fits && inlinable(program, n, reader) {
            roles[n] = Role::Inlined;
            reads[reader] += reads[n] - 1;
            operations[reader] += operations[n];
        }
    }
    roles
}

fn size(node: &Node) -> usize {
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

//! The order of nodes: the state first, its next values last, nothing that nobody reads.

use super::lazy::row_major;
use lockstep_protocol::program::{Access, Axis, Body, Init, Node, Program};

/// The program of `nodes`, whose first nodes are the state and whose node `next[k]` is the next
/// value of slot k. A next value that other nodes need earlier, or that two slots share, is copied
/// at the end.
pub(super) fn place(nodes: Vec<Node>, next: Vec<u32>) -> Program {
    let slots = next.len();
    let live = live(&nodes, &next);
    let last = movable(&nodes, &next, &live);

    let mut at_the_end = vec![false; nodes.len()];
    for &n in last.iter().flatten() {
        at_the_end[n as usize] = true;
    }
    let before_the_end = |&n: &usize| live[n] && !at_the_end[n];
    let first: Vec<usize> = (0..nodes.len()).filter(before_the_end).collect();
    let mut number = vec![u32::MAX; nodes.len()];
    for (position, &n) in (0..).zip(&first) {
        number[n] = position;
    }
    for (position, n) in (first.len() as u32..).zip(&last) {
        if let Some(n) = n {
            number[*n as usize] = position;
        }
    }

    let ordered = first.iter().map(|&n| renumbered(&nodes[n], &number));
    let mut ordered: Vec<Node> = ordered.collect();
    for (own, &n) in last.iter().zip(&next) {
        let node = &nodes[n as usize];
        ordered.push(match own {
            Some(_) => renumbered(node, &number),
            None => copy(node, number[n as usize]),
        });
    }
    Program {
        slots: slots as u32,
        nodes: ordered,
    }
}

/// Which nodes are the state or lead to its next values.
fn live(nodes: &[Node], next: &[u32]) -> Vec<bool> {
    let mut live = vec![false; nodes.len()];
    live[..next.len()].fill(true);
    for &n in next {
        live[n as usize] = true;
    }
    for n in (0..nodes.len()).rev() {
        if live[n] {
            nodes[n]
                .accesses()
                .for_each(|a| live[a.node as usize] = true);
        }
    }
    live
}

/// For each slot, its next value where that may stand at the end: nothing but later next values
/// reads it.
fn movable(nodes: &[Node], next: &[u32], live: &[bool]) -> Vec<Option<u32>> {
    let mut slot_of: Vec<Option<usize>> = vec![None; nodes.len()];
    for (slot, &n) in next.iter().enumerate().rev() {
        if !matches!(nodes[n as usize], Node::Source(_)) {
            slot_of[n as usize] = Some(slot);
        }
    }
    // Taking one away can bar others that it reads, so look again until nothing changes.
    loop {
        let mut barred = Vec::new();
        for (reader, node) in nodes.iter().enumerate().filter(|(n, _)| live[*n]) {
            for read in node.accesses().map(|access| access.node as usize) {
                let early = |slot| slot_of[reader].is_none_or(|here| slot > here);
                if slot_of[read].is_some_and(early) {
                    barred.push(read);
                }
            }
        }
        if barred.is_empty() {
            break;
        }
        for n in barred {
            slot_of[n] = None;
        }
    }
    let last = |(slot, &n): (usize, &u32)| (slot_of[n as usize] == Some(slot)).then_some(n);
    next.iter().enumerate().map(last).collect()
}

/// A map with the elements of `node`, whose number is `number`.
pub fn copy(node: &Node, number: u32) -> Node {
    let shape = node.shape();
    let len = node.len();
    let extents: Vec<usize> = shape.iter().map(|d| d.0 as usize).collect();
    let axis = Axis {
        form: row_major(&extents),
        extent: len,
        stride: 1.into(),
    };
    Node::Map(Body {
        shape,
        dtype: node.dtype(),
        index: vec![],
        reads: vec![Access {
            node: number,
            dtype: node.dtype(),
            len,
            base: 0.into(),
            axes: vec![axis],
            fill: 0,
        }],
        values: vec![],
        consts: vec![],
        ops: vec![],
    })
}

fn renumbered(node: &Node, number: &[u32]) -> Node {
    let mut node = node.clone();
    let (body, init) = match &mut node {
        Node::Source(_) => return node,
        Node::Map(body) => (body, None),
        Node::Fold(fold) => (&mut fold.body, Some(&mut fold.init)),
    };
    for access in body.index.iter_mut().chain(&mut body.reads) {
        access.node = number[access.node as usize];
    }
    if let Some(Init::Read(access)) = init {
        access.node = number[access.node as usize];
    }
    node
}

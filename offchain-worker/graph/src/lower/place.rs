//! The order of nodes: the state first, its next values last, nothing that nobody reads.

use super::lazy::row_major;
use lockstep_protocol::program::{Access, Axis, Body, Init, Node, Program};

/// The program of `nodes`, whose first nodes are the state and whose node `next[k]` is the next
/// value of slot k. A next value that other nodes need earlier, or that two slots share, is copied
/// at the end.
pub(super) fn place(nodes: Vec<Node>, next: Vec<u32>) -> Program {
    let slots = next.len();
    let live = live(&nodes, &next, slots);
    let last = movable(&nodes, &next, &live);
    let is_last = |n: u32| last.iter().flatten().any(|&l| l == n);

    let mut number = vec![u32::MAX; nodes.len()];
    let mut order: Vec<u32> = (0..nodes.len() as u32)
        .filter(|&n| live[n as usize] && !is_last(n))
        .collect();
    let middle = order.len() as u32;
    for (position, &n) in (0..).zip(&order) {
        number[n as usize] = position;
    }
    for (slot, n) in (middle..).zip(&last) {
        if let Some(n) = n {
            number[*n as usize] = slot;
        }
    }
    order.extend(last.iter().zip(&next).map(|(own, next)| own.unwrap_or(*next)));
    let nodes = (0..)
        .zip(&order)
        .map(|(position, &n): (u32, _)| match position.checked_sub(middle) {
            Some(slot) if last[slot as usize].is_none() => copy(&nodes[n as usize], number[n as usize]),
            _ => renumbered(&nodes[n as usize], &number),
        })
        .collect();
    Program {
        slots: slots as u32,
        nodes,
    }
}

fn live(nodes: &[Node], next: &[u32], slots: usize) -> Vec<bool> {
    let mut live = vec![false; nodes.len()];
    live[..slots].fill(true);
    for &n in next {
        live[n as usize] = true;
    }
    for n in (0..nodes.len()).rev() {
        if live[n] {
            nodes[n].accesses().for_each(|a| live[a.node as usize] = true);
        }
    }
    live
}

/// For each slot, its next value where that may stand at the end: nothing but later next values
/// reads it.
fn movable(nodes: &[Node], next: &[u32], live: &[bool]) -> Vec<Option<u32>> {
    let mut last: Vec<Option<u32>> = (next.iter().enumerate())
        .map(|(slot, &n)| {
            let computed = !matches!(nodes[n as usize], Node::Source(_));
            (computed && !next[..slot].contains(&n)).then_some(n)
        })
        .collect();
    // Taking one away can bar others that it reads, so look again until nothing changes.
    loop {
        let place = |n: u32| last.iter().position(|&l| l == Some(n));
        let mut barred = None;
        for (reader, node) in (0..).zip(nodes).filter(|(n, _)| live[*n as usize]) {
            let here = place(reader).unwrap_or(0);
            let mut reads = node.accesses().filter_map(|a| place(a.node));
            let early = |slot: &usize| place(reader).is_none() || *slot > here;
            barred = barred.or(reads.find(early));
        }
        match barred {
            Some(slot) => last[slot] = None,
            None => return last,
        }
    }
}

fn copy(node: &Node, number: u32) -> Node {
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

//! Which nodes run, and in which buffer each one's value lies.

use super::kernel::reads;
use lockstep_protocol::program::{Node, Program, Source};

/// What a run of the program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The next state.
    Advance,
    /// Every node, in order.
    Trace,
    /// One node's value.
    Tensor(u32),
    /// What one node reads.
    Operands(u32),
}

/// Where a node's value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: the node does not run.
    Absent,
    /// In the state before the step.
    State(usize),
    /// Among the constants.
    Constant,
    /// In the state after the step.
    Next(usize),
    /// In a buffer that is reused.
    Buffer(usize),
}

/// The nodes that a goal needs and where their values lie.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// For every node of the program.
    pub places: Vec<Place>,
    /// Bytes of every node's value.
    pub bytes: Vec<usize>,
    /// Bytes of every buffer.
    pub buffers: Vec<usize>,
}

impl Plan {
    /// Places the values that `goal` needs, reusing a buffer once its last reader has run.
    pub fn new(program: &Program, goal: Goal) -> Plan {
        let count = program.nodes.len();
        let last_use = last_uses(program, goal);
        let next_state = program.next_state();
        let mut dying: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (n, last) in last_use.iter().enumerate() {
            if let Some(last) = last.filter(|last| *last < count) {
                dying[last].push(n);
            }
        }
        let mut plan = Plan {
            places: vec![Place::Absent; count],
            bytes: program
                .nodes
                .iter()
                .map(|node| node.bytes() as usize)
                .collect(),
            buffers: Vec::new(),
        };
        let mut free: Vec<usize> = Vec::new();
        for (n, node) in program.nodes.iter().enumerate() {
            if last_use[n].is_some() {
                plan.places[n] = match node {
                    _ if goal == Goal::Advance && next_state.contains(&n) => {
                        Place::Next(n - next_state.start)
                    }
                    Node::Source(Source::State { .. }) => Place::State(n),
                    Node::Source(Source::Constant { .. }) => Place::Constant,
                    _ => Place::Buffer(plan.buffer(&mut free, n)),
                };
            }
            // Only now: the node reads these while its own value is written.
            free.extend(dying[n].iter().filter_map(|d| match plan.places[*d] {
                Place::Buffer(b) => Some(b),
                _ => None,
            }));
        }
        plan
    }

    /// The free buffer that fits best, else the largest one grown, else a new one.
    fn buffer(&mut self, free: &mut Vec<usize>, node: usize) -> usize {
        let bytes = self.bytes[node];
        let size = |f: &usize| self.buffers[free[*f]];
        let fits = (0..free.len())
            .filter(|f| size(f) >= bytes)
            .min_by_key(|f| size(f));
        let chosen = fits.or_else(|| (0..free.len()).max_by_key(|f| size(f)));
        match chosen {
            Some(f) => {
                let b = free.swap_remove(f);
                self.buffers[b] = self.buffers[b].max(bytes);
                b
            }
            None => {
                self.buffers.push(bytes);
                self.buffers.len() - 1
            }
        }
    }
}

/// For each node, the last node that reads it; the number of nodes when the value is wanted
/// afterwards, `None` when nobody needs it.
fn last_uses(program: &Program, goal: Goal) -> Vec<Option<usize>> {
    let count = program.nodes.len();
    let mut last = vec![None; count];
    match goal {
        Goal::Advance => program.next_state().for_each(|n| last[n] = Some(count)),
        Goal::Trace => (0..count).for_each(|n| last[n] = Some(n)),
        Goal::Tensor(n) => last[n as usize] = Some(count),
        Goal::Operands(n) => {
            for access in program.nodes[n as usize].accesses() {
                last[access.node as usize] = Some(count);
            }
        }
    }
    for (n, node) in program.nodes.iter().enumerate().rev() {
        if last[n].is_some() {
            for read in reads(program, node) {
                let read = &mut last[read as usize];
                *read = (*read).max(Some(n));
            }
        }
    }
    last
}

//! Where every value of a run lies in the device's memory.

use super::codegen::Turn;
use lockstep_protocol::program::{Node, Program, Source};

/// Every value begins at a multiple of this many bytes.
const ALIGN: u64 = 256;

/// What a value lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// The state before the step.
    State,
    /// The state after the step.
    Next,
    /// The constants.
    Constants,
    /// What the host sends for every step: batches, step number, seed.
    Inputs,
    /// Memory that values share, one after another.
    Arena,
}

/// A value's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What it lies in.
    pub region: Region,
    /// Its first byte there.
    pub offset: u64,
}

/// Values one after another in a region.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The first byte of each value that lies there.
    pub offsets: Vec<Option<u64>>,
    /// Bytes of the region.
    pub bytes: u64,
}

impl Row {
    /// A row of the nodes that `here` picks.
    pub fn new(program: &Program, here: impl Fn(usize, &Node) -> bool) -> Row {
        let mut row = Row::default();
        for (n, node) in program.nodes.iter().enumerate() {
            let offset = here(n, node).then_some(row.bytes);
            row.offsets.push(offset);
            if offset.is_some() {
                row.bytes += aligned(node.bytes());
            }
        }
        row
    }
}

/// The regions that live as long as the engine.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// State, by slot. The state after a step has the same row.
    pub state: Row,
    /// Constants, by node.
    pub constants: Row,
    /// Other sources, by node.
    pub inputs: Row,
}

impl Fixed {
    /// The rows of a program.
    pub fn new(program: &Program) -> Fixed {
        let slots = program.slots as usize;
        let constant = |node: &Node| matches!(node, Node::Source(Source::Constant { .. }));
        let source = |node: &Node| matches!(node, Node::Source(_));
        Fixed {
            state: Row::new(program, |n, _| n < slots),
            constants: Row::new(program, |_, node| constant(node)),
            inputs: Row::new(program, |n, node| {
                n >= slots && source(node) && !constant(node)
            }),
        }
    }

    /// Where a source lies.
    fn source(&self, n: usize) -> Option<Place> {
        let rows = [
            (Region::State, &self.state),
            (Region::Constants, &self.constants),
            (Region::Inputs, &self.inputs),
        ];
        rows.into_iter().find_map(|(region, row)| {
            let offset = row.offsets[n]?;
            Some(Place { region, offset })
        })
    }
}

/// The places of a run's values.
#[derive(Clone, Debug)]
pub struct Layout {
    /// For every node, its place if it has one.
    pub places: Vec<Option<Place>>,
    /// Bytes of the arena.
    pub arena: u64,
}

impl Layout {
    /// Places what `turns` write. A value's memory is used again after its last reader, except that
    /// of the nodes in `kept`. With `advance`, the next state goes to its own region.
    pub fn new(
        program: &Program,
        fixed: &Fixed,
        turns: &[&Turn],
        kept: &[usize],
        advance: bool,
    ) -> Layout {
        let next = program.next_state();
        let mut last: Vec<usize> = vec![0; program.nodes.len()];
        for (at, turn) in turns.iter().enumerate() {
            turn.writes.iter().for_each(|n| last[*n] = at);
            turn.reads.iter().for_each(|read| last[*read] = at);
        }
        kept.iter().for_each(|n| last[*n] = usize::MAX);
        let places = (0..program.nodes.len()).map(|n| fixed.source(n)).collect();
        let mut layout = Layout { places, arena: 0 };
        let mut live: Vec<(u64, u64, usize)> = Vec::new();
        for (at, turn) in turns.iter().enumerate() {
            for &n in &turn.writes {
                let place = if advance && next.contains(&n) {
                    let slot = n - next.start;
                    let offset = fixed.state.offsets[slot].expect("every slot has a place");
                    Place {
                        region: Region::Next,
                        offset,
                    }
                } else {
                    let bytes = aligned(program.nodes[n].bytes());
                    let offset = gap(&live, bytes);
                    live.push((offset, bytes, last[n]));
                    layout.arena = layout.arena.max(offset + bytes);
                    Place {
                        region: Region::Arena,
                        offset,
                    }
                };
                layout.places[n] = Some(place);
            }
            // Only now: the node reads these while its own value is written.
            live.retain(|(_, _, last)| *last > at);
        }
        layout
    }
}

fn aligned(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGN)
}

/// The start of the smallest gap between live values that `bytes` fit in, else their end.
fn gap(live: &[(u64, u64, usize)], bytes: u64) -> u64 {
    let mut taken: Vec<(u64, u64)> = live.iter().map(|(at, len, _)| (*at, *len)).collect();
    taken.sort_unstable();
    let mut end = 0;
    let mut best: Option<(u64, u64)> = None;
    for (at, len) in taken {
        let room = at - end;
        if room >= bytes && best.is_none_or(|(least, _)| room < least) {
            best = Some((room, end));
        }
        end = at + len;
    }
    best.map_or(end, |(_, start)| start)
}

#[cfg(test)]
mod tests {
    use super::super::codegen::{Code, Keep, Machine};
    use super::*;
    use lockstep_protocol::random::{self, Rng, Size};

    const MACHINE: Machine = Machine {
        multiprocessors: 1,
        capability: 90,
        shape: None,
    };

    #[test]
    fn no_two_values_that_live_at_once_overlap() {
        for seed in 0..60 {
            let program = random::program(seed, Size::LARGE).program;
            let fixed = Fixed::new(&program);
            let code = Code::new(&program, Keep::Everything, MACHINE);
            let turns: Vec<&Turn> = code.turns.iter().collect();
            let kept = [Rng::new(seed).below(program.nodes.len() as u64) as usize];
            let layout = Layout::new(&program, &fixed, &turns, &kept, false);
            // The owner of every 256 bytes of the arena, as of the last write.
            let mut owner = vec![usize::MAX; (layout.arena / ALIGN) as usize];
            let cells = |n: usize| {
                let place = layout.places[n].expect("everything is placed");
                let first = (place.offset / ALIGN) as usize;
                let count = (aligned(program.nodes[n].bytes()) / ALIGN) as usize;
                (place.region == Region::Arena).then_some(first..first + count)
            };
            let whole = |owner: &[usize], n: usize| match cells(n) {
                Some(range) => owner[range].iter().all(|o| *o == n),
                None => true,
            };
            for turn in &turns {
                for n in &turn.writes {
                    if let Some(range) = cells(*n) {
                        owner[range].fill(*n);
                    }
                }
                assert!(turn.reads.iter().all(|read| whole(&owner, *read)));
            }
            assert!(kept.iter().all(|n| whole(&owner, *n)));
        }
    }
}

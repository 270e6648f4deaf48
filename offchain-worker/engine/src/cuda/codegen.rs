//! From a program to CUDA C++: one kernel for every node that keeps a value.
//!
//! A thread computes one output element and folds in order of r, so no kernel's result depends on
//! how it is launched. The text needs no header of CUDA's and no other type than those of the
//! prelude, so it also compiles as ordinary C++, where a test executes it.

use fusion::{Fusion, Hosted, Role};
use join::Join;
use kernel::Kernel;
use lockstep_protocol::program::{Node, Program};
use rows::Rows;
use scatter::Scatter;
use std::collections::HashMap;
use tile::{After, Contraction};

mod body;
mod fusion;
mod join;
mod kernel;
mod linear;
mod rows;
mod scatter;
mod tile;

/// The text that every generated source begins with.
pub const PRELUDE: &str = include_str!("kernels/prelude.cuh");

/// Threads of a block where each computes one element.
const BLOCK: u32 = 256;

/// How a kernel is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The name of the `extern "C"` entry point.
    pub entry: String,
    /// How many pointers the entry takes.
    pub arguments: usize,
    /// Blocks in x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block, in x.
    pub block: u32,
    /// Bytes of shared memory of a block.
    pub shared: u32,
    /// Whether the threads of a block wait for one another.
    pub barriers: bool,
}

/// A kernel's turn in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The kernel.
    pub launch: Launch,
    /// The nodes that are written, to the first pointers that the kernel takes.
    pub writes: Vec<usize>,
    /// The nodes that are read, from the other pointers.
    pub reads: Vec<usize>,
}

/// CUDA C++ with its entry points.
#[derive(Clone, Debug)]
pub struct Source {
    /// What every entry point stands on.
    pub common: String,
    /// The entry points and the text of each; no two need each other.
    pub entries: Vec<(Launch, String)>,
}

impl Source {
    /// The text with some of the entry points.
    pub fn text<'a>(&self, entries: impl IntoIterator<Item = &'a (Launch, String)>) -> String {
        let texts = entries.into_iter().map(|(_, text)| text.as_str());
        std::iter::once(self.common.as_str()).chain(texts).collect()
    }
}

/// A program as source text and kernels in node order.
#[derive(Clone, Debug)]
pub struct Code {
    /// Nodes of the same shape share an entry point.
    pub source: Source,
    /// A kernel for every map and fold that keeps a value.
    pub turns: Vec<Turn>,
}

/// Which nodes a run has to leave in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those that the next state needs; others may be computed where they are read.
    Needed,
    /// All of them.
    Everything,
}

/// What of a device decides how work is divided. No bit of a result depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// How many blocks it runs at a time, roughly.
    pub multiprocessors: u64,
    /// Its compute capability, 90 for 9.0. From 80 on its tensor cores multiply 8-bit integers.
    pub capability: u32,
    /// The number of the shape of tile to take in place of the one that is estimated to be fastest.
    pub shape: Option<usize>,
}

impl Code {
    /// The code of a valid program for a device.
    pub fn new(program: &Program, keep: Keep, machine: Machine) -> Code {
        let next = program.next_state();
        let wanted = |n: usize| keep == Keep::Everything || next.contains(&n);
        let tiles: Vec<Option<Contraction>> = program
            .nodes
            .iter()
            .map(|node| contraction(node, machine))
            .collect();
        let ways: Vec<Option<Together>> = program
            .nodes
            .iter()
            .zip(&tiles)
            .map(|(node, tile)| match tile {
                Some(_) => None,
                None => Together::recognise(node, machine),
            })
            .collect();
        let apart = |n: usize| ways[n].is_some();
        let fusion = Fusion::new(program, &tiles, wanted, apart, keep == Keep::Needed);
        let groups = match keep {
            Keep::Needed => rows::groups(program, &fusion, &ways, wanted, machine),
            Keep::Everything => Vec::new(),
        };
        let mut entries = Entries::default();
        let mut turns = Vec::new();
        for (n, node) in program.nodes.iter().enumerate() {
            if fusion.roles[n] != Role::Stored || matches!(node, Node::Source(_)) {
                continue;
            }
            let roles = &fusion.roles;
            if let Some(group) = groups.iter().find(|group| group.members.contains(&n)) {
                // All of them are computed where the last one stands.
                if group.members.last() == Some(&n) {
                    turns.push(row_turn(program, roles, group, &ways, &mut entries));
                }
                continue;
            }
            turns.push(match (fusion.hosted[n], &ways[n]) {
                (Some(hosted), _) => {
                    let tile = tiles[hosted.sum].as_ref().expect("a contraction is hosted");
                    tile_turn(program, roles, n, hosted, tile, &mut entries)
                }
                (None, Some(way)) => together(program, roles, n, way, &mut entries),
                (None, None) => turn(program, roles, n, machine, &mut entries),
            });
        }
        Code {
            source: entries.source(),
            turns,
        }
    }
}

/// Entry points by their text, so that equal layers are compiled once.
#[derive(Default)]
struct Entries {
    /// The number of each entry, by its text without a name.
    numbers: HashMap<String, usize>,
    entries: Vec<(Launch, String)>,
    tiles: bool,
}

impl Entries {
    /// The launch of the entry whose text `text` gives for a name; `launch` makes it of the name.
    fn launch(
        &mut self,
        text: impl Fn(&str) -> String,
        launch: impl Fn(String) -> Launch,
    ) -> Launch {
        let number = *self.numbers.entry(text("")).or_insert_with(|| {
            let new = launch(format!("lockstep_{}", self.entries.len()));
            let text = text(&new.entry);
            self.entries.push((new, text));
            self.entries.len() - 1
        });
        // Rows of one width have one text, however many they are: only the name is taken over.
        let first = &mut self.entries[number].0;
        let own = launch(first.entry.clone());
        first.shared = first.shared.max(own.shared);
        own
    }

    fn source(self) -> Source {
        let template = if self.tiles { tile::TEMPLATE } else { "" };
        Source {
            common: format!("{PRELUDE}{template}"),
            entries: self.entries,
        }
    }
}

fn contraction(node: &Node, machine: Machine) -> Option<Contraction<'_>> {
    match node {
        Node::Fold(fold) => Contraction::recognise(fold, machine),
        Node::Source(_) | Node::Map(_) => None,
    }
}

/// The kernel that computes a contraction in tiles, and what is hosted with it up to node `n`.
fn tile_turn(
    program: &Program,
    roles: &[Role],
    n: usize,
    hosted: Hosted,
    tile: &Contraction,
    entries: &mut Entries,
) -> Turn {
    let mut reads: Vec<usize> = Vec::new();
    for node in tile.reads().into_iter().flatten() {
        if !reads.contains(&(node as usize)) {
            reads.push(node as usize);
        }
    }
    // The steps of the fold over the batches see the sum, what comes after it the fold's value.
    let outer = hosted.outer.map(|outer| {
        let mut kernel = Kernel::given(program, roles, hosted.sum, tile.nan(), reads.clone());
        kernel.collect_operands(outer);
        reads.clone_from(&kernel.reads);
        (outer, kernel)
    });
    let (last, nan) = match hosted.outer {
        Some(outer) => (outer, body::accumulator(program.nodes[outer].dtype())),
        None => (hosted.sum, tile.nan()),
    };
    let mut chain = Kernel::given(program, roles, last, nan, reads);
    if n != last {
        chain.collect(n);
    }
    let reads = chain.reads.clone();
    let number = |node: u32| reads.iter().position(|read| *read == node as usize);
    let text = |name: &str| {
        let mut functions = String::new();
        let outer = outer.as_ref().map(|(outer, kernel)| {
            kernel.outer(*outer, tile, &format!("{name}_outer"), &mut functions)
        });
        let after = After {
            store: chain.store(n, name, &mut functions),
            functions,
            outer,
        };
        tile.text(name, reads.len(), |node| number(node).unwrap_or(0), &after)
    };
    entries.tiles = true;
    let (blocks, shared) = tile.blocks(hosted.outer.is_some());
    let launch = entries.launch(text, |entry| Launch {
        entry,
        arguments: 1 + reads.len(),
        grid: [blocks, 1, 1],
        block: tile::THREADS,
        shared,
        barriers: true,
    });
    Turn {
        launch,
        writes: vec![n],
        reads,
    }
}

/// The kernel that stores node `n` and computes what is inlined into it.
fn turn(
    program: &Program,
    roles: &[Role],
    n: usize,
    machine: Machine,
    entries: &mut Entries,
) -> Turn {
    let mut kernel = Kernel::new(program, roles);
    kernel.collect(n);
    let node = &program.nodes[n];
    // What only moves numbers needs more of them under way than a thread each gives.
    let many = node.len() >= machine.multiprocessors.saturating_mul(8 * BLOCK as u64);
    let each = match node {
        Node::Map(_) if many => 4,
        _ => 1,
    };
    let launch = entries.launch(
        |name| kernel.text(n, name, each),
        |entry| Launch {
            entry,
            arguments: 1 + kernel.reads.len(),
            grid: [node.len().div_ceil(each * BLOCK as u64) as u32, 1, 1],
            block: BLOCK,
            shared: 0,
            barriers: false,
        },
    );
    Turn {
        launch,
        writes: vec![n],
        reads: kernel.reads,
    }
}

/// The kernel of a fold whose threads work together, in a way of its own.
fn together(
    program: &Program,
    roles: &[Role],
    n: usize,
    way: &Together,
    entries: &mut Entries,
) -> Turn {
    let mut kernel = Kernel::new(program, roles);
    kernel.collect_operands(n);
    let launch = entries.launch(
        |name| match way {
            Together::Join(join) => join.text(&kernel, n, name),
            Together::Scatter(scatter) => scatter.text(&kernel, n, name),
        },
        |entry| Launch {
            entry,
            arguments: 1 + kernel.reads.len(),
            grid: match way {
                Together::Join(join) => [join.blocks() as u32, 1, 1],
                Together::Scatter(scatter) => [scatter.blocks() as u32, 1, 1],
            },
            block: BLOCK,
            shared: 0,
            barriers: true,
        },
    );
    Turn {
        launch,
        writes: vec![n],
        reads: kernel.reads,
    }
}

/// The kernel of nodes that work row by row.
fn row_turn(
    program: &Program,
    roles: &[Role],
    group: &Rows,
    ways: &[Option<Together>],
    entries: &mut Entries,
) -> Turn {
    let kernel = group.kernel(program, roles, ways);
    let launch = entries.launch(
        |name| group.text(&kernel, ways, name),
        |entry| Launch {
            entry,
            arguments: group.stored.len() + kernel.reads.len(),
            grid: [group.blocks(), 1, 1],
            block: group.threads(program),
            shared: group.shared(program, &kernel),
            barriers: true,
        },
    );
    Turn {
        launch,
        writes: group.stored.clone(),
        reads: kernel.reads,
    }
}

/// Folds that are neither contractions nor computed by a thread for each element.
enum Together<'a> {
    Join(Join<'a>),
    Scatter(Scatter<'a>),
}

impl Together<'_> {
    fn recognise(node: &Node, machine: Machine) -> Option<Together<'_>> {
        let Node::Fold(fold) = node else {
            return None;
        };
        let join = Join::recognise(fold, machine).map(Together::Join);
        join.or_else(|| Scatter::recognise(fold).map(Together::Scatter))
    }
}

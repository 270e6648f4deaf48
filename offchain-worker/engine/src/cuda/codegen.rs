//! From a program to CUDA C++: one kernel for every node that keeps a value.
//!
//! A thread computes one output element and folds in order of r, so no kernel's result depends on
//! how it is launched. The text needs no header of CUDA's and no other type than those of the
//! prelude, so it also compiles as ordinary C++, where a test executes it.

use body::{index_type, store_name, Nan, Operand, Word, Writer};
use fusion::Role;
use lockstep_protocol::program::{Access, Dtype, Node, Program, Source};
use std::collections::HashMap;
use std::fmt::Write;
use tile::Contraction;

mod body;
mod fusion;
mod linear;
mod tile;

/// The text that every generated source begins with.
pub const PRELUDE: &str = include_str!("prelude.cuh");

/// Threads of a block where each computes one element.
const BLOCK: u32 = 256;

/// A kernel launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The name of the `extern "C"` entry point.
    pub entry: String,
    /// The node that is written.
    pub writes: u32,
    /// The nodes that are read. The entry takes a pointer to each, after one to what it writes.
    pub reads: Vec<u32>,
    /// Blocks in x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block, in x.
    pub block: u32,
    /// Whether the threads of a block wait for one another.
    pub barriers: bool,
}

/// A program as source text and launches in node order.
#[derive(Clone, Debug)]
pub struct Code {
    /// CUDA C++. Nodes of the same shape share an entry point.
    pub source: String,
    /// One launch for every map and fold that keeps a value.
    pub launches: Vec<Launch>,
    /// For every node, whether it keeps a value.
    pub stored: Vec<bool>,
}

/// Which nodes a run has to leave in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those that the next state needs; others may be computed where they are read.
    Needed,
    /// All of them.
    Everything,
}

impl Code {
    /// The code of a valid program for a device of so many multiprocessors. Their number decides
    /// how work is divided, and no bit of a result.
    pub fn new(program: &Program, keep: Keep, multiprocessors: u64) -> Code {
        let next = program.next_state();
        let wanted = |n: usize| keep == Keep::Everything || next.contains(&n);
        let tiles: Vec<Option<Contraction>> = program
            .nodes
            .iter()
            .map(|node| contraction(node, multiprocessors))
            .collect();
        let tiled = |n: usize| tiles[n].is_some();
        let roles = fusion::roles(program, wanted, tiled, keep == Keep::Needed);
        let mut entries = Entries::default();
        let mut launches = Vec::new();
        for (n, node) in program.nodes.iter().enumerate() {
            if roles[n] != Role::Stored || matches!(node, Node::Source(_)) {
                continue;
            }
            launches.push(match &tiles[n] {
                Some(tile) => tile_launch(n, tile, &mut entries),
                None => launch(program, &roles, n, &mut entries),
            });
        }
        Code {
            source: entries.source(),
            launches,
            stored: roles.iter().map(|role| *role == Role::Stored).collect(),
        }
    }

    /// The launches of each entry, once: what a loader has to look up.
    pub fn entries(&self) -> impl Iterator<Item = &Launch> {
        let mut seen = std::collections::HashSet::new();
        self.launches.iter().filter(move |l| seen.insert(&l.entry))
    }
}

/// Entry points by their text, so that equal layers are compiled once.
#[derive(Default)]
struct Entries {
    names: HashMap<String, String>,
    text: String,
    tiles: bool,
}

impl Entries {
    /// The name of the entry whose text `text` gives for a name.
    fn name(&mut self, text: impl Fn(&str) -> String) -> String {
        let key = text("");
        if let Some(name) = self.names.get(&key) {
            return name.clone();
        }
        let name = format!("lockstep_{}", self.names.len());
        self.text += &text(&name);
        self.names.insert(key, name.clone());
        name
    }

    fn source(self) -> String {
        let template = if self.tiles { tile::TEMPLATE } else { "" };
        format!("{PRELUDE}{template}{}", self.text)
    }
}

fn contraction(node: &Node, multiprocessors: u64) -> Option<Contraction<'_>> {
    match node {
        Node::Fold(fold) => Contraction::recognise(fold, multiprocessors),
        Node::Source(_) | Node::Map(_) => None,
    }
}

/// The kernel that computes a contraction in tiles.
fn tile_launch(n: usize, tile: &Contraction, entries: &mut Entries) -> Launch {
    let mut reads: Vec<u32> = Vec::new();
    for node in tile.reads().into_iter().flatten() {
        if !reads.contains(&node) {
            reads.push(node);
        }
    }
    let number = |node: u32| reads.iter().position(|read| *read == node).unwrap_or(0);
    entries.tiles = true;
    Launch {
        entry: entries.name(|name| tile.text(name, reads.len(), number)),
        writes: n as u32,
        grid: [tile.blocks(), 1, 1],
        block: tile::THREADS,
        barriers: true,
        reads,
    }
}

/// Whether a node's bytes come from outside and may hold a NaN that is not canonical.
fn from_outside(node: &Node) -> bool {
    matches!(
        node,
        Node::Source(Source::State { .. } | Source::Batch { .. } | Source::Constant { .. })
    )
}

/// The kernel that stores node `n` and computes what is inlined into it.
fn launch(program: &Program, roles: &[Role], n: usize, entries: &mut Entries) -> Launch {
    let mut kernel = Kernel {
        program,
        roles,
        functions: Vec::new(),
        reads: Vec::new(),
    };
    kernel.collect(n);
    let len = program.nodes[n].len();
    let entry = entries.name(|name| kernel.text(n, name));
    Launch {
        entry,
        writes: n as u32,
        reads: kernel.reads,
        grid: [len.div_ceil(BLOCK as u64) as u32, 1, 1],
        block: BLOCK,
        barriers: false,
    }
}

struct Kernel<'a> {
    program: &'a Program,
    roles: &'a [Role],
    /// The nodes that are computed, each before what reads it.
    functions: Vec<usize>,
    /// The nodes that are read from memory.
    reads: Vec<u32>,
}

impl Kernel<'_> {
    fn collect(&mut self, n: usize) {
        for access in self.program.nodes[n].accesses() {
            let read = access.node as usize;
            if self.roles[read] == Role::Inlined {
                if !self.functions.contains(&read) {
                    self.collect(read);
                }
            } else if !self.reads.contains(&access.node) {
                self.reads.push(access.node);
            }
        }
        self.functions.push(n);
    }

    /// The pointers that the kernel and its functions take, as parameters or as arguments.
    fn pointers(&self, before: &str) -> String {
        let mut text = String::new();
        for k in 0..self.reads.len() {
            let _ = write!(text, ", {before}v{k}");
        }
        text
    }

    fn text(&self, n: usize, entry: &str) -> String {
        let mut text = String::new();
        let mut values: HashMap<usize, Nan> = HashMap::new();
        for (k, f) in self.functions.iter().enumerate() {
            let nan = self.function(*f, &format!("{entry}_{k}"), entry, &values, &mut text);
            values.insert(*f, nan);
        }
        let node = &self.program.nodes[n];
        let kind = index_type(node.len());
        let last = self.functions.len() - 1;
        let value = Word {
            text: format!("{entry}_{last}(i{})", self.pointers("")),
            nan: values[&n],
        };
        let _ = write!(
            text,
            "extern \"C\" __global__ void __launch_bounds__({BLOCK}) {entry}(void* __restrict__ out{}) {{\n    \
                 const {kind} i = ({kind})blockIdx.x * {BLOCK}u + threadIdx.x;\n    \
                 if (i < {}u) {}(out, i, {});\n\
             }}\n\n",
            self.pointers("const void* __restrict__ "),
            node.len(),
            store_name(node.dtype()),
            value.exact(),
        );
        text
    }

    /// Writes the function of a node's element.
    fn function(
        &self,
        n: usize,
        name: &str,
        entry: &str,
        values: &HashMap<usize, Nan>,
        text: &mut String,
    ) -> Nan {
        let node = &self.program.nodes[n];
        let operand = |access: &Access| self.operand(access, entry, values);
        let (scope, body) = body::scope(node);
        let mut writer = Writer::new(scope, &operand);
        writer.coordinates(&body.shape, "i");
        let word = match node {
            Node::Fold(fold) => writer.fold(fold),
            _ => writer.map(body),
        };
        let _ = write!(
            text,
            "LOCKSTEP_INLINE u32 {name}({} i{}) {{\n{}    return {};\n}}\n",
            index_type(node.len()),
            self.pointers("const void* __restrict__ "),
            writer.finish(),
            word.text,
        );
        word.nan
    }

    fn operand(&self, access: &Access, entry: &str, values: &HashMap<usize, Nan>) -> Operand {
        if let Some(k) = self.reads.iter().position(|read| *read == access.node) {
            let outside = from_outside(&self.program.nodes[access.node as usize]);
            let nan = match access.dtype {
                Dtype::F32 if outside => Nan::Any,
                Dtype::F32 | Dtype::U16 | Dtype::U8 => Nan::Canonical,
                Dtype::I32 | Dtype::U32 | Dtype::I8 => Nan::Exact,
            };
            return Operand::Memory(format!("v{k}"), nan);
        }
        let n = access.node as usize;
        let function = self
            .functions
            .iter()
            .position(|f| *f == n)
            .expect("what is not read from memory is inlined");
        Operand::Inline(format!("{entry}_{function}"), self.pointers(""), values[&n])
    }
}

//! From a program to CUDA C++: one kernel for every node that keeps a value.
//!
//! A thread computes one output element and folds in order of r, so no kernel's result depends on
//! how it is launched. The text needs no header of CUDA's and no other type than those of the
//! prelude, so it also compiles as ordinary C++, where a test executes it.

use body::{index_type, store_name, Nan, Operand, Word, Writer};
use fusion::Role;
use lockstep_protocol::program::{self, Access, Dtype, Node, Program};
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
    /// Whether the threads of a block wait for one another.
    pub barriers: bool,
}

/// A kernel's turn in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The kernel.
    pub launch: Launch,
    /// The node that is written, to the first pointer that the kernel takes.
    pub writes: usize,
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
        let mut turns = Vec::new();
        for (n, node) in program.nodes.iter().enumerate() {
            if roles[n] != Role::Stored || matches!(node, Node::Source(_)) {
                continue;
            }
            turns.push(match &tiles[n] {
                Some(tile) => tile_turn(n, tile, &mut entries),
                None => turn(program, &roles, n, &mut entries),
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
        self.entries[number].0.clone()
    }

    fn source(self) -> Source {
        let template = if self.tiles { tile::TEMPLATE } else { "" };
        Source {
            common: format!("{PRELUDE}{template}"),
            entries: self.entries,
        }
    }
}

fn contraction(node: &Node, multiprocessors: u64) -> Option<Contraction<'_>> {
    match node {
        Node::Fold(fold) => Contraction::recognise(fold, multiprocessors),
        Node::Source(_) | Node::Map(_) => None,
    }
}

/// The kernel that computes a contraction in tiles.
fn tile_turn(n: usize, tile: &Contraction, entries: &mut Entries) -> Turn {
    let mut reads: Vec<usize> = Vec::new();
    for node in tile.reads().into_iter().flatten() {
        if !reads.contains(&(node as usize)) {
            reads.push(node as usize);
        }
    }
    let number = |node: u32| reads.iter().position(|read| *read == node as usize);
    let text = |name: &str| tile.text(name, reads.len(), |node| number(node).unwrap_or(0));
    entries.tiles = true;
    let launch = entries.launch(text, |entry| Launch {
        entry,
        arguments: 1 + reads.len(),
        grid: [tile.blocks(), 1, 1],
        block: tile::THREADS,
        barriers: true,
    });
    Turn {
        launch,
        writes: n,
        reads,
    }
}

/// Whether a node's bytes come from outside and may hold a NaN that is not canonical.
fn from_outside(node: &Node) -> bool {
    matches!(
        node,
        Node::Source(
            program::Source::State { .. }
                | program::Source::Batch { .. }
                | program::Source::Constant { .. }
        )
    )
}

/// The kernel that stores node `n` and computes what is inlined into it.
fn turn(program: &Program, roles: &[Role], n: usize, entries: &mut Entries) -> Turn {
    let mut kernel = Kernel {
        program,
        roles,
        functions: Vec::new(),
        reads: Vec::new(),
    };
    kernel.collect(n);
    let len = program.nodes[n].len();
    let launch = entries.launch(
        |name| kernel.text(n, name),
        |entry| Launch {
            entry,
            arguments: 1 + kernel.reads.len(),
            grid: [len.div_ceil(BLOCK as u64) as u32, 1, 1],
            block: BLOCK,
            barriers: false,
        },
    );
    Turn {
        launch,
        writes: n,
        reads: kernel.reads,
    }
}

struct Kernel<'a> {
    program: &'a Program,
    roles: &'a [Role],
    /// The nodes that are computed, each before what reads it.
    functions: Vec<usize>,
    /// The nodes that are read from memory.
    reads: Vec<usize>,
}

impl Kernel<'_> {
    fn collect(&mut self, n: usize) {
        for access in self.program.nodes[n].accesses() {
            let read = access.node as usize;
            if self.roles[read] == Role::Inlined {
                if !self.functions.contains(&read) {
                    self.collect(read);
                }
            } else if !self.reads.contains(&read) {
                self.reads.push(read);
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
        let n = access.node as usize;
        if let Some(k) = self.reads.iter().position(|read| *read == n) {
            let outside = from_outside(&self.program.nodes[n]);
            let nan = match access.dtype {
                Dtype::F32 if outside => Nan::Any,
                Dtype::F32 | Dtype::U16 | Dtype::U8 => Nan::Canonical,
                Dtype::I32 | Dtype::U32 | Dtype::I8 => Nan::Exact,
            };
            return Operand::Memory(format!("v{k}"), nan);
        }
        let function = self
            .functions
            .iter()
            .position(|f| *f == n)
            .expect("what is not read from memory is inlined");
        Operand::Inline(format!("{entry}_{function}"), self.pointers(""), values[&n])
    }
}

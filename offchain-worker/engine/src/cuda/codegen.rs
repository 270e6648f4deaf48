//! From a program to CUDA C++: one kernel for every node that keeps a value.
//!
//! A thread computes one output element and folds in order of r, so no kernel's result depends on
//! how it is launched. The text needs no header of CUDA's and no other type than those of the
//! prelude, so it also compiles as ordinary C++, where a test executes it.

use body::{index_type, store_name, Nan, Operand, Word, Writer};
use fusion::{Fusion, Hosted, Role};
use lockstep_protocol::program::{self, Access, Dtype, Node, Program};
use std::collections::HashMap;
use std::fmt::Write;
use tile::{After, Contraction, Outer};

mod body;
mod fusion;
mod linear;
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
        let fusion = Fusion::new(program, &tiles, wanted, keep == Keep::Needed);
        let mut entries = Entries::default();
        let mut turns = Vec::new();
        for (n, node) in program.nodes.iter().enumerate() {
            if fusion.roles[n] != Role::Stored || matches!(node, Node::Source(_)) {
                continue;
            }
            turns.push(match fusion.hosted[n] {
                Some(hosted) => {
                    let tile = tiles[hosted.sum].as_ref().expect("a contraction is hosted");
                    tile_turn(program, &fusion.roles, n, hosted, tile, &mut entries)
                }
                None => turn(program, &fusion.roles, n, &mut entries),
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
        given: None,
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
            shared: 0,
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
    /// A node whose element the functions are given as `given`, and what its bits stand for.
    given: Option<(usize, Nan)>,
    /// The nodes that are computed, each before what reads it.
    functions: Vec<usize>,
    /// The nodes that are read from memory.
    reads: Vec<usize>,
}

impl<'a> Kernel<'a> {
    /// The functions of a kernel that reads `reads` besides and computes the node that is given.
    fn given(
        program: &'a Program,
        roles: &'a [Role],
        node: usize,
        nan: Nan,
        reads: Vec<usize>,
    ) -> Kernel<'a> {
        Kernel {
            program,
            roles,
            given: Some((node, nan)),
            functions: Vec::new(),
            reads,
        }
    }

    fn collect(&mut self, n: usize) {
        self.collect_operands(n);
        self.functions.push(n);
    }

    fn collect_operands(&mut self, n: usize) {
        for access in self.program.nodes[n].accesses() {
            let read = access.node as usize;
            if self.given.is_some_and(|(given, _)| given == read) {
                continue;
            }
            if self.roles[read] == Role::Inlined {
                if !self.functions.contains(&read) {
                    self.collect(read);
                }
            } else if !self.reads.contains(&read) {
                self.reads.push(read);
            }
        }
    }

    /// The pointers and the value that the functions take, as parameters.
    fn parameters(&self) -> String {
        let pointers = self.pointers("const void* __restrict__ ");
        match self.given {
            Some(_) => pointers + ", u32 given",
            None => pointers,
        }
    }

    /// The same as arguments, within a function.
    fn arguments(&self) -> String {
        match self.given {
            Some(_) => self.pointers("") + ", given",
            None => self.pointers(""),
        }
    }

    /// The pointers, each with something before it.
    fn pointers(&self, before: &str) -> String {
        let mut text = String::new();
        for k in 0..self.reads.len() {
            let _ = write!(text, ", {before}v{k}");
        }
        text
    }

    /// Writes the functions, and gives what the bits of each node's value stand for.
    fn write_functions(&self, entry: &str, text: &mut String) -> HashMap<usize, Nan> {
        let mut values = HashMap::new();
        for (k, f) in self.functions.iter().enumerate() {
            let nan = self.function(*f, &format!("{entry}_{k}"), entry, &values, text);
            values.insert(*f, nan);
        }
        values
    }

    /// The statement that stores node `n` where `value` is what the functions are given.
    fn store(&self, n: usize, entry: &str, text: &mut String) -> String {
        let values = self.write_functions(entry, text);
        let given = self.given.map_or(Nan::Exact, |(_, nan)| nan);
        let word = match self.functions.len().checked_sub(1) {
            Some(last) => {
                let pointers = self.pointers("reads.");
                Word::new(format!("{entry}_{last}(i{pointers}, value)"), values[&n])
            }
            None => Word::new("value", given),
        };
        let dtype = self.program.nodes[n].dtype();
        format!("{}(out, i, {});", store_name(dtype), word.exact())
    }

    /// The fold `n` over the batches of `tile`.
    fn outer(&self, n: usize, tile: &Contraction, entry: &str, text: &mut String) -> Outer {
        let node = &self.program.nodes[n];
        let Node::Fold(fold) = node else {
            unreachable!("only a fold adds up batches");
        };
        let values = self.write_functions(entry, text);
        let operand = |access: &Access| self.operand(access, entry, &values);
        let pointers: String = (0..self.reads.len())
            .map(|k| format!("        const void* v{k} = reads.v{k};\n"))
            .collect();
        let (scope, _) = body::scope(node);
        let mut start = Writer::new(scope.clone(), &operand);
        let word = start.start(fold);
        let start = format!(
            "{pointers}{}{}        return {word};\n",
            tile.outer_coordinates(fold, false),
            start.finish()
        );
        let mut step = Writer::new(scope, &operand);
        let word = step.fold_step(fold);
        let step = format!(
            "{pointers}        const u32 given = tile;\n{}{}        return {};\n",
            tile.outer_coordinates(fold, true),
            step.finish(),
            word.text
        );
        Outer { start, step }
    }

    fn text(&self, n: usize, entry: &str) -> String {
        let mut text = String::new();
        let values = self.write_functions(entry, &mut text);
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
            self.parameters(),
            writer.finish(),
            word.text,
        );
        word.nan
    }

    fn operand(&self, access: &Access, entry: &str, values: &HashMap<usize, Nan>) -> Operand {
        let n = access.node as usize;
        if let Some((node, nan)) = self.given {
            if node == n {
                return Operand::Value("given".into(), nan);
            }
        }
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
        Operand::Inline(format!("{entry}_{function}"), self.arguments(), values[&n])
    }
}

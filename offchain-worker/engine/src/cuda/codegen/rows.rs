//! Nodes that work row by row, in one kernel: a block computes a row of one after another and keeps
//! what the others read in shared memory. So a softmax reads its scores and writes its weights, and a
//! normalisation its numbers, once.

use super::body::{accumulator, index_type, scope, store_name, Word};
use super::fusion::{self, Fusion, Role};
use super::kernel::Kernel;
use super::linear::{Linear, Place, Scope};
use super::{Machine, Together};
use lockstep_protocol::program::{var, Access, Dim, Node, Program};
use std::fmt::Write;

/// Most words of shared memory.
const MOST_WORDS: u64 = 12 << 10;

/// Fewest rows, and fewest elements of the longest row, for which a block for each pays.
const FEWEST_ROWS: u64 = 16;
const FEWEST_COLUMNS: u64 = 16;

/// Most threads of a block.
const MOST_THREADS: u64 = 256;

/// A group of nodes.
pub struct Rows {
    /// The nodes in order.
    pub members: Vec<usize>,
    /// Those whose value others need.
    pub stored: Vec<usize>,
    rows: u64,
}

/// How many leading dimensions count the rows; `None` where none do.
fn leading(shape: &[Dim], rows: u64) -> Option<usize> {
    let mut product = 1;
    for (d, dim) in shape.iter().enumerate() {
        if product == rows {
            return Some(d);
        }
        product *= dim.0;
    }
    (product == rows).then_some(shape.len())
}

/// The groups of a program, when `ways` says how folds are computed whose threads work together.
pub fn groups(
    program: &Program,
    fusion: &Fusion,
    ways: &[Option<Together>],
    wanted: impl Fn(usize) -> bool,
    machine: Machine,
) -> Vec<Rows> {
    let finder = Finder::new(program, fusion, ways, machine);
    let mut taken = vec![false; program.nodes.len()];
    let mut groups = Vec::new();
    for n in 0..program.nodes.len() {
        let shape = program.nodes[n].shape();
        let len = program.nodes[n].len();
        let without_last = len / shape.last().map_or(1, |dim| dim.0);
        let (rows, best) = [len, without_last]
            .into_iter()
            .map(|rows| (rows, finder.from(n, rows, &taken)))
            .max_by_key(|(_, members)| members.len())
            .expect("there are two ways");
        let folds = |n: &usize| matches!(program.nodes[*n], Node::Fold(_));
        if best.len() < 2 || !best.iter().any(folds) {
            continue;
        }
        best.iter().for_each(|n| taken[*n] = true);
        let needed = |n: &usize| {
            wanted(*n)
                || finder.readers[*n]
                    .iter()
                    .any(|reader| !best.contains(&finder.owner(*reader)))
        };
        groups.push(Rows {
            stored: best.iter().copied().filter(needed).collect(),
            members: best,
            rows,
        });
    }
    groups
}

struct Finder<'a> {
    program: &'a Program,
    fusion: &'a Fusion,
    ways: &'a [Option<Together<'a>>],
    machine: Machine,
    /// The nodes that are computed and read each node.
    readers: Vec<Vec<usize>>,
}

impl<'a> Finder<'a> {
    fn new(
        program: &'a Program,
        fusion: &'a Fusion,
        ways: &'a [Option<Together<'a>>],
        machine: Machine,
    ) -> Finder<'a> {
        let mut readers = vec![Vec::new(); program.nodes.len()];
        for (n, node) in program.nodes.iter().enumerate() {
            if fusion.roles[n] != Role::Unused {
                for access in node.accesses() {
                    readers[access.node as usize].push(n);
                }
            }
        }
        Finder {
            program,
            fusion,
            ways,
            machine,
            readers,
        }
    }

    /// The node in whose kernel `n` is computed.
    fn owner(&self, n: usize) -> usize {
        match (self.fusion.roles[n], self.readers[n].as_slice()) {
            (Role::Inlined, [reader]) => self.owner(*reader),
            _ => n,
        }
    }

    /// The group that begins with node `n`, by so many rows.
    fn from(&self, first: usize, rows: u64, taken: &[bool]) -> Vec<usize> {
        let mut members = Vec::new();
        if rows < FEWEST_ROWS.max(self.machine.multiprocessors / 2) || rows >= 1 << 31 {
            return members;
        }
        let mut words = MOST_THREADS;
        let (mut reads, mut operations) = (0, 0);
        // The last kernel that reads a member.
        let mut last = first;
        for (n, taken) in taken.iter().enumerate().skip(first) {
            if n > last {
                break;
            }
            let idle = self.fusion.roles[n] == Role::Unused || self.owner(n) != n;
            if n > first && (idle || !self.reaches(n, &members)) {
                continue;
            }
            let node = &self.program.nodes[n];
            let columns = node.len() / rows;
            words += columns;
            reads += node.accesses().count();
            operations += fusion::size(node);
            let fits = words <= MOST_WORDS
                && reads <= fusion::MOST_READS
                && operations <= fusion::MOST_OPERATIONS;
            if *taken || !fits || !self.joins(n, rows, &members) {
                break;
            }
            members.push(n);
            let owners = self.readers[n].iter().map(|reader| self.owner(*reader));
            last = last.max(owners.max().unwrap_or(0));
        }
        let longest = members.iter().map(|n| self.program.nodes[*n].len() / rows);
        if longest.max().unwrap_or(0) < FEWEST_COLUMNS {
            members.clear();
        }
        members
    }

    /// Whether the kernel of `n` reads a member.
    fn reaches(&self, n: usize, members: &[usize]) -> bool {
        self.program.nodes[n].accesses().any(|access| {
            let read = access.node as usize;
            let inlined = self.fusion.roles[read] == Role::Inlined;
            members.contains(&read) || (inlined && self.reaches(read, members))
        })
    }

    /// Whether node `n` may come after the members.
    fn joins(&self, n: usize, rows: u64, members: &[usize]) -> bool {
        let node = &self.program.nodes[n];
        let own_kernel = self.fusion.roles[n] == Role::Stored
            && !matches!(node, Node::Source(_))
            && self.fusion.hosted[n].is_none()
            && match &self.ways[n] {
                None => true,
                Some(Together::Join(_)) => node.len() == rows,
                Some(Together::Scatter(_)) => false,
            };
        // The kernel runs where its last member stands: nobody else may need a member before.
        let in_time = members.iter().all(|member| {
            self.readers[*member].iter().all(|reader| {
                let owner = self.owner(*reader);
                owner >= n || members.contains(&owner)
            })
        });
        own_kernel && in_time && self.by_row(n, rows, members)
    }

    /// Whether a row of node `n` is computed from the same row of the members, and from memory in
    /// the order in which it lies.
    fn by_row(&self, n: usize, rows: u64, members: &[usize]) -> bool {
        let node = &self.program.nodes[n];
        let Some(own) = leading(&node.shape(), rows) else {
            return false;
        };
        let (scope, _) = scope(node);
        node.accesses().all(|access| {
            let read = access.node as usize;
            let inlined = self.fusion.roles[read] == Role::Inlined;
            if !members.contains(&read) && !inlined {
                return beside(node, own, access);
            }
            let theirs = &self.program.nodes[read];
            leading(&theirs.shape(), rows).is_some()
                && same_row(node, own, &scope, access, theirs.len() / rows)
                && (!inlined || self.by_row(read, rows, members))
        })
    }
}

/// Whether row `row` of a node, its first `own` dimensions, reads row `row` of `columns` elements.
fn same_row(node: &Node, own: usize, scope: &Scope, access: &Access, columns: u64) -> bool {
    let mut within = Place::new(access).offset;
    let mut rows = Linear::default();
    rows.add_row_major(&node.shape()[..own], 0, columns as i64);
    for d in (0..own).filter(|d| scope.varies(*d)) {
        if within.coefs[d] != rows.coefs[d] {
            return false;
        }
        within.coefs[d] = 0;
    }
    let by_word = (var::INDEX as usize..var::END as usize).any(|v| within.coefs[v] != 0);
    let (low, high) = scope.span(&within);
    !by_word && 0 <= low && high < columns as i128
}

/// Whether what a row reads from memory lies closer together than what neighbouring rows read.
fn beside(node: &Node, own: usize, access: &Access) -> bool {
    let offset = Place::new(access).offset;
    let stride = |v: usize| offset.coefs[v].unsigned_abs();
    let wide = |dims: &[Dim], d: usize| dims[d].0 > 1;
    let shape = node.shape();
    let row = (0..own).rev().find(|d| wide(&shape, *d)).map_or(0, stride);
    let columns = (own..shape.len()).filter(|d| wide(&shape, *d));
    let steps = match node {
        Node::Fold(fold) => (0..fold.red.len())
            .filter(|d| wide(&fold.red, *d))
            .map(|d| var::RED as usize + d)
            .collect(),
        _ => Vec::new(),
    };
    let within = columns.chain(steps).map(stride).filter(|s| *s > 0).min();
    row == 0 || within.is_none_or(|within| within <= row)
}

impl Rows {
    /// Blocks of the launch.
    pub fn blocks(&self) -> u32 {
        self.rows as u32
    }

    /// Threads of a block.
    pub fn threads(&self, program: &Program) -> u32 {
        let columns = |n: &usize| program.nodes[*n].len() / self.rows;
        let longest = self.members.iter().map(columns).max().unwrap_or(1);
        (longest / 4).next_power_of_two().clamp(32, MOST_THREADS) as u32
    }

    /// Where each member's row begins in shared memory, if another reads it, and the words of all.
    fn places(&self, program: &Program, kernel: &Kernel) -> (Vec<Option<u64>>, u64) {
        let mut words = self.threads(program) as u64;
        let place = |n: &usize| {
            kernel.reads_row(*n).then(|| {
                words += program.nodes[*n].len() / self.rows;
                words - program.nodes[*n].len() / self.rows
            })
        };
        (self.members.iter().map(place).collect(), words)
    }

    /// What the kernel computes and reads.
    pub fn kernel<'a>(
        &self,
        program: &'a Program,
        roles: &'a [Role],
        ways: &[Option<Together>],
    ) -> Kernel<'a> {
        let mut kernel = Kernel::by_row(program, roles, self.members.clone());
        for n in &self.members {
            match ways[*n] {
                Some(_) => kernel.collect_operands(*n),
                None => kernel.collect(*n),
            }
        }
        kernel
    }

    /// Bytes of shared memory.
    pub fn shared(&self, program: &Program, kernel: &Kernel) -> u32 {
        4 * self.places(program, kernel).1 as u32
    }

    /// The kernel, which stores `stored` in that order.
    pub fn text(&self, kernel: &Kernel, ways: &[Option<Together>], entry: &str) -> String {
        let program = kernel.program;
        let (places, _) = self.places(program, kernel);
        let threads = self.threads(program);
        let mut text = String::new();
        for ((k, n), place) in self.members.iter().enumerate().zip(&places) {
            let columns = program.nodes[*n].len() / self.rows;
            if let Some(place) = place {
                let _ = writeln!(
                    text,
                    "LOCKSTEP_INLINE u32 {entry}_row{k}(i64 at, u32 row, const u32* shared) {{ \
                     return shared[{place}u + (u32)(at - (i64)row * {columns})]; }}"
                );
            }
        }
        let values = kernel.write_functions(entry, &mut text);
        for (k, n) in self.members.iter().enumerate() {
            if let Some(Together::Join(join)) = &ways[*n] {
                join.functions(
                    kernel,
                    *n,
                    &format!("{entry}_join{k}"),
                    entry,
                    &values,
                    threads,
                    &mut text,
                );
            }
        }
        let outs: Vec<String> = (0..self.stored.len())
            .map(|k| format!("void* __restrict__ out{k}"))
            .collect();
        let _ = write!(
            text,
            "extern \"C\" __global__ void __launch_bounds__({threads}) {entry}({}{}) {{\n    \
                 LOCKSTEP_EXTERN_SHARED(shared);\n    \
                 const u32 row = blockIdx.x;\n",
            outs.join(", "),
            kernel.pointers("const void* __restrict__ "),
        );
        let pointers = kernel.pointers("");
        for ((k, n), place) in self.members.iter().enumerate().zip(&places) {
            let node = &program.nodes[*n];
            let (columns, kind) = (node.len() / self.rows, index_type(node.len()));
            let out = self.stored.iter().position(|stored| stored == n);
            let finish = |value: &str, nan, element: &str, column: &str| {
                let mut text = String::new();
                if let Some(place) = place {
                    let _ = write!(text, "shared[{place}u + {column}] = {value}; ");
                }
                if let Some(out) = out {
                    let word = Word::new(value, nan).exact();
                    let _ = write!(
                        text,
                        "{}(out{out}, {element}, {word});",
                        store_name(node.dtype())
                    );
                }
                text
            };
            if ways[*n].is_some() {
                let nan = accumulator(node.dtype());
                let _ = write!(
                    text,
                    "    shared[threadIdx.x] = {entry}_join{k}_part(row, threadIdx.x{pointers}, row, shared);\n    \
                     for (u32 half = {threads}u / 2; half > 0; half /= 2) {{\n        \
                         __syncthreads();\n        \
                         if (threadIdx.x < half)\n            \
                             shared[threadIdx.x] = {entry}_join{k}_join(shared[threadIdx.x], shared[threadIdx.x + half]);\n    \
                     }}\n    \
                     if (threadIdx.x == 0) {{ {} }}\n    \
                     __syncthreads();\n",
                    finish("shared[0]", nan, "row", "0u"),
                );
                continue;
            }
            let function = kernel.function_of(*n);
            let _ = write!(
                text,
                "    for (u32 c = threadIdx.x; c < {columns}u; c += {threads}u) {{\n        \
                     const {kind} i = ({kind})row * {columns}u + c;\n        \
                     const u32 value = {entry}_{function}(i{pointers}, row, shared);\n        \
                     {}\n    }}\n    __syncthreads();\n",
                finish("value", values[n], "i", "c"),
            );
        }
        text.push_str("}\n\n");
        text
    }
}

//! The functions of a kernel: what is computed in it besides its own node, and what it reads.

use super::body::{self, index_type, store_name, Nan, Operand, Word, Writer};
use super::fusion::Role;
use super::linear::Place;
use super::tile::{Contraction, Outer};
use super::BLOCK;
use lockstep_protocol::program::{self, Access, Dtype, Node, Program};
use std::collections::HashMap;
use std::fmt::Write;

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

/// What a kernel computes and reads.
pub struct Kernel<'a> {
    /// The program.
    pub program: &'a Program,
    roles: &'a [Role],
    /// A node whose element the functions are given as `given`, and what its bits stand for.
    given: Option<(usize, Nan)>,
    /// Nodes of which a block keeps a row that the functions are given as `row` and `shared`.
    rows: Vec<usize>,
    /// The nodes that are computed, each before what reads it.
    functions: Vec<usize>,
    /// The nodes that are read from memory.
    pub reads: Vec<usize>,
}

impl<'a> Kernel<'a> {
    /// A kernel of nothing yet.
    pub fn new(program: &'a Program, roles: &'a [Role]) -> Kernel<'a> {
        Kernel {
            program,
            roles,
            given: None,
            rows: Vec::new(),
            functions: Vec::new(),
            reads: Vec::new(),
        }
    }

    /// The functions of a kernel that reads `reads` besides and computes the node that is given.
    pub fn given(
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
            rows: Vec::new(),
            functions: Vec::new(),
            reads,
        }
    }

    /// A kernel of nothing yet, whose blocks keep rows of some nodes.
    pub fn by_row(program: &'a Program, roles: &'a [Role], rows: Vec<usize>) -> Kernel<'a> {
        Kernel {
            rows,
            ..Kernel::new(program, roles)
        }
    }

    /// Whether a node that is computed here reads the row that is kept of node `n`.
    pub fn reads_row(&self, n: usize) -> bool {
        let computed = self.functions.iter().chain(&self.rows);
        let reads = |of: &usize| {
            let mut accesses = self.program.nodes[*of].accesses();
            accesses.any(|access| access.node as usize == n)
        };
        self.rows.contains(&n) && computed.into_iter().any(reads)
    }

    /// The number of the function that computes node `n`.
    pub fn function_of(&self, n: usize) -> usize {
        let found = self.functions.iter().position(|f| *f == n);
        found.expect("the node is computed here")
    }

    /// Has node `n` computed here.
    pub fn collect(&mut self, n: usize) {
        self.collect_operands(n);
        self.functions.push(n);
    }

    /// Has what node `n` reads computed here or read.
    pub fn collect_operands(&mut self, n: usize) {
        for access in self.program.nodes[n].accesses() {
            let read = access.node as usize;
            if self.given.is_some_and(|(given, _)| given == read) || self.rows.contains(&read) {
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
    pub fn parameters(&self) -> String {
        let mut text = self.pointers("const void* __restrict__ ");
        if self.given.is_some() {
            text += ", u32 given";
        }
        if !self.rows.is_empty() {
            text += ", u32 row, const u32* shared";
        }
        text
    }

    /// The same as arguments, within a function.
    pub fn arguments(&self) -> String {
        let mut text = self.pointers("");
        if self.given.is_some() {
            text += ", given";
        }
        if !self.rows.is_empty() {
            text += ", row, shared";
        }
        text
    }

    /// The pointers, each with something before it.
    pub fn pointers(&self, before: &str) -> String {
        let mut text = String::new();
        for k in 0..self.reads.len() {
            let _ = write!(text, ", {before}v{k}");
        }
        text
    }

    /// Writes the functions, and gives what the bits of each node's value stand for.
    pub fn write_functions(&self, entry: &str, text: &mut String) -> HashMap<usize, Nan> {
        let mut values = HashMap::new();
        for (k, f) in self.functions.iter().enumerate() {
            let nan = self.function(*f, &format!("{entry}_{k}"), entry, &values, text);
            values.insert(*f, nan);
        }
        values
    }

    /// The statement that stores node `n` where `value` is what the functions are given.
    pub fn store(&self, n: usize, entry: &str, text: &mut String) -> String {
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
    pub fn outer(&self, n: usize, tile: &Contraction, entry: &str, text: &mut String) -> Outer {
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

    /// The kernel that stores node `n`, of which a thread computes `each` elements.
    pub fn text(&self, n: usize, entry: &str, each: u64) -> String {
        let mut text = String::new();
        let values = self.write_functions(entry, &mut text);
        let node = &self.program.nodes[n];
        let (len, kind) = (node.len(), index_type(node.len()));
        let last = self.functions.len() - 1;
        let value = Word::new(
            format!("{entry}_{last}(i{})", self.pointers("")),
            values[&n],
        );
        let store = format!("{}(out, i, {});", store_name(node.dtype()), value.exact());
        let parameters = self.pointers("const void* __restrict__ ");
        let part = each * BLOCK as u64;
        let _ = write!(
            text,
            "extern \"C\" __global__ void __launch_bounds__({BLOCK}) {entry}(void* __restrict__ out{parameters}) {{\n    \
                 const {kind} first = ({kind})blockIdx.x * {part}u + threadIdx.x;\n"
        );
        if let Some(element) = self.element_of_thread(n) {
            let _ = write!(
                text,
                "    if (first >= {len}u) return;\n    \
                     const {kind} i = {element};\n    {store}\n}}\n\n"
            );
            return text;
        }
        if each > 1 {
            // Without conditions, so that the loads of all elements are under way together.
            let _ = write!(
                text,
                "    if (({kind})blockIdx.x * {part}u + {part}u <= {len}u) {{\n\
                 #pragma unroll\n        \
                     for (u32 j = 0; j < {each}; ++j) {{\n            \
                         const {kind} i = first + j * {BLOCK}u;\n            \
                         {store}\n        }}\n        return;\n    }}\n"
            );
        }
        let _ = write!(
            text,
            "    for (u32 j = 0; j < {each}; ++j) {{\n        \
                 const {kind} i = first + j * {BLOCK}u;\n        \
                 if (i < {len}u) {store}\n    }}\n}}\n\n"
        );
        text
    }

    /// The element of thread `first` of a fold, where neighbouring elements are not the ones that
    /// read neighbouring numbers.
    fn element_of_thread(&self, n: usize) -> Option<String> {
        let Node::Fold(fold) = &self.program.nodes[n] else {
            return None;
        };
        let shape = &fold.body.shape;
        let wide = |d: &usize| shape[*d].0 > 1;
        let last = (0..shape.len()).rev().find(wide)?;
        // The largest of what is read decides.
        let access = fold.body.reads.iter().max_by_key(|access| access.len)?;
        let offset = Place::new(access).offset;
        let stride = |d: usize| match offset.coefs[d].unsigned_abs() {
            0 => u64::MAX,
            stride => stride,
        };
        let many = |d: &usize| shape[*d].0 >= 8;
        let inner = (0..shape.len())
            .filter(wide)
            .filter(many)
            .min_by_key(|d| stride(*d))?;
        if inner == last || stride(inner) >= stride(last) {
            return None;
        }
        let extent = shape[inner].0;
        let after: u64 = shape[inner + 1..].iter().map(|d| d.0).product();
        // Dimension `inner` varies from thread to thread, then those after it, then those before.
        Some(format!(
            "first / {extent}u / {after}u * {}u + first % {extent}u * {after}u + first / {extent}u % {after}u",
            extent * after
        ))
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

    /// Where an operand of a function comes from.
    pub fn operand(&self, access: &Access, entry: &str, values: &HashMap<usize, Nan>) -> Operand {
        let n = access.node as usize;
        if let Some((node, nan)) = self.given {
            if node == n {
                return Operand::Value("given".into(), nan);
            }
        }
        if let Some(k) = self.rows.iter().position(|row| *row == n) {
            let nan = values
                .get(&n)
                .copied()
                .unwrap_or_else(|| body::accumulator(access.dtype));
            return Operand::Inline(format!("{entry}_row{k}"), ", row, shared".into(), nan);
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

//! Folds over a list of which each row of the output takes the entries that name it: the gradient of
//! an embedding. A block looks the list up for one row, many entries at a time, and its threads add
//! what they find to the elements of the row, in the order of the list.

use super::body::{accumulator, scope, store_name, Word, Writer};
use super::kernel::Kernel;
use super::linear::{Linear, Place};
use super::BLOCK;
use lockstep_protocol::program::{var, Access, Dim, Fold};
use std::fmt::Write;

/// Fewest entries for which a block's work pays.
const FEWEST: u64 = 64;

/// Most elements of a row that a thread keeps.
const MOST: u64 = 8;

/// A fold of which rows take some steps.
pub struct Scatter<'a> {
    fold: &'a Fold,
    /// Output dimensions that the guards depend on, and the others.
    rows: Vec<usize>,
    columns: Vec<usize>,
}

impl<'a> Scatter<'a> {
    /// Recognises such a fold.
    pub fn recognise(fold: &'a Fold) -> Option<Scatter<'a>> {
        let body = &fold.body;
        let index = var::INDEX as usize..var::END as usize;
        let outputs = 0..body.shape.len();
        let of_list = |access: &Access| {
            let place = Place::new(access);
            let sums = place.bounds.iter().map(|(sum, _)| sum);
            let mut sums = sums.chain(std::iter::once(&place.offset));
            sums.all(|sum| outputs.clone().all(|d| sum.coefs[d] == 0))
        };
        let forms: Vec<Linear> = fold.when.iter().map(|g| Linear::from(&g.form)).collect();
        let named = forms
            .iter()
            .any(|form| index.clone().any(|v| form.coefs[v] != 0));
        let (rows, columns): (Vec<usize>, Vec<usize>) = outputs
            .clone()
            .filter(|d| body.shape[*d].0 > 1)
            .partition(|d| forms.iter().any(|form| form.coefs[*d] != 0));
        let steps: u64 = fold.red.iter().map(|d| d.0).product();
        let scatter = Scatter {
            fold,
            rows,
            columns,
        };
        let counted = scatter.extent(&scatter.rows).max(steps) < 1 << 30
            && scatter.extent(&scatter.columns) < 1 << 30;
        let fits = named && body.index.iter().all(of_list) && !scatter.rows.is_empty();
        (fits && counted && steps >= FEWEST).then_some(scatter)
    }

    fn extent(&self, dims: &[usize]) -> u64 {
        dims.iter().map(|d| self.fold.body.shape[*d].0).product()
    }

    /// Elements of a row that a thread keeps.
    fn each(&self) -> u64 {
        let threads = BLOCK as u64;
        self.extent(&self.columns).div_ceil(threads).clamp(1, MOST)
    }

    /// Blocks for each row.
    fn parts(&self) -> u64 {
        let part = self.each() * BLOCK as u64;
        self.extent(&self.columns).div_ceil(part)
    }

    /// Blocks of the launch.
    pub fn blocks(&self) -> u64 {
        self.extent(&self.rows) * self.parts()
    }

    /// Declares the coordinates of some output dimensions.
    fn coordinates(&self, dims: &[usize], index: &str) -> String {
        let shape = &self.fold.body.shape;
        let mut text = format!("    u32 rest_{index} = {index};\n");
        for d in dims.iter().rev() {
            let extent = shape[*d].0;
            let _ = writeln!(
                text,
                "    const u32 o{d} = rest_{index} % {extent}u; rest_{index} /= {extent}u;"
            );
        }
        text
    }

    /// The kernel of node `n`, whose operands `kernel` has.
    pub fn text(&self, kernel: &Kernel, n: usize, entry: &str) -> String {
        let mut text = String::new();
        let values = kernel.write_functions(entry, &mut text);
        let node = &kernel.program.nodes[n];
        let operand = |access: &Access| kernel.operand(access, entry, &values);
        let (scope, body) = scope(node);
        let ones: String = (0..body.shape.len())
            .filter(|d| body.shape[*d].0 == 1)
            .map(|d| format!("    const u32 o{d} = 0;\n"))
            .collect();
        let row = ones.clone() + &self.coordinates(&self.rows, "row");
        let element = row.clone() + &self.coordinates(&self.columns, "column");
        let writer = || Writer::new(scope.clone(), &operand);

        let mut passes = writer();
        passes.reduction_coordinates(&self.fold.red, "k");
        let condition = passes.passes(self.fold);
        let mut start = writer();
        let first = start.start(self.fold);
        let mut step = writer();
        step.reduction_coordinates(&self.fold.red, "k");
        let next = step.fold_step(self.fold);
        let mut place = Linear::default();
        place.add_row_major(&body.shape, 0, 1);
        let result = Word::new("acc[j]", accumulator(body.dtype));
        let parameters = kernel.pointers("const void* __restrict__ ");
        let pointers = kernel.pointers("");
        let steps: u64 = self.fold.red.iter().map(|d: &Dim| d.0).product();
        let (each, parts, columns) = (self.each(), self.parts(), self.extent(&self.columns));
        let _ = write!(
            text,
            "LOCKSTEP_INLINE bool {entry}_passes(u32 row, u32 k{parameters}) {{\n{row}{}    return {condition};\n}}\n\
             LOCKSTEP_INLINE u32 {entry}_start(u32 row, u32 column{parameters}) {{\n{element}{}    return {first};\n}}\n\
             LOCKSTEP_INLINE u32 {entry}_step(u32 row, u32 column, u32 k, u32 acc{parameters}) {{\n{element}{}    return {};\n}}\n\
             LOCKSTEP_INLINE i64 {entry}_place(u32 row, u32 column) {{\n{element}    return {};\n}}\n",
            passes.finish(),
            start.finish(),
            step.finish(),
            next.text,
            scope.expression(&place),
        );
        let _ = write!(
            text,
            "extern \"C\" __global__ void __launch_bounds__({BLOCK}) {entry}(void* __restrict__ out{parameters}) {{\n    \
                 __shared__ u32 found[{BLOCK}];\n    \
                 const u32 row = blockIdx.x / {parts}u, first = blockIdx.x % {parts}u * {part}u + threadIdx.x;\n    \
                 u32 acc[{each}];\n\
             #pragma unroll\n    \
                 for (u32 j = 0; j < {each}; ++j)\n        \
                     if (first + j * {BLOCK}u < {columns}u) acc[j] = {entry}_start(row, first + j * {BLOCK}u{pointers});\n    \
                 for (u32 from = 0; from < {steps}u; from += {BLOCK}u) {{\n        \
                     const u32 k = from + threadIdx.x;\n        \
                     found[threadIdx.x] = k < {steps}u && {entry}_passes(row, k{pointers});\n        \
                     if (!__syncthreads_or(found[threadIdx.x])) continue;\n        \
                     for (u32 t = 0; t < {BLOCK}u && from + t < {steps}u; ++t) {{\n            \
                         if (!found[t]) continue;\n\
             #pragma unroll\n            \
                         for (u32 j = 0; j < {each}; ++j)\n                \
                             if (first + j * {BLOCK}u < {columns}u)\n                    \
                                 acc[j] = {entry}_step(row, first + j * {BLOCK}u, from + t, acc[j]{pointers});\n        \
                     }}\n        \
                     __syncthreads();\n    \
                 }}\n\
             #pragma unroll\n    \
                 for (u32 j = 0; j < {each}; ++j)\n        \
                     if (first + j * {BLOCK}u < {columns}u) {}(out, {entry}_place(row, first + j * {BLOCK}u), {});\n}}\n\n",
            store_name(body.dtype),
            result.exact(),
            part = each * BLOCK as u64,
        );
        text
    }
}

//! Folds that come to the same in every order: maxima, minima, sums of integers. Where neighbouring
//! steps lie next to one another, or elements are few, the threads of a warp share the steps of an
//! element.

use super::body::{accumulator, index_type, scope, store_name, Nan, Word, Writer};
use super::kernel::Kernel;
use super::linear::Place;
use super::{Machine, BLOCK};
use lockstep_protocol::program::{var, Access, Dtype, Fold, Op};
use std::collections::HashMap;
use std::fmt::Write;

/// Threads that share an element.
const SHARING: u32 = 32;

/// Fewest steps for which sharing pays.
const FEWEST: u64 = 64;

/// An order-free fold that threads share.
pub struct Join<'a> {
    fold: &'a Fold,
    /// What joins `a` and `b`.
    join: &'static str,
    /// The accumulator that changes nothing, where the start may only be counted once.
    neutral: Option<&'static str>,
}

impl<'a> Join<'a> {
    /// Recognises such a fold, where sharing its steps pays.
    pub fn recognise(fold: &'a Fold, machine: Machine) -> Option<Join<'a>> {
        let body = &fold.body;
        let (last, before) = body.ops.split_last()?;
        let joins = last.operands().filter(|r| *r == 0).count() == 1;
        let elsewhere = before.iter().any(|op| op.operands().any(|r| r == 0));
        if !joins || elsewhere {
            return None;
        }
        let floats = body.dtype == Dtype::F32;
        let words = matches!(body.dtype, Dtype::I32 | Dtype::U32);
        let (join, neutral) = match last {
            Op::FMax(..) if floats => ("fmax_(a, b)", None),
            Op::FMin(..) if floats => ("fmin_(a, b)", None),
            Op::IMaxS(..) if words => ("imaxs(a, b)", None),
            Op::IMinS(..) if words => ("imins(a, b)", None),
            Op::IMaxU(..) if words => ("imaxu(a, b)", None),
            Op::IMinU(..) if words => ("iminu(a, b)", None),
            Op::And(..) if words => ("a & b", None),
            Op::Or(..) if words => ("a | b", None),
            Op::IAdd(..) if words => ("a + b", Some("0u")),
            Op::Xor(..) if words => ("a ^ b", Some("0u")),
            Op::IMul(..) if words => ("a * b", Some("1u")),
            _ => return None,
        };
        let steps: u64 = fold.red.iter().map(|d| d.0).product();
        let few = fold.body.shape.iter().map(|d| d.0).product::<u64>()
            < machine.multiprocessors.saturating_mul(2 * BLOCK as u64);
        let pays = steps >= FEWEST && (few || body.reads.iter().any(|read| beside(fold, read)));
        pays.then_some(Join {
            fold,
            join,
            neutral,
        })
    }

    /// Blocks of the launch.
    pub fn blocks(&self) -> u64 {
        let len: u64 = self.fold.body.shape.iter().map(|d| d.0).product();
        len.div_ceil((BLOCK / SHARING) as u64)
    }

    /// Writes the functions of node `n`, whose operands `kernel` has: `part` gives what every
    /// `stride`-th step from the one of number `lane` on comes to, `join` joins two such.
    #[allow(clippy::too_many_arguments)]
    pub fn functions(
        &self,
        kernel: &Kernel,
        n: usize,
        name: &str,
        entry: &str,
        values: &HashMap<usize, Nan>,
        stride: u32,
        text: &mut String,
    ) {
        let node = &kernel.program.nodes[n];
        let operand = |access: &Access| kernel.operand(access, entry, values);
        let (scope, body) = scope(node);
        let mut writer = Writer::new(scope, &operand);
        writer.coordinates(&body.shape, "i");
        let start = writer.start(self.fold);
        let start = match self.neutral {
            Some(neutral) => format!("lane == 0 ? {start} : {neutral}"),
            None => start,
        };
        let word = writer.fold_from(self.fold, &start, "lane", stride);
        let _ = write!(
            text,
            "LOCKSTEP_INLINE u32 {name}_part({} i, u32 lane{}) {{\n{}    return {};\n}}\n\
             LOCKSTEP_INLINE u32 {name}_join(u32 a, u32 b) {{ return {}; }}\n",
            index_type(node.len()),
            kernel.parameters(),
            writer.finish(),
            word.text,
            self.join,
        );
    }

    /// The kernel of node `n`, whose operands `kernel` has.
    pub fn text(&self, kernel: &Kernel, n: usize, entry: &str) -> String {
        let mut text = String::new();
        let values = kernel.write_functions(entry, &mut text);
        self.functions(kernel, n, entry, entry, &values, SHARING, &mut text);
        let node = &kernel.program.nodes[n];
        let (len, kind) = (node.len(), index_type(node.len()));
        let result = Word::new("parts[threadIdx.x]", accumulator(node.dtype()));
        let _ = write!(
            text,
            "extern \"C\" __global__ void __launch_bounds__({BLOCK}) {entry}(void* __restrict__ out{}) {{\n    \
                 __shared__ u32 parts[{BLOCK}];\n    \
                 const {kind} i = ({kind})blockIdx.x * {}u + threadIdx.x / {SHARING}u;\n    \
                 const u32 lane = threadIdx.x % {SHARING}u;\n    \
                 parts[threadIdx.x] = i < {len}u ? {entry}_part(i, lane{}) : 0u;\n    \
                 for (u32 half = {SHARING}u / 2; half > 0; half /= 2) {{\n        \
                     __syncthreads();\n        \
                     if (lane < half) parts[threadIdx.x] = {entry}_join(parts[threadIdx.x], parts[threadIdx.x + half]);\n    \
                 }}\n    \
                 if (i < {len}u && lane == 0) {}(out, i, {});\n}}\n\n",
            kernel.parameters(),
            BLOCK / SHARING,
            kernel.arguments(),
            store_name(node.dtype()),
            result.exact(),
        );
        text
    }
}

/// Whether neighbouring steps read elements that lie closer together than those of neighbouring
/// elements of the output do.
fn beside(fold: &Fold, access: &Access) -> bool {
    let offset = Place::new(access).offset;
    let stride = |dims: &[lockstep_protocol::program::Dim], base: u8| {
        let inner = (0..dims.len()).rev().find(|d| dims[*d].0 > 1)?;
        Some(offset.coefs[base as usize + inner].unsigned_abs())
    };
    let along_steps = stride(&fold.red, var::RED).unwrap_or(u64::MAX);
    let along_elements = stride(&fold.body.shape, 0).unwrap_or(u64::MAX);
    0 < along_steps && along_steps < along_elements
}

//! What `tile.cuh` asks of a contraction.

use super::super::body::{Nan, Operand, Writer};
use super::super::linear::{name, Linear};
use super::{Contraction, Kind, THREADS};
use lockstep_protocol::program::{var, Access, Dim, Dtype, Fold};
use std::fmt::Write;

/// What becomes of the sums, as text that was written for the nodes that read them.
pub struct After {
    /// Functions that the rest calls.
    pub functions: String,
    /// The fold over the batches, the functions' text for its start and for its step.
    pub outer: Option<Outer>,
    /// The statement that stores `value` for element `i`.
    pub store: String,
}

/// See [`After::outer`].
pub struct Outer {
    /// The body of the function of rows `m` and columns `n` that gives the start.
    pub start: String,
    /// The body of the function of `batch`, `m`, `n`, the sum `tile` and the accumulator `acc`.
    pub step: String,
}

impl Contraction<'_> {
    /// What the bits of a sum stand for where they are a NaN.
    pub fn nan(&self) -> Nan {
        match self.kind {
            Kind::Float => Nan::Any,
            Kind::Integer | Kind::Quad => Nan::Exact,
        }
    }

    /// The kernel, which takes `reads` nodes; `v` gives the number of a node among them.
    pub fn text(
        &self,
        entry: &str,
        reads: usize,
        v: impl Fn(u32) -> usize,
        after: &After,
    ) -> String {
        let outer = match after.outer {
            Some(_) => self.sizes()[2],
            None => 0,
        };
        let pointers: String = (0..reads).map(|k| format!("const void* v{k}; ")).collect();
        let mut text = format!(
            "{}struct {entry}_t {{\n    \
                 static constexpr u32 steps = {}u, outer = {outer}u;\n    \
                 static constexpr bool whole = {};\n    \
                 struct Reads {{ {pointers}}};\n",
            after.functions,
            self.steps().div_ceil(self.kind.together()),
            self.steps().is_multiple_of(self.kind.together()),
        );
        for (k, operand) in ["A", "B"].into_iter().enumerate() {
            self.operand(k, operand, &mut text);
        }
        let pointer =
            |node: Option<u32>| node.map_or("nullptr".into(), |n| format!("reads.v{}", v(n)));
        let [start, a, b] = self.reads().map(pointer);
        let _ = write!(
            text,
            "    static __device__ __forceinline__ const void* a(const Reads& reads) {{ return {a}; }}\n    \
                 static __device__ __forceinline__ const void* b(const Reads& reads) {{ return {b}; }}\n"
        );
        self.guard(0, "RowGuard", "row", &mut text);
        self.guard(1, "ColumnGuard", "column", &mut text);
        self.step_guard(&mut text);
        self.output(&start, &mut text);
        let step = match self.kind {
            Kind::Float => "ffma(x, y, acc)",
            Kind::Integer => "acc + x * y",
            Kind::Quad => "(u32)__dp4a((int)x, (int)y, (int)acc)",
        };
        let (outer_start, outer_step) = match &after.outer {
            Some(outer) => (outer.start.as_str(), outer.step.as_str()),
            None => ("    return 0;\n", "    return 0;\n"),
        };
        let _ = write!(
            text,
            "    static __device__ __forceinline__ u32 multiply_add(u32 x, u32 y, u32 acc) {{ return {step}; }}\n    \
                 static __device__ __forceinline__ u32 outer_start(const Reads& reads, u32 m, u32 n) {{\n{outer_start}    }}\n    \
                 static __device__ __forceinline__ u32 outer_step(const Reads& reads, u32 batch, u32 m, u32 n, u32 tile, u32 acc) {{\n{outer_step}    }}\n    \
                 static __device__ __forceinline__ void store(void* out, const Reads& reads, i64 i, u32 value) {{ {} }}\n}};\n",
            after.store
        );
        let parameters: String = (0..reads)
            .map(|k| format!(", const void* __restrict__ v{k}"))
            .collect();
        let arguments: Vec<String> = (0..reads).map(|k| format!("v{k}")).collect();
        let shape = self.shape(after.outer.is_some());
        let (_, shared) = self.blocks(after.outer.is_some());
        let _ = write!(
            text,
            "extern \"C\" __global__ void __launch_bounds__({THREADS}, {}) {entry}(void* __restrict__ out{parameters}) {{\n    \
                 LOCKSTEP_EXTERN_SHARED(shared);\n    \
                 typedef {} X;\n    \
                 static_assert((X::PA::WORDS + X::PB::WORDS) * 4 * {} == {shared}, \"shared memory\");\n    \
                 tile<{entry}_t, X, {}>(shared, out, {{{}}});\n}}\n\n",
            shape.resident,
            shape.name(&format!("{entry}_t")),
            shape.stages,
            shape.stages,
            arguments.join(", "),
        );
        text
    }

    /// Declares the coordinates of some dimensions, the innermost last, from a row-major index.
    fn coordinates(dims: &[usize], base: u8, extents: &[Dim], index: &str) -> String {
        let mut text = String::new();
        let Some((first, others)) = dims.split_first() else {
            return text;
        };
        let _ = write!(text, "u32 rest_{index} = {index}; ");
        for d in others.iter().rev() {
            let (v, extent) = (name(base as usize + d), extents[*d].0);
            let _ = write!(
                text,
                "const u32 {v} = rest_{index} % {extent}u; rest_{index} /= {extent}u; "
            );
        }
        let v = name(base as usize + first);
        let _ = write!(text, "const u32 {v} = rest_{index}; ");
        text
    }

    pub(super) fn lane_coordinates(&self, lanes: usize) -> String {
        let shape = &self.fold.body.shape;
        let batch = Self::coordinates(&self.dims[2], 0, shape, "batch");
        batch + &Self::coordinates(&self.dims[lanes], 0, shape, "i")
    }

    pub(super) fn step_coordinates(&self) -> String {
        let dims: Vec<usize> = (0..self.fold.red.len()).collect();
        Self::coordinates(&dims, var::RED, &self.fold.red, "k")
    }

    /// Declares the coordinates of the fold over the batches, from `m`, `n` and, for a step,
    /// `batch`.
    pub fn outer_coordinates(&self, outer: &Fold, step: bool) -> String {
        let shape = &outer.body.shape;
        let mut wide = (0..shape.len()).filter(|d| shape[*d].0 > 1);
        let mut others = [&self.dims[0][..], &self.dims[1]].concat();
        others.sort_unstable();
        let of: Vec<(usize, usize)> = others
            .into_iter()
            .map(|d| (d, wide.next().expect("the output has the same extents")))
            .collect();
        let mapped = |dims: &[usize]| -> Vec<usize> {
            let theirs = |d: &usize| of.iter().find(|(own, _)| own == d).map(|(_, outer)| *outer);
            dims.iter().filter_map(theirs).collect()
        };
        let mut text: String = (0..shape.len())
            .filter(|d| shape[*d].0 == 1)
            .map(|d| format!("const u32 o{d} = 0; "))
            .collect();
        text += &Self::coordinates(&mapped(&self.dims[0]), 0, shape, "m");
        text += &Self::coordinates(&mapped(&self.dims[1]), 0, shape, "n");
        if step {
            let dims: Vec<usize> = (0..outer.red.len()).collect();
            text += &Self::coordinates(&dims, var::RED, &outer.red, "batch");
        }
        format!("        {text}\n")
    }

    /// The guards of the rows or columns: what a lane adds to each guarded form.
    fn guard(&self, k: usize, title: &str, function: &str, text: &mut String) {
        // Those of 8-bit products are among the operands' bounds.
        let guards: &[usize] = match self.kind {
            Kind::Quad => &[],
            Kind::Float | Kind::Integer => &self.guards[k],
        };
        let form = |g: &usize| Linear::from(&self.fold.when[*g].form);
        let members: String = guards.iter().map(|g| format!("i64 g{g}; ")).collect();
        let part = |g: &usize| {
            format!(
                "(i64){}",
                self.scope.expression(&self.split(&form(g), false))
            )
        };
        let parts: Vec<String> = guards.iter().map(part).collect();
        let condition = |g: &usize| {
            let guard = &self.fold.when[*g];
            let sum = format!("(lane.g{g} + at.g{g})");
            let bound = |bound: i64| bound.max(-i64::MAX);
            let (lo, hi) = (bound(guard.lo.0), bound(guard.hi.0));
            format!("{lo}ll <= {sum} && {sum} < {hi}ll")
        };
        let conditions: Vec<String> = guards.iter().map(condition).collect();
        let passes = match conditions.is_empty() {
            true => "true".into(),
            false => conditions.join(" && "),
        };
        let _ = write!(
            text,
            "    struct {title} {{ {members}}};\n    \
             static __device__ __forceinline__ {title} {function}_guard(u32 batch, u32 i) {{ {at}return {{{}}}; }}\n    \
             template <class S>\n    \
             static __device__ __forceinline__ bool {function}_passes({title} lane, S at) {{ return {passes}; }}\n",
            parts.join(", "),
            at = self.lane_coordinates(k),
        );
    }

    /// What a step adds to every guarded form.
    fn step_guard(&self, text: &mut String) {
        let guards = match self.kind {
            Kind::Quad => &[],
            Kind::Float | Kind::Integer => &self.fold.when[..],
        };
        let forms: Vec<Linear> = guards.iter().map(|g| Linear::from(&g.form)).collect();
        let members: String = (0..forms.len()).map(|g| format!("i64 g{g}; ")).collect();
        let part =
            |form: &Linear| format!("(i64){}", self.scope.expression(&self.split(form, true)));
        let parts: Vec<String> = forms.iter().map(part).collect();
        let _ = write!(
            text,
            "    struct StepGuard {{ {members}}};\n    \
             static __device__ __forceinline__ StepGuard step_guard(u32 k) {{ {}return {{{}}}; }}\n",
            self.step_coordinates(),
            parts.join(", "),
        );
    }

    /// Where an element of the output lies, and where it starts; `start` is the pointer to what it
    /// starts from.
    fn output(&self, start: &str, text: &mut String) {
        let shape = &self.fold.body.shape;
        let coordinates = Self::coordinates(&self.dims[2], 0, shape, "batch")
            + &Self::coordinates(&self.dims[0], 0, shape, "m")
            + &Self::coordinates(&self.dims[1], 0, shape, "n");
        let mut whole = Linear::default();
        whole.add_row_major(shape, 0, 1);
        // Dimensions of one element have no coordinate to read.
        let ones: String = (0..shape.len())
            .filter(|d| shape[*d].0 == 1)
            .map(|d| format!("const u32 o{d} = 0; "))
            .collect();
        let operand = |access: &Access| {
            let nan = match access.dtype {
                Dtype::F32 => Nan::Any,
                _ => Nan::Exact,
            };
            Operand::Memory(start.into(), nan)
        };
        let mut writer = Writer::new(self.scope.clone(), &operand);
        let value = writer.start(self.fold);
        let _ = write!(
            text,
            "    static __device__ __forceinline__ i64 place(u32 batch, u32 m, u32 n) {{ {coordinates}return {}; }}\n    \
             static __device__ __forceinline__ u32 start(const Reads& reads, u32 batch, u32 m, u32 n) {{\n    {ones}{coordinates}\n{}    return {value};\n    }}\n",
            self.scope.expression(&whole),
            writer.finish(),
        );
    }
}

//! Folds that are sums of products, as tiles: matrix multiplication in every transpose, batched or
//! not, convolution, and the gradients of all of them.
//!
//! An output dimension that only one operand follows is a row or a column, one that both follow is
//! a batch, and the reduction is the steps. What is written here is what `tile.cuh` asks of a
//! contraction.

use super::body::{load_name, Nan, Operand, Writer};
use super::linear::{name, Linear, Place, Scope};
use lockstep_protocol::program::{var, Access, Dim, Dtype, Fold, Init, Op};
use std::fmt::Write;

/// The text that tiles are instantiated from.
pub const TEMPLATE: &str = include_str!("../tile.cuh");

/// Threads of a block.
pub const THREADS: u32 = 256;

/// Fewest rows and columns for which tiles pay.
const FEWEST: u64 = 8;

/// A fold that tiles compute.
pub struct Contraction<'a> {
    fold: &'a Fold,
    scope: Scope,
    kind: Kind,
    /// Which reads the rows and the columns follow.
    operands: [&'a Access; 2],
    /// Output dimensions of the rows, the columns and the batches.
    dims: [Vec<usize>; 3],
    /// Which guards depend on rows and which on columns; those of neither count to the rows.
    guards: [Vec<usize>; 2],
    /// Blocks that keep the device busy.
    multiprocessors: u64,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `fma(a, b, acc)` of f32.
    Float,
    /// `acc + a * b` of 32-bit integers, which wrap.
    Integer,
    /// The same, of operands that are 8-bit: four steps in one instruction. A step past the last adds
    /// zero, which changes no integer.
    Quad,
}

impl Kind {
    fn of(fold: &Fold, x: &Access, y: &Access) -> Option<Kind> {
        let body = &fold.body;
        // More registers would stand between the reads and the result.
        let bare = body.index.is_empty() && body.values.is_empty() && body.consts.is_empty();
        if !bare {
            return None;
        }
        let eight = |access: &Access| {
            let fill = access.fill as i32;
            access.dtype == Dtype::I8 && i32::from(fill as i8) == fill
        };
        match body.ops.as_slice() {
            [Op::FFma(1, 2, 0) | Op::FFma(2, 1, 0)] => {
                let floats = [body.dtype, x.dtype, y.dtype] == [Dtype::F32; 3];
                floats.then_some(Kind::Float)
            }
            [Op::IMul(1, 2) | Op::IMul(2, 1), Op::IAdd(0, 3) | Op::IAdd(3, 0)] => {
                let words = matches!(body.dtype, Dtype::I32 | Dtype::U32);
                let integers = x.dtype != Dtype::F32 && y.dtype != Dtype::F32;
                let quads = eight(x) && eight(y) && fold.when.is_empty();
                (words && integers).then_some(if quads { Kind::Quad } else { Kind::Integer })
            }
            _ => None,
        }
    }

    /// Steps of the program in one of the tile.
    fn together(self) -> u64 {
        match self {
            Kind::Quad => 4,
            Kind::Float | Kind::Integer => 1,
        }
    }

    /// What a step makes of two operands and the accumulator, and what the last one is stored as.
    fn functions(self) -> [&'static str; 2] {
        match self {
            Kind::Float => ["ffma(x, y, acc)", "canon(acc)"],
            Kind::Integer => ["acc + x * y", "acc"],
            Kind::Quad => ["(u32)__dp4a((int)x, (int)y, (int)acc)", "acc"],
        }
    }
}

/// The accumulators of a thread, down and across, and the steps of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    down: u64,
    across: u64,
    steps: u64,
    /// Blocks that a multiprocessor is to hold at a time, which bounds a thread's registers.
    resident: u64,
}

/// From the one with the most work for each operand that is loaded to the one with the least waste.
const SHAPES: [Shape; 4] = [
    Shape {
        down: 8,
        across: 8,
        steps: 16,
        resident: 2,
    },
    Shape {
        down: 4,
        across: 4,
        steps: 16,
        resident: 4,
    },
    Shape {
        down: 2,
        across: 4,
        steps: 32,
        resident: 3,
    },
    Shape {
        down: 2,
        across: 2,
        steps: 32,
        resident: 4,
    },
];

impl<'a> Contraction<'a> {
    /// Recognises a contraction, for a device of so many multiprocessors.
    pub fn recognise(fold: &'a Fold, multiprocessors: u64) -> Option<Contraction<'a>> {
        let body = &fold.body;
        let [x, y] = body.reads.as_slice() else {
            return None;
        };
        let kind = Kind::of(fold, x, y)?;
        let follows = |access: &Access, d: usize| {
            let place = Place::new(access);
            place.offset.coefs[d] != 0
                || place
                    .bounds
                    .iter()
                    .any(|(position, _)| position.coefs[d] != 0)
        };
        let wide = |d: &usize| body.shape[*d].0 > 1;
        let all: Vec<usize> = (0..body.shape.len()).filter(wide).collect();
        let alone = |d: &usize| follows(x, *d) != follows(y, *d);
        // The columns are the dimensions that the operand of the innermost one follows.
        let innermost = *all.iter().rev().find(|d| alone(d))?;
        let operands = match follows(x, innermost) {
            true => [y, x],
            false => [x, y],
        };
        let of = |wanted: &[[bool; 2]]| -> Vec<usize> {
            let kind = |d: usize| operands.map(|access| follows(access, d));
            all.iter()
                .copied()
                .filter(|d| wanted.contains(&kind(*d)))
                .collect()
        };
        // What neither follows repeats the same sums, in columns as well as anywhere.
        let dims = [
            of(&[[true, false]]),
            of(&[[false, true], [false, false]]),
            of(&[[true, true]]),
        ];
        let mut guards = [Vec::new(), Vec::new()];
        for (g, guard) in fold.when.iter().enumerate() {
            let form = Linear::from(&guard.form);
            let on = |dims: &[usize]| dims.iter().any(|d| form.coefs[*d] != 0);
            match (on(&dims[0]), on(&dims[1])) {
                (true, true) => return None,
                (_, false) => guards[0].push(g),
                (false, true) => guards[1].push(g),
            }
        }
        let contraction = Contraction {
            scope: Scope::new(&body.shape, &fold.red, &[]),
            fold,
            kind,
            operands,
            dims,
            guards,
            multiprocessors,
        };
        let [rows, columns, batches] = contraction.sizes();
        let worthwhile = rows.min(columns) >= FEWEST;
        // Lanes, steps and blocks are counted in 32 bits, with room for a tile past the end.
        let most = rows.max(columns).max(contraction.steps());
        let blocks = contraction.tiles(contraction.shape());
        let countable = most.max(batches).max(blocks) < 1 << 30;
        (worthwhile && countable).then_some(contraction)
    }

    /// The nodes that the kernel takes pointers to: initial value if it is read, rows, columns.
    pub fn reads(&self) -> [Option<u32>; 3] {
        let start = match &self.fold.init {
            Init::Read(access) => Some(access.node),
            Init::Word(_) => None,
        };
        [
            start,
            Some(self.operands[0].node),
            Some(self.operands[1].node),
        ]
    }

    /// Blocks of the launch.
    pub fn blocks(&self) -> u32 {
        self.tiles(self.shape()) as u32
    }

    fn sizes(&self) -> [u64; 3] {
        let extent = |d: &usize| self.fold.body.shape[*d].0;
        [0, 1, 2].map(|k: usize| self.dims[k].iter().map(extent).product())
    }

    fn steps(&self) -> u64 {
        self.fold.red.iter().map(|d| d.0).product()
    }

    fn tiles(&self, shape: Shape) -> u64 {
        let [rows, columns, batches] = self.sizes();
        let (down, across) = (16 * shape.down, 16 * shape.across);
        rows.div_ceil(down)
            .saturating_mul(columns.div_ceil(across))
            .saturating_mul(batches)
    }

    /// The largest shape that fills the device, else the smallest that covers the rows and columns.
    fn shape(&self) -> Shape {
        let [rows, columns, _] = self.sizes();
        let fits = |shape: &Shape| {
            let filled = rows * 2 > 16 * shape.down && columns * 2 > 16 * shape.across;
            filled && self.tiles(*shape) >= self.multiprocessors
        };
        let last = SHAPES[SHAPES.len() - 1];
        SHAPES.into_iter().find(fits).unwrap_or(last)
    }

    /// The kernel, whose pointers are named `v0`, `v1`, ... for `reads` nodes; `v` gives the number
    /// of a node.
    pub fn text(&self, entry: &str, reads: usize, v: impl Fn(u32) -> usize) -> String {
        let mut text = format!(
            "struct {entry}_t {{\n    static constexpr u32 steps = {}u;\n",
            self.steps().div_ceil(self.kind.together())
        );
        for (k, operand) in ["A", "B"].into_iter().enumerate() {
            self.operand(k, operand, &mut text);
        }
        self.guard(0, "RowGuard", "row", &mut text);
        self.guard(1, "ColumnGuard", "column", &mut text);
        self.step_guard(&mut text);
        self.output(&mut text);
        let [step, result] = self.kind.functions();
        let _ = write!(
            text,
            "    static __device__ __forceinline__ u32 multiply_add(u32 x, u32 y, u32 acc) {{ return {step}; }}\n    \
                 static __device__ __forceinline__ u32 result(u32 acc) {{ return {result}; }}\n}};\n"
        );
        let pointer = |node: Option<u32>| node.map_or("nullptr".into(), |n| format!("v{}", v(n)));
        let [start, a, b] = self.reads().map(pointer);
        let mut parameters = String::from("void* __restrict__ out");
        for k in 0..reads {
            let _ = write!(parameters, ", const void* __restrict__ v{k}");
        }
        let Shape {
            down,
            across,
            steps,
            resident,
        } = self.shape();
        let _ = write!(
            text,
            "extern \"C\" __global__ void __launch_bounds__({THREADS}, {resident}) {entry}({parameters}) {{\n    \
                 tile<{entry}_t, {down}, {across}, {steps}>(out, {start}, {a}, {b});\n}}\n\n"
        );
        text
    }

    /// Declares the coordinates of some dimensions, the innermost last, from a row-major index.
    fn coordinates(&self, dims: &[usize], base: u8, extents: &[Dim], index: &str) -> String {
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

    fn lane_coordinates(&self, lanes: usize) -> String {
        let shape = &self.fold.body.shape;
        let batch = self.coordinates(&self.dims[2], 0, shape, "batch");
        batch + &self.coordinates(&self.dims[lanes], 0, shape, "i")
    }

    fn step_coordinates(&self) -> String {
        let dims: Vec<usize> = (0..self.fold.red.len()).collect();
        self.coordinates(&dims, var::RED, &self.fold.red, "k")
    }

    /// One operand: the parts of its offset and of its bounded positions that lanes and steps give.
    fn operand(&self, k: usize, title: &str, text: &mut String) {
        let access = self.operands[k];
        let place = Place::new(access);
        let bounds: Vec<&(Linear, i64)> = place
            .bounds
            .iter()
            .filter(|(position, extent)| self.scope.condition(position, 0, *extent).is_some())
            .collect();
        let sums: Vec<&Linear> = std::iter::once(&place.offset)
            .chain(bounds.iter().map(|(position, _)| position))
            .collect();
        let members: Vec<String> = (0..sums.len()).map(|s| format!("s{s}")).collect();
        let kind = self.kind(&sums);
        let declared = members.join(", ");
        let parts = |of_steps: bool| -> String {
            let part = |sum: &&Linear| self.scope.expression(&self.split(sum, of_steps));
            let parts: Vec<String> = sums.iter().map(part).collect();
            parts.join(", ")
        };
        // Neighbouring threads read neighbouring elements, if there is a dimension of such.
        let last = |dims: &[usize], base: usize| {
            let d = dims.iter().rev().map(|d| base + d);
            d.map(|v| place.offset.coefs[v].unsigned_abs()).next()
        };
        let red: Vec<usize> = (0..self.fold.red.len())
            .filter(|d| self.fold.red[*d].0 > 1)
            .collect();
        let along_steps = last(&red, var::RED as usize).unwrap_or(u64::MAX);
        let along_lanes = last(&self.dims[k], 0).unwrap_or(u64::MAX);
        let conditions: Vec<String> = bounds
            .iter()
            .zip(&members[1..])
            .map(|((_, extent), s)| format!("(u64)(i64)(lane.{s} + step.{s}) < {extent}ull"))
            .collect();
        let load = format!("{}(p, lane.s0 + step.s0)", load_name(access.dtype));
        let value = match conditions.is_empty() {
            true => load,
            false => format!("{} ? {load} : {:#x}u", conditions.join(" && "), access.fill),
        };
        let _ = write!(
            text,
            "    struct {title} {{\n        \
                 static constexpr u32 lanes = {lanes}u;\n        \
                 static constexpr bool by_step = {by_step};\n        \
                 struct Lane {{ {kind} {declared}; }};\n        \
                 struct Step {{ {kind} {declared}; }};\n        \
                 static __device__ __forceinline__ Lane lane(u32 batch, u32 i) {{ {at}return {{{lane}}}; }}\n        \
                 static __device__ __forceinline__ Step step(u32 k) {{ {step_at}return {{{step}}}; }}\n        \
                 static __device__ __forceinline__ u32 load(const void* p, Lane lane, Step step) {{ return {value}; }}\n        \
                 static __device__ __forceinline__ u32 at(const void* p, Lane lane, u32 k) {{ {fetch} }}\n    \
             }};\n",
            lanes = self.sizes()[k],
            by_step = along_steps < along_lanes,
            at = self.lane_coordinates(k),
            lane = parts(false),
            step_at = self.step_coordinates(),
            step = parts(true),
            fetch = self.fetch(),
        );
    }

    /// The word of an operand at a step of the tile. A step past the last reads the last one's, and
    /// is not taken.
    fn fetch(&self) -> String {
        let steps = self.steps();
        match self.kind {
            Kind::Float | Kind::Integer => {
                format!("return load(p, lane, step(iminu(k, {steps}u - 1u)));")
            }
            Kind::Quad => format!(
                "u32 word = 0; for (u32 j = 0; j < 4; ++j) \
                 if (4 * k + j < {steps}u) \
                 word |= (load(p, lane, step(4 * k + j)) & 0xffu) << 8 * j; return word;"
            ),
        }
    }

    /// The type that holds these sums and every part of them.
    fn kind(&self, sums: &[&Linear]) -> &'static str {
        match sums.iter().all(|sum| self.scope.reach(sum) < 1 << 31) {
            true => "int",
            false => "i64",
        }
    }

    /// The guards of the rows or columns: what a lane adds to each guarded form.
    fn guard(&self, k: usize, title: &str, function: &str, text: &mut String) {
        let guards: Vec<&_> = self.guards[k].iter().map(|g| &self.fold.when[*g]).collect();
        let forms: Vec<Linear> = guards.iter().map(|g| Linear::from(&g.form)).collect();
        let members: String = self.guards[k]
            .iter()
            .map(|g| format!("i64 g{g}; "))
            .collect();
        let part =
            |form: &Linear| format!("(i64){}", self.scope.expression(&self.split(form, false)));
        let parts: Vec<String> = forms.iter().map(part).collect();
        let conditions: Vec<String> = self.guards[k]
            .iter()
            .zip(&guards)
            .map(|(g, guard)| {
                let sum = format!("(lane.g{g} + at.g{g})");
                let bound = |bound: i64| bound.max(-i64::MAX);
                format!(
                    "{}ll <= {sum} && {sum} < {}ll",
                    bound(guard.lo.0),
                    bound(guard.hi.0)
                )
            })
            .collect();
        let passes = match conditions.is_empty() {
            true => "true".into(),
            false => conditions.join(" && "),
        };
        let _ = write!(
            text,
            "    struct {title} {{ {members}}};\n    \
             static __device__ __forceinline__ {title} {function}_guard(u32 batch, u32 i) {{ {at}return {{{}}}; }}\n",
            parts.join(", "),
            at = self.lane_coordinates(k),
        );
        // The steps' part is declared with the other guards'.
        let _ = write!(
            text,
            "    template <class S>\n    \
             static __device__ __forceinline__ bool {function}_passes({title} lane, S at) {{ return {passes}; }}\n"
        );
    }

    /// What a step adds to every guarded form.
    fn step_guard(&self, text: &mut String) {
        let forms: Vec<Linear> = self
            .fold
            .when
            .iter()
            .map(|g| Linear::from(&g.form))
            .collect();
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

    /// Where an element of the output lies, and where it starts.
    fn output(&self, text: &mut String) {
        let shape = &self.fold.body.shape;
        let coordinates = self.coordinates(&self.dims[2], 0, shape, "batch")
            + &self.coordinates(&self.dims[0], 0, shape, "m")
            + &self.coordinates(&self.dims[1], 0, shape, "n");
        let mut whole = Linear::default();
        let mut stride = 1;
        for (d, dim) in shape.iter().enumerate().rev() {
            whole.coefs[d] = match dim.0 {
                1 => 0,
                _ => stride,
            };
            stride *= dim.0 as i64;
        }
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
            Operand::Memory("p".into(), nan)
        };
        let mut writer = Writer::new(self.scope.clone(), &operand);
        let start = writer.start(self.fold);
        let _ = write!(
            text,
            "    static __device__ __forceinline__ i64 place(u32 batch, u32 m, u32 n) {{ {coordinates}return {}; }}\n    \
             static __device__ __forceinline__ u32 start(const void* p, u32 batch, u32 m, u32 n) {{\n    {ones}{coordinates}\n{}    return {start};\n    }}\n",
            self.scope.expression(&whole),
            writer.finish(),
        );
    }

    /// The part of a sum that steps give, or the rest of it with the constant.
    fn split(&self, sum: &Linear, of_steps: bool) -> Linear {
        let mut part = Linear {
            constant: if of_steps { 0 } else { sum.constant },
            ..Linear::default()
        };
        let shape = &self.fold.body.shape;
        // A dimension of one element has no coordinate, and adds nothing.
        let counts = |v: usize| shape.get(v).is_none_or(|d| d.0 > 1);
        for (v, coef) in sum.terms().filter(|(v, _)| counts(*v)) {
            if (v >= var::RED as usize) == of_steps {
                part.coefs[v] = coef;
            }
        }
        part
    }
}

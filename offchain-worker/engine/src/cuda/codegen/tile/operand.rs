//! How the elements of an operand lie, and the text that copies them.

use super::super::body::load_name;
use super::super::linear::{Linear, Place};
use super::{Contraction, Kind};
use lockstep_protocol::program::var;
use std::fmt::Write;

/// How an operand comes to shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Whether shared memory keeps a row for each lane.
    pub by_step: bool,
    mode: Mode,
}

/// See `Mode` in `copies.cuh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Vector,
    Single,
    Turned,
    Converted,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Vector => "VECTOR",
            Mode::Single => "SINGLE",
            Mode::Turned => "TURNED",
            Mode::Converted => "CONVERTED",
        }
    }
}

/// A condition under which an element is read: `lo <= sum < hi`.
struct Bound {
    sum: Linear,
    lo: i64,
    hi: i64,
}

impl Contraction<'_> {
    /// The bounds of operand `k` that can be missed. Guards of 8-bit products count as bounds of the
    /// first operand: a zero for either is as good as no step.
    fn bounds(&self, k: usize) -> Vec<Bound> {
        let place = Place::new(self.operands[k]);
        let own = place.bounds.into_iter().map(|(sum, extent)| Bound {
            sum,
            lo: 0,
            hi: extent,
        });
        let guards = self.fold.when.iter().map(|guard| Bound {
            sum: Linear::from(&guard.form),
            lo: guard.lo.0,
            hi: guard.hi.0,
        });
        let guarded = self.kind == Kind::Quad && k == 0;
        own.chain(guards.filter(|_| guarded))
            .filter(|bound| {
                self.scope
                    .condition(&bound.sum, bound.lo, bound.hi)
                    .is_some()
            })
            .collect()
    }

    /// The innermost variable along steps or lanes.
    fn innermost(&self, k: usize, along_steps: bool) -> Option<usize> {
        match along_steps {
            true => (0..self.fold.red.len())
                .rev()
                .find(|d| self.fold.red[*d].0 > 1)
                .map(|d| var::RED as usize + d),
            false => self.dims[k].last().copied(),
        }
    }

    /// Whether `count` elements from every multiple of `count` on, along steps or lanes, lie next to
    /// one another, aligned, and are read or not together.
    fn together(&self, k: usize, along_steps: bool, count: u64) -> bool {
        let Some(inner) = self.innermost(k, along_steps) else {
            return false;
        };
        let extent = match along_steps {
            true => self.fold.red[inner - var::RED as usize].0,
            false => self.fold.body.shape[inner].0,
        };
        let step = count as i64;
        let aligned = |sum: &Linear| {
            sum.constant % step == 0
                && sum
                    .terms()
                    .all(|(v, coef)| v == inner || !self.scope.varies(v) || coef % step == 0)
        };
        let offset = Place::new(self.operands[k]).offset;
        let alike = |bound: &Bound| {
            let (low, high) = self.scope.span(&bound.sum);
            let lies =
                |edge: i64| edge % step == 0 || i128::from(edge) <= low || i128::from(edge) > high;
            match bound.sum.coefs[inner] {
                0 => true,
                1 => aligned(&bound.sum) && lies(bound.lo) && lies(bound.hi),
                _ => false,
            }
        };
        extent % count == 0
            && offset.coefs[inner] == 1
            && aligned(&offset)
            && self.bounds(k).iter().all(alike)
    }

    /// How operand `k` is copied.
    pub fn layout(&self, k: usize) -> Layout {
        let access = self.operands[k];
        let offset = Place::new(access).offset;
        // Neighbouring threads read neighbouring elements, if there is a dimension of such.
        let stride = |along_steps: bool| {
            let inner = self.innermost(k, along_steps);
            inner.map_or(u64::MAX, |v| offset.coefs[v].unsigned_abs())
        };
        let by_step = stride(true) < stride(false);
        if self.kind == Kind::Quad {
            // Whatever is not read counts as zero, also what has another fill.
            let zeros = access.fill == 0 || Place::new(access).condition(&self.scope).is_none();
            let mode = if zeros && self.together(k, true, 16) {
                Mode::Vector
            } else if zeros && self.together(k, false, 4) {
                Mode::Turned
            } else {
                Mode::Converted
            };
            return Layout {
                by_step: true,
                mode,
            };
        }
        let mode = if access.dtype.size() != 4 {
            Mode::Converted
        } else if self.together(k, by_step, 4) {
            Mode::Vector
        } else {
            Mode::Single
        };
        Layout { by_step, mode }
    }

    /// The operand's type: the parts of its offset and of its bounded positions that lanes and steps
    /// give, and the functions that its mode asks for.
    pub fn operand(&self, k: usize, title: &str, text: &mut String) {
        let access = self.operands[k];
        let place = Place::new(access);
        let Layout { by_step, mode } = self.layout(k);
        let bounds = self.bounds(k);
        let sums: Vec<&Linear> = std::iter::once(&place.offset)
            .chain(bounds.iter().map(|bound| &bound.sum))
            .collect();
        let members: Vec<String> = (0..sums.len()).map(|s| format!("s{s}")).collect();
        let kind = match sums.iter().all(|sum| self.scope.reach(sum) < 1 << 31) {
            true => "int",
            false => "i64",
        };
        let declared = members.join(", ");
        let parts = |of_steps: bool| -> String {
            let part = |sum: &&Linear| self.scope.expression(&self.split(sum, of_steps));
            let parts: Vec<String> = sums.iter().map(part).collect();
            parts.join(", ")
        };
        let inside = |own: bool| -> String {
            let own_bounds = place
                .bounds
                .iter()
                .filter(|(sum, extent)| self.scope.condition(sum, 0, *extent).is_some())
                .count();
            let range = match own {
                true => 0..own_bounds,
                false => own_bounds..bounds.len(),
            };
            let conditions = range.map(|b| {
                let sum = format!("(i64)(lane.{0} + step.{0})", members[b + 1]);
                let (lo, hi) = (bounds[b].lo.max(-i64::MAX), bounds[b].hi);
                format!(" && {lo}ll <= {sum} && {sum} < {hi}ll")
            });
            conditions.collect()
        };
        let (steps, size) = (self.steps(), access.dtype.size());
        let load = format!("{}(p, lane.s0 + step.s0)", load_name(access.dtype));
        let _ = write!(
            text,
            "    struct {title} {{\n        \
                 static constexpr u32 lanes = {lanes}u, fill = {fill:#x}u;\n        \
                 static constexpr bool by_step = {by_step};\n        \
                 static constexpr Mode mode = {mode};\n        \
                 struct Lane {{ {kind} {declared}; }};\n        \
                 struct Step {{ {kind} {declared}; }};\n        \
                 struct Place {{ bool inside; i64 byte; }};\n        \
                 static __device__ __forceinline__ Lane lane(u32 batch, u32 i) {{ {at}return {{{lane}}}; }}\n        \
                 static __device__ __forceinline__ Step step(u32 k) {{ {step_at}return {{{step}}}; }}\n",
            lanes = self.sizes()[k],
            fill = access.fill,
            mode = mode.name(),
            at = self.lane_coordinates(k),
            lane = parts(false),
            step_at = self.step_coordinates(),
            step = parts(true),
        );
        let all = inside(true) + &inside(false);
        let functions = match mode {
            // Words past the last step are not read.
            Mode::Vector | Mode::Single => format!(
                "        template <bool WHOLE>\n        \
                     static __device__ __forceinline__ Place place(const Lane& lane, u32 word) {{\n            \
                     const u32 k = word * {together}u;\n            \
                     const Step step = Operand_step(k);\n            \
                     return {{(WHOLE || k < {steps}u){all}, (i64)(lane.s0 + step.s0) * {size}}};\n        }}\n",
                together = self.kind.together(),
            ),
            Mode::Turned => format!(
                "        static __device__ __forceinline__ u32 quarter(const void* p, const Lane& lane, u32 k) {{\n            \
                     const Step step = Operand_step(k);\n            \
                     return k < {steps}u{all} ? *(const u32*)((const char*)p + (i64)(lane.s0 + step.s0)) : 0u;\n        }}\n"
            ),
            Mode::Converted => {
                let fill = access.fill;
                let (own, guards) = (inside(true), inside(false));
                let value = match own.is_empty() {
                    true => load,
                    false => format!("(true{own} ? {load} : {fill:#x}u)"),
                };
                let last = match self.kind {
                    // The tile leaves these steps out.
                    Kind::Float | Kind::Integer => format!("iminu(word, {steps}u - 1u)"),
                    Kind::Quad => "4 * word + j".into(),
                };
                let fetch = format!(
                    "const u32 k = {last}; const Step step = Operand_step(k);"
                );
                match self.kind {
                    Kind::Float | Kind::Integer => format!(
                        "        static __device__ __forceinline__ u32 word(const void* p, const Lane& lane, u32 word) {{\n            \
                             {fetch}\n            return {value};\n        }}\n"
                    ),
                    Kind::Quad => format!(
                        "        static __device__ __forceinline__ u32 word(const void* p, const Lane& lane, u32 word) {{\n            \
                             u32 quad = 0;\n            \
                             for (u32 j = 0; j < 4; ++j) {{\n                \
                                 {fetch}\n                \
                                 if (k < {steps}u{guards}) quad |= ({value} & 0xffu) << 8 * j;\n            \
                             }}\n            return quad;\n        }}\n"
                    ),
                }
            }
        };
        text.push_str(&functions.replace("Operand_step", &format!("{title}::step")));
        text.push_str("    };\n");
    }
}

//! Forms of one node as C++ expressions: which variables there are, how far a sum can reach, and
//! in how many bits it has to be computed.

use lockstep_protocol::program::{var, Access, Dim, Dtype, Form};
use std::fmt::Write;

/// `constant + sum(coef * variable)`, in arithmetic that wraps at 64 bits: a part of an offset may
/// leave that range, the sums that the validator bounds cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linear {
    /// The constant term.
    pub constant: i64,
    /// The coefficient of every variable.
    pub coefs: [i64; var::END as usize],
}

impl Linear {
    /// Adds `scale` times a form.
    pub fn add(&mut self, form: &Form, scale: i64) {
        let wrapping_add = |sum: &mut i64, coef: i64| {
            *sum = sum.wrapping_add(coef.wrapping_mul(scale));
        };
        wrapping_add(&mut self.constant, form.constant.0);
        for term in &form.terms {
            wrapping_add(&mut self.coefs[term.var as usize], term.coef.0);
        }
    }

    /// Adds `scale` times the row-major index of the coordinates from variable `base` on.
    pub fn add_row_major(&mut self, dims: &[Dim], base: u8, scale: i64) {
        let mut stride = scale;
        for (d, dim) in dims.iter().enumerate().rev() {
            if dim.0 > 1 {
                self.coefs[base as usize + d] = stride;
            }
            stride = stride.wrapping_mul(dim.0 as i64);
        }
    }

    /// The terms that are not zero: variable and coefficient.
    pub fn terms(&self) -> impl Iterator<Item = (usize, i64)> + '_ {
        let all = self.coefs.iter().copied().enumerate();
        all.filter(|(_, coef)| *coef != 0)
    }

    /// The expression modulo 2^32.
    pub fn word(&self) -> String {
        let mut text = format!("{}u", self.constant as u32);
        for (v, coef) in self.terms() {
            let _ = write!(text, " + {}u * (u32){}", coef as u32, name(v));
        }
        text
    }
}

impl From<&Form> for Linear {
    fn from(form: &Form) -> Linear {
        let mut linear = Linear::default();
        linear.add(form, 1);
        linear
    }
}

/// The name of a variable: `o` for output coordinates, `r` for reduction coordinates, `w` for
/// index words.
pub fn name(v: usize) -> String {
    match v as u8 {
        v if v < var::RED => format!("o{v}"),
        v if v < var::INDEX => format!("r{}", v - var::RED),
        v => format!("w{}", v - var::INDEX),
    }
}

/// The values that the variables of a node can take, lowest and highest.
#[derive(Clone, Debug)]
pub struct Scope {
    ranges: [(i64, i64); var::END as usize],
}

impl Scope {
    /// The variables of a node with these dimensions and index words.
    pub fn new(shape: &[Dim], red: &[Dim], index: &[Access]) -> Scope {
        let mut ranges = [(0, 0); var::END as usize];
        for (d, dim) in shape.iter().enumerate() {
            ranges[d].1 = dim.0 as i64 - 1;
        }
        for (d, dim) in red.iter().enumerate() {
            ranges[var::RED as usize + d].1 = dim.0 as i64 - 1;
        }
        for (k, access) in index.iter().enumerate() {
            ranges[var::INDEX as usize + k] = word_range(access);
        }
        Scope { ranges }
    }

    /// Whether a variable takes more than one value.
    pub fn varies(&self, v: usize) -> bool {
        self.ranges[v].0 < self.ranges[v].1
    }

    /// Whether two sums are the same form of the variables that vary, all of which can be 0.
    pub fn same(&self, a: &Linear, b: &Linear) -> bool {
        let alike = |v: usize| !self.varies(v) || a.coefs[v] == b.coefs[v];
        a.constant == b.constant && (0..var::END as usize).all(alike)
    }

    /// Lowest and highest value of a sum.
    pub fn span(&self, linear: &Linear) -> (i128, i128) {
        let constant = linear.constant as i128;
        linear
            .terms()
            .fold((constant, constant), |(low, high), (v, coef)| {
                let (a, b) = self.ranges[v];
                let (a, b) = (coef as i128 * a as i128, coef as i128 * b as i128);
                (low + a.min(b), high + a.max(b))
            })
    }

    /// The greatest magnitude that a part of a sum can have.
    pub fn reach(&self, linear: &Linear) -> u128 {
        let constant = linear.constant.unsigned_abs() as u128;
        linear.terms().fold(constant, |sum, (v, coef)| {
            let (low, high) = self.ranges[v];
            let most = low.unsigned_abs().max(high.unsigned_abs());
            sum.saturating_add(coef.unsigned_abs() as u128 * most as u128)
        })
    }

    /// The sum as an expression: in 32 bits where neither it nor a part of it can leave them,
    /// else in 64.
    pub fn expression(&self, linear: &Linear) -> String {
        if self.reach(linear) < 1 << 31 {
            let mut text = linear.constant.to_string();
            for (v, coef) in linear.terms() {
                let _ = write!(text, " + {coef} * (int){}", name(v));
            }
            return format!("({text})");
        }
        let mut text = format!("{}ull", linear.constant as u64);
        for (v, coef) in linear.terms() {
            let _ = write!(text, " + {}ull * (u64)(i64){}", coef as u64, name(v));
        }
        format!("(i64)({text})")
    }

    /// The condition `lo <= sum < hi`; `None` where it always holds.
    pub fn condition(&self, linear: &Linear, lo: i64, hi: i64) -> Option<String> {
        let (low, high) = self.span(linear);
        let sum = self.expression(linear);
        let below = (low < lo as i128).then(|| format!("{}ll <= {sum}", literal(lo)));
        let above = (high >= hi as i128).then(|| format!("{sum} < {}ll", literal(hi)));
        match (below, above) {
            (Some(below), Some(above)) => Some(format!("{below} && {above}")),
            (one, other) => one.or(other),
        }
    }
}

/// A bound as a literal; C++ has none for the lowest integer, beyond which no sum can be.
fn literal(bound: i64) -> i64 {
    bound.max(-i64::MAX)
}

/// The values that an index word can take, read as its dtype says.
fn word_range(access: &Access) -> (i64, i64) {
    let (lo, hi) = match access.dtype {
        Dtype::U8 => (0, u8::MAX as i64),
        Dtype::U16 => (0, u16::MAX as i64),
        Dtype::I8 => (i8::MIN as i64, i8::MAX as i64),
        Dtype::U32 => (0, u32::MAX as i64),
        Dtype::I32 | Dtype::F32 => (i32::MIN as i64, i32::MAX as i64),
    };
    let fill = match access.dtype {
        Dtype::U32 => access.fill as i64,
        _ => access.fill as i32 as i64,
    };
    (lo.min(fill), hi.max(fill))
}

/// An access as an offset and the conditions under which it is taken.
#[derive(Clone, Debug)]
pub struct Place {
    /// The element's offset.
    pub offset: Linear,
    /// Positions with the extents that they must be inside.
    pub bounds: Vec<(Linear, i64)>,
}

impl Place {
    /// The place that an access names.
    pub fn new(access: &Access) -> Place {
        let mut offset = Linear {
            constant: access.base.0,
            ..Linear::default()
        };
        let bound = |axis: &lockstep_protocol::program::Axis| {
            offset.add(&axis.form, axis.stride.0);
            let extent = i64::try_from(axis.extent).unwrap_or(i64::MAX);
            (Linear::from(&axis.form), extent)
        };
        let bounds = access.axes.iter().map(bound).collect();
        Place { offset, bounds }
    }

    /// The condition that the access is inside, `None` where it always is.
    pub fn condition(&self, scope: &Scope) -> Option<String> {
        let conditions: Vec<String> = self
            .bounds
            .iter()
            .filter_map(|(position, extent)| scope.condition(position, 0, *extent))
            .collect();
        (!conditions.is_empty()).then(|| conditions.join(" && "))
    }
}

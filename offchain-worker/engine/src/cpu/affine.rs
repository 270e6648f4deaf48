//! Forms and accesses of one node, rewritten for speed over the node's iteration domain.
//!
//! Axes that can never be left need no test and dissolve into one linear offset; dimensions that
//! every form walks as one are merged. What is left is usually one or two dimensions, in which
//! a read is contiguous, strided or constant.

use lockstep_protocol::program::{var, Access, Dtype, Form};

/// `constant + sum(coords * coordinate) + sum(index * index word)`.
///
/// Arithmetic wraps: intermediate sums may leave the range of 64 bits, the final values that the
/// validator bounds cannot.
#[derive(Clone, Debug)]
pub struct Linear {
    /// The constant term.
    pub constant: i64,
    /// A coefficient for each output coordinate, then each reduction coordinate.
    pub coords: Vec<i64>,
    /// A coefficient for each index word.
    pub index: [i64; 2],
}

impl Linear {
    fn zero(dims: usize) -> Linear {
        Linear {
            constant: 0,
            coords: vec![0; dims],
            index: [0; 2],
        }
    }

    fn add(&mut self, form: &Form, scale: i64, outputs: usize) {
        self.constant = (self.constant).wrapping_add(form.constant.0.wrapping_mul(scale));
        for term in &form.terms {
            let coef = if term.var < var::RED {
                &mut self.coords[term.var as usize]
            } else if term.var < var::INDEX {
                &mut self.coords[outputs + (term.var - var::RED) as usize]
            } else {
                &mut self.index[(term.var - var::INDEX) as usize]
            };
            *coef = coef.wrapping_add(term.coef.0.wrapping_mul(scale));
        }
    }

    /// The value at `coords`, without the index words.
    #[inline]
    pub fn at(&self, coords: &[i64]) -> i64 {
        let terms = self.coords.iter().zip(coords);
        terms.fold(self.constant, |sum, (c, x)| {
            sum.wrapping_add(c.wrapping_mul(*x))
        })
    }

    /// Whether the value depends on an index word.
    pub fn indexed(&self) -> bool {
        self.index != [0; 2]
    }
}

/// A condition `lo <= form < hi`.
#[derive(Clone, Debug)]
pub struct Range {
    /// The value that is tested.
    pub form: Linear,
    /// Lowest value that passes.
    pub lo: i64,
    /// Lowest value above that does not.
    pub hi: i64,
}

impl Range {
    /// Which of the `len` points from `coords` along coordinate `along` pass: `start..end`.
    pub fn interval(&self, coords: &[i64], along: usize, len: usize) -> (usize, usize) {
        self.span(self.form.at(coords), self.form.coords[along], len)
    }

    /// Which of the `len` values `from`, `from + pace`, ... pass: `start..end`.
    pub fn span(&self, from: i64, pace: i64, len: usize) -> (usize, usize) {
        let len = len as i64;
        let (start, end) = match pace {
            0 if self.lo <= from && from < self.hi => return (0, len as usize),
            0 => return (0, 0),
            1 => (self.lo.saturating_sub(from), self.hi.saturating_sub(from)),
            c if c > 0 => (
                ceil_div(self.lo.saturating_sub(from), c),
                ceil_div(self.hi.saturating_sub(from), c),
            ),
            c => (
                from.saturating_sub(self.hi)
                    .div_euclid(-c)
                    .saturating_add(1),
                from.saturating_sub(self.lo)
                    .div_euclid(-c)
                    .saturating_add(1),
            ),
        };
        let start = start.clamp(0, len);
        (start as usize, end.clamp(start, len) as usize)
    }
}

fn ceil_div(a: i64, b: i64) -> i64 {
    a.saturating_neg().div_euclid(b).saturating_neg()
}

/// An access: the element at `offset` of a node when every bound holds, else `fill`.
#[derive(Clone, Debug)]
pub struct Load {
    /// The node that is read.
    pub node: u32,
    /// Its element type.
    pub dtype: Dtype,
    /// The element's index.
    pub offset: Linear,
    /// Axes that can be left.
    pub bounds: Vec<Range>,
    /// The register value outside of them.
    pub fill: u32,
    /// Whether the node's bytes may hold a NaN that is not canonical.
    pub payload: bool,
}

impl Load {
    /// Whether the element depends on an index word.
    pub fn indexed(&self) -> bool {
        self.offset.indexed() || self.bounds.iter().any(|bound| bound.form.indexed())
    }

    /// Every form of the access.
    pub fn forms(&mut self) -> impl Iterator<Item = &mut Linear> {
        std::iter::once(&mut self.offset).chain(self.bounds.iter_mut().map(|b| &mut b.form))
    }

    /// Whether the element may depend on coordinate `d`.
    pub fn depends(&self, d: usize) -> bool {
        self.offset.coords[d] != 0 || self.bounds.iter().any(|b| b.form.coords[d] != 0)
    }
}

/// The points of a node: output coordinates, then reduction coordinates, both row-major.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Extents of the output dimensions, at least one.
    pub out: Vec<i64>,
    /// Extents of the reduction dimensions.
    pub red: Vec<i64>,
    /// Lowest and highest value of each index word.
    pub words: Vec<(i64, i64)>,
}

impl Domain {
    /// The form over this domain.
    pub fn linear(&self, form: &Form) -> Linear {
        let mut linear = Linear::zero(self.dims());
        linear.add(form, 1, self.out.len());
        linear
    }

    /// The access over this domain.
    pub fn load(&self, access: &Access, payload: bool) -> Load {
        let mut offset = Linear::zero(self.dims());
        offset.constant = access.base.0;
        let mut bounds = Vec::new();
        for axis in &access.axes {
            offset.add(&axis.form, axis.stride.0, self.out.len());
            let form = self.linear(&axis.form);
            let (low, high) = self.span(&form);
            if low < 0 || high >= axis.extent as i128 {
                let hi = i64::try_from(axis.extent).unwrap_or(i64::MAX);
                bounds.push(Range { form, lo: 0, hi });
            }
        }
        Load {
            node: access.node,
            dtype: access.dtype,
            offset,
            bounds,
            fill: access.fill,
            payload,
        }
    }

    /// The lowest and highest value of a form over the domain.
    pub fn span(&self, form: &Linear) -> (i128, i128) {
        let dims = self
            .out
            .iter()
            .chain(&self.red)
            .map(|extent| (0, extent - 1));
        let terms = form.coords.iter().zip(dims);
        let words = form.index.iter().zip(self.words.iter().copied());
        let constant = form.constant as i128;
        terms
            .chain(words)
            .fold((constant, constant), |(low, high), (&coef, (lo, hi))| {
                let (a, b) = (coef as i128 * lo as i128, coef as i128 * hi as i128);
                (low + a.min(b), high + a.max(b))
            })
    }

    /// Merges dimensions that all `forms` walk as one, and drops those of extent 1.
    pub fn collapse(&mut self, forms: &mut [&mut Linear]) {
        merge(&mut self.red, self.out.len(), forms);
        merge(&mut self.out, 0, forms);
        if self.out.is_empty() {
            self.out.push(1);
            for form in forms {
                form.coords.insert(0, 0);
            }
        }
    }

    /// Number of coordinates.
    pub fn dims(&self) -> usize {
        self.out.len() + self.red.len()
    }
}

fn merge(extents: &mut Vec<i64>, first: usize, forms: &mut [&mut Linear]) {
    for d in (0..extents.len()).rev() {
        let as_one = match extents.get(d + 1) {
            _ if extents[d] == 1 => true,
            None => false,
            Some(inner) => forms.iter().all(|form| {
                let [outer, step] = [form.coords[first + d], form.coords[first + d + 1]];
                step.checked_mul(*inner) == Some(outer)
            }),
        };
        if as_one {
            let outer = extents.remove(d);
            if let Some(inner) = extents.get_mut(d) {
                *inner *= outer;
            }
            for form in forms.iter_mut() {
                form.coords.remove(first + d);
            }
        }
    }
}

/// The values that an index word can take, read as its dtype says.
pub fn word_range(access: &Access) -> (i64, i64) {
    let (lo, hi) = match access.dtype {
        Dtype::U8 => (0, u8::MAX as i64),
        Dtype::U16 => (0, u16::MAX as i64),
        Dtype::I8 => (i8::MIN as i64, i8::MAX as i64),
        Dtype::U32 => (0, u32::MAX as i64),
        Dtype::I32 | Dtype::F32 => (i32::MIN as i64, i32::MAX as i64),
    };
    let fill = word(access.dtype, access.fill);
    (lo.min(fill), hi.max(fill))
}

/// An index word as a variable of forms.
pub fn word(dtype: Dtype, bits: u32) -> i64 {
    match dtype {
        Dtype::U32 => bits as i64,
        _ => bits as i32 as i64,
    }
}

/// Splits a row-major index into coordinates.
pub fn coordinates(mut index: u64, extents: &[i64], out: &mut [i64]) {
    for (x, extent) in out.iter_mut().zip(extents).rev() {
        *x = (index % *extent as u64) as i64;
        index /= *extent as u64;
    }
}

//! The points of an iteration domain that are computed together, and how operands come to them.

use super::affine::{coordinates, word, Domain, Linear, Load, Range};
use super::buffer::{view, Plain};
use lockstep_protocol::float;
use lockstep_protocol::program::Dtype;
use std::ops::Range as Span;

/// Points, as runs along one coordinate.
#[derive(Default)]
pub struct Tile {
    /// The coordinate along which the runs go.
    along: usize,
    dims: usize,
    /// First position and length of each run.
    runs: Vec<(usize, usize)>,
    /// The coordinates at which each run starts.
    coords: Vec<i64>,
    /// Number of points.
    len: usize,
}

impl Tile {
    /// Number of points.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The first position, the length and the starting coordinates of each run.
    fn runs(&self) -> impl Iterator<Item = (usize, usize, &[i64])> {
        let coords = self.coords.chunks_exact(self.dims);
        self.runs
            .iter()
            .zip(coords)
            .map(|(run, at)| (run.0, run.1, at))
    }

    fn clear(&mut self, along: usize, dims: usize) {
        self.along = along;
        self.dims = dims;
        self.runs.clear();
        self.coords.clear();
        self.len = 0;
    }

    fn push(&mut self, len: usize) {
        self.runs.push((self.len, len));
        self.len += len;
    }

    /// The output elements in `span`, at reduction coordinates 0, along the last output coordinate.
    pub fn set_outputs(&mut self, domain: &Domain, span: Span<u64>) {
        let outputs = domain.out.len();
        self.clear(outputs - 1, domain.dims());
        let mut at = span.start;
        while at < span.end {
            let start = self.coords.len();
            self.coords.resize(start + self.dims, 0);
            coordinates(at, &domain.out, &mut self.coords[start..start + outputs]);
            let left = domain.out[outputs - 1] - self.coords[start + outputs - 1];
            let len = (left as u64).min(span.end - at);
            self.push(len as usize);
            at += len;
        }
    }

    /// No points yet; rows of the outputs of `base` will be added.
    pub fn set_rows(&mut self, base: &Tile) {
        self.clear(base.along, base.dims);
    }

    /// Adds the points of `base` at the reduction coordinates of `r`.
    pub fn push_row(&mut self, base: &Tile, domain: &Domain, r: u64) {
        let outputs = domain.out.len();
        let mut red = [0; 4];
        let red = &mut red[..domain.red.len()];
        coordinates(r, &domain.red, red);
        for (_, len, at) in base.runs() {
            self.coords.extend_from_slice(&at[..outputs]);
            self.coords.extend_from_slice(red);
            self.runs.push((self.len, len));
            self.len += len;
        }
    }

    /// For each output of `base`, the reduction steps in `span`, along the last reduction
    /// coordinate.
    pub fn set_columns(&mut self, base: &Tile, domain: &Domain, span: Span<u64>) {
        let outputs = domain.out.len();
        let inner = domain.dims() - 1;
        self.clear(inner, base.dims);
        for (_, len, at) in base.runs() {
            for i in 0..len {
                let mut r = span.start;
                while r < span.end {
                    let start = self.coords.len();
                    self.coords.extend_from_slice(at);
                    self.coords[start + base.along] += i as i64;
                    coordinates(r, &domain.red, &mut self.coords[start + outputs..]);
                    let left = domain.red[domain.red.len() - 1] - self.coords[start + inner];
                    let count = (left as u64).min(span.end - r);
                    self.push(count as usize);
                    r += count;
                }
            }
        }
    }

    /// Writes 1 where the last `len` points satisfy `guard`, and 0 elsewhere; says whether all, or
    /// any, do.
    pub fn guard_row(&self, guards: &[Range], base: &Tile, mask: &mut [u32]) -> (bool, bool) {
        let first = self.len - base.len;
        let runs = base.runs.len();
        let mut passed = 0;
        let from = self.runs.len() - runs;
        let coords = self.coords[from * self.dims..].chunks_exact(self.dims);
        for (&(at, len), coords) in self.runs[from..].iter().zip(coords) {
            let mut span = (0, len);
            for guard in guards {
                let (start, end) = guard.interval(coords, self.along, len);
                span = (span.0.max(start), span.1.min(end));
            }
            let row = &mut mask[at - first..at - first + len];
            row.fill(0);
            if span.0 < span.1 {
                row[span.0..span.1].fill(1);
                passed += span.1 - span.0;
            }
        }
        (passed == base.len, passed > 0)
    }

    /// Removes the row that was added last.
    pub fn pop_row(&mut self, base: &Tile) {
        let runs = self.runs.len() - base.runs.len();
        self.runs.truncate(runs);
        self.coords.truncate(runs * self.dims);
        self.len -= base.len;
    }

    /// The only run, if there is one and `load` reads it in place: canonical words, one after
    /// another, all inside.
    pub fn in_place<'a>(&self, load: &Load, source: &'a [u8]) -> Option<&'a [u32]> {
        let plain = load.dtype.size() == 4 && !load.payload && !load.indexed();
        if self.runs.len() != 1 || !plain || load.offset.coords[self.along] != 1 {
            return None;
        }
        let inside = |bound: &Range| {
            let span = bound.interval(&self.coords, self.along, self.len);
            span == (0, self.len)
        };
        if !load.bounds.iter().all(inside) {
            return None;
        }
        let from = load.offset.at(&self.coords) as usize;
        Some(&view(source)[from..from + self.len])
    }

    /// Reads an operand for every point; `index` holds the index words of every point.
    pub fn load(&self, load: &Load, source: &[u8], index: &[Vec<i64>], out: &mut [u32]) {
        match load.dtype {
            Dtype::F32 if load.payload => {
                self.load_as(load, view::<u32>(source), float::canonical, index, out)
            }
            Dtype::F32 | Dtype::I32 | Dtype::U32 => {
                self.load_as(load, view::<u32>(source), |x| x, index, out)
            }
            Dtype::U16 => self.load_as(load, view::<u16>(source), u32::from, index, out),
            Dtype::U8 => self.load_as(load, source, u32::from, index, out),
            Dtype::I8 => self.load_as(load, source, |x| x as i8 as u32, index, out),
        }
    }

    fn load_as<T: Plain>(
        &self,
        load: &Load,
        source: &[T],
        widen: impl Fn(T) -> u32 + Copy,
        index: &[Vec<i64>],
        out: &mut [u32],
    ) {
        if load.indexed() {
            return self.gather(load, source, widen, index, out);
        }
        let step = load.offset.coords[self.along];
        for (at, len, coords) in self.runs() {
            let mut span = (0, len);
            for bound in &load.bounds {
                let (start, end) = bound.interval(coords, self.along, len);
                span = (span.0.max(start), span.1.min(end));
            }
            let out = &mut out[at..at + len];
            if span.0 >= span.1 {
                out.fill(load.fill);
                continue;
            }
            out[..span.0].fill(load.fill);
            out[span.1..].fill(load.fill);
            let out = &mut out[span.0..span.1];
            let from = load.offset.at(coords);
            let from = from.wrapping_add(step.wrapping_mul(span.0 as i64));
            match step {
                0 => out.fill(widen(source[from as usize])),
                1 => {
                    let source = &source[from as usize..][..out.len()];
                    for (to, x) in out.iter_mut().zip(source) {
                        *to = widen(*x);
                    }
                }
                _ => {
                    let mut at = from;
                    for to in out {
                        *to = widen(source[at as usize]);
                        at = at.wrapping_add(step);
                    }
                }
            }
        }
    }

    fn gather<T: Plain>(
        &self,
        load: &Load,
        source: &[T],
        widen: impl Fn(T) -> u32,
        index: &[Vec<i64>],
        out: &mut [u32],
    ) {
        for (at, len, coords) in self.runs() {
            for (i, to) in out[at..at + len].iter_mut().enumerate() {
                let value = |form: &Linear| self.value(form, coords, i, at + i, index);
                let inside = |bound: &Range| (bound.lo..bound.hi).contains(&value(&bound.form));
                *to = if load.bounds.iter().all(inside) {
                    widen(source[value(&load.offset) as usize])
                } else {
                    load.fill
                };
            }
        }
    }

    fn value(
        &self,
        form: &Linear,
        coords: &[i64],
        i: usize,
        point: usize,
        index: &[Vec<i64>],
    ) -> i64 {
        let along = form.coords[self.along].wrapping_mul(i as i64);
        let words = form.index.iter().zip(index);
        words.fold(form.at(coords).wrapping_add(along), |sum, (coef, words)| {
            sum.wrapping_add(coef.wrapping_mul(words[point]))
        })
    }

    /// The index word that `load` reads, for every point.
    pub fn load_index(&self, load: &Load, source: &[u8], words: &mut [u32], out: &mut Vec<i64>) {
        self.load(load, source, &[], words);
        out.clear();
        out.extend(words[..self.len].iter().map(|bits| word(load.dtype, *bits)));
    }

    /// The low words of a form's values.
    pub fn forms(&self, form: &Linear, index: &[Vec<i64>], out: &mut [u32]) {
        for (at, len, coords) in self.runs() {
            let from = form.at(coords) as u32;
            let step = form.coords[self.along] as u32;
            for (i, to) in out[at..at + len].iter_mut().enumerate() {
                *to = from.wrapping_add(step.wrapping_mul(i as u32));
            }
        }
        for (coef, words) in form.index.iter().zip(index).filter(|(coef, _)| **coef != 0) {
            for (to, word) in out.iter_mut().zip(words) {
                *to = to.wrapping_add(coef.wrapping_mul(*word) as u32);
            }
        }
    }

    /// Clears `mask` where the points do not satisfy a guard on index words.
    pub fn guard_indexed(&self, guard: &Range, index: &[Vec<i64>], mask: &mut [u32]) {
        for (at, len, coords) in self.runs() {
            for (i, mask) in mask[at..at + len].iter_mut().enumerate() {
                let value = self.value(&guard.form, coords, i, at + i, index);
                *mask &= (guard.lo..guard.hi).contains(&value) as u32;
            }
        }
    }
}

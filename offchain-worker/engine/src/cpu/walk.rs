//! Reads operands along one part of their access, while the other parts stand still.
//!
//! Long runs of the innermost dimension are copied, with the conditions turned into the interval of
//! the run on which they hold. Where runs are short, a table says for each point what it adds, and
//! the words are gathered.

use super::affine::{Load, Place, Point, Range, Side, RANGES};
use super::buffer::{view, Plain};
use super::gather::Table;
use super::simd::Simd;
use lockstep_protocol::float;
use lockstep_protocol::program::{limits, Dtype};

/// Mean length of runs from which copying them is faster than gathering.
const LONG: usize = 12;

/// Consecutive points of a part.
#[derive(Default)]
pub struct Walk {
    len: usize,
    runs: Vec<Run>,
    /// What the first point of each run adds to the positions; empty when there are no conditions.
    positions: Vec<[i64; RANGES]>,
    /// What one unit of the innermost dimension adds.
    unit: Point,
    table: Table,
}

/// Points along the innermost dimension.
#[derive(Clone, Copy)]
struct Run {
    first: u32,
    len: u32,
    /// What the first point adds to the offset.
    offset: i64,
}

impl Walk {
    /// Points `first..first + count` of `side`, a part of `place`. A table is made where runs are
    /// short, if the walk will be read `often`.
    pub fn set(&mut self, place: &Place, side: &Side, first: u64, count: usize, often: bool) {
        self.clear();
        self.len = count;
        let tested = !place.ranges.is_empty();
        let Some(inner) = side.extents.last().copied() else {
            self.push(0, count, &Point::default(), tested);
            return;
        };
        let outer = side.extents.len() - 1;
        self.unit = side.units[outer];
        let mut coords = [0i64; limits::DIMS];
        let mut left = first;
        for (x, extent) in coords.iter_mut().zip(&side.extents).rev() {
            *x = (left % *extent as u64) as i64;
            left /= *extent as u64;
        }
        let mut start = side.point(first);
        let add = |start: &mut Point, unit: &Point, times: i64| match tested {
            true => *start = start.plus(&unit.times(times)),
            false => {
                let offset = unit.offset.wrapping_mul(times);
                start.offset = start.offset.wrapping_add(offset);
            }
        };
        let mut at = 0;
        while at < count {
            let run = ((inner - coords[outer]) as usize).min(count - at);
            self.push(at, run, &start, tested);
            at += run;
            // Back to the beginning of the innermost dimension, and one further in the others.
            add(&mut start, &self.unit, -coords[outer]);
            coords[outer] = 0;
            for d in (0..outer).rev() {
                coords[d] += 1;
                add(&mut start, &side.units[d], 1);
                if coords[d] < side.extents[d] {
                    break;
                }
                add(&mut start, &side.units[d], -coords[d]);
                coords[d] = 0;
            }
        }
        if often && place.small && count < LONG * self.runs.len() {
            let mut table = std::mem::take(&mut self.table);
            table.fill(place.ranges.len(), self);
            self.table = table;
        }
    }

    /// No points at all.
    pub fn clear(&mut self) {
        self.len = 0;
        self.runs.clear();
        self.positions.clear();
        self.unit = Point::default();
        self.table.filled = false;
    }

    fn push(&mut self, first: usize, len: usize, start: &Point, tested: bool) {
        self.runs.push(Run {
            first: first as u32,
            len: len as u32,
            offset: start.offset,
        });
        if tested {
            self.positions.push(start.positions);
        }
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Points of a run on average, rounded down.
    pub fn mean_run(&self) -> usize {
        self.len / self.runs.len().max(1)
    }

    /// Whether short runs were put in a table.
    pub fn tabled(&self) -> bool {
        self.table.filled
    }

    /// What one point of a run adds to the one before.
    pub fn unit(&self) -> &Point {
        &self.unit
    }

    /// The first point and the length of each run, and what its first point adds.
    pub fn runs(&self) -> impl ExactSizeIterator<Item = (usize, usize, Point)> + '_ {
        self.runs.iter().enumerate().map(|(r, run)| {
            let start = Point {
                offset: run.offset,
                positions: self.positions.get(r).copied().unwrap_or_default(),
            };
            (run.first as usize, run.len as usize, start)
        })
    }

    /// What each point adds.
    pub fn points(&self) -> impl Iterator<Item = Point> + '_ {
        let unit = &self.unit;
        self.runs().flat_map(move |(_, len, start)| {
            (0..len as i64).map(move |i| start.plus(&unit.times(i)))
        })
    }

    /// Whether every point passes every condition when the other parts add `at`.
    pub fn inside(&self, ranges: &[Range], at: &Point) -> bool {
        self.runs().all(|(_, len, start)| {
            ranges.iter().enumerate().all(|(k, range)| {
                let from = start.positions[k].wrapping_add(at.positions[k]);
                let last = self.unit.positions[k].wrapping_mul(len as i64 - 1);
                range.holds(from) && range.holds(from.wrapping_add(last))
            })
        })
    }

    /// The words themselves, if they lie one after another and pass every condition.
    pub fn in_place<'a, T>(&self, place: &Place, source: &'a [T], at: &Point) -> Option<&'a [T]> {
        let len = self.len;
        let apart = self.runs.len() != 1 || len > 1 && self.unit.offset != 1;
        if apart || !self.inside(&place.ranges, at) {
            return None;
        }
        let from = self.start(at);
        Some(&source[from..from + len])
    }

    /// The offset of the first point when the other parts add `at`.
    pub fn start(&self, at: &Point) -> usize {
        let first = self.runs.first().map_or(0, |run| run.offset);
        first.wrapping_add(at.offset) as usize
    }

    /// Reads the word of every point into every `step`-th element of `out`; `at` is what the other
    /// parts add.
    ///
    /// Gathered words come as they are when they are 32 bits wide, whatever `widen` says.
    ///
    /// # Panics
    /// When an element is outside of `source`.
    #[allow(clippy::too_many_arguments)]
    pub fn read<T: Plain>(
        &self,
        place: &Place,
        source: &[T],
        at: &Point,
        fill: u32,
        simd: Simd,
        widen: impl Fn(T) -> u32 + Copy,
        out: &mut [u32],
        step: usize,
    ) {
        if self.table.filled && step == 1 {
            return self.table.gather(place, source, at, fill, simd, widen, out);
        }
        if place.ranges.is_empty() {
            for run in &self.runs {
                let out = &mut out[run.first as usize * step..];
                let out = &mut out[..(run.len as usize - 1) * step + 1];
                let from = run.offset.wrapping_add(at.offset);
                copy(source, from, self.unit.offset, widen, out, step);
            }
            return;
        }
        for (first, len, start) in self.runs() {
            let out = &mut out[first * step..][..(len - 1) * step + 1];
            self.read_run(place, source, &start, at, fill, widen, out, step);
        }
    }

    /// Reads a part of a run, whose first point adds `start`, into every `step`-th element of `out`
    /// from the first to the last.
    #[allow(clippy::too_many_arguments)]
    fn read_run<T: Plain>(
        &self,
        place: &Place,
        source: &[T],
        start: &Point,
        at: &Point,
        fill: u32,
        widen: impl Fn(T) -> u32,
        out: &mut [u32],
        step: usize,
    ) {
        let len = out.len().div_ceil(step);
        let span = self.span(&place.ranges, start, at, len);
        let outside = (0..span.0).chain(span.1..len);
        outside.for_each(|i| out[i * step] = fill);
        if span.0 == span.1 {
            return;
        }
        let skipped = self.unit.offset.wrapping_mul(span.0 as i64);
        let from = start.offset.wrapping_add(at.offset).wrapping_add(skipped);
        let out = &mut out[span.0 * step..][..(span.1 - span.0 - 1) * step + 1];
        copy(source, from, self.unit.offset, widen, out, step);
    }
}

/// What index words add to the points of a walk.
#[derive(Clone, Copy)]
pub struct Words<'a> {
    /// What one unit of each word adds.
    units: &'a [Point],
    /// For each word, its value at every point.
    values: [&'a [i64]; limits::INDEX],
}

impl<'a> Words<'a> {
    /// The words of a place, given their values from the walk's first point on.
    pub fn new(place: &'a Place, values: [&'a [i64]; limits::INDEX]) -> Words<'a> {
        Words {
            units: &place.words,
            values,
        }
    }

    /// How many points from `first` on, below `end`, have the same words.
    fn alike(&self, first: usize, end: usize) -> usize {
        let words = self.units.iter().zip(&self.values);
        let used = words.filter(|(unit, _)| !unit.zero());
        used.fold(end - first, |alike, (_, values)| {
            let values = &values[first..first + alike];
            let same = values.iter().position(|value| *value != values[0]);
            same.unwrap_or(alike)
        })
    }

    /// `point` with what the words add at point `i`.
    fn add(&self, point: Point, i: usize) -> Point {
        let words = self.units.iter().zip(&self.values);
        words
            .filter(|(unit, _)| !unit.zero())
            .fold(point, |sum, (unit, values)| {
                sum.plus(&unit.times(values[i]))
            })
    }
}

impl Walk {
    /// As [`Walk::read`], where the access depends on index words. Neighbouring points often have
    /// the same words, as those of one row of a table do, and are then read as one.
    pub fn read_indexed<T: Plain>(
        &self,
        load: &Load,
        source: &[T],
        at: &Point,
        words: Words<'_>,
        widen: impl Fn(T) -> u32 + Copy,
        out: &mut [u32],
    ) {
        for (first, len, start) in self.runs() {
            let mut next = first;
            while next < first + len {
                let same = words.alike(next, first + len);
                let offset = self.unit.times((next - first) as i64);
                let start = start.plus(&offset);
                let at = words.add(*at, next);
                let out = &mut out[next..next + same];
                self.read_run(&load.place, source, &start, &at, load.fill, widen, out, 1);
                next += same;
            }
        }
    }

    /// The low words of every point's offset.
    pub fn offsets(&self, at: &Point, words: Option<Words<'_>>, out: &mut [u32]) {
        if let Some(words) = words {
            for ((i, point), to) in self.points().enumerate().zip(out) {
                *to = words.add(point.plus(at), i).offset as u32;
            }
            return;
        }
        for (first, len, start) in self.runs() {
            let from = start.offset.wrapping_add(at.offset) as u32;
            let unit = self.unit.offset as u32;
            for (to, i) in out[first..first + len].iter_mut().zip(0u32..) {
                *to = from.wrapping_add(unit.wrapping_mul(i));
            }
        }
    }

    /// Writes 1 for every point that passes every condition, else 0; returns how many pass.
    pub fn mask(&self, ranges: &[Range], at: &Point, out: &mut [u32]) -> usize {
        let mut passing = 0;
        for (first, len, start) in self.runs() {
            let span = self.span(ranges, &start, at, len);
            let out = &mut out[first..first + len];
            out.fill(0);
            out[span.0..span.1].fill(1);
            passing += span.1 - span.0;
        }
        passing
    }

    /// Clears the mask of every point that does not pass every condition.
    pub fn mask_indexed(&self, ranges: &[Range], at: &Point, words: Words<'_>, mask: &mut [u32]) {
        for ((i, point), mask) in self.points().enumerate().zip(mask) {
            *mask &= words.add(point.plus(at), i).passes(ranges) as u32;
        }
    }

    /// The points of a run that pass every condition, `(0, 0)` when none does.
    fn span(&self, ranges: &[Range], start: &Point, at: &Point, len: usize) -> (usize, usize) {
        let mut span = (0, len);
        for (k, range) in ranges.iter().enumerate() {
            let from = start.positions[k].wrapping_add(at.positions[k]);
            let (lo, hi) = range.span(from, self.unit.positions[k], len);
            span = (span.0.max(lo), span.1.min(hi));
        }
        match span.0 < span.1 {
            true => span,
            false => (0, 0),
        }
    }
}

impl Load {
    /// Reads the operand at every point of `walk`, a walk of one of its parts; `at` is what the
    /// other parts add.
    ///
    /// # Panics
    /// When an element is outside of `source`.
    pub fn read(&self, walk: &Walk, source: &[u8], at: &Point, simd: Simd, out: &mut [u32]) {
        let Load { place, fill, .. } = self;
        match self.dtype {
            Dtype::F32 if self.payload => {
                let source = view::<u32>(source);
                walk.read(place, source, at, *fill, simd, float::canonical, out, 1);
                if walk.tabled() {
                    // Gathered as they are. A fill that would change here makes no tables.
                    out.iter_mut()
                        .for_each(|word| *word = float::canonical(*word));
                }
            }
            Dtype::F32 | Dtype::I32 | Dtype::U32 => {
                walk.read(place, view(source), at, *fill, simd, |x: u32| x, out, 1)
            }
            Dtype::U16 => {
                let source = view::<u16>(source);
                walk.read(place, source, at, *fill, simd, u32::from, out, 1)
            }
            Dtype::U8 => walk.read(place, source, at, *fill, simd, u32::from, out, 1),
            Dtype::I8 => walk.read(place, source, at, *fill, simd, sign_extend, out, 1),
        }
    }

    /// As [`Load::read`], where the access depends on index words.
    ///
    /// # Panics
    /// When an element is outside of `source`.
    pub fn read_indexed(
        &self,
        walk: &Walk,
        source: &[u8],
        at: &Point,
        values: [&[i64]; limits::INDEX],
        out: &mut [u32],
    ) {
        let words = Words::new(&self.place, values);
        match self.dtype {
            Dtype::F32 if self.payload => {
                walk.read_indexed(self, view(source), at, words, float::canonical, out)
            }
            Dtype::F32 | Dtype::I32 | Dtype::U32 => {
                walk.read_indexed(self, view(source), at, words, |x: u32| x, out)
            }
            Dtype::U16 => walk.read_indexed(self, view::<u16>(source), at, words, u32::from, out),
            Dtype::U8 => walk.read_indexed(self, source, at, words, u32::from, out),
            Dtype::I8 => walk.read_indexed(self, source, at, words, sign_extend, out),
        }
    }
}

fn sign_extend(x: u8) -> u32 {
    x as i8 as u32
}

/// Writes the words at `from`, `from + stride`, ... to every `step`-th element of `out`.
fn copy<T: Plain>(
    source: &[T],
    from: i64,
    stride: i64,
    widen: impl Fn(T) -> u32,
    out: &mut [u32],
    step: usize,
) {
    match (stride, step) {
        (1, 1) => {
            let source = &source[from as usize..][..out.len()];
            // A run of channels is often this short, and a loop would cost more than its turns.
            if let (Ok(to), Ok(from)) = (<&mut [u32; 8]>::try_from(&mut *out), source.try_into()) {
                let from: &[T; 8] = from;
                *to = from.map(widen);
                return;
            }
            for (to, x) in out.iter_mut().zip(source) {
                *to = widen(*x);
            }
        }
        (0, 1) => out.fill(widen(source[from as usize])),
        _ => {
            let mut from = from;
            for to in out.iter_mut().step_by(step) {
                *to = widen(source[from as usize]);
                from = from.wrapping_add(stride);
            }
        }
    }
}

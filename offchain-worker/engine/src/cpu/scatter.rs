//! Folds that scatter: every output row takes only the steps whose index word names it.
//!
//! The gradient of an embedding is such a fold: over all tokens, guarded by `id == row`. Taken
//! literally it costs rows times tokens; here the tokens are sorted into buckets first. A row then
//! walks its own steps in ascending order, and skipping the others changes nothing.

use super::affine::{word, Load};
use super::simd::Simd;
use super::walk::Walk;
use lockstep_protocol::program::{var, Fold, Form, Guard};
use std::cell::RefCell;

/// Most rows for which buckets are made.
const MAX_ROWS: u64 = 1 << 26;
/// Steps whose index words are read at a time.
const CHUNK: u64 = 1024;

/// A guard that names, for each step, the only row that takes it.
pub struct Scatter {
    /// Which guard it is.
    pub guard: usize,
    /// Which index word names the row.
    pub word: usize,
    /// `row = origin + sign * word`.
    origin: i64,
    sign: i64,
    rows: u64,
    /// Output elements of a row.
    width: u64,
    steps: u64,
}

/// The steps of every row.
#[derive(Default)]
pub struct Buckets {
    width: u64,
    /// Where each row's steps begin, and one past the last row's.
    starts: Vec<u32>,
    steps: Vec<u32>,
    /// The row of every step; the number of rows where none takes it.
    row_of: Vec<u32>,
}

thread_local! {
    static WALK: RefCell<Walk> = RefCell::default();
}

/// One row's steps.
pub struct Row<'a> {
    /// The first output element after the row.
    pub end: u64,
    /// Its reduction steps, ascending.
    pub steps: &'a [u32],
}

impl Scatter {
    /// Finds a guard `word == row` over the outermost output dimension that has rows.
    pub fn recognise(fold: &Fold) -> Option<Scatter> {
        let shape = &fold.body.shape;
        let outermost = shape.iter().position(|dim| dim.0 > 1)?;
        let rows = shape[outermost].0;
        if rows > MAX_ROWS {
            return None;
        }
        let named = |(guard, condition): (usize, &Guard)| {
            let (word, sign, row) = equality(&condition.form, outermost as u8)?;
            let Guard { form, lo, hi } = condition;
            let access = &fold.body.index[word];
            let by_step = access.axes.iter().all(|axis| steps_only(&axis.form));
            if hi.0.checked_sub(lo.0) != Some(1) || !by_step {
                return None;
            }
            Some(Scatter {
                guard,
                word,
                origin: lo.0.checked_sub(form.constant.0)?.checked_mul(row)?,
                sign: -row * sign,
                rows,
                width: shape[outermost + 1..].iter().map(|dim| dim.0).product(),
                steps: fold.red.iter().map(|dim| dim.0).product(),
            })
        };
        fold.when.iter().enumerate().find_map(named)
    }

    /// Sorts the reduction steps by the row that takes them, into memory that is used again.
    /// `load` reads the index word from `source`.
    pub fn bucket(&self, load: &Load, source: &[u8], simd: Simd, buckets: &mut Buckets) {
        let rows = self.rows as usize;
        let Buckets {
            width,
            starts,
            steps,
            row_of,
        } = buckets;
        *width = self.width;
        row_of.clear();
        let mut bits = [0; CHUNK as usize];
        for from in (0..self.steps).step_by(CHUNK as usize) {
            let count = CHUNK.min(self.steps - from) as usize;
            WALK.with_borrow_mut(|walk| {
                walk.set(&load.place, &load.place.red, from, count, false);
                load.read(walk, source, &load.place.origin, simd, &mut bits[..count]);
            });
            row_of.extend(bits[..count].iter().map(|bits| {
                let word = self.sign * word(load.dtype, *bits);
                let row = word.checked_add(self.origin);
                let row = row.and_then(|row| u32::try_from(row).ok());
                row.map_or(rows as u32, |row| row.min(rows as u32))
            }));
        }
        // Counts, then where each row ends; filled from the last step on, where each begins.
        starts.clear();
        starts.resize(rows + 1, 0);
        for row in &*row_of {
            starts[*row as usize] += 1;
        }
        starts[rows] = 0;
        let mut end = 0;
        for start in starts.iter_mut() {
            end += *start;
            *start = end;
        }
        steps.clear();
        steps.resize(end as usize, 0);
        for (step, row) in row_of.iter().enumerate().rev() {
            if (*row as usize) < rows {
                starts[*row as usize] -= 1;
                steps[starts[*row as usize] as usize] = step as u32;
            }
        }
    }
}

impl Buckets {
    /// The row that output element `element` lies in.
    pub fn row(&self, element: u64) -> Row<'_> {
        let row = (element / self.width) as usize;
        let steps = self.starts[row] as usize..self.starts[row + 1] as usize;
        Row {
            end: (row as u64 + 1) * self.width,
            steps: &self.steps[steps],
        }
    }

    /// Steps of a row on average, rounded down.
    pub fn average(&self) -> u64 {
        (self.steps.len() / (self.starts.len() - 1)) as u64
    }
}

/// The index word, its sign and the row's, if the form is `+-word +-row + constant`.
fn equality(form: &Form, row: u8) -> Option<(usize, i64, i64)> {
    match form.terms.as_slice() {
        [a, b] if a.var == row && b.var >= var::INDEX => {
            let unit = |coef: i64| coef == 1 || coef == -1;
            let both = unit(a.coef.0) && unit(b.coef.0);
            both.then_some(((b.var - var::INDEX) as usize, b.coef.0, a.coef.0))
        }
        _ => None,
    }
}

/// Whether a form depends on nothing but the step.
fn steps_only(form: &Form) -> bool {
    let mut terms = form.terms.iter();
    terms.all(|term| (var::RED..var::INDEX).contains(&term.var))
}

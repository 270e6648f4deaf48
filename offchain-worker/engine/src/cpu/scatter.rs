//! Folds that scatter: every output row takes only the steps whose index word names it.
//!
//! The gradient of an embedding is such a fold: over all tokens, guarded by `id == row`. Taken
//! literally it costs rows times tokens; here the tokens are sorted into buckets first. A row then
//! walks its own steps in ascending order, and skipping the others changes nothing.

use super::affine::{Domain, Load, Range};
use super::tile::Tile;

/// Most rows for which buckets are made.
const MAX_ROWS: i64 = 1 << 26;
/// Steps whose index words are read at a time.
const CHUNK: u64 = 1024;

/// A guard that names, for each step, the only row that takes it.
pub struct Scatter {
    /// Which index word names the row.
    pub word: usize,
    /// `row = origin + sign * word`.
    origin: i64,
    sign: i64,
}

/// The steps of every row.
pub struct Buckets {
    /// Output elements of a row.
    width: u64,
    /// Where each row's steps begin, and one past the last row's.
    starts: Vec<u32>,
    steps: Vec<u32>,
}

/// One row's steps.
pub struct Row<'a> {
    /// The first output element after the row.
    pub end: u64,
    /// Its reduction steps, ascending.
    pub steps: &'a [u32],
}

impl Scatter {
    /// Finds a guard `word == row` over the outermost output dimension and removes it from
    /// `guards`.
    pub fn recognise(domain: &Domain, index: &[Load], guards: &mut Vec<Range>) -> Option<Scatter> {
        if domain.red.is_empty() || domain.out[0] > MAX_ROWS {
            return None;
        }
        let found = guards.iter().enumerate().find_map(|(g, guard)| {
            let form = &guard.form;
            let row = form.coords[0];
            let alone = form.coords[1..].iter().all(|c| *c == 0);
            let word = match form.index {
                [1 | -1, 0] => 0,
                [0, 1 | -1] => 1,
                _ => return None,
            };
            let by_step = (0..domain.out.len()).all(|d| !index[word].depends(d));
            if row.abs() != 1 || !alone || !by_step || guard.hi.checked_sub(guard.lo) != Some(1) {
                return None;
            }
            let origin = guard.lo.checked_sub(form.constant)?.checked_mul(row)?;
            let sign = -row * form.index[word];
            Some((g, Scatter { word, origin, sign }))
        });
        found.map(|(g, scatter)| {
            guards.remove(g);
            scatter
        })
    }

    /// Sorts the reduction steps by the row that takes them. `load` reads the index word from
    /// `source`.
    pub fn bucket(&self, domain: &Domain, load: &Load, source: &[u8], steps: u64) -> Buckets {
        let rows = domain.out[0] as usize;
        let mut base = Tile::default();
        base.set_outputs(domain, 0..1);
        let mut tile = Tile::default();
        let mut bits = [0; CHUNK as usize];
        let mut words = Vec::new();
        let mut row_of = Vec::with_capacity(steps as usize);
        for from in (0..steps).step_by(CHUNK as usize) {
            tile.set_columns(&base, domain, from..(from + CHUNK).min(steps));
            tile.load_index(load, source, &mut bits, &mut words);
            row_of.extend(words.iter().map(|word| {
                let row = (self.sign * word).checked_add(self.origin);
                row.and_then(|row| usize::try_from(row).ok())
                    .filter(|row| *row < rows)
            }));
        }
        let mut starts = vec![0u32; rows + 1];
        for row in row_of.iter().flatten() {
            starts[row + 1] += 1;
        }
        for row in 0..rows {
            starts[row + 1] += starts[row];
        }
        let mut next = starts.clone();
        let mut sorted = vec![0; starts[rows] as usize];
        for (step, row) in row_of.iter().enumerate() {
            if let Some(row) = row {
                sorted[next[*row] as usize] = step as u32;
                next[*row] += 1;
            }
        }
        let width = domain.out[1..].iter().product::<i64>() as u64;
        Buckets {
            width,
            starts,
            steps: sorted,
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

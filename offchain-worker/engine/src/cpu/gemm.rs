//! Blocked multiplication of packed operands.
//!
//! The loops are those of Goto and van de Geijn ("Anatomy of High-Performance Matrix
//! Multiplication", 2008), with one restriction: blocks of K come in ascending order, and every
//! element's sum goes through all of them in turn.

pub mod direct;
pub mod micro;
pub mod pack;
pub mod transpose;

use super::affine::Side;
use super::buffer::{view_mut, Buffer};
use super::workers::Team;
use micro::{From, Micro, Tile, MAX_COLS, MAX_ROWS};
use std::cell::RefCell;
use std::ops::Range;

/// Steps of a block.
const BLOCK_K: usize = 1024;
/// Rows that are packed at a time, and rows of a task; both multiples of every tile's rows.
const BLOCK_M: usize = 84 * 24;
const TASK_M: usize = 84;
/// Columns that are packed at a time, and columns of a task; both multiples of every tile's.
const BLOCK_N: usize = 1024;
const TASK_N: usize = 512;
/// Columns up to which every thread packs them for itself, and words of rows that are then packed
/// at a time: what is used only once should still be in the second-level cache.
const FEW_COLUMNS: usize = 128;
const FEW_COLUMNS_WORDS: usize = 64 << 10;

/// Packs lanes (rows or columns) `first..first + count` of the steps that were prepared, `width`
/// words for each step.
pub trait Pack: Sync {
    /// Writes the panel.
    fn panel(&self, first: usize, count: usize, width: usize, out: &mut [u32]);

    /// Whether the steps of a lane lie side by side, so that [`Pack::rows`] is faster.
    fn in_rows(&self, count: usize) -> bool;

    /// Writes the lanes one after another, each one's steps at the start of `stride` words.
    fn rows(&self, first: usize, count: usize, stride: usize, out: &mut [u32]);
}

/// One multiplication: `c[m, n]` takes its start and then `k` steps.
pub struct Gemm<'a> {
    /// Rows, columns and steps.
    pub size: [usize; 3],
    /// Offsets of rows and of columns in the output.
    pub layout: [&'a Side; 2],
    /// Offset of the first element in the output.
    pub offset: usize,
    /// Where the sums start.
    pub from: From,
    /// The micro-kernels.
    pub micro: Micro,
    /// The threads that help.
    pub team: Team<'a>,
}

/// The output of a multiplication; tasks write disjoint elements of it.
#[derive(Clone, Copy)]
pub struct Output(*mut f32);

// SAFETY: tasks write disjoint elements.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

impl Output {
    /// The output that `words` holds.
    pub fn new(words: &mut [f32]) -> Output {
        Output(words.as_mut_ptr())
    }
}

/// Where operands are packed.
#[derive(Default)]
struct Packed {
    a: Buffer,
    b: Buffer,
    /// Between two rows' words for a step, and between a row's words for two steps. Where the
    /// former is 1, the rows of a tile lie together.
    a_strides: [usize; 2],
    /// Offsets of the block's rows and columns in the output.
    rows: Vec<usize>,
    cols: Vec<usize>,
}

thread_local! {
    static PACKED: RefCell<Packed> = RefCell::default();
}

impl Gemm<'_> {
    /// Multiplies. `prepare(first, count)` gives the operands' packers for a block of steps.
    ///
    /// # Safety
    /// The machine must have the micro-kernels' instruction set. The layout must give every
    /// element of the multiplication its own offset, inside of `c`.
    pub unsafe fn run<P: Pack>(&self, c: Output, prepare: impl Fn(usize, usize) -> [P; 2] + Sync) {
        let [m, n, _] = self.size;
        if n > FEW_COLUMNS || m < n {
            return self.rows(c, &prepare, 0..m, BLOCK_M, self.team);
        }
        let parts = match self.team.threads {
            1 => 1,
            threads => m.div_ceil(TASK_M).min(4 * threads),
        };
        let part = m.div_ceil(parts).next_multiple_of(self.micro.rows);
        self.team.each(m.div_ceil(part), |p| {
            let rows = p * part..((p + 1) * part).min(m);
            let depth = self.size[2].clamp(1, BLOCK_K);
            let block = (FEW_COLUMNS_WORDS / depth).next_multiple_of(TASK_M);
            self.rows(c, &prepare, rows, block.min(BLOCK_M), self.team.alone());
        });
    }

    /// Multiplies the rows `rows`, `block_m` of them at a time.
    unsafe fn rows<P: Pack>(
        &self,
        c: Output,
        prepare: &impl Fn(usize, usize) -> [P; 2],
        rows: Range<usize>,
        block_m: usize,
        team: Team,
    ) {
        // Taken, not borrowed: no task of this thread can find it in use.
        let mut packed = PACKED.take();
        let [_, n, k] = self.size;
        // Blocks of equal length: a short last one would not pay for its way through the output.
        // Without any steps one empty block writes the start.
        let block_k = k.div_ceil(k.div_ceil(BLOCK_K).max(1)).max(1);
        for n0 in (0..n).step_by(BLOCK_N) {
            let ns = (n - n0).min(BLOCK_N);
            packed.cols.resize(ns, 0);
            self.layout[1].offsets(n0 as u64, &mut packed.cols);
            for k0 in (0..k.max(1)).step_by(block_k) {
                let ks = (k - k0).min(block_k);
                let [a, b] = &prepare(k0, ks);
                for m0 in rows.clone().step_by(block_m) {
                    let ms = (rows.end - m0).min(block_m);
                    let first = m0 == rows.start;
                    packed.rows.resize(ms, 0);
                    self.layout[0].offsets(m0 as u64, &mut packed.rows);
                    packed.rows.iter_mut().for_each(|row| *row += self.offset);
                    if ks > 0 {
                        self.pack([a, b], [m0, n0], [ms, ns, ks], first, team, &mut packed);
                    }
                    self.block(&packed, k0, [ms, ns, ks], team, c);
                }
            }
        }
        PACKED.set(packed);
    }

    /// Packs a block of rows, and of columns where `columns` says so.
    fn pack<P: Pack>(
        &self,
        [a, b]: [&P; 2],
        [m0, n0]: [usize; 2],
        [ms, ns, ks]: [usize; 3],
        columns: bool,
        team: Team,
        packed: &mut Packed,
    ) {
        let (rows, cols) = (self.micro.rows, self.micro.cols());
        let in_rows = a.in_rows(rows);
        // An odd number of cache lines between rows spreads a tile's words over the cache.
        let stride = match in_rows {
            true => (ks.div_ceil(16) | 1) * 16,
            false => ks,
        };
        packed.a_strides = if in_rows { [stride, 1] } else { [1, rows] };
        let a_words = view_mut::<u32>(packed.a.reserve(ms * stride * 4));
        team.chunks(a_words, rows * stride, |p, out| {
            let (first, count) = (m0 + p * rows, (ms - p * rows).min(rows));
            match in_rows {
                true => a.rows(first, count, stride, out),
                false => a.panel(first, count, count, out),
            }
        });
        if columns {
            let b_words = view_mut::<u32>(packed.b.reserve(ns.div_ceil(cols) * cols * ks * 4));
            team.chunks(b_words, cols * ks, |p, out| {
                let count = (ns - p * cols).min(cols);
                let width = self.micro.vectors(count) * self.micro.lanes;
                b.panel(n0 + p * cols, count, width, out);
            });
        }
    }

    /// Multiplies packed blocks.
    unsafe fn block(
        &self,
        packed: &Packed,
        k0: usize,
        [ms, ns, ks]: [usize; 3],
        team: Team,
        c: Output,
    ) {
        let task_n = if team.threads > 1 { TASK_N } else { BLOCK_N };
        let tasks = [ms.div_ceil(TASK_M), ns.div_ceil(task_n)];
        let run = |task: usize| {
            let (i, j) = (task % tasks[0], task / tasks[0]);
            let rows = i * TASK_M..((i + 1) * TASK_M).min(ms);
            let cols = j * task_n..((j + 1) * task_n).min(ns);
            self.task(packed, k0, [ms, ns, ks], rows, cols, c);
        };
        team.each(tasks[0] * tasks[1], run);
    }

    unsafe fn task(
        &self,
        packed: &Packed,
        k0: usize,
        [ms, ns, ks]: [usize; 3],
        rows: Range<usize>,
        cols: Range<usize>,
        c: Output,
    ) {
        let micro = &self.micro;
        for n in cols.step_by(micro.cols()) {
            let count = (ns - n).min(micro.cols());
            let col_offsets = &packed.cols[n..n + count];
            let first = col_offsets[0];
            let adjacent = adjacent(col_offsets);
            for m in rows.clone().step_by(micro.rows) {
                let height = (ms - m).min(micro.rows);
                let (row_offsets, after) = packed.rows[m..rows.end].split_at(height);
                // A tile of fewer rows lies closer together.
                let (row_words, a_strides) = match packed.a_strides {
                    [1, _] => (ks, [1, height]),
                    strides => (strides[0], strides),
                };
                let tile = Tile {
                    k: ks,
                    runs: &[[0, 0]],
                    a: (packed.a.bytes().as_ptr().cast::<f32>()).add(m * row_words),
                    a_strides,
                    b: packed.b.bytes().as_ptr().cast::<f32>().add(n * ks),
                    b_stride: micro.vectors(count) * micro.lanes,
                    c: c.0.add(first),
                    rows: row_offsets,
                    cols: count,
                    from: if k0 == 0 { self.from } else { From::Output },
                    last: k0 + ks == self.size[2],
                };
                if adjacent {
                    // The next tile's part of the output comes near while this one computes.
                    for row in after.iter().take(micro.rows) {
                        micro::prefetch(c.0.add(first + row), count);
                    }
                    micro.run(&tile);
                } else {
                    apart(micro, &tile, col_offsets, c);
                }
            }
        }
    }
}

/// Whether columns lie side by side in the output.
fn adjacent(cols: &[usize]) -> bool {
    (cols[0]..).zip(cols).all(|(a, b)| a == *b)
}

/// Computes a tile whose columns do not lie side by side, through one whose do.
unsafe fn apart(micro: &Micro, tile: &Tile<'_>, cols: &[usize], c: Output) {
    let rows = tile.rows;
    let mut side = [0f32; MAX_ROWS * MAX_COLS];
    let side_rows: [usize; MAX_ROWS] = std::array::from_fn(|i| i * MAX_COLS);
    if let From::Output = tile.from {
        for (i, row) in rows.iter().enumerate() {
            for (j, col) in cols.iter().enumerate() {
                side[i * MAX_COLS + j] = *c.0.add(row + col);
            }
        }
    }
    micro.run(&Tile {
        c: side.as_mut_ptr(),
        rows: &side_rows[..rows.len()],
        ..*tile
    });
    for (i, row) in rows.iter().enumerate() {
        for (j, col) in cols.iter().enumerate() {
            *c.0.add(row + col) = side[i * MAX_COLS + j];
        }
    }
}

//! Blocked multiplication of packed 8-bit operands.

use super::micro::{Micro, Sums, Tile, GROUP, MAX_COLS, MAX_ROWS};
use super::pack::{pack, Steps};
use crate::cpu::buffer::{view, view_mut, Buffer};
use crate::cpu::product::{Operand, Product};
use crate::cpu::walk::Walk;
use crate::cpu::workers::Team;
use std::cell::RefCell;
use std::ops::Range;

/// The longest part of a sum that is computed at a time.
pub const PART_K: usize = 1024;
/// Steps that are packed at a time, over all their parts.
const BLOCK_K: usize = 4096;
/// Rows that are packed at a time, and rows of a task; both multiples of every tile's rows.
const BLOCK_M: usize = 84 * 24;
const TASK_M: usize = 84;
/// Columns that are packed at a time, and columns of a task; both multiples of every tile's.
const BLOCK_N: usize = 2048;
const TASK_N: usize = 512;

/// Steps of one batch.
#[derive(Default)]
pub struct Part {
    /// The batch.
    pub batch: u64,
    /// Whether no part of the batch comes before.
    pub first: bool,
    steps: [Steps; 2],
}

/// Sums of a tile over a part.
pub struct Done<'a> {
    /// Over which part.
    pub part: &'a Part,
    /// The sums, row after row.
    pub sums: &'a Sums,
    /// Rows and columns of the product.
    pub at: [Range<usize>; 2],
    /// Offsets of the rows and of the columns in a batch's output.
    pub offsets: [&'a [usize]; 2],
    /// Whether the columns lie side by side there.
    pub adjacent: bool,
}

/// What becomes of sums.
pub trait Finish: Sync {
    /// Takes the sums of a tile. Those of one tile come batch after batch and part after part;
    /// different tiles come at the same time.
    fn finish(&self, done: Done<'_>);
}

/// One node's products.
pub struct Multiply<'a> {
    /// Its dimensions.
    pub product: &'a Product,
    /// The bytes of the operand of the rows and of that of the columns.
    pub sources: [&'a [u8]; 2],
    /// The micro-kernels.
    pub micro: Micro,
    /// The threads that help.
    pub team: Team<'a>,
}

/// Where operands are packed.
#[derive(Default)]
struct Packed {
    a: Buffer,
    b: Buffer,
    rows: Vec<usize>,
    cols: Vec<usize>,
    parts: Vec<Part>,
    /// Steps that guards let through.
    passing: Vec<u64>,
}

thread_local! {
    static PACKED: RefCell<Packed> = RefCell::default();
    static LANES: RefCell<Walk> = RefCell::default();
}

impl Multiply<'_> {
    /// Multiplies, and gives all sums to `finish`.
    ///
    /// # Panics
    /// When an element is outside of its source.
    pub fn run(&self, finish: &impl Finish) {
        // Taken, not borrowed: no task of this thread can find it in use.
        let mut packed = PACKED.take();
        let mut room = std::mem::take(&mut packed.parts);
        let [m, n, _] = self.product.size;
        let layout = [0, 1].map(|o: usize| &self.product.operands[o].layout);
        for n0 in (0..n).step_by(BLOCK_N) {
            let ns = (n - n0).min(BLOCK_N);
            packed.cols.resize(ns, 0);
            layout[1].offsets(n0 as u64, &mut packed.cols);
            let mut next = (0, 0);
            loop {
                let count = self.parts(&mut next, &mut room, &mut packed.passing);
                let parts = &room[..count];
                if parts.is_empty() {
                    break;
                }
                self.pack_columns(parts, n0..n0 + ns, &mut packed.b);
                for m0 in (0..m).step_by(BLOCK_M) {
                    let ms = (m - m0).min(BLOCK_M);
                    packed.rows.resize(ms, 0);
                    layout[0].offsets(m0 as u64, &mut packed.rows);
                    self.pack_rows(parts, m0..m0 + ms, &mut packed.a);
                    self.block(&packed, parts, [m0, n0], finish);
                }
            }
        }
        packed.parts = room;
        PACKED.set(packed);
    }

    /// Puts the parts that are packed next, from a batch and a step of it on, first into `parts`;
    /// returns how many they are, none at the end.
    fn parts(&self, next: &mut (u64, usize), parts: &mut Vec<Part>, list: &mut Vec<u64>) -> usize {
        let mut made = 0;
        let mut room = BLOCK_K;
        while next.0 < self.product.batches && room > 0 {
            let (batch, k0) = *next;
            let passing = self.product.passing(batch, list);
            let all = passing.map_or(self.product.size[2], <[u64]>::len);
            let count = (all - k0).min(PART_K);
            if count > room && made > 0 {
                break;
            }
            room = room.saturating_sub(count.max(1));
            if parts.len() == made {
                parts.push(Part::default());
            }
            let part = &mut parts[made];
            made += 1;
            (part.batch, part.first) = (batch, k0 == 0);
            for (steps, operand) in part.steps.iter_mut().zip(&self.product.operands) {
                let (load, at) = (&operand.load, operand.batch.point(batch));
                match passing {
                    None => steps.set(load, &at, (k0 as u64..).take(count)),
                    Some(list) => steps.set(load, &at, list[k0..k0 + count].iter().copied()),
                }
            }
            *next = match k0 + count < all {
                true => (batch, k0 + count),
                false => (batch + 1, 0),
            };
        }
        made
    }

    fn pack_rows(&self, parts: &[Part], rows: Range<usize>, out: &mut Buffer) {
        let total: usize = parts.iter().map(|part| part.steps[0].groups() + 1).sum();
        let mut rest = view_mut::<u32>(out.reserve(total * rows.len() * 4));
        for part in parts {
            let groups = part.steps[0].groups();
            let (words, after) = rest.split_at_mut((groups + 1) * rows.len());
            rest = after;
            let height = self.micro.rows;
            self.team.chunks(words, height * (groups + 1), |p, out| {
                let first = rows.start + p * height;
                let count = (rows.end - first).min(height);
                let (starts, out) = out.split_at_mut(count);
                self.panel(0, part, first, count, count, out);
                let mut elements = [0i32; MAX_ROWS];
                for group in out.chunks_exact(count) {
                    for (sum, word) in elements.iter_mut().zip(group) {
                        *sum += word
                            .to_le_bytes()
                            .map(|x| x as i8 as i32)
                            .iter()
                            .sum::<i32>();
                    }
                }
                for (start, sum) in starts.iter_mut().zip(elements) {
                    *start = self.micro.start(sum);
                }
            });
        }
    }

    fn pack_columns(&self, parts: &[Part], cols: Range<usize>, out: &mut Buffer) {
        let width = self.micro.cols();
        let padded = cols.len().next_multiple_of(width);
        let total: usize = parts.iter().map(|part| part.steps[1].groups()).sum();
        let mut rest = view_mut::<u32>(out.reserve(total * padded * 4));
        for part in parts {
            let groups = part.steps[1].groups();
            let (words, after) = rest.split_at_mut(groups * padded);
            rest = after;
            self.team.chunks(words, (width * groups).max(1), |p, out| {
                let first = cols.start + p * width;
                let count = (cols.end - first).min(width);
                let width = self.micro.vectors(count) * self.micro.lanes;
                self.panel(1, part, first, count, width, &mut out[..groups * width]);
            });
        }
    }

    /// Packs `count` lanes of an operand over a part.
    fn panel(
        &self,
        operand: usize,
        part: &Part,
        first: usize,
        count: usize,
        width: usize,
        out: &mut [u32],
    ) {
        let Operand { load, lanes, .. } = &self.product.operands[operand];
        let (source, steps) = (self.sources[operand], &part.steps[operand]);
        LANES.with_borrow_mut(|walk| {
            walk.set(&load.place, lanes, first as u64, count, true);
            pack(load, source, walk, steps, width, self.micro.simd, out);
        });
    }

    /// Multiplies packed blocks.
    fn block(&self, packed: &Packed, parts: &[Part], at: [usize; 2], finish: &impl Finish) {
        let [ms, ns] = [packed.rows.len(), packed.cols.len()];
        let task_n = match self.team.threads {
            1 => BLOCK_N,
            _ => TASK_N,
        };
        let tasks = [ms.div_ceil(TASK_M), ns.div_ceil(task_n)];
        self.team.each(tasks[0] * tasks[1], |task| {
            let (i, j) = (task % tasks[0], task / tasks[0]);
            let rows = i * TASK_M..((i + 1) * TASK_M).min(ms);
            let cols = j * task_n..((j + 1) * task_n).min(ns);
            self.task(packed, parts, [rows, cols], at, finish);
        });
    }

    fn task(
        &self,
        packed: &Packed,
        parts: &[Part],
        [rows, cols]: [Range<usize>; 2],
        [m0, n0]: [usize; 2],
        finish: &impl Finish,
    ) {
        let micro = &self.micro;
        let [ms, ns] = [packed.rows.len(), packed.cols.len()];
        let padded = ns.next_multiple_of(micro.cols());
        let [a, b] = [&packed.a, &packed.b].map(|packed| view::<u32>(packed.bytes()));
        let mut sums = Sums([0; MAX_ROWS * MAX_COLS]);
        for n in cols.step_by(micro.cols()) {
            let width = (ns - n).min(micro.cols());
            let columns = &packed.cols[n..n + width];
            let adjacent = (columns[0]..).zip(columns).all(|(a, b)| a == *b);
            let (mut a, mut b) = (a, b);
            for part in parts {
                let groups = part.steps[0].groups();
                for m in rows.clone().step_by(micro.rows) {
                    let height = (ms - m).min(micro.rows);
                    let mut tile = Tile {
                        groups,
                        a: a[m * (groups + 1)..][..height * (groups + 1)].as_ptr(),
                        b: b[n * groups..][..micro.vectors(width) * micro.lanes * groups].as_ptr(),
                        sums: &mut sums,
                    };
                    // SAFETY: the kernels were chosen for this machine, both panels are as long as
                    // they read, and columns start at whole vectors of an aligned buffer.
                    unsafe { micro.run(height, width, &mut tile) };
                    finish.finish(Done {
                        part,
                        sums: &sums,
                        at: [m0 + m..m0 + m + height, n0 + n..n0 + n + width],
                        offsets: [&packed.rows[m..m + height], columns],
                        adjacent,
                    });
                }
                a = &a[(groups + 1) * ms..];
                b = &b[groups * padded..];
            }
        }
    }
}

const _: () = assert!(PART_K.is_multiple_of(GROUP) && BLOCK_K >= PART_K);

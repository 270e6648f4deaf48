//! Products whose operands lie as a micro-kernel can read them.
//!
//! Where rows lie at equal distances, and steps in runs of equal distances, packing would only
//! copy: the windows of a convolution, the rows of attention's small products. The rows are then
//! read in place, and the columns too where they lie side by side.

use super::micro::{prefetch, From, Micro, Tile};
use super::{adjacent, apart, Output, Pack};
use crate::cpu::affine::Side;
use crate::cpu::buffer::{view_mut, Buffer};
use crate::cpu::product::{Operand, Product};
use crate::cpu::workers::Team;
use std::cell::RefCell;
use std::ops::Range;

/// Most columns: with more, packed rows are read often enough.
const MOST_COLUMNS: usize = 128;
/// Fewest steps of a run, which has to make up for finding its beginning.
const FEWEST_STEPS: usize = 8;
/// Fewest sums that a tile keeps, in vectors: fewer would wait for one another.
const FEWEST_SUMS: usize = 8;
/// Most runs.
const MOST_RUNS: usize = 1 << 16;
/// Steps of a block, whose operands should stay in the first-level cache.
const BLOCK_K: usize = 1024;
/// Rows of a task.
const TASK_M: usize = 256;

/// How the operands of a product are read.
pub struct Direct {
    /// Where each run of steps begins in both operands.
    runs: Vec<[isize; 2]>,
    /// Steps of a run, and the words from one to the next in both operands.
    steps: usize,
    strides: [usize; 2],
    /// Words from one row to the next, and how many rows lie at that distance.
    row_stride: usize,
    row_run: usize,
    /// Rows and columns of a tile.
    height: usize,
    width: usize,
    /// Whether the columns are read in place.
    in_place: bool,
    /// For each operand, the lowest and the highest offset that is read in place.
    reach: [[i64; 2]; 2],
}

/// A multiplication of one batch.
pub struct Multiply<'a> {
    /// What is multiplied.
    pub product: &'a Product,
    /// Which batch of it.
    pub batch: u64,
    /// The operands.
    pub sources: [&'a [u32]; 2],
    /// Where the sums start.
    pub from: From,
    /// The micro-kernels.
    pub micro: &'a Micro,
    /// The threads that help.
    pub team: Team<'a>,
}

/// Where the tiles of a task lie.
#[derive(Default)]
struct Places {
    /// Offsets of rows in the output.
    rows: Vec<usize>,
    /// The first row of each tile, counted from the task's, and where its words begin.
    tiles: Vec<(usize, isize)>,
}

thread_local! {
    static COLUMNS: RefCell<(Buffer, Vec<usize>)> = RefCell::default();
    static PLACES: RefCell<Places> = RefCell::default();
}

impl Direct {
    /// How `product` is read; `None` where it has to be packed.
    pub fn new(product: &Product, micro: &Micro) -> Option<Direct> {
        let [m, n, k] = product.size;
        let [rows, cols] = &product.operands;
        let conditions = [rows, cols].map(|operand| &operand.load.place.ranges);
        if product.guarded() || conditions.iter().any(|ranges| !ranges.is_empty()) {
            return None;
        }
        if n > MOST_COLUMNS || k == 0 {
            return None;
        }
        let row_run = extent(&rows.lanes, m);
        let height = row_run.div_ceil(row_run.div_ceil(micro.rows));
        let vectors = micro.vectors(n.min(micro.cols()));
        if height * vectors < FEWEST_SUMS {
            return None;
        }
        // Steps are counted off in runs that both operands walk at equal distances.
        let reds = [rows, cols].map(|operand| &operand.load.place.red);
        let steps = extent(reds[0], k).min(extent(reds[1], k));
        let even = reds.iter().all(|red| extent(red, k).is_multiple_of(steps));
        if !even || steps < FEWEST_STEPS || k / steps > MOST_RUNS {
            return None;
        }
        let width = vectors * micro.lanes;
        let side_by_side = cols.lanes.extents.len() == 1 && cols.lanes.stride() == 1;
        let in_place = side_by_side && n.is_multiple_of(micro.lanes);
        let start = |o: usize, run: usize| match o == 1 && !in_place {
            true => (run * steps * width) as isize,
            false => reds[o].point((run * steps) as u64).offset as isize,
        };
        let stride = |side: &Side| usize::try_from(side.stride()).ok();
        let columns = match in_place {
            true => stride(reds[1])?,
            false => width,
        };
        Some(Direct {
            runs: (0..k / steps)
                .map(|run| [0, 1].map(|o| start(o, run)))
                .collect(),
            steps,
            strides: [stride(reds[0])?, columns],
            row_stride: stride(&rows.lanes)?,
            row_run,
            height,
            width,
            in_place,
            reach: [reach(rows)?, reach(cols)?],
        })
    }

    /// Multiplies. `columns` packs the columns where they are not read in place.
    ///
    /// # Panics
    /// When an element is outside of the operands.
    ///
    /// # Safety
    /// The machine must have the micro-kernels' instruction set. The layout must give every
    /// element of the multiplication its own offset, inside of `c`.
    pub unsafe fn run(&self, multiply: &Multiply, columns: &impl Pack, c: Output) {
        let Multiply { product, team, .. } = multiply;
        for (o, source) in multiply.sources.iter().enumerate() {
            let [low, high] = self.reach[o];
            let inside = low >= 0 && high < source.len() as i64;
            assert!(
                inside || o == 1 && !self.in_place,
                "the validator bounds every offset"
            );
        }
        let [m, n, k] = product.size;
        // Taken, not borrowed: no task of this thread can find it in use.
        let (mut packed, mut offsets) = COLUMNS.take();
        offsets.resize(n, 0);
        product.operands[1].layout.offsets(0, &mut offsets);
        if !self.in_place {
            let words =
                view_mut::<u32>(packed.reserve(n.div_ceil(self.width) * self.width * k * 4));
            team.chunks(words, self.width * k, |p, out| {
                let first = p * self.width;
                columns.panel(first, (n - first).min(self.width), self.width, out);
            });
        }
        let b = match self.in_place {
            true => self.start(multiply, 1),
            false => packed.bytes().as_ptr().cast(),
        };
        let tiles = m / self.row_run * self.row_run.div_ceil(self.height);
        let part = (TASK_M / self.height)
            .min(tiles.div_ceil(team.threads))
            .max(1);
        // The pointer's address alone is shared.
        let b = b as usize;
        team.each(tiles.div_ceil(part), |task| {
            let tiles = task * part..((task + 1) * part).min(tiles);
            self.task(multiply, tiles, b as *const f32, &offsets, c);
        });
        COLUMNS.set((packed, offsets));
    }

    /// Where an operand's words of the batch begin.
    fn start(&self, multiply: &Multiply, o: usize) -> *const f32 {
        let operand = &multiply.product.operands[o];
        let place = &operand.load.place.origin;
        let offset = place.offset + operand.batch.point(multiply.batch).offset;
        let words = multiply.sources[o].as_ptr().cast::<f32>();
        words.wrapping_offset(offset as isize)
    }

    unsafe fn task(
        &self,
        multiply: &Multiply,
        tiles: Range<usize>,
        b: *const f32,
        cols: &[usize],
        c: Output,
    ) {
        let Multiply { product, micro, .. } = multiply;
        let tiles_of_run = self.row_run.div_ceil(self.height);
        let first_row = |tile: usize| {
            let within = (tile % tiles_of_run * self.height).min(self.row_run);
            tile / tiles_of_run * self.row_run + within
        };
        let (first, end) = (first_row(tiles.start), first_row(tiles.end));
        let a = self.start(multiply, 0);
        let offset = product.batch_layout.point(multiply.batch).offset as usize;
        PLACES.with_borrow_mut(|places| {
            let rows = &mut places.rows;
            rows.resize(end - first, 0);
            product.operands[0].layout.offsets(first as u64, rows);
            rows.iter_mut().for_each(|row| *row += offset);
            places.tiles.clear();
            places.tiles.extend(tiles.map(|tile| {
                let row = first_row(tile);
                let lane = product.operands[0].lanes.point(row as u64);
                (row - first, lane.offset as isize)
            }));
            let runs_of_block = (BLOCK_K / self.steps).max(1);
            for (block, runs) in self.runs.chunks(runs_of_block).enumerate() {
                for (panel, cols) in cols.chunks(self.width).enumerate() {
                    let side_by_side = adjacent(cols);
                    let b = match self.in_place {
                        true => b.add(panel * self.width),
                        false => b.add(panel * self.width * product.size[2]),
                    };
                    let ends = places.tiles.iter().skip(1).map(|tile| tile.0);
                    for ((row, start), end) in places.tiles.iter().zip(ends.chain([end - first])) {
                        let tile = Tile {
                            k: self.steps,
                            runs,
                            a: a.wrapping_offset(*start),
                            a_strides: [self.row_stride, self.strides[0]],
                            b,
                            b_stride: self.strides[1],
                            c: c.0.wrapping_add(cols[0]),
                            rows: &places.rows[*row..end],
                            cols: cols.len(),
                            from: match block {
                                0 => multiply.from,
                                _ => From::Output,
                            },
                            last: (block + 1) * runs_of_block >= self.runs.len(),
                        };
                        if side_by_side {
                            for row in places.rows[end..].iter().take(self.height) {
                                prefetch(tile.c.wrapping_add(*row), cols.len());
                            }
                            micro.run(&tile);
                        } else {
                            apart(micro, &tile, cols, c);
                        }
                    }
                }
            }
        });
    }
}

/// How many points of a part lie at equal distances, of `all` points.
fn extent(side: &Side, all: usize) -> usize {
    side.extents.last().map_or(all, |extent| *extent as usize)
}

/// The lowest and the highest offset of an operand, if no part of it overflows.
fn reach(operand: &Operand) -> Option<[i64; 2]> {
    let place = &operand.load.place;
    let sides = [&place.out, &place.red];
    let mut parts = sides
        .into_iter()
        .flat_map(|side| side.units.iter().zip(&side.extents));
    let start = place.origin.offset;
    parts.try_fold([start, start], |[low, high], (unit, extent)| {
        let far = unit.offset.checked_mul(extent - 1)?;
        Some([low.checked_add(far.min(0))?, high.checked_add(far.max(0))?])
    })
}

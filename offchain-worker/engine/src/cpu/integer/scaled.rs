//! Sums of scaled sums: the fold that adds up the blocks of a quantised product in f32, computed
//! together with the integer sums that it reads, which are never stored.
//!
//! Every element is the chain `acc = fma(f32(sum), scale_a * scale_b, acc)` over the blocks in
//! ascending order, whatever tiles and threads there are.

use super::micro::{Sums, MAX_COLS};
use super::multiply::{Done, Finish, PART_K};
use super::IntegerProduct;
use crate::cpu::affine::{Domain, Load, Side};
use crate::cpu::buffer::view_mut;
use crate::cpu::memory::Values;
use crate::cpu::simd::{Simd, NATIVE_FMA};
use crate::cpu::walk::Walk;
use crate::cpu::workers::Team;
use lockstep_protocol::float;
use lockstep_protocol::program::{Dtype, Fold, Init, Node, Op, Program};

/// A quantised product made ready.
pub struct ScaledProduct {
    integers: IntegerProduct,
    /// The scales of the rows and those of the columns.
    scales: [Scales; 2],
    start: f32,
}

/// Scales of the lanes of an operand in each block.
struct Scales {
    load: Load,
    lanes: Side,
}

impl ScaledProduct {
    /// Recognises such a fold of a program. `payload(n)` says whether node `n`'s bytes may hold a
    /// NaN that is not canonical.
    pub fn recognise(
        program: &Program,
        fold: &Fold,
        simd: Simd,
        payload: impl Fn(u32) -> bool,
    ) -> Option<ScaledProduct> {
        let body = &fold.body;
        let (Init::Word(start), [sums, x, y]) = (&fold.init, body.reads.as_slice()) else {
            return None;
        };
        let scaled = matches!(
            body.ops.as_slice(),
            [
                Op::I32ToF32(1),
                Op::FMul(2, 3) | Op::FMul(3, 2),
                Op::FFma(4, 5, 0) | Op::FFma(5, 4, 0)
            ]
        );
        let floats = [body.dtype, x.dtype, y.dtype] == [Dtype::F32; 3];
        let bare = body.index.is_empty() && body.values.is_empty() && body.consts.is_empty();
        let Node::Fold(inner) = &program.nodes[sums.node as usize] else {
            return None;
        };
        if !scaled || !floats || !bare || !fold.when.is_empty() {
            return None;
        }
        // The sums' first dimension is the reduction of this fold, the others are its output's.
        let shape = &inner.body.shape;
        if shape[..1] != fold.red[..] || shape[1..] != body.shape[..] {
            return None;
        }
        let domain = Domain::new(&body.shape, &fold.red, &[]);
        let whole = domain.whole();
        let read = domain.load(sums, false).place;
        let in_order = read.ranges.is_empty()
            && read.origin == whole.origin
            && read.red.units == whole.red.units
            && (read.out.units.iter().zip(&whole.out.units))
                .zip(&domain.out)
                .all(|((a, b), extent)| *extent == 1 || a == b);
        let integers = IntegerProduct::recognise(inner, simd)?;
        let product = &integers.product;
        let blocks = fold.red[0].0;
        if !in_order
            || integers.start != 0
            || product.size[2] > PART_K
            || product.batches != blocks
            || product.batch_dims.iter().any(|d| *d != 0)
        {
            return None;
        }
        // Which scale belongs to which operand: it follows no dimension of the other.
        let loads = [x, y].map(|access| domain.load(access, payload(access.node)));
        let follows = |load: &Load, operand: usize| {
            let dims = product.operands[operand].dims.iter();
            let mut outer = dims.filter(|d| **d > 0).map(|d| d - 1);
            outer.any(|d| domain.out[d] > 1 && !load.place.out.units[d].zero())
        };
        let [x, y] = loads;
        let loads = match follows(&x, 1) || follows(&y, 0) {
            true => [y, x],
            false => [x, y],
        };
        if follows(&loads[0], 1) || follows(&loads[1], 0) {
            return None;
        }
        let mut operands = product.operands.iter();
        let scales = loads.map(|load| {
            let dims = &operands.next().expect("a product has two operands").dims;
            let outer: Vec<usize> = dims.iter().filter(|d| **d > 0).map(|d| d - 1).collect();
            Scales {
                lanes: load.place.out.select(&outer),
                load,
            }
        });
        Some(ScaledProduct {
            integers,
            scales,
            start: f32::from_bits(float::canonical(*start)),
        })
    }

    /// The nodes whose values it reads.
    pub fn reads(&self) -> impl Iterator<Item = u32> + '_ {
        let operands = self.integers.product.operands.iter();
        let operands = operands.map(|operand| operand.load.node);
        operands.chain(self.scales.iter().map(|scales| scales.load.node))
    }

    /// Products of bytes that it sums up.
    pub fn terms(&self) -> u64 {
        let product = &self.integers.product;
        let sizes = product.size.iter().map(|size| *size as u64);
        sizes.product::<u64>() * product.batches
    }

    /// Whether the work is worth more than one task of `grain`.
    pub fn divisible(&self, grain: u64) -> bool {
        self.integers.divisible(grain)
    }

    /// Computes every element of the node.
    pub fn run(&self, values: Values<'_>, team: Team, out: &mut [u8]) {
        let product = &self.integers.product;
        let simd = self.integers.micro.simd;
        let scales = [0, 1].map(|o: usize| {
            let scales = &self.scales[o];
            let source = values.get(scales.load.node);
            scales.table(source, product.size[o], product.batches, simd)
        });
        let out = view_mut::<f32>(out);
        let finish = Scale {
            simd,
            scales: scales.each_ref().map(|table| &table[..]),
            size: [product.size[0], product.size[1]],
            last: product.batches - 1,
            start: self.start,
            out: out.as_mut_ptr(),
        };
        self.integers.multiply(values, team).run(&finish);
    }
}

impl Scales {
    /// The scale of every lane in every block.
    fn table(&self, source: &[u8], lanes: usize, blocks: u64, simd: Simd) -> Vec<f32> {
        let place = &self.load.place;
        let mut walk = Walk::default();
        walk.set(place, &self.lanes, 0, lanes, blocks > 1);
        let mut words = vec![0; lanes * blocks as usize];
        for (block, words) in (0..).zip(words.chunks_exact_mut(lanes)) {
            let at = place.origin.plus(&place.red.point(block));
            self.load.read(&walk, source, &at, simd, words);
        }
        words.into_iter().map(f32::from_bits).collect()
    }
}

/// Adds scaled sums to the output.
struct Scale<'a> {
    simd: Simd,
    /// For each block, the scale of each row; and of each column.
    scales: [&'a [f32]; 2],
    /// Rows and columns.
    size: [usize; 2],
    /// The last block.
    last: u64,
    start: f32,
    out: *mut f32,
}

// SAFETY: tiles are disjoint parts of the output, and each is added to by one thread at a time.
unsafe impl Sync for Scale<'_> {}

/// One row of a tile.
struct Row<'a> {
    sums: &'a [i32],
    row: f32,
    cols: &'a [f32],
    /// Where the chain starts, if this is its first block.
    start: Option<f32>,
    /// Whether this is the last block, so that a NaN becomes canonical.
    last: bool,
}

impl Finish for Scale<'_> {
    fn finish(&self, done: Done<'_>) {
        let block = done.part.batch;
        let [rows, cols] = [0, 1].map(|o: usize| {
            let first = block as usize * self.size[o];
            &self.scales[o][first + done.at[o].start..first + done.at[o].end]
        });
        let [row_offsets, col_offsets] = done.offsets;
        let first = col_offsets[0];
        let adjacent = (first..).zip(col_offsets).all(|(a, b)| a == *b);
        let Sums(sums) = done.sums;
        let mut side = [0f32; MAX_COLS];
        for ((row, offset), sums) in rows.iter().zip(row_offsets).zip(sums.chunks(MAX_COLS)) {
            let row = Row {
                sums: &sums[..cols.len()],
                row: *row,
                cols,
                start: (block == 0).then_some(self.start),
                last: block == self.last,
            };
            // SAFETY: the layout is a bijection onto the output, this row of a tile is this
            // thread's alone, and the instruction set was chosen for this machine.
            unsafe {
                let to = self.out.add(*offset);
                if adjacent {
                    let to = std::slice::from_raw_parts_mut(to.add(first), cols.len());
                    add(self.simd, &row, to);
                    continue;
                }
                let side = &mut side[..cols.len()];
                for (x, col) in side.iter_mut().zip(col_offsets) {
                    *x = *to.add(*col);
                }
                add(self.simd, &row, side);
                for (x, col) in side.iter().zip(col_offsets) {
                    *to.add(*col) = *x;
                }
            }
        }
    }
}

/// Adds a row of scaled sums to `out`.
///
/// # Safety
/// `simd` must be supported.
unsafe fn add(simd: Simd, row: &Row, out: &mut [f32]) {
    match simd {
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => add_avx512(row, out),
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => add_avx2(row, out),
        _ => add_all::<NATIVE_FMA>(row, out),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn add_avx512(row: &Row, out: &mut [f32]) {
    add_all::<true>(row, out)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn add_avx2(row: &Row, out: &mut [f32]) {
    add_all::<true>(row, out)
}

#[inline(always)]
fn add_all<const FMA: bool>(row: &Row, out: &mut [f32]) {
    // A whole tile has a constant number of turns.
    if let (Ok(out), Ok(sums), Ok(cols)) = (
        <&mut [f32; MAX_COLS]>::try_from(&mut *out),
        <&[i32; MAX_COLS]>::try_from(row.sums),
        <&[f32; MAX_COLS]>::try_from(row.cols),
    ) {
        return add_row::<FMA>(row, sums, cols, out);
    }
    add_row::<FMA>(row, row.sums, row.cols, out)
}

#[inline(always)]
fn add_row<const FMA: bool>(row: &Row, sums: &[i32], cols: &[f32], out: &mut [f32]) {
    if let Some(start) = row.start {
        out.fill(start);
    }
    for ((out, sum), col) in out.iter_mut().zip(sums).zip(cols) {
        let (sum, scale) = (*sum as f32, row.row * col);
        *out = match FMA {
            true => sum.mul_add(scale, *out),
            false => {
                let [sum, scale, acc] = [sum, scale, *out].map(f32::to_bits);
                f32::from_bits(float::fma(sum, scale, acc))
            }
        };
    }
    if row.last {
        for out in out {
            if out.is_nan() {
                *out = f32::from_bits(float::NAN);
            }
        }
    }
}

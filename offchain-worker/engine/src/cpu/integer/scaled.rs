//! Sums of scaled sums: the fold that adds up the blocks of a quantised product in f32, computed
//! together with the integer sums that it reads, which are never stored.
//!
//! Every element is the chain `acc = fma(f32(sum), scale_a * scale_b, acc)` over the blocks in
//! ascending order, whatever tiles and threads there are.

use super::micro::{Sums, MAX_COLS, MAX_ROWS};
use super::multiply::{Done, Finish, PART_K};
use super::IntegerProduct;
use crate::cpu::affine::{Domain, Load, Side};
use crate::cpu::buffer::{view, view_mut, Buffer};
use crate::cpu::memory::Values;
use crate::cpu::simd::{Simd, NATIVE_FMA};
use crate::cpu::walk::Walk;
use crate::cpu::workers::Team;
use lockstep_protocol::float;
use lockstep_protocol::program::{Dtype, Fold, Init, Node, Op, Program};
use std::cell::RefCell;

/// A quantised product made ready.
pub struct ScaledProduct {
    integers: IntegerProduct,
    /// The scales of the rows and those of the columns.
    scales: [Scales; 2],
    start: f32,
}

thread_local! {
    /// The scales of rows and columns in every block.
    static TABLES: RefCell<[Buffer; 2]> = RefCell::default();
    static WALK: RefCell<Walk> = RefCell::default();
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
        // Taken, not borrowed: no task of this thread can find it in use.
        let mut tables = TABLES.take();
        let lanes = [product.size[0], product.size[1]];
        for ((scales, table), lanes) in self.scales.iter().zip(&mut tables).zip(lanes) {
            let source = values.get(scales.load.node);
            scales.table(source, lanes, product.batches, simd, table);
        }
        let out = view_mut::<f32>(out);
        let finish = Scale {
            simd,
            scales: tables.each_ref().map(|table| view(table.bytes())),
            size: lanes,
            last: product.batches - 1,
            start: self.start,
            out: out.as_mut_ptr(),
        };
        self.integers.multiply(values, team).run(&finish);
        TABLES.set(tables);
    }
}

impl Scales {
    /// Writes the scale of every lane in every block.
    fn table(&self, source: &[u8], lanes: usize, blocks: u64, simd: Simd, table: &mut Buffer) {
        let place = &self.load.place;
        let words = view_mut::<u32>(table.reserve(4 * lanes * blocks as usize));
        WALK.with_borrow_mut(|walk| {
            walk.set(place, &self.lanes, 0, lanes, blocks > 1);
            for (block, words) in (0..).zip(words.chunks_exact_mut(lanes)) {
                let at = place.origin.plus(&place.red.point(block));
                self.load.read(walk, source, &at, simd, words);
            }
        });
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

impl Finish for Scale<'_> {
    fn finish(&self, done: Done<'_>) {
        let block = done.part.batch;
        let [rows, cols] = [0, 1].map(|o: usize| {
            let first = block as usize * self.size[o];
            &self.scales[o][first + done.at[o].start..first + done.at[o].end]
        });
        let [row_offsets, col_offsets] = done.offsets;
        let mut tile = Addend {
            sums: done.sums,
            rows,
            cols,
            offsets: row_offsets,
            start: (block == 0).then_some(self.start),
            last: block == self.last,
        };
        // SAFETY: the layout is a bijection onto the output, this tile of it is this thread's alone,
        // and the instruction set was chosen for this machine.
        unsafe {
            if done.adjacent {
                return tile.add(self.simd, self.out.add(col_offsets[0]));
            }
            // Columns that do not lie side by side go through a tile that does.
            let mut side = [0f32; MAX_ROWS * MAX_COLS];
            let each = |side: &mut [f32], copy: &dyn Fn(&mut f32, &mut f32)| {
                for (row, side) in row_offsets.iter().zip(side.chunks_exact_mut(MAX_COLS)) {
                    for (col, side) in col_offsets.iter().zip(side) {
                        copy(side, &mut *self.out.add(row + col));
                    }
                }
            };
            each(&mut side, &|side, out| *side = *out);
            let offsets: [usize; MAX_ROWS] = std::array::from_fn(|i| i * MAX_COLS);
            tile.offsets = &offsets[..rows.len()];
            tile.add(self.simd, side.as_mut_ptr());
            each(&mut side, &|side, out| *out = *side);
        }
    }
}

/// A tile of sums that is scaled and added.
struct Addend<'a> {
    sums: &'a Sums,
    /// The scale of each row, and of each column.
    rows: &'a [f32],
    cols: &'a [f32],
    /// Where each row begins in the output.
    offsets: &'a [usize],
    /// Where the chain starts, if this is its first block.
    start: Option<f32>,
    /// Whether this is the last block, so that a NaN becomes canonical.
    last: bool,
}

impl Addend<'_> {
    /// Adds it to `out`.
    ///
    /// # Safety
    /// `simd` must be supported. As many words as there are columns must be valid from each offset
    /// on, and nobody else's.
    unsafe fn add(&self, simd: Simd, out: *mut f32) {
        match simd {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => x86::avx512(self, out),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => x86::avx2(self, out),
            _ => self.add_portably(out),
        }
    }

    unsafe fn add_portably(&self, out: *mut f32) {
        for ((row, offset), sums) in self.lines() {
            for (j, (sum, col)) in sums.iter().zip(self.cols).enumerate() {
                let out = &mut *out.add(offset + j);
                let (sum, scale, acc) = (*sum as f32, row * col, self.start.unwrap_or(*out));
                *out = match NATIVE_FMA {
                    true => sum.mul_add(scale, acc),
                    false => {
                        let [sum, scale, acc] = [sum, scale, acc].map(f32::to_bits);
                        f32::from_bits(float::fma(sum, scale, acc))
                    }
                };
                if self.last && out.is_nan() {
                    *out = f32::from_bits(float::NAN);
                }
            }
        }
    }

    /// Each row's scale, where it begins, and its sums.
    #[inline(always)]
    fn lines(&self) -> impl Iterator<Item = ((&f32, &usize), &[i32; MAX_COLS])> {
        let (sums, _) = self.sums.0.as_chunks::<MAX_COLS>();
        self.rows.iter().zip(self.offsets).zip(sums)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Addend;
    use std::arch::x86_64::*;

    /// Defines how a tile is added, from a vector type and its operations.
    macro_rules! add {
        (
            $name:ident, $features:literal, $lanes:literal, $splat:ident,
            $sums:ident, $exact:ident, $mul:ident, $fma:ident
        ) => {
            #[target_feature(enable = $features)]
            pub unsafe fn $name(tile: &Addend, out: *mut f32) {
                use crate::cpu::simd::lanes::$name as lanes;
                let start = tile.start.map(|start| $splat(start));
                for (first, cols) in (0..).step_by($lanes).zip(tile.cols.chunks($lanes)) {
                    let mask = lanes::mask(cols.len());
                    let scales = lanes::load(cols.as_ptr(), mask);
                    for ((row, offset), sums) in tile.lines() {
                        let out = out.add(offset + first);
                        let sums = $exact($sums(sums.as_ptr().add(first).cast()));
                        let acc = match start {
                            Some(start) => start,
                            None => lanes::load(out, mask),
                        };
                        let acc = $fma(sums, $mul($splat(*row), scales), acc);
                        let acc = if tile.last {
                            lanes::canonical(acc)
                        } else {
                            acc
                        };
                        lanes::store(out, mask, acc);
                    }
                }
            }
        };
    }

    add!(
        avx512,
        "avx512f",
        16,
        _mm512_set1_ps,
        _mm512_load_si512,
        _mm512_cvtepi32_ps,
        _mm512_mul_ps,
        _mm512_fmadd_ps
    );

    add!(
        avx2,
        "avx2,fma",
        8,
        _mm256_set1_ps,
        _mm256_load_si256,
        _mm256_cvtepi32_ps,
        _mm256_mul_ps,
        _mm256_fmadd_ps
    );
}

//! Micro-kernels: a tile of sums of products, held in registers while K is walked upwards.
//!
//! Each accumulator is one sequential chain of fused multiply-adds. Vector lanes are different
//! elements, never parts of one sum, so every instruction set gives the same bits. Between blocks
//! of K an accumulator goes to memory and comes back, which changes nothing.

use crate::cpu::simd::{Simd, NATIVE_FMA};
use lockstep_protocol::float;

/// Most rows and columns of a tile, over all instruction sets.
pub const MAX_ROWS: usize = 14;
/// See [`MAX_ROWS`].
pub const MAX_COLS: usize = 32;

/// What a tile's accumulators start from.
#[derive(Clone, Copy)]
pub enum From {
    /// The same value for each.
    Word(f32),
    /// What the output holds.
    Output,
}

/// One tile of work.
pub struct Tile<'a> {
    /// Steps of a run.
    pub k: usize,
    /// What is added to the places of the rows' and the columns' words in each run of steps.
    pub runs: &'a [[isize; 2]],
    /// The rows' words.
    pub a: *const f32,
    /// How many words lie between two rows' words for a step, and between a row's words for two
    /// steps.
    pub a_strides: [usize; 2],
    /// The columns' words: for each step one for each column, up to whole vectors.
    pub b: *const f32,
    /// How many words lie between the columns' words for two steps.
    pub b_stride: usize,
    /// The output.
    pub c: *mut f32,
    /// For each row, the offset of its first column in the output; at most [`MAX_ROWS`].
    pub rows: &'a [usize],
    /// Columns of the output, at most `vectors * lanes`.
    pub cols: usize,
    /// Where the sums start.
    pub from: From,
    /// Whether these are the last steps, so that a NaN becomes canonical.
    pub last: bool,
}

type Kernel = unsafe fn(&Tile);

/// The micro-kernels of an instruction set.
#[derive(Clone, Copy)]
pub struct Micro {
    /// Their instruction set.
    pub simd: Simd,
    /// Rows of a whole tile.
    pub rows: usize,
    /// Columns of a vector; a tile is one or two vectors wide.
    pub lanes: usize,
    /// For each number of rows less one, the kernels of one and of two vectors.
    kernels: &'static [[Kernel; 2]],
}

impl Micro {
    /// The micro-kernels that use `simd`.
    pub fn new(simd: Simd) -> Micro {
        match simd {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => Micro {
                simd,
                rows: 14,
                lanes: 16,
                kernels: &x86::AVX512,
            },
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => Micro {
                simd,
                rows: 6,
                lanes: 8,
                kernels: &x86::AVX2,
            },
            _ => Micro {
                simd,
                rows: 4,
                lanes: 4,
                kernels: &PORTABLE,
            },
        }
    }

    /// Columns of a whole tile.
    pub fn cols(&self) -> usize {
        2 * self.lanes
    }

    /// Vectors that `cols` columns need.
    pub fn vectors(&self, cols: usize) -> usize {
        cols.div_ceil(self.lanes)
    }

    /// Computes a tile.
    ///
    /// # Safety
    /// The machine must have the instruction set. `a` must hold a word for each step and row and `b`
    /// `vectors * lanes` words for each step; every row's `cols` words of `c` must be valid and nobody else's.
    pub unsafe fn run(&self, tile: &Tile) {
        let vectors = self.vectors(tile.cols);
        (self.kernels[tile.rows.len() - 1][vectors - 1])(tile)
    }
}

/// Asks for `count` words from `at` to be brought near.
///
/// # Safety
/// The words must lie within one allocation.
pub unsafe fn prefetch(at: *const f32, count: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..count).step_by(16) {
        use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
        _mm_prefetch::<_MM_HINT_T0>(at.add(line).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (at, count);
}

static PORTABLE: [[Kernel; 2]; 4] = [
    [portable::<1, 4>, portable::<1, 8>],
    [portable::<2, 4>, portable::<2, 8>],
    [portable::<3, 4>, portable::<3, 8>],
    [portable::<4, 4>, portable::<4, 8>],
];

unsafe fn portable<const ROWS: usize, const COLS: usize>(tile: &Tile) {
    let mut acc = [[0f32; COLS]; ROWS];
    for (acc, row) in acc.iter_mut().zip(tile.rows) {
        for (j, acc) in acc[..tile.cols].iter_mut().enumerate() {
            *acc = match tile.from {
                From::Word(word) => word,
                From::Output => *tile.c.add(row + j),
            };
        }
    }
    let steps = (tile.runs.iter()).flat_map(|run| (0..tile.k).map(move |p| (run, p)));
    for ([a_run, b_run], p) in steps {
        let (a, b) = (tile.a.offset(*a_run), tile.b.offset(*b_run));
        for (i, acc) in acc.iter_mut().enumerate() {
            let a = *a.add(i * tile.a_strides[0] + p * tile.a_strides[1]);
            for (j, acc) in acc.iter_mut().enumerate() {
                let b = *b.add(p * tile.b_stride + j);
                *acc = if NATIVE_FMA {
                    a.mul_add(b, *acc)
                } else {
                    f32::from_bits(float::fma(a.to_bits(), b.to_bits(), acc.to_bits()))
                };
            }
        }
    }
    for (acc, row) in acc.iter().zip(tile.rows) {
        for (j, acc) in acc[..tile.cols].iter().enumerate() {
            let acc = if tile.last && acc.is_nan() {
                f32::from_bits(float::NAN)
            } else {
                *acc
            };
            *tile.c.add(row + j) = acc;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{From, Kernel, Tile, MAX_ROWS};
    use std::arch::x86_64::*;

    const GROUPS: usize = MAX_ROWS.div_ceil(3);

    macro_rules! table {
        ($kernel:ident: $($rows:literal)+) => {
            [$([$kernel::<$rows, 1>, $kernel::<$rows, 2>]),+]
        };
    }

    pub static AVX512: [[Kernel; 2]; 14] = table!(avx512: 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
    pub static AVX2: [[Kernel; 2]; 6] = table!(avx2: 1 2 3 4 5 6);

    /// Writes a statement out for every row, named by a constant: a loop of this length would not
    /// be unrolled, and its accumulators would not stay in registers.
    macro_rules! each_row {
        ($row:ident => $body:expr) => {
            each_row!($row => $body; 0 1 2 3 4 5 6 7 8 9 10 11 12 13)
        };
        ($row:ident => $body:expr; $($n:literal)+) => {
            $({
                const $row: usize = $n;
                $body
            })+
        };
    }

    /// Defines a micro-kernel from a vector type and its operations. The accumulators stay in
    /// registers only if every loop over them has a constant number of turns.
    macro_rules! kernel {
        (
            $name:ident, $features:literal, $lanes:literal,
            $zero:ident, $splat:ident, $load:ident, $fma:ident
        ) => {
            #[target_feature(enable = $features)]
            unsafe fn $name<const ROWS: usize, const VECTORS: usize>(tile: &Tile) {
                use crate::cpu::simd::lanes::$name as lanes;
                let rows: &[usize; ROWS] = tile.rows.try_into().expect("one kernel per height");
                let mut acc = [[$zero(); VECTORS]; ROWS];
                let mut masks = [lanes::mask(0); VECTORS];
                for (v, mask) in masks.iter_mut().enumerate() {
                    *mask = lanes::mask(tile.cols.saturating_sub($lanes * v).min($lanes));
                }
                match tile.from {
                    From::Word(word) => {
                        for i in 0..ROWS {
                            for v in 0..VECTORS {
                                acc[i][v] = $splat(word);
                            }
                        }
                    }
                    From::Output => {
                        for i in 0..ROWS {
                            for v in 0..VECTORS {
                                let from = tile.c.add(rows[i] + $lanes * v);
                                acc[i][v] = lanes::load(from, masks[v]);
                            }
                        }
                    }
                }
                // Three rows to a pointer: the others are one and two strides away, which is an
                // operand of an instruction.
                let [stride, next] = tile.a_strides;
                let b_next = tile.b_stride;
                for run in tile.runs {
                    let mut a = [tile.a.wrapping_offset(run[0]); GROUPS];
                    for g in 1..GROUPS {
                        a[g] = a[g - 1].wrapping_add(3 * stride);
                    }
                    let mut b = tile.b.wrapping_offset(run[1]);
                    for _ in 0..tile.k {
                        let mut columns = [$zero(); VECTORS];
                        for v in 0..VECTORS {
                            columns[v] = $load(b.wrapping_add($lanes * v));
                        }
                        each_row!(I => if I < ROWS {
                            let row = $splat(*a[I / 3].wrapping_add(I % 3 * stride));
                            for v in 0..VECTORS {
                                acc[I][v] = $fma(row, columns[v], acc[I][v]);
                            }
                        });
                        for g in 0..GROUPS {
                            a[g] = a[g].wrapping_add(next);
                        }
                        b = b.wrapping_add(b_next);
                    }
                }
                if tile.last {
                    for i in 0..ROWS {
                        for v in 0..VECTORS {
                            acc[i][v] = lanes::canonical(acc[i][v]);
                        }
                    }
                }
                for i in 0..ROWS {
                    for v in 0..VECTORS {
                        lanes::store(tile.c.add(rows[i] + $lanes * v), masks[v], acc[i][v]);
                    }
                }
            }
        };
    }

    kernel!(
        avx512,
        "avx512f",
        16,
        _mm512_setzero_ps,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_fmadd_ps
    );

    kernel!(
        avx2,
        "avx2,fma",
        8,
        _mm256_setzero_ps,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_fmadd_ps
    );
}

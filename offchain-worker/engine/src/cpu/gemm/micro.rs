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
    /// Steps.
    pub k: usize,
    /// Packed rows: for each step, one word for each of the tile's rows.
    pub a: *const f32,
    /// Packed columns: for each step, one word for each column, up to whole vectors.
    pub b: *const f32,
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
                rows: 14,
                lanes: 16,
                kernels: &x86::AVX512,
            },
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => Micro {
                rows: 6,
                lanes: 8,
                kernels: &x86::AVX2,
            },
            _ => Micro {
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
    /// The machine must have the instruction set. `a` must hold `k * rows` words and `b`
    /// `k * vectors * lanes`; every row's `cols` words of `c` must be valid and nobody else's.
    pub unsafe fn run(&self, tile: &Tile) {
        let vectors = self.vectors(tile.cols);
        (self.kernels[tile.rows.len() - 1][vectors - 1])(tile)
    }
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
    for p in 0..tile.k {
        for (i, acc) in acc.iter_mut().enumerate() {
            let a = *tile.a.add(p * ROWS + i);
            for (j, acc) in acc.iter_mut().enumerate() {
                let b = *tile.b.add(p * COLS + j);
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
    use super::{float, From, Kernel, Tile};
    use std::arch::x86_64::*;

    macro_rules! table {
        ($kernel:ident: $($rows:literal)+) => {
            [$([$kernel::<$rows, 1>, $kernel::<$rows, 2>]),+]
        };
    }

    pub static AVX512: [[Kernel; 2]; 14] = table!(avx512: 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
    pub static AVX2: [[Kernel; 2]; 6] = table!(avx2: 1 2 3 4 5 6);

    #[target_feature(enable = "avx512f")]
    unsafe fn avx512<const ROWS: usize, const VECTORS: usize>(tile: &Tile) {
        let mut acc = [[_mm512_setzero_ps(); VECTORS]; ROWS];
        let mask = |v: usize| -> __mmask16 {
            match tile.cols.saturating_sub(16 * v) {
                16.. => !0,
                left => (1 << left) - 1,
            }
        };
        for (acc, row) in acc.iter_mut().zip(tile.rows) {
            for (v, acc) in acc.iter_mut().enumerate() {
                *acc = match tile.from {
                    From::Word(word) => _mm512_set1_ps(word),
                    From::Output => _mm512_maskz_loadu_ps(mask(v), tile.c.add(row + 16 * v)),
                };
            }
        }
        let (mut a, mut b) = (tile.a, tile.b);
        for _ in 0..tile.k {
            let mut columns = [_mm512_setzero_ps(); VECTORS];
            for (v, column) in columns.iter_mut().enumerate() {
                *column = _mm512_load_ps(b.add(16 * v));
            }
            for (i, acc) in acc.iter_mut().enumerate() {
                let row = _mm512_set1_ps(*a.add(i));
                for (acc, column) in acc.iter_mut().zip(columns) {
                    *acc = _mm512_fmadd_ps(row, column, *acc);
                }
            }
            a = a.add(ROWS);
            b = b.add(16 * VECTORS);
        }
        let nan = _mm512_castsi512_ps(_mm512_set1_epi32(float::NAN as i32));
        for (acc, row) in acc.iter().zip(tile.rows) {
            for (v, acc) in acc.iter().enumerate() {
                let mut sum = *acc;
                if tile.last {
                    let nans = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(sum, sum);
                    sum = _mm512_mask_mov_ps(sum, nans, nan);
                }
                _mm512_mask_storeu_ps(tile.c.add(row + 16 * v), mask(v), sum);
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2<const ROWS: usize, const VECTORS: usize>(tile: &Tile) {
        let mut acc = [[_mm256_setzero_ps(); VECTORS]; ROWS];
        let mask = |v: usize| -> __m256i {
            let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let left = tile.cols.saturating_sub(8 * v).min(8);
            _mm256_cmpgt_epi32(_mm256_set1_epi32(left as i32), lane)
        };
        for (acc, row) in acc.iter_mut().zip(tile.rows) {
            for (v, acc) in acc.iter_mut().enumerate() {
                *acc = match tile.from {
                    From::Word(word) => _mm256_set1_ps(word),
                    From::Output => _mm256_maskload_ps(tile.c.add(row + 8 * v), mask(v)),
                };
            }
        }
        let (mut a, mut b) = (tile.a, tile.b);
        for _ in 0..tile.k {
            let mut columns = [_mm256_setzero_ps(); VECTORS];
            for (v, column) in columns.iter_mut().enumerate() {
                *column = _mm256_load_ps(b.add(8 * v));
            }
            for (i, acc) in acc.iter_mut().enumerate() {
                let row = _mm256_set1_ps(*a.add(i));
                for (acc, column) in acc.iter_mut().zip(columns) {
                    *acc = _mm256_fmadd_ps(row, column, *acc);
                }
            }
            a = a.add(ROWS);
            b = b.add(8 * VECTORS);
        }
        let nan = _mm256_castsi256_ps(_mm256_set1_epi32(float::NAN as i32));
        for (acc, row) in acc.iter().zip(tile.rows) {
            for (v, acc) in acc.iter().enumerate() {
                let mut sum = *acc;
                if tile.last {
                    let nans = _mm256_cmp_ps::<_CMP_UNORD_Q>(sum, sum);
                    sum = _mm256_blendv_ps(sum, nan, nans);
                }
                _mm256_maskstore_ps(tile.c.add(row + 8 * v), mask(v), sum);
            }
        }
    }
}

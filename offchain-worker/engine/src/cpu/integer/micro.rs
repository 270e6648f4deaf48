//! Micro-kernels: a tile of sums of products of 8-bit integers, held in registers while K is walked
//! in groups of four.
//!
//! Integer sums wrap, so any order gives the same bits. The instructions that multiply four pairs
//! of bytes at once (VNNI) take one operand as unsigned: columns are moved up by 128 there, and each
//! row's sum starts at -128 times the sum of its own elements, which takes that away again. Other
//! instruction sets multiply pairs of 16-bit integers, whose sum of two products of bytes fits
//! 32 bits.

use crate::cpu::simd::Simd;

/// Most rows of a tile, over all instruction sets.
pub const MAX_ROWS: usize = 14;
/// Most columns of a tile, and the distance between the rows of its sums.
pub const MAX_COLS: usize = 32;
/// Steps that share a packed word.
pub const GROUP: usize = 4;

/// The sums of a tile, row after row, [`MAX_COLS`] words each.
#[repr(align(64))]
pub struct Sums(pub [i32; MAX_ROWS * MAX_COLS]);

/// One tile of work.
pub struct Tile<'a> {
    /// Groups of steps.
    pub groups: usize,
    /// Packed rows: the words in which the sums start, then for each group one word of four bytes
    /// for each row.
    pub a: *const u32,
    /// Packed columns: for each group one word of four bytes for each column, up to whole vectors.
    pub b: *const u32,
    /// Where the sums go.
    pub sums: &'a mut Sums,
}

type Kernel = unsafe fn(&mut Tile);

/// The micro-kernels of an instruction set.
#[derive(Clone, Copy)]
pub struct Micro {
    /// The instruction set whose other parts may be used beside them.
    pub simd: Simd,
    /// Rows of a whole tile.
    pub rows: usize,
    /// Columns of a vector; a tile is one or two vectors wide.
    pub lanes: usize,
    /// What is added to every column's elements.
    lift: i32,
    /// For each number of rows less one, the kernels of one and of two vectors.
    kernels: &'static [[Kernel; 2]],
}

impl Micro {
    /// The fastest micro-kernels that use `simd` and what comes with it on this machine.
    pub fn new(simd: Simd) -> Micro {
        let mut found = Micro::available(simd);
        found.swap_remove(0)
    }

    /// The micro-kernels that use `simd` and what comes with it on this machine, the fastest first.
    fn available(simd: Simd) -> Vec<Micro> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let wide = |lift, kernels| Micro {
                simd,
                rows: 14,
                lanes: 16,
                lift,
                kernels,
            };
            let narrow = |lift, kernels| Micro {
                simd,
                rows: 6,
                lanes: 8,
                lift,
                kernels,
            };
            if simd == Simd::Avx512 {
                if is_x86_feature_detected!("avx512vnni") {
                    found.push(wide(128, &x86::AVX512_VNNI[..]));
                }
                found.push(wide(0, &x86::AVX512));
            }
            if simd == Simd::Avx2 {
                if is_x86_feature_detected!("avxvnni") {
                    found.push(narrow(128, &x86::AVX_VNNI[..]));
                }
                found.push(narrow(0, &x86::AVX2));
            }
        }
        if found.is_empty() {
            found.push(Micro {
                simd,
                rows: 4,
                lanes: 8,
                lift: 0,
                kernels: &PORTABLE,
            });
        }
        found
    }

    /// Columns of a whole tile.
    pub fn cols(&self) -> usize {
        2 * self.lanes
    }

    /// Vectors that `cols` columns need.
    pub fn vectors(&self, cols: usize) -> usize {
        cols.div_ceil(self.lanes)
    }

    /// The word in which the sums of a row start whose elements sum up to `elements`.
    pub fn start(&self, elements: i32) -> u32 {
        elements.wrapping_mul(-self.lift) as u32
    }

    /// Computes a tile of `rows` rows and up to `cols` columns.
    ///
    /// # Safety
    /// The machine must have the instruction set. `a` must hold `(1 + groups) * rows` words and `b`
    /// `groups * vectors * lanes`, aligned to 64 bytes.
    pub unsafe fn run(&self, rows: usize, cols: usize, tile: &mut Tile) {
        (self.kernels[rows - 1][self.vectors(cols) - 1])(tile)
    }
}

static PORTABLE: [[Kernel; 2]; 4] = [
    [portable::<1, 8>, portable::<1, 16>],
    [portable::<2, 8>, portable::<2, 16>],
    [portable::<3, 8>, portable::<3, 16>],
    [portable::<4, 8>, portable::<4, 16>],
];

unsafe fn portable<const ROWS: usize, const COLS: usize>(tile: &mut Tile) {
    let elements = |word: u32| word.to_le_bytes().map(|byte| byte as i8 as i32);
    let mut acc = [[0i32; COLS]; ROWS];
    for (i, acc) in acc.iter_mut().enumerate() {
        acc.fill(*tile.a.add(i) as i32);
    }
    for g in 0..tile.groups {
        for (i, acc) in acc.iter_mut().enumerate() {
            let a = elements(*tile.a.add((1 + g) * ROWS + i));
            for (j, acc) in acc.iter_mut().enumerate() {
                let b = elements(*tile.b.add(g * COLS + j));
                let products = a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
                *acc = acc.wrapping_add(products);
            }
        }
    }
    for (to, acc) in tile.sums.0.chunks_exact_mut(MAX_COLS).zip(&acc) {
        to[..COLS].copy_from_slice(acc);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Kernel, Tile, MAX_COLS};
    use std::arch::x86_64::*;

    macro_rules! table {
        ($kernel:ident: $($rows:literal)+) => {
            [$([$kernel::<$rows, 1>, $kernel::<$rows, 2>]),+]
        };
    }

    pub static AVX512_VNNI: [[Kernel; 2]; 14] =
        table!(avx512_vnni: 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
    pub static AVX512: [[Kernel; 2]; 14] = table!(avx512: 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
    pub static AVX_VNNI: [[Kernel; 2]; 6] = table!(avx_vnni: 1 2 3 4 5 6);
    pub static AVX2: [[Kernel; 2]; 6] = table!(avx2: 1 2 3 4 5 6);

    /// Defines a micro-kernel from a vector type, what becomes of loaded columns and of a broadcast
    /// row, and how both are multiplied into a sum.
    macro_rules! kernel {
        (
            $name:ident, $features:literal, $lanes:literal,
            $splat:ident, $load:ident, $store:ident, $columns:expr, $row:expr, $dot:expr
        ) => {
            #[target_feature(enable = $features)]
            unsafe fn $name<const ROWS: usize, const VECTORS: usize>(tile: &mut Tile) {
                let (mut a, mut b) = (tile.a, tile.b);
                let mut acc = [[$splat(0); VECTORS]; ROWS];
                for i in 0..ROWS {
                    acc[i] = [$splat(*a.add(i) as i32); VECTORS];
                }
                a = a.add(ROWS);
                for _ in 0..tile.groups {
                    let mut columns = [$columns($splat(0)); VECTORS];
                    for v in 0..VECTORS {
                        columns[v] = $columns($load(b.add($lanes * v).cast()));
                    }
                    for i in 0..ROWS {
                        let row = $row($splat(*a.add(i) as i32));
                        for v in 0..VECTORS {
                            acc[i][v] = $dot(acc[i][v], columns[v], row);
                        }
                    }
                    a = a.add(ROWS);
                    b = b.add($lanes * VECTORS);
                }
                let sums = tile.sums.0.as_mut_ptr();
                for i in 0..ROWS {
                    for v in 0..VECTORS {
                        $store(sums.add(i * MAX_COLS + v * $lanes).cast(), acc[i][v]);
                    }
                }
            }
        };
    }

    /// Four signed bytes a lane as two lots of two 16-bit integers: the even ones, the odd ones.
    macro_rules! pairs {
        ($left:ident, $right:ident) => {
            |words| ($right::<8>($left::<8>(words)), $right::<8>(words))
        };
    }

    kernel!(
        avx512_vnni,
        "avx512f,avx512bw,avx512vnni",
        16,
        _mm512_set1_epi32,
        _mm512_load_si512,
        _mm512_store_si512,
        |words| _mm512_xor_si512(words, _mm512_set1_epi8(-128)),
        |words| words,
        |acc, columns, row| _mm512_dpbusd_epi32(acc, columns, row)
    );

    kernel!(
        avx_vnni,
        "avx2,avxvnni",
        8,
        _mm256_set1_epi32,
        _mm256_load_si256,
        _mm256_store_si256,
        |words| _mm256_xor_si256(words, _mm256_set1_epi8(-128)),
        |words| words,
        |acc, columns, row| _mm256_dpbusd_avx_epi32(acc, columns, row)
    );

    kernel!(
        avx512,
        "avx512f,avx512bw",
        16,
        _mm512_set1_epi32,
        _mm512_load_si512,
        _mm512_store_si512,
        pairs!(_mm512_slli_epi16, _mm512_srai_epi16),
        pairs!(_mm512_slli_epi16, _mm512_srai_epi16),
        |acc, columns: (__m512i, __m512i), row: (__m512i, __m512i)| {
            let even = _mm512_add_epi32(acc, _mm512_madd_epi16(columns.0, row.0));
            _mm512_add_epi32(even, _mm512_madd_epi16(columns.1, row.1))
        }
    );

    kernel!(
        avx2,
        "avx2",
        8,
        _mm256_set1_epi32,
        _mm256_load_si256,
        _mm256_store_si256,
        pairs!(_mm256_slli_epi16, _mm256_srai_epi16),
        pairs!(_mm256_slli_epi16, _mm256_srai_epi16),
        |acc, columns: (__m256i, __m256i), row: (__m256i, __m256i)| {
            let even = _mm256_add_epi32(acc, _mm256_madd_epi16(columns.0, row.0));
            _mm256_add_epi32(even, _mm256_madd_epi16(columns.1, row.1))
        }
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::buffer::{view_mut, Buffer};
    use lockstep_protocol::philox;

    fn dot(a: u32, b: u32) -> i32 {
        let pairs = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
        pairs.map(|(x, y)| x as i8 as i32 * y as i8 as i32).sum()
    }

    #[test]
    fn every_kernel_sums_the_products_of_extreme_and_random_bytes() {
        let groups = 9;
        let mut random = (0..).flat_map(|k| philox::stream(1, 2, k));
        for simd in Simd::available() {
            for micro in Micro::available(simd) {
                for rows in 1..=micro.rows {
                    for extreme in [None, Some(0x8080_8080), Some(0x7f80_7f80)] {
                        let mut word = || extreme.unwrap_or_else(|| random.next().unwrap());
                        let cols = micro.cols();
                        let mut b = Buffer::zeroed(groups * cols * 4);
                        view_mut::<u32>(b.bytes_mut()).fill_with(&mut word);
                        let a: Vec<u32> = (0..groups * rows).map(|_| word()).collect();
                        let own = |i: usize| {
                            let elements = (0..groups).map(|g| dot(a[g * rows + i], 0x0101_0101));
                            micro.start(elements.sum())
                        };
                        let started: Vec<u32> = (0..rows).map(own).chain(a.clone()).collect();
                        let mut sums = Sums([0; MAX_ROWS * MAX_COLS]);
                        let mut tile = Tile {
                            groups,
                            a: started.as_ptr(),
                            b: b.bytes().as_ptr().cast(),
                            sums: &mut sums,
                        };
                        // SAFETY: the kernels are this machine's, the words are all there.
                        unsafe { micro.run(rows, cols, &mut tile) };
                        let b = view_mut::<u32>(b.bytes_mut());
                        for i in 0..rows {
                            for j in 0..cols {
                                let terms =
                                    (0..groups).map(|g| dot(a[g * rows + i], b[g * cols + j]));
                                let want: i32 = terms.sum();
                                assert_eq!(sums.0[i * MAX_COLS + j], want, "{simd} {rows} {i} {j}");
                            }
                        }
                    }
                }
            }
        }
    }
}

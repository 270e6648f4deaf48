//! Turns rows into columns, for operands whose steps lie side by side in memory.

use crate::cpu::simd::Simd;

/// Rows and steps of a block.
const BLOCK: usize = 16;

/// Writes word `s` of row `lane` to `out[s * width + lane]`, for all of `count` rows of `steps`
/// words each.
pub fn transpose<'a>(
    simd: Simd,
    row: impl Fn(usize) -> &'a [u32],
    [count, steps]: [usize; 2],
    width: usize,
    out: &mut [u32],
) {
    for lane in (0..count).step_by(BLOCK) {
        let height = (count - lane).min(BLOCK);
        // Rows beyond the last repeat it, and are not kept.
        let rows: [&[u32]; BLOCK] =
            std::array::from_fn(|i| &row(lane + i.min(height - 1))[..steps]);
        let out = &mut out[lane..];
        #[allow(unused_mut)]
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if simd == Simd::Avx512 {
            // SAFETY: whoever asks for AVX-512 has made sure that the machine has it.
            done = unsafe { blocks_avx512(&rows, height, width, out) };
        }
        let _ = simd;
        let rest = rows.map(|row| &row[done..]);
        done += blocks(
            &rest,
            height,
            width,
            out.get_mut(done * width..).unwrap_or_default(),
        );
        for s in done..steps {
            for (to, row) in out[s * width..].iter_mut().zip(&rows[..height]) {
                *to = row[s];
            }
        }
    }
}

/// Transposes the first steps; returns how many.
fn blocks(rows: &[&[u32]; BLOCK], height: usize, width: usize, out: &mut [u32]) -> usize {
    const SIDE: usize = 4;
    let done = rows[0].len() / SIDE * SIDE;
    for lane in (0..height).step_by(SIDE) {
        let rows: &[&[u32]; SIDE] = rows[lane..].first_chunk().expect("blocks are whole");
        let height = (height - lane).min(SIDE);
        for s in (0..done).step_by(SIDE) {
            let side = rows.map(|row| -> [u32; SIDE] {
                *row[s..].first_chunk().expect("a whole side is left")
            });
            for i in 0..SIDE {
                let column = [side[0][i], side[1][i], side[2][i], side[3][i]];
                out[(s + i) * width + lane..][..height].copy_from_slice(&column[..height]);
            }
        }
    }
    done
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn blocks_avx512(rows: &[&[u32]; BLOCK], height: usize, width: usize, out: &mut [u32]) -> usize {
    use std::arch::x86_64::*;
    let done = rows[0].len() / BLOCK * BLOCK;
    let mask = ((1u32 << height) - 1) as __mmask16;
    for s in (0..done).step_by(BLOCK) {
        let mut r = [_mm512_setzero_ps(); BLOCK];
        for i in 0..BLOCK {
            let from = &rows[i][s..s + BLOCK];
            // SAFETY: 16 words are there.
            r[i] = unsafe { _mm512_loadu_ps(from.as_ptr().cast()) };
        }
        // Pairs of rows, then pairs of pairs within the four quarters of each vector, then the
        // quarters themselves in two rounds.
        let mut t = r;
        for i in 0..8 {
            t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
            t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
        }
        for i in 0..4 {
            let quad = [0, 1, 2, 3].map(|j: usize| _mm512_castps_pd(t[4 * i + j]));
            r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(quad[0], quad[2]));
            r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(quad[0], quad[2]));
            r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(quad[1], quad[3]));
            r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(quad[1], quad[3]));
        }
        for i in 0..4 {
            t[i] = _mm512_shuffle_f32x4::<0x88>(r[i], r[4 + i]);
            t[4 + i] = _mm512_shuffle_f32x4::<0xdd>(r[i], r[4 + i]);
            t[8 + i] = _mm512_shuffle_f32x4::<0x88>(r[8 + i], r[12 + i]);
            t[12 + i] = _mm512_shuffle_f32x4::<0xdd>(r[8 + i], r[12 + i]);
        }
        for i in 0..4 {
            r[i] = _mm512_shuffle_f32x4::<0x88>(t[i], t[8 + i]);
            r[8 + i] = _mm512_shuffle_f32x4::<0xdd>(t[i], t[8 + i]);
            r[4 + i] = _mm512_shuffle_f32x4::<0x88>(t[4 + i], t[12 + i]);
            r[12 + i] = _mm512_shuffle_f32x4::<0xdd>(t[4 + i], t[12 + i]);
        }
        for (i, column) in r.iter().enumerate() {
            let to = &mut out[(s + i) * width..][..height];
            // SAFETY: the mask lets through as many words as there are.
            unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr().cast(), mask, *column) };
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_comes_to_its_column() {
        for simd in Simd::available() {
            for (count, width, steps) in [(14, 14, 40), (32, 32, 16), (17, 32, 19), (1, 4, 3)] {
                let rows: Vec<Vec<u32>> = (0..count)
                    .map(|lane| (0..steps).map(|s| (lane * 1000 + s) as u32).collect())
                    .collect();
                let mut out = vec![u32::MAX; steps * width];
                transpose(simd, |lane| &rows[lane], [count, steps], width, &mut out);
                for s in 0..steps {
                    for lane in 0..width {
                        let want = if lane < count {
                            rows[lane][s]
                        } else {
                            u32::MAX
                        };
                        assert_eq!(out[s * width + lane], want, "{simd} {lane} {s}");
                    }
                }
            }
        }
    }
}

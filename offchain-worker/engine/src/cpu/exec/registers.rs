//! Executes tapes on AVX-512 registers: a group of words at a time goes through the whole tape.
//!
//! What one instruction leaves for the next alone, as the terms of a polynomial do, never comes to
//! memory.

use super::super::tape::{Code, Instr};
use lockstep_protocol::float;
use std::arch::x86_64::*;

/// Vectors of a group, and their words.
const VECTORS: usize = 8;
const LANES: usize = 16;
const GROUP: usize = VECTORS * LANES;

type Group = [__m512i; VECTORS];

/// As [`super::run`].
///
/// # Safety
/// As there, on a machine with AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub unsafe fn run(tape: &[Instr], slots: &[*mut u32], n: usize) {
    let whole = n / GROUP * GROUP;
    for first in (0..whole).step_by(GROUP) {
        group::<false>(tape, slots, first, [0xffff; VECTORS]);
    }
    if whole < n {
        let mask = |v: usize| {
            let lanes = (n - whole).saturating_sub(v * LANES).min(LANES);
            ((1u32 << lanes) - 1) as __mmask16
        };
        group::<true>(tape, slots, whole, std::array::from_fn(mask));
    }
}

/// Executes the tape on the words from `first` on; in the last group, on those of the masks.
#[allow(clippy::needless_range_loop)] // Loops over several arrays, which stay in registers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn group<const LAST: bool>(
    tape: &[Instr],
    slots: &[*mut u32],
    first: usize,
    masks: [__mmask16; VECTORS],
) {
    let zero = _mm512_setzero_si512();
    let one = _mm512_set1_epi32(1);
    let sign = _mm512_set1_epi32(i32::MIN);
    let mut last: Group = [zero; VECTORS];
    let mut rest = tape.iter();
    while let Some(mut instr) = rest.next() {
        macro_rules! operand {
            ($k:literal) => {{
                let mut words = last;
                if instr.last >> $k & 1 == 0 {
                    let slot = *slots.get_unchecked(instr.src[$k] as usize);
                    if instr.splat >> $k & 1 == 1 {
                        words = [_mm512_set1_epi32(*slot as i32); VECTORS];
                    } else {
                        let from = slot.wrapping_add(first).cast::<i32>();
                        for v in 0..VECTORS {
                            let from = from.wrapping_add(v * LANES);
                            words[v] = match LAST {
                                true => _mm512_maskz_loadu_epi32(masks[v], from),
                                false => _mm512_loadu_epi32(from),
                            };
                        }
                    }
                }
                words
            }};
        }
        macro_rules! un {
            (|$x:ident| $value:expr) => {{
                let x = operand!(0);
                for v in 0..VECTORS {
                    let $x = x[v];
                    last[v] = $value;
                }
            }};
        }
        macro_rules! bin {
            (|$x:ident, $y:ident| $value:expr) => {{
                let (x, y) = (operand!(0), operand!(1));
                for v in 0..VECTORS {
                    let ($x, $y) = (x[v], y[v]);
                    last[v] = $value;
                }
            }};
        }
        macro_rules! tri {
            (|$x:ident, $y:ident, $z:ident| $value:expr) => {{
                let (x, y, z) = (operand!(0), operand!(1), operand!(2));
                for v in 0..VECTORS {
                    let ($x, $y, $z) = (x[v], y[v], z[v]);
                    last[v] = $value;
                }
            }};
        }
        // As above, with a loop of its own for every way in which the operands may come: what most
        // bodies consist of.
        macro_rules! often {
            ($k:literal, $x:ident => $body:expr) => {{
                let slot = *slots.get_unchecked(instr.src[$k] as usize);
                if instr.last >> $k & 1 == 1 {
                    let before = last;
                    let $x = |v: usize| f(before[v]);
                    $body
                } else if instr.splat >> $k & 1 == 1 {
                    let word = _mm512_set1_ps(f32::from_bits(*slot));
                    let $x = |_: usize| word;
                    $body
                } else {
                    let from = slot.wrapping_add(first).cast::<f32>();
                    let $x = |v: usize| match LAST {
                        true => _mm512_maskz_loadu_ps(masks[v], from.wrapping_add(v * LANES)),
                        false => _mm512_loadu_ps(from.wrapping_add(v * LANES)),
                    };
                    $body
                }
            }};
        }
        macro_rules! floats {
            ($operation:ident($x:ident, $y:ident)) => {
                often!(0, $x => often!(1, $y => for v in 0..VECTORS {
                    last[v] = w($operation($x(v), $y(v)));
                }))
            };
        }
        macro_rules! truth {
            ($mask:expr) => {
                _mm512_maskz_mov_epi32($mask, one)
            };
        }
        match instr.code {
            Code::FAdd => floats!(_mm512_add_ps(x, y)),
            Code::FSub => floats!(_mm512_sub_ps(x, y)),
            Code::FMul => floats!(_mm512_mul_ps(x, y)),
            // The terms of a polynomial, one after another.
            Code::FFma if instr.last == 1 && instr.splat == 4 => often!(1, y => loop {
                let word = _mm512_set1_ps(f32::from_bits(*slots[instr.src[2] as usize]));
                for v in 0..VECTORS {
                    last[v] = w(_mm512_fmadd_ps(f(last[v]), y(v), word));
                }
                match rest.as_slice().first() {
                    Some(next) if next.again => instr = next,
                    _ => break,
                }
                rest.next();
            }),
            Code::FFma => often!(0, x => often!(1, y => often!(2, z => for v in 0..VECTORS {
                last[v] = w(_mm512_fmadd_ps(x(v), y(v), z(v)));
            }))),
            Code::FDiv => bin!(|x, y| w(_mm512_div_ps(f(x), f(y)))),
            Code::FSqrt => un!(|x| w(_mm512_sqrt_ps(f(x)))),
            Code::FMin => bin!(|x, y| {
                let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(f(x), f(y));
                // Equal numbers differ in nothing but the sign of a zero.
                extreme(x, y, less, _mm512_or_si512(x, y))
            }),
            Code::FMax => bin!(|x, y| {
                let greater = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(f(x), f(y));
                extreme(x, y, greater, _mm512_and_si512(x, y))
            }),
            Code::FNeg => un!(|x| _mm512_xor_si512(x, sign)),
            Code::FAbs => un!(|x| _mm512_andnot_si512(sign, x)),
            Code::FEq => bin!(|x, y| truth!(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(f(x), f(y)))),
            Code::FLt => bin!(|x, y| truth!(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(f(x), f(y)))),
            Code::FLe => bin!(|x, y| truth!(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(f(x), f(y)))),
            Code::IAdd => bin!(|x, y| _mm512_add_epi32(x, y)),
            Code::ISub => bin!(|x, y| _mm512_sub_epi32(x, y)),
            Code::IMul => bin!(|x, y| _mm512_mullo_epi32(x, y)),
            Code::UMulHi => bin!(|x, y| {
                let even = _mm512_srli_epi64::<32>(_mm512_mul_epu32(x, y));
                let odd = |x| _mm512_srli_epi64::<32>(x);
                let odd = _mm512_mul_epu32(odd(x), odd(y));
                _mm512_mask_mov_epi32(even, 0xaaaa, odd)
            }),
            Code::And => bin!(|x, y| _mm512_and_si512(x, y)),
            Code::Or => bin!(|x, y| _mm512_or_si512(x, y)),
            Code::Xor => bin!(|x, y| _mm512_xor_si512(x, y)),
            Code::Shl => bin!(|x, y| _mm512_sllv_epi32(x, y)),
            Code::ShrU => bin!(|x, y| _mm512_srlv_epi32(x, y)),
            Code::ShrS => bin!(|x, y| {
                let within = _mm512_cmplt_epu32_mask(y, _mm512_set1_epi32(32));
                _mm512_maskz_srav_epi32(within, x, y)
            }),
            Code::IMinS => bin!(|x, y| _mm512_min_epi32(x, y)),
            Code::IMaxS => bin!(|x, y| _mm512_max_epi32(x, y)),
            Code::IMinU => bin!(|x, y| _mm512_min_epu32(x, y)),
            Code::IMaxU => bin!(|x, y| _mm512_max_epu32(x, y)),
            Code::IEq => bin!(|x, y| truth!(_mm512_cmpeq_epi32_mask(x, y))),
            Code::ILtS => bin!(|x, y| truth!(_mm512_cmplt_epi32_mask(x, y))),
            Code::ILtU => bin!(|x, y| truth!(_mm512_cmplt_epu32_mask(x, y))),
            Code::Select => {
                tri!(|x, y, z| _mm512_mask_mov_epi32(z, _mm512_test_epi32_mask(x, x), y))
            }
            Code::F32ToI32 => un!(|x| {
                // The hardware says -2^31 for everything outside.
                let high = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(f(x), _mm512_set1_ps(2147483648.0));
                let number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(f(x), f(x));
                let whole = _mm512_maskz_cvttps_epi32(number, f(x));
                _mm512_mask_mov_epi32(whole, high, _mm512_set1_epi32(i32::MAX))
            }),
            Code::F32ToU32 => un!(|x| {
                // It says 2^32 - 1 for everything outside.
                let positive = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(f(x), f(zero));
                _mm512_maskz_cvttps_epu32(positive, f(x))
            }),
            Code::I32ToF32 => un!(|x| w(_mm512_cvtepi32_ps(x))),
            Code::U32ToF32 => un!(|x| w(_mm512_cvtepu32_ps(x))),
            Code::Copy => un!(|x| x),
            Code::Canonical => un!(|x| canonical(x, x, x)),
            Code::Low8 => un!(|x| _mm512_and_si512(x, _mm512_set1_epi32(0xff))),
            Code::Low16 => un!(|x| _mm512_and_si512(x, _mm512_set1_epi32(0xffff))),
            Code::Signed8 => un!(|x| _mm512_srai_epi32::<24>(_mm512_slli_epi32::<24>(x))),
        }
        if instr.keep {
            let to = slots[instr.dst as usize].wrapping_add(first).cast::<i32>();
            for v in 0..VECTORS {
                let to = to.wrapping_add(v * LANES);
                match LAST {
                    true => _mm512_mask_storeu_epi32(to, masks[v], last[v]),
                    false => _mm512_storeu_epi32(to, last[v]),
                }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn f(words: __m512i) -> __m512 {
    _mm512_castsi512_ps(words)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn w(numbers: __m512) -> __m512i {
    _mm512_castps_si512(numbers)
}

/// `words` with the canonical NaN where `x` or `y` is a NaN.
#[inline]
#[target_feature(enable = "avx512f")]
fn canonical(words: __m512i, x: __m512i, y: __m512i) -> __m512i {
    let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(f(x), f(y));
    _mm512_mask_mov_epi32(words, nan, _mm512_set1_epi32(float::NAN as i32))
}

/// `x` where `wins` says so, else `y`; `equal` where they are equal.
#[inline]
#[target_feature(enable = "avx512f")]
fn extreme(x: __m512i, y: __m512i, wins: __mmask16, equal: __m512i) -> __m512i {
    let ordered = _mm512_mask_mov_epi32(y, wins, x);
    let same = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(f(x), f(y));
    canonical(_mm512_mask_mov_epi32(ordered, same, equal), x, y)
}

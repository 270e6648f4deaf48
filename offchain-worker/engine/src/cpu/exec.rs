//! Executes tapes on blocks of words: one tight loop per instruction, compiled once for every
//! instruction set.
//!
//! The hardware's addition, multiplication, division, square root and fused multiply-add are
//! IEEE-754's. What it does not share with the protocol is the bits of a NaN, so those are made
//! canonical after every operation.

use super::simd::{Simd, NATIVE_FMA};
use super::tape::{Code, Instr};
use lockstep_protocol::float;
use std::slice;

/// Executes `tape` on blocks of `n` words; `slots` says where each slot's block is.
///
/// # Safety
/// `simd` must be supported. Every slot that the tape names must point to `n` words, and those of
/// an instruction's result must overlap no operand of it.
pub unsafe fn run(simd: Simd, tape: &[Instr], slots: &[*mut u32], n: usize) {
    match simd {
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => run_avx512(tape, slots, n),
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => run_avx2(tape, slots, n),
        _ => run_all::<NATIVE_FMA>(tape, slots, n),
    }
}

/// Folds rows of words into `acc` with one instruction that is commutative, or is the fused
/// multiply-add of `x`, `y` and the accumulator.
///
/// `n` is the length of `acc`. The words for step `r` of accumulator `i` are `x[r * n + i]` when
/// `by_row`, else `x[i * rows + r]`. Float accumulators come out canonical.
///
/// # Safety
/// `simd` must be supported; `x`, and `y` if the instruction has three operands, must point to
/// `n * rows` words, `acc` to `n` words that do not overlap them.
#[allow(clippy::too_many_arguments)]
pub unsafe fn accumulate(
    simd: Simd,
    code: Code,
    acc: *mut u32,
    x: *const u32,
    y: *const u32,
    n: usize,
    rows: usize,
    by_row: bool,
) {
    let acc = slice::from_raw_parts_mut(acc, n);
    let x = slice::from_raw_parts(x, n * rows);
    let y = match code {
        Code::FFma => slice::from_raw_parts(y, n * rows),
        _ => x,
    };
    match simd {
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => accumulate_avx512(code, acc, x, y, rows, by_row),
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => accumulate_avx2(code, acc, x, y, rows, by_row),
        _ => accumulate_all::<NATIVE_FMA>(code, acc, x, y, rows, by_row),
    }
}

/// Whether [`accumulate`] can execute the instruction.
pub fn accumulates(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        FAdd | FMul
            | FFma
            | FMin
            | FMax
            | IAdd
            | IMul
            | IMinS
            | IMaxS
            | IMinU
            | IMaxU
            | And
            | Or
            | Xor
    )
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn run_avx512(tape: &[Instr], slots: &[*mut u32], n: usize) {
    run_all::<true>(tape, slots, n)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2(tape: &[Instr], slots: &[*mut u32], n: usize) {
    run_all::<true>(tape, slots, n)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn accumulate_avx512(code: Code, acc: &mut [u32], x: &[u32], y: &[u32], rows: usize, by_row: bool) {
    accumulate_all::<true>(code, acc, x, y, rows, by_row)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn accumulate_avx2(code: Code, acc: &mut [u32], x: &[u32], y: &[u32], rows: usize, by_row: bool) {
    accumulate_all::<true>(code, acc, x, y, rows, by_row)
}

#[inline(always)]
fn f(word: u32) -> f32 {
    f32::from_bits(word)
}

#[inline(always)]
fn canonical(x: f32) -> u32 {
    if x.is_nan() {
        float::NAN
    } else {
        x.to_bits()
    }
}

#[inline(always)]
fn canonical_bits(word: u32) -> u32 {
    canonical(f(word))
}

#[inline(always)]
fn fma<const NATIVE: bool>(a: u32, b: u32, c: u32) -> u32 {
    if NATIVE {
        f(a).mul_add(f(b), f(c)).to_bits()
    } else {
        float::fma(a, b, c)
    }
}

#[inline(always)]
fn fmin(a: u32, b: u32) -> u32 {
    let (x, y) = (f(a), f(b));
    // Equal numbers differ in nothing but the sign of a zero.
    let ordered = if x < y { a } else { b };
    let number = if x == y { a | b } else { ordered };
    if x.is_nan() | y.is_nan() {
        float::NAN
    } else {
        number
    }
}

#[inline(always)]
fn fmax(a: u32, b: u32) -> u32 {
    let (x, y) = (f(a), f(b));
    let ordered = if x > y { a } else { b };
    let number = if x == y { a & b } else { ordered };
    if x.is_nan() | y.is_nan() {
        float::NAN
    } else {
        number
    }
}

#[inline(always)]
unsafe fn run_all<const FMA: bool>(tape: &[Instr], slots: &[*mut u32], n: usize) {
    for instr in tape {
        let dst = slice::from_raw_parts_mut(slots[instr.dst as usize], n);
        let src = |k: usize| slice::from_raw_parts(slots[instr.src[k] as usize], n);
        macro_rules! un {
            (|$x:ident| $value:expr) => {
                for (d, &$x) in dst.iter_mut().zip(src(0)) {
                    *d = $value;
                }
            };
        }
        macro_rules! bin {
            (|$x:ident, $y:ident| $value:expr) => {
                for ((d, &$x), &$y) in dst.iter_mut().zip(src(0)).zip(src(1)) {
                    *d = $value;
                }
            };
        }
        macro_rules! tri {
            (|$x:ident, $y:ident, $z:ident| $value:expr) => {
                for (((d, &$x), &$y), &$z) in dst.iter_mut().zip(src(0)).zip(src(1)).zip(src(2)) {
                    *d = $value;
                }
            };
        }
        match instr.code {
            Code::FAdd => bin!(|x, y| canonical(f(x) + f(y))),
            Code::FSub => bin!(|x, y| canonical(f(x) - f(y))),
            Code::FMul => bin!(|x, y| canonical(f(x) * f(y))),
            Code::FFma => tri!(|x, y, z| canonical_bits(fma::<FMA>(x, y, z))),
            Code::FDiv => bin!(|x, y| canonical(f(x) / f(y))),
            Code::FSqrt => un!(|x| canonical(f(x).sqrt())),
            Code::FMin => bin!(|x, y| fmin(x, y)),
            Code::FMax => bin!(|x, y| fmax(x, y)),
            Code::FNeg => un!(|x| canonical_bits(x ^ 1 << 31)),
            Code::FAbs => un!(|x| canonical_bits(x & !(1 << 31))),
            Code::FEq => bin!(|x, y| (f(x) == f(y)) as u32),
            Code::FLt => bin!(|x, y| (f(x) < f(y)) as u32),
            Code::FLe => bin!(|x, y| (f(x) <= f(y)) as u32),
            Code::IAdd => bin!(|x, y| x.wrapping_add(y)),
            Code::ISub => bin!(|x, y| x.wrapping_sub(y)),
            Code::IMul => bin!(|x, y| x.wrapping_mul(y)),
            Code::UMulHi => bin!(|x, y| ((x as u64 * y as u64) >> 32) as u32),
            Code::And => bin!(|x, y| x & y),
            Code::Or => bin!(|x, y| x | y),
            Code::Xor => bin!(|x, y| x ^ y),
            Code::Shl => bin!(|x, y| if y < 32 { x << (y & 31) } else { 0 }),
            Code::ShrU => bin!(|x, y| if y < 32 { x >> (y & 31) } else { 0 }),
            Code::ShrS => bin!(|x, y| if y < 32 {
                (x as i32 >> (y & 31)) as u32
            } else {
                0
            }),
            Code::IMinS => bin!(|x, y| (x as i32).min(y as i32) as u32),
            Code::IMaxS => bin!(|x, y| (x as i32).max(y as i32) as u32),
            Code::IMinU => bin!(|x, y| x.min(y)),
            Code::IMaxU => bin!(|x, y| x.max(y)),
            Code::IEq => bin!(|x, y| (x == y) as u32),
            Code::ILtS => bin!(|x, y| ((x as i32) < y as i32) as u32),
            Code::ILtU => bin!(|x, y| (x < y) as u32),
            Code::Select => tri!(|x, y, z| if x != 0 { y } else { z }),
            Code::F32ToI32 => un!(|x| f(x) as i32 as u32),
            Code::F32ToU32 => un!(|x| f(x) as u32),
            Code::I32ToF32 => un!(|x| (x as i32 as f32).to_bits()),
            Code::U32ToF32 => un!(|x| (x as f32).to_bits()),
            Code::Copy => un!(|x| x),
            Code::Canonical => un!(|x| canonical_bits(x)),
            Code::Low8 => un!(|x| x & 0xff),
            Code::Low16 => un!(|x| x & 0xffff),
            Code::Signed8 => un!(|x| x as i8 as u32),
        }
    }
}

#[inline(always)]
fn accumulate_all<const FMA: bool>(
    code: Code,
    acc: &mut [u32],
    x: &[u32],
    y: &[u32],
    rows: usize,
    by_row: bool,
) {
    macro_rules! fold {
        (|$a:ident, $x:ident| $value:expr) => {
            if by_row {
                for row in x.chunks_exact(acc.len()) {
                    for (acc, &$x) in acc.iter_mut().zip(row) {
                        let $a = *acc;
                        *acc = $value;
                    }
                }
            } else {
                for (acc, row) in acc.iter_mut().zip(x.chunks_exact(rows)) {
                    *acc = row.iter().fold(*acc, |$a, &$x| $value);
                }
            }
        };
    }
    match code {
        // A NaN stays a NaN to the end, so it is enough to make it canonical there.
        Code::FAdd => fold!(|a, x| (f(a) + f(x)).to_bits()),
        Code::FMul => fold!(|a, x| (f(a) * f(x)).to_bits()),
        Code::FFma if by_row => {
            for (x, y) in x.chunks_exact(acc.len()).zip(y.chunks_exact(acc.len())) {
                for ((acc, &x), &y) in acc.iter_mut().zip(x).zip(y) {
                    *acc = fma::<FMA>(x, y, *acc);
                }
            }
        }
        Code::FFma => {
            for ((acc, x), y) in acc
                .iter_mut()
                .zip(x.chunks_exact(rows))
                .zip(y.chunks_exact(rows))
            {
                *acc = x
                    .iter()
                    .zip(y)
                    .fold(*acc, |acc, (&x, &y)| fma::<FMA>(x, y, acc));
            }
        }
        Code::FMin => fold!(|a, x| fmin(a, x)),
        Code::FMax => fold!(|a, x| fmax(a, x)),
        Code::IAdd => fold!(|a, x| a.wrapping_add(x)),
        Code::IMul => fold!(|a, x| a.wrapping_mul(x)),
        Code::IMinS => fold!(|a, x| (a as i32).min(x as i32) as u32),
        Code::IMaxS => fold!(|a, x| (a as i32).max(x as i32) as u32),
        Code::IMinU => fold!(|a, x| a.min(x)),
        Code::IMaxU => fold!(|a, x| a.max(x)),
        Code::And => fold!(|a, x| a & x),
        Code::Or => fold!(|a, x| a | x),
        Code::Xor => fold!(|a, x| a ^ x),
        _ => unreachable!("`accumulates` names what is folded here"),
    }
    if matches!(code, Code::FAdd | Code::FMul | Code::FFma) {
        for acc in acc {
            *acc = canonical_bits(*acc);
        }
    }
}

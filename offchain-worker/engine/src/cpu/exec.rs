//! Executes tapes on blocks of words: one tight loop per instruction, compiled once for every
//! instruction set.
//!
//! The hardware's addition, multiplication, division, square root and fused multiply-add are
//! IEEE-754's. What it does not share with the protocol is the bits of a NaN; the tape says where
//! those have to be made canonical.

#[cfg(target_arch = "x86_64")]
mod registers;

use super::gemm::transpose::transpose;
use super::simd::{Simd, NATIVE_FMA};
use super::tape::{Code, Instr};
use lockstep_protocol::float;
use std::slice;

/// Executes `tape` on blocks of `n` words; `slots` says where each slot's block is.
///
/// # Safety
/// `simd` must be supported. Every slot that the tape names must point to `n` words, or to one where
/// it is named as a splat operand, and those of an instruction's result must overlap no operand of
/// it.
pub unsafe fn run(simd: Simd, tape: &[Instr], slots: &[*mut u32], n: usize) {
    match simd {
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => registers::run(tape, slots, n),
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => run_avx2(tape, slots, n),
        _ => run_all::<NATIVE_FMA>(tape, slots, n),
    }
}

/// Folds rows of words into `acc` with one instruction that is commutative, or is the fused
/// multiply-add of `x`, `y` and the accumulator.
///
/// `n` is the length of `acc`. The words for step `r` of accumulator `i` are `x[r * n + i]` when
/// `by_row`, else `x[i * rows + r]`.
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
        Simd::Avx512 => accumulate_avx512(simd, code, acc, [x, y], rows, by_row),
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => accumulate_avx2(simd, code, acc, [x, y], rows, by_row),
        _ => accumulate_all::<NATIVE_FMA>(simd, code, acc, [x, y], rows, by_row),
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
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2(tape: &[Instr], slots: &[*mut u32], n: usize) {
    run_all::<true>(tape, slots, n)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn accumulate_avx512(
    simd: Simd,
    code: Code,
    acc: &mut [u32],
    operands: [&[u32]; 2],
    rows: usize,
    by_row: bool,
) {
    accumulate_all::<true>(simd, code, acc, operands, rows, by_row)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn accumulate_avx2(
    simd: Simd,
    code: Code,
    acc: &mut [u32],
    operands: [&[u32]; 2],
    rows: usize,
    by_row: bool,
) {
    accumulate_all::<true>(simd, code, acc, operands, rows, by_row)
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
        let word = |k: usize| *slots[instr.src[k] as usize];
        macro_rules! un {
            (|$x:ident| $value:expr) => {
                unary(dst, src(0), |$x| $value)
            };
        }
        macro_rules! bin {
            (|$x:ident, $y:ident| $value:expr) => {{
                let f = |$x: u32, $y: u32| -> u32 { $value };
                match instr.splat {
                    0 => binary(dst, src(0), src(1), f),
                    1 => {
                        let x = word(0);
                        unary(dst, src(1), move |y| f(x, y))
                    }
                    _ => {
                        let y = word(1);
                        unary(dst, src(0), move |x| f(x, y))
                    }
                }
            }};
        }
        macro_rules! tri {
            (|$x:ident, $y:ident, $z:ident| $value:expr) => {{
                let f = |$x: u32, $y: u32, $z: u32| -> u32 { $value };
                match instr.splat {
                    0 => ternary(dst, src(0), src(1), src(2), f),
                    1 => {
                        let x = word(0);
                        binary(dst, src(1), src(2), move |y, z| f(x, y, z))
                    }
                    2 => {
                        let y = word(1);
                        binary(dst, src(0), src(2), move |x, z| f(x, y, z))
                    }
                    4 => {
                        let z = word(2);
                        binary(dst, src(0), src(1), move |x, y| f(x, y, z))
                    }
                    3 => {
                        let (x, y) = (word(0), word(1));
                        unary(dst, src(2), move |z| f(x, y, z))
                    }
                    5 => {
                        let (x, z) = (word(0), word(2));
                        unary(dst, src(1), move |y| f(x, y, z))
                    }
                    _ => {
                        let (y, z) = (word(1), word(2));
                        unary(dst, src(0), move |x| f(x, y, z))
                    }
                }
            }};
        }
        match instr.code {
            Code::FAdd => bin!(|x, y| (f(x) + f(y)).to_bits()),
            Code::FSub => bin!(|x, y| (f(x) - f(y)).to_bits()),
            Code::FMul => bin!(|x, y| (f(x) * f(y)).to_bits()),
            Code::FFma => tri!(|x, y, z| fma::<FMA>(x, y, z)),
            Code::FDiv => bin!(|x, y| (f(x) / f(y)).to_bits()),
            Code::FSqrt => un!(|x| f(x).sqrt().to_bits()),
            Code::FMin => bin!(|x, y| fmin(x, y)),
            Code::FMax => bin!(|x, y| fmax(x, y)),
            Code::FNeg => un!(|x| x ^ 1 << 31),
            Code::FAbs => un!(|x| x & !(1 << 31)),
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

// The loops are functions because only of arguments does the compiler know that they do not
// overlap.

#[inline(always)]
fn unary(dst: &mut [u32], x: &[u32], f: impl Fn(u32) -> u32) {
    for (d, &x) in dst.iter_mut().zip(x) {
        *d = f(x);
    }
}

#[inline(always)]
fn binary(dst: &mut [u32], x: &[u32], y: &[u32], f: impl Fn(u32, u32) -> u32) {
    for ((d, &x), &y) in dst.iter_mut().zip(x).zip(y) {
        *d = f(x, y);
    }
}

#[inline(always)]
fn ternary(dst: &mut [u32], x: &[u32], y: &[u32], z: &[u32], f: impl Fn(u32, u32, u32) -> u32) {
    for (((d, &x), &y), &z) in dst.iter_mut().zip(x).zip(y).zip(z) {
        *d = f(x, y, z);
    }
}

#[inline(always)]
fn accumulate_all<const FMA: bool>(
    simd: Simd,
    code: Code,
    acc: &mut [u32],
    [x, y]: [&[u32]; 2],
    rows: usize,
    by_row: bool,
) {
    macro_rules! fold {
        (|$a:ident, $x:ident| $value:expr) => {{
            let step = |$a: u32, [$x]: [u32; 1]| -> u32 { $value };
            match by_row {
                true => fold_rows(acc, [x], step),
                false => fold_columns(simd, acc, [x], rows, step),
            }
        }};
    }
    match code {
        Code::FAdd => fold!(|a, x| (f(a) + f(x)).to_bits()),
        Code::FMul => fold!(|a, x| (f(a) * f(x)).to_bits()),
        Code::FFma if by_row => fold_rows(acc, [x, y], |a, [x, y]| fma::<FMA>(x, y, a)),
        Code::FFma => fold_columns(simd, acc, [x, y], rows, |a, [x, y]| fma::<FMA>(x, y, a)),
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
}

/// Folds operands that hold a row of words for every step.
#[inline(always)]
fn fold_rows<const N: usize>(
    acc: &mut [u32],
    operands: [&[u32]; N],
    step: impl Fn(u32, [u32; N]) -> u32,
) {
    let width = acc.len();
    let (wide, rest) = acc.as_chunks_mut::<64>();
    let mut first = 0;
    for acc in wide {
        fold_lanes(acc, operands, first, width, &step);
        first += 64;
    }
    let (narrow, rest) = rest.as_chunks_mut::<16>();
    for acc in narrow {
        fold_lanes(acc, operands, first, width, &step);
        first += 16;
    }
    for acc in rest {
        for row in (first..operands[0].len()).step_by(width) {
            *acc = step(*acc, operands.map(|words| words[row]));
        }
        first += 1;
    }
}

/// Folds `LANES` neighbours, which stay in registers, from word `first` of every row on.
#[inline(always)]
fn fold_lanes<const LANES: usize, const N: usize>(
    acc: &mut [u32; LANES],
    operands: [&[u32]; N],
    first: usize,
    width: usize,
    step: &impl Fn(u32, [u32; N]) -> u32,
) {
    let mut sums = *acc;
    for row in (first..operands[0].len()).step_by(width) {
        let rows: [&[u32; LANES]; N] =
            operands.map(|words| words[row..].first_chunk().expect("rows are whole"));
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum = step(*sum, rows.map(|row| row[lane]));
        }
    }
    *acc = sums;
}

/// Folds operands that hold a run of `steps` words for every accumulator: turned into rows, many
/// accumulators take a step at once.
#[inline(always)]
fn fold_columns<const N: usize>(
    simd: Simd,
    acc: &mut [u32],
    operands: [&[u32]; N],
    steps: usize,
    step: impl Fn(u32, [u32; N]) -> u32,
) {
    const LANES: usize = 16;
    const STEPS: usize = 64;
    let mut turned = [[[0; LANES]; STEPS]; N];
    for (group, acc) in acc.chunks_mut(LANES).enumerate() {
        let mut sums = [0; LANES];
        sums[..acc.len()].copy_from_slice(acc);
        for first in (0..steps).step_by(STEPS) {
            let count = (steps - first).min(STEPS);
            for (words, turned) in operands.iter().zip(&mut turned) {
                let run = |lane: usize| &words[(group * LANES + lane) * steps + first..][..count];
                let out = turned.as_flattened_mut();
                transpose(simd, run, [acc.len(), count], LANES, out);
            }
            for s in 0..count {
                let rows = turned.each_ref().map(|turned| &turned[s]);
                for (lane, sum) in sums.iter_mut().enumerate() {
                    *sum = step(*sum, rows.map(|row| row[lane]));
                }
            }
        }
        acc.copy_from_slice(&sums[..acc.len()]);
    }
}

//! Bodies in the host's arithmetic, many lanes at a time. `tests/float.rs` shows that the host's
//! operations give the protocol's bits.

use lockstep_protocol::float;
use lockstep_protocol::program::{Body, Op};

/// Elements that are computed together.
pub const LANES: usize = 512;

type Lanes = [u32; LANES];

/// A body and its registers.
pub struct Native<'a> {
    body: &'a Body,
    registers: Vec<Lanes>,
}

impl<'a> Native<'a> {
    /// Prepares the constants of a body without values.
    pub fn new(body: &'a Body) -> Native<'a> {
        let operands = body.reads.len() + body.consts.len();
        let mut registers = vec![[0; LANES]; operands + body.ops.len()];
        for (register, &word) in registers[body.reads.len()..].iter_mut().zip(&body.consts) {
            register.fill(word);
        }
        Native { body, registers }
    }

    /// The results for the operands that the body reads.
    pub fn run(&mut self, reads: &[Lanes]) -> &Lanes {
        self.registers[..reads.len()].copy_from_slice(reads);
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the features were detected.
            unsafe { self.run_vectorised() };
            return self.registers.last().expect("a body has a register");
        }
        self.run_ops();
        self.registers.last().expect("a body has a register")
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run_vectorised(&mut self) {
        self.run_ops();
    }

    #[inline(always)]
    fn run_ops(&mut self) {
        let first = self.body.reads.len() + self.body.consts.len();
        for (i, &op) in self.body.ops.iter().enumerate() {
            let (operands, rest) = self.registers.split_at_mut(first + i);
            apply(op, operands, &mut rest[0]);
        }
    }
}

#[inline(always)]
fn apply(op: Op, regs: &[Lanes], out: &mut Lanes) {
    let reg = |r: u8| &regs[r as usize];
    let f = f32::from_bits;
    match op {
        Op::FAdd(a, b) => zip(reg(a), reg(b), out, |a, b| bits(f(a) + f(b))),
        Op::FSub(a, b) => zip(reg(a), reg(b), out, |a, b| bits(f(a) - f(b))),
        Op::FMul(a, b) => zip(reg(a), reg(b), out, |a, b| bits(f(a) * f(b))),
        Op::FFma(a, b, c) => zip3(reg(a), reg(b), reg(c), out, |a, b, c| {
            bits(f(a).mul_add(f(b), f(c)))
        }),
        Op::FDiv(a, b) => zip(reg(a), reg(b), out, |a, b| bits(f(a) / f(b))),
        Op::FSqrt(a) => map(reg(a), out, |a| bits(f(a).sqrt())),
        Op::FMin(a, b) => zip(reg(a), reg(b), out, |a, b| {
            if f(a).is_nan() || f(b).is_nan() {
                float::NAN
            } else if f(a) < f(b) {
                a
            } else if f(b) < f(a) {
                b
            } else {
                a | b
            }
        }),
        Op::FMax(a, b) => zip(reg(a), reg(b), out, |a, b| {
            if f(a).is_nan() || f(b).is_nan() {
                float::NAN
            } else if f(a) > f(b) {
                a
            } else if f(b) > f(a) {
                b
            } else {
                a & b
            }
        }),
        Op::FNeg(a) => map(reg(a), out, |a| bits(-f(a))),
        Op::FAbs(a) => map(reg(a), out, |a| bits(f(a).abs())),
        Op::FEq(a, b) => zip(reg(a), reg(b), out, |a, b| (f(a) == f(b)) as u32),
        Op::FLt(a, b) => zip(reg(a), reg(b), out, |a, b| (f(a) < f(b)) as u32),
        Op::FLe(a, b) => zip(reg(a), reg(b), out, |a, b| (f(a) <= f(b)) as u32),
        Op::IAdd(a, b) => zip(reg(a), reg(b), out, u32::wrapping_add),
        Op::ISub(a, b) => zip(reg(a), reg(b), out, u32::wrapping_sub),
        Op::IMul(a, b) => zip(reg(a), reg(b), out, u32::wrapping_mul),
        Op::UMulHi(a, b) => zip(reg(a), reg(b), out, |a, b| {
            ((a as u64 * b as u64) >> 32) as u32
        }),
        Op::And(a, b) => zip(reg(a), reg(b), out, |a, b| a & b),
        Op::Or(a, b) => zip(reg(a), reg(b), out, |a, b| a | b),
        Op::Xor(a, b) => zip(reg(a), reg(b), out, |a, b| a ^ b),
        Op::Shl(a, b) => zip(reg(a), reg(b), out, |a, b| if b < 32 { a << b } else { 0 }),
        Op::ShrU(a, b) => zip(reg(a), reg(b), out, |a, b| if b < 32 { a >> b } else { 0 }),
        Op::ShrS(a, b) => zip(reg(a), reg(b), out, |a, b| {
            if b < 32 {
                (a as i32 >> b) as u32
            } else {
                0
            }
        }),
        Op::IMinS(a, b) => zip(reg(a), reg(b), out, |a, b| (a as i32).min(b as i32) as u32),
        Op::IMaxS(a, b) => zip(reg(a), reg(b), out, |a, b| (a as i32).max(b as i32) as u32),
        Op::IMinU(a, b) => zip(reg(a), reg(b), out, u32::min),
        Op::IMaxU(a, b) => zip(reg(a), reg(b), out, u32::max),
        Op::IEq(a, b) => zip(reg(a), reg(b), out, |a, b| (a == b) as u32),
        Op::ILtS(a, b) => zip(reg(a), reg(b), out, |a, b| ((a as i32) < b as i32) as u32),
        Op::ILtU(a, b) => zip(reg(a), reg(b), out, |a, b| (a < b) as u32),
        Op::Select(c, a, b) => zip3(
            reg(c),
            reg(a),
            reg(b),
            out,
            |c, a, b| {
                if c != 0 {
                    a
                } else {
                    b
                }
            },
        ),
        Op::F32ToI32(a) => map(reg(a), out, |a| f(a) as i32 as u32),
        Op::F32ToU32(a) => map(reg(a), out, |a| f(a) as u32),
        Op::I32ToF32(a) => map(reg(a), out, |a| (a as i32 as f32).to_bits()),
        Op::U32ToF32(a) => map(reg(a), out, |a| (a as f32).to_bits()),
    }
}

#[inline(always)]
fn bits(x: f32) -> u32 {
    if x.is_nan() {
        float::NAN
    } else {
        x.to_bits()
    }
}

#[inline(always)]
fn map(a: &Lanes, out: &mut Lanes, f: impl Fn(u32) -> u32) {
    for i in 0..LANES {
        out[i] = f(a[i]);
    }
}

#[inline(always)]
fn zip(a: &Lanes, b: &Lanes, out: &mut Lanes, f: impl Fn(u32, u32) -> u32) {
    for i in 0..LANES {
        out[i] = f(a[i], b[i]);
    }
}

#[inline(always)]
fn zip3(a: &Lanes, b: &Lanes, c: &Lanes, out: &mut Lanes, f: impl Fn(u32, u32, u32) -> u32) {
    for i in 0..LANES {
        out[i] = f(a[i], b[i], c[i]);
    }
}

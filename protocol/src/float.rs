//! IEEE-754 binary32 on bit patterns, in integer arithmetic.
//!
//! Operations round to nearest, ties to even, and keep subnormals. Every result that is a NaN is
//! [`NAN`]; operands may be any NaN. No function uses the host's floating point, so every machine,
//! a contract included, computes the same bits.

/// The canonical NaN, the only one that an operation returns.
pub const NAN: u32 = 0x7fc0_0000;

const SIGN: u32 = 1 << 31;
const INFINITY: u32 = 0x7f80_0000;
const FRACTION: u32 = (1 << 23) - 1;

/// `bits`, with every NaN replaced by [`NAN`].
pub const fn canonical(bits: u32) -> u32 {
    if is_nan(bits) {
        NAN
    } else {
        bits
    }
}

/// `a + b`.
pub fn add(a: u32, b: u32) -> u32 {
    if is_nan(a) || is_nan(b) {
        return NAN;
    }
    match (is_infinite(a), is_infinite(b)) {
        (true, true) if a != b => NAN,
        (true, _) => a,
        (_, true) => b,
        _ => sum(Number::of(a), Number::of(b)),
    }
}

/// `a - b`.
pub fn sub(a: u32, b: u32) -> u32 {
    add(a, b ^ SIGN)
}

/// `a * b`.
pub fn mul(a: u32, b: u32) -> u32 {
    if is_nan(a) || is_nan(b) {
        return NAN;
    }
    if is_infinite(a) || is_infinite(b) {
        return infinite_product(a, b);
    }
    product(a, b).round()
}

/// `a * b + c`, rounded once.
pub fn fma(a: u32, b: u32, c: u32) -> u32 {
    if is_nan(a) || is_nan(b) || is_nan(c) {
        return NAN;
    }
    if is_infinite(a) || is_infinite(b) {
        return add(infinite_product(a, b), c);
    }
    if is_infinite(c) {
        return c;
    }
    sum(product(a, b), Number::of(c))
}

/// `a / b`.
pub fn div(a: u32, b: u32) -> u32 {
    if is_nan(a) || is_nan(b) {
        return NAN;
    }
    let sign = (a ^ b) & SIGN;
    match (is_infinite(a), is_infinite(b)) {
        (true, true) => return NAN,
        (true, false) => return sign | INFINITY,
        (false, true) => return sign,
        (false, false) => {}
    }
    match (is_zero(a), is_zero(b)) {
        (true, true) => return NAN,
        (true, false) => return sign,
        (false, true) => return sign | INFINITY,
        (false, false) => {}
    }
    let (a, b) = (Number::of(a).normalized(), Number::of(b).normalized());
    // The divisor keeps 24 bits, so the quotient has at least 39 and the remainder only has to
    // say whether it is zero.
    let divisor = b.significand >> 39;
    let quotient = a.significand / divisor;
    let inexact = a.significand % divisor != 0;
    Number {
        sign,
        exponent: a.exponent - (b.exponent + 39),
        significand: quotient | inexact as u64,
    }
    .round()
}

/// The square root of `a`; NaN below -0.
pub fn sqrt(a: u32) -> u32 {
    if is_nan(a) || is_zero(a) || a == INFINITY {
        return canonical(a);
    }
    if a & SIGN != 0 {
        return NAN;
    }
    let a = Number::of(a).normalized();
    // An even exponent halves exactly.
    let odd = a.exponent & 1;
    let radicand = a.significand << odd;
    let root = radicand.isqrt();
    let inexact = root * root != radicand;
    Number {
        sign: 0,
        exponent: (a.exponent - odd) / 2,
        significand: root | inexact as u64,
    }
    .round()
}

/// IEEE 754-2019 minimum: NaN when either is NaN, and -0 is less than +0.
pub fn min(a: u32, b: u32) -> u32 {
    if is_nan(a) || is_nan(b) {
        NAN
    } else if order(a) < order(b) {
        a
    } else {
        b
    }
}

/// IEEE 754-2019 maximum: NaN when either is NaN, and +0 is greater than -0.
pub fn max(a: u32, b: u32) -> u32 {
    if is_nan(a) || is_nan(b) {
        NAN
    } else if order(a) > order(b) {
        a
    } else {
        b
    }
}

/// `-a`; a NaN stays canonical.
pub fn neg(a: u32) -> u32 {
    canonical(a ^ SIGN)
}

/// `|a|`.
pub fn abs(a: u32) -> u32 {
    canonical(a & !SIGN)
}

/// Whether `a == b`: -0 equals +0, NaN equals nothing.
pub fn eq(a: u32, b: u32) -> bool {
    !is_nan(a) && !is_nan(b) && (a == b || is_zero(a) && is_zero(b))
}

/// Whether `a < b`; false when either is NaN.
pub fn lt(a: u32, b: u32) -> bool {
    le(a, b) && !eq(a, b)
}

/// Whether `a <= b`; false when either is NaN.
pub fn le(a: u32, b: u32) -> bool {
    !is_nan(a) && !is_nan(b) && (order(a) <= order(b) || is_zero(a) && is_zero(b))
}

/// `a` as a signed integer: towards zero, saturating, 0 for NaN.
pub fn to_i32(a: u32) -> i32 {
    let magnitude = truncated(a);
    if a & SIGN != 0 {
        (magnitude.min(1 << 31) as u32).wrapping_neg() as i32
    } else {
        magnitude.min(i32::MAX as u64) as i32
    }
}

/// `a` as an unsigned integer: towards zero, saturating (negative numbers give 0), 0 for NaN.
pub fn to_u32(a: u32) -> u32 {
    if a & SIGN != 0 {
        0
    } else {
        truncated(a).min(u32::MAX as u64) as u32
    }
}

/// The signed integer `value` as a float.
pub fn from_i32(value: i32) -> u32 {
    Number {
        sign: value as u32 & SIGN,
        exponent: 0,
        significand: value.unsigned_abs() as u64,
    }
    .round()
}

/// The unsigned integer `value` as a float.
pub fn from_u32(value: u32) -> u32 {
    Number {
        sign: 0,
        exponent: 0,
        significand: value as u64,
    }
    .round()
}

/// `(-1)^sign * significand * 2^exponent`; the sign is kept at its place in the bit pattern.
#[derive(Clone, Copy)]
struct Number {
    sign: u32,
    exponent: i32,
    significand: u64,
}

impl Number {
    /// The value of a finite bit pattern.
    fn of(bits: u32) -> Number {
        let biased = (bits >> 23 & 0xff) as i32;
        let fraction = (bits & FRACTION) as u64;
        let hidden = (biased != 0) as u64;
        Number {
            sign: bits & SIGN,
            exponent: biased.max(1) - 150,
            significand: hidden << 23 | fraction,
        }
    }

    /// The same nonzero value with bit 62 as the highest bit of its significand.
    fn normalized(self) -> Number {
        let shift = self.significand.leading_zeros() as i32 - 1;
        Number {
            exponent: self.exponent - shift,
            significand: self.significand << shift,
            ..self
        }
    }

    /// The nearest float, ties to even.
    ///
    /// Bit 0 may stand for any number of lower bits that are not all zero, provided that 26 bits
    /// lie above it.
    fn round(self) -> u32 {
        if self.significand == 0 {
            return self.sign;
        }
        let shift = self.significand.leading_zeros();
        let significand = self.significand << shift;
        let biased = self.exponent - shift as i32 + 63 + 127;
        if biased > 254 {
            return self.sign | INFINITY;
        }
        // A normal number keeps 24 of the 64 bits and a subnormal fewer. The last bit that is
        // shifted out, and whether any bit below it is set, decide the rounding.
        let below = 39 + (1 - biased).max(0);
        if below > 63 {
            return self.sign;
        }
        let kept = significand >> below;
        let sticky = (kept << below != significand) as u64;
        let up = kept & 1 & (sticky | kept >> 1);
        let magnitude = (kept >> 1) + up;
        // The hidden bit of a normal number adds one to the exponent field, and so does a carry.
        let exponent = (biased.max(1) - 1) as u32;
        self.sign | ((exponent << 23) + magnitude as u32)
    }
}

/// The rounded sum of two numbers whose significands have at most 48 bits.
fn sum(a: Number, b: Number) -> u32 {
    if a.significand == 0 && b.significand == 0 {
        return a.sign & b.sign;
    }
    if a.significand == 0 {
        return b.round();
    }
    if b.significand == 0 {
        return a.round();
    }
    let (a, b) = (a.normalized(), b.normalized());
    let (large, small) = if (a.exponent, a.significand) >= (b.exponent, b.significand) {
        (a, b)
    } else {
        (b, a)
    };
    // The lowest 15 bits are clear, so bits are lost only at a distance at which the result
    // keeps its 62 highest bits, and a sticky bit stands for them.
    let distance = (large.exponent - small.exponent).min(63);
    let aligned = small.significand >> distance;
    let sticky = (aligned << distance != small.significand) as u64;
    let significand = if large.sign == small.sign {
        large.significand + (aligned | sticky)
    } else {
        large.significand - (aligned | sticky)
    };
    Number {
        sign: if significand == 0 { 0 } else { large.sign },
        exponent: large.exponent,
        significand,
    }
    .round()
}

/// The exact product of two finite bit patterns.
fn product(a: u32, b: u32) -> Number {
    let (a, b) = (Number::of(a), Number::of(b));
    Number {
        sign: a.sign ^ b.sign,
        exponent: a.exponent + b.exponent,
        significand: a.significand * b.significand,
    }
}

/// The product when one factor is infinite and neither is NaN.
fn infinite_product(a: u32, b: u32) -> u32 {
    if is_zero(a) || is_zero(b) {
        NAN
    } else {
        (a ^ b) & SIGN | INFINITY
    }
}

/// The integer part of the magnitude, at least 2^32 for whatever is not below it; 0 for NaN.
fn truncated(a: u32) -> u64 {
    if is_nan(a) {
        return 0;
    }
    let Number {
        exponent,
        significand,
        ..
    } = Number::of(a);
    if exponent >= 0 {
        significand << exponent.min(32)
    } else {
        significand >> exponent.unsigned_abs().min(63)
    }
}

/// A number that grows with the value, and with the sign for zeros. Not for NaN.
fn order(a: u32) -> u32 {
    if a & SIGN != 0 {
        !a
    } else {
        a | SIGN
    }
}

const fn is_nan(bits: u32) -> bool {
    bits & !SIGN > INFINITY
}

fn is_infinite(bits: u32) -> bool {
    bits & !SIGN == INFINITY
}

fn is_zero(bits: u32) -> bool {
    bits & !SIGN == 0
}

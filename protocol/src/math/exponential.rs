//! The exponential and what is computed from it, the logarithm, roots and rounding.
//!
//! Polynomials are minimax approximations (Remez), rounded one coefficient at a time with the
//! higher ones fitted again. Coefficients are listed from the highest power down.

use super::{BodyBuilder, Val};
use core::f32::consts::{FRAC_1_SQRT_2, LN_2, LOG2_E};

/// What is missing from LN_2.
const LN_2_LOW: f32 = -1.904_654_2e-9;

/// Added to a number of small magnitude and subtracted again, it rounds to an integer; while it
/// is there, the integer stands in the low bits of the word.
pub(super) const ROUNDER: f32 = 12_582_912.0;

/// (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2.
const EXP: [f32; 5] = [
    0.001_380_564,
    0.008_367_929,
    0.041_668_225,
    0.166_665_23,
    0.499_999_94,
];

/// (ln(1 + f) - f) / f^2 for sqrt(1/2) <= 1 + f <= sqrt(2).
const LOG: [f32; 9] = [
    -0.076_420_14,
    0.127_664_85,
    -0.131_594_97,
    0.142_009_47,
    -0.166_233_35,
    0.200_012_61,
    -0.250_008_23,
    0.333_333_3,
    -0.5,
];

/// (tanh(x) / x - 1) / x^2 in x^2, for |x| <= TANH_SMALL.
const TANH: [f32; 5] = [
    -0.005_743_253_5,
    0.020_678_341,
    -0.053_753_957,
    0.133_316_55,
    -0.333_332_93,
];
const TANH_SMALL: f32 = 0.625;
/// tanh is 1 from here on.
const TANH_ONE: f32 = 10.0;

/// erf(x) / x - 1 in x^2, for |x| <= ERF_SMALL.
const ERF: [f32; 7] = [
    7.806_904e-5,
    -0.000_799_785_3,
    0.005_187_162,
    -0.026_853_347,
    0.112_835_79,
    -0.376_126_26,
    0.128_379_17,
];
const ERF_SMALL: f32 = 1.0;
/// -ln(erfc(a)) / a - 1 for ERF_SMALL <= a <= ERF_ONE.
const ERFC: [f32; 6] = [
    -0.000_210_647_72,
    0.003_186_973_5,
    -0.022_798_518,
    0.105_116_18,
    0.635_831_5,
    0.128_480_03,
];
/// erf is 1 from here on.
const ERF_ONE: f32 = 4.0;

impl BodyBuilder {
    /// e^x.
    pub fn exp(&mut self, x: Val) -> Val {
        // Beyond these bounds the result is 0 or infinite, and within them the exponents of both
        // factors below fit their fields.
        let (low, high) = (self.constant_f32(-104.0), self.constant_f32(89.0));
        let x = self.fmax(x, low);
        let x = self.fmin(x, high);
        // e^x = p * 2^n with n from -150 to 128: two factors, so that the last product rounds
        // once, into the subnormals where it has to.
        let (p, word) = self.exp_reduced(x, 254);
        let one = self.constant_u32(1);
        let half = self.shr_u(word, one);
        let rest = self.isub(word, half);
        let field = self.constant_u32(23);
        let first = self.shl(half, field);
        let second = self.shl(rest, field);
        let scaled = self.fmul(p, first);
        self.fmul(scaled, second)
    }

    /// e^x for x between -80 and 80.
    fn exp_bounded(&mut self, x: Val) -> Val {
        let (p, word) = self.exp_reduced(x, 127);
        let field = self.constant_u32(23);
        let factor = self.shl(word, field);
        self.fmul(p, factor)
    }

    /// p close to 1 and a word whose low bits are n + `bias`, with e^x = p * 2^n.
    fn exp_reduced(&mut self, x: Val, bias: u16) -> (Val, Val) {
        let rounder = self.constant_f32(ROUNDER + bias as f32);
        let log2_e = self.constant_f32(LOG2_E);
        let word = self.fma(x, log2_e, rounder);
        let n = self.fsub(word, rounder);
        let (ln2, ln2_low) = (self.constant_f32(-LN_2), self.constant_f32(-LN_2_LOW));
        let r = self.fma(n, ln2, x);
        let r = self.fma(n, ln2_low, r);
        let q = self.exp_slope(r);
        let one = self.constant_f32(1.0);
        (self.fma(q, r, one), word)
    }

    /// (e^r - 1) / r for |r| <= ln(2) / 2.
    pub(super) fn exp_slope(&mut self, r: Val) -> Val {
        let q = self.polynomial(r, &EXP);
        let one = self.constant_f32(1.0);
        self.fma(q, r, one)
    }

    /// The natural logarithm: -inf at zeros, NaN below.
    pub fn log(&mut self, x: Val) -> Val {
        // A subnormal is scaled into the normal numbers first.
        let (smallest, scale) = (
            self.constant_f32(f32::MIN_POSITIVE),
            self.constant_f32(8_388_608.0),
        );
        let subnormal = self.flt(x, smallest);
        let scaled = self.fmul(x, scale);
        let y = self.select(subnormal, scaled, x);
        let (down, zero) = (self.constant_f32(-23.0), self.constant_f32(0.0));
        let offset = self.select(subnormal, down, zero);

        // y = m * 2^e with m from sqrt(1/2) to sqrt(2), both read off the bit pattern.
        let (least, field) = (
            self.constant_u32(FRAC_1_SQRT_2.to_bits()),
            self.constant_u32(23),
        );
        let e = self.isub(y, least);
        let e = self.shr_s(e, field);
        let shift = self.shl(e, field);
        let m = self.isub(y, shift);
        let e = self.i32_to_f32(e);
        let e = self.fadd(e, offset);

        let one = self.constant_f32(1.0);
        let f = self.fsub(m, one);
        let q = self.polynomial(f, &LOG);
        let f2 = self.fmul(f, f);
        let (ln2, ln2_low) = (self.constant_f32(LN_2), self.constant_f32(LN_2_LOW));
        let low = self.fmul(e, ln2_low);
        let low = self.fma(f2, q, low);
        let high = self.fma(e, ln2, f);
        let finite = self.fadd(high, low);

        let positive = self.flt(zero, x);
        let is_zero = self.feq(x, zero);
        let (nan, pole, infinity) = (
            self.constant_u32(crate::float::NAN),
            self.constant_f32(f32::NEG_INFINITY),
            self.constant_f32(f32::INFINITY),
        );
        let outside = self.select(is_zero, pole, nan);
        let result = self.select(positive, finite, outside);
        let infinite = self.ieq(x, infinity);
        self.select(infinite, x, result)
    }

    /// 1 / sqrt(x): infinite with the sign of x at zeros, NaN below.
    pub fn rsqrt(&mut self, x: Val) -> Val {
        let root = self.fsqrt(x);
        let one = self.constant_f32(1.0);
        self.fdiv(one, root)
    }

    /// The hyperbolic tangent.
    pub fn tanh(&mut self, x: Val) -> Val {
        let a = self.fabs(x);
        let s = self.fmul(a, a);
        let p = self.polynomial(s, &TANH);
        let cube = self.fmul(s, a);
        let small = self.fma(cube, p, a);

        // 1 - 2 / (e^2a + 1)
        let (one, two) = (self.constant_f32(1.0), self.constant_f32(2.0));
        let bound = self.constant_f32(TANH_ONE);
        let bounded = self.fmin(a, bound);
        let twice = self.fadd(bounded, bounded);
        let e = self.exp_bounded(twice);
        let denominator = self.fadd(e, one);
        let rest = self.fdiv(two, denominator);
        let large = self.fsub(one, rest);

        let limit = self.constant_f32(TANH_SMALL);
        let is_small = self.flt(a, limit);
        let magnitude = self.select(is_small, small, large);
        self.with_sign_of(x, magnitude)
    }

    /// The error function.
    pub fn erf(&mut self, x: Val) -> Val {
        let a = self.fabs(x);
        let s = self.fmul(a, a);
        let p = self.polynomial(s, &ERF);
        let small = self.fma(a, p, a);

        let one = self.constant_f32(1.0);
        let bound = self.constant_f32(ERF_ONE);
        let bounded = self.fmin(a, bound);
        let p = self.polynomial(bounded, &ERFC);
        let exponent = self.fma(bounded, p, bounded);
        let exponent = self.fneg(exponent);
        let complement = self.exp_bounded(exponent);
        let large = self.fsub(one, complement);

        let limit = self.constant_f32(ERF_SMALL);
        let is_small = self.flt(a, limit);
        let magnitude = self.select(is_small, small, large);
        self.with_sign_of(x, magnitude)
    }

    /// 1 / (1 + e^-x).
    pub fn sigmoid(&mut self, x: Val) -> Val {
        let a = self.fabs(x);
        let a = self.fneg(a);
        let e = self.exp(a);
        let (zero, one) = (self.constant_f32(0.0), self.constant_f32(1.0));
        let negative = self.flt(x, zero);
        let numerator = self.select(negative, e, one);
        let denominator = self.fadd(one, e);
        let quotient = self.fdiv(numerator, denominator);
        // e / (1 + e) is also e - e * (e / (1 + e)), where the errors of the quotient weigh less.
        let minus_e = self.fneg(e);
        let refined = self.fma(minus_e, quotient, e);
        self.select(negative, refined, quotient)
    }

    /// The nearest integer, ties to even; zeros keep their sign.
    pub fn round_even(&mut self, x: Val) -> Val {
        let limit = self.constant_f32(8_388_608.0);
        let a = self.fabs(x);
        let up = self.fadd(a, limit);
        let rounded = self.fsub(up, limit);
        let has_fraction = self.flt(a, limit);
        let magnitude = self.select(has_fraction, rounded, a);
        self.with_sign_of(x, magnitude)
    }

    /// The greatest integer that is not above x; zeros keep their sign.
    pub fn floor(&mut self, x: Val) -> Val {
        let nearest = self.round_even(x);
        let one = self.constant_f32(1.0);
        let below = self.fsub(nearest, one);
        let above_x = self.flt(x, nearest);
        self.select(above_x, below, nearest)
    }

    /// `magnitude`, negated when the sign bit of `x` is set.
    fn with_sign_of(&mut self, x: Val, magnitude: Val) -> Val {
        let sign = self.constant_u32(31);
        let negative = self.shr_u(x, sign);
        let negated = self.fneg(magnitude);
        self.select(negative, negated, magnitude)
    }

    /// The polynomial with `coefficients` from the highest power down, by Horner's rule with fma.
    pub(super) fn polynomial(&mut self, x: Val, coefficients: &[f32]) -> Val {
        let (&first, rest) = coefficients
            .split_first()
            .expect("a polynomial has a coefficient");
        let mut sum = self.constant_f32(first);
        for &coefficient in rest {
            let coefficient = self.constant_f32(coefficient);
            sum = self.fma(sum, x, coefficient);
        }
        sum
    }
}

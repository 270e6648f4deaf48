//! Sine and cosine of every number, however large.
//!
//! The argument is reduced after M. Payne, R. Hanek: Radian reduction for trigonometric functions
//! (SIGNUM 1983): a window of the bits of 2/pi that depends on the exponent is multiplied by the
//! significand; what lies above two bits of integer part are whole turns and never computed.

use super::{BodyBuilder, Val};

/// 33 zero bits, then 191 bits of 2/pi after the binary point.
const TWO_OVER_PI: [u32; 7] = [
    0,
    0x517c_c1b7,
    0x2722_0a94,
    0xfe13_abe8,
    0xfa9a_6ee0,
    0x6db1_4acc,
    0x9e21_c820,
];

/// pi/2 * 2^-32.
const QUARTER_TURN: f32 = 3.657_295_3e-10;
/// What is missing from QUARTER_TURN.
const QUARTER_TURN_LOW: f32 = -1.017_735_1e-17;

/// (sin(r) / r - 1) / r^2 in r^2, for |r| <= 1, from the highest power down.
const SIN: [f32; 4] = [
    2.735_414_7e-6,
    -0.000_198_438_41,
    0.008_333_36,
    -0.166_666_67,
];

/// (cos(r) - 1) / r^2 in r^2, for |r| <= 1, from the highest power down.
const COS: [f32; 4] = [2.426_255_6e-5, -0.001_388_571, 0.041_666_616, -0.5];

impl BodyBuilder {
    /// The sine of x radians.
    pub fn sin(&mut self, x: Val) -> Val {
        let (r, quadrant) = self.reduced(x);
        let magnitude = self.sin_in_quadrant(r, quadrant);
        let sign = self.xor(quadrant, x);
        self.signed_or_nan(x, magnitude, sign)
    }

    /// The cosine of x radians.
    pub fn cos(&mut self, x: Val) -> Val {
        let (r, quadrant) = self.reduced(x);
        let one = self.constant_u32(1 << 30);
        let quadrant = self.iadd(quadrant, one);
        let magnitude = self.sin_in_quadrant(r, quadrant);
        self.signed_or_nan(x, magnitude, quadrant)
    }

    /// |x| as r + q * pi/2 with |r| <= 1, q modulo 4 in the two highest bits of the second word.
    fn reduced(&mut self, x: Val) -> (Val, Val) {
        let [seven, eight, field, twenty_five] = [7, 8, 23, 25].map(|n| self.constant_u32(n));
        let [two, thirty, thirty_one] = [2, 30, 31].map(|n| self.constant_u32(n));
        let sign_bit = self.constant_u32(1 << 31);
        let a = self.fabs(x);

        // |x| = significand * 2^(exponent - 31), the significand with its highest bit set.
        let significand = self.shl(a, eight);
        let significand = self.or(significand, sign_bit);
        let biased = self.shr_u(a, field);
        let bias = self.constant_u32(127);
        let exponent = self.isub(biased, bias);
        let window = self.window(exponent);

        // The product's fraction in quarter turns: two bits before the point, 62 after it.
        let low = self.umulhi(significand, window[2]);
        let middle = self.imul(significand, window[1]);
        let low = self.iadd(low, middle);
        let carry = self.ilt_u(low, middle);
        let high = self.imul(significand, window[0]);
        let middle = self.umulhi(significand, window[1]);
        let high = self.iadd(high, middle);
        let high = self.iadd(high, carry);

        let half = self.constant_u32(1 << 29);
        let quadrant = self.iadd(high, half);

        // The distance to the nearest quarter turn, as sign and 63-bit magnitude. The complement
        // stands for the negative; it is off by one unit of 2^-64.
        let top = self.shl(high, two);
        let carried = self.shr_u(low, thirty);
        let top = self.or(top, carried);
        let bottom = self.shl(low, two);
        let mask = self.shr_s(top, thirty_one);
        let top = self.xor(top, mask);
        let bottom = self.xor(bottom, mask);

        // 24 bits that convert exactly, and the 32 below them.
        let exact = self.constant_u32(!0x7f);
        let leading = self.and(top, exact);
        let leading = self.u32_to_f32(leading);
        let trailing = self.shl(top, twenty_five);
        let bottom = self.shr_u(bottom, seven);
        let trailing = self.or(trailing, bottom);
        let trailing = self.u32_to_f32(trailing);
        let [unit, unit_low, unit_trailing] = [
            QUARTER_TURN,
            QUARTER_TURN_LOW,
            QUARTER_TURN / (1u32 << 25) as f32,
        ]
        .map(|unit| self.constant_f32(unit));
        let r = self.fmul(trailing, unit_trailing);
        let r = self.fma(leading, unit_low, r);
        let r = self.fma(leading, unit, r);
        let sign = self.and(mask, sign_bit);
        let r = self.xor(r, sign);

        // Below 1 the polynomials take |x| itself, which a fixed-point fraction would truncate.
        let (one, zero) = (self.constant_f32(1.0), self.constant_u32(0));
        let small = self.flt(a, one);
        let r = self.select(small, a, r);
        let quadrant = self.select(small, zero, quadrant);
        (r, quadrant)
    }

    /// The 96 bits of 2/pi from bit `exponent` of the table on, for exponents from 0 to 127.
    fn window(&mut self, exponent: Val) -> [Val; 3] {
        let table = TWO_OVER_PI.map(|word| self.constant_u32(word));
        let [low_bits, bit_5, bit_6] = [31, 32, 64].map(|n| self.constant_u32(n));
        let by_two = self.and(exponent, bit_6);
        let by_one = self.and(exponent, bit_5);
        let five: [Val; 5] = core::array::from_fn(|i| self.select(by_two, table[i + 2], table[i]));
        let four: [Val; 4] = core::array::from_fn(|i| self.select(by_one, five[i + 1], five[i]));
        let left = self.and(exponent, low_bits);
        let right = self.isub(bit_5, left);
        core::array::from_fn(|i| {
            let high = self.shl(four[i], left);
            let low = self.shr_u(four[i + 1], right);
            self.or(high, low)
        })
    }

    /// sin(r) in even quadrants and cos(r) in odd ones.
    fn sin_in_quadrant(&mut self, r: Val, quadrant: Val) -> Val {
        let r2 = self.fmul(r, r);
        let p = self.polynomial(r2, &SIN);
        let cube = self.fmul(r2, r);
        let sin = self.fma(cube, p, r);
        let p = self.polynomial(r2, &COS);
        let one = self.constant_f32(1.0);
        let cos = self.fma(p, r2, one);
        let odd_bit = self.constant_u32(1 << 30);
        let odd = self.and(quadrant, odd_bit);
        self.select(odd, cos, sin)
    }

    /// `magnitude` with its sign flipped by the highest bit of `sign`; NaN for infinite or NaN x.
    fn signed_or_nan(&mut self, x: Val, magnitude: Val, sign: Val) -> Val {
        let sign_bit = self.constant_u32(1 << 31);
        let sign = self.and(sign, sign_bit);
        let result = self.xor(magnitude, sign);
        let a = self.fabs(x);
        let (infinity, nan) = (
            self.constant_f32(f32::INFINITY),
            self.constant_u32(crate::float::NAN),
        );
        let finite = self.flt(a, infinity);
        self.select(finite, result, nan)
    }
}

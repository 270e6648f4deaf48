//! The Gaussian error linear unit.
//!
//! gelu(x) = max(x, 0) - t Q(t), where t = |x| and Q(t) is the probability that a standard normal
//! variable exceeds t. Nothing cancels: where x is positive, t Q(t) is at most x / 2.
//!
//! t Q(t) = u e^(psi(u) - t^2 / 2), where u = t / (t + 2) and
//! psi(u) = ln((t + 2) Q(t) e^(t^2 / 2)) falls from 0 to -0.8 as t grows, smoothly enough for a
//! polynomial in u. u is kept with its rounding error, and the exponent is reduced before it is
//! rounded: the errors of both would be felt in the result.

use super::{exponential::ROUNDER, BodyBuilder, Val};
use core::f32::consts::LOG2_E;

/// From here on the result is x, or rounds to -0.
const BOUND: f32 = 16.0;

/// ln(2) in 15 bits, so that its multiples by the exponents here are exact.
const LN_2_SHORT: f32 = 0.693_145_75;
/// What is missing from LN_2_SHORT.
const LN_2_REST: f32 = 1.428_606_8e-6;

/// The powers of two that multiply e^r have 64 added to their exponent until the last operation,
/// which then rounds once, into the subnormals where it has to.
const RAISED: u16 = 64;
const LOWER: f32 = 1.0 / (1u128 << RAISED) as f32;

/// The u around which psi is expanded. psi is a multiple of 2^-14 there, to within 10^-9, so that
/// it is added to multiples of LN_2_SHORT without error.
const CENTRE: f32 = 0.561_009_8;
/// psi in u - CENTRE, from the highest power down, for t <= 14.3. Beyond, t Q(t) rounds to zero or
/// to the least number.
const PSI: [f32; 12] = [
    -0.136_303_3,
    0.023_499_34,
    0.491_320_34,
    0.458_629_37,
    -0.117_881_86,
    -0.458_330_07,
    -0.187_047_12,
    0.302_478_02,
    0.365_260_7,
    -0.254_752_46,
    -1.020_602_5,
    -7506.0 / 16_384.0,
];

impl BodyBuilder {
    /// x times the standard normal distribution function of x.
    ///
    /// A zero keeps its sign; -inf, and what underflows, gives -0.
    pub fn gelu(&mut self, x: Val) -> Val {
        let bound = self.constant_f32(BOUND);
        let t = self.fabs(x);
        let t = self.fmin(t, bound);
        let minus_half = self.constant_f32(-0.5);
        let minus_half_t = self.fmul(t, minus_half);
        let (u, u_low) = self.over_itself_plus_two(minus_half_t);

        let centre = self.constant_f32(CENTRE);
        let v = self.fsub(u, centre);
        let v = self.fadd(v, u_low);
        let (&psi_centre, rest) = PSI.split_last().expect("psi has coefficients");
        let slope = self.polynomial(v, rest);
        let psi_centre = self.constant_f32(psi_centre);
        let psi = self.fma(slope, v, psi_centre);

        // psi - t^2 / 2 = r + n ln(2), where r is a sum of parts that were not rounded together.
        let exponent = self.fma(t, minus_half_t, psi);
        let rounder = self.constant_f32(ROUNDER + f32::from(127 + RAISED));
        let log2_e = self.constant_f32(LOG2_E);
        let word = self.fma(exponent, log2_e, rounder);
        let n = self.fsub(word, rounder);
        let (ln2, ln2_rest) = (
            self.constant_f32(-LN_2_SHORT),
            self.constant_f32(-LN_2_REST),
        );
        let r = self.fma(n, ln2, psi_centre);
        let r = self.fma(t, minus_half_t, r);
        let r = self.fma(slope, v, r);
        let r = self.fma(n, ln2_rest, r);

        // u e^r = u + (u (e^r - 1) + u_low e^r)
        let q = self.exp_slope(r);
        let growth = self.fmul(q, r);
        let one = self.constant_f32(1.0);
        let e = self.fadd(growth, one);
        let low = self.fmul(u_low, e);
        let low = self.fma(u, growth, low);
        let product = self.fadd(u, low);

        let field = self.constant_u32(23);
        let factor = self.shl(word, field);
        let raised = self.fmul(product, factor);
        let (lower, zero) = (self.constant_f32(-LOWER), self.constant_f32(-0.0));
        let positive = self.fmax(x, zero);
        self.fma(raised, lower, positive)
    }

    /// t / (t + 2) from -t / 2, and what its rounding left out.
    fn over_itself_plus_two(&mut self, minus_half_t: Val) -> (Val, Val) {
        let (one, minus_one) = (self.constant_f32(1.0), self.constant_f32(-1.0));
        let sum = self.fsub(one, minus_half_t);
        let minus_half_t_in_sum = self.fsub(one, sum);
        let sum_low = self.fsub(minus_half_t_in_sum, minus_half_t);
        let reciprocal = self.fdiv(minus_one, sum);
        let u = self.fmul(minus_half_t, reciprocal);
        let excess = self.fma(u, sum, minus_half_t);
        let excess = self.fma(u, sum_low, excess);
        (u, self.fmul(excess, reciprocal))
    }
}

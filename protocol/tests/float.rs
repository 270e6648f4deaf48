//! Soft-float against the hardware: special values crossed, then random operands.
//!
//! `LOCKSTEP_FLOAT_CASES` sets the number of random cases per operation (default 1,000,000).

use lockstep_protocol::float;
use std::num::Wrapping;

const CASES: u64 = 1_000_000;

/// Bit patterns at which something changes: zeros, the ends of the subnormals and normals,
/// infinities, NaNs of both signs and several payloads, powers of two, integers and the limits of
/// the integer types, each with its neighbours and with both signs.
fn specials() -> Vec<u32> {
    let mut magnitudes = vec![
        0,
        1,
        2,
        3,
        0x0000_0fff,
        0x0040_0000,
        0x007f_fffe,
        0x007f_ffff,
        0x7f7f_ffff,
        0x7f80_0000,
        0x7f80_0001,
        0x7fbf_ffff,
        0x7fc0_0000,
        0x7fc0_0001,
        0x7fff_ffff,
    ];
    for exponent in [1, 2, 23, 24, 63, 64, 102, 103, 104, 125, 126] {
        magnitudes.push(exponent << 23);
    }
    for exponent in (127..=160).chain([190, 253, 254]) {
        magnitudes.push(exponent << 23);
    }
    for value in [1.5f32, 3.0, 0.1, 1e-30, 1e30, 16_777_215.0, 2_147_483_600.0] {
        magnitudes.push(value.to_bits());
    }
    let around: Vec<u32> = magnitudes
        .iter()
        .flat_map(|&m| [m.saturating_sub(1), m, (m + 1).min(0x7fff_ffff)])
        .collect();
    let mut all: Vec<u32> = around.iter().flat_map(|&m| [m, m | 1 << 31]).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// SplitMix64.
struct Random(Wrapping<u64>);

impl Random {
    fn word(&mut self) -> u64 {
        self.0 += 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0;
        z = (z ^ (z >> 30)) * Wrapping(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)) * Wrapping(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).0
    }

    fn below(&mut self, n: u32) -> u32 {
        (((self.word() >> 32) * n as u64) >> 32) as u32
    }

    /// Any bit pattern.
    fn bits(&mut self) -> u32 {
        self.word() as u32
    }

    /// A number whose significand has few ones or a long run of them, at a biased exponent near
    /// `exponent`: sums and products of such numbers are often exact or nearly half-way.
    fn shaped(&mut self, exponent: i32, spread: u32) -> u32 {
        let exponent = exponent + self.below(2 * spread + 1) as i32 - spread as i32;
        let fraction = match self.below(4) {
            0 => self.bits(),
            1 => 1 << self.below(23) | 1 << self.below(23),
            2 => (1u32 << self.below(24)).wrapping_sub(1 << self.below(24)),
            _ => self.below(16),
        };
        let sign = self.below(2) << 31;
        sign | (exponent.clamp(0, 254) as u32) << 23 | fraction & 0x7f_ffff
    }

    fn pair(&mut self) -> (u32, u32) {
        match self.below(4) {
            0 => (self.bits(), self.bits()),
            1 => {
                let a = self.bits();
                (a, self.shaped((a >> 23 & 0xff) as i32, 2))
            }
            2 => {
                let exponent = self.below(255) as i32;
                (self.shaped(exponent, 1), self.shaped(exponent, 26))
            }
            _ => {
                // Exponents that add up to the edge of the subnormals or of overflow, or, when
                // subtracted as in a quotient, do.
                let exponent = self.below(255) as i32;
                let edge = [-25, -1, 127, 381][self.below(4) as usize];
                let other = if self.below(2) == 0 {
                    edge - exponent + 1
                } else {
                    exponent - edge + 126
                };
                (self.shaped(exponent, 1), self.shaped(other, 3))
            }
        }
    }

    fn triple(&mut self) -> (u32, u32, u32) {
        let (a, b) = self.pair();
        let product = f32::from_bits(a) * f32::from_bits(b);
        let c = match self.below(5) {
            0 => self.bits(),
            // Cancels most of the product.
            1 => (-product).to_bits() ^ self.below(4),
            // Leaves the product's low half, or a fraction of it, below the last place of c.
            2 => self.shaped((product.to_bits() >> 23 & 0xff) as i32, 27),
            // Half a unit in the last place of the product, exactly or almost, so that the exact
            // sum lies next to a midpoint.
            3 => {
                let exponent = (product.to_bits() >> 23 & 0xff) as i32 - 24;
                let sign = self.below(2) << 31;
                sign | (exponent.max(0) as u32) << 23 | self.below(3)
            }
            // The product is about half a unit in the last place of c.
            _ => {
                let exponent = (product.to_bits() >> 23 & 0xff) as i32 + 24;
                self.shaped(exponent, 1)
            }
        };
        (a, b, c)
    }
}

fn random_cases() -> u64 {
    match std::env::var("LOCKSTEP_FLOAT_CASES") {
        Ok(text) => text
            .parse()
            .expect("LOCKSTEP_FLOAT_CASES must be a number of cases"),
        Err(_) => CASES,
    }
}

/// Runs `check` for every share of the random cases, on all cores.
fn in_parallel(seed: u64, check: impl Fn(&mut Random) + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let share = random_cases().div_ceil(threads);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let check = &check;
            scope.spawn(move || {
                let mut random = Random(Wrapping(seed << 32 | thread));
                for _ in 0..share {
                    check(&mut random);
                }
            });
        }
    });
}

fn canonical(x: f32) -> u32 {
    if x.is_nan() {
        float::NAN
    } else {
        x.to_bits()
    }
}

fn check_unary(seed: u64, soft: fn(u32) -> u32, hard: fn(f32) -> u32) {
    let check = |a: u32| {
        let (got, want) = (soft(a), hard(f32::from_bits(a)));
        assert_eq!(got, want, "of {a:#010x}: {got:#010x}, not {want:#010x}");
    };
    specials().into_iter().for_each(check);
    in_parallel(seed, |random| {
        check(random.bits());
        // Integers and their halves, around the limits of the integer types.
        check(random.shaped(150, 12));
    });
}

fn check_word(seed: u64, soft: fn(u32) -> u32, hard: fn(u32) -> u32) {
    let check = |a: u32| {
        let (got, want) = (soft(a), hard(a));
        assert_eq!(got, want, "of {a:#010x}: {got:#010x}, not {want:#010x}");
    };
    specials().into_iter().for_each(check);
    for shift in 0..32 {
        for offset in -2i32..=2 {
            check((1u32 << shift).wrapping_add_signed(offset));
        }
    }
    in_parallel(seed, |random| {
        let shift = random.below(32);
        // A tie, or next to one, at every magnitude.
        let tie = (random.bits() >> shift) & !0x7f | (0x3f + random.below(3));
        check(random.bits() >> shift);
        check(tie);
    });
}

fn check_binary(seed: u64, soft: fn(u32, u32) -> u32, hard: fn(f32, f32) -> u32) {
    let check = |a: u32, b: u32| {
        let (got, want) = (soft(a, b), hard(f32::from_bits(a), f32::from_bits(b)));
        assert_eq!(
            got, want,
            "of {a:#010x}, {b:#010x}: {got:#010x}, not {want:#010x}"
        );
    };
    for &a in &specials() {
        for &b in &specials() {
            check(a, b);
        }
    }
    in_parallel(seed, |random| {
        let (a, b) = random.pair();
        check(a, b);
    });
}

#[test]
fn add_equals_the_hardware() {
    check_binary(1, float::add, |a, b| canonical(a + b));
}

#[test]
fn sub_equals_the_hardware() {
    check_binary(2, float::sub, |a, b| canonical(a - b));
}

#[test]
fn mul_equals_the_hardware() {
    check_binary(3, float::mul, |a, b| canonical(a * b));
}

#[test]
fn div_equals_the_hardware() {
    check_binary(4, float::div, |a, b| canonical(a / b));
}

#[test]
fn fma_equals_the_hardware() {
    let check = |a: u32, b: u32, c: u32| {
        let got = float::fma(a, b, c);
        let want = canonical(fused(
            f32::from_bits(a),
            f32::from_bits(b),
            f32::from_bits(c),
        ));
        assert_eq!(
            got, want,
            "of {a:#010x}, {b:#010x}, {c:#010x}: {got:#010x}, not {want:#010x}"
        );
    };
    let specials = specials();
    for &a in &specials {
        for &b in &specials {
            // Every third factor keeps the cross product of three within seconds.
            for &c in specials.iter().skip((a ^ b) as usize % 3).step_by(3) {
                check(a, b, c);
            }
        }
    }
    in_parallel(5, |random| {
        let (a, b, c) = random.triple();
        check(a, b, c);
    });
}

/// The host's fused multiply-add: the instruction where there is one, else the C library's.
fn fused(a: f32, b: f32, c: f32) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the feature was detected.
        return unsafe { fused_by_instruction(a, b, c) };
    }
    a.mul_add(b, c)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "fma")]
unsafe fn fused_by_instruction(a: f32, b: f32, c: f32) -> f32 {
    a.mul_add(b, c)
}

#[test]
fn sqrt_equals_the_hardware() {
    check_unary(6, float::sqrt, |a| canonical(a.sqrt()));
}

#[test]
fn minimum_propagates_nan_and_orders_zeros() {
    check_binary(7, float::min, |a, b| {
        if a.is_nan() || b.is_nan() {
            float::NAN
        } else if a == b {
            // Equal numbers differ in bits only when they are zeros; -0 wins.
            a.to_bits() | b.to_bits()
        } else {
            a.min(b).to_bits()
        }
    });
}

#[test]
fn maximum_propagates_nan_and_orders_zeros() {
    check_binary(8, float::max, |a, b| {
        if a.is_nan() || b.is_nan() {
            float::NAN
        } else if a == b {
            a.to_bits() & b.to_bits()
        } else {
            a.max(b).to_bits()
        }
    });
}

#[test]
fn negation_and_magnitude_change_the_sign_only() {
    check_unary(9, float::neg, |a| canonical(-a));
    check_unary(10, float::abs, |a| canonical(a.abs()));
}

#[test]
fn comparisons_equal_the_hardware() {
    check_binary(11, |a, b| float::eq(a, b).into(), |a, b| (a == b).into());
    check_binary(12, |a, b| float::lt(a, b).into(), |a, b| (a < b).into());
    check_binary(13, |a, b| float::le(a, b).into(), |a, b| (a <= b).into());
}

#[test]
fn conversions_to_integers_truncate_and_saturate() {
    check_unary(14, |a| float::to_i32(a) as u32, |a| a as i32 as u32);
    check_unary(15, float::to_u32, |a| a as u32);
}

#[test]
fn conversions_from_integers_round_to_nearest_even() {
    check_word(
        16,
        |a| float::from_i32(a as i32),
        |a| (a as i32 as f32).to_bits(),
    );
    check_word(17, float::from_u32, |a| (a as f32).to_bits());
}

#[test]
fn only_nans_are_made_canonical() {
    check_unary(18, float::canonical, canonical);
    for bits in [0x7f80_0001, 0x7fff_ffff, 0xff80_0001, 0xffc0_0000] {
        assert_eq!(float::canonical(bits), float::NAN);
    }
    assert_eq!(float::canonical(0xff80_0000), 0xff80_0000);
}

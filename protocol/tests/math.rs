//! The mathematical functions against an oracle in double precision, whose own error is below
//! 10^-7 of a unit in the last place here.
//!
//! A dense sample of the inputs is always checked; `LOCKSTEP_MATH_EXHAUSTIVE=1` checks all 2^32 and
//! prints the greatest errors (run with `--release -- --nocapture`). The bounds are the errors
//! found so, rounded up; the format asks for 2.

mod native;

use lockstep_protocol::math::{BodyBuilder, Val};
use lockstep_protocol::program::{Access, Body, Dim, Dtype};
use lockstep_protocol::{encoding::Int, float, philox, step};
use native::{Native, LANES};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
use std::sync::Mutex;

/// The step between checked bit patterns, a prime.
const SAMPLE: u64 = 4099;

/// What is missing from FRAC_1_SQRT_2.
const FRAC_1_SQRT_2_LOW: f64 = -4.833_646_656_726_457e-17;

type Build = fn(&mut BodyBuilder, Val) -> Val;

// Rust's standard library has no stable error function; the C library's is accurate to a unit in
// the last place of double precision.
extern "C" {
    fn erf(x: f64) -> f64;
    fn erfc(x: f64) -> f64;
}

fn body(inputs: u32, build: impl FnOnce(&mut BodyBuilder, &[Val]) -> Val) -> Body {
    let mut builder = BodyBuilder::map();
    let inputs: Vec<Val> = (0..inputs)
        .map(|node| {
            builder.read(Access {
                node,
                dtype: Dtype::U32,
                len: 1,
                base: Int(0),
                axes: vec![],
                fill: 0,
            })
        })
        .collect();
    let result = build(&mut builder, &inputs);
    builder
        .finish(vec![Dim(1)], Dtype::F32, result)
        .expect("a function fits a body")
}

fn unary(build: Build) -> Body {
    body(1, |builder, inputs| build(builder, inputs[0]))
}

/// The body's result in the protocol's own arithmetic.
fn evaluate(body: &Body, inputs: &[u32]) -> u32 {
    let mut registers = inputs.to_vec();
    registers.extend(&body.consts);
    for op in &body.ops {
        registers.push(step::apply(op, &registers));
    }
    *registers.last().expect("a body has a register")
}

/// The distance between `got` and the exact `want`, in units in the last place of `want`; infinite
/// when one is NaN, or a zero of the wrong sign, and the other not.
fn error(got: u32, want: f64) -> f64 {
    if want.is_nan() {
        return if got == float::NAN {
            0.0
        } else {
            f64::INFINITY
        };
    }
    if want == 0.0 {
        let exact = (want as f32).to_bits() == got;
        return if exact { 0.0 } else { f64::INFINITY };
    }
    // A float overflows to the power of two that would come next.
    let above = 2f64.powi(128);
    let got = f64::from(f32::from_bits(got)).clamp(-above, above);
    let want = want.clamp(-above, above);
    let exponent = ((want.abs().min(f32::MAX as f64).to_bits() >> 52) as i32 - 1023).max(-126);
    let unit = f64::from_bits(((exponent - 23 + 1023) as u64) << 52);
    let error = (got - want).abs() / unit;
    if error.is_nan() {
        f64::INFINITY
    } else {
        error
    }
}

/// The greatest error and the bit pattern at which it is met.
#[derive(Clone, Copy)]
struct Worst {
    error: f64,
    at: u32,
}

/// Compares a function with its oracle and returns the greatest error.
fn worst_error(build: Build, oracle: impl Fn(f64) -> f64 + Sync) -> Worst {
    let body = unary(build);
    let stride = if exhaustive() { 1 } else { SAMPLE };
    let patterns = (1u64 << 32).div_ceil(stride);
    let blocks = patterns.div_ceil(LANES as u64);
    let next = Mutex::new(0..blocks);
    let worst = Mutex::new(Worst { error: -1.0, at: 0 });
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut native = Native::new(&body);
                let mut mine = Worst { error: -1.0, at: 0 };
                while let Some(block) = {
                    let next = next.lock().expect("no thread panicked").next();
                    next
                } {
                    let first = block * LANES as u64;
                    let inputs: [u32; LANES] =
                        std::array::from_fn(|i| ((first + i as u64) * stride) as u32);
                    let outputs = native.run(&[inputs]);
                    for (&at, &got) in inputs.iter().zip(outputs) {
                        let error = error(got, oracle(f64::from(f32::from_bits(at))));
                        if error > mine.error {
                            mine = Worst { error, at };
                        }
                    }
                }
                let mut worst = worst.lock().expect("no thread panicked");
                if (mine.error, worst.at) > (worst.error, mine.at) {
                    *worst = mine;
                }
            });
        }
    });
    let worst = worst.into_inner().expect("no thread panicked");
    // The fast evaluation is held to the protocol's: here and on a sparse sample.
    let mut native = Native::new(&body);
    for start in (0..1u64 << 32).step_by(1 << 26) {
        let inputs = std::array::from_fn(|i| ((start + i as u64 * 32_771) as u32) ^ worst.at);
        for (&x, &got) in inputs.iter().zip(native.run(&[inputs])) {
            assert_eq!(got, evaluate(&body, &[x]), "native evaluation of {x:#010x}");
        }
    }
    worst
}

fn exhaustive() -> bool {
    std::env::var("LOCKSTEP_MATH_EXHAUSTIVE").is_ok_and(|value| value == "1")
}

fn check(name: &str, build: Build, oracle: impl Fn(f64) -> f64 + Sync, bound: f64) {
    let Worst { error, at } = worst_error(build, oracle);
    let ops = unary(build).ops.len();
    let x = f32::from_bits(at);
    println!("{name}: {ops} operations, error {error:.4} at {x:e} ({at:#010x})");
    assert!(
        error <= bound,
        "{name} is off by {error} units in the last place at {x:e} ({at:#010x}), more than {bound}"
    );
}

#[test]
fn exp_is_accurate() {
    check("exp", BodyBuilder::exp, f64::exp, 1.0);
}

#[test]
fn log_is_accurate() {
    check("log", BodyBuilder::log, f64::ln, 1.6);
}

#[test]
fn tanh_is_accurate() {
    check("tanh", BodyBuilder::tanh, f64::tanh, 1.4);
}

#[test]
fn erf_is_accurate() {
    // SAFETY: a pure function of the C library.
    check("erf", BodyBuilder::erf, |x| unsafe { erf(x) }, 1.1);
}

#[test]
fn sin_is_accurate() {
    check("sin", BodyBuilder::sin, f64::sin, 1.5);
}

#[test]
fn cos_is_accurate() {
    check("cos", BodyBuilder::cos, f64::cos, 1.5);
}

#[test]
fn rsqrt_is_accurate() {
    check("rsqrt", BodyBuilder::rsqrt, |x| 1.0 / x.sqrt(), 1.5);
}

#[test]
fn sigmoid_is_accurate() {
    let oracle = |x: f64| 1.0 / (1.0 + (-x).exp());
    check("sigmoid", BodyBuilder::sigmoid, oracle, 1.7);
}

#[test]
fn gelu_is_accurate() {
    let oracle = |x: f64| {
        // Far beyond the precision of floats; infinities would give NaN below.
        if x.abs() > 30.0 {
            return x.max(-0.0);
        }
        // x Phi(x) = x/2 erfc(-x / sqrt 2). The tail magnifies the rounding of erfc's argument,
        // so what was rounded off enters through the derivative.
        let z = -x * FRAC_1_SQRT_2;
        let z_low = (-x).mul_add(FRAC_1_SQRT_2, -z) - x * FRAC_1_SQRT_2_LOW;
        // SAFETY: a pure function of the C library.
        let erfc = unsafe { erfc(z) } - FRAC_2_SQRT_PI * (-z * z).exp() * z_low;
        0.5 * x * erfc
    };
    check("gelu", BodyBuilder::gelu, oracle, 1.9);
}

/// Bit patterns over the whole range, with the neighbourhood of every power of two.
fn patterns() -> impl Iterator<Item = u32> {
    let sample = (0..1u64 << 32).step_by(SAMPLE as usize).map(|x| x as u32);
    let powers = (0..512u32)
        .flat_map(|exponent| (-3..=3).map(move |i| (exponent << 23).wrapping_add_signed(i)));
    sample.chain(powers)
}

fn check_bits(build: Build, expected: impl Fn(f32) -> f32) {
    let body = unary(build);
    let halves = (-64..=64).map(|i| (i as f32 / 2.0).to_bits());
    for x in patterns().step_by(7).chain(halves) {
        let want = float::canonical(expected(f32::from_bits(x)).to_bits());
        assert_eq!(evaluate(&body, &[x]), want, "of {x:#010x}");
    }
}

#[test]
fn rounding_to_an_integer_is_exact() {
    check_bits(BodyBuilder::round_even, f32::round_ties_even);
    check_bits(BodyBuilder::floor, f32::floor);
}

#[test]
fn limits_and_special_values_are_the_mathematical_ones() {
    let (infinity, nan) = (f32::INFINITY, f32::NAN);
    let cases: &[(Build, &[(f32, f32)])] = &[
        (
            BodyBuilder::exp,
            &[
                (0.0, 1.0),
                (-0.0, 1.0),
                (infinity, infinity),
                (-infinity, 0.0),
                (89.0, infinity),
                (-104.0, 0.0),
            ],
        ),
        (
            BodyBuilder::log,
            &[
                (1.0, 0.0),
                (0.0, -infinity),
                (-0.0, -infinity),
                (-1.0, nan),
                (-infinity, nan),
                (infinity, infinity),
            ],
        ),
        (
            BodyBuilder::tanh,
            &[(0.0, 0.0), (-0.0, -0.0), (infinity, 1.0), (-infinity, -1.0)],
        ),
        (
            BodyBuilder::erf,
            &[(0.0, 0.0), (-0.0, -0.0), (infinity, 1.0), (-infinity, -1.0)],
        ),
        (
            BodyBuilder::sin,
            &[(0.0, 0.0), (-0.0, -0.0), (infinity, nan), (-infinity, nan)],
        ),
        (
            BodyBuilder::cos,
            &[(0.0, 1.0), (-0.0, 1.0), (infinity, nan), (-infinity, nan)],
        ),
        (
            BodyBuilder::rsqrt,
            &[
                (0.0, infinity),
                (-0.0, -infinity),
                (infinity, 0.0),
                (4.0, 0.5),
                (-1.0, nan),
            ],
        ),
        (
            BodyBuilder::sigmoid,
            &[(0.0, 0.5), (infinity, 1.0), (-infinity, 0.0)],
        ),
        (
            BodyBuilder::gelu,
            &[
                (0.0, 0.0),
                (-0.0, -0.0),
                (infinity, infinity),
                (-infinity, -0.0),
                (-15.0, -0.0),
                (-f32::MAX, -0.0),
                (f32::MAX, f32::MAX),
            ],
        ),
    ];
    for (i, (build, cases)) in cases.iter().enumerate() {
        let body = unary(*build);
        for (x, want) in *cases {
            let got = evaluate(&body, &[x.to_bits()]);
            let want = float::canonical(want.to_bits());
            assert_eq!(got, want, "function {i} of {x}");
        }
        for payload in [0x7f80_0001, 0x7fc0_0000, 0xff80_0001, 0xffff_ffff] {
            assert_eq!(
                evaluate(&body, &[payload]),
                float::NAN,
                "function {i} of {payload:#010x}"
            );
        }
    }
}

#[test]
fn philox_in_a_body_is_philox() {
    for word in 0..4 {
        let body = body(6, |builder, v| {
            builder.philox4x32([v[0], v[1], v[2], v[3]], [v[4], v[5]])[word]
        });
        for i in 0..1000 {
            let [a, b, c, d] = philox::stream(1, 0, i);
            let [e, f, ..] = philox::stream(2, 0, i);
            assert_eq!(
                evaluate(&body, &[a, b, c, d, e, f]),
                philox::philox4x32([a, b, c, d], [e, f])[word]
            );
        }
    }
}

#[test]
fn uniform_numbers_are_the_high_24_bits_of_a_word() {
    let body = unary(BodyBuilder::uniform01);
    for word in [0, 0xff, 0x100, 0x8000_0000, u32::MAX].into_iter() {
        let want = (word >> 8) as f32 / 16_777_216.0;
        assert_eq!(evaluate(&body, &[word]), want.to_bits());
        assert!(want < 1.0);
    }
}

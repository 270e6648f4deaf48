//! Activations, powers and conditions against the same in f64.

mod support;

use support::{Bench, Elementwise, Operation, Tensor};

const TOLERANCE: f64 = 2e-6;

#[test]
fn activations_of_one_number() {
    let cases: [Elementwise; 7] = [
        (
            "softplus",
            -8.0,
            8.0,
            |g, x| g.softplus(x),
            |x| x.exp().ln_1p(),
            |x| 1.0 / (1.0 + (-x).exp()),
        ),
        (
            "elu",
            -3.0,
            3.0,
            |g, x| g.elu(x, 1.5),
            |x| if x > 0.0 { x } else { 1.5 * x.exp_m1() },
            |x| if x > 0.0 { 1.0 } else { 1.5 * x.exp() },
        ),
        (
            "clamp",
            -2.0,
            2.0,
            |g, x| g.clamp(x, -0.75, 1.25),
            |x| x.clamp(-0.75, 1.25),
            |x| (-0.75..=1.25).contains(&x) as u8 as f64,
        ),
        ("powi 0", -2.0, 2.0, |g, x| g.powi(x, 0), |_| 1.0, |_| 0.0),
        (
            "powi 5",
            -1.5,
            1.5,
            |g, x| g.powi(x, 5),
            |x| x.powi(5),
            |x| 5.0 * x.powi(4),
        ),
        (
            "powi -2",
            0.7,
            2.0,
            |g, x| g.powi(x, -2),
            |x| x.powi(-2),
            |x| -2.0 * x.powi(-3),
        ),
        (
            "pow",
            0.2,
            3.0,
            |g, x| {
                let exponent = g.scalar(1.7);
                g.pow(x, exponent)
            },
            |x| x.powf(1.7f32.into()),
            |x| f64::from(1.7f32) * x.powf(f64::from(1.7f32) - 1.0),
        ),
    ];
    support::check_elementwise(&cases, TOLERANCE);
}

#[test]
fn a_power_differentiates_towards_base_and_exponent_and_broadcasts() {
    Operation {
        name: "pow",
        inputs: vec![
            Tensor::random(&[3, 4], 0.3, 2.0, 1),
            Tensor::random(&[4], -2.0, 2.0, 2),
        ],
        build: &|g, x| g.pow(x[0], x[1]),
        forward: &|x| Tensor::from_fn(&[3, 4], |at| x[0].at(at).powf(x[1].at(&at[1..]))),
        backward: &|x, up| {
            let (a, b) = (|at: &[usize]| x[0].at(at), |at: &[usize]| x[1].at(&at[1..]));
            let base = |at: &[usize]| up.at(at) * b(at) * a(at).powf(b(at) - 1.0);
            let exponent = |at: &[usize]| up.at(at) * a(at).ln() * a(at).powf(b(at));
            vec![
                Tensor::from_fn(&[3, 4], base),
                Tensor::from_fn(&[4], |k| (0..3).map(|r| exponent(&[r, k[0]])).sum()),
            ]
        },
    }
    .check(4e-6);
}

#[test]
fn far_from_zero_activations_and_their_gradients_stay_finite() {
    let mut bench = Bench::default();
    let x = bench.input(&Tensor::new(&[4], vec![-200.0, -30.0, 30.0, 200.0]));
    let graph = &mut bench.graph;
    let (softplus, elu) = (graph.softplus(x), graph.elu(x, 1.0));
    let sum = graph.add(softplus, elu);
    let loss = graph.sum(sum, &[0]);
    let gradient = graph.gradients(loss, &[x])[0];
    let got = bench.numbers(&[softplus, elu, gradient]);
    assert_eq!(got[0].data[0], 0.0);
    assert!((got[0].data[1] / (-30f64).exp() - 1.0).abs() < 1e-6);
    assert_eq!(got[0].data[2..], [30.0, 200.0]);
    assert_eq!(got[1].data, [-1.0, -1.0, 30.0, 200.0]);
    assert_eq!(got[2].data[2..], [2.0, 2.0]);
    assert!(got[2].data[..2].iter().all(|g| g.abs() < 1e-12));
}

#[test]
fn conditions_are_one_or_zero_and_a_nan_satisfies_none() {
    let mut bench = Bench::default();
    let a = bench.input(&Tensor::new(&[4], vec![1.0, 2.0, 3.0, f64::NAN]));
    let b = bench.input(&Tensor::new(&[4], vec![2.0, 2.0, 2.0, 2.0]));
    let graph = &mut bench.graph;
    let (less, at_most) = (graph.less(a, b), graph.less_or_equal(a, b));
    let not = graph.not(less);
    let and = graph.and(at_most, not);
    let or = graph.or(less, and);
    let got = bench.run(&[at_most, not, and, or], 0);
    let want: [[u32; 4]; 4] = [[1, 1, 0, 0], [0, 1, 1, 1], [0, 1, 0, 0], [1, 1, 0, 0]];
    for (got, want) in got.iter().zip(want) {
        assert_eq!(support::words(got), want);
    }
}

#[test]
fn integers_are_compared_with_their_sign() {
    let mut bench = Bench::default();
    let a = bench.words(&[5], &[1, 2, u32::MAX, i32::MIN as u32, i32::MAX as u32]);
    let b = bench.words(&[5], &[2, 2, 0, u32::MAX, i32::MIN as u32]);
    let less = bench.graph.int_less(a, b);
    assert_eq!(support::words(&bench.run(&[less], 0)[0]), [1, 0, 1, 1, 0]);
}

//! Elementwise functions, contractions, reductions, norms and losses against loops in f64.

mod support;

use lockstep_graph::{Graph, Value};
use lockstep_protocol::philox;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};
use support::{assert_close, erf, positions, words, Bench, Elementwise, Operation, Tensor, SEED};

const TOLERANCE: f64 = 2e-6;

#[test]
fn functions_of_one_number() {
    let cases: [Elementwise; 13] = [
        ("neg", -2.0, 2.0, |g, x| g.neg(x), |x| -x, |_| -1.0),
        (
            "abs",
            -2.0,
            2.0,
            |g, x| g.abs(x),
            |x| x.abs(),
            |x| x.signum(),
        ),
        (
            "sqrt",
            0.1,
            4.0,
            |g, x| g.sqrt(x),
            |x| x.sqrt(),
            |x| 0.5 / x.sqrt(),
        ),
        (
            "rsqrt",
            0.5,
            4.0,
            |g, x| g.rsqrt(x),
            |x| x.powf(-0.5),
            |x| -0.5 * x.powf(-1.5),
        ),
        ("exp", -3.0, 2.0, |g, x| g.exp(x), |x| x.exp(), |x| x.exp()),
        ("log", 0.2, 9.0, |g, x| g.log(x), |x| x.ln(), |x| 1.0 / x),
        (
            "tanh",
            -3.0,
            3.0,
            |g, x| g.tanh(x),
            |x| x.tanh(),
            |x| x.cosh().powi(-2),
        ),
        (
            "erf",
            -2.5,
            2.5,
            |g, x| g.erf(x),
            erf,
            |x| FRAC_2_SQRT_PI * (-x * x).exp(),
        ),
        ("sin", -7.0, 7.0, |g, x| g.sin(x), |x| x.sin(), |x| x.cos()),
        ("cos", -7.0, 7.0, |g, x| g.cos(x), |x| x.cos(), |x| -x.sin()),
        (
            "sigmoid",
            -6.0,
            6.0,
            |g, x| g.sigmoid(x),
            |x| 1.0 / (1.0 + (-x).exp()),
            |x| (-x).exp() / (1.0 + (-x).exp()).powi(2),
        ),
        (
            "gelu",
            -4.0,
            4.0,
            |g, x| g.gelu(x),
            |x| x * (1.0 + erf(x * FRAC_1_SQRT_2)) / 2.0,
            |x| (1.0 + erf(x * FRAC_1_SQRT_2)) / 2.0 + x * (-x * x / 2.0).exp() / (2.0 * PI).sqrt(),
        ),
        (
            "relu",
            -2.0,
            2.0,
            |g, x| g.relu(x),
            |x| x.max(0.0),
            |x| (x > 0.0) as u8 as f64,
        ),
    ];
    support::check_elementwise(&cases, TOLERANCE);
}

/// Gradients of a function of broadcast operands, from its slopes towards each.
fn broadcast_backward(
    inputs: &[Tensor],
    up: &Tensor,
    slope: &dyn Fn(usize, &[f64]) -> f64,
) -> Vec<Tensor> {
    let gradient = |k: usize| {
        let mut sum = Tensor::zeros(&inputs[k].shape);
        for at in positions(&up.shape) {
            let x: Vec<f64> = inputs.iter().map(|t| t.broadcast_at(&at)).collect();
            sum.add(&inputs[k].source(&at), up.at(&at) * slope(k, &x));
        }
        sum
    };
    (0..inputs.len()).map(gradient).collect()
}

#[test]
fn functions_of_two_numbers_broadcast() {
    type Build = fn(&mut Graph, Value, Value) -> Value;
    type Number = fn(f64, f64) -> f64;
    let cases: [(&str, Build, Number, [Number; 2]); 6] = [
        (
            "add",
            |g, a, b| g.add(a, b),
            |a, b| a + b,
            [|_, _| 1.0, |_, _| 1.0],
        ),
        (
            "sub",
            |g, a, b| g.sub(a, b),
            |a, b| a - b,
            [|_, _| 1.0, |_, _| -1.0],
        ),
        (
            "mul",
            |g, a, b| g.mul(a, b),
            |a, b| a * b,
            [|_, b| b, |a, _| a],
        ),
        (
            "div",
            |g, a, b| g.div(a, b),
            |a, b| a / b,
            [|_, b| 1.0 / b, |a, b| -a / b / b],
        ),
        (
            "maximum",
            |g, a, b| g.maximum(a, b),
            f64::max,
            [|a, b| (a > b) as u8 as f64, |a, b| (a <= b) as u8 as f64],
        ),
        (
            "minimum",
            |g, a, b| g.minimum(a, b),
            f64::min,
            [|a, b| (a < b) as u8 as f64, |a, b| (a >= b) as u8 as f64],
        ),
    ];
    let shapes: [[&[usize]; 3]; 6] = [
        [&[3, 4], &[3, 4], &[3, 4]],
        [&[2, 3, 4], &[4], &[2, 3, 4]],
        [&[3, 1], &[1, 5], &[3, 5]],
        [&[], &[2, 3], &[2, 3]],
        [&[1, 2, 1, 3], &[4, 1, 2, 1], &[4, 2, 2, 3]],
        [&[130, 2], &[2], &[130, 2]],
    ];
    for (name, build, value, slopes) in cases {
        for [a, b, y] in shapes {
            let inputs = vec![
                Tensor::random(a, 0.5, 2.0, 2),
                Tensor::random(b, 0.5, 2.0, 3),
            ];
            Operation {
                name,
                inputs,
                build: &|g, x| build(g, x[0], x[1]),
                forward: &|x| {
                    Tensor::from_fn(y, |at| value(x[0].broadcast_at(at), x[1].broadcast_at(at)))
                },
                backward: &|x, up| broadcast_backward(x, up, &|k, v| slopes[k](v[0], v[1])),
            }
            .check(TOLERANCE);
        }
    }
}

#[test]
fn functions_of_three_numbers_broadcast() {
    let inputs = |stream| {
        [&[3, 4][..], &[4], &[3, 1]].map(|s| Tensor::random(s, -2.0, 2.0, stream + s.len() as u32))
    };
    Operation {
        name: "fma",
        inputs: inputs(10).to_vec(),
        build: &|g, x| g.fma(x[0], x[1], x[2]),
        forward: &|x| {
            let [a, b, c] = [0, 1, 2].map(|k| &x[k]);
            Tensor::from_fn(&[3, 4], |at| {
                a.broadcast_at(at) * b.broadcast_at(at) + c.broadcast_at(at)
            })
        },
        backward: &|x, up| broadcast_backward(x, up, &|k, v| [v[1], v[0], 1.0][k]),
    }
    .check(TOLERANCE);
    Operation {
        name: "select",
        inputs: inputs(20).to_vec(),
        build: &|g, x| {
            let below = g.less(x[0], x[1]);
            g.select(below, x[1], x[2])
        },
        forward: &|x| {
            let [a, b, c] = [0, 1, 2].map(|k| &x[k]);
            Tensor::from_fn(&[3, 4], |at| {
                let (a, b, c) = (a.broadcast_at(at), b.broadcast_at(at), c.broadcast_at(at));
                if a < b {
                    b
                } else {
                    c
                }
            })
        },
        backward: &|x, up| {
            broadcast_backward(x, up, &|k, v| {
                let below = (v[0] < v[1]) as u8 as f64;
                [0.0, below, 1.0 - below][k]
            })
        },
    }
    .check(TOLERANCE);
}

/// `y[i, j, n] = sum over k of a[i, j, k] * b[k, n]`, by loops; `b` is read by `pick`.
fn matmul(
    a: &Tensor,
    b: &Tensor,
    columns: usize,
    pick: impl Fn(usize, usize, usize) -> Vec<usize>,
) -> Tensor {
    let &[batch, rows, depth] = &a.shape[..] else {
        panic!()
    };
    Tensor::from_fn(&[batch, rows, columns], |at| {
        (0..depth)
            .map(|k| a.at(&[at[0], at[1], k]) * b.at(&pick(at[0], k, at[2])))
            .sum()
    })
}

#[test]
fn matrix_products() {
    type Pick = fn(usize, usize, usize) -> Vec<usize>;
    type Build = fn(&mut Graph, &[Value]) -> Value;
    type Case = (
        &'static str,
        &'static [usize],
        &'static [usize],
        Build,
        Pick,
    );
    let cases: [Case; 4] = [
        (
            "one matrix for all",
            &[2, 3, 5],
            &[5, 4],
            |g, x| g.matmul(x[0], x[1]),
            |_, k, n| vec![k, n],
        ),
        (
            "a matrix each",
            &[2, 3, 5],
            &[2, 5, 4],
            |g, x| g.matmul(x[0], x[1]),
            |i, k, n| vec![i, k, n],
        ),
        (
            "a transposed matrix",
            &[2, 3, 5],
            &[4, 5],
            |g, x| {
                let b = g.transpose(x[1]);
                g.matmul(x[0], b)
            },
            |_, k, n| vec![n, k],
        ),
        (
            "in Einstein's notation",
            &[2, 3, 5],
            &[4, 2, 5],
            |g, x| g.einsum("imk,nik->imn", x[0], x[1]),
            |i, k, n| vec![n, i, k],
        ),
    ];
    for (name, a, b, build, pick) in cases {
        Operation {
            name,
            inputs: vec![
                Tensor::random(a, -1.0, 1.0, 5),
                Tensor::random(b, -1.0, 1.0, 6),
            ],
            build: &|g, x| build(g, x),
            forward: &|x| matmul(&x[0], &x[1], 4, pick),
            backward: &|x, up| {
                let (mut da, mut db) = (Tensor::zeros(a), Tensor::zeros(b));
                for at in positions(&up.shape) {
                    for k in 0..5 {
                        let (i, j) = ([at[0], at[1], k], pick(at[0], k, at[2]));
                        da.add(&i, up.at(&at) * x[1].at(&j));
                        db.add(&j, up.at(&at) * x[0].at(&i));
                    }
                }
                vec![da, db]
            },
        }
        .check(TOLERANCE);
    }
}

#[test]
fn a_linear_layer() {
    Operation {
        name: "linear",
        inputs: vec![
            Tensor::random(&[6, 5], -1.0, 1.0, 1),
            Tensor::random(&[5, 3], -1.0, 1.0, 2),
            Tensor::random(&[3], -1.0, 1.0, 3),
        ],
        build: &|g, x| g.linear(x[0], x[1], Some(x[2])),
        forward: &|x| {
            Tensor::from_fn(&[6, 3], |at| {
                let terms = (0..5).map(|k| x[0].at(&[at[0], k]) * x[1].at(&[k, at[1]]));
                terms.sum::<f64>() + x[2].at(&[at[1]])
            })
        },
        backward: &|x, up| {
            let dx = Tensor::from_fn(&[6, 5], |at| {
                (0..3)
                    .map(|n| up.at(&[at[0], n]) * x[1].at(&[at[1], n]))
                    .sum()
            });
            let dw = Tensor::from_fn(&[5, 3], |at| {
                (0..6)
                    .map(|m| x[0].at(&[m, at[0]]) * up.at(&[m, at[1]]))
                    .sum()
            });
            let db = Tensor::from_fn(&[3], |at| (0..6).map(|m| up.at(&[m, at[0]])).sum());
            vec![dx, dw, db]
        },
    }
    .check(TOLERANCE);
}

#[test]
fn an_outer_product_sums_nothing() {
    Operation {
        name: "outer product",
        inputs: vec![
            Tensor::random(&[3], -1.0, 1.0, 1),
            Tensor::random(&[4], -1.0, 1.0, 2),
        ],
        build: &|g, x| g.einsum("i,j->ij", x[0], x[1]),
        forward: &|x| Tensor::from_fn(&[3, 4], |at| x[0].at(&at[..1]) * x[1].at(&at[1..])),
        backward: &|x, up| {
            let da = |at: &[usize]| (0..4).map(|j| up.at(&[at[0], j]) * x[1].at(&[j])).sum();
            let db = |at: &[usize]| (0..3).map(|i| up.at(&[i, at[0]]) * x[0].at(&[i])).sum();
            vec![Tensor::from_fn(&[3], da), Tensor::from_fn(&[4], db)]
        },
    }
    .check(TOLERANCE);
}

/// The position after a reduction over `axes`.
fn reduced(at: &[usize], axes: &[usize]) -> Vec<usize> {
    (0..at.len())
        .filter(|k| !axes.contains(k))
        .map(|k| at[k])
        .collect()
}

#[test]
fn reductions_over_any_axes() {
    let cases: [(&[usize], &[usize]); 7] = [
        (&[5], &[0]),
        (&[3, 4, 5], &[1]),
        (&[3, 4, 5], &[0, 2]),
        (&[3, 4, 5], &[0, 1, 2]),
        (&[150, 2], &[0]),
        (&[3, 40, 5, 2], &[1, 3]),
        (&[70, 3, 2], &[0, 2]),
    ];
    for (shape, axes) in cases {
        let kept = reduced(shape, axes);
        let terms: usize = axes.iter().map(|&k| shape[k]).product();
        for scale in [1.0, 1.0 / terms as f64] {
            Operation {
                name: &format!("sum or mean over {axes:?} of {shape:?}"),
                inputs: vec![Tensor::random(shape, -1.0, 1.0, 8)],
                build: &|g, x| match scale {
                    1.0 => g.sum(x[0], axes),
                    _ => g.mean(x[0], axes),
                },
                forward: &|x| {
                    let mut sum = Tensor::zeros(&kept);
                    for at in positions(shape) {
                        sum.add(&reduced(&at, axes), scale * x[0].at(&at));
                    }
                    sum
                },
                backward: &|_, up| {
                    vec![Tensor::from_fn(shape, |at| {
                        scale * up.at(&reduced(at, axes))
                    })]
                },
            }
            .check(TOLERANCE);
        }
        let maximum = |x: &Tensor| {
            let mut max = Tensor::zeros(&kept).map(|_| f64::NEG_INFINITY);
            for at in positions(shape) {
                let (x, to) = (x.at(&at), reduced(&at, axes));
                let rise = x.max(max.at(&to)) - max.at(&to);
                match max.at(&to) {
                    f64::NEG_INFINITY => {
                        let flat = positions(&kept).iter().position(|p| *p == to).unwrap();
                        max.data[flat] = x;
                    }
                    _ => max.add(&to, rise),
                }
            }
            max
        };
        Operation {
            name: &format!("max over {axes:?} of {shape:?}"),
            inputs: vec![Tensor::random(shape, -1.0, 1.0, 9)],
            build: &|g, x| g.max(x[0], axes),
            forward: &|x| maximum(&x[0]),
            backward: &|x, up| {
                let max = maximum(&x[0]);
                vec![Tensor::from_fn(shape, |at| {
                    let to = reduced(at, axes);
                    let hit = (x[0].at(at) - max.at(&to)).abs() < 1e-12;
                    if hit {
                        up.at(&to)
                    } else {
                        0.0
                    }
                })]
            },
        }
        .check(TOLERANCE);
    }
}

#[test]
fn a_maximum_that_is_shared_shares_its_gradient() {
    let mut bench = Bench::default();
    let x = bench.input(&Tensor::new(&[4], vec![2.0, 5.0, 5.0, 1.0]));
    let max = bench.graph.max(x, &[0]);
    let gradient = bench.graph.gradients(max, &[x]);
    let got = bench.numbers(&gradient);
    assert_eq!(got[0].data, [0.0, 0.5, 0.5, 0.0]);
}

fn softmax(x: &Tensor, axis: usize) -> Tensor {
    let sum = |at: &[usize]| {
        let along = |k: usize| {
            let mut at = at.to_vec();
            at[axis] = k;
            x.at(&at).exp()
        };
        (0..x.shape[axis]).map(along).sum::<f64>()
    };
    Tensor::from_fn(&x.shape, |at| x.at(at).exp() / sum(at))
}

#[test]
fn softmax_and_its_logarithm() {
    for (shape, axis) in [
        (&[4, 7][..], 1),
        (&[4, 7], 0),
        (&[2, 3, 4], 1),
        (&[2, 90], 1),
    ] {
        let along = |at: &[usize], k: usize| {
            let mut at = at.to_vec();
            at[axis] = k;
            at
        };
        Operation {
            name: "softmax",
            inputs: vec![Tensor::random(shape, -4.0, 4.0, 4)],
            build: &|g, x| g.softmax(x[0], axis),
            forward: &|x| softmax(&x[0], axis),
            backward: &|x, up| {
                let y = softmax(&x[0], axis);
                vec![Tensor::from_fn(shape, |at| {
                    let other = |k| up.at(&along(at, k)) * y.at(&along(at, k));
                    y.at(at) * (up.at(at) - (0..shape[axis]).map(other).sum::<f64>())
                })]
            },
        }
        .check(TOLERANCE);
        Operation {
            name: "log_softmax",
            inputs: vec![Tensor::random(shape, -4.0, 4.0, 5)],
            build: &|g, x| g.log_softmax(x[0], axis),
            forward: &|x| softmax(&x[0], axis).map(f64::ln),
            backward: &|x, up| {
                let y = softmax(&x[0], axis);
                vec![Tensor::from_fn(shape, |at| {
                    let total: f64 = (0..shape[axis]).map(|k| up.at(&along(at, k))).sum();
                    up.at(at) - y.at(at) * total
                })]
            },
        }
        .check(TOLERANCE);
    }
}

#[test]
fn cross_entropy_and_picking() {
    let labels = [3, 0, 6, 6, 2];
    let row = |at: &[usize]| labels[at[0]] as usize;
    Operation {
        name: "cross_entropy",
        inputs: vec![Tensor::random(&[5, 7], -4.0, 4.0, 4)],
        build: &|g, x| {
            let bytes = labels.iter().flat_map(|l: &u32| l.to_le_bytes()).collect();
            let labels = g.constant(&[5], lockstep_protocol::program::Dtype::U32, bytes);
            g.cross_entropy(x[0], labels)
        },
        forward: &|x| {
            let y = softmax(&x[0], 1);
            Tensor::from_fn(&[5], |at| -y.at(&[at[0], row(at)]).ln())
        },
        backward: &|x, up| {
            let y = softmax(&x[0], 1);
            vec![Tensor::from_fn(&[5, 7], |at| {
                let truth = (row(at) == at[1]) as u8 as f64;
                up.at(&at[..1]) * (y.at(at) - truth)
            })]
        },
    }
    .check(TOLERANCE);
    Operation {
        name: "pick",
        inputs: vec![Tensor::random(&[5, 7], -4.0, 4.0, 4)],
        build: &|g, x| {
            let bytes = labels.iter().map(|&l| l as u8).collect();
            let labels = g.constant(&[5], lockstep_protocol::program::Dtype::U8, bytes);
            g.pick(x[0], labels)
        },
        forward: &|x| Tensor::from_fn(&[5], |at| x[0].at(&[at[0], row(at)])),
        backward: &|_, up| {
            vec![Tensor::from_fn(&[5, 7], |at| match row(at) == at[1] {
                true => up.at(&at[..1]),
                false => 0.0,
            })]
        },
    }
    .check(TOLERANCE);
}

#[test]
fn mean_squared_error() {
    Operation {
        name: "mean_squared_error",
        inputs: vec![
            Tensor::random(&[5, 20], -1.0, 1.0, 1),
            Tensor::random(&[5, 20], -1.0, 1.0, 2),
        ],
        build: &|g, x| g.mean_squared_error(x[0], x[1]),
        forward: &|x| {
            let square = |at: &Vec<usize>| (x[0].at(at) - x[1].at(at)).powi(2);
            Tensor::new(
                &[],
                vec![positions(&[5, 20]).iter().map(square).sum::<f64>() / 100.0],
            )
        },
        backward: &|x, up| {
            let slope = |at: &[usize]| up.data[0] * (x[0].at(at) - x[1].at(at)) / 50.0;
            vec![
                Tensor::from_fn(&[5, 20], slope),
                Tensor::from_fn(&[5, 20], |at| -slope(at)),
            ]
        },
    }
    .check(TOLERANCE);
}

#[test]
fn layer_norm() {
    let epsilon = 1e-3f32;
    for width in [6, 100] {
        let rows = move |x: &Tensor| -> (Vec<f64>, Vec<f64>) {
            let row = |r: usize| (0..width).map(move |k| (r, k));
            let mean = |r| row(r).map(|(r, k)| x.at(&[r, k])).sum::<f64>() / width as f64;
            let deviation = |r| {
                let m = mean(r);
                let square = row(r)
                    .map(|(r, k)| (x.at(&[r, k]) - m).powi(2))
                    .sum::<f64>();
                (square / width as f64 + epsilon as f64).sqrt()
            };
            ((0..4).map(mean).collect(), (0..4).map(deviation).collect())
        };
        Operation {
            name: "layer_norm",
            inputs: vec![
                Tensor::random(&[4, width], -1.0, 3.0, 1),
                Tensor::random(&[width], 0.5, 1.5, 2),
                Tensor::random(&[width], -1.0, 1.0, 3),
            ],
            build: &|g, x| g.layer_norm(x[0], x[1], x[2], epsilon),
            forward: &|x| {
                let (mean, deviation) = rows(&x[0]);
                Tensor::from_fn(&[4, width], |at| {
                    let standard = (x[0].at(at) - mean[at[0]]) / deviation[at[0]];
                    standard * x[1].at(&at[1..]) + x[2].at(&at[1..])
                })
            },
            backward: &|x, up| {
                // Straight from the quotient rule, pair by pair.
                let (mean, deviation) = rows(&x[0]);
                let n = width as f64;
                let centred = |r: usize, k: usize| x[0].at(&[r, k]) - mean[r];
                let dx = Tensor::from_fn(&[4, width], |at| {
                    let (r, k) = (at[0], at[1]);
                    let term = |j: usize| {
                        let same = (j == k) as u8 as f64;
                        let slope = (same - 1.0 / n) / deviation[r]
                            - centred(r, j) * centred(r, k) / n / deviation[r].powi(3);
                        up.at(&[r, j]) * x[1].at(&[j]) * slope
                    };
                    (0..width).map(term).sum()
                });
                let dgain = Tensor::from_fn(&[width], |k| {
                    let term = |r: usize| up.at(&[r, k[0]]) * centred(r, k[0]) / deviation[r];
                    (0..4).map(term).sum()
                });
                let dbias = Tensor::from_fn(&[width], |k| (0..4).map(|r| up.at(&[r, k[0]])).sum());
                vec![dx, dgain, dbias]
            },
        }
        .check(4e-6);
    }
}

#[test]
fn an_embedding_reads_rows_and_its_gradient_scatters() {
    let ids = [4u32, 1, 1, 0, 4, 4];
    Operation {
        name: "embedding",
        inputs: vec![Tensor::random(&[5, 3], -1.0, 1.0, 1)],
        build: &|g, x| {
            let bytes = ids
                .iter()
                .flat_map(|id| (*id as u16).to_le_bytes())
                .collect();
            let ids = g.constant(&[2, 3], lockstep_protocol::program::Dtype::U16, bytes);
            g.embedding(x[0], ids)
        },
        forward: &|x| {
            Tensor::from_fn(&[2, 3, 3], |at| {
                x[0].at(&[ids[at[0] * 3 + at[1]] as usize, at[2]])
            })
        },
        backward: &|_, up| {
            let mut table = Tensor::zeros(&[5, 3]);
            for at in positions(&up.shape) {
                table.add(&[ids[at[0] * 3 + at[1]] as usize, at[2]], up.at(&at));
            }
            vec![table]
        },
    }
    .check(TOLERANCE);
}

#[test]
fn an_index_out_of_range_reads_zeros_and_moves_nothing() {
    let mut bench = Bench::default();
    let table = bench.input(&Tensor::random(&[3, 2], 1.0, 2.0, 1));
    let ids = bench.words(&[2], &[3, u32::MAX]);
    let rows = bench.graph.embedding(table, ids);
    let loss = bench.graph.sum(rows, &[0, 1]);
    let gradient = bench.graph.gradients(loss, &[table])[0];
    let got = bench.numbers(&[rows, gradient]);
    assert_eq!(got[0].data, [0.0; 4]);
    assert_eq!(got[1].data, [0.0; 6]);
}

#[test]
fn dropout_follows_its_stream_and_its_gradient_the_same_mask() {
    let (rate, domain, step) = (0.3f32, 12, 7u32);
    let x = Tensor::random(&[5, 40], 1.0, 2.0, 1);
    let mut bench = Bench::default();
    let value = bench.input(&x);
    let y = bench.graph.dropout(value, rate, domain);
    let loss = bench.graph.sum(y, &[0, 1]);
    let gradient = bench.graph.gradients(loss, &[value])[0];
    let got = bench.run(&[y, gradient], step);
    let threshold = (rate as f64 * 2f64.powi(32)) as u32;
    let factor = |i: u64| {
        let word = philox::stream(SEED, domain, (step as u64) << 32 | i)[0];
        if word < threshold {
            0.0
        } else {
            1.0 / (1.0 - rate)
        }
    };
    let want: Vec<f32> = (0..200)
        .map(|i| x.data[i as usize] as f32 * factor(i))
        .collect();
    let mask: Vec<f32> = (0..200).map(factor).collect();
    let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
    assert_eq!(words(&got[0]), bits(&want));
    assert_eq!(words(&got[1]), bits(&mask));
    let dropped = mask.iter().filter(|&&m| m == 0.0).count();
    assert!(
        (40..=80).contains(&dropped),
        "{dropped} of 200 dropped at rate 0.3"
    );
}

#[test]
fn a_value_used_twice_sums_its_gradients() {
    let x = Tensor::random(&[6], 0.5, 2.0, 1);
    let mut bench = Bench::default();
    let value = bench.input(&x);
    let g = &mut bench.graph;
    let (sin, square) = (g.sin(value), g.mul(value, value));
    let both = g.mul(sin, square);
    let y = g.add(both, value);
    let loss = g.sum(y, &[0]);
    let gradient = g.gradients(loss, &[value]);
    let got = bench.numbers(&gradient);
    let want = x.map(|x| x.cos() * x * x + x.sin() * 2.0 * x + 1.0);
    assert_close("gradient", &got[0], &want, TOLERANCE);
}

#[test]
fn what_the_loss_does_not_depend_on_has_a_gradient_of_zeros() {
    let mut bench = Bench::default();
    let x = bench.input(&Tensor::random(&[3], 0.5, 2.0, 1));
    let y = bench.input(&Tensor::random(&[2, 2], 0.5, 2.0, 2));
    let loss = bench.graph.sum(x, &[0]);
    let gradients = bench.graph.gradients(loss, &[x, y]);
    let got = bench.numbers(&gradients);
    assert_eq!(got[0].data, [1.0; 3]);
    assert_eq!(got[1].data, [0.0; 4]);
}

#[test]
fn the_first_of_equal_maxima_is_the_answer() {
    let mut bench = Bench::default();
    let x = bench.input(&Tensor::new(
        &[3, 3],
        vec![1.0, 7.0, 7.0, -2.0, -3.0, -2.0, 0.0, 0.0, 1.0],
    ));
    let labels = bench.words(&[3], &[1, 2, 2]);
    let (guess, hits) = (bench.graph.argmax(x), bench.graph.hits(x, labels));
    let got = bench.run(&[guess, hits], 0);
    assert_eq!(words(&got[0]), [1, 0, 2]);
    assert_eq!(words(&got[1]), [1, 0, 1]);
}

#[test]
#[should_panic(expected = "Add of element types [U32, F32]: convert them first")]
fn integers_and_numbers_do_not_mix() {
    let mut bench = Bench::default();
    let ids = bench.words(&[2], &[1, 2]);
    let x = bench.input(&Tensor::zeros(&[2]));
    bench.graph.add(ids, x);
}

#[test]
#[should_panic(expected = "shapes [2, 3] and [2] do not fit")]
fn shapes_that_do_not_broadcast_are_refused() {
    let mut bench = Bench::default();
    let (a, b) = (
        bench.input(&Tensor::zeros(&[2, 3])),
        bench.input(&Tensor::zeros(&[2])),
    );
    bench.graph.add(a, b);
}

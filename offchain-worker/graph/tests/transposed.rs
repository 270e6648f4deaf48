//! Transposed convolution and norms over several axes, against loops in f64.

mod support;

use lockstep_graph::Conv2d;
use support::{positions, products, Operation, Tensor};

/// The image that every element of x spreads its kernel on; `weight` is
/// `[rows, columns, in / groups, out]` of the convolution whose image it is.
fn check(conv: Conv2d, x: [usize; 4], weight: [usize; 4], size: [usize; 2]) {
    let image = [x[0], size[0], size[1], weight[2] * conv.groups];
    let fits = conv.output(size, [weight[0], weight[1]]);
    assert_eq!(fits, Some([x[1], x[2]]), "{conv:?}");
    Operation {
        name: &format!("{conv:?} of {x:?} by {weight:?}, transposed"),
        inputs: vec![
            Tensor::random(&x, -1.0, 1.0, 1),
            Tensor::random(&weight, -1.0, 1.0, 2),
        ],
        build: &|g, inputs| g.conv_transpose2d(inputs[0], inputs[1], conv, size),
        forward: &|inputs| {
            let mut y = Tensor::zeros(&image);
            products(conv, &image, &weight, |i, w, o| {
                y.add(i, inputs[0].at(o) * inputs[1].at(w))
            });
            y
        },
        backward: &|inputs, up| {
            let (mut dx, mut dw) = (Tensor::zeros(&x), Tensor::zeros(&weight));
            products(conv, &image, &weight, |i, w, o| {
                dx.add(o, up.at(i) * inputs[1].at(w));
                dw.add(w, up.at(i) * inputs[0].at(o));
            });
            vec![dx, dw]
        },
    }
    .check(2e-6);
}

#[test]
fn transposed_convolutions_of_every_stride_padding_and_dilation() {
    for stride in [[1, 1], [2, 3]] {
        for padding in [[0, 0], [1, 0]] {
            for dilation in [[1, 1], [2, 1], [2, 2]] {
                for more in [[0, 0], [stride[0] - 1, 0]] {
                    let conv = Conv2d {
                        stride,
                        padding,
                        dilation,
                        groups: 1,
                    };
                    let kernel = [3, 2];
                    let size = [0, 1].map(|k| {
                        let reach = dilation[k] * (kernel[k] - 1) + 1;
                        stride[k] * ([3, 2][k] - 1) + reach + more[k] - 2 * padding[k]
                    });
                    check(conv, [2, 3, 2, 2], [3, 2, 3, 2], size);
                }
            }
        }
    }
}

#[test]
fn transposed_convolutions_in_groups() {
    let conv = Conv2d {
        stride: [2, 2],
        groups: 2,
        ..Conv2d::default()
    };
    check(conv, [1, 3, 2, 4], [2, 2, 3, 4], [6, 4]);
}

#[test]
fn a_tensor_is_standardized_over_any_axes() {
    let epsilon = 1e-3f32;
    let (shape, axes) = ([3, 2, 5], [0, 2]);
    let n = 15.0;
    let moments = |x: &Tensor, channel: usize| {
        let own = positions(&shape).into_iter().filter(|at| at[1] == channel);
        let own: Vec<f64> = own.map(|at| x.at(&at)).collect();
        let mean = own.iter().sum::<f64>() / n;
        let variance = own.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        (mean, (variance + f64::from(epsilon)).sqrt())
    };
    Operation {
        name: "standardize",
        inputs: vec![Tensor::random(&shape, -1.0, 3.0, 1)],
        build: &|g, x| g.standardize(x[0], &axes, epsilon).result,
        forward: &|x| {
            Tensor::from_fn(&shape, |at| {
                let (mean, deviation) = moments(&x[0], at[1]);
                (x[0].at(at) - mean) / deviation
            })
        },
        backward: &|x, up| {
            // Straight from the quotient rule, pair by pair.
            vec![Tensor::from_fn(&shape, |at| {
                let (mean, deviation) = moments(&x[0], at[1]);
                let centred = |at: &[usize]| x[0].at(at) - mean;
                let others = positions(&shape).into_iter().filter(|o| o[1] == at[1]);
                let term = |o: Vec<usize>| {
                    let same = (o == at) as u8 as f64;
                    let slope = (same - 1.0 / n) / deviation
                        - centred(&o) * centred(at) / n / deviation.powi(3);
                    up.at(&o) * slope
                };
                others.map(term).sum()
            })]
        },
    }
    .check(4e-6);
}

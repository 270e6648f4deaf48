//! Convolution and pooling against loops in f64.

mod support;

use lockstep_graph::{Conv2d, Pool2d};
use support::{products, taps, Bench, Operation, Tensor};

const TOLERANCE: f64 = 2e-6;

fn check_conv(conv: Conv2d, image: &[usize], weight: &[usize]) {
    let [rows, columns] = conv
        .output([image[1], image[2]], [weight[0], weight[1]])
        .unwrap();
    Operation {
        name: &format!("{conv:?} of {image:?} by {weight:?}"),
        inputs: vec![
            Tensor::random(image, -1.0, 1.0, 1),
            Tensor::random(weight, -1.0, 1.0, 2),
        ],
        build: &|g, x| g.conv2d(x[0], x[1], conv),
        forward: &|x| {
            let mut y = Tensor::zeros(&[image[0], rows, columns, weight[3]]);
            products(conv, image, weight, |i, w, o| {
                y.add(o, x[0].at(i) * x[1].at(w))
            });
            y
        },
        backward: &|x, up| {
            let (mut di, mut dw) = (Tensor::zeros(image), Tensor::zeros(weight));
            products(conv, image, weight, |i, w, o| {
                di.add(i, up.at(o) * x[1].at(w));
                dw.add(w, up.at(o) * x[0].at(i));
            });
            vec![di, dw]
        },
    }
    .check(TOLERANCE);
}

#[test]
fn convolutions_of_every_stride_padding_and_dilation() {
    for stride in [[1, 1], [2, 2], [3, 1], [1, 2]] {
        for padding in [[0, 0], [1, 2], [2, 0]] {
            for dilation in [[1, 1], [2, 1], [2, 3]] {
                let conv = Conv2d {
                    stride,
                    padding,
                    dilation,
                    groups: 1,
                };
                check_conv(conv, &[1, 7, 8, 2], &[3, 2, 2, 2]);
            }
        }
    }
}

#[test]
fn convolutions_in_groups() {
    let grouped = |groups, stride| Conv2d {
        groups,
        stride,
        padding: [1, 1],
        ..Conv2d::default()
    };
    check_conv(grouped(2, [1, 1]), &[2, 4, 4, 4], &[3, 3, 2, 6]);
    check_conv(grouped(2, [2, 2]), &[2, 5, 4, 4], &[3, 3, 2, 2]);
    // A kernel for each channel.
    check_conv(grouped(3, [1, 2]), &[1, 4, 5, 3], &[3, 3, 1, 3]);
}

#[test]
fn kernels_as_large_as_the_image_and_as_small_as_a_pixel() {
    check_conv(Conv2d::default(), &[2, 3, 4, 2], &[3, 4, 2, 5]);
    check_conv(Conv2d::default(), &[2, 3, 4, 3], &[1, 1, 3, 2]);
    let sparse = Conv2d {
        stride: [4, 3],
        ..Conv2d::default()
    };
    check_conv(sparse, &[1, 9, 7, 1], &[2, 1, 1, 2]);
    let beyond = Conv2d {
        padding: [3, 3],
        stride: [2, 2],
        ..Conv2d::default()
    };
    check_conv(beyond, &[1, 2, 2, 1], &[4, 3, 1, 1]);
}

fn pools() -> Vec<(Pool2d, Vec<usize>)> {
    let pool = |size, stride, padding| Pool2d {
        size,
        stride,
        padding,
    };
    vec![
        (Pool2d::tiles([2, 2]), vec![2, 4, 6, 3]),
        (Pool2d::tiles([2, 3]), vec![1, 5, 7, 2]),
        (pool([3, 3], [1, 1], [1, 1]), vec![1, 4, 4, 2]),
        (pool([3, 3], [2, 2], [1, 1]), vec![2, 5, 6, 1]),
        (pool([3, 2], [2, 3], [0, 1]), vec![1, 7, 6, 2]),
        (pool([2, 1], [3, 2], [0, 0]), vec![1, 8, 5, 2]),
        (pool([4, 3], [2, 1], [3, 0]), vec![1, 4, 4, 1]),
    ]
}

#[test]
fn averages_of_windows() {
    for (pool, image) in pools() {
        let [rows, columns] = pool.output([image[1], image[2]]).unwrap();
        let size = (pool.size[0] * pool.size[1]) as f64;
        Operation {
            name: &format!("average by {pool:?} of {image:?}"),
            inputs: vec![Tensor::random(&image, -1.0, 1.0, 1)],
            build: &|g, x| g.avg_pool2d(x[0], pool),
            forward: &|x| {
                let mut y = Tensor::zeros(&[image[0], rows, columns, image[3]]);
                taps(pool, &image, |window, pixel| {
                    y.add(window, x[0].at(pixel) / size)
                });
                y
            },
            backward: &|_, up| {
                let mut dx = Tensor::zeros(&image);
                taps(pool, &image, |window, pixel| {
                    dx.add(pixel, up.at(window) / size)
                });
                vec![dx]
            },
        }
        .check(TOLERANCE);
    }
}

/// The maximum of each window, and the first pixel that holds it.
fn maxima(pool: Pool2d, x: &Tensor) -> Vec<(Vec<usize>, Vec<usize>, f64)> {
    let mut maxima: Vec<(Vec<usize>, Vec<usize>, f64)> = vec![];
    taps(pool, &x.shape, |window, pixel| match maxima.last_mut() {
        Some((last, at, max)) if last == window => {
            if x.at(pixel) > *max {
                (*at, *max) = (pixel.to_vec(), x.at(pixel));
            }
        }
        _ => maxima.push((window.to_vec(), pixel.to_vec(), x.at(pixel))),
    });
    maxima
}

#[test]
fn maxima_of_windows() {
    for (pool, image) in pools() {
        let [rows, columns] = pool.output([image[1], image[2]]).unwrap();
        Operation {
            name: &format!("maximum by {pool:?} of {image:?}"),
            inputs: vec![Tensor::random(&image, -1.0, 1.0, 1)],
            build: &|g, x| g.max_pool2d(x[0], pool),
            forward: &|x| {
                let mut y = Tensor::zeros(&[image[0], rows, columns, image[3]]);
                maxima(pool, &x[0])
                    .iter()
                    .for_each(|(window, _, max)| y.add(window, *max));
                y
            },
            backward: &|x, up| {
                let mut dx = Tensor::zeros(&image);
                let all = maxima(pool, &x[0]);
                all.iter()
                    .for_each(|(window, pixel, _)| dx.add(pixel, up.at(window)));
                vec![dx]
            },
        }
        .check(TOLERANCE);
    }
}

#[test]
fn the_first_of_equal_pixels_takes_the_gradient_of_the_window() {
    let pool = Pool2d {
        size: [3, 3],
        stride: [1, 1],
        padding: [1, 1],
    };
    let mut bench = Bench::default();
    let low = f64::NEG_INFINITY;
    let x = bench.input(&Tensor::new(&[1, 1, 4, 1], vec![low, low, low, low]));
    let y = bench.graph.max_pool2d(x, pool);
    let loss = bench.graph.sum(y, &[0, 1, 2, 3]);
    let gradient = bench.graph.gradients(loss, &[x]);
    // Windows start at pixels 0, 0, 1, 2; padding is equal to every pixel but takes nothing.
    assert_eq!(bench.numbers(&gradient)[0].data, [2.0, 1.0, 1.0, 0.0]);
}

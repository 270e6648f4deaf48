//! Sums of products in every shape: the kernels for them give the bits of the sequential chain.

mod common;

use common::*;
use lockstep_protocol::encoding::Int;
use lockstep_protocol::program::*;

const FMA: [Op; 1] = [Op::FFma(1, 2, 0)];

/// `c[m, n] = init + sum over k of a[m, k] * b[k, n]`, with either operand transposed.
fn matmul(m: u64, n: u64, k: u64, transposed: [bool; 2], word: fn(&mut Rng) -> u32) -> Case {
    let mut rng = Rng(m << 40 ^ n << 20 ^ k);
    let mut sketch = Sketch::default();
    let a = sketch.slot(&[m, k], Dtype::F32, rng.tensor(m * k, word));
    let b = sketch.slot(&[k, n], Dtype::F32, rng.tensor(k * n, word));
    let bias = sketch.slot(&[n], Dtype::F32, rng.tensor(n, word));
    let a = match transposed[0] {
        false => sketch.read(a, &[m, k], &[out(0), red(0)], 0),
        true => sketch.read(a, &[k, m], &[red(0), out(0)], 0),
    };
    let b = match transposed[1] {
        false => sketch.read(b, &[k, n], &[red(0), out(1)], 0),
        true => sketch.read(b, &[n, k], &[out(1), red(0)], 0),
    };
    let sum = body(&[m, n], Dtype::F32, vec![a, b], &[], FMA.to_vec());
    sketch.push(fold(sum.clone(), &[k], Init::Word(1 << 31)));
    let bias = sketch.read(bias, &[n], &[out(1)], 0);
    sketch.push(fold(sum, &[k], Init::Read(bias)));
    sketch.finish()
}

#[test]
fn matmul_agrees_at_every_tail() {
    for (m, n, k) in [
        (1, 1, 1),
        (1, 1, 9),
        (1, 33, 7),
        (14, 32, 16),
        (15, 33, 17),
        (13, 31, 5),
        (6, 16, 8),
        (7, 17, 1),
        (29, 65, 3),
        (5, 1, 40),
        (1, 40, 5),
        (40, 2, 3),
    ] {
        for transposed in [[false, false], [false, true], [true, false], [true, true]] {
            let what = format!("{m}x{n}x{k} {transposed:?}");
            agree(&matmul(m, n, k, transposed, Rng::tame), &what);
        }
    }
}

#[test]
fn matmul_agrees_across_blocks_of_k() {
    agree(&matmul(3, 35, 1100, [false, false], Rng::tame), "long k");
    agree(
        &matmul(17, 3, 700, [true, true], Rng::tame),
        "long k, transposed",
    );
}

#[test]
fn matmul_agrees_on_infinities_payloads_and_signed_zeros() {
    for k in [1, 2, 5, 33] {
        let what = format!("wild {k}");
        agree(&matmul(17, 34, k, [false, true], Rng::wild), &what);
    }
}

#[test]
fn a_sum_of_negative_zeros_stays_negative() {
    let zeros = |rng: &mut Rng| {
        rng.next();
        1 << 31
    };
    for k in [1, 3, 4, 15, 17] {
        // -0 * -0 would be +0: the operands are -0 and +1 in turn, decided by the position.
        let mut case = matmul(15, 33, k, [false, false], zeros);
        case.state[1] = 1f32.to_le_bytes().repeat(case.state[1].len() / 4);
        agree(&case, &format!("zeros {k}"));
    }
}

#[test]
fn batched_matmul_agrees() {
    let (b, m, n, k) = (3, 9, 20, 11);
    let mut rng = Rng(1);
    let mut sketch = Sketch::default();
    let x = sketch.slot(&[b, m, k], Dtype::F32, rng.tensor(b * m * k, Rng::tame));
    let y = sketch.slot(&[b, n, k], Dtype::F32, rng.tensor(b * n * k, Rng::tame));
    let reads = vec![
        sketch.read(x, &[b, m, k], &[out(0), out(1), red(0)], 0),
        sketch.read(y, &[b, n, k], &[out(0), out(2), red(0)], 0),
    ];
    let sum = body(&[b, m, n], Dtype::F32, reads, &[], FMA.to_vec());
    sketch.push(fold(sum, &[k], Init::Word(0)));
    // The batch between the other two, and the factors in the other order.
    let reads = vec![
        sketch.read(y, &[b, n, k], &[out(1), out(2), red(0)], 0),
        sketch.read(x, &[b, m, k], &[out(1), out(0), red(0)], 0),
    ];
    let sum = body(&[m, b, n], Dtype::F32, reads, &[], vec![Op::FFma(2, 1, 0)]);
    sketch.push(fold(sum, &[k], Init::Word(0)));
    agree(&sketch.finish(), "batched");
}

/// State tensors of these shapes with numbers that stay finite.
fn slots(sketch: &mut Sketch, shapes: [&[u64; 4]; 3], rng: &mut Rng) -> [u32; 3] {
    shapes.map(|shape| {
        let bytes = rng.tensor(shape.iter().product(), Rng::tame);
        sketch.slot(shape, Dtype::F32, bytes)
    })
}

/// Convolution, the gradient of its input and of its weights.
#[test]
fn convolution_and_its_gradients_agree() {
    let (batch, channels, filters, size, pad) = (2, 3, 5, 7, 1i64);
    for kernel in [1, 3, 5] {
        let extent = size + 2 * pad as u64 + 1 - kernel;
        for stride in [1, 2] {
            let extent = (extent - 1) / stride + 1;
            let mut rng = Rng(kernel);
            let mut sketch = Sketch::default();
            let image = [batch, channels, size, size];
            let weights = [filters, channels, kernel, kernel];
            let result = [batch, filters, extent, extent];
            let [x, w, g] = slots(&mut sketch, [&image, &weights, &result], &mut rng);
            let step = stride as i64;
            let window = |position: u8, tap: u8| Form::new(-pad, &[(position, step), (tap, 1)]);

            // out[b, f, i, j] over (c, u, v)
            let reads = vec![
                sketch.read(
                    x,
                    &image,
                    &[
                        out(0),
                        red(0),
                        window(2, var::RED + 1),
                        window(3, var::RED + 2),
                    ],
                    0,
                ),
                sketch.read(w, &weights, &[out(1), red(0), red(1), red(2)], 0),
            ];
            let sum = body(&result, Dtype::F32, reads, &[], FMA.to_vec());
            sketch.push(fold(sum, &[channels, kernel, kernel], Init::Word(0)));

            // d weights[f, c, u, v] over (b, i, j)
            let reads = vec![
                sketch.read(g, &result, &[red(0), out(0), red(1), red(2)], 0),
                sketch.read(
                    x,
                    &image,
                    &[
                        red(0),
                        out(1),
                        window(var::RED + 1, 2),
                        window(var::RED + 2, 3),
                    ],
                    0,
                ),
            ];
            let reads = reads
                .into_iter()
                .map(|mut access| {
                    // The window's stride belongs to the reduction here.
                    access.fill = 0;
                    access
                })
                .collect();
            let sum = body(&weights, Dtype::F32, reads, &[], FMA.to_vec());
            sketch.push(fold(sum, &[batch, extent, extent], Init::Word(0)));

            if stride == 1 {
                // d image[b, c, y, x] over (f, u, v)
                let back = |position: u8, tap: u8| Form::new(pad, &[(position, 1), (tap, -1)]);
                let reads = vec![
                    sketch.read(
                        g,
                        &result,
                        &[out(0), red(0), back(2, var::RED + 1), back(3, var::RED + 2)],
                        0,
                    ),
                    sketch.read(w, &weights, &[red(0), out(1), red(1), red(2)], 0),
                ];
                let sum = body(&image, Dtype::F32, reads, &[], FMA.to_vec());
                sketch.push(fold(sum, &[filters, kernel, kernel], Init::Word(0)));
            }
            agree(
                &sketch.finish(),
                &format!("convolution {kernel} / {stride}"),
            );
        }
    }
}

#[test]
fn padding_may_be_any_word() {
    for fill in [0x3f80_0000, 0x8000_0000, 0xff80_0000, 0x7fff_ffff] {
        let mut rng = Rng(3);
        let mut sketch = Sketch::default();
        let x = sketch.slot(&[10, 12], Dtype::F32, rng.tensor(120, Rng::tame));
        let w = sketch.slot(&[6, 5], Dtype::F32, rng.tensor(30, Rng::tame));
        let shifted = Form::new(-2, &[(1, 1), (var::RED, 1)]);
        let reads = vec![
            sketch.read(x, &[10, 12], &[out(0), shifted], fill),
            sketch.read(w, &[6, 5], &[out(2), red(0)], fill),
        ];
        let sum = body(&[10, 12, 6], Dtype::F32, reads, &[], FMA.to_vec());
        sketch.push(fold(sum, &[5], Init::Word(0x7f80_0001)));
        agree(&sketch.finish(), &format!("fill {fill:x}"));
    }
}

#[test]
fn batches_may_be_the_innermost_dimension_and_steps_may_be_skipped() {
    // Sums of 50 products in chunks of 7, the last of which is short.
    let (m, n, k, run) = (9, 11, 50u64, 7);
    let chunks = k.div_ceil(run);
    let mut rng = Rng(6);
    let mut sketch = Sketch::default();
    let a = sketch.slot(&[m, k], Dtype::F32, rng.tensor(m * k, Rng::wild));
    let b = sketch.slot(&[k, n], Dtype::F32, rng.tensor(k * n, Rng::wild));
    let position = Form::new(0, &[(2, run as i64), (var::RED, 1)]);
    let reads = vec![
        sketch.read(a, &[m, k], &[out(0), position.clone()], 0),
        sketch.read(b, &[k, n], &[position.clone(), out(1)], 0),
    ];
    // One chunk more than there are, all of whose steps are skipped.
    for shape in [[m, n, chunks], [m, n, chunks + 1]] {
        let sum = body(&shape, Dtype::F32, reads.clone(), &[], FMA.to_vec());
        sketch.push(Node::Fold(Fold {
            body: sum,
            red: dims(&[run]),
            when: vec![Guard {
                form: position.clone(),
                lo: 0.into(),
                hi: (k as i64).into(),
            }],
            init: Init::Word(0xbf80_0000),
        }));
    }
    agree(&sketch.finish(), "chunks");
}

#[test]
fn guards_on_rows_and_columns_agree() {
    let (m, n, k) = (12, 20, 9);
    let mut rng = Rng(7);
    let mut sketch = Sketch::default();
    let a = sketch.slot(&[m, k], Dtype::F32, rng.tensor(m * k, Rng::wild));
    let b = sketch.slot(&[k, n], Dtype::F32, rng.tensor(k * n, Rng::wild));
    let reads = vec![
        sketch.read(a, &[m, k], &[out(0), red(0)], 0),
        sketch.read(b, &[k, n], &[red(0), Form::new(0, &[(1, 4), (2, 1)])], 0),
    ];
    let sum = body(&[m, 5, 4], Dtype::F32, reads, &[], FMA.to_vec());
    for form in [
        Form::new(0, &[(0, 1), (var::RED, -1)]),
        Form::new(0, &[(2, 2), (var::RED, 1)]),
        Form::new(3, &[(1, -1), (2, 1), (var::RED, 1)]),
        Form::new(0, &[(var::RED, 1)]),
    ] {
        sketch.push(Node::Fold(Fold {
            body: sum.clone(),
            red: dims(&[k]),
            when: vec![Guard {
                form,
                lo: 1.into(),
                hi: 7.into(),
            }],
            init: Init::Word(1 << 31),
        }));
    }
    agree(&sketch.finish(), "guards");
}

#[test]
fn matmul_agrees_across_blocks_of_rows_and_columns() {
    let transposed = [true, false];
    agree(&matmul(2100, 3, 2, transposed, Rng::tame), "many rows");
    agree(&matmul(3, 2100, 2, transposed, Rng::tame), "many columns");
    agree(&matmul(90, 600, 3, transposed, Rng::tame), "several tasks");
}

/// Convolution over channels that lie side by side, and the gradient of its weights: runs of
/// channels are copied whole, inside of the image or outside.
#[test]
fn convolution_over_the_innermost_axis_agrees() {
    for (channels, filters, stride) in [(3, 20, 1), (8, 5, 2), (16, 16, 1), (33, 8, 2)] {
        let (batch, size, kernel) = (2, 9, 3);
        let extent = (size + 2 - kernel) / stride + 1;
        let mut rng = Rng(channels);
        let mut sketch = Sketch::default();
        let image = [batch, size, size, channels];
        let weights = [kernel, kernel, channels, filters];
        let result = [batch, extent, extent, filters];
        let [x, w, g] = slots(&mut sketch, [&image, &weights, &result], &mut rng);
        let window = |position: u8, tap: u8| Form::new(-1, &[(position, stride as i64), (tap, 1)]);

        let (rows, columns) = (window(1, var::RED), window(2, var::RED + 1));
        let reads = vec![
            sketch.read(x, &image, &[out(0), rows, columns, red(2)], 0xbf80_0000),
            sketch.read(w, &weights, &[red(0), red(1), red(2), out(3)], 0),
        ];
        let sum = body(&result, Dtype::F32, reads, &[], FMA.to_vec());
        sketch.push(fold(sum, &[kernel, kernel, channels], Init::Word(0)));

        let (rows, columns) = (window(var::RED + 1, 0), window(var::RED + 2, 1));
        let reads = vec![
            sketch.read(x, &image, &[red(0), rows, columns, out(2)], 1 << 31),
            sketch.read(g, &result, &[red(0), red(1), red(2), out(3)], 0),
        ];
        let sum = body(&weights, Dtype::F32, reads, &[], FMA.to_vec());
        sketch.push(fold(sum, &[batch, extent, extent], Init::Word(0)));
        let what = format!("{channels} channels, {filters} filters, stride {stride}");
        agree(&sketch.finish(), &what);
    }
}

/// Convolutions over images whose channels lie innermost: forward, and both gradients.
fn windows(
    [batch, height, width, channels, filters]: [u64; 5],
    stride: u64,
    pad: i64,
    fill: u32,
    word: fn(&mut Rng) -> u32,
) -> Case {
    let kernel = 3;
    let extent = |size: u64| (size + 2 * pad as u64 - kernel) / stride + 1;
    let mut rng = Rng(width ^ filters << 8 ^ stride << 16);
    let mut sketch = Sketch::default();
    let image = [batch, height, width, channels];
    let weights = [kernel, kernel, channels, filters];
    let result = [batch, extent(height), extent(width), filters];
    let [x, w, g] = [&image, &weights, &result].map(|shape| {
        let len = shape.iter().product();
        sketch.slot(shape, Dtype::F32, rng.tensor(len, word))
    });
    let step = stride as i64;
    let window = |position: u8, tap: u8| Form::new(-pad, &[(position, step), (tap, 1)]);
    let mut product = |shape: &[u64], reads: Vec<Access>, steps: &[u64]| {
        let sum = body(shape, Dtype::F32, reads, &[], FMA.to_vec());
        sketch.push(fold(sum, steps, Init::Word(1 << 31)));
    };
    let read = |node: u32, shape: &[u64; 4], forms: [Form; 4]| {
        let mut stride = shape.iter().product::<u64>() as i64;
        let axes = shape.iter().zip(forms).map(|(extent, form)| {
            stride /= *extent as i64;
            Axis {
                form,
                extent: *extent,
                stride: Int(stride),
            }
        });
        Access {
            node,
            dtype: Dtype::F32,
            len: shape.iter().product(),
            base: Int(0),
            axes: axes.collect(),
            fill,
        }
    };
    const RED: u8 = var::RED;
    product(
        &result,
        vec![
            read(
                x,
                &image,
                [out(0), window(1, RED), window(2, RED + 1), red(2)],
            ),
            read(w, &weights, [red(0), red(1), red(2), out(3)]),
        ],
        &[kernel, kernel, channels],
    );
    product(
        &weights,
        vec![
            read(
                x,
                &image,
                [red(0), window(RED + 1, 0), window(RED + 2, 1), out(2)],
            ),
            read(g, &result, [red(0), red(1), red(2), out(3)]),
        ],
        &result[..3],
    );
    if stride == 1 {
        let back = |position: u8, tap: u8| Form::new(pad, &[(position, 1), (tap, -1)]);
        product(
            &image,
            vec![
                read(g, &result, [out(0), back(1, RED), back(2, RED + 1), red(2)]),
                read(w, &weights, [red(0), red(1), out(3), red(2)]),
            ],
            &[kernel, kernel, filters],
        );
    }
    sketch.finish()
}

#[test]
fn windows_of_channels_agree() {
    for (size, stride, pad, fill) in [
        ([2, 5, 9, 16, 16], 1, 1, 0),
        ([1, 9, 29, 16, 32], 1, 1, 0x3f80_0000),
        ([2, 8, 8, 8, 48], 1, 2, 1 << 31),
        ([1, 7, 31, 3, 16], 1, 1, 0),
        ([2, 9, 16, 16, 5], 2, 1, 0),
        ([1, 12, 12, 9, 33], 2, 0, 0),
        ([2, 24, 25, 8, 16], 1, 1, 0),
    ] {
        for word in [Rng::tame, Rng::wild] {
            let what = format!("windows {size:?} / {stride}, margin {pad} of {fill:x}");
            agree(&windows(size, stride, pad, fill, word), &what);
        }
    }
}

#[test]
fn products_of_heads_agree() {
    // Attention: heads lie side by side in a token, and are batches of small products.
    let (batch, tokens, heads, width) = (2, 37, 3, 16);
    let mut rng = Rng(12);
    let mut sketch = Sketch::default();
    let len = batch * tokens * heads * width;
    let shape = [batch, tokens, heads, width];
    let [q, k] = [0; 2].map(|_| sketch.slot(&shape, Dtype::F32, rng.tensor(len, Rng::wild)));
    let scores = [batch, heads, tokens, tokens];
    let len = scores.iter().product();
    let p = sketch.slot(&scores, Dtype::F32, rng.tensor(len, Rng::tame));
    let head = |node, token: Form, channel: Form| (node, [out(0), token, out(1), channel]);
    for (shape, (a, a_forms), (b, b_forms), steps) in [
        (
            scores,
            head(q, out(2), red(0)),
            head(k, out(3), red(0)),
            width,
        ),
        (
            [batch, heads, tokens, width],
            (p, [out(0), out(1), out(2), red(0)]),
            head(k, red(0), out(3)),
            tokens,
        ),
        (
            [batch, heads, tokens, width],
            (p, [out(0), out(1), red(0), out(2)]),
            head(q, red(0), out(3)),
            tokens,
        ),
    ] {
        let at = |node: u32| match node == p {
            true => scores,
            false => [batch, tokens, heads, width],
        };
        let reads = vec![
            sketch.read(a, &at(a), &a_forms, 0),
            sketch.read(b, &at(b), &b_forms, 0),
        ];
        let sum = body(&shape, Dtype::F32, reads, &[], FMA.to_vec());
        sketch.push(fold(sum, &[steps], Init::Word(0)));
    }
    agree(&sketch.finish(), "heads");
}

//! Sums of products of bytes: every instruction set gives the bits of the sequential sum.

mod common;

use common::*;
use lockstep_engine::{cpu::Cpu, Engine};
use lockstep_protocol::program::*;

/// `acc + a * b`, in both orders of both operations.
const FORMS: [[Op; 2]; 4] = [
    [Op::IMul(1, 2), Op::IAdd(0, 3)],
    [Op::IMul(2, 1), Op::IAdd(0, 3)],
    [Op::IMul(1, 2), Op::IAdd(3, 0)],
    [Op::IMul(2, 1), Op::IAdd(3, 0)],
];

/// `c[m, n] = 7 + sum over k of a[m, k] * b[k, n]`, with either operand transposed.
fn matmul([m, n, k]: [u64; 3], transposed: [bool; 2], ops: [Op; 2]) -> Case {
    let mut rng = Rng(m << 40 ^ n << 20 ^ k);
    let mut sketch = Sketch::default();
    let a = sketch.slot(&[m, k], Dtype::I8, rng.bytes(m * k));
    let b = sketch.slot(&[k, n], Dtype::I8, rng.bytes(k * n));
    let a = match transposed[0] {
        false => sketch.read(a, &[m, k], &[out(0), red(0)], 0),
        true => sketch.read(a, &[k, m], &[red(0), out(0)], 0),
    };
    let b = match transposed[1] {
        false => sketch.read(b, &[k, n], &[red(0), out(1)], 0),
        true => sketch.read(b, &[n, k], &[out(1), red(0)], 0),
    };
    let sum = body(&[m, n], Dtype::I32, vec![a, b], &[], ops.to_vec());
    sketch.push(fold(sum, &[k], Init::Word(7)));
    sketch.finish()
}

#[test]
fn products_of_bytes_agree_at_every_tail() {
    for (k, size) in [
        [1, 1, 1],
        [1, 33, 7],
        [14, 32, 16],
        [15, 33, 17],
        [13, 31, 5],
        [6, 16, 8],
        [7, 17, 1],
        [29, 65, 3],
        [5, 1, 40],
        [1, 40, 5],
        [40, 2, 3],
        [9, 9, 2],
        [85, 49, 31],
    ]
    .into_iter()
    .enumerate()
    {
        for transposed in [[false, false], [false, true], [true, false], [true, true]] {
            let what = format!("{size:?} {transposed:?}");
            agree(&matmul(size, transposed, FORMS[k % 4]), &what);
        }
    }
}

#[test]
fn products_of_bytes_agree_across_blocks() {
    agree(&matmul([3, 35, 1100], [false, false], FORMS[0]), "long k");
    agree(&matmul([17, 3, 5000], [true, true], FORMS[0]), "longer k");
    agree(&matmul([2100, 3, 2], [true, false], FORMS[0]), "many rows");
    agree(
        &matmul([3, 2100, 2], [true, false], FORMS[0]),
        "many columns",
    );
    agree(
        &matmul([90, 600, 3], [false, false], FORMS[0]),
        "several tasks",
    );
}

#[test]
fn random_shapes_of_products_of_bytes_agree() {
    let mut rng = Rng(11);
    for number in 0..40 {
        let size = [50, 70, 300].map(|most| 1 + rng.below(most));
        let transposed = [0, 1].map(|_| rng.below(2) == 1);
        let what = format!("{number}: {size:?} {transposed:?}");
        agree(&matmul(size, transposed, FORMS[number % 4]), &what);
    }
}

#[test]
fn sums_that_overflow_wrap() {
    let mut case = matmul([15, 33, 6], [false, false], FORMS[0]);
    // One more fold over a start just below the limit.
    let mut program = (*case.job.program).clone();
    for node in &mut program.nodes {
        if let Node::Fold(fold) = node {
            fold.init = Init::Word(0x7fff_fff0);
        }
    }
    case.job.program = std::sync::Arc::new(program);
    agree(&case, "overflow");
}

#[test]
fn batches_guards_and_bytes_outside_agree() {
    // Sums over blocks of 7 of 50 steps, the last of which is short: by a guard, by zeros outside,
    // and by another byte outside.
    let (m, n, k, run) = (9, 20, 50u64, 7);
    let blocks = k.div_ceil(run);
    let mut rng = Rng(5);
    let mut sketch = Sketch::default();
    let a = sketch.slot(&[m, k], Dtype::I8, rng.bytes(m * k));
    let b = sketch.slot(&[k, n], Dtype::I8, rng.bytes(k * n));
    let position = Form::new(0, &[(0, run as i64), (var::RED, 1)]);
    for (fill, guarded) in [(0, true), (0, false), (-3i32 as u32, false), (1000, false)] {
        let reads = vec![
            sketch.read(a, &[m, k], &[out(1), position.clone()], fill),
            sketch.read(b, &[k, n], &[position.clone(), out(2)], fill),
        ];
        let sum = body(&[blocks, m, n], Dtype::U32, reads, &[], FORMS[0].to_vec());
        let when = match guarded {
            true => vec![Guard {
                form: position.clone(),
                lo: 0.into(),
                hi: (k as i64).into(),
            }],
            false => vec![],
        };
        sketch.push(Node::Fold(Fold {
            body: sum,
            red: dims(&[run]),
            when,
            init: Init::Word(0),
        }));
    }
    agree(&sketch.finish(), "blocks");
}

#[test]
fn convolutions_of_bytes_agree() {
    let (batch, channels, filters, size, kernel) = (2, 3, 9, 6, 3);
    let mut rng = Rng(8);
    let mut sketch = Sketch::default();
    let image = [batch, channels, size, size];
    let weights = [filters, channels, kernel, kernel];
    let x = rng.bytes(image.iter().product());
    let x = sketch.slot(&image, Dtype::I8, x);
    let w = rng.bytes(weights.iter().product());
    let w = sketch.slot(&weights, Dtype::I8, w);
    let window = |position: u8, tap: u8| Form::new(-1, &[(position, 1), (tap, 1)]);
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
    let shape = [batch, filters, size, size];
    let sum = body(&shape, Dtype::I32, reads, &[], FORMS[0].to_vec());
    sketch.push(fold(sum, &[channels, kernel, kernel], Init::Word(0)));
    agree(&sketch.finish(), "convolution");
}

/// Quantised products from every kind of start.
fn quantised(size: [u64; 3], run: u64, forward: [bool; 2], word: fn(&mut Rng) -> u32) -> Case {
    let mut sketch = Sketch::default();
    sketch.quantised(size, run, forward, word, &[0, 1 << 31, 0x7fc1_2345]);
    sketch.finish()
}

/// Checks every node when it alone is wanted, so that nothing is stored on the way to it.
fn agree_alone(case: &Case, what: &str) {
    let want = lockstep_protocol::eval::run(&case.job.program, 5, &case.job.inputs, &case.state);
    for options in configurations() {
        let mut cpu = Cpu::new(case.job.clone(), options).unwrap();
        cpu.load(&case.state).unwrap();
        for (n, want) in want.iter().enumerate() {
            let got = cpu.tensor(5, n as u32);
            assert!(got == *want, "{what}: {options:?}: node {n}");
        }
    }
}

#[test]
fn quantised_products_agree_whatever_the_scales() {
    for (k, (size, run)) in [
        ([5, 40, 30], 30),
        ([17, 35, 50], 7),
        ([90, 530, 4], 3),
        ([1, 64, 33], 32),
        ([64, 1, 33], 32),
        ([8, 9, 1100], 256),
        ([13, 3, 4200], 1024),
        ([4, 9, 2100], 1050),
    ]
    .into_iter()
    .enumerate()
    {
        for word in [Rng::tame, Rng::wild] {
            let case = quantised(size, run, [k % 2 == 0, k % 3 == 0], word);
            let what = format!("{size:?} in blocks of {run}");
            agree(&case, &what);
            agree_alone(&case, &what);
        }
    }
}

#[test]
fn a_quantised_product_never_stores_its_integer_sums() {
    let case = quantised([30, 40, 100], 25, [true, true], Rng::tame);
    let mut program = (*case.job.program).clone();
    // The first scaled product becomes the next value of a slot of its own.
    program.nodes.drain(6..);
    program.slots = 1;
    let state = Node::Source(Source::State {
        shape: dims(&[30, 40]),
        dtype: Dtype::F32,
    });
    let constant = |node: &Node| {
        let (shape, dtype) = (node.shape(), node.dtype());
        Node::Source(Source::Constant {
            shape,
            dtype,
            hash: [0; 32],
        })
    };
    let sources: Vec<Node> = program.nodes[..4].iter().map(constant).collect();
    program.nodes.splice(..4, sources);
    program.nodes.insert(0, state);
    for node in &mut program.nodes {
        if let Node::Fold(fold) = node {
            fold.body.reads.iter_mut().for_each(|read| read.node += 1);
        }
    }
    let description = lockstep_engine::cpu::describe(&program);
    let [.., sums, scaled] = &description.nodes[..] else {
        panic!("two folds");
    };
    assert_eq!(scaled.kernel, "quantised contraction");
    assert!(scaled.runs && !sums.runs, "{description:?}");
    assert_eq!(
        description.steps,
        30 * 40 * (100 + 4),
        "the sums' steps count"
    );
}

//! The shapes that have kernels or layouts of their own: scatters, gathers, masks, windows.

mod common;

use common::*;
use lockstep_engine::cpu::{Cpu, Options};
use lockstep_engine::Engine;
use lockstep_protocol::encoding::Int;
use lockstep_protocol::eval;
use lockstep_protocol::program::*;

fn guard(form: Form, lo: i64, hi: i64) -> Guard {
    Guard {
        form,
        lo: Int(lo),
        hi: Int(hi),
    }
}

/// The gradient of an embedding: every row sums what the tokens that name it contribute.
fn scatter(rows: u64, width: u64, tokens: u64, dtype: Dtype) -> Case {
    let mut rng = Rng(rows ^ tokens << 20);
    let mut sketch = Sketch::default();
    let ids: Vec<u8> = (0..tokens)
        .flat_map(|_| {
            // Some ids name no row.
            let id = match rng.below(9) {
                0 => u32::MAX - rng.below(3) as u32,
                _ => rng.below(rows + 1) as u32,
            };
            id.to_le_bytes()[..dtype.size() as usize].to_vec()
        })
        .collect();
    let ids = sketch.slot(&[tokens], dtype, ids);
    let len = tokens * width;
    let grads = sketch.slot(&[tokens, width], Dtype::F32, rng.tensor(len, Rng::tame));
    let id = sketch.read(ids, &[tokens], &[red(0)], 0);
    let grad = sketch.read(grads, &[tokens, width], &[red(0), out(1)], 0);
    let mut step = body(
        &[rows, width],
        Dtype::F32,
        vec![grad],
        &[],
        vec![Op::FAdd(0, 1)],
    );
    step.index = vec![id];
    let word = var::INDEX;
    for when in [
        vec![guard(Form::new(0, &[(0, -1), (word, 1)]), 0, 1)],
        vec![guard(Form::new(5, &[(0, 1), (word, -1)]), 5, 6)],
        vec![
            guard(Form::new(0, &[(var::RED, 1)]), 1, i64::MAX),
            guard(Form::new(-1, &[(0, -1), (word, 1)]), 0, 1),
            guard(Form::new(0, &[(1, 1), (word, 1)]), 2, 40),
        ],
    ] {
        sketch.push(Node::Fold(Fold {
            body: step.clone(),
            red: dims(&[tokens]),
            when,
            init: Init::Word(1 << 31),
        }));
    }
    // The embedding itself: a gather whose index may be outside.
    let table = sketch.slots_read(grads, &[tokens, width], &[Form::var(word), out(1)]);
    let mut look = body(&[tokens, width], Dtype::F32, vec![table], &[], vec![]);
    look.index = vec![sketch.read(ids, &[tokens], &[out(0)], 0)];
    sketch.push(Node::Map(look));
    sketch.finish()
}

impl Sketch {
    fn slots_read(&self, node: u32, shape: &[u64], forms: &[Form]) -> Access {
        self.read(node, shape, forms, 0x7f80_0001)
    }
}

#[test]
fn scatters_and_gathers_agree() {
    for (rows, width, tokens) in [(1, 4, 9), (20, 1, 50), (7, 33, 120), (300, 5, 40)] {
        for dtype in [Dtype::U32, Dtype::I32, Dtype::U8, Dtype::I8] {
            let what = format!("scatter {rows}x{width} of {tokens} {dtype:?}");
            agree(&scatter(rows, width, tokens, dtype), &what);
        }
    }
}

#[test]
fn causal_masks_skip_terms() {
    let (n, k) = (37, 5);
    let mut rng = Rng(8);
    let mut sketch = Sketch::default();
    let x = sketch.slot(&[n, n], Dtype::F32, rng.tensor(n * n, Rng::wild));
    let v = sketch.slot(&[n, k], Dtype::F32, rng.tensor(n * k, Rng::wild));
    let reads = vec![
        sketch.read(x, &[n, n], &[out(0), red(0)], 0),
        sketch.read(v, &[n, k], &[red(0), out(1)], 0),
    ];
    let product = body(&[n, k], Dtype::F32, reads, &[], vec![Op::FFma(1, 2, 0)]);
    let row = vec![sketch.read(x, &[n, n], &[out(0), red(0)], 0)];
    let maximum = body(&[n], Dtype::F32, row, &[], vec![Op::FMax(0, 1)]);
    for (body, init) in [(product, 1 << 31), (maximum, 0xff80_0000)] {
        sketch.push(Node::Fold(Fold {
            body,
            red: dims(&[n]),
            when: vec![guard(Form::new(0, &[(0, 1), (var::RED, -1)]), 0, i64::MAX)],
            init: Init::Word(init),
        }));
    }
    agree(&sketch.finish(), "causal");
}

#[test]
fn a_fold_whose_steps_are_all_skipped_keeps_its_start() {
    let mut sketch = Sketch::default();
    let x = sketch.slot(&[50], Dtype::F32, Rng(4).tensor(50, Rng::wild));
    for dtype in [Dtype::F32, Dtype::I8, Dtype::U16] {
        let read = vec![sketch.read(x, &[50], &[out(0)], 0)];
        sketch.push(Node::Fold(Fold {
            body: body(&[50], dtype, read, &[], vec![Op::FAdd(0, 1)]),
            red: dims(&[3, 2]),
            when: vec![guard(Form::var(var::RED), 7, 9)],
            init: Init::Read(sketch.read(x, &[50], &[out(0)], 0)),
        }));
    }
    agree(&sketch.finish(), "skipped");
}

/// Windows over short rows of channels, which are gathered, periodic, strided and flipped.
#[test]
fn windows_agree_where_runs_are_short() {
    for channels in [1, 3, 8, 17] {
        let (batch, size) = (3, 6);
        let image = [batch, size, size, channels];
        let len = image.iter().product();
        let mut rng = Rng(channels);
        let mut sketch = Sketch::default();
        let x = sketch.slot(&image, Dtype::F32, rng.tensor(len, Rng::wild));
        let b = sketch.slot(&[channels], Dtype::F32, rng.tensor(channels, Rng::wild));
        let window = |d: u8, tap: u8| Form::new(-1, &[(d, 2), (var::RED + tap, 1)]);
        let forms = [out(0), window(1, 0), window(2, 1), out(3)];
        let pooled = [batch, 4, 4, channels];
        let reads = vec![sketch.read(x, &image, &forms, 0xff80_0000)];
        let step = body(&pooled, Dtype::F32, reads, &[], vec![Op::FMax(0, 1)]);
        sketch.push(fold(step, &[3, 3], Init::Word(0xff80_0000)));
        let flipped = Form::new(size as i64 - 1, &[(2, -1)]);
        let reads = vec![
            sketch.read(x, &image, &[out(0), out(1), flipped, out(3)], 0),
            sketch.read(b, &[channels], &[out(3)], 0),
        ];
        let sum = body(&image, Dtype::F32, reads, &[], vec![Op::FAdd(0, 1)]);
        sketch.push(Node::Map(sum));
        agree(&sketch.finish(), &format!("windows of {channels}"));
    }
}

/// Sums over the rows of a matrix in lanes, which are computed in another order than the output's.
#[test]
fn sums_over_rows_in_lanes_agree() {
    for (columns, lanes, steps) in [(40, 4, 3), (600, 32, 2), (16, 3, 5), (17, 300, 2)] {
        let rows = lanes * steps;
        let len = rows * columns;
        for dtype in [Dtype::F32, Dtype::U16, Dtype::I8] {
            let mut rng = Rng(columns);
            let mut sketch = Sketch::default();
            let x = sketch.slot(&[rows, columns], Dtype::F32, rng.tensor(len, Rng::wild));
            let row = Form::new(0, &[(1, 1), (var::RED, lanes as i64)]);
            let read = sketch.read(x, &[rows, columns], &[row.clone(), out(0)], 0);
            let mut sum = body(
                &[columns, lanes],
                dtype,
                vec![read],
                &[],
                vec![Op::IAdd(0, 1)],
            );
            sketch.push(fold(sum.clone(), &[steps], Init::Word(1)));
            sum.values = vec![row, Form::new(3, &[(0, 5)])];
            sum.ops = vec![Op::Xor(1, 2), Op::FAdd(4, 0), Op::ISub(5, 3)];
            let start = sketch.read(x, &[rows, columns], &[out(1), out(0)], 0);
            sketch.push(fold(sum, &[steps], Init::Read(start)));
            agree(&sketch.finish(), &format!("{columns} x {lanes} x {steps}"));
        }
    }
}

/// A chain in which every value is read late, so that a buffer given away early shows.
#[test]
fn reused_buffers_keep_what_is_still_read() {
    let mut sketch = Sketch::default();
    let lens = [40, 700, 3, 5000, 64, 1];
    let x = sketch.slot(
        &[5000],
        Dtype::U32,
        Rng(2).tensor(5000, |rng| rng.next() as u32),
    );
    let mut nodes = vec![x];
    for k in 0..40u64 {
        let len = lens[k as usize % lens.len()];
        let reads = [1, 4, 11].map(|back: usize| {
            let node = nodes[nodes.len().saturating_sub(back)];
            let extent = sketch.nodes[node as usize].len();
            sketch.read(node, &[extent], &[out(0)], k as u32)
        });
        let ops = vec![Op::IMul(0, 3), Op::Xor(4, 1), Op::ISub(5, 2)];
        let node = body(&[len], Dtype::U32, reads.to_vec(), &[0x9e37_79b1], ops);
        nodes.push(sketch.push(Node::Map(node)));
    }
    agree(&sketch.finish(), "chain");
}

/// Reductions of rows whose elements lie side by side, which many rows take at once.
#[test]
fn reductions_of_rows_agree() {
    for (rows, columns) in [(1, 9), (15, 64), (37, 130), (100, 17), (16, 700)] {
        let len = rows * columns;
        let mut rng = Rng(len);
        let mut sketch = Sketch::default();
        let x = sketch.slot(&[rows, columns], Dtype::F32, rng.tensor(len, Rng::wild));
        let y = sketch.slot(&[columns], Dtype::F32, rng.tensor(columns, Rng::tame));
        // A copy is known to be canonical, so it is read where it lies.
        let whole = [out(0), out(1)];
        let read = vec![sketch.read(x, &[rows, columns], &whole, 0)];
        let copy = body(&[rows, columns], Dtype::F32, read, &[], vec![]);
        let copy = sketch.push(Node::Map(copy));
        let row = |sketch: &Sketch, node| sketch.read(node, &[rows, columns], &[out(0), red(0)], 0);
        for op in [
            Op::FMax(0, 1),
            Op::FMin(1, 0),
            Op::FAdd(0, 1),
            Op::FMul(1, 0),
            Op::Xor(0, 1),
        ] {
            for node in [x, copy] {
                let step = body(&[rows], Dtype::F32, vec![row(&sketch, node)], &[], vec![op]);
                sketch.push(fold(step, &[columns], Init::Word(0x8000_0000)));
            }
        }
        let reads = vec![row(&sketch, copy), sketch.read(y, &[columns], &[red(0)], 0)];
        let step = body(&[rows], Dtype::F32, reads, &[], vec![Op::FFma(2, 1, 0)]);
        sketch.push(fold(step, &[columns], Init::Word(1 << 31)));
        agree(&sketch.finish(), &format!("{rows} rows of {columns}"));
    }
}

/// What looks at the bits of a NaN sees the canonical one, however it came about.
#[test]
fn bits_of_computed_nans_are_canonical() {
    let len = 400;
    let mut rng = Rng(11);
    let mut sketch = Sketch::default();
    let [x, y] = [(); 2].map(|_| {
        let bytes = rng.tensor(len, Rng::wild);
        sketch.slot(&[len], Dtype::F32, bytes)
    });
    let payload = 0xffc1_2345;
    for (shape, read) in [(len, out(0)), (20, Form::new(0, &[(0, 20), (var::RED, 1)]))] {
        let reads =
            [x, y].map(|node| sketch.read(node, &[len], std::slice::from_ref(&read), payload));
        let is_fold = shape != len;
        // Registers: the accumulator in a fold, two reads, a constant, then operations.
        let r = is_fold as u8;
        let (a, b, c, first) = (r, r + 1, r + 2, r + 3);
        let ops = vec![
            Op::FSub(a, b),
            Op::FNeg(first),
            Op::Shl(first + 1, c),
            Op::Select(first + 2, first, c),
            Op::IAdd(first + 3, first + 2),
            Op::FAbs(b),
            Op::Select(a, first + 5, first + 1),
            Op::FMin(first + 6, first),
            Op::Xor(first + 7, first + 4),
            Op::FFma(first + 8, first + 6, c),
            Op::FAdd(first + 9, 0),
        ];
        for dtype in [Dtype::F32, Dtype::U32, Dtype::U16] {
            let step = body(&[shape], dtype, reads.to_vec(), &[payload], ops.clone());
            sketch.push(match is_fold {
                true => fold(step, &[20], Init::Word(payload)),
                false => Node::Map(step),
            });
        }
    }
    agree(&sketch.finish(), "computed NaNs");
}

#[test]
fn rows_summed_in_lanes_agree() {
    for (rows, steps, lanes) in [(5, 4, 32), (70, 8, 16), (3, 2, 48), (2, 40, 16), (4, 3, 24)] {
        let n = rows * steps * lanes;
        let mut rng = Rng(n);
        let mut sketch = Sketch::default();
        let x = sketch.slot(&[n], Dtype::F32, rng.tensor(n, Rng::wild));
        let means = sketch.slot(&[rows], Dtype::F32, rng.tensor(rows, Rng::tame));
        let bytes = (0..n).map(|_| rng.next() as u8).collect();
        let bytes = sketch.slot(&[n], Dtype::I8, bytes);
        let coefs = [
            (0, (steps * lanes) as i64),
            (1, 1),
            (var::RED, lanes as i64),
        ];
        let lane = Form::new(0, &coefs);
        let read = |node| sketch.read(node, &[n], std::slice::from_ref(&lane), 0);
        let mean = || sketch.read(means, &[rows], &[out(0)], 0);
        let start = || sketch.read(x, &[n], &[Form::new(0, &coefs[..2])], 0);
        let folds = [
            (vec![read(x)], vec![Op::FAdd(0, 1)], Dtype::F32),
            (vec![read(x)], vec![Op::FMax(0, 1)], Dtype::F32),
            (vec![read(x), mean()], vec![Op::FFma(1, 2, 0)], Dtype::F32),
            (
                vec![read(x), mean()],
                vec![Op::FSub(1, 2), Op::FMul(3, 3), Op::FAdd(0, 4)],
                Dtype::F32,
            ),
            (vec![read(bytes)], vec![Op::IAdd(0, 1)], Dtype::I32),
            (vec![read(bytes)], vec![Op::IMaxS(0, 1)], Dtype::I8),
        ];
        let nodes: Vec<Node> = (folds.into_iter())
            .flat_map(|(reads, ops, dtype)| {
                let body = body(&[rows, lanes], dtype, reads, &[], ops);
                [Init::Word(1 << 31), Init::Read(start())]
                    .map(|init| fold(body.clone(), &[steps], init))
            })
            .collect();
        nodes.into_iter().for_each(|node| {
            sketch.push(node);
        });
        agree(
            &sketch.finish(),
            &format!("{rows} rows, {steps} steps, {lanes} lanes"),
        );
    }
}

/// A NaN that is not canonical, in the state that is loaded, in a later one, or from the data by
/// way of the state: who reads it reads the canonical one, and who looks at its bits sees that.
#[test]
fn payloads_from_outside_are_read_as_canonical_whenever_they_come() {
    let n = 40;
    let mut rng = Rng(9);
    let mut sketch = Sketch::default();
    let tame = [0, 1].map(|_| rng.tensor(n, Rng::tame));
    let [x, y] = tame
        .clone()
        .map(|bytes| sketch.slot(&[n], Dtype::F32, bytes));
    let records = rng.tensor(20 * n, Rng::wild);
    sketch.inputs.datasets = vec![std::sync::Arc::new(records)];
    let batch = sketch.push(Node::Source(Source::Batch {
        dataset: 0,
        batch: 1,
        record_size: 4 * n as u32,
        offset: 0,
        fields: n as u32,
        dtype: Dtype::F32,
    }));
    let reads = [x, y, batch].map(|node| sketch.read(node, &[n], &[out(0)], 0));
    let bits = vec![Op::Xor(0, 1), Op::Xor(3, 2)];
    let seen = sketch.push(Node::Map(body(&[n], Dtype::U32, reads.to_vec(), &[], bits)));
    let read = vec![sketch.read(seen, &[n], &[out(0)], 0)];
    // The next state: a map of all that was seen, and the batch itself.
    sketch.push(Node::Map(body(
        &[n],
        Dtype::F32,
        read,
        &[0x807f_ffff],
        vec![Op::And(0, 1)],
    )));
    let last = sketch.nodes[batch as usize].clone();
    sketch.push(last);
    let mut case = sketch.case();
    agree(&case, "tame state");
    case.state = [0, 1].map(|_| rng.tensor(n, Rng::wild)).to_vec();
    agree(&case, "wild state");
    let mut cpu = Cpu::new(case.job.clone(), Options::default()).unwrap();
    for state in [tame.to_vec(), case.state.clone(), tame.to_vec()] {
        let want = eval::run(&case.job.program, 5, &case.job.inputs, &state);
        cpu.load(&state).unwrap();
        assert_eq!(cpu.tensor(5, seen), want[seen as usize]);
        cpu.step(5);
        assert_eq!(cpu.state(), want[want.len() - 2..]);
    }
}

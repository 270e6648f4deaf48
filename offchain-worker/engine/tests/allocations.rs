//! A step that has run before asks for no memory.

mod common;

use common::*;
use lockstep_engine::cpu::{describe, Cpu, Options};
use lockstep_engine::Engine;
use lockstep_protocol::program::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        System.alloc(layout)
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        System.dealloc(at, layout);
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        System.realloc(at, layout, size)
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn product(sketch: &mut Sketch, shape: &[u64], reads: [Access; 2], steps: &[u64]) -> u32 {
    let sum = body(
        shape,
        Dtype::F32,
        reads.to_vec(),
        &[],
        vec![Op::FFma(1, 2, 0)],
    );
    sketch.push(fold(sum, steps, Init::Word(0)))
}

/// `x - 0.5 * change`, element by element.
fn update(sketch: &mut Sketch, x: u32, change: u32, shape: &[u64]) -> u32 {
    let forms: Vec<Form> = (0..shape.len()).map(|d| out(d as u8)).collect();
    let reads = [x, change].map(|node| sketch.read(node, shape, &forms, 0));
    let ops = vec![Op::FFma(1, 2, 0)];
    let map = body(shape, Dtype::F32, reads.to_vec(), &[0xbf00_0000], ops);
    sketch.push(Node::Map(map))
}

/// The case whose next state, instead of the state itself, is what `next` names.
fn advancing(sketch: Sketch, next: &[u32]) -> Case {
    let mut case = sketch.finish();
    let mut program = (*case.job.program).clone();
    let first = program.nodes.len() - next.len();
    for (node, next) in program.nodes[first..].iter_mut().zip(next) {
        let Node::Map(copy) = node else {
            unreachable!("the next state is copies");
        };
        copy.reads[0].node = *next;
    }
    case.job.program = Arc::new(program);
    case
}

/// A layer of a perceptron over a batch of records, with its gradient and column sums.
fn perceptron() -> Case {
    let (batch, inputs, outputs) = (48, 40, 96);
    let mut rng = Rng(1);
    let mut sketch = Sketch::default();
    let weights = [inputs, outputs];
    let w = sketch.slot(
        &weights,
        Dtype::F32,
        rng.tensor(inputs * outputs, Rng::tame),
    );
    let b = sketch.slot(&[outputs], Dtype::F32, rng.tensor(outputs, Rng::tame));
    let records = rng.tensor(4096 * inputs, Rng::tame);
    sketch.inputs.datasets = vec![Arc::new(records)];
    let x = sketch.push(Node::Source(Source::Batch {
        dataset: 0,
        batch: batch as u32,
        record_size: 4 * inputs as u32,
        offset: 0,
        fields: inputs as u32,
        dtype: Dtype::F32,
    }));
    let hidden = [batch, outputs];
    let reads = [
        sketch.read(x, &[batch, inputs], &[out(0), red(0)], 0),
        sketch.read(w, &weights, &[red(0), out(1)], 0),
    ];
    let h = product(&mut sketch, &hidden, reads, &[inputs]);
    let reads = vec![
        sketch.read(h, &hidden, &[out(0), out(1)], 0),
        sketch.read(b, &[outputs], &[out(1)], 0),
    ];
    let ops = vec![Op::FAdd(0, 1), Op::FMax(3, 2)];
    let relu = body(&hidden, Dtype::F32, reads, &[0], ops);
    let y = sketch.push(Node::Map(relu));
    let reads = [
        sketch.read(x, &[batch, inputs], &[red(0), out(0)], 0),
        sketch.read(y, &hidden, &[red(0), out(1)], 0),
    ];
    let gradient = product(&mut sketch, &weights, reads, &[batch]);
    let column = vec![sketch.read(y, &hidden, &[red(0), out(0)], 0)];
    let sums = body(&[outputs], Dtype::F32, column, &[], vec![Op::FAdd(0, 1)]);
    let sums = sketch.push(fold(sums, &[batch], Init::Word(0)));
    let w = update(&mut sketch, w, gradient, &weights);
    let b = update(&mut sketch, b, sums, &[outputs]);
    advancing(sketch, &[w, b])
}

/// Two convolutions, of which one has too many filters to be read in place, and a gradient.
fn convolution() -> Case {
    let (batch, size, channels) = (2, 8, 16);
    let mut rng = Rng(2);
    let mut sketch = Sketch::default();
    let image = [batch, size, size, channels];
    let len = image.iter().product();
    let x = sketch.slot(&image, Dtype::F32, rng.tensor(len, Rng::tame));
    let weights = |filters: u64| [3, 3, channels, filters];
    let [few, many] = [channels, 160].map(|filters| {
        let len = weights(filters).iter().product();
        let bytes = rng.tensor(len, Rng::tame);
        (filters, sketch.slot(&weights(filters), Dtype::F32, bytes))
    });
    let window = |position: u8, tap: u8| Form::new(-1, &[(position, 1), (tap, 1)]);
    let windows = [out(0), window(1, var::RED), window(2, var::RED + 1), red(2)];
    let [y, wide] = [few, many].map(|(filters, w)| {
        let reads = [
            sketch.read(x, &image, &windows, 0),
            sketch.read(w, &weights(filters), &[red(0), red(1), red(2), out(3)], 0),
        ];
        let result = [batch, size, size, filters];
        product(&mut sketch, &result, reads, &[3, 3, channels])
    });
    let taps = [
        red(0),
        window(var::RED + 1, 0),
        window(var::RED + 2, 1),
        out(2),
    ];
    let reads = [
        sketch.read(x, &image, &taps, 0),
        sketch.read(y, &image, &[red(0), red(1), red(2), out(3)], 0),
    ];
    let gradient = product(&mut sketch, &weights(channels), reads, &image[..3]);
    let reads = vec![sketch.read(wide, &[batch * size * size, 160], &[red(0), out(0)], 0)];
    let sums = body(&[160], Dtype::F32, reads, &[], vec![Op::FAdd(0, 1)]);
    let sums = sketch.push(fold(sums, &[batch * size * size], Init::Word(0)));
    let next = update(&mut sketch, few.1, gradient, &weights(channels));
    let x = update(&mut sketch, x, y, &image);
    let taps = [out(0), out(1), out(2), out(3)];
    let reads = vec![
        sketch.read(many.1, &weights(160), &taps, 0),
        sketch.read(sums, &[160], &[out(3)], 0),
    ];
    let moved = body(&weights(160), Dtype::F32, reads, &[], vec![Op::FSub(0, 1)]);
    let moved = sketch.push(Node::Map(moved));
    advancing(sketch, &[x, next, moved])
}

/// An embedding, whose gradient every token adds to the row that it names.
fn embedding() -> Case {
    let (rows, width, tokens) = (50, 24, 200);
    let mut rng = Rng(3);
    let mut sketch = Sketch::default();
    let all = [rows, width];
    let table = sketch.slot(&all, Dtype::F32, rng.tensor(rows * width, Rng::tame));
    let ids = rng.tensor(tokens, |rng| rng.below(rows) as u32);
    let ids = sketch.slot(&[tokens], Dtype::U32, ids);
    let row = Form::var(var::INDEX);
    let reads = vec![sketch.read(table, &all, &[row, out(1)], 0)];
    let mut look = body(&[tokens, width], Dtype::F32, reads, &[], vec![]);
    look.index = vec![sketch.read(ids, &[tokens], &[out(0)], 0)];
    let found = sketch.push(Node::Map(look));
    let reads = vec![sketch.read(found, &[tokens, width], &[red(0), out(1)], 0)];
    let mut add = body(&all, Dtype::F32, reads, &[], vec![Op::FAdd(0, 1)]);
    add.index = vec![sketch.read(ids, &[tokens], &[red(0)], 0)];
    let gradient = sketch.push(Node::Fold(Fold {
        body: add,
        red: dims(&[tokens]),
        when: vec![Guard {
            form: Form::new(0, &[(0, -1), (var::INDEX, 1)]),
            lo: 0.into(),
            hi: 1.into(),
        }],
        init: Init::Word(0),
    }));
    let table = update(&mut sketch, table, gradient, &all);
    advancing(sketch, &[table, ids])
}

/// Scores of which a causal mask skips steps, as a product and as a maximum of each row.
fn attention() -> Case {
    let (tokens, width) = (48, 40);
    let mut rng = Rng(4);
    let mut sketch = Sketch::default();
    let all = [tokens, width];
    let [x, v] = [tokens, width].map(|columns| {
        let bytes = rng.tensor(tokens * columns, Rng::tame);
        sketch.slot(&[tokens, columns], Dtype::F32, bytes)
    });
    let maxima = sketch.slot(&[tokens], Dtype::F32, rng.tensor(tokens, Rng::tame));
    let scores = [tokens, tokens];
    let row = sketch.read(x, &scores, &[out(0), red(0)], 0);
    let reads = vec![row.clone(), sketch.read(v, &all, &[red(0), out(1)], 0)];
    let sum = body(&all, Dtype::F32, reads, &[], vec![Op::FFma(1, 2, 0)]);
    let greatest = body(&[tokens], Dtype::F32, vec![row], &[], vec![Op::FMax(0, 1)]);
    let [sum, greatest] = [sum, greatest].map(|body| {
        sketch.push(Node::Fold(Fold {
            body,
            red: dims(&[tokens]),
            when: vec![Guard {
                form: Form::new(0, &[(0, 1), (var::RED, -1)]),
                lo: 0.into(),
                hi: i64::MAX.into(),
            }],
            init: Init::Word(0),
        }))
    });
    let v = update(&mut sketch, v, sum, &all);
    let maxima = update(&mut sketch, maxima, greatest, &[tokens]);
    advancing(sketch, &[x, v, maxima])
}

/// A product of bytes in blocks with scales.
fn quantised() -> Case {
    let (size, run) = ([40, 48, 200], 64);
    let mut sketch = Sketch::default();
    let shape = [size[0], size[1]];
    let bytes = Rng(5).tensor(shape.iter().product(), Rng::tame);
    let c = sketch.slot(&shape, Dtype::F32, bytes);
    let sums = sketch.quantised(size, run, [true, true], Rng::tame, &[0]);
    let c = update(&mut sketch, c, sums[0], &shape);
    advancing(sketch, &[c, 1, 2, 3, 4])
}

#[test]
fn a_step_that_has_run_before_allocates_nothing() {
    for (what, kernel, case) in [
        ("perceptron", "contraction", perceptron()),
        ("convolution", "contraction", convolution()),
        ("embedding", "scatter", embedding()),
        ("attention", "contraction", attention()),
        ("quantised product", "quantised contraction", quantised()),
    ] {
        let nodes = describe(&case.job.program).nodes;
        let runs = nodes.iter().any(|node| node.kernel == kernel && node.runs);
        assert!(runs, "a {kernel} in the step of the {what}");
        agree(&case, what);
        let options = Options {
            threads: Some(1),
            ..Options::default()
        };
        let mut cpu = Cpu::new(case.job.clone(), options).expect("a valid program");
        cpu.load(&case.state).expect("a state that fits");
        (0..3).for_each(|step| cpu.step(step));
        let before = ALLOCATIONS.load(Relaxed);
        (3..10).for_each(|step| cpu.step(step));
        let allocations = ALLOCATIONS.load(Relaxed) - before;
        assert_eq!(allocations, 0, "in seven steps of the {what}");
    }
}

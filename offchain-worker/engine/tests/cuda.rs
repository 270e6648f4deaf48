//! The CUDA engine on the processor: generated kernels give the reference's bytes.

mod common;
#[path = "common/shim.rs"]
mod shim;

use common::*;
use lockstep_engine::cuda::codegen::{Code, Keep, Machine};
use lockstep_engine::cuda::nvrtc::{Nvrtc, Target};
use lockstep_engine::cuda::{hash, ptx, Cuda, Gpu};
use lockstep_protocol::program::*;
use lockstep_protocol::random::{self, Size};
use lockstep_protocol::tree;
use shim::Shim;
use std::sync::Arc;

/// A device with tensor cores.
const MACHINE: Machine = Machine {
    multiprocessors: 1,
    capability: 80,
    shape: None,
};

/// Checks the engine on the processor against the reference.
fn agree_on_shim(case: &Case, machine: Machine, what: &str) {
    let engine = Cuda::new(case.job.clone(), Shim(machine)).expect("a valid job");
    agrees(case, what, [("shim".into(), engine)]);
}

fn check(seeds: std::ops::Range<u64>, size: Size) {
    for seed in seeds {
        agree_on_shim(&Case::random(seed, size), MACHINE, &format!("seed {seed}"));
    }
}

#[test]
fn small_random_programs_agree_byte_for_byte() {
    check(0..cases(12), Size::SMALL);
}

#[test]
fn large_random_programs_agree_byte_for_byte() {
    check(0..cases(12) / 2, Size::LARGE);
}

/// Compiles programs as they are, and with every node by itself, for every generation of GPUs.
#[test]
fn kernels_compile_for_every_generation_and_keep_to_exact_instructions() {
    let nvrtc = match Nvrtc::load() {
        Ok(nvrtc) => nvrtc,
        // Where the compiler was to be there, its absence is a failure.
        Err(error) if std::env::var_os("LOCKSTEP_NVRTC").is_some() => panic!("{error}"),
        Err(error) => return eprintln!("not checked: {error}"),
    };
    let random = (0..6).map(|seed| random::program(seed, Size::LARGE).program);
    let built = [products(), windows(), integers(), layers(true, true)]
        .map(|case| Program::clone(&case.job.program));
    let programs = random.chain(built);
    let sources = programs
        .flat_map(|program| {
            [Keep::Needed, Keep::Everything].map(|k| Code::new(&program, k, MACHINE).source)
        })
        .chain([hash::source()]);
    for source in sources {
        let text = source.text(&source.entries);
        // The last of the compiler's stages, which counts registers, takes the longest.
        for target in [Target::From(80), Target::Only(90), Target::From(100)] {
            let compiled = nvrtc
                .compile(&text, target)
                .unwrap_or_else(|error| panic!("{error}\n{text}"));
            for (launch, _) in &source.entries {
                assert!(compiled.ptx.contains(&format!(".entry {}(", launch.entry)));
            }
            assert!(!compiled.image.is_empty());
            if let Some((line, instruction)) = ptx::offence(&compiled.ptx) {
                panic!("{target:?}: line {line}: {instruction}\n{text}");
            }
        }
    }
}

const FMA: Op = Op::FFma(1, 2, 0);

/// Matrix products of all transposes, at sizes around every tile shape, of values that include all
/// edge cases; with initial values, and with guards on rows and on columns.
fn products() -> Case {
    let mut rng = Rng(11);
    let mut sketch = Sketch::default();
    let len = 150 * 40;
    let a = sketch.slot(&[len], Dtype::F32, rng.tensor(len, Rng::wild));
    let b = sketch.slot(&[len], Dtype::F32, rng.tensor(len, Rng::tame));
    let view = |sketch: &Sketch, node: u32, shape: &[u64], forms: &[Form]| {
        let mut read = sketch.read(node, &[len], &[Form::constant(0)], 0);
        let flat = sketch.read(node, shape, forms, 0);
        let mut stride: i64 = shape.iter().product::<u64>() as i64;
        read.axes = flat.axes;
        for (axis, extent) in read.axes.iter_mut().zip(shape) {
            stride /= *extent as i64;
            axis.stride = stride.into();
        }
        read
    };
    let sizes = [
        (8, 9, 3),
        (17, 40, 33),
        (33, 34, 17),
        (66, 65, 16),
        (130, 70, 40),
        (40, 20, 1),
    ];
    for (k, (m, n, steps)) in sizes.into_iter().enumerate() {
        for transposed in [[false, false], [true, false], [false, true], [true, true]] {
            let x = match transposed[0] {
                false => view(&sketch, a, &[m, steps], &[out(0), red(0)]),
                true => view(&sketch, a, &[steps, m], &[red(0), out(0)]),
            };
            let y = match transposed[1] {
                false => view(&sketch, b, &[steps, n], &[red(0), out(1)]),
                true => view(&sketch, b, &[n, steps], &[out(1), red(0)]),
            };
            let start = view(&sketch, a, &[n], &[out(1)]);
            let guard = |d: u8, sign: i64| Guard {
                form: Form::new(2, &[(d, sign), (var::RED, -sign)]),
                lo: 0.into(),
                hi: (i64::MAX).into(),
            };
            let (init, when) = match k % 4 {
                0 => (Init::Word(1 << 31), vec![]),
                1 => (Init::Read(start), vec![guard(0, 1)]),
                2 => (Init::Word(0x7f80_0001), vec![guard(1, -1)]),
                _ => (Init::Read(start), vec![guard(0, 1), guard(1, 1)]),
            };
            sketch.push(Node::Fold(Fold {
                body: body(&[m, n], Dtype::F32, vec![x, y], &[], vec![FMA]),
                red: dims(&[steps]),
                when,
                init,
            }));
        }
    }
    sketch.finish()
}

/// A padded, strided convolution, its input's and its weights' gradients, and a batched product
/// with the batch in the middle.
fn windows() -> Case {
    let (batch, channels, filters, size, taps) = (2, 3, 18, 9, 3);
    let mut rng = Rng(5);
    let mut sketch = Sketch::default();
    let image = [batch, size, size, channels];
    let weights = [taps, taps, channels, filters];
    let result = [batch, size, size, filters];
    let slot = |sketch: &mut Sketch, rng: &mut Rng, shape: &[u64; 4]| {
        let bytes = rng.tensor(shape.iter().product(), Rng::tame);
        sketch.slot(shape, Dtype::F32, bytes)
    };
    let x = slot(&mut sketch, &mut rng, &image);
    let w = slot(&mut sketch, &mut rng, &weights);
    let g = slot(&mut sketch, &mut rng, &result);
    let tap = |d: u8, r: u8, sign: i64| Form::new(-sign, &[(d, 1), (var::RED + r, sign)]);
    let product = |sketch: &mut Sketch, shape: &[u64], steps: &[u64], reads: Vec<Access>| {
        let sum = body(shape, Dtype::F32, reads, &[], vec![FMA]);
        sketch.push(fold(sum, steps, Init::Word(1 << 31)));
    };
    let forward = vec![
        sketch.read(
            x,
            &image,
            &[out(0), tap(1, 0, 1), tap(2, 1, 1), red(2)],
            0x8000_0000,
        ),
        sketch.read(w, &weights, &[red(0), red(1), red(2), out(3)], 0),
    ];
    product(&mut sketch, &result, &[taps, taps, channels], forward);
    let to_input = vec![
        sketch.read(
            g,
            &result,
            &[out(0), tap(1, 0, -1), tap(2, 1, -1), red(2)],
            0,
        ),
        sketch.read(w, &weights, &[red(0), red(1), out(3), red(2)], 0),
    ];
    product(&mut sketch, &image, &[taps, taps, filters], to_input);
    let at = |d: u8, r: u8| Form::new(-1, &[(d, 1), (var::RED + r, 1)]);
    let to_weights = vec![
        sketch.read(
            x,
            &image,
            &[red(0), at(0, 1), at(1, 2), out(2)],
            0x7fff_ffff,
        ),
        sketch.read(g, &result, &[red(0), red(1), red(2), out(3)], 0),
    ];
    product(&mut sketch, &weights, &[batch, size, size], to_weights);
    let heads = vec![
        sketch.read(g, &result, &[out(1), red(0), out(0), out(2)], 0),
        sketch.read(g, &result, &[out(1), red(0), red(1), out(3)], 0),
    ];
    product(
        &mut sketch,
        &[size, batch, filters, filters],
        &[size, size],
        heads,
    );
    sketch.finish()
}

/// Products of integers: of 8 bits in every transpose and with padding, and of mixed types with a
/// guard.
fn integers() -> Case {
    let mut rng = Rng(23);
    let mut sketch = Sketch::default();
    let (m, n, k) = (35, 70, 37);
    let mut slot = |sketch: &mut Sketch, shape: &[u64], dtype: Dtype| {
        let len = shape.iter().product::<u64>() * dtype.size();
        let bytes = (0..len).map(|_| rng.next() as u8).collect();
        sketch.slot(shape, dtype, bytes)
    };
    let a = slot(&mut sketch, &[m, k], Dtype::I8);
    let b = slot(&mut sketch, &[n, k], Dtype::I8);
    let c = slot(&mut sketch, &[k, n], Dtype::I8);
    let wide = slot(&mut sketch, &[k, n], Dtype::U16);
    let ops = vec![Op::IMul(1, 2), Op::IAdd(3, 0)];
    let shifted = Form::new(-3, &[(var::RED, 1)]);
    for (other, shape, forms, fill) in [
        (b, [n, k], [out(1), red(0)], 0),
        (c, [k, n], [red(0), out(1)], 0),
        (c, [k, n], [shifted, out(1)], -7i32 as u32),
        (wide, [k, n], [red(0), out(1)], 0),
    ] {
        for guarded in [false, true] {
            let x = sketch.read(a, &[m, k], &[out(0), red(0)], 0);
            let y = sketch.read(other, &shape, &forms, fill);
            let guard = Guard {
                form: Form::new(0, &[(0, 1), (var::RED, -1)]),
                lo: 0.into(),
                hi: i64::MAX.into(),
            };
            sketch.push(Node::Fold(Fold {
                body: body(&[m, n], Dtype::I32, vec![x, y], &[], ops.clone()),
                red: dims(&[k]),
                when: guarded.then_some(guard).into_iter().collect(),
                init: Init::Word(0x7fff_fff0),
            }));
        }
    }
    sketch.finish()
}

/// A device that has no tensor cores for integers.
const OLDER: Machine = Machine {
    capability: 75,
    ..MACHINE
};

#[test]
fn integer_products_agree_on_tensor_cores_and_without() {
    let case = integers();
    agree_on_shim(&case, OLDER, "integers");
    let tensor = |machine: Machine| {
        let code = Code::new(&case.job.program, Keep::Everything, machine);
        let texts = code.source.entries.into_iter().map(|(_, text)| text);
        texts.filter(|text| text.contains("Tensor<")).count()
    };
    // The one with a guard that follows rows, and those of other types, are computed as before.
    assert_eq!([tensor(OLDER), tensor(MACHINE)], [0, 3]);
    for shape in 0..4 {
        let machine = shaped(shape);
        agree_on_shim(&case, machine, &format!("integers, shape {shape}"));
    }
}

/// The shape of tile of this number, wherever it can be taken.
fn shaped(shape: usize) -> Machine {
    Machine {
        shape: Some(shape),
        ..MACHINE
    }
}

/// What layers do: batched products that are added up and go through a map, and block-scaled 8-bit
/// products whose blocks are added up in floats, at sizes that are multiples of 16 or are not, with
/// either operand transposed.
fn layers(aligned: bool, transposed: bool) -> Case {
    let mut rng = Rng(31);
    let mut sketch = Sketch::default();
    let [batches, m, n, k] = if aligned {
        [3, 48, 64, 32]
    } else {
        [3, 37, 41, 19]
    };
    let (depth, block) = if aligned { (160, 64) } else { (150, 64) };
    let blocks = 3;
    let padded = blocks * block;
    let mut slot = |sketch: &mut Sketch, shape: &[u64], dtype: Dtype| {
        let len = shape.iter().product::<u64>();
        let bytes = match dtype {
            Dtype::F32 => rng.tensor(len, Rng::tame),
            _ => (0..len * dtype.size()).map(|_| rng.next() as u8).collect(),
        };
        sketch.slot(shape, dtype, bytes)
    };
    let sides = |rows: u64, steps: u64, out_form: Form, step: Form| match transposed {
        false => ([rows, steps], [out_form, step]),
        true => ([steps, rows], [step, out_form]),
    };
    let a = slot(&mut sketch, &[batches, m, k], Dtype::F32);
    let b = slot(&mut sketch, &[batches, k, n], Dtype::F32);
    let bias = slot(&mut sketch, &[n], Dtype::F32);
    let sums = slot(&mut sketch, &[m, n], Dtype::F32);
    let position = Form::new(0, &[(0, block as i64), (var::RED, 1)]);
    let (q_shape, q_at) = sides(m, padded, out(1), position.clone());
    let (w_shape, w_at) = sides(n, padded, out(2), position.clone());
    let q = slot(&mut sketch, &q_shape, Dtype::I8);
    let w = slot(&mut sketch, &w_shape, Dtype::I8);
    let q_scale = slot(&mut sketch, &[m, blocks], Dtype::F32);
    let w_scale = slot(&mut sketch, &[blocks, n], Dtype::F32);
    let scaled = slot(&mut sketch, &[m, n], Dtype::F32);
    let slots = [a, b, bias, sums, q, w, q_scale, w_scale, scaled];

    let (a_shape, a_at) = match transposed {
        false => ([batches, m, k], [out(0), out(1), red(0)]),
        true => ([batches, k, m], [out(0), red(0), out(1)]),
    };
    let reads = vec![
        sketch.read(a, &a_shape, &a_at, 0),
        sketch.read(b, &[batches, k, n], &[out(0), red(0), out(2)], 0),
    ];
    let product = body(&[batches, m, n], Dtype::F32, reads, &[], vec![FMA]);
    let product = sketch.push(fold(product, &[k], Init::Word(1 << 31)));
    let read = sketch.read(product, &[batches, m, n], &[red(0), out(0), out(1)], 0);
    let added = body(&[m, n], Dtype::F32, vec![read], &[], vec![Op::FAdd(0, 1)]);
    let added = sketch.push(fold(added, &[batches], Init::Word(0)));

    let guard = Guard {
        form: position,
        lo: 0.into(),
        hi: (depth as i64).into(),
    };
    let reads = vec![
        sketch.read(q, &q_shape, &q_at, 0),
        sketch.read(w, &w_shape, &w_at, 0),
    ];
    let ops = vec![Op::IMul(1, 2), Op::IAdd(0, 3)];
    let integers = sketch.push(Node::Fold(Fold {
        body: body(&[blocks, m, n], Dtype::I32, reads, &[], ops),
        red: dims(&[block]),
        when: vec![guard],
        init: Init::Word(0),
    }));
    let reads = vec![
        sketch.read(integers, &[blocks, m, n], &[red(0), out(0), out(1)], 0),
        sketch.read(q_scale, &[m, blocks], &[out(0), red(0)], 0),
        sketch.read(w_scale, &[blocks, n], &[red(0), out(1)], 0),
    ];
    let ops = vec![Op::I32ToF32(1), Op::FMul(2, 3), Op::FFma(4, 5, 0)];
    let floats = body(&[m, n], Dtype::F32, reads, &[], ops);
    let floats = sketch.push(fold(floats, &[blocks], Init::Word(0)));

    for slot in slots {
        let shape = sketch.nodes[slot as usize].shape().to_vec();
        let extents: Vec<u64> = shape.iter().map(|d| d.0).collect();
        let forms: Vec<Form> = (0..shape.len()).map(|d| out(d as u8)).collect();
        let dtype = sketch.nodes[slot as usize].dtype();
        let of = match slot {
            _ if slot == sums => added,
            _ if slot == scaled => floats,
            _ => slot,
        };
        let mut reads = vec![sketch.read(of, &extents, &forms, 0)];
        let mut ops = vec![];
        if of != slot {
            reads.push(sketch.read(bias, &[n], &[out(1)], 0));
            ops = vec![Op::FAdd(0, 1), Op::FMax(3, 2)];
        }
        let consts: &[u32] = if of == slot { &[] } else { &[0x3f80_0000] };
        sketch.push(Node::Map(body(&extents, dtype, reads, consts, ops)));
    }
    sketch.case()
}

#[test]
fn layers_are_one_kernel_each_and_agree() {
    for (aligned, transposed) in [(true, false), (true, true), (false, false), (false, true)] {
        let case = layers(aligned, transposed);
        let what = format!("aligned {aligned}, transposed {transposed}");
        let code = Code::new(&case.job.program, Keep::Needed, MACHINE);
        assert_eq!(code.turns.len(), case.state.len(), "{what}");
        agree_on_shim(&case, MACHINE, &what);
        agree_on_shim(&case, OLDER, &what);
    }
    for shape in 0..5 {
        agree_on_shim(
            &layers(true, true),
            shaped(shape),
            &format!("shape {shape}"),
        );
    }
}

#[test]
fn products_agree_in_every_shape_of_tile() {
    for shape in 0..5 {
        agree_on_shim(&products(), shaped(shape), &format!("shape {shape}"));
    }
}

/// Folds that threads share: maxima of rows, sums of integers with a guard and a start, few elements
/// of many steps; and a maximum of columns, which is left to one thread each.
fn joins() -> Case {
    let mut rng = Rng(41);
    let mut sketch = Sketch::default();
    let [rows, columns] = [9, 150];
    let a = rng.tensor(rows * columns, Rng::wild);
    let a = sketch.slot(&[rows, columns], Dtype::F32, a);
    let words = |rng: &mut Rng| rng.next() as u32;
    let b = rng.tensor(rows * columns, words);
    let b = sketch.slot(&[rows, columns], Dtype::I32, b);
    for op in [Op::FMax(0, 1), Op::FMin(1, 0)] {
        let read = sketch.read(a, &[rows, columns], &[out(0), red(0)], 0);
        let joined = body(&[rows], Dtype::F32, vec![read], &[], vec![op]);
        sketch.push(fold(joined, &[columns], Init::Word(0xff80_0000)));
    }
    let absolute = sketch.read(a, &[rows, columns], &[red(0), out(0)], 0);
    let ops = vec![Op::FAbs(1), Op::FMax(2, 0)];
    let joined = body(&[columns], Dtype::F32, vec![absolute], &[], ops);
    sketch.push(fold(joined, &[rows], Init::Word(0)));
    let all = sketch.read(b, &[rows, columns], &[red(0), red(1)], 0);
    for op in [
        Op::IAdd(0, 1),
        Op::Xor(1, 0),
        Op::IMul(0, 1),
        Op::IMaxS(0, 1),
        Op::IMinU(0, 1),
        Op::And(0, 1),
    ] {
        let joined = body(&[1], Dtype::I32, vec![all.clone()], &[], vec![op]);
        sketch.push(Node::Fold(Fold {
            body: joined,
            red: dims(&[rows, columns]),
            when: vec![Guard {
                form: Form::new(0, &[(var::RED, 1), (var::RED + 1, -1)]),
                lo: (-90).into(),
                hi: 5.into(),
            }],
            init: Init::Word(77),
        }));
    }
    sketch.finish()
}

/// The gradients of embeddings: entries of a list are added to the rows that they name.
fn embeddings() -> Case {
    let mut rng = Rng(43);
    let mut sketch = Sketch::default();
    let entries = 600;
    let ids: Vec<u8> = (0..entries)
        .flat_map(|_| (rng.below(14) as u16).to_le_bytes())
        .collect();
    let ids = sketch.slot(&[entries], Dtype::U16, ids);
    for width in [1, 70, 300, 2100] {
        let values = rng.tensor(entries * width, Rng::wild);
        let hash = tree::hash(&values);
        sketch.inputs.constants.insert(hash, Arc::new(values));
        let values = sketch.push(Node::Source(Source::Constant {
            shape: dims(&[entries, width]),
            dtype: Dtype::F32,
            hash,
        }));
        let read = sketch.read(values, &[entries, width], &[red(0), out(1)], 0);
        let mut taken = body(
            &[12, width],
            Dtype::F32,
            vec![read],
            &[],
            vec![Op::FAdd(0, 1)],
        );
        taken.index = vec![sketch.read(ids, &[entries], &[red(0)], 0)];
        sketch.push(Node::Fold(Fold {
            body: taken,
            red: dims(&[entries]),
            when: vec![Guard {
                form: Form::new(0, &[(var::INDEX, 1), (0, -1)]),
                lo: 0.into(),
                hi: 1.into(),
            }],
            init: Init::Word(1 << 31),
        }));
    }
    sketch.finish()
}

#[test]
fn threads_share_what_has_no_order_and_look_lists_up_together() {
    for (case, barriers) in [(joins(), 8), (embeddings(), 4)] {
        let code = Code::new(&case.job.program, Keep::Everything, MACHINE);
        let together = code.turns.iter().filter(|turn| turn.launch.barriers);
        assert_eq!(together.count(), barriers);
        agree_on_shim(&case, MACHINE, "threads that work together");
    }
}

/// What a softmax and a normalisation do: a row's maximum, differences, lanes and their sum, quotients;
/// and the statistics, which others need as well.
fn rows() -> Case {
    let mut rng = Rng(47);
    let mut sketch = Sketch::default();
    let [rows, columns, lanes] = [20, 72, 8];
    let values = rng.tensor(rows * columns, Rng::wild);
    let x = sketch.slot(&[4, 5, columns], Dtype::F32, values);
    let gains = rng.tensor(columns, Rng::tame);
    let gain = sketch.slot(&[columns], Dtype::F32, gains);
    let zeros = |len: u64| vec![0; len as usize * 4];
    sketch.slot(&[4, 5, columns], Dtype::F32, zeros(rows * columns));
    sketch.slot(&[rows], Dtype::F32, zeros(rows));
    let flat = |sketch: &Sketch, node: u32, column: Form| {
        sketch.read(node, &[rows, columns], &[out(0), column], 0)
    };
    let read = flat(&sketch, x, red(0));
    let most = body(&[rows], Dtype::F32, vec![read], &[], vec![Op::FMax(0, 1)]);
    let most = sketch.push(fold(most, &[columns], Init::Word(0xff80_0000)));
    let whole = |sketch: &Sketch, node: u32| {
        sketch.read(node, &[4, 5, columns], &[out(0), out(1), out(2)], 0)
    };
    let of_row = |sketch: &Sketch, node: u32| sketch.read(node, &[4, 5], &[out(0), out(1)], 0);
    let reads = vec![whole(&sketch, x), of_row(&sketch, most)];
    let ops = vec![Op::FSub(0, 1), Op::FMul(2, 2)];
    let apart = body(&[4, 5, columns], Dtype::F32, reads, &[], ops);
    let apart = sketch.push(Node::Map(apart));
    let lane = Form::new(0, &[(var::RED, lanes as i64), (1, 1)]);
    let read = flat(&sketch, apart, lane);
    let part = body(
        &[rows, lanes],
        Dtype::F32,
        vec![read],
        &[],
        vec![Op::FAdd(0, 1)],
    );
    let part = sketch.push(fold(part, &[columns / lanes], Init::Word(0)));
    let read = sketch.read(part, &[rows, lanes], &[out(0), red(0)], 0);
    let sum = body(&[rows], Dtype::F32, vec![read], &[], vec![Op::FAdd(0, 1)]);
    let sum = sketch.push(fold(sum, &[lanes], Init::Word(0)));
    // The next state.
    let copy = vec![whole(&sketch, x)];
    sketch.push(Node::Map(body(
        &[4, 5, columns],
        Dtype::F32,
        copy,
        &[],
        vec![],
    )));
    let copy = vec![sketch.read(gain, &[columns], &[out(0)], 0)];
    sketch.push(Node::Map(body(&[columns], Dtype::F32, copy, &[], vec![])));
    let reads = vec![
        whole(&sketch, apart),
        of_row(&sketch, sum),
        sketch.read(gain, &[columns], &[out(2)], 0),
    ];
    let ops = vec![Op::FDiv(0, 1), Op::FMul(3, 2)];
    let shares = body(&[4, 5, columns], Dtype::F32, reads, &[], ops);
    sketch.push(Node::Map(shares));
    let reads = [most, sum].map(|node| sketch.read(node, &[rows], &[out(0)], 0));
    let both = body(
        &[rows],
        Dtype::F32,
        reads.to_vec(),
        &[],
        vec![Op::FAdd(0, 1)],
    );
    sketch.push(Node::Map(both));
    sketch.case()
}

#[test]
fn rows_are_read_and_written_once() {
    let case = rows();
    let code = Code::new(&case.job.program, Keep::Needed, MACHINE);
    // Two copies, and all that works on rows.
    assert_eq!(code.turns.len(), 3);
    assert_eq!(code.turns[2].writes.len(), 2);
    assert_eq!(code.turns[2].reads, [0, 1]);
    agree_on_shim(&case, MACHINE, "rows");
}

#[test]
fn rows_of_one_width_share_a_kernel_however_many_they_are() {
    let columns = 72;
    let mut rng = Rng(53);
    let mut sketch = Sketch::default();
    let matrices = [20, 40].map(|rows| {
        let bytes = rng.tensor(rows * columns, Rng::tame);
        (rows, sketch.slot(&[rows, columns], Dtype::F32, bytes))
    });
    let greatest = matrices.map(|(rows, x)| {
        let read = sketch.read(x, &[rows, columns], &[out(0), red(0)], 0);
        let most = body(&[rows], Dtype::F32, vec![read], &[], vec![Op::FMax(0, 1)]);
        sketch.push(fold(most, &[columns], Init::Word(0xff80_0000)))
    });
    for ((rows, x), most) in matrices.into_iter().zip(greatest) {
        let shape = [rows, columns];
        let reads = vec![
            sketch.read(x, &shape, &[out(0), out(1)], 0),
            sketch.read(most, &[rows], &[out(0)], 0),
        ];
        let below = body(&shape, Dtype::F32, reads, &[], vec![Op::FSub(0, 1)]);
        sketch.push(Node::Map(below));
    }
    let case = sketch.case();
    let code = Code::new(&case.job.program, Keep::Needed, MACHINE);
    let [few, many] = &code.turns[..] else {
        let writes = code.turns.iter().map(|turn| &turn.writes);
        panic!(
            "a kernel for each matrix, not {:?}",
            writes.collect::<Vec<_>>()
        );
    };
    assert_eq!(few.launch.entry, many.launch.entry);
    assert_ne!(few.launch.grid, many.launch.grid);
    agree_on_shim(&case, MACHINE, "heights");
}

#[test]
fn the_state_is_hashed_where_it_lies() {
    let lens = [
        1,
        3,
        64,
        65,
        1023,
        1024,
        1025,
        2048,
        3000,
        5 * 1024,
        17 * 1024 + 1,
    ];
    let mut sketch = Sketch::default();
    for len in lens {
        let bytes = (0..len).map(|i| (i * 7 + i / 251) as u8).collect();
        sketch.slot(&[len], Dtype::U8, bytes);
    }
    agree_on_shim(&sketch.finish(), MACHINE, "hashes");
}

#[test]
fn products_are_computed_in_tiles() {
    let program = products().job.program.clone();
    let folds = program
        .nodes
        .iter()
        .filter(|node| matches!(node, Node::Fold(_)))
        .count();
    let code = Code::new(&program, Keep::Everything, MACHINE);
    let tiles = code
        .turns
        .iter()
        .filter(|turn| turn.launch.barriers)
        .count();
    assert_eq!(tiles, folds);
}

#[test]
fn convolutions_and_batched_products_agree() {
    agree_on_shim(&windows(), MACHINE, "windows");
}

/// What `--device` does on this machine.
#[test]
fn a_machine_without_a_gpu_is_told_what_was_looked_for() {
    match Gpu::open(u32::MAX) {
        Ok(_) => panic!("no machine has so many GPUs"),
        Err(error) => {
            let error = error.to_string();
            assert!(
                error.contains("libcuda") || error.contains("GPU"),
                "{error}"
            );
        }
    }
}

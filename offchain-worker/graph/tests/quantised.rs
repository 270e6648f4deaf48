//! Linear layers in block-scaled 8-bit integers.

mod support;

use lockstep_engine::{cpu, Engine, Job};
use lockstep_graph::{
    lower::lower,
    recipe::{Recipe, Task},
    training::metric,
    Graph, Precision, Value,
};
use lockstep_protocol::{
    eval::{self, Inputs},
    game::{Game, Side},
    program::{Dtype, Node, Program},
    random::Case,
    rehearsal::{honest_challenger, honest_defender, play, Fault, Run},
};
use std::{collections::BTreeMap, path::Path, sync::Arc};
use support::{assert_close, engine, words, Bench, Tensor};

/// A matrix of f32, row-major.
#[derive(Clone)]
struct Matrix {
    rows: usize,
    columns: usize,
    data: Vec<f32>,
}

impl Matrix {
    fn new(tensor: &Tensor) -> Matrix {
        let (columns, leading) = tensor.shape.split_last().unwrap();
        Matrix {
            rows: leading.iter().product(),
            columns: *columns,
            data: tensor.data.iter().map(|&x| x as f32).collect(),
        }
    }

    fn transposed(&self) -> Matrix {
        let at = |k: usize| self.data[k % self.rows * self.columns + k / self.rows];
        Matrix {
            rows: self.columns,
            columns: self.rows,
            data: (0..self.data.len()).map(at).collect(),
        }
    }

    /// The integer and the scale of every element, where blocks have `block` rows and columns.
    fn quantised(&self, block: [usize; 2]) -> Vec<(i32, f32)> {
        let of = |k: usize| (k / self.columns / block[0], k % self.columns / block[1]);
        let mut greatest = BTreeMap::new();
        for (k, x) in self.data.iter().enumerate() {
            let greatest = greatest.entry(of(k)).or_insert(0f32);
            *greatest = match greatest.is_nan() || x.is_nan() {
                true => f32::NAN,
                false => greatest.max(x.abs()),
            };
        }
        let element = |k: usize| {
            let scale = greatest[&of(k)] / 127.0;
            let quotient = self.data[k] / scale;
            let word = match quotient.is_nan() {
                true => 0,
                false => quotient.clamp(-127.0, 127.0).round_ties_even() as i32,
            };
            (word, scale)
        };
        (0..self.data.len()).map(element).collect()
    }
}

/// `a[i, k] * b[k, j]` summed over k by the formula, where `blocks` are those of the operands.
fn product(a: &Matrix, b: &Matrix, blocks: [[usize; 2]; 2]) -> Matrix {
    assert_eq!(a.columns, b.rows);
    let (qa, qb) = (a.quantised(blocks[0]), b.quantised(blocks[1]));
    let mut data = Vec::new();
    for i in 0..a.rows {
        for j in 0..b.columns {
            let mut total = 0f32;
            for first in (0..a.columns).step_by(256) {
                let mut sum = 0i32;
                for k in first..a.columns.min(first + 256) {
                    sum += qa[i * a.columns + k].0 * qb[k * b.columns + j].0;
                }
                assert!(sum.abs() < 1 << 22, "an f32 holds the sum");
                let (_, scale_a) = qa[i * a.columns + first];
                let (_, scale_b) = qb[first * b.columns + j];
                total = (sum as f32).mul_add(scale_a * scale_b, total);
            }
            data.push(total);
        }
    }
    Matrix {
        rows: a.rows,
        columns: b.columns,
        data,
    }
}

const ROW: [usize; 2] = [1, 256];
const COLUMN: [usize; 2] = [256, 1];
const SQUARE: [usize; 2] = [256, 256];

/// Output, gradient towards x and gradient towards the weight, by the formula.
fn formula(x: &Matrix, weight: &Matrix, upstream: &Matrix) -> [Matrix; 3] {
    [
        product(x, weight, [ROW, SQUARE]),
        product(upstream, &weight.transposed(), [ROW, SQUARE]),
        product(&x.transposed(), upstream, [ROW, COLUMN]),
    ]
}

/// The same in 64-bit floats.
fn exact(x: &Matrix, weight: &Matrix, upstream: &Matrix) -> [Vec<f64>; 3] {
    let multiply = |a: &Matrix, b: &Matrix| {
        let at = |i: usize, j: usize| {
            let term =
                |k: usize| a.data[i * a.columns + k] as f64 * b.data[k * b.columns + j] as f64;
            (0..a.columns).map(term).sum::<f64>()
        };
        let positions = (0..a.rows * b.columns).map(|p| at(p / b.columns, p % b.columns));
        positions.collect::<Vec<f64>>()
    };
    [
        multiply(x, weight),
        multiply(upstream, &weight.transposed()),
        multiply(&x.transposed(), upstream),
    ]
}

/// `x` times `weight`, the direction of its gradient, and the gradients.
fn layer(bench: &mut Bench, x: &Tensor, weight: &Tensor, upstream: &Tensor) -> [Value; 3] {
    let (a, b) = (bench.input(x), bench.input(weight));
    let graph = &mut bench.graph;
    let y = graph.matmul_int8(a, b);
    let [towards_a, towards_b] = gradients(graph, y, upstream, [a, b]);
    [y, towards_a, towards_b]
}

/// What `upstream`, the gradient towards `y`, is towards `targets`.
fn gradients(graph: &mut Graph, y: Value, upstream: &Tensor, targets: [Value; 2]) -> [Value; 2] {
    let direction: Vec<f32> = upstream.data.iter().map(|&x| x as f32).collect();
    let direction = graph.constant_f32(&upstream.shape, &direction);
    let weighted = graph.mul(y, direction);
    let axes: Vec<usize> = (0..upstream.shape.len()).collect();
    let loss = graph.sum(weighted, &axes);
    graph.gradients(loss, &targets).try_into().unwrap()
}

fn bytes(matrix: &Matrix) -> Vec<u8> {
    let word = |x: &f32| match x.is_nan() {
        true => 0x7fc0_0000u32.to_le_bytes(),
        false => x.to_le_bytes(),
    };
    matrix.data.iter().flat_map(word).collect()
}

/// Operands of a layer whose rows are `leading`, and a gradient towards its output.
fn operands(leading: &[usize], inputs: usize, outputs: usize) -> [Tensor; 3] {
    [
        Tensor::random(&[leading, &[inputs]].concat(), -3.0, 3.0, 1),
        Tensor::random(&[inputs, outputs], -0.2, 0.2, 2),
        Tensor::random(&[leading, &[outputs]].concat(), -1e-4, 1e-4, 3),
    ]
}

fn assert_formula(what: &str, tensors: [Tensor; 3]) {
    let [x, weight, upstream] = &tensors;
    let want = formula(
        &Matrix::new(x),
        &Matrix::new(weight),
        &Matrix::new(upstream),
    );
    let mut bench = Bench::default();
    let outputs = layer(&mut bench, x, weight, upstream);
    let got = bench.run(&outputs, 0);
    for (name, (got, want)) in ["output", "towards x", "towards the weight"]
        .iter()
        .zip(got.iter().zip(&want))
    {
        assert!(*got == bytes(want), "{name} of {what}");
    }
}

#[test]
fn products_and_gradients_are_those_of_the_formula_bit_for_bit() {
    for (leading, inputs, outputs) in [
        (&[1][..], 1, 1),
        (&[3], 5, 7),
        (&[2], 1, 9),
        (&[7], 256, 3),
        (&[4], 257, 2),
        (&[3], 300, 270),
        (&[2, 3], 40, 5),
        (&[2, 1, 3], 8, 300),
        (&[260], 6, 4),
        (&[3], 515, 1),
    ] {
        let what = format!("{leading:?} x {inputs} x {outputs}");
        assert_formula(&what, operands(leading, inputs, outputs));
    }
}

#[test]
fn blocks_of_zeros_subnormals_infinities_and_nans_have_defined_products() {
    let special = |stream: u32, shape: &[usize]| {
        let mut tensor = Tensor::random(shape, -1.0, 1.0, stream);
        let columns = shape[1];
        let numbers = [
            0.0,
            -0.0,
            3e-45,
            1e-43,
            -2e-40,
            f64::INFINITY,
            f64::NAN,
            3e38,
        ];
        for (k, x) in tensor.data.iter_mut().enumerate() {
            let row = k / columns;
            // Rows of one kind each, so that some blocks have nothing else; the last are random.
            if row < numbers.len() && (k % columns + stream as usize).is_multiple_of(row + 1) {
                *x = numbers[row];
            } else if row < 5 {
                *x = 0.0;
            }
        }
        tensor
    };
    let tensors = [
        special(1, &[10, 300]),
        special(2, &[300, 20]),
        special(3, &[10, 20]),
    ];
    assert_formula("special numbers", tensors);
    let zeros = [
        Tensor::zeros(&[4, 300]),
        Tensor::random(&[300, 3], -1.0, 1.0, 1),
        Tensor::random(&[4, 3], -1.0, 1.0, 2),
    ];
    assert_formula("zeros", zeros);
}

#[test]
fn a_transposed_weight_gives_the_same_numbers_and_its_gradient_as_it_lies() {
    let [x, weight, upstream] = operands(&[3], 300, 270);
    let lying = Tensor::from_fn(&[270, 300], |at| weight.at(&[at[1], at[0]]));
    let mut bench = Bench::default();
    let (a, b) = (bench.input(&x), bench.input(&lying));
    let standing = bench.graph.transpose(b);
    let y = bench.graph.matmul_int8(a, standing);
    let towards = gradients(&mut bench.graph, y, &upstream, [a, b]);
    let got = bench.run(&[y, towards[0], towards[1]], 0);
    let want = formula(
        &Matrix::new(&x),
        &Matrix::new(&weight),
        &Matrix::new(&upstream),
    );
    assert!(got[0] == bytes(&want[0]), "output");
    assert!(got[1] == bytes(&want[1]), "towards x");
    assert!(got[2] == bytes(&want[2].transposed()), "towards the weight");
}

#[test]
fn the_error_is_bounded_by_half_a_step_of_either_operand() {
    for (rows, inputs, outputs) in [(5, 64, 6), (4, 300, 9), (3, 700, 5)] {
        let tensors = operands(&[rows], inputs, outputs);
        let [x, weight, upstream] = [0, 1, 2].map(|k: usize| Matrix::new(&tensors[k]));
        let want = exact(&x, &weight, &upstream);
        let got = formula(&x, &weight, &upstream);
        let pairs = [
            (&x, weight.clone(), [ROW, SQUARE]),
            (&upstream, weight.transposed(), [ROW, SQUARE]),
            (&x.transposed(), upstream.clone(), [ROW, COLUMN]),
        ];
        for ((got, want), (a, b, blocks)) in got.iter().zip(&want).zip(pairs) {
            let (qa, qb) = (a.quantised(blocks[0]), b.quantised(blocks[1]));
            let (mut error, mut size) = (0.0, 0.0);
            for (p, (g, w)) in got.data.iter().zip(want).enumerate() {
                let (i, j) = (p / b.columns, p % b.columns);
                let term = |k: usize| {
                    let (s, t) = (qa[i * a.columns + k].1, qb[k * b.columns + j].1);
                    let (x, y) = (a.data[i * a.columns + k], b.data[k * b.columns + j]);
                    let [s, t, x, y] = [s, t, x, y].map(|v| v.abs() as f64 / 2.0);
                    // (x + s)(y + t) - xy, with x, y, s and t the halves of magnitudes and steps.
                    2.0 * x * t + 2.0 * y * s + s * t
                };
                let bound: f64 = (0..a.columns).map(term).sum();
                let off = (*g as f64 - w).abs();
                assert!(off <= bound * 1.0001, "{off} of at most {bound}");
                error += off * off;
                size += w * w;
            }
            let relative = (error / size).sqrt();
            assert!(relative < 0.02, "relative error {relative}");
        }
    }
}

#[test]
fn a_layer_computes_its_bias_in_floats_and_picks_its_precision() {
    let [x, weight, _] = operands(&[4], 20, 6);
    let bias = Tensor::random(&[6], -1.0, 1.0, 9);
    let run = |precision: Precision| {
        let mut bench = Bench::default();
        let [x, weight, bias] = [&x, &weight, &bias].map(|t| bench.input(t));
        let y = bench.graph.linear_in(precision, x, weight, Some(bias));
        bench.numbers(&[y]).remove(0)
    };
    let (float, int8) = (run(Precision::Float32), run(Precision::Int8));
    assert_ne!(float, int8, "the precisions round differently");
    assert_close("int8", &int8, &float, 0.03);
}

/// A program whose slots are `x` and `weight`, moved against the gradient of a sum of squares.
fn descent(
    leading: &[usize],
    inputs: usize,
    outputs: usize,
    transposed: bool,
) -> (Program, Vec<Vec<u8>>) {
    let x = Tensor::random(&[leading, &[inputs]].concat(), -1.0, 1.0, inputs as u32);
    let shape = if transposed {
        [outputs, inputs]
    } else {
        [inputs, outputs]
    };
    let weight = Tensor::random(&shape, -1.0, 1.0, outputs as u32);
    let mut graph = Graph::new();
    let (first, a) = graph.state(&x.shape, Dtype::F32);
    let (second, b) = graph.state(&weight.shape, Dtype::F32);
    let w = if transposed { graph.transpose(b) } else { b };
    let y = graph.matmul_int8(a, w);
    let squares = graph.mul(y, y);
    let axes: Vec<usize> = (0..leading.len() + 1).collect();
    let loss = graph.sum(squares, &axes);
    let gradients = graph.gradients(loss, &[a, b]);
    let moved = [(a, gradients[0]), (b, gradients[1])].map(|(v, gradient)| {
        let step = graph.scale(gradient, -1e-3);
        graph.add(v, step)
    });
    let program = lower(&graph, &[(first, moved[0]), (second, moved[1])]).unwrap();
    (program, vec![x.bytes(), weight.bytes()])
}

#[test]
fn the_cpu_engine_computes_every_node_as_the_protocol_does() {
    for number in 0..24u32 {
        let pick = |k: u32, below: usize| {
            lockstep_protocol::philox::stream(6, number, k as u64)[0] as usize % below + 1
        };
        let leading = vec![pick(0, 5), pick(1, 30)];
        let (inputs, outputs) = (pick(2, 90), pick(3, 90));
        // Some with several blocks along one axis.
        let (inputs, outputs) = match number % 4 {
            0 => (inputs + 256, outputs),
            1 => (inputs, outputs + 256),
            _ => (inputs, outputs),
        };
        let (program, state) = descent(&leading, inputs, outputs, number % 3 == 0);
        let what = format!("{leading:?} x {inputs} x {outputs}");
        let want = eval::run(&program, 0, &Inputs::default(), &state);
        let job = Job {
            program: Arc::new(program.clone()),
            inputs: Inputs::default(),
        };
        let mut cpu = cpu::Cpu::new(job, cpu::Options::default()).unwrap();
        cpu.load(&state).unwrap();
        cpu.trace(0, &mut |node, bytes| {
            assert!(bytes == &want[node as usize][..], "{what}, node {node}");
        });
        cpu.step(0);
        assert_eq!(cpu.state(), want[program.next_state()], "{what}");
    }
}

/// The folds that sum products of integers.
fn integer_folds(program: &Program) -> Vec<u32> {
    let sums = |node: &Node| matches!(node, Node::Fold(_)) && node.dtype() == Dtype::I32;
    let numbered = (0..).zip(&program.nodes);
    numbered
        .filter(|(_, node)| sums(node))
        .map(|(n, _)| n)
        .collect()
}

#[test]
fn an_error_planted_in_an_integer_fold_is_found_in_a_dispute() {
    let case = || {
        let (program, state) = descent(&[3], 270, 4, false);
        Case {
            program,
            inputs: Inputs::default(),
            state,
            batch: 1,
            record_sizes: vec![],
        }
    };
    let honest = Run::new(case(), 2, 1, None);
    let folds = integer_folds(&honest.program);
    assert_eq!(folds.len(), 3, "output and both gradients");
    for node in folds {
        let fold = &honest.program.nodes[node as usize];
        let fault = Fault::Accumulator {
            step: 1,
            node,
            element: fold.len() / 2,
            r: fold.reduction() / 2,
        };
        let liar = Run::new(case(), 2, 1, Some(fault));
        assert_ne!(liar.commitment(), honest.commitment(), "node {node}");
        let mut game = Game::new(&liar.spec, &liar.commitment());
        play(
            &mut game,
            honest_defender(&liar),
            honest_challenger(&honest, None),
        );
        assert_eq!(game.winner(), Some(Side::Challenger), "node {node}");
    }
}

#[test]
fn layers_of_large_models_fit_the_limits_of_programs() {
    // A projection to a vocabulary, for 16 texts of 1024 words.
    let mut graph = Graph::new();
    let (first, x) = graph.state(&[16, 1024, 4096], Dtype::F32);
    let (second, weight) = graph.state(&[4096, 50_257], Dtype::F32);
    let y = graph.matmul_int8(x, weight);
    let loss = graph.mean(y, &[0, 1, 2]);
    let gradients = graph.gradients(loss, &[x, weight]);
    lower(&graph, &[(first, gradients[0]), (second, gradients[1])]).unwrap();
}

fn task(example: &str, replaced: &[(&str, &str)]) -> Task {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples"));
    let path = folder.join(example);
    let mut text = std::fs::read_to_string(&path).unwrap();
    for (from, to) in replaced {
        assert!(text.contains(from), "{from} in {example}");
        text = text.replace(from, to);
    }
    let recipe = Recipe::from_toml(&text).unwrap();
    recipe.build(path.parent().unwrap()).unwrap()
}

/// The running mean of the training loss after the last step, and the mean loss and the share of
/// right answers over the test records.
fn outcome(task: &Task) -> [f64; 3] {
    let mut training = engine::start(&task.built, &task.train, task.seed);
    let trained = engine::run(&mut training, &task.built.genesis(), task.steps);
    let loss = engine::float(&task.built, &trained, metric::LOSS);
    let pass = task.evaluation.as_ref().unwrap();
    let state = pass.built.adopt(&task.built.slots, &trained).unwrap();
    let mut evaluation = engine::start(&pass.built, &pass.test, task.seed);
    let judged = engine::run(&mut evaluation, &state, pass.steps);
    let word = |name| words(&judged[pass.built.slot(name).unwrap()])[0] as f64;
    let seen = word(metric::SEEN);
    let held_out = engine::float(&pass.built, &judged, metric::LOSS_SUM) / seen;
    [loss, held_out, word(metric::CORRECT) / seen]
}

/// The outcomes of an example in floats and in integers.
fn both(example: &str, replaced: &[(&str, &str)]) -> [[f64; 3]; 2] {
    ["float32", "int8"].map(|precision| {
        let precision = format!("precision = \"{precision}\"\ninput = ");
        let task = task(example, &[replaced, &[("input = ", &precision)]].concat());
        outcome(&task)
    })
}

#[test]
fn a_perceptron_learns_in_integers_as_well_as_in_floats() {
    let [float, int8] = both("digits/mlp.toml", &[]);
    assert_ne!(float, int8, "the recipe's precision reaches the layers");
    println!("float32 {float:?}, int8 {int8:?}");
    assert!(int8[0] < 0.05 && int8[2] >= 0.95, "{int8:?}, {float:?}");
}

#[test]
fn a_transformer_learns_in_integers_as_well_as_in_floats() {
    let [float, int8] = both("gpt/gpt.toml", &[("steps = 800", "steps = 60")]);
    assert_ne!(float, int8, "the recipe's precision reaches the layers");
    println!("float32 {float:?}, int8 {int8:?}");
    assert!(
        (int8[1] - float[1]).abs() < 0.03 * float[1],
        "{int8:?}, {float:?}"
    );
}

#[test]
fn a_layer_may_choose_its_own_precision() {
    let integer = |replaced: &[(&str, &str)]| {
        integer_folds(&task("digits/mlp.toml", replaced).built.program).len()
    };
    let own = ("outputs = 64\n", "outputs = 64\nprecision = \"int8\"\n");
    let whole = ("input = ", "precision = \"int8\"\ninput = ");
    let not = ("outputs = 64\n", "outputs = 64\nprecision = \"float32\"\n");
    assert_eq!(integer(&[]), 0);
    assert_eq!(integer(&[own]), 3, "output, towards x, towards the weight");
    // Nobody wants the gradient towards the images.
    assert_eq!(integer(&[whole]), 8);
    assert_eq!(integer(&[whole, not]), 5);
}

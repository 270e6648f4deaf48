//! Tensors of f64, and programs run on f32 beside them.
#![allow(dead_code)] // Every test file uses its own part.

pub mod engine;

use lockstep_graph::{lower::lower, Built, Conv2d, Graph, Pool2d, State, Value};
use lockstep_protocol::{
    eval::{self, Blob, Inputs},
    philox,
    program::{Dtype, Program},
};
use std::sync::Arc;

/// The seed that programs run under.
pub const SEED: u64 = 0x0123_4567_89ab_cdef;

/// A tensor of the independent implementation.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

impl Tensor {
    pub fn new(shape: &[usize], data: Vec<f64>) -> Tensor {
        assert_eq!(shape.iter().product::<usize>(), data.len());
        Tensor {
            shape: shape.to_vec(),
            data,
        }
    }

    pub fn zeros(shape: &[usize]) -> Tensor {
        Tensor::new(shape, vec![0.0; shape.iter().product()])
    }

    /// Numbers in `low..high` that f32 holds, different for every `stream`.
    pub fn random(shape: &[usize], low: f64, high: f64, stream: u32) -> Tensor {
        let words = (0..).flat_map(|k| philox::stream(77, stream, k));
        let number = |word: u32| (low + (high - low) * word as f64 / 2f64.powi(32)) as f32 as f64;
        let data = words.take(shape.iter().product()).map(number).collect();
        Tensor::new(shape, data)
    }

    pub fn from_fn(shape: &[usize], f: impl Fn(&[usize]) -> f64) -> Tensor {
        let data = positions(shape).iter().map(|at| f(at)).collect();
        Tensor::new(shape, data)
    }

    fn offset(&self, at: &[usize]) -> usize {
        assert_eq!(at.len(), self.shape.len());
        at.iter().zip(&self.shape).fold(0, |offset, (&i, &d)| {
            assert!(i < d);
            offset * d + i
        })
    }

    pub fn at(&self, at: &[usize]) -> f64 {
        self.data[self.offset(at)]
    }

    pub fn add(&mut self, at: &[usize], x: f64) {
        let offset = self.offset(at);
        self.data[offset] += x;
    }

    /// The element that broadcasting to a larger shape puts at `at`.
    pub fn broadcast_at(&self, at: &[usize]) -> f64 {
        self.at(&self.source(at))
    }

    /// Where broadcasting to a larger shape takes the element at `at` from.
    pub fn source(&self, at: &[usize]) -> Vec<usize> {
        let at = &at[at.len() - self.shape.len()..];
        at.iter()
            .zip(&self.shape)
            .map(|(&i, &d)| if d == 1 { 0 } else { i })
            .collect()
    }

    pub fn map(&self, f: impl Fn(f64) -> f64) -> Tensor {
        Tensor::new(&self.shape, self.data.iter().map(|&x| f(x)).collect())
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.data
            .iter()
            .flat_map(|&x| (x as f32).to_le_bytes())
            .collect()
    }
}

/// Every position of a tensor, row-major.
pub fn positions(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for &d in shape {
        let longer = |at: Vec<usize>| (0..d).map(move |i| [&at[..], &[i]].concat());
        all = all.into_iter().flat_map(longer).collect();
    }
    all
}

/// The sum of all products of elements.
pub fn dot(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape, b.shape);
    a.data.iter().zip(&b.data).map(|(x, y)| x * y).sum()
}

/// The error function: its Taylor series, or 1 beyond where that cancels.
pub fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / n as f64;
        sum += term / (2 * n + 1) as f64;
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

/// What the gradient of `dot(upstream, forward)` towards an input is, by central differences.
pub fn differences(
    inputs: &[Tensor],
    which: usize,
    upstream: &Tensor,
    forward: &dyn Fn(&[Tensor]) -> Tensor,
) -> Tensor {
    let step = 1e-5;
    let mut gradient = Tensor::zeros(&inputs[which].shape);
    for k in 0..gradient.data.len() {
        let moved = |by: f64| {
            let mut inputs = inputs.to_vec();
            inputs[which].data[k] += by;
            dot(upstream, &forward(&inputs))
        };
        gradient.data[k] = (moved(step) - moved(-step)) / (2.0 * step);
    }
    gradient
}

/// Asserts that two tensors are equal up to `tolerance`, relative to the greatest element.
pub fn assert_close(name: &str, got: &Tensor, want: &Tensor, tolerance: f64) {
    assert_eq!(got.shape, want.shape, "shape of {name}");
    let scale = want.data.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
    for (k, (g, w)) in got.data.iter().zip(&want.data).enumerate() {
        assert!(
            (g - w).abs() <= tolerance * scale,
            "element {k} of {name}: {g} instead of {w}"
        );
    }
}

/// A graph under test: states that hold inputs, and values to look at.
#[derive(Default)]
pub struct Bench {
    pub graph: Graph,
    slots: Vec<(State, Value)>,
    state: Vec<Vec<u8>>,
}

impl Bench {
    /// An input that is a state tensor of the program.
    pub fn input(&mut self, tensor: &Tensor) -> Value {
        self.raw(&tensor.shape, Dtype::F32, tensor.bytes())
    }

    /// An integer input.
    pub fn words(&mut self, shape: &[usize], words: &[u32]) -> Value {
        let bytes = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        self.raw(shape, Dtype::U32, bytes)
    }

    fn raw(&mut self, shape: &[usize], dtype: Dtype, bytes: Vec<u8>) -> Value {
        let (state, value) = self.graph.state(shape, dtype);
        self.slots.push((state, value));
        self.state.push(bytes);
        value
    }

    /// The program that computes `outputs`, which become the states behind the inputs. Inputs
    /// stay as they are.
    pub fn program(&mut self, outputs: &[Value]) -> Program {
        for &value in outputs {
            let (shape, dtype) = (self.graph.shape(value).to_vec(), self.graph.dtype(value));
            let (state, old) = self.graph.state(&shape, dtype);
            self.slots.push((state, value));
            let elements = self.graph.shape(old).iter().product::<usize>();
            self.state.push(vec![0; elements * dtype.size() as usize]);
        }
        lower(&self.graph, &self.slots).unwrap()
    }

    /// The bytes of `outputs` in a step.
    pub fn run(mut self, outputs: &[Value], step: u32) -> Vec<Vec<u8>> {
        let first = self.slots.len();
        let program = self.program(outputs);
        let inputs = Inputs {
            seed: SEED,
            datasets: vec![],
            constants: constants(&self.graph),
        };
        inputs.check(&program).unwrap();
        let values = eval::run(&program, step, &inputs, &self.state);
        values[program.next_state()][first..].to_vec()
    }

    /// The numbers of `outputs` in step 0.
    pub fn numbers(self, outputs: &[Value]) -> Vec<Tensor> {
        let shapes: Vec<Vec<usize>> = outputs
            .iter()
            .map(|&v| self.graph.shape(v).to_vec())
            .collect();
        let bytes = self.run(outputs, 0);
        let tensor = |(shape, bytes): (&Vec<usize>, &Vec<u8>)| Tensor::new(shape, floats(bytes));
        shapes.iter().zip(&bytes).map(tensor).collect()
    }
}

fn constants(graph: &Graph) -> std::collections::BTreeMap<[u8; 32], Blob> {
    let blob = |(hash, bytes): (&[u8; 32], &Vec<u8>)| (*hash, Arc::new(bytes.clone()) as Blob);
    graph.constants().iter().map(blob).collect()
}

/// f32 from bytes.
pub fn floats(bytes: &[u8]) -> Vec<f64> {
    let number = |c: &[u8]| f32::from_le_bytes(c.try_into().unwrap()) as f64;
    bytes.chunks_exact(4).map(number).collect()
}

/// u32 from bytes.
pub fn words(bytes: &[u8]) -> Vec<u32> {
    let word = |c: &[u8]| u32::from_le_bytes(c.try_into().unwrap());
    bytes.chunks_exact(4).map(word).collect()
}

/// A file of a state's f32 tensors.
pub fn safetensors(built: &Built, state: &[Vec<u8>]) -> Vec<u8> {
    let (mut header, mut data) = (vec![], vec![]);
    for (slot, bytes) in built.slots.iter().zip(state) {
        let (name, shape, start) = (&slot.name, &slot.shape, data.len());
        data.extend(bytes);
        let end = data.len();
        header.push(format!(
            r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        ));
    }
    let header = format!("{{{}}}", header.join(","));
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &data].concat()
}

/// An operation and its independent implementation.
pub struct Operation<'a> {
    pub name: &'a str,
    pub inputs: Vec<Tensor>,
    pub build: &'a dyn Fn(&mut Graph, &[Value]) -> Value,
    pub forward: &'a dyn Fn(&[Tensor]) -> Tensor,
    /// Gradients towards the inputs, from the inputs and the gradient towards the output.
    pub backward: &'a dyn Fn(&[Tensor], &Tensor) -> Vec<Tensor>,
}

impl Operation<'_> {
    /// The program's values and gradients are those of the independent implementation, whose
    /// gradients are the central differences of its values.
    pub fn check(&self, tolerance: f64) {
        let want = (self.forward)(&self.inputs);
        let upstream = Tensor::random(&want.shape, -1.0, 1.0, 991);
        let gradients = (self.backward)(&self.inputs, &upstream);
        for (k, gradient) in gradients.iter().enumerate() {
            let measured = differences(&self.inputs, k, &upstream, self.forward);
            let name = format!("{}: reference gradient {k}", self.name);
            assert_close(&name, gradient, &measured, 1e-6);
        }

        let mut bench = Bench::default();
        let inputs: Vec<Value> = self.inputs.iter().map(|t| bench.input(t)).collect();
        let graph = &mut bench.graph;
        let y = (self.build)(graph, &inputs);
        let direction: Vec<f32> = upstream.data.iter().map(|&x| x as f32).collect();
        let direction = graph.constant_f32(&upstream.shape, &direction);
        let weighted = graph.mul(y, direction);
        let axes: Vec<usize> = (0..want.shape.len()).collect();
        let loss = graph.sum(weighted, &axes);
        let towards = graph.gradients(loss, &inputs);
        let got = bench.numbers(&[&[y], &towards[..]].concat());
        assert_close(self.name, &got[0], &want, tolerance);
        for (k, (got, want)) in got[1..].iter().zip(&gradients).enumerate() {
            assert_close(
                &format!("{}: gradient {k}", self.name),
                got,
                want,
                tolerance,
            );
        }
    }
}

/// A function of one number: its name, the ends of the numbers to try, how a graph has it, the
/// function itself and its slope.
pub type Elementwise = (
    &'static str,
    f64,
    f64,
    fn(&mut Graph, Value) -> Value,
    fn(f64) -> f64,
    fn(f64) -> f64,
);

/// Checks functions of one number, and their gradients.
pub fn check_elementwise(cases: &[Elementwise], tolerance: f64) {
    for (name, low, high, build, value, slope) in cases {
        Operation {
            name,
            inputs: vec![Tensor::random(&[4, 9], *low, *high, 1)],
            build: &|g, x| build(g, x[0]),
            forward: &|x| x[0].map(value),
            backward: &|x, up| {
                let slopes = x[0].map(slope);
                vec![Tensor::from_fn(&up.shape, |at| up.at(at) * slopes.at(at))]
            },
        }
        .check(tolerance);
    }
}

/// Calls `each` with the position in the image, in the weight and in the result of every product
/// of a convolution.
pub fn products(
    conv: Conv2d,
    image: &[usize],
    weight: &[usize],
    mut each: impl FnMut(&[usize], &[usize], &[usize]),
) {
    let [rows, columns] = conv
        .output([image[1], image[2]], [weight[0], weight[1]])
        .unwrap();
    let outputs = weight[3] / conv.groups;
    for at in positions(&[image[0], rows, columns, weight[3]]) {
        for tap in positions(&weight[..3]) {
            let place = |k: usize| at[1 + k] * conv.stride[k] + tap[k] * conv.dilation[k];
            let place = |k: usize| {
                place(k)
                    .checked_sub(conv.padding[k])
                    .filter(|&p| p < image[1 + k])
            };
            let (Some(y), Some(x)) = (place(0), place(1)) else {
                continue;
            };
            let channel = at[3] / outputs * weight[2] + tap[2];
            each(
                &[at[0], y, x, channel],
                &[tap[0], tap[1], tap[2], at[3]],
                &at,
            );
        }
    }
}

/// Calls `each` with the window and the pixel of every tap that lies in the image.
pub fn taps(pool: Pool2d, image: &[usize], mut each: impl FnMut(&[usize], &[usize])) {
    let [rows, columns] = pool.output([image[1], image[2]]).unwrap();
    for at in positions(&[image[0], rows, columns, image[3]]) {
        for tap in positions(&pool.size) {
            let place =
                |k: usize| (at[1 + k] * pool.stride[k] + tap[k]).checked_sub(pool.padding[k]);
            let place = |k: usize| place(k).filter(|&p| p < image[1 + k]);
            if let (Some(y), Some(x)) = (place(0), place(1)) {
                each(&at, &[at[0], y, x, at[3]]);
            }
        }
    }
}

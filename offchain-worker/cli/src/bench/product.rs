//! One matrix product as a program of the CPU engine, and the sequential loop it must equal.

use super::shape::{Layout, Shape};
use lockstep_engine::cpu::{Cpu, Options, Simd};
use lockstep_engine::{Engine, Error, Job};
use lockstep_protocol::encoding::Int;
use lockstep_protocol::eval::{Blob, Inputs};
use lockstep_protocol::program::{
    var, Access, Axis, Body, Dim, Dtype, Fold, Form, Init, Node, Op, Program, Source,
};
use rayon::prelude::*;
use std::sync::Arc;

/// What is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// Floats, each product added by one fused multiply-add.
    F32,
    /// Bytes, added up in 32 bits.
    I8,
}

/// The factors of a product in floats, and what the sequential loop makes of them.
pub struct Operands {
    /// The shape.
    pub shape: Shape,
    /// The left factors, one after another.
    pub left: Vec<f32>,
    /// The right factors, one after another.
    pub right: Vec<f32>,
    /// The products, one after another.
    pub out: Vec<f32>,
}

impl Operands {
    /// Factors between -1 and 1 without a pattern.
    pub fn new(shape: Shape) -> Operands {
        let numbers = |[rows, cols]: [usize; 2], seed| {
            let words = words(shape.batch * rows * cols, seed);
            let numbers = words.map(|word| word as i32 as f32 / (1u32 << 31) as f32);
            numbers.collect::<Vec<f32>>()
        };
        let (left, right) = (numbers(shape.left(), 1), numbers(shape.right(), 2));
        let out = multiply(&shape, &left, &right);
        Operands {
            shape,
            left,
            right,
            out,
        }
    }

    /// An engine that computes the product once in a step.
    ///
    /// # Errors
    /// When the engine cannot be started.
    pub fn engine(&self, threads: usize) -> Result<Cpu, Error> {
        let options = Options {
            threads: Some(threads),
            ..Options::default()
        };
        let factors = [&self.left, &self.right].map(|factor| bytes(factor));
        Cpu::new(job(&self.shape, Element::F32, factors), options)
    }

    /// Whether the engine's product is that of the sequential loop, bit for bit.
    pub fn equal(&self, engine: &Cpu) -> bool {
        engine.state()[0] == bytes(&self.out)
    }
}

/// An engine that computes a product of arbitrary elements once in a step, on one thread.
///
/// # Errors
/// When the engine cannot be started.
pub fn engine(shape: &Shape, element: Element, simd: Simd) -> Result<Cpu, Error> {
    let factors = [(shape.left(), 1), (shape.right(), 2)].map(|([rows, cols], seed)| {
        let numbers = words(shape.batch * rows * cols, seed).map(|word| (word >> 24) as u8);
        match element {
            Element::I8 => numbers.collect(),
            Element::F32 => bytes(&numbers.map(|x| x as f32 - 127.0).collect::<Vec<f32>>()),
        }
    });
    let options = Options {
        threads: Some(1),
        simd: Some(simd),
        ..Options::default()
    };
    Cpu::new(job(shape, element, factors), options)
}

/// A program whose only computation is the product of two constants.
fn job(shape: &Shape, element: Element, factors: [Vec<u8>; 2]) -> Job {
    let (dtype, result, ops) = match element {
        Element::F32 => (Dtype::F32, Dtype::F32, vec![Op::FFma(1, 2, 0)]),
        Element::I8 => (Dtype::I8, Dtype::I32, vec![Op::IMul(1, 2), Op::IAdd(0, 3)]),
    };
    let mut inputs = Inputs::default();
    let mut constant = |[rows, cols]: [usize; 2], bytes: Vec<u8>| {
        let hash = *blake3::hash(&bytes).as_bytes();
        inputs.constants.insert(hash, Arc::new(bytes) as Blob);
        Node::Source(Source::Constant {
            shape: [shape.batch, rows, cols].map(|n| Dim(n as u64)).to_vec(),
            dtype,
            hash,
        })
    };
    let [left, right] = factors;
    let (left, right) = (constant(shape.left(), left), constant(shape.right(), right));
    // The output's coordinates are b, i and j.
    let read = |node, [rows, cols]: [usize; 2], variables: [u8; 2], transposed: bool| {
        let [row, col] = match transposed {
            true => [variables[1], variables[0]],
            false => variables,
        };
        let axis = |(variable, extent, stride): (u8, usize, usize)| Axis {
            form: Form::var(variable),
            extent: extent as u64,
            stride: Int(stride as i64),
        };
        Access {
            node,
            dtype,
            len: (shape.batch * rows * cols) as u64,
            base: Int(0),
            axes: [
                (0, shape.batch, rows * cols),
                (row, rows, cols),
                (col, cols, 1),
            ]
            .map(axis)
            .to_vec(),
            fill: 0,
        }
    };
    let out: Vec<Dim> = [shape.batch, shape.rows, shape.cols]
        .map(|n| Dim(n as u64))
        .to_vec();
    let state = Node::Source(Source::State {
        shape: out.clone(),
        dtype: result,
    });
    let product = Node::Fold(Fold {
        body: Body {
            shape: out,
            dtype: result,
            index: Vec::new(),
            reads: vec![
                read(1, shape.left(), [1, var::RED], shape.layout == Layout::Left),
                read(
                    2,
                    shape.right(),
                    [var::RED, 2],
                    shape.layout == Layout::Right,
                ),
            ],
            values: Vec::new(),
            consts: Vec::new(),
            ops,
        },
        red: vec![Dim(shape.steps as u64)],
        when: Vec::new(),
        init: Init::Word(0),
    });
    Job {
        program: Arc::new(Program {
            slots: 1,
            nodes: vec![state, left, right, product],
        }),
        inputs,
    }
}

/// The products by the sequential loop: for every element one chain of fused multiply-adds, k
/// ascending.
fn multiply(shape: &Shape, left: &[f32], right: &[f32]) -> Vec<f32> {
    let Shape {
        rows, cols, steps, ..
    } = *shape;
    let turned = match shape.layout {
        Layout::Right => {
            let factors = right.chunks_exact(steps * cols);
            factors
                .flat_map(|factor| transposed(factor, steps))
                .collect()
        }
        Layout::Plain | Layout::Left => Vec::new(),
    };
    let right = if turned.is_empty() { right } else { &turned };
    let mut out = vec![0f32; shape.batch * rows * cols];
    let each = out.par_chunks_exact_mut(cols).enumerate();
    each.for_each(|(row, out)| {
        let (b, i) = (row / rows, row % rows);
        let right = right[b * steps * cols..].chunks_exact(cols).take(steps);
        for (k, right) in right.enumerate() {
            let at = match shape.layout {
                Layout::Left => (b * steps + k) * rows + i,
                Layout::Plain | Layout::Right => row * steps + k,
            };
            multiply_add(out, left[at], right);
        }
    });
    out
}

/// A matrix with rows of `cols` elements, column by column.
fn transposed(matrix: &[f32], cols: usize) -> Vec<f32> {
    let column = |col| matrix.iter().skip(col).step_by(cols).copied();
    (0..cols).flat_map(column).collect()
}

/// `acc[i] = a * b[i] + acc[i]`, each rounded once.
fn multiply_add(acc: &mut [f32], a: f32, b: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    if Simd::Avx2.supported() {
        // SAFETY: the instructions are there.
        return unsafe { multiply_add_avx2(acc, a, b) };
    }
    multiply_add_any(acc, a, b);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn multiply_add_avx2(acc: &mut [f32], a: f32, b: &[f32]) {
    multiply_add_any(acc, a, b);
}

#[inline(always)]
fn multiply_add_any(acc: &mut [f32], a: f32, b: &[f32]) {
    for (acc, b) in acc.iter_mut().zip(b) {
        *acc = a.mul_add(*b, *acc);
    }
}

/// Words without a pattern, by G. Marsaglia's xorshift.
fn words(count: usize, seed: u32) -> impl Iterator<Item = u32> {
    let mut x = seed.wrapping_mul(0x9e37_79b9) | 1;
    (0..count).map(move |_| {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x
    })
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_is_compared_with_the_sequential_chain_and_a_wrong_bit_is_seen() {
        for text in ["33x17x65", "19x40x37*3:tn", "21x9x50*4:nt", "1x1x1*2"] {
            let mut operands = Operands::new(text.parse().unwrap());
            for threads in [1, 2] {
                let mut engine = operands.engine(threads).unwrap();
                engine.step(0);
                assert!(operands.equal(&engine), "{text} on {threads}");
                let last = operands.out.last_mut().unwrap();
                let right = *last;
                *last = f32::from_bits(right.to_bits() ^ 1);
                assert!(!operands.equal(&engine), "{text} on {threads}");
                *operands.out.last_mut().unwrap() = right;
            }
        }
    }

    #[test]
    fn the_sequential_loop_multiplies_matrices() {
        let multiply =
            |text: &str, left: &[f32], right: &[f32]| multiply(&text.parse().unwrap(), left, right);
        let (a, a_turned) = ([1., 2., 3., 4., 5., 6.], [1., 4., 2., 5., 3., 6.]);
        let (b, b_turned) = ([7., 8., 9., 10., 11., 12.], [7., 9., 11., 8., 10., 12.]);
        let want = [58., 64., 139., 154.];
        assert_eq!(multiply("2x2x3", &a, &b), want);
        assert_eq!(multiply("2x2x3:tn", &a_turned, &b), want);
        assert_eq!(multiply("2x2x3:nt", &a, &b_turned), want);
    }
}

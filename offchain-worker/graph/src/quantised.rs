//! Matrix products in block-scaled 8-bit integers.
//!
//! A matrix is cut into blocks of at most 256 rows or columns, or both. Each block has one f32
//! scale, a 127th of its greatest magnitude, and its elements are the nearest multiples of it. A
//! product sums the integers of each block along the summed axis exactly, which no order of
//! summation changes, and then adds the blocks up in f32, in ascending order:
//!
//! ```text
//! y[i, j] = sum over blocks b of f32(sum over k in b of a[i, k] * b[k, j]) * (scale_a * scale_b)
//! ```
//!
//! with one rounding for the product of the scales and one for each block that is added. A sum of
//! 256 products of magnitude 127 x 127 stays below 2^22, so that its conversion to f32 is exact.
//!
//! Activations and gradients have one scale for each row (or column) and block along the summed
//! axis. Weights have one for each square block, so that the output and the gradient of the input,
//! which sum along different axes, share one quantised matrix. Scaling by blocks along the summed
//! axis is that of B. Rouhani et al.: Microscaling data formats for deep learning (2023), with f32
//! scales and longer blocks.

use crate::{
    gradient::Rule,
    graph::{Graph, Value},
    kernel::{
        form::{out, red, sum},
        Kernel, Operand,
    },
    scalar::{apply, Expr, Scalar},
};
use lockstep_protocol::program::{Dtype, Form, Guard};
use serde::Deserialize;

/// In which numbers a linear layer multiplies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// IEEE-754 binary32.
    #[default]
    Float32,
    /// Integers of 8 bits with a scale for each block of them, see [`Graph::matmul_int8`].
    Int8,
}

/// The longest side of a block: 256 products of magnitude 127 x 127 sum up to less than 2^22.
pub(crate) const BLOCK: usize = 256;

/// The greatest magnitude of a quantised element.
const GREATEST: f32 = 127.0;

/// Added to an f32 of magnitude up to 2^22 it rounds that to an integer, ties to even, whose two's
/// complement the sum then has in its low bits.
const ROUNDER: f32 = 12_582_912.0;

/// A matrix of 8-bit integers and their scales.
struct Quantised {
    /// Rows and columns before blocks that are not full were filled up.
    extent: [usize; 2],
    /// Rows and columns of a block.
    block: [usize; 2],
    /// `i8`, each axis a multiple of the block's.
    words: Value,
    /// `f32`, one for each block.
    scales: Value,
}

impl Quantised {
    /// `matrix` in blocks of at most `block` rows and columns.
    fn new(graph: &mut Graph, matrix: Value, block: [usize; 2]) -> Quantised {
        let &[rows, columns] = graph.shape(matrix) else {
            panic!("only a matrix is quantised, not {:?}", graph.shape(matrix));
        };
        let extent = [rows, columns];
        let block = [block[0].min(rows), block[1].min(columns)];
        assert_eq!(graph.dtype(matrix), Dtype::F32, "elements to quantise");
        let long = (0..2).filter(|&axis| block[axis] > 1);
        let magnitudes = long
            .fold(None, |shorter, axis| {
                let from = shorter.unwrap_or(matrix);
                Some(graph.block_maxima(from, axis, block[axis]))
            })
            .unwrap_or_else(|| graph.abs(matrix));
        let steps = graph.scalar(GREATEST);
        let scales = graph.div(magnitudes, steps);
        Quantised {
            extent,
            block,
            words: graph.quantise(matrix, scales, block),
            scales,
        }
    }

    /// Blocks along `axis`.
    fn blocks(&self, axis: usize) -> usize {
        self.extent[axis].div_ceil(self.block[axis])
    }

    /// The integers, position k of `axis` at `along` and the position of the other at `across`.
    fn word(&self, input: usize, axis: usize, along: &Form, across: &Form) -> Operand {
        Operand::new(input, ordered(axis, along, across))
    }

    /// The scale of block `red 0` along `axis` at position `across` of the other axis, which has a
    /// scale for each of its positions in the matrix that comes with it.
    fn scale(
        &self,
        graph: &mut Graph,
        input: usize,
        axis: usize,
        across: &Form,
    ) -> (Value, Operand) {
        let other = 1 - axis;
        let (run, blocks) = (self.block[other], self.blocks(other));
        let (scales, across) = match (run, blocks) {
            (1, _) => (self.scales, across.clone()),
            (_, 1) => (self.scales, Form::constant(0)),
            _ => (graph.repeat(self.scales, other, run), across.clone()),
        };
        (scales, Operand::new(input, ordered(axis, &red(0), &across)))
    }
}

/// Coordinates of a matrix from those along `axis` and across it.
fn ordered(axis: usize, along: &Form, across: &Form) -> Vec<Form> {
    let mut at = vec![across.clone(); 2];
    at[axis] = along.clone();
    at
}

/// `length * block + within`.
fn position(length: usize, block: &Form, within: &Form) -> Form {
    sum(length as i64, block, 1, within, 0)
}

/// What flows back through a quantised product as if nothing had been rounded, itself computed in
/// quantised products.
struct Product {
    /// Which axis of the weight is summed.
    inputs: usize,
}

impl Rule for Product {
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        _: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let [x, weight] = [inputs[0], inputs[1]];
        let across_outputs = Quantised::new(graph, upstream, [1, BLOCK]);
        let squares = Quantised::new(graph, weight, [BLOCK, BLOCK]);
        let outputs = 1 - self.inputs;
        let towards_x = graph.quantised_product([&across_outputs, &squares], [1, outputs]);
        let mut columns = [x, upstream].map(|v| Quantised::new(graph, v, [BLOCK, 1]));
        if self.inputs == 1 {
            columns.reverse();
        }
        let towards_weight = graph.quantised_product([&columns[0], &columns[1]], [0, 0]);
        vec![Some(towards_x), Some(towards_weight)]
    }
}

impl Graph {
    /// `x` of shape `[.., in]` times `weight` of shape `[in, out]` in block-scaled 8-bit integers.
    ///
    /// Rows of `x` are quantised in blocks of 256, the weight in blocks of 256 x 256. Gradients are
    /// straight-through: those of the product without any rounding, with the gradient towards the
    /// output quantised in its turn, in rows towards `x`, and together with `x` in columns towards
    /// the weight. Y. Bengio, N. Léonard, A. Courville: Estimating or propagating gradients through
    /// stochastic neurons (2013), section 4.
    ///
    /// A block that holds a NaN or an infinity makes everything NaN that is computed from it. A
    /// block of zeros gives zeros.
    ///
    /// # Panics
    /// When the shapes do not fit or the elements are not f32.
    pub fn matmul_int8(&mut self, x: Value, weight: Value) -> Value {
        let shape = self.shape(x).to_vec();
        let (&inputs, leading) = shape.split_last().expect("a product needs an axis");
        let &[rows, outputs] = self.shape(weight) else {
            panic!("a weight is a matrix, not {:?}", self.shape(weight));
        };
        assert_eq!(inputs, rows, "numbers that enter and rows of the weight");
        let x = self.reshape(x, &[leading.iter().product(), inputs]);
        // A transposed weight is taken as it lies, so that its gradient lies so as well.
        let (weight, inputs) = match self.unpermuted(weight) {
            Some((stored, _)) => (stored, 1),
            None => (weight, 0),
        };
        let across_inputs = Quantised::new(self, x, [1, BLOCK]);
        let squares = Quantised::new(self, weight, [BLOCK, BLOCK]);
        let root = self.quantised_product([&across_inputs, &squares], [1, inputs]);
        let y = self.custom(Product { inputs }, &[x, weight], root);
        self.reshape(y, &[leading, &[outputs]].concat())
    }

    /// `x` of shape `[.., in]` times `weight` of shape `[in, out]`, multiplied in `precision`, plus
    /// `bias` of shape `[out]` in f32.
    ///
    /// # Panics
    /// When the shapes do not fit or the elements are not f32.
    pub fn linear_in(
        &mut self,
        precision: Precision,
        x: Value,
        weight: Value,
        bias: Option<Value>,
    ) -> Value {
        let y = match precision {
            Precision::Float32 => self.matmul(x, weight),
            Precision::Int8 => self.matmul_int8(x, weight),
        };
        match bias {
            Some(bias) => self.add(y, bias),
            None => y,
        }
    }

    /// The greatest magnitude of each run of `length` positions along an axis of a matrix.
    fn block_maxima(&mut self, matrix: Value, axis: usize, length: usize) -> Value {
        let mut shape = self.shape(matrix).to_vec();
        shape[axis] = shape[axis].div_ceil(length);
        let at = ordered(axis, &position(length, &out(axis), &red(0)), &out(1 - axis));
        let magnitude = apply(Scalar::Abs, vec![Expr::Read(0)]);
        let kernel = Kernel {
            shape,
            dtype: Dtype::F32,
            red: vec![length],
            index: vec![],
            reads: vec![Operand::new(0, at)],
            when: vec![],
            init: 0,
            body: apply(Scalar::Max, vec![Expr::Acc, magnitude]),
        };
        self.kernel(kernel, &[matrix])
    }

    /// The multiple of its block's scale that is nearest to each element, ties to even, as `i8`;
    /// blocks filled up with zeros. The quotient is bounded by 127, which only matters where the
    /// scale is subnormal, and a quotient that is NaN becomes 0.
    fn quantise(&mut self, matrix: Value, scales: Value, block: [usize; 2]) -> Value {
        let blocks = self.shape(scales).to_vec();
        let at = |axis: usize| position(block[axis], &out(2 * axis), &out(2 * axis + 1));
        let float = |x: f32| Expr::Word(x.to_bits());
        let quotient = apply(Scalar::Div, vec![Expr::Read(0), Expr::Read(1)]);
        let above = apply(Scalar::Max, vec![quotient, float(-GREATEST)]);
        let bounded = apply(Scalar::Min, vec![above, float(GREATEST)]);
        let kernel = Kernel {
            shape: vec![blocks[0], block[0], blocks[1], block[1]],
            dtype: Dtype::I8,
            red: vec![],
            index: vec![],
            reads: vec![
                Operand::new(0, vec![at(0), at(1)]),
                Operand::new(1, vec![out(0), out(2)]),
            ],
            when: vec![],
            init: 0,
            body: apply(Scalar::Add, vec![bounded, float(ROUNDER)]),
        };
        let words = self.kernel(kernel, &[matrix, scales]);
        self.reshape(words, &[blocks[0] * block[0], blocks[1] * block[1]])
    }

    /// Each position along an axis of a matrix `times` times in a row.
    fn repeat(&mut self, matrix: Value, axis: usize, times: usize) -> Value {
        let mut shape = self.shape(matrix).to_vec();
        let mut long = shape.clone();
        long[axis] *= times;
        shape.insert(axis + 1, 1);
        let apart = self.reshape(matrix, &shape);
        shape[axis + 1] = times;
        let repeated = self.broadcast(apart, &shape);
        self.reshape(repeated, &long)
    }

    /// The product of two quantised matrices, summed over axis `axes[0]` of the first and `axes[1]`
    /// of the second; the other axes are the result's.
    fn quantised_product(&mut self, of: [&Quantised; 2], axes: [usize; 2]) -> Value {
        let summed = [0, 1].map(|k: usize| (of[k].extent[axes[k]], of[k].block[axes[k]]));
        assert_eq!(summed[0], summed[1], "length and blocks of the summed axes");
        let (depth, length) = summed[0];
        let blocks = of[0].blocks(axes[0]);
        let shape = [0, 1].map(|k: usize| of[k].extent[1 - axes[k]]);
        let along = position(length, &out(0), &red(0));
        let mut when = vec![];
        if blocks * length != depth {
            when.push(Guard {
                form: along.clone(),
                lo: 0.into(),
                hi: (depth as i64).into(),
            });
        }
        let product = apply(Scalar::IntMul, vec![Expr::Read(0), Expr::Read(1)]);
        let kernel = Kernel {
            shape: vec![blocks, shape[0], shape[1]],
            dtype: Dtype::I32,
            red: vec![length],
            index: vec![],
            reads: [0, 1]
                .map(|k: usize| of[k].word(k, axes[k], &along, &out(k + 1)))
                .to_vec(),
            when,
            init: 0,
            body: apply(Scalar::IntAdd, vec![Expr::Acc, product]),
        };
        let sums = self.kernel(kernel, &[of[0].words, of[1].words]);

        let [(scale_a, read_a), (scale_b, read_b)] =
            [0, 1].map(|k: usize| of[k].scale(self, k + 1, axes[k], &out(k)));
        let exact = apply(Scalar::FromI32, vec![Expr::Read(0)]);
        let scale = apply(Scalar::Mul, vec![Expr::Read(1), Expr::Read(2)]);
        let kernel = Kernel {
            shape: shape.to_vec(),
            dtype: Dtype::F32,
            red: vec![blocks],
            index: vec![],
            reads: vec![
                Operand::new(0, vec![red(0), out(0), out(1)]),
                read_a,
                read_b,
            ],
            when: vec![],
            init: 0,
            body: apply(Scalar::Fma, vec![exact, scale, Expr::Acc]),
        };
        self.kernel(kernel, &[sums, scale_a, scale_b])
    }
}

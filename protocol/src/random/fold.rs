//! Folds and maps with the shapes that models have.

use super::access::axis;
use super::{dims, read, value, Builder, Tensor};
use crate::encoding::Int;
use crate::program::{var, Access, Axis, Body, Dtype, Fold, Form, Guard, Init, Node, Op};
use alloc::vec::Vec;

const I: u8 = 0;
const J: u8 = 1;
const K: u8 = var::RED;
const W: u8 = var::INDEX;

/// A step of a fold that has registers 0 for the accumulator and 1, 2 for its reads.
struct Step {
    /// Element type of the reads.
    operands: Dtype,
    /// Element type of the accumulator.
    dtype: Dtype,
    consts: Vec<u32>,
    ops: Vec<Op>,
}

impl Builder {
    /// Sums of products: matrix products of any layout, with padded edges, batches, split
    /// reductions, guards and a bias.
    pub(super) fn contraction(&mut self) {
        let extents = [
            1, 2, 3, 5, 8, 13, 14, 15, 16, 17, 28, 31, 32, 33, 48, 64, 65, 100,
        ];
        let most = self.size.elements;
        let m = self.rng.pick(&extents).min(most);
        let n = self.rng.pick(&extents).min(most / m);
        let k = self.rng.pick(&extents).min(most / m.max(n));
        let k = k.min(self.size.steps / (m * n)).max(1);
        let room = (most / (m * n).max(m * k).max(k * n)).min(self.size.steps / (m * n * k));
        let batch = match self.rng.below(4) {
            0 => 1 + self.rng.below(room.clamp(1, 3)),
            _ => 1,
        };
        let (i, j) = (1, 2);
        let step = self.product();
        let (a, b) = (
            self.matrix(&step, batch, m, k),
            self.matrix(&step, batch, k, n),
        );
        let (kept, red, along) = self.split(k);
        let a = self.reads_matrix(a, batch, (m, Form::var(i)), (kept, along.clone()));
        let b = self.reads_matrix(b, batch, (kept, along), (n, Form::var(j)));
        let init = self.init(step.dtype, |b, dtype| {
            let bias = b.operand(dtype, n);
            read(bias, 0, [axis(Form::var(j), n, 1)].to_vec(), 0)
        });
        let triangle = Form::new(0, &[(K, 1), (i, -1)]);
        let when = self.sometimes(triangle, i64::MIN, 1);
        let node = self.fold(&[batch, m, n], &red, step, [a, b].to_vec(), when, init);
        self.push(node);
    }

    /// A convolution over images with padding, stride and dilation, or the gradient of one.
    pub(super) fn convolution(&mut self) {
        let (batch, h, w) = (
            1 + self.rng.below(2),
            1 + self.rng.below(7),
            1 + self.rng.below(7),
        );
        let (inputs, outputs) = (1 + self.rng.below(4), 1 + self.rng.below(9));
        let (kh, kw) = (1 + self.rng.below(3), 1 + self.rng.below(3));
        let (stride, dilation) = (self.rng.between(1, 2), self.rng.between(1, 2));
        let padding = self.rng.between(0, 2);
        let sign = self.rng.pick(&[1, 1, 1, -1]);
        let (rows, cols) = (h.div_ceil(stride as u64), w.div_ceil(stride as u64));
        let most = self.size.elements;
        let steps = batch * rows * cols * outputs * kh * kw * inputs;
        let fits = steps <= self.size.steps
            && batch * h * w * inputs.max(outputs) <= most
            && kh * kw * inputs * outputs <= most;
        if !fits {
            return self.reduction();
        }
        let step = self.product();
        let image = self.operand(step.operands, batch * h * w * inputs);
        let kernel = self.operand(step.operands, kh * kw * inputs * outputs);
        let along =
            |out: u8, red: u8| Form::new(-padding, &[(out, stride), (red, sign * dilation)]);
        let c = inputs as i64;
        let axes = [
            axis(Form::var(0), batch, (h * w) as i64 * c),
            axis(along(1, K), h, w as i64 * c),
            axis(along(2, K + 1), w, c),
            axis(Form::var(K + 2), inputs, 1),
        ];
        let fill = self.rng.pick(&[0, 0, 0x8000_0000, 0xff80_0000]);
        let x = read(image, 0, axes.to_vec(), fill);
        let o = outputs as i64;
        let axes = [
            axis(Form::var(K), kh, kw as i64 * c * o),
            axis(Form::var(K + 1), kw, c * o),
            axis(Form::var(K + 2), inputs, o),
            axis(Form::var(3), outputs, 1),
        ];
        let kernel = read(kernel, 0, axes.to_vec(), 0);
        // Skipping the terms outside is not the same as supplying a zero.
        let when = self.sometimes(along(1, K), 0, h as i64);
        let init = self.init(step.dtype, |b, dtype| {
            let bias = b.operand(dtype, outputs);
            read(bias, 0, [axis(Form::var(3), outputs, 1)].to_vec(), 0)
        });
        let shape = [batch, rows, cols, outputs];
        let reads = [x, kernel].to_vec();
        let node = self.fold(&shape, &[kh, kw, inputs], step, reads, when, init);
        self.push(node);
    }

    /// Sums, extremes and bitwise folds over rows, columns or prefixes of a matrix.
    pub(super) fn reduction(&mut self) {
        let most = self.size.elements;
        let rows = self.rng.skewed(most / 4);
        let len = self.rng.skewed((most / rows).min(400));
        let step = self.single();
        let matrix = self.operand(step.operands, rows * len);
        let fill = value::word(&mut self.rng);
        let reads = match self.rng.below(3) {
            0 => [
                axis(Form::var(I), rows, len as i64),
                axis(Form::var(K), len, 1),
            ],
            1 => [
                axis(Form::var(K), len, rows as i64),
                axis(Form::var(I), rows, 1),
            ],
            // Backwards from the end of the row, beyond its beginning.
            _ => [
                axis(Form::var(I), rows, len as i64),
                axis(Form::new(len as i64 - 2, &[(K, -1)]), len, 1),
            ],
        };
        let reads = [read(matrix, 0, reads.to_vec(), fill)].to_vec();
        let prefix = Form::new(0, &[(K, 1), (I, -1)]);
        let when = self.sometimes(prefix, i64::MIN, 1);
        let init = self.init(step.dtype, |b, dtype| {
            let start = b.operand(dtype, rows);
            read(start, 0, [axis(Form::var(I), rows, 1)].to_vec(), 0)
        });
        let node = self.fold(&[rows], &[len], step, reads, when, init);
        self.push(node);
    }

    /// Rows of tokens added up by their ids, the gradient of an embedding.
    pub(super) fn scatter(&mut self) {
        let width = self.rng.skewed(20);
        let most = (self.size.elements / width).max(1);
        let rows = self.rng.skewed(most.min(40));
        let tokens = self
            .rng
            .skewed(most.min(self.size.steps / (rows * width)).clamp(1, 200));
        let (ids, index) = self.ids(tokens);
        let mut step = self.single();
        if self.rng.one_in(2) {
            step.ops = [Op::FAdd(0, 1)].to_vec();
        }
        let values = self.operand(step.operands, tokens * width);
        let axes = [
            axis(Form::var(K), tokens, width as i64),
            axis(Form::var(J), width, 1),
        ];
        let reads = [read(values, 0, axes.to_vec(), 0)].to_vec();
        let when = [Guard {
            form: Form::new(0, &[(W, 1), (I, -1)]),
            lo: Int(0),
            hi: Int(1),
        }];
        let init = self.init(step.dtype, |b, dtype| {
            let start = b.operand(dtype, rows * width);
            let axes = [
                axis(Form::var(I), rows, width as i64),
                axis(Form::var(J), width, 1),
            ];
            read(start, 0, axes.to_vec(), 0)
        });
        let shape = [rows, width];
        let mut node = self.fold(&shape, &[tokens], step, reads, when.to_vec(), init);
        if let Node::Fold(fold) = &mut node {
            let axes = [axis(Form::var(K), tokens, 1)];
            fold.body.index.push(read(ids, 0, axes.to_vec(), index));
        }
        self.push(node);
    }

    /// Rows of a table picked by ids, an embedding.
    pub(super) fn gather(&mut self) {
        let width = self.rng.skewed(20);
        let most = (self.size.elements / width).max(1);
        let (rows, tokens) = (self.rng.skewed(most.min(40)), self.rng.skewed(most));
        let (ids, index) = self.ids(tokens);
        let dtype = self.dtype();
        let table = self.operand(dtype, rows * width);
        let axes = [
            axis(Form::var(W), rows, width as i64),
            axis(Form::var(J), width, 1),
        ];
        let fill = value::word(&mut self.rng);
        self.push(Node::Map(Body {
            shape: dims(&[tokens, width]),
            dtype,
            index: [read(
                ids,
                0,
                [axis(Form::var(I), tokens, 1)].to_vec(),
                index,
            )]
            .to_vec(),
            reads: [read(table, 0, axes.to_vec(), fill)].to_vec(),
            values: Vec::new(),
            consts: Vec::new(),
            ops: Vec::new(),
        }));
    }

    /// Ids of `count` tokens, and what an access to them reads outside.
    fn ids(&mut self, count: u64) -> (Tensor, u32) {
        let dtype = self
            .rng
            .pick(&[Dtype::I32, Dtype::U32, Dtype::U8, Dtype::I8, Dtype::U16]);
        (self.operand(dtype, count), value::word(&mut self.rng))
    }

    fn product(&mut self) -> Step {
        let integers = |operands, ops: &[Op]| Step {
            operands,
            dtype: Dtype::I32,
            consts: Vec::new(),
            ops: ops.to_vec(),
        };
        let floats = |ops: &[Op]| Step {
            dtype: Dtype::F32,
            ..integers(Dtype::F32, ops)
        };
        match self.rng.below(8) {
            0..=3 => floats(&[Op::FFma(1, 2, 0)]),
            4 => floats(&[Op::FFma(2, 1, 0)]),
            5 => floats(&[Op::FMul(1, 2), Op::FAdd(0, 3)]),
            6 => integers(Dtype::I8, &[Op::IMul(1, 2), Op::IAdd(0, 3)]),
            _ => {
                let operands = self.rng.pick(&value::DTYPES);
                integers(operands, &[Op::IMul(2, 1), Op::IAdd(3, 0)])
            }
        }
    }

    /// A step with one read.
    fn single(&mut self) -> Step {
        let floats = |ops: &[Op]| Step {
            operands: Dtype::F32,
            dtype: Dtype::F32,
            consts: Vec::new(),
            ops: ops.to_vec(),
        };
        match self.rng.below(10) {
            0..=2 => floats(&[Op::FAdd(0, 1)]),
            3 => floats(&[Op::FAdd(1, 0)]),
            4 => floats(&[Op::FFma(1, 1, 0)]),
            5 => floats(&[Op::FMax(0, 1)]),
            6 => floats(&[Op::FAbs(1), Op::FMin(2, 0)]),
            7 => Step {
                consts: [value::tame_float(&mut self.rng)].to_vec(),
                ..floats(&[Op::FMul(1, 2), Op::FSub(3, 2), Op::FAdd(0, 4)])
            },
            _ => {
                let dtype = self.rng.pick(&value::DTYPES[1..]);
                let ops = [
                    Op::IAdd(0, 1),
                    Op::IMaxS(0, 1),
                    Op::IMinS(1, 0),
                    Op::IMaxU(0, 1),
                    Op::IMinU(0, 1),
                    Op::Xor(0, 1),
                    Op::Or(0, 1),
                    Op::And(0, 1),
                    Op::IMul(0, 1),
                    Op::ISub(0, 1),
                ];
                Step {
                    operands: self.rng.pick(&value::DTYPES),
                    dtype,
                    consts: Vec::new(),
                    ops: [self.rng.pick(&ops)].to_vec(),
                }
            }
        }
    }

    /// A node with room for `batch` matrices.
    fn matrix(&mut self, step: &Step, batch: u64, rows: u64, cols: u64) -> Tensor {
        let batch = if self.rng.one_in(2) { batch } else { 1 };
        self.operand(step.operands, batch * rows * cols)
    }

    /// Reads a matrix at the given row and column, by rows or by columns, one for each batch
    /// where the tensor has enough. Now and then the last row or column is outside.
    fn reads_matrix(
        &mut self,
        tensor: Tensor,
        batch: u64,
        (rows, row): (u64, Form),
        (cols, col): (u64, Form),
    ) -> Access {
        let strides = if self.rng.one_in(2) {
            (cols, 1)
        } else {
            (1, rows)
        };
        let mut cut = |extent: u64| match self.rng.below(6) {
            0 => extent.max(2) - 1,
            _ => extent,
        };
        let mut axes: Vec<Axis> = [
            axis(row, cut(rows), strides.0 as i64),
            axis(col, cut(cols), strides.1 as i64),
        ]
        .to_vec();
        if batch > 1 && tensor.2 >= batch * rows * cols {
            axes.insert(0, axis(Form::var(0), batch, (rows * cols) as i64));
        }
        let fill = self.rng.pick(&[0, 0, 0x8000_0000, 0x7fc0_0000]);
        read(tensor, 0, axes, fill)
    }

    /// A reduction of at least one and at most `k` steps, in one or two dimensions: its number of
    /// steps, its dimensions and the step's number as a form.
    fn split(&mut self, k: u64) -> (u64, Vec<u64>, Form) {
        let inner = self.rng.pick(&[2, 4, 7]);
        if k < inner || !self.rng.one_in(4) {
            return (k, [k].to_vec(), Form::var(K));
        }
        let outer = k / inner;
        let form = Form::new(0, &[(K, inner as i64), (K + 1, 1)]);
        (outer * inner, [outer, inner].to_vec(), form)
    }

    fn init(&mut self, dtype: Dtype, from: impl FnOnce(&mut Builder, Dtype) -> Access) -> Init {
        match self.rng.below(6) {
            0 | 1 => Init::Read(from(self, dtype)),
            2 => Init::Word(value::word(&mut self.rng)),
            3 => Init::Word(0x8000_0000),
            _ => Init::Word(0),
        }
    }

    /// A guard once in four times.
    fn sometimes(&mut self, form: Form, lo: i64, hi: i64) -> Vec<Guard> {
        if !self.rng.one_in(4) {
            return Vec::new();
        }
        [Guard {
            form,
            lo: Int(lo),
            hi: Int(hi),
        }]
        .to_vec()
    }

    fn fold(
        &mut self,
        shape: &[u64],
        red: &[u64],
        step: Step,
        reads: Vec<Access>,
        when: Vec<Guard>,
        init: Init,
    ) -> Node {
        Node::Fold(Fold {
            body: Body {
                shape: dims(shape),
                dtype: step.dtype,
                index: Vec::new(),
                reads,
                values: Vec::new(),
                consts: step.consts,
                ops: step.ops,
            },
            red: dims(red),
            when,
            init,
        })
    }
}

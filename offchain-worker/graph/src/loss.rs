//! Losses, and how often a classifier is right.

use crate::{
    gradient::Rule,
    graph::{Graph, Value},
    kernel::{
        form::{index, out, red},
        Kernel, Operand,
    },
    norm::Exponentials,
    scalar::{apply, Expr, Scalar},
};
use lockstep_protocol::program::Dtype;

/// How a cross-entropy reads its labels. The default counts every label and trusts it wholly.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrossEntropy {
    /// The label of rows that do not count: their loss is 0, and nothing flows back from them.
    pub ignore: Option<i32>,
    /// The share of the truth, in `0.0..1.0`, that is spread over all classes alike.
    ///
    /// C. Szegedy et al.: Rethinking the Inception architecture for computer vision (CVPR 2016).
    pub smoothing: f32,
}

struct TowardsLogits {
    labels: Value,
    options: CrossEntropy,
}

impl Rule for TowardsLogits {
    /// The softmax minus the truth.
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        _: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let shape = graph.shape(inputs[0]).to_vec();
        let (axis, classes) = (shape.len() - 1, shape[shape.len() - 1]);
        let probability = graph.softmax(inputs[0], axis);
        let mut truth = graph.one_hot(self.labels, classes);
        let CrossEntropy { ignore, smoothing } = self.options;
        if smoothing != 0.0 {
            let (rest, share) = (
                graph.scalar(1.0 - smoothing),
                graph.scalar(smoothing / classes as f32),
            );
            truth = graph.fma(truth, rest, share);
        }
        let error = graph.sub(probability, truth);
        let mut upstream = upstream;
        if let Some(ignore) = ignore {
            let (counts, zero) = (graph.counts(self.labels, ignore), graph.scalar(0.0));
            upstream = graph.select(counts, upstream, zero);
        }
        let upstream = graph.reshape(upstream, &[&shape[..axis], &[1]].concat());
        vec![Some(graph.mul(error, upstream))]
    }
}

struct BinaryCrossEntropy;

impl Rule for BinaryCrossEntropy {
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        _: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let &[logits, targets] = inputs else {
            unreachable!("a binary cross-entropy has two inputs");
        };
        let probability = graph.sigmoid(logits);
        let error = graph.sub(probability, targets);
        let towards_logits = graph.mul(error, upstream);
        let against = graph.neg(logits);
        vec![Some(towards_logits), Some(graph.mul(against, upstream))]
    }
}

struct Pick {
    indices: Value,
}

impl Rule for Pick {
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        _: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let &[rows, columns] = graph.shape(inputs[0]) else {
            unreachable!("elements are picked from a matrix");
        };
        let picked = graph.one_hot(self.indices, columns);
        let upstream = graph.reshape(upstream, &[rows, 1]);
        vec![Some(graph.mul(picked, upstream))]
    }
}

impl Graph {
    /// The cross-entropy of each row of `logits`, shape `[.., classes]`, against its label, an
    /// integer below the number of classes: minus the log-probability of the label. Shape `[..]`.
    ///
    /// # Panics
    /// When the shapes do not fit or labels are not integers.
    pub fn cross_entropy(&mut self, logits: Value, labels: Value) -> Value {
        self.cross_entropy_with(logits, labels, CrossEntropy::default())
    }

    /// As [`Graph::cross_entropy`], with labels that do not count or are smoothed.
    ///
    /// # Panics
    /// When the shapes do not fit, labels are not integers, or the smoothing is not in `0.0..1.0`.
    pub fn cross_entropy_with(
        &mut self,
        logits: Value,
        labels: Value,
        options: CrossEntropy,
    ) -> Value {
        let CrossEntropy { ignore, smoothing } = options;
        assert!(
            (0.0..1.0).contains(&smoothing),
            "a smoothing of {smoothing}"
        );
        let rows = self.shape(labels).to_vec();
        let (axis, classes) = (
            rows.len(),
            *self.shape(logits).last().expect("logits have an axis"),
        );
        assert_eq!(
            self.shape(logits)[..axis],
            rows,
            "one label a row of logits"
        );
        let Exponentials { shifted, sum, .. } = self.exponentials(logits, axis);
        let sum = self.reshape(sum, &rows);
        let log = self.log(sum);
        let matrix = [rows.iter().product(), classes];
        let (table, indices) = (
            self.reshape(shifted, &matrix),
            self.reshape(labels, &matrix[..1]),
        );
        let picked = self.pick(table, indices);
        let mut expected = self.reshape(picked, &rows);
        if smoothing != 0.0 {
            let mean = self.mean(shifted, &[axis]);
            let (spread, trusted) = (self.scale(mean, smoothing), self.scalar(1.0 - smoothing));
            expected = self.fma(expected, trusted, spread);
        }
        let mut root = self.sub(log, expected);
        if let Some(ignore) = ignore {
            let (counts, zero) = (self.counts(labels, ignore), self.scalar(0.0));
            root = self.select(counts, root, zero);
        }
        self.custom(TowardsLogits { labels, options }, &[logits], root)
    }

    /// 1 for each label that counts, 0 for each that is `ignore`; `u32`.
    ///
    /// # Panics
    /// When labels are not integers.
    pub fn counts(&mut self, labels: Value, ignore: i32) -> Value {
        assert_ne!(self.dtype(labels), Dtype::F32, "a label is an integer");
        let ignore = self.word(ignore as u32);
        let ignored = self.same(labels, ignore);
        let (no, yes) = (self.word(0), self.word(1));
        self.select(ignored, no, yes)
    }

    /// The binary cross-entropy of each logit x against its target t in `0..=1`:
    /// `log(1 + exp(x)) - t * x`, computed so that nothing overflows.
    ///
    /// # Panics
    /// When the shapes differ or the elements are not f32.
    pub fn binary_cross_entropy(&mut self, logits: Value, targets: Value) -> Value {
        assert_eq!(self.shape(logits), self.shape(targets), "shapes");
        let zero = self.scalar(0.0);
        let positive = self.maximum(logits, zero);
        let magnitude = self.abs(logits);
        let away = self.neg(magnitude);
        let small = self.exp(away);
        let softplus = self.log_one_plus(small);
        let product = self.mul(logits, targets);
        let above = self.sub(positive, product);
        let root = self.add(above, softplus);
        self.custom(BinaryCrossEntropy, &[logits, targets], root)
    }

    /// `log(1 + x)` for x in `0..=1`, also where `1 + x` rounds x away.
    fn log_one_plus(&mut self, x: Value) -> Value {
        let one = self.scalar(1.0);
        let sum = self.add(x, one);
        let kept = self.sub(sum, one);
        let lost = self.sub(x, kept);
        let correction = self.div(lost, sum);
        let log = self.log(sum);
        self.add(log, correction)
    }

    /// The square of each difference.
    ///
    /// # Panics
    /// When the shapes differ.
    pub fn squared_error(&mut self, prediction: Value, target: Value) -> Value {
        assert_eq!(self.shape(prediction), self.shape(target), "shapes");
        let error = self.sub(prediction, target);
        self.mul(error, error)
    }

    /// The magnitude of each difference.
    ///
    /// # Panics
    /// When the shapes differ.
    pub fn absolute_error(&mut self, prediction: Value, target: Value) -> Value {
        assert_eq!(self.shape(prediction), self.shape(target), "shapes");
        let error = self.sub(prediction, target);
        self.abs(error)
    }

    /// The mean of the squared differences of all elements.
    ///
    /// # Panics
    /// When the shapes differ.
    pub fn mean_squared_error(&mut self, prediction: Value, target: Value) -> Value {
        let square = self.squared_error(prediction, target);
        let axes: Vec<usize> = (0..self.shape(square).len()).collect();
        self.mean(square, &axes)
    }

    /// 1 where the last axis' position is the integer, else 0: shape `[.., classes]`, f32.
    pub fn one_hot(&mut self, labels: Value, classes: usize) -> Value {
        let shape = [self.shape(labels), &[1]].concat();
        let labels = self.reshape(labels, &shape);
        let class = self.positions(&[classes]);
        let hit = self.same(labels, class);
        let (one, zero) = (self.scalar(1.0), self.scalar(0.0));
        self.select(hit, one, zero)
    }

    /// For each row of `x`, shape `[n, m]`, the element at its index, 0 when that is out of range.
    ///
    /// # Panics
    /// When `x` is not a matrix, there are not n indices, or they are not integers.
    pub fn pick(&mut self, x: Value, indices: Value) -> Value {
        let &[rows, _] = self.shape(x) else {
            panic!("elements are picked from a matrix, not {:?}", self.shape(x));
        };
        assert_eq!(self.shape(indices), [rows], "one index a row");
        assert_ne!(self.dtype(indices), Dtype::F32, "an index is an integer");
        let kernel = Kernel {
            shape: vec![rows],
            dtype: self.dtype(x),
            red: vec![],
            index: vec![Operand::new(1, vec![out(0)])],
            reads: vec![Operand::new(0, vec![out(0), index(0)])],
            when: vec![],
            init: 0,
            body: Expr::Read(0),
        };
        let root = self.kernel(kernel, &[x, indices]);
        self.custom(Pick { indices }, &[x], root)
    }

    /// The position of the maximum of each row of `x`, shape `[n, m]`, the first of equals; `u32`.
    ///
    /// # Panics
    /// When `x` is not a matrix.
    pub fn argmax(&mut self, x: Value) -> Value {
        let &[rows, columns] = self.shape(x) else {
            panic!("rows of a matrix have a maximum, not {:?}", self.shape(x));
        };
        let max = self.max(x, &[1]);
        let here = apply(Scalar::Same, vec![Expr::Read(0), Expr::Read(1)]);
        let candidate = apply(
            Scalar::Select,
            vec![here, Expr::Value(red(0)), Expr::Word(u32::MAX)],
        );
        let kernel = Kernel {
            shape: vec![rows],
            dtype: Dtype::U32,
            red: vec![columns],
            index: vec![],
            reads: vec![
                Operand::new(0, vec![out(0), red(0)]),
                Operand::new(1, vec![out(0)]),
            ],
            when: vec![],
            init: u32::MAX,
            body: apply(Scalar::MinU, vec![Expr::Acc, candidate]),
        };
        self.kernel(kernel, &[x, max])
    }

    /// 1 for each row of `logits`, shape `[.., classes]`, whose maximum is at its label, else 0;
    /// `u32`, shape `[..]`.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn hits(&mut self, logits: Value, labels: Value) -> Value {
        let rows = self.shape(labels).to_vec();
        let classes = *self.shape(logits).last().expect("logits have an axis");
        let table = self.reshape(logits, &[rows.iter().product(), classes]);
        let guess = self.argmax(table);
        let guess = self.reshape(guess, &rows);
        self.same(guess, labels)
    }

    /// 1 for each logit that is on the side of 0 on which its target is of 1/2, else 0; `u32`.
    ///
    /// # Panics
    /// When the shapes differ or the elements are not f32.
    pub fn binary_hits(&mut self, logits: Value, targets: Value) -> Value {
        assert_eq!(self.shape(logits), self.shape(targets), "shapes");
        let (zero, half) = (self.scalar(0.0), self.scalar(0.5));
        let (guess, truth) = (self.less(zero, logits), self.less(half, targets));
        self.same(guess, truth)
    }
}

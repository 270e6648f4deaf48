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

struct CrossEntropy {
    labels: Value,
}

impl Rule for CrossEntropy {
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        _: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let shape = graph.shape(inputs[0]).to_vec();
        let probability = graph.softmax(inputs[0], 1);
        let truth = graph.one_hot(self.labels, shape[1]);
        let error = graph.sub(probability, truth);
        let upstream = graph.reshape(upstream, &[shape[0], 1]);
        vec![Some(graph.mul(error, upstream))]
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
    /// The cross-entropy of each row of `logits`, shape `[n, classes]`, against its label, an
    /// integer below the number of classes: minus the log-probability of the label. Shape `[n]`.
    ///
    /// # Panics
    /// When the shapes do not fit or labels are not integers.
    pub fn cross_entropy(&mut self, logits: Value, labels: Value) -> Value {
        let Exponentials { shifted, sum, .. } = self.exponentials(logits, 1);
        let rows = self.shape(labels).to_vec();
        let sum = self.reshape(sum, &rows);
        let log = self.log(sum);
        let picked = self.pick(shifted, labels);
        let root = self.sub(log, picked);
        self.custom(CrossEntropy { labels }, &[logits], root)
    }

    /// The mean of the squared differences of all elements.
    ///
    /// # Panics
    /// When the shapes differ.
    pub fn mean_squared_error(&mut self, prediction: Value, target: Value) -> Value {
        assert_eq!(self.shape(prediction), self.shape(target), "shapes");
        let error = self.sub(prediction, target);
        let square = self.mul(error, error);
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

    /// 1 for each row whose maximum is at its label, else 0; `u32`.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn hits(&mut self, logits: Value, labels: Value) -> Value {
        let guess = self.argmax(logits);
        self.same(guess, labels)
    }
}

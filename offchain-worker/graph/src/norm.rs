//! Softmax and layer normalisation.

use crate::{
    gradient::Rule,
    graph::{Graph, Value},
};

struct Softmax {
    axis: usize,
}

impl Rule for Softmax {
    fn gradient(
        &self,
        graph: &mut Graph,
        _: &[Value],
        output: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let weighted = graph.mul(upstream, output);
        let mean = graph.sum_keep(weighted, &[self.axis]);
        let centred = graph.sub(upstream, mean);
        vec![Some(graph.mul(output, centred))]
    }
}

struct LogSoftmax {
    axis: usize,
}

impl Rule for LogSoftmax {
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        _: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let total = graph.sum_keep(upstream, &[self.axis]);
        let probability = graph.softmax(inputs[0], self.axis);
        let share = graph.mul(probability, total);
        vec![Some(graph.sub(upstream, share))]
    }
}

/// To mean 0 and variance 1 over some axes.
struct Standardize {
    axes: Vec<usize>,
    reciprocal_deviation: Value,
}

impl Rule for Standardize {
    fn gradient(
        &self,
        graph: &mut Graph,
        _: &[Value],
        output: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let mean = graph.mean_keep(upstream, &self.axes);
        let weighted = graph.mul(upstream, output);
        let slope = graph.mean_keep(weighted, &self.axes);
        let centred = graph.sub(upstream, mean);
        let along = graph.mul(output, slope);
        let across = graph.sub(centred, along);
        vec![Some(graph.mul(self.reciprocal_deviation, across))]
    }
}

/// A tensor of mean 0 and variance 1, and what those were before.
#[derive(Clone, Copy, Debug)]
pub struct Standard {
    /// The tensor.
    pub result: Value,
    /// Its mean before; the axes that it was taken over have extent 1.
    pub mean: Value,
    /// Its variance before, the mean square of the distance from the mean.
    pub variance: Value,
}

/// An axis' exponentials after the maximum is taken away, and what follows from them.
pub(crate) struct Exponentials {
    /// `x - max`.
    pub(crate) shifted: Value,
    /// `exp(x - max)`.
    pub(crate) exps: Value,
    /// Their sum, which keeps extent 1.
    pub(crate) sum: Value,
}

impl Graph {
    pub(crate) fn exponentials(&mut self, x: Value, axis: usize) -> Exponentials {
        let max = self.max_keep(x, &[axis]);
        let shifted = self.sub(x, max);
        let exps = self.exp(shifted);
        let sum = self.sum_keep(exps, &[axis]);
        Exponentials { shifted, exps, sum }
    }

    /// `exp(x)` divided by its sum along `axis`.
    ///
    /// # Panics
    /// When there is no such axis.
    pub fn softmax(&mut self, x: Value, axis: usize) -> Value {
        let Exponentials { exps, sum, .. } = self.exponentials(x, axis);
        let root = self.div(exps, sum);
        self.custom(Softmax { axis }, &[x], root)
    }

    /// The logarithm of the softmax along `axis`.
    ///
    /// # Panics
    /// When there is no such axis.
    pub fn log_softmax(&mut self, x: Value, axis: usize) -> Value {
        let Exponentials { shifted, sum, .. } = self.exponentials(x, axis);
        let log = self.log(sum);
        let root = self.sub(shifted, log);
        self.custom(LogSoftmax { axis }, &[x], root)
    }

    /// `x` brought to mean 0 and variance 1 along the last axis, times `gain` plus `bias`, both of
    /// the last axis' extent. `epsilon` is added to the variance.
    ///
    /// J. L. Ba, J. R. Kiros, G. E. Hinton: Layer normalization (2016).
    ///
    /// # Panics
    /// When `x` is a scalar or the shapes do not fit.
    pub fn layer_norm(&mut self, x: Value, gain: Value, bias: Value, epsilon: f32) -> Value {
        let last = self.shape(x).len().checked_sub(1);
        let last = last.expect("a layer norm needs an axis");
        let standard = self.standardize(x, &[last], epsilon).result;
        self.fma(standard, gain, bias)
    }

    /// `x` brought to mean 0 and variance 1 over `axes`, each of the others on its own. `epsilon`
    /// is added to the variance.
    ///
    /// # Panics
    /// When an axis does not exist or the elements are not f32.
    pub fn standardize(&mut self, x: Value, axes: &[usize], epsilon: f32) -> Standard {
        let mean = self.mean_keep(x, axes);
        let centred = self.sub(x, mean);
        let square = self.mul(centred, centred);
        let variance = self.mean_keep(square, axes);
        let epsilon = self.scalar(epsilon);
        let raised = self.add(variance, epsilon);
        let reciprocal_deviation = self.rsqrt(raised);
        let root = self.mul(centred, reciprocal_deviation);
        let rule = Standardize {
            axes: axes.to_vec(),
            reciprocal_deviation,
        };
        let result = self.custom(rule, &[x], root);
        Standard {
            result,
            mean,
            variance,
        }
    }
}

//! Functions of one number that are made of several, with gradients that stay finite where those
//! of their parts would not.

use crate::{
    gradient::Rule,
    graph::{Graph, Value},
};

struct Softplus;

impl Rule for Softplus {
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        _: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let slope = graph.sigmoid(inputs[0]);
        vec![Some(graph.mul(upstream, slope))]
    }
}

struct Elu {
    alpha: f32,
}

impl Rule for Elu {
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        output: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let (zero, alpha) = (graph.scalar(0.0), graph.scalar(self.alpha));
        let positive = graph.less(zero, inputs[0]);
        let slope = graph.add(output, alpha);
        let below = graph.mul(upstream, slope);
        vec![Some(graph.select(positive, upstream, below))]
    }
}

struct Clamp {
    low: f32,
    high: f32,
}

impl Rule for Clamp {
    /// The bounds themselves let the gradient pass.
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        _: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let (low, high, zero) = (
            graph.scalar(self.low),
            graph.scalar(self.high),
            graph.scalar(0.0),
        );
        let below = graph.less(inputs[0], low);
        let above = graph.less(high, inputs[0]);
        let kept = graph.select(below, zero, upstream);
        vec![Some(graph.select(above, zero, kept))]
    }
}

struct Power;

impl Rule for Power {
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        output: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let (base, exponent) = (inputs[0], inputs[1]);
        let one = graph.scalar(1.0);
        let less = graph.sub(exponent, one);
        let power = graph.pow(base, less);
        let slope = graph.mul(exponent, power);
        let towards_base = graph.mul(upstream, slope);
        let log = graph.log(base);
        let slope = graph.mul(log, output);
        let towards_exponent = graph.mul(upstream, slope);
        vec![
            Some(graph.sum_to(towards_base, base)),
            Some(graph.sum_to(towards_exponent, exponent)),
        ]
    }
}

impl Graph {
    /// `log(1 + exp(x))`, which is x for large x and exp(x) for small.
    ///
    /// # Panics
    /// When the elements are not f32.
    pub fn softplus(&mut self, x: Value) -> Value {
        let (zero, one) = (self.scalar(0.0), self.scalar(1.0));
        let size = self.abs(x);
        let minus = self.neg(size);
        let small = self.exp(minus);
        // log(1 + e) is e times log(s) / (s - 1) where s is the rounded sum, whose error cancels.
        let sum = self.add(one, small);
        let log = self.log(sum);
        let rounded = self.sub(sum, one);
        let share = self.div(small, rounded);
        let corrected = self.mul(log, share);
        let lost = self.equal(rounded, zero);
        let tail = self.select(lost, small, corrected);
        let rest = self.maximum(x, zero);
        let root = self.add(rest, tail);
        self.custom(Softplus, &[x], root)
    }

    /// `x` where it is positive, else `alpha * (exp(x) - 1)`.
    ///
    /// D.-A. Clevert, T. Unterthiner, S. Hochreiter: Exponential linear units (ICLR 2016).
    ///
    /// # Panics
    /// When the elements are not f32.
    pub fn elu(&mut self, x: Value, alpha: f32) -> Value {
        let (zero, one) = (self.scalar(0.0), self.scalar(1.0));
        let positive = self.less(zero, x);
        let exp = self.exp(x);
        let less = self.sub(exp, one);
        let below = self.scale(less, alpha);
        let root = self.select(positive, x, below);
        self.custom(Elu { alpha }, &[x], root)
    }

    /// `x` where it lies in `low..=high`, else the nearer of the two.
    ///
    /// # Panics
    /// When the elements are not f32.
    pub fn clamp(&mut self, x: Value, low: f32, high: f32) -> Value {
        let (least, most) = (self.scalar(low), self.scalar(high));
        let raised = self.maximum(x, least);
        let root = self.minimum(raised, most);
        self.custom(Clamp { low, high }, &[x], root)
    }

    /// `base` to the power of `exponent` for a base that is not negative, `exp(exponent *
    /// log(base))`: its relative error grows with the size of that product. A negative base gives
    /// NaN.
    ///
    /// # Panics
    /// When the shapes do not broadcast to one or the elements are not f32.
    pub fn pow(&mut self, base: Value, exponent: Value) -> Value {
        let log = self.log(base);
        let product = self.mul(exponent, log);
        let root = self.exp(product);
        self.custom(Power, &[base, exponent], root)
    }

    /// `x` multiplied by itself, `exponent` times in all; the reciprocal where it is negative.
    ///
    /// # Panics
    /// When the elements are not f32.
    pub fn powi(&mut self, x: Value, exponent: i32) -> Value {
        let mut product = None;
        let mut square = x;
        let mut left = exponent.unsigned_abs();
        while left > 0 {
            if left & 1 == 1 {
                product = Some(match product {
                    Some(product) => self.mul(product, square),
                    None => square,
                });
            }
            left >>= 1;
            if left > 0 {
                square = self.mul(square, square);
            }
        }
        let one = self.scalar(1.0);
        match product {
            None => {
                let shape = self.shape(x).to_vec();
                self.broadcast(one, &shape)
            }
            Some(product) if exponent < 0 => self.div(one, product),
            Some(product) => product,
        }
    }

    /// The sum over the axes along which `like` was broadcast to the shape of `x`.
    fn sum_to(&mut self, x: Value, like: Value) -> Value {
        let shape = self.shape(like).to_vec();
        let missing = self.shape(x).len() - shape.len();
        let repeated: Vec<usize> = (0..self.shape(x).len())
            .filter(|&k| k < missing || (shape[k - missing] == 1 && self.shape(x)[k] != 1))
            .collect();
        let sum = self.sum_keep(x, &repeated);
        self.reshape(sum, &shape)
    }
}

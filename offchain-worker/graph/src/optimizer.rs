//! Optimizers: how a parameter follows from its gradient.

use crate::graph::{Graph, Value};

/// A rule that turns gradients into new parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent. With momentum, the moment m becomes `momentum * m + g`, and the
    /// parameter loses `rate * m`; the decay times the parameter is part of g.
    Sgd {
        /// Share of the moment that a step keeps, in `0.0..1.0`.
        momentum: f32,
        /// Decay of weights.
        decay: f32,
    },
    /// Adam; the decay times the parameter is part of the gradient.
    ///
    /// D. P. Kingma, J. Ba: Adam: a method for stochastic optimization (ICLR 2015).
    Adam {
        /// Share of the first moment that a step keeps.
        beta1: f32,
        /// Share of the second moment that a step keeps.
        beta2: f32,
        /// Added to the root of the second moment.
        epsilon: f32,
        /// Decay of weights.
        decay: f32,
    },
    /// Adam with decoupled weight decay.
    ///
    /// I. Loshchilov, F. Hutter: Decoupled weight decay regularization (ICLR 2019).
    AdamW {
        /// Share of the first moment that a step keeps.
        beta1: f32,
        /// Share of the second moment that a step keeps.
        beta2: f32,
        /// Added to the root of the second moment.
        epsilon: f32,
        /// Decay of weights.
        decay: f32,
    },
}

/// A step's scalars.
pub(crate) struct Scalars {
    rate: Value,
    corrections: Option<[Value; 2]>,
}

impl Optimizer {
    /// Names of the moments that each parameter has.
    pub(crate) fn moments(&self) -> &'static [&'static str] {
        match self {
            Optimizer::Sgd { momentum: 0.0, .. } => &[],
            Optimizer::Sgd { .. } => &["momentum"],
            Optimizer::Adam { .. } | Optimizer::AdamW { .. } => &["mean", "variance"],
        }
    }

    /// The decay of weights.
    pub fn decay(&self) -> f32 {
        match *self {
            Optimizer::Sgd { decay, .. }
            | Optimizer::Adam { decay, .. }
            | Optimizer::AdamW { decay, .. } => decay,
        }
    }

    /// Reads the step's learning rate from `rates`, one for each step, and what else depends on
    /// the step alone.
    pub(crate) fn scalars(&self, graph: &mut Graph, rates: &[f32]) -> Scalars {
        let rate = graph.scheduled(rates);
        let corrections = match *self {
            Optimizer::Sgd { .. } => None,
            Optimizer::Adam { beta1, beta2, .. } | Optimizer::AdamW { beta1, beta2, .. } => {
                let corrections = [beta1, beta2].map(|beta| bias_corrections(beta, rates.len()));
                Some(corrections.map(|table| graph.scheduled(&table)))
            }
        };
        Scalars { rate, corrections }
    }

    /// The parameter after the step and its moments after the step. `decay` is the parameter's
    /// own.
    pub(crate) fn update(
        &self,
        graph: &mut Graph,
        scalars: &Scalars,
        parameter: Value,
        gradient: Value,
        moments: &[Value],
        decay: f32,
    ) -> (Value, Vec<Value>) {
        let decayed = |graph: &mut Graph, direction| match decay {
            0.0 => direction,
            decay => {
                let decay = graph.scalar(decay);
                graph.fma(parameter, decay, direction)
            }
        };
        let (direction, moments) = match *self {
            Optimizer::Sgd { momentum, .. } => {
                let direction = decayed(graph, gradient);
                match moments {
                    [moment] => {
                        let momentum = graph.scalar(momentum);
                        let moment = graph.fma(*moment, momentum, direction);
                        (moment, vec![moment])
                    }
                    _ => (direction, vec![]),
                }
            }
            Optimizer::Adam {
                beta1,
                beta2,
                epsilon,
                ..
            } => {
                let gradient = decayed(graph, gradient);
                scalars.adaptive(graph, gradient, moments, [beta1, beta2], epsilon)
            }
            Optimizer::AdamW {
                beta1,
                beta2,
                epsilon,
                ..
            } => {
                let betas = [beta1, beta2];
                let (direction, moments) =
                    scalars.adaptive(graph, gradient, moments, betas, epsilon);
                (decayed(graph, direction), moments)
            }
        };
        let rate = graph.neg(scalars.rate);
        (graph.fma(rate, direction, parameter), moments)
    }
}

impl Scalars {
    /// The mean of gradients over the root of their mean square, both corrected for having begun
    /// at 0; and the two moments.
    fn adaptive(
        &self,
        graph: &mut Graph,
        gradient: Value,
        moments: &[Value],
        [beta1, beta2]: [f32; 2],
        epsilon: f32,
    ) -> (Value, Vec<Value>) {
        let &[mean, variance] = moments else {
            unreachable!("a parameter under Adam has two moments");
        };
        let mean = graph.average(mean, gradient, beta1);
        let square = graph.mul(gradient, gradient);
        let variance = graph.average(variance, square, beta2);
        let [c1, c2] = self.corrections.expect("Adam has bias corrections");
        let numerator = graph.mul(mean, c1);
        let unbiased = graph.mul(variance, c2);
        let root = graph.sqrt(unbiased);
        let epsilon = graph.scalar(epsilon);
        let denominator = graph.add(root, epsilon);
        let direction = graph.div(numerator, denominator);
        (direction, vec![mean, variance])
    }
}

/// `1 / (1 - beta^t)` for t from 1 on, in f64 with one rounding of each operation to the end.
fn bias_corrections(beta: f32, steps: usize) -> Vec<f32> {
    let mut power = 1.0;
    let correction = |_| {
        power *= beta as f64;
        (1.0 / (1.0 - power)) as f32
    };
    (0..steps).map(correction).collect()
}

impl Graph {
    /// `beta * average + (1 - beta) * x`.
    fn average(&mut self, average: Value, x: Value, beta: f32) -> Value {
        let share = self.scale(x, (1.0 - beta as f64) as f32);
        let beta = self.scalar(beta);
        self.fma(average, beta, share)
    }
}

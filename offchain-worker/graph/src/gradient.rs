//! Reverse-mode differentiation.

use crate::graph::{Graph, Op, Value};
use lockstep_protocol::program::Dtype;
use std::collections::BTreeMap;

/// How an operation differentiates.
pub(crate) trait Rule: 'static {
    /// What `upstream`, the gradient towards `output`, is towards each of `inputs`; `None` where
    /// nothing flows.
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        output: Value,
        upstream: Value,
    ) -> Vec<Option<Value>>;
}

impl Graph {
    /// The gradient of the scalar `loss` towards each of `targets`, in their shapes; zeros where
    /// the loss does not depend on a target.
    ///
    /// # Panics
    /// When `loss` is not one f32.
    pub fn gradients(&mut self, loss: Value, targets: &[Value]) -> Vec<Value> {
        assert_eq!(
            (self.shape(loss).iter().product(), self.dtype(loss)),
            (1usize, Dtype::F32),
            "elements and type of a loss"
        );
        let wanted = self.leading_to(targets, loss);
        let one = self.scalar(1.0);
        let shape = self.shape(loss).to_vec();
        let seed = self.broadcast(one, &shape);
        let mut gradients = BTreeMap::from([(loss, seed)]);
        for id in (0..=loss.0).rev() {
            let value = Value(id);
            let Some(&upstream) = gradients.get(&value) else {
                continue;
            };
            let inputs = self.entry(value).inputs.clone();
            let towards = self.vector_jacobian(value, upstream);
            for (input, gradient) in inputs.into_iter().zip(towards) {
                let Some(gradient) = gradient.filter(|_| wanted[input.0 as usize]) else {
                    continue;
                };
                let sum = match gradients.get(&input) {
                    Some(&sum) => self.add(sum, gradient),
                    None => gradient,
                };
                gradients.insert(input, sum);
            }
        }
        targets
            .iter()
            .map(|target| match gradients.get(target) {
                Some(&gradient) => gradient,
                None => {
                    let zero = self.scalar(0.0);
                    let shape = self.shape(*target).to_vec();
                    self.broadcast(zero, &shape)
                }
            })
            .collect()
    }

    /// Which values up to `loss` depend on a target.
    fn leading_to(&self, targets: &[Value], loss: Value) -> Vec<bool> {
        let mut wanted = vec![false; self.len()];
        for target in targets {
            wanted[target.0 as usize] = true;
        }
        for id in 0..=loss.0 {
            let inputs = &self.entry(Value(id)).inputs;
            if inputs.iter().any(|i| wanted[i.0 as usize]) {
                wanted[id as usize] = true;
            }
        }
        wanted
    }

    fn vector_jacobian(&mut self, value: Value, upstream: Value) -> Vec<Option<Value>> {
        let entry = self.entry(value).clone();
        let x = entry.inputs.first().copied();
        match (&entry.op, x) {
            (Op::Apply(scalar), _) => self.apply_gradient(*scalar, &entry.inputs, value, upstream),
            (Op::Reshape, Some(x)) => {
                let shape = self.shape(x).to_vec();
                vec![Some(self.reshape(upstream, &shape))]
            }
            (Op::Permute(order), _) => {
                let mut inverse = vec![0; order.len()];
                for (k, &from) in order.iter().enumerate() {
                    inverse[from] = k;
                }
                vec![Some(self.permute(upstream, &inverse))]
            }
            (Op::Broadcast, Some(x)) => {
                let repeated: Vec<usize> = (0..entry.shape.len())
                    .filter(|&k| self.shape(x)[k] != entry.shape[k])
                    .collect();
                vec![Some(self.sum_keep(upstream, &repeated))]
            }
            (Op::Slice { axis, start }, Some(x)) => {
                let after = self.shape(x)[*axis] - start - entry.shape[*axis];
                vec![Some(self.pad(upstream, *axis, *start, after))]
            }
            (Op::Pad { axis, before }, Some(x)) => {
                let len = self.shape(x)[*axis];
                vec![Some(self.slice(upstream, *axis, *before, len))]
            }
            (Op::Concat(axis), _) => {
                let mut start = 0;
                let mut part = |graph: &mut Graph, input: Value| {
                    let len = graph.shape(input)[*axis];
                    start += len;
                    Some(graph.slice(upstream, *axis, start - len, len))
                };
                entry
                    .inputs
                    .iter()
                    .map(|&input| part(self, input))
                    .collect()
            }
            (Op::Reduce(join, axes), Some(x)) => {
                vec![Some(self.reduce_gradient(*join, axes, x, value, upstream))]
            }
            (Op::Custom(rule), _) => {
                let (_, inputs) = entry
                    .inputs
                    .split_last()
                    .expect("the root is the last input");
                let mut gradients = rule.0.gradient(self, inputs, value, upstream);
                gradients.push(None);
                gradients
            }
            (Op::Kernel(_), _) => panic!("a kernel differentiates by a rule of its own"),
            _ => vec![None; entry.inputs.len()],
        }
    }
}

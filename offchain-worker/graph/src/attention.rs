//! Attention.

use crate::{
    graph::{Graph, Value},
    initial::Initial,
    lora::Lora,
    model::Model,
};

/// An attention layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Heads, a divisor of the width.
    pub heads: usize,
    /// Whether a place attends to itself and to those before it alone.
    pub causal: bool,
    /// The probability with which a weight is dropped while training.
    pub dropout: f32,
    /// What is trained instead of the matrices themselves.
    pub lora: Option<Lora>,
}

impl Graph {
    /// What is added to scores so that nobody attends to what lies behind it: shape
    /// `[time, time]`, minus infinity where the column is greater than the row, else 0.
    ///
    /// Whole contractions and an added constant are faster than folds that look at a guard for
    /// every term, and than a choice between two values for every score and its gradient.
    pub fn causal_mask(&mut self, time: usize) -> Value {
        let later = |k: usize| k % time > k / time;
        let mask: Vec<f32> = (0..time * time)
            .map(|k| if later(k) { f32::NEG_INFINITY } else { 0.0 })
            .collect();
        self.constant_f32(&[time, time], &mask)
    }
}

impl Model {
    /// Attention of every place of `x`, shape `[batch, time, width]`, to the others, with the
    /// parameters of four linear layers: `<name>.query`, `<name>.key`, `<name>.value` and
    /// `<name>.output`.
    ///
    /// A. Vaswani et al.: Attention is all you need (NeurIPS 2017).
    ///
    /// # Panics
    /// When `x` has other than three axes or the heads do not divide its width.
    pub fn attention(&mut self, name: &str, x: Value, attention: Attention) -> Value {
        let &[batch, time, width] = self.graph.shape(x) else {
            panic!(
                "attention is over [batch, time, width], not {:?}",
                self.graph.shape(x)
            );
        };
        let Attention {
            heads,
            causal,
            dropout,
            lora,
        } = attention;
        assert_eq!(width % heads, 0, "{heads} heads of {width} numbers");
        let head = width / heads;
        let initial = Initial::xavier(width, width);
        let [query, key, value] = ["query", "key", "value"].map(|part| {
            let y = self.fine_tuned(&format!("{name}.{part}"), x, width, &initial, lora);
            let y = self.graph.reshape(y, &[batch, time, heads, head]);
            self.graph.permute(y, &[0, 2, 1, 3])
        });
        let keys = self.graph.transpose(key);
        let scores = self.graph.matmul(query, keys);
        let scale = 1.0 / (head as f32).sqrt();
        let scores = match causal {
            true => {
                let (scale, mask) = (self.graph.scalar(scale), self.graph.causal_mask(time));
                self.graph.fma(scores, scale, mask)
            }
            false => self.graph.scale(scores, scale),
        };
        let weights = self.graph.softmax(scores, 3);
        let weights = self.dropout(weights, dropout);
        let mixed = self.graph.matmul(weights, value);
        let mixed = self.graph.permute(mixed, &[0, 2, 1, 3]);
        let mixed = self.graph.reshape(mixed, &[batch, time, width]);
        self.fine_tuned(&format!("{name}.output"), mixed, width, &initial, lora)
    }
}

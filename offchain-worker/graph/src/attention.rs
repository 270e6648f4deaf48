//! Attention.

use crate::{
    graph::{Graph, Value},
    initial::Initial,
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
}

impl Graph {
    /// `scores`, shape `[.., time, time]`, with minus infinity where a row's column lies behind
    /// it.
    ///
    /// A mask of selected values and not a shorter fold: a contraction of whole tiles is faster
    /// than one that looks at a guard for every term.
    ///
    /// # Panics
    /// When `scores` has fewer than two axes.
    pub fn causal(&mut self, scores: Value) -> Value {
        let &[.., rows, columns] = self.shape(scores) else {
            panic!("scores have rows and columns, not {:?}", self.shape(scores));
        };
        let (row, column) = (self.positions(&[rows]), self.positions(&[columns]));
        let (row, column) = (self.to_f32(row), self.to_f32(column));
        let row = self.reshape(row, &[rows, 1]);
        let (later, never) = (self.less(row, column), self.scalar(f32::NEG_INFINITY));
        self.select(later, never, scores)
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
        } = attention;
        assert_eq!(width % heads, 0, "{heads} heads of {width} numbers");
        let head = width / heads;
        let initial = Initial::xavier(width, width);
        let [query, key, value] = ["query", "key", "value"].map(|part| {
            let y = self.linear(&format!("{name}.{part}"), x, width, &initial);
            let y = self.graph.reshape(y, &[batch, time, heads, head]);
            self.graph.permute(y, &[0, 2, 1, 3])
        });
        let keys = self.graph.transpose(key);
        let scores = self.graph.matmul(query, keys);
        let mut scores = self.graph.scale(scores, 1.0 / (head as f32).sqrt());
        if causal {
            scores = self.graph.causal(scores);
        }
        let weights = self.graph.softmax(scores, 3);
        let weights = self.dropout(weights, dropout);
        let mixed = self.graph.matmul(weights, value);
        let mixed = self.graph.permute(mixed, &[0, 2, 1, 3]);
        let mixed = self.graph.reshape(mixed, &[batch, time, width]);
        self.linear(&format!("{name}.output"), mixed, width, &initial)
    }
}

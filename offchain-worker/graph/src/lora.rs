//! Fine-tuning with few weights: matrices that stay as they are, and thin ones beside them.

use crate::{
    graph::{Graph, Value},
    initial::Initial,
    model::Model,
};
use serde::Deserialize;

/// What is trained beside a frozen matrix W: the product of two thin ones, so that a layer computes
/// `x W + alpha / rank * (x A) B`. A begins like a weight in front of a ReLU and B at zero, so the
/// first step's model is the frozen one.
///
/// E. Hu et al.: LoRA: Low-rank adaptation of large language models (ICLR 2022), section 4.1.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lora {
    /// Columns of A and rows of B.
    pub rank: usize,
    /// How much the product counts, in multiples of 1 / rank.
    pub alpha: f32,
}

impl Lora {
    /// Whether a weight of this name is one of the thin matrices.
    pub fn has(name: &str) -> bool {
        [".lora.down", ".lora.up"]
            .iter()
            .any(|end| name.ends_with(end))
    }
}

impl Graph {
    /// `alpha / rank * (x down) up`.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn low_rank(&mut self, x: Value, down: Value, up: Value, lora: Lora) -> Value {
        let thin = self.linear(x, down, None);
        let change = self.linear(thin, up, None);
        self.scale(change, lora.alpha / lora.rank as f32)
    }
}

impl Model {
    /// A linear layer whose `<name>.weight` and `<name>.bias` are constants, with the parameters
    /// `<name>.lora.down`, shape `[in, rank]`, and `<name>.lora.up`, shape `[rank, out]`. It
    /// multiplies by the constants in the model's precision, by the parameters in f32.
    ///
    /// # Panics
    /// When `x` is a scalar.
    pub fn low_rank(
        &mut self,
        name: &str,
        x: Value,
        outputs: usize,
        initial: &Initial,
        lora: Lora,
    ) -> Value {
        let inputs = self.graph.shape(x).last().copied();
        let inputs = inputs.expect("a linear layer needs an axis");
        let weight = self.frozen(&format!("{name}.weight"), &[inputs, outputs], initial);
        let bias = self.frozen(&format!("{name}.bias"), &[outputs], &Initial::Zeros);
        let y = self.graph.linear_in(self.precision, x, weight, Some(bias));
        let (down, up) = (Initial::kaiming(inputs), Initial::Zeros);
        let down = self.parameter(&format!("{name}.lora.down"), &[inputs, lora.rank], &down);
        let up = self.parameter(&format!("{name}.lora.up"), &[lora.rank, outputs], &up);
        let change = self.graph.low_rank(x, down, up, lora);
        self.graph.add(y, change)
    }

    /// A linear layer, all of it trained unless `lora` says otherwise.
    pub(crate) fn fine_tuned(
        &mut self,
        name: &str,
        x: Value,
        outputs: usize,
        initial: &Initial,
        lora: Option<Lora>,
    ) -> Value {
        match lora {
            Some(lora) => self.low_rank(name, x, outputs, initial, lora),
            None => self.linear(name, x, outputs, initial),
        }
    }
}

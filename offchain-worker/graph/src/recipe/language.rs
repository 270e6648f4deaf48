//! Language models: the forward pass that says what follows a text.

use super::{
    alphabet::Alphabet,
    error::{refuse, Error},
    Importer, Loss, Recipe,
};
use crate::{built::Built, model::Model};
use lockstep_protocol::program::Dtype;
use std::path::Path;

/// A model that gives, for every place of a sequence of tokens, the probability of each token to
/// be the next.
#[derive(Clone, Debug)]
pub struct LanguageModel {
    /// A step turns tokens in slot [`port::INPUT`](crate::training::port), shape `[1, context]`,
    /// into probabilities in slot [`port::OUTPUT`](crate::training::port), f32, shape
    /// `[context, tokens]`.
    pub built: Built,
    /// Type of a token in the input.
    pub dtype: Dtype,
    /// Tokens that it looks at.
    pub context: usize,
    /// Different tokens.
    pub tokens: usize,
    /// What they stand for.
    pub alphabet: Alphabet,
}

impl Recipe {
    /// The recipe's model as one that writes text. Logits are divided by `temperature` before
    /// they become probabilities.
    ///
    /// # Errors
    /// When the model is no language model, and what is wrong with the recipe's model or data.
    pub fn language_model(
        &self,
        folder: &Path,
        importer: &Importer,
        temperature: f32,
    ) -> Result<LanguageModel, Error> {
        let Loss::CrossEntropy { .. } = self.loss else {
            let problem = "it is no language model: one has the loss `cross_entropy`";
            return Err(Error::at("loss", problem));
        };
        let body = self.body(folder, importer)?;
        let records = self.data.open(folder)?;
        let slot = records.layout.find(&self.input);
        let shape = slot.map(|slot| (slot.field.dtype, &records.shapes[&self.input][..]));
        let (dtype, context) = match shape {
            Some((dtype, &[context])) if dtype != Dtype::F32 && body.reads_integers() => {
                (dtype, context)
            }
            _ => {
                let problem = "it is no language model: one reads a sequence of tokens";
                return Err(Error::at("input", problem));
            }
        };
        let mut model = self.start(Model::evaluation(self.train.seed));
        let (state, input) = model.graph.state(&[1, context], dtype);
        let output = body.apply(&mut model, input)?;
        let graph = &mut model.graph;
        let shape = graph.shape(output).to_vec();
        let (&tokens, places) = shape.split_last().unwrap_or((&1, &[]));
        let most = 1usize << (8 * dtype.size()).min(31);
        refuse(
            places.iter().product::<usize>() != context || tokens > most,
            "model",
            &format!(
                "it is no language model: for {context} tokens one has {context} rows of logits, \
                 one a token, and this one's output has shape {shape:?}"
            ),
        )?;
        let logits = graph.reshape(output, &[context, tokens]);
        let logits = graph.scale(logits, 1.0 / temperature);
        let probabilities = graph.softmax(logits, 1);
        Ok(LanguageModel {
            built: model.infer((state, input), probabilities)?,
            dtype,
            context,
            tokens,
            alphabet: Alphabet::of(&self.data, dtype)?,
        })
    }
}

//! Text from a language model, token by token, the same on every machine.
//!
//! The model's program computes the probabilities, bit for bit alike everywhere, and what is left
//! to do here is exact too: sums of f64 in a fixed order and words of Philox4x32-10.

use anyhow::{ensure, Context as _, Result};
use lockstep_agent::run::Device;
use lockstep_engine::{Engine, Job};
use lockstep_graph::recipe::{LanguageModel, Task};
use lockstep_graph::training::port;
use lockstep_protocol::eval::Inputs;
use lockstep_protocol::philox;
use std::sync::Arc;

/// The random domain of draws, under the seed of the sample and not the task's.
const DRAW: u32 = 0;

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Tokens in question, the most probable ones; all when absent.
    pub top: Option<usize>,
    /// Seed of the draws.
    pub seed: u64,
}

/// A language model with trained weights.
pub struct Writer {
    model: LanguageModel,
    engine: Box<dyn Engine>,
    state: Vec<Vec<u8>>,
    input: usize,
    output: usize,
}

impl Writer {
    /// The model with the weights in a state of `task`.
    ///
    /// # Errors
    /// When the state belongs to another model, or a place's probabilities depend on tokens behind
    /// it, so that the model cannot write.
    pub fn new(
        model: LanguageModel,
        task: &Task,
        state: &[Vec<u8>],
        device: Device,
    ) -> Result<Writer> {
        let built = &model.built;
        let job = Job {
            program: Arc::new(built.program.clone()),
            inputs: Inputs {
                seed: task.seed,
                datasets: Vec::new(),
                constants: crate::recipe::blobs(&built.constants),
            },
        };
        let slot = |name| built.slot(name).context("a forward pass has its ports");
        let (input, output) = (slot(port::INPUT)?, slot(port::OUTPUT)?);
        let mut writer = Writer {
            engine: device.engine(job)?,
            state: built.adopt(&task.built.slots, state)?,
            model,
            input,
            output,
        };
        ensure!(
            writer.is_causal()?,
            "the model looks ahead: what it makes of a token depends on those behind it, so it \
             cannot write; use causal attention"
        );
        Ok(writer)
    }

    /// `length` tokens that go on where `text` ends.
    ///
    /// # Errors
    /// When the text is empty, the model gives no probabilities, or the engine fails.
    pub fn write(&mut self, text: &[u32], length: usize, choice: Choice) -> Result<Vec<u32>> {
        ensure!(!text.is_empty(), "give a prompt of at least one character");
        let mut all = text.to_vec();
        for k in 0..length {
            let seen = &all[all.len().saturating_sub(self.model.context)..];
            let probabilities = self.after(seen, seen.len() - 1)?;
            let next = pick(&probabilities, choice.top, share(choice.seed, k as u64));
            all.push(next.context("the model's probabilities are not numbers: it has diverged")?);
        }
        Ok(all.split_off(text.len()))
    }

    /// Whether the first place disregards what follows.
    fn is_causal(&mut self) -> Result<bool> {
        let mut text = vec![0; self.model.context];
        let before = self.after(&text, 0)?;
        text[1..].fill(self.model.tokens as u32 - 1);
        // NaN is no reason to speak of looking ahead.
        let after = self.after(&text, 0)?;
        Ok(before.iter().zip(&after).all(|(a, b)| a == b || a.is_nan()))
    }

    /// The probability of each token to follow place number `place` of a text, which is no longer
    /// than the context.
    fn after(&mut self, text: &[u32], place: usize) -> Result<Vec<f32>> {
        let size = self.model.dtype.size() as usize;
        let tokens = self.state[self.input].chunks_exact_mut(size);
        for (k, bytes) in tokens.enumerate() {
            let token = text.get(k).copied().unwrap_or(0);
            bytes.copy_from_slice(&token.to_le_bytes()[..size]);
        }
        self.engine.load(&self.state)?;
        self.engine.step(0);
        let state = self.engine.state();
        let rows = state[self.output].chunks_exact(4 * self.model.tokens);
        let row = rows.skip(place).flat_map(|row| row.chunks_exact(4));
        let number = |bytes: &[u8]| Some(f32::from_le_bytes(*bytes.first_chunk()?));
        row.take(self.model.tokens)
            .map(|bytes| number(bytes).context("an f32 has 4 bytes"))
            .collect()
    }
}

/// Draw number `k`: a multiple of 2^-53 from 0 and below 1.
fn share(seed: u64, k: u64) -> f64 {
    let [high, low, ..] = philox::stream(seed, DRAW, k);
    let word = (high as u64) << 32 | low as u64;
    (word >> 11) as f64 * 2f64.powi(-53)
}

/// The token that a draw falls on when the tokens stand in order, each as long as it is probable;
/// of equally probable ones the first counts as more so. `None` when nothing has a probability.
fn pick(probabilities: &[f32], top: Option<usize>, draw: f64) -> Option<u32> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    order.truncate(top.unwrap_or(order.len()));
    order.sort_unstable();
    let length = |&k: &usize| probabilities[k] as f64;
    let total: f64 = order.iter().map(length).sum();
    let mut left = draw * total;
    let mut found = order.iter().filter(|k| length(k) > 0.0).peekable();
    while let Some(k) = found.next() {
        left -= length(k);
        // The last one also has what rounding leaves over.
        if left < 0.0 || found.peek().is_none() {
            return total.is_finite().then_some(*k as u32);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_graph::recipe::{no_importer, Recipe};

    const RECIPE: &str = r#"
        input = "tokens"
        data = { train = "text.bin", tokens = { dtype = "u8", context = 6 } }
        layer = [
            { kind = "embedding", rows = 5, width = 8 },
            { kind = "positions" },
            { kind = "residual", layers = [{ kind = "attention", heads = 2, causal = true }] },
            { kind = "unembedding" },
        ]
        loss = { kind = "cross_entropy", target = "next" }
        optimizer = { kind = "sgd", rate = 0.1 }
        train = { batch = 1, steps = 1, segment = 1, seed = 5 }
    "#;

    fn writer(recipe: &str, device: Device) -> Result<Writer> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("text.bin"), [1, 2, 3, 4, 0, 1, 2])?;
        let recipe = Recipe::from_toml(recipe)?;
        let task = recipe.build(folder.path())?;
        let model = recipe.language_model(folder.path(), &no_importer, 0.5)?;
        Writer::new(model, &task, &task.built.genesis(), device)
    }

    #[test]
    fn every_engine_writes_the_same_text_beyond_the_context() {
        let choice = Choice { top: None, seed: 3 };
        let text = |device| writer(RECIPE, device).unwrap().write(&[1, 2], 30, choice);
        let here = text(Device::default()).unwrap();
        assert_eq!(here, text(Device::Reference).unwrap());
        assert!(here.len() == 30 && here.iter().all(|&token| token < 5));
        assert!(here.iter().any(|&token| token != here[0]), "{here:?}");
    }

    #[test]
    fn a_text_goes_on_by_what_the_model_sees_of_it() {
        let mut writer = writer(RECIPE, Device::default()).unwrap();
        let choice = Choice { top: None, seed: 3 };
        let long = [4, 4, 0, 1, 2, 3, 1, 0];
        let seen = writer.write(&long[2..], 9, choice).unwrap();
        assert_eq!(writer.write(&long, 9, choice).unwrap(), seen);
        assert!(writer.write(&[], 9, choice).is_err());
    }

    #[test]
    fn a_model_that_looks_ahead_is_refused() {
        let ahead = RECIPE.replace("causal = true", "causal = false");
        let refusal = writer(&ahead, Device::default()).err().unwrap();
        assert!(refusal.to_string().contains("looks ahead"), "{refusal}");
    }

    #[test]
    fn tokens_are_drawn_as_often_as_they_are_probable() {
        let mut seen = [0u32; 4];
        for k in 0..10_000 {
            seen[pick(&[0.5, 0.0, 0.125, 0.375], None, share(3, k)).unwrap() as usize] += 1;
        }
        assert_eq!(seen[1], 0);
        for (seen, want) in [(seen[0], 5000), (seen[2], 1250), (seen[3], 3750)] {
            assert!(seen.abs_diff(want) < 150, "{seen} for {want}");
        }
    }

    #[test]
    fn the_most_probable_tokens_stay_in_question() {
        let probabilities = [0.2, 0.3, 0.1, 0.3];
        for k in 0..100 {
            let draw = share(1, k);
            assert_eq!(pick(&probabilities, Some(1), draw), Some(1));
            assert_ne!(pick(&probabilities, Some(3), draw), Some(2));
            assert!([1, 3].contains(&pick(&probabilities, Some(2), draw).unwrap()));
        }
    }

    #[test]
    fn the_ends_of_the_range_fall_on_tokens_with_a_probability() {
        let probabilities = [0.0, 0.25, 0.5, 0.0];
        assert_eq!(pick(&probabilities, None, 0.0), Some(1));
        assert_eq!(pick(&probabilities, None, 1.0), Some(2));
        assert_eq!(pick(&[f32::NAN, 0.5], None, 0.5), None);
        assert_eq!(pick(&[0.0, 0.0], None, 0.5), None);
    }
}

//! Text that a trained language model writes.

use crate::args::SampleArgs;
use crate::commands::result;
use crate::context::Context;
use crate::recipe;
use crate::sampling::{Choice, Writer};
use crate::screen::print_json;
use anyhow::{ensure, Context as _, Result};
use serde_json::json;

/// `lockstep sample`.
pub fn run(context: &Context, args: &SampleArgs) -> Result<()> {
    ensure!(
        args.temperature >= 0.0 && args.temperature.is_finite(),
        "set --temperature to at least 0"
    );
    ensure!(args.top_k != Some(0), "set --top-k to at least 1");
    // At temperature 0 the most probable token is sure.
    let (temperature, top) = match args.temperature {
        0.0 => (1.0, Some(1)),
        temperature => (temperature, args.top_k),
    };
    let contracts = context.contracts()?;
    let trained = result::latest(context, &contracts, args.task)?;
    let path = trained.recipe(context, &contracts, args.recipe.clone())?;
    let model = recipe::language_model(&path, temperature)?;
    let alphabet = model.alphabet.clone();
    let prompt = alphabet.encode(&args.prompt).context("in --prompt")?;
    let known = |token: &&u32| (**token as usize) < model.tokens;
    if let Some(token) = prompt.iter().find(|token| !known(token)) {
        let text = alphabet.decode(&[*token]);
        anyhow::bail!(
            "in --prompt: the model knows {} tokens, and {text:?} is not among them",
            model.tokens
        );
    }
    let made = recipe::make(&path)?;
    let state = &trained.outcome.state;
    let mut writer = Writer::new(model, &made.task, state, context.settings.device)?;
    let choice = Choice {
        top,
        seed: args.seed,
    };
    let tokens = writer.write(&prompt, args.length, choice)?;
    let text = alphabet.decode(&[&prompt[..], &tokens].concat());
    if context.json {
        return print_json(&json!({
            "text": text, "tokens": tokens, "final": trained.claim.stands(),
        }));
    }
    println!("{text}");
    if !trained.claim.stands() {
        eprintln!("note: the result is still open to challenge");
    }
    Ok(())
}

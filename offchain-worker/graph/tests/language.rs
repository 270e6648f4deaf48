//! Recipes whose models write text.

mod support;

use lockstep_graph::{
    recipe::{no_importer, Alphabet, Error, LanguageModel, Recipe, Task},
    training::{metric, port},
};
use std::path::Path;
use support::{engine, floats, words};

const RECIPE: &str = r#"
input = "tokens"
data = { train = "text.bin", held_out = 0.5, tokens = { dtype = "u8", context = 8 }, alphabet = "abcdef" }
layer = [
    { kind = "embedding", rows = 6, width = 8 },
    { kind = "positions" },
    { kind = "residual", layers = [{ kind = "attention", heads = 2, causal = true }, { kind = "dropout", rate = 0.5 }] },
    { kind = "unembedding" },
]
loss = { kind = "cross_entropy", target = "next" }
optimizer = { kind = "sgd", rate = 0.1 }
train = { batch = 2, steps = 4, segment = 2, seed = 5 }
"#;

/// A folder with 200 tokens of six kinds.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text: Vec<u8> = (0..200u32).map(|k| ((k * k + k / 7) % 6) as u8).collect();
    std::fs::write(folder.path().join("text.bin"), text).unwrap();
    folder
}

fn task(folder: &Path) -> Task {
    Recipe::from_toml(RECIPE).unwrap().build(folder).unwrap()
}

fn model(text: &str, folder: &Path, temperature: f32) -> Result<LanguageModel, Error> {
    Recipe::from_toml(text)?.language_model(folder, &no_importer, temperature)
}

/// The probabilities for every place of a text.
fn probabilities(task: &Task, model: &LanguageModel, text: &[u8]) -> Vec<Vec<f64>> {
    let mut state = model.built.genesis();
    state[model.built.slot(port::INPUT).unwrap()] = text.to_vec();
    let mut engine = engine::start(&model.built, &task.train, task.seed);
    let after = engine::run(&mut engine, &state, 1);
    let all = floats(&after[model.built.slot(port::OUTPUT).unwrap()]);
    all.chunks(model.tokens).map(<[f64]>::to_vec).collect()
}

#[test]
fn the_probabilities_of_a_text_are_those_that_its_loss_is_made_of() {
    let folder = folder();
    let task = task(folder.path());
    let pass = task.evaluation.as_ref().unwrap();
    let mut evaluation = engine::start(&pass.built, &pass.test, task.seed);
    let judged = engine::run(&mut evaluation, &pass.built.genesis(), pass.steps);
    let loss = engine::float(&pass.built, &judged, metric::LOSS_SUM);
    let seen = words(&judged[pass.built.slot(metric::SEEN).unwrap()])[0];

    let model = model(RECIPE, folder.path(), 1.0).unwrap();
    assert_eq!((model.context, model.tokens), (8, 6));
    assert_eq!(
        model.alphabet,
        Alphabet::Characters("abcdef".chars().collect())
    );
    let (mut sum, mut places) = (0.0, 0);
    for record in pass.test.bytes.chunks(9) {
        for (row, &next) in probabilities(&task, &model, &record[..8])
            .iter()
            .zip(&record[1..])
        {
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-6);
            sum -= row[next as usize].ln();
            places += 1;
        }
    }
    assert_eq!(places, seen);
    assert!((sum - loss).abs() < 1e-4 * loss, "{sum} and {loss}");
}

#[test]
fn a_higher_temperature_brings_probabilities_together() {
    let folder = folder();
    let task = task(folder.path());
    let [cold, warm, hot] = [0.1, 1.0, 10.0].map(|temperature| {
        let model = model(RECIPE, folder.path(), temperature).unwrap();
        probabilities(&task, &model, &[3; 8])[7].clone()
    });
    let greatest = |row: &[f64]| row.iter().copied().fold(0.0, f64::max);
    assert!(greatest(&cold) > greatest(&warm) && greatest(&warm) > greatest(&hot));
    // The odds of two tokens to the power of the ratio of temperatures.
    let odds = |row: &[f64]| (row[0] / row[1]).ln();
    assert!((odds(&cold) - 10.0 * odds(&warm)).abs() < 1e-3);
}

#[test]
fn models_that_do_not_write_are_refused_with_the_reason() {
    let folder = folder();
    for (from, to, part) in [
        (
            r#"{ kind = "cross_entropy", target = "next" }"#,
            r#"{ kind = "mean_squared_error", target = "next" }"#,
            "loss: it is no language model",
        ),
        (
            r#"{ kind = "embedding", rows = 6, width = 8 },"#,
            r#"{ kind = "reshape", shape = [8, 1] }, { kind = "linear", outputs = 8 },"#,
            "input: it is no language model",
        ),
        (
            r#"{ kind = "unembedding" },"#,
            r#"{ kind = "global_mean" }, { kind = "linear", outputs = 6 },"#,
            "output has shape [1, 6]",
        ),
        (
            r#"alphabet = "abcdef""#,
            r#"alphabet = "aba""#,
            "every character once",
        ),
        (
            r#"alphabet = "abcdef""#,
            r#"alphabet = """#,
            "every character once",
        ),
        (
            r#"dtype = "u8", context = 8 }, alphabet = "abcdef""#,
            r#"dtype = "u16", context = 8 }"#,
            "data.alphabet: set it",
        ),
    ] {
        assert!(RECIPE.contains(from), "{from}");
        let message = match model(&RECIPE.replace(from, to), folder.path(), 1.0) {
            Ok(_) => panic!("not refused: {to}"),
            Err(error) => error.to_string(),
        };
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

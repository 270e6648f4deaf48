//! Every command by itself.

use super::home::Home;
use std::path::Path;

#[test]
fn a_task_goes_from_recipe_to_model_through_single_commands() {
    let home = Home::new();
    home.ok(&["keys", "new", "me"]);
    home.ok(&["chain", "fund", "me", "1000"]);
    home.ok(&["--as", "//Alice", "deploy"]);

    let made = &home.json(&["task", "new", "examples/digits/mlp.toml"])[0];
    assert!(made["parameters"].as_u64().unwrap() > 10_000);
    let submitted = &home.json(&["--as", "me", "task", "submit", "mlp"])[0];
    assert_eq!(submitted["task"], 0);
    assert!(home.ok(&["task", "list"]).contains("Open"));

    home.json(&["--as", "//Charlie", "stake", "deposit", "150"]);
    let worked = home.json(&["--as", "//Charlie", "work", "--once"]);
    let said = |text: &str| {
        worked
            .iter()
            .any(|l| l["action"].as_str().unwrap().starts_with(text))
    };
    assert!(
        said("accepted") && said("trained") && said("committed"),
        "{worked:?}"
    );

    home.finds_right(&["--audit", "30%"]);

    let model = home.path().join("model.safetensors");
    let model = model.to_str().unwrap();
    home.ok(&[
        "--as", "me", "result", "download", "--task", "0", "-o", model,
    ]);
    let file = std::fs::read(model).unwrap();
    let tensors = lockstep_agent::store::tensors::decode(&file).unwrap();
    let (dtype, shape, bytes) = &tensors["0.linear.weight"];
    assert_eq!(
        (dtype.as_str(), &shape[..], bytes.len()),
        ("F32", &[64, 128][..], 64 * 128 * 4)
    );
    let score = &home.json(&["--as", "me", "result", "evaluate", "--task", "0"])[0];
    assert!(score["accuracy"].as_f64().unwrap() >= 0.95, "{score}");
    let (code, _) = home.fails(&[
        "--as", "me", "result", "evaluate", "--task", "0", "--floor", "99.9",
    ]);
    assert_eq!(code, 7);

    let (code, message) = home.fails(&["--as", "me", "task", "finalize", "0"]);
    assert_eq!(code, 3, "{message}");
    home.ok(&["chain", "advance", "3000"]);
    let settled = home.json(&["--as", "//Charlie", "work", "--once"]);
    assert!(
        settled.iter().any(|l| l["action"] == "settled task 0"),
        "{settled:?}"
    );
    assert!(home.ok(&["task", "show", "0"]).contains("Settled"));
    home.ok(&["--as", "//Charlie", "stake", "unbond", "150"]);
    assert_eq!(home.fails(&["--as", "//Charlie", "stake", "withdraw"]).0, 3);
    home.ok(&["chain", "advance", "10081"]);
    home.ok(&["--as", "//Charlie", "stake", "withdraw"]);
}

#[test]
fn a_training_goes_on_where_a_settled_task_ended() {
    let home = Home::with_digits();
    home.submit();
    let again = ["task", "new", "examples/digits/mlp.toml", "--after", "0"];
    let (_, message) = home.fails(&again);
    assert!(message.contains("nobody has accepted"), "{message}");
    home.json(&["--as", "//Charlie", "work", "--top-up", "100", "--once"]);
    let (_, message) = home.fails(&again);
    assert!(message.contains("wait until it is settled"), "{message}");
    home.ok(&["chain", "advance", "3000"]);
    home.json(&["--as", "//Charlie", "work", "--once"]);

    let other = ["task", "new", "examples/digits/cnn.toml", "--after", "0"];
    let (_, message) = home.fails(&other);
    assert!(message.contains("its state"), "{message}");
    let more = home.json(&again).remove(0);
    let hash = more["hash"].as_str().unwrap();
    home.json(&["--as", "//Bob", "task", "submit", hash]);
    home.json(&["--as", "//Charlie", "work", "--top-up", "200", "--once"]);
    home.finds_right(&[]);

    let links = home.json(&["provenance", "1"]).remove(0);
    let tasks: Vec<_> = links.as_array().unwrap().iter().collect();
    assert_eq!(tasks.len(), 2, "{links}");
    assert_eq!(
        (&tasks[0]["task"], &tasks[1]["task"]),
        (&1.into(), &0.into())
    );
    assert_eq!(tasks[0]["genesis"], tasks[1]["state"]);
    assert_ne!(tasks[0]["genesis"], tasks[1]["genesis"]);
    let score = &home.json(&["result", "evaluate", "--task", "1"])[0];
    assert!(score["accuracy"].as_f64().unwrap() >= 0.95, "{score}");
}

#[test]
fn a_model_that_pytorch_exported_is_trained_and_a_cheat_at_it_is_caught() {
    let home = Home::new();
    home.json(&["--as", "//Alice", "deploy"]);
    let made = &home.json(&["task", "new", "examples/pytorch/digits.toml"])[0];
    let name = made["name"].as_str().unwrap();
    home.json(&["--as", "//Bob", "task", "submit", name]);
    home.json(&["--as", "//Charlie", "work", "--top-up", "100", "--once"]);
    home.finds_right(&[]);
    let score = &home.json(&["result", "evaluate", "--task", "0"])[0];
    assert!(score["accuracy"].as_f64().unwrap() >= 0.95, "{score}");

    home.json(&["--as", "//Bob", "task", "submit", name]);
    home.json(&["--as", "//Dave", "stake", "deposit", "100"]);
    let cheat = [
        "--as", "//Dave", "work", "--once", "--cheat", "fold", "--seed", "6",
    ];
    home.json(&cheat);
    home.convict("1", &cheat);
}

#[test]
fn a_language_model_that_pytorch_exported_learns_and_writes_the_same_text_every_time() {
    let home = Home::new();
    home.json(&["--as", "//Alice", "deploy"]);
    let example = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/gpt");
        std::fs::read(folder.join(name)).unwrap()
    };
    for name in ["imported.onnx", "book.txt"] {
        std::fs::write(home.path().join(name), example(name)).unwrap();
    }
    let mut recipe = String::from_utf8(example("imported.toml")).unwrap();
    for (from, to) in [
        ("steps = 600", "steps = 60"),
        ("warmup = 30", "warmup = 6"),
        ("segment = 50", "segment = 30"),
    ] {
        assert!(recipe.contains(from), "{from}");
        recipe = recipe.replace(from, to);
    }
    let path = home.path().join("short.toml");
    std::fs::write(&path, recipe).unwrap();
    let made = &home.json(&["task", "new", path.to_str().unwrap()])[0];
    for (recipe, made) in [
        ("imported", made),
        (
            "gpt",
            &home.json(&["task", "new", "examples/gpt/gpt.toml"])[0],
        ),
    ] {
        assert!(made["dispute_moves"].as_u64().unwrap() <= 24, "{recipe}");
        assert!(
            made["dispute_bytes"].as_u64().unwrap() <= 64 << 10,
            "{recipe}"
        );
        assert!(made["seconds"].as_f64().unwrap() > 0.0, "{recipe}");
    }

    home.json(&["--as", "//Bob", "task", "submit", "short"]);
    home.json(&["--as", "//Charlie", "work", "--top-up", "100", "--once"]);
    let score = &home.json(&["result", "evaluate", "--task", "0"])[0];
    // Knowing how often each character occurs leaves 3.08 nats.
    let loss = score["score"]["loss"].as_f64().unwrap();
    assert!(loss < 2.8, "{loss}");

    let sample = |more: &[&str]| {
        let line = [&["sample", "--task", "0", "--length", "80"], more].concat();
        home.ok(&line)
    };
    let text = sample(&["--prompt", "The "]);
    assert!(text.starts_with("The ") && text.len() == 85, "{text:?}");
    assert_eq!(sample(&["--prompt", "The "]), text);
    assert_ne!(sample(&["--prompt", "The ", "--seed", "2"]), text);
    let sure = sample(&["--temperature", "0"]);
    assert_eq!(sample(&["--top-k", "1", "--seed", "9"]), sure);
    let (_, message) = home.fails(&["sample", "--task", "0", "--prompt", "\u{e9}"]);
    assert!(message.contains("not among them"), "{message}");
}

#[test]
fn a_model_of_images_does_not_write() {
    let home = Home::with_digits();
    home.submit();
    home.json(&["--as", "//Charlie", "work", "--top-up", "100", "--once"]);
    let (_, message) = home.fails(&["sample", "--task", "0"]);
    assert!(message.contains("it is no language model"), "{message}");
}

#[test]
fn failures_have_the_exit_codes_that_the_help_promises() {
    let home = Home::new();
    assert_eq!(home.fails(&["--no-such-flag"]).0, 2);
    assert_eq!(home.fails(&["keys", "show", "nobody"]).0, 6);
    let (code, message) = home.fails(&["task", "list"]);
    assert_eq!(code, 1);
    assert!(message.contains("lockstep deploy"), "{message}");
    assert!(home.ok(&["--help"]).contains("Exit codes"));
    std::fs::create_dir_all(home.path().join("chain")).unwrap();
    std::fs::write(
        home.path().join("chain").join("state"),
        b"nonsense of some length",
    )
    .unwrap();
    assert_eq!(home.fails(&["chain", "now"]).0, 5);
}

#[test]
fn a_secret_is_neither_an_argument_nor_in_any_output() {
    let home = Home::new();
    let made = home.ok(&["keys", "new", "quiet"]);
    let phrase = made.lines().last().unwrap().trim().to_owned();
    assert_eq!(phrase.split(' ').count(), 12);
    for line in [
        &["keys", "list"][..],
        &["keys", "show", "quiet"],
        &["--json", "keys", "list"],
    ] {
        assert!(!home.ok(line).contains(&phrase));
    }
}

#[test]
fn completions_and_settings_are_printed() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.ok(&["completions", shell]).contains("lockstep"));
    }
    home.ok(&["config", "init"]);
    assert!(home.ok(&["config", "show"]).contains("embedded:"));
    assert_eq!(home.fails(&["config", "init"]).0, 1);
}

#[test]
fn a_program_is_shown_node_by_node() {
    let home = Home::new();
    let shown = &home.json(&["inspect", "program", "examples/digits/cnn.toml"])[0];
    let nodes = shown["nodes"].as_array().unwrap();
    assert!(nodes.len() > 20);
    assert!(nodes
        .iter()
        .any(|node| node["cost"]["kernel"] == "contraction"));
    assert!(home
        .ok(&["inspect", "program", "examples/digits/mlp.toml"])
        .contains("from 0.linear.weight"));
}

//! The command line as a person or a script uses it: one process for each command, a chain and
//! artifacts in a folder.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    fn run(&self, line: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_lockstep"))
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .env_clear()
            .env("HOME", self.0.path())
            .args(["--home", self.0.path().to_str().unwrap(), "--threads", "1"])
            .args(line)
            .output()
            .unwrap()
    }

    /// Standard output of a command that must succeed.
    fn ok(&self, line: &[&str]) -> String {
        let output = self.run(line);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The JSON lines of a command that must succeed.
    fn json(&self, line: &[&str]) -> Vec<Value> {
        let text = self.ok(&[&["--json"], line].concat());
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The exit code and message of a command that must fail.
    fn fails(&self, line: &[&str]) -> (i32, String) {
        let output = self.run(line);
        assert!(!output.status.success(), "{line:?} succeeded");
        let code = output.status.code().unwrap();
        (code, String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

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

    let audited = home.json(&["--as", "//Eve", "audit", "--audit", "30%", "--once"]);
    let last = audited.last().unwrap()["action"].as_str().unwrap();
    assert!(last.ends_with("right"), "{last}");

    let model = home.0.path().join("model.safetensors");
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
fn failures_have_the_exit_codes_that_the_help_promises() {
    let home = Home::new();
    assert_eq!(home.fails(&["--no-such-flag"]).0, 2);
    assert_eq!(home.fails(&["keys", "show", "nobody"]).0, 6);
    let (code, message) = home.fails(&["task", "list"]);
    assert_eq!(code, 1);
    assert!(message.contains("lockstep deploy"), "{message}");
    assert!(home.ok(&["--help"]).contains("Exit codes"));
    std::fs::create_dir_all(home.0.path().join("chain")).unwrap();
    std::fs::write(
        home.0.path().join("chain").join("state"),
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

//! A folder of somebody's own, with a chain and artifacts.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

pub struct Home(tempfile::TempDir);

impl Home {
    pub fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    /// With the contracts deployed and the digits prepared as task `mlp`.
    pub fn with_digits() -> Home {
        let home = Home::new();
        home.json(&["--as", "//Alice", "deploy"]);
        home.json(&["task", "new", "examples/digits/mlp.toml"]);
        home
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A command, not yet started.
    pub fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .env_clear()
            .env("HOME", self.path())
            .arg("--home")
            .arg(self.path())
            .args(["--threads", "1"])
            .args(line);
        command
    }

    pub fn run(&self, line: &[&str]) -> Output {
        self.command(line).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    pub fn ok(&self, line: &[&str]) -> String {
        let output = self.run(line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The JSON lines of a command that must succeed.
    pub fn json(&self, line: &[&str]) -> Vec<Value> {
        let text = self.ok(&[&["--json"], line].concat());
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The exit code and message of a command that must fail.
    pub fn fails(&self, line: &[&str]) -> (i32, String) {
        let output = self.run(line);
        assert!(!output.status.success(), "{line:?} succeeded");
        let code = output.status.code().unwrap();
        (code, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The actions that a role at work reports.
    pub fn actions(&self, line: &[&str]) -> Vec<String> {
        let told = self.json(line);
        let actions = told.iter().map(|told| told["action"].as_str().unwrap());
        actions.map(String::from).collect()
    }

    /// An audit by Eve in which the latest result turns out right.
    pub fn finds_right(&self, options: &[&str]) {
        let audit = [&["--as", "//Eve", "audit", "--once"], options].concat();
        let told = self.actions(&audit);
        assert!(told.last().unwrap().ends_with("right"), "{told:?}");
    }

    /// Bob offers the digits.
    pub fn submit(&self) {
        self.json(&["--as", "//Bob", "task", "submit", "mlp"]);
    }

    /// Eve audits task `task` and the cheat, a command line, answers until its result no longer
    /// stands.
    pub fn convict(&self, task: &str, cheat: &[&str]) {
        let status = || self.json(&["task", "show", task]).remove(0)["status"].clone();
        assert_eq!(status(), "Committed");
        let mut turns = 0;
        while status() == "Committed" {
            self.json(&["--as", "//Eve", "audit", "--once"]);
            self.json(cheat);
            turns += 1;
            assert!(turns < 50, "the dispute does not end");
        }
        assert_eq!(status(), "Open", "the task is there for others");
    }
}

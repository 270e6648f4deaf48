//! Workers are killed with SIGKILL at random instants, of training and of a dispute, and started
//! again until the story is over. Nothing is lost and nothing is done twice.
#![cfg(unix)]

use lockstep_protocol::philox;
use serde_json::Value;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

struct Home {
    dir: tempfile::TempDir,
    draws: u64,
    kills: u32,
}

impl Home {
    fn new() -> Home {
        Home {
            dir: tempfile::tempdir().unwrap(),
            draws: 0,
            kills: 0,
        }
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .env_clear()
            .env("HOME", self.dir.path())
            .args(["--home", self.dir.path().to_str().unwrap()])
            .args(["--threads", "1", "--json"])
            .args(line);
        command
    }

    fn json(&self, line: &[&str]) -> Vec<Value> {
        let output = self.command(line).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line:?}: {errors}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn random(&mut self, below: u64) -> u64 {
        self.draws += 1;
        (u64::from(philox::stream(2026, 0, self.draws)[0]) * below) >> 32
    }

    /// Runs a worker and kills it after up to `most` milliseconds; whether it ended by itself.
    fn run_and_kill(&mut self, line: &[&str], most: u64) -> bool {
        let mut child = self
            .command(line)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let patience = self.random(most);
        std::thread::sleep(Duration::from_millis(patience));
        match child.try_wait().unwrap() {
            Some(status) => {
                let mut errors = String::new();
                let mut pipe = child.stderr.take().expect("it is piped");
                pipe.read_to_string(&mut errors).unwrap();
                assert!(status.success(), "{line:?}: {status}, {errors}");
                true
            }
            None => {
                self.kill(&mut child);
                false
            }
        }
    }

    fn kill(&mut self, child: &mut Child) {
        // On Unix this is SIGKILL: the process has no say.
        child.kill().unwrap();
        child.wait().unwrap();
        self.kills += 1;
    }

    fn task(&self) -> Value {
        self.json(&["task", "show", "0"]).remove(0)
    }

    fn begin() -> Home {
        let home = Home::new();
        home.json(&["--as", "//Alice", "deploy"]);
        home.json(&["task", "new", "examples/digits/mlp.toml"]);
        home.json(&["--as", "//Bob", "task", "submit", "mlp"]);
        home
    }
}

#[test]
fn a_solver_killed_at_random_instants_of_training_commits_the_right_result() {
    let mut home = Home::begin();
    let work = ["--as", "//Charlie", "work", "--top-up", "200", "--once"];
    let mut most = 60;
    while home.task()["attempts"][0]["status"] != "Committed" {
        home.run_and_kill(&work, most);
        most += 10;
    }
    assert!(home.kills >= 3, "only {} kills", home.kills);
    let audited = home.json(&["--as", "//Eve", "audit", "--once"]);
    let verdict = audited.last().unwrap()["action"].as_str().unwrap();
    assert!(verdict.ends_with("right"), "{verdict}");
}

#[test]
fn both_sides_of_a_dispute_killed_at_random_instants_still_end_it_rightly() {
    let mut home = Home::begin();
    // The stake of one task, so that the cheat cannot try again.
    home.json(&["--as", "//Dave", "stake", "deposit", "100"]);
    let cheat = [
        "--as", "//Dave", "work", "--once", "--cheat", "fold", "--seed", "6",
    ];
    let audit = ["--as", "//Eve", "audit", "--once"];
    let mut most = 60;
    while home.task()["attempts"][0]["status"] != "Committed" {
        home.run_and_kill(&cheat, most);
        most += 10;
    }
    let in_training = home.kills;
    let mut most = 60;
    while home.task()["status"] == "Committed" {
        home.run_and_kill(&audit, most);
        home.run_and_kill(&cheat, most);
        most += 5;
    }
    assert!(
        home.kills >= in_training + 3,
        "only {} kills",
        home.kills - in_training
    );
    home.json(&audit);
    let task = home.task();
    assert_eq!(task["status"], "Open", "the task is there for others");
    // Once everybody is paid, the cheat removes its attempt.
    let attempts = task["attempts"].as_array().unwrap();
    assert!(attempts.iter().all(|a| a["status"] == "Wrong"), "{task}");
    let eve = home.json(&["chain", "fund", "//Eve", "0"]).remove(0);
    let free: u128 = eve["free"].as_str().unwrap().parse().unwrap();
    // Half of the stake of 100 is the winner's; deposits are far below a token.
    assert!(free > 1_000_049 * 10u128.pow(12), "{free}, {task}");
}

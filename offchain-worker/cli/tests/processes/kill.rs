//! Workers are killed with SIGKILL at random instants, of training and of a dispute, and started
//! again until the story is over. Nothing is lost and nothing is done twice.

use super::home::Home;
use lockstep_protocol::philox;
use serde_json::Value;
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::Duration;

/// A home, and what was done to the processes in it.
struct Victims {
    home: Home,
    draws: u64,
    kills: u32,
}

impl Victims {
    fn with_a_task() -> Victims {
        let home = Home::with_digits();
        home.submit();
        Victims {
            home,
            draws: 0,
            kills: 0,
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.draws += 1;
        (u64::from(philox::stream(2026, 0, self.draws)[0]) * below) >> 32
    }

    /// Runs a worker and kills it after up to `most` milliseconds; whether it ended by itself.
    fn run_and_kill(&mut self, line: &[&str], most: u64) -> bool {
        let mut child = self
            .home
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
        self.home.json(&["task", "show", "0"]).remove(0)
    }
}

#[test]
fn a_solver_killed_at_random_instants_of_training_commits_the_right_result() {
    let mut victims = Victims::with_a_task();
    let work = ["--as", "//Charlie", "work", "--top-up", "200", "--once"];
    let mut most = 60;
    while victims.task()["attempts"][0]["status"] != "Committed" {
        victims.run_and_kill(&work, most);
        most += 10;
    }
    assert!(victims.kills >= 3, "only {} kills", victims.kills);
    victims.home.finds_right(&[]);
}

#[test]
fn both_sides_of_a_dispute_killed_at_random_instants_still_end_it_rightly() {
    let mut victims = Victims::with_a_task();
    // The stake of one task, so that the cheat cannot try again.
    victims
        .home
        .json(&["--as", "//Dave", "stake", "deposit", "100"]);
    let cheat = [
        "--as", "//Dave", "work", "--once", "--cheat", "fold", "--seed", "6",
    ];
    let audit = ["--as", "//Eve", "audit", "--once"];
    let mut most = 60;
    while victims.task()["attempts"][0]["status"] != "Committed" {
        victims.run_and_kill(&cheat, most);
        most += 10;
    }
    let in_training = victims.kills;
    let mut most = 60;
    while victims.task()["status"] == "Committed" {
        victims.run_and_kill(&audit, most);
        victims.run_and_kill(&cheat, most);
        most += 5;
    }
    assert!(
        victims.kills >= in_training + 3,
        "only {} kills",
        victims.kills - in_training
    );
    victims.home.json(&audit);
    let task = victims.task();
    assert_eq!(task["status"], "Open", "the task is there for others");
    // Once everybody is paid, the cheat removes its attempt.
    let attempts = task["attempts"].as_array().unwrap();
    assert!(attempts.iter().all(|a| a["status"] == "Wrong"), "{task}");
    let eve = victims
        .home
        .json(&["chain", "fund", "//Eve", "0"])
        .remove(0);
    let free: u128 = eve["free"].as_str().unwrap().parse().unwrap();
    // Half of the stake of 100 is the winner's; deposits are far below a token.
    assert!(free > 1_000_049 * 10u128.pow(12), "{free}, {task}");
}

//! Everything that can fail fails, at random instants, while tasks are worked and disputed: the
//! workers and the node are killed, the connection is cut and slowed, blocks are dropped.
//!
//! `LOCKSTEP_CHAOS` is the number of failures, 8 by default; `LOCKSTEP_CHAOS_SEED` their seed.

use super::world::World;
use lockstep_agent::chain::UNIT;
use lockstep_interface::escrow::TaskStatus;
use lockstep_protocol::philox;
use lockstep_tests::live::Service;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(600);

/// What can go wrong.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// A worker is killed and started again.
    Worker(usize),
    /// The node is killed and started again with its database.
    Node,
    /// The connection is cut for a while.
    Cut,
    /// The connection is slow for a while.
    Slow,
    /// The last blocks are dropped; their transactions come back.
    Reorganisation,
}

struct Dice {
    seed: u64,
    draws: u64,
}

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.draws += 1;
        (u64::from(philox::stream(self.seed, 0, self.draws)[0]) * n) >> 32
    }

    fn failure(&mut self, workers: usize) -> Failure {
        match self.below(10) {
            0..=4 => Failure::Worker(self.below(workers as u64) as usize),
            5 => Failure::Node,
            6 => Failure::Cut,
            7 => Failure::Slow,
            _ => Failure::Reorganisation,
        }
    }

    fn pause(&mut self, least: u64, most: u64) {
        let millis = least + self.below(most - least);
        std::thread::sleep(Duration::from_millis(millis));
    }
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("the variable is a number"),
        Err(_) => default,
    }
}

#[test]
#[ignore = "needs a live node: scripts/test-live"]
fn whatever_fails_every_task_is_settled_and_the_right_side_is_paid() {
    let mut dice = Dice {
        seed: number("LOCKSTEP_CHAOS_SEED", 2026),
        draws: 0,
    };
    let failures = number("LOCKSTEP_CHAOS", 8);
    let mut world = World::new(&[
        "--block-time",
        "1s",
        "--finality-depth",
        "2",
        "--unsafe-engine",
    ]);
    let before = ["//Charlie", "//Dave", "//Eve", "//Ferdie"].map(|key| world.wealth(key));
    let first = world.submit();
    world.person("//Dave").json(&["stake", "deposit", "100"]);
    let serve = |key: &str, line: &[&str]| world.person(key).serve(line);
    let mut workers: Vec<Service> = vec![
        serve(
            "//Dave",
            &["work", "--poll", "1", "--cheat", "fold", "--seed", "9"],
        ),
        serve("//Eve", &["audit", "--poll", "1"]),
        serve("//Ferdie", &["audit", "--poll", "1"]),
        serve("//Bob", &["task", "watch", "--poll", "1", "--prune"]),
    ];
    world.wait(PATIENCE, "the cheat takes the first task", || {
        let record = world.contracts().task(first).expect("the node answers");
        record.is_some_and(|record| record.status != TaskStatus::Open)
    });
    workers.push(serve(
        "//Charlie",
        &["work", "--poll", "1", "--top-up", "400"],
    ));
    let second = world.submit();
    let mut tasks = vec![first, second];

    for number in 0..failures {
        dice.pause(300, 3_000);
        if number % 8 == 5 {
            tasks.push(world.submit());
        }
        let failure = dice.failure(workers.len());
        eprintln!("failure {number}: {failure:?}");
        match failure {
            Failure::Worker(which) => {
                workers[which].kill();
                dice.pause(0, 2_000);
                workers[which].start();
            }
            Failure::Node => {
                world.node.kill();
                dice.pause(0, 2_000);
                world.node.restart();
            }
            Failure::Cut => {
                world.proxy.cut();
                dice.pause(100, 4_000);
                world.proxy.mend();
            }
            Failure::Slow => {
                world.proxy.slow(Duration::from_millis(dice.below(400)));
                dice.pause(1_000, 6_000);
                world.proxy.mend();
            }
            Failure::Reorganisation => world.node.reorganise(1 + dice.below(2) as u32),
        }
    }
    world.wait_for_nothing(PATIENCE);
    for worker in &mut workers {
        worker.kill();
    }

    let after = ["//Charlie", "//Dave", "//Eve", "//Ferdie"].map(|key| world.wealth(key));
    let [solver, liar, all @ ..] = [0, 1, 2, 3].map(|k| after[k] as i128 - before[k] as i128);
    let (unit, tasks) = (UNIT as i128, tasks.len() as i128);
    // Fees take less than a token each.
    assert!(
        solver > (10 * tasks - 1) * unit,
        "the honest solver is paid: {solver}"
    );
    assert!(
        (-101 * unit..=-100 * unit).contains(&liar),
        "the cheat is slashed: {liar}"
    );
    let won: i128 = all.iter().sum();
    assert!(
        (48 * unit..=50 * unit).contains(&won),
        "the challengers are paid: {all:?}"
    );
    world.check_books();
}

#[test]
#[ignore = "needs a live node: scripts/test-live"]
fn a_solver_whose_disk_is_full_goes_on_when_there_is_space_again() {
    let world = World::new(&["--block-time", "1s"]);
    let charlie = world.person("//Charlie");
    let store = charlie.store();
    std::fs::create_dir_all(&store).expect("a folder can be made");
    let Some(disk) = Disk::mount(&store) else {
        eprintln!("not tested: only root can mount the small disk that this test fills");
        return;
    };
    let task = world.submit();
    let _charlie = charlie.serve(&["work", "--poll", "1", "--top-up", "200"]);
    world.wait(PATIENCE, "the solver says that the disk is full", || {
        charlie.said().contains("[S05]")
    });
    let record = || world.contracts().task(task).expect("the node answers");
    assert_ne!(record().expect("it is there").status, TaskStatus::Committed);
    disk.grow();
    world.wait(PATIENCE, "the solver commits", || {
        record().is_some_and(|record| record.status == TaskStatus::Committed)
    });
}

/// A small file system in memory.
struct Disk<'a>(&'a std::path::Path);

impl<'a> Disk<'a> {
    /// Nothing, when this process may not mount file systems.
    fn mount(at: &'a std::path::Path) -> Option<Disk<'a>> {
        run("mount", &["-t", "tmpfs", "-o", "size=300k", "tmpfs"], at).then(|| Disk(at))
    }

    fn grow(&self) {
        let grown = run("mount", &["-o", "remount,size=64m"], self.0);
        assert!(grown, "the disk can grow");
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // Lazily: whoever has it open keeps it until it ends.
        run("umount", &["-l"], self.0);
    }
}

fn run(program: &str, arguments: &[&str], at: &std::path::Path) -> bool {
    let status = Command::new(program).args(arguments).arg(at).status();
    status.is_ok_and(|status| status.success())
}

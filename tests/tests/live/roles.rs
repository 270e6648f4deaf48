//! A submitter, two solvers and two challengers, each a process, on a chain with real time.

use super::world::World;
use lockstep_agent::chain::UNIT;
use lockstep_interface::escrow::TaskStatus;
use std::time::Duration;

#[test]
#[ignore = "needs a live node: scripts/test-live"]
fn honest_work_is_paid_and_a_cheat_is_slashed_between_processes() {
    let world = World::new(&["--block-time", "1s", "--finality-depth", "1"]);
    let [bob, charlie, dave, eve, ferdie] =
        ["//Bob", "//Charlie", "//Dave", "//Eve", "//Ferdie"].map(|key| world.person(key));
    let before = ["//Charlie", "//Dave", "//Eve", "//Ferdie"].map(|key| world.wealth(key));

    // The cheat is first and has the stake of one task.
    let cheated = world.submit();
    dave.json(&["stake", "deposit", "100"]);
    let mut cheat = dave.serve(&["work", "--poll", "1", "--cheat", "fold", "--seed", "5"]);
    let contracts = world.contracts();
    world.wait(Duration::from_secs(60), "the cheat commits", || {
        let record = contracts.task(cheated).expect("the node answers");
        record.is_some_and(|record| record.status == TaskStatus::Committed)
    });
    let honest = world.submit();
    let _services = [
        bob.serve(&["task", "watch", "--poll", "1", "--prune"]),
        charlie.serve(&["work", "--poll", "1", "--top-up", "200"]),
        eve.serve(&["audit", "--poll", "1"]),
        ferdie.serve(&["audit", "--poll", "1", "--audit", "100%"]),
    ];
    let patience = Duration::from_secs(400);
    world.wait(patience, "the cheat is convicted", || {
        let attempt = contracts.attempt(cheated, 2).expect("the node answers");
        attempt.is_some() || contracts.task(cheated).expect("the node answers").is_none()
    });
    world.wait_for_nothing(patience);
    cheat.kill();

    let after = ["//Charlie", "//Dave", "//Eve", "//Ferdie"].map(|key| world.wealth(key));
    let fees = UNIT;
    let [solver, liar, all @ ..] = [0, 1, 2, 3].map(|k| after[k] as i128 - before[k] as i128);
    // Two tasks at ten tokens or more; the cheat's whole stake; half of it for the challengers.
    assert!(solver > 20 * UNIT as i128 - fees as i128, "{solver}");
    assert!((-100 * UNIT as i128 - fees as i128..=-100 * UNIT as i128).contains(&liar));
    let won: i128 = all.iter().sum();
    assert!(
        (50 * UNIT as i128 - 2 * fees as i128..=50 * UNIT as i128).contains(&won),
        "{all:?}"
    );
    assert_eq!(honest, cheated + 1);
    world.check_books();
}

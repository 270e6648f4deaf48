//! Whatever is sent in whatever order, the books balance ([`World`] checks them after every
//! message), and in the end everybody can have everything that is owed.

use super::world::*;
use lockstep_interface::escrow::{AttemptStatus, Outcome, TaskStatus};
use lockstep_interface::{Attempt, TaskId, Terms};

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

fn anything(world: &mut World, dice: &mut Dice) -> bool {
    let id: TaskId = dice.roll(3);
    let latest = world.tasks.get(&id).map_or(0, |task| task.attempts);
    let number = match dice.roll(3) {
        0 => dice.roll(4) as Attempt,
        _ => latest,
    };
    let caller = match (dice.roll(4), world.attempts.get(&(id, number))) {
        (0, _) | (_, None) => [SUBMITTER, SOLVER, OTHER, CHALLENGER][dice.roll(4) as usize],
        (_, Some(attempt)) => attempt.solver,
    };
    let outcome = [Outcome::Upheld, Outcome::Wrong, Outcome::Withheld][dice.roll(3) as usize];
    match dice.roll(16) {
        0 if world.count < 3 => {
            let stake = 1100 + u128::from(dice.roll(1000));
            let goal = [None, Some(GOAL)][dice.roll(2) as usize];
            let varied = Terms {
                stake,
                goal,
                ..terms()
            };
            world.submit(SUBMITTER, varied, 1100).is_ok()
        }
        1 | 2 => world.accept(id, caller, 0).is_ok(),
        3 => world.commit(id, number, caller, 0).is_ok(),
        4 => {
            let (hash, metric) = (world.hash(id), dice.roll(3) as f32);
            world
                .commit_as(id, number, caller, hash, scored(metric))
                .is_ok()
        }
        5 => world.finalize(id, number).is_ok(),
        6 => world.expire(id, number).is_ok(),
        7 if dice.roll(8) == 0 => world.cancel(id, caller).is_ok(),
        8 | 9 => world.challenge(id, number).is_ok(),
        10 => world.close(id, number, outcome).is_ok(),
        11 => world.pay_share(id, number, CHALLENGER).is_ok(),
        12 => world.withdraw_refund(id, caller).is_ok(),
        13 => world.withdraw_reward(id, number, caller).is_ok(),
        14 => match dice.roll(16) {
            0 => world.prune_task(id, caller).is_ok(),
            1 => world.prune_attempt(id, number, caller).is_ok(),
            2 => world.flush_burn().is_ok(),
            _ => false,
        },
        _ => {
            world.now += dice.roll(200);
            true
        }
    }
}

/// Plays everything to its end and withdraws everything.
fn wind_up(world: &mut World) {
    let ids: Vec<TaskId> = world.tasks.keys().copied().collect();
    let all: Vec<(TaskId, Attempt)> = world.attempts.keys().copied().collect();
    for &(id, number) in &all {
        while world.attempts[&(id, number)].challenges > 0 {
            world.close(id, number, Outcome::Upheld).unwrap();
        }
    }
    world.now += 1_000_000;
    for &(id, number) in &all {
        match world.attempts[&(id, number)].status {
            AttemptStatus::Working => world.expire(id, number).unwrap(),
            AttemptStatus::Committed => world.finalize(id, number).unwrap(),
            _ => {}
        }
        while world.attempts[&(id, number)].unpaid > 0 {
            world.pay_share(id, number, CHALLENGER).unwrap();
        }
        let solver = world.attempts[&(id, number)].solver;
        let _ = world.withdraw_reward(id, number, solver);
        world.prune_attempt(id, number, solver).unwrap();
    }
    for id in ids {
        if world.tasks[&id].status == TaskStatus::Open {
            world.cancel(id, SUBMITTER).unwrap();
        }
        let _ = world.withdraw_refund(id, SUBMITTER);
        world.prune_task(id, SUBMITTER).unwrap();
    }
    if world.config.burn >= EXISTENTIAL {
        world.flush_burn().unwrap();
    }
}

#[test]
fn any_sequence_of_messages_keeps_the_books_and_ends_with_nothing_stuck() {
    let (mut done, mut settled, mut wrong) = (0u32, 0u32, 0u32);
    for seed in 0..400 {
        let mut world = World::new();
        let mut dice = Dice(seed);
        for _ in 0..400 {
            done += u32::from(anything(&mut world, &mut dice));
        }
        let count = |status| {
            world
                .attempts
                .values()
                .filter(|a| a.status == status)
                .count()
        };
        settled += count(AttemptStatus::Final) as u32;
        wrong += count(AttemptStatus::Wrong) as u32;
        wind_up(&mut world);
        assert!(world.tasks.is_empty() && world.attempts.is_empty());
        assert_eq!(world.balance, world.config.burn);
        assert!(world.config.burn < EXISTENTIAL);
        let staked: u128 = world
            .stakes
            .values()
            .map(|(free, locked)| free + locked)
            .sum();
        let paid: u128 = world.paid.values().sum();
        assert_eq!(
            staked + paid + world.balance,
            20_000 + 1100 * u128::from(world.count)
        );
    }
    assert!(
        done > 10_000 && settled > 100 && wrong > 100,
        "the dice reach every corner: {done} {settled} {wrong}"
    );
}

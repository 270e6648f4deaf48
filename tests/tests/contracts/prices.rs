//! The Dutch auction, missed deadlines, reopening and refunds.

use crate::{honest, wrong};
use lockstep_interface::escrow::{
    Accept, Cancel, Error, Expire, TaskStatus, WithdrawRefund, WithdrawReward, MISSED_DEADLINE_BURN,
};
use lockstep_protocol::rehearsal::{honest_challenger, honest_defender};
use lockstep_tests::life::{rise, TERMS};
use lockstep_tests::{Job, World};

fn opened_at(world: &World, job: &Job) -> u64 {
    world.task(job).opened_at
}

#[test]
fn the_price_rises_linearly_from_the_floor_to_the_ceiling() {
    let world = World::new();
    let job = world.submit(&honest().spec, TERMS);
    let start = opened_at(&world, &job);
    let spread = TERMS.reward_ceiling - TERMS.reward_floor;
    for part in [10_000, 250_000, 500_000, 999_999, 1_000_000, 1_000_001] {
        world.wait_until(start + part);
        let risen = u128::from(part.min(TERMS.ramp));
        let price = TERMS.reward_floor + spread * risen / u128::from(TERMS.ramp);
        assert_eq!(world.price(&job), Some(price), "{part}");
    }
    world.wait_until(start + TERMS.open);
    assert_eq!(world.price(&job), Some(TERMS.reward_ceiling));
    world.wait_until(start + TERMS.open + 1);
    assert_eq!(world.price(&job), None);
    let solver = world.person("solver");
    world.stake(&solver, TERMS.stake);
    let accept = Accept {
        task: job.id,
        terms_hash: job.hash(),
        min_price: 0,
    };
    assert_eq!(world.tell(&solver, 0, &accept), Err(Error::Closed));
    world
        .tell(&world.person("submitter"), 0, &Cancel { task: job.id })
        .unwrap();
    world.check_books();
}

#[test]
fn a_solver_waits_for_its_price_and_is_paid_exactly_that() {
    let world = World::new();
    let (submitter, solver) = (world.person("submitter"), world.person("solver"));
    let job = world.submit(&honest().spec, TERMS);
    world.stake(&solver, TERMS.stake);
    let wanted = 1_500;
    let accept = Accept {
        task: job.id,
        terms_hash: job.hash(),
        min_price: wanted,
    };
    let ripe = opened_at(&world, &job) + rise(&TERMS, wanted);
    world.wait_until(ripe - 1);
    assert_eq!(world.tell(&solver, 0, &accept), Err(Error::Price));
    world.wait_until(ripe);
    let attempt = world.ask(&solver, 0, &accept).unwrap();
    assert_eq!(world.attempt_record(&job, attempt).price, wanted);
    world.commit(&job, attempt, &solver, honest());
    world.finalize(&job, attempt);
    let reward = WithdrawReward {
        task: job.id,
        attempt,
    };
    assert_eq!(world.ask(&solver, 0, &reward), Ok(wanted));
    let refund = WithdrawRefund { task: job.id };
    let rest = TERMS.reward_ceiling - wanted;
    assert_eq!(world.ask(&submitter, 0, &refund), Ok(rest));
    world.clear(&job);
    world.check_empty();
}

#[test]
fn the_price_clock_stands_still_while_the_task_is_assigned() {
    let world = World::new();
    let solver = world.person("solver");
    let job = world.submit(&honest().spec, TERMS);
    world.stake(&solver, TERMS.stake);
    world.wait_until(opened_at(&world, &job) + 300_000);
    let attempt = world.accept(&job, &solver);
    let price = world.attempt_record(&job, attempt).price;
    assert_eq!(world.task(&job).open_before, 300_000);
    assert_eq!(world.price(&job), None, "an assigned task has no price");
    world.wait(TERMS.work + 50_000);
    let expire = Expire {
        task: job.id,
        attempt,
    };
    world.tell(&world.person("anyone"), 0, &expire).unwrap();
    let reopened = opened_at(&world, &job);
    assert_eq!(world.task(&job).open_before, 300_000);
    world.wait_until(reopened + 100_000);
    let spread = TERMS.reward_ceiling - TERMS.reward_floor;
    let later = TERMS.reward_floor + spread * 400_000 / u128::from(TERMS.ramp);
    assert_eq!(world.price(&job), Some(later));
    assert!(later > price);
    world.check_books();
}

#[test]
fn a_missed_deadline_costs_at_least_what_a_later_price_may_cost_the_submitter() {
    for waited in [0, 500_000, TERMS.ramp] {
        let world = World::new();
        let (submitter, solver) = (world.person("submitter"), world.person("solver"));
        let job = world.submit(&honest().spec, TERMS);
        world.stake(&solver, TERMS.stake);
        world.wait_until(opened_at(&world, &job) + waited.max(2_000));
        let attempt = world.accept(&job, &solver);
        let price = world.attempt_record(&job, attempt).price;
        world.wait(TERMS.work + 1);
        let expire = Expire {
            task: job.id,
            attempt,
        };
        world.tell(&submitter, 0, &expire).unwrap();
        let compensation = TERMS.reward_ceiling - price;
        let burned = TERMS.stake * MISSED_DEADLINE_BURN / 100;
        let staker = world.contracts().staker(solver.account()).unwrap();
        assert_eq!(staker.locked, 0);
        assert_eq!(staker.free, TERMS.stake - compensation - burned);
        assert_eq!(world.task(&job).owed, compensation);
        assert_eq!(world.contracts().escrow_config().unwrap().burn, burned);
        assert_eq!(world.task(&job).status, TaskStatus::Open);

        let second = world.attempt_by(&job, &world.person("second"), honest());
        world.finalize(&job, second);
        let paid = world.attempt_record(&job, second).price;
        let refund = world.task(&job).owed;
        assert_eq!(refund, compensation + TERMS.reward_ceiling - paid);
        assert!(
            TERMS.reward_ceiling - refund <= price,
            "the submitter pays no more than it would have"
        );
        world.clear(&job);
        world.check_empty();
    }
}

#[test]
fn a_task_whose_open_time_is_used_up_is_refunded_instead_of_reopened() {
    let world = World::new();
    let (submitter, solver) = (world.person("submitter"), world.person("solver"));
    let before = world.wealth(&submitter);
    let job = world.submit(&honest().spec, TERMS);
    world.stake(&solver, TERMS.stake);
    world.wait_until(opened_at(&world, &job) + TERMS.open);
    let attempt = world.accept(&job, &solver);
    world.wait(TERMS.work + 1);
    let expire = Expire {
        task: job.id,
        attempt,
    };
    world.tell(&submitter, 0, &expire).unwrap();
    assert_eq!(world.task(&job).status, TaskStatus::Cancelled);
    let refund = WithdrawRefund { task: job.id };
    assert_eq!(world.ask(&submitter, 0, &refund), Ok(TERMS.reward_ceiling));
    world.clear(&job);
    assert_eq!(world.wealth(&submitter), before);
    world.check_empty();
}

#[test]
fn a_task_proven_wrong_is_open_again_at_the_price_it_had() {
    let world = World::new();
    let challenger = world.person("challenger");
    let (job, attempt) = world.committed(wrong(), TERMS);
    let open_before = world.task(&job).open_before;
    let id = world.open(&job, attempt, &challenger, wrong());
    world.play(
        id,
        honest_defender(wrong()),
        honest_challenger(honest(), None),
    );
    assert_eq!(world.task(&job).status, TaskStatus::Open);
    assert_eq!(world.task(&job).open_before, open_before);
    assert_eq!(world.task(&job).held, TERMS.reward_ceiling);
    let second = world.attempt_by(&job, &world.person("second"), honest());
    assert_eq!(second, 2);
    world.finalize(&job, second);
    assert_eq!(world.task(&job).result, honest().commitment());
    world.clear(&job);
    world.check_empty();
}

#[test]
fn a_cancelled_task_refunds_everything() {
    let world = World::new();
    let submitter = world.person("submitter");
    let before = world.wealth(&submitter);
    let job = world.submit(&honest().spec, TERMS);
    world.tell(&submitter, 0, &Cancel { task: job.id }).unwrap();
    world.clear(&job);
    assert_eq!(world.wealth(&submitter), before);
    world.check_empty();
}

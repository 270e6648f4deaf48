//! Who ends up with what.

use super::world::*;
use lockstep_interface::{
    escrow::{Error, Outcome, TaskStatus},
    Terms, BURN_ACCOUNT,
};

#[test]
fn a_settled_task_pays_the_price_and_refunds_the_rest() {
    let mut world = World::with_task();
    world.now += 200;
    world.accept(0, SOLVER, 0).unwrap();
    world.commit(0, 1, SOLVER, 0).unwrap();
    world.now += 901;
    world.finalize(0, 1).unwrap();
    assert_eq!(world.withdraw_reward(0, 1, OTHER), Err(Error::NotSolver));
    assert_eq!(world.withdraw_reward(0, 1, SOLVER), Ok(300));
    assert_eq!(world.withdraw_reward(0, 1, SOLVER), Err(Error::NothingOwed));
    assert_eq!(world.withdraw_refund(0, SOLVER), Err(Error::NotSubmitter));
    assert_eq!(world.withdraw_refund(0, SUBMITTER), Ok(800));
    assert_eq!(world.withdraw_refund(0, SUBMITTER), Err(Error::NothingOwed));
    assert_eq!(world.stakes[&SOLVER], (10_000, 0));
    assert_eq!(world.balance, 0);
}

#[test]
fn a_missed_deadline_costs_the_price_difference_and_a_tenth_of_the_stake() {
    let mut world = World::with_task();
    world.now += 250;
    world.accept(0, SOLVER, 0).unwrap();
    world.now += 501;
    world.expire(0, 1).unwrap();
    assert_eq!(world.stakes[&SOLVER], (10_000 - 750 - 200, 0));
    assert_eq!(world.withdraw_refund(0, SUBMITTER), Ok(750));
    assert_eq!(world.config.burn, 200);
}

#[test]
fn a_missed_deadline_never_costs_more_than_the_stake() {
    let tight = Terms {
        reward_floor: 1,
        stake: 1100,
        ..terms()
    };
    let mut world = World::new();
    world.submit(SUBMITTER, tight, 1100).unwrap();
    world.accept(0, SOLVER, 0).unwrap();
    world.now += 501;
    world.expire(0, 1).unwrap();
    assert_eq!(world.stakes[&SOLVER], (10_000 - 1100, 0));
    assert_eq!(world.config.burn, 1);
}

#[test]
fn a_slashed_stake_burns_compensates_and_is_shared_equally() {
    let mut world = World::with_commitment();
    for _ in 0..4 {
        world.challenge(0, 1).unwrap();
    }
    assert_eq!(world.close(0, 1, Outcome::Wrong), Ok(true));
    assert_eq!(world.pay_share(0, 1, CHALLENGER), Err(Error::Challenged));
    assert_eq!(world.close(0, 1, Outcome::Upheld), Ok(false));
    assert_eq!(world.close(0, 1, Outcome::Wrong), Ok(true));
    assert_eq!(world.close(0, 1, Outcome::Wrong), Ok(true));
    // 2003: 20% burn 400, 30% to the submitter 600, 1003 in three shares of 334 and 1 to burn.
    assert_eq!(world.config.burn, 401);
    for _ in 0..3 {
        assert_eq!(world.pay_share(0, 1, CHALLENGER), Ok(334));
    }
    assert_eq!(world.pay_share(0, 1, CHALLENGER), Err(Error::NothingOwed));
    world.cancel(0, SUBMITTER).unwrap();
    assert_eq!(world.withdraw_refund(0, SUBMITTER), Ok(1100 + 600));
    assert_eq!(world.flush_burn(), Ok(401));
    assert_eq!(world.paid[&BURN_ACCOUNT], 401);
    assert_eq!(world.balance, 0);
}

#[test]
fn a_failed_demand_slashes_but_does_not_dilute_those_who_came_first() {
    let mut world = World::with_commitment();
    for _ in 0..3 {
        world.challenge(0, 1).unwrap();
    }
    assert_eq!(world.close(0, 1, Outcome::Wrong), Ok(true));
    assert_eq!(world.close(0, 1, Outcome::Withheld), Ok(false));
    assert_eq!(world.close(0, 1, Outcome::Withheld), Ok(false));
    assert_eq!(world.pay_share(0, 1, CHALLENGER), Ok(1003));

    let mut world = World::with_commitment();
    world.challenge(0, 1).unwrap();
    assert_eq!(world.close(0, 1, Outcome::Withheld), Ok(true));
    assert_eq!(world.pay_share(0, 1, CHALLENGER), Ok(1003));
}

#[test]
fn a_dispute_of_the_first_attempt_won_after_the_second_settled_touches_neither() {
    let mut world = World::with_commitment();
    world.challenge(0, 1).unwrap();
    world.challenge(0, 1).unwrap();
    world.close(0, 1, Outcome::Wrong).unwrap();
    world.accept(0, OTHER, 0).unwrap();
    world.commit(0, 2, OTHER, 1).unwrap();
    world.now += 901;
    world.finalize(0, 2).unwrap();
    let settled = world.clone();
    assert_eq!(world.close(0, 1, Outcome::Wrong), Ok(true));
    assert_eq!(world.attempts[&(0, 2)], settled.attempts[&(0, 2)]);
    assert_eq!(world.stakes, settled.stakes);
    assert_eq!(world.tasks[&0].status, TaskStatus::Settled);
    assert_eq!(world.tasks[&0].owed, settled.tasks[&0].owed);
    assert_eq!(world.withdraw_reward(0, 2, OTHER), Ok(100));
    assert_eq!(world.pay_share(0, 1, CHALLENGER), Ok(501));
    assert_eq!(world.pay_share(0, 1, CHALLENGER), Ok(501));
}

#[test]
fn a_dispute_of_the_first_attempt_is_no_obstacle_to_the_second() {
    let mut world = World::with_commitment();
    world.challenge(0, 1).unwrap();
    world.challenge(0, 1).unwrap();
    world.close(0, 1, Outcome::Wrong).unwrap();
    world.accept(0, OTHER, 0).unwrap();
    world.commit(0, 2, OTHER, 1).unwrap();
    world.challenge(0, 2).unwrap();
    world.close(0, 2, Outcome::Wrong).unwrap();
    assert_eq!(world.stakes[&SOLVER].1, 0);
    assert_eq!(world.stakes[&OTHER], (10_000 - 2003, 0));
    assert_eq!(world.pay_share(0, 2, CHALLENGER), Ok(1003));
    assert_eq!(world.pay_share(0, 1, CHALLENGER), Err(Error::Challenged));
}

#[test]
fn dust_waits_until_an_account_can_hold_it() {
    let mut world = World::with_task();
    world.config.burn = EXISTENTIAL - 1;
    world.balance += EXISTENTIAL - 1;
    assert_eq!(world.flush_burn(), Err(Error::Dust));
    world.config.burn += 1;
    world.balance += 1;
    assert_eq!(world.flush_burn(), Ok(EXISTENTIAL));
    assert_eq!(world.flush_burn(), Err(Error::Dust));
}

#[test]
fn the_largest_amounts_and_times_do_not_overflow() {
    use lockstep_interface::terms::{MAX_AMOUNT, MAX_TIME};
    let huge = Terms {
        reward_floor: 1,
        reward_ceiling: MAX_AMOUNT,
        stake: MAX_AMOUNT,
        bond: MAX_AMOUNT,
        ramp: MAX_TIME,
        open: MAX_TIME,
        work: MAX_TIME,
        audit: MAX_TIME,
        window: MAX_TIME,
        replay: 1,
        clock: MAX_TIME,
        ..terms()
    };
    let mut world = World::new();
    world.stakes.insert(SOLVER, (3 * MAX_AMOUNT, 0));
    world.submit(SUBMITTER, huge, MAX_AMOUNT).unwrap();
    world.now += MAX_TIME - 1;
    world.accept(0, SOLVER, 0).unwrap();
    world.commit(0, 1, SOLVER, 0).unwrap();
    world.challenge(0, 1).unwrap();
    world.close(0, 1, Outcome::Wrong).unwrap();
    world.pay_share(0, 1, CHALLENGER).unwrap();
}

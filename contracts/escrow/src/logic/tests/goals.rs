//! Payment by a proven metric.

use super::world::*;
use crate::logic::task::Claim;
use lockstep_interface::{
    escrow::{Error, Event, Outcome},
    goal::{Goal, GoalFault, MetricProof, Side, NO_METRIC},
    terms::TermsFault,
    Terms,
};

fn with_goal() -> World {
    let terms = Terms {
        goal: Some(GOAL),
        ..terms()
    };
    let mut world = World::new();
    world.submit(SUBMITTER, terms, 1100).unwrap();
    world.now += 200;
    world.accept(0, SOLVER, 0).unwrap();
    world
}

/// What solver and submitter have in the end for a claim.
fn paid(claim: Claim) -> (u128, u128) {
    let mut world = with_goal();
    let hash = world.hash(0);
    world.commit_as(0, 1, SOLVER, hash, claim).unwrap();
    world.now += 901;
    world.finalize(0, 1).unwrap();
    let reward = world.withdraw_reward(0, 1, SOLVER).unwrap();
    let refund = world.withdraw_refund(0, SUBMITTER).unwrap();
    assert_eq!(world.stakes[&SOLVER], (10_000, 0));
    assert_eq!(world.balance, 0);
    (reward, refund)
}

#[test]
fn a_goal_that_is_reached_earns_the_price_and_one_that_is_missed_a_part() {
    assert_eq!(paid(scored(1.0)), (300, 800));
    assert_eq!(paid(scored(2.0)), (300, 800));
    assert_eq!(paid(scored(0.999)), (75, 1025));
    assert_eq!(paid(scored(f32::NAN)), (75, 1025));
    let unproven = Claim {
        metric: None,
        ..scored(2.0)
    };
    assert_eq!(paid(unproven), (75, 1025));
}

#[test]
fn a_metric_is_that_of_the_committed_state_and_of_the_goals_slot() {
    let right = scored(1.0);
    let proof = right.metric.clone().unwrap();
    let other_metric = MetricProof {
        metric: 2f32.to_bits(),
        ..proof.clone()
    };
    let mut other_slot = proof.clone();
    other_slot.slot.chunk.rotate_left(32);
    let other_state = scored(2.0).metric.unwrap();
    let mut world = with_goal();
    let hash = world.hash(0);
    for wrong in [other_metric, other_slot, other_state] {
        let claim = Claim {
            metric: Some(wrong),
            ..scored(1.0)
        };
        assert_eq!(
            world.commit_as(0, 1, SOLVER, hash, claim),
            Err(Error::Metric)
        );
    }
    assert_eq!(world.attempts[&(0, 1)].metric, NO_METRIC);
    world.commit_as(0, 1, SOLVER, hash, right).unwrap();
    assert_eq!(world.attempts[&(0, 1)].metric, 1f32.to_bits());
    let Some(Event::Committed { metric, .. }) = world.events.last() else {
        panic!("the commit is the latest event");
    };
    assert_eq!(*metric, Some(1f32.to_bits()));
}

#[test]
fn a_metric_that_nobody_asks_for_is_refused() {
    let mut world = World::with_task();
    world.accept(0, SOLVER, 0).unwrap();
    let hash = world.hash(0);
    assert_eq!(
        world.commit_as(0, 1, SOLVER, hash, scored(1.0)),
        Err(Error::Metric)
    );
}

#[test]
fn a_result_that_reaches_the_goal_and_is_wrong_is_slashed_all_the_same() {
    let mut world = with_goal();
    let hash = world.hash(0);
    world.commit_as(0, 1, SOLVER, hash, scored(9.0)).unwrap();
    world.challenge(0, 1).unwrap();
    world.close(0, 1, Outcome::Wrong).unwrap();
    assert_eq!(world.stakes[&SOLVER], (10_000 - 2003, 0));
    // The next attempt begins without the metric of the first.
    world.accept(0, OTHER, 0).unwrap();
    assert_eq!(world.attempts[&(0, 2)].metric, NO_METRIC);
}

#[test]
fn a_task_with_an_impossible_goal_is_refused() {
    let goals = [
        (Goal { slot: 2, ..GOAL }, GoalFault::Slot),
        (
            Goal {
                threshold: 0xffc0_0000,
                ..GOAL
            },
            GoalFault::Threshold,
        ),
        (
            Goal {
                otherwise: 1000,
                ..GOAL
            },
            GoalFault::Otherwise,
        ),
        // 9 thousandths of the floor of 100 are nothing.
        (
            Goal {
                otherwise: 9,
                side: Side::AtMost,
                ..GOAL
            },
            GoalFault::Otherwise,
        ),
    ];
    for (goal, fault) in goals {
        let terms = Terms {
            goal: Some(goal),
            ..terms()
        };
        assert_eq!(
            World::new().submit(SUBMITTER, terms, 1100),
            Err(Error::Terms(TermsFault::Goal(fault)))
        );
    }
}

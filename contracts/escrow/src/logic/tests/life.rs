//! Who may do what to a task, and when.

use super::world::*;
use crate::logic::{owner, task::Claim};
use lockstep_interface::{
    cell::Cell,
    escrow::{AttemptStatus, Error, Outcome, TaskStatus},
    terms::TermsFault,
    Terms,
};
use lockstep_protocol::{task::Commitment, tree};
use scale::Encode;

#[test]
fn a_task_costs_exactly_its_ceiling() {
    let mut world = World::new();
    for value in [0, 1099, 1101] {
        assert_eq!(world.submit(SUBMITTER, terms(), value), Err(Error::Value));
    }
    assert_eq!(world.submit(SUBMITTER, terms(), 1100), Ok(0));
}

#[test]
fn no_task_is_taken_in_before_the_dispute_contract_is_appointed() {
    let mut world = World::new();
    world.config.dispute = None;
    assert_eq!(
        world.submit(SUBMITTER, terms(), 1100),
        Err(Error::NotAppointed)
    );
}

#[test]
fn the_dispute_contract_is_appointed_once_and_by_the_deployer_only() {
    let mut config = World::new().config;
    assert_eq!(
        owner::appoint(&mut config, DEPLOYER, OTHER),
        Err(Error::AlreadyAppointed)
    );
    config.dispute = None;
    assert_eq!(
        owner::appoint(&mut config, OTHER, OTHER),
        Err(Error::NotDeployer)
    );
}

#[test]
fn ownership_moves_in_two_steps_and_pausing_stops_only_intake() {
    let mut world = World::with_commitment();
    assert_eq!(
        owner::pause(&mut world.config, OTHER, true),
        Err(Error::NotOwner)
    );
    assert_eq!(
        owner::offer(&mut world.config, OTHER, Some(OTHER)),
        Err(Error::NotOwner)
    );
    assert_eq!(owner::take(&mut world.config, OTHER), Err(Error::NotHeir));
    owner::offer(&mut world.config, DEPLOYER, Some(OTHER)).unwrap();
    owner::take(&mut world.config, OTHER).unwrap();
    assert_eq!(owner::take(&mut world.config, OTHER), Err(Error::NotHeir));
    assert_eq!(
        owner::pause(&mut world.config, DEPLOYER, true),
        Err(Error::NotOwner)
    );
    owner::pause(&mut world.config, OTHER, true).unwrap();
    assert_eq!(world.submit(SUBMITTER, terms(), 1100), Err(Error::Paused));
    world.challenge(0, 1).unwrap();
    world.close(0, 1, Outcome::Upheld).unwrap();
    world.now += 901;
    world.finalize(0, 1).unwrap();
    world.withdraw_reward(0, 1, SOLVER).unwrap();
}

#[test]
fn the_settings_occupy_the_same_storage_whoever_owns_the_contract() {
    const BYTES: usize = crate::CONFIG_BYTES;
    let mut config = World::new().config;
    for heir in [None, Some(OTHER)] {
        config.heir = heir;
        assert_eq!(Cell::<_, BYTES>(config).encode().len(), BYTES);
    }
    assert_eq!(config.encoded_size(), BYTES, "no byte is paid for in vain");
}

#[test]
fn terms_that_make_drowning_cheap_are_refused() {
    let mut world = World::new();
    // 600 * (70 / 10) = 4200 covers 2003 + 1100; 600 * (70 / 14) = 3000 does not.
    let cheap = Terms {
        replay: 14,
        ..terms()
    };
    assert_eq!(
        world.submit(SUBMITTER, cheap, 1100),
        Err(Error::Terms(TermsFault::Drowning))
    );
}

#[test]
fn the_price_rises_while_the_task_is_open_and_only_then() {
    let mut world = World::with_task();
    assert_eq!(world.tasks[&0].price(world.now), Some(100));
    world.now += 250;
    assert_eq!(world.tasks[&0].price(world.now), Some(350));
    world.accept(0, SOLVER, 350).unwrap();
    assert_eq!(world.tasks[&0].price(world.now), None);
    world.now += 501;
    world.expire(0, 1).unwrap();
    assert_eq!(world.tasks[&0].price(world.now), Some(350));
    world.now += 750;
    assert_eq!(world.tasks[&0].price(world.now), Some(1100));
    world.now += 2000;
    assert_eq!(world.tasks[&0].price(world.now), Some(1100));
    world.now += 1;
    assert_eq!(world.tasks[&0].price(world.now), None);
    assert_eq!(world.accept(0, SOLVER, 0), Err(Error::Closed));
}

#[test]
fn a_solver_that_asks_for_more_than_the_price_gets_nothing() {
    let mut world = World::with_task();
    assert_eq!(world.accept(0, SOLVER, 101), Err(Error::Price));
    assert_eq!(world.accept(0, SOLVER, 100), Ok(1));
}

#[test]
fn a_task_is_accepted_only_once_and_only_with_free_stake() {
    let mut world = World::with_task();
    world.stakes.insert(SOLVER, (2002, 0));
    assert!(matches!(world.accept(0, SOLVER, 0), Err(Error::Stake(_))));
    assert_eq!(world.tasks[&0].status, TaskStatus::Open);
    assert_eq!(world.accept(0, OTHER, 0), Ok(1));
    assert_eq!(world.accept(0, OTHER, 0), Err(Error::Status));
}

#[test]
fn only_the_solver_commits_and_only_to_its_own_attempt() {
    let mut world = World::with_task();
    world.accept(0, SOLVER, 0).unwrap();
    assert_eq!(world.commit(0, 1, OTHER, 0), Err(Error::NotSolver));
    assert_eq!(world.commit(0, 2, SOLVER, 0), Err(Error::NoAttempt));
    world.now += 501;
    assert_eq!(world.commit(0, 1, SOLVER, 0), Err(Error::TooLate));
    world.expire(0, 1).unwrap();
    world.accept(0, SOLVER, 0).unwrap();
    assert_eq!(
        world.commit(0, 1, SOLVER, 0),
        Err(Error::NoAttempt),
        "a commit of the first attempt does not land in the second"
    );
    world.commit(0, 2, SOLVER, 0).unwrap();
    assert_eq!(world.commit(0, 2, SOLVER, 1), Err(Error::Status));
}

#[test]
fn a_commit_to_another_task_is_refused() {
    let mut world = World::with_task();
    world.accept(0, SOLVER, 0).unwrap();
    assert_eq!(
        world.commit_as(0, 1, SOLVER, [0; 32], claim(0)),
        Err(Error::OtherTask)
    );
}

#[test]
fn the_final_state_must_be_the_last_entry_of_the_trace() {
    let mut world = World::with_task();
    world.accept(0, SOLVER, 0).unwrap();
    let hash = world.hash(0);
    let right = claim(0).commitment;
    let wrong_state = Commitment {
        state: [98; 32],
        ..right
    };
    let wrong_trace = Commitment {
        trace: claim(1).commitment.trace,
        ..right
    };
    for commitment in [wrong_state, wrong_trace] {
        assert_eq!(
            world.commit_as(
                0,
                1,
                SOLVER,
                hash,
                Claim {
                    commitment,
                    ..claim(0)
                }
            ),
            Err(Error::Opening)
        );
    }
    // A trace of 99 checkpoints that ends in the same state.
    let short: Vec<u8> = (1..100u8).flat_map(|i| [i; 32]).collect();
    let commitment = Commitment {
        trace: tree::hash(&short),
        state: [99; 32],
    };
    let short = Claim {
        commitment,
        last: tree::prove_open(&short, 98 * 32),
        ..claim(0)
    };
    assert_eq!(
        world.commit_as(0, 1, SOLVER, hash, short),
        Err(Error::Opening)
    );
}

#[test]
fn the_window_ends_after_both_audit_time_and_minimum() {
    let mut early = World::with_commitment();
    let accepted = early.now;
    assert_eq!(early.attempts[&(0, 1)].window_end, accepted + 900);
    early.now = accepted + 900;
    assert_eq!(early.finalize(0, 1), Err(Error::TooEarly));
    early.challenge(0, 1).unwrap();

    let slow = Terms {
        work: 5000,
        ..terms()
    };
    let mut late = World::new();
    late.submit(SUBMITTER, slow, 1100).unwrap();
    late.accept(0, SOLVER, 0).unwrap();
    late.now += 4000;
    late.commit(0, 1, SOLVER, 0).unwrap();
    assert_eq!(late.attempts[&(0, 1)].window_end, late.now + 300);
}

#[test]
fn a_challenge_after_the_window_or_of_something_else_is_refused() {
    let mut world = World::with_commitment();
    let hash = world.hash(0);
    let trace = world.attempts[&(0, 1)].commitment.trace;
    assert_eq!(
        world.challenge_as(0, 1, [0; 32], trace),
        Err(Error::OtherTask)
    );
    assert_eq!(
        world.challenge_as(0, 1, hash, [0; 32]),
        Err(Error::OtherCommitment)
    );
    assert_eq!(world.challenge_as(0, 2, hash, trace), Err(Error::NoAttempt));
    world.now += 901;
    assert_eq!(world.challenge_as(0, 1, hash, trace), Err(Error::TooLate));
    world.finalize(0, 1).unwrap();
    assert_eq!(world.challenge_as(0, 1, hash, trace), Err(Error::Status));
}

#[test]
fn an_uncommitted_attempt_cannot_be_challenged() {
    let mut world = World::with_task();
    world.accept(0, SOLVER, 0).unwrap();
    let hash = world.hash(0);
    assert_eq!(world.challenge_as(0, 1, hash, [0; 32]), Err(Error::Status));
}

#[test]
fn a_challenged_result_waits_for_the_end_of_every_challenge() {
    let mut world = World::with_commitment();
    world.challenge(0, 1).unwrap();
    world.challenge(0, 1).unwrap();
    world.now += 901;
    assert_eq!(world.finalize(0, 1), Err(Error::Challenged));
    world.close(0, 1, Outcome::Upheld).unwrap();
    assert_eq!(world.finalize(0, 1), Err(Error::Challenged));
    world.close(0, 1, Outcome::Upheld).unwrap();
    world.finalize(0, 1).unwrap();
    assert_eq!(world.tasks[&0].result, claim(0).commitment);
    assert_eq!(world.finalize(0, 1), Err(Error::Status));
}

#[test]
fn more_challenges_cannot_end_than_have_begun() {
    let mut world = World::with_commitment();
    assert_eq!(world.close(0, 1, Outcome::Wrong), Err(Error::Status));
    world.challenge(0, 1).unwrap();
    world.close(0, 1, Outcome::Upheld).unwrap();
    assert_eq!(world.close(0, 1, Outcome::Upheld), Err(Error::Status));
}

#[test]
fn a_proven_wrong_attempt_takes_no_new_challenge() {
    let mut world = World::with_commitment();
    world.challenge(0, 1).unwrap();
    world.close(0, 1, Outcome::Wrong).unwrap();
    assert_eq!(world.challenge(0, 1), Err(Error::Status));
    assert_eq!(world.tasks[&0].status, TaskStatus::Open);
}

#[test]
fn a_task_without_open_time_is_refunded_instead_of_reopened() {
    let mut world = World::with_task();
    world.now += 3000;
    world.accept(0, SOLVER, 0).unwrap();
    world.now += 501;
    world.expire(0, 1).unwrap();
    assert_eq!(world.tasks[&0].status, TaskStatus::Cancelled);
    assert_eq!(world.withdraw_refund(0, SUBMITTER), Ok(1100));
}

#[test]
fn only_the_submitter_cancels_and_only_while_the_task_is_open() {
    let mut world = World::with_task();
    assert_eq!(world.cancel(0, OTHER), Err(Error::NotSubmitter));
    world.accept(0, SOLVER, 0).unwrap();
    assert_eq!(world.cancel(0, SUBMITTER), Err(Error::Status));
    world.now += 501;
    world.expire(0, 1).unwrap();
    world.now += 100_000;
    world.cancel(0, SUBMITTER).unwrap();
    assert_eq!(world.cancel(0, SUBMITTER), Err(Error::Status));
    assert_eq!(world.accept(0, SOLVER, 0), Err(Error::Status));
}

#[test]
fn a_deadline_is_missed_only_after_it() {
    let mut world = World::with_task();
    world.accept(0, SOLVER, 0).unwrap();
    world.now += 500;
    assert_eq!(world.expire(0, 1), Err(Error::TooEarly));
    world.commit(0, 1, SOLVER, 0).unwrap();
    world.now += 1;
    assert_eq!(world.expire(0, 1), Err(Error::Status));
}

#[test]
fn nothing_is_pruned_while_it_matters_nor_by_another() {
    let mut world = World::with_commitment();
    world.challenge(0, 1).unwrap();
    world.challenge(0, 1).unwrap();
    assert_eq!(world.prune_attempt(0, 1, SOLVER), Err(Error::Status));
    world.close(0, 1, Outcome::Wrong).unwrap();
    assert_eq!(world.attempts[&(0, 1)].status, AttemptStatus::Wrong);
    assert_eq!(world.prune_task(0, SUBMITTER), Err(Error::Status));
    world.cancel(0, SUBMITTER).unwrap();
    assert_eq!(world.prune_task(0, SUBMITTER), Err(Error::Challenged));
    assert_eq!(world.prune_attempt(0, 1, SOLVER), Err(Error::Challenged));
    world.close(0, 1, Outcome::Upheld).unwrap();
    assert_eq!(world.prune_task(0, SUBMITTER), Err(Error::Owed));
    assert_eq!(world.prune_attempt(0, 1, SOLVER), Err(Error::Owed));
    world.withdraw_refund(0, SUBMITTER).unwrap();
    assert_eq!(world.prune_task(0, SOLVER), Err(Error::NotSubmitter));
    world.prune_task(0, SUBMITTER).unwrap();
    world.pay_share(0, 1, CHALLENGER).unwrap();
    assert_eq!(world.prune_attempt(0, 1, SUBMITTER), Err(Error::NotSolver));
    world.prune_attempt(0, 1, SOLVER).unwrap();
}

//! A slashed stake to the last unit, and challenges of one attempt beside each other and beside
//! a later attempt.

use crate::{honest, wrong};
use lockstep_agent::keys::Signer;
use lockstep_interface::dispute::{self, ClaimShare, Prune, Withdraw};
use lockstep_interface::escrow::{
    AttemptStatus, Cancel, Error, PruneAttempt, PruneTask, TaskStatus, WithdrawRefund,
};
use lockstep_interface::stake::{self, RequestUnbond};
use lockstep_interface::{DisputeId, Terms};
use lockstep_protocol::game::Side;
use lockstep_protocol::rehearsal::{honest_challenger, honest_defender};
use lockstep_tests::life::{open, TERMS};
use lockstep_tests::world::{World, UNBONDING};

fn convict(world: &World, dispute: DisputeId) {
    let outcome = world.play(
        dispute,
        honest_defender(wrong()),
        honest_challenger(honest(), None),
    );
    assert_eq!(outcome.winner, Side::Challenger);
}

fn challengers(world: &World, count: usize) -> Vec<Signer> {
    (0..count)
        .map(|k| world.person(&format!("challenger{k}")))
        .collect()
}

fn parts(terms: &Terms) -> (u128, u128, u128) {
    let burned = terms.stake * 20 / 100;
    let compensation = terms.stake * 30 / 100;
    (burned, compensation, terms.stake - burned - compensation)
}

#[test]
fn a_stake_is_divided_to_the_last_unit_whatever_it_is_and_however_many_win() {
    for count in 1..=4u128 {
        for extra in 0..4 {
            let terms = Terms {
                stake: TERMS.stake + extra * 13,
                ..TERMS
            };
            let world = World::new();
            let (job, attempt) = world.committed(wrong(), terms);
            let people = challengers(&world, count as usize);
            let opened: Vec<_> = people
                .iter()
                .map(|who| world.open(&job, attempt, who, wrong()))
                .collect();
            // The first plays the game out, the others win by the solver's silence.
            convict(&world, opened[0]);
            for dispute in &opened[1..] {
                world.time_out(*dispute);
            }
            let (burned, compensation, pool) = parts(&terms);
            let (share, rest) = (pool / count, pool % count);
            assert_eq!(world.task(&job).owed, compensation);
            let burn = world.contracts().escrow_config().unwrap().burn;
            assert_eq!(burn, burned + rest, "rounding burns");
            for (who, dispute) in people.iter().zip(&opened) {
                let claim = ClaimShare { dispute: *dispute };
                assert_eq!(world.ask(who, 0, &claim), Ok(share));
            }
            assert_eq!(world.attempt_record(&job, attempt).pool, 0);
            world.check_books();
        }
    }
}

#[test]
fn every_challenger_plays_on_after_the_first_has_won_and_all_share_equally() {
    let world = World::new();
    let (job, attempt) = world.committed(wrong(), TERMS);
    let people = challengers(&world, 3);
    let before: Vec<_> = people.iter().map(|who| world.wealth(who)).collect();
    let opened: Vec<_> = people
        .iter()
        .map(|who| world.open(&job, attempt, who, wrong()))
        .collect();
    convict(&world, opened[1]);
    let record = world.attempt_record(&job, attempt);
    assert_eq!(record.status, AttemptStatus::Wrong);
    assert_eq!((record.challenges, record.wins), (2, 1));
    assert_eq!(world.task(&job).status, TaskStatus::Open);
    assert_eq!(world.dispute(opened[0]).game.winner(), None);

    let late = world.person("late");
    let refused = world.tell(&late, TERMS.bond, &open(&job, attempt, wrong()));
    let over = dispute::Error::Escrow(Error::Status);
    assert_eq!(refused, Err(over), "a latecomer would dilute the shares");

    convict(&world, opened[0]);
    convict(&world, opened[2]);
    let (_, _, pool) = parts(&TERMS);
    let cancel = Cancel { task: job.id };
    world.tell(&world.person("submitter"), 0, &cancel).unwrap();
    // The last claim comes long after the others.
    for (k, dispute) in opened.iter().enumerate() {
        if k == 2 {
            world.wait(50 * TERMS.open);
        }
        let paid = world.ask(&people[k], 0, &ClaimShare { dispute: *dispute });
        assert_eq!(paid, Ok(pool / 3));
    }
    world.clear(&job);
    for (who, before) in people.iter().zip(before) {
        assert_eq!(world.wealth(who), before + (pool / 3) as i128);
    }
    world.check_empty();
}

#[test]
fn a_challenger_that_errs_against_a_liar_loses_its_bond_all_the_same() {
    let world = World::new();
    let (job, attempt) = world.committed(wrong(), TERMS);
    let (good, bad) = (world.person("good"), world.person("bad"));
    let right = world.open(&job, attempt, &good, wrong());
    let stalled = world.open(&job, attempt, &bad, wrong());
    convict(&world, right);
    let outcome = world.play(stalled, honest_defender(wrong()), |_, _| None);
    assert_eq!(outcome.winner, Side::Defender);
    let (_, _, pool) = parts(&TERMS);
    let claim = ClaimShare { dispute: right };
    assert_eq!(world.ask(&good, 0, &claim), Ok(pool), "the whole pool");
    let refused = world.tell(&bad, 0, &ClaimShare { dispute: stalled });
    assert_eq!(refused, Err(dispute::Error::NothingOwed));
    let refused = world.tell(&bad, 0, &Withdraw { dispute: stalled });
    assert_eq!(refused, Err(dispute::Error::NothingOwed));
    let cancel = Cancel { task: job.id };
    world.tell(&world.person("submitter"), 0, &cancel).unwrap();
    world.clear(&job);
    world.check_empty();
}

#[test]
fn a_dispute_of_the_first_attempt_won_after_the_second_committed_touches_only_the_first() {
    let world = World::new();
    let submitter = world.person("submitter");
    let (job, first) = world.committed(wrong(), TERMS);
    let people = challengers(&world, 2);
    let early = world.open(&job, first, &people[0], wrong());
    let late = world.open(&job, first, &people[1], wrong());
    convict(&world, early);
    let solver = world.person("second");
    let second = world.attempt_by(&job, &solver, honest());
    let committed = world.attempt_record(&job, second);
    let owed = world.task(&job).owed;

    convict(&world, late);
    let mut after = world.attempt_record(&job, second);
    assert_eq!(after, committed, "the second attempt is untouched");
    assert_eq!(world.task(&job).status, TaskStatus::Committed);
    assert_eq!(world.task(&job).owed, owed, "compensated once");
    let staker = world.contracts().staker(solver.account()).unwrap();
    assert_eq!(staker.locked, TERMS.stake);
    assert_eq!(world.attempt_record(&job, first).wins, 2);

    world.finalize(&job, second);
    after = world.attempt_record(&job, second);
    assert_eq!(after.status, AttemptStatus::Final);
    assert_eq!(after.owed, after.price);
    world
        .tell(&submitter, 0, &WithdrawRefund { task: job.id })
        .unwrap();
    world.clear(&job);
    world.check_empty();
}

#[test]
fn an_open_dispute_of_the_first_attempt_does_not_hold_up_the_second() {
    let world = World::new();
    let submitter = world.person("submitter");
    let terms = Terms {
        clock: 8_000_000,
        ..TERMS
    };
    let (job, first) = world.committed(wrong(), terms);
    let people = challengers(&world, 2);
    let early = world.open(&job, first, &people[0], wrong());
    let late = world.open(&job, first, &people[1], wrong());
    convict(&world, early);
    let second = world.attempt_by(&job, &world.person("second"), honest());
    world.finalize(&job, second);
    assert_eq!(world.task(&job).status, TaskStatus::Settled);

    world
        .tell(&submitter, 0, &WithdrawRefund { task: job.id })
        .unwrap();
    let prune = PruneTask { task: job.id };
    let refused = world.tell(&submitter, 0, &prune);
    assert_eq!(refused, Err(Error::Challenged), "a dispute is open");
    let prune = PruneAttempt {
        task: job.id,
        attempt: first,
    };
    let refused = world.tell(&world.person("solver"), 0, &prune);
    assert_eq!(refused, Err(Error::Challenged));
    let share = ClaimShare { dispute: early };
    let refused = world.tell(&people[0], 0, &share);
    let open = dispute::Error::Escrow(Error::Challenged);
    assert_eq!(refused, Err(open));

    convict(&world, late);
    world.clear(&job);
    world.check_empty();
}

#[test]
fn an_attempt_with_unpaid_shares_is_not_pruned_and_its_winner_is_paid_after_the_task_is_gone() {
    let world = World::new();
    let (job, attempt) = world.committed(wrong(), TERMS);
    let (solver, challenger) = (world.person("solver"), world.person("challenger"));
    let submitter = world.person("submitter");
    let dispute = world.open(&job, attempt, &challenger, wrong());
    convict(&world, dispute);
    let task = job.id;
    world.tell(&submitter, 0, &Cancel { task }).unwrap();
    world.tell(&submitter, 0, &WithdrawRefund { task }).unwrap();
    world.tell(&submitter, 0, &PruneTask { task }).unwrap();
    let prune = PruneAttempt { task, attempt };
    assert_eq!(world.tell(&solver, 0, &prune), Err(Error::Owed));
    let share = world.ask(&challenger, 0, &ClaimShare { dispute }).unwrap();
    assert_eq!(share, parts(&TERMS).2);
    world.tell(&challenger, 0, &Withdraw { dispute }).unwrap();
    world.tell(&challenger, 0, &Prune { dispute }).unwrap();
    world.tell(&solver, 0, &prune).unwrap();
    world.tell(&solver, 0, &stake::Withdraw {}).unwrap();
    world.flush();
    world.check_empty();
}

#[test]
fn a_solver_cannot_unbond_its_way_out_of_a_slash() {
    let world = World::new();
    let (solver, challenger) = (world.person("solver"), world.person("challenger"));
    world.stake(&solver, 500);
    let (job, attempt) = world.committed(wrong(), TERMS);
    world
        .tell(&solver, 0, &RequestUnbond { amount: 500 })
        .unwrap();
    let refused = world.tell(&solver, 0, &RequestUnbond { amount: 1 });
    assert_eq!(refused, Err(stake::Error::NotFree));
    let dispute = world.open(&job, attempt, &challenger, wrong());
    convict(&world, dispute);
    let staker = world.contracts().staker(solver.account()).unwrap();
    assert_eq!((staker.free, staker.locked, staker.unbonding), (0, 0, 500));
    world.wait(UNBONDING + 1);
    world.tell(&solver, 0, &stake::Withdraw {}).unwrap();
    assert!(world.contracts().staker(solver.account()).unwrap() == stake::Staker::default());
    world.check_books();
}

#[test]
fn a_solver_that_convicts_itself_loses_what_burns_and_what_compensates() {
    let world = World::new();
    let (solver, sybil) = (world.person("solver"), world.person("sybil"));
    let before = world.wealth(&solver) + world.wealth(&sybil);
    let (job, attempt) = world.committed(wrong(), TERMS);
    let dispute = world.open(&job, attempt, &sybil, wrong());
    world.time_out(dispute);
    let cancel = Cancel { task: job.id };
    world.tell(&world.person("submitter"), 0, &cancel).unwrap();
    world.clear(&job);
    let after = world.wealth(&solver) + world.wealth(&sybil);
    let (burned, compensation, _) = parts(&TERMS);
    assert_eq!(before - after, (burned + compensation) as i128);
    world.check_empty();
}

//! Attacks on every message of escrow.

use crate::{honest, wrong};
use lockstep_agent::chain::{Balance, Error as ChainError};
use lockstep_interface::escrow::{
    Accept, Appoint, AttemptStatus, Cancel, ChallengeClosed, ChallengeOpened, Commit, Error,
    Expire, Finalize, FlushBurn, OfferOwnership, Outcome, Pause, PayShare, PruneAttempt, PruneTask,
    Submit, TakeOwnership, TaskStatus, WithdrawRefund, WithdrawReward, MAX_LOCATION,
};
use lockstep_interface::goal::{Goal, GoalFault, MetricProof, Side, NO_METRIC};
use lockstep_interface::terms::MAX_AMOUNT;
use lockstep_interface::{Bounds, Message, Task, Terms, TermsFault, BURN_ACCOUNT};
use lockstep_protocol::player::FileId;
use lockstep_protocol::rehearsal::sample::{run, SHAPES};
use lockstep_protocol::rehearsal::{honest_challenger, honest_defender};
use lockstep_protocol::task::SpecFault;
use lockstep_protocol::tree;
use lockstep_tests::life::{commit, TERMS};
use lockstep_tests::world::{World, BOUNDS};
use lockstep_tests::Job;
use scale::Encode;

fn task(terms: Terms) -> Task {
    Task {
        spec: honest().spec.clone(),
        terms,
    }
}

fn submit(terms: Terms) -> Submit {
    Submit {
        task: task(terms),
        artifacts: vec![],
    }
}

fn accept(job: &Job) -> Accept {
    Accept {
        task: job.id,
        terms_hash: job.hash(),
        min_price: 0,
    }
}

#[test]
fn nobody_but_the_deployer_appoints_the_dispute_contract_and_only_once() {
    let world = World::unwired();
    let mallory = world.person("mallory");
    let appoint = Appoint {
        dispute: mallory.account(),
    };
    assert_eq!(world.tell(&mallory, 0, &appoint), Err(Error::NotDeployer));
    let right = Appoint {
        dispute: world.at().dispute,
    };
    world.tell(&world.deployer(), 0, &right).unwrap();
    let again = world.tell(&world.deployer(), 0, &appoint);
    assert_eq!(again, Err(Error::AlreadyAppointed));
    let dispute = world.contracts().escrow_config().unwrap().dispute;
    assert_eq!(dispute, Some(world.at().dispute));
}

#[test]
fn no_task_is_taken_in_before_the_dispute_contract_is_appointed() {
    let world = World::unwired();
    let submitter = world.person("submitter");
    let refused = world.tell(&submitter, TERMS.reward_ceiling, &submit(TERMS));
    assert_eq!(refused, Err(Error::NotAppointed));
    world.check_empty();
}

#[test]
fn a_task_is_taken_in_for_exactly_its_ceiling() {
    let world = World::new();
    let submitter = world.person("submitter");
    let ceiling = TERMS.reward_ceiling;
    for value in [0, 1, ceiling - 1, ceiling + 1, 2 * ceiling] {
        let refused = world.tell(&submitter, value, &submit(TERMS));
        assert_eq!(refused, Err(Error::Value), "{value}");
    }
    assert_eq!(world.contracts().task_count().unwrap(), 0);
    world.check_empty();
}

#[test]
fn terms_that_overflow_or_leave_the_bounds_are_refused() {
    let max = Balance::MAX;
    let far = u64::MAX;
    let terms = |change: &dyn Fn(&mut Terms)| {
        let mut terms = TERMS;
        change(&mut terms);
        terms
    };
    let cases: Vec<(Terms, TermsFault)> = vec![
        (terms(&|t| t.reward_ceiling = max), TermsFault::Reward),
        (
            terms(&|t| t.reward_ceiling = MAX_AMOUNT + 1),
            TermsFault::Reward,
        ),
        (
            terms(&|t| t.reward_floor = t.reward_ceiling + 1),
            TermsFault::Reward,
        ),
        (terms(&|t| t.reward_floor = 0), TermsFault::Reward),
        (
            terms(&|t| t.reward_floor = BOUNDS.min_reward - 1),
            TermsFault::Reward,
        ),
        (terms(&|t| t.stake = max), TermsFault::Stake),
        (terms(&|t| t.stake = MAX_AMOUNT + 1), TermsFault::Stake),
        (
            terms(&|t| t.stake = t.reward_ceiling - 1),
            TermsFault::Stake,
        ),
        (terms(&|t| t.stake = 0), TermsFault::Stake),
        (terms(&|t| t.bond = max), TermsFault::Bond),
        (terms(&|t| t.bond = t.stake + 1), TermsFault::Bond),
        (terms(&|t| t.bond = BOUNDS.min_bond - 1), TermsFault::Bond),
        (terms(&|t| t.bond = 0), TermsFault::Bond),
        (terms(&|t| t.demand_fee = max), TermsFault::DemandFee),
        (terms(&|t| t.demand_fee = t.bond + 1), TermsFault::DemandFee),
        (terms(&|t| t.demand_fee = 0), TermsFault::DemandFee),
        (terms(&|t| t.ramp = 0), TermsFault::Open),
        (terms(&|t| t.ramp = t.open + 1), TermsFault::Open),
        (terms(&|t| t.open = far), TermsFault::Open),
        (terms(&|t| t.work = far), TermsFault::Work),
        (terms(&|t| t.work = 0), TermsFault::Work),
        (terms(&|t| t.audit = far), TermsFault::Window),
        (terms(&|t| t.audit = 0), TermsFault::Window),
        (terms(&|t| t.window = 0), TermsFault::Window),
        (
            terms(&|t| t.window = BOUNDS.max_time + 1),
            TermsFault::Window,
        ),
        (terms(&|t| t.replay = 0), TermsFault::Clock),
        (terms(&|t| t.replay = t.clock + 1), TermsFault::Clock),
        (terms(&|t| t.clock = far), TermsFault::Clock),
        (terms(&|t| t.clock = 0), TermsFault::Clock),
        (terms(&|t| t.increment = t.clock + 1), TermsFault::Clock),
        (terms(&|t| t.increment = 0), TermsFault::Clock),
        (terms(&|t| t.min_blocks = u32::MAX), TermsFault::Blocks),
        (terms(&|t| t.min_blocks = 0), TermsFault::Blocks),
        (terms(&|t| t.replay = t.clock / 9), TermsFault::Drowning),
        (
            terms(&|t| {
                t.goal = Some(Goal {
                    slot: u32::MAX,
                    ..GOAL
                })
            }),
            TermsFault::Goal(GoalFault::Slot),
        ),
        (
            terms(&|t| {
                t.goal = Some(Goal {
                    threshold: NO_METRIC,
                    ..GOAL
                })
            }),
            TermsFault::Goal(GoalFault::Threshold),
        ),
        (
            terms(&|t| {
                t.goal = Some(Goal {
                    otherwise: u16::MAX,
                    ..GOAL
                })
            }),
            TermsFault::Goal(GoalFault::Otherwise),
        ),
    ];
    let world = World::new();
    let submitter = world.person("submitter");
    for (terms, fault) in cases {
        let value = terms.reward_ceiling.min(1 << 50);
        let refused = world.tell(&submitter, value, &submit(terms));
        assert_eq!(refused, Err(Error::Terms(fault)), "{terms:?}");
    }
    world.check_empty();
}

#[test]
fn the_largest_amounts_that_terms_may_name_do_not_overflow() {
    let mut terms = TERMS;
    terms.reward_floor = MAX_AMOUNT - 1;
    terms.reward_ceiling = MAX_AMOUNT;
    terms.stake = MAX_AMOUNT;
    terms.bond = MAX_AMOUNT;
    terms.demand_fee = MAX_AMOUNT;
    terms.replay = BOUNDS.min_replay;
    let world = World::new();
    for name in ["submitter", "solver", "challenger"] {
        world.endow(&world.person(name), 3 * MAX_AMOUNT);
    }
    let challenger = world.person("challenger");
    let (job, attempt) = world.committed(wrong(), terms);
    let id = world.open(&job, attempt, &challenger, wrong());
    world.play(
        id,
        honest_defender(wrong()),
        honest_challenger(honest(), None),
    );
    world.check_books();
    let cancel = Cancel { task: job.id };
    world.tell(&world.person("submitter"), 0, &cancel).unwrap();
    world.clear(&job);
    world.check_empty();
}

#[test]
fn specifications_that_make_no_task_are_refused() {
    let world = World::new();
    let submitter = world.person("submitter");
    let refuse = |fault, change: &dyn Fn(&mut lockstep_protocol::task::TaskSpec)| {
        let mut message = submit(TERMS);
        change(&mut message.task.spec);
        let refused = world.tell(&submitter, TERMS.reward_ceiling, &message);
        assert_eq!(refused, Err(Error::Spec(fault)), "{:?}", message.task.spec);
    };
    refuse(SpecFault::Counts, &|s| s.steps = 0);
    refuse(SpecFault::Counts, &|s| s.segment = 0);
    refuse(SpecFault::Counts, &|s| s.segment = s.steps + 1);
    refuse(SpecFault::Counts, &|s| s.batch = 0);
    refuse(SpecFault::Slots, &|s| s.slots = 0);
    refuse(SpecFault::Slots, &|s| s.slots = s.nodes);
    refuse(SpecFault::Slots, &|s| s.nodes = 0);
    refuse(SpecFault::Nodes, &|s| s.nodes = (1 << 14) + 1);
    refuse(SpecFault::Datasets, &|s| s.datasets[0].records = 0);
    refuse(SpecFault::Datasets, &|s| s.datasets[0].record_size = 0);
    refuse(SpecFault::Datasets, &|s| s.datasets[0].records = u64::MAX);
    refuse(SpecFault::Datasets, &|s| {
        s.datasets = vec![s.datasets[0].clone(); 5]
    });
    world.check_empty();
}

#[test]
fn a_location_has_at_most_its_number_of_bytes() {
    let world = World::new();
    let submitter = world.person("submitter");
    let mut message = submit(TERMS);
    for length in [MAX_LOCATION + 1, 40_000] {
        message.artifacts = vec![b'x'; length];
        let refused = world.tell(&submitter, TERMS.reward_ceiling, &message);
        assert_eq!(refused, Err(Error::Location));
    }
    message.artifacts = vec![b'x'; MAX_LOCATION];
    world
        .tell(&submitter, TERMS.reward_ceiling, &message)
        .unwrap();

    let solver = world.person("solver");
    let job = world.submit(&honest().spec, TERMS);
    world.stake(&solver, TERMS.stake);
    let attempt = world.accept(&job, &solver);
    let mut message = commit(&job, attempt, honest());
    message.artifacts = vec![b'x'; MAX_LOCATION + 1];
    assert_eq!(world.tell(&solver, 0, &message), Err(Error::Location));
    world.check_books();
}

#[test]
fn input_beyond_the_buffer_changes_nothing() {
    let world = World::new();
    let submitter = world.person("submitter");
    let mut message = submit(TERMS);
    message.artifacts = vec![b'x'; 70_000];
    let sent = world.call(
        &submitter,
        world.at().escrow,
        TERMS.reward_ceiling,
        message.call(),
    );
    assert!(matches!(sent, Err(ChainError::Failed(_))), "{sent:?}");
    world.check_empty();
}

#[test]
fn accepting_binds_to_the_task_the_price_and_the_moment() {
    let world = World::new();
    let solver = world.person("solver");
    world.stake(&solver, 3 * TERMS.stake);
    let job = world.submit(&honest().spec, TERMS);
    let good = accept(&job);

    let missing = Accept { task: 7, ..good };
    assert_eq!(world.tell(&solver, 0, &missing), Err(Error::NoTask));
    // The chain was reorganised and another task has this number now.
    let other = Accept {
        terms_hash: [7; 32],
        ..good
    };
    assert_eq!(world.tell(&solver, 0, &other), Err(Error::OtherTask));
    for min_price in [TERMS.reward_ceiling, Balance::MAX] {
        let dear = Accept { min_price, ..good };
        assert_eq!(world.tell(&solver, 0, &dear), Err(Error::Price));
    }
    let poor = world.person("poor");
    let refused = world.tell(&poor, 0, &good);
    let no_stake = lockstep_interface::stake::Error::NoStake;
    assert_eq!(refused, Err(Error::Stake(no_stake)));
    assert_eq!(world.task(&job).status, TaskStatus::Open);

    world.tell(&solver, 0, &good).unwrap();
    let again = world.tell(&solver, 0, &good);
    assert_eq!(again, Err(Error::Status), "a task is accepted once");
    let late = world.person("late");
    world.stake(&late, TERMS.stake);
    assert_eq!(world.tell(&late, 0, &good), Err(Error::Status));
    world.check_books();
}

/// Half of slot 0, or all but a thousandth of the price.
const GOAL: Goal = Goal {
    slot: 0,
    side: Side::AtLeast,
    threshold: 0x3f00_0000,
    otherwise: 999,
};

#[test]
fn a_metric_is_taken_only_as_a_goal_asks_and_the_state_holds_it() {
    let world = World::new();
    let solver = world.person("solver");
    world.stake(&solver, 2 * TERMS.stake);
    // The hash of the slot's tensor is right, but it is that of no single f32 which is shown.
    let step = honest().spec.steps - 1;
    let state = honest().bytes(FileId::StateAfter { step });
    let proof = MetricProof {
        metric: 1f32.to_bits(),
        slot: tree::prove_open(&state, 0),
    };
    let with_goal = Terms {
        goal: Some(GOAL),
        ..TERMS
    };
    for terms in [TERMS, with_goal] {
        let job = world.submit(&honest().spec, terms);
        let attempt = world.accept(&job, &solver);
        let plain = commit(&job, attempt, honest());
        let shown = Commit {
            metric: Some(proof.clone()),
            ..plain.clone()
        };
        assert_eq!(world.tell(&solver, 0, &shown), Err(Error::Metric));
        world
            .tell(&solver, 0, &plain)
            .expect("without a metric it is taken");
    }
    world.check_books();
}

#[test]
fn committing_binds_to_the_task_the_attempt_and_the_final_state() {
    let world = World::new();
    let solver = world.person("solver");
    let job = world.submit(&honest().spec, TERMS);
    world.stake(&solver, TERMS.stake);
    let good = commit(&job, 1, honest());
    let refused = world.tell(&solver, 0, &good);
    assert_eq!(refused, Err(Error::NoAttempt), "nothing is accepted yet");
    let attempt = world.accept(&job, &solver);

    let refuse = |message: Commit, error| {
        assert_eq!(world.tell(&solver, 0, &message), Err(error));
    };
    for wrong in [0, attempt + 1, u32::MAX] {
        let message = Commit {
            attempt: wrong,
            ..good.clone()
        };
        refuse(message, Error::NoAttempt);
    }
    let message = Commit {
        terms_hash: [7; 32],
        ..good.clone()
    };
    refuse(message, Error::OtherTask);
    let mallory = world.person("mallory");
    assert_eq!(world.tell(&mallory, 0, &good), Err(Error::NotSolver));

    // A true trace with another final state, and the other way round.
    let mut message = good.clone();
    message.commitment.state = wrong().commitment().state;
    refuse(message, Error::Opening);
    let mut message = good.clone();
    message.commitment.trace = wrong().commitment().trace;
    refuse(message, Error::Opening);
    // The entry before the last one, opened as if it were the last.
    let trace = honest().bytes(FileId::Checkpoints);
    let before = trace.len() - 64;
    let mut message = good.clone();
    message.last = tree::prove_open(&trace, before as u64);
    message.commitment.state = trace[before..before + 32].try_into().unwrap();
    refuse(message, Error::Opening);
    // A trace with an entry too many or too few.
    for trace in [
        [&trace[..], &[5; 32]].concat(),
        trace[..trace.len() - 32].to_vec(),
    ] {
        let mut message = good.clone();
        message.commitment.trace = tree::hash(&trace);
        message.commitment.state = trace[trace.len() - 32..].try_into().unwrap();
        message.last = tree::prove_open(&trace, trace.len() as u64 - 32);
        refuse(message, Error::Opening);
    }
    let mut message = good.clone();
    message.last.path.push([0; 32]);
    refuse(message, Error::Opening);
    let mut message = good.clone();
    message.last.chunk.clear();
    refuse(message, Error::Opening);

    world.tell(&solver, 0, &good).unwrap();
    refuse(good, Error::Status);
    world.check_books();
}

#[test]
fn a_commit_at_the_deadline_counts_and_one_after_it_does_not() {
    let world = World::new();
    let solver = world.person("solver");
    for late in [false, true] {
        let job = world.submit(&honest().spec, TERMS);
        world.stake(&solver, TERMS.stake);
        let attempt = world.accept(&job, &solver);
        let deadline = world.attempt_record(&job, attempt).deadline;
        let expire = Expire {
            task: job.id,
            attempt,
        };
        world.wait_until(deadline + u64::from(late));
        let message = commit(&job, attempt, honest());
        if late {
            let refused = world.tell(&solver, 0, &message);
            assert_eq!(refused, Err(Error::TooLate));
            world.tell(&solver, 0, &expire).unwrap();
        } else {
            let refused = world.tell(&solver, 0, &expire);
            assert_eq!(refused, Err(Error::TooEarly));
            world.tell(&solver, 0, &message).unwrap();
        }
    }
    world.check_books();
}

#[test]
fn a_commit_meant_for_an_earlier_attempt_is_refused() {
    let world = World::new();
    let solver = world.person("solver");
    let job = world.submit(&honest().spec, TERMS);
    world.stake(&solver, 2 * TERMS.stake);
    let first = world.accept(&job, &solver);
    let stale = commit(&job, first, honest());
    world.wait(TERMS.work + 1);
    let expire = Expire {
        task: job.id,
        attempt: first,
    };
    world.tell(&solver, 0, &expire).unwrap();
    let second = world.accept(&job, &solver);
    assert_eq!((first, second), (1, 2));
    assert_eq!(world.tell(&solver, 0, &stale), Err(Error::NoAttempt));
    assert_eq!(world.tell(&solver, 0, &expire), Err(Error::NoAttempt));
    world.commit(&job, second, &solver, honest());
    world.check_books();
}

#[test]
fn an_attempt_is_settled_after_its_window_and_once() {
    let world = World::new();
    let (job, attempt) = world.committed(honest(), TERMS);
    let anyone = world.person("anyone");
    let finalize = Finalize {
        task: job.id,
        attempt,
    };
    let record = world.attempt_record(&job, attempt);
    assert!(record.window_end >= record.audit_end);
    assert_eq!(world.tell(&anyone, 0, &finalize), Err(Error::TooEarly));
    world.wait_until(record.window_end);
    assert_eq!(world.tell(&anyone, 0, &finalize), Err(Error::TooEarly));
    let missing = Finalize {
        attempt: attempt + 1,
        ..finalize
    };
    assert_eq!(world.tell(&anyone, 0, &missing), Err(Error::NoAttempt));
    let missing = Finalize {
        task: 9,
        ..finalize
    };
    assert_eq!(world.tell(&anyone, 0, &missing), Err(Error::NoTask));
    world.wait_until(record.window_end + 1);
    world.tell(&anyone, 0, &finalize).unwrap();
    assert_eq!(world.tell(&anyone, 0, &finalize), Err(Error::Status));
    assert_eq!(world.task(&job).result, honest().commitment());
    world.clear(&job);
    world.check_empty();
}

#[test]
fn the_window_is_never_shorter_than_the_audit_time_or_the_window() {
    let world = World::new();
    let solver = world.person("solver");
    for wait in [1_000, TERMS.work - 10_000] {
        let job = world.submit(&honest().spec, TERMS);
        world.stake(&solver, TERMS.stake);
        let accepted = world.now().time;
        let attempt = world.accept(&job, &solver);
        world.wait(wait);
        let committed = world.now().time;
        world.commit(&job, attempt, &solver, honest());
        let end = world.attempt_record(&job, attempt).window_end;
        let expected = (accepted + TERMS.audit).max(committed + TERMS.window);
        assert_eq!(end, expected);
    }
}

#[test]
fn an_attempt_expires_only_when_it_missed_its_deadline() {
    let world = World::new();
    let (job, attempt) = world.committed(honest(), TERMS);
    let anyone = world.person("anyone");
    let expire = Expire {
        task: job.id,
        attempt,
    };
    world.wait(TERMS.work + 1);
    let refused = world.tell(&anyone, 0, &expire);
    assert_eq!(refused, Err(Error::Status), "it has committed");
    let open = world.submit(&honest().spec, TERMS);
    let expire = Expire {
        task: open.id,
        attempt: 0,
    };
    assert_eq!(world.tell(&anyone, 0, &expire), Err(Error::NoAttempt));
    world.check_books();
}

#[test]
fn only_the_submitter_cancels_and_only_while_the_task_is_open() {
    let world = World::new();
    let submitter = world.person("submitter");
    let mallory = world.person("mallory");
    let job = world.submit(&honest().spec, TERMS);
    let cancel = Cancel { task: job.id };
    assert_eq!(world.tell(&mallory, 0, &cancel), Err(Error::NotSubmitter));
    let missing = Cancel { task: 5 };
    assert_eq!(world.tell(&submitter, 0, &missing), Err(Error::NoTask));
    world.tell(&submitter, 0, &cancel).unwrap();
    assert_eq!(world.tell(&submitter, 0, &cancel), Err(Error::Status));

    let solver = world.person("solver");
    world.stake(&solver, TERMS.stake);
    let refused = world.tell(&solver, 0, &accept(&job));
    assert_eq!(refused, Err(Error::Status), "a cancelled task is over");

    let job = world.submit(&honest().spec, TERMS);
    let cancel = Cancel { task: job.id };
    let attempt = world.accept(&job, &solver);
    assert_eq!(world.tell(&submitter, 0, &cancel), Err(Error::Status));
    world.commit(&job, attempt, &solver, honest());
    assert_eq!(world.tell(&submitter, 0, &cancel), Err(Error::Status));
    world.finalize(&job, attempt);
    assert_eq!(world.tell(&submitter, 0, &cancel), Err(Error::Status));
    world.check_books();
}

#[test]
fn refunds_and_rewards_are_paid_once_to_whom_they_belong() {
    let world = World::new();
    let (job, attempt) = world.committed(honest(), TERMS);
    let (submitter, solver) = (world.person("submitter"), world.person("solver"));
    let mallory = world.person("mallory");
    let refund = WithdrawRefund { task: job.id };
    let reward = WithdrawReward {
        task: job.id,
        attempt,
    };
    assert_eq!(world.tell(&submitter, 0, &refund), Err(Error::NothingOwed));
    assert_eq!(world.tell(&solver, 0, &reward), Err(Error::NothingOwed));
    world.finalize(&job, attempt);
    assert_eq!(world.tell(&mallory, 0, &refund), Err(Error::NotSubmitter));
    assert_eq!(world.tell(&solver, 0, &refund), Err(Error::NotSubmitter));
    assert_eq!(world.tell(&mallory, 0, &reward), Err(Error::NotSolver));
    assert_eq!(world.tell(&submitter, 0, &reward), Err(Error::NotSolver));
    let paid = world.ask(&solver, 0, &reward).unwrap();
    let back = world.ask(&submitter, 0, &refund).unwrap();
    assert_eq!(paid + back, TERMS.reward_ceiling);
    assert_eq!(world.tell(&submitter, 0, &refund), Err(Error::NothingOwed));
    assert_eq!(world.tell(&solver, 0, &reward), Err(Error::NothingOwed));
    world.clear(&job);
    world.check_empty();
}

#[test]
fn withdrawals_that_cannot_be_paid_keep_the_credit() {
    let world = World::new();
    let (job, attempt) = world.committed(honest(), TERMS);
    let (submitter, solver) = (world.person("submitter"), world.person("solver"));
    world.finalize(&job, attempt);
    let refund = WithdrawRefund { task: job.id };
    let reward = WithdrawReward {
        task: job.id,
        attempt,
    };
    let owed = (
        world.task(&job).owed,
        world.attempt_record(&job, attempt).owed,
    );
    let all = world.ledgers().escrow;
    world.confiscate(&world.at().escrow, all);
    assert_eq!(world.tell(&submitter, 0, &refund), Err(Error::Transfer));
    assert_eq!(world.tell(&solver, 0, &reward), Err(Error::Transfer));
    let now = (
        world.task(&job).owed,
        world.attempt_record(&job, attempt).owed,
    );
    assert_eq!(now, owed);
    world.restore(&world.at().escrow, all);
    world.tell(&submitter, 0, &refund).unwrap();
    world.tell(&solver, 0, &reward).unwrap();
    world.check_books();
}

#[test]
fn tasks_and_attempts_are_pruned_by_their_payers_when_nothing_is_open_or_owed() {
    let world = World::new();
    let (job, attempt) = world.committed(honest(), TERMS);
    let (submitter, solver) = (world.person("submitter"), world.person("solver"));
    let mallory = world.person("mallory");
    let (task, number) = (job.id, attempt);
    let prune_task = PruneTask { task };
    let prune_attempt = PruneAttempt {
        task,
        attempt: number,
    };
    assert_eq!(world.tell(&submitter, 0, &prune_task), Err(Error::Status));
    assert_eq!(world.tell(&solver, 0, &prune_attempt), Err(Error::Status));
    world.finalize(&job, attempt);
    assert_eq!(world.tell(&submitter, 0, &prune_task), Err(Error::Owed));
    assert_eq!(world.tell(&solver, 0, &prune_attempt), Err(Error::Owed));
    world.tell(&submitter, 0, &WithdrawRefund { task }).unwrap();
    world
        .tell(&solver, 0, &WithdrawReward { task, attempt })
        .unwrap();
    for thief in [&mallory, &solver] {
        assert_eq!(world.tell(thief, 0, &prune_task), Err(Error::NotSubmitter));
    }
    for thief in [&mallory, &submitter] {
        assert_eq!(world.tell(thief, 0, &prune_attempt), Err(Error::NotSolver));
    }
    world.tell(&submitter, 0, &prune_task).unwrap();
    world.tell(&solver, 0, &prune_attempt).unwrap();
    assert_eq!(world.tell(&submitter, 0, &prune_task), Err(Error::NoTask));
    assert_eq!(
        world.tell(&solver, 0, &prune_attempt),
        Err(Error::NoAttempt)
    );
    let finalize = Finalize { task, attempt };
    assert_eq!(world.tell(&solver, 0, &finalize), Err(Error::NoTask));
    world.check_empty();
}

#[test]
fn a_task_number_is_never_used_again() {
    let world = World::new();
    let submitter = world.person("submitter");
    let job = world.submit(&honest().spec, TERMS);
    world.tell(&submitter, 0, &Cancel { task: job.id }).unwrap();
    world.clear(&job);
    let next = world.submit(&honest().spec, TERMS);
    assert_eq!(next.id, job.id + 1);
}

#[test]
fn nobody_but_the_dispute_contract_reports_challenges_or_pays_shares() {
    let world = World::new();
    let (job, attempt) = world.committed(wrong(), TERMS);
    let (task, trace) = (job.id, wrong().commitment().trace);
    let before = world.attempt_record(&job, attempt);
    for caller in ["mallory", "Alice", "solver", "submitter"] {
        let caller = world.person(caller);
        let opened = ChallengeOpened {
            task,
            attempt,
            terms_hash: job.hash(),
            trace,
        };
        assert_eq!(world.tell(&caller, 0, &opened), Err(Error::NotDispute));
        for outcome in [Outcome::Upheld, Outcome::Wrong, Outcome::Withheld] {
            let closed = ChallengeClosed {
                task,
                attempt,
                outcome,
            };
            assert_eq!(world.tell(&caller, 0, &closed), Err(Error::NotDispute));
        }
        let winner = caller.account();
        let share = PayShare {
            task,
            attempt,
            winner,
        };
        assert_eq!(world.tell(&caller, 0, &share), Err(Error::NotDispute));
    }
    assert_eq!(world.attempt_record(&job, attempt), before);
    let unwired = World::unwired();
    let deployer = unwired.deployer();
    let opened = ChallengeOpened {
        task,
        attempt,
        terms_hash: job.hash(),
        trace,
    };
    let refused = unwired.tell(&deployer, 0, &opened);
    assert_eq!(refused, Err(Error::NotDispute));
    world.check_books();
}

#[test]
fn nothing_is_burned_before_there_is_something_and_then_exactly_that() {
    let world = World::new();
    let anyone = world.person("anyone");
    assert_eq!(world.tell(&anyone, 0, &FlushBurn {}), Err(Error::Dust));
    let (job, attempt) = world.committed(wrong(), TERMS);
    let challenger = world.person("challenger");
    let id = world.open(&job, attempt, &challenger, wrong());
    world.play(
        id,
        honest_defender(wrong()),
        honest_challenger(honest(), None),
    );
    let burn = TERMS.stake * 20 / 100;
    assert_eq!(world.ask(&anyone, 0, &FlushBurn {}), Ok(burn));
    assert_eq!(world.free(&BURN_ACCOUNT), burn);
    assert_eq!(world.tell(&anyone, 0, &FlushBurn {}), Err(Error::Dust));
    world.check_books();
}

#[test]
fn a_pause_stops_the_intake_of_tasks_and_nothing_else() {
    let world = World::new();
    let owner = world.deployer();
    let (submitter, solver) = (world.person("submitter"), world.person("solver"));
    for thief in [&submitter, &solver] {
        let refused = world.tell(thief, 0, &Pause { paused: true });
        assert_eq!(refused, Err(Error::NotOwner));
    }
    let job = world.submit(&honest().spec, TERMS);
    world.tell(&owner, 0, &Pause { paused: true }).unwrap();
    let refused = world.tell(&submitter, TERMS.reward_ceiling, &submit(TERMS));
    assert_eq!(refused, Err(Error::Paused));
    let attempt = world.attempt_by(&job, &solver, wrong());
    let challenger = world.person("challenger");
    let id = world.open(&job, attempt, &challenger, wrong());
    world.play(
        id,
        honest_defender(wrong()),
        honest_challenger(honest(), None),
    );
    let second = world.attempt_by(&job, &solver, honest());
    world.finalize(&job, second);
    world.clear(&job);
    world.check_empty();
    world.tell(&owner, 0, &Pause { paused: false }).unwrap();
    world.submit(&honest().spec, TERMS);
}

#[test]
fn ownership_moves_in_two_steps_and_touches_no_funds() {
    let world = World::new();
    let (owner, heir) = (world.deployer(), world.person("heir"));
    let mallory = world.person("mallory");
    let offer = OfferOwnership {
        heir: Some(heir.account()),
    };
    let take = TakeOwnership {};
    assert_eq!(world.tell(&heir, 0, &take), Err(Error::NotHeir));
    assert_eq!(world.tell(&mallory, 0, &offer), Err(Error::NotOwner));
    world.tell(&owner, 0, &offer).unwrap();
    let refused = world.tell(&heir, 0, &Pause { paused: true });
    assert_eq!(refused, Err(Error::NotOwner), "an offer is not yet taken");
    assert_eq!(world.tell(&mallory, 0, &take), Err(Error::NotHeir));
    let withdrawn = OfferOwnership { heir: None };
    world.tell(&owner, 0, &withdrawn).unwrap();
    assert_eq!(world.tell(&heir, 0, &take), Err(Error::NotHeir));
    world.tell(&owner, 0, &offer).unwrap();
    world.tell(&heir, 0, &take).unwrap();
    assert_eq!(world.tell(&heir, 0, &take), Err(Error::NotHeir));
    let refused = world.tell(&owner, 0, &Pause { paused: true });
    assert_eq!(refused, Err(Error::NotOwner), "ownership is gone");
    world.tell(&heir, 0, &Pause { paused: true }).unwrap();
    let appoint = Appoint {
        dispute: heir.account(),
    };
    assert_eq!(world.tell(&heir, 0, &appoint), Err(Error::NotDeployer));
    assert_eq!(world.deposit(&heir.account()), 0, "nor storage deposits");
    world.check_empty();
}

#[test]
fn money_sent_with_a_message_that_takes_none_is_not_lost() {
    let world = World::new();
    let (job, attempt) = world.committed(honest(), TERMS);
    world.finalize(&job, attempt);
    let (task, solver) = (job.id, world.person("solver"));
    let inputs = [
        Appoint { dispute: [1; 32] }.call(),
        Pause { paused: false }.call(),
        OfferOwnership { heir: None }.call(),
        TakeOwnership {}.call(),
        accept(&job).call(),
        commit(&job, attempt, honest()).call(),
        Finalize { task, attempt }.call(),
        Expire { task, attempt }.call(),
        Cancel { task }.call(),
        WithdrawRefund { task }.call(),
        WithdrawReward { task, attempt }.call(),
        FlushBurn {}.call(),
        PruneTask { task }.call(),
        PruneAttempt { task, attempt }.call(),
        [&Submit::SELECTOR[..], &[3; 9]].concat(),
        vec![],
    ];
    let before = world.free(&solver.account());
    for input in inputs {
        let sent = world.call(&solver, world.at().escrow, 5, input.clone());
        assert!(sent.is_err(), "{input:?}");
    }
    assert_eq!(world.free(&solver.account()), before);
    let record = world.attempt_record(&job, attempt);
    assert_eq!(record.status, AttemptStatus::Final);
    world.check_books();
}

#[test]
fn bounds_that_allow_no_terms_or_that_overflow_are_refused_at_deployment() {
    use lockstep_agent::chain::bundle::Bundles;
    use lockstep_agent::chain::Chain;
    let world = World::new();
    let code = Bundles::shipped().unwrap().escrow.wasm;
    let deploy = |bounds: Bounds| {
        let arguments = (world.at().stake, bounds).encode();
        let input = [&lockstep_interface::selector("new")[..], &arguments].concat();
        world
            .chain()
            .deploy(&world.deployer(), &code, &input, b"again")
    };
    let mut cases = vec![BOUNDS; 5];
    cases[0].min_reward = 0;
    cases[1].min_bond = Balance::MAX;
    cases[2].max_time = u64::MAX;
    cases[3].min_blocks = cases[3].max_blocks + 1;
    cases[4].min_clock = cases[4].max_time + 1;
    for bounds in cases {
        assert!(deploy(bounds).is_err(), "{bounds:?}");
    }
}

#[test]
fn a_run_of_another_length_cannot_be_committed() {
    // The trace of a task in one segment against the same task in segments of two steps.
    let world = World::new();
    let solver = world.person("solver");
    let job = world.submit(&honest().spec, TERMS);
    world.stake(&solver, TERMS.stake);
    let attempt = world.accept(&job, &solver);
    let other = run(SHAPES[1], None);
    let refused = world.tell(&solver, 0, &commit(&job, attempt, &other));
    assert_eq!(refused, Err(Error::Opening));
}

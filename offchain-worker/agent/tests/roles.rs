//! The roles through the real contracts, each made anew for every single move, on a chain that is
//! read from its folder every time: nothing may live in memory alone.

mod support;

use lockstep_agent::chain::bundle::Bundles;
use lockstep_agent::chain::contracts::{Addresses, Contracts};
use lockstep_agent::chain::embedded::{Clock, Embedded};
use lockstep_agent::chain::{Chain, UNIT};
use lockstep_agent::keys::Signer;
use lockstep_agent::local::Verdict;
use lockstep_agent::pace::Pace;
use lockstep_agent::roles::challenger::Audit;
use lockstep_agent::roles::solver::{Appetite, Cheating, Skip};
use lockstep_agent::roles::{
    Action, Challenger, Error, Money, Observer, Solver, Submitter, Unobserved, Worker,
};
use lockstep_agent::run::fault::{Level, Place};
use lockstep_agent::run::{self, workload::Workload};
use lockstep_agent::store::Store;
use lockstep_interface::escrow::{AttemptStatus, TaskStatus};
use lockstep_interface::{dispute, Bounds, TaskId};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const HOUR: u64 = 3_600_000;

struct World {
    dir: tempfile::TempDir,
    at: Addresses,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let chain = Arc::new(Embedded::open(&dir.path().join("chain"), Clock::Own).unwrap());
        let contracts = Contracts::deploy(
            chain,
            &Signer::dev("Alice"),
            &Bundles::shipped().unwrap(),
            HOUR,
            &Bounds::default(),
            b"",
            &mut |_| {},
        )
        .unwrap();
        World {
            at: *contracts.addresses(),
            dir,
        }
    }

    fn chain(&self) -> Arc<Embedded> {
        Arc::new(Embedded::open(&self.dir.path().join("chain"), Clock::Own).unwrap())
    }

    fn contracts(&self) -> Contracts {
        Contracts::new(self.chain(), self.at)
    }

    fn home(&self, who: &str) -> PathBuf {
        self.dir.path().join(who)
    }

    fn worker(&self, who: &str) -> Worker {
        Worker {
            signer: Signer::dev(who),
            contracts: self.contracts(),
            store: support::store(&self.home(who)),
            local: support::local(&self.home(who)),
            device: support::device(),
        }
    }

    fn submit(&self, workload: &Workload) -> TaskId {
        let store = support::store(&self.home("Bob"));
        let submitter = Submitter::new(self.worker("Bob"), true);
        submitter
            .submit(workload, Pace::hours().terms, store.location())
            .unwrap()
            .0
    }

    fn solver(&self) -> Solver {
        Solver::new(self.worker("Charlie"), appetite())
    }

    fn cheat(&self, level: Level, seed: u64) -> Solver {
        let cheating = Cheating {
            level,
            place: Place::default(),
            seed,
        };
        Solver::cheat(self.worker("Dave"), appetite(), cheating)
    }

    fn challenger(&self, audit: Audit) -> Challenger {
        Challenger::new(self.worker("Eve"), audit)
    }

    /// Everything there is, to see that nothing is made or lost.
    fn issuance(&self) -> u128 {
        self.chain().issuance().unwrap()
    }
}

fn appetite() -> Appetite {
    Appetite {
        top_up: 1000 * UNIT,
        ..Appetite::default()
    }
}

/// Reacts with a new role each time until nothing is due.
fn until_quiet(mut react: impl FnMut() -> Result<Option<Action>, Error>) -> Vec<Action> {
    let mut done = Vec::new();
    while let Some(action) = react().unwrap() {
        done.push(action);
        assert!(done.len() < 500, "it never ends: {:?}", done.last());
    }
    done
}

fn withdrawn(actions: &[Action], what: Money) -> u128 {
    let amounts = actions.iter().filter_map(|action| match action {
        Action::Withdrew { money, amount, .. } if *money == what => Some(*amount),
        _ => None,
    });
    amounts.sum()
}

#[test]
fn a_solver_that_dies_after_every_move_is_paid() {
    let world = World::new();
    let issuance = world.issuance();
    let task = world.submit(&support::workload(23, 5));
    let done = until_quiet(|| world.solver().react(&mut Unobserved));
    let trained = done
        .iter()
        .filter(|a| matches!(a, Action::Trained { .. }))
        .count();
    assert_eq!(trained, 5, "each segment is run once");
    let record = world.contracts().task(task).unwrap().unwrap();
    assert_eq!(record.status, TaskStatus::Committed);

    let audited = until_quiet(|| world.challenger(Audit::Everything).react(&mut Unobserved));
    assert!(matches!(
        audited.last(),
        Some(Action::Audited {
            verdict: Verdict::Clean,
            ..
        })
    ));

    world.chain().advance(25 * HOUR).unwrap();
    let done = until_quiet(|| world.solver().react(&mut Unobserved));
    assert!(withdrawn(&done, Money::Reward) >= Pace::hours().terms.reward_floor);
    let done = until_quiet(|| Submitter::new(world.worker("Bob"), true).react());
    assert!(matches!(done.last(), Some(Action::Pruned { .. })));
    assert!(
        world.contracts().task(task).unwrap().is_none(),
        "everything is cleaned up"
    );
    assert_eq!(world.issuance(), issuance);
}

#[test]
fn a_solver_killed_within_a_segment_resumes_it() {
    struct Kill(u32);
    impl Observer for Kill {
        fn step(&mut self, done: u32, _: u32) -> bool {
            done < self.0
        }
    }
    let world = World::new();
    let task = world.submit(&support::workload(23, 5));
    let mut kill_at = 1;
    loop {
        match world.solver().react(&mut Kill(kill_at)) {
            Ok(Some(Action::Committed { .. })) => break,
            Ok(Some(_)) => {}
            Ok(None) => panic!("there is work"),
            Err(Error::Run(run::Error::Interrupted)) => kill_at += 1,
            Err(other) => panic!("{other}"),
        }
    }
    let attempt = world.contracts().attempt(task, 1).unwrap().unwrap();
    let honest = until_quiet(|| world.challenger(Audit::Everything).react(&mut Unobserved));
    assert!(matches!(
        honest.last(),
        Some(Action::Audited {
            verdict: Verdict::Clean,
            ..
        })
    ));
    assert_eq!(attempt.status, AttemptStatus::Committed);
}

/// Plays a cheat against a challenger, both made anew for every move, until the share is paid.
fn catch(level: Level, seed: u64, audit: Audit) -> (World, Vec<Action>, Vec<Action>) {
    let world = World::new();
    world.submit(&support::workload(23, 5));
    loop {
        let action = world.cheat(level, seed).react(&mut Unobserved).unwrap();
        if let Action::Committed { .. } = action.expect("there is work") {
            break;
        }
    }
    let (mut challenger, mut cheat) = (Vec::new(), Vec::new());
    for _ in 0..300 {
        let moved = world.challenger(audit).react(&mut Unobserved).unwrap();
        let answered = match moved {
            Some(_) => None,
            None => world.cheat(level, seed).react(&mut Unobserved).unwrap(),
        };
        match (moved, answered) {
            (Some(action), _) => {
                let paid = matches!(
                    action,
                    Action::Withdrew {
                        money: Money::Share,
                        ..
                    }
                );
                challenger.push(action);
                if paid {
                    return (world, challenger, cheat);
                }
            }
            (None, Some(action)) => cheat.push(action),
            (None, None) => {
                world.chain().advance(6 * HOUR).unwrap();
            }
        }
    }
    panic!("the cheat got away: {challenger:?}");
}

#[test]
fn every_kind_of_cheat_is_slashed_by_a_challenger_that_dies_after_every_move() {
    let levels = [
        Level::Checkpoint,
        Level::Step,
        Level::State,
        Level::Source,
        Level::Map,
        Level::Fold,
    ];
    for level in levels {
        let (world, challenger, _) = catch(level, 3, Audit::Everything);
        assert!(withdrawn(&challenger, Money::Share) > 0, "{level}");
        assert_eq!(
            withdrawn(&challenger, Money::Bond),
            Pace::hours().terms.bond,
            "{level}"
        );
        let task = world.contracts().task(0).unwrap().unwrap();
        assert_eq!(
            task.status,
            TaskStatus::Open,
            "{level}: the task is open again"
        );
        let cheat = Signer::dev("Dave").account();
        assert_eq!(
            world.contracts().staker(cheat).unwrap().locked,
            0,
            "{level}"
        );
    }
}

#[test]
fn disputes_and_demands_that_nobody_ends_do_not_hold_up_the_share() {
    let world = World::new();
    let task = world.submit(&support::workload(23, 5));
    loop {
        let action = world.cheat(Level::Fold, 3).react(&mut Unobserved).unwrap();
        if let Action::Committed { .. } = action.expect("there is work") {
            break;
        }
    }
    // The cheat's friend opens what nobody goes on with, and the cheat is never seen again.
    let contracts = world.contracts();
    let record = contracts.task(task).unwrap().unwrap();
    let content = contracts.submission(task, &record).unwrap().task;
    let attempt = contracts.attempt(task, 1).unwrap().unwrap();
    let trace = attempt.commitment.trace;
    let friend = Signer::dev("Ferdie");
    let open = dispute::Open {
        task,
        attempt: 1,
        content: content.clone(),
        trace,
    };
    contracts
        .dispute(&friend, Pace::hours().terms.bond, &open)
        .unwrap();
    let demand = dispute::Demand {
        task,
        attempt: 1,
        content,
        trace,
        segment: 0,
        slot: 0,
        chunk: 0,
    };
    contracts.dispute(&friend, UNIT, &demand).unwrap();
    drop(contracts);

    until_quiet(|| world.challenger(Audit::Everything).react(&mut Unobserved));
    world.chain().advance(6 * HOUR).unwrap();
    let done = until_quiet(|| world.challenger(Audit::Everything).react(&mut Unobserved));
    let settled = done
        .iter()
        .filter(|a| matches!(a, Action::Settled { timeout: true, .. }));
    assert_eq!(settled.count(), 2, "its own and the friend's: {done:?}");
    assert!(done
        .iter()
        .any(|a| matches!(a, Action::ExpiredDemand { .. })));
    assert_eq!(withdrawn(&done, Money::Bond), Pace::hours().terms.bond);
    assert_eq!(
        withdrawn(&done, Money::Share),
        Pace::hours().terms.stake / 2 / 2,
        "half of the winners' half"
    );
}

#[test]
fn a_sample_of_all_segments_catches_from_published_checkpoints() {
    let (_, challenger, _) = catch(Level::Fold, 4, Audit::Sample(1.0));
    assert!(withdrawn(&challenger, Money::Share) > 0);
}

#[test]
fn a_solver_that_withholds_its_checkpoints_must_answer_and_is_still_checked() {
    let world = World::new();
    world.submit(&support::workload(23, 5));
    loop {
        let action = world.solver().react(&mut Unobserved).unwrap();
        if let Action::Committed { .. } = action.expect("there is work") {
            break;
        }
    }
    // All but the checkpoint trace leaves the place that the solver announced.
    let trace = world
        .contracts()
        .attempt(0, 1)
        .unwrap()
        .unwrap()
        .commitment
        .trace;
    let name = hex::encode(trace);
    let (published, hidden) = (world.home("Charlie").join("store"), world.home("hidden"));
    std::fs::rename(&published, &hidden).unwrap();
    let shard = Path::new("blobs").join(&name[..2]);
    std::fs::create_dir_all(published.join(&shard)).unwrap();
    let file = shard.join(&name[2..]);
    std::fs::copy(hidden.join(&file), published.join(&file)).unwrap();

    let asked = until_quiet(|| world.challenger(Audit::Sample(1.0)).react(&mut Unobserved));
    let demands = asked
        .iter()
        .filter(|a| matches!(a, Action::Demanded { .. }))
        .count();
    assert_eq!(demands, 1, "{asked:?}");
    let clean = asked.iter().any(|a| {
        matches!(
            a,
            Action::Audited {
                verdict: Verdict::Clean,
                ..
            }
        )
    });
    assert!(clean, "everything was run instead: {asked:?}");

    std::fs::remove_dir_all(&published).unwrap();
    std::fs::rename(&hidden, &published).unwrap();
    let answered = until_quiet(|| world.solver().react(&mut Unobserved));
    assert!(
        answered
            .iter()
            .any(|a| matches!(a, Action::Answered { .. })),
        "{answered:?}"
    );
}

#[test]
fn a_demand_is_answered_and_paid() {
    let world = World::new();
    let workload = support::workload(23, 5);
    let task = world.submit(&workload);
    loop {
        let action = world.solver().react(&mut Unobserved).unwrap();
        if let Action::Committed { .. } = action.expect("there is work") {
            break;
        }
    }
    let contracts = world.contracts();
    let record = contracts.task(task).unwrap().unwrap();
    let attempt = contracts.attempt(task, 1).unwrap().unwrap();
    let content = contracts.submission(task, &record).unwrap().task;
    for (segment, slot, chunk) in [(0, 0, 0), (4, 1, 0), (2, 0, 1), (3, 1, 7)] {
        let message = dispute::Demand {
            task,
            attempt: 1,
            content: content.clone(),
            trace: attempt.commitment.trace,
            segment,
            slot,
            chunk,
        };
        contracts
            .dispute(&Signer::dev("Eve"), UNIT, &message)
            .unwrap();
        let done = until_quiet(|| world.solver().react(&mut Unobserved));
        assert!(
            done.iter().any(|a| matches!(a, Action::Answered { .. })),
            "{done:?}"
        );
        assert!(withdrawn(&done, Money::Fee) > 0, "{done:?}");
    }
}

#[test]
fn a_task_that_does_not_suit_is_passed_over_with_its_reason() {
    let world = World::new();
    let task = world.submit(&support::workload(23, 5));
    let why = |appetite: Appetite| {
        let mut solver = Solver::new(world.worker("Charlie"), appetite);
        assert!(solver.react(&mut Unobserved).unwrap().is_none());
        solver.skipped()[&task].clone()
    };
    // A dataset that is not what the task says.
    let store = Store::open(world.home("Bob").join("store").to_str().unwrap()).unwrap();
    let root = support::workload(23, 5).spec.datasets[0].root;
    let name = hex::encode(root);
    let path = Path::new(store.location())
        .join("blobs")
        .join(&name[..2])
        .join(&name[2..]);
    std::fs::write(path, b"something else").unwrap();
    assert!(matches!(why(appetite()), Skip::Files(_)));
    support::workload(23, 5).publish(&store).unwrap();

    let base = appetite();
    assert!(matches!(
        why(Appetite {
            min_price: 50 * UNIT,
            ..base
        }),
        Skip::Price { .. }
    ));
    assert!(matches!(
        why(Appetite {
            max_stake: UNIT,
            ..base
        }),
        Skip::TooMuchAtRisk(_)
    ));
    assert!(matches!(
        why(Appetite { top_up: 0, ..base }),
        Skip::Stake { .. }
    ));
    assert!(matches!(
        why(Appetite { memory: 10, ..base }),
        Skip::Memory(_)
    ));
    assert!(matches!(
        why(Appetite { speed: 1, ..base }),
        Skip::Time { .. }
    ));
    let tera = Appetite {
        price_per_tera: 1_000_000_000 * UNIT,
        ..base
    };
    assert!(matches!(why(tera), Skip::Price { .. }));
}

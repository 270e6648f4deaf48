//! Demands for withheld checkpoints: their course, their price, and attacks on their messages.

use crate::{honest, wrong};
use lockstep_agent::chain::Error as ChainError;
use lockstep_agent::keys::Signer;
use lockstep_interface::dispute::{
    Answer, ClaimDemandShare, Demand, DemandStatus, Error, ExpireDemand, GiveAnswer, PruneDemand,
    Share, WithdrawFee,
};
use lockstep_interface::escrow::{self, AttemptStatus, TaskStatus};
use lockstep_interface::{DemandId, Message};
use lockstep_protocol::rehearsal::sample::WIDE;
use lockstep_protocol::rehearsal::{honest_challenger, honest_defender};
use lockstep_tests::life::{answer, demand, TERMS};
use lockstep_tests::{Job, World};

/// The last chunk of the wide slot in the sample task.
const LAST: u64 = WIDE * 4 / 1024;

struct Scene {
    world: World,
    job: Job,
    attempt: u32,
    solver: Signer,
    demander: Signer,
}

fn scene() -> Scene {
    let world = World::new();
    let (solver, demander) = (world.person("solver"), world.person("demander"));
    let (job, attempt) = world.committed(honest(), TERMS);
    Scene {
        world,
        job,
        attempt,
        solver,
        demander,
    }
}

impl Scene {
    fn ask(&self, place: (u32, u32, u64)) -> DemandId {
        self.world
            .demand(&self.job, self.attempt, &self.demander, honest(), place)
    }

    fn answer(&self, demand: DemandId, answer: Answer) -> Result<(), Error> {
        let message = GiveAnswer { demand, answer };
        self.world.tell(&self.solver, 0, &message).map(drop)
    }
}

#[test]
fn an_honest_solver_answers_every_demand_and_earns_the_fee() {
    let scene = scene();
    let Scene { world, .. } = &scene;
    let before = world.free(&scene.solver.account());
    let segments = honest().spec.segments();
    let mut demands = vec![];
    for segment in [0, 1, 31, 32, segments - 1] {
        for chunk in [0, 1, LAST] {
            demands.push((segment, 0, chunk));
        }
        demands.push((segment, 1, 0));
    }
    for place in demands.clone() {
        let id = scene.ask(place);
        let (segment, slot, chunk) = place;
        scene
            .answer(id, answer(honest(), segment, slot, chunk))
            .unwrap_or_else(|error| panic!("{place:?}: {error}"));
        world
            .tell(&scene.solver, 0, &WithdrawFee { demand: id })
            .unwrap();
    }
    let earned = TERMS.demand_fee * demands.len() as u128;
    assert_eq!(world.free(&scene.solver.account()), before + earned);
    world.finalize(&scene.job, scene.attempt);
    world.clear(&scene.job);
    world.check_empty();
}

#[test]
fn a_chunk_beyond_the_tensor_is_answered_by_the_tensors_length() {
    let scene = scene();
    for (slot, chunk) in [(0, LAST + 1), (1, 1), (0, u64::MAX), (1, 1 << 54)] {
        let id = scene.ask((3, slot, chunk));
        let beyond = answer(honest(), 3, slot, chunk.min(1 << 40));
        assert!(beyond.chunk.is_none());
        let mut posted = beyond.clone();
        posted.chunk = answer(honest(), 3, slot, 0).chunk;
        assert_eq!(scene.answer(id, posted), Err(Error::WrongOpening));
        scene.answer(id, beyond).unwrap();
    }
    scene.world.check_books();
}

#[test]
fn a_demand_names_a_place_of_the_commitment_and_pays_the_fee() {
    let scene = scene();
    let Scene {
        world, demander, ..
    } = &scene;
    let fee = TERMS.demand_fee;
    let good = demand(&scene.job, scene.attempt, honest(), (0, 0, 0));
    for value in [0, 1, fee - 1, fee + 1] {
        let refused = world.tell(demander, value, &good);
        assert_eq!(refused, Err(Error::Value));
    }
    let refuse = |change: &dyn Fn(&mut Demand), error| {
        let mut message = good.clone();
        change(&mut message);
        assert_eq!(world.tell(demander, fee, &message), Err(error));
    };
    let segments = honest().spec.segments();
    refuse(&|m| m.segment = segments, Error::NoPlace);
    refuse(&|m| m.segment = u32::MAX, Error::NoPlace);
    refuse(&|m| m.slot = 2, Error::NoPlace);
    refuse(&|m| m.slot = u32::MAX, Error::NoPlace);
    let escrow = |error| Error::Escrow(error);
    refuse(&|m| m.task = 3, escrow(escrow::Error::NoTask));
    refuse(&|m| m.attempt = 2, escrow(escrow::Error::NoAttempt));
    refuse(
        &|m| m.trace = [0; 32],
        escrow(escrow::Error::OtherCommitment),
    );
    refuse(
        &|m| m.content.spec.program = [1; 32],
        escrow(escrow::Error::OtherTask),
    );
    assert_eq!(
        world.attempt_record(&scene.job, scene.attempt).challenges,
        0
    );
    assert!(world.contracts().demands(0).unwrap().is_empty());
    world.check_books();
}

#[test]
fn a_demand_after_the_window_is_refused() {
    let scene = scene();
    let Scene { world, .. } = &scene;
    let end = world.attempt_record(&scene.job, scene.attempt).window_end;
    world.wait_until(end);
    let id = scene.ask((0, 0, 0));
    let message = demand(&scene.job, scene.attempt, honest(), (0, 0, 0));
    let late = world.tell(&scene.demander, TERMS.demand_fee, &message);
    assert_eq!(late, Err(Error::Escrow(escrow::Error::TooLate)));
    // One that was made in time can still be answered, and holds the settlement up until then.
    let finalize = escrow::Finalize {
        task: scene.job.id,
        attempt: scene.attempt,
    };
    let refused = world.tell(&scene.solver, 0, &finalize);
    assert_eq!(refused, Err(escrow::Error::Challenged));
    scene.answer(id, answer(honest(), 0, 0, 0)).unwrap();
    world.finalize(&scene.job, scene.attempt);
    world.clear(&scene.job);
    world.check_empty();
}

#[test]
fn only_the_solver_answers_and_only_with_the_demanded_chunk() {
    let scene = scene();
    let Scene { world, .. } = &scene;
    let id = scene.ask((20, 0, 1));
    let right = answer(honest(), 20, 0, 1);
    let message = GiveAnswer {
        demand: id,
        answer: right.clone(),
    };
    for thief in [&scene.demander, &world.person("mallory")] {
        assert_eq!(world.tell(thief, 0, &message), Err(Error::NotParty));
    }
    let missing = GiveAnswer {
        demand: 7,
        answer: right.clone(),
    };
    let refused = world.tell(&scene.solver, 0, &missing);
    assert_eq!(refused, Err(Error::NoDemand));

    for (segment, slot, chunk) in [(20, 0, 0), (20, 0, 2), (19, 0, 1), (21, 0, 1)] {
        let other = answer(honest(), segment, slot, chunk);
        assert_eq!(scene.answer(id, other), Err(Error::WrongOpening));
    }
    let other = answer(honest(), 20, 1, 0);
    assert_eq!(scene.answer(id, other), Err(Error::WrongNode));
    let other = answer(wrong(), 20, 0, 1);
    assert_eq!(scene.answer(id, other), Err(Error::WrongOpening));
    let refuse = |change: &dyn Fn(&mut Answer), error| {
        let mut answer = right.clone();
        change(&mut answer);
        assert_eq!(scene.answer(id, answer), Err(error));
    };
    refuse(&|a| a.chunk = None, Error::WrongOpening);
    refuse(&|a| a.node.push(0), Error::WrongNode);
    refuse(&|a| a.node.clear(), Error::WrongNode);
    refuse(&|a| a.program.chunk[0] ^= 1, Error::WrongNode);
    refuse(
        &|a| a.chunk.as_mut().unwrap().data.chunk[0] ^= 1,
        Error::WrongOpening,
    );
    refuse(
        &|a| a.chunk.as_mut().unwrap().data.chunk.push(0),
        Error::WrongOpening,
    );
    refuse(
        &|a| a.chunk.as_mut().unwrap().data.path.clear(),
        Error::WrongOpening,
    );
    refuse(
        &|a| a.chunk.as_mut().unwrap().tensor.chunk[0] ^= 1,
        Error::WrongOpening,
    );
    refuse(
        &|a| a.chunk.as_mut().unwrap().checkpoint.path[0][0] ^= 1,
        Error::WrongOpening,
    );
    let before = world.demand_record(id);
    assert_eq!(before.status, DemandStatus::Waiting);
    scene.answer(id, right.clone()).unwrap();
    assert_eq!(scene.answer(id, right), Err(Error::Over));
    let early = world.tell(&scene.solver, 0, &ExpireDemand { demand: id });
    assert_eq!(early, Err(Error::Over));
    world.check_books();
}

#[test]
fn an_answer_too_large_for_a_call_changes_nothing() {
    let scene = scene();
    let Scene { world, .. } = &scene;
    let id = scene.ask((20, 0, 1));
    let mut large = answer(honest(), 20, 0, 1);
    large.node = vec![0; 50_000];
    assert_eq!(scene.answer(id, large.clone()), Err(Error::WrongNode));
    large.node = vec![0; 90_000];
    let message = GiveAnswer {
        demand: id,
        answer: large,
    };
    let sent = world.call(&scene.solver, world.at().dispute, 0, message.call());
    assert!(matches!(sent, Err(ChainError::Failed(_))), "{sent:?}");
    world.check_books();
}

#[test]
fn a_demand_that_is_not_answered_slashes_the_solver_and_returns_the_fee() {
    let scene = scene();
    let Scene { world, .. } = &scene;
    let before = world.wealth(&scene.demander);
    let id = scene.ask((34, 1, 0));
    let missing = ExpireDemand { demand: 9 };
    let refused = world.tell(&scene.demander, 0, &missing);
    assert_eq!(refused, Err(Error::NoDemand));
    world.expire_demand(id);
    let late = scene.answer(id, answer(honest(), 34, 1, 0));
    assert_eq!(late, Err(Error::Over));
    let attempt = world.attempt_record(&scene.job, scene.attempt);
    assert_eq!(attempt.status, AttemptStatus::Wrong);
    assert_eq!(world.task(&scene.job).status, TaskStatus::Open);
    let cancel = escrow::Cancel { task: scene.job.id };
    world.tell(&world.person("submitter"), 0, &cancel).unwrap();
    world.clear(&scene.job);
    let pool = TERMS.stake - TERMS.stake * 20 / 100 - TERMS.stake * 30 / 100;
    let after = world.wealth(&scene.demander);
    assert_eq!(after - before, pool as i128);
    world.check_empty();
}

#[test]
fn an_answer_after_the_clock_is_refused_and_the_chain_must_not_have_stood_still() {
    let scene = scene();
    let Scene { world, .. } = &scene;
    let id = scene.ask((0, 0, 0));
    world.stand_still(2 * TERMS.clock);
    let expire = ExpireDemand { demand: id };
    let early = world.tell(&scene.demander, 0, &expire);
    assert_eq!(early, Err(Error::Running), "time without blocks");
    scene.answer(id, answer(honest(), 0, 0, 0)).unwrap();
    let id = scene.ask((0, 0, 0));
    world.wait(TERMS.clock + 1);
    let late = scene.answer(id, answer(honest(), 0, 0, 0));
    assert_eq!(late, Err(Error::Expired));
    world
        .tell(&scene.demander, 0, &ExpireDemand { demand: id })
        .unwrap();
    world.check_books();
}

#[test]
fn a_demand_that_fails_after_a_won_dispute_earns_no_share_of_it() {
    let world = World::new();
    let (demander, challenger) = (world.person("demander"), world.person("challenger"));
    let (job, attempt) = world.committed(wrong(), TERMS);
    let demand = world.demand(&job, attempt, &demander, wrong(), (1, 0, 0));
    let dispute = world.open(&job, attempt, &challenger, wrong());
    world.play(
        dispute,
        honest_defender(wrong()),
        honest_challenger(honest(), None),
    );
    world.expire_demand(demand);
    assert_eq!(world.demand_record(demand).share, Share::None);
    let claim = ClaimDemandShare { demand };
    let refused = world.tell(&demander, 0, &claim);
    assert_eq!(refused, Err(Error::NothingOwed));
    let before = world.free(&demander.account());
    world.tell(&demander, 0, &WithdrawFee { demand }).unwrap();
    assert_eq!(world.free(&demander.account()), before + TERMS.demand_fee);
    let cancel = escrow::Cancel { task: job.id };
    world.tell(&world.person("submitter"), 0, &cancel).unwrap();
    world.tell(&demander, 0, &PruneDemand { demand }).unwrap();
    world.clear(&job);
    world.check_empty();
}

#[test]
fn a_commitment_that_is_proven_withheld_takes_no_more_challenges() {
    let world = World::new();
    let (demander, challenger) = (world.person("demander"), world.person("challenger"));
    let (job, attempt) = world.committed(wrong(), TERMS);
    let demand = world.demand(&job, attempt, &demander, wrong(), (1, 0, 0));
    world.expire_demand(demand);
    let open = lockstep_tests::life::open(&job, attempt, wrong());
    let late = world.tell(&challenger, TERMS.bond, &open);
    let over = Error::Escrow(escrow::Error::Status);
    assert_eq!(late, Err(over));
    world.check_books();
}

#[test]
fn fees_and_shares_are_paid_once_to_whom_they_belong() {
    let scene = scene();
    let Scene {
        world,
        solver,
        demander,
        ..
    } = &scene;
    let mallory = world.person("mallory");
    let answered = scene.ask((0, 0, 0));
    let failed = scene.ask((0, 0, 1));
    for demand in [answered, failed] {
        for who in [solver, demander, &mallory] {
            let early = world.tell(who, 0, &WithdrawFee { demand });
            assert_eq!(early, Err(Error::NothingOwed));
            let early = world.tell(who, 0, &ClaimDemandShare { demand });
            assert!(matches!(early, Err(Error::NothingOwed | Error::NotParty)));
            let early = world.tell(who, 0, &PruneDemand { demand });
            assert!(matches!(early, Err(Error::NotOver | Error::NotParty)));
        }
    }
    scene.answer(answered, answer(honest(), 0, 0, 0)).unwrap();
    world.expire_demand(failed);
    let fee = |demand| WithdrawFee { demand };
    assert_eq!(
        world.tell(demander, 0, &fee(answered)),
        Err(Error::NothingOwed)
    );
    assert_eq!(world.tell(solver, 0, &fee(failed)), Err(Error::NothingOwed));
    let refused = world.tell(demander, 0, &PruneDemand { demand: answered });
    assert_eq!(refused, Err(Error::Owed), "the solver's fee");
    assert_eq!(world.ask(solver, 0, &fee(answered)), Ok(TERMS.demand_fee));
    assert_eq!(world.ask(demander, 0, &fee(failed)), Ok(TERMS.demand_fee));
    let refused = world.tell(demander, 0, &PruneDemand { demand: failed });
    assert_eq!(refused, Err(Error::Owed), "the share");
    let share = ClaimDemandShare { demand: failed };
    for thief in [solver, &mallory] {
        assert_eq!(world.tell(thief, 0, &share), Err(Error::NotParty));
    }
    world.tell(demander, 0, &share).unwrap();
    assert_eq!(world.tell(demander, 0, &share), Err(Error::NothingOwed));
    for demand in [answered, failed] {
        for thief in [solver, &mallory] {
            let refused = world.tell(thief, 0, &PruneDemand { demand });
            assert_eq!(refused, Err(Error::NotParty));
        }
        world.tell(demander, 0, &PruneDemand { demand }).unwrap();
        let gone = world.tell(demander, 0, &PruneDemand { demand });
        assert_eq!(gone, Err(Error::NoDemand));
        assert_eq!(world.tell(demander, 0, &fee(demand)), Err(Error::NoDemand));
    }
    let account = demander.account();
    assert!(world.deposit(&account) <= world.kept(&account));
    world.check_books();
}

#[test]
fn a_fee_that_cannot_be_paid_keeps_the_credit() {
    let scene = scene();
    let Scene { world, solver, .. } = &scene;
    let demand = scene.ask((0, 0, 0));
    scene.answer(demand, answer(honest(), 0, 0, 0)).unwrap();
    world.confiscate(&world.at().dispute, TERMS.demand_fee);
    let message = WithdrawFee { demand };
    assert_eq!(world.tell(solver, 0, &message), Err(Error::Transfer));
    world.restore(&world.at().dispute, TERMS.demand_fee);
    assert_eq!(world.ask(solver, 0, &message), Ok(TERMS.demand_fee));
    world.check_books();
}

#[test]
fn money_sent_with_a_message_that_takes_none_is_not_lost() {
    let scene = scene();
    let Scene { world, .. } = &scene;
    let demand = scene.ask((0, 0, 0));
    let right = answer(honest(), 0, 0, 0);
    let before = world.free(&scene.solver.account());
    let inputs = [
        GiveAnswer {
            demand,
            answer: right,
        }
        .call(),
        ExpireDemand { demand }.call(),
        WithdrawFee { demand }.call(),
        ClaimDemandShare { demand }.call(),
        PruneDemand { demand }.call(),
        [&Demand::SELECTOR[..], &[1; 20]].concat(),
    ];
    for input in inputs {
        let sent = world.call(&scene.solver, world.at().dispute, 5, input.clone());
        assert!(sent.is_err(), "{input:?}");
    }
    assert_eq!(world.free(&scene.solver.account()), before);
    world.check_books();
}

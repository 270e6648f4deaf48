//! Who pays for storage, and who has it back: every account, over whole lives of tasks.

use crate::{honest, wrong};
use lockstep_agent::keys::{Account, Signer};
use lockstep_interface::dispute::{
    self, ClaimDemandShare, ClaimShare, Demand, GiveAnswer, Prune, PruneDemand, WithdrawFee,
};
use lockstep_interface::escrow::{self, Cancel, Expire, OfferOwnership, TakeOwnership};
use lockstep_interface::stake;
use lockstep_protocol::game::Side;
use lockstep_protocol::rehearsal::{honest_challenger, honest_defender};
use lockstep_tests::books::ROUNDING;
use lockstep_tests::life::{answer, commit, TERMS};
use lockstep_tests::World;

/// What each account was charged by `act`, less what it was refunded.
fn charges(world: &World, act: impl FnOnce()) -> Vec<(Account, i128)> {
    let deposits = |world: &World| -> Vec<(Account, i128)> {
        let people = world.people().into_iter();
        people.map(|who| (who, world.deposit(&who))).collect()
    };
    let before = deposits(world);
    act();
    let changes = deposits(world).into_iter().map(|(who, now)| {
        let was = before.iter().find(|(other, _)| *other == who);
        (who, now - was.map_or(0, |(_, amount)| *amount))
    });
    changes.filter(|(_, change)| *change != 0).collect()
}

/// Only `who` is charged by `act`.
fn charged(world: &World, who: &Signer, act: impl FnOnce()) -> i128 {
    let changes = charges(world, act);
    let [(account, amount)] = changes[..] else {
        panic!("one account is charged: {changes:?}")
    };
    assert_eq!(account, who.account());
    assert!(amount > 0, "{amount}");
    amount
}

/// Nobody is charged or refunded anything by `act`.
fn free_of_charge(world: &World, act: impl FnOnce()) {
    assert_eq!(charges(world, act), vec![]);
}

/// Only `who` is refunded by `act`: `amount`, of which the pallet may keep what it rounds.
fn refunded(world: &World, who: &Signer, amount: i128, act: impl FnOnce()) {
    let changes = charges(world, act);
    let [(account, change)] = changes[..] else {
        panic!("one account is refunded: {changes:?}")
    };
    assert_eq!(account, who.account());
    assert!(
        (amount - ROUNDING..=amount).contains(&-change),
        "{change} of {amount}"
    );
}

#[test]
fn each_record_is_paid_for_by_who_makes_it_and_refunded_to_nobody_else() {
    let world = World::new();
    let (submitter, solver) = (world.person("submitter"), world.person("solver"));
    let (challenger, demander) = (world.person("challenger"), world.person("demander"));
    let other = world.person("other");
    world.person("bystander");

    let mut job = None;
    let task = charged(&world, &submitter, || {
        job = Some(world.submit(&honest().spec, TERMS));
    });
    let job = job.unwrap();
    let staker = charged(&world, &solver, || world.stake(&solver, TERMS.stake));
    free_of_charge(&world, || world.stake(&solver, 5));
    let mut attempt = 0;
    let first = charged(&world, &solver, || attempt = world.accept(&job, &solver));
    free_of_charge(&world, || {
        world
            .tell(&solver, 0, &commit(&job, attempt, wrong()))
            .unwrap();
    });
    let mut disputes = vec![];
    let each = charged(&world, &challenger, || {
        disputes.push(world.open(&job, attempt, &challenger, wrong()));
    });
    let again = charged(&world, &challenger, || {
        disputes.push(world.open(&job, attempt, &challenger, wrong()));
    });
    assert_eq!(each, again, "a dispute's record has a fixed size");
    let mut demand = 0;
    let asked = charged(&world, &demander, || {
        demand = world.demand(&job, attempt, &demander, wrong(), (0, 0, 0));
    });
    free_of_charge(&world, || {
        let answer = answer(wrong(), 0, 0, 0);
        world
            .tell(&solver, 0, &GiveAnswer { demand, answer })
            .unwrap();
    });
    free_of_charge(&world, || {
        let outcome = world.play(
            disputes[0],
            honest_defender(wrong()),
            honest_challenger(honest(), None),
        );
        assert_eq!(outcome.winner, Side::Challenger);
    });
    free_of_charge(&world, || {
        world.play(disputes[1], honest_defender(wrong()), |_, _| None);
    });

    // A second attempt, which misses its deadline.
    let mut second = 0;
    let second_staker = charged(&world, &other, || world.stake(&other, TERMS.stake));
    assert_eq!(second_staker, staker);
    let accepted = charged(&world, &other, || second = world.accept(&job, &other));
    assert_eq!(accepted, first);
    free_of_charge(&world, || {
        world.wait(TERMS.work + 1);
        let expire = Expire {
            task: job.id,
            attempt: second,
        };
        world.tell(&challenger, 0, &expire).unwrap();
    });

    // Payments move no deposit.
    free_of_charge(&world, || {
        let (a, b) = (disputes[0], disputes[1]);
        world
            .tell(&challenger, 0, &dispute::Withdraw { dispute: a })
            .unwrap();
        world
            .tell(&solver, 0, &dispute::Withdraw { dispute: b })
            .unwrap();
        world
            .tell(&challenger, 0, &ClaimShare { dispute: a })
            .unwrap();
        world.tell(&solver, 0, &WithdrawFee { demand }).unwrap();
        let task = job.id;
        world.tell(&submitter, 0, &Cancel { task }).unwrap();
        world
            .tell(&submitter, 0, &escrow::WithdrawRefund { task })
            .unwrap();
    });
    // The burn account comes into being, which is no storage of a contract's.
    free_of_charge(&world, || world.flush());

    refunded(&world, &challenger, each, || {
        let dispute = disputes[0];
        world.tell(&challenger, 0, &Prune { dispute }).unwrap();
    });
    refunded(&world, &challenger, each, || {
        let dispute = disputes[1];
        world.tell(&challenger, 0, &Prune { dispute }).unwrap();
    });
    refunded(&world, &demander, asked, || {
        world.tell(&demander, 0, &PruneDemand { demand }).unwrap();
    });
    let prune = |attempt| escrow::PruneAttempt {
        task: job.id,
        attempt,
    };
    refunded(&world, &solver, first, || {
        world.tell(&solver, 0, &prune(attempt)).unwrap();
    });
    refunded(&world, &other, accepted, || {
        world.tell(&other, 0, &prune(second)).unwrap();
    });
    refunded(&world, &submitter, task, || {
        let prune = escrow::PruneTask { task: job.id };
        world.tell(&submitter, 0, &prune).unwrap();
    });
    for (who, paid) in [(&solver, staker), (&other, second_staker)] {
        let account = who.account();
        let amount = world.contracts().staker(account).unwrap().free;
        free_of_charge(&world, || {
            world
                .tell(who, 0, &stake::RequestUnbond { amount })
                .unwrap();
        });
        world.wait(lockstep_tests::world::UNBONDING + 1);
        refunded(&world, who, paid, || {
            world.tell(who, 0, &stake::Withdraw {}).unwrap();
        });
    }
    for person in world.people() {
        let left = world.deposit(&person);
        assert!(left <= world.kept(&person), "{:?}", world.signer(&person));
    }
    world.check_empty();
}

#[test]
fn a_failed_demand_and_its_share_move_nobodys_deposit() {
    let world = World::new();
    let demander = world.person("demander");
    world.person("bystander");
    let (job, attempt) = world.committed(honest(), TERMS);
    let mut demand = 0;
    let asked = charged(&world, &demander, || {
        demand = world.demand(&job, attempt, &demander, honest(), (0, 0, 0));
    });
    free_of_charge(&world, || world.expire_demand(demand));
    free_of_charge(&world, || {
        world.tell(&demander, 0, &WithdrawFee { demand }).unwrap();
        world
            .tell(&demander, 0, &ClaimDemandShare { demand })
            .unwrap();
    });
    refunded(&world, &demander, asked, || {
        world.tell(&demander, 0, &PruneDemand { demand }).unwrap();
    });
    world.check_books();
}

#[test]
fn changing_owners_moves_nobodys_deposit() {
    let world = World::new();
    let (owner, heir) = (world.deployer(), world.person("heir"));
    let offer = OfferOwnership {
        heir: Some(heir.account()),
    };
    free_of_charge(&world, || {
        world.tell(&owner, 0, &offer).unwrap();
        world.tell(&heir, 0, &TakeOwnership {}).unwrap();
    });
    world.check_empty();
}

#[test]
fn the_caller_may_bound_the_deposit_it_is_charged() {
    use lockstep_agent::chain::{Call, Chain, Limits};
    use lockstep_interface::Message;
    let world = World::new();
    let challenger = world.person("challenger");
    let (job, attempt) = world.committed(honest(), TERMS);
    let message: Demand = lockstep_tests::life::demand(&job, attempt, honest(), (0, 0, 0));
    let call = Call {
        contract: world.at().dispute,
        value: TERMS.demand_fee,
        input: message.call(),
    };
    let account = challenger.account();
    let estimate = world.chain().estimate(&account, &call).unwrap();
    let limits = Limits {
        weight: estimate.weight,
        deposit: estimate.deposit - 1,
    };
    assert!(world.chain().submit(&challenger, &call, &limits).is_err());
    world.check_books();
    world.tell(&challenger, TERMS.demand_fee, &message).unwrap();
    assert_eq!(world.deposit(&account) as u128, estimate.deposit);
}

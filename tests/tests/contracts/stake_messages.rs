//! Attacks on every message of the stake contract.

use crate::honest;
use lockstep_agent::chain::{Balance, Error as ChainError};
use lockstep_agent::keys::Account;
use lockstep_interface::stake::{
    Appoint, CancelUnbond, Config, Deposit, Error, Lock, RequestUnbond, Slash, Staker, Unlock,
    Withdraw,
};
use lockstep_interface::Message;
use lockstep_tests::life::TERMS;
use lockstep_tests::world::{World, UNBONDING};
use scale::Encode;

const STAKE: Balance = 1_000;

fn staker(world: &World, owner: Account) -> Staker {
    world.contracts().staker(owner).unwrap()
}

/// A world with somebody who has staked.
fn staked() -> (World, lockstep_agent::keys::Signer) {
    let world = World::new();
    let solver = world.person("solver");
    world.stake(&solver, STAKE);
    (world, solver)
}

#[test]
fn nobody_but_the_deployer_appoints_escrow_and_only_once() {
    let world = World::unwired();
    let mallory = world.person("mallory");
    let appoint = Appoint {
        escrow: mallory.account(),
    };
    assert_eq!(world.tell(&mallory, 0, &appoint), Err(Error::NotDeployer));
    let right = Appoint {
        escrow: world.at().escrow,
    };
    world.tell(&world.deployer(), 0, &right).unwrap();
    let again = world.tell(&world.deployer(), 0, &appoint);
    assert_eq!(again, Err(Error::AlreadyAppointed));
    let Config { escrow, .. } = world.contracts().stake_config().unwrap();
    assert_eq!(escrow, Some(world.at().escrow));
}

#[test]
fn stake_is_not_taken_in_before_escrow_is_appointed() {
    let world = World::unwired();
    let solver = world.person("solver");
    let refused = world.tell(&solver, STAKE, &Deposit {});
    assert_eq!(refused, Err(Error::NotAppointed));
    world.check_empty();
}

#[test]
fn a_deposit_of_nothing_is_refused_and_one_of_dust_counts() {
    let world = World::new();
    let solver = world.person("solver");
    assert_eq!(world.tell(&solver, 0, &Deposit {}), Err(Error::Zero));
    world.stake(&solver, 1);
    assert_eq!(staker(&world, solver.account()).free, 1);
    world.check_books();
}

#[test]
fn a_deposit_of_more_than_one_has_changes_nothing() {
    let world = World::new();
    let solver = world.person("solver");
    let all = world.free(&solver.account());
    for amount in [all + 1, Balance::MAX] {
        let sent = world.call(&solver, world.at().stake, amount, Deposit {}.call());
        assert!(matches!(sent, Err(ChainError::Failed(_))), "{sent:?}");
    }
    world.check_empty();
}

#[test]
fn money_sent_with_a_message_that_takes_none_is_not_lost() {
    let (world, solver) = staked();
    let owner = solver.account();
    let before = world.free(&owner);
    let inputs = [
        Appoint { escrow: owner }.call(),
        RequestUnbond { amount: 1 }.call(),
        CancelUnbond {}.call(),
        Withdraw {}.call(),
        Lock { owner, amount: 1 }.call(),
        Unlock { owner, amount: 1 }.call(),
        Slash { owner, amount: 1 }.call(),
    ];
    for input in inputs {
        let sent = world.call(&solver, world.at().stake, 5, input.clone());
        assert!(sent.is_err(), "{input:?}");
    }
    assert_eq!(world.free(&owner), before);
    world.check_books();
}

#[test]
fn no_more_is_unbonded_than_is_free() {
    let (world, solver) = staked();
    for amount in [STAKE + 1, Balance::MAX] {
        let refused = world.tell(&solver, 0, &RequestUnbond { amount });
        assert_eq!(refused, Err(Error::NotFree));
    }
    let refused = world.tell(&solver, 0, &RequestUnbond { amount: 0 });
    assert_eq!(refused, Err(Error::Zero));
    let stranger = world.person("stranger");
    let refused = world.tell(&stranger, 0, &RequestUnbond { amount: 1 });
    assert_eq!(refused, Err(Error::NoStake));
    world.check_books();
}

#[test]
fn unbonding_takes_the_whole_delay_and_pays_once() {
    let (world, solver) = staked();
    let owner = solver.account();
    let amount = STAKE / 3;
    world.tell(&solver, 0, &RequestUnbond { amount }).unwrap();
    let release = staker(&world, owner).release;
    assert_eq!(world.tell(&solver, 0, &Withdraw {}), Err(Error::TooEarly));
    world.wait_until(release - 1);
    assert_eq!(world.tell(&solver, 0, &Withdraw {}), Err(Error::TooEarly));
    world.wait_until(release);
    let before = world.free(&owner);
    world.tell(&solver, 0, &Withdraw {}).unwrap();
    assert_eq!(world.free(&owner), before + amount);
    let again = world.tell(&solver, 0, &Withdraw {});
    assert_eq!(again, Err(Error::NotUnbonding));
    assert_eq!(staker(&world, owner).free, STAKE - amount);
    world.check_books();
}

#[test]
fn a_later_request_makes_an_earlier_one_wait_again() {
    let (world, solver) = staked();
    world
        .tell(&solver, 0, &RequestUnbond { amount: STAKE - 1 })
        .unwrap();
    world.wait(UNBONDING);
    world
        .tell(&solver, 0, &RequestUnbond { amount: 1 })
        .unwrap();
    assert_eq!(world.tell(&solver, 0, &Withdraw {}), Err(Error::TooEarly));
    world.wait(UNBONDING);
    world.tell(&solver, 0, &Withdraw {}).unwrap();
    world.check_empty();
}

#[test]
fn a_cancelled_unbonding_pays_nothing() {
    let (world, solver) = staked();
    let refused = world.tell(&solver, 0, &CancelUnbond {});
    assert_eq!(refused, Err(Error::NotUnbonding));
    world
        .tell(&solver, 0, &RequestUnbond { amount: STAKE })
        .unwrap();
    world.tell(&solver, 0, &CancelUnbond {}).unwrap();
    world.wait(UNBONDING + 1);
    let refused = world.tell(&solver, 0, &Withdraw {});
    assert_eq!(refused, Err(Error::NotUnbonding));
    assert_eq!(staker(&world, solver.account()).free, STAKE);
    let stranger = world.person("stranger");
    assert_eq!(world.tell(&stranger, 0, &Withdraw {}), Err(Error::NoStake));
    let refused = world.tell(&stranger, 0, &CancelUnbond {});
    assert_eq!(refused, Err(Error::NoStake));
    world.check_books();
}

#[test]
fn locked_stake_neither_unbonds_nor_secures_a_second_task() {
    let world = World::new();
    let solver = world.person("solver");
    let owner = solver.account();
    let (job, attempt) = world.committed(honest(), TERMS);
    let other = world.submit(&honest().spec, TERMS);
    world.stake(&solver, TERMS.stake - 1);
    let accept = lockstep_interface::escrow::Accept {
        task: other.id,
        terms_hash: other.hash(),
        min_price: 0,
    };
    let refused = world.tell(&solver, 0, &accept);
    let too_little = lockstep_interface::escrow::Error::Stake(Error::NotFree);
    assert_eq!(refused, Err(too_little));
    let all = RequestUnbond {
        amount: 2 * TERMS.stake - 1,
    };
    assert_eq!(world.tell(&solver, 0, &all), Err(Error::NotFree));

    world.stake(&solver, 1);
    world
        .tell(&solver, 0, &RequestUnbond { amount: 1 })
        .unwrap();
    let refused = world.tell(&solver, 0, &accept);
    assert_eq!(refused, Err(too_little), "unbonding stake secures nothing");
    world.tell(&solver, 0, &CancelUnbond {}).unwrap();
    world.tell(&solver, 0, &accept).unwrap();
    assert_eq!(staker(&world, owner).locked, 2 * TERMS.stake);

    world.finalize(&job, attempt);
    assert_eq!(staker(&world, owner).locked, TERMS.stake);
    assert_eq!(staker(&world, owner).free, TERMS.stake);
    world.check_books();
}

#[test]
fn nobody_but_escrow_locks_unlocks_or_slashes() {
    let world = World::new();
    let (_, _) = world.committed(honest(), TERMS);
    let owner = world.person("solver").account();
    let before = staker(&world, owner);
    for caller in ["mallory", "Alice", "solver", "submitter"] {
        let caller = world.person(caller);
        for amount in [0, 1, TERMS.stake, Balance::MAX] {
            let lock = world.tell(&caller, 0, &Lock { owner, amount });
            assert_eq!(lock, Err(Error::NotEscrow));
            let unlock = world.tell(&caller, 0, &Unlock { owner, amount });
            assert_eq!(unlock, Err(Error::NotEscrow));
            let slash = world.tell(&caller, 0, &Slash { owner, amount });
            assert_eq!(slash, Err(Error::NotEscrow));
        }
    }
    assert_eq!(staker(&world, owner), before);
    world.check_books();
}

#[test]
fn before_the_wiring_nobody_at_all_locks_unlocks_or_slashes() {
    let world = World::unwired();
    let deployer = world.deployer();
    let owner = deployer.account();
    let lock = world.tell(&deployer, 0, &Lock { owner, amount: 0 });
    assert_eq!(lock, Err(Error::NotEscrow));
    let slash = world.tell(&deployer, 0, &Slash { owner, amount: 0 });
    assert_eq!(slash, Err(Error::NotEscrow));
}

#[test]
fn bytes_that_are_no_message_change_nothing() {
    let (world, solver) = staked();
    let inputs = [
        vec![],
        vec![1, 2, 3],
        [9; 4].to_vec(),
        RequestUnbond { amount: 1 }.call()[..10].to_vec(),
        [&Lock::SELECTOR[..], &[0; 7]].concat(),
        [&lockstep_interface::selector("new")[..], &0u64.encode()].concat(),
    ];
    for input in inputs {
        for value in [0, 7] {
            let sent = world.call(&solver, world.at().stake, value, input.clone());
            assert!(sent.is_err(), "{input:?}");
        }
    }
    assert_eq!(staker(&world, solver.account()).free, STAKE);
    world.check_books();
}

#[test]
fn a_withdrawal_that_cannot_be_paid_keeps_the_credit() {
    let (world, solver) = staked();
    world
        .tell(&solver, 0, &RequestUnbond { amount: STAKE })
        .unwrap();
    world.wait(UNBONDING);
    let before = staker(&world, solver.account());
    world.confiscate(&world.at().stake, STAKE);
    assert_eq!(world.tell(&solver, 0, &Withdraw {}), Err(Error::Transfer));
    assert_eq!(staker(&world, solver.account()), before);
    world.restore(&world.at().stake, STAKE);
    world.tell(&solver, 0, &Withdraw {}).unwrap();
    world.check_empty();
}

#[test]
fn a_withdrawal_without_enough_gas_keeps_the_credit() {
    use lockstep_agent::chain::{Call, Chain, Limits, Weight};
    let (world, solver) = staked();
    world
        .tell(&solver, 0, &RequestUnbond { amount: STAKE })
        .unwrap();
    world.wait(UNBONDING);
    let call = Call {
        contract: world.at().stake,
        value: 0,
        input: Withdraw {}.call(),
    };
    let full = world
        .chain()
        .estimate(&solver.account(), &call)
        .unwrap()
        .weight;
    for tenths in [1, 3, 5, 7, 9] {
        let weight = Weight {
            ref_time: full.ref_time / 10 * tenths,
            ..full
        };
        let limits = Limits { weight, deposit: 0 };
        let sent = world.chain().submit(&solver, &call, &limits);
        assert!(sent.is_err(), "{tenths} tenths of the gas suffice");
        assert_eq!(staker(&world, solver.account()).unbonding, STAKE);
    }
    world.tell(&solver, 0, &Withdraw {}).unwrap();
    world.check_empty();
}

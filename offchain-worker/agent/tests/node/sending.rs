//! Every call gets into the chain exactly once, or is said to have failed.

use crate::fake::{Ending, BLOCK_TIME, FEE, MONEY};
use crate::{alice, connect, options, start};
use ink_sandbox::macros::DefaultSandboxRuntime as SandboxRuntime;
use ink_sandbox::pallet_contracts::Error as ContractsError;
use lockstep_agent::chain::node::{Node, Options};
use lockstep_agent::chain::{Call, Chain, Error, Limits, Weight};
use std::num::NonZero;
use std::thread;
use std::time::Duration;

fn call(number: u8) -> Call {
    Call {
        contract: [6; 32],
        value: 1,
        input: vec![number],
    }
}

const LIMITS: Limits = Limits {
    weight: Weight {
        ref_time: 5,
        proof_size: 6,
    },
    deposit: 7,
};

#[test]
fn a_call_is_included_and_its_receipt_read() {
    let host = start();
    host.chain().lag = 2;
    let node = connect(&[&host]);
    let receipt = host.while_making_blocks(|| node.submit(&alice(), &call(1), &LIMITS));
    let receipt = receipt.unwrap();
    assert_eq!(receipt.bytes, 1);
    assert_eq!(receipt.weight.ref_time, 77);
    assert_eq!(receipt.at.time, u64::from(receipt.at.block) * BLOCK_TIME);
    assert_eq!(receipt.events.len(), 1);
    assert_eq!(receipt.events[0].contract, [6; 32]);
    assert_eq!(receipt.events[0].topics, [[3; 32]]);

    let block = receipt.at.block;
    assert!(host.chain().finalized() >= block as usize);
    assert_eq!(node.events(&[6; 32], block).unwrap(), receipt.events);
    assert!(node.events(&[5; 32], block).unwrap().is_empty());
    assert!(node.now().unwrap().block > block);
}

#[test]
fn calls_of_many_threads_are_each_included_once() {
    let host = start();
    let node = connect(&[&host]);
    host.while_making_blocks(|| {
        thread::scope(|scope| {
            let sending: Vec<_> = (0..6)
                .map(|k| {
                    let node = &node;
                    scope.spawn(move || {
                        for round in 0..3 {
                            node.submit(&alice(), &call(10 * k + round), &LIMITS)
                                .unwrap();
                        }
                    })
                })
                .collect();
            sending
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        });
    });
    assert_eq!(host.chain().count(&alice().account()), 18);
    let best = host.chain().best();
    assert_eq!(host.chain().nonce(best, &alice().account()), 18);
}

#[test]
fn a_node_that_restarts_and_forgets_its_pool_is_offered_the_call_again() {
    let mut host = start();
    let node = connect(&[&host]);
    thread::scope(|scope| {
        let sending = scope.spawn(|| node.submit(&alice(), &call(1), &LIMITS));
        while host.chain().pool.is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        host.kill();
        host.run();
        host.while_making_blocks(|| sending.join().unwrap().unwrap());
    });
    assert_eq!(host.chain().count(&alice().account()), 1);
}

#[test]
fn a_call_whose_acceptance_was_not_heard_is_not_made_twice() {
    let host = start();
    let node = connect(&[&host]);
    host.trouble().swallowed_answers = 1;
    host.while_making_blocks(|| node.submit(&alice(), &call(1), &LIMITS).unwrap());
    host.while_making_blocks(|| node.submit(&alice(), &call(2), &LIMITS).unwrap());
    assert_eq!(host.chain().count(&alice().account()), 2);
}

#[test]
fn a_call_that_a_node_forgets_silently_is_offered_again() {
    let host = start();
    let node = connect(&[&host]);
    host.trouble().forgotten_offers = 1;
    host.while_making_blocks(|| node.submit(&alice(), &call(1), &LIMITS).unwrap());
    assert_eq!(host.chain().count(&alice().account()), 1);
}

#[test]
fn a_call_whose_nonce_another_process_used_is_sent_with_a_new_one() {
    let host = start();
    let (one, two) = (connect(&[&host]), connect(&[&host]));
    // Both choose a nonce while the pool is empty: the first offer is forgotten at once.
    host.trouble().forgotten_offers = 1;
    thread::scope(|scope| {
        let first = scope.spawn(|| one.submit(&alice(), &call(1), &LIMITS));
        while host.trouble().forgotten_offers > 0 {
            thread::sleep(Duration::from_millis(5));
        }
        let second = scope.spawn(|| two.submit(&alice(), &call(2), &LIMITS));
        while host.chain().pool.is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        host.while_making_blocks(|| {
            first.join().unwrap().unwrap();
            second.join().unwrap().unwrap();
        });
    });
    assert_eq!(host.chain().count(&alice().account()), 2);
}

#[test]
fn a_call_that_no_block_took_in_its_era_is_dead_and_said_to_be() {
    let host = start();
    let node = connect(&[&host]);
    host.chain().includes = false;
    let error = host.while_making_blocks(|| node.submit(&alice(), &call(1), &LIMITS));
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    assert!(error.is_transient());
    host.chain().includes = true;
    // The pool may still hold the dead one; the chain does not take it.
    host.chain().pool.clear();
    host.while_making_blocks(|| node.submit(&alice(), &call(1), &LIMITS).unwrap());
    assert_eq!(host.chain().count(&alice().account()), 1);
}

#[test]
fn a_call_that_may_still_arrive_is_waited_for_again_and_not_repeated() {
    let host = start();
    let hasty = Options {
        inclusion: Duration::from_millis(200),
        ..options()
    };
    let node = Node::connect(&[host.url()], hasty).unwrap();
    let error = node.submit(&alice(), &call(1), &LIMITS).unwrap_err();
    assert!(matches!(error, Error::Unresolved { .. }), "{error}");
    assert!(error.is_transient());
    // Included while nobody looked. Estimated again, its limits may be others.
    host.chain().produce();
    let other = Limits {
        deposit: 8,
        ..LIMITS
    };
    let receipt = node.submit(&alice(), &call(1), &other).unwrap();
    assert_eq!(receipt.at.block, 1);
    assert_eq!(host.chain().count(&alice().account()), 1);

    // Meant once more, it is sent once more.
    host.while_making_blocks(|| node.submit(&alice(), &call(1), &LIMITS).unwrap());
    assert_eq!(host.chain().count(&alice().account()), 2);
}

#[test]
fn a_call_that_is_given_up_does_not_block_the_next() {
    let mut host = start();
    let hasty = Options {
        inclusion: Duration::from_millis(300),
        ..options()
    };
    let node = Node::connect(&[host.url()], hasty).unwrap();
    assert!(node.submit(&alice(), &call(1), &LIMITS).is_err());
    // The pool is lost, and the next call needs the first to come before it.
    host.kill();
    host.run();
    host.while_making_blocks(|| node.submit(&alice(), &call(2), &LIMITS).unwrap());
    assert_eq!(host.chain().count(&alice().account()), 2);

    // Given up and dead, its nonce is free again.
    assert!(node.submit(&alice(), &call(3), &LIMITS).is_err());
    host.chain().includes = false;
    (0..70).for_each(|_| host.chain().produce());
    host.chain().includes = true;
    host.chain().pool.clear();
    host.while_making_blocks(|| node.submit(&alice(), &call(4), &LIMITS).unwrap());
    assert_eq!(host.chain().count(&alice().account()), 3);
}

#[test]
fn a_call_whose_block_is_forgotten_before_it_is_looked_at_is_said_to_be() {
    let host = start();
    let hasty = Options {
        inclusion: Duration::from_millis(200),
        ..options()
    };
    let node = Node::connect(&[host.url()], hasty).unwrap();
    assert!(node.submit(&alice(), &call(1), &LIMITS).is_err());
    (0..9).for_each(|_| host.chain().produce());
    host.chain().pruned = 7;
    let error = node.submit(&alice(), &call(1), &LIMITS).unwrap_err();
    assert!(matches!(error, Error::Forgotten { .. }), "{error}");
    assert!(error.is_transient());
    assert_eq!(host.chain().count(&alice().account()), 1);
}

#[test]
fn nothing_is_sent_before_what_an_earlier_process_sent_has_arrived() {
    let host = start();
    let hasty = Options {
        inclusion: Duration::from_millis(100),
        ..options()
    };
    let killed = Node::connect(&[host.url()], hasty).unwrap();
    assert!(killed.submit(&alice(), &call(1), &LIMITS).is_err());
    drop(killed);

    let node = connect(&[&host]);
    let error = host.while_making_blocks(|| node.submit(&alice(), &call(1), &LIMITS));
    let error = error.unwrap_err();
    assert!(
        matches!(error, Error::Overtaken { count: 1, .. }),
        "{error}"
    );
    assert!(error.is_transient());
    assert_eq!(host.chain().count(&alice().account()), 1);
    host.while_making_blocks(|| node.submit(&alice(), &call(2), &LIMITS).unwrap());
}

#[test]
fn a_call_in_a_block_that_is_undone_is_included_again() {
    let host = start();
    host.chain().lag = 3;
    let node = connect(&[&host]);
    thread::scope(|scope| {
        let sending = scope.spawn(|| node.submit(&alice(), &call(1), &LIMITS));
        while host.chain().pool.is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        host.chain().produce();
        assert_eq!(host.chain().count(&alice().account()), 1);
        host.chain().reorganise();
        assert_eq!(host.chain().count(&alice().account()), 0);
        host.while_making_blocks(|| sending.join().unwrap().unwrap());
    });
    assert_eq!(host.chain().count(&alice().account()), 1);
}

#[test]
fn who_cannot_pay_is_told_how_much_is_missing() {
    let host = start();
    let node = connect(&[&host]);
    host.trouble().poor = true;
    let dear = Call {
        value: 2 * MONEY,
        ..call(1)
    };
    let error = node.submit(&alice(), &dear, &LIMITS).unwrap_err();
    let Error::Unfunded { missing, free, .. } = &error else {
        panic!("{error}");
    };
    // The sandbox's existential deposit is 1.
    let expected = MONEY + FEE + LIMITS.deposit + 1;
    assert_eq!(*missing, NonZero::new(expected));
    assert_eq!(*free, MONEY);
    assert!(!error.is_transient());

    host.trouble().poor = false;
    host.while_making_blocks(|| node.submit(&alice(), &call(1), &LIMITS).unwrap());
}

#[test]
fn a_call_that_fails_in_its_block_says_why() {
    let host = start();
    let node = connect(&[&host]);
    let fail = |error: ContractsError<SandboxRuntime>| {
        host.chain().ending = Ending::Failure(error.into());
        host.while_making_blocks(|| node.submit(&alice(), &call(1), &LIMITS))
            .unwrap_err()
    };
    let error = fail(ContractsError::OutOfGas);
    let text = error.to_string();
    assert!(matches!(error, Error::Failed(_)), "{error}");
    assert!(text.contains("Contracts::OutOfGas"), "{text}");

    // What `ContractsApi_call` answers when a contract refuses with the bytes 1 and 2.
    host.chain().dry_run = vec![0, 0, 0, 0, 1]
        .into_iter()
        .chain([0; 16])
        .chain([0, 0, 1, 0, 0, 0, 8, 1, 2])
        .collect();
    let error = fail(ContractsError::ContractReverted);
    assert!(
        matches!(&error, Error::Reverted(said) if *said == [1, 2]),
        "{error}"
    );
}

//! What is read, from which node, and for how long a failing one is waited for.

use crate::fake::{Chain as FakeChain, BLOCK_TIME, MONEY};
use crate::{alice, connect, options, start};
use lockstep_agent::chain::node::{Finality, Node, Options};
use lockstep_agent::chain::{Chain, Error, Now};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn what_is_read_is_final_unless_it_is_to_be_the_newest() {
    let host = start();
    host.chain().lag = 3;
    (0..10).for_each(|_| host.chain().produce());
    let final_block = Now {
        block: 8,
        time: 7 * BLOCK_TIME,
    };
    assert_eq!(connect(&[&host]).now().unwrap(), final_block);
    let newest = Options {
        finality: Finality::Best,
        ..options()
    };
    let node = Node::connect(&[host.url()], newest).unwrap();
    assert_eq!(node.now().unwrap().block, 11);
    assert_eq!(node.funds(&alice().account()).unwrap().free, MONEY);
}

#[test]
fn another_endpoint_takes_over_from_one_that_dies() {
    let (mut first, second) = (start(), start());
    let node = connect(&[&first, &second]);
    assert_eq!(node.endpoint(), first.url());
    first.kill();
    assert_eq!(node.now().unwrap().block, 1);
    assert_eq!(node.endpoint(), second.url());

    let mut second = second;
    second.kill();
    let error = node.now().unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&first.url()) && text.contains(&second.url()));
    first.run();
    assert!(node.now().is_ok());
}

#[test]
fn an_endpoint_that_is_down_at_first_does_not_matter() {
    let second = start();
    let urls = ["ws://127.0.0.1:1".to_owned(), second.url()];
    let node = Node::connect(&urls, options()).unwrap();
    assert!(node.now().is_ok());
}

#[test]
fn an_endpoint_that_turns_out_to_be_elsewhere_is_not_used() {
    let (mut first, mut second) = (start(), start());
    let node = connect(&[&first, &second]);
    second.kill();
    *second.chain() = FakeChain::new("there");
    second.run();
    first.kill();
    let error = node.now().unwrap_err().to_string();
    assert!(error.contains("network with genesis"), "{error}");
}

#[test]
fn a_silent_node_is_given_up_in_time() {
    let host = start();
    let node = connect(&[&host]);
    host.trouble().silent = true;
    let started = Instant::now();
    let error = node.now().unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(4));
    host.trouble().silent = false;
    assert!(node.now().is_ok());
}

#[test]
fn a_call_in_flight_survives_a_restart_of_the_node() {
    let mut host = start();
    let node = connect(&[&host]);
    host.trouble().silent = true;
    thread::scope(|scope| {
        let asking = scope.spawn(|| node.now());
        thread::sleep(Duration::from_millis(100));
        host.kill();
        host.trouble().silent = false;
        host.run();
        assert_eq!(asking.join().unwrap().unwrap().block, 1);
    });
}

#[test]
fn time_never_runs_backwards_when_another_endpoint_is_behind() {
    let (mut first, second) = (start(), start());
    (0..5).for_each(|_| first.chain().produce());
    let node = connect(&[&first, &second]);
    assert_eq!(node.now().unwrap().block, 6);
    first.kill();
    let error = node.now().unwrap_err().to_string();
    assert!(error.contains("behind"), "{error}");
    (0..6).for_each(|_| second.chain().produce());
    assert_eq!(node.now().unwrap().block, 7);
}

#[test]
fn a_state_that_was_discarded_is_found_at_an_archive_or_named() {
    let (pruned, archive) = (start(), start());
    for host in [&pruned, &archive] {
        (0..5).for_each(|_| host.chain().produce());
    }
    pruned.chain().pruned = 4;
    let alone = connect(&[&pruned]);
    assert!(alone.events(&[6; 32], 5).unwrap().is_empty());
    let error = alone.events(&[6; 32], 2).unwrap_err();
    assert!(matches!(error, Error::Pruned { .. }), "{error}");
    assert!(error.to_string().contains("--state-pruning"));
    let both = connect(&[&pruned, &archive]);
    assert!(both.events(&[6; 32], 2).unwrap().is_empty());
}

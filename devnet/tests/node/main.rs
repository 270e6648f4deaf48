//! What the node promises, tried on nodes that run as processes.

use std::net::TcpListener;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use process::{http, refusal, wait, Node};
use transaction::{nonce, time, transfer};

mod process;
mod transaction;

#[test]
fn timed_blocks_come_without_transactions_and_carry_the_time() {
    let node = Node::start(&["--block-time", "200ms"]);
    let mut before = 0;
    for number in 1..=5 {
        let hash = node.wait_for(number);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let time = time(&node, &hash);
        assert!(time > before, "block {number}");
        assert!(time.abs_diff(now.as_millis() as u64) < 5_000);
        before = time;
    }
    wait("finality at once", || {
        (node.finalized() == node.best()).then_some(())
    });
}

#[test]
fn instant_blocks_come_with_transactions_only() {
    let node = Node::start(&["--seal", "instant"]);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(node.best().0, 0);
    for sent in 0..5 {
        node.call("author_submitExtrinsic", json!([transfer(&node, sent)]));
    }
    wait("the transactions", || (nonce(&node) == 5).then_some(()));
    assert!(node.best().0 <= 5);
}

#[test]
fn a_heartbeat_makes_empty_blocks_too() {
    let node = Node::start(&["--seal", "instant", "--heartbeat", "200ms"]);
    node.wait_for(3);
}

#[test]
fn finality_is_as_far_behind_as_asked() {
    let node = Node::start(&[
        "--seal",
        "manual",
        "--unsafe-engine",
        "--finality-depth",
        "3",
    ]);
    for number in 1..=6u32 {
        node.call("engine_createBlock", json!([true, false]));
        assert_eq!(node.best().0, number);
        assert_eq!(node.finalized().0, number.saturating_sub(3));
    }
}

#[test]
fn a_reorganisation_drops_blocks_and_their_transactions_come_again() {
    let node = Node::start(&[
        "--seal",
        "manual",
        "--unsafe-engine",
        "--finality-depth",
        "4",
    ]);
    let create = || node.call("engine_createBlock", json!([true, false]));
    for _ in 0..4 {
        create();
    }
    node.call("author_submitExtrinsic", json!([transfer(&node, 0)]));
    create();
    assert_eq!((node.best().0, nonce(&node)), (5, 1));
    let [third, fourth, old] = [3, 4, 5].map(|number| node.hash(number).unwrap());

    let done = node.call("devnet_reorg", json!([2]));
    assert_eq!(done["ancestor"], json!(third));
    assert_eq!(done["old"], json!(old));
    assert_eq!(node.best(), (6, done["new"].as_str().unwrap().into()));
    assert_eq!(node.hash(3), Some(third));
    assert_ne!(node.hash(4), Some(fourth));
    assert_eq!(nonce(&node), 0);

    create();
    assert_eq!(nonce(&node), 1);
}

#[test]
fn no_transaction_is_lost_when_a_busy_chain_is_reorganised() {
    let node = Node::start(&[
        "--block-time",
        "200ms",
        "--finality-depth",
        "8",
        "--unsafe-engine",
    ]);
    node.wait_for(4);
    for sent in 0..30 {
        node.call("author_submitExtrinsic", json!([transfer(&node, sent)]));
        if sent % 5 == 0 {
            node.call("devnet_reorg", json!([3]));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    wait("all transactions", || (nonce(&node) == 30).then_some(()));
}

#[test]
fn a_reorganisation_never_drops_what_is_final() {
    let node = Node::start(&[
        "--seal",
        "manual",
        "--unsafe-engine",
        "--finality-depth",
        "2",
    ]);
    for _ in 0..4 {
        node.call("engine_createBlock", json!([true, false]));
    }
    for depth in [0, 3] {
        let refused = node.try_call("devnet_reorg", json!([depth])).unwrap_err();
        assert!(refused.contains("2 are not final"), "{refused}");
    }
    assert_eq!(node.best().0, 4);
    node.call("devnet_reorg", json!([2]));
    assert_eq!(node.best().0, 5);
}

#[test]
fn a_chain_goes_on_after_it_was_stopped_or_killed() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "--block-time",
        "50ms",
        "--finality-depth",
        "2",
        "--base-path",
        folder.path().to_str().unwrap(),
    ];
    let (mut number, mut hash, mut last) = (0, None, 0);
    for round in 0..6 {
        let node = Node::start(&arguments);
        if let Some(hash) = hash {
            assert_eq!(node.hash(number), Some(hash), "round {round}");
            let next = node.wait_for(number + 1);
            assert!(time(&node, &next) > last);
        }
        node.wait_for(number + 10);
        let finalized = node.finalized();
        assert!(finalized.0 > number);
        last = time(&node, &finalized.1);
        (number, hash) = (finalized.0, Some(finalized.1));
        match round % 2 {
            0 => drop(node),
            _ => node.stop(),
        }
    }
}

#[test]
fn the_engine_is_not_served_unless_asked_for() {
    let node = Node::start(&[]);
    for method in ["engine_createBlock", "engine_finalizeBlock", "devnet_reorg"] {
        let refused = node.try_call(method, json!([])).unwrap_err();
        assert_eq!(refused, "Method not found", "{method}");
    }
}

#[test]
fn the_contracts_api_answers() {
    let node = Node::start(&[]);
    let version = node.call("state_getRuntimeVersion", json!([]));
    assert_eq!(version["specName"], "substrate-contracts-node");
    // There is no contract at the address of zeros: `Err(DoesntExist)`.
    let argument = format!("0x{}", "00".repeat(33));
    let storage = node.call("state_call", json!(["ContractsApi_get_storage", argument]));
    assert_eq!(storage, "0x0100");
}

#[test]
fn metrics_are_served() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let node = Node::start(&["--prometheus-port", &port.to_string()]);
    node.wait_for(1);
    let metrics = http(port, "GET /metrics", "");
    assert!(metrics.contains("substrate_block_height"), "{metrics}");
}

#[test]
fn a_port_in_use_is_refused() {
    let node = Node::start(&[]);
    let port = node.port().to_string();
    let said = refusal(&["--rpc-port", &port]);
    assert!(said.contains("choose another with --rpc-port"), "{said}");
    let said = refusal(&["--rpc-port", "0", "--prometheus-port", &port]);
    assert!(
        said.contains("choose another with --prometheus-port"),
        "{said}"
    );
}

#[test]
fn a_database_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let base_path = ["--base-path", folder.path().to_str().unwrap()];
    let _node = Node::start(&base_path);
    let said = refusal(&[&base_path[..], &["--rpc-port", "0"]].concat());
    assert!(said.contains("in use by another node"), "{said}");
}

#[test]
fn flags_that_do_not_go_together_are_refused() {
    assert!(refusal(&["--seal", "manual"]).contains("needs --unsafe-engine"));
    assert!(refusal(&["--heartbeat", "1s"]).contains("--seal instant only"));
}

#[test]
fn a_time_is_whole_seconds_or_milliseconds() {
    for time in ["", "2", "s", "0s", "-1s", "1.5s", "18446744073709551615s"] {
        let said = refusal(&[&format!("--block-time={time}")]);
        assert!(said.contains("such as 2s or 500ms"), "{time}: {said}");
    }
}

//! The chain client against a real node with development accounts, for example
//! `scripts/devnet`:
//!
//! ```text
//! LOCKSTEP_NODE_URL=ws://127.0.0.1:9944 cargo test -p lockstep-agent --test live -- --ignored
//! ```
//!
//! Each test uses accounts of its own, since others' transactions would disturb the sums.

use lockstep_agent::chain::bundle::Bundles;
use lockstep_agent::chain::contracts::{Contracts, Error as MessageError, STEPS};
use lockstep_agent::chain::node::{Node, Options};
use lockstep_agent::chain::{Call, Chain, Error, Estimate, Limits, Receipt, Weight, UNIT};
use lockstep_agent::keys::{Account, Signer};
use lockstep_interface::{stake, Bounds, Message};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

fn connect() -> Node {
    let url = std::env::var("LOCKSTEP_NODE_URL")
        .expect("these tests need a running node: set LOCKSTEP_NODE_URL to its ws:// URL");
    Node::connect(&[url], Options::default()).unwrap()
}

/// Another one for each run, so that a chain can be used for many.
fn salt() -> Vec<u8> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_nanos().to_le_bytes().to_vec()
}

fn deploy(salt: &[u8]) -> (Contracts, Vec<bool>) {
    let mut skipped = Vec::new();
    let contracts = Contracts::deploy(
        Arc::new(connect()),
        &Signer::dev("Alice"),
        &Bundles::shipped().unwrap(),
        1_000,
        &Bounds::default(),
        salt,
        &mut |step| skipped.push(step.receipt.is_none()),
    );
    (contracts.unwrap(), skipped)
}

/// The one deployment that all tests share.
fn stake() -> Account {
    static DEPLOYED: OnceLock<Account> = OnceLock::new();
    *DEPLOYED.get_or_init(|| deploy(&salt()).0.addresses().stake)
}

fn message(contract: Account, value: u128, message: &impl Message) -> Call {
    Call {
        contract,
        value,
        input: message.call(),
    }
}

fn limits(estimate: &Estimate) -> Limits {
    Limits {
        weight: estimate.weight.with_margin(),
        deposit: estimate.deposit,
    }
}

#[test]
#[ignore = "needs a live node: scripts/test-live"]
fn a_deployment_is_whole_and_is_skipped_when_it_is_there() {
    // Whatever the other tests need of Alice comes first.
    stake();
    let salt = salt();
    let (contracts, skipped) = deploy(&salt);
    assert_eq!(skipped, [false; STEPS]);
    contracts.verify(&Bundles::shipped().unwrap()).unwrap();

    let (again, skipped) = deploy(&salt);
    assert_eq!(skipped, [true; STEPS]);
    assert_eq!(again.addresses(), contracts.addresses());

    let mut newer = Bundles::shipped().unwrap();
    newer.stake.code_hash = [0; 32];
    let error = contracts.verify(&newer).unwrap_err();
    assert!(matches!(error, MessageError::Version { .. }), "{error}");
}

#[test]
#[ignore = "needs a live node: scripts/test-live"]
fn a_receipt_adds_up_to_the_last_unit() {
    let (node, bob) = (connect(), Signer::dev("Bob"));
    let call = message(stake(), 5 * UNIT, &stake::Deposit {});
    let check = |receipt: &Receipt, paid: u128, free: (u128, u128)| {
        let cost = paid as i128 + receipt.deposit + receipt.fee as i128;
        assert_eq!(free.0 as i128 - free.1 as i128, cost, "{receipt:?}");
        assert!(receipt.fee > 0);
        let events = node.events(&call.contract, receipt.at.block).unwrap();
        assert!(receipt.events.iter().all(|event| events.contains(event)));
        assert!(!receipt.events.is_empty());
    };
    let free = || node.funds(&bob.account()).unwrap().free;
    let before = free();
    let estimate = node.estimate(&bob.account(), &call).unwrap();
    assert!(!estimate.reverted);
    let first = node.submit(&bob, &call, &limits(&estimate)).unwrap();
    let after = free();
    check(&first, call.value, (before, after));
    assert_eq!(first.deposit, estimate.deposit as i128);
    assert_eq!(first.bytes, call.input.len());
    assert!(node.now().unwrap().block > first.at.block);

    // Everything is taken out again, and the storage deposit comes back.
    for (step, paid) in [
        (stake::RequestUnbond { amount: 5 * UNIT }.call(), 0),
        (stake::CancelUnbond {}.call(), 0),
    ] {
        let before = free();
        let call = Call {
            contract: call.contract,
            value: 0,
            input: step,
        };
        let estimate = node.estimate(&bob.account(), &call).unwrap();
        let receipt = node.submit(&bob, &call, &limits(&estimate)).unwrap();
        check(&receipt, paid, (before, free()));
    }
    assert!(node.issuance().unwrap() > 0);
    assert!(node.extrinsic_limit().unwrap().ref_time > first.weight.ref_time);
}

#[test]
#[ignore = "needs a live node: scripts/test-live"]
fn what_goes_wrong_in_a_block_is_said() {
    let (node, charlie) = (connect(), Signer::dev("Charlie"));
    let good = message(stake(), UNIT, &stake::Deposit {});
    let estimate = node.estimate(&charlie.account(), &good).unwrap();

    let tight = Limits {
        deposit: 0,
        ..limits(&estimate)
    };
    let error = node.submit(&charlie, &good, &tight).unwrap_err();
    assert!(error.to_string().contains("StorageDeposit"), "{error}");
    let weak = Limits {
        weight: Weight {
            ref_time: 1_000,
            proof_size: 1_000,
        },
        ..limits(&estimate)
    };
    let error = node.submit(&charlie, &good, &weak).unwrap_err();
    assert!(error.to_string().contains("Contracts::OutOfGas"), "{error}");

    let refused = message(stake(), 0, &stake::Withdraw {});
    let trial = node.estimate(&charlie.account(), &refused).unwrap();
    assert!(trial.reverted);
    let error = node.submit(&charlie, &refused, &limits(&trial));
    let Err(Error::Reverted(said)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(said, trial.output);

    let nobody = message([1; 32], 0, &stake::Deposit {});
    let error = node.estimate(&charlie.account(), &nobody).unwrap_err();
    assert!(error.to_string().contains("ContractNotFound"), "{error}");
}

#[test]
#[ignore = "needs a live node: scripts/test-live"]
fn an_account_without_money_is_told_what_it_needs() {
    let node = connect();
    let name = format!("//{}", hex::encode(salt()));
    let poor = Signer::from_secret("poor", &name).unwrap();
    let call = message(stake(), UNIT, &stake::Deposit {});
    let error = node.estimate(&poor.account(), &call).unwrap_err();
    assert!(matches!(error, Error::Unfunded { .. }), "{error}");

    let rich = Signer::dev("Ferdie").account();
    let limits = limits(&node.estimate(&rich, &call).unwrap());
    let error = node.submit(&poor, &call, &limits).unwrap_err();
    let Error::Unfunded { missing, free, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(free, 0);
    assert!(missing.unwrap().get() > UNIT + limits.deposit);
}

#[test]
#[ignore = "needs a live node: scripts/test-live"]
fn one_account_sends_from_many_threads() {
    let (node, dave) = (connect(), Signer::dev("Dave"));
    let call = message(stake(), UNIT, &stake::Deposit {});
    let before = node.funds(&dave.account()).unwrap().free;
    // The first makes the record, whose storage deposit the others need not pay.
    let estimate = node.estimate(&dave.account(), &call).unwrap();
    let first = node.submit(&dave, &call, &limits(&estimate)).unwrap();
    let receipts: Vec<Receipt> = thread::scope(|scope| {
        let sending: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| node.submit(&dave, &call, &limits(&estimate)).unwrap()))
            .collect();
        sending
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let spent: i128 = receipts
        .iter()
        .chain([&first])
        .map(|receipt| UNIT as i128 + receipt.deposit + receipt.fee as i128)
        .sum();
    let after = node.funds(&dave.account()).unwrap().free;
    assert_eq!(before as i128 - after as i128, spent);
    let blocks: BTreeSet<u32> = receipts.iter().map(|receipt| receipt.at.block).collect();
    println!("{} transactions in {} blocks", receipts.len(), blocks.len());
}

#[test]
#[ignore = "needs a live node: scripts/test-live"]
fn two_processes_send_for_one_account() {
    let eve = Signer::dev("Eve");
    let call = message(stake(), UNIT, &stake::Deposit {});
    let nodes = [connect(), connect()];
    let estimate = nodes[0].estimate(&eve.account(), &call).unwrap();
    let before = nodes[0].funds(&eve.account()).unwrap().free;
    let send = |node: &Node| loop {
        match node.submit(&eve, &call, &limits(&estimate)) {
            Err(error) if error.is_transient() => println!("{error}"),
            outcome => return outcome.unwrap(),
        }
    };
    let receipts: Vec<Receipt> = thread::scope(|scope| {
        let sending: Vec<_> = nodes
            .iter()
            .map(|node| scope.spawn(move || [send(node), send(node), send(node)]))
            .collect();
        let joined = sending.into_iter().map(|thread| thread.join().unwrap());
        joined.flatten().collect()
    });
    let spent: i128 = receipts
        .iter()
        .map(|receipt| UNIT as i128 + receipt.deposit + receipt.fee as i128)
        .sum();
    let after = nodes[0].funds(&eve.account()).unwrap().free;
    assert_eq!(before as i128 - after as i128, spent);
}

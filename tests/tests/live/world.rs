//! A node, the contracts on it, and people.

use lockstep_agent::chain::contracts::{Addresses, Contracts};
use lockstep_agent::chain::node::{self, Options};
use lockstep_agent::chain::{Balance, Chain};
use lockstep_agent::keys::{Account, Signer};
use lockstep_interface::{dispute, escrow, TaskId, BURN_ACCOUNT};
use lockstep_tests::live::{Node, Person, Proxy};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Everybody with money in the beginning.
const EVERYBODY: [&str; 6] = ["Alice", "Bob", "Charlie", "Dave", "Eve", "Ferdie"];

/// What a task offers, with times of seconds.
pub const OFFER: [&str; 22] = [
    "--reward",
    "10",
    "--ceiling",
    "20",
    "--stake",
    "100",
    "--ramp",
    "60s",
    "--open",
    "1h",
    "--work",
    "180s",
    "--audit",
    "30s",
    "--window",
    "30s",
    "--replay",
    "2s",
    "--clock",
    "60s",
    "--increment",
    "5s",
];

/// The world of one test.
pub struct World {
    pub node: Node,
    pub proxy: Proxy,
    dir: tempfile::TempDir,
    /// What nobody of [`EVERYBODY`] and no contract had in the beginning.
    elsewhere: Balance,
    contracts: Addresses,
}

impl World {
    /// A node with the contracts on it, which Alice deployed. `arguments` are those of the node.
    pub fn new(arguments: &[&str]) -> World {
        let node = Node::start(arguments);
        let proxy = Proxy::start(node.port());
        let dir = tempfile::tempdir().expect("a folder can be made");
        let alice = Person::new(dir.path(), "//Alice", &proxy.url());
        let deployed = alice.json(&["deploy", "--short-terms", "--unbonding", "5s"]);
        let contracts = deployed.last().expect("it says where they are")["contracts"].clone();
        let mut world = World {
            node,
            proxy,
            dir,
            elsewhere: 0,
            contracts: serde_json::from_value(contracts).expect("addresses are printed"),
        };
        world.elsewhere = world.elsewhere();
        world
    }

    /// Somebody, who sees the chain through the proxy.
    pub fn person(&self, key: &str) -> Person {
        Person::new(self.dir.path(), key, &self.proxy.url())
    }

    /// Somebody who knows the deployment and looks for the chain at `url`.
    pub fn person_at(&self, key: &str, url: &str) -> Person {
        Person::new(self.dir.path(), key, url)
    }

    /// The contracts, as they stand in the latest final block.
    pub fn contracts(&self) -> Contracts {
        Contracts::new(self.chain(), self.contracts)
    }

    pub fn chain(&self) -> Arc<dyn Chain> {
        let node = node::Node::connect(&[self.node.url()], Options::default());
        Arc::new(node.expect("the node listens"))
    }

    /// Bob offers the digits to whoever comes.
    pub fn submit(&self) -> TaskId {
        let bob = self.person("//Bob");
        bob.json(&["task", "new", "examples/digits/mlp.toml"]);
        let line = [&["task", "submit", "mlp"][..], &OFFER].concat();
        loop {
            let output = bob.run(&line);
            let said = String::from_utf8_lossy(&output.stderr);
            if output.status.success() {
                let submitted: Value =
                    serde_json::from_slice(&output.stdout).expect("it prints JSON");
                return submitted["task"].as_u64().expect("tasks are numbered");
            }
            // Bob's other process has just sent something.
            assert!(said.contains("[C17]") || said.contains("[C16]"), "{said}");
        }
    }

    /// Waits until `what` holds, and fails with everybody's log when it does not in time.
    pub fn wait(&self, patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !holds() {
            if begin.elapsed() > patience {
                for name in EVERYBODY {
                    let said = self.person(&format!("//{name}")).said();
                    let tail: Vec<&str> = said.lines().rev().take(25).collect();
                    for line in tail.iter().rev() {
                        eprintln!("{name}: {line}");
                    }
                }
                panic!("not within {patience:?}: {what}");
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Waits until nothing is left of any task, attempt, dispute or demand.
    pub fn wait_for_nothing(&self, patience: Duration) {
        let contracts = self.contracts();
        let left = || -> Result<bool, lockstep_agent::chain::contracts::Error> {
            for task in 0..contracts.task_count()? {
                if contracts.task(task)?.is_some() {
                    return Ok(true);
                }
            }
            Ok(!contracts.disputes(0)?.is_empty() || !contracts.demands(0)?.is_empty())
        };
        self.wait(patience, "every task is over and removed", || {
            !left().unwrap_or(true)
        });
    }

    /// What an account has, with its deposits and stake.
    pub fn wealth(&self, key: &str) -> Balance {
        let account = Signer::dev(key.trim_start_matches('/')).account();
        let funds = self.chain().funds(&account).expect("the node answers");
        let staker = self.contracts().staker(account).expect("the node answers");
        funds.free + funds.held + staker.free + staker.locked + staker.unbonding
    }

    /// Checks that contracts hold exactly what they owe, that the burn is where it belongs, and
    /// that nobody else gained or lost anything.
    pub fn check_books(&self) {
        let (chain, contracts) = (self.chain(), self.contracts());
        let alice = Signer::dev("Alice");
        let burn = contracts.escrow_config().expect("the node answers").burn;
        if burn > 0 {
            contracts
                .escrow(&alice, 0, &escrow::FlushBurn {})
                .expect("it burns");
        }
        let burn = contracts.dispute_config().expect("the node answers").burn;
        if burn > 0 {
            contracts
                .dispute(&alice, 0, &dispute::FlushBurn {})
                .expect("it burns");
        }
        let free = |account: &Account| chain.funds(account).expect("the node answers").free;
        let dust = free(&self.contracts.dispute).min(free(&self.contracts.escrow));
        let staked: Balance = EVERYBODY
            .map(|name| Signer::dev(name).account())
            .iter()
            .map(|who| contracts.staker(*who).expect("the node answers"))
            .map(|staker| staker.free + staker.locked + staker.unbonding)
            .sum();
        // Every contract keeps the existential deposit, and stake what people have there.
        let rests = [
            free(&self.contracts.escrow),
            free(&self.contracts.dispute),
            free(&self.contracts.stake) - staked,
        ];
        assert_eq!(rests, [dust; 3], "contracts hold what they owe");
        assert_eq!(self.elsewhere(), self.elsewhere, "the balances add up");
    }

    fn elsewhere(&self) -> Balance {
        let chain = self.chain();
        let people = EVERYBODY.map(|name| Signer::dev(name).account());
        let at = &self.contracts;
        let others = [at.stake, at.escrow, at.dispute, BURN_ACCOUNT];
        let known: Balance = people
            .iter()
            .chain(&others)
            .map(|account| chain.funds(account).expect("the node answers"))
            .map(|funds| funds.free + funds.held)
            .sum();
        chain.issuance().expect("the node answers") - known
    }
}

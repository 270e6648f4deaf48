//! Deploying, and everything that is refused with advice.

use super::world::World;
use lockstep_agent::keys::{address, Signer};
use lockstep_tests::live::{Node, Person};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
#[ignore = "needs a live node: scripts/test-live"]
fn a_deployment_is_finished_when_it_is_run_again_and_can_be_checked() {
    let world = World::new(&["--seal", "instant"]);
    let alice = world.person("//Alice");
    let line = ["deploy", "--short-terms", "--unbonding", "5s"];
    let again = alice.json(&line);
    let more = alice.json(&[&line[..], &["--salt", "another"]].concat());
    assert_ne!(again[0]["contracts"], more[0]["contracts"]);
    assert_eq!(again[0]["network"], more[0]["network"]);
    alice.json(&["deploy", "--verify"]);
    alice.json(&line);
}

#[test]
#[ignore = "needs a live node: scripts/test-live"]
fn a_secret_is_read_from_a_file_that_nobody_else_can_read() {
    let world = World::new(&["--seal", "instant"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("suri");
    fs::write(&file, "//Dave\n").unwrap();
    let dave = world.person("//Dave");
    let line = |file: &str| {
        let mut command = dave.command(&["stake", "deposit", "11"]);
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let program = command.get_program().to_owned();
        let kept = arguments.iter().filter(|a| *a != "--as" && *a != "//Dave");
        command = std::process::Command::new(program);
        command.args(kept).args(["--suri-file", file]);
        command.output().unwrap()
    };
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = line(file.to_str().unwrap());
    let said = String::from_utf8_lossy(&exposed.stderr).into_owned();
    assert_eq!(exposed.status.code(), Some(6), "{said}");
    assert!(said.contains("chmod 600"), "{said}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let deposited = line(file.to_str().unwrap());
    let said = String::from_utf8_lossy(&deposited.stderr).into_owned();
    assert!(deposited.status.success(), "{said}");
}

#[test]
#[ignore = "needs a live node: scripts/test-live"]
fn what_cannot_work_is_refused_with_advice() {
    let world = World::new(&["--seal", "instant"]);
    let refused = |person: &Person, line: &[&str], code: i32, advice: &str| {
        let (got, said) = person.fails(line);
        assert_eq!(got, code, "{said}");
        assert!(said.contains(advice), "{said}");
    };
    let dir = tempfile::tempdir().unwrap();

    // Nobody listens.
    let nowhere = Person::new(dir.path(), "//Bob", "ws://127.0.0.1:9");
    refused(
        &nowhere,
        &["chain", "now"],
        5,
        "check that a node runs there",
    );
    // It is no URL.
    let nonsense = Person::new(dir.path(), "//Bob", "the chain");
    refused(&nonsense, &["chain", "now"], 5, "it looks like ws://");
    // No contracts are known.
    let stranger = Person::new(dir.path(), "//Bob", &world.node.url());
    refused(&stranger, &["task", "list"], 1, "lockstep deploy");
    // Nobody has given this account any money.
    let poor = world.person("//Nobody");
    refused(&poor, &["stake", "deposit", "11"], 5, "send");
    // More than there is.
    let bob = world.person("//Bob");
    refused(&bob, &["stake", "deposit", "99999999999"], 5, "send");

    // A deployment on another chain: all test chains begin with the same block, so that only the
    // contracts are missed.
    let other = Node::start(&["--seal", "instant"]);
    let elsewhere = world.person_at("//Bob", &other.url());
    refused(
        &elsewhere,
        &["task", "list"],
        5,
        "is this the network that it was deployed on",
    );

    // Another version of a contract: the same address, another code hash in what is known.
    let file = world.person("//Alice").deployment().to_owned();
    let text = fs::read_to_string(&file).unwrap();
    let mut deployment: serde_json::Value = serde_json::from_str(&text).unwrap();
    let contracts = deployment["contracts"].as_object_mut().unwrap();
    let stake = contracts["stake"].clone();
    let escrow = contracts.insert("escrow".into(), stake).unwrap();
    fs::write(&file, deployment.to_string()).unwrap();
    refused(&bob, &["task", "list"], 5, "another version");
    deployment["contracts"]["escrow"] = escrow;
    // No contract at all.
    let nobody = address(&Signer::dev("Bob").account());
    deployment["contracts"]["dispute"] = nobody.into();
    fs::write(&file, deployment.to_string()).unwrap();
    refused(&bob, &["task", "list"], 5, "there is no contract at");
}

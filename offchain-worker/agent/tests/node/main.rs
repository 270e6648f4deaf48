//! The chain client against nodes that fail: it gives clear errors, changes endpoints, waits no
//! longer than it should, and gets every call into the chain exactly once.

mod connecting;
mod fake;
mod reading;
mod sending;

use fake::{Chain as FakeChain, Host};
use lockstep_agent::chain::node::{Node, Options};
use lockstep_agent::keys::Signer;
use std::time::Duration;

fn options() -> Options {
    Options {
        connecting: Duration::from_secs(2),
        request: Duration::from_millis(500),
        patience: Duration::from_secs(2),
        inclusion: Duration::from_secs(5),
        poll: Duration::from_millis(10),
        ..Options::default()
    }
}

fn connect(hosts: &[&Host]) -> Node {
    let urls: Vec<String> = hosts.iter().map(|host| host.url()).collect();
    Node::connect(&urls, options()).unwrap()
}

fn start() -> Host {
    Host::start(FakeChain::new("here"))
}

fn alice() -> Signer {
    Signer::dev("Alice")
}

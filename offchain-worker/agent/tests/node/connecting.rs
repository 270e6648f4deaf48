//! Which nodes are talked to.

use crate::fake::{Chain as FakeChain, Host};
use crate::{connect, options, start};
use lockstep_agent::chain::node::{Node, Options};
use lockstep_agent::chain::Error;
use std::io::Write;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

fn refused(urls: &[String]) -> Error {
    match Node::connect(urls, options()) {
        Ok(_) => panic!("the endpoints were accepted"),
        Err(error) => error,
    }
}

#[test]
fn a_node_that_is_not_there_is_named() {
    let started = Instant::now();
    let error = refused(&["ws://127.0.0.1:1".into()]);
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.is_transient());
    assert!(error.to_string().contains("ws://127.0.0.1:1"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[test]
fn something_that_is_no_node_is_not_waited_for_for_ever() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let chatty = TcpListener::bind("127.0.0.1:0").unwrap();
    let urls =
        [&silent, &chatty].map(|listener| format!("ws://{}", listener.local_addr().unwrap()));
    thread::spawn(move || {
        for stream in chatty.incoming() {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
            stream.and_then(|mut s| s.write_all(answer)).ok();
        }
    });
    for url in urls {
        let started = Instant::now();
        let error = refused(&[url]);
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(4));
    }
}

#[test]
fn what_is_no_url_of_a_node_is_refused() {
    for url in ["", "localhost:9944", "http://127.0.0.1:9944", "ws://"] {
        let error = refused(&[url.to_owned()]);
        assert!(matches!(error, Error::Url { .. }), "{url}: {error}");
        assert!(!error.is_transient());
    }
    assert!(matches!(refused(&[]), Error::Url { .. }));
}

#[test]
fn endpoints_of_two_networks_are_refused() {
    let (here, there) = (start(), Host::start(FakeChain::new("there")));
    let error = refused(&[here.url(), there.url()]);
    assert!(matches!(error, Error::Network { .. }), "{error}");
    assert!(!error.is_transient());

    let genesis = connect(&[&there]).genesis();
    let expecting = Options {
        genesis: Some(genesis),
        ..options()
    };
    assert!(Node::connect(&[there.url()], expecting.clone()).is_ok());
    let error = Node::connect(&[here.url()], expecting).err().unwrap();
    assert!(matches!(error, Error::Network { .. }), "{error}");
}

#[test]
fn a_chain_without_contracts_is_refused() {
    let host = Host::start(FakeChain::without_contracts("here"));
    let error = refused(&[host.url()]);
    assert!(matches!(error, Error::NoContracts { .. }), "{error}");
    assert!(error.to_string().contains("pallet-contracts"));
}

//! A live chain for tests: a node as a process that can be killed, a proxy before it that can cut
//! and slow the connection, and people who are `lockstep` processes.

mod node;
mod people;
mod proxy;

pub use node::Node;
pub use people::{Person, Service};
pub use proxy::Proxy;

use std::net::TcpListener;
use std::path::PathBuf;

/// A port that nobody listens on.
///
/// # Panics
/// When the machine has none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

/// A program that `variable` names, or the one that `otherwise` finds.
fn program(variable: &str, otherwise: impl Fn() -> PathBuf, advice: &str) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(otherwise, PathBuf::from);
    assert!(
        path.is_file(),
        "there is no program at `{}`: {advice}",
        path.display()
    );
    path
}

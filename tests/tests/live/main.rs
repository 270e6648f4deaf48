//! Against a live node: every role a process of its own, every failure a real one.
//!
//! These need the test chain, which takes half an hour to build, and are compiled only with the
//! feature `live`; `scripts/test` builds and runs them.

mod chaos;
mod deployment;
mod messages;
mod roles;
mod world;

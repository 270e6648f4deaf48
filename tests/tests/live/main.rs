//! Against a live node: every role a process of its own, every failure a real one.
//!
//! These need the test chain, which takes half an hour to build; `scripts/test-live` builds it and
//! runs them.

mod chaos;
mod deployment;
mod messages;
mod roles;
mod world;

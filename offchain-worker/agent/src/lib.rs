//! Everything a worker does off chain: reach a chain ([`chain`]), keep artifacts ([`store`]), hold
//! keys ([`keys`]), run tasks ([`run`]), and play a role ([`roles`]) at some [`pace`].
#![warn(missing_docs)]

pub mod chain;
pub mod keys;
pub mod local;
pub mod pace;
pub mod roles;
pub mod run;
pub mod store;

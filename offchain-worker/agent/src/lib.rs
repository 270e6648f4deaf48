//! Everything a worker does off chain: reach a chain ([`chain`]), keep artifacts ([`store`]), hold
//! keys ([`keys`]), run tasks ([`run`]), and play a role ([`roles`]).
#![warn(missing_docs)]

pub mod chain;
pub mod keys;
pub mod local;
pub mod roles;
pub mod run;
pub mod store;

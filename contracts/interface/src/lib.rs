//! What the contracts of Lockstep say: to each other, and to the worker.
//!
//! Every message is a struct whose encoding is the message's arguments, so a caller needs no
//! metadata:
//!
//! ```
//! use lockstep_interface::{stake, Message};
//!
//! let input = stake::RequestUnbond { amount: 5 }.call();
//! assert_eq!(input[..4], stake::RequestUnbond::SELECTOR);
//! // What the contract returns decodes with the same type.
//! let output = [0, 0];
//! assert_eq!(stake::RequestUnbond::reply(&output), Ok(Ok(())));
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
// cargo-contract denies these lints. The release profile checks overflow: it reverts the message.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]

extern crate alloc;

#[macro_use]
mod message;

#[cfg(feature = "ink")]
pub mod cell;
pub mod dispute;
pub mod escrow;
pub mod goal;
mod selector;
pub mod stake;
pub mod terms;

pub use goal::{Goal, GoalFault, MetricProof};
pub use message::{Garbled, Logged, Message, Signature};
pub use selector::selector;
pub use terms::{Bounds, Task, Terms, TermsFault};

pub use lockstep_protocol::Hash;

/// An account's public key or a contract's address.
pub type Account = [u8; 32];
/// An amount of the chain's currency, in plancks.
pub type Balance = u128;
/// A duration, or a time since the Unix epoch, in milliseconds.
pub type Millis = u64;
/// A block's height.
pub type BlockNumber = u32;
/// The number of a task, counted from 0 by escrow.
pub type TaskId = u64;
/// The number of an attempt at a task, counted from 1.
pub type Attempt = u32;
/// The number of a dispute, counted from 0 by the dispute contract.
pub type DisputeId = u64;
/// The number of a demand, counted from 0 by the dispute contract.
pub type DemandId = u64;

/// Where burned money goes. Nobody can know a key of this account, since it was chosen as text;
/// the account of all zeros would not do, because zeros are a public key for which signatures
/// can be made up.
pub const BURN_ACCOUNT: Account = *b"Lockstep burns what arrives here";

//! The specification of Lockstep in executable form.
//!
//! Everything two parties can disagree about is defined here and nowhere else: what a number is
//! ([`float`]), what a training step means ([`program`], [`eval`]), what a commitment is
//! ([`tree`]), and who wins a disagreement ([`game`], [`referee`]). The contracts compile this
//! crate; the engines are held to it bit for bit.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod clock;
pub mod encoding;
pub mod eval;
pub mod float;
pub mod game;
pub mod math;
pub mod permutation;
pub mod philox;
pub mod player;
pub mod program;
#[cfg(feature = "random")]
pub mod random;
pub mod referee;
#[cfg(feature = "random")]
pub mod rehearsal;
pub mod step;
pub mod task;
pub mod tree;
pub mod validate;

/// A BLAKE3 hash of plain bytes.
pub type Hash = [u8; 32];

//! Bodies of nodes: a builder, and mathematical functions as fixed sequences of operations.
//!
//! A function here is not an operation that engines must know but a straight line of [`Op`]s that
//! is written into a body, so its bits follow from theirs. Errors of the functions over all
//! inputs are in `docs/accuracy.md`.
//!
//! [`Op`]: crate::program::Op

mod builder;
mod exponential;
mod gelu;
mod random;
mod trigonometric;

pub use builder::{BodyBuilder, BodyError, Val};

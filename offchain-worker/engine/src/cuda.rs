//! The CUDA engine: kernels generated from the program, with the protocol's bits.
//!
//! [`codegen`] writes the kernels, [`device`] says what a machine has to offer, and [`Cuda`] runs a
//! program on any such machine.

pub mod codegen;
pub mod device;
mod engine;
mod layout;

pub use engine::Cuda;

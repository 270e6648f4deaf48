//! The CUDA engine: kernels generated from the program, with the protocol's bits.
//!
//! [`codegen`] writes the kernels, [`nvrtc`] compiles them, [`ptx`] looks at what the compiler made
//! of them, [`Device`] says what a machine has to offer, [`Gpu`] is such a machine, and [`Cuda`]
//! runs a program on one. Nothing of CUDA is needed to build this, and nothing is loaded before it
//! is used.

pub mod codegen;
mod device;
mod engine;
mod gpu;
pub mod hash;
mod layout;
pub mod nvrtc;
pub mod ptx;

pub use device::{Device, Memory};
pub use engine::Cuda;
pub use gpu::Gpu;

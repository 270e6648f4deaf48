//! Models, their gradients, and their lowering to programs.
//!
//! A [`Graph`] holds tensors and how they follow from each other; [`Graph::gradients`] adds their
//! derivatives; [`lower`] turns a graph into a program of sources, maps and folds.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod contract;
mod dropout;
mod elementwise;
mod embedding;
mod gradient;
mod graph;
mod kernel;
mod loss;
pub mod lower;
mod norm;
mod reduce;
mod scalar;
mod view;

pub use elementwise::broadcast_shape;
pub use graph::{Field, Graph, State, Value};

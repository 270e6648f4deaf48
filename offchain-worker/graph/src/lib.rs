//! Models, their gradients, and their lowering to programs.
//!
//! A [`Graph`] holds tensors and how they follow from each other; [`Graph::gradients`] adds their
//! derivatives; [`lower`] turns a graph into a program of sources, maps and folds.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod built;
mod contract;
mod conv;
mod dropout;
mod elementwise;
mod embedding;
mod gradient;
mod graph;
mod initial;
mod kernel;
mod loss;
pub mod lower;
mod model;
mod norm;
mod optimizer;
mod pool;
pub mod recipe;
mod reduce;
mod scalar;
mod schedule;
pub mod training;
mod view;
mod window;

pub use built::{Built, Foreign, Kind, Slot};
pub use conv::Conv2d;
pub use elementwise::broadcast_shape;
pub use graph::{Field, Graph, State, Value};
pub use initial::Initial;
pub use model::{Model, Parameter};
pub use optimizer::Optimizer;
pub use pool::Pool2d;
pub use schedule::Schedule;
pub use training::{Objective, Training};

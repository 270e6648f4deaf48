//! Models, their gradients, and their lowering to programs.
//!
//! A [`Graph`] holds tensors and how they follow from each other; [`Graph::gradients`] adds their
//! derivatives; [`lower`] turns a graph into a program of sources, maps and folds. A [`Model`] is a
//! graph with named parameters that [`Model::train`], [`Model::evaluate`] and [`Model::infer`] make
//! programs of, and a [`recipe`] is a model and its training as a TOML file.
//!
//! ```
//! use lockstep_graph::{Field, Initial, Model, Objective, Optimizer, Schedule, Training};
//! use lockstep_protocol::program::Dtype;
//!
//! // Records of 4 f32 and a label of 4 bytes, 32 of them a step.
//! let field = |offset, count, dtype| Field {
//!     dataset: 0,
//!     batch: 32,
//!     record_size: 20,
//!     offset,
//!     count,
//!     dtype,
//! };
//! let mut model = Model::training(7);
//! let x = model.graph.field(field(0, 4, Dtype::F32));
//! let labels = model.graph.field(field(16, 1, Dtype::U32));
//! let labels = model.graph.reshape(labels, &[32]);
//! let hidden = model.linear("hidden", x, 16, &Initial::kaiming(4));
//! let hidden = model.graph.relu(hidden);
//! let logits = model.linear("output", hidden, 3, &Initial::xavier(16, 3));
//! let losses = model.graph.cross_entropy(logits, labels);
//! let objective = Objective {
//!     hits: Some(model.graph.hits(logits, labels)),
//!     ..Objective::new(losses)
//! };
//! let optimizer = Optimizer::Sgd { momentum: 0.9, decay: 0.0 };
//! let training = Training::new(optimizer, Schedule::Cosine { end: 0.1 }.rates(0.1, 5, 100));
//! let built = model.train(objective, &training)?;
//! // A moment and a value for each of four parameters, the mean loss, the mean accuracy.
//! assert_eq!(built.program.slots, 10);
//! # Ok::<(), lockstep_protocol::validate::Invalid>(())
//! ```
#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod activation;
mod attention;
mod built;
mod contract;
mod conv;
mod conv_transpose;
mod dropout;
mod elementwise;
mod embedding;
mod gather;
mod gradient;
mod graph;
mod held_out;
mod initial;
mod kernel;
mod logic;
mod lora;
mod loss;
pub mod lower;
mod model;
mod norm;
mod optimizer;
mod pattern;
mod pool;
mod quantised;
pub mod recipe;
mod reduce;
mod scalar;
mod schedule;
pub mod training;
mod view;
mod window;

pub use attention::Attention;
pub use built::{Built, Foreign, Kind, Slot};
pub use conv::Conv2d;
pub use elementwise::broadcast_shape;
pub use graph::{Field, Graph, State, Value};
pub use held_out::HeldOut;
pub use initial::Initial;
pub use lora::Lora;
pub use loss::CrossEntropy;
pub use model::{Buffer, Given, Model, Parameter};
pub use norm::Standard;
pub use optimizer::Optimizer;
pub use pattern::Pattern;
pub use pool::Pool2d;
pub use quantised::Precision;
pub use schedule::Schedule;
pub use training::{Group, Objective, Training};

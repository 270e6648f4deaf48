//! Models that other frameworks exported, as Lockstep graphs.
//!
//! [`Onnx`] reads an ONNX file, as `torch.onnx.export` writes it, and builds its forward pass in a
//! [`lockstep_graph::Model`]: weights become named parameters that begin with the values in the
//! file, and everything that follows, gradients, optimizer and lowering, is the graph crate's.
//!
//! ```no_run
//! use lockstep_graph::{Field, Model, Objective};
//! use lockstep_import::{Onnx, Options};
//! use lockstep_protocol::program::Dtype;
//! use std::collections::BTreeMap;
//!
//! let onnx = Onnx::read("classifier.onnx".as_ref())?;
//! let mut model = Model::training(7);
//! // Records of 4 f32 and a label of 4 bytes, 32 of them a step.
//! let field = |offset, count, dtype| Field {
//!     dataset: 0,
//!     batch: 32,
//!     record_size: 20,
//!     offset,
//!     count,
//!     dtype,
//! };
//! let x = model.graph.field(field(0, 4, Dtype::F32));
//! let labels = model.graph.field(field(16, 1, Dtype::U32));
//! let labels = model.graph.reshape(labels, &[32]);
//! let inputs = BTreeMap::from([("x".to_string(), x)]);
//! let outputs = onnx.build(&mut model, &inputs, &Options::default())?;
//! let objective = Objective::new(model.graph.cross_entropy(outputs["logits"], labels));
//! # Ok::<(), lockstep_import::Error>(())
//! ```
//!
//! # What to export
//! A model that will be trained, not one prepared for inference: exporters otherwise fold batch
//! norms into convolutions, merge weights that happen to be equal, and untie those that are
//! shared. Such files are refused, see [`Options::optimised`].
//!
//! ```python
//! torch.onnx.export(model.train(), (x,), "model.onnx", dynamo=True, optimize=False)
//! torch.onnx.export(model, (x,), "model.onnx", dynamo=False, do_constant_folding=False,
//!                   training=torch.onnx.TrainingMode.TRAINING)
//! ```
#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod onnx;

pub use onnx::{Declaration, Element, Error, Extent, Initialiser, Onnx, Options};

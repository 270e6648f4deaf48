//! Users' data: reads arrays, tables and token files, and joins their columns into the fixed-size
//! records that datasets are.
//!
//! A [`Source`] is a file of named [`Column`]s: `.npy`, `.npz`, `.safetensors`, CSV or Parquet. A
//! [`Layout`] says where the fields of a record are, and [`Dataset::join`] puts row k of every
//! column into record k. [`Windows`] cuts a file of tokens, and [`Dataset::raw`] takes a file that
//! already is records.
//!
//! Files are not trusted: whatever they claim is checked against what they hold before room is made
//! for it, and an [`Error`] says which file, column and row is wrong.
//!
//! ```
//! use lockstep_data::{Dataset, Field, Format, Layout, Source};
//! use lockstep_protocol::program::Dtype;
//! use std::path::Path;
//!
//! let text = b"width,height,label\n1.5,2,0\n0.25,3,1\n".to_vec();
//! let file = Source::new(Path::new("x.csv"), Format::Csv { delimiter: b',' }, text);
//! let layout = Layout::aligned(vec![
//!     Field::new("size", Dtype::F32, 2),
//!     Field::new("label", Dtype::U8, 1),
//! ])
//! .expect("the record is small");
//! let columns = [
//!     ("size", file.columns(&["width", "height"])?),
//!     ("label", file.columns(&["label"])?),
//! ];
//! let dataset = Dataset::join(&layout, &columns)?;
//! // Two f32, the label, and three bytes that fill the record up.
//! assert_eq!((dataset.records, layout.record_size()), (2, 12));
//! # Ok::<(), lockstep_data::Error>(())
//! ```
#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod column;
mod csv;
mod dataset;
mod error;
mod layout;
mod npy;
mod npz;
mod parquet;
mod source;
mod tensors;
mod tokens;

pub use column::{Column, Kind};
pub use dataset::Dataset;
pub use error::{Error, Place};
pub use layout::{Field, Layout, Misfit, Slot};
pub use source::{Format, Source};
pub use tokens::Windows;

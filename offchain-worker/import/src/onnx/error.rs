//! Why a file cannot be read or built.

use std::path::PathBuf;

/// A file that cannot be read, or a model that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The bytes are no ONNX model, or one that is too large.
    #[error("this is not an ONNX model that can be read: {0}")]
    Format(String),
    /// The file uses what is not supported outside of its nodes.
    #[error("{0}")]
    Unsupported(String),
    /// A tensor of the file.
    #[error("tensor {name:?}: {reason}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A node of the file.
    #[error("node {index} ({operation} {name:?}): {reason}")]
    Node {
        /// Its position in the file, from 0 on.
        index: usize,
        /// Its operation.
        operation: String,
        /// Its name, which may be empty.
        name: String,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// An input or output of the graph.
    #[error("{side} {name:?}: {reason}")]
    Value {
        /// `input` or `output`.
        side: &'static str,
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why a node or a tensor is refused, before it is known which.
#[derive(Debug)]
pub(super) struct Reason(pub(super) String);

impl From<String> for Reason {
    fn from(text: String) -> Reason {
        Reason(text)
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Reason {
        Reason(text.to_string())
    }
}

/// Returns a [`Reason`] made of a format string.
macro_rules! refuse {
    ($($arg:tt)*) => {
        return Err($crate::onnx::error::Reason(format!($($arg)*)))
    };
}

pub(super) use refuse;

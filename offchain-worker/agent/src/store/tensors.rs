//! States as `safetensors` files: named tensors that any framework reads, and no code in them.

use super::Error;
use lockstep_protocol::program::{Dtype, Node};
use safetensors::tensor::{Dtype as FileDtype, SafeTensors, TensorView};
use std::collections::HashMap;

/// One named tensor of a state.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Its name in the file.
    pub name: &'a str,
    /// The state source that declares its shape and element type.
    pub node: &'a Node,
    /// Its elements, little-endian, row-major.
    pub bytes: &'a [u8],
}

/// A `safetensors` file with these tensors and these notes in its header.
///
/// # Errors
/// When a tensor has another length than its node declares, or two have one name.
pub fn encode(tensors: &[Named<'_>], notes: HashMap<String, String>) -> Result<Vec<u8>, Error> {
    let malformed = |reason: String| Error::Malformed {
        object: "safetensors".into(),
        reason,
    };
    let mut views: Vec<(&str, TensorView<'_>)> = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        if views.iter().any(|(name, _)| *name == tensor.name) {
            return Err(malformed(format!(
                "two tensors are named `{}`",
                tensor.name
            )));
        }
        let shape = tensor.node.shape().iter().map(|d| d.0 as usize).collect();
        let view = TensorView::new(file_dtype(tensor.node.dtype()), shape, tensor.bytes)
            .map_err(|e| malformed(format!("tensor `{}`: {e}", tensor.name)))?;
        views.push((tensor.name, view));
    }
    safetensors::serialize(views, &Some(notes)).map_err(|e| malformed(e.to_string()))
}

/// A tensor that was read from a file: element type, shape and bytes.
pub type Decoded = (String, Vec<usize>, Vec<u8>);

/// The tensors of a `safetensors` file by name.
///
/// # Errors
/// When the file is malformed.
pub fn decode(file: &[u8]) -> Result<HashMap<String, Decoded>, Error> {
    let parsed = SafeTensors::deserialize(file).map_err(|e| Error::Malformed {
        object: "safetensors".into(),
        reason: e.to_string(),
    })?;
    let tensors = parsed.tensors().into_iter().map(|(name, view)| {
        let dtype = format!("{:?}", view.dtype());
        (name, (dtype, view.shape().to_vec(), view.data().to_vec()))
    });
    Ok(tensors.collect())
}

fn file_dtype(dtype: Dtype) -> FileDtype {
    match dtype {
        Dtype::F32 => FileDtype::F32,
        Dtype::I32 => FileDtype::I32,
        Dtype::U32 => FileDtype::U32,
        Dtype::U8 => FileDtype::U8,
        Dtype::I8 => FileDtype::I8,
        Dtype::U16 => FileDtype::U16,
    }
}

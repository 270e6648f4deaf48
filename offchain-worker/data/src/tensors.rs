//! `safetensors` files.

use crate::{
    column::{Column, Kind},
    error::{Error, Place},
};
use safetensors::{Dtype, SafeTensors};

fn open<'a>(place: &Place, bytes: &'a [u8]) -> Result<SafeTensors<'a>, Error> {
    SafeTensors::deserialize(bytes)
        .map_err(|error| place.refuse(format!("it is no whole safetensors file: {error}")))
}

/// The names of the tensors.
pub(crate) fn names(place: &Place, bytes: &[u8]) -> Result<Vec<String>, Error> {
    let mut names: Vec<String> = open(place, bytes)?
        .names()
        .into_iter()
        .map(|name| name.to_string())
        .collect();
    names.sort();
    Ok(names)
}

/// A tensor by its name.
pub(crate) fn read(place: &Place, bytes: &[u8], name: &str) -> Result<Column, Error> {
    let file = open(place, bytes)?;
    let place = place.column(name);
    let tensor = file
        .tensor(name)
        .map_err(|error| place.refuse(error.to_string()))?;
    let kind = match tensor.dtype() {
        Dtype::BOOL => Kind::Bool,
        Dtype::U8 => Kind::U8,
        Dtype::I8 => Kind::I8,
        Dtype::U16 => Kind::U16,
        Dtype::I16 => Kind::I16,
        Dtype::U32 => Kind::U32,
        Dtype::I32 => Kind::I32,
        Dtype::U64 => Kind::U64,
        Dtype::I64 => Kind::I64,
        Dtype::F16 => Kind::F16,
        Dtype::BF16 => Kind::Bf16,
        Dtype::F32 => Kind::F32,
        Dtype::F64 => Kind::F64,
        other => {
            return Err(place.refuse(format!(
                "its type {other:?} is not supported: save booleans, integers or floats"
            )));
        }
    };
    Column::new(place, kind, tensor.shape(), tensor.data().to_vec())
}

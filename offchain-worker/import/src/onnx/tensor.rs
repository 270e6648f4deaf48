//! Tensors whose elements are known while a model is built.

use super::{
    error::{refuse, Reason},
    proto::TensorProto,
    read::Folder,
};
use std::sync::Arc;

/// The element types of ONNX, by their numbers in the format.
pub(super) mod number {
    pub(in crate::onnx) const FLOAT: i32 = 1;
    pub(in crate::onnx) const UINT8: i32 = 2;
    pub(in crate::onnx) const INT8: i32 = 3;
    pub(in crate::onnx) const UINT16: i32 = 4;
    pub(in crate::onnx) const INT16: i32 = 5;
    pub(in crate::onnx) const INT32: i32 = 6;
    pub(in crate::onnx) const INT64: i32 = 7;
    pub(in crate::onnx) const BOOL: i32 = 9;
    pub(in crate::onnx) const DOUBLE: i32 = 11;
    pub(in crate::onnx) const UINT32: i32 = 12;
}

/// What an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// A 32-bit float.
    Float,
    /// An integer of any width.
    Integer,
    /// True or false.
    Boolean,
}

impl Element {
    /// The element that stands for an ONNX type. A double is taken for a float.
    pub(super) fn of(number: i32) -> Result<Element, Reason> {
        Ok(match number {
            number::FLOAT | number::DOUBLE => Element::Float,
            number::UINT8
            | number::INT8
            | number::UINT16
            | number::INT16
            | number::INT32
            | number::INT64
            | number::UINT32 => Element::Integer,
            number::BOOL => Element::Boolean,
            _ => refuse!(
                "element type {} is not supported: export the model in float32",
                name(number)
            ),
        })
    }
}

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Element::Float => "float",
            Element::Integer => "integer",
            Element::Boolean => "boolean",
        })
    }
}

fn name(number: i32) -> String {
    let name = match number {
        number::FLOAT => "float32",
        number::DOUBLE => "float64",
        8 => "string",
        10 => "float16",
        13 => "uint64",
        14 => "complex64",
        15 => "complex128",
        16 => "bfloat16",
        _ => return format!("number {number}"),
    };
    name.to_string()
}

/// Elements, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Float(Arc<[f32]>),
    Integer(Arc<[i64]>),
    Boolean(Arc<[bool]>),
}

/// A tensor whose elements are known. Unlike a value of a graph it may be empty.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub(super) shape: Vec<usize>,
    pub(super) data: Data,
}

/// Axes of a known tensor: many more than one of a graph has, few enough to be looked at in pairs.
pub(super) const AXES: usize = 64;

/// The number of elements; `None` where distances between elements would not fit a word, even of
/// a tensor that has none.
pub(super) fn count(shape: &[usize]) -> Option<usize> {
    let reach = shape
        .iter()
        .try_fold(1isize, |n, &d| n.checked_mul(d.max(1).try_into().ok()?));
    reach.map(|reach| {
        if shape.contains(&0) {
            0
        } else {
            reach as usize
        }
    })
}

impl Tensor {
    pub(super) fn floats(shape: &[usize], data: Vec<f32>) -> Tensor {
        Tensor::new(shape, Data::Float(data.into()))
    }

    pub(super) fn integers(shape: &[usize], data: Vec<i64>) -> Tensor {
        Tensor::new(shape, Data::Integer(data.into()))
    }

    pub(super) fn booleans(shape: &[usize], data: Vec<bool>) -> Tensor {
        Tensor::new(shape, Data::Boolean(data.into()))
    }

    /// A list of integers, such as a shape.
    pub(super) fn list(data: &[usize]) -> Tensor {
        let shape = [data.len()];
        Tensor::integers(&shape, data.iter().map(|&d| d as i64).collect())
    }

    pub(super) fn new(shape: &[usize], data: Data) -> Tensor {
        let tensor = Tensor {
            shape: shape.to_vec(),
            data,
        };
        debug_assert_eq!(count(shape), Some(tensor.len()));
        tensor
    }

    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::Float(data) => data.len(),
            Data::Integer(data) => data.len(),
            Data::Boolean(data) => data.len(),
        }
    }

    pub(super) fn element(&self) -> Element {
        match &self.data {
            Data::Float(_) => Element::Float,
            Data::Integer(_) => Element::Integer,
            Data::Boolean(_) => Element::Boolean,
        }
    }

    /// The same elements in another shape of as many.
    pub(super) fn reshaped(&self, shape: &[usize]) -> Tensor {
        Tensor::new(shape, self.data.clone())
    }

    /// The elements at these positions, in another shape of as many.
    pub(super) fn picked(&self, shape: &[usize], from: impl Iterator<Item = usize>) -> Tensor {
        let data = match &self.data {
            Data::Float(data) => Data::Float(from.map(|k| data[k]).collect()),
            Data::Integer(data) => Data::Integer(from.map(|k| data[k]).collect()),
            Data::Boolean(data) => Data::Boolean(from.map(|k| data[k]).collect()),
        };
        Tensor::new(shape, data)
    }

    /// The tensor that a file holds, whose number of elements its bytes confirm before anything
    /// is allocated.
    pub(super) fn decode(proto: &TensorProto, folder: &Folder) -> Result<Tensor, Reason> {
        let element = Element::of(proto.data_type)?;
        if proto.dims.len() > AXES {
            refuse!("it has {} axes, more than {AXES}", proto.dims.len());
        }
        let shape = proto.dims.iter().map(|&d| usize::try_from(d).ok());
        let shape: Option<Vec<usize>> = shape.collect();
        let Some((shape, len)) = shape.and_then(|s| count(&s).map(|len| (s, len))) else {
            refuse!("dimensions {:?} are not those of a tensor", proto.dims);
        };
        if let Some(listed) = listed(proto, element) {
            if listed.len() != len {
                refuse!(
                    "it has {} elements, shape {shape:?} needs {len}",
                    listed.len()
                );
            }
            return Ok(listed.reshaped(&shape));
        }
        let external;
        let bytes = match proto.data_location {
            0 => &proto.raw_data,
            _ => {
                external = folder.external(&proto.external_data)?;
                &external
            }
        };
        let size = size(proto.data_type);
        if len.checked_mul(size) != Some(bytes.len()) {
            refuse!(
                "it has {} bytes of elements, shape {shape:?} needs {len} elements of {size} bytes",
                bytes.len()
            );
        }
        Ok(Tensor::new(&shape, raw(proto.data_type, bytes)?))
    }
}

/// The elements of a tensor that lists them as numbers; `None` when it has bytes instead.
fn listed(proto: &TensorProto, element: Element) -> Option<Tensor> {
    let ints = || proto.int32_data.iter();
    Some(match element {
        Element::Float if !proto.float_data.is_empty() => {
            Tensor::floats(&[proto.float_data.len()], proto.float_data.clone())
        }
        Element::Float if !proto.double_data.is_empty() => {
            let data = proto.double_data.iter().map(|&x| x as f32).collect();
            Tensor::floats(&[proto.double_data.len()], data)
        }
        Element::Integer if !proto.int64_data.is_empty() => {
            Tensor::integers(&[proto.int64_data.len()], proto.int64_data.clone())
        }
        Element::Integer if !proto.int32_data.is_empty() => {
            let data = ints().map(|&x| i64::from(x)).collect();
            Tensor::integers(&[proto.int32_data.len()], data)
        }
        Element::Boolean if !proto.int32_data.is_empty() => {
            let data = ints().map(|&x| x != 0).collect();
            Tensor::booleans(&[proto.int32_data.len()], data)
        }
        _ => return None,
    })
}

/// Bytes of an element.
fn size(number: i32) -> usize {
    match number {
        number::UINT8 | number::INT8 | number::BOOL => 1,
        number::UINT16 | number::INT16 => 2,
        number::INT64 | number::DOUBLE => 8,
        _ => 4,
    }
}

/// Elements from little-endian bytes.
fn raw(number: i32, bytes: &[u8]) -> Result<Data, Reason> {
    fn each<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
        let chunk = |c: &[u8]| c.try_into().expect("chunks have this length");
        bytes.chunks_exact(N).map(chunk)
    }
    Ok(match number {
        number::FLOAT => Data::Float(each(bytes).map(f32::from_le_bytes).collect()),
        number::DOUBLE => Data::Float(each(bytes).map(|c| f64::from_le_bytes(c) as f32).collect()),
        number::INT64 => Data::Integer(each(bytes).map(i64::from_le_bytes).collect()),
        number::INT32 => Data::Integer(each(bytes).map(|c| i32::from_le_bytes(c).into()).collect()),
        number::UINT32 => {
            Data::Integer(each(bytes).map(|c| u32::from_le_bytes(c).into()).collect())
        }
        number::INT16 => Data::Integer(each(bytes).map(|c| i16::from_le_bytes(c).into()).collect()),
        number::UINT16 => {
            Data::Integer(each(bytes).map(|c| u16::from_le_bytes(c).into()).collect())
        }
        number::INT8 => Data::Integer(bytes.iter().map(|&b| i64::from(b as i8)).collect()),
        number::UINT8 => Data::Integer(bytes.iter().map(|&b| i64::from(b)).collect()),
        number::BOOL => Data::Boolean(bytes.iter().map(|&b| b != 0).collect()),
        _ => refuse!("element type {} is not supported", name(number)),
    })
}

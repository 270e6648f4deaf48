//! A node as its operation sees it: inputs and attributes, with the errors of those that are
//! missing or of another type.

use super::{
    error::{refuse, Reason},
    operand::Operand,
    proto::{AttributeProto, NodeProto},
    tensor::{Data, Tensor, AXES},
};
use lockstep_protocol::program::limits;

/// A node and the operands that it reads.
pub(super) struct Call<'a> {
    pub(super) node: &'a NodeProto,
    /// Inputs; `None` where an optional one is absent.
    pub(super) inputs: Vec<Option<Operand>>,
}

impl<'a> Call<'a> {
    /// An input that the operation cannot do without.
    pub(super) fn input(&self, k: usize) -> Result<&Operand, Reason> {
        match self.optional(k) {
            Some(operand) => Ok(operand),
            None => refuse!("input {k} is missing"),
        }
    }

    /// An input that may be absent.
    pub(super) fn optional(&self, k: usize) -> Option<&Operand> {
        self.inputs.get(k).and_then(Option::as_ref)
    }

    /// All inputs, none of which may be absent.
    pub(super) fn all(&self) -> Result<Vec<Operand>, Reason> {
        if self.inputs.is_empty() {
            refuse!("it has no inputs");
        }
        let inputs = (0..self.inputs.len()).map(|k| self.input(k).cloned());
        inputs.collect()
    }

    /// An input whose elements decide the shape of the model.
    pub(super) fn known(&self, k: usize) -> Result<&Tensor, Reason> {
        match self.input(k)? {
            Operand::Known(tensor) => Ok(tensor),
            _ => refuse!(
                "input {k} must be known when the model is built, and it depends on data or weights"
            ),
        }
    }

    /// A known list of integers.
    pub(super) fn integers(&self, k: usize) -> Result<&[i64], Reason> {
        match &self.known(k)?.data {
            Data::Integer(data) if data.len() > limits::NODES as usize => {
                refuse!("input {k} is a list of {}, too many", data.len())
            }
            Data::Integer(data) => Ok(data),
            _ => refuse!("input {k} must be integers"),
        }
    }

    /// A known list of integers that may be absent.
    pub(super) fn optional_integers(&self, k: usize) -> Result<Option<&[i64]>, Reason> {
        match self.optional(k) {
            None => Ok(None),
            Some(_) => self.integers(k).map(Some),
        }
    }

    /// A list of integers that was an attribute in old versions and is input `k` in new ones.
    pub(super) fn attribute_or_input(
        &self,
        name: &str,
        k: usize,
    ) -> Result<Option<&[i64]>, Reason> {
        match self.ints(name) {
            Some(list) => Ok(Some(list)),
            None => self.optional_integers(k),
        }
    }

    /// One known float.
    pub(super) fn known_float(&self, k: usize) -> Result<f32, Reason> {
        match &self.known(k)?.data {
            Data::Float(data) if data.len() == 1 => Ok(data[0]),
            _ => refuse!("input {k} must be one float"),
        }
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    /// An integer attribute; exporters that follow proto3 leave zeros out.
    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name)
            .map_or(default, |a| a.i.unwrap_or_default())
    }

    /// A float attribute.
    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name)
            .map_or(default, |a| a.f.unwrap_or_default())
    }

    /// A list attribute.
    pub(super) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|a| &a.ints[..])
    }

    /// A list of numbers that are not negative and of which there are `len`.
    pub(super) fn sizes(
        &self,
        name: &str,
        len: usize,
        default: usize,
    ) -> Result<Vec<usize>, Reason> {
        let Some(list) = self.ints(name) else {
            return Ok(vec![default; len]);
        };
        // Beyond 32 bits products of sizes could overflow, and no tensor has such an axis.
        let sizes = list.iter().map(|&n| u32::try_from(n).map(|n| n as usize));
        match sizes.collect::<Result<Vec<usize>, _>>() {
            Ok(sizes) if sizes.len() == len => Ok(sizes),
            _ => refuse!("attribute {name} must be {len} sizes, not {list:?}"),
        }
    }

    /// A text attribute.
    pub(super) fn text(&self, name: &str, default: &'static str) -> String {
        match self.attribute(name).and_then(|a| a.s.as_ref()) {
            Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            None => default.to_string(),
        }
    }
}

/// The position of an axis that may be counted from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Reason> {
    let position = match axis < 0 {
        true => rank as i64 + axis.max(i64::MIN / 2),
        false => axis,
    };
    match usize::try_from(position) {
        Ok(position) if position < rank => Ok(position),
        _ => refuse!("there is no axis {axis} of {rank}"),
    }
}

/// The positions of different axes.
pub(super) fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, Reason> {
    if list.len() > AXES {
        refuse!("{} axes are named, more than {AXES}", list.len());
    }
    let mut positions = Vec::new();
    for &k in list {
        let position = axis(k, rank)?;
        if positions.contains(&position) {
            refuse!("axis {k} is named twice");
        }
        positions.push(position);
    }
    Ok(positions)
}

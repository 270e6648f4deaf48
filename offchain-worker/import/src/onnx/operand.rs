//! What nodes pass on: tensors that are known, values of the graph, and sequences of either.

use super::tensor::{Element, Tensor};
use lockstep_graph::Value;
use std::sync::Arc;

/// An input or output of a node.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// Elements that are known while the model is built.
    Known(Tensor),
    /// A value that every step computes.
    Live(Live),
    /// Several tensors, as operations that split make them.
    Sequence(Arc<[Operand]>),
}

/// A value of the graph and what its elements stand for. Booleans are `u32`, 0 or 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    pub(super) value: Value,
    pub(super) element: Element,
}

impl From<Tensor> for Operand {
    fn from(tensor: Tensor) -> Operand {
        Operand::Known(tensor)
    }
}

impl Operand {
    /// A value of floats.
    pub(super) fn float(value: Value) -> Operand {
        let element = Element::Float;
        Operand::Live(Live { value, element })
    }

    /// A value of zeros and ones.
    pub(super) fn boolean(value: Value) -> Operand {
        let element = Element::Boolean;
        Operand::Live(Live { value, element })
    }
}

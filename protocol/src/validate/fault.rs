//! Why a program is refused.

use crate::program::{limits, var};
use crate::task::SpecFault;
use crate::validate::{PROOF_BYTES, PROOF_TIME};
use core::fmt;

/// A program that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The node at fault; `None` when it is the program as a whole.
    pub node: Option<u32>,
    /// The reason.
    pub fault: Fault,
}

/// A part of a node that holds forms. Parts of a kind are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The access of an index word.
    Index(u8),
    /// The access of a read.
    Read(u8),
    /// The access of a fold's init.
    Init,
    /// A value.
    Value(u8),
    /// A guard.
    Guard(u8),
}

/// Where in a node something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The part.
    pub part: Part,
    /// The axis of an access; `None` for what lies outside its axes.
    pub axis: Option<u8>,
}

impl Part {
    /// The part itself.
    pub(super) fn whole(self) -> Place {
        Place {
            part: self,
            axis: None,
        }
    }

    /// One axis of an access.
    pub(super) fn axis(self, axis: u8) -> Place {
        Place {
            part: self,
            axis: Some(axis),
        }
    }
}

/// The reason why a node or a program is refused. Its text says what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// More nodes than a program may have.
    Nodes(u64),
    /// No slots, or more than half of the nodes.
    Slots(u32),
    /// One of the first nodes is not a state source.
    SlotWithoutState,
    /// A state source that is not one of the first nodes.
    StateBehindSlots,
    /// A next state of another type or size than its slot.
    NextState {
        /// The slot.
        slot: u32,
    },
    /// An access with another element type or length than the node that it reads.
    Operand {
        /// The access.
        part: Part,
        /// The node that it reads.
        node: u32,
    },
    /// A proof with more bytes than a call holds.
    ProofBytes(u64),
    /// A proof with more ref_time than a call is given.
    ProofTime(u64),
    /// The task's own numbers are out of bounds.
    Spec(SpecFault),
    /// Other numbers of nodes or slots than in the task.
    Counts,
    /// Another root than in the task.
    Root,
    /// A batch source that does not match the task's dataset of this number.
    Dataset(u8),
    /// The number of output dimensions.
    Dims(u64),
    /// An output dimension that is zero.
    Dim(u8),
    /// Too many elements.
    Elements,
    /// The number of reduction dimensions.
    RedDims(u64),
    /// A reduction dimension that is zero.
    RedDim(u8),
    /// Too long a reduction.
    Reduction,
    /// A field or a record that is not aligned to the element size.
    Alignment,
    /// A field that does not fit its record.
    Record,
    /// Too many index words.
    Index(u64),
    /// Too many accesses.
    Reads(u64),
    /// Too many guards.
    Guards(u64),
    /// No register, or too many.
    Registers(u64),
    /// Too long an encoding.
    Encoding(u64),
    /// An index word of floats.
    FloatIndex(u8),
    /// An operation on its own or a later register.
    Register {
        /// The operation, counted from 0.
        op: u8,
        /// The operand.
        reg: u8,
    },
    /// A guard that nothing passes.
    EmptyGuard(u8),
    /// An access to a node that is not earlier.
    Later {
        /// The access.
        part: Part,
        /// The node that it reads.
        node: u32,
    },
    /// An access to a tensor with no elements or too many.
    Len(Part),
    /// Too many axes.
    Axes {
        /// The access.
        part: Part,
        /// Their number.
        count: u64,
    },
    /// An axis of extent zero.
    EmptyAxis(Place),
    /// An element that does not exist.
    Offset {
        /// The axis that leaves the tensor.
        place: Place,
        /// The offset it can reach, in elements.
        reach: i128,
        /// Elements of the tensor.
        len: u64,
        /// The node that is read.
        node: u32,
    },
    /// Terms that are not in strictly ascending order.
    Order(Place),
    /// A variable that has no value here.
    Scope {
        /// The form.
        place: Place,
        /// The variable's number.
        var: u8,
    },
    /// A coefficient that is zero.
    Coefficient {
        /// The form.
        place: Place,
        /// The variable's number.
        var: u8,
    },
    /// A form that can become too large.
    Magnitude(Place),
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node {
            Some(node) => write!(f, "node {node}: {}", self.fault),
            None => self.fault.fmt(f),
        }
    }
}

impl core::error::Error for Invalid {}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Index(k) => write!(f, "index {k}"),
            Part::Read(k) => write!(f, "read {k}"),
            Part::Init => f.write_str("init"),
            Part::Value(k) => write!(f, "value {k}"),
            Part::Guard(k) => write!(f, "guard {k}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.part.fmt(f)?;
        match self.axis {
            Some(axis) => write!(f, ", axis {axis}"),
            None => Ok(()),
        }
    }
}

/// A variable by the name under which people know it.
struct Variable(u8);

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            v if v >= var::END => write!(f, "variable {v}"),
            v if v >= var::INDEX => write!(f, "index word {}", v - var::INDEX),
            v if v >= var::RED => write!(f, "reduction coordinate {}", v - var::RED),
            v => write!(f, "output coordinate {v}"),
        }
    }
}

impl core::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Fault::Nodes(n) => write!(f, "{n} nodes, at most {} are allowed", limits::NODES),
            Fault::Slots(n) => {
                write!(f, "{n} slots, at least 1 and two nodes for each are needed")
            }
            Fault::SlotWithoutState => {
                f.write_str("the first nodes must be the state sources, one for each slot")
            }
            Fault::StateBehindSlots => f.write_str("a state source without a slot"),
            Fault::NextState { slot } => write!(
                f,
                "the next state must have the element type and number of elements of slot {slot}"
            ),
            Fault::Operand { part, node } => write!(
                f,
                "{part}: the element type or length is not that of node {node}"
            ),
            Fault::ProofBytes(n) => {
                write!(f, "a proof takes {n} bytes, a call holds {PROOF_BYTES}")
            }
            Fault::ProofTime(n) => write!(
                f,
                "a proof takes {n} ps of ref_time, a call has {PROOF_TIME}"
            ),
            Fault::Spec(fault) => fault.fmt(f),
            Fault::Counts => {
                f.write_str("the number of nodes or slots is not the one that the task states")
            }
            Fault::Root => f.write_str("the root is not the one that the task states"),
            Fault::Dataset(n) => write!(
                f,
                "the batch or record size is not that of the task's dataset {n}"
            ),
            Fault::Dims(n) => write!(f, "{n} dimensions, 1 to {} are allowed", limits::DIMS),
            Fault::Dim(k) => write!(f, "dimension {k} is 0, must be at least 1"),
            Fault::Elements => write!(f, "more than {} elements", limits::ELEMENTS),
            Fault::RedDims(n) => write!(
                f,
                "{n} reduction dimensions, 1 to {} are allowed",
                limits::RED_DIMS
            ),
            Fault::RedDim(k) => write!(f, "reduction dimension {k} is 0, must be at least 1"),
            Fault::Reduction => write!(f, "a reduction of more than {} steps", limits::REDUCTION),
            Fault::Alignment => {
                f.write_str("offset and record size must be multiples of the element size")
            }
            Fault::Record => f.write_str("the field reaches beyond the end of the record"),
            Fault::Index(n) => {
                write!(f, "{n} index words, at most {} are allowed", limits::INDEX)
            }
            Fault::Reads(n) => write!(
                f,
                "{n} index words, reads and reading inits, at most {} are allowed",
                limits::READS
            ),
            Fault::Guards(n) => write!(f, "{n} guards, at most {} are allowed", limits::GUARDS),
            Fault::Registers(n) => {
                write!(f, "{n} registers, 1 to {} are allowed", limits::REGISTERS)
            }
            Fault::Encoding(n) => write!(
                f,
                "an encoding of {n} bytes, at most {} are allowed",
                limits::NODE_BYTES
            ),
            Fault::FloatIndex(k) => write!(f, "index {k}: a float cannot be an index word"),
            Fault::Register { op, reg } => write!(
                f,
                "operation {op}: register {reg} has no value yet, operands must be earlier"
            ),
            Fault::EmptyGuard(k) => write!(f, "guard {k}: lo must be less than hi"),
            Fault::Later { part, node } => {
                write!(
                    f,
                    "{part}: node {node} is not earlier than the reading node"
                )
            }
            Fault::Len(part) => write!(f, "{part}: the length must be 1 to {}", limits::ELEMENTS),
            Fault::Axes { part, count } => {
                write!(
                    f,
                    "{part}: {count} axes, at most {} are allowed",
                    limits::AXES
                )
            }
            Fault::EmptyAxis(place) => write!(f, "{place}: the extent is 0, must be at least 1"),
            Fault::Offset {
                place,
                reach,
                len,
                node,
            } => write!(
                f,
                "{place}: the offset can reach {reach}, beyond the {len} elements of node {node}"
            ),
            Fault::Order(place) => {
                write!(
                    f,
                    "{place}: terms must be in strictly ascending order of variable"
                )
            }
            Fault::Scope { place, var } => {
                write!(f, "{place}: {} has no value here", Variable(var))
            }
            Fault::Coefficient { place, var } => {
                write!(f, "{place}: the coefficient of {} is 0", Variable(var))
            }
            Fault::Magnitude(place) => write!(f, "{place}: the form can exceed 2^62"),
        }
    }
}

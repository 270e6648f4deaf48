//! A program together with what it needs to start.

use lockstep_protocol::{
    program::{Dtype, Node, Program, Source},
    Hash,
};
use std::collections::BTreeMap;

/// What a state tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A weight of the model.
    Parameter,
    /// What an optimizer remembers of a parameter.
    Moment,
    /// What a model keeps besides its weights, such as running statistics.
    Buffer,
    /// A measurement.
    Metric,
    /// What whoever runs a forward pass puts in.
    Input,
    /// What a forward pass gives back.
    Output,
}

/// A state tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its name, unique among the slots.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions; none for a scalar.
    pub shape: Vec<usize>,
    /// Its bytes before the first step.
    pub genesis: Vec<u8>,
    /// What it is for.
    pub kind: Kind,
}

/// A valid program, its state, and its constants.
#[derive(Clone, Debug)]
pub struct Built {
    /// The program.
    pub program: Program,
    /// The state tensors, in slot order.
    pub slots: Vec<Slot>,
    /// The bytes of the program's constants, by their BLAKE3 hash.
    pub constants: BTreeMap<Hash, Vec<u8>>,
    /// Records of a step.
    pub batch: u32,
}

/// A state that cannot be adopted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state has no tensor {name:?} of {bytes} bytes: it belongs to another model")]
pub struct Foreign {
    /// The tensor that is missing.
    pub name: String,
    /// How long it should be.
    pub bytes: usize,
}

impl Built {
    /// The bytes of every slot before the first step, in slot order.
    pub fn genesis(&self) -> Vec<Vec<u8>> {
        self.slots.iter().map(|slot| slot.genesis.clone()).collect()
    }

    /// The initial state of this program with the parameters and buffers of another's state: what evaluates a
    /// trained model, or trains it further.
    ///
    /// # Errors
    /// When the other program has no such parameter or buffer.
    pub fn adopt(&self, slots: &[Slot], state: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Foreign> {
        let find = |slot: &Slot| {
            let mut pairs = slots.iter().zip(state);
            let same = |(s, bytes): &(&Slot, &Vec<u8>)| {
                s.name == slot.name && bytes.len() == slot.genesis.len()
            };
            pairs.find(same).map(|(_, bytes)| bytes.clone())
        };
        let adopted = |slot: &Slot| match slot.kind {
            Kind::Parameter | Kind::Buffer => find(slot).ok_or_else(|| Foreign {
                name: slot.name.clone(),
                bytes: slot.genesis.len(),
            }),
            Kind::Moment | Kind::Metric | Kind::Input | Kind::Output => Ok(slot.genesis.clone()),
        };
        self.slots.iter().map(adopted).collect()
    }

    /// The position of a slot by its name.
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.slots.iter().position(|slot| slot.name == name)
    }
}

/// The constants that a program names.
pub(crate) fn named_constants(
    program: &Program,
    all: &BTreeMap<Hash, Vec<u8>>,
) -> BTreeMap<Hash, Vec<u8>> {
    let hashes = program.nodes.iter().filter_map(|node| match node {
        Node::Source(Source::Constant { hash, .. }) => Some(*hash),
        _ => None,
    });
    hashes.map(|hash| (hash, all[&hash].clone())).collect()
}

//! How many messages and list entries a file would decode to, counted before anything is allocated.
//!
//! An empty node takes 2 bytes in a file and a hundred times as much in memory, so the size of a
//! file does not bound what decoding it needs.

use super::error::{refuse, Reason};

/// Messages and names in a file: more than any model has that fits the limits of a program.
const ENTRIES: usize = 1 << 18;

/// A message type, by what its length-delimited fields are.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Value,
    Type,
    TensorType,
    Shape,
    Leaf,
}

impl Kind {
    /// What a length-delimited field holds; `None` when it is one block of bytes.
    fn field(self, tag: u64) -> Option<Kind> {
        Some(match (self, tag) {
            (Kind::Model, 7) => Kind::Graph,
            (Kind::Model, 8) => Kind::Leaf,
            (Kind::Graph, 1) => Kind::Node,
            (Kind::Graph, 5) => Kind::Tensor,
            (Kind::Graph, 11 | 12) => Kind::Value,
            (Kind::Graph, 15 | 16) => Kind::Leaf,
            (Kind::Node, 1 | 2) => Kind::Leaf,
            (Kind::Node, 5) => Kind::Attribute,
            (Kind::Attribute, 5) => Kind::Tensor,
            (Kind::Tensor, 13) => Kind::Leaf,
            (Kind::Value, 2) => Kind::Type,
            (Kind::Type, 1) => Kind::TensorType,
            (Kind::TensorType, 2) => Kind::Shape,
            (Kind::Shape, 1) => Kind::Leaf,
            _ => return None,
        })
    }
}

/// Refuses bytes that are not of the wire format or would decode to too many entries.
pub(super) fn check(bytes: &[u8]) -> Result<(), Reason> {
    let mut entries = 0;
    walk(bytes, Kind::Model, &mut entries)
}

fn walk(mut bytes: &[u8], kind: Kind, entries: &mut usize) -> Result<(), Reason> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let skip = match key & 7 {
            0 => {
                varint(&mut bytes)?;
                0
            }
            1 => 8,
            2 => varint(&mut bytes)?,
            5 => 4,
            wire => refuse!("a field of wire type {wire}, which nothing writes"),
        };
        let Some((field, rest)) = usize::try_from(skip)
            .ok()
            .and_then(|skip| bytes.split_at_checked(skip))
        else {
            refuse!("it ends in the middle of a field: it is cut off or damaged");
        };
        bytes = rest;
        if let (2, Some(inner)) = (key & 7, kind.field(key >> 3)) {
            *entries += 1;
            if *entries > ENTRIES {
                refuse!("it has more than {ENTRIES} nodes, names and tensors");
            }
            if !matches!(inner, Kind::Leaf) {
                walk(field, inner, entries)?;
            }
        }
    }
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Reason> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let Some((&byte, rest)) = bytes.split_first() else {
            refuse!("it ends in the middle of a number: it is cut off or damaged");
        };
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    refuse!("a number of more than 64 bits")
}

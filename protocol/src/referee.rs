//! The referee: one scalar step of any node, computed from openings alone.

use crate::program::{Access, Node, Source};
use crate::step::{self, Reads};
use crate::task::{Dataset, TaskSpec};
use crate::tree::{self, Opening};
use crate::{permutation, Hash};
use alloc::vec::Vec;
use scale::{Decode, Encode};
use scale_info::TypeInfo;

/// One operand: the hash of the tensor that holds it, and its place in that tensor.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Operand {
    /// Opens the read node's hash in the node trace.
    pub tensor: Opening,
    /// Opens the element in that node's tensor.
    pub element: Opening,
}

/// Why a step could not be computed from what was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Unproven {
    /// Operand number `.0` is needed and was not submitted.
    Absent(u8),
    /// Operand number `.0` does not open to its tensor or its element.
    Opening(u8),
    /// The record's opening or the list of datasets is wrong.
    Record,
}

/// Operands as openings below a node trace.
pub struct Opened<'a> {
    /// BLAKE3 of the node trace.
    pub trace: &'a Hash,
    /// Nodes of the program.
    pub nodes: u32,
    /// One place for each access of the node, in its order; `None` where the step does not read.
    pub operands: &'a [Option<Operand>],
}

impl Reads for Opened<'_> {
    type Error = Unproven;

    fn load(&mut self, slot: usize, access: &Access, offset: u64) -> Result<u32, Unproven> {
        let operand = self
            .operands
            .get(slot)
            .and_then(Option::as_ref)
            .ok_or(Unproven::Absent(slot as u8))?;
        let wrong = Unproven::Opening(slot as u8);
        let tensor =
            open_entry(self.nodes, self.trace, &operand.tensor, access.node).ok_or(wrong)?;
        let size = access.dtype.size();
        let bytes = tree::open(
            access.len * size,
            &tensor,
            &operand.element,
            offset * size,
            size,
        )
        .ok_or(wrong)?;
        Ok(access.dtype.load(bytes))
    }
}

/// Entry `index` of a file of `count` hashes.
pub fn open_entry(count: u32, root: &Hash, opening: &Opening, index: u32) -> Option<Hash> {
    tree::open(count as u64 * 32, root, opening, index as u64 * 32, 32)?
        .try_into()
        .ok()
}

/// The stored bits of `element` of a map, or of `element` after step `r` of a fold that had
/// `before` as stored accumulator (`None` before the first step).
///
/// # Errors
/// When an operand does not open.
///
/// # Panics
/// On a source, which computes nothing.
pub fn compute(
    node: &Node,
    element: u64,
    r: u64,
    before: Option<u32>,
    reads: &mut Opened<'_>,
) -> Result<u32, Unproven> {
    match node {
        Node::Map(body) => step::map(body, element, reads),
        Node::Fold(fold) => {
            let acc = match before {
                Some(acc) => acc,
                None => step::fold_init(fold, element, reads)?,
            };
            step::fold_step(fold, element, r, acc, reads)
        }
        Node::Source(_) => panic!("a source computes nothing"),
    }
}

/// Where an element of a batch lies: the dataset's number, and the first byte in its file.
/// `None` when the node does not agree with the task, which makes it malformed.
pub fn batch_element(
    source: &Source,
    element: u64,
    step: u32,
    batch: u32,
    seed: u64,
    datasets: &[Dataset],
) -> Option<(usize, u64)> {
    let Source::Batch {
        dataset,
        batch: rows,
        record_size,
        offset,
        fields,
        dtype,
    } = source
    else {
        return None;
    };
    let file = datasets.get(*dataset as usize)?;
    if *rows != batch || *record_size != file.record_size {
        return None;
    }
    let row = (element / *fields as u64) as u32;
    let column = element % *fields as u64;
    let record = permutation::record(seed, step, batch, row, file.records);
    let start = record * *record_size as u64 + *offset as u64 + column * dtype.size();
    Some((*dataset as usize, start))
}

/// The part of a task that disputes need to look up datasets, as one hash.
pub fn datasets_hash(spec: &TaskSpec) -> Hash {
    list_hash(&spec.datasets)
}

/// BLAKE3 of an encoded list of datasets.
pub fn list_hash(datasets: &Vec<Dataset>) -> Hash {
    *blake3::hash(&datasets.encode()).as_bytes()
}

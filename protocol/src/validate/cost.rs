//! What it costs at most to prove one step of a node on chain.
//!
//! The proof of a step holds the node's encoding and, for everything the step reads, the hash of
//! the tensor opened in the node trace and the element opened in the tensor; a step of a fold also
//! opens the accumulator before it. The times are upper bounds in picoseconds of ref_time, from runs of
//! BLAKE3 in pallet-contracts' sandbox and generous guesses for the rest.

use crate::program::{Node, Source};
use crate::task;
use crate::tree;
use scale::Encode;

/// Bytes that a proof may take, well inside the static buffer that holds the input of a call.
pub const PROOF_BYTES: u64 = 48 << 10;

/// Ref_time in picoseconds that a proof may take, with the call that carries it: 2% of a block's
/// 2 s.
pub const PROOF_TIME: u64 = 40_000_000_000;

/// Bytes of the numbers that name a dispute and a position in it, and of list prefixes.
const FRAME: u64 = 64;
/// A call that ends a game, which is settled through escrow and stake.
const CALL: u64 = 10_000_000_000;
/// Hashing a chunk of 1 KiB.
const CHUNK: u64 = 120_000_000;
/// Hashing two values of a tree into one.
const MERGE: u64 = 12_000_000;
/// An operation; the float ones are emulated with integers.
const OP: u64 = 8_000_000;
/// Finding the record of a row in the permutation of its epoch.
const PERMUTATION: u64 = 2_000_000_000;
/// Decoding, validating and evaluating one byte of a node's encoding.
const ENCODED: u64 = 2_000_000;

/// An upper bound for the proof of any one step of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// SCALE-encoded bytes.
    pub bytes: u64,
    /// Picoseconds of ref_time.
    pub time: u64,
}

impl Cost {
    fn add(&mut self, bytes: u64, time: u64) {
        self.bytes += bytes;
        self.time += time;
    }

    /// Adds an opening of a file of `len` bytes.
    fn open(&mut self, len: u64) {
        let time = CHUNK + MERGE * tree::depth(len) as u64;
        self.add(tree::opening_bytes(len), time);
    }
}

/// The cost of proving a step of `node`, a valid node of a program of `nodes` nodes.
pub fn cost(node: &Node, nodes: u32) -> Cost {
    // The node trace and the program file have the same length.
    let trace = nodes as u64 * 32;
    let encoding = node.encoded_size() as u64;
    let mut cost = Cost {
        bytes: FRAME + encoding,
        time: CALL + encoding * ENCODED + tree::chunks(encoding) * CHUNK,
    };
    cost.open(trace);
    for access in node.accesses() {
        cost.open(trace);
        cost.open(access.len * access.dtype.size());
        // An operand that the step does not read is absent; one that it reads is marked.
        cost.add(1, 0);
    }
    match node {
        Node::Source(Source::Batch { .. }) => {
            cost.open(task::MAX_DATASET_BYTES);
            cost.add(0, PERMUTATION);
        }
        Node::Source(_) => cost.open(node.bytes()),
        Node::Map(body) => cost.add(0, body.ops.len() as u64 * OP),
        Node::Fold(fold) => {
            cost.open(node.reduction() * fold.body.dtype.size());
            cost.add(0, fold.body.ops.len() as u64 * OP);
        }
    }
    cost
}

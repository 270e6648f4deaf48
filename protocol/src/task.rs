//! What a submitter asks for, in numbers and hashes.

use crate::Hash;
use alloc::vec::Vec;
use core::fmt;
use scale::{Decode, Encode};
use scale_info::TypeInfo;

/// A file of fixed-size records.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Dataset {
    /// BLAKE3 of the whole file.
    pub root: Hash,
    /// Number of records, at least 1.
    pub records: u64,
    /// Bytes of a record, at least 1.
    pub record_size: u32,
}

impl Dataset {
    /// Bytes of the file. The spec check excludes overflow.
    pub fn bytes(&self) -> u64 {
        self.records * self.record_size as u64
    }
}

/// A training task: everything that determines its result.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct TaskSpec {
    /// BLAKE3 of the program file.
    pub program: Hash,
    /// Nodes of the program.
    pub nodes: u32,
    /// State slots of the program (P).
    pub slots: u32,
    /// BLAKE3 of the initial state file.
    pub genesis: Hash,
    /// The datasets that batches are read from.
    pub datasets: Vec<Dataset>,
    /// Records of a step.
    pub batch: u32,
    /// Steps of the whole task.
    pub steps: u32,
    /// Steps between checkpoints.
    pub segment: u32,
    /// Seed of data order and randomness.
    pub seed: u64,
}

/// Datasets of one task.
pub const MAX_DATASETS: usize = 4;
/// Records of one dataset.
pub const MAX_RECORDS: u64 = 1 << 40;
/// Bytes of one dataset.
pub const MAX_DATASET_BYTES: u64 = 1 << 48;

/// Why a [`TaskSpec`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum SpecFault {
    /// The number of slots is zero or the program too short for them.
    Slots,
    /// More nodes than a program may have.
    Nodes,
    /// Batch, steps or segment is zero, or a segment is longer than the task.
    Counts,
    /// Too many datasets, an empty one, or one whose size overflows.
    Datasets,
}

impl fmt::Display for SpecFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SpecFault::Slots => "a program needs at least one slot and two nodes for each",
            SpecFault::Nodes => "a program has at most 16384 nodes",
            SpecFault::Counts => {
                "batch, steps and segment are at least 1, and a segment is no longer than the task"
            }
            SpecFault::Datasets => {
                "at most 4 datasets, each with at least one record of at least one byte, at most \
                 2^40 records and 2^48 bytes"
            }
        })
    }
}

impl core::error::Error for SpecFault {}

impl TaskSpec {
    /// Checks every number against the format's bounds.
    ///
    /// # Errors
    /// The first bound that does not hold.
    pub fn check(&self) -> Result<(), SpecFault> {
        if self.nodes > crate::program::limits::NODES {
            return Err(SpecFault::Nodes);
        }
        if self.slots == 0 || self.slots > self.nodes / 2 {
            return Err(SpecFault::Slots);
        }
        if self.batch == 0 || self.steps == 0 || self.segment == 0 || self.segment > self.steps {
            return Err(SpecFault::Counts);
        }
        let fits = |d: &Dataset| {
            (1..=MAX_RECORDS).contains(&d.records)
                && d.record_size > 0
                && d.records.saturating_mul(d.record_size as u64) <= MAX_DATASET_BYTES
        };
        if self.datasets.len() > MAX_DATASETS || !self.datasets.iter().all(fits) {
            return Err(SpecFault::Datasets);
        }
        Ok(())
    }

    /// Checkpoints of the task.
    pub fn segments(&self) -> u32 {
        self.steps.div_ceil(self.segment)
    }

    /// First step of a segment, counted over the task.
    pub fn first_step(&self, segment: u32) -> u32 {
        segment * self.segment
    }

    /// Steps of a segment; the last one may be shorter.
    pub fn segment_steps(&self, segment: u32) -> u32 {
        self.segment.min(self.steps - self.first_step(segment))
    }

    /// BLAKE3 of the encoding.
    pub fn hash(&self) -> Hash {
        *blake3::hash(&self.encode()).as_bytes()
    }
}

/// A solver's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Commitment {
    /// BLAKE3 of the checkpoint trace: the state hashes at segment ends.
    pub trace: Hash,
    /// BLAKE3 of the final state file, the last entry of the trace.
    pub state: Hash,
}

//! Which records the step reads.
//!
//! The protocol's permutation looks a record up in 64 rounds, each of which draws random bits. The
//! bits do not depend on the round, so within an epoch they are drawn once for every record and
//! kept in a table, which makes a look-up seven times as fast.

use lockstep_protocol::eval::Inputs;
use lockstep_protocol::permutation::{Permutation, ROUNDS};
use lockstep_protocol::philox::{domain, stream};
use lockstep_protocol::program::{Node, Program, Source};

/// Most records for which a table is made: 8 MiB of it.
const TABLE: u64 = 1 << 20;

/// The records of the current step, for every dataset.
pub struct Batches {
    seed: u64,
    batches: Vec<Batch>,
}

struct Batch {
    dataset: u8,
    size: u32,
    records: u64,
    epoch: Option<Epoch>,
    step: Option<u32>,
    rows: Vec<u64>,
}

struct Epoch {
    number: u64,
    shuffle: Shuffle,
}

/// How an epoch's records are looked up.
enum Shuffle {
    /// One by one, where there are too many for a table.
    Plain(Permutation),
    /// The same permutation from a table.
    Table {
        round_keys: [u64; ROUNDS],
        /// For each record, whether the pairs of which it is the greater member swap, a bit for
        /// each round.
        swaps: Vec<u64>,
    },
}

impl Batches {
    /// The batches that `program` reads from checked inputs.
    pub fn new(program: &Program, inputs: &Inputs) -> Batches {
        let mut batches: Vec<Batch> = Vec::new();
        for node in &program.nodes {
            let Node::Source(Source::Batch {
                dataset,
                batch,
                record_size,
                ..
            }) = node
            else {
                continue;
            };
            let file = (*inputs.datasets[*dataset as usize]).as_ref();
            let known = |known: &Batch| (known.dataset, known.size) == (*dataset, *batch);
            if !batches.iter().any(known) {
                batches.push(Batch {
                    dataset: *dataset,
                    size: *batch,
                    records: (file.len() / *record_size as usize) as u64,
                    epoch: None,
                    step: None,
                    rows: Vec::new(),
                });
            }
        }
        Batches {
            seed: inputs.seed,
            batches,
        }
    }

    /// Looks up the records of a step.
    pub fn look_up(&mut self, step: u32) {
        for batch in &mut self.batches {
            if batch.step != Some(step) {
                batch.look_up(self.seed, step);
            }
        }
    }

    /// Writes what a source gives in the step that was looked up last: a batch, the step's number
    /// or the seed. State and constants are no matter of the step.
    pub fn write(&self, source: &Source, inputs: &Inputs, step: u32, out: &mut [u8]) {
        match source {
            Source::State { .. } | Source::Constant { .. } => {}
            Source::Step => out.copy_from_slice(&step.to_le_bytes()),
            Source::Seed => out.copy_from_slice(&inputs.seed.to_le_bytes()),
            Source::Batch {
                dataset,
                batch,
                record_size,
                offset,
                fields,
                dtype,
            } => {
                let file = (*inputs.datasets[*dataset as usize]).as_ref();
                let take = *fields as usize * dtype.size() as usize;
                let rows = self.rows(*dataset, *batch);
                for (record, out) in rows.iter().zip(out.chunks_exact_mut(take)) {
                    let start = *record as usize * *record_size as usize + *offset as usize;
                    out.copy_from_slice(&file[start..start + take]);
                }
            }
        }
    }

    /// The records of the step that was looked up last, in the order of the rows.
    fn rows(&self, dataset: u8, size: u32) -> &[u64] {
        let this = |batch: &&Batch| (batch.dataset, batch.size) == (dataset, size);
        let batch = self.batches.iter().find(this);
        batch.map(|batch| batch.rows.as_slice()).unwrap_or_default()
    }
}

impl Batch {
    fn look_up(&mut self, seed: u64, step: u32) {
        self.step = Some(step);
        self.rows.clear();
        for row in 0..self.size as u64 {
            let position = step as u64 * self.size as u64 + row;
            let (number, index) = (position / self.records, position % self.records);
            let epoch = match self.epoch.take() {
                Some(epoch) if epoch.number == number => epoch,
                _ => Epoch::new(seed, number, self.records),
            };
            self.rows.push(epoch.record(index));
            self.epoch = Some(epoch);
        }
    }
}

impl Epoch {
    fn new(seed: u64, number: u64, records: u64) -> Epoch {
        let shuffle = match records <= TABLE {
            true => Shuffle::table(seed, number, records),
            false => Shuffle::Plain(Permutation::new(seed, number, records)),
        };
        Epoch { number, shuffle }
    }

    fn record(&self, index: u64) -> u64 {
        match &self.shuffle {
            Shuffle::Plain(permutation) => permutation.at(index),
            Shuffle::Table { round_keys, swaps } => {
                let records = swaps.len() as u64;
                (0..).zip(round_keys).fold(index, |x, (round, key)| {
                    let partner = match x <= *key {
                        true => key - x,
                        false => key + records - x,
                    };
                    match swaps[x.max(partner) as usize] >> round & 1 {
                        0 => x,
                        _ => partner,
                    }
                })
            }
        }
    }
}

impl Shuffle {
    fn table(seed: u64, epoch: u64, records: u64) -> Shuffle {
        let key = bits(seed, domain::EPOCH, epoch)[0];
        let round_keys = std::array::from_fn(|round| {
            let bits = bits(key, domain::ROUND_KEY, round as u64 / 2)[round % 2];
            ((bits as u128 * records as u128) >> 64) as u64
        });
        let swaps = (0..records)
            .map(|x| bits(key, domain::SWAP, x)[0])
            .collect();
        Shuffle::Table { round_keys, swaps }
    }
}

/// The random bits at an index of a stream, as two integers.
fn bits(seed: u64, domain: u32, index: u64) -> [u64; 2] {
    let [a, b, c, d] = stream(seed, domain, index).map(u64::from);
    [a | b << 32, c | d << 32]
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_protocol::permutation;

    #[test]
    fn rows_are_the_protocols_within_and_across_epochs() {
        for (records, size) in [(1, 3), (10, 4), (7, 20), (1797, 64), (TABLE + 1, 5)] {
            let mut batch = Batch {
                dataset: 0,
                size,
                records,
                epoch: None,
                step: None,
                rows: Vec::new(),
            };
            for step in [0, 1, 2, 9, 3, u32::MAX] {
                batch.look_up(77, step);
                for (row, record) in (0..).zip(&batch.rows) {
                    let want = permutation::record(77, step, size, row, records);
                    assert_eq!(*record, want, "{records} {size} {step} {row}");
                }
            }
        }
    }
}

//! Which records a step reads: a keyed permutation of all records, a new one in every epoch.
//!
//! The permutation is a swap-or-not shuffle (V. T. Hoang, B. Morris, P. Rogaway: An enciphering
//! scheme based on a card shuffle, CRYPTO 2012) with Philox as its round function. It moves one
//! record at a time, so a contract can follow it without building a table.

use crate::philox::{domain, stream};

/// Rounds of the shuffle.
pub const ROUNDS: usize = 64;

/// Greatest number of records of a dataset.
pub const MAX_RECORDS: u64 = 1 << 40;

/// The record in row `row` of the batch of step `step`.
///
/// Rows of all steps are numbered in one sequence, `step * batch + row`; every run of `records`
/// rows is an epoch and reads each record once. A batch may straddle epochs.
///
/// # Panics
/// When `records` is 0.
pub fn record(seed: u64, step: u32, batch: u32, row: u32, records: u64) -> u64 {
    let position = step as u64 * batch as u64 + row as u64;
    Permutation::new(seed, position / records, records).at(position % records)
}

/// The permutation of one epoch. Keep it to look up many rows.
#[derive(Clone, Debug)]
pub struct Permutation {
    records: u64,
    key: u64,
    round_keys: [u64; ROUNDS],
}

impl Permutation {
    /// The permutation of `0..records` in epoch `epoch`.
    ///
    /// The epoch's key is the first two words of the seed's stream [`domain::EPOCH`] at `epoch`.
    /// Under it, 64 random bits of the stream [`domain::ROUND_KEY`] give each round's key in
    /// `0..records`: words 0 and 1 at index i for round 2i, words 2 and 3 for round 2i + 1.
    pub fn new(seed: u64, epoch: u64, records: u64) -> Permutation {
        let key = halves(stream(seed, domain::EPOCH, epoch))[0];
        let mut round_keys = [0; ROUNDS];
        for (pair, i) in round_keys.chunks_exact_mut(2).zip(0..) {
            for (round_key, bits) in pair
                .iter_mut()
                .zip(halves(stream(key, domain::ROUND_KEY, i)))
            {
                *round_key = ((bits as u128 * records as u128) >> 64) as u64;
            }
        }
        Permutation {
            records,
            key,
            round_keys,
        }
    }

    /// The record at `index` of the epoch, `index` below the number of records.
    ///
    /// Round r pairs x with `round_key - x` modulo the number of records. Whether the pair swaps
    /// is bit r of the first 64 bits of the stream [`domain::SWAP`] at the greater of the two.
    pub fn at(&self, index: u64) -> u64 {
        let mut x = index;
        for (&round_key, round) in self.round_keys.iter().zip(0..) {
            let partner = if x <= round_key {
                round_key - x
            } else {
                round_key + self.records - x
            };
            let bits = halves(stream(self.key, domain::SWAP, x.max(partner)))[0];
            if (bits >> round) & 1 == 1 {
                x = partner;
            }
        }
        x
    }
}

/// Four words as two 64-bit integers, low words first.
fn halves(words: [u32; 4]) -> [u64; 2] {
    let [a, b, c, d] = words.map(u64::from);
    [a | b << 32, c | d << 32]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    fn epoch(seed: u64, epoch: u64, records: u64) -> Vec<u64> {
        let permutation = Permutation::new(seed, epoch, records);
        (0..records).map(|i| permutation.at(i)).collect()
    }

    #[test]
    fn every_size_is_permuted() {
        for records in (1..=130).chain([255, 256, 257, 1000, 1797, 4096, 10_007]) {
            for seed in [0, 1, u64::MAX] {
                let mut seen = vec![false; records as usize];
                for record in epoch(seed, 3, records) {
                    assert!(!core::mem::replace(&mut seen[record as usize], true));
                }
            }
        }
    }

    #[test]
    fn the_largest_dataset_stays_in_range_and_without_repetition() {
        for records in [MAX_RECORDS, MAX_RECORDS - 1] {
            let permutation = Permutation::new(9, u64::MAX, records);
            let mut seen: Vec<u64> = (0..500)
                .chain(records - 500..records)
                .map(|i| permutation.at(i))
                .collect();
            assert!(seen.iter().all(|&r| r < records));
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 1000);
        }
    }

    #[test]
    fn epochs_and_seeds_differ() {
        assert_ne!(epoch(1, 0, 1797), epoch(1, 1, 1797));
        assert_ne!(epoch(1, 0, 1797), epoch(2, 0, 1797));
    }

    #[test]
    fn a_batch_that_straddles_epochs_ends_one_and_begins_the_next() {
        let (seed, records, batch) = (5, 10, 4);
        let read: Vec<u64> = (0..5)
            .flat_map(|step| (0..batch).map(move |row| record(seed, step, batch, row, records)))
            .collect();
        assert_eq!(read[..10], epoch(seed, 0, records));
        assert_eq!(read[10..], epoch(seed, 1, records));
    }

    #[test]
    fn the_last_position_of_the_longest_task_is_defined() {
        let last = record(7, u32::MAX, u32::MAX, u32::MAX, 3);
        assert!(last < 3);
    }

    #[test]
    fn a_place_receives_every_record_equally_often() {
        let (records, epochs) = (16u64, 16_000u64);
        let mut counts = vec![0i64; (records * records) as usize];
        for e in 0..epochs {
            for (place, record) in epoch(11, e, records).into_iter().enumerate() {
                counts[place * records as usize + record as usize] += 1;
            }
        }
        let expected = (epochs / records) as i64;
        let chi_squared = counts.iter().map(|c| (c - expected).pow(2)).sum::<i64>() / expected;
        // 225 degrees of freedom: a mean of 225 and a standard deviation of 21.
        assert!((120..=330).contains(&chi_squared), "{chi_squared}");
    }

    #[test]
    fn neighbours_are_torn_apart() {
        let records = 1797;
        let order = epoch(3, 0, records);
        let adjacent = order
            .windows(2)
            .filter(|w| w[0].abs_diff(w[1]) == 1)
            .count();
        assert!(
            adjacent <= 10,
            "{adjacent} neighbours of 1797 stayed together"
        );
    }
}

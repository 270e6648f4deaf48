//! Philox4x32-10, the counter-based generator behind everything random in a task.
//!
//! J. Salmon, M. Moraes, R. Dror, D. Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).

/// Multipliers of the two halves of a round.
pub const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];

/// What each key word grows by between rounds.
pub const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];

/// Rounds.
pub const ROUNDS: u32 = 10;

/// Uses of a task's seed. A program's own randomness (initial weights, dropout) takes domains
/// below 2^31; the protocol's are here.
pub mod domain {
    /// Keys of the epochs' permutations, by epoch.
    pub const EPOCH: u32 = 1 << 31;
    /// Round keys of a permutation, by round; keyed by the epoch.
    pub const ROUND_KEY: u32 = EPOCH + 1;
    /// Decisions of a permutation to swap, by record; keyed by the epoch.
    pub const SWAP: u32 = EPOCH + 2;
}

/// Four random words for a counter and a key.
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut x0, mut x1, mut x2, mut x3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..ROUNDS {
        let left = x0 as u64 * MULTIPLIERS[0] as u64;
        let right = x2 as u64 * MULTIPLIERS[1] as u64;
        x0 = (right >> 32) as u32 ^ x1 ^ k0;
        x1 = right as u32;
        x2 = (left >> 32) as u32 ^ x3 ^ k1;
        x3 = left as u32;
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [x0, x1, x2, x3]
}

/// Words number `4 * index` to `4 * index + 3` of the stream that `seed` has for `domain`.
///
/// The counter is `[index low, index high, domain, 0]` and the key `[seed low, seed high]`.
pub fn stream(seed: u64, domain: u32, index: u64) -> [u32; 4] {
    philox4x32(
        [index as u32, (index >> 32) as u32, domain, 0],
        [seed as u32, (seed >> 32) as u32],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_known_answers_are_met() {
        assert_eq!(
            philox4x32([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn a_stream_is_philox_at_its_documented_counter_and_key() {
        assert_eq!(
            stream(0x0123_4567_89ab_cdef, 7, 0xfedc_ba98_7654_3210),
            philox4x32([0x7654_3210, 0xfedc_ba98, 7, 0], [0x89ab_cdef, 0x0123_4567])
        );
    }
}

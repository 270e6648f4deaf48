//! Chess clocks. In every unfinished position exactly one of the two runs.

use crate::game::Side;
use scale::{Decode, Encode};
use scale_info::TypeInfo;

/// The time both sides have left. All times are in milliseconds.
///
/// A side's clock expires when both its time and a minimum number of blocks have passed since its
/// turn began, so a chain that stands still takes nobody's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Clocks {
    /// Time left to the defender when its turn began.
    pub defender: u64,
    /// Time left to the challenger when its turn began.
    pub challenger: u64,
    /// Time given back for each move.
    pub increment: u64,
    /// When the running turn began.
    pub since: u64,
    /// The block in which the running turn began.
    pub since_block: u32,
    /// Blocks that a turn lasts at least.
    pub min_blocks: u32,
}

impl Clocks {
    /// Two clocks of `budget` each; the first turn begins at `now` in `block`.
    pub fn new(budget: u64, increment: u64, min_blocks: u32, now: u64, block: u32) -> Clocks {
        Clocks {
            defender: budget,
            challenger: budget,
            increment,
            since: now,
            since_block: block,
            min_blocks,
        }
    }

    /// Time left to `side` when its turn began.
    pub fn left(&self, side: Side) -> u64 {
        match side {
            Side::Defender => self.defender,
            Side::Challenger => self.challenger,
        }
    }

    /// Whether the side whose turn it is has run out.
    pub fn expired(&self, turn: Side, now: u64, block: u32) -> bool {
        now.saturating_sub(self.since) > self.left(turn)
            && block.saturating_sub(self.since_block) > self.min_blocks
    }

    /// Stops the clock of `turn`, which has just moved, and starts the one of whoever is next.
    pub fn moved(&mut self, turn: Side, now: u64, block: u32) {
        let used = now.saturating_sub(self.since);
        let left = self
            .left(turn)
            .saturating_sub(used)
            .saturating_add(self.increment);
        match turn {
            Side::Defender => self.defender = left,
            Side::Challenger => self.challenger = left,
        }
        self.since = now;
        self.since_block = block;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_only_when_time_and_blocks_have_both_passed() {
        let clocks = Clocks::new(1000, 10, 3, 50, 7);
        assert!(!clocks.expired(Side::Defender, 1050, 100));
        assert!(!clocks.expired(Side::Defender, 9999, 10));
        assert!(clocks.expired(Side::Defender, 1051, 11));
    }

    #[test]
    fn a_move_costs_its_time_and_earns_the_increment() {
        let mut clocks = Clocks::new(1000, 10, 0, 0, 0);
        clocks.moved(Side::Defender, 300, 1);
        assert_eq!((clocks.defender, clocks.challenger), (710, 1000));
        clocks.moved(Side::Challenger, 5300, 2);
        assert_eq!((clocks.defender, clocks.challenger), (710, 10));
    }

    #[test]
    fn time_never_overflows() {
        let mut clocks = Clocks::new(u64::MAX, u64::MAX, u32::MAX, u64::MAX, u32::MAX);
        clocks.moved(Side::Challenger, 0, 0);
        assert_eq!(clocks.challenger, u64::MAX);
        assert!(!clocks.expired(Side::Defender, u64::MAX, u32::MAX));
    }
}

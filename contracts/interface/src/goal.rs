//! Payment by result: a number of the final state that must reach a threshold.

use crate::{Balance, Hash};
use core::fmt;
use lockstep_protocol::{
    float,
    tree::{self, Opening},
};
use scale::{Decode, Encode};
use scale_info::TypeInfo;

/// Thousandths of a whole price.
const WHOLE: u16 = 1000;

/// A metric that no result has, which reaches no goal: NaN.
pub const NO_METRIC: u32 = float::NAN;

/// Which metrics reach a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Side {
    /// The threshold and what is greater.
    AtLeast,
    /// The threshold and what is less.
    AtMost,
}

/// A condition of the whole price: one number of the final state, the metric, reaches a threshold.
/// The solver proves the metric when it commits; otherwise, or when the metric falls short, it earns
/// a part of the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Goal {
    /// The state slot that holds the metric: a single f32.
    pub slot: u32,
    /// Which metrics reach the goal.
    pub side: Side,
    /// The threshold, as the bits of an f32 that is not NaN.
    pub threshold: u32,
    /// What is paid when the goal is not reached, in thousandths of the price, below 1000.
    pub otherwise: u16,
}

/// Why a [`Goal`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum GoalFault {
    /// The program has no such slot.
    Slot,
    /// The threshold is NaN.
    Threshold,
    /// The lesser price is not less, or at the floor below the contract's minimum.
    Otherwise,
}

impl fmt::Display for GoalFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GoalFault::Slot => "the program has no such state slot",
            GoalFault::Threshold => "the threshold is not a number",
            GoalFault::Otherwise => {
                "what is paid otherwise is below 1000 thousandths, and of the reward floor no less \
                 than the contract's minimum"
            }
        })
    }
}

impl core::error::Error for GoalFault {}

/// Shows a metric: the state file's chunk with the hash of the metric's tensor, and the tensor.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct MetricProof {
    /// The tensor: the bits of one f32.
    pub metric: u32,
    /// The chunk of the state file that holds the tensor's hash.
    pub slot: Opening,
}

impl MetricProof {
    /// Whether slot `slot` of `slots` of a state holds the metric.
    pub fn holds(&self, state: &Hash, slots: u32, slot: u32) -> bool {
        let bytes = self.metric.to_le_bytes();
        let (len, at) = (u64::from(slots) * 32, u64::from(slot) * 32);
        tree::open(len, state, &self.slot, at, 32) == Some(&tree::hash(&bytes)[..])
    }
}

impl Goal {
    /// Checks the goal of a task whose program has `slots` slots, whose reward begins at `floor`, and
    /// which may not pay less than `least`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, slots: u32, floor: Balance, least: Balance) -> Result<(), GoalFault> {
        if self.slot >= slots {
            return Err(GoalFault::Slot);
        }
        if float::canonical(self.threshold) == float::NAN {
            return Err(GoalFault::Threshold);
        }
        if self.otherwise >= WHOLE || self.reduced(floor) < least {
            return Err(GoalFault::Otherwise);
        }
        Ok(())
    }

    /// Whether a metric reaches the goal. NaN never does.
    pub fn is_reached(&self, metric: u32) -> bool {
        match self.side {
            Side::AtLeast => float::le(self.threshold, metric),
            Side::AtMost => float::le(metric, self.threshold),
        }
    }

    /// What is paid of a price when the goal is not reached, rounded down.
    pub fn reduced(&self, price: Balance) -> Balance {
        price * Balance::from(self.otherwise) / Balance::from(WHOLE)
    }

    /// What is paid of a price for a metric.
    pub fn earned(&self, price: Balance, metric: u32) -> Balance {
        if self.is_reached(metric) {
            price
        } else {
            self.reduced(price)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const GOAL: Goal = Goal {
        slot: 3,
        side: Side::AtLeast,
        threshold: 0x3f00_0000,
        otherwise: 250,
    };

    #[test]
    fn a_goal_is_reached_from_its_side_and_by_the_threshold_itself() {
        let below = Goal {
            side: Side::AtMost,
            ..GOAL
        };
        let cases: [(f32, bool, bool); 8] = [
            (0.5, true, true),
            (0.500_000_06, true, false),
            (0.499_999_97, false, true),
            (f32::INFINITY, true, false),
            (f32::NEG_INFINITY, false, true),
            (-0.5, false, true),
            (f32::NAN, false, false),
            (-f32::NAN, false, false),
        ];
        for (metric, above, under) in cases {
            assert_eq!(GOAL.is_reached(metric.to_bits()), above, "{metric}");
            assert_eq!(below.is_reached(metric.to_bits()), under, "{metric}");
        }
        assert!(!GOAL.is_reached(NO_METRIC) && !below.is_reached(NO_METRIC));
        let zero = Goal {
            threshold: 0,
            ..GOAL
        };
        assert!(zero.is_reached((-0.0f32).to_bits()));
    }

    #[test]
    fn what_is_paid_is_the_price_or_its_part_rounded_down() {
        assert_eq!(GOAL.earned(1003, 1f32.to_bits()), 1003);
        assert_eq!(GOAL.earned(1003, 0), 250);
        assert_eq!(GOAL.reduced(crate::terms::MAX_AMOUNT), 1 << 86);
    }

    #[test]
    fn a_goal_without_a_slot_a_threshold_or_a_lesser_price_is_refused() {
        assert_eq!(GOAL.check(4, 1000, 250), Ok(()));
        assert_eq!(GOAL.check(3, 1000, 250), Err(GoalFault::Slot));
        assert_eq!(GOAL.check(4, 1000, 251), Err(GoalFault::Otherwise));
        let faulty = |change: &dyn Fn(&mut Goal)| {
            let mut goal = GOAL;
            change(&mut goal);
            goal.check(4, 1000, 0)
        };
        assert_eq!(faulty(&|g| g.otherwise = 1000), Err(GoalFault::Otherwise));
        assert_eq!(faulty(&|g| g.otherwise = 0), Ok(()));
        for nan in [0x7fc0_0000, 0xffc0_0000, 0x7f80_0001] {
            assert_eq!(faulty(&|g| g.threshold = nan), Err(GoalFault::Threshold));
        }
    }

    #[test]
    fn a_proof_shows_one_slot_of_one_state() {
        let tensors: Vec<[u8; 4]> = (0..40u32).map(|k| k.to_le_bytes()).collect();
        let hashes: Vec<Hash> = tensors.iter().map(|bytes| tree::hash(bytes)).collect();
        let file = hashes.concat();
        let state = tree::hash(&file);
        for slot in [0, 31, 32, 39] {
            let proof = MetricProof {
                metric: slot,
                slot: tree::prove_open(&file, u64::from(slot) * 32),
            };
            assert!(proof.holds(&state, 40, slot));
            assert!(!proof.holds(&state, 40, slot ^ 1), "another slot");
            assert!(!proof.holds(&[0; 32], 40, slot), "another state");
            assert!(!proof.holds(&state, 40, 40), "beyond the end");
            let other = MetricProof {
                metric: slot + 1,
                ..proof.clone()
            };
            assert!(!other.holds(&state, 40, slot), "another metric");
            let mut cut = proof;
            cut.slot.chunk.truncate(slot as usize % 32 * 32);
            assert!(!cut.holds(&state, 40, slot), "a chunk that is cut off");
        }
    }
}

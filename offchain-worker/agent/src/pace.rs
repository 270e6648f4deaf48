//! How long everything takes: hours where work is real, seconds where people watch.

use crate::chain::UNIT;
use lockstep_interface::{Bounds, Millis, Terms};

const SECOND: Millis = 1_000;
const HOUR: Millis = 3_600 * SECOND;

/// The times of a deployment and of the tasks on it.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// What terms may be.
    pub bounds: Bounds,
    /// What a task offers.
    pub terms: Terms,
    /// From the request to unbond stake to its withdrawal.
    pub unbonding: Millis,
}

impl Pace {
    /// For a chain whose clock can be advanced.
    pub fn hours() -> Pace {
        Pace {
            bounds: Bounds::default(),
            terms: Terms {
                reward_floor: 10 * UNIT,
                reward_ceiling: 20 * UNIT,
                stake: 100 * UNIT,
                bond: 30 * UNIT,
                demand_fee: UNIT,
                ramp: HOUR,
                open: 24 * HOUR,
                work: 6 * HOUR,
                audit: 24 * HOUR,
                window: 24 * HOUR,
                replay: HOUR / 60,
                clock: 4 * HOUR,
                increment: HOUR / 60,
                min_blocks: 10,
                goal: None,
            },
            unbonding: 7 * 24 * HOUR,
        }
    }

    /// For a test chain that lives in real time.
    pub fn seconds() -> Pace {
        Pace {
            bounds: short_bounds(),
            terms: Terms {
                ramp: 60 * SECOND,
                open: 3_600 * SECOND,
                work: 300 * SECOND,
                audit: 15 * SECOND,
                window: 15 * SECOND,
                replay: 2 * SECOND,
                clock: 60 * SECOND,
                increment: 2 * SECOND,
                min_blocks: 2,
                ..Pace::hours().terms
            },
            unbonding: 5 * SECOND,
        }
    }
}

/// Bounds that let every time be as short as a second.
pub fn short_bounds() -> Bounds {
    Bounds {
        min_open: SECOND,
        min_work: SECOND,
        min_window: SECOND,
        min_replay: SECOND,
        min_clock: SECOND,
        min_increment: SECOND,
        min_blocks: 1,
        ..Bounds::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pace_keeps_its_own_bounds() {
        for pace in [Pace::hours(), Pace::seconds()] {
            assert!(pace.bounds.check());
            assert_eq!(pace.terms.check(&pace.bounds, 1), Ok(()));
        }
    }
}

//! What a submitter offers, and the limits that bind every offer.

use crate::{Balance, BlockNumber, Goal, GoalFault, Hash, Millis};
use core::fmt;
use lockstep_protocol::task::TaskSpec;
use scale::{Decode, Encode};
use scale_info::TypeInfo;

/// No amount in any terms exceeds this many plancks, so that sums and products of amounts and
/// times cannot overflow.
pub const MAX_AMOUNT: Balance = 1 << 88;
/// No duration in any terms exceeds this many milliseconds (2.2 years).
pub const MAX_TIME: Millis = 1 << 36;

/// A task as it is submitted. Its hash names both the computation and the offer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Task {
    /// What is to be computed.
    pub spec: TaskSpec,
    /// What is offered for it.
    pub terms: Terms,
}

impl Task {
    /// The terms hash: BLAKE3 of the encoding.
    pub fn hash(&self) -> Hash {
        *blake3::hash(&self.encode()).as_bytes()
    }
}

/// The offer of a task. Amounts are in plancks, durations in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Terms {
    /// The price when the task opens.
    pub reward_floor: Balance,
    /// The highest price; paid in full on submission, the rest is refunded on settlement.
    pub reward_ceiling: Balance,
    /// Stake that a solver locks. At least the ceiling.
    pub stake: Balance,
    /// Bond that a challenger posts. At most the stake.
    pub bond: Balance,
    /// Fee of a demand, paid to the solver for posting the chunk. At most the bond.
    pub demand_fee: Balance,
    /// Open time over which the price rises from floor to ceiling. At most `open`.
    pub ramp: Millis,
    /// Open time, over all attempts, after which nobody can accept any more.
    pub open: Millis,
    /// From acceptance to the commit deadline.
    pub work: Millis,
    /// The challenge window ends no earlier than this after acceptance.
    pub audit: Millis,
    /// The challenge window ends no earlier than this after the commit.
    pub window: Millis,
    /// Worst-case time for which one dispute occupies an honest solver. At most `clock`.
    pub replay: Millis,
    /// Each side's chess clock in a dispute, and the time to answer a demand.
    pub clock: Millis,
    /// Time given back for each move of a dispute. At most `clock`.
    pub increment: Millis,
    /// Blocks that every turn of a dispute and every demand lasts at least.
    pub min_blocks: BlockNumber,
    /// What the result must reach to earn the whole price, if anything.
    pub goal: Option<Goal>,
}

/// Contract-wide limits of terms, fixed at deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Bounds {
    /// Lowest `reward_floor`.
    pub min_reward: Balance,
    /// Lowest `stake`.
    pub min_stake: Balance,
    /// Lowest `bond`: above what answering a whole dispute can cost in fees.
    pub min_bond: Balance,
    /// Lowest `demand_fee`: above what posting a chunk can cost in fees.
    pub min_demand_fee: Balance,
    /// Lowest `open`.
    pub min_open: Millis,
    /// Lowest `work`.
    pub min_work: Millis,
    /// Lowest `audit` and `window`.
    pub min_window: Millis,
    /// Lowest `replay`.
    pub min_replay: Millis,
    /// Lowest `clock`.
    pub min_clock: Millis,
    /// Lowest `increment`.
    pub min_increment: Millis,
    /// Lowest `min_blocks`.
    pub min_blocks: BlockNumber,
    /// Highest of every duration.
    pub max_time: Millis,
    /// Highest `min_blocks`.
    pub max_blocks: BlockNumber,
}

impl Default for Bounds {
    /// Limits for a public chain with 12 decimals and six-second blocks.
    fn default() -> Self {
        const UNIT: Balance = 1_000_000_000_000;
        const MINUTE: Millis = 60_000;
        const HOUR: Millis = 60 * MINUTE;
        Bounds {
            min_reward: UNIT,
            min_stake: 10 * UNIT,
            min_bond: 10 * UNIT,
            min_demand_fee: UNIT / 10,
            min_open: HOUR,
            min_work: HOUR,
            min_window: 24 * HOUR,
            min_replay: MINUTE,
            min_clock: 4 * HOUR,
            min_increment: MINUTE,
            min_blocks: 10,
            max_time: 365 * 24 * HOUR,
            max_blocks: 100_000,
        }
    }
}

/// Which of the limits terms break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum TermsFault {
    /// The floor is below the contract's minimum, above the ceiling, or the ceiling too high.
    Reward,
    /// The stake is below the contract's minimum or the ceiling, or too high.
    Stake,
    /// The bond is below the contract's minimum or above the stake.
    Bond,
    /// The demand fee is below the contract's minimum or above the bond.
    DemandFee,
    /// The open time is out of bounds, or the ramp is zero or longer.
    Open,
    /// The work time is out of bounds.
    Work,
    /// The audit time or the window is out of bounds.
    Window,
    /// The clock, the increment or the replay time is out of bounds, or one of the latter two
    /// exceeds the clock.
    Clock,
    /// The number of blocks is out of bounds.
    Blocks,
    /// Drowning a solver in disputes would cost less than its stake and reward.
    Drowning,
    /// The goal is impossible, or pays too little when it is missed.
    Goal(GoalFault),
}

impl fmt::Display for TermsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TermsFault::Goal(fault) => return write!(f, "the goal: {fault}"),
            TermsFault::Reward => {
                "the reward floor is below the contract's minimum or above the ceiling, or the \
                 ceiling exceeds 2^88"
            }
            TermsFault::Stake => {
                "the stake is below the contract's minimum or the reward ceiling, or exceeds 2^88"
            }
            TermsFault::Bond => "the bond is below the contract's minimum or above the stake",
            TermsFault::DemandFee => {
                "the demand fee is below the contract's minimum or above the bond"
            }
            TermsFault::Open => {
                "the open time is outside the contract's bounds, or the ramp is zero or exceeds it"
            }
            TermsFault::Work => "the work time is outside the contract's bounds",
            TermsFault::Window => "the audit time or the window is outside the contract's bounds",
            TermsFault::Clock => {
                "the clock, increment or replay time is outside the contract's bounds, or the \
                 increment or replay time exceeds the clock"
            }
            TermsFault::Blocks => "the minimum of blocks is outside the contract's bounds",
            TermsFault::Drowning => {
                "bond * floor(clock / replay) is less than stake + reward ceiling: raise the bond \
                 or the clock"
            }
        })
    }
}

impl core::error::Error for TermsFault {}

impl Terms {
    /// Checks every term against the contract's bounds, the others, and the program's number of
    /// state slots.
    ///
    /// # Errors
    /// The first limit that is broken.
    pub fn check(&self, bounds: &Bounds, slots: u32) -> Result<(), TermsFault> {
        let time = |t: Millis, min: Millis| (min..=bounds.max_time).contains(&t);
        let rules = [
            (
                bounds.min_reward <= self.reward_floor
                    && self.reward_floor <= self.reward_ceiling
                    && self.reward_ceiling <= MAX_AMOUNT,
                TermsFault::Reward,
            ),
            (
                bounds.min_stake.max(self.reward_ceiling) <= self.stake && self.stake <= MAX_AMOUNT,
                TermsFault::Stake,
            ),
            (
                bounds.min_bond <= self.bond && self.bond <= self.stake,
                TermsFault::Bond,
            ),
            (
                bounds.min_demand_fee <= self.demand_fee && self.demand_fee <= self.bond,
                TermsFault::DemandFee,
            ),
            (
                time(self.open, bounds.min_open) && (1..=self.open).contains(&self.ramp),
                TermsFault::Open,
            ),
            (time(self.work, bounds.min_work), TermsFault::Work),
            (
                time(self.audit, bounds.min_window) && time(self.window, bounds.min_window),
                TermsFault::Window,
            ),
            (
                time(self.clock, bounds.min_clock)
                    && (bounds.min_increment..=self.clock).contains(&self.increment)
                    && (bounds.min_replay.max(1)..=self.clock).contains(&self.replay),
                TermsFault::Clock,
            ),
            (
                (bounds.min_blocks..=bounds.max_blocks).contains(&self.min_blocks),
                TermsFault::Blocks,
            ),
        ];
        for (holds, fault) in rules {
            if !holds {
                return Err(fault);
            }
        }
        let disputes_at_once = Balance::from(self.clock / self.replay);
        if self.bond.saturating_mul(disputes_at_once) < self.stake + self.reward_ceiling {
            return Err(TermsFault::Drowning);
        }
        if let Some(goal) = &self.goal {
            goal.check(slots, self.reward_floor, bounds.min_reward)
                .map_err(TermsFault::Goal)?;
        }
        Ok(())
    }

    /// The lowest that may be paid of a price: all of it, unless a goal is missed.
    pub fn least(&self, price: Balance) -> Balance {
        self.goal.map_or(price, |goal| goal.reduced(price))
    }

    /// What is paid of a price for a result with this metric.
    pub fn earned(&self, price: Balance, metric: u32) -> Balance {
        self.goal.map_or(price, |goal| goal.earned(price, metric))
    }

    /// The price after `open` milliseconds of open time: linear from floor to ceiling, rounded
    /// down.
    pub fn price(&self, open: Millis) -> Balance {
        let rise = self.reward_ceiling - self.reward_floor;
        let risen = Balance::from(open.min(self.ramp));
        self.reward_floor + rise * risen / Balance::from(self.ramp)
    }
}

impl Bounds {
    /// Whether terms can exist within the bounds and none can overflow.
    pub fn check(&self) -> bool {
        let amounts = [
            self.min_reward,
            self.min_stake,
            self.min_bond,
            self.min_demand_fee,
        ];
        let times = [
            self.min_open,
            self.min_work,
            self.min_window,
            self.min_replay,
            self.min_clock,
            self.min_increment,
        ];
        self.max_time <= MAX_TIME
            && self.min_blocks <= self.max_blocks
            && amounts.iter().all(|a| (1..=MAX_AMOUNT).contains(a))
            && times.iter().all(|t| (1..=self.max_time).contains(t))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        min_reward: 10,
        min_stake: 20,
        min_bond: 10,
        min_demand_fee: 5,
        min_open: 100,
        min_work: 100,
        min_window: 100,
        min_replay: 10,
        min_clock: 100,
        min_increment: 10,
        min_blocks: 2,
        max_time: 10_000,
        max_blocks: 20,
    };

    const TERMS: Terms = Terms {
        reward_floor: 10,
        reward_ceiling: 30,
        stake: 50,
        bond: 10,
        demand_fee: 5,
        ramp: 100,
        open: 100,
        work: 100,
        audit: 100,
        window: 100,
        replay: 12,
        clock: 100,
        increment: 10,
        min_blocks: 2,
        goal: None,
    };

    #[test]
    fn default_bounds_allow_terms() {
        assert!(Bounds::default().check());
        assert!(BOUNDS.check());
    }

    #[test]
    fn bounds_that_could_divide_by_zero_or_overflow_are_refused() {
        let broken = [
            Bounds {
                max_time: MAX_TIME + 1,
                ..BOUNDS
            },
            Bounds {
                min_replay: 0,
                ..BOUNDS
            },
            Bounds {
                min_demand_fee: 0,
                ..BOUNDS
            },
            Bounds {
                min_stake: MAX_AMOUNT + 1,
                ..BOUNDS
            },
            Bounds {
                min_blocks: 21,
                ..BOUNDS
            },
        ];
        for bounds in broken {
            assert!(!bounds.check(), "{bounds:?}");
        }
    }

    #[test]
    fn terms_on_every_limit_are_accepted_and_one_beyond_is_refused() {
        assert_eq!(TERMS.check(&BOUNDS, 1), Ok(()));
        let broken = [
            (
                Terms {
                    reward_floor: 9,
                    ..TERMS
                },
                TermsFault::Reward,
            ),
            (
                Terms {
                    reward_floor: 31,
                    ..TERMS
                },
                TermsFault::Reward,
            ),
            (
                Terms {
                    reward_ceiling: MAX_AMOUNT + 1,
                    ..TERMS
                },
                TermsFault::Reward,
            ),
            (
                Terms {
                    reward_ceiling: 51,
                    ..TERMS
                },
                TermsFault::Stake,
            ),
            (
                Terms {
                    stake: MAX_AMOUNT + 1,
                    ..TERMS
                },
                TermsFault::Stake,
            ),
            (Terms { bond: 9, ..TERMS }, TermsFault::Bond),
            (Terms { bond: 51, ..TERMS }, TermsFault::Bond),
            (
                Terms {
                    demand_fee: 4,
                    ..TERMS
                },
                TermsFault::DemandFee,
            ),
            (
                Terms {
                    demand_fee: 11,
                    ..TERMS
                },
                TermsFault::DemandFee,
            ),
            (Terms { ramp: 0, ..TERMS }, TermsFault::Open),
            (Terms { ramp: 101, ..TERMS }, TermsFault::Open),
            (Terms { open: 99, ..TERMS }, TermsFault::Open),
            (
                Terms {
                    open: 10_001,
                    ..TERMS
                },
                TermsFault::Open,
            ),
            (Terms { work: 99, ..TERMS }, TermsFault::Work),
            (Terms { audit: 99, ..TERMS }, TermsFault::Window),
            (
                Terms {
                    window: 10_001,
                    ..TERMS
                },
                TermsFault::Window,
            ),
            (Terms { clock: 99, ..TERMS }, TermsFault::Clock),
            (Terms { replay: 9, ..TERMS }, TermsFault::Clock),
            (
                Terms {
                    replay: 101,
                    ..TERMS
                },
                TermsFault::Clock,
            ),
            (
                Terms {
                    increment: 101,
                    ..TERMS
                },
                TermsFault::Clock,
            ),
            (
                Terms {
                    min_blocks: 1,
                    ..TERMS
                },
                TermsFault::Blocks,
            ),
            (
                Terms {
                    min_blocks: 21,
                    ..TERMS
                },
                TermsFault::Blocks,
            ),
            // 10 * floor(100 / 13) = 70 is less than 50 + 30.
            (
                Terms {
                    replay: 13,
                    ..TERMS
                },
                TermsFault::Drowning,
            ),
        ];
        for (terms, fault) in broken {
            assert_eq!(terms.check(&BOUNDS, 1), Err(fault), "{terms:?}");
        }
    }

    #[test]
    fn the_price_is_linear_and_never_leaves_its_range() {
        assert_eq!(TERMS.price(0), 10);
        assert_eq!(TERMS.price(49), 19);
        assert_eq!(TERMS.price(50), 20);
        assert_eq!(TERMS.price(100), 30);
        assert_eq!(TERMS.price(Millis::MAX), 30);
        let widest = Terms {
            reward_floor: 0,
            reward_ceiling: MAX_AMOUNT,
            ramp: MAX_TIME,
            ..TERMS
        };
        assert_eq!(widest.price(MAX_TIME), MAX_AMOUNT);
    }
}

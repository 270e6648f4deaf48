//! Which tasks a solver takes.

use crate::run::workload::Workload;
use lockstep_engine::cpu::describe;
use lockstep_interface::{Balance, Millis, Terms};
use lockstep_protocol::program::Program;
use std::fmt;

/// What a solver wants and can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appetite {
    /// Lowest price for any task, whether its goal is reached or not.
    pub min_price: Balance,
    /// Lowest price for 10^12 scalar operations.
    pub price_per_tera: Balance,
    /// Scalar operations that this machine does in a second.
    pub speed: u64,
    /// Bytes that a task's values may take.
    pub memory: u64,
    /// Highest stake to put at risk for a task.
    pub max_stake: Balance,
    /// How much stake may be deposited for a task when the free stake does not suffice.
    pub top_up: Balance,
}

impl Default for Appetite {
    fn default() -> Appetite {
        Appetite {
            min_price: 0,
            price_per_tera: 0,
            speed: 10_000_000_000,
            memory: 8 << 30,
            max_stake: Balance::MAX,
            top_up: 0,
        }
    }
}

/// How often a dispute makes the defender run the steps of a segment, at most: once for the step
/// trace, once to return to the disputed step, and once more for its traces.
const REPLAYED: u128 = 3;

/// Why a task was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skip {
    /// It pays too little yet.
    Price {
        /// What it pays now at least.
        now: Balance,
        /// What it would have to pay.
        want: Balance,
    },
    /// Its stake is higher than the solver's limit.
    TooMuchAtRisk(Balance),
    /// The free stake does not suffice.
    Stake {
        /// What the task asks.
        need: Balance,
        /// What is free.
        have: Balance,
    },
    /// It takes longer than its terms allow.
    Time {
        /// Expected milliseconds.
        need: Millis,
        /// Milliseconds from acceptance to the deadline.
        have: Millis,
    },
    /// Answering one dispute takes longer than its terms assume, so that many at once could drown
    /// the solver.
    Replay {
        /// Expected milliseconds.
        need: Millis,
        /// Milliseconds that the terms assume.
        have: Millis,
    },
    /// It needs more memory than the limit.
    Memory(u64),
    /// A file is absent, wrong, or the program is refused.
    Files(String),
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Skip::Price { now, want } => write!(f, "pays {now} now and would have to pay {want}"),
            Skip::TooMuchAtRisk(stake) => write!(f, "asks a stake of {stake}, above the limit"),
            Skip::Stake { need, have } => write!(
                f,
                "asks a stake of {need} and {have} is free; deposit more with `lockstep stake deposit`"
            ),
            Skip::Time { need, have } => {
                write!(f, "takes about {} s and allows {} s", need / 1000, have / 1000)
            }
            Skip::Replay { need, have } => write!(
                f,
                "a dispute takes about {} s to answer and its terms assume {} s",
                need / 1000,
                have / 1000
            ),
            Skip::Memory(bytes) => write!(f, "needs {bytes} bytes of memory, above the limit"),
            Skip::Files(reason) => f.write_str(reason),
        }
    }
}

impl Appetite {
    pub(super) fn terms(&self, terms: &Terms, price: Balance) -> Result<(), Skip> {
        if terms.stake > self.max_stake {
            return Err(Skip::TooMuchAtRisk(terms.stake));
        }
        if price < self.min_price {
            return Err(Skip::Price {
                now: price,
                want: self.min_price,
            });
        }
        Ok(())
    }

    pub(super) fn workload(
        &self,
        workload: &Workload,
        terms: &Terms,
        price: Balance,
    ) -> Result<(), Skip> {
        let steps = workload.spec.steps as u128;
        let effort = Effort::of(&workload.program);
        let operations = effort.operations as u128 * steps;
        let want = operations.saturating_mul(self.price_per_tera) / 1_000_000_000_000;
        if price < want {
            return Err(Skip::Price { now: price, want });
        }
        let need = (operations * 1000 / self.speed.max(1) as u128) as Millis;
        if need > terms.work {
            return Err(Skip::Time {
                need,
                have: terms.work,
            });
        }
        let replayed = effort.operations as u128 * REPLAYED * workload.spec.segment as u128;
        let need = (replayed * 1000 / self.speed.max(1) as u128) as Millis;
        if need > terms.replay {
            return Err(Skip::Replay {
                need,
                have: terms.replay,
            });
        }
        if effort.memory > self.memory {
            return Err(Skip::Memory(effort.memory));
        }
        Ok(())
    }
}

/// What a step of a program takes on this machine's CPU engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Floating-point operations, or evaluations of bodies where those are more.
    pub operations: u64,
    /// Bytes that the engine holds.
    pub memory: u64,
}

impl Effort {
    /// Of one step of a valid program.
    pub fn of(program: &Program) -> Effort {
        let described = describe(program);
        let memory = described.memory;
        Effort {
            operations: described.flops.max(described.steps),
            memory: memory.state + memory.constants + memory.buffers,
        }
    }
}

//! One dispute and one demand at a time, in memory.

mod demand;
mod dispute;

use super::Moment;
use lockstep_interface::{Account, Hash, Task, Terms};
use lockstep_protocol::task::TaskSpec;

const SOLVER: Account = [1; 32];
const CHALLENGER: Account = [2; 32];
const STRANGER: Account = [3; 32];

fn at(now: u64, block: u32) -> Moment {
    Moment { now, block }
}

fn content(program: Hash, slots: u32) -> Task {
    Task {
        spec: TaskSpec {
            program,
            nodes: 2 * slots,
            slots,
            genesis: [9; 32],
            datasets: vec![],
            batch: 1,
            steps: 100,
            segment: 1,
            seed: 3,
        },
        terms: Terms {
            reward_floor: 100,
            reward_ceiling: 1100,
            stake: 2003,
            bond: 601,
            demand_fee: 7,
            ramp: 1000,
            open: 3000,
            work: 500,
            audit: 900,
            window: 300,
            replay: 10,
            clock: 70,
            increment: 5,
            min_blocks: 2,
            goal: None,
        },
    }
}

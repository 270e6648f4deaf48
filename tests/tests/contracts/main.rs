//! The three contracts in the real contracts pallet: games, money, storage and attacks.

mod demands;
mod deposits;
mod dispute_messages;
mod escrow_messages;
mod games;
mod limits;
mod prices;
mod slashing;
mod stake_messages;
mod stalling;

use lockstep_protocol::rehearsal::sample::{run, SHAPES, STEPS};
use lockstep_protocol::rehearsal::{Fault, Run};
use std::sync::OnceLock;

/// The sample task in segments of two steps, done right. It is made once for all tests.
fn honest() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| run(SHAPES[0], None))
}

/// The same, with an error deep inside a step.
fn wrong() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| {
        run(
            SHAPES[0],
            Some(Fault::Accumulator {
                step: STEPS / 2,
                node: 7,
                element: 0,
                r: 17,
            }),
        )
    })
}

/// The same, with an error that shows at the top: a checkpoint of nothing.
fn blatant() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| run(SHAPES[0], Some(Fault::Checkpoint { segment: 3 })))
}

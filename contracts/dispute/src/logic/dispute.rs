//! One dispute, from its bond to its end.

use super::{take, Moment};
use lockstep_interface::{
    dispute::{DisputeRecord, Error, Share, LOST_BOND_SOLVER},
    escrow::Challenged,
    Account, Attempt, Balance, Hash, Task, TaskId,
};
use lockstep_protocol::{
    clock::Clocks,
    game::{self, Game, Move, Phase, Refusal, Side},
};

/// A new dispute of a commitment that escrow has found open to challenge. `content` is the task
/// that escrow has checked by hash.
pub fn open(
    task: TaskId,
    attempt: Attempt,
    content: &Task,
    challenger: Account,
    value: Balance,
    challenged: &Challenged,
    at: Moment,
) -> Result<DisputeRecord, Error> {
    let terms = &content.terms;
    if value != terms.bond {
        return Err(Error::Value);
    }
    Ok(DisputeRecord {
        task,
        attempt,
        solver: challenged.solver,
        challenger,
        bond: value,
        block: at.block,
        clocks: Clocks::new(
            terms.clock,
            terms.increment,
            terms.min_blocks,
            at.now,
            at.block,
        ),
        owed_challenger: 0,
        owed_solver: 0,
        share: Share::None,
        settled: false,
        game: Game::new(&content.spec, &challenged.commitment),
    })
}

/// Makes a move. Replies which side moved.
pub fn play(
    record: &mut DisputeRecord,
    caller: Account,
    position: &Hash,
    mv: &Move,
    at: Moment,
) -> Result<Side, Error> {
    let turn = record.game.turn().ok_or(Error::Over)?;
    if caller != account(record, turn) {
        return Err(if caller == account(record, turn.other()) {
            Error::Move(Refusal::NotYourTurn)
        } else {
            Error::NotParty
        });
    }
    if *position != record.game.hash() {
        return Err(Error::Position);
    }
    if record.clocks.expired(turn, at.now, at.block) {
        return Err(Error::Expired);
    }
    record.game.play(turn, mv).map_err(Error::Move)?;
    record.clocks.moved(turn, at.now, at.block);
    record.block = at.block;
    Ok(turn)
}

/// Divides the bond of a dispute that is decided, by a move or by the clock of the side to move.
/// Replies how the game ended.
pub fn settle(
    record: &mut DisputeRecord,
    burn: &mut Balance,
    at: Moment,
) -> Result<game::Outcome, Error> {
    if record.settled {
        return Err(Error::Over);
    }
    if let Some(turn) = record.game.turn() {
        if !record.clocks.expired(turn, at.now, at.block) {
            return Err(Error::Running);
        }
        record.game.time_out();
    }
    let Phase::Over(outcome) = record.game.phase else {
        return Err(Error::NotOver);
    };
    match outcome.winner {
        Side::Challenger => record.owed_challenger = record.bond,
        Side::Defender => {
            record.owed_solver = record.bond * LOST_BOND_SOLVER / 100;
            *burn += record.bond - record.owed_solver;
        }
    }
    record.settled = true;
    record.block = at.block;
    Ok(outcome)
}

/// Takes what is owed to the caller, on whichever side it is.
pub fn withdraw(record: &mut DisputeRecord, caller: Account) -> Result<Balance, Error> {
    let mut owed = 0;
    if caller == record.challenger {
        owed += core::mem::take(&mut record.owed_challenger);
    }
    if caller == record.solver {
        owed += core::mem::take(&mut record.owed_solver);
    }
    take(&mut owed)
}

/// Marks the winner's share as paid.
pub fn take_share(record: &mut DisputeRecord, caller: Account) -> Result<(), Error> {
    if caller != record.challenger {
        return Err(Error::NotParty);
    }
    if record.share != Share::Earned {
        return Err(Error::NothingOwed);
    }
    record.share = Share::Paid;
    Ok(())
}

/// Whether a dispute may be removed.
pub fn check_prune(record: &DisputeRecord, caller: Account) -> Result<(), Error> {
    if caller != record.challenger {
        return Err(Error::NotParty);
    }
    if !record.settled {
        return Err(Error::NotOver);
    }
    if record.owed_challenger > 0 || record.owed_solver > 0 || record.share == Share::Earned {
        return Err(Error::Owed);
    }
    Ok(())
}

fn account(record: &DisputeRecord, side: Side) -> Account {
    match side {
        Side::Defender => record.solver,
        Side::Challenger => record.challenger,
    }
}

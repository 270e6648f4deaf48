//! Challenges of a commitment, as the dispute contract reports them, and what a proven one costs
//! and pays. Everything here concerns one attempt; the task moves on without waiting.

use super::{
    percent,
    task::{reopen, Current},
    Done, Effect,
};
use lockstep_interface::{
    escrow::{
        AttemptRecord, AttemptStatus, Challenged, Config, Error, Event, Outcome, TaskRecord,
        SLASH_BURN, SLASH_SUBMITTER,
    },
    Account, Attempt, Balance, Hash, Millis, TaskId,
};

/// Counts a new dispute or demand of a commitment that is open to challenge.
///
/// A commitment that is already proven wrong takes none: what is left to win is the winners'
/// share, which a latecomer would only dilute.
pub fn opened(
    task: &mut TaskRecord,
    attempt: &mut AttemptRecord,
    terms_hash: Hash,
    trace: Hash,
    now: Millis,
) -> Result<Challenged, Error> {
    if terms_hash != task.terms_hash {
        return Err(Error::OtherTask);
    }
    if attempt.status != AttemptStatus::Committed {
        return Err(Error::Status);
    }
    if trace != attempt.commitment.trace {
        return Err(Error::OtherCommitment);
    }
    if now > attempt.window_end {
        return Err(Error::TooLate);
    }
    task.challenges += 1;
    attempt.challenges += 1;
    Ok(Challenged {
        solver: attempt.solver,
        commitment: attempt.commitment,
    })
}

/// Counts the end of a dispute or demand, and whether it earns a share. The first that is proven
/// slashes the attempt's whole stake and gives the task back.
pub fn closed(
    config: &mut Config,
    current: Current,
    outcome: Outcome,
    now: Millis,
) -> Result<(bool, Done), Error> {
    let Current {
        id,
        task,
        number,
        attempt,
    } = current;
    attempt.challenges = attempt.challenges.checked_sub(1).ok_or(Error::Status)?;
    task.challenges = task.challenges.checked_sub(1).ok_or(Error::Status)?;
    let first = outcome != Outcome::Upheld && attempt.status == AttemptStatus::Committed;
    let earns = first || outcome == Outcome::Wrong;
    if earns {
        attempt.wins += 1;
        attempt.unpaid += 1;
    }
    let mut done = Done::default();
    if first {
        let burned = percent(attempt.stake, SLASH_BURN);
        let compensation = percent(attempt.stake, SLASH_SUBMITTER);
        let pool = attempt.stake - burned - compensation;
        config.burn += burned;
        task.owed += compensation;
        attempt.pool = pool;
        attempt.status = AttemptStatus::Wrong;
        done = done
            .effect(Effect::Slash(attempt.solver, attempt.stake))
            .event(Event::ProvenWrong {
                task: id,
                attempt: number,
                compensation,
                burned,
                pool,
            });
        done = reopen(id, task, now, done);
    }
    if attempt.status == AttemptStatus::Wrong && attempt.challenges == 0 {
        let remainder = attempt.pool % Balance::from(attempt.wins);
        attempt.pool -= remainder;
        config.burn += remainder;
    }
    Ok((earns, done))
}

/// Pays one of the equal shares.
pub fn pay_share(
    id: TaskId,
    number: Attempt,
    attempt: &mut AttemptRecord,
    winner: Account,
) -> Result<(Balance, Done), Error> {
    if attempt.challenges > 0 {
        return Err(Error::Challenged);
    }
    if attempt.unpaid == 0 {
        return Err(Error::NothingOwed);
    }
    let amount = attempt.pool / Balance::from(attempt.unpaid);
    attempt.unpaid -= 1;
    attempt.pool -= amount;
    let done = Done::default()
        .effect(Effect::Pay(winner, amount))
        .event(Event::SharePaid {
            task: id,
            attempt: number,
            winner,
            amount,
        });
    Ok((amount, done))
}

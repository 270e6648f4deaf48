//! Money and storage on their way out.

use super::{Done, Effect};
use lockstep_interface::{
    escrow::{AttemptRecord, AttemptStatus, Config, Error, Event, TaskRecord, TaskStatus},
    Account, Attempt, Balance, TaskId, BURN_ACCOUNT,
};

/// Pays the submitter what it is owed.
pub fn refund(
    id: TaskId,
    task: &mut TaskRecord,
    caller: Account,
) -> Result<(Balance, Done), Error> {
    if caller != task.submitter {
        return Err(Error::NotSubmitter);
    }
    let amount = take(&mut task.owed)?;
    let done = Done::default()
        .effect(Effect::Pay(caller, amount))
        .event(Event::RefundWithdrawn { task: id, amount });
    Ok((amount, done))
}

/// Pays the solver what it is owed.
pub fn reward(
    id: TaskId,
    number: Attempt,
    attempt: &mut AttemptRecord,
    caller: Account,
) -> Result<(Balance, Done), Error> {
    if caller != attempt.solver {
        return Err(Error::NotSolver);
    }
    let amount = take(&mut attempt.owed)?;
    let done = Done::default()
        .effect(Effect::Pay(caller, amount))
        .event(Event::RewardWithdrawn {
            task: id,
            attempt: number,
            amount,
        });
    Ok((amount, done))
}

/// Burns what waits to be burned, unless it is less than an account can hold.
pub fn burn(config: &mut Config, existential: Balance) -> Result<(Balance, Done), Error> {
    if config.burn < existential {
        return Err(Error::Dust);
    }
    let amount = take(&mut config.burn)?;
    let done = Done::default()
        .effect(Effect::Pay(BURN_ACCOUNT, amount))
        .event(Event::Burned { amount });
    Ok((amount, done))
}

/// Whether a task may be removed.
pub fn prune_task(id: TaskId, task: &TaskRecord, caller: Account) -> Result<Done, Error> {
    if caller != task.submitter {
        return Err(Error::NotSubmitter);
    }
    if !matches!(task.status, TaskStatus::Settled | TaskStatus::Cancelled) {
        return Err(Error::Status);
    }
    if task.challenges > 0 {
        return Err(Error::Challenged);
    }
    if task.owed > 0 {
        return Err(Error::Owed);
    }
    Ok(Done::default().event(Event::TaskPruned { task: id }))
}

/// Whether an attempt may be removed.
pub fn prune_attempt(
    id: TaskId,
    number: Attempt,
    attempt: &AttemptRecord,
    caller: Account,
) -> Result<Done, Error> {
    if caller != attempt.solver {
        return Err(Error::NotSolver);
    }
    if matches!(
        attempt.status,
        AttemptStatus::Working | AttemptStatus::Committed
    ) {
        return Err(Error::Status);
    }
    if attempt.challenges > 0 {
        return Err(Error::Challenged);
    }
    if attempt.owed > 0 || attempt.unpaid > 0 {
        return Err(Error::Owed);
    }
    Ok(Done::default().event(Event::AttemptPruned {
        task: id,
        attempt: number,
    }))
}

fn take(owed: &mut Balance) -> Result<Balance, Error> {
    match core::mem::take(owed) {
        0 => Err(Error::NothingOwed),
        amount => Ok(amount),
    }
}

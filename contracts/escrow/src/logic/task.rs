//! The life of a task: submit, accept, commit, finalize; or expire and cancel.

use super::{percent, Done, Effect};
use ink::prelude::vec::Vec;
use lockstep_interface::{
    escrow::{
        AttemptRecord, AttemptStatus, Config, Error, Event, TaskRecord, TaskStatus, MAX_LOCATION,
        MISSED_DEADLINE_BURN,
    },
    goal::NO_METRIC,
    Account, Attempt, Balance, BlockNumber, Hash, MetricProof, Millis, Task, TaskId,
};
use lockstep_protocol::{
    task::Commitment,
    tree::{self, Opening},
};

const NOTHING: Commitment = Commitment {
    trace: [0; 32],
    state: [0; 32],
};

/// When and where a message is executed.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The block's timestamp.
    pub now: Millis,
    /// The block's height.
    pub block: BlockNumber,
}

/// A task and the attempt at it that a message names.
pub struct Current<'a> {
    /// The task's number.
    pub id: TaskId,
    /// The task.
    pub task: &'a mut TaskRecord,
    /// The attempt's number.
    pub number: Attempt,
    /// The attempt.
    pub attempt: &'a mut AttemptRecord,
}

/// What a solver claims and shows.
pub struct Claim {
    /// The checkpoint trace and the final state.
    pub commitment: Commitment,
    /// The final state as the last entry of the trace.
    pub last: Opening,
    /// The final state's metric.
    pub metric: Option<MetricProof>,
    /// Where the checkpoints are.
    pub artifacts: Vec<u8>,
}

/// Takes a task in.
pub fn submit(
    config: &Config,
    id: TaskId,
    submitter: Account,
    value: Balance,
    content: Task,
    artifacts: Vec<u8>,
    at: Moment,
) -> Result<(TaskRecord, Done), Error> {
    if config.dispute.is_none() {
        return Err(Error::NotAppointed);
    }
    if config.paused {
        return Err(Error::Paused);
    }
    content.spec.check().map_err(Error::Spec)?;
    content
        .terms
        .check(&config.bounds, content.spec.slots)
        .map_err(Error::Terms)?;
    check_location(&artifacts)?;
    if value != content.terms.reward_ceiling {
        return Err(Error::Value);
    }
    let record = TaskRecord {
        submitter,
        terms_hash: content.hash(),
        terms: content.terms,
        segments: content.spec.segments(),
        slots: content.spec.slots,
        block: at.block,
        status: TaskStatus::Open,
        attempts: 0,
        open_before: 0,
        opened_at: at.now,
        held: value,
        owed: 0,
        challenges: 0,
        result: NOTHING,
    };
    let done = Done::default().event(Event::Submitted {
        task: id,
        submitter,
        content,
        artifacts,
    });
    Ok((record, done))
}

/// Assigns an open task to a solver, at the price of the moment.
pub fn accept(
    id: TaskId,
    task: &mut TaskRecord,
    solver: Account,
    terms_hash: Hash,
    min_price: Balance,
    now: Millis,
) -> Result<(AttemptRecord, Done), Error> {
    if terms_hash != task.terms_hash {
        return Err(Error::OtherTask);
    }
    if task.status != TaskStatus::Open {
        return Err(Error::Status);
    }
    let price = task.price(now).ok_or(Error::Closed)?;
    if price < min_price {
        return Err(Error::Price);
    }
    task.open_before = task.open_time(now);
    task.status = TaskStatus::Assigned;
    task.attempts += 1;
    let deadline = now.saturating_add(task.terms.work);
    let record = AttemptRecord {
        solver,
        price,
        stake: task.terms.stake,
        status: AttemptStatus::Working,
        deadline,
        audit_end: now.saturating_add(task.terms.audit),
        commitment: NOTHING,
        metric: NO_METRIC,
        block: 0,
        window_end: 0,
        challenges: 0,
        wins: 0,
        unpaid: 0,
        pool: 0,
        owed: 0,
    };
    let done = Done::default()
        .effect(Effect::Lock(solver, record.stake))
        .event(Event::Accepted {
            task: id,
            attempt: task.attempts,
            solver,
            price,
            deadline,
        });
    Ok((record, done))
}

/// Records a solver's result and opens it to challenge.
pub fn commit(
    current: Current,
    caller: Account,
    terms_hash: Hash,
    claim: Claim,
    at: Moment,
) -> Result<Done, Error> {
    let Current {
        id,
        task,
        number,
        attempt,
    } = current;
    let Claim {
        commitment,
        last,
        metric,
        artifacts,
    } = claim;
    if terms_hash != task.terms_hash {
        return Err(Error::OtherTask);
    }
    check_current(task, number)?;
    if caller != attempt.solver {
        return Err(Error::NotSolver);
    }
    if task.status != TaskStatus::Assigned {
        return Err(Error::Status);
    }
    if at.now > attempt.deadline {
        return Err(Error::TooLate);
    }
    check_location(&artifacts)?;
    let end = u64::from(task.segments) * 32;
    let entry = tree::open(end, &commitment.trace, &last, end - 32, 32);
    if entry != Some(&commitment.state[..]) {
        return Err(Error::Opening);
    }
    if let Some(proof) = &metric {
        let goal = task.terms.goal.ok_or(Error::Metric)?;
        if !proof.holds(&commitment.state, task.slots, goal.slot) {
            return Err(Error::Metric);
        }
        attempt.metric = proof.metric;
    }
    task.status = TaskStatus::Committed;
    attempt.status = AttemptStatus::Committed;
    attempt.commitment = commitment;
    attempt.block = at.block;
    attempt.window_end = at
        .now
        .saturating_add(task.terms.window)
        .max(attempt.audit_end);
    Ok(Done::default().event(Event::Committed {
        task: id,
        attempt: number,
        commitment,
        metric: metric.map(|proof| proof.metric),
        window_end: attempt.window_end,
        artifacts,
    }))
}

/// Settles a result that stood.
pub fn finalize(current: Current, now: Millis) -> Result<Done, Error> {
    let Current {
        id,
        task,
        number,
        attempt,
    } = current;
    check_current(task, number)?;
    if task.status != TaskStatus::Committed {
        return Err(Error::Status);
    }
    if now <= attempt.window_end {
        return Err(Error::TooEarly);
    }
    if attempt.challenges > 0 {
        return Err(Error::Challenged);
    }
    let earned = task.terms.earned(attempt.price, attempt.metric);
    let refund = core::mem::take(&mut task.held) - earned;
    task.owed += refund;
    task.status = TaskStatus::Settled;
    task.result = attempt.commitment;
    attempt.owed += earned;
    attempt.status = AttemptStatus::Final;
    Ok(Done::default()
        .effect(Effect::Unlock(attempt.solver, attempt.stake))
        .event(Event::Settled {
            task: id,
            attempt: number,
            earned,
            refund,
        }))
}

/// Ends an attempt that missed its deadline. The submitter receives what a later price may cost
/// it more, so that accepting is no free option on the price, and a part of the stake burns, so
/// that it is not free at the highest price either.
pub fn expire(config: &mut Config, current: Current, now: Millis) -> Result<Done, Error> {
    let Current {
        id,
        task,
        number,
        attempt,
    } = current;
    check_current(task, number)?;
    if task.status != TaskStatus::Assigned {
        return Err(Error::Status);
    }
    if now <= attempt.deadline {
        return Err(Error::TooEarly);
    }
    let compensation = task.terms.reward_ceiling - attempt.price;
    let burned = percent(attempt.stake, MISSED_DEADLINE_BURN).min(attempt.stake - compensation);
    let kept = attempt.stake - compensation - burned;
    task.owed += compensation;
    config.burn += burned;
    attempt.status = AttemptStatus::Missed;
    let done = Done::default()
        .effect(Effect::Slash(attempt.solver, compensation + burned))
        .effect(Effect::Unlock(attempt.solver, kept))
        .event(Event::Missed {
            task: id,
            attempt: number,
            compensation,
            burned,
        });
    Ok(reopen(id, task, now, done))
}

/// Ends an open task and refunds its reward.
pub fn cancel(id: TaskId, task: &mut TaskRecord, caller: Account) -> Result<Done, Error> {
    if caller != task.submitter {
        return Err(Error::NotSubmitter);
    }
    if task.status != TaskStatus::Open {
        return Err(Error::Status);
    }
    Ok(refund(id, task, Done::default()))
}

/// Opens a task for another attempt, or refunds it when it has no open time left.
pub(super) fn reopen(id: TaskId, task: &mut TaskRecord, now: Millis, done: Done) -> Done {
    if task.open_before >= task.terms.open {
        return refund(id, task, done);
    }
    task.status = TaskStatus::Open;
    task.opened_at = now;
    done.event(Event::Reopened { task: id })
}

fn refund(id: TaskId, task: &mut TaskRecord, done: Done) -> Done {
    let refund = core::mem::take(&mut task.held);
    task.owed += refund;
    task.status = TaskStatus::Cancelled;
    done.event(Event::Cancelled { task: id, refund })
}

fn check_current(task: &TaskRecord, number: Attempt) -> Result<(), Error> {
    if number == task.attempts {
        Ok(())
    } else {
        Err(Error::NoAttempt)
    }
}

fn check_location(artifacts: &[u8]) -> Result<(), Error> {
    if artifacts.len() <= MAX_LOCATION {
        Ok(())
    } else {
        Err(Error::Location)
    }
}

//! One demand for a chunk of a published checkpoint.

use super::{take, Moment};
use lockstep_interface::{
    dispute::{Answer, DemandRecord, DemandStatus, Error, Place, Share},
    escrow::Challenged,
    Account, Attempt, Balance, Task, TaskId,
};
use lockstep_protocol::{
    encoding::decode_canonical,
    program::{elements, Node, Source},
    referee::open_entry,
    tree::{self, CHUNK},
};

/// Which chunk is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Which checkpoint.
    pub segment: u32,
    /// Which tensor.
    pub slot: u32,
    /// Which chunk.
    pub chunk: u64,
}

/// A new demand to the solver of a commitment that escrow has found open to challenge. `content`
/// is the task that escrow has checked by hash.
#[allow(clippy::too_many_arguments)] // One message's worth.
pub fn ask(
    task: TaskId,
    attempt: Attempt,
    content: &Task,
    demander: Account,
    value: Balance,
    asked: Asked,
    challenged: &Challenged,
    at: Moment,
) -> Result<DemandRecord, Error> {
    let Task { spec, terms } = content;
    if value != terms.demand_fee {
        return Err(Error::Value);
    }
    if asked.segment >= spec.segments() || asked.slot >= spec.slots {
        return Err(Error::NoPlace);
    }
    Ok(DemandRecord {
        task,
        attempt,
        solver: challenged.solver,
        demander,
        fee: value,
        place: Place {
            trace: challenged.commitment.trace,
            segments: spec.segments(),
            program: spec.program,
            nodes: spec.nodes,
            slots: spec.slots,
            segment: asked.segment,
            slot: asked.slot,
            chunk: asked.chunk,
        },
        since: at.now,
        since_block: at.block,
        clock: terms.clock,
        min_blocks: terms.min_blocks,
        status: DemandStatus::Waiting,
        block: 0,
        owed_demander: 0,
        owed_solver: 0,
        share: Share::None,
    })
}

/// Takes the solver's answer, which earns it the fee.
pub fn answer(
    record: &mut DemandRecord,
    caller: Account,
    answer: &Answer,
    at: Moment,
) -> Result<(), Error> {
    if caller != record.solver {
        return Err(Error::NotParty);
    }
    if record.status != DemandStatus::Waiting {
        return Err(Error::Over);
    }
    if record.expired(at.now, at.block) {
        return Err(Error::Expired);
    }
    check_answer(&record.place, answer)?;
    record.status = DemandStatus::Answered;
    record.block = at.block;
    record.owed_solver = record.fee;
    Ok(())
}

/// Ends a demand that was not answered in time.
pub fn expire(record: &mut DemandRecord, at: Moment) -> Result<(), Error> {
    if record.status != DemandStatus::Waiting {
        return Err(Error::Over);
    }
    if !record.expired(at.now, at.block) {
        return Err(Error::Running);
    }
    record.status = DemandStatus::Failed;
    record.owed_demander = record.fee;
    Ok(())
}

/// Takes what is owed to the caller, on whichever side it is.
pub fn withdraw(record: &mut DemandRecord, caller: Account) -> Result<Balance, Error> {
    let mut owed = 0;
    if caller == record.demander {
        owed += core::mem::take(&mut record.owed_demander);
    }
    if caller == record.solver {
        owed += core::mem::take(&mut record.owed_solver);
    }
    take(&mut owed)
}

/// Marks the winner's share as paid.
pub fn take_share(record: &mut DemandRecord, caller: Account) -> Result<(), Error> {
    if caller != record.demander {
        return Err(Error::NotParty);
    }
    if record.share != Share::Earned {
        return Err(Error::NothingOwed);
    }
    record.share = Share::Paid;
    Ok(())
}

/// Whether a demand may be removed.
pub fn check_prune(record: &DemandRecord, caller: Account) -> Result<(), Error> {
    if caller != record.demander {
        return Err(Error::NotParty);
    }
    if record.status == DemandStatus::Waiting {
        return Err(Error::NotOver);
    }
    if record.owed_demander > 0 || record.owed_solver > 0 || record.share == Share::Earned {
        return Err(Error::Owed);
    }
    Ok(())
}

/// Checks an answer from the program and the checkpoint trace downwards. The program alone says
/// how long the tensor is.
fn check_answer(place: &Place, answer: &Answer) -> Result<(), Error> {
    let len = tensor_bytes(place, answer).ok_or(Error::WrongNode)?;
    let start = place.chunk.checked_mul(CHUNK).filter(|start| *start < len);
    match (start, &answer.chunk) {
        (None, None) => Ok(()),
        (Some(start), Some(chunk)) => {
            let Place {
                segments,
                slots,
                segment,
                slot,
                ..
            } = *place;
            open_entry(segments, &place.trace, &chunk.checkpoint, segment)
                .and_then(|state| open_entry(slots, &state, &chunk.tensor, slot))
                .filter(|tensor| {
                    let size = CHUNK.min(len - start);
                    tree::open(len, tensor, &chunk.data, start, size).is_some()
                })
                .map(|_| ())
                .ok_or(Error::WrongOpening)
        }
        _ => Err(Error::WrongOpening),
    }
}

/// Bytes of the demanded tensor, when the answer shows its state source.
fn tensor_bytes(place: &Place, answer: &Answer) -> Option<u64> {
    let node: Node = decode_canonical(&answer.node).ok()?;
    let entry = open_entry(place.nodes, &place.program, &answer.program, place.slot)?;
    let Node::Source(Source::State { shape, dtype }) = &node else {
        return None;
    };
    if entry != node.hash() {
        return None;
    }
    elements(shape)?.checked_mul(dtype.size())
}

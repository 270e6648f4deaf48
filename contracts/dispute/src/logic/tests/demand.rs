use super::*;
use crate::logic::demand::*;
use lockstep_interface::{
    dispute::{Answer, AnswerChunk, DemandRecord, Error, Share},
    escrow::Challenged,
};
use lockstep_protocol::{
    program::{Dim, Dtype, Node, Source},
    task::Commitment,
    tree,
};
use scale::Encode;

/// Elements of the tensor in each slot: less than a chunk, three and a part, exactly two.
const ELEMENTS: [u64; 3] = [10, 800, 512];
const SEGMENT: u32 = 40;

fn node(slot: usize) -> Node {
    Node::Source(Source::State {
        shape: vec![Dim(ELEMENTS[slot])],
        dtype: Dtype::F32,
    })
}

/// The program file: three states, then three of something else.
fn program() -> Vec<u8> {
    let states = (0..3).map(|slot| node(slot).hash());
    states.chain([[7; 32]; 3]).flatten().collect()
}

fn tensor(slot: usize) -> Vec<u8> {
    (0..ELEMENTS[slot] * 4).map(|i| (i % 251) as u8).collect()
}

fn state() -> Vec<u8> {
    (0..3).flat_map(|slot| tree::hash(&tensor(slot))).collect()
}

fn checkpoints() -> Vec<u8> {
    let mut file: Vec<u8> = (0..100).flat_map(|i| [i; 32]).collect();
    file[SEGMENT as usize * 32..][..32].copy_from_slice(&tree::hash(&state()));
    file
}

fn asked(slot: u32, chunk: u64) -> DemandRecord {
    try_ask(7, SEGMENT, slot, chunk).unwrap()
}

fn try_ask(value: u128, segment: u32, slot: u32, chunk: u64) -> Result<DemandRecord, Error> {
    let content = content(tree::hash(&program()), 3);
    let challenged = Challenged {
        solver: SOLVER,
        commitment: Commitment {
            trace: tree::hash(&checkpoints()),
            state: [99; 32],
        },
    };
    let asked = Asked {
        segment,
        slot,
        chunk,
    };
    ask(
        4,
        1,
        &content,
        CHALLENGER,
        value,
        asked,
        &challenged,
        at(1000, 10),
    )
}

fn honest(slot: usize, chunk: u64) -> Answer {
    let data = tensor(slot);
    let start = chunk * 1024;
    Answer {
        node: node(slot).encode(),
        program: tree::prove_open(&program(), slot as u64 * 32),
        chunk: (start < data.len() as u64).then(|| AnswerChunk {
            checkpoint: tree::prove_open(&checkpoints(), SEGMENT as u64 * 32),
            tensor: tree::prove_open(&state(), slot as u64 * 32),
            data: tree::prove_open(&data, start),
        }),
    }
}

#[test]
fn every_chunk_of_every_tensor_can_be_answered() {
    for (slot, elements) in ELEMENTS.into_iter().enumerate() {
        for chunk in 0..elements * 4 / 1024 + 2 {
            let mut record = asked(slot as u32, chunk);
            answer(&mut record, SOLVER, &honest(slot, chunk), at(1001, 11)).unwrap();
            assert_eq!(record.owed_solver, 7);
            assert_eq!(withdraw(&mut record, CHALLENGER), Err(Error::NothingOwed));
            assert_eq!(withdraw(&mut record, SOLVER), Ok(7));
            assert_eq!(withdraw(&mut record, SOLVER), Err(Error::NothingOwed));
        }
    }
}

#[test]
fn a_chunk_far_beyond_the_end_is_answered_by_the_length_alone() {
    for chunk in [4, 1 << 54, u64::MAX] {
        let mut record = asked(1, chunk);
        let mut reply = honest(1, 3);
        assert_eq!(
            answer(&mut record, SOLVER, &reply, at(1001, 11)),
            Err(Error::WrongOpening)
        );
        reply.chunk = None;
        answer(&mut record, SOLVER, &reply, at(1001, 11)).unwrap();
    }
}

#[test]
fn a_demand_of_what_cannot_exist_or_for_another_fee_is_refused_at_once() {
    assert_eq!(try_ask(7, 100, 0, 0).err(), Some(Error::NoPlace));
    assert_eq!(try_ask(7, 0, 3, 0).err(), Some(Error::NoPlace));
    assert_eq!(try_ask(6, 0, 0, 0).err(), Some(Error::Value));
    assert_eq!(try_ask(8, 0, 0, 0).err(), Some(Error::Value));
}

#[test]
fn an_answer_that_is_not_the_chunk_is_refused() {
    let right = honest(1, 3);
    let part = |change: fn(&mut AnswerChunk)| {
        let mut answer = right.clone();
        change(answer.chunk.as_mut().unwrap());
        answer
    };
    let withheld = Answer {
        chunk: None,
        ..right.clone()
    };
    let wrong = [
        (withheld, Error::WrongOpening),
        (part(|c| c.data.chunk[0] ^= 1), Error::WrongOpening),
        (part(|c| c.data.chunk.truncate(4)), Error::WrongOpening),
        (part(|c| c.data.chunk.extend([0; 4])), Error::WrongOpening),
        (
            part(|c| c.data = tree::prove_open(&tensor(1), 0)),
            Error::WrongOpening,
        ),
        (part(|c| c.tensor.chunk[32] ^= 1), Error::WrongOpening),
        (
            part(|c| c.checkpoint = tree::prove_open(&checkpoints(), 0)),
            Error::WrongOpening,
        ),
        (honest(2, 1), Error::WrongNode),
        (
            Answer {
                node: node(2).encode(),
                ..right.clone()
            },
            Error::WrongNode,
        ),
        (
            Answer {
                node: [node(1).encode(), vec![0]].concat(),
                ..right.clone()
            },
            Error::WrongNode,
        ),
        (
            Answer {
                node: vec![],
                ..right.clone()
            },
            Error::WrongNode,
        ),
    ];
    let mut record = asked(1, 3);
    let before = record;
    for (reply, error) in wrong {
        assert_eq!(
            answer(&mut record, SOLVER, &reply, at(1001, 11)),
            Err(error)
        );
    }
    assert_eq!(record, before);
    answer(&mut record, SOLVER, &right, at(1001, 11)).unwrap();
}

#[test]
fn a_demand_is_answered_once_in_time_and_by_the_solver() {
    let mut record = asked(1, 3);
    let reply = honest(1, 3);
    assert_eq!(
        answer(&mut record, STRANGER, &reply, at(1001, 11)),
        Err(Error::NotParty)
    );
    assert_eq!(
        answer(&mut record, SOLVER, &reply, at(1071, 13)),
        Err(Error::Expired)
    );
    answer(&mut record, SOLVER, &reply, at(1071, 12)).unwrap();
    assert_eq!(
        answer(&mut record, SOLVER, &reply, at(1071, 12)),
        Err(Error::Over)
    );
    assert_eq!(expire(&mut record, at(9999, 99)), Err(Error::Over));
}

#[test]
fn an_unanswered_demand_fails_only_when_time_and_blocks_have_passed() {
    let mut record = asked(1, 3);
    assert_eq!(expire(&mut record, at(1071, 12)), Err(Error::Running));
    assert_eq!(expire(&mut record, at(1070, 13)), Err(Error::Running));
    expire(&mut record, at(1071, 13)).unwrap();
    assert_eq!(expire(&mut record, at(1071, 13)), Err(Error::Over));
    assert_eq!(
        answer(&mut record, SOLVER, &honest(1, 3), at(1071, 13)),
        Err(Error::Over)
    );
    assert_eq!(withdraw(&mut record, SOLVER), Err(Error::NothingOwed));
    assert_eq!(withdraw(&mut record, CHALLENGER), Ok(7));
}

#[test]
fn only_the_demander_prunes_and_claims_and_only_what_is_over() {
    let mut record = asked(1, 3);
    assert_eq!(check_prune(&record, CHALLENGER), Err(Error::NotOver));
    expire(&mut record, at(2000, 99)).unwrap();
    record.share = Share::Earned;
    assert_eq!(check_prune(&record, CHALLENGER), Err(Error::Owed));
    withdraw(&mut record, CHALLENGER).unwrap();
    assert_eq!(check_prune(&record, CHALLENGER), Err(Error::Owed));
    assert_eq!(take_share(&mut record, SOLVER), Err(Error::NotParty));
    take_share(&mut record, CHALLENGER).unwrap();
    assert_eq!(take_share(&mut record, CHALLENGER), Err(Error::NothingOwed));
    assert_eq!(check_prune(&record, SOLVER), Err(Error::NotParty));
    check_prune(&record, CHALLENGER).unwrap();
}

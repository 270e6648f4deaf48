//! Encodings of every type that is hashed, stored or sent.

use crate::json::{describe, hex};
use crate::samples;
use lockstep_protocol::clock::Clocks;
use lockstep_protocol::encoding::{decode_canonical, Int};
use lockstep_protocol::game::{Game, Move, Outcome, Phase, Reason, Refusal, Side};
use lockstep_protocol::program::*;
use lockstep_protocol::referee::{Operand, Unproven};
use lockstep_protocol::task::{Commitment, Dataset, TaskSpec};
use lockstep_protocol::tree::{self, Opening};
use scale::{Compact, Encode};
use scale_info::TypeInfo;
use serde_json::{json, Value};

pub fn vectors() -> Value {
    let compact = [
        0,
        1,
        63,
        64,
        16_383,
        16_384,
        (1 << 30) - 1,
        1 << 30,
        u32::MAX as u64,
        1 << 32,
        (1 << 56) - 1,
        1 << 56,
        u64::MAX,
    ]
    .map(|value| json!({ "value": value, "hex": hex(&Compact(value).encode()) }));
    let int = [
        0,
        -1,
        1,
        -32,
        32,
        -33,
        8191,
        -8192,
        8192,
        1 << 40,
        i64::MAX,
        i64::MIN,
    ]
    .map(|value| json!({ "value": value, "hex": hex(&Int(value).encode()) }));
    let programs = [samples::small(), samples::deep(), samples::wide()].map(|sample| {
        let nodes = sample.program.nodes.iter();
        json!({
            "name": sample.name,
            "nodes": nodes.map(|node| hex(&node.encode())).collect::<Value>(),
            "file_hash": hex(&sample.program.root()),
        })
    });
    json!({
        "compact": compact,
        "int": int,
        "values": values(),
        "programs": programs.to_vec(),
        "not_canonical": not_canonical(),
    })
}

fn value<T: Encode + TypeInfo + 'static>(ty: &str, value: T) -> Value {
    let bytes = value.encode();
    json!({
        "type": ty,
        "hex": hex(&bytes),
        "blake3": hex(&tree::hash(&bytes)),
        "value": describe(&value),
    })
}

fn values() -> Vec<Value> {
    let mut values = vec![];
    for node in samples::small().program.nodes {
        values.push(value("Node", node));
    }
    values.push(value("Node", Node::Map(every_operation())));
    let spec = spec();
    let commitment = Commitment {
        trace: [0xa5; 32],
        state: [0x5a; 32],
    };
    values.push(value("TaskSpec", spec.clone()));
    values.push(value("Commitment", commitment));
    let opening = Opening {
        chunk: vec![1, 2, 3],
        path: vec![[7; 32], [8; 32]],
    };
    values.push(value("Opening", opening.clone()));
    values.extend(moves(opening).into_iter().map(|mv| value("Move", mv)));
    values.push(value("Game", Game::new(&spec, &commitment)));
    let outcomes = [
        Outcome {
            winner: Side::Defender,
            reason: Reason::Proven,
        },
        Outcome {
            winner: Side::Challenger,
            reason: Reason::Disproven { found: 0x0102_0304 },
        },
        Outcome {
            winner: Side::Challenger,
            reason: Reason::MalformedNode,
        },
        Outcome {
            winner: Side::Defender,
            reason: Reason::Timeout,
        },
    ];
    values.extend(outcomes.map(|outcome| value("Phase", Phase::Over(outcome))));
    let refusals = [
        Refusal::Over,
        Refusal::NotYourTurn,
        Refusal::WrongMove,
        Refusal::WrongBytes,
        Refusal::NoSuchEntry,
        Refusal::WrongLeft,
        Refusal::WrongLast,
        Refusal::WrongNode,
        Refusal::WrongOpening,
        Refusal::Operand(Unproven::Absent(1)),
        Refusal::Operand(Unproven::Opening(2)),
        Refusal::Operand(Unproven::Record),
    ];
    values.extend(refusals.map(|refusal| value("Refusal", refusal)));
    values.push(value(
        "Clocks",
        Clocks::new(3_600_000, 60_000, 10, 1_700_000_000_000, 42),
    ));
    values
}

/// A body with every operation once, in the order of their numbers.
fn every_operation() -> Body {
    Body {
        shape: samples::dims(&[1, 2, 3]),
        dtype: Dtype::I32,
        index: vec![],
        reads: vec![samples::access(3, Dtype::U8, 9, vec![])],
        values: vec![Form::new(i64::MIN, &[(0, 1), (2, i64::MAX)])],
        consts: vec![0xdead_beef],
        ops: vec![
            Op::FAdd(0, 1),
            Op::FSub(1, 2),
            Op::FMul(2, 3),
            Op::FFma(0, 1, 2),
            Op::FDiv(4, 0),
            Op::FSqrt(1),
            Op::FMin(2, 0),
            Op::FMax(3, 1),
            Op::FNeg(4),
            Op::FAbs(5),
            Op::FEq(0, 1),
            Op::FLt(1, 2),
            Op::FLe(2, 3),
            Op::IAdd(0, 1),
            Op::ISub(1, 2),
            Op::IMul(2, 3),
            Op::UMulHi(3, 4),
            Op::And(0, 1),
            Op::Or(1, 2),
            Op::Xor(2, 3),
            Op::Shl(3, 4),
            Op::ShrU(4, 5),
            Op::ShrS(5, 6),
            Op::IMinS(0, 1),
            Op::IMaxS(1, 2),
            Op::IMinU(2, 3),
            Op::IMaxU(3, 4),
            Op::IEq(0, 1),
            Op::ILtS(1, 2),
            Op::ILtU(2, 3),
            Op::Select(0, 1, 2),
            Op::F32ToI32(3),
            Op::F32ToU32(4),
            Op::I32ToF32(5),
            Op::U32ToF32(6),
        ],
    }
}

fn spec() -> TaskSpec {
    TaskSpec {
        program: [1; 32],
        nodes: 300,
        slots: 7,
        genesis: [2; 32],
        datasets: vec![
            Dataset {
                root: [3; 32],
                records: 60_000,
                record_size: 788,
            },
            Dataset {
                root: [4; 32],
                records: 1 << 40,
                record_size: 1,
            },
        ],
        batch: 64,
        steps: 100_000,
        segment: 250,
        seed: 0x0123_4567_89ab_cdef,
    }
}

/// Every kind of move.
fn moves(opening: Opening) -> Vec<Move> {
    let operand = Operand {
        tensor: opening.clone(),
        element: opening.clone(),
    };
    vec![
        Move::Reveal((0..70).collect()),
        Move::SelectSubtree {
            index: 63,
            value: [9; 32],
            siblings: vec![[10; 32]],
        },
        Move::SelectEntry {
            index: 255,
            chunk: vec![5; 3],
        },
        Move::OpenSteps {
            left: Some(opening.clone()),
            root: [11; 32],
            last: opening.clone(),
        },
        Move::OpenNodes {
            left: None,
            root: [12; 32],
        },
        Move::DisputeNodes,
        Move::DisputeState,
        Move::OpenNode {
            node: vec![0, 3],
            program: opening.clone(),
            slot: Some(opening.clone()),
        },
        Move::ShowSlot(opening.clone()),
        Move::OpenFold {
            root: [13; 32],
            last: opening.clone(),
        },
        Move::Prove {
            left: None,
            node: vec![1, 2],
            operands: vec![None, Some(operand), None],
        },
        Move::ProveRecord {
            node: vec![6],
            datasets: spec().datasets,
            record: opening,
        },
    ]
}

/// Bytes that decode leniently or not at all, and are refused where a node is expected.
fn not_canonical() -> Value {
    let node = Node::Map(samples::body(
        &[5],
        Dtype::F32,
        vec![],
        &[1],
        &[Op::FNeg(0)],
    ))
    .encode();
    let mut longer = node.clone();
    longer.push(0);
    // The first dimension, 5, in the two-byte mode.
    let mut wide = node.clone();
    wide.splice(2..3, [5 << 2 | 1, 0]);
    let mut unknown_node = node.clone();
    unknown_node[0] = 3;
    let mut unknown_dtype = node.clone();
    unknown_dtype[3] = 6;
    let mut unknown_operation = node.clone();
    let at = node.len() - 2;
    unknown_operation[at] = 35;
    let shorter = node[..node.len() - 1].to_vec();
    let cases = [
        ("a byte is left over", longer),
        ("a compact integer is not in its shortest form", wide),
        ("there is no such kind of node", unknown_node),
        ("there is no such element type", unknown_dtype),
        ("there is no such operation", unknown_operation),
        ("the last byte is missing", shorter),
        ("there is nothing", vec![]),
    ];
    assert!(decode_canonical::<Node>(&node).is_ok());
    cases
        .into_iter()
        .map(|(why, bytes)| {
            assert!(decode_canonical::<Node>(&bytes).is_err(), "{why}");
            json!({ "why": why, "hex": hex(&bytes) })
        })
        .collect()
}

//! Which nodes, programs and tasks are valid.

use crate::json::hex;
use crate::samples::{self, access, at_0, axis, body, dims};
use lockstep_protocol::encoding::decode_canonical;
use lockstep_protocol::program::*;
use lockstep_protocol::random::Rng;
use lockstep_protocol::task::{Dataset, TaskSpec, MAX_DATASET_BYTES, MAX_RECORDS};
use lockstep_protocol::validate;
use scale::Encode;
use serde_json::{json, Value};
use std::fmt::Debug;

/// Nodes that random changes of bytes produce.
const RANDOM: usize = 300;

pub fn vectors() -> Value {
    let mut nodes: Vec<Value> = nodes()
        .into_iter()
        .map(|(about, position, node)| verdict(about, position, &node.encode()))
        .collect();
    let mut rng = Rng::new(7);
    let originals = samples::small().program.nodes;
    nodes.extend((0..RANDOM).map(|_| {
        let position = rng.below(originals.len() as u64) as usize;
        let mut bytes = originals[position].encode();
        for _ in 0..=rng.below(2) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = match rng.below(3) {
                0 => rng.below(256) as u8,
                1 => bytes[at].wrapping_add(4),
                _ => bytes[at] ^ 1 << rng.below(8),
            };
        }
        verdict("random", position as u32, &bytes)
    }));
    json!({
        "nodes": nodes,
        "programs": programs(),
        "specs": specs(),
        "costs": costs(),
    })
}

fn verdict(about: &str, position: u32, bytes: &[u8]) -> Value {
    let verdict = match decode_canonical::<Node>(bytes) {
        Err(_) => "NotCanonical".to_string(),
        Ok(node) => named(validate::node(&node, position)),
    };
    json!({ "about": about, "position": position, "node": hex(bytes), "verdict": verdict })
}

/// The name of a fault.
fn named<F: Debug>(result: Result<(), F>) -> String {
    match result {
        Ok(()) => "Valid".to_string(),
        Err(fault) => {
            let text = format!("{fault:?}");
            text.split(|c: char| !c.is_alphanumeric())
                .next()
                .unwrap()
                .to_string()
        }
    }
}

/// Nodes at the limits and just beyond, where they stand in their program.
fn nodes() -> Vec<(&'static str, u32, Node)> {
    use Dtype::*;
    const R: u8 = var::RED;
    const W: u8 = var::INDEX;
    let plain = |shape: &[u64]| Node::Map(body(shape, F32, vec![], &[0], &[]));
    let reading = |access: Access| Node::Map(body(&[4], F32, vec![access], &[], &[]));
    let line = |count: u64, base: i64, extent: u64, stride: i64| {
        let axes = vec![axis(Form::var(0), extent, stride)];
        reading(Access {
            base: base.into(),
            ..access(0, F32, count, axes)
        })
    };
    let valued = |form: Form| {
        Node::Map(Body {
            values: vec![form],
            ..body(&[4], F32, vec![], &[], &[])
        })
    };
    let indexed = |dtype: Dtype, fill: u32, coef: i64| {
        let index = vec![Access {
            fill,
            ..access(0, dtype, 4, vec![])
        }];
        let values = vec![Form::new(0, &[(W, coef)])];
        Node::Map(Body {
            index,
            values,
            ..body(&[4], F32, vec![], &[], &[])
        })
    };
    let fold = |red: &[u64], when: Vec<Guard>, init: Init| {
        let body = body(&[4], F32, vec![], &[], &[]);
        Node::Fold(Fold {
            body,
            red: dims(red),
            when,
            init,
        })
    };
    let guard = |lo: i64, hi: i64| Guard {
        form: Form::var(R),
        lo: lo.into(),
        hi: hi.into(),
    };
    let batch = |record_size, offset, fields, dtype| {
        Node::Source(Source::Batch {
            dataset: 0,
            batch: 2,
            record_size,
            offset,
            fields,
            dtype,
        })
    };
    let reads = |count: usize| Node::Map(body(&[4], F32, vec![at_0(0, F32, 4); count], &[], &[]));
    let terms = |terms: &[(u8, i64)]| {
        let terms = terms.iter().map(|&(var, coef)| Term {
            var,
            coef: coef.into(),
        });
        valued(Form {
            constant: 0.into(),
            terms: terms.collect(),
        })
    };
    let limit = 1i64 << 62;
    vec![
        ("eight dimensions", 0, plain(&[1, 2, 3, 4, 5, 6, 7, 8])),
        ("nine dimensions", 0, plain(&[1; 9])),
        ("no dimension", 0, plain(&[])),
        ("a dimension of 0", 0, plain(&[2, 0])),
        ("2^38 elements", 0, plain(&[1 << 19, 1 << 19])),
        ("more than 2^38 elements", 0, plain(&[(1 << 38) + 1])),
        (
            "a product of dimensions beyond 64 bits",
            0,
            plain(&[1 << 63, 4]),
        ),
        (
            "a constant of 0 elements",
            0,
            samples::constant(&[0], F32, [1; 32]),
        ),
        (
            "a state source of nine dimensions",
            0,
            samples::state(&[1; 9], U8),
        ),
        ("the step", 0, Node::Source(Source::Step)),
        ("a batch field that ends its record", 0, batch(8, 4, 2, U16)),
        ("a batch field beyond its record", 0, batch(8, 4, 3, U16)),
        ("a batch field of no elements", 0, batch(8, 4, 0, U16)),
        ("a batch field that is not aligned", 0, batch(8, 2, 1, F32)),
        ("a record that is not aligned", 0, batch(9, 4, 1, U16)),
        (
            "a batch field whose end overflows 32 bits",
            0,
            batch(8, 0, u32::MAX, U16),
        ),
        (
            "a read of a node itself",
            1,
            reading(access(1, F32, 4, vec![])),
        ),
        (
            "a read at position 0",
            0,
            reading(access(0, F32, 4, vec![])),
        ),
        (
            "a read of a node of no elements",
            1,
            reading(access(0, F32, 0, vec![])),
        ),
        (
            "a read of too long a node",
            1,
            reading(access(0, F32, (1 << 38) + 1, vec![])),
        ),
        ("all of a vector", 1, line(4, 0, 4, 1)),
        ("one element too many", 1, line(4, 0, 5, 1)),
        ("a vector backwards", 1, line(4, 3, 4, -1)),
        (
            "a vector backwards from its second last element",
            1,
            line(4, 2, 4, -1),
        ),
        (
            "a base at the end",
            1,
            reading(Access {
                base: 4.into(),
                ..at_0(0, F32, 4)
            }),
        ),
        ("a base before the start", 1, line(4, -1, 4, 1)),
        ("an extent of 0", 1, line(4, 0, 0, 1)),
        (
            "an extent of 2^64 - 1 without stride",
            1,
            line(4, 0, u64::MAX, 0),
        ),
        (
            "an extent of 2^64 - 1 with the longest stride",
            1,
            line(4, 0, u64::MAX, i64::MIN),
        ),
        (
            "two axes that cancel each other only together",
            1,
            reading(access(
                0,
                F32,
                4,
                vec![axis(Form::var(0), 4, 1), axis(Form::var(0), 4, -1)],
            )),
        ),
        (
            "six axes",
            1,
            reading(access(
                0,
                F32,
                7,
                (0..6).map(|_| axis(Form::var(0), 2, 1)).collect(),
            )),
        ),
        (
            "seven axes",
            1,
            reading(access(
                0,
                F32,
                9,
                (0..7).map(|_| axis(Form::var(0), 2, 1)).collect(),
            )),
        ),
        ("eight reads", 1, reads(8)),
        ("nine reads", 1, reads(9)),
        (
            "nothing at all in a body",
            0,
            Node::Map(body(&[4], F32, vec![], &[], &[])),
        ),
        ("an accumulator alone", 0, fold(&[3], vec![], Init::Word(1))),
        (
            "255 registers",
            0,
            Node::Map(body(&[4], F32, vec![], &[9], &[Op::FNeg(0); 254])),
        ),
        (
            "256 registers",
            0,
            Node::Map(body(&[4], F32, vec![], &[9], &[Op::FNeg(0); 255])),
        ),
        ("an encoding of 2048 bytes", 0, of_size(2048)),
        ("an encoding of 2049 bytes", 0, of_size(2049)),
        (
            "an operand that is the result",
            0,
            Node::Map(body(&[4], F32, vec![], &[9], &[Op::FNeg(1)])),
        ),
        (
            "a later operand",
            0,
            Node::Map(body(
                &[4],
                F32,
                vec![],
                &[9],
                &[Op::FFma(0, 0, 2), Op::FNeg(0)],
            )),
        ),
        ("terms in ascending order", 0, {
            let Node::Map(inner) = terms(&[(0, 1), (1, -1)]) else {
                unreachable!()
            };
            Node::Map(Body {
                shape: dims(&[4, 5]),
                ..inner
            })
        }),
        ("terms in descending order", 0, {
            let Node::Map(inner) = terms(&[(1, 1), (0, -1)]) else {
                unreachable!()
            };
            Node::Map(Body {
                shape: dims(&[4, 5]),
                ..inner
            })
        }),
        ("a term twice", 0, terms(&[(0, 1), (0, 1)])),
        ("a coefficient of 0", 0, terms(&[(0, 0)])),
        ("an output coordinate beyond the shape", 0, terms(&[(1, 1)])),
        ("a reduction coordinate in a map", 0, terms(&[(R, 1)])),
        ("an index word that is not there", 0, terms(&[(W, 1)])),
        ("a variable that does not exist", 0, terms(&[(var::END, 1)])),
        ("variable 255", 0, terms(&[(255, 1)])),
        ("a constant of 2^62", 0, valued(Form::new(limit, &[]))),
        (
            "a constant beyond 2^62",
            0,
            valued(Form::new(-limit - 1, &[])),
        ),
        ("the least constant", 0, valued(Form::new(i64::MIN, &[]))),
        (
            "a form that can reach 2^62",
            0,
            valued(Form::new(limit - 3, &[(0, -1)])),
        ),
        (
            "a form that can exceed 2^62",
            0,
            valued(Form::new(limit - 2, &[(0, 1)])),
        ),
        ("a float as index word", 1, indexed(F32, 0, 1)),
        (
            "an unsigned index word at the limit",
            1,
            indexed(U32, 0, 1 << 30),
        ),
        (
            "an unsigned index word beyond the limit",
            1,
            indexed(U32, 0, (1 << 30) + 1),
        ),
        (
            "a signed index word at the limit",
            1,
            indexed(I32, 0, 1 << 31),
        ),
        (
            "a signed index word beyond the limit",
            1,
            indexed(I32, 0, (1 << 31) + 1),
        ),
        (
            "a byte as index word at the limit",
            1,
            indexed(U8, 0, (1 << 62) / 255),
        ),
        (
            "a byte as index word beyond the limit",
            1,
            indexed(U8, 0, (1 << 62) / 255 + 1),
        ),
        (
            "a byte as index word with a large fill",
            1,
            indexed(U8, 0x8000_0000, 1 << 31),
        ),
        (
            "a byte as index word with a large fill beyond",
            1,
            indexed(U8, 0x8000_0000, (1 << 31) + 1),
        ),
        (
            "a signed byte as index word with fill -128",
            1,
            indexed(I8, 0xffff_ff80, 1 << 55),
        ),
        (
            "a signed byte as index word with fill -129",
            1,
            indexed(I8, 0xffff_ff7f, 1 << 55),
        ),
        (
            "three index words",
            1,
            Node::Map(Body {
                index: vec![access(0, U8, 4, vec![]); 3],
                ..body(&[4], F32, vec![], &[1], &[])
            }),
        ),
        (
            "two index words and seven reads",
            1,
            Node::Map(Body {
                index: vec![access(0, U8, 4, vec![]); 2],
                ..body(&[4], F32, vec![at_0(0, F32, 4); 7], &[], &[])
            }),
        ),
        (
            "an index word over an index word",
            1,
            Node::Map(Body {
                index: vec![
                    access(0, U8, 4, vec![]),
                    access(0, U8, 4, vec![axis(Form::var(W), 4, 1)]),
                ],
                ..body(&[4], F32, vec![], &[1], &[])
            }),
        ),
        (
            "2^24 steps of a reduction",
            0,
            fold(&[1 << 12, 1 << 12], vec![], Init::Word(0)),
        ),
        (
            "more than 2^24 steps of a reduction",
            0,
            fold(&[(1 << 24) + 1], vec![], Init::Word(0)),
        ),
        (
            "no reduction dimension",
            0,
            fold(&[], vec![], Init::Word(0)),
        ),
        (
            "five reduction dimensions",
            0,
            fold(&[1; 5], vec![], Init::Word(0)),
        ),
        (
            "a reduction dimension of 0",
            0,
            fold(&[3, 0], vec![], Init::Word(0)),
        ),
        (
            "four guards",
            0,
            fold(&[3], vec![guard(0, 1); 4], Init::Word(0)),
        ),
        (
            "five guards",
            0,
            fold(&[3], vec![guard(0, 1); 5], Init::Word(0)),
        ),
        (
            "a guard that nothing passes",
            0,
            fold(&[3], vec![guard(1, 1)], Init::Word(0)),
        ),
        (
            "the widest guard",
            0,
            fold(&[3], vec![guard(i64::MIN, i64::MAX)], Init::Word(0)),
        ),
        (
            "an init over a reduction coordinate",
            1,
            fold(
                &[3],
                vec![],
                Init::Read(access(0, F32, 4, vec![axis(Form::var(R), 4, 1)])),
            ),
        ),
        (
            "an init over an output coordinate",
            1,
            fold(&[3], vec![], Init::Read(at_0(0, F32, 4))),
        ),
        (
            "an init of a later node",
            1,
            fold(&[3], vec![], Init::Read(at_0(2, F32, 4))),
        ),
    ]
}

/// A valid node, but for its size, whose encoding has so many bytes.
fn of_size(bytes: usize) -> Node {
    let mut body = body(&[4], Dtype::F32, vec![], &[9; 64], &[]);
    // Encoded in 10, 3 and 2 bytes.
    let forms = [1 << 61, 64, 0].map(Form::constant);
    body.values = vec![forms[0].clone(); 64];
    loop {
        let missing = bytes - Node::Map(body.clone()).encoded_size();
        body.values.push(match missing {
            0 => return Node::Map(body),
            1..=13 if missing % 2 == 1 => forms[1].clone(),
            1..=13 => forms[2].clone(),
            _ => forms[0].clone(),
        });
    }
}

/// Programs, most of them with one thing wrong that no node shows alone.
fn programs() -> Value {
    let small = samples::small().program;
    let changed = |change: fn(&mut Program)| {
        let mut program = small.clone();
        change(&mut program);
        program
    };
    let cases = [
        ("as it is", small.clone()),
        ("no slots", changed(|p| p.slots = 0)),
        ("a slot more than states", changed(|p| p.slots = 3)),
        ("a slot less than states", changed(|p| p.slots = 1)),
        (
            "more than half of the nodes are slots",
            changed(|p| p.slots = 8),
        ),
        (
            "no nodes",
            Program {
                slots: 1,
                nodes: vec![],
            },
        ),
        (
            "a state that is the next state at once",
            Program {
                slots: 1,
                nodes: vec![samples::state(&[1], Dtype::U8)],
            },
        ),
        (
            "the next states exchanged",
            changed(|p| p.nodes.swap(12, 13)),
        ),
        (
            "a next state of another shape with as many elements",
            changed(|p| {
                let Node::Map(body) = &mut p.nodes[13] else {
                    unreachable!()
                };
                body.shape = dims(&[1, 1, 1]);
            }),
        ),
        (
            "a next state of another element type",
            changed(|p| {
                let Node::Map(body) = &mut p.nodes[13] else {
                    unreachable!()
                };
                body.dtype = Dtype::I32;
            }),
        ),
        (
            "a read with another length than its node",
            changed(|p| {
                let Node::Map(body) = &mut p.nodes[12] else {
                    unreachable!()
                };
                body.reads[2].len = 8;
            }),
        ),
        (
            "a read with another element type than its node",
            changed(|p| {
                let Node::Map(body) = &mut p.nodes[12] else {
                    unreachable!()
                };
                body.reads[2].dtype = Dtype::U32;
            }),
        ),
        (
            "an index word with another element type than its node",
            changed(|p| {
                let Node::Map(body) = &mut p.nodes[11] else {
                    unreachable!()
                };
                body.index[0].dtype = Dtype::U32;
            }),
        ),
        (
            "an init with another length than its node",
            changed(|p| {
                let Node::Fold(fold) = &mut p.nodes[8] else {
                    unreachable!()
                };
                let Init::Read(access) = &mut fold.init else {
                    unreachable!()
                };
                access.len = 5;
            }),
        ),
        (
            "a node that is not valid alone",
            changed(|p| {
                let Node::Map(body) = &mut p.nodes[13] else {
                    unreachable!()
                };
                body.reads[0].node = 13;
            }),
        ),
    ];
    cases
        .into_iter()
        .map(|(about, program)| {
            let result = validate::program(&program);
            json!({
                "about": about,
                "slots": program.slots,
                "nodes": program.nodes.iter().map(|n| hex(&n.encode())).collect::<Value>(),
                "node": result.err().and_then(|invalid| invalid.node),
                "verdict": named(result.map_err(|invalid| invalid.fault)),
            })
        })
        .collect()
}

/// Numbers of a task at the limits and beyond.
fn specs() -> Value {
    let dataset = Dataset {
        root: [3; 32],
        records: 5,
        record_size: 8,
    };
    let base = TaskSpec {
        program: [1; 32],
        nodes: 16_384,
        slots: 8_192,
        genesis: [2; 32],
        datasets: vec![dataset.clone()],
        batch: 1,
        steps: 10,
        segment: 10,
        seed: 0,
    };
    let of = |records, record_size| {
        vec![
            Dataset {
                root: [3; 32],
                records,
                record_size
            };
            4
        ]
    };
    let base = || base.clone();
    let cases = [
        base(),
        TaskSpec {
            nodes: 16_385,
            ..base()
        },
        TaskSpec {
            slots: 8_193,
            ..base()
        },
        TaskSpec { slots: 0, ..base() },
        TaskSpec { batch: 0, ..base() },
        TaskSpec {
            steps: 0,
            segment: 0,
            ..base()
        },
        TaskSpec {
            segment: 0,
            ..base()
        },
        TaskSpec {
            segment: 11,
            ..base()
        },
        TaskSpec {
            steps: u32::MAX,
            segment: 1,
            batch: u32::MAX,
            ..base()
        },
        TaskSpec {
            datasets: vec![],
            ..base()
        },
        TaskSpec {
            datasets: vec![dataset; 5],
            ..base()
        },
        TaskSpec {
            datasets: of(0, 1),
            ..base()
        },
        TaskSpec {
            datasets: of(1, 0),
            ..base()
        },
        TaskSpec {
            datasets: of(MAX_RECORDS, 256),
            ..base()
        },
        TaskSpec {
            datasets: of(MAX_RECORDS + 1, 1),
            ..base()
        },
        TaskSpec {
            datasets: of(MAX_DATASET_BYTES / 1024 + 1, 1024),
            ..base()
        },
        TaskSpec {
            datasets: of(u64::MAX, u32::MAX),
            ..base()
        },
    ];
    cases
        .into_iter()
        .map(|spec| json!({ "spec": hex(&spec.encode()), "verdict": named(spec.check()) }))
        .collect()
}

/// The worst case of proving a step of each node of the samples.
fn costs() -> Value {
    [samples::small(), samples::deep(), samples::wide()]
        .into_iter()
        .map(|sample| {
            let count = sample.program.nodes.len() as u32;
            let costs = sample.program.nodes.iter().map(|node| {
                let cost = validate::cost(node, count);
                json!([cost.bytes, cost.time])
            });
            json!({ "program": sample.name, "bytes_and_time": costs.collect::<Value>() })
        })
        .collect()
}

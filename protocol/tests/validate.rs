//! The validator: one fault at a time, each with its node and reason; boundaries; hostile input.

use lockstep_protocol::encoding::{decode_canonical, Int};
use lockstep_protocol::program::{
    limits, var, Access, Axis, Body, Dim, Dtype, Fold, Form, Guard, Init, Node, Op, Program,
    Source, Term,
};
use lockstep_protocol::step;
use lockstep_protocol::task::{Dataset, TaskSpec};
use lockstep_protocol::validate::{self, cost, Fault, PROOF_BYTES, PROOF_TIME};
use proptest::prelude::*;
use scale::{Decode, Encode};

const I: u8 = 0;
const J: u8 = 1;
const K: u8 = var::RED;
const W: u8 = var::INDEX;

fn dims(shape: &[u64]) -> Vec<Dim> {
    shape.iter().copied().map(Dim).collect()
}

fn axis(form: Form, extent: u64, stride: i64) -> Axis {
    Axis {
        form,
        extent,
        stride: Int(stride),
    }
}

fn access(node: u32, dtype: Dtype, len: u64, axes: Vec<Axis>) -> Access {
    Access {
        node,
        dtype,
        len,
        base: Int(0),
        axes,
        fill: 0,
    }
}

fn body(shape: &[u64], dtype: Dtype) -> Body {
    Body {
        shape: dims(shape),
        dtype,
        index: vec![],
        reads: vec![],
        values: vec![],
        consts: vec![],
        ops: vec![],
    }
}

/// A small program with every kind of node and access.
fn sample() -> Program {
    let state = |shape: &[u64], dtype| {
        let shape = dims(shape);
        Node::Source(Source::State { shape, dtype })
    };
    let batch = |offset, fields, dtype| {
        Node::Source(Source::Batch {
            dataset: 0,
            batch: 4,
            record_size: 16,
            offset,
            fields,
            dtype,
        })
    };
    let rows = |node| {
        let axes = vec![axis(Form::var(I), 4, 3), axis(Form::var(J), 3, 1)];
        access(node, Dtype::F32, 12, axes)
    };
    let label = access(3, Dtype::U8, 4, vec![axis(Form::var(I), 4, 1)]);
    let picked = access(
        4,
        Dtype::F32,
        15,
        vec![axis(Form::var(J), 3, 5), axis(Form::var(W), 5, 1)],
    );
    let map = Node::Map(Body {
        index: vec![label.clone()],
        reads: vec![rows(2), picked],
        values: vec![Form::new(0, &[(I, 3), (J, 1)])],
        consts: vec![0x3f80_0000],
        ops: vec![Op::U32ToF32(2), Op::FFma(0, 1, 4), Op::FAdd(5, 3)],
        ..body(&[4, 3], Dtype::F32)
    });
    let fold = Node::Fold(Fold {
        body: Body {
            index: vec![label],
            reads: vec![
                access(
                    5,
                    Dtype::F32,
                    12,
                    vec![axis(Form::var(I), 4, 3), axis(Form::var(K), 3, 1)],
                ),
                access(
                    4,
                    Dtype::F32,
                    15,
                    vec![axis(Form::var(K), 3, 5), axis(Form::var(J), 5, 1)],
                ),
            ],
            ops: vec![Op::FFma(1, 2, 0)],
            ..body(&[4, 5], Dtype::F32)
        },
        red: dims(&[3]),
        when: vec![Guard {
            form: Form::new(0, &[(K, 1), (W, 1)]),
            lo: Int(-3),
            hi: Int(200),
        }],
        init: Init::Read(access(4, Dtype::F32, 15, vec![axis(Form::var(J), 5, 1)])),
    });
    Program {
        slots: 2,
        nodes: vec![
            state(&[4, 3], Dtype::F32),
            state(&[2], Dtype::I32),
            batch(4, 3, Dtype::F32),
            batch(0, 1, Dtype::U8),
            Node::Source(Source::Constant {
                shape: dims(&[3, 5]),
                dtype: Dtype::F32,
                hash: [7; 32],
            }),
            map,
            fold,
            Node::Map(Body {
                reads: vec![rows(0), rows(5)],
                ops: vec![Op::FAdd(0, 1)],
                ..body(&[4, 3], Dtype::F32)
            }),
            Node::Map(Body {
                reads: vec![access(1, Dtype::I32, 2, vec![axis(Form::var(I), 2, 1)])],
                ..body(&[2], Dtype::I32)
            }),
        ],
    }
}

const MAP: usize = 5;
const FOLD: usize = 6;

/// The body of a node of the sample.
fn body_of(program: &mut Program, node: usize) -> &mut Body {
    match &mut program.nodes[node] {
        Node::Map(body) | Node::Fold(Fold { body, .. }) => body,
        Node::Source(_) => panic!("a source has no body"),
    }
}

fn fold_of(program: &mut Program) -> &mut Fold {
    match &mut program.nodes[FOLD] {
        Node::Fold(fold) => fold,
        _ => panic!("not a fold"),
    }
}

fn init_of(program: &mut Program) -> &mut Access {
    match &mut fold_of(program).init {
        Init::Read(access) => access,
        Init::Word(_) => panic!("not a read"),
    }
}

fn shape_of(program: &mut Program, node: usize) -> &mut Vec<Dim> {
    match &mut program.nodes[node] {
        Node::Source(Source::State { shape, .. } | Source::Constant { shape, .. }) => shape,
        Node::Map(body) | Node::Fold(Fold { body, .. }) => &mut body.shape,
        Node::Source(_) => panic!("a source without a shape of its own"),
    }
}

/// The sample with one change is refused with exactly this text.
#[track_caller]
fn refused(change: impl FnOnce(&mut Program), text: &str) {
    let mut program = sample();
    change(&mut program);
    let invalid = validate::program(&program).expect_err("must be refused");
    assert_eq!(invalid.to_string(), text);
}

#[track_caller]
fn accepted(change: impl FnOnce(&mut Program)) {
    let mut program = sample();
    change(&mut program);
    assert_eq!(validate::program(&program), Ok(()));
}

#[test]
fn the_sample_is_valid() {
    accepted(|_| ());
}

#[test]
fn counts_of_slots_and_nodes_are_bounded() {
    refused(
        |p| p.slots = 0,
        "0 slots, at least 1 and two nodes for each are needed",
    );
    refused(
        |p| p.slots = 5,
        "5 slots, at least 1 and two nodes for each are needed",
    );
    refused(
        |p| p.slots = u32::MAX,
        "4294967295 slots, at least 1 and two nodes for each are needed",
    );
    refused(
        |p| p.nodes.clear(),
        "2 slots, at least 1 and two nodes for each are needed",
    );
    refused(
        |p| p.nodes.resize(16385, Node::Source(Source::Step)),
        "16385 nodes, at most 16384 are allowed",
    );
    accepted(|p| {
        let end = p.nodes.split_off(7);
        p.nodes.resize(16382, Node::Source(Source::Step));
        p.nodes.extend(end);
    });
}

#[test]
fn state_comes_first_and_next_state_last() {
    refused(
        |p| p.nodes[1] = Node::Source(Source::Step),
        "node 1: the first nodes must be the state sources, one for each slot",
    );
    refused(
        |p| p.nodes[4] = p.nodes[0].clone(),
        "node 4: a state source without a slot",
    );
    refused(
        |p| body_of(p, 8).dtype = Dtype::U32,
        "node 8: the next state must have the element type and number of elements of slot 1",
    );
    refused(
        |p| body_of(p, 7).shape = dims(&[4, 4]),
        "node 7: the next state must have the element type and number of elements of slot 0",
    );
    accepted(|p| body_of(p, 7).shape = dims(&[2, 6]));
    accepted(|p| {
        p.nodes = vec![p.nodes[1].clone(), p.nodes[8].clone()];
        p.slots = 1;
        body_of(p, 1).reads[0].node = 0;
    });
}

#[test]
fn accesses_agree_with_the_nodes_they_read() {
    refused(
        |p| body_of(p, MAP).reads[0].dtype = Dtype::I32,
        "node 5: read 0: the element type or length is not that of node 2",
    );
    refused(
        |p| body_of(p, MAP).reads[0].len = 13,
        "node 5: read 0: the element type or length is not that of node 2",
    );
    refused(
        |p| body_of(p, FOLD).index[0].dtype = Dtype::I8,
        "node 6: index 0: the element type or length is not that of node 3",
    );
    refused(
        |p| init_of(p).len = 16,
        "node 6: init: the element type or length is not that of node 4",
    );
    refused(
        |p| body_of(p, MAP).reads[1].node = 5,
        "node 5: read 1: node 5 is not earlier than the reading node",
    );
    refused(
        |p| body_of(p, MAP).index[0].node = u32::MAX,
        "node 5: index 0: node 4294967295 is not earlier than the reading node",
    );
    refused(
        |p| init_of(p).node = 6,
        "node 6: init: node 6 is not earlier than the reading node",
    );
}

#[test]
fn shapes_are_bounded() {
    for node in [0, 4, 5, 6] {
        refused(
            |p| shape_of(p, node).clear(),
            &format!("node {node}: 0 dimensions, 1 to 8 are allowed"),
        );
        refused(
            |p| *shape_of(p, node) = dims(&[1; 9]),
            &format!("node {node}: 9 dimensions, 1 to 8 are allowed"),
        );
        refused(
            |p| *shape_of(p, node) = dims(&[2, 0]),
            &format!("node {node}: dimension 1 is 0, must be at least 1"),
        );
        for shape in [
            &[(1 << 38) + 1][..],
            &[1 << 20, 1 << 19],
            &[u64::MAX, u64::MAX],
            &[1 << 32, 1 << 32],
        ] {
            refused(
                |p| *shape_of(p, node) = dims(shape),
                &format!("node {node}: more than 274877906944 elements"),
            );
        }
    }
    accepted(|p| {
        let dtype = Dtype::U8;
        let shape = dims(&[1 << 19, 1 << 19, 1, 1, 1, 1, 1, 1]);
        let hash = [0; 32];
        let constant = Source::Constant { shape, dtype, hash };
        p.nodes.insert(4, Node::Source(constant));
        for node in 6..8 {
            for access in body_of(p, node).reads.iter_mut() {
                access.node += (access.node > 3) as u32;
            }
        }
        match &mut p.nodes[7] {
            Node::Fold(Fold {
                init: Init::Read(access),
                ..
            }) => access.node += 1,
            _ => panic!("not a fold with a read"),
        }
        body_of(p, 8).reads[1].node += 1;
    });
}

#[test]
fn reductions_are_bounded() {
    refused(
        |p| fold_of(p).red.clear(),
        "node 6: 0 reduction dimensions, 1 to 4 are allowed",
    );
    refused(
        |p| fold_of(p).red = dims(&[1; 5]),
        "node 6: 5 reduction dimensions, 1 to 4 are allowed",
    );
    refused(
        |p| fold_of(p).red = dims(&[3, 0]),
        "node 6: reduction dimension 1 is 0, must be at least 1",
    );
    for red in [&[(1 << 24) + 1][..], &[1 << 12, 1 << 13], &[u64::MAX; 4]] {
        refused(
            |p| fold_of(p).red = dims(red),
            "node 6: a reduction of more than 16777216 steps",
        );
    }
    accepted(|p| fold_of(p).red = dims(&[1 << 12, 1 << 12, 1, 1]));
}

#[test]
fn batches_fit_their_records() {
    let batch = |p: &mut Program, change: fn(&mut [u32; 4])| {
        let Node::Source(Source::Batch {
            batch,
            record_size,
            offset,
            fields,
            ..
        }) = &mut p.nodes[2]
        else {
            panic!("not a batch")
        };
        let mut numbers = [*batch, *record_size, *offset, *fields];
        change(&mut numbers);
        [*batch, *record_size, *offset, *fields] = numbers;
    };
    type Change = fn(&mut [u32; 4]);
    let cases: [(Change, &str); 8] = [
        (|n| n[0] = 0, "dimension 0 is 0, must be at least 1"),
        (|n| n[3] = 0, "dimension 1 is 0, must be at least 1"),
        (
            |n| n[3] = 4,
            "the field reaches beyond the end of the record",
        ),
        (
            |n| n[2] = 8,
            "the field reaches beyond the end of the record",
        ),
        (
            |n| n[2] = u32::MAX - 3,
            "the field reaches beyond the end of the record",
        ),
        (
            |n| n[2] = 2,
            "offset and record size must be multiples of the element size",
        ),
        (
            |n| n[1] = 18,
            "offset and record size must be multiples of the element size",
        ),
        (
            |n| (n[0], n[3]) = (u32::MAX, u32::MAX),
            "more than 274877906944 elements",
        ),
    ];
    for (change, text) in cases {
        refused(|p| batch(p, change), &format!("node 2: {text}"));
    }
    accepted(|p| batch(p, |n| n[2] = 0));
    accepted(|p| batch(p, |n| n[1] = u32::MAX - 3));
}

#[test]
fn counts_of_a_body_are_bounded() {
    let label = || body_of(&mut sample(), MAP).index[0].clone();
    refused(
        |p| body_of(p, MAP).index = vec![label(); 3],
        "node 5: 3 index words, at most 2 are allowed",
    );
    refused(
        |p| body_of(p, MAP).reads = vec![label(); 8],
        "node 5: 9 index words, reads and reading inits, at most 8 are allowed",
    );
    accepted(|p| body_of(p, MAP).reads = vec![label(); 7]);
    refused(
        |p| body_of(p, FOLD).reads = vec![label(); 7],
        "node 6: 9 index words, reads and reading inits, at most 8 are allowed",
    );
    accepted(|p| body_of(p, FOLD).reads = vec![label(); 6]);
    accepted(|p| {
        body_of(p, FOLD).reads = vec![label(); 7];
        fold_of(p).init = Init::Word(0);
    });
    refused(
        |p| {
            let guard = fold_of(p).when[0].clone();
            fold_of(p).when = vec![guard; 5];
        },
        "node 6: 5 guards, at most 4 are allowed",
    );
    accepted(|p| {
        let guard = fold_of(p).when[0].clone();
        fold_of(p).when = vec![guard; 4];
    });
    accepted(|p| fold_of(p).when.clear());
    refused(
        |p| {
            let axes = &mut body_of(p, MAP).reads[1].axes;
            *axes = vec![axes[0].clone(); 7];
        },
        "node 5: read 1: 7 axes, at most 6 are allowed",
    );
}

#[test]
fn a_body_has_a_result_and_at_most_255_registers() {
    refused(
        |p| {
            let body = body_of(p, 8);
            body.reads.clear();
            body.ops.clear();
        },
        "node 8: 0 registers, 1 to 255 are allowed",
    );
    let fill = |p: &mut Program, node: usize, others: usize, total: usize| {
        body_of(p, node).ops = vec![Op::FNeg(0); total - others];
    };
    refused(
        |p| fill(p, MAP, 4, 256),
        "node 5: 256 registers, 1 to 255 are allowed",
    );
    refused(
        |p| fill(p, FOLD, 3, 256),
        "node 6: 256 registers, 1 to 255 are allowed",
    );
    accepted(|p| fill(p, MAP, 4, 255));
    accepted(|p| fill(p, FOLD, 3, 255));
    accepted(|p| body_of(p, 8).values = vec![Form::constant(1); 254]);
    refused(
        |p| body_of(p, 8).values = vec![Form::constant(1); 255],
        "node 8: 256 registers, 1 to 255 are allowed",
    );
    // The accumulator alone is a result.
    accepted(|p| {
        body_of(p, FOLD).reads.clear();
        body_of(p, FOLD).ops.clear();
    });
}

#[test]
fn an_operand_is_an_earlier_register() {
    refused(
        |p| body_of(p, MAP).ops[1] = Op::FFma(0, 1, 5),
        "node 5: operation 1: register 5 has no value yet, operands must be earlier",
    );
    refused(
        |p| body_of(p, MAP).ops[0] = Op::U32ToF32(4),
        "node 5: operation 0: register 4 has no value yet, operands must be earlier",
    );
    refused(
        |p| body_of(p, FOLD).ops[0] = Op::Select(255, 0, 0),
        "node 6: operation 0: register 255 has no value yet, operands must be earlier",
    );
    accepted(|p| body_of(p, MAP).ops[2] = Op::FMax(5, 5));
    for op in every_op(7) {
        let used: Vec<u8> = op.operands().collect();
        assert!(!used.is_empty() && used.iter().all(|r| *r == 7));
        refused(
            |p| body_of(p, MAP).ops[2] = op,
            "node 5: operation 2: register 7 has no value yet, operands must be earlier",
        );
    }
}

/// All operations with one register as each of their operands, from their encodings.
fn every_op(reg: u8) -> Vec<Op> {
    (0..=u8::MAX)
        .filter_map(|tag| Op::decode(&mut &[tag, reg, reg, reg][..]).ok())
        .collect()
}

#[test]
fn every_operation_names_all_its_operands() {
    let ops = every_op(9);
    assert_eq!(ops.len(), 35);
    for op in ops {
        assert_eq!(op.encoded_size(), 1 + op.operands().count());
    }
    let three = Op::Select(3, 4, 5).operands().collect::<Vec<_>>();
    assert_eq!(three, [3, 4, 5]);
}

#[test]
fn an_encoding_has_at_most_2048_bytes() {
    let mut program = sample();
    body_of(&mut program, MAP).ops.clear();
    // Forms of 30 bytes, then of 2; the last one has 3 when a byte is left.
    let wide = Form::new(1 << 61, &[(I, 1 << 58), (J, 1 << 58)]);
    while program.nodes[MAP].encoded_size() < 2010 {
        body_of(&mut program, MAP).values.push(wide.clone());
    }
    while program.nodes[MAP].encoded_size() < 2045 {
        body_of(&mut program, MAP).values.push(Form::constant(0));
    }
    let missing = 2048 - program.nodes[MAP].encoded_size();
    let last = if missing == 2 { 0 } else { 100 };
    body_of(&mut program, MAP).values.push(Form::constant(last));
    assert_eq!(program.nodes[MAP].encoded_size(), 2048);
    assert_eq!(validate::program(&program), Ok(()));
    body_of(&mut program, MAP).values.push(Form::constant(0));
    let invalid = validate::program(&program).unwrap_err();
    assert_eq!(
        invalid.to_string(),
        "node 5: an encoding of 2050 bytes, at most 2048 are allowed"
    );
}

#[test]
fn a_form_is_in_canonical_order() {
    let term = |var, coef| Term {
        var,
        coef: Int(coef),
    };
    let value = |p: &mut Program, terms: Vec<Term>| body_of(p, MAP).values[0].terms = terms;
    refused(
        |p| value(p, vec![term(J, 1), term(I, 1)]),
        "node 5: value 0: terms must be in strictly ascending order of variable",
    );
    refused(
        |p| value(p, vec![term(I, 1), term(I, 1)]),
        "node 5: value 0: terms must be in strictly ascending order of variable",
    );
    refused(
        |p| value(p, vec![term(I, 1), term(J, 0)]),
        "node 5: value 0: the coefficient of output coordinate 1 is 0",
    );
    refused(
        |p| {
            let terms = &mut body_of(p, MAP).index[0].axes[0].form.terms;
            terms.push(term(I, 2));
        },
        "node 5: index 0, axis 0: terms must be in strictly ascending order of variable",
    );
    refused(
        |p| fold_of(p).when[0].form.terms.reverse(),
        "node 6: guard 0: terms must be in strictly ascending order of variable",
    );
}

#[test]
fn a_form_uses_only_variables_in_scope() {
    let value = |v| move |p: &mut Program| body_of(p, MAP).values[0] = Form::var(v);
    accepted(value(W));
    for (v, name) in [
        (2, "output coordinate 2"),
        (7, "output coordinate 7"),
        (K, "reduction coordinate 0"),
        (W + 1, "index word 1"),
    ] {
        refused(
            value(v),
            &format!("node 5: value 0: {name} has no value here"),
        );
    }
    for v in [var::END, u8::MAX] {
        refused(
            |p| {
                body_of(p, MAP).values[0].terms = vec![Term {
                    var: v,
                    coef: Int(1),
                }]
            },
            &format!("node 5: value 0: variable {v} has no value here"),
        );
    }
    // In a fold the reduction is known everywhere but in the init.
    accepted(|p| body_of(p, FOLD).index[0].axes[0].form = Form::var(K));
    accepted(|p| body_of(p, FOLD).values = vec![Form::new(0, &[(J, 1), (K, 2), (W, 3)])]);
    refused(
        |p| fold_of(p).when[0].form = Form::var(K + 1),
        "node 6: guard 0: reduction coordinate 1 has no value here",
    );
    refused(
        |p| init_of(p).axes[0].form = Form::var(K),
        "node 6: init, axis 0: reduction coordinate 0 has no value here",
    );
    refused(
        |p| init_of(p).axes[0].form = Form::var(W),
        "node 6: init, axis 0: index word 0 has no value here",
    );
    refused(
        |p| body_of(p, FOLD).index[0].axes[0].form = Form::var(W),
        "node 6: index 0, axis 0: index word 0 has no value here",
    );
}

#[test]
fn a_form_stays_within_two_to_the_62() {
    const LIMIT: i64 = 1 << 62;
    let value = |p: &mut Program, form: Form| body_of(p, MAP).values[0] = form;
    for sign in [1, -1] {
        accepted(|p| value(p, Form::constant(sign * LIMIT)));
        refused(
            |p| value(p, Form::constant(sign * (LIMIT + 1))),
            "node 5: value 0: the form can exceed 2^62",
        );
        // i ranges over 0..4, so that its magnitude is at most 3.
        accepted(|p| value(p, Form::new(LIMIT - 3 * 5, &[(I, 5 * sign)])));
        refused(
            |p| value(p, Form::new(LIMIT - 3 * 5 + 1, &[(I, 5 * sign)])),
            "node 5: value 0: the form can exceed 2^62",
        );
    }
    refused(
        |p| value(p, Form::constant(i64::MIN)),
        "node 5: value 0: the form can exceed 2^62",
    );
    refused(
        |p| value(p, Form::new(0, &[(I, i64::MIN), (J, i64::MAX)])),
        "node 5: value 0: the form can exceed 2^62",
    );
    refused(
        |p| body_of(p, MAP).reads[0].axes[1].form = Form::constant(LIMIT + 1),
        "node 5: read 0, axis 1: the form can exceed 2^62",
    );
    refused(
        |p| fold_of(p).when[0].form = Form::constant(-LIMIT - 1),
        "node 6: guard 0: the form can exceed 2^62",
    );
    // A coordinate of extent 1 is always 0.
    accepted(|p| {
        let value = Form::new(LIMIT, &[(J, i64::MIN)]);
        let read = access(5, Dtype::F32, 12, vec![]);
        let extra = Body {
            reads: vec![read],
            values: vec![value],
            ..body(&[4, 1], Dtype::F32)
        };
        p.nodes.insert(7, Node::Map(extra));
    });
}

#[test]
fn an_index_word_has_the_range_of_its_type_and_fill() {
    // A program whose last node but one takes an index word of each type.
    let with = |dtype: Dtype, fill: u32, coef: i64, constant: i64| {
        let mut p = sample();
        let source = Source::Constant {
            shape: dims(&[4]),
            dtype,
            hash: [0; 32],
        };
        p.nodes.insert(7, Node::Source(source));
        let index = Access {
            fill,
            ..access(7, dtype, 4, vec![axis(Form::var(I), 4, 1)])
        };
        let map = Body {
            index: vec![index],
            values: vec![Form::new(constant, &[(W, coef)])],
            ..body(&[4], Dtype::I32)
        };
        p.nodes.insert(8, Node::Map(map));
        validate::program(&p).map_err(|invalid| invalid.to_string())
    };
    const LIMIT: i64 = 1 << 62;
    let magnitudes = [
        (Dtype::U8, 0, 255),
        (Dtype::U8, 256, 256),
        (Dtype::U8, u32::MAX, 255),
        (Dtype::U8, 1 << 31, 1 << 31),
        (Dtype::I8, 0, 128),
        (Dtype::I8, 200, 200),
        (Dtype::I8, u32::MAX, 128),
        (Dtype::I8, (-1000i32) as u32, 1000),
        (Dtype::U16, 0, 65535),
        (Dtype::U16, 1 << 31, 1 << 31),
        (Dtype::I32, 0, 1 << 31),
        (Dtype::I32, u32::MAX, 1 << 31),
        (Dtype::U32, 0, (1 << 32) - 1),
        (Dtype::U32, u32::MAX, (1 << 32) - 1),
    ];
    for (dtype, fill, magnitude) in magnitudes {
        for sign in [1, -1] {
            let coef = sign << 20;
            let room = LIMIT - (magnitude << 20);
            assert_eq!(with(dtype, fill, coef, room), Ok(()), "{dtype:?} {fill}");
            assert_eq!(
                with(dtype, fill, coef, room + 1),
                Err("node 8: value 0: the form can exceed 2^62".into()),
                "{dtype:?} {fill}"
            );
        }
    }
    assert_eq!(
        with(Dtype::F32, 0, 1, 0),
        Err("node 8: index 0: a float cannot be an index word".into())
    );
}

#[test]
fn every_offset_lies_in_the_tensor() {
    let read = |p: &mut Program, base: i64, axes: Vec<Axis>| {
        let read = &mut body_of(p, MAP).reads[0];
        (read.base, read.axes) = (Int(base), axes);
    };
    let along = |extent, stride| axis(Form::var(I), extent, stride);
    accepted(|p| read(p, 11, vec![]));
    accepted(|p| read(p, 0, vec![]));
    refused(
        |p| read(p, 12, vec![]),
        "node 5: read 0: the offset can reach 12, beyond the 12 elements of node 2",
    );
    refused(
        |p| read(p, -1, vec![along(4, 1)]),
        "node 5: read 0: the offset can reach -1, beyond the 12 elements of node 2",
    );
    refused(
        |p| read(p, i64::MIN, vec![]),
        "node 5: read 0: the offset can reach -9223372036854775808, beyond the 12 elements of \
         node 2",
    );
    accepted(|p| read(p, 0, vec![along(12, 1)]));
    refused(
        |p| read(p, 0, vec![along(13, 1)]),
        "node 5: read 0, axis 0: the offset can reach 12, beyond the 12 elements of node 2",
    );
    accepted(|p| read(p, 11, vec![along(12, -1)]));
    refused(
        |p| read(p, 10, vec![along(12, -1)]),
        "node 5: read 0, axis 0: the offset can reach -1, beyond the 12 elements of node 2",
    );
    accepted(|p| read(p, 2, vec![along(4, 3), along(3, -1)]));
    refused(
        |p| read(p, 2, vec![along(4, 3), along(4, -1)]),
        "node 5: read 0, axis 1: the offset can reach -1, beyond the 12 elements of node 2",
    );
    refused(
        |p| read(p, 3, vec![along(3, -1), along(4, 3)]),
        "node 5: read 0, axis 1: the offset can reach 12, beyond the 12 elements of node 2",
    );
    refused(
        |p| read(p, 0, vec![along(0, 1)]),
        "node 5: read 0, axis 0: the extent is 0, must be at least 1",
    );
    // What never moves may have any stride, what never strides any extent.
    accepted(|p| read(p, 11, vec![along(1, i64::MIN), along(u64::MAX, 0)]));
    refused(
        |p| read(p, 0, vec![along(u64::MAX, i64::MIN); 6]),
        "node 5: read 0, axis 0: the offset can reach -170141183460469231713240559642174554112, \
         beyond the 12 elements of node 2",
    );
    refused(
        |p| read(p, 11, vec![along(u64::MAX, i64::MAX); 6]),
        "node 5: read 0, axis 0: the offset can reach 170141183460469231694793815568465002509, \
         beyond the 12 elements of node 2",
    );
    refused(
        |p| init_of(p).base = Int(11),
        "node 6: init, axis 0: the offset can reach 15, beyond the 15 elements of node 4",
    );
    for len in [0, limits::ELEMENTS + 1, u64::MAX] {
        refused(
            |p| body_of(p, MAP).reads[0].len = len,
            "node 5: read 0: the length must be 1 to 274877906944",
        );
    }
}

#[test]
fn a_guard_lets_something_pass() {
    let bounds = |p: &mut Program, lo, hi| {
        let guard = &mut fold_of(p).when[0];
        (guard.lo, guard.hi) = (Int(lo), Int(hi));
    };
    accepted(|p| bounds(p, i64::MIN, i64::MAX));
    accepted(|p| bounds(p, 5, 6));
    for (lo, hi) in [(5, 5), (6, 5), (i64::MAX, i64::MIN)] {
        refused(
            |p| bounds(p, lo, hi),
            "node 6: guard 0: lo must be less than hi",
        );
    }
}

/// A fold with all that the format allows: 8 accesses, one of them indirect, to the largest
/// tensors, over the longest reduction, with 255 registers, in at most 2 KiB.
fn maximal(position: u32) -> Node {
    let largest = |v| {
        let axes = vec![axis(Form::var(v), limits::ELEMENTS, 1)];
        access(position - 1, Dtype::U32, limits::ELEMENTS, axes)
    };
    Node::Fold(Fold {
        body: Body {
            index: vec![largest(I), largest(K)],
            reads: [I, J, K, W, W + 1].map(largest).to_vec(),
            consts: vec![0; 40],
            ops: (46..255).map(|r: u8| Op::FFma(r - 1, 1, 0)).collect(),
            ..body(&[1 << 19, 1 << 19], Dtype::F32)
        },
        red: dims(&[limits::REDUCTION]),
        when: vec![],
        init: Init::Read(largest(I)),
    })
}

#[test]
fn a_maximal_node_is_accepted_and_its_proof_fits_one_call() {
    let Node::Fold(mut fold) = maximal(9) else {
        unreachable!()
    };
    let room = limits::NODE_BYTES - Node::Fold(fold.clone()).encoded_size();
    for guard in 0..room.min(4 * 5) / 5 {
        let form = Form::var(if guard % 2 == 0 { K } else { W });
        let (lo, hi) = (Int(0), Int(1));
        fold.when.push(Guard { form, lo, hi });
    }
    let node = Node::Fold(fold);
    assert_eq!(validate::node(&node, 9), Ok(()));
    let cost = cost(&node, limits::NODES);
    assert!(cost.bytes > 20 << 10 && cost.bytes <= PROOF_BYTES);
    assert!(cost.time > 5_000_000_000 && cost.time <= PROOF_TIME);
}

#[test]
fn a_step_costs_what_its_openings_weigh() {
    let program = sample();
    // The node, its opening in the program, and for each of three accesses an opening in the node
    // trace of 9 hashes and one of the whole tensor, all of one chunk.
    let file = |bytes: u64| if bytes < 64 { 1 } else { 2 } + bytes + 1;
    let trace = file(9 * 32);
    let node = &program.nodes[MAP];
    let others = 64 + node.encoded_size() as u64;
    let expected = others + 4 * trace + 3 + file(4) + file(48) + file(60);
    assert_eq!(cost(node, 9).bytes, expected);
    // A fold also opens the accumulator before.
    let node = &program.nodes[FOLD];
    let tensors = file(4) + file(48) + 2 * file(60);
    let others = 64 + node.encoded_size() as u64;
    let expected = others + 5 * trace + 4 + tensors + file(12);
    assert_eq!(cost(node, 9).bytes, expected);
}

#[test]
fn a_program_is_held_to_its_task() {
    let program = sample();
    let spec = TaskSpec {
        program: program.root(),
        nodes: 9,
        slots: 2,
        genesis: [1; 32],
        datasets: vec![Dataset {
            root: [2; 32],
            records: 100,
            record_size: 16,
        }],
        batch: 4,
        steps: 10,
        segment: 5,
        seed: 1,
    };
    assert_eq!(validate::spec(&program, &spec), Ok(()));
    let refused = |change: fn(&mut TaskSpec), text: &str| {
        let mut spec = spec.clone();
        change(&mut spec);
        let invalid = validate::spec(&program, &spec).expect_err("must be refused");
        assert_eq!(invalid.to_string(), text);
    };
    let counts = "the number of nodes or slots is not the one that the task states";
    refused(|s| s.nodes = 10, counts);
    refused(|s| s.slots = 1, counts);
    let root = "the root is not the one that the task states";
    refused(|s| s.program[31] ^= 1, root);
    let dataset = "node 2: the batch or record size is not that of the task's dataset 0";
    refused(|s| s.batch = 5, dataset);
    refused(|s| s.datasets[0].record_size = 12, dataset);
    refused(|s| s.datasets.clear(), dataset);
    let invalid = validate::spec(&program, &TaskSpec { steps: 0, ..spec });
    assert!(matches!(invalid.unwrap_err().fault, Fault::Spec(_)));
}

/// Small numbers mostly, extreme ones often.
fn hostile_u64() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0u64..20,
        1 => Just(1 << 24),
        1 => Just(1 << 38),
        1 => (1u64 << 62) - 2..(1 << 62) + 3,
        1 => u64::MAX - 1..=u64::MAX,
        1 => any::<u64>(),
    ]
}

fn hostile_i64() -> impl Strategy<Value = i64> {
    (hostile_u64(), any::<bool>()).prop_map(|(n, negative)| {
        if negative {
            (n as i64).wrapping_neg()
        } else {
            n as i64
        }
    })
}

fn any_dtype() -> impl Strategy<Value = Dtype> {
    prop::sample::select(vec![
        Dtype::F32,
        Dtype::I32,
        Dtype::U32,
        Dtype::U8,
        Dtype::I8,
        Dtype::U16,
    ])
}

fn hostile_form() -> impl Strategy<Value = Form> {
    let term = (0u8..16, hostile_i64()).prop_map(|(var, coef)| Term {
        var,
        coef: Int(coef),
    });
    let terms = prop::collection::vec(term, 0..3);
    (hostile_i64(), terms).prop_map(|(constant, terms)| Form {
        constant: Int(constant),
        terms,
    })
}

fn hostile_access() -> impl Strategy<Value = Access> {
    let axis = (hostile_form(), hostile_u64(), hostile_i64())
        .prop_map(|(form, extent, stride)| axis(form, extent, stride));
    (
        0u32..4,
        any_dtype(),
        hostile_u64(),
        hostile_i64(),
        prop::collection::vec(axis, 0..8),
        any::<u32>(),
    )
        .prop_map(|(node, dtype, len, base, axes, fill)| Access {
            base: Int(base),
            fill,
            ..access(node, dtype, len, axes)
        })
}

/// An access that is wrong only now and then.
fn plausible_access() -> impl Strategy<Value = Access> {
    let variables = vec![I, J, 2, K, K + 1, W, W + 1];
    let coef = prop_oneof![
        4 => -5i64..6,
        1 => -(1i64 << 31)..1 << 31,
        1 => -(1i64 << 40)..1 << 40,
    ];
    let terms = prop::collection::vec((prop::sample::select(variables), coef), 0..4);
    let constant = prop_oneof![4 => -20i64..20, 1 => -(1i64 << 62)..1 << 62];
    let form = (constant, terms).prop_map(|(constant, terms)| Form::new(constant, &terms));
    let extent = prop_oneof![4 => 1u64..30, 1 => Just(1 << 20)];
    let axis = (form, extent, -9i64..10).prop_map(|(form, extent, s)| axis(form, extent, s));
    let axes = prop::collection::vec(axis, 0..4);
    (axes, 0i64..3, 0u64..3).prop_map(|(axes, before, after)| {
        let ends = axes.iter().map(|a| (a.extent as i64 - 1) * a.stride.0);
        let low: i64 = ends.clone().map(|end| end.min(0)).sum();
        let high: i64 = ends.map(|end| end.max(0)).sum();
        let base = before - low;
        Access {
            base: Int(base),
            ..access(0, Dtype::F32, (base + high) as u64 + after, axes)
        }
    })
}

fn hostile_dims() -> impl Strategy<Value = Vec<Dim>> {
    prop::collection::vec(hostile_u64().prop_map(Dim), 0..6)
}

fn hostile_body() -> impl Strategy<Value = Body> {
    let ops = prop::sample::select(every_op(1));
    (
        hostile_dims(),
        any_dtype(),
        prop::collection::vec(hostile_access(), 0..3),
        prop::collection::vec(hostile_access(), 0..4),
        prop::collection::vec(hostile_form(), 0..3),
        prop::collection::vec(any::<u32>(), 0..3),
        prop::collection::vec(ops, 0..5),
    )
        .prop_map(|(shape, dtype, index, reads, values, consts, ops)| Body {
            shape,
            dtype,
            index,
            reads,
            values,
            consts,
            ops,
        })
}

fn hostile_node() -> impl Strategy<Value = Node> {
    let guard = (hostile_form(), hostile_i64(), hostile_i64()).prop_map(|(form, lo, hi)| Guard {
        form,
        lo: Int(lo),
        hi: Int(hi),
    });
    let init = prop_oneof![
        any::<u32>().prop_map(Init::Word),
        hostile_access().prop_map(Init::Read)
    ];
    let fold = (
        hostile_body(),
        hostile_dims(),
        prop::collection::vec(guard, 0..6),
        init,
    )
        .prop_map(|(body, red, when, init)| {
            Node::Fold(Fold {
                body,
                red,
                when,
                init,
            })
        });
    let state = (hostile_dims(), any_dtype())
        .prop_map(|(shape, dtype)| Node::Source(Source::State { shape, dtype }));
    let batch = (any::<[u32; 4]>(), any_dtype()).prop_map(|(n, dtype)| {
        Node::Source(Source::Batch {
            dataset: 0,
            batch: n[0],
            record_size: n[1],
            offset: n[2],
            fields: n[3],
            dtype,
        })
    });
    prop_oneof![
        3 => hostile_body().prop_map(Node::Map),
        3 => fold,
        1 => state,
        1 => batch,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4096,
        max_global_rejects: 1 << 16,
        ..ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(node) = decode_canonical::<Node>(&bytes) {
            let _ = validate::node(&node, 3);
        }
        if let Ok(program) = decode_canonical::<Program>(&bytes) {
            let _ = validate::program(&program);
        }
    }

    #[test]
    fn a_valid_node_with_a_changed_byte_never_panics(
        node in 0usize..9,
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut program = sample();
        let mut bytes = program.nodes[node].encode();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(changed) = decode_canonical::<Node>(&bytes) {
            program.nodes[node] = changed;
            if let Err(invalid) = validate::program(&program) {
                prop_assert!(!invalid.to_string().is_empty());
            }
        }
    }

    #[test]
    fn hostile_programs_never_panic(
        nodes in prop::collection::vec(hostile_node(), 0..6),
        slots in 0u32..4,
    ) {
        for (position, node) in (0..).zip(&nodes) {
            if let Err(fault) = validate::node(node, position) {
                prop_assert!(!fault.to_string().is_empty());
            }
        }
        let _ = validate::program(&Program { slots, nodes });
    }

    /// Refused exactly when some position inside the axes leaves the tensor, by enumeration.
    #[test]
    fn offsets_are_refused_exactly_when_one_leaves_the_tensor(
        len in 1u64..40,
        base in -3i64..30,
        axes in prop::collection::vec((1u64..5, -7i64..8), 0..4),
    ) {
        let mut offsets = vec![base];
        for &(extent, stride) in &axes {
            offsets = offsets
                .iter()
                .flat_map(|o| (0..extent as i64).map(move |at| o + stride * at))
                .collect();
        }
        let inside = offsets.iter().all(|o| (0..len as i64).contains(o));
        let axes = axes.iter().map(|&(e, s)| axis(Form::var(I), e, s)).collect();
        let read = Access { base: Int(base), ..access(0, Dtype::U8, len, axes) };
        let node = Node::Map(Body { reads: vec![read], ..body(&[3], Dtype::U8) });
        let result = validate::node(&node, 1);
        prop_assert_eq!(result.is_ok(), inside);
        if let Err(fault) = result {
            let is_offset = matches!(fault, Fault::Offset { .. });
            prop_assert!(is_offset);
        }
    }

    /// Evaluation is checked for overflow, as tests are built.
    #[test]
    fn accepted_accesses_stay_inside_at_any_coordinates_and_index_words(
        read in plausible_access(),
        seeds in prop::collection::vec(any::<[u64; var::END as usize]>(), 20),
    ) {
        let index = access(0, Dtype::I32, 5, vec![axis(Form::var(I), 5, 1)]);
        let shape = [7, 1 << 20, 3];
        let red = [1 << 20, 2];
        let fold = Fold {
            body: Body {
                index: vec![index.clone(), Access { dtype: Dtype::U32, ..index }],
                reads: vec![read.clone()],
                ..body(&shape, Dtype::F32)
            },
            red: dims(&red),
            when: vec![],
            init: Init::Word(0),
        };
        prop_assume!(validate::node(&Node::Fold(fold), 4).is_ok());
        for seed in seeds {
            let mut vars: step::Vars = [0; var::END as usize];
            for (v, extent) in (0..).zip(shape).chain((K as usize..).zip(red)) {
                // The far end is as likely as all the rest.
                vars[v] = (seed[v] % (2 * extent)).min(extent - 1) as i64;
            }
            vars[W as usize] = seed[W as usize] as i32 as i64;
            vars[W as usize + 1] = seed[W as usize + 1] as u32 as i64;
            if let Some(offset) = step::address(&read, &vars) {
                prop_assert!(offset < read.len);
            }
        }
    }
}

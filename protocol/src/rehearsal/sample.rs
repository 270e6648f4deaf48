//! A small task with every kind of node, and errors to plant in it.

use super::{Fault, Run};
use crate::eval::{Blob, Inputs};
use crate::program::{
    var, Access, Axis, Body, Dim, Dtype, Fold, Form, Guard, Init, Node, Op, Program, Source,
};
use crate::random::{Case, Rng};
use crate::{tree, validate};
use alloc::{sync::Arc, vec, vec::Vec};

const BATCH: u32 = 3;
const RECORD: u32 = 404;
/// Elements of the wide slot.
pub const WIDE: u64 = 600;

fn dims(shape: &[u64]) -> Vec<Dim> {
    shape.iter().map(|d| Dim(*d)).collect()
}

fn axis(form: Form, extent: u64, stride: i64) -> Axis {
    Axis {
        form,
        extent,
        stride: stride.into(),
    }
}

fn access(node: u32, dtype: Dtype, len: u64, axes: Vec<Axis>) -> Access {
    Access {
        node,
        dtype,
        len,
        base: 0.into(),
        axes,
        fill: 0,
    }
}

fn body(shape: &[u64], dtype: Dtype, reads: Vec<Access>, consts: &[u32], ops: &[Op]) -> Body {
    Body {
        shape: dims(shape),
        dtype,
        index: vec![],
        reads,
        values: vec![],
        consts: consts.to_vec(),
        ops: ops.to_vec(),
    }
}

fn whole(node: u32, dtype: Dtype, len: u64) -> Access {
    access(node, dtype, len, vec![axis(Form::var(0), len, 1)])
}

/// Two slots (a wide f32 tensor and a counter), a batch, a constant, step, seed, maps, and folds
/// with several chunks of trace, with a read initial value, with one step, guarded and indexed.
fn program(constant: &[u8]) -> Program {
    let f32s = Dtype::F32;
    let nodes = vec![
        Node::Source(Source::State {
            shape: dims(&[WIDE]),
            dtype: f32s,
        }),
        Node::Source(Source::State {
            shape: dims(&[1]),
            dtype: Dtype::U32,
        }),
        Node::Source(Source::Batch {
            dataset: 0,
            batch: BATCH,
            record_size: RECORD,
            offset: 4,
            fields: 400,
            dtype: Dtype::U8,
        }),
        Node::Source(Source::Constant {
            shape: dims(&[300]),
            dtype: f32s,
            hash: tree::hash(constant),
        }),
        Node::Source(Source::Step),
        Node::Source(Source::Seed),
        // 6: pixels as floats, scaled
        Node::Map(body(
            &[BATCH as u64, 400],
            f32s,
            vec![access(
                2,
                Dtype::U8,
                BATCH as u64 * 400,
                vec![
                    axis(Form::var(0), BATCH as u64, 400),
                    axis(Form::var(1), 400, 1),
                ],
            )],
            &[(1.0f32 / 256.0).to_bits()],
            &[Op::U32ToF32(0), Op::FMul(2, 1)],
        )),
        // 7: a product of pixels with the state, one fold of 300 steps an element
        Node::Fold(Fold {
            body: body(
                &[BATCH as u64],
                f32s,
                vec![
                    access(
                        6,
                        f32s,
                        BATCH as u64 * 400,
                        vec![
                            axis(Form::var(0), BATCH as u64, 400),
                            axis(Form::new(1, &[(var::RED, 1)]), 400, 1),
                        ],
                    ),
                    access(
                        0,
                        f32s,
                        WIDE,
                        vec![axis(Form::new(0, &[(var::RED, 2)]), WIDE, 1)],
                    ),
                ],
                &[],
                &[Op::FFma(1, 2, 0)],
            ),
            red: dims(&[300]),
            when: vec![],
            init: Init::Read(access(
                3,
                f32s,
                300,
                vec![axis(Form::new(0, &[(0, 100)]), 300, 1)],
            )),
        }),
        // 8: a guarded integer fold over the first bytes of the records, wrapping in a byte
        Node::Fold(Fold {
            body: body(
                &[1],
                Dtype::U8,
                vec![access(
                    2,
                    Dtype::U8,
                    BATCH as u64 * 400,
                    vec![axis(Form::var(var::RED), BATCH as u64 * 400, 1)],
                )],
                &[],
                &[Op::IAdd(0, 1)],
            ),
            red: dims(&[BATCH as u64 * 400]),
            when: vec![Guard {
                form: Form::var(var::RED),
                lo: 5.into(),
                hi: 1111.into(),
            }],
            init: Init::Word(7),
        }),
        // 9: a fold of one step
        Node::Fold(Fold {
            body: body(
                &[2],
                Dtype::U32,
                vec![access(5, Dtype::U32, 2, vec![axis(Form::var(0), 2, 1)])],
                &[],
                &[Op::Xor(0, 1)],
            ),
            red: dims(&[1]),
            when: vec![],
            init: Init::Word(0x5555_5555),
        }),
        // 10: next wide state: state + 2^-10 * product[i mod 3 by index word] + constant
        Node::Map(Body {
            shape: dims(&[WIDE]),
            dtype: f32s,
            index: vec![access(8, Dtype::U8, 1, vec![])],
            reads: vec![
                whole(0, f32s, WIDE),
                access(
                    7,
                    f32s,
                    BATCH as u64,
                    vec![axis(Form::new(-100, &[(var::INDEX, 1)]), BATCH as u64, 1)],
                ),
                access(3, f32s, 300, vec![axis(Form::new(-300, &[(0, 1)]), 300, 1)]),
                access(7, f32s, BATCH as u64, vec![]),
            ],
            values: vec![Form::new(3, &[(0, 2)])],
            consts: vec![(1.0f32 / 1024.0).to_bits()],
            ops: vec![
                Op::FFma(1, 5, 0),
                Op::FAdd(6, 2),
                Op::FFma(3, 5, 7),
                Op::U32ToF32(4),
                Op::FMul(9, 5),
                Op::FAdd(8, 10),
            ],
        }),
        // 11: next counter
        Node::Map(body(
            &[1],
            Dtype::U32,
            vec![
                access(1, Dtype::U32, 1, vec![]),
                access(4, Dtype::U32, 1, vec![]),
                access(9, Dtype::U32, 2, vec![]),
                access(8, Dtype::U8, 1, vec![]),
            ],
            &[],
            &[Op::IAdd(0, 1), Op::IAdd(4, 2), Op::IAdd(5, 3)],
        )),
    ];
    Program { slots: 2, nodes }
}

/// Steps of the task.
pub const STEPS: u32 = 70;

/// The task's program and all that it reads.
pub fn case() -> Case {
    let mut rng = Rng::new(11);
    let constant: Vec<u8> = (0..300)
        .flat_map(|_| (rng.below(1000) as f32 / 997.0).to_le_bytes())
        .collect();
    let dataset: Vec<u8> = (0..7 * RECORD).map(|_| rng.below(256) as u8).collect();
    let wide: Vec<u8> = (0..WIDE)
        .flat_map(|_| (rng.below(1000) as f32 / 313.0 - 1.5).to_le_bytes())
        .collect();
    let program = program(&constant);
    let inputs = Inputs {
        seed: 0x0123_4567_89ab_cdef,
        datasets: vec![Arc::new(dataset) as Blob],
        constants: [(tree::hash(&constant), Arc::new(constant) as Blob)].into(),
    };
    Case {
        program,
        inputs,
        state: vec![wide, vec![1, 0, 0, 0]],
        batch: BATCH,
        record_sizes: vec![RECORD],
    }
}

/// Runs the task. `shape` is the number of steps and the steps of a segment.
///
/// # Panics
/// When the shape makes no task.
pub fn run(shape: (u32, u32), fault: Option<Fault>) -> Run {
    let case = case();
    validate::program(&case.program).expect("the sample program is valid");
    case.inputs
        .check(&case.program)
        .expect("the sample has its inputs");
    let (steps, segment) = shape;
    Run::new(case, steps, segment, fault)
}

/// Errors in every kind of file and node, at first, last and middle places and at the edges of
/// chunks. Not all of them reach the commitment: a later step may not read what is wrong.
pub fn faults() -> Vec<Fault> {
    let mut faults = vec![];
    for segment in [0, 1, 31, 32, 34] {
        faults.push(Fault::Checkpoint { segment });
    }
    for step in [0, 1, 2, 33, STEPS - 1] {
        faults.push(Fault::Step { step });
        faults.push(Fault::State { step, slot: 0 });
        faults.push(Fault::State { step, slot: 1 });
    }
    for step in [0, 35, STEPS - 1] {
        let mut element = |node, element| {
            faults.push(Fault::Element {
                step,
                node,
                element,
            })
        };
        for e in [0, 255, 256, WIDE - 1] {
            element(0, e);
            element(10, e);
        }
        for e in [0, 31, 255, 1023, 1024, 1199] {
            element(2, e);
        }
        for node in [1, 3, 4, 5, 8, 9, 11] {
            element(node, 0);
        }
        for e in [1, 255, 256, 1199] {
            element(6, e);
        }
        element(7, 2);
        for r in [0, 1, 255, 256, 299] {
            faults.push(Fault::Accumulator {
                step,
                node: 7,
                element: 0,
                r,
            });
        }
        for r in [0, 4, 5, 1023, 1024, 1110, 1111, 1199] {
            faults.push(Fault::Accumulator {
                step,
                node: 8,
                element: 0,
                r,
            });
        }
        faults.push(Fault::Accumulator {
            step,
            node: 9,
            element: 0,
            r: 0,
        });
    }
    faults
}

/// Segments of two steps, of one step, and one segment for the whole task.
pub const SHAPES: [(u32, u32); 3] = [(STEPS, 2), (STEPS, 1), (STEPS, STEPS)];

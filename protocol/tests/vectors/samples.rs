//! Programs that the vectors are about.

use lockstep_protocol::eval::{Blob, Inputs};
use lockstep_protocol::math::{BodyBuilder, Val};
use lockstep_protocol::program::*;
use lockstep_protocol::random::{self, Case, Size};
use lockstep_protocol::{tree, Hash};
use std::sync::Arc;

/// A program with all that it reads, as files.
#[derive(Clone)]
pub struct Sample {
    pub name: String,
    pub program: Program,
    pub seed: u64,
    /// Files with the size of a record.
    pub datasets: Vec<(Vec<u8>, u32)>,
    pub constants: Vec<Vec<u8>>,
    pub genesis: Vec<Vec<u8>>,
    pub batch: u32,
}

impl Sample {
    pub fn case(&self) -> Case {
        let blob = |bytes: &Vec<u8>| Arc::new(bytes.clone()) as Blob;
        let constants = self.constants.iter();
        Case {
            program: self.program.clone(),
            inputs: Inputs {
                seed: self.seed,
                datasets: self.datasets.iter().map(|(file, _)| blob(file)).collect(),
                constants: constants
                    .map(|file| (tree::hash(file), blob(file)))
                    .collect(),
            },
            state: self.genesis.clone(),
            batch: self.batch,
            record_sizes: self.datasets.iter().map(|(_, size)| *size).collect(),
        }
    }
}

/// A random program.
pub fn random(seed: u64) -> Sample {
    let case = random::program(
        seed,
        Size {
            nodes: 4,
            elements: 30,
            steps: 400,
        },
    );
    let bytes = |blob: &Blob| (**blob).as_ref().to_vec();
    let datasets = case.inputs.datasets.iter().map(bytes);
    Sample {
        name: format!("random {seed}"),
        program: case.program,
        seed: case.inputs.seed,
        datasets: datasets.zip(case.record_sizes).collect(),
        constants: case.inputs.constants.values().map(bytes).collect(),
        genesis: case.state,
        batch: case.batch,
    }
}

pub fn dims(shape: &[u64]) -> Vec<Dim> {
    shape.iter().map(|d| Dim(*d)).collect()
}

pub fn axis(form: Form, extent: u64, stride: i64) -> Axis {
    Axis {
        form,
        extent,
        stride: stride.into(),
    }
}

pub fn access(node: u32, dtype: Dtype, len: u64, axes: Vec<Axis>) -> Access {
    Access {
        node,
        dtype,
        len,
        base: 0.into(),
        axes,
        fill: 0,
    }
}

pub fn body(shape: &[u64], dtype: Dtype, reads: Vec<Access>, consts: &[u32], ops: &[Op]) -> Body {
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

/// The element of a vector of `len` at output coordinate 0.
pub fn at_0(node: u32, dtype: Dtype, len: u64) -> Access {
    access(node, dtype, len, vec![axis(Form::var(0), len, 1)])
}

pub fn state(shape: &[u64], dtype: Dtype) -> Node {
    Node::Source(Source::State {
        shape: dims(shape),
        dtype,
    })
}

pub fn constant(shape: &[u64], dtype: Dtype, hash: Hash) -> Node {
    Node::Source(Source::Constant {
        shape: dims(shape),
        dtype,
        hash,
    })
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Every kind of node, access and element type, at the size of a page.
pub fn small() -> Sample {
    use Dtype::*;
    const X: u8 = var::RED;
    const Y: u8 = var::RED + 1;
    const W: u8 = var::INDEX;
    // Element 1 is a NaN with a payload, element 3 a negative zero.
    let table = words(&[
        0.75f32.to_bits(),
        0xffc1_2345,
        (-2.5f32).to_bits(),
        0x8000_0000,
    ]);
    // Records of 8 bytes: four pixels and a label of 32 bits, one label out of range.
    let labels = [0i32, 2, 1, -1, 2];
    let dataset: Vec<u8> = (0..5u8)
        .zip(labels)
        .flat_map(|(i, label)| {
            let pixels = [3 + 40 * i, 250 - 7 * i, i, 16 * i];
            [pixels, label.to_le_bytes()].concat()
        })
        .collect();
    let pixels = access(
        2,
        U8,
        12,
        vec![axis(Form::var(0), 3, 4), axis(Form::var(1), 4, 1)],
    );
    let labels_at = |v: u8| access(3, I32, 3, vec![axis(Form::var(v), 3, 1)]);
    let nodes = vec![
        // 0, 1: the state, weights and a counter.
        state(&[2, 3], F32),
        state(&[1], U32),
        // 2: pixels of the batch, [3, 4].
        Node::Source(Source::Batch {
            dataset: 0,
            batch: 3,
            record_size: 8,
            offset: 0,
            fields: 4,
            dtype: U8,
        }),
        // 3: labels of the batch, [3, 1].
        Node::Source(Source::Batch {
            dataset: 0,
            batch: 3,
            record_size: 8,
            offset: 4,
            fields: 1,
            dtype: I32,
        }),
        // 4 to 6: a constant, the step, the seed.
        constant(&[4], F32, tree::hash(&table)),
        Node::Source(Source::Step),
        Node::Source(Source::Seed),
        // 7: pixels as numbers, [3, 4].
        Node::Map(body(
            &[3, 4],
            F32,
            vec![pixels],
            &[(1.0f32 / 16.0).to_bits()],
            &[Op::U32ToF32(0), Op::FMul(2, 1)],
        )),
        // 8: a padded correlation of a row's pixels with the weights, stride 2, [3, 2], starting
        // from the constant's element; one of these is the NaN.
        Node::Fold(Fold {
            body: body(
                &[3, 2],
                F32,
                vec![
                    Access {
                        fill: 0x8000_0000,
                        ..access(
                            7,
                            F32,
                            12,
                            vec![
                                axis(Form::var(0), 3, 4),
                                axis(Form::new(-1, &[(1, 2), (Y, 1)]), 4, 1),
                            ],
                        )
                    },
                    access(
                        0,
                        F32,
                        6,
                        vec![axis(Form::var(X), 2, 3), axis(Form::var(Y), 3, 1)],
                    ),
                ],
                &[],
                &[Op::FFma(1, 2, 0)],
            ),
            red: dims(&[2, 3]),
            when: vec![],
            init: Init::Read(access(
                4,
                F32,
                4,
                vec![axis(Form::new(0, &[(0, 1), (1, 1)]), 4, 1)],
            )),
        }),
        // 9: how often each label from 0 to 2 occurs and by which rows, wrapping in a byte.
        Node::Fold(Fold {
            body: Body {
                index: vec![labels_at(X)],
                values: vec![Form::new(100, &[(X, 50)])],
                ..body(&[3], I8, vec![], &[], &[Op::IAdd(0, 1)])
            },
            red: dims(&[3]),
            when: vec![Guard {
                form: Form::new(0, &[(0, -1), (W, 1)]),
                lo: 0.into(),
                hi: 1.into(),
            }],
            init: Init::Word(5),
        }),
        // 10: a fold of one step over the seed, 16 bits stored.
        Node::Fold(Fold {
            body: body(&[2], U16, vec![at_0(6, U32, 2)], &[], &[Op::Xor(0, 1)]),
            red: dims(&[1]),
            when: vec![],
            init: Init::Word(0xdead_5555),
        }),
        // 11: a lookup through two index words, an element backwards, out of range in places.
        Node::Map(Body {
            shape: dims(&[3, 3]),
            dtype: F32,
            index: vec![
                labels_at(0),
                Access {
                    fill: 7,
                    ..access(10, U16, 2, vec![axis(Form::var(1), 2, 1)])
                },
            ],
            reads: vec![
                Access {
                    base: 5.into(),
                    fill: 0x7f80_0000,
                    ..access(
                        0,
                        F32,
                        6,
                        vec![
                            axis(Form::var(W), 2, -3),
                            axis(Form::new(0, &[(1, 1)]), 3, -1),
                        ],
                    )
                },
                access(9, I8, 3, vec![axis(Form::var(1), 3, 1)]),
            ],
            values: vec![Form::new(-3, &[(0, 1), (W, -2), (W + 1, 1 << 20)])],
            consts: vec![0x3c00_0000],
            ops: vec![
                Op::I32ToF32(2),
                Op::I32ToF32(1),
                Op::FFma(4, 3, 5),
                Op::FAdd(6, 0),
            ],
        }),
        // 12: the next weights; a NaN becomes the old weight.
        Node::Map(body(
            &[6],
            F32,
            vec![
                at_0(0, F32, 6),
                at_0(8, F32, 6),
                access(11, F32, 9, vec![axis(Form::new(-2, &[(0, 1)]), 4, 2)]),
            ],
            &[0x3a00_0000],
            &[
                Op::FMin(1, 2),
                Op::FFma(4, 3, 0),
                Op::FEq(5, 5),
                Op::Select(6, 5, 0),
            ],
        )),
        // 13: the next counter.
        Node::Map(body(
            &[1],
            U32,
            vec![
                access(1, U32, 1, vec![]),
                access(5, U32, 1, vec![]),
                Access {
                    base: 1.into(),
                    ..access(10, U16, 2, vec![])
                },
                Access {
                    base: 1.into(),
                    ..access(6, U32, 2, vec![])
                },
            ],
            &[],
            &[Op::IMul(0, 2), Op::IAdd(4, 1), Op::Xor(5, 3)],
        )),
    ];
    Sample {
        name: "small".to_string(),
        program: Program { slots: 2, nodes },
        seed: 0x0123_4567_89ab_cdef,
        datasets: vec![(dataset, 8)],
        constants: vec![table],
        genesis: vec![floats(&[0.5, -1.25, 3.0, 1.0e-40, -0.0, 1.5]), words(&[1])],
        batch: 3,
    }
}

/// More nodes, elements and fold steps than one chunk of a file lists.
pub fn deep() -> Sample {
    use Dtype::*;
    const R: u8 = var::RED;
    let mut nodes = vec![state(&[300], F32), Node::Source(Source::Step)];
    while nodes.len() < 33 {
        let before = nodes.len() as u32 - 1;
        nodes.push(Node::Map(body(
            &[1],
            U32,
            vec![access(before, U32, 1, vec![])],
            &[0x9e37_79b9],
            &[Op::IMul(0, 1), Op::IAdd(2, 1)],
        )));
    }
    // 33: two long folds, one guarded at both ends.
    nodes.push(Node::Fold(Fold {
        body: body(
            &[2],
            F32,
            vec![
                access(0, F32, 300, vec![axis(Form::new(0, &[(R, 1)]), 300, 1)]),
                access(
                    0,
                    F32,
                    300,
                    vec![axis(Form::new(299, &[(0, -1), (R, -1)]), 300, 1)],
                ),
            ],
            &[],
            &[Op::FFma(1, 2, 0)],
        ),
        red: dims(&[300]),
        when: vec![
            Guard {
                form: Form::new(0, &[(0, -7), (R, 1)]),
                lo: 0.into(),
                hi: 300.into(),
            },
            Guard {
                form: Form::new(0, &[(0, 10), (R, 1)]),
                lo: i64::MIN.into(),
                hi: 300.into(),
            },
        ],
        init: Init::Word(0),
    }));
    // 34: the next state.
    nodes.push(Node::Map(body(
        &[300],
        F32,
        vec![
            at_0(0, F32, 300),
            access(33, F32, 2, vec![axis(Form::new(-298, &[(0, 1)]), 2, 1)]),
            access(32, U32, 1, vec![]),
        ],
        &[0x3a80_0000, 0x2f80_0000],
        &[
            Op::U32ToF32(2),
            Op::FMul(5, 4),
            Op::FFma(1, 3, 6),
            Op::FFma(0, 3, 7),
        ],
    )));
    Sample {
        name: "deep".to_string(),
        program: Program { slots: 1, nodes },
        seed: 3,
        datasets: vec![],
        constants: vec![],
        genesis: vec![floats(
            &(0..300).map(|i| i as f32 * 0.01 - 1.5).collect::<Vec<_>>(),
        )],
        batch: 1,
    }
}

/// A tensor of more than 64 chunks, and a dataset of several.
pub fn wide() -> Sample {
    use Dtype::*;
    const LEN: u64 = 66_000;
    let dataset: Vec<u8> = (0..11 * 400u32).map(|i| (i * i / 7) as u8).collect();
    let nodes = vec![
        state(&[LEN], U8),
        Node::Source(Source::Batch {
            dataset: 0,
            batch: 4,
            record_size: 400,
            offset: 2,
            fields: 190,
            dtype: U16,
        }),
        Node::Map(Body {
            values: vec![Form::new(1, &[(0, 3)])],
            ..body(
                &[LEN],
                U8,
                vec![
                    at_0(0, U8, LEN),
                    access(
                        1,
                        U16,
                        760,
                        vec![axis(Form::new(-65_000, &[(0, 1)]), 760, 1)],
                    ),
                ],
                &[4],
                &[Op::IMul(0, 2), Op::ShrU(1, 3), Op::Xor(4, 5)],
            )
        }),
    ];
    Sample {
        name: "wide".to_string(),
        program: Program { slots: 1, nodes },
        seed: u64::MAX,
        datasets: vec![(dataset, 400)],
        constants: vec![],
        genesis: vec![(0..LEN).map(|i| (i % 251) as u8).collect()],
        batch: 4,
    }
}

/// Every mathematical function, at ordinary and at extreme arguments, as written into a body.
pub fn functions() -> Sample {
    let arguments = words(&[
        0x0000_0000, // 0
        0x8000_0000, // -0
        0x0000_0001, // the least number
        0x3f80_0000, // 1
        0xbf00_0000, // -1/2
        0x4048_f5c3, // 3.14
        0xc160_0000, // -14
        0xc2ae_0000, // -87
        0x42b1_7217, // 88.7
        0x7f7f_ffff, // the greatest number
        0xff80_0000, // -inf
        0x7f80_0000, // inf
        0xffc1_2345, // a NaN
    ]);
    let count = arguments.len() as u64 / 4;
    let dtype = Dtype::F32;
    let functions: [fn(&mut BodyBuilder, Val) -> Val; 12] = [
        BodyBuilder::exp,
        BodyBuilder::log,
        BodyBuilder::rsqrt,
        BodyBuilder::tanh,
        BodyBuilder::erf,
        BodyBuilder::sigmoid,
        BodyBuilder::gelu,
        BodyBuilder::sin,
        BodyBuilder::cos,
        BodyBuilder::round_even,
        BodyBuilder::floor,
        |body, x| {
            let words = body.philox4x32([x; 4], [x; 2]);
            body.uniform01(words[0])
        },
    ];
    let mut nodes = vec![state(&[count], dtype)];
    nodes.extend(functions.map(|function| {
        let mut body = BodyBuilder::map();
        let x = body.read(at_0(0, dtype, count));
        let y = function(&mut body, x);
        Node::Map(
            body.finish(dims(&[count]), dtype, y)
                .expect("a function fits a body"),
        )
    }));
    Sample {
        name: "functions".to_string(),
        program: Program { slots: 1, nodes },
        seed: 0,
        datasets: vec![],
        constants: vec![],
        genesis: vec![arguments],
        batch: 1,
    }
}

//! Programs at the edge of what is allowed.

use lockstep_protocol::encoding::Int;
use lockstep_protocol::eval::{Blob, Inputs};
use lockstep_protocol::program::{
    limits, var, Access, Axis, Body, Dim, Dtype, Fold, Form, Guard, Init, Node, Op, Program, Source,
};
use lockstep_protocol::random::Case;
use lockstep_protocol::tree;
use std::sync::Arc;

/// Elements of the tensor that the maximal node reads: 16 MiB, fourteen levels of tree.
const DEEP: u64 = 1 << 22;
/// Steps of the maximal node, of which all but the first 512 are skipped.
pub const LONG: u64 = 1 << 20;
/// Steps of its inner reduction.
const INNER: u64 = 256;

/// A program with as many nodes as there may be, one of which is [`MAXIMAL`]: a fold of 2^20
/// steps with two index words, five reads and a read initial value in deep tensors, all guards,
/// and a body of 255 registers that divides and takes roots.
pub fn maximal() -> Case {
    let floats: Vec<u8> = (0..DEEP as u32)
        .flat_map(|k| (0x3f80_0000 | (k.wrapping_mul(0x9e37_79b9) >> 9)).to_le_bytes())
        .collect();
    let indices: Vec<u8> = (0..LONG as u32)
        .flat_map(|k| (k.wrapping_mul(0x85eb_ca6b) >> 12).to_le_bytes())
        .collect();
    let mut nodes = vec![
        Node::Source(Source::State {
            shape: vec![Dim(1)],
            dtype: Dtype::F32,
        }),
        constant(Dtype::F32, DEEP, &floats),
        constant(Dtype::I32, LONG, &indices),
    ];
    nodes.resize(MAXIMAL as usize, Node::Source(Source::Seed));
    nodes.push(Node::Fold(Fold {
        body: maximal_body(),
        red: vec![Dim(LONG / INNER), Dim(INNER)],
        when: (2..6)
            .map(|hi| Guard {
                form: Form::var(var::RED),
                lo: Int(0),
                hi: Int(hi),
            })
            .collect(),
        init: Init::Read(read(1, Dtype::F32, DEEP, Form::constant(DEEP as i64 - 1))),
    }));
    nodes.push(Node::Map(Body {
        shape: vec![Dim(1)],
        dtype: Dtype::F32,
        index: vec![],
        reads: vec![
            read(MAXIMAL, Dtype::F32, 1, Form::constant(0)),
            read(0, Dtype::F32, 1, Form::constant(0)),
        ],
        values: vec![],
        consts: vec![],
        ops: vec![Op::FAdd(0, 1)],
    }));
    case(
        Program { slots: 1, nodes },
        vec![floats, indices],
        vec![1f32.to_le_bytes().to_vec()],
    )
}

/// The number of the maximal node.
pub const MAXIMAL: u32 = limits::NODES - 2;

fn maximal_body() -> Body {
    let step = |offset, sign| {
        let terms = [(var::RED, sign * INNER as i64), (var::RED + 1, sign)];
        Form::new(offset, &terms)
    };
    let by_index = |k: u8, offset: i64| Form::new(offset, &[(var::INDEX + k, 4)]);
    let halves = [0.5f32, 0.25, 0.75, 0.125, 0.625].map(f32::to_bits);
    // Registers: the accumulator, five reads, four values, five constants, then results.
    let first = 1 + 5 + 4 + 5;
    let ops = (first..limits::REGISTERS as u8)
        .map(|result| {
            let last = result - 1;
            let operand = 1 + result % 5;
            match result % 3 {
                0 => Op::FFma(last, 10 + result % 5, operand),
                1 => Op::FDiv(last, operand),
                _ => Op::FSqrt(last),
            }
        })
        .collect();
    Body {
        shape: vec![Dim(1)],
        dtype: Dtype::F32,
        index: vec![
            read(2, Dtype::I32, LONG, step(0, 1)),
            read(2, Dtype::I32, LONG, step(LONG as i64 - 1, -1)),
        ],
        reads: vec![
            read(1, Dtype::F32, DEEP, by_index(0, 0)),
            read(1, Dtype::F32, DEEP, by_index(0, 1)),
            read(1, Dtype::F32, DEEP, by_index(1, 2)),
            read(1, Dtype::F32, DEEP, by_index(1, 3)),
            read(
                1,
                Dtype::F32,
                DEEP,
                Form::new(1, &[(var::INDEX, 1), (var::INDEX + 1, 2)]),
            ),
        ],
        values: (0..4).map(|k| step(k, 5)).collect(),
        consts: halves.to_vec(),
        ops,
    }
}

/// Bit patterns at which arithmetic goes wrong first: zeros, NaNs with payloads, infinities,
/// subnormals, the ends of every range, shifts around 32, indices at their extremes.
pub const SPECIAL: [u32; 26] = [
    0,
    1,
    2,
    31,
    32,
    33,
    0x8000_0000,
    0x7fff_ffff,
    0xffff_ffff,
    0x3f80_0000,
    0xbf80_0000,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0x7f80_0001,
    0xffc1_2345,
    0x007f_ffff,
    0x807f_ffff,
    0x0080_0000,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x4f00_0000,
    0xcf00_0000,
    0x4f80_0000,
    0x3f7f_ffff,
    0x3300_0001,
];

/// A program whose only computed node applies every operation to [`SPECIAL`] values, loaded as
/// every element type, and indexes with them. Element `i * 26 + j` combines values i and j.
pub fn special() -> Case {
    const S: u64 = SPECIAL.len() as u64;
    let words: Vec<u8> = SPECIAL.iter().flat_map(|w| w.to_le_bytes()).collect();
    let dtypes = [
        Dtype::F32,
        Dtype::I32,
        Dtype::U32,
        Dtype::U8,
        Dtype::I8,
        Dtype::U16,
    ];
    let mut nodes = vec![Node::Source(Source::State {
        shape: vec![Dim(S), Dim(S)],
        dtype: Dtype::U32,
    })];
    nodes.extend(dtypes.map(|dtype| constant(dtype, 4 * S / dtype.size(), &words)));
    let place = |dtype: Dtype| 1 + dtypes.iter().position(|d| *d == dtype).unwrap_or(0) as u32;
    let word = |dtype: Dtype, form: Form| read(place(dtype), dtype, 4 * S / dtype.size(), form);
    let (i, j) = (Form::var(0), Form::var(1));
    let mut ops = Vec::new();
    // Registers: six reads, one value, two constants.
    const MIX: u8 = 7;
    let mut sum = 8;
    let mut result = 9;
    for op in every_op() {
        ops.extend([op, Op::IMul(sum, MIX), Op::Xor(result + 1, result)]);
        sum = result + 2;
        result += 3;
    }
    nodes.push(Node::Map(Body {
        shape: vec![Dim(S), Dim(S)],
        dtype: Dtype::U32,
        index: vec![word(Dtype::I32, i.clone()), word(Dtype::U32, j.clone())],
        reads: vec![
            word(Dtype::U32, i),
            word(Dtype::F32, j.clone()),
            word(Dtype::I32, Form::new(S as i64 - 1, &[(1, -1)])),
            word(Dtype::I8, Form::new(0, &[(0, 2), (1, 2)])),
            Access {
                fill: 0xdead_beef,
                ..word(
                    Dtype::U16,
                    Form::new(-1, &[(var::INDEX, 1 << 20), (var::INDEX + 1, -1)]),
                )
            },
            word(Dtype::U8, j),
        ],
        values: vec![Form::new(
            -7,
            &[(var::INDEX, 1 << 20), (var::INDEX + 1, -3)],
        )],
        consts: vec![0x9e37_79b1, 0],
        ops,
    }));
    let program = Program { slots: 1, nodes };
    let zeros = vec![0; (4 * S * S) as usize];
    case(program, vec![words], vec![zeros])
}

/// Every operation, on registers 0 to 5 in all roles.
fn every_op() -> Vec<Op> {
    let (a, b, c, d, e) = (0, 1, 2, 3, 4);
    vec![
        Op::FAdd(a, b),
        Op::FSub(a, b),
        Op::FMul(a, b),
        Op::FFma(a, b, c),
        Op::FDiv(a, b),
        Op::FSqrt(a),
        Op::FMin(a, c),
        Op::FMax(a, c),
        Op::FNeg(a),
        Op::FAbs(a),
        Op::FEq(a, b),
        Op::FLt(a, c),
        Op::FLe(a, c),
        Op::IAdd(a, b),
        Op::ISub(d, e),
        Op::IMul(a, c),
        Op::UMulHi(a, c),
        Op::And(a, d),
        Op::Or(a, e),
        Op::Xor(b, c),
        Op::Shl(a, b),
        Op::Shl(c, 5),
        Op::ShrU(a, c),
        Op::ShrU(b, 5),
        Op::ShrS(a, c),
        Op::ShrS(a, 5),
        Op::IMinS(a, c),
        Op::IMaxS(a, d),
        Op::IMinU(a, c),
        Op::IMaxU(a, d),
        Op::IEq(a, c),
        Op::ILtS(a, c),
        Op::ILtU(a, c),
        Op::Select(a, b, c),
        Op::F32ToI32(a),
        Op::F32ToU32(a),
        Op::I32ToF32(a),
        Op::U32ToF32(a),
        Op::IAdd(6, a),
    ]
}

fn read(node: u32, dtype: Dtype, len: u64, form: Form) -> Access {
    Access {
        node,
        dtype,
        len,
        base: Int(0),
        axes: vec![Axis {
            form,
            extent: len,
            stride: Int(1),
        }],
        fill: 0,
    }
}

fn constant(dtype: Dtype, len: u64, bytes: &[u8]) -> Node {
    Node::Source(Source::Constant {
        shape: vec![Dim(len)],
        dtype,
        hash: tree::hash(bytes),
    })
}

fn case(program: Program, constants: Vec<Vec<u8>>, state: Vec<Vec<u8>>) -> Case {
    let constants = constants
        .into_iter()
        .map(|bytes| (tree::hash(&bytes), Arc::new(bytes) as Blob))
        .collect();
    Case {
        program,
        inputs: Inputs {
            seed: 0xfeed_5eed_0123_4567,
            constants,
            ..Inputs::default()
        },
        state,
        batch: 1,
        record_sizes: vec![],
    }
}

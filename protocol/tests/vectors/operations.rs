//! Every operation, conversion of elements included, on special and on random operands.

use crate::json::{hex, word};
use lockstep_protocol::program::{Dtype, Op, Reg};
use lockstep_protocol::random::Rng;
use lockstep_protocol::step::apply;
use serde_json::{json, Map, Value};

/// Floats at the edges of their ranges: zeros, subnormals, neighbours of 1, infinities, NaNs, and
/// where integers stop fitting.
const FLOATS: [u32; 28] = [
    0x0000_0000,
    0x8000_0000,
    0x0000_0001,
    0x8000_0001,
    0x007f_ffff,
    0x0080_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x3f80_0001,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0xffc1_2345,
    0x7f80_0001,
    0x807f_ffff,
    0x8080_0000,
    0x3f7f_ffff,
    0x3f00_0000,
    0x4b00_0000,
    0x4b7f_ffff,
    0x4eff_ffff,
    0x4f00_0000,
    0xcf00_0000,
    0xcf00_0001,
    0x4f7f_ffff,
    0x4f80_0000,
];
/// So many of [`FLOATS`] are crossed with each other, the fewer the more operands there are.
const PAIRED: usize = 16;
const TRIPLED: usize = 7;

/// Integers where sums, products and shifts overflow.
const INTEGERS: [u32; 12] = [
    0,
    1,
    2,
    0x0000_001f,
    0x0000_0020,
    0x0000_ffff,
    0x0001_0000,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xffff_fffe,
    0xffff_ffff,
];

const RANDOM: usize = 120;

type Unary = fn(Reg) -> Op;
type Binary = fn(Reg, Reg) -> Op;
type Ternary = fn(Reg, Reg, Reg) -> Op;

const FLOAT_UNARY: [Unary; 5] = [Op::FSqrt, Op::FNeg, Op::FAbs, Op::F32ToI32, Op::F32ToU32];
const INTEGER_UNARY: [Unary; 2] = [Op::I32ToF32, Op::U32ToF32];
const FLOAT_BINARY: [Binary; 9] = [
    Op::FAdd,
    Op::FSub,
    Op::FMul,
    Op::FDiv,
    Op::FMin,
    Op::FMax,
    Op::FEq,
    Op::FLt,
    Op::FLe,
];
const INTEGER_BINARY: [Binary; 17] = [
    Op::IAdd,
    Op::ISub,
    Op::IMul,
    Op::UMulHi,
    Op::And,
    Op::Or,
    Op::Xor,
    Op::Shl,
    Op::ShrU,
    Op::ShrS,
    Op::IMinS,
    Op::IMaxS,
    Op::IMinU,
    Op::IMaxU,
    Op::IEq,
    Op::ILtS,
    Op::ILtU,
];

pub fn vectors() -> Value {
    let mut rng = Rng::new(1);
    let mut operations = Map::new();
    let mut add = |op: Op, operands: Vec<Vec<u32>>| {
        let name = format!("{op:?}");
        let name = name.split('(').next().unwrap().to_string();
        let cases = operands.into_iter().map(|operands| {
            let mut words: Vec<String> = operands.iter().map(|w| word(*w)).collect();
            words.push(word(apply(&op, &operands)));
            words.join(" ")
        });
        assert!(operations.insert(name, cases.collect()).is_none());
    };
    for make in FLOAT_UNARY {
        let mut cases: Vec<_> = FLOATS.iter().map(|a| vec![*a]).collect();
        cases.extend((0..RANDOM).map(|_| vec![float(&mut rng)]));
        add(make(0), cases);
    }
    for make in INTEGER_UNARY {
        let mut cases: Vec<_> = INTEGERS.iter().map(|a| vec![*a]).collect();
        cases.extend((0..RANDOM).map(|_| vec![integer(&mut rng)]));
        add(make(0), cases);
    }
    for make in FLOAT_BINARY {
        let mut cases = crossed(&FLOATS[..PAIRED], 2);
        cases.extend((0..RANDOM).map(|_| {
            let a = float(&mut rng);
            vec![a, near(a, &mut rng)]
        }));
        add(make(0, 1), cases);
    }
    for make in INTEGER_BINARY {
        let mut cases = crossed(&INTEGERS, 2);
        cases.extend((0..RANDOM / 4).map(|_| vec![integer(&mut rng), integer(&mut rng)]));
        add(make(0, 1), cases);
    }
    let fma: Ternary = Op::FFma;
    let edges = [0, 1, 2, 6, 7, 11, 13].map(|i| FLOATS[i]);
    let mut cases = crossed(&edges[..TRIPLED], 3);
    cases.extend((0..4 * RANDOM).map(|_| {
        let (a, b) = (float(&mut rng), float(&mut rng));
        let product = apply(&Op::FMul(0, 1), &[a, b]);
        vec![a, b, near(product, &mut rng)]
    }));
    add(fma(0, 1, 2), cases);
    let select: Ternary = Op::Select;
    let cases =
        [0, 1, 0x8000_0000, 0x7f80_0001].map(|condition| vec![condition, 0x7f80_0001, 0xffc1_2345]);
    add(select(0, 1, 2), cases.to_vec());
    json!({ "operations": operations, "elements": elements() })
}

/// Elements as they are loaded and registers as they are stored.
fn elements() -> Value {
    let words = [
        0,
        1,
        0x7f,
        0x80,
        0xff,
        0x100,
        0x7fff,
        0x8000,
        0xffff,
        0x0001_0000,
        0x1234_5678,
        0x7f80_0001,
        0xffc1_2345,
        0xffff_ffff,
    ];
    let dtypes = [
        Dtype::F32,
        Dtype::I32,
        Dtype::U32,
        Dtype::U8,
        Dtype::I8,
        Dtype::U16,
    ];
    let cases = dtypes.into_iter().flat_map(|dtype| {
        words.map(|register: u32| {
            let size = dtype.size() as usize;
            let raw = &register.to_le_bytes()[..size];
            let mut stored = [0; 4];
            dtype.store(register, &mut stored);
            json!({
                "dtype": format!("{dtype:?}"),
                "bytes": hex(raw),
                "loaded": word(dtype.load(raw)),
                "register": word(register),
                "stored": hex(&stored[..size]),
            })
        })
    });
    cases.collect()
}

fn crossed(words: &[u32], operands: usize) -> Vec<Vec<u32>> {
    (0..operands).fold(vec![vec![]], |cases, _| {
        cases
            .iter()
            .flat_map(|case| words.iter().map(|w| [&case[..], &[*w]].concat()))
            .collect()
    })
}

/// Any bits, or the exponent of a number that training meets, or few significant bits.
fn float(rng: &mut Rng) -> u32 {
    let bits = integer(rng);
    match rng.below(4) {
        0 => bits,
        1 => bits & 0x807f_ffff | (rng.below(40) as u32 + 107) << 23,
        2 => bits & 0xfff0_0000,
        _ => bits & 0x80ff_ffff,
    }
}

/// A float that nearly cancels `a`, or is at such a distance that rounding has to decide.
fn near(a: u32, rng: &mut Rng) -> u32 {
    let distance = (rng.below(60) as u32) << 23;
    match rng.below(4) {
        0 => float(rng),
        1 => (a ^ 1 << 31)
            .wrapping_add(rng.below(5) as u32)
            .wrapping_sub(2),
        2 => (a ^ integer(rng) & 0x807f_ffff).wrapping_sub(distance),
        _ => a.wrapping_sub(distance) & 0xff80_0000 | (rng.below(2) as u32) << 31,
    }
}

fn integer(rng: &mut Rng) -> u32 {
    rng.below(1 << 32) as u32
}

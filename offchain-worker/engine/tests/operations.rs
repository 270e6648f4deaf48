//! Every operation on every pair of words at which something changes, and the storage rules.

mod common;

use common::*;
use lockstep_protocol::program::*;

/// Words that are special to some operation.
#[rustfmt::skip]
const WORDS: [u32; 48] = [
    0, 1, 2, 31, 32, 33, 63, 64, 255, 256, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0x8000_0001,
    0xffff_ffff, 0xffff_fffe, 0x007f_ffff, 0x0080_0000, 0x807f_ffff, 0x8080_0000, 0x3f80_0000,
    0xbf80_0000, 0x3f80_0001, 0x3f7f_ffff, 0x4000_0000, 0x3f00_0000, 0x3eff_ffff, 0x7f7f_ffff,
    0xff7f_ffff, 0x7f80_0000, 0xff80_0000, 0x7f80_0001, 0xff80_0001, 0x7fc0_0000, 0xffc0_0000,
    0x7fff_fffe, 0xffff_fff0, 0x4eff_ffff, 0x4f00_0000, 0x4f7f_ffff, 0x4f80_0000, 0xcf00_0000,
    0xcf00_0001, 0x4b80_0000, 0x4b80_0001, 0x1a2b_3c4d, 0xc2f6_e979,
];

const UNARY: [fn(Reg) -> Op; 7] = [
    Op::FSqrt,
    Op::FNeg,
    Op::FAbs,
    Op::F32ToI32,
    Op::F32ToU32,
    Op::I32ToF32,
    Op::U32ToF32,
];

#[rustfmt::skip]
const BINARY: [fn(Reg, Reg) -> Op; 26] = [
    Op::FAdd, Op::FSub, Op::FMul, Op::FDiv, Op::FMin, Op::FMax, Op::FEq, Op::FLt, Op::FLe,
    Op::IAdd, Op::ISub, Op::IMul, Op::UMulHi, Op::And, Op::Or, Op::Xor, Op::Shl, Op::ShrU, Op::ShrS,
    Op::IMinS, Op::IMaxS, Op::IMinU, Op::IMaxU, Op::IEq, Op::ILtS, Op::ILtU,
];

/// A map of all pairs of words, and three-operand operations of all triples of some.
fn pairs(ops: &[Op], dtype: Dtype) -> Case {
    let n = WORDS.len() as u64;
    let bytes: Vec<u8> = WORDS.iter().flat_map(|w| w.to_le_bytes()).collect();
    let mut sketch = Sketch::default();
    let words = sketch.slot(&[n], Dtype::U32, bytes);
    for op in ops {
        let reads = [0, 1, 2].map(|d| sketch.read(words, &[n], &[out(d)], 0));
        let shape = match op {
            Op::FFma(..) | Op::Select(..) => [n, n, n],
            _ => [n, n, 1],
        };
        let node = body(&shape, dtype, reads.to_vec(), &[], vec![*op]);
        sketch.push(Node::Map(node));
    }
    sketch.finish()
}

#[test]
fn operations_agree_on_all_pairs_of_special_words() {
    let unary = UNARY.iter().map(|op| op(1));
    let binary = BINARY.iter().map(|op| op(0, 1));
    let ops: Vec<Op> = unary.chain(binary).collect();
    agree(&pairs(&ops, Dtype::U32), "operations");
}

#[test]
fn three_operand_operations_agree_on_all_triples_of_special_words() {
    let ops = [Op::FFma(0, 1, 2), Op::Select(0, 1, 2)];
    agree(&pairs(&ops, Dtype::U32), "three operands");
}

#[test]
fn results_are_stored_by_their_type() {
    for dtype in [Dtype::F32, Dtype::I32, Dtype::U8, Dtype::I8, Dtype::U16] {
        agree(&pairs(&[Op::Xor(0, 1), Op::FAdd(0, 1)], dtype), "stored");
    }
}

/// Folds of one operation over rows and over columns, with an accumulator of every type.
#[test]
fn folds_of_one_operation_agree_along_every_direction() {
    let shapes: [(u64, u64); 5] = [(1, 300), (3, 70), (40, 9), (300, 1), (65, 64)];
    for dtype in [Dtype::F32, Dtype::U32, Dtype::I8, Dtype::U16] {
        for (outputs, steps) in shapes {
            let mut rng = Rng(outputs * 1000 + steps);
            let len = outputs * steps;
            let mut sketch = Sketch::default();
            let x = sketch.slot(&[len], Dtype::F32, rng.tensor(len, Rng::wild));
            for op in [
                Op::FAdd(0, 1),
                Op::FMul(1, 0),
                Op::FMin(0, 1),
                Op::FMax(1, 0),
                Op::FSub(1, 0),
                Op::IAdd(0, 1),
                Op::IMul(0, 1),
                Op::IMaxS(0, 1),
                Op::IMinU(0, 1),
                Op::Xor(0, 1),
                Op::FFma(1, 1, 0),
                Op::Select(1, 0, 1),
            ] {
                for (shape, forms) in [
                    ([outputs, steps], [out(0), red(0)]),
                    ([steps, outputs], [red(0), out(0)]),
                ] {
                    let read = sketch.read(x, &shape, &forms, 0);
                    let step = body(&[outputs], dtype, vec![read], &[], vec![op]);
                    sketch.push(fold(step, &[steps], Init::Word(0xff80_0001)));
                }
            }
            agree(&sketch.finish(), &format!("{dtype:?} {outputs}x{steps}"));
        }
    }
}

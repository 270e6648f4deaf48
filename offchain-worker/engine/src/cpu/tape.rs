//! A body as a tape of instructions over slots: blocks of words that live as long as needed.
//!
//! Operations that do not depend on the accumulator are apart from those that do, so that a fold
//! computes the former for many steps at once.

use lockstep_protocol::float;
use lockstep_protocol::program::{Body, Dtype, Op};

/// A slot's number.
pub type Slot = u16;

/// An operation of the protocol, or a change of form that its storage rules imply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[rustfmt::skip]
pub enum Code {
    FAdd, FSub, FMul, FFma, FDiv, FSqrt, FMin, FMax, FNeg, FAbs, FEq, FLt, FLe,
    IAdd, ISub, IMul, UMulHi, And, Or, Xor, Shl, ShrU, ShrS,
    IMinS, IMaxS, IMinU, IMaxU, IEq, ILtS, ILtU, Select,
    F32ToI32, F32ToU32, I32ToF32, U32ToF32,
    /// The word itself.
    Copy,
    /// The word as a stored f32: a NaN becomes canonical.
    Canonical,
    /// The word as a stored `u8`.
    Low8,
    /// The word as a stored `u16`.
    Low16,
    /// The word as a stored `i8`.
    Signed8,
}

/// `slots[dst] = code(slots[src[0]], ...)`, for every word of a block.
#[derive(Clone, Copy, Debug)]
pub struct Instr {
    pub code: Code,
    pub dst: Slot,
    pub src: [Slot; 3],
}

/// A body ready to be executed.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    /// Number of slots.
    pub slots: usize,
    /// Slots that hold one word throughout.
    pub consts: Vec<(Slot, u32)>,
    /// For each read of the body, the slot it is loaded into; `None` when nothing needs it.
    pub reads: Vec<Option<Slot>>,
    /// The same for each value.
    pub values: Vec<Option<Slot>>,
    /// Instructions that do not depend on the accumulator.
    pub before: Vec<Instr>,
    /// Instructions of one step of a fold.
    pub after: Vec<Instr>,
    /// Where a fold's accumulator is.
    pub acc: Slot,
    /// Where the result is; in a fold, where the next accumulator is.
    pub result: Slot,
    /// Slots that hold another row of words for every step of a fold.
    pub moving: Vec<Slot>,
}

/// What the storage rule of `dtype` makes of a register, as a register: `None` when nothing.
pub fn narrow(dtype: Dtype) -> Option<Code> {
    match dtype {
        Dtype::F32 => Some(Code::Canonical),
        Dtype::I32 | Dtype::U32 => None,
        Dtype::U8 => Some(Code::Low8),
        Dtype::I8 => Some(Code::Signed8),
        Dtype::U16 => Some(Code::Low16),
    }
}

struct Value {
    /// `None` for what exists before the first instruction.
    code: Option<Code>,
    src: Vec<usize>,
    needs_acc: bool,
    /// Whether it is known not to be a NaN other than the canonical one.
    canonical: bool,
    used: bool,
}

/// Compiles the body of a map, or of a fold.
pub fn compile(body: &Body, fold: bool) -> Tape {
    let mut values: Vec<Value> = Vec::new();
    let mut leaf = |needs_acc, canonical| {
        values.push(Value {
            code: None,
            src: Vec::new(),
            needs_acc,
            canonical,
            used: false,
        });
    };
    let tame = |word| float::canonical(word) == word;
    if fold {
        leaf(true, body.dtype == Dtype::F32);
    }
    for read in &body.reads {
        leaf(false, read.dtype == Dtype::F32 && tame(read.fill));
    }
    body.values.iter().for_each(|_| leaf(false, false));
    body.consts.iter().for_each(|word| leaf(false, tame(*word)));
    for op in &body.ops {
        let (code, src) = decode(op);
        push(&mut values, code, src.iter().map(|r| *r as usize).collect());
    }
    let last = values.len() - 1;
    match narrow(body.dtype) {
        Some(Code::Canonical) if values[last].canonical => {}
        Some(code) => push(&mut values, code, vec![last]),
        None => {}
    }
    let last = values.len() - 1;
    if fold && (!values[last].needs_acc || values[last].code.is_none()) {
        push(&mut values, Code::Copy, vec![last]);
        values[last + 1].needs_acc = true;
    }
    let last = values.len() - 1;
    values[last].used = true;
    for v in (0..values.len()).rev() {
        if values[v].used {
            for s in values[v].src.clone() {
                values[s].used = true;
            }
        }
    }
    allocate(body, fold, &values)
}

fn push(values: &mut Vec<Value>, code: Code, src: Vec<usize>) {
    let canonical = match code {
        Code::Copy => values[src[0]].canonical,
        Code::Select => values[src[1]].canonical && values[src[2]].canonical,
        _ => is_float(code),
    };
    let needs_acc = src.iter().any(|s| values[*s].needs_acc);
    values.push(Value {
        code: Some(code),
        src,
        needs_acc,
        canonical,
        used: false,
    });
}

/// Gives every value that is used a slot, and orders the instructions: first those that do not
/// depend on the accumulator.
fn allocate(body: &Body, fold: bool, values: &[Value]) -> Tape {
    let mut tape = Tape::default();
    let mut slot = vec![None; values.len()];
    let mut slots = 0..Slot::MAX;
    let mut fresh = || slots.next().expect("a body has at most 255 registers");

    // Leaves keep their slots: they are filled from outside, and may point into a tensor.
    let reads = fold as usize;
    let forms = reads + body.reads.len();
    let consts = forms + body.values.len();
    let ops = consts + body.consts.len();
    for (v, value) in values[..ops].iter().enumerate() {
        if value.used || (fold && v == 0) {
            let s = fresh();
            slot[v] = Some(s);
            if v >= consts {
                tape.consts.push((s, body.consts[v - consts]));
            } else if v >= reads {
                tape.moving.push(s);
            }
        }
    }
    tape.reads = slot[reads..forms].to_vec();
    tape.values = slot[forms..consts].to_vec();

    let mut last_use = vec![0; values.len()];
    for (v, value) in values.iter().enumerate().filter(|(_, value)| value.used) {
        for s in &value.src {
            // What the steps of a fold read from before them is read again in the next step.
            let again = value.needs_acc && !values[*s].needs_acc;
            last_use[*s] = last_use[*s].max(if again { usize::MAX } else { v });
        }
    }
    let mut free: Vec<Slot> = Vec::new();
    for after in [false, true] {
        for (v, value) in values.iter().enumerate().skip(ops) {
            let Some(code) = value.code else { continue };
            if !value.used || value.needs_acc != after {
                continue;
            }
            let dst = free.pop().unwrap_or_else(&mut fresh);
            slot[v] = Some(dst);
            let mut src = [0; 3];
            for (to, s) in src.iter_mut().zip(&value.src) {
                *to = slot[*s].expect("operands come first");
            }
            let instr = Instr { code, dst, src };
            if after {
                tape.after.push(instr);
                tape.moving.retain(|s| *s != dst);
            } else {
                tape.before.push(instr);
                tape.moving.push(dst);
            }
            let mut dying: Vec<usize> = value.src.clone();
            dying.retain(|s| *s >= ops && last_use[*s] == v);
            dying.sort_unstable();
            dying.dedup();
            free.extend(dying.iter().filter_map(|s| slot[*s]));
        }
    }
    tape.moving.sort_unstable();
    tape.moving.dedup();
    tape.acc = 0;
    tape.result = slot[values.len() - 1].expect("the result is used");
    tape.slots = fresh() as usize;
    tape
}

fn is_float(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        FAdd | FSub
            | FMul
            | FFma
            | FDiv
            | FSqrt
            | FMin
            | FMax
            | FNeg
            | FAbs
            | I32ToF32
            | U32ToF32
            | Canonical
    )
}

fn decode(op: &Op) -> (Code, Vec<u8>) {
    macro_rules! table {
        ($($name:ident($($r:ident),+))*) => {
            match *op { $(Op::$name($($r),+) => (Code::$name, vec![$($r),+]),)* }
        };
    }
    table! {
        FAdd(a, b) FSub(a, b) FMul(a, b) FFma(a, b, c) FDiv(a, b) FSqrt(a) FMin(a, b) FMax(a, b)
        FNeg(a) FAbs(a) FEq(a, b) FLt(a, b) FLe(a, b) IAdd(a, b) ISub(a, b) IMul(a, b)
        UMulHi(a, b) And(a, b) Or(a, b) Xor(a, b) Shl(a, b) ShrU(a, b) ShrS(a, b) IMinS(a, b)
        IMaxS(a, b) IMinU(a, b) IMaxU(a, b) IEq(a, b) ILtS(a, b) ILtU(a, b) Select(a, b, c)
        F32ToI32(a) F32ToU32(a) I32ToF32(a) U32ToF32(a)
    }
}

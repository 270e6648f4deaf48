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
    /// A bit for each operand that is one word for the whole block; never all of them.
    pub splat: u8,
    /// A bit for each operand that is what the instruction before has computed.
    pub last: u8,
    /// Whether anybody but the next instruction needs the result.
    pub keep: bool,
    /// Whether it is a polynomial's next term: it and the instruction before multiply what came
    /// before by the same block and add a constant, and nobody else needs that one's result.
    pub again: bool,
}

impl Instr {
    /// An instruction by itself, on whole blocks.
    pub fn new(code: Code, dst: Slot, src: [Slot; 3]) -> Instr {
        Instr {
            code,
            dst,
            src,
            splat: 0,
            last: 0,
            keep: true,
            again: false,
        }
    }

    /// The operands that the instruction has.
    fn operands(&self) -> &[Slot] {
        &self.src[..arity(self.code)]
    }
}

/// A read or a value of a body that something needs.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    /// Which one it is.
    pub number: usize,
    /// Where it is loaded to.
    pub slot: Slot,
    /// Whether a whole block of it is needed, rather than one word that all points share.
    pub block: bool,
}

/// A constant of a body.
#[derive(Clone, Copy, Debug)]
pub struct Const {
    pub slot: Slot,
    pub word: u32,
    /// Whether a whole block of it is needed, rather than the word alone.
    pub block: bool,
}

/// A body ready to be executed.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    /// Number of slots.
    pub slots: usize,
    /// How many of them, the first ones, are blocks; the others are one word each.
    pub blocks: usize,
    /// What constant slots hold.
    pub consts: Vec<Const>,
    /// Reads that something needs.
    pub reads: Vec<Leaf>,
    /// Values that something needs.
    pub values: Vec<Leaf>,
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

/// What is known of a value's bits, should it be a NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nan {
    /// They are the register's.
    Exact,
    /// They are the register's, which is the canonical NaN.
    Canonical,
    /// The register holds the canonical NaN, the block any other. Arithmetic does not tell them
    /// apart, so it is only put right in front of what looks at bits.
    Pending,
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
    nan: Nan,
    used: bool,
}

/// Compiles the body of a map, or of a fold. `single(k)` says whether all points share the word of
/// read `k`.
pub fn compile(body: &Body, fold: bool, single: impl Fn(usize) -> bool) -> Tape {
    let mut values: Vec<Value> = Vec::new();
    let mut leaf = |needs_acc, nan| {
        values.push(Value {
            code: None,
            src: Vec::new(),
            needs_acc,
            nan,
            used: false,
        });
    };
    let constant = |word| match float::canonical(word) == word {
        true => Nan::Canonical,
        false => Nan::Exact,
    };
    if fold {
        leaf(
            true,
            if body.dtype == Dtype::F32 {
                Nan::Pending
            } else {
                Nan::Exact
            },
        );
    }
    for read in &body.reads {
        leaf(
            false,
            if read.dtype == Dtype::F32 {
                constant(read.fill)
            } else {
                Nan::Exact
            },
        );
    }
    body.values.iter().for_each(|_| leaf(false, Nan::Exact));
    body.consts
        .iter()
        .for_each(|word| leaf(false, constant(*word)));
    // For each register, its value, and the same with pending NaNs put right once that was needed.
    let mut registers: Vec<usize> = (0..values.len()).collect();
    let mut settled: Vec<Option<usize>> = vec![None; values.len()];
    for op in &body.ops {
        let (code, operands) = decode(op);
        let nan = |values: &[Value], r: u8| values[registers[r as usize]].nan;
        let mixed = code == Code::Select
            && [1, 2]
                .iter()
                .any(|k| nan(&values, operands[*k]) == Nan::Exact);
        let mut src = Vec::with_capacity(operands.len());
        for (k, r) in operands.iter().map(|r| *r as usize).enumerate() {
            let looks = looks_at_bits(code) || (mixed && k > 0);
            src.push(match values[registers[r]].nan {
                Nan::Pending if looks => *settled[r]
                    .get_or_insert_with(|| push(&mut values, Code::Canonical, vec![registers[r]])),
                _ => registers[r],
            });
        }
        registers.push(push(&mut values, code, src));
        settled.push(None);
    }
    let mut last = registers[registers.len() - 1];
    // An f32 accumulator may be put right at the end of the fold.
    let later = fold && body.dtype == Dtype::F32;
    if values[last].nan == Nan::Pending && !later {
        last = push(&mut values, Code::Canonical, vec![last]);
    }
    match narrow(body.dtype) {
        Some(Code::Canonical) if values[last].nan != Nan::Exact => {}
        Some(code) => last = push(&mut values, code, vec![last]),
        None => {}
    }
    if fold && (!values[last].needs_acc || values[last].code.is_none()) {
        last = push(&mut values, Code::Copy, vec![last]);
        values[last].needs_acc = true;
    }
    values[last].used = true;
    for v in (0..values.len()).rev() {
        if values[v].used {
            for s in values[v].src.clone() {
                values[s].used = true;
            }
        }
    }
    allocate(body, fold, &values, last, single)
}

fn push(values: &mut Vec<Value>, code: Code, src: Vec<usize>) -> usize {
    let nan = |k: usize| values[src[k]].nan;
    let nan = match code {
        Code::Copy => nan(0),
        Code::Select if [nan(1), nan(2)].contains(&Nan::Exact) => Nan::Exact,
        Code::Select if [nan(1), nan(2)] == [Nan::Canonical; 2] => Nan::Canonical,
        Code::Select => Nan::Pending,
        Code::FMin | Code::FMax | Code::I32ToF32 | Code::U32ToF32 | Code::Canonical => {
            Nan::Canonical
        }
        _ if is_arithmetic(code) => Nan::Pending,
        _ => Nan::Exact,
    };
    let needs_acc = src.iter().any(|s| values[*s].needs_acc);
    values.push(Value {
        code: Some(code),
        src,
        needs_acc,
        nan,
        used: false,
    });
    values.len() - 1
}

/// Gives every value that is used a slot, and orders the instructions: first those that do not
/// depend on the accumulator.
fn allocate(
    body: &Body,
    fold: bool,
    values: &[Value],
    last: usize,
    single: impl Fn(usize) -> bool,
) -> Tape {
    let mut tape = Tape::default();
    let mut slot = vec![None; values.len()];
    let mut slots = 0..Slot::MAX;
    let mut fresh = || slots.next().expect("a body has at most 255 registers");

    // Leaves keep their slots: they are filled from outside, and may point into a tensor.
    let reads = fold as usize;
    let forms = reads + body.reads.len();
    let consts = forms + body.values.len();
    let ops = consts + body.consts.len();
    let one_word = |v: usize| match v {
        _ if (reads..forms).contains(&v) => single(v - reads),
        _ => (consts..ops).contains(&v),
    };
    for (v, value) in values[..ops].iter().enumerate() {
        if value.used || (fold && v == 0) {
            let s = fresh();
            slot[v] = Some(s);
            if v >= consts {
                tape.consts.push(Const {
                    slot: s,
                    word: body.consts[v - consts],
                    block: false,
                });
            } else if v >= reads {
                tape.moving.push(s);
            }
        }
    }
    let leaves = |first: usize, end: usize| -> Vec<Leaf> {
        let leaf = |v: usize| {
            Some(Leaf {
                number: v - first,
                slot: slot[v]?,
                block: !one_word(v),
            })
        };
        (first..end).filter_map(leaf).collect()
    };
    tape.reads = leaves(reads, forms);
    tape.values = leaves(forms, consts);

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
            // Nothing else is ever written where the result is wanted.
            let reused = free.pop_if(|_| v != last);
            let dst = reused.unwrap_or_else(&mut fresh);
            slot[v] = Some(dst);
            let mut src = [0; 3];
            for (to, s) in src.iter_mut().zip(&value.src) {
                *to = slot[*s].expect("operands come first");
            }
            let splat = match value.src.iter().all(|s| one_word(*s)) {
                true => {
                    tape.fill(&src);
                    0
                }
                false => (value.src.iter().enumerate())
                    .fold(0, |bits, (k, s)| bits | (one_word(*s) as u8) << k),
            };
            let instr = Instr {
                splat,
                ..Instr::new(code, dst, src)
            };
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
    tape.result = slot[last].expect("the result is used");
    tape.fill(&[tape.result]);
    tape.slots = fresh() as usize;
    tape.number_blocks_first();
    tape.chain();
    tape
}

impl Tape {
    /// Asks for whole blocks of those of the slots that are leaves.
    fn fill(&mut self, slots: &[Slot]) {
        for constant in &mut self.consts {
            constant.block |= slots.contains(&constant.slot);
        }
        for read in &mut self.reads {
            read.block |= slots.contains(&read.slot);
        }
    }

    /// Finds results that only the next instruction needs.
    fn chain(&mut self) {
        let (steps, result) = (self.after.clone(), self.result);
        let stepped = |slot: Slot| steps.iter().any(|instr| instr.operands().contains(&slot));
        for (tape, needed) in [
            (&mut self.before, &stepped as &dyn Fn(Slot) -> bool),
            (&mut self.after, &|_| false),
        ] {
            for i in 1..tape.len() {
                let dst = tape[i - 1].dst;
                let next = &tape[i];
                let taken = (next.operands().iter().enumerate())
                    .filter(|(k, slot)| **slot == dst && next.splat >> k & 1 == 0)
                    .fold(0, |bits, (k, _)| bits | 1 << k);
                tape[i].last = taken;
                let mut keep = taken == 0 || dst == result || needed(dst);
                if tape[i].dst != dst {
                    for later in &tape[i + 1..] {
                        keep |= later.operands().contains(&dst);
                        if later.dst == dst {
                            break;
                        }
                    }
                }
                tape[i - 1].keep = keep;
            }
            let term = |instr: &Instr| (instr.code, instr.last, instr.splat) == (Code::FFma, 1, 4);
            for i in 1..tape.len() {
                let [before, next] = [&tape[i - 1], &tape[i]];
                let alike = term(before) && term(next) && before.src[1] == next.src[1];
                tape[i].again = alike && !before.keep;
            }
        }
    }

    /// Numbers the slots anew, so that constants of which one word is enough come last.
    fn number_blocks_first(&mut self) {
        let single = |tape: &Tape, slot| {
            let mut consts = tape.consts.iter();
            let mut reads = tape.reads.iter();
            consts.any(|c| c.slot == slot && !c.block)
                || reads.any(|read| read.slot == slot && !read.block)
        };
        let (last, first): (Vec<Slot>, Vec<Slot>) =
            (0..self.slots as Slot).partition(|slot| single(self, *slot));
        self.blocks = first.len();
        let mut number = vec![0; self.slots];
        for (new, old) in (0..).zip(first.iter().chain(&last)) {
            number[*old as usize] = new;
        }
        let instrs = self.before.iter_mut().chain(&mut self.after);
        let named = instrs.flat_map(|instr| instr.src.iter_mut().chain([&mut instr.dst]));
        let leaves = self.reads.iter_mut().chain(&mut self.values);
        let leaves = leaves.map(|leaf| &mut leaf.slot);
        let consts = self.consts.iter_mut().map(|c| &mut c.slot);
        let others = self
            .moving
            .iter_mut()
            .chain([&mut self.acc, &mut self.result]);
        for slot in named.chain(leaves).chain(consts).chain(others) {
            *slot = number[*slot as usize];
        }
    }
}

/// Number of operands.
fn arity(code: Code) -> usize {
    use Code::*;
    match code {
        FFma | Select => 3,
        FSqrt | FNeg | FAbs | F32ToI32 | F32ToU32 | I32ToF32 | U32ToF32 => 1,
        Copy | Canonical | Low8 | Low16 | Signed8 => 1,
        _ => 2,
    }
}

/// Whether a NaN that comes out is the hardware's.
fn is_arithmetic(code: Code) -> bool {
    use Code::*;
    matches!(code, FAdd | FSub | FMul | FFma | FDiv | FSqrt | FNeg | FAbs)
}

/// Whether the result depends on the bits of an operand that is a NaN.
fn looks_at_bits(code: Code) -> bool {
    use Code::*;
    let sees_numbers = is_arithmetic(code)
        || matches!(
            code,
            FMin | FMax | FEq | FLt | FLe | F32ToI32 | F32ToU32 | Select | Copy | Canonical
        );
    !sees_numbers
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

//! One scalar step of one element of one node: the unit that the referee executes and that the
//! reference evaluator repeats.

use crate::float;
use crate::program::{var, Access, Body, Dim, Dtype, Fold, Form, Init, Op};
use alloc::vec::Vec;

/// Values of a form's variables, indexed by variable number.
pub type Vars = [i64; var::END as usize];

/// Where operands come from. `slot` counts the node's accesses in the order of
/// [`Node::accesses`](crate::program::Node::accesses).
pub trait Reads {
    /// Why an operand could not be had.
    type Error;
    /// The register value of element `offset` of the node that `access` names.
    ///
    /// # Errors
    /// When the element cannot be had.
    fn load(&mut self, slot: usize, access: &Access, offset: u64) -> Result<u32, Self::Error>;
}

/// Splits a row-major linear index into coordinates, written to the front of `out`.
pub fn coordinates(mut index: u64, shape: &[Dim], out: &mut [i64]) {
    for (d, dim) in shape.iter().enumerate().rev() {
        out[d] = (index % dim.0) as i64;
        index /= dim.0;
    }
}

/// The element an access reads, or `None` where it reads its fill.
pub fn address(access: &Access, vars: &Vars) -> Option<u64> {
    let mut offset = access.base.0;
    for axis in &access.axes {
        let at = axis.form.eval(vars);
        if at < 0 || at as u64 >= axis.extent {
            return None;
        }
        offset += axis.stride.0 * at;
    }
    Some(offset as u64)
}

/// Whether the guards of a fold let the step at `vars` happen.
pub fn guarded(fold: &Fold, vars: &Vars) -> bool {
    fold.when.iter().all(|guard| {
        let value = guard.form.eval(vars);
        guard.lo.0 <= value && value < guard.hi.0
    })
}

/// The value of an element of a map, as stored (zero-extended bits).
///
/// # Errors
/// When an operand cannot be had.
pub fn map<R: Reads>(body: &Body, element: u64, reads: &mut R) -> Result<u32, R::Error> {
    let mut vars: Vars = [0; var::END as usize];
    coordinates(element, &body.shape, &mut vars);
    index_words(body, &mut vars, reads)?;
    Ok(body.dtype.stored(run(body, None, &vars, reads)?))
}

/// The accumulator of `element` before the first step, as stored.
///
/// # Errors
/// When an operand cannot be had.
pub fn fold_init<R: Reads>(fold: &Fold, element: u64, reads: &mut R) -> Result<u32, R::Error> {
    let word = match &fold.init {
        Init::Word(word) => *word,
        Init::Read(access) => {
            let mut vars: Vars = [0; var::END as usize];
            coordinates(element, &fold.body.shape, &mut vars);
            let slot = fold.body.index.len() + fold.body.reads.len();
            load(slot, access, &vars, reads)?
        }
    };
    Ok(fold.body.dtype.stored(word))
}

/// The accumulator after step `r` of `element`, as stored; `acc` is the stored accumulator before.
///
/// # Errors
/// When an operand cannot be had.
pub fn fold_step<R: Reads>(
    fold: &Fold,
    element: u64,
    r: u64,
    acc: u32,
    reads: &mut R,
) -> Result<u32, R::Error> {
    let mut vars: Vars = [0; var::END as usize];
    coordinates(element, &fold.body.shape, &mut vars);
    coordinates(r, &fold.red, &mut vars[var::RED as usize..]);
    index_words(&fold.body, &mut vars, reads)?;
    if !guarded(fold, &vars) {
        return Ok(fold.body.dtype.stored(acc));
    }
    let acc = fold.body.dtype.round_trip(acc);
    Ok(fold
        .body
        .dtype
        .stored(run(&fold.body, Some(acc), &vars, reads)?))
}

fn load<R: Reads>(
    slot: usize,
    access: &Access,
    vars: &Vars,
    reads: &mut R,
) -> Result<u32, R::Error> {
    match address(access, vars) {
        Some(offset) => reads.load(slot, access, offset),
        None => Ok(access.fill),
    }
}

fn index_words<R: Reads>(body: &Body, vars: &mut Vars, reads: &mut R) -> Result<(), R::Error> {
    for (k, access) in body.index.iter().enumerate() {
        let word = load(k, access, vars, reads)?;
        vars[var::INDEX as usize + k] = match access.dtype {
            Dtype::U32 => word as i64,
            _ => word as i32 as i64,
        };
    }
    Ok(())
}

fn run<R: Reads>(
    body: &Body,
    acc: Option<u32>,
    vars: &Vars,
    reads: &mut R,
) -> Result<u32, R::Error> {
    let mut regs: Vec<u32> = Vec::with_capacity(crate::program::limits::REGISTERS);
    regs.extend(acc);
    for (k, access) in body.reads.iter().enumerate() {
        regs.push(load(body.index.len() + k, access, vars, reads)?);
    }
    regs.extend(body.values.iter().map(|form: &Form| form.eval(vars) as u32));
    regs.extend(&body.consts);
    for op in &body.ops {
        regs.push(apply(op, &regs));
    }
    Ok(*regs.last().expect("the validator requires a register"))
}

/// The result of one operation, see `docs/specification.md`, section "Operations".
pub fn apply(op: &Op, regs: &[u32]) -> u32 {
    let x = |r: u8| regs[r as usize];
    let s = |r: u8| regs[r as usize] as i32;
    match *op {
        Op::FAdd(a, b) => float::add(x(a), x(b)),
        Op::FSub(a, b) => float::sub(x(a), x(b)),
        Op::FMul(a, b) => float::mul(x(a), x(b)),
        Op::FFma(a, b, c) => float::fma(x(a), x(b), x(c)),
        Op::FDiv(a, b) => float::div(x(a), x(b)),
        Op::FSqrt(a) => float::sqrt(x(a)),
        Op::FMin(a, b) => float::min(x(a), x(b)),
        Op::FMax(a, b) => float::max(x(a), x(b)),
        Op::FNeg(a) => float::neg(x(a)),
        Op::FAbs(a) => float::abs(x(a)),
        Op::FEq(a, b) => float::eq(x(a), x(b)) as u32,
        Op::FLt(a, b) => float::lt(x(a), x(b)) as u32,
        Op::FLe(a, b) => float::le(x(a), x(b)) as u32,
        Op::IAdd(a, b) => x(a).wrapping_add(x(b)),
        Op::ISub(a, b) => x(a).wrapping_sub(x(b)),
        Op::IMul(a, b) => x(a).wrapping_mul(x(b)),
        Op::UMulHi(a, b) => ((x(a) as u64 * x(b) as u64) >> 32) as u32,
        Op::And(a, b) => x(a) & x(b),
        Op::Or(a, b) => x(a) | x(b),
        Op::Xor(a, b) => x(a) ^ x(b),
        Op::Shl(a, b) => x(a).checked_shl(x(b)).unwrap_or(0),
        Op::ShrU(a, b) => x(a).checked_shr(x(b)).unwrap_or(0),
        Op::ShrS(a, b) => s(a).checked_shr(x(b)).unwrap_or(0) as u32,
        Op::IMinS(a, b) => s(a).min(s(b)) as u32,
        Op::IMaxS(a, b) => s(a).max(s(b)) as u32,
        Op::IMinU(a, b) => x(a).min(x(b)),
        Op::IMaxU(a, b) => x(a).max(x(b)),
        Op::IEq(a, b) => (x(a) == x(b)) as u32,
        Op::ILtS(a, b) => (s(a) < s(b)) as u32,
        Op::ILtU(a, b) => (x(a) < x(b)) as u32,
        Op::Select(c, a, b) => {
            if x(c) != 0 {
                x(a)
            } else {
                x(b)
            }
        }
        Op::F32ToI32(a) => float::to_i32(x(a)) as u32,
        Op::F32ToU32(a) => float::to_u32(x(a)),
        Op::I32ToF32(a) => float::from_i32(s(a)),
        Op::U32ToF32(a) => float::from_u32(x(a)),
    }
}

//! Changes that break programs, or nearly.

use super::{program, Rng, Size};
use crate::program::{Access, Body, Dim, Dtype, Fold, Form, Init, Node, Program, Source, Term};
use crate::{encoding::Int, validate};
use alloc::vec::Vec;

/// A program that the validator refuses, by one change or a few to a valid one.
pub fn invalid(seed: u64, size: Size) -> Program {
    let mut program = program(seed, size).program;
    let mut rng = Rng::new(!seed);
    while validate::program(&program).is_ok() {
        mutate(rng.next(), &mut program);
    }
    program
}

/// Changes one number or list of a program. The result need not be invalid.
pub fn mutate(seed: u64, program: &mut Program) {
    let rng = &mut Rng::new(seed);
    let count = program.nodes.len() as u64;
    match rng.below(20) {
        0 => program.slots = number(rng, program.slots as u64) as u32,
        1 => drop(program.nodes.remove(rng.below(count) as usize)),
        2 => {
            let (a, b) = (rng.below(count) as usize, rng.below(count) as usize);
            program.nodes.swap(a, b);
        }
        _ => match &mut program.nodes[rng.below(count) as usize] {
            Node::Source(source) => change_source(rng, source),
            Node::Map(body) => change_body(rng, body),
            Node::Fold(fold) => change_fold(rng, fold),
        },
    }
}

/// Another number, near or at an edge.
fn number(rng: &mut Rng, old: u64) -> u64 {
    match rng.below(8) {
        0 => 0,
        1 => 1 << rng.below(64),
        2 => u64::MAX,
        3 | 4 => old.wrapping_sub(1),
        _ => old.wrapping_add(1),
    }
}

fn change_int(rng: &mut Rng, int: &mut Int) {
    int.0 = match rng.below(3) {
        0 => int.0.wrapping_neg(),
        _ => number(rng, int.0 as u64) as i64,
    };
}

fn change_dims(rng: &mut Rng, dims: &mut Vec<Dim>) {
    match (rng.below(4), dims.last().copied()) {
        (0, Some(last)) => dims.push(last),
        (1, Some(_)) => dims.truncate(dims.len() - 1),
        (_, Some(_)) => {
            let dim = rng.below(dims.len() as u64) as usize;
            dims[dim].0 = number(rng, dims[dim].0);
        }
        (_, None) => dims.push(Dim(1)),
    }
}

fn change_dtype(rng: &mut Rng, dtype: &mut Dtype) {
    *dtype = rng.pick(&super::value::DTYPES);
}

fn change_source(rng: &mut Rng, source: &mut Source) {
    match source {
        Source::State { shape, dtype } | Source::Constant { shape, dtype, .. } => {
            match rng.below(2) {
                0 => change_dims(rng, shape),
                _ => change_dtype(rng, dtype),
            }
        }
        Source::Batch {
            batch,
            record_size,
            offset,
            fields,
            dtype,
            ..
        } => match rng.below(5) {
            0 => *batch = number(rng, *batch as u64) as u32,
            1 => *record_size = number(rng, *record_size as u64) as u32,
            2 => *offset = number(rng, *offset as u64) as u32,
            3 => *fields = number(rng, *fields as u64) as u32,
            _ => change_dtype(rng, dtype),
        },
        Source::Step => *source = Source::Seed,
        Source::Seed => *source = Source::Step,
    }
}

fn change_fold(rng: &mut Rng, fold: &mut Fold) {
    let guard = match fold.when.len() as u64 {
        0 => None,
        n => fold.when.get_mut(rng.below(n) as usize),
    };
    match (rng.below(8), guard, &mut fold.init) {
        (0, ..) => change_dims(rng, &mut fold.red),
        (1, _, Init::Read(access)) => change_access(rng, access),
        (2, Some(guard), _) => change_form(rng, &mut guard.form),
        (3, Some(guard), _) => change_int(rng, &mut guard.lo),
        (4, Some(guard), _) => change_int(rng, &mut guard.hi),
        _ => change_body(rng, &mut fold.body),
    }
}

fn change_body(rng: &mut Rng, body: &mut Body) {
    let accesses = (body.index.len() + body.reads.len()) as u64;
    match rng.below(10) {
        0 => change_dims(rng, &mut body.shape),
        1 => change_dtype(rng, &mut body.dtype),
        2 => body.ops.reverse(),
        3 => drop(body.ops.pop()),
        4 => drop(body.reads.pop()),
        5 => drop(body.index.pop()),
        6 => {
            if let Some(form) = body.values.first_mut() {
                change_form(rng, form);
            }
        }
        _ => {
            if accesses > 0 {
                let access = rng.below(accesses) as usize;
                let mut all = body.index.iter_mut().chain(&mut body.reads);
                if let Some(access) = all.nth(access) {
                    change_access(rng, access);
                }
            }
        }
    }
}

fn change_access(rng: &mut Rng, access: &mut Access) {
    let axis = match access.axes.len() as u64 {
        0 => None,
        n => access.axes.get_mut(rng.below(n) as usize),
    };
    match (rng.below(8), axis) {
        (0, _) => access.node = number(rng, access.node as u64) as u32,
        (1, _) => change_dtype(rng, &mut access.dtype),
        (2, _) => access.len = number(rng, access.len),
        (3, Some(axis)) => axis.extent = number(rng, axis.extent),
        (4, Some(axis)) => change_int(rng, &mut axis.stride),
        (5 | 6, Some(axis)) => change_form(rng, &mut axis.form),
        _ => change_int(rng, &mut access.base),
    }
}

fn change_form(rng: &mut Rng, form: &mut Form) {
    let count = form.terms.len() as u64;
    if count == 0 || rng.one_in(5) {
        return change_int(rng, &mut form.constant);
    }
    let term = rng.below(count) as usize;
    match rng.below(4) {
        0 => form.terms[term].var = rng.below(16) as u8,
        1 => form.terms.reverse(),
        2 => {
            let Term { var, coef } = form.terms[term];
            form.terms.push(Term { var, coef });
        }
        _ => change_int(rng, &mut form.terms[term].coef),
    }
}

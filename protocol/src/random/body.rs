//! Maps and folds without any purpose.

use super::access::{access, axis, form, Variable};
use super::{dims, is_full, read, value, Builder};
use crate::encoding::Int;
use crate::program::{elements, var, Body, Dtype, Fold, Form, Guard, Init, Node, Op, Reg};
use alloc::vec::Vec;
use core::ops::Range;
use scale::{Decode, Encode};

/// Operations whose operands and result are floats, in the order of their encoding.
const FLOATS: u64 = 10;
/// Those, comparisons, and operations on integers.
const INTEGERS: u64 = 30;
/// All operations.
const OPS: u64 = 35;

impl Builder {
    pub(super) fn any_map(&mut self) {
        let shape = self.shape(self.size.elements);
        let dtype = self.dtype();
        let node = self.fitting(|b| Node::Map(b.any_body(&shape, &[], dtype, 8)));
        self.push(node);
    }

    pub(super) fn any_fold(&mut self) {
        let shape = self.shape(self.size.elements.min(self.size.steps / 4));
        let dtype = self.dtype();
        let len = elements(&dims(&shape)).expect("random shapes are small");
        let room = (self.size.steps / len).clamp(1, 300);
        let mut red = self.shape(room);
        red.truncate(4);
        let node = self.fitting(|b| {
            let reads = if b.rng.one_in(3) { 7 } else { 8 };
            let body = b.any_body(&shape, &red, dtype, reads);
            let scope = coordinates(&shape, 0);
            let init = if reads == 7 {
                let from = b.any();
                Init::Read(access(&mut b.rng, from, &scope))
            } else {
                Init::Word(value::word(&mut b.rng))
            };
            let mut scope = scope;
            scope.extend(coordinates(&red, var::RED));
            scope.extend(index_words(&body));
            let guards = b.rng.pick(&[0, 0, 0, 1, 1, 2, 4]);
            Node::Fold(Fold {
                red: dims(&red),
                when: (0..guards).map(|_| b.guard(&scope)).collect(),
                init,
                body,
            })
        });
        self.push(node);
    }

    /// The next value of a slot, a map or a fold over its own value and others.
    pub(super) fn update(&mut self, slot: super::Tensor) {
        let (node, dtype, len) = slot;
        let shape = self.case.program.nodes[node as usize].shape();
        let shape: Vec<u64> = match self.rng.below(3) {
            0 => [len].to_vec(),
            _ => shape.iter().map(|dim| dim.0).collect(),
        };
        let mut own = Vec::new();
        let mut stride = 1;
        for (d, &extent) in shape.iter().enumerate().rev() {
            // An access has fewer axes than a shape may have dimensions.
            if extent > 1 && own.len() < 6 {
                own.push(axis(Form::var(d as u8), extent, stride));
            }
            stride *= extent as i64;
        }
        let own = read(slot, 0, own, 0);
        let copy = self.rng.one_in(4);
        let node = self.fitting(|b| {
            let mut body = b.any_body(&shape, &[], dtype, 7);
            if copy {
                body.values.clear();
                body.consts.clear();
                body.ops.clear();
                body.reads.push(own.clone());
            } else {
                body.reads.insert(0, own.clone());
                // Every operand moves by the register that was inserted.
                let first = body.reads.len() + body.values.len() + body.consts.len();
                body.ops = b.ops(first as u64, body.ops.len() as u64);
            }
            Node::Map(body)
        });
        self.push(node);
    }

    /// Draws nodes until one fits the limits of encoding and registers.
    fn fitting(&mut self, mut draw: impl FnMut(&mut Builder) -> Node) -> Node {
        loop {
            let node = draw(self);
            if !is_full(&node) {
                return node;
            }
        }
    }

    /// A body over `shape`, as the step of a fold when `red` has dimensions, with at most `reads`
    /// accesses.
    fn any_body(&mut self, shape: &[u64], red: &[u64], dtype: Dtype, reads: u64) -> Body {
        let fold = !red.is_empty();
        let mut scope = coordinates(shape, 0);
        scope.extend(coordinates(red, var::RED));
        let mut index = Vec::new();
        for _ in 0..self.rng.pick(&[0, 0, 0, 1, 1, 2]) {
            let from = self.any();
            if from.1 != Dtype::F32 {
                index.push(access(&mut self.rng, from, &scope));
            }
        }
        let mut body = Body {
            shape: dims(shape),
            dtype,
            index,
            reads: Vec::new(),
            values: Vec::new(),
            consts: Vec::new(),
            ops: Vec::new(),
        };
        scope.extend(index_words(&body));
        let room = reads - body.index.len() as u64;
        let count = match self.rng.below(16) {
            0 => room,
            1 => room - 1,
            2 => 0,
            _ => 1 + self.rng.below(3),
        };
        for _ in 0..count {
            let from = self.any();
            body.reads.push(access(&mut self.rng, from, &scope));
        }
        for _ in 0..self.rng.pick(&[0, 0, 0, 1, 2]) {
            body.values.push(form(&mut self.rng, &scope));
        }
        for _ in 0..self.rng.pick(&[0, 0, 1, 1, 2]) {
            body.consts.push(value::word(&mut self.rng));
        }
        let mut registers =
            (fold as usize + body.reads.len() + body.values.len() + body.consts.len()) as u64;
        if registers == 0 {
            body.consts.push(value::word(&mut self.rng));
            registers = 1;
        }
        let ops = match self.rng.below(24) {
            // As long as a body may be, or nearly.
            0 => 254 - registers - self.rng.below(20),
            1 | 2 => self.rng.below(60),
            3 => 0,
            _ => 1 + self.rng.below(6),
        };
        body.ops = self.ops(registers, ops);
        body
    }

    /// `count` operations after `registers` registers.
    fn ops(&mut self, registers: u64, count: u64) -> Vec<Op> {
        // Float, integer, or all operations; what mixes them has mostly one value everywhere.
        let (from, to, last) = self.rng.pick(&[
            (0, FLOATS, [Op::FAdd(0, 0), Op::FFma(0, 0, 0)]),
            (FLOATS, INTEGERS, [Op::IAdd(0, 0), Op::Xor(0, 0)]),
            (0, OPS, [Op::FSub(0, 0), Op::ISub(0, 0)]),
        ]);
        let mut ops: Vec<Op> = (registers..registers + count)
            .map(|registers| self.op(from..to, registers))
            .collect();
        if let Some(op) = ops.last_mut().filter(|_| !self.rng.one_in(4)) {
            // The first register, which is a fold's accumulator, and the last computed.
            let code = self.rng.pick(&last).encode();
            *op = decode([code[0], 0, (registers + count).saturating_sub(2) as Reg, 0]);
        }
        ops
    }

    /// An operation on the first `registers` registers, mostly on the last, so that little is
    /// computed in vain, and mostly on different ones.
    fn op(&mut self, tags: Range<u64>, registers: u64) -> Op {
        let tag = tags.start + self.rng.below(tags.end - tags.start);
        let mut operand = |earlier: u64| match self.rng.below(3) {
            0 => self.rng.below(registers) as Reg,
            _ => (registers - 1).saturating_sub(earlier) as Reg,
        };
        let mut code = [tag as u8, operand(0), operand(1), operand(2)];
        if self.rng.one_in(2) {
            code[1..3].reverse();
        }
        decode(code)
    }

    pub(super) fn guard(&mut self, scope: &[Variable]) -> Guard {
        let lo = self.rng.between(-9, 9);
        let hi = lo + self.rng.pick(&[1, 3, 20, 1 << 50]);
        let (lo, hi) = match self.rng.below(4) {
            0 => (i64::MIN, hi),
            1 => (lo, i64::MAX),
            _ => (lo, hi),
        };
        Guard {
            form: form(&mut self.rng, scope),
            lo: Int(lo),
            hi: Int(hi),
        }
    }
}

fn decode(code: [u8; 4]) -> Op {
    Op::decode(&mut &code[..]).expect("every tag below the number of operations decodes")
}

pub(super) fn coordinates(shape: &[u64], first: u8) -> Vec<Variable> {
    (first..)
        .zip(shape)
        .map(|(var, &extent)| Variable::coordinate(var, extent))
        .collect()
}

fn index_words(body: &Body) -> Vec<Variable> {
    (var::INDEX..)
        .zip(&body.index)
        .map(|(var, _)| Variable::index(var))
        .collect()
}

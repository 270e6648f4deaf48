//! Writes the body of a node.

use crate::program::{limits, var, Access, Body, Dim, Dtype, Form, Op, Reg};
use crate::step;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// A value inside the body that a [`BodyBuilder`] writes. Only that builder understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Val(u32);

/// Writes a [`Body`]: operands and operations in any order, registers numbered at the end.
///
/// Asking for the same read, value, constant or operation twice gives the same [`Val`], an
/// operation on constants gives a constant, and what the result does not need is left out.
#[derive(Clone, Debug, Default)]
pub struct BodyBuilder {
    items: Vec<Item>,
    index: Vec<Access>,
    reads: Vec<Access>,
    values: Vec<Form>,
}

/// Why a body cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It needs this many registers; split the node in two.
    Registers(usize),
    /// It has this many index words; split the node in two.
    Index(usize),
    /// It has this many index words and reads; split the node in two.
    Reads(usize),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, what, limit) = match self {
            BodyError::Registers(count) => (count, "registers", limits::REGISTERS),
            BodyError::Index(count) => (count, "index words", limits::INDEX),
            BodyError::Reads(count) => (count, "index words and reads", limits::READS),
        };
        write!(
            f,
            "the body has {count} {what}, the limit is {limit}: split the node in two"
        )
    }
}

impl core::error::Error for BodyError {}

/// What a [`Val`] stands for.
#[derive(Clone, Copy, Debug)]
enum Item {
    Accumulator,
    /// By position in `reads`.
    Read(usize),
    /// By position in `values`.
    Value(usize),
    Constant(u32),
    /// An operation, made from its operands' registers. One of fewer than three operands ignores
    /// the others, which repeat its first.
    Op(Make, [Val; 3]),
}

type Make = fn(Reg, Reg, Reg) -> Op;

impl Item {
    fn is_same(&self, other: &Item) -> bool {
        match (self, other) {
            (Item::Accumulator, Item::Accumulator) => true,
            (Item::Read(a), Item::Read(b)) | (Item::Value(a), Item::Value(b)) => a == b,
            (Item::Constant(a), Item::Constant(b)) => a == b,
            (Item::Op(f, a), Item::Op(g, b)) => a == b && f(0, 1, 2) == g(0, 1, 2),
            _ => false,
        }
    }

    /// Registers stand in this order, items of one kind in the order they were asked for.
    fn rank(&self) -> usize {
        match self {
            Item::Accumulator => 0,
            Item::Read(_) => 1,
            Item::Value(_) => 2,
            Item::Constant(_) => 3,
            Item::Op(..) => 4,
        }
    }
}

impl BodyBuilder {
    /// Begins the body of a map.
    pub fn map() -> BodyBuilder {
        BodyBuilder::default()
    }

    /// Begins the body of a fold; the value is its accumulator.
    pub fn fold() -> (BodyBuilder, Val) {
        let mut builder = BodyBuilder::default();
        let accumulator = builder.item(Item::Accumulator);
        (builder, accumulator)
    }

    /// The element that `access` reads.
    pub fn read(&mut self, access: Access) -> Val {
        let at = position(&mut self.reads, access);
        self.item(Item::Read(at))
    }

    /// Declares the next index word, even one that is declared already, and returns the number of
    /// its variable in forms: [`var::INDEX`] for the first, one more for the second.
    pub fn index(&mut self, access: Access) -> u8 {
        let variable = var::INDEX.saturating_add(self.index.len() as u8);
        self.index.push(access);
        variable
    }

    /// The low 32 bits of a form.
    pub fn value(&mut self, form: Form) -> Val {
        let at = position(&mut self.values, form);
        self.item(Item::Value(at))
    }

    /// A constant number.
    pub fn constant_f32(&mut self, value: f32) -> Val {
        self.constant_u32(value.to_bits())
    }

    /// A constant word.
    pub fn constant_u32(&mut self, word: u32) -> Val {
        self.item(Item::Constant(word))
    }

    /// The body, with dimensions and element type of the node's output, that computes `result`.
    ///
    /// Index words stay as declared; everything else that `result` does not depend on is left
    /// out, except the accumulator of a fold, which always has its register.
    ///
    /// # Errors
    /// When the body exceeds the [`limits`] of registers, index words or reads.
    pub fn finish(self, shape: Vec<Dim>, dtype: Dtype, result: Val) -> Result<Body, BodyError> {
        let live = self.needed_by(result);
        let mut order: Vec<usize> = (0..self.items.len()).filter(|&i| live[i]).collect();
        order.sort_by_key(|&i| self.items[i].rank());
        if order.len() > limits::REGISTERS {
            return Err(BodyError::Registers(order.len()));
        }
        let mut registers: Vec<Reg> = vec![0; self.items.len()];
        for (register, &i) in (0..).zip(&order) {
            registers[i] = register;
        }

        let mut body = Body {
            shape,
            dtype,
            index: self.index,
            reads: Vec::new(),
            values: Vec::new(),
            consts: Vec::new(),
            ops: Vec::new(),
        };
        for &i in &order {
            match self.items[i] {
                Item::Accumulator => {}
                Item::Read(at) => body.reads.push(self.reads[at].clone()),
                Item::Value(at) => body.values.push(self.values[at].clone()),
                Item::Constant(word) => body.consts.push(word),
                Item::Op(make, operands) => {
                    let [a, b, c] = operands.map(|val| registers[val.0 as usize]);
                    body.ops.push(make(a, b, c));
                }
            }
        }
        if body.index.len() > limits::INDEX {
            return Err(BodyError::Index(body.index.len()));
        }
        if body.index.len() + body.reads.len() > limits::READS {
            return Err(BodyError::Reads(body.index.len() + body.reads.len()));
        }
        Ok(body)
    }

    /// Which items get a register. The result is the last of them: every operation among them
    /// comes before it, and when it is no operation, nothing but the accumulator is among them.
    fn needed_by(&self, result: Val) -> Vec<bool> {
        let mut live = vec![false; self.items.len()];
        live[result.0 as usize] = true;
        for (i, item) in self.items.iter().enumerate().rev() {
            match item {
                Item::Accumulator => live[i] = true,
                Item::Op(_, operands) if live[i] => {
                    for operand in operands {
                        live[operand.0 as usize] = true;
                    }
                }
                _ => {}
            }
        }
        live
    }

    fn item(&mut self, item: Item) -> Val {
        let known = self.items.iter().position(|other| other.is_same(&item));
        let at = known.unwrap_or_else(|| {
            self.items.push(item);
            self.items.len() - 1
        });
        Val(at as u32)
    }

    fn op(&mut self, make: Make, operands: [Val; 3]) -> Val {
        let constants = operands.map(|val| match self.items[val.0 as usize] {
            Item::Constant(word) => Some(word),
            _ => None,
        });
        match constants {
            [Some(a), Some(b), Some(c)] => {
                self.constant_u32(step::apply(&make(0, 1, 2), &[a, b, c]))
            }
            _ => self.item(Item::Op(make, operands)),
        }
    }
}

/// The position of `item` in `list`, which receives it when it is new.
fn position<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter()
        .position(|other| *other == item)
        .unwrap_or_else(|| {
            list.push(item);
            list.len() - 1
        })
}

macro_rules! operations {
    ($($name:ident $op:ident ($($operand:ident),+) $doc:literal)*) => {
        /// One method for each [`Op`].
        impl BodyBuilder {
            $(
                #[doc = $doc]
                pub fn $name(&mut self, $($operand: Val),+) -> Val {
                    operations!(self $op $($operand)+)
                }
            )*
        }
    };
    ($self:ident $op:ident $a:ident) => {
        $self.op(|a, _, _| Op::$op(a), [$a, $a, $a])
    };
    ($self:ident $op:ident $a:ident $b:ident) => {
        $self.op(|a, b, _| Op::$op(a, b), [$a, $b, $a])
    };
    ($self:ident $op:ident $a:ident $b:ident $c:ident) => {
        $self.op(|a, b, c| Op::$op(a, b, c), [$a, $b, $c])
    };
}

operations! {
    fadd FAdd(a, b) "`a + b`."
    fsub FSub(a, b) "`a - b`."
    fmul FMul(a, b) "`a * b`."
    fma FFma(a, b, c) "`a * b + c`, rounded once."
    fdiv FDiv(a, b) "`a / b`."
    fsqrt FSqrt(a) "The square root."
    fmin FMin(a, b) "IEEE 754-2019 minimum: NaN propagates, -0 < +0."
    fmax FMax(a, b) "IEEE 754-2019 maximum: NaN propagates, -0 < +0."
    fneg FNeg(a) "`-a`."
    fabs FAbs(a) "`|a|`."
    feq FEq(a, b) "1 when the numbers are equal, else 0."
    flt FLt(a, b) "1 when the number `a` is less than `b`, else 0."
    fle FLe(a, b) "1 when the number `a` is at most `b`, else 0."
    iadd IAdd(a, b) "`a + b`, wrapping."
    isub ISub(a, b) "`a - b`, wrapping."
    imul IMul(a, b) "`a * b`, wrapping."
    umulhi UMulHi(a, b) "High 32 bits of the unsigned 64-bit product."
    and And(a, b) "`a & b`."
    or Or(a, b) "`a | b`."
    xor Xor(a, b) "`a ^ b`."
    shl Shl(a, b) "`a << b`; 0 when `b >= 32`."
    shr_u ShrU(a, b) "Logical `a >> b`; 0 when `b >= 32`."
    shr_s ShrS(a, b) "Arithmetic `a >> b`; 0 when `b >= 32`."
    imin_s IMinS(a, b) "The smaller signed integer."
    imax_s IMaxS(a, b) "The greater signed integer."
    imin_u IMinU(a, b) "The smaller unsigned integer."
    imax_u IMaxU(a, b) "The greater unsigned integer."
    ieq IEq(a, b) "1 when the words are equal, else 0."
    ilt_s ILtS(a, b) "1 when the signed integer `a` is less than `b`, else 0."
    ilt_u ILtU(a, b) "1 when the unsigned integer `a` is less than `b`, else 0."
    select Select(condition, a, b) "`a` when the condition is not 0, else `b`; bits pass unchanged."
    f32_to_i32 F32ToI32(a) "Number to signed integer: towards zero, saturating, 0 for NaN."
    f32_to_u32 F32ToU32(a) "Number to unsigned integer: towards zero, saturating, 0 for NaN."
    i32_to_f32 I32ToF32(a) "Signed integer to the nearest number, ties to even."
    u32_to_f32 U32ToF32(a) "Unsigned integer to the nearest number, ties to even."
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::Int;

    fn access(node: u32) -> Access {
        Access {
            node,
            dtype: Dtype::F32,
            len: 1,
            base: Int(0),
            axes: vec![],
            fill: 0,
        }
    }

    fn finish(builder: BodyBuilder, result: Val) -> Body {
        builder
            .finish(vec![Dim(1)], Dtype::F32, result)
            .expect("the body is within the limits")
    }

    #[test]
    fn registers_follow_the_order_of_the_format_whatever_the_order_of_calls() {
        let (mut b, acc) = BodyBuilder::fold();
        let one = b.constant_f32(1.0);
        let x = b.read(access(0));
        let sum = b.fadd(x, one);
        let i = b.value(Form::var(0));
        let y = b.read(access(1));
        let product = b.fmul(sum, y);
        let shifted = b.iadd(product, i);
        let result = b.fma(shifted, product, acc);
        let body = finish(b, result);
        assert_eq!(body.reads, [access(0), access(1)]);
        assert_eq!(body.values, [Form::var(0)]);
        assert_eq!(body.consts, [1f32.to_bits()]);
        assert_eq!(
            body.ops,
            [
                Op::FAdd(1, 4),
                Op::FMul(5, 2),
                Op::IAdd(6, 3),
                Op::FFma(7, 6, 0)
            ]
        );
    }

    #[test]
    fn what_is_asked_twice_is_written_once() {
        let mut b = BodyBuilder::map();
        let (x, again) = (b.read(access(0)), b.read(access(0)));
        let (p, q) = (b.fmul(x, x), b.fmul(again, again));
        let result = b.fadd(p, q);
        let body = finish(b, result);
        assert_eq!(body.reads.len(), 1);
        assert_eq!(body.ops, [Op::FMul(0, 0), Op::FAdd(1, 1)]);
    }

    #[test]
    fn what_the_result_does_not_need_is_left_out() {
        let mut b = BodyBuilder::map();
        let (x, unused) = (b.read(access(0)), b.read(access(1)));
        let wasted = b.constant_f32(3.0);
        let result = b.fneg(x);
        b.fma(result, unused, wasted);
        let body = finish(b, result);
        assert_eq!(body.reads, [access(0)]);
        assert!(body.consts.is_empty());
        assert_eq!(body.ops, [Op::FNeg(0)]);
    }

    #[test]
    fn an_operand_alone_is_a_body() {
        let (mut b, _) = BodyBuilder::fold();
        b.read(access(0));
        let result = b.read(access(1));
        let body = finish(b, result);
        assert_eq!(body.reads, [access(1)]);
        assert!(body.ops.is_empty());

        let (b, acc) = BodyBuilder::fold();
        assert!(finish(b, acc).reads.is_empty());
    }

    #[test]
    fn an_operation_on_constants_is_a_constant() {
        let mut b = BodyBuilder::map();
        let (two, three) = (b.constant_f32(2.0), b.constant_f32(3.0));
        let result = b.fmul(two, three);
        let body = finish(b, result);
        assert_eq!(body.consts, [6f32.to_bits()]);
        assert!(body.ops.is_empty());
    }

    #[test]
    fn index_words_are_variables_in_order_of_declaration() {
        let mut b = BodyBuilder::map();
        assert_eq!(b.index(access(3)), var::INDEX);
        assert_eq!(b.index(access(4)), var::INDEX + 1);
        let x = b.read(access(0));
        assert_eq!(finish(b, x).index, [access(3), access(4)]);
    }

    #[test]
    fn a_body_beyond_the_limits_is_refused_with_its_size() {
        let mut b = BodyBuilder::map();
        let mut sum = b.read(access(0));
        for node in 1..=limits::READS as u32 {
            let x = b.read(access(node));
            sum = b.fadd(sum, x);
        }
        let refused = b.finish(vec![Dim(1)], Dtype::F32, sum);
        assert_eq!(refused, Err(BodyError::Reads(limits::READS + 1)));

        let mut b = BodyBuilder::map();
        let x = b.read(access(0));
        let mut power = x;
        for _ in 0..limits::REGISTERS {
            power = b.fmul(power, x);
        }
        let refused = b.finish(vec![Dim(1)], Dtype::F32, power);
        assert_eq!(refused, Err(BodyError::Registers(limits::REGISTERS + 1)));

        let mut b = BodyBuilder::map();
        for node in 0..=limits::INDEX as u32 {
            b.index(access(node));
        }
        let x = b.read(access(0));
        let refused = b.finish(vec![Dim(1)], Dtype::F32, x);
        assert_eq!(refused, Err(BodyError::Index(limits::INDEX + 1)));
    }
}

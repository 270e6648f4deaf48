//! Scalar functions, and expressions of them.

use lockstep_protocol::program::{Dtype, Form};
use std::rc::Rc;

/// A function of 32-bit words, applied element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scalar {
    /// `a + b` of f32.
    Add,
    /// `a - b` of f32.
    Sub,
    /// `a * b` of f32.
    Mul,
    /// `a / b` of f32.
    Div,
    /// `a * b + c` of f32, rounded once.
    Fma,
    /// The smaller f32.
    Min,
    /// The greater f32.
    Max,
    /// `-a`.
    Neg,
    /// `|a|`.
    Abs,
    /// Square root.
    Sqrt,
    /// Reciprocal square root.
    Rsqrt,
    /// e to the power of a.
    Exp,
    /// Natural logarithm.
    Log,
    /// Hyperbolic tangent.
    Tanh,
    /// Error function.
    Erf,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// `1 / (1 + exp(-a))`.
    Sigmoid,
    /// `a * (1 + erf(a / sqrt 2)) / 2`.
    Gelu,
    /// 1 where two f32 are equal, else 0.
    Eq,
    /// 1 where an f32 is less than another, else 0.
    Lt,
    /// `a + b` of integers, wrapping.
    IntAdd,
    /// `a * b` of integers, wrapping.
    IntMul,
    /// The bits of a or b.
    Or,
    /// 1 where two words are the same, else 0.
    Same,
    /// 1 where an unsigned integer is less than another, else 0.
    LtU,
    /// The smaller unsigned integer.
    MinU,
    /// The second operand where the first is not zero, else the third.
    Select,
    /// An unsigned integer as f32, rounded to nearest even.
    FromU32,
    /// A signed integer as f32, rounded to nearest even.
    FromI32,
    /// The first word of Philox4x32-10: four counter words, then two key words.
    Philox,
}

impl Scalar {
    /// Whether operands may have these types.
    pub(crate) fn accepts(self, types: &[Dtype]) -> bool {
        let float = |&t: &Dtype| t == Dtype::F32;
        match self {
            Scalar::Same => true,
            Scalar::Select => !float(&types[0]) && types[1] == types[2],
            Scalar::IntAdd
            | Scalar::IntMul
            | Scalar::Or
            | Scalar::LtU
            | Scalar::MinU
            | Scalar::FromU32
            | Scalar::FromI32
            | Scalar::Philox => !types.iter().any(float),
            _ => types.iter().all(float),
        }
    }

    /// The type of the result where the last operand has type `last`.
    pub(crate) fn output(self, last: Dtype) -> Dtype {
        match self {
            Scalar::Eq
            | Scalar::Lt
            | Scalar::IntAdd
            | Scalar::IntMul
            | Scalar::Or
            | Scalar::Same
            | Scalar::LtU
            | Scalar::MinU
            | Scalar::Philox => Dtype::U32,
            Scalar::Select => last,
            _ => Dtype::F32,
        }
    }
}

/// A scalar expression whose operands are of type `R`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Expr<R> {
    /// The accumulator of a fold.
    Acc,
    /// An element of an operand.
    Read(R),
    /// The low 32 bits of a form of the coordinates.
    Value(Form),
    /// A word.
    Word(u32),
    /// A function of other expressions.
    Apply(Scalar, Vec<Rc<Expr<R>>>),
}

impl<R> Expr<R> {
    /// Functions applied in the whole expression, counting shared parts each time.
    pub(crate) fn functions(&self) -> usize {
        match self {
            Expr::Apply(_, args) => 1 + args.iter().map(|a| a.functions()).sum::<usize>(),
            _ => 0,
        }
    }

    /// Calls `each` with every operand, in order of appearance.
    pub(crate) fn reads<'a>(&'a self, each: &mut impl FnMut(&'a R)) {
        match self {
            Expr::Read(read) => each(read),
            Expr::Apply(_, args) => args.iter().for_each(|a| a.reads(each)),
            _ => {}
        }
    }
}

/// `scalar` of `args`, as an expression.
pub(crate) fn apply<R>(scalar: Scalar, args: Vec<Expr<R>>) -> Expr<R> {
    Expr::Apply(scalar, args.into_iter().map(Rc::new).collect())
}

//! Bodies from expressions.

use super::{affine::Domain, dims, lazy::View};
use crate::scalar::{Expr, Scalar};
use lockstep_protocol::{
    math::{BodyBuilder, Val},
    program::{Access, Body, Dtype},
};
use std::{collections::HashMap, rc::Rc, sync::OnceLock};

/// The body that computes `expr` for every element of a map, or of a fold when there are
/// reduction dimensions.
///
/// # Panics
/// When the expression needs more registers or operands than a body has, which the weights
/// exclude.
pub(super) fn build(
    expr: &Expr<View>,
    index: Vec<Access>,
    shape: &[usize],
    red: &[usize],
    dtype: Dtype,
) -> Body {
    let domain = &Domain::new(shape, red);
    let (mut builder, acc) = match red {
        [] => (BodyBuilder::map(), None),
        _ => {
            let (builder, acc) = BodyBuilder::fold();
            (builder, Some(acc))
        }
    };
    for access in index {
        builder.index(access);
    }
    let result = write(&mut builder, acc, expr, domain);
    let body = builder.finish(dims(shape), dtype, result);
    body.expect("expressions are cut before they outgrow a body")
}

/// A kernel's expression with its operands in place.
pub(super) fn bind(expr: &Expr<usize>, views: &[View]) -> Expr<View> {
    match expr {
        Expr::Acc => Expr::Acc,
        Expr::Read(k) => Expr::Read(views[*k].clone()),
        Expr::Value(form) => Expr::Value(form.clone()),
        Expr::Word(word) => Expr::Word(*word),
        Expr::Apply(scalar, args) => {
            let args = args.iter().map(|a| Rc::new(bind(a, views)));
            Expr::Apply(*scalar, args.collect())
        }
    }
}

/// Registers that an expression fills, reads aside, counting shared parts each time.
pub(super) fn weight<R>(expr: &Expr<R>) -> usize {
    match expr {
        Expr::Apply(scalar, args) => {
            scalar_weight(*scalar) + args.iter().map(|a| weight(a)).sum::<usize>()
        }
        Expr::Value(_) | Expr::Word(_) => 1,
        Expr::Acc | Expr::Read(_) => 0,
    }
}

fn scalar_weight(scalar: Scalar) -> usize {
    static LONG: OnceLock<HashMap<Scalar, usize>> = OnceLock::new();
    let long = LONG.get_or_init(|| {
        let sequences = [
            Scalar::Rsqrt,
            Scalar::Exp,
            Scalar::Log,
            Scalar::Tanh,
            Scalar::Erf,
            Scalar::Sin,
            Scalar::Cos,
            Scalar::Sigmoid,
            Scalar::Gelu,
            Scalar::Philox,
        ];
        let count = |scalar| {
            let mut builder = BodyBuilder::map();
            let operands: Vec<Val> = (0..6)
                .map(|k| builder.value(lockstep_protocol::program::Form::var(k)))
                .collect();
            let result = function(&mut builder, scalar, &operands);
            let body = builder.finish(dims(&[]), Dtype::F32, result);
            let body = body.expect("every function fits one body");
            (scalar, body.ops.len() + body.consts.len())
        };
        sequences.map(count).into()
    });
    long.get(&scalar).copied().unwrap_or(1)
}

fn write(builder: &mut BodyBuilder, acc: Option<Val>, expr: &Expr<View>, domain: &Domain) -> Val {
    match expr {
        Expr::Acc => acc.expect("only a fold's expression has an accumulator"),
        Expr::Read(view) => builder.read(view.access(domain)),
        Expr::Value(form) => builder.value(domain.simplify(form)),
        Expr::Word(word) => builder.constant_u32(*word),
        Expr::Apply(scalar, args) => {
            let args: Vec<Val> = args
                .iter()
                .map(|a| write(builder, acc, a, domain))
                .collect();
            function(builder, *scalar, &args)
        }
    }
}

fn function(b: &mut BodyBuilder, scalar: Scalar, x: &[Val]) -> Val {
    match scalar {
        Scalar::Add => b.fadd(x[0], x[1]),
        Scalar::Sub => b.fsub(x[0], x[1]),
        Scalar::Mul => b.fmul(x[0], x[1]),
        Scalar::Div => b.fdiv(x[0], x[1]),
        Scalar::Fma => b.fma(x[0], x[1], x[2]),
        Scalar::Min => b.fmin(x[0], x[1]),
        Scalar::Max => b.fmax(x[0], x[1]),
        Scalar::Neg => b.fneg(x[0]),
        Scalar::Abs => b.fabs(x[0]),
        Scalar::Sqrt => b.fsqrt(x[0]),
        Scalar::Rsqrt => b.rsqrt(x[0]),
        Scalar::Exp => b.exp(x[0]),
        Scalar::Log => b.log(x[0]),
        Scalar::Tanh => b.tanh(x[0]),
        Scalar::Erf => b.erf(x[0]),
        Scalar::Sin => b.sin(x[0]),
        Scalar::Cos => b.cos(x[0]),
        Scalar::Sigmoid => b.sigmoid(x[0]),
        Scalar::Gelu => b.gelu(x[0]),
        Scalar::Eq => b.feq(x[0], x[1]),
        Scalar::Lt => b.flt(x[0], x[1]),
        Scalar::IntAdd => b.iadd(x[0], x[1]),
        Scalar::IntMul => b.imul(x[0], x[1]),
        Scalar::Or => b.or(x[0], x[1]),
        Scalar::Same => b.ieq(x[0], x[1]),
        Scalar::LtU => b.ilt_u(x[0], x[1]),
        Scalar::MinU => b.imin_u(x[0], x[1]),
        Scalar::Select => b.select(x[0], x[1], x[2]),
        Scalar::FromU32 => b.u32_to_f32(x[0]),
        Scalar::FromI32 => b.i32_to_f32(x[0]),
        Scalar::Philox => b.philox4x32([x[0], x[1], x[2], x[3]], [x[4], x[5]])[0],
    }
}

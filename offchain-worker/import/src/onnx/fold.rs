//! Functions of elements that are known: those whose results IEEE-754 fixes, so that every machine
//! builds the same program from the same file.

use super::{
    builder::Builder,
    error::{refuse, Reason},
    operand::Operand,
    tensor::{Data, Tensor},
};

/// A function of two floats and of two integers; the latter may overflow or divide by zero.
pub(super) struct Binary {
    pub(super) floats: fn(f32, f32) -> f32,
    pub(super) integers: fn(i64, i64) -> Option<i64>,
}

/// The operand's tensor, where it is known.
pub(super) fn known(operand: &Operand) -> Option<&Tensor> {
    match operand {
        Operand::Known(tensor) => Some(tensor),
        _ => None,
    }
}

/// Both operands where both are known, broadcast to one shape.
pub(super) fn aligned(
    builder: &mut Builder,
    a: &Operand,
    b: &Operand,
) -> Result<Option<[Tensor; 2]>, Reason> {
    if known(a).is_none() || known(b).is_none() {
        return Ok(None);
    }
    let shape = broadcast_shape(builder, &[a, b])?;
    let mut align = |x: &Operand| -> Result<Tensor, Reason> {
        match builder.broadcast(x, &shape)? {
            Operand::Known(tensor) => Ok(tensor),
            _ => unreachable!("a known tensor stays known"),
        }
    };
    Ok(Some([align(a)?, align(b)?]))
}

/// The shape that operands broadcast to.
pub(super) fn broadcast_shape(
    builder: &Builder,
    operands: &[&Operand],
) -> Result<Vec<usize>, Reason> {
    let mut shape = vec![];
    for operand in operands {
        let other = builder.shape(operand)?;
        shape = match lockstep_graph::broadcast_shape(&shape, &other) {
            Some(shape) => shape,
            None => refuse!("shapes {shape:?} and {other:?} do not broadcast to one"),
        };
    }
    Ok(shape)
}

impl Binary {
    /// The function of two known operands; `None` where one is not.
    pub(super) fn fold(
        &self,
        builder: &mut Builder,
        a: &Operand,
        b: &Operand,
    ) -> Result<Option<Operand>, Reason> {
        let Some([a, b]) = aligned(builder, a, b)? else {
            return Ok(None);
        };
        let data = match (&a.data, &b.data) {
            (Data::Float(x), Data::Float(y)) => {
                let each = x.iter().zip(y.iter());
                Data::Float(each.map(|(&x, &y)| (self.floats)(x, y)).collect())
            }
            (Data::Integer(x), Data::Integer(y)) => {
                let each = x.iter().zip(y.iter());
                let each = each.map(|(&x, &y)| (self.integers)(x, y));
                match each.collect() {
                    Some(data) => Data::Integer(data),
                    None => refuse!("its result is no 64-bit integer"),
                }
            }
            _ => refuse!("a {} and a {} do not fit", a.element(), b.element()),
        };
        Ok(Some(Tensor::new(&a.shape, data).into()))
    }
}

/// A function of one known operand, exact on floats; `None` where it is not known.
pub(super) fn unary(
    operand: &Operand,
    floats: fn(f32) -> f32,
    integers: Option<fn(i64) -> i64>,
) -> Option<Operand> {
    let tensor = known(operand)?;
    let data = match &tensor.data {
        Data::Float(data) => Data::Float(data.iter().map(|&x| floats(x)).collect()),
        Data::Integer(data) => {
            let function = integers?;
            Data::Integer(data.iter().map(|&x| function(x)).collect())
        }
        Data::Boolean(_) => return None,
    };
    Some(Tensor::new(&tensor.shape, data).into())
}

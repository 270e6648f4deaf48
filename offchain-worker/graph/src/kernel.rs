//! Nodes given explicitly: the form in which contractions, windows, gathers and scatters enter
//! the graph.

use crate::scalar::Expr;
use lockstep_protocol::program::{Dtype, Form, Guard};

/// A map, or a fold when it has reduction dimensions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kernel {
    /// Output dimensions.
    pub(crate) shape: Vec<usize>,
    /// Output element type.
    pub(crate) dtype: Dtype,
    /// Reduction dimensions, none for a map.
    pub(crate) red: Vec<usize>,
    /// Index words.
    pub(crate) index: Vec<Operand>,
    /// Operands.
    pub(crate) reads: Vec<Operand>,
    /// Conditions on a step.
    pub(crate) when: Vec<Guard>,
    /// Where the accumulator starts.
    pub(crate) init: u32,
    /// The scalar function; operands are numbers of `reads`.
    pub(crate) body: Expr<usize>,
}

/// An input and the position that is read, one form per axis; outside its extents reads `fill`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Operand {
    /// Which input of the value.
    pub(crate) input: usize,
    /// Coordinates in the input.
    pub(crate) at: Vec<Form>,
    /// The word outside.
    pub(crate) fill: u32,
}

impl Operand {
    /// The element of `input` at `at`, zero outside.
    pub(crate) fn new(input: usize, at: Vec<Form>) -> Operand {
        Operand { input, at, fill: 0 }
    }
}

/// Shorthand for the forms of coordinates.
pub(crate) mod form {
    use lockstep_protocol::program::{var, Form};

    /// Output coordinate `k`.
    pub(crate) fn out(k: usize) -> Form {
        Form::var(k as u8)
    }

    /// Reduction coordinate `k`.
    pub(crate) fn red(k: usize) -> Form {
        Form::var(var::RED + k as u8)
    }

    /// Index word `k`.
    pub(crate) fn index(k: usize) -> Form {
        Form::var(var::INDEX + k as u8)
    }

    /// `a * x + b * y + c`.
    pub(crate) fn sum(a: i64, x: &Form, b: i64, y: &Form, c: i64) -> Form {
        let terms = |scale: i64, form: &Form| {
            let scaled = form.terms.iter().map(move |t| (t.var, scale * t.coef.0));
            scaled.collect::<Vec<_>>()
        };
        let constant = a * x.constant.0 + b * y.constant.0 + c;
        Form::new(constant, &[terms(a, x), terms(b, y)].concat())
    }

    /// `a * x + c`.
    pub(crate) fn scaled(a: i64, x: &Form, c: i64) -> Form {
        sum(a, x, 0, &Form::constant(0), c)
    }
}

//! Functions of elements, with broadcasting, and their gradients.

use crate::{
    gradient::Rule,
    graph::{Graph, Op, Value},
    scalar::Scalar,
};
use lockstep_protocol::program::Dtype;

/// The shape that tensors of shapes `a` and `b` broadcast to: aligned at the last axis, axes of
/// extent 1 repeated. `None` when they do not fit.
pub fn broadcast_shape(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |s: &[usize], k: usize| (k + s.len()).checked_sub(rank).map_or(1, |k| s[k]);
    (0..rank)
        .map(|k| match (dim(a, k), dim(b, k)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident $scalar:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Panics
        /// When the elements are not f32.
        pub fn $name(&mut self, x: Value) -> Value {
            self.apply(Scalar::$scalar, &[x])
        }
    )*};
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident $scalar:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Panics
        /// When the shapes do not broadcast to one or the element types do not fit.
        pub fn $name(&mut self, a: Value, b: Value) -> Value {
            self.apply(Scalar::$scalar, &[a, b])
        }
    )*};
}

/// Judges by the result, so that nobody needs the operand again.
struct Relu;

impl Rule for Relu {
    fn gradient(
        &self,
        graph: &mut Graph,
        _: &[Value],
        output: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let zero = graph.scalar(0.0);
        let active = graph.less(zero, output);
        vec![Some(graph.select(active, upstream, zero))]
    }
}

impl Graph {
    unary! {
        /// `-x`.
        neg Neg;
        /// `|x|`; the gradient at 0 is 0.
        abs Abs;
        /// Square root.
        sqrt Sqrt;
        /// Reciprocal square root.
        rsqrt Rsqrt;
        /// e to the power of x.
        exp Exp;
        /// Natural logarithm.
        log Log;
        /// Hyperbolic tangent.
        tanh Tanh;
        /// Error function.
        erf Erf;
        /// Sine.
        sin Sin;
        /// Cosine.
        cos Cos;
        /// `1 / (1 + exp(-x))`.
        sigmoid Sigmoid;
        /// `x` times the standard normal distribution function of x (the exact GELU).
        gelu Gelu;
    }

    binary! {
        /// `a + b`.
        add Add;
        /// `a - b`.
        sub Sub;
        /// `a * b`.
        mul Mul;
        /// `a / b`.
        div Div;
        /// The smaller of two; equal operands pass the gradient to the second.
        minimum Min;
        /// The greater of two; equal operands pass the gradient to the second.
        maximum Max;
        /// 1 where two f32 are equal, else 0, as `u32`.
        equal Eq;
        /// 1 where `a < b`, else 0, as `u32`.
        less Lt;
        /// `a + b` of integers, wrapping, as `u32`.
        int_add IntAdd;
        /// 1 where two words are the same, else 0, as `u32`.
        same Same;
    }

    /// `max(x, 0)`; the gradient at 0 is 0.
    ///
    /// # Panics
    /// When the elements are not f32.
    pub fn relu(&mut self, x: Value) -> Value {
        let zero = self.scalar(0.0);
        let root = self.maximum(x, zero);
        self.custom(Relu, &[x], root)
    }

    /// `a * b + c`, rounded once.
    ///
    /// # Panics
    /// When the shapes do not broadcast to one or the element types do not fit.
    pub fn fma(&mut self, a: Value, b: Value, c: Value) -> Value {
        self.apply(Scalar::Fma, &[a, b, c])
    }

    /// `a` where `condition` is not zero, else `b`.
    ///
    /// # Panics
    /// When the shapes do not broadcast to one or the element types do not fit.
    pub fn select(&mut self, condition: Value, a: Value, b: Value) -> Value {
        self.apply(Scalar::Select, &[condition, a, b])
    }

    /// An integer tensor as f32, rounded to nearest even; f32 as it is.
    pub fn to_f32(&mut self, x: Value) -> Value {
        match self.dtype(x) {
            Dtype::F32 => x,
            Dtype::U32 | Dtype::U8 | Dtype::U16 => self.apply(Scalar::FromU32, &[x]),
            Dtype::I32 | Dtype::I8 => self.apply(Scalar::FromI32, &[x]),
        }
    }

    /// `x * factor`.
    pub fn scale(&mut self, x: Value, factor: f32) -> Value {
        let factor = self.scalar(factor);
        self.mul(x, factor)
    }

    /// `scalar` of each element of `args`, broadcast to one shape.
    pub(crate) fn apply(&mut self, scalar: Scalar, args: &[Value]) -> Value {
        let shape = args.iter().fold(vec![], |shape, &a| {
            broadcast_shape(&shape, self.shape(a))
                .unwrap_or_else(|| panic!("shapes {shape:?} and {:?} do not fit", self.shape(a)))
        });
        let args: Vec<Value> = args.iter().map(|&a| self.broadcast(a, &shape)).collect();
        if let (Scalar::Mul, &[a, b]) = (scalar, &args[..]) {
            // x * 1 is x, bit for bit.
            let one = Op::Fill(1f32.to_bits());
            if self.entry(a).op == one {
                return b;
            }
            if self.entry(b).op == one {
                return a;
            }
        }
        let types: Vec<Dtype> = args.iter().map(|&a| self.dtype(a)).collect();
        assert!(
            scalar.accepts(&types),
            "{scalar:?} of element types {types:?}: convert them first"
        );
        let last = self.dtype(*args.last().expect("a function has operands"));
        self.insert(Op::Apply(scalar), args, shape, scalar.output(last))
    }

    /// What `upstream`, the gradient towards `y = scalar(args)`, is towards each argument.
    pub(crate) fn apply_gradient(
        &mut self,
        scalar: Scalar,
        args: &[Value],
        y: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let g = upstream;
        let one = |gradient| vec![Some(gradient)];
        match scalar {
            Scalar::Add => vec![Some(g), Some(g)],
            Scalar::Sub => vec![Some(g), Some(self.neg(g))],
            Scalar::Mul => vec![Some(self.mul(g, args[1])), Some(self.mul(g, args[0]))],
            Scalar::Div => {
                let a = self.div(g, args[1]);
                let b = self.mul(a, y);
                vec![Some(a), Some(self.neg(b))]
            }
            Scalar::Fma => {
                let (a, b) = (self.mul(g, args[1]), self.mul(g, args[0]));
                vec![Some(a), Some(b), Some(g)]
            }
            Scalar::Max | Scalar::Min => {
                let first = match scalar {
                    Scalar::Max => self.less(args[1], args[0]),
                    _ => self.less(args[0], args[1]),
                };
                let zero = self.scalar(0.0);
                let (a, b) = (self.select(first, g, zero), self.select(first, zero, g));
                vec![Some(a), Some(b)]
            }
            Scalar::Neg => one(self.neg(g)),
            Scalar::Abs => {
                let zero = self.scalar(0.0);
                let (negative, positive) = (self.less(args[0], zero), self.less(zero, args[0]));
                let minus = self.neg(g);
                let below = self.select(negative, minus, zero);
                one(self.select(positive, g, below))
            }
            Scalar::Sqrt => {
                let half = self.scale(g, 0.5);
                one(self.div(half, y))
            }
            Scalar::Rsqrt => {
                let square = self.mul(y, y);
                let cube = self.mul(square, y);
                let half = self.scale(g, -0.5);
                one(self.mul(half, cube))
            }
            Scalar::Exp => one(self.mul(g, y)),
            Scalar::Log => one(self.div(g, args[0])),
            Scalar::Tanh => {
                let square = self.mul(y, y);
                let slope = self.one_minus(square);
                one(self.mul(g, slope))
            }
            Scalar::Erf => {
                let bell = self.bell(args[0], -1.0);
                let slope = self.scale(bell, std::f32::consts::FRAC_2_SQRT_PI);
                one(self.mul(g, slope))
            }
            Scalar::Sin => {
                let slope = self.cos(args[0]);
                one(self.mul(g, slope))
            }
            Scalar::Cos => {
                let sin = self.sin(args[0]);
                let slope = self.neg(sin);
                one(self.mul(g, slope))
            }
            Scalar::Sigmoid => {
                let rest = self.one_minus(y);
                let slope = self.mul(y, rest);
                one(self.mul(g, slope))
            }
            Scalar::Gelu => {
                let slope = self.gelu_slope(args[0]);
                one(self.mul(g, slope))
            }
            Scalar::Select => {
                let zero = self.scalar(0.0);
                let a = self.select(args[0], g, zero);
                let b = self.select(args[0], zero, g);
                vec![None, Some(a), Some(b)]
            }
            Scalar::Eq
            | Scalar::Lt
            | Scalar::IntAdd
            | Scalar::IntMul
            | Scalar::Or
            | Scalar::Same
            | Scalar::LtU
            | Scalar::MinU
            | Scalar::FromU32
            | Scalar::FromI32
            | Scalar::Philox => vec![None; args.len()],
        }
    }

    fn one_minus(&mut self, x: Value) -> Value {
        let one = self.scalar(1.0);
        self.sub(one, x)
    }

    /// `exp(factor * x * x)`.
    fn bell(&mut self, x: Value, factor: f32) -> Value {
        let square = self.mul(x, x);
        let exponent = self.scale(square, factor);
        self.exp(exponent)
    }

    /// The standard normal distribution function of x plus x times its density.
    fn gelu_slope(&mut self, x: Value) -> Value {
        let half = self.scalar(0.5);
        let scaled = self.scale(x, std::f32::consts::FRAC_1_SQRT_2);
        let erf = self.erf(scaled);
        let distribution = self.fma(erf, half, half);
        let bell = self.bell(x, -0.5);
        // 1 / sqrt(2 pi)
        let density = self.scale(bell, 0.398_942_3);
        self.fma(x, density, distribution)
    }
}

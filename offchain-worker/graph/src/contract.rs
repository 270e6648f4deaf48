//! Contractions: sums of products, walked in one fixed order with one rounding a term.
//!
//! Every contraction lowers to a fold whose body is `fma(read 0, read 1, acc)` from +0, with
//! transposition, stride and padding in the accesses alone.

use crate::{
    gradient::Rule,
    graph::{Graph, Value},
    kernel::{
        form::{out, red, sum},
        Kernel, Operand,
    },
    quantised::Precision,
    scalar::{apply, Expr, Scalar},
};
use lockstep_protocol::program::{var, Dtype, Form, Guard};

/// The deepest fold of a contraction. A deeper one is cut into chunks whose results are summed.
pub(crate) const DEPTH: usize = 1 << 14;

/// Axis names of the two operands and of the result of an einsum.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Subscripts {
    a: Vec<char>,
    b: Vec<char>,
    out: Vec<char>,
}

impl Rule for Subscripts {
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        _: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let towards_a = Subscripts {
            a: self.out.clone(),
            b: self.b.clone(),
            out: self.a.clone(),
        };
        let towards_b = Subscripts {
            a: self.a.clone(),
            b: self.out.clone(),
            out: self.b.clone(),
        };
        vec![
            Some(towards_a.contract(graph, upstream, inputs[1])),
            Some(towards_b.contract(graph, inputs[0], upstream)),
        ]
    }
}

impl Subscripts {
    fn parse(text: &str) -> Option<Subscripts> {
        let (inputs, out) = text.split_once("->")?;
        let (a, b) = inputs.split_once(',')?;
        let [a, b, out] = [a, b, out].map(|s| s.trim().chars().collect::<Vec<char>>());
        let unique = |s: &[char]| (1..s.len()).all(|k| !s[..k].contains(&s[k]));
        let within =
            |s: &[char], t: &[char], u: &[char]| s.iter().all(|c| t.contains(c) || u.contains(c));
        let sound = [&a, &b, &out].into_iter().all(|s| unique(s))
            && within(&a, &b, &out)
            && within(&b, &a, &out)
            && within(&out, &a, &b);
        sound.then_some(Subscripts { a, b, out })
    }

    fn contract(&self, graph: &mut Graph, a: Value, b: Value) -> Value {
        let extent = |name: &char| {
            let find = |names: &[char], v: Value| {
                let k = names.iter().position(|n| n == name)?;
                Some(graph.shape(v)[k])
            };
            match (find(&self.a, a), find(&self.b, b)) {
                (Some(x), Some(y)) => {
                    assert_eq!(x, y, "extents of axis {name}");
                    x
                }
                (x, y) => x.or(y).expect("every axis is in an operand"),
            }
        };
        for (names, v) in [(&self.a, a), (&self.b, b)] {
            assert_eq!(names.len(), graph.shape(v).len(), "axes of an operand");
        }
        let summed: Vec<char> = (self.a.iter().copied())
            .filter(|c| !self.out.contains(c))
            .collect();
        let at = |names: &[char]| {
            let form = |name: &char| match self.out.iter().position(|n| n == name) {
                Some(k) => out(k),
                None => red(summed.iter().position(|n| n == name).expect("summed")),
            };
            names.iter().map(form).collect::<Vec<Form>>()
        };
        let contraction = Contraction {
            shape: self.out.iter().map(extent).collect(),
            red: summed.iter().map(extent).collect(),
            a: at(&self.a),
            b: at(&self.b),
            when: vec![],
        };
        contraction.build(graph, a, b)
    }
}

/// A sum of products, given by the positions that are read.
pub(crate) struct Contraction {
    /// Output dimensions.
    pub(crate) shape: Vec<usize>,
    /// Reduction dimensions, in the order in which they are walked.
    pub(crate) red: Vec<usize>,
    /// Coordinates in the first operand, which reads 0 outside.
    pub(crate) a: Vec<Form>,
    /// Coordinates in the second operand, which reads 0 outside.
    pub(crate) b: Vec<Form>,
    /// Conditions on a term.
    pub(crate) when: Vec<Guard>,
}

impl Contraction {
    /// The value of the contraction of `a` and `b`.
    pub(crate) fn build(self, graph: &mut Graph, a: Value, b: Value) -> Value {
        for v in [a, b] {
            assert_eq!(graph.dtype(v), Dtype::F32, "element type of an operand");
        }
        if self.red.is_empty() {
            return self.product(graph, a, b);
        }
        let depth: usize = self.red.iter().product();
        if depth > DEPTH {
            return self.chunked(graph, a, b, depth.div_ceil(DEPTH));
        }
        let body = apply(Scalar::Fma, vec![Expr::Read(0), Expr::Read(1), Expr::Acc]);
        self.kernel(graph, a, b, body)
    }

    /// Nothing is summed: one rounding of the product.
    fn product(self, graph: &mut Graph, a: Value, b: Value) -> Value {
        let body = apply(Scalar::Mul, vec![Expr::Read(0), Expr::Read(1)]);
        self.kernel(graph, a, b, body)
    }

    fn kernel(self, graph: &mut Graph, a: Value, b: Value, body: Expr<usize>) -> Value {
        let kernel = Kernel {
            shape: self.shape,
            dtype: Dtype::F32,
            red: self.red,
            index: vec![],
            reads: vec![Operand::new(0, self.a), Operand::new(1, self.b)],
            when: self.when,
            init: 0,
            body,
        };
        graph.kernel(kernel, &[a, b])
    }

    /// The longest reduction axis cut into runs, one more output axis, which is then summed.
    fn chunked(mut self, graph: &mut Graph, a: Value, b: Value, chunks: usize) -> Value {
        let longest = (0..self.red.len())
            .max_by_key(|&k| self.red[k])
            .expect("a contraction that is too deep has a reduction axis");
        let extent = self.red[longest];
        let run = run_length(extent, chunks.min(extent));
        let chunks = extent.div_ceil(run);
        let axis = self.shape.len();
        let position = sum(run as i64, &out(axis), 1, &red(longest), 0);
        for form in self.a.iter_mut().chain(&mut self.b) {
            *form = substitute(form, longest, &position);
        }
        if chunks * run != extent {
            self.when.push(Guard {
                form: position,
                lo: 0.into(),
                hi: (extent as i64).into(),
            });
        }
        self.shape.push(chunks);
        self.red[longest] = run;
        let parts = self.build(graph, a, b);
        graph.sum(parts, &[axis])
    }
}

/// How long the runs are that cut `extent` into about `chunks`: a divisor where one is near, so
/// that no run needs a guard.
fn run_length(extent: usize, chunks: usize) -> usize {
    let longest = extent.div_ceil(chunks);
    let divisor = (longest.div_ceil(4)..=longest)
        .rev()
        .find(|run| extent.is_multiple_of(*run));
    divisor.unwrap_or(longest)
}

/// `form` with reduction coordinate `k` replaced by `position`.
fn substitute(form: &Form, k: usize, position: &Form) -> Form {
    let var = var::RED + k as u8;
    let term = form.terms.iter().find(|t| t.var == var);
    let coef = term.map_or(0, |t| t.coef.0);
    let rest = sum(1, form, -coef, &red(k), 0);
    sum(1, &rest, coef, position, 0)
}

impl Graph {
    /// A sum of products in Einstein's notation, `"mk,kn->mn"`: one letter an axis, each at most
    /// once in an operand; letters that are not in the result are summed, the first of the first
    /// operand outermost.
    ///
    /// # Panics
    /// When the subscripts are malformed, a letter is summed in one operand alone, or extents
    /// differ.
    pub fn einsum(&mut self, subscripts: &str, a: Value, b: Value) -> Value {
        let subscripts = Subscripts::parse(subscripts)
            .unwrap_or_else(|| panic!("{subscripts:?} is not `ab,bc->ac` or the like"));
        let root = subscripts.contract(self, a, b);
        self.custom(subscripts, &[a, b], root)
    }

    /// The matrix product of the last two axes; `b` is one matrix or as many as `a`.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn matmul(&mut self, a: Value, b: Value) -> Value {
        let batch: String = ('A'..)
            .take(self.shape(a).len().saturating_sub(2))
            .collect();
        let shared = if self.shape(b).len() == 2 { "" } else { &batch };
        self.einsum(&format!("{batch}mk,{shared}kn->{batch}mn"), a, b)
    }

    /// `x` of shape `[.., in]` times `weight` of shape `[in, out]`, plus `bias` of shape `[out]`.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn linear(&mut self, x: Value, weight: Value, bias: Option<Value>) -> Value {
        self.linear_in(Precision::Float32, x, weight, bias)
    }
}

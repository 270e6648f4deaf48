//! Values as their readers see them: expressions over elements of nodes that exist.

use super::affine::{self, Domain};
use crate::{
    kernel::form::{scaled, sum},
    scalar::Expr,
};
use lockstep_protocol::program::{limits, Access, Axis, Dtype, Form};
use std::rc::Rc;

/// How an element of a node is found from coordinates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct View {
    pub(super) node: u32,
    pub(super) dtype: Dtype,
    pub(super) len: u64,
    /// The part of the offset that is always in bounds.
    pub(super) offset: Form,
    /// The parts that may leave their axes.
    pub(super) bounds: Vec<Axis>,
    /// The word outside.
    pub(super) fill: u32,
}

/// The row-major position of an element.
pub(super) fn row_major(shape: &[usize]) -> Form {
    let mut terms = Vec::new();
    let mut stride = 1;
    for (k, &d) in shape.iter().enumerate().rev() {
        terms.push((k as u8, stride));
        stride *= d as i64;
    }
    Form::new(0, &terms)
}

impl View {
    /// A whole node of the given shape.
    pub(super) fn whole(node: u32, dtype: Dtype, shape: &[usize]) -> View {
        View {
            node,
            dtype,
            len: shape.iter().map(|&d| d as u64).product(),
            offset: row_major(shape),
            bounds: vec![],
            fill: 0,
        }
    }

    /// The view of a tensor of shape `shape` at the coordinates `at`, which reads `fill` where
    /// one lies outside. `None` when the view has another fill of its own, or an access would
    /// have too many axes.
    pub(super) fn at(
        &self,
        shape: &[usize],
        at: &[Form],
        fill: u32,
        domain: &Domain,
    ) -> Option<View> {
        let mut inside = Vec::with_capacity(at.len());
        let mut bounds = Vec::new();
        for (k, form) in at.iter().enumerate() {
            if domain.within(form, shape[k] as u64) {
                inside.push(form.clone());
                continue;
            }
            inside.push(Form::constant(0));
            let term = self.offset.terms.iter().find(|t| t.var as usize == k);
            bounds.push(Axis {
                form: form.clone(),
                extent: shape[k] as u64,
                stride: term.map_or(0, |t| t.coef.0).into(),
            });
        }
        if !bounds.is_empty() && !self.bounds.is_empty() && self.fill != fill {
            return None;
        }
        let fill = if bounds.is_empty() { self.fill } else { fill };
        bounds.extend(self.bounds.iter().map(|axis| Axis {
            form: affine::substitute(&axis.form, at),
            ..axis.clone()
        }));
        // One axis is for the part of the offset that is always in bounds.
        if !self.bounds.is_empty() && bounds.len() >= limits::AXES {
            return None;
        }
        Some(View {
            offset: affine::substitute(&self.offset, &inside),
            bounds,
            fill,
            ..*self
        })
    }

    fn reshape(&self, from: &[usize], to: &[usize]) -> Option<View> {
        let bounds = self.bounds.iter().map(|axis| {
            let form = affine::reshape(&axis.form, from, to)?;
            Some(Axis {
                form,
                ..axis.clone()
            })
        });
        Some(View {
            offset: affine::reshape(&self.offset, from, to)?,
            bounds: bounds.collect::<Option<_>>()?,
            ..*self
        })
    }

    /// The access that a node over `domain` makes.
    pub(super) fn access(&self, domain: &Domain) -> Access {
        let offset = domain.simplify(&self.offset);
        let mut base = offset.constant.0;
        let mut axes = Vec::new();
        let mut bounds = Vec::new();
        let mut linear = Form {
            constant: 0.into(),
            ..offset
        };
        for axis in &self.bounds {
            let form = domain.simplify(&axis.form);
            if domain.within(&form, axis.extent) {
                linear = sum(1, &linear, axis.stride.0, &form, 0);
            } else {
                bounds.push(Axis {
                    form,
                    ..axis.clone()
                });
            }
        }
        let (low, high) = domain
            .range(&linear)
            .expect("an offset that is always in bounds holds no index word");
        base += low;
        if high > low {
            axes.push(Axis {
                form: scaled(1, &linear, -low),
                extent: (high - low) as u64 + 1,
                stride: 1.into(),
            });
        }
        let fill = if bounds.is_empty() { 0 } else { self.fill };
        axes.extend(bounds);
        Access {
            node: self.node,
            dtype: self.dtype,
            len: self.len,
            base: base.into(),
            axes,
            fill,
        }
    }
}

/// A value that is computed where it is read.
#[derive(Clone, Debug)]
pub(super) struct Lazy {
    pub(super) shape: Vec<usize>,
    pub(super) dtype: Dtype,
    pub(super) expr: Expr<View>,
}

impl Lazy {
    /// The value of a node that exists.
    pub(super) fn node(node: u32, dtype: Dtype, shape: &[usize]) -> Lazy {
        Lazy {
            shape: shape.to_vec(),
            dtype,
            expr: Expr::Read(View::whole(node, dtype, shape)),
        }
    }

    /// The elements at `at`, seen over `domain`. `None` when that is no expression.
    pub(super) fn at(&self, at: &[Form], fill: u32, domain: &Domain) -> Option<Expr<View>> {
        let mut axes = at.iter().zip(&self.shape);
        let inside = axes.all(|(form, &d)| domain.within(form, d as u64));
        if !inside && !matches!(self.expr, Expr::Read(_)) {
            return None;
        }
        map(
            &self.expr,
            &|view| view.at(&self.shape, at, fill, domain),
            &|form| Some(affine::substitute(form, at)),
        )
    }

    /// The same elements in another shape, where that is an expression.
    pub(super) fn reshape(&self, to: &[usize]) -> Option<Expr<View>> {
        let from = &self.shape;
        map(&self.expr, &|view| view.reshape(from, to), &|form| {
            affine::reshape(form, from, to)
        })
    }

    /// The node and its row-major elements, when the value is exactly that.
    pub(super) fn is_whole(&self) -> Option<u32> {
        let Expr::Read(view) = &self.expr else {
            return None;
        };
        let domain = Domain::new(&self.shape, &[]);
        let whole = View::whole(view.node, view.dtype, &self.shape);
        (view.access(&domain) == whole.access(&domain) && view.len == whole.len)
            .then_some(view.node)
    }
}

/// An expression with every view and every form replaced.
fn map(
    expr: &Expr<View>,
    view: &impl Fn(&View) -> Option<View>,
    form: &impl Fn(&Form) -> Option<Form>,
) -> Option<Expr<View>> {
    Some(match expr {
        Expr::Acc => Expr::Acc,
        Expr::Read(v) => Expr::Read(view(v)?),
        Expr::Value(f) => Expr::Value(form(f)?),
        Expr::Word(word) => Expr::Word(*word),
        Expr::Apply(scalar, args) => {
            let args = args.iter().map(|a| map(a, view, form).map(Rc::new));
            Expr::Apply(*scalar, args.collect::<Option<_>>()?)
        }
    })
}

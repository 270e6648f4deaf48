//! Reductions over axes.

use super::{affine::Domain, body, dims, fits, lazy::Lazy, Lowering, FOLD_WEIGHT};
use crate::{
    graph::{Join, Value},
    kernel::form::{out, red, sum},
    scalar::{apply, Expr, Scalar},
};
use lockstep_protocol::program::{limits, Dtype, Fold, Form, Guard, Init, Node};

/// The most terms that are summed one after another without lanes.
const SEQUENTIAL: usize = 64;
/// Lanes of a longer sum.
const LANES: usize = 32;
/// The longest lane; beyond, there are more lanes.
const LANE: usize = 4096;

/// Where an axis of the operand goes.
#[derive(Clone, Copy, PartialEq)]
struct Axis {
    extent: usize,
    joined: bool,
}

impl Lowering<'_> {
    pub(super) fn reduce(
        &mut self,
        join: Join,
        axes: &[usize],
        input: Value,
        shape: &[usize],
    ) -> Lazy {
        if !fits(&self.lazy(input).expr, FOLD_WEIGHT, limits::READS - 1) {
            self.store(input);
        }
        let runs = runs(&self.lazy(input).shape, axes);
        let extents: Vec<usize> = runs.iter().map(|axis| axis.extent).collect();
        let dtype = self.lazy(input).dtype;
        let lazy = Lazy {
            expr: self.reshaped(input, &extents),
            shape: extents,
            dtype,
        };
        let reduced = self.fold(join, &lazy, &runs);
        Lazy::node(reduced, dtype, shape)
    }

    fn fold(&mut self, join: Join, lazy: &Lazy, axes: &[Axis]) -> u32 {
        let terms = axes.iter().filter(|a| a.joined).map(|a| a.extent).product();
        if join == Join::Max || terms <= SEQUENTIAL {
            return self.sequential(join, lazy, axes);
        }
        let (partial, kept) = self.lanes(lazy, axes, terms);
        let mut axes = vec![
            Axis {
                extent: 0,
                joined: false
            };
            kept.len()
        ];
        for (axis, &extent) in axes.iter_mut().zip(&kept) {
            axis.extent = extent;
        }
        axes.last_mut().expect("lanes are the last axis").joined = true;
        self.fold(join, &Lazy::node(partial, lazy.dtype, &kept), &axes)
    }

    fn sequential(&mut self, join: Join, lazy: &Lazy, axes: &[Axis]) -> u32 {
        let (mut shape, mut walk, mut at) = (vec![], vec![], vec![]);
        for axis in axes {
            let (extents, form) = match axis.joined {
                true => (&mut walk, red as fn(usize) -> Form),
                false => (&mut shape, out as fn(usize) -> Form),
            };
            at.push(form(extents.len()));
            extents.push(axis.extent);
        }
        self.joining(join, lazy, &at, &shape, &walk, vec![])
    }

    /// The sum of every lane, lanes being one more, last, output axis; and the output's shape.
    fn lanes(&mut self, lazy: &Lazy, axes: &[Axis], terms: usize) -> (u32, Vec<usize>) {
        let joined = || (0..axes.len()).rev().filter(|&k| axes[k].joined);
        let striped = joined()
            .find(|&k| axes[k].extent >= LANES)
            .or_else(|| joined().max_by_key(|&k| axes[k].extent))
            .expect("more than one term is joined");
        let extent = axes[striped].extent;
        let lanes = (LANES * terms.div_ceil(LANES * LANE)).min(extent);

        let mut shape: Vec<usize> = Vec::new();
        let mut walk = Vec::new();
        let mut at = Vec::new();
        for (k, axis) in axes.iter().enumerate() {
            if k == striped {
                at.push(red(walk.len()));
                walk.push(extent.div_ceil(lanes));
            } else if axis.joined {
                at.push(red(walk.len()));
                walk.push(axis.extent);
            } else {
                at.push(out(shape.len()));
                shape.push(axis.extent);
            }
        }
        let position = sum(lanes as i64, &at[striped], 1, &out(shape.len()), 0);
        shape.push(lanes);
        let mut when = vec![];
        if !extent.is_multiple_of(lanes) {
            when.push(Guard {
                form: position.clone(),
                lo: 0.into(),
                hi: (extent as i64).into(),
            });
        }
        at[striped] = position;
        let node = self.joining(Join::Sum, lazy, &at, &shape, &walk, when);
        (node, shape)
    }

    fn joining(
        &mut self,
        join: Join,
        lazy: &Lazy,
        at: &[Form],
        shape: &[usize],
        walk: &[usize],
        when: Vec<Guard>,
    ) -> u32 {
        let domain = Domain::new(shape, walk);
        let term = self.term(lazy, at, &domain);
        let (scalar, init) = match (join, lazy.dtype) {
            (Join::Max, _) => (Scalar::Max, f32::NEG_INFINITY.to_bits()),
            (Join::Sum, Dtype::F32) => (Scalar::Add, 0),
            (Join::Sum, _) => (Scalar::IntAdd, 0),
        };
        let expr = apply(scalar, vec![Expr::Acc, term]);
        let body = body::build(&expr, vec![], shape, walk, lazy.dtype);
        self.push(Node::Fold(Fold {
            body,
            red: dims(walk),
            when,
            init: Init::Word(init),
        }))
    }

    /// The operand at `at`; past the end of an axis its value is never used.
    fn term(&mut self, lazy: &Lazy, at: &[Form], domain: &Domain) -> Expr<super::View> {
        if let Some(expr) = lazy.at(at, 0, domain) {
            return expr;
        }
        let node = self.map(lazy);
        let stored = Lazy::node(node, lazy.dtype, &lazy.shape);
        let expr = stored.at(at, 0, domain);
        expr.expect("a whole node can be read anywhere")
    }
}

/// Neighbouring axes with the same fate become one.
fn runs(shape: &[usize], joined: &[usize]) -> Vec<Axis> {
    let mut runs: Vec<Axis> = Vec::new();
    for (k, &extent) in shape.iter().enumerate() {
        let joined = joined.contains(&k);
        match runs.last_mut() {
            Some(last) if last.joined == joined => last.extent *= extent,
            _ if extent == 1 => {}
            _ => runs.push(Axis { extent, joined }),
        }
    }
    runs
}

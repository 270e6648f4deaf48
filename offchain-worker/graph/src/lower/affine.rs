//! Forms over coordinates: substitution, range, and reshaping.

use crate::kernel::form::sum;
use lockstep_protocol::program::{var, Form};

/// How many values each variable of a form takes, from 0 on; `None` where that is not known.
#[derive(Clone)]
pub(super) struct Domain([Option<u64>; var::END as usize]);

impl Domain {
    /// Output coordinates of `shape`, reduction coordinates of `red`, unknown index words.
    pub(super) fn new(shape: &[usize], red: &[usize]) -> Domain {
        let mut extents = [None; var::END as usize];
        for (slot, &d) in extents.iter_mut().zip(shape) {
            *slot = Some(d as u64);
        }
        for (slot, &d) in extents[var::RED as usize..].iter_mut().zip(red) {
            *slot = Some(d as u64);
        }
        Domain(extents)
    }

    /// The least and the greatest value of a form; `None` when it holds an index word.
    pub(super) fn range(&self, form: &Form) -> Option<(i64, i64)> {
        let start = (form.constant.0, form.constant.0);
        form.terms.iter().try_fold(start, |(low, high), term| {
            let reach = term.coef.0 * (self.0[term.var as usize]? as i64 - 1);
            Some((low + reach.min(0), high + reach.max(0)))
        })
    }

    /// Whether a form always lies in `0..extent`.
    pub(super) fn within(&self, form: &Form, extent: u64) -> bool {
        self.range(form)
            .is_some_and(|(low, high)| low >= 0 && (high as u64) < extent)
    }

    /// `form` without the variables that are always 0.
    pub(super) fn simplify(&self, form: &Form) -> Form {
        let kept = form
            .terms
            .iter()
            .filter(|t| self.0[t.var as usize] != Some(1));
        let kept: Vec<(u8, i64)> = kept.map(|t| (t.var, t.coef.0)).collect();
        Form::new(form.constant.0, &kept)
    }
}

/// `form` with output coordinate k replaced by `by[k]`.
pub(super) fn substitute(form: &Form, by: &[Form]) -> Form {
    let start = Form::constant(form.constant.0);
    form.terms.iter().fold(start, |total, term| {
        sum(1, &total, term.coef.0, &by[term.var as usize], 0)
    })
}

/// `form` over the coordinates of shape `from`, as a form over those of shape `to` with the same
/// elements in the same order; `None` where it is not affine in them.
pub(super) fn reshape(form: &Form, from: &[usize], to: &[usize]) -> Option<Form> {
    let coef = |k: usize| {
        let term = form.terms.iter().find(|t| t.var as usize == k);
        term.map_or(0, |t| t.coef.0)
    };
    let mut terms = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        // The shortest runs of axes with the same number of elements.
        let (first, start) = (i, j);
        let (mut have, mut want) = (1, 1);
        loop {
            if have < want || (have == want && i < from.len() && (i == first || from[i] == 1)) {
                have *= from[i];
                i += 1;
            } else if have > want || (j < to.len() && (j == start || to[j] == 1)) {
                want *= to[j];
                j += 1;
            } else {
                break;
            }
        }
        // One coordinate counts the elements of the run; its coefficient must serve all axes.
        let mut step = None;
        let mut stride = 1;
        for k in (first..i).rev().filter(|&k| from[k] > 1) {
            match step {
                None => step = Some(coef(k)),
                Some(step) if step * stride == coef(k) => {}
                Some(_) => return None,
            }
            stride *= from[k] as i64;
        }
        let mut stride = step.unwrap_or(0);
        for k in (start..j).rev() {
            terms.push((k as u8, stride));
            stride *= to[k] as i64;
        }
    }
    Some(Form::new(form.constant.0, &terms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitting_an_axis_keeps_every_position() {
        let form = Form::new(5, &[(0, 12), (1, 1)]);
        let split = reshape(&form, &[2, 12], &[2, 3, 4]);
        assert_eq!(split, Some(Form::new(5, &[(0, 12), (1, 4), (2, 1)])));
    }

    #[test]
    fn joining_axes_needs_one_stride_for_both() {
        let rows = Form::new(0, &[(0, 4), (1, 1)]);
        assert_eq!(reshape(&rows, &[3, 4], &[12]), Some(Form::var(0)));
        let columns = Form::new(0, &[(0, 1), (1, 3)]);
        assert_eq!(reshape(&columns, &[4, 3], &[12]), None);
    }

    #[test]
    fn axes_of_extent_one_come_and_go() {
        let form = Form::new(0, &[(0, 4), (1, 7), (2, 1)]);
        let squeezed = reshape(&form, &[3, 1, 4], &[3, 4]);
        assert_eq!(squeezed, Some(Form::new(0, &[(0, 4), (1, 1)])));
        assert_eq!(
            reshape(&Form::constant(3), &[], &[1, 1]),
            Some(Form::constant(3))
        );
        let back = reshape(&Form::var(0), &[4], &[1, 4, 1]);
        assert_eq!(back.map(|f| f.terms.iter().any(|t| t.var == 1)), Some(true));
    }

    #[test]
    fn a_range_counts_the_reach_of_every_variable() {
        let domain = Domain::new(&[3, 5], &[2]);
        let form = Form::new(1, &[(0, 2), (1, -3), (var::RED, 10)]);
        assert_eq!(domain.range(&form), Some((1 - 12, 1 + 4 + 10)));
        assert_eq!(domain.range(&Form::var(var::INDEX)), None);
    }
}

//! Sums, means and maxima over axes.

use crate::graph::{Graph, Join, Op, Value};
use lockstep_protocol::program::Dtype;

impl Graph {
    /// The sum over `axes`, which disappear.
    ///
    /// More than 64 terms are summed in strided lanes first, see [`crate::lower`].
    ///
    /// # Panics
    /// When an axis does not exist, or the elements are not f32 (or, for sums, 32-bit integers).
    pub fn sum(&mut self, x: Value, axes: &[usize]) -> Value {
        let kept = self.reduce(Join::Sum, x, axes);
        self.squeeze(kept, axes)
    }

    /// The sum over `axes`, which keep extent 1.
    ///
    /// # Panics
    /// When an axis does not exist, or the elements are not f32 (or, for sums, 32-bit integers).
    pub fn sum_keep(&mut self, x: Value, axes: &[usize]) -> Value {
        self.reduce(Join::Sum, x, axes)
    }

    /// The mean over `axes`, which disappear: the sum times the f32 nearest to one over the number
    /// of terms.
    ///
    /// # Panics
    /// When an axis does not exist, or the elements are not f32 (or, for sums, 32-bit integers).
    pub fn mean(&mut self, x: Value, axes: &[usize]) -> Value {
        let kept = self.mean_keep(x, axes);
        self.squeeze(kept, axes)
    }

    /// The mean over `axes`, which keep extent 1.
    ///
    /// # Panics
    /// When an axis does not exist, or the elements are not f32 (or, for sums, 32-bit integers).
    pub fn mean_keep(&mut self, x: Value, axes: &[usize]) -> Value {
        let terms: usize = axes.iter().map(|&k| self.shape(x)[k]).product();
        let sum = self.sum_keep(x, axes);
        self.scale(sum, 1.0 / terms as f32)
    }

    /// The maximum over `axes`, which disappear. Positions that share the maximum share its
    /// gradient equally.
    ///
    /// # Panics
    /// When an axis does not exist, or the elements are not f32 (or, for sums, 32-bit integers).
    pub fn max(&mut self, x: Value, axes: &[usize]) -> Value {
        let kept = self.max_keep(x, axes);
        self.squeeze(kept, axes)
    }

    /// The maximum over `axes`, which keep extent 1.
    ///
    /// # Panics
    /// When an axis does not exist, or the elements are not f32 (or, for sums, 32-bit integers).
    pub fn max_keep(&mut self, x: Value, axes: &[usize]) -> Value {
        self.reduce(Join::Max, x, axes)
    }

    fn reduce(&mut self, join: Join, x: Value, axes: &[usize]) -> Value {
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        axes.dedup();
        let mut shape = self.shape(x).to_vec();
        for &k in &axes {
            shape[k] = 1;
        }
        if shape == self.shape(x) {
            return x;
        }
        let dtype = self.dtype(x);
        assert!(
            dtype == Dtype::F32 || (join == Join::Sum && dtype.size() == 4),
            "a reduction of element type {dtype:?}: convert it first"
        );
        self.insert(Op::Reduce(join, axes), vec![x], shape, dtype)
    }

    fn squeeze(&mut self, x: Value, axes: &[usize]) -> Value {
        let shape: Vec<usize> = (0..)
            .zip(self.shape(x))
            .filter(|(k, _)| !axes.contains(k))
            .map(|(_, &d)| d)
            .collect();
        self.reshape(x, &shape)
    }

    pub(crate) fn reduce_gradient(
        &mut self,
        join: Join,
        axes: &[usize],
        x: Value,
        y: Value,
        upstream: Value,
    ) -> Value {
        let shape = self.shape(x).to_vec();
        match join {
            Join::Sum => self.broadcast(upstream, &shape),
            Join::Max => {
                let hit = self.equal(x, y);
                let hit = self.to_f32(hit);
                let hits = self.sum_keep(hit, axes);
                let share = self.div(upstream, hits);
                self.mul(hit, share)
            }
        }
    }
}

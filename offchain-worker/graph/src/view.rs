//! The same elements seen differently: reshape, transpose, broadcast, slice, pad, concatenate.

use crate::graph::{Graph, Op, Value};

impl Graph {
    /// The same elements, row-major, in another shape.
    ///
    /// # Panics
    /// When the number of elements differs.
    pub fn reshape(&mut self, x: Value, shape: &[usize]) -> Value {
        let from = self.shape(x);
        assert_eq!(
            from.iter().product::<usize>(),
            shape.iter().product::<usize>(),
            "elements of shapes {from:?} and {shape:?}"
        );
        if from == shape {
            return x;
        }
        self.filled_or(Op::Reshape, x, shape)
    }

    /// All axes from `from` on joined into one.
    ///
    /// # Panics
    /// When there is no such axis.
    pub fn flatten(&mut self, x: Value, from: usize) -> Value {
        let shape = self.shape(x);
        let tail = shape[from..].iter().product();
        let shape = [&shape[..from], &[tail]].concat();
        self.reshape(x, &shape)
    }

    /// Axis j of the result is axis `order[j]` of `x`.
    ///
    /// # Panics
    /// When `order` is not a permutation of the axes.
    pub fn permute(&mut self, x: Value, order: &[usize]) -> Value {
        let from = self.shape(x);
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        assert!(
            sorted.iter().copied().eq(0..from.len()),
            "{order:?} is not an order of the axes of {from:?}"
        );
        if order.is_sorted() {
            return x;
        }
        let shape = order.iter().map(|&k| from[k]).collect();
        let dtype = self.dtype(x);
        self.insert(Op::Permute(order.to_vec()), vec![x], shape, dtype)
    }

    /// The value whose axes `x` has in another order, and that order; `None` where `x` is no
    /// permutation. Whoever computes element by element can do so on that value, whose elements lie
    /// in memory as they were computed, and permute the result.
    pub fn unpermuted(&self, x: Value) -> Option<(Value, Vec<usize>)> {
        let entry = self.entry(x);
        match &entry.op {
            Op::Permute(order) => Some((entry.inputs[0], order.clone())),
            _ => None,
        }
    }

    /// The last two axes exchanged.
    ///
    /// # Panics
    /// When there are fewer than two.
    pub fn transpose(&mut self, x: Value) -> Value {
        let rank = self.shape(x).len();
        assert!(rank >= 2, "a transpose needs two axes");
        let mut order: Vec<usize> = (0..rank).collect();
        order.swap(rank - 1, rank - 2);
        self.permute(x, &order)
    }

    /// Axes of extent 1, and axes missing in front, repeated to `shape`.
    ///
    /// # Panics
    /// When an axis has another extent.
    pub fn broadcast(&mut self, x: Value, shape: &[usize]) -> Value {
        if self.shape(x) == shape {
            return x;
        }
        let from = self.shape(x);
        let missing = shape.len().checked_sub(from.len());
        let missing = missing.unwrap_or_else(|| panic!("{from:?} has more axes than {shape:?}"));
        let aligned = [&vec![1; missing], from].concat();
        assert!(
            aligned.iter().zip(shape).all(|(&a, &b)| a == b || a == 1),
            "{from:?} does not broadcast to {shape:?}"
        );
        let x = self.reshape(x, &aligned);
        if aligned == shape {
            return x;
        }
        self.filled_or(Op::Broadcast, x, shape)
    }

    /// `op` of `x`, or, when `x` is one word everywhere, that word in the other shape.
    fn filled_or(&mut self, op: Op, x: Value, shape: &[usize]) -> Value {
        let dtype = self.dtype(x);
        match self.entry(x).op {
            Op::Fill(word) => self.insert(Op::Fill(word), vec![], shape.to_vec(), dtype),
            _ => self.insert(op, vec![x], shape.to_vec(), dtype),
        }
    }

    /// `len` positions of `axis` from `start` on.
    ///
    /// # Panics
    /// When they are not all there.
    pub fn slice(&mut self, x: Value, axis: usize, start: usize, len: usize) -> Value {
        let mut shape = self.shape(x).to_vec();
        assert!(
            start + len <= shape[axis],
            "positions {start}..{} of axis {axis} of {shape:?}",
            start + len
        );
        if len == shape[axis] {
            return x;
        }
        shape[axis] = len;
        let dtype = self.dtype(x);
        self.insert(Op::Slice { axis, start }, vec![x], shape, dtype)
    }

    /// `axis` with `before` zeros in front and `after` behind.
    pub fn pad(&mut self, x: Value, axis: usize, before: usize, after: usize) -> Value {
        if before + after == 0 {
            return x;
        }
        let mut shape = self.shape(x).to_vec();
        shape[axis] += before + after;
        let dtype = self.dtype(x);
        self.insert(Op::Pad { axis, before }, vec![x], shape, dtype)
    }

    /// Tensors one after another along `axis`.
    ///
    /// # Panics
    /// When there is none, or they differ in another axis or in element type.
    pub fn concat(&mut self, parts: &[Value], axis: usize) -> Value {
        let (&first, rest) = parts.split_first().expect("something to concatenate");
        let mut shape = self.shape(first).to_vec();
        let dtype = self.dtype(first);
        for &part in rest {
            let mut other = self.shape(part).to_vec();
            let extent = std::mem::replace(&mut other[axis], shape[axis]);
            assert_eq!(other, shape, "shapes beside axis {axis}");
            assert_eq!(self.dtype(part), dtype, "element types");
            shape[axis] += extent;
        }
        if rest.is_empty() {
            return first;
        }
        self.insert(Op::Concat(axis), parts.to_vec(), shape, dtype)
    }
}

//! Conditions: `u32` that are 1 where they hold and 0 where they do not.

use crate::{
    graph::{Graph, Value},
    scalar::Scalar,
};

impl Graph {
    /// 1 where `x` is the word 0, else 0.
    pub fn not(&mut self, x: Value) -> Value {
        let zero = self.word(0);
        self.same(x, zero)
    }

    /// 1 where both conditions hold.
    ///
    /// # Panics
    /// When the shapes do not broadcast to one or the operands are not `u32`.
    pub fn and(&mut self, a: Value, b: Value) -> Value {
        let zero = self.word(0);
        self.select(a, b, zero)
    }

    /// 1 where a condition holds.
    ///
    /// # Panics
    /// When the shapes do not broadcast to one or the operands are not `u32`.
    pub fn or(&mut self, a: Value, b: Value) -> Value {
        let one = self.word(1);
        self.select(a, one, b)
    }

    /// 1 where `a < b` as signed integers, else 0, as `u32`.
    ///
    /// # Panics
    /// When the shapes do not broadcast to one or the elements are not integers.
    pub fn int_less(&mut self, a: Value, b: Value) -> Value {
        // Half the range further on, the order of signed words is that of unsigned ones.
        let half = self.word(1 << 31);
        let (a, b) = (self.int_add(a, half), self.int_add(b, half));
        self.apply(Scalar::LtU, &[a, b])
    }

    /// 1 where `a <= b`, else 0, as `u32`; a NaN is neither less nor equal.
    ///
    /// # Panics
    /// When the shapes do not broadcast to one or the elements are not f32.
    pub fn less_or_equal(&mut self, a: Value, b: Value) -> Value {
        let (less, equal) = (self.less(a, b), self.equal(a, b));
        self.or(less, equal)
    }
}

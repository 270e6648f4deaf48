//! Dropout.

use crate::{
    graph::{Graph, Value},
    scalar::Scalar,
};

impl Graph {
    /// Each element zero with probability `rate`, else divided by `1 - rate`.
    ///
    /// Element i of step t is kept when the first word of Philox4x32-10 with counter
    /// `[i, t, domain, 0]` under the task's seed is not below `rate * 2^32`, rounded down. Layers
    /// of one model take different domains.
    ///
    /// N. Srivastava et al.: Dropout (JMLR 2014).
    ///
    /// # Panics
    /// When `rate` is not in `0.0..1.0`.
    pub fn dropout(&mut self, x: Value, rate: f32, domain: u32) -> Value {
        assert!((0.0..1.0).contains(&rate), "a dropout rate of {rate}");
        if rate == 0.0 {
            return x;
        }
        let shape = self.shape(x).to_vec();
        let element = self.positions(&shape);
        let (step, domain, zero) = (self.step(), self.word(domain), self.word(0));
        let seed = self.seed();
        let (low, high) = (self.slice(seed, 0, 0, 1), self.slice(seed, 0, 1, 1));
        let (low, high) = (self.reshape(low, &[]), self.reshape(high, &[]));
        let word = self.apply(Scalar::Philox, &[element, step, domain, zero, low, high]);
        let threshold = self.word((rate as f64 * 4_294_967_296.0) as u32);
        let dropped = self.apply(Scalar::LtU, &[word, threshold]);
        let (kept, lost) = (self.scalar(1.0 / (1.0 - rate)), self.scalar(0.0));
        let mask = self.select(dropped, lost, kept);
        self.mul(x, mask)
    }
}

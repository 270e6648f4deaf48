//! Randomness inside a body.

use super::{BodyBuilder, Val};
use crate::philox;

impl BodyBuilder {
    /// Philox4x32-10: four random words for a counter and a key, as
    /// [`philox4x32`](philox::philox4x32) computes them.
    pub fn philox4x32(&mut self, counter: [Val; 4], key: [Val; 2]) -> [Val; 4] {
        let multipliers = philox::MULTIPLIERS.map(|word| self.constant_u32(word));
        let weyl = philox::WEYL.map(|word| self.constant_u32(word));
        let [mut x0, mut x1, mut x2, mut x3] = counter;
        let [mut k0, mut k1] = key;
        for _ in 0..philox::ROUNDS {
            let left = [
                self.umulhi(x0, multipliers[0]),
                self.imul(x0, multipliers[0]),
            ];
            let right = [
                self.umulhi(x2, multipliers[1]),
                self.imul(x2, multipliers[1]),
            ];
            x0 = self.xor(right[0], x1);
            x0 = self.xor(x0, k0);
            x1 = right[1];
            x2 = self.xor(left[0], x3);
            x2 = self.xor(x2, k1);
            x3 = left[1];
            k0 = self.iadd(k0, weyl[0]);
            k1 = self.iadd(k1, weyl[1]);
        }
        [x0, x1, x2, x3]
    }

    /// A number in [0, 1), a multiple of 2^-24, from the high 24 bits of a random word.
    pub fn uniform01(&mut self, word: Val) -> Val {
        let low = self.constant_u32(8);
        let high = self.shr_u(word, low);
        let number = self.u32_to_f32(high);
        let unit = self.constant_f32(1.0 / 16_777_216.0);
        self.fmul(number, unit)
    }
}

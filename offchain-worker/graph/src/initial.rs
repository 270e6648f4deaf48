//! Values that parameters begin with.

use lockstep_protocol::philox;

/// How a parameter begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Initial {
    /// All zeros.
    Zeros,
    /// All ones.
    Ones,
    /// Uniform in `-bound..bound`, drawn from the task's seed.
    Uniform {
        /// The largest magnitude.
        bound: f32,
    },
    /// These elements, row-major.
    Given(Vec<f32>),
}

impl Initial {
    /// For weights in front of a ReLU, by the number of inputs of an output.
    ///
    /// K. He, X. Zhang, S. Ren, J. Sun: Delving deep into rectifiers (ICCV 2015).
    pub fn kaiming(inputs: usize) -> Initial {
        Initial::uniform(6.0 / inputs as f64)
    }

    /// For weights in front of a saturating function or a softmax.
    ///
    /// X. Glorot, Y. Bengio: Understanding the difficulty of training deep feedforward neural
    /// networks (AISTATS 2010).
    pub fn xavier(inputs: usize, outputs: usize) -> Initial {
        Initial::uniform(6.0 / (inputs + outputs) as f64)
    }

    fn uniform(squared_bound: f64) -> Initial {
        // Both roundings are those of IEEE-754, so every machine finds the same bound.
        let bound = squared_bound.sqrt() as f32;
        Initial::Uniform { bound }
    }

    /// The elements of a tensor of `len` elements under `seed`.
    ///
    /// Element i of a uniform tensor takes word i of the seed's Philox stream `domain`. The word's
    /// high 24 bits n give the odd integer `2n + 1 - 2^24`, which f32 holds exactly; that times
    /// 2^-24, exact again, times the bound, rounded once.
    ///
    /// # Panics
    /// When given elements are not `len` many.
    pub fn elements(&self, len: usize, seed: u64, domain: u32) -> Vec<f32> {
        match self {
            Initial::Zeros => vec![0.0; len],
            Initial::Ones => vec![1.0; len],
            Initial::Uniform { bound } => {
                let words = (0..).flat_map(|k| philox::stream(seed, domain, k));
                words
                    .take(len)
                    .map(|word| symmetric(word) * bound)
                    .collect()
            }
            Initial::Given(elements) => {
                assert_eq!(elements.len(), len, "given elements");
                elements.clone()
            }
        }
    }
}

/// A word as a multiple of 2^-24 strictly between -1 and 1.
fn symmetric(word: u32) -> f32 {
    let odd = 2 * (word >> 8) as i32 + 1 - (1 << 24);
    odd as f32 / (1 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uniform_tensor_stays_within_its_bound_and_balances() {
        let elements = Initial::kaiming(24).elements(10_000, 7, 3);
        assert!(elements.iter().all(|x| x.abs() < 0.5));
        let mean = elements.iter().map(|&x| x as f64).sum::<f64>() / 1e4;
        assert!(mean.abs() < 0.01, "{mean}");
        let variance = elements.iter().map(|&x| (x as f64).powi(2)).sum::<f64>() / 1e4;
        assert!((variance - 0.25 / 3.0).abs() < 0.002, "{variance}");
    }

    #[test]
    fn the_extreme_words_are_symmetric() {
        assert_eq!(symmetric(0), -symmetric(u32::MAX));
        assert_eq!(symmetric(0x8000_0000), 1.0 / (1 << 24) as f32);
    }

    #[test]
    fn seed_and_domain_determine_the_elements() {
        let initial = Initial::xavier(3, 5);
        assert_eq!(initial.elements(9, 1, 2), initial.elements(9, 1, 2));
        assert_ne!(initial.elements(9, 1, 2), initial.elements(9, 1, 3));
        assert_ne!(initial.elements(9, 1, 2), initial.elements(9, 2, 2));
        assert_eq!(initial.elements(9, 1, 2)[..5], initial.elements(5, 1, 2));
    }
}

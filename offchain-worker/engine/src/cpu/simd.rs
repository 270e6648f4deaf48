//! Which vector instructions a kernel uses. Every path computes the same bits.

use std::fmt;

#[cfg(target_arch = "x86_64")]
pub mod lanes;

/// Whether code for the target's baseline has a fused multiply-add in hardware.
pub const NATIVE_FMA: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Simd {
    /// What every machine of the target has. Where that has no fused multiply-add, it is computed
    /// in integers, slowly.
    Baseline,
    /// AVX2 and FMA, 8 lanes.
    Avx2,
    /// AVX-512 F, BW, DQ and VL, 16 lanes.
    Avx512,
}

impl Simd {
    /// The instruction sets of this machine, the widest last.
    pub fn available() -> Vec<Simd> {
        [Simd::Baseline, Simd::Avx2, Simd::Avx512]
            .into_iter()
            .filter(|simd| simd.supported())
            .collect()
    }

    /// The widest instruction set of this machine.
    pub fn best() -> Simd {
        *Simd::available().last().unwrap_or(&Simd::Baseline)
    }

    /// Whether this machine can execute it.
    pub fn supported(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return match self {
            Simd::Baseline => true,
            Simd::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Simd::Avx512 => {
                Simd::Avx2.supported()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
        };
        #[cfg(not(target_arch = "x86_64"))]
        return self == Simd::Baseline;
    }
}

impl fmt::Display for Simd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Simd::Baseline => "baseline",
            Simd::Avx2 => "avx2",
            Simd::Avx512 => "avx512",
        })
    }
}

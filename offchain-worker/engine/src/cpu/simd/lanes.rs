//! Vectors of f32 of which some lanes are used: the ends of rows.

/// 16 lanes.
pub mod avx512 {
    use lockstep_protocol::float;
    use std::arch::x86_64::*;

    /// The first `lanes` lanes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn mask(lanes: usize) -> __mmask16 {
        ((1u32 << lanes) - 1) as __mmask16
    }

    /// The lanes of the mask from memory, zeros in the others.
    ///
    /// # Safety
    /// What the mask selects can be read.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub unsafe fn load(from: *const f32, mask: __mmask16) -> __m512 {
        _mm512_maskz_loadu_ps(mask, from)
    }

    /// The lanes of the mask to memory.
    ///
    /// # Safety
    /// What the mask selects can be written.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub unsafe fn store(to: *mut f32, mask: __mmask16, x: __m512) {
        _mm512_mask_storeu_ps(to, mask, x);
    }

    /// The canonical NaN for every NaN.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn canonical(x: __m512) -> __m512 {
        let nan = _mm512_castsi512_ps(_mm512_set1_epi32(float::NAN as i32));
        _mm512_mask_mov_ps(x, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x), nan)
    }
}

/// 8 lanes.
pub mod avx2 {
    use lockstep_protocol::float;
    use std::arch::x86_64::*;

    /// The first `lanes` lanes.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn mask(lanes: usize) -> __m256i {
        let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes as i32), lane)
    }

    /// The lanes of the mask from memory, zeros in the others.
    ///
    /// # Safety
    /// What the mask selects can be read.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn load(from: *const f32, mask: __m256i) -> __m256 {
        _mm256_maskload_ps(from, mask)
    }

    /// The lanes of the mask to memory.
    ///
    /// # Safety
    /// What the mask selects can be written.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn store(to: *mut f32, mask: __m256i, x: __m256) {
        _mm256_maskstore_ps(to, mask, x);
    }

    /// The canonical NaN for every NaN.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn canonical(x: __m256) -> __m256 {
        let nan = _mm256_castsi256_ps(_mm256_set1_epi32(float::NAN as i32));
        _mm256_blendv_ps(x, nan, _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x))
    }
}

// Products of 8-bit integers on tensor cores. Sums of integers are the same in every order, so what
// the instruction does inside is of no concern.

#ifndef LOCKSTEP_SHIM
// Adds a product of 16 x 32 and 32 x 8 elements, spread over a warp as PTX says for
// `mma.m16n8k32` with `.s8` (PTX ISA, matrix fragments).
LOCKSTEP_INLINE void multiply_16_8_32(u32* c, const u32* a, const u32* b) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

// Eight warps, two down and four across, of `MI` by `NJ` products each.
template <class T, int MI, int NJ, int WORDS>
struct Tensor {
    static constexpr int ROWS = 2 * MI, COLUMNS = 2 * NJ, DOWN = 32 * MI, ACROSS = 32 * NJ, BK = WORDS;
    typedef Panel<typename T::A, DOWN, BK> PA;
    typedef Panel<typename T::B, ACROSS, BK> PB;

    static __device__ __forceinline__ u32 group() { return threadIdx.x % 32 / 4; }
    static __device__ __forceinline__ u32 within() { return threadIdx.x % 4; }
    static __device__ __forceinline__ u32 down() { return threadIdx.x / 128 * (16 * MI); }
    static __device__ __forceinline__ u32 across() { return threadIdx.x / 32 % 4 * (8 * NJ); }
    static __device__ __forceinline__ u32 row(int i) { return down() + i * 8 + group(); }
    static __device__ __forceinline__ u32 column(int j) { return across() + j / 2 * 8 + within() * 2 + j % 2; }

    // No guard depends on a row or a column.
    __device__ __forceinline__ void at_batch(u32, u32, u32) {}

    // Words past the last step are zeros.
    template <bool>
    __device__ __forceinline__ void multiply(const u32* sa, const u32* sb, u32 (&acc)[ROWS][COLUMNS], u32, u32) {
        const u32* own_a = sa + (down() + group()) * PA::STRIDE + within();
        const u32* own_b = sb + (across() + group()) * PB::STRIDE + within();
#pragma unroll
        for (int k = 0; k < BK; k += 8) {
            u32 a[MI][4], b[NJ][2];
#pragma unroll
            for (int i = 0; i < MI; ++i)
#pragma unroll
                for (int part = 0; part < 4; ++part)
                    a[i][part] = own_a[(i * 16 + part % 2 * 8) * PA::STRIDE + k + part / 2 * 4];
#pragma unroll
            for (int j = 0; j < NJ; ++j)
#pragma unroll
                for (int part = 0; part < 2; ++part)
                    b[j][part] = own_b[j * 8 * PB::STRIDE + k + part * 4];
#pragma unroll
            for (int i = 0; i < MI; ++i)
#pragma unroll
                for (int j = 0; j < NJ; ++j) {
                    u32 c[4] = {acc[2 * i][2 * j], acc[2 * i][2 * j + 1], acc[2 * i + 1][2 * j], acc[2 * i + 1][2 * j + 1]};
                    multiply_16_8_32(c, a[i], b[j]);
                    acc[2 * i][2 * j] = c[0];
                    acc[2 * i][2 * j + 1] = c[1];
                    acc[2 * i + 1][2 * j] = c[2];
                    acc[2 * i + 1][2 * j + 1] = c[3];
                }
        }
    }
};

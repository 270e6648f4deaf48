// Sums of products in shared-memory tiles: each thread keeps TM x TN accumulators and walks the
// steps upwards, so every accumulator sees its products in the order of the program. Steps past the
// last one are left out; rows and columns past the last one are computed from the last one's
// operands and not stored.
//
// `T` is generated and says what a contraction is: how many rows, columns, steps and batches; its
// operands `T::A` (which the rows follow) and `T::B` (the columns); where an element of the output
// lies and starts; which steps its guards let through; what a step does. Products of 8-bit integers
// take four steps of the program at a time, in a word.

template <class O, int W, int BK>
struct Panel {
    static constexpr int COUNT = W * BK / 256;
    typename O::Lane lanes[COUNT];
    u32 held[COUNT];

    static __device__ __forceinline__ u32 lane(int l) {
        const u32 e = threadIdx.x + 256u * l;
        return O::by_step ? e / BK : e % W;
    }
    static __device__ __forceinline__ u32 step(int l) {
        const u32 e = threadIdx.x + 256u * l;
        return O::by_step ? e % BK : e / W;
    }
    __device__ __forceinline__ Panel(u32 batch, u32 first) {
#pragma unroll
        for (int l = 0; l < COUNT; ++l)
            lanes[l] = O::lane(batch, iminu(first + lane(l), O::lanes - 1));
    }
    __device__ __forceinline__ void fetch(const void* p, u32 k) {
#pragma unroll
        for (int l = 0; l < COUNT; ++l) held[l] = O::at(p, lanes[l], k + step(l));
    }
    __device__ __forceinline__ void put(u32 (*shared)[W + 4]) {
#pragma unroll
        for (int l = 0; l < COUNT; ++l) shared[step(l)][lane(l)] = held[l];
    }
};

// The i-th of the lanes that a thread of 16 owns: groups of four that lie next to one another.
template <int COUNT>
static __device__ __forceinline__ u32 owned(u32 thread, int i) {
    constexpr int GROUP = COUNT < 4 ? COUNT : 4;
    return i / GROUP * (16 * GROUP) + thread * GROUP + i % GROUP;
}

template <class T, int TM, int TN, int BK>
static __device__ __forceinline__ void tile(void* out, const void* start, const void* a, const void* b) {
    constexpr int BM = 16 * TM, BN = 16 * TN;
    constexpr u32 DOWN = (T::A::lanes + BM - 1) / BM, ACROSS = (T::B::lanes + BN - 1) / BN;
    __shared__ __align__(16) u32 sa[2][BK][BM + 4];
    __shared__ __align__(16) u32 sb[2][BK][BN + 4];
    const u32 batch = blockIdx.x / (DOWN * ACROSS);
    const u32 row = blockIdx.x / ACROSS % DOWN * BM, column = blockIdx.x % ACROSS * BN;
    const u32 ty = threadIdx.x / 16, tx = threadIdx.x % 16;

    u32 acc[TM][TN];
    typename T::RowGuard down[TM];
    typename T::ColumnGuard across[TN];
#pragma unroll
    for (int i = 0; i < TM; ++i) {
        const u32 m = iminu(row + owned<TM>(ty, i), T::A::lanes - 1);
        down[i] = T::row_guard(batch, m);
#pragma unroll
        for (int j = 0; j < TN; ++j) {
            const u32 n = iminu(column + owned<TN>(tx, j), T::B::lanes - 1);
            acc[i][j] = T::start(start, batch, m, n);
            across[j] = T::column_guard(batch, n);
        }
    }

    auto multiply = [&](const u32* ra, const u32* rb, u32 k) {
        u32 x[TM], y[TN];
#pragma unroll
        for (int i = 0; i < TM; ++i) x[i] = ra[owned<TM>(ty, i)];
#pragma unroll
        for (int j = 0; j < TN; ++j) y[j] = rb[owned<TN>(tx, j)];
        const typename T::StepGuard at = T::step_guard(k);
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
            for (int j = 0; j < TN; ++j)
                if (T::row_passes(down[i], at) && T::column_passes(across[j], at))
                    acc[i][j] = T::multiply_add(x[i], y[j], acc[i][j]);
    };

    Panel<typename T::A, BM, BK> pa(batch, row);
    Panel<typename T::B, BN, BK> pb(batch, column);
    pa.fetch(a, 0);
    pb.fetch(b, 0);
    pa.put(sa[0]);
    pb.put(sb[0]);
    __syncthreads();
    int now = 0;
    for (u32 k = 0; k < T::steps; k += BK) {
        const bool more = k + BK < T::steps;
        if (more) {
            pa.fetch(a, k + BK);
            pb.fetch(b, k + BK);
        }
        if (k + BK <= T::steps) {
#pragma unroll
            for (int kk = 0; kk < BK; ++kk) multiply(sa[now][kk], sb[now][kk], k + kk);
        } else {
            for (u32 kk = 0; k + kk < T::steps; ++kk) multiply(sa[now][kk], sb[now][kk], k + kk);
        }
        now ^= 1;
        if (more) {
            pa.put(sa[now]);
            pb.put(sb[now]);
        }
        __syncthreads();
    }

#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
        for (int j = 0; j < TN; ++j) {
            const u32 m = row + owned<TM>(ty, i), n = column + owned<TN>(tx, j);
            if (m < T::A::lanes && n < T::B::lanes)
                store_w(out, T::place(batch, m, n), T::result(acc[i][j]));
        }
}


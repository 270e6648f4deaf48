// Sums of products in shared-memory tiles. An accumulator walks the steps upwards, so it sees its
// products in the order of the program, whatever the tile. Float steps past the last one are left
// out, integer ones add zero; rows and columns past the last one are computed from the last one's
// operands and not stored.
//
// `T` is generated and says what a contraction is: how many words of steps it has; its operands
// `T::A` (which the rows follow) and `T::B` (the columns); where an element of the output lies and
// starts; which steps its guards let through; what a step does; and what becomes of a sum: it is
// stored, goes through the maps that read it, or is one step of a fold over the batches.
//
// `X` is how a block of 256 threads multiplies: which rows and columns a thread owns, and how it adds
// the products of a stage of shared memory to them.

// Each thread multiplies for itself: `TM` rows by `TN` columns.
template <class T, int TM, int TN, int WORDS>
struct Scalar {
    static constexpr int ROWS = TM, COLUMNS = TN, DOWN = 16 * TM, ACROSS = 16 * TN, BK = WORDS;
    typedef Panel<typename T::A, DOWN, BK> PA;
    typedef Panel<typename T::B, ACROSS, BK> PB;
    // Steps that are read from shared memory together.
    static constexpr int TOGETHER = 4;

    // The threads of a warp own four by eight places, the warps four by two.
    static __device__ __forceinline__ u32 down() { return threadIdx.x / 64 * 4 + threadIdx.x % 32 / 8; }
    static __device__ __forceinline__ u32 across() { return threadIdx.x / 32 % 2 * 8 + threadIdx.x % 8; }
    // Groups of lanes that lie next to one another, or single ones where lanes lie apart, so that a
    // warp reads 16 bytes each from all banks.
    template <class O, int COUNT>
    static __device__ __forceinline__ u32 owned(u32 thread, int i) {
        constexpr int GROUP = O::by_step ? 1 : COUNT < 4 ? COUNT : 4;
        return i / GROUP * (16 * GROUP) + thread * GROUP + i % GROUP;
    }
    static __device__ __forceinline__ u32 row(int i) { return owned<typename T::A, TM>(down(), i); }
    static __device__ __forceinline__ u32 column(int j) { return owned<typename T::B, TN>(across(), j); }

    // An operand's words of some steps for the lanes of a thread.
    template <class O, class P, int COUNT>
    struct Fragment {
        u32 v[TOGETHER][COUNT];
        // `own` is where the thread's first lane begins in the stage.
        __device__ __forceinline__ Fragment(const u32* own, int k) {
#pragma unroll
            for (int i = 0; i < COUNT; ++i) {
                const int lane = (int)owned<O, COUNT>(0, i);
                if (O::by_step) {
                    const Words<TOGETHER> words = *(const Words<TOGETHER>*)(own + (lane * P::STRIDE + k));
#pragma unroll
                    for (int q = 0; q < TOGETHER; ++q) v[q][i] = words.v[q];
                } else {
#pragma unroll
                    for (int q = 0; q < TOGETHER; ++q) v[q][i] = own[(k + q) * P::STRIDE + lane];
                }
            }
        }
    };
    template <class O, class P, int COUNT>
    static __device__ __forceinline__ const u32* own(const u32* stage, u32 thread) {
        return stage + owned<O, COUNT>(thread, 0) * (O::by_step ? P::STRIDE : 1);
    }

    typename T::RowGuard rows[TM];
    typename T::ColumnGuard columns[TN];

    __device__ __forceinline__ void at_batch(u32 batch, u32 row_first, u32 column_first) {
#pragma unroll
        for (int i = 0; i < TM; ++i) rows[i] = T::row_guard(batch, iminu(row_first + row(i), T::A::lanes - 1));
#pragma unroll
        for (int j = 0; j < TN; ++j)
            columns[j] = T::column_guard(batch, iminu(column_first + column(j), T::B::lanes - 1));
    }

    // Adds the products of the stage's first `count` words, the first of which is word `k`.
    template <bool ALL>
    __device__ __forceinline__ void multiply(const u32* sa, const u32* sb, u32 (&acc)[TM][TN], u32 k, u32 count) {
        const u32* a = own<typename T::A, PA, TM>(sa, down());
        const u32* b = own<typename T::B, PB, TN>(sb, across());
#pragma unroll
        for (int kk = 0; kk < BK; kk += TOGETHER) {
            const Fragment<typename T::B, PB, TN> y(b, kk);
            const Fragment<typename T::A, PA, TM> x(a, kk);
#pragma unroll
            for (int q = 0; q < TOGETHER; ++q) {
                if (!ALL && kk + q >= count) continue;
                const typename T::StepGuard at = T::step_guard(k + kk + q);
#pragma unroll
                for (int i = 0; i < TM; ++i)
#pragma unroll
                    for (int j = 0; j < TN; ++j)
                        if (T::row_passes(rows[i], at) && T::column_passes(columns[j], at))
                            acc[i][j] = T::multiply_add(x.v[q][i], y.v[q][j], acc[i][j]);
            }
        }
    }
};

// Calls `visit` for each place of a thread.
template <class X, class F>
static __device__ __forceinline__ void each(F visit) {
#pragma unroll
    for (int i = 0; i < X::ROWS; ++i)
#pragma unroll
        for (int j = 0; j < X::COLUMNS; ++j) visit(i, j);
}

template <class T, class X, int STAGES>
static __device__ __forceinline__ void tile(u32* shared, void* out, const typename T::Reads& reads) {
    typedef typename X::PA PA;
    typedef typename X::PB PB;
    constexpr int STAGE = PA::WORDS + PB::WORDS;
    constexpr u32 DOWN = (T::A::lanes + X::DOWN - 1) / X::DOWN, ACROSS = (T::B::lanes + X::ACROSS - 1) / X::ACROSS;
    // Rounds of a batch; the batches that the block adds up.
    constexpr u32 ROUNDS = (T::steps + X::BK - 1) / X::BK, BATCHES = T::outer ? T::outer : 1;
    constexpr bool WHOLE = T::whole && T::steps % X::BK == 0;
    const u32 first = T::outer ? 0 : blockIdx.x / (DOWN * ACROSS);
    const u32 row = blockIdx.x / ACROSS % DOWN * X::DOWN, column = blockIdx.x % ACROSS * X::ACROSS;
    const void *a = T::a(reads), *b = T::b(reads);

    PA pa(row, first);
    PB pb(column, first);
    // What is copied next, and where to.
    u32 ahead = 0, k_ahead = 0;
    u32* to = shared;
    auto fetch = [&]() {
        pa.template fetch<WHOLE>(to, a, first + ahead, k_ahead);
        pb.template fetch<WHOLE>(to + PA::WORDS, b, first + ahead, k_ahead);
    };
    auto put = [&]() {
        pa.put(to);
        pb.put(to + PA::WORDS);
        to = to + STAGE == shared + STAGES * STAGE ? shared : to + STAGE;
        k_ahead += X::BK;
        if (k_ahead == ROUNDS * X::BK) {
            k_ahead = 0;
            ++ahead;
        }
    };
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; ++stage) {
        if (ahead < BATCHES) {
            fetch();
            put();
        }
        copies_end_group();
    }

    X x;
    u32 acc[X::ROWS][X::COLUMNS], sum[X::ROWS][X::COLUMNS];
    const auto m_of = [&](int i) { return iminu(row + X::row(i), T::A::lanes - 1); };
    const auto n_of = [&](int j) { return iminu(column + X::column(j), T::B::lanes - 1); };
    if (T::outer)
        each<X>([&](int i, int j) { sum[i][j] = T::outer_start(reads, m_of(i), n_of(j)); });
    const u32* stage = shared;
#pragma unroll 1
    for (u32 batch = first; batch < first + BATCHES; ++batch) {
        x.at_batch(batch, row, column);
        each<X>([&](int i, int j) { acc[i][j] = T::start(reads, batch, m_of(i), n_of(j)); });
#pragma unroll 1
        for (u32 k = 0; k < ROUNDS * X::BK; k += X::BK) {
            copies_wait<STAGES - 2>();
            // All that was copied for this round is there, and nobody reads the round before it any
            // more.
            __syncthreads();
            if (ahead < BATCHES) fetch();
            copies_end_group();
            if (T::steps % X::BK == 0 || k + X::BK <= T::steps)
                x.template multiply<true>(stage, stage + PA::WORDS, acc, k, X::BK);
            else
                x.template multiply<false>(stage, stage + PA::WORDS, acc, k, T::steps - k);
            if (ahead < BATCHES) put();
            stage = stage + STAGE == shared + STAGES * STAGE ? shared : stage + STAGE;
        }
        if (T::outer)
            each<X>([&](int i, int j) {
                sum[i][j] = T::outer_step(reads, batch, m_of(i), n_of(j), acc[i][j], sum[i][j]);
            });
    }

    each<X>([&](int i, int j) {
        const u32 m = row + X::row(i), n = column + X::column(j);
        if (m < T::A::lanes && n < T::B::lanes)
            T::store(out, reads, T::place(first, m, n), T::outer ? sum[i][j] : acc[i][j]);
    });
}

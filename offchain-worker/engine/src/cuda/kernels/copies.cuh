// How operands of a tile come to shared memory, several rounds before they are needed.
//
// An operand `O` is generated and says how its elements lie: `O::by_step`, whether shared memory
// keeps a row for each lane (else one for each step); `O::mode`, how many of them are taken at once.
// A word is one element, or four steps of 8-bit elements, the first in the low byte.

enum Mode {
    // Four words that lie next to one another and are inside or outside together, 16 bytes aligned.
    VECTOR,
    // One word of 32 bits as it lies.
    SINGLE,
    // Four lanes of 8-bit elements that lie next to one another, for four steps: turned on the way.
    TURNED,
    // One word, whatever its elements are.
    CONVERTED,
};

#ifndef LOCKSTEP_SHIM
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
LOCKSTEP_INLINE void copy_4(u32* to, const u32* from) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"((u32)__cvta_generic_to_shared(to)), "l"(from) : "memory");
}
LOCKSTEP_INLINE void copy_16(u32* to, const u32* from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((u32)__cvta_generic_to_shared(to)), "l"(from) : "memory");
}
LOCKSTEP_INLINE void copies_end_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until no more than `N` of the groups are under way.
template <int N>
LOCKSTEP_INLINE void copies_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
#else
LOCKSTEP_INLINE void copy_4(u32* to, const u32* from) { *to = *from; }
LOCKSTEP_INLINE void copy_16(u32* to, const u32* from) { *(Four*)to = *(const Four*)from; }
LOCKSTEP_INLINE void copies_end_group() {}
template <int N>
LOCKSTEP_INLINE void copies_wait() {}
#endif
#endif

// Turns a square of 8-bit elements: `rows[k]` holds four lanes of a step, the result four steps of a
// lane.
LOCKSTEP_INLINE Four turn(const u32* rows) {
    const u32 a = __byte_perm(rows[0], rows[1], 0x5140), b = __byte_perm(rows[0], rows[1], 0x7362);
    const u32 c = __byte_perm(rows[2], rows[3], 0x5140), d = __byte_perm(rows[2], rows[3], 0x7362);
    return {{__byte_perm(a, c, 0x5410), __byte_perm(a, c, 0x7632), __byte_perm(b, d, 0x5410),
             __byte_perm(b, d, 0x7632)}};
}

// What a block of 256 threads copies of an operand: `W` lanes by `BK` words of steps.
template <class O, int W, int BK>
struct Panel {
    // Rows of steps are padded so that neither 16 bytes each of eight lanes nor four words each of
    // them meet in a bank.
    static constexpr int STRIDE = O::by_step ? BK + 4 : W;
    static constexpr int WORDS = O::by_step ? W * STRIDE : BK * STRIDE;
    // Lanes and words of steps of one unit of work.
    static constexpr int LANES = O::mode == TURNED || (O::mode == VECTOR && !O::by_step) ? 4 : 1;
    static constexpr int STEPS = O::mode == VECTOR && O::by_step ? 4 : 1;
    static constexpr int UNITS = W * BK / (LANES * STEPS);
    static constexpr int EACH = (UNITS + 255) / 256;
    static constexpr bool HELD = O::mode == TURNED || O::mode == CONVERTED;

    u32 first, batch;
    typename O::Lane lanes[EACH];
    u32 held[HELD ? EACH : 1][LANES];

    static __device__ __forceinline__ u32 unit(int l) { return threadIdx.x + 256u * l; }
    // Neighbouring threads take what lies together in global memory; where words are turned, eight of
    // them, and the next eight another word, so that what they write falls into all banks.
    static __device__ __forceinline__ u32 lane(int l) {
        const u32 u = unit(l);
        if (O::mode == TURNED) return (u % 8 + u / 32 % (W / 32) * 8) * 4;
        return (O::by_step ? u / (BK / STEPS) : u % (W / LANES)) * LANES;
    }
    static __device__ __forceinline__ u32 step(int l) {
        const u32 u = unit(l);
        if (O::mode == TURNED) return u / 8 % 4 + u / W * 4;
        return (O::by_step ? u % (BK / STEPS) : u / (W / LANES)) * STEPS;
    }
    static __device__ __forceinline__ bool idle(int l) { return UNITS % 256 != 0 && unit(l) >= UNITS; }

    __device__ __forceinline__ void at_batch(u32 now) {
        batch = now;
#pragma unroll
        for (int l = 0; l < EACH; ++l)
            lanes[l] = O::lane(now, iminu(first + lane(l), O::lanes - LANES));
    }
    __device__ __forceinline__ Panel(u32 first, u32 batch) : first(first) { at_batch(batch); }

    // Begins to copy the words from `k` on; what cannot go by itself is held until `put`. If they are
    // `WHOLE`, none of them is past the last step.
    template <bool WHOLE>
    __device__ __forceinline__ void fetch(u32* shared, const void* p, u32 now, u32 k) {
        if (now != batch) at_batch(now);
#pragma unroll
        for (int l = 0; l < EACH; ++l) {
            if (idle(l)) continue;
            const u32 at = k + step(l);
            u32* to = shared + (O::by_step ? lane(l) * STRIDE + step(l) : step(l) * STRIDE + lane(l));
            if constexpr (O::mode == TURNED) {
                u32 rows[4];
#pragma unroll
                for (int j = 0; j < 4; ++j) rows[j] = O::quarter(p, lanes[l], 4 * at + j);
                const Four turned = turn(rows);
#pragma unroll
                for (int j = 0; j < 4; ++j) held[l][j] = turned.v[j];
            } else if constexpr (O::mode == CONVERTED) {
                held[l][0] = O::word(p, lanes[l], at);
            } else {
                const auto place = O::template place<WHOLE>(lanes[l], at);
                if (place.inside) {
                    if (O::mode == VECTOR) copy_16(to, (const u32*)((const char*)p + place.byte));
                    else copy_4(to, (const u32*)((const char*)p + place.byte));
                } else {
                    if (O::mode == VECTOR) *(Four*)to = {{O::fill, O::fill, O::fill, O::fill}};
                    else *to = O::fill;
                }
            }
        }
    }

    // Writes what is held, to where `fetch` was told.
    __device__ __forceinline__ void put(u32* shared) {
#pragma unroll
        for (int l = 0; l < EACH; ++l) {
            if (idle(l)) continue;
            if constexpr (O::mode == TURNED) {
                // Threads begin with different lanes of theirs, so that no two meet in a bank.
                const u32 begin = unit(l) / 2 % 4;
#pragma unroll
                for (u32 j = 0; j < 4; ++j) {
                    const u32 i = (j + begin) % 4;
                    const u32 low = i & 1 ? held[l][1] : held[l][0], high = i & 1 ? held[l][3] : held[l][2];
                    shared[(lane(l) + i) * STRIDE + step(l)] = i & 2 ? high : low;
                }
            } else if constexpr (O::mode == CONVERTED) {
                shared[O::by_step ? lane(l) * STRIDE + step(l) : step(l) * STRIDE + lane(l)] = held[l][0];
            }
        }
    }
};

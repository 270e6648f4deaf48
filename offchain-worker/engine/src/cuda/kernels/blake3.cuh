// BLAKE3 (J. O'Connor, J.-P. Aumasson, S. Neves, Z. Wilcox-O'Hearn: BLAKE3, one function, fast
// everywhere, 2020) of many tensors at once: a thread compresses a chunk, then, level by level, a
// thread compresses a parent. A node without a sibling moves up as it is, which gives the tree of
// the paper: left subtrees are whole and as large as they can be.
//
// A table begins with the number of tensors and of the level's outputs; then come three words for
// each tensor, the first of which is the number of outputs before it.

#define LOCKSTEP_G(a, b, c, d, x, y)  \
    v[a] += v[b] + (x);               \
    v[d] = rotr(v[d] ^ v[a], 16);     \
    v[c] += v[d];                     \
    v[b] = rotr(v[b] ^ v[c], 12);     \
    v[a] += v[b] + (y);               \
    v[d] = rotr(v[d] ^ v[a], 8);      \
    v[c] += v[d];                     \
    v[b] = rotr(v[b] ^ v[c], 7);

enum { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8 };

LOCKSTEP_INLINE u32 rotr(u32 a, u32 n) { return a >> n | a << (32u - n); }

LOCKSTEP_INLINE u32 initial(int i) {
    const u32 words[8] = {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
                          0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u};
    return words[i];
}

// Replaces the chaining value `cv` by that after the block `m`.
LOCKSTEP_INLINE void compress(u32* cv, u32* m, u64 counter, u32 bytes, u32 flags) {
    u32 v[16];
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = cv[i];
#pragma unroll
    for (int i = 0; i < 4; ++i) v[8 + i] = initial(i);
    v[12] = (u32)counter;
    v[13] = (u32)(counter >> 32);
    v[14] = bytes;
    v[15] = flags;
#pragma unroll
    for (int round = 0; round < 7; ++round) {
        LOCKSTEP_G(0, 4, 8, 12, m[0], m[1])
        LOCKSTEP_G(1, 5, 9, 13, m[2], m[3])
        LOCKSTEP_G(2, 6, 10, 14, m[4], m[5])
        LOCKSTEP_G(3, 7, 11, 15, m[6], m[7])
        LOCKSTEP_G(0, 5, 10, 15, m[8], m[9])
        LOCKSTEP_G(1, 6, 11, 12, m[10], m[11])
        LOCKSTEP_G(2, 7, 8, 13, m[12], m[13])
        LOCKSTEP_G(3, 4, 9, 14, m[14], m[15])
        const u32 next[16] = {m[2], m[6],  m[3],  m[10], m[7],  m[0],  m[4],  m[13],
                              m[1], m[11], m[12], m[5],  m[9],  m[14], m[15], m[8]};
#pragma unroll
        for (int i = 0; i < 16; ++i) m[i] = next[i];
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) cv[i] = v[i] ^ v[8 + i];
}

// The tensor to which an output of the level belongs.
LOCKSTEP_INLINE const u64* tensor_of(const u64* table, u64 output) {
    u64 low = 0, high = table[0];
    while (high - low > 1) {
        const u64 middle = (low + high) / 2;
        if (table[2 + 3 * middle] <= output) low = middle;
        else high = middle;
    }
    return table + 2 + 3 * low;
}

// Rows of the table: chunks before the tensor, its first byte in `state`, its bytes.
extern "C" __global__ void __launch_bounds__(128)
lockstep_chunks(void* __restrict__ out, const void* __restrict__ state, const void* __restrict__ table) {
    const u64 output = (u64)blockIdx.x * 128u + threadIdx.x;
    if (output >= ((const u64*)table)[1]) return;
    const u64* tensor = tensor_of((const u64*)table, output);
    const u64 chunk = output - tensor[0], begin = chunk * 1024u;
    const u64 left = tensor[2] - begin;
    const u32 bytes = left < 1024u ? (u32)left : 1024u;
    const Four* words = (const Four*)((const unsigned char*)state + tensor[1] + begin);
    const u32 root = tensor[2] <= 1024u ? ROOT : 0;
    u32 cv[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) cv[i] = initial(i);
    // The block after the one that is compressed is on its way meanwhile. The tensor's memory goes on
    // to a multiple of 256 bytes.
    Four ahead[4];
#pragma unroll
    for (int q = 0; q < 4; ++q) ahead[q] = words[q];
    for (u32 at = 0; at < bytes; at += 64) {
        u32 m[16];
        const u32 here = bytes - at < 64u ? bytes - at : 64u;
        const bool last = at + 64 >= bytes;
#pragma unroll
        for (u32 i = 0; i < 16; ++i) m[i] = ahead[i / 4].v[i % 4];
        if (here < 64) {
            // Bytes past the end count as zeros.
#pragma unroll
            for (u32 i = 0; i < 16; ++i) {
                const u32 rest = 4 * i < here ? here - 4 * i : 0;
                if (rest < 4) m[i] &= (1u << 8 * rest) - 1u;
            }
        }
        if (!last) {
#pragma unroll
            for (int q = 0; q < 4; ++q) ahead[q] = words[at / 16 + 4 + q];
        }
        compress(cv, m, chunk, here,
                 (at == 0 ? CHUNK_START : 0) | (last ? CHUNK_END | root : 0));
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) ((u32*)out)[8 * output + i] = cv[i];
}

// Rows of the table: outputs before the tensor, inputs before it, its inputs.
extern "C" __global__ void __launch_bounds__(128)
lockstep_parents(void* __restrict__ out, const void* __restrict__ in, const void* __restrict__ table) {
    const u64 output = (u64)blockIdx.x * 128u + threadIdx.x;
    if (output >= ((const u64*)table)[1]) return;
    const u64* tensor = tensor_of((const u64*)table, output);
    const u64 left = 2 * (output - tensor[0]);
    const u32* children = (const u32*)in + 8 * (tensor[1] + left);
    u32 cv[8];
    if (left + 1 < tensor[2]) {
        u32 m[16];
#pragma unroll
        for (int i = 0; i < 16; ++i) m[i] = children[i];
#pragma unroll
        for (int i = 0; i < 8; ++i) cv[i] = initial(i);
        compress(cv, m, 0, 64, PARENT | (tensor[2] == 2 ? ROOT : 0));
    } else {
#pragma unroll
        for (int i = 0; i < 8; ++i) cv[i] = children[i];
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) ((u32*)out)[8 * output + i] = cv[i];
}

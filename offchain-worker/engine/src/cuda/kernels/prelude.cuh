// What every generated kernel stands on: a register is 32 untyped bits, as in the protocol.
//
// Floats go through intrinsics that round to nearest and are never contracted. An operation may
// return a NaN other than the canonical one; the generator writes `canon` wherever the bits of such
// a value would be seen.

typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

#ifndef LOCKSTEP_EXTERN_SHARED
#define LOCKSTEP_EXTERN_SHARED(name) extern __shared__ __align__(16) u32 name[]
#endif

#define LOCKSTEP_INLINE static __device__ __forceinline__

LOCKSTEP_INLINE float f32(u32 a) { return __uint_as_float(a); }
LOCKSTEP_INLINE u32 bits(float a) { return __float_as_uint(a); }
LOCKSTEP_INLINE u32 canon(u32 a) { return (a & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : a; }

LOCKSTEP_INLINE u32 fadd(u32 a, u32 b) { return bits(__fadd_rn(f32(a), f32(b))); }
LOCKSTEP_INLINE u32 fsub(u32 a, u32 b) { return bits(__fsub_rn(f32(a), f32(b))); }
LOCKSTEP_INLINE u32 fmul(u32 a, u32 b) { return bits(__fmul_rn(f32(a), f32(b))); }
LOCKSTEP_INLINE u32 ffma(u32 a, u32 b, u32 c) { return bits(__fmaf_rn(f32(a), f32(b), f32(c))); }
LOCKSTEP_INLINE u32 fdiv(u32 a, u32 b) { return bits(__fdiv_rn(f32(a), f32(b))); }
LOCKSTEP_INLINE u32 fsqrt(u32 a) { return bits(__fsqrt_rn(f32(a))); }
LOCKSTEP_INLINE u32 fneg(u32 a) { return a ^ 0x80000000u; }
LOCKSTEP_INLINE u32 fabs_(u32 a) { return a & 0x7fffffffu; }
LOCKSTEP_INLINE u32 feq(u32 a, u32 b) { return f32(a) == f32(b); }
LOCKSTEP_INLINE u32 flt(u32 a, u32 b) { return f32(a) < f32(b); }
LOCKSTEP_INLINE u32 fle(u32 a, u32 b) { return f32(a) <= f32(b); }

// Equal numbers have equal bits, except that of two zeros one may be negative.
LOCKSTEP_INLINE u32 fmin_(u32 a, u32 b) {
    return f32(a) < f32(b) ? a : f32(b) < f32(a) ? b : f32(a) == f32(b) ? a | b : 0x7fc00000u;
}
LOCKSTEP_INLINE u32 fmax_(u32 a, u32 b) {
    return f32(a) > f32(b) ? a : f32(b) > f32(a) ? b : f32(a) == f32(b) ? a & b : 0x7fc00000u;
}

LOCKSTEP_INLINE u32 umulhi(u32 a, u32 b) { return (u32)((u64)a * b >> 32); }
LOCKSTEP_INLINE u32 shl(u32 a, u32 b) { return b < 32u ? a << b : 0u; }
LOCKSTEP_INLINE u32 shru(u32 a, u32 b) { return b < 32u ? a >> b : 0u; }
LOCKSTEP_INLINE u32 shrs(u32 a, u32 b) { return b < 32u ? (u32)((int)a >> b) : 0u; }
LOCKSTEP_INLINE u32 imins(u32 a, u32 b) { return (int)a < (int)b ? a : b; }
LOCKSTEP_INLINE u32 imaxs(u32 a, u32 b) { return (int)a > (int)b ? a : b; }
LOCKSTEP_INLINE u32 iminu(u32 a, u32 b) { return a < b ? a : b; }
LOCKSTEP_INLINE u32 imaxu(u32 a, u32 b) { return a > b ? a : b; }

// The conversions saturate; what they make of a NaN is left to no one.
LOCKSTEP_INLINE u32 f2i(u32 a) { return f32(a) == f32(a) ? (u32)__float2int_rz(f32(a)) : 0u; }
LOCKSTEP_INLINE u32 f2u(u32 a) { return f32(a) == f32(a) ? __float2uint_rz(f32(a)) : 0u; }
LOCKSTEP_INLINE u32 i2f(u32 a) { return bits(__int2float_rn((int)a)); }
LOCKSTEP_INLINE u32 u2f(u32 a) { return bits(__uint2float_rn(a)); }

LOCKSTEP_INLINE u32 load_w(const void* p, i64 at) { return ((const u32*)p)[at]; }
LOCKSTEP_INLINE u32 load_h(const void* p, i64 at) { return ((const unsigned short*)p)[at]; }
LOCKSTEP_INLINE u32 load_b(const void* p, i64 at) { return ((const unsigned char*)p)[at]; }
LOCKSTEP_INLINE u32 load_sb(const void* p, i64 at) { return (u32)(int)((const signed char*)p)[at]; }
LOCKSTEP_INLINE void store_w(void* p, i64 at, u32 a) { ((u32*)p)[at] = a; }
LOCKSTEP_INLINE void store_h(void* p, i64 at, u32 a) { ((unsigned short*)p)[at] = (unsigned short)a; }
LOCKSTEP_INLINE void store_b(void* p, i64 at, u32 a) { ((unsigned char*)p)[at] = (unsigned char)a; }

// Words that are moved together.
template <int N>
struct __align__(4 * N) Words {
    u32 v[N];
};
typedef Words<4> Four;


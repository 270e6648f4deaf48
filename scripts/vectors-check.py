#!/usr/bin/env python3
"""Checks the test vectors with an implementation written from docs/specification.md alone.

Plain Python, no package needed. Section numbers are those of the specification.

    python3 scripts/vectors-check.py [folder of the vectors]
"""

import hashlib
import json
import math
import pathlib
import re
import sys
import time

WORD = 0xFFFFFFFF


# --- 2. Operations ---------------------------------------------------------------------------

SIGN = 1 << 31
INFINITY = 0x7F800000
NAN = 0x7FC00000


def is_nan(a):
    return a & ~SIGN > INFINITY


def is_infinite(a):
    return a & ~SIGN == INFINITY


def is_zero(a):
    return a & ~SIGN == 0


def exact(a):
    """A finite float as (sign bit, m, e) with the magnitude m * 2^e."""
    field, fraction = a >> 23 & 0xFF, a & 0x7FFFFF
    return (a & SIGN, fraction, -149) if field == 0 else (a & SIGN, fraction | 1 << 23, field - 150)


def rounded(sign, numerator, denominator=1):
    """The float nearest to numerator / denominator, ties to even."""
    if numerator == 0:
        return sign
    exponent = numerator.bit_length() - denominator.bit_length()
    if numerator << max(-exponent, 0) < denominator << max(exponent, 0):
        exponent -= 1
    unit = max(exponent, -126) - 23
    numerator, denominator = numerator << max(-unit, 0), denominator << max(unit, 0)
    count, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or 2 * rest == denominator and count & 1:
        count += 1
    bits = (unit + 149 << 23) + count
    return sign | min(bits, INFINITY)


def rounded_power(sign, m, e):
    """The float nearest to m * 2^e."""
    return rounded(sign, m << max(e, 0), 1 << max(-e, 0))


def sum_of(a, b):
    (sign_a, m_a, e_a), (sign_b, m_b, e_b) = a, b
    if m_a == 0 and m_b == 0:
        return sign_a & sign_b
    low = min(e_a, e_b)
    total = (m_a << e_a - low) * (-1 if sign_a else 1) + (m_b << e_b - low) * (-1 if sign_b else 1)
    return rounded_power(SIGN if total < 0 else 0, abs(total), low)


def product_of(a, b):
    (sign_a, m_a, e_a), (sign_b, m_b, e_b) = exact(a), exact(b)
    return sign_a ^ sign_b, m_a * m_b, e_a + e_b


def fadd(a, b):
    if is_nan(a) or is_nan(b) or is_infinite(a) and is_infinite(b) and a != b:
        return NAN
    if is_infinite(a):
        return a
    if is_infinite(b):
        return b
    return sum_of(exact(a), exact(b))


def fmul(a, b):
    if is_nan(a) or is_nan(b):
        return NAN
    if is_infinite(a) or is_infinite(b):
        return NAN if is_zero(a) or is_zero(b) else (a ^ b) & SIGN | INFINITY
    return rounded_power(*product_of(a, b))


def ffma(a, b, c):
    if is_nan(a) or is_nan(b) or is_nan(c):
        return NAN
    if is_infinite(a) or is_infinite(b):
        return fadd(fmul(a, b), c)
    if is_infinite(c):
        return c
    return sum_of(product_of(a, b), exact(c))


def fdiv(a, b):
    if is_nan(a) or is_nan(b) or is_infinite(a) and is_infinite(b) or is_zero(a) and is_zero(b):
        return NAN
    sign = (a ^ b) & SIGN
    if is_infinite(a) or is_zero(b):
        return sign | INFINITY
    if is_infinite(b):
        return sign
    (_, m_a, e_a), (_, m_b, e_b) = exact(a), exact(b)
    return rounded(sign, m_a << max(e_a - e_b, 0), m_b << max(e_b - e_a, 0))


def fsqrt(a):
    if is_nan(a):
        return NAN
    if is_zero(a) or a == INFINITY:
        return a
    if a & SIGN:
        return NAN
    _, m, e = exact(a)
    m, e = m << 64 + (e & 1), e - 64 - (e & 1)
    root = math.isqrt(m)
    # An inexact root lies strictly between two integers, far below the last bit that is kept.
    return rounded_power(0, 2 * root + (root * root != m), e // 2 - 1)


def order(a):
    """Grows with the float, and from -0 to +0."""
    return ~a & WORD if a & SIGN else a | SIGN


def fmin(a, b):
    return NAN if is_nan(a) or is_nan(b) else min(a, b, key=order)


def fmax(a, b):
    return NAN if is_nan(a) or is_nan(b) else max(a, b, key=order)


def feq(a, b):
    return int(not is_nan(a) and not is_nan(b) and (a == b or is_zero(a) and is_zero(b)))


def flt(a, b):
    return int(not is_nan(a) and not is_nan(b) and not feq(a, b) and order(a) < order(b))


def canonical(a):
    return NAN if is_nan(a) else a


def signed(a):
    return a - (1 << 32) if a & SIGN else a


def truncated(a):
    sign, m, e = exact(a)
    magnitude = m << e if e >= 0 else m >> -e
    return -magnitude if sign else magnitude


def clamp(a, low, high):
    if is_nan(a):
        return 0
    if is_infinite(a):
        return (low if a & SIGN else high) & WORD
    return max(low, min(high, truncated(a))) & WORD


OPERATIONS = [
    ("FAdd", fadd),
    ("FSub", lambda a, b: fadd(a, b ^ SIGN)),
    ("FMul", fmul),
    ("FFma", ffma),
    ("FDiv", fdiv),
    ("FSqrt", fsqrt),
    ("FMin", fmin),
    ("FMax", fmax),
    ("FNeg", lambda a: canonical(a ^ SIGN)),
    ("FAbs", lambda a: canonical(a & ~SIGN)),
    ("FEq", feq),
    ("FLt", flt),
    ("FLe", lambda a, b: flt(a, b) | feq(a, b)),
    ("IAdd", lambda a, b: a + b & WORD),
    ("ISub", lambda a, b: a - b & WORD),
    ("IMul", lambda a, b: a * b & WORD),
    ("UMulHi", lambda a, b: a * b >> 32),
    ("And", lambda a, b: a & b),
    ("Or", lambda a, b: a | b),
    ("Xor", lambda a, b: a ^ b),
    ("Shl", lambda a, b: a << b & WORD if b < 32 else 0),
    ("ShrU", lambda a, b: a >> b if b < 32 else 0),
    ("ShrS", lambda a, b: signed(a) >> b & WORD if b < 32 else 0),
    ("IMinS", lambda a, b: min(a, b, key=signed)),
    ("IMaxS", lambda a, b: max(a, b, key=signed)),
    ("IMinU", min),
    ("IMaxU", max),
    ("IEq", lambda a, b: int(a == b)),
    ("ILtS", lambda a, b: int(signed(a) < signed(b))),
    ("ILtU", lambda a, b: int(a < b)),
    ("Select", lambda c, a, b: a if c else b),
    ("F32ToI32", lambda a: clamp(a, -(1 << 31), (1 << 31) - 1)),
    ("F32ToU32", lambda a: clamp(a, 0, WORD)),
    ("I32ToF32", lambda a: rounded(a & SIGN, abs(signed(a)))),
    ("U32ToF32", lambda a: rounded(0, a)),
]
APPLY = dict(OPERATIONS)
UNARY = {"FSqrt", "FNeg", "FAbs", "F32ToI32", "F32ToU32", "I32ToF32", "U32ToF32"}
TERNARY = {"FFma", "Select"}

SIZES = {"F32": 4, "I32": 4, "U32": 4, "U8": 1, "I8": 1, "U16": 2}


def load(dtype, data):
    word = int.from_bytes(data, "little")
    if dtype == "F32":
        return canonical(word)
    return word | 0xFFFFFF00 if dtype == "I8" and word & 0x80 else word


def stored(dtype, word):
    return canonical(word) if dtype == "F32" else word & (1 << 8 * SIZES[dtype]) - 1


def element(dtype, word):
    return stored(dtype, word).to_bytes(SIZES[dtype], "little")


# --- 3. Encodings ----------------------------------------------------------------------------


class Garbled(Exception):
    """Bytes that do not decode."""


class Record:
    """A structure; its fields are attributes, in order."""

    def __init__(self, **fields):
        self.__dict__.update(fields)

    def copy(self, **changes):
        return Record(**{**vars(self), **changes})


def take(data, at, count):
    if at + count > len(data):
        raise Garbled("the bytes end too early")
    return data[at : at + count], at + count


class Uint:
    def __init__(self, size):
        self.size = size

    def encode(self, value):
        return value.to_bytes(self.size, "little")

    def decode(self, data, at):
        part, at = take(data, at, self.size)
        return int.from_bytes(part, "little"), at

    def plain(self, value):
        return value


class Compact:
    def __init__(self, bits):
        self.bits = bits

    def encode(self, value):
        if value < 1 << 6:
            return bytes([value << 2])
        if value < 1 << 14:
            return (value << 2 | 1).to_bytes(2, "little")
        if value < 1 << 30:
            return (value << 2 | 2).to_bytes(4, "little")
        count = max(4, (value.bit_length() + 7) // 8)
        return bytes([count - 4 << 2 | 3]) + value.to_bytes(count, "little")

    def decode(self, data, at):
        (first,), _ = take(data, at, 1)
        mode = first & 3
        if mode < 3:
            part, at = take(data, at, 1 << mode)
            value = int.from_bytes(part, "little") >> 2
        else:
            part, at = take(data, at + 1, (first >> 2) + 4)
            value = int.from_bytes(part, "little")
        if value >> self.bits:
            raise Garbled("a compact integer is too large")
        return value, at

    def plain(self, value):
        return value


class ZigZag:
    compact = Compact(64)

    def encode(self, value):
        return self.compact.encode(2 * value if value >= 0 else -2 * value - 1)

    def decode(self, data, at):
        value, at = self.compact.decode(data, at)
        return (-(value + 1) // 2 if value & 1 else value // 2), at

    def plain(self, value):
        return value


class Flag:
    def encode(self, value):
        return bytes([value])

    def decode(self, data, at):
        (value,), at = take(data, at, 1)
        if value > 1:
            raise Garbled("no boolean")
        return bool(value), at

    def plain(self, value):
        return value


class Fixed:
    def __init__(self, size):
        self.size = size

    def encode(self, value):
        assert len(value) == self.size
        return value

    def decode(self, data, at):
        return take(data, at, self.size)

    def plain(self, value):
        return value.hex()


class Listed:
    def __init__(self, item):
        self.item = item

    def encode(self, value):
        return Compact(32).encode(len(value)) + b"".join(map(self.item.encode, value))

    def decode(self, data, at):
        count, at = Compact(32).decode(data, at)
        items = []
        for _ in range(count):
            item, at = self.item.decode(data, at)
            items.append(item)
        return items, at

    def plain(self, value):
        return [self.item.plain(item) for item in value]


class Bytes:
    def encode(self, value):
        return Compact(32).encode(len(value)) + value

    def decode(self, data, at):
        count, at = Compact(32).decode(data, at)
        return take(data, at, count)

    def plain(self, value):
        return value.hex()


class Option:
    def __init__(self, item):
        self.item = item

    def encode(self, value):
        return b"\0" if value is None else b"\1" + self.item.encode(value)

    def decode(self, data, at):
        (some,), at = take(data, at, 1)
        if some > 1:
            raise Garbled("no option")
        return self.item.decode(data, at) if some else (None, at)

    def plain(self, value):
        return None if value is None else self.item.plain(value)


class Struct:
    def __init__(self, **fields):
        self.fields = fields

    def encode(self, value):
        return b"".join(ty.encode(getattr(value, name)) for name, ty in self.fields.items())

    def decode(self, data, at):
        fields = {}
        for name, ty in self.fields.items():
            fields[name], at = ty.decode(data, at)
        return Record(**fields), at

    def plain(self, value):
        return {name: ty.plain(getattr(value, name)) for name, ty in self.fields.items()}


class Tuple:
    def __init__(self, *items):
        self.items = items

    def encode(self, value):
        return b"".join(ty.encode(item) for ty, item in zip(self.items, value))

    def decode(self, data, at):
        value = []
        for ty in self.items:
            item, at = ty.decode(data, at)
            value.append(item)
        return value, at

    def plain(self, value):
        return [ty.plain(item) for ty, item in zip(self.items, value)]


class Enum:
    """Variants by name; a value is the pair of the name and its fields, or the name alone."""

    def __init__(self, **variants):
        self.names = list(variants)
        self.variants = variants

    def encode(self, value):
        name, fields = (value, None) if isinstance(value, str) else value
        ty = self.variants[name]
        return bytes([self.names.index(name)]) + (ty.encode(fields) if ty else b"")

    def decode(self, data, at):
        (number,), at = take(data, at, 1)
        if number >= len(self.names):
            raise Garbled("no such variant")
        name = self.names[number]
        ty = self.variants[name]
        if ty is None:
            return name, at
        fields, at = ty.decode(data, at)
        return (name, fields), at

    def plain(self, value):
        if isinstance(value, str):
            return value
        name, fields = value
        return {name: self.variants[name].plain(fields)}


def decode(ty, data):
    value, at = ty.decode(data, 0)
    if at != len(data):
        raise Garbled("bytes are left over")
    return value


def decode_canonical(ty, data):
    value = decode(ty, data)
    if ty.encode(value) != data:
        raise Garbled("not canonical")
    return value


U8, U32, U64, INT, HASH = Uint(1), Uint(4), Uint(8), ZigZag(), Fixed(32)

DTYPE = Enum(F32=None, I32=None, U32=None, U8=None, I8=None, U16=None)
DIM = Compact(64)
FORM = Struct(constant=INT, terms=Listed(Struct(var=U8, coef=INT)))
AXIS = Struct(form=FORM, extent=Compact(64), stride=INT)
ACCESS = Struct(
    node=Compact(32), dtype=DTYPE, len=Compact(64), base=INT, axes=Listed(AXIS), fill=U32
)
GUARD = Struct(form=FORM, lo=INT, hi=INT)
OP = Enum(
    **{
        name: Tuple(*[U8] * (1 if name in UNARY else 3 if name in TERNARY else 2))
        for name, _ in OPERATIONS
    }
)
BODY = Struct(
    shape=Listed(DIM),
    dtype=DTYPE,
    index=Listed(ACCESS),
    reads=Listed(ACCESS),
    values=Listed(FORM),
    consts=Listed(U32),
    ops=Listed(OP),
)
INIT = Enum(Word=Tuple(U32), Read=Tuple(ACCESS))
FOLD = Struct(body=BODY, red=Listed(DIM), when=Listed(GUARD), init=INIT)
SOURCE = Enum(
    State=Struct(shape=Listed(DIM), dtype=DTYPE),
    Batch=Struct(
        dataset=U8,
        batch=Compact(32),
        record_size=Compact(32),
        offset=Compact(32),
        fields=Compact(32),
        dtype=DTYPE,
    ),
    Constant=Struct(shape=Listed(DIM), dtype=DTYPE, hash=HASH),
    Step=None,
    Seed=None,
)
NODE = Enum(Source=Tuple(SOURCE), Map=Tuple(BODY), Fold=Tuple(FOLD))

DATASET = Struct(root=HASH, records=U64, record_size=U32)
TASK_SPEC = Struct(
    program=HASH,
    nodes=U32,
    slots=U32,
    genesis=HASH,
    datasets=Listed(DATASET),
    batch=U32,
    steps=U32,
    segment=U32,
    seed=U64,
)
COMMITMENT = Struct(trace=HASH, state=HASH)
OPENING = Struct(chunk=Bytes(), path=Listed(HASH))
OPERAND = Struct(tensor=OPENING, element=OPENING)

SIDE = Enum(Defender=None, Challenger=None)
FILE = Enum(Checkpoints=None, Steps=None, Nodes=None, State=None, Tensor=None, Fold=None)
REASON = Enum(Proven=None, Disproven=Struct(found=U32), MalformedNode=None, Timeout=None)
OUTCOME = Struct(winner=SIDE, reason=REASON)
PHASE = Enum(
    Reveal=None,
    Select=None,
    OpenSteps=None,
    OpenNodes=None,
    Choose=None,
    OpenNode=None,
    ShowSlot=None,
    OpenFold=None,
    Prove=None,
    Over=Tuple(OUTCOME),
)
MOVE = Enum(
    Reveal=Tuple(Bytes()),
    SelectSubtree=Struct(index=U32, value=HASH, siblings=Listed(HASH)),
    SelectEntry=Struct(index=U32, chunk=Bytes()),
    OpenSteps=Struct(left=Option(OPENING), root=HASH, last=OPENING),
    OpenNodes=Struct(left=Option(OPENING), root=HASH),
    DisputeNodes=None,
    DisputeState=None,
    OpenNode=Struct(node=Bytes(), program=OPENING, slot=Option(OPENING)),
    ShowSlot=Tuple(OPENING),
    OpenFold=Struct(root=HASH, last=OPENING),
    Prove=Struct(left=Option(OPENING), node=Bytes(), operands=Listed(Option(OPERAND))),
    ProveRecord=Struct(node=Bytes(), datasets=Listed(DATASET), record=OPENING),
)
UNPROVEN = Enum(Absent=Tuple(U8), Opening=Tuple(U8), Record=None)
REFUSAL = Enum(
    Over=None,
    NotYourTurn=None,
    WrongMove=None,
    WrongBytes=None,
    NoSuchEntry=None,
    WrongLeft=None,
    WrongLast=None,
    WrongNode=None,
    WrongOpening=None,
    Operand=Tuple(UNPROVEN),
)
FRAME = Struct(
    program=HASH,
    nodes=U32,
    slots=U32,
    batch=U32,
    steps=U32,
    segment=U32,
    seed=U64,
    datasets=HASH,
)
SEARCH = Struct(
    file=FILE,
    len=U64,
    width=U8,
    root=HASH,
    span=Struct(first=U64, count=U64),
    value=HASH,
    entry=U64,
    owes_left=Flag(),
)
GAME = Struct(
    frame=FRAME,
    position=U32,
    phase=PHASE,
    search=SEARCH,
    segment=U32,
    step=U32,
    before=HASH,
    after=HASH,
    trace=HASH,
    node=U32,
    node_value=HASH,
    node_code=HASH,
    reduction=U32,
    element=U64,
    r=U32,
    acc=U32,
    claim=U32,
)
CLOCKS = Struct(
    defender=U64, challenger=U64, increment=U64, since=U64, since_block=U32, min_blocks=U32
)
TYPES = {
    "Node": NODE,
    "TaskSpec": TASK_SPEC,
    "Commitment": COMMITMENT,
    "Opening": OPENING,
    "Move": MOVE,
    "Game": GAME,
    "Phase": PHASE,
    "Refusal": REFUSAL,
    "Clocks": CLOCKS,
}


# --- 7. Trees --------------------------------------------------------------------------------

IV = [
    0x6A09E667,
    0xBB67AE85,
    0x3C6EF372,
    0xA54FF53A,
    0x510E527F,
    0x9B05688C,
    0x1F83D9AB,
    0x5BE0CD19,
]
PERMUTED = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
COLUMNS_AND_DIAGONALS = [
    (0, 4, 8, 12),
    (1, 5, 9, 13),
    (2, 6, 10, 14),
    (3, 7, 11, 15),
    (0, 5, 10, 15),
    (1, 6, 11, 12),
    (2, 7, 8, 13),
    (3, 4, 9, 14),
]
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
CHUNK = 1024


def compress(cvs, blocks, counters, size, flags):
    """BLAKE3's compression of many blocks at once: cv, block and counter of each.

    A word of the state is one large integer that holds the word of every block in a lane of 64
    bits, of which the low 32 are used.
    """
    lanes = len(blocks)
    ones = sum(1 << 64 * i for i in range(lanes))
    mask = WORD * ones

    def lane_word(parts):
        return int.from_bytes(b"".join(part + bytes(4) for part in parts), "little")

    def word(data, i):
        return lane_word(item[4 * i : 4 * i + 4] for item in data)

    def number(values):
        return lane_word((value & WORD).to_bytes(4, "little") for value in values)

    def right(x, distance):
        return (x >> distance | x << 32 - distance) & mask

    v = [word(cvs, i) for i in range(8)] + [IV[i] * ones for i in range(4)]
    v += [number(counters), number(c >> 32 for c in counters), size * ones, flags * ones]
    m = [word(blocks, i) for i in range(16)]
    for _ in range(7):
        for k, (a, b, c, d) in enumerate(COLUMNS_AND_DIAGONALS):
            v[a] = v[a] + v[b] + m[2 * k] & mask
            v[d] = right(v[d] ^ v[a], 16)
            v[c] = v[c] + v[d] & mask
            v[b] = right(v[b] ^ v[c], 12)
            v[a] = v[a] + v[b] + m[2 * k + 1] & mask
            v[d] = right(v[d] ^ v[a], 8)
            v[c] = v[c] + v[d] & mask
            v[b] = right(v[b] ^ v[c], 7)
        m = [m[i] for i in PERMUTED]
    words = [(v[i] ^ v[i + 8]).to_bytes(8 * lanes, "little") for i in range(8)]
    return [b"".join(w[8 * k : 8 * k + 4] for w in words) for k in range(lanes)]


KEY = b"".join(word.to_bytes(4, "little") for word in IV)


def chunk_values(parts, first, root):
    """The values of chunks of equal length, the first of which has index `first`."""
    cvs = [KEY] * len(parts)
    counters = range(first, first + len(parts))
    starts = range(0, max(len(parts[0]), 1), 64)
    for start in starts:
        blocks = [part[start : start + 64] for part in parts]
        last = start == starts[-1]
        flags = CHUNK_START * (start == 0) | CHUNK_END * last | ROOT * (last and root)
        size = len(blocks[0])
        cvs = compress(cvs, [block.ljust(64, b"\0") for block in blocks], counters, size, flags)
    return cvs


def merged(left, right, root):
    return compress([KEY], [left + right], [0], 64, PARENT | ROOT * root)[0]


def chunks(length):
    return max(1, -(-length // CHUNK))


def whole(length):
    return 0, chunks(length)


def children(span):
    first, count = span
    left = 1 << (count - 1).bit_length() - 1
    return (first, left), (first + left, count - left)


def frontier(span, levels=6):
    if span[1] == 1 or levels == 0:
        return [span]
    return [s for child in children(span) for s in frontier(child, levels - 1)]


class Tree:
    """The values of all spans of a file."""

    def __init__(self, data):
        self.data = data
        full, rest = divmod(len(data), CHUNK)
        alone = chunks(len(data)) == 1
        self.leaves = []
        if full:
            parts = [data[i * CHUNK : (i + 1) * CHUNK] for i in range(full)]
            self.leaves += chunk_values(parts, 0, alone)
        if rest or not full:
            self.leaves += chunk_values([data[full * CHUNK :]], full, alone)
        self.known = {}

    def value(self, span):
        if span[1] == 1:
            return self.leaves[span[0]]
        if span not in self.known:
            left, right = children(span)
            root = span == whole(len(self.data))
            self.known[span] = merged(self.value(left), self.value(right), root)
        return self.known[span]

    def root(self):
        return self.value(whole(len(self.data)))

    def siblings(self, top, bottom):
        return [self.value(span) for span in beside(top, bottom)]

    def opening(self, chunk):
        path = self.siblings(whole(len(self.data)), (chunk, 1))
        return Record(chunk=self.data[chunk * CHUNK : (chunk + 1) * CHUNK], path=path)


def blake3(data):
    return Tree(data).root()


def beside(top, bottom):
    """The spans beside the way from `bottom` up to `top`."""
    spans = []
    while top != bottom:
        left, right = children(top)
        if bottom[0] < right[0]:
            top, other = left, right
        else:
            top, other = right, left
        spans.append(other)
    return spans[::-1]


def climb(length, top, bottom, value, siblings):
    """The value of `top` that follows; None when the number of siblings is wrong."""
    spans = beside(top, bottom)
    if len(spans) != len(siblings):
        return None
    for level, (span, sibling) in enumerate(zip(spans, siblings)):
        root = level == len(spans) - 1 and top == whole(length)
        pair = (sibling, value) if span[0] < bottom[0] else (value, sibling)
        value = merged(*pair, root)
    return value


def check_chunk(length, index, value, data):
    size = min(length, (index + 1) * CHUNK) - index * CHUNK
    return len(data) == size and chunk_values([data], index, chunks(length) == 1)[0] == value


def check_frontier(length, span, value, values):
    values = list(values)

    def up(s, levels):
        if s[1] == 1 or levels == 0:
            return values.pop(0)
        left, right = (up(child, levels - 1) for child in children(s))
        return merged(left, right, s == whole(length))

    return len(values) == len(frontier(span)) and up(span, 6) == value


def opened(length, root, opening, start, size):
    """The shown bytes; None when the opening is wrong."""
    chunk = start // CHUNK
    end = min(length, (chunk + 1) * CHUNK)
    if size < 1 or start + size > end or len(opening.chunk) != end - chunk * CHUNK:
        return None
    value = chunk_values([opening.chunk], chunk, chunks(length) == 1)[0]
    if climb(length, whole(length), (chunk, 1), value, opening.path) != root:
        return None
    return opening.chunk[start - chunk * CHUNK :][:size]


def opened_entry(count, root, opening, index):
    return opened(32 * count, root, opening, 32 * index, 32)


# --- 5. Randomness and batches ---------------------------------------------------------------


def philox(counter, key):
    (x0, x1, x2, x3), (k0, k1) = counter, key
    for _ in range(10):
        left, right = x0 * 0xD2511F53, x2 * 0xCD9E8D57
        x0, x1, x2, x3 = right >> 32 ^ x1 ^ k0, right & WORD, left >> 32 ^ x3 ^ k1, left & WORD
        k0, k1 = k0 + 0x9E3779B9 & WORD, k1 + 0xBB67AE85 & WORD
    return x0, x1, x2, x3


def stream(seed, domain, index):
    return philox((index & WORD, index >> 32, domain, 0), (seed & WORD, seed >> 32))


def pair(words):
    return words[0] | words[1] << 32, words[2] | words[3] << 32


class Permutation:
    def __init__(self, seed, epoch, records):
        self.records = records
        self.key = pair(stream(seed, 1 << 31, epoch))[0]
        self.round_keys = [
            h * records >> 64 for i in range(32) for h in pair(stream(self.key, (1 << 31) + 1, i))
        ]

    def at(self, x):
        for r, round_key in enumerate(self.round_keys):
            partner = (round_key - x) % self.records
            bits = pair(stream(self.key, (1 << 31) + 2, max(x, partner)))[0]
            if bits >> r & 1:
                x = partner
        return x


def record_of(seed, step, batch, row, records):
    position = step * batch + row
    return Permutation(seed, position // records, records).at(position % records)


# --- 4. Programs -----------------------------------------------------------------------------


def shape_of(node):
    kind, [inner] = node
    if kind == "Map":
        return inner.shape
    if kind == "Fold":
        return inner.body.shape
    if isinstance(inner, str):
        return [{"Step": 1, "Seed": 2}[inner]]
    name, source = inner
    return [source.batch, source.fields] if name == "Batch" else source.shape


def dtype_of(node):
    kind, [inner] = node
    if kind == "Map":
        return inner.dtype
    if kind == "Fold":
        return inner.body.dtype
    return "U32" if isinstance(inner, str) else inner[1].dtype


def elements_of(node):
    return math.prod(shape_of(node))


def bytes_of(node):
    return elements_of(node) * SIZES[dtype_of(node)]


def reduction_of(node):
    return math.prod(node[1][0].red) if node[0] == "Fold" else 1


def accesses_of(node):
    """Index words, reads, then a reading init."""
    kind, [inner] = node
    if kind == "Source":
        return []
    body = inner if kind == "Map" else inner.body
    reads = body.index + body.reads
    if kind == "Fold" and inner.init[0] == "Read":
        reads = reads + inner.init[1]
    return reads


def coordinates(index, shape, variables, first):
    for k in reversed(range(len(shape))):
        index, variables[first + k] = divmod(index, shape[k])


def value_of(form, variables):
    return form.constant + sum(term.coef * variables[term.var] for term in form.terms)


def read(number, access, variables, loader):
    offset = access.base
    for axis in access.axes:
        position = value_of(axis.form, variables)
        if not 0 <= position < axis.extent:
            return access.fill
        offset += axis.stride * position
    return loader(number, access, offset)


def run_body(body, variables, accumulator, guards, loader):
    """The stored bits of the result; the accumulator when a guard does not hold."""
    for k, access in enumerate(body.index):
        word = read(k, access, variables, loader)
        variables[12 + k] = word if access.dtype == "U32" else signed(word)
    if not all(g.lo <= value_of(g.form, variables) < g.hi for g in guards):
        return stored(body.dtype, accumulator)
    registers = []
    if accumulator is not None:
        registers.append(load(body.dtype, element(body.dtype, accumulator)))
    for k, access in enumerate(body.reads):
        registers.append(read(len(body.index) + k, access, variables, loader))
    registers += [value_of(form, variables) & WORD for form in body.values]
    registers += body.consts
    for name, operands in body.ops:
        registers.append(APPLY[name](*(registers[k] for k in operands)))
    return stored(body.dtype, registers[-1])


def map_element(body, index, loader):
    variables = [0] * 14
    coordinates(index, body.shape, variables, 0)
    return run_body(body, variables, None, [], loader)


def fold_start(fold, index, loader):
    kind, [init] = fold.init
    if kind == "Read":
        variables = [0] * 14
        coordinates(index, fold.body.shape, variables, 0)
        init = read(len(fold.body.index) + len(fold.body.reads), init, variables, loader)
    return stored(fold.body.dtype, init)


def fold_step(fold, index, r, accumulator, loader):
    variables = [0] * 14
    coordinates(index, fold.body.shape, variables, 0)
    coordinates(r, fold.red, variables, 8)
    return run_body(fold.body, variables, accumulator, fold.when, loader)


class Evaluator:
    """A program with all that it reads."""

    def __init__(self, nodes, slots, seed, datasets, constants):
        self.nodes, self.slots, self.seed = nodes, slots, seed
        self.datasets = datasets
        self.constants = {blake3(file): file for file in constants}

    def source(self, source, position, step, state):
        if source == "Step":
            return U32.encode(step)
        if source == "Seed":
            return U64.encode(self.seed)
        name, fields = source
        if name == "State":
            return state[position]
        if name == "Constant":
            return self.constants[fields.hash]
        file = self.datasets[fields.dataset]
        records = len(file) // fields.record_size
        size = fields.fields * SIZES[fields.dtype]
        rows = []
        for row in range(fields.batch):
            record = record_of(self.seed, step, fields.batch, row, records)
            rows.append(file[record * fields.record_size + fields.offset :][:size])
        return b"".join(rows)

    def run(self, step, state):
        """Every node's value, and the fold traces by node and element."""
        values, traces = [], {}

        def loader(_, access, offset):
            size = SIZES[access.dtype]
            return load(access.dtype, values[access.node][offset * size : (offset + 1) * size])

        for position, node in enumerate(self.nodes):
            kind, [inner] = node
            if kind == "Source":
                values.append(self.source(inner, position, step, state))
                continue
            words = []
            for index in range(elements_of(node)):
                if kind == "Map":
                    words.append(map_element(inner, index, loader))
                    continue
                accumulator = fold_start(inner, index, loader)
                trace = []
                for r in range(reduction_of(node)):
                    accumulator = fold_step(inner, index, r, accumulator, loader)
                    trace.append(element(inner.body.dtype, accumulator))
                traces[position, index] = b"".join(trace)
                words.append(accumulator)
            values.append(b"".join(element(dtype_of(node), word) for word in words))
        return values, traces


def list_file(items):
    return b"".join(blake3(item) for item in items)


# --- 6. Validity -----------------------------------------------------------------------------


class Fault(Exception):
    """The verdict on what is not valid."""


def require(holds, fault):
    if not holds:
        raise Fault(fault)


def check_shape(shape):
    require(1 <= len(shape) <= 8, "Dims")
    require(all(shape), "Dim")
    require(math.prod(shape) <= 1 << 38, "Elements")


def check_form(form, scope):
    total, last = abs(form.constant), -1
    for term in form.terms:
        require(term.var > last, "Order")
        require(term.var in scope, "Scope")
        require(term.coef != 0, "Coefficient")
        last = term.var
        total += abs(term.coef) * scope[term.var]
    require(total <= 1 << 62, "Magnitude")


def check_access(access, scope, position):
    require(access.node < position, "Later")
    require(1 <= access.len <= 1 << 38, "Len")
    require(len(access.axes) <= 6, "Axes")
    low = high = access.base
    require(0 <= low < access.len, "Offset")
    for axis in access.axes:
        check_form(axis.form, scope)
        require(axis.extent >= 1, "EmptyAxis")
        reach = (axis.extent - 1) * axis.stride
        low, high = low + min(reach, 0), high + max(reach, 0)
        require(0 <= low and high < access.len, "Offset")


def index_magnitude(access):
    if access.dtype in ("U32", "I32"):
        return {"U32": WORD, "I32": 1 << 31}[access.dtype]
    most = {"U16": 0xFFFF, "U8": 0xFF, "I8": 0x80}[access.dtype]
    return max(most, abs(signed(access.fill)))


def check_body(body, fold, position):
    check_shape(body.shape)
    if fold:
        require(1 <= len(fold.red) <= 4, "RedDims")
        require(all(fold.red), "RedDim")
        require(math.prod(fold.red) <= 1 << 24, "Reduction")
    reading_init = bool(fold) and fold.init[0] == "Read"
    guards = fold.when if fold else []
    filled = bool(fold) + len(body.reads) + len(body.values) + len(body.consts)
    require(len(body.index) <= 2, "Index")
    require(len(body.index) + len(body.reads) + reading_init <= 8, "Reads")
    require(len(guards) <= 4, "Guards")
    require(1 <= filled + len(body.ops) <= 255, "Registers")
    scope = {k: extent - 1 for k, extent in enumerate(body.shape)}
    if reading_init:
        check_access(fold.init[1][0], scope, position)
    if fold:
        scope |= {8 + k: extent - 1 for k, extent in enumerate(fold.red)}
    for access in body.index:
        check_access(access, scope, position)
    for k, access in enumerate(body.index):
        require(access.dtype != "F32", "FloatIndex")
        scope[12 + k] = index_magnitude(access)
    for access in body.reads:
        check_access(access, scope, position)
    for form in body.values:
        check_form(form, scope)
    for guard in guards:
        require(guard.lo < guard.hi, "EmptyGuard")
        check_form(guard.form, scope)
    for result, (_, operands) in enumerate(body.ops, filled):
        require(max(operands) < result, "Register")


def check_node(node, position):
    kind, [inner] = node
    if kind == "Map":
        check_body(inner, None, position)
    elif kind == "Fold":
        check_body(inner.body, inner, position)
    else:
        check_shape(shape_of(node))
        if inner[0] == "Batch":
            source, size = inner[1], SIZES[inner[1].dtype]
            require(source.record_size % size == 0 and source.offset % size == 0, "Alignment")
            require(source.offset + source.fields * size <= source.record_size, "Record")
    require(len(NODE.encode(node)) <= 2048, "Encoding")


def is_state(node):
    return node[0] == "Source" and node[1][0][0] == "State"


def check_program(slots, nodes):
    require(len(nodes) <= 1 << 14, "Nodes")
    require(1 <= slots <= len(nodes) // 2, "Slots")
    for position, node in enumerate(nodes):
        check_node(node, position)
        require(is_state(node) or position >= slots, "SlotWithoutState")
        require(not is_state(node) or position < slots, "StateBehindSlots")
        for access in accesses_of(node):
            other = nodes[access.node]
            same = (dtype_of(other), elements_of(other)) == (access.dtype, access.len)
            require(same, "Operand")
        size, time_needed = cost(node, len(nodes))
        require(size <= 49_152, "ProofBytes")
        require(time_needed <= 40_000_000_000, "ProofTime")
        slot = position - (len(nodes) - slots)
        if slot >= 0:
            was, now = nodes[slot], node
            same = (dtype_of(was), elements_of(was)) == (dtype_of(now), elements_of(now))
            require(same, "NextState")


def check_spec(spec):
    require(spec.nodes <= 1 << 14, "Nodes")
    require(1 <= spec.slots <= spec.nodes // 2, "Slots")
    require(min(spec.batch, spec.steps, spec.segment) >= 1, "Counts")
    require(spec.segment <= spec.steps, "Counts")
    require(len(spec.datasets) <= 4, "Datasets")
    for dataset in spec.datasets:
        require(1 <= dataset.records <= 1 << 40 and dataset.record_size >= 1, "Datasets")
        require(dataset.records * dataset.record_size <= 1 << 48, "Datasets")


def verdict(check, *arguments):
    try:
        check(*arguments)
    except Fault as fault:
        return str(fault)
    return "Valid"


def depth(length):
    return (chunks(length) - 1).bit_length()


def opening_cost(length):
    chunk = min(length, CHUNK)
    size = chunk + (1 if chunk < 64 else 2) + 1 + 32 * depth(length)
    return size, 120_000_000 + 12_000_000 * depth(length)


def cost(node, count):
    encoded = len(NODE.encode(node))
    trace = opening_cost(32 * count)
    parts = [
        (64 + encoded, 10_000_000_000 + 2_000_000 * encoded + 120_000_000 * chunks(encoded)),
        trace,
    ]
    for access in accesses_of(node):
        parts += [(1, 0), trace, opening_cost(access.len * SIZES[access.dtype])]
    kind, [inner] = node
    if kind == "Map":
        parts.append((0, 8_000_000 * len(inner.ops)))
    elif kind == "Fold":
        parts.append(opening_cost(reduction_of(node) * SIZES[inner.body.dtype]))
        parts.append((0, 8_000_000 * len(inner.body.ops)))
    elif inner[0] == "Batch":
        parts += [opening_cost(1 << 48), (0, 2_000_000_000)]
    else:
        parts.append(opening_cost(bytes_of(node)))
    return sum(size for size, _ in parts), sum(needed for _, needed in parts)


# --- 9. The dispute game ---------------------------------------------------------------------


class Refused(Exception):
    """A move that changes nothing; carries the refusal."""


def refuse_unless(holds, refusal):
    if not holds:
        raise Refused(refusal)


def span_record(span):
    return Record(first=span[0], count=span[1])


def word_of(data):
    return int.from_bytes(data, "little")


class Game:
    def __init__(self, spec, commitment):
        segments = -(-spec.steps // spec.segment)
        frame = Record(
            program=spec.program,
            nodes=spec.nodes,
            slots=spec.slots,
            batch=spec.batch,
            steps=spec.steps,
            segment=spec.segment,
            seed=spec.seed,
            datasets=blake3(Listed(DATASET).encode(spec.datasets)),
        )
        nothing = bytes(32)
        self.at = Record(
            frame=frame,
            position=0,
            phase="Reveal",
            search=None,
            segment=0,
            step=0,
            before=spec.genesis,
            after=commitment.state,
            trace=nothing,
            node=0,
            node_value=nothing,
            node_code=nothing,
            reduction=0,
            element=0,
            r=0,
            acc=0,
            claim=0,
        )
        self.search("Checkpoints", 32 * segments, 32, commitment.trace)
        if segments == 1:
            self.checkpoint_found()

    def copy(self):
        other = object.__new__(Game)
        other.at = self.at.copy(search=self.at.search.copy())
        return other

    def encode(self):
        return GAME.encode(self.at)

    def turn(self):
        if self.at.phase in ("Select", "Choose"):
            return "Challenger"
        return "Defender" if isinstance(self.at.phase, str) else None

    def play(self, side, move):
        """Makes a move, or raises what it is refused with."""
        refuse_unless(self.turn(), "Over")
        refuse_unless(self.turn() == side, "NotYourTurn")
        name, fields = (move, None) if isinstance(move, str) else move
        phases = {
            "SelectSubtree": "Select",
            "SelectEntry": "Select",
            "DisputeNodes": "Choose",
            "DisputeState": "Choose",
            "ProveRecord": "Prove",
        }
        refuse_unless(self.at.phase == phases.get(name, name), "WrongMove")
        after = self.copy()
        rule = getattr(after, re.sub("(?<!^)(?=[A-Z])", "_", name).lower())
        if fields is None:
            rule()
        else:
            rule(*(vars(fields).values() if isinstance(fields, Record) else fields))
        after.at.position += 1
        self.at = after.at

    def time_out(self):
        self.over("Challenger" if self.turn() == "Defender" else "Defender", "Timeout")

    def over(self, winner, reason):
        self.at.phase = ("Over", [Record(winner=winner, reason=reason)])

    def judge(self, claimed, found):
        if claimed == found:
            self.over("Defender", "Proven")
        else:
            self.over("Challenger", ("Disproven", Record(found=word_of(found[:4]))))

    def search(self, file, length, width, root):
        self.at.search = Record(
            file=file,
            len=length,
            width=width,
            root=root,
            span=span_record(whole(length)),
            value=root,
            entry=0,
            owes_left=False,
        )
        self.at.phase = "Reveal"

    def checkpoint_found(self):
        self.at.step = self.at.segment * self.at.frame.segment
        self.at.phase = "OpenNodes" if self.segment_steps() == 1 else "OpenSteps"

    def segment_steps(self):
        frame = self.at.frame
        return min(frame.segment, frame.steps - self.at.segment * frame.segment)

    def span(self):
        return self.at.search.span.first, self.at.search.span.count

    def reveal(self, data):
        search, span = self.at.search, self.span()
        if span[1] == 1:
            right = check_chunk(search.len, span[0], search.value, data)
        else:
            values = [data[i : i + 32] for i in range(0, len(data), 32)]
            right = len(data) % 32 == 0
            right = right and check_frontier(search.len, span, search.value, values)
        refuse_unless(right, "WrongBytes")
        self.at.phase = "Select"

    def select_subtree(self, index, value, siblings):
        search, span = self.at.search, self.span()
        refuse_unless(span[1] > 1, "WrongMove")
        spans = frontier(span)
        refuse_unless(index < len(spans), "NoSuchEntry")
        top = climb(search.len, span, spans[index], value, siblings)
        refuse_unless(top == search.value, "WrongBytes")
        search.span = span_record(spans[index])
        search.value = value
        self.at.phase = "Reveal"

    def select_entry(self, index, chunk):
        at, search, span = self.at, self.at.search, self.span()
        right = span[1] == 1 and check_chunk(search.len, span[0], search.value, chunk)
        refuse_unless(right, "WrongBytes")
        width = search.width
        refuse_unless((index + 1) * width <= len(chunk), "NoSuchEntry")
        search.entry = span[0] * CHUNK // width + index
        entry = chunk[index * width : (index + 1) * width]
        left = chunk[(index - 1) * width : index * width] if index else None
        owed = search.file in ("Checkpoints", "Steps", "Fold")
        search.owes_left = owed and left is None and search.entry > 0
        if search.file == "Checkpoints":
            at.segment, at.after = search.entry, entry
            at.before = left or at.before
            self.checkpoint_found()
        elif search.file == "Steps":
            at.step, at.after = at.step + search.entry, entry
            at.before = left or at.before
            at.phase = "OpenNodes"
        elif search.file in ("Nodes", "State"):
            at.node, at.node_value = search.entry, entry
            at.phase = "OpenNode" if search.file == "Nodes" else "ShowSlot"
        elif search.file == "Tensor":
            at.element, at.claim = search.entry, word_of(entry)
            at.phase = "Prove" if at.reduction < 2 else "OpenFold"
        else:
            at.r, at.claim = search.entry, word_of(entry)
            at.acc = word_of(left) if left else at.acc
            at.phase = "Prove"

    def take_left(self, left):
        search = self.at.search
        refuse_unless((left is not None) == search.owes_left, "WrongLeft")
        if left is None:
            return
        start = (search.entry - 1) * search.width
        entry = opened(search.len, search.root, left, start, search.width)
        refuse_unless(entry is not None, "WrongLeft")
        if search.file == "Fold":
            self.at.acc = word_of(entry)
        else:
            self.at.before = entry
        search.owes_left = False

    def open_steps(self, left, root, last):
        steps = self.segment_steps()
        refuse_unless(opened_entry(steps, root, last, steps - 1) == self.at.after, "WrongLast")
        self.take_left(left)
        self.search("Steps", 32 * steps, 32, root)

    def open_nodes(self, left, root):
        self.take_left(left)
        self.at.trace, self.at.phase = root, "Choose"

    def dispute_nodes(self):
        self.search("Nodes", 32 * self.at.frame.nodes, 32, self.at.trace)

    def dispute_state(self):
        self.search("State", 32 * self.at.frame.slots, 32, self.at.after)

    def open_node(self, data, program, slot):
        at, frame = self.at, self.at.frame
        code = blake3(data)
        refuse_unless(opened_entry(frame.nodes, frame.program, program, at.node) == code, "WrongNode")
        try:
            node = decode_canonical(NODE, data)
            check_node(node, at.node)
            require(is_state(node) == (at.node < frame.slots), "State")
        except (Garbled, Fault):
            self.over("Challenger", "MalformedNode")
            return
        if is_state(node):
            refuse_unless(slot is not None, "WrongOpening")
            found = opened_entry(frame.slots, at.before, slot, at.node)
            refuse_unless(found is not None, "WrongOpening")
            self.judge(at.node_value, found)
            return
        refuse_unless(slot is None, "WrongOpening")
        kind, [inner] = node
        if inner == "Step":
            self.judge(at.node_value, blake3(U32.encode(at.step)))
        elif inner == "Seed":
            self.judge(at.node_value, blake3(U64.encode(frame.seed)))
        elif kind == "Source" and inner[0] == "Constant":
            self.judge(at.node_value, inner[1].hash)
        else:
            at.reduction = reduction_of(node) if kind == "Fold" else 0
            self.search("Tensor", bytes_of(node), SIZES[dtype_of(node)], at.node_value)
        at.node_code = code

    def show_slot(self, opening):
        at, frame = self.at, self.at.frame
        entry = frame.nodes - frame.slots + at.node
        found = opened_entry(frame.nodes, at.trace, opening, entry)
        refuse_unless(found is not None, "WrongOpening")
        self.judge(at.node_value, found)

    def open_fold(self, root, last):
        width = self.at.search.width
        length = self.at.reduction * width
        end = opened(length, root, last, length - width, width)
        refuse_unless(end is not None and word_of(end) == self.at.claim, "WrongLast")
        self.search("Fold", length, width, root)

    def same_node(self, data):
        refuse_unless(blake3(data) == self.at.node_code, "WrongNode")
        return decode_canonical(NODE, data)

    def prove(self, left, data, operands):
        at = self.at
        kind, [inner] = self.same_node(data)
        refuse_unless(kind != "Source", "WrongMove")
        self.take_left(left)

        def loader(number, access, offset):
            operand = operands[number] if number < len(operands) else None
            refuse_unless(operand is not None, ("Operand", [("Absent", [number])]))
            wrong = ("Operand", [("Opening", [number])])
            tensor = opened_entry(at.frame.nodes, at.trace, operand.tensor, access.node)
            refuse_unless(tensor is not None, wrong)
            size = SIZES[access.dtype]
            length = access.len * size
            data = opened(length, tensor, operand.element, offset * size, size)
            refuse_unless(data is not None, wrong)
            return load(access.dtype, data)

        if kind == "Map":
            found = map_element(inner, at.element, loader)
        else:
            before = at.acc if at.r else fold_start(inner, at.element, loader)
            found = fold_step(inner, at.element, at.r, before, loader)
        self.judge(U32.encode(at.claim), U32.encode(found))

    def prove_record(self, data, datasets, record):
        at, frame = self.at, self.at.frame
        kind, [inner] = self.same_node(data)
        refuse_unless(kind == "Source", "WrongMove")
        wrong = ("Operand", ["Record"])
        refuse_unless(blake3(Listed(DATASET).encode(datasets)) == frame.datasets, wrong)
        source = inner[1]
        known = source.dataset < len(datasets)
        dataset = datasets[source.dataset] if known else None
        if not known or (source.batch, source.record_size) != (frame.batch, dataset.record_size):
            self.over("Challenger", "MalformedNode")
            return
        row, column = divmod(at.element, source.fields)
        size = SIZES[source.dtype]
        number = record_of(frame.seed, at.step, frame.batch, row, dataset.records)
        start = number * source.record_size + source.offset + column * size
        length = dataset.records * dataset.record_size
        found = opened(length, dataset.root, record, start, size)
        refuse_unless(found is not None, wrong)
        self.judge(U32.encode(at.claim), U32.encode(word_of(found)))


# --- 10. Clocks ------------------------------------------------------------------------------


def expired(clocks, turn, now, block):
    left = getattr(clocks, turn.lower())
    late = max(now - clocks.since, 0) > left
    return late and max(block - clocks.since_block, 0) > clocks.min_blocks


def moved(clocks, turn, now, block):
    side = turn.lower()
    left = max(getattr(clocks, side) - max(now - clocks.since, 0), 0) + clocks.increment
    return clocks.copy(since=now, since_block=block, **{side: min(left, (1 << 64) - 1)})


# --- 13. Test vectors ------------------------------------------------------------------------

CHECKED = 0


def expect(found, wanted, *where):
    global CHECKED
    CHECKED += 1
    if found != wanted:
        place = ", ".join(str(part) for part in where)
        sys.exit(f"FAILED: {place}\n  here:    {found}\n  vectors: {wanted}")


def words(text):
    return [int(word, 16) for word in text.split()]


def operations(vectors):
    expect(sorted(vectors["operations"]), sorted(APPLY), "the operations")
    for name, cases in vectors["operations"].items():
        for case in cases:
            *operands, result = words(case)
            expect(f"{APPLY[name](*operands):08x}", f"{result:08x}", name, case)
    for case in vectors["elements"]:
        dtype, data = case["dtype"], bytes.fromhex(case["bytes"])
        expect(f"{load(dtype, data):08x}", case["loaded"], case)
        expect(element(dtype, int(case["register"], 16)).hex(), case["stored"], case)


def encoding(vectors):
    for name, ty in ("compact", Compact(64)), ("int", INT):
        for case in vectors[name]:
            data = bytes.fromhex(case["hex"])
            expect(ty.encode(case["value"]).hex(), case["hex"], case)
            expect(decode_canonical(ty, data), case["value"], case)
    for case in vectors["values"]:
        ty, data = TYPES[case["type"]], bytes.fromhex(case["hex"])
        expect(ty.plain(decode_canonical(ty, data)), case["value"], case["hex"])
        expect(blake3(data).hex(), case["blake3"], case["hex"])
    for program in vectors["programs"]:
        file = list_file(bytes.fromhex(node) for node in program["nodes"])
        expect(blake3(file).hex(), program["file_hash"], program["name"])
    for case in vectors["not_canonical"]:
        try:
            found = decode_canonical(NODE, bytes.fromhex(case["hex"]))
        except Garbled:
            found = None
        expect(found, None, case["why"])


def node_verdict(data, position):
    try:
        node = decode_canonical(NODE, data)
    except Garbled:
        return "NotCanonical"
    return verdict(check_node, node, position)


def validity(vectors, programs):
    for case in vectors["nodes"]:
        found = node_verdict(bytes.fromhex(case["node"]), case["position"])
        expect(found, case["verdict"], case)
    for case in vectors["programs"]:
        nodes = [decode_canonical(NODE, bytes.fromhex(node)) for node in case["nodes"]]
        expect(verdict(check_program, case["slots"], nodes), case["verdict"], case["about"])
    for case in vectors["specs"]:
        spec = decode(TASK_SPEC, bytes.fromhex(case["spec"]))
        expect(verdict(check_spec, spec), case["verdict"], case)
    for case in vectors["costs"]:
        nodes = programs[case["program"]]
        found = [list(cost(node, len(nodes))) for node in nodes]
        expect(found, case["bytes_and_time"], case["program"])


def randomness(vectors):
    for case in vectors["blocks"]:
        counter, key = (words(" ".join(case[name])) for name in ("counter", "key"))
        expect([f"{w:08x}" for w in philox(counter, key)], case["words"], case)
    for case in vectors["streams"]:
        found = stream(case["seed"], case["domain"], case["index"])
        expect([f"{w:08x}" for w in found], case["words"], case)


def permutations(vectors):
    for case in vectors["whole"]:
        permutation = Permutation(case["seed"], case["epoch"], case["records"])
        expect([permutation.at(i) for i in range(case["records"])], case["order"], case)
    for case in vectors["places"]:
        permutation = Permutation(case["seed"], case["epoch"], case["records"])
        expect(permutation.at(case["index"]), case["record"], case)
    for case in vectors["rows"]:
        found = record_of(*(case[k] for k in ("seed", "step", "batch", "row", "records")))
        expect(found, case["record"], case)


def pattern(length):
    return (bytes(range(251)) * (length // 251 + 1))[:length]


def trees(vectors):
    for case in vectors:
        length = case["length"]
        tree = Tree(pattern(length))
        expect(tree.root().hex(), case["root"], "root", length)
        expect(chunks(length), case["chunks"], "chunks", length)
        expect(depth(length), case["depth"], "depth", length)
        expect(opening_cost(length)[0], case["opening_bytes"], "opening bytes", length)
        for descent in case["descents"]:
            span = descent["first"], descent["count"]
            value = bytes.fromhex(descent["value"])
            spans = frontier(span)
            values = [tree.value(s) for s in spans]
            expect(tree.value(span), value, "value", length, span)
            expect([list(s) for s in spans], descent["spans"], "frontier", length, span)
            expect(blake3(b"".join(values)).hex(), descent["reveal_hash"], "reveal", length, span)
            expect(span[1] == 1 or check_frontier(length, span, value, values), True, length, span)
            for child in descent["children"]:
                bottom = spans[child["index"]]
                siblings = tree.siblings(span, bottom)
                expect([s.hex() for s in siblings], child["siblings"], length, span, bottom)
                expect(tree.value(bottom).hex(), child["value"], length, span, bottom)
                top = climb(length, span, bottom, tree.value(bottom), siblings)
                expect(top, value, "way up", length, span, bottom)
        for case_opening in case["openings"]:
            chunk = case_opening["chunk"]
            opening = tree.opening(chunk)
            expect([v.hex() for v in opening.path], case_opening["path"], length, chunk)
            encoded = OPENING.encode(opening)
            expect(len(encoded), case_opening["encoding_bytes"], length, chunk)
            expect(blake3(encoded).hex(), case_opening["encoding_hash"], length, chunk)
            if length:
                start = chunk * CHUNK
                shown = opened(length, tree.root(), opening, start, 1)
                expect(shown, tree.data[start : start + 1], "opened", length, chunk)


def shown(value, data, *where):
    expect(blake3(data).hex(), value["blake3"], *where)
    if "hex" in value:
        expect(data.hex(), value["hex"], *where)


def evaluations(vectors):
    """Checks every value; returns an evaluator and the first state of each program."""
    evaluators = {}
    for case in vectors:
        nodes = [decode_canonical(NODE, bytes.fromhex(node)) for node in case["nodes"]]
        expect(verdict(check_program, case["slots"], nodes), "Valid", case["name"])
        evaluator = Evaluator(
            nodes,
            case["slots"],
            case["seed"],
            [bytes.fromhex(dataset["file"]) for dataset in case["datasets"]],
            [bytes.fromhex(constant) for constant in case["constants"]],
        )
        state = [
            bytes.fromhex(tensor["hex"]) if "hex" in tensor else pattern(tensor["length"])
            for tensor in case["genesis"]
        ]
        evaluators[case["name"]] = evaluator, state
        for step in case["steps"]:
            values, traces = evaluator.run(step["step"], state)
            for n, (wanted, found) in enumerate(zip(step["values"], values)):
                shown(wanted, found, case["name"], "step", step["step"], "node", n)
            expect(len(values), len(step["values"]), case["name"])
            expect(len(traces), len(step["traces"]), case["name"])
            for trace in step["traces"]:
                place = trace["node"], trace["element"]
                shown(trace["trace"], traces[place], case["name"], step["step"], *place)
            state = values[len(nodes) - case["slots"] :]
    return evaluators


def honest_commitment(evaluator, state, spec):
    hashes = []
    for step in range(spec.steps):
        values, _ = evaluator.run(step, state)
        state = values[len(evaluator.nodes) - evaluator.slots :]
        if (step + 1) % spec.segment == 0 or step + 1 == spec.steps:
            hashes.append(blake3(list_file(state)))
    return Record(trace=blake3(b"".join(hashes)), state=hashes[-1])


def games(vectors, evaluators):
    for task in vectors["tasks"]:
        data = bytes.fromhex(task["spec"])
        spec = decode_canonical(TASK_SPEC, data)
        expect(blake3(data).hex(), task["spec_hash"], task["name"])
        expect(verdict(check_spec, spec), "Valid", task["name"])
        evaluator, state = evaluators[task["program"]]
        file = list_file(NODE.encode(node) for node in evaluator.nodes)
        expect(blake3(file), spec.program, task["name"], "program")
        expect(list_file(state).hex(), task["genesis"], task["name"], "genesis")
        expect(blake3(list_file(state)), spec.genesis, task["name"], "genesis")
        # The longer tasks repeat, at Python's pace, what the evaluations have shown.
        if spec.steps <= 5 and elements_of(evaluator.nodes[0]) < 1000:
            found = honest_commitment(evaluator, state, spec)
            expect(COMMITMENT.encode(found).hex(), task["honest_commitment"], task["name"])
    for case in vectors["games"]:
        spec = decode_canonical(TASK_SPEC, bytes.fromhex(case["spec"]))
        game = Game(spec, decode_canonical(COMMITMENT, bytes.fromhex(case["commitment"])))
        about = case["about"]
        expect(game.encode().hex(), case["start"], about, "start")
        for number, ply in enumerate(case["plies"]):
            for wrong in ply.get("refused_before", []):
                move = decode_canonical(MOVE, bytes.fromhex(wrong["move"]))
                before = game.encode()
                try:
                    game.play(wrong["side"], move)
                    refusal = None
                except Refused as refused:
                    refusal = REFUSAL.plain(refused.args[0])
                expect(refusal, wrong["refusal"], about, number, wrong["move"])
                expect(game.encode(), before, about, number, "a refused move changes nothing")
            if ply["move"] is None:
                game.time_out()
            else:
                try:
                    game.play(ply["side"], decode_canonical(MOVE, bytes.fromhex(ply["move"])))
                except Refused as refused:
                    expect(f"refused: {refused.args[0]}", "played", about, number)
            expect(game.encode().hex(), ply["position"], about, number)
        expect(game.turn(), None, about, "the game is over")
    clocks = decode_canonical(CLOCKS, bytes.fromhex(vectors["clocks"]["start"]))
    for turn in vectors["clocks"]["turns"]:
        for now, block, wanted in turn["now_block_expired"]:
            expect(expired(clocks, turn["turn"], now, block), wanted, "clock", turn)
        clocks = moved(clocks, turn["turn"], *turn["moved_at"])
        expect(CLOCKS.encode(clocks).hex(), turn["after"], "clock", turn)


def selectors(text):
    """The selectors that the description of the contracts lists."""
    for selector, name in re.findall(r"\| `([0-9a-f]{8})` \| `(\w+)` ?\|", text):
        found = hashlib.blake2b(name.encode(), digest_size=32).hexdigest()[:8]
        expect(found, selector, "selector of", name)


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root / "protocol/vectors"

    def vectors(name):
        return json.loads((folder / f"{name}.json").read_text())

    encodings = vectors("encoding")
    programs = {
        program["name"]: [decode_canonical(NODE, bytes.fromhex(node)) for node in program["nodes"]]
        for program in encodings["programs"]
    }
    evaluators = {}
    parts = {
        "operations": lambda: operations(vectors("operations")),
        "encoding": lambda: encoding(encodings),
        "validity": lambda: validity(vectors("validity"), programs),
        "philox": lambda: randomness(vectors("philox")),
        "permutation": lambda: permutations(vectors("permutation")),
        "tree": lambda: trees(vectors("tree")),
        "eval": lambda: evaluators.update(evaluations(vectors("eval"))),
        "game": lambda: games(vectors("game"), evaluators),
        "selectors": lambda: selectors((root / "docs/specification/contracts.md").read_text()),
    }
    for name, part in parts.items():
        before, start = CHECKED, time.monotonic()
        part()
        print(f"{name:12} {CHECKED - before:7} checks {time.monotonic() - start:7.1f} s")
    print(f"OK: {CHECKED} checks, all as docs/specification.md says")


if __name__ == "__main__":
    main()

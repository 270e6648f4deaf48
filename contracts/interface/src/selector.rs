//! Selectors of messages, computed at compile time.

/// The four bytes that begin a call of the message `name`: the first of the BLAKE2b-256 hash of
/// the name, as ink! derives them.
///
/// # Panics
/// When the name is longer than one block of the hash, 128 bytes.
pub const fn selector(name: &str) -> [u8; 4] {
    let first = blake2b_256_head(name.as_bytes()).to_le_bytes();
    [first[0], first[1], first[2], first[3]]
}

const IV: [u64; 8] = [
    0x6a09e667f3bcc908,
    0xbb67ae8584caa73b,
    0x3c6ef372fe94f82b,
    0xa54ff53a5f1d36f1,
    0x510e527fade682d1,
    0x9b05688c2b3e6c1f,
    0x1f83d9abfb41bd6b,
    0x5be0cd19137e2179,
];

const SIGMA: [[usize; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];

/// The first word of the BLAKE2b hash (RFC 7693) of one block with 32 bytes of output, no key.
const fn blake2b_256_head(input: &[u8]) -> u64 {
    assert!(input.len() <= 128, "a message's name fits one block");
    let mut m = [0u64; 16];
    let mut i = 0;
    while i < input.len() {
        m[i / 8] |= (input[i] as u64) << (8 * (i % 8));
        i += 1;
    }

    let parameters = 0x0101_0020;
    let h0 = IV[0] ^ parameters;
    let mut v = [
        h0, IV[1], IV[2], IV[3], IV[4], IV[5], IV[6], IV[7], IV[0], IV[1], IV[2], IV[3], IV[4],
        IV[5], IV[6], IV[7],
    ];
    v[12] ^= input.len() as u64;
    v[14] = !v[14];

    let mut round = 0;
    while round < 12 {
        let s = &SIGMA[round % 10];
        v = mix(v, [0, 4, 8, 12], m[s[0]], m[s[1]]);
        v = mix(v, [1, 5, 9, 13], m[s[2]], m[s[3]]);
        v = mix(v, [2, 6, 10, 14], m[s[4]], m[s[5]]);
        v = mix(v, [3, 7, 11, 15], m[s[6]], m[s[7]]);
        v = mix(v, [0, 5, 10, 15], m[s[8]], m[s[9]]);
        v = mix(v, [1, 6, 11, 12], m[s[10]], m[s[11]]);
        v = mix(v, [2, 7, 8, 13], m[s[12]], m[s[13]]);
        v = mix(v, [3, 4, 9, 14], m[s[14]], m[s[15]]);
        round += 1;
    }
    h0 ^ v[0] ^ v[8]
}

const fn mix(mut v: [u64; 16], [a, b, c, d]: [usize; 4], x: u64, y: u64) -> [u64; 16] {
    v[a] = v[a].wrapping_add(v[b]).wrapping_add(x);
    v[d] = (v[d] ^ v[a]).rotate_right(32);
    v[c] = v[c].wrapping_add(v[d]);
    v[b] = (v[b] ^ v[c]).rotate_right(24);
    v[a] = v[a].wrapping_add(v[b]).wrapping_add(y);
    v[d] = (v[d] ^ v[a]).rotate_right(16);
    v[c] = v[c].wrapping_add(v[d]);
    v[b] = (v[b] ^ v[c]).rotate_right(63);
    v
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_those_that_ink_publishes() {
        // From the metadata of ink!'s flipper example.
        assert_eq!(selector("flip"), [0x63, 0x3a, 0xa5, 0x51]);
        assert_eq!(selector("get"), [0x2f, 0x86, 0x5b, 0xd9]);
        assert_eq!(selector("new"), [0x9b, 0xae, 0x9d, 0x5e]);
    }
}

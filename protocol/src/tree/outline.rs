//! The prover's side: values of subtrees from a file's bytes.

use super::{beside, chunks, frontier, parent, Opening, Span, CHUNK, LEVELS};
use crate::Hash;
use alloc::vec::Vec;
use blake3::hazmat::HasherExt;

/// The hash of a file.
pub fn hash(bytes: &[u8]) -> Hash {
    *blake3::hash(bytes).as_bytes()
}

/// The value of `span` in a file of `len` bytes, where `bytes` are the bytes of `span`.
///
/// # Panics
/// When `bytes` have not the length of the span.
pub fn subtree(bytes: &[u8], len: u64, span: Span) -> Hash {
    let range = span.byte_range(len);
    assert_eq!(bytes.len() as u64, range.end - range.start);
    if span.is_whole(len) {
        return hash(bytes);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(range.start).update(bytes);
    hasher.finalize_non_root()
}

/// The opening of the chunk that holds byte `start` of the file `bytes`. An empty file opens at 0.
///
/// # Panics
/// When the file has no such chunk.
pub fn prove_open(bytes: &[u8], start: u64) -> Opening {
    opening(bytes, start, |span| of_file(bytes, span))
}

/// The values of the [`frontier`] of `span` in the file `bytes`.
///
/// # Panics
/// When `span` is no subtree of the file.
pub fn prove_frontier(bytes: &[u8], span: Span) -> Vec<Hash> {
    let spans = frontier(span).into_iter();
    spans.map(|span| of_file(bytes, span)).collect()
}

/// The siblings that prove entry `index` of the [`frontier`] of `span` in the file `bytes`,
/// nearest first.
///
/// # Panics
/// When `span` is no subtree of the file or its frontier has no such entry.
pub fn prove_child(bytes: &[u8], span: Span, index: u32) -> Vec<Hash> {
    siblings(span, frontier(span)[index as usize], |span| {
        of_file(bytes, span)
    })
}

/// The siblings that prove entry `index` of the [`frontier`] of `span`, from the values of that
/// frontier, nearest first.
///
/// # Panics
/// When the frontier has no such entry or another number of values.
pub fn frontier_siblings(span: Span, values: &[Hash], index: u32) -> Vec<Hash> {
    fn merged(span: Span, entries: &[(Span, Hash)]) -> Hash {
        match entries.iter().find(|(entry, _)| *entry == span) {
            Some((_, value)) => *value,
            None => {
                let (left, right) = span
                    .children()
                    .expect("a chunk is an entry of its frontier");
                parent(&merged(left, entries), &merged(right, entries), false)
            }
        }
    }
    let spans = frontier(span);
    assert_eq!(spans.len(), values.len(), "one value for each entry");
    let entries: Vec<_> = spans.iter().copied().zip(values.iter().copied()).collect();
    siblings(span, spans[index as usize], |beside| {
        merged(beside, &entries)
    })
}

/// The values of a file's larger subtrees, 64 bytes for each [`Outline::BLOCK`] of the file, so
/// that any subtree or opening costs the hashing of a few blocks and not of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    len: u64,
    /// `levels[k][i]` is the value of the chunks of blocks `i << k .. (i + 1) << k`, as far as the
    /// file has them. The last level is the root alone.
    levels: Vec<Vec<Hash>>,
}

impl Outline {
    /// Bytes of the smallest subtrees whose values are kept.
    pub const BLOCK: u64 = CHUNK << LEVELS;

    /// The outline of the file `bytes`, in one pass.
    pub fn new(bytes: &[u8]) -> Outline {
        let len = bytes.len() as u64;
        let blocks = (0..Self::blocks(len))
            .map(|i| of_file(bytes, Self::block(len, i)))
            .collect();
        Self::from_blocks(len, blocks)
    }

    /// Blocks of a file of `len` bytes.
    pub fn blocks(len: u64) -> u64 {
        len.div_ceil(Self::BLOCK).max(1)
    }

    /// The subtree of block `index` of a file of `len` bytes. With [`subtree`] and
    /// [`Outline::from_blocks`] the blocks of a file can be hashed in any order, by any number of
    /// threads.
    pub fn block(len: u64, index: u64) -> Span {
        let first = index << LEVELS;
        Span {
            first,
            count: (chunks(len) - first).min(1 << LEVELS),
        }
    }

    /// The outline of a file of `len` bytes, from the values of all its blocks in order.
    ///
    /// # Panics
    /// When their number is not that of the file's blocks.
    pub fn from_blocks(len: u64, blocks: Vec<Hash>) -> Outline {
        assert_eq!(blocks.len() as u64, Self::blocks(len));
        let mut levels = Vec::new();
        let mut level = blocks;
        while level.len() > 1 {
            let root = level.len() == 2;
            let above = level.chunks(2).map(|pair| match pair {
                [left, right] => parent(left, right, root),
                odd => odd[0],
            });
            let above = above.collect();
            levels.push(core::mem::replace(&mut level, above));
        }
        levels.push(level);
        Outline { len, levels }
    }

    /// Bytes of the file.
    #[allow(clippy::len_without_is_empty)] // An empty file is a file like any other.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The hash of the file.
    pub fn root(&self) -> Hash {
        self.levels[self.levels.len() - 1][0]
    }

    /// As [`subtree`], where `bytes` are the whole file.
    ///
    /// # Panics
    /// When `span` is no subtree of the file or `bytes` have not the file's length.
    pub fn subtree(&self, bytes: &[u8], span: Span) -> Hash {
        assert_eq!(bytes.len() as u64, self.len);
        if span.is_whole(self.len) {
            return self.root();
        }
        let height = span.count.next_power_of_two().ilog2();
        match height.checked_sub(LEVELS) {
            Some(level) => self.levels[level as usize][(span.first >> height) as usize],
            None => of_file(bytes, span),
        }
    }

    /// As [`prove_open`].
    ///
    /// # Panics
    /// When the file has no such chunk or `bytes` have not the file's length.
    pub fn open(&self, bytes: &[u8], start: u64) -> Opening {
        opening(bytes, start, |span| self.subtree(bytes, span))
    }

    /// As [`prove_frontier`].
    ///
    /// # Panics
    /// When `span` is no subtree of the file or `bytes` have not the file's length.
    pub fn frontier(&self, bytes: &[u8], span: Span) -> Vec<Hash> {
        let spans = frontier(span).into_iter();
        spans.map(|span| self.subtree(bytes, span)).collect()
    }

    /// As [`prove_child`].
    ///
    /// # Panics
    /// When `span` is no subtree of the file, its frontier has no such entry or `bytes` have not
    /// the file's length.
    pub fn child(&self, bytes: &[u8], span: Span, index: u32) -> Vec<Hash> {
        siblings(span, frontier(span)[index as usize], |span| {
            self.subtree(bytes, span)
        })
    }
}

fn of_file(bytes: &[u8], span: Span) -> Hash {
    let len = bytes.len() as u64;
    subtree(in_file(bytes, span), len, span)
}

fn in_file(bytes: &[u8], span: Span) -> &[u8] {
    let range = span.byte_range(bytes.len() as u64);
    &bytes[range.start as usize..range.end as usize]
}

fn opening(bytes: &[u8], start: u64, value: impl Fn(Span) -> Hash) -> Opening {
    let chunk = Span::chunk(start / CHUNK);
    Opening {
        chunk: in_file(bytes, chunk).to_vec(),
        path: siblings(Span::whole(bytes.len() as u64), chunk, value),
    }
}

fn siblings(top: Span, bottom: Span, value: impl Fn(Span) -> Hash) -> Vec<Hash> {
    let spans = beside(top, bottom).expect("the caller names a subtree of the file");
    spans.into_iter().map(value).collect()
}

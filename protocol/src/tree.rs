//! BLAKE3 trees of files: what the root of a file says about the parts of the file.
//!
//! BLAKE3 hashes a file as a binary tree over chunks of 1 KiB. The shape of the tree follows from
//! the file's length alone (section 2.1 of the BLAKE3 paper): a left subtree is complete and as
//! large as it can be. The value of a subtree is its *chaining value*; the value of the whole file
//! is its hash, whose last compression carries the ROOT flag. A chunk is hashed with its index in
//! the file, so equal chunks at different places have different values.
//!
//! Every function takes the file's length from its caller, who has it from the task and never
//! from a player.

mod outline;

pub use outline::{
    frontier_siblings, hash, prove_child, prove_frontier, prove_open, subtree, Outline,
};

use crate::Hash;
use alloc::vec::Vec;
use blake3::hazmat::{merge_subtrees_non_root, merge_subtrees_root, HasherExt, Mode};
use core::ops::Range;
use scale::{Decode, Encode};
use scale_info::TypeInfo;

/// Bytes of a chunk, the leaf of the tree.
pub const CHUNK: u64 = 1024;

/// Levels of the tree that one reveal descends, so that it holds at most 64 values.
pub const LEVELS: u32 = 6;

/// Chunks of a file of `len` bytes. An empty file is one empty chunk.
pub fn chunks(len: u64) -> u64 {
    len.div_ceil(CHUNK).max(1)
}

/// A subtree of a file, named by the chunks it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Span {
    /// Index in the file of the first chunk.
    pub first: u64,
    /// Number of chunks, at least 1.
    pub count: u64,
}

impl Span {
    /// The whole tree of a file of `len` bytes.
    pub fn whole(len: u64) -> Span {
        Span {
            first: 0,
            count: chunks(len),
        }
    }

    /// A single chunk.
    pub fn chunk(index: u64) -> Span {
        Span {
            first: index,
            count: 1,
        }
    }

    /// The two subtrees directly below; `None` for a chunk.
    pub fn children(self) -> Option<(Span, Span)> {
        if self.count < 2 {
            return None;
        }
        let left = 1 << (self.count - 1).ilog2();
        Some((
            Span {
                first: self.first,
                count: left,
            },
            Span {
                first: self.first.checked_add(left)?,
                count: self.count - left,
            },
        ))
    }

    /// Whether this is the whole tree of a file of `len` bytes.
    pub fn is_whole(self, len: u64) -> bool {
        self == Span::whole(len)
    }

    /// The bytes covered in a file of `len` bytes.
    pub fn byte_range(self, len: u64) -> Range<u64> {
        let end = self.first.saturating_add(self.count);
        self.first.saturating_mul(CHUNK).min(len)..end.saturating_mul(CHUNK).min(len)
    }
}

/// The spans [`LEVELS`] below `span`, or the chunks met before, from left to right. A chunk is its
/// own frontier.
pub fn frontier(span: Span) -> Vec<Span> {
    fn descend(span: Span, levels: u32, spans: &mut Vec<Span>) {
        match span.children() {
            Some((left, right)) if levels > 0 => {
                descend(left, levels - 1, spans);
                descend(right, levels - 1, spans);
            }
            _ => spans.push(span),
        }
    }
    let mut spans = Vec::new();
    descend(span, LEVELS, &mut spans);
    spans
}

/// Whether `cvs`, one for each span of the [`frontier`], hash up to `value`, the value of `span`
/// in a file of `len` bytes.
pub fn check_frontier(len: u64, span: Span, value: &Hash, cvs: &[Hash]) -> bool {
    fn merge<'a>(
        span: Span,
        levels: u32,
        root: bool,
        cvs: &mut impl Iterator<Item = &'a Hash>,
    ) -> Option<Hash> {
        match span.children() {
            Some((left, right)) if levels > 0 => {
                let left = merge(left, levels - 1, false, cvs)?;
                let right = merge(right, levels - 1, false, cvs)?;
                Some(parent(&left, &right, root))
            }
            _ => cvs.next().copied(),
        }
    }
    let mut cvs = cvs.iter();
    let merged = merge(span, LEVELS, span.is_whole(len), &mut cvs);
    merged.as_ref() == Some(value) && cvs.next().is_none()
}

/// Whether `bytes` are the one chunk `span`, whose value is `value`, of a file of `len` bytes.
pub fn check_chunk(len: u64, span: Span, value: &Hash, bytes: &[u8]) -> bool {
    chunk_value(len, span, bytes).as_ref() == Some(value)
}

/// Whether `child` is the value of entry `index` of the [`frontier`] of `span`, whose value is
/// `value`, in a file of `len` bytes. `siblings` are the values beside the way up, nearest first.
pub fn check_child(
    len: u64,
    span: Span,
    value: &Hash,
    index: u32,
    child: &Hash,
    siblings: &[Hash],
) -> bool {
    let Some(target) = frontier(span).get(index as usize).copied() else {
        return false;
    };
    climb(len, span, target, *child, siblings).as_ref() == Some(value)
}

/// A chunk of a file and the values that lead from it to the root.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Opening {
    /// The chunk's bytes.
    pub chunk: Vec<u8>,
    /// The values beside the way from the chunk up to the root, nearest first.
    pub path: Vec<Hash>,
}

/// The `size` bytes from `start` of a file of `len` bytes with hash `root`.
///
/// `None` when the opening is wrong, or when the range is empty, leaves the file or leaves the
/// chunk in which it starts.
pub fn open<'a>(
    len: u64,
    root: &Hash,
    opening: &'a Opening,
    start: u64,
    size: u64,
) -> Option<&'a [u8]> {
    let end = start.checked_add(size)?;
    let chunk = Span::chunk(start / CHUNK);
    let covered = chunk.byte_range(len);
    if size == 0 || end > covered.end {
        return None;
    }
    let value = chunk_value(len, chunk, &opening.chunk)?;
    if climb(len, Span::whole(len), chunk, value, &opening.path)? != *root {
        return None;
    }
    let offset = start - covered.start;
    opening.chunk.get(offset as usize..(offset + size) as usize)
}

/// SCALE-encoded bytes of the largest opening of a file of `len` bytes.
pub fn opening_bytes(len: u64) -> u64 {
    let chunk = len.min(CHUNK);
    let chunk_prefix = if chunk < 64 { 1 } else { 2 };
    let path_prefix = 1;
    chunk_prefix + chunk + path_prefix + 32 * depth(len) as u64
}

/// Values beside the longest way from a chunk to the root of a file of `len` bytes.
pub fn depth(len: u64) -> u32 {
    chunks(len).next_power_of_two().ilog2()
}

fn parent(left: &Hash, right: &Hash, root: bool) -> Hash {
    if root {
        *merge_subtrees_root(left, right, Mode::Hash).as_bytes()
    } else {
        merge_subtrees_non_root(left, right, Mode::Hash)
    }
}

/// The value of a chunk; `None` when `span` is not a chunk of the file or `bytes` have not its
/// length.
fn chunk_value(len: u64, span: Span, bytes: &[u8]) -> Option<Hash> {
    let range = span.byte_range(len);
    let fits = span.count == 1 && span.first < chunks(len);
    if !fits || bytes.len() as u64 != range.end - range.start {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    if span.is_whole(len) {
        return Some(*hasher.update(bytes).finalize().as_bytes());
    }
    hasher.set_input_offset(range.start).update(bytes);
    Some(hasher.finalize_non_root())
}

/// The subtrees beside the way from `bottom` up to `top`, nearest first; `None` when `bottom` is
/// no subtree of `top`.
fn beside(top: Span, bottom: Span) -> Option<Vec<Span>> {
    let mut spans = Vec::new();
    let mut span = top;
    while span != bottom {
        let (left, right) = span.children()?;
        if bottom.first < right.first {
            spans.push(right);
            span = left;
        } else {
            spans.push(left);
            span = right;
        }
    }
    spans.reverse();
    Some(spans)
}

/// The value of `top` that follows from the value of `bottom` and of exactly the subtrees beside
/// the way.
fn climb(len: u64, top: Span, bottom: Span, value: Hash, siblings: &[Hash]) -> Option<Hash> {
    let spans = beside(top, bottom)?;
    if spans.len() != siblings.len() {
        return None;
    }
    let levels = spans.iter().zip(siblings).enumerate();
    Some(levels.fold(value, |value, (level, (span, sibling))| {
        let root = level + 1 == spans.len() && top.is_whole(len);
        if span.first < bottom.first {
            parent(sibling, &value, root)
        } else {
            parent(&value, sibling, root)
        }
    }))
}

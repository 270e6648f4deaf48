//! BLAKE3 trees: every value against the `blake3` crate, every tampering refused.

use blake3::hazmat::{merge_subtrees_non_root, merge_subtrees_root, HasherExt, Mode};
use lockstep_protocol::tree::{
    check_child, check_chunk, check_frontier, chunks, depth, frontier, frontier_siblings, hash,
    open, opening_bytes, prove_child, prove_frontier, prove_open, subtree, Opening, Outline, Span,
    CHUNK, LEVELS,
};
use lockstep_protocol::Hash;
use proptest::prelude::*;
use scale::Encode;

const TAILS: [u64; 5] = [0, 1, 63, 64, 1023];

/// Bytes in which no two chunks are equal.
fn file(len: u64) -> Vec<u8> {
    let word = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
    let mut bytes: Vec<u8> = (0..len.div_ceil(4))
        .flat_map(|i| word(i + 1).to_le_bytes())
        .collect();
    bytes.truncate(len as usize);
    bytes
}

/// File lengths with `count` chunks, of which the last holds `tail` bytes (all of them for 0).
fn length(count: u64, tail: u64) -> u64 {
    if tail == 0 {
        count * CHUNK
    } else {
        (count - 1) * CHUNK + tail
    }
}

/// The value of a subtree by the recursive definition alone: a chunk by the library, a parent by
/// the library, the split where the library splits.
fn definition(bytes: &[u8], offset: u64, root: bool) -> Hash {
    if bytes.len() as u64 <= CHUNK {
        if root {
            return *blake3::hash(bytes).as_bytes();
        }
        let mut hasher = blake3::Hasher::new();
        return hasher
            .set_input_offset(offset)
            .update(bytes)
            .finalize_non_root();
    }
    let split = blake3::hazmat::left_subtree_len(bytes.len() as u64);
    let (left, right) = bytes.split_at(split as usize);
    let left = definition(left, offset, false);
    let right = definition(right, offset + split, false);
    if root {
        *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()
    } else {
        merge_subtrees_non_root(&left, &right, Mode::Hash)
    }
}

fn bytes_of(bytes: &[u8], span: Span) -> &[u8] {
    let range = span.byte_range(bytes.len() as u64);
    &bytes[range.start as usize..range.end as usize]
}

/// Walks the whole tree of frontiers below `span` and checks all that a dispute could be told.
fn check_everything(bytes: &[u8], outline: &Outline, span: Span, value: Hash) {
    let len = bytes.len() as u64;
    let part = bytes_of(bytes, span);
    let offset = span.byte_range(len).start;
    assert_eq!(value, definition(part, offset, span.is_whole(len)));
    assert_eq!(value, subtree(part, len, span));
    assert_eq!(value, outline.subtree(bytes, span));
    assert_eq!(check_chunk(len, span, &value, part), span.count == 1);
    if span.count == 1 {
        let opening = prove_open(bytes, offset);
        assert_eq!(opening, outline.open(bytes, offset));
        assert!(opening.encoded_size() as u64 <= opening_bytes(len));
        if !part.is_empty() {
            let size = part.len() as u64;
            assert_eq!(
                open(len, &hash(bytes), &opening, offset, size),
                Some(part),
                "chunk {} of {len} bytes",
                span.first
            );
        }
        return;
    }
    let cvs = prove_frontier(bytes, span);
    assert_eq!(cvs, outline.frontier(bytes, span));
    let spans = frontier(span);
    assert_eq!(cvs.len(), spans.len());
    assert!(cvs.len() <= 1 << LEVELS);
    assert!(check_frontier(len, span, &value, &cvs));
    for (index, (child, cv)) in spans.iter().zip(&cvs).enumerate() {
        let index = index as u32;
        let siblings = frontier_siblings(span, &cvs, index);
        if index % 16 == (span.count % 16) as u32 || *child == spans[spans.len() - 1] {
            // Each of these hashes the whole span again.
            assert_eq!(siblings, prove_child(bytes, span, index));
            assert_eq!(siblings, outline.child(bytes, span, index));
        }
        assert!(check_child(len, span, &value, index, cv, &siblings));
        check_everything(bytes, outline, *child, *cv);
    }
}

fn check_file(len: u64) {
    let bytes = file(len);
    let outline = Outline::new(&bytes);
    assert_eq!(outline.len(), len);
    assert_eq!(outline.root(), *blake3::hash(&bytes).as_bytes());
    check_everything(&bytes, &outline, Span::whole(len), hash(&bytes));
}

#[test]
fn every_entry_of_small_trees_is_the_librarys() {
    for count in 1..=130 {
        // All tails where the shape is about to change, one of them elsewhere.
        let edge = count < 10 || [31, 32, 33, 63, 64, 65, 127, 128, 129].contains(&count);
        for (k, tail) in (0..).zip(TAILS) {
            if edge || k == count % 5 {
                check_file(length(count, tail));
            }
        }
    }
}

#[test]
fn trees_around_a_power_of_sixty_four_are_right() {
    for count in [63, 64, 65] {
        check_file(length(count, 5));
    }
    for count in [4095, 4096, 4097] {
        for tail in [0, 1] {
            let len = length(count, tail);
            let bytes = file(len);
            let outline = Outline::new(&bytes);
            let root = hash(&bytes);
            assert_eq!(outline.root(), root);
            // Every chunk by way of its frontiers; the openings of all edges.
            let mut spans = vec![(Span::whole(len), root)];
            let mut leaves = 0;
            while let Some((span, value)) = spans.pop() {
                if span.count == 1 {
                    assert!(check_chunk(len, span, &value, bytes_of(&bytes, span)));
                    leaves += 1;
                    continue;
                }
                let cvs = outline.frontier(&bytes, span);
                assert!(check_frontier(len, span, &value, &cvs));
                spans.extend(frontier(span).into_iter().zip(cvs));
            }
            assert_eq!(leaves, count);
            for chunk in (0..count).filter(|c| c % 509 < 2 || c % 64 == 63 || c + 3 > count) {
                let opening = outline.open(&bytes, chunk * CHUNK);
                assert!(open(len, &root, &opening, chunk * CHUNK, 1).is_some());
            }
        }
    }
}

#[test]
fn a_tree_of_sixty_four_cubed_chunks_is_right_at_its_edges() {
    let len = length(64 * 64 * 64, 0);
    // Zeros: the chunks differ only by their counters.
    let bytes = vec![0u8; len as usize];
    let outline = Outline::new(&bytes);
    let root = outline.root();
    assert_eq!(root, *blake3::hash(&bytes).as_bytes());
    for path in [[0, 0, 0], [63, 63, 63], [0, 63, 31], [32, 0, 1]] {
        let (mut span, mut value) = (Span::whole(len), root);
        for index in path {
            let cvs = outline.frontier(&bytes, span);
            assert!(check_frontier(len, span, &value, &cvs));
            let siblings = outline.child(&bytes, span, index);
            let child = cvs[index as usize];
            assert!(check_child(len, span, &value, index, &child, &siblings));
            (span, value) = (frontier(span)[index as usize], child);
        }
        assert_eq!(span.count, 1);
        assert!(check_chunk(len, span, &value, &[0; 1024]));
        let neighbour = Span::chunk(span.first ^ 1);
        assert!(!check_chunk(len, neighbour, &value, &[0; 1024]));
        let opening = outline.open(&bytes, span.first * CHUNK);
        assert_eq!(opening.encoded_size() as u64, opening_bytes(len));
        assert!(open(len, &root, &opening, span.first * CHUNK + 1020, 4).is_some());
    }
}

#[test]
fn an_empty_file_is_one_empty_chunk() {
    let root = *blake3::hash(b"").as_bytes();
    let whole = Span::whole(0);
    assert_eq!(chunks(0), 1);
    assert_eq!(whole, Span::chunk(0));
    assert_eq!(whole.children(), None);
    assert_eq!(whole.byte_range(0), 0..0);
    assert_eq!(frontier(whole), vec![whole]);
    assert!(check_chunk(0, whole, &root, b""));
    assert!(!check_chunk(0, whole, &root, b"\0"));
    assert!(!check_chunk(0, Span::chunk(1), &root, b""));
    let opening = prove_open(b"", 0);
    assert_eq!(opening.encoded_size() as u64, opening_bytes(0));
    for (start, size) in [(0, 0), (0, 1), (1, 0), (u64::MAX, 1)] {
        assert_eq!(open(0, &root, &opening, start, size), None);
    }
    assert_eq!(Outline::new(b"").root(), root);
}

#[test]
fn the_shape_is_that_of_the_library_for_huge_files() {
    for len in [1025, 1 << 40, (1 << 40) + 1, (1 << 40) - 1, u64::MAX] {
        let (left, right) = Span::whole(len).children().unwrap();
        // The library computes `len + 1` first.
        let expected = blake3::hazmat::left_subtree_len(len.min(u64::MAX - 1));
        assert_eq!(left.byte_range(len), 0..expected);
        assert_eq!(right.byte_range(len), expected..len);
        assert!(frontier(Span::whole(len)).len() <= 64);
    }
    assert_eq!(depth(1 << 40), 30);
    assert_eq!(opening_bytes(1 << 40), 2 + 1024 + 1 + 30 * 32);
}

#[test]
fn hostile_spans_are_refused_without_a_panic() {
    let wild = [0, 1, 2, 63, 64, 65, 1 << 53, 1 << 54, 1 << 63, u64::MAX];
    for first in wild {
        for count in wild {
            let span = Span { first, count };
            for len in wild {
                let _ = (span.children(), span.byte_range(len), frontier(span));
                assert!(!check_chunk(len, span, &[7; 32], &[]));
                assert!(!check_frontier(len, span, &[7; 32], &[[1; 32]; 64]));
                assert!(!check_child(
                    len,
                    span,
                    &[7; 32],
                    3,
                    &[1; 32],
                    &[[2; 32]; 6]
                ));
            }
        }
    }
}

#[test]
fn a_chunk_is_refused_at_another_length_or_place() {
    for (count, tail) in [(1, 7), (1, 0), (2, 1), (5, 1023), (64, 0), (65, 3)] {
        let len = length(count, tail);
        let bytes = file(len);
        for index in 0..count {
            let span = Span::chunk(index);
            let part = bytes_of(&bytes, span);
            let value = subtree(part, len, span);
            assert!(check_chunk(len, span, &value, part));
            assert!(!check_chunk(len, span, &value, &part[..part.len() - 1]));
            assert!(!check_chunk(len, span, &value, &part[1..]));
            assert!(!check_chunk(len, span, &value, &[part, &[0]].concat()));
            assert!(!check_chunk(len, Span::chunk(index + 1), &value, part));
            // The other kind of value: a root for a chunk inside, a chunk's for a root.
            let other = if count == 1 {
                let mut hasher = blake3::Hasher::new();
                hasher.update(part).finalize_non_root()
            } else {
                hash(part)
            };
            assert!(!check_chunk(len, span, &other, part));
        }
    }
}

#[test]
fn a_frontier_of_another_count_or_order_is_refused() {
    for count in [2, 3, 5, 63, 64, 65, 100, 130] {
        let len = length(count, 9);
        let bytes = file(len);
        let (span, root) = (Span::whole(len), hash(&bytes));
        let cvs = prove_frontier(&bytes, span);
        assert!(!check_frontier(len, span, &root, &cvs[..cvs.len() - 1]));
        assert!(!check_frontier(len, span, &root, &cvs[1..]));
        assert!(!check_frontier(len, span, &root, &[]));
        for extra in [[0; 32], *cvs.last().unwrap()] {
            assert!(!check_frontier(
                len,
                span,
                &root,
                &[&cvs[..], &[extra]].concat()
            ));
        }
        for i in 1..cvs.len() {
            let mut swapped = cvs.clone();
            swapped.swap(i - 1, i);
            assert!(!check_frontier(len, span, &root, &swapped));
        }
        // The same entries as a subtree of a longer file: the top is then not a root.
        assert!(!check_frontier(2 * len + CHUNK, span, &root, &cvs));
        // The two halves in place of the entries six levels down.
        if cvs.len() > 2 {
            let (left, right) = span.children().unwrap();
            let halves = [left, right].map(|s| subtree(bytes_of(&bytes, s), len, s));
            assert!(!check_frontier(len, span, &root, &halves));
        }
    }
}

#[test]
fn a_child_is_refused_under_another_index() {
    for count in [2, 3, 7, 64, 65, 129] {
        let len = length(count, 1);
        let bytes = file(len);
        let (span, root) = (Span::whole(len), hash(&bytes));
        let cvs = prove_frontier(&bytes, span);
        for (index, cv) in cvs.iter().enumerate() {
            let siblings = prove_child(&bytes, span, index as u32);
            for other in 0..cvs.len() as u32 + 70 {
                let accepted = check_child(len, span, &root, other, cv, &siblings);
                assert_eq!(accepted, other == index as u32);
            }
            assert!(!check_child(len, span, &root, u32::MAX, cv, &siblings));
            let index = index as u32;
            assert!(!check_child(len, span, &root, index, cv, &siblings[1..]));
            let longer = [&siblings[..], &[[0; 32]]].concat();
            assert!(!check_child(len, span, &root, index, cv, &longer));
            // One level up, the pair's value is no entry.
            let pair = merge_subtrees_non_root(cv, &siblings[0], Mode::Hash);
            assert!(!check_child(len, span, &root, index, &pair, &siblings[1..]));
        }
    }
}

#[test]
fn an_opening_serves_exactly_the_ranges_inside_its_chunk() {
    let len = length(5, 100);
    let bytes = file(len);
    let root = hash(&bytes);
    for chunk in 0..5 {
        let opening = prove_open(&bytes, chunk * CHUNK + 99);
        for start in [
            0, 1, 99, 100, 1020, 1023, 1024, 4095, 4096, 4195, 4196, 5000,
        ] {
            for size in [0, 1, 2, 4, 5, 100, 101, 1023, 1024, 1025, u64::MAX] {
                let inside = size > 0
                    && start >= chunk * CHUNK
                    && start.saturating_add(size) <= len.min((chunk + 1) * CHUNK);
                let expected = inside.then(|| &bytes[start as usize..(start + size) as usize]);
                assert_eq!(open(len, &root, &opening, start, size), expected);
            }
        }
        // An opening does not prove the length of the file: as long as the way up has as many
        // turns, only the last chunk tells. This is why lengths never come from a player.
        for other in [len - 1, len + 1, len - CHUNK, len + CHUNK, 2 * len] {
            let served = open(other, &root, &opening, chunk * CHUNK, 1).is_some();
            let same_way = chunk < 4 && [5, 6].contains(&chunks(other));
            assert_eq!(served, same_way, "chunk {chunk}, {other} bytes");
        }
    }
}

proptest! {
    #[test]
    fn no_tampered_opening_is_accepted(
        len in 1u64..300_000,
        place in any::<prop::sample::Index>(),
        victim in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let bytes = file(len);
        let root = hash(&bytes);
        let start = place.index(len as usize) as u64;
        let opening = prove_open(&bytes, start);
        prop_assert_eq!(
            open(len, &root, &opening, start, 1),
            Some(&bytes[start as usize..][..1])
        );
        let chunk_len = opening.chunk.len();
        let victim = victim.index(chunk_len + 32 * opening.path.len());
        let mut tampered = opening.clone();
        match victim.checked_sub(chunk_len) {
            None => tampered.chunk[victim] ^= 1 << bit,
            Some(at) => tampered.path[at / 32][at % 32] ^= 1 << bit,
        }
        prop_assert_eq!(open(len, &root, &tampered, start, 1), None);
        let mut shorter = opening.clone();
        if shorter.path.pop().is_some() {
            prop_assert_eq!(open(len, &root, &shorter, start, 1), None);
        }
        let mut longer = opening.clone();
        longer.path.push(root);
        prop_assert_eq!(open(len, &root, &longer, start, 1), None);
        let mut other_root = root;
        other_root[victim % 32] ^= 1 << bit;
        prop_assert_eq!(open(len, &other_root, &opening, start, 1), None);
    }

    #[test]
    fn no_invented_opening_is_accepted(
        len in 0u64..1 << 45,
        start in 0u64..1 << 45,
        chunk in prop::collection::vec(any::<u8>(), 0..1100),
        path in prop::collection::vec(any::<Hash>(), 0..40),
    ) {
        let root = hash(b"the file nobody has");
        let opening = Opening { chunk, path };
        prop_assert_eq!(open(len, &root, &opening, start, 4), None);
    }

    #[test]
    fn an_outline_from_blocks_equals_one_from_bytes(len in 0u64..2_000_000) {
        let bytes = file(len);
        let blocks = (0..Outline::blocks(len)).rev().map(|i| {
            let span = Outline::block(len, i);
            subtree(bytes_of(&bytes, span), len, span)
        });
        let mut blocks: Vec<Hash> = blocks.collect();
        blocks.reverse();
        prop_assert_eq!(Outline::from_blocks(len, blocks), Outline::new(&bytes));
    }
}

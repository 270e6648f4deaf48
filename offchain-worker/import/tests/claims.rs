//! Small files that claim to hold much are refused before room is made for it.

mod support;

use std::time::Instant;
use support::{
    allocator::{largest_allocation, Counting},
    onnx::Graph,
    whole,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Fails unless a model is refused with all of these words.
fn refused(model: &Graph, words: &[&str]) {
    let reason = whole::import(&model.file()).unwrap_err().to_string();
    for word in words {
        assert!(reason.contains(word), "{reason:?} does not say {word:?}");
    }
}

#[test]
fn a_small_file_that_claims_ten_gigabytes_is_refused_at_once() {
    let began = Instant::now();
    let mut weight = Graph::new();
    weight.tensor("w", 1, &[50_000, 50_000], &[0; 64]);
    weight.node("Identity", &["w"], "y", &[]);
    refused(&weight, &["\"w\"", "64 bytes", "2500000000 elements"]);

    let mut overflow = Graph::new();
    overflow.tensor("w", 1, &[i64::MAX, i64::MAX], &[0; 64]);
    overflow.node("Identity", &["w"], "y", &[]);
    refused(&overflow, &["\"w\"", "not those of a tensor"]);

    let mut filled = Graph::new();
    filled.integers("shape", &[1 << 20, 1 << 14]);
    filled.node("ConstantOfShape", &["shape"], "y", &[]);
    refused(&filled, &["node 0 (ConstantOfShape", "too large"]);

    let mut range = Graph::new();
    for (name, n) in [("start", 0), ("end", i64::MAX), ("step", 1)] {
        range.tensor(name, 7, &[], &n.to_le_bytes());
    }
    range.node("Range", &["start", "end", "step"], "y", &[]);
    refused(&range, &["node 0 (Range", "too large"]);

    let mut tiled = Graph::new();
    tiled.input("x", 1, &[2, 2]);
    tiled.integers("times", &[1 << 40, 1 << 40]);
    tiled.node("Tile", &["x", "times"], "y", &[]);
    refused(&tiled, &["node 0 (Tile", "larger than a tensor"]);

    assert!(largest_allocation() < 1 << 20, "{}", largest_allocation());
    assert!(began.elapsed().as_secs_f64() < 1.0);
}

//! Test vectors for other implementations: what this crate computes, as JSON.
//!
//! Every file of `protocol/vectors` is made here, from fixed inputs alone. The test fails when a
//! committed file holds anything else, so a change of behaviour cannot pass unseen. To write the
//! files anew:
//!
//! ```text
//! LOCKSTEP_WRITE_VECTORS=1 cargo test -p lockstep-protocol --test vectors
//! ```
//!
//! `scripts/vectors-check.py` reads them with an implementation of its own, written from
//! `docs/specification.md`.

mod encoding;
mod eval;
mod game;
mod json;
mod operations;
mod permutation;
mod philox;
mod samples;
mod tree;
mod validity;

use serde_json::Value;
use std::path::PathBuf;

/// Compares a file of vectors with what the code generates, or writes it.
fn check(name: &str, generated: Value) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "vectors", name]
        .iter()
        .collect();
    if std::env::var_os("LOCKSTEP_WRITE_VECTORS").is_some() {
        let mut text = serde_json::to_string_pretty(&generated).unwrap();
        text.push('\n');
        std::fs::write(&path, text).unwrap();
        return;
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| {
        panic!(
            "{}: {e}; write it, see the head of this test",
            path.display()
        )
    });
    let committed: Value = serde_json::from_str(&text).unwrap();
    assert!(
        committed == generated,
        "{name} is not what the code generates: if the change is meant, write the file anew as \
         the head of this test says, and review the difference"
    );
}

#[test]
fn operations_are_as_committed() {
    check("operations.json", operations::vectors());
}

#[test]
fn encodings_are_as_committed() {
    check("encoding.json", encoding::vectors());
}

#[test]
fn verdicts_on_nodes_and_programs_are_as_committed() {
    check("validity.json", validity::vectors());
}

#[test]
fn random_words_are_as_committed() {
    check("philox.json", philox::vectors());
}

#[test]
fn permutations_are_as_committed() {
    check("permutation.json", permutation::vectors());
}

#[test]
fn trees_are_as_committed() {
    check("tree.json", tree::vectors());
}

#[test]
fn values_and_traces_are_as_committed() {
    check("eval.json", eval::vectors());
}

#[test]
fn games_are_as_committed() {
    check("game.json", game::vectors());
}

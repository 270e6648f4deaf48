//! Random valid programs: the CPU engine gives the reference's bytes on every path.

mod common;

use common::{agree, cases, Case};
use lockstep_protocol::random::Size;

fn check(seeds: std::ops::Range<u64>, size: Size) {
    for seed in seeds {
        agree(&Case::random(seed, size), &format!("seed {seed}"));
    }
}

#[test]
fn small_random_programs_agree_byte_for_byte() {
    check(0..cases(400), Size::SMALL);
}

#[test]
fn large_random_programs_agree_byte_for_byte() {
    check(0..cases(400) / 20, Size::LARGE);
}

//! Random valid programs: the CPU engine gives the reference's bytes on every path.

mod common;

use common::{agree, cases, Case};
use lockstep_engine::Job;
use lockstep_protocol::random::{self, Size};
use std::sync::Arc;

fn check(seeds: std::ops::Range<u64>, size: Size) {
    for seed in seeds {
        let random::Case {
            program,
            inputs,
            state,
            ..
        } = random::program(seed, size);
        let job = Job {
            program: Arc::new(program),
            inputs,
        };
        agree(&Case { job, state }, &format!("seed {seed}"));
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

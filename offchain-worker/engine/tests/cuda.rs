//! The CUDA engine on the processor: generated kernels give the reference's bytes.

mod common;
#[path = "common/shim.rs"]
mod shim;

use common::{agrees, Case};
use lockstep_engine::cuda::Cuda;
use lockstep_engine::Job;
use lockstep_protocol::random::{self, Size};
use shim::Shim;
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
        let engine = Cuda::new(job.clone(), Shim).expect("a valid job");
        let case = Case { job, state };
        agrees(&case, &format!("seed {seed}"), [("shim".into(), engine)]);
    }
}

#[test]
fn small_random_programs_agree_byte_for_byte() {
    check(0..20, Size::SMALL);
}

#[test]
fn large_random_programs_agree_byte_for_byte() {
    check(0..10, Size::LARGE);
}

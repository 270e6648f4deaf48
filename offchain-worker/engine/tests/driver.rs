//! The calls to the driver, on a stand-in for it that runs kernels on the processor and holds its
//! caller to the rules of a real one.

mod common;
#[path = "common/stand_in.rs"]
mod stand_in;

use common::*;
use lockstep_engine::cuda::{Cuda, Gpu};
use lockstep_engine::device::Choice;
use lockstep_engine::{Engine, Job};
use lockstep_protocol::random::{self, Size};
use std::path::Path;
use std::sync::Arc;

/// Builds the stand-in and loads it under the driver's name, by which it is then found.
fn stand_in(folder: &Path) -> libloading::Library {
    let library = stand_in::build(folder);
    std::env::set_var("LOCKSTEP_NVRTC", &library);
    // SAFETY: nothing runs when it is loaded.
    unsafe { libloading::Library::new(&library) }.expect("it has just been built")
}

#[test]
fn the_driver_is_called_by_its_rules_and_a_step_is_replayed_as_a_graph() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let driver = stand_in(folder.path());
    let picked = Choice::Automatic.pick();
    assert_eq!(picked.device, Choice::Cuda(0));
    assert!(picked.why.contains("cuda:0 stand-in"), "{}", picked.why);
    for seed in 3..6 {
        let case = random::program(seed, Size::LARGE);
        let job = Job {
            program: Arc::new(case.program),
            inputs: case.inputs,
        };
        let engine = Cuda::new(job.clone(), Gpu::open(0).expect("the stand-in")).expect("a job");
        assert_eq!(engine.name(), "cuda:0 stand-in");
        let case = Case {
            job,
            state: case.state,
        };
        agrees(&case, &format!("seed {seed}"), [("driver".into(), engine)]);
    }
    // SAFETY: the function has this type.
    let graphs = unsafe {
        let count: libloading::Symbol<unsafe extern "C" fn() -> u64> =
            driver.get("graphs_launched").expect("the stand-in counts");
        count()
    };
    assert_eq!(graphs, 3 * 3, "every step is one launch");
    let error = match Gpu::open(1) {
        Ok(_) => panic!("the stand-in has one device"),
        Err(error) => error.to_string(),
    };
    assert!(error.contains("there is no cuda:1"), "{error}");
}

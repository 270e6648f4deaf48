//! The bits of whole programs stay what they were: on the CPU engine, and in the CUDA engine's
//! kernels on the processor.

#[path = "golden/programs.rs"]
mod programs;
#[path = "../../engine/tests/common/shim.rs"]
mod shim;

use lockstep_engine::cpu::{Cpu, Options};
use lockstep_engine::cuda::Cuda;
use programs::{committed, hashes, programs, COMMITTED};
use shim::Shim;

#[test]
fn the_cpu_engine_gives_the_committed_hashes() {
    let mut lines = String::new();
    for golden in programs() {
        let mut cpu = Cpu::new(golden.job.clone(), Options::default()).unwrap();
        lines += &format!("{}\n", hashes(&golden, &mut cpu).unwrap());
    }
    // Hashes change with the programs: the examples', the graph's lowering, the random ones'.
    if std::env::var_os("LOCKSTEP_WRITE_GOLDEN").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/hashes.txt");
        return std::fs::write(file, lines).unwrap();
    }
    assert_eq!(
        lines, COMMITTED,
        "if the programs were meant to change, run this test with LOCKSTEP_WRITE_GOLDEN=1"
    );
}

#[test]
fn models_on_the_cuda_engines_kernels_give_the_committed_hashes() {
    for golden in programs().iter().filter(|golden| golden.model) {
        let mut engine = Cuda::new(golden.job.clone(), Shim(1)).unwrap();
        let got = hashes(golden, &mut engine).unwrap();
        assert_eq!(Some(got), committed(&golden.name));
    }
}

//! The bits of whole programs stay what they were: on the CPU engine, and in the CUDA engine's
//! kernels on the processor.

#[path = "golden/programs.rs"]
mod programs;
#[path = "../../engine/tests/common/shim.rs"]
mod shim;

use lockstep_engine::cpu::{Cpu, Options};
use lockstep_engine::cuda::codegen::Machine;
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

/// Checks a program on the CUDA engine's kernels, on the processor.
fn check_on_shim(name: &str) {
    let all = programs();
    let golden = all.iter().find(|golden| golden.name == name).unwrap();
    assert!(golden.model);
    let machine = Machine {
        multiprocessors: 1,
        capability: 90,
        shape: None,
    };
    let mut engine = Cuda::new(golden.job.clone(), Shim(machine)).unwrap();
    let got = hashes(golden, &mut engine).unwrap();
    assert_eq!(Some(got), committed(name));
}

#[test]
fn a_perceptron_on_the_cuda_engines_kernels_gives_the_committed_hashes() {
    check_on_shim("digits-mlp");
}

#[test]
fn a_convolutional_network_on_the_cuda_engines_kernels_gives_the_committed_hashes() {
    check_on_shim("digits-cnn");
}

#[test]
#[ignore = "takes a minute: run it by name in a release build"]
fn a_transformer_on_the_cuda_engines_kernels_gives_the_committed_hashes() {
    check_on_shim("gpt");
}

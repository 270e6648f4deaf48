//! A stand-in for NVIDIA's driver and for NVRTC, one library, which runs kernels on the processor and
//! holds its caller to the rules of a real one.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the library in `folder` under the driver's name.
pub fn build(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("driver.cpp"), folder.join("libcuda.so"));
    let shim = format!(
        "static const char SHIM[] = R\"text({})text\";\n",
        include_str!("shim.h")
    );
    let text = [&shim, include_str!("../driver/driver.cpp")].concat();
    std::fs::write(&source, text).expect("a folder to write to");
    let status = Command::new("c++")
        .args([
            "-std=c++17",
            "-O1",
            "-shared",
            "-fPIC",
            "-Wl,-soname,libcuda.so",
            "-o",
        ])
        .args([&library, &source])
        .status()
        .expect("a compiler of C++");
    assert!(status.success());
    library
}

//! A device that runs generated kernels on the processor, through `shim.h` and the machine's C++
//! compiler.

use lockstep_engine::cuda::codegen::{Launch, Machine, Source};
use lockstep_engine::cuda::{Device, Memory};
use lockstep_engine::Error;
use std::alloc::{alloc_zeroed, dealloc, Layout};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

const HEADER: &str = include_str!("shim.h");

/// The processor as a device.
pub struct Shim(pub Machine);

pub struct Block(*mut u8, Layout);

// SAFETY: it owns its memory.
unsafe impl Send for Block {}

impl Memory for Block {
    fn address(&self) -> u64 {
        self.0 as u64
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.0, self.1) }
    }
}

fn failed(what: impl std::fmt::Display) -> Error {
    Error::Device(what.to_string())
}

/// The source with, for every entry, a function that runs it on all blocks and threads.
fn executable(source: &Source) -> String {
    let mut text = format!("{HEADER}\n{}\n", source.text(&source.entries));
    for (launch, _) in &source.entries {
        let arguments: Vec<String> = (0..launch.arguments)
            .map(|k| format!("arguments[{k}]"))
            .collect();
        let (entry, arguments) = (&launch.entry, arguments.join(", "));
        let barriers = launch.barriers;
        let _ = writeln!(
            text,
            "extern \"C\" void run_{entry}(void *const *a, const unsigned *grid, unsigned block) {{\n\
                 arguments = a;\n\
                 run_kernel([] {{ {entry}({arguments}); }}, {barriers}, grid, block);\n\
             }}"
        );
    }
    text
}

fn build(folder: &Path, text: &str) -> Result<libloading::Library, Error> {
    let (file, library) = (folder.join("kernels.cpp"), folder.join("kernels.so"));
    std::fs::write(&file, text).map_err(failed)?;
    let output = Command::new("c++")
        .args([
            "-std=c++17",
            "-O1",
            "-ffp-contract=off",
            "-shared",
            "-fPIC",
            "-w",
            "-o",
        ])
        .args([&library, &file])
        .output()
        .map_err(|error| failed(format!("cannot run the C++ compiler c++: {error}")))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr)));
    }
    // SAFETY: the library has nothing that runs when it is loaded.
    unsafe { libloading::Library::new(&library) }.map_err(failed)
}

impl Device for Shim {
    type Memory = Block;
    type Module = libloading::Library;
    type Graph = ();

    fn name(&self) -> String {
        "shim".into()
    }

    fn machine(&self) -> Machine {
        self.0
    }

    fn allocate(&self, bytes: u64) -> Result<Block, Error> {
        let layout = Layout::from_size_align(bytes.max(1) as usize, 256).map_err(failed)?;
        // SAFETY: the layout has a size.
        Ok(Block(unsafe { alloc_zeroed(layout) }, layout))
    }

    fn compile(&self, source: &Source) -> Result<libloading::Library, Error> {
        let folder = tempfile::tempdir().map_err(failed)?;
        build(folder.path(), &executable(source))
    }

    fn synchronize(&self) -> Result<(), Error> {
        Ok(())
    }

    unsafe fn upload(&self, to: u64, bytes: &[u8]) -> Result<(), Error> {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, bytes.len());
        Ok(())
    }

    unsafe fn download(&self, from: u64, bytes: &mut [u8]) -> Result<(), Error> {
        std::ptr::copy_nonoverlapping(from as *const u8, bytes.as_mut_ptr(), bytes.len());
        Ok(())
    }

    unsafe fn copy(&self, from: u64, to: u64, bytes: u64) -> Result<(), Error> {
        std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes as usize);
        Ok(())
    }

    unsafe fn launch(
        &self,
        module: &libloading::Library,
        launch: &Launch,
        pointers: &[u64],
    ) -> Result<(), Error> {
        type Run = unsafe extern "C" fn(*const u64, *const u32, u32);
        let name = format!("run_{}\0", launch.entry);
        let run: libloading::Symbol<Run> = module.get(name.as_bytes()).map_err(failed)?;
        run(pointers.as_ptr(), launch.grid.as_ptr(), launch.block);
        Ok(())
    }

    fn record(&self, _: &mut dyn FnMut() -> Result<(), Error>) -> Result<Option<()>, Error> {
        Ok(None)
    }

    unsafe fn replay(&self, _: &()) -> Result<(), Error> {
        unreachable!("nothing is recorded")
    }
}

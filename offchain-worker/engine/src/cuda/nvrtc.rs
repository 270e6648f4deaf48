//! NVIDIA's run-time compiler, loaded when it is first needed.

use super::codegen::Source;
use crate::Error;
use cudarc::nvrtc::{result, sys};
use std::ffi::{CStr, CString};
use std::path::PathBuf;
use std::sync::OnceLock;

/// The compiler's name, as the loader and the package know it.
const LIBRARY: &str = "libnvrtc.so.12";

/// The compiler.
#[derive(Clone, Copy, Debug)]
pub struct Nvrtc {
    version: (i32, i32),
}

impl Nvrtc {
    /// Loads the compiler: the file that `LOCKSTEP_NVRTC` names, else what `scripts/setup cuda` has
    /// put into `LOCKSTEP_HOME`, else what the system's loader finds.
    ///
    /// # Errors
    /// Where it was looked for, when it is nowhere.
    pub fn load() -> Result<Nvrtc, Error> {
        static LOADED: OnceLock<Result<Nvrtc, String>> = OnceLock::new();
        let loaded = LOADED.get_or_init(find);
        loaded.clone().map_err(Error::Device)
    }

    /// The compiler's version, major and minor.
    pub fn version(&self) -> (i32, i32) {
        self.version
    }

    /// The newest architecture that the compiler knows and a device of `capability` (such as 90)
    /// runs.
    ///
    /// # Errors
    /// When the compiler knows only newer ones.
    pub fn architecture(&self, capability: i32) -> Result<i32, Error> {
        let known = architectures().map_err(|error| failed("cannot list architectures", error))?;
        let usable = known.into_iter().filter(|known| *known <= capability).max();
        usable.ok_or_else(|| {
            Error::Device(format!(
                "NVRTC {}.{} compiles for no device as old as sm_{capability}; \
                 use a newer GPU, or --device cpu",
                self.version.0, self.version.1
            ))
        })
    }

    /// The PTX of some code for an architecture (such as 90), with every float operation rounded as
    /// it is written: none is contracted, none flushes subnormals.
    ///
    /// # Errors
    /// The compiler's log, when it refuses the source.
    pub fn compile(&self, source: &Source, architecture: i32) -> Result<String, Error> {
        let text = CString::new(source.text.as_str()).expect("generated text has no zero byte");
        let options = [
            format!("--gpu-architecture=compute_{architecture}"),
            "--fmad=false".into(),
            "--ftz=false".into(),
            "--prec-div=true".into(),
            "--prec-sqrt=true".into(),
            "--std=c++17".into(),
        ];
        let program = result::create_program(&text, Some(c"lockstep.cu"))
            .map_err(|error| failed("NVRTC cannot start", error))?;
        // SAFETY: the program has just been made, and is destroyed after its last use.
        unsafe {
            let compiled = result::compile_program(program, &options)
                .map_err(|error| {
                    let log = result::get_program_log(program).unwrap_or_default();
                    failed(
                        "NVRTC refuses the kernels",
                        format!("{error}\n{}", written(&log)),
                    )
                })
                .and_then(|()| {
                    result::get_ptx(program).map_err(|error| failed("NVRTC gives no PTX", error))
                });
            // Nothing depends on whether the compiler could free its memory.
            let _ = result::destroy_program(program);
            compiled.map(|ptx| written(&ptx))
        }
    }
}

fn failed(what: &str, error: impl std::fmt::Display) -> Error {
    Error::Device(format!("{what}: {error}"))
}

fn written(bytes: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = bytes.iter().map(|c| *c as u8).collect();
    let text = CStr::from_bytes_until_nul(&bytes).unwrap_or_default();
    text.to_string_lossy().into_owned()
}

/// Files to try before the system's loader.
fn candidates() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    if let Some(file) = variable("LOCKSTEP_NVRTC") {
        return vec![file];
    }
    let cache = variable("HOME").map(|home| home.join(".cache/lockstep"));
    let homes = [variable("LOCKSTEP_HOME"), cache];
    let mut files: Vec<PathBuf> = homes
        .into_iter()
        .flatten()
        .map(|home| home.join("nvrtc").join(LIBRARY))
        .collect();
    files.dedup();
    files
}

fn find() -> Result<Nvrtc, String> {
    let files = candidates();
    for file in &files {
        // SAFETY: loading the compiler runs its initialisers, which set up its own memory.
        if let Ok(library) = unsafe { libloading::Library::new(file) } {
            // Once it is loaded, the bindings' look-up by name finds it wherever it lies.
            std::mem::forget(library);
            break;
        }
    }
    // SAFETY: as above.
    if !unsafe { sys::is_culib_present() } {
        let files: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
        return Err(format!(
            "NVRTC, the CUDA run-time compiler, is not at hand: looked for {} and for {LIBRARY} \
             where the system's loader looks; run scripts/setup cuda, or name the file in \
             LOCKSTEP_NVRTC",
            files.join(", ")
        ));
    }
    let mut version = (0, 0);
    // SAFETY: both pointers are valid for writes.
    unsafe { sys::nvrtcVersion(&mut version.0, &mut version.1) }
        .result()
        .map_err(|error| format!("NVRTC was found and does not answer: {error}"))?;
    Ok(Nvrtc { version })
}

fn architectures() -> Result<Vec<i32>, result::NvrtcError> {
    let mut count = 0;
    // SAFETY: the pointer is valid for writes, and the list is as long as it was asked to be.
    unsafe {
        sys::nvrtcGetNumSupportedArchs(&mut count).result()?;
        let mut list = vec![0; count as usize];
        sys::nvrtcGetSupportedArchs(list.as_mut_ptr()).result()?;
        Ok(list)
    }
}

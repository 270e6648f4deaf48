//! NVIDIA's run-time compiler, loaded when it is first needed.

use super::codegen::Source;
use crate::Error;
use libloading::{Library, Symbol};
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::path::PathBuf;
use std::ptr;
use std::sync::OnceLock;

/// What the loader is asked for after the places that the user and `scripts/setup` name.
const NAMES: [&str; 4] = [
    "libnvrtc.so.13",
    "libnvrtc.so.12",
    "libnvrtc.so",
    "/usr/local/cuda/lib64/libnvrtc.so",
];

/// A program of the compiler's, opaque.
type Program = *mut c_void;

/// The compiler's functions, which are the same in versions 11 to 13. Those that give an `i32` give
/// 0 when they succeed.
struct Functions {
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> i32,
    error: unsafe extern "C" fn(i32) -> *const c_char,
    architecture_count: unsafe extern "C" fn(*mut c_int) -> i32,
    architectures: unsafe extern "C" fn(*mut c_int) -> i32,
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> i32,
    destroy: unsafe extern "C" fn(*mut Program) -> i32,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> i32,
    ptx_size: unsafe extern "C" fn(Program, *mut usize) -> i32,
    ptx: unsafe extern "C" fn(Program, *mut c_char) -> i32,
    log_size: unsafe extern "C" fn(Program, *mut usize) -> i32,
    log: unsafe extern "C" fn(Program, *mut c_char) -> i32,
    /// What all of them lie in.
    _library: Library,
}

impl Functions {
    /// The functions of a library.
    ///
    /// # Safety
    /// The library is NVRTC.
    unsafe fn of(library: Library) -> Result<Functions, libloading::Error> {
        unsafe fn get<T: Copy>(library: &Library, name: &str) -> Result<T, libloading::Error> {
            let symbol: Symbol<T> = library.get(name)?;
            Ok(*symbol)
        }
        let lib = &library;
        Ok(Functions {
            version: get(lib, "nvrtcVersion")?,
            error: get(lib, "nvrtcGetErrorString")?,
            architecture_count: get(lib, "nvrtcGetNumSupportedArchs")?,
            architectures: get(lib, "nvrtcGetSupportedArchs")?,
            create: get(lib, "nvrtcCreateProgram")?,
            destroy: get(lib, "nvrtcDestroyProgram")?,
            compile: get(lib, "nvrtcCompileProgram")?,
            ptx_size: get(lib, "nvrtcGetPTXSize")?,
            ptx: get(lib, "nvrtcGetPTX")?,
            log_size: get(lib, "nvrtcGetProgramLogSize")?,
            log: get(lib, "nvrtcGetProgramLog")?,
            _library: library,
        })
    }

    fn check(&self, status: i32) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the compiler gives a static string for every status.
        let text = unsafe { CStr::from_ptr((self.error)(status)) };
        Err(text.to_string_lossy().into_owned())
    }

    /// A text of a program: its size and then itself, ending with a zero byte.
    ///
    /// # Safety
    /// The program is alive, and the functions are a pair for the same text.
    unsafe fn text(
        &self,
        program: Program,
        size: unsafe extern "C" fn(Program, *mut usize) -> i32,
        write: unsafe extern "C" fn(Program, *mut c_char) -> i32,
    ) -> Result<String, String> {
        let mut len = 0;
        self.check(size(program, &mut len))?;
        let mut bytes = vec![0u8; len + 1];
        self.check(write(program, bytes.as_mut_ptr().cast()))?;
        let text = CStr::from_bytes_until_nul(&bytes).unwrap_or_default();
        Ok(text.to_string_lossy().into_owned())
    }
}

/// The compiler.
#[derive(Clone, Copy)]
pub struct Nvrtc {
    functions: &'static Functions,
    version: (i32, i32),
}

impl Nvrtc {
    /// Loads the compiler: the file that `LOCKSTEP_NVRTC` names, else what `scripts/setup cuda` has
    /// put into `LOCKSTEP_HOME`, else what the system's loader finds.
    ///
    /// # Errors
    /// Where it was looked for, when it is nowhere.
    pub fn load() -> Result<Nvrtc, Error> {
        static LOADED: OnceLock<Result<Functions, String>> = OnceLock::new();
        let loaded = LOADED.get_or_init(find);
        let functions = loaded
            .as_ref()
            .map_err(|error| Error::Device(error.clone()))?;
        let mut version = (0, 0);
        // SAFETY: both pointers are valid for writes.
        let status = unsafe { (functions.version)(&mut version.0, &mut version.1) };
        functions
            .check(status)
            .map_err(|error| failed("NVRTC does not say its version", error))?;
        Ok(Nvrtc { functions, version })
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
        let known = self
            .architectures()
            .map_err(|error| failed("NVRTC does not list its architectures", error))?;
        let usable = known.into_iter().filter(|known| *known <= capability).max();
        usable.ok_or_else(|| {
            let (major, minor) = self.version;
            Error::Device(format!(
                "NVRTC {major}.{minor} compiles for no device as old as sm_{capability}; \
                 use a newer GPU or an older NVRTC, or --device cpu"
            ))
        })
    }

    fn architectures(&self) -> Result<Vec<i32>, String> {
        let functions = self.functions;
        let mut count = 0;
        // SAFETY: the pointer is valid for writes, and the list is as long as it was asked to be.
        unsafe {
            functions.check((functions.architecture_count)(&mut count))?;
            let mut list = vec![0; count as usize];
            functions.check((functions.architectures)(list.as_mut_ptr()))?;
            Ok(list)
        }
    }

    /// The PTX of a source for an architecture (such as 90), with every float operation rounded as
    /// it is written: none is contracted, none flushes subnormals.
    ///
    /// # Errors
    /// The compiler's log, when it refuses the source.
    pub fn compile(&self, source: &Source, architecture: i32) -> Result<String, Error> {
        let functions = self.functions;
        let text = CString::new(source.text.as_str()).expect("generated text has no zero byte");
        let options = [
            &format!("--gpu-architecture=compute_{architecture}"),
            "--fmad=false",
            "--ftz=false",
            "--prec-div=true",
            "--prec-sqrt=true",
            "--std=c++17",
        ]
        .map(|option| CString::new(option).expect("an option has no zero byte"));
        let pointers = options.each_ref().map(|option| option.as_ptr());
        let mut program = ptr::null_mut();
        // SAFETY: the texts outlive the program, which is destroyed after its last use.
        unsafe {
            let (name, none) = (c"lockstep.cu".as_ptr(), ptr::null());
            let created = (functions.create)(&mut program, text.as_ptr(), name, 0, none, none);
            functions
                .check(created)
                .map_err(|error| failed("NVRTC cannot start", error))?;
            let status = (functions.compile)(program, pointers.len() as c_int, pointers.as_ptr());
            let ptx = match functions.check(status) {
                Ok(()) => functions
                    .text(program, functions.ptx_size, functions.ptx)
                    .map_err(|error| failed("NVRTC gives no PTX", error)),
                Err(error) => {
                    let log = functions.text(program, functions.log_size, functions.log);
                    let log = log.unwrap_or_default();
                    Err(failed(
                        "NVRTC refuses the kernels",
                        format!("{error}\n{log}"),
                    ))
                }
            };
            // Nothing depends on whether the compiler could free its memory.
            (functions.destroy)(&mut program);
            ptx
        }
    }
}

fn failed(what: &str, error: impl std::fmt::Display) -> Error {
    Error::Device(format!("{what}: {error}"))
}

/// Where the compiler may be, the likeliest first.
fn candidates() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = variable("HOME").map(|home| home.join(".cache/lockstep"));
    let homes = [variable("LOCKSTEP_HOME"), cache].into_iter().flatten();
    let mut files: Vec<PathBuf> = variable("LOCKSTEP_NVRTC")
        .into_iter()
        .chain(homes.map(|home| home.join("nvrtc/libnvrtc.so.12")))
        .chain(NAMES.map(PathBuf::from))
        .collect();
    files.dedup();
    files
}

fn find() -> Result<Functions, String> {
    let files = candidates();
    for file in &files {
        // SAFETY: loading the compiler runs its initialisers, which set up its own memory.
        let found = unsafe { Library::new(file).and_then(|library| Functions::of(library)) };
        if let Ok(functions) = found {
            return Ok(functions);
        }
    }
    let files: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    Err(format!(
        "NVRTC, the CUDA run-time compiler, is not at hand: tried {}; run scripts/setup cuda, or \
         name the file in LOCKSTEP_NVRTC",
        files.join(", ")
    ))
}

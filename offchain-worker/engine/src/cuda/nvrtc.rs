//! NVIDIA's run-time compiler, loaded when it is first needed.

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

/// A function that gives the size of a program's text or code, and one that gives that itself.
type Size = unsafe extern "C" fn(Program, *mut usize) -> i32;
/// See [`Size`].
type Write = unsafe extern "C" fn(Program, *mut c_char) -> i32;

/// The compiler's functions, which are the same in versions 11.2 to 13. Those that give an `i32` give
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
    ptx_size: Size,
    ptx: Write,
    cubin_size: Size,
    cubin: Write,
    log_size: Size,
    log: Write,
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
            cubin_size: get(lib, "nvrtcGetCUBINSize")?,
            cubin: get(lib, "nvrtcGetCUBIN")?,
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

    /// What a program has become: its size and then itself.
    ///
    /// # Safety
    /// The program is alive, and the functions are a pair.
    unsafe fn read(&self, program: Program, size: Size, write: Write) -> Result<Vec<u8>, String> {
        let mut len = 0;
        self.check(size(program, &mut len))?;
        let mut bytes = vec![0u8; len];
        self.check(write(program, bytes.as_mut_ptr().cast()))?;
        Ok(bytes)
    }

    /// The result of a program that has been compiled.
    ///
    /// # Safety
    /// The program is alive.
    unsafe fn result(&self, program: Program, target: Target) -> Result<Compiled, String> {
        let text = self.read(program, self.ptx_size, self.ptx)?;
        let ptx = CStr::from_bytes_until_nul(&text).unwrap_or_default();
        Ok(Compiled {
            ptx: ptx.to_string_lossy().into_owned(),
            image: match target {
                Target::Only(_) => self.read(program, self.cubin_size, self.cubin)?,
                Target::From(_) => text,
            },
        })
    }
}

/// What the compiler makes of a source.
pub struct Compiled {
    /// Its instructions as text.
    pub ptx: String,
    /// What the driver loads: machine code, or else the text with a zero byte after it.
    pub image: Vec<u8>,
}

/// What is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Devices of this architecture, such as 90, alone: nothing is left to the driver.
    Only(i32),
    /// Devices of this architecture and later ones, for which the driver finishes the work.
    From(i32),
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

    /// The best target for a device of `capability` (such as 90).
    ///
    /// # Errors
    /// When the compiler knows only newer ones.
    pub fn target(&self, capability: i32) -> Result<Target, Error> {
        let known = self
            .architectures()
            .map_err(|error| failed("NVRTC does not list its architectures", error))?;
        match known.into_iter().filter(|known| *known <= capability).max() {
            Some(known) if known == capability => Ok(Target::Only(known)),
            Some(known) => Ok(Target::From(known)),
            None => {
                let (major, minor) = self.version;
                Err(Error::Device(format!(
                    "NVRTC {major}.{minor} compiles for no device as old as sm_{capability}; use a \
                     newer GPU or an older NVRTC, or --device cpu"
                )))
            }
        }
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

    /// Compiles CUDA C++, with every float operation rounded as it is written: none is contracted,
    /// none flushes subnormals.
    ///
    /// # Errors
    /// The compiler's log, when it refuses the text.
    pub fn compile(&self, text: &str, target: Target) -> Result<Compiled, Error> {
        let functions = self.functions;
        let text = CString::new(text).expect("generated text has no zero byte");
        let architecture = match target {
            Target::Only(architecture) => format!("sm_{architecture}"),
            Target::From(architecture) => format!("compute_{architecture}"),
        };
        let options = [
            &format!("--gpu-architecture={architecture}"),
            "--fmad=false",
            "--ftz=false",
            "--prec-div=true",
            "--prec-sqrt=true",
            "--std=c++17",
            "--disable-warnings",
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
            let compiled = functions
                .check(status)
                .and_then(|()| functions.result(program, target));
            let compiled = compiled.map_err(|error| {
                let log = functions.read(program, functions.log_size, functions.log);
                let log = String::from_utf8_lossy(&log.unwrap_or_default()).into_owned();
                failed("NVRTC refuses the kernels", format!("{error}\n{log}"))
            });
            // Nothing depends on whether the compiler could free its memory.
            (functions.destroy)(&mut program);
            compiled
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

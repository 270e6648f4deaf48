//! OpenBLAS.

use super::variable::Variable;
use super::Blas;
use libloading::{Library, Symbol};
use lockstep_engine::cpu::Simd;
use std::ffi::{c_char, CStr};

/// How to get it.
pub const ADVICE: &str = "install it, on Debian: apt install libopenblas0";

/// OpenBLAS, when the loader knows it.
pub fn load() -> Option<Blas> {
    // On processors newer than itself OpenBLAS falls back to a generic kernel, and a comparison
    // with that, or with one that the environment asks for, says nothing. It reads this variable
    // when it is loaded.
    let kernel = match Simd::best() {
        Simd::Avx512 => Some("SKYLAKEX"),
        Simd::Avx2 => Some("HASWELL"),
        Simd::Baseline => None,
    };
    let kernel = kernel.map(|kernel| Variable::set("OPENBLAS_CORETYPE", kernel));
    let names = ["libopenblas.so.0", "libopenblas.so"].into_iter();
    // SAFETY: loading OpenBLAS runs its initialisers, which only set up its own threads.
    let library = names.map(|name| unsafe { Library::new(name) });
    let library = library.flatten().next()?;
    let variables = kernel.into_iter().collect();
    // SAFETY: builds with wider integers have other names.
    unsafe { Blas::new(library, b"openblas_set_num_threads\0", describe, variables) }
}

fn describe(library: &Library) -> String {
    let text = |symbol: &[u8]| {
        // SAFETY: both functions are documented to return a static C string.
        unsafe {
            let get: Symbol<unsafe extern "C" fn() -> *const c_char> = library.get(symbol).ok()?;
            Some(CStr::from_ptr(get()).to_string_lossy().into_owned())
        }
    };
    let config = text(b"openblas_get_config\0").unwrap_or_default();
    let version: Vec<&str> = config.split_whitespace().take(2).collect();
    let core = text(b"openblas_get_corename\0").unwrap_or_default();
    format!("{}, {core} kernel", version.join(" "))
}

//! Intel's MKL.

use super::variable::Variable;
use super::Blas;
use crate::bench::python::Python;
use libloading::{Library, Symbol};
use lockstep_engine::cpu::Simd;
use std::ffi::{c_char, CStr, OsString};
use std::path::{Path, PathBuf};

/// How to get it.
pub const ADVICE: &str =
    "let Python install it, python3 -m pip install mkl, or name libmkl_rt with LOCKSTEP_MKL";

/// Names the library, or the folder that it is in.
const VARIABLE: &str = "LOCKSTEP_MKL";

/// The library's names, the newest first.
const NAMES: [&str; 4] = [
    "libmkl_rt.so.3",
    "libmkl_rt.so.2",
    "libmkl_rt.so.1",
    "libmkl_rt.so",
];

/// MKL where LOCKSTEP_MKL says, where the loader knows it, or beside a Python.
pub fn load(python: Option<&Python>) -> Option<Blas> {
    // Integers of 32 bits, whatever else on this machine uses.
    let mut variables = vec![Variable::set("MKL_INTERFACE_LAYER", "LP64")];
    // Its idle threads would otherwise keep a core busy while the next one is measured.
    variables.extend(Variable::prefer("KMP_BLOCKTIME", "10"));
    let places = places(
        std::env::var_os(VARIABLE),
        python.map(|python| &*python.prefix),
    );
    // SAFETY: loading this part of MKL only prepares it to load the rest.
    let library = (places.iter()).find_map(|place| unsafe { Library::new(place) }.ok())?;
    enable(&library);
    // SAFETY: that its integers have 32 bits was just asked for.
    unsafe { Blas::new(library, b"MKL_Set_Num_Threads\0", describe, variables) }
}

/// Where to look, in this order.
fn places(named: Option<OsString>, prefix: Option<&Path>) -> Vec<PathBuf> {
    let inside = |folder: &Path| NAMES.map(|name| folder.join(name)).to_vec();
    match named.map(PathBuf::from) {
        Some(folder) if folder.is_dir() => inside(&folder),
        Some(file) => vec![file],
        None => {
            let beside = prefix.map(|prefix| inside(&prefix.join("lib")));
            let known = NAMES.map(PathBuf::from).into_iter();
            known.chain(beside.into_iter().flatten()).collect()
        }
    }
}

/// Asks for the widest instructions, which MKL grants on processors that it knows. The first
/// call of the library, as its manual wants.
fn enable(library: &Library) {
    // From `mkl_types.h`.
    const AVX2: i32 = 2;
    const AVX512: i32 = 4;
    let wanted = match Simd::best() {
        Simd::Avx512 => AVX512,
        Simd::Avx2 => AVX2,
        Simd::Baseline => return,
    };
    // SAFETY: the symbol has this type in every version of MKL; any number is allowed.
    unsafe {
        let enable = library.get::<unsafe extern "C" fn(i32) -> i32>(b"MKL_Enable_Instructions\0");
        if let Ok(enable) = enable {
            enable(wanted);
        }
    }
}

fn describe(library: &Library) -> String {
    let mut text: [c_char; 256] = [0; 256];
    // SAFETY: the symbol has this type in every version of MKL, and writes no more than so many
    // bytes, the last of them 0.
    let text = unsafe {
        let get: Result<Symbol<unsafe extern "C" fn(*mut c_char, i32)>, _> =
            library.get(b"MKL_Get_Version_String\0");
        if let Ok(get) = get {
            get(text.as_mut_ptr(), text.len() as i32 - 1);
        }
        CStr::from_ptr(text.as_ptr()).to_string_lossy()
    };
    let version = (text.split("Version ").nth(1)).and_then(|rest| rest.split(['-', ' ']).next());
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let kernel = match kernel(&maps) {
        Some("def") => "def kernel, its choice for processors that are not Intel's".into(),
        Some(kernel) => format!("{kernel} kernel"),
        None => "unknown kernel".into(),
    };
    format!("MKL {}, {kernel}", version.unwrap_or("of unknown version"))
}

/// The code path, which is a library of its own, among the files that the process has mapped.
fn kernel(maps: &str) -> Option<&str> {
    let files = maps.lines().filter_map(|line| line.rsplit('/').next());
    let mut parts = files.filter_map(|file| file.strip_prefix("libmkl_")?.split(".so").next());
    parts.find(|part| ["def", "mc3", "avx2", "avx512", "avx10"].contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mkl_is_looked_for_where_it_is_named_and_nowhere_else() {
        let file = PathBuf::from("some/libmkl_rt.so.9");
        assert_eq!(places(Some(file.clone().into()), None), [file]);
        let folder = tempfile::tempdir().unwrap();
        let inside = places(Some(folder.path().into()), None);
        assert_eq!(inside[0], folder.path().join("libmkl_rt.so.3"));
        let places = places(None, Some(Path::new("prefix")));
        assert_eq!(places[0], Path::new("libmkl_rt.so.3"));
        assert!(places.contains(&PathBuf::from("prefix/lib/libmkl_rt.so.2")));
    }

    #[test]
    fn the_code_path_is_read_from_the_mapped_files() {
        let maps = "7f00-7f01 r-xp 00000000 08:01 1 /a/libmkl_vml_avx2.so.2\n\
                    7f01-7f02 r-xp 00000000 08:01 2 /a/libmkl_core.so.2\n\
                    7f02-7f03 r-xp 00000000 08:01 3 /a/libmkl_avx512.so.2\n";
        assert_eq!(kernel(maps), Some("avx512"));
        assert_eq!(kernel("7f00-7f01 r-xp 0 08:01 1 /a/libc.so.6"), None);
    }
}

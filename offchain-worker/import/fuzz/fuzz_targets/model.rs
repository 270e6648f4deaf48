//! Any bytes as an ONNX file.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/whole.rs"]
mod whole;

fuzz_target!(|bytes: &[u8]| {
    let _ = whole::import(bytes);
});

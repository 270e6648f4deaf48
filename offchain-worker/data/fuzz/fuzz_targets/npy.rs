//! Any bytes as a `.npy` array.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockstep_data::Format;

fuzz_target!(|bytes: &[u8]| {
    lockstep_data_fuzz::read(Format::Npy, bytes);
});

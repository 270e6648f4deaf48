//! Any bytes as a CSV table.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockstep_data::Format;

fuzz_target!(|bytes: &[u8]| {
    lockstep_data_fuzz::read(Format::Csv { delimiter: b',' }, bytes);
});

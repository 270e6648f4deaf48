//! Any bytes as a Parquet table.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockstep_data::Format;

fuzz_target!(
    init: {
        // The reader catches the decoder's panics, and the fuzzer's hook would abort at them. A
        // panic that is not caught still ends the run.
        std::panic::set_hook(Box::new(|_| {}));
    },
    |bytes: &[u8]| {
        lockstep_data_fuzz::read(Format::Parquet, bytes);
    }
);

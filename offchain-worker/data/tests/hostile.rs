//! Damaged and hostile files are refused at once and without great allocations.

mod support;

use lockstep_data::{Format, Source};
use lockstep_protocol::program::Dtype;
use proptest::prelude::*;
use std::{path::Path, sync::LazyLock, time::Instant};
use support::{
    allocator::{largest_allocation, Counting},
    files, npy, npz, read, refused,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn damaged_files_never_panic_and_allocate_little(
        which: prop::sample::Index,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        static FILES: LazyLock<Vec<(Format, Vec<u8>, &str)>> = LazyLock::new(files);
        let (format, file, name) = which.get(&FILES);
        let mut file = file.clone();
        for (at, bits) in flips {
            let at = at.index(file.len());
            file[at] ^= bits;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let source = Source::new(Path::new("x"), *format, file);
        let _ = source.names();
        if let Ok(columns) = source.columns(&[name]) {
            for dtype in [Dtype::F32, Dtype::U8] {
                let _ = columns[0].encode(dtype);
            }
        }
        // No file here is longer than 4 KiB; a page of Parquet may claim 16 MiB.
        let largest = largest_allocation();
        prop_assert!(largest <= 24 << 20, "{} bytes", largest);
    }
}

#[test]
fn files_that_claim_more_than_they_hold_are_refused_at_once() {
    let began = Instant::now();
    let ten_gigabytes = npy("<f4", &[2_500_000_000], &[0; 900]);
    refused(read(Format::Npy, &ten_gigabytes, &["x"]), &["truncated"]);
    let archive = npz(&[("a", ten_gigabytes)], true);
    refused(
        read(Format::Npz, &archive, &["a"]),
        &["column \"a\"", "truncated"],
    );
    let header = br#"{"a":{"dtype":"F32","shape":[2500000000],"data_offsets":[0,10000000000]}}"#;
    let len = (header.len() as u64).to_le_bytes();
    let tensors = [&len[..], header, &[0; 900]].concat();
    refused(
        read(Format::Safetensors, &tensors, &["a"]),
        &["no whole safetensors"],
    );
    let header_only = [&(1u64 << 60).to_le_bytes()[..], header].concat();
    refused(
        read(Format::Safetensors, &header_only, &["a"]),
        &["no whole safetensors"],
    );
    let overflow = npy("<f8", &[1 << 40, 1 << 40], &[0; 64]);
    refused(read(Format::Npy, &overflow, &["x"]), &["truncated"]);
    assert!(largest_allocation() < 64 << 20);
    assert!(began.elapsed().as_secs_f64() < 1.0);
}

//! Damaged and hostile files are refused at once and without great allocations.

mod support;

use lockstep_data::{Format, Source};
use lockstep_protocol::program::Dtype;
use proptest::prelude::*;
use std::{path::Path, sync::LazyLock, time::Instant};
use support::{
    allocator::{largest_allocation, Counting},
    bytes, compressions, npy, npz, read, refused, safetensors, table, CSV,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A sound file of each format, and a column of each.
fn files() -> Vec<(Format, Vec<u8>, &'static str)> {
    let data = bytes(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], f32::to_le_bytes);
    let array = npy("<f4", &[3, 2], &data);
    let tensor = ("a", ::safetensors::Dtype::F32, vec![3, 2], data);
    let mut files = vec![
        (Format::Npy, array.clone(), "x"),
        (Format::Npz, npz(&[("a", array.clone())], false), "a"),
        (Format::Npz, npz(&[("a", array)], true), "a"),
        (Format::Safetensors, safetensors(&[tensor]), "a"),
        (CSV, b"a,b\n1,2.5\n-3,4\n5e1,6\n".to_vec(), "a"),
    ];
    for compression in compressions() {
        for name in ["x", "n", "flag", "list"] {
            files.push((Format::Parquet, table(40).file(compression), name));
        }
    }
    files
}

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

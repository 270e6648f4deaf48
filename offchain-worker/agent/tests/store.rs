//! The artifact store keeps what it says and refuses what it cannot vouch for.

mod support;

use lockstep_agent::run::workload::Workload;
use lockstep_agent::store::{Error, Store};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn open(dir: &Path) -> Store {
    Store::open(dir.to_str().unwrap()).unwrap()
}

fn only_file(dir: &Path) -> PathBuf {
    fn files(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => files(&path, found),
                false => found.push(path),
            }
        }
    }
    let mut found = Vec::new();
    files(dir, &mut found);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn what_is_put_is_had_by_its_blake3_hash() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for len in [0usize, 1, 1023, 1024, 1025, 3_000_000] {
        let bytes: Vec<u8> = (0..len).map(|i| (i % 253) as u8).collect();
        let hash = store.put(&bytes).unwrap();
        assert_eq!(hash, *blake3::hash(&bytes).as_bytes());
        assert_eq!(store.get(&hash).unwrap(), bytes);
        assert_eq!(store.get_exact(&hash, len as u64).unwrap(), bytes);
        assert!(store.has(&hash).unwrap());
    }
}

#[test]
fn a_damaged_object_is_refused_and_named_and_mended_by_putting_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bytes = vec![7; 5000];
    let hash = store.put(&bytes).unwrap();
    let path = only_file(dir.path());
    let mut damaged = bytes.clone();
    damaged[4999] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let error = store.get(&hash).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(&hex::encode(hash)), "{error}");
    store.put(&bytes).unwrap();
    assert_eq!(store.get(&hash).unwrap(), bytes);
}

#[test]
fn a_truncated_or_grown_object_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bytes = vec![3; 4096];
    let hash = store.put(&bytes).unwrap();
    let path = only_file(dir.path());
    for len in [0, 1, 4095] {
        fs::write(&path, &bytes[..len]).unwrap();
        assert!(matches!(store.get(&hash), Err(Error::Corrupt { .. })));
        assert!(matches!(
            store.get_exact(&hash, 4096),
            Err(Error::Length { .. })
        ));
    }
    fs::write(&path, [&bytes[..], &[0]].concat()).unwrap();
    assert!(matches!(
        store.get_exact(&hash, 4096),
        Err(Error::Length { .. })
    ));
}

#[test]
fn an_object_of_another_length_than_the_task_says_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let hash = store.put(b"four").unwrap();
    assert!(matches!(
        store.get_exact(&hash, 5),
        Err(Error::Length {
            want: 5,
            got: 4,
            ..
        })
    ));
    assert!(matches!(
        store.get_exact(&hash, 3),
        Err(Error::Length {
            want: 3,
            got: 4,
            ..
        })
    ));
}

#[test]
fn an_absent_object_is_fetched_from_a_source_and_kept() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hash = open(there.path()).put(b"far away").unwrap();
    let store = open(here.path());
    assert!(matches!(store.get(&hash), Err(Error::Missing { .. })));
    let both = store.with_source(there.path().to_str().unwrap()).unwrap();
    assert_eq!(both.get(&hash).unwrap(), b"far away");
    assert_eq!(store.get(&hash).unwrap(), b"far away");
}

#[test]
fn a_liars_source_changes_nothing() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hash = open(there.path()).put(b"true").unwrap();
    fs::write(only_file(there.path()), b"lies").unwrap();
    let store = open(here.path())
        .with_source(there.path().to_str().unwrap())
        .unwrap();
    assert!(matches!(store.get(&hash), Err(Error::Corrupt { .. })));
    assert!(!open(here.path()).has(&hash).unwrap());
}

/// Runs on machines that let the test mount a small file system; the recognition of the error
/// itself is tested beside it, everywhere.
#[test]
fn a_full_disk_is_called_a_full_disk_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mount = |arguments: &[&str]| {
        let output = Command::new(arguments[0])
            .args(&arguments[1..])
            .arg(dir.path())
            .output();
        output.is_ok_and(|output| output.status.success())
    };
    if !mount(&["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs"]) {
        return;
    }
    let store = open(dir.path());
    let small = store.put(b"small").unwrap();
    let refused = store.put(&vec![5; 1 << 20]);
    let kept = store.get(&small);
    let absent = store.has(blake3::hash(&vec![5; 1 << 20]).as_bytes());
    assert!(mount(&["umount"]));
    assert!(matches!(refused, Err(Error::Full { .. })), "{refused:?}");
    assert_eq!(kept.unwrap(), b"small");
    assert!(!absent.unwrap(), "half an object must not appear");
}

#[test]
fn a_task_whose_files_are_all_there_is_fetched_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let workload = support::workload(10, 5);
    workload.publish(&store).unwrap();
    let fetched = Workload::fetch(&store, &workload.spec).unwrap();
    assert_eq!(fetched.program, workload.program);
    assert_eq!(fetched.genesis, workload.genesis);
}

#[test]
fn a_task_whose_dataset_is_one_record_too_long_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let workload = support::workload(10, 5);
    workload.publish(&store).unwrap();
    let mut spec = workload.spec.clone();
    spec.datasets[0].records += 1;
    assert!(Workload::fetch(&store, &spec).is_err());
    spec.datasets[0].records -= 2;
    assert!(Workload::fetch(&store, &spec).is_err());
}

#[test]
fn a_program_with_one_node_changed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let workload = support::workload(10, 5);
    workload.publish(&store).unwrap();
    let spec = &workload.spec;
    let name = hex::encode(spec.program);
    let path = dir
        .path()
        .join("programs")
        .join(&name[..2])
        .join(&name[2..]);
    let mut nodes = workload.program.nodes.clone();
    nodes.swap(7, 8);
    fs::write(path, scale::Encode::encode(&nodes)).unwrap();
    let got = store.get_program(&spec.program, spec.nodes, spec.slots);
    assert!(matches!(got, Err(Error::Corrupt { .. })));
}

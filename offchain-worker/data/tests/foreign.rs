//! Files that NumPy and Arrow wrote; `fixtures/make.py` makes them.

use lockstep_data::{Column, Error, Format, Kind, Source};
use lockstep_protocol::program::Dtype;
use std::path::Path;

fn open(name: &str) -> Source {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"));
    let path = folder.join(name);
    Source::open(&path, Format::of(&path).unwrap()).unwrap()
}

fn column(file: &Source, name: &str) -> Result<Column, Error> {
    Ok(file.columns(&[name])?.remove(0))
}

fn floats(column: &Column) -> Vec<f32> {
    let bytes = column.encode(Dtype::F32).unwrap();
    let float = |b: &[u8]| f32::from_le_bytes(b.try_into().unwrap());
    bytes.chunks_exact(4).map(float).collect()
}

#[test]
fn archives_give_their_arrays_by_name() {
    for name in ["stored.npz", "deflated.npz"] {
        let file = open(name);
        assert_eq!(file.names().unwrap(), ["x", "half", "label", "flag"]);
        let x = column(&file, "x").unwrap();
        assert_eq!((x.rows(), x.shape(), x.kind()), (4, &[3][..], Kind::F64));
        assert_eq!(
            floats(&x),
            (0..12).map(|k| k as f32 / 8.0).collect::<Vec<_>>()
        );
        let half = column(&file, "half").unwrap();
        assert_eq!(floats(&half), [1.5, -2.0, 0.25, 65504.0]);
        let label = column(&file, "label").unwrap();
        assert_eq!(label.kind().natural(), Dtype::I32);
        assert_eq!(label.encode(Dtype::U8).unwrap(), [2, 0, 1, 2]);
        let flag = column(&file, "flag").unwrap();
        assert_eq!(flag.encode(Dtype::U8).unwrap(), [1, 0, 0, 1]);
        let message = column(&file, "y").unwrap_err().to_string();
        assert!(
            message.contains("no column \"y\"") && message.contains("\"half\""),
            "{message}"
        );
    }
}

#[test]
fn tables_give_their_columns_whatever_packs_them() {
    for name in ["none", "snappy", "gzip", "zstd"] {
        let file = open(&format!("table_{name}.parquet"));
        assert_eq!(file.names().unwrap(), ["x", "label", "flag", "pair"]);
        assert_eq!(
            floats(&column(&file, "x").unwrap()),
            [0.0, 0.375, 0.75, 1.125]
        );
        let label = column(&file, "label").unwrap();
        assert_eq!(label.encode(Dtype::U8).unwrap(), [2, 0, 1, 2]);
        let flag = column(&file, "flag").unwrap();
        assert_eq!(flag.encode(Dtype::U8).unwrap(), [1, 0, 0, 1]);
        let pair = column(&file, "pair").unwrap();
        assert_eq!((pair.rows(), pair.shape()), (4, &[2][..]));
        assert_eq!(floats(&pair), [0.5, 0.0, 0.5, 1.0, 0.5, 2.0, 0.5, 3.0]);
    }
    let file = open("table.csv");
    assert_eq!(
        floats(&column(&file, "x").unwrap()),
        [0.0, 0.375, 0.75, 1.125]
    );
    let file = open("arrays.safetensors");
    assert_eq!(
        floats(&column(&file, "half").unwrap()),
        [1.5, -2.0, 0.25, 65504.0]
    );
}

#[test]
fn a_single_array_is_named_like_its_file() {
    let x = column(&open("x.npy"), "x").unwrap();
    assert_eq!((x.rows(), x.count()), (4, 3));
}

#[test]
fn arrays_that_cannot_be_used_are_refused_with_the_remedy() {
    for (name, part) in [
        ("fortran", "np.ascontiguousarray"),
        ("big_endian", "big-endian"),
        ("structured", "structures"),
        ("complex", "\"<c8\" is not supported"),
        ("scalar", "single number"),
        ("empty", "empty"),
    ] {
        let message = column(&open(&format!("{name}.npy")), name)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains(&format!("{name}.npy")) && message.contains(part),
            "{message}"
        );
    }
}

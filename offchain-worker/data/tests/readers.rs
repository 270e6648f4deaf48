//! What is written is read back; what cannot be used is refused with its place.

mod support;

use lockstep_data::{Dataset, Field, Format, Kind, Layout, Windows};
use lockstep_protocol::program::Dtype;
use proptest::prelude::*;
use std::path::Path;
use support::{bytes, compressions, npy, npz, read, refused, safetensors, table, Table, CSV};

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn arrays_are_read_back(numbers in prop::collection::vec(any::<i32>(), 1..50), packed: bool) {
        let data = bytes(&numbers, i32::to_le_bytes);
        let array = npy("<i4", &[numbers.len()], &data);
        let archive = npz(&[("other", vec![]), ("a", array.clone())], packed);
        let shape = vec![numbers.len()];
        let tensors = safetensors(&[("a", ::safetensors::Dtype::I32, shape, data.clone())]);
        for (format, file, name) in [
            (Format::Npy, array, "x"),
            (Format::Npz, archive, "a"),
            (Format::Safetensors, tensors, "a"),
        ] {
            let column = read(format, &file, &[name]).unwrap().remove(0);
            prop_assert_eq!(column.kind(), Kind::I32);
            prop_assert_eq!(column.encode(Dtype::I32).unwrap(), data.clone());
        }
    }

    #[test]
    fn csv_is_read_back(rows in prop::collection::vec((any::<i32>(), -1e6f64..1e6), 1..50)) {
        let line = |(n, x): &(i32, f64)| format!("{n}, {x}\r\n");
        let text = format!("n,x\r\n{}", rows.iter().map(line).collect::<String>());
        let columns = read(CSV, text.as_bytes(), &["x", "n"]).unwrap();
        let (n, x): (Vec<i32>, Vec<f64>) = rows.into_iter().unzip();
        let x: Vec<f32> = x.into_iter().map(|x| x as f32).collect();
        prop_assert_eq!(columns[0].encode(Dtype::F32).unwrap(), bytes(&x, f32::to_le_bytes));
        prop_assert_eq!(columns[1].encode(Dtype::I32).unwrap(), bytes(&n, i32::to_le_bytes));
    }

    #[test]
    fn parquet_is_read_back(rows in 2usize..3000, which in 0usize..4) {
        let table = table(rows);
        let file = table.file(compressions()[which]);
        let columns = read(Format::Parquet, &file, &["list", "x", "n", "flag"]).unwrap();
        let list = bytes(&table.list.concat(), f32::to_le_bytes);
        prop_assert_eq!(columns[0].shape(), [2]);
        prop_assert_eq!(columns[0].encode(Dtype::F32).unwrap(), list);
        let x: Vec<f32> = table.x.iter().map(|&x| x as f32).collect();
        prop_assert_eq!(columns[1].encode(Dtype::F32).unwrap(), bytes(&x, f32::to_le_bytes));
        let n: Vec<u8> = table.n.iter().map(|n| n.unwrap() as u8).collect();
        prop_assert_eq!(columns[2].encode(Dtype::U8).unwrap(), n);
        prop_assert_eq!(columns[3].rows(), rows);
    }
}

#[test]
fn nearly_nothing_that_unpacks_to_very_many_equal_numbers_is_refused() {
    let rows = 4 << 20;
    let table = Table {
        x: vec![0.5; rows],
        n: vec![Some(1); rows],
        flag: vec![true; rows],
        list: vec![vec![]; rows],
    };
    let file = table.file(compressions()[3]);
    assert!(file.len() < 64_000, "{}", file.len());
    refused(
        read(Format::Parquet, &file, &["x"]),
        &["column \"x\"", "nearly all of them equal"],
    );
    let zeros = npy("|u1", &[40 << 20], &vec![0; 40 << 20]);
    let archive = npz(&[("a", zeros)], true);
    assert!(archive.len() < 64_000, "{}", archive.len());
    refused(
        read(Format::Npz, &archive, &["a"]),
        &["column \"a\"", "unpacks to more than"],
    );
}

#[test]
fn a_header_of_very_many_names_does_not_take_their_square() {
    let names: Vec<String> = (0..300_000).map(|k| format!("c{k}")).collect();
    let text = format!("{}\n", names.join(","));
    let began = std::time::Instant::now();
    refused(
        read(CSV, text.as_bytes(), &["d"]),
        &["no column \"d\"", ", ..]"],
    );
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    refused(
        read(CSV, text.as_bytes(), &all),
        &["column \"c0\"", "empty"],
    );
    // Comparing all with all would take minutes.
    assert!(began.elapsed().as_secs_f64() < 60.0);
}

#[test]
fn tables_name_the_row_and_column_that_is_wrong() {
    let csv = |text: &str, name| read(CSV, text.as_bytes(), &[name]);
    refused(csv("", "a"), &["empty"]);
    refused(csv("a,b\n", "a"), &["column \"a\"", "empty"]);
    refused(
        csv("a,b\n1,2\n3\n", "a"),
        &["row 1", "line 3 has 1 cells and the header 2"],
    );
    refused(csv("a,b\n1,2\n3,4,5\n", "a"), &["row 1", "3 cells"]);
    refused(
        csv("a\n1\nnan\n", "a"),
        &["column \"a\", row 1", "\"nan\" on line 3"],
    );
    refused(csv("a\n1\n1e999\n", "a"), &["row 1", "no finite number"]);
    refused(csv("a\n1\n\"two\"\n", "a"), &["row 1", "\"two\""]);
    refused(csv("a,b\n1,\n", "b"), &["column \"b\", row 0", "\"\""]);
    refused(csv("a,a\n1,2\n", "a"), &["two columns"]);
    refused(
        csv("a,b\n1,2\n", "c"),
        &["no column \"c\"", "[\"a\", \"b\"]"],
    );
    refused(read(CSV, b"a\n\xff\n", &["a"]), &["row 0", "not UTF-8"]);
}

#[test]
fn parquet_names_the_row_that_is_missing_or_ragged() {
    let file = |change: fn(&mut Table)| {
        let mut table = table(100);
        change(&mut table);
        table.file(compressions()[1])
    };
    let missing = file(|t| t.n[70] = None);
    refused(
        read(Format::Parquet, &missing, &["n"]),
        &["column \"n\", row 70", "missing"],
    );
    let ragged = file(|t| t.list[61].push(0.0));
    refused(
        read(Format::Parquet, &ragged, &["list"]),
        &["column \"list\", row 61", "not 2 numbers"],
    );
    let last = file(|t| t.list[99].clear());
    refused(
        read(Format::Parquet, &last, &["list"]),
        &["row 99", "missing"],
    );
    let no_number = file(|t| t.x[3] = f64::NAN);
    let column = read(Format::Parquet, &no_number, &["x"]).unwrap().remove(0);
    refused(column.encode(Dtype::F32), &["column \"x\", row 3", "NaN"]);
}

#[test]
fn columns_are_joined_row_by_row() {
    let columns = read(CSV, b"a,b,c\n1,0.5,7\n2,0.25,8\n", &["b", "a", "c"]).unwrap();
    let [b, a, c] = columns.try_into().unwrap();
    let fields = vec![
        Field::new("label", Dtype::U8, 1),
        Field::new("x", Dtype::F32, 2),
    ];
    let layout = Layout::aligned(fields).unwrap();
    let dataset = Dataset::join(&layout, &[("label", vec![c]), ("x", vec![b, a])]).unwrap();
    let record = |x: f32, y: f32, label| {
        [&x.to_le_bytes()[..], &y.to_le_bytes(), &[label, 0, 0, 0]].concat()
    };
    let want = [record(0.5, 1.0, 7), record(0.25, 2.0, 8)].concat();
    assert_eq!((dataset.records, dataset.bytes), (2, want));
}

#[test]
fn columns_of_different_lengths_are_not_joined() {
    let a = read(CSV, b"a\n1\n2\n", &["a"]).unwrap();
    let b = read(CSV, b"b\n1\n2\n3\n", &["b"]).unwrap();
    let fields = vec![
        Field::new("a", Dtype::I32, 1),
        Field::new("b", Dtype::I32, 1),
    ];
    let layout = Layout::aligned(fields).unwrap();
    let joined = Dataset::join(&layout, &[("a", a), ("b", b)]);
    refused(joined, &["column \"b\"", "3 rows", "column \"a\" has 2"]);
}

#[test]
fn what_is_held_out_depends_on_the_number_of_rows_alone() {
    let layout = Layout::aligned(vec![Field::new("a", Dtype::I32, 1)]).unwrap();
    let dataset = |rows: usize| {
        let text: String = (0..rows).map(|k| format!("{}\n", k * 10)).collect();
        let column = read(CSV, format!("a\n{text}").as_bytes(), &["a"]).unwrap();
        Dataset::join(&layout, &[("a", column)]).unwrap()
    };
    let (train, test) = dataset(50).hold_out(&layout, 0.2).unwrap();
    assert_eq!((train.records, test.records), (40, 10));
    let rows = |d: &Dataset| (0..d.records).map(|k| d.row(k)).collect::<Vec<u64>>();
    let mut all = [rows(&train), rows(&test)].concat();
    assert!(rows(&train).is_sorted() && rows(&test).is_sorted());
    all.sort_unstable();
    assert_eq!(all, (0..50).collect::<Vec<u64>>());
    for part in [&train, &test] {
        for (k, record) in part.bytes.chunks_exact(4).enumerate() {
            let number = i32::from_le_bytes(record.try_into().unwrap());
            assert_eq!(number as u64, part.row(k as u64) * 10);
        }
    }
    assert_eq!(rows(&test), [1, 15, 16, 26, 27, 29, 43, 45, 47, 48]);
    let found = train.check(&layout, "a", |word| {
        (word == 20).then(|| "twenty".to_string())
    });
    refused(found, &["column \"a\", row 2: twenty"]);
    let (train, test) = dataset(2).hold_out(&layout, 0.0).unwrap();
    assert_eq!((train.records, test.records), (1, 1));
    refused(dataset(1).hold_out(&layout, 0.5), &["single record"]);
}

#[test]
fn tokens_are_cut_into_windows_with_the_tokens_that_follow() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), (0..20).collect::<Vec<u8>>()).unwrap();
    let windows = |dtype, context, stride| Windows {
        dtype,
        context,
        stride,
    };
    let cut = windows(Dtype::U8, 4, 3);
    let layout = cut.layout().unwrap();
    assert_eq!(layout.record_size(), 5);
    let offset = |name| layout.find(name).unwrap().offset;
    assert_eq!((offset(Windows::TOKENS), offset(Windows::NEXT)), (0, 1));
    let whole = cut.read(file.path(), &layout).unwrap();
    assert_eq!(whole.records, 6);
    assert_eq!(whole.bytes[5..10], [3, 4, 5, 6, 7]);
    assert_eq!(whole.row(5), 15);
    let (train, test) = cut.split(file.path(), &layout, 0.3).unwrap();
    assert_eq!((train.records, test.records), (4, 1));
    assert_eq!((train.bytes[19], test.bytes[0], test.row(0)), (13, 14, 14));

    let wide = windows(Dtype::U16, 2, 2);
    let layout = wide.layout().unwrap();
    let pairs = wide.read(file.path(), &layout).unwrap();
    assert_eq!((layout.record_size(), pairs.records), (6, 4));
    assert_eq!(pairs.bytes[..6], [0, 1, 2, 3, 4, 5]);

    let long = windows(Dtype::U8, 20, 1);
    let layout = long.layout().unwrap();
    refused(
        long.read(file.path(), &layout),
        &["20 tokens", "fewer than the 21"],
    );
    std::fs::write(file.path(), [0; 7]).unwrap();
    let layout = wide.layout().unwrap();
    refused(wide.read(file.path(), &layout), &["7 bytes", "tokens of 2"]);
    refused(
        wide.read(Path::new("nowhere"), &layout),
        &["nowhere", "cannot be read"],
    );
}

#[test]
fn records_are_taken_as_they_are_when_they_are_whole_and_finite() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let fields = vec![
        Field::new("x", Dtype::F32, 1),
        Field::new("n", Dtype::U32, 1),
    ];
    let layout = Layout::packed(fields).unwrap();
    let record = |x: f32| [x.to_le_bytes(), 3u32.to_le_bytes()].concat();
    std::fs::write(file.path(), [record(1.0), record(2.0)].concat()).unwrap();
    assert_eq!(Dataset::raw(file.path(), &layout).unwrap().records, 2);
    std::fs::write(file.path(), [record(1.0), record(f32::NAN)].concat()).unwrap();
    refused(
        Dataset::raw(file.path(), &layout),
        &["column \"x\", row 1", "NaN"],
    );
    std::fs::write(file.path(), [0; 15]).unwrap();
    refused(
        Dataset::raw(file.path(), &layout),
        &["15 bytes", "records of 8"],
    );
    std::fs::write(file.path(), []).unwrap();
    refused(Dataset::raw(file.path(), &layout), &["0 bytes"]);
}

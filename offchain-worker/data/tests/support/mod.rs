//! Writers of the formats that the crate reads.
#![allow(dead_code)] // Every test uses a part of it.

pub mod allocator;

use lockstep_data::{Column, Error, Format, Source};
use parquet::{
    basic::{Compression, ZstdLevel},
    column::writer::ColumnWriter,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use std::{
    collections::HashMap,
    io::{Cursor, Write},
    path::Path,
    sync::Arc,
};

/// A `.npy` file.
pub fn npy(descr: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let shape: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    while (10 + header.len()) % 64 != 63 {
        header.push(' ');
    }
    header.push('\n');
    let len = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &len[..], header.as_bytes(), data].concat()
}

/// A `.npz` file.
pub fn npz(arrays: &[(&str, Vec<u8>)], packed: bool) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(vec![]));
    let method = match packed {
        true => zip::CompressionMethod::Deflated,
        false => zip::CompressionMethod::Stored,
    };
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in arrays {
        archive.start_file(format!("{name}.npy"), options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A `safetensors` file.
pub fn safetensors(tensors: &[(&str, safetensors::Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    let views: HashMap<&str, _> = tensors
        .iter()
        .map(|(name, dtype, shape, data)| {
            let view = safetensors::tensor::TensorView::new(*dtype, shape.clone(), data);
            (*name, view.unwrap())
        })
        .collect();
    safetensors::serialize(views, &None).unwrap()
}

/// A Parquet file with the columns `x`, f64, `n`, i64 that may be missing, `flag`, and `list`,
/// lists of f32.
pub struct Table {
    pub x: Vec<f64>,
    pub n: Vec<Option<i64>>,
    pub flag: Vec<bool>,
    pub list: Vec<Vec<f32>>,
}

pub fn compressions() -> [Compression; 4] {
    [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::ZSTD(ZstdLevel::default()),
    ]
}

impl Table {
    pub fn file(&self, compression: Compression) -> Vec<u8> {
        let schema = "message schema {
            required double x;
            optional int64 n;
            required boolean flag;
            required group list (LIST) { repeated group list { required float element; } }
        }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties = WriterProperties::builder().set_compression(compression);
        let properties = Arc::new(properties.build());
        let mut writer = SerializedFileWriter::new(vec![], schema, properties).unwrap();
        // Two row groups.
        let half = self.x.len() / 2;
        for rows in [0..half, half..self.x.len()] {
            let mut group = writer.next_row_group().unwrap();
            while let Some(mut column) = group.next_column().unwrap() {
                match column.untyped() {
                    ColumnWriter::DoubleColumnWriter(w) => {
                        w.write_batch(&self.x[rows.clone()], None, None).unwrap();
                    }
                    ColumnWriter::Int64ColumnWriter(w) => {
                        let n = &self.n[rows.clone()];
                        let levels: Vec<i16> = n.iter().map(|n| n.is_some() as i16).collect();
                        let n: Vec<i64> = n.iter().flatten().copied().collect();
                        w.write_batch(&n, Some(&levels), None).unwrap();
                    }
                    ColumnWriter::BoolColumnWriter(w) => {
                        w.write_batch(&self.flag[rows.clone()], None, None).unwrap();
                    }
                    ColumnWriter::FloatColumnWriter(w) => {
                        let lists = &self.list[rows.clone()];
                        let (mut definitions, mut repetitions) = (vec![], vec![]);
                        for list in lists {
                            for k in 0..list.len().max(1) {
                                definitions.push(!list.is_empty() as i16);
                                repetitions.push((k > 0) as i16);
                            }
                        }
                        w.write_batch(&lists.concat(), Some(&definitions), Some(&repetitions))
                            .unwrap();
                    }
                    _ => unreachable!(),
                }
                column.close().unwrap();
            }
            group.close().unwrap();
        }
        writer.into_inner().unwrap()
    }
}

pub const CSV: Format = Format::Csv { delimiter: b',' };

pub fn read(format: Format, bytes: &[u8], names: &[&str]) -> Result<Vec<Column>, Error> {
    Source::new(Path::new("x"), format, bytes.to_vec()).columns(names)
}

pub fn bytes<const N: usize, T: Copy>(numbers: &[T], store: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    numbers.iter().flat_map(|&x| store(x)).collect()
}

/// Asserts that the result is an error whose message holds every one of `parts`.
pub fn refused<T: std::fmt::Debug>(result: Result<T, Error>, parts: &[&str]) {
    let message = result.unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

pub fn table(rows: usize) -> Table {
    Table {
        x: (0..rows).map(|k| k as f64 / 4.0).collect(),
        n: (0..rows).map(|k| Some(k as i64 % 5)).collect(),
        flag: (0..rows).map(|k| k % 3 == 0).collect(),
        list: (0..rows).map(|k| vec![k as f32, -1.0]).collect(),
    }
}

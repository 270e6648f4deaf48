//! What every fuzz target of a reader does with a file.

use lockstep_data::{Column, Dataset, Field, Format, Layout, Source};
use lockstep_protocol::program::Dtype;
use std::path::Path;

/// Types of elements of records.
pub const DTYPES: [Dtype; 6] = [
    Dtype::F32,
    Dtype::I32,
    Dtype::U32,
    Dtype::U8,
    Dtype::I8,
    Dtype::U16,
];

/// Reads the first columns of a file, each as every type, and joins them into records.
pub fn read(format: Format, bytes: &[u8]) {
    let source = Source::new(Path::new("x"), format, bytes.to_vec());
    let Ok(names) = source.names() else {
        return;
    };
    let names: Vec<&str> = names.iter().take(4).map(String::as_str).collect();
    for name in &names {
        let Ok(columns) = source.columns(&[name]) else {
            continue;
        };
        for dtype in DTYPES {
            if let Ok(encoded) = columns[0].encode(dtype) {
                let numbers = columns[0].rows() * columns[0].count();
                assert_eq!(encoded.len(), numbers * dtype.size() as usize);
            }
        }
    }
    let Ok(columns) = source.columns(&names) else {
        return;
    };
    let field = |(k, column): (usize, &Column)| {
        let count = u32::try_from(column.count()).ok()?;
        Some(Field::new(&k.to_string(), column.kind().natural(), count))
    };
    let Some(fields) = columns.iter().enumerate().map(field).collect() else {
        return;
    };
    let Ok(layout) = Layout::aligned(fields) else {
        return;
    };
    let names: Vec<String> = (0..columns.len()).map(|k| k.to_string()).collect();
    let parts = columns.into_iter().map(|column| vec![column]);
    let table: Vec<_> = names.iter().map(String::as_str).zip(parts).collect();
    if let Ok(dataset) = Dataset::join(&layout, &table) {
        let size = dataset.records as usize * layout.record_size() as usize;
        assert_eq!(dataset.bytes.len(), size);
    }
}

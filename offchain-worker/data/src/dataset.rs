//! Datasets: fixed-size records, one after another.

use crate::{
    column::Column,
    error::{Error, Place},
    layout::{Layout, Slot},
    source::read,
};
use lockstep_protocol::program::Dtype;
use std::path::{Path, PathBuf};

/// Records, and where they came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The file, or the first of several.
    pub path: PathBuf,
    /// The records.
    pub bytes: Vec<u8>,
    /// How many there are.
    pub records: u64,
    origin: Origin,
    /// The file of each field, where they come from several.
    files: Vec<(String, PathBuf)>,
}

/// Which rows of a file the records are.
#[derive(Clone, Debug, PartialEq)]
enum Origin {
    /// Record k is row `k * stride + start`.
    Regular { start: u64, stride: u64 },
    /// Record k is row `rows[k]`.
    Chosen(Vec<u64>),
}

impl Dataset {
    pub(crate) fn new(path: PathBuf, bytes: Vec<u8>, layout: &Layout) -> Dataset {
        Dataset {
            path,
            records: bytes.len() as u64 / layout.record_size() as u64,
            bytes,
            origin: Origin::Regular {
                start: 0,
                stride: 1,
            },
            files: vec![],
        }
    }

    pub(crate) fn with_rows(mut self, start: u64, stride: u64) -> Dataset {
        self.origin = Origin::Regular { start, stride };
        self
    }

    /// Reads a file that already is records.
    ///
    /// # Errors
    /// When it cannot be read, is not a whole number of records, or holds an f32 that is not
    /// finite.
    pub fn raw(path: &Path, layout: &Layout) -> Result<Dataset, Error> {
        let bytes = read(path)?;
        let size = layout.record_size() as usize;
        let place = Place::file(path);
        place.refuse_if(
            bytes.is_empty() || !bytes.len().is_multiple_of(size),
            &format!(
                "it has {} bytes, not a whole number of records of {size}: check the fields \
                 against the file",
                bytes.len()
            ),
        )?;
        let dataset = Dataset::new(path.to_path_buf(), bytes, layout);
        let reals = |slot: &&Slot| slot.field.dtype == Dtype::F32;
        for slot in layout.slots().iter().filter(reals) {
            dataset.check(layout, &slot.field.name, |word| {
                let x = f32::from_bits(word);
                let problem = || format!("{x} is not a finite number: remove or replace it");
                (!x.is_finite()).then(problem)
            })?;
        }
        Ok(dataset)
    }

    /// Joins columns, some for each field of the layout by its name: record k is row k of all.
    ///
    /// # Errors
    /// When the columns' numbers of rows differ, or a number cannot be an element of its field.
    ///
    /// # Panics
    /// When a field has no columns, or its columns have together not as many numbers as it.
    pub fn join(layout: &Layout, columns: &[(&str, Vec<Column>)]) -> Result<Dataset, Error> {
        let all = || columns.iter().flat_map(|(_, parts)| parts);
        let first = all()
            .next()
            .expect("a layout has a field, a field a column");
        for column in all() {
            column.place().refuse_if(
                column.rows() != first.rows(),
                &format!(
                    "it has {} rows, but {} has {}: all columns need equally many",
                    column.rows(),
                    first.place(),
                    first.rows()
                ),
            )?;
        }
        let size = layout.record_size() as usize;
        let total = size.checked_mul(first.rows());
        let mut bytes = vec![];
        let room = total.and_then(|total| bytes.try_reserve_exact(total).ok().map(|()| total));
        let total = room.ok_or_else(|| {
            first.place().refuse(format!(
                "{} records of {size} bytes do not fit the memory: use narrower types",
                first.rows()
            ))
        })?;
        bytes.resize(total, 0);
        for (name, parts) in columns {
            let slot = layout.find(name).expect("every column belongs to a field");
            let numbers: usize = parts.iter().map(Column::count).sum();
            assert_eq!(numbers, slot.field.count as usize, "numbers of {name:?}");
            let mut offset = slot.offset as usize;
            for column in parts {
                let row = column.count() * slot.field.dtype.size() as usize;
                let encoded = column.encode(slot.field.dtype)?;
                for (record, row) in bytes.chunks_exact_mut(size).zip(encoded.chunks_exact(row)) {
                    record[offset..offset + row.len()].copy_from_slice(row);
                }
                offset += row;
            }
        }
        let file = |(name, parts): &(&str, Vec<Column>)| {
            let place = parts.first()?.place();
            Some((name.to_string(), place.path.clone()))
        };
        Ok(Dataset {
            files: columns.iter().filter_map(file).collect(),
            ..Dataset::new(first.place().path.clone(), bytes, layout)
        })
    }

    /// Splits off a share of the records for testing, at least one of each: first what is left,
    /// then what is held out, both in their order.
    ///
    /// Of n records, `share * n` rounded are held out: those whose numbers, as eight bytes
    /// little-endian, have the smallest BLAKE3 hashes. So neither the order nor the content of the
    /// rows decides.
    ///
    /// # Errors
    /// When there is only one record.
    pub fn hold_out(self, layout: &Layout, share: f64) -> Result<(Dataset, Dataset), Error> {
        Place::file(&self.path).refuse_if(
            self.records < 2,
            "it has a single record, of which nothing can be held out: name a test file",
        )?;
        let held = (self.records as f64 * share).round() as u64;
        let held = held.clamp(1, self.records - 1) as usize;
        let mut order: Vec<([u8; 32], u64)> = (0..self.records)
            .map(|k| (*blake3::hash(&k.to_le_bytes()).as_bytes(), k))
            .collect();
        order.sort_unstable();
        let (test, train) = order.split_at(held);
        let choose = |part: &[([u8; 32], u64)]| {
            let mut rows: Vec<u64> = part.iter().map(|&(_, k)| k).collect();
            rows.sort_unstable();
            self.choose(layout, rows)
        };
        Ok((choose(train), choose(test)))
    }

    fn choose(&self, layout: &Layout, rows: Vec<u64>) -> Dataset {
        let size = layout.record_size() as usize;
        let mut bytes = Vec::with_capacity(rows.len() * size);
        for &k in &rows {
            bytes.extend_from_slice(&self.bytes[k as usize * size..][..size]);
        }
        Dataset {
            path: self.path.clone(),
            bytes,
            records: rows.len() as u64,
            origin: Origin::Chosen(rows.iter().map(|&k| self.row(k)).collect()),
            files: self.files.clone(),
        }
    }

    /// The row of the file that a record is; of tokens, the number of its first one.
    pub fn row(&self, record: u64) -> u64 {
        match &self.origin {
            Origin::Regular { start, stride } => start + record * stride,
            Origin::Chosen(rows) => rows[record as usize],
        }
    }

    /// The field in the file that it comes from.
    fn place(&self, field: &str) -> Place {
        let file = self.files.iter().find(|(name, _)| name == field);
        let path = file.map_or(&self.path, |(_, path)| path);
        Place::file(path).column(field)
    }

    /// Refuses the first record of which a field holds a word that `problem` finds fault with.
    /// Narrow integers are widened to words with their sign.
    ///
    /// # Errors
    /// What the fault is, and where.
    pub fn check(
        &self,
        layout: &Layout,
        name: &str,
        problem: impl Fn(u32) -> Option<String>,
    ) -> Result<(), Error> {
        let Some(Slot { field, offset }) = layout.find(name) else {
            return Ok(());
        };
        let (start, size) = (*offset as usize, field.dtype.size() as usize);
        let records = self.bytes.chunks_exact(layout.record_size() as usize);
        for (k, record) in records.enumerate() {
            let numbers = record[start..start + field.bytes() as usize].chunks_exact(size);
            for bytes in numbers {
                if let Some(problem) = problem(field.dtype.load(bytes)) {
                    let place = self.place(name).row(self.row(k as u64));
                    return Err(place.refuse(problem));
                }
            }
        }
        Ok(())
    }
}

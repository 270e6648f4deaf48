//! Parquet files: columns of numbers, or of lists of equally many numbers, by name.

mod pages;

use crate::{
    column::{Column, Kind},
    error::{Error, Place},
};
use ::parquet::{
    basic::{ConvertedType, LogicalType, Type},
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::DataType,
    file::{
        metadata::ParquetMetaData,
        reader::{FileReader, SerializedFileReader},
    },
    schema::types::ColumnDescriptor,
};
use bytes::Bytes;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Rows that are decoded at a time.
const BATCH: usize = 1 << 16;

/// Numbers that a file may always hold, and how many more for each of its bytes. A run of equal
/// numbers takes next to no space, so a small file can claim any number of rows.
const NUMBERS: u64 = 1 << 20;
const NUMBERS_PER_BYTE: u64 = 32;

fn open(place: &Place, bytes: &Bytes) -> Result<SerializedFileReader<Bytes>, Error> {
    SerializedFileReader::new(bytes.clone())
        .map_err(|error| place.refuse(format!("it is no whole Parquet file: {error}")))
}

/// The columns that can be read, by the name of their first part.
fn leaves(metadata: &ParquetMetaData) -> impl Iterator<Item = (usize, &str)> {
    let columns = metadata.file_metadata().schema_descr().columns();
    columns
        .iter()
        .enumerate()
        .filter_map(|(k, column)| Some((k, column.path().parts().first()?.as_str())))
}

/// The names of the columns, in order.
pub(crate) fn names(place: &Place, bytes: &Bytes) -> Result<Vec<String>, Error> {
    let file = open(place, bytes)?;
    let mut names: Vec<String> = leaves(file.metadata())
        .map(|(_, name)| name.to_string())
        .collect();
    names.dedup();
    Ok(names)
}

/// A column by its name.
pub(crate) fn read(place: &Place, bytes: &Bytes, name: &str) -> Result<Column, Error> {
    let file = open(place, bytes)?;
    let place = place.column(name);
    let metadata = file.metadata();
    let mut found = leaves(metadata).filter(|(_, leaf)| *leaf == name);
    let (Some((leaf, _)), None) = (found.next(), found.next()) else {
        return Err(place.refuse("it holds structures: store every member in a column of its own"));
    };
    let descriptor = metadata.file_metadata().schema_descr().column(leaf);
    let kind = kind(&place, &descriptor)?;
    let allowed = NUMBERS + NUMBERS_PER_BYTE * bytes.len() as u64;
    let mut claimed = 0;
    let mut decoded = Decoded::new(&place, &descriptor);
    for k in 0..metadata.num_row_groups() {
        let chunk = metadata.row_group(k).column(leaf);
        claimed += pages::check(bytes, chunk).map_err(|problem| place.refuse(problem))?;
        place.refuse_if(
            claimed > allowed,
            &format!(
                "it holds {claimed} numbers or more in so small a file, nearly all of them equal: \
                 store it as .npy"
            ),
        )?;
        let reader = file
            .get_row_group(k)
            .and_then(|group| group.get_column_reader(leaf))
            .map_err(|error| place.refuse(format!("it cannot be read: {error}")))?;
        match reader {
            ColumnReader::BoolColumnReader(r) => decoded.chunk(r, |x| [x as u8])?,
            ColumnReader::Int32ColumnReader(r) => decoded.chunk(r, i32::to_le_bytes)?,
            ColumnReader::Int64ColumnReader(r) => decoded.chunk(r, i64::to_le_bytes)?,
            ColumnReader::FloatColumnReader(r) => decoded.chunk(r, f32::to_le_bytes)?,
            ColumnReader::DoubleColumnReader(r) => decoded.chunk(r, f64::to_le_bytes)?,
            _ => unreachable!("columns of other types have no kind"),
        }
    }
    decoded.column(kind)
}

/// How the numbers are stored; narrow integers are stored as i32.
fn kind(place: &Place, column: &ColumnDescriptor) -> Result<Kind, Error> {
    let nested = column.max_rep_level() > 1;
    place.refuse_if(nested, "it holds lists of lists: flatten them first")?;
    let unsigned = match (column.logical_type_ref(), column.converted_type()) {
        (Some(LogicalType::Integer(int)), _) => !int.is_signed,
        (None, ConvertedType::UINT_32 | ConvertedType::UINT_64) => true,
        (None, ConvertedType::UINT_8 | ConvertedType::UINT_16) => false,
        (
            None,
            ConvertedType::NONE
            | ConvertedType::INT_8
            | ConvertedType::INT_16
            | ConvertedType::INT_32
            | ConvertedType::INT_64,
        ) => false,
        (Some(logical), _) => {
            return Err(place.refuse(format!(
                "its type {logical:?} is no number: store booleans, integers or floats"
            )));
        }
        (None, converted) => {
            return Err(place.refuse(format!(
                "its type {converted} is no number: store booleans, integers or floats"
            )));
        }
    };
    match (column.physical_type(), unsigned) {
        (Type::BOOLEAN, _) => Ok(Kind::Bool),
        (Type::INT32, false) => Ok(Kind::I32),
        (Type::INT32, true) => Ok(Kind::U32),
        (Type::INT64, false) => Ok(Kind::I64),
        (Type::INT64, true) => Ok(Kind::U64),
        (Type::FLOAT, _) => Ok(Kind::F32),
        (Type::DOUBLE, _) => Ok(Kind::F64),
        (other, _) => Err(place.refuse(format!(
            "its type {other} is not supported: store booleans, integers or floats"
        ))),
    }
}

/// A column as far as it is decoded.
struct Decoded<'a> {
    place: &'a Place,
    /// The definition level of a number that is there.
    present: i16,
    lists: bool,
    /// Numbers so far.
    numbers: u64,
    /// Rows that have begun.
    rows: u64,
    /// Numbers of every row, known when the second one begins.
    length: Option<u64>,
    bytes: Vec<u8>,
}

impl<'a> Decoded<'a> {
    fn new(place: &'a Place, column: &ColumnDescriptor) -> Decoded<'a> {
        Decoded {
            place,
            present: column.max_def_level(),
            lists: column.max_rep_level() > 0,
            numbers: 0,
            rows: 0,
            length: None,
            bytes: vec![],
        }
    }

    /// Appends what a chunk of the column holds.
    fn chunk<T: DataType, const N: usize>(
        &mut self,
        mut reader: ColumnReaderImpl<T>,
        store: impl Fn(T::T) -> [u8; N],
    ) -> Result<(), Error> {
        let (mut definitions, mut repetitions, mut values) = (vec![], vec![], vec![]);
        loop {
            definitions.clear();
            repetitions.clear();
            values.clear();
            let read = AssertUnwindSafe(|| {
                let levels = (Some(&mut definitions), Some(&mut repetitions));
                reader.read_records(BATCH, levels.0, levels.1, &mut values)
            });
            // The decoder panics on some damaged pages; nothing it has touched is used then.
            let (records, read, levels) = catch_unwind(read)
                .map_err(|_| {
                    self.place
                        .refuse("a page is malformed: the file is damaged")
                })?
                .map_err(|error| self.place.refuse(format!("it cannot be read: {error}")))?;
            if records == 0 && levels == 0 {
                return Ok(());
            }
            if let Some(missing) = definitions.iter().position(|&d| d != self.present) {
                let begun = repetitions.iter().take(missing + 1).filter(|&&r| r == 0);
                let row = match self.lists {
                    true => (self.rows + begun.count() as u64).saturating_sub(1),
                    false => self.rows + missing as u64,
                };
                return Err(self
                    .place
                    .row(row)
                    .refuse("a number is missing: fill it in"));
            }
            match self.lists {
                true => repetitions
                    .iter()
                    .try_for_each(|&level| self.number(level == 0))?,
                false => {
                    self.rows += read as u64;
                    self.numbers += read as u64;
                }
            }
            self.bytes.extend(values.drain(..).flat_map(&store));
        }
    }

    /// Counts a number of a list.
    fn number(&mut self, begins: bool) -> Result<(), Error> {
        if begins {
            self.end_row()?;
            self.rows += 1;
        }
        self.numbers += 1;
        Ok(())
    }

    /// Refuses lists of different lengths.
    fn end_row(&mut self) -> Result<(), Error> {
        match (self.rows, self.length) {
            (0, _) => Ok(()),
            (1, _) => {
                self.length = Some(self.numbers);
                Ok(())
            }
            (rows, Some(length)) if rows * length == self.numbers => Ok(()),
            (rows, length) => Err(self.place.row(rows - 1).refuse(format!(
                "its list is not {} numbers long, as those before it: make all equally long",
                length.unwrap_or(0)
            ))),
        }
    }

    fn column(mut self, kind: Kind) -> Result<Column, Error> {
        if !self.lists {
            let shape = [self.rows as usize];
            return Column::new(self.place.clone(), kind, &shape, self.bytes);
        }
        self.end_row()?;
        let shape = [self.rows as usize, self.length.unwrap_or(0) as usize];
        Column::new(self.place.clone(), kind, &shape, self.bytes)
    }
}

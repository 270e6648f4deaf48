//! CSV files with a header line: columns of numbers by name.

use crate::{
    column::{Column, Kind},
    error::{Error, Place},
};
use csv::{ByteRecord, Reader, ReaderBuilder, Trim};
use std::collections::{HashMap, HashSet};

/// The cells of a column: integers as long as all are.
enum Cells {
    Whole(Vec<i64>),
    Real(Vec<f64>),
}

impl Cells {
    /// Appends a cell's number; `false` when it is none, or not finite.
    fn push(&mut self, cell: &str) -> bool {
        if let (Cells::Whole(cells), Ok(n)) = (&mut *self, cell.parse()) {
            cells.push(n);
            return true;
        }
        let Some(x) = cell.parse().ok().filter(|x: &f64| x.is_finite()) else {
            return false;
        };
        if let Cells::Whole(cells) = self {
            *self = Cells::Real(cells.iter().map(|&n| n as f64).collect());
        }
        if let Cells::Real(cells) = self {
            cells.push(x);
        }
        true
    }

    fn column(self, place: Place) -> Result<Column, Error> {
        let (kind, rows, bytes) = match self {
            Cells::Whole(cells) => {
                let bytes = cells.iter().flat_map(|n| n.to_le_bytes()).collect();
                (Kind::I64, cells.len(), bytes)
            }
            Cells::Real(cells) => {
                let bytes = cells.iter().flat_map(|x| x.to_le_bytes()).collect();
                (Kind::F64, cells.len(), bytes)
            }
        };
        Column::new(place, kind, &[rows], bytes)
    }
}

fn open(bytes: &[u8], delimiter: u8) -> Reader<&[u8]> {
    ReaderBuilder::new()
        .delimiter(delimiter)
        .trim(Trim::All)
        .flexible(true)
        .from_reader(bytes)
}

/// The names of the columns, in order.
pub(crate) fn names(place: &Place, bytes: &[u8], delimiter: u8) -> Result<Vec<String>, Error> {
    let mut reader = open(bytes, delimiter);
    let header = reader
        .headers()
        .map_err(|error| place.refuse(format!("its header cannot be read: {error}")))?;
    let names: Vec<String> = header.iter().map(str::to_string).collect();
    place.refuse_if(names.is_empty(), "it is empty: put a header line first")?;
    let mut seen = HashSet::new();
    for name in &names {
        place.column(name).refuse_if(
            !seen.insert(name),
            "two columns have this name: rename one in the header line",
        )?;
    }
    Ok(names)
}

/// Columns by their names, which must be in the header.
pub(crate) fn read(
    place: &Place,
    bytes: &[u8],
    delimiter: u8,
    wanted: &[&str],
) -> Result<Vec<Column>, Error> {
    let names = names(place, bytes, delimiter)?;
    let numbers: HashMap<&str, usize> = names.iter().map(String::as_str).zip(0..).collect();
    let column = |name: &&str| {
        let at = *numbers
            .get(name)
            .ok_or_else(|| place.refuse(format!("there is no column {name:?}")))?;
        Ok((at, place.column(name), Cells::Whole(vec![])))
    };
    let mut columns = wanted
        .iter()
        .map(column)
        .collect::<Result<Vec<_>, Error>>()?;
    let mut reader = open(bytes, delimiter);
    let mut record = ByteRecord::new();
    for row in 0.. {
        let more = reader
            .read_byte_record(&mut record)
            .map_err(|error| place.row(row).refuse(error.to_string()))?;
        if !more {
            break;
        }
        let line = record.position().map_or(0, |position| position.line());
        place.row(row).refuse_if(
            record.len() != names.len(),
            &format!(
                "line {line} has {} cells and the header {}: mend the line",
                record.len(),
                names.len()
            ),
        )?;
        for (at, place, cells) in &mut columns {
            let cell = std::str::from_utf8(&record[*at]).unwrap_or("bytes that are not UTF-8");
            if !cells.push(cell) {
                let shown: String = cell.chars().take(40).collect();
                let problem = format!("{shown:?} on line {line} is no finite number: mend it");
                return Err(place.row(row).refuse(problem));
            }
        }
    }
    columns
        .into_iter()
        .map(|(_, place, cells)| cells.column(place))
        .collect()
}

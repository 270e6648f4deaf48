//! Files of named columns, whatever their format.

use crate::{
    column::Column,
    csv,
    error::{Error, Place},
    npy, npz, parquet, tensors,
};
use bytes::Bytes;
use std::{collections::HashSet, path::Path};

/// A format that names what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One array of NumPy, named like its file without the ending.
    Npy,
    /// Arrays of NumPy.
    Npz,
    /// Tensors.
    Safetensors,
    /// Text with a header line.
    Csv {
        /// What stands between cells.
        delimiter: u8,
    },
    /// Columns of a table.
    Parquet,
}

impl Format {
    /// The format that a file's ending says: `npy`, `npz`, `safetensors`, `csv`, `tsv` or
    /// `parquet`.
    pub fn of(path: &Path) -> Option<Format> {
        Some(match path.extension()?.to_str()? {
            "npy" => Format::Npy,
            "npz" => Format::Npz,
            "safetensors" => Format::Safetensors,
            "csv" => Format::Csv { delimiter: b',' },
            "tsv" => Format::Csv { delimiter: b'\t' },
            "parquet" => Format::Parquet,
            _ => return None,
        })
    }
}

/// A file of named columns, read into memory.
#[derive(Clone, Debug)]
pub struct Source {
    place: Place,
    format: Format,
    bytes: Bytes,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path, format: Format) -> Result<Source, Error> {
        Ok(Source::new(path, format, read(path)?))
    }

    /// A file's bytes; `path` is what errors call it.
    pub fn new(path: &Path, format: Format, bytes: Vec<u8>) -> Source {
        Source {
            place: Place::file(path),
            format,
            bytes: bytes.into(),
        }
    }

    /// The names of the columns.
    ///
    /// # Errors
    /// When the file is malformed.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let (place, bytes) = (&self.place, &self.bytes);
        match self.format {
            Format::Npy => Ok(vec![self.stem()]),
            Format::Npz => npz::names(place, bytes),
            Format::Safetensors => tensors::names(place, bytes),
            Format::Csv { delimiter } => csv::names(place, bytes, delimiter),
            Format::Parquet => parquet::names(place, bytes),
        }
    }

    /// Columns by their names, in the order asked for.
    ///
    /// # Errors
    /// When a column does not exist or cannot be used, or the file is malformed.
    pub fn columns(&self, wanted: &[&str]) -> Result<Vec<Column>, Error> {
        let names = self.names()?;
        let known: HashSet<&str> = names.iter().map(String::as_str).collect();
        if let Some(name) = wanted.iter().find(|name| !known.contains(*name)) {
            let problem = format!("there is no column {name:?}: name one of {}", list(&names));
            return Err(self.place.refuse(problem));
        }
        let (place, bytes) = (&self.place, &self.bytes);
        if let Format::Csv { delimiter } = self.format {
            return csv::read(place, bytes, delimiter, wanted);
        }
        let column = |name: &&str| match self.format {
            Format::Npy => npy::read(&place.column(name), bytes),
            Format::Npz => npz::read(place, bytes, name),
            Format::Safetensors => tensors::read(place, bytes, name),
            Format::Parquet => parquet::read(place, bytes, name),
            Format::Csv { .. } => unreachable!("its columns are read together"),
        };
        wanted.iter().map(column).collect()
    }

    fn stem(&self) -> String {
        let stem = self.place.path.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }
}

/// The first names of a list that may be long.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 16;
    let more = if names.len() > SHOWN { ", .." } else { "" };
    let shown = &names[..names.len().min(SHOWN)];
    let shown: Vec<String> = shown.iter().map(|name| format!("{name:?}")).collect();
    format!("[{}{more}]", shown.join(", "))
}

/// The bytes of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File {
        path: path.to_path_buf(),
        source,
    })
}

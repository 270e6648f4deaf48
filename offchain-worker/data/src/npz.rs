//! NumPy's `.npz` files: ZIP archives of `.npy` arrays.

use crate::{
    column::Column,
    error::{Error, Place},
    npy,
};
use std::io::{Cursor, Read};
use zip::ZipArchive;

const ENDING: &str = ".npy";

fn open<'a>(place: &Place, bytes: &'a [u8]) -> Result<ZipArchive<Cursor<&'a [u8]>>, Error> {
    ZipArchive::new(Cursor::new(bytes))
        .map_err(|error| place.refuse(format!("it is no ZIP archive of arrays: {error}")))
}

/// The names of the arrays.
pub(crate) fn names(place: &Place, bytes: &[u8]) -> Result<Vec<String>, Error> {
    let archive = open(place, bytes)?;
    let names = archive.file_names().filter_map(|n| n.strip_suffix(ENDING));
    Ok(names.map(str::to_string).collect())
}

/// An array by its name.
pub(crate) fn read(place: &Place, bytes: &[u8], name: &str) -> Result<Column, Error> {
    let mut archive = open(place, bytes)?;
    let place = place.column(name);
    let damaged =
        |error: &dyn std::fmt::Display| place.refuse(format!("it cannot be unpacked: {error}"));
    let mut member = archive
        .by_name(&format!("{name}{ENDING}"))
        .map_err(|error| damaged(&error))?;
    // Grows with what is unpacked, whatever size the archive claims.
    let mut unpacked = vec![];
    member
        .read_to_end(&mut unpacked)
        .map_err(|error| damaged(&error))?;
    npy::read(&place, &unpacked)
}

//! NumPy's `.npz` files: ZIP archives of `.npy` arrays.

use crate::{
    column::Column,
    error::{Error, Place},
    npy,
};
use std::io::{Cursor, Read};
use zip::ZipArchive;

const ENDING: &str = ".npy";

/// Bytes that an array may always unpack to, and how many more for each of the archive's.
const UNPACKED: u64 = 1 << 24;
const UNPACKED_PER_BYTE: u64 = 128;

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
    let member = archive
        .by_name(&format!("{name}{ENDING}"))
        .map_err(|error| damaged(&error))?;
    // Grows with what is unpacked, whatever size the archive claims.
    let mut unpacked = vec![];
    let allowed = UNPACKED + UNPACKED_PER_BYTE * bytes.len() as u64;
    member
        .take(allowed + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| damaged(&error))?;
    place.refuse_if(
        unpacked.len() as u64 > allowed,
        &format!(
            "it unpacks to more than {allowed} bytes from so small a file: save it with `np.savez`"
        ),
    )?;
    npy::read(&place, &unpacked)
}

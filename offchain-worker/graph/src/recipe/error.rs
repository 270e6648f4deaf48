//! Why a recipe is refused.

use lockstep_protocol::validate::Invalid;
use std::{io, path::PathBuf};

/// Why a recipe is refused, and where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not TOML, or not a recipe's.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// A key, a layer, or a file says something that cannot be.
    #[error("{place}: {problem}")]
    Refused {
        /// The key, the layer, or the file.
        place: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A file cannot be read.
    #[error("{place}: cannot read {}: {source}", path.display())]
    File {
        /// The key that names the file.
        place: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Data cannot be read or used.
    #[error("{place}: {source}")]
    Data {
        /// The key that names the data.
        place: String,
        /// Which file, column and row, and why.
        source: lockstep_data::Error,
    },
    /// The program is beyond the limits of the format.
    #[error("the model is too large for a program: {0}")]
    Program(#[from] Invalid),
}

impl Error {
    pub(super) fn at(place: &str, problem: impl Into<String>) -> Error {
        Error::Refused {
            place: place.to_string(),
            problem: problem.into(),
        }
    }

    /// Puts the key that names the data in front of why it is refused.
    pub(super) fn data(place: &str) -> impl FnOnce(lockstep_data::Error) -> Error + use<'_> {
        move |source| Error::Data {
            place: place.to_string(),
            source,
        }
    }
}

/// Refuses `place` when `wrong`; the problem says what to do.
pub(super) fn refuse(wrong: bool, place: &str, problem: &str) -> Result<(), Error> {
    match wrong {
        true => Err(Error::at(place, problem)),
        false => Ok(()),
    }
}

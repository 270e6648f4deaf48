//! Why data is refused, and where.

use std::{fmt, io, path::PathBuf};

/// A place in a file of data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The column, array or tensor of the file.
    pub column: Option<String>,
    /// The row, counted from 0.
    pub row: Option<u64>,
}

/// Why data is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something that cannot be used.
    #[error("{place}: {problem}")]
    Refused {
        /// Where.
        place: Place,
        /// What is wrong, and what to do.
        problem: String,
    },
}

impl Place {
    /// A whole file.
    pub fn file(path: impl Into<PathBuf>) -> Place {
        Place {
            path: path.into(),
            ..Place::default()
        }
    }

    /// A column of this file.
    pub fn column(&self, name: &str) -> Place {
        Place {
            column: Some(name.to_string()),
            ..self.clone()
        }
    }

    /// A row of this column.
    pub fn row(&self, row: u64) -> Place {
        Place {
            row: Some(row),
            ..self.clone()
        }
    }

    pub(crate) fn refuse(&self, problem: impl Into<String>) -> Error {
        Error::Refused {
            place: self.clone(),
            problem: problem.into(),
        }
    }

    /// Refuses this place when `wrong`; the problem says what to do.
    pub(crate) fn refuse_if(&self, wrong: bool, problem: &str) -> Result<(), Error> {
        match wrong {
            true => Err(self.refuse(problem)),
            false => Ok(()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(column) = &self.column {
            write!(f, ", column {column:?}")?;
        }
        match self.row {
            Some(row) => write!(f, ", row {row}"),
            None => Ok(()),
        }
    }
}

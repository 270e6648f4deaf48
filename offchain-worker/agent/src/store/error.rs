use std::io;

/// Why an artifact cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such object.
    #[error("[S01] {location} is not there; get it from whoever made it, or point `--store` at a store that has it")]
    Missing {
        /// Where it was looked for.
        location: String,
    },
    /// The bytes do not hash to the name.
    #[error("[S02] object {object} is damaged: its bytes have another hash; delete {location} and fetch it again")]
    Corrupt {
        /// The hash asked for.
        object: String,
        /// Where the damaged bytes are.
        location: String,
    },
    /// The length differs from what the task says.
    #[error("[S03] object {object} should hold {want} and holds {got}")]
    Length {
        /// The hash asked for.
        object: String,
        /// Bytes (of a program: nodes) expected.
        want: u64,
        /// Bytes (of a program: nodes) found.
        got: u64,
    },
    /// The bytes are authentic but mean nothing.
    #[error("[S04] object {object} does not decode: {reason}")]
    Malformed {
        /// The hash asked for.
        object: String,
        /// What is wrong.
        reason: String,
    },
    /// No space left.
    #[error("[S05] no space left at {location}; free some or point `--store` elsewhere, nothing was lost")]
    Full {
        /// What could not be written.
        location: String,
    },
    /// Too large for this machine.
    #[error("[S06] object {object} of {bytes} bytes does not fit into memory")]
    Memory {
        /// The hash asked for.
        object: String,
        /// Its size.
        bytes: u64,
    },
    /// Any other failure of the store.
    #[error("[S07] {location}: {message}")]
    Backend {
        /// What was read or written.
        location: String,
        /// What the store said.
        message: String,
    },
}

impl Error {
    pub(super) fn io(location: &str, source: io::Error) -> Error {
        if source.kind() == io::ErrorKind::StorageFull {
            return Error::Full {
                location: location.to_owned(),
            };
        }
        Error::Backend {
            location: location.to_owned(),
            message: source.to_string(),
        }
    }

    pub(super) fn of(location: &str, source: object_store::Error) -> Error {
        if let object_store::Error::NotFound { .. } = source {
            return Error::Missing {
                location: location.to_owned(),
            };
        }
        if is_full(&source) {
            return Error::Full {
                location: location.to_owned(),
            };
        }
        Error::Backend {
            location: location.to_owned(),
            message: source.to_string(),
        }
    }

    /// Whether trying again later can help without anybody's doing.
    pub fn is_transient(&self) -> bool {
        matches!(self, Error::Backend { .. })
    }
}

fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            if io.kind() == io::ErrorKind::StorageFull {
                return true;
            }
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_recognised_however_deep_it_is_reported() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let nested = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(io::Error::other(object_store::Error::Generic {
                store: "LocalFileSystem",
                source: Box::new(full()),
            })),
        };
        assert!(matches!(Error::of("here", nested), Error::Full { .. }));
        assert!(matches!(Error::io("here", full()), Error::Full { .. }));
        let other = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(io::Error::from(io::ErrorKind::PermissionDenied)),
        };
        assert!(matches!(Error::of("here", other), Error::Backend { .. }));
    }
}

//! What a worker remembers between runs: one database file. Everything in it can be had again,
//! from the chain or by computing; it saves work, and losing it loses nothing else.

// The database's own error is large; it goes no further than this file.
#![allow(clippy::result_large_err)]

use lockstep_protocol::Hash;
use redb::{Database, TableDefinition};
use scale::{Decode, Encode};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// State hashes at segment ends, by run and segment.
const CHECKPOINTS: TableDefinition<(&[u8; 32], u32), &[u8; 32]> =
    TableDefinition::new("checkpoints");

/// Findings of audits, by task, attempt and trace.
const VERDICTS: TableDefinition<(u64, u32, &[u8; 32]), &[u8]> = TableDefinition::new("verdicts");

/// Segments of commitments that a sampling audit found right, by task, attempt, trace and segment.
const CHECKED: TableDefinition<(u64, u32, &[u8; 32], u32), ()> = TableDefinition::new("checked");

/// Why the local database failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has it.
    #[error("[L01] {} is in use by another worker; give each worker a `--home` of its own", .0.display())]
    InUse(PathBuf),
    /// It cannot be read or written.
    #[error("[L02] {}: {message}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What happened.
        message: String,
    },
}

/// What an audit of a commitment found.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Verdict {
    /// Every audited segment was right.
    Clean,
    /// A segment does not follow from the one before.
    Wrong {
        /// The segment.
        segment: u32,
        /// The state hash that it should end with.
        state: Hash,
    },
}

/// The local database.
pub struct Local {
    path: PathBuf,
    database: Database,
}

impl Local {
    /// Opens the file `worker.redb` in `dir`, making both when they do not exist.
    ///
    /// # Errors
    /// When another process has it or it cannot be used.
    pub fn open(dir: &Path) -> Result<Local, Error> {
        let path = dir.join("worker.redb");
        fs::create_dir_all(dir).map_err(|e| failed(&path, e))?;
        if !path.exists() {
            create(&path)?;
        }
        let database = Database::open(&path).map_err(|e| match e {
            redb::DatabaseError::DatabaseAlreadyOpen => Error::InUse(path.clone()),
            other => failed(&path, other),
        })?;
        Ok(Local { path, database })
    }

    /// The state hashes of a run's first segments, as far as they are known without a gap.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn checkpoints(&self, run: &Hash) -> Result<Vec<Hash>, Error> {
        let read = || -> Result<Vec<Hash>, redb::Error> {
            let table = self.database.begin_read()?.open_table(CHECKPOINTS)?;
            let mut states = Vec::new();
            for entry in table.range((run, 0)..=(run, u32::MAX))? {
                let (key, state) = entry?;
                if key.value().1 as usize != states.len() {
                    break;
                }
                states.push(*state.value());
            }
            Ok(states)
        };
        read().map_err(|e| failed(&self.path, e))
    }

    /// Remembers the state hash at the end of a segment. It is on disk when this returns.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn record_checkpoint(&self, run: &Hash, segment: u32, state: &Hash) -> Result<(), Error> {
        self.write(|tables| {
            tables
                .open_table(CHECKPOINTS)?
                .insert((run, segment), state)?;
            Ok(())
        })
    }

    /// What the audit of a commitment found, when there was one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn verdict(&self, task: u64, attempt: u32, trace: &Hash) -> Result<Option<Verdict>, Error> {
        let read = || -> Result<Option<Verdict>, redb::Error> {
            let table = self.database.begin_read()?.open_table(VERDICTS)?;
            let stored = table.get((task, attempt, trace))?;
            Ok(stored.and_then(|bytes| Verdict::decode(&mut bytes.value()).ok()))
        };
        read().map_err(|e| failed(&self.path, e))
    }

    /// Remembers what the audit of a commitment found.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn record_verdict(
        &self,
        task: u64,
        attempt: u32,
        trace: &Hash,
        verdict: &Verdict,
    ) -> Result<(), Error> {
        self.write(|tables| {
            let bytes = verdict.encode();
            tables
                .open_table(VERDICTS)?
                .insert((task, attempt, trace), &bytes[..])?;
            Ok(())
        })
    }

    /// The segments of a commitment that were found right.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn checked(&self, task: u64, attempt: u32, trace: &Hash) -> Result<Vec<u32>, Error> {
        let read = || -> Result<Vec<u32>, redb::Error> {
            let table = self.database.begin_read()?.open_table(CHECKED)?;
            let range = (task, attempt, trace, 0)..=(task, attempt, trace, u32::MAX);
            let mut segments = Vec::new();
            for entry in table.range(range)? {
                segments.push(entry?.0.value().3);
            }
            Ok(segments)
        };
        read().map_err(|e| failed(&self.path, e))
    }

    /// Remembers that a segment of a commitment was found right.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn record_checked(
        &self,
        task: u64,
        attempt: u32,
        trace: &Hash,
        segment: u32,
    ) -> Result<(), Error> {
        self.write(|tables| {
            tables
                .open_table(CHECKED)?
                .insert((task, attempt, trace, segment), ())?;
            Ok(())
        })
    }

    fn write(
        &self,
        run: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), Error> {
        let commit = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            run(&transaction)?;
            Ok(transaction.commit()?)
        };
        commit().map_err(|e| failed(&self.path, e))
    }
}

/// Makes an empty database. It appears whole or not at all, and never in place of another.
///
/// Its format is the one whose recovery also copes with a process that is killed while it closes
/// the file.
fn create(path: &Path) -> Result<(), Error> {
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let make = || -> Result<(), redb::Error> {
        let database = Database::builder()
            .create_with_file_format_v3(true)
            .create(&draft)?;
        let transaction = database.begin_write()?;
        transaction.open_table(CHECKPOINTS)?;
        transaction.open_table(VERDICTS)?;
        transaction.open_table(CHECKED)?;
        Ok(transaction.commit()?)
    };
    let made =
        make()
            .map_err(|e| failed(path, e))
            .and_then(|()| match fs::hard_link(&draft, path) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(failed(path, e)),
                _ => Ok(()),
            });
    let removed = fs::remove_file(&draft).map_err(|e| failed(&draft, e));
    made.and(removed)
}

fn failed(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::Failed {
        path: path.to_owned(),
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_end_where_the_first_one_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let local = Local::open(dir.path()).unwrap();
        let run = [7; 32];
        for segment in [0, 1, 3] {
            local
                .record_checkpoint(&run, segment, &[segment as u8; 32])
                .unwrap();
        }
        assert_eq!(local.checkpoints(&run).unwrap(), [[0; 32], [1; 32]]);
        assert!(local.checkpoints(&[8; 32]).unwrap().is_empty());
    }

    #[test]
    fn a_verdict_belongs_to_one_commitment() {
        let dir = tempfile::tempdir().unwrap();
        let local = Local::open(dir.path()).unwrap();
        let verdict = Verdict::Wrong {
            segment: 4,
            state: [9; 32],
        };
        local.record_verdict(1, 2, &[3; 32], &verdict).unwrap();
        assert_eq!(local.verdict(1, 2, &[3; 32]).unwrap(), Some(verdict));
        assert_eq!(local.verdict(1, 3, &[3; 32]).unwrap(), None);
    }

    #[test]
    fn a_second_worker_is_told_that_the_file_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Local::open(dir.path()).unwrap();
        assert!(matches!(Local::open(dir.path()), Err(Error::InUse(_))));
    }
}

//! The embedded chain's folder: a state file that every block replaces as a whole, a log of
//! events that only grows, and a lock.
//!
//! The state names the length of the log that belongs to it, so whatever a killed process wrote
//! beyond it never happened.

use super::super::{Error, Event};
use scale::{Decode, Encode};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Identifies a state file and its version.
const MAGIC: [u8; 8] = *b"LOCKST01";

/// A node of the state trie: its key, its value and its reference count.
pub type TrieNode = (Vec<u8>, (Vec<u8>, i32));

/// The chain between two blocks, without its events.
#[derive(Encode, Decode)]
pub struct Image {
    /// Blocks made so far.
    pub generation: u64,
    /// Bytes of the log that belong to this state.
    pub log: u64,
    /// Milliseconds that the chain is ahead of the machine.
    pub ahead: u64,
    /// Root of the state trie.
    pub root: [u8; 32],
    /// Its nodes.
    pub nodes: Vec<TrieNode>,
}

/// A chain's folder.
pub struct Disk {
    dir: PathBuf,
}

/// Keeps other processes out while it lives.
pub struct Lock {
    _file: File,
}

impl Disk {
    /// Opens a folder, making it when it does not exist.
    pub fn open(dir: &Path) -> Result<Disk, Error> {
        fs::create_dir_all(dir).map_err(|e| io_error(dir, e))?;
        Ok(Disk {
            dir: dir.to_owned(),
        })
    }

    /// Waits until no other process works on the chain.
    pub fn lock(&self) -> Result<Lock, Error> {
        let path = self.dir.join("lock");
        let open = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = open.map_err(|e| io_error(&path, e))?;
        file.lock().map_err(|e| io_error(&path, e))?;
        Ok(Lock { _file: file })
    }

    /// The generation of the stored state; `None` when there is none yet.
    pub fn generation(&self) -> Result<Option<u64>, Error> {
        let path = self.state();
        let mut head = [0; 16];
        match File::open(&path).and_then(|mut file| file.read_exact(&mut head)) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(damaged(&path, "it is too short"))
            }
            Err(e) => return Err(io_error(&path, e)),
        }
        let (magic, mut generation) = head.split_at(8);
        if magic != MAGIC {
            return Err(damaged(&path, "it was written by another version"));
        }
        let generation = u64::decode(&mut generation).map_err(|_| damaged(&path, "no number"))?;
        Ok(Some(generation))
    }

    /// Reads the state and its events.
    pub fn load(&self) -> Result<(Image, Vec<Event>), Error> {
        let path = self.state();
        let bytes = fs::read(&path).map_err(|e| io_error(&path, e))?;
        let body = bytes.strip_prefix(&MAGIC).unwrap_or_default();
        let (mut body, sum) = body
            .split_last_chunk::<32>()
            .ok_or_else(|| damaged(&path, "it is too short"))?;
        if blake3::hash(body) != *sum {
            return Err(damaged(&path, "its checksum differs"));
        }
        let image = Image::decode(&mut body).map_err(|e| damaged(&path, &e.to_string()))?;

        let path = self.log();
        let mut log = Vec::new();
        if image.log > 0 {
            let file = File::open(&path).map_err(|e| io_error(&path, e))?;
            file.take(image.log)
                .read_to_end(&mut log)
                .map_err(|e| io_error(&path, e))?;
        }
        if log.len() as u64 != image.log {
            return Err(damaged(&path, "it is too short"));
        }
        let mut rest = &log[..];
        let mut events = Vec::new();
        while !rest.is_empty() {
            let event = Event::decode(&mut rest).map_err(|e| damaged(&path, &e.to_string()))?;
            events.push(event);
        }
        Ok((image, events))
    }

    /// Writes `new` events after the first `image.log` bytes of the log, then the state. Sets
    /// `image.log` to the new length.
    pub fn save(&self, image: &mut Image, new: &[Event]) -> Result<(), Error> {
        if !new.is_empty() {
            let path = self.log();
            let bytes: Vec<u8> = new.iter().flat_map(Encode::encode).collect();
            append(&path, image.log, &bytes).map_err(|e| io_error(&path, e))?;
            image.log += bytes.len() as u64;
        }
        let path = self.state();
        let body = image.encode();
        let sum = blake3::hash(&body);
        let parts = [&MAGIC[..], &body, sum.as_bytes()];
        replace(&path, &parts.concat()).map_err(|e| io_error(&path, e))
    }

    fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("events")
    }
}

fn append(path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    file.set_len(at)?;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)?;
    file.sync_data()
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&new, path)
}

fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io {
        path: path.display().to_string(),
        source,
    }
}

fn damaged(path: &Path, reason: &str) -> Error {
    Error::Damaged {
        path: path.display().to_string(),
        reason: reason.to_owned(),
    }
}

//! From a path to messages, within limits.

use super::{
    error::{refuse, Error, Reason},
    proto::{ModelProto, StringStringEntryProto},
    wire,
};
use prost::Message;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
};

/// The largest file that the format can describe: its lengths are signed 32-bit numbers.
const LARGEST: u64 = i32::MAX as u64;

/// The messages of an ONNX file.
pub(super) fn model(path: &Path) -> Result<ModelProto, Error> {
    let failed = |source| Error::File {
        path: path.to_path_buf(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if length > LARGEST {
        let reason = format!("{length} bytes, more than the {LARGEST} that the format allows");
        return Err(Error::Format(reason));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(LARGEST).read_to_end(&mut bytes).map_err(failed)?;
    decode(&bytes)
}

/// The messages in the bytes of a file.
pub(super) fn decode(bytes: &[u8]) -> Result<ModelProto, Error> {
    wire::check(bytes).map_err(|reason| Error::Format(reason.0))?;
    ModelProto::decode(bytes).map_err(|reason| Error::Format(reason.to_string()))
}

/// Where a model's external data lies: the folder of its file, where it has one.
pub(super) struct Folder {
    path: Option<PathBuf>,
    /// Bytes of each file that no tensor has taken yet.
    left: RefCell<BTreeMap<PathBuf, u64>>,
}

impl Folder {
    /// The folder of a model's file; none for a model that was given as bytes.
    pub(super) fn of(model: Option<&Path>) -> Folder {
        let folder = model.map(|path| match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
            _ => PathBuf::from("."),
        });
        Folder {
            path: folder,
            left: RefCell::default(),
        }
    }

    /// The bytes of a tensor that lie outside of the model's file.
    pub(super) fn external(&self, entries: &[StringStringEntryProto]) -> Result<Vec<u8>, Reason> {
        let entry = |key: &str| entries.iter().find(|e| e.key == key).map(|e| &e.value);
        let Some(folder) = &self.path else {
            refuse!("its data lies in another file, and bytes have no folder: read the file");
        };
        let Some(location) = entry("location") else {
            refuse!("its data lies in another file without a location");
        };
        let relative = Path::new(location);
        let plain = |part| matches!(part, Component::Normal(_));
        if location.is_empty() || !relative.components().all(plain) {
            refuse!("its data at {location:?} lies outside of the model's folder");
        }
        let path = folder.join(relative);
        let number = |key: &str| match entry(key).map(|text| text.parse::<u64>()) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(Reason(format!("the {key} of its data is not a number"))),
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        // A link may lead anywhere, whatever the location says.
        let inside = folder.canonicalize().and_then(|folder| {
            let file = path.canonicalize()?;
            Ok(file.starts_with(folder))
        });
        match inside {
            Ok(true) => {}
            Ok(false) => refuse!("its data at {location:?} lies outside of the model's folder"),
            Err(reason) => refuse!("its data at {location:?}: {reason}"),
        }
        let read = || -> std::io::Result<Option<Vec<u8>>> {
            let mut file = File::open(&path)?;
            let there = file.metadata()?.len();
            let length = length.unwrap_or(there.saturating_sub(offset));
            // Tensors that share bytes would make a small file large in memory.
            let mut files = self.left.borrow_mut();
            let left = files.entry(path.clone()).or_insert(there);
            if offset.checked_add(length).is_none_or(|end| end > there) || length > *left {
                return Ok(None);
            }
            *left -= length;
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            file.take(length).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        };
        match read() {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => refuse!("{location:?} is too short for the data that it should hold"),
            Err(reason) => refuse!("its data at {location:?}: {reason}"),
        }
    }
}

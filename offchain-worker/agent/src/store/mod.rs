//! Artifacts by content: a folder or an object store in which every object's name is its hash.
//!
//! What is read is hashed while it streams in and refused when the hash or the length differs, so
//! a store needs no trust: a stranger's bucket serves as well as one's own disk.

mod error;
pub mod tensors;

pub use error::Error;

use futures::future::try_join_all;
use futures::StreamExt;
use lockstep_protocol::program::{Node, Program};
use lockstep_protocol::Hash;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, PutMode, PutOptions, PutPayload};
use scale::Encode;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Runtime;
use url::Url;

/// A content-addressed store. Cloning shares it.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    location: Arc<str>,
    runtime: Arc<Runtime>,
    sources: Vec<Store>,
}

impl Store {
    /// Opens a store: a folder, or a URL such as `file:///data`, `memory:` or, in builds with
    /// the feature `cloud`, `s3://bucket/prefix`. A folder is made when it does not exist.
    ///
    /// # Errors
    /// When the folder cannot be made or the URL is not understood.
    pub fn open(location: &str) -> Result<Store, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|source| Error::io(location, source))?;
        let (objects, prefix) = match url_of(location) {
            Some(url) => {
                let options = std::env::vars();
                let (objects, prefix) = object_store::parse_url_opts(&url, options)
                    .map_err(|e| Error::of(location, e))?;
                (Arc::from(objects), prefix)
            }
            None => (folder(Path::new(location))?, ObjectPath::default()),
        };
        Ok(Store {
            objects,
            prefix,
            location: location.into(),
            runtime: Arc::new(runtime),
            sources: Vec::new(),
        })
    }

    /// This store, which now also looks in the store at `location` for what it lacks and keeps
    /// what it finds there. A folder that does not exist is no source.
    ///
    /// # Errors
    /// When the location is not understood.
    pub fn with_source(&self, location: &str) -> Result<Store, Error> {
        let mut store = self.clone();
        let same = location == self.location();
        let absent = url_of(location).is_none() && !Path::new(location).is_dir();
        if !location.is_empty() && !same && !absent {
            store.sources.push(Store::open(location)?);
        }
        Ok(store)
    }

    /// Where the store is, as it was opened.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Stores `bytes` and returns their hash. The object appears whole or not at all. One that
    /// is there already is checked, and replaced when it is damaged.
    ///
    /// # Errors
    /// When the store refuses the write, for instance because the disk is full.
    pub fn put(&self, bytes: &[u8]) -> Result<Hash, Error> {
        let hash = *blake3::hash(bytes).as_bytes();
        self.put_named("blobs", &hash, bytes)?;
        Ok(hash)
    }

    /// As [`Store::put`], for several objects at once; their hashes in the same order.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub fn put_all(&self, objects: &[&[u8]]) -> Result<Vec<Hash>, Error> {
        let hashes: Vec<Hash> = objects
            .iter()
            .map(|bytes| *blake3::hash(bytes).as_bytes())
            .collect();
        let writes = hashes
            .iter()
            .zip(objects)
            .map(|(hash, bytes)| self.write("blobs", hash, bytes));
        self.runtime.block_on(try_join_all(writes))?;
        Ok(hashes)
    }

    /// The object with this hash, of any length.
    ///
    /// # Errors
    /// When it is absent, damaged or cannot be read.
    pub fn get(&self, hash: &Hash) -> Result<Vec<u8>, Error> {
        self.read("blobs", hash, None)
    }

    /// The object with this hash and exactly this length. No more than `len` bytes are read.
    ///
    /// # Errors
    /// When it is absent, damaged, of another length or cannot be read.
    pub fn get_exact(&self, hash: &Hash, len: u64) -> Result<Vec<u8>, Error> {
        self.read("blobs", hash, Some(len))
    }

    /// Whether an object with this hash is there. It is not read.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub fn has(&self, hash: &Hash) -> Result<bool, Error> {
        let path = self.path("blobs", hash);
        match self.runtime.block_on(self.objects.head(&path)) {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(self.error(&path, e)),
        }
    }

    /// Stores the canonical encoding of a value under its BLAKE3 hash.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub fn put_value<T: Encode>(&self, value: &T) -> Result<Hash, Error> {
        self.put(&value.encode())
    }

    /// Stores a program under its root.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub fn put_program(&self, program: &Program) -> Result<Hash, Error> {
        let root = program.root();
        self.put_named("programs", &root, &program.nodes.encode())?;
        Ok(root)
    }

    /// The program with this root, of `nodes` nodes and `slots` slots.
    ///
    /// # Errors
    /// As [`Store::get`], and when the stored nodes do not hash to the root.
    pub fn get_program(&self, root: &Hash, nodes: u32, slots: u32) -> Result<Program, Error> {
        match self.read_program(root, nodes, slots) {
            Err(Error::Missing { location }) => {
                for source in &self.sources {
                    match source.get_program(root, nodes, slots) {
                        Err(Error::Missing { .. }) => {}
                        found => {
                            let program = found?;
                            self.put_program(&program)?;
                            return Ok(program);
                        }
                    }
                }
                Err(Error::Missing { location })
            }
            found => found,
        }
    }

    fn read_program(&self, root: &Hash, nodes: u32, slots: u32) -> Result<Program, Error> {
        let object = || hex::encode(root);
        let path = self.path("programs", root);
        let (bytes, _) = self.runtime.block_on(self.fetch(&path, root, None))?;
        let nodes_found = lockstep_protocol::encoding::decode_canonical::<Vec<Node>>(&bytes)
            .map_err(|reason| Error::Malformed {
                object: object(),
                reason: reason.to_owned(),
            })?;
        if nodes_found.len() != nodes as usize {
            return Err(Error::Length {
                object: object(),
                want: nodes as u64,
                got: nodes_found.len() as u64,
            });
        }
        let program = Program {
            slots,
            nodes: nodes_found,
        };
        if program.root() != *root {
            return Err(self.corrupt("programs", root));
        }
        Ok(program)
    }

    fn put_named(&self, kind: &str, name: &Hash, bytes: &[u8]) -> Result<(), Error> {
        self.runtime.block_on(self.write(kind, name, bytes))
    }

    /// Writes an object unless an undamaged one is there.
    async fn write(&self, kind: &str, name: &Hash, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path(kind, name);
        let payload = PutPayload::from(bytes.to_vec());
        let fresh = PutOptions::from(PutMode::Create);
        match self.objects.put_opts(&path, payload.clone(), fresh).await {
            Ok(_) => return Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => {
                let there = self.fetch(&path, name, Some(bytes.len() as u64)).await;
                if there.is_ok_and(|(there, _)| there == bytes) {
                    return Ok(());
                }
            }
            // Some stores cannot tell whether an object is there; they write it again.
            Err(object_store::Error::NotImplemented | object_store::Error::NotSupported { .. }) => {
            }
            Err(e) => return Err(self.error(&path, e)),
        }
        let put = self.objects.put(&path, payload).await;
        put.map(drop).map_err(|e| self.error(&path, e))
    }

    fn read(&self, kind: &str, hash: &Hash, len: Option<u64>) -> Result<Vec<u8>, Error> {
        match self.read_own(kind, hash, len) {
            Err(Error::Missing { location }) => {
                for source in &self.sources {
                    match source.read(kind, hash, len) {
                        Err(Error::Missing { .. }) => {}
                        found => {
                            let bytes = found?;
                            self.put_named(kind, hash, &bytes)?;
                            return Ok(bytes);
                        }
                    }
                }
                Err(Error::Missing { location })
            }
            found => found,
        }
    }

    fn read_own(&self, kind: &str, hash: &Hash, len: Option<u64>) -> Result<Vec<u8>, Error> {
        let path = self.path(kind, hash);
        let (bytes, found) = self.runtime.block_on(self.fetch(&path, hash, len))?;
        if found != *hash {
            return Err(self.corrupt(kind, hash));
        }
        Ok(bytes)
    }

    /// The object's bytes, at most `len` of them, and their hash, taken as they arrive.
    async fn fetch(
        &self,
        path: &ObjectPath,
        name: &Hash,
        len: Option<u64>,
    ) -> Result<(Vec<u8>, Hash), Error> {
        let found = self
            .objects
            .get(path)
            .await
            .map_err(|e| self.error(path, e))?;
        let size = found.meta.size;
        let wrong = |got| Error::Length {
            object: hex::encode(name),
            want: len.unwrap_or(size),
            got,
        };
        if len.is_some_and(|len| len != size) {
            return Err(wrong(size));
        }
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(size as usize)
            .map_err(|_| Error::Memory {
                object: hex::encode(name),
                bytes: size,
            })?;
        let mut hasher = blake3::Hasher::new();
        let mut stream = found.into_stream();
        while let Some(part) = stream.next().await {
            let part = part.map_err(|e| self.error(path, e))?;
            hasher.update(&part);
            bytes.extend_from_slice(&part);
            if bytes.len() as u64 > size {
                return Err(wrong(bytes.len() as u64));
            }
        }
        if bytes.len() as u64 != size {
            return Err(wrong(bytes.len() as u64));
        }
        Ok((bytes, *hasher.finalize().as_bytes()))
    }

    fn path(&self, kind: &str, hash: &Hash) -> ObjectPath {
        let name = hex::encode(hash);
        let (shard, rest) = name.split_at(2);
        [kind, shard, rest]
            .into_iter()
            .fold(self.prefix.clone(), |path, part| path.child(part))
    }

    fn error(&self, path: &ObjectPath, source: object_store::Error) -> Error {
        Error::of(&format!("{}/{path}", self.location), source)
    }

    fn corrupt(&self, kind: &str, hash: &Hash) -> Error {
        Error::Corrupt {
            object: hex::encode(hash),
            location: format!("{}/{}", self.location, self.path(kind, hash)),
        }
    }
}

/// A location with a scheme is a URL; a bare `C:` or a path is not.
fn url_of(location: &str) -> Option<Url> {
    let scheme = location.split_once(':')?.0;
    (scheme.len() > 1)
        .then(|| Url::parse(location).ok())
        .flatten()
}

fn folder(dir: &Path) -> Result<Arc<dyn ObjectStore>, Error> {
    let name = dir.display().to_string();
    std::fs::create_dir_all(dir).map_err(|e| Error::io(&name, e))?;
    let objects = LocalFileSystem::new_with_prefix(dir).map_err(|e| Error::of(&name, e))?;
    Ok(Arc::new(objects))
}

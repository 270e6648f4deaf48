//! Accounts: sr25519 key pairs, where they are kept and how they are named.
//!
//! A secret never appears on a command line. It is read from a key file that only its owner can
//! read, from an environment variable, or typed at a prompt; the development accounts of every
//! Substrate chain (`//Alice` and so on) have public secrets and are named directly.

use sp_core::crypto::{Pair as _, Ss58Codec};
use sp_core::sr25519;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The environment variable that holds a secret: a mnemonic or a secret URI.
pub const SECRET_VARIABLE: &str = "LOCKSTEP_SECRET";

/// An account's public key.
pub type Account = [u8; 32];

/// Why a key cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No key file has this name.
    #[error("[K01] no key named `{name}` in {}; `lockstep keys list` shows the names, `lockstep keys new {name}` makes one", dir.display())]
    Unknown {
        /// The name asked for.
        name: String,
        /// The folder searched.
        dir: PathBuf,
    },
    /// A key of this name exists.
    #[error("[K02] a key named `{0}` exists; choose another name, keys are never overwritten")]
    Exists(String),
    /// The name could escape the key folder or is empty.
    #[error("[K03] `{0}` is not a key name; use letters, digits, `-` and `_`")]
    Name(String),
    /// The secret does not parse.
    #[error("[K04] the secret is neither a mnemonic phrase nor a secret URI")]
    Secret,
    /// Others can read the file.
    #[error("[K05] {} can be read by others; run `chmod 600` on it, and move its funds if somebody may have copied it", .0.display())]
    Exposed(PathBuf),
    /// The file system refused.
    #[error("[K06] {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

/// A key pair that signs for an account.
#[derive(Clone)]
pub struct Signer {
    name: String,
    pair: sr25519::Pair,
}

impl Signer {
    /// The signer of a mnemonic phrase or secret URI. `name` is what people see.
    ///
    /// # Errors
    /// [`Error::Secret`] when it does not parse; the message never repeats the secret.
    pub fn from_secret(name: &str, secret: &str) -> Result<Signer, Error> {
        let pair = sr25519::Pair::from_string(secret.trim(), None).map_err(|_| Error::Secret)?;
        Ok(Signer {
            name: name.to_owned(),
            pair,
        })
    }

    /// The signer whose mnemonic phrase or secret URI is all that a file holds.
    ///
    /// # Errors
    /// When the file cannot be read, others can read it, or it does not parse.
    pub fn from_file(path: &Path) -> Result<Signer, Error> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        check_private(path, &fs::metadata(path).map_err(io)?)?;
        let secret = fs::read_to_string(path).map_err(io)?;
        Signer::from_secret(&path.display().to_string(), &secret)
    }

    /// A development account, `//Alice` for `"Alice"`. Its secret is public: worthless on a chain
    /// with value.
    pub fn dev(name: &str) -> Signer {
        let uri = format!("//{name}");
        let pair = sr25519::Pair::from_string(&uri, None)
            .expect("a derivation path of the public development phrase parses");
        Signer { name: uri, pair }
    }

    /// The public key.
    pub fn account(&self) -> Account {
        self.pair.public().0
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes that only the owner of the key can know, one string for each `topic`.
    pub fn private_salt(&self, topic: &[u8; 32]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("lockstep agent 2026 private salt");
        hasher.update(&self.pair.to_raw_vec()).update(topic);
        *hasher.finalize().as_bytes()
    }

    /// The key pair itself, to sign with.
    pub fn pair(&self) -> &sr25519::Pair {
        &self.pair
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, address(&self.account()))
    }
}

/// The SS58 form of an account, as wallets show it.
pub fn address(account: &Account) -> String {
    sr25519::Public::from_raw(*account).to_ss58check()
}

/// The account of an SS58 address or of 64 hexadecimal digits.
pub fn parse_address(text: &str) -> Option<Account> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let mut account = [0; 32];
    if hex::decode_to_slice(digits, &mut account).is_ok() {
        return Some(account);
    }
    sr25519::Public::from_ss58check(text)
        .ok()
        .map(|public| public.0)
}

/// A folder of key files, one secret each, readable by their owner only.
#[derive(Clone, Debug)]
pub struct Keyring {
    dir: PathBuf,
}

impl Keyring {
    /// The key files in `dir`, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> Keyring {
        Keyring { dir: dir.into() }
    }

    /// Makes a key from fresh randomness and returns it with its mnemonic phrase, to be shown once.
    ///
    /// # Errors
    /// When the name is taken or malformed, or the file cannot be written.
    pub fn create(&self, name: &str) -> Result<(Signer, String), Error> {
        let (_, phrase, _) = sr25519::Pair::generate_with_phrase(None);
        Ok((self.import(name, &phrase)?, phrase))
    }

    /// Keeps a secret that exists already.
    ///
    /// # Errors
    /// When the secret does not parse, the name is taken or malformed, or the file cannot be
    /// written.
    pub fn import(&self, name: &str, secret: &str) -> Result<Signer, Error> {
        let signer = Signer::from_secret(name, secret)?;
        let path = self.path(name)?;
        create_private_dir(&self.dir)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists(name.to_owned()),
            _ => Error::Io {
                path: path.clone(),
                source,
            },
        })?;
        file.write_all(secret.trim().as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(|source| Error::Io { path, source })?;
        Ok(signer)
    }

    /// The signer that `name` means: `//Name` is a development account, anything else a key file.
    ///
    /// # Errors
    /// When there is no such key, others can read its file, or it does not parse.
    pub fn load(&self, name: &str) -> Result<Signer, Error> {
        if let Some(dev) = name.strip_prefix("//") {
            if dev.is_empty() || !dev.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err(Error::Name(name.to_owned()));
            }
            return Ok(Signer::dev(dev));
        }
        match Signer::from_file(&self.path(name)?) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(Error::Unknown {
                    name: name.to_owned(),
                    dir: self.dir.clone(),
                })
            }
            signer => Ok(Signer {
                name: name.to_owned(),
                ..signer?
            }),
        }
    }

    /// The names of the key files, sorted.
    ///
    /// # Errors
    /// When the folder cannot be read; a folder that does not exist has no keys.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let io = |source| Error::Io {
            path: self.dir.clone(),
            source,
        };
        let entries = match fs::read_dir(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|e| e == "key") {
                names.extend(
                    path.file_stem()
                        .map(|stem| stem.to_string_lossy().into_owned()),
                );
            }
        }
        names.sort();
        Ok(names)
    }

    fn path(&self, name: &str) -> Result<PathBuf, Error> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(Error::Name(name.to_owned()));
        }
        Ok(self.dir.join(format!("{name}.key")))
    }
}

/// Asks for a secret on the terminal without showing it.
///
/// # Errors
/// When there is no terminal.
pub fn prompt(question: &str) -> io::Result<String> {
    rpassword::prompt_password(question)
}

fn create_private_dir(dir: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|source| Error::Io {
        path: dir.to_owned(),
        source,
    })
}

#[cfg(unix)]
fn check_private(path: &Path, metadata: &fs::Metadata) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(Error::Exposed(path.to_owned()));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_private(_: &Path, _: &fs::Metadata) -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_key_loads_again_and_signs_for_the_same_account() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::new(dir.path().join("keys"));
        let (signer, phrase) = keyring.create("solver").unwrap();
        assert_eq!(phrase.split_whitespace().count(), 12);
        assert_eq!(keyring.load("solver").unwrap().account(), signer.account());
        assert_eq!(keyring.names().unwrap(), ["solver"]);
        assert!(matches!(keyring.create("solver"), Err(Error::Exists(_))));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::new(dir.path());
        keyring.create("open").unwrap();
        let path = dir.path().join("open.key");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(keyring.load("open"), Err(Error::Exposed(_))));
    }

    #[test]
    fn a_name_cannot_leave_the_folder() {
        let keyring = Keyring::new("/nowhere");
        for name in ["../a", "", "a/b", "//", "//../x"] {
            assert!(matches!(keyring.load(name), Err(Error::Name(_))), "{name}");
        }
    }

    #[test]
    fn the_development_accounts_are_those_of_every_substrate_chain() {
        assert_eq!(
            address(&Signer::dev("Alice").account()),
            "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
        );
    }

    #[test]
    fn an_address_parses_in_both_forms() {
        let account = Signer::dev("Bob").account();
        assert_eq!(parse_address(&address(&account)), Some(account));
        assert_eq!(parse_address(&hex::encode(account)), Some(account));
        assert_eq!(parse_address("nobody"), None);
    }
}

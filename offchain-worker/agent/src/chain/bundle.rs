//! The built contracts that ship with the worker.

use super::Error;
use serde::Deserialize;

/// A contract's code.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The Wasm module.
    pub wasm: Vec<u8>,
    /// Its hash, as the chain names it.
    pub code_hash: [u8; 32],
}

#[derive(Deserialize)]
struct Document {
    source: Source,
}

#[derive(Deserialize)]
struct Source {
    hash: String,
    wasm: String,
}

impl Bundle {
    /// Reads a `.contract` file as `cargo contract` writes it.
    ///
    /// # Errors
    /// When it is not JSON of that form or has no code.
    pub fn parse(file: &[u8]) -> Result<Bundle, Error> {
        let document: Document =
            serde_json::from_slice(file).map_err(|e| Error::Bundle(e.to_string()))?;
        let digits = |text: &str| {
            let plain = text.strip_prefix("0x").unwrap_or(text);
            hex::decode(plain).map_err(|e| Error::Bundle(e.to_string()))
        };
        let code_hash = digits(&document.source.hash)?
            .try_into()
            .map_err(|_| Error::Bundle("the code hash has not 32 bytes".into()))?;
        Ok(Bundle {
            wasm: digits(&document.source.wasm)?,
            code_hash,
        })
    }
}

/// The code of all three contracts.
#[derive(Clone, Debug)]
pub struct Bundles {
    /// Holds stakes.
    pub stake: Bundle,
    /// Holds tasks and rewards.
    pub escrow: Bundle,
    /// Plays disputes.
    pub dispute: Bundle,
}

impl Bundles {
    /// The contracts that this worker was built with.
    ///
    /// # Errors
    /// When a shipped bundle is malformed.
    pub fn shipped() -> Result<Bundles, Error> {
        macro_rules! artifact {
            ($name:literal) => {
                Bundle::parse(include_bytes!(concat!(
                    "../../../../contracts/artifacts/",
                    $name,
                    ".contract"
                )))
            };
        }
        Ok(Bundles {
            stake: artifact!("stake")?,
            escrow: artifact!("escrow")?,
            dispute: artifact!("dispute")?,
        })
    }
}

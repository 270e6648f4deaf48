//! The file that `lockstep deploy` writes and every other command reads: where the contracts are.

use crate::exit::WrongChain;
use anyhow::{Context, Result};
use lockstep_agent::chain::bundle::Bundles;
use lockstep_agent::chain::contracts::Addresses;
use lockstep_protocol::Hash;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// Hash of the network's first block, in hexadecimal; absent on an embedded chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Height at which the deployment was complete.
    pub block: u32,
    /// Addresses of the contracts.
    pub contracts: Addresses,
    /// Hashes of their code, in hexadecimal.
    pub code: Code,
}

/// Hashes of the contracts' code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// Of the stake contract.
    pub stake: String,
    /// Of the escrow contract.
    pub escrow: String,
    /// Of the dispute contract.
    pub dispute: String,
}

impl Deployment {
    /// The deployment of `bundles` at `contracts`.
    pub fn new(
        network: Option<Hash>,
        block: u32,
        contracts: Addresses,
        bundles: &Bundles,
    ) -> Deployment {
        Deployment {
            network: network.map(hex::encode),
            block,
            contracts,
            code: Code {
                stake: hex::encode(bundles.stake.code_hash),
                escrow: hex::encode(bundles.escrow.code_hash),
                dispute: hex::encode(bundles.dispute.code_hash),
            },
        }
    }

    /// Reads a deployment file.
    ///
    /// # Errors
    /// When there is none or it is malformed.
    pub fn read(path: &Path) -> Result<Deployment> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!(
                "no contracts are known here: {} cannot be read; run `lockstep deploy` first, or \
                 name the deployment file of another with --deployment",
                path.display()
            )
        })?;
        serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is not a deployment file; run `lockstep deploy` again",
                path.display()
            )
        })
    }

    /// Refuses a network that is not the one of the deployment.
    ///
    /// # Errors
    /// When it is another network.
    pub fn check_network(&self, path: &Path, network: Option<Hash>) -> Result<()> {
        let found = network.map(hex::encode);
        if found == self.network {
            return Ok(());
        }
        let name = |network: &Option<String>| match network {
            Some(genesis) => format!("the network with genesis 0x{genesis}"),
            None => "an embedded chain".to_owned(),
        };
        Err(WrongChain(format!(
            "the contracts of {} are on {}, and --chain leads to {}; use the endpoint they were \
             deployed on, or deploy there too and name its file with --deployment",
            path.display(),
            name(&self.network),
            name(&found),
        ))
        .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(network: Option<Hash>) -> Deployment {
        let contracts = Addresses {
            stake: [1; 32],
            escrow: [2; 32],
            dispute: [3; 32],
        };
        let bundles = Bundles::shipped().expect("the bundles are committed");
        Deployment::new(network, 7, contracts, &bundles)
    }

    #[test]
    fn a_deployment_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deployment.json");
        assert!(Deployment::read(&path)
            .unwrap_err()
            .to_string()
            .contains("lockstep deploy"));
        for network in [None, Some([9; 32])] {
            let written = deployment(network);
            std::fs::write(&path, serde_json::to_vec(&written).unwrap()).unwrap();
            assert_eq!(Deployment::read(&path).unwrap(), written);
        }
        std::fs::write(&path, "{}").unwrap();
        assert!(Deployment::read(&path).is_err());
    }

    #[test]
    fn another_network_is_refused_by_name() {
        let path = Path::new("d.json");
        let here = deployment(Some([9; 32]));
        assert!(here.check_network(path, Some([9; 32])).is_ok());
        for other in [None, Some([8; 32])] {
            let refused = here.check_network(path, other).unwrap_err().to_string();
            assert!(
                refused.contains("d.json") && refused.contains("0909"),
                "{refused}"
            );
        }
    }
}

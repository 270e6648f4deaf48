//! One connection to one endpoint, and what can be asked through it.

use super::any::AnyChain;
use super::pool::Verdict;
use crate::chain::Error;
use crate::keys::Account;
use serde_json::Value;
use sp_core::hashing::blake2_64;
use std::time::Duration;
use subxt::config::RpcConfigFor;
use subxt::ext::jsonrpsee::ws_client::WsClientBuilder;
use subxt::rpcs::methods::legacy::{LegacyRpcMethods, RuntimeVersion};
use subxt::rpcs::{Error as RpcError, RpcClient};
use subxt::utils::{AccountId32, H256};

/// The largest answer that is read: a full block in hexadecimal digits, and then some.
const LARGEST_ANSWER: u32 = 64 << 20;

/// The largest question: a transaction of the largest size that chains take.
const LARGEST_QUESTION: u32 = 32 << 20;

/// Why a question was not answered.
#[derive(Debug)]
pub enum Fault {
    /// This endpoint cannot answer; another may.
    Endpoint(String),
    /// This endpoint has discarded the state that was asked for; an archive may have it.
    Pruned(H256),
    /// The endpoint answered with an error.
    Answer {
        method: &'static str,
        code: i32,
        message: String,
    },
    /// No endpoint would do.
    Final(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Final(error)
    }
}

/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its height.
    pub number: u32,
    /// Its hash.
    pub hash: H256,
}

/// One connection.
pub struct Link {
    /// Which endpoint it leads to.
    pub endpoint: usize,
    /// Differs for every connection, also to the same endpoint.
    pub serial: u64,
    rpc: LegacyRpcMethods<RpcConfigFor<AnyChain>>,
}

impl Link {
    /// Connects to `url`. Every answer must come within `patience`.
    pub async fn open(
        url: &str,
        endpoint: usize,
        serial: u64,
        patience: Duration,
    ) -> Result<Link, Fault> {
        let client = WsClientBuilder::default()
            .connection_timeout(patience)
            .request_timeout(patience)
            .max_request_size(LARGEST_QUESTION)
            .max_response_size(LARGEST_ANSWER)
            .build(url)
            .await
            .map_err(|e| Fault::Endpoint(e.to_string()))?;
        Ok(Link {
            endpoint,
            serial,
            rpc: LegacyRpcMethods::new(RpcClient::new(client)),
        })
    }

    /// The hash of the first block.
    pub async fn genesis(&self) -> Result<H256, Fault> {
        let asked = self.rpc.genesis_hash().await;
        asked.map_err(|e| fault("chain_getBlockHash", e))
    }

    /// The latest block that will not be undone.
    pub async fn finalized(&self) -> Result<H256, Fault> {
        let asked = self.rpc.chain_get_finalized_head().await;
        asked.map_err(|e| fault("chain_getFinalizedHead", e))
    }

    /// The latest block.
    pub async fn best(&self) -> Result<Block, Fault> {
        let asked = self.rpc.chain_get_block_hash(None).await;
        let hash = asked
            .map_err(|e| fault("chain_getBlockHash", e))?
            .ok_or_else(|| Fault::Endpoint("it has no blocks".into()))?;
        let number = self.number(hash).await?;
        Ok(Block { number, hash })
    }

    /// A block's height.
    pub async fn number(&self, block: H256) -> Result<u32, Fault> {
        let asked = self.rpc.chain_get_header(Some(block)).await;
        let header = asked
            .map_err(|e| fault("chain_getHeader", e))?
            .ok_or_else(|| Fault::Endpoint(format!("it does not have block {block:?}")))?;
        u32::try_from(header.number)
            .map_err(|_| Fault::Endpoint("its blocks have heights beyond 32 bits".into()))
    }

    /// The hash of the block at a height.
    pub async fn block(&self, number: u32) -> Result<H256, Fault> {
        let asked = self.rpc.chain_get_block_hash(Some(number.into())).await;
        asked
            .map_err(|e| fault("chain_getBlockHash", e))?
            .ok_or_else(|| Fault::Endpoint(format!("it does not have block {number} yet")))
    }

    /// A block's transactions.
    pub async fn body(&self, block: H256) -> Result<Vec<Vec<u8>>, Fault> {
        let asked = self.rpc.chain_get_block(Some(block)).await;
        let details = asked
            .map_err(|e| fault("chain_getBlock", e))?
            .ok_or_else(|| Fault::Endpoint(format!("it does not have block {block:?}")))?;
        let transactions = details.block.extrinsics.into_iter();
        Ok(transactions.map(|bytes| bytes.0).collect())
    }

    /// What is stored under a key after a block.
    pub async fn storage(&self, block: H256, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let asked = self.rpc.state_get_storage(key, Some(block)).await;
        asked.map_err(|e| pruned(block, fault("state_getStorage", e)))
    }

    /// What a function of the runtime returns on the state after a block.
    pub async fn call(
        &self,
        block: H256,
        function: &str,
        arguments: &[u8],
    ) -> Result<Vec<u8>, Fault> {
        let asked = self.rpc.state_call(function, Some(arguments), Some(block));
        asked
            .await
            .map_err(|e| pruned(block, fault("state_call", e)))
    }

    /// The versions of the runtime after a block.
    pub async fn version(&self, block: H256) -> Result<RuntimeVersion, Fault> {
        let asked = self.rpc.state_get_runtime_version(Some(block)).await;
        asked.map_err(|e| pruned(block, fault("state_getRuntimeVersion", e)))
    }

    /// Whether the runtime after a block lets contracts be tried out; `None` when it does not
    /// say what it lets be asked.
    pub async fn tries_contracts(&self, block: H256) -> Result<Option<bool>, Fault> {
        let version = self.version(block).await?;
        let wanted = format!("0x{}", hex::encode(blake2_64(b"ContractsApi")));
        let interfaces = version.other.get("apis").and_then(Value::as_array);
        Ok(interfaces.map(|all| all.iter().any(|one| one[0] == *wanted)))
    }

    /// The metadata of the runtime after a block.
    pub async fn metadata(&self, block: H256) -> Result<Vec<u8>, Fault> {
        let asked = self.rpc.state_get_metadata(Some(block)).await;
        let metadata = asked.map_err(|e| pruned(block, fault("state_getMetadata", e)))?;
        Ok(metadata.into_raw())
    }

    /// The first nonce that is used neither in the chain nor in this endpoint's pool.
    pub async fn next_nonce(&self, account: &Account) -> Result<u64, Fault> {
        let account = AccountId32(*account);
        let asked = self.rpc.system_account_next_index(&account).await;
        asked.map_err(|e| fault("system_accountNextIndex", e))
    }

    /// Offers a transaction to the endpoint's pool.
    pub async fn offer(&self, transaction: &[u8]) -> Result<Verdict, Fault> {
        match self.rpc.author_submit_extrinsic(transaction).await {
            Ok(_) => Ok(Verdict::Taken),
            Err(RpcError::User(said)) => Ok(Verdict::of(&said)),
            Err(other) => Err(fault("author_submitExtrinsic", other)),
        }
    }
}

fn fault(method: &'static str, error: RpcError) -> Fault {
    match error {
        RpcError::User(said) => Fault::Answer {
            method,
            code: said.code,
            message: match &said.data {
                Some(data) => format!("{}: {}", said.message, data.get().trim_matches('"')),
                None => said.message,
            },
        },
        other => Fault::Endpoint(other.to_string()),
    }
}

/// Tells an endpoint that has forgotten a block's state, or has not heard of the block, from one
/// that has something to say.
fn pruned(block: H256, fault: Fault) -> Fault {
    match fault {
        Fault::Answer { message, .. } if message.contains("State already discarded") => {
            Fault::Pruned(block)
        }
        Fault::Answer { message, .. } if message.contains("not found in the database") => {
            Fault::Endpoint(format!("it does not have block {block:?}"))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use subxt::rpcs::UserError;

    fn answer(message: &str) -> Fault {
        let said = RpcError::User(UserError {
            code: 4003,
            message: message.to_owned(),
            data: None,
        });
        pruned(H256::zero(), fault("state_call", said))
    }

    #[test]
    fn a_discarded_state_is_told_from_an_unknown_block_and_from_other_errors() {
        let said = "Client error: UnknownBlock: State already discarded for 0xabcd";
        assert!(matches!(answer(said), Fault::Pruned(_)));
        let said =
            "Client error: Api called for an unknown Block: State already discarded for 0x12";
        assert!(matches!(answer(said), Fault::Pruned(_)));
        for said in [
            "Client error: UnknownBlock: Header was not found in the database: 0x12",
            "Client error: Api called for an unknown Block: Header was not found in the database: 0x12",
        ] {
            assert!(matches!(answer(said), Fault::Endpoint(_)));
        }
        let said = "Client error: Execution failed";
        assert!(matches!(answer(said), Fault::Answer { code: 4003, .. }));
    }

    #[test]
    fn a_broken_connection_is_the_endpoints_fault() {
        let broken = RpcError::Client("the background task closed".into());
        assert!(matches!(fault("state_call", broken), Fault::Endpoint(_)));
    }
}

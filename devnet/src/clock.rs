//! The time of a block.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use codec::Decode;
use contracts_node_runtime::{MinimumPeriod, Runtime};
use sc_client_api::{StorageKey, StorageProvider};
use sp_inherents::CreateInherentDataProviders;

use crate::node::{Block, Client, Hash};

/// Gives a block the time of the wall clock, or the earliest that the runtime accepts after its
/// parent, whichever is later: also when the clock was set back while the node was down.
pub struct Clock {
    client: Arc<Client>,
}

impl Clock {
    pub fn new(client: Arc<Client>) -> Self {
        Self { client }
    }

    /// The time of the child of `parent`, in milliseconds since 1970.
    fn time(&self, parent: Hash) -> sp_blockchain::Result<u64> {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64);
        let key = pallet_timestamp::Now::<Runtime>::hashed_key();
        let before = match self.client.storage(parent, &StorageKey(key.to_vec()))? {
            Some(value) => u64::decode(&mut value.0.as_slice()).map_err(|error| {
                sp_blockchain::Error::Backend(format!(
                    "the time of {parent} is unreadable: {error}"
                ))
            })?,
            None => 0,
        };
        Ok(wall.max(before + MinimumPeriod::get()))
    }
}

#[async_trait::async_trait]
impl CreateInherentDataProviders<Block, ()> for Clock {
    type InherentDataProviders = sp_timestamp::InherentDataProvider;

    async fn create_inherent_data_providers(
        &self,
        parent: Hash,
        (): (),
    ) -> Result<Self::InherentDataProviders, Box<dyn std::error::Error + Send + Sync>> {
        let time = self.time(parent)?;
        Ok(sp_timestamp::InherentDataProvider::new(time.into()))
    }
}

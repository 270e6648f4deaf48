//! The RPC methods besides those that every Substrate node serves.

use std::sync::Arc;

use futures::channel::{mpsc, oneshot};
use futures::SinkExt;
use jsonrpsee::core::{async_trait, RegisterMethodError};
use jsonrpsee::proc_macros::rpc;
use jsonrpsee::RpcModule;
use pallet_transaction_payment_rpc::{TransactionPayment, TransactionPaymentApiServer};
use sc_consensus_manual_seal::rpc::{ManualSeal, ManualSealApiServer};
use sc_consensus_manual_seal::{EngineCommand, Error};
use substrate_frame_rpc_system::{System, SystemApiServer};

use crate::node::{BlockNumber, Client, Hash, Pool};
use crate::reorg::{Reorganise, Reorganised};

/// Where RPC sends what it wants of the author.
pub type Commands = (mpsc::Sender<EngineCommand<Hash>>, mpsc::Sender<Reorganise>);

/// `system_accountNextIndex`, `system_dryRun` and `payment_*`; with `commands` also `engine_*` and
/// `devnet_*`.
pub fn module(
    client: Arc<Client>,
    pool: Arc<Pool>,
    commands: Option<Commands>,
) -> Result<RpcModule<()>, RegisterMethodError> {
    let mut module = RpcModule::new(());
    module.merge(System::new(client.clone(), pool).into_rpc())?;
    module.merge(TransactionPayment::new(client).into_rpc())?;
    if let Some((engine, reorganise)) = commands {
        module.merge(ManualSeal::new(engine).into_rpc())?;
        module.merge(Devnet { reorganise }.into_rpc())?;
    }
    Ok(module)
}

/// What only a development chain can do.
#[rpc(server)]
pub trait DevnetApi {
    /// Drops the last `depth` blocks for a longer chain of empty ones. Finalized blocks are never
    /// dropped.
    #[method(name = "devnet_reorg")]
    async fn reorg(&self, depth: BlockNumber) -> Result<Reorganised, Error>;
}

struct Devnet {
    reorganise: mpsc::Sender<Reorganise>,
}

#[async_trait]
impl DevnetApiServer for Devnet {
    async fn reorg(&self, depth: BlockNumber) -> Result<Reorganised, Error> {
        let (answer, answered) = oneshot::channel();
        let command = Reorganise { depth, answer };
        self.reorganise.clone().send(command).await?;
        answered.await?
    }
}

//! Makes the blocks and moves finality.
//!
//! One task does both, and also what RPC asks of the engine, one thing after the other: so a
//! reorganisation is never overtaken by a block on the chain that it drops.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use sc_basic_authorship::ProposerFactory;
use sc_client_api::{BlockBackend, Finalizer};
use sc_consensus_manual_seal::{
    rpc::send_result, seal_block, CreatedBlock, EngineCommand, Error, SealBlockParams,
    MANUAL_SEAL_ENGINE_ID,
};
use sc_transaction_pool_api::TransactionPool;
use sp_blockchain::HeaderBackend;
use sp_consensus::DisableProofRecording;
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::node::{BlockNumber, Client, Hash, Pool, SelectChain};
use crate::reorg::{self, Reorganise};

/// Blocks in a row that may fail before the node stops, rather than look alive without working.
const MAX_FAILURES: u32 = 5;

/// When blocks are made without being asked for.
#[derive(Clone, Copy, Debug)]
pub enum Sealing {
    /// One every so often, with or without transactions.
    Timed(Duration),
    /// As soon as there is a transaction, and perhaps an empty one every so often.
    Instant { heartbeat: Option<Duration> },
    /// Never.
    Manual,
}

/// Makes the blocks of a node.
pub struct Author {
    pub client: Arc<Client>,
    pub pool: Arc<Pool>,
    pub select_chain: SelectChain,
    pub proposer: ProposerFactory<Pool, Client, DisableProofRecording>,
    pub clock: Clock,
    /// How many blocks finality is behind the best block.
    pub finality_depth: BlockNumber,
}

enum Command {
    Seal { create_empty: bool },
    Engine(EngineCommand<Hash>),
    Reorganise(Reorganise),
}

impl Author {
    /// Works until too many blocks in a row have failed.
    pub async fn run(
        mut self,
        sealing: Sealing,
        engine: mpsc::Receiver<EngineCommand<Hash>>,
        reorganisations: mpsc::Receiver<Reorganise>,
    ) {
        let mut commands = stream::select_all([
            sealing.commands(&self.pool),
            engine.map(Command::Engine).boxed(),
            reorganisations.map(Command::Reorganise).boxed(),
        ]);
        let mut failures = 0;
        while let Some(command) = commands.next().await {
            match command {
                Command::Seal { create_empty } => match self.seal_unasked(create_empty).await {
                    Ok(()) => failures = 0,
                    Err(error) => {
                        failures += 1;
                        log::error!("no block was made: {error}");
                        if failures == MAX_FAILURES {
                            return;
                        }
                    }
                },
                Command::Engine(command) => self.obey(command).await,
                Command::Reorganise(Reorganise { depth, answer }) => {
                    let result = self.reorganise(depth).await;
                    send_result(&mut Some(answer), result);
                }
            }
        }
    }

    async fn seal_unasked(&mut self, create_empty: bool) -> Result<(), Error> {
        if !create_empty && self.pool.status().ready == 0 {
            return Ok(());
        }
        match self.seal(create_empty, false, None).await {
            // The block before took all transactions that the pool seemed to have.
            Ok(_) | Err(Error::EmptyTransactionPool) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes a block on top of `parent`, by default the best block.
    async fn seal(
        &mut self,
        create_empty: bool,
        finalize: bool,
        parent: Option<Hash>,
    ) -> Result<CreatedBlock<Hash>, Error> {
        let (sender, receiver) = oneshot::channel();
        seal_block(SealBlockParams {
            create_empty,
            finalize,
            parent_hash: parent,
            sender: Some(sender),
            pool: self.pool.clone(),
            client: self.client.clone(),
            env: &mut self.proposer,
            select_chain: &self.select_chain,
            consensus_data_provider: None,
            block_import: &mut self.client.clone(),
            create_inherent_data_providers: &self.clock,
        })
        .await;
        let created = receiver.await??;
        self.finalize_behind()?;
        self.report(created.hash)?;
        Ok(created)
    }

    async fn obey(&mut self, command: EngineCommand<Hash>) {
        match command {
            EngineCommand::SealNewBlock {
                create_empty,
                finalize,
                parent_hash,
                mut sender,
            } => {
                let result = self.seal(create_empty, finalize, parent_hash).await;
                send_result(&mut sender, result);
            }
            EngineCommand::FinalizeBlock {
                hash,
                mut sender,
                justification,
            } => {
                let justification = justification.map(|proof| (MANUAL_SEAL_ENGINE_ID, proof));
                let result = self.client.finalize_block(hash, justification, true);
                send_result(&mut sender, result.map_err(Error::from));
            }
        }
    }

    async fn reorganise(&self, depth: BlockNumber) -> Result<reorg::Reorganised, Error> {
        let done = reorg::reorganise(&self.client, &self.clock, depth).await?;
        self.finalize_behind()?;
        log::info!("dropped {depth} blocks: the best block is {:?}", done.new);
        Ok(done)
    }

    /// Finalizes the block that is `finality_depth` behind the best one.
    fn finalize_behind(&self) -> sp_blockchain::Result<()> {
        let chain = self.client.info();
        let number = chain.best_number.saturating_sub(self.finality_depth);
        if number <= chain.finalized_number {
            return Ok(());
        }
        match self.client.hash(number)? {
            Some(hash) => self.client.finalize_block(hash, None, true),
            None => Err(sp_blockchain::Error::UnknownBlock(format!(
                "no block {number} below the best one"
            ))),
        }
    }

    /// Logs the new block; only at length when there are transactions besides the time.
    fn report(&self, hash: Hash) -> sp_blockchain::Result<()> {
        let extrinsics = self.client.block_body(hash)?.map_or(0, |body| body.len());
        let number = self.client.number(hash)?.unwrap_or_default();
        match extrinsics.saturating_sub(1) {
            0 => log::debug!("block {number}: empty, {hash:?}"),
            1 => log::info!("block {number}: 1 transaction, {hash:?}"),
            several => log::info!("block {number}: {several} transactions, {hash:?}"),
        }
        Ok(())
    }
}

impl Sealing {
    /// When to make a block. Must be called on the asynchronous runtime.
    fn commands(self, pool: &Pool) -> BoxStream<'static, Command> {
        let beat = |every| ticks(every).map(|()| Command::Seal { create_empty: true });
        match self {
            Self::Timed(every) => beat(every).boxed(),
            Self::Instant { heartbeat } => {
                let transactions = pool.import_notification_stream().map(|_| Command::Seal {
                    create_empty: false,
                });
                match heartbeat {
                    Some(every) => stream::select(transactions, beat(every)).boxed(),
                    None => transactions.boxed(),
                }
            }
            Self::Manual => stream::empty().boxed(),
        }
    }
}

impl fmt::Display for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timed(every) => write!(f, "a block every {every:?}"),
            Self::Instant { heartbeat: None } => write!(f, "a block for every transaction"),
            Self::Instant {
                heartbeat: Some(every),
            } => write!(f, "a block for every transaction, and every {every:?}"),
            Self::Manual => write!(f, "blocks by engine_createBlock"),
        }
    }
}

/// Ticks at once and then every so often. Ticks that are missed while a block is made are left out.
fn ticks(every: Duration) -> impl Stream<Item = ()> + Send {
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    stream::unfold(interval, |mut interval| async move {
        interval.tick().await;
        Some(((), interval))
    })
}

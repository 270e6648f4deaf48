//! Puts the parts of the node together and starts them.

use std::sync::Arc;

use anyhow::{anyhow, bail, Result};
use contracts_node_runtime::RuntimeApi;
use futures::channel::mpsc;
use sc_basic_authorship::ProposerFactory;
use sc_executor::WasmExecutor;
use sc_network::config::FullNetworkConfiguration;
use sc_network::{NetworkBackend, NetworkWorker};
use sc_service::{
    BuildNetworkParams, Configuration, GenesisBlockBuilder, SpawnTasksParams, TaskManager,
};
use sc_transaction_pool::{BasicPool, FullPool};
use sp_blockchain::HeaderBackend;

use crate::args::{Args, Seal};
use crate::author::{Author, Sealing};
use crate::clock::Clock;
use crate::config;
use crate::genesis;
use crate::rpc;

pub use contracts_node_runtime::{opaque::Block, BlockNumber, Hash};

/// Runs the runtime, with the host functions that it may call.
pub type Executor = WasmExecutor<sp_io::SubstrateHostFunctions>;
pub type Client = sc_service::TFullClient<Block, RuntimeApi, Executor>;
pub type Backend = sc_service::TFullBackend<Block>;
pub type Pool = FullPool<Block, Client>;
pub type SelectChain = sc_consensus::LongestChain<Backend, Block>;

/// RPC commands that may wait for the author.
const COMMANDS: usize = 64;

/// Starts the node on the current asynchronous runtime. It stops when the result is dropped.
///
/// Errors tell what to change on the command line: a port in use, a database in use or of another
/// chain, flags that do not go together.
pub fn start(args: &Args) -> Result<TaskManager> {
    let sealing = sealing(args)?;
    let config = config::configuration(args)?;
    let executor = sc_service::new_wasm_executor(&config.executor);
    let backend =
        sc_service::new_db_backend(config.db_config()).map_err(|error| explain(error, &config))?;
    let genesis = GenesisBlockBuilder::new(
        &genesis::storage()?,
        true,
        backend.clone(),
        executor.clone(),
    )?;
    let (client, backend, keystore, mut tasks) =
        sc_service::new_full_parts_with_genesis_builder::<_, RuntimeApi, Executor, _>(
            &config, None, executor, backend, genesis, false,
        )?;
    let client = Arc::new(client);
    let registry = config.prometheus_registry().cloned();
    let pool = BasicPool::new_full(
        config.transaction_pool.clone(),
        true.into(),
        registry.as_ref(),
        tasks.spawn_essential_handle(),
        client.clone(),
    );

    let (engine, engine_commands) = mpsc::channel(COMMANDS);
    let (reorganise, reorganisations) = mpsc::channel(COMMANDS);
    let author = Author {
        client: client.clone(),
        pool: pool.clone(),
        select_chain: SelectChain::new(backend.clone()),
        proposer: ProposerFactory::new(
            tasks.spawn_handle(),
            client.clone(),
            pool.clone(),
            registry.as_ref(),
            None,
        ),
        clock: Clock::new(client.clone()),
        finality_depth: args.finality_depth,
    };

    let metrics =
        <NetworkWorker<Block, Hash> as NetworkBackend<Block, Hash>>::register_notification_metrics(
            registry.as_ref(),
        );
    let (network, system_rpc_tx, tx_handler_controller, network_starter, sync_service) =
        sc_service::build_network(BuildNetworkParams {
            config: &config,
            net_config: FullNetworkConfiguration::<Block, Hash, NetworkWorker<Block, Hash>>::new(
                &config.network,
                registry.clone(),
            ),
            client: client.clone(),
            transaction_pool: pool.clone(),
            spawn_handle: tasks.spawn_handle(),
            import_queue: sc_consensus_manual_seal::import_queue(
                Box::new(client.clone()),
                &tasks.spawn_essential_handle(),
                registry.as_ref(),
            ),
            block_announce_validator_builder: None,
            warp_sync_config: None,
            block_relay: None,
            metrics,
        })?;

    let chain = client.info();
    log::info!(
        "{}, finality {} behind, chain at block {} in {}",
        sealing,
        args.finality_depth,
        chain.best_number,
        config.base_path.path().display(),
    );
    let commands = args.unsafe_engine.then_some((engine, reorganise));
    let rpc_client = client.clone();
    let rpc_pool = pool.clone();
    sc_service::spawn_tasks(SpawnTasksParams {
        config,
        client,
        backend,
        task_manager: &mut tasks,
        keystore: keystore.keystore(),
        transaction_pool: pool,
        rpc_builder: Box::new(move |_| {
            rpc::module(rpc_client.clone(), rpc_pool.clone(), commands.clone())
                .map_err(|error| sc_service::Error::Application(error.into()))
        }),
        network,
        system_rpc_tx,
        tx_handler_controller,
        sync_service,
        telemetry: None,
    })?;
    tasks.spawn_essential_handle().spawn_blocking(
        "author",
        Some("block-authoring"),
        author.run(sealing, engine_commands, reorganisations),
    );
    network_starter.start_network();
    Ok(tasks)
}

/// Why the chain cannot be opened, and what to do about it.
fn explain(error: sp_blockchain::Error, config: &Configuration) -> anyhow::Error {
    let place = config.base_path.path().display();
    // The database tells its errors apart in words only.
    if error.to_string().contains("is in use") {
        anyhow!(
            "the chain in {place} is in use by another node: stop that one, or choose another \
             folder with --base-path"
        )
    } else {
        anyhow!(error).context(format!("cannot open the chain in {place}"))
    }
}

fn sealing(args: &Args) -> Result<Sealing> {
    if args.heartbeat.is_some() && args.seal != Seal::Instant {
        bail!("--heartbeat goes with --seal instant only");
    }
    Ok(match args.seal {
        Seal::Timed => Sealing::Timed(args.block_time),
        Seal::Instant => Sealing::Instant {
            heartbeat: args.heartbeat,
        },
        Seal::Manual if args.unsafe_engine => Sealing::Manual,
        Seal::Manual => bail!("--seal manual needs --unsafe-engine: nothing else makes blocks"),
    })
}

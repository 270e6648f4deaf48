//! From the command line to the configuration of the service.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use sc_network::config::{NetworkConfiguration, TransportConfig};
use sc_service::config::{
    BasePath, BlocksPruning, DatabaseSource, ExecutorConfiguration, KeystoreConfig,
    OffchainWorkerConfig, PrometheusConfig, PruningMode, Role, RpcBatchRequestConfig,
    RpcConfiguration, RpcEndpoint, RpcMethods, TransactionPoolOptions,
};
use sc_service::{Configuration, TracingReceiver};

use crate::args::Args;
use crate::genesis;

const NAME: &str = "lockstep-devnet";
/// The cache of the state trie, in bytes.
const TRIE_CACHE: usize = 64 << 20;
/// JSON-RPC: the largest request and the largest answer, in MiB.
const MAX_PAYLOAD: u32 = 15;
/// JSON-RPC: connections at once, and subscriptions of each.
const MAX_CONNECTIONS: u32 = 1000;
const MAX_SUBSCRIPTIONS: u32 = 1024;
/// JSON-RPC: messages that may wait for a slow client.
const MAX_BUFFERED: u32 = 1024;

/// The configuration of a node by itself: it has no peers and listens to none.
///
/// Must be called on the asynchronous runtime. A port that another program uses is an error that
/// names the flag to change.
pub fn configuration(args: &Args) -> Result<Configuration> {
    let rpc = SocketAddr::new(args.host, args.rpc_port);
    check_free(rpc, "--rpc-port")?;
    let prometheus = args
        .prometheus_port
        .map(|port| SocketAddr::new(args.host, port));
    if let Some(address) = prometheus {
        check_free(address, "--prometheus-port")?;
    }

    let chain_spec = Box::new(genesis::chain_spec()?);
    let base_path = match &args.base_path {
        Some(path) => BasePath::new(path),
        None => BasePath::new_temp_dir().context("cannot create a temporary folder")?,
    };
    let mut network = NetworkConfiguration::new(NAME, NAME, Default::default(), None);
    network.transport = TransportConfig::MemoryOnly;

    Ok(Configuration {
        impl_name: NAME.into(),
        impl_version: env!("CARGO_PKG_VERSION").into(),
        role: Role::Authority,
        tokio_handle: tokio::runtime::Handle::current(),
        transaction_pool: TransactionPoolOptions {
            // A transaction that a reorganisation made invalid may be sent again at once.
            ban_time: Duration::ZERO,
            ..Default::default()
        },
        network,
        keystore: KeystoreConfig::InMemory,
        database: DatabaseSource::ParityDb {
            path: database(&base_path),
        },
        trie_cache_maximum_size: Some(TRIE_CACHE),
        state_pruning: Some(match args.state_pruning {
            Some(blocks) => PruningMode::blocks_pruning(blocks),
            None => PruningMode::ArchiveAll,
        }),
        blocks_pruning: BlocksPruning::KeepAll,
        prometheus_config: prometheus.map(|address| {
            PrometheusConfig::new_with_default_registry(address, chain_spec.id().into())
        }),
        chain_spec,
        executor: ExecutorConfiguration::default(),
        wasm_runtime_overrides: None,
        rpc: rpc_configuration(rpc),
        telemetry_endpoints: None,
        offchain_worker: OffchainWorkerConfig::default(),
        force_authoring: true,
        disable_grandpa: true,
        dev_key_seed: None,
        tracing_targets: None,
        tracing_receiver: TracingReceiver::Log,
        announce_block: false,
        data_path: base_path.path().into(),
        base_path,
    })
}

/// Where in `base_path` the chain is.
fn database(base_path: &BasePath) -> PathBuf {
    base_path.path().join("chain")
}

fn rpc_configuration(address: SocketAddr) -> RpcConfiguration {
    let batch_config = RpcBatchRequestConfig::Unlimited;
    RpcConfiguration {
        addr: Some(vec![RpcEndpoint {
            listen_addr: address,
            batch_config,
            max_connections: MAX_CONNECTIONS,
            max_payload_in_mb: MAX_PAYLOAD,
            max_payload_out_mb: MAX_PAYLOAD,
            max_subscriptions_per_connection: MAX_SUBSCRIPTIONS,
            max_buffer_capacity_per_connection: MAX_BUFFERED,
            rate_limit: None,
            rate_limit_trust_proxy_headers: false,
            rate_limit_whitelisted_ips: Vec::new(),
            cors: None,
            rpc_methods: RpcMethods::Auto,
            is_optional: false,
            retry_random_port: false,
        }]),
        max_connections: MAX_CONNECTIONS,
        cors: None,
        methods: RpcMethods::Auto,
        max_request_size: MAX_PAYLOAD,
        max_response_size: MAX_PAYLOAD,
        id_provider: None,
        max_subs_per_conn: MAX_SUBSCRIPTIONS,
        port: address.port(),
        message_buffer_capacity: MAX_BUFFERED,
        batch_config,
        rate_limit: None,
        rate_limit_whitelisted_ips: Vec::new(),
        rate_limit_trust_proxy_headers: false,
    }
}

/// Fails when `address` cannot be listened on, before anything else is started.
fn check_free(address: SocketAddr, flag: &str) -> Result<()> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
            "port {} of {} is in use, perhaps by another node: choose another with {flag}",
            address.port(),
            address.ip(),
        ),
        Err(error) => Err(error).with_context(|| format!("cannot listen on {address}")),
    }
}

//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// A Substrate chain of one node with pallet-contracts, for tests and demonstrations.
///
/// Anyone can spend the funds of its development accounts: never give it anything of value.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// When blocks are made.
    #[arg(long, value_enum, default_value_t = Seal::Timed)]
    pub seal: Seal,

    /// Time between blocks of `--seal timed`, empty ones included: 2s, 500ms.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub block_time: Duration,

    /// With `--seal instant`, also makes an empty block every so often.
    ///
    /// Without it the chain's clock stands still while there are no transactions.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub heartbeat: Option<Duration>,

    /// How many blocks finality is behind the best block; 0 finalizes every block at once.
    #[arg(long, value_name = "BLOCKS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100))]
    pub finality_depth: u32,

    /// Keeps the chain in this folder, and goes on with the one that is there.
    #[arg(long, value_name = "FOLDER", conflicts_with = "tmp")]
    pub base_path: Option<PathBuf>,

    /// Keeps the chain in a temporary folder, which is removed at the end. The default.
    #[arg(long)]
    pub tmp: bool,

    /// Keeps the state of only so many finalized blocks. Without it, of all.
    #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u32).range(1..))]
    pub state_pruning: Option<u32>,

    /// Address that JSON-RPC and metrics are served on.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub host: IpAddr,

    /// Port of JSON-RPC over HTTP and WebSocket; 0 takes a free one, which the log names.
    #[arg(long, value_name = "PORT", default_value_t = 9944)]
    pub rpc_port: u16,

    /// Serves Prometheus metrics on this port, at /metrics.
    #[arg(long, value_name = "PORT")]
    pub prometheus_port: Option<u16>,

    /// Lets RPC make, finalize and drop blocks: engine_createBlock, engine_finalizeBlock,
    /// devnet_reorg.
    #[arg(long)]
    pub unsafe_engine: bool,

    /// Logs more, or less, of some targets: `runtime::contracts=debug,lockstep_devnet=debug`.
    #[arg(long, short, value_name = "FILTER")]
    pub log: Vec<String>,
}

/// When blocks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Seal {
    /// One every `--block-time`.
    Timed,
    /// As soon as there is a transaction.
    Instant,
    /// By `engine_createBlock` only; needs `--unsafe-engine`.
    Manual,
}

/// Reads a time such as `2s` or `500ms`, of at least a millisecond.
fn duration(text: &str) -> Result<Duration, String> {
    let millis = match text.strip_suffix("ms") {
        Some(millis) => millis.parse().ok(),
        None => text
            .strip_suffix('s')
            .and_then(|seconds| seconds.parse::<u64>().ok())
            .and_then(|seconds| seconds.checked_mul(1000)),
    };
    match millis {
        Some(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        _ => Err("expected a time such as 2s or 500ms".into()),
    }
}

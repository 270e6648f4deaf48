use super::Balance;
use crate::keys::{address, Account};
use std::num::NonZero;

/// What JSON-RPC says of a method that a node does not have.
const METHOD_NOT_FOUND: i32 = -32601;

/// Why the chain did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The call failed before or inside the contract.
    #[error("[C01] the call failed: {0}")]
    Failed(String),
    /// The contract undid the call. The bytes say why, see
    /// [`contracts`](super::contracts).
    #[error("[C02] the contract refused the call")]
    Reverted(Vec<u8>),
    /// The chain's files cannot be read or written.
    #[error("[C03] {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What happened.
        source: std::io::Error,
    },
    /// The chain's files are damaged.
    #[error("[C04] {path} is damaged: {reason}; delete the folder to start a new chain")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A contract bundle is malformed.
    #[error("[C05] the contract bundle is malformed: {0}; take the one in contracts/artifacts or rebuild it")]
    Bundle(String),
    /// The contract's answer does not decode.
    #[error("[C06] the contract at {contract} answered with bytes that mean nothing here; does the address belong to another contract or version?")]
    Answer {
        /// The address.
        contract: String,
    },
    /// A URL is not one of a node.
    #[error("[C07] `{url}` is not the URL of a node: {reason}; it looks like ws://127.0.0.1:9944 or wss://example.org")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// No endpoint answered for as long as was waited.
    #[error("[C08] no endpoint answers ({reasons}); check that a node runs there and that the URL is right")]
    Unreachable {
        /// Each endpoint, with what happened last.
        reasons: String,
    },
    /// An endpoint belongs to another network.
    #[error("[C09] {url} is on the network with genesis {found}, and {expected} was expected; remove it from the endpoints, or use another `--home` for another network")]
    Network {
        /// The endpoint.
        url: String,
        /// The hash of its first block.
        found: String,
        /// The hash that it should be.
        expected: String,
    },
    /// The chain cannot run the contracts.
    #[error("[C10] the chain at {url} has no `pallet-contracts`, which Lockstep's contracts need; use a chain that has it")]
    NoContracts {
        /// The endpoint.
        url: String,
    },
    /// The chain is built in a way that this worker does not know.
    #[error("[C11] this chain is not understood: {0}; a newer release of lockstep may know it")]
    Incompatible(String),
    /// An account has too little money.
    #[error("[C12] {account} has {free} units and cannot pay {what}; {}", send(*missing))]
    Unfunded {
        /// Who should pay.
        account: String,
        /// What it has.
        free: Balance,
        /// What it cannot pay.
        what: String,
        /// How much is missing, as far as that is known.
        missing: Option<NonZero<Balance>>,
    },
    /// The node has forgotten what a block did.
    #[error("[C13] {url} has discarded the state of block {block}; add an archive node to the endpoints, or run the node with a larger `--state-pruning` (`archive` keeps everything)")]
    Pruned {
        /// The endpoint.
        url: String,
        /// The block.
        block: String,
    },
    /// The node does not take the transaction.
    #[error("[C14] the node refused the transaction: {0}")]
    Rejected(String),
    /// It is not known whether a transaction will be in a block.
    #[error("[C15] transaction {hash} was sent and is in no block yet; it may still be included up to block {until}, and the same call waits for it again: {reason}")]
    Unresolved {
        /// Its hash.
        hash: String,
        /// The last block that can hold it.
        until: u32,
        /// Why the waiting ended.
        reason: String,
    },
    /// A transaction is in no block and can never be in one.
    #[error("[C16] transaction {hash} was not included and never will be: {reason}; it changed nothing and can be sent again")]
    Lost {
        /// Its hash.
        hash: String,
        /// Why that is certain.
        reason: String,
    },
    /// Other transactions of the account were on their way when this one was decided.
    #[error("[C17] other transactions of {} were on their way ({count} of them) and may have changed what this one was meant for; read the chain again, then send it", address(account))]
    Overtaken {
        /// Whose.
        account: Account,
        /// How many.
        count: u64,
    },
    /// What became of a transaction cannot be told any more.
    #[error("[C18] the nodes have discarded the blocks that tell what became of transaction {hash}; read the chain again before deciding what to do, and keep more states (`--state-pruning`) to be told in time")]
    Forgotten {
        /// Its hash.
        hash: String,
    },
    /// The node answered a question with an error.
    #[error("[C19] {url} answered `{method}` with an error: {message}")]
    Answered {
        /// The endpoint.
        url: String,
        /// What was asked.
        method: &'static str,
        /// The error's number in JSON-RPC.
        code: i32,
        /// What it said.
        message: String,
    },
}

impl Error {
    /// Whether trying again later can help without anybody's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Io { .. }
            | Error::Unreachable { .. }
            | Error::Unresolved { .. }
            | Error::Lost { .. }
            | Error::Overtaken { .. }
            | Error::Forgotten { .. } => true,
            Error::Answered { code, .. } => *code != METHOD_NOT_FOUND,
            _ => false,
        }
    }
}

fn send(missing: Option<NonZero<Balance>>) -> String {
    match missing {
        Some(missing) => format!("send it at least {missing} more"),
        None => "send it more".to_owned(),
    }
}

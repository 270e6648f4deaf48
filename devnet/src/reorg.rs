//! A reorganisation on demand: the last blocks are dropped for a longer chain of empty ones.
//!
//! The transactions of the dropped blocks go back to the pool, as in any reorganisation, and are
//! put into the blocks to come. The pool checks those that it had already, which may build on
//! dropped ones, in the background; a block that came before that would throw them out.

use std::sync::Arc;
use std::time::Duration;

use codec::Encode;
use futures::channel::oneshot;
use sc_block_builder::BlockBuilderBuilder;
use sc_consensus::{
    BlockImport, BlockImportParams, ForkChoiceStrategy, ImportResult, StateAction, StorageChanges,
};
use sc_consensus_manual_seal::{Error, MANUAL_SEAL_ENGINE_ID};
use serde::Serialize;
use sp_blockchain::HeaderBackend;
use sp_consensus::BlockOrigin;
use sp_inherents::{CreateInherentDataProviders, InherentDataProvider};
use sp_runtime::traits::Block as _;
use sp_runtime::{Digest, DigestItem};

use crate::clock::Clock;
use crate::node::{BlockNumber, Client, Hash};

/// How long the pool is given to check its transactions against the new chain. It checks a quarter
/// of them, or 20, five times a second.
const SETTLING: Duration = Duration::from_secs(1);

/// Asks for a reorganisation.
pub struct Reorganise {
    /// How many blocks to drop.
    pub depth: BlockNumber,
    pub answer: oneshot::Sender<Result<Reorganised, Error>>,
}

/// What a reorganisation did.
#[derive(Clone, Debug, Serialize)]
pub struct Reorganised {
    /// The last block that both chains have.
    pub ancestor: Hash,
    /// The best block before, which is dropped.
    pub old: Hash,
    /// The best block now, one higher.
    pub new: Hash,
}

/// Replaces the last `depth` blocks by `depth + 1` empty ones, and waits until the pool has noticed.
///
/// Finalized blocks are never dropped: an error says how many others there are.
pub async fn reorganise(
    client: &Arc<Client>,
    clock: &Clock,
    depth: BlockNumber,
) -> Result<Reorganised, Error> {
    let chain = client.info();
    let droppable = chain.best_number - chain.finalized_number;
    if depth == 0 || depth > droppable {
        return Err(Error::StringError(format!(
            "cannot drop {depth} blocks: {droppable} are not final (see --finality-depth)"
        )));
    }
    let ancestor = client
        .hash(chain.best_number - depth)?
        .ok_or_else(|| Error::BlockNotFound(format!("{depth} below the best one")))?;
    let mut new = ancestor;
    for _ in 0..=depth {
        new = append_empty(client, clock, new, chain.best_hash).await?;
    }
    tokio::time::sleep(SETTLING).await;
    Ok(Reorganised {
        ancestor,
        old: chain.best_hash,
        new,
    })
}

/// Imports a block on top of `parent` that holds nothing but its time.
///
/// Its header names the block that it replaces. The block would not differ from a dropped one if
/// that was empty too and had the same time, as it has when blocks are made faster than time goes.
async fn append_empty(
    client: &Arc<Client>,
    clock: &Clock,
    parent: Hash,
    replaced: Hash,
) -> Result<Hash, Error> {
    let inherents = clock
        .create_inherent_data_providers(parent, ())
        .await
        .map_err(Error::Other)?
        .create_inherent_data()
        .await?;
    let mut builder = BlockBuilderBuilder::new(&**client)
        .on_parent_block(parent)
        .fetch_parent_block_number(&**client)?
        .with_inherent_digests(Digest {
            logs: vec![DigestItem::PreRuntime(
                MANUAL_SEAL_ENGINE_ID,
                replaced.encode(),
            )],
        })
        .build()?;
    for inherent in builder.create_inherents(inherents)? {
        builder.push(inherent)?;
    }
    let (block, changes, _) = builder.build()?.into_inner();

    let (header, body) = block.deconstruct();
    let hash = header.hash();
    let mut import = BlockImportParams::new(BlockOrigin::Own, header);
    import.body = Some(body);
    import.fork_choice = Some(ForkChoiceStrategy::LongestChain);
    import.state_action = StateAction::ApplyChanges(StorageChanges::Changes(changes));
    match client.import_block(import).await? {
        ImportResult::Imported(_) => Ok(hash),
        other => Err(other.into()),
    }
}

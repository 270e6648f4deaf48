//! A node without a chain: it answers the questions that a worker asks from a list of blocks, and
//! fails in every way that a test asks for.

mod metadata;
mod server;

pub use server::Host;

use ink_sandbox::frame_support::dispatch::DispatchInfo;
use ink_sandbox::frame_support::sp_runtime::DispatchError;
use ink_sandbox::frame_system::{self, AccountInfo, EventRecord, Phase};
use ink_sandbox::macros::{DefaultSandboxRuntime as SandboxRuntime, RuntimeEvent};
use ink_sandbox::pallet_balances::AccountData;
use ink_sandbox::{pallet_contracts, AccountId32, Weight};
use scale::{Compact, Decode, Encode};
use sp_core::{blake2_256, twox_128, H256};
use std::collections::BTreeMap;

/// What the development accounts of this chain own.
pub const MONEY: u128 = 1_000_000_000;

/// What every transaction costs.
pub const FEE: u128 = 1_000;

/// Milliseconds between blocks, as their timestamps say.
pub const BLOCK_TIME: u64 = 2_000;

/// A block.
#[derive(Clone)]
pub struct Block {
    pub hash: H256,
    pub body: Vec<Vec<u8>>,
    nonces: BTreeMap<[u8; 32], u32>,
    events: Vec<u8>,
}

/// A transaction, as far as this chain understands it.
struct Transaction {
    signer: [u8; 32],
    nonce: u32,
    /// The blocks in which it is valid, as a mortal era is encoded.
    era: u16,
}

impl Transaction {
    fn decode(bytes: &[u8]) -> Transaction {
        let input = &mut &bytes[..];
        let length = Compact::<u32>::decode(input).unwrap().0;
        assert_eq!(length as usize, input.len());
        type Head = (u8, [u8; 32], u8, [u8; 64], u16, Compact<u32>);
        let (version, signer, scheme, _, era, nonce) = Head::decode(input).unwrap();
        assert_eq!((version, scheme), (0x84, 1));
        Transaction {
            signer,
            nonce: nonce.0,
            era,
        }
    }

    /// The beginning of the era that a block is in.
    fn birth(&self, block: u32) -> u32 {
        let period = 2u32 << (self.era % 16);
        let phase = u32::from(self.era >> 4);
        (block.max(phase) - phase) / period * period + phase
    }
}

/// How the transactions of an account end.
#[derive(Clone)]
pub enum Ending {
    Success,
    Failure(DispatchError),
}

/// A chain and the pool of the node that has it.
#[derive(Clone)]
pub struct Chain {
    pub blocks: Vec<Block>,
    /// How many blocks at the end may be undone.
    pub lag: usize,
    /// Transactions, and the blocks in which their eras began.
    pub pool: Vec<(Vec<u8>, u32)>,
    /// Whether blocks take transactions from the pool.
    pub includes: bool,
    pub ending: Ending,
    pub metadata: Vec<u8>,
    /// What `ContractsApi_call` answers.
    pub dry_run: Vec<u8>,
    /// Blocks below this have lost their state.
    pub pruned: usize,
}

/// What the pool says to an offer.
pub enum Offer {
    Taken,
    Refused(i32, &'static str, Option<&'static str>),
}

impl Chain {
    /// A chain whose first block is named after `network`.
    pub fn new(network: &str) -> Chain {
        let genesis = Block {
            hash: H256(blake2_256(network.as_bytes())),
            body: Vec::new(),
            nonces: BTreeMap::new(),
            events: Vec::<()>::new().encode(),
        };
        Chain {
            blocks: vec![genesis],
            lag: 0,
            pool: Vec::new(),
            includes: true,
            ending: Ending::Success,
            metadata: metadata::whole(),
            dry_run: Vec::new(),
            pruned: 0,
        }
    }

    /// As [`Chain::new`], without contracts.
    pub fn without_contracts(network: &str) -> Chain {
        Chain {
            metadata: metadata::without_contracts(),
            ..Chain::new(network)
        }
    }

    pub fn best(&self) -> usize {
        self.blocks.len() - 1
    }

    pub fn finalized(&self) -> usize {
        self.best().saturating_sub(self.lag)
    }

    pub fn at(&self, hash: &H256) -> Option<usize> {
        self.blocks.iter().position(|block| block.hash == *hash)
    }

    /// How often a transaction of an account is in the chain.
    pub fn count(&self, signer: &[u8; 32]) -> usize {
        let bodies = self.blocks.iter().flat_map(|block| &block.body);
        bodies
            .filter(|bytes| Transaction::decode(bytes).signer == *signer)
            .count()
    }

    pub fn nonce(&self, block: usize, account: &[u8; 32]) -> u32 {
        let nonces = &self.blocks[block].nonces;
        nonces.get(account).copied().unwrap_or(0)
    }

    /// The first nonce that is neither in the chain nor in the pool.
    pub fn next_nonce(&self, account: &[u8; 32]) -> u32 {
        let mut next = self.nonce(self.best(), account);
        let pooled = self
            .pool
            .iter()
            .map(|(bytes, _)| Transaction::decode(bytes));
        let own = pooled.filter(|transaction| transaction.signer == *account);
        let mut pooled: Vec<u32> = own.map(|transaction| transaction.nonce).collect();
        pooled.sort_unstable();
        for nonce in pooled {
            next += u32::from(nonce == next);
        }
        next
    }

    pub fn offer(&mut self, bytes: Vec<u8>) -> Offer {
        let transaction = Transaction::decode(&bytes);
        if self.pool.iter().any(|(pooled, _)| *pooled == bytes) {
            return Offer::Refused(1013, "Transaction Already Imported", None);
        }
        if transaction.nonce < self.nonce(self.best(), &transaction.signer) {
            return Offer::Refused(1010, "Invalid Transaction", Some("Transaction is outdated"));
        }
        let rival = |(other, _): &(Vec<u8>, u32)| {
            let other = Transaction::decode(other);
            (other.signer, other.nonce) == (transaction.signer, transaction.nonce)
        };
        if self.pool.iter().any(rival) {
            return Offer::Refused(1014, "Priority is too low: (1 vs 1)", None);
        }
        let birth = transaction.birth(self.best() as u32);
        self.pool.push((bytes, birth));
        Offer::Taken
    }

    /// Makes a block.
    pub fn produce(&mut self) {
        let number = self.blocks.len();
        let parent = &self.blocks[number - 1];
        let mut nonces = parent.nonces.clone();
        let mut body = Vec::new();
        let mut events = Vec::new();
        if self.includes {
            let mut pool = std::mem::take(&mut self.pool);
            pool.sort_by_key(|(bytes, _)| Transaction::decode(bytes).nonce);
            for (bytes, birth) in pool {
                let transaction = Transaction::decode(&bytes);
                let nonce = nonces.entry(transaction.signer).or_default();
                let valid = transaction.birth(number as u32) == birth;
                if transaction.nonce == *nonce && valid {
                    *nonce += 1;
                    events.extend(self.events(body.len() as u32));
                    body.push(bytes);
                } else if transaction.nonce > *nonce && valid {
                    self.pool.push((bytes, birth));
                }
            }
        }
        let name = (parent.hash, number as u32, &body, self.includes);
        self.blocks.push(Block {
            hash: H256(name.using_encoded(blake2_256)),
            body,
            nonces,
            events: events.encode(),
        });
    }

    /// Another chain wins: the last block is undone and its transactions are forgotten, and a
    /// block without any takes its place.
    pub fn reorganise(&mut self) {
        self.blocks.pop();
        let (pool, includes) = (std::mem::take(&mut self.pool), self.includes);
        self.includes = false;
        self.produce();
        (self.pool, self.includes) = (pool, includes);
    }

    fn events(&self, index: u32) -> Vec<EventRecord<RuntimeEvent, H256>> {
        let info = DispatchInfo {
            weight: Weight::from_parts(77, 88),
            ..Default::default()
        };
        let emitted = pallet_contracts::Event::<SandboxRuntime>::ContractEmitted {
            contract: AccountId32::new([6; 32]),
            data: vec![index as u8, 9],
        };
        let end = match &self.ending {
            Ending::Success => frame_system::Event::<SandboxRuntime>::ExtrinsicSuccess {
                dispatch_info: info,
            },
            Ending::Failure(error) => frame_system::Event::ExtrinsicFailed {
                dispatch_error: *error,
                dispatch_info: info,
            },
        };
        let record = |event, topics| EventRecord {
            phase: Phase::ApplyExtrinsic(index),
            event,
            topics,
        };
        vec![
            record(RuntimeEvent::Contracts(emitted), vec![H256([3; 32])]),
            record(RuntimeEvent::System(end), Vec::new()),
        ]
    }

    /// What is stored under a key after a block.
    pub fn storage(&self, block: usize, key: &[u8]) -> Option<Vec<u8>> {
        let item = |pallet: &str, entry: &str| {
            [twox_128(pallet.as_bytes()), twox_128(entry.as_bytes())].concat()
        };
        if key.starts_with(&item("System", "Account")) {
            let account: [u8; 32] = key[key.len() - 32..].try_into().unwrap();
            let info = AccountInfo::<u32, AccountData<u128>> {
                nonce: self.nonce(block, &account),
                providers: 1,
                data: AccountData {
                    free: MONEY,
                    ..Default::default()
                },
                ..Default::default()
            };
            return Some(info.encode());
        }
        if key == item("System", "Events") {
            return Some(self.blocks[block].events.clone());
        }
        if key == item("Timestamp", "Now") {
            return Some((block as u64 * BLOCK_TIME).encode());
        }
        None
    }
}

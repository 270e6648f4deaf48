//! A chain as a worker sees it: contracts that are called and read, events, time and money.
//!
//! Everything is synchronous: a worker makes one move at a time and its computing takes far
//! longer than its talking. There are two chains: the [`embedded`] one inside the process, and a
//! real [`node`] over WebSocket.

pub mod bundle;
pub mod contracts;
pub mod embedded;
mod error;
pub mod node;

pub use error::Error;

use crate::keys::{Account, Signer};
use lockstep_protocol::Hash;
use scale::{Decode, Encode};
use sp_core::hashing::blake2_256;

/// The smallest units of the chain's money.
pub type Balance = u128;

/// Digits after the point of a whole token.
pub const DECIMALS: usize = 12;

/// One token.
pub const UNIT: Balance = 10u128.pow(DECIMALS as u32);

/// A point in the chain's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Now {
    /// Height.
    pub block: u32,
    /// Milliseconds since 1970.
    pub time: u64,
}

/// Computation and proof size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Weight {
    /// Picoseconds of computation.
    pub ref_time: u64,
    /// Bytes of storage proof.
    pub proof_size: u64,
}

impl Weight {
    /// A little more, since the state may change between an estimate and the block.
    pub fn with_margin(self) -> Weight {
        let add = |n: u64| n.saturating_add(n / 10);
        Weight {
            ref_time: add(self.ref_time),
            proof_size: add(self.proof_size),
        }
    }
}

/// A message to a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The contract.
    pub contract: Account,
    /// Money sent along.
    pub value: Balance,
    /// Selector and arguments.
    pub input: Vec<u8>,
}

/// What a caller is willing to pay for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Weight that the call may use.
    pub weight: Weight,
    /// Storage deposit that the caller may be charged.
    pub deposit: Balance,
}

/// What a call would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Weight it needs.
    pub weight: Weight,
    /// Storage deposit it charges.
    pub deposit: Balance,
    /// Whether the contract would refuse and undo everything.
    pub reverted: bool,
    /// What the contract would return.
    pub output: Vec<u8>,
}

/// What a call did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// When.
    pub at: Now,
    /// Bytes of the call's input.
    pub bytes: usize,
    /// Weight used.
    pub weight: Weight,
    /// Storage deposit charged to the caller; negative when one was refunded.
    pub deposit: i128,
    /// Fee paid; a chain without fees takes none.
    pub fee: Balance,
    /// Events of all contracts in the call.
    pub events: Vec<Event>,
}

/// What a contract emitted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Event {
    /// When.
    pub at: Now,
    /// Who.
    pub contract: Account,
    /// What it can be found by: the hash of its signature, then its indexed fields.
    pub topics: Vec<Hash>,
    /// Its fields, encoded.
    pub data: Vec<u8>,
}

/// An account's money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Funds {
    /// What it can spend.
    pub free: Balance,
    /// What is held for storage.
    pub held: Balance,
}

/// What a chain offers to a worker.
pub trait Chain: Send + Sync {
    /// Height and time that a call submitted now would see.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    fn now(&self) -> Result<Now, Error>;

    /// An account's money; an account that does not exist has none.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    fn funds(&self, account: &Account) -> Result<Funds, Error>;

    /// All money in existence.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    fn issuance(&self) -> Result<Balance, Error>;

    /// Weight that one extrinsic may have at most.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    fn extrinsic_limit(&self) -> Result<Weight, Error>;

    /// What `call` would do if `from` submitted it now.
    ///
    /// # Errors
    /// When the chain cannot be reached or the contract traps. A contract that refuses is no
    /// error: the estimate says so.
    fn estimate(&self, from: &Account, call: &Call) -> Result<Estimate, Error>;

    /// Submits a call and waits until it is in a block that will not be undone.
    ///
    /// # Errors
    /// When the chain cannot be reached or the call failed; then it changed nothing.
    fn submit(&self, signer: &Signer, call: &Call, limits: &Limits) -> Result<Receipt, Error>;

    /// Uploads a contract's code and makes an instance of it. The same deployer, code, input and
    /// salt give the same address.
    ///
    /// # Errors
    /// When the chain cannot be reached or the constructor failed.
    fn deploy(
        &self,
        signer: &Signer,
        code: &[u8],
        input: &[u8],
        salt: &[u8],
    ) -> Result<(Account, Receipt), Error>;

    /// Events of a contract in one block, in order.
    ///
    /// # Errors
    /// When the chain cannot be reached or has forgotten the block's state.
    fn events(&self, contract: &Account, block: u32) -> Result<Vec<Event>, Error>;

    /// The hash of the code that the contract at an address runs; `None` when no contract is
    /// there.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    fn code_hash(&self, contract: &Account) -> Result<Option<Hash>, Error>;
}

/// The address of the instance that [`Chain::deploy`] makes, as `pallet-contracts` derives it:
/// the BLAKE2b hash of a prefix, the deployer, the code's hash, the constructor's input and the
/// salt.
pub fn instance_address(deployer: &Account, code: &Hash, input: &[u8], salt: &[u8]) -> Account {
    (b"contract_addr_v1", deployer, code, input, salt).using_encoded(blake2_256)
}

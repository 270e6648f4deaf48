//! What is sent: the three calls of `pallet-contracts` that a worker makes, and the blocks in
//! which a transaction is valid.

use super::any::Recipient;
use super::link::Block;
use super::runtime::Gas;
use crate::chain::{Balance, Call, Limits};
use subxt::ext::scale_encode::EncodeAsType;
use subxt::tx::{dynamic, DynamicPayload};
use subxt::utils::H256;

/// The pallet.
const CONTRACTS: &str = "Contracts";

/// Arguments of `Contracts.call`.
#[derive(EncodeAsType)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct CallArguments {
    dest: Recipient,
    value: Balance,
    gas_limit: Gas,
    storage_deposit_limit: Option<Balance>,
    data: Vec<u8>,
}

/// Arguments of `Contracts.instantiate_with_code`.
#[derive(EncodeAsType)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct UploadArguments {
    value: Balance,
    gas_limit: Gas,
    storage_deposit_limit: Option<Balance>,
    code: Vec<u8>,
    data: Vec<u8>,
    salt: Vec<u8>,
}

/// Arguments of `Contracts.instantiate`.
#[derive(EncodeAsType)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct InstantiateArguments {
    value: Balance,
    gas_limit: Gas,
    storage_deposit_limit: Option<Balance>,
    code_hash: H256,
    data: Vec<u8>,
    salt: Vec<u8>,
}

/// A message to a contract.
pub fn call(call: &Call, limits: &Limits) -> DynamicPayload<CallArguments> {
    let arguments = CallArguments {
        dest: call.contract.into(),
        value: call.value,
        gas_limit: limits.weight.into(),
        storage_deposit_limit: Some(limits.deposit),
        data: call.input.clone(),
    };
    dynamic(CONTRACTS, "call", arguments)
}

/// A new contract and its first instance.
pub fn upload(
    code: &[u8],
    input: &[u8],
    salt: &[u8],
    limits: &Limits,
) -> DynamicPayload<UploadArguments> {
    let arguments = UploadArguments {
        value: 0,
        gas_limit: limits.weight.into(),
        storage_deposit_limit: Some(limits.deposit),
        code: code.to_vec(),
        data: input.to_vec(),
        salt: salt.to_vec(),
    };
    dynamic(CONTRACTS, "instantiate_with_code", arguments)
}

/// An instance of a contract whose code is on the chain.
pub fn instantiate(
    code: H256,
    input: &[u8],
    salt: &[u8],
    limits: &Limits,
) -> DynamicPayload<InstantiateArguments> {
    let arguments = InstantiateArguments {
        value: 0,
        gas_limit: limits.weight.into(),
        storage_deposit_limit: Some(limits.deposit),
        code_hash: code,
        data: input.to_vec(),
        salt: salt.to_vec(),
    };
    dynamic(CONTRACTS, "instantiate", arguments)
}

/// Blocks that a transaction may wait for its inclusion, when blocks become final at once.
const PERIOD: u32 = 64;

/// The longest period: chains remember the hashes of at least this many blocks.
const LONGEST_PERIOD: u32 = 1024;

/// The blocks in which a transaction is valid. After the last of them has become final without
/// it, the transaction is dead for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Era {
    /// The block after which it is valid.
    pub birth: u32,
    /// That block's hash: on a chain without that block, the transaction is not valid at all.
    pub hash: H256,
    /// How many blocks it is valid for; a power of two.
    pub period: u32,
}

impl Era {
    /// The era that begins at `head`, which will not be undone, and lasts long enough although
    /// the chain has grown to `best` since.
    pub fn from(head: Block, best: u32) -> Era {
        let behind = best.saturating_sub(head.number);
        let period = PERIOD.saturating_add(behind.saturating_mul(2));
        Era {
            birth: head.number,
            hash: head.hash,
            period: period
                .checked_next_power_of_two()
                .unwrap_or(LONGEST_PERIOD)
                .min(LONGEST_PERIOD),
        }
    }

    /// The last block that can hold the transaction.
    pub fn last(&self) -> u32 {
        self.birth.saturating_add(self.period - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ink_sandbox::frame_support::sp_runtime::generic::Era as SubstrateEra;
    use scale::{Decode, Encode};
    use subxt::utils::Era as WireEra;

    fn block(number: u32) -> Block {
        Block {
            number,
            hash: H256::zero(),
        }
    }

    #[test]
    fn the_chain_agrees_about_the_first_and_the_last_block_of_an_era() {
        for number in [0, 1, 2, 63, 64, 65, 1_000, 77_777, 4_000_000] {
            for lag in [0, 1, 20, 31, 100, 400, 5_000] {
                let era = Era::from(block(number), number + lag);
                let wire = WireEra::mortal(era.period.into(), era.birth.into()).encode();
                let chain = SubstrateEra::decode(&mut &wire[..]).unwrap();
                let birth = |at: u32| chain.birth(at.into());
                assert_eq!(birth(era.birth), u64::from(number));
                assert_eq!(birth(era.last()), u64::from(number));
                assert_ne!(birth(era.last() + 1), u64::from(number));
                assert_eq!(chain.death(era.birth.into()), u64::from(era.last()) + 1);
            }
        }
    }

    #[test]
    fn an_era_outlasts_the_lag_of_finality() {
        assert_eq!(Era::from(block(100), 100).period, 64);
        assert_eq!(Era::from(block(100), 103).period, 128);
        let era = Era::from(block(100), 300);
        assert!(era.last() >= 300 + 64);
        assert_eq!(Era::from(block(0), u32::MAX).period, LONGEST_PERIOD);
    }
}

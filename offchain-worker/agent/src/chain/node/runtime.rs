//! What a chain's metadata says: where things are stored, how they are encoded, and how a
//! transaction is put together.

use super::any::{AnyChain, Pen};
use super::transaction::Era;
use crate::chain::{Balance, Error, Funds, Weight};
use crate::keys::{Account, Signer};
use subxt::client::{OfflineClient, OfflineClientAtBlock};
use subxt::config::DefaultExtrinsicParamsBuilder;
use subxt::constants;
use subxt::events::Events;
use subxt::ext::frame_decode::storage::{encode_storage_key, IntoEncodableValues};
use subxt::ext::scale_decode::DecodeAsType;
use subxt::ext::scale_encode::EncodeAsType;
use subxt::tx::Payload;
use subxt::utils::{AccountId32, H256};
use subxt::Metadata;

/// A runtime's computation and proof size, by their names on the chain.
#[derive(Clone, Copy, Debug, DecodeAsType, EncodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct Gas {
    ref_time: u64,
    proof_size: u64,
}

impl From<Weight> for Gas {
    fn from(weight: Weight) -> Gas {
        Gas {
            ref_time: weight.ref_time,
            proof_size: weight.proof_size,
        }
    }
}

impl From<Gas> for Weight {
    fn from(gas: Gas) -> Weight {
        Weight {
            ref_time: gas.ref_time,
            proof_size: gas.proof_size,
        }
    }
}

#[derive(Default, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct AccountInfo {
    nonce: u64,
    data: AccountData,
}

#[derive(Default, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct AccountData {
    free: Balance,
    reserved: Balance,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct BlockWeights {
    max_block: Gas,
    per_class: PerClass,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct PerClass {
    normal: Class,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct Class {
    max_extrinsic: Option<Gas>,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct ContractInfo {
    code_hash: H256,
}

/// What is stored under one name: the pallet and the entry.
#[derive(Clone, Copy)]
pub struct Item(&'static str, &'static str);

/// The events of a block.
pub const EVENTS: Item = Item("System", "Events");
/// A block's time.
pub const NOW: Item = Item("Timestamp", "Now");
/// An account's nonce and money.
pub const ACCOUNT: Item = Item("System", "Account");
/// All money in existence.
pub const ISSUANCE: Item = Item("Balances", "TotalIssuance");
/// A contract's record, by its address.
pub const CONTRACT: Item = Item("Contracts", "ContractInfoOf");
/// A code's record, by its hash.
pub const CODE: Item = Item("Contracts", "CodeInfoOf");

/// One runtime of the chain.
pub struct Runtime {
    client: OfflineClientAtBlock<AnyChain>,
}

/// A transaction that is ready to be sent.
pub struct Signed {
    /// As it is sent, and as it appears in a block.
    pub bytes: Vec<u8>,
    /// Its name.
    pub hash: H256,
}

impl Runtime {
    /// The runtime with this metadata and these versions.
    ///
    /// # Errors
    /// When the metadata is of an unknown form.
    pub fn new(genesis: H256, versions: (u32, u32), metadata: &[u8]) -> Result<Runtime, Error> {
        let metadata = Metadata::decode_from(metadata).map_err(unknown)?.arc();
        let chain = AnyChain {
            genesis,
            versions,
            metadata,
        };
        let client = OfflineClient::new_with_config(chain)
            .at_block(0u64)
            .map_err(unknown)?;
        Ok(Runtime { client })
    }

    /// The metadata itself.
    pub fn metadata(&self) -> &Metadata {
        self.client.metadata_ref()
    }

    /// Whether contracts of `pallet-contracts` can run here.
    pub fn has_contracts(&self) -> bool {
        let pallet = self.metadata().pallet_by_name("Contracts");
        pallet.is_some_and(|pallet| {
            pallet
                .call_variant_by_name("instantiate_with_code")
                .is_some()
        })
    }

    /// Checks what cannot be read from metadata where the runtime is asked directly: the sizes of
    /// accounts and balances.
    ///
    /// # Errors
    /// When they are others than elsewhere.
    pub fn check_sizes(&self) -> Result<(), Error> {
        self.account_key(ACCOUNT, &[0; 32])?;
        let metadata = self.metadata();
        let balance = Balance::MAX.encode_as_type(self.type_of(ISSUANCE)?, metadata.types());
        match balance.map_err(unknown)?.len() {
            16 => Ok(()),
            bytes => Err(unknown(format!("its balances have {bytes} bytes, not 16"))),
        }
    }

    /// The storage key of an item that there is one of.
    ///
    /// # Errors
    /// When the chain has no such item.
    pub fn key(&self, item: Item) -> Result<Vec<u8>, Error> {
        self.key_of(item, ())
    }

    /// The storage key of an account's part of an item.
    ///
    /// # Errors
    /// When the chain has no such item, or other accounts.
    pub fn account_key(&self, item: Item, account: &Account) -> Result<Vec<u8>, Error> {
        self.key_of(item, (AccountId32(*account),))
    }

    /// The storage key of a hash's part of an item.
    ///
    /// # Errors
    /// When the chain has no such item.
    pub fn hash_key(&self, item: Item, hash: H256) -> Result<Vec<u8>, Error> {
        self.key_of(item, (hash,))
    }

    fn key_of(&self, item: Item, keys: impl IntoEncodableValues) -> Result<Vec<u8>, Error> {
        let metadata = self.metadata();
        encode_storage_key(item.0, item.1, keys, metadata, metadata.types()).map_err(unknown)
    }

    /// An account's nonce and money, from what is stored of it.
    ///
    /// # Errors
    /// When it is stored in an unknown form.
    pub fn account(&self, stored: Option<&[u8]>) -> Result<(u64, Funds), Error> {
        let info: AccountInfo = self.value(ACCOUNT, stored)?.unwrap_or_default();
        let funds = Funds {
            free: info.data.free,
            held: info.data.reserved,
        };
        Ok((info.nonce, funds))
    }

    /// A number, from what is stored of it; 0 when nothing is.
    ///
    /// # Errors
    /// When it is stored in an unknown form.
    pub fn number(&self, item: Item, stored: Option<&[u8]>) -> Result<u128, Error> {
        Ok(self.value(item, stored)?.unwrap_or_default())
    }

    /// The hash of a contract's code, from what is stored of the contract.
    ///
    /// # Errors
    /// When it is stored in an unknown form.
    pub fn code_hash(&self, stored: Option<&[u8]>) -> Result<Option<H256>, Error> {
        let info: Option<ContractInfo> = self.value(CONTRACT, stored)?;
        Ok(info.map(|info| info.code_hash))
    }

    fn value<T: DecodeAsType>(
        &self,
        item: Item,
        stored: Option<&[u8]>,
    ) -> Result<Option<T>, Error> {
        let Some(mut stored) = stored else {
            return Ok(None);
        };
        T::decode_as_type(&mut stored, self.type_of(item)?, self.metadata().types())
            .map(Some)
            .map_err(unknown)
    }

    fn type_of(&self, item: Item) -> Result<u32, Error> {
        let pallet = self.metadata().pallet_by_name(item.0);
        let entry = pallet.and_then(|pallet| pallet.storage()?.entry_by_name(item.1));
        entry
            .map(|entry| entry.value_ty())
            .ok_or_else(|| unknown(format!("it has no `{}.{}`", item.0, item.1)))
    }

    /// The events of a block, from what is stored of them.
    pub fn events(&self, stored: Option<Vec<u8>>) -> Events<AnyChain> {
        self.client.events().from_bytes(stored.unwrap_or_default())
    }

    /// Weight that one ordinary transaction may have at most.
    ///
    /// # Errors
    /// When the chain does not say.
    pub fn extrinsic_limit(&self) -> Result<Weight, Error> {
        let weights: BlockWeights = self.constant("System", "BlockWeights")?;
        let limit = weights.per_class.normal.max_extrinsic;
        Ok(limit.unwrap_or(weights.max_block).into())
    }

    /// Money below which an account ceases to exist.
    ///
    /// # Errors
    /// When the chain does not say.
    pub fn existential_deposit(&self) -> Result<Balance, Error> {
        self.constant("Balances", "ExistentialDeposit")
    }

    fn constant<T: DecodeAsType>(&self, pallet: &str, name: &str) -> Result<T, Error> {
        let constants = self.client.constants();
        let address = constants::dynamic::<T>(pallet, name);
        constants.entry(address).map_err(unknown)
    }

    /// A call as a transaction that is valid for one era.
    ///
    /// # Errors
    /// When the chain has no such call, or wants more in a transaction than is known here.
    pub fn sign(
        &self,
        call: &impl Payload,
        signer: &Signer,
        nonce: u64,
        era: &Era,
    ) -> Result<Signed, Error> {
        let parameters = DefaultExtrinsicParamsBuilder::new()
            .nonce(nonce)
            .mortal_from_unchecked(era.period.into(), era.birth.into(), era.hash)
            .build();
        let signed = self
            .client
            .tx()
            .create_signable_offline(call, parameters)
            .and_then(|mut draft| draft.sign(&Pen(signer)))
            .map_err(unknown)?;
        Ok(Signed {
            hash: signed.hash(),
            bytes: signed.into_encoded(),
        })
    }
}

/// The chain differs from what is known here.
pub fn unknown(reason: impl std::fmt::Display) -> Error {
    Error::Incompatible(reason.to_string())
}

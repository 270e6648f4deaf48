//! What all chains with `pallet-contracts` have in common: accounts of 32 bytes, sr25519
//! signatures and 32-byte hashes. All else is read from a chain's own metadata.

use crate::keys::{Account, Signer};
use sp_core::Pair;
use subxt::config::substrate::{DynamicHasher256, SubstrateHeader};
use subxt::config::{Config, DefaultTransactionExtensions};
use subxt::ext::scale_encode::{EncodeAsType, Error as EncodeError};
use subxt::ext::scale_type_resolver::TypeResolver;
use subxt::metadata::ArcMetadata;
use subxt::utils::{AccountId32, MultiAddress, MultiSignature, H256};

/// One runtime of one chain, as the encoder asks for it.
#[derive(Clone, Debug)]
pub struct AnyChain {
    /// The hash of the first block.
    pub genesis: H256,
    /// The runtime's versions: of its behaviour, and of its transactions.
    pub versions: (u32, u32),
    /// What the runtime says of itself.
    pub metadata: ArcMetadata,
}

impl Config for AnyChain {
    type AccountId = AccountId32;
    type Address = Recipient;
    type Signature = MultiSignature;
    type Header = SubstrateHeader<H256>;
    type TransactionExtensions = DefaultTransactionExtensions<AnyChain>;
    type AssetId = u32;
    type Hasher = DynamicHasher256;

    fn genesis_hash(&self) -> Option<H256> {
        Some(self.genesis)
    }

    fn spec_and_transaction_version_for_block_number(&self, _: u64) -> Option<(u32, u32)> {
        Some(self.versions)
    }

    fn metadata_for_spec_version(&self, _: u32) -> Option<ArcMetadata> {
        Some(self.metadata.clone())
    }
}

/// An account where a chain wants an address: some take the bare key, most an enumeration of
/// which it is one case.
#[derive(Clone, Debug)]
pub struct Recipient(AccountId32);

impl From<AccountId32> for Recipient {
    fn from(account: AccountId32) -> Recipient {
        Recipient(account)
    }
}

impl From<Account> for Recipient {
    fn from(account: Account) -> Recipient {
        Recipient(account.into())
    }
}

impl EncodeAsType for Recipient {
    fn encode_as_type_to<R: TypeResolver>(
        &self,
        type_id: R::TypeId,
        types: &R,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        let case = MultiAddress::<AccountId32, ()>::Id(self.0);
        case.encode_as_type_to(type_id.clone(), types, out)
            .or_else(|_| {
                out.truncate(start);
                self.0.encode_as_type_to(type_id, types, out)
            })
    }
}

/// Signs transactions with a worker's key.
pub struct Pen<'a>(pub &'a Signer);

impl subxt::tx::Signer<AnyChain> for Pen<'_> {
    fn account_id(&self) -> AccountId32 {
        self.0.account().into()
    }

    fn sign(&self, payload: &[u8]) -> MultiSignature {
        MultiSignature::Sr25519(self.0.pair().sign(payload).0)
    }
}

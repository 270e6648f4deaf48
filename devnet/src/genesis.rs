//! The first block: the runtime, and which accounts have funds.

use anyhow::{Context, Result};
use contracts_node_runtime::{
    AccountId, Balance, BalancesConfig, RuntimeGenesisConfig, SudoConfig, WASM_BINARY,
};
use sc_service::{ChainType, GenericChainSpec, NoExtension, Properties};
use sp_core::storage::{well_known_keys, Storage};
use sp_keyring::Sr25519Keyring;
use sp_runtime::BuildStorage;

/// Decimals of the chain's unit.
const DECIMALS: u32 = 12;
/// What each development account has at first, in the smallest unit: a million units.
const ENDOWMENT: Balance = 1_000_000 * 10u128.pow(DECIMALS);

/// The state of the first block.
///
/// Written down by the native runtime. The usual way, through the chain specification, compiles the
/// Wasm runtime once more at every start, which doubles the time that it takes.
pub fn storage() -> Result<Storage> {
    let genesis = RuntimeGenesisConfig {
        balances: BalancesConfig {
            balances: Sr25519Keyring::iter()
                .map(|account| (account.to_account_id(), ENDOWMENT))
                .collect::<Vec<(AccountId, Balance)>>(),
        },
        sudo: SudoConfig {
            key: Some(Sr25519Keyring::Alice.to_account_id()),
        },
        ..Default::default()
    };
    let mut storage = genesis
        .build_storage()
        .map_err(anyhow::Error::msg)
        .context("the first block cannot be made")?;
    storage
        .top
        .insert(well_known_keys::CODE.to_vec(), code()?.to_vec());
    Ok(storage)
}

/// What the chain calls itself. Its state is that of [`storage`].
pub fn chain_spec() -> Result<GenericChainSpec> {
    let mut properties = Properties::new();
    properties.insert("tokenSymbol".into(), "UNIT".into());
    properties.insert("tokenDecimals".into(), DECIMALS.into());
    properties.insert("ss58Format".into(), 42.into());

    Ok(GenericChainSpec::builder(code()?, NoExtension::None)
        .with_name("Lockstep devnet")
        .with_id("lockstep-devnet")
        .with_protocol_id("lockstep-devnet")
        .with_chain_type(ChainType::Development)
        .with_properties(properties)
        .build())
}

fn code() -> Result<&'static [u8]> {
    WASM_BINARY.context("this node was built without its Wasm runtime: unset SKIP_WASM_BUILD")
}

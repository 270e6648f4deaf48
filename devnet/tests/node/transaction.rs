//! Signed transactions, and what they change.

use codec::{Decode, Encode};
use contracts_node_runtime::{
    Address, BalancesCall, Nonce, Runtime, RuntimeCall, SignedExtra, SignedPayload,
    UncheckedExtrinsic, VERSION,
};
use serde_json::{json, Value};
use sp_core::H256;
use sp_keyring::Sr25519Keyring;
use sp_runtime::generic::Era;

use crate::process::Node;

/// A transfer from Alice to Bob, in hexadecimal.
pub fn transfer(node: &Node, nonce: Nonce) -> String {
    let genesis: H256 = node.hash(0).unwrap().parse().unwrap();
    let call = RuntimeCall::Balances(BalancesCall::transfer_allow_death {
        dest: Address::Id(Sr25519Keyring::Bob.to_account_id()),
        value: 1_000_000_000_000,
    });
    let extra: SignedExtra = (
        frame_system::CheckNonZeroSender::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckEra::from(Era::Immortal),
        frame_system::CheckNonce::from(nonce),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(0),
    );
    let signed = (
        (),
        VERSION.spec_version,
        VERSION.transaction_version,
        genesis,
        genesis,
        (),
        (),
        (),
    );
    let payload = SignedPayload::from_raw(call.clone(), extra.clone(), signed);
    let signature = payload.using_encoded(|bytes| Sr25519Keyring::Alice.sign(bytes));
    let transaction = UncheckedExtrinsic::new_signed(
        call,
        Address::Id(Sr25519Keyring::Alice.to_account_id()),
        signature.into(),
        extra,
    );
    hex(&transaction.encode())
}

/// How many transactions of Alice are in the best chain.
pub fn nonce(node: &Node) -> Nonce {
    let alice = hex(&Sr25519Keyring::Alice.to_account_id().encode());
    let nonce = node.call(
        "state_call",
        json!(["AccountNonceApi_account_nonce", alice]),
    );
    decode(&nonce)
}

/// The time of a block, in milliseconds since 1970.
pub fn time(node: &Node, block: &str) -> u64 {
    let key = hex(&pallet_timestamp::Now::<Runtime>::hashed_key());
    decode(&node.call("state_getStorage", json!([key, block])))
}

fn decode<T: Decode>(value: &Value) -> T {
    let bytes = sp_core::bytes::from_hex(value.as_str().unwrap()).unwrap();
    T::decode(&mut bytes.as_slice()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    sp_core::bytes::to_hex(bytes, false)
}

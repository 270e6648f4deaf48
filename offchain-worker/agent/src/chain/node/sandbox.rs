//! What is decoded from metadata is held against the types of a real runtime: the one that the
//! embedded chain runs.

use super::dry_run::{self, Code};
use super::effects::{self, Effects};
use super::reason::Reason;
use super::runtime::{self, Runtime};
use super::transaction;
use crate::chain::bundle::Bundles;
use crate::chain::embedded::{Clock, Embedded, ENDOWMENT};
use crate::chain::{instance_address, Call, Chain, Error, Limits, Now, Weight};
use crate::keys::{Account, Signer};
use ink_sandbox::frame_support::dispatch::{DispatchInfo, GetDispatchInfo};
use ink_sandbox::frame_support::sp_runtime::traits::Dispatchable;
use ink_sandbox::frame_support::sp_runtime::{
    ArithmeticError, DispatchError, ModuleError, TokenError,
};
use ink_sandbox::frame_support::storage::unhashed;
use ink_sandbox::macros::{
    DefaultSandboxRuntime as SandboxRuntime, RuntimeCall, RuntimeEvent, RuntimeOrigin,
};
use ink_sandbox::pallet_contracts::{
    Call as ContractsCall, Code as PalletCode, CollectEvents, DebugInfo, Determinism,
    Error as ContractsError, Event as ContractsEvent,
};
use ink_sandbox::{frame_system, pallet_contracts, AccountId32, Weight as GasWeight};
use lockstep_interface::{selector, stake, Message};
use scale::{Decode, Encode};
use subxt::ext::frame_decode::extrinsics::encode_call_data;
use subxt::tx::Payload;
use subxt::utils::H256;

type System = frame_system::Pallet<SandboxRuntime>;
type Contracts = pallet_contracts::Pallet<SandboxRuntime>;

fn sandbox() -> Runtime {
    let metadata = SandboxRuntime::metadata().encode();
    Runtime::new(H256::zero(), (1, 1), &metadata).unwrap()
}

fn alice() -> Signer {
    Signer::dev("Alice")
}

fn constructor() -> Vec<u8> {
    [&selector("new")[..], &1_000u64.encode()].concat()
}

/// A chain with the stake contract on it, which takes deposits.
fn with_stake() -> (Embedded, Account) {
    let chain = Embedded::in_memory(Clock::Own);
    let code = Bundles::shipped().unwrap().stake.wasm;
    let (stake, _) = chain
        .deploy(&alice(), &code, &constructor(), b"salt")
        .unwrap();
    let appoint = Call {
        contract: stake,
        value: 0,
        input: stake::Appoint { escrow: [9; 32] }.call(),
    };
    chain.submit(&alice(), &appoint, &limits()).unwrap();
    (chain, stake)
}

fn limits() -> Limits {
    Limits {
        weight: Weight {
            ref_time: 5_000_000_000,
            proof_size: 1_000_000,
        },
        deposit: ENDOWMENT / 10,
    }
}

fn deposit_call(stake: Account, value: u128) -> Call {
    Call {
        contract: stake,
        value,
        input: stake::Deposit {}.call(),
    }
}

/// As [`transaction::call`], in the pallet's own types.
fn pallet_call(call: &Call, limits: &Limits) -> RuntimeCall {
    RuntimeCall::Contracts(ContractsCall::call {
        dest: AccountId32::new(call.contract).into(),
        value: call.value,
        gas_limit: gas(limits),
        storage_deposit_limit: Some(limits.deposit.into()),
        data: call.input.clone(),
    })
}

fn gas(limits: &Limits) -> GasWeight {
    GasWeight::from_parts(limits.weight.ref_time, limits.weight.proof_size)
}

#[test]
fn the_derived_address_is_where_the_pallet_puts_the_contract() {
    let (chain, stake) = with_stake();
    let bundle = Bundles::shipped().unwrap().stake;
    let derived = instance_address(
        &alice().account(),
        &bundle.code_hash,
        &constructor(),
        b"salt",
    );
    assert_eq!(derived, stake);
    assert_eq!(chain.code_hash(&stake).unwrap(), Some(bundle.code_hash));
    assert_eq!(chain.code_hash(&[1; 32]).unwrap(), None);
}

fn encode(runtime: &Runtime, call: &impl Payload) -> Vec<u8> {
    let metadata = runtime.metadata();
    let (pallet, name) = (call.pallet_name(), call.call_name());
    encode_call_data(pallet, name, call.call_data(), metadata, metadata.types()).unwrap()
}

#[test]
fn calls_are_encoded_as_the_pallet_decodes_them() {
    let runtime = sandbox();
    let call = deposit_call([7; 32], u128::MAX / 3);
    let limits = limits();
    let encoded = encode(&runtime, &transaction::call(&call, &limits));
    assert_eq!(encoded, pallet_call(&call, &limits).encode());

    let (code, input, salt) = (&[1, 2, 3][..], &[4, 5][..], &[6][..]);
    let upload = RuntimeCall::Contracts(ContractsCall::instantiate_with_code {
        value: 0,
        gas_limit: gas(&limits),
        storage_deposit_limit: Some(limits.deposit.into()),
        code: code.to_vec(),
        data: input.to_vec(),
        salt: salt.to_vec(),
    });
    let ours = transaction::upload(code, input, salt, &limits);
    assert_eq!(encode(&runtime, &ours), upload.encode());

    let instantiate = RuntimeCall::Contracts(ContractsCall::instantiate {
        value: 0,
        gas_limit: gas(&limits),
        storage_deposit_limit: Some(limits.deposit.into()),
        code_hash: [9; 32].into(),
        data: input.to_vec(),
        salt: salt.to_vec(),
    });
    let ours = transaction::instantiate(H256([9; 32]), input, salt, &limits);
    assert_eq!(encode(&runtime, &ours), instantiate.encode());
}

#[test]
fn what_is_stored_is_found_and_understood() {
    let (chain, stake) = with_stake();
    let runtime = sandbox();
    let read = |key: Vec<u8>| chain.intervene(|| unhashed::get_raw(&key)).unwrap();

    let key = runtime.account_key(runtime::ACCOUNT, &alice().account());
    let (_, funds) = runtime.account(read(key.unwrap()).as_deref()).unwrap();
    assert_eq!(funds, chain.funds(&alice().account()).unwrap());
    let key = runtime.account_key(runtime::ACCOUNT, &[5; 32]);
    let (nonce, funds) = runtime.account(read(key.unwrap()).as_deref()).unwrap();
    assert_eq!((nonce, funds.free, funds.held), (0, 0, 0));

    let stored = read(runtime.key(runtime::ISSUANCE).unwrap());
    let issuance = runtime.number(runtime::ISSUANCE, stored.as_deref());
    assert_eq!(issuance.unwrap(), chain.issuance().unwrap());

    let stored = read(runtime.key(runtime::NOW).unwrap());
    let time = runtime.number(runtime::NOW, stored.as_deref()).unwrap();
    assert!(time < chain.now().unwrap().time.into());

    let key = runtime.account_key(runtime::CONTRACT, &stake).unwrap();
    let code = runtime.code_hash(read(key).as_deref()).unwrap().unwrap();
    assert_eq!(Some(code.0), chain.code_hash(&stake).unwrap());
    assert!(read(runtime.hash_key(runtime::CODE, code).unwrap()).is_some());

    let limit = runtime.extrinsic_limit().unwrap();
    assert_eq!(limit.ref_time, chain.extrinsic_limit().unwrap().ref_time);
    assert!(runtime.existential_deposit().unwrap() > 0);
    assert!(runtime.has_contracts());
    runtime.check_sizes().unwrap();
}

#[test]
fn a_dry_run_is_understood() {
    let (chain, stake) = with_stake();
    let runtime = sandbox();
    let call = deposit_call(stake, 5_000);
    let trial = |from: &Account, call: &Call| {
        let result = chain.intervene(|| {
            Contracts::bare_call(
                AccountId32::new(*from),
                AccountId32::new(call.contract),
                call.value,
                GasWeight::from_parts(u64::MAX / 4, u64::MAX / 4),
                None,
                call.input.clone(),
                DebugInfo::UnsafeDebug,
                CollectEvents::UnsafeCollect,
                Determinism::Enforced,
            )
            .encode()
        });
        dry_run::answer(&result.unwrap(), &runtime).unwrap()
    };

    let expected = chain.estimate(&alice().account(), &call).unwrap();
    let good = trial(&alice().account(), &call);
    assert!(good.failure.is_none());
    assert_eq!(good.estimate, expected);
    assert!(good.estimate.deposit > 0 && !good.estimate.reverted);

    let refused = deposit_call(stake, 0);
    let expected = chain.estimate(&alice().account(), &refused).unwrap();
    let refused = trial(&alice().account(), &refused);
    assert!(refused.failure.is_none() && refused.estimate.reverted);
    assert_eq!(refused.estimate.output, expected.output);

    let poor = trial(&[3; 32], &call).failure.unwrap();
    assert!(poor.reason.is_lack_of_funds(), "{poor}");
    let nobody = trial(&alice().account(), &deposit_call([8; 32], 0));
    let why = nobody.failure.unwrap();
    assert_eq!(why.reason.name, "Contracts::ContractNotFound");
    assert!(why.to_string().contains("network"), "{why}");
}

#[test]
fn questions_are_encoded_as_the_runtime_interface_decodes_them() {
    let call = deposit_call([7; 32], 12);
    let question = dry_run::call_question(&[1; 32], &call);
    type Asked = (
        Account,
        Account,
        u128,
        Option<GasWeight>,
        Option<u128>,
        Vec<u8>,
    );
    let asked = Asked::decode(&mut &question[..]).unwrap();
    assert_eq!(asked, ([1; 32], [7; 32], 12, None, None, call.input));
    assert_eq!(asked.encode(), question);

    type Instance = (
        Account,
        u128,
        Option<GasWeight>,
        Option<u128>,
        PalletCode<H256>,
        Vec<u8>,
        Vec<u8>,
    );
    for (code, expected) in [
        (Code::Upload(&[1, 2]), PalletCode::Upload(vec![1, 2])),
        (
            Code::Existing(H256([4; 32])),
            PalletCode::Existing(H256([4; 32])),
        ),
    ] {
        let question = dry_run::instance_question(&[1; 32], code, &[3], &[5, 6]);
        let asked = Instance::decode(&mut &question[..]).unwrap();
        assert_eq!(asked.4, expected);
        assert_eq!((asked.5.clone(), asked.6.clone()), (vec![3], vec![5, 6]));
        assert_eq!(asked.encode(), question);
    }
}

/// Executes a call as the transaction of a block; what is stored of the block's events, and the
/// events themselves.
fn execute(
    chain: &Embedded,
    runtime: &Runtime,
    call: RuntimeCall,
) -> (Option<Vec<u8>>, Vec<RuntimeEvent>) {
    let key = runtime.key(runtime::EVENTS).unwrap();
    let origin = RuntimeOrigin::signed(AccountId32::new(alice().account()));
    let run = || {
        System::note_finished_initialize();
        let info: DispatchInfo = call.get_dispatch_info();
        let result = call.dispatch(origin);
        System::note_applied_extrinsic(&result, info);
        let events = System::events().into_iter().map(|record| record.event);
        (unhashed::get_raw(&key), events.collect())
    };
    chain.intervene(run).unwrap()
}

const AT: Now = Now { block: 3, time: 4 };

#[test]
fn the_effects_of_a_transaction_are_read_from_its_events() {
    let (chain, stake) = with_stake();
    let runtime = sandbox();
    let call = deposit_call(stake, 5_000);
    let expected = chain.estimate(&alice().account(), &call).unwrap();
    let (stored, records) = execute(&chain, &runtime, pallet_call(&call, &limits()));

    let me = alice().account();
    let effects = Effects::read(&runtime, stored.clone(), 0, AT, &me).unwrap();
    assert_eq!(effects.failure, None);
    assert_eq!(effects.deposit, expected.deposit as i128);
    assert!(effects.weight.ref_time >= expected.weight.ref_time);
    assert_eq!(effects.instance, None);

    let emitted: Vec<Vec<u8>> = records
        .into_iter()
        .filter_map(|event| match event {
            RuntimeEvent::Contracts(ContractsEvent::ContractEmitted { data, .. }) => Some(data),
            _ => None,
        })
        .collect();
    assert_eq!(emitted.len(), 1);
    assert_eq!(effects.events.len(), 1);
    assert_eq!(effects.events[0].data, emitted[0]);
    assert_eq!(
        (effects.events[0].contract, effects.events[0].at),
        (stake, AT)
    );
    assert!(!effects.events[0].topics.is_empty());

    let own = effects::of_contract(&runtime, stored.clone(), AT, &stake);
    assert_eq!(own.unwrap(), effects.events);
    let other = effects::of_contract(&runtime, stored.clone(), AT, &[1; 32]);
    assert!(other.unwrap().is_empty());
    // Another transaction of the block, and another signer.
    assert!(Effects::read(&runtime, stored.clone(), 1, AT, &me).is_err());
    let other = Effects::read(&runtime, stored, 0, AT, &[1; 32]).unwrap();
    assert_eq!(other.deposit, 0);
}

#[test]
fn an_instance_is_found_with_what_it_costs() {
    let (chain, _) = with_stake();
    let runtime = sandbox();
    let bundle = Bundles::shipped().unwrap().escrow;
    let arguments = ([1u8; 32], lockstep_interface::Bounds::default()).encode();
    let input = [&selector("new")[..], &arguments].concat();
    let me = alice().account();
    let before = chain.funds(&me).unwrap();
    let call = RuntimeCall::Contracts(ContractsCall::instantiate_with_code {
        value: 0,
        gas_limit: gas(&limits()),
        storage_deposit_limit: None,
        code: bundle.wasm,
        data: input.clone(),
        salt: vec![1],
    });
    let (stored, _) = execute(&chain, &runtime, call);
    let effects = Effects::read(&runtime, stored, 0, AT, &me).unwrap();
    let expected = instance_address(&me, &bundle.code_hash, &input, &[1]);
    assert_eq!(effects.failure, None);
    assert_eq!(effects.instance, Some(expected));
    let after = chain.funds(&me).unwrap();
    // What the instance itself holds to exist is no storage deposit.
    let least = runtime.existential_deposit().unwrap();
    let paid = (before.free - after.free) as i128;
    assert!(
        effects.deposit == paid || effects.deposit + least as i128 == paid,
        "{} of {paid}",
        effects.deposit
    );
}

#[test]
fn a_failed_transaction_says_why() {
    let (chain, stake) = with_stake();
    let runtime = sandbox();
    let read = |call: Call, limits: Limits| {
        let (stored, _) = execute(&chain, &runtime, pallet_call(&call, &limits));
        let effects = Effects::read(&runtime, stored, 0, AT, &alice().account());
        effects.unwrap().failure.unwrap()
    };
    assert!(read(deposit_call(stake, 0), limits()).is_revert());
    let tight = Limits {
        deposit: 1,
        ..limits()
    };
    let why = read(deposit_call(stake, 5_000), tight);
    assert_eq!(why.name, "Contracts::StorageDepositLimitExhausted");
    let weak = Limits {
        weight: Weight {
            ref_time: 1,
            proof_size: 1,
        },
        ..limits()
    };
    assert_eq!(
        read(deposit_call(stake, 5_000), weak).name,
        "Contracts::OutOfGas"
    );
}

#[test]
fn errors_of_the_runtime_have_readable_names() {
    let runtime = sandbox();
    let read = |error: DispatchError| {
        Reason::decode(&mut &error.encode()[..], runtime.metadata()).unwrap()
    };
    let contracts: DispatchError = ContractsError::<SandboxRuntime>::CodeTooLarge.into();
    assert!(matches!(contracts, DispatchError::Module(_)));
    assert_eq!(read(contracts).name, "Contracts::CodeTooLarge");
    for (error, name) in [
        (DispatchError::BadOrigin, "BadOrigin"),
        (DispatchError::Other("forgotten"), "Other"),
        (
            DispatchError::Token(TokenError::FundsUnavailable),
            "Token::FundsUnavailable",
        ),
        (
            DispatchError::Arithmetic(ArithmeticError::Overflow),
            "Arithmetic::Overflow",
        ),
    ] {
        assert_eq!(read(error).name, name);
    }
    let unknown = DispatchError::Module(ModuleError {
        index: 250,
        error: [3, 0, 0, 0],
        message: None,
    });
    assert!(read(unknown).name.starts_with("Module"));
}

#[test]
fn a_chain_that_differs_is_named_and_not_guessed_at() {
    let runtime = sandbox();
    let error = Runtime::new(H256::zero(), (1, 1), b"nothing")
        .err()
        .unwrap();
    assert!(matches!(error, Error::Incompatible(_)));
    let garbage = runtime.account(Some(&[1, 2, 3]));
    assert!(matches!(garbage, Err(Error::Incompatible(_))));
    let garbage = dry_run::answer(&[1, 2, 3], &runtime);
    assert!(matches!(garbage, Err(Error::Incompatible(_))));
}

//! The contracts through ink!'s own end-to-end client: typed messages, dry runs and events, without
//! anything of the worker.

use ink::env::DefaultEnvironment;
use ink_e2e::subxt::utils::AccountId32;
use ink_e2e::{ChainBackend, Client, ContractsBackend, Keypair, PolkadotConfig, RpcClient};
use lockstep_agent::chain::bundle::Bundles;
use lockstep_dispute::{Dispute, DisputeRef};
use lockstep_escrow::{Escrow, EscrowRef};
use lockstep_interface::escrow::{self, TaskStatus};
use lockstep_interface::{dispute, stake, Account, Bounds, Task};
use lockstep_protocol::rehearsal::sample::{run, SHAPES};
use lockstep_protocol::tree;
use lockstep_stake::{Stake, StakeRef};
use lockstep_tests::life::TERMS;
use lockstep_tests::live::Node;
use lockstep_tests::world::BOUNDS;

type Chain = Client<PolkadotConfig, DefaultEnvironment>;

/// The three contracts, and whoever calls them.
struct Scene {
    chain: Chain,
    stake: Account,
    escrow: Account,
    dispute: Account,
}

macro_rules! tell {
    ($how:ident, $scene:expr, $contract:ty, $at:ident, $by:expr, $value:expr, $message:ident($($argument:expr),*)) => {{
        let contract = $scene.$at.into();
        let message = ink_e2e::create_call_builder::<$contract>(contract).$message($($argument),*);
        let told = $scene.chain.call($by, &message).value($value).$how().await;
        told.expect("the chain takes the message").return_value()
    }};
}

/// Sends a message and replies with what it returns.
macro_rules! send {
    ($($message:tt)*) => { tell!(submit, $($message)*) };
}

/// What a message would reply.
macro_rules! ask {
    ($($message:tt)*) => { tell!(dry_run, $($message)*) };
}

/// Uploads a contract, makes an instance and replies with its account.
macro_rules! make {
    ($scene:expr, $name:literal, $constructor:expr) => {{
        let alice = ink_e2e::alice();
        let mut constructor = $constructor;
        let made = $scene
            .chain
            .instantiate($name, &alice, &mut constructor)
            .submit()
            .await;
        let made = made.expect("it is made");
        *AsRef::<Account>::as_ref(&made.account_id)
    }};
}

impl Scene {
    async fn new(node: &Node) -> Scene {
        let bundles = Bundles::shipped().expect("they are committed");
        let dir = tempfile::tempdir().expect("a folder can be made");
        let code = [
            ("lockstep_stake", bundles.stake.wasm),
            ("lockstep_escrow", bundles.escrow.wasm),
            ("lockstep_dispute", bundles.dispute.wasm),
        ];
        let files = code.map(|(name, wasm)| {
            let file = dir.path().join(name).with_extension("wasm");
            std::fs::write(&file, wasm).expect("it can be written");
            file
        });
        let rpc = RpcClient::from_url(node.url())
            .await
            .expect("the node listens");
        let chain = Chain::new(rpc, files)
            .await
            .expect("the chain has contracts");
        let mut scene = Scene {
            chain,
            stake: [0; 32],
            escrow: [0; 32],
            dispute: [0; 32],
        };
        let alice = ink_e2e::alice();
        let bounds = Bounds { ..BOUNDS };
        scene.stake = make!(scene, "lockstep_stake", StakeRef::new(5_000));
        scene.escrow = make!(
            scene,
            "lockstep_escrow",
            EscrowRef::new(scene.stake, bounds)
        );
        scene.dispute = make!(scene, "lockstep_dispute", DisputeRef::new(scene.escrow));
        let (at_escrow, at_dispute) = (scene.escrow, scene.dispute);
        let appointed = send!(scene, Stake, stake, &alice, 0, appoint(at_escrow));
        assert_eq!(appointed, Ok(()));
        let appointed = send!(scene, Escrow, escrow, &alice, 0, appoint(at_dispute));
        assert_eq!(appointed, Ok(()));
        scene
    }

    async fn free(&mut self, who: &Keypair) -> u128 {
        let account = AccountId32(who.public_key().0);
        let free = self.chain.free_balance(account.0.into()).await;
        free.expect("the node answers")
    }
}

#[test]
#[ignore = "needs a live node: scripts/test-live"]
fn a_task_lives_from_its_offer_to_its_payment() {
    let node = Node::start(&["--block-time", "500ms"]);
    let runtime = ink_e2e::tokio::runtime::Runtime::new().expect("threads can be had");
    runtime.block_on(life(&node));
}

async fn life(node: &Node) {
    let mut scene = Scene::new(node).await;
    let (submitter, solver, stranger) = (ink_e2e::bob(), ink_e2e::charlie(), ink_e2e::dave());
    let truth = run(SHAPES[0], None);
    let mut terms = TERMS;
    terms.audit = 10_000;
    terms.window = 10_000;
    let task = Task {
        spec: truth.spec.clone(),
        terms,
    };
    let ceiling = terms.reward_ceiling;

    let short = ask!(
        scene,
        Escrow,
        escrow,
        &submitter,
        ceiling - 1,
        submit(task.clone(), vec![])
    );
    assert_eq!(short, Err(escrow::Error::Value));
    let sent = send!(
        scene,
        Escrow,
        escrow,
        &submitter,
        ceiling,
        submit(task.clone(), vec![])
    );
    assert_eq!(sent, Ok(0));

    let early = ask!(scene, Escrow, escrow, &solver, 0, accept(0, task.hash(), 0));
    assert_eq!(early, Err(escrow::Error::Stake(stake::Error::NoStake)));
    let deposited = send!(scene, Stake, stake, &solver, terms.stake, deposit());
    assert_eq!(deposited, Ok(()));
    let forged = ask!(
        scene,
        Stake,
        stake,
        &stranger,
        0,
        lock(solver.public_key().0, 1)
    );
    assert_eq!(forged, Err(stake::Error::NotEscrow));
    let accepted = send!(scene, Escrow, escrow, &solver, 0, accept(0, task.hash(), 0));
    assert_eq!(accepted, Ok(1));

    let trace = truth.bytes(lockstep_protocol::player::FileId::Checkpoints);
    let last = tree::prove_open(&trace, trace.len() as u64 - 32);
    let claim = truth.commitment();
    let usurped = ask!(
        scene,
        Escrow,
        escrow,
        &stranger,
        0,
        commit(0, task.hash(), 1, claim, last.clone(), None, vec![])
    );
    assert_eq!(usurped, Err(escrow::Error::NotSolver));
    let committed = send!(
        scene,
        Escrow,
        escrow,
        &solver,
        0,
        commit(0, task.hash(), 1, claim, last, None, vec![])
    );
    assert_eq!(committed, Ok(()));

    let cheap = ask!(
        scene,
        Dispute,
        dispute,
        &stranger,
        1,
        open(0, 1, task.clone(), claim.trace)
    );
    assert_eq!(cheap, Err(dispute::Error::Value));
    let early = ask!(scene, Escrow, escrow, &stranger, 0, finalize(0, 1));
    assert_eq!(early, Err(escrow::Error::TooEarly));
    ink_e2e::tokio::time::sleep(std::time::Duration::from_millis(12_000)).await;
    let settled = send!(scene, Escrow, escrow, &stranger, 0, finalize(0, 1));
    assert_eq!(settled, Ok(()));

    let record = ask!(scene, Escrow, escrow, &stranger, 0, task(0)).expect("it is there");
    assert_eq!(record.status, TaskStatus::Settled);
    let before = scene.free(&solver).await;
    let price = send!(scene, Escrow, escrow, &solver, 0, withdraw_reward(0, 1)).expect("it pays");
    let refund = send!(scene, Escrow, escrow, &submitter, 0, withdraw_refund(0)).expect("it pays");
    assert_eq!(price + refund, ceiling);
    let gained = scene.free(&solver).await as i128 - before as i128;
    assert!(
        gained < price as i128,
        "a transaction has its fee: {gained}"
    );
    let again = ask!(scene, Escrow, escrow, &solver, 0, withdraw_reward(0, 1));
    assert_eq!(again, Err(escrow::Error::NothingOwed));
}

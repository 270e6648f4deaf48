//! The contracts as any other tool of the ecosystem sees them: loaded from the committed bundles,
//! called by name with arguments in text, and read through the metadata alone.

use drink::minimal::MinimalSandbox;
use drink::sandbox_api::timestamp_api::TimestampAPI;
use drink::session::error::SessionError;
use drink::session::{ContractBundle, Session, NO_ARGS, NO_ENDOWMENT};
use drink::AccountId32;
use lockstep_interface::escrow::{self, TaskRecord, TaskStatus};
use lockstep_interface::goal::{Goal, Side};
use lockstep_interface::stake::{self, Staker};
use lockstep_interface::{Task, Terms};
use lockstep_protocol::rehearsal::sample::{run, SHAPES};
use lockstep_tests::life::TERMS;
use scale::Decode;
use std::path::Path;

const UNBONDING: u64 = 5_000;
const BOUNDS: &str = "Bounds { min_reward: 1, min_stake: 1, min_bond: 1, min_demand_fee: 1, \
    min_open: 1, min_work: 1, min_window: 1, min_replay: 1, min_clock: 1, min_increment: 1, \
    min_blocks: 1, max_time: 31536000000, max_blocks: 100000 }";

fn bundle(name: &str) -> ContractBundle {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../contracts/artifacts")
        .join(name)
        .with_extension("contract");
    ContractBundle::load(file).expect("the bundle is committed and whole")
}

/// Three contracts that were deployed and wired by their metadata.
struct Scene {
    session: Session<MinimalSandbox>,
    stake: AccountId32,
    escrow: AccountId32,
}

impl Scene {
    fn new() -> Scene {
        let mut session = Session::<MinimalSandbox>::default();
        session.sandbox().set_timestamp(1_000);
        let mut deploy = |name, args: &[String]| {
            session
                .deploy_bundle(bundle(name), "new", args, vec![], None)
                .unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        let stake = deploy("stake", &[UNBONDING.to_string()]);
        let escrow = deploy("escrow", &[stake.to_string_hex(), BOUNDS.into()]);
        let dispute = deploy("dispute", &[escrow.to_string_hex()]);
        let mut scene = Scene {
            session,
            stake: stake.clone(),
            escrow: escrow.clone(),
        };
        let appointed: Result<(), stake::Error> =
            scene.call(&stake, "appoint", &[escrow.to_string_hex()], None);
        assert_eq!(appointed, Ok(()));
        let appointed: Result<(), escrow::Error> =
            scene.call(&escrow, "appoint", &[dispute.to_string_hex()], None);
        assert_eq!(appointed, Ok(()));
        scene
    }

    /// Calls a message by its name; a refusal is an answer too.
    fn call<V: Decode>(
        &mut self,
        contract: &AccountId32,
        message: &str,
        args: &[String],
        value: Option<u128>,
    ) -> V {
        let called = self
            .session
            .call_with_address(contract.clone(), message, args, value);
        match called {
            Ok(reply) => reply.expect("the message exists"),
            Err(error @ SessionError::CallReverted(_)) => error
                .decode_revert::<V>()
                .expect("it was reverted")
                .expect("the message exists"),
            Err(error) => panic!("{message}: {error}"),
        }
    }

    /// The last call's events of a contract, as its metadata tells them.
    fn told(&self, contract: &str) -> String {
        let batch = self.session.record().last_event_batch();
        batch
            .contract_events_decoded(&bundle(contract).transcoder)
            .iter()
            .map(ToString::to_string)
            .collect()
    }
}

trait Hex {
    fn to_string_hex(&self) -> String;
}

impl Hex for AccountId32 {
    fn to_string_hex(&self) -> String {
        hex(self.as_ref())
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}

/// A task as a person would type it.
fn text(task: &Task) -> String {
    let spec = &task.spec;
    let datasets: Vec<String> = spec
        .datasets
        .iter()
        .map(|dataset| {
            format!(
                "Dataset {{ root: {}, records: {}, record_size: {} }}",
                hex(&dataset.root),
                dataset.records,
                dataset.record_size
            )
        })
        .collect();
    let Terms {
        reward_floor,
        reward_ceiling,
        stake,
        bond,
        demand_fee,
        ramp,
        open,
        work,
        audit,
        window,
        replay,
        clock,
        increment,
        min_blocks,
        goal,
    } = task.terms;
    let goal = goal.map_or("None".to_string(), |goal| {
        format!(
            "Some(Goal {{ slot: {}, side: {:?}, threshold: {}, otherwise: {} }})",
            goal.slot, goal.side, goal.threshold, goal.otherwise
        )
    });
    format!(
        "Task {{ spec: TaskSpec {{ program: {}, nodes: {}, slots: {}, genesis: {}, \
         datasets: [{}], batch: {}, steps: {}, segment: {}, seed: {} }}, \
         terms: Terms {{ reward_floor: {reward_floor}, reward_ceiling: {reward_ceiling}, \
         stake: {stake}, bond: {bond}, demand_fee: {demand_fee}, ramp: {ramp}, open: {open}, \
         work: {work}, audit: {audit}, window: {window}, replay: {replay}, clock: {clock}, \
         increment: {increment}, min_blocks: {min_blocks}, goal: {goal} }} }}",
        hex(&spec.program),
        spec.nodes,
        spec.slots,
        hex(&spec.genesis),
        datasets.join(", "),
        spec.batch,
        spec.steps,
        spec.segment,
        spec.seed,
    )
}

#[test]
fn a_task_is_submitted_and_accepted_through_the_metadata_alone() {
    let mut scene = Scene::new();
    let (stake, escrow) = (scene.stake.clone(), scene.escrow.clone());
    let me = scene.session.get_actor();

    let deposited: Result<(), stake::Error> =
        scene.call(&stake, "deposit", NO_ARGS, Some(TERMS.stake));
    assert_eq!(deposited, Ok(()));
    assert!(scene.told("stake").contains("Deposited"));
    let staker: Option<Staker> = scene.call(&stake, "staker", &[me.to_string_hex()], None);
    assert_eq!(staker.expect("it has a record").free, TERMS.stake);

    let task = Task {
        spec: run(SHAPES[0], None).spec.clone(),
        terms: Terms {
            goal: Some(Goal {
                slot: 0,
                side: Side::AtLeast,
                threshold: 0.5f32.to_bits(),
                otherwise: 999,
            }),
            ..TERMS
        },
    };
    let arguments = [text(&task), hex(b"a place")];
    let short: Result<u64, escrow::Error> = scene.call(&escrow, "submit", &arguments, None);
    assert_eq!(short, Err(escrow::Error::Value));
    let submitted: Result<u64, escrow::Error> =
        scene.call(&escrow, "submit", &arguments, Some(TERMS.reward_ceiling));
    assert_eq!(submitted, Ok(0));
    let told = scene.told("escrow");
    assert!(
        told.contains("Submitted") && told.contains("reward_ceiling: 2011"),
        "{told}"
    );

    let record: Option<TaskRecord> = scene.call(&escrow, "task", &["0".into()], None);
    let record = record.expect("it was submitted");
    assert_eq!(record.status, TaskStatus::Open);
    assert_eq!(record.terms_hash, task.hash(), "the text is the same task");

    let accept = ["0".into(), hex(&task.hash()), "0".into()];
    let accepted: Result<u32, escrow::Error> = scene.call(&escrow, "accept", &accept, NO_ENDOWMENT);
    assert_eq!(accepted, Ok(1));
    assert!(scene.told("escrow").contains("Accepted"));
    let staker: Option<Staker> = scene.call(&stake, "staker", &[me.to_string_hex()], None);
    let staker = staker.expect("it has a record");
    assert_eq!((staker.free, staker.locked), (0, TERMS.stake));
}

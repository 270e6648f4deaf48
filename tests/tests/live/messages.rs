//! What every message costs on a node: weight, storage deposit, fee and bytes, in a table.

use lockstep_agent::chain::bundle::Bundles;
use lockstep_agent::chain::contracts::Contracts;
use lockstep_agent::chain::node::{self, Options};
use lockstep_agent::chain::{Chain, Receipt, UNIT};
use lockstep_agent::keys::Signer;
use lockstep_agent::pace::Pace;
use lockstep_interface::escrow::{self, TaskRecord};
use lockstep_interface::{dispute, stake, Attempt, Bounds, DisputeId, Message, TaskId, Terms};
use lockstep_protocol::game::{Move, Side};
use lockstep_protocol::rehearsal::sample::{run, SHAPES};
use lockstep_protocol::rehearsal::{honest_challenger, honest_defender, Fault, Run};
use lockstep_tests::games::name;
use lockstep_tests::life::{answer, commit, demand, open};
use lockstep_tests::live::Node;
use lockstep_tests::world::BOUNDS;
use lockstep_tests::Job;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

fn terms() -> Terms {
    Terms {
        audit: 10_000,
        window: 10_000,
        ..Pace::seconds().terms
    }
}

/// Everybody, the contracts, and the highest figures of every message so far.
struct Scene {
    contracts: Contracts,
    limit: f64,
    lines: BTreeMap<String, Line>,
}

#[derive(Clone, Copy, Default)]
struct Line {
    ref_time: u64,
    proof_size: u64,
    charged: i128,
    refunded: i128,
    fee: u128,
    bytes: usize,
}

impl Scene {
    fn note(&mut self, message: &str, receipt: &Receipt) {
        let line = self.lines.entry(message.to_owned()).or_default();
        line.ref_time = line.ref_time.max(receipt.weight.ref_time);
        line.proof_size = line.proof_size.max(receipt.weight.proof_size);
        line.charged = line.charged.max(receipt.deposit);
        line.refunded = line.refunded.min(receipt.deposit);
        line.fee = line.fee.max(receipt.fee);
        line.bytes = line.bytes.max(receipt.bytes);
    }

    fn stake<M, T, E>(&mut self, by: &Signer, value: u128, message: &M) -> T
    where
        M: Message<Reply = Result<T, E>>,
        E: Display,
    {
        let sent = self.contracts.stake(by, value, message);
        let (reply, receipt) = sent.unwrap_or_else(|error| panic!("{}: {error}", M::NAME));
        self.note(&format!("stake {}", M::NAME), &receipt);
        reply
    }

    fn escrow<M, T, E>(&mut self, by: &Signer, value: u128, message: &M) -> T
    where
        M: Message<Reply = Result<T, E>>,
        E: Display,
    {
        let sent = self.contracts.escrow(by, value, message);
        let (reply, receipt) = sent.unwrap_or_else(|error| panic!("{}: {error}", M::NAME));
        self.note(&format!("escrow {}", M::NAME), &receipt);
        reply
    }

    fn dispute<M, T, E>(&mut self, by: &Signer, value: u128, message: &M) -> T
    where
        M: Message<Reply = Result<T, E>>,
        E: Display,
    {
        let sent = self.contracts.dispute(by, value, message);
        let (reply, receipt) = sent.unwrap_or_else(|error| panic!("{}: {error}", M::NAME));
        self.note(&format!("dispute {}", M::NAME), &receipt);
        reply
    }

    /// A task that `solver` has accepted.
    fn assigned(&mut self, solver: &Signer, claim: &Run, terms: Terms) -> (Job, Attempt) {
        let task = lockstep_interface::Task {
            spec: claim.spec.clone(),
            terms,
        };
        let message = escrow::Submit {
            task: task.clone(),
            artifacts: vec![b'x'; 64],
        };
        let id = self.escrow(&bob(), terms.reward_ceiling, &message);
        let job = Job { id, task };
        self.stake(solver, terms.stake, &stake::Deposit {});
        let accept = escrow::Accept {
            task: id,
            terms_hash: job.hash(),
            min_price: 0,
        };
        let attempt = self.escrow(solver, 0, &accept);
        (job, attempt)
    }

    fn committed(&mut self, solver: &Signer, claim: &Run) -> (Job, Attempt) {
        let (job, attempt) = self.assigned(solver, claim, terms());
        self.escrow(solver, 0, &commit(&job, attempt, claim));
        (job, attempt)
    }

    /// Plays a dispute to its last move.
    fn play(&mut self, id: DisputeId, liar: &Run, truth: &Run) {
        let mut defend = honest_defender(liar);
        let mut challenge = honest_challenger(truth, None);
        let mut revealed = Vec::new();
        loop {
            let record = self.contracts.dispute_record(id).expect("the node answers");
            let game = record.expect("it is open").game;
            let (by, mv) = match game.turn() {
                Some(Side::Defender) => (dave(), defend(&game)),
                Some(Side::Challenger) => (eve(), challenge(&game, &revealed)),
                None => return,
            };
            let mv = mv.expect("both sides know their moves");
            if let Move::Reveal(bytes) = &mv {
                revealed = bytes.clone();
            }
            let message = dispute::Play {
                dispute: id,
                position: game.hash(),
                mv,
            };
            let ((), receipt) = self
                .contracts
                .dispute(&by, 0, &message)
                .expect("the move is right");
            self.note(&format!("dispute play {}", name(&message.mv)), &receipt);
        }
    }

    fn pass(&self, milliseconds: u64) {
        let now = || self.contracts.now().expect("the node answers").time;
        let end = now() + milliseconds;
        while now() <= end {
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn task(&self, task: TaskId) -> TaskRecord {
        let record = self.contracts.task(task).expect("the node answers");
        record.expect("the task is there")
    }

    fn print(&self) {
        println!(
            "| message | ref_time, G | of limit | proof, KiB | deposit charged | refunded | fee | bytes |"
        );
        println!("|---|--:|--:|--:|--:|--:|--:|--:|");
        let tokens = |amount: u128| format!("{:.6}", amount as f64 / UNIT as f64);
        for (message, line) in &self.lines {
            println!(
                "| {message} | {:.2} | {:.2}% | {:.1} | {} | {} | {} | {} |",
                line.ref_time as f64 / 1e9,
                line.ref_time as f64 / self.limit * 100.0,
                line.proof_size as f64 / 1024.0,
                tokens(line.charged.max(0).unsigned_abs()),
                tokens(line.refunded.min(0).unsigned_abs()),
                tokens(line.fee),
                line.bytes
            );
        }
    }
}

fn bob() -> Signer {
    Signer::dev("Bob")
}

fn charlie() -> Signer {
    Signer::dev("Charlie")
}

fn dave() -> Signer {
    Signer::dev("Dave")
}

fn eve() -> Signer {
    Signer::dev("Eve")
}

#[test]
#[ignore = "needs a live node: scripts/test-live"]
fn every_message_is_sent_and_measured() {
    let node = Node::start(&["--block-time", "300ms"]);
    let chain = node::Node::connect(&[node.url()], Options::default()).expect("it listens");
    let limit = chain.extrinsic_limit().expect("the node answers").ref_time;
    let bundles = Bundles::shipped().expect("they are committed");
    let alice = Signer::dev("Alice");
    let mut deployed = Vec::new();
    let bounds = Bounds { ..BOUNDS };
    let contracts = Contracts::deploy(
        Arc::new(chain),
        &alice,
        &bundles,
        1_000,
        &bounds,
        b"",
        &mut |step| deployed.push((step.what, step.receipt.expect("nothing was there"))),
    );
    let mut scene = Scene {
        contracts: contracts.expect("the contracts are deployed"),
        limit: limit as f64,
        lines: BTreeMap::new(),
    };
    for (what, receipt) in deployed {
        scene.note(&format!("deploy {what}"), &receipt);
    }

    // Stake goes in and out.
    let everything = stake::RequestUnbond { amount: UNIT };
    scene.stake(&charlie(), UNIT, &stake::Deposit {});
    scene.stake(&charlie(), 0, &everything);
    scene.stake(&charlie(), 0, &stake::CancelUnbond {});
    scene.stake(&charlie(), 0, &everything);
    scene.pass(1_500);
    scene.stake(&charlie(), 0, &stake::Withdraw {});

    // The owner hands over.
    scene.escrow(&alice, 0, &escrow::Pause { paused: true });
    scene.escrow(&alice, 0, &escrow::Pause { paused: false });
    let heir = Some(bob().account());
    scene.escrow(&alice, 0, &escrow::OfferOwnership { heir });
    scene.escrow(&bob(), 0, &escrow::TakeOwnership {});

    // A right result, with a demand that is answered.
    let truth = &run(SHAPES[0], None);
    let (job, attempt) = scene.committed(&charlie(), truth);
    let place = (0, 0, 0);
    let ask = demand(&job, attempt, truth, place);
    let id = scene.dispute(&eve(), terms().demand_fee, &ask);
    let reply = dispute::GiveAnswer {
        demand: id,
        answer: answer(truth, 0, 0, 0),
    };
    scene.dispute(&charlie(), 0, &reply);
    scene.dispute(&charlie(), 0, &dispute::WithdrawFee { demand: id });
    scene.dispute(&eve(), 0, &dispute::PruneDemand { demand: id });
    let end = scene
        .contracts
        .attempt(job.id, attempt)
        .expect("the node answers");
    let end = end.expect("it is there").window_end;
    let now = scene.contracts.now().expect("the node answers").time;
    scene.pass(end.saturating_sub(now) + 1_000);
    let (task, by) = (job.id, bob());
    scene.escrow(&charlie(), 0, &escrow::Finalize { task, attempt });
    scene.escrow(&charlie(), 0, &escrow::WithdrawReward { task, attempt });
    scene.escrow(&by, 0, &escrow::WithdrawRefund { task });
    scene.escrow(&charlie(), 0, &escrow::PruneAttempt { task, attempt });
    scene.escrow(&by, 0, &escrow::PruneTask { task });

    // Wrong results, disputed down to the end, of every kind of last move.
    let faults = [
        Fault::Accumulator {
            step: 17,
            node: 7,
            element: 0,
            r: 17,
        },
        Fault::Element {
            step: 3,
            node: 2,
            element: 77,
        },
        Fault::State { step: 20, slot: 0 },
    ];
    for fault in faults {
        let liar = &run(SHAPES[0], Some(fault));
        let (job, attempt) = scene.committed(&dave(), liar);
        let id = scene.dispute(&eve(), terms().bond, &open(&job, attempt, liar));
        scene.play(id, liar, truth);
        scene.dispute(&eve(), 0, &dispute::Settle { dispute: id });
        scene.dispute(&eve(), 0, &dispute::Withdraw { dispute: id });
        scene.dispute(&eve(), 0, &dispute::ClaimShare { dispute: id });
        scene.dispute(&eve(), 0, &dispute::Prune { dispute: id });
        let task = job.id;
        scene.escrow(&dave(), 0, &escrow::PruneAttempt { task, attempt });
        scene.escrow(&by, 0, &escrow::Cancel { task });
        scene.escrow(&by, 0, &escrow::WithdrawRefund { task });
        scene.escrow(&by, 0, &escrow::PruneTask { task });
    }
    scene.escrow(&alice, 0, &escrow::FlushBurn {});

    // A challenger that loses, a demand that nobody answers, an attempt that is late.
    let quick = Terms {
        work: 10_000,
        clock: 10_000,
        replay: 1_000,
        bond: 60 * UNIT,
        ..terms()
    };
    let (job, attempt) = scene.assigned(&charlie(), truth, quick);
    scene.escrow(&charlie(), 0, &commit(&job, attempt, truth));
    let lost = scene.dispute(&eve(), quick.bond, &open(&job, attempt, truth));
    let record = scene
        .contracts
        .dispute_record(lost)
        .expect("the node answers");
    let game = record.expect("it is open").game;
    let message = dispute::Play {
        dispute: lost,
        position: game.hash(),
        mv: honest_defender(truth)(&game).expect("the defender begins"),
    };
    scene.dispute(&charlie(), 0, &message);
    let asked = scene.dispute(
        &eve(),
        quick.demand_fee,
        &demand(&job, attempt, truth, place),
    );
    let (late, number) = scene.assigned(&dave(), truth, quick);
    scene.pass(quick.clock + 2_000);
    scene.dispute(&charlie(), 0, &dispute::Settle { dispute: lost });
    scene.dispute(&charlie(), 0, &dispute::Withdraw { dispute: lost });
    scene.dispute(&alice, 0, &dispute::FlushBurn {});
    scene.dispute(&eve(), 0, &dispute::Prune { dispute: lost });
    scene.dispute(&alice, 0, &dispute::ExpireDemand { demand: asked });
    scene.dispute(&eve(), 0, &dispute::WithdrawFee { demand: asked });
    scene.dispute(&eve(), 0, &dispute::ClaimDemandShare { demand: asked });
    let missed = escrow::Expire {
        task: late.id,
        attempt: number,
    };
    scene.escrow(&alice, 0, &missed);
    assert_eq!(scene.task(late.id).status, escrow::TaskStatus::Open);

    scene.print();
    for (message, line) in &scene.lines {
        let share = line.ref_time as f64 / scene.limit;
        let deployment = message.starts_with("deploy");
        assert!(
            deployment || share < 0.02,
            "{message} takes {:.2}%",
            share * 100.0
        );
    }
}

//! Attacks on every message about disputes.

use crate::{blatant, honest, wrong};
use lockstep_agent::chain::Error as ChainError;
use lockstep_agent::keys::Signer;
use lockstep_interface::dispute::{
    ClaimShare, Error, FlushBurn, ListDisputes, Open, Play, Prune, Settle, Share, Withdraw, PAGE,
};
use lockstep_interface::escrow::{self, Cancel};
use lockstep_interface::{DisputeId, Message, BURN_ACCOUNT};
use lockstep_protocol::eval::Blob;
use lockstep_protocol::game::{File, Game, Move, Phase, Refusal, Side};
use lockstep_protocol::player::{self, Evidence, FileId};
use lockstep_protocol::program::Node;
use lockstep_protocol::referee::{Operand, Unproven};
use lockstep_protocol::rehearsal::sample::{run, SHAPES};
use lockstep_protocol::rehearsal::{honest_challenger, honest_defender, Fault, Own, Run};
use lockstep_protocol::task::Dataset;
use lockstep_protocol::tree::{self, Span};
use lockstep_tests::life::{commit, open, TERMS};
use lockstep_tests::{Job, World};
use scale::Encode;
use std::convert::Infallible;
use std::sync::Arc;

/// A dispute of a right commitment.
struct Scene {
    world: World,
    job: Job,
    attempt: u32,
    solver: Signer,
    challenger: Signer,
    id: DisputeId,
}

fn scene(claim: &Run) -> Scene {
    let world = World::new();
    let (solver, challenger) = (world.person("solver"), world.person("challenger"));
    let (job, attempt) = world.committed(claim, TERMS);
    let id = world.open(&job, attempt, &challenger, claim);
    Scene {
        world,
        job,
        attempt,
        solver,
        challenger,
        id,
    }
}

impl Scene {
    /// The defender's right move at the present position.
    fn defence(&self, run: &Run) -> Play {
        let game = self.world.dispute(self.id).game;
        let mv = honest_defender(run)(&game).expect("it is the defender's turn");
        Play {
            dispute: self.id,
            position: game.hash(),
            mv,
        }
    }

    /// Reveals the checkpoints, after which it is the challenger's turn, and replies with its
    /// right move.
    fn reveal(&self, run: &Run) -> Play {
        let message = self.defence(run);
        self.world.tell(&self.solver, 0, &message).unwrap();
        let Move::Reveal(revealed) = message.mv else {
            panic!("the first move is a reveal")
        };
        let game = self.world.dispute(self.id).game;
        let mv = honest_challenger(honest(), None)(&game, &revealed).unwrap();
        Play {
            dispute: self.id,
            position: game.hash(),
            mv,
        }
    }
}

#[test]
fn a_dispute_names_the_task_the_attempt_and_the_commitment_and_posts_the_bond() {
    let world = World::new();
    let challenger = world.person("challenger");
    let (job, attempt) = world.committed(honest(), TERMS);
    let good = open(&job, attempt, honest());
    let bond = TERMS.bond;
    for value in [0, 1, bond - 1, bond + 1, TERMS.stake] {
        let refused = world.tell(&challenger, value, &good);
        assert_eq!(refused, Err(Error::Value), "{value}");
    }
    let refuse = |change: &dyn Fn(&mut Open), error| {
        let mut message = good.clone();
        change(&mut message);
        let refused = world.tell(&challenger, bond, &message);
        assert_eq!(refused, Err(Error::Escrow(error)));
    };
    refuse(&|m| m.task = 8, escrow::Error::NoTask);
    refuse(&|m| m.attempt = 0, escrow::Error::NoAttempt);
    refuse(&|m| m.attempt = 2, escrow::Error::NoAttempt);
    refuse(&|m| m.trace = [1; 32], escrow::Error::OtherCommitment);
    refuse(&|m| m.content.terms.bond = 0, escrow::Error::OtherTask);
    refuse(
        &|m| m.content.spec.genesis = [3; 32],
        escrow::Error::OtherTask,
    );
    refuse(&|m| m.content.spec.steps -= 1, escrow::Error::OtherTask);
    assert_eq!(world.attempt_record(&job, attempt).challenges, 0);
    assert!(world.contracts().disputes(0).unwrap().is_empty());
    world.check_books();
}

#[test]
fn a_commitment_is_open_to_challenge_from_the_commit_to_the_end_of_the_window() {
    let world = World::new();
    let (solver, challenger) = (world.person("solver"), world.person("challenger"));
    let job = world.submit(&honest().spec, TERMS);
    world.stake(&solver, TERMS.stake);
    let attempt = world.accept(&job, &solver);
    let message = open(&job, attempt, honest());
    let early = world.tell(&challenger, TERMS.bond, &message);
    assert_eq!(early, Err(Error::Escrow(escrow::Error::Status)));
    world
        .tell(&solver, 0, &commit(&job, attempt, honest()))
        .unwrap();
    let end = world.attempt_record(&job, attempt).window_end;
    world.wait_until(end);
    world.tell(&challenger, TERMS.bond, &message).unwrap();
    let late = world.tell(&challenger, TERMS.bond, &message);
    assert_eq!(late, Err(Error::Escrow(escrow::Error::TooLate)));
    let finalize = escrow::Finalize {
        task: job.id,
        attempt,
    };
    let refused = world.tell(&solver, 0, &finalize);
    assert_eq!(refused, Err(escrow::Error::Challenged));
    world.check_books();
}

#[test]
fn without_wiring_no_dispute_can_be_opened() {
    let world = World::unwired();
    let wired = World::new();
    let (job, attempt) = wired.committed(honest(), TERMS);
    let challenger = world.person("challenger");
    let message = open(&job, attempt, honest());
    let refused = world.tell(&challenger, TERMS.bond, &message);
    assert_eq!(refused, Err(Error::Escrow(escrow::Error::NotDispute)));
    world.check_empty();
}

#[test]
fn only_the_side_whose_turn_it_is_moves() {
    let scene = scene(blatant());
    let Scene { world, .. } = &scene;
    let first = scene.defence(blatant());
    let mallory = world.person("mallory");
    let not_your_turn = Err(Error::Move(Refusal::NotYourTurn));
    let refused = world.tell(&mallory, 0, &first);
    assert_eq!(refused, Err(Error::NotParty));
    let refused = world.tell(&scene.challenger, 0, &first);
    assert_eq!(refused, not_your_turn);
    let second = scene.reveal(blatant());
    assert_eq!(world.tell(&scene.solver, 0, &second), not_your_turn);
    let refused = world.tell(&mallory, 0, &second);
    assert_eq!(refused, Err(Error::NotParty));
    world.tell(&scene.challenger, 0, &second).unwrap();
    world.check_books();
}

#[test]
fn a_move_for_another_position_or_dispute_is_refused() {
    let scene = scene(blatant());
    let Scene { world, .. } = &scene;
    let first = scene.defence(blatant());
    let game = world.dispute(scene.id).game;
    let later = Game {
        position: game.position + 1,
        ..game.clone()
    };
    let other = Game {
        after: [9; 32],
        ..game.clone()
    };
    for position in [later.hash(), other.hash(), game.frame.program, [0; 32]] {
        let ahead = Play {
            position,
            ..first.clone()
        };
        let refused = world.tell(&scene.solver, 0, &ahead);
        assert_eq!(refused, Err(Error::Position));
    }
    let missing = Play {
        dispute: 9,
        ..first.clone()
    };
    let refused = world.tell(&scene.solver, 0, &missing);
    assert_eq!(refused, Err(Error::NoDispute));

    let second = scene.reveal(blatant());
    let replayed = world.tell(&scene.solver, 0, &first);
    assert_eq!(replayed, Err(Error::Move(Refusal::NotYourTurn)));
    world.tell(&scene.challenger, 0, &second).unwrap();
    let replayed = world.tell(&scene.solver, 0, &first);
    assert_eq!(replayed, Err(Error::Position), "stale");
    let replayed = world.tell(&scene.challenger, 0, &second);
    assert_eq!(replayed, Err(Error::Move(Refusal::NotYourTurn)));
    world.check_books();
}

#[test]
fn moves_of_a_wrong_length_or_kind_change_nothing() {
    let scene = scene(blatant());
    let Scene { world, id, .. } = &scene;
    let first = scene.defence(blatant());
    let Move::Reveal(bytes) = first.mv.clone() else {
        panic!("the first move is a reveal")
    };
    let longer = [&bytes[..], &[0]].concat();
    let reveals = [
        vec![],
        bytes[..bytes.len() - 1].to_vec(),
        bytes[..bytes.len() - 32].to_vec(),
        longer,
        [&bytes[..], &bytes].concat(),
        vec![0; bytes.len()],
        vec![7; 60_000],
    ];
    for wrong in reveals {
        let refused = world.make(*id, Move::Reveal(wrong));
        assert_eq!(refused, Err(Refusal::WrongBytes));
    }
    for wrong in [Move::DisputeNodes, Move::DisputeState] {
        assert_eq!(world.make(*id, wrong), Err(Refusal::WrongMove));
    }
    let second = scene.reveal(blatant());
    let Move::SelectSubtree {
        value, siblings, ..
    } = second.mv.clone()
    else {
        panic!("35 checkpoints have two chunks")
    };
    let select = |index, siblings: Vec<_>| Move::SelectSubtree {
        index,
        value,
        siblings,
    };
    for index in [2, 64, u32::MAX] {
        let refused = world.make(*id, select(index, siblings.clone()));
        assert_eq!(refused, Err(Refusal::NoSuchEntry), "{index}");
    }
    let refused = world.make(*id, select(1, siblings.clone()));
    assert_eq!(refused, Err(Refusal::WrongBytes));
    let refused = world.make(*id, select(0, vec![]));
    assert_eq!(refused, Err(Refusal::WrongBytes));
    let refused = world.make(*id, select(0, vec![siblings[0]; 1_000]));
    assert_eq!(refused, Err(Refusal::WrongBytes));
    world.tell(&scene.challenger, 0, &second).unwrap();
    world.check_books();
}

#[test]
fn entries_beyond_a_chunk_cannot_be_selected() {
    let scene = scene(blatant());
    let Scene { world, id, .. } = &scene;
    let second = scene.reveal(blatant());
    world.tell(&scene.challenger, 0, &second).unwrap();
    let chunk = world
        .make(*id, scene.defence(blatant()).mv)
        .unwrap()
        .unwrap();
    assert_eq!(chunk.len(), 1024);
    for index in [32, 33, u32::MAX] {
        let chunk = chunk.clone();
        let refused = world.make(*id, Move::SelectEntry { index, chunk });
        assert_eq!(refused, Err(Refusal::NoSuchEntry), "{index}");
    }
    let chunk = chunk[..1023].to_vec();
    let refused = world.make(*id, Move::SelectEntry { index: 31, chunk });
    assert_eq!(refused, Err(Refusal::WrongBytes));
    world.check_books();
}

#[test]
fn a_move_too_large_for_a_call_changes_nothing() {
    let scene = scene(blatant());
    let Scene { world, .. } = &scene;
    let before = world.dispute(scene.id);
    let mut message = scene.defence(blatant());
    message.mv = Move::Reveal(vec![1; 100_000]);
    let sent = world.call(&scene.solver, world.at().dispute, 0, message.call());
    assert!(matches!(sent, Err(ChainError::Failed(_))), "{sent:?}");
    let cut = &scene.defence(blatant()).call()[..40];
    let sent = world.call(&scene.solver, world.at().dispute, 0, cut.to_vec());
    assert!(sent.is_err());
    let paid = scene.defence(blatant()).call();
    let sent = world.call(&scene.solver, world.at().dispute, 3, paid);
    assert!(sent.is_err(), "a move takes no money");
    assert_eq!(world.dispute(scene.id), before);
    world.check_books();
}

/// A dispute that has come to the first position of this phase.
fn at(phase: Phase, claim: &Run) -> Scene {
    let scene = scene(claim);
    let mut revealed = vec![];
    let mut challenge = honest_challenger(honest(), None);
    loop {
        let game = scene.world.dispute(scene.id).game;
        let mv = match game.turn() {
            _ if game.phase == phase => return scene,
            Some(Side::Challenger) => challenge(&game, &revealed).unwrap(),
            _ => scene.defence(claim).mv,
        };
        if let Some(bytes) = scene.world.make(scene.id, mv).unwrap() {
            revealed = bytes;
        }
    }
}

/// At this phase of a dispute over `claim`, the honest defender's opening is not the claim's.
fn the_truth_does_not_open(phase: Phase, claim: &Run) {
    let scene = at(phase, claim);
    let game = scene.world.dispute(scene.id).game;
    let mv = player::defend(&game, &mut Own::new(honest()))
        .unwrap()
        .unwrap();
    let refused = scene.world.make(scene.id, mv);
    assert_eq!(refused, Err(Refusal::WrongLast));
    scene.world.check_books();
}

#[test]
fn a_true_trace_cannot_be_opened_under_a_wrong_checkpoint() {
    the_truth_does_not_open(Phase::OpenSteps, blatant());
}

#[test]
fn a_true_fold_trace_cannot_be_opened_under_a_wrong_element() {
    the_truth_does_not_open(Phase::OpenFold, wrong());
}

#[test]
fn operands_must_open_to_the_claimed_tensors_at_the_computed_places() {
    let scene = at(Phase::Prove, wrong());
    let Scene { world, id, .. } = &scene;
    let right = scene.defence(wrong()).mv;
    let Move::Prove {
        left,
        node,
        operands,
    } = right.clone()
    else {
        panic!("a fold's step is proven")
    };
    assert_eq!(left, None, "entry 16 is in the chunk of entry 17");
    let refuse = |change: &dyn Fn(&mut Vec<Option<Operand>>), slot| {
        let mut operands = operands.clone();
        change(&mut operands);
        let mv = Move::Prove {
            left: None,
            node: node.clone(),
            operands,
        };
        let refused = world.make(*id, mv);
        assert_eq!(refused, Err(Refusal::Operand(slot)));
    };
    refuse(&|o| o.clear(), Unproven::Absent(0));
    refuse(&|o| o[1] = None, Unproven::Absent(1));
    refuse(&|o| o.swap(0, 1), Unproven::Opening(0));
    refuse(
        &|o| o[0].as_mut().unwrap().element.chunk[0] ^= 1,
        Unproven::Opening(0),
    );
    refuse(
        &|o| o[1].as_mut().unwrap().tensor.chunk[7] ^= 1,
        Unproven::Opening(1),
    );
    refuse(
        &|o| o[1].as_mut().unwrap().element.path.clear(),
        Unproven::Opening(1),
    );
    let mv = |left, node, operands| Move::Prove {
        left,
        node,
        operands,
    };
    let spare = operands[0].clone().unwrap().element;
    let unasked = mv(Some(spare), node.clone(), operands.clone());
    assert_eq!(world.make(*id, unasked), Err(Refusal::WrongLeft));
    let other = mv(None, honest().program.nodes[8].encode(), operands.clone());
    assert_eq!(world.make(*id, other), Err(Refusal::WrongNode));
    let record = Move::ProveRecord {
        node,
        datasets: honest().spec.datasets.clone(),
        record: operands[0].clone().unwrap().element,
    };
    assert_eq!(world.make(*id, record), Err(Refusal::WrongMove));
    world.make(*id, right).unwrap();
    let record = world.dispute(*id);
    assert!(!record.settled, "a decided dispute pays nothing yet");
    let early = world.tell(&scene.solver, 0, &Withdraw { dispute: *id });
    assert_eq!(early, Err(Error::NothingOwed));
    let early = world.tell(&scene.challenger, 0, &Prune { dispute: *id });
    assert_eq!(early, Err(Error::NotOver));
    world.settle(*id);
    assert_eq!(
        world.dispute(*id).game.winner(),
        Some(Side::Challenger),
        "the right openings prove the liar wrong"
    );
    world.check_books();
}

#[test]
fn the_entry_before_is_opened_exactly_when_it_is_owed() {
    let claim = run(SHAPES[0], Some(Fault::Checkpoint { segment: 32 }));
    let scene = at(Phase::OpenSteps, &claim);
    let right = scene.defence(&claim).mv;
    let Move::OpenSteps { left, root, last } = right.clone() else {
        panic!("the position asks for the steps")
    };
    let left = left.expect("checkpoint 31 is in another chunk than 32");
    let (id, world) = (scene.id, &scene.world);
    let trace = claim.bytes(FileId::Checkpoints);
    let with = |left| Move::OpenSteps {
        left,
        root,
        last: last.clone(),
    };
    assert_eq!(world.make(id, with(None)), Err(Refusal::WrongLeft));
    let neighbour = tree::prove_open(&trace, 33 * 32);
    let refused = world.make(id, with(Some(neighbour)));
    assert_eq!(refused, Err(Refusal::WrongLeft));
    world.make(id, with(Some(left.clone()))).unwrap();

    let scene = at(Phase::OpenSteps, blatant());
    let Move::OpenSteps { root, last, .. } = scene.defence(blatant()).mv else {
        panic!("the position asks for the steps")
    };
    let unasked = Move::OpenSteps {
        left: Some(left),
        root,
        last,
    };
    let refused = scene.world.make(scene.id, unasked);
    assert_eq!(refused, Err(Refusal::WrongLeft));
}

/// A solver whose node trace has the hash of a right but too short tensor at node 10.
struct Truncated<'a>(Own<'a>);

impl Truncated<'_> {
    fn prefix(&self) -> Vec<u8> {
        let tensor = FileId::Tensor { step: 0, node: 10 };
        self.0.run.bytes(tensor)[..2048].to_vec()
    }
}

impl Evidence for Truncated<'_> {
    type Error = Infallible;

    fn file(&mut self, id: FileId) -> Result<Blob, Infallible> {
        let FileId::Nodes { .. } = id else {
            return self.0.file(id);
        };
        let mut nodes = self.0.run.bytes(id);
        nodes[320..352].copy_from_slice(&tree::hash(&self.prefix()));
        Ok(Arc::new(nodes))
    }

    fn node(&self, index: u32) -> Node {
        self.0.node(index)
    }

    fn datasets(&self) -> Vec<Dataset> {
        self.0.datasets()
    }
}

#[test]
fn a_tensor_entry_that_hashes_only_a_right_prefix_cannot_be_revealed() {
    let claim = run(SHAPES[0], Some(Fault::Step { step: 0 }));
    let scene = scene(&claim);
    let mut lie = Truncated(Own::new(&claim));
    let short = lie.prefix();
    let whole = Span::whole(short.len() as u64);
    let reveals = [
        tree::prove_frontier(&short, whole).concat(),
        [tree::prove_frontier(&short, whole), vec![[0; 32]]]
            .concat()
            .concat(),
        claim.bytes(FileId::Tensor { step: 0, node: 10 }),
        short,
    ];
    let mut challenge = honest_challenger(honest(), None);
    let outcome = scene.world.play(
        scene.id,
        |game| {
            if game.search.file != File::Tensor {
                return player::defend(game, &mut lie).unwrap_or_else(|e| match e {});
            }
            for reveal in &reveals {
                let refused = scene.world.make(scene.id, Move::Reveal(reveal.clone()));
                assert_eq!(refused, Err(Refusal::WrongBytes));
            }
            None
        },
        |game, revealed| match game.phase {
            // The nodes of the claim differ from the true ones.
            Phase::Choose => Some(Move::DisputeNodes),
            _ => challenge(game, revealed),
        },
    );
    assert_eq!(outcome.winner, Side::Challenger);
    let search = scene.world.dispute(scene.id).game.search;
    assert_eq!(search.file, File::Tensor, "the game came to the tensor");
    scene.world.check_books();
}

#[test]
fn a_clock_that_has_expired_ends_the_game_and_no_move_saves_it() {
    let scene = scene(blatant());
    let Scene { world, id, .. } = &scene;
    let claim = Settle { dispute: *id };
    let mallory = world.person("mallory");
    assert_eq!(world.tell(&mallory, 0, &claim), Err(Error::Running));
    let missing = Settle { dispute: 4 };
    assert_eq!(world.tell(&mallory, 0, &missing), Err(Error::NoDispute));
    world.wait(TERMS.clock + 1);
    let late = world.tell(&scene.solver, 0, &scene.defence(blatant()));
    assert_eq!(late, Err(Error::Expired));
    world.tell(&mallory, 0, &claim).unwrap();
    assert_eq!(world.tell(&mallory, 0, &claim), Err(Error::Over));
    let record = world.dispute(*id);
    let message = Play {
        dispute: *id,
        position: record.game.hash(),
        mv: Move::DisputeNodes,
    };
    for side in [&scene.solver, &scene.challenger] {
        assert_eq!(world.tell(side, 0, &message), Err(Error::Over));
    }
    world.check_books();
}

#[test]
fn a_side_loses_only_its_own_time() {
    let scene = scene(blatant());
    let Scene { world, id, .. } = &scene;
    world.wait(TERMS.clock / 2);
    let second = scene.reveal(blatant());
    world.wait(TERMS.clock - 5_000);
    let claim = Settle { dispute: *id };
    assert_eq!(world.tell(&scene.solver, 0, &claim), Err(Error::Running));
    world.tell(&scene.challenger, 0, &second).unwrap();
    let clocks = world.dispute(*id).clocks;
    assert!(clocks.defender < TERMS.clock / 2 + TERMS.increment + 1);
    assert!(clocks.defender > TERMS.clock / 2 - 60_000);
    assert!(clocks.challenger < 10_000);
    world.check_books();
}

#[test]
fn nobody_loses_on_time_while_the_chain_stands_still() {
    let scene = scene(blatant());
    let Scene { world, id, .. } = &scene;
    let claim = Settle { dispute: *id };
    world.stand_still(10 * TERMS.clock);
    let refused = world.tell(&scene.challenger, 0, &claim);
    assert_eq!(refused, Err(Error::Running), "time without blocks");
    let second = scene.reveal(blatant());
    world.stand_still(10 * TERMS.clock);
    assert_eq!(world.tell(&scene.solver, 0, &claim), Err(Error::Running));
    world.tell(&scene.challenger, 0, &second).unwrap();
    for _ in 0..TERMS.min_blocks {
        world.wait(1);
    }
    // The defender had no time left but its increment, and now the blocks have passed too.
    world.wait(TERMS.increment);
    world.tell(&scene.challenger, 0, &claim).unwrap();
    world.check_books();
}

#[test]
fn bonds_are_paid_once_to_whom_they_belong() {
    let scene = scene(honest());
    let Scene { world, id, .. } = &scene;
    let withdraw = Withdraw { dispute: *id };
    let mallory = world.person("mallory");
    for side in [&scene.solver, &scene.challenger, &mallory] {
        let early = world.tell(side, 0, &withdraw);
        assert_eq!(early, Err(Error::NothingOwed));
    }
    world.play(*id, honest_defender(honest()), |_, _| None);
    for side in [&scene.challenger, &mallory] {
        let refused = world.tell(side, 0, &withdraw);
        assert_eq!(refused, Err(Error::NothingOwed));
    }
    let due = TERMS.bond * 75 / 100;
    assert_eq!(world.ask(&scene.solver, 0, &withdraw), Ok(due));
    let again = world.tell(&scene.solver, 0, &withdraw);
    assert_eq!(again, Err(Error::NothingOwed));
    let missing = Withdraw { dispute: 3 };
    let refused = world.tell(&scene.solver, 0, &missing);
    assert_eq!(refused, Err(Error::NoDispute));

    let burn = TERMS.bond - due;
    assert_eq!(world.ask(&mallory, 0, &FlushBurn {}), Ok(burn));
    assert_eq!(world.free(&BURN_ACCOUNT), burn);
    let again = world.tell(&mallory, 0, &FlushBurn {});
    assert_eq!(again, Err(Error::Dust));
    world.check_books();
}

#[test]
fn a_withdrawal_that_cannot_be_paid_keeps_the_credit() {
    let scene = scene(honest());
    let Scene { world, id, .. } = &scene;
    world.play(*id, honest_defender(honest()), |_, _| None);
    let before = world.dispute(*id);
    let withdraw = Withdraw { dispute: *id };
    let all = world.ledgers().dispute;
    world.confiscate(&world.at().dispute, all);
    let refused = world.tell(&scene.solver, 0, &withdraw);
    assert_eq!(refused, Err(Error::Transfer));
    let refused = world.tell(&scene.solver, 0, &FlushBurn {});
    assert_eq!(refused, Err(Error::Transfer));
    assert_eq!(world.dispute(*id), before);
    world.restore(&world.at().dispute, all);
    world.tell(&scene.solver, 0, &withdraw).unwrap();
    world.tell(&scene.solver, 0, &FlushBurn {}).unwrap();
    world.check_books();
}

#[test]
fn a_share_is_paid_once_to_its_winner_and_only_when_nothing_is_open() {
    let scene = scene(wrong());
    let Scene { world, id, .. } = &scene;
    let (job, attempt) = (&scene.job, scene.attempt);
    let rival = world.person("rival");
    let other = world.open(job, attempt, &rival, wrong());
    let claim = ClaimShare { dispute: *id };
    let refused = world.tell(&scene.challenger, 0, &claim);
    assert_eq!(refused, Err(Error::NothingOwed));
    world.play(
        *id,
        honest_defender(wrong()),
        honest_challenger(honest(), None),
    );
    let refused = world.tell(&scene.challenger, 0, &claim);
    assert_eq!(refused, Err(Error::Escrow(escrow::Error::Challenged)));
    assert_eq!(world.dispute(*id).share, Share::Earned, "and is not lost");
    world.play(other, |_| None, |_, _| None);

    let mallory = world.person("mallory");
    for thief in [&mallory, &rival, &scene.solver] {
        let refused = world.tell(thief, 0, &claim);
        assert_eq!(refused, Err(Error::NotParty));
    }
    let all = world.ledgers().escrow;
    world.confiscate(&world.at().escrow, all);
    let refused = world.tell(&scene.challenger, 0, &claim);
    assert_eq!(refused, Err(Error::Escrow(escrow::Error::Transfer)));
    world.restore(&world.at().escrow, all);
    let paid = world.ask(&scene.challenger, 0, &claim).unwrap();
    assert_eq!(
        world.ask(&rival, 0, &ClaimShare { dispute: other }),
        Ok(paid)
    );
    let again = world.tell(&scene.challenger, 0, &claim);
    assert_eq!(again, Err(Error::NothingOwed));
    world.check_books();
}

#[test]
fn a_loser_has_no_share() {
    let scene = scene(honest());
    let Scene { world, id, .. } = &scene;
    world.play(*id, honest_defender(honest()), |_, _| None);
    let claim = ClaimShare { dispute: *id };
    let refused = world.tell(&scene.challenger, 0, &claim);
    assert_eq!(refused, Err(Error::NothingOwed));
    world.check_books();
}

#[test]
fn a_dispute_is_pruned_by_its_challenger_when_it_is_over_and_owes_nothing() {
    let scene = scene(wrong());
    let Scene { world, id, .. } = &scene;
    let prune = Prune { dispute: *id };
    let mallory = world.person("mallory");
    let refused = world.tell(&scene.challenger, 0, &prune);
    assert_eq!(refused, Err(Error::NotOver));
    world.play(*id, |_| None, |_, _| None);
    let refused = world.tell(&scene.challenger, 0, &prune);
    assert_eq!(refused, Err(Error::Owed));
    world
        .tell(&scene.challenger, 0, &Withdraw { dispute: *id })
        .unwrap();
    let refused = world.tell(&scene.challenger, 0, &prune);
    assert_eq!(refused, Err(Error::Owed), "the share");
    world
        .tell(&scene.challenger, 0, &ClaimShare { dispute: *id })
        .unwrap();
    for thief in [&mallory, &scene.solver] {
        let refused = world.tell(thief, 0, &prune);
        assert_eq!(refused, Err(Error::NotParty));
    }
    world.tell(&scene.challenger, 0, &prune).unwrap();
    let again = world.tell(&scene.challenger, 0, &prune);
    assert_eq!(again, Err(Error::NoDispute));
    let submitter = world.person("submitter");
    world
        .tell(&submitter, 0, &Cancel { task: scene.job.id })
        .unwrap();
    world.clear(&scene.job);
    world.check_empty();
}

#[test]
fn lists_are_read_in_pages_whatever_is_asked() {
    let world = World::new();
    let challenger = world.person("challenger");
    let (job, attempt) = world.committed(honest(), TERMS);
    let count = PAGE + 6;
    for _ in 0..count {
        world.open(&job, attempt, &challenger, honest());
    }
    assert_eq!(world.contracts().disputes(0).unwrap().len() as u32, count);
    assert_eq!(
        world.contracts().disputes(60).unwrap().len() as u32,
        count - 60
    );
    let list = |from, limit| -> Vec<_> {
        use lockstep_agent::chain::{Call, Chain};
        let call = Call {
            contract: world.at().dispute,
            value: 0,
            input: ListDisputes { from, limit }.call(),
        };
        let reader = challenger.account();
        let output = world.chain().estimate(&reader, &call).unwrap().output;
        ListDisputes::reply(&output).unwrap()
    };
    assert_eq!(list(0, u32::MAX).len() as u32, PAGE);
    assert!(list(0, 0).is_empty());
    assert!(list(u64::MAX, u32::MAX).is_empty());
    assert_eq!(list(u64::from(count) - 1, 9).len(), 1);
}

#[test]
fn money_sent_with_a_message_that_takes_none_is_not_lost() {
    let scene = scene(honest());
    let Scene { world, id, .. } = &scene;
    let dispute = *id;
    world.wait(TERMS.clock + 1);
    let before = world.free(&scene.solver.account());
    let inputs = [
        Settle { dispute }.call(),
        Withdraw { dispute }.call(),
        ClaimShare { dispute }.call(),
        FlushBurn {}.call(),
        Prune { dispute }.call(),
        [&Play::SELECTOR[..], &[200; 5]].concat(),
        [&Open::SELECTOR[..], &[0; 12]].concat(),
        vec![],
    ];
    for input in inputs {
        let sent = world.call(&scene.solver, world.at().dispute, 5, input.clone());
        assert!(sent.is_err(), "{input:?}");
    }
    assert_eq!(world.free(&scene.solver.account()), before);
    world.check_books();
}

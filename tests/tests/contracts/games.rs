//! Whole games through the real contract. Every move is checked against the protocol's own game.

use crate::{honest, wrong};
use lockstep_interface::dispute::{Error, Play, Settle};
use lockstep_interface::escrow::Cancel;
use lockstep_protocol::game::{File, Game, Move, Outcome, Phase, Reason, Refusal, Side};
use lockstep_protocol::random::{self, Rng, Size};
use lockstep_protocol::rehearsal::adversary::{garble, random_fault, random_selection};
use lockstep_protocol::rehearsal::sample::{faults, run, SHAPES};
use lockstep_protocol::rehearsal::{honest_challenger, honest_defender, Fault, Run};
use lockstep_tests::games::{towards, Target};
use lockstep_tests::life::TERMS;
use lockstep_tests::{programs, World};
use std::collections::BTreeSet;

/// Disputes the commitment of `claim` and plays both strategies to the end. The winner ends as
/// much richer as the terms say, the loser poorer, and nothing is left behind.
fn dispute(
    world: &World,
    claim: &Run,
    defender: impl FnMut(&Game) -> Option<Move>,
    challenger: impl FnMut(&Game, &[u8]) -> Option<Move>,
) -> Outcome {
    let (solver, disputer) = (world.person("solver"), world.person("challenger"));
    let before = (world.wealth(&solver), world.wealth(&disputer));
    let (job, attempt) = world.committed(claim, TERMS);
    let price = world.attempt_record(&job, attempt).price as i128;
    let id = world.open(&job, attempt, &disputer, claim);
    let outcome = world.play(id, defender, challenger);
    match outcome.winner {
        Side::Defender => world.finalize(&job, attempt),
        Side::Challenger => {
            let message = Cancel { task: job.id };
            world.tell(&world.person("submitter"), 0, &message).unwrap();
        }
    }
    world.clear(&job);
    world.check_empty();
    let gains = (
        world.wealth(&solver) - before.0,
        world.wealth(&disputer) - before.1,
    );
    let (bond, stake) = (TERMS.bond as i128, TERMS.stake as i128);
    let expected = match outcome.winner {
        Side::Defender => (price + bond * 75 / 100, -bond),
        Side::Challenger => (-stake, stake - stake * 20 / 100 - stake * 30 / 100),
    };
    assert_eq!(gains, expected, "{outcome:?}");
    outcome
}

/// Plants every error of the sample task whose number is `part` modulo `parts`.
fn errors_lose(shape: (u32, u32), part: usize, parts: usize) {
    let world = World::new();
    let truth = run(shape, None);
    let mut caught = 0;
    for fault in faults().into_iter().skip(part).step_by(parts) {
        let liar = run(shape, Some(fault));
        if liar.commitment() == truth.commitment() {
            continue;
        }
        caught += 1;
        let outcome = dispute(
            &world,
            &liar,
            honest_defender(&liar),
            honest_challenger(&truth, None),
        );
        assert_eq!(outcome.winner, Side::Challenger, "{shape:?} {fault:?}");
    }
    assert!(caught > 80 / parts / 2, "planted errors matter: {caught}");
}

#[test]
fn an_error_planted_anywhere_loses_with_two_steps_a_segment() {
    errors_lose(SHAPES[0], 0, 2);
}

#[test]
fn an_error_planted_elsewhere_loses_with_two_steps_a_segment() {
    errors_lose(SHAPES[0], 1, 2);
}

#[test]
fn an_error_planted_anywhere_loses_with_one_step_a_segment() {
    errors_lose(SHAPES[1], 3, 7);
}

#[test]
fn an_error_planted_anywhere_loses_with_one_segment() {
    errors_lose(SHAPES[2], 5, 7);
}

#[test]
fn an_honest_defender_wins_against_any_selections_on_every_level() {
    let world = World::new();
    let mut files = BTreeSet::new();
    for seed in 0..16 {
        let mut rng = Rng::new(seed);
        let outcome = dispute(
            &world,
            honest(),
            honest_defender(honest()),
            |game, revealed| {
                files.insert(game.search.file as u8);
                // Nodes 7 and 8 are folds with long traces, which chance alone seldom picks.
                match game.search.file {
                    File::Nodes if seed % 2 == 0 => towards(Target {
                        node: 7 + (seed / 2 % 2) as u32,
                        ..Target::default()
                    })(game, revealed),
                    _ => Some(random_selection(game, revealed, &mut rng)),
                }
            },
        );
        assert_eq!(outcome.winner, Side::Defender, "{seed}");
        assert_eq!(outcome.reason, Reason::Proven, "{seed}");
    }
    let levels = [
        File::Checkpoints,
        File::Steps,
        File::Nodes,
        File::State,
        File::Tensor,
        File::Fold,
    ];
    assert_eq!(files, levels.map(|file| file as u8).into());
}

#[test]
fn an_honest_defender_proves_every_kind_of_node() {
    let world = World::new();
    for node in 0..honest().program.nodes.len() as u32 {
        let target = Target {
            segment: 20,
            step: 1,
            node,
            ..Target::default()
        };
        let outcome = dispute(&world, honest(), honest_defender(honest()), towards(target));
        assert_eq!(outcome.reason, Reason::Proven, "node {node}");
    }
    for slot in 0..2 {
        let target = Target {
            segment: 34,
            node: slot,
            state: true,
            ..Target::default()
        };
        let outcome = dispute(&world, honest(), honest_defender(honest()), towards(target));
        assert_eq!(outcome.reason, Reason::Proven, "slot {slot}");
    }
}

#[test]
fn a_challenger_that_stalls_or_garbles_its_moves_loses_on_every_level() {
    let world = World::new();
    for seed in 0..16u64 {
        let mut rng = Rng::new(seed);
        let fatal = seed as u32 / 2 * 3;
        let outcome = dispute(
            &world,
            honest(),
            honest_defender(honest()),
            |game, revealed| {
                let mv = random_selection(game, revealed, &mut rng);
                match (game.position >= fatal, seed % 2) {
                    (true, 0) => Some(garble(mv, &mut rng)),
                    (true, _) => None,
                    _ => Some(mv),
                }
            },
        );
        assert_eq!(outcome.winner, Side::Defender, "{seed}");
    }
}

#[test]
fn a_liar_that_stalls_or_reveals_garbage_loses_on_every_level() {
    let world = World::new();
    let kinds = |fatal: u32| match fatal % 2 {
        0 => "stalls",
        _ => "garbles",
    };
    for fatal in 0..20 {
        let mut rng = Rng::new(fatal.into());
        let mut answer = honest_defender(wrong());
        let outcome = dispute(
            &world,
            wrong(),
            |game| {
                let mv = answer(game)?;
                match (game.position >= fatal, kinds(fatal)) {
                    (true, "stalls") => None,
                    (true, _) => Some(garble(mv, &mut rng)),
                    _ => Some(mv),
                }
            },
            honest_challenger(honest(), None),
        );
        assert_eq!(outcome.winner, Side::Challenger, "{fatal}");
    }
}

#[test]
fn a_liar_that_answers_with_the_truth_from_some_move_on_loses() {
    let world = World::new();
    for turn in 0..20 {
        let mut lie = honest_defender(wrong());
        let mut truth = honest_defender(honest());
        let outcome = dispute(
            &world,
            wrong(),
            |game| match game.position < turn {
                true => lie(game),
                false => truth(game),
            },
            honest_challenger(honest(), None),
        );
        assert_eq!(outcome.winner, Side::Challenger, "{turn}");
    }
}

#[test]
fn an_auditor_of_one_transition_wins_without_knowing_what_came_before() {
    let world = World::new();
    let fault = Fault::Element {
        step: 40,
        node: 10,
        element: 5,
    };
    let liar = run(SHAPES[0], Some(fault));
    let mut segment = None;
    let mut auditor = honest_challenger(honest(), Some(20));
    let outcome = dispute(&world, &liar, honest_defender(&liar), |game, revealed| {
        if game.search.file != File::Checkpoints {
            segment = Some(game.segment);
        }
        auditor(game, revealed)
    });
    assert_eq!(outcome.winner, Side::Challenger);
    assert_eq!(segment, Some(20));
}

#[test]
fn an_error_planted_in_a_random_program_loses_and_the_truth_wins() {
    let world = World::new();
    let mut caught = 0;
    for seed in 0..24 {
        let mut rng = Rng::new(seed);
        let case = random::program(seed, Size::SMALL);
        let steps = 1 + rng.below(5) as u32;
        let segment = 1 + rng.below(steps.into()) as u32;
        let truth = Run::new(case.clone(), steps, segment, None);
        let outcome = dispute(&world, &truth, honest_defender(&truth), |game, revealed| {
            Some(random_selection(game, revealed, &mut rng))
        });
        assert_eq!(outcome.reason, Reason::Proven, "{seed}");

        let fault = random_fault(&case, steps, &mut rng);
        let liar = Run::new(case, steps, segment, Some(fault));
        if liar.commitment() == truth.commitment() {
            continue;
        }
        caught += 1;
        let outcome = dispute(
            &world,
            &liar,
            honest_defender(&liar),
            honest_challenger(&truth, None),
        );
        assert_eq!(outcome.winner, Side::Challenger, "{seed} {fault:?}");
    }
    assert!(caught > 8, "planted errors matter: {caught}");
}

#[test]
fn random_moves_by_both_sides_end_every_game_with_one_winner() {
    let world = World::new();
    let (solver, challenger) = (world.person("solver"), world.person("challenger"));
    let mut winners = BTreeSet::new();
    for seed in 0..16 {
        let mut rng = Rng::new(seed);
        let (job, attempt) = world.committed(honest(), TERMS);
        let id = world.open(&job, attempt, &challenger, honest());
        let mut answer = honest_defender(honest());
        let mut revealed = vec![];
        loop {
            let record = world.dispute(id);
            let game = record.game;
            let Some(turn) = game.turn() else { break };
            let right = match turn {
                Side::Defender => answer(&game).unwrap(),
                Side::Challenger => random_selection(&game, &revealed, &mut rng),
            };
            let idle = match turn {
                Side::Defender => &challenger,
                Side::Challenger => &solver,
            };
            let message = Play {
                dispute: id,
                position: game.hash(),
                mv: right.clone(),
            };
            let refused = world.tell(idle, 0, &message);
            assert_eq!(refused, Err(Error::Move(Refusal::NotYourTurn)));
            let claim = Settle { dispute: id };
            let early = world.tell(idle, 0, &claim);
            assert_eq!(early, Err(Error::Running));
            match rng.below(24) {
                0 => world.time_out(id),
                1..=6 => {
                    let _ = world.make(id, garble(right, &mut rng));
                }
                // After a broken move that was taken, no right one may be left.
                _ => {
                    if let Ok(Some(bytes)) = world.make(id, right) {
                        revealed = bytes;
                    }
                }
            }
        }
        world.settle(id);
        let winner = world.dispute(id).game.winner().unwrap();
        winners.insert(winner as u8);
        match winner {
            Side::Defender => world.finalize(&job, attempt),
            Side::Challenger => {
                let message = Cancel { task: job.id };
                world.tell(&world.person("submitter"), 0, &message).unwrap();
            }
        }
        world.clear(&job);
        world.check_empty();
    }
    assert_eq!(winners.len(), 2, "both sides err now and then");
}

#[test]
fn the_contract_computes_every_operation_on_special_values_as_the_reference_does() {
    let world = World::new();
    let run = Run::new(programs::special(), 1, 1, None);
    let side = programs::SPECIAL.len() as u64;
    for i in 0..side {
        // Every value is once the first operand and once the second.
        let element = i * side + (7 * i + 3) % side;
        let target = Target {
            node: run.spec.nodes - 1,
            element,
            ..Target::default()
        };
        let outcome = dispute(&world, &run, honest_defender(&run), towards(target));
        assert_eq!(outcome.reason, Reason::Proven, "element {element}");
    }
}

#[test]
fn a_program_with_a_malformed_node_costs_its_careless_solver_the_stake() {
    // Nobody can prove a node that reads itself. Escrow sees only the program's hash: it is the
    // solver that validates a program before accepting it, and this one did not.
    let world = World::new();
    let truth = honest();
    let mut bad = truth.program.clone();
    let lockstep_protocol::program::Node::Fold(fold) = &mut bad.nodes[9] else {
        panic!("node 9 is a fold")
    };
    fold.body.reads[0].node = 9;
    let file = bad.file();
    let mut spec = truth.spec.clone();
    spec.program = lockstep_protocol::tree::hash(&file);
    let job = world.submit(&spec, TERMS);
    let solver = world.person("solver");
    let attempt = world.attempt_by(&job, &solver, truth);
    let challenger = world.person("challenger");
    let id = world.open(&job, attempt, &challenger, truth);
    let mut honestly = honest_defender(truth);
    let target = Target {
        node: 9,
        ..Target::default()
    };
    let outcome = world.play(
        id,
        |game| match game.phase {
            Phase::OpenNode => Some(Move::OpenNode {
                node: scale::Encode::encode(&bad.nodes[9]),
                program: lockstep_protocol::tree::prove_open(&file, 9 * 32),
                slot: None,
            }),
            _ => honestly(game),
        },
        towards(target),
    );
    assert_eq!(outcome.winner, Side::Challenger);
    assert_eq!(outcome.reason, Reason::MalformedNode);
    assert_eq!(
        world.contracts().staker(solver.account()).unwrap().locked,
        0
    );
    world.check_books();
}

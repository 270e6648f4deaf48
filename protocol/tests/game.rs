//! The dispute game between honest and dishonest runs of a program with every kind of node.

use lockstep_protocol::game::{File, Game, Move, Phase, Reason, Side};
use lockstep_protocol::player;
use lockstep_protocol::program::Node;
use lockstep_protocol::random::{self, Rng, Size};
use lockstep_protocol::rehearsal::adversary::{garble, random_fault, random_selection};
use lockstep_protocol::rehearsal::sample::{faults, run, SHAPES, STEPS};
use lockstep_protocol::rehearsal::*;
use lockstep_protocol::tree;

#[test]
fn a_planted_error_loses_wherever_it_is() {
    for shape in SHAPES {
        let honest = run(shape, None);
        let mut caught = 0;
        for fault in faults() {
            let liar = run(shape, Some(fault));
            if liar.commitment() == honest.commitment() {
                continue;
            }
            caught += 1;
            let mut game = Game::new(&liar.spec, &liar.commitment());
            play(
                &mut game,
                honest_defender(&liar),
                honest_challenger(&honest, None),
            );
            assert_eq!(
                game.winner(),
                Some(Side::Challenger),
                "{shape:?} {fault:?}: {game:?}"
            );
        }
        assert!(
            caught > 80,
            "most planted errors reach the commitment: {caught}"
        );
    }
}

#[test]
fn an_error_inside_a_step_is_found_by_computing_one_scalar() {
    let shape = SHAPES[0];
    let honest = run(shape, None);
    for fault in [
        Fault::Element {
            step: 35,
            node: 10,
            element: 300,
        },
        Fault::Accumulator {
            step: 35,
            node: 7,
            element: 0,
            r: 256,
        },
        Fault::Accumulator {
            step: 0,
            node: 7,
            element: 0,
            r: 0,
        },
        Fault::Element {
            step: 3,
            node: 2,
            element: 77,
        },
        Fault::Element {
            step: 3,
            node: 0,
            element: 77,
        },
        Fault::State { step: 9, slot: 1 },
    ] {
        let liar = run(shape, Some(fault));
        assert_ne!(liar.commitment(), honest.commitment(), "{fault:?}");
        let mut game = Game::new(&liar.spec, &liar.commitment());
        play(
            &mut game,
            honest_defender(&liar),
            honest_challenger(&honest, None),
        );
        let Phase::Over(outcome) = game.phase else {
            panic!("unfinished")
        };
        assert!(
            matches!(outcome.reason, Reason::Disproven { .. }),
            "{fault:?}: {outcome:?}"
        );
        if let Fault::Accumulator { r, .. } = fault {
            assert_eq!(game.r as u64, r);
        }
    }
}

#[test]
fn an_auditor_of_one_transition_wins_without_knowing_what_came_before() {
    // The auditor starts from the liar's own state before the second fault's segment.
    let shape = (STEPS, 2);
    let honest = run(shape, None);
    let fault = Fault::Element {
        step: 40,
        node: 10,
        element: 5,
    };
    let liar = run(shape, Some(fault));
    let mut game = Game::new(&liar.spec, &liar.commitment());
    play(
        &mut game,
        honest_defender(&liar),
        honest_challenger(&honest, Some(20)),
    );
    assert_eq!(game.winner(), Some(Side::Challenger));
    assert_eq!(game.segment, 20);
}

#[test]
fn an_honest_defender_wins_against_any_selections() {
    for shape in SHAPES {
        let honest = run(shape, None);
        let mut deepest = [false; 6];
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let mut game = Game::new(&honest.spec, &honest.commitment());
            play(&mut game, honest_defender(&honest), |game, revealed| {
                deepest[game.search.file as usize] = true;
                Some(random_selection(game, revealed, &mut rng))
            });
            assert_eq!(
                game.winner(),
                Some(Side::Defender),
                "{shape:?} {seed}: {game:?}"
            );
            let Phase::Over(outcome) = game.phase else {
                panic!("unfinished")
            };
            assert_eq!(outcome.reason, Reason::Proven);
        }
        assert!(deepest[File::Fold as usize] && deepest[File::State as usize]);
    }
}

#[test]
fn a_liar_that_garbles_or_stalls_loses() {
    let shape = SHAPES[0];
    let honest = run(shape, None);
    let liar = run(
        shape,
        Some(Fault::Accumulator {
            step: 35,
            node: 7,
            element: 0,
            r: 17,
        }),
    );
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let fatal = rng.below(16) as u32;
        let mut answer = honest_defender(&liar);
        let mut game = Game::new(&liar.spec, &liar.commitment());
        play(
            &mut game,
            |game| {
                let mv = answer(game)?;
                match game.position >= fatal {
                    true if seed % 2 == 0 => Some(garble(mv, &mut rng)),
                    true => None,
                    false => Some(mv),
                }
            },
            honest_challenger(&honest, None),
        );
        assert_eq!(game.winner(), Some(Side::Challenger), "{seed}: {game:?}");
    }
}

#[test]
fn a_liar_that_answers_with_the_truth_somewhere_below_loses() {
    // From some move on the liar answers from the honest run: the hashes above do not bind it.
    let shape = SHAPES[0];
    let honest = run(shape, None);
    let liar = run(
        shape,
        Some(Fault::Accumulator {
            step: 35,
            node: 7,
            element: 0,
            r: 17,
        }),
    );
    for turn in 0..24 {
        let mut lie = honest_defender(&liar);
        let mut truth = honest_defender(&honest);
        let mut game = Game::new(&liar.spec, &liar.commitment());
        play(
            &mut game,
            |game| {
                if game.position < turn {
                    lie(game)
                } else {
                    truth(game)
                }
            },
            honest_challenger(&honest, None),
        );
        assert_eq!(game.winner(), Some(Side::Challenger), "{turn}: {game:?}");
    }
}

#[test]
fn a_challenger_that_garbles_or_stalls_loses_to_an_honest_defender() {
    let shape = SHAPES[0];
    let honest = run(shape, None);
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let fatal = rng.below(20) as u32;
        let mut game = Game::new(&honest.spec, &honest.commitment());
        play(&mut game, honest_defender(&honest), |game, revealed| {
            let mv = random_selection(game, revealed, &mut rng);
            match game.position >= fatal {
                true if seed % 2 == 0 => Some(garble(mv, &mut rng)),
                true => None,
                false => Some(mv),
            }
        });
        assert_eq!(game.winner(), Some(Side::Defender), "{seed}: {game:?}");
    }
}

#[test]
fn nobody_can_play_for_the_other_side() {
    let honest = run(SHAPES[0], None);
    let mut game = Game::new(&honest.spec, &honest.commitment());
    let mut defend = honest_defender(&honest);
    let mut challenge = honest_challenger(&honest, None);
    let mut revealed = vec![];
    while let Some(turn) = game.turn() {
        let mv = match turn {
            Side::Defender => defend(&game).unwrap(),
            Side::Challenger => challenge(&game, &revealed).unwrap(),
        };
        assert!(game.clone().play(turn.other(), &mv).is_err());
        if let Move::Reveal(bytes) = &mv {
            revealed.clone_from(bytes);
        }
        game.play(turn, &mv).unwrap();
        assert!(game.clone().play(turn, &mv).is_err() || game.turn() == Some(turn));
    }
    assert!(game.play(Side::Defender, &Move::Reveal(vec![])).is_err());
}

#[test]
fn a_true_trace_under_a_wrong_hash_is_refused() {
    // A commitment whose last checkpoint is wrong, defended with the honest traces.
    let shape = SHAPES[0];
    let honest = run(shape, None);
    let liar = run(shape, Some(Fault::Checkpoint { segment: 34 }));
    let mut truth = Own::new(&honest);
    let mut lie = Own::new(&liar);
    let mut game = Game::new(&liar.spec, &liar.commitment());
    let mut challenge = honest_challenger(&honest, None);
    let mut revealed = vec![];
    while game.phase != Phase::OpenSteps {
        match game.turn() {
            Some(Side::Defender) => {
                let mv = player::defend(&game, &mut lie).unwrap().unwrap();
                if let Move::Reveal(bytes) = &mv {
                    revealed.clone_from(bytes);
                }
                game.play(Side::Defender, &mv).unwrap();
            }
            _ => {
                let mv = challenge(&game, &revealed).unwrap();
                game.play(Side::Challenger, &mv).unwrap();
            }
        }
    }
    let mv = player::defend(&game, &mut truth).unwrap().unwrap();
    assert_eq!(
        game.play(Side::Defender, &mv),
        Err(lockstep_protocol::game::Refusal::WrongLast)
    );
}

#[test]
fn a_program_with_a_malformed_node_costs_its_solver_the_game() {
    // The solver accepted a program whose node 9 reads itself.
    let honest = run(SHAPES[0], None);
    let mut game = Game::new(&honest.spec, &honest.commitment());
    let mut bad = honest.program.clone();
    let Node::Fold(fold) = &mut bad.nodes[9] else {
        panic!("node 9 is a fold")
    };
    fold.body.reads[0].node = 9;
    let file = bad.file();
    game.frame.program = tree::hash(&file);
    let mut defend = honest_defender(&honest);
    let mut challenge = honest_challenger(&honest, None);
    let mut revealed = vec![];
    while game.phase != Phase::OpenNode {
        match game.turn() {
            Some(Side::Defender) => {
                let mv = defend(&game).unwrap();
                if let Move::Reveal(bytes) = &mv {
                    revealed.clone_from(bytes);
                }
                game.play(Side::Defender, &mv).unwrap();
            }
            _ if game.search.file == File::Nodes && game.search.span.count == 1 => {
                let mv = Move::SelectEntry {
                    index: 9,
                    chunk: revealed.clone(),
                };
                game.play(Side::Challenger, &mv).unwrap();
            }
            _ if game.phase == Phase::Choose => {
                game.play(Side::Challenger, &Move::DisputeNodes).unwrap();
            }
            _ => {
                let mv = challenge(&game, &revealed).unwrap();
                game.play(Side::Challenger, &mv).unwrap();
            }
        }
    }
    let mv = Move::OpenNode {
        node: scale::Encode::encode(&bad.nodes[9]),
        program: tree::prove_open(&file, 9 * 32),
        slot: None,
    };
    game.play(Side::Defender, &mv).unwrap();
    let Phase::Over(outcome) = game.phase else {
        panic!("unfinished")
    };
    assert_eq!(outcome.winner, Side::Challenger);
    assert_eq!(outcome.reason, Reason::MalformedNode);
}

#[test]
fn a_planted_error_in_a_random_program_loses() {
    let mut caught = 0;
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let case = random::program(seed, Size::SMALL);
        let steps = 1 + rng.below(5) as u32;
        let segment = 1 + rng.below(steps as u64) as u32;
        let honest = Run::new(case.clone(), steps, segment, None);
        let fault = random_fault(&case, steps, &mut rng);
        let liar = Run::new(case, steps, segment, Some(fault));
        if liar.commitment() == honest.commitment() {
            continue;
        }
        caught += 1;
        let mut game = Game::new(&liar.spec, &liar.commitment());
        play(
            &mut game,
            honest_defender(&liar),
            honest_challenger(&honest, None),
        );
        assert_eq!(
            game.winner(),
            Some(Side::Challenger),
            "{seed} {fault:?}: {game:?}"
        );
    }
    assert!(caught > 150, "many planted errors matter: {caught}");
}

#[test]
fn an_honest_run_of_a_random_program_wins_against_any_selections() {
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let case = random::program(seed, Size::SMALL);
        let steps = 1 + rng.below(5) as u32;
        let segment = 1 + rng.below(steps as u64) as u32;
        let honest = Run::new(case, steps, segment, None);
        for _ in 0..8 {
            let mut game = Game::new(&honest.spec, &honest.commitment());
            play(&mut game, honest_defender(&honest), |game, revealed| {
                Some(random_selection(game, revealed, &mut rng))
            });
            assert_eq!(game.winner(), Some(Side::Defender), "{seed}: {game:?}");
        }
    }
}

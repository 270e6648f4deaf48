//! The dispute game between honest and dishonest runs of a program with every kind of node.

use lockstep_protocol::eval::{Blob, Inputs};
use lockstep_protocol::game::{File, Game, Move, Phase, Reason, Side};
use lockstep_protocol::player;
use lockstep_protocol::program::*;
use lockstep_protocol::random::{self, Case, Rng, Size};
use lockstep_protocol::rehearsal::*;
use lockstep_protocol::tree;
use lockstep_protocol::validate;
use std::sync::Arc;

const BATCH: u32 = 3;
const RECORD: u32 = 404;
const WIDE: u64 = 600;

fn dims(shape: &[u64]) -> Vec<Dim> {
    shape.iter().map(|d| Dim(*d)).collect()
}

fn axis(form: Form, extent: u64, stride: i64) -> Axis {
    Axis {
        form,
        extent,
        stride: stride.into(),
    }
}

fn access(node: u32, dtype: Dtype, len: u64, axes: Vec<Axis>) -> Access {
    Access {
        node,
        dtype,
        len,
        base: 0.into(),
        axes,
        fill: 0,
    }
}

fn body(shape: &[u64], dtype: Dtype, reads: Vec<Access>, consts: &[u32], ops: &[Op]) -> Body {
    Body {
        shape: dims(shape),
        dtype,
        index: vec![],
        reads,
        values: vec![],
        consts: consts.to_vec(),
        ops: ops.to_vec(),
    }
}

fn whole(node: u32, dtype: Dtype, len: u64) -> Access {
    access(node, dtype, len, vec![axis(Form::var(0), len, 1)])
}

/// Two slots (a wide f32 tensor and a counter), a batch, a constant, step, seed, maps, and folds
/// with several chunks of trace, with a read initial value, with one step, guarded and indexed.
fn program(constant: &[u8]) -> Program {
    let f32s = Dtype::F32;
    let nodes = vec![
        Node::Source(Source::State {
            shape: dims(&[WIDE]),
            dtype: f32s,
        }),
        Node::Source(Source::State {
            shape: dims(&[1]),
            dtype: Dtype::U32,
        }),
        Node::Source(Source::Batch {
            dataset: 0,
            batch: BATCH,
            record_size: RECORD,
            offset: 4,
            fields: 400,
            dtype: Dtype::U8,
        }),
        Node::Source(Source::Constant {
            shape: dims(&[300]),
            dtype: f32s,
            hash: tree::hash(constant),
        }),
        Node::Source(Source::Step),
        Node::Source(Source::Seed),
        // 6: pixels as floats, scaled
        Node::Map(body(
            &[BATCH as u64, 400],
            f32s,
            vec![access(
                2,
                Dtype::U8,
                BATCH as u64 * 400,
                vec![
                    axis(Form::var(0), BATCH as u64, 400),
                    axis(Form::var(1), 400, 1),
                ],
            )],
            &[(1.0f32 / 256.0).to_bits()],
            &[Op::U32ToF32(0), Op::FMul(2, 1)],
        )),
        // 7: a product of pixels with the state, one fold of 300 steps an element
        Node::Fold(Fold {
            body: body(
                &[BATCH as u64],
                f32s,
                vec![
                    access(
                        6,
                        f32s,
                        BATCH as u64 * 400,
                        vec![
                            axis(Form::var(0), BATCH as u64, 400),
                            axis(Form::new(1, &[(var::RED, 1)]), 400, 1),
                        ],
                    ),
                    access(
                        0,
                        f32s,
                        WIDE,
                        vec![axis(Form::new(0, &[(var::RED, 2)]), WIDE, 1)],
                    ),
                ],
                &[],
                &[Op::FFma(1, 2, 0)],
            ),
            red: dims(&[300]),
            when: vec![],
            init: Init::Read(access(
                3,
                f32s,
                300,
                vec![axis(Form::new(0, &[(0, 100)]), 300, 1)],
            )),
        }),
        // 8: a guarded integer fold over the first bytes of the records, wrapping in a byte
        Node::Fold(Fold {
            body: body(
                &[1],
                Dtype::U8,
                vec![access(
                    2,
                    Dtype::U8,
                    BATCH as u64 * 400,
                    vec![axis(Form::var(var::RED), BATCH as u64 * 400, 1)],
                )],
                &[],
                &[Op::IAdd(0, 1)],
            ),
            red: dims(&[BATCH as u64 * 400]),
            when: vec![Guard {
                form: Form::var(var::RED),
                lo: 5.into(),
                hi: 1111.into(),
            }],
            init: Init::Word(7),
        }),
        // 9: a fold of one step
        Node::Fold(Fold {
            body: body(
                &[2],
                Dtype::U32,
                vec![access(5, Dtype::U32, 2, vec![axis(Form::var(0), 2, 1)])],
                &[],
                &[Op::Xor(0, 1)],
            ),
            red: dims(&[1]),
            when: vec![],
            init: Init::Word(0x5555_5555),
        }),
        // 10: next wide state: state + 2^-10 * product[i mod 3 by index word] + constant
        Node::Map(Body {
            shape: dims(&[WIDE]),
            dtype: f32s,
            index: vec![access(8, Dtype::U8, 1, vec![])],
            reads: vec![
                whole(0, f32s, WIDE),
                access(
                    7,
                    f32s,
                    BATCH as u64,
                    vec![axis(Form::new(-100, &[(var::INDEX, 1)]), BATCH as u64, 1)],
                ),
                access(3, f32s, 300, vec![axis(Form::new(-300, &[(0, 1)]), 300, 1)]),
                access(7, f32s, BATCH as u64, vec![]),
            ],
            values: vec![Form::new(3, &[(0, 2)])],
            consts: vec![(1.0f32 / 1024.0).to_bits()],
            ops: vec![
                Op::FFma(1, 5, 0),
                Op::FAdd(6, 2),
                Op::FFma(3, 5, 7),
                Op::U32ToF32(4),
                Op::FMul(9, 5),
                Op::FAdd(8, 10),
            ],
        }),
        // 11: next counter
        Node::Map(body(
            &[1],
            Dtype::U32,
            vec![
                access(1, Dtype::U32, 1, vec![]),
                access(4, Dtype::U32, 1, vec![]),
                access(9, Dtype::U32, 2, vec![]),
                access(8, Dtype::U8, 1, vec![]),
            ],
            &[],
            &[Op::IAdd(0, 1), Op::IAdd(4, 2), Op::IAdd(5, 3)],
        )),
    ];
    Program { slots: 2, nodes }
}

const STEPS: u32 = 70;

fn run(shape: (u32, u32), fault: Option<Fault>) -> Run {
    let mut rng = Rng::new(11);
    let constant: Vec<u8> = (0..300)
        .flat_map(|_| (rng.below(1000) as f32 / 997.0).to_le_bytes())
        .collect();
    let dataset: Vec<u8> = (0..7 * RECORD).map(|_| rng.below(256) as u8).collect();
    let wide: Vec<u8> = (0..WIDE)
        .flat_map(|_| (rng.below(1000) as f32 / 313.0 - 1.5).to_le_bytes())
        .collect();
    let program = program(&constant);
    validate::program(&program).unwrap_or_else(|e| panic!("{e}"));
    let inputs = Inputs {
        seed: 0x0123_4567_89ab_cdef,
        datasets: vec![Arc::new(dataset) as Blob],
        constants: [(tree::hash(&constant), Arc::new(constant) as Blob)].into(),
    };
    inputs.check(&program).unwrap();
    let (steps, segment) = shape;
    let case = Case {
        program,
        inputs,
        state: vec![wide, vec![1, 0, 0, 0]],
        batch: BATCH,
        record_sizes: vec![RECORD],
    };
    Run::new(case, steps, segment, fault)
}

fn faults() -> Vec<Fault> {
    let mut faults = vec![];
    for segment in [0, 1, 31, 32, 34] {
        faults.push(Fault::Checkpoint { segment });
    }
    for step in [0, 1, 2, 33, STEPS - 1] {
        faults.push(Fault::Step { step });
        faults.push(Fault::State { step, slot: 0 });
        faults.push(Fault::State { step, slot: 1 });
    }
    for step in [0, 35, STEPS - 1] {
        let mut element = |node, element| {
            faults.push(Fault::Element {
                step,
                node,
                element,
            })
        };
        for e in [0, 255, 256, WIDE - 1] {
            element(0, e);
            element(10, e);
        }
        for e in [0, 31, 255, 1023, 1024, 1199] {
            element(2, e);
        }
        for node in [1, 3, 4, 5, 8, 9, 11] {
            element(node, 0);
        }
        for e in [1, 255, 256, 1199] {
            element(6, e);
        }
        element(7, 2);
        for r in [0, 1, 255, 256, 299] {
            faults.push(Fault::Accumulator {
                step,
                node: 7,
                element: 0,
                r,
            });
        }
        for r in [0, 4, 5, 1023, 1024, 1110, 1111, 1199] {
            faults.push(Fault::Accumulator {
                step,
                node: 8,
                element: 0,
                r,
            });
        }
        faults.push(Fault::Accumulator {
            step,
            node: 9,
            element: 0,
            r: 0,
        });
    }
    faults
}

/// Segments of two steps, of one step, and one segment for the whole task.
const SHAPES: [(u32, u32); 3] = [(STEPS, 2), (STEPS, 1), (STEPS, STEPS)];

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

fn random_selection(game: &Game, revealed: &[u8], rng: &mut Rng) -> Move {
    // The ends are as likely as everything between, since that is where indices go wrong.
    let mut pick = |n: u64| match rng.below(4) {
        0 => 0,
        1 => n - 1,
        _ => rng.below(n),
    };
    match game.phase {
        Phase::Choose => {
            if pick(3) == 0 {
                Move::DisputeState
            } else {
                Move::DisputeNodes
            }
        }
        _ if game.search.span.count == 1 => {
            let entries = revealed.len() as u64 / game.search.width as u64;
            Move::SelectEntry {
                index: pick(entries) as u32,
                chunk: revealed.to_vec(),
            }
        }
        _ => {
            let values: Vec<_> = revealed
                .chunks_exact(32)
                .map(|v| v.try_into().unwrap())
                .collect();
            let index = pick(values.len() as u64) as u32;
            Move::SelectSubtree {
                index,
                value: values[index as usize],
                siblings: tree::frontier_siblings(game.search.span, &values, index),
            }
        }
    }
}

/// Breaks a right move in one place.
fn garble(mv: Move, rng: &mut Rng) -> Move {
    use scale::{Decode, Encode};
    let bytes = mv.encode();
    for _ in 0..100 {
        let mut wrong = bytes.clone();
        match rng.below(4) {
            0 => wrong.truncate(rng.below(bytes.len() as u64) as usize),
            1 => wrong.push(rng.below(256) as u8),
            _ => {
                let at = rng.below(bytes.len() as u64) as usize;
                wrong[at] ^= 1 << rng.below(8);
            }
        }
        if let Ok(other) = Move::decode(&mut wrong.as_slice()) {
            if other != mv {
                return other;
            }
        }
    }
    Move::DisputeNodes
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

/// A planted error in a random program. Elements are near the ends as often as elsewhere.
fn random_fault(case: &Case, steps: u32, rng: &mut Rng) -> Fault {
    let step = rng.below(steps as u64) as u32;
    let node = rng.below(case.program.nodes.len() as u64) as u32;
    let target = &case.program.nodes[node as usize];
    let mut place = |n: u64| match rng.below(4) {
        0 => 0,
        1 => n - 1,
        _ => rng.below(n),
    };
    let element = place(target.len());
    let r = place(target.reduction());
    match rng.below(6) {
        0 => Fault::State {
            step,
            slot: rng.below(case.program.slots as u64) as u32,
        },
        1 => Fault::Step { step },
        2 | 3 if matches!(target, Node::Fold(_)) => Fault::Accumulator {
            step,
            node,
            element,
            r,
        },
        _ => Fault::Element {
            step,
            node,
            element,
        },
    }
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

//! What a move costs at most, and games that a call could not hold if anything were larger.

use crate::{honest, wrong};
use lockstep_agent::chain::Chain;
use lockstep_interface::dispute::Play;
use lockstep_interface::Message;
use lockstep_protocol::game::{Move, Reason, Side};
use lockstep_protocol::rehearsal::sample::{run, SHAPES};
use lockstep_protocol::rehearsal::{honest_challenger, honest_defender, Fault, Run};
use lockstep_protocol::validate;
use lockstep_tests::games::{towards, Target};
use lockstep_tests::gas::Line;
use lockstep_tests::life::TERMS;
use lockstep_tests::{programs, World};

/// Bytes of the buffer that holds the input of a call.
const BUFFER: usize = 64 << 10;

/// Every message so far costs less than 2% of what an extrinsic may, and all fit the buffer.
fn check_limits(world: &World) {
    let limit = world.chain().extrinsic_limit().unwrap().ref_time;
    let table = world.gas();
    println!("extrinsic limit {:.1} G", limit as f64 / 1e9);
    println!("{table}");
    for (kind, line) in table.lines() {
        let share = line.weight.ref_time as f64 / limit as f64;
        assert!(share < 0.02, "{kind} costs {:.2}%", 100.0 * share);
        assert!(line.bytes < BUFFER, "{kind} has {} bytes", line.bytes);
    }
}

#[test]
fn every_move_of_a_game_costs_under_two_percent_of_an_extrinsic() {
    let world = World::new();
    let challenger = world.person("challenger");
    let (job, attempt) = world.committed(wrong(), TERMS);
    let id = world.open(&job, attempt, &challenger, wrong());
    let outcome = world.play(
        id,
        honest_defender(wrong()),
        honest_challenger(honest(), None),
    );
    assert_eq!(outcome.winner, Side::Challenger);
    world
        .tell(
            &world.person("submitter"),
            0,
            &lockstep_interface::escrow::Cancel { task: job.id },
        )
        .unwrap();
    world.clear(&job);

    let fault = Fault::Element {
        step: 3,
        node: 2,
        element: 77,
    };
    let state = Fault::State { step: 35, slot: 0 };
    for fault in [fault, state] {
        let liar = run(SHAPES[0], Some(fault));
        let (job, attempt) = world.committed(&liar, TERMS);
        let id = world.open(&job, attempt, &challenger, &liar);
        let outcome = world.play(
            id,
            honest_defender(&liar),
            honest_challenger(honest(), None),
        );
        assert_eq!(outcome.winner, Side::Challenger);
    }
    check_limits(&world);
}

#[test]
fn a_maximal_node_is_proven_in_one_call() {
    let case = programs::maximal();
    validate::program(&case.program).unwrap_or_else(|fault| panic!("{fault}"));
    let node = &case.program.nodes[programs::MAXIMAL as usize];
    let bound = validate::cost(node, case.program.nodes.len() as u32);
    let truth = Run::new(case.clone(), 2, 1, None);
    let world = World::new();
    let challenger = world.person("challenger");
    // The first step reads the initial value. Step 256 is the first entry of a chunk, so that the
    // entry before it has to be opened instead.
    for r in [0, 256] {
        let (job, attempt) = world.committed(&truth, TERMS);
        let id = world.open(&job, attempt, &challenger, &truth);
        let target = Target {
            segment: 1,
            node: programs::MAXIMAL,
            r,
            ..Target::default()
        };
        let mut defend = honest_defender(&truth);
        let mut proof = 0;
        let outcome = world.play(
            id,
            |game| {
                let mv = defend(game)?;
                if let Move::Prove { left, operands, .. } = &mv {
                    assert_eq!(operands.len(), 8);
                    let opened = operands.iter().flatten().count();
                    assert_eq!((opened, left.is_some()), (8 - usize::from(r > 0), r > 0));
                    let position = game.hash();
                    proof = Play {
                        dispute: id,
                        position,
                        mv: mv.clone(),
                    }
                    .call()
                    .len();
                }
                Some(mv)
            },
            towards(target),
        );
        assert_eq!(outcome.reason, Reason::Proven);
        let time = prove(&world).weight.ref_time;
        println!("proof of the maximal node, step {r}: {proof} bytes, {time} ps, bound {bound:?}");
        assert!(proof > 20_000 && proof as u64 <= bound.bytes);
        world.finalize(&job, attempt);
        world.clear(&job);
    }

    // The last step that is taken: what comes after does not wash the error out.
    let fault = Fault::Accumulator {
        step: 0,
        node: programs::MAXIMAL,
        element: 0,
        r: 511,
    };
    let liar = Run::new(case, 2, 1, Some(fault));
    let (job, attempt) = world.committed(&liar, TERMS);
    let id = world.open(&job, attempt, &challenger, &liar);
    let outcome = world.play(id, honest_defender(&liar), honest_challenger(&truth, None));
    assert!(
        matches!(outcome.reason, Reason::Disproven { .. }),
        "{outcome:?}"
    );
    check_limits(&world);
    world.check_books();
}

/// The highest figures of a proof so far.
fn prove(world: &World) -> Line {
    let table = world.gas();
    let mut lines = table.lines();
    let found = lines.find(|(kind, _)| *kind == "play Prove");
    *found.expect("something was proven").1
}

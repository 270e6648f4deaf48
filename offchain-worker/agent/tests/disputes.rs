//! A cheat's own files against an honest party's, in the bare game.

mod support;

use lockstep_agent::run::fault::{Fault, Level, Place};
use lockstep_agent::run::files::Files;
use lockstep_agent::run::training::{claim, Training, Unobserved};
use lockstep_agent::run::workload::Workload;
use lockstep_protocol::game::{Game, Move, Reason, Side};
use lockstep_protocol::player::{challenge, defend};
use lockstep_protocol::task::Commitment;
use lockstep_protocol::Hash;
use std::path::Path;
use std::sync::Arc;

fn train(dir: &Path, workload: &Arc<Workload>, fault: Option<Fault>) -> (Vec<Hash>, Files) {
    let (store, local) = (support::store(dir), support::local(dir));
    workload.publish(&store).unwrap();
    let device = support::device();
    let mut run = Training::resume(workload.clone(), device, store.clone(), local, fault).unwrap();
    while !run.finished() {
        run.segment(&mut Unobserved).unwrap();
    }
    let checkpoints = run.checkpoints().to_vec();
    let files = Files::new(workload.clone(), device, store, checkpoints.clone(), fault).unwrap();
    (claim(&checkpoints, fault.as_ref()), files)
}

fn commitment(claimed: &[Hash]) -> Commitment {
    Commitment {
        trace: *blake3::hash(&claimed.concat()).as_bytes(),
        state: *claimed.last().unwrap(),
    }
}

/// Plays until the game is over or the defender has nothing to say.
fn play(workload: &Workload, claimed: &[Hash], solver: &mut Files, other: &mut Files) -> Game {
    let mut game = Game::new(&workload.spec, &commitment(claimed));
    let mut revealed = Vec::new();
    while let Some(turn) = game.turn() {
        let mv = match turn {
            Side::Defender => match defend(&game, solver) {
                Ok(mv) => mv,
                Err(_) => {
                    game.time_out();
                    break;
                }
            },
            Side::Challenger => challenge(&game, other, None, &revealed).unwrap(),
        };
        let mv = mv.expect("the side whose turn it is has a move");
        game.play(turn, &mv)
            .unwrap_or_else(|e| panic!("{turn:?}: {e}"));
        revealed = match mv {
            Move::Reveal(bytes) => bytes,
            _ => Vec::new(),
        };
    }
    game
}

#[test]
fn an_error_of_any_level_loses_at_its_place() {
    let workload = Arc::new(support::workload(23, 5));
    let honest_dir = tempfile::tempdir().unwrap();
    let (truth, mut honest) = train(honest_dir.path(), &workload, None);
    let levels = [
        Level::Checkpoint,
        Level::Step,
        Level::State,
        Level::Source,
        Level::Map,
        Level::Fold,
    ];
    for level in levels {
        for (seed, step) in [
            (1, None),
            (2, None),
            (3, Some(0)),
            (4, Some(4)),
            (5, Some(22)),
        ] {
            let place = Place {
                step,
                ..Place::default()
            };
            let device = support::device();
            let fault = Fault::plant(&workload, device, level, place, seed).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let (claimed, mut cheat) = train(dir.path(), &workload, Some(fault));
            assert_ne!(claimed, truth, "{fault}");
            let game = play(&workload, &claimed, &mut cheat, &mut honest);
            assert_eq!(game.winner(), Some(Side::Challenger), "{fault}");
            let reason = match game.phase {
                lockstep_protocol::game::Phase::Over(outcome) => outcome.reason,
                phase => panic!("{phase:?}"),
            };
            if level == Level::Checkpoint {
                assert_eq!(reason, Reason::Timeout, "{fault}");
            } else {
                assert!(
                    matches!(reason, Reason::Disproven { .. }),
                    "{fault}: {reason:?}"
                );
                assert_eq!(game.step, fault.step, "{fault}");
            }
            if matches!(level, Level::Map | Level::Fold | Level::Source) {
                assert_eq!(game.node, fault.node, "{fault}");
            }
            if level == Level::Fold {
                assert_eq!(
                    (game.element, game.r as u64),
                    (fault.element, fault.r),
                    "{fault}"
                );
            }
        }
    }
}

#[test]
fn an_honest_run_wins_against_somebody_who_computes_wrongly() {
    let workload = Arc::new(support::workload(23, 5));
    let (honest_dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (truth, mut honest) = train(honest_dir.path(), &workload, None);
    for level in [
        Level::Step,
        Level::State,
        Level::Map,
        Level::Fold,
        Level::Source,
    ] {
        let fault = Fault::plant(&workload, support::device(), level, Place::default(), 9).unwrap();
        let (_, mut wrong) = train(
            &other_dir.path().join(level.to_string()),
            &workload,
            Some(fault),
        );
        let game = play(&workload, &truth, &mut honest, &mut wrong);
        assert_eq!(game.winner(), Some(Side::Defender), "{fault}");
    }
}

#[test]
fn a_place_is_reproducible_and_can_be_named() {
    let workload = support::workload(23, 5);
    let device = support::device();
    let plant = |place: Place, seed| Fault::plant(&workload, device, Level::Fold, place, seed);
    let first = plant(Place::default(), 77).unwrap();
    assert_eq!(plant(Place::default(), 77).unwrap(), first);
    let written = first.to_string();
    let (_, place) = written.split_once(' ').unwrap();
    assert_eq!(plant(place.parse().unwrap(), 1).unwrap(), first);
    assert!(plant("step=23".parse().unwrap(), 1).is_err());
    assert!(plant("node=3".parse().unwrap(), 1).is_err());
}

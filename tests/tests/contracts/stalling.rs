//! Many against one: what it costs to drown a solver in disputes.

use crate::honest;
use lockstep_interface::dispute::{Withdraw, LOST_BOND_SOLVER};
use lockstep_interface::escrow::{self, Finalize};
use lockstep_protocol::game::{Game, Side};
use lockstep_protocol::random::Rng;
use lockstep_protocol::rehearsal::adversary::random_selection;
use lockstep_protocol::rehearsal::honest_defender;
use lockstep_tests::life::TERMS;
use lockstep_tests::World;

#[test]
fn stalling_sybils_end_poorer_by_their_bonds_and_the_solver_richer() {
    const SYBILS: u32 = 24;
    let world = World::new();
    let (job, attempt) = world.committed(honest(), TERMS);
    let solver = world.person("solver");
    let people: Vec<_> = (0..SYBILS)
        .map(|k| world.person(&format!("sybil{k}")))
        .collect();
    let before: Vec<_> = people.iter().map(|who| world.wealth(who)).collect();
    let start = world.wealth(&solver);

    // All disputes are open at once. The solver answers each one when it is its turn, the sybils
    // stop answering at different depths.
    let opened: Vec<_> = people
        .iter()
        .map(|who| world.open(&job, attempt, who, honest()))
        .collect();
    let mut answer = honest_defender(honest());
    let mut revealed = vec![vec![]; people.len()];
    for round in 0..40 {
        for (k, dispute) in opened.iter().enumerate() {
            let game = world.dispute(*dispute).game;
            let depth = 2 * (k as u32 % 8);
            let mv = match game.turn() {
                Some(Side::Defender) => answer(&game),
                Some(Side::Challenger) if game.position < depth => {
                    let mut rng = Rng::new(k as u64 + round);
                    Some(random_selection(&game, &revealed[k], &mut rng))
                }
                _ => None,
            };
            if let Some(mv) = mv {
                if let Some(bytes) = world.make(*dispute, mv).unwrap() {
                    revealed[k] = bytes;
                }
            }
        }
    }
    let finalize = Finalize {
        task: job.id,
        attempt,
    };
    let end = world.attempt_record(&job, attempt).window_end;
    let mut upheld = 0;
    for dispute in &opened {
        if world.dispute(*dispute).game.turn().is_some() {
            if world.now().time > end {
                let refused = world.tell(&solver, 0, &finalize);
                assert_eq!(refused, Err(escrow::Error::Challenged));
            }
            world.time_out(*dispute);
        }
        world.settle(*dispute);
        upheld += u32::from(world.dispute(*dispute).game.winner() == Some(Side::Defender));
    }
    assert_eq!(upheld, SYBILS, "an honest solver loses none of them");
    world.finalize(&job, attempt);
    let price = world.attempt_record(&job, attempt).price;
    world.clear(&job);
    for (who, before) in people.iter().zip(before) {
        assert_eq!(world.wealth(who), before - TERMS.bond as i128);
    }
    let earned = u128::from(SYBILS) * (TERMS.bond * LOST_BOND_SOLVER / 100);
    assert_eq!(world.wealth(&solver), start + (price + earned) as i128);
    world.check_empty();
}

#[test]
fn drowning_a_solver_costs_more_bonds_than_it_can_lose() {
    // As many disputes as keep an honest solver busy for its whole clock: what the attackers
    // lose when they lose all, and what the solver could lose.
    let terms = TERMS;
    let needed = u128::from(terms.clock / terms.replay);
    assert!(terms.bond * needed >= terms.stake + terms.reward_ceiling);
    // A solver that serves them one after another, each for the whole replay time, is in time
    // for the last one as long as there are no more than that.
    let world = World::new();
    let (job, attempt) = world.committed(honest(), terms);
    let attacker = world.person("attacker");
    let solver = world.person("solver");
    let opened: Vec<_> = (0..needed - 1)
        .map(|_| world.open(&job, attempt, &attacker, honest()))
        .collect();
    let mut answer = honest_defender(honest());
    let mut now: Game;
    for dispute in &opened {
        world.wait(terms.replay - 1_000);
        now = world.dispute(*dispute).game;
        let mv = answer(&now).expect("it is the defender's turn");
        world.make(*dispute, mv).expect("the solver is in time");
    }
    for dispute in &opened {
        world.time_out(*dispute);
        world
            .tell(&solver, 0, &Withdraw { dispute: *dispute })
            .unwrap();
    }
    world.finalize(&job, attempt);
    world.clear(&job);
    world.check_empty();
}

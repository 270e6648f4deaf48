//! Random moves by both sides, with chess clocks: in every unfinished position exactly one clock
//! runs, no move is made for the other side, and every game ends.

use lockstep_protocol::clock::Clocks;
use lockstep_protocol::game::{Game, Move, Refusal, Side};
use lockstep_protocol::random::{self, Rng, Size};
use lockstep_protocol::rehearsal::adversary::{garble, random_selection};
use lockstep_protocol::rehearsal::sample::{run, SHAPES};
use lockstep_protocol::rehearsal::{honest_defender, Run};

const BUDGET: u64 = 10_000;
const INCREMENT: u64 = 50;
const MIN_BLOCKS: u32 = 3;

/// More moves than the deepest game of these tests has.
const LONGEST: u32 = 60;

/// Whether `side` could lose on time if the world stood still for ever from here.
fn runs(clocks: &Clocks, game: &Game, side: Side) -> bool {
    game.turn() == Some(side) && clocks.expired(side, u64::MAX, u32::MAX)
}

/// Plays random moves, right ones, wrong ones and none, at random times, to the end.
fn play(run: &Run, rng: &mut Rng) -> Game {
    let (mut now, mut block) = (rng.below(1 << 40), rng.below(1 << 20) as u32);
    let mut game = Game::new(&run.spec, &run.commitment());
    let mut clocks = Clocks::new(BUDGET, INCREMENT, MIN_BLOCKS, now, block);
    let mut answer = honest_defender(run);
    let mut revealed = Vec::new();
    let mut spent = [0; 2];
    let mut made = [0; 2];
    while let Some(turn) = game.turn() {
        let both = [Side::Defender, Side::Challenger];
        let running = both.map(|side| runs(&clocks, &game, side));
        assert_eq!(running.iter().filter(|running| **running).count(), 1);
        assert!(running[turn as usize], "the clock of whose turn it is");

        let (elapsed, blocks) = match rng.below(8) {
            0 => (rng.below(BUDGET), 0),
            1 => (0, rng.below(10) as u32),
            _ => (rng.below(400), 1),
        };
        now += elapsed;
        block += blocks;
        if clocks.expired(turn, now, block) {
            let idle = game.turn().map(Side::other).expect("the game goes on");
            game.time_out();
            assert_eq!(game.winner(), Some(idle));
            break;
        }
        let right = match turn {
            Side::Defender => answer(&game),
            Side::Challenger => Some(random_selection(&game, &revealed, rng)),
        };
        let right = right.expect("whoever has the turn has a move");
        let mv = match rng.below(4) {
            0 => garble(right, rng),
            _ => right,
        };
        let before = game.clone();
        let refused = game.clone().play(turn.other(), &mv);
        assert_eq!(refused, Err(Refusal::NotYourTurn));
        match game.play(turn, &mv) {
            Ok(()) => {
                assert_eq!(game.position, before.position + 1);
                let since = now - clocks.since;
                clocks.moved(turn, now, block);
                spent[turn as usize] += since;
                made[turn as usize] += 1;
                let left = clocks.left(turn) + spent[turn as usize];
                assert!(left >= BUDGET, "no time is lost but what was used");
                assert!(clocks.left(turn) <= BUDGET + INCREMENT * made[turn as usize]);
                if let Move::Reveal(bytes) = mv {
                    revealed = bytes;
                }
            }
            Err(_) => assert_eq!(game, before, "a refused move changes nothing"),
        }
        assert!(game.position < LONGEST, "every game ends");
    }
    assert!(game.winner().is_some());
    assert_eq!(
        game.play(Side::Defender, &Move::DisputeNodes),
        Err(Refusal::Over)
    );
    game
}

#[test]
fn exactly_one_clock_runs_in_every_position_of_the_sample_task() {
    for shape in SHAPES {
        let run = run(shape, None);
        let mut winners = [0; 2];
        for seed in 0..400 {
            let game = play(&run, &mut Rng::new(seed));
            let winner = game.winner().expect("the game is over");
            winners[winner as usize] += 1;
        }
        assert!(winners.iter().all(|wins| *wins > 10), "{winners:?}");
    }
}

#[test]
fn exactly_one_clock_runs_in_every_position_of_random_programs() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let steps = 1 + rng.below(70) as u32;
        let segment = 1 + rng.below(steps.into()) as u32;
        let run = Run::new(random::program(seed, Size::SMALL), steps, segment, None);
        for _ in 0..4 {
            play(&run, &mut rng);
        }
    }
}

#[test]
fn a_player_that_moves_within_the_increment_never_runs_out() {
    let mut clocks = Clocks::new(BUDGET, INCREMENT, 0, 0, 0);
    for turn in 0..100_000u64 {
        let now = turn * 2 * INCREMENT + INCREMENT;
        assert!(!clocks.expired(Side::Defender, now, u32::MAX));
        clocks.moved(Side::Defender, now, 0);
        assert!(!clocks.expired(Side::Challenger, now + INCREMENT, u32::MAX));
        clocks.moved(Side::Challenger, now + INCREMENT, 0);
    }
    assert_eq!((clocks.defender, clocks.challenger), (BUDGET, BUDGET));
}

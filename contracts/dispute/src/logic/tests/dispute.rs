use super::*;
use crate::logic::{dispute::*, take_burn};
use lockstep_interface::{
    cell::Cell,
    dispute::{DisputeRecord, Error, Share},
    escrow::Challenged,
    Balance,
};
use lockstep_protocol::{
    game::{self, Game, Move, Phase, Reason, Refusal, Side},
    task::Commitment,
    tree::{self, Span},
};
use scale::Encode;

fn checkpoints() -> Vec<u8> {
    (0..100).flat_map(|i| [i; 32]).collect()
}

fn challenged() -> Challenged {
    Challenged {
        solver: SOLVER,
        commitment: Commitment {
            trace: tree::hash(&checkpoints()),
            state: [99; 32],
        },
    }
}

fn opened() -> DisputeRecord {
    let content = content([0; 32], 2);
    open(4, 1, &content, CHALLENGER, 601, &challenged(), at(1000, 10)).unwrap()
}

fn reveal() -> Move {
    let file = checkpoints();
    let values = tree::prove_frontier(&file, Span::whole(file.len() as u64));
    Move::Reveal(values.concat())
}

fn select() -> Move {
    let file = checkpoints();
    let whole = Span::whole(file.len() as u64);
    Move::SelectSubtree {
        index: 0,
        value: tree::prove_frontier(&file, whole)[0],
        siblings: tree::prove_child(&file, whole, 0),
    }
}

/// Makes a move from the present position.
fn make(record: &mut DisputeRecord, caller: Account, mv: &Move, at: Moment) -> Result<Side, Error> {
    let position = record.game.hash();
    play(record, caller, &position, mv, at)
}

/// A game that `winner` won by the other's timeout, and what burns.
fn won_by(winner: Side) -> (DisputeRecord, Balance) {
    let (mut record, mut burn) = (opened(), 0);
    if winner == Side::Defender {
        make(&mut record, SOLVER, &reveal(), at(1000, 10)).unwrap();
    }
    let outcome = settle(&mut record, &mut burn, at(2000, 100)).unwrap();
    assert_eq!(outcome.winner, winner);
    (record, burn)
}

#[test]
fn the_bond_is_exact() {
    for value in [0, 600, 602] {
        let content = content([0; 32], 2);
        assert_eq!(
            open(4, 1, &content, CHALLENGER, value, &challenged(), at(0, 0)).err(),
            Some(Error::Value)
        );
    }
}

#[test]
fn only_the_side_whose_turn_it_is_moves_and_only_from_the_position_it_names() {
    let mut record = opened();
    let before = record.clone();
    let here = before.game.hash();
    let elsewhere = Game {
        after: [98; 32],
        ..before.game.clone()
    };
    let refused = [
        (CHALLENGER, here, Error::Move(Refusal::NotYourTurn)),
        (STRANGER, here, Error::NotParty),
        (SOLVER, elsewhere.hash(), Error::Position),
        (SOLVER, [0; 32], Error::Position),
    ];
    for (caller, position, error) in refused {
        let reply = play(&mut record, caller, &position, &reveal(), at(1001, 11));
        assert_eq!(reply, Err(error));
    }
    let wrong = Move::Reveal(vec![0; 4 * 32]);
    assert_eq!(
        make(&mut record, SOLVER, &wrong, at(1001, 11)),
        Err(Error::Move(Refusal::WrongBytes))
    );
    assert_eq!(record, before);
    assert_eq!(
        make(&mut record, SOLVER, &reveal(), at(1001, 11)),
        Ok(Side::Defender)
    );
    assert_eq!(
        play(&mut record, SOLVER, &here, &reveal(), at(1001, 11)),
        Err(Error::Move(Refusal::NotYourTurn)),
        "a move that lands twice does nothing the second time"
    );
    assert_eq!(
        make(&mut record, CHALLENGER, &select(), at(1002, 12)),
        Ok(Side::Challenger)
    );
    assert_eq!(record.block, 12);
    assert_eq!(
        play(&mut record, SOLVER, &here, &reveal(), at(1002, 12)),
        Err(Error::Position)
    );
}

#[test]
fn a_side_runs_out_of_time_only_when_time_and_blocks_have_passed() {
    let mut burn = 0;
    for late in [at(1071, 12), at(1070, 13)] {
        let mut record = opened();
        assert_eq!(settle(&mut record, &mut burn, late), Err(Error::Running));
        make(&mut record, SOLVER, &reveal(), late).unwrap();
    }
    let mut record = opened();
    assert_eq!(
        make(&mut record, SOLVER, &reveal(), at(1071, 13)),
        Err(Error::Expired)
    );
    assert_eq!(
        settle(&mut record, &mut burn, at(1071, 13)),
        Ok(game::Outcome {
            winner: Side::Challenger,
            reason: Reason::Timeout
        })
    );
    assert_eq!(
        settle(&mut record, &mut burn, at(9999, 99)),
        Err(Error::Over)
    );
    assert_eq!(
        make(&mut record, SOLVER, &reveal(), at(9999, 99)),
        Err(Error::Over)
    );
}

#[test]
fn a_game_that_a_move_decided_is_settled_once_and_at_any_time() {
    let outcome = game::Outcome {
        winner: Side::Defender,
        reason: Reason::Proven,
    };
    let mut record = opened();
    record.game.phase = Phase::Over(outcome);
    assert_eq!(
        make(&mut record, SOLVER, &reveal(), at(1001, 11)),
        Err(Error::Over)
    );
    for caller in [SOLVER, CHALLENGER] {
        assert_eq!(withdraw(&mut record, caller), Err(Error::NothingOwed));
    }
    assert_eq!(check_prune(&record, CHALLENGER), Err(Error::NotOver));
    let mut burn = 5;
    assert_eq!(settle(&mut record, &mut burn, at(1001, 11)), Ok(outcome));
    assert_eq!((record.owed_solver, burn), (450, 156));
    assert_eq!(
        settle(&mut record, &mut burn, at(1001, 11)),
        Err(Error::Over)
    );
    assert_eq!((record.owed_solver, burn), (450, 156));
}

#[test]
fn a_won_dispute_returns_the_bond() {
    let (mut record, burn) = won_by(Side::Challenger);
    assert_eq!(
        (record.owed_challenger, record.owed_solver, burn),
        (601, 0, 0)
    );
    assert_eq!(withdraw(&mut record, SOLVER), Err(Error::NothingOwed));
    assert_eq!(withdraw(&mut record, CHALLENGER), Ok(601));
    assert_eq!(withdraw(&mut record, CHALLENGER), Err(Error::NothingOwed));
}

#[test]
fn a_lost_bond_goes_to_the_solver_and_burns() {
    let (mut record, burn) = won_by(Side::Defender);
    assert_eq!(
        (record.owed_challenger, record.owed_solver, burn),
        (0, 450, 151)
    );
    assert_eq!(withdraw(&mut record, CHALLENGER), Err(Error::NothingOwed));
    assert_eq!(withdraw(&mut record, STRANGER), Err(Error::NothingOwed));
    assert_eq!(withdraw(&mut record, SOLVER), Ok(450));
}

#[test]
fn nothing_is_withdrawn_before_the_end() {
    let mut record = opened();
    for caller in [SOLVER, CHALLENGER] {
        assert_eq!(withdraw(&mut record, caller), Err(Error::NothingOwed));
    }
}

#[test]
fn a_solver_that_disputes_itself_still_loses_a_quarter_of_the_bond() {
    let (mut record, burn) = won_by(Side::Defender);
    record.challenger = SOLVER;
    assert_eq!(withdraw(&mut record, SOLVER), Ok(450));
    assert_eq!(burn, 151);
}

#[test]
fn a_share_is_claimed_once_and_by_the_winner_only() {
    let (mut record, _) = won_by(Side::Challenger);
    assert_eq!(take_share(&mut record, CHALLENGER), Err(Error::NothingOwed));
    record.share = Share::Earned;
    assert_eq!(take_share(&mut record, SOLVER), Err(Error::NotParty));
    take_share(&mut record, CHALLENGER).unwrap();
    assert_eq!(take_share(&mut record, CHALLENGER), Err(Error::NothingOwed));
}

#[test]
fn only_the_challenger_prunes_and_only_when_nothing_is_owed() {
    assert_eq!(check_prune(&opened(), CHALLENGER), Err(Error::NotOver));
    let (mut record, _) = won_by(Side::Defender);
    assert_eq!(check_prune(&record, CHALLENGER), Err(Error::Owed));
    withdraw(&mut record, SOLVER).unwrap();
    for caller in [SOLVER, STRANGER] {
        assert_eq!(check_prune(&record, caller), Err(Error::NotParty));
    }
    record.share = Share::Earned;
    assert_eq!(check_prune(&record, CHALLENGER), Err(Error::Owed));
    record.share = Share::Paid;
    assert_eq!(check_prune(&record, CHALLENGER), Ok(()));
}

#[test]
fn a_dispute_occupies_the_same_storage_in_every_position() {
    const BYTES: usize = crate::DISPUTE_BYTES;
    let mut record = opened();
    let mut longest = 0;
    let over = |reason| {
        Phase::Over(game::Outcome {
            winner: Side::Defender,
            reason,
        })
    };
    let phases = [
        Phase::Reveal,
        Phase::Select,
        Phase::OpenSteps,
        Phase::Prove,
        over(Reason::Timeout),
        over(Reason::Disproven { found: 7 }),
    ];
    for phase in phases {
        record.game.phase = phase;
        longest = longest.max(record.encoded_size());
        assert_eq!(
            Cell::<_, BYTES>(record.clone()).encode().len(),
            BYTES,
            "{phase:?}"
        );
    }
    assert_eq!(longest, BYTES, "no byte is paid for in vain");
}

#[test]
fn burning_waits_for_the_existential_deposit() {
    let mut burn = 9;
    assert_eq!(take_burn(&mut burn, 10), Err(Error::Dust));
    burn = 10;
    assert_eq!(take_burn(&mut burn, 10), Ok(10));
    assert_eq!(take_burn(&mut burn, 0), Err(Error::NothingOwed));
}

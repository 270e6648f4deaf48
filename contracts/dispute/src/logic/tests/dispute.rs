use super::*;
use crate::logic::{dispute::*, take_burn};
use lockstep_interface::{
    cell::Cell,
    dispute::{DisputeRecord, Error, Share},
    escrow::{Challenged, Outcome},
    Balance,
};
use lockstep_protocol::{
    game::{self, Move, Phase, Reason, Refusal, Side},
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

/// A game that `winner` won by the other's timeout, and what burns.
fn won_by(winner: Side) -> (DisputeRecord, Balance) {
    let (mut record, mut burn) = (opened(), 0);
    if winner == Side::Defender {
        play(&mut record, &mut burn, SOLVER, 0, &reveal(), at(1000, 10)).unwrap();
    }
    time_out(&mut record, &mut burn, at(2000, 100)).unwrap();
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
    let (mut record, mut burn) = (opened(), 0);
    let before = record.clone();
    let refused = [
        (CHALLENGER, 0, Error::Move(Refusal::NotYourTurn)),
        (STRANGER, 0, Error::NotParty),
        (SOLVER, 1, Error::Position),
    ];
    for (caller, position, error) in refused {
        let reply = play(
            &mut record,
            &mut burn,
            caller,
            position,
            &reveal(),
            at(1001, 11),
        );
        assert_eq!(reply, Err(error));
    }
    let wrong = Move::Reveal(vec![0; 4 * 32]);
    assert_eq!(
        play(&mut record, &mut burn, SOLVER, 0, &wrong, at(1001, 11)),
        Err(Error::Move(Refusal::WrongBytes))
    );
    assert_eq!(record, before);
    assert_eq!(
        play(&mut record, &mut burn, SOLVER, 0, &reveal(), at(1001, 11)),
        Ok((Side::Defender, None))
    );
    assert_eq!(
        play(&mut record, &mut burn, SOLVER, 0, &reveal(), at(1001, 11)),
        Err(Error::Move(Refusal::NotYourTurn)),
        "a move that lands twice does nothing the second time"
    );
    assert_eq!(
        play(
            &mut record,
            &mut burn,
            CHALLENGER,
            1,
            &select(),
            at(1002, 12)
        ),
        Ok((Side::Challenger, None))
    );
    assert_eq!(record.block, 12);
}

#[test]
fn a_side_runs_out_of_time_only_when_time_and_blocks_have_passed() {
    let mut burn = 0;
    for late in [at(1071, 12), at(1070, 13)] {
        let mut record = opened();
        assert_eq!(time_out(&mut record, &mut burn, late), Err(Error::Running));
        play(&mut record, &mut burn, SOLVER, 0, &reveal(), late).unwrap();
    }
    let mut record = opened();
    assert_eq!(
        play(&mut record, &mut burn, SOLVER, 0, &reveal(), at(1071, 13)),
        Err(Error::Expired)
    );
    assert_eq!(
        time_out(&mut record, &mut burn, at(1071, 13)),
        Ok(Some(Outcome::Wrong))
    );
    assert_eq!(
        time_out(&mut record, &mut burn, at(9999, 99)),
        Err(Error::Over)
    );
    assert_eq!(
        play(&mut record, &mut burn, SOLVER, 0, &reveal(), at(9999, 99)),
        Err(Error::Over)
    );
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

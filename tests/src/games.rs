//! Games through the real contract, and what the strategies in them play.

use crate::world::World;
use lockstep_agent::chain::Receipt;
use lockstep_interface::dispute::{self, Error, Event};
use lockstep_interface::{DisputeId, Logged};
use lockstep_protocol::game::{File, Game, Move, Outcome, Phase, Refusal, Side};
use lockstep_protocol::program::Node;
use lockstep_protocol::{tree, validate, Hash};
use scale::Decode;

impl World {
    /// Plays a dispute out. Each player sees the position and what the chain says was revealed
    /// last; a player that returns `None`, or a move that is refused, lets its time run out.
    ///
    /// The same moves are made in the protocol's own game, with which the contract must agree at
    /// every position.
    ///
    /// # Panics
    /// When the contract and the protocol disagree.
    pub fn play(
        &self,
        dispute: DisputeId,
        mut defender: impl FnMut(&Game) -> Option<Move>,
        mut challenger: impl FnMut(&Game, &[u8]) -> Option<Move>,
    ) -> Outcome {
        let mut revealed = Vec::new();
        loop {
            let game = self.dispute(dispute).game;
            let mv = match (game.turn(), game.phase) {
                (Some(Side::Defender), _) => defender(&game),
                (Some(Side::Challenger), _) => challenger(&game, &revealed),
                (None, Phase::Over(outcome)) => {
                    self.settle(dispute);
                    return outcome;
                }
                (None, _) => unreachable!("a game without a turn is over"),
            };
            match mv.map(|mv| self.make(dispute, mv)) {
                Some(Ok(Some(bytes))) => revealed = bytes,
                Some(Ok(None)) => {}
                Some(Err(_)) | None => self.time_out(dispute),
            }
        }
    }

    /// Makes a move for the side whose turn it is. Replies with what was revealed, as the chain's
    /// events tell it.
    ///
    /// # Errors
    /// Why the move is refused; the position is then unchanged.
    ///
    /// # Panics
    /// When the contract and the protocol disagree, or it is nobody's turn.
    pub fn make(&self, dispute: DisputeId, mv: Move) -> Result<Option<Vec<u8>>, Refusal> {
        let before = self.dispute(dispute);
        let turn = before.game.turn().expect("the game goes on");
        let mut after = before.game.clone();
        let ruling = after.play(turn, &mv);
        let mover = match turn {
            Side::Defender => before.solver,
            Side::Challenger => before.challenger,
        };
        let message = dispute::Play {
            dispute,
            position: before.game.hash(),
            mv,
        };
        let sent = self.tell(&self.signer(&mover), 0, &message);
        let now = self.dispute(dispute);
        match sent {
            Ok(receipt) => {
                assert_eq!(ruling, Ok(()), "the protocol refuses {:?}", message.mv);
                assert_eq!(now.game, after, "the contract's position is the protocol's");
                assert_eq!(receipt.deposit, 0, "a move moves no storage deposit");
                let kind = format!("play {}", name(&message.mv));
                self.gas
                    .borrow_mut()
                    .add(&kind, receipt.weight, receipt.bytes);
                check_cost(&before.game, &message.mv, &receipt);
                Ok(self.revealed(&receipt))
            }
            Err(Error::Move(refusal)) => {
                assert_eq!(ruling, Err(refusal), "the protocol allows {:?}", message.mv);
                assert_eq!(now, before, "a refused move changes nothing");
                Err(refusal)
            }
            Err(error) => panic!("the move was refused for another reason: {error}"),
        }
    }

    /// Lets the side whose turn it is run out of time.
    ///
    /// # Panics
    /// When a timeout is accepted too early or refused afterwards.
    pub fn time_out(&self, dispute: DisputeId) {
        let record = self.dispute(dispute);
        let turn = record.game.turn().expect("the game goes on");
        let claim = dispute::Settle { dispute };
        let anyone = self.person("bystander");
        let now = self.now();
        if !record.clocks.expired(turn, now.time, now.block) {
            assert_eq!(self.tell(&anyone, 0, &claim), Err(Error::Running));
        }
        let end = record.clocks.since + record.clocks.left(turn);
        if self.now().time <= end {
            self.wait_until(end + 1);
        }
        while self.now().block <= record.clocks.since_block + record.clocks.min_blocks {
            self.wait(1);
        }
        let receipt = self
            .tell(&anyone, 0, &claim)
            .expect("the clock has expired");
        assert_eq!(receipt.deposit, 0, "a timeout moves no storage deposit");
        let winner = self.dispute(dispute).game.winner();
        assert_eq!(winner, Some(turn.other()), "the side that stalled loses");
    }

    /// Settles a dispute that is decided, unless it is settled.
    ///
    /// # Panics
    /// When it is refused.
    pub fn settle(&self, dispute: DisputeId) {
        if self.dispute(dispute).settled {
            return;
        }
        let anyone = self.person("bystander");
        let receipt = self
            .tell(&anyone, 0, &dispute::Settle { dispute })
            .expect("the dispute is decided");
        assert_eq!(receipt.deposit, 0, "settling moves no storage deposit");
        let again = self.tell(&anyone, 0, &dispute::Settle { dispute });
        assert_eq!(again, Err(Error::Over));
    }

    fn revealed(&self, receipt: &Receipt) -> Option<Vec<u8>> {
        receipt
            .events
            .iter()
            .filter(|event| event.contract == self.at().dispute)
            .find_map(|event| {
                let log: dispute::Log =
                    Logged::decode(&mut &event.data[..]).expect("the event has its form");
                match log.event {
                    Event::Moved {
                        mv: Move::Reveal(bytes),
                        ..
                    } => Some(bytes),
                    _ => None,
                }
            })
    }
}

/// A proof costs no more than the validator has foreseen for its node.
fn check_cost(game: &Game, mv: &Move, receipt: &Receipt) {
    let (Move::Prove { node, .. } | Move::ProveRecord { node, .. }) = mv else {
        return;
    };
    let node = Node::decode(&mut &node[..]).expect("the game has taken the node");
    let bound = validate::cost(&node, game.frame.nodes);
    assert!(receipt.bytes as u64 <= bound.bytes, "{receipt:?} {bound:?}");
    assert!(
        receipt.weight.ref_time <= bound.time,
        "{receipt:?} {bound:?}"
    );
}

/// What a move is called.
pub fn name(mv: &Move) -> &'static str {
    match mv {
        Move::Reveal(_) => "Reveal",
        Move::SelectSubtree { .. } => "SelectSubtree",
        Move::SelectEntry { .. } => "SelectEntry",
        Move::OpenSteps { .. } => "OpenSteps",
        Move::OpenNodes { .. } => "OpenNodes",
        Move::DisputeNodes => "DisputeNodes",
        Move::DisputeState => "DisputeState",
        Move::OpenNode { .. } => "OpenNode",
        Move::ShowSlot(_) => "ShowSlot",
        Move::OpenFold { .. } => "OpenFold",
        Move::Prove { .. } => "Prove",
        Move::ProveRecord { .. } => "ProveRecord",
    }
}

/// Where a challenger wants the game to go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Target {
    /// The checkpoint.
    pub segment: u32,
    /// The step within its segment.
    pub step: u32,
    /// The node, or the slot when `state` is set.
    pub node: u32,
    /// Whether to dispute that the node trace ends in the state.
    pub state: bool,
    /// The element.
    pub element: u64,
    /// The step of the fold.
    pub r: u32,
}

/// A challenger that leads the game to a place, whatever is right.
pub fn towards(target: Target) -> impl FnMut(&Game, &[u8]) -> Option<Move> {
    move |game, revealed| {
        let search = &game.search;
        if game.phase == Phase::Choose {
            return Some(match target.state {
                true => Move::DisputeState,
                false => Move::DisputeNodes,
            });
        }
        let entry = match search.file {
            File::Checkpoints => target.segment.into(),
            File::Steps => target.step.into(),
            File::Nodes | File::State => target.node.into(),
            File::Tensor => target.element,
            File::Fold => target.r.into(),
        };
        let byte = entry * u64::from(search.width);
        if search.span.count == 1 {
            let first = search.span.byte_range(search.len).start;
            return Some(Move::SelectEntry {
                index: ((byte - first) / u64::from(search.width)) as u32,
                chunk: revealed.to_vec(),
            });
        }
        let values: Vec<Hash> = revealed
            .chunks_exact(32)
            .map(|value| value.try_into().expect("chunks have 32 bytes"))
            .collect();
        let index = tree::frontier(search.span)
            .iter()
            .position(|span| span.byte_range(search.len).contains(&byte))?;
        Some(Move::SelectSubtree {
            index: index as u32,
            value: values[index],
            siblings: tree::frontier_siblings(search.span, &values, index as u32),
        })
    }
}

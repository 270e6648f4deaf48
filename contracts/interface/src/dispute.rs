//! The dispute contract: the game between a solver and a challenger, and demands for withheld
//! checkpoints.

use crate::{
    escrow, Account, Attempt, Balance, BlockNumber, DemandId, DisputeId, Hash, Logged, Millis,
    Task, TaskId,
};
use alloc::vec::Vec;
use core::fmt;
use lockstep_protocol::{
    clock::Clocks,
    game::{self, Game, Move, Refusal, Side},
    tree::Opening,
};
use scale::{Decode, Encode};
use scale_info::TypeInfo;

/// The part of a lost bond that the solver receives for its defence, in percent. The rest burns.
pub const LOST_BOND_SOLVER: Balance = 75;

/// Records that one page of a list holds, at most.
pub const PAGE: u32 = 64;

/// Where a winner's share of the slashed stake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Share {
    /// Nothing was won yet, or no share was earned.
    None,
    /// Earned; payable when no challenge of the attempt is open any more.
    Earned,
    /// Paid.
    Paid,
}

/// A dispute as the contract stores it. The challenger pays for the storage; its size is fixed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct DisputeRecord {
    /// Which task.
    pub task: TaskId,
    /// Which attempt.
    pub attempt: Attempt,
    /// Who defends.
    pub solver: Account,
    /// Who disputes.
    pub challenger: Account,
    /// What the challenger stands to lose.
    pub bond: Balance,
    /// The block of the latest event: `Opened`, `Moved`, `Decided` or `Settled`.
    pub block: BlockNumber,
    /// Both sides' clocks.
    pub clocks: Clocks,
    /// What the challenger can withdraw.
    pub owed_challenger: Balance,
    /// What the solver can withdraw.
    pub owed_solver: Balance,
    /// The challenger's share of the slashed stake.
    pub share: Share,
    /// Whether the bond was divided and escrow told the outcome.
    pub settled: bool,
    /// The position.
    pub game: Game,
}

/// Where a demand stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum DemandStatus {
    /// Waits for the solver.
    Waiting,
    /// The solver has posted the chunk, or shown that there is none.
    Answered,
    /// The solver has not answered in time.
    Failed,
}

/// A demand as the contract stores it. The demander pays for the storage; its size is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct DemandRecord {
    /// Which task.
    pub task: TaskId,
    /// Which attempt.
    pub attempt: Attempt,
    /// Who must answer.
    pub solver: Account,
    /// Who asked.
    pub demander: Account,
    /// What is paid for the answer.
    pub fee: Balance,
    /// What is asked for.
    pub place: Place,
    /// When it was asked.
    pub since: Millis,
    /// The block in which it was asked.
    pub since_block: BlockNumber,
    /// Time to answer.
    pub clock: Millis,
    /// Blocks that must also pass before it fails.
    pub min_blocks: BlockNumber,
    /// Where it stands.
    pub status: DemandStatus,
    /// The block of the answer, whose `Answered` event has the chunk; 0 before.
    pub block: BlockNumber,
    /// What the demander can withdraw.
    pub owed_demander: Balance,
    /// What the solver can withdraw.
    pub owed_solver: Balance,
    /// The demander's share of the slashed stake.
    pub share: Share,
}

impl DemandRecord {
    /// Whether the time to answer has run out.
    pub fn expired(&self, now: Millis, block: BlockNumber) -> bool {
        now.saturating_sub(self.since) > self.clock
            && block.saturating_sub(self.since_block) > self.min_blocks
    }
}

/// A chunk of a published checkpoint, and the hashes and lengths that lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Place {
    /// BLAKE3 of the checkpoint trace.
    pub trace: Hash,
    /// Checkpoints of the task.
    pub segments: u32,
    /// BLAKE3 of the program file.
    pub program: Hash,
    /// Nodes of the program.
    pub nodes: u32,
    /// State slots of the program.
    pub slots: u32,
    /// Which checkpoint.
    pub segment: u32,
    /// Which tensor of the state.
    pub slot: u32,
    /// Which chunk of 1 KiB of the tensor.
    pub chunk: u64,
}

/// The answer to a demand.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Answer {
    /// Encoding of the slot's state source, which tells the tensor's length.
    pub node: Vec<u8>,
    /// Opens the hash of that encoding in the program.
    pub program: Opening,
    /// The chunk; `None` when the tensor ends before it.
    pub chunk: Option<AnswerChunk>,
}

/// The demanded chunk, opened from the checkpoint trace downwards.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct AnswerChunk {
    /// Opens the checkpoint in the trace.
    pub checkpoint: Opening,
    /// Opens the tensor's hash in the state file.
    pub tensor: Opening,
    /// The chunk, opened in the tensor.
    pub data: Opening,
}

/// The contract's settings and totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Config {
    /// The escrow contract.
    pub escrow: Account,
    /// What waits to be burned.
    pub burn: Balance,
}

/// One line of a list of disputes or demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Listed {
    /// Its number.
    pub id: u64,
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: Attempt,
    /// Who defends or must answer.
    pub solver: Account,
    /// Who disputes or asks.
    pub challenger: Account,
    /// Whether it is not over.
    pub open: bool,
}

messages! {
    /// Disputes a commitment and posts the bond, exactly. Payable.
    "open" Open {
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
        /// The whole task, as it was submitted.
        content: Task,
        /// The checkpoint trace that the challenger means.
        trace: Hash,
    } -> Result<DisputeId, Error>;

    /// Makes a move. Only the side whose turn it is, while its clock runs.
    "play" Play {
        /// Which dispute.
        dispute: DisputeId,
        /// The position that the move answers: [`Game::hash`].
        position: Hash,
        /// The move.
        mv: Move,
    } -> Result<(), Error>;

    /// Settles a dispute that a move has decided, or whose mover's clock has expired: divides the
    /// bond and tells escrow. Anyone.
    "settle" Settle {
        /// Which dispute.
        dispute: DisputeId,
    } -> Result<(), Error>;

    /// Asks the solver to post one chunk of a checkpoint and pays the fee, exactly. Payable.
    "demand" Demand {
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
        /// The whole task, as it was submitted.
        content: Task,
        /// The checkpoint trace that the demander means.
        trace: Hash,
        /// Which checkpoint, counted from 0.
        segment: u32,
        /// Which tensor of the state.
        slot: u32,
        /// Which chunk of 1 KiB of the tensor.
        chunk: u64,
    } -> Result<DemandId, Error>;

    /// Answers a demand. Only the attempt's solver, while the clock runs.
    "answer" GiveAnswer {
        /// Which demand.
        demand: DemandId,
        /// The chunk, or the proof that there is none.
        answer: Answer,
    } -> Result<(), Error>;

    /// Ends a demand whose clock has expired: the attempt is slashed. Anyone.
    "expire_demand" ExpireDemand {
        /// Which demand.
        demand: DemandId,
    } -> Result<(), Error>;

    /// Pays the caller what a dispute that is over owes it. Replies with the amount.
    "withdraw" Withdraw {
        /// Which dispute.
        dispute: DisputeId,
    } -> Result<Balance, Error>;

    /// Pays the caller what a demand that is over owes it. Replies with the amount.
    "withdraw_fee" WithdrawFee {
        /// Which demand.
        demand: DemandId,
    } -> Result<Balance, Error>;

    /// Pays the challenger its share of the slashed stake, once no challenge of the attempt is
    /// open. Replies with the amount.
    "claim_share" ClaimShare {
        /// Which dispute.
        dispute: DisputeId,
    } -> Result<Balance, Error>;

    /// As `claim_share`, for a demand.
    "claim_demand_share" ClaimDemandShare {
        /// Which demand.
        demand: DemandId,
    } -> Result<Balance, Error>;

    /// Sends what burns to [`BURN_ACCOUNT`](crate::BURN_ACCOUNT), once it exceeds the
    /// existential deposit. Anyone. Replies with the amount.
    "flush_burn" FlushBurn {} -> Result<Balance, Error>;

    /// Removes a dispute that is over and owes nothing. Only the challenger.
    "prune" Prune {
        /// Which dispute.
        dispute: DisputeId,
    } -> Result<(), Error>;

    /// Removes a demand that is over and owes nothing. Only the demander.
    "prune_demand" PruneDemand {
        /// Which demand.
        demand: DemandId,
    } -> Result<(), Error>;

    /// How many disputes were opened: the next dispute's number.
    "dispute_count" GetDisputeCount {} -> DisputeId;

    /// How many demands were made: the next demand's number.
    "demand_count" GetDemandCount {} -> DemandId;

    /// A dispute; `None` when it never was or is pruned.
    "dispute" GetDispute {
        /// Which dispute.
        dispute: DisputeId,
    } -> Option<DisputeRecord>;

    /// A demand; `None` when it never was or is pruned.
    "demand_record" GetDemand {
        /// Which demand.
        demand: DemandId,
    } -> Option<DemandRecord>;

    /// The disputes with numbers `from..from + limit` that are not pruned.
    "list_disputes" ListDisputes {
        /// The lowest number.
        from: DisputeId,
        /// How many numbers to look at, at most [`PAGE`].
        limit: u32,
    } -> Vec<Listed>;

    /// The demands with numbers `from..from + limit` that are not pruned.
    "list_demands" ListDemands {
        /// The lowest number.
        from: DemandId,
        /// How many numbers to look at, at most [`PAGE`].
        limit: u32,
    } -> Vec<Listed>;

    /// The contract's settings and totals.
    "config" GetConfig {} -> Config;
}

/// An event of this contract as the chain shows it; its subject is the task whose result is disputed.
pub type Log = Logged<TaskId, Event>;

/// What happened in the dispute contract.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Event {
    /// A commitment is disputed.
    Opened {
        /// The dispute's number.
        dispute: DisputeId,
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
        /// By whom.
        challenger: Account,
    },
    /// A move that did not end the game.
    Moved {
        /// Which dispute.
        dispute: DisputeId,
        /// Moves made before it.
        position: u32,
        /// By which side.
        side: Side,
        /// The move, with all that it reveals.
        mv: Move,
    },
    /// A move ended the game.
    Decided {
        /// Which dispute.
        dispute: DisputeId,
        /// Moves made before it.
        position: u32,
        /// By which side.
        side: Side,
        /// Who won, and why.
        outcome: game::Outcome,
    },
    /// A dispute is over.
    Settled {
        /// Which dispute.
        dispute: DisputeId,
        /// Who won, and why.
        outcome: game::Outcome,
        /// What the challenger can withdraw of the bond.
        to_challenger: Balance,
        /// What the solver can withdraw of the bond.
        to_solver: Balance,
        /// What burns of the bond.
        burned: Balance,
    },
    /// A chunk is demanded.
    Demanded {
        /// The demand's number.
        demand: DemandId,
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: Attempt,
        /// By whom.
        demander: Account,
        /// Which checkpoint.
        segment: u32,
        /// Which tensor.
        slot: u32,
        /// Which chunk.
        chunk: u64,
    },
    /// A demand was answered.
    Answered {
        /// Which demand.
        demand: DemandId,
        /// The chunk; `None` when the tensor ends before it.
        data: Option<Vec<u8>>,
    },
    /// A demand was not answered in time.
    DemandFailed {
        /// Which demand.
        demand: DemandId,
    },
    /// A side of a dispute was paid.
    Withdrawn {
        /// Which dispute.
        dispute: DisputeId,
        /// Who.
        to: Account,
        /// How much.
        amount: Balance,
    },
    /// A side of a demand was paid.
    FeeWithdrawn {
        /// Which demand.
        demand: DemandId,
        /// Who.
        to: Account,
        /// How much.
        amount: Balance,
    },
    /// What waited to be burned is gone.
    Burned {
        /// How much.
        amount: Balance,
    },
    /// A dispute was removed.
    Pruned {
        /// Which dispute.
        dispute: DisputeId,
    },
    /// A demand was removed.
    DemandPruned {
        /// Which demand.
        demand: DemandId,
    },
}

/// Why the dispute contract refuses a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Error {
    /// The transferred value is not the bond or the fee.
    Value,
    /// There is no such dispute.
    NoDispute,
    /// There is no such demand.
    NoDemand,
    /// The task has no such checkpoint or slot.
    NoPlace,
    /// The caller has no part in this.
    NotParty,
    /// The dispute is at another position.
    Position,
    /// The move is refused.
    Move(Refusal),
    /// The side's clock has expired.
    Expired,
    /// The clock has not expired.
    Running,
    /// It is over.
    Over,
    /// It is not over.
    NotOver,
    /// The node is not the state source of the demanded slot.
    WrongNode,
    /// An opening of the answer is missing, wrong, or was not asked for.
    WrongOpening,
    /// Something is still owed.
    Owed,
    /// Nothing is owed to the caller.
    NothingOwed,
    /// What waits to be burned is below the existential deposit.
    Dust,
    /// The payment was refused, for example since the receiver would stay below the existential
    /// deposit.
    Transfer,
    /// Escrow refused.
    Escrow(escrow::Error),
    /// Escrow did not answer as it should.
    EscrowCall,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Error::Move(refusal) => return write!(f, "the move is refused: {refusal}"),
            Error::Escrow(error) => return write!(f, "escrow refuses: {error}"),
            Error::Value => "the transferred value must be exactly the terms' bond or fee",
            Error::NoDispute => "there is no such dispute",
            Error::NoDemand => "there is no such demand",
            Error::NoPlace => "the task has no such checkpoint or slot",
            Error::NotParty => "this account has no part in it",
            Error::Position => "the dispute has moved on: read its position again",
            Error::Expired => "the clock has expired",
            Error::Running => "the clock has not expired yet",
            Error::Over => "it is over",
            Error::NotOver => "it is not over yet",
            Error::WrongNode => "the node is not the state source of the demanded slot",
            Error::WrongOpening => "an opening of the answer is missing or wrong",
            Error::Owed => "something is still owed: withdraw it first",
            Error::NothingOwed => "nothing is owed to this account",
            Error::Dust => "what waits to be burned is below the existential deposit",
            Error::Transfer => {
                "the payment was refused: the receiver may stay below the existential deposit"
            }
            Error::EscrowCall => "escrow did not answer as it should",
        };
        f.write_str(text)
    }
}

impl core::error::Error for Error {}

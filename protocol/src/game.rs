//! The dispute game as a pure state machine: section 9 of `docs/specification.md`.
//!
//! The solver defends a commitment. The game walks down the trees of its claim, checkpoint, step,
//! node, element, fold, until one scalar step is left that [`referee`](crate::referee) computes.
//! In every position one side is to move. A wrong move changes nothing; a side that makes no right
//! one runs out of time ([`clock`](crate::clock)).
//!
//! Nothing that was revealed is kept: what a player may say next is bound by the one hash that is
//! disputed, so a position has a fixed size.

use crate::encoding::decode_canonical;
use crate::program::{Node, Source};
use crate::referee::{self, open_entry, Opened, Operand, Unproven};
use crate::task::{Commitment, Dataset, TaskSpec};
use crate::tree::{self, Opening, Span};
use crate::{validate, Hash};
use alloc::vec::Vec;
use core::fmt;
use scale::{Decode, Encode};
use scale_info::TypeInfo;

/// The two players.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Side {
    /// The solver whose commitment is disputed.
    Defender,
    /// Whoever disputes it.
    Challenger,
}

impl Side {
    /// The other side.
    pub fn other(self) -> Side {
        match self {
            Side::Defender => Side::Challenger,
            Side::Challenger => Side::Defender,
        }
    }
}

/// What a file lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum File {
    /// State hashes at segment ends.
    Checkpoints,
    /// State hashes after each step of a segment.
    Steps,
    /// The hash of every node's value in a step.
    Nodes,
    /// The hashes of the tensors of the state after a step.
    State,
    /// The elements of a node's value.
    Tensor,
    /// The accumulator after each step of a fold.
    Fold,
}

/// What the position asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Phase {
    /// The defender shows what is below the disputed subtree.
    Reveal,
    /// The challenger selects the first part that differs from its own.
    Select,
    /// The defender names the step trace of the disputed segment.
    OpenSteps,
    /// The defender names the node trace of the disputed step.
    OpenNodes,
    /// The challenger disputes a node, or that the trace ends in the claimed state.
    Choose,
    /// The defender shows the disputed node's encoding.
    OpenNode,
    /// The defender shows the disputed slot's hash at the end of the node trace.
    ShowSlot,
    /// The defender names the fold trace of the disputed element.
    OpenFold,
    /// The defender shows the operands of the one scalar step that is left.
    Prove,
    /// The game is over.
    Over(Outcome),
}

/// How a game ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Outcome {
    /// Who won.
    pub winner: Side,
    /// Why.
    pub reason: Reason,
}

/// Why a game ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Reason {
    /// The disputed value is what the referee found.
    Proven,
    /// The disputed value is not what the referee found.
    Disproven {
        /// The first bytes of what the referee found, little-endian (a hash's first four).
        found: u32,
    },
    /// The program has a node that is not valid where it stands.
    MalformedNode,
    /// The loser ran out of time.
    Timeout,
}

/// A move. Which ones are possible follows from the [`Phase`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Move {
    /// Defender, `Reveal`: the values of the disputed subtree's frontier one after another, or
    /// the bytes of the disputed chunk.
    Reveal(Vec<u8>),
    /// Challenger, `Select` above the chunks: one value of the frontier.
    SelectSubtree {
        /// Its number in the frontier.
        index: u32,
        /// The value that the defender revealed.
        value: Hash,
        /// The values beside its way up to the disputed subtree, nearest first.
        siblings: Vec<Hash>,
    },
    /// Challenger, `Select` in a chunk: one entry.
    SelectEntry {
        /// Its number in the chunk.
        index: u32,
        /// The chunk that the defender revealed.
        chunk: Vec<u8>,
    },
    /// Defender, `OpenSteps`.
    OpenSteps {
        /// The entry before the disputed checkpoint, when the position asks for it.
        left: Option<Opening>,
        /// BLAKE3 of the segment's step trace.
        root: Hash,
        /// Opens the trace's last entry, which is the disputed checkpoint.
        last: Opening,
    },
    /// Defender, `OpenNodes`.
    OpenNodes {
        /// The entry before the disputed step, when the position asks for it.
        left: Option<Opening>,
        /// BLAKE3 of the step's node trace.
        root: Hash,
    },
    /// Challenger, `Choose`: a node's value is wrong.
    DisputeNodes,
    /// Challenger, `Choose`: the trace does not end in the claimed state.
    DisputeState,
    /// Defender, `OpenNode`.
    OpenNode {
        /// The node's encoding.
        node: Vec<u8>,
        /// Opens its hash in the program.
        program: Opening,
        /// For a state source: opens the slot in the state before the step.
        slot: Option<Opening>,
    },
    /// Defender, `ShowSlot`: opens the slot's entry in the node trace.
    ShowSlot(Opening),
    /// Defender, `OpenFold`.
    OpenFold {
        /// BLAKE3 of the element's fold trace.
        root: Hash,
        /// Opens the trace's last entry, which is the disputed element.
        last: Opening,
    },
    /// Defender, `Prove`: the operands of a map's element or of a fold's step.
    Prove {
        /// The accumulator before the disputed step, when the position asks for it.
        left: Option<Opening>,
        /// The node's encoding.
        node: Vec<u8>,
        /// One place for each access of the node, in its order.
        operands: Vec<Option<Operand>>,
    },
    /// Defender, `Prove`: the record of a batch's element.
    ProveRecord {
        /// The node's encoding.
        node: Vec<u8>,
        /// The task's datasets.
        datasets: Vec<Dataset>,
        /// Opens the element in the dataset.
        record: Opening,
    },
}

/// Why a move is refused. The position stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Refusal {
    /// The game is over.
    Over,
    /// The other side is to move.
    NotYourTurn,
    /// The position asks for another kind of move.
    WrongMove,
    /// The bytes are not what the disputed hash was made of.
    WrongBytes,
    /// There is no such entry.
    NoSuchEntry,
    /// The entry before the disputed one is missing, wrong, or was not asked for.
    WrongLeft,
    /// The last entry is not the disputed value.
    WrongLast,
    /// The node is not the one in the program.
    WrongNode,
    /// An opening is missing, wrong, or was not asked for.
    WrongOpening,
    /// An operand of the scalar step is missing or wrong.
    Operand(Unproven),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Over => f.write_str("the game is over"),
            Refusal::NotYourTurn => f.write_str("it is the other side's turn"),
            Refusal::WrongMove => f.write_str("the position asks for another kind of move"),
            Refusal::WrongBytes => f.write_str("the bytes do not hash to the disputed value"),
            Refusal::NoSuchEntry => f.write_str("there is no such entry"),
            Refusal::WrongLeft => f.write_str("the entry before the disputed one does not open"),
            Refusal::WrongLast => f.write_str("the last entry is not the disputed value"),
            Refusal::WrongNode => f.write_str("the node is not the one in the program"),
            Refusal::WrongOpening => f.write_str("an opening does not fit"),
            Refusal::Operand(Unproven::Absent(k)) => write!(f, "operand {k} is missing"),
            Refusal::Operand(Unproven::Opening(k)) => write!(f, "operand {k} does not open"),
            Refusal::Operand(Unproven::Record) => f.write_str("the record does not open"),
        }
    }
}

impl core::error::Error for Refusal {}

/// The numbers of a task that decide lengths and kinds. They come from the task, not from players.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Frame {
    /// BLAKE3 of the program file.
    pub program: Hash,
    /// Nodes of the program.
    pub nodes: u32,
    /// State slots.
    pub slots: u32,
    /// Records of a step.
    pub batch: u32,
    /// Steps of the task.
    pub steps: u32,
    /// Steps of a segment.
    pub segment: u32,
    /// The seed.
    pub seed: u64,
    /// BLAKE3 of the encoded list of datasets.
    pub datasets: Hash,
}

/// The file in which the disputed value is searched, and how far the search is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Search {
    /// What the file lists.
    pub file: File,
    /// Bytes of the file.
    pub len: u64,
    /// Bytes of an entry.
    pub width: u8,
    /// BLAKE3 of the file.
    pub root: Hash,
    /// The disputed subtree.
    pub span: Span,
    /// Its value.
    pub value: Hash,
    /// The selected entry, once one is.
    pub entry: u64,
    /// Whether the defender's next move must open the entry before the selected one.
    pub owes_left: bool,
}

/// A position of the dispute game. Fields below the current level hold what the level above left.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Game {
    /// What the task says.
    pub frame: Frame,
    /// Moves made so far.
    pub position: u32,
    /// What is asked for.
    pub phase: Phase,
    /// The disputed file.
    pub search: Search,
    /// The disputed segment.
    pub segment: u32,
    /// The disputed step, counted over the task.
    pub step: u32,
    /// The agreed state before the disputed segment or step.
    pub before: Hash,
    /// The disputed state after it.
    pub after: Hash,
    /// BLAKE3 of the disputed step's node trace.
    pub trace: Hash,
    /// The disputed node, or the disputed slot.
    pub node: u32,
    /// The hash claimed for it.
    pub node_value: Hash,
    /// The hash of the disputed node's encoding.
    pub node_code: Hash,
    /// Steps of the disputed node's reduction; 0 for a map or a batch.
    pub reduction: u32,
    /// The disputed element.
    pub element: u64,
    /// The disputed step of the fold.
    pub r: u32,
    /// The agreed stored accumulator before it; unused before the first step.
    pub acc: u32,
    /// The stored bits claimed for the element or the accumulator.
    pub claim: u32,
}

const HASH: u64 = 32;

impl Game {
    /// The dispute of a commitment to a task whose spec has been checked.
    pub fn new(spec: &TaskSpec, commitment: &Commitment) -> Game {
        let len = spec.segments() as u64 * HASH;
        let mut game = Game {
            frame: Frame {
                program: spec.program,
                nodes: spec.nodes,
                slots: spec.slots,
                batch: spec.batch,
                steps: spec.steps,
                segment: spec.segment,
                seed: spec.seed,
                datasets: referee::datasets_hash(spec),
            },
            position: 0,
            phase: Phase::Reveal,
            search: Search::new(File::Checkpoints, len, HASH, commitment.trace),
            segment: 0,
            step: 0,
            before: spec.genesis,
            after: commitment.state,
            trace: [0; 32],
            node: 0,
            node_value: [0; 32],
            node_code: [0; 32],
            reduction: 0,
            element: 0,
            r: 0,
            acc: 0,
            claim: 0,
        };
        if spec.segments() == 1 {
            game.checkpoint_found();
        }
        game
    }

    /// Whose turn it is; `None` when the game is over.
    pub fn turn(&self) -> Option<Side> {
        match self.phase {
            Phase::Select | Phase::Choose => Some(Side::Challenger),
            Phase::Over(_) => None,
            _ => Some(Side::Defender),
        }
    }

    /// Who won; `None` while the game goes on.
    pub fn winner(&self) -> Option<Side> {
        match self.phase {
            Phase::Over(outcome) => Some(outcome.winner),
            _ => None,
        }
    }

    /// BLAKE3 of the encoded position. A message that carries a move names the position it
    /// answers by this hash, so that it cannot land on another one.
    pub fn hash(&self) -> Hash {
        *blake3::hash(&self.encode()).as_bytes()
    }

    /// Ends an unfinished game against the side whose turn it is.
    pub fn time_out(&mut self) {
        if let Some(turn) = self.turn() {
            self.over(turn.other(), Reason::Timeout);
        }
    }

    /// Steps of the disputed segment.
    pub fn segment_steps(&self) -> u32 {
        self.frame
            .segment
            .min(self.frame.steps - self.segment * self.frame.segment)
    }

    /// Makes a move.
    ///
    /// # Errors
    /// When the move is refused; the position is then unchanged.
    pub fn play(&mut self, side: Side, mv: &Move) -> Result<(), Refusal> {
        match self.turn() {
            None => return Err(Refusal::Over),
            Some(turn) if turn != side => return Err(Refusal::NotYourTurn),
            Some(_) => {}
        }
        match (self.phase, mv) {
            (Phase::Reveal, Move::Reveal(bytes)) => self.reveal(bytes),
            (
                Phase::Select,
                Move::SelectSubtree {
                    index,
                    value,
                    siblings,
                },
            ) => self.select_subtree(*index, value, siblings),
            (Phase::Select, Move::SelectEntry { index, chunk }) => self.select_entry(*index, chunk),
            (Phase::OpenSteps, Move::OpenSteps { left, root, last }) => {
                self.open_steps(left, root, last)
            }
            (Phase::OpenNodes, Move::OpenNodes { left, root }) => self.open_nodes(left, root),
            (Phase::Choose, Move::DisputeNodes) => {
                let len = self.frame.nodes as u64 * HASH;
                self.search(File::Nodes, len, HASH, self.trace);
                Ok(())
            }
            (Phase::Choose, Move::DisputeState) => {
                let len = self.frame.slots as u64 * HASH;
                self.search(File::State, len, HASH, self.after);
                Ok(())
            }
            (
                Phase::OpenNode,
                Move::OpenNode {
                    node,
                    program,
                    slot,
                },
            ) => self.open_node(node, program, slot),
            (Phase::ShowSlot, Move::ShowSlot(opening)) => self.show_slot(opening),
            (Phase::OpenFold, Move::OpenFold { root, last }) => self.open_fold(root, last),
            (
                Phase::Prove,
                Move::Prove {
                    left,
                    node,
                    operands,
                },
            ) => self.prove(left, node, operands),
            (
                Phase::Prove,
                Move::ProveRecord {
                    node,
                    datasets,
                    record,
                },
            ) => self.prove_record(node, datasets, record),
            _ => Err(Refusal::WrongMove),
        }?;
        self.position += 1;
        Ok(())
    }

    fn over(&mut self, winner: Side, reason: Reason) {
        self.phase = Phase::Over(Outcome { winner, reason });
    }

    fn judge(&mut self, claim: &[u8], found: &[u8]) {
        if claim == found {
            self.over(Side::Defender, Reason::Proven);
        } else {
            let mut first = [0; 4];
            first.copy_from_slice(&found[..4]);
            self.over(
                Side::Challenger,
                Reason::Disproven {
                    found: u32::from_le_bytes(first),
                },
            );
        }
    }

    fn malformed(&mut self) -> Result<(), Refusal> {
        self.over(Side::Challenger, Reason::MalformedNode);
        Ok(())
    }

    fn search(&mut self, file: File, len: u64, width: u64, root: Hash) {
        self.search = Search::new(file, len, width, root);
        self.phase = Phase::Reveal;
    }

    fn reveal(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let Search {
            len, span, value, ..
        } = &self.search;
        let right = if span.count == 1 {
            tree::check_chunk(*len, *span, value, bytes)
        } else {
            // A frontier has at most 64 values, so a longer list is refused before it is copied.
            bytes.len() % 32 == 0 && bytes.len() <= 32 << tree::LEVELS && {
                let values: Vec<Hash> = bytes
                    .chunks_exact(32)
                    .map(|v| v.try_into().expect("chunks have 32 bytes"))
                    .collect();
                tree::check_frontier(*len, *span, value, &values)
            }
        };
        if !right {
            return Err(Refusal::WrongBytes);
        }
        self.phase = Phase::Select;
        Ok(())
    }

    fn select_subtree(
        &mut self,
        index: u32,
        value: &Hash,
        siblings: &[Hash],
    ) -> Result<(), Refusal> {
        let search = &mut self.search;
        if search.span.count == 1 {
            return Err(Refusal::WrongMove);
        }
        let spans = tree::frontier(search.span);
        let span = *spans.get(index as usize).ok_or(Refusal::NoSuchEntry)?;
        if !tree::check_child(
            search.len,
            search.span,
            &search.value,
            index,
            value,
            siblings,
        ) {
            return Err(Refusal::WrongBytes);
        }
        search.span = span;
        search.value = *value;
        self.phase = Phase::Reveal;
        Ok(())
    }

    fn select_entry(&mut self, index: u32, chunk: &[u8]) -> Result<(), Refusal> {
        let search = &mut self.search;
        if !tree::check_chunk(search.len, search.span, &search.value, chunk) {
            return Err(Refusal::WrongBytes);
        }
        let width = search.width as usize;
        let mut entries = chunk.chunks_exact(width);
        let left = match index.checked_sub(1) {
            Some(before) => entries.nth(before as usize),
            None => None,
        };
        let entry = entries.next().ok_or(Refusal::NoSuchEntry)?;
        search.entry = search.span.byte_range(search.len).start / width as u64 + index as u64;
        search.owes_left = left.is_none() && search.entry > 0;
        match search.file {
            File::Checkpoints => {
                self.segment = search.entry as u32;
                self.after = hash_of(entry);
                self.set_left(left);
                self.checkpoint_found();
            }
            File::Steps => {
                self.step += search.entry as u32;
                self.after = hash_of(entry);
                self.set_left(left);
                self.phase = Phase::OpenNodes;
            }
            File::Nodes => {
                search.owes_left = false;
                self.node = search.entry as u32;
                self.node_value = hash_of(entry);
                self.phase = Phase::OpenNode;
            }
            File::State => {
                search.owes_left = false;
                self.node = search.entry as u32;
                self.node_value = hash_of(entry);
                self.phase = Phase::ShowSlot;
            }
            File::Tensor => {
                search.owes_left = false;
                self.element = search.entry;
                self.claim = bits_of(entry);
                self.phase = match self.reduction {
                    // A fold of one step is its own trace: it starts from the initial value.
                    0 | 1 => Phase::Prove,
                    _ => Phase::OpenFold,
                };
            }
            File::Fold => {
                self.r = search.entry as u32;
                self.claim = bits_of(entry);
                self.set_left(left);
                self.phase = Phase::Prove;
            }
        }
        Ok(())
    }

    /// A segment is selected; a segment of one step is its own step trace.
    fn checkpoint_found(&mut self) {
        self.step = self.segment * self.frame.segment;
        self.phase = if self.segment_steps() == 1 {
            Phase::OpenNodes
        } else {
            Phase::OpenSteps
        };
    }

    fn set_left(&mut self, left: Option<&[u8]>) {
        if let Some(left) = left {
            match self.search.file {
                File::Fold => self.acc = bits_of(left),
                _ => self.before = hash_of(left),
            }
        }
    }

    /// Checks the entry before the selected one, when it lies in another chunk.
    fn take_left(&mut self, left: &Option<Opening>) -> Result<(), Refusal> {
        let Search {
            len,
            width,
            root,
            entry,
            owes_left,
            ..
        } = self.search;
        match (owes_left, left) {
            (false, None) => Ok(()),
            (true, Some(opening)) => {
                let width = width as u64;
                let left = tree::open(len, &root, opening, (entry - 1) * width, width)
                    .ok_or(Refusal::WrongLeft)?;
                self.set_left(Some(left));
                self.search.owes_left = false;
                Ok(())
            }
            _ => Err(Refusal::WrongLeft),
        }
    }

    fn open_steps(
        &mut self,
        left: &Option<Opening>,
        root: &Hash,
        last: &Opening,
    ) -> Result<(), Refusal> {
        let steps = self.segment_steps();
        if open_entry(steps, root, last, steps - 1) != Some(self.after) {
            return Err(Refusal::WrongLast);
        }
        self.take_left(left)?;
        self.search(File::Steps, steps as u64 * HASH, HASH, *root);
        Ok(())
    }

    fn open_nodes(&mut self, left: &Option<Opening>, root: &Hash) -> Result<(), Refusal> {
        self.take_left(left)?;
        self.trace = *root;
        self.phase = Phase::Choose;
        Ok(())
    }

    fn open_node(
        &mut self,
        node: &[u8],
        program: &Opening,
        slot: &Option<Opening>,
    ) -> Result<(), Refusal> {
        let Frame { nodes, slots, .. } = self.frame;
        let code = *blake3::hash(node).as_bytes();
        if open_entry(nodes, &self.frame.program, program, self.node) != Some(code) {
            return Err(Refusal::WrongNode);
        }
        let Some(node) = self.decode(node) else {
            return self.malformed();
        };
        let claim = self.node_value;
        match &node {
            Node::Source(Source::State { .. }) => {
                let opening = slot.as_ref().ok_or(Refusal::WrongOpening)?;
                let found = open_entry(slots, &self.before, opening, self.node)
                    .ok_or(Refusal::WrongOpening)?;
                self.judge(&claim, &found);
                return Ok(());
            }
            _ if slot.is_some() => return Err(Refusal::WrongOpening),
            Node::Source(Source::Constant { hash, .. }) => self.judge(&claim, hash),
            Node::Source(Source::Step) => {
                self.judge(&claim, blake3::hash(&self.step.to_le_bytes()).as_bytes())
            }
            Node::Source(Source::Seed) => self.judge(
                &claim,
                blake3::hash(&self.frame.seed.to_le_bytes()).as_bytes(),
            ),
            Node::Source(Source::Batch { .. }) | Node::Map(_) => {
                self.reduction = 0;
                self.search(File::Tensor, node.bytes(), node.dtype().size(), claim);
            }
            Node::Fold(_) => {
                self.reduction = node.reduction() as u32;
                self.search(File::Tensor, node.bytes(), node.dtype().size(), claim);
            }
        }
        self.node_code = code;
        Ok(())
    }

    /// The disputed node, when it is a valid one where it stands.
    fn decode(&self, bytes: &[u8]) -> Option<Node> {
        let node: Node = decode_canonical(bytes).ok()?;
        validate::node(&node, self.node).ok()?;
        let state = matches!(node, Node::Source(Source::State { .. }));
        (state == (self.node < self.frame.slots)).then_some(node)
    }

    fn show_slot(&mut self, opening: &Opening) -> Result<(), Refusal> {
        let Frame { nodes, slots, .. } = self.frame;
        let found = open_entry(nodes, &self.trace, opening, nodes - slots + self.node)
            .ok_or(Refusal::WrongOpening)?;
        let claim = self.node_value;
        self.judge(&claim, &found);
        Ok(())
    }

    fn open_fold(&mut self, root: &Hash, last: &Opening) -> Result<(), Refusal> {
        let width = self.search.width as u64;
        let len = self.reduction as u64 * width;
        let end = tree::open(len, root, last, len - width, width).ok_or(Refusal::WrongLast)?;
        if bits_of(end) != self.claim {
            return Err(Refusal::WrongLast);
        }
        self.search(File::Fold, len, width, *root);
        Ok(())
    }

    fn prove(
        &mut self,
        left: &Option<Opening>,
        node: &[u8],
        operands: &[Option<Operand>],
    ) -> Result<(), Refusal> {
        let node = self.same_node(node)?;
        if matches!(node, Node::Source(_)) {
            return Err(Refusal::WrongMove);
        }
        let was = (self.search, self.acc);
        self.take_left(left)?;
        let before = (self.r > 0).then_some(self.acc);
        let mut reads = Opened {
            trace: &self.trace,
            nodes: self.frame.nodes,
            operands,
        };
        match referee::compute(&node, self.element, self.r as u64, before, &mut reads) {
            Ok(found) => {
                self.judge(&self.claim.to_le_bytes(), &found.to_le_bytes());
                Ok(())
            }
            Err(unproven) => {
                (self.search, self.acc) = was;
                Err(Refusal::Operand(unproven))
            }
        }
    }

    fn prove_record(
        &mut self,
        node: &[u8],
        datasets: &Vec<Dataset>,
        record: &Opening,
    ) -> Result<(), Refusal> {
        let Node::Source(source) = self.same_node(node)? else {
            return Err(Refusal::WrongMove);
        };
        if referee::list_hash(datasets) != self.frame.datasets {
            return Err(Refusal::Operand(Unproven::Record));
        }
        let Frame { batch, seed, .. } = self.frame;
        let place = referee::batch_element(&source, self.element, self.step, batch, seed, datasets);
        let Some((dataset, start)) = place else {
            return self.malformed();
        };
        let file = &datasets[dataset];
        let width = self.search.width as u64;
        let found = tree::open(file.bytes(), &file.root, record, start, width)
            .ok_or(Refusal::Operand(Unproven::Record))?;
        self.judge(&self.claim.to_le_bytes(), &bits_of(found).to_le_bytes());
        Ok(())
    }

    /// The disputed node again, which [`Game::open_node`] has found valid.
    fn same_node(&self, bytes: &[u8]) -> Result<Node, Refusal> {
        if *blake3::hash(bytes).as_bytes() != self.node_code {
            return Err(Refusal::WrongNode);
        }
        decode_canonical(bytes).map_err(|_| Refusal::WrongNode)
    }
}

impl Search {
    fn new(file: File, len: u64, width: u64, root: Hash) -> Search {
        Search {
            file,
            len,
            width: width as u8,
            root,
            span: Span::whole(len),
            value: root,
            entry: 0,
            owes_left: false,
        }
    }
}

fn hash_of(entry: &[u8]) -> Hash {
    entry
        .try_into()
        .expect("an entry of a list of hashes has 32 bytes")
}

/// An element's bytes as a word.
fn bits_of(entry: &[u8]) -> u32 {
    let mut word = [0; 4];
    word[..entry.len()].copy_from_slice(entry);
    u32::from_le_bytes(word)
}

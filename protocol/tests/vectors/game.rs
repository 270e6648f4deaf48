//! Complete games, move by move, with moves that are refused on the way.

use crate::json::hex;
use crate::samples::{self, Sample};
use lockstep_protocol::clock::Clocks;
use lockstep_protocol::game::{Game, Move, Phase, Side};
use lockstep_protocol::program::Node;
use lockstep_protocol::referee::Operand;
use lockstep_protocol::rehearsal::{honest_challenger, honest_defender, state_file, Fault, Run};
use lockstep_protocol::task::TaskSpec;
use lockstep_protocol::tree::{self, Opening};
use scale::Encode;
use serde_json::{json, Value};

/// Refused moves that are longer are not written down.
const SHOWN: usize = 700;

/// A sample with the numbers of a task.
struct Task {
    name: &'static str,
    sample: Sample,
    steps: u32,
    segment: u32,
}

impl Task {
    fn run(&self, fault: Option<Fault>) -> Run {
        Run::new(self.sample.case(), self.steps, self.segment, fault)
    }
}

/// Who is wrong.
#[derive(Clone, Copy, PartialEq)]
enum Lie {
    Defender,
    Challenger,
}

pub fn vectors() -> Value {
    let small = Task {
        name: "small",
        sample: samples::small(),
        steps: 5,
        segment: 2,
    };
    let checkpoints = Task {
        name: "checkpoints",
        sample: samples::deep(),
        steps: 66,
        segment: 2,
    };
    let steps = Task {
        name: "steps",
        sample: samples::deep(),
        steps: 34,
        segment: 34,
    };
    let wide = Task {
        name: "wide",
        sample: samples::wide(),
        steps: 1,
        segment: 1,
    };
    let element = |step, node, element| Fault::Element {
        step,
        node,
        element,
    };
    let fold = |step, node, element, r| Fault::Accumulator {
        step,
        node,
        element,
        r,
    };
    let games = [
        (
            "a checkpoint",
            &small,
            Lie::Defender,
            Fault::Checkpoint { segment: 1 },
            false,
        ),
        (
            "a step's state",
            &small,
            Lie::Challenger,
            Fault::Step { step: 1 },
            false,
        ),
        (
            "a slot",
            &small,
            Lie::Defender,
            Fault::State { step: 3, slot: 1 },
            true,
        ),
        (
            "a state source",
            &small,
            Lie::Defender,
            element(4, 0, 5),
            false,
        ),
        (
            "a state source, rightly",
            &small,
            Lie::Challenger,
            element(2, 1, 0),
            true,
        ),
        ("a batch", &small, Lie::Defender, element(2, 2, 7), true),
        (
            "a batch, rightly",
            &small,
            Lie::Challenger,
            element(4, 3, 2),
            false,
        ),
        ("a constant", &small, Lie::Defender, element(1, 4, 2), false),
        ("the step", &small, Lie::Challenger, element(3, 5, 0), false),
        ("the seed", &small, Lie::Defender, element(1, 6, 1), false),
        ("a map", &small, Lie::Defender, element(2, 13, 0), true),
        (
            "a map, rightly",
            &small,
            Lie::Challenger,
            element(0, 11, 4),
            false,
        ),
        (
            "a fold's first step",
            &small,
            Lie::Defender,
            fold(1, 8, 3, 0),
            false,
        ),
        (
            "a fold's later step",
            &small,
            Lie::Challenger,
            fold(2, 8, 0, 3),
            true,
        ),
        (
            "a guarded step",
            &small,
            Lie::Challenger,
            fold(3, 9, 0, 1),
            false,
        ),
        (
            "a fold of one step",
            &small,
            Lie::Defender,
            fold(4, 10, 1, 0),
            false,
        ),
        (
            "files of two chunks",
            &checkpoints,
            Lie::Defender,
            fold(65, 33, 1, 256),
            true,
        ),
        (
            "the first step of a chunk",
            &steps,
            Lie::Defender,
            element(32, 34, 299),
            true,
        ),
        (
            "the last step",
            &steps,
            Lie::Challenger,
            fold(33, 33, 0, 299),
            false,
        ),
        (
            "the last of 65 chunks",
            &wide,
            Lie::Defender,
            element(0, 2, 65_999),
            false,
        ),
        (
            "the first of 65 chunks",
            &wide,
            Lie::Challenger,
            element(0, 2, 0),
            true,
        ),
        (
            "a record of several chunks",
            &wide,
            Lie::Challenger,
            element(0, 1, 759),
            false,
        ),
    ];
    let summaries = [&small, &checkpoints, &steps, &wide].map(task);
    let mut played: Vec<Value> = games
        .into_iter()
        .map(|(about, task, lie, fault, refusals)| game(about, task, lie, fault, refusals))
        .collect();
    played.extend(malformed(&small));
    played.push(timeout(&small, 0));
    played.push(timeout(&small, 1));
    json!({
        "tasks": summaries,
        "games": played,
        "clocks": clocks(),
    })
}

fn task(task: &Task) -> Value {
    let run = task.run(None);
    let commitment = run.commitment();
    json!({
        "name": task.name,
        "program": task.sample.name,
        "spec": hex(&run.spec.encode()),
        "spec_hash": hex(&run.spec.hash()),
        "genesis": hex(&state_file(&task.sample.genesis)),
        "honest_commitment": hex(&commitment.encode()),
    })
}

fn game(about: &str, task: &Task, lie: Lie, fault: Fault, refusals: bool) -> Value {
    let (honest, liar) = (task.run(None), task.run(Some(fault)));
    assert!(
        liar.commitment() != honest.commitment(),
        "{about}: the fault reaches the commitment"
    );
    let (defender, challenger) = match lie {
        Lie::Defender => (&liar, &honest),
        Lie::Challenger => (&honest, &liar),
    };
    let mut table = Table::new(about, task, &defender.spec, defender, refusals);
    let mut defend = honest_defender(defender);
    let mut challenge = honest_challenger(challenger, None);
    while let Some(turn) = table.game.turn() {
        let mv = match turn {
            Side::Defender => defend(&table.game),
            Side::Challenger => challenge(&table.game, &table.revealed),
        };
        table.play(turn, mv.expect("it is the player's turn"));
    }
    let right = match lie {
        Lie::Defender => Side::Challenger,
        Lie::Challenger => Side::Defender,
    };
    assert_eq!(table.game.winner(), Some(right), "{about}");
    table.record()
}

/// The program holds, at a map, an encoding that is no valid node.
fn malformed(task: &Task) -> [Value; 2] {
    const NODE: usize = 11;
    let node = &task.sample.program.nodes[NODE];
    let mut longer = node.encode();
    longer.push(0);
    let Node::Map(mut body) = node.clone() else {
        unreachable!("the node is a map")
    };
    body.reads[1].node = NODE as u32;
    let itself = Node::Map(body).encode();
    [
        ("an encoding with a byte too many", longer),
        ("a node that reads itself", itself),
    ]
    .map(|(about, bytes)| {
        let honest = task.run(None);
        let liar = task.run(Some(Fault::Element {
            step: 2,
            node: NODE as u32,
            element: 4,
        }));
        let mut file = honest.program.file();
        file[NODE * 32..][..32].copy_from_slice(&tree::hash(&bytes));
        let spec = TaskSpec {
            program: tree::hash(&file),
            ..honest.spec.clone()
        };
        let mut table = Table::new(about, task, &spec, &honest, false);
        let mut defend = honest_defender(&honest);
        let mut challenge = honest_challenger(&liar, None);
        while let Some(turn) = table.game.turn() {
            let mv = match turn {
                Side::Defender if table.game.phase == Phase::OpenNode => Move::OpenNode {
                    node: bytes.clone(),
                    program: tree::prove_open(&file, NODE as u64 * 32),
                    slot: None,
                },
                Side::Defender => defend(&table.game).expect("it is the defender's turn"),
                Side::Challenger => {
                    challenge(&table.game, &table.revealed).expect("it is the challenger's turn")
                }
            };
            table.play(turn, mv);
        }
        assert_eq!(table.game.winner(), Some(Side::Challenger));
        table.record()
    })
}

/// The side to move after some moves runs out of time.
fn timeout(task: &Task, moves: usize) -> Value {
    let honest = task.run(None);
    let mut table = Table::new("out of time", task, &honest.spec, &honest, false);
    let mut defend = honest_defender(&honest);
    for _ in 0..moves {
        let mv = defend(&table.game).expect("the defender reveals first");
        table.play(Side::Defender, mv);
    }
    table.time_out();
    table.record()
}

/// A game and what is written down of it.
struct Table {
    game: Game,
    revealed: Vec<u8>,
    refusals: bool,
    head: Value,
    plies: Vec<Value>,
}

impl Table {
    fn new(about: &str, task: &Task, spec: &TaskSpec, run: &Run, refusals: bool) -> Table {
        let commitment = run.commitment();
        let game = Game::new(spec, &commitment);
        let head = json!({
            "about": about,
            "task": task.name,
            "spec": hex(&spec.encode()),
            "commitment": hex(&commitment.encode()),
            "start": hex(&game.encode()),
        });
        Table {
            game,
            revealed: vec![],
            refusals,
            head,
            plies: vec![],
        }
    }

    fn play(&mut self, side: Side, mv: Move) {
        let refused = match self.refusals {
            true => self.refused(side, &mv),
            false => vec![],
        };
        if self.game.play(side, &mv).is_err() {
            // What a liar cannot show costs it the rest of its time.
            self.time_out();
            return;
        }
        let mut ply = json!({
            "side": format!("{side:?}"),
            "move": hex(&mv.encode()),
            "position": hex(&self.game.encode()),
        });
        if !refused.is_empty() {
            ply["refused_before"] = refused.into();
        }
        self.plies.push(ply);
        if let Move::Reveal(bytes) = mv {
            self.revealed = bytes;
        }
    }

    fn time_out(&mut self) {
        self.game.time_out();
        let position = hex(&self.game.encode());
        self.plies
            .push(json!({ "move": null, "position": position }));
    }

    fn refused(&self, side: Side, mv: &Move) -> Vec<Value> {
        let mut tries: Vec<(Side, Move)> =
            wrong(mv).into_iter().map(|wrong| (side, wrong)).collect();
        tries.push((side.other(), mv.clone()));
        tries
            .into_iter()
            .filter(|(_, mv)| mv.encoded_size() <= SHOWN)
            .map(|(side, mv)| {
                let refusal = self
                    .game
                    .clone()
                    .play(side, &mv)
                    .expect_err("the move is wrong");
                json!({
                    "side": format!("{side:?}"),
                    "move": hex(&mv.encode()),
                    "refusal": crate::json::describe(&refusal),
                })
            })
            .collect()
    }

    fn record(mut self) -> Value {
        self.head["plies"] = self.plies.into();
        self.head
    }
}

/// Moves that go wrong where `mv` is right.
fn wrong(mv: &Move) -> Vec<Move> {
    let nothing = Opening {
        chunk: vec![],
        path: vec![],
    };
    match mv.clone() {
        Move::Reveal(bytes) => vec![
            Move::Reveal(flipped(&bytes)),
            Move::Reveal(bytes[1..].to_vec()),
            Move::Reveal([&bytes[..], &[0; 32]].concat()),
            Move::Reveal(vec![]),
            Move::DisputeNodes,
        ],
        Move::SelectSubtree {
            index,
            value,
            siblings,
        } => vec![
            Move::SelectSubtree {
                index: index ^ 1,
                value,
                siblings: siblings.clone(),
            },
            Move::SelectSubtree {
                index: u32::MAX,
                value,
                siblings: siblings.clone(),
            },
            Move::SelectSubtree {
                index,
                value: [0; 32],
                siblings: siblings.clone(),
            },
            Move::SelectSubtree {
                index,
                value,
                siblings: siblings[1..].to_vec(),
            },
            Move::SelectSubtree {
                index,
                value,
                siblings: [siblings, vec![value]].concat(),
            },
            Move::SelectEntry {
                index,
                chunk: vec![],
            },
        ],
        Move::SelectEntry { index, chunk } => vec![
            Move::SelectEntry {
                index: u32::MAX,
                chunk: chunk.clone(),
            },
            Move::SelectEntry {
                index: chunk.len() as u32,
                chunk: chunk.clone(),
            },
            Move::SelectEntry {
                index,
                chunk: flipped(&chunk),
            },
            Move::SelectSubtree {
                index,
                value: [0; 32],
                siblings: vec![],
            },
        ],
        Move::OpenSteps { left, root, last } => vec![
            Move::OpenSteps {
                left: toggled(&left, &last),
                root,
                last: last.clone(),
            },
            Move::OpenSteps {
                left: left.clone(),
                root: [0; 32],
                last: last.clone(),
            },
            Move::OpenSteps {
                left,
                root,
                last: off(&last),
            },
        ],
        Move::OpenNodes { left, root } => vec![
            Move::OpenNodes {
                left: toggled(&left, &nothing),
                root,
            },
            Move::OpenFold {
                root,
                last: nothing,
            },
        ],
        Move::DisputeNodes | Move::DisputeState => {
            vec![Move::SelectEntry {
                index: 0,
                chunk: vec![],
            }]
        }
        Move::OpenNode {
            node,
            program,
            slot,
        } => vec![
            Move::OpenNode {
                node: flipped(&node),
                program: program.clone(),
                slot: slot.clone(),
            },
            Move::OpenNode {
                node: node.clone(),
                program: off(&program),
                slot: slot.clone(),
            },
            Move::OpenNode {
                node,
                slot: toggled(&slot, &program),
                program,
            },
        ],
        Move::ShowSlot(opening) => vec![Move::ShowSlot(off(&opening)), Move::ShowSlot(nothing)],
        Move::OpenFold { root, last } => vec![
            Move::OpenFold {
                root: [0; 32],
                last: last.clone(),
            },
            Move::OpenFold {
                root,
                last: off(&last),
            },
        ],
        Move::Prove {
            left,
            node,
            operands,
        } => {
            let mut wrong = vec![
                Move::Prove {
                    left: toggled(&left, &nothing),
                    node: node.clone(),
                    operands: operands.clone(),
                },
                Move::Prove {
                    left: left.clone(),
                    node: flipped(&node),
                    operands: operands.clone(),
                },
                Move::ProveRecord {
                    node: node.clone(),
                    datasets: vec![],
                    record: nothing,
                },
            ];
            for (k, operand) in operands.iter().enumerate() {
                let Some(Operand { tensor, element }) = operand else {
                    continue;
                };
                let others = [
                    None,
                    Some(Operand {
                        tensor: off(tensor),
                        element: element.clone(),
                    }),
                    Some(Operand {
                        tensor: tensor.clone(),
                        element: off(element),
                    }),
                ];
                wrong.extend(others.map(|other| {
                    let mut operands = operands.clone();
                    operands[k] = other;
                    Move::Prove {
                        left: left.clone(),
                        node: node.clone(),
                        operands,
                    }
                }));
            }
            wrong
        }
        Move::ProveRecord {
            node,
            datasets,
            record,
        } => vec![
            Move::ProveRecord {
                node: flipped(&node),
                datasets: datasets.clone(),
                record: record.clone(),
            },
            Move::ProveRecord {
                node: node.clone(),
                datasets: vec![],
                record: record.clone(),
            },
            Move::ProveRecord {
                node: node.clone(),
                datasets,
                record: off(&record),
            },
            Move::Prove {
                left: None,
                node,
                operands: vec![],
            },
        ],
    }
}

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes
}

fn off(opening: &Opening) -> Opening {
    Opening {
        chunk: flipped(&opening.chunk),
        path: opening.path.clone(),
    }
}

fn toggled(opening: &Option<Opening>, other: &Opening) -> Option<Opening> {
    match opening {
        Some(_) => None,
        None => Some(other.clone()),
    }
}

/// A game's clocks after each of some moves, and when the running one expires.
fn clocks() -> Value {
    let mut clocks = Clocks::new(10_000, 500, 3, 1_000, 7);
    let start = hex(&clocks.encode());
    let moves = [
        (Side::Defender, 3_000, 8),
        (Side::Challenger, 3_000, 8),
        (Side::Defender, 2_000, 9),
        (Side::Challenger, 14_000, 40),
        (Side::Defender, 14_001, 40),
    ];
    let turns = moves.map(|(turn, now, block)| {
        let edge = clocks.since + clocks.left(turn);
        let expired = [
            (edge, u32::MAX),
            (edge + 1, clocks.since_block + 3),
            (edge + 1, clocks.since_block + 4),
            (0, 0),
        ]
        .map(|(now, block)| json!([now, block, clocks.expired(turn, now, block)]));
        clocks.moved(turn, now, block);
        json!({
            "turn": format!("{turn:?}"),
            "now_block_expired": expired,
            "moved_at": [now, block],
            "after": hex(&clocks.encode()),
        })
    });
    json!({ "start": start, "turns": turns })
}

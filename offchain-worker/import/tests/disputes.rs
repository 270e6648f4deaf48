//! Every operation in dispute: an error in any of its nodes loses to a challenger that computes
//! with the CPU engine, and a wrong challenge to a solver that does. For which the engine has to
//! agree with the reference on every bit, whatever the numbers.

mod support;

use lockstep_engine::{cpu::Cpu, Engine};
use lockstep_graph::Value;
use lockstep_import::Onnx;
use lockstep_protocol::{
    eval::Blob,
    game::{Game, Phase, Reason, Side},
    player::{self, Evidence, FileId},
    program::{Dtype, Node},
    random::{Case, Rng},
    rehearsal::{adversary::random_selection, honest_defender, play, state_file, Fault, Run},
    task::{Commitment, Dataset, TaskSpec},
    tree,
};
use safetensors::{tensor::TensorView, Dtype as Type};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    path::{Path, PathBuf},
    sync::Arc,
};
use support::{cpu, fixtures, onnx::Graph, operation::Operation};
use tempfile::TempDir;

/// A party that computes its files with the CPU engine, in a task of one step.
struct Party {
    case: Case,
    spec: TaskSpec,
    engine: Cpu,
    made: BTreeMap<FileId, Blob>,
}

impl Party {
    fn new(case: &Case) -> Party {
        let mut engine = cpu(case);
        engine.load(&case.state).unwrap();
        Party {
            case: case.clone(),
            spec: case.spec(1, 1),
            engine,
            made: BTreeMap::new(),
        }
    }

    /// The hash of every node's value.
    fn nodes(&mut self) -> Vec<u8> {
        let mut hashes = vec![];
        self.engine
            .trace(0, &mut |_, bytes| hashes.extend(tree::hash(bytes)));
        hashes
    }

    /// The hashes of the tensors after the step: those of the last nodes.
    fn state(&mut self) -> Vec<u8> {
        let nodes = self.nodes();
        nodes[32 * self.case.program.next_state().start..].to_vec()
    }

    fn commitment(&mut self) -> Commitment {
        let state = tree::hash(&self.state());
        Commitment {
            trace: tree::hash(&state),
            state,
        }
    }

    fn make(&mut self, id: FileId) -> Vec<u8> {
        match id {
            FileId::Checkpoints | FileId::Steps { .. } => tree::hash(&self.state()).to_vec(),
            FileId::StateBefore { .. } => state_file(&self.case.state),
            FileId::StateAfter { .. } => self.state(),
            FileId::Nodes { .. } => self.nodes(),
            FileId::Tensor { step, node } => self.engine.tensor(step, node),
            FileId::Fold {
                step,
                node,
                element,
            } => self.engine.fold(step, node, element),
            FileId::Program => self.case.program.file(),
            FileId::Dataset(_) => unreachable!("all inputs are state"),
        }
    }
}

impl Evidence for Party {
    type Error = Infallible;

    fn file(&mut self, id: FileId) -> Result<Blob, Infallible> {
        if !self.made.contains_key(&id) {
            let bytes = self.make(id);
            self.made.insert(id, Arc::new(bytes) as Blob);
        }
        Ok(self.made[&id].clone())
    }

    fn node(&self, index: u32) -> Node {
        self.case.program.nodes[index as usize].clone()
    }

    fn datasets(&self) -> Vec<Dataset> {
        self.spec.datasets.clone()
    }
}

/// The operation alone, whose every computed node belongs to it, and the operation with its
/// gradients.
fn cases(path: &Path) -> Result<[Case; 2], String> {
    let case = |gradients: bool| {
        let mut operation = Operation::read(path)?;
        let mut watched = match gradients {
            true => operation.gradients(),
            false => vec![],
        };
        watched.append(&mut operation.values);
        let outputs: Vec<Value> = watched.iter().map(|watched| watched.value).collect();
        let graph = &mut operation.model.graph;
        Ok::<Case, String>(operation.bench.case(graph, &outputs))
    };
    Ok([case(false)?, case(true)?])
}

/// Numbers that every written operation reads, `x` and `z`.
const SHAPE: [usize; 4] = [2, 4, 3, 3];

/// Writes a node of a graph whose output is `y`.
type Write = fn(&mut Graph);

/// Operations that no recording has, and the shapes of their outputs.
const WRITTEN: [(&str, &[usize], Write); 13] = [
    ("concat_from_sequence", &[4, 4, 3, 3], |graph| {
        graph.node("SequenceConstruct", &["x", "z"], "both", &[]);
        graph.node("ConcatFromSequence", &["both"], "y", &[("axis", 0)]);
    }),
    ("dropout", &SHAPE, |graph| {
        graph.floats("ratio", &[], &[0.25]);
        graph.tensor("training", 9, &[], &[1]);
        graph.node("Dropout", &["x", "ratio", "training"], "y", &[]);
    }),
    ("global_max_pool", &[2, 4, 1, 1], |graph| {
        graph.node("GlobalMaxPool", &["x"], "y", &[]);
    }),
    ("is_nan", &SHAPE, |graph| {
        graph.node("Sqrt", &["x"], "root", &[]);
        graph.node("IsNaN", &["root"], "negative", &[]);
        graph.node("Where", &["negative", "z", "root"], "y", &[]);
    }),
    ("mean", &SHAPE, |graph| {
        graph.node("Mean", &["x", "z"], "y", &[])
    }),
    ("reduce_l1", &[1; 4], |graph| {
        graph.node("ReduceL1", &["x"], "y", &[])
    }),
    ("reduce_sum_square", &[1; 4], |graph| {
        graph.node("ReduceSumSquare", &["x"], "y", &[]);
    }),
    ("rms_normalization", &SHAPE, |graph| {
        graph.floats("scale", &[3], &[0.5, 1.0, -2.0]);
        graph.node("RMSNormalization", &["x", "scale"], "y", &[]);
    }),
    ("size", &SHAPE, |graph| {
        graph.node("Size", &["z"], "size", &[]);
        graph.node("Cast", &["size"], "float", &[("to", 1)]);
        graph.node("Mul", &["x", "float"], "y", &[]);
    }),
    ("softsign", &SHAPE, |graph| {
        graph.node("Softsign", &["x"], "y", &[])
    }),
    ("sum", &SHAPE, |graph| {
        graph.node("Sum", &["x", "z"], "y", &[])
    }),
    ("swish", &SHAPE, |graph| {
        graph.node("Swish", &["x"], "gated", &[]);
        graph.node("ThresholdedRelu", &["gated"], "y", &[]);
    }),
    ("xor", &SHAPE, |graph| {
        graph.node("Greater", &["x", "z"], "above", &[]);
        graph.node("Greater", &["z", "x"], "below", &[]);
        graph.node("Xor", &["above", "below"], "apart", &[]);
        graph.node("Cast", &["apart"], "one", &[("to", 1)]);
        graph.node("Mul", &["x", "one"], "y", &[]);
    }),
];

/// The recorded operations and the written ones.
fn operations() -> (TempDir, Vec<PathBuf>) {
    let folder = TempDir::new().unwrap();
    let mut files = fixtures("ops", "onnx");
    let mut rng = Rng::new(1);
    for (name, shape, write) in WRITTEN {
        let mut graph = Graph::new();
        let declared = SHAPE.map(|n| n as i64);
        graph.input("x", 1, &declared);
        graph.input("z", 1, &declared);
        write(&mut graph);
        let path = folder.path().join(name).with_extension("onnx");
        std::fs::write(&path, graph.file()).unwrap();
        let tensors = [
            ("input.x", &SHAPE[..]),
            ("input.z", &SHAPE),
            ("cotangent.y", shape),
        ];
        let bytes = tensors.map(|(_, shape)| {
            let number = |_| (rng.below(1 << 16) as f32 / 16384.0 - 2.0).to_le_bytes();
            (0..shape.iter().product())
                .flat_map(number)
                .collect::<Vec<u8>>()
        });
        let views = tensors.iter().zip(&bytes).map(|((name, shape), bytes)| {
            (
                name,
                TensorView::new(Type::F32, shape.to_vec(), bytes).unwrap(),
            )
        });
        let recording = safetensors::serialize(views, &None).unwrap();
        std::fs::write(path.with_extension("safetensors"), recording).unwrap();
        files.push(path);
    }
    (folder, files)
}

#[test]
fn every_operation_is_among_the_files() {
    let (_folder, files) = operations();
    let files: Vec<Vec<u8>> = files
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    for name in Onnx::operations() {
        // The field of a node that names its operation.
        let field = [&[0x22, name.len() as u8], name.as_bytes()].concat();
        let uses = |file: &Vec<u8>| file.windows(field.len()).any(|part| part == field);
        assert!(files.iter().any(uses), "no file has a {name}");
    }
}

/// A seed that depends on nothing but the file's name.
fn seed(path: &Path) -> u64 {
    let hash = tree::hash(path.file_name().unwrap().as_encoded_bytes());
    u64::from_le_bytes(hash[..8].try_into().unwrap())
}

/// An error in a computed node.
fn fault(case: &Case, rng: &mut Rng) -> Fault {
    let nodes = (0..).zip(&case.program.nodes);
    let computed: Vec<(u32, &Node)> = nodes
        .filter(|(_, node)| !matches!(node, Node::Source(_)))
        .collect();
    let (node, target) = computed[rng.below(computed.len() as u64) as usize];
    let element = rng.below(target.len());
    match target {
        Node::Fold(_) if rng.below(2) == 0 => Fault::Accumulator {
            step: 0,
            node,
            element,
            r: rng.below(target.reduction()),
        },
        _ => Fault::Element {
            step: 0,
            node,
            element,
        },
    }
}

/// A wrong run, as soon as one of a few planted errors reaches the commitment.
fn liar(case: &Case, truth: &Commitment, rng: &mut Rng) -> Result<(Run, Fault), String> {
    for _ in 0..32 {
        let fault = fault(case, rng);
        let run = Run::new(case.clone(), 1, 1, Some(fault));
        if run.commitment() != *truth {
            return Ok((run, fault));
        }
    }
    Err("no planted error reaches the commitment".into())
}

fn reason(game: &Game) -> Result<(Side, Reason), String> {
    match game.phase {
        Phase::Over(outcome) => Ok((outcome.winner, outcome.reason)),
        phase => Err(format!("unfinished: {phase:?}")),
    }
}

fn dispute(path: &Path) -> Result<(), String> {
    let mut rng = Rng::new(seed(path));
    for case in cases(path)? {
        let mut honest = Party::new(&case);
        let truth = honest.commitment();
        let (liar, fault) = liar(&case, &truth, &mut rng)?;
        let mut game = Game::new(&liar.spec, &liar.commitment());
        play(&mut game, honest_defender(&liar), |game, revealed| {
            player::challenge(game, &mut honest, None, revealed).unwrap_or_else(|e| match e {})
        });
        match reason(&game)? {
            (Side::Challenger, Reason::Disproven { .. }) => {}
            other => return Err(format!("{fault:?} ends as {other:?}")),
        }
        for _ in 0..4 {
            let mut game = Game::new(&honest.spec, &truth);
            play(
                &mut game,
                |game| player::defend(game, &mut honest).unwrap_or_else(|e| match e {}),
                |game, revealed| Some(random_selection(game, revealed, &mut rng)),
            );
            match reason(&game)? {
                (Side::Defender, Reason::Proven) => {}
                other => return Err(format!("a wrong challenge ends as {other:?}")),
            }
        }
    }
    Ok(())
}

#[test]
fn an_error_in_any_operation_loses_and_so_does_a_wrong_challenge() {
    let (_folder, files) = operations();
    support::each(&files, dispute);
}

/// A word that is a number at the edge of f32 every other time.
fn word(rng: &mut Rng) -> u32 {
    const EDGES: [f32; 10] = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        0.0,
        -0.0,
        f32::MIN_POSITIVE,
        f32::MAX,
        f32::MIN,
        1.0,
        -1.0,
    ];
    match rng.below(8) {
        0 => rng.below(1 << 32) as u32,
        // Subnormal, of either sign.
        1 => rng.below(1 << 23) as u32 | (rng.below(2) as u32) << 31,
        2 | 3 => EDGES[rng.below(EDGES.len() as u64) as usize].to_bits(),
        _ => (rng.below(1 << 16) as f32 / 4096.0 - 8.0).to_bits(),
    }
}

/// Fills floats with numbers of all kinds, one in `rarity` of them, and integers with any.
fn disturb(case: &mut Case, rng: &mut Rng, rarity: u64) {
    for (node, bytes) in case.program.nodes.iter().zip(&mut case.state) {
        let size = node.dtype().size() as usize;
        for element in bytes.chunks_exact_mut(size) {
            if rng.below(rarity) == 0 {
                let word = match node.dtype() {
                    Dtype::F32 => word(rng),
                    _ => rng.below(12) as u32,
                };
                element.copy_from_slice(&word.to_le_bytes()[..size]);
            }
        }
    }
}

fn engines_agree(path: &Path) -> Result<(), String> {
    let mut rng = Rng::new(!seed(path));
    let [_, sound] = cases(path)?;
    // Where every number is strange, most results are NaN.
    for rarity in [1, 4, 40] {
        let mut case = sound.clone();
        disturb(&mut case, &mut rng, rarity);
        let oracle = Run::new(case.clone(), 1, 1, None);
        let mut fast = Party::new(&case);
        let nodes = FileId::Nodes { step: 0 };
        if fast.make(nodes) != oracle.bytes(nodes) {
            return Err(format!(
                "one in {rarity} numbers strange, and a node differs"
            ));
        }
        fast.engine.step(0);
        let state: Vec<Vec<u8>> = fast
            .engine
            .state()
            .into_iter()
            .map(<[u8]>::to_vec)
            .collect();
        if state_file(&state) != oracle.bytes(FileId::StateAfter { step: 0 }) {
            return Err(format!(
                "one in {rarity} numbers strange, and the state differs"
            ));
        }
    }
    Ok(())
}

#[test]
fn engines_agree_on_every_operation_whatever_the_numbers() {
    let (_folder, files) = operations();
    support::each(&files, engines_agree);
}

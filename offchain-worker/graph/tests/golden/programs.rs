//! Programs whose hashes are committed, so that an engine on another machine can be held to them
//! without the engine that made them.

use lockstep_engine::{Engine, Error, Job};
use lockstep_graph::recipe::Recipe;
use lockstep_protocol::eval::{Blob, Inputs};
use lockstep_protocol::random::{self, Size};
use lockstep_protocol::tree;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The hashes that the CPU engine has given: a line for each program.
pub const COMMITTED: &str = include_str!("hashes.txt");

/// Steps after which the state is hashed.
const STEPS: u32 = 3;

/// A program with everything that it reads.
pub struct Golden {
    pub name: String,
    /// Whether it trains a model, rather than being made up at random.
    pub model: bool,
    pub job: Job,
    pub state: Vec<Vec<u8>>,
}

/// The files of an example.
macro_rules! files {
    ($folder:literal: $($name:literal),*) => {
        [$(($name, include_bytes!(concat!("../../../../examples/", $folder, "/", $name)).as_slice())),*]
    };
}

/// The programs, those of the examples first. The examples' files are in the executable, so that it
/// can be carried to another machine alone.
pub fn programs() -> Vec<Golden> {
    let digits = files!("digits": "mlp.toml", "cnn.toml", "train.bin", "test.bin");
    let gpt = files!("gpt": "gpt.toml", "book.txt");
    let folder = tempfile::tempdir().expect("a folder for the examples' files");
    for (name, bytes) in digits.iter().chain(&gpt) {
        std::fs::write(folder.path().join(name), bytes).expect("room for the examples' files");
    }
    let recipes = [
        ("digits-mlp", "mlp.toml"),
        ("digits-cnn", "cnn.toml"),
        ("gpt", "gpt.toml"),
    ];
    let examples = recipes.map(|(name, file)| example(name, &folder.path().join(file)));
    let small = (0..40).map(|seed| random(&format!("small-{seed}"), seed, Size::SMALL));
    let large = (0..10).map(|seed| random(&format!("large-{seed}"), seed, Size::LARGE));
    examples.into_iter().chain(small).chain(large).collect()
}

fn example(name: &str, file: &Path) -> Golden {
    let text = std::fs::read_to_string(file).expect("the examples are in the repository");
    let folder = file.parent().expect("a recipe lies in a folder");
    let recipe = Recipe::from_toml(&text).expect("the examples are recipes");
    let task = recipe.build(folder).expect("the examples build");
    let blob = |bytes: Vec<u8>| Arc::new(bytes) as Blob;
    let constants = task.built.constants.iter();
    let inputs = Inputs {
        seed: task.seed,
        constants: constants
            .map(|(hash, bytes)| (*hash, blob(bytes.clone())))
            .collect(),
        datasets: vec![blob(task.train.bytes.to_vec())],
    };
    Golden {
        name: name.into(),
        model: true,
        state: task.built.genesis(),
        job: Job {
            program: Arc::new(task.built.program),
            inputs,
        },
    }
}

fn random(name: &str, seed: u64, size: Size) -> Golden {
    let case = random::program(seed, size);
    Golden {
        name: name.into(),
        model: false,
        job: Job {
            program: Arc::new(case.program),
            inputs: case.inputs,
        },
        state: case.state,
    }
}

/// What an engine makes of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashes {
    pub name: String,
    /// The root of the node trace of step 0.
    pub trace: String,
    /// The root of the state after [`STEPS`] steps.
    pub state: String,
}

impl fmt::Display for Hashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.trace, self.state)
    }
}

/// The hashes that an engine of the program's job gives.
pub fn hashes(golden: &Golden, engine: &mut dyn Engine) -> Result<Hashes, Error> {
    engine.load(&golden.state)?;
    let mut trace = Vec::new();
    engine.trace(0, &mut |_, bytes| trace.extend(tree::hash(bytes)));
    (0..STEPS).for_each(|step| engine.step(step));
    let state: Vec<u8> = engine.state().into_iter().flat_map(tree::hash).collect();
    Ok(Hashes {
        name: golden.name.clone(),
        trace: hex(&trace),
        state: hex(&state),
    })
}

fn hex(file: &[u8]) -> String {
    let digits = tree::hash(file).map(|byte| format!("{byte:02x}"));
    digits.concat()
}

/// The committed hashes of a program.
pub fn committed(name: &str) -> Option<Hashes> {
    COMMITTED.lines().find_map(|line| {
        let mut words = line.split(' ').map(String::from);
        let [found, trace, state] = [words.next()?, words.next()?, words.next()?];
        (found == name).then_some(Hashes {
            name: found,
            trace,
            state,
        })
    })
}

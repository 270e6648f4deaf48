//! Recordings of PyTorch, and programs run beside them.
#![allow(dead_code)] // Every test file uses its own part.

#[path = "../../../data/tests/support/allocator.rs"]
pub mod allocator;
pub mod onnx;
pub mod operation;
pub mod whole;

use lockstep_engine::{cpu, reference::Reference, Engine, Job};
use lockstep_graph::{lower::lower, Graph, State, Value};
use lockstep_protocol::{
    eval::{Blob, Inputs},
    program::Dtype,
    random::Case,
};
use safetensors::{Dtype as Type, SafeTensors};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The files of a folder of the fixtures with this extension, in alphabetical order.
pub fn fixtures(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(folder);
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|p| p.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    files
}

/// Checks every file, and fails with all that is wrong.
pub fn each(files: &[PathBuf], check: impl Fn(&Path) -> Result<(), String>) {
    let failed = |path: &PathBuf| {
        let reason = check(path).err()?;
        Some(format!("{}: {reason}", path.file_stem()?.to_string_lossy()))
    };
    let failures: Vec<String> = files.iter().filter_map(failed).collect();
    assert!(
        failures.is_empty(),
        "{} fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// A recorded tensor.
#[derive(Clone)]
pub struct Recorded {
    pub shape: Vec<usize>,
    pub dtype: Dtype,
    pub bytes: Vec<u8>,
}

impl Recorded {
    pub fn floats(&self) -> Vec<f32> {
        assert_eq!(self.dtype, Dtype::F32);
        floats(&self.bytes)
    }
}

/// f32 from bytes.
pub fn floats(bytes: &[u8]) -> Vec<f32> {
    let number = |c: &[u8]| f32::from_le_bytes(c.try_into().unwrap());
    bytes.chunks_exact(4).map(number).collect()
}

/// What PyTorch computed.
pub struct Recording(BTreeMap<String, Recorded>);

impl Recording {
    pub fn read(path: &Path) -> Recording {
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = |(name, view): (String, safetensors::tensor::TensorView)| {
            let dtype = match view.dtype() {
                Type::F32 => Dtype::F32,
                Type::I32 => Dtype::I32,
                Type::U8 => Dtype::U8,
                other => panic!("{name} is of type {other:?}"),
            };
            let (shape, bytes) = (view.shape().to_vec(), view.data().to_vec());
            (
                name,
                Recorded {
                    shape,
                    dtype,
                    bytes,
                },
            )
        };
        Recording(file.tensors().into_iter().map(tensor).collect())
    }

    pub fn get(&self, name: &str) -> &Recorded {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not recorded"))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.keys().map(|name| &name[..])
    }

    /// The greatest magnitude in all tensors whose names begin so.
    pub fn greatest(&self, prefix: &str) -> f64 {
        let tensors = self.0.iter().filter(|(name, _)| name.starts_with(prefix));
        let sizes = tensors.flat_map(|(_, tensor)| tensor.floats());
        sizes.fold(0.0, |m, x| m.max(x.abs().into()))
    }

    /// Whether a tensor is the recorded one up to `tolerance`, relative to its greatest element or
    /// to `least` where that is more.
    pub fn compare(
        &self,
        name: &str,
        got: &[f32],
        tolerance: f64,
        least: f64,
    ) -> Result<(), String> {
        let want = self.get(name).floats();
        if want.len() != got.len() {
            return Err(format!(
                "{name}: {} elements, not {}",
                got.len(),
                want.len()
            ));
        }
        let scale = want.iter().fold(least, |m: f64, &x| m.max(x.abs().into()));
        for (k, (&g, &w)) in got.iter().zip(&want).enumerate() {
            if g.is_nan() || f64::from(g - w).abs() > tolerance * scale {
                return Err(format!("element {k} of {name}: {g} instead of {w}"));
            }
        }
        Ok(())
    }
}

/// States of a graph under test.
#[derive(Default)]
pub struct Bench {
    slots: Vec<(State, Value)>,
    state: Vec<Vec<u8>>,
}

impl Bench {
    /// An input that is a state tensor of the program.
    pub fn input(&mut self, graph: &mut Graph, tensor: &Recorded) -> Value {
        let (state, value) = graph.state(&tensor.shape, tensor.dtype);
        self.slots.push((state, value));
        self.state.push(tensor.bytes.clone());
        value
    }

    /// A state that the graph has already.
    pub fn state(&mut self, state: State, value: Value, initial: &[f32]) {
        self.slots.push((state, value));
        self.state
            .push(initial.iter().flat_map(|x| x.to_le_bytes()).collect());
    }

    /// The program whose next state ends with `outputs`, and all that it reads.
    pub fn case(mut self, graph: &mut Graph, outputs: &[Value]) -> Case {
        for &value in outputs {
            let shape = graph.shape(value).to_vec();
            let (state, old) = graph.state(&shape, Dtype::F32);
            self.slots.push((state, value));
            let elements = graph.shape(old).iter().product::<usize>();
            self.state.push(vec![0; elements * 4]);
        }
        let blob = |(hash, bytes): (&[u8; 32], &Vec<u8>)| (*hash, Arc::new(bytes.clone()) as Blob);
        Case {
            program: lower(graph, &self.slots).unwrap(),
            inputs: Inputs {
                seed: 1,
                datasets: vec![],
                constants: graph.constants().iter().map(blob).collect(),
            },
            state: self.state,
            batch: 1,
            record_sizes: vec![],
        }
    }

    /// The elements of `outputs` after a step, on which the reference and the CPU engine agree.
    pub fn run(self, graph: &mut Graph, outputs: &[Value]) -> Vec<Vec<f32>> {
        let first = self.slots.len();
        let case = self.case(graph, outputs);
        let step = |mut engine: Box<dyn Engine>| {
            engine.load(&case.state).unwrap();
            engine.step(0);
            let state = engine.state().into_iter().map(<[u8]>::to_vec);
            state.skip(first).collect::<Vec<Vec<u8>>>()
        };
        let oracle = step(Box::new(Reference::new(job(&case)).unwrap()));
        let fast = step(Box::new(cpu(&case)));
        assert!(oracle == fast, "the engines differ");
        fast.iter().map(|bytes| floats(bytes)).collect()
    }
}

/// What an engine runs.
pub fn job(case: &Case) -> Job {
    Job {
        program: Arc::new(case.program.clone()),
        inputs: case.inputs.clone(),
    }
}

/// The CPU engine for a case, with one thread.
pub fn cpu(case: &Case) -> cpu::Cpu {
    let options = cpu::Options {
        threads: Some(1),
        ..cpu::Options::default()
    };
    cpu::Cpu::new(job(case), options).unwrap()
}

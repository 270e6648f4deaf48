//! Everything a task reads, fetched and verified before anything is promised.

use super::Error;
use crate::store::{self, Store};
use lockstep_engine::Job;
use lockstep_protocol::eval::{Blob, Inputs};
use lockstep_protocol::program::{Node, Program, Source};
use lockstep_protocol::task::TaskSpec;
use lockstep_protocol::{validate, Hash};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A task's verified files.
#[derive(Clone)]
pub struct Workload {
    /// What is to be computed.
    pub spec: TaskSpec,
    /// One step of it.
    pub program: Arc<Program>,
    /// Datasets and constants.
    pub inputs: Inputs,
    /// The initial state, in slot order.
    pub genesis: Vec<Vec<u8>>,
}

impl Workload {
    /// Fetches a task's files, each checked by hash and by the exact length that the task gives
    /// it, and validates the program with the code that the contract runs. What this accepts can
    /// be proven on chain, step by step.
    ///
    /// # Errors
    /// When a file is absent or wrong, or the program is not valid for the task.
    pub fn fetch(store: &Store, spec: &TaskSpec) -> Result<Workload, Error> {
        spec.check()
            .map_err(|fault| Error::Invalid(fault.to_string()))?;
        let program = store.get_program(&spec.program, spec.nodes, spec.slots)?;
        validate::spec(&program, spec).map_err(|invalid| Error::Invalid(invalid.to_string()))?;
        let mut datasets: Vec<Blob> = Vec::with_capacity(spec.datasets.len());
        for dataset in &spec.datasets {
            datasets.push(Arc::new(store.get_exact(&dataset.root, dataset.bytes())?));
        }
        let mut constants: BTreeMap<Hash, Blob> = BTreeMap::new();
        for node in &program.nodes {
            if let Node::Source(Source::Constant { hash, .. }) = node {
                if !constants.contains_key(hash) {
                    let bytes = store.get_exact(hash, node.bytes())?;
                    constants.insert(*hash, Arc::new(bytes));
                }
            }
        }
        let genesis = load_state(store, &program, &spec.genesis)?;
        let inputs = Inputs {
            seed: spec.seed,
            datasets,
            constants,
        };
        // Two nodes may name one constant by different shapes, of which only one can be opened.
        inputs
            .check(&program)
            .map_err(|missing| Error::Invalid(missing.to_string()))?;
        Ok(Workload {
            spec: spec.clone(),
            program: Arc::new(program),
            inputs,
            genesis,
        })
    }

    /// Puts every file of the task into a store.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn publish(&self, store: &Store) -> Result<(), store::Error> {
        store.put_program(&self.program)?;
        let files = self
            .inputs
            .datasets
            .iter()
            .chain(self.inputs.constants.values());
        for file in files {
            store.put((**file).as_ref())?;
        }
        let tensors: Vec<&[u8]> = self.genesis.iter().map(Vec::as_slice).collect();
        save_state(store, &tensors)?;
        Ok(())
    }

    /// What an engine runs.
    pub fn job(&self) -> Job {
        Job {
            program: self.program.clone(),
            inputs: self.inputs.clone(),
        }
    }
}

/// The state file: the hash of each tensor, in slot order.
pub fn state_file(tensors: &[&[u8]]) -> Vec<u8> {
    tensors
        .iter()
        .flat_map(|tensor| *blake3::hash(tensor).as_bytes())
        .collect()
}

/// Stores a state's tensors and its file, and returns the state's hash.
///
/// # Errors
/// When the store refuses.
pub fn save_state(store: &Store, tensors: &[&[u8]]) -> Result<Hash, store::Error> {
    store.put(&store.put_all(tensors)?.concat())
}

/// The tensors of a state, in slot order.
///
/// # Errors
/// When one is absent, damaged or of another length than its slot.
pub fn load_state(
    store: &Store,
    program: &Program,
    state: &Hash,
) -> Result<Vec<Vec<u8>>, store::Error> {
    let file = store.get_exact(state, program.slots as u64 * 32)?;
    let hashes = file.chunks_exact(32);
    let slots = hashes.zip(&program.nodes);
    slots
        .map(|(hash, node)| {
            let hash = hash.try_into().expect("chunks have 32 bytes");
            store.get_exact(&hash, node.bytes())
        })
        .collect()
}

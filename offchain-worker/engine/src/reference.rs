//! The protocol's own evaluator behind the engine trait: slow, and right by definition.

use crate::{checked, Engine, Error, Job};
use lockstep_protocol::eval;

/// Runs a program with `lockstep_protocol::eval`.
pub struct Reference {
    job: Job,
    state: Vec<Vec<u8>>,
}

impl Reference {
    /// An engine whose state is all zeros.
    ///
    /// # Errors
    /// When the program is not valid or an input is missing.
    pub fn new(job: Job) -> Result<Reference, Error> {
        checked(&job)?;
        let slots = job.program.slots as usize;
        let state = job.program.nodes[..slots]
            .iter()
            .map(|node| vec![0; node.bytes() as usize])
            .collect();
        Ok(Reference { job, state })
    }

    fn values(&self, step: u32) -> Vec<Vec<u8>> {
        eval::run(&self.job.program, step, &self.job.inputs, &self.state)
    }
}

impl Engine for Reference {
    fn name(&self) -> String {
        "reference".into()
    }

    fn load(&mut self, state: &[Vec<u8>]) -> Result<(), Error> {
        crate::check_state(&self.job.program, state)?;
        self.state = state.to_vec();
        Ok(())
    }

    fn state(&self) -> Vec<&[u8]> {
        self.state.iter().map(Vec::as_slice).collect()
    }

    fn step(&mut self, step: u32) {
        let mut values = self.values(step);
        self.state = values.split_off(self.job.program.next_state().start);
    }

    fn trace(&mut self, step: u32, sink: &mut dyn FnMut(u32, &[u8])) {
        for (node, value) in self.values(step).iter().enumerate() {
            sink(node as u32, value);
        }
    }

    fn tensor(&mut self, step: u32, node: u32) -> Vec<u8> {
        self.values(step).swap_remove(node as usize)
    }

    fn fold(&mut self, step: u32, node: u32, element: u64) -> Vec<u8> {
        let values = self.values(step);
        eval::fold_trace(&self.job.program.nodes[node as usize], &values, element)
    }
}

//! The engine on any [`Device`]: state stays on the device between steps and comes back only when
//! somebody asks for it.

use super::codegen::{Code, Keep, Turn};
use super::device::{Device, Memory};
use super::hash::Hasher;
use super::layout::{Fixed, Layout, Place, Region};
use crate::batches::Batches;
use crate::{checked, Engine, Error, Failed, Job};
use lockstep_protocol::eval;
use lockstep_protocol::program::{Node, Source};
use lockstep_protocol::Hash;
use std::panic::resume_unwind;
use std::sync::OnceLock;

/// Runs a program on a device.
///
/// [`Engine`]'s methods unwind with [`Failed`] when the device fails while it runs.
pub struct Cuda<D: Device> {
    job: Job,
    batches: Batches,
    fixed: Fixed,
    constants: D::Memory,
    inputs: D::Memory,
    /// What is sent to `inputs`.
    staged: Vec<u8>,
    /// The state before and after a step; they change places.
    states: [D::Memory; 2],
    current: usize,
    /// The state's bytes, once they have been asked for.
    mirror: OnceLock<Vec<Vec<u8>>>,
    advance: Path<D>,
    /// How each of the two places of the state is advanced, once that has been recorded.
    graphs: [Option<D::Graph>; 2],
    /// Every node by itself, once a dispute asks for it.
    everything: Option<(Code, D::Module)>,
    hasher: Hasher<D>,
    device: D,
}

/// A run that is ready: what is launched, and where.
struct Path<D: Device> {
    code: Code,
    module: D::Module,
    layout: Layout,
    arena: D::Memory,
}

/// The addresses of a run's regions.
struct Addresses {
    state: u64,
    next: u64,
    constants: u64,
    inputs: u64,
    arena: u64,
}

impl Addresses {
    fn of(&self, place: Place) -> u64 {
        place.offset
            + match place.region {
                Region::State => self.state,
                Region::Next => self.next,
                Region::Constants => self.constants,
                Region::Inputs => self.inputs,
                Region::Arena => self.arena,
            }
    }
}

impl<D: Device> Cuda<D> {
    /// An engine whose state is all zeros.
    ///
    /// # Errors
    /// When the program is not valid, an input is missing, the kernels cannot be compiled, or the
    /// device has not enough memory.
    pub fn new(job: Job, device: D) -> Result<Cuda<D>, Error> {
        checked(&job)?;
        let program = &job.program;
        let fixed = Fixed::new(program);
        let code = Code::new(program, Keep::Needed, device.machine());
        let turns: Vec<&Turn> = code.turns.iter().collect();
        let layout = Layout::new(program, &fixed, &turns, &[], true);
        let advance = Path {
            module: device.compile(&code.source)?,
            arena: device.allocate(layout.arena)?,
            code,
            layout,
        };
        let constants = device.allocate(fixed.constants.bytes)?;
        for (node, offset) in program.nodes.iter().zip(&fixed.constants.offsets) {
            if let (Node::Source(Source::Constant { hash, .. }), Some(offset)) = (node, offset) {
                let bytes = (*job.inputs.constants[hash]).as_ref();
                // SAFETY: the row has room for the node's bytes, which checked inputs have.
                unsafe { device.upload(constants.address() + offset, bytes)? };
            }
        }
        let slots = &program.nodes[..program.slots as usize];
        let offsets = fixed.state.offsets.iter().flatten();
        let tensors: Vec<(u64, u64)> = offsets
            .zip(slots)
            .map(|(offset, node)| (*offset, node.bytes()))
            .collect();
        Ok(Cuda {
            hasher: Hasher::new(&device, &tensors)?,
            batches: Batches::new(program, &job.inputs),
            constants,
            inputs: device.allocate(fixed.inputs.bytes)?,
            staged: vec![0; fixed.inputs.bytes as usize],
            states: [
                device.allocate(fixed.state.bytes)?,
                device.allocate(fixed.state.bytes)?,
            ],
            current: 0,
            mirror: OnceLock::new(),
            advance,
            graphs: [None, None],
            everything: None,
            fixed,
            job,
            device,
        })
    }

    fn addresses(&self, arena: &D::Memory) -> Addresses {
        Addresses {
            state: self.states[self.current].address(),
            next: self.states[1 - self.current].address(),
            constants: self.constants.address(),
            inputs: self.inputs.address(),
            arena: arena.address(),
        }
    }

    /// Sends what a step reads from the host.
    fn send_inputs(&mut self, step: u32) -> Result<(), Error> {
        self.batches.look_up(step);
        let nodes = &self.job.program.nodes;
        for (node, offset) in nodes.iter().zip(&self.fixed.inputs.offsets) {
            if let (Node::Source(source), Some(offset)) = (node, offset) {
                let out = &mut self.staged[*offset as usize..][..node.bytes() as usize];
                self.batches.write(source, &self.job.inputs, step, out);
            }
        }
        if self.staged.is_empty() {
            return Ok(());
        }
        // SAFETY: `inputs` has as many bytes as are staged.
        unsafe { self.device.upload(self.inputs.address(), &self.staged) }
    }

    fn try_step(&mut self, step: u32) -> Result<(), Error> {
        self.mirror.take();
        self.send_inputs(step)?;
        if self.graphs[self.current].is_none() {
            let graph = self.device.record(&mut || self.launch_all())?;
            self.graphs[self.current] = graph;
        }
        match &self.graphs[self.current] {
            // SAFETY: the graph names memory and a module of this engine.
            Some(graph) => unsafe { self.device.replay(graph)? },
            None => self.launch_all()?,
        }
        self.current = 1 - self.current;
        Ok(())
    }

    /// Computes the next state.
    fn launch_all(&self) -> Result<(), Error> {
        let Path {
            code,
            module,
            layout,
            arena,
        } = &self.advance;
        let addresses = self.addresses(arena);
        for turn in &code.turns {
            self.launch(module, turn, layout, &addresses)?;
        }
        let program = &self.job.program;
        for (slot, n) in program.next_state().enumerate() {
            if !matches!(program.nodes[n], Node::Source(_)) {
                continue;
            }
            let place = layout.places[n].expect("a source has a place");
            let offset = self.fixed.state.offsets[slot].expect("every slot has a place");
            let (from, to) = (addresses.of(place), addresses.next + offset);
            // SAFETY: both places have room for the node.
            unsafe { self.device.copy(from, to, program.nodes[n].bytes())? };
        }
        Ok(())
    }

    fn launch(
        &self,
        module: &D::Module,
        turn: &Turn,
        layout: &Layout,
        addresses: &Addresses,
    ) -> Result<(), Error> {
        let nodes = turn.writes.iter().chain(&turn.reads);
        let pointers: Vec<u64> = nodes
            .map(|n| addresses.of(layout.places[*n].expect("what is used is placed")))
            .collect();
        // SAFETY: the layout gives every value of the code a place of its size, which nothing else
        // uses before its last reader.
        unsafe { self.device.launch(module, &turn.launch, &pointers) }
    }

    /// Makes ready to compute every node by itself, or those alone that `kept` needs, whose values
    /// stay to the end. The state stays as it is.
    fn apart(&mut self, step: u32, kept: Option<&[usize]>) -> Result<Apart<'_, D>, Error> {
        self.send_inputs(step)?;
        if self.everything.is_none() {
            let code = Code::new(&self.job.program, Keep::Everything, self.device.machine());
            let module = self.device.compile(&code.source)?;
            self.everything = Some((code, module));
        }
        let engine: &Cuda<D> = self;
        let program = &engine.job.program;
        let (code, module) = engine
            .everything
            .as_ref()
            .expect("it has just been compiled");
        let mut needed = vec![kept.is_none(); program.nodes.len()];
        kept.unwrap_or_default()
            .iter()
            .for_each(|n| needed[*n] = true);
        for turn in code.turns.iter().rev() {
            if turn.writes.iter().any(|n| needed[*n]) {
                turn.reads.iter().for_each(|read| needed[*read] = true);
            }
        }
        let turns: Vec<&Turn> = code
            .turns
            .iter()
            .filter(|turn| turn.writes.iter().any(|n| needed[*n]))
            .collect();
        let kept = kept.unwrap_or_default();
        let layout = Layout::new(program, &engine.fixed, &turns, kept, false);
        let arena = engine.device.allocate(layout.arena)?;
        Ok(Apart {
            engine,
            module,
            turns,
            addresses: engine.addresses(&arena),
            layout,
            _arena: arena,
        })
    }

    /// The bytes of some nodes in a step.
    fn values(&mut self, step: u32, nodes: &[usize]) -> Result<Vec<Vec<u8>>, Error> {
        let apart = self.apart(step, Some(nodes))?;
        apart.turns.iter().try_for_each(|turn| apart.run(turn))?;
        nodes.iter().map(|n| apart.read(*n)).collect()
    }

    fn try_trace(&mut self, step: u32, sink: &mut dyn FnMut(u32, &[u8])) -> Result<(), Error> {
        let nodes = self.job.program.nodes.len();
        let apart = self.apart(step, None)?;
        let mut turns = apart.turns.iter().peekable();
        for n in 0..nodes {
            if let Some(turn) = turns.next_if(|turn| turn.writes.contains(&n)) {
                apart.run(turn)?;
            }
            sink(n as u32, &apart.read(n)?);
        }
        Ok(())
    }
}

/// A run of single nodes.
struct Apart<'a, D: Device> {
    engine: &'a Cuda<D>,
    module: &'a D::Module,
    turns: Vec<&'a Turn>,
    layout: Layout,
    addresses: Addresses,
    /// Holds what `addresses` names.
    _arena: D::Memory,
}

impl<D: Device> Apart<'_, D> {
    fn run(&self, turn: &Turn) -> Result<(), Error> {
        self.engine
            .launch(self.module, turn, &self.layout, &self.addresses)
    }

    fn read(&self, n: usize) -> Result<Vec<u8>, Error> {
        let place = self.layout.places[n].expect("what is read back is placed");
        let mut bytes = vec![0; self.engine.job.program.nodes[n].bytes() as usize];
        let from = self.addresses.of(place);
        // SAFETY: the place has the node's size.
        unsafe { self.engine.device.download(from, &mut bytes)? };
        Ok(bytes)
    }
}

/// Unwinds when the device failed in the middle of a run.
fn running<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| resume_unwind(Box::new(Failed(error.to_string()))))
}

impl<D: Device> Engine for Cuda<D> {
    fn name(&self) -> String {
        self.device.name()
    }

    fn load(&mut self, state: &[Vec<u8>]) -> Result<(), Error> {
        crate::check_state(&self.job.program, state)?;
        self.mirror.take();
        let base = self.states[self.current].address();
        for (offset, bytes) in self.fixed.state.offsets.iter().flatten().zip(state) {
            // SAFETY: the row has room for the slot, whose length has been checked.
            unsafe { self.device.upload(base + offset, bytes)? };
        }
        Ok(())
    }

    fn state(&self) -> Vec<&[u8]> {
        let mirror = self.mirror.get_or_init(|| {
            let base = self.states[self.current].address();
            let slots = &self.job.program.nodes[..self.job.program.slots as usize];
            let offsets = self.fixed.state.offsets.iter().flatten();
            let slot = |(node, offset): (&Node, &u64)| {
                let mut bytes = vec![0; node.bytes() as usize];
                // SAFETY: the row has room for the slot.
                running(unsafe { self.device.download(base + offset, &mut bytes) });
                bytes
            };
            slots.iter().zip(offsets).map(slot).collect()
        });
        mirror.iter().map(Vec::as_slice).collect()
    }

    fn hashes(&self) -> Vec<Hash> {
        let state = self.states[self.current].address();
        // SAFETY: the state's row is made of these tensors.
        running(unsafe { self.hasher.run(&self.device, state) })
    }

    fn step(&mut self, step: u32) {
        running(self.try_step(step));
    }

    fn wait(&self) {
        running(self.device.synchronize());
    }

    fn trace(&mut self, step: u32, sink: &mut dyn FnMut(u32, &[u8])) {
        running(self.try_trace(step, sink));
    }

    fn tensor(&mut self, step: u32, node: u32) -> Vec<u8> {
        running(self.values(step, &[node as usize])).swap_remove(0)
    }

    fn fold(&mut self, step: u32, node: u32, element: u64) -> Vec<u8> {
        let program = self.job.program.clone();
        let fold = &program.nodes[node as usize];
        let mut reads: Vec<usize> = fold.accesses().map(|a| a.node as usize).collect();
        reads.sort_unstable();
        reads.dedup();
        let mut values = vec![Vec::new(); program.nodes.len()];
        if !reads.is_empty() {
            let read = running(self.values(step, &reads));
            for (n, bytes) in reads.iter().zip(read) {
                values[*n] = bytes;
            }
        }
        eval::fold_trace(fold, &values, element)
    }
}

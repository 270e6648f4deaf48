//! The CPU engine: every core, the widest vectors, and the protocol's bits.

use crate::batches::Batches;
use crate::{checked, Engine, Error, Job};
use buffer::Buffer;
pub use describe::{describe, Description, MemoryUse, NodeCost};
use kernel::Kernel;
use lockstep_protocol::program::{Access, Node, Program};
use lockstep_protocol::step::{self, Reads};
use memory::{Constants, Memory, Values};
use payloads::Payloads;
use plan::{Goal, Plan};
pub use simd::Simd;
use std::convert::Infallible;
use std::time::{Duration, Instant};
use workers::{Team, Workers};

mod affine;
mod block;
mod buffer;
mod contraction;
mod describe;
mod exec;
mod gather;
mod gemm;
mod integer;
mod kernel;
mod magnitude;
mod memory;
mod nested;
mod order;
mod padding;
mod payloads;
mod plan;
mod product;
mod scatter;
mod simd;
mod tape;
mod walk;
mod workers;

/// How the CPU engine runs. The results depend on none of it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Number of threads; all cores when absent.
    pub threads: Option<usize>,
    /// Instruction set; the widest that the machine has when absent.
    pub simd: Option<Simd>,
    /// Instructions times points that are worth a task of their own.
    pub grain: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            threads: None,
            simd: None,
            grain: 1 << 17,
        }
    }
}

/// Runs a program on the CPU.
pub struct Cpu {
    job: Job,
    simd: Simd,
    workers: Workers,
    payloads: Payloads,
    kernels: Vec<Option<Kernel>>,
    constants: Constants,
    batches: Batches,
    state: Vec<Buffer>,
    next: Vec<Buffer>,
    advance: Plan,
    buffers: Vec<Buffer>,
}

impl Cpu {
    /// An engine whose state is all zeros.
    ///
    /// # Errors
    /// When the program is not valid, an input is missing, the instruction set is not there, or
    /// threads cannot be started.
    pub fn new(job: Job, options: Options) -> Result<Cpu, Error> {
        checked(&job)?;
        let simd = options.simd.unwrap_or_else(Simd::best);
        if !simd.supported() {
            return Err(Error::Device(format!(
                "this machine has no {simd}; leave the instruction set to the engine"
            )));
        }
        let program = &job.program;
        let payloads = Payloads::new(program, &job.inputs);
        let kernels = kernels(program, &payloads, simd);
        // A small program is done before another thread has woken up.
        let divisible = |kernel: &Kernel| kernel.divisible(options.grain);
        let threads = match kernels.iter().flatten().any(divisible) {
            true => options.threads,
            false => Some(1),
        };
        let workers = Workers::new(threads, options.grain)
            .map_err(|error| Error::Device(format!("cannot start threads: {error}")))?;
        let slots = &program.nodes[..program.slots as usize];
        let state: Vec<Buffer> = slots
            .iter()
            .map(|node| Buffer::zeroed(node.bytes() as usize))
            .collect();
        let advance = Plan::new(program, Goal::Advance);
        Ok(Cpu {
            simd,
            workers,
            payloads,
            kernels,
            constants: Constants::new(program, &job.inputs),
            batches: Batches::new(program, &job.inputs),
            next: state.clone(),
            state,
            buffers: allocate(&advance),
            advance,
            job,
        })
    }

    /// As [`Engine::step`]; `time` is told of every node how long it took.
    pub fn step_timed(&mut self, step: u32, time: &mut dyn FnMut(u32, Duration)) {
        self.advance(|run| {
            for n in 0..run.job.program.nodes.len() {
                let began = Instant::now();
                run.node(n, step);
                time(n as u32, began.elapsed());
            }
        });
    }

    /// Runs a step by `compute` and advances the state.
    fn advance(&mut self, compute: impl FnOnce(&mut Run)) {
        let plan = std::mem::take(&mut self.advance);
        let mut buffers = std::mem::take(&mut self.buffers);
        compute(&mut self.under(&plan, &mut buffers));
        self.advance = plan;
        self.buffers = buffers;
        std::mem::swap(&mut self.state, &mut self.next);
    }

    /// A run under `plan`.
    fn under<'a>(&'a mut self, plan: &'a Plan, buffers: &'a mut [Buffer]) -> Run<'a> {
        Run {
            job: &self.job,
            kernels: &self.kernels,
            batches: &mut self.batches,
            team: self.workers.team(),
            memory: Memory {
                plan,
                constants: &self.constants,
                state: &self.state,
                next: &mut self.next,
                buffers,
            },
        }
    }
}

/// One step of a program under a plan.
struct Run<'a> {
    job: &'a Job,
    kernels: &'a [Option<Kernel>],
    batches: &'a mut Batches,
    team: Team<'a>,
    memory: Memory<'a>,
}

impl Run<'_> {
    /// Computes one node, if the plan wants it.
    fn node(&mut self, n: usize, step: u32) {
        let node = &self.job.program.nodes[n];
        self.batches.look_up(step);
        let (inputs, batches, team) = (&self.job.inputs, &*self.batches, self.team);
        self.memory
            .write(n, |values, out| match (node, &self.kernels[n]) {
                (Node::Source(source), _) => {
                    memory::write_source(source, n, inputs, batches, step, values, out)
                }
                (_, Some(kernel)) => kernel.run(values, team, out),
                (_, None) => unreachable!("every map and fold has a kernel"),
            });
    }

    /// Computes every node that the plan wants.
    fn all(&mut self, step: u32) {
        let nodes = self.job.program.nodes.len();
        (0..nodes).for_each(|n| self.node(n, step));
    }
}

impl Engine for Cpu {
    fn name(&self) -> String {
        format!("cpu/{} x{}", self.simd, self.workers.count())
    }

    fn load(&mut self, state: &[Vec<u8>]) -> Result<(), Error> {
        crate::check_state(&self.job.program, state)?;
        for (slot, bytes) in self.state.iter_mut().zip(state) {
            slot.bytes_mut().copy_from_slice(bytes);
        }
        let program = &self.job.program;
        let payloads = self.payloads.with_state(program, &self.state);
        if payloads != self.payloads {
            self.kernels = kernels(program, &payloads, self.simd);
            self.payloads = payloads;
        }
        Ok(())
    }

    fn state(&self) -> Vec<&[u8]> {
        self.state.iter().map(Buffer::bytes).collect()
    }

    fn step(&mut self, step: u32) {
        self.advance(|run| run.all(step));
    }

    fn trace(&mut self, step: u32, sink: &mut dyn FnMut(u32, &[u8])) {
        let plan = Plan::new(&self.job.program, Goal::Trace);
        let mut buffers = allocate(&plan);
        let mut run = self.under(&plan, &mut buffers);
        for n in 0..run.job.program.nodes.len() {
            run.node(n, step);
            sink(n as u32, run.memory.values().get(n as u32));
        }
    }

    fn tensor(&mut self, step: u32, node: u32) -> Vec<u8> {
        let plan = Plan::new(&self.job.program, Goal::Tensor(node));
        let mut buffers = allocate(&plan);
        let mut run = self.under(&plan, &mut buffers);
        run.all(step);
        run.memory.values().get(node).to_vec()
    }

    fn fold(&mut self, step: u32, node: u32, element: u64) -> Vec<u8> {
        let plan = Plan::new(&self.job.program, Goal::Operands(node));
        let mut buffers = allocate(&plan);
        let mut run = self.under(&plan, &mut buffers);
        run.all(step);
        let node = &run.job.program.nodes[node as usize];
        let Node::Fold(fold) = node else {
            panic!("only a fold has a fold trace");
        };
        let operands = &mut Operands(run.memory.values());
        let size = node.dtype().size() as usize;
        let mut trace = Vec::with_capacity(node.reduction() as usize * size);
        let Ok(mut acc) = step::fold_init(fold, element, operands);
        for r in 0..node.reduction() {
            let Ok(next) = step::fold_step(fold, element, r, acc, operands);
            acc = next;
            trace.extend_from_slice(&acc.to_le_bytes()[..size]);
        }
        trace
    }
}

/// The operands of a fold whose steps the protocol itself takes.
struct Operands<'a>(Values<'a>);

impl Reads for Operands<'_> {
    type Error = Infallible;

    fn load(&mut self, _: usize, access: &Access, offset: u64) -> Result<u32, Infallible> {
        let at = (offset * access.dtype.size()) as usize;
        Ok(access.dtype.load(&self.0.get(access.node)[at..]))
    }
}

/// A kernel for every node that is not a source.
fn kernels(program: &Program, payloads: &Payloads, simd: Simd) -> Vec<Option<Kernel>> {
    let nodes = program.nodes.iter();
    nodes
        .map(|node| Kernel::new(program, node, payloads, simd))
        .collect()
}

fn allocate(plan: &Plan) -> Vec<Buffer> {
    plan.buffers
        .iter()
        .map(|len| Buffer::zeroed(*len))
        .collect()
}

//! Deliberate errors, so that a dispute can be watched and tested: a run that is wrong in exactly
//! one place and follows from itself everywhere else.
//!
//! The liar computes with another program in one step. Its traces, tensors and fold traces are
//! those of that program, so it lies consistently all the way down, and only the last scalar step
//! shows it.

use super::workload::Workload;
use super::{Device, Error};
use lockstep_engine::{Engine, Job};
use lockstep_protocol::philox;
use lockstep_protocol::program::{
    elements, limits, var, Body, Dim, Dtype, Fold, Form, Node, Op, Program, Source,
};
use lockstep_protocol::{validate, Hash};
use scale::{Decode, Encode};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A checkpoint is a made-up hash with nothing behind it.
    Checkpoint,
    /// A step is skipped.
    Step,
    /// An element of the state changes after a step.
    State,
    /// A value that comes from outside is another.
    Source,
    /// An element of a map is wrong.
    Map,
    /// One step of one element's fold is wrong.
    Fold,
}

/// An error and its place. Numbers that its level does not use are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of error.
    pub level: Level,
    /// The step, counted over the task; for a checkpoint any step of its segment.
    pub step: u32,
    /// The node; for the state the slot.
    pub node: u32,
    /// The element of the node's value.
    pub element: u64,
    /// The step of the fold.
    pub r: u64,
    /// The segment that `step` lies in.
    segment: u32,
}

/// A place as it is written: `step=137,node=12,element=5,r=3`, each part optional.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The step, counted over the task.
    pub step: Option<u32>,
    /// The node or slot.
    pub node: Option<u32>,
    /// The element.
    pub element: Option<u64>,
    /// The step of the fold.
    pub r: Option<u64>,
}

/// Places tried before giving up.
const TRIES: u64 = 200;

/// Philox domain of the choice of places.
const DOMAIN: u32 = 0x0066_6c74;

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Level, String> {
        Ok(match text {
            "checkpoint" => Level::Checkpoint,
            "step" => Level::Step,
            "state" => Level::State,
            "source" => Level::Source,
            "map" => Level::Map,
            "fold" => Level::Fold,
            _ => return Err("a level is checkpoint, step, state, source, map or fold".into()),
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Checkpoint => "checkpoint",
            Level::Step => "step",
            Level::State => "state",
            Level::Source => "source",
            Level::Map => "map",
            Level::Fold => "fold",
        })
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let mut place = Place::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let wrong = || format!("`{part}` is not step=, node=, element= or r= and a number");
            let (name, number) = part.split_once('=').ok_or_else(wrong)?;
            let number: u64 = number.trim().parse().map_err(|_| wrong())?;
            let small = u32::try_from(number).map_err(|_| wrong());
            match name.trim() {
                "step" => place.step = Some(small?),
                "node" | "slot" => place.node = Some(small?),
                "element" => place.element = Some(number),
                "r" => place.r = Some(number),
                _ => return Err(wrong()),
            }
        }
        Ok(place)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault {
            level,
            step,
            node,
            element,
            r,
            ..
        } = self;
        match level {
            Level::Checkpoint | Level::Step => write!(f, "{level} step={step}"),
            Level::State => write!(f, "{level} step={step},slot={node},element={element}"),
            Level::Source | Level::Map => {
                write!(f, "{level} step={step},node={node},element={element}")
            }
            Level::Fold => write!(f, "{level} step={step},node={node},element={element},r={r}"),
        }
    }
}

impl Fault {
    /// Chooses a place of the given level, at random from `seed` where `place` leaves it open,
    /// such that the error changes the state: an error that does not is no wrong result.
    ///
    /// The task is run honestly up to the chosen step to see that.
    ///
    /// # Errors
    /// When no such place is found.
    pub fn plant(
        workload: &Workload,
        device: Device,
        level: Level,
        place: Place,
        seed: u64,
    ) -> Result<Fault, Error> {
        let fixed = place.step;
        let step = fixed.unwrap_or_else(|| below(seed, 0, workload.spec.steps as u64) as u32);
        if step >= workload.spec.steps {
            return Err(Error::Fault(format!(
                "the task has only {} steps",
                workload.spec.steps
            )));
        }
        let segment = step / workload.spec.segment;
        if level == Level::Checkpoint {
            return Ok(Fault {
                level,
                step,
                node: 0,
                element: 0,
                r: 0,
                segment,
            });
        }
        let mut engine = device.engine(workload.job())?;
        engine.load(&workload.genesis)?;
        (0..step).for_each(|s| engine.step(s));
        let before: Vec<Vec<u8>> = engine.state().iter().map(|t| t.to_vec()).collect();
        engine.step(step);
        let after: Vec<Vec<u8>> = engine.state().iter().map(|t| t.to_vec()).collect();

        let mut reason = Error::Fault(format!("the program has no {level} to be wrong in"));
        for attempt in 1..=TRIES {
            let Some(fault) = choose(workload, level, step, segment, place, seed, attempt) else {
                continue;
            };
            match Cheat::new(workload, device, &fault) {
                Ok(mut cheat) => {
                    cheat.load(&before)?;
                    cheat.step(step);
                    let changed = cheat.state().iter().zip(&after).any(|(a, b)| *a != &b[..]);
                    if changed {
                        return Ok(fault);
                    }
                    reason = Error::Fault(format!("an error at {fault} changes no result"));
                }
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }

    /// The segment whose checkpoint is made up, and the made-up hash.
    pub fn forged(&self) -> Option<(u32, Hash)> {
        let made_up = || *blake3::hash(b"a checkpoint of nothing").as_bytes();
        (self.level == Level::Checkpoint).then(|| (self.segment, made_up()))
    }
}

/// A number below `n` from the seed.
fn below(seed: u64, index: u64, n: u64) -> u64 {
    let [a, b, ..] = philox::stream(seed, DOMAIN, index);
    let bits = u64::from(a) | u64::from(b) << 32;
    ((u128::from(bits) * u128::from(n)) >> 64) as u64
}

fn choose(
    workload: &Workload,
    level: Level,
    step: u32,
    segment: u32,
    place: Place,
    seed: u64,
    attempt: u64,
) -> Option<Fault> {
    let nodes = &workload.program.nodes;
    let slots = workload.program.slots as usize;
    let random = |k: u64, n: u64| below(seed, attempt * 4 + k, n);
    let fits = |node: &Node| match level {
        Level::Source => matches!(node, Node::Source(_)),
        Level::Map => matches!(node, Node::Map(_)),
        Level::Fold => matches!(node, Node::Fold(_)),
        Level::State => true,
        Level::Checkpoint | Level::Step => true,
    };
    let candidates: Vec<u32> = match level {
        Level::State => (0..slots as u32).collect(),
        Level::Checkpoint | Level::Step => vec![0],
        _ => (0..nodes.len() as u32)
            .filter(|&n| fits(&nodes[n as usize]))
            .collect(),
    };
    if candidates.is_empty() {
        return None;
    }
    let node = match place.node {
        Some(node) => candidates.iter().copied().find(|&n| n == node)?,
        None => candidates[random(1, candidates.len() as u64) as usize],
    };
    let value = &nodes[node as usize];
    let (mut element, mut r) = (0, 0);
    if !matches!(level, Level::Checkpoint | Level::Step) {
        element = place.element.unwrap_or_else(|| random(2, value.len()));
    }
    if level == Level::Fold {
        r = place.r.unwrap_or_else(|| random(3, value.reduction()));
    }
    (element < value.len() && r < value.reduction().max(1)).then_some(Fault {
        level,
        step,
        node,
        element,
        r,
        segment,
    })
}

/// An engine that is wrong in one place.
pub struct Cheat {
    honest: Box<dyn Engine>,
    wrong: Option<Box<dyn Engine>>,
    fault: Fault,
    dtype: Dtype,
}

impl Cheat {
    /// A cheat with this error.
    ///
    /// # Errors
    /// When the program leaves no room for the error in that node.
    pub fn new(workload: &Workload, device: Device, fault: &Fault) -> Result<Cheat, Error> {
        let honest = device.engine(workload.job())?;
        let wrong = wrong_job(workload, fault)?
            .map(|job| device.engine(job))
            .transpose()?;
        let dtype = workload.program.nodes[fault.node as usize].dtype();
        Ok(Cheat {
            honest,
            wrong,
            fault: *fault,
            dtype,
        })
    }

    /// The wrong engine, at the honest one's state, when `step` is the wrong one.
    fn wrong_at(&mut self, step: u32) -> Option<&mut Box<dyn Engine>> {
        if step != self.fault.step {
            return None;
        }
        let wrong = self.wrong.as_mut()?;
        let mut state: Vec<Vec<u8>> = self.honest.state().iter().map(|t| t.to_vec()).collect();
        if is_state_source(&self.fault, state.len()) {
            flip(
                &mut state[self.fault.node as usize],
                self.fault.element,
                self.dtype,
            );
        }
        wrong.load(&state).expect("both run programs of one state");
        Some(wrong)
    }
}

impl Engine for Cheat {
    fn name(&self) -> String {
        format!("{}, cheating", self.honest.name())
    }

    fn load(&mut self, state: &[Vec<u8>]) -> Result<(), lockstep_engine::Error> {
        self.honest.load(state)
    }

    fn state(&self) -> Vec<&[u8]> {
        self.honest.state()
    }

    fn hashes(&self) -> Vec<Hash> {
        self.honest.hashes()
    }

    fn wait(&self) {
        self.honest.wait();
    }

    fn step(&mut self, step: u32) {
        let Fault {
            level,
            step: at,
            node,
            element,
            ..
        } = self.fault;
        if step == at && level == Level::Step {
            return;
        }
        if let Some(wrong) = self.wrong_at(step) {
            wrong.step(step);
            let state: Vec<Vec<u8>> = wrong.state().iter().map(|t| t.to_vec()).collect();
            self.honest
                .load(&state)
                .expect("both run programs of one state");
            return;
        }
        self.honest.step(step);
        if step == at && level == Level::State {
            let mut state: Vec<Vec<u8>> = self.honest.state().iter().map(|t| t.to_vec()).collect();
            flip(&mut state[node as usize], element, self.dtype);
            self.honest.load(&state).expect("the state keeps its form");
        }
    }

    fn trace(&mut self, step: u32, sink: &mut dyn FnMut(u32, &[u8])) {
        match self.wrong_at(step) {
            Some(wrong) => wrong.trace(step, sink),
            None => self.honest.trace(step, sink),
        }
    }

    fn tensor(&mut self, step: u32, node: u32) -> Vec<u8> {
        match self.wrong_at(step) {
            Some(wrong) => wrong.tensor(step, node),
            None => self.honest.tensor(step, node),
        }
    }

    fn fold(&mut self, step: u32, node: u32, element: u64) -> Vec<u8> {
        match self.wrong_at(step) {
            Some(wrong) => wrong.fold(step, node, element),
            None => self.honest.fold(step, node, element),
        }
    }
}

fn is_state_source(fault: &Fault, slots: usize) -> bool {
    fault.level == Level::Source && (fault.node as usize) < slots
}

/// A bit whose flip makes a finite number another finite number.
fn mask(dtype: Dtype) -> u32 {
    match dtype {
        Dtype::F32 => 1 << 22,
        _ => 1,
    }
}

fn flip(tensor: &mut [u8], element: u64, dtype: Dtype) {
    let size = dtype.size() as usize;
    let place = &mut tensor[element as usize * size..][..size];
    for (byte, bits) in place.iter_mut().zip(mask(dtype).to_le_bytes()) {
        *byte ^= bits;
    }
}

/// What the liar runs in its one wrong step; `None` when it needs no program for its lie.
fn wrong_job(workload: &Workload, fault: &Fault) -> Result<Option<Job>, Error> {
    let at = fault.node as usize;
    let mut job = workload.job();
    let mut program: Program = (*job.program).clone();
    match (fault.level, &mut program.nodes[at]) {
        (Level::Map, Node::Map(body)) => {
            let element = position(0, &body.shape)?;
            bend(body, 0, &[(element, fault.element)])?;
        }
        (Level::Fold, Node::Fold(Fold { body, red, .. })) => {
            let element = position(0, &body.shape)?;
            let r = position(var::RED, red)?;
            bend(body, 1, &[(element, fault.element), (r, fault.r)])?;
        }
        (Level::Source, _) if is_state_source(fault, program.slots as usize) => {}
        (Level::Source, node @ Node::Source(_)) => {
            let Node::Source(source) = &*node else {
                return Ok(None);
            };
            let (shape, dtype) = source.output();
            let mut bytes = job.inputs.source(source, fault.node, fault.step, &[]);
            flip(&mut bytes, fault.element, dtype);
            let hash = *blake3::hash(&bytes).as_bytes();
            *node = Node::Source(Source::Constant { shape, dtype, hash });
            job.inputs.constants.insert(hash, Arc::new(bytes));
        }
        (Level::Checkpoint | Level::Step | Level::State, _) => return Ok(None),
        (level, _) => {
            return Err(Error::Fault(format!("node {} is no {level}", fault.node)));
        }
    }
    validate::program(&program).map_err(|invalid| {
        Error::Fault(format!(
            "node {} has no room for an error: {invalid}",
            fault.node
        ))
    })?;
    job.program = Arc::new(program);
    Ok(Some(job))
}

/// The row-major index in `shape` of coordinates that are variables from `first` on.
fn position(first: u8, shape: &[Dim]) -> Result<Form, Error> {
    let mut terms = Vec::with_capacity(shape.len());
    for d in 0..shape.len() {
        let stride = elements(&shape[d + 1..])
            .and_then(|n| i64::try_from(n).ok())
            .ok_or_else(|| Error::Fault("the shape overflows".into()))?;
        terms.push((first + d as u8, stride));
    }
    Ok(Form::new(0, &terms))
}

/// Makes a body flip one bit of its result where every form has its value (as far as 32 bits
/// tell). `accumulators` is how many registers come before the reads.
fn bend(body: &mut Body, accumulators: usize, conditions: &[(Form, u64)]) -> Result<(), Error> {
    let values_end = accumulators + body.reads.len() + body.values.len();
    let consts_end = values_end + body.consts.len();
    let registers = consts_end + body.ops.len();
    // One value and one constant for each condition, and the mask.
    let inserted = 2 * conditions.len() + 1;
    // A comparison for each condition, their conjunction, a product and the flip.
    let appended = 2 * conditions.len() + 1;
    if registers + inserted + appended > limits::REGISTERS {
        return Err(Error::Fault(
            "the body has no register left for an error".into(),
        ));
    }
    let moved = |register: u8| {
        let by = match register as usize {
            r if r < values_end => 0,
            r if r < consts_end => conditions.len(),
            _ => inserted,
        };
        register + by as u8
    };
    for op in &mut body.ops {
        *op = renumber(op, moved);
    }
    let honest = moved((registers - 1) as u8);
    let first_const = consts_end + conditions.len();
    let mut next = (registers + inserted) as u8;
    let mut holds = Vec::new();
    for (k, (form, value)) in conditions.iter().enumerate() {
        body.values.push(form.clone());
        body.consts.push(*value as u32);
        body.ops
            .push(Op::IEq((values_end + k) as u8, (first_const + k) as u8));
        holds.push(next);
        next += 1;
    }
    body.consts.push(mask(body.dtype));
    let mut factor = (first_const + conditions.len()) as u8;
    for condition in holds {
        body.ops.push(Op::IMul(factor, condition));
        factor = next;
        next += 1;
    }
    body.ops.push(Op::Xor(honest, factor));
    Ok(())
}

/// The operation with other registers. Its encoding is its number and then its registers.
fn renumber(op: &Op, moved: impl Fn(u8) -> u8) -> Op {
    let mut bytes = op.encode();
    for register in &mut bytes[1..] {
        *register = moved(*register);
    }
    Op::decode(&mut &bytes[..]).expect("any register makes an operation")
}

//! Training steps, evaluation passes and forward passes.

use crate::{
    built::{named_constants, Built, Kind, Slot},
    graph::{Graph, State, Value},
    held_out::HeldOut,
    lower::lower,
    model::{Buffer, Model, Parameter},
    optimizer::Optimizer,
    pattern::Pattern,
};
use lockstep_protocol::{program::Dtype, validate::Invalid};

/// Steps that a running metric averages over.
pub const WINDOW: u32 = 50;

/// Names of the metric slots.
pub mod metric {
    /// The running mean of the loss of recent steps, f32.
    pub const LOSS: &str = "metric.loss";
    /// The running mean of the share of right answers in recent steps, f32.
    pub const ACCURACY: &str = "metric.accuracy";
    /// After an evaluation at the end of a training: the mean loss of the held-out answers, f32.
    pub const TEST_LOSS: &str = "metric.test_loss";
    /// After an evaluation at the end of a training: the share of right held-out answers, f32.
    pub const TEST_ACCURACY: &str = "metric.test_accuracy";
    /// In an evaluation: the sum of the losses of all answers so far, f32.
    pub const LOSS_SUM: &str = "metric.loss_sum";
    /// In an evaluation: right answers so far, u32.
    pub const CORRECT: &str = "metric.correct";
    /// In an evaluation: answers that count so far, u32; one a record unless records are sequences.
    pub const SEEN: &str = "metric.seen";
}

/// Names of the slots of a forward pass.
pub mod port {
    /// What goes in.
    pub const INPUT: &str = "port.input";
    /// What comes out.
    pub const OUTPUT: &str = "port.output";
}

/// What a model is judged by, answer by answer: one answer for each record, or several.
#[derive(Clone, Copy, Debug)]
pub struct Objective {
    /// The loss of each answer, f32, shape `[batch, ..]`.
    pub losses: Value,
    /// 1 for each right answer, u32, in the losses' shape; absent where answers are not right or
    /// wrong.
    pub hits: Option<Value>,
    /// 1 for each answer that counts, u32, in the losses' shape, where losses and hits of others
    /// are 0; absent where all count.
    pub counts: Option<Value>,
}

impl Objective {
    /// Losses of answers that all count and are not right or wrong.
    pub fn new(losses: Value) -> Objective {
        Objective {
            losses,
            hits: None,
            counts: None,
        }
    }

    fn axes(&self, graph: &Graph) -> Vec<usize> {
        (0..graph.shape(self.losses).len()).collect()
    }

    /// How many answers of the step count, u32.
    fn seen(&self, graph: &mut Graph) -> Value {
        match self.counts {
            Some(counts) => {
                let axes = self.axes(graph);
                graph.sum(counts, &axes)
            }
            None => {
                let answers: usize = graph.shape(self.losses).iter().product();
                graph.word(answers as u32)
            }
        }
    }

    /// The same without the answers at places of the batch where an evaluation has no record.
    fn within(&self, graph: &mut Graph, held_out: HeldOut) -> Objective {
        let shape = graph.shape(self.losses).to_vec();
        let mut column = vec![1; shape.len()];
        column[0] = shape[0];
        let counts = held_out.counts(graph);
        let counts = graph.reshape(counts, &column);
        let counts = graph.broadcast(counts, &shape);
        let mut only = |x: Value| {
            let zero = graph.zero(x);
            graph.select(counts, x, zero)
        };
        Objective {
            losses: only(self.losses),
            hits: self.hits.map(&mut only),
            counts: Some(self.counts.map_or(counts, &mut only)),
        }
    }

    /// The mean of `x` over the answers that count; 0 when none does.
    fn mean(&self, graph: &mut Graph, x: Value) -> Value {
        let axes = self.axes(graph);
        if self.counts.is_none() {
            return graph.mean(x, &axes);
        }
        let (sum, seen) = (graph.sum(x, &axes), self.seen(graph));
        let (seen, one) = (graph.to_f32(seen), graph.scalar(1.0));
        let seen = graph.maximum(seen, one);
        graph.div(sum, seen)
    }
}

/// How a model is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// From gradients to parameters.
    pub optimizer: Optimizer,
    /// The learning rate of every step.
    pub rates: Vec<f32>,
    /// The greatest length of all gradients together as one vector; longer ones are scaled down.
    pub clip: Option<f32>,
    /// Decays of parameters by their names; the first group that names a parameter counts.
    pub groups: Vec<Group>,
}

/// Parameters that decay otherwise than the optimizer says.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Their names.
    pub names: Vec<Pattern>,
    /// Their decay.
    pub decay: f32,
}

impl Training {
    /// Training without clipping and without groups.
    pub fn new(optimizer: Optimizer, rates: Vec<f32>) -> Training {
        Training {
            optimizer,
            rates,
            clip: None,
            groups: vec![],
        }
    }

    /// The decay of a parameter. Those of one axis, biases and gains, do not decay unless a group
    /// names them.
    pub fn decay(&self, name: &str, shape: &[usize]) -> f32 {
        let names = |group: &&Group| group.names.iter().any(|pattern| pattern.matches(name));
        match self.groups.iter().find(names) {
            Some(group) => group.decay,
            None if shape.len() > 1 => self.optimizer.decay(),
            None => 0.0,
        }
    }
}

/// Sums over the answers of an evaluation so far.
struct Totals {
    loss: Value,
    correct: Option<Value>,
    seen: Value,
}

/// State tensors and their values after the step, in slot order.
#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    next: Vec<(State, Value)>,
    /// Steps in which what is pushed stays as it is.
    stays: Option<Value>,
}

impl Slots {
    fn push(
        &mut self,
        graph: &mut Graph,
        (name, kind): (String, Kind),
        old: (State, Value),
        new: Value,
    ) {
        let (state, value) = old;
        let new = match self.stays {
            Some(stays) if new != value => graph.select(stays, value, new),
            _ => new,
        };
        let shape = graph.shape(value).to_vec();
        let dtype = graph.dtype(value);
        let bytes = shape.iter().product::<usize>() * dtype.size() as usize;
        self.slots.push(Slot {
            name,
            dtype,
            shape,
            genesis: vec![0; bytes],
            kind,
        });
        self.next.push((state, new));
    }

    fn parameter(&mut self, graph: &mut Graph, parameter: &Parameter, new: Value) {
        let named = (parameter.name.clone(), Kind::Parameter);
        self.push(graph, named, (parameter.state, parameter.value), new);
        let genesis = parameter.initial.iter().flat_map(|x| x.to_le_bytes());
        self.slots.last_mut().expect("a slot was pushed").genesis = genesis.collect();
    }

    fn buffer(&mut self, graph: &mut Graph, buffer: &Buffer, new: Value) {
        let named = (buffer.name.clone(), Kind::Buffer);
        self.push(graph, named, (buffer.state, buffer.value), new);
        let genesis = buffer.initial.iter().flat_map(|x| x.to_le_bytes());
        self.slots.last_mut().expect("a slot was pushed").genesis = genesis.collect();
    }

    /// Parameters and buffers that stay as they are.
    fn kept(&mut self, graph: &mut Graph, parameters: &[Parameter], buffers: &[Buffer]) {
        for parameter in parameters {
            self.parameter(graph, parameter, parameter.value);
        }
        for buffer in buffers {
            self.buffer(graph, buffer, buffer.value);
        }
    }

    /// A metric that starts at 0 and whose next value `next` computes from its last.
    fn metric(
        &mut self,
        graph: &mut Graph,
        name: &str,
        dtype: Dtype,
        next: impl FnOnce(&mut Graph, Value) -> Value,
    ) {
        let old = graph.state(&[], dtype);
        let new = next(graph, old.1);
        self.push(graph, (name.to_string(), Kind::Metric), old, new);
    }

    /// A metric that adds up `term`, anew from 0 in a step that `starts`; its value after the step.
    fn sum(&mut self, graph: &mut Graph, name: &str, term: Value, starts: Option<Value>) -> Value {
        let axes: Vec<usize> = (0..graph.shape(term).len()).collect();
        let term = graph.sum(term, &axes);
        let mut total = None;
        self.metric(graph, name, graph.dtype(term), |graph, mut old| {
            if let Some(starts) = starts {
                let zero = graph.zero(term);
                old = graph.select(starts, zero, old);
            }
            *total.insert(match graph.dtype(term) {
                Dtype::F32 => graph.add(old, term),
                _ => graph.int_add(old, term),
            })
        });
        total.expect("a metric computes its value")
    }

    /// What adds up in an evaluation.
    fn totals(&mut self, graph: &mut Graph, objective: Objective, starts: Option<Value>) -> Totals {
        let seen = objective.seen(graph);
        Totals {
            loss: self.sum(graph, metric::LOSS_SUM, objective.losses, starts),
            correct: objective
                .hits
                .map(|hits| self.sum(graph, metric::CORRECT, hits, starts)),
            seen: self.sum(graph, metric::SEEN, seen, starts),
        }
    }

    /// The slots of an evaluation at the end of a training.
    fn test(&mut self, graph: &mut Graph, objective: Objective, held_out: HeldOut) {
        let (evaluates, starts) = (held_out.evaluates(graph), held_out.starts(graph));
        self.stays = Some(graph.not(evaluates));
        let objective = objective.within(graph, held_out);
        let totals = self.totals(graph, objective, Some(starts));
        let (seen, one) = (graph.to_f32(totals.seen), graph.scalar(1.0));
        let seen = graph.maximum(seen, one);
        let correct = totals.correct.map(|correct| graph.to_f32(correct));
        let means = [
            (metric::TEST_LOSS, Some(totals.loss)),
            (metric::TEST_ACCURACY, correct),
        ];
        for (name, sum) in means {
            if let Some(sum) = sum {
                self.metric(graph, name, Dtype::F32, |graph, _| graph.div(sum, seen));
            }
        }
    }

    fn build(self, graph: &Graph, batch: u32) -> Result<Built, Invalid> {
        let program = lower(graph, &self.next)?;
        Ok(Built {
            constants: named_constants(&program, graph.constants()),
            program,
            slots: self.slots,
            batch,
        })
    }
}

impl Model {
    /// The program of a training step that lowers the mean of the losses that count.
    ///
    /// For each parameter, its moments and then the parameter itself are slots; buffers and then
    /// the metrics follow.
    /// A metric averages all steps while there are fewer than [`WINDOW`], then moves towards each
    /// step's value by one part in [`WINDOW`].
    ///
    /// In the steps of an evaluation at the end ([`Model::training_then`]) all these stay, and the
    /// slots of that evaluation come last.
    ///
    /// # Errors
    /// When the step does not fit the limits of a program.
    pub fn train(mut self, objective: Objective, training: &Training) -> Result<Built, Invalid> {
        let (parameters, buffers) = (self.parameters().to_vec(), self.buffers().to_vec());
        let held_out = self.held_out();
        let graph = &mut self.graph;
        let batch = graph.shape(objective.losses)[0];
        let loss = objective.mean(graph, objective.losses);
        let values: Vec<Value> = parameters.iter().map(|p| p.value).collect();
        let mut gradients = graph.gradients(loss, &values);
        if let Some(longest) = training.clip {
            graph.clip(&mut gradients, longest);
        }

        let mut slots = Slots {
            stays: held_out.map(|held_out| held_out.evaluates(graph)),
            ..Slots::default()
        };
        let optimizer = &training.optimizer;
        let scalars = optimizer.scalars(graph, &training.rates);
        for (parameter, gradient) in parameters.iter().zip(gradients) {
            let shape = graph.shape(parameter.value).to_vec();
            let names = optimizer.moments();
            let old: Vec<(State, Value)> = names
                .iter()
                .map(|_| graph.state(&shape, Dtype::F32))
                .collect();
            let moments: Vec<Value> = old.iter().map(|&(_, value)| value).collect();
            let decay = training.decay(&parameter.name, &shape);
            let (new, moments) =
                optimizer.update(graph, &scalars, parameter.value, gradient, &moments, decay);
            for ((name, old), new) in names.iter().zip(old).zip(moments) {
                let name = format!("{}.{name}", parameter.name);
                slots.push(graph, (name, Kind::Moment), old, new);
            }
            slots.parameter(graph, parameter, new);
        }
        for buffer in &buffers {
            slots.buffer(graph, buffer, buffer.next);
        }
        slots.metric(graph, metric::LOSS, Dtype::F32, |g, old| {
            g.running_mean(old, loss)
        });
        if let Some(hits) = objective.hits {
            let hits = graph.to_f32(hits);
            let accuracy = objective.mean(graph, hits);
            slots.metric(graph, metric::ACCURACY, Dtype::F32, |g, old| {
                g.running_mean(old, accuracy)
            });
        }
        if let Some(held_out) = held_out {
            slots.test(graph, objective, held_out);
        }
        slots.build(graph, batch as u32)
    }

    /// The program of an evaluation pass: parameters and buffers stay, metrics add up over the records read.
    /// When the number of steps times the batch is the number of records, every record counts
    /// once.
    ///
    /// # Errors
    /// When the pass does not fit the limits of a program.
    pub fn evaluate(mut self, objective: Objective) -> Result<Built, Invalid> {
        let (parameters, buffers) = (self.parameters().to_vec(), self.buffers().to_vec());
        let graph = &mut self.graph;
        let batch = graph.shape(objective.losses)[0] as u32;
        let mut slots = Slots::default();
        slots.kept(graph, &parameters, &buffers);
        slots.totals(graph, objective, None);
        slots.build(graph, batch)
    }

    /// The program of a forward pass without data: a step computes `output` of what slot
    /// [`port::INPUT`] holds, as `input` and its value say, and leaves it in slot
    /// [`port::OUTPUT`]. Everything else stays.
    ///
    /// # Errors
    /// When the pass does not fit the limits of a program.
    pub fn infer(mut self, input: (State, Value), output: Value) -> Result<Built, Invalid> {
        let (parameters, buffers) = (self.parameters().to_vec(), self.buffers().to_vec());
        let graph = &mut self.graph;
        let mut slots = Slots::default();
        slots.kept(graph, &parameters, &buffers);
        slots.push(graph, (port::INPUT.into(), Kind::Input), input, input.1);
        let (shape, dtype) = (graph.shape(output).to_vec(), graph.dtype(output));
        let last = graph.state(&shape, dtype);
        slots.push(graph, (port::OUTPUT.into(), Kind::Output), last, output);
        slots.build(graph, 1)
    }
}

impl Graph {
    /// Scales gradients so that together they are no longer than `longest`, as PyTorch's
    /// `clip_grad_norm_` does.
    ///
    /// R. Pascanu, T. Mikolov, Y. Bengio: On the difficulty of training recurrent neural networks
    /// (ICML 2013).
    fn clip(&mut self, gradients: &mut [Value], longest: f32) {
        let mut total = self.scalar(0.0);
        for &gradient in gradients.iter() {
            let square = self.mul(gradient, gradient);
            let axes: Vec<usize> = (0..self.shape(square).len()).collect();
            let sum = self.sum(square, &axes);
            total = self.add(total, sum);
        }
        let length = self.sqrt(total);
        // Keeps the quotient finite when all gradients are 0.
        let (tiny, longest, one) = (self.scalar(1e-6), self.scalar(longest), self.scalar(1.0));
        let length = self.add(length, tiny);
        let share = self.div(longest, length);
        let share = self.minimum(share, one);
        for gradient in gradients {
            *gradient = self.mul(*gradient, share);
        }
    }

    /// `old` moved towards `x` by one part in as many as there have been steps, at most [`WINDOW`].
    fn running_mean(&mut self, old: Value, x: Value) -> Value {
        let step = self.step();
        let step = self.to_f32(step);
        let (one, window) = (self.scalar(1.0), self.scalar(WINDOW as f32));
        let count = self.add(step, one);
        let count = self.minimum(count, window);
        let change = self.sub(x, old);
        let part = self.div(change, count);
        self.add(old, part)
    }
}

//! Models: a graph whose leaves are named parameters.

use crate::{
    graph::{Graph, State, Value},
    held_out::HeldOut,
    initial::Initial,
    pattern::Pattern,
    quantised::Precision,
};
use lockstep_protocol::program::Dtype;
use std::{collections::BTreeMap, rc::Rc};

/// First of the random domains that dropout layers take; parameters take those below.
const DROPOUT: u32 = 1 << 30;

/// A weight of a model.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name, unique in the model.
    pub name: String,
    /// Its value at the beginning of the step.
    pub value: Value,
    /// The state that carries it.
    pub state: State,
    /// Its elements before the first step.
    pub initial: Vec<f32>,
}

/// State of a model that is no weight: no gradient moves it, the model itself says what it becomes.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Its name, unique in the model.
    pub name: String,
    /// Its value at the beginning of the step.
    pub value: Value,
    /// Its value after a step of training. An evaluation leaves it as it is.
    pub next: Value,
    /// The state that carries it.
    pub state: State,
    /// Its elements before the first step.
    pub initial: Vec<f32>,
}

/// What a model is built for.
#[derive(Clone, Copy)]
enum Mode {
    Training,
    Evaluation,
    /// Training, and evaluation in the last steps.
    Both(HeldOut),
}

/// A weight that was trained elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its elements, row-major.
    pub elements: Vec<f32>,
}

/// A model in the making: a graph and the parameters that its layers have declared.
pub struct Model {
    /// Where the layers' values are.
    pub graph: Graph,
    /// The task's seed.
    pub seed: u64,
    /// In which numbers the linear layers that are declared from now on multiply, those of
    /// attention included.
    pub precision: Precision,
    mode: Mode,
    parameters: Vec<Parameter>,
    freezing: Vec<Pattern>,
    constants: Vec<(String, Value)>,
    buffers: Vec<Buffer>,
    given: Rc<BTreeMap<String, Given>>,
    randomised: u32,
    dropouts: u32,
}

impl Model {
    /// A model that will be trained under `seed`.
    pub fn training(seed: u64) -> Model {
        Model {
            graph: Graph::new(),
            seed,
            precision: Precision::default(),
            mode: Mode::Training,
            parameters: vec![],
            freezing: vec![],
            constants: vec![],
            buffers: vec![],
            given: Rc::default(),
            randomised: 0,
            dropouts: 0,
        }
    }

    /// The same model for evaluation: dropout does nothing.
    pub fn evaluation(seed: u64) -> Model {
        Model {
            mode: Mode::Evaluation,
            ..Model::training(seed)
        }
    }

    /// A model that is trained and, in the last steps, evaluated.
    pub fn training_then(seed: u64, held_out: HeldOut) -> Model {
        Model {
            mode: Mode::Both(held_out),
            ..Model::training(seed)
        }
    }

    /// The parameters, in the order in which they were declared.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Lets parameters that are declared from now on and that a pattern names stay as they begin:
    /// they become constants of the program.
    pub fn freeze(&mut self, names: &[Pattern]) {
        self.freezing.extend_from_slice(names);
    }

    /// Lets weights and buffers that are declared from now on begin as these say that have their
    /// names and shapes.
    pub fn begin_with(&mut self, given: Rc<BTreeMap<String, Given>>) {
        self.given = given;
    }

    /// All weights, trained and then frozen, by their names.
    pub fn weights(&self) -> impl Iterator<Item = (&str, Value)> {
        let trained = self.parameters.iter().map(|p| (&p.name[..], p.value));
        let constants = self.constants.iter();
        trained.chain(constants.map(|(name, value)| (&name[..], *value)))
    }

    /// A trained or frozen weight by its name.
    pub fn weight(&self, name: &str) -> Option<Value> {
        let mut all = self.weights();
        all.find(|(other, _)| *other == name)
            .map(|(_, value)| value)
    }

    /// The names of the weights that are constants.
    pub fn frozen_names(&self) -> impl Iterator<Item = &str> {
        self.constants.iter().map(|(name, _)| &name[..])
    }

    /// Whether the model is trained, rather than evaluated alone.
    pub fn is_training(&self) -> bool {
        !matches!(self.mode, Mode::Evaluation)
    }

    /// The evaluation at the end of the training, if there is one.
    pub fn held_out(&self) -> Option<HeldOut> {
        match self.mode {
            Mode::Both(held_out) => Some(held_out),
            _ => None,
        }
    }

    /// `trained` in steps of training and `evaluated` in steps of evaluation, for layers that
    /// differ in them. Of one that is asked for, the other is not computed.
    ///
    /// # Panics
    /// When the two differ in shape or type.
    pub fn by_mode(
        &mut self,
        trained: impl FnOnce(&mut Graph) -> Value,
        evaluated: impl FnOnce(&mut Graph) -> Value,
    ) -> Value {
        let graph = &mut self.graph;
        match self.mode {
            Mode::Training => trained(graph),
            Mode::Evaluation => evaluated(graph),
            Mode::Both(held_out) => {
                let evaluates = held_out.evaluates(graph);
                let (trained, evaluated) = (trained(graph), evaluated(graph));
                graph.select(evaluates, evaluated, trained)
            }
        }
    }

    /// The buffers, in the order in which they were declared.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// A new f32 buffer, which stays as it is until [`Model::update`] says otherwise.
    ///
    /// # Panics
    /// When the name is taken or `initial` is not as long as the shape says.
    pub fn buffer(&mut self, name: &str, shape: &[usize], initial: Vec<f32>) -> Value {
        assert!(!self.declares(name), "two tensors are called {name:?}");
        assert_eq!(initial.len(), shape.iter().product::<usize>(), "elements");
        let initial = self.given(name, shape).unwrap_or(initial);
        let (state, value) = self.graph.state(shape, Dtype::F32);
        self.buffers.push(Buffer {
            name: name.to_string(),
            value,
            next: value,
            state,
            initial,
        });
        value
    }

    /// Makes `next` what the buffer whose value is `buffer` holds after a step of training. Its
    /// last update counts.
    ///
    /// # Panics
    /// When `buffer` is no buffer or `next` has another shape or type.
    pub fn update(&mut self, buffer: Value, next: Value) {
        let found = self.buffers.iter_mut().find(|b| b.value == buffer);
        let found = found.expect("a value that is updated is a buffer");
        let of = |v| (self.graph.shape(v), self.graph.dtype(v));
        assert_eq!(of(next), of(buffer), "shape and type of an update");
        found.next = next;
    }

    /// Whether a parameter, a constant or a buffer has this name.
    pub fn declares(&self, name: &str) -> bool {
        self.weight(name).is_some() || self.buffers.iter().any(|b| b.name == name)
    }

    /// A new parameter, or a constant when its name is frozen. Parameters take the random domains
    /// 0, 1, 2, ... in order of declaration, frozen ones included.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn parameter(&mut self, name: &str, shape: &[usize], initial: &Initial) -> Value {
        assert!(!self.declares(name), "two tensors are called {name:?}");
        if self.freezing.iter().any(|pattern| pattern.matches(name)) {
            return self.frozen(name, shape, initial);
        }
        let initial = self.elements(name, shape, initial);
        let (state, value) = self.graph.state(shape, Dtype::F32);
        self.parameters.push(Parameter {
            name: name.to_string(),
            value,
            state,
            initial,
        });
        value
    }

    /// A weight that is never trained: a constant of the program.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn frozen(&mut self, name: &str, shape: &[usize], initial: &Initial) -> Value {
        assert!(!self.declares(name), "two tensors are called {name:?}");
        let elements = self.elements(name, shape, initial);
        let value = self.graph.constant_f32(shape, &elements);
        self.constants.push((name.to_string(), value));
        value
    }

    fn given(&self, name: &str, shape: &[usize]) -> Option<Vec<f32>> {
        let given = self.given.get(name).filter(|given| given.shape == shape);
        given.map(|given| given.elements.clone())
    }

    fn elements(&mut self, name: &str, shape: &[usize], initial: &Initial) -> Vec<f32> {
        let domain = self.randomised;
        self.randomised += 1;
        let drawn = || initial.elements(shape.iter().product(), self.seed, domain);
        self.given(name, shape).unwrap_or_else(drawn)
    }

    /// A linear layer with parameters `<name>.weight`, shape `[in, out]`, and `<name>.bias`. It
    /// multiplies in the model's precision.
    ///
    /// # Panics
    /// When `x` is a scalar.
    pub fn linear(&mut self, name: &str, x: Value, outputs: usize, initial: &Initial) -> Value {
        let inputs = *self
            .graph
            .shape(x)
            .last()
            .expect("a linear layer needs an axis");
        let weight = self.parameter(&format!("{name}.weight"), &[inputs, outputs], initial);
        let bias = self.parameter(&format!("{name}.bias"), &[outputs], &Initial::Zeros);
        self.graph.linear_in(self.precision, x, weight, Some(bias))
    }

    /// A layer norm over the last axis with parameters `<name>.gain` and `<name>.bias`.
    ///
    /// # Panics
    /// When `x` is a scalar.
    pub fn layer_norm(&mut self, name: &str, x: Value) -> Value {
        let width = *self
            .graph
            .shape(x)
            .last()
            .expect("a layer norm needs an axis");
        let gain = self.parameter(&format!("{name}.gain"), &[width], &Initial::Ones);
        let bias = self.parameter(&format!("{name}.bias"), &[width], &Initial::Zeros);
        self.graph.layer_norm(x, gain, bias, 1e-5)
    }

    /// An embedding with parameter `<name>.table`, shape `[rows, width]`.
    ///
    /// # Panics
    /// When `ids` are not integers.
    pub fn embedding(&mut self, name: &str, ids: Value, rows: usize, width: usize) -> Value {
        let initial = Initial::xavier(rows, width);
        let table = self.parameter(&format!("{name}.table"), &[rows, width], &initial);
        self.graph.embedding(table, ids)
    }

    /// Dropout while training. Layers take the random domains 2^30, 2^30 + 1, ... in order.
    ///
    /// # Panics
    /// When `rate` is not in `0.0..1.0`.
    pub fn dropout(&mut self, x: Value, rate: f32) -> Value {
        let domain = DROPOUT + self.dropouts;
        self.dropouts += 1;
        match rate == 0.0 {
            true => x,
            false => self.by_mode(|graph| graph.dropout(x, rate, domain), |_| x),
        }
    }
}

//! Models: a graph whose leaves are named parameters.

use crate::{
    graph::{Graph, State, Value},
    initial::Initial,
    pattern::Pattern,
    quantised::Precision,
};
use lockstep_protocol::program::Dtype;

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

/// A model in the making: a graph and the parameters that its layers have declared.
pub struct Model {
    /// Where the layers' values are.
    pub graph: Graph,
    /// The task's seed.
    pub seed: u64,
    /// In which numbers the linear layers that are declared from now on multiply, those of
    /// attention included.
    pub precision: Precision,
    training: bool,
    parameters: Vec<Parameter>,
    freezing: Vec<Pattern>,
    constants: Vec<(String, Value)>,
    buffers: Vec<Buffer>,
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
            training: true,
            parameters: vec![],
            freezing: vec![],
            constants: vec![],
            buffers: vec![],
            randomised: 0,
            dropouts: 0,
        }
    }

    /// The same model for evaluation: dropout does nothing.
    pub fn evaluation(seed: u64) -> Model {
        Model {
            training: false,
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

    /// A trained or frozen weight by its name.
    pub fn weight(&self, name: &str) -> Option<Value> {
        let trained = self.parameters.iter().map(|p| (&p.name, p.value));
        let constants = self.constants.iter().map(|(name, value)| (name, *value));
        let mut all = trained.chain(constants);
        all.find(|(other, _)| *other == name)
            .map(|(_, value)| value)
    }

    /// The names of the weights that [`Model::freeze`] made constants.
    pub fn frozen_names(&self) -> impl Iterator<Item = &str> {
        self.constants.iter().map(|(name, _)| &name[..])
    }

    /// Whether the model is trained, rather than evaluated.
    pub fn is_training(&self) -> bool {
        self.training
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

    fn declares(&self, name: &str) -> bool {
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
            let value = self.frozen(shape, initial);
            self.constants.push((name.to_string(), value));
            return value;
        }
        let initial = self.elements(shape, initial);
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
    pub fn frozen(&mut self, shape: &[usize], initial: &Initial) -> Value {
        let elements = self.elements(shape, initial);
        self.graph.constant_f32(shape, &elements)
    }

    fn elements(&mut self, shape: &[usize], initial: &Initial) -> Vec<f32> {
        let domain = self.randomised;
        self.randomised += 1;
        initial.elements(shape.iter().product(), self.seed, domain)
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
        match self.training {
            true => self.graph.dropout(x, rate, domain),
            false => x,
        }
    }
}

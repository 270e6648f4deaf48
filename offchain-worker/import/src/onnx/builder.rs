//! The state of a build: the model, and how much is known of it.

use super::{
    error::{refuse, Reason},
    operand::{Live, Operand},
    tensor::{count, Data, Element, Tensor, AXES},
};
use lockstep_graph::{Graph, Model, Value};
use lockstep_protocol::{
    float::canonical,
    program::{limits, Dtype},
};

/// Bytes of known tensors at one time, those that became constants of the program included.
const KNOWN_BYTES: usize = 1 << 28;
/// Elements of known tensors that a build computes in total.
const KNOWN_WORK: usize = 1 << 29;

/// A model in the making.
pub(super) struct Builder<'a> {
    pub(super) model: &'a mut Model,
    held: usize,
    work: usize,
}

/// Bytes of a known tensor.
fn bytes(operand: &Operand) -> usize {
    match operand {
        Operand::Known(tensor) => match tensor.element() {
            Element::Float => 4 * tensor.len(),
            Element::Integer => 8 * tensor.len(),
            Element::Boolean => tensor.len(),
        },
        Operand::Live(_) => 0,
        Operand::Sequence(parts) => parts.iter().map(bytes).sum(),
    }
}

impl<'a> Builder<'a> {
    pub(super) fn new(model: &'a mut Model) -> Builder<'a> {
        Builder {
            model,
            held: 0,
            work: 0,
        }
    }

    pub(super) fn graph(&mut self) -> &mut Graph {
        &mut self.model.graph
    }

    /// Notes that an operand is kept.
    pub(super) fn hold(&mut self, operand: &Operand) {
        self.held += bytes(operand);
    }

    /// Notes that an operand is no longer kept.
    pub(super) fn release(&mut self, operand: &Operand) {
        self.held -= bytes(operand);
    }

    /// Refuses to compute a known tensor that would not fit; gives its number of elements.
    pub(super) fn room(&mut self, shape: &[usize]) -> Result<usize, Reason> {
        if shape.len() > AXES {
            refuse!("a constant of {} axes has more than {AXES}", shape.len());
        }
        let room = (KNOWN_BYTES.saturating_sub(self.held) / 8).min(KNOWN_WORK - self.work);
        match count(shape) {
            Some(len) if len <= room => {
                self.work += len;
                Ok(len)
            }
            _ => refuse!("a constant of shape {shape:?} is too large to compute when building"),
        }
    }

    /// Refuses a shape that no tensor of a program has.
    pub(super) fn check(&self, shape: &[usize]) -> Result<(), Reason> {
        if shape.len() > limits::DIMS {
            refuse!("shape {shape:?} has more than {} axes", limits::DIMS);
        }
        if shape.contains(&0) {
            refuse!("shape {shape:?} holds no elements");
        }
        match count(shape) {
            Some(len) if len as u64 <= limits::ELEMENTS => Ok(()),
            _ => refuse!("shape {shape:?} is larger than a tensor of a program may be"),
        }
    }

    pub(super) fn shape(&self, operand: &Operand) -> Result<Vec<usize>, Reason> {
        match operand {
            Operand::Known(tensor) => Ok(tensor.shape.clone()),
            Operand::Live(live) => Ok(self.model.graph.shape(live.value).to_vec()),
            Operand::Sequence(_) => refuse!("a tensor is needed, not a sequence of tensors"),
        }
    }

    pub(super) fn element(&self, operand: &Operand) -> Result<Element, Reason> {
        match operand {
            Operand::Known(tensor) => Ok(tensor.element()),
            Operand::Live(live) => Ok(live.element),
            Operand::Sequence(_) => refuse!("a tensor is needed, not a sequence of tensors"),
        }
    }

    /// The operand as a value of the graph: known tensors become constants of the program.
    pub(super) fn live(&mut self, operand: &Operand) -> Result<Live, Reason> {
        match operand {
            Operand::Live(live) => Ok(*live),
            Operand::Known(tensor) => {
                let value = self.constant(tensor)?;
                let element = tensor.element();
                Ok(Live { value, element })
            }
            Operand::Sequence(_) => refuse!("a tensor is needed, not a sequence of tensors"),
        }
    }

    /// The operand as a value of floats.
    pub(super) fn float(&mut self, operand: &Operand) -> Result<Value, Reason> {
        let live = self.live(operand)?;
        match live.element {
            Element::Float => Ok(live.value),
            other => refuse!("it is supported for floats, not for {other}s that depend on data"),
        }
    }

    /// The operand as a value of zeros and ones.
    pub(super) fn boolean(&mut self, operand: &Operand) -> Result<Value, Reason> {
        let live = self.live(operand)?;
        match live.element {
            Element::Boolean => Ok(live.value),
            other => refuse!("a {other} is no condition"),
        }
    }

    fn constant(&mut self, tensor: &Tensor) -> Result<Value, Reason> {
        self.check(&tensor.shape)?;
        let shape = &tensor.shape[..];
        let graph = &mut self.model.graph;
        let words: Vec<u32> = match &tensor.data {
            Data::Float(data) => data.iter().map(|x| canonical(x.to_bits())).collect(),
            Data::Boolean(data) => data.iter().map(|&x| x.into()).collect(),
            Data::Integer(data) => {
                let narrow = data.iter().map(|&x| i32::try_from(x).map(|x| x as u32));
                match narrow.collect() {
                    Ok(words) => words,
                    Err(_) => refuse!("an integer of its input does not fit 32 bits"),
                }
            }
        };
        let uniform = words.iter().all(|w| *w == words[0]);
        let scalar = match tensor.element() {
            Element::Float if uniform => Some(graph.scalar(f32::from_bits(words[0]))),
            Element::Boolean if uniform => Some(graph.word(words[0])),
            _ => None,
        };
        if let Some(scalar) = scalar {
            return Ok(graph.broadcast(scalar, shape));
        }
        self.held += 4 * words.len();
        let dtype = match tensor.element() {
            Element::Float => Dtype::F32,
            Element::Integer => Dtype::I32,
            Element::Boolean => Dtype::U32,
        };
        let bytes = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        Ok(graph.constant(shape, dtype, bytes))
    }
}

/// Functions element by element, computed in the order in which their operand lies: images have
/// their channels first in ONNX and last in the graph, and are not turned over in between.
impl Builder<'_> {
    /// A function of one value.
    pub(super) fn each(
        &mut self,
        x: Value,
        function: impl FnOnce(&mut Graph, Value) -> Value,
    ) -> Value {
        let graph = self.graph();
        match graph.unpermuted(x) {
            Some((inner, order)) => {
                let y = function(graph, inner);
                graph.permute(y, &order)
            }
            None => function(graph, x),
        }
    }

    /// A function of two values that broadcast to one shape.
    pub(super) fn both(
        &mut self,
        a: Value,
        b: Value,
        function: impl FnOnce(&mut Graph, Value, Value) -> Value,
    ) -> Value {
        let graph = self.graph();
        let alone = |v: Value| graph.shape(v).is_empty();
        let (a, b, order) = match (graph.unpermuted(a), graph.unpermuted(b)) {
            (Some((x, order)), _) if alone(b) => (x, b, order),
            (_, Some((y, order))) if alone(a) => (a, y, order),
            (Some((x, order)), Some((y, other)))
                if order == other && graph.shape(x) == graph.shape(y) =>
            {
                (x, y, order)
            }
            _ => return function(graph, a, b),
        };
        let y = function(graph, a, b);
        graph.permute(y, &order)
    }
}

impl Builder<'_> {
    /// Whether a value is the state of a buffer at the beginning of the step.
    pub(super) fn is_buffer(&self, value: Value) -> bool {
        self.model.buffers().iter().any(|b| b.value == value)
    }

    /// What a buffer is going to hold after the step, as far as the model is built.
    pub(super) fn upcoming(&self, buffer: Value) -> Value {
        let found = self.model.buffers().iter().find(|b| b.value == buffer);
        found.map_or(buffer, |b| b.next)
    }
}

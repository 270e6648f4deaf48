//! The graph: values, how each is computed, and which are shared.

use crate::{gradient::Rule, kernel::Kernel, scalar::Scalar};
use lockstep_protocol::{
    program::{limits, Dtype},
    Hash,
};
use std::{collections::BTreeMap, collections::HashMap, fmt, rc::Rc};

/// A tensor of a [`Graph`]. Handles are only meaningful in the graph that made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub(crate) u32);

/// A state tensor of a [`Graph`], carried from one step to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State(pub(crate) usize);

/// A field of the records of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// Which dataset of the task.
    pub dataset: u8,
    /// Records of a step.
    pub batch: u32,
    /// Bytes of a record.
    pub record_size: u32,
    /// First byte of the field in the record.
    pub offset: u32,
    /// Elements of the field.
    pub count: u32,
    /// Type of its elements.
    pub dtype: Dtype,
}

/// How a reduction joins elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Join {
    Sum,
    Max,
}

/// How a value is computed from its inputs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    State(State),
    Field(Field),
    Constant(Hash),
    Step,
    Seed,
    /// A word at every position.
    Fill(u32),
    /// The row-major position of every element.
    Positions,
    /// A function of elements of inputs that have one shape.
    Apply(Scalar),
    /// The same elements in another shape.
    Reshape,
    /// Output axis j is input axis `order[j]`.
    Permute(Vec<usize>),
    /// Axes of extent 1 repeated.
    Broadcast,
    /// A range of one axis, from `start`.
    Slice {
        axis: usize,
        start: usize,
    },
    /// An axis with zero words around it.
    Pad {
        axis: usize,
        before: usize,
    },
    /// Inputs one after another along an axis.
    Concat(usize),
    /// Elements joined along axes, which keep extent 1.
    Reduce(Join, Vec<usize>),
    /// A node given explicitly.
    Kernel(Rc<Kernel>),
    /// The last input, with a gradient of its own towards the others.
    Custom(Custom),
}

/// A rule, compared by identity.
#[derive(Clone)]
pub(crate) struct Custom(pub(crate) Rc<dyn Rule>);

impl Custom {
    fn address(&self) -> *const u8 {
        Rc::as_ptr(&self.0).cast()
    }
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.address(), other.address())
    }
}

impl Eq for Custom {}

impl std::hash::Hash for Custom {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.address().hash(state);
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("custom")
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<Value>,
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: Dtype,
}

/// Tensors and how they follow from each other. Asking twice for the same value gives the same
/// handle, so common sub-expressions are shared.
///
/// Methods panic when shapes or element types do not fit: a graph is built by code that knows its
/// shapes. [`crate::recipe`] checks what comes from a user first.
#[derive(Default)]
pub struct Graph {
    entries: Vec<Entry>,
    known: HashMap<(Op, Vec<Value>, Vec<usize>, Dtype), Value>,
    states: Vec<(Vec<usize>, Dtype)>,
    constants: BTreeMap<Hash, Vec<u8>>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Graph {
        Graph::default()
    }

    /// The dimensions of a value; none of them for a scalar.
    pub fn shape(&self, value: Value) -> &[usize] {
        &self.entry(value).shape
    }

    /// The element type of a value.
    pub fn dtype(&self, value: Value) -> Dtype {
        self.entry(value).dtype
    }

    /// The bytes of all constants, by their BLAKE3 hash.
    pub fn constants(&self) -> &BTreeMap<Hash, Vec<u8>> {
        &self.constants
    }

    /// A new state tensor and its value at the beginning of the step.
    pub fn state(&mut self, shape: &[usize], dtype: Dtype) -> (State, Value) {
        let state = State(self.states.len());
        self.states.push((shape.to_vec(), dtype));
        let value = self.insert(Op::State(state), vec![], shape.to_vec(), dtype);
        (state, value)
    }

    /// The field of each record of the step's batch, shape `[batch, count]`.
    pub fn field(&mut self, field: Field) -> Value {
        let shape = vec![field.batch as usize, field.count as usize];
        self.insert(Op::Field(field), vec![], shape, field.dtype)
    }

    /// A tensor that never changes, given by its little-endian, row-major bytes.
    ///
    /// # Panics
    /// When `bytes` is not as long as the shape and element type say.
    pub fn constant(&mut self, shape: &[usize], dtype: Dtype, bytes: Vec<u8>) -> Value {
        let want = shape.iter().product::<usize>() * dtype.size() as usize;
        assert_eq!(bytes.len(), want, "bytes of a constant of shape {shape:?}");
        let hash = *blake3::hash(&bytes).as_bytes();
        self.constants.insert(hash, bytes);
        self.insert(Op::Constant(hash), vec![], shape.to_vec(), dtype)
    }

    /// An f32 tensor that never changes.
    ///
    /// # Panics
    /// When `elements` has another length than the shape.
    pub fn constant_f32(&mut self, shape: &[usize], elements: &[f32]) -> Value {
        let bytes = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(shape, Dtype::F32, bytes)
    }

    /// The number of the step, a `u32` scalar.
    pub fn step(&mut self) -> Value {
        let step = self.insert(Op::Step, vec![], vec![1], Dtype::U32);
        self.reshape(step, &[])
    }

    /// The seed of the task: its low and its high `u32` word.
    pub fn seed(&mut self) -> Value {
        self.insert(Op::Seed, vec![], vec![2], Dtype::U32)
    }

    /// An f32 scalar.
    pub fn scalar(&mut self, x: f32) -> Value {
        self.insert(Op::Fill(x.to_bits()), vec![], vec![], Dtype::F32)
    }

    /// A `u32` scalar.
    pub fn word(&mut self, word: u32) -> Value {
        self.insert(Op::Fill(word), vec![], vec![], Dtype::U32)
    }

    /// A scalar of the type of `like`, whose bits are zeros.
    pub(crate) fn zero(&mut self, like: Value) -> Value {
        self.insert(Op::Fill(0), vec![], vec![], self.dtype(like))
    }

    /// The row-major position of every element, modulo 2^32, as `u32`.
    pub fn positions(&mut self, shape: &[usize]) -> Value {
        self.insert(Op::Positions, vec![], shape.to_vec(), Dtype::U32)
    }

    /// The dimensions and the element type of a state tensor.
    pub fn state_type(&self, state: State) -> (&[usize], Dtype) {
        let (shape, dtype) = &self.states[state.0];
        (shape, *dtype)
    }

    pub(crate) fn entry(&self, value: Value) -> &Entry {
        &self.entries[value.0 as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn insert(
        &mut self,
        op: Op,
        inputs: Vec<Value>,
        shape: Vec<usize>,
        dtype: Dtype,
    ) -> Value {
        assert!(
            shape.iter().all(|&d| d > 0),
            "every dimension is at least 1, not {shape:?}"
        );
        assert!(
            shape.len() <= limits::DIMS,
            "a tensor has at most {} axes, not {shape:?}",
            limits::DIMS
        );
        let key = (op, inputs, shape, dtype);
        if let Some(&value) = self.known.get(&key) {
            return value;
        }
        let value = Value(self.entries.len() as u32);
        let (op, inputs, shape, dtype) = key.clone();
        self.entries.push(Entry {
            op,
            inputs,
            shape,
            dtype,
        });
        self.known.insert(key, value);
        value
    }

    pub(crate) fn kernel(&mut self, kernel: Kernel, inputs: &[Value]) -> Value {
        let (shape, dtype) = (kernel.shape.clone(), kernel.dtype);
        self.insert(Op::Kernel(Rc::new(kernel)), inputs.to_vec(), shape, dtype)
    }

    /// `root`, differentiated by `rule` towards `inputs` instead of through how it is computed.
    pub(crate) fn custom(&mut self, rule: impl Rule, inputs: &[Value], root: Value) -> Value {
        let (shape, dtype) = (self.shape(root).to_vec(), self.dtype(root));
        let inputs = [inputs, &[root]].concat();
        self.insert(Op::Custom(Custom(Rc::new(rule))), inputs, shape, dtype)
    }
}

//! Random valid programs with all that they read, and random invalid ones, for the tests of
//! everything that runs programs. A seed determines the result.
//!
//! Half of the nodes are arbitrary; the others have the shapes that engines recognise:
//! contractions, convolutions, reductions, prefixes, scatters and gathers, whole and at their
//! edges.

mod access;
mod body;
mod fold;
mod mutate;
mod rng;
mod value;

use crate::encoding::Int;
use crate::eval::Inputs;
use crate::program::{elements, limits, Access, Axis, Dim, Dtype, Node, Program, Source};
use crate::task::{Dataset, TaskSpec};
use crate::{tree, validate, Hash};
use alloc::{sync::Arc, vec::Vec};
pub use mutate::{invalid, mutate};
pub use rng::Rng;

/// How large a program may become.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Nodes, besides state, datasets, constants and next state.
    pub nodes: u64,
    /// Elements of a tensor.
    pub elements: u64,
    /// Scalar steps of a node: elements times reduction.
    pub steps: u64,
}

impl Size {
    /// Runs in the reference evaluator within a millisecond or so.
    pub const SMALL: Size = Size {
        nodes: 6,
        elements: 100,
        steps: 1_500,
    };

    /// Large enough for an engine's tiles, blocks and threads.
    pub const LARGE: Size = Size {
        nodes: 12,
        elements: 4_000,
        steps: 200_000,
    };
}

/// A valid program and all that it reads.
#[derive(Clone)]
pub struct Case {
    /// The program.
    pub program: Program,
    /// Seed, datasets and constants.
    pub inputs: Inputs,
    /// The bytes of each state slot before the first step.
    pub state: Vec<Vec<u8>>,
    /// Records of a step.
    pub batch: u32,
    /// Bytes of a record of each dataset.
    pub record_sizes: Vec<u32>,
}

impl Case {
    /// The task that trains this program for `steps` steps.
    pub fn spec(&self, steps: u32, segment: u32) -> TaskSpec {
        let state: Vec<u8> = self.state.iter().flat_map(|t| tree::hash(t)).collect();
        let dataset = |(blob, &record_size): (&crate::eval::Blob, &u32)| {
            let bytes = (**blob).as_ref();
            Dataset {
                root: tree::hash(bytes),
                records: bytes.len() as u64 / record_size as u64,
                record_size,
            }
        };
        TaskSpec {
            program: self.program.root(),
            nodes: self.program.nodes.len() as u32,
            slots: self.program.slots,
            genesis: tree::hash(&state),
            datasets: self
                .inputs
                .datasets
                .iter()
                .zip(&self.record_sizes)
                .map(dataset)
                .collect(),
            batch: self.batch,
            steps,
            segment,
            seed: self.inputs.seed,
        }
    }
}

/// The valid program that `seed` determines.
pub fn program(seed: u64, size: Size) -> Case {
    let mut builder = Builder::new(seed, size);
    builder.sources();
    for _ in 0..1 + builder.rng.below(size.nodes) {
        builder.compute();
    }
    builder.next_state();
    let case = builder.case;
    validate::program(&case.program).expect("only valid nodes are built");
    case
}

/// Number, element type and elements of a node.
type Tensor = (u32, Dtype, u64);

struct Builder {
    rng: Rng,
    size: Size,
    case: Case,
}

impl Builder {
    fn new(seed: u64, size: Size) -> Builder {
        let mut rng = Rng::new(seed);
        let batch = rng.skewed(8) as u32;
        let inputs = Inputs {
            seed: rng.next(),
            ..Inputs::default()
        };
        let program = Program {
            slots: 0,
            nodes: Vec::new(),
        };
        let case = Case {
            program,
            inputs,
            state: Vec::new(),
            batch,
            record_sizes: Vec::new(),
        };
        Builder { rng, size, case }
    }

    /// Appends a node that is valid at its place.
    fn push(&mut self, node: Node) -> Tensor {
        let position = self.case.program.nodes.len() as u32;
        validate::node(&node, position).expect("only valid nodes are built");
        let tensor = (position, node.dtype(), node.len());
        self.case.program.nodes.push(node);
        tensor
    }

    fn tensor(&self, node: u64) -> Tensor {
        let found = &self.case.program.nodes[node as usize];
        (node as u32, found.dtype(), found.len())
    }

    /// Any node so far, late and large ones more often.
    fn any(&mut self) -> Tensor {
        let count = self.case.program.nodes.len() as u64;
        let recent = self.rng.pick(&[4, count, count]).min(count);
        let draws = [0; 3].map(|_| count - 1 - self.rng.below(recent));
        let [first, others @ ..] = draws.map(|node| self.tensor(node));
        let larger = others
            .into_iter()
            .fold(first, |a, b| if b.2 > a.2 { b } else { a });
        if self.rng.one_in(4) {
            first
        } else {
            larger
        }
    }

    /// A node of this type with at least `len` elements, if need be a new constant.
    fn operand(&mut self, dtype: Dtype, len: u64) -> Tensor {
        let fits: Vec<Tensor> = (0..self.case.program.nodes.len() as u64)
            .map(|node| self.tensor(node))
            .filter(|tensor| tensor.1 == dtype && tensor.2 >= len)
            .collect();
        if fits.is_empty() || self.rng.one_in(3) {
            let slack = self.rng.pick(&[0, 0, 1, 5]);
            self.constant(&[len + slack], dtype)
        } else {
            self.rng.pick(&fits)
        }
    }

    fn constant(&mut self, shape: &[u64], dtype: Dtype) -> Tensor {
        let shape = dims(shape);
        let len = elements(&shape).expect("random shapes are small");
        let bytes = value::tensor(&mut self.rng, dtype, len);
        let hash: Hash = tree::hash(&bytes);
        self.case.inputs.constants.insert(hash, Arc::new(bytes));
        self.push(Node::Source(Source::Constant { shape, dtype, hash }))
    }

    fn dtype(&mut self) -> Dtype {
        if self.rng.one_in(2) {
            Dtype::F32
        } else {
            self.rng.pick(&value::DTYPES)
        }
    }

    /// A shape of at most `most` elements.
    fn shape(&mut self, most: u64) -> Vec<u64> {
        let rank = self.rng.pick(&[1, 1, 2, 2, 2, 3, 3, 4, 8]);
        let mut room = most;
        let mut shape = Vec::new();
        for _ in 0..rank {
            let extent = self.rng.skewed(room);
            shape.push(extent);
            room /= extent;
        }
        if self.rng.one_in(2) {
            shape.reverse();
        }
        shape
    }

    /// State first, then a few of every other source.
    fn sources(&mut self) {
        let slots = 1 + self.rng.below(3);
        self.case.program.slots = slots as u32;
        for _ in 0..slots {
            let shape = dims(&self.shape(self.size.elements));
            let dtype = self.dtype();
            let (_, _, len) = self.push(Node::Source(Source::State { shape, dtype }));
            let bytes = value::tensor(&mut self.rng, dtype, len);
            self.case.state.push(bytes);
        }
        for dataset in 0..self.rng.below(3) {
            self.dataset(dataset as u8);
        }
        for _ in 0..1 + self.rng.below(3) {
            let shape = self.shape(self.size.elements);
            let dtype = self.dtype();
            self.constant(&shape, dtype);
        }
        if self.rng.one_in(2) {
            self.push(Node::Source(Source::Step));
        }
        if self.rng.one_in(2) {
            self.push(Node::Source(Source::Seed));
        }
    }

    /// A dataset and one or two fields of its records.
    fn dataset(&mut self, dataset: u8) {
        let most = self.size.elements / self.case.batch as u64;
        let record_size = 4 * self.rng.skewed(most.max(2));
        let records = 1 + self.rng.below(20);
        let bytes = value::tensor(&mut self.rng, Dtype::F32, records * record_size / 4);
        self.case.inputs.datasets.push(Arc::new(bytes));
        self.case.record_sizes.push(record_size as u32);
        for _ in 0..1 + self.rng.below(2) {
            let dtype = self.dtype();
            let size = dtype.size();
            let fields = self.rng.skewed((record_size / size).min(most.max(1)));
            let offset = size * self.rng.below(record_size / size - fields + 1);
            self.push(Node::Source(Source::Batch {
                dataset,
                batch: self.case.batch,
                record_size: record_size as u32,
                offset: offset as u32,
                fields: fields as u32,
                dtype,
            }));
        }
    }

    fn compute(&mut self) {
        match self.rng.below(12) {
            0..=3 => self.any_map(),
            4 | 5 => self.any_fold(),
            6 | 7 => self.contraction(),
            8 => self.convolution(),
            9 => self.reduction(),
            10 => self.scatter(),
            _ => self.gather(),
        };
    }

    /// The next state: each slot updated from itself and from others.
    fn next_state(&mut self) {
        for slot in 0..self.case.state.len() as u64 {
            let (_, dtype, len) = self.tensor(slot);
            self.update((slot as u32, dtype, len));
        }
    }
}

fn dims(shape: &[u64]) -> Vec<Dim> {
    shape.iter().copied().map(Dim).collect()
}

/// A read whose axes the caller has fitted to the tensor.
fn read((node, dtype, len): Tensor, base: u64, axes: Vec<Axis>, fill: u32) -> Access {
    Access {
        node,
        dtype,
        len,
        base: Int(base as i64),
        axes,
        fill,
    }
}

/// Whether a node's encoding leaves no room for another long list.
fn is_full(node: &Node) -> bool {
    scale::Encode::encoded_size(node) > limits::NODE_BYTES
}

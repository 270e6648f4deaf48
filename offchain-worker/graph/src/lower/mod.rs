//! Lowering: from a graph to a program.
//!
//! Reshapes, transposes, broadcasts and slices become part of how a reader addresses an element;
//! elementwise functions are computed where they are read when they have one reader, and get a map
//! of their own otherwise; reductions, contractions and other kernels are nodes. A sum of more
//! than 64 terms is cut into 32 strided lanes (term k belongs to lane k modulo 32), or more of
//! them when a lane would be longer than 4096 terms, which are then summed in the same manner.
//! Equal nodes are one node. The same graph always gives the same program.

mod affine;
mod body;
mod lazy;
mod place;
mod reduce;

pub use place::copy;

use crate::{
    graph::{Graph, Op, State, Value},
    kernel::{
        form::{out, scaled},
        Kernel, Operand,
    },
    scalar::{apply, Expr, Scalar},
};
use affine::Domain;
use lazy::{row_major, Lazy, View};
use lockstep_protocol::{
    program::{limits, Access, Dim, Dtype, Fold, Form, Init, Node, Program, Source},
    validate::{self, Invalid},
};
use std::collections::HashMap;

/// Registers that a map may fill before it is cut in two, the rest being for its reads.
const MAP_WEIGHT: usize = limits::REGISTERS - limits::READS;

/// Registers that a map may fill and still be computed inside the fold that reads it: beyond, the
/// operands of the fold are stored first.
const FOLD_WEIGHT: usize = 12;

/// The program whose state is `slots`, in this order, each with its value after the step.
///
/// # Errors
/// What the validator refuses, such as a node too long to be proven in one call.
///
/// # Panics
/// When a state has two slots, or none and is read, or its next value has another shape or type.
pub fn lower(graph: &Graph, slots: &[(State, Value)]) -> Result<Program, Invalid> {
    let mut lowering = Lowering::new(graph, slots);
    let next: Vec<Value> = slots.iter().map(|&(_, value)| value).collect();
    for (id, &readers) in readers(graph, &next).iter().enumerate() {
        if readers > 0 {
            lowering.value(Value(id as u32), readers);
        }
    }
    let next = next.into_iter().map(|v| lowering.stored(v)).collect();
    let program = place::place(lowering.nodes, next);
    validate::program(&program)?;
    Ok(program)
}

/// How many nodes will read each value; those that only show another value pass their readers on.
fn readers(graph: &Graph, next: &[Value]) -> Vec<usize> {
    let mut readers = vec![0; graph.len()];
    for value in next {
        readers[value.0 as usize] += 1;
    }
    for id in (0..graph.len()).rev() {
        if readers[id] == 0 {
            continue;
        }
        let entry = graph.entry(Value(id as u32));
        let (inputs, count) = match entry.op {
            Op::Reshape | Op::Permute(_) | Op::Broadcast | Op::Slice { .. } => {
                (&entry.inputs[..], readers[id])
            }
            Op::Custom(_) => (&entry.inputs[entry.inputs.len() - 1..], readers[id]),
            _ => (&entry.inputs[..], 1),
        };
        let mut inputs = inputs.to_vec();
        inputs.sort_unstable();
        inputs.dedup();
        for input in inputs {
            readers[input.0 as usize] += count;
        }
    }
    readers
}

struct Lowering<'a> {
    graph: &'a Graph,
    nodes: Vec<Node>,
    known: HashMap<Node, u32>,
    values: Vec<Option<Lazy>>,
    slots: HashMap<State, u32>,
}

impl<'a> Lowering<'a> {
    fn new(graph: &'a Graph, slots: &[(State, Value)]) -> Lowering<'a> {
        let mut lowering = Lowering {
            graph,
            nodes: vec![],
            known: HashMap::new(),
            values: vec![None; graph.len()],
            slots: HashMap::new(),
        };
        for (position, &(state, value)) in (0..).zip(slots) {
            let (shape, dtype) = graph.state_type(state);
            assert_eq!(
                (graph.shape(value), graph.dtype(value)),
                (shape, dtype),
                "shape and type of the next value of slot {position}"
            );
            let twice = lowering.slots.insert(state, position);
            assert_eq!(twice, None, "a state has one slot");
            let shape = dims(shape);
            let source = Source::State { shape, dtype };
            lowering.nodes.push(Node::Source(source));
        }
        lowering
    }

    fn lazy(&self, value: Value) -> &Lazy {
        let lazy = self.values[value.0 as usize].as_ref();
        lazy.expect("values are lowered in the order of the graph, inputs first")
    }

    fn value(&mut self, value: Value, readers: usize) {
        let entry = self.graph.entry(value);
        let (shape, dtype, inputs) = (&entry.shape, entry.dtype, &entry.inputs);
        let of = |expr| Lazy {
            shape: shape.clone(),
            dtype,
            expr,
        };
        let lazy = match &entry.op {
            Op::State(state) => {
                let slot = self
                    .slots
                    .get(state)
                    .expect("a state that is read has a slot");
                Lazy::node(*slot, dtype, shape)
            }
            Op::Field(field) => self.source(
                Source::Batch {
                    dataset: field.dataset,
                    batch: field.batch,
                    record_size: field.record_size,
                    offset: field.offset,
                    fields: field.count,
                    dtype: field.dtype,
                },
                shape,
            ),
            Op::Constant(hash) => {
                let (hash, dims) = (*hash, dims(shape));
                let source = Source::Constant {
                    shape: dims,
                    dtype,
                    hash,
                };
                self.source(source, shape)
            }
            Op::Step => self.source(Source::Step, shape),
            Op::Seed => self.source(Source::Seed, shape),
            Op::Fill(word) => of(Expr::Word(*word)),
            Op::Positions => of(Expr::Value(row_major(shape))),
            Op::Apply(scalar) => of(self.apply(*scalar, inputs, shape)),
            Op::Reshape => of(self.reshaped(inputs[0], shape)),
            Op::Permute(order) => {
                let mut at = vec![Form::constant(0); order.len()];
                for (k, &from) in order.iter().enumerate() {
                    at[from] = out(k);
                }
                of(self.at(inputs[0], &at, shape))
            }
            Op::Broadcast => {
                if self.lazy(inputs[0]).expr.functions() > 0 {
                    self.store(inputs[0]);
                }
                let from = &self.lazy(inputs[0]).shape;
                let form = |(k, &d): (usize, &usize)| match d {
                    1 => Form::constant(0),
                    _ => out(k),
                };
                let at: Vec<Form> = from.iter().enumerate().map(form).collect();
                of(self.at(inputs[0], &at, shape))
            }
            Op::Slice { axis, start } => of(self.shifted(inputs[0], *axis, *start as i64, shape)),
            Op::Pad { axis, before } => {
                of(self.shifted(inputs[0], *axis, -(*before as i64), shape))
            }
            Op::Concat(axis) => {
                let mut start = 0;
                let mut parts = Vec::new();
                for &input in inputs {
                    parts.push(self.shifted(input, *axis, -start, shape));
                    start += self.graph.shape(input)[*axis] as i64;
                }
                self.united(parts, shape, dtype)
            }
            Op::Reduce(join, axes) => self.reduce(*join, axes, inputs[0], shape),
            Op::Kernel(kernel) => self.kernel(kernel, inputs),
            Op::Custom(_) => self.lazy(inputs[inputs.len() - 1]).clone(),
        };
        let shared = readers > 1 && lazy.expr.functions() > 0;
        self.values[value.0 as usize] = Some(lazy);
        if shared {
            self.store(value);
        }
    }

    fn source(&mut self, source: Source, shape: &[usize]) -> Lazy {
        let dtype = source.output().1;
        let node = self.push(Node::Source(source));
        Lazy::node(node, dtype, shape)
    }

    /// The number of `node`, which is added unless it is there.
    fn push(&mut self, node: Node) -> u32 {
        if let Some(&known) = self.known.get(&node) {
            return known;
        }
        let number = self.nodes.len() as u32;
        self.nodes.push(node.clone());
        self.known.insert(node, number);
        number
    }

    /// Makes `value` a node, and gives its number.
    fn stored(&mut self, value: Value) -> u32 {
        let lazy = self.lazy(value).clone();
        if let Some(node) = lazy.is_whole() {
            return node;
        }
        let node = self.map(&lazy);
        self.values[value.0 as usize] = Some(Lazy::node(node, lazy.dtype, &lazy.shape));
        node
    }

    fn store(&mut self, value: Value) {
        self.stored(value);
    }

    fn map(&mut self, lazy: &Lazy) -> u32 {
        let body = body::build(&lazy.expr, vec![], &lazy.shape, &[], lazy.dtype);
        self.push(Node::Map(body))
    }

    /// Stores `value` unless it is an element of a node already.
    fn plain(&mut self, value: Value) -> View {
        if !matches!(self.lazy(value).expr, Expr::Read(_)) {
            self.store(value);
        }
        match &self.lazy(value).expr {
            Expr::Read(view) => view.clone(),
            _ => unreachable!("a stored value is an element of a node"),
        }
    }

    fn at(&mut self, value: Value, at: &[Form], shape: &[usize]) -> Expr<View> {
        let domain = Domain::new(shape, &[]);
        if let Some(expr) = self.lazy(value).at(at, 0, &domain) {
            return expr;
        }
        self.store(value);
        let expr = self.lazy(value).at(at, 0, &domain);
        expr.expect("a whole node can be read anywhere")
    }

    fn shifted(&mut self, value: Value, axis: usize, by: i64, shape: &[usize]) -> Expr<View> {
        let mut at: Vec<Form> = (0..shape.len()).map(out).collect();
        at[axis] = scaled(1, &at[axis], by);
        self.at(value, &at, shape)
    }

    fn reshaped(&mut self, value: Value, shape: &[usize]) -> Expr<View> {
        if let Some(expr) = self.lazy(value).reshape(shape) {
            return expr;
        }
        self.store(value);
        let expr = self.lazy(value).reshape(shape);
        expr.expect("a whole node has its elements in order")
    }

    /// `scalar` of the inputs. Inputs are stored, those with the most functions first, until the
    /// rest fits one map.
    fn apply(&mut self, scalar: Scalar, inputs: &[Value], shape: &[usize]) -> Expr<View> {
        loop {
            let args: Vec<_> = inputs.iter().map(|&v| self.lazy(v).expr.clone()).collect();
            let expr = apply(scalar, args);
            if self.is_a_map(&expr, shape) {
                return expr;
            }
            let heaviest = inputs
                .iter()
                .max_by_key(|&&v| body::weight(&self.lazy(v).expr));
            let heaviest = *heaviest.expect("a function has operands");
            self.store(heaviest);
        }
    }

    /// Whether a map of `expr` keeps within the limits of a node.
    fn is_a_map(&self, expr: &Expr<View>, shape: &[usize]) -> bool {
        let map = || Node::Map(body::build(expr, vec![], shape, &[], Dtype::F32));
        fits(expr, MAP_WEIGHT, limits::READS)
            && validate::node(&map(), self.nodes.len() as u32).is_ok()
    }

    /// Expressions of which all but one are zero words anywhere.
    fn united(&mut self, parts: Vec<Expr<View>>, shape: &[usize], dtype: Dtype) -> Lazy {
        let mut lazies: Vec<Lazy> = Vec::new();
        for run in parts.chunks(limits::READS) {
            let joined = run
                .iter()
                .cloned()
                .reduce(|a, b| apply(Scalar::Or, vec![a, b]));
            let expr = joined.expect("a chunk is not empty");
            lazies.push(Lazy {
                shape: shape.to_vec(),
                dtype,
                expr,
            });
        }
        if lazies.len() == 1 {
            return lazies.remove(0);
        }
        let stored = lazies.iter().map(|lazy| {
            let node = self.map(lazy);
            Lazy::node(node, dtype, shape).expr
        });
        let stored = stored.collect();
        self.united(stored, shape, dtype)
    }

    fn kernel(&mut self, kernel: &Kernel, inputs: &[Value]) -> Lazy {
        let domain = Domain::new(&kernel.shape, &kernel.red);
        let index: Vec<Access> = (kernel.index.iter())
            .map(|operand| self.operand(operand, inputs, &domain).access(&domain))
            .collect();
        let reads: Vec<View> = (kernel.reads.iter())
            .map(|operand| self.operand(operand, inputs, &domain))
            .collect();
        let expr = body::bind(&kernel.body, &reads);
        let body = body::build(&expr, index, &kernel.shape, &kernel.red, kernel.dtype);
        let node = match kernel.red[..] {
            [] => Node::Map(body),
            _ => Node::Fold(Fold {
                body,
                red: dims(&kernel.red),
                when: kernel.when.clone(),
                init: Init::Word(kernel.init),
            }),
        };
        let node = self.push(node);
        Lazy::node(node, kernel.dtype, &kernel.shape)
    }

    fn operand(&mut self, operand: &Operand, inputs: &[Value], domain: &Domain) -> View {
        let value = inputs[operand.input];
        let shape = self.graph.shape(value);
        let view = self.plain(value);
        if let Some(view) = view.at(shape, &operand.at, operand.fill, domain) {
            return view;
        }
        let node = self.stored(value);
        let whole = View::whole(node, self.graph.dtype(value), shape);
        let view = whole.at(shape, &operand.at, operand.fill, domain);
        view.expect("a whole node can be read anywhere")
    }
}

fn fits(expr: &Expr<View>, weight: usize, reads: usize) -> bool {
    let mut views: Vec<&View> = Vec::new();
    expr.reads(&mut |view| {
        if !views.contains(&view) {
            views.push(view);
        }
    });
    views.len() <= reads && body::weight(expr) <= weight
}

/// Dimensions of a node; a scalar is a tensor of one element.
fn dims(shape: &[usize]) -> Vec<Dim> {
    match shape {
        [] => vec![Dim(1)],
        _ => shape.iter().map(|&d| Dim(d as u64)).collect(),
    }
}

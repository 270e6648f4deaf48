//! From a file to a graph.

use super::{
    builder::Builder,
    call::Call,
    error::{refuse, Error, Reason},
    operand::{Live, Operand},
    ops,
    structure::{failed, made_up},
    tensor::{Data, Element},
    Declaration, Extent, Onnx, Options,
};
use lockstep_graph::{Initial, Model, Value};
use lockstep_protocol::program::{limits, Dtype};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Elements of a frozen weight up to which it may also decide shapes and be computed with when the
/// model is built.
const SMALL: usize = 1 << 12;

/// Operands by name.
type Names<'a> = HashMap<&'a str, Operand>;

pub(super) fn build(
    onnx: &Onnx,
    model: &mut Model,
    inputs: &BTreeMap<String, Value>,
    options: &Options,
) -> Result<BTreeMap<String, Value>, Error> {
    if let (true, false, Some(sign)) = (model.is_training(), options.optimised, &onnx.optimised) {
        return Err(Error::Unsupported(format!(
            "the file was optimised for inference ({sign}), where weights are folded, merged and \
             untied: export with dynamo=True, optimize=False, or with dynamo=False, \
             do_constant_folding=False, training=TrainingMode.TRAINING"
        )));
    }
    let needed = onnx.needed();
    let mut names = Names::new();
    onnx.supply(model, inputs, &mut names)?;
    onnx.declare(model, &needed, options, &mut names)?;
    let mut builder = Builder::new(model);
    onnx.run(&mut builder, &needed, &mut names)?;
    onnx.deliver(&mut builder, &names)
}

impl Onnx {
    /// For each node, whether an output depends on it.
    fn needed(&self) -> Vec<bool> {
        let mut wanted: HashSet<&str> = self.outputs.iter().map(|o| &o.name[..]).collect();
        let mut needed = vec![false; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate().rev() {
            if node.output.iter().any(|o| wanted.contains(&o[..])) {
                needed[index] = true;
                wanted.extend(node.input.iter().map(|i| &i[..]));
            }
        }
        needed
    }

    /// The caller's values under the names of the inputs.
    fn supply<'a>(
        &'a self,
        model: &mut Model,
        inputs: &BTreeMap<String, Value>,
        names: &mut Names<'a>,
    ) -> Result<(), Error> {
        let failed = |name: &str, reason: Reason| Error::Value {
            side: "input",
            name: name.into(),
            reason: reason.0,
        };
        let declared = |name: &String| self.inputs.iter().any(|input| input.name == *name);
        if let Some(name) = inputs.keys().find(|name| !declared(name)) {
            let known: Vec<&str> = self.inputs.iter().map(|input| &input.name[..]).collect();
            let reason = format!("the model has no such input, only {known:?}");
            return Err(failed(name, Reason(reason)));
        }
        let mut bound = HashMap::new();
        for input in &self.inputs {
            let Some(&value) = inputs.get(&input.name) else {
                return Err(failed(&input.name, "it is not given".into()));
            };
            fits(model, input, value, &mut bound).map_err(|r| failed(&input.name, r))?;
            let element = input.element;
            let value = match element {
                Element::Boolean => {
                    let is_not = model.graph.not(value);
                    model.graph.not(is_not)
                }
                _ => value,
            };
            names.insert(&input.name, Operand::Live(Live { value, element }));
        }
        Ok(())
    }

    /// Weights as parameters, running statistics as buffers, everything else as known tensors.
    fn declare<'a>(
        &'a self,
        model: &mut Model,
        needed: &[bool],
        options: &Options,
        names: &mut Names<'a>,
    ) -> Result<(), Error> {
        for pattern in &options.frozen {
            if !self.weights.iter().any(|(name, _)| pattern.matches(name)) {
                return Err(Error::Unsupported(format!(
                    "no weight is called {:?}, which should be frozen",
                    pattern.to_string()
                )));
            }
        }
        let nodes = self.nodes.iter().zip(needed).filter(|(_, needed)| **needed);
        let mut read: HashSet<&str> = HashSet::new();
        let (mut running, mut settings) = (HashSet::new(), HashSet::new());
        for (node, _) in nodes {
            read.extend(node.input.iter().map(|i| &i[..]));
            for (k, input) in node.input.iter().enumerate() {
                match (&node.op_type[..], k) {
                    ("BatchNormalization", 3 | 4) => running.insert(&input[..]),
                    ("Dropout", 1) | ("Clip", 1 | 2) | ("Pad", 2) | ("Range", _) => {
                        settings.insert(&input[..])
                    }
                    _ => continue,
                };
            }
        }
        read.extend(self.outputs.iter().map(|o| &o.name[..]));
        for (name, tensor) in &self.weights {
            if !read.contains(&name[..]) {
                continue;
            }
            let failed = |reason: &str| Error::Tensor {
                name: name.clone(),
                reason: reason.into(),
            };
            if tensor.shape.len() > limits::DIMS {
                return Err(failed("a weight has at most 8 axes"));
            }
            let buffer = running.contains(&name[..]);
            let frozen = options.frozen.iter().any(|p| p.matches(name))
                || (self.untrained.contains(name) && !buffer)
                || settings.contains(&name[..])
                || (made_up(name) && tensor.len() == 1);
            let operand = match &tensor.data {
                Data::Float(data) if !frozen => {
                    if tensor.len() == 0 {
                        return Err(failed("a weight without elements cannot be trained"));
                    }
                    if model.declares(name) {
                        return Err(failed("the model has another tensor of this name"));
                    }
                    if model.parameters().len() >= limits::NODES as usize {
                        return Err(failed("it is one weight more than a program has nodes"));
                    }
                    let data = data.to_vec();
                    Operand::float(match buffer {
                        true => model.buffer(name, &tensor.shape, data),
                        false => model.parameter(name, &tensor.shape, &Initial::Given(data)),
                    })
                }
                Data::Float(data) if data.len() > SMALL => {
                    Operand::float(model.graph.constant_f32(&tensor.shape, data))
                }
                _ => Operand::Known(tensor.clone()),
            };
            names.insert(name, operand);
        }
        Ok(())
    }

    /// The nodes, one after another.
    fn run<'a>(
        &'a self,
        builder: &mut Builder,
        needed: &[bool],
        names: &mut Names<'a>,
    ) -> Result<(), Error> {
        let mut last: HashMap<&str, usize> = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate().filter(|(k, _)| needed[*k]) {
            last.extend(node.input.iter().map(|input| (&input[..], index)));
        }
        last.extend(self.outputs.iter().map(|o| (&o.name[..], usize::MAX)));
        names.values().for_each(|operand| builder.hold(operand));
        for (index, node) in self.nodes.iter().enumerate().filter(|(k, _)| needed[*k]) {
            let call = Call {
                node,
                inputs: node
                    .input
                    .iter()
                    .map(|i| names.get(&i[..]).cloned())
                    .collect(),
            };
            let outputs = outputs_of(builder, &call, &last);
            let outputs = outputs.map_err(|reason| failed(index, node, reason))?;
            drop(call);
            for (name, operand) in node.output.iter().zip(outputs) {
                if last.contains_key(&name[..]) {
                    builder.hold(&operand);
                    names.insert(name, operand);
                }
            }
            for input in &node.input {
                if last[&input[..]] == index {
                    if let Some(operand) = names.remove(&input[..]) {
                        builder.release(&operand);
                    }
                }
            }
        }
        Ok(())
    }

    /// The outputs as values of the graph.
    fn deliver(
        &self,
        builder: &mut Builder,
        names: &Names,
    ) -> Result<BTreeMap<String, Value>, Error> {
        let mut outputs = BTreeMap::new();
        for output in &self.outputs {
            let value = match names.get(&output.name[..]) {
                Some(operand) => builder.live(operand),
                None => Err("nothing computes it".into()),
            };
            let value = value.map_err(|reason| Error::Value {
                side: "output",
                name: output.name.clone(),
                reason: reason.0,
            })?;
            outputs.insert(output.name.clone(), value.value);
        }
        Ok(outputs)
    }
}

/// What a node computes, at least as many outputs as are read.
fn outputs_of(
    builder: &mut Builder,
    call: &Call,
    read: &HashMap<&str, usize>,
) -> Result<Vec<Operand>, Reason> {
    if call.node.attribute.iter().any(|a| a.g.is_some()) {
        refuse!("control flow is not supported: export a model without branches and loops");
    }
    let outputs = ops::apply(builder, call)?;
    let mut beyond = call.node.output.iter().skip(outputs.len());
    match beyond.any(|output| read.contains_key(&output[..])) {
        true => refuse!(
            "only the first {} of its outputs can be used",
            outputs.len()
        ),
        false => Ok(outputs),
    }
}

/// Refuses a value that is not what an input is declared to be; `bound` are the extents that names
/// stand for.
fn fits<'a>(
    model: &Model,
    input: &'a Declaration,
    value: Value,
    bound: &mut HashMap<&'a str, usize>,
) -> Result<(), Reason> {
    let float = model.graph.dtype(value) == Dtype::F32;
    if float != (input.element == Element::Float) {
        let given = if float { "floats" } else { "integers" };
        refuse!("it takes {}s and is given {given}", input.element);
    }
    let shape = model.graph.shape(value);
    if shape.len() != input.shape.len() {
        refuse!(
            "it has {} axes and is given shape {shape:?}",
            input.shape.len()
        );
    }
    for (k, (&given, extent)) in shape.iter().zip(&input.shape).enumerate() {
        match extent {
            Extent::Fixed(n) if *n != given => refuse!(
                "axis {k} always has extent {n} in the file and is given {given}: export it as a \
                 dynamic axis"
            ),
            Extent::Named(name) => {
                let first = *bound.entry(name).or_insert(given);
                if first != given {
                    refuse!("axis {k} is {name:?}, which is {first} elsewhere and {given} here");
                }
            }
            _ => {}
        }
    }
    Ok(())
}

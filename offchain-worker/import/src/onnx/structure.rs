//! What a file must be before any of its nodes is looked at.

use super::{
    error::{Error, Reason},
    proto::{
        DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto,
    },
    read::Folder,
    signature::Signature,
    tensor::{number, Element, Tensor},
    Declaration, Extent, Initialiser, Onnx,
};
use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
};

/// The versions of ONNX's operations that are supported.
const OPSETS: RangeInclusive<i64> = 13..=21;

/// The model in a file.
pub(super) fn onnx(model: ModelProto, folder: &Folder) -> Result<Onnx, Error> {
    check_opset(&model.opset_import)?;
    let Some(mut graph) = model.graph else {
        return Err(Error::Format("it has no graph".into()));
    };
    if !graph.sparse_initializer.is_empty() {
        let reason = "sparse initialisers are not supported: export dense weights";
        return Err(Error::Unsupported(reason.into()));
    }
    Names::new(&graph)?.check(&graph)?;

    let mut weights = vec![];
    let mut initialisers = vec![];
    // One after another, so that a large file is not in memory twice.
    for proto in std::mem::take(&mut graph.initializer) {
        let failed = |reason: Reason| Error::Tensor {
            name: proto.name.clone(),
            reason: reason.0,
        };
        if proto.data_type == number::DOUBLE {
            let reason = "weights of float64 are not supported: export model.float()";
            return Err(failed(reason.into()));
        }
        let tensor = Tensor::decode(&proto, folder).map_err(failed)?;
        initialisers.push(Initialiser {
            name: proto.name.clone(),
            element: tensor.element(),
            shape: tensor.shape.clone(),
        });
        weights.push((proto.name, tensor));
    }
    let signature = Signature::new(&graph);
    let held: HashMap<&str, Element> = initialisers
        .iter()
        .map(|i| (&i.name[..], i.element))
        .collect();
    let inputs = graph.input.iter();
    let inputs = inputs.filter(|input| !held.contains_key(&input.name[..]));
    let inputs = inputs.map(|input| declaration("input", input));
    let outputs = graph.output.iter().map(|o| declaration("output", o));
    Ok(Onnx {
        inputs: inputs.collect::<Result<_, _>>()?,
        outputs: outputs.collect::<Result<_, _>>()?,
        optimised: match model.producer_name.as_str() {
            "pytorch" => optimised(&held, &graph.node, &signature),
            _ => None,
        },
        nodes: graph.node,
        untrained: signature.untrained,
        weights,
        initialisers,
    })
}

fn check_opset(imports: &[OperatorSetIdProto]) -> Result<(), Error> {
    let own = |i: &&OperatorSetIdProto| matches!(i.domain.as_str(), "" | "ai.onnx");
    match imports.iter().find(own).map(|import| import.version) {
        Some(version) if OPSETS.contains(&version) => Ok(()),
        found => Err(Error::Unsupported(format!(
            "opset {} is not supported, {} to {} are: export with opset_version=18",
            found.unwrap_or_default(),
            OPSETS.start(),
            OPSETS.end()
        ))),
    }
}

/// Where each name comes from.
struct Names<'a>(HashMap<&'a str, Origin>);

#[derive(Clone, Copy)]
enum Origin {
    Start,
    Node(usize),
}

impl<'a> Names<'a> {
    fn new(graph: &'a GraphProto) -> Result<Names<'a>, Error> {
        let twice = |name: &str| Error::Format(format!("two tensors are called {name:?}"));
        let mut names = HashMap::new();
        for tensor in &graph.initializer {
            if names.insert(&tensor.name[..], Origin::Start).is_some() {
                return Err(twice(&tensor.name));
            }
        }
        // Files of old name every initialiser as an input too.
        let mut inputs = HashSet::new();
        for input in &graph.input {
            if !inputs.insert(&input.name[..]) {
                return Err(twice(&input.name));
            }
            names.insert(&input.name, Origin::Start);
        }
        for (index, node) in graph.node.iter().enumerate() {
            for output in node.output.iter().filter(|o| !o.is_empty()) {
                if names.insert(output, Origin::Node(index)).is_some() {
                    return Err(twice(output));
                }
            }
        }
        Ok(Names(names))
    }

    /// Every name that is read is there before it is read.
    fn check(&self, graph: &GraphProto) -> Result<(), Error> {
        for (index, node) in graph.node.iter().enumerate() {
            for input in node.input.iter().filter(|i| !i.is_empty()) {
                let reason = match self.0.get(&input[..]) {
                    Some(Origin::Start) => continue,
                    Some(Origin::Node(origin)) if *origin < index => continue,
                    Some(Origin::Node(origin)) => format!(
                        "it reads {input:?}, which node {origin} computes later: the nodes are \
                         out of order or form a cycle"
                    ),
                    None => format!("it reads {input:?}, which nothing computes"),
                };
                return Err(failed(index, node, Reason(reason)));
            }
        }
        for output in &graph.output {
            if !self.0.contains_key(&output.name[..]) {
                return Err(Error::Value {
                    side: "output",
                    name: output.name.clone(),
                    reason: "nothing computes it".into(),
                });
            }
        }
        Ok(())
    }
}

/// Characters of a reason that a person would read.
const READABLE: usize = 2000;

/// The error of a node, without the end of a reason that repeats what is long in the file.
pub(super) fn failed(index: usize, node: &NodeProto, reason: Reason) -> Error {
    let reason = match reason.0.char_indices().nth(READABLE) {
        Some((end, _)) => format!("{} ..", &reason.0[..end]),
        None => reason.0,
    };
    Error::Node {
        index,
        operation: node.op_type.clone(),
        name: node.name.clone(),
        reason,
    }
}

fn declaration(side: &'static str, info: &ValueInfoProto) -> Result<Declaration, Error> {
    let failed = |reason: &str| Error::Value {
        side,
        name: info.name.clone(),
        reason: reason.into(),
    };
    let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let tensor = tensor.ok_or_else(|| failed("it is no tensor"))?;
    let element = Element::of(tensor.elem_type).map_err(|reason| failed(&reason.0))?;
    let extent = |dim: &DimensionProto| match (dim.dim_value, &dim.dim_param) {
        (Some(n), _) => match usize::try_from(n) {
            Ok(n) => Ok(Extent::Fixed(n)),
            Err(_) => Err(failed("a dimension is negative")),
        },
        (None, Some(name)) if !name.is_empty() => Ok(Extent::Named(name.clone())),
        _ => Ok(Extent::Unknown),
    };
    let dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
    Ok(Declaration {
        name: info.name.clone(),
        element,
        shape: dims.map(extent).collect::<Result<_, _>>()?,
    })
}

/// Whether an exporter of PyTorch made up a name, as it does for tensors that it computed itself.
pub(super) fn made_up(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    name.starts_with("onnx::") || name.strip_prefix("val_").is_some_and(number)
}

/// What shows that an exporter of PyTorch prepared a file for inference: tensors of its own
/// making, which stand for what it folded, batch norms without statistics, or one weight under
/// several names.
fn optimised(
    held: &HashMap<&str, Element>,
    nodes: &[NodeProto],
    signature: &Signature,
) -> Option<String> {
    // The first in alphabetical order, so that the same file always gives the same error.
    if let Some(name) = held.keys().filter(|name| made_up(name)).min() {
        return Some(format!("initialiser {name:?} is the exporter's own"));
    }
    if let Some(folded) = signature.folded(|name| held.contains_key(name)) {
        return Some(format!("batch norm statistic {folded:?} is folded away"));
    }
    let merged = nodes.iter().find(|node| {
        let weight = |name: &String| {
            held.get(&name[..]) == Some(&Element::Float) && !signature.untrained.contains(name)
        };
        node.op_type == "Identity" && node.input.first().is_some_and(weight)
    })?;
    Some(format!(
        "weight {:?} also stands for {:?}",
        merged.input[0],
        merged.output.first().map_or("", |name| name)
    ))
}

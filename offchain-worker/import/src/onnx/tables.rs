//! Tables that inputs pick rows from.

use super::{Declaration, Element, Onnx};
use std::collections::HashSet;

/// Operations that keep all elements of their first input, and all values of integers.
const KEEPING: [&str; 8] = [
    "Cast",
    "Expand",
    "Flatten",
    "Identity",
    "Reshape",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// The rows of the smallest weight of which an input's elements are positions along the first
/// axis.
pub(super) fn rows(onnx: &Onnx, input: &str) -> Option<usize> {
    let integers = |declared: &&Declaration| declared.element == Element::Integer;
    let declared = onnx.inputs.iter().filter(integers);
    let named = declared.map(|declared| &declared.name[..]);
    let mut ids: HashSet<&str> = named.filter(|name| *name == input).collect();
    let mut smallest = None;
    for node in &onnx.nodes {
        let [first, rest @ ..] = &node.input[..] else {
            continue;
        };
        let operation = &node.op_type[..];
        if KEEPING.contains(&operation) && ids.contains(&first[..]) {
            ids.extend(node.output.iter().map(|name| &name[..]));
        }
        let picks = operation == "Gather" && rest.iter().any(|name| ids.contains(&name[..]));
        let axis = node.attribute.iter().find(|a| a.name == "axis");
        if !picks || axis.and_then(|a| a.i).unwrap_or(0) != 0 {
            continue;
        }
        let table = onnx.initialisers.iter().find(|held| held.name == *first);
        if let Some(&rows) = table.and_then(|table| table.shape.first()) {
            smallest = Some(smallest.map_or(rows, |least: usize| least.min(rows)));
        }
    }
    smallest
}

//! Models from ONNX files as bodies of recipes.

use lockstep_graph::recipe::Imported;
use lockstep_graph::{Model, Value};
use lockstep_import::{Declaration, Element, Extent, Onnx, Options};
use std::collections::BTreeMap;
use std::path::Path;

/// Reads a model with one input, whose first dimension is the batch, and one output.
///
/// # Errors
/// When the file cannot be read, or has several inputs or outputs.
pub fn model(path: &Path) -> Result<Imported, String> {
    let onnx = Onnx::read(path).map_err(|error| error.to_string())?;
    let input = only(onnx.inputs(), "input")?;
    let output = only(onnx.outputs(), "output")?.name;
    let integers = !matches!(input.element, Element::Float);
    let rows = onnx.rows(&input.name);
    let forward = move |model: &mut Model, x: Value| {
        let x = shaped(model, x, &input)?;
        let inputs = BTreeMap::from([(input.name.clone(), x)]);
        let mut outputs = onnx
            .build(model, &inputs, &Options::default())
            .map_err(|error| error.to_string())?;
        Ok(outputs.remove(&output).expect("every output is built"))
    };
    Ok(Imported {
        integers,
        rows,
        forward: Box::new(forward),
    })
}

fn only(declared: &[Declaration], what: &str) -> Result<Declaration, String> {
    match declared {
        [one] => Ok(one.clone()),
        _ => {
            let names: Vec<&str> = declared.iter().map(|d| &d.name[..]).collect();
            Err(format!(
                "export a model with one {what}; this one has {} of them: {names:?}",
                names.len()
            ))
        }
    }
}

/// Records are flat: they take the shape that the model reads, where it says so.
fn shaped(model: &mut Model, x: Value, input: &Declaration) -> Result<Value, String> {
    let shape = model.graph.shape(x).to_vec();
    let fixed = |extent: &Extent| match extent {
        Extent::Fixed(n) => Some(*n),
        Extent::Named(_) | Extent::Unknown => None,
    };
    let Some(rest) = input
        .shape
        .iter()
        .skip(1)
        .map(fixed)
        .collect::<Option<Vec<_>>>()
    else {
        return Ok(x);
    };
    let to = [&shape[..1], &rest[..]].concat();
    let elements = to.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if elements != Some(shape.iter().product()) {
        return Err(format!(
            "its input {:?} has shape {rest:?} for each record, and the recipe's input has {:?}",
            input.name,
            &shape[1..]
        ));
    }
    Ok(model.graph.reshape(x, &to))
}

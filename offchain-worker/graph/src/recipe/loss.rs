//! The losses that a recipe may name.

use super::{
    error::{refuse, Error},
    inputs::{Inputs, Rule},
};
use crate::{graph::Value, loss, model::Model, training::Objective};
use serde::Deserialize;

/// What the output is compared with.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// The output holds rows of a logit a class; the target field holds a label for each row: one
    /// for a record, or one for each place of a sequence.
    CrossEntropy {
        /// The name of the labels' field.
        target: String,
        /// A label that does not count.
        ignore: Option<i32>,
        /// The share of the truth that is spread over all classes.
        #[serde(default)]
        smoothing: f32,
    },
    /// The mean of the squared differences from as many numbers as the output holds.
    MeanSquaredError {
        /// The name of the target's field.
        target: String,
    },
    /// The mean of the magnitudes of the differences, the L1 loss.
    MeanAbsoluteError {
        /// The name of the target's field.
        target: String,
    },
    /// The output holds a logit for each number of the target field, which are from 0 to 1.
    BinaryCrossEntropy {
        /// The name of the target's field.
        target: String,
    },
}

impl Loss {
    /// What the output is judged by; and the number of classes of a classifier.
    pub(super) fn apply(
        &self,
        model: &mut Model,
        inputs: &Inputs,
        output: Value,
    ) -> Result<(Objective, Option<usize>), Error> {
        match self {
            Loss::CrossEntropy {
                target,
                ignore,
                smoothing,
            } => {
                let options = loss::CrossEntropy {
                    ignore: *ignore,
                    smoothing: *smoothing,
                };
                cross_entropy(model, inputs, output, target, options)
            }
            Loss::MeanSquaredError { target } => {
                let [output, wanted] = pair(model, inputs, output, target)?;
                let squares = model.graph.squared_error(output, wanted);
                let losses = model.graph.mean(squares, &[1]);
                Ok((Objective::new(losses), None))
            }
            Loss::MeanAbsoluteError { target } => {
                let [output, wanted] = pair(model, inputs, output, target)?;
                let magnitudes = model.graph.absolute_error(output, wanted);
                let losses = model.graph.mean(magnitudes, &[1]);
                Ok((Objective::new(losses), None))
            }
            Loss::BinaryCrossEntropy { target } => {
                let [output, wanted] = pair(model, inputs, output, target)?;
                let losses = model.graph.binary_cross_entropy(output, wanted);
                let hits = Some(model.graph.binary_hits(output, wanted));
                let objective = Objective {
                    hits,
                    ..Objective::new(losses)
                };
                Ok((objective, None))
            }
        }
    }

    /// The target's field, and what its numbers must be when there are so many classes.
    pub(super) fn rule(&self, classes: Option<usize>) -> Option<(&str, Rule<'static>)> {
        match self {
            Loss::CrossEntropy { target, ignore, .. } => {
                let rule = Rule::Below {
                    limit: classes?,
                    or: *ignore,
                    what: "class",
                    remedy: "give the last layer an output for every label, or mend the data",
                };
                Some((target, rule))
            }
            Loss::BinaryCrossEntropy { target } => Some((target, Rule::Share)),
            Loss::MeanSquaredError { .. } | Loss::MeanAbsoluteError { .. } => None,
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        match self {
            Loss::CrossEntropy { smoothing, .. } => refuse(
                !(0.0..1.0).contains(smoothing),
                "loss.smoothing",
                "set it to at least 0 and below 1",
            ),
            _ => Ok(()),
        }
    }
}

fn cross_entropy(
    model: &mut Model,
    inputs: &Inputs,
    output: Value,
    target: &str,
    options: loss::CrossEntropy,
) -> Result<(Objective, Option<usize>), Error> {
    let graph = &mut model.graph;
    let labels = inputs.value(graph, "loss.target", target, true)?;
    let shape = graph.shape(output).to_vec();
    let given = &shape[1..];
    let Some((&classes, rows)) = given.split_last() else {
        return Err(Error::at(
            "loss",
            "the output needs an axis: put a `linear` last",
        ));
    };
    let rows: usize = rows.iter().product();
    let count = graph.shape(labels)[1..].iter().product::<usize>();
    refuse(
        count != rows,
        "loss.target",
        &format!(
            "the output has shape {given:?}, {rows} rows of {classes} logits a record, and field \
             {target:?} {count} labels: set its `count` to {rows}, or put a `flatten` and a \
             `linear` last"
        ),
    )?;
    let labels = graph.reshape(labels, &shape[..shape.len() - 1]);
    let losses = graph.cross_entropy_with(output, labels, options);
    let mut hits = graph.hits(output, labels);
    let counts = options.ignore.map(|ignore| graph.counts(labels, ignore));
    if let Some(counts) = counts {
        let none = graph.word(0);
        hits = graph.select(counts, hits, none);
    }
    let objective = Objective {
        losses,
        hits: Some(hits),
        counts,
    };
    Ok((objective, Some(classes)))
}

/// The output and the target field, both as `[batch, numbers]`.
fn pair(
    model: &mut Model,
    inputs: &Inputs,
    output: Value,
    target: &str,
) -> Result<[Value; 2], Error> {
    let graph = &mut model.graph;
    let wanted = inputs.value(graph, "loss.target", target, false)?;
    let (have, want) = (graph.shape(output).to_vec(), graph.shape(wanted).to_vec());
    let numbers: usize = have[1..].iter().product();
    refuse(
        want[1..].iter().product::<usize>() != numbers,
        "loss.target",
        &format!("the output has shape {have:?} and the target {want:?}, batch first"),
    )?;
    Ok([output, wanted].map(|value| graph.reshape(value, &[have[0], numbers])))
}

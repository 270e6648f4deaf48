//! The fields of records as values of a graph, and checks of what they hold.

use super::{
    data::{Data, Records},
    error::{refuse, Error},
};
use crate::{
    graph::{self, Graph, Value},
    held_out::HeldOut,
};
use lockstep_data::Dataset;
use lockstep_protocol::program;

/// The fields of a step's batch.
pub(super) struct Inputs<'a> {
    data: &'a Data,
    records: &'a Records,
    batch: u32,
    held_out: Option<(HeldOut, &'a Dataset)>,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(data: &'a Data, records: &'a Records, batch: u32) -> Inputs<'a> {
        Inputs {
            data,
            records,
            batch,
            held_out: None,
        }
    }

    /// The same, of which the steps of an evaluation read `test`.
    pub(super) fn with_held_out(self, held_out: Option<HeldOut>) -> Inputs<'a> {
        let test = self.records.test.as_ref();
        Inputs {
            held_out: held_out.zip(test),
            ..self
        }
    }

    /// The elements of a field of every record of the step.
    fn field(&self, graph: &mut Graph, field: graph::Field) -> Value {
        let Some((held_out, test)) = self.held_out else {
            return graph.field(field);
        };
        let at = field.offset as usize;
        let bytes = field.count as usize * field.dtype.size() as usize;
        let records = test.bytes.chunks_exact(field.record_size as usize);
        let column = records.flat_map(|record| &record[at..at + bytes]);
        held_out.field(graph, field, column.copied().collect())
    }

    /// A field by the name that the key `place` gives, in its shape behind the batch: as it is
    /// for `integers`, else as f32, scaled and shifted.
    pub(super) fn value(
        &self,
        graph: &mut Graph,
        place: &str,
        name: &str,
        integers: bool,
    ) -> Result<Value, Error> {
        let layout = &self.records.layout;
        let Some(slot) = layout.find(name) else {
            let names: Vec<&str> = layout.slots().iter().map(|s| &s.field.name[..]).collect();
            let problem = format!("there is no field {name:?}: name one of {names:?}");
            return Err(Error::at(place, problem));
        };
        let (dtype, count) = (slot.field.dtype, slot.field.count);
        let elements = self.batch as u64 * count as u64;
        refuse(
            elements > program::limits::ELEMENTS,
            place,
            &format!("a batch of field {name:?} is too large: lower the batch"),
        )?;
        let field = graph::Field {
            dataset: 0,
            batch: self.batch,
            record_size: layout.record_size(),
            offset: slot.offset,
            count,
            dtype,
        };
        let value = self.field(graph, field);
        let shape = &self.records.shapes[name];
        let value = graph.reshape(value, &[&[self.batch as usize], &shape[..]].concat());
        let [scale, shift] = scaling(self.data, name);
        if integers {
            refuse(
                dtype == program::Dtype::F32,
                place,
                &format!("field {name:?} holds f32: name one of integers, or set its `dtype`"),
            )?;
            refuse(
                scale.is_some() || shift.is_some(),
                place,
                &format!("field {name:?} is used as integers: remove its `scale` and `shift`"),
            )?;
            return Ok(value);
        }
        let value = graph.to_f32(value);
        let value = match scale {
            Some(scale) => graph.scale(value, scale),
            None => value,
        };
        Ok(match shift {
            Some(shift) => {
                let shift = graph.scalar(shift);
                graph.add(value, shift)
            }
            None => value,
        })
    }
}

/// The scale and the shift of a field.
fn scaling(data: &Data, name: &str) -> [Option<f32>; 2] {
    let field = data.field(name);
    [
        field.and_then(|field| field.scale),
        field.and_then(|field| field.shift),
    ]
}

/// What the numbers of a field must be.
pub(super) enum Rule<'a> {
    /// Integers below `limit`, or this one.
    Below {
        limit: usize,
        or: Option<i32>,
        /// What an integer names.
        what: &'a str,
        remedy: &'a str,
    },
    /// From 0 to 1 when they enter the model.
    Share,
}

impl Rule<'_> {
    /// Refuses the first record of a dataset whose field `name` breaks the rule.
    pub(super) fn check(
        &self,
        data: &Data,
        records: &Records,
        (place, dataset): (&str, &Dataset),
        name: &str,
    ) -> Result<(), Error> {
        let Some(slot) = records.layout.find(name) else {
            return Ok(());
        };
        let dtype = slot.field.dtype;
        let signed = matches!(dtype, program::Dtype::I32 | program::Dtype::I8);
        let [scale, shift] = scaling(data, name);
        let problem = |word: u32| match *self {
            Rule::Below {
                limit,
                or,
                what,
                remedy,
            } => {
                let fine = (word as usize) < limit || or == Some(word as i32);
                let shown = match signed {
                    true => (word as i32).to_string(),
                    false => word.to_string(),
                };
                (!fine).then(|| {
                    format!("it is {shown}, but there is no such {what} below {limit}: {remedy}")
                })
            }
            Rule::Share => {
                let x = match dtype {
                    program::Dtype::F32 => f32::from_bits(word),
                    _ if signed => word as i32 as f32,
                    _ => word as f32,
                };
                let x = x * scale.unwrap_or(1.0) + shift.unwrap_or(0.0);
                (!(0.0..=1.0).contains(&x))
                    .then(|| format!("it is {x}, not from 0 to 1: mend it, or set its `scale`"))
            }
        };
        let found = dataset.check(&records.layout, name, problem);
        found.map_err(Error::data(place))
    }
}

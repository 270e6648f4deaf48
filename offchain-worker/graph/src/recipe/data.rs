//! Where records are and what they hold.

use super::error::{refuse, Error};
use crate::graph::{self, Graph, Value};
use lockstep_protocol::program;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Files of fixed-size records.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The training records.
    pub train: PathBuf,
    /// The held-out records.
    pub test: Option<PathBuf>,
    /// What a record holds, in order and without gaps.
    #[serde(rename = "field")]
    pub fields: Vec<Field>,
}

/// Some numbers of a record.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// What the recipe calls it.
    pub name: String,
    /// Their type.
    pub dtype: Dtype,
    /// How many there are.
    pub count: u32,
    /// Their dimensions; one axis unless given.
    pub shape: Option<Vec<usize>>,
    /// What they are multiplied by as f32.
    pub scale: Option<f32>,
    /// What is added after that.
    pub shift: Option<f32>,
}

/// Types of numbers in records, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // Their names say what they are.
pub enum Dtype {
    F32,
    I32,
    U32,
    U8,
    I8,
    U16,
}

impl From<Dtype> for program::Dtype {
    fn from(dtype: Dtype) -> program::Dtype {
        match dtype {
            Dtype::F32 => program::Dtype::F32,
            Dtype::I32 => program::Dtype::I32,
            Dtype::U32 => program::Dtype::U32,
            Dtype::U8 => program::Dtype::U8,
            Dtype::I8 => program::Dtype::I8,
            Dtype::U16 => program::Dtype::U16,
        }
    }
}

/// A file of records, read and checked.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How many records it has.
    pub records: u64,
}

impl Field {
    fn size(&self) -> u64 {
        program::Dtype::from(self.dtype).size()
    }

    fn bytes(&self) -> u64 {
        self.size() * self.count as u64
    }

    fn check(&self, offset: u64) -> Result<(), Error> {
        let place = format!("data.field {:?}", self.name);
        refuse(self.count == 0, &place, "set `count` to at least 1")?;
        let elements = |shape: &Vec<usize>| {
            let product = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
            product == Some(self.count as usize) && shape.len() < program::limits::DIMS
        };
        refuse(
            !self.shape.as_ref().is_none_or(elements),
            &place,
            "give `shape` at most 7 dimensions whose product is `count`",
        )?;
        refuse(
            ![self.scale, self.shift]
                .into_iter()
                .flatten()
                .all(f32::is_finite),
            &place,
            "set `scale` and `shift` to finite numbers",
        )?;
        refuse(
            !offset.is_multiple_of(self.size()),
            &place,
            &format!(
                "it starts at byte {offset}, no multiple of its {}: put wider fields first",
                self.size()
            ),
        )
    }
}

impl Data {
    /// Bytes of a record.
    pub fn record_size(&self) -> u32 {
        self.fields.iter().map(|field| field.bytes() as u32).sum()
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        refuse(
            self.fields.is_empty(),
            "data.field",
            "describe at least one field of a record",
        )?;
        let mut offset = 0;
        for (k, field) in self.fields.iter().enumerate() {
            let known = self.fields[..k]
                .iter()
                .any(|other| other.name == field.name);
            let place = format!("data.field {:?}", field.name);
            refuse(
                known,
                &place,
                "another field has this name: choose a different one",
            )?;
            field.check(offset)?;
            offset += field.bytes();
        }
        let total = u32::try_from(offset).ok();
        refuse(
            total.is_none(),
            "data.field",
            "a record is at most 4 GiB: make it smaller",
        )?;
        let widest = self.fields.iter().map(Field::size).max().unwrap_or(1);
        refuse(
            offset % widest != 0,
            "data.field",
            &format!("a record has {offset} bytes, no multiple of its widest type's {widest}: add a field that fills it up"),
        )
    }

    /// Reads the file that the key `place` names.
    pub(super) fn open(&self, folder: &Path, place: &str, path: &Path) -> Result<Dataset, Error> {
        let path = folder.join(path);
        let bytes = std::fs::read(&path).map_err(|source| Error::File {
            place: place.to_string(),
            path: path.clone(),
            source,
        })?;
        let size = self.record_size() as u64;
        let len = bytes.len() as u64;
        refuse(
            len == 0 || !len.is_multiple_of(size),
            place,
            &format!(
                "{} has {len} bytes, not a whole number of records of {size}: check the fields \
                 against the file",
                path.display()
            ),
        )?;
        Ok(Dataset {
            path,
            bytes,
            records: len / size,
        })
    }

    /// Refuses a dataset in which a number of the field is not below `limit`.
    pub(super) fn check_range(
        &self,
        dataset: &Dataset,
        name: &str,
        limit: usize,
        what: &str,
        remedy: &str,
    ) -> Result<(), Error> {
        let Some((offset, field)) = self.find(name) else {
            return Ok(());
        };
        let dtype = program::Dtype::from(field.dtype);
        let (start, size) = (offset as usize, field.size() as usize);
        let records = dataset.bytes.chunks_exact(self.record_size() as usize);
        for (number, record) in records.enumerate() {
            let numbers = record[start..start + field.bytes() as usize].chunks_exact(size);
            for word in numbers.map(|bytes| dtype.load(bytes)) {
                if word as usize >= limit {
                    let shown = match field.dtype {
                        Dtype::I32 | Dtype::I8 => (word as i32).to_string(),
                        _ => word.to_string(),
                    };
                    return Err(Error::at(
                        &format!("{}, record {number}", dataset.path.display()),
                        format!("{name:?} is {shown}, but there is no such {what} below {limit}: {remedy}"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// A field and the byte of a record at which it starts.
    fn find(&self, name: &str) -> Option<(u32, &Field)> {
        let mut offset = 0;
        for field in &self.fields {
            if field.name == name {
                return Some((offset, field));
            }
            offset += field.bytes() as u32;
        }
        None
    }
}

/// The fields of a step's batch.
pub(super) struct Inputs<'a> {
    data: &'a Data,
    batch: u32,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(data: &'a Data, batch: u32) -> Inputs<'a> {
        Inputs { data, batch }
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
        let Some((offset, field)) = self.data.find(name) else {
            let names: Vec<&str> = self.data.fields.iter().map(|f| &f.name[..]).collect();
            let problem = format!("there is no field {name:?}: name one of {names:?}");
            return Err(Error::at(place, problem));
        };
        let elements = self.batch as u64 * field.count as u64;
        refuse(
            elements > program::limits::ELEMENTS,
            place,
            &format!("a batch of field {name:?} is too large: lower the batch"),
        )?;
        let value = graph.field(graph::Field {
            dataset: 0,
            batch: self.batch,
            record_size: self.data.record_size(),
            offset,
            count: field.count,
            dtype: field.dtype.into(),
        });
        let shape = field.shape.clone().unwrap_or(vec![field.count as usize]);
        let value = graph.reshape(value, &[&[self.batch as usize], &shape[..]].concat());
        if integers {
            let whole = field.dtype != Dtype::F32;
            refuse(
                !whole,
                place,
                &format!("field {name:?} holds f32: name one of integers"),
            )?;
            refuse(
                field.scale.is_some() || field.shift.is_some(),
                place,
                &format!("field {name:?} is used as integers: remove its `scale` and `shift`"),
            )?;
            return Ok(value);
        }
        let value = graph.to_f32(value);
        let value = match field.scale {
            Some(scale) => graph.scale(value, scale),
            None => value,
        };
        Ok(match field.shift {
            Some(shift) => {
                let shift = graph.scalar(shift);
                graph.add(value, shift)
            }
            None => value,
        })
    }
}

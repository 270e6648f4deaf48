//! Weights that a model begins with, from a file.

use super::error::{refuse, Error};
use crate::{
    lora::Lora,
    model::{Given, Model},
};
use lockstep_data::{self as data, Column, Format, Source};
use lockstep_protocol::program::Dtype;
use std::{collections::BTreeMap, path::Path, rc::Rc};

/// The place of the file in a recipe.
const PLACE: &str = "weights";

/// The tensors of a file by their names.
pub(super) struct Weights {
    given: Rc<BTreeMap<String, Given>>,
    /// Why other tensors of the file are of no use, which matters when one is asked for.
    useless: BTreeMap<String, String>,
}

impl Weights {
    pub fn read(path: &Path) -> Result<Weights, Error> {
        let format = Format::of(path).filter(|f| matches!(f, Format::Safetensors | Format::Npz));
        let Some(format) = format else {
            return Err(Error::at(PLACE, "name a .safetensors or .npz file"));
        };
        let source = Source::open(path, format).map_err(Error::data(PLACE))?;
        let (mut given, mut useless) = (BTreeMap::new(), BTreeMap::new());
        for name in source.names().map_err(Error::data(PLACE))? {
            let columns = source.columns(&[&name]);
            match columns.and_then(|columns| tensor(&columns[0])) {
                Ok(tensor) => drop(given.insert(name, tensor)),
                Err(error) => drop(useless.insert(name, error.to_string())),
            }
        }
        Ok(Weights {
            given: Rc::new(given),
            useless,
        })
    }

    /// Lets weights that are declared from now on begin as the file says.
    pub fn supply(&self, model: &mut Model) {
        model.begin_with(self.given.clone());
    }

    /// Refuses a model with weights that the file does not have. It need not have thin matrices,
    /// which are new in a fine-tuning.
    pub fn check(&self, model: &Model) -> Result<(), Error> {
        for (name, value) in model.weights() {
            let shape = model.graph.shape(value);
            match (self.given.get(name), self.useless.get(name)) {
                (Some(given), _) => refuse(
                    given.shape != shape,
                    PLACE,
                    &format!(
                        "{name:?} has shape {:?} in the file and {shape:?} in the model: name the \
                         file of such a model",
                        given.shape
                    ),
                )?,
                (None, Some(problem)) => return Err(Error::at(PLACE, problem)),
                (None, None) => refuse(
                    !Lora::has(name),
                    PLACE,
                    &format!("the file has no {name:?}: name the file of such a model"),
                )?,
            }
        }
        Ok(())
    }
}

fn tensor(column: &Column) -> Result<Given, data::Error> {
    let bytes = column.encode(Dtype::F32)?;
    let element = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("an f32 has 4 bytes"));
    Ok(Given {
        shape: [&[column.rows()], column.shape()].concat(),
        elements: bytes.chunks_exact(4).map(element).collect(),
    })
}

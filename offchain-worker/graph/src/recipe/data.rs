//! Where records are and what they hold.

use super::{
    alphabet::Alphabet,
    error::{refuse, Error},
};
use crate::pattern::Pattern;
use lockstep_data::{self as data, Column, Dataset, Format, Layout, Misfit, Source, Windows};
use lockstep_protocol::program;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Training records, and held-out ones.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The training records.
    pub train: Files,
    /// The held-out records.
    pub test: Option<Files>,
    /// The share of the training records that is held out instead: of tokens the last ones, of
    /// records those that [`Dataset::hold_out`] chooses.
    pub held_out: Option<f64>,
    /// How a file of tokens is cut into records; the fields are then `tokens` and `next`.
    pub tokens: Option<Tokens>,
    /// The characters that tokens 0, 1, 2 and so on stand for; without them a u8 is a byte of text.
    pub alphabet: Option<String>,
    /// What a record holds. In a file of records the fields follow each other in order and without
    /// gaps.
    #[serde(rename = "field", default)]
    pub fields: Vec<Field>,
}

/// Files whose row k is record k: arrays and tables by their endings, records otherwise.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a path, or a table of a path for every field"
)]
pub enum Files {
    /// One file for all fields.
    One(PathBuf),
    /// An array or table for each field, by the field's name.
    Each(BTreeMap<String, PathBuf>),
}

/// A file of tokens, cut into windows.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// Their type: u8, u16 or u32.
    pub dtype: Dtype,
    /// Tokens of a window.
    pub context: u32,
    /// Tokens between the starts of windows; the context unless given.
    pub stride: Option<u32>,
}

/// Some numbers of a record.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// What the recipe calls it.
    pub name: String,
    /// What the file calls it; its name unless given.
    pub column: Option<Columns>,
    /// Their type; of arrays and tables their own unless given, see
    /// [`lockstep_data::Kind::natural`].
    pub dtype: Option<Dtype>,
    /// How many there are; arrays and tables say it themselves.
    pub count: Option<u32>,
    /// Their dimensions; those of an array's rows, or one axis, unless given.
    pub shape: Option<Vec<usize>>,
    /// What they are multiplied by as f32.
    pub scale: Option<f32>,
    /// What is added after that.
    pub shift: Option<f32>,
}

/// Columns of a file that make a field.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected a column's name or a list of names")]
pub enum Columns {
    /// One column, or with `*` for any characters all that match, in the file's order.
    One(String),
    /// Several, one after another.
    Several(Vec<String>),
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

/// The data of a recipe, read and checked.
pub(super) struct Records {
    pub(super) layout: Layout,
    /// The dimensions of every field of the layout, by its name.
    pub(super) shapes: BTreeMap<String, Vec<usize>>,
    pub(super) train: Dataset,
    pub(super) test: Option<Dataset>,
}

/// The columns of every field, in the order of the fields.
type Table = Vec<Vec<Column>>;

impl Field {
    fn place(&self) -> String {
        format!("data.field {:?}", self.name)
    }

    fn check(&self) -> Result<(), Error> {
        let place = self.place();
        refuse(self.count == Some(0), &place, "set `count` to at least 1")?;
        refuse(
            ![self.scale, self.shift]
                .into_iter()
                .flatten()
                .all(f32::is_finite),
            &place,
            "set `scale` and `shift` to finite numbers",
        )
    }

    /// The columns among `names` that the field consists of.
    fn columns(&self, names: &[String]) -> Result<Vec<String>, Error> {
        let wanted = match &self.column {
            None => vec![self.name.clone()],
            Some(Columns::Several(names)) => names.clone(),
            Some(Columns::One(name)) if name.contains('*') => {
                let pattern = Pattern::new(name.clone());
                let matching = names.iter().filter(|name| pattern.matches(name));
                matching.cloned().collect()
            }
            Some(Columns::One(name)) => vec![name.clone()],
        };
        refuse(
            wanted.is_empty(),
            &self.place(),
            "no column of the file is named so: correct `column`",
        )?;
        Ok(wanted)
    }

    /// The field as `columns` have it, and its dimensions.
    fn described(&self, columns: &[Column]) -> Result<(data::Field, Vec<usize>), Error> {
        let numbers: usize = columns.iter().map(Column::count).sum();
        let count = u32::try_from(numbers).unwrap_or(u32::MAX);
        refuse(
            self.count.is_some_and(|given| given != count),
            &self.place(),
            &format!("the file holds {numbers} numbers a row: correct `count` or leave it out"),
        )?;
        let natural = || {
            let mut kinds = columns.iter().map(|column| column.kind().natural());
            let first = kinds.next().expect("a field has a column");
            let rest: Vec<program::Dtype> = kinds.collect();
            match rest.iter().all(|&kind| kind == first) {
                true => first,
                false if first == program::Dtype::F32 => first,
                false if rest.contains(&program::Dtype::F32) => program::Dtype::F32,
                false => program::Dtype::I32,
            }
        };
        let dtype = self.dtype.map_or_else(natural, program::Dtype::from);
        let field = data::Field::new(&self.name, dtype, count);
        let shape = match columns {
            [column] if self.shape.is_none() && !column.shape().is_empty() => {
                column.shape().to_vec()
            }
            _ => self.dimensions(count)?,
        };
        refuse(
            shape.len() >= program::limits::DIMS,
            &self.place(),
            &format!("its rows have shape {shape:?}: set `shape` to at most 7 dimensions"),
        )?;
        Ok((field, shape))
    }

    /// The field of a file that already is records.
    fn stored(&self) -> Result<data::Field, Error> {
        let place = self.place();
        refuse(
            self.column.is_some(),
            &place,
            "a file of records has no columns: remove `column`, or name a .npz, .npy, \
             .safetensors, .csv, .tsv or .parquet file",
        )?;
        let (Some(dtype), Some(count)) = (self.dtype, self.count) else {
            let problem = "say `dtype` and `count`: a file of records does not";
            return Err(Error::at(&place, problem));
        };
        Ok(data::Field::new(&self.name, dtype.into(), count))
    }

    fn dimensions(&self, count: u32) -> Result<Vec<usize>, Error> {
        let shape = self.shape.clone().unwrap_or(vec![count as usize]);
        let product = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        refuse(
            product != Some(count as usize) || shape.len() >= program::limits::DIMS,
            &self.place(),
            &format!("give `shape` at most 7 dimensions whose product is the `count` of {count}"),
        )?;
        Ok(shape)
    }
}

impl Tokens {
    fn check(&self) -> Result<Windows, Error> {
        let whole = matches!(self.dtype, Dtype::U8 | Dtype::U16 | Dtype::U32);
        refuse(!whole, "data.tokens.dtype", "set it to u8, u16 or u32")?;
        refuse(
            self.context == 0 || self.stride == Some(0),
            "data.tokens",
            "set `context` and `stride` to at least 1",
        )?;
        Ok(Windows {
            dtype: self.dtype.into(),
            context: self.context,
            stride: self.stride.unwrap_or(self.context),
        })
    }
}

impl Files {
    /// The format of a single file with columns; `None` for one of records.
    fn format(&self) -> Option<Format> {
        match self {
            Files::One(path) => Format::of(path),
            Files::Each(_) => None,
        }
    }

    /// The columns that the fields consist of.
    fn table(&self, folder: &Path, place: &str, fields: &[Field]) -> Result<Table, Error> {
        match self {
            Files::One(path) => {
                let path = folder.join(path);
                let Some(format) = Format::of(&path) else {
                    let problem = "name a .npz, .npy, .safetensors, .csv, .tsv or .parquet file";
                    return Err(Error::at(place, problem));
                };
                let source = Source::open(&path, format).map_err(Error::data(place))?;
                columns(&source, format, place, fields)
            }
            Files::Each(paths) => {
                let unknown = paths
                    .keys()
                    .find(|name| fields.iter().all(|f| f.name != **name));
                if let Some(name) = unknown {
                    let problem = format!("there is no `data.field` named {name:?}: describe it");
                    return Err(Error::at(place, problem));
                }
                let each = |field: &Field| {
                    let path = paths.get(&field.name).ok_or_else(|| {
                        Error::at(place, format!("name a file for field {:?}", field.name))
                    })?;
                    let place = format!("{place}.{}", field.name);
                    let one = Files::One(path.clone());
                    Ok(one
                        .table(folder, &place, std::slice::from_ref(field))?
                        .remove(0))
                };
                fields.iter().map(each).collect()
            }
        }
    }
}

/// The columns of one file that every field consists of.
fn columns(source: &Source, format: Format, place: &str, fields: &[Field]) -> Result<Table, Error> {
    let names = source.names().map_err(Error::data(place))?;
    let single = format == Format::Npy;
    refuse(
        single && (fields.len() > 1 || fields[0].column.is_some()),
        place,
        "a .npy file holds one array without a name: name a file for each field, as in \
         { x = \"x.npy\", y = \"y.npy\" }, and no `column`",
    )?;
    let wanted = |field: &Field| match single {
        true => Ok(names.clone()),
        false => field.columns(&names),
    };
    let wanted: Vec<Vec<String>> = fields.iter().map(wanted).collect::<Result<_, _>>()?;
    let flat: Vec<&str> = wanted.iter().flatten().map(String::as_str).collect();
    let mut columns = source
        .columns(&flat)
        .map_err(Error::data(place))?
        .into_iter();
    let of_field = |names: &Vec<String>| columns.by_ref().take(names.len()).collect();
    Ok(wanted.iter().map(of_field).collect())
}

impl Data {
    pub(super) fn check(&self) -> Result<(), Error> {
        let share = |share: f64| share > 0.0 && share < 1.0;
        refuse(
            !self.held_out.is_none_or(share),
            "data.held_out",
            "set it to a share between 0 and 1",
        )?;
        refuse(
            self.held_out.is_some() && self.test.is_some(),
            "data.held_out",
            "leave it out, or leave `data.test` out",
        )?;
        Alphabet::check(self)?;
        if let Some(tokens) = &self.tokens {
            refuse(
                !self.fields.is_empty(),
                "data.field",
                "leave it out: a file of tokens has the fields \"tokens\" and \"next\"",
            )?;
            return tokens.check().map(|_| ());
        }
        refuse(
            self.fields.is_empty(),
            "data.field",
            "describe at least one field of a record",
        )?;
        for (k, field) in self.fields.iter().enumerate() {
            let known = self.fields[..k]
                .iter()
                .any(|other| other.name == field.name);
            refuse(
                known,
                &field.place(),
                "another field has this name: choose a different one",
            )?;
            field.check()?;
        }
        Ok(())
    }

    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Reads the records, from files relative to `folder`.
    pub(super) fn open(&self, folder: &Path) -> Result<Records, Error> {
        if let Some(tokens) = &self.tokens {
            return self.windows(folder, tokens.check()?);
        }
        match (&self.train, self.train.format()) {
            (Files::One(path), None) => self.stored(folder, path),
            _ => self.tables(folder),
        }
    }

    fn windows(&self, folder: &Path, windows: Windows) -> Result<Records, Error> {
        let layout = windows.layout().map_err(|misfit| self.misfit(misfit))?;
        let path = |files: &Files, place: &str| match files {
            Files::One(path) => Ok(folder.join(path)),
            Files::Each(_) => Err(Error::at(place, "name one file of tokens")),
        };
        let train = path(&self.train, "data.train")?;
        let at = Error::data("data.train");
        let (train, test) = match (&self.test, self.held_out) {
            (None, Some(share)) => {
                let (train, test) = windows.split(&train, &layout, share).map_err(at)?;
                (train, Some(test))
            }
            (None, None) => (windows.read(&train, &layout).map_err(at)?, None),
            (Some(test), _) => {
                let test = windows.read(&path(test, "data.test")?, &layout);
                let train = windows.read(&train, &layout).map_err(at)?;
                (train, Some(test.map_err(Error::data("data.test"))?))
            }
        };
        let shape = |name: &str| (name.to_string(), vec![windows.context as usize]);
        Ok(Records {
            layout,
            shapes: [Windows::TOKENS, Windows::NEXT].map(shape).into(),
            train,
            test,
        })
    }

    fn stored(&self, folder: &Path, train: &Path) -> Result<Records, Error> {
        let fields: Vec<data::Field> = self
            .fields
            .iter()
            .map(Field::stored)
            .collect::<Result<_, _>>()?;
        let shape = |field: &Field| {
            let shape = field.dimensions(field.count.unwrap_or(0))?;
            Ok((field.name.clone(), shape))
        };
        let shapes = self
            .fields
            .iter()
            .map(shape)
            .collect::<Result<_, Error>>()?;
        let layout = Layout::packed(fields).map_err(|misfit| self.misfit(misfit))?;
        let open = |path: &Path, place: &str| {
            Dataset::raw(&folder.join(path), &layout).map_err(Error::data(place))
        };
        let train = open(train, "data.train")?;
        let test = match &self.test {
            None => None,
            Some(Files::One(path)) if Format::of(path).is_none() => Some(open(path, "data.test")?),
            Some(_) => {
                let problem = "name a file of records, as `data.train` is";
                return Err(Error::at("data.test", problem));
            }
        };
        self.hold_out(layout, shapes, train, test)
    }

    fn tables(&self, folder: &Path) -> Result<Records, Error> {
        let train = self.train.table(folder, "data.train", &self.fields)?;
        let (mut fields, mut shapes) = (vec![], BTreeMap::new());
        for (field, columns) in self.fields.iter().zip(&train) {
            let (described, shape) = field.described(columns)?;
            shapes.insert(field.name.clone(), shape);
            fields.push(described);
        }
        let layout = Layout::aligned(fields).map_err(|misfit| self.misfit(misfit))?;
        let join = |place: &str, table: Table| {
            let names = self.fields.iter().map(|field| &field.name[..]);
            let columns: Vec<(&str, Vec<Column>)> = names.zip(table).collect();
            for (name, parts) in &columns {
                let numbers: usize = parts.iter().map(Column::count).sum();
                let want = layout
                    .find(name)
                    .map_or(0, |slot| slot.field.count as usize);
                refuse(
                    numbers != want,
                    place,
                    &format!(
                        "field {name:?} has {numbers} numbers a row, and {want} in `data.train`: \
                         bring the same data"
                    ),
                )?;
            }
            Dataset::join(&layout, &columns).map_err(Error::data(place))
        };
        let train = join("data.train", train)?;
        let test = match &self.test {
            None => None,
            Some(files) => {
                let table = files.table(folder, "data.test", &self.fields)?;
                Some(join("data.test", table)?)
            }
        };
        self.hold_out(layout, shapes, train, test)
    }

    fn hold_out(
        &self,
        layout: Layout,
        shapes: BTreeMap<String, Vec<usize>>,
        train: Dataset,
        test: Option<Dataset>,
    ) -> Result<Records, Error> {
        let (train, test) = match self.held_out {
            None => (train, test),
            Some(share) => {
                let parts = train.hold_out(&layout, share);
                let (train, test) = parts.map_err(Error::data("data.held_out"))?;
                (train, Some(test))
            }
        };
        Ok(Records {
            layout,
            shapes,
            train,
            test,
        })
    }

    fn misfit(&self, misfit: Misfit) -> Error {
        let place = match misfit {
            Misfit::Misaligned { field, .. } => self.fields[field].place(),
            _ => "data.field".to_string(),
        };
        Error::at(&place, misfit.to_string())
    }
}

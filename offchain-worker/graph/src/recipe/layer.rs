//! The layers that a recipe may name.

use super::error::{refuse, Error};
use crate::{
    attention::Attention, conv::Conv2d, graph::Value, initial::Initial, lora::Lora, model::Model,
    pool::Pool2d, quantised::Precision,
};
use lockstep_protocol::program::{limits, Dtype};
use serde::Deserialize;

/// A layer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Layer {
    /// Every row of the last axis times a matrix, plus a bias.
    Linear {
        /// Numbers that come out.
        outputs: usize,
        /// How the weights begin.
        #[serde(default)]
        initial: Start,
        /// Whether the weights stay as they begin.
        #[serde(default)]
        frozen: bool,
        /// The weights stay as they begin, and this is trained beside them.
        lora: Option<Lora>,
        /// In which numbers it multiplies; the recipe's unless given.
        precision: Option<Precision>,
    },
    /// A convolution of images `[height, width, channels]`, plus a bias.
    Conv2d {
        /// Channels that come out.
        channels: usize,
        /// Pixels of the kernel.
        kernel: Size,
        /// Pixels between its positions.
        #[serde(default = "one")]
        stride: Size,
        /// Zero pixels added on each side.
        #[serde(default)]
        padding: Size,
        /// Distance between the pixels under neighbouring taps.
        #[serde(default = "one")]
        dilation: Size,
        /// Groups of channels that do not mix.
        #[serde(default = "single")]
        groups: usize,
        /// How the weights begin.
        #[serde(default)]
        initial: Start,
        /// Whether the weights stay as they begin.
        #[serde(default)]
        frozen: bool,
    },
    /// The maximum of each window, by channel.
    MaxPool {
        /// Pixels of the window.
        size: Size,
        /// Pixels between windows; its size unless given.
        stride: Option<Size>,
        /// Pixels added on each side that are never the maximum.
        #[serde(default)]
        padding: Size,
    },
    /// The mean of each window, by channel.
    AvgPool {
        /// Pixels of the window.
        size: Size,
        /// Pixels between windows; its size unless given.
        stride: Option<Size>,
        /// Zero pixels added on each side, which count.
        #[serde(default)]
        padding: Size,
    },
    /// `max(x, 0)`.
    Relu {},
    /// The exact GELU.
    Gelu {},
    /// Hyperbolic tangent.
    Tanh {},
    /// `1 / (1 + exp(-x))`.
    Sigmoid {},
    /// To mean 0 and variance 1 along the last axis, then a gain and a bias.
    LayerNorm {},
    /// Elements set to zero at random while training.
    Dropout {
        /// The probability that an element is.
        rate: f32,
    },
    /// A row of a table for every integer; only the first layer can be one.
    Embedding {
        /// Rows of the table.
        rows: usize,
        /// Numbers of a row.
        width: usize,
    },
    /// A learned row of numbers for every place of a sequence `[time, width]`, added to it.
    Positions {},
    /// Every place of a sequence `[time, width]` attends to the others.
    Attention {
        /// Heads, a divisor of the width.
        heads: usize,
        /// Whether a place attends to itself and to those before it alone.
        #[serde(default)]
        causal: bool,
        /// The probability with which an attention weight is dropped while training.
        #[serde(default)]
        dropout: f32,
        /// Its four matrices stay as they begin, and this is trained beside each.
        lora: Option<Lora>,
        /// In which numbers its linear layers multiply; the recipe's unless given.
        precision: Option<Precision>,
    },
    /// A logit for every row of the embedding that is the first layer: the product with that row
    /// (tied weights).
    Unembedding {},
    /// Other layers, whose output is added to their input.
    Residual {
        /// The layers.
        #[serde(deserialize_with = "nested")]
        layers: Vec<Layer>,
    },
    /// One axis of all numbers of a record.
    Flatten {},
    /// The numbers of a record in other dimensions.
    Reshape {
        /// The dimensions.
        shape: Vec<usize>,
    },
    /// The last two axes exchanged.
    Transpose {},
    /// The mean over all axes of a record but the last: over an image's pixels, a text's words.
    GlobalMean {},
}

/// A number for rows and columns, or one for each.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected one number or [rows, columns]")]
pub enum Size {
    /// The same for both.
    Both(usize),
    /// Rows and columns.
    Each([usize; 2]),
}

/// How weights begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// See [`Initial::kaiming`].
    #[default]
    Kaiming,
    /// See [`Initial::xavier`].
    Xavier,
    /// All zeros.
    Zeros,
}

impl Start {
    fn initial(self, inputs: usize, outputs: usize) -> Initial {
        match self {
            Start::Kaiming => Initial::kaiming(inputs),
            Start::Xavier => Initial::xavier(inputs, outputs),
            Start::Zeros => Initial::Zeros,
        }
    }
}

impl Default for Size {
    fn default() -> Size {
        Size::Both(0)
    }
}

impl Size {
    fn pair(self) -> [usize; 2] {
        match self {
            Size::Both(n) => [n, n],
            Size::Each(pair) => pair,
        }
    }
}

fn one() -> Size {
    Size::Both(1)
}

fn single() -> usize {
    1
}

fn nested<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Vec<Layer>, D::Error> {
    let tables = Vec::<toml::Table>::deserialize(source)?;
    Layer::list(&tables, "layer").map_err(serde::de::Error::custom)
}

impl Layer {
    /// The layers that tables describe; `place` is what errors call their list.
    pub(super) fn list(tables: &[toml::Table], place: &str) -> Result<Vec<Layer>, Error> {
        let parse = |(k, table): (usize, &toml::Table)| {
            let kind = table.get("kind").and_then(|kind| kind.as_str());
            let place = match kind {
                Some(kind) => format!("{place} {k} ({kind})"),
                None => format!("{place} {k}"),
            };
            let layer = table.clone().try_into();
            layer.map_err(|error: toml::de::Error| Error::at(&place, error.message()))
        };
        tables.iter().enumerate().map(parse).collect()
    }

    fn kind(&self) -> &'static str {
        match self {
            Layer::Linear { .. } => "linear",
            Layer::Conv2d { .. } => "conv2d",
            Layer::MaxPool { .. } => "max_pool",
            Layer::AvgPool { .. } => "avg_pool",
            Layer::Relu {} => "relu",
            Layer::Gelu {} => "gelu",
            Layer::Tanh {} => "tanh",
            Layer::Sigmoid {} => "sigmoid",
            Layer::LayerNorm {} => "layer_norm",
            Layer::Dropout { .. } => "dropout",
            Layer::Embedding { .. } => "embedding",
            Layer::Positions {} => "positions",
            Layer::Attention { .. } => "attention",
            Layer::Unembedding {} => "unembedding",
            Layer::Residual { .. } => "residual",
            Layer::Flatten {} => "flatten",
            Layer::Reshape { .. } => "reshape",
            Layer::Transpose {} => "transpose",
            Layer::GlobalMean {} => "global_mean",
        }
    }

    /// The layer's output for `x`, whose first axis is the batch. Parameters are named
    /// `<name>.<kind>.<what>`.
    pub(super) fn apply(
        &self,
        model: &mut Model,
        x: Value,
        name: &str,
        place: &str,
    ) -> Result<Value, Error> {
        let site = Site {
            place: format!("{place} ({})", self.kind()),
            name: format!("{name}.{}", self.kind()),
            shape: model.graph.shape(x).to_vec(),
        };
        match self {
            Layer::Linear {
                outputs,
                initial,
                frozen,
                lora,
                precision,
            } => within(model, *precision, |model| match lora {
                Some(lora) => site.low_rank(model, x, *outputs, *initial, *lora),
                None => site.linear(model, x, *outputs, *initial, *frozen),
            }),
            Layer::Conv2d { .. } => self.conv(&site, model, x),
            Layer::MaxPool {
                size,
                stride,
                padding,
            } => {
                let pool = site.pool(*size, *stride, *padding)?;
                Ok(model.graph.max_pool2d(x, pool))
            }
            Layer::AvgPool {
                size,
                stride,
                padding,
            } => {
                let pool = site.pool(*size, *stride, *padding)?;
                Ok(model.graph.avg_pool2d(x, pool))
            }
            Layer::Relu {} => Ok(model.graph.relu(x)),
            Layer::Gelu {} => Ok(model.graph.gelu(x)),
            Layer::Tanh {} => Ok(model.graph.tanh(x)),
            Layer::Sigmoid {} => Ok(model.graph.sigmoid(x)),
            Layer::LayerNorm {} => Ok(model.layer_norm(&site.name, x)),
            Layer::Dropout { rate } => {
                let share = (0.0..1.0).contains(rate);
                refuse(!share, &site.place, "set `rate` to at least 0 and below 1")?;
                Ok(model.dropout(x, *rate))
            }
            Layer::Embedding { rows, width } => {
                let integers = model.graph.dtype(x) != Dtype::F32;
                refuse(
                    !integers,
                    &site.place,
                    "make it the first layer: it needs integers",
                )?;
                refuse(
                    *rows == 0 || *width == 0,
                    &site.place,
                    "set `rows` and `width` to at least 1",
                )?;
                refuse(
                    site.shape.len() >= limits::DIMS,
                    &site.place,
                    "give the input fewer dimensions",
                )?;
                site.holds(&[*rows, *width])?;
                site.holds(&[&site.shape[..], &[*width]].concat())?;
                Ok(model.embedding(&site.name, x, *rows, *width))
            }
            Layer::Positions {} => {
                let [time, width] = site.sequence()?;
                site.holds(&[time, width])?;
                let initial = Initial::xavier(time, width);
                let name = format!("{}.table", site.name);
                let places = model.parameter(&name, &[time, width], &initial);
                Ok(model.graph.add(x, places))
            }
            Layer::Attention {
                heads,
                causal,
                dropout,
                lora,
                precision,
            } => {
                let attention = Attention {
                    heads: *heads,
                    causal: *causal,
                    dropout: *dropout,
                    lora: *lora,
                };
                within(model, *precision, |model| {
                    site.attention(model, x, attention)
                })
            }
            Layer::Unembedding {} => site.unembedding(model, x),
            Layer::Residual { layers } => {
                let mut y = x;
                for (k, layer) in layers.iter().enumerate() {
                    let place = format!("{}, layer {k}", site.place);
                    y = layer.apply(model, y, &format!("{name}.{k}"), &place)?;
                }
                let after = model.graph.shape(y).to_vec();
                refuse(
                    after != site.shape,
                    &site.place,
                    &format!(
                        "its layers turn shape {:?} into {:?}: let them keep it",
                        &site.shape[1..],
                        &after[1..]
                    ),
                )?;
                Ok(model.graph.add(x, y))
            }
            Layer::Flatten {} => Ok(model.graph.flatten(x, 1)),
            Layer::Reshape { shape } => {
                let to = [&site.shape[..1], shape].concat();
                let product = to.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
                refuse(
                    product != Some(site.shape.iter().product()) || to.len() > limits::DIMS,
                    &site.place,
                    &format!(
                        "give `shape` at most 7 dimensions for the elements of {:?}",
                        &site.shape[1..]
                    ),
                )?;
                Ok(model.graph.reshape(x, &to))
            }
            Layer::Transpose {} => {
                let few = site.shape.len() < 3;
                refuse(few, &site.place, "a record needs at least two axes here")?;
                Ok(model.graph.transpose(x))
            }
            Layer::GlobalMean {} => {
                let few = site.shape.len() < 3;
                refuse(few, &site.place, "a record needs at least two axes here")?;
                let axes: Vec<usize> = (1..site.shape.len() - 1).collect();
                Ok(model.graph.mean(x, &axes))
            }
        }
    }

    fn conv(&self, site: &Site, model: &mut Model, x: Value) -> Result<Value, Error> {
        let Layer::Conv2d {
            channels,
            kernel,
            stride,
            padding,
            dilation,
            groups,
            initial,
            frozen,
        } = self
        else {
            unreachable!("the layer is a convolution");
        };
        let [height, width, inputs] = site.image()?;
        let conv = Conv2d {
            stride: stride.pair(),
            padding: padding.pair(),
            dilation: dilation.pair(),
            groups: *groups,
        };
        let [rows, columns] = kernel.pair();
        let numbers = [*channels, rows, columns, *groups];
        let numbers = numbers.iter().chain(&conv.stride).chain(&conv.dilation);
        refuse(
            numbers.into_iter().any(|&n| n == 0),
            &site.place,
            "set `channels`, `kernel`, `stride`, `dilation` and `groups` to at least 1",
        )?;
        refuse(
            inputs % groups != 0 || channels % groups != 0,
            &site.place,
            &format!("let `groups` divide both the {inputs} channels that enter and `channels`"),
        )?;
        refuse(
            conv.output([height, width], [rows, columns]).is_none(),
            &site.place,
            &format!("its kernel is larger than the {height}x{width} image: shrink it or pad"),
        )?;
        let shape = [rows, columns, inputs / groups, *channels];
        site.holds(&shape)?;
        site.holds(&[site.shape[0], height, width, *channels])?;
        let fan = |n: usize| n / groups * rows * columns;
        let initial = initial.initial(fan(inputs), fan(*channels));
        let weight = site.weight(model, "weight", &shape, &initial, *frozen);
        let bias = site.weight(model, "bias", &[*channels], &Initial::Zeros, *frozen);
        let y = model.graph.conv2d(x, weight, conv);
        Ok(model.graph.add(y, bias))
    }
}

/// What `build` makes of a model whose linear layers multiply in `precision`, if that is given.
fn within<T>(
    model: &mut Model,
    precision: Option<Precision>,
    build: impl FnOnce(&mut Model) -> T,
) -> T {
    let whole = model.precision;
    model.precision = precision.unwrap_or(whole);
    let built = build(model);
    model.precision = whole;
    built
}

/// The table of an embedding that is the first layer.
const TABLE: &str = "0.embedding.table";

/// Where a layer stands.
struct Site {
    place: String,
    name: String,
    /// The input's dimensions, the batch first.
    shape: Vec<usize>,
}

impl Site {
    /// Refuses a tensor that no program can hold.
    fn holds(&self, shape: &[usize]) -> Result<(), Error> {
        let product = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
        refuse(
            product.is_none_or(|n| n > limits::ELEMENTS),
            &self.place,
            &format!("a tensor of shape {shape:?} is too large: make the layer smaller"),
        )
    }

    fn weight(
        &self,
        model: &mut Model,
        what: &str,
        shape: &[usize],
        initial: &Initial,
        frozen: bool,
    ) -> Value {
        match frozen {
            true => model.frozen(&format!("{}.{what}", self.name), shape, initial),
            false => model.parameter(&format!("{}.{what}", self.name), shape, initial),
        }
    }

    /// The numbers that come into a linear layer with so many outputs.
    fn inputs(&self, outputs: usize) -> Result<usize, Error> {
        refuse(outputs == 0, &self.place, "set `outputs` to at least 1")?;
        let inputs = self.shape[self.shape.len() - 1];
        self.holds(&[inputs, outputs])?;
        self.holds(&[&self.shape[..self.shape.len() - 1], &[outputs]].concat())?;
        Ok(inputs)
    }

    fn check_lora(&self, lora: Lora, inputs: usize, outputs: usize) -> Result<(), Error> {
        refuse(
            !(1..=inputs.min(outputs)).contains(&lora.rank),
            &self.place,
            &format!("set `lora.rank` from 1 to the least extent of {inputs} by {outputs}"),
        )?;
        refuse(
            !(lora.alpha.is_finite() && lora.alpha > 0.0),
            &self.place,
            "set `lora.alpha` to a positive number",
        )
    }

    fn low_rank(
        &self,
        model: &mut Model,
        x: Value,
        outputs: usize,
        initial: Start,
        lora: Lora,
    ) -> Result<Value, Error> {
        let inputs = self.inputs(outputs)?;
        self.check_lora(lora, inputs, outputs)?;
        let initial = initial.initial(inputs, outputs);
        Ok(model.low_rank(&self.name, x, outputs, &initial, lora))
    }

    fn linear(
        &self,
        model: &mut Model,
        x: Value,
        outputs: usize,
        initial: Start,
        frozen: bool,
    ) -> Result<Value, Error> {
        let inputs = self.inputs(outputs)?;
        let initial = initial.initial(inputs, outputs);
        let weight = self.weight(model, "weight", &[inputs, outputs], &initial, frozen);
        let bias = self.weight(model, "bias", &[outputs], &Initial::Zeros, frozen);
        let precision = model.precision;
        Ok(model.graph.linear_in(precision, x, weight, Some(bias)))
    }

    fn sequence(&self) -> Result<[usize; 2], Error> {
        match self.shape[1..] {
            [time, width] => Ok([time, width]),
            _ => Err(Error::at(
                &self.place,
                format!(
                    "it needs a sequence [time, width] and is given {:?}: put an `embedding` or a \
                     `reshape` in front",
                    &self.shape[1..]
                ),
            )),
        }
    }

    fn attention(&self, model: &mut Model, x: Value, attention: Attention) -> Result<Value, Error> {
        let [time, width] = self.sequence()?;
        let Attention { heads, dropout, .. } = attention;
        refuse(
            heads == 0 || width % heads != 0,
            &self.place,
            &format!("set `heads` to a divisor of the width {width}"),
        )?;
        refuse(
            !(0.0..1.0).contains(&dropout),
            &self.place,
            "set `dropout` to at least 0 and below 1",
        )?;
        if let Some(lora) = attention.lora {
            self.check_lora(lora, width, width)?;
        }
        self.holds(&[width, width])?;
        self.holds(&[self.shape[0], heads, time, time])?;
        Ok(model.attention(&self.name, x, attention))
    }

    fn unembedding(&self, model: &mut Model, x: Value) -> Result<Value, Error> {
        let Some(table) = model.weight(TABLE) else {
            let problem = "make an `embedding` the first layer: its table is used again";
            return Err(Error::at(&self.place, problem));
        };
        let &[rows, width] = model.graph.shape(table) else {
            unreachable!("a table is a matrix");
        };
        let last = self.shape[self.shape.len() - 1];
        refuse(
            last != width,
            &self.place,
            &format!("it needs the {width} numbers of a row of the embedding and is given {last}"),
        )?;
        self.holds(&[&self.shape[..self.shape.len() - 1], &[rows]].concat())?;
        let columns = model.graph.transpose(table);
        Ok(model.graph.linear(x, columns, None))
    }

    fn image(&self) -> Result<[usize; 3], Error> {
        match self.shape[1..] {
            [height, width, channels] => Ok([height, width, channels]),
            _ => Err(Error::at(
                &self.place,
                format!(
                    "it needs images [height, width, channels] and is given {:?}: set the input \
                     field's `shape`, or put a `reshape` in front",
                    &self.shape[1..]
                ),
            )),
        }
    }

    fn pool(&self, size: Size, stride: Option<Size>, padding: Size) -> Result<Pool2d, Error> {
        let [height, width, _] = self.image()?;
        let pool = Pool2d {
            size: size.pair(),
            stride: stride.unwrap_or(size).pair(),
            padding: padding.pair(),
        };
        refuse(
            pool.size.contains(&0) || pool.stride.contains(&0),
            &self.place,
            "set `size` and `stride` to at least 1",
        )?;
        refuse(
            (0..2).any(|k| pool.padding[k] >= pool.size[k]),
            &self.place,
            "set `padding` below `size`",
        )?;
        refuse(
            pool.output([height, width]).is_none(),
            &self.place,
            &format!("its window is larger than the {height}x{width} image: shrink it"),
        )?;
        Ok(pool)
    }
}

//! The sections of a recipe beside its data and its layers.

use super::error::{refuse, Error};
use crate::{optimizer as rule, pattern::Pattern, schedule, training};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// An optimizer with its peak learning rate.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimizer {
    /// See [`rule::Optimizer::Sgd`].
    Sgd {
        /// Peak learning rate; a schedule from a file gives all rates itself.
        rate: Option<f32>,
        /// Share of the moment that a step keeps.
        #[serde(default)]
        momentum: f32,
        /// Decay of weights.
        #[serde(default)]
        decay: f32,
    },
    /// See [`rule::Optimizer::Adam`].
    Adam(Moments),
    /// See [`rule::Optimizer::AdamW`].
    Adamw(Moments),
}

/// An optimizer of two moments.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moments {
    /// Peak learning rate; a schedule from a file gives all rates itself.
    pub rate: Option<f32>,
    /// Share of the first moment that a step keeps.
    #[serde(default = "beta1")]
    pub beta1: f32,
    /// Share of the second moment that a step keeps.
    #[serde(default = "beta2")]
    pub beta2: f32,
    /// Added to the root of the second moment.
    #[serde(default = "epsilon")]
    pub epsilon: f32,
    /// Decay of weights.
    #[serde(default)]
    pub decay: f32,
}

fn beta1() -> f32 {
    0.9
}

fn beta2() -> f32 {
    0.999
}

fn epsilon() -> f32 {
    1e-8
}

/// A learning-rate schedule.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The shape of the decline after the warm-up.
    #[serde(default)]
    pub kind: Decline,
    /// Steps of a linear rise from 0 to the peak.
    #[serde(default)]
    pub warmup: u32,
    /// The last step's share of the peak.
    #[serde(default)]
    pub end: f32,
    /// A text file of as many rates as there are steps, one a line, instead of all this.
    pub file: Option<PathBuf>,
}

/// The shape of a decline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decline {
    /// None.
    #[default]
    Constant,
    /// A straight line.
    Linear,
    /// Half a cosine.
    Cosine,
}

/// How long to train.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// Records of a step.
    pub batch: u32,
    /// Steps of the task.
    pub steps: Option<u32>,
    /// How often every record is read, instead of `steps`; the last step may begin one time more.
    pub epochs: Option<u32>,
    /// Steps between checkpoints.
    pub segment: u32,
    /// Seed of the initial weights, the order of records, and dropout.
    pub seed: u64,
    /// The greatest length of the gradient; a longer one is scaled down.
    pub clip: Option<f32>,
}

/// Parameters that are trained otherwise than the rest.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Their names, in which `*` stands for any characters.
    pub names: Vec<String>,
    /// Their decay; of groups that name a parameter, the first one's counts.
    pub decay: Option<f32>,
    /// Whether they stay as they begin.
    #[serde(default)]
    pub frozen: bool,
}

/// How to evaluate on the test records.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Records of a step, a divisor of the number of test records; the greatest up to 256 unless
    /// given.
    pub batch: Option<u32>,
    /// Whether the task itself ends with a pass over the test records, so that its final state
    /// proves the test loss and the test accuracy.
    #[serde(default)]
    pub proven: bool,
}

impl Schedule {
    /// The rate of every step; `peak` is the optimizer's.
    pub(super) fn rates(
        &self,
        folder: &Path,
        peak: Option<f32>,
        steps: u32,
    ) -> Result<Vec<f32>, Error> {
        if let Some(file) = &self.file {
            return rates_of(&folder.join(file), steps);
        }
        let end = self.end;
        let shape = match self.kind {
            Decline::Constant => schedule::Schedule::Constant,
            Decline::Linear => schedule::Schedule::Linear { end },
            Decline::Cosine => schedule::Schedule::Cosine { end },
        };
        let peak =
            peak.ok_or_else(|| Error::at("optimizer.rate", "set it to a positive number"))?;
        Ok(shape.rates(peak, self.warmup, steps))
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let alone = Schedule {
            file: self.file.clone(),
            ..Schedule::default()
        };
        refuse(
            self.file.is_some() && *self != alone,
            "schedule.file",
            "it gives every rate: remove `kind`, `warmup` and `end`",
        )?;
        refuse(
            !(0.0..=1.0).contains(&self.end),
            "schedule.end",
            "set it to a share from 0 to 1 of the peak rate",
        )
    }
}

/// The rates of a file, one a line.
fn rates_of(path: &Path, steps: u32) -> Result<Vec<f32>, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::File {
        place: "schedule.file".to_string(),
        path: path.to_path_buf(),
        source,
    })?;
    let rate = |(k, line): (usize, &str)| {
        let rate = line.trim().parse().ok();
        rate.filter(|rate: &f32| rate.is_finite() && *rate >= 0.0)
            .ok_or_else(|| {
                let place = format!("{}, line {}", path.display(), k + 1);
                let shown: String = line.chars().take(40).collect();
                Error::at(
                    &place,
                    format!("{shown:?} is no rate: write a number of at least 0"),
                )
            })
    };
    let rates: Vec<f32> = text
        .lines()
        .enumerate()
        .map(rate)
        .collect::<Result<_, _>>()?;
    refuse(
        rates.len() != steps as usize,
        "schedule.file",
        &format!(
            "{} has {} rates and the training {steps} steps: write one a line for each step",
            path.display(),
            rates.len()
        ),
    )?;
    Ok(rates)
}

impl Train {
    pub(super) fn check(&self) -> Result<(), Error> {
        refuse(self.batch == 0, "train.batch", "set it to at least 1")?;
        refuse(
            self.steps.is_some() == self.epochs.is_some(),
            "train.steps",
            "set either `steps` or `epochs`",
        )?;
        refuse(self.steps == Some(0), "train.steps", "set it to at least 1")?;
        refuse(
            self.epochs == Some(0),
            "train.epochs",
            "set it to at least 1",
        )?;
        let positive = |x: f32| x.is_finite() && x > 0.0;
        refuse(
            !self.clip.is_none_or(positive),
            "train.clip",
            "set it to a positive number or leave it out",
        )
    }

    /// Refuses what does not go with the number of steps.
    pub(super) fn check_steps(&self, schedule: &Schedule, steps: u32) -> Result<(), Error> {
        refuse(
            self.segment == 0 || self.segment > steps,
            "train.segment",
            &format!("set it to at least 1 and at most `train.steps`, which is {steps}"),
        )?;
        refuse(
            schedule.warmup >= steps,
            "schedule.warmup",
            &format!("set it below `train.steps`, which is {steps}"),
        )
    }

    /// The steps of the task on so many records.
    pub(super) fn steps_on(&self, records: u64) -> Result<u32, Error> {
        if let Some(steps) = self.steps {
            return Ok(steps);
        }
        let epochs = self.epochs.unwrap_or(0) as u64;
        let read = epochs.checked_mul(records);
        let steps = read.map(|read| read.div_ceil(self.batch as u64));
        steps
            .and_then(|steps| u32::try_from(steps).ok())
            .ok_or_else(|| {
                let problem = "that is 2^32 steps or more: lower it, or raise the batch";
                Error::at("train.epochs", problem)
            })
    }
}

impl Group {
    /// The names as patterns.
    pub(super) fn patterns(&self) -> impl Iterator<Item = Pattern> + '_ {
        self.names.iter().map(Pattern::new)
    }

    /// The group as far as it is about decay.
    pub(super) fn decay(&self) -> Option<training::Group> {
        Some(training::Group {
            decay: self.decay?,
            names: self.patterns().collect(),
        })
    }

    pub(super) fn check(&self, place: &str) -> Result<(), Error> {
        refuse(
            self.names.is_empty(),
            place,
            "give `names` at least one parameter's name",
        )?;
        refuse(
            self.decay.is_some() == self.frozen,
            place,
            "set either `decay` or `frozen = true`",
        )?;
        let weight = |x: f32| x.is_finite() && x >= 0.0;
        refuse(
            !self.decay.is_none_or(weight),
            place,
            "set `decay` to at least 0",
        )
    }
}

impl Optimizer {
    /// The optimizer and its peak learning rate.
    pub(super) fn split(&self) -> (rule::Optimizer, Option<f32>) {
        match *self {
            Optimizer::Sgd {
                rate,
                momentum,
                decay,
            } => (rule::Optimizer::Sgd { momentum, decay }, rate),
            Optimizer::Adam(m) => {
                let optimizer = rule::Optimizer::Adam {
                    beta1: m.beta1,
                    beta2: m.beta2,
                    epsilon: m.epsilon,
                    decay: m.decay,
                };
                (optimizer, m.rate)
            }
            Optimizer::Adamw(m) => {
                let optimizer = rule::Optimizer::AdamW {
                    beta1: m.beta1,
                    beta2: m.beta2,
                    epsilon: m.epsilon,
                    decay: m.decay,
                };
                (optimizer, m.rate)
            }
        }
    }

    pub(super) fn check(&self, schedule: &Schedule) -> Result<(), Error> {
        let share = |x: f32| (0.0..1.0).contains(&x);
        let weight = |x: f32| x.is_finite() && x >= 0.0;
        let (optimizer, rate) = self.split();
        refuse(
            rate.is_some() && schedule.file.is_some(),
            "optimizer.rate",
            "remove it: `schedule.file` gives every rate",
        )?;
        refuse(
            !rate.map_or(schedule.file.is_some(), |rate| weight(rate) && rate > 0.0),
            "optimizer.rate",
            "set it to a positive number",
        )?;
        let (shares, epsilon) = match optimizer {
            rule::Optimizer::Sgd { momentum, .. } => ([("optimizer.momentum", momentum); 2], 1.0),
            rule::Optimizer::Adam {
                beta1,
                beta2,
                epsilon,
                ..
            }
            | rule::Optimizer::AdamW {
                beta1,
                beta2,
                epsilon,
                ..
            } => {
                let shares = [("optimizer.beta1", beta1), ("optimizer.beta2", beta2)];
                (shares, epsilon)
            }
        };
        for (place, x) in shares {
            refuse(!share(x), place, "set it to at least 0 and below 1")?;
        }
        refuse(
            !(weight(epsilon) && epsilon > 0.0),
            "optimizer.epsilon",
            "set it to a positive number",
        )?;
        refuse(
            !weight(optimizer.decay()),
            "optimizer.decay",
            "set it to at least 0",
        )
    }
}

//! Which device runs a program, as a user says it, and which one that comes to be.

use crate::cpu::{Cpu, Options};
use crate::cuda::{Cuda, Gpu};
use crate::{Engine, Error, Job};
use std::fmt;
use std::str::FromStr;

/// What a user asks for: `auto`, `cpu`, `cuda` or `cuda:1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The first GPU if there is one that can be used, else the processor.
    #[default]
    Automatic,
    /// The processor.
    Cpu,
    /// The GPU of this number.
    Cuda(u32),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Choice, String> {
        match text {
            "auto" => Ok(Choice::Automatic),
            "cpu" => Ok(Choice::Cpu),
            "cuda" => Ok(Choice::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok())
                .map(Choice::Cuda)
                .ok_or_else(|| format!("no device {text:?}: say auto, cpu, cuda or cuda:0")),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Automatic => write!(f, "auto"),
            Choice::Cpu => write!(f, "cpu"),
            Choice::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// The variable that tells a process, begun anew after its GPU failed, how it failed; the automatic
/// choice is the processor then.
pub const FAILED: &str = "LOCKSTEP_FAILED_GPU";

/// The device that a choice comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picked {
    /// [`Choice::Cpu`] or [`Choice::Cuda`].
    pub device: Choice,
    /// Why, in words for the log.
    pub why: String,
}

impl Choice {
    /// The device that this comes to on this machine. A device that is asked for by name is not
    /// looked at yet.
    pub fn pick(self) -> Picked {
        let asked = |device: Choice| Picked {
            device,
            why: "it was asked for".into(),
        };
        if let (Choice::Automatic, Ok(why)) = (self, std::env::var(FAILED)) {
            return Picked {
                device: Choice::Cpu,
                why,
            };
        }
        match self {
            Choice::Cpu | Choice::Cuda(_) => asked(self),
            Choice::Automatic => match Gpu::open(0) {
                Ok(gpu) => Picked {
                    device: Choice::Cuda(0),
                    why: format!("{} can be used", crate::cuda::Device::name(&gpu)),
                },
                Err(error) => Picked {
                    device: Choice::Cpu,
                    why: error.to_string(),
                },
            },
        }
    }

    /// An engine for a job on the device that this comes to; `options` are those of the CPU engine.
    ///
    /// # Errors
    /// When the job cannot be run, or the device that was asked for cannot be used.
    pub fn engine(self, job: Job, options: Options) -> Result<Box<dyn Engine>, Error> {
        Ok(match self.pick().device {
            Choice::Cuda(number) => Box::new(Cuda::new(job, Gpu::open(number)?)?),
            Choice::Cpu | Choice::Automatic => Box::new(Cpu::new(job, options)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_written_as_it_is_read() {
        for text in ["auto", "cpu", "cuda:0", "cuda:7"] {
            let choice: Choice = text.parse().expect("a device");
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(Choice::Cuda(0)));
        for text in ["", "gpu", "cuda:", "cuda:-1", "CPU"] {
            assert!(text.parse::<Choice>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_automatic_choice_is_one_of_the_named_ones_and_says_why() {
        let picked = Choice::Automatic.pick();
        assert_ne!(picked.device, Choice::Automatic);
        assert!(!picked.why.is_empty());
    }
}

//! What becomes of a command whose device failed while it ran.

use anyhow::{Error, Result};
use lockstep_agent::run::Device;
use lockstep_engine::device::{Choice, FAILED};
use lockstep_engine::Failed;

/// Begins the command again on the processor, where it finds all that was stored, unless the device
/// was asked for by name.
///
/// # Errors
/// What failed, when the command is not begun again.
pub fn begin_again(device: Device, failed: Failed) -> Result<()> {
    if !matches!(device, Device::Fast(Choice::Automatic, _)) {
        let advice =
            "a device that was asked for failed. Nothing is lost that was stored: start the \
                      command again, and it goes on from the last checkpoint; with --device auto \
                      it does so by itself, on the processor";
        return Err(Error::new(failed).context(advice));
    }
    tracing::error!(%failed, "the GPU failed: the command begins again on the processor, from what was stored");
    again(&failed)
}

/// Puts a new process in the place of this one: a context of the driver that has failed cannot be
/// had anew in the same process, and nothing of this one's memory should live on.
#[cfg(unix)]
fn again(failed: &Failed) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let error = std::process::Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(FAILED, failed.to_string())
        .exec();
    Err(Error::new(error).context("the command cannot be begun again"))
}

#[cfg(not(unix))]
fn again(failed: &Failed) -> Result<()> {
    let text = format!("{failed}; start the command again with --device cpu");
    Err(Error::msg(text))
}

//! What a person sees: colours and progress on a terminal, plain text elsewhere.

use crate::stop::{self, Stop};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lockstep_agent::roles::Observer;
use serde::Serialize;
use std::fmt::Display;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

pub use crate::bench::Table;

/// Sends logs to the standard error stream. `LOCKSTEP_LOG` overrides what is logged.
pub fn init_logging(verbose: u8, json: bool) {
    let default = match verbose {
        0 => "warn",
        1 => "info",
        2 => "lockstep_agent=debug,lockstep_cli=debug,info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("LOCKSTEP_LOG").unwrap_or_else(|_| default.into());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    if json {
        builder.json().init();
    } else {
        builder
            .with_ansi(std::io::stderr().is_terminal())
            .without_time()
            .init();
    }
}

/// Colours, on a terminal that wants them.
#[derive(Clone, Copy)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// For the standard output stream. `NO_COLOR` turns colours off.
    pub fn new() -> Paint {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Paint {
            on: wanted && std::io::stdout().is_terminal(),
        }
    }

    fn wrap(self, code: &str, text: impl Display) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }

    /// A heading.
    pub fn bold(self, text: impl Display) -> String {
        self.wrap("1", text)
    }

    /// Something of less weight.
    pub fn dim(self, text: impl Display) -> String {
        self.wrap("2", text)
    }

    /// Something good.
    pub fn green(self, text: impl Display) -> String {
        self.wrap("32", text)
    }

    /// Something bad.
    pub fn red(self, text: impl Display) -> String {
        self.wrap("31", text)
    }
}

/// A progress bar over steps, on a terminal; silence elsewhere. Stops the run when somebody asked
/// to stop at once.
pub struct Progress {
    bar: ProgressBar,
    label: String,
}

impl Progress {
    /// A bar over steps that begins with `label`.
    pub fn new(label: impl Into<String>, quiet: bool) -> Progress {
        Progress::over("steps", label, quiet)
    }

    /// A bar over something else that is counted.
    pub fn over(what: &str, label: impl Into<String>, quiet: bool) -> Progress {
        let target = if quiet || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let template =
            format!("  {{msg}} {{bar:32.cyan}} {{pos}}/{{len}} {what}, {{per_sec}}, {{eta}} left");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        Progress {
            bar,
            label: label.into(),
        }
    }

    /// Shows how far it is, and what is under way.
    pub fn show(&mut self, done: usize, total: usize, what: &str) {
        self.bar.set_message(what.to_owned());
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
        tracing::info!(done, total, "{what}");
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Progress {
    fn step(&mut self, done: u32, total: u32) -> bool {
        if self.bar.length() != Some(total as u64) {
            self.bar.set_length(total as u64);
            self.bar.set_message(self.label.clone());
        }
        self.bar.set_position(done as u64);
        stop::asked() != Stop::Now
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Prints a value as one line of JSON.
///
/// # Errors
/// When it cannot be serialised.
pub fn print_json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

/// Bytes as people read them.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = n as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n} B"),
        _ => format!("{size:.1} {}", UNITS[unit]),
    }
}

/// A large number as people read it: `1.2 G`.
pub fn count(n: u64) -> String {
    const UNITS: [&str; 5] = ["", " k", " M", " G", " T"];
    let mut size = n as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => n.to_string(),
        _ => format!("{size:.1}{}", UNITS[unit]),
    }
}

/// The beginning of a hash.
pub fn short(hash: &[u8; 32]) -> String {
    hex::encode(&hash[..6])
}

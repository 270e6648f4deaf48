//! Running a role for hours or months: react until nothing is due, wait, look again. Failures are
//! logged and tried again; the first request to stop finishes what is owed.

mod health;
mod metrics;
mod web;

use crate::args::LoopArgs;
use crate::context::Context;
use crate::money;
use crate::screen::{print_json, Progress};
use crate::stop::{self, Stop};
use anyhow::Result;
use health::Health;
use lockstep_agent::roles::{Action, Error, Observer, Unobserved, Worker};
use lockstep_agent::run;
use metrics::Metrics;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use web::Web;

/// Longest pause between tries when something keeps failing.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a service does at each look. The flag says that it is ending: nothing new is begun.
pub trait React: FnMut(&mut dyn Observer, bool) -> Result<Option<Action>, Error> {}

impl<F: FnMut(&mut dyn Observer, bool) -> Result<Option<Action>, Error>> React for F {}

/// Lets `role` react as long as `stay` says.
///
/// # Errors
/// With `--once`, whatever keeps the role from its next move. Without, only what no patience
/// mends: the address for metrics cannot be used.
pub fn run(
    context: &Context,
    worker: &Worker,
    stay: LoopArgs,
    role: &'static str,
    mut react: impl React,
) -> Result<()> {
    stop::listen();
    let watched = stay.metrics.map(|address| {
        let metrics = Arc::new(Metrics::new(role));
        let health = Arc::new(Health::new(role, Duration::from_secs(stay.poll)));
        Web::serve(address, metrics.clone(), health.clone()).map(|web| Watched {
            metrics,
            health,
            _web: web,
        })
    });
    let watched = watched.transpose()?;
    if let Some(address) = stay.metrics {
        tracing::info!(%address, role, "serving metrics and health");
    }
    let mut progress = Progress::new(role, context.json);
    let mut pause = Duration::from_secs(1);
    let mut ending = false;
    loop {
        match stop::asked() {
            Stop::No => {}
            Stop::WhenQuiet if !ending => {
                tracing::info!(role, "finishing what is owed; nothing new is begun");
                ending = true;
            }
            Stop::WhenQuiet => {}
            Stop::Now => break,
        }
        let mut observer = Watcher {
            progress: (!context.json).then_some(&mut progress),
            watched: watched.as_ref(),
        };
        match react(&mut observer, ending) {
            Ok(Some(action)) => {
                pause = Duration::from_secs(1);
                if let Some(watched) = &watched {
                    watched.metrics.acted(&action);
                    watched.health.well();
                }
                report(context, &action)?;
            }
            Ok(None) => {
                pause = Duration::from_secs(1);
                if let Some(watched) = &watched {
                    watched.health.well();
                    watched.metrics.look(worker);
                }
                if stay.once || ending {
                    break;
                }
                stop::sleep(Duration::from_secs(stay.poll));
            }
            Err(Error::Run(run::Error::Interrupted)) => break,
            Err(error) if stay.once => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, retry_in = ?pause, "not done yet");
                if let Some(watched) = &watched {
                    watched.metrics.failed(&error);
                    watched.health.ill(&error);
                }
                stop::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
    Ok(())
}

/// Lets `react` react until nothing is due.
///
/// # Errors
/// Whatever keeps it from its next move.
pub fn finish(
    context: &Context,
    mut react: impl FnMut() -> Result<Option<Action>, Error>,
) -> Result<()> {
    stop::listen();
    while stop::asked() == Stop::No {
        match react()? {
            Some(action) => report(context, &action)?,
            None => break,
        }
    }
    Ok(())
}

/// A service that somebody watches.
struct Watched {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    _web: Web,
}

/// Passes on how far a run is.
struct Watcher<'a> {
    progress: Option<&'a mut Progress>,
    watched: Option<&'a Watched>,
}

impl Observer for Watcher<'_> {
    fn step(&mut self, done: u32, total: u32) -> bool {
        if let Some(watched) = self.watched {
            watched.metrics.stepped();
            watched.health.well();
        }
        match &mut self.progress {
            Some(progress) => progress.step(done, total),
            None => Unobserved.step(done, total) && stop::asked() != Stop::Now,
        }
    }
}

fn report(context: &Context, action: &Action) -> Result<()> {
    if context.json {
        let receipt = action.receipt();
        return print_json(&json!({
            "action": action.to_string(),
            "block": receipt.map(|r| r.at.block),
            "bytes": receipt.map(|r| r.bytes),
            "ref_time": receipt.map(|r| r.weight.ref_time),
            "deposit": receipt.map(|r| r.deposit.to_string()),
        }));
    }
    match action {
        // The progress bar shows these.
        Action::Trained { .. } | Action::Checked { .. } => {}
        Action::Withdrew {
            money: what,
            amount,
            ..
        } => {
            println!("withdrew {} ({what})", money::show(*amount));
        }
        Action::Staked { amount, .. } => println!("staked {}", money::show(*amount)),
        action => println!("{action}"),
    }
    Ok(())
}

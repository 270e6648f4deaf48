//! Running a role: react until nothing is due, wait, look again; stop when asked to.

use crate::args::{AuditArgs, LoopArgs, WatchArgs, WorkArgs};
use crate::context::Context;
use crate::money;
use crate::screen::{print_json, Progress, STOP};
use anyhow::Result;
use lockstep_agent::roles::solver::Cheating;
use lockstep_agent::roles::{Action, Challenger, Error, Observer, Solver, Submitter, Unobserved};
use lockstep_agent::run;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Longest pause between tries when something keeps failing.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// `lockstep work`.
pub fn work(context: &Context, args: &WorkArgs) -> Result<()> {
    let mut appetite = context.settings.appetite;
    appetite.min_price = args.min_price.unwrap_or(appetite.min_price);
    appetite.top_up = args.top_up.unwrap_or(appetite.top_up);
    let worker = context.worker()?;
    let mut solver = match args.cheat {
        Some(level) => Solver::cheat(
            worker,
            appetite,
            Cheating {
                level,
                place: args.fault,
                seed: args.seed,
            },
        ),
        None => Solver::new(worker, appetite),
    };
    stay(context, args.stay, "training", |observer| {
        solver.react(observer)
    })?;
    if !context.json && args.stay.once {
        for (task, why) in solver.skipped() {
            println!("passed over task {task}: {why}");
        }
    }
    Ok(())
}

/// `lockstep audit`.
pub fn audit(context: &Context, args: &AuditArgs) -> Result<()> {
    let audit = args.audit.unwrap_or(context.settings.audit);
    let mut challenger = Challenger::new(context.worker()?, audit);
    stay(context, args.stay, "auditing", |observer| {
        challenger.react(observer)
    })
}

/// `lockstep task watch`.
pub fn watch(context: &Context, args: WatchArgs) -> Result<()> {
    let mut submitter = Submitter::new(context.worker()?, args.prune);
    stay(context, args.stay, "watching", |_| submitter.react())
}

/// `lockstep withdraw`: whatever any role would withdraw now.
pub fn withdraw(context: &Context) -> Result<()> {
    let worker = context.worker()?;
    let mut submitter = Submitter::new(worker.clone(), false);
    let once = LoopArgs {
        once: true,
        poll: 0,
    };
    stay(context, once, "", |_| submitter.react())?;
    let solver = Solver::new(worker.clone(), context.settings.appetite);
    stay(context, once, "", |_| solver.collect())?;
    let challenger = Challenger::new(worker, context.settings.audit);
    stay(context, once, "", |_| challenger.collect())
}

fn stay(
    context: &Context,
    args: LoopArgs,
    label: &str,
    mut react: impl FnMut(&mut dyn Observer) -> Result<Option<Action>, Error>,
) -> Result<()> {
    stop_on_interrupt();
    let mut pause = Duration::from_secs(1);
    let mut progress = Progress::new(label, context.json);
    while !STOP.load(Ordering::Relaxed) {
        let observer: &mut dyn Observer = match context.json {
            true => &mut Unobserved,
            false => &mut progress,
        };
        match react(observer) {
            Ok(Some(action)) => {
                pause = Duration::from_secs(1);
                report(context, &action)?;
            }
            Ok(None) if args.once => break,
            Ok(None) => sleep(Duration::from_secs(args.poll)),
            Err(Error::Run(run::Error::Interrupted)) => break,
            Err(error) if error.is_transient() && !args.once => {
                tracing::warn!(%error, retry_in = ?pause, "not done yet");
                sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
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

/// Sleeps, but wakes soon after the person asked to stop.
fn sleep(duration: Duration) {
    let step = Duration::from_millis(100);
    let mut left = duration;
    while !left.is_zero() && !STOP.load(Ordering::Relaxed) {
        let nap = left.min(step);
        std::thread::sleep(nap);
        left -= nap;
    }
}

/// The first interrupt lets the move under way finish; the second ends the process, which loses
/// nothing either.
fn stop_on_interrupt() {
    let asked = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("stopping after this step; interrupt again to stop at once");
    });
    if let Err(error) = asked {
        tracing::debug!(%error, "interrupts end the process at once");
    }
}

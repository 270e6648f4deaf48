//! The commands that are roles.

use crate::args::{AuditArgs, LoopArgs, WatchArgs, WorkArgs};
use crate::context::Context;
use crate::screen::Paint;
use crate::service;
use anyhow::Result;
use lockstep_agent::roles::solver::Cheating;
use lockstep_agent::roles::{Challenger, Solver, Submitter, Worker};

/// Tells what programs run on, and why, where somebody may be watching, and else the log.
fn tell_device(context: &Context, worker: &Worker, stay: LoopArgs) {
    let why = worker.device.why();
    match context.json || stay.once {
        true => tracing::info!("{why}"),
        false => println!("{}", Paint::new().dim(why)),
    }
}

/// `lockstep work`.
pub fn work(context: &Context, args: &WorkArgs) -> Result<()> {
    let mut appetite = context.settings.appetite;
    appetite.min_price = args.min_price.unwrap_or(appetite.min_price);
    appetite.top_up = args.top_up.unwrap_or(appetite.top_up);
    let worker = context.worker("work")?;
    tell_device(context, &worker, args.stay);
    let mut solver = match args.cheat {
        Some(level) => Solver::cheat(
            worker.clone(),
            appetite,
            Cheating {
                level,
                place: args.fault,
                seed: args.seed,
            },
        ),
        None => Solver::new(worker.clone(), appetite),
    };
    service::run(context, &worker, args.stay, "solver", |observer, ending| {
        if ending {
            solver.accept_nothing();
        }
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
    let worker = context.worker("audit")?;
    tell_device(context, &worker, args.stay);
    let mut challenger = Challenger::new(worker.clone(), audit);
    let role = "challenger";
    service::run(context, &worker, args.stay, role, |observer, ending| {
        if ending {
            challenger.audit_nothing();
        }
        challenger.react(observer)
    })
}

/// `lockstep task watch`.
pub fn watch(context: &Context, args: WatchArgs) -> Result<()> {
    let worker = context.worker("watch")?;
    let mut submitter = Submitter::new(worker.clone(), args.prune);
    service::run(context, &worker, args.stay, "submitter", |_, _| {
        submitter.react()
    })
}

/// `lockstep withdraw`: whatever any role would withdraw now.
pub fn withdraw(context: &Context) -> Result<()> {
    let worker = context.worker("withdraw")?;
    let mut submitter = Submitter::new(worker.clone(), false);
    service::finish(context, || submitter.react())?;
    let solver = Solver::new(worker.clone(), context.settings.appetite);
    service::finish(context, || solver.collect())?;
    let challenger = Challenger::new(worker, context.settings.audit);
    service::finish(context, || challenger.collect())
}

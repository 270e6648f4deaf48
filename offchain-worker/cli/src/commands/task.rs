use crate::args::{SubmitArgs, TaskCommand};
use crate::commands::{result, roles};
use crate::context::{Context, Manifest};
use crate::forecast::Forecast;
use crate::goal::{Shown, Wish};
use crate::money;
use crate::recipe::{self, parameters, Made};
use crate::screen::{bytes, count, print_json, short, Table};
use crate::settings::Settings;
use crate::time;
use anyhow::{bail, Context as _, Result};
use lockstep_agent::chain::contracts::Contracts;
use lockstep_agent::keys::address;
use lockstep_agent::roles::solver::Effort;
use lockstep_agent::roles::Submitter;
use lockstep_agent::run::workload::Workload;
use lockstep_engine::cpu::describe;
use lockstep_interface::escrow::{AttemptRecord, Cancel, Finalize, TaskRecord};
use lockstep_interface::{TaskId, Terms};
use lockstep_protocol::program::Node;
use serde_json::{json, Value};

/// `lockstep task`.
pub fn run(context: &Context, command: TaskCommand) -> Result<()> {
    match command {
        TaskCommand::New { recipe, after } => {
            let mut made = recipe::make(&recipe)?;
            if let Some(earlier) = after {
                made.go_on_from(&result::settled(context, earlier)?)
                    .with_context(|| format!("cannot go on where task {earlier} ended"))?;
            }
            let manifest = context.remember(&recipe, &made)?;
            new(context, &made, &manifest)
        }
        TaskCommand::Submit(args) => submit(context, &args),
        TaskCommand::List => list(context),
        TaskCommand::Show { task } => show(context, task),
        TaskCommand::Cancel { task } => {
            context
                .contracts()?
                .escrow(&context.signer()?, 0, &Cancel { task })?;
            done(
                context,
                format!("task {task} is cancelled; `lockstep withdraw` refunds it"),
            )
        }
        TaskCommand::Finalize { task } => {
            let contracts = context.contracts()?;
            let attempt = record(&contracts, task)?.attempts;
            contracts.escrow(&context.signer()?, 0, &Finalize { task, attempt })?;
            done(context, format!("task {task} is settled"))
        }
        TaskCommand::Watch(stay) => roles::watch(context, stay),
    }
}

fn done(context: &Context, text: String) -> Result<()> {
    if context.json {
        return print_json(&json!({ "done": text }));
    }
    println!("{text}");
    Ok(())
}

fn record(contracts: &Contracts, task: TaskId) -> Result<TaskRecord> {
    contracts
        .task(task)?
        .with_context(|| format!("there is no task {task}, or it was removed"))
}

fn new(context: &Context, made: &Made, manifest: &Manifest) -> Result<()> {
    let spec = &made.workload.spec;
    let program = &made.workload.program;
    let state: u64 = program.nodes[..program.slots as usize]
        .iter()
        .map(Node::bytes)
        .sum();
    let effort = Effort::of(program);
    let dispute = crate::bench::dispute::bound(program, spec);
    let flops = describe(program).flops;
    let Settings {
        device, appetite, ..
    } = &context.settings;
    let forecast = Forecast::new(&made.workload, *device, appetite.speed)?;
    if context.json {
        return print_json(&json!({
            "name": manifest.name,
            "hash": manifest.hash,
            "parameters": parameters(&made.task),
            "nodes": spec.nodes,
            "operations_per_step": effort.operations,
            "flops_per_step": flops,
            "memory": effort.memory,
            "state": state,
            "steps": spec.steps,
            "segments": spec.segments(),
            "test_records": made.task.held_out.map(|held_out| held_out.records),
            "dispute_moves": dispute.moves,
            "dispute_bytes": dispute.bytes,
            "tried_on": forecast.tried_on,
            "step_seconds": forecast.step,
            "commit_seconds": forecast.commit,
            "seconds": forecast.total,
        }));
    }
    println!("{}  {}", manifest.name, manifest.hash);
    println!("  parameters   {}", count(parameters(&made.task)));
    println!(
        "  program      {} nodes, {} scalar operations a step, {} of them in floating point",
        spec.nodes,
        count(effort.operations),
        count(flops)
    );
    println!("  memory       {} while training", bytes(effort.memory));
    println!("  state        {} in {} tensors", bytes(state), spec.slots);
    println!(
        "  run          {} steps of {} records, {} checkpoints",
        spec.steps,
        spec.batch,
        spec.segments()
    );
    if let Some(held_out) = made.task.held_out {
        println!(
            "  evaluation   {} test records in the last {} steps, proven by the final state",
            held_out.records,
            held_out.steps()
        );
    }
    let by = match &forecast.tried_on {
        Some(engine) => format!("{} a step on {engine}", time::seconds(forecast.step)),
        None => format!("at {} operations a second", count(appetite.speed)),
    };
    println!(
        "  time         about {} here, {by}",
        time::seconds(forecast.total)
    );
    println!(
        "  hashing      {} a checkpoint, {:.2}% of the time",
        time::seconds(forecast.commit),
        100.0 * forecast.commit * spec.segments() as f64 / forecast.total
    );
    println!(
        "  a dispute    at most {} moves a side and {} of calldata by the solver",
        dispute.moves,
        bytes(dispute.bytes)
    );
    println!("offer it with: lockstep task submit {}", manifest.name);
    Ok(())
}

fn submit(context: &Context, args: &SubmitArgs) -> Result<()> {
    let manifest = context.manifest(&args.task)?;
    let worker = context.worker("submit")?;
    let workload = Workload::fetch(&worker.store, &manifest.spec()?)?;
    let goal = |wish: &Wish| {
        let goal = wish.goal(&manifest.slots, args.otherwise);
        goal.map_err(anyhow::Error::msg)
    };
    let terms = Terms {
        reward_floor: args.reward,
        reward_ceiling: args.ceiling.unwrap_or(args.reward),
        stake: args.stake,
        bond: args.bond,
        demand_fee: args.demand_fee,
        ramp: args.ramp,
        open: args.open,
        work: args.work,
        audit: args.audit,
        window: args.window,
        replay: args.replay,
        clock: args.clock,
        increment: args.increment,
        min_blocks: args.min_blocks,
        goal: args.goal.as_ref().map(goal).transpose()?,
    };
    let location = worker.store.location().to_owned();
    let submitter = Submitter::new(worker, false);
    let (task, receipt) = submitter.submit(&workload, terms, &location)?;
    if context.json {
        return print_json(&json!({ "task": task, "block": receipt.at.block }));
    }
    println!("task {task} is open, in block {}", receipt.at.block);
    Ok(())
}

fn list(context: &Context) -> Result<()> {
    let contracts = context.contracts()?;
    let mut table = Table::new(&[
        "task",
        "status",
        "price",
        "stake",
        "checkpoints",
        "attempts",
    ]);
    let mut rows: Vec<Value> = Vec::new();
    let now = contracts.now()?;
    for listed in contracts.tasks()? {
        let task = listed.id;
        let Some(record) = listed.task else {
            continue;
        };
        let latest = listed.attempts.last();
        let price = record
            .price(now.time)
            .or(latest.map(|(_, attempt)| attempt.price));
        rows.push(json!({
            "task": task,
            "status": format!("{:?}", record.status),
            "price": price.map(|p| p.to_string()),
            "stake": record.terms.stake.to_string(),
            "segments": record.segments,
            "attempts": record.attempts,
            "terms_hash": hex::encode(record.terms_hash),
        }));
        table.row(&[
            task.to_string(),
            format!("{:?}", record.status),
            price.map_or("-".into(), money::show),
            money::show(record.terms.stake),
            record.segments.to_string(),
            record.attempts.to_string(),
        ]);
    }
    if context.json {
        return print_json(&rows);
    }
    print!("{table}");
    Ok(())
}

fn show(context: &Context, task: TaskId) -> Result<()> {
    let contracts = context.contracts()?;
    let record = record(&contracts, task)?;
    let submission = contracts.submission(task, &record)?;
    let now = contracts.now()?;
    let spec = &submission.task.spec;
    let mut attempts = Vec::new();
    for number in 1..=record.attempts {
        if let Some(attempt) = contracts.attempt(task, number)? {
            attempts.push((number, attempt));
        }
    }
    let disputes: Vec<_> = contracts
        .disputes(0)?
        .into_iter()
        .filter(|listed| listed.task == task)
        .collect();
    if context.json {
        return print_json(&json!({
            "task": task,
            "status": format!("{:?}", record.status),
            "submitter": address(&record.submitter),
            "terms_hash": hex::encode(record.terms_hash),
            "artifacts": submission.artifacts,
            "program": hex::encode(spec.program),
            "nodes": spec.nodes,
            "steps": spec.steps,
            "segments": record.segments,
            "price": record.price(now.time).map(|p| p.to_string()),
            "owed": record.owed.to_string(),
            "goal": record.terms.goal.map(|goal| json!({
                "slot": goal.slot,
                "side": format!("{:?}", goal.side),
                "threshold": f32::from_bits(goal.threshold),
                "otherwise": goal.otherwise,
            })),
            "attempts": attempts.iter().map(|(n, a)| attempt_json(*n, a)).collect::<Vec<_>>(),
            "disputes": disputes.iter().map(|d| json!({
                "dispute": d.id, "attempt": d.attempt, "open": d.open,
                "challenger": address(&d.challenger),
            })).collect::<Vec<_>>(),
        }));
    }
    println!("task {task}: {:?}", record.status);
    println!("  submitter  {}", address(&record.submitter));
    println!("  artifacts  {}", submission.artifacts);
    println!(
        "  program    {} nodes, {}",
        spec.nodes,
        short(&spec.program)
    );
    println!(
        "  run        {} steps, {} checkpoints",
        spec.steps, record.segments
    );
    if let Some(price) = record.price(now.time) {
        println!("  price      {} now", money::show(price));
    }
    println!(
        "  reward     {} to {}, stake {}, bond {}",
        money::show(record.terms.reward_floor),
        money::show(record.terms.reward_ceiling),
        money::show(record.terms.stake),
        money::show(record.terms.bond)
    );
    let manifest = context.manifest_of(spec)?;
    let slots = manifest.map_or(Vec::new(), |manifest| manifest.slots);
    if let Some(goal) = record.terms.goal {
        let slots = &slots;
        println!("  goal       {}", Shown { goal, slots });
    }
    if record.owed > 0 {
        println!("  owed       {} to the submitter", money::show(record.owed));
    }
    for (number, attempt) in &attempts {
        println!(
            "  attempt {number}: {:?} by {} at {}",
            attempt.status,
            address(&attempt.solver),
            money::show(attempt.price)
        );
        if attempt.window_end > now.time {
            let left = time::show(attempt.window_end - now.time);
            println!("    open to challenge for {left}");
        }
        if let Some(goal) = record.terms.goal.filter(|_| attempt.window_end > 0) {
            match (metric(attempt), goal.is_reached(attempt.metric)) {
                (None, _) => println!("    proves no metric"),
                (Some(metric), true) => println!("    proves {metric}, which reaches the goal"),
                (Some(metric), false) => println!("    proves {metric}, which misses the goal"),
            }
        }
        if attempt.challenges > 0 {
            println!("    {} challenges are not over", attempt.challenges);
        }
    }
    for dispute in &disputes {
        let state = if dispute.open { "open" } else { "over" };
        println!(
            "  dispute {} of attempt {}: {state}, by {}",
            dispute.id,
            dispute.attempt,
            address(&dispute.challenger)
        );
    }
    Ok(())
}

/// The metric that an attempt has proven.
fn metric(attempt: &AttemptRecord) -> Option<f32> {
    Some(f32::from_bits(attempt.metric)).filter(|metric| !metric.is_nan())
}

fn attempt_json(number: u32, attempt: &AttemptRecord) -> Value {
    json!({
        "attempt": number,
        "status": format!("{:?}", attempt.status),
        "solver": address(&attempt.solver),
        "price": attempt.price.to_string(),
        "deadline": attempt.deadline,
        "window_end": attempt.window_end,
        "challenges": attempt.challenges,
        "metric": metric(attempt),
        "trace": hex::encode(attempt.commitment.trace),
        "state": hex::encode(attempt.commitment.state),
    })
}

/// The number of a task's latest attempt.
pub(super) fn latest_attempt(contracts: &Contracts, task: TaskId) -> Result<(TaskRecord, u32)> {
    let record = record(contracts, task)?;
    if record.attempts == 0 {
        bail!("nobody has accepted task {task} yet");
    }
    let attempts = record.attempts;
    Ok((record, attempts))
}

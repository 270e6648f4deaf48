//! `lockstep demo`: both endings of the story on an embedded chain or a node, in one process. An honest
//! solver is paid; a cheat is caught down to one scalar operation.

mod ledger;
mod stage;
pub mod story;

use crate::args::DemoArgs;
use crate::commands::result;
use crate::exit::BadResult;
use crate::money;
use crate::recipe::{self, Made};
use crate::screen::{self, print_json, Paint, Progress};
use crate::time;
use anyhow::{bail, Context, Result};
use lockstep_agent::chain::Chain;
use lockstep_agent::local::Verdict;
use lockstep_agent::roles::challenger::Audit;
use lockstep_agent::roles::solver::Cheating;
use lockstep_agent::roles::{Action, Challenger, Money, Solver, Submitter, Unobserved};
use lockstep_agent::run::Device;
use lockstep_interface::{escrow, TaskId};
use serde::Serialize;
use stage::{Person, Stage};
use std::sync::Arc;
use std::time::Instant;
use story::Story;

/// What the demonstration found, for scripts.
#[derive(Serialize)]
struct Report {
    accuracy: f64,
    parameters: u64,
    reward: String,
    fault: String,
    seed: u64,
    moves: Vec<story::Line>,
    outcome: String,
    ledger: ledger::Report,
    seconds: f64,
}

/// Plays both acts.
///
/// # Errors
/// When anything is not as it should be: the demonstration checks what it shows.
pub fn run(
    args: &DemoArgs,
    json: bool,
    device: Device,
    node: Option<Arc<dyn Chain>>,
) -> Result<()> {
    let start = Instant::now();
    let say = Narrator {
        quiet: json,
        paint: Paint::new(),
    };
    let seed = args.seed.unwrap_or_else(fresh_seed);

    say.title("Lockstep: a training task, paid when right, caught on chain when wrong");
    let made = recipe::make(&args.recipe)?;
    let stage = Stage::set(&say, device, node)?;
    let before = ledger::Snapshot::take(&stage)?;

    say.title("Act 1: an honest solver");
    let (task, accuracy, reward) = honest(&say, &stage, &made, args)?;
    say.line(format!(
        "task {task} is settled; the submitter has a model it need not trust anybody for"
    ));

    say.title("Act 2: a cheat");
    let tale = cheating(&say, &stage, &made, args, seed)?;

    stage.retire(&say)?;
    stage.flush_burns()?;
    say.title("Balances");
    let after = ledger::Snapshot::take(&stage)?;
    let ledger = ledger::Report::new(&before, &after)?;
    say.block(&ledger.to_string());
    ledger.check()?;

    let seconds = start.elapsed().as_secs_f64();
    let moves = tale.moves.len();
    if json {
        print_json(&Report {
            accuracy,
            parameters: recipe::parameters(&made.task),
            reward: money::exact(reward),
            fault: tale.fault,
            seed,
            moves: tale.moves,
            outcome: tale.outcome,
            ledger,
            seconds,
        })?;
        return Ok(());
    }
    println!(
        "OK: {:.1}% on held-out records, the honest solver earned {}, the cheat lost its stake of \
         {} to a dispute of {moves} moves, {seconds:.1} s",
        accuracy * 100.0,
        money::show(reward),
        money::show(stage.pace.terms.stake),
    );
    Ok(())
}

/// Says what happens, to a person.
pub(crate) struct Narrator {
    quiet: bool,
    paint: Paint,
}

impl Narrator {
    fn title(&self, text: &str) {
        self.block(&format!("\n{}", self.paint.bold(text)));
    }

    fn line(&self, text: impl std::fmt::Display) {
        self.block(&format!("  {text}"));
    }

    fn block(&self, text: &str) {
        if !self.quiet {
            println!("{}", text.trim_end());
        }
    }
}

/// A submitter, a solver, a window that passes, and a payment.
fn honest(
    say: &Narrator,
    stage: &Stage,
    made: &Made,
    args: &DemoArgs,
) -> Result<(TaskId, f64, u128)> {
    let mut submitter = Submitter::new(stage.worker(Person::Submitter), true);
    let mut solver = Solver::new(stage.worker(Person::Solver), stage.appetite());
    let task = submit(say, stage, made, &submitter)?;

    train(say, &mut solver, "training")?;
    let record = stage
        .contracts
        .task(task)?
        .context("the task is on chain")?;
    let attempt = stage
        .contracts
        .attempt(task, 1)?
        .context("the attempt is on chain")?;
    let window = attempt
        .window_end
        .saturating_sub(stage.contracts.now()?.time);
    say.line(format!(
        "the challenge window passes: {} on the chain's clock",
        time::show(window)
    ));
    stage.pass(window + 1)?;

    let mut reward = 0;
    while let Some(action) = solver.react(&mut Unobserved)? {
        if let Action::Withdrew {
            money: Money::Reward,
            amount,
            ..
        } = &action
        {
            reward = *amount;
        }
        say.line(describe("solver", &action));
    }
    let floor = record.terms.reward_floor;
    if reward < floor {
        bail!(BadResult(format!(
            "the solver earned {} and not {}",
            reward, floor
        )));
    }

    let worker = stage.worker(Person::Submitter);
    let record = stage
        .contracts
        .task(task)?
        .context("the settled task is on chain")?;
    let claim = result::claim(&worker.contracts, task, 1, &record)?;
    let outcome = result::final_state(&worker.contracts, &worker.store, task, &record, &claim)?;
    let score = recipe::evaluate(&made.task, &outcome.state, stage.device)?;
    let accuracy = score
        .accuracy()
        .context("the recipe's model does not classify")?;
    say.line(say.paint.green(format!(
        "held-out accuracy: {:.2}% ({} of {} records)",
        accuracy * 100.0,
        score.correct.unwrap_or_default(),
        score.seen
    )));
    if accuracy < args.floor / 100.0 {
        bail!(BadResult(format!(
            "the accuracy of {:.2}% is below {}%",
            accuracy * 100.0,
            args.floor
        )));
    }
    while let Some(action) = submitter.react()? {
        say.line(describe("submitter", &action));
    }
    Ok((task, accuracy, reward))
}

/// Plays the second act alone, without saying anything.
///
/// # Errors
/// When it does not end as it should.
pub fn second_act(args: &DemoArgs, device: Device) -> Result<Tale> {
    let say = Narrator {
        quiet: true,
        paint: Paint::new(),
    };
    let made = recipe::make(&args.recipe)?;
    let stage = Stage::set(&say, device, None)?;
    cheating(
        &say,
        &stage,
        &made,
        args,
        args.seed.unwrap_or_else(fresh_seed),
    )
}

/// What the second act showed.
pub struct Tale {
    /// The planted error and its place.
    pub fault: String,
    /// Every move of the dispute.
    pub moves: Vec<story::Line>,
    /// How it ended.
    pub outcome: String,
}

/// A solver that plants an error, a challenger that finds it, and a contract that judges.
fn cheating(
    say: &Narrator,
    stage: &Stage,
    made: &Made,
    args: &DemoArgs,
    seed: u64,
) -> Result<Tale> {
    let mut submitter = Submitter::new(stage.worker(Person::Submitter), true);
    let cheating = Cheating {
        level: args.level,
        place: args.fault,
        seed,
    };
    let worker = stage.worker(Person::Cheat);
    let mut cheat = Solver::cheat(worker, stage.appetite(), cheating);
    let worker = stage.worker(Person::Challenger);
    let mut challenger = Challenger::new(worker, args.audit.unwrap_or(Audit::Everything));
    let task = submit(say, stage, made, &submitter)?;

    train(say, &mut cheat, "cheating")?;
    let fault = *cheat.fault(task).context("the cheat planted an error")?;
    let place = fault.to_string();
    let (level, place_only) = place.split_once(' ').unwrap_or((&place, ""));
    say.line(format!(
        "{} {place}   {}",
        say.paint.red("planted error:"),
        say.paint.dim(format!(
            "(again with --seed {seed}, or --level {level} --fault {place_only})"
        ))
    ));

    let mut story = Story::new(
        say,
        &made.workload,
        stage.contracts.chain().extrinsic_limit()?,
    );
    let mut progress = Progress::new("auditing", say.quiet);
    let mut won = false;
    loop {
        if let Some(action) = challenger.react(&mut progress)? {
            progress.finish();
            if let Action::Audited {
                verdict: Verdict::Clean,
                ..
            } = &action
            {
                bail!(BadResult(
                    "the audit found nothing: it did not look where the error is; use --audit all"
                        .into()
                ));
            }
            if let Action::Withdrew {
                money: Money::Share,
                ..
            } = &action
            {
                won = true;
            }
            story.hear("challenger", &action);
            continue;
        }
        if won {
            break;
        }
        if let Some(action) = cheat.react(&mut Unobserved)? {
            story.hear("cheat", &action);
            continue;
        }
        // Nobody can move: a clock has to run out.
        let terms = &stage.pace.terms;
        say.line(format!(
            "the cheat has nothing to show; its clock of {} runs out",
            time::show(terms.clock)
        ));
        stage.pass(terms.clock + terms.increment * 64)?;
    }
    let outcome = story.outcome().context("the dispute has an end")?;
    say.line(say.paint.green(&outcome));

    let message = escrow::Cancel { task };
    stage
        .contracts
        .escrow(stage.signer(Person::Submitter), 0, &message)?;
    say.line("the submitter takes the task back");
    while let Some(action) = submitter.react()? {
        say.line(describe("submitter", &action));
    }
    while let Some(action) = cheat.react(&mut Unobserved)? {
        story.hear("cheat", &action);
    }
    Ok(Tale {
        fault: place,
        moves: story.into_lines(),
        outcome,
    })
}

fn submit(say: &Narrator, stage: &Stage, made: &Made, submitter: &Submitter) -> Result<TaskId> {
    let terms = stage.pace.terms;
    let store = stage.worker(Person::Submitter).store;
    let (task, receipt) = submitter.submit(&made.workload, terms, store.location())?;
    let spec = &made.workload.spec;
    say.line(format!(
        "submitter: task {task}: {} parameters, {} steps of {} records, {} nodes, checkpoint \
         every {} steps; reward {} to {}, stake {}",
        recipe::parameters(&made.task),
        spec.steps,
        spec.batch,
        spec.nodes,
        spec.segment,
        money::show(terms.reward_floor),
        money::show(terms.reward_ceiling),
        money::show(terms.stake),
    ));
    tracing::debug!(deposit = receipt.deposit, "submitted");
    Ok(task)
}

/// Lets a solver react until it has committed.
fn train(say: &Narrator, solver: &mut Solver, label: &str) -> Result<()> {
    let mut progress = Progress::new(label, say.quiet);
    let start = Instant::now();
    loop {
        match solver.react(&mut progress)? {
            Some(Action::Trained { .. }) => {}
            Some(action) => {
                progress.finish();
                let committed = matches!(action, Action::Committed { .. });
                if committed {
                    say.line(format!(
                        "solver: trained in {:.1} s",
                        start.elapsed().as_secs_f64()
                    ));
                }
                say.line(describe("solver", &action));
                if committed {
                    return Ok(());
                }
            }
            None => {
                let why = solver.skipped().values().next();
                let why = why.map_or("it saw no task".into(), ToString::to_string);
                bail!(BadResult(format!("the solver took no task: {why}")));
            }
        }
    }
}

/// An action in the words of the demonstration.
fn describe(who: &str, action: &Action) -> String {
    match action {
        Action::Staked { amount, .. } => format!("{who}: stakes {}", money::show(*amount)),
        Action::Accepted { task, price, .. } => {
            format!("{who}: accepts task {task} at {}", money::show(*price))
        }
        Action::Committed { commitment, .. } => format!(
            "{who}: commits checkpoint trace {}, final state {}",
            screen::short(&commitment.trace),
            screen::short(&commitment.state)
        ),
        Action::Withdrew {
            money: what,
            amount,
            ..
        } => {
            format!("{who}: withdraws {} ({what})", money::show(*amount))
        }
        Action::Opened { dispute, bond, .. } => {
            format!(
                "{who}: opens dispute {dispute} with a bond of {}",
                money::show(*bond)
            )
        }
        other => format!("{who}: {other}"),
    }
}

fn fresh_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |time| time.as_nanos() as u64 % 1_000_000)
}

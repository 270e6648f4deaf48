//! A task in pictures: a page that needs nothing but itself, and PNG files.
//!
//! Everything on it comes from the chain's events, the store, and the task run again here.

mod curves;
mod disputes;
mod draw;
mod facts;
mod history;
mod outline;
mod page;
mod path;
mod plots;
mod rate;

use crate::context::Context;
use crate::screen::Progress;
use crate::time;
use anyhow::{Context as _, Result};
use curves::{Checkpoint, Metric, Run};
use draw::chart::brief;
use draw::Scene;
use history::History;
use lockstep_agent::run::workload::Workload;
use lockstep_agent::store::Store;
use lockstep_engine::cpu::{describe, Description};
use lockstep_interface::TaskId;
use path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A picture and where it belongs.
pub struct Picture {
    /// What its file is called, without ending.
    pub name: String,
    /// The picture.
    pub scene: Scene,
}

/// A dispute on the page.
pub struct Told {
    /// Its way down, as far as it came.
    pub picture: Option<Picture>,
    /// What it is, or why there is no picture.
    pub heading: String,
    /// Every known move: its number, who made it, what it was, bytes of its message.
    pub moves: Vec<[String; 4]>,
    /// What the page cannot know.
    pub notes: Vec<String>,
}

/// All that the page shows.
pub struct Report {
    /// Which task.
    pub task: TaskId,
    /// Where it stands, in a word.
    pub status: String,
    /// What the task is: names and values.
    pub facts: Vec<(&'static str, String)>,
    /// Its hashes: names and values.
    pub hashes: Vec<(String, String)>,
    /// Attempts: number, solver, how it stands, checkpoint trace.
    pub attempts: Vec<[String; 4]>,
    /// How the curves were found.
    pub basis: Vec<String>,
    /// Metrics, learning rate, time per step.
    pub curves: Vec<Picture>,
    /// The program.
    pub program: Picture,
    /// Disputes.
    pub disputes: Vec<Told>,
    /// When and what.
    pub history: Vec<[String; 3]>,
    /// Why the history has an end before its time.
    pub gap: Option<String>,
}

impl Report {
    /// The page, which refers to nothing outside itself.
    pub fn html(&self) -> String {
        page::page(self).into_string()
    }

    /// All pictures.
    pub fn pictures(&self) -> impl Iterator<Item = &Picture> {
        let disputes = self
            .disputes
            .iter()
            .filter_map(|told| told.picture.as_ref());
        self.curves.iter().chain([&self.program]).chain(disputes)
    }
}

/// A task with its files, and whatever else the parts of a report share.
struct Subject<'a> {
    context: &'a Context,
    workload: Arc<Workload>,
    described: Description,
    /// Names of the state's slots, where `task new` ran here.
    names: Option<Vec<String>>,
    metrics: Vec<Metric>,
    history: History,
    store: Store,
}

/// The task run again, or why it was not, and what was published.
struct Curves {
    run: Result<Run, String>,
    published: Vec<Checkpoint>,
}

/// Gathers what is known of a task. It is run again when that takes no longer than `limit`.
///
/// # Errors
/// When the task is not on the chain, or its files are not to be had.
pub fn gather(context: &Context, task: TaskId, limit: Duration) -> Result<Report> {
    let contracts = context.contracts()?;
    let record = contracts
        .task(task)?
        .with_context(|| format!("there is no task {task}, or it was removed"))?;
    let mut progress = Progress::over("blocks", "reading the chain", context.json);
    let history = History::read(&contracts, task, &record, &mut progress)?;
    progress.finish();
    let subject = Subject::fetch(context, history)?;
    let paths = subject.paths();
    let curves = subject.curves(&paths, limit)?;
    let names = subject.names.as_deref().unwrap_or_default();
    let slots: Vec<usize> = subject.metrics.iter().map(|metric| metric.slot).collect();
    let program = &subject.workload.program;
    let outline = outline::outline(program, &subject.described, names, &slots);
    Ok(Report {
        task,
        status: format!("{:?}", record.status),
        facts: subject.facts(&record),
        hashes: subject.hashes(&record),
        attempts: subject.attempts(),
        basis: subject.basis(&curves),
        curves: plots::all(&subject, &curves),
        program: Picture {
            name: "program".into(),
            scene: outline.scene(),
        },
        disputes: paths
            .into_iter()
            .zip(&subject.history.disputes)
            .map(|(path, dispute)| subject.tell(dispute, path))
            .collect(),
        history: subject.lines(),
        gap: subject.history.gap.clone(),
    })
}

impl<'a> Subject<'a> {
    fn fetch(context: &'a Context, history: History) -> Result<Subject<'a>> {
        let mut store = context.store()?.with_source(&history.artifacts)?;
        for (_, artifacts) in history.attempts.iter().filter_map(|a| a.result.as_ref()) {
            match store.with_source(artifacts) {
                Ok(wider) => store = wider,
                Err(error) => tracing::warn!(%error, artifacts, "a solver's store is left out"),
            }
        }
        let spec = &history.task.spec;
        let workload = Workload::fetch(&store, spec)?;
        let slots = spec.slots as usize;
        let manifest = context.manifest_of(spec)?;
        let names = manifest.map(|m| m.slots).filter(|n| n.len() == slots);
        Ok(Subject {
            described: describe(&workload.program),
            metrics: curves::metrics(&workload, names.as_deref()),
            workload: Arc::new(workload),
            context,
            names,
            history,
            store,
        })
    }

    fn curves(&self, paths: &[Result<Path, String>], limit: Duration) -> Result<Curves> {
        let disputed: Vec<u32> = paths
            .iter()
            .flatten()
            .map(|path| path.end.segment)
            .collect();
        let device = self.context.settings.device;
        let mut progress = Progress::new("running the task again", self.context.json);
        let keep = (&self.store, &disputed[..]);
        let (workload, metrics) = (&self.workload, &self.metrics);
        let run = curves::run(workload, metrics, device, keep, limit, &mut progress)?;
        progress.finish();
        let published = match self.history.latest_result().and_then(|a| a.result.as_ref()) {
            Some((commitment, _)) => {
                let trace = &commitment.trace;
                curves::published(workload, metrics, &self.store, trace).unwrap_or_else(|error| {
                    tracing::warn!(%error, "the published checkpoints are left out");
                    Vec::new()
                })
            }
            None => Vec::new(),
        };
        let long = |foreseen: Duration| {
            format!(
                "would take about {} here and --replay allows {}",
                time::show(foreseen.as_millis() as u64),
                time::show(limit.as_millis() as u64)
            )
        };
        Ok(Curves {
            run: run.map_err(long),
            published,
        })
    }

    /// How the curves were found, in words.
    fn basis(&self, curves: &Curves) -> Vec<String> {
        let attempt = self.history.latest_result().map(|attempt| attempt.number);
        let mut words = vec![match (&curves.run, attempt) {
            (Ok(run), _) => format!(
                "Every step was run again from the genesis, by the machine that wrote this page, \
                 on {}.",
                run.engine
            ),
            (Err(why), Some(_)) => format!(
                "Only the published checkpoints were read, one for every {} steps: running the \
                 task again {why}.",
                self.workload.spec.segment
            ),
            (Err(why), None) => format!("There is no result yet, and running the task {why}."),
        }];
        if let (Some(number), Ok(run), false) = (attempt, &curves.run, curves.published.is_empty())
        {
            let different = curves::first_difference(&run.checkpoints, &curves.published);
            words.push(match different {
                None => format!(
                    "All {} checkpoints of attempt {number} are, bit for bit, those of this run.",
                    run.checkpoints.len()
                ),
                Some(segment) => format!(
                    "The checkpoints of attempt {number} are not those of this run, from \
                     checkpoint {segment} on."
                ),
            });
        }
        words.extend(self.tested(curves));
        if attempt.is_some() && curves.published.is_empty() {
            words.push("The solver's checkpoint trace is not in a store that can be read.".into());
        }
        words
    }

    /// What an evaluation at the end of the task found, in words.
    fn tested(&self, curves: &Curves) -> Option<String> {
        let last = |k: usize| match &curves.run {
            Ok(run) => run.values[k].last().copied(),
            Err(_) => curves.published.last()?.values[k],
        };
        let found: Vec<String> = (0..self.metrics.len())
            .filter(|k| self.metrics[*k].tests())
            .filter_map(|k| Some(format!("{} {}", self.metrics[k].name, brief(last(k)?))))
            .collect();
        let whose = match curves.run {
            Ok(_) => "this run",
            Err(_) => "the committed result",
        };
        (!found.is_empty()).then(|| {
            let found = found.join(", ");
            format!("At its end {whose} was evaluated on held-out records: {found}.")
        })
    }
}

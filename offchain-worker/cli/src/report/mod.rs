//! A task in pictures: a page that needs nothing but itself, and PNG files.
//!
//! Everything on it comes from the chain's events, the store, and the task run again here.

mod curves;
mod draw;
mod history;
mod outline;
mod page;
mod path;
mod plots;
mod rate;

use crate::context::Context;
use crate::money;
use crate::screen::{bytes, count, Progress};
use crate::time;
use crate::wording;
use anyhow::{Context as _, Result};
use curves::{Checkpoint, Metric, Run};
use draw::descent::{Descent, Level};
use draw::{Ink, Scene};
use history::{Dispute, History};
use lockstep_agent::keys::address;
use lockstep_agent::run::files::Files;
use lockstep_agent::run::workload::Workload;
use lockstep_agent::store::Store;
use lockstep_engine::cpu::{describe, Description};
use lockstep_interface::escrow::TaskRecord;
use lockstep_interface::{Account, TaskId};
use lockstep_protocol::game::Side;
use lockstep_protocol::program::Node;
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
    /// Attempts: number, solver, how it stands, price and hashes.
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
    let (facts, hashes) = subject.facts(&record);
    let names = subject.names.as_deref().unwrap_or_default();
    let slots: Vec<usize> = subject.metrics.iter().map(|metric| metric.slot).collect();
    let program = &subject.workload.program;
    let outline = outline::outline(program, &subject.described, names, &slots);
    Ok(Report {
        task,
        status: format!("{:?}", record.status),
        facts,
        hashes,
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
            store = store.with_source(artifacts)?;
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

    /// Every dispute played again, or why it cannot be.
    fn paths(&self) -> Vec<Result<Path, String>> {
        let path = |dispute: &Dispute| {
            let attempt = self.history.attempt(dispute.attempt);
            let result = attempt.and_then(|attempt| attempt.result.as_ref());
            let (commitment, _) = result.ok_or("the disputed result is not in the events")?;
            let workload = &self.workload;
            Path::replay(&workload.spec, &workload.program, commitment, dispute)
                .map_err(|refusal| format!("its moves do not fit: {refusal}"))
        };
        self.history.disputes.iter().map(path).collect()
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
                "Every step was run again from the genesis for this page, on {}.",
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
            words.push(
                match curves::first_difference(&run.checkpoints, &curves.published) {
                    None => format!(
                    "All {} checkpoints of attempt {number} are, bit for bit, those of this run.",
                    run.checkpoints.len()
                ),
                    Some(segment) => format!(
                        "The checkpoints of attempt {number} are not those of this run, from \
                     checkpoint {segment} on."
                    ),
                },
            );
        }
        if attempt.is_some() && curves.published.is_empty() {
            words.push("The solver's checkpoint trace is not in a store that can be read.".into());
        }
        words
    }

    fn tell(&self, dispute: &Dispute, path: Result<Path, String>) -> Told {
        let solver = self.history.attempt(dispute.attempt).map(|a| a.solver);
        let heading = format!(
            "attempt {}, solver {}, challenger {}",
            dispute.attempt,
            solver.map_or("unknown".into(), |solver| brief(&solver)),
            brief(&dispute.challenger)
        );
        let mut path = match path {
            Ok(path) => path,
            Err(why) => {
                return Told {
                    picture: None,
                    heading: format!("Dispute {}: {heading}", dispute.id),
                    moves: Vec::new(),
                    notes: vec![why],
                }
            }
        };
        let mut notes = Vec::new();
        let scalar = self.compute(&mut path).unwrap_or_else(|error| {
            notes.push(format!("What is right could not be computed: {error:#}"));
            None
        });
        let moves = path.moves.iter().enumerate();
        Told {
            moves: moves
                .map(|(k, (side, what, bytes))| {
                    [
                        k.to_string(),
                        side.to_string(),
                        what.clone(),
                        bytes.to_string(),
                    ]
                })
                .collect(),
            picture: Some(Picture {
                name: format!("dispute-{}", dispute.id),
                scene: self
                    .descent(dispute, &path, heading.clone(), scalar)
                    .scene(),
            }),
            heading,
            notes,
        }
    }

    /// Computes what is right at every level, and the scalar step at the bottom.
    fn compute(&self, path: &mut Path) -> Result<Option<String>> {
        if path.levels.is_empty() {
            return Ok(None);
        }
        let workload = self.workload.clone();
        let mut checkpoints = vec![[0; 32]; workload.spec.segments() as usize];
        if let Some(before) = path.end.segment.checked_sub(1) {
            let agreed = path
                .agreed
                .context("the agreed state is not in the events")?;
            checkpoints[before as usize] = agreed;
        }
        let device = self.context.settings.device;
        let program = workload.program.clone();
        let mut files = Files::new(workload, device, self.store.clone(), checkpoints, None)?;
        path.compute(&mut files)?;
        Ok(path.scalar(&program, &mut files)?)
    }

    fn descent(
        &self,
        dispute: &Dispute,
        path: &Path,
        heading: String,
        scalar: Option<String>,
    ) -> Descent {
        let program = &self.workload.program;
        let names = self.names.as_deref().unwrap_or_default();
        let level = |level: &path::Level| {
            let content = |bytes: &Vec<u8>| wording::content(program, &level.game, bytes);
            Level {
                name: wording::entry(&level.game, level.selected),
                among: level.among(program, names),
                entries: level.entries(),
                selected: level.selected,
                solver: content(&level.solver),
                own: level.own.as_ref().map(content),
            }
        };
        let end = match (&dispute.outcome, path.end.turn()) {
            (Some(outcome), _) => wording::outcome(program, &path.end, outcome),
            (None, Some(side)) => {
                format!("undecided; the {} is to move", wording::side(side))
            }
            (None, None) => "decided".into(),
        };
        let all = u64::from(self.workload.spec.steps) * self.described.steps;
        let title = match scalar {
            Some(_) => format!("from {} scalar steps to one", count(all)),
            None => format!("{} levels down", path.levels.len()),
        };
        Descent {
            title: format!("Dispute {}: {title}", dispute.id),
            note: heading,
            levels: path.levels.iter().map(level).collect(),
            bottom: [capital(&end)].into_iter().chain(scalar).collect(),
            ink: match dispute.winner() {
                Some(Side::Challenger) => Ink::Wrong,
                Some(Side::Defender) => Ink::Right,
                None => Ink::Third,
            },
        }
    }

    fn attempts(&self) -> Vec<[String; 4]> {
        let row = |attempt: &history::Attempted| {
            let trace = attempt.result.as_ref();
            [
                attempt.number.to_string(),
                address(&attempt.solver),
                attempt.status.to_owned(),
                trace.map_or(String::new(), |(result, _)| hex::encode(result.trace)),
            ]
        };
        self.history.attempts.iter().map(row).collect()
    }

    fn lines(&self) -> Vec<[String; 3]> {
        let row = |line: &history::Line| {
            let since = std::time::UNIX_EPOCH + Duration::from_millis(line.at.time);
            let time = humantime::format_rfc3339_seconds(since).to_string();
            [time, line.at.block.to_string(), line.what.clone()]
        };
        self.history.lines.iter().map(row).collect()
    }

    fn facts(&self, record: &TaskRecord) -> (Vec<(&'static str, String)>, Vec<(String, String)>) {
        let (spec, terms) = (&self.workload.spec, &record.terms);
        let sources = &self.workload.program.nodes[..spec.slots as usize];
        let state: u64 = sources.iter().map(Node::bytes).sum();
        let memory = &self.described.memory;
        let records: Vec<String> = spec
            .datasets
            .iter()
            .map(|d| {
                format!(
                    "{} records of {}",
                    count(d.records),
                    bytes(d.record_size.into())
                )
            })
            .collect();
        let mut facts = vec![
            ("submitter", address(&record.submitter)),
            (
                "reward",
                format!(
                    "{} to {}",
                    money::show(terms.reward_floor),
                    money::show(terms.reward_ceiling)
                ),
            ),
            (
                "stake and bond",
                format!(
                    "{} and {}",
                    money::show(terms.stake),
                    money::show(terms.bond)
                ),
            ),
            (
                "run",
                format!(
                    "{} steps of {} records, {} checkpoints",
                    spec.steps,
                    spec.batch,
                    spec.segments()
                ),
            ),
            ("data", records.join(", ")),
        ];
        if let Some(parameters) = self.parameters() {
            facts.push(("parameters", count(parameters)));
        }
        facts.extend([
            (
                "state",
                format!("{} in {} tensors", bytes(state), spec.slots),
            ),
            (
                "program",
                format!(
                    "{} nodes; {} floating-point operations and {} scalar steps a training step",
                    spec.nodes,
                    count(self.described.flops),
                    count(self.described.steps)
                ),
            ),
            (
                "memory",
                format!(
                    "{} while training",
                    bytes(memory.state + memory.constants + memory.buffers)
                ),
            ),
        ]);
        let mut hashes = vec![
            ("task and terms".to_owned(), hex::encode(record.terms_hash)),
            ("program".to_owned(), hex::encode(spec.program)),
            ("first state".to_owned(), hex::encode(spec.genesis)),
        ];
        for (k, dataset) in spec.datasets.iter().enumerate() {
            hashes.push((format!("dataset {k}"), hex::encode(dataset.root)));
        }
        if let Some((result, _)) = self.history.latest_result().and_then(|a| a.result.as_ref()) {
            hashes.push(("final state".to_owned(), hex::encode(result.state)));
        }
        (facts, hashes)
    }

    /// Elements of the state that are neither metrics nor what an optimizer remembers of another
    /// tensor, by their names.
    fn parameters(&self) -> Option<u64> {
        let names = self.names.as_ref()?;
        let is = |name: &str| {
            let parent = name.rsplit_once('.').map_or("", |(parent, _)| parent);
            !name.starts_with("metric.") && !names.iter().any(|other| other == parent)
        };
        let nodes = names.iter().zip(&self.workload.program.nodes);
        Some(
            nodes
                .filter(|(name, _)| is(name))
                .map(|(_, node)| node.len())
                .sum(),
        )
    }
}

/// The two ends of an address.
fn brief(account: &Account) -> String {
    let address = address(account);
    match (
        address.get(..6),
        address.get(address.len().saturating_sub(6)..),
    ) {
        (Some(start), Some(end)) => format!("{start}…{end}"),
        _ => address,
    }
}

/// With a capital letter.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

//! Many tasks and many disputes at once on one node, by the roles themselves, and what they take.

use super::Table;
use crate::recipe;
use anyhow::{bail, Context, Result};
use lockstep_agent::chain::bundle::Bundles;
use lockstep_agent::chain::contracts::Contracts;
use lockstep_agent::chain::{Chain, Receipt, UNIT};
use lockstep_agent::keys::Signer;
use lockstep_agent::local::Local;
use lockstep_agent::pace::{short_bounds, Pace};
use lockstep_agent::roles::challenger::Audit;
use lockstep_agent::roles::solver::{Appetite, Cheating};
use lockstep_agent::roles::{Action, Challenger, Error, Solver, Submitter, Unobserved, Worker};
use lockstep_agent::run::fault::{Level, Place};
use lockstep_agent::run::workload::Workload;
use lockstep_agent::run::Device;
use lockstep_agent::store::Store;
use lockstep_interface::Terms;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Development accounts by what they do.
const DEPLOYER: &str = "//Alice";
const SUBMITTER: &str = "//Bob";
const SOLVERS: [&str; 6] = [
    "//Charlie",
    "//One",
    "//Two",
    "//Alice//stash",
    "//Bob//stash",
    "//Charlie//stash",
];
const CHEATS: [&str; 2] = ["//Dave", "//Dave//stash"];
const CHALLENGERS: [&str; 4] = ["//Eve", "//Ferdie", "//Eve//stash", "//Ferdie//stash"];

/// Transactions of the submitter that are on their way at once.
const IN_FLIGHT: u32 = 16;

/// Between two looks of somebody who has nothing to do.
const LOOK: Duration = Duration::from_secs(2);

/// How long everything may take.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Many tasks share a few solvers and a chain, so everything is given more time.
fn terms() -> Terms {
    Terms {
        ramp: 600_000,
        open: 7_200_000,
        work: 600_000,
        audit: 120_000,
        window: 120_000,
        replay: 10_000,
        clock: 900_000,
        increment: 20_000,
        ..Pace::seconds().terms
    }
}

/// How much to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Tasks, all of them open at once.
    pub tasks: u32,
    /// Wrong results among the first ones, each of which is disputed.
    pub disputes: u32,
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Load, String> {
        let parsed = text.split_once(':').and_then(|(tasks, disputes)| {
            Some(Load {
                tasks: tasks.parse().ok()?,
                disputes: disputes.parse().ok()?,
            })
        });
        parsed
            .filter(|load| load.tasks > 0 && load.disputes <= load.tasks)
            .ok_or_else(|| format!("`{text}` is no load; write TASKS:DISPUTES, like 200:20"))
    }
}

/// What one load took.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Tasks.
    pub tasks: u32,
    /// Disputes, by challengers that may have disputed the same result.
    pub disputes: u32,
    /// Transactions of everybody.
    pub transactions: u32,
    /// Bytes of calldata.
    pub bytes: usize,
    /// Weight of all messages over that of all blocks.
    pub weight_share: f64,
    /// Weight of the fullest block's messages over what an extrinsic may take.
    pub fullest_block: f64,
    /// Blocks from the first offer to the end.
    pub blocks: u32,
    /// Seconds until all tasks were open.
    pub open_seconds: f64,
    /// Seconds until all tasks were settled, paid and removed.
    pub settled_seconds: f64,
}

/// All loads.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    rows: Vec<Row>,
}

/// Runs one load after the other on `chain`, a test chain with the development accounts.
///
/// # Errors
/// When something is not settled in time, or the chain or the recipe cannot be used.
pub fn run(
    chain: &Arc<dyn Chain>,
    recipe: &Path,
    loads: &[Load],
    device: Device,
    heard: &mut dyn FnMut(&Row),
) -> Result<Report> {
    let workload = recipe::make(recipe)?.workload;
    let mut rows = Vec::new();
    for (number, load) in loads.iter().enumerate() {
        let salt = format!("load {} {number}", chain.now()?.block);
        let row = carry(chain, &workload, *load, device, &salt)?;
        heard(&row);
        rows.push(row);
    }
    Ok(Report { rows })
}

/// What everybody sent.
#[derive(Default)]
struct Sent {
    transactions: u32,
    bytes: usize,
    ref_time: u64,
    by_block: BTreeMap<u32, u64>,
    disputes: u32,
}

impl Sent {
    fn note(&mut self, receipt: &Receipt) {
        self.transactions += 1;
        self.bytes += receipt.bytes;
        self.ref_time += receipt.weight.ref_time;
        *self.by_block.entry(receipt.at.block).or_default() += receipt.weight.ref_time;
    }
}

/// What everybody shares.
struct Crowd {
    contracts: Contracts,
    dir: PathBuf,
    device: Device,
    sent: Mutex<Sent>,
    over: AtomicBool,
}

impl Crowd {
    fn worker(&self, secret: &str) -> Result<Worker> {
        let home = self.dir.join(secret.replace('/', "_"));
        let store = self.dir.join("store").display().to_string();
        Ok(Worker {
            signer: Signer::from_secret(secret, secret)?,
            contracts: self.contracts.clone(),
            store: Store::open(&store)?,
            local: Arc::new(Local::open(&home)?),
            device: self.device,
        })
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a role react until all is over.
    fn work(&self, mut react: impl FnMut() -> Result<Option<Action>, Error>) {
        while !self.over.load(Ordering::Relaxed) {
            match react() {
                Ok(Some(action)) => {
                    let mut sent = self.sent();
                    if let Some(receipt) = action.receipt() {
                        sent.note(receipt);
                    }
                    sent.disputes += u32::from(matches!(action, Action::Opened { .. }));
                }
                Ok(None) => std::thread::sleep(LOOK),
                // Two wanted the same task; the next look shows who has it.
                Err(error) => {
                    tracing::debug!(%error, "not done yet");
                    std::thread::sleep(LOOK / 4);
                }
            }
        }
    }

    /// Offers `tasks` tasks.
    fn submit(&self, submitter: &Submitter, workload: &Workload, tasks: u32) -> Result<()> {
        let next = AtomicU32::new(0);
        let store = self.dir.join("store").display().to_string();
        let offer = || -> Result<()> {
            while next.fetch_add(1, Ordering::Relaxed) < tasks {
                let (_, receipt) = submitter.submit(workload, terms(), &store)?;
                self.sent().note(&receipt);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let offers: Vec<_> = (0..IN_FLIGHT.min(tasks))
                .map(|_| scope.spawn(offer))
                .collect();
            offers.into_iter().try_for_each(|offer| {
                offer
                    .join()
                    .unwrap_or_else(|p| std::panic::resume_unwind(p))
            })
        })
    }

    /// Waits until nothing is left of any task.
    fn wait(&self, begin: Instant) -> Result<()> {
        while !self.contracts.tasks()?.is_empty() {
            if begin.elapsed() > PATIENCE {
                bail!("not everything was settled within {PATIENCE:?}");
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

fn carry(
    chain: &Arc<dyn Chain>,
    workload: &Workload,
    load: Load,
    device: Device,
    salt: &str,
) -> Result<Row> {
    let limit = chain.extrinsic_limit()?.ref_time as f64;
    let contracts = Contracts::deploy(
        chain.clone(),
        &Signer::from_secret(DEPLOYER, DEPLOYER)?,
        &Bundles::shipped()?,
        1_000,
        &short_bounds(),
        salt.as_bytes(),
        &mut |_| {},
    )?;
    let dir = std::env::temp_dir().join(format!("lockstep-load-{}", std::process::id()));
    let crowd = Crowd {
        contracts,
        dir: dir.join(salt),
        device,
        sent: Mutex::default(),
        over: AtomicBool::new(false),
    };
    let first = chain.now()?.block;
    let begin = Instant::now();
    // All tasks are offered before anybody looks.
    let mut submitter = Submitter::new(crowd.worker(SUBMITTER)?, true);
    crowd.submit(&submitter, workload, load.tasks)?;
    let open = begin.elapsed();

    // The cheats take their share of the tasks before anybody else; then everybody works.
    let taken = AtomicU32::new(0);
    let mut cheats = Vec::new();
    for (seed, secret) in CHEATS.iter().enumerate() {
        let cheating = Cheating {
            level: Level::Fold,
            place: Place::default(),
            seed: seed as u64,
        };
        cheats.push(Solver::cheat(crowd.worker(secret)?, appetite(), cheating));
    }
    let solvers: Result<Vec<_>> = SOLVERS
        .iter()
        .map(|secret| Ok(Solver::new(crowd.worker(secret)?, appetite())))
        .collect();
    let challengers: Result<Vec<_>> = CHALLENGERS
        .iter()
        .map(|secret| Ok(Challenger::new(crowd.worker(secret)?, Audit::Everything)))
        .collect();
    let (solvers, challengers) = (solvers?, challengers?);
    let (crowd, taken) = (&crowd, &taken);
    let waited = std::thread::scope(|scope| {
        for mut cheat in cheats {
            scope.spawn(move || {
                crowd.work(|| {
                    if taken.load(Ordering::Relaxed) >= load.disputes {
                        cheat.accept_nothing();
                    }
                    let action = cheat.react(&mut Unobserved);
                    if let Ok(Some(Action::Accepted { .. })) = &action {
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                    action
                });
            });
        }
        while taken.load(Ordering::Relaxed) < load.disputes && begin.elapsed() < PATIENCE {
            std::thread::sleep(LOOK);
        }
        for mut challenger in challengers {
            scope.spawn(move || crowd.work(|| challenger.react(&mut Unobserved)));
        }
        for mut solver in solvers {
            scope.spawn(move || crowd.work(|| solver.react(&mut Unobserved)));
        }
        scope.spawn(move || crowd.work(|| submitter.react()));
        let waited = crowd.wait(begin);
        crowd.over.store(true, Ordering::Relaxed);
        waited
    });
    waited.with_context(|| format!("with {} tasks", load.tasks))?;
    let settled = begin.elapsed();
    if crowd
        .contracts
        .disputes(0)?
        .iter()
        .any(|listed| listed.open)
    {
        bail!("a dispute is still open");
    }
    let blocks = chain.now()?.block - first;
    // What is left behind is in the machine's folder for such things.
    let _ = std::fs::remove_dir_all(&dir);
    let sent = crowd.sent();
    let fullest = sent.by_block.values().max().copied().unwrap_or_default();
    Ok(Row {
        tasks: load.tasks,
        disputes: sent.disputes,
        transactions: sent.transactions,
        bytes: sent.bytes,
        weight_share: sent.ref_time as f64 / (limit * f64::from(blocks.max(1))),
        fullest_block: fullest as f64 / limit,
        blocks,
        open_seconds: open.as_secs_f64(),
        settled_seconds: settled.as_secs_f64(),
    })
}

fn appetite() -> Appetite {
    Appetite {
        top_up: 1_000 * UNIT,
        ..Appetite::default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&[
            "tasks",
            "disputes",
            "transactions",
            "calldata KiB",
            "blocks",
            "weight of blocks",
            "fullest block",
            "all open, s",
            "all settled, s",
        ]);
        for row in &self.rows {
            table.row(&[
                row.tasks.to_string(),
                row.disputes.to_string(),
                row.transactions.to_string(),
                format!("{:.1}", row.bytes as f64 / 1024.0),
                row.blocks.to_string(),
                format!("{:.2}%", row.weight_share * 100.0),
                format!("{:.1}%", row.fullest_block * 100.0),
                format!("{:.0}", row.open_seconds),
                format!("{:.0}", row.settled_seconds),
            ]);
        }
        write!(f, "{table}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_written_as_tasks_and_disputes() {
        let load = Load {
            tasks: 200,
            disputes: 20,
        };
        assert_eq!("200:20".parse(), Ok(load));
        for nonsense in ["", "5", "0:0", "1:2", "a:b"] {
            assert!(nonsense.parse::<Load>().is_err(), "{nonsense}");
        }
    }
}

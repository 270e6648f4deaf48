//! The command line.

use crate::bench::gemm;
use crate::bench::load::Load;
use crate::bench::shape::Shape;
use crate::bench::train::{models::ModelName, Plan};
use crate::goal::{self, Wish};
use crate::money;
use crate::time;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use lockstep_agent::roles::challenger::Audit;
use lockstep_agent::run::fault::{Level, Place};
use lockstep_engine::device::Choice;
use lockstep_interface::{Attempt, Balance, DemandId, DisputeId, Millis, TaskId};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Have a model trained by strangers, and pay only for work that is provably right.
#[derive(Parser)]
#[command(name = "lockstep", version, after_help = crate::exit::HELP)]
pub struct Args {
    /// Folder of keys, artifacts, chain and settings.
    #[arg(long, global = true, env = "LOCKSTEP_WORK", value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Chain to use: `embedded:DIR` is a chain in this process, kept in a folder;
    /// `ws://HOST:PORT` is a node, and several with commas between are tried in turn.
    #[arg(long, global = true, visible_alias = "url", env = "LOCKSTEP_CHAIN")]
    pub chain: Option<String>,
    /// Where the contracts are: the file that `lockstep deploy` writes.
    #[arg(long, global = true, env = "LOCKSTEP_DEPLOYMENT", value_name = "FILE")]
    pub deployment: Option<PathBuf>,
    /// Where artifacts are kept: a folder or a URL.
    #[arg(long, global = true, env = "LOCKSTEP_STORE")]
    pub store: Option<String>,
    /// Who acts: the name of a key, or `//Alice` and the like on a development chain. The
    /// variable LOCKSTEP_SECRET may hold a secret instead.
    #[arg(long = "as", global = true, env = "LOCKSTEP_KEY", value_name = "KEY")]
    pub key: Option<String>,
    /// Who acts: a file with a mnemonic phrase or secret URI that nobody else can read.
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_SURI_FILE",
        value_name = "FILE",
        conflicts_with = "key"
    )]
    pub suri_file: Option<PathBuf>,
    /// How programs are run.
    #[arg(long, global = true, env = "LOCKSTEP_ENGINE")]
    pub engine: Option<EngineName>,
    /// What programs run on: auto, cpu, or cuda:0 for the first GPU; auto takes the GPU if it can.
    #[arg(long, global = true, env = "LOCKSTEP_DEVICE")]
    pub device: Option<Choice>,
    /// Threads of the CPU engine; all cores when absent.
    #[arg(long, global = true, env = "LOCKSTEP_THREADS")]
    pub threads: Option<usize>,
    /// Print JSON for scripts.
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more; twice for even more. LOCKSTEP_LOG takes a filter.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Engines by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineName {
    /// Fast, on the device.
    Fast,
    /// The protocol's evaluator: slow, the oracle.
    Reference,
}

/// Everything that `lockstep` does.
#[derive(Subcommand)]
pub enum Command {
    /// Show both endings of the story: an honest solver is paid, a cheat is caught.
    Demo(DemoArgs),
    /// Make and show keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Deploy the three contracts and remember where they are.
    Deploy(DeployArgs),
    /// What a solver stands to lose.
    #[command(subcommand)]
    Stake(StakeCommand),
    /// Make, submit and follow tasks.
    #[command(subcommand)]
    Task(TaskCommand),
    /// Be a solver: take tasks, train, defend the results.
    Work(WorkArgs),
    /// Be a challenger: run other people's results again and dispute what is wrong.
    Audit(AuditArgs),
    /// Withdraw everything that tasks, disputes and demands owe.
    Withdraw,
    /// Get a trained model, and measure it.
    #[command(subcommand)]
    Result(ResultCommand),
    /// Let a trained language model write: equal arguments give the same text everywhere.
    Sample(SampleArgs),
    /// Show the settled tasks that a task's first state comes from, back to initial weights.
    Provenance {
        /// Which task.
        task: TaskId,
    },
    /// Write a page with pictures of a task: metrics, learning rate, time per step, its program,
    /// and the way of each dispute down to one scalar step.
    Report(ReportArgs),
    /// Look inside.
    #[command(subcommand)]
    Inspect(InspectCommand),
    /// The chain's time; an embedded chain's money.
    #[command(subcommand)]
    Chain(ChainCommand),
    /// Measure this machine, beside what a person would otherwise use: products, hashing and
    /// training steps with what being verifiable adds to them. A subcommand measures one of them.
    Bench(BenchArgs),
    /// The settings file.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Arguments of `demo`.
#[derive(ClapArgs)]
pub struct DemoArgs {
    /// Play on the node that `--chain` names, with windows of seconds, and not on a chain in this
    /// process.
    #[arg(long)]
    pub node: bool,
    /// The recipe of the task.
    #[arg(long, default_value = "examples/digits/mlp.toml")]
    pub recipe: PathBuf,
    /// What kind of error the cheat plants: checkpoint, step, state, source, map or fold.
    #[arg(long, default_value = "fold")]
    pub level: Level,
    /// Where the cheat plants it: `step=137,node=12,element=5,r=3`, each part optional; what is
    /// left out is random.
    #[arg(long, default_value = "", value_name = "PLACE")]
    pub fault: Place,
    /// Seed of everything random.
    #[arg(long)]
    pub seed: Option<u64>,
    /// How much the challenger checks: `all`, or a percentage of the segments.
    #[arg(long)]
    pub audit: Option<Audit>,
    /// Lowest accuracy on held-out records, in percent.
    #[arg(long, default_value_t = 95.0, value_name = "PERCENT")]
    pub floor: f64,
}

/// `lockstep keys`.
#[derive(Subcommand)]
pub enum KeysCommand {
    /// Make a key and show its mnemonic phrase once.
    New {
        /// What to call it.
        name: String,
    },
    /// Keep an existing secret, typed at a prompt.
    Import {
        /// What to call it.
        name: String,
    },
    /// Show a key's address.
    Show {
        /// Which key.
        name: String,
    },
    /// Show all keys.
    List,
}

/// Arguments of `deploy`.
#[derive(ClapArgs)]
pub struct DeployArgs {
    /// Distinguishes deployments by the same account.
    #[arg(long, default_value = "")]
    pub salt: String,
    /// Time from the request to unbond stake to its withdrawal.
    #[arg(long, default_value = "7d", value_parser = time::parse)]
    pub unbonding: Millis,
    /// Let terms be as short as seconds. For test chains: real work needs real windows.
    #[arg(long)]
    pub short_terms: bool,
    /// Check a deployment instead of making one: code and wiring of the contracts.
    #[arg(long)]
    pub verify: bool,
}

/// `lockstep stake`.
#[derive(Subcommand)]
pub enum StakeCommand {
    /// Add stake.
    Deposit {
        /// Tokens.
        #[arg(value_parser = money::parse)]
        amount: Balance,
    },
    /// Start unbonding free stake.
    Unbond {
        /// Tokens.
        #[arg(value_parser = money::parse)]
        amount: Balance,
    },
    /// Pay out stake that has been unbonded.
    Withdraw,
    /// Show stake.
    Show,
}

/// `lockstep task`.
#[derive(Subcommand)]
pub enum TaskCommand {
    /// Build a task from a recipe, put its files into the store, and say what it takes.
    New {
        /// The recipe, a TOML file.
        recipe: PathBuf,
        /// Go on where this settled task ended, instead of from initial weights. The recipe's
        /// model and optimizer must be those of that task.
        #[arg(long, value_name = "TASK")]
        after: Option<TaskId>,
    },
    /// Offer a task that `task new` made.
    Submit(SubmitArgs),
    /// Show all tasks on the chain.
    List,
    /// Show a task, its attempts and disputes.
    Show {
        /// Which task.
        task: TaskId,
    },
    /// Take back an open task.
    Cancel {
        /// Which task.
        task: TaskId,
    },
    /// Settle a task whose window has passed.
    Finalize {
        /// Which task.
        task: TaskId,
    },
    /// Look after one's tasks until stopped: expire, settle, withdraw.
    Watch(WatchArgs),
}

/// Arguments of `task watch`.
#[derive(ClapArgs)]
pub struct WatchArgs {
    /// How long to stay.
    #[command(flatten)]
    pub stay: LoopArgs,
    /// Remove tasks that are over, which refunds their storage deposit. Their results can no
    /// longer be downloaded.
    #[arg(long)]
    pub prune: bool,
}

/// Arguments of `task submit`.
#[derive(ClapArgs)]
pub struct SubmitArgs {
    /// The task: its name or the beginning of its hash, as `task new` printed it.
    pub task: String,
    /// Price at which it opens, in tokens.
    #[arg(long, default_value = "10", value_parser = money::parse)]
    pub reward: Balance,
    /// Highest price, in tokens; as `--reward` when absent.
    #[arg(long, value_parser = money::parse)]
    pub ceiling: Option<Balance>,
    /// Stake that a solver locks, in tokens.
    #[arg(long, default_value = "100", value_parser = money::parse)]
    pub stake: Balance,
    /// Bond that a challenger posts, in tokens.
    #[arg(long, default_value = "30", value_parser = money::parse)]
    pub bond: Balance,
    /// Fee of a demand, in tokens.
    #[arg(long, default_value = "1", value_parser = money::parse)]
    pub demand_fee: Balance,
    /// Time over which the price rises to its ceiling.
    #[arg(long, default_value = "1h", value_parser = time::parse)]
    pub ramp: Millis,
    /// Time for which it can be accepted.
    #[arg(long, default_value = "7d", value_parser = time::parse)]
    pub open: Millis,
    /// Time from acceptance to the commit deadline.
    #[arg(long, default_value = "24h", value_parser = time::parse)]
    pub work: Millis,
    /// Time after acceptance before which no window ends.
    #[arg(long, default_value = "48h", value_parser = time::parse)]
    pub audit: Millis,
    /// Time after the commit before which no window ends.
    #[arg(long, default_value = "24h", value_parser = time::parse)]
    pub window: Millis,
    /// Time for which one dispute occupies an honest solver at worst.
    #[arg(long, default_value = "5m", value_parser = time::parse)]
    pub replay: Millis,
    /// Time on each side's chess clock.
    #[arg(long, default_value = "4h", value_parser = time::parse)]
    pub clock: Millis,
    /// Time given back for each move of a dispute.
    #[arg(long, default_value = "1m", value_parser = time::parse)]
    pub increment: Millis,
    /// Blocks that every turn lasts at least.
    #[arg(long, default_value_t = 20)]
    pub min_blocks: u32,
    /// What the final state must prove to earn the whole price, such as "test_accuracy >= 0.95".
    #[arg(long, value_name = "METRIC >= NUMBER", value_parser = goal::parse)]
    pub goal: Option<Wish>,
    /// What is paid of the price when the goal is missed.
    #[arg(long, value_name = "SHARE", default_value = "50%", requires = "goal",
          value_parser = goal::parse_share)]
    pub otherwise: u16,
}

/// How long a role stays, and who may watch it.
#[derive(ClapArgs, Clone, Copy)]
pub struct LoopArgs {
    /// Stop when nothing is due, instead of waiting for more.
    #[arg(long)]
    pub once: bool,
    /// Seconds between looks at the chain when nothing is due.
    #[arg(long, default_value_t = 6, value_name = "SECONDS")]
    pub poll: u64,
    /// Serve Prometheus metrics at http://ADDRESS/metrics and the state of health at /health.
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,
}

/// Arguments of `work`.
#[derive(ClapArgs)]
pub struct WorkArgs {
    /// How long to stay.
    #[command(flatten)]
    pub stay: LoopArgs,
    /// Lowest price for a task, in tokens.
    #[arg(long, value_parser = money::parse)]
    pub min_price: Option<Balance>,
    /// Stake that may be deposited for a task when the free stake does not suffice, in tokens.
    #[arg(long, value_parser = money::parse)]
    pub top_up: Option<Balance>,
    /// Cheat, for demonstrations: plant an error of this level.
    #[arg(long, value_name = "LEVEL", help_heading = "Demonstration")]
    pub cheat: Option<Level>,
    /// Where to plant it: `step=137,node=12,element=5,r=3`.
    #[arg(
        long,
        default_value = "",
        requires = "cheat",
        help_heading = "Demonstration"
    )]
    pub fault: Place,
    /// Seed of what `--fault` leaves open.
    #[arg(
        long,
        default_value_t = 0,
        requires = "cheat",
        help_heading = "Demonstration"
    )]
    pub seed: u64,
}

/// Arguments of `audit`.
#[derive(ClapArgs)]
pub struct AuditArgs {
    /// How long to stay.
    #[command(flatten)]
    pub stay: LoopArgs,
    /// How much to check: `all`, or a percentage of the segments.
    #[arg(long)]
    pub audit: Option<Audit>,
}

/// `lockstep result`.
#[derive(Subcommand)]
pub enum ResultCommand {
    /// Write a task's final state as a safetensors file.
    Download {
        /// Which task.
        #[arg(long)]
        task: TaskId,
        /// Which attempt; the latest when absent.
        #[arg(long)]
        attempt: Option<Attempt>,
        /// Where to.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Measure a task's final state on the recipe's held-out records.
    Evaluate {
        /// Which task.
        #[arg(long)]
        task: TaskId,
        /// The recipe; the one that `task new` read when absent.
        #[arg(long)]
        recipe: Option<PathBuf>,
        /// Fail below this accuracy, in percent.
        #[arg(long, value_name = "PERCENT")]
        floor: Option<f64>,
    },
}

/// Arguments of `sample`.
#[derive(ClapArgs)]
pub struct SampleArgs {
    /// Which task.
    #[arg(long)]
    pub task: TaskId,
    /// The recipe; the one that `task new` read when absent.
    #[arg(long)]
    pub recipe: Option<PathBuf>,
    /// Text to go on from; the beginning of a line when absent.
    #[arg(long, default_value = "\n", hide_default_value = true)]
    pub prompt: String,
    /// Tokens to write.
    #[arg(long, default_value_t = 400)]
    pub length: usize,
    /// What logits are divided by: below 1 bolder, above 1 more varied; 0 takes the most
    /// probable token every time.
    #[arg(long, default_value_t = 0.8)]
    pub temperature: f32,
    /// Only the most probable tokens are in question, as many as this.
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Seed of the draws.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Arguments of `report`.
#[derive(ClapArgs)]
pub struct ReportArgs {
    /// Which task.
    #[arg(long)]
    pub task: TaskId,
    /// The page; the name of each picture's PNG file beside it begins in the same way.
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    pub output: PathBuf,
    /// How long running the task again may take, which gives curves of every step. When it would
    /// take longer, the curves are those of the published checkpoints.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time::parse)]
    pub replay: Millis,
}

/// `lockstep inspect`.
#[derive(Subcommand)]
pub enum InspectCommand {
    /// The nodes of a program: what they are, their shapes, operations and bytes.
    Program {
        /// A recipe, or a task that `task new` made.
        what: String,
    },
    /// A dispute's position.
    Dispute {
        /// Which dispute.
        dispute: DisputeId,
    },
    /// A demand.
    Demand {
        /// Which demand.
        demand: DemandId,
    },
}

/// `lockstep chain`.
#[derive(Subcommand)]
pub enum ChainCommand {
    /// Show height and time.
    Now,
    /// Let time pass on an embedded chain.
    Advance {
        /// Minutes.
        minutes: u64,
    },
    /// Give tokens to a key on an embedded chain.
    Fund {
        /// Whom: the name of a key or an address.
        who: String,
        /// Tokens.
        #[arg(value_parser = money::parse)]
        amount: Balance,
    },
}

/// `lockstep bench`.
#[derive(ClapArgs)]
pub struct BenchArgs {
    /// A Python with PyTorch, to compare with; python3 when absent.
    #[arg(long, global = true, env = "LOCKSTEP_PYTHON", value_name = "PROGRAM")]
    pub python: Option<PathBuf>,
    /// Numbers of threads.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    pub threads: Vec<usize>,
    /// One table instead of all.
    #[command(subcommand)]
    pub command: Option<BenchCommand>,
}

/// The tables of `lockstep bench`.
#[derive(Subcommand)]
pub enum BenchCommand {
    /// Canonical-order matrix products beside OpenBLAS and MKL.
    Gemm {
        /// N, or ROWSxCOLSxSTEPS[*BATCH], with :tn or :nt where the left or the right factor is
        /// stored transposed.
        #[arg(long, value_delimiter = ',', default_values = gemm::SHAPES, value_name = "SHAPES")]
        shapes: Vec<Shape>,
        /// Numbers of threads.
        #[arg(long, value_delimiter = ',', default_value = "1,2")]
        threads: Vec<usize>,
    },
    /// BLAKE3 of tensors beside the library alone.
    Hash {
        /// Sizes in MiB.
        #[arg(long, value_delimiter = ',', default_value = "1,64")]
        mebibytes: Vec<usize>,
    },
    /// Training steps of a recipe.
    Step {
        /// The recipe.
        #[arg(long, default_value = "examples/digits/mlp.toml")]
        recipe: PathBuf,
        /// Numbers of threads.
        #[arg(long, value_delimiter = ',', default_value = "1,2")]
        threads: Vec<usize>,
    },
    /// Four models beside PyTorch, each measurement in a process of its own, and what being
    /// verifiable adds to their steps.
    Train(TrainArgs),
    /// Where the time of a model's step goes, node by node.
    Nodes {
        /// Which model.
        model: ModelName,
        /// Number of threads.
        #[arg(long, default_value_t = 1)]
        threads: usize,
        /// How long to measure.
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
    },
    /// Products and layers in 8-bit integers beside floats.
    Int8,
    /// One of the processes of `train`.
    #[command(hide = true)]
    Alone {
        /// Which model.
        model: ModelName,
        /// Number of threads.
        threads: usize,
        /// How long to measure.
        seconds: f64,
    },
    /// A dispute: moves, calldata and gas, here and for larger tasks.
    Dispute {
        /// The recipe.
        #[arg(long, default_value = "examples/digits/mlp.toml")]
        recipe: PathBuf,
        /// Seed of the planted error.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Many tasks and disputes at once on the test chain that `--chain` names.
    Load {
        /// The recipe.
        #[arg(long, default_value = "examples/digits/mlp.toml")]
        recipe: PathBuf,
        /// How much, one after the other.
        #[arg(
            long,
            value_delimiter = ',',
            default_value = "10:2",
            value_name = "TASKS:DISPUTES"
        )]
        loads: Vec<Load>,
    },
}

/// `lockstep bench train`.
#[derive(ClapArgs)]
pub struct TrainArgs {
    /// Which models.
    #[arg(long, value_delimiter = ',', default_values = ["digits", "mlp", "resnet", "gpt"])]
    pub models: Vec<ModelName>,
    /// Numbers of threads.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    pub threads: Vec<usize>,
    /// How long each process trains.
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Processes of each side, in turns.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
}

impl From<TrainArgs> for Plan {
    fn from(args: TrainArgs) -> Plan {
        Plan {
            models: args.models,
            threads: args.threads,
            seconds: args.seconds,
            rounds: args.rounds,
        }
    }
}

/// `lockstep config`.
#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Write a commented settings file.
    Init,
    /// Show the settings in force.
    Show,
}

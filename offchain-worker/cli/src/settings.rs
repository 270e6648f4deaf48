//! Settings: flags over environment over the file over defaults.

use crate::args::{Args, EngineName};
use crate::money;
use anyhow::{Context, Result};
use lockstep_agent::roles::challenger::Audit;
use lockstep_agent::roles::solver::Appetite;
use lockstep_agent::run::Device;
use lockstep_engine::cpu::Options;
use lockstep_engine::device::Choice;
use lockstep_interface::Balance;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The settings file as `config init` writes it.
pub const TEMPLATE: &str = r#"# Settings of `lockstep`. Flags and environment variables override them.

# The chain: `embedded:DIR` is a chain in this process, kept in a folder; `ws://HOST:PORT` is a
# node, and several with commas between are tried in turn.
# chain = "embedded:/home/me/.lockstep/chain"

# Where the contracts are: the file that `lockstep deploy` writes.
# deployment = "/home/me/.lockstep/deployment.json"

# Where artifacts are kept: a folder, or a URL such as s3://bucket/prefix (builds with `cloud`).
# store = "/home/me/.lockstep/store"

# Who acts when `--as` is absent: the name of a key file. Or a file with a mnemonic phrase or
# secret URI that nobody else can read.
# key = "solver"
# suri_file = "/home/me/.lockstep/suri"

# What programs run on: "auto" (a GPU if one can be used), "cpu", "cuda:0"; and on how many threads
# of the processor (all cores when absent). The engine "reference" is slow and right by definition.
# device = "auto"
# threads = 8
# engine = "fast"

[solver]
# Lowest price for a task, in tokens.
min_price = "1"
# Lowest price for 10^12 scalar operations, in tokens.
price_per_tera = "0"
# Scalar operations that this machine does in a second; longer tasks than their terms allow are
# passed over.
speed = 10_000_000_000
# Bytes that a task's values may take.
memory = 8_589_934_592
# Highest stake to put at risk for one task, in tokens.
max_stake = "1000"
# Stake that may be deposited for a task when the free stake does not suffice, in tokens.
top_up = "0"

[challenger]
# How much of a commitment is run again: "all", or a percentage of its segments.
audit = "all"
"#;

/// The file's content.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    chain: Option<String>,
    store: Option<String>,
    key: Option<String>,
    deployment: Option<PathBuf>,
    suri_file: Option<PathBuf>,
    engine: Option<EngineName>,
    device: Option<String>,
    threads: Option<usize>,
    #[serde(default)]
    solver: SolverFile,
    #[serde(default)]
    challenger: ChallengerFile,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SolverFile {
    min_price: Option<String>,
    price_per_tera: Option<String>,
    speed: Option<u64>,
    memory: Option<u64>,
    max_stake: Option<String>,
    top_up: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ChallengerFile {
    audit: Option<String>,
}

/// The settings in force.
#[derive(Debug)]
pub struct Settings {
    /// Folder of keys, artifacts, chain and settings.
    pub home: PathBuf,
    /// The chain.
    pub chain: String,
    /// Where artifacts are kept.
    pub store: String,
    /// Who acts.
    pub key: Option<String>,
    /// Who acts: a file with a secret.
    pub suri_file: Option<PathBuf>,
    /// Where the contracts are, when it is said.
    pub deployment: Option<PathBuf>,
    /// What programs run on.
    pub device: Device,
    /// What a solver wants.
    pub appetite: Appetite,
    /// How much a challenger checks.
    pub audit: Audit,
}

impl Settings {
    /// Puts together flags, environment, file and defaults.
    ///
    /// # Errors
    /// When the file is malformed.
    pub fn load(args: &Args) -> Result<Settings> {
        let home = match &args.home {
            Some(home) => home.clone(),
            None => default_home()?,
        };
        let path = home.join("config.toml");
        let file: File = match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .with_context(|| format!("in the settings file {}", path.display()))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => File::default(),
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
        };
        let inside = |name: &str| home.join(name).display().to_string();
        let options = Options {
            threads: args.threads.or(file.threads),
            ..Options::default()
        };
        let choice = match (args.device, &file.device) {
            (Some(choice), _) => choice,
            (None, Some(text)) => named(text.parse::<Choice>(), "device")?,
            (None, None) => Choice::default(),
        };
        let device = match args.engine.or(file.engine).unwrap_or(EngineName::Fast) {
            EngineName::Fast => Device::Fast(choice, options),
            EngineName::Reference => Device::Reference,
        };
        let audit = match &file.challenger.audit {
            Some(text) => named(text.parse::<Audit>(), "challenger.audit")?,
            None => Audit::Everything,
        };
        Ok(Settings {
            chain: pick(&args.chain, file.chain, || {
                format!("embedded:{}", inside("chain"))
            }),
            store: pick(&args.store, file.store, || inside("store")),
            suri_file: match args.key {
                Some(_) => None,
                None => args.suri_file.clone().or(file.suri_file),
            },
            key: match args.suri_file {
                Some(_) => None,
                None => args.key.clone().or(file.key),
            },
            deployment: args.deployment.clone().or(file.deployment),
            device,
            appetite: appetite(&file.solver)?,
            audit,
            home,
        })
    }

    /// The settings as a file would say them.
    ///
    /// # Errors
    /// When they cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        let (engine, device, threads) = match self.device {
            Device::Fast(choice, options) => (EngineName::Fast, Some(choice), options.threads),
            Device::Reference => (EngineName::Reference, None, None),
        };
        let file = File {
            chain: Some(self.chain.clone()),
            store: Some(self.store.clone()),
            key: self.key.clone(),
            deployment: self.deployment.clone(),
            suri_file: self.suri_file.clone(),
            engine: Some(engine),
            device: device.map(|choice| choice.to_string()),
            threads,
            solver: SolverFile {
                min_price: Some(money::show(self.appetite.min_price)),
                price_per_tera: Some(money::show(self.appetite.price_per_tera)),
                speed: Some(self.appetite.speed),
                memory: Some(self.appetite.memory),
                max_stake: Some(money::show(self.appetite.max_stake)),
                top_up: Some(money::show(self.appetite.top_up)),
            },
            challenger: ChallengerFile {
                audit: Some(match self.audit {
                    Audit::Everything => "all".into(),
                    Audit::Sample(fraction) => format!("{}%", fraction * 100.0),
                }),
            },
        };
        Ok(toml::to_string(&file)?)
    }
}

/// Writes the commented settings file.
///
/// # Errors
/// When there is one already, or it cannot be written.
pub fn init(home: &Path) -> Result<PathBuf> {
    let path = home.join("config.toml");
    std::fs::create_dir_all(home).with_context(|| format!("cannot make {}", home.display()))?;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .open(&path)
        .with_context(|| format!("cannot make {}; an existing file is kept", path.display()))?;
    std::io::Write::write_all(&mut file, TEMPLATE.as_bytes())?;
    Ok(path)
}

fn default_home() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set; use --home")?;
    Ok(PathBuf::from(home).join(".lockstep"))
}

fn pick(flag: &Option<String>, file: Option<String>, default: impl Fn() -> String) -> String {
    flag.clone().or(file).unwrap_or_else(default)
}

fn appetite(file: &SolverFile) -> Result<Appetite> {
    let default = Appetite::default();
    let amount = |text: &Option<String>, key: &str, default: Balance| match text {
        Some(text) => named(money::parse(text), key),
        None => Ok(default),
    };
    Ok(Appetite {
        min_price: amount(&file.min_price, "solver.min_price", default.min_price)?,
        price_per_tera: amount(
            &file.price_per_tera,
            "solver.price_per_tera",
            default.price_per_tera,
        )?,
        speed: file.speed.unwrap_or(default.speed),
        memory: file.memory.unwrap_or(default.memory),
        max_stake: amount(&file.max_stake, "solver.max_stake", default.max_stake)?,
        top_up: amount(&file.top_up, "solver.top_up", default.top_up)?,
    })
}

fn named<T>(result: Result<T, String>, key: &str) -> Result<T> {
    result.map_err(|reason| anyhow::anyhow!("`{key}` in the settings file: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use lockstep_agent::chain::UNIT;

    #[test]
    fn the_template_is_a_settings_file() {
        let file: File = toml::from_str(TEMPLATE).unwrap();
        let appetite = appetite(&file.solver).unwrap();
        assert_eq!(appetite.min_price, UNIT);
        assert_eq!(file.challenger.audit.as_deref(), Some("all"));
    }

    #[test]
    fn a_flag_overrides_the_file_and_the_file_the_default() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("config.toml"),
            "store = \"/from/file\"\nkey = \"k\"\n",
        )
        .unwrap();
        let home = dir.path().to_str().unwrap();
        let load = |more: &[&str]| {
            let line = [&["lockstep", "--home", home, "config", "show"], more].concat();
            Settings::load(&Args::parse_from(line)).unwrap()
        };
        assert_eq!(load(&[]).store, "/from/file");
        assert_eq!(load(&["--store", "/from/flag"]).store, "/from/flag");
        assert_eq!(load(&[]).key.as_deref(), Some("k"));
    }

    #[test]
    fn the_device_is_what_the_flag_says_or_the_file_or_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        let choice = |more: &[&str]| {
            let line = [&["lockstep", "--home", home, "config", "show"], more].concat();
            match Settings::load(&Args::parse_from(line)).unwrap().device {
                Device::Fast(choice, _) => choice,
                Device::Reference => panic!("the reference was not asked for"),
            }
        };
        assert_eq!(choice(&[]), Choice::Automatic);
        std::fs::write(dir.path().join("config.toml"), "device = \"cuda:1\"\n").unwrap();
        assert_eq!(choice(&[]), Choice::Cuda(1));
        assert_eq!(choice(&["--device", "cpu"]), Choice::Cpu);
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), "stor = \"x\"\n").unwrap();
        let home = dir.path().to_str().unwrap();
        let args = Args::parse_from(["lockstep", "--home", home, "config", "show"]);
        assert!(Settings::load(&args).is_err());
    }
}

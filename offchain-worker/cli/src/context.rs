//! What a command needs: the chain, the contracts, the store and a key, opened when asked for.

use crate::args::DeployArgs;
use crate::deployment::Deployment;
use crate::recipe::Made;
use crate::settings::Settings;
use anyhow::{bail, Context as _, Result};
use lockstep_agent::chain::bundle::Bundles;
use lockstep_agent::chain::contracts::{Contracts, Deployed};
use lockstep_agent::chain::embedded::{Clock, Embedded};
use lockstep_agent::chain::node::{Node, Options};
use lockstep_agent::chain::Chain;
use lockstep_agent::keys::{address, Keyring, Signer, SECRET_VARIABLE};
use lockstep_agent::local::Local;
use lockstep_agent::pace::short_bounds;
use lockstep_agent::roles::Worker;
use lockstep_agent::store::Store;
use lockstep_interface::Bounds;
use lockstep_protocol::task::TaskSpec;
use lockstep_protocol::Hash;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One run of the command line.
pub struct Context {
    /// The settings in force.
    pub settings: Settings,
    /// Whether to print JSON.
    pub json: bool,
}

/// What `task new` remembers of a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The recipe's file name without its ending.
    pub name: String,
    /// The recipe, to evaluate the result.
    pub recipe: PathBuf,
    /// Hash of the specification.
    pub hash: String,
    /// The specification, encoded, in hexadecimal.
    pub spec: String,
    /// Names of the state's tensors, in slot order.
    pub slots: Vec<String>,
}

impl Context {
    /// The chain that the settings name.
    ///
    /// # Errors
    /// When it is no chain, cannot be reached, or its folder cannot be used.
    pub fn chain(&self) -> Result<Arc<dyn Chain>> {
        Ok(self.network()?.0)
    }

    /// The chain, and the hash of its first block when it is that of a node.
    fn network(&self) -> Result<(Arc<dyn Chain>, Option<Hash>)> {
        if self.embedded_dir().is_some() {
            return Ok((self.embedded()?, None));
        }
        let urls: Vec<String> = self.settings.chain.split(',').map(str::to_owned).collect();
        let node = Node::connect(&urls, Options::default())?;
        let genesis = node.genesis();
        Ok((Arc::new(node), Some(genesis)))
    }

    /// The embedded chain that the settings name.
    ///
    /// # Errors
    /// When the settings name another kind of chain, or its folder cannot be used.
    pub fn embedded(&self) -> Result<Arc<Embedded>> {
        let Some(dir) = self.embedded_dir() else {
            bail!(
                "this is for embedded chains only, and --chain is `{}`",
                self.settings.chain
            );
        };
        Ok(Arc::new(Embedded::open(dir, Clock::Wall)?))
    }

    fn embedded_dir(&self) -> Option<&Path> {
        self.settings.chain.strip_prefix("embedded:").map(Path::new)
    }

    /// The deployed contracts, which are checked: they are on this chain, are the versions that
    /// this worker knows, and know each other.
    ///
    /// # Errors
    /// When nothing is deployed, the check fails, or the chain cannot be used.
    pub fn contracts(&self) -> Result<Contracts> {
        let path = self.deployment_path();
        let deployment = Deployment::read(&path)?;
        let (chain, network) = self.network()?;
        deployment.check_network(&path, network)?;
        let contracts = Contracts::new(chain, deployment.contracts);
        contracts.verify(&Bundles::shipped()?)?;
        Ok(contracts)
    }

    /// Deploys the contracts, or finishes a deployment that was begun, and remembers where they
    /// are.
    ///
    /// # Errors
    /// The first step that fails, or when the file cannot be written.
    pub fn deploy(
        &self,
        bundles: &Bundles,
        args: &DeployArgs,
        done: &mut dyn FnMut(Deployed),
    ) -> Result<(Deployment, PathBuf)> {
        let (chain, network) = self.network()?;
        let bounds = match args.short_terms {
            true => short_bounds(),
            false => Bounds::default(),
        };
        let (signer, salt) = (self.signer()?, args.salt.as_bytes());
        let unbonding = args.unbonding;
        let contracts = Contracts::deploy(chain, &signer, bundles, unbonding, &bounds, salt, done)?;
        contracts.verify(bundles)?;
        let block = contracts.now()?.block;
        let deployment = Deployment::new(network, block, *contracts.addresses(), bundles);
        let path = self.deployment_path();
        write(&path, &serde_json::to_vec_pretty(&deployment)?)?;
        Ok((deployment, path))
    }

    /// A deployment on an embedded chain is kept beside it.
    fn deployment_path(&self) -> PathBuf {
        match (&self.settings.deployment, self.embedded_dir()) {
            (Some(path), _) => path.clone(),
            (None, Some(dir)) => dir.join("deployment.json"),
            (None, None) => self.settings.home.join("deployment.json"),
        }
    }

    /// The artifacts.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn store(&self) -> Result<Store> {
        Ok(Store::open(&self.settings.store)?)
    }

    /// The key files.
    pub fn keyring(&self) -> Keyring {
        Keyring::new(self.settings.home.join("keys"))
    }

    /// Who acts.
    ///
    /// # Errors
    /// When nobody is named or the key cannot be had.
    pub fn signer(&self) -> Result<Signer> {
        let Settings { key, suri_file, .. } = &self.settings;
        match (key, suri_file, std::env::var(SECRET_VARIABLE)) {
            (Some(name), _, _) => Ok(self.keyring().load(name)?),
            (None, Some(path), _) => Ok(Signer::from_file(path)?),
            (None, None, Ok(secret)) => Ok(Signer::from_secret(SECRET_VARIABLE, &secret)?),
            (None, None, Err(_)) => bail!(
                "who acts? Name a key with `--as NAME` (`lockstep keys list` shows them), a \
                 secret's file with `--suri-file FILE`, or `--as //Alice` on a development chain"
            ),
        }
    }

    /// A worker for whoever acts, with a memory for this `purpose` alone, so that one account can
    /// be several commands at once.
    ///
    /// # Errors
    /// When any of its parts cannot be had.
    pub fn worker(&self, purpose: &str) -> Result<Worker> {
        let signer = self.signer()?;
        let dir = self
            .settings
            .home
            .join("workers")
            .join(address(&signer.account()))
            .join(purpose);
        Ok(Worker {
            contracts: self.contracts()?,
            store: self.store()?,
            local: Arc::new(Local::open(&dir)?),
            device: self.settings.device,
            signer,
        })
    }

    /// Puts a built recipe's files into the store and remembers it.
    ///
    /// # Errors
    /// When the store fails or the manifest cannot be written.
    pub fn remember(&self, path: &Path, made: &Made) -> Result<Manifest> {
        made.workload.publish(&self.store()?)?;
        let spec = &made.workload.spec;
        let manifest = Manifest {
            name: path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            recipe: std::path::absolute(path)?,
            hash: hex::encode(spec.hash()),
            spec: hex::encode(scale::Encode::encode(spec)),
            slots: made
                .task
                .built
                .slots
                .iter()
                .map(|slot| slot.name.clone())
                .collect(),
        };
        let file = self.manifests().join(format!("{}.json", manifest.hash));
        write(&file, &serde_json::to_vec_pretty(&manifest)?)?;
        Ok(manifest)
    }

    /// The task that `task new` made under this name or the beginning of this hash.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn manifest(&self, name: &str) -> Result<Manifest> {
        let fits = |m: &Manifest| m.name == name || m.hash.starts_with(name);
        let mut found: Vec<Manifest> = self.all_manifests()?.into_iter().filter(fits).collect();
        match (found.pop(), found.len()) {
            (Some(manifest), 0) => Ok(manifest),
            (None, _) => bail!("no task is called `{name}`; make it with `lockstep task new`"),
            _ => bail!("several tasks are called `{name}`; use the beginning of the hash"),
        }
    }

    /// The manifest of a specification, when `task new` made it here.
    ///
    /// # Errors
    /// When the manifests cannot be read.
    pub fn manifest_of(&self, spec: &TaskSpec) -> Result<Option<Manifest>> {
        let hash = hex::encode(spec.hash());
        Ok(self.all_manifests()?.into_iter().find(|m| m.hash == hash))
    }

    fn all_manifests(&self) -> Result<Vec<Manifest>> {
        let dir = self.manifests();
        let entries = match std::fs::read_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("cannot read {}", dir.display()))?,
        };
        let mut manifests = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let text = std::fs::read(&path)?;
            manifests.push(
                serde_json::from_slice(&text).with_context(|| format!("in {}", path.display()))?,
            );
        }
        Ok(manifests)
    }

    fn manifests(&self) -> PathBuf {
        self.settings.home.join("tasks")
    }
}

impl Manifest {
    /// The specification.
    ///
    /// # Errors
    /// When the manifest is damaged.
    pub fn spec(&self) -> Result<TaskSpec> {
        let damaged = "the task's manifest is damaged; run `lockstep task new` again";
        let bytes = hex::decode(&self.spec).context(damaged)?;
        lockstep_protocol::encoding::decode_canonical(&bytes)
            .map_err(anyhow::Error::msg)
            .context(damaged)
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let new = path.with_extension("new");
    std::fs::write(&new, bytes)
        .and_then(|()| std::fs::rename(&new, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

//! The endpoints of one network as one thing that answers: connection, failover, and the block
//! that is read.

use super::link::{Block, Fault, Link};
use super::rotation::Rotation;
use super::runtime::{self, Item, Runtime};
use super::{Finality, Options};
use crate::chain::{Error, Funds, Now};
use crate::keys::Account;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use subxt::utils::H256;
use tokio::time::{sleep, timeout_at, Instant};
use url::Url;

/// How long the slower endpoints are waited for at the start.
const GRACE: Duration = Duration::from_secs(2);

/// Endpoints of one network.
pub struct Network {
    urls: Vec<String>,
    options: Options,
    genesis: H256,
    link: tokio::sync::Mutex<Option<Arc<Link>>>,
    links: AtomicU64,
    state: Mutex<State>,
    /// The height below which no final block is read any more.
    seen: AtomicU32,
    /// The block that was read first.
    start: H256,
}

struct State {
    rotation: Rotation,
    /// What happened last at each endpoint.
    reasons: Vec<String>,
    /// The block that was read last.
    head: Option<Block>,
    /// Runtimes by their versions.
    runtimes: BTreeMap<(u32, u32), Arc<Runtime>>,
}

impl Network {
    /// Connects, after asking all endpoints that can be reached which network they are on.
    pub async fn connect(urls: &[String], options: Options) -> Result<Network, Error> {
        if urls.is_empty() {
            return Err(Error::Url {
                url: String::new(),
                reason: "no endpoint is given".into(),
            });
        }
        for url in urls {
            check(url)?;
        }
        let until = Instant::now() + options.connecting;
        let mut network = Network {
            urls: urls.to_vec(),
            genesis: options.genesis.map(H256).unwrap_or_default(),
            link: tokio::sync::Mutex::new(None),
            links: AtomicU64::new(0),
            state: Mutex::new(State {
                rotation: Rotation::new(urls.len()),
                reasons: vec![NO_ANSWER.to_owned(); urls.len()],
                head: None,
                runtimes: BTreeMap::new(),
            }),
            seen: AtomicU32::new(0),
            start: H256::zero(),
            options,
        };
        network.genesis = network.agree(until).await?;
        // A node that was just started compiles its runtime before it answers more.
        network.start = network.refuse_other_chains(network.patience()).await?;
        Ok(network)
    }

    /// The network that all reachable endpoints are on; they must be on one. Once one has
    /// answered, the others get little time.
    async fn agree(&self, until: Instant) -> Result<H256, Error> {
        loop {
            let grace = Instant::now() + GRACE;
            let endpoints = 0..self.urls.len();
            let mut probes: FuturesUnordered<_> = endpoints
                .map(|endpoint| async move { (endpoint, self.probe(endpoint).await) })
                .collect();
            let mut agreed = self.options.genesis.map(H256);
            let mut reached = false;
            loop {
                let patience = if reached { grace.min(until) } else { until };
                let Ok(Some((endpoint, found))) = timeout_at(patience, probes.next()).await else {
                    break;
                };
                let Some(found) = found else { continue };
                let expected = *agreed.get_or_insert(found);
                if found != expected {
                    return Err(self.other_network(endpoint, found, expected));
                }
                reached = true;
            }
            if let (Some(genesis), true) = (agreed, reached) {
                return Ok(genesis);
            }
            let pause = self.lock().rotation.fail_all();
            self.pause(pause, until).await?;
        }
    }

    async fn probe(&self, endpoint: usize) -> Option<H256> {
        let ask = async {
            let link = self.dial(endpoint).await?;
            link.genesis().await
        };
        let reason = match ask.await {
            Ok(genesis) => return Some(genesis),
            Err(fault) => text(&fault),
        };
        tracing::debug!(
            url = self.urls[endpoint],
            reason,
            "endpoint is not reachable"
        );
        self.lock().reasons[endpoint] = reason;
        None
    }

    /// Checks that this is a chain that can be worked with. Returns the block that it was seen at.
    async fn refuse_other_chains(&self, until: Instant) -> Result<H256, Error> {
        self.ask(until, async |link| {
            let head = self.head(link).await?;
            let runtime = self.runtime(link, head.hash).await?;
            let tries = link.tries_contracts(head.hash).await?.unwrap_or(true);
            if !(runtime.has_contracts() && tries) {
                return Err(Fault::Final(Error::NoContracts {
                    url: self.urls[link.endpoint].clone(),
                }));
            }
            runtime.check_sizes()?;
            Ok(head.hash)
        })
        .await
    }

    /// The hash of the first block.
    pub fn genesis(&self) -> H256 {
        self.genesis
    }

    /// The block that was read first: whatever was decided was decided knowing it.
    pub fn start(&self) -> H256 {
        self.start
    }

    /// The endpoint in use.
    pub fn endpoint(&self) -> &str {
        &self.urls[self.lock().rotation.current()]
    }

    /// Until when a question that is asked now is waited for.
    pub fn patience(&self) -> Instant {
        Instant::now() + self.options.patience
    }

    /// Asks a question, at another endpoint when one fails, until it is answered or the time is
    /// over. The question must not do harm when it is asked twice.
    pub async fn ask<T>(
        &self,
        until: Instant,
        question: impl AsyncFn(&Link) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let mut forgetful = BTreeSet::new();
        loop {
            let link = self.link(until).await?;
            let fault = match timeout_at(until, question(&link)).await {
                Ok(Ok(answer)) => {
                    self.lock().rotation.succeed();
                    return Ok(answer);
                }
                Ok(Err(fault)) => fault,
                Err(_) => Fault::Endpoint(NO_ANSWER.to_owned()),
            };
            let url = &self.urls[link.endpoint];
            let reason = text(&fault);
            match fault {
                Fault::Final(error) => return Err(error),
                Fault::Answer {
                    method,
                    code,
                    message,
                } => {
                    return Err(Error::Answered {
                        url: url.clone(),
                        method,
                        code,
                        message,
                    })
                }
                Fault::Pruned(block) => {
                    forgetful.insert(link.endpoint);
                    if forgetful.len() == self.urls.len() {
                        return Err(Error::Pruned {
                            url: url.clone(),
                            block: format!("{block:?}"),
                        });
                    }
                }
                Fault::Endpoint(_) => {}
            }
            tracing::warn!(url, reason, "endpoint failed");
            let pause = self.hang_up(&link, reason).await;
            self.pause(pause, until).await?;
        }
    }

    /// The connection in use, or a new one.
    async fn link(&self, until: Instant) -> Result<Arc<Link>, Error> {
        let Ok(mut current) = timeout_at(until, self.link.lock()).await else {
            return Err(self.unreachable());
        };
        loop {
            if let Some(link) = &*current {
                return Ok(link.clone());
            }
            let endpoint = self.lock().rotation.current();
            let url = &self.urls[endpoint];
            let reason = match timeout_at(until, self.enter(endpoint)).await {
                Ok(Ok(link)) => {
                    tracing::debug!(url, "connected");
                    *current = Some(Arc::new(link));
                    continue;
                }
                Ok(Err(fault)) => text(&fault),
                Err(_) => NO_ANSWER.to_owned(),
            };
            tracing::warn!(url, reason, "cannot connect");
            let pause = {
                let mut state = self.lock();
                state.reasons[endpoint] = reason;
                state.rotation.fail()
            };
            self.pause(pause, until).await?;
        }
    }

    /// Connects to an endpoint of this network.
    async fn enter(&self, endpoint: usize) -> Result<Link, Fault> {
        let link = self.dial(endpoint).await?;
        let found = link.genesis().await?;
        if found != self.genesis {
            let other = self.other_network(endpoint, found, self.genesis);
            return Err(Fault::Endpoint(other.to_string()));
        }
        Ok(link)
    }

    async fn dial(&self, endpoint: usize) -> Result<Link, Fault> {
        let serial = self.links.fetch_add(1, Ordering::Relaxed);
        Link::open(&self.urls[endpoint], endpoint, serial, self.options.request).await
    }

    /// Gives up a connection, unless somebody else has. Returns how long to wait.
    async fn hang_up(&self, link: &Link, reason: String) -> Duration {
        let mut current = self.link.lock().await;
        if current.as_ref().map(|current| current.serial) != Some(link.serial) {
            return Duration::ZERO;
        }
        *current = None;
        let mut state = self.lock();
        state.reasons[link.endpoint] = reason;
        state.rotation.fail()
    }

    async fn pause(&self, pause: Duration, until: Instant) -> Result<(), Error> {
        if Instant::now() + pause >= until {
            return Err(self.unreachable());
        }
        sleep(pause).await;
        Ok(())
    }

    fn unreachable(&self) -> Error {
        let state = self.lock();
        let reasons = self.urls.iter().zip(&state.reasons);
        let reasons: Vec<String> = reasons
            .map(|(url, reason)| format!("{url}: {reason}"))
            .collect();
        Error::Unreachable {
            reasons: reasons.join("; "),
        }
    }

    fn other_network(&self, endpoint: usize, found: H256, expected: H256) -> Error {
        Error::Network {
            url: self.urls[endpoint].clone(),
            found: format!("{found:?}"),
            expected: format!("{expected:?}"),
        }
    }

    /// The block whose state is read. When that is the latest final one, it never falls behind
    /// one that was read before, whichever endpoint is asked.
    pub async fn head(&self, link: &Link) -> Result<Block, Fault> {
        if self.options.finality == Finality::Best {
            return link.best().await;
        }
        let seen = self.seen.load(Ordering::Relaxed);
        let hash = link.finalized().await?;
        let known = self.lock().head.filter(|head| head.hash == hash);
        let head = match known {
            Some(head) => head,
            None => Block {
                number: link.number(hash).await?,
                hash,
            },
        };
        if head.number < seen {
            return Err(Fault::Endpoint(format!(
                "its final block is {}, while block {seen} has been read already; it is behind, or its chain was begun anew",
                head.number
            )));
        }
        self.seen.fetch_max(head.number, Ordering::Relaxed);
        self.lock().head = Some(head);
        Ok(head)
    }

    /// The runtime after a block.
    pub async fn runtime(&self, link: &Link, block: H256) -> Result<Arc<Runtime>, Fault> {
        let version = link.version(block).await?;
        let versions = (version.spec_version, version.transaction_version);
        if let Some(runtime) = self.lock().runtimes.get(&versions) {
            return Ok(runtime.clone());
        }
        let metadata = link.metadata(block).await?;
        let runtime = Arc::new(Runtime::new(self.genesis, versions, &metadata)?);
        self.lock().runtimes.insert(versions, runtime.clone());
        Ok(runtime)
    }

    /// An account's nonce and money after a block.
    pub async fn account(
        &self,
        link: &Link,
        block: H256,
        account: &Account,
    ) -> Result<(u64, Funds), Fault> {
        let runtime = self.runtime(link, block).await?;
        let key = runtime.account_key(runtime::ACCOUNT, account)?;
        let stored = link.storage(block, &key).await?;
        Ok(runtime.account(stored.as_deref())?)
    }

    /// A number that is stored once, after a block.
    pub async fn number(&self, link: &Link, block: H256, item: Item) -> Result<u128, Fault> {
        let runtime = self.runtime(link, block).await?;
        let stored = link.storage(block, &runtime.key(item)?).await?;
        Ok(runtime.number(item, stored.as_deref())?)
    }

    /// A block's height and time.
    pub async fn moment(&self, link: &Link, block: Block) -> Result<Now, Fault> {
        let time = self.number(link, block.hash, runtime::NOW).await?;
        Ok(Now {
            block: block.number,
            time: u64::try_from(time).map_err(runtime::unknown)?,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said of an endpoint that let the time pass.
const NO_ANSWER: &str = "no answer";

fn check(url: &str) -> Result<(), Error> {
    let refuse = |reason: String| Error::Url {
        url: url.to_owned(),
        reason,
    };
    let parsed = Url::parse(url).map_err(|e| refuse(e.to_string()))?;
    match parsed.scheme() {
        "ws" | "wss" => Ok(()),
        scheme => Err(refuse(format!("`{scheme}` is not a WebSocket"))),
    }
}

fn text(fault: &Fault) -> String {
    match fault {
        Fault::Endpoint(reason) => reason.clone(),
        Fault::Pruned(block) => format!("it has discarded the state of block {block:?}"),
        Fault::Answer {
            method, message, ..
        } => format!("it answered `{method}` with an error: {message}"),
        Fault::Final(error) => error.to_string(),
    }
}

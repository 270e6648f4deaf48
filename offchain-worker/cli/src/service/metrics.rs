//! What a service counts, in the text format of Prometheus.

use lockstep_agent::chain::UNIT;
use lockstep_agent::roles::{Action, Error, Worker};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};
use std::sync::atomic::AtomicU64;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

/// Counters and gauges of one role.
pub struct Metrics {
    registry: Registry,
    actions: Family<Kind, Counter>,
    errors: Family<Kind, Counter>,
    steps: Counter,
    calldata: Counter,
    ref_time: Counter,
    withdrawn: Family<Kind, Counter<f64, AtomicU64>>,
    height: Gauge,
    time: Gauge<f64, AtomicU64>,
    free: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// All at zero.
    pub fn new(role: &'static str) -> Metrics {
        let label = ("role".into(), role.into());
        let mut registry = Registry::with_prefix_and_labels("lockstep", [label].into_iter());
        let of = &mut registry;
        Metrics {
            actions: add(of, "actions", "What the role did"),
            errors: add(of, "errors", "Looks that failed"),
            steps: add(of, "steps", "Training steps computed"),
            calldata: add(of, "calldata_bytes", "Bytes of messages sent to contracts"),
            ref_time: add(
                of,
                "ref_time_picoseconds",
                "Weight of messages sent to contracts",
            ),
            withdrawn: add(of, "withdrawn_tokens", "Money that contracts paid out"),
            height: add(of, "chain_height", "Height that a message would see"),
            time: add(
                of,
                "chain_time_seconds",
                "The chain's clock, seconds since 1970",
            ),
            free: add(of, "free_tokens", "What the account can spend"),
            registry,
        }
    }

    /// The role did something.
    pub fn acted(&self, action: &Action) {
        let kind = |kind: &str| Kind {
            kind: kind.to_owned(),
        };
        self.actions.get_or_create(&kind(action.kind())).inc();
        if let Action::Withdrew { money, amount, .. } = action {
            let tokens = *amount as f64 / UNIT as f64;
            let withdrawn = self.withdrawn.get_or_create(&kind(&money.to_string()));
            withdrawn.inc_by(tokens);
        }
        if let Some(receipt) = action.receipt() {
            self.calldata.inc_by(receipt.bytes as u64);
            self.ref_time.inc_by(receipt.weight.ref_time);
        }
    }

    /// A training step was computed.
    pub fn stepped(&self) {
        self.steps.inc();
    }

    /// A look failed.
    pub fn failed(&self, error: &Error) {
        let kind = match error {
            Error::Contracts(_) => "chain",
            Error::Run(_) => "run",
            Error::Store(_) => "store",
            Error::Local(_) => "local",
        };
        let kind = Kind { kind: kind.into() };
        self.errors.get_or_create(&kind).inc();
    }

    /// Reads what changes by itself. What cannot be read stays as it was; the next look that
    /// matters reports why.
    pub fn look(&self, worker: &Worker) {
        if let Ok(now) = worker.contracts.now() {
            self.height.set(now.block.into());
            self.time.set(now.time as f64 / 1000.0);
        }
        let account = worker.signer.account();
        if let Ok(funds) = worker.contracts.chain().funds(&account) {
            self.free.set(funds.free as f64 / UNIT as f64);
        }
    }

    /// Everything in the text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes everything");
        text
    }
}

/// A new metric, at zero.
fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

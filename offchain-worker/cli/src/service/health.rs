//! Whether a service does what it should.

use serde_json::{json, Value};
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Looks at the chain that may fail in a row before the service is called ill.
const MISSED_LOOKS: u32 = 10;

/// The shortest time for which anything may fail.
const PATIENCE: Duration = Duration::from_secs(60);

/// The state of a service's health.
pub struct Health {
    role: &'static str,
    started: Instant,
    patience: Duration,
    state: Mutex<State>,
}

struct State {
    well: Instant,
    trouble: Option<String>,
}

impl Health {
    /// The health of a service that looks at the chain every `poll`.
    pub fn new(role: &'static str, poll: Duration) -> Health {
        let now = Instant::now();
        Health {
            role,
            started: now,
            patience: PATIENCE.max(poll * MISSED_LOOKS),
            state: Mutex::new(State {
                well: now,
                trouble: None,
            }),
        }
    }

    /// A look succeeded, or a step was computed.
    pub fn well(&self) {
        let mut state = self.state();
        state.well = Instant::now();
        state.trouble = None;
    }

    /// A look failed.
    pub fn ill(&self, why: &impl Display) {
        self.state().trouble = Some(why.to_string());
    }

    /// Whether all is well, and what a supervisor may read.
    pub fn report(&self) -> (bool, Value) {
        let state = self.state();
        let silent = state.well.elapsed();
        let well = silent < self.patience;
        let report = json!({
            "role": self.role,
            "healthy": well,
            "up_seconds": self.started.elapsed().as_secs(),
            "last_success_seconds_ago": silent.as_secs(),
            "trouble": state.trouble,
        });
        (well, report)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

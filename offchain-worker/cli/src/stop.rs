//! How a person or a supervisor asks a long command to stop.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How soon to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Nobody has asked.
    No,
    /// When nothing is owed any more.
    WhenQuiet,
    /// After the step under way.
    Now,
}

/// How often somebody has asked.
static ASKED: AtomicU8 = AtomicU8::new(0);

/// How soon to stop.
pub fn asked() -> Stop {
    match ASKED.load(Ordering::Relaxed) {
        0 => Stop::No,
        1 => Stop::WhenQuiet,
        _ => Stop::Now,
    }
}

/// Listens for interrupts and requests to end. The first finishes what is owed, the second the
/// step under way; the third ends the process, which loses nothing either.
pub fn listen() {
    let listening = ctrlc::set_handler(|| match ASKED.fetch_add(1, Ordering::Relaxed) {
        0 => eprintln!(
            "finishing what is owed; interrupt again to stop after this step: work goes on from \
             the last checkpoint when it is started again"
        ),
        1 => eprintln!("stopping after this step; interrupt again to stop at once"),
        _ => std::process::exit(130),
    });
    if let Err(error) = listening {
        tracing::debug!(%error, "interrupts end the process at once");
    }
}

/// Sleeps, but wakes soon after somebody asked to stop.
pub fn sleep(duration: Duration) {
    let before = asked();
    let nap = Duration::from_millis(100);
    let mut left = duration;
    while !left.is_zero() && asked() == before {
        let part = left.min(nap);
        std::thread::sleep(part);
        left -= part;
    }
}

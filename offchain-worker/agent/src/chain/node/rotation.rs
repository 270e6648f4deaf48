//! Which endpoint is tried next, and after how long a pause.

use std::time::Duration;

/// The pause after every endpoint has failed once.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Endpoints in the order in which they were given, used one at a time: the next is tried when
/// the current one fails, and the pauses double with each round in which none works.
#[derive(Debug)]
pub struct Rotation {
    endpoints: usize,
    current: usize,
    failures: u32,
}

impl Rotation {
    /// Starts with the first of `endpoints`.
    pub fn new(endpoints: usize) -> Rotation {
        Rotation {
            endpoints,
            current: 0,
            failures: 0,
        }
    }

    /// The endpoint to use.
    pub fn current(&self) -> usize {
        self.current
    }

    /// Moves on from an endpoint that failed. Returns how long to wait before the next is tried.
    pub fn fail(&mut self) -> Duration {
        self.current = (self.current + 1) % self.endpoints;
        self.failures = self.failures.saturating_add(1);
        let endpoints = self.endpoints as u32;
        if !self.failures.is_multiple_of(endpoints) {
            return Duration::ZERO;
        }
        let rounds = self.failures / endpoints;
        let factor = 1u32.checked_shl(rounds - 1).unwrap_or(u32::MAX);
        FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
    }

    /// As [`Rotation::fail`] once for every endpoint.
    pub fn fail_all(&mut self) -> Duration {
        for _ in 1..self.endpoints {
            self.fail();
        }
        self.fail()
    }

    /// The current endpoint works.
    pub fn succeed(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_endpoints_are_tried_before_anything_waits() {
        let mut rotation = Rotation::new(3);
        let mut tried = Vec::new();
        let mut pauses = Vec::new();
        for _ in 0..6 {
            tried.push(rotation.current());
            pauses.push(rotation.fail().as_millis());
        }
        assert_eq!(tried, [0, 1, 2, 0, 1, 2]);
        assert_eq!(pauses, [0, 0, 100, 0, 0, 200]);
    }

    #[test]
    fn pauses_double_up_to_a_cap_and_start_anew_after_a_success() {
        let mut rotation = Rotation::new(1);
        let pauses: Vec<u128> = (0..8).map(|_| rotation.fail().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        for _ in 0..100 {
            assert!(rotation.fail() <= LONGEST_PAUSE);
        }
        rotation.succeed();
        assert_eq!(rotation.fail_all(), FIRST_PAUSE);
    }

    #[test]
    fn an_endpoint_that_works_is_kept() {
        let mut rotation = Rotation::new(2);
        rotation.fail();
        rotation.succeed();
        assert_eq!(rotation.current(), 1);
    }
}

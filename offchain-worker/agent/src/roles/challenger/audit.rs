//! Checking a commitment: everything from the genesis, or a random sample of segments from the
//! checkpoints that the solver published.

use super::{Checking, Error, Observer, Worker};
use crate::local::Verdict;
use crate::run::training::{state_hash, Training};
use crate::run::workload::{load_state, save_state, Workload};
use crate::run::{self, trial, Device};
use crate::store::{self, Store};
use lockstep_protocol::Hash;
use std::str::FromStr;

/// How much of a commitment is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Audit {
    /// All of it.
    #[default]
    Everything,
    /// This fraction of the segments, at least one, chosen so that no solver can foresee it.
    Sample(f64),
}

impl FromStr for Audit {
    type Err = String;

    fn from_str(text: &str) -> Result<Audit, String> {
        let wrong = || format!("`{text}` is not a percentage such as 5%, nor `all`");
        if text == "all" {
            return Ok(Audit::Everything);
        }
        let percent: f64 = text
            .strip_suffix('%')
            .ok_or_else(wrong)?
            .parse()
            .map_err(|_| wrong())?;
        match percent {
            p if p >= 100.0 => Ok(Audit::Everything),
            p if p > 0.0 => Ok(Audit::Sample(p / 100.0)),
            _ => Err(wrong()),
        }
    }
}

impl Audit {
    /// The segments to check, in descending order.
    pub(super) fn choose(self, segments: u32, secret: &[u8; 32]) -> Vec<u32> {
        let Audit::Sample(fraction) = self else {
            return (0..segments).rev().collect();
        };
        let count = ((segments as f64 * fraction).ceil() as u32).clamp(1, segments);
        let mut order: Vec<(Hash, u32)> = (0..segments)
            .map(|segment| {
                (
                    *blake3::keyed_hash(secret, &segment.to_le_bytes()).as_bytes(),
                    segment,
                )
            })
            .collect();
        order.sort_unstable();
        let mut chosen: Vec<u32> = order.iter().take(count as usize).map(|(_, s)| *s).collect();
        chosen.sort_unstable_by(|a, b| b.cmp(a));
        chosen
    }
}

/// What a solver published: its checkpoint trace.
pub(super) struct Claim {
    pub checkpoints: Vec<Hash>,
}

impl Claim {
    pub fn fetch(store: &Store, workload: &Workload, trace: &Hash) -> Result<Claim, store::Error> {
        let file = store.get_exact(trace, workload.spec.segments() as u64 * 32)?;
        let entries = file.chunks_exact(32);
        let checkpoints = entries
            .map(|entry| entry.try_into().expect("chunks have 32 bytes"))
            .collect();
        Ok(Claim { checkpoints })
    }
}

impl Checking {
    /// Segments checked and to check.
    pub(super) fn done(&self) -> (u32, u32) {
        match &self.own {
            Some(own) => (own.done(), self.fetched.workload.spec.segments()),
            None => (self.of - self.sample.len() as u32, self.of),
        }
    }

    /// The segment of the sample that is checked next.
    pub(super) fn sampled(&self) -> Option<u32> {
        match self.own {
            Some(_) => None,
            None => self.sample.last().copied(),
        }
    }

    /// Gives up on sampling and runs the task from its genesis.
    pub(super) fn run_all(&mut self, device: Device, worker: &Worker) -> Result<(), Error> {
        let (store, local) = (worker.store.clone(), worker.local.clone());
        let own = Training::resume(self.fetched.workload.clone(), device, store, local, None)?;
        self.own = Some(own);
        Ok(())
    }

    /// Checks one more segment. The verdict, once there is one.
    pub(super) fn advance(
        &mut self,
        device: Device,
        trace: &Hash,
        observer: &mut dyn Observer,
    ) -> Result<Option<Verdict>, Error> {
        match &mut self.own {
            Some(own) => {
                if let Some(wrong) = first_wrong(own.checkpoints(), self.claim.as_ref()) {
                    return Ok(Some(wrong));
                }
                if !own.finished() {
                    own.segment(observer)?;
                    return Ok(first_wrong(own.checkpoints(), self.claim.as_ref()));
                }
                let same = blake3::hash(&own.checkpoints().concat()) == *trace;
                let last = own.checkpoints().len() as u32 - 1;
                Ok(Some(match own.checkpoints().last() {
                    Some(state) if !same => Verdict::Wrong {
                        segment: last,
                        state: *state,
                    },
                    _ => Verdict::Clean,
                }))
            }
            None => self.sample(device, observer),
        }
    }

    fn sample(
        &mut self,
        device: Device,
        observer: &mut dyn Observer,
    ) -> Result<Option<Verdict>, Error> {
        let (Some(&segment), Some(claim)) = (self.sample.last(), &self.claim) else {
            return Ok(Some(Verdict::Clean));
        };
        let workload = &self.fetched.workload;
        let before = match segment.checked_sub(1) {
            None => workload.genesis.clone(),
            Some(before) => {
                let state = &claim.checkpoints[before as usize];
                load_state(&self.store, &workload.program, state)?
            }
        };
        let mut engine = trial::engine(device, workload)?;
        engine.load(&before).map_err(run::Error::from)?;
        let first = workload.spec.first_step(segment);
        let steps = workload.spec.segment_steps(segment);
        for step in first..first + steps {
            engine.step(step);
            if !observer.step(step + 1 - first, steps) {
                return Err(run::Error::Interrupted.into());
            }
        }
        if state_hash(&*engine) != claim.checkpoints[segment as usize] {
            let state = save_state(&self.store, &engine.state())?;
            return Ok(Some(Verdict::Wrong { segment, state }));
        }
        self.sample.pop();
        Ok(self.sample.is_empty().then_some(Verdict::Clean))
    }
}

fn first_wrong(own: &[Hash], claim: Option<&Claim>) -> Option<Verdict> {
    let claimed = claim?.checkpoints.iter();
    let at = own
        .iter()
        .zip(claimed)
        .position(|(own, claimed)| own != claimed)?;
    Some(Verdict::Wrong {
        segment: at as u32,
        state: own[at],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_its_size_and_no_segment_twice() {
        let chosen = Audit::Sample(0.05).choose(100, &[1; 32]);
        assert_eq!(chosen.len(), 5);
        assert!(chosen.windows(2).all(|w| w[0] > w[1]));
        assert_ne!(chosen, Audit::Sample(0.05).choose(100, &[2; 32]));
        assert_eq!(Audit::Sample(0.001).choose(3, &[1; 32]).len(), 1);
    }

    #[test]
    fn an_audit_is_written_as_a_percentage() {
        assert_eq!("5%".parse(), Ok(Audit::Sample(0.05)));
        assert_eq!("100%".parse(), Ok(Audit::Everything));
        assert_eq!("all".parse(), Ok(Audit::Everything));
        for wrong in ["0%", "-1%", "5", "x%", "NaN%"] {
            assert!(wrong.parse::<Audit>().is_err(), "{wrong}");
        }
    }
}

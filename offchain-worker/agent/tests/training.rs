//! A run that is killed anywhere ends as if nothing had happened.

mod support;

use lockstep_agent::roles::Observer;
use lockstep_agent::run::training::{Training, Unobserved};
use lockstep_agent::run::{trial, Device, Error};
use lockstep_protocol::Hash;
use std::sync::Arc;

/// Stops a run after so many steps.
struct StopAfter(u32);

impl Observer for StopAfter {
    fn step(&mut self, _: u32, _: u32) -> bool {
        self.0 -= 1;
        self.0 > 0
    }
}

fn whole_run() -> Vec<Hash> {
    let dir = tempfile::tempdir().unwrap();
    let workload = Arc::new(support::workload(23, 5));
    let (store, local) = (support::store(dir.path()), support::local(dir.path()));
    let mut run = Training::resume(workload, support::device(), store, local, None).unwrap();
    while !run.finished() {
        run.segment(&mut Unobserved).unwrap();
    }
    run.checkpoints().to_vec()
}

#[test]
fn a_run_killed_at_any_step_ends_with_the_same_checkpoints() {
    let expected = whole_run();
    assert_eq!(expected.len(), 5);
    for stride in 1..=12 {
        let dir = tempfile::tempdir().unwrap();
        let workload = Arc::new(support::workload(23, 5));
        let mut runs = 0;
        loop {
            // Everything in memory is new each time, as after a kill.
            let (store, local) = (support::store(dir.path()), support::local(dir.path()));
            let mut run =
                Training::resume(workload.clone(), support::device(), store, local, None).unwrap();
            // The stops grow, so that every segment is finished some day.
            let mut observer = StopAfter(stride + runs);
            let stopped = loop {
                if run.finished() {
                    break false;
                }
                match run.segment(&mut observer) {
                    Ok(()) => {}
                    Err(Error::Interrupted) => break true,
                    Err(other) => panic!("{other}"),
                }
            };
            if !stopped {
                assert_eq!(run.checkpoints(), expected, "stride {stride}");
                break;
            }
            runs += 1;
        }
    }
}

#[test]
fn a_checkpoint_that_was_lost_is_computed_again() {
    let expected = whole_run();
    let dir = tempfile::tempdir().unwrap();
    let workload = Arc::new(support::workload(23, 5));
    let resume = || {
        let (store, local) = (support::store(dir.path()), support::local(dir.path()));
        Training::resume(workload.clone(), support::device(), store, local, None).unwrap()
    };
    let mut run = resume();
    run.segment(&mut Unobserved).unwrap();
    run.segment(&mut Unobserved).unwrap();
    drop(run);
    std::fs::remove_dir_all(dir.path().join("store").join("blobs")).unwrap();
    let mut run = resume();
    assert_eq!(run.checkpoints().len(), 2);
    while !run.finished() {
        run.segment(&mut Unobserved).unwrap();
    }
    assert_eq!(run.checkpoints(), expected);
}

#[test]
fn a_device_is_tried_slot_by_slot_against_another() {
    let workload = support::workload(3, 1);
    let mut ours = support::device().engine(workload.job()).unwrap();
    let mut oracle = Device::Reference.engine(workload.job()).unwrap();
    let difference = trial::difference(&mut *ours, &mut *oracle, &workload.genesis);
    assert_eq!(difference.unwrap(), None);

    // An engine that computes from other records, as one that is broken would.
    let mut wrong = workload.clone();
    let records: Vec<u8> = (*wrong.inputs.datasets[0])
        .as_ref()
        .iter()
        .map(|b| b ^ 1)
        .collect();
    wrong.inputs.datasets[0] = Arc::new(records);
    let mut broken = support::device().engine(wrong.job()).unwrap();
    let difference = trial::difference(&mut *broken, &mut *oracle, &workload.genesis);
    assert!(difference.unwrap().is_some());
}

//! Threads that wait for work beside the one that hands it out.
//!
//! A step is hundreds of short loops, each shared out and waited for; on a virtual machine, waking
//! a sleeping thread takes longer than most of them. So a helper that has run out of work looks for
//! more for a while before it sleeps, and whoever hands out a loop begins it at once: a helper that
//! comes late finds less to do, or nothing.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// How often a helper looks for work before it sleeps: about 100 microseconds.
const LOOKS: usize = 4096;
/// How often one waits for the last tasks of the others before it lets other threads run.
const PATIENCE: usize = 1024;

/// The state while a loop can be joined.
const OPEN: u64 = 1 << 31;
/// The part of the state that counts the helpers inside of the loop.
const INSIDE: u64 = OPEN - 1;
/// One loop, in the part of the state that counts them.
const LOOP: u64 = 1 << 32;

/// The helpers of a thread that hands out loops.
pub struct Crew {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Which loop it is, whether it is open, and how many helpers are inside.
    state: AtomicU64,
    /// Whether somebody hands out a loop.
    busy: AtomicBool,
    /// The open loop; written only while nobody is inside and none is open.
    work: UnsafeCell<Option<Work>>,
    /// The first task that nobody has taken yet.
    next: AtomicUsize,
    stop: AtomicBool,
    asleep: AtomicUsize,
    bed: Mutex<()>,
    alarm: Condvar,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

#[derive(Clone, Copy)]
struct Work {
    task: *const (dyn Fn(usize) + Sync),
    count: usize,
}

// SAFETY: `work` is written by whoever made the crew busy before the loop opens, and read only by
// helpers that entered it while it was open, for whom the writer waits. The task is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

impl Crew {
    /// Starts `helpers` threads.
    pub fn new(helpers: usize) -> std::io::Result<Crew> {
        let mut crew = Crew {
            shared: Arc::new(Shared {
                state: AtomicU64::new(0),
                busy: AtomicBool::new(false),
                work: UnsafeCell::new(None),
                next: AtomicUsize::new(0),
                stop: AtomicBool::new(false),
                asleep: AtomicUsize::new(0),
                bed: Mutex::new(()),
                alarm: Condvar::new(),
                panic: Mutex::new(None),
            }),
            helpers: Vec::with_capacity(helpers),
        };
        for n in 0..helpers {
            let shared = crew.shared.clone();
            let thread = thread::Builder::new().name(format!("lockstep-cpu-{n}"));
            crew.helpers.push(thread.spawn(move || shared.help())?);
        }
        Ok(crew)
    }

    /// Number of helpers.
    pub fn helpers(&self) -> usize {
        self.helpers.len()
    }

    /// Runs tasks `0..count` on the caller's thread and the helpers. A loop within a loop is run by
    /// its caller alone.
    pub fn each(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.shared;
        if shared.busy.swap(true, Acquire) {
            return (0..count).for_each(task);
        }
        // SAFETY: only the lifetime changes; no helper is inside when this function returns.
        let task: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(task) };
        // SAFETY: nobody is inside, no loop is open, and the crew was not busy.
        unsafe { *shared.work.get() = Some(Work { task, count }) };
        shared.next.store(0, Relaxed);
        let number = shared.state.load(Relaxed) / LOOP;
        shared
            .state
            .store(number.wrapping_add(1).wrapping_mul(LOOP) | OPEN, SeqCst);
        let asleep = shared.asleep.load(SeqCst).min(count - 1);
        if asleep > 0 {
            // Whoever is about to sleep has seen the open loop, or hears the alarm.
            drop(shared.bed.lock().unwrap_or_else(PoisonError::into_inner));
            (0..asleep).for_each(|_| shared.alarm.notify_one());
        }
        let own = catch_unwind(AssertUnwindSafe(|| shared.tasks(Work { task, count })));
        shared.close();
        let others = shared.panic.lock().map(|mut panic| panic.take());
        shared.busy.store(false, Release);
        if let Some(panic) = own.err().or_else(|| others.ok().flatten()) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        let bed = self.shared.bed.lock();
        self.shared.alarm.notify_all();
        drop(bed);
        for helper in self.helpers.drain(..) {
            // It catches the panics of its tasks, so it ends without one.
            let _ = helper.join();
        }
    }
}

impl Shared {
    /// Takes tasks until none is left.
    fn tasks(&self, work: Work) {
        // SAFETY: the loop's owner waits for all who are inside.
        let task = unsafe { &*work.task };
        loop {
            let n = self.next.fetch_add(1, Relaxed);
            if n >= work.count {
                return;
            }
            task(n);
        }
    }

    /// Lets nobody in any more and waits for those who are inside.
    fn close(&self) {
        self.state.fetch_and(!OPEN, AcqRel);
        let mut looks = 0;
        while self.state.load(Acquire) & INSIDE > 0 {
            looks += 1;
            match looks < PATIENCE {
                true => std::hint::spin_loop(),
                false => thread::yield_now(),
            }
        }
    }

    /// A helper's life.
    fn help(&self) {
        let mut last = 0;
        while let Some(state) = self.open_loop(last) {
            let entered = self
                .state
                .compare_exchange(state, state + 1, AcqRel, Relaxed);
            if entered.is_err() {
                continue;
            }
            last = state / LOOP;
            // SAFETY: the loop was open when it was entered, so its owner waits.
            let work = unsafe { *self.work.get() };
            let done = catch_unwind(AssertUnwindSafe(|| work.map(|work| self.tasks(work))));
            if let (Err(panic), Ok(mut first)) = (done, self.panic.lock()) {
                first.get_or_insert(panic);
            }
            self.state.fetch_sub(1, Release);
        }
    }

    /// Waits for a loop other than `last`; `None` when the crew is dismissed.
    fn open_loop(&self, last: u64) -> Option<u64> {
        let found = || {
            let state = self.state.load(SeqCst);
            (state & OPEN != 0 && state / LOOP != last).then_some(state)
        };
        loop {
            for _ in 0..LOOKS {
                if let Some(state) = found() {
                    return Some(state);
                }
                std::hint::spin_loop();
            }
            self.asleep.fetch_add(1, SeqCst);
            let mut bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
            while found().is_none() && !self.stop.load(SeqCst) {
                bed = (self.alarm.wait(bed)).unwrap_or_else(PoisonError::into_inner);
            }
            drop(bed);
            self.asleep.fetch_sub(1, SeqCst);
            if self.stop.load(SeqCst) {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_however_long_the_helpers_have_waited() {
        for helpers in [1, 3] {
            let crew = Crew::new(helpers).expect("threads start");
            for round in 0..2000usize {
                let count = 1 + round % 7;
                let runs: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                crew.each(count, &|n| {
                    // A loop within the loop is run by its caller.
                    crew.each(2, &|_| {
                        runs[n].fetch_add(1, Relaxed);
                    });
                });
                assert!(runs.iter().all(|runs| runs.load(Relaxed) == 2), "{round}");
                if round % 500 == 0 {
                    thread::sleep(std::time::Duration::from_millis(5));
                }
            }
        }
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller_and_the_crew_works_on() {
        let crew = Crew::new(2).expect("threads start");
        let ran = AtomicUsize::new(0);
        for failing in 0..8 {
            let task = |n: usize| {
                ran.fetch_add(1, Relaxed);
                assert!(n != failing, "task {n} fails");
            };
            assert!(catch_unwind(AssertUnwindSafe(|| crew.each(8, &task))).is_err());
        }
        ran.store(0, Relaxed);
        crew.each(8, &|_| {
            ran.fetch_add(1, Relaxed);
        });
        assert_eq!(ran.into_inner(), 8);
    }
}

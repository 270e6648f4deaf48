//! The threads of an engine.

use rayon::prelude::*;

/// A fixed number of threads that share the work of one node at a time.
pub struct Workers {
    /// Absent when the caller's thread works alone, which spares it the way to another.
    pool: Option<rayon::ThreadPool>,
    grain: u64,
}

impl Workers {
    /// `threads` threads, or one for each core, for tasks of at least `grain` instructions times
    /// points.
    pub fn new(threads: Option<usize>, grain: u64) -> Result<Workers, rayon::ThreadPoolBuildError> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.filter(|n| *n > 0).unwrap_or_else(cores);
        let pool = (threads > 1).then(|| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .thread_name(|n| format!("lockstep-cpu-{n}"))
                .build()
        });
        Ok(Workers {
            pool: pool.transpose()?,
            grain: grain.max(1),
        })
    }

    /// Number of threads.
    pub fn count(&self) -> usize {
        self.pool
            .as_ref()
            .map_or(1, |pool| pool.current_num_threads())
    }

    /// Runs `work` where [`Team::each`] shares its tasks among the threads.
    pub fn install<R: Send>(&self, work: impl FnOnce(Team) -> R + Send) -> R {
        let team = Team {
            threads: self.count(),
            grain: self.grain,
        };
        match &self.pool {
            Some(pool) => pool.install(|| work(team)),
            None => work(team),
        }
    }
}

/// The threads that a kernel may use, from within [`Workers::install`].
#[derive(Clone, Copy)]
pub struct Team {
    /// Number of threads.
    pub threads: usize,
    /// Instructions times points that are worth a task of their own.
    pub grain: u64,
}

impl Team {
    /// Only the caller's thread.
    pub fn alone(self) -> Team {
        Team { threads: 1, ..self }
    }

    /// Runs tasks `0..count`, in any order and at the same time.
    pub fn each(self, count: usize, task: impl Fn(usize) + Sync) {
        if self.threads > 1 && count > 1 {
            (0..count).into_par_iter().for_each(&task);
        } else {
            (0..count).for_each(task);
        }
    }

    /// Runs a task for each chunk of `size` elements.
    pub fn chunks<T: Send>(
        self,
        items: &mut [T],
        size: usize,
        task: impl Fn(usize, &mut [T]) + Sync,
    ) {
        if self.threads > 1 && items.len() > size {
            let chunks = items.par_chunks_mut(size).enumerate();
            chunks.for_each(|(k, chunk)| task(k, chunk));
        } else {
            let chunks = items.chunks_mut(size).enumerate();
            chunks.for_each(|(k, chunk)| task(k, chunk));
        }
    }
}

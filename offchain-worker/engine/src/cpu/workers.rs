//! The threads of an engine.

mod crew;

use crew::Crew;

/// A fixed number of threads that share the work of one node at a time.
pub struct Workers {
    /// Absent when the caller's thread works alone.
    crew: Option<Crew>,
    grain: u64,
}

impl Workers {
    /// `threads` threads, the caller's among them, or one for each core, for tasks of at least
    /// `grain` instructions times points.
    pub fn new(threads: Option<usize>, grain: u64) -> std::io::Result<Workers> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.filter(|n| *n > 0).unwrap_or_else(cores);
        Ok(Workers {
            crew: (threads > 1).then(|| Crew::new(threads - 1)).transpose()?,
            grain: grain.max(1),
        })
    }

    /// Number of threads.
    pub fn count(&self) -> usize {
        self.crew.as_ref().map_or(1, |crew| 1 + crew.helpers())
    }

    /// All of them.
    pub fn team(&self) -> Team<'_> {
        Team {
            crew: self.crew.as_ref(),
            threads: self.count(),
            grain: self.grain,
        }
    }
}

/// The threads that a kernel may use.
#[derive(Clone, Copy)]
pub struct Team<'a> {
    crew: Option<&'a Crew>,
    /// Number of threads.
    pub threads: usize,
    /// Instructions times points that are worth a task of their own.
    pub grain: u64,
}

/// A pointer to items of which every task gets others.
struct Items<T>(*mut T);

// SAFETY: tasks get disjoint items.
unsafe impl<T: Send> Sync for Items<T> {}

impl<T> Items<T> {
    /// # Safety
    /// The items must be inside, and nobody else's.
    #[allow(clippy::mut_from_ref)]
    unsafe fn get(&self, first: usize, count: usize) -> &mut [T] {
        std::slice::from_raw_parts_mut(self.0.add(first), count)
    }
}

impl Team<'_> {
    /// Only the caller's thread.
    pub fn alone(self) -> Self {
        Team {
            crew: None,
            threads: 1,
            ..self
        }
    }

    /// Runs tasks `0..count`, in any order and at the same time.
    pub fn each(self, count: usize, task: impl Fn(usize) + Sync) {
        match self.crew {
            Some(crew) if count > 1 => crew.each(count, &task),
            _ => (0..count).for_each(task),
        }
    }

    /// Runs a task for each chunk of `size` elements.
    pub fn chunks<T: Send>(
        self,
        items: &mut [T],
        size: usize,
        task: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let len = items.len();
        let items = Items(items.as_mut_ptr());
        self.each(len.div_ceil(size), |k| {
            let first = k * size;
            // SAFETY: chunks lie inside and apart from one another.
            task(k, unsafe { items.get(first, size.min(len - first)) });
        });
    }
}

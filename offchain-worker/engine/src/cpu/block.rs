//! The block interpreter: evaluates any map or fold for a block of points at a time.
//!
//! A tile is a block of output elements, in a fold times a block of reduction steps. Operands and
//! operations that do not depend on the accumulator are computed for the whole tile; then the
//! steps are taken in ascending order, each for all elements at once. Every element sees exactly
//! the chain of operations that the protocol defines.

use super::affine::{word_range, Domain, Linear, Load, Range};
use super::buffer::{view_mut, Buffer};
use super::exec;
use super::memory::Values;
use super::scatter::Scatter;
use super::simd::Simd;
use super::tape::{self, narrow, Code, Instr, Tape};
use super::tile::Tile;
use super::workers::Team;
use lockstep_protocol::program::{Access, Body, Dtype, Fold, Init, Node};
use std::cell::RefCell;

/// Words of scratch that a tile should stay within, so that it fits the first-level cache.
const SCRATCH_WORDS: usize = 10 << 10;
/// Fewest and most points of a tile.
const TILE: std::ops::RangeInclusive<usize> = 64..=1024;
/// Work, in instructions times points, that is worth handing to another thread.
const PARALLEL_WORK: u64 = 1 << 16;

/// A map or fold made ready for the block interpreter.
pub struct Block {
    domain: Domain,
    dtype: Dtype,
    outputs: u64,
    tape: Tape,
    index: Vec<Load>,
    reads: Vec<Load>,
    values: Vec<Linear>,
    fold: Option<Steps>,
    /// Points of a tile.
    capacity: usize,
    simd: Simd,
}

/// What a fold has beyond its body.
struct Steps {
    count: u64,
    init: Start,
    /// Guards that a run of points satisfies on an interval.
    guards: Vec<Range>,
    /// Guards that depend on index words.
    indexed_guards: Vec<Range>,
    scatter: Option<Scatter>,
    /// Output elements of a tile.
    width: usize,
    /// Whether a tile holds, for each output, its steps one after another.
    columns: bool,
    /// The step as one instruction, if it is one that [`exec::accumulate`] knows: its code and
    /// the operands that are not the accumulator.
    single: Option<(Code, [tape::Slot; 2])>,
    narrow: Option<Code>,
}

enum Start {
    Word(u32),
    Read(Load),
}

/// Which reduction steps an output element takes.
#[derive(Clone, Copy)]
enum Walk<'a> {
    All(u64),
    Listed(&'a [u32]),
}

impl Walk<'_> {
    fn len(self) -> u64 {
        match self {
            Walk::All(count) => count,
            Walk::Listed(list) => list.len() as u64,
        }
    }

    fn step(self, k: u64) -> u64 {
        match self {
            Walk::All(_) => k,
            Walk::Listed(list) => list[k as usize] as u64,
        }
    }
}

/// Memory that one thread works in.
struct Scratch {
    words: Buffer,
    /// The first slot's block.
    start: *mut u32,
    slots: Vec<*mut u32>,
    row_slots: Vec<*mut u32>,
    base: Tile,
    tile: Tile,
    index: [Vec<i64>; 2],
    mask: Vec<u32>,
    /// For each row of a tile, whether all its points are active.
    full: Vec<bool>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

impl Block {
    /// Makes a map or fold ready. `payload(n)` says whether node `n`'s bytes may hold a NaN that is
    /// not canonical.
    ///
    /// # Panics
    /// When the node is a source.
    pub fn new(node: &Node, simd: Simd, payload: impl Fn(u32) -> bool) -> Block {
        let (body, fold): (&Body, Option<&Fold>) = match node {
            Node::Map(body) => (body, None),
            Node::Fold(fold) => (&fold.body, Some(fold)),
            Node::Source(_) => panic!("a source computes nothing"),
        };
        let extents = |dims: &[lockstep_protocol::program::Dim]| -> Vec<i64> {
            dims.iter().map(|d| d.0 as i64).collect()
        };
        let mut domain = Domain {
            out: extents(&body.shape),
            red: fold.map(|fold| extents(&fold.red)).unwrap_or_default(),
            words: body.index.iter().map(word_range).collect(),
        };
        let load = |access: &Access| domain.load(access, payload(access.node));
        let mut index: Vec<Load> = body.index.iter().map(load).collect();
        let mut reads: Vec<Load> = body.reads.iter().map(load).collect();
        let mut values: Vec<Linear> = body.values.iter().map(|f| domain.linear(f)).collect();
        let mut init = fold.map(|fold| match &fold.init {
            Init::Word(word) => Start::Word(body.dtype.round_trip(*word)),
            Init::Read(access) => Start::Read(load(access)),
        });
        let mut guards: Vec<Range> = fold
            .map(|fold| fold.when.as_slice())
            .unwrap_or_default()
            .iter()
            .map(|guard| Range {
                form: domain.linear(&guard.form),
                lo: guard.lo.0,
                hi: guard.hi.0,
            })
            .collect();

        let mut forms: Vec<&mut Linear> = Vec::new();
        forms.extend(index.iter_mut().chain(&mut reads).flat_map(Load::forms));
        forms.extend(&mut values);
        forms.extend(guards.iter_mut().map(|guard| &mut guard.form));
        if let Some(Start::Read(load)) = &mut init {
            forms.extend(load.forms());
        }
        domain.collapse(&mut forms);

        let tape = tape::compile(body, fold.is_some());
        let fit = SCRATCH_WORDS / tape.slots.max(1);
        let capacity = (fit.clamp(*TILE.start(), *TILE.end())) / 16 * 16;
        let outputs = node.len();
        let fold = init.map(|init| {
            let scatter = Scatter::recognise(&domain, &index, &mut guards);
            let (indexed_guards, guards) = guards.into_iter().partition(|g| g.form.indexed());
            let single = single(&tape);
            let mut steps = Steps {
                count: node.reduction(),
                init,
                guards,
                indexed_guards,
                scatter,
                width: 0,
                columns: false,
                single,
                narrow: narrow(body.dtype),
            };
            steps.shape(&domain, &reads, &tape, outputs, capacity);
            steps
        });
        Block {
            domain,
            dtype: body.dtype,
            outputs,
            tape,
            index,
            reads,
            values,
            fold,
            capacity,
            simd,
        }
    }

    /// What the kernel is called in a plan.
    pub fn name(&self) -> &'static str {
        match &self.fold {
            None => "map",
            Some(steps) if steps.scatter.is_some() => "scatter",
            Some(_) => "fold",
        }
    }

    /// Computes every element of the node.
    pub fn run(&self, values: Values<'_>, team: Team, out: &mut [u8]) {
        let buckets = self.fold.as_ref().and_then(|steps| {
            let scatter = steps.scatter.as_ref()?;
            let load = &self.index[scatter.word];
            Some(scatter.bucket(&self.domain, load, values.get(load.node), steps.count))
        });
        let (steps, width) = match &self.fold {
            None => (1, self.capacity),
            Some(fold) => (fold.count, fold.width),
        };
        let instrs = (self.tape.before.len() + self.tape.after.len() + 2 * self.reads.len()) as u64;
        let per_output = instrs.saturating_mul(match &buckets {
            None => steps,
            Some(buckets) => buckets.average() + 1,
        });
        let threads = team.threads as u64;
        let worth = self.outputs.saturating_mul(per_output) / PARALLEL_WORK;
        let parts = worth.clamp(1, if threads == 1 { 1 } else { 4 * threads });
        let width = width as u64;
        let part = self.outputs.div_ceil(parts).div_ceil(width) * width;
        let size = self.dtype.size() as usize;
        let compute = |k: usize, out: &mut [u8]| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut first = k as u64 * part;
                scratch.prepare(self);
                for out in out.chunks_mut(width as usize * size) {
                    let span = first..first + (out.len() / size) as u64;
                    first = span.end;
                    match (&self.fold, &buckets) {
                        (None, _) => self.map(scratch, span, values, out),
                        (Some(steps), None) => {
                            let walk = Walk::All(steps.count);
                            self.fold(steps, walk, scratch, span, values, out);
                        }
                        (Some(steps), Some(buckets)) => {
                            let mut from = span.start;
                            while from < span.end {
                                let row = buckets.row(from);
                                let to = row.end.min(span.end);
                                let walk = Walk::Listed(row.steps);
                                let bytes = (from - span.start) as usize * size
                                    ..(to - span.start) as usize * size;
                                self.fold(steps, walk, scratch, from..to, values, &mut out[bytes]);
                                from = to;
                            }
                        }
                    }
                }
            })
        };
        team.chunks(out, part as usize * size, compute);
    }

    fn map(
        &self,
        scratch: &mut Scratch,
        span: std::ops::Range<u64>,
        values: Values<'_>,
        out: &mut [u8],
    ) {
        scratch.tile.set_outputs(&self.domain, span);
        self.before(scratch, values);
        let n = scratch.tile.len();
        let result = self.tape.result as usize;
        let direct = self.dtype.size() == 4 && !self.tape.before.is_empty();
        let own = scratch.slots[result];
        if direct {
            scratch.slots[result] = view_mut::<u32>(out).as_mut_ptr();
        }
        // SAFETY: `prepare` and `before` point every slot to `capacity` words, or to `n` words of
        // a tensor that is only read; the result's slot may point to `out`, which is `n` words.
        unsafe { exec::run(self.simd, &self.tape.before, &scratch.slots, n) };
        if !direct {
            // SAFETY: as above.
            let words = unsafe { std::slice::from_raw_parts(scratch.slots[result], n) };
            store(self.dtype, words, out);
        }
        scratch.slots[result] = own;
    }

    fn fold(
        &self,
        steps: &Steps,
        walk: Walk,
        scratch: &mut Scratch,
        span: std::ops::Range<u64>,
        values: Values<'_>,
        out: &mut [u8],
    ) {
        let n = (span.end - span.start) as usize;
        let (acc, result) = (self.tape.acc as usize, self.tape.result as usize);
        let mut base = std::mem::take(&mut scratch.base);
        base.set_outputs(&self.domain, span);
        self.start(steps, scratch, &base, values);

        let rows = (self.capacity / n).max(1) as u64;
        let mut next = 0;
        while next < walk.len() {
            if steps.columns {
                let end = (next + rows).min(walk.len());
                scratch.tile.set_columns(&base, &self.domain, next..end);
                next = end;
            } else {
                next = self.gather_rows(steps, walk, scratch, &base, next, rows);
            }
            if scratch.tile.len() == 0 {
                continue;
            }
            self.before(scratch, values);
            let len = scratch.tile.len();
            // SAFETY: every slot points to `capacity >= len` words, or to `len` words of a tensor
            // that is only read.
            unsafe { exec::run(self.simd, &self.tape.before, &scratch.slots, len) };
            self.indexed_guards(steps, scratch, n);
            self.steps(steps, scratch, n, len / n);
        }
        scratch.base = base;
        // SAFETY: the accumulator is `capacity >= n` words.
        let words = unsafe { std::slice::from_raw_parts(scratch.slots[acc], n) };
        store(self.dtype, words, out);
        debug_assert_ne!(acc, result);
    }

    /// Sets the accumulators to the initial value.
    fn start(&self, steps: &Steps, scratch: &mut Scratch, base: &Tile, values: Values<'_>) {
        let n = base.len();
        let (acc, result) = (self.tape.acc as usize, self.tape.result as usize);
        // SAFETY: both are scratch of `capacity >= n` words, and distinct.
        let words = |slot: usize| unsafe { std::slice::from_raw_parts_mut(scratch.slots[slot], n) };
        match &steps.init {
            Start::Word(word) => words(acc).fill(*word),
            Start::Read(load) => {
                base.load(load, values.get(load.node), &[], words(acc));
                if let Some(code) = steps.narrow {
                    let instr = Instr {
                        code,
                        dst: self.tape.result,
                        src: [self.tape.acc; 3],
                    };
                    // SAFETY: as above.
                    unsafe { exec::run(self.simd, &[instr], &scratch.slots, n) };
                    scratch.slots.swap(acc, result);
                }
            }
        }
    }

    /// Puts the next steps in which any element takes part into the tile; returns the step after.
    fn gather_rows(
        &self,
        steps: &Steps,
        walk: Walk,
        scratch: &mut Scratch,
        base: &Tile,
        mut next: u64,
        rows: u64,
    ) -> u64 {
        scratch.tile.set_rows(base);
        scratch.full.clear();
        while next < walk.len() && (scratch.full.len() as u64) < rows {
            scratch.tile.push_row(base, &self.domain, walk.step(next));
            next += 1;
            let (mut full, mut any) = (true, true);
            if !steps.guards.is_empty() || !steps.indexed_guards.is_empty() {
                let at = scratch.full.len() * base.len();
                scratch.mask.resize(self.capacity.max(base.len()), 0);
                let mask = &mut scratch.mask[at..at + base.len()];
                (full, any) = scratch.tile.guard_row(&steps.guards, base, mask);
            }
            if any {
                scratch.full.push(full);
            } else {
                scratch.tile.pop_row(base);
            }
        }
        next
    }

    /// Narrows the rows' masks by the guards on index words.
    fn indexed_guards(&self, steps: &Steps, scratch: &mut Scratch, n: usize) {
        if steps.indexed_guards.is_empty() {
            return;
        }
        for guard in &steps.indexed_guards {
            let index = &scratch.index[..self.index.len()];
            scratch.tile.guard_indexed(guard, index, &mut scratch.mask);
        }
        for (full, mask) in scratch.full.iter_mut().zip(scratch.mask.chunks_exact(n)) {
            *full = mask.iter().all(|m| *m != 0);
        }
    }

    /// Takes the steps whose operands are in the tile.
    fn steps(&self, steps: &Steps, scratch: &mut Scratch, n: usize, rows: usize) {
        let (acc, result) = (self.tape.acc as usize, self.tape.result as usize);
        let all = scratch.full.iter().all(|full| *full);
        if let (Some((code, [x, y])), true) = (steps.single, all || steps.columns) {
            let slots = &scratch.slots;
            // SAFETY: the operands are slots of `n * rows` words that are not the accumulator.
            unsafe {
                exec::accumulate(
                    self.simd,
                    code,
                    slots[acc],
                    slots[x as usize],
                    slots[y as usize],
                    n,
                    rows,
                    !steps.columns,
                )
            }
            return;
        }
        for row in 0..rows {
            scratch.row_slots.clone_from(&scratch.slots);
            for slot in &self.tape.moving {
                // SAFETY: a moving slot has `n * rows` words.
                let at = unsafe { scratch.slots[*slot as usize].add(row * n) };
                scratch.row_slots[*slot as usize] = at;
            }
            // SAFETY: every slot points to at least `n` words.
            unsafe { exec::run(self.simd, &self.tape.after, &scratch.row_slots, n) };
            if scratch.full[row] {
                scratch.slots.swap(acc, result);
                continue;
            }
            // SAFETY: both are scratch of `n` words, and distinct.
            let (old, new) = unsafe {
                (
                    std::slice::from_raw_parts_mut(scratch.slots[acc], n),
                    std::slice::from_raw_parts(scratch.slots[result], n),
                )
            };
            let mask = &scratch.mask[row * n..][..n];
            for ((old, new), mask) in old.iter_mut().zip(new).zip(mask) {
                *old = if *mask != 0 { *new } else { *old };
            }
        }
    }

    /// Loads the operands of every point of the tile.
    fn before(&self, scratch: &mut Scratch, values: Values<'_>) {
        let Scratch {
            start,
            slots,
            tile,
            index,
            ..
        } = scratch;
        let n = tile.len();
        // SAFETY: `prepare` made room for `slots + 1` blocks of `capacity >= n` words, and no
        // reference to this one is alive.
        let block = |slot: usize| unsafe {
            std::slice::from_raw_parts_mut(start.add(slot * self.capacity), n)
        };
        for (load, words) in self.index.iter().zip(index.iter_mut()) {
            tile.load_index(load, values.get(load.node), block(self.tape.slots), words);
        }
        let index = &index[..self.index.len()];
        for (load, slot) in self.reads.iter().zip(&self.tape.reads) {
            let Some(slot) = slot.map(usize::from) else {
                continue;
            };
            let source = values.get(load.node);
            slots[slot] = match tile.in_place(load, source) {
                Some(words) => words.as_ptr().cast_mut(),
                None => {
                    let block = block(slot);
                    tile.load(load, source, index, block);
                    block.as_mut_ptr()
                }
            };
        }
        for (form, slot) in self.values.iter().zip(&self.tape.values) {
            if let Some(slot) = slot.map(usize::from) {
                tile.forms(form, index, block(slot));
            }
        }
    }
}

impl Steps {
    /// Chooses how a tile is laid out.
    fn shape(
        &mut self,
        domain: &Domain,
        reads: &[Load],
        tape: &Tape,
        outputs: u64,
        capacity: usize,
    ) {
        let used = reads
            .iter()
            .zip(&tape.reads)
            .filter(|(_, slot)| slot.is_some());
        let inner = domain.out.len() - 1;
        let last = domain.dims() - 1;
        let mut by_output = 0;
        let mut by_step = 0;
        for (load, _) in used.filter(|(load, _)| !load.indexed()) {
            by_output += (load.offset.coords[inner].unsigned_abs() > 1) as u32;
            by_step += (load.offset.coords[last].unsigned_abs() > 1) as u32;
        }
        let steps_adjacent = !domain.red.is_empty() && by_step < by_output;
        let guarded = !self.guards.is_empty() || !self.indexed_guards.is_empty();
        let run = domain.red.last().copied().unwrap_or(1);
        let narrow = outputs < 16 || steps_adjacent;
        self.columns =
            narrow && run >= 8 && !guarded && self.scatter.is_none() && self.single.is_some();
        let width = if self.columns {
            (capacity as u64 / (run as u64).min(capacity as u64 / 4)).max(1)
        } else if steps_adjacent {
            64
        } else {
            256
        };
        self.width = width.min(outputs).min(capacity as u64) as usize;
    }
}

/// The one instruction of a step, if [`exec::accumulate`] can take it.
fn single(tape: &Tape) -> Option<(Code, [tape::Slot; 2])> {
    let [instr] = tape.after.as_slice() else {
        return None;
    };
    if !exec::accumulates(instr.code) {
        return None;
    }
    let operands: &[tape::Slot] = match instr.code {
        Code::FFma => &instr.src,
        _ => &instr.src[..2],
    };
    let at = operands.iter().position(|s| *s == tape.acc)?;
    let rest: Vec<_> = operands.iter().filter(|s| **s != tape.acc).collect();
    let moves = |slot: &tape::Slot| tape.moving.contains(slot);
    match (instr.code, rest.as_slice()) {
        (Code::FFma, [x, y]) if at == 2 && moves(x) && moves(y) => Some((Code::FFma, [**x, **y])),
        (Code::FFma, _) => None,
        (code, [x]) if moves(x) => Some((code, [**x, **x])),
        _ => None,
    }
}

impl Scratch {
    fn new() -> Scratch {
        Scratch {
            words: Buffer::default(),
            start: std::ptr::null_mut(),
            slots: Vec::new(),
            row_slots: Vec::new(),
            base: Tile::default(),
            tile: Tile::default(),
            index: Default::default(),
            mask: Vec::new(),
            full: Vec::new(),
        }
    }

    /// Gives every slot of the kernel its block of words, and fills the constant ones.
    fn prepare(&mut self, block: &Block) {
        let capacity = block.capacity;
        // One block more than there are slots, for index words on their way.
        let bytes = (block.tape.slots + 1) * capacity * 4;
        self.words.reserve(bytes);
        let words: &mut [u32] = view_mut(self.words.bytes_mut());
        for (slot, word) in &block.tape.consts {
            words[*slot as usize * capacity..][..capacity].fill(*word);
        }
        let start = words.as_mut_ptr();
        self.start = start;
        self.slots.clear();
        self.slots.extend((0..block.tape.slots).map(|slot| {
            // SAFETY: the slot's block lies within `words`.
            unsafe { start.add(slot * capacity) }
        }));
        self.full.clear();
    }
}

/// Stores registers as elements; an f32 must be canonical.
fn store(dtype: Dtype, words: &[u32], out: &mut [u8]) {
    match dtype {
        Dtype::F32 | Dtype::I32 | Dtype::U32 => view_mut::<u32>(out).copy_from_slice(words),
        Dtype::U16 => {
            for (to, word) in view_mut::<u16>(out).iter_mut().zip(words) {
                *to = *word as u16;
            }
        }
        Dtype::U8 | Dtype::I8 => {
            for (to, word) in out.iter_mut().zip(words) {
                *to = *word as u8;
            }
        }
    }
}

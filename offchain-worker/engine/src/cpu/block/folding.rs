//! Folds.
//!
//! A tile is a block of output elements times a block of reduction steps. Operands and operations
//! that do not depend on the accumulator are computed for the whole tile; then the steps are taken
//! in ascending order, each for all elements at once. Every element sees exactly the chain of
//! operations that the protocol defines.

use super::{capacity, store, words, Block, Scratch, Tile, SCRATCH};
use crate::cpu::affine::{Domain, Load, Place, Side};
use crate::cpu::buffer::{view, view_mut, Buffer};
use crate::cpu::exec;
use crate::cpu::memory::Values;
use crate::cpu::nested::Nested;
use crate::cpu::order::{layout, order, rearrange};
use crate::cpu::scatter::{Buckets, Scatter};
use crate::cpu::simd::Simd;
use crate::cpu::tape::{self, narrow, Code, Instr, Slot, Tape};
use crate::cpu::walk::Words;
use crate::cpu::workers::Team;
use lockstep_protocol::program::{var, Access, Dtype, Fold, Guard, Init};
use std::cell::RefCell;
use std::ops::Range as Span;

/// Outputs of a fold that are worth a part of their own.
const WIDE: u64 = 512;

/// A fold made ready for the block interpreter.
pub struct Folding {
    block: Block,
    dtype: Dtype,
    outputs: u64,
    steps: Steps,
    /// Where each output element is among the elements as they are computed, if their order is
    /// not the output's.
    layout: Option<Side>,
}

/// What a fold has beyond its body.
struct Steps {
    count: u64,
    init: Start,
    /// Guards without index words.
    guards: Place,
    /// Guards that depend on index words.
    indexed_guards: Place,
    scatter: Option<Scatter>,
    /// Output elements of a tile.
    width: usize,
    /// Whether a tile holds, for each output, its steps one after another.
    columns: bool,
    /// Set where a tile holds all steps of some outer elements, as the operands lie; the reads are
    /// then those of a map over these points.
    nested: Option<Nested>,
    /// The step as one instruction, if it is one that [`exec::accumulate`] knows: its code and
    /// the operands that are not the accumulator.
    single: Option<(Code, [Slot; 2])>,
    narrow: Option<Code>,
}

enum Start {
    Word(u32),
    Read(Box<Load>),
}

/// Which reduction steps an output element takes.
#[derive(Clone, Copy)]
enum Walked<'a> {
    All(u64),
    Listed(&'a [u32]),
}

impl Walked<'_> {
    fn len(self) -> u64 {
        match self {
            Walked::All(count) => count,
            Walked::Listed(list) => list.len() as u64,
        }
    }

    fn step(self, k: u64) -> u64 {
        match self {
            Walked::All(_) => k,
            Walked::Listed(list) => list[k as usize] as u64,
        }
    }
}

thread_local! {
    static COMPUTED: RefCell<Buffer> = RefCell::default();
    static BUCKETS: RefCell<Buckets> = RefCell::default();
}

impl Folding {
    /// Makes a fold ready. `payload(n)` says whether node `n`'s bytes may hold a NaN that is not
    /// canonical.
    pub fn new(fold: &Fold, simd: Simd, payload: impl Fn(u32) -> bool) -> Folding {
        let body = &fold.body;
        let domain = Domain::new(&body.shape, &fold.red, &body.index);
        let scatter = Scatter::recognise(fold);
        let natural: Vec<usize> = (0..domain.out.len()).collect();
        let order = match scatter {
            None => order(&domain, &body.reads),
            Some(_) => natural.clone(),
        };
        let arranged = |mut place: Place| {
            place.arrange(&order);
            place
        };
        let load = |access: &Access| -> Load {
            let mut load = domain.load(access, payload(access.node));
            load.place.arrange(&order);
            load
        };
        let tape = tape::compile(body, true, |_| false);
        let capacity = capacity(&tape);
        let nested = (fold.when.is_empty() && body.index.is_empty() && order == natural)
            .then_some(fold)
            .filter(|_| body.values.is_empty() && single(&tape).is_some())
            .and_then(|_| Nested::recognise(&domain, &body.reads))
            .filter(|nested| nested.inner.saturating_mul(nested.steps) <= capacity as u64);
        let operand = |access: &Access| match &nested {
            Some(nested) => nested.over_points(domain.load(access, payload(access.node))),
            None => load(access),
        };
        let reads = tape.reads.iter();
        let reads = reads.map(|leaf| (operand(&body.reads[leaf.number]), leaf.slot));
        let form = |number: usize| arranged(domain.form(&body.values[number]));
        let values = tape.values.iter();
        let values = values.map(|leaf| (form(leaf.number), leaf.slot));
        let block = Block {
            index: body.index.iter().map(load).collect(),
            reads: reads.collect(),
            values: values.collect(),
            capacity,
            simd,
            tape,
        };
        let outputs = body.shape.iter().map(|dim| dim.0).product();
        let named = scatter.as_ref().map(|scatter| scatter.guard);
        let guards = || {
            let all = fold.when.iter().enumerate();
            all.filter(move |(g, _)| Some(*g) != named)
                .map(|(_, guard)| guard)
        };
        let by_word = |guard: &&Guard| {
            let mut terms = guard.form.terms.iter();
            terms.any(|term| term.var >= var::INDEX)
        };
        let mut steps = Steps {
            count: fold.red.iter().map(|dim| dim.0).product(),
            init: match &fold.init {
                Init::Word(word) => Start::Word(body.dtype.round_trip(*word)),
                Init::Read(access) => Start::Read(Box::new(load(access))),
            },
            guards: arranged(domain.guards(guards().filter(|guard| !by_word(guard)))),
            indexed_guards: arranged(domain.guards(guards().filter(by_word))),
            scatter,
            width: 0,
            columns: false,
            nested,
            single: single(&block.tape),
            narrow: narrow(body.dtype),
        };
        steps.shape(&block, outputs);
        Folding {
            block,
            dtype: body.dtype,
            outputs,
            steps,
            layout: (order != natural).then(|| layout(&domain, &order)),
        }
    }

    /// What the kernel is called in a plan.
    pub fn name(&self) -> &'static str {
        match self.steps.scatter {
            Some(_) => "scatter",
            None => "fold",
        }
    }

    /// Whether the work may be worth more than one task of `grain`.
    pub fn divisible(&self, grain: u64) -> bool {
        let points = self.outputs.saturating_mul(self.steps.count);
        points.saturating_mul(self.block.instrs()) >= grain.saturating_mul(2)
    }

    /// Computes every element of the node.
    pub fn run(&self, values: Values<'_>, team: Team, out: &mut [u8]) {
        let Some(layout) = &self.layout else {
            return self.compute(values, team, out);
        };
        // Taken, not borrowed: no task of this thread can find it in use.
        let mut computed = COMPUTED.take();
        let elements = computed.reserve(out.len());
        self.compute(values, team, elements);
        match self.dtype.size() {
            4 => rearrange::<u32>(layout, view(elements), team, view_mut(out)),
            2 => rearrange::<u16>(layout, view(elements), team, view_mut(out)),
            _ => rearrange::<u8>(layout, elements, team, out),
        }
        COMPUTED.set(computed);
    }

    /// Computes every element, in the order of the walks.
    fn compute(&self, values: Values<'_>, team: Team, out: &mut [u8]) {
        let (block, steps) = (&self.block, &self.steps);
        // Taken, not borrowed, as above.
        let mut buckets = BUCKETS.take();
        let scatter = steps.scatter.as_ref();
        if let Some(scatter) = scatter {
            let load = &block.index[scatter.word];
            scatter.bucket(load, values.get(load.node), block.simd, &mut buckets);
        }
        let per_output = block.instrs().saturating_mul(match scatter {
            None => steps.count,
            Some(_) => buckets.average() + 1,
        });
        let threads = team.threads as u64;
        let worth = self.outputs.saturating_mul(per_output) / team.grain;
        let most = match threads {
            1 => 1,
            // Operands are in rows, which more parts would tear up.
            _ if self.outputs < 4 * threads * WIDE => threads,
            _ => 4 * threads,
        };
        // Few outputs are shared out in narrower tiles.
        let share = self.outputs.div_ceil(worth.clamp(1, most));
        let width = (steps.width as u64).min(share.next_multiple_of(steps.unit()));
        let part = share.next_multiple_of(width);
        let size = self.dtype.size() as usize;
        team.chunks(out, part as usize * size, |k, out| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut first = k as u64 * part;
                scratch.prepare(block);
                for out in out.chunks_mut(width as usize * size) {
                    let span = first..first + (out.len() / size) as u64;
                    first = span.end;
                    if scatter.is_none() {
                        let walk = Walked::All(steps.count);
                        self.fold(walk, scratch, span, values, out);
                        continue;
                    }
                    let mut from = span.start;
                    while from < span.end {
                        let row = buckets.row(from);
                        let to = row.end.min(span.end);
                        let walk = Walked::Listed(row.steps);
                        let bytes =
                            (from - span.start) as usize * size..(to - span.start) as usize * size;
                        self.fold(walk, scratch, from..to, values, &mut out[bytes]);
                        from = to;
                    }
                }
            })
        });
        BUCKETS.set(buckets);
    }

    /// Computes the outputs `span`.
    fn fold(
        &self,
        walk: Walked,
        scratch: &mut Scratch,
        span: Span<u64>,
        values: Values<'_>,
        out: &mut [u8],
    ) {
        let (n, steps) = ((span.end - span.start) as usize, &self.steps);
        self.start(scratch, &span, values);
        if let Some(nested) = &steps.nested {
            self.nested(nested, scratch, span, values);
            // SAFETY: the accumulator is `capacity >= n` words.
            let words = unsafe {
                std::slice::from_raw_parts(scratch.slots[self.block.tape.acc as usize], n)
            };
            return store(self.dtype, words, out);
        }
        let rows = (self.block.capacity / n).max(1) as u64;
        if !steps.columns {
            self.walk(scratch, &span, walk.len() > 2);
        }
        let mut next = 0;
        while next < walk.len() {
            let mut listed = std::mem::take(&mut scratch.rows);
            let (tile, len) = if steps.columns {
                let count = rows.min(walk.len() - next);
                self.walk(scratch, &(next..next + count), n > 2);
                next += count;
                (Tile::Columns(&span), n * count as usize)
            } else {
                next = self.gather_rows(walk, scratch, &mut listed, n, next, rows);
                (Tile::Rows(&listed), n * listed.len())
            };
            if len > 0 {
                self.before(scratch, tile, len, values);
                self.indexed_guards(scratch, tile, n);
                self.steps(scratch, n, len / n);
            }
            scratch.rows = listed;
        }
        // SAFETY: the accumulator is `capacity >= n` words.
        let words =
            unsafe { std::slice::from_raw_parts(scratch.slots[self.block.tape.acc as usize], n) };
        store(self.dtype, words, out);
    }

    /// Takes all steps of the outputs `span`, whole runs of the inner dimension.
    fn nested(&self, nested: &Nested, scratch: &mut Scratch, span: Span<u64>, values: Values<'_>) {
        let points = span.start * nested.steps..span.end * nested.steps;
        let len = (points.end - points.start) as usize;
        self.walk(scratch, &points, false);
        self.before(scratch, Tile::Rows(&[0]), len, values);
        let single = self.steps.single;
        let (code, operands) = single.expect("nested folds take single instructions");
        let (inner, rows) = (nested.inner as usize, nested.steps as usize);
        let slot = |slot: Slot| scratch.slots[slot as usize];
        for outer in 0..len / (inner * rows) {
            // SAFETY: the operands are slots of `len` words that are not the accumulator.
            unsafe {
                let acc = slot(self.block.tape.acc).add(outer * inner);
                let [x, y] = operands.map(|operand| slot(operand).add(outer * inner * rows));
                exec::accumulate(self.block.simd, code, acc, x, y, inner, rows, true);
            }
        }
    }

    /// Computes, for every point of the tile, `len` of them, what does not depend on accumulators.
    fn before(&self, scratch: &mut Scratch, tile: Tile<'_>, len: usize, values: Values<'_>) {
        let block = &self.block;
        block.load_all(scratch, tile, len, values);
        // SAFETY: every slot points to `capacity >= len` words, or to `len` words of a tensor that
        // is only read.
        unsafe { exec::run(block.simd, &block.tape.before, &scratch.slots, len) };
    }

    /// Sets the accumulators to the initial value.
    fn start(&self, scratch: &mut Scratch, span: &Span<u64>, values: Values<'_>) {
        let n = (span.end - span.start) as usize;
        let (acc, result) = (
            self.block.tape.acc as usize,
            self.block.tape.result as usize,
        );
        // SAFETY: it is scratch of `capacity >= n` words, and no other reference to it is alive.
        let words = unsafe { std::slice::from_raw_parts_mut(scratch.slots[acc], n) };
        match &self.steps.init {
            Start::Word(word) => words.fill(*word),
            Start::Read(load) => {
                let walk = &mut scratch.guards[0];
                walk.set(&load.place, &load.place.out, span.start, n, false);
                let source = values.get(load.node);
                load.read(walk, source, &load.place.origin, self.block.simd, words);
                if let Some(code) = self.steps.narrow {
                    let instr = Instr::new(code, self.block.tape.result, [self.block.tape.acc; 3]);
                    // SAFETY: accumulator and result are scratch of `n` words, and distinct.
                    unsafe { exec::run(self.block.simd, &[instr], &scratch.slots, n) };
                    scratch.slots.swap(acc, result);
                }
            }
        }
    }

    /// Sets every walk to `span`, of steps where a tile holds columns, else of output elements.
    fn walk(&self, scratch: &mut Scratch, span: &Span<u64>, often: bool) {
        let Steps {
            guards,
            indexed_guards,
            columns,
            ..
        } = &self.steps;
        self.block.walk(scratch, span, *columns, often);
        let count = (span.end - span.start) as usize;
        for (place, walk) in [guards, indexed_guards]
            .into_iter()
            .zip(&mut scratch.guards)
        {
            let side = if *columns { &place.red } else { &place.out };
            walk.set(place, side, span.start, count, often && !place.indexed());
        }
    }

    /// Puts the next steps in which any element takes part into the tile; returns the step after.
    fn gather_rows(
        &self,
        walk: Walked,
        scratch: &mut Scratch,
        listed: &mut Vec<u64>,
        n: usize,
        mut next: u64,
        rows: u64,
    ) -> u64 {
        listed.clear();
        scratch.full.clear();
        let guards = &self.steps.guards;
        let guarded = self.steps.guarded();
        while next < walk.len() && (listed.len() as u64) < rows {
            let step = walk.step(next);
            next += 1;
            let mut passing = n;
            if guarded {
                let at = guards.origin.plus(&guards.red.point(step));
                let mask = &mut scratch.mask[listed.len() * n..][..n];
                passing = scratch.guards[0].mask(&guards.ranges, &at, mask);
            }
            if passing > 0 {
                scratch.full.push(passing == n);
                listed.push(step);
            }
        }
        next
    }

    /// Narrows the rows' masks by the guards on index words.
    fn indexed_guards(&self, scratch: &mut Scratch, tile: Tile<'_>, n: usize) {
        let guards = &self.steps.indexed_guards;
        if guards.ranges.is_empty() {
            return;
        }
        let walk = &scratch.guards[1];
        for (k, mask) in scratch
            .mask
            .chunks_exact_mut(n)
            .take(tile.len())
            .enumerate()
        {
            let values = words(&scratch.index, k * n);
            let at = tile.at(guards, k);
            walk.mask_indexed(&guards.ranges, &at, Words::new(guards, values), mask);
            scratch.full[k] = mask.iter().all(|m| *m != 0);
        }
    }

    /// Takes the steps whose operands are in the tile.
    fn steps(&self, scratch: &mut Scratch, n: usize, rows: usize) {
        let steps = &self.steps;
        let (acc, result) = (
            self.block.tape.acc as usize,
            self.block.tape.result as usize,
        );
        let all = scratch.full.iter().all(|full| *full);
        if let (Some((code, [x, y])), true) = (steps.single, all || steps.columns) {
            let slots = &scratch.slots;
            // SAFETY: the operands are slots of `n * rows` words that are not the accumulator.
            unsafe {
                exec::accumulate(
                    self.block.simd,
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
            for slot in &self.block.tape.moving {
                // SAFETY: a moving slot has `n * rows` words.
                let at = unsafe { scratch.slots[*slot as usize].add(row * n) };
                scratch.row_slots[*slot as usize] = at;
            }
            // SAFETY: every slot points to at least `n` words.
            unsafe {
                exec::run(
                    self.block.simd,
                    &self.block.tape.after,
                    &scratch.row_slots,
                    n,
                )
            };
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
}

impl Steps {
    /// What the outputs of a tile must be a multiple of.
    fn unit(&self) -> u64 {
        self.nested.map_or(16, |nested| nested.inner)
    }

    /// Whether a guard may forbid a step; that of a scatter, whose rows have their own steps, aside.
    fn guarded(&self) -> bool {
        !self.guards.ranges.is_empty() || !self.indexed_guards.ranges.is_empty()
    }

    /// Chooses how a tile is laid out.
    fn shape(&mut self, block: &Block, outputs: u64) {
        if let Some(Nested { inner, steps, .. }) = self.nested {
            let width = block.capacity as u64 / (inner * steps) * inner;
            self.width = width.min(outputs) as usize;
            return;
        }
        let run = |side: fn(&Place) -> &Side| {
            let extents = block
                .reads
                .iter()
                .map(|(load, _)| side(&load.place).extents.last());
            extents.flatten().copied().min().unwrap_or(1) as u64
        };
        let scattered = |side: fn(&Place) -> &Side| {
            let strides = block
                .reads
                .iter()
                .map(|(load, _)| side(&load.place).stride());
            strides.filter(|stride| stride.unsigned_abs() > 1).count()
        };
        let steps_adjacent = scattered(|place| &place.red) < scattered(|place| &place.out);
        let side_by_side = run(|place| &place.out);
        let run = run(|place| &place.red);
        let few = outputs < 16 || steps_adjacent;
        let free = !self.guarded() && self.scatter.is_none() && self.single.is_some();
        self.columns = few && run >= 8 && free;
        let capacity = block.capacity as u64;
        let width = if self.columns {
            (capacity / run.min(capacity / 4)).max(1)
        } else if steps_adjacent {
            64
        } else if outputs <= capacity || side_by_side >= capacity {
            capacity
        } else {
            256
        };
        self.width = width.min(outputs).min(capacity) as usize;
    }
}

/// The one instruction of a step, if [`exec::accumulate`] can take it.
fn single(tape: &Tape) -> Option<(Code, [Slot; 2])> {
    let [instr] = tape.after.as_slice() else {
        return None;
    };
    if !exec::accumulates(instr.code) {
        return None;
    }
    let operands: &[Slot] = match instr.code {
        Code::FFma => &instr.src,
        _ => &instr.src[..2],
    };
    let at = operands.iter().position(|s| *s == tape.acc)?;
    let rest: Vec<_> = operands.iter().filter(|s| **s != tape.acc).collect();
    let moves = |slot: &Slot| tape.moving.contains(slot);
    match (instr.code, rest.as_slice()) {
        (Code::FFma, [x, y]) if at == 2 && moves(x) && moves(y) => Some((Code::FFma, [**x, **y])),
        (Code::FFma, _) => None,
        (code, [x]) if moves(x) => Some((code, [**x, **x])),
        _ => None,
    }
}

//! The block interpreter: evaluates any map or fold for a block of points at a time.
//!
//! A tile is a block of output elements, in a fold times a block of reduction steps. Operands and
//! operations that do not depend on the accumulator are computed for the whole tile; then the
//! steps are taken in ascending order, each for all elements at once. Every element sees exactly
//! the chain of operations that the protocol defines.

use super::affine::{word, Domain, Load, Place, Point, Side};
use super::buffer::{view, view_mut, Buffer};
use super::exec;
use super::memory::Values;
use super::nested::Nested;
use super::order::{layout, order, rearrange};
use super::scatter::Scatter;
use super::simd::Simd;
use super::tape::{self, narrow, Code, Const, Instr, Slot, Tape};
use super::walk::{Walk, Words};
use super::workers::Team;
use lockstep_protocol::float;
use lockstep_protocol::program::{limits, var, Access, Body, Dtype, Fold, Guard, Init, Node};
use std::cell::RefCell;
use std::ops::Range as Span;

/// Words of scratch that a tile should stay within, so that it fits the first-level cache.
const SCRATCH_WORDS: usize = 8 << 10;
/// Words between constants.
const LINE: usize = 16;
/// Outputs of a fold that are worth a part of their own.
const WIDE: u64 = 512;
/// What the points of a tile are a multiple of, so that they make whole groups of registers, and the
/// most of them.
const GROUP: usize = 256;
const MOST_POINTS: usize = 2048;

/// A map or fold made ready for the block interpreter.
pub struct Block {
    dtype: Dtype,
    outputs: u64,
    tape: Tape,
    index: Vec<Load>,
    /// Operands that are needed, and their slots.
    reads: Vec<(Load, Slot)>,
    /// Values that are needed, and their slots.
    values: Vec<(Place, Slot)>,
    fold: Option<Steps>,
    /// Points of a tile.
    capacity: usize,
    /// Where each output element is among the elements as they are computed, if their order is
    /// not the output's.
    layout: Option<Side>,
    simd: Simd,
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

/// Which points are computed together: every pair of an output element and a step.
#[derive(Clone, Copy)]
enum Tile<'a> {
    /// For each of the listed steps, a row of the elements.
    Rows(&'a [u64]),
    /// For each element from the first of the span on, a column of steps.
    Columns(&'a Span<u64>),
}

impl Tile<'_> {
    /// What the part that stands still adds to `place` in row or column `k`.
    fn at(self, place: &Place, k: usize) -> Point {
        let part = match self {
            Tile::Rows(steps) => place.red.point(steps[k]),
            Tile::Columns(elements) => place.out.point(elements.start + k as u64),
        };
        place.origin.plus(&part)
    }

    /// Number of rows or columns.
    fn len(self) -> usize {
        match self {
            Tile::Rows(steps) => steps.len(),
            Tile::Columns(elements) => (elements.end - elements.start) as usize,
        }
    }

    /// Whether all rows are alike.
    fn repeats(self, place: &Place) -> bool {
        matches!(self, Tile::Rows(_)) && place.red.constant()
    }
}

/// Memory that one thread works in.
struct Scratch {
    words: Buffer,
    /// The first slot's block.
    start: *mut u32,
    slots: Vec<*mut u32>,
    row_slots: Vec<*mut u32>,
    /// For each index word, read and value, and for both kinds of guards, the walk of the part that
    /// moves along a row or column.
    walks: Vec<Walk>,
    /// Steps of the tile's rows.
    rows: Vec<u64>,
    index: [Vec<i64>; limits::INDEX],
    mask: Vec<u32>,
    /// For each row of a tile, whether all its points are active.
    full: Vec<bool>,
}

thread_local! {
    static COMPUTED: RefCell<Buffer> = RefCell::default();
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
        let red = fold.map(|fold| fold.red.as_slice()).unwrap_or_default();
        let domain = Domain::new(&body.shape, red, &body.index);
        let scatter = fold.and_then(Scatter::recognise);
        let natural: Vec<usize> = (0..domain.out.len()).collect();
        let order = match fold {
            Some(_) if scatter.is_none() => order(&domain, &body.reads),
            _ => natural.clone(),
        };
        let load = |access: &Access| -> Load {
            let mut load = domain.load(access, payload(access.node));
            load.place.arrange(&order);
            load
        };
        let tape = tape::compile(body, fold.is_some());
        let fit = SCRATCH_WORDS / tape.blocks.max(1);
        let capacity = fit.next_multiple_of(GROUP).min(MOST_POINTS);
        let nested = fold
            .filter(|fold| fold.when.is_empty() && body.index.is_empty() && order == natural)
            .filter(|_| body.values.is_empty() && single(&tape).is_some())
            .and_then(|_| Nested::recognise(&domain, &body.reads))
            .filter(|nested| nested.inner.saturating_mul(nested.steps) <= capacity as u64);
        let operand = |access: &Access| match &nested {
            Some(nested) => nested.over_points(domain.load(access, payload(access.node))),
            None => load(access),
        };
        let arranged = |mut place: Place| {
            place.arrange(&order);
            place
        };
        let reads = body.reads.iter().zip(&tape.reads);
        let values = body.values.iter().zip(&tape.values);
        let mut block = Block {
            dtype: body.dtype,
            outputs: node.len(),
            index: body.index.iter().map(load).collect(),
            reads: reads
                .filter_map(|(access, slot)| Some((operand(access), (*slot)?)))
                .collect(),
            values: values
                .filter_map(|(form, slot)| Some((arranged(domain.form(form)), (*slot)?)))
                .collect(),
            fold: None,
            tape,
            capacity,
            layout: (order != natural).then(|| layout(&domain, &order)),
            simd,
        };
        block.fold = fold.map(|fold| {
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
                count: node.reduction(),
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
            steps.shape(&block);
            steps
        });
        block
    }

    /// What the kernel is called in a plan.
    pub fn name(&self) -> &'static str {
        match &self.fold {
            None => "map",
            Some(steps) if steps.scatter.is_some() => "scatter",
            Some(_) => "fold",
        }
    }

    /// Instructions of one evaluation, loads included.
    fn instrs(&self) -> u64 {
        (self.tape.before.len() + self.tape.after.len() + 2 * self.reads.len()) as u64
    }

    /// Whether the work may be worth more than one task of `grain`.
    pub fn divisible(&self, grain: u64) -> bool {
        let steps = self.fold.as_ref().map_or(1, |fold| fold.count);
        let points = self.outputs.saturating_mul(steps);
        points.saturating_mul(self.instrs()) >= grain.saturating_mul(2)
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
        let buckets = self.fold.as_ref().and_then(|steps| {
            let scatter = steps.scatter.as_ref()?;
            let load = &self.index[scatter.word];
            Some(scatter.bucket(load, values.get(load.node), self.simd))
        });
        let (steps, width) = match &self.fold {
            None => (1, self.capacity),
            Some(fold) => (fold.count, fold.width),
        };
        let per_output = self.instrs().saturating_mul(match &buckets {
            None => steps,
            Some(buckets) => buckets.average() + 1,
        });
        let threads = team.threads as u64;
        let worth = self.outputs.saturating_mul(per_output) / team.grain;
        // The operands of a fold of few outputs are in rows, which more parts would tear up.
        let few = self.fold.is_some() && self.outputs < 4 * threads * WIDE;
        let most = match threads {
            1 => 1,
            _ if few => threads,
            _ => 4 * threads,
        };
        let parts = worth.clamp(1, most);
        // Few outputs are shared out in narrower tiles.
        let share = self.outputs.div_ceil(parts);
        let unit = self.fold.as_ref().map_or(16, Steps::unit);
        let width = (width as u64).min(share.next_multiple_of(unit));
        let part = share.next_multiple_of(width);
        let size = self.dtype.size() as usize;
        let task = |k: usize, out: &mut [u8]| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut first = k as u64 * part;
                scratch.prepare(self);
                for out in out.chunks_mut(width as usize * size) {
                    let span = first..first + (out.len() / size) as u64;
                    first = span.end;
                    match (&self.fold, &buckets) {
                        (None, _) => self.map(scratch, span, values, out),
                        (Some(steps), None) => {
                            let walk = Walked::All(steps.count);
                            self.fold(steps, walk, scratch, span, values, out);
                        }
                        (Some(steps), Some(buckets)) => {
                            let mut from = span.start;
                            while from < span.end {
                                let row = buckets.row(from);
                                let to = row.end.min(span.end);
                                let walk = Walked::Listed(row.steps);
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
        team.chunks(out, part as usize * size, task);
    }

    fn map(&self, scratch: &mut Scratch, span: Span<u64>, values: Values<'_>, out: &mut [u8]) {
        let n = (span.end - span.start) as usize;
        self.walk(scratch, span, false);
        self.before(scratch, Tile::Rows(&[0]), n, values);
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
        walk: Walked,
        scratch: &mut Scratch,
        span: Span<u64>,
        values: Values<'_>,
        out: &mut [u8],
    ) {
        let n = (span.end - span.start) as usize;
        self.start(steps, scratch, span.clone(), values);
        if let Some(nested) = &steps.nested {
            self.nested(steps, nested, scratch, span, values);
            // SAFETY: the accumulator is `capacity >= n` words.
            let words =
                unsafe { std::slice::from_raw_parts(scratch.slots[self.tape.acc as usize], n) };
            return store(self.dtype, words, out);
        }
        let rows = (self.capacity / n).max(1) as u64;
        if !steps.columns {
            self.walk(scratch, span.clone(), walk.len() > 2);
        }
        let mut next = 0;
        while next < walk.len() {
            let mut listed = std::mem::take(&mut scratch.rows);
            let (tile, len) = if steps.columns {
                let count = rows.min(walk.len() - next);
                self.walk(scratch, next..next + count, n > 2);
                next += count;
                (Tile::Columns(&span), n * count as usize)
            } else {
                next = self.gather_rows(steps, walk, scratch, &mut listed, n, next, rows);
                (Tile::Rows(&listed), n * listed.len())
            };
            if len > 0 {
                self.before(scratch, tile, len, values);
                // SAFETY: every slot points to `capacity >= len` words, or to `len` words of a
                // tensor that is only read.
                unsafe { exec::run(self.simd, &self.tape.before, &scratch.slots, len) };
                self.indexed_guards(steps, scratch, tile, n);
                self.steps(steps, scratch, n, len / n);
            }
            scratch.rows = listed;
        }
        // SAFETY: the accumulator is `capacity >= n` words.
        let words = unsafe { std::slice::from_raw_parts(scratch.slots[self.tape.acc as usize], n) };
        store(self.dtype, words, out);
    }

    /// Takes all steps of the outputs `span`, whole runs of the inner dimension.
    fn nested(
        &self,
        steps: &Steps,
        nested: &Nested,
        scratch: &mut Scratch,
        span: Span<u64>,
        values: Values<'_>,
    ) {
        let points = span.start * nested.steps..span.end * nested.steps;
        let len = (points.end - points.start) as usize;
        self.walk(scratch, points, false);
        self.before(scratch, Tile::Rows(&[0]), len, values);
        // SAFETY: every slot points to `capacity >= len` words, or to `len` words of a tensor that
        // is only read.
        unsafe { exec::run(self.simd, &self.tape.before, &scratch.slots, len) };
        let (code, operands) = steps.single.expect("nested folds take single instructions");
        let (inner, rows) = (nested.inner as usize, nested.steps as usize);
        let slot = |slot: Slot| scratch.slots[slot as usize];
        for outer in 0..len / (inner * rows) {
            // SAFETY: the operands are slots of `len` words that are not the accumulator.
            unsafe {
                let acc = slot(self.tape.acc).add(outer * inner);
                let [x, y] = operands.map(|operand| slot(operand).add(outer * inner * rows));
                exec::accumulate(self.simd, code, acc, x, y, inner, rows, true);
            }
        }
    }

    /// Sets the accumulators to the initial value.
    fn start(&self, steps: &Steps, scratch: &mut Scratch, span: Span<u64>, values: Values<'_>) {
        let n = (span.end - span.start) as usize;
        let (acc, result) = (self.tape.acc as usize, self.tape.result as usize);
        // SAFETY: it is scratch of `capacity >= n` words, and no other reference to it is alive.
        let words = unsafe { std::slice::from_raw_parts_mut(scratch.slots[acc], n) };
        match &steps.init {
            Start::Word(word) => words.fill(*word),
            Start::Read(load) => {
                let walk = &mut scratch.walks[0];
                walk.set(&load.place, &load.place.out, span.start, n, false);
                let source = values.get(load.node);
                load.read(walk, source, &load.place.origin, self.simd, words);
                if let Some(code) = steps.narrow {
                    let instr = Instr::new(code, self.tape.result, [self.tape.acc; 3]);
                    // SAFETY: accumulator and result are scratch of `n` words, and distinct.
                    unsafe { exec::run(self.simd, &[instr], &scratch.slots, n) };
                    scratch.slots.swap(acc, result);
                }
            }
        }
    }

    /// Puts the next steps in which any element takes part into the tile; returns the step after.
    #[allow(clippy::too_many_arguments)]
    fn gather_rows(
        &self,
        steps: &Steps,
        walk: Walked,
        scratch: &mut Scratch,
        listed: &mut Vec<u64>,
        n: usize,
        mut next: u64,
        rows: u64,
    ) -> u64 {
        listed.clear();
        scratch.full.clear();
        let guards = &steps.guards;
        let guarded = !guards.ranges.is_empty() || !steps.indexed_guards.ranges.is_empty();
        while next < walk.len() && (listed.len() as u64) < rows {
            let step = walk.step(next);
            next += 1;
            let mut passing = n;
            if guarded {
                let at = guards.origin.plus(&guards.red.point(step));
                let mask = &mut scratch.mask[listed.len() * n..][..n];
                passing = scratch.walks[self.walks() - 2].mask(&guards.ranges, &at, mask);
            }
            if passing > 0 {
                scratch.full.push(passing == n);
                listed.push(step);
            }
        }
        next
    }

    /// Narrows the rows' masks by the guards on index words.
    fn indexed_guards(&self, steps: &Steps, scratch: &mut Scratch, tile: Tile<'_>, n: usize) {
        let guards = &steps.indexed_guards;
        if guards.ranges.is_empty() {
            return;
        }
        let walk = &scratch.walks[self.walks() - 1];
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

    /// Number of walks: one for each index word, read and value, and two for guards.
    fn walks(&self) -> usize {
        self.index.len() + self.reads.len() + self.values.len() + 2
    }

    /// Sets every walk to `span`, of steps where a tile holds columns, else of output elements.
    fn walk(&self, scratch: &mut Scratch, span: Span<u64>, often: bool) {
        let count = (span.end - span.start) as usize;
        let columns = self.fold.as_ref().is_some_and(|steps| steps.columns);
        let loads = self
            .index
            .iter()
            .chain(self.reads.iter().map(|(load, _)| load));
        let forms = self.values.iter().map(|(place, _)| place);
        let guards = self
            .fold
            .iter()
            .flat_map(|s| [&s.guards, &s.indexed_guards]);
        let places = loads.map(|load| &load.place).chain(forms).chain(guards);
        let loads = self.index.len() + self.reads.len();
        for (k, (place, walk)) in places.zip(&mut scratch.walks).enumerate() {
            let side = if columns { &place.red } else { &place.out };
            let often = often && !place.indexed();
            // One period is read; `load` repeats it.
            let period = side.period().filter(|_| k < loads && !place.indexed());
            let count = period.map_or(count, |period| count.min(period as usize));
            walk.set(place, side, span.start, count, often);
        }
    }

    /// Loads the operands of every point of the tile, `len` of them.
    fn before(&self, scratch: &mut Scratch, tile: Tile<'_>, len: usize, values: Values<'_>) {
        let start = scratch.start;
        // SAFETY: `prepare` made room for `blocks + 1` blocks of `capacity >= len` words, and no
        // reference to this one is alive.
        let block = |slot: usize| unsafe {
            std::slice::from_raw_parts_mut(start.add(slot * self.capacity), len)
        };
        let width = len / tile.len();
        let (index_walks, walks) = scratch.walks.split_at(self.index.len());
        for ((load, walk), words) in (self.index.iter().zip(index_walks)).zip(&mut scratch.index) {
            let bits = block(self.tape.blocks);
            self.load(load, walk, tile, values.get(load.node), None, bits);
            words.clear();
            words.extend(bits.iter().map(|bits| word(load.dtype, *bits)));
        }
        let index = &scratch.index;
        let (read_walks, walks) = walks.split_at(self.reads.len());
        for ((load, slot), walk) in self.reads.iter().zip(read_walks) {
            let source = values.get(load.node);
            scratch.slots[*slot as usize] = match in_place(load, walk, tile, width, source) {
                Some(words) => words.as_ptr().cast_mut(),
                None => {
                    let block = block(*slot as usize);
                    self.load(load, walk, tile, source, Some(index), block);
                    block.as_mut_ptr()
                }
            };
        }
        for ((place, slot), walk) in self.values.iter().zip(walks) {
            for (k, out) in block(*slot as usize).chunks_exact_mut(width).enumerate() {
                let values = words(index, k * width);
                let words = place.indexed().then(|| Words::new(place, values));
                walk.offsets(&tile.at(place, k), words, out);
            }
        }
    }

    /// Reads an operand for every point of the tile.
    fn load(
        &self,
        load: &Load,
        walk: &Walk,
        tile: Tile<'_>,
        source: &[u8],
        index: Option<&[Vec<i64>; limits::INDEX]>,
        out: &mut [u32],
    ) {
        let width = out.len() / tile.len();
        let index = index.filter(|_| load.place.indexed());
        let alike = index.is_none() && tile.repeats(&load.place);
        let (distinct, copies) = out.split_at_mut(if alike { width } else { out.len() });
        for (k, out) in distinct.chunks_exact_mut(width).enumerate() {
            let at = tile.at(&load.place, k);
            match index {
                None => {
                    load.read(walk, source, &at, self.simd, &mut out[..walk.len()]);
                    repeat(out, walk.len());
                }
                Some(index) => load.read_indexed(walk, source, &at, words(index, k * width), out),
            }
        }
        for row in copies.chunks_exact_mut(width) {
            row.copy_from_slice(distinct);
        }
    }
}

/// Repeats the first `period` words to the end, twice as many at a time.
fn repeat(words: &mut [u32], period: usize) {
    let mut done = period;
    while done < words.len() {
        let (from, to) = words.split_at_mut(done);
        let count = done.min(to.len());
        to[..count].copy_from_slice(&from[..count]);
        done += count;
    }
}

/// The values of the index words from point `first` on.
fn words(index: &[Vec<i64>; limits::INDEX], first: usize) -> [&[i64]; limits::INDEX] {
    index
        .each_ref()
        .map(|words| words.get(first..).unwrap_or_default())
}

/// The operand's words where they lie, if the rows or columns of the tile follow one another there.
fn in_place<'a>(
    load: &Load,
    walk: &Walk,
    tile: Tile<'_>,
    width: usize,
    source: &'a [u8],
) -> Option<&'a [u32]> {
    let plain = load.dtype.size() == 4 && !load.payload && !load.place.indexed();
    if !plain || walk.len() != width {
        return None;
    }
    let source: &[u32] = view(source);
    let first = tile.at(&load.place, 0);
    walk.in_place(&load.place, source, &first)?;
    let follows = |k: usize| {
        let at = tile.at(&load.place, k);
        at.offset == first.offset.wrapping_add((k * width) as i64)
            && walk.inside(&load.place.ranges, &at)
    };
    if !(1..tile.len()).all(follows) {
        return None;
    }
    let from = walk.start(&first);
    Some(&source[from..from + width * tile.len()])
}

impl Steps {
    /// What the outputs of a tile must be a multiple of.
    fn unit(&self) -> u64 {
        self.nested.map_or(16, |nested| nested.inner)
    }

    /// Chooses how a tile is laid out.
    fn shape(&mut self, block: &Block) {
        if let Some(Nested { inner, steps, .. }) = self.nested {
            let width = block.capacity as u64 / (inner * steps) * inner;
            self.width = width.min(block.outputs) as usize;
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
        let guarded = !self.guards.ranges.is_empty() || !self.indexed_guards.ranges.is_empty();
        let side_by_side = run(|place| &place.out);
        let run = run(|place| &place.red);
        let few = block.outputs < 16 || steps_adjacent;
        let free = !guarded && self.scatter.is_none() && self.single.is_some();
        self.columns = few && run >= 8 && free;
        let capacity = block.capacity as u64;
        let width = if self.columns {
            (capacity / run.min(capacity / 4)).max(1)
        } else if steps_adjacent {
            64
        } else if block.outputs <= capacity || side_by_side >= capacity {
            capacity
        } else {
            256
        };
        self.width = width.min(block.outputs).min(capacity) as usize;
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

impl Scratch {
    fn new() -> Scratch {
        Scratch {
            words: Buffer::default(),
            start: std::ptr::null_mut(),
            slots: Vec::new(),
            row_slots: Vec::new(),
            walks: Vec::new(),
            rows: Vec::new(),
            index: Default::default(),
            mask: Vec::new(),
            full: Vec::new(),
        }
    }

    /// Gives every slot of the kernel its words, and fills the constant ones.
    fn prepare(&mut self, block: &Block) {
        let (tape, capacity) = (&block.tape, block.capacity);
        // One block more than there are slots, for index words on their way.
        let blocks = (tape.blocks + 1) * capacity;
        let words = blocks + (tape.slots - tape.blocks) * LINE;
        let words: &mut [u32] = view_mut(self.words.reserve(words * 4));
        let place = |slot: usize| match slot.checked_sub(tape.blocks) {
            None => slot * capacity,
            Some(single) => blocks + single * LINE,
        };
        for Const { slot, word, block } in &tape.consts {
            let len = if *block { capacity } else { 1 };
            words[place(*slot as usize)..][..len].fill(*word);
        }
        let start = words.as_mut_ptr();
        self.start = start;
        self.slots.clear();
        self.slots.extend((0..tape.slots).map(|slot| {
            // SAFETY: the slot's place lies within `words`.
            unsafe { start.add(place(slot)) }
        }));
        self.full.clear();
        if self.walks.len() < block.walks() {
            self.walks.resize_with(block.walks(), Walk::default);
        }
        self.mask.resize(capacity, 0);
    }
}

/// Stores registers as elements.
fn store(dtype: Dtype, words: &[u32], out: &mut [u8]) {
    match dtype {
        Dtype::F32 => {
            for (to, word) in view_mut::<u32>(out).iter_mut().zip(words) {
                *to = float::canonical(*word);
            }
        }
        Dtype::I32 | Dtype::U32 => view_mut::<u32>(out).copy_from_slice(words),
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

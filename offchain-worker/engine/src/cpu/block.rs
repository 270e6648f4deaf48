//! The block interpreter: evaluates any map or fold for a block of points at a time.
//!
//! A tile is a block of output elements, in a fold times a block of reduction steps. Here is what
//! maps and folds have in common: where operands lie, how a tile of them comes into slots, and what
//! is computed of them without an accumulator.

pub mod folding;
pub mod map;

use super::affine::{word, Load, Place, Point};
use super::buffer::{view, view_mut, Buffer};
use super::memory::Values;
use super::simd::Simd;
use super::tape::{Const, Slot, Tape};
use super::walk::{Walk, Words};
use lockstep_protocol::float;
use lockstep_protocol::program::{limits, Dtype};
use std::cell::RefCell;
use std::ops::Range as Span;

/// Words of scratch that a tile should stay within, so that it fits the first-level cache.
const SCRATCH_WORDS: usize = 8 << 10;
/// Words between constants.
const LINE: usize = 16;
/// What the points of a tile are a multiple of, so that they make whole groups of registers, and the
/// most of them.
const GROUP: usize = 256;
const MOST_POINTS: usize = 2048;

/// What is evaluated for a tile: a tape and its operands.
struct Block {
    tape: Tape,
    index: Vec<Load>,
    /// Operands that are needed, and their slots.
    reads: Vec<(Load, Slot)>,
    /// Values that are needed, and their slots.
    values: Vec<(Place, Slot)>,
    /// Points of a tile.
    capacity: usize,
    simd: Simd,
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
    /// For each index word, read and value, the walk of the part that moves along a row or column.
    walks: Vec<Walk>,
    /// The same for guards without and with index words.
    guards: [Walk; 2],
    /// Steps of the tile's rows.
    rows: Vec<u64>,
    index: [Vec<i64>; limits::INDEX],
    mask: Vec<u32>,
    /// For each row of a tile, whether all its points are active.
    full: Vec<bool>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// Points of a tile of a tape that keeps so many blocks.
fn capacity(tape: &Tape) -> usize {
    let fit = SCRATCH_WORDS / tape.blocks.max(1);
    fit.next_multiple_of(GROUP).min(MOST_POINTS)
}

impl Block {
    /// Instructions of one evaluation, loads included.
    fn instrs(&self) -> u64 {
        (self.tape.before.len() + self.tape.after.len() + 2 * self.reads.len()) as u64
    }

    /// Number of walks: one for each index word, read and value.
    fn walks(&self) -> usize {
        self.index.len() + self.reads.len() + self.values.len()
    }

    /// Sets every walk to `span`, of steps where a tile holds columns, else of output elements.
    fn walk(&self, scratch: &mut Scratch, span: &Span<u64>, columns: bool, often: bool) {
        let count = (span.end - span.start) as usize;
        let index = self.index.iter().map(|load| (&load.place, None));
        let reads = self.reads.iter();
        let reads = reads.map(|(load, slot)| (&load.place, Some(*slot)));
        let loads = self.index.len() + self.reads.len();
        let forms = self.values.iter().map(|(place, _)| (place, None));
        let places = index.chain(reads).chain(forms);
        for (k, ((place, slot), walk)) in places.zip(&mut scratch.walks).enumerate() {
            let side = if columns { &place.red } else { &place.out };
            // One word, or one period, is read; `load` repeats it.
            let period = side.period().filter(|_| k < loads && !place.indexed());
            let count = match (slot, period) {
                (Some(slot), _) if self.single(slot) => 1,
                (_, Some(period)) => count.min(period as usize),
                _ => count,
            };
            walk.set(place, side, span.start, count, often && !place.indexed());
        }
    }

    /// Whether all points share the word of a slot.
    fn single(&self, slot: Slot) -> bool {
        slot as usize >= self.tape.blocks
    }

    /// Loads the operands of every point of the tile, `len` of them.
    fn load_all(&self, scratch: &mut Scratch, tile: Tile<'_>, len: usize, values: Values<'_>) {
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
            if self.single(*slot) {
                // SAFETY: as for `block`; such a slot has a line of its own.
                let word =
                    unsafe { std::slice::from_raw_parts_mut(scratch.slots[*slot as usize], 1) };
                self.load(load, walk, tile, source, None, word);
                continue;
            }
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

impl Scratch {
    fn new() -> Scratch {
        Scratch {
            words: Buffer::default(),
            start: std::ptr::null_mut(),
            slots: Vec::new(),
            row_slots: Vec::new(),
            walks: Vec::new(),
            guards: Default::default(),
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

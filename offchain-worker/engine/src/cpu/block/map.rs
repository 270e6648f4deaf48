//! Maps.

use super::{capacity, store, Block, Scratch, Tile, SCRATCH};
use crate::cpu::affine::{Domain, Load, Place};
use crate::cpu::buffer::view_mut;
use crate::cpu::exec;
use crate::cpu::memory::Values;
use crate::cpu::simd::Simd;
use crate::cpu::tape;
use crate::cpu::workers::Team;
use lockstep_protocol::program::{Access, Body, Dtype};
use std::ops::Range as Span;

/// A map made ready for the block interpreter.
pub struct Map {
    block: Block,
    dtype: Dtype,
    /// Elements.
    len: u64,
    /// Whether the tape writes the result where it is wanted; otherwise it is converted.
    direct: bool,
}

impl Map {
    /// Makes a map ready. `payload(n)` says whether node `n`'s bytes may hold a NaN that is not
    /// canonical.
    pub fn new(body: &Body, simd: Simd, payload: impl Fn(u32) -> bool) -> Map {
        let domain = Domain::new(&body.shape, &[], &body.index);
        let merged = |mut place: Place| {
            place.out.merge();
            place
        };
        let load = |access: &Access| {
            let load = domain.load(access, payload(access.node));
            Load {
                place: merged(load.place),
                ..load
            }
        };
        let reads: Vec<Load> = body.reads.iter().map(load).collect();
        let single = |place: &Place| place.out.constant() && !place.indexed();
        let tape = tape::compile(body, false, |k| single(&reads[k].place));
        let leaves = tape.reads.iter();
        let loads = leaves.map(|leaf| (reads[leaf.number].clone(), leaf.slot));
        let form = |number: usize| merged(domain.form(&body.values[number]));
        let values = tape.values.iter();
        let values = values.map(|leaf| (form(leaf.number), leaf.slot));
        Map {
            dtype: body.dtype,
            len: body.shape.iter().map(|dim| dim.0).product(),
            direct: body.dtype.size() == 4 && !tape.before.is_empty(),
            block: Block {
                index: body.index.iter().map(load).collect(),
                reads: loads.collect(),
                values: values.collect(),
                capacity: capacity(&tape),
                tape,
                simd,
            },
        }
    }

    /// Whether the work may be worth more than one task of `grain`.
    pub fn divisible(&self, grain: u64) -> bool {
        self.len.saturating_mul(self.block.instrs()) >= grain.saturating_mul(2)
    }

    /// Computes every element.
    pub fn run(&self, values: Values<'_>, team: Team, out: &mut [u8]) {
        let threads = team.threads as u64;
        let worth = self.len.saturating_mul(self.block.instrs()) / team.grain;
        let most = if threads == 1 { 1 } else { 4 * threads };
        // Few elements are shared out in narrower tiles.
        let share = self.len.div_ceil(worth.clamp(1, most));
        let width = (self.block.capacity as u64).min(share.next_multiple_of(16));
        let part = share.next_multiple_of(width);
        let size = self.dtype.size() as usize;
        team.chunks(out, part as usize * size, |k, out| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut first = k as u64 * part;
                scratch.prepare(&self.block);
                for out in out.chunks_mut(width as usize * size) {
                    let span = first..first + (out.len() / size) as u64;
                    first = span.end;
                    self.tile(scratch, span, values, out);
                }
            })
        });
    }

    fn tile(&self, scratch: &mut Scratch, span: Span<u64>, values: Values<'_>, out: &mut [u8]) {
        let n = (span.end - span.start) as usize;
        let block = &self.block;
        block.walk(scratch, &span, false, false);
        block.load_all(scratch, Tile::Rows(&[0]), n, values);
        let result = block.tape.result as usize;
        let own = scratch.slots[result];
        if self.direct {
            scratch.slots[result] = view_mut::<u32>(out).as_mut_ptr();
        }
        // SAFETY: `prepare` and `load_all` point every slot to `capacity` words, to one that all
        // points share, or to `n` words of a tensor that is only read; the result's slot may point
        // to `out`, which is `n` words.
        unsafe { exec::run(block.simd, &block.tape.before, &scratch.slots, n) };
        if !self.direct {
            // SAFETY: as above; a result is never of one word.
            let words = unsafe { std::slice::from_raw_parts(scratch.slots[result], n) };
            store(self.dtype, words, out);
        }
        scratch.slots[result] = own;
    }
}

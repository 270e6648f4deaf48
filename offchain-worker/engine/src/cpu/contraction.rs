//! Folds that are sums of products: matrix multiplication in every transpose, batched or not,
//! convolution, and the gradients of all of them.
//!
//! An output dimension that only one operand follows is a row or a column; one that both follow, or
//! on which a guard depends, is a batch; the reduction is K, without the steps that the guards skip
//! in a batch. Which operand is which changes nothing, since a product does not
//! depend on the order of its factors.

use super::affine::{row_major, Domain, Load, Place, Side};
use super::buffer::{view, view_mut};
use super::gemm::micro::{From, Micro};
use super::gemm::pack::{pack, Steps};
use super::gemm::{Gemm, Output, Pack};
use super::memory::Values;
use super::simd::Simd;
use super::walk::Walk;
use super::workers::Team;
use lockstep_protocol::float;
use lockstep_protocol::program::{Dtype, Fold, Init, Op};
use std::cell::RefCell;

/// Fewest rows times columns for which packing pays.
const MIN_TILE: u64 = 32;
/// A contraction made ready.
pub struct Contraction {
    /// The operand of the rows and that of the columns.
    operands: [Operand; 2],
    /// Number of batches, and offsets of their parts of the output.
    batches: u64,
    batch_layout: Side,
    /// The conditions on steps, and the part of them that depends on the batch.
    guards: Place,
    batch_guards: Side,
    /// Rows, columns, steps.
    size: [usize; 3],
    init: Start,
    micro: Micro,
}

struct Operand {
    load: Load,
    /// The part of the output dimensions that only this operand follows.
    lanes: Side,
    /// The part of those that both follow.
    batch: Side,
    /// Offsets of the lanes in the output.
    layout: Side,
}

enum Start {
    Word(f32),
    Read(Box<Load>),
}

impl Contraction {
    /// Recognises a contraction. `payload(n)` says whether node `n`'s bytes may hold a NaN that is
    /// not canonical.
    pub fn recognise(
        fold: &Fold,
        simd: Simd,
        payload: impl Fn(u32) -> bool,
    ) -> Option<Contraction> {
        let body = &fold.body;
        let [x, y] = body.reads.as_slice() else {
            return None;
        };
        let product = matches!(
            body.ops.as_slice(),
            [Op::FFma(1, 2, 0)] | [Op::FFma(2, 1, 0)]
        );
        let floats = [body.dtype, x.dtype, y.dtype] == [Dtype::F32; 3];
        // More registers would stand between the reads and the result.
        let bare = body.index.is_empty() && body.values.is_empty() && body.consts.is_empty();
        if !product || !floats || !bare {
            return None;
        }
        let domain = Domain::new(&body.shape, &fold.red, &[]);
        let [x, y] = [x, y].map(|access| domain.load(access, false));
        let guards = domain.guards(fold.when.iter());
        let follows = |load: &Load, d: usize| {
            let depends = |place: &Place| !place.out.units[d].zero();
            domain.out[d] > 1 && (depends(&load.place) || depends(&guards))
        };
        // The columns are the dimensions that the operand of the innermost one follows.
        let alone = |d: &usize| follows(&x, *d) != follows(&y, *d);
        let innermost = (0..domain.out.len()).rev().find(alone)?;
        let loads = match follows(&x, innermost) {
            true => [y, x],
            false => [x, y],
        };
        let dims = |wanted: [bool; 2]| -> Vec<usize> {
            let of = |d: usize| [follows(&loads[0], d), follows(&loads[1], d)];
            (0..domain.out.len()).filter(|d| of(*d) == wanted).collect()
        };
        let mut lanes = [dims([true, false]), dims([false, true])];
        // What neither follows repeats the same sums, in columns as well as anywhere.
        lanes[1].extend(dims([false, false]));
        lanes[1].sort_unstable();
        let batch = dims([true, true]);
        let count = |dims: &[usize]| dims.iter().map(|d| domain.out[*d] as u64).product::<u64>();
        let (m, n) = (count(&lanes[0]), count(&lanes[1]));
        if m * n < MIN_TILE {
            return None;
        }
        let whole = row_major(&domain.out);
        let batch_layout = whole.select(&batch);
        let [rows, cols] = loads;
        let operand = |load: Load, lanes: &[usize]| Operand {
            lanes: load.place.out.select(lanes),
            batch: load.place.out.select(&batch),
            layout: whole.select(lanes),
            load,
        };
        Some(Contraction {
            operands: [operand(rows, &lanes[0]), operand(cols, &lanes[1])],
            batches: count(&batch),
            batch_layout,
            batch_guards: guards.out.select(&batch),
            guards,
            size: [
                m as usize,
                n as usize,
                domain.red.iter().product::<i64>() as usize,
            ],
            init: match &fold.init {
                Init::Word(word) => Start::Word(f32::from_bits(float::canonical(*word))),
                Init::Read(access) => {
                    let mut load = domain.load(access, payload(access.node));
                    load.place.out.merge();
                    Start::Read(Box::new(load))
                }
            },
            micro: Micro::new(simd),
        })
    }

    /// Whether the work is worth more than one task of `grain`.
    pub fn divisible(&self, grain: u64) -> bool {
        let sizes = self.size.iter().map(|size| *size as u64);
        sizes.fold(self.batches, u64::saturating_mul) >= grain.saturating_mul(2)
    }

    /// Computes every element of the node.
    pub fn run(&self, values: Values<'_>, team: Team, out: &mut [u8]) {
        let from = match &self.init {
            Start::Word(word) => From::Word(*word),
            Start::Read(load) => {
                self.start(load, values.get(load.node), team, out);
                From::Output
            }
        };
        let sources = [0, 1].map(|o: usize| view::<u32>(values.get(self.operands[o].load.node)));
        let out = Output::new(view_mut(out));
        let team = match self.divisible(team.grain) {
            true => team,
            false => team.alone(),
        };
        // Whole batches share nothing, so they are the better tasks when there are enough.
        let (outer, inner) = if self.batches >= 2 * team.threads as u64 {
            (team, team.alone())
        } else {
            (team.alone(), team)
        };
        outer.each(self.batches as usize, |batch| {
            self.multiply(batch as u64, sources, from, out, inner);
        });
    }

    /// Writes the initial values to the output.
    fn start(&self, load: &Load, source: &[u8], team: Team, out: &mut [u8]) {
        const PART: usize = 4096;
        team.chunks(view_mut::<u32>(out), PART, |part, out| {
            let mut walk = Walk::default();
            let first = (part * PART) as u64;
            walk.set(&load.place, &load.place.out, first, out.len(), false);
            load.read(&walk, source, &load.place.origin, self.micro.simd, out);
            out.iter_mut()
                .for_each(|word| *word = float::canonical(*word));
        });
    }

    fn multiply(&self, batch: u64, sources: [&[u32]; 2], from: From, out: Output, team: Team) {
        let [rows, cols, steps] = self.size;
        let passing = self.passing(batch);
        let gemm = Gemm {
            size: [rows, cols, passing.as_ref().map_or(steps, Vec::len)],
            layout: [&self.operands[0].layout, &self.operands[1].layout],
            offset: self.batch_layout.point(batch).offset as usize,
            from,
            micro: self.micro,
            team,
        };
        let panels = |k0: usize, ks: usize| {
            [0, 1].map(|o: usize| {
                let operand = &self.operands[o];
                let batch = operand.batch.point(batch);
                Panels {
                    operand,
                    source: sources[o],
                    steps: match &passing {
                        None => Steps::new(&operand.load, &batch, k0 as u64, ks),
                        Some(steps) => Steps::listed(&operand.load, &batch, &steps[k0..k0 + ks]),
                    },
                    simd: self.micro.simd,
                }
            })
        };
        // SAFETY: the kernels were chosen for this machine. Rows, columns and batches together are
        // all output dimensions, so the layout is a bijection onto the output.
        unsafe { gemm.run(out, panels) };
    }

    /// The steps that the guards let through in a batch; `None` when that is all of them.
    fn passing(&self, batch: u64) -> Option<Vec<u64>> {
        let Place {
            origin,
            red,
            ranges,
            ..
        } = &self.guards;
        if ranges.is_empty() {
            return None;
        }
        let at = origin.plus(&self.batch_guards.point(batch));
        let steps = 0..self.size[2] as u64;
        let passes = |step: &u64| at.plus(&red.point(*step)).passes(ranges);
        let passing: Vec<u64> = steps.filter(passes).collect();
        (passing.len() < self.size[2]).then_some(passing)
    }
}

/// Packs one operand over a block of steps.
struct Panels<'a> {
    operand: &'a Operand,
    source: &'a [u32],
    steps: Steps,
    simd: Simd,
}

thread_local! {
    static LANES: RefCell<Walk> = RefCell::default();
}

impl Pack for Panels<'_> {
    fn panel(&self, first: usize, count: usize, width: usize, out: &mut [u32]) {
        let Operand { load, lanes, .. } = self.operand;
        LANES.with_borrow_mut(|walk| {
            walk.set(&load.place, lanes, first as u64, count, true);
            pack(load, self.source, walk, &self.steps, width, self.simd, out);
        });
    }
}

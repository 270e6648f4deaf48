//! Folds that are sums of products: matrix multiplication in every transpose, batched or not,
//! convolution, and the gradients of all of them.

use super::affine::{Domain, Load};
use super::buffer::{view, view_mut, Buffer};
use super::gemm::direct::{Direct, Multiply};
use super::gemm::micro::{From, Micro};
use super::gemm::pack::{pack, pack_lanes, Steps};
use super::gemm::{Gemm, Output, Pack};
use super::memory::Values;
use super::padding::Padding;
use super::product::{Operand, Product};
use super::simd::Simd;
use super::walk::Walk;
use super::workers::Team;
use lockstep_protocol::float;
use lockstep_protocol::program::{Dtype, Fold, Init, Op};
use std::cell::RefCell;

/// A contraction made ready.
pub struct Contraction {
    product: Product,
    /// For each operand, the copy that it is read from.
    padding: [Option<Padding>; 2],
    /// Set where operands are read where they lie.
    direct: Option<Direct>,
    init: Start,
    micro: Micro,
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
        let mut loads = [x, y].map(|access| domain.load(access, false));
        let mut padding = [0, 1].map(|k: usize| Padding::new(&domain, [x, y][k], &mut loads[k]));
        let product = Product::of(fold, &domain, loads)?;
        if product.operands[0].read == 1 {
            padding.swap(0, 1);
        }
        let micro = Micro::new(simd);
        Some(Contraction {
            direct: Direct::new(&product, &micro),
            product,
            padding,
            init: match &fold.init {
                Init::Word(word) => Start::Word(f32::from_bits(float::canonical(*word))),
                Init::Read(access) => {
                    let mut load = domain.load(access, payload(access.node));
                    load.place.out.merge();
                    Start::Read(Box::new(load))
                }
            },
            micro,
        })
    }

    /// Whether the work is worth more than one task of `grain`.
    pub fn divisible(&self, grain: u64) -> bool {
        self.product.divisible(grain)
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
        let team = match self.divisible(team.grain) {
            true => team,
            false => team.alone(),
        };
        let mut copies = COPIES.take();
        let sources =
            std::array::from_fn(|o| view::<u32>(values.get(self.product.operands[o].load.node)));
        let sources = self.padded(sources, &mut copies, team);
        let out = Output::new(view_mut(out));
        // Whole batches share nothing, so they are the better tasks when there are enough.
        let (batches, threads) = (self.product.batches, team.threads as u64);
        let even = batches >= 2 * threads || batches == threads;
        let (outer, inner) = if even {
            (team, team.alone())
        } else {
            (team.alone(), team)
        };
        outer.each(batches as usize, |batch| {
            self.multiply(batch as u64, sources, from, out, inner);
        });
        COPIES.set(copies);
    }

    /// The operands, or their copies with a margin.
    fn padded<'a>(
        &self,
        mut sources: [&'a [u32]; 2],
        copies: &'a mut [Buffer; 2],
        team: Team,
    ) -> [&'a [u32]; 2] {
        let padding = self.padding.iter().zip(copies);
        for ((padding, copy), source) in padding.zip(&mut sources) {
            if let Some(padding) = padding {
                let words = view_mut::<u32>(copy.reserve(padding.len * 4));
                padding.copy(source, team, words);
                *source = words;
            }
        }
        sources
    }

    /// Writes the initial values to the output.
    fn start(&self, load: &Load, source: &[u8], team: Team, out: &mut [u8]) {
        const PART: usize = 4096;
        team.chunks(view_mut::<u32>(out), PART, |part, out| {
            LANES.with_borrow_mut(|walk| {
                let first = (part * PART) as u64;
                walk.set(&load.place, &load.place.out, first, out.len(), false);
                load.read(walk, source, &load.place.origin, self.micro.simd, out);
            });
            out.iter_mut()
                .for_each(|word| *word = float::canonical(*word));
        });
    }

    fn multiply(&self, batch: u64, sources: [&[u32]; 2], from: From, out: Output, team: Team) {
        let Product {
            operands,
            batch_layout,
            size: [rows, cols, steps],
            ..
        } = &self.product;
        // Taken, not borrowed: no task of this thread can find it in use.
        let mut room = PASSING.take();
        let passing = self.product.passing(batch, &mut room);
        let panels = |k0: usize, ks: usize| {
            [0, 1].map(|o: usize| {
                let operand = &operands[o];
                let batch = operand.batch.point(batch);
                Panels {
                    operand,
                    source: sources[o],
                    steps: match passing {
                        None => Steps::new(&operand.load, &batch, k0 as u64, ks),
                        Some(steps) => Steps::listed(&operand.load, &batch, &steps[k0..k0 + ks]),
                    },
                    simd: self.micro.simd,
                }
            })
        };
        if let Some(direct) = &self.direct {
            let columns = panels(0, *steps);
            let multiply = Multiply {
                product: &self.product,
                batch,
                sources,
                from,
                micro: &self.micro,
                team,
            };
            // SAFETY: as below.
            unsafe { direct.run(&multiply, &columns[1], out) };
        } else {
            let gemm = Gemm {
                size: [*rows, *cols, passing.map_or(*steps, <[u64]>::len)],
                layout: [&operands[0].layout, &operands[1].layout],
                offset: batch_layout.point(batch).offset as usize,
                from,
                micro: self.micro,
                team,
            };
            // SAFETY: the kernels were chosen for this machine. Rows, columns and batches together
            // are all output dimensions, so the layout is a bijection onto the output.
            unsafe { gemm.run(out, panels) };
        }
        PASSING.set(room);
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
    static COPIES: RefCell<[Buffer; 2]> = RefCell::default();
    static LANES: RefCell<Walk> = RefCell::default();
    static PASSING: RefCell<Vec<u64>> = RefCell::default();
}

impl Drop for Panels<'_> {
    fn drop(&mut self) {
        std::mem::take(&mut self.steps).retire();
    }
}

impl Pack for Panels<'_> {
    fn panel(&self, first: usize, count: usize, width: usize, out: &mut [u32]) {
        let Operand { load, lanes, .. } = self.operand;
        LANES.with_borrow_mut(|walk| {
            let (steps, simd) = (&self.steps, self.simd);
            let blocks = steps.in_blocks(load, lanes, count);
            walk.set(&load.place, lanes, first as u64, count, !blocks);
            pack(load, self.source, walk, steps, blocks, width, simd, out);
        });
    }

    fn in_rows(&self, count: usize) -> bool {
        let Operand { load, lanes, .. } = self.operand;
        self.steps.in_rows(load, lanes, count)
    }

    fn rows(&self, first: usize, count: usize, stride: usize, out: &mut [u32]) {
        let Operand { load, lanes, .. } = self.operand;
        LANES.with_borrow_mut(|walk| {
            walk.set(&load.place, lanes, first as u64, count, false);
            pack_lanes(load, self.source, walk, &self.steps, stride, out);
        });
    }
}

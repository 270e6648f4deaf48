//! Folds that are sums of products: matrix multiplication in every transpose, batched or not,
//! convolution, and the gradients of all of them.
//!
//! An output dimension that only one operand follows is a row or a column; one that both follow
//! is a batch; the reduction is K. Which operand is which changes nothing, since a product does not
//! depend on the order of its factors.

use super::affine::{Domain, Load};
use super::buffer::{view, view_mut};
use super::gemm::micro::{From, Micro};
use super::gemm::pack::{pack, Walk};
use super::gemm::{Gemm, Layout, Output, Pack};
use super::memory::Values;
use super::simd::Simd;
use super::tile::Tile;
use super::workers::Team;
use lockstep_protocol::float;
use lockstep_protocol::program::{Dtype, Fold, Init, Op};
use std::cell::RefCell;

/// Fewest rows times columns for which packing pays.
const MIN_TILE: u64 = 32;
/// Steps that are worth sharing among threads.
const PARALLEL_STEPS: u64 = 1 << 16;

/// A contraction made ready.
pub struct Contraction {
    domain: Domain,
    /// The operand of the rows and that of the columns.
    operands: [Operand; 2],
    batch: Dims,
    /// Rows, columns, steps.
    size: [usize; 3],
    init: Start,
    micro: Micro,
}

/// Coordinates with their extents, the innermost last.
type Dims = Vec<(usize, i64)>;

struct Operand {
    load: Load,
    /// The output dimensions that only this operand follows.
    lanes: Dims,
    /// Distance in the output from one point of each of these dimensions to the next.
    strides: Vec<usize>,
}

enum Start {
    Word(f32),
    Read(Load),
}

impl Contraction {
    /// Recognises a contraction.
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
        if !product || !floats || !body.index.is_empty() || !fold.when.is_empty() {
            return None;
        }
        let mut domain = Domain {
            out: body.shape.iter().map(|d| d.0 as i64).collect(),
            red: fold.red.iter().map(|d| d.0 as i64).collect(),
            words: Vec::new(),
        };
        let mut loads = [x, y].map(|access| domain.load(access, false));
        let mut init = match &fold.init {
            Init::Word(word) => Start::Word(f32::from_bits(float::canonical(*word))),
            Init::Read(access) => Start::Read(domain.load(access, payload(access.node))),
        };
        let mut forms: Vec<_> = loads.iter_mut().flat_map(Load::forms).collect();
        if let Start::Read(load) = &mut init {
            forms.extend(load.forms());
        }
        domain.collapse(&mut forms);

        let outputs = domain.out.len();
        // The columns are the dimensions that the operand of the innermost one follows.
        let [x, y] = loads;
        let loads = match (x.depends(outputs - 1), y.depends(outputs - 1)) {
            (true, false) => [y, x],
            (false, _) => [x, y],
            (true, true) => return None,
        };
        let mut operands = loads.map(|load| Operand {
            load,
            lanes: Vec::new(),
            strides: Vec::new(),
        });
        let mut batch = Dims::new();
        let mut stride = domain.out.iter().product::<i64>() as usize;
        for (d, extent) in domain.out.iter().enumerate() {
            stride /= *extent as usize;
            let follows = [0, 1].map(|o: usize| operands[o].load.depends(d));
            let operand = match follows {
                [true, true] => {
                    batch.push((d, *extent));
                    continue;
                }
                [true, false] => &mut operands[0],
                [false, _] => &mut operands[1],
            };
            operand.lanes.push((d, *extent));
            operand.strides.push(stride);
        }
        let count = |dims: &Dims| {
            dims.iter()
                .map(|(_, extent)| *extent as u64)
                .product::<u64>()
        };
        let [m, n] = [0, 1].map(|o: usize| count(&operands[o].lanes));
        let k = domain.red.iter().product::<i64>() as u64;
        if m * n < MIN_TILE {
            return None;
        }
        Some(Contraction {
            domain,
            operands,
            batch,
            size: [m, n, k].map(|size| size as usize),
            init,
            micro: Micro::new(simd),
        })
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
        let sources = [0, 1].map(|o: usize| view::<f32>(values.get(self.operands[o].load.node)));
        let out = Output::new(view_mut(out));
        let batches = self
            .batch
            .iter()
            .map(|(_, extent)| *extent as u64)
            .product::<u64>();
        let steps: u64 = self.size.iter().map(|size| *size as u64).product();
        let worth = steps.saturating_mul(batches) >= PARALLEL_STEPS;
        let team = if worth { team } else { Team::ALONE };
        // Whole batches share nothing, so they are the better tasks when there are enough.
        let (outer, inner) = if batches >= 2 * team.threads as u64 {
            (team, Team::ALONE)
        } else {
            (Team::ALONE, team)
        };
        outer.each(batches as usize, |batch| {
            self.multiply(batch as u64, sources, from, out, inner);
        });
    }

    /// Writes the initial values to the output.
    fn start(&self, load: &Load, source: &[u8], team: Team, out: &mut [u8]) {
        const PART: usize = 4096;
        team.chunks(view_mut::<u32>(out), PART, |part, out| {
            let first = (part * PART) as u64;
            let mut tile = Tile::default();
            tile.set_outputs(&self.domain, first..first + out.len() as u64);
            tile.load(load, source, &[], out);
            out.iter_mut()
                .for_each(|word| *word = float::canonical(*word));
        });
    }

    fn multiply(&self, batch: u64, sources: [&[f32]; 2], from: From, out: Output, team: Team) {
        let mut origin = [0; 12];
        let origin = &mut origin[..self.domain.dims()];
        let mut offset = 0;
        let mut left = batch;
        for (d, extent) in self.batch.iter().rev() {
            origin[*d] = (left % *extent as u64) as i64;
            left /= *extent as u64;
        }
        let mut stride = 1;
        for (d, extent) in self.domain.out.iter().enumerate().rev() {
            offset += origin[d] as usize * stride;
            stride *= *extent as usize;
        }
        let layout = Strided {
            offset,
            operands: &self.operands,
        };
        let gemm = Gemm {
            size: self.size,
            layout: &layout,
            from,
            micro: self.micro,
            team,
        };
        let first = self.domain.out.len();
        let red: Dims = (first..).zip(self.domain.red.iter().copied()).collect();
        let panels = |k0: usize, ks: usize| {
            [0, 1].map(|o: usize| {
                let load = &self.operands[o].load;
                let mut steps = Walk::default();
                steps.set(load, &red, k0, ks, Some(origin));
                Panels {
                    operand: &self.operands[o],
                    source: sources[o],
                    steps,
                    simd: self.micro.simd,
                }
            })
        };
        // SAFETY: the kernels were chosen for this machine. Rows, columns and batches together are
        // all output dimensions, so the layout is a bijection onto the output.
        unsafe { gemm.run(out, panels) };
    }
}

/// Packs one operand over a block of steps.
struct Panels<'a> {
    operand: &'a Operand,
    source: &'a [f32],
    steps: Walk,
    simd: Simd,
}

thread_local! {
    static LANES: RefCell<Walk> = RefCell::default();
}

impl Pack for Panels<'_> {
    fn panel(&self, first: usize, count: usize, width: usize, out: &mut [f32]) {
        let Operand { load, lanes, .. } = self.operand;
        LANES.with_borrow_mut(|walk| {
            walk.set(load, lanes, first, count, None);
            pack(load, self.source, walk, &self.steps, width, self.simd, out);
        });
    }
}

/// The output of one batch.
struct Strided<'a> {
    offset: usize,
    operands: &'a [Operand; 2],
}

impl Strided<'_> {
    fn lane(operand: &Operand, lane: usize) -> usize {
        let mut left = lane;
        let dims = operand.lanes.iter().zip(&operand.strides).rev();
        dims.fold(0, |offset, ((_, extent), stride)| {
            let x = left % *extent as usize;
            left /= *extent as usize;
            offset + x * stride
        })
    }
}

impl Layout for Strided<'_> {
    fn row(&self, m: usize) -> usize {
        self.offset + Strided::lane(&self.operands[0], m)
    }

    fn cols(&self, n: usize, out: &mut [usize]) {
        for (offset, n) in out.iter_mut().zip(n..) {
            *offset = Strided::lane(&self.operands[1], n);
        }
    }
}

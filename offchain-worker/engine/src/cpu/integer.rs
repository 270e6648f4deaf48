//! Folds that are sums of products of 8-bit integers, in wrapping 32-bit arithmetic.
//!
//! The dimensions fall to rows, columns and batches as those of a contraction of floats do. Since
//! the sums are exact in any order, K is walked four steps at a time by the instructions that
//! multiply bytes.

mod micro;
mod multiply;
mod pack;
mod scaled;

pub use scaled::ScaledProduct;

use super::affine::Load;
use super::buffer::view_mut;
use super::memory::Values;
use super::product::Product;
use super::simd::Simd;
use super::workers::Team;
use lockstep_protocol::program::{Dtype, Fold, Init, Op};
use micro::{Micro, MAX_COLS};
use multiply::{Done, Finish, Multiply};

/// A sum of products of bytes made ready.
pub struct IntegerProduct {
    product: Product,
    start: u32,
    micro: Micro,
}

impl IntegerProduct {
    /// Recognises such a sum.
    pub fn recognise(fold: &Fold, simd: Simd) -> Option<IntegerProduct> {
        let body = &fold.body;
        let (Init::Word(start), [x, y]) = (&fold.init, body.reads.as_slice()) else {
            return None;
        };
        let product = matches!(
            body.ops.as_slice(),
            [
                Op::IMul(1, 2) | Op::IMul(2, 1),
                Op::IAdd(0, 3) | Op::IAdd(3, 0)
            ]
        );
        let words = matches!(body.dtype, Dtype::I32 | Dtype::U32);
        let bytes = [x.dtype, y.dtype] == [Dtype::I8; 2];
        let bare = body.index.is_empty() && body.values.is_empty() && body.consts.is_empty();
        if !product || !words || !bytes || !bare {
            return None;
        }
        let product = Product::new(fold)?;
        let fits = |load: &Load| i8::try_from(load.fill as i32).is_ok();
        let fits = product.operands.iter().all(|o| fits(&o.load));
        fits.then(|| IntegerProduct {
            product,
            start: *start,
            micro: Micro::new(simd),
        })
    }

    /// Whether the work is worth more than one task of `grain`.
    pub fn divisible(&self, grain: u64) -> bool {
        self.product.divisible(grain)
    }

    /// Computes every element of the node.
    pub fn run(&self, values: Values<'_>, team: Team, out: &mut [u8]) {
        let out = view_mut::<u32>(out);
        self.multiply(values, team).run(&Store {
            product: &self.product,
            start: self.start,
            out: out.as_mut_ptr(),
        });
    }

    fn multiply<'a>(&'a self, values: Values<'a>, team: Team<'a>) -> Multiply<'a> {
        Multiply {
            product: &self.product,
            sources: [0, 1].map(|o: usize| values.get(self.product.operands[o].load.node)),
            micro: self.micro,
            team: match self.divisible(team.grain) {
                true => team,
                false => team.alone(),
            },
        }
    }
}

/// Stores sums as they are.
struct Store<'a> {
    product: &'a Product,
    start: u32,
    out: *mut u32,
}

// SAFETY: tiles are disjoint parts of the output, and each is stored by one thread at a time.
unsafe impl Sync for Store<'_> {}

impl Finish for Store<'_> {
    fn finish(&self, done: Done<'_>) {
        let batch = self.product.batch_layout.point(done.part.batch).offset as usize;
        let [rows, cols] = done.offsets;
        let add = |to: &mut u32, sum: &i32| {
            let before = if done.part.first { self.start } else { *to };
            *to = before.wrapping_add(*sum as u32);
        };
        for (row, sums) in rows.iter().zip(done.sums.0.chunks_exact(MAX_COLS)) {
            // SAFETY: rows, columns and batches together are all output dimensions, so each of
            // these offsets is one element of the output, which is this tile's alone.
            unsafe {
                let to = self.out.add(batch + row);
                if done.adjacent {
                    let to = std::slice::from_raw_parts_mut(to.add(cols[0]), cols.len());
                    to.iter_mut().zip(sums).for_each(|(to, sum)| add(to, sum));
                    continue;
                }
                for (col, sum) in cols.iter().zip(sums) {
                    add(&mut *to.add(*col), sum);
                }
            }
        }
    }
}

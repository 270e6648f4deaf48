//! Peers of our matrix products: libraries with the CBLAS interface, loaded at run time.

mod mkl;
mod openblas;
mod variable;

use super::product::Operands;
use super::python::Python;
use super::shape::{Layout, Shape};
use libloading::Library;
use rayon::prelude::*;
use rayon::ThreadPool;
use serde::Serialize;
use variable::Variable;

/// A library, or why there is none.
pub struct Peer {
    /// What it is called.
    pub name: &'static str,
    /// The library, when it is on this machine.
    pub blas: Option<Blas>,
    /// How to get it.
    pub advice: &'static str,
}

/// OpenBLAS and MKL, as far as they are on this machine.
pub fn peers(python: Option<&Python>) -> Vec<Peer> {
    vec![
        Peer {
            name: "OpenBLAS",
            blas: openblas::load(),
            advice: openblas::ADVICE,
        },
        Peer {
            name: "MKL",
            blas: mkl::load(python),
            advice: mkl::ADVICE,
        },
    ]
}

/// A way to have several products computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// One call after another, each on all threads.
    Calls,
    /// Every thread calls for its share of the products.
    Shares,
    /// One call for all.
    Batch,
}

/// A loaded library.
pub struct Blas {
    set_threads: SetThreads,
    sgemm: Sgemm,
    sgemm_batch: Option<SgemmBatch>,
    describe: fn(&Library) -> String,
    /// Where the functions are.
    library: Library,
    /// What it may read until it is used.
    _variables: Vec<Variable>,
}

type SetThreads = unsafe extern "C" fn(i32);
type Sgemm = unsafe extern "C" fn(
    layout: i32,
    left: i32,
    right: i32,
    rows: i32,
    cols: i32,
    steps: i32,
    alpha: f32,
    *const f32,
    left_stride: i32,
    *const f32,
    right_stride: i32,
    beta: f32,
    *mut f32,
    out_stride: i32,
);
type SgemmBatch = unsafe extern "C" fn(
    layout: i32,
    left: i32,
    right: i32,
    rows: i32,
    cols: i32,
    steps: i32,
    alpha: f32,
    *const f32,
    left_stride: i32,
    left_size: i32,
    *const f32,
    right_stride: i32,
    right_size: i32,
    beta: f32,
    *mut f32,
    out_stride: i32,
    out_size: i32,
    batch: i32,
);

const ROW_MAJOR: i32 = 101;

/// CBLAS's word for whether a matrix is stored transposed.
fn transpose(transposed: bool) -> i32 {
    match transposed {
        true => 112,
        false => 111,
    }
}

impl Blas {
    /// A library whose number of threads the function `set_threads` sets; `None` when it is no
    /// BLAS.
    ///
    /// # Safety
    /// Its integers must have 32 bits.
    unsafe fn new(
        library: Library,
        set_threads: &[u8],
        describe: fn(&Library) -> String,
        variables: Vec<Variable>,
    ) -> Option<Blas> {
        // SAFETY: the functions have these types in every such library.
        unsafe {
            Some(Blas {
                set_threads: *library.get::<SetThreads>(set_threads).ok()?,
                sgemm: *library.get::<Sgemm>(b"cblas_sgemm\0").ok()?,
                sgemm_batch: (library.get(b"cblas_sgemm_batch_strided\0").ok())
                    .map(|symbol| *symbol),
                describe,
                library,
                _variables: variables,
            })
        }
    }

    /// What the library says of itself. It may know its code path only after its first product.
    pub fn describe(&self) -> String {
        (self.describe)(&self.library)
    }

    /// The ways in which this library can compute a shape on a number of threads.
    pub fn ways(&self, shape: &Shape, threads: usize) -> Vec<Way> {
        let mut ways = vec![Way::Calls];
        if shape.batch > 1 && threads > 1 {
            ways.push(Way::Shares);
        }
        if shape.batch > 1 && self.sgemm_batch.is_some() {
            ways.push(Way::Batch);
        }
        ways
    }

    /// Prepares for products in one of the [`Blas::ways`], until it is called again.
    pub fn set_threads(&self, threads: usize, way: Way) {
        let threads = match way {
            Way::Shares => 1,
            Way::Calls | Way::Batch => threads,
        };
        // SAFETY: any number is allowed.
        unsafe { (self.set_threads)(threads as i32) };
    }

    /// Computes the products. [`Way::Shares`] needs a pool.
    pub fn multiply(&self, way: Way, pool: Option<&ThreadPool>, of: &Operands, out: &mut [f32]) {
        let Shape { rows, cols, .. } = of.shape;
        let one = rows * cols;
        match way {
            Way::Batch => self.all(of, out),
            Way::Calls => (out.chunks_exact_mut(one).enumerate())
                .for_each(|(number, out)| self.one(of, number, out)),
            Way::Shares => pool.expect("threads to share among").install(|| {
                let products = out.par_chunks_exact_mut(one).enumerate();
                let share = of.shape.batch.div_ceil(rayon::current_num_threads());
                products
                    .with_min_len(share)
                    .for_each(|(number, out)| self.one(of, number, out));
            }),
        }
    }

    /// Product `number`.
    fn one(&self, of: &Operands, number: usize, out: &mut [f32]) {
        let shape = &of.shape;
        let [left, right] = [shape.left(), shape.right()];
        let factor = |all: &[f32], [rows, cols]: [usize; 2]| {
            all[number * rows * cols..][..rows * cols].as_ptr()
        };
        assert_eq!(out.len(), shape.rows * shape.cols);
        // SAFETY: each matrix has as many elements as the sizes say.
        unsafe {
            (self.sgemm)(
                ROW_MAJOR,
                transpose(shape.layout == Layout::Left),
                transpose(shape.layout == Layout::Right),
                shape.rows as i32,
                shape.cols as i32,
                shape.steps as i32,
                1.0,
                factor(&of.left, left),
                left[1] as i32,
                factor(&of.right, right),
                right[1] as i32,
                0.0,
                out.as_mut_ptr(),
                shape.cols as i32,
            );
        }
    }

    /// All products in one call.
    fn all(&self, of: &Operands, out: &mut [f32]) {
        let shape = &of.shape;
        let [left, right] = [shape.left(), shape.right()];
        let size = |[rows, cols]: [usize; 2]| rows * cols;
        let out_size = shape.rows * shape.cols;
        assert_eq!(of.left.len(), shape.batch * size(left));
        assert_eq!(of.right.len(), shape.batch * size(right));
        assert_eq!(out.len(), shape.batch * out_size);
        let sgemm = self.sgemm_batch.expect("one of the ways");
        // SAFETY: each matrix has as many elements as the sizes say.
        unsafe {
            sgemm(
                ROW_MAJOR,
                transpose(shape.layout == Layout::Left),
                transpose(shape.layout == Layout::Right),
                shape.rows as i32,
                shape.cols as i32,
                shape.steps as i32,
                1.0,
                of.left.as_ptr(),
                left[1] as i32,
                size(left) as i32,
                of.right.as_ptr(),
                right[1] as i32,
                size(right) as i32,
                0.0,
                out.as_mut_ptr(),
                shape.cols as i32,
                out_size as i32,
                shape.batch as i32,
            );
        }
    }
}

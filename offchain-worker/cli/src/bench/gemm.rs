//! Canonical-order matrix multiplication against OpenBLAS.
//!
//! Ours adds every element's products in ascending order of k, one fused multiply-add each;
//! OpenBLAS adds them in whichever order is fastest. The share is what reproducibility costs.

use super::{measure, Patience, Table};
use lockstep_engine::cpu::{Cpu, Options, Simd};
use lockstep_engine::{Engine, Error, Job};
use lockstep_protocol::encoding::Int;
use lockstep_protocol::eval::{Blob, Inputs};
use lockstep_protocol::program::{
    var, Access, Axis, Body, Dim, Dtype, Fold, Form, Init, Node, Op, Program, Source,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// One size on one number of threads.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Rows, columns and steps alike.
    pub size: usize,
    /// Threads of either side.
    pub threads: usize,
    /// GFLOP/s of the fastest run.
    pub gflops: f64,
    /// GFLOP/s of the median run.
    pub gflops_median: f64,
    /// The same for OpenBLAS, when it is installed.
    pub peer_gflops: Option<f64>,
    /// See `peer_gflops`.
    pub peer_gflops_median: Option<f64>,
    /// Our fastest run over the peer's, as a fraction.
    pub share: Option<f64>,
    /// Whether every bit equals that of the sequential loop.
    pub exact: bool,
}

/// All rows.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Our code path.
    pub engine: String,
    /// What OpenBLAS says of itself; `None` when it is not installed.
    pub peer: Option<String>,
    /// One for each size and number of threads.
    pub rows: Vec<Row>,
}

/// Measures square multiplications of `sizes` on each of `threads`.
///
/// # Errors
/// When the engine cannot be started.
pub fn run(sizes: &[usize], threads: &[usize], patience: Patience) -> Result<Report, Error> {
    let peer = OpenBlas::load();
    let mut rows = Vec::new();
    let mut engine = String::new();
    for &size in sizes {
        for &threads in threads {
            let mut ours = Ours::new(size, threads)?;
            engine = ours.name();
            let flops = 2.0 * (size as f64).powi(3) / 1e9;
            let (own, other) = match &peer {
                Some(blas) => {
                    blas.set_threads(threads);
                    let (a, b) = (ours.a.clone(), ours.b.clone());
                    let mut c = vec![0f32; size * size];
                    let mut theirs = || blas.sgemm(size, &a, &b, &mut c);
                    let [own, other] = measure(patience, [&mut || ours.run(), &mut theirs]);
                    (own, Some(other))
                }
                None => (measure(patience, [&mut || ours.run()])[0], None),
            };
            rows.push(Row {
                size,
                threads,
                gflops: flops / own.best,
                gflops_median: flops / own.median,
                peer_gflops: other.map(|t| flops / t.best),
                peer_gflops_median: other.map(|t| flops / t.median),
                share: other.map(|t| t.best / own.best),
                exact: ours.exact(),
            });
        }
    }
    Ok(Report {
        engine,
        peer: peer.map(|blas| blas.name),
        rows,
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.peer {
            Some(peer) => writeln!(f, "canonical-order SGEMM ({}) and {peer}", self.engine)?,
            None => writeln!(
                f,
                "canonical-order SGEMM ({}); OpenBLAS is not installed (Debian: libopenblas0)",
                self.engine
            )?,
        }
        let mut table = Table::new(&[
            "n = m = k",
            "threads",
            "GFLOP/s",
            "median",
            "OpenBLAS",
            "median",
            "share",
            "bits",
        ]);
        let or_dash = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.1}"));
        for row in &self.rows {
            table.row(&[
                row.size.to_string(),
                row.threads.to_string(),
                format!("{:.1}", row.gflops),
                format!("{:.1}", row.gflops_median),
                or_dash(row.peer_gflops),
                or_dash(row.peer_gflops_median),
                row.share
                    .map_or("-".into(), |share| format!("{:.1}%", share * 100.0)),
                if row.exact { "equal" } else { "DIFFERENT" }.into(),
            ]);
        }
        write!(f, "{table}")
    }
}

/// A program whose only computation is one multiplication of two constants, on the CPU engine.
struct Ours {
    engine: Cpu,
    size: usize,
    a: Arc<Vec<f32>>,
    b: Arc<Vec<f32>>,
}

impl Ours {
    fn new(size: usize, threads: usize) -> Result<Ours, Error> {
        let (a, b) = (Arc::new(numbers(size, 1)), Arc::new(numbers(size, 2)));
        let mut constants = BTreeMap::new();
        let shape = vec![Dim(size as u64); 2];
        let mut constant = |words: &[f32]| {
            let bytes: Vec<u8> = words.iter().flat_map(|x| x.to_le_bytes()).collect();
            let hash = *blake3::hash(&bytes).as_bytes();
            constants.insert(hash, Arc::new(bytes) as Blob);
            Node::Source(Source::Constant {
                shape: shape.clone(),
                dtype: Dtype::F32,
                hash,
            })
        };
        let sources = [constant(&a), constant(&b)];
        let len = (size * size) as u64;
        let operand = |node, row: u8, col: u8| Access {
            node,
            dtype: Dtype::F32,
            len,
            base: Int(0),
            axes: [(row, size as i64), (col, 1)]
                .map(|(variable, stride)| Axis {
                    form: Form::var(variable),
                    extent: size as u64,
                    stride: Int(stride),
                })
                .to_vec(),
            fill: 0,
        };
        let product = Node::Fold(Fold {
            body: Body {
                shape: shape.clone(),
                dtype: Dtype::F32,
                index: Vec::new(),
                reads: vec![operand(1, 0, var::RED), operand(2, var::RED, 1)],
                values: Vec::new(),
                consts: Vec::new(),
                ops: vec![Op::FFma(1, 2, 0)],
            },
            red: vec![Dim(size as u64)],
            when: Vec::new(),
            init: Init::Word(0),
        });
        let state = Node::Source(Source::State {
            shape: shape.clone(),
            dtype: Dtype::F32,
        });
        let [first, second] = sources;
        let job = Job {
            program: Arc::new(Program {
                slots: 1,
                nodes: vec![state, first, second, product],
            }),
            inputs: Inputs {
                constants,
                ..Inputs::default()
            },
        };
        let options = Options {
            threads: Some(threads),
            ..Options::default()
        };
        Ok(Ours {
            engine: Cpu::new(job, options)?,
            size,
            a,
            b,
        })
    }

    fn name(&self) -> String {
        self.engine
            .name()
            .split(' ')
            .next()
            .unwrap_or_default()
            .into()
    }

    fn run(&mut self) {
        self.engine.step(0);
    }

    /// Compares the product with the sequential loop, bit for bit.
    fn exact(&self) -> bool {
        let n = self.size;
        let state = self.engine.state();
        let rows = state[0].chunks_exact(n * 4).zip(self.a.chunks_exact(n));
        rows.into_iter().all(|(got, a)| {
            let mut row = vec![0f32; n];
            for (a, b) in a.iter().zip(self.b.chunks_exact(n)) {
                multiply_add(&mut row, *a, b);
            }
            let mut words = got.chunks_exact(4).zip(&row);
            words.all(|(got, want)| got == want.to_le_bytes())
        })
    }
}

/// `acc[i] = a * b[i] + acc[i]`, each rounded once.
fn multiply_add(acc: &mut [f32], a: f32, b: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    if Simd::Avx2.supported() {
        // SAFETY: the instructions are there.
        return unsafe { multiply_add_avx2(acc, a, b) };
    }
    multiply_add_any(acc, a, b);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn multiply_add_avx2(acc: &mut [f32], a: f32, b: &[f32]) {
    multiply_add_any(acc, a, b);
}

#[inline(always)]
fn multiply_add_any(acc: &mut [f32], a: f32, b: &[f32]) {
    for (acc, b) in acc.iter_mut().zip(b) {
        *acc = a.mul_add(*b, *acc);
    }
}

/// Numbers between -1 and 1 without a pattern.
fn numbers(size: usize, seed: u32) -> Vec<f32> {
    let mut x = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x as i32 as f32 / (1u32 << 31) as f32
    };
    (0..size * size).map(|_| next()).collect()
}

type Sgemm = unsafe extern "C" fn(
    i32,
    i32,
    i32,
    i32,
    i32,
    i32,
    f32,
    *const f32,
    i32,
    *const f32,
    i32,
    f32,
    *mut f32,
    i32,
);

/// OpenBLAS, loaded at run time.
struct OpenBlas {
    name: String,
    library: libloading::Library,
}

impl OpenBlas {
    fn load() -> Option<OpenBlas> {
        // On processors newer than itself OpenBLAS falls back to a generic kernel, and a
        // comparison with that, or with one that the environment asks for, says nothing. It reads
        // this variable when it is loaded.
        match Simd::best() {
            Simd::Avx512 => std::env::set_var("OPENBLAS_CORETYPE", "SKYLAKEX"),
            Simd::Avx2 => std::env::set_var("OPENBLAS_CORETYPE", "HASWELL"),
            Simd::Baseline => {}
        }
        // SAFETY: loading OpenBLAS runs its initialisers, which only set up its own threads.
        let library = ["libopenblas.so.0", "libopenblas.so"]
            .into_iter()
            .find_map(|name| unsafe { libloading::Library::new(name) }.ok())?;
        let text = |symbol: &[u8]| {
            // SAFETY: both functions are documented to return a static C string.
            unsafe {
                let get: libloading::Symbol<unsafe extern "C" fn() -> *const std::ffi::c_char> =
                    library.get(symbol).ok()?;
                let text = std::ffi::CStr::from_ptr(get());
                Some(text.to_string_lossy().into_owned())
            }
        };
        let config = text(b"openblas_get_config\0")?;
        let version: Vec<&str> = config.split_whitespace().take(2).collect();
        let core = text(b"openblas_get_corename\0")?;
        Some(OpenBlas {
            name: format!("{} ({core} kernel)", version.join(" ")),
            library,
        })
    }

    fn set_threads(&self, threads: usize) {
        // SAFETY: the symbol has this type in every version of OpenBLAS.
        unsafe {
            let set = self
                .library
                .get::<unsafe extern "C" fn(i32)>(b"openblas_set_num_threads\0");
            if let Ok(set) = set {
                set(threads as i32);
            }
        }
    }

    fn sgemm(&self, n: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
        const ROW_MAJOR: i32 = 101;
        const NO_TRANSPOSE: i32 = 111;
        let size = n as i32;
        // SAFETY: the symbol has this type in CBLAS, and each matrix has `n * n` elements.
        unsafe {
            let sgemm = self.library.get::<Sgemm>(b"cblas_sgemm\0");
            sgemm.expect("a BLAS has sgemm")(
                ROW_MAJOR,
                NO_TRANSPOSE,
                NO_TRANSPOSE,
                size,
                size,
                size,
                1.0,
                a.as_ptr(),
                size,
                b.as_ptr(),
                size,
                0.0,
                c.as_mut_ptr(),
                size,
            );
        }
    }
}

//! Canonical-order matrix products against OpenBLAS and MKL.
//!
//! Ours adds every element's products in ascending order of k, one fused multiply-add each; a BLAS
//! adds them in whichever order is fastest. The share is what reproducibility costs.

use super::blas::{self, Blas, Peer, Way};
use super::product::Operands;
use super::python::Python;
use super::shape::Shape;
use super::{measure, Patience, Table, Times, Watch};
use anyhow::{ensure, Context, Result};
use lockstep_engine::cpu::Cpu;
use lockstep_engine::Engine;
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// What is measured unless somebody asks for other shapes: squares, then what training has. A
/// product of a layer and gradients of weights of a large and a small perceptron and of a small
/// language model, and the two products of its attention.
pub const SHAPES: [&str; 9] = [
    "512",
    "1024",
    "2048",
    "512x768x3072",
    "768x3072x512:tn",
    "784x1024x128:tn",
    "256x1024x1024:tn",
    "128x128x32*64:nt",
    "128x32x128*64",
];

/// [`SHAPES`], read.
pub fn shapes() -> Vec<Shape> {
    SHAPES
        .iter()
        .filter_map(|shape| shape.parse().ok())
        .collect()
}

/// How long to try out which way of a library is the fastest.
const TRIAL: Patience = Patience {
    turns: 2,
    time: Duration::from_millis(40),
};

/// One shape on one number of threads.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The shape, as it is written on the command line.
    pub shape: Shape,
    /// Threads of every side.
    pub threads: usize,
    /// GFLOP/s of the fastest run.
    pub gflops: f64,
    /// GFLOP/s of the median run.
    pub gflops_median: f64,
    /// The libraries that were found.
    pub peers: Vec<PeerRow>,
    /// Our fastest run over that of the better peer, as a fraction.
    pub share: Option<f64>,
    /// Our median run over that of the better peer, as a fraction.
    pub share_median: Option<f64>,
    /// Whether every bit equals that of the sequential loop.
    pub exact: bool,
}

/// What a library does with a row's shape.
#[derive(Clone, Debug, Serialize)]
pub struct PeerRow {
    /// Which library.
    pub name: &'static str,
    /// GFLOP/s of the fastest run.
    pub gflops: f64,
    /// GFLOP/s of the median run.
    pub gflops_median: f64,
    /// How its products were computed, the fastest way that it has.
    pub way: Way,
}

/// Whether a library was found.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Which library.
    pub name: &'static str,
    /// What it says of itself; absent when it was not found.
    pub version: Option<String>,
    /// How to get it.
    pub advice: &'static str,
}

/// All rows.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Our code path.
    pub engine: String,
    /// The libraries to compare with.
    pub peers: Vec<Found>,
    /// One for each shape and number of threads.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether every product had the right bits.
    pub fn exact(&self) -> bool {
        self.rows.iter().all(|row| row.exact)
    }
}

/// Measures products of `shapes` on each of `threads`.
///
/// # Errors
/// When the engine cannot be started, or a library computes something else.
pub fn run(
    shapes: &[Shape],
    threads: &[usize],
    python: Option<&Python>,
    patience: Patience,
    watch: Watch,
) -> Result<Report> {
    let peers = blas::peers(python);
    let mut rows = Vec::new();
    let mut engine = String::new();
    let count = shapes.len() * threads.len();
    for shape in shapes {
        let operands = Operands::new(*shape);
        for &threads in threads {
            watch(rows.len(), count, &format!("{shape} on {threads}"));
            let mut ours = operands.engine(threads)?;
            engine = ours.name().split(' ').next().unwrap_or_default().into();
            rows.push(row(&operands, &mut ours, threads, &peers, patience)?);
        }
    }
    let found = peers.iter().map(|peer| Found {
        name: peer.name,
        version: peer.blas.as_ref().map(Blas::describe),
        advice: peer.advice,
    });
    Ok(Report {
        engine,
        peers: found.collect(),
        rows,
    })
}

fn row(
    operands: &Operands,
    ours: &mut Cpu,
    threads: usize,
    peers: &[Peer],
    patience: Patience,
) -> Result<Row> {
    let mut theirs: Vec<Other> = Vec::new();
    for peer in peers {
        if let Some(blas) = &peer.blas {
            theirs.push(Other::new(peer.name, blas, operands, threads)?);
        }
    }
    let mut step = || ours.step(0);
    let mut runs: Vec<Box<dyn FnMut() + '_>> = vec![Box::new(&mut step)];
    for other in &mut theirs {
        runs.push(Box::new(|| other.multiply()));
    }
    let mut subjects: Vec<&mut dyn FnMut()> = Vec::new();
    for run in &mut runs {
        subjects.push(&mut **run);
    }
    let times = measure(patience, &mut subjects);
    drop(runs);
    let (own, others) = (times[0], &times[1..]);
    let flops = 2.0 * operands.shape.products() as f64 / 1e9;
    let better = |time: fn(&Times) -> f64| others.iter().map(time).min_by(f64::total_cmp);
    let peers = theirs.iter().zip(others).map(|(other, times)| PeerRow {
        name: other.name,
        gflops: flops / times.best,
        gflops_median: flops / times.median,
        way: other.way,
    });
    Ok(Row {
        shape: operands.shape,
        threads,
        gflops: flops / own.best,
        gflops_median: flops / own.median,
        peers: peers.collect(),
        share: better(|times| times.best).map(|time| time / own.best),
        share_median: better(|times| times.median).map(|time| time / own.median),
        exact: operands.equal(ours),
    })
}

/// A library about to compute a row's products.
struct Other<'a> {
    name: &'static str,
    blas: &'a Blas,
    operands: &'a Operands,
    threads: usize,
    way: Way,
    /// Threads that call the library. They end when another way is taken: an OpenMP that knows of
    /// more threads than there are cores waits differently in all of them.
    pool: Option<ThreadPool>,
    out: Vec<f32>,
}

impl<'a> Other<'a> {
    /// In the way that is fastest when it is tried out.
    fn new(
        name: &'static str,
        blas: &'a Blas,
        operands: &'a Operands,
        threads: usize,
    ) -> Result<Other<'a>> {
        let mut other = Other {
            name,
            blas,
            operands,
            threads,
            way: Way::Calls,
            pool: None,
            out: vec![0.0; operands.out.len()],
        };
        let mut fastest = (f64::INFINITY, Way::Calls);
        let ways = blas.ways(&operands.shape, threads);
        for &way in &ways {
            other.take(way)?;
            other.out.fill(0.0);
            other.multiply();
            other.check()?;
            if ways.len() > 1 {
                let times = measure(TRIAL, &mut [&mut || other.multiply()]);
                if times[0].best < fastest.0 {
                    fastest = (times[0].best, way);
                }
            }
        }
        other.take(fastest.1)?;
        Ok(other)
    }

    fn take(&mut self, way: Way) -> Result<()> {
        self.way = way;
        self.blas.set_threads(self.threads, way);
        let pool = || ThreadPoolBuilder::new().num_threads(self.threads).build();
        let pool = (way == Way::Shares).then(pool).transpose();
        self.pool = pool.context("cannot start threads")?;
        Ok(())
    }

    fn multiply(&mut self) {
        (self.blas).multiply(self.way, self.pool.as_ref(), self.operands, &mut self.out);
    }

    /// That it computes the same products, but for the order of their sums.
    fn check(&self) -> Result<()> {
        let near = |(theirs, ours): (&f32, &f32)| (theirs - ours).abs() < 1e-2;
        ensure!(
            self.out.iter().zip(&self.operands.out).all(near),
            "{} does not compute the product {}",
            self.name,
            self.operands.shape
        );
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "matrix products in canonical order ({}), GFLOP/s of the fastest and of the median \
             run; share of the better peer",
            self.engine
        )?;
        for Found {
            name,
            version,
            advice,
        } in &self.peers
        {
            match version {
                Some(version) => writeln!(f, "{version}")?,
                None => writeln!(f, "{name}: not found; {advice}")?,
            }
        }
        let found = || self.peers.iter().filter(|peer| peer.version.is_some());
        let mut titles = vec!["rows x cols x steps", "threads", "ours", "median"];
        for peer in found() {
            titles.extend([peer.name, "median"]);
        }
        titles.extend(["share", "median", "bits"]);
        let mut table = Table::new(&titles);
        let percent = |x: Option<f64>| x.map_or("-".into(), |x| format!("{:.1}%", x * 100.0));
        for row in &self.rows {
            let ours = [row.gflops, row.gflops_median];
            let theirs = row.peers.iter();
            let speeds = theirs.flat_map(|peer| [peer.gflops, peer.gflops_median]);
            let mut cells = vec![row.shape.to_string(), row.threads.to_string()];
            cells.extend(ours.into_iter().chain(speeds).map(|x| format!("{x:.1}")));
            cells.extend([percent(row.share), percent(row.share_median)]);
            cells.push(if row.exact { "equal" } else { "DIFFERENT" }.into());
            table.row(&cells);
        }
        write!(f, "{table}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_of_the_default_are_shapes() {
        assert_eq!(shapes().len(), SHAPES.len());
    }

    #[test]
    fn a_library_that_is_missing_is_said_with_advice() {
        let report = Report {
            engine: "cpu".into(),
            peers: vec![Found {
                name: "MKL",
                version: None,
                advice: "install it",
            }],
            rows: Vec::new(),
        };
        assert!(report.to_string().contains("MKL: not found; install it"));
    }

    #[test]
    fn wrong_bits_are_said_and_fail_the_report() {
        let mut row = Row {
            shape: Shape::plain(2, 2, 2),
            threads: 1,
            gflops: 1.0,
            gflops_median: 1.0,
            peers: Vec::new(),
            share: None,
            share_median: None,
            exact: true,
        };
        let report = |row: &Row| Report {
            engine: "cpu".into(),
            peers: Vec::new(),
            rows: vec![row.clone()],
        };
        assert!(report(&row).exact() && report(&row).to_string().contains("equal"));
        row.exact = false;
        assert!(!report(&row).exact() && report(&row).to_string().contains("DIFFERENT"));
    }
}

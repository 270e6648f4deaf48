//! Pooling in two dimensions, of images `[batch, height, width, channels]`.

use crate::{
    gradient::Rule,
    graph::{Graph, Value},
    kernel::{
        form::{out, red, sum},
        Kernel, Operand,
    },
    scalar::{apply, Expr, Scalar},
    window::{Covers, Window},
};
use lockstep_protocol::program::{Dtype, Form};

/// How a pooling window moves over an image: `[rows, columns]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool2d {
    /// Pixels of the window.
    pub size: [usize; 2],
    /// Pixels between neighbouring windows.
    pub stride: [usize; 2],
    /// Pixels added on each side, smaller than the window: minus infinity for a maximum, zeros
    /// that count for an average.
    pub padding: [usize; 2],
}

impl Pool2d {
    /// Windows of this size side by side.
    pub fn tiles(size: [usize; 2]) -> Pool2d {
        Pool2d {
            size,
            stride: size,
            padding: [0, 0],
        }
    }

    /// Height and width of the result for an image of this size; `None` when the window does not
    /// fit.
    pub fn output(&self, image: [usize; 2]) -> Option<[usize; 2]> {
        let [rows, columns] = self.windows(image);
        Some([rows.outputs()?, columns.outputs()?])
    }

    fn windows(&self, image: [usize; 2]) -> [Window; 2] {
        [0, 1].map(|k| Window {
            input: image[k],
            taps: self.size[k],
            stride: self.stride[k],
            padding: self.padding[k],
            dilation: 1,
        })
    }
}

/// The numbers of one pooling.
#[derive(Clone, Copy)]
struct Geometry {
    batch: usize,
    windows: [Window; 2],
    outputs: [usize; 2],
    channels: usize,
}

impl Geometry {
    fn new(pool: &Pool2d, image: &[usize]) -> Geometry {
        let &[batch, height, width, channels] = image else {
            panic!("images have four axes, not {image:?}");
        };
        let windows = pool.windows([height, width]);
        let outputs = pool.output([height, width]);
        assert!(
            (0..2).all(|k| pool.padding[k] < pool.size[k]),
            "the padding of {pool:?} is as wide as its window"
        );
        Geometry {
            batch,
            windows,
            outputs: outputs.unwrap_or_else(|| panic!("{pool:?} is larger than {image:?}")),
            channels,
        }
    }

    /// A fold over each window.
    fn windowed(&self, dtype: Dtype, init: u32, reads: Vec<Operand>, body: Expr<usize>) -> Kernel {
        let [height, width] = self.outputs;
        Kernel {
            shape: vec![self.batch, height, width, self.channels],
            dtype,
            red: self.windows.map(|w| w.taps).to_vec(),
            index: vec![],
            reads,
            when: vec![],
            init,
            body,
        }
    }

    /// The pixel under a tap of a window.
    fn pixel(&self, fill: u32) -> Operand {
        let [rows, columns] = self.windows;
        Operand {
            input: 0,
            at: vec![
                out(0),
                rows.at(&out(1), &red(0)),
                columns.at(&out(2), &red(1)),
                out(3),
            ],
            fill,
        }
    }

    /// A sum over the windows that cover each pixel, and its operands: elements of inputs that
    /// have one element a window.
    fn covering(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        fills: &[u32],
        term: impl Fn(&Covers) -> Expr<usize>,
        guarded: bool,
    ) -> Value {
        let covers = Covers::new(self.windows);
        let [rows, columns] = &covers.0;
        let channel = 1 + rows.shape.len() + columns.shape.len();
        let at = [
            out(0),
            rows.window.clone(),
            columns.window.clone(),
            out(channel),
        ];
        let read = |(input, &fill)| Operand {
            input,
            at: at.to_vec(),
            fill,
        };
        let guards = [&rows.guard, &columns.guard];
        let kernel = Kernel {
            shape: covers.shape(self.batch, &[self.channels]),
            dtype: Dtype::F32,
            red: vec![rows.walk, columns.walk],
            index: vec![],
            reads: fills.iter().enumerate().map(read).collect(),
            when: match guarded {
                true => guards.into_iter().flatten().cloned().collect(),
                false => vec![],
            },
            init: 0,
            body: apply(Scalar::Add, vec![Expr::Acc, term(&covers)]),
        };
        let sums = graph.kernel(kernel, inputs);
        covers.unfold(graph, sums, self.windows, self.channels)
    }
}

struct MaxPool(Pool2d);

impl Rule for MaxPool {
    /// The first tap that holds the maximum takes the gradient of its window.
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        output: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let geometry = Geometry::new(&self.0, graph.shape(inputs[0]));
        let pitch = Covers::new(geometry.windows).pitch();
        let tap: Form = sum(pitch as i64, &red(0), 1, &red(1), 0);
        // No f32 that is loaded has these bits, so padding is never taken for the maximum.
        const NEVER: u32 = 0x7fc0_0001;
        let whole = |k| Operand::new(k, (0..4).map(out).collect());
        let hit = apply(Scalar::Same, vec![Expr::Read(0), Expr::Read(1)]);
        let candidate = apply(
            Scalar::Select,
            vec![hit, Expr::Value(tap), Expr::Word(u32::MAX)],
        );
        let first = geometry.windowed(
            Dtype::U32,
            u32::MAX,
            vec![geometry.pixel(NEVER), whole(1)],
            apply(Scalar::MinU, vec![Expr::Acc, candidate]),
        );
        let first = graph.kernel(first, &[inputs[0], output]);

        let term = |covers: &Covers| {
            let taken = vec![Expr::Read(0), Expr::Value(covers.tap())];
            let taken = apply(Scalar::Same, taken);
            apply(Scalar::Select, vec![taken, Expr::Read(1), Expr::Word(0)])
        };
        let fills = [u32::MAX, 0];
        let gradient = geometry.covering(graph, &[first, upstream], &fills, term, false);
        vec![Some(gradient)]
    }
}

struct AvgPool(Pool2d);

impl Rule for AvgPool {
    /// Each window spreads its gradient evenly.
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        _: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let geometry = Geometry::new(&self.0, graph.shape(inputs[0]));
        let term = |_: &Covers| Expr::Read(0);
        let sums = geometry.covering(graph, &[upstream], &[0], term, true);
        vec![Some(graph.scale(sums, self.0.share()))]
    }
}

impl Pool2d {
    fn share(&self) -> f32 {
        1.0 / (self.size[0] * self.size[1]) as f32
    }
}

impl Graph {
    /// The maximum of each window, by channel; the first of equals takes the gradient.
    ///
    /// # Panics
    /// When the window does not fit the image.
    pub fn max_pool2d(&mut self, image: Value, pool: Pool2d) -> Value {
        let geometry = Geometry::new(&pool, self.shape(image));
        let lowest = f32::NEG_INFINITY.to_bits();
        let kernel = geometry.windowed(
            Dtype::F32,
            lowest,
            vec![geometry.pixel(lowest)],
            apply(Scalar::Max, vec![Expr::Acc, Expr::Read(0)]),
        );
        let root = self.kernel(kernel, &[image]);
        self.custom(MaxPool(pool), &[image], root)
    }

    /// The mean of each window, by channel: its sum times the f32 nearest to one over its size.
    ///
    /// # Panics
    /// When the window does not fit the image.
    pub fn avg_pool2d(&mut self, image: Value, pool: Pool2d) -> Value {
        let geometry = Geometry::new(&pool, self.shape(image));
        let kernel = geometry.windowed(
            Dtype::F32,
            0,
            vec![geometry.pixel(0)],
            apply(Scalar::Add, vec![Expr::Acc, Expr::Read(0)]),
        );
        let sums = self.kernel(kernel, &[image]);
        let root = self.scale(sums, pool.share());
        self.custom(AvgPool(pool), &[image], root)
    }
}

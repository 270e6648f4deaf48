//! Maxima and means of windows.

use super::{
    spatial::{padded, Sliding},
    Outcome,
};
use crate::onnx::{
    builder::Builder,
    call::Call,
    error::{refuse, Reason},
    operand::Operand,
};
use lockstep_graph::{Pool2d, Value};

/// Windows over an image, and what rounding their number up adds behind it.
struct Pooling {
    sliding: Sliding,
    image: Value,
    /// Height and width of the image.
    size: [usize; 2],
    /// Windows along each axis.
    windows: [usize; 2],
    /// Pixels that the last windows reach beyond the padding.
    beyond: [usize; 2],
}

impl Pooling {
    fn new(builder: &mut Builder, call: &Call) -> Result<Pooling, Reason> {
        let image = call.input(0)?;
        let shape = builder.shape(image)?;
        let dimensions = shape.len().saturating_sub(2);
        if call.ints("kernel_shape").is_none() {
            refuse!("attribute kernel_shape is missing");
        }
        let window = call.sizes("kernel_shape", dimensions, 0)?;
        let sliding = Sliding::new(call, &shape, &window)?;
        if sliding.dilation != [1, 1] {
            refuse!("dilated windows are not supported");
        }
        let image = sliding.channels_last(builder, image)?;
        let &[batch, height, width, channels] = builder.graph().shape(image) else {
            unreachable!("images have four axes");
        };
        let size = [height, width];
        let (mut windows, mut beyond) = ([0; 2], [0; 2]);
        for k in 0..2 {
            let [front, behind] = sliding.pads[k];
            if front.max(behind) >= sliding.window[k] {
                refuse!("padding {:?} is as wide as the window", sliding.pads[k]);
            }
            let all = size[k] + front + behind;
            let Some(free) = all.checked_sub(sliding.window[k]) else {
                refuse!(
                    "the window {:?} is larger than its images {shape:?}",
                    sliding.window
                );
            };
            windows[k] = free / sliding.stride[k] + 1;
            let another = windows[k] * sliding.stride[k];
            // One that begins in the padding behind the image is left out.
            if call.int("ceil_mode", 0) != 0
                && free % sliding.stride[k] != 0
                && another < size[k] + front
            {
                beyond[k] = another + sliding.window[k] - all;
                windows[k] += 1;
            }
        }
        builder.check(&[batch, windows[0], windows[1], channels])?;
        Ok(Pooling {
            sliding,
            image,
            size,
            windows,
            beyond,
        })
    }

    /// The windows in the terms of the graph, and the image, padded where the graph's own padding
    /// cannot say it.
    fn place(&self, builder: &mut Builder, fill: f32) -> Result<(Pool2d, Value), Reason> {
        let mut pool = Pool2d {
            size: self.sliding.window,
            stride: self.sliding.stride,
            padding: [0, 0],
        };
        match self.sliding.even() {
            Some(padding) if self.beyond == [0, 0] => {
                pool.padding = padding;
                Ok((pool, self.image))
            }
            _ => {
                let mut pads = self.sliding.pads;
                (0..2).for_each(|k| pads[k][1] += self.beyond[k]);
                Ok((pool, padded(builder, self.image, pads, fill)?))
            }
        }
    }

    /// How many pixels of each window along an axis count for its mean.
    fn counts(&self, k: usize, padding: bool) -> Vec<usize> {
        let [front, behind] = self.sliding.pads[k];
        let (first, end) = match padding {
            true => (0, front + self.size[k] + behind),
            false => (front, front + self.size[k]),
        };
        let count = |window: usize| {
            let start = window * self.sliding.stride[k];
            (start + self.sliding.window[k]).min(end) - start.max(first)
        };
        (0..self.windows[k]).map(count).collect()
    }
}

pub(super) fn max_pool(builder: &mut Builder, call: &Call) -> Outcome {
    let pooling = Pooling::new(builder, call)?;
    let (pool, image) = pooling.place(builder, f32::NEG_INFINITY)?;
    let y = builder.graph().max_pool2d(image, pool);
    Ok(vec![pooling.sliding.channels_first(builder, y)?])
}

pub(super) fn average_pool(builder: &mut Builder, call: &Call) -> Outcome {
    let pooling = Pooling::new(builder, call)?;
    let (pool, image) = pooling.place(builder, 0.0)?;
    let mut y = builder.graph().avg_pool2d(image, pool);
    builder.room(&pooling.windows)?;
    let padding = call.int("count_include_pad", 0) != 0;
    let [rows, columns] = [0, 1].map(|k| pooling.counts(k, padding));
    let whole: usize = pool.size.iter().product();
    let count = |&row: &usize| columns.iter().map(move |column| row * column);
    let counts: Vec<usize> = rows.iter().flat_map(count).collect();
    if counts.iter().any(|&count| count != whole) {
        let share = |&count: &usize| whole as f32 / count as f32;
        let shares: Vec<f32> = counts.iter().map(share).collect();
        let graph = builder.graph();
        let shares = graph.constant_f32(&[rows.len(), columns.len(), 1], &shares);
        y = graph.mul(y, shares);
    }
    Ok(vec![pooling.sliding.channels_first(builder, y)?])
}

fn global(
    builder: &mut Builder,
    call: &Call,
    join: fn(&mut lockstep_graph::Graph, Value, &[usize]) -> Value,
) -> Outcome {
    let x = builder.float(call.input(0)?)?;
    let rank = builder.graph().shape(x).len();
    if rank < 3 {
        refuse!("its input has no spatial axes");
    }
    let axes: Vec<usize> = (2..rank).collect();
    Ok(vec![Operand::float(join(builder.graph(), x, &axes))])
}

pub(super) fn global_average_pool(builder: &mut Builder, call: &Call) -> Outcome {
    global(builder, call, lockstep_graph::Graph::mean_keep)
}

pub(super) fn global_max_pool(builder: &mut Builder, call: &Call) -> Outcome {
    global(builder, call, lockstep_graph::Graph::max_keep)
}

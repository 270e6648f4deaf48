//! What convolution and pooling share: images, and how a window moves over them.
//!
//! ONNX has channels in front, `[batch, channels, (height,) width]`; the graph has them last. An
//! image of one dimension has height 1.

use crate::onnx::{
    builder::Builder,
    call::Call,
    error::{refuse, Reason},
    operand::Operand,
};
use lockstep_graph::Value;

/// The greatest stride, dilation, padding or window: beyond, positions could overflow.
const LARGEST: usize = 1 << 20;

/// How a window moves over an image.
pub(super) struct Sliding {
    /// 1 or 2.
    pub(super) dimensions: usize,
    pub(super) window: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    /// Pixels added in front and behind.
    pub(super) pads: [[usize; 2]; 2],
}

impl Sliding {
    /// The attributes of a node over images of this shape, and a window of this size.
    pub(super) fn new(call: &Call, image: &[usize], window: &[usize]) -> Result<Sliding, Reason> {
        let dimensions = image.len().saturating_sub(2);
        if !matches!(dimensions, 1 | 2) {
            refuse!("it is supported in one and two dimensions, and its input is {image:?}");
        }
        if window.len() != dimensions {
            refuse!("a window of {window:?} does not fit images of shape {image:?}");
        }
        let spatial = |list: &[usize], missing: usize| match list {
            &[width] => [missing, width],
            list => [list[0], list[1]],
        };
        let stride = call.sizes("strides", dimensions, 1)?;
        let dilation = call.sizes("dilations", dimensions, 1)?;
        let mut sliding = Sliding {
            dimensions,
            window: spatial(window, 1),
            stride: spatial(&stride, 1),
            dilation: spatial(&dilation, 1),
            pads: [[0; 2]; 2],
        };
        let numbers = [sliding.window, sliding.stride, sliding.dilation].concat();
        if numbers.iter().any(|n| !(1..=LARGEST).contains(n)) {
            refuse!("windows, strides and dilations are at least 1 and at most {LARGEST}");
        }
        sliding.pads = match call.text("auto_pad", "NOTSET").as_str() {
            "NOTSET" => {
                let pads = call.sizes("pads", 2 * dimensions, 0)?;
                let (front, behind) = pads.split_at(dimensions);
                let (front, behind) = (spatial(front, 0), spatial(behind, 0));
                [[front[0], behind[0]], [front[1], behind[1]]]
            }
            "VALID" => [[0; 2]; 2],
            same @ ("SAME_UPPER" | "SAME_LOWER") => {
                let size = spatial(&image[2..], 1);
                [0, 1].map(|k| sliding.same(k, size[k], same == "SAME_LOWER"))
            }
            other => refuse!("auto_pad {other:?} is not known"),
        };
        if sliding.pads.concat().iter().any(|&n| n > LARGEST) {
            refuse!("padding is at most {LARGEST}");
        }
        Ok(sliding)
    }

    /// Padding that gives as many windows as strides fit the image.
    fn same(&self, k: usize, size: usize, more_in_front: bool) -> [usize; 2] {
        let windows = size.div_ceil(self.stride[k]);
        let total = ((windows - 1) * self.stride[k] + self.reach(k)).saturating_sub(size);
        match more_in_front {
            true => [total.div_ceil(2), total / 2],
            false => [total / 2, total.div_ceil(2)],
        }
    }

    /// Pixels from the first to the last of a window.
    pub(super) fn reach(&self, k: usize) -> usize {
        self.dilation[k] * (self.window[k] - 1) + 1
    }

    /// The padding where it is the same in front and behind.
    pub(super) fn even(&self) -> Option<[usize; 2]> {
        let even = self.pads.iter().all(|[front, behind]| front == behind);
        even.then(|| self.pads.map(|[front, _]| front))
    }

    /// An image with its channels last and two spatial axes.
    pub(super) fn channels_last(
        &self,
        builder: &mut Builder,
        image: &Operand,
    ) -> Result<Value, Reason> {
        let mut shape = builder.shape(image)?;
        if self.dimensions == 1 {
            shape.insert(2, 1);
        }
        let image = builder.reshape(image, &shape)?;
        let image = builder.permute(&image, &[0, 2, 3, 1])?;
        builder.float(&image)
    }

    /// The reverse of [`Sliding::channels_last`].
    pub(super) fn channels_first(
        &self,
        builder: &mut Builder,
        image: Value,
    ) -> Result<Operand, Reason> {
        let graph = builder.graph();
        let image = graph.permute(image, &[0, 3, 1, 2]);
        let mut shape = graph.shape(image).to_vec();
        if self.dimensions == 1 {
            shape.remove(2);
        }
        builder.reshape(&Operand::float(image), &shape)
    }

    /// A weight `[a, b, (rows,) columns]` as the graph has it, `[rows, columns, b, a]`.
    pub(super) fn weight(&self, builder: &mut Builder, weight: &Operand) -> Result<Value, Reason> {
        let mut shape = builder.shape(weight)?;
        if self.dimensions == 1 {
            shape.insert(2, 1);
        }
        let weight = builder.reshape(weight, &shape)?;
        let weight = builder.permute(&weight, &[2, 3, 1, 0])?;
        builder.float(&weight)
    }
}

/// An image, channels last, with pixels of one value around it.
pub(super) fn padded(
    builder: &mut Builder,
    image: Value,
    pads: [[usize; 2]; 2],
    fill: f32,
) -> Result<Value, Reason> {
    let mut image = image;
    for (axis, [front, behind]) in [1, 2].into_iter().zip(pads) {
        let mut shape = builder.graph().shape(image).to_vec();
        shape[axis] += front + behind;
        builder.check(&shape)?;
        let graph = builder.graph();
        if fill == 0.0 {
            image = graph.pad(image, axis, front, behind);
            continue;
        }
        let fill = graph.scalar(fill);
        let mut parts = vec![];
        for (pixels, part) in [(front, None), (1, Some(image)), (behind, None)] {
            if pixels > 0 {
                parts.push(part.unwrap_or_else(|| {
                    shape[axis] = pixels;
                    graph.broadcast(fill, &shape)
                }));
            }
        }
        image = graph.concat(&parts, axis);
    }
    Ok(image)
}

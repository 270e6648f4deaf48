//! Convolution in two dimensions.
//!
//! Images are `[batch, height, width, channels]` and weights `[height, width, in / groups, out]`,
//! so that the innermost loop of forward and backward passes runs over neighbouring elements.

use crate::{
    contract::Contraction,
    gradient::Rule,
    graph::{Graph, Value},
    kernel::form::{out, red},
    window::{channel, Covers, Window},
};
use lockstep_protocol::program::Form;

/// How a kernel moves over an image: `[rows, columns]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Pixels between neighbouring positions of the kernel.
    pub stride: [usize; 2],
    /// Zero pixels added on each side.
    pub padding: [usize; 2],
    /// Distance between the pixels under neighbouring taps.
    pub dilation: [usize; 2],
    /// Input and output channels fall into this many groups that do not mix.
    pub groups: usize,
}

impl Default for Conv2d {
    fn default() -> Conv2d {
        Conv2d {
            stride: [1, 1],
            padding: [0, 0],
            dilation: [1, 1],
            groups: 1,
        }
    }
}

/// All numbers of one convolution.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    batch: usize,
    windows: [Window; 2],
    outputs: [usize; 2],
    groups: usize,
    /// Channels of a group, in and out.
    channels: [usize; 2],
}

impl Conv2d {
    /// Height and width of the result for an image and a kernel of these sizes; `None` when the
    /// kernel does not fit.
    pub fn output(&self, image: [usize; 2], kernel: [usize; 2]) -> Option<[usize; 2]> {
        let [rows, columns] = self.windows(image, kernel);
        Some([rows.outputs()?, columns.outputs()?])
    }

    fn windows(&self, image: [usize; 2], kernel: [usize; 2]) -> [Window; 2] {
        [0, 1].map(|k| Window {
            input: image[k],
            taps: kernel[k],
            stride: self.stride[k],
            padding: self.padding[k],
            dilation: self.dilation[k],
        })
    }

    fn geometry(&self, image: &[usize], weight: &[usize]) -> Geometry {
        let (&[batch, height, width, inputs], &[rows, columns, members, outputs]) = (image, weight)
        else {
            panic!("images {image:?} and weights {weight:?} have four axes each");
        };
        assert!(
            members * self.groups == inputs && outputs % self.groups == 0,
            "weights {weight:?} in {} groups do not fit images {image:?}",
            self.groups
        );
        let windows = self.windows([height, width], [rows, columns]);
        let count = |window: Window| {
            let fits = window.outputs();
            fits.unwrap_or_else(|| panic!("weights {weight:?} are larger than images {image:?}"))
        };
        Geometry {
            batch,
            windows,
            outputs: windows.map(count),
            groups: self.groups,
            channels: [members, outputs / self.groups],
        }
    }
}

impl Geometry {
    /// Channel dimensions in front of `members`: the groups, where there are any.
    fn grouped(&self, members: usize) -> Vec<usize> {
        match self.groups {
            1 => vec![members],
            groups => vec![groups, members],
        }
    }

    /// The coordinate of the member of a group that is output coordinate `axis`, or comes after
    /// the group there.
    fn member(&self, axis: usize) -> Form {
        match self.groups {
            1 => out(axis),
            _ => out(axis + 1),
        }
    }

    fn forward(&self, graph: &mut Graph, image: Value, weight: Value) -> Value {
        let [inputs, outputs] = self.channels;
        let [rows, columns] = self.windows;
        let to = channel(self.groups, 3, outputs, &self.member(3));
        let from = channel(self.groups, 3, inputs, &red(2));
        let [height, width] = self.outputs;
        let contraction = Contraction {
            shape: [&[self.batch, height, width], &self.grouped(outputs)[..]].concat(),
            red: vec![rows.taps, columns.taps, inputs],
            a: vec![
                out(0),
                rows.at(&out(1), &red(0)),
                columns.at(&out(2), &red(1)),
                from,
            ],
            b: vec![red(0), red(1), red(2), to],
            when: vec![],
        };
        let y = contraction.build(graph, image, weight);
        graph.reshape(y, &[self.batch, height, width, self.groups * outputs])
    }

    /// Every weight sums over the images and the positions of the kernel.
    fn towards_weight(&self, graph: &mut Graph, image: Value, upstream: Value) -> Value {
        let [inputs, outputs] = self.channels;
        let [rows, columns] = self.windows;
        let from = channel(self.groups, 3, inputs, &out(2));
        let to = channel(self.groups, 3, outputs, &self.member(3));
        let [height, width] = self.outputs;
        let contraction = Contraction {
            shape: [
                &[rows.taps, columns.taps, inputs],
                &self.grouped(outputs)[..],
            ]
            .concat(),
            red: vec![self.batch, height, width],
            a: vec![
                red(0),
                rows.at(&red(1), &out(0)),
                columns.at(&red(2), &out(1)),
                from,
            ],
            b: vec![red(0), red(1), red(2), to],
            when: vec![],
        };
        let gradient = contraction.build(graph, image, upstream);
        let shape = [rows.taps, columns.taps, inputs, self.groups * outputs];
        graph.reshape(gradient, &shape)
    }

    /// Every pixel sums over the positions of the kernel that cover it.
    fn towards_image(&self, graph: &mut Graph, weight: Value, upstream: Value) -> Value {
        let [inputs, outputs] = self.channels;
        let covers = Covers::new(self.windows);
        let [rows, columns] = &covers.0;
        let axis = 1 + rows.shape.len() + columns.shape.len();
        let contraction = Contraction {
            shape: covers.shape(self.batch, &self.grouped(inputs)),
            red: vec![rows.walk, columns.walk, outputs],
            a: vec![
                out(0),
                rows.window.clone(),
                columns.window.clone(),
                channel(self.groups, axis, outputs, &red(2)),
            ],
            b: vec![
                rows.tap.clone(),
                columns.tap.clone(),
                self.member(axis),
                channel(self.groups, axis, outputs, &red(2)),
            ],
            when: vec![],
        };
        let gradient = contraction.build(graph, upstream, weight);
        covers.unfold(graph, gradient, self.windows, self.groups * inputs)
    }
}

impl Rule for Conv2d {
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        _: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let &[image, weight] = inputs else {
            unreachable!("a convolution has an image and a weight");
        };
        let &[_, height, width, _] = graph.shape(image) else {
            unreachable!("images have four axes");
        };
        let towards_weight = self.towards_weight(graph, image, weight, upstream);
        let towards_image = self.towards_image(graph, [height, width], weight, upstream);
        vec![Some(towards_image), Some(towards_weight)]
    }
}

impl Conv2d {
    /// The gradient towards a weight, of which only the shape matters.
    pub(crate) fn towards_weight(
        &self,
        graph: &mut Graph,
        image: Value,
        weight: Value,
        upstream: Value,
    ) -> Value {
        let geometry = self.geometry(graph.shape(image), graph.shape(weight));
        geometry.towards_weight(graph, image, upstream)
    }

    /// The gradient towards images of this height and width.
    pub(crate) fn towards_image(
        &self,
        graph: &mut Graph,
        size: [usize; 2],
        weight: Value,
        upstream: Value,
    ) -> Value {
        let (even, weight) = self.without_dilated_strides(graph, weight);
        let (batch, members) = (graph.shape(upstream)[0], graph.shape(weight)[2]);
        let image = [batch, size[0], size[1], members * self.groups];
        let geometry = even.geometry(&image, graph.shape(weight));
        let outputs = [batch, geometry.outputs[0], geometry.outputs[1]];
        assert_eq!(
            graph.shape(upstream)[..3],
            outputs,
            "positions of the kernel"
        );
        geometry.towards_image(graph, weight, upstream)
    }

    /// The same convolution by a kernel with zeros between its taps along every axis that both
    /// strides and dilates.
    fn without_dilated_strides(mut self, graph: &mut Graph, weight: Value) -> (Conv2d, Value) {
        let mut weight = weight;
        for axis in [0, 1] {
            let dilation = self.dilation[axis];
            if self.stride[axis] == 1 || dilation == 1 {
                continue;
            }
            self.dilation[axis] = 1;
            let shape = graph.shape(weight).to_vec();
            let (front, back) = shape.split_at(axis + 1);
            let spaced = graph.reshape(weight, &[front, &[1], back].concat());
            let spaced = graph.pad(spaced, axis + 1, 0, dilation - 1);
            let mut shape = shape.clone();
            shape[axis] *= dilation;
            let joined = graph.reshape(spaced, &shape);
            weight = graph.slice(joined, axis, 0, shape[axis] - (dilation - 1));
        }
        (self, weight)
    }
}

impl Graph {
    /// The convolution of images `[batch, height, width, in]` by weights
    /// `[rows, columns, in / groups, out]`: shape `[batch, height', width', out]`.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn conv2d(&mut self, image: Value, weight: Value, conv: Conv2d) -> Value {
        let geometry = conv.geometry(self.shape(image), self.shape(weight));
        let root = geometry.forward(self, image, weight);
        self.custom(conv, &[image, weight], root)
    }
}

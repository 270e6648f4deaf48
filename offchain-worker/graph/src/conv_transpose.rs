//! Transposed convolution: the gradient of a convolution towards its image, as an operation.

use crate::{
    conv::Conv2d,
    gradient::Rule,
    graph::{Graph, Value},
};

struct Transposed {
    conv: Conv2d,
}

impl Rule for Transposed {
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        _: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let &[x, weight] = inputs else {
            unreachable!("a transposed convolution has an image and a weight");
        };
        let towards_x = graph.conv2d(upstream, weight, self.conv);
        let towards_weight = self.conv.towards_weight(graph, upstream, weight, x);
        vec![Some(towards_x), Some(towards_weight)]
    }
}

impl Graph {
    /// The images of height and width `size` that the convolution `conv` by `weight`, shape
    /// `[rows, columns, in / groups, out]`, would turn into tensors of the shape of `x`,
    /// `[batch, height', width', out]`, weighted by them: every element of `x` spreads its
    /// kernel. Shape `[batch, height, width, in]`.
    ///
    /// M. D. Zeiler et al.: Deconvolutional networks (CVPR 2010).
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn conv_transpose2d(
        &mut self,
        x: Value,
        weight: Value,
        conv: Conv2d,
        size: [usize; 2],
    ) -> Value {
        let root = conv.towards_image(self, size, weight, x);
        self.custom(Transposed { conv }, &[x, weight], root)
    }
}

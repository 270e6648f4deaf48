//! Elements by index along any axis.

use crate::{
    gradient::Rule,
    graph::{Graph, Value},
    kernel::{
        form::{index, out, red, sum},
        Kernel, Operand,
    },
    scalar::{apply, Expr, Scalar},
};
use lockstep_protocol::program::{Dtype, Guard};

struct GatherElements {
    axis: usize,
    positions: Value,
}

impl Rule for GatherElements {
    /// Every element sums what came to it: a fold along the axis, guarded by `position == element`.
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        _: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let shape = graph.shape(inputs[0]).to_vec();
        let walked = graph.shape(self.positions)[self.axis];
        let at: Vec<_> = (0..shape.len())
            .map(|k| if k == self.axis { red(0) } else { out(k) })
            .collect();
        let kernel = Kernel {
            shape,
            dtype: Dtype::F32,
            red: vec![walked],
            index: vec![Operand::new(1, at.clone())],
            reads: vec![Operand::new(0, at)],
            when: vec![Guard {
                form: sum(1, &index(0), -1, &out(self.axis), 0),
                lo: 0.into(),
                hi: 1.into(),
            }],
            init: 0,
            body: apply(Scalar::Add, vec![Expr::Acc, Expr::Read(0)]),
        };
        vec![Some(graph.kernel(kernel, &[upstream, self.positions]))]
    }
}

impl Graph {
    /// The slice of `x` along `axis` at each of `positions`, whose axes take the place of `axis`;
    /// zeros where a position is out of range.
    ///
    /// # Panics
    /// When there is no such axis or positions are not integers.
    pub fn gather(&mut self, x: Value, axis: usize, positions: Value) -> Value {
        let shape = self.shape(x).to_vec();
        let (front, back) = (&shape[..axis], &shape[axis + 1..]);
        // The axis in front, and all others as one row.
        let mut order = vec![axis];
        order.extend((0..shape.len()).filter(|&k| k != axis));
        let table = self.permute(x, &order);
        let width: usize = front.iter().chain(back).product();
        let table = self.reshape(table, &[shape[axis], width]);
        let among = self.shape(positions).to_vec();
        let flat = self.reshape(positions, &[among.iter().product()]);
        let rows = self.embedding(table, flat);
        let rows = self.reshape(rows, &[&[among.iter().product()], front, back].concat());
        // The positions back to where the axis was.
        let mut order: Vec<usize> = (1..=axis).collect();
        order.push(0);
        order.extend(axis + 1..shape.len());
        let placed = self.permute(rows, &order);
        self.reshape(placed, &[front, &among, back].concat())
    }

    /// For each element of `positions` the element of `x` at the same place, but at that position
    /// along `axis`; zero where it is out of range. Other axes of `x` may be longer.
    ///
    /// # Panics
    /// When the shapes do not fit or positions are not integers.
    pub fn gather_elements(&mut self, x: Value, axis: usize, positions: Value) -> Value {
        let shape = self.shape(positions).to_vec();
        assert_eq!(self.shape(x).len(), shape.len(), "axes");
        assert_ne!(
            self.dtype(positions),
            Dtype::F32,
            "a position is an integer"
        );
        let mut x = x;
        for k in (0..shape.len()).filter(|&k| k != axis) {
            x = self.slice(x, k, 0, shape[k]);
        }
        let rank = shape.len();
        let at = |k| if k == axis { index(0) } else { out(k) };
        let kernel = Kernel {
            shape,
            dtype: self.dtype(x),
            red: vec![],
            index: vec![Operand::new(1, (0..rank).map(out).collect())],
            reads: vec![Operand::new(0, (0..rank).map(at).collect())],
            when: vec![],
            init: 0,
            body: Expr::Read(0),
        };
        let root = self.kernel(kernel, &[x, positions]);
        self.custom(GatherElements { axis, positions }, &[x], root)
    }
}

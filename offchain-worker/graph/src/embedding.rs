//! Rows of a table by index.

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

struct Embedding {
    ids: Value,
}

impl Rule for Embedding {
    /// Every row of the table sums what came to it: a fold over tokens, guarded by `id == row`.
    fn gradient(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        _: Value,
        upstream: Value,
    ) -> Vec<Option<Value>> {
        let table = graph.shape(inputs[0]).to_vec();
        let tokens = graph.shape(self.ids).iter().product();
        let ids = graph.reshape(self.ids, &[tokens]);
        let upstream = graph.reshape(upstream, &[tokens, table[1]]);
        let kernel = Kernel {
            shape: table,
            dtype: Dtype::F32,
            red: vec![tokens],
            index: vec![Operand::new(1, vec![red(0)])],
            reads: vec![Operand::new(0, vec![red(0), out(1)])],
            when: vec![Guard {
                form: sum(1, &index(0), -1, &out(0), 0),
                lo: 0.into(),
                hi: 1.into(),
            }],
            init: 0,
            body: apply(Scalar::Add, vec![Expr::Acc, Expr::Read(0)]),
        };
        vec![Some(graph.kernel(kernel, &[upstream, ids]))]
    }
}

impl Graph {
    /// The row of `table`, shape `[rows, width]`, for each of `ids`; zeros where there is none.
    /// Shape `[.., width]`.
    ///
    /// # Panics
    /// When `table` is not a matrix or ids are not integers.
    pub fn embedding(&mut self, table: Value, ids: Value) -> Value {
        let &[_, width] = self.shape(table) else {
            panic!("a table is a matrix, not {:?}", self.shape(table));
        };
        assert_ne!(self.dtype(ids), Dtype::F32, "an index is an integer");
        let rank = self.shape(ids).len();
        let kernel = Kernel {
            shape: [self.shape(ids), &[width]].concat(),
            dtype: self.dtype(table),
            red: vec![],
            index: vec![Operand::new(1, (0..rank).map(out).collect())],
            reads: vec![Operand::new(0, vec![index(0), out(rank)])],
            when: vec![],
            init: 0,
            body: Expr::Read(0),
        };
        let root = self.kernel(kernel, &[table, ids]);
        self.custom(Embedding { ids }, &[table], root)
    }
}

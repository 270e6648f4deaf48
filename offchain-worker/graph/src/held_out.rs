//! Held-out records at the end of a task: its last steps read each of them once and train nothing,
//! so that the final state proves how good the model is on them.
//!
//! These steps run the very program of the training, whose model then reads the held-out records
//! instead of a batch. So a step of training costs no more for it, and a step of evaluation as much
//! as one of training.

use crate::{
    graph::{Field, Graph, Value},
    kernel::{
        form::{index, out, scaled, sum},
        Kernel, Operand,
    },
    scalar::{apply, Expr, Scalar},
};
use lockstep_protocol::program::{Dtype, Form};

/// An evaluation at the end of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldOut {
    /// The step with which it begins; those before train.
    pub begins: u32,
    /// Records of a step.
    pub batch: u32,
    /// Held-out records.
    pub records: u32,
}

impl HeldOut {
    /// Steps that read every record once.
    pub fn steps(&self) -> u32 {
        self.records.div_ceil(self.batch)
    }

    /// 1 in the steps of the evaluation, else 0: a `u32` scalar.
    pub(crate) fn evaluates(&self, graph: &mut Graph) -> Value {
        let (step, begins) = (graph.step(), graph.word(self.begins));
        let trains = graph.apply(Scalar::LtU, &[step, begins]);
        graph.not(trains)
    }

    /// 1 in the first step of the evaluation, else 0: a `u32` scalar.
    pub(crate) fn starts(&self, graph: &mut Graph) -> Value {
        let (step, begins) = (graph.step(), graph.word(self.begins));
        graph.same(step, begins)
    }

    /// The number of the held-out record that place `k` of the batch reads, where index word 0 is
    /// the number of the step.
    fn row(&self, k: &Form) -> Form {
        let batch = i64::from(self.batch);
        let first = scaled(batch, &index(0), -batch * i64::from(self.begins));
        sum(1, k, 1, &first, 0)
    }

    /// 1 for each place of the batch where an evaluation has a record: `u32`, shape `[batch]`. The
    /// last step may have fewer than a batch.
    pub(crate) fn counts(&self, graph: &mut Graph) -> Value {
        let step = graph.step();
        let row = Expr::Value(self.row(&out(0)));
        let kernel = Kernel {
            shape: vec![self.batch as usize],
            dtype: Dtype::U32,
            red: vec![],
            index: vec![Operand::new(0, vec![])],
            reads: vec![],
            when: vec![],
            init: 0,
            body: apply(Scalar::LtU, vec![row, Expr::Word(self.records)]),
        };
        graph.kernel(kernel, &[step])
    }

    /// A field of the step's records: of the task's dataset while it trains, then of the held-out
    /// records, whose bytes `held_out` are those of the field, record after record.
    ///
    /// # Panics
    /// When there are not as many bytes as records, or the field has another batch.
    pub fn field(&self, graph: &mut Graph, field: Field, held_out: Vec<u8>) -> Value {
        assert_eq!(field.batch, self.batch, "one batch for both");
        let shape = [self.records as usize, field.count as usize];
        let table = graph.constant(&shape, field.dtype, held_out);
        let step = graph.step();
        let kernel = Kernel {
            shape: vec![field.batch as usize, field.count as usize],
            dtype: field.dtype,
            red: vec![],
            index: vec![Operand::new(1, vec![])],
            reads: vec![Operand::new(0, vec![self.row(&out(0)), out(1)])],
            when: vec![],
            init: 0,
            body: Expr::Read(0),
        };
        let tested = graph.kernel(kernel, &[table, step]);
        let trained = graph.field(field);
        let evaluates = self.evaluates(graph);
        graph.select(evaluates, tested, trained)
    }
}

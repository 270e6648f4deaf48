//! Folds that are sums of products, as tiles: matrix multiplication in every transpose, batched or
//! not, convolution, and the gradients of all of them.
//!
//! An output dimension that only one operand follows is a row or a column, one that both follow is
//! a batch, and the reduction is the steps. This recognises contractions and chooses the shape of
//! their tiles; [`text`] writes what `tile.cuh` asks of one.

use super::linear::{Linear, Place, Scope};
use super::Machine;
use lockstep_protocol::program::{var, Access, Dtype, Fold, Init, Op};
use shape::{Shape, Unit};

mod operand;
mod shape;
mod text;

pub use text::{After, Outer};

/// The text that tiles are instantiated from.
pub const TEMPLATE: &str = concat!(
    include_str!("../kernels/copies.cuh"),
    include_str!("../kernels/tile.cuh"),
    include_str!("../kernels/tensor.cuh")
);

/// Threads of a block.
pub const THREADS: u32 = 256;

/// Fewest rows and columns for which tiles pay.
const FEWEST: u64 = 8;

/// A fold that tiles compute.
pub struct Contraction<'a> {
    fold: &'a Fold,
    scope: Scope,
    kind: Kind,
    /// Which reads the rows and the columns follow.
    operands: [&'a Access; 2],
    /// Output dimensions of the rows, the columns and the batches.
    dims: [Vec<usize>; 3],
    /// Which guards depend on rows and which on columns; those of neither count to the rows.
    guards: [Vec<usize>; 2],
    machine: Machine,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `fma(a, b, acc)` of f32.
    Float,
    /// `acc + a * b` of 32-bit integers, which wrap.
    Integer,
    /// The same, of operands that are 8-bit: four steps in a word. A step past the last, or one that
    /// a guard forbids, adds zero, which changes no integer.
    Quad,
}

impl Kind {
    /// What the fold does, whose guards depend on neither rows nor columns if they are `bare`.
    fn of(fold: &Fold, x: &Access, y: &Access, bare: bool) -> Option<Kind> {
        let eight = |access: &Access| {
            let fill = access.fill as i32;
            access.dtype == Dtype::I8 && i32::from(fill as i8) == fill
        };
        match fold.body.ops.as_slice() {
            [Op::FFma(1, 2, 0) | Op::FFma(2, 1, 0)] => {
                let floats = [fold.body.dtype, x.dtype, y.dtype] == [Dtype::F32; 3];
                floats.then_some(Kind::Float)
            }
            [Op::IMul(1, 2) | Op::IMul(2, 1), Op::IAdd(0, 3) | Op::IAdd(3, 0)] => {
                let words = matches!(fold.body.dtype, Dtype::I32 | Dtype::U32);
                let integers = x.dtype != Dtype::F32 && y.dtype != Dtype::F32;
                let quads = eight(x) && eight(y) && bare;
                (words && integers).then_some(if quads { Kind::Quad } else { Kind::Integer })
            }
            _ => None,
        }
    }

    /// Steps of the program in a word.
    fn together(self) -> u64 {
        match self {
            Kind::Quad => 4,
            Kind::Float | Kind::Integer => 1,
        }
    }
}

impl<'a> Contraction<'a> {
    /// Recognises a contraction.
    pub fn recognise(fold: &'a Fold, machine: Machine) -> Option<Contraction<'a>> {
        let body = &fold.body;
        let [x, y] = body.reads.as_slice() else {
            return None;
        };
        // More registers would stand between the reads and the result.
        if !body.index.is_empty() || !body.values.is_empty() || !body.consts.is_empty() {
            return None;
        }
        let follows = |access: &Access, d: usize| {
            let place = Place::new(access);
            place.offset.coefs[d] != 0
                || place
                    .bounds
                    .iter()
                    .any(|(position, _)| position.coefs[d] != 0)
        };
        let wide = |d: &usize| body.shape[*d].0 > 1;
        let all: Vec<usize> = (0..body.shape.len()).filter(wide).collect();
        let alone = |d: &usize| follows(x, *d) != follows(y, *d);
        // The columns are the dimensions that the operand of the innermost one follows.
        let innermost = *all.iter().rev().find(|d| alone(d))?;
        let operands = match follows(x, innermost) {
            true => [y, x],
            false => [x, y],
        };
        let of = |wanted: &[[bool; 2]]| -> Vec<usize> {
            let kind = |d: usize| operands.map(|access| follows(access, d));
            all.iter()
                .copied()
                .filter(|d| wanted.contains(&kind(*d)))
                .collect()
        };
        // What neither follows repeats the same sums, in columns as well as anywhere.
        let dims = [
            of(&[[true, false]]),
            of(&[[false, true], [false, false]]),
            of(&[[true, true]]),
        ];
        let mut guards = [Vec::new(), Vec::new()];
        let mut bare = true;
        for (g, guard) in fold.when.iter().enumerate() {
            let form = Linear::from(&guard.form);
            let on = |dims: &[usize]| dims.iter().any(|d| form.coefs[*d] != 0);
            let on = (on(&dims[0]), on(&dims[1]));
            bare &= on == (false, false);
            match on {
                (true, true) => return None,
                (_, false) => guards[0].push(g),
                (false, true) => guards[1].push(g),
            }
        }
        let contraction = Contraction {
            scope: Scope::new(&body.shape, &fold.red, &[]),
            kind: Kind::of(fold, x, y, bare)?,
            fold,
            operands,
            dims,
            guards,
            machine,
        };
        let [rows, columns, batches] = contraction.sizes();
        let worthwhile = rows.min(columns) >= FEWEST;
        // Lanes, steps and blocks are counted in 32 bits, with room for a tile past the end.
        let most = rows.max(columns).max(contraction.steps());
        let least = rows.div_ceil(32) * columns.div_ceil(32);
        let countable = most.max(batches).max(least.saturating_mul(batches)) < 1 << 30;
        (worthwhile && countable).then_some(contraction)
    }

    /// The nodes that the kernel takes pointers to: initial value if it is read, rows, columns.
    pub fn reads(&self) -> [Option<u32>; 3] {
        let start = match &self.fold.init {
            Init::Read(access) => Some(access.node),
            Init::Word(_) => None,
        };
        [
            start,
            Some(self.operands[0].node),
            Some(self.operands[1].node),
        ]
    }

    /// Whether `outer` adds up the batches: its steps are the batches in order, its output has the
    /// rows and columns as they lie here, and there are tiles enough without the batches.
    pub fn batches_are_steps_of(&self, outer: &Fold, access: &Access) -> bool {
        let extent = |d: &usize| self.fold.body.shape[*d].0;
        let [rows, columns, batches] = self.sizes();
        let mut others = [&self.dims[0][..], &self.dims[1]].concat();
        others.sort_unstable();
        let shape: Vec<u64> = others.iter().map(extent).collect();
        let wide = |dims: &[lockstep_protocol::program::Dim]| -> Vec<u64> {
            dims.iter().map(|d| d.0).filter(|d| *d > 1).collect()
        };
        let batch: Vec<u64> = self.dims[2].iter().map(extent).collect();
        let first = self.dims[2].last() < others.first();
        let (place, len) = (Place::new(access), (rows * columns) as i64);
        let scope = Scope::new(&outer.body.shape, &outer.red, &[]);
        let mut straight = Linear::default();
        straight.add_row_major(&outer.body.shape, 0, 1);
        straight.add_row_major(&outer.red, var::RED, len);
        batches > 1
            && first
            && wide(&outer.body.shape) == shape
            && wide(&outer.red) == batch
            && outer.when.is_empty()
            && place.condition(&scope).is_none()
            && scope.same(&place.offset, &straight)
            && rows.div_ceil(64) * columns.div_ceil(64) * 2 >= self.machine.multiprocessors
    }

    /// How the kernel is cut into tiles, where the batches are added up if `outer` says so.
    fn shape(&self, outer: bool) -> &'static Shape {
        let unit = match self.kind {
            Kind::Quad if self.machine.capability >= 80 => Unit::Tensor,
            _ => Unit::Scalar,
        };
        Shape::choose(unit, self.extents(outer), self.machine)
    }

    /// Blocks of the launch and bytes of their shared memory.
    pub fn blocks(&self, outer: bool) -> (u32, u32) {
        let shape = self.shape(outer);
        let by_step = [0, 1].map(|k: usize| self.layout(k).by_step);
        let blocks = shape.tiles(self.extents(outer)) as u32;
        (blocks, shape.shared(by_step) as u32)
    }

    /// Rows, columns, and batches with tiles of their own.
    fn extents(&self, outer: bool) -> [u64; 3] {
        let [rows, columns, batches] = self.sizes();
        [rows, columns, if outer { 1 } else { batches }]
    }

    fn sizes(&self) -> [u64; 3] {
        let extent = |d: &usize| self.fold.body.shape[*d].0;
        [0, 1, 2].map(|k: usize| self.dims[k].iter().map(extent).product())
    }

    fn steps(&self) -> u64 {
        self.fold.red.iter().map(|d| d.0).product()
    }

    /// The part of a sum that steps give, or the rest of it with the constant.
    fn split(&self, sum: &Linear, of_steps: bool) -> Linear {
        let mut part = Linear {
            constant: if of_steps { 0 } else { sum.constant },
            ..Linear::default()
        };
        // A dimension of one element has no coordinate, and adds nothing.
        for (v, coef) in sum.terms().filter(|(v, _)| self.scope.varies(*v)) {
            if (v >= var::RED as usize) == of_steps {
                part.coefs[v] = coef;
            }
        }
        part
    }
}

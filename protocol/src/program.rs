//! What a training step is: a list of nodes, each a source, a map or a fold.
//!
//! A program says which values exist, not which buffers hold them.

use crate::{encoding::Int, Hash};
use alloc::vec::Vec;
use scale::{Decode, Encode};
use scale_info::TypeInfo;

/// Hard limits of the format. A program beyond one of them is refused by the validator.
pub mod limits {
    /// Nodes in a program.
    pub const NODES: u32 = 1 << 14;
    /// Elements of one tensor.
    pub const ELEMENTS: u64 = 1 << 38;
    /// Steps of one fold.
    pub const REDUCTION: u64 = 1 << 24;
    /// Bytes of one encoded node.
    pub const NODE_BYTES: usize = 2048;
    /// Output dimensions of a node.
    pub const DIMS: usize = 8;
    /// Reduction dimensions of a fold.
    pub const RED_DIMS: usize = 4;
    /// Index words of a body.
    pub const INDEX: usize = 2;
    /// Index words, reads and a reading init together.
    pub const READS: usize = 8;
    /// Axes of an access.
    pub const AXES: usize = 6;
    /// Guards of a fold.
    pub const GUARDS: usize = 4;
    /// Registers of a body.
    pub const REGISTERS: usize = 255;
    /// Magnitude that no intermediate value of a form may exceed.
    pub const FORM: i128 = 1 << 62;
}

/// How an element is stored, and how it widens to a 32-bit register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, TypeInfo)]
pub enum Dtype {
    /// IEEE-754 binary32. A NaN is made canonical whenever it is loaded.
    F32,
    /// Two's complement, 32 bits.
    I32,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 8 bits, zero-extended.
    U8,
    /// Two's complement, 8 bits, sign-extended.
    I8,
    /// Unsigned, 16 bits, zero-extended (bfloat16 is `bits << 16`).
    U16,
}

impl Dtype {
    /// Bytes of one element.
    pub const fn size(self) -> u64 {
        match self {
            Dtype::F32 | Dtype::I32 | Dtype::U32 => 4,
            Dtype::U16 => 2,
            Dtype::U8 | Dtype::I8 => 1,
        }
    }

    /// The register value of the little-endian element at the start of `bytes`.
    ///
    /// # Panics
    /// When `bytes` is shorter than [`Dtype::size`].
    pub fn load(self, bytes: &[u8]) -> u32 {
        match self {
            Dtype::F32 => {
                let bits = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                crate::float::canonical(bits)
            }
            Dtype::I32 | Dtype::U32 => u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            Dtype::U16 => u16::from_le_bytes([bytes[0], bytes[1]]) as u32,
            Dtype::U8 => bytes[0] as u32,
            Dtype::I8 => bytes[0] as i8 as i32 as u32,
        }
    }

    /// Writes the low bits of a register as one element at the start of `out`.
    ///
    /// # Panics
    /// When `out` is shorter than [`Dtype::size`].
    pub fn store(self, word: u32, out: &mut [u8]) {
        let size = self.size() as usize;
        out[..size].copy_from_slice(&self.stored(word).to_le_bytes()[..size]);
    }

    /// The bits that [`Dtype::store`] writes, zero-extended to a word. An f32 NaN is stored
    /// canonical, so whatever a node computes has one byte form.
    pub fn stored(self, word: u32) -> u32 {
        match self {
            Dtype::F32 => crate::float::canonical(word),
            Dtype::I32 | Dtype::U32 => word,
            Dtype::U16 => word & 0xffff,
            Dtype::U8 | Dtype::I8 => word & 0xff,
        }
    }

    /// What a register holds after `word` has been stored and loaded again.
    pub fn round_trip(self, word: u32) -> u32 {
        match self {
            Dtype::I8 => word as i8 as i32 as u32,
            _ => self.stored(word),
        }
    }
}

/// Variables of a [`Form`] are numbered: output coordinates from 0, reduction coordinates from
/// [`var::RED`], index words from [`var::INDEX`].
pub mod var {
    /// The first reduction coordinate.
    pub const RED: u8 = 8;
    /// The first index word.
    pub const INDEX: u8 = 12;
    /// One past the last variable.
    pub const END: u8 = 14;
}

/// `constant + sum(coef * variable)`, in exact integers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode, TypeInfo)]
pub struct Form {
    /// The constant term.
    pub constant: Int,
    /// Terms in strictly ascending order of variable, no coefficient zero.
    pub terms: Vec<Term>,
}

/// One term of a [`Form`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, TypeInfo)]
pub struct Term {
    /// The variable's number, see [`var`].
    pub var: u8,
    /// Its coefficient, not zero.
    pub coef: Int,
}

/// A form that must lie in `0..extent`, and the distance in elements that one unit of it covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode, TypeInfo)]
pub struct Axis {
    /// The position along the axis.
    pub form: Form,
    /// The axis' length, at least 1.
    #[codec(compact)]
    pub extent: u64,
    /// Elements per unit.
    pub stride: Int,
}

/// How a body reads an element of an earlier node:
/// `node[base + sum(stride * form)]` when every axis is inside its extent, else `fill`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode, TypeInfo)]
pub struct Access {
    /// The node that is read, lower than the reading node.
    #[codec(compact)]
    pub node: u32,
    /// That node's element type.
    pub dtype: Dtype,
    /// That node's number of elements.
    #[codec(compact)]
    pub len: u64,
    /// Element offset of the origin.
    pub base: Int,
    /// Bounded axes.
    pub axes: Vec<Axis>,
    /// The register value outside the axes.
    pub fill: u32,
}

/// A condition on a step of a fold: `lo <= form < hi`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode, TypeInfo)]
pub struct Guard {
    /// The guarded value.
    pub form: Form,
    /// Lowest value that passes.
    pub lo: Int,
    /// Lowest value above that does not.
    pub hi: Int,
}

/// A register number. A body's registers are, in this order: the accumulator (folds only), the
/// reads, the values, the constants, the result of each operation. The last register is the
/// result of the body.
pub type Reg = u8;

/// One operation on untyped 32-bit registers. `F` operations see binary32, the others integers.
/// Every f32 result that is a NaN is the canonical one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, TypeInfo)]
#[allow(missing_docs)] // One line each in `docs/specification.md`, section "Operations".
pub enum Op {
    FAdd(Reg, Reg),
    FSub(Reg, Reg),
    FMul(Reg, Reg),
    /// `a * b + c`, rounded once.
    FFma(Reg, Reg, Reg),
    FDiv(Reg, Reg),
    FSqrt(Reg),
    /// IEEE 754-2019 minimum: NaN propagates, -0 < +0.
    FMin(Reg, Reg),
    /// IEEE 754-2019 maximum: NaN propagates, -0 < +0.
    FMax(Reg, Reg),
    /// Sign flipped; NaN stays the canonical NaN.
    FNeg(Reg),
    /// Sign cleared.
    FAbs(Reg),
    /// 1 when equal (-0 equals +0, NaN equals nothing), else 0.
    FEq(Reg, Reg),
    /// 1 when less, else 0.
    FLt(Reg, Reg),
    /// 1 when less or equal, else 0.
    FLe(Reg, Reg),
    IAdd(Reg, Reg),
    ISub(Reg, Reg),
    IMul(Reg, Reg),
    /// High 32 bits of the unsigned 64-bit product.
    UMulHi(Reg, Reg),
    And(Reg, Reg),
    Or(Reg, Reg),
    Xor(Reg, Reg),
    /// `a << b`; 0 when b >= 32 (b unsigned).
    Shl(Reg, Reg),
    /// Logical `a >> b`; 0 when b >= 32.
    ShrU(Reg, Reg),
    /// Arithmetic `a >> b`; 0 when b >= 32.
    ShrS(Reg, Reg),
    IMinS(Reg, Reg),
    IMaxS(Reg, Reg),
    IMinU(Reg, Reg),
    IMaxU(Reg, Reg),
    /// 1 when equal as words, else 0.
    IEq(Reg, Reg),
    /// 1 when less as signed integers, else 0.
    ILtS(Reg, Reg),
    /// 1 when less as unsigned integers, else 0.
    ILtU(Reg, Reg),
    /// The second operand when the first is not zero, else the third. Bits pass unchanged.
    Select(Reg, Reg, Reg),
    /// Towards zero, saturating, NaN gives 0.
    F32ToI32(Reg),
    /// Towards zero, saturating, NaN gives 0.
    F32ToU32(Reg),
    /// Nearest even.
    I32ToF32(Reg),
    /// Nearest even.
    U32ToF32(Reg),
}

impl Op {
    /// The registers that the operation reads, in order.
    pub fn operands(self) -> impl Iterator<Item = Reg> {
        let (operands, count) = match self {
            Op::FSqrt(a)
            | Op::FNeg(a)
            | Op::FAbs(a)
            | Op::F32ToI32(a)
            | Op::F32ToU32(a)
            | Op::I32ToF32(a)
            | Op::U32ToF32(a) => ([a, 0, 0], 1),
            Op::FAdd(a, b)
            | Op::FSub(a, b)
            | Op::FMul(a, b)
            | Op::FDiv(a, b)
            | Op::FMin(a, b)
            | Op::FMax(a, b)
            | Op::FEq(a, b)
            | Op::FLt(a, b)
            | Op::FLe(a, b)
            | Op::IAdd(a, b)
            | Op::ISub(a, b)
            | Op::IMul(a, b)
            | Op::UMulHi(a, b)
            | Op::And(a, b)
            | Op::Or(a, b)
            | Op::Xor(a, b)
            | Op::Shl(a, b)
            | Op::ShrU(a, b)
            | Op::ShrS(a, b)
            | Op::IMinS(a, b)
            | Op::IMaxS(a, b)
            | Op::IMinU(a, b)
            | Op::IMaxU(a, b)
            | Op::IEq(a, b)
            | Op::ILtS(a, b)
            | Op::ILtU(a, b) => ([a, b, 0], 2),
            Op::FFma(a, b, c) | Op::Select(a, b, c) => ([a, b, c], 3),
        };
        operands.into_iter().take(count)
    }
}

/// The scalar function that computes an element of a map, or one step of a fold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode, TypeInfo)]
pub struct Body {
    /// Output dimensions, row-major, 1 to 8 of them, each at least 1.
    pub shape: Vec<Dim>,
    /// Output element type; for a fold also the accumulator's.
    pub dtype: Dtype,
    /// Index words, accesses over coordinates only. A word is a signed integer in forms, except
    /// when its dtype is `U32`. `F32` cannot index.
    pub index: Vec<Access>,
    /// Operands, accesses over coordinates and index words.
    pub reads: Vec<Access>,
    /// Forms whose low 32 bits become registers.
    pub values: Vec<Form>,
    /// Constant registers.
    pub consts: Vec<u32>,
    /// The straight line of operations.
    pub ops: Vec<Op>,
}

/// An extent, in compact encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, TypeInfo)]
pub struct Dim(#[codec(compact)] pub u64);

/// Where a fold's accumulator starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode, TypeInfo)]
pub enum Init {
    /// A register value.
    Word(u32),
    /// An element of an earlier node, over output coordinates only.
    Read(Access),
}

/// A fold: for r ascending (row-major over `red`), when every guard holds,
/// `acc = body(acc, reads)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode, TypeInfo)]
pub struct Fold {
    /// The step.
    pub body: Body,
    /// Reduction dimensions, 1 to 4 of them, each at least 1.
    pub red: Vec<Dim>,
    /// Conditions under which a step is taken.
    pub when: Vec<Guard>,
    /// Where the accumulator starts.
    pub init: Init,
}

/// A value that comes from outside the program.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode, TypeInfo)]
pub enum Source {
    /// State tensor of the slot that equals the node's position: the first P nodes are these.
    State {
        /// Dimensions.
        shape: Vec<Dim>,
        /// Element type.
        dtype: Dtype,
    },
    /// A field of each record of the step's batch; shape `[batch, fields]`.
    Batch {
        /// Which dataset of the task.
        dataset: u8,
        /// The task's batch size.
        #[codec(compact)]
        batch: u32,
        /// Bytes of a record of that dataset.
        #[codec(compact)]
        record_size: u32,
        /// First byte of the field in the record, a multiple of the element size, as is the
        /// record size.
        #[codec(compact)]
        offset: u32,
        /// Elements of the field.
        #[codec(compact)]
        fields: u32,
        /// Element type.
        dtype: Dtype,
    },
    /// A tensor known by its hash.
    Constant {
        /// Dimensions.
        shape: Vec<Dim>,
        /// Element type.
        dtype: Dtype,
        /// BLAKE3 of its bytes.
        hash: Hash,
    },
    /// The number of the step, counted from 0 over the whole task; `u32`, shape `[1]`.
    Step,
    /// The task's seed, low word first; `u32`, shape `[2]`.
    Seed,
}

/// One value of a training step.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode, TypeInfo)]
pub enum Node {
    /// A value from outside.
    Source(Source),
    /// `out[i] = body(reads at i)`.
    Map(Body),
    /// `out[i]` folds `body` over a reduction.
    Fold(Fold),
}

/// A training step. The first `slots` nodes are the state tensors in slot order, the last
/// `slots` the next state in slot order.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Program {
    /// State tensors.
    pub slots: u32,
    /// Nodes in topological order.
    pub nodes: Vec<Node>,
}

/// The product of dimensions; `None` on overflow.
pub fn elements(shape: &[Dim]) -> Option<u64> {
    shape.iter().try_fold(1u64, |n, d| n.checked_mul(d.0))
}

impl Source {
    /// Dimensions and element type.
    pub fn output(&self) -> (Vec<Dim>, Dtype) {
        match self {
            Source::State { shape, dtype } | Source::Constant { shape, dtype, .. } => {
                (shape.clone(), *dtype)
            }
            Source::Batch {
                batch,
                fields,
                dtype,
                ..
            } => (alloc::vec![Dim(*batch as u64), Dim(*fields as u64)], *dtype),
            Source::Step => (alloc::vec![Dim(1)], Dtype::U32),
            Source::Seed => (alloc::vec![Dim(2)], Dtype::U32),
        }
    }
}

impl Node {
    /// The element type of the node's value.
    pub fn dtype(&self) -> Dtype {
        match self {
            Node::Source(source) => source.output().1,
            Node::Map(body) | Node::Fold(Fold { body, .. }) => body.dtype,
        }
    }

    /// The dimensions of the node's value.
    pub fn shape(&self) -> Vec<Dim> {
        match self {
            Node::Source(source) => source.output().0,
            Node::Map(body) | Node::Fold(Fold { body, .. }) => body.shape.clone(),
        }
    }

    /// Elements of the node's value.
    ///
    /// # Panics
    /// When the product of the dimensions overflows, which the validator excludes.
    #[allow(clippy::len_without_is_empty)] // Every dimension is at least 1.
    pub fn len(&self) -> u64 {
        elements(&self.shape()).expect("the validator bounds the number of elements")
    }

    /// Bytes of the node's value.
    pub fn bytes(&self) -> u64 {
        self.len() * self.dtype().size()
    }

    /// Steps of a fold; 1 for every other node.
    pub fn reduction(&self) -> u64 {
        match self {
            Node::Fold(fold) => elements(&fold.red).expect("the validator bounds the reduction"),
            _ => 1,
        }
    }

    /// The BLAKE3 hash of the node's encoding, its entry in the program file.
    pub fn hash(&self) -> Hash {
        *blake3::hash(&self.encode()).as_bytes()
    }

    /// Accesses of the node: index words, reads, then a reading init.
    pub fn accesses(&self) -> impl Iterator<Item = &Access> {
        let (body, init) = match self {
            Node::Source(_) => (None, None),
            Node::Map(body) => (Some(body), None),
            Node::Fold(fold) => (
                Some(&fold.body),
                match &fold.init {
                    Init::Read(access) => Some(access),
                    Init::Word(_) => None,
                },
            ),
        };
        body.into_iter()
            .flat_map(|b| b.index.iter().chain(b.reads.iter()))
            .chain(init)
    }
}

impl Program {
    /// The program file: the hash of every node's encoding, in node order.
    pub fn file(&self) -> Vec<u8> {
        self.nodes.iter().flat_map(|node| node.hash()).collect()
    }

    /// The BLAKE3 hash of the program file.
    pub fn root(&self) -> Hash {
        *blake3::hash(&self.file()).as_bytes()
    }

    /// The nodes that compute the next state, in slot order.
    pub fn next_state(&self) -> core::ops::Range<usize> {
        self.nodes.len() - self.slots as usize..self.nodes.len()
    }
}

impl Form {
    /// A constant form.
    pub fn constant(value: i64) -> Form {
        Form {
            constant: Int(value),
            terms: Vec::new(),
        }
    }

    /// A single variable.
    pub fn var(var: u8) -> Form {
        Form::new(0, &[(var, 1)])
    }

    /// `constant + sum(coef * var)`; terms are sorted, merged, and dropped when zero.
    pub fn new(constant: i64, terms: &[(u8, i64)]) -> Form {
        let mut sums = [0i64; var::END as usize];
        for &(v, coef) in terms {
            sums[v as usize] += coef;
        }
        let terms = sums
            .iter()
            .enumerate()
            .filter(|(_, coef)| **coef != 0)
            .map(|(v, coef)| Term {
                var: v as u8,
                coef: Int(*coef),
            })
            .collect();
        Form {
            constant: Int(constant),
            terms,
        }
    }

    /// The form's value where variable `v` has value `vars[v]`.
    ///
    /// The validator proves that no valid program overflows here.
    pub fn eval(&self, vars: &[i64; var::END as usize]) -> i64 {
        self.terms.iter().fold(self.constant.0, |sum, t| {
            sum + t.coef.0 * vars[t.var as usize]
        })
    }
}

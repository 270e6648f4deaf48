//! A body as C++: operands, operations, and where the canonical NaN has to be written.

use super::linear::{name, Linear, Place, Scope};
use lockstep_protocol::float;
use lockstep_protocol::program::{var, Access, Body, Dim, Dtype, Fold, Guard, Init, Node, Op};
use std::fmt::Write;

/// A register of the generated code.
///
/// Float operations may leave a NaN that is not canonical and do not care which one they are
/// given, so a value is made canonical only where its bits are seen.
#[derive(Clone, Debug)]
pub struct Word {
    /// The C++ expression, a name or a literal.
    pub text: String,
    /// Where the bits are a NaN, what the program means.
    pub nan: Nan,
}

/// What the bits of a value stand for where they are a NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nan {
    /// They are meant as they are.
    Exact,
    /// They are the canonical NaN.
    Canonical,
    /// Any of them stands for the canonical NaN.
    Any,
}

impl Word {
    /// A value and what its bits stand for.
    pub fn new(text: impl Into<String>, nan: Nan) -> Word {
        let text = text.into();
        Word { text, nan }
    }

    fn literal(word: u32) -> Word {
        let nan = match float::canonical(word) == word {
            true => Nan::Canonical,
            false => Nan::Exact,
        };
        Word::new(format!("{word:#x}u"), nan)
    }

    /// An expression of the exact bits.
    pub fn exact(&self) -> String {
        match self.nan {
            Nan::Any => format!("canon({})", self.text),
            Nan::Exact | Nan::Canonical => self.text.clone(),
        }
    }
}

/// The functions of the prelude that load and store an element type.
pub fn load_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 | Dtype::I32 | Dtype::U32 => "load_w",
        Dtype::U16 => "load_h",
        Dtype::U8 => "load_b",
        Dtype::I8 => "load_sb",
    }
}

/// See [`load_name`].
pub fn store_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 | Dtype::I32 | Dtype::U32 => "store_w",
        Dtype::U16 => "store_h",
        Dtype::U8 | Dtype::I8 => "store_b",
    }
}

/// `word` after it has been stored and loaded again as `dtype`.
pub fn round_trip(dtype: Dtype, word: &Word) -> Word {
    match dtype {
        Dtype::F32 => Word::new(
            word.text.clone(),
            match word.nan {
                Nan::Canonical => Nan::Canonical,
                Nan::Any | Nan::Exact => Nan::Any,
            },
        ),
        Dtype::I32 | Dtype::U32 => Word::new(word.exact(), Nan::Exact),
        Dtype::U16 => Word::new(format!("({} & 0xffffu)", word.exact()), Nan::Canonical),
        Dtype::U8 => Word::new(format!("({} & 0xffu)", word.exact()), Nan::Canonical),
        Dtype::I8 => Word::new(
            format!("((u32)(int)(signed char){})", word.exact()),
            Nan::Exact,
        ),
    }
}

/// Where an operand comes from.
pub enum Operand {
    /// A pointer of this name, whose bytes may hold any NaN or only the canonical one.
    Memory(String, Nan),
    /// A function of the element's offset, called as `function(offset, arguments)`; its value is
    /// what a load of the element would give.
    Inline(String, String, Nan),
    /// The element that is asked for, whatever its offset.
    Value(String, Nan),
}

/// What the bits of an accumulator stand for.
pub fn accumulator(dtype: Dtype) -> Nan {
    match dtype {
        Dtype::F32 => Nan::Any,
        _ => Nan::Exact,
    }
}

/// Writes the function that computes an element of one node.
pub struct Writer<'a> {
    scope: Scope,
    operand: &'a dyn Fn(&Access) -> Operand,
    text: String,
    indent: usize,
    fresh: usize,
}

/// The type of a linear index below `len`.
pub fn index_type(len: u64) -> &'static str {
    match len < 1 << 31 {
        true => "u32",
        false => "u64",
    }
}

impl<'a> Writer<'a> {
    /// A writer for nodes of this scope, whose operands `operand` names.
    pub fn new(scope: Scope, operand: &'a dyn Fn(&Access) -> Operand) -> Writer<'a> {
        Writer {
            scope,
            operand,
            text: String::new(),
            indent: 1,
            fresh: 0,
        }
    }

    /// What has been written.
    pub fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, line: impl AsRef<str>) {
        let _ = writeln!(self.text, "{:1$}{2}", "", self.indent * 4, line.as_ref());
    }

    /// Opens a block.
    fn open(&mut self, line: impl AsRef<str>) {
        self.line(format!("{} {{", line.as_ref()));
        self.indent += 1;
    }

    fn close(&mut self) {
        self.indent -= 1;
        self.line("}");
    }

    fn name(&mut self, value: &str) -> String {
        self.fresh += 1;
        let name = format!("t{}", self.fresh);
        self.line(format!("const u32 {name} = {value};"));
        name
    }

    /// Declares the coordinates `o` of the row-major index `index`.
    pub fn coordinates(&mut self, shape: &[Dim], index: &str) {
        self.named_coordinates("o", shape, index);
    }

    fn named_coordinates(&mut self, name: &str, shape: &[Dim], index: &str) {
        let len = shape.iter().map(|d| d.0).product();
        let kind = index_type(len);
        // The outermost coordinate that varies is what is left.
        let Some(first) = shape.iter().position(|d| d.0 > 1) else {
            return (0..shape.len()).for_each(|d| self.line(format!("const u32 {name}{d} = 0;")));
        };
        self.line(format!("{kind} rest_{name} = {index};"));
        for (d, dim) in shape.iter().enumerate().rev() {
            if d == first {
                self.line(format!("const {kind} {name}{d} = rest_{name};"));
            } else if dim.0 == 1 {
                self.line(format!("const {kind} {name}{d} = 0;"));
            } else {
                self.line(format!(
                    "const {kind} {name}{d} = rest_{name} % {}u;",
                    dim.0
                ));
                self.line(format!("rest_{name} /= {}u;", dim.0));
            }
        }
    }

    /// The value of a map's element, from the coordinates.
    pub fn map(&mut self, body: &Body) -> Word {
        self.index_words(&body.index);
        let word = self.run(body, None);
        round_trip(body.dtype, &word)
    }

    /// The value of a fold's element, from the coordinates.
    pub fn fold(&mut self, fold: &Fold) -> Word {
        let start = self.start(fold);
        self.line(format!("u32 acc = {start};"));
        for (d, dim) in fold.red.iter().enumerate() {
            self.open(format!("for (int r{d} = 0; r{d} < {}; ++r{d})", dim.0));
        }
        self.step_of_loop(fold);
        fold.red.iter().for_each(|_| self.close());
        Word::new("acc", accumulator(fold.body.dtype))
    }

    /// Takes a step inside the loops over the steps, unless a guard forbids it.
    fn step_of_loop(&mut self, fold: &Fold) {
        self.index_words(&fold.body.index);
        self.guards(fold);
        let word = self.step(fold);
        self.line(format!("acc = {};", word.text));
    }

    /// The accumulator after a step of a fold without guards, from `acc` and the coordinates.
    pub fn fold_step(&mut self, fold: &Fold) -> Word {
        self.index_words(&fold.body.index);
        self.step(fold)
    }

    /// The accumulator after a step, from `acc`, the coordinates and the index words.
    fn step(&mut self, fold: &Fold) -> Word {
        let dtype = fold.body.dtype;
        let word = self.run(&fold.body, Some(Word::new("acc", accumulator(dtype))));
        round_trip(dtype, &word)
    }

    /// The accumulator before the first step.
    pub fn start(&mut self, fold: &Fold) -> String {
        let dtype = fold.body.dtype;
        match &fold.init {
            Init::Word(word) => format!("{:#x}u", dtype.round_trip(dtype.stored(*word))),
            Init::Read(access) => {
                let word = self.load(access);
                round_trip(dtype, &word).text
            }
        }
    }

    /// The condition under which no guard forbids a step, from the coordinates.
    pub fn passes(&mut self, fold: &Fold) -> String {
        self.index_words(&fold.body.index);
        let condition = |guard: &Guard| {
            let form = Linear::from(&guard.form);
            self.scope.condition(&form, guard.lo.0, guard.hi.0)
        };
        let conditions: Vec<String> = fold.when.iter().filter_map(condition).collect();
        match conditions.is_empty() {
            true => "true".into(),
            false => conditions.join(" && "),
        }
    }

    /// The accumulator after every `stride`-th step from step `first` on, from `start`; steps that
    /// a guard forbids are left out.
    pub fn fold_from(&mut self, fold: &Fold, start: &str, first: &str, stride: u32) -> Word {
        let steps: u64 = fold.red.iter().map(|d| d.0).product();
        let kind = index_type(steps.saturating_add(stride as u64));
        self.line(format!("u32 acc = {start};"));
        self.open(format!(
            "for ({kind} step = {first}; step < {steps}u; step += {stride}u)"
        ));
        self.reduction_coordinates(&fold.red, "step");
        self.step_of_loop(fold);
        self.close();
        Word::new("acc", accumulator(fold.body.dtype))
    }

    /// Declares the coordinates `r` of the row-major index `index`.
    pub fn reduction_coordinates(&mut self, red: &[Dim], index: &str) {
        self.named_coordinates("r", red, index);
    }

    /// Skips a step that a guard forbids.
    fn guards(&mut self, fold: &Fold) {
        for guard in &fold.when {
            let form = Linear::from(&guard.form);
            if let Some(passes) = self.scope.condition(&form, guard.lo.0, guard.hi.0) {
                self.line(format!("if (!({passes})) continue;"));
            }
        }
    }

    fn index_words(&mut self, index: &[Access]) {
        for (k, access) in index.iter().enumerate() {
            let word = self.load(access).exact();
            let w = name(var::INDEX as usize + k);
            match access.dtype {
                Dtype::U32 => self.line(format!("const i64 {w} = (i64){word};")),
                _ => self.line(format!("const i64 {w} = (i64)(int){word};")),
            }
        }
    }

    /// An operand.
    fn load(&mut self, access: &Access) -> Word {
        let place = Place::new(access);
        let offset = self.scope.expression(&place.offset);
        let (value, nan) = match (self.operand)(access) {
            Operand::Memory(pointer, nan) => (
                format!("{}({pointer}, {offset})", load_name(access.dtype)),
                nan,
            ),
            Operand::Inline(function, arguments, nan) => {
                (format!("{function}({offset}{arguments})"), nan)
            }
            Operand::Value(value, nan) => (value, nan),
        };
        let Some(inside) = place.condition(&self.scope) else {
            let name = self.name(&value);
            return Word::new(name, nan);
        };
        let fill = Word::literal(access.fill);
        // A fill that is another NaN has to be told apart from a loaded one.
        let (value, nan) = match (nan, fill.nan) {
            (Nan::Any, Nan::Exact) => (format!("canon({value})"), Nan::Exact),
            (nan, Nan::Canonical) => (value, nan),
            (_, _) => (value, Nan::Exact),
        };
        let name = self.name(&format!("{inside} ? {value} : {}", fill.text));
        Word::new(name, nan)
    }

    fn run(&mut self, body: &Body, acc: Option<Word>) -> Word {
        let mut regs: Vec<Word> = acc.into_iter().collect();
        for access in &body.reads {
            let word = self.load(access);
            regs.push(word);
        }
        for form in &body.values {
            let value = Linear::from(form).word();
            regs.push(Word::new(self.name(&value), Nan::Exact));
        }
        regs.extend(body.consts.iter().map(|word| Word::literal(*word)));
        for op in &body.ops {
            let word = self.op(*op, &mut regs);
            regs.push(word);
        }
        regs.pop().expect("the validator requires a register")
    }

    /// Makes a register's bits exact, once.
    fn exact(&mut self, regs: &mut [Word], r: u8) -> String {
        let word = &mut regs[r as usize];
        if word.nan == Nan::Any {
            let text = self.name(&format!("canon({})", word.text));
            *word = Word::new(text, Nan::Canonical);
        }
        regs[r as usize].text.clone()
    }

    fn op(&mut self, op: Op, regs: &mut [Word]) -> Word {
        let (call, nan) = self.expression(op, regs);
        Word::new(self.name(&call), nan)
    }

    fn expression(&mut self, op: Op, regs: &mut [Word]) -> (String, Nan) {
        // Floats do not care which NaN they see; whatever else an operation does, it sees bits.
        let float = |name: &str, operands: &[u8]| {
            let texts: Vec<&str> = operands
                .iter()
                .map(|r| regs[*r as usize].text.as_str())
                .collect();
            format!("{name}({})", texts.join(", "))
        };
        let float_op = match op {
            Op::FAdd(a, b) => Some(("fadd", vec![a, b], Nan::Any)),
            Op::FSub(a, b) => Some(("fsub", vec![a, b], Nan::Any)),
            Op::FMul(a, b) => Some(("fmul", vec![a, b], Nan::Any)),
            Op::FFma(a, b, c) => Some(("ffma", vec![a, b, c], Nan::Any)),
            Op::FDiv(a, b) => Some(("fdiv", vec![a, b], Nan::Any)),
            Op::FSqrt(a) => Some(("fsqrt", vec![a], Nan::Any)),
            Op::FNeg(a) => Some(("fneg", vec![a], Nan::Any)),
            Op::FAbs(a) => Some(("fabs_", vec![a], Nan::Any)),
            Op::FMin(a, b) => Some(("fmin_", vec![a, b], Nan::Canonical)),
            Op::FMax(a, b) => Some(("fmax_", vec![a, b], Nan::Canonical)),
            Op::FEq(a, b) => Some(("feq", vec![a, b], Nan::Canonical)),
            Op::FLt(a, b) => Some(("flt", vec![a, b], Nan::Canonical)),
            Op::FLe(a, b) => Some(("fle", vec![a, b], Nan::Canonical)),
            Op::F32ToI32(a) => Some(("f2i", vec![a], Nan::Exact)),
            Op::F32ToU32(a) => Some(("f2u", vec![a], Nan::Exact)),
            _ => None,
        };
        if let Some((name, operands, nan)) = float_op {
            return (float(name, &operands), nan);
        }
        if let Op::Select(c, a, b) = op {
            return self.select(c, a, b, regs);
        }
        let words: Vec<String> = op.operands().map(|r| self.exact(regs, r)).collect();
        let [a, b] = [0, 1].map(|k: usize| words.get(k).cloned().unwrap_or_default());
        match op {
            Op::IAdd(..) => (format!("{a} + {b}"), Nan::Exact),
            Op::ISub(..) => (format!("{a} - {b}"), Nan::Exact),
            Op::IMul(..) => (format!("{a} * {b}"), Nan::Exact),
            Op::UMulHi(..) => (format!("umulhi({a}, {b})"), Nan::Exact),
            Op::And(..) => (format!("{a} & {b}"), Nan::Exact),
            Op::Or(..) => (format!("{a} | {b}"), Nan::Exact),
            Op::Xor(..) => (format!("{a} ^ {b}"), Nan::Exact),
            Op::Shl(..) => (format!("shl({a}, {b})"), Nan::Exact),
            Op::ShrU(..) => (format!("shru({a}, {b})"), Nan::Exact),
            Op::ShrS(..) => (format!("shrs({a}, {b})"), Nan::Exact),
            Op::IMinS(..) => (format!("imins({a}, {b})"), Nan::Exact),
            Op::IMaxS(..) => (format!("imaxs({a}, {b})"), Nan::Exact),
            Op::IMinU(..) => (format!("iminu({a}, {b})"), Nan::Exact),
            Op::IMaxU(..) => (format!("imaxu({a}, {b})"), Nan::Exact),
            Op::IEq(..) => (format!("{a} == {b}"), Nan::Canonical),
            Op::ILtS(..) => (format!("(int){a} < (int){b}"), Nan::Canonical),
            Op::ILtU(..) => (format!("{a} < {b}"), Nan::Canonical),
            Op::I32ToF32(..) => (format!("i2f({a})"), Nan::Canonical),
            Op::U32ToF32(..) => (format!("u2f({a})"), Nan::Canonical),
            _ => unreachable!("float operations and selections are written above"),
        }
    }

    /// Bits pass through a selection, so what stands for a canonical NaN may only meet its like.
    fn select(&mut self, c: u8, a: u8, b: u8, regs: &mut [Word]) -> (String, Nan) {
        let nans = [a, b].map(|r| regs[r as usize].nan);
        let nan = match nans {
            [Nan::Exact, _] | [_, Nan::Exact] => Nan::Exact,
            [Nan::Canonical, Nan::Canonical] => Nan::Canonical,
            _ => Nan::Any,
        };
        let texts = match nan {
            Nan::Exact => [a, b].map(|r| self.exact(regs, r)),
            _ => [a, b].map(|r| regs[r as usize].text.clone()),
        };
        // No NaN is zero, whichever it is.
        let condition = &regs[c as usize].text;
        (
            format!("{condition} != 0u ? {} : {}", texts[0], texts[1]),
            nan,
        )
    }
}

/// The scope of a map or fold, and its body.
///
/// # Panics
/// For a source.
pub fn scope(node: &Node) -> (Scope, &Body) {
    match node {
        Node::Map(body) => (Scope::new(&body.shape, &[], &body.index), body),
        Node::Fold(fold) => {
            let body = &fold.body;
            (Scope::new(&body.shape, &fold.red, &body.index), body)
        }
        Node::Source(_) => panic!("a source has no body"),
    }
}

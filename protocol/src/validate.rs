//! The validator: accepts exactly the programs for which every step is defined and provable.
//!
//! A node is checked alone by [`node`], which is what a contract runs on the one node that a
//! dispute is about; [`program`] adds what only the whole list of nodes can show. Nothing is
//! assumed of the numbers but their types: every bound is derived from the axes, coordinates and
//! index words alone, in time linear in the encoding and without overflow.

mod cost;
mod fault;

pub use cost::{cost, Cost, PROOF_BYTES, PROOF_TIME};
pub use fault::{Fault, Invalid, Part, Place};

use crate::program::{
    elements, limits, var, Access, Axis, Body, Dim, Dtype, Fold, Form, Guard, Init, Node, Program,
    Source,
};
use crate::task::TaskSpec;
use alloc::vec::Vec;
use scale::Encode;

/// The largest magnitude of each variable that is in scope.
type Scope = [Option<u64>; var::END as usize];

/// Checks a program.
///
/// # Errors
/// The first fault found, with the node it lies in.
pub fn program(program: &Program) -> Result<(), Invalid> {
    let whole = |fault| Err(Invalid { node: None, fault });
    if program.nodes.len() > limits::NODES as usize {
        return whole(Fault::Nodes(program.nodes.len() as u64));
    }
    let count = program.nodes.len() as u32;
    if program.slots == 0 || program.slots > count / 2 {
        return whole(Fault::Slots(program.slots));
    }
    let mut outputs = Vec::with_capacity(program.nodes.len());
    for (position, item) in (0..).zip(&program.nodes) {
        let at = |fault| Invalid {
            node: Some(position),
            fault,
        };
        node(item, position).map_err(at)?;
        kind(item, position, program.slots).map_err(at)?;
        operands(item, &outputs).map_err(at)?;
        fits(cost(item, count)).map_err(at)?;
        let output = (item.dtype(), item.len());
        if let Some(slot) = position.checked_sub(count - program.slots) {
            if outputs[slot as usize] != output {
                return Err(at(Fault::NextState { slot }));
            }
        }
        outputs.push(output);
    }
    Ok(())
}

/// Checks that `spec` is in order and that `program` is a valid program of it.
///
/// # Errors
/// The first fault found, with the node it lies in.
pub fn spec(program: &Program, spec: &TaskSpec) -> Result<(), Invalid> {
    let whole = |fault| Invalid { node: None, fault };
    spec.check().map_err(|fault| whole(Fault::Spec(fault)))?;
    self::program(program)?;
    if program.nodes.len() as u64 != spec.nodes as u64 || program.slots != spec.slots {
        return Err(whole(Fault::Counts));
    }
    if program.root() != spec.program {
        return Err(whole(Fault::Root));
    }
    for (position, node) in (0..).zip(&program.nodes) {
        let Node::Source(Source::Batch {
            dataset,
            batch,
            record_size,
            ..
        }) = node
        else {
            continue;
        };
        let matches = spec
            .datasets
            .get(*dataset as usize)
            .is_some_and(|d| d.record_size == *record_size && spec.batch == *batch);
        if !matches {
            return Err(Invalid {
                node: Some(position),
                fault: Fault::Dataset(*dataset),
            });
        }
    }
    Ok(())
}

/// Checks all that a node shows by itself when it stands at `position` of its program.
///
/// # Errors
/// The first fault found.
pub fn node(node: &Node, position: u32) -> Result<(), Fault> {
    match node {
        Node::Source(source) => check_source(source)?,
        Node::Map(body) => check_body(body, None, position)?,
        Node::Fold(fold) => check_body(&fold.body, Some(fold), position)?,
    }
    let bytes = node.encoded_size();
    if bytes > limits::NODE_BYTES {
        return Err(Fault::Encoding(bytes as u64));
    }
    Ok(())
}

/// State tensors come first and nowhere else.
fn kind(node: &Node, position: u32, slots: u32) -> Result<(), Fault> {
    let state = matches!(node, Node::Source(Source::State { .. }));
    match (state, position < slots) {
        (true, false) => Err(Fault::StateBehindSlots),
        (false, true) => Err(Fault::SlotWithoutState),
        _ => Ok(()),
    }
}

/// Every access tells the truth about the node that it reads.
fn operands(node: &Node, outputs: &[(Dtype, u64)]) -> Result<(), Fault> {
    let Some((body, init)) = parts(node) else {
        return Ok(());
    };
    let truth = |part, access: &Access| match outputs.get(access.node as usize) {
        Some(&output) if output == (access.dtype, access.len) => Ok(()),
        _ => Err(Fault::Operand {
            part,
            node: access.node,
        }),
    };
    for (k, access) in (0..).zip(&body.index) {
        truth(Part::Index(k), access)?;
    }
    for (k, access) in (0..).zip(&body.reads) {
        truth(Part::Read(k), access)?;
    }
    match init {
        Some(Init::Read(access)) => truth(Part::Init, access),
        _ => Ok(()),
    }
}

fn parts(node: &Node) -> Option<(&Body, Option<&Init>)> {
    match node {
        Node::Source(_) => None,
        Node::Map(body) => Some((body, None)),
        Node::Fold(fold) => Some((&fold.body, Some(&fold.init))),
    }
}

fn fits(cost: Cost) -> Result<(), Fault> {
    if cost.bytes > PROOF_BYTES {
        Err(Fault::ProofBytes(cost.bytes))
    } else if cost.time > PROOF_TIME {
        Err(Fault::ProofTime(cost.time))
    } else {
        Ok(())
    }
}

fn check_source(source: &Source) -> Result<(), Fault> {
    match source {
        Source::State { shape, .. } | Source::Constant { shape, .. } => check_shape(shape),
        Source::Step | Source::Seed => Ok(()),
        Source::Batch {
            batch,
            record_size,
            offset,
            fields,
            dtype,
            ..
        } => {
            check_shape(&[Dim(*batch as u64), Dim(*fields as u64)])?;
            let size = dtype.size();
            let (record_size, offset) = (*record_size as u64, *offset as u64);
            if record_size % size != 0 || offset % size != 0 {
                return Err(Fault::Alignment);
            }
            if offset + *fields as u64 * size > record_size {
                return Err(Fault::Record);
            }
            Ok(())
        }
    }
}

fn check_shape(shape: &[Dim]) -> Result<(), Fault> {
    if shape.is_empty() || shape.len() > limits::DIMS {
        return Err(Fault::Dims(shape.len() as u64));
    }
    if let Some(dim) = shape.iter().position(|dim| dim.0 == 0) {
        return Err(Fault::Dim(dim as u8));
    }
    match elements(shape) {
        Some(n) if n <= limits::ELEMENTS => Ok(()),
        _ => Err(Fault::Elements),
    }
}

fn check_reduction(red: &[Dim]) -> Result<(), Fault> {
    if red.is_empty() || red.len() > limits::RED_DIMS {
        return Err(Fault::RedDims(red.len() as u64));
    }
    if let Some(dim) = red.iter().position(|dim| dim.0 == 0) {
        return Err(Fault::RedDim(dim as u8));
    }
    match elements(red) {
        Some(n) if n <= limits::REDUCTION => Ok(()),
        _ => Err(Fault::Reduction),
    }
}

/// Checks a body and, in a fold, what surrounds it. Variables enter the scope in the order in
/// which a step comes to know them.
fn check_body(body: &Body, fold: Option<&Fold>, position: u32) -> Result<(), Fault> {
    check_shape(&body.shape)?;
    if let Some(fold) = fold {
        check_reduction(&fold.red)?;
    }
    check_counts(body, fold)?;

    let mut scope: Scope = [None; var::END as usize];
    enter(&mut scope, 0, &body.shape);
    if let Some(Init::Read(access)) = fold.map(|fold| &fold.init) {
        check_access(Part::Init, access, &scope, position)?;
    }
    if let Some(fold) = fold {
        enter(&mut scope, var::RED, &fold.red);
    }
    for (k, access) in (0..).zip(&body.index) {
        check_access(Part::Index(k), access, &scope, position)?;
    }
    for (k, access) in (0..).zip(&body.index) {
        let Some(magnitude) = index_magnitude(access) else {
            return Err(Fault::FloatIndex(k));
        };
        scope[(var::INDEX + k) as usize] = Some(magnitude);
    }
    for (k, access) in (0..).zip(&body.reads) {
        check_access(Part::Read(k), access, &scope, position)?;
    }
    for (k, form) in body.values.iter().enumerate() {
        check_form(Part::Value(k as u8).whole(), form, &scope)?;
    }
    for (k, guard) in (0..).zip(fold.map_or(&[][..], |fold| &fold.when)) {
        check_guard(k, guard, &scope)?;
    }
    check_ops(body, fold.is_some())
}

fn enter(scope: &mut Scope, first: u8, shape: &[Dim]) {
    for (entry, dim) in scope[first as usize..].iter_mut().zip(shape) {
        *entry = Some(dim.0 - 1);
    }
}

/// The largest magnitude of an index word, as forms see it. The fill counts as it is: it need not
/// be a value of the element type.
fn index_magnitude(access: &Access) -> Option<u64> {
    let (magnitude, fill) = match access.dtype {
        Dtype::F32 => return None,
        Dtype::U32 => (u32::MAX, access.fill),
        Dtype::I32 => (1 << 31, 0),
        Dtype::U16 => (0xffff, (access.fill as i32).unsigned_abs()),
        Dtype::U8 => (0xff, (access.fill as i32).unsigned_abs()),
        Dtype::I8 => (0x80, (access.fill as i32).unsigned_abs()),
    };
    Some(magnitude.max(fill) as u64)
}

fn check_counts(body: &Body, fold: Option<&Fold>) -> Result<(), Fault> {
    let init = fold.is_some_and(|fold| matches!(fold.init, Init::Read(_)));
    let reads = body.index.len() + body.reads.len() + init as usize;
    if body.index.len() > limits::INDEX {
        return Err(Fault::Index(body.index.len() as u64));
    }
    if reads > limits::READS {
        return Err(Fault::Reads(reads as u64));
    }
    let guards = fold.map_or(0, |fold| fold.when.len());
    if guards > limits::GUARDS {
        return Err(Fault::Guards(guards as u64));
    }
    let registers = first_result(body, fold.is_some()) + body.ops.len();
    if registers == 0 || registers > limits::REGISTERS {
        return Err(Fault::Registers(registers as u64));
    }
    Ok(())
}

/// The register of the first operation's result.
fn first_result(body: &Body, fold: bool) -> usize {
    fold as usize + body.reads.len() + body.values.len() + body.consts.len()
}

fn check_ops(body: &Body, fold: bool) -> Result<(), Fault> {
    for (op, (result, operation)) in (first_result(body, fold)..).zip(&body.ops).enumerate() {
        let later = |reg: &u8| *reg as usize >= result;
        if let Some(reg) = operation.operands().find(later) {
            return Err(Fault::Register { op: op as u8, reg });
        }
    }
    Ok(())
}

fn check_guard(k: u8, guard: &Guard, scope: &Scope) -> Result<(), Fault> {
    if guard.lo.0 >= guard.hi.0 {
        return Err(Fault::EmptyGuard(k));
    }
    check_form(Part::Guard(k).whole(), &guard.form, scope)
}

/// An access names an earlier node, and every element that its axes let through exists. Since 0
/// lies inside every axis, this bounds the partial sums of the offset as well.
fn check_access(part: Part, access: &Access, scope: &Scope, position: u32) -> Result<(), Fault> {
    if access.node >= position {
        return Err(Fault::Later {
            part,
            node: access.node,
        });
    }
    if access.len == 0 || access.len > limits::ELEMENTS {
        return Err(Fault::Len(part));
    }
    if access.axes.len() > limits::AXES {
        return Err(Fault::Axes {
            part,
            count: access.axes.len() as u64,
        });
    }
    let mut low = access.base.0 as i128;
    let mut high = low;
    check_offset(part.whole(), access, low, high)?;
    for (k, axis) in (0..).zip(&access.axes) {
        let place = part.axis(k);
        check_form(place, &axis.form, scope)?;
        let reach = check_axis(place, axis)?;
        low += reach.min(0);
        high += reach.max(0);
        check_offset(place, access, low, high)?;
    }
    Ok(())
}

/// The offset at the far end of an axis, relative to its origin.
fn check_axis(place: Place, axis: &Axis) -> Result<i128, Fault> {
    match axis.extent.checked_sub(1) {
        // Below 2^64 * 2^63, so that even a sum with an offset in bounds cannot overflow.
        Some(last) => Ok(last as i128 * axis.stride.0 as i128),
        None => Err(Fault::EmptyAxis(place)),
    }
}

fn check_offset(place: Place, access: &Access, low: i128, high: i128) -> Result<(), Fault> {
    let reach = if low < 0 { low } else { high };
    if reach < 0 || reach >= access.len as i128 {
        return Err(Fault::Offset {
            place,
            reach,
            len: access.len,
            node: access.node,
        });
    }
    Ok(())
}

/// A form is canonical, knows its variables, and cannot overflow whatever their values and in
/// whatever order it is summed.
fn check_form(place: Place, form: &Form, scope: &Scope) -> Result<(), Fault> {
    let mut sum = form.constant.0.unsigned_abs() as u128;
    let mut next = 0;
    for term in &form.terms {
        if term.var < next {
            return Err(Fault::Order(place));
        }
        let Some(magnitude) = scope.get(term.var as usize).copied().flatten() else {
            return Err(Fault::Scope {
                place,
                var: term.var,
            });
        };
        if term.coef.0 == 0 {
            return Err(Fault::Coefficient {
                place,
                var: term.var,
            });
        }
        next = term.var + 1;
        // At most 14 terms below 2^63 * 2^38 each.
        sum += term.coef.0.unsigned_abs() as u128 * magnitude as u128;
    }
    if sum > limits::FORM as u128 {
        return Err(Fault::Magnitude(place));
    }
    Ok(())
}

//! Elements moved and never changed, of known tensors and of values alike.

use super::{
    builder::Builder,
    error::{refuse, Reason},
    operand::{Live, Operand},
    tensor::{count, Data, Tensor, AXES},
};
use lockstep_graph::{Graph, Value};
use lockstep_protocol::program::Dtype;

/// Distances in elements between neighbours along each axis.
fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for k in (1..shape.len()).rev() {
        strides[k - 1] = strides[k] * shape[k] as isize;
    }
    strides
}

/// The positions that a view with these strides reads, row-major.
fn walk(shape: &[usize], start: isize, strides: &[isize]) -> impl Iterator<Item = usize> {
    let (&last, front) = shape.split_last().unwrap_or((&1, &[]));
    let step = strides.last().copied().unwrap_or(0);
    let along = |from: isize, extent: usize, stride: isize| {
        (0..extent as isize).map(move |i| from + i * stride)
    };
    let mut rows = vec![start];
    if shape.contains(&0) {
        rows.clear();
    }
    for (&extent, &stride) in front.iter().zip(strides) {
        let longer = rows
            .into_iter()
            .flat_map(|from| along(from, extent, stride));
        rows = longer.collect();
    }
    let rows = rows
        .into_iter()
        .flat_map(move |from| along(from, last, step));
    rows.map(|position| position as usize)
}

impl Builder<'_> {
    fn view(
        &mut self,
        tensor: &Tensor,
        shape: &[usize],
        start: isize,
        strides: &[isize],
    ) -> Result<Operand, Reason> {
        self.room(shape)?;
        Ok(tensor.picked(shape, walk(shape, start, strides)).into())
    }

    fn moved(
        &mut self,
        live: &Live,
        shape: &[usize],
        go: impl FnOnce(&mut Graph, Value) -> Value,
    ) -> Result<Operand, Reason> {
        self.check(shape)?;
        let value = go(self.graph(), live.value);
        Ok(Operand::Live(Live { value, ..*live }))
    }

    /// The same elements in another shape.
    pub(super) fn reshape(&mut self, x: &Operand, shape: &[usize]) -> Result<Operand, Reason> {
        let from = self.shape(x)?;
        if shape.len() > AXES {
            refuse!("a shape of {} axes has more than {AXES}", shape.len());
        }
        if count(&from) != count(shape) {
            refuse!("shapes {from:?} and {shape:?} differ in their number of elements");
        }
        match x {
            Operand::Live(live) => self.moved(live, shape, |g, x| g.reshape(x, shape)),
            Operand::Known(tensor) => Ok(tensor.reshaped(shape).into()),
            Operand::Sequence(_) => unreachable!("a sequence has no shape"),
        }
    }

    /// Axis j of the result is axis `order[j]`, a permutation.
    pub(super) fn permute(&mut self, x: &Operand, order: &[usize]) -> Result<Operand, Reason> {
        let from = self.shape(x)?;
        let shape: Vec<usize> = order.iter().map(|&k| from[k]).collect();
        match x {
            Operand::Live(live) => self.moved(live, &shape, |g, x| g.permute(x, order)),
            Operand::Known(tensor) => {
                let steps = strides(&from);
                let steps: Vec<isize> = order.iter().map(|&k| steps[k]).collect();
                self.view(tensor, &shape, 0, &steps)
            }
            Operand::Sequence(_) => unreachable!("a sequence has no shape"),
        }
    }

    /// Axes of extent 1, and axes missing in front, repeated to `shape`.
    pub(super) fn broadcast(&mut self, x: &Operand, shape: &[usize]) -> Result<Operand, Reason> {
        let from = self.shape(x)?;
        if lockstep_graph::broadcast_shape(&from, shape).as_deref() != Some(shape) {
            refuse!("shape {from:?} does not broadcast to {shape:?}");
        }
        match x {
            Operand::Live(live) => self.moved(live, shape, |g, x| g.broadcast(x, shape)),
            Operand::Known(tensor) => {
                let missing = shape.len() - from.len();
                let mut steps = vec![0; missing];
                let own = strides(&from).into_iter().zip(&from);
                steps.extend(own.map(|(step, &d)| if d == 1 { 0 } else { step }));
                self.view(tensor, shape, 0, &steps)
            }
            Operand::Sequence(_) => unreachable!("a sequence has no shape"),
        }
    }

    /// `len` positions of an axis, from `start` on, `step` apart.
    pub(super) fn slice(
        &mut self,
        x: &Operand,
        axis: usize,
        start: usize,
        step: isize,
        len: usize,
    ) -> Result<Operand, Reason> {
        let mut shape = self.shape(x)?;
        match x {
            Operand::Known(tensor) => {
                let mut steps = strides(&shape);
                let from = start as isize * steps[axis];
                steps[axis] *= step;
                shape[axis] = len;
                self.view(tensor, &shape, from, &steps)
            }
            Operand::Live(live) if step == 1 => {
                shape[axis] = len;
                self.moved(live, &shape, |g, x| g.slice(x, axis, start, len))
            }
            _ => {
                self.room(&[len])?;
                let position = |k| start as i64 + k as i64 * step as i64;
                let positions = Tensor::integers(&[len], (0..len).map(position).collect());
                self.gather(x, axis, &positions.into())
            }
        }
    }

    /// Tensors one after another along an axis.
    pub(super) fn concat(&mut self, parts: &[Operand], axis: usize) -> Result<Operand, Reason> {
        let mut shape = self.shape(&parts[0])?;
        let element = self.element(&parts[0])?;
        let mut total = 0;
        for part in parts {
            let other = self.shape(part)?;
            let beside = |s: &[usize]| [&s[..axis], &s[axis + 1..]].concat();
            if other.len() != shape.len() || beside(&other) != beside(&shape) {
                refuse!("shapes {shape:?} and {other:?} differ beside axis {axis}");
            }
            if self.element(part)? != element {
                refuse!("its inputs are of different element types");
            }
            total += other[axis];
        }
        shape[axis] = total;
        let known = |part: &Operand| match part {
            Operand::Known(tensor) => Some(tensor.clone()),
            _ => None,
        };
        if let Some(known) = parts.iter().map(known).collect::<Option<Vec<Tensor>>>() {
            self.room(&shape)?;
            return Ok(joined(&known, axis, &shape).into());
        }
        self.check(&shape)?;
        let mut values = Vec::new();
        for part in parts {
            if !self.shape(part)?.contains(&0) {
                values.push(self.live(part)?.value);
            }
        }
        let graph = self.graph();
        if values
            .iter()
            .any(|&v| graph.dtype(v) != graph.dtype(values[0]))
        {
            refuse!("its inputs are integers of different width");
        }
        let value = graph.concat(&values, axis);
        Ok(Operand::Live(Live { value, element }))
    }

    /// The slices of an axis at each of the positions: the axis is replaced by the positions' axes.
    pub(super) fn gather(
        &mut self,
        x: &Operand,
        axis: usize,
        positions: &Operand,
    ) -> Result<Operand, Reason> {
        let from = self.shape(x)?;
        let among = self.shape(positions)?;
        let (front, back) = (&from[..axis], &from[axis + 1..]);
        let shape = [front, &among, back].concat();
        let positions = match positions {
            Operand::Known(tensor) => Operand::Known(self.in_range(tensor, from[axis])?),
            other => other.clone(),
        };
        if let (Operand::Known(tensor), Operand::Known(at)) = (x, &positions) {
            self.room(&shape)?;
            let (outer, inner): (usize, usize) = (front.iter().product(), back.iter().product());
            let Data::Integer(at) = &at.data else {
                refuse!("a position is an integer");
            };
            let from = (0..outer).flat_map(|o| at.iter().map(move |&k| (o, k as usize)));
            let from = from.flat_map(|(o, k)| {
                (0..inner).map(move |i| (o * tensor.shape[axis] + k) * inner + i)
            });
            return Ok(tensor.picked(&shape, from).into());
        }
        let live = self.live(x)?;
        self.check(&shape)?;
        if let Operand::Known(Tensor {
            data: Data::Integer(at),
            ..
        }) = &positions
        {
            let first = at[0];
            if at.iter().zip(first..).all(|(&k, want)| k == want) {
                let part = self.slice(x, axis, first as usize, 1, at.len())?;
                return self.reshape(&part, &shape);
            }
        }
        let at = self.live(&positions)?;
        if self.graph().dtype(at.value) == Dtype::F32 {
            refuse!("a position is an integer");
        }
        let value = self.graph().gather(live.value, axis, at.value);
        Ok(Operand::Live(Live { value, ..live }))
    }

    /// Positions counted from the front, all of them within an axis.
    pub(super) fn in_range(&self, positions: &Tensor, extent: usize) -> Result<Tensor, Reason> {
        let Data::Integer(data) = &positions.data else {
            refuse!("a position is an integer");
        };
        let place = |&k: &i64| match k < 0 {
            true => k.checked_add(extent as i64).filter(|k| *k >= 0),
            false => Some(k).filter(|k| *k < extent as i64),
        };
        match data.iter().map(place).collect::<Option<Vec<i64>>>() {
            Some(data) => Ok(Tensor::integers(&positions.shape, data)),
            None => refuse!("a position lies outside of an axis of {extent}"),
        }
    }
}

/// Tensors of one element type, one after another along an axis.
fn joined(parts: &[Tensor], axis: usize, shape: &[usize]) -> Tensor {
    fn join<T: Copy>(parts: &[Tensor], axis: usize, data: fn(&Data) -> &[T]) -> Vec<T> {
        let outer: usize = parts[0].shape[..axis].iter().product();
        let run = |part: &Tensor| part.shape[axis..].iter().product::<usize>();
        let runs = (0..outer).flat_map(|o| parts.iter().map(move |part| (o, part)));
        runs.flat_map(|(o, part)| &data(&part.data)[o * run(part)..][..run(part)])
            .copied()
            .collect()
    }
    const ONE: &str = "parts have one element type";
    let data = match &parts[0].data {
        Data::Float(_) => Data::Float(
            join(parts, axis, |data| match data {
                Data::Float(data) => data,
                _ => unreachable!("{ONE}"),
            })
            .into(),
        ),
        Data::Integer(_) => Data::Integer(
            join(parts, axis, |data| match data {
                Data::Integer(data) => data,
                _ => unreachable!("{ONE}"),
            })
            .into(),
        ),
        Data::Boolean(_) => Data::Boolean(
            join(parts, axis, |data| match data {
                Data::Boolean(data) => data,
                _ => unreachable!("{ONE}"),
            })
            .into(),
        ),
    };
    Tensor::new(shape, data)
}

//! Sliding windows along one axis, forwards and backwards.

use crate::{
    graph::{Graph, Value},
    kernel::form::{out, red, sum},
};
use lockstep_protocol::program::{Form, Guard};

/// How a window of `taps` positions slides along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Positions of the axis.
    pub(crate) input: usize,
    /// Positions of the window.
    pub(crate) taps: usize,
    /// Positions between windows.
    pub(crate) stride: usize,
    /// Positions added before and behind the axis.
    pub(crate) padding: usize,
    /// Distance between the positions of one window.
    pub(crate) dilation: usize,
}

/// The windows that cover each position of an axis: position y, padding included, is written
/// `y = stride * q + phase`. The tap of window `q - t` at y is `phase + stride * t`, so that q, the
/// phase and t reach every pair without a division.
pub(crate) struct Cover {
    /// Output dimensions: q and the phase, or y alone when the stride is 1.
    pub(crate) shape: Vec<usize>,
    /// Values of t.
    pub(crate) walk: usize,
    /// The window.
    pub(crate) window: Form,
    /// The tap, beyond the last one where the window does not cover the position.
    pub(crate) tap: Form,
    /// The condition that there is such a tap, where that is in doubt.
    pub(crate) guard: Option<Guard>,
    /// Positions in front of the axis' first.
    start: usize,
}

impl Window {
    /// How many windows fit; `None` when not one does.
    pub(crate) fn outputs(&self) -> Option<usize> {
        let reach = self.dilation * (self.taps - 1) + 1;
        let free = (self.input + 2 * self.padding).checked_sub(reach)?;
        Some(free / self.stride + 1)
    }

    /// Where tap `k` of window `o` lies.
    pub(crate) fn at(&self, o: &Form, k: &Form) -> Form {
        let (stride, dilation) = (self.stride as i64, self.dilation as i64);
        sum(stride, o, dilation, k, -(self.padding as i64))
    }

    /// The windows that cover each position, with output coordinates from number `axis` on and
    /// reduction coordinate `walk`.
    ///
    /// # Panics
    /// When both the stride and the dilation are greater than 1.
    pub(crate) fn cover(&self, axis: usize, walk: usize) -> Cover {
        if self.stride == 1 {
            let tap = red(walk);
            return Cover {
                shape: vec![self.input],
                walk: self.taps,
                window: sum(
                    1,
                    &out(axis),
                    -(self.dilation as i64),
                    &tap,
                    self.padding as i64,
                ),
                tap,
                guard: None,
                start: 0,
            };
        }
        assert_eq!(self.dilation, 1, "a dilated window that also strides");
        let rounds = (self.input + self.padding).div_ceil(self.stride);
        let walked = self.taps.div_ceil(self.stride);
        let tap = sum(1, &out(axis + 1), self.stride as i64, &red(walk), 0);
        let guard = (walked * self.stride != self.taps).then(|| Guard {
            form: tap.clone(),
            lo: 0.into(),
            hi: (self.taps as i64).into(),
        });
        Cover {
            shape: vec![rounds, self.stride],
            walk: walked,
            window: sum(1, &out(axis), -1, &red(walk), 0),
            tap,
            guard,
            start: self.padding,
        }
    }
}

/// The covers of two neighbouring axes, the first of them output coordinate 1.
pub(crate) struct Covers(pub(crate) [Cover; 2]);

impl Covers {
    pub(crate) fn new(windows: [Window; 2]) -> Covers {
        let first = windows[0].cover(1, 0);
        let second = windows[1].cover(1 + first.shape.len(), 1);
        Covers([first, second])
    }

    /// `front`, the covers' dimensions, `back`.
    pub(crate) fn shape(&self, front: usize, back: &[usize]) -> Vec<usize> {
        let [first, second] = &self.0;
        [&[front], &first.shape[..], &second.shape, back].concat()
    }

    /// A number for each pair of taps, different for different pairs.
    pub(crate) fn tap(&self) -> Form {
        let [first, second] = &self.0;
        sum(self.pitch() as i64, &first.tap, 1, &second.tap, 0)
    }

    /// Greater than every tap of the second axis.
    pub(crate) fn pitch(&self) -> usize {
        let second = &self.0[1];
        let phases = second.shape.get(1).copied().unwrap_or(1);
        second.walk * phases
    }

    /// From the covers' dimensions back to those of the axes: shape `[front, y, x, back]`.
    pub(crate) fn unfold(
        &self,
        graph: &mut Graph,
        value: Value,
        windows: [Window; 2],
        back: usize,
    ) -> Value {
        let front = graph.shape(value)[0];
        let [rows, columns]: [usize; 2] = [0, 1].map(|k| self.0[k].shape.iter().product());
        let mut value = graph.reshape(value, &[front, rows, columns, back]);
        for (k, (cover, window)) in self.0.iter().zip(windows).enumerate() {
            value = graph.slice(value, 1 + k, cover.start, window.input);
        }
        value
    }
}

/// Coordinate `group * size + member` of a channel axis, where there are groups; the group is
/// coordinate number `axis` and the member `member`.
pub(crate) fn channel(groups: usize, axis: usize, size: usize, member: &Form) -> Form {
    match groups {
        1 => member.clone(),
        _ => sum(size as i64, &out(axis), 1, member, 0),
    }
}

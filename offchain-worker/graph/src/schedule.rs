//! Learning-rate schedules: one constant a step.

use crate::{
    graph::{Graph, Value},
    kernel::{form::index, Kernel, Operand},
    scalar::Expr,
};
use lockstep_protocol::program::Dtype;

/// How the learning rate changes over a task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// The same at every step.
    Constant,
    /// Down to `end` times the peak along a straight line.
    Linear {
        /// The last step's share of the peak rate.
        end: f32,
    },
    /// Down to `end` times the peak along half a cosine.
    ///
    /// I. Loshchilov, F. Hutter: SGDR (ICLR 2017).
    Cosine {
        /// The last step's share of the peak rate.
        end: f32,
    },
}

impl Schedule {
    /// The rate of every step: up to `peak` along a straight line over `warmup` steps, then as
    /// the schedule says. Every operation is rounded as IEEE-754 says, so all machines find the
    /// same numbers.
    pub fn rates(&self, peak: f32, warmup: u32, steps: u32) -> Vec<f32> {
        let rest = steps.saturating_sub(warmup).saturating_sub(1).max(1);
        let share = |step: u32| {
            if step < warmup {
                return (step + 1) as f64 / (warmup + 1) as f64;
            }
            let progress = (step - warmup) as f64 / rest as f64;
            let (end, above) = match *self {
                Schedule::Constant => return 1.0,
                Schedule::Linear { end } => (end as f64, 1.0 - progress),
                Schedule::Cosine { end } => (end as f64, half_cosine(progress)),
            };
            end + (1.0 - end) * above
        };
        (0..steps)
            .map(|step| (share(step) * peak as f64) as f32)
            .collect()
    }
}

/// `(1 + cos(pi t)) / 2` for t in 0..=1, as `cos^2` of half the angle by its Taylor series, which
/// needs nothing of the platform's mathematical library.
fn half_cosine(t: f64) -> f64 {
    let half = t * std::f64::consts::FRAC_PI_2;
    let square = half * half;
    let series = (1..=12).rev().fold(1.0, |sum, k| {
        let k = k as f64;
        1.0 - sum * square / ((2.0 * k - 1.0) * 2.0 * k)
    });
    series * series
}

impl Graph {
    /// The element of `table` at the number of the step, the last one after the end: a scalar.
    ///
    /// # Panics
    /// When `table` is empty.
    pub fn scheduled(&mut self, table: &[f32]) -> Value {
        let &last = table.last().expect("a schedule has at least one step");
        if table.iter().all(|x| x.to_bits() == last.to_bits()) {
            return self.scalar(last);
        }
        let table = self.constant_f32(&[table.len()], table);
        let step = self.step();
        let at = Operand {
            input: 0,
            at: vec![index(0)],
            fill: last.to_bits(),
        };
        let kernel = Kernel {
            shape: vec![],
            dtype: Dtype::F32,
            red: vec![],
            index: vec![Operand::new(1, vec![])],
            reads: vec![at],
            when: vec![],
            init: 0,
            body: Expr::Read(0),
        };
        self.kernel(kernel, &[table, step])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_is_the_cosine() {
        for k in 0..=1000 {
            let t = k as f64 / 1000.0;
            let cosine = (1.0 + (t * std::f64::consts::PI).cos()) / 2.0;
            assert!((half_cosine(t) - cosine).abs() < 1e-14, "{t}");
        }
    }

    #[test]
    fn a_schedule_warms_up_peaks_and_ends_where_it_should() {
        let rates = Schedule::Cosine { end: 0.1 }.rates(2.0, 3, 10);
        assert_eq!(rates[..4], [0.5, 1.0, 1.5, 2.0]);
        assert!(rates[3..].is_sorted_by(|a, b| a > b));
        assert!((rates[9] - 0.2).abs() < 1e-7);
        assert_eq!(Schedule::Constant.rates(0.5, 0, 3), [0.5; 3]);
        assert_eq!(
            Schedule::Linear { end: 0.0 }.rates(1.0, 0, 3),
            [1.0, 0.5, 0.0]
        );
    }
}

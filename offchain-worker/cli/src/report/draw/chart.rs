//! Line charts over the steps of a task.

use super::{Anchor, Ink, Point, Scene, Shape, Text};

/// How a series is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A line of little weight, for what is noisy.
    Faint,
    /// A line.
    Line,
    /// A disc for each point.
    Discs,
}

/// Numbers over steps.
pub struct Series {
    /// What the legend says.
    pub name: String,
    /// In which colour.
    pub ink: Ink,
    /// How.
    pub style: Style,
    /// Steps and values, steps ascending. A value that is not finite leaves a gap.
    pub points: Vec<(f64, f64)>,
}

/// A chart.
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What is written beside the title, in small.
    pub note: String,
    /// The first and the last step of the axis.
    pub steps: (f64, f64),
    /// Where the axis of values ends, whatever lies beyond.
    pub ceiling: Option<f64>,
    /// What is shown, the last on top.
    pub series: Vec<Series>,
}

const SIZE: Point = (900.0, 300.0);
/// Room above, right, below and left of the plot.
const ROOM: [f32; 4] = [58.0, 18.0, 40.0, 64.0];

impl Chart {
    /// The chart as a picture.
    pub fn scene(&self) -> Scene {
        let mut scene = Scene::new(SIZE.0, SIZE.1, format!("{}, {}", self.title, self.note));
        let title = Text::new((ROOM[3], 20.0), 15.0, Ink::Text, &self.title).strong();
        let note = (ROOM[3] + title.width() + 10.0, 20.0);
        scene.text(title);
        let room = SIZE.0 - ROOM[1] - note.0;
        scene.text(Text::new(note, 12.0, Ink::Faint, &self.note).within(room));
        self.legend(&mut scene);
        let frame = Frame::new(self);
        frame.axes(&mut scene);
        for series in &self.series {
            frame.series(&mut scene, series);
        }
        scene
    }

    fn legend(&self, scene: &mut Scene) {
        let (mut x, y) = (ROOM[3], 40.0);
        let several = self.series.len() > 1;
        for series in self.series.iter().filter(|s| several && !s.name.is_empty()) {
            let middle = y - 4.0;
            scene.shape(match series.style {
                Style::Discs => disc((x + 8.0, middle), series.ink),
                style => Shape::line([(x, middle), (x + 16.0, middle)]).drawn(
                    series.ink,
                    opacity(style),
                    2.0,
                ),
            });
            let text = Text::new((x + 22.0, y), 12.0, Ink::Text, &series.name);
            x += 22.0 + text.width() + 20.0;
            scene.text(text);
        }
    }

    /// The least and the greatest value to show; 0 is between them.
    fn values(&self) -> (f64, f64) {
        let all = self.series.iter().flat_map(|s| &s.points);
        let values = || all.clone().map(|p| p.1).filter(|v| v.is_finite());
        let low = values().fold(0.0, f64::min);
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        let high = self.ceiling.map_or(high, |ceiling| high.min(ceiling));
        match high > low {
            true => (low, high),
            false => (low, low + 1.0),
        }
    }
}

fn opacity(style: Style) -> f32 {
    match style {
        Style::Faint => 0.45,
        Style::Line | Style::Discs => 1.0,
    }
}

fn disc(at: Point, ink: Ink) -> Shape {
    Shape::disc(at, 3.6).filled(ink, 1.0)
}

/// Where numbers are in a picture.
struct Frame {
    steps: (f64, f64),
    values: (f64, f64),
    ticks: Vec<f64>,
}

impl Frame {
    fn new(chart: &Chart) -> Frame {
        let (low, high) = chart.values();
        let ticks = ticks(low, high, 5);
        let first = ticks.first().map_or(low, |t| t.min(low));
        let last = ticks.last().map_or(high, |t| t.max(high));
        Frame {
            steps: chart.steps,
            values: (first, last),
            ticks,
        }
    }

    fn x(&self, step: f64) -> f32 {
        let (first, last) = self.steps;
        let share = (step - first) / (last - first).max(1e-9);
        ROOM[3] + share as f32 * (SIZE.0 - ROOM[3] - ROOM[1])
    }

    fn y(&self, value: f64) -> f32 {
        let (low, high) = self.values;
        let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
        SIZE.1 - ROOM[2] - share as f32 * (SIZE.1 - ROOM[0] - ROOM[2])
    }

    fn axes(&self, scene: &mut Scene) {
        let (left, right) = (ROOM[3], SIZE.0 - ROOM[1]);
        for (tick, label) in self.ticks.iter().zip(labels(&self.ticks)) {
            let y = self.y(*tick);
            scene.shape(Shape::line([(left, y), (right, y)]).drawn(Ink::Grid, 1.0, 1.0));
            let text = Text::new((left - 8.0, y + 4.0), 12.0, Ink::Faint, label);
            scene.text(text.anchored(Anchor::End));
        }
        let bottom = SIZE.1 - ROOM[2];
        let (first, last) = self.steps;
        let steps: Vec<f64> = ticks(first, last, 8).into_iter().filter(whole).collect();
        for (step, label) in steps.iter().zip(labels(&steps)) {
            if !(first..=last).contains(step) {
                continue;
            }
            let x = self.x(*step);
            scene.shape(Shape::line([(x, bottom), (x, bottom + 4.0)]).drawn(Ink::Grid, 1.0, 1.0));
            let text = Text::new((x, bottom + 18.0), 12.0, Ink::Faint, label);
            scene.text(text.anchored(Anchor::Middle));
        }
        let text = Text::new((right, SIZE.1 - 6.0), 12.0, Ink::Faint, "steps");
        scene.text(text.anchored(Anchor::End));
    }

    fn series(&self, scene: &mut Scene, series: &Series) {
        let place = |(step, value): &(f64, f64)| (self.x(*step), self.y(*value));
        if series.style == Style::Discs {
            for point in series.points.iter().filter(|p| p.1.is_finite()) {
                let hint = format!("{}: step {}, {}", series.name, point.0, brief(point.1));
                scene.shape(disc(place(point), series.ink).hint(hint));
            }
            return;
        }
        let width = if series.style == Style::Faint {
            1.0
        } else {
            2.0
        };
        for run in series.points.split(|p| !p.1.is_finite()) {
            let columns = (SIZE.0 - ROOM[3] - ROOM[1]) as usize;
            let line = Shape::line(thinned(run, columns).iter().map(place));
            scene.shape(line.drawn(series.ink, opacity(series.style), width));
        }
    }
}

fn whole(number: &f64) -> bool {
    number.fract() == 0.0
}

/// A part of the distance between two ticks that nobody sees.
const UNSEEN: f64 = 1e-3;

/// Round numbers that divide `low..=high` into about `count` parts, from the last at or below
/// `low` to the first at or above `high`.
pub fn ticks(low: f64, high: f64, count: u32) -> Vec<f64> {
    let raw = (high - low) / f64::from(count);
    if !raw.is_finite() || raw <= 0.0 {
        return vec![low];
    }
    let scale = 10f64.powf(raw.log10().floor());
    let part = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|part| part * scale)
        .find(|part| *part >= raw * 0.999_999)
        .unwrap_or(10.0 * scale);
    // What is beyond a tick by less than one sees does not need another.
    let first = (low / part + UNSEEN).floor() as i64;
    let last = (high / part - UNSEEN).ceil() as i64;
    // Products of whole numbers do not add up errors as sums would.
    (first..=last).map(|k| k as f64 * part).collect()
}

/// Numbers with the same count of digits after the point, as few as tell them apart.
fn labels(numbers: &[f64]) -> Vec<String> {
    let great = numbers.iter().fold(0.0, |most: f64, n| most.max(n.abs()));
    if great != 0.0 && !(1e-4..1e6).contains(&great) {
        return numbers.iter().map(|n| brief(*n)).collect();
    }
    let digits = (0..8).find(|digits| {
        let unit = 10f64.powi(*digits);
        let exact = |n: &f64| ((n * unit).round() / unit - n).abs() <= great * 1e-9;
        numbers.iter().all(exact)
    });
    let digits = digits.unwrap_or(8) as usize;
    numbers.iter().map(|n| format!("{n:.digits$}")).collect()
}

/// A number with four digits that count.
pub fn brief(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    if !(1e-4..1e6).contains(&size) {
        return format!("{number:.3e}");
    }
    let digits = (3 - size.log10().floor() as i32).clamp(0, 8) as usize;
    let text = format!("{number:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A line with no more than four points for each of `columns`: where it enters and leaves the
/// column, and its extremes there, so that nothing that could be seen is lost.
fn thinned(points: &[(f64, f64)], columns: usize) -> Vec<(f64, f64)> {
    if points.len() <= columns * 4 {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(columns * 4);
    for bucket in points.chunks(points.len().div_ceil(columns)) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let ends = [bucket.first(), bucket.last()];
        let extremes = [
            bucket.iter().min_by(by_value),
            bucket.iter().max_by(by_value),
        ];
        let mut four: Vec<(f64, f64)> = ends
            .into_iter()
            .chain(extremes)
            .flatten()
            .copied()
            .collect();
        four.sort_by(|a, b| a.0.total_cmp(&b.0));
        four.dedup();
        kept.extend(four);
    }
    kept
}

/// The median of each point and those around it, `reach` to either side: a line through noise
/// that single outliers do not move.
pub fn medians(points: &[(f64, f64)], reach: usize) -> Vec<(f64, f64)> {
    let median = |(k, point): (usize, &(f64, f64))| {
        let around = k.saturating_sub(reach)..(k + reach + 1).min(points.len());
        let mut values: Vec<f64> = points[around].iter().map(|p| p.1).collect();
        values.sort_by(f64::total_cmp);
        (point.0, values[values.len() / 2])
    };
    points.iter().enumerate().map(median).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose_what_they_divide() {
        assert_eq!(
            ticks(0.0, 400.0, 8),
            (0..=8).map(|k| f64::from(k) * 50.0).collect::<Vec<_>>()
        );
        for (low, high) in [(0.13, 2.31), (-3.0, 5.0), (1e-7, 3e-7), (0.0, 1e9)] {
            let ticks = ticks(low, high, 5);
            let slack = (high - low) * UNSEEN;
            assert!(
                ticks[0] <= low + slack && *ticks.last().unwrap() >= high - slack,
                "{ticks:?}"
            );
            assert!((3..=9).contains(&ticks.len()), "{ticks:?}");
        }
        assert_eq!(ticks(2.0, 2.0, 5), [2.0]);
        assert_eq!(ticks(0.0, 1.000_001, 5).last(), Some(&1.0));
    }

    #[test]
    fn labels_have_the_digits_that_tell_them_apart() {
        assert_eq!(labels(&[0.0, 0.25, 0.5]), ["0.00", "0.25", "0.50"]);
        assert_eq!(labels(&[0.0, 100.0]), ["0", "100"]);
        assert_eq!(labels(&[0.0, 2e-6]), ["0", "2.000e-6"]);
        assert_eq!(brief(0.123456), "0.1235");
        assert_eq!(brief(1234.5), "1234");
        assert_eq!(brief(-2.5), "-2.5");
    }

    #[test]
    fn a_thinned_line_keeps_its_ends_and_extremes() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|k| (f64::from(k), 0.0)).collect();
        points[1234].1 = 5.0;
        points[8765].1 = -5.0;
        let thin = thinned(&points, 100);
        assert!(thin.len() <= 400);
        assert_eq!((thin[0], *thin.last().unwrap()), (points[0], points[9999]));
        assert!(thin.contains(&points[1234]) && thin.contains(&points[8765]));
        assert!(thin.windows(2).all(|w| w[0].0 <= w[1].0));
    }

    #[test]
    fn a_median_does_not_follow_one_outlier() {
        let mut points: Vec<(f64, f64)> = (0..9).map(|k| (f64::from(k), 1.0)).collect();
        points[4].1 = 100.0;
        assert!(medians(&points, 2).iter().all(|p| p.1 == 1.0));
    }

    #[test]
    fn a_chart_of_nothing_finite_is_still_a_picture() {
        let chart = Chart {
            title: "loss".into(),
            note: String::new(),
            steps: (1.0, 1.0),
            ceiling: None,
            series: vec![Series {
                name: "diverged".into(),
                ink: Ink::First,
                style: Style::Line,
                points: vec![(1.0, f64::NAN)],
            }],
        };
        let svg = chart.scene().svg().into_string();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}

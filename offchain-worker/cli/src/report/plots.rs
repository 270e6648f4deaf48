//! The charts of a report.

use super::curves::{unaveraged, Run};
use super::draw::chart::{brief, medians, Chart, Series, Style};
use super::draw::Ink;
use super::{rate, Curves, Picture, Subject};
use lockstep_graph::training::WINDOW;

/// Steps to either side over which times are smoothed, at most.
const REACH: usize = 12;

/// The axis of times ends at so many times their median, since a few steps that the machine
/// interrupted would hide the others.
const CEILING: f64 = 3.0;

/// Metrics, the learning rate, and the time of each step: whatever is known.
pub(super) fn all(subject: &Subject, curves: &Curves) -> Vec<Picture> {
    let steps = subject.workload.spec.steps;
    let changes = |k: &usize| !subject.metrics[*k].tests() && !subject.metrics[*k].counts();
    let mut charts: Vec<(String, Chart)> = (0..subject.metrics.len())
        .filter(changes)
        .filter_map(|k| metric(subject, curves, k))
        .collect();
    let workload = &subject.workload;
    if let Some(rates) = rate::rates(&workload.program, &workload.inputs, steps) {
        charts.push(("rate".into(), learning_rate(&rates)));
    }
    if let Ok(run) = &curves.run {
        charts.push(("time".into(), times(run)));
    }
    let picture = |(name, chart): (String, Chart)| Picture {
        name,
        scene: chart.scene(),
    };
    charts.into_iter().map(picture).collect()
}

/// Values after the steps 1, 2, and so on.
fn stepwise(values: &[f64]) -> Vec<(f64, f64)> {
    let numbered = values.iter().enumerate();
    numbered
        .map(|(k, value)| ((k + 1) as f64, *value))
        .collect()
}

fn chart(title: &str, note: String, steps: usize, series: Vec<Series>) -> Chart {
    Chart {
        title: title.into(),
        note,
        steps: (1.0, steps as f64),
        ceiling: None,
        series,
    }
}

fn series(name: impl Into<String>, ink: Ink, style: Style, points: Vec<(f64, f64)>) -> Series {
    Series {
        name: name.into(),
        ink,
        style,
        points,
    }
}

/// A metric after every step, and as the solver's checkpoints have it.
fn metric(subject: &Subject, curves: &Curves, k: usize) -> Option<(String, Chart)> {
    let metric = &subject.metrics[k];
    let mut shown = Vec::new();
    if let Ok(run) = &curves.run {
        let values = &run.values[k];
        if metric.averages() {
            let each = stepwise(&unaveraged(values));
            shown.push(series("each step", Ink::First, Style::Faint, each));
            let mean = format!("running mean of {WINDOW} steps");
            shown.push(series(mean, Ink::First, Style::Line, stepwise(values)));
        } else {
            shown.push(series(
                "after each step",
                Ink::First,
                Style::Line,
                stepwise(values),
            ));
        }
    }
    let value = |c: &super::curves::Checkpoint| Some((f64::from(c.steps), c.values[k]?));
    let published: Vec<(f64, f64)> = curves.published.iter().filter_map(value).collect();
    if let (Some(attempt), false) = (subject.history.latest_result(), published.is_empty()) {
        if curves.run.is_err() {
            shown.push(series("", Ink::Third, Style::Line, published.clone()));
        }
        let name = format!("checkpoints of attempt {}", attempt.number);
        shown.push(series(name, Ink::Third, Style::Discs, published));
    }
    let last = shown.iter().rev().find_map(|s| s.points.last())?.1;
    let note = format!("at the end {}", brief(last));
    let steps = subject.workload.spec.steps as usize;
    let name = metric.name.replace(' ', "-");
    Some((name, chart(&metric.name, note, steps, shown)))
}

fn learning_rate(rates: &[f64]) -> Chart {
    let peak = rates.iter().copied().fold(0.0, f64::max);
    let note = format!("a constant of the program, at most {}", brief(peak));
    let line = series("rate", Ink::Second, Style::Line, stepwise(rates));
    chart("learning rate", note, rates.len(), vec![line])
}

fn times(run: &Run) -> Chart {
    let all: Vec<f64> = run.seconds.iter().map(|s| s * 1e3).collect();
    let each = stepwise(&all);
    let median = medians(&each, all.len()).first().map_or(0.0, |p| p.1);
    let note = format!(
        "milliseconds, when run again on {}; median {}, more than {CEILING} times that is cut off",
        run.engine,
        brief(median)
    );
    let reach = REACH.min(all.len() / 8);
    let smooth = medians(&each, reach);
    let shown = vec![
        series("each step", Ink::Second, Style::Faint, each),
        series("median of neighbours", Ink::Second, Style::Line, smooth),
    ];
    Chart {
        ceiling: Some(median * CEILING),
        ..chart("time per step", note, all.len(), shown)
    }
}

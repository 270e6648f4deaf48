//! Goals as people write them: `test_accuracy >= 0.95`, and `50%` when it is missed.

use lockstep_interface::goal::{Goal, Side};
use std::fmt;

/// How the names of metric slots begin.
const METRIC: &str = "metric.";

/// What a result is to reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// The metric's name, which may leave out `metric.`.
    pub name: String,
    /// Which values reach it.
    pub side: Side,
    /// The threshold.
    pub threshold: f32,
}

/// Parses a wish such as `test_loss <= 0.3`.
pub fn parse(text: &str) -> Result<Wish, String> {
    let wrong = || format!("`{text}` is not a goal such as \"test_accuracy >= 0.95\"");
    let (name, side, number) = match (text.split_once(">="), text.split_once("<=")) {
        (Some((name, number)), None) => (name, Side::AtLeast, number),
        (None, Some((name, number))) => (name, Side::AtMost, number),
        _ => return Err(wrong()),
    };
    let (name, number) = (name.trim(), number.trim());
    let threshold: f32 = match number.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f32>().map(|x| x / 100.0),
        None => number.parse(),
    }
    .map_err(|_| wrong())?;
    if name.is_empty() || !threshold.is_finite() {
        return Err(wrong());
    }
    Ok(Wish {
        name: name.to_string(),
        side,
        threshold,
    })
}

/// Parses a share of the price such as `50%`, in thousandths.
pub fn parse_share(text: &str) -> Result<u16, String> {
    let wrong = || format!("`{text}` is not a share such as 50% or 12.5%, below 100%");
    let percent: f64 = text
        .strip_suffix('%')
        .and_then(|number| number.trim().parse().ok())
        .ok_or_else(wrong)?;
    let thousandths = percent * 10.0;
    match thousandths.fract() == 0.0 && (0.0..1000.0).contains(&thousandths) {
        true => Ok(thousandths as u16),
        false => Err(wrong()),
    }
}

impl Wish {
    /// The goal among these slots.
    pub fn goal(&self, slots: &[String], otherwise: u16) -> Result<Goal, String> {
        let fits =
            |slot: &&String| **slot == self.name || slot.strip_prefix(METRIC) == Some(&self.name);
        let slot = slots.iter().position(|slot| fits(&slot)).ok_or_else(|| {
            let metrics = slots.iter().filter_map(|slot| slot.strip_prefix(METRIC));
            format!(
                "the task proves no metric {:?}: name one of {:?}, or set `evaluation.proven` in the \
                 recipe for test_loss and test_accuracy",
                self.name,
                metrics.collect::<Vec<_>>()
            )
        })?;
        Ok(Goal {
            slot: slot as u32,
            side: self.side,
            threshold: self.threshold.to_bits(),
            otherwise,
        })
    }
}

/// A goal with its metric's name, where known.
pub struct Shown<'a> {
    /// The goal.
    pub goal: Goal,
    /// The names of the state's slots, none where unknown.
    pub slots: &'a [String],
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Goal {
            slot,
            side,
            threshold,
            otherwise,
        } = self.goal;
        match self.slots.get(slot as usize) {
            Some(name) => write!(f, "{}", name.strip_prefix(METRIC).unwrap_or(name))?,
            None => write!(f, "state slot {slot}")?,
        }
        let sign = match side {
            Side::AtLeast => ">=",
            Side::AtMost => "<=",
        };
        let share = f64::from(otherwise) / 10.0;
        write!(
            f,
            " {sign} {}, or {share}% of the price",
            f32::from_bits(threshold)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_read_with_either_sign_and_with_percent() {
        let wish = parse("test_accuracy >= 95%").unwrap();
        assert_eq!((wish.side, wish.threshold), (Side::AtLeast, 0.95));
        let wish = parse("metric.test_loss<=0.5").unwrap();
        assert_eq!((wish.side, wish.threshold), (Side::AtMost, 0.5));
        for text in [
            "",
            "test_loss",
            "a = 1",
            "a >= b",
            ">= 1",
            "a >= nan",
            "a >= 1 <= 2",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_below_the_whole_and_in_tenths_of_percent() {
        assert_eq!(parse_share("50%"), Ok(500));
        assert_eq!(parse_share("12.5%"), Ok(125));
        assert_eq!(parse_share("0%"), Ok(0));
        for text in ["50", "100%", "-1%", "1.23%", "%", "nan%"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_goal_finds_its_slot_by_either_name_and_shows_it() {
        let slots = ["0.weight", "metric.loss", "metric.test_loss"].map(String::from);
        for text in ["test_loss <= 0.25", "metric.test_loss <= 0.25"] {
            let goal = parse(text).unwrap().goal(&slots, 125).unwrap();
            assert_eq!(goal.slot, 2);
            let shown = Shown {
                goal,
                slots: &slots,
            };
            assert_eq!(
                shown.to_string(),
                "test_loss <= 0.25, or 12.5% of the price"
            );
        }
        let refusal = parse("test_accuracy >= 1").unwrap().goal(&slots, 0);
        assert!(refusal.unwrap_err().contains("evaluation.proven"));
    }
}

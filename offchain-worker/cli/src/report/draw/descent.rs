//! A dispute as a way down: in each file that was searched, the one entry under which the next
//! file lies.

use super::text::wrapped;
use super::{Anchor, Ink, Scene, Shape, Text, Weight};

/// A file that was searched.
pub struct Level {
    /// What was selected: `step 240`.
    pub name: String,
    /// From what: `of the 50 steps of segment 4`.
    pub among: String,
    /// Entries of the file.
    pub entries: u64,
    /// The selected one.
    pub selected: u64,
    /// What the solver claims for it.
    pub solver: String,
    /// What it is when computed again, where that is known.
    pub own: Option<String>,
}

/// A dispute.
pub struct Descent {
    /// What it is.
    pub title: String,
    /// What is written below the title.
    pub note: String,
    /// From the first file down.
    pub levels: Vec<Level>,
    /// What is at the bottom, the first text in bold.
    pub bottom: Vec<String>,
    /// The colour of the bottom.
    pub ink: Ink,
}

const WIDTH: f32 = 900.0;
const LEFT: f32 = 40.0;
const RIGHT: f32 = 860.0;
const TOP: f32 = 72.0;
/// From one bar to the next.
const FALL: f32 = 100.0;
const BAR: f32 = 22.0;
/// A mark is at least this wide, however many entries there are.
const MARK: f32 = 6.0;
/// So many entries are shown one by one.
const SINGLE: u64 = 64;
const BOTTOM_LINE: f32 = 19.0;
const BOTTOM_SIZE: f32 = 13.0;

impl Descent {
    /// The way down as a picture.
    pub fn scene(&self) -> Scene {
        let bottom = TOP + self.levels.len() as f32 * FALL;
        let lines = self.lines();
        let height = bottom + lines.len() as f32 * BOTTOM_LINE + 46.0;
        let mut scene = Scene::headed((WIDTH, height), LEFT, &self.title, &self.note);
        for (k, level) in self.levels.iter().enumerate() {
            let y = TOP + k as f32 * FALL;
            level.fan(&mut scene, y);
            level.draw(&mut scene, y);
        }
        self.end(&mut scene, bottom, &lines);
        scene
    }

    /// What is at the bottom in lines that fit, and whether each is in bold.
    fn lines(&self) -> Vec<(String, Weight)> {
        let lines = |(k, text): (usize, &String)| {
            let weight = match k {
                0 => Weight::Medium,
                _ => Weight::Regular,
            };
            let lines = wrapped(text, BOTTOM_SIZE, weight, RIGHT - LEFT - 32.0);
            lines.into_iter().map(move |line| (line, weight))
        };
        self.bottom.iter().enumerate().flat_map(lines).collect()
    }

    fn end(&self, scene: &mut Scene, y: f32, lines: &[(String, Weight)]) {
        let height = lines.len() as f32 * BOTTOM_LINE + 24.0;
        let panel = || Shape::rectangle((LEFT, y), RIGHT - LEFT, height);
        scene.shape(panel().filled(self.ink, 0.08).drawn(self.ink, 0.9, 1.4));
        for (k, (line, weight)) in lines.iter().enumerate() {
            let at = (LEFT + 16.0, y + 24.0 + k as f32 * BOTTOM_LINE);
            scene.text(match weight {
                Weight::Medium => Text::new(at, BOTTOM_SIZE, self.ink, line).strong(),
                Weight::Regular => Text::new(at, BOTTOM_SIZE, Ink::Text, line),
            });
        }
    }
}

impl Level {
    /// Left and right end of the selected entry.
    fn mark(&self) -> (f32, f32) {
        let entries = self.entries.max(1) as f32;
        let cell = (RIGHT - LEFT) / entries;
        let middle = LEFT + (self.selected as f32 + 0.5) * cell;
        let width = cell.max(MARK);
        let start = (middle - width / 2.0).clamp(LEFT, RIGHT - width);
        (start, start + width)
    }

    /// From the selected entry to the whole of what lies below it.
    fn fan(&self, scene: &mut Scene, y: f32) {
        let (start, end) = self.mark();
        let (top, bottom) = (y + BAR, y + FALL);
        let corners = [(start, top), (end, top), (RIGHT, bottom), (LEFT, bottom)];
        scene.shape(Shape::area(corners).filled(Ink::Wrong, 0.07));
    }

    fn draw(&self, scene: &mut Scene, y: f32) {
        let (start, end) = self.mark();
        scene.shape(Shape::rectangle((LEFT, y), RIGHT - LEFT, BAR).filled(Ink::Panel, 1.0));
        // What lies left of the selected entry is agreed.
        if start > LEFT {
            scene.shape(Shape::rectangle((LEFT, y), start - LEFT, BAR).filled(Ink::Right, 0.22));
        }
        if self.entries <= SINGLE {
            let cell = (RIGHT - LEFT) / self.entries.max(1) as f32;
            for k in 1..self.entries {
                let x = LEFT + k as f32 * cell;
                scene.shape(Shape::line([(x, y), (x, y + BAR)]).drawn(Ink::Grid, 1.0, 0.7));
            }
        }
        let edge = Shape::rectangle((LEFT, y), RIGHT - LEFT, BAR);
        scene.shape(edge.drawn(Ink::Grid, 1.0, 1.0));
        let hint = format!("{} {}", self.name, self.among);
        let mark = Shape::rectangle((start, y - 2.0), end - start, BAR + 4.0);
        scene.shape(mark.filled(Ink::Wrong, 1.0).hint(hint));

        let base = y + BAR + 22.0;
        let name = Text::new((LEFT, base), 14.0, Ink::Text, &self.name).strong();
        let among = LEFT + name.width() + 8.0;
        scene.text(name);
        scene.text(Text::new((among, base), 12.5, Ink::Faint, &self.among).within(RIGHT - among));
        let base = base + 20.0;
        let own = self.own.as_deref().unwrap_or("not computed again");
        let own_ink = if self.own.is_some() {
            Ink::Right
        } else {
            Ink::Faint
        };
        let mut x = LEFT;
        let words = [
            ("solver ", Ink::Faint, self.solver.as_str(), Ink::Wrong),
            ("run again ", Ink::Faint, own, own_ink),
        ];
        for (label, faint, value, ink) in words {
            let label = Text::new((x, base), 12.5, faint, label);
            x += label.width() + 4.0;
            scene.text(label);
            let value = Text::new((x, base), 12.5, ink, value).strong();
            x += value.width() + 24.0;
            scene.text(value);
        }
        let count = format!("{} of {}", self.selected + 1, self.entries);
        let at = (RIGHT, base);
        scene.text(Text::new(at, 11.0, Ink::Faint, count).anchored(Anchor::End));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(entries: u64, selected: u64) -> Level {
        Level {
            name: String::new(),
            among: String::new(),
            entries,
            selected,
            solver: String::new(),
            own: None,
        }
    }

    #[test]
    fn the_selected_entry_is_visible_and_inside_its_bar() {
        for (entries, selected) in [(1, 0), (8, 7), (1_000_000, 0), (1_000_000, 999_999)] {
            let (start, end) = level(entries, selected).mark();
            assert!(start >= LEFT && end <= RIGHT + 0.01, "{start} {end}");
            assert!(end - start >= MARK - 0.01);
        }
        let (start, end) = level(4, 1).mark();
        assert_eq!((start, end), (245.0, 450.0));
    }
}

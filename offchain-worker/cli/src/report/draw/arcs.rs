//! A list with an arc from each row to the rows that it reads: a graph in the order of its nodes,
//! readable at hundreds of them.

use super::{Anchor, Ink, Point, Scene, Shape, Text, Verb};

/// A row.
pub struct Row {
    /// Its number or numbers.
    pub label: String,
    /// What it is.
    pub kind: String,
    /// Its dimensions.
    pub shape: String,
    /// What it is called, or nothing.
    pub name: String,
    /// Its part of all the work, from 0 to 1.
    pub share: f64,
    /// The group that it belongs to.
    pub ink: Ink,
    /// Earlier rows that it reads.
    pub reads: Vec<usize>,
}

/// A list of rows.
pub struct Arcs {
    /// What it shows.
    pub title: String,
    /// What is written below the title.
    pub note: String,
    /// The groups in the legend.
    pub groups: Vec<(String, Ink)>,
    /// The rows.
    pub rows: Vec<Row>,
}

const WIDTH: f32 = 900.0;
const TOP: f32 = 100.0;
const LINE: f32 = 17.0;
/// Where the discs are; arcs are left of them.
const SPINE: f32 = 216.0;
/// Where each column begins.
const LABEL: f32 = 262.0;
const KIND: f32 = 274.0;
const SHAPE: f32 = 410.0;
const NAME: f32 = 580.0;
const BAR: f32 = 806.0;
const BAR_WIDTH: f32 = 76.0;

impl Arcs {
    /// The list as a picture.
    pub fn scene(&self) -> Scene {
        let height = TOP + self.rows.len() as f32 * LINE + 12.0;
        let mut scene = Scene::headed((WIDTH, height), 16.0, &self.title, &self.note);
        let mut x = 16.0;
        for (name, ink) in &self.groups {
            scene.shape(Shape::disc((x + 4.0, 63.0), 4.0).filled(*ink, 1.0));
            let text = Text::new((x + 14.0, 67.0), 12.0, Ink::Text, name);
            x += 14.0 + text.width() + 20.0;
            scene.text(text);
        }
        let heads = [
            (KIND, "computed as"),
            (SHAPE, "shape"),
            (NAME, "state"),
            (BAR, "work"),
        ];
        for (x, head) in heads {
            scene.text(Text::new((x, TOP - 12.0), 11.0, Ink::Faint, head));
        }
        for (k, row) in self.rows.iter().enumerate() {
            for &read in &row.reads {
                scene.shape(self.arc(read, k));
            }
        }
        let most = self.rows.iter().map(|row| row.share).fold(0.0, f64::max);
        for (k, row) in self.rows.iter().enumerate() {
            write(&mut scene, row, most, self.at(k).1);
        }
        scene
    }

    fn at(&self, row: usize) -> Point {
        (SPINE, TOP + (row as f32 + 0.5) * LINE)
    }

    /// A curve to the left, the wider the farther it goes.
    fn arc(&self, from: usize, to: usize) -> Shape {
        let (start, end) = (self.at(from), self.at(to));
        let most = (self.rows.len().max(2) - 1) as f32;
        let reach = 8.0 + (SPINE - 24.0) * ((to - from) as f32 / most).powf(0.6);
        // A curve whose control points are at this distance comes three quarters as far.
        let control = SPINE - reach * 4.0 / 3.0;
        let curve = Verb::Curve((control, start.1), (control, end.1), end);
        let ink = self.rows[to].ink;
        Shape::new(vec![Verb::Move(start), curve]).drawn(ink, 0.38, 1.0)
    }
}

/// Writes a row. A bar for the part `most` of all work fills its column.
fn write(scene: &mut Scene, row: &Row, most: f64, y: f32) {
    let base = y + 4.0;
    let hint = format!("{} {} {} {}", row.label, row.kind, row.shape, row.name);
    scene.shape(
        Shape::disc((SPINE, y), 3.2)
            .filled(row.ink, 1.0)
            .hint(hint.trim()),
    );
    let label = Text::new((LABEL, base), 11.0, Ink::Faint, &row.label);
    scene.text(label.anchored(Anchor::End));
    let kind_end = if row.shape.is_empty() { NAME } else { SHAPE };
    let columns = [
        (KIND, kind_end, &row.kind, Ink::Text),
        (SHAPE, NAME, &row.shape, Ink::Text),
        (NAME, BAR, &row.name, row.ink),
    ];
    for (x, end, text, ink) in columns {
        if !text.is_empty() {
            scene.text(Text::new((x, base), 11.5, ink, text).within(end - x - 8.0));
        }
    }
    let width = BAR_WIDTH * (row.share / most.max(1e-9)) as f32;
    if width >= 0.5 {
        let bar = Shape::rectangle((BAR, y - 4.0), width, 8.0).filled(row.ink, 0.75);
        scene.shape(bar.hint(format!("{:.1}% of the work", row.share * 100.0)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arcs_stay_inside_the_picture() {
        let row = |k: usize| Row {
            label: k.to_string(),
            kind: "map".into(),
            shape: "2x2".into(),
            name: String::new(),
            share: 1.0,
            ink: Ink::First,
            reads: (0..k).collect(),
        };
        let arcs = Arcs {
            title: String::new(),
            note: String::new(),
            groups: vec![],
            rows: (0..40).map(row).collect(),
        };
        for from in 0..39 {
            for to in from + 1..40 {
                let [Verb::Move(start), Verb::Curve(a, _, _)] = arcs.arc(from, to).path[..] else {
                    panic!("an arc is one curve");
                };
                let leftmost = start.0 / 4.0 + a.0 * 3.0 / 4.0;
                assert!(leftmost > 0.0 && leftmost < start.0, "{from} to {to}");
            }
        }
    }
}

//! Pictures as lists of shapes and texts, which become SVG for a page and PNG for everything else.

pub mod arcs;
pub mod chart;
pub mod descent;
mod png;
mod svg;
mod text;

pub use text::Weight;

/// A colour by what it is for, so that a picture looks right in the light and in the dark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// What is written.
    Text,
    /// What is written with less weight.
    Faint,
    /// Lines behind everything.
    Grid,
    /// Areas behind everything.
    Panel,
    /// The first thing that is shown.
    First,
    /// The second thing that is shown.
    Second,
    /// The third thing that is shown.
    Third,
    /// What is right.
    Right,
    /// What is wrong.
    Wrong,
}

/// The colour of the paper, in the light and in the dark.
pub const PAPER: [u32; 2] = [0xffffff, 0x0d1117];

impl Ink {
    /// Every ink.
    pub const ALL: [Ink; 9] = [
        Ink::Text,
        Ink::Faint,
        Ink::Grid,
        Ink::Panel,
        Ink::First,
        Ink::Second,
        Ink::Third,
        Ink::Right,
        Ink::Wrong,
    ];

    /// What style sheets call it.
    pub fn name(self) -> &'static str {
        match self {
            Ink::Text => "text",
            Ink::Faint => "faint",
            Ink::Grid => "grid",
            Ink::Panel => "panel",
            Ink::First => "first",
            Ink::Second => "second",
            Ink::Third => "third",
            Ink::Right => "right",
            Ink::Wrong => "wrong",
        }
    }

    /// Red, green and blue, a byte each, on light and on dark paper.
    pub fn colours(self) -> [u32; 2] {
        match self {
            Ink::Text => [0x1f2328, 0xe6edf3],
            Ink::Faint => [0x636c76, 0x9198a1],
            Ink::Grid => [0xd8dee4, 0x30363d],
            Ink::Panel => [0xf3f5f8, 0x1a2029],
            Ink::First => [0x4f46e5, 0x9a95ff],
            Ink::Second => [0x0d9488, 0x2dd4bf],
            Ink::Third => [0xc2710c, 0xf0b24a],
            Ink::Right => [0x15803d, 0x4ade80],
            Ink::Wrong => [0xd1242f, 0xff7b72],
        }
    }
}

/// A place: right and down from the upper left corner, in pixels of a screen of ordinary density.
pub type Point = (f32, f32);

/// A picture.
pub struct Scene {
    /// How wide it is.
    pub width: f32,
    /// How high it is.
    pub height: f32,
    /// What it shows, for whoever cannot see it.
    pub title: String,
    items: Vec<Item>,
}

enum Item {
    Shape(Shape),
    Text(Text),
}

/// A part of an outline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verb {
    /// Begin here.
    Move(Point),
    /// A straight line to here.
    Line(Point),
    /// A Bézier curve: two control points and the end.
    Curve(Point, Point, Point),
    /// Back to where it began.
    Close,
}

/// An outline, filled or drawn or both.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    path: Vec<Verb>,
    /// Ink and opacity.
    fill: Option<(Ink, f32)>,
    /// Ink, opacity and width.
    stroke: Option<(Ink, f32, f32)>,
    hint: Option<String>,
}

/// Which end of a text its place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The left end.
    Start,
    /// The middle.
    Middle,
    /// The right end.
    End,
}

/// A line of writing. Its place is on the baseline.
pub struct Text {
    at: Point,
    size: f32,
    anchor: Anchor,
    ink: Ink,
    weight: Weight,
    text: String,
}

impl Shape {
    /// An outline of which nothing is visible yet.
    pub fn new(path: Vec<Verb>) -> Shape {
        Shape {
            path,
            ..Shape::default()
        }
    }

    /// Straight lines through `points`.
    pub fn line(points: impl IntoIterator<Item = Point>) -> Shape {
        let verb = |(k, point)| match k {
            0 => Verb::Move(point),
            _ => Verb::Line(point),
        };
        Shape::new(points.into_iter().enumerate().map(verb).collect())
    }

    /// Straight lines through `points` and back.
    pub fn area(points: impl IntoIterator<Item = Point>) -> Shape {
        let mut shape = Shape::line(points);
        shape.path.push(Verb::Close);
        shape
    }

    /// A rectangle from its upper left corner.
    pub fn rectangle((x, y): Point, width: f32, height: f32) -> Shape {
        let (right, bottom) = (x + width, y + height);
        Shape::area([(x, y), (right, y), (right, bottom), (x, bottom)])
    }

    /// A circle.
    pub fn disc((x, y): Point, radius: f32) -> Shape {
        // The usual approximation of a quarter circle by one curve.
        let k = radius * 0.5523;
        let r = radius;
        Shape::new(vec![
            Verb::Move((x + r, y)),
            Verb::Curve((x + r, y + k), (x + k, y + r), (x, y + r)),
            Verb::Curve((x - k, y + r), (x - r, y + k), (x - r, y)),
            Verb::Curve((x - r, y - k), (x - k, y - r), (x, y - r)),
            Verb::Curve((x + k, y - r), (x + r, y - k), (x + r, y)),
            Verb::Close,
        ])
    }

    /// Filled.
    pub fn filled(mut self, ink: Ink, opacity: f32) -> Shape {
        self.fill = Some((ink, opacity));
        self
    }

    /// Drawn.
    pub fn drawn(mut self, ink: Ink, opacity: f32, width: f32) -> Shape {
        self.stroke = Some((ink, opacity, width));
        self
    }

    /// With a text that a page shows while one points at it.
    pub fn hint(mut self, text: impl Into<String>) -> Shape {
        self.hint = Some(text.into());
        self
    }
}

impl Text {
    /// A text that begins at `at`.
    pub fn new(at: Point, size: f32, ink: Ink, text: impl Into<String>) -> Text {
        Text {
            at,
            size,
            anchor: Anchor::Start,
            ink,
            weight: Weight::Regular,
            text: text.into(),
        }
    }

    /// Anchored elsewhere.
    pub fn anchored(mut self, anchor: Anchor) -> Text {
        self.anchor = anchor;
        self
    }

    /// With more weight.
    pub fn strong(mut self) -> Text {
        self.weight = Weight::Medium;
        self
    }

    /// How wide it is.
    pub fn width(&self) -> f32 {
        text::width(&self.text, self.size, self.weight)
    }

    /// Cut off, with a sign that it is, where it would be wider than `width`.
    pub fn within(mut self, width: f32) -> Text {
        self.text = text::fitted(&self.text, self.size, self.weight, width);
        self
    }
}

impl Scene {
    /// An empty picture.
    pub fn new(width: f32, height: f32, title: impl Into<String>) -> Scene {
        Scene {
            width,
            height,
            title: title.into(),
            items: Vec::new(),
        }
    }

    /// A picture with a title and, below it, a note, both between margins as wide as `left`.
    pub fn headed(size: Point, left: f32, title: &str, note: &str) -> Scene {
        let mut scene = Scene::new(size.0, size.1, format!("{title}, {note}"));
        scene.text(Text::new((left, 24.0), 16.0, Ink::Text, title).strong());
        let note = Text::new((left, 46.0), 12.0, Ink::Faint, note);
        scene.text(note.within(size.0 - 2.0 * left));
        scene
    }

    /// Adds a shape on top.
    pub fn shape(&mut self, shape: Shape) {
        self.items.push(Item::Shape(shape));
    }

    /// Adds a text on top.
    pub fn text(&mut self, text: Text) {
        self.items.push(Item::Text(text));
    }

    /// The picture as SVG markup whose colours are variables of the page's style sheet.
    pub fn svg(&self) -> maud::Markup {
        svg::markup(self)
    }

    /// The picture as a PNG file on light paper, with twice the pixels each way.
    ///
    /// # Errors
    /// When the picture is too large to be held in memory.
    pub fn png(&self) -> anyhow::Result<Vec<u8>> {
        png::encode(self)
    }
}

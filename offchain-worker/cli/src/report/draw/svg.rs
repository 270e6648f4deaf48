//! Pictures as SVG markup.

use super::{Anchor, Ink, Item, Point, Scene, Verb, Weight};
use maud::{html, Markup};
use std::fmt::Write;

/// The picture as markup. Texts are escaped.
pub fn markup(scene: &Scene) -> Markup {
    let view = format!("0 0 {} {}", Number(scene.width), Number(scene.height));
    html! {
        svg viewBox=(view) width=(scene.width) height=(scene.height) role="img" {
            title { (scene.title) }
            @for item in &scene.items {
                @match item {
                    Item::Shape(shape) => {
                        path d=(data(&shape.path)) style=(style(shape.fill, shape.stroke)) {
                            @if let Some(hint) = &shape.hint { title { (hint) } }
                        }
                    }
                    Item::Text(text) => {
                        text x=(Number(text.at.0)) y=(Number(text.at.1)) font-size=(Number(text.size))
                            font-weight=[(text.weight == Weight::Medium).then_some("500")]
                            text-anchor=[anchor(text.anchor)]
                            style=(format_args!("fill:{}", variable(text.ink)))
                        { (text.text) }
                    }
                }
            }
        }
    }
}

fn anchor(anchor: Anchor) -> Option<&'static str> {
    match anchor {
        Anchor::Start => None,
        Anchor::Middle => Some("middle"),
        Anchor::End => Some("end"),
    }
}

fn variable(ink: Ink) -> String {
    format!("var(--{})", ink.name())
}

fn style(fill: Option<(Ink, f32)>, stroke: Option<(Ink, f32, f32)>) -> String {
    let mut style = match fill {
        Some((ink, 1.0)) => format!("fill:{}", variable(ink)),
        Some((ink, opacity)) => format!("fill:{};fill-opacity:{opacity}", variable(ink)),
        None => "fill:none".into(),
    };
    if let Some((ink, opacity, width)) = stroke {
        let variable = variable(ink);
        style += &format!(";stroke:{variable};stroke-opacity:{opacity};stroke-width:{width}");
    }
    style
}

fn data(path: &[Verb]) -> String {
    let mut data = String::new();
    let mut put = |letter: char, points: &[Point]| {
        data.push(letter);
        for (k, (x, y)) in points.iter().enumerate() {
            let gap = if k > 0 { " " } else { "" };
            write!(data, "{gap}{} {}", Number(*x), Number(*y)).expect("a string takes everything");
        }
    };
    for verb in path {
        match *verb {
            Verb::Move(to) => put('M', &[to]),
            Verb::Line(to) => put('L', &[to]),
            Verb::Curve(a, b, to) => put('C', &[a, b, to]),
            Verb::Close => put('Z', &[]),
        }
    }
    data
}

/// A length with no more digits than a screen shows.
struct Number(f32);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", (f64::from(self.0) * 10.0).round() / 10.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Shape, Text};
    use super::*;

    #[test]
    fn what_is_written_in_a_picture_is_escaped() {
        let mut scene = Scene::new(10.0, 10.0, "a < b");
        scene.text(Text::new((0.0, 0.0), 12.0, Ink::Text, "<script>"));
        scene.shape(Shape::rectangle((0.0, 0.0), 1.0, 1.0).hint("x & y"));
        let svg = scene.svg().into_string();
        assert!(!svg.contains("<script>"), "{svg}");
        for escaped in ["a &lt; b", "&lt;script&gt;", "x &amp; y"] {
            assert!(svg.contains(escaped), "{svg}");
        }
    }

    #[test]
    fn outlines_have_one_digit_after_the_point() {
        let curve = Verb::Curve((1.0, 2.0), (1.0 / 3.0, 0.25), (-1.0, 5.0));
        let path = [Verb::Move((0.0, 0.04)), curve, Verb::Close];
        assert_eq!(data(&path), "M0 0C1 2 0.3 0.3 -1 5Z");
    }
}

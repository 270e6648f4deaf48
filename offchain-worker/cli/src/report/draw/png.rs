//! Pictures as PNG files.

use super::text::{face, glyphs};
use super::{Anchor, Ink, Item, Scene, Shape, Text, Verb, PAPER};
use anyhow::{Context, Result};
use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Stroke, Transform,
};
use ttf_parser::OutlineBuilder;

/// Pixels each way for a unit of a picture, for sharp screens.
const SCALE: f32 = 2.0;
/// Pixels of a file, about, at most: large pictures have fewer for each unit.
const PIXELS: f32 = 6e6;

/// The picture as a file.
///
/// # Errors
/// When it is too large to be held in memory.
pub fn encode(scene: &Scene) -> Result<Vec<u8>> {
    let scale = SCALE.min((PIXELS / (scene.width * scene.height)).sqrt());
    let (width, height) = (scene.width * scale, scene.height * scale);
    let mut pixels = Pixmap::new(width.ceil() as u32, height.ceil() as u32)
        .context("the picture is too large")?;
    pixels.fill(colour(PAPER[0], 1.0));
    for item in &scene.items {
        match item {
            Item::Shape(shape) => draw(&mut pixels, shape, scale),
            Item::Text(text) => write(&mut pixels, text, scale),
        }
    }
    file(&pixels).context("cannot encode the picture")
}

/// Nothing on paper is transparent, so three bytes a pixel are enough.
fn file(pixels: &Pixmap) -> Result<Vec<u8>, png::EncodingError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, pixels.width(), pixels.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::High);
    // Areas of one colour repeat as they are; differences of neighbours do not.
    encoder.set_filter(png::Filter::NoFilter);
    let opaque = pixels.pixels().iter();
    let bytes: Vec<u8> = opaque
        .flat_map(|p| [p.red(), p.green(), p.blue()])
        .collect();
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&bytes)?;
    writer.finish()?;
    Ok(file)
}

fn draw(pixels: &mut Pixmap, shape: &Shape, scale: f32) {
    let Some(path) = outline(&shape.path) else {
        return;
    };
    let scale = Transform::from_scale(scale, scale);
    if let Some((ink, opacity)) = shape.fill {
        pixels.fill_path(&path, &paint(ink, opacity), FillRule::Winding, scale, None);
    }
    if let Some((ink, opacity, width)) = shape.stroke {
        let stroke = Stroke {
            width,
            line_cap: LineCap::Round,
            line_join: LineJoin::Round,
            ..Stroke::default()
        };
        pixels.stroke_path(&path, &paint(ink, opacity), &stroke, scale, None);
    }
}

fn outline(verbs: &[Verb]) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for verb in verbs {
        match *verb {
            Verb::Move((x, y)) => builder.move_to(x, y),
            Verb::Line((x, y)) => builder.line_to(x, y),
            Verb::Curve(a, b, to) => builder.cubic_to(a.0, a.1, b.0, b.1, to.0, to.1),
            Verb::Close => builder.close(),
        }
    }
    builder.finish()
}

fn write(pixels: &mut Pixmap, text: &Text, scale: f32) {
    let face = face(text.weight);
    let unit = text.size / f32::from(face.units_per_em());
    let (x, y) = text.at;
    let mut x = match text.anchor {
        Anchor::Start => x,
        Anchor::Middle => x - text.width() / 2.0,
        Anchor::End => x - text.width(),
    };
    for (glyph, advance) in glyphs(&face, &text.text) {
        let mut letter = Letter(PathBuilder::new());
        face.outline_glyph(glyph, &mut letter);
        if let Some(path) = letter.0.finish() {
            // Fonts count upwards.
            let place = Transform::from_row(unit, 0.0, 0.0, -unit, x, y).post_scale(scale, scale);
            let paint = paint(text.ink, 1.0);
            pixels.fill_path(&path, &paint, FillRule::Winding, place, None);
        }
        x += advance * unit;
    }
}

fn paint(ink: Ink, opacity: f32) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color(colour(ink.colours()[0], opacity));
    paint.anti_alias = true;
    paint
}

fn colour(rgb: u32, opacity: f32) -> Color {
    let [_, red, green, blue] = rgb.to_be_bytes();
    Color::from_rgba8(red, green, blue, (opacity * 255.0).round() as u8)
}

/// The outline of a letter, in units of the font.
struct Letter(PathBuilder);

impl OutlineBuilder for Letter {
    fn move_to(&mut self, x: f32, y: f32) {
        self.0.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.0.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.0.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.0.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_picture_has_fewer_pixels_for_each_unit() {
        let file = Scene::new(1000.0, 24_000.0, "tall").png().unwrap();
        let reader = png::Decoder::new(std::io::Cursor::new(file))
            .read_info()
            .unwrap();
        let info = reader.info();
        assert_eq!((info.width, info.height), (500, 12_000));
    }

    #[test]
    fn a_file_shows_shapes_and_letters_in_their_places() {
        let mut scene = Scene::new(40.0, 20.0, "a test");
        scene.shape(Shape::rectangle((0.0, 0.0), 10.0, 20.0).filled(Ink::Wrong, 1.0));
        let letter = Text::new((30.0, 18.0), 20.0, Ink::Text, "I").anchored(Anchor::Middle);
        scene.text(letter);
        let file = scene.png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file))
            .read_info()
            .unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((info.width, info.height), (80, 40));
        let pixel = |x: usize, y: usize| &bytes[(y * 80 + x) * 3..][..3];
        assert_eq!(pixel(5, 20), [0xd1, 0x24, 0x2f]);
        assert_eq!(pixel(40, 20), [0xff, 0xff, 0xff]);
        assert_eq!(pixel(60, 25), [0x1f, 0x23, 0x28]);
    }
}

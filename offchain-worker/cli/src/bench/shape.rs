//! Shapes of matrix products as a person writes them.

use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Which factor is stored transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Neither: `x w` of a layer, `p v` of attention.
    Plain,
    /// The left one: `x^T g`, the gradient of a layer's weights.
    Left,
    /// The right one: `q k^T` of attention, and the gradient of what enters a layer.
    Right,
}

/// `out[b, i, j] = sum over k of left[b, i, k] * right[b, k, j]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Values of `i`.
    pub rows: usize,
    /// Values of `j`.
    pub cols: usize,
    /// Values of `k`.
    pub steps: usize,
    /// Values of `b`: products of their own.
    pub batch: usize,
    /// How the factors are stored.
    pub layout: Layout,
}

impl Shape {
    /// One product of these many rows, columns and steps, both factors stored as they are read.
    pub fn plain(rows: usize, cols: usize, steps: usize) -> Shape {
        Shape {
            rows,
            cols,
            steps,
            batch: 1,
            layout: Layout::Plain,
        }
    }

    /// Multiplications, of all products.
    pub fn products(&self) -> usize {
        self.batch * self.rows * self.cols * self.steps
    }

    /// Rows and columns of one left factor as it is stored.
    pub fn left(&self) -> [usize; 2] {
        match self.layout {
            Layout::Left => [self.steps, self.rows],
            Layout::Plain | Layout::Right => [self.rows, self.steps],
        }
    }

    /// Rows and columns of one right factor as it is stored.
    pub fn right(&self) -> [usize; 2] {
        match self.layout {
            Layout::Right => [self.cols, self.steps],
            Layout::Plain | Layout::Left => [self.steps, self.cols],
        }
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Shape, String> {
        parse(text).ok_or_else(|| {
            format!(
                "`{text}` is no shape; write N, or ROWSxCOLSxSTEPS, then *BATCH for several at \
                 once, then :tn or :nt when the left or the right factor is stored transposed, \
                 like 768x3072x512:tn or 128x128x32*64:nt"
            )
        })
    }
}

fn parse(text: &str) -> Option<Shape> {
    let (text, layout) = match text.split_once(':') {
        None | Some((_, "nn")) => (text.split(':').next()?, Layout::Plain),
        Some((text, "tn")) => (text, Layout::Left),
        Some((text, "nt")) => (text, Layout::Right),
        Some(_) => return None,
    };
    let (sizes, batch) = match text.split_once('*') {
        Some((sizes, batch)) => (sizes, size(batch)?),
        None => (text, 1),
    };
    let sizes: Vec<usize> = sizes.split('x').map(size).collect::<Option<_>>()?;
    let [rows, cols, steps] = match sizes[..] {
        [n] => [n, n, n],
        [rows, cols, steps] => [rows, cols, steps],
        _ => return None,
    };
    Some(Shape {
        rows,
        cols,
        steps,
        batch,
        layout,
    })
}

/// A size that the other side's 32-bit integers hold.
fn size(text: &str) -> Option<usize> {
    let size = text.parse::<i32>().ok()?;
    usize::try_from(size).ok().filter(|size| *size > 0)
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.rows, self.cols, self.steps)?;
        if self.batch > 1 {
            write!(f, "*{}", self.batch)?;
        }
        f.write_str(match self.layout {
            Layout::Plain => "",
            Layout::Left => ":tn",
            Layout::Right => ":nt",
        })
    }
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_written_as_it_is_shown() {
        for text in [
            "512x512x512",
            "768x3072x512:tn",
            "128x128x32*64:nt",
            "128x32x128*64",
        ] {
            assert_eq!(text.parse::<Shape>().unwrap().to_string(), text);
        }
        assert_eq!("512".parse(), Ok(Shape::plain(512, 512, 512)));
        assert_eq!("1x2x3:nn".parse(), Ok(Shape::plain(1, 2, 3)));
        let product: Shape = "2x3x5*7:tn".parse().unwrap();
        assert_eq!(product.products(), 2 * 3 * 5 * 7);
        assert_eq!((product.left(), product.right()), ([5, 2], [5, 3]));
    }

    #[test]
    fn what_is_no_shape_is_refused_with_an_example() {
        for nonsense in [
            "",
            "0",
            "1x2",
            "1x2x3x4",
            "1x2x0",
            "1x2x3*0",
            "1x2x3:tt",
            "1x2x3:tn:nn",
            "-1",
            "3000000000",
        ] {
            let refused = nonsense.parse::<Shape>().unwrap_err();
            assert!(refused.contains("like 768x3072x512:tn"), "{nonsense}");
        }
    }
}

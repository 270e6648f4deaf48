//! Columns: numbers by row, and how they become elements of records.

use crate::error::{Error, Place};
use lockstep_protocol::program::Dtype;

/// How a file stores numbers; all are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Their names say what they are.
pub enum Kind {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    Bf16,
    F32,
    F64,
}

/// A named sequence of rows, each of equally many numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    place: Place,
    kind: Kind,
    rows: usize,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// A number on its way into a record.
#[derive(Clone, Copy)]
enum Number {
    Whole(i128),
    Real(f64),
}

impl Kind {
    /// Bytes of a number.
    pub fn size(self) -> usize {
        match self {
            Kind::Bool | Kind::U8 | Kind::I8 => 1,
            Kind::U16 | Kind::I16 | Kind::F16 | Kind::Bf16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::U64 | Kind::I64 | Kind::F64 => 8,
        }
    }

    /// The type of a record's elements that such numbers become unless told otherwise. 64-bit
    /// integers become 32-bit ones, and every number is checked to fit.
    pub fn natural(self) -> Dtype {
        match self {
            Kind::Bool | Kind::U8 => Dtype::U8,
            Kind::I8 => Dtype::I8,
            Kind::U16 => Dtype::U16,
            Kind::I16 | Kind::I32 | Kind::I64 => Dtype::I32,
            Kind::U32 | Kind::U64 => Dtype::U32,
            Kind::F16 | Kind::Bf16 | Kind::F32 | Kind::F64 => Dtype::F32,
        }
    }

    /// A number from its bytes, exactly; `None` for a boolean that is neither 0 nor 1.
    fn load(self, bytes: &[u8]) -> Option<Number> {
        macro_rules! number {
            ($type:ty) => {
                <$type>::from_le_bytes(bytes.try_into().expect("chunks have the number's size"))
            };
        }
        Some(match self {
            Kind::Bool => Number::Whole((bytes[0] <= 1).then_some(bytes[0])? as i128),
            Kind::U8 => Number::Whole(bytes[0] as i128),
            Kind::I8 => Number::Whole(bytes[0] as i8 as i128),
            Kind::U16 => Number::Whole(number!(u16) as i128),
            Kind::I16 => Number::Whole(number!(i16) as i128),
            Kind::U32 => Number::Whole(number!(u32) as i128),
            Kind::I32 => Number::Whole(number!(i32) as i128),
            Kind::U64 => Number::Whole(number!(u64) as i128),
            Kind::I64 => Number::Whole(number!(i64) as i128),
            Kind::F16 => Number::Real(half(number!(u16))),
            Kind::Bf16 => Number::Real(f32::from_bits((number!(u16) as u32) << 16) as f64),
            Kind::F32 => Number::Real(number!(f32) as f64),
            Kind::F64 => Number::Real(number!(f64)),
        })
    }
}

/// A binary16 number: 5 bits of exponent, 10 of fraction.
fn half(bits: u16) -> f64 {
    let fraction = (bits & 0x3ff) as f64 / 1024.0;
    let magnitude = match bits >> 10 & 0x1f {
        0 => fraction * 2f64.powi(-14),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        exponent => (1.0 + fraction) * 2f64.powi(exponent as i32 - 15),
    };
    if bits >> 15 == 1 {
        -magnitude
    } else {
        magnitude
    }
}

impl Column {
    /// A column of shape `shape`, rows first, whose numbers are `bytes`.
    ///
    /// # Errors
    /// When there are no rows or no numbers, or `bytes` has another length than the shape says.
    pub fn new(place: Place, kind: Kind, shape: &[usize], bytes: Vec<u8>) -> Result<Column, Error> {
        let (&rows, of_row) = shape
            .split_first()
            .ok_or_else(|| place.refuse("it is a single number: its first axis must be rows"))?;
        place.refuse_if(
            shape.contains(&0),
            &format!("it is empty, its shape being {shape:?}: give it at least one row"),
        )?;
        let want = shape
            .iter()
            .try_fold(kind.size(), |bytes, &n| bytes.checked_mul(n));
        place.refuse_if(
            want != Some(bytes.len()),
            &format!(
                "its shape {shape:?} does not go with its {} bytes: the file is truncated or damaged",
                bytes.len()
            ),
        )?;
        Ok(Column {
            place,
            kind,
            rows,
            shape: of_row.to_vec(),
            bytes,
        })
    }

    /// Where it was read.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// How its numbers are stored.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many rows it has, at least 1.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The dimensions of a row; none when a row is one number.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Numbers of a row.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// The numbers, row by row, as little-endian elements of type `dtype`. Reals are rounded to
    /// f32; everything else must fit exactly.
    ///
    /// # Errors
    /// The first row with a number that is not finite, not whole where it should be, or out of the
    /// type's range.
    pub fn encode(&self, dtype: Dtype) -> Result<Vec<u8>, Error> {
        let size = self.kind.size();
        let mut out = Vec::with_capacity(self.rows * self.count() * dtype.size() as usize);
        for (k, bytes) in self.bytes.chunks_exact(size).enumerate() {
            let stored = match self.kind.load(bytes) {
                Some(number) => store(number, dtype, &mut out),
                None => Err(format!("a boolean is {}, neither 0 nor 1", bytes[0])),
            };
            stored.map_err(|problem| {
                let row = (k / self.count()) as u64;
                self.place.row(row).refuse(problem)
            })?;
        }
        Ok(out)
    }
}

/// Appends a number as an element of type `dtype`; the error says why it cannot be one.
fn store(number: Number, dtype: Dtype, out: &mut Vec<u8>) -> Result<(), String> {
    if dtype == Dtype::F32 {
        let x = match number {
            Number::Whole(n) => n as f32,
            Number::Real(x) if !x.is_finite() => {
                return Err(format!("{x} is not a finite number: remove or replace it"));
            }
            Number::Real(x) => x as f32,
        };
        if !x.is_finite() {
            return Err("a number is beyond the range of f32: scale the column".to_string());
        }
        out.extend(x.to_le_bytes());
        return Ok(());
    }
    let n = match number {
        Number::Whole(n) => n,
        // Every f64 up to 2^53 that is whole is exact; greater ones are out of range anyway.
        Number::Real(x) if x.fract() == 0.0 && x.abs() < 9e15 => x as i128,
        Number::Real(x) => {
            return Err(format!(
                "{x} is no integer that {dtype:?} holds: set the field's `dtype` to f32"
            ));
        }
    };
    let outside =
        |_| format!("{n} is out of the range of {dtype:?}: mend it, or choose another `dtype`");
    match dtype {
        Dtype::U8 => out.push(u8::try_from(n).map_err(outside)?),
        Dtype::I8 => out.extend(i8::try_from(n).map_err(outside)?.to_le_bytes()),
        Dtype::U16 => out.extend(u16::try_from(n).map_err(outside)?.to_le_bytes()),
        Dtype::U32 => out.extend(u32::try_from(n).map_err(outside)?.to_le_bytes()),
        Dtype::I32 => out.extend(i32::try_from(n).map_err(outside)?.to_le_bytes()),
        Dtype::F32 => unreachable!("reals are stored above"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: Kind, bytes: Vec<u8>) -> Column {
        let rows = bytes.len() / kind.size();
        Column::new(Place::file("x.npy"), kind, &[rows], bytes).unwrap()
    }

    fn refusal(kind: Kind, bytes: Vec<u8>, dtype: Dtype) -> String {
        column(kind, bytes).encode(dtype).unwrap_err().to_string()
    }

    #[test]
    fn halves_are_exact() {
        for (bits, x) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333251953125),
            (0x0001, 2f64.powi(-24)),
            (0x7bff, 65504.0),
            (0x8000, -0.0),
        ] {
            assert_eq!(half(bits).to_bits(), f64::to_bits(x), "{bits:x}");
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }

    #[test]
    fn reals_are_rounded_to_f32_and_integers_keep_their_value() {
        let tenth = column(Kind::F64, 0.1f64.to_le_bytes().to_vec());
        assert_eq!(tenth.encode(Dtype::F32).unwrap(), 0.1f32.to_le_bytes());
        let labels: Vec<u8> = [7i64, 0, 255]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        let labels = column(Kind::I64, labels);
        assert_eq!(labels.encode(Dtype::U8).unwrap(), [7, 0, 255]);
        assert_eq!(labels.encode(Dtype::U32).unwrap().len(), 12);
        assert_eq!(
            column(Kind::Bool, vec![0, 1]).encode(Dtype::U8).unwrap(),
            [0, 1]
        );
        let whole = column(Kind::F64, 3f64.to_le_bytes().to_vec());
        assert_eq!(whole.encode(Dtype::I8).unwrap(), [3]);
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused_with_their_row() {
        let bytes = [1f32, f32::NAN].iter().flat_map(|x| x.to_le_bytes());
        let message = refusal(Kind::F32, bytes.collect(), Dtype::F32);
        assert!(message.contains("row 1: NaN is not a finite"), "{message}");
        for (kind, bytes, dtype, part) in [
            (
                Kind::F64,
                1e39f64.to_le_bytes().to_vec(),
                Dtype::F32,
                "range of f32",
            ),
            (
                Kind::F64,
                0.5f64.to_le_bytes().to_vec(),
                Dtype::U32,
                "no integer",
            ),
            (
                Kind::F64,
                f64::INFINITY.to_le_bytes().to_vec(),
                Dtype::I32,
                "no integer",
            ),
            (
                Kind::I64,
                (-1i64).to_le_bytes().to_vec(),
                Dtype::U32,
                "-1 is out of the range",
            ),
            (
                Kind::U64,
                u64::MAX.to_le_bytes().to_vec(),
                Dtype::I32,
                "out of the range",
            ),
            (
                Kind::U16,
                256u16.to_le_bytes().to_vec(),
                Dtype::U8,
                "256 is out of the range",
            ),
            (Kind::Bool, vec![2], Dtype::U8, "neither 0 nor 1"),
        ] {
            let message = refusal(kind, bytes, dtype);
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn shapes_that_do_not_go_with_the_bytes_are_refused() {
        let make = |shape: &[usize], bytes| {
            let place = Place::file("x.npy");
            Column::new(place, Kind::F32, shape, vec![0; bytes]).map(|_| ())
        };
        assert!(make(&[2, 3], 24).is_ok());
        for (shape, bytes, part) in [
            (&[][..], 4, "single number"),
            (&[0, 3], 0, "empty"),
            (&[2, 3], 20, "truncated"),
            (&[usize::MAX, 2], 24, "truncated"),
        ] {
            let message = make(shape, bytes).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}

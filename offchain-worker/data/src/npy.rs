//! NumPy's `.npy` files: a magic string, a header that is a Python dictionary, and the numbers.
//!
//! The format is NEP 1 of NumPy, versions 1.0 to 3.0.

use crate::{
    column::{Column, Kind},
    error::{Error, Place},
};

const MAGIC: &[u8] = b"\x93NUMPY";

/// What a header says.
struct Header {
    kind: Kind,
    shape: Vec<usize>,
}

/// The array of a file's bytes.
///
/// # Errors
/// When it is not an array, or one in another order, byte order or type than can be used.
pub(crate) fn read(place: &Place, bytes: &[u8]) -> Result<Column, Error> {
    let (header, data) = split(bytes)
        .ok_or_else(|| place.refuse("it is no .npy array, or its header is cut off"))?;
    let Header { kind, shape } = Parser::new(header)
        .header()
        .map_err(|problem| place.refuse(problem))?;
    Column::new(place.clone(), kind, &shape, data.to_vec())
}

/// The text of the header and the numbers.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (version, rest) = rest.split_first_chunk::<2>()?;
    let (len, rest) = match version[0] {
        1 => {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            (u16::from_le_bytes(*len) as usize, rest)
        }
        2 | 3 => {
            let (len, rest) = rest.split_first_chunk::<4>()?;
            (u32::from_le_bytes(*len) as usize, rest)
        }
        _ => return None,
    };
    let (header, data) = rest.split_at_checked(len)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

/// Reads the few forms of Python literals that a header consists of.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        Parser { rest: text }
    }

    fn header(mut self) -> Result<Header, String> {
        let (mut kind, mut shape, mut ordered) = (None, None, false);
        self.expect("{")?;
        while !self.take("}") {
            let key = self.string()?;
            self.expect(":")?;
            match key {
                "descr" => kind = Some(self.descr()?),
                "fortran_order" => {
                    self.order()?;
                    ordered = true;
                }
                "shape" => shape = Some(self.shape()?),
                _ => return Err(format!("its header has an unknown key {key:?}")),
            }
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        match (kind, shape) {
            (Some(kind), Some(shape)) if ordered && self.rest.trim().is_empty() => {
                Ok(Header { kind, shape })
            }
            _ => Err("its header says not all of descr, fortran_order and shape".to_string()),
        }
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start();
        match rest.strip_prefix(token) {
            Some(after) => {
                self.rest = after;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        match self.take(token) {
            true => Ok(()),
            false => Err(format!(
                "its header is malformed where {token:?} should stand"
            )),
        }
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.take("'") { '\'' } else { '"' };
        if quote == '"' {
            self.expect("\"")?;
        }
        let (text, rest) = self
            .rest
            .split_once(quote)
            .ok_or("its header holds a string without an end")?;
        self.rest = rest;
        Ok(text)
    }

    fn descr(&mut self) -> Result<Kind, String> {
        if self.rest.trim_start().starts_with(['[', '(']) {
            return Err("it holds structures: save every member as an array of its own".into());
        }
        let text = self.string()?;
        Ok(match text {
            "|b1" => Kind::Bool,
            "|u1" => Kind::U8,
            "|i1" => Kind::I8,
            "<u2" => Kind::U16,
            "<i2" => Kind::I16,
            "<u4" => Kind::U32,
            "<i4" => Kind::I32,
            "<u8" => Kind::U64,
            "<i8" => Kind::I64,
            "<f2" => Kind::F16,
            "<f4" => Kind::F32,
            "<f8" => Kind::F64,
            _ if text.starts_with('>') => {
                return Err(format!(
                    "its numbers {text:?} are big-endian: save it with `.astype(\"<f4\")` or the like"
                ));
            }
            _ => {
                return Err(format!(
                    "its type {text:?} is not supported: save booleans, integers or floats"
                ));
            }
        })
    }

    fn order(&mut self) -> Result<(), String> {
        if self.take("False") {
            return Ok(());
        }
        self.expect("True")?;
        Err("it is in Fortran order: save `np.ascontiguousarray(x)`".to_string())
    }

    fn shape(&mut self) -> Result<Vec<usize>, String> {
        let mut shape = vec![];
        self.expect("(")?;
        while !self.take(")") {
            shape.push(self.number()?);
            if !self.take(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(shape)
    }

    fn number(&mut self) -> Result<usize, String> {
        let rest = self.rest.trim_start();
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (digits, rest) = rest.split_at(end);
        self.rest = rest;
        digits
            .parse()
            .map_err(|_| "its header gives a dimension that is no number".to_string())
    }
}

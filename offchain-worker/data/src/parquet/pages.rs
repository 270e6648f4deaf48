//! What the pages of a column claim, checked before anything is allocated for them.
//!
//! A page's header says how long its bytes become and how many entries its dictionary has; a
//! decoder makes room for both. Headers are structures in Thrift's compact protocol.

use ::parquet::file::metadata::ColumnChunkMetaData;

/// Bytes that a page may always become, and how many more for each byte that it takes.
const UNPACKED: u64 = 1 << 24;
const UNPACKED_PER_BYTE: u64 = 1 << 10;

/// Wire types of fields.
mod wire {
    pub const STOP: u8 = 0;
    pub const TRUE: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const BYTE: u8 = 3;
    pub const I16: u8 = 4;
    pub const I64: u8 = 6;
    pub const DOUBLE: u8 = 7;
    pub const BINARY: u8 = 8;
    pub const LIST: u8 = 9;
    pub const SET: u8 = 10;
    pub const STRUCT: u8 = 12;
}

/// Numbers of the fields of a page's header, and of the fields inside them.
mod field {
    pub const UNPACKED: i16 = 2;
    pub const PACKED: i16 = 3;
    pub const DATA: i16 = 5;
    pub const DICTIONARY: i16 = 7;
    pub const DATA_V2: i16 = 8;
    pub const NUMBERS: i16 = 1;
    pub const DATA_ENCODING: i16 = 2;
    pub const DATA_V2_ENCODING: i16 = 4;
}

/// Encodings of numbers without a dictionary: PLAIN, RLE, DELTA_BINARY_PACKED.
const PLAIN: [u32; 3] = [0, 3, 5];
/// Encodings of numbers with one: PLAIN_DICTIONARY, RLE_DICTIONARY.
const DICTIONARY: [u32; 2] = [2, 8];

/// How deep structures may lie in each other.
const DEPTH: usize = 8;

/// How many numbers the pages of a column chunk claim to hold, missing ones included. Refuses a
/// chunk that lies outside the file or whose pages claim more than they can hold.
pub(super) fn check(file: &[u8], chunk: &ColumnChunkMetaData) -> Result<u64, String> {
    let start = chunk
        .dictionary_page_offset()
        .unwrap_or(chunk.data_page_offset());
    let range = || {
        let start = usize::try_from(start).ok()?;
        let end = start.checked_add(usize::try_from(chunk.compressed_size()).ok()?)?;
        file.get(start..end)
    };
    let mut rest = range().ok_or("its pages lie outside the file: the file is damaged")?;
    let (mut dictionary, mut numbers) = (false, 0);
    while !rest.is_empty() {
        let (page, after) =
            Page::read(rest).ok_or("the header of a page is malformed: the file is damaged")?;
        let allowed = UNPACKED + UNPACKED_PER_BYTE * page.packed as u64;
        let entries = if page.dictionary { page.numbers } else { 0 };
        if page.unpacked as u64 > allowed || entries > page.unpacked {
            return Err(format!(
                "a page of {} bytes claims to hold {} bytes and {} dictionary entries: the file \
                 is damaged",
                page.packed, page.unpacked, entries
            ));
        }
        match (page.dictionary, page.encoding) {
            (true, _) => dictionary = true,
            (false, encoding) if PLAIN.contains(&encoding) => {}
            (false, encoding) if DICTIONARY.contains(&encoding) => {
                if !dictionary {
                    return Err(
                        "a page needs a dictionary that is not there: the file is damaged".into(),
                    );
                }
            }
            (false, encoding) => {
                return Err(format!(
                    "a page has encoding {encoding}: store the column plainly, with a dictionary or \
                     with deltas"
                ));
            }
        }
        rest = after
            .get(page.packed as usize..)
            .ok_or("a page is cut off: the file is damaged")?;
        numbers += if page.dictionary {
            0
        } else {
            page.numbers as u64
        };
    }
    Ok(numbers)
}

/// What a header claims.
#[derive(Default)]
struct Page {
    packed: u32,
    unpacked: u32,
    dictionary: bool,
    /// Numbers of data, entries of a dictionary.
    numbers: u32,
    /// Encoding of data.
    encoding: u32,
}

impl Page {
    /// The header at the start of `bytes`, and what follows it.
    fn read(bytes: &[u8]) -> Option<(Page, &[u8])> {
        let mut page = Page::default();
        let mut reader = Reader { rest: bytes };
        let mut id = 0;
        loop {
            let wire = reader.field(&mut id)?;
            match (id, wire) {
                (_, wire::STOP) => return Some((page, reader.rest)),
                (field::UNPACKED, _) => page.unpacked = reader.size()?,
                (field::PACKED, _) => page.packed = reader.size()?,
                (field::DICTIONARY, wire::STRUCT) => {
                    page.dictionary = true;
                    [page.numbers] = reader.within([field::NUMBERS])?;
                }
                (field::DATA, wire::STRUCT) => {
                    let wanted = [field::NUMBERS, field::DATA_ENCODING];
                    [page.numbers, page.encoding] = reader.within(wanted)?;
                }
                (field::DATA_V2, wire::STRUCT) => {
                    let wanted = [field::NUMBERS, field::DATA_V2_ENCODING];
                    [page.numbers, page.encoding] = reader.within(wanted)?;
                }
                (_, wire) => reader.skip(wire, DEPTH)?,
            }
        }
    }
}

/// Reads Thrift's compact protocol.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= ((byte & 0x7f) as u64) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let n = self.varint()?;
        Some((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// An i32 that is not negative.
    fn size(&mut self) -> Option<u32> {
        let n = i32::try_from(self.zigzag()?).ok()?;
        u32::try_from(n).ok()
    }

    /// The wire type of the next field, whose number becomes `id`.
    fn field(&mut self, id: &mut i16) -> Option<u8> {
        let head = self.byte()?;
        let wire = head & 0x0f;
        if wire != wire::STOP {
            *id = match head >> 4 {
                0 => i16::try_from(self.zigzag()?).ok()?,
                delta => id.checked_add(delta as i16)?,
            };
        }
        Some(wire)
    }

    /// The i32 that are fields `wanted` of a structure, 0 where the structure lacks one.
    fn within<const N: usize>(&mut self, wanted: [i16; N]) -> Option<[u32; N]> {
        let (mut found, mut id) = ([0; N], 0);
        loop {
            let wire = self.field(&mut id)?;
            let at = wanted.iter().position(|&field| field == id);
            match (wire, at) {
                (wire::STOP, _) => return Some(found),
                (_, Some(at)) => found[at] = self.size()?,
                (wire, None) => self.skip(wire, DEPTH)?,
            }
        }
    }

    fn skip(&mut self, wire: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match wire {
            wire::TRUE | wire::FALSE => Some(()),
            wire::BYTE => self.byte().map(|_| ()),
            wire::I16..=wire::I64 => self.varint().map(|_| ()),
            wire::DOUBLE => self.take(8),
            wire::BINARY => {
                let len = self.varint()?;
                self.take(len)
            }
            wire::LIST | wire::SET => {
                let head = self.byte()?;
                let len = match head >> 4 {
                    15 => self.varint()?,
                    len => len as u64,
                };
                let wire = head & 0x0f;
                match wire {
                    wire::TRUE | wire::FALSE => self.take(len),
                    _ => (0..len).try_for_each(|_| self.skip(wire, depth)),
                }
            }
            wire::STRUCT => {
                let mut id = 0;
                loop {
                    match self.field(&mut id)? {
                        wire::STOP => return Some(()),
                        wire => self.skip(wire, depth)?,
                    }
                }
            }
            _ => None,
        }
    }

    fn take(&mut self, len: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(len).ok()?..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::parquet::schema::{parser::parse_message_type, types::SchemaDescriptor};
    use std::sync::Arc;

    /// Appends an i32 field that follows the one before it.
    fn number(bytes: &mut Vec<u8>, n: u32) {
        bytes.push(0x15);
        let mut rest = u64::from(n) << 1;
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
    }

    /// A page of 900 bytes of plain numbers whose header claims this much.
    fn page(unpacked: u32, numbers: u32) -> Vec<u8> {
        let mut bytes = vec![];
        for n in [0, unpacked, 900] {
            number(&mut bytes, n);
        }
        // A structure two fields on: the header of a page of data, which has two numbers.
        bytes.push(0x2c);
        number(&mut bytes, numbers);
        number(&mut bytes, 0);
        bytes.extend([0, 0]);
        bytes.resize(bytes.len() + 900, 7);
        bytes
    }

    fn checked(file: &[u8], length: usize) -> Result<u64, String> {
        let schema = parse_message_type("message schema { required double x; }").unwrap();
        let schema = SchemaDescriptor::new(Arc::new(schema));
        let chunk = ColumnChunkMetaData::builder(schema.column(0))
            .set_data_page_offset(0)
            .set_total_compressed_size(length as i64)
            .build()
            .unwrap();
        check(file, &chunk)
    }

    #[test]
    fn pages_that_claim_more_than_they_can_hold_are_refused() {
        let sound = page(900, 112);
        assert_eq!(checked(&sound, sound.len()), Ok(112));
        // How many numbers there may be in a file is for the reader of the whole file to say.
        let many = page(900, i32::MAX as u32);
        assert_eq!(checked(&many, many.len()), Ok(i32::MAX as u64));
        let large = page(i32::MAX as u32, 112);
        let refused = |file: &[u8], length, part: &str| {
            let problem = checked(file, length).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        };
        refused(&large, large.len(), "claims to hold 2147483647 bytes");
        refused(&sound, 10_000_000_000, "outside the file");
        refused(&sound[..500], 500, "cut off");
        refused(&sound[..4], 4, "malformed");
    }
}

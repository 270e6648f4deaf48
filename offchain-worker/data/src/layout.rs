//! Where the fields of a record are.

use lockstep_protocol::program::Dtype;

/// Equally typed numbers of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// What it is called.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// How many there are, at least 1.
    pub count: u32,
}

/// A field and its place in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The field.
    pub field: Field,
    /// First byte of the field in the record.
    pub offset: u32,
}

/// The fields of a record, one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    slots: Vec<Slot>,
    record_size: u32,
}

/// Why fields do not make a record. No element may straddle the place where a file is cut, so
/// every field starts, and every record ends, at a multiple of its elements' size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// There are no fields, or one has no elements.
    #[error("a record needs at least one field, and every field at least one element")]
    Empty,
    /// A field's elements would straddle.
    #[error("it starts at byte {offset}, no multiple of its {size}: put wider fields first")]
    Misaligned {
        /// Which field.
        field: usize,
        /// Where it would start.
        offset: u64,
        /// Bytes of its elements.
        size: u64,
    },
    /// A record's end would let the next record's elements straddle.
    #[error(
        "a record has {bytes} bytes, no multiple of its widest type's {widest}: add a field that \
         fills it up"
    )]
    Unfilled {
        /// Bytes of a record.
        bytes: u64,
        /// Bytes of an element of its widest type.
        widest: u64,
    },
    /// A record has 4 GiB or more.
    #[error("a record is at most 4 GiB: make it smaller")]
    TooLarge,
}

impl Field {
    /// A field called `name` of `count` elements.
    pub fn new(name: &str, dtype: Dtype, count: u32) -> Field {
        Field {
            name: name.to_string(),
            dtype,
            count,
        }
    }

    /// Bytes of the field.
    pub fn bytes(&self) -> u64 {
        self.dtype.size() * self.count as u64
    }
}

impl Layout {
    /// Fields in this order and without gaps, as a file of records already has them.
    ///
    /// # Errors
    /// When an element would straddle.
    pub fn packed(fields: Vec<Field>) -> Result<Layout, Misfit> {
        let widest = widest(&fields)?;
        let (mut slots, mut end) = (vec![], 0u64);
        for (k, field) in fields.into_iter().enumerate() {
            let (offset, size) = (end, field.dtype.size());
            if !offset.is_multiple_of(size) {
                return Err(Misfit::Misaligned {
                    field: k,
                    offset,
                    size,
                });
            }
            end += field.bytes();
            let offset = u32::try_from(offset).map_err(|_| Misfit::TooLarge)?;
            slots.push(Slot { field, offset });
        }
        if !end.is_multiple_of(widest) {
            return Err(Misfit::Unfilled { bytes: end, widest });
        }
        let record_size = u32::try_from(end).map_err(|_| Misfit::TooLarge)?;
        Ok(Layout { slots, record_size })
    }

    /// Fields from the widest elements to the narrowest, otherwise in this order, and zero bytes
    /// behind them until no element straddles.
    ///
    /// # Errors
    /// When there are no fields or the record is too large.
    pub fn aligned(mut fields: Vec<Field>) -> Result<Layout, Misfit> {
        fields.sort_by_key(|field| std::cmp::Reverse(field.dtype.size()));
        let widest = widest(&fields)?;
        let (mut slots, mut end) = (vec![], 0u64);
        for field in fields {
            let offset = u32::try_from(end).map_err(|_| Misfit::TooLarge)?;
            end += field.bytes();
            slots.push(Slot { field, offset });
        }
        let end = end.next_multiple_of(widest);
        let record_size = u32::try_from(end).map_err(|_| Misfit::TooLarge)?;
        Ok(Layout { slots, record_size })
    }

    /// Two overlapping fields of `context` tokens, the second one token further: a record is
    /// `context + 1` tokens.
    pub(crate) fn shifted(names: [&str; 2], dtype: Dtype, context: u32) -> Result<Layout, Misfit> {
        let bytes = dtype.size() * (context as u64 + 1);
        let record_size = u32::try_from(bytes).map_err(|_| Misfit::TooLarge)?;
        let slot = |(k, name): (usize, &str)| Slot {
            field: Field::new(name, dtype, context),
            offset: k as u32 * dtype.size() as u32,
        };
        let slots = names.into_iter().enumerate().map(slot).collect();
        Ok(Layout { slots, record_size })
    }

    /// Bytes of a record.
    pub fn record_size(&self) -> u32 {
        self.record_size
    }

    /// The fields in the order of their places.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// A field by its name.
    pub fn find(&self, name: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.field.name == name)
    }
}

/// Bytes of the widest element.
fn widest(fields: &[Field]) -> Result<u64, Misfit> {
    if fields.iter().any(|field| field.count == 0) {
        return Err(Misfit::Empty);
    }
    let sizes = fields.iter().map(|field| field.dtype.size());
    sizes.max().ok_or(Misfit::Empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_fields_go_from_wide_to_narrow_and_fill_the_record_up() {
        let fields = vec![
            Field::new("label", Dtype::U8, 1),
            Field::new("x", Dtype::F32, 3),
            Field::new("y", Dtype::U16, 1),
        ];
        let layout = Layout::aligned(fields).unwrap();
        let offset = |name| layout.find(name).unwrap().offset;
        assert_eq!((offset("x"), offset("y"), offset("label")), (0, 12, 14));
        assert_eq!(layout.record_size(), 16);
        assert_eq!(layout.find("z"), None);
    }

    #[test]
    fn packed_fields_whose_elements_straddle_are_refused() {
        let bytes = || Field::new("a", Dtype::U8, 1);
        let misaligned = Layout::packed(vec![bytes(), Field::new("b", Dtype::U16, 1)]);
        assert!(matches!(
            misaligned,
            Err(Misfit::Misaligned {
                field: 1,
                offset: 1,
                size: 2
            })
        ));
        let unfilled = Layout::packed(vec![Field::new("b", Dtype::F32, 1), bytes()]);
        assert_eq!(
            unfilled,
            Err(Misfit::Unfilled {
                bytes: 5,
                widest: 4
            })
        );
        assert_eq!(Layout::packed(vec![]), Err(Misfit::Empty));
        let large = vec![Field::new("b", Dtype::F32, 1 << 30)];
        assert_eq!(Layout::aligned(large.clone()), Err(Misfit::TooLarge));
        assert_eq!(Layout::packed(large), Err(Misfit::TooLarge));
        assert!(Layout::packed(vec![bytes(), bytes()]).is_ok());
    }
}

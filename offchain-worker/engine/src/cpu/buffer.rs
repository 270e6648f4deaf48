//! Bytes on a cache-line boundary, so that they can be seen as elements of any type.

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A resizable run of bytes whose start is aligned to 64.
#[derive(Clone, Default)]
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Buffer {
        let mut buffer = Buffer::default();
        buffer.resize(len);
        buffer
    }

    /// Changes the length. Bytes that were there before keep their values.
    pub fn resize(&mut self, len: usize) {
        self.lines.resize(len.div_ceil(64), Line([0; 64]));
        self.len = len;
    }

    /// Room for at least `len` bytes, without regard to what they hold.
    pub fn reserve(&mut self, len: usize) -> &mut [u8] {
        if self.len < len {
            self.resize(len);
        }
        &mut self.bytes_mut()[..len]
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the lines are contiguous initialised bytes, and `len` of them are covered.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    /// The bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// Plain elements: every bit pattern is a value, and there is no padding.
///
/// # Safety
/// Only types of which that is true may implement it.
pub unsafe trait Plain: Copy + Send + Sync + 'static {}
// SAFETY: primitive numbers.
unsafe impl Plain for u8 {}
// SAFETY: primitive numbers.
unsafe impl Plain for u16 {}
// SAFETY: primitive numbers.
unsafe impl Plain for u32 {}
// SAFETY: primitive numbers; a NaN keeps its payload in memory.
unsafe impl Plain for f32 {}

/// The bytes as elements.
///
/// # Panics
/// When the bytes are not aligned for `T` or do not hold a whole number of elements.
pub fn view<T: Plain>(bytes: &[u8]) -> &[T] {
    // SAFETY: every bit pattern of `T` is a value.
    let (head, body, tail) = unsafe { bytes.align_to::<T>() };
    assert!(
        head.is_empty() && tail.is_empty(),
        "whole, aligned elements"
    );
    body
}

/// The bytes as elements, to be written.
///
/// # Panics
/// As [`view`].
pub fn view_mut<T: Plain>(bytes: &mut [u8]) -> &mut [T] {
    // SAFETY: every bit pattern of `T` is a value, and every value is plain bytes.
    let (head, body, tail) = unsafe { bytes.align_to_mut::<T>() };
    assert!(
        head.is_empty() && tail.is_empty(),
        "whole, aligned elements"
    );
    body
}

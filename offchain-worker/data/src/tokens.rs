//! Files of tokens, cut into windows.

use crate::{
    dataset::Dataset,
    error::{Error, Place},
    layout::Layout,
    source::read,
};
use lockstep_protocol::program::Dtype;
use std::path::Path;

/// How a file of tokens becomes records.
///
/// Window k is the `context` tokens from number `k * stride` on, and its targets are the tokens
/// one further. A record is the `context + 1` tokens that both consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Type of a token: u8, u16 or u32, little-endian.
    pub dtype: Dtype,
    /// Tokens of a window.
    pub context: u32,
    /// Tokens between the starts of windows.
    pub stride: u32,
}

impl Windows {
    /// Name of the field of a window's tokens.
    pub const TOKENS: &'static str = "tokens";
    /// Name of the field of the tokens that follow each of them.
    pub const NEXT: &'static str = "next";

    /// The fields of a record.
    ///
    /// # Errors
    /// When a record would be too large.
    pub fn layout(&self) -> Result<Layout, crate::layout::Misfit> {
        Layout::shifted([Windows::TOKENS, Windows::NEXT], self.dtype, self.context)
    }

    /// The windows of a whole file.
    ///
    /// # Errors
    /// When the file cannot be read, is not a whole number of tokens, or holds no window.
    pub fn read(&self, path: &Path, layout: &Layout) -> Result<Dataset, Error> {
        let bytes = self.tokens(path)?;
        self.cut(path, &bytes, 0, layout)
    }

    /// The windows of a file's first tokens, and those of the last `share` of its tokens, which
    /// are held out. No window reaches from one part into the other.
    ///
    /// # Errors
    /// As [`Windows::read`], for either part.
    pub fn split(
        &self,
        path: &Path,
        layout: &Layout,
        share: f64,
    ) -> Result<(Dataset, Dataset), Error> {
        let bytes = self.tokens(path)?;
        let tokens = bytes.len() as u64 / self.dtype.size();
        let held = ((tokens as f64 * share).round() as u64).min(tokens);
        let at = (tokens - held) * self.dtype.size();
        let (first, last) = bytes.split_at(at as usize);
        let train = self.cut(path, first, 0, layout)?;
        Ok((train, self.cut(path, last, tokens - held, layout)?))
    }

    fn tokens(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let bytes = read(path)?;
        let size = self.dtype.size();
        Place::file(path).refuse_if(
            !(bytes.len() as u64).is_multiple_of(size),
            &format!(
                "it has {} bytes, not a whole number of tokens of {size}: check their `dtype`",
                bytes.len()
            ),
        )?;
        Ok(bytes)
    }

    /// The windows of tokens of which the first has the number `start` in the file.
    fn cut(
        &self,
        path: &Path,
        bytes: &[u8],
        start: u64,
        layout: &Layout,
    ) -> Result<Dataset, Error> {
        let place = Place::file(path);
        let (size, record) = (self.dtype.size() as usize, layout.record_size() as usize);
        let Some(room) = bytes.len().checked_sub(record) else {
            return Err(place.refuse(format!(
                "{} tokens from number {start} on are fewer than the {} of one window and its \
                 targets: shorten the context or bring more text",
                bytes.len() / size,
                self.context as u64 + 1
            )));
        };
        let step = self.stride as usize * size;
        let windows = room / step + 1;
        let mut records = vec![];
        let fits = windows
            .checked_mul(record)
            .is_some_and(|total| records.try_reserve_exact(total).is_ok());
        place.refuse_if(
            !fits,
            &format!("{windows} windows of {record} bytes do not fit the memory: raise the stride"),
        )?;
        for k in 0..windows {
            records.extend_from_slice(&bytes[k * step..][..record]);
        }
        let dataset = Dataset::new(path.to_path_buf(), records, layout);
        Ok(dataset.with_rows(start, self.stride as u64))
    }
}

//! Reading numbers and strings from bytes that may lie.

use super::GgufError;

/// A position in the header.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(super) fn offset(&self) -> u64 {
        self.at as u64
    }

    pub(super) fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    /// The next `n` bytes; an error that names `field` where the file ends first.
    pub(super) fn take(&mut self, n: u64, field: &str) -> Result<&'a [u8], GgufError> {
        if n > self.left() {
            let (offset, left) = (self.offset(), self.left());
            return Err(GgufError::Truncated { field: field.to_owned(), offset, needed: n, left });
        }
        let slice = &self.bytes[self.at..self.at + n as usize];
        self.at += n as usize;
        Ok(slice)
    }

    fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N], GgufError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64, field)?);
        Ok(out)
    }

    pub(super) fn u32(&mut self, field: &str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    pub(super) fn u64(&mut self, field: &str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    /// A count of things that take at least `least` bytes each.
    pub(super) fn count(&mut self, least: u64, field: &str) -> Result<usize, GgufError> {
        let offset = self.offset();
        let count = self.u64(field)?;
        if count.checked_mul(least).is_none_or(|n| n > self.left()) {
            return Err(GgufError::Count { field: field.to_owned(), offset, count });
        }
        Ok(count as usize)
    }

    /// A string: its length, then UTF-8.
    pub(super) fn string(&mut self, field: &str) -> Result<&'a str, GgufError> {
        let offset = self.offset();
        let len = self.u64(field)?;
        let bytes = self.take(len, field)?;
        std::str::from_utf8(bytes).map_err(|e| GgufError::Invalid {
            field: field.to_owned(),
            offset,
            message: format!("not UTF-8: {e}"),
        })
    }
}

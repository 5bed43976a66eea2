//! Reading numbers and strings from bytes that may lie.

use super::GgufError;

/// A position in the bytes of a file.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at byte `at`; at the end where `at` lies beyond it.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at: at.min(bytes.len()) }
    }

    pub(super) fn offset(&self) -> u64 {
        self.at as u64
    }

    fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    /// The next `n` bytes.
    pub(super) fn take(&mut self, n: u64, field: &str) -> Result<&'a [u8], GgufError> {
        let end = usize::try_from(n).ok().and_then(|n| self.at.checked_add(n));
        match end.and_then(|end| self.bytes.get(self.at..end)) {
            Some(slice) => {
                self.at += slice.len();
                Ok(slice)
            }
            None => Err(GgufError::Truncated {
                field: field.to_owned(),
                offset: self.offset(),
                needed: n,
                left: self.left(),
            }),
        }
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

    /// A count of things that take at least `least` bytes each, all of which must still come.
    pub(super) fn count(&mut self, least: u64, field: &str) -> Result<usize, GgufError> {
        let offset = self.offset();
        let count = self.u64(field)?;
        match usize::try_from(count) {
            Ok(n) if count.checked_mul(least).is_some_and(|bytes| bytes <= self.left()) => Ok(n),
            _ => Err(GgufError::BadCount { field: field.to_owned(), offset, count }),
        }
    }

    /// A string: its length in bytes as u64, then UTF-8.
    pub(super) fn string(&mut self, field: &str) -> Result<&'a str, GgufError> {
        let len = self.u64(field)?;
        let offset = self.offset();
        let bytes = self.take(len, field)?;
        std::str::from_utf8(bytes).map_err(|source| GgufError::NotUtf8 { field: field.to_owned(), offset, source })
    }
}

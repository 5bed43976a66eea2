//! Recording products of f32 matrices.

use unspoken_kernels::{Kernel, params};

use crate::device::{Buffer, DeviceError, Recording};

/// A [`Kernel::MatmulF32`] being described: `C[m, n] (+)= alpha A[m, k] B[k, n]`.
pub(super) struct Product(params::MatmulF32);

impl Product {
    pub(super) fn new(m: usize, n: usize, k: usize) -> Self {
        Self(params::MatmulF32 { m: m as u32, n: n as u32, k: k as u32, alpha: 1.0, ..Default::default() })
    }

    /// Where A begins, and its row and column strides.
    pub(super) fn a(mut self, offset: usize, row: usize, col: usize) -> Self {
        (self.0.a_offset, self.0.a_row, self.0.a_col) = (offset as u32, row as u32, col as u32);
        self
    }

    /// Where B begins, and its row and column strides.
    pub(super) fn b(mut self, offset: usize, row: usize, col: usize) -> Self {
        (self.0.b_offset, self.0.b_row, self.0.b_col) = (offset as u32, row as u32, col as u32);
        self
    }

    /// Where C begins, and its row stride.
    pub(super) fn c(mut self, offset: usize, row: usize) -> Self {
        (self.0.c_offset, self.0.c_row) = (offset as u32, row as u32);
        self
    }

    pub(super) fn scale(mut self, alpha: f32) -> Self {
        self.0.alpha = alpha;
        self
    }

    /// Adds `alpha` times the product to C.
    pub(super) fn accumulate(mut self, alpha: f32) -> Self {
        (self.0.accumulate, self.0.alpha) = (1, alpha);
        self
    }

    /// The same with products beside it that differ in their sizes and where they begin.
    pub(super) fn together(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().map(|p| p.0).reduce(|first, next| first.and(&next)).map(Self)
    }

    pub(super) fn record(self, rec: &mut Recording, a: &Buffer, b: &Buffer, c: &Buffer) -> Result<(), DeviceError> {
        rec.push(Kernel::MatmulF32, &self.0, &[a, b, c])
    }
}

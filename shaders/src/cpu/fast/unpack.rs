//! How a fast form reads weights: whole groups, anywhere in the matrix.

use crate::QuantType;

/// Expands runs of weights of one type.
pub(crate) trait Unpack: Copy {
    /// Runs begin and end at multiples of this many weights.
    const GROUP: usize;

    /// Over a buffer whose planes begin at these words.
    fn new(words: &[u32], planes: &[u32; 4]) -> Self;

    /// Weights from flat index `first` on.
    ///
    /// # Safety
    /// `first` and the length are multiples of [`Unpack::GROUP`] and inside of the matrix; the
    /// instructions that the form was written for are there.
    unsafe fn expand(&self, first: usize, out: &mut [f32]);

    /// Σ w x over a row that begins at flat index `first`; x is as long as the row.
    ///
    /// # Safety
    /// As [`Unpack::expand`].
    unsafe fn dot(&self, first: usize, x: &[f32]) -> f32;
}

macro_rules! plain {
    ($($name:ident = $q:ident;)*) => {$(
        /// The plain unpacking of a type, behind the same interface.
        #[derive(Clone, Copy)]
        pub(crate) struct $name { words: *const u32, len: usize, planes: [u32; 4] }

        impl Unpack for $name {
            const GROUP: usize = QuantType::$q.layout().weights;

            fn new(words: &[u32], planes: &[u32; 4]) -> Self {
                Self { words: words.as_ptr(), len: words.len(), planes: *planes }
            }

            #[inline(always)]
            unsafe fn expand(&self, first: usize, out: &mut [f32]) {
                // SAFETY: made from a slice that outlives the dispatch.
                let words = unsafe { std::slice::from_raw_parts(self.words, self.len) };
                QuantType::$q.dequantize(words, &self.planes, first / Self::GROUP, out);
            }

            #[inline(always)]
            unsafe fn dot(&self, first: usize, x: &[f32]) -> f32 {
                let mut sum = 0.0;
                let mut part = [0.0f32; 256];
                for (i, x) in x.chunks(256).enumerate() {
                    // SAFETY: passed on from the caller; 256 is a multiple of every group.
                    unsafe { self.expand(first + i * 256, &mut part[..x.len()]) };
                    sum += super::super::math::dot(x, &part[..x.len()]);
                }
                sum
            }
        }
    )*};
}

plain! {
    PlainF32 = F32; PlainF16 = F16; PlainBf16 = BF16;
    PlainQ40 = Q4_0; PlainQ41 = Q4_1; PlainQ50 = Q5_0; PlainQ51 = Q5_1; PlainQ80 = Q8_0;
    PlainQ2K = Q2_K; PlainQ3K = Q3_K; PlainQ4K = Q4_K; PlainQ5K = Q5_K; PlainQ6K = Q6_K;
    PlainIq4Nl = IQ4_NL;
}

//! Unpacking of floats of sixteen bits, by runs.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::unpack::{Row, Unpack};
use crate::QuantType;

/// Values of one type, one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Halves<T> {
    values: *const T,
}

/// A float of sixteen bits.
pub(crate) trait Half: Copy {
    const TYPE: QuantType;

    fn expand(values: &[Self], out: &mut [f32]);
}

impl Half for f16 {
    const TYPE: QuantType = QuantType::F16;

    #[inline(always)]
    fn expand(values: &[Self], out: &mut [f32]) {
        values.convert_to_f32_slice(out);
    }
}

impl Half for bf16 {
    const TYPE: QuantType = QuantType::BF16;

    #[inline(always)]
    fn expand(values: &[Self], out: &mut [f32]) {
        for (out, value) in out.iter_mut().zip(values) {
            *out = f32::from_bits(u32::from(value.to_bits()) << 16);
        }
    }
}

impl<T: Half> Unpack for Halves<T> {
    const GROUP: usize = T::TYPE.layout().weights;

    fn new(words: &[u32], planes: &[u32; 4]) -> Self {
        Self { values: words[planes[0] as usize..].as_ptr().cast() }
    }

    #[inline(always)]
    unsafe fn expand(&self, first: usize, out: &mut [f32]) {
        // SAFETY: the caller's weights are there, in a slice that outlives the dispatch.
        T::expand(unsafe { std::slice::from_raw_parts(self.values.add(first), out.len()) }, out);
    }

    #[inline(always)]
    unsafe fn dot(&self, first: usize, x: &Row<'_>) -> f32 {
        let mut sum = 0.0;
        let mut part = [0.0f32; 256];
        for (i, x) in x.values.chunks(256).enumerate() {
            // SAFETY: passed on from the caller.
            unsafe { self.expand(first + i * 256, &mut part[..x.len()]) };
            sum += crate::math::dot(x, &part[..x.len()]);
        }
        sum
    }
}

//! Unpacking of floats of sixteen bits, by runs.

use half::slice::HalfFloatSliceExt;

use super::unpack::Unpack;
use crate::QuantType;

/// Values of one type, `half::f16` or `half::bf16`, one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Halves<T> {
    values: *const T,
}

impl<T: Copy> Unpack for Halves<T>
where
    [T]: HalfFloatSliceExt,
{
    const GROUP: usize = QuantType::F16.layout().weights;

    fn new(words: &[u32], planes: &[u32; 4]) -> Self {
        Self { values: words[planes[0] as usize..].as_ptr().cast() }
    }

    #[inline(always)]
    unsafe fn expand(&self, first: usize, out: &mut [f32]) {
        // SAFETY: the caller's weights are there, in a slice that outlives the dispatch.
        unsafe { std::slice::from_raw_parts(self.values.add(first), out.len()) }.convert_to_f32_slice(out);
    }
}

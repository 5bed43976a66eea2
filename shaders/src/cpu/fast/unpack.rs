//! How a fast form reads weights: whole groups, anywhere in the matrix.

use crate::QuantType;

/// Expands runs of weights of one type.
pub(crate) trait Unpack: Copy {
    /// Runs begin and end at multiples of this many weights.
    const GROUP: usize;

    /// Whether [`Unpack::dot`] reads a row's integers.
    const INTEGERS: Option<Order> = None;

    /// Over a buffer whose planes begin at these words.
    fn new(words: &[u32], planes: &[u32; 4]) -> Self;

    /// Weights from flat index `first` on.
    ///
    /// # Safety
    /// `first` and the length are multiples of [`Unpack::GROUP`] and inside of the matrix; the
    /// instructions that the form was written for are there.
    unsafe fn expand(&self, first: usize, out: &mut [f32]);

    /// Σ w x over a row that begins at flat index `first`.
    ///
    /// # Safety
    /// As [`Unpack::expand`].
    #[inline(always)]
    unsafe fn dot(&self, first: usize, x: &Row<'_>) -> f32 {
        let mut sum = 0.0;
        let mut part = [0.0f32; 256];
        for (i, x) in x.values.chunks(256).enumerate() {
            // SAFETY: passed on from the caller; 256 is a multiple of every group.
            unsafe { self.expand(first + i * 256, &mut part[..x.len()]) };
            sum += crate::math::dot(x, &part[..x.len()]);
        }
        sum
    }

    /// Σ w x over a run of weights from flat index `first` on, for several rows of activations of its length.
    ///
    /// # Safety
    /// As [`Unpack::expand`].
    #[inline(always)]
    unsafe fn dots<const M: usize, const FMA: bool>(&self, first: usize, x: [&[f32]; M]) -> [f32; M] {
        let mut out = [0.0; M];
        let mut part = [0.0f32; 256];
        for at in (0..x[0].len()).step_by(256) {
            let part = &mut part[..(x[0].len() - at).min(256)];
            // SAFETY: passed on from the caller; 256 is a multiple of every group.
            unsafe { self.expand(first + at, part) };
            let sums = super::dot::dots::<M, FMA>(part, x.map(|x| &x[at..][..part.len()]));
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
        }
        out
    }
}

/// One row of activations, ready for many dot products.
///
/// In integers it has 16 bits, scaled by each group's largest value: an error of 2⁻¹⁶ of that, below what
/// the weights' own quantization leaves by orders of magnitude, at the price of 8-bit products.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(crate) struct Row<'a> {
    pub(super) values: &'a [f32],
    pub(super) q: Vec<i16>,
    /// (scale, sum of the values) of each group of 32.
    pub(super) pairs: Vec<[f32; 2]>,
}

/// The order of a row's integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(crate) enum Order {
    /// As the values are.
    Natural,
    /// Two groups at a time, each in the half of its own of four vectors: the even values of a group's first half,
    /// those of its second half, the odd ones of the first, those of the second.
    Pairs,
}

impl<'a> Row<'a> {
    /// With integers in an order, where they are wanted; they are filled up with zeros to whole fours of groups.
    #[inline(always)]
    pub(super) fn new(values: &'a [f32], integers: Option<Order>) -> Self {
        let Some(order) = integers else {
            return Self { values, q: Vec::new(), pairs: Vec::new() };
        };
        let groups = values.len() / 32;
        let mut q = vec![0i16; groups.next_multiple_of(4) * 32];
        let mut pairs = vec![[0.0; 2]; groups.next_multiple_of(4)];
        let mut natural = [0i16; 32];
        for (g, x) in values.chunks_exact(32).enumerate() {
            let max = x.iter().fold(0.0f32, |m, x| if x.abs() > m { x.abs() } else { m });
            let inverse = if max > 0.0 { 32767.0 / max } else { 0.0 };
            for (q, x) in natural.iter_mut().zip(x) {
                *q = (x * inverse).round_ties_even() as i16;
            }
            let sum: f32 = x.iter().sum();
            // Integers forget what is no number.
            pairs[g] = [if sum.is_nan() { f32::NAN } else { max / 32767.0 }, sum];
            match order {
                Order::Natural => q[32 * g..][..32].copy_from_slice(&natural),
                Order::Pairs => {
                    let at = g / 2 * 64 + g % 2 * 8;
                    for i in 0..8 {
                        q[at + i] = natural[2 * i];
                        q[at + 16 + i] = natural[16 + 2 * i];
                        q[at + 32 + i] = natural[2 * i + 1];
                        q[at + 48 + i] = natural[16 + 2 * i + 1];
                    }
                }
            }
        }
        Self { values, q, pairs }
    }
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
        }
    )*};
}

plain! {
    PlainF32 = F32;
}

#[cfg(not(target_arch = "aarch64"))]
plain! {
    PlainQ40 = Q4_0; PlainQ41 = Q4_1; PlainQ50 = Q5_0; PlainQ51 = Q5_1; PlainQ80 = Q8_0;
    PlainQ2K = Q2_K; PlainQ3K = Q3_K; PlainQ4K = Q4_K; PlainQ5K = Q5_K; PlainQ6K = Q6_K;
    PlainIq4Nl = IQ4_NL;
}

/// The eight six-bit scales and the eight minimums of a super-block that are packed into twelve bytes at `p`, a byte each.
///
/// # Safety
/// The bytes are readable.
#[inline(always)]
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(dead_code))]
pub(super) unsafe fn six_bits(p: *const u8) -> [u64; 2] {
    // SAFETY: passed on from the caller.
    let word = |i: usize| unsafe { p.add(4 * i).cast::<u32>().read_unaligned() };
    let (a, b, c) = (word(0), word(1), word(2));
    let (low, top) = (0x3f3f_3f3f, 0x0303_0303);
    let scales = u64::from(a & low) | u64::from(c & 0x0f0f_0f0f | (a >> 6 & top) << 4) << 32;
    let minimums = u64::from(b & low) | u64::from(c >> 4 & 0x0f0f_0f0f | (b >> 6 & top) << 4) << 32;
    [scales, minimums]
}

/// Eight of the sixteen six-bit scales of a super-block of `Q3_K` that are packed into twelve bytes at `p`, the first ones or the
/// `last`, a byte each.
///
/// # Safety
/// The bytes are readable.
#[inline(always)]
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(dead_code))]
pub(super) unsafe fn q3_k_scales(p: *const u8, last: bool) -> u64 {
    let shift = if last { 4 } else { 0 };
    // SAFETY: passed on from the caller.
    let (low, high) = unsafe { (p.cast::<u64>().read_unaligned(), p.add(8).cast::<u32>().read_unaligned()) };
    let high = high >> shift;
    let high = u64::from(high & 0x0303_0303) | u64::from(high >> 2 & 0x0303_0303) << 32;
    low >> shift & 0x0f0f_0f0f_0f0f_0f0f | high << 4
}

#[cfg(test)]
mod tests {
    use super::{Order, Row};

    #[test]
    fn a_row_in_integers_is_off_by_half_a_step_at_most() {
        let x: Vec<f32> = (0..96).map(|i| ((i * 37 % 101) as f32 - 50.0) * if i < 32 { 1e-3 } else { 3.0 }).collect();
        let row = Row::new(&x, Some(Order::Natural));
        for (g, (x, q)) in x.chunks(32).zip(row.q.chunks(32)).enumerate() {
            let [scale, sum] = row.pairs[g];
            let max = x.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            assert!(scale <= max / 32767.0 * 1.0001 && (sum - x.iter().sum::<f32>()).abs() <= 1e-4 * max);
            assert!(x.iter().zip(q).all(|(x, q)| (x - scale * f32::from(*q)).abs() <= 0.501 * scale));
        }
        let zeros = Row::new(&[0.0; 32], Some(Order::Natural));
        assert!(zeros.q.iter().all(|q| *q == 0) && zeros.pairs == [[0.0, 0.0]; 4]);
    }
}

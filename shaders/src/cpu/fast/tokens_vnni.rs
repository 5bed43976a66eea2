//! Activations for products of bytes with sixteen rows of W: integers of 24 bits, each three signed bytes, as fine as a float
//! is at the largest value of its group.

use std::arch::x86_64::*;

use super::digits::{FRACTION, MOST, TERMS};
use super::lanes_avx512::Lanes;

/// A group of 32 values of a token.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Group {
    /// `[term][value]`.
    pub(super) bytes: [[i8; 32]; TERMS],
    /// What products with the highest term, and with the lower ones or all of them, begin with, for quants are from zero on and
    /// not from the middle: of whole groups, or of each half.
    pub(super) begin: [[i32; 2]; 2],
    /// The largest magnitude, or nearly: the integers' fraction is scaled by it. Not a number where one of the values is none, or
    /// infinite; infinite where they are next to that.
    pub(super) scale: f32,
    /// The sum of the values, or of those of each half.
    pub(super) sums: [f32; 2],
}

impl Group {
    const NONE: Self = Self { bytes: [[0; 32]; TERMS], begin: [[0; 2]; 2], scale: 0.0, sums: [0.0; 2] };

    /// Of 32 floats at `x`, for weights of a type.
    #[inline(always)]
    pub(super) unsafe fn of<R: Lanes>(x: *const f32) -> Self {
        // SAFETY: the caller's values; AVX-512 and VNNI are there.
        unsafe {
            let halves = [_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(16))];
            let largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(halves[0]), _mm512_abs_ps(halves[1])));
            // Subnormals count as zero: their inverse is no number. It comes first, for `MOST` times it may be none, too.
            let inverse = if largest >= f32::MIN_POSITIVE { 1.0 / largest } else { 0.0 };
            let mut out = Self::NONE;
            // The signed bytes of an integer are the bytes of it and 128 for each, less 128.
            let middles = _mm512_set1_epi32(0x80_8080);
            let (mut all, mut high, mut apart) =
                ([_mm512_setzero_si512(); 2], [_mm512_setzero_si512(); 2], [_mm512_setzero_si512(); 2]);
            for (half, x) in halves.into_iter().enumerate() {
                let q = _mm512_mul_ps(_mm512_mul_ps(x, _mm512_set1_ps(inverse)), _mm512_set1_ps(MOST));
                all[half] = _mm512_cvtps_epi32(q);
                high[half] = _mm512_srai_epi32::<16>(_mm512_add_epi32(all[half], _mm512_set1_epi32(0x8080)));
                let bytes = _mm512_xor_si512(_mm512_add_epi32(all[half], middles), middles);
                // In each lane of 128 bits the highest bytes of four values, then the middle ones, the lowest.
                let terms = _mm_setr_epi8(2, 6, 10, 14, 1, 5, 9, 13, 0, 4, 8, 12, -1, -1, -1, -1);
                apart[half] = _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(terms));
            }
            // Where both halves have the two higher terms; the lowest is two words on from the first of them.
            let higher = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
            let lowest = _mm512_add_epi32(higher, _mm512_set1_epi32(2));
            let to = out.bytes.as_mut_ptr().cast::<i8>();
            _mm512_storeu_si512(to.cast(), _mm512_permutex2var_epi32(apart[0], higher, apart[1]));
            let lowest = _mm512_permutex2var_epi32(apart[0], lowest, apart[1]);
            _mm256_storeu_si256(to.add(64).cast(), _mm512_castsi512_si256(lowest));
            if R::HALVES {
                out.sums = [_mm512_reduce_add_ps(halves[0]), _mm512_reduce_add_ps(halves[1])];
                out.begin = [begin::<R>(all[0], high[0]), begin::<R>(all[1], high[1])];
            } else {
                out.sums[0] = _mm512_reduce_add_ps(_mm512_add_ps(halves[0], halves[1]));
                out.begin[0] = begin::<R>(_mm512_add_epi32(all[0], all[1]), _mm512_add_epi32(high[0], high[1]));
            }
            let none = !largest.is_finite() || _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(halves[0], halves[1]) != 0;
            // Integers forget what is no number.
            out.scale = if none { f32::NAN } else { largest * ((1 << FRACTION) as f32 / MOST) };
            out
        }
    }
}

/// What products begin with that meet integers and their highest terms.
#[inline(always)]
unsafe fn begin<R: Lanes>(all: __m512i, high: __m512i) -> [i32; 2] {
    // SAFETY: AVX-512 is there.
    unsafe {
        let (all, middle) = (_mm512_reduce_add_epi32(all), i32::from(R::MIDDLE));
        if !R::WIDE {
            return [0, all.wrapping_mul(-middle)];
        }
        let high = _mm512_reduce_add_epi32(high);
        // Of what is no number anything.
        let lower = all.wrapping_sub(high.wrapping_shl(16));
        [high.wrapping_mul(-middle), lower.wrapping_mul(-middle)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::bytes_avx512::{Q2K, Q51};
    use super::super::lanes_avx512::ByRow;
    use super::super::unpack_avx2::Q41;
    use super::*;
    use crate::cpu::Level;

    /// Integers and their bytes are the values; what sums begin with is those from the middle on.
    fn check<R: Lanes>() {
        let x: [f32; 32] = std::array::from_fn(|i| ((i * 37 % 101) as f32 - 50.0) * if i < 9 { 1e-3 } else { 3.0 });
        for by in [1.0f32, 1e-33, 1e33, -1.0] {
            let x = x.map(|x| x * by);
            // SAFETY: the level was looked for.
            let group = unsafe { Group::of::<R>(x.as_ptr()) };
            let step = f64::from(group.scale) / f64::from(1 << FRACTION);
            let [mut high, mut lower] = [[0i32; 2]; 2];
            for (i, x) in x.iter().enumerate() {
                let [first, second, third] = group.bytes.map(|bytes| i32::from(bytes[i]));
                let q = (first << 16) + (second << 8) + third;
                assert!((f64::from(*x) - f64::from(q) * step).abs() <= 1.5 * step, "{x} {q} {step}");
                let half = if R::HALVES { i / 16 } else { 0 };
                (high[half], lower[half]) = (high[half] + first, lower[half] + (second << 8) + third);
            }
            for half in 0..2 {
                let middle = -i32::from(R::MIDDLE);
                let (high, lower) = (high[half].wrapping_mul(middle), lower[half].wrapping_mul(middle));
                let want = if R::WIDE { [high, lower] } else { [0, high.wrapping_shl(16).wrapping_add(lower)] };
                assert_eq!(group.begin[half], want);
            }
            let parts = if R::HALVES { 16 } else { 32 };
            for (sum, x) in group.sums.iter().zip(x.chunks(parts)) {
                assert!((sum - x.iter().sum::<f32>()).abs() <= 1e-4 * group.scale);
            }
        }
        // SAFETY: as above.
        let zeros = unsafe { Group::of::<R>([0.0; 32].as_ptr()) };
        assert!(zeros.bytes.iter().flatten().all(|q| *q == 0) && zeros.scale == 0.0);
        for (at, none) in [(3, f32::NAN), (20, f32::INFINITY), (9, f32::NEG_INFINITY)] {
            let mut x = [1.0; 32];
            x[at] = none;
            // SAFETY: as above.
            assert!(unsafe { Group::of::<R>(x.as_ptr()) }.scale.is_nan());
        }
    }

    #[test]
    fn bytes_are_the_values() {
        if Level::Avx512.is_here() {
            check::<Q41>();
            check::<ByRow<Q51>>();
            check::<ByRow<Q2K>>();
        }
    }
}

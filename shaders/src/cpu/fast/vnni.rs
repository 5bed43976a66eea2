//! One token with AVX-512's products of words (VNNI): four groups at a time, on activations rounded as for AVX2.

use std::arch::x86_64::*;

use super::super::{Slot, Team};
use super::ahead::ask_to_read;
use super::dot;
use super::matmul_q::Job;
use super::scales_avx512::scales_of_q4_k;
use super::unpack_avx2::{Q4K, Q6K, Q40, Q41, Q50, Q80, Registers, ask_ahead, with_registers};
use crate::QuantType;

/// Rows of W at a time, and those whose products are made together.
const ROWS: usize = 16;
const FEW: usize = 4;

/// The order of a row's integers: each group as its even values and its odd ones, and groups in fours as the products take
/// them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// As the values are.
    Natural,
    /// Four vectors, a group in a lane of its own of each: the even values of its first half, those of its second half,
    /// the odd ones of the first, those of the second.
    Lanes,
    /// Two vectors, even and odd values, of groups 0 and 1; two of groups 2 and 3.
    Along,
    /// The same of groups 0 and 2, then of 1 and 3.
    Across,
}

/// A row in integers of 16 bits, scaled by each group's largest value.
struct Integers {
    groups: usize,
    q: Vec<i16>,
    /// (scale, sum of the values) of each group.
    pairs: Vec<[f32; 2]>,
}

/// Dot products in integers. The methods may be called only where AVX-512 and VNNI are there.
trait Wide: Registers {
    const ORDER: Order;

    /// Σ w x over a row whose weights begin at group `first`.
    unsafe fn dot(&self, first: usize, x: &Integers) -> f32;

    /// The same over [`FEW`] rows, one after the other.
    #[inline(always)]
    unsafe fn dots(&self, first: usize, x: &Integers) -> [f32; FEW] {
        // SAFETY: passed on from the caller.
        unsafe {
            let mut out = [0.0; FEW];
            for (i, out) in out.iter_mut().enumerate() {
                *out = self.dot(first + i * x.groups, x);
            }
            out
        }
    }
}

/// Whether it has done the product: types of groups and one token it does.
#[target_feature(enable = "avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn forward(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) -> bool {
    if job.tokens() != 1 {
        return false;
    }
    // SAFETY: passed on from the caller.
    unsafe { with_registers!(q, run, (job, s, team)) }
}

#[inline(always)]
unsafe fn run<R: Wide>(job: &Job<'_>, s: &[Slot], team: &Team<'_>) {
    // SAFETY: the contract of `cpu::run`.
    unsafe {
        let r = R::over(job.p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast()));
        let x = integers(&s[0].f32()[job.p.x_offset as usize..][..job.p.k as usize], <R as Wide>::ORDER);
        dot::rows(job, s, team, &One { r, x });
    }
}

struct One<R> {
    r: R,
    x: Integers,
}

impl<R: Wide> dot::Dots for One<R> {
    const ROWS: usize = ROWS;
    const LEAST: usize = FEW;
    const BY_TOKENS: bool = true;

    #[inline(always)]
    unsafe fn dots(&self, first: usize, _: usize, sums: &mut [f32]) {
        let row = |i: usize| first / 32 + i * self.x.groups;
        let (fours, rest) = sums.as_chunks_mut::<FEW>();
        let done = fours.len() * FEW;
        // SAFETY: passed on from the caller.
        unsafe {
            for (i, sums) in fours.iter_mut().enumerate() {
                *sums = self.r.dots(row(i * FEW), &self.x);
            }
            for (i, sum) in rest.iter_mut().enumerate() {
                *sum = self.r.dot(row(done + i), &self.x);
            }
        }
    }
}

/// A row in integers, filled up with zeros to whole sixteens of groups.
#[inline(always)]
unsafe fn integers(values: &[f32], order: Order) -> Integers {
    let groups = values.len() / 32;
    let whole = groups.next_multiple_of(16);
    let mut x = Integers { groups, q: vec![0; whole * 32], pairs: vec![[0.0; 2]; whole] };
    // Even words of the first half, of the second half, odd ones of the first, of the second.
    let mut apart = [0u16; 32];
    for (i, from) in apart.iter_mut().enumerate() {
        *from = (i / 8 % 2 * 16 + i % 8 * 2 + i / 16) as u16;
    }
    // SAFETY: AVX-512 is there; a group lies where its four has room for it.
    unsafe {
        let apart = _mm512_loadu_si512(apart.as_ptr().cast());
        for (g, values) in values.chunks_exact(32).enumerate() {
            let halves = [_mm512_loadu_ps(values.as_ptr()), _mm512_loadu_ps(values.as_ptr().add(16))];
            let max = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(halves[0]), _mm512_abs_ps(halves[1])));
            let inverse = _mm512_set1_ps(if max > 0.0 { 32767.0 / max } else { 0.0 });
            let sum = _mm512_reduce_add_ps(_mm512_add_ps(halves[0], halves[1]));
            // Integers forget what is no number.
            x.pairs[g] = [if sum.is_nan() { f32::NAN } else { max / 32767.0 }, sum];
            let low = _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(_mm512_mul_ps(halves[0], inverse)));
            let high = _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(_mm512_mul_ps(halves[1], inverse)));
            let natural = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
            let words = if order == Order::Natural { natural } else { _mm512_permutexvar_epi16(apart, natural) };
            let (four, i) = (x.q.as_mut_ptr().add(g / 4 * 128), g % 4);
            // Where its pieces of eight lie.
            let at = match order {
                Order::Natural => [0, 8, 16, 24].map(|at| at + 32 * i),
                Order::Lanes => [0, 32, 64, 96].map(|at| at + 8 * i),
                Order::Along => [0, 8, 32, 40].map(|at| at + i / 2 * 64 + i % 2 * 16),
                Order::Across => [0, 8, 32, 40].map(|at| at + i % 2 * 64 + i / 2 * 16),
            };
            _mm_storeu_si128(four.add(at[0]).cast(), _mm512_extracti32x4_epi32::<0>(words));
            _mm_storeu_si128(four.add(at[1]).cast(), _mm512_extracti32x4_epi32::<1>(words));
            _mm_storeu_si128(four.add(at[2]).cast(), _mm512_extracti32x4_epi32::<2>(words));
            _mm_storeu_si128(four.add(at[3]).cast(), _mm512_extracti32x4_epi32::<3>(words));
        }
    }
    x
}

/// A dot product on its way.
struct Sums {
    /// Products, two sums so that one addition need not wait for the other.
    products: [__m512; 2],
    /// Minimums times sums in the odd places.
    minimums: __m512,
}

impl Sums {
    #[inline(always)]
    unsafe fn new() -> Self {
        // SAFETY: AVX-512 is there.
        unsafe { Self { products: [_mm512_setzero_ps(); 2], minimums: _mm512_setzero_ps() } }
    }

    /// Adds integers times the scales that `places` picks, one for each lane of 128 bits.
    #[inline(always)]
    unsafe fn add(&mut self, integers: __m512i, scales: __m512, places: __m512i) {
        // SAFETY: AVX-512 is there.
        unsafe {
            let scales = _mm512_permutexvar_ps(places, scales);
            let sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(integers), scales, self.products[0]);
            self.products = [self.products[1], sum];
        }
    }

    #[inline(always)]
    unsafe fn total(self) -> f32 {
        // SAFETY: AVX-512 is there.
        unsafe {
            let products = _mm512_add_ps(self.products[0], self.products[1]);
            _mm512_reduce_add_ps(_mm512_mask_add_ps(products, 0xaaaa, products, self.minimums))
        }
    }
}

/// Four lanes of 128 bits, each with one place.
#[inline(always)]
unsafe fn places(at: [i32; 4]) -> __m512i {
    // SAFETY: AVX-512 is there.
    unsafe {
        let four = _mm_setr_epi32(at[0], at[1], at[2], at[3]);
        let spread = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        _mm512_permutexvar_epi32(spread, _mm512_castsi128_si512(four))
    }
}

/// Σ over words of vectors of weights and of x.
#[inline(always)]
unsafe fn products<const N: usize>(w: [__m512i; N], x: *const i16) -> __m512i {
    // SAFETY: VNNI is there, and that many words of x are readable.
    unsafe {
        let mut sums = [_mm512_setzero_si512(); 2];
        for (i, w) in w.into_iter().enumerate() {
            sums[i % 2] = _mm512_dpwssd_epi32(sums[i % 2], w, _mm512_loadu_si512(x.add(32 * i).cast()));
        }
        _mm512_add_epi32(sums[0], sums[1])
    }
}

/// How far ahead nibbles are asked for, in bytes.
const FAR: usize = 6144;

/// The nibbles of up to four groups of sixteen bytes in [`Order::Lanes`].
#[inline(always)]
unsafe fn nibble_words(p: *const u8, groups: usize) -> [__m512i; 4] {
    // Several rows at once are no stream that a processor reads ahead by itself.
    ask_to_read(p.wrapping_add(FAR), 1);
    // SAFETY: AVX-512 is there; only groups that are there are read.
    unsafe {
        let v = _mm512_maskz_loadu_epi64(((1u32 << (2 * groups)) - 1) as __mmask8, p.cast());
        let mask = _mm512_set1_epi16(15);
        [
            _mm512_and_si512(v, mask),
            _mm512_and_si512(_mm512_srli_epi16::<4>(v), mask),
            _mm512_and_si512(_mm512_srli_epi16::<8>(v), mask),
            _mm512_srli_epi16::<12>(v),
        ]
    }
}

/// Types that keep a group as sixteen bytes of nibbles.
trait Nibbles: Registers {
    /// Weights of up to four groups in [`Order::Lanes`].
    unsafe fn words(&self, g: usize, n: usize) -> [__m512i; 4];
    /// (scale, minimum) of up to four groups.
    unsafe fn scales(&self, g: usize, n: usize) -> __m256;
}

macro_rules! nibbles {
    ($($name:ident)*) => {$(
        impl Wide for $name {
            const ORDER: Order = Order::Lanes;

            #[inline(always)]
            unsafe fn dot(&self, first: usize, x: &Integers) -> f32 {
                // SAFETY: passed on from the caller.
                let [sum] = unsafe { nibble_rows(self, first, x) };
                sum
            }

            #[inline(always)]
            unsafe fn dots(&self, first: usize, x: &Integers) -> [f32; FEW] {
                // SAFETY: passed on from the caller.
                unsafe { nibble_rows(self, first, x) }
            }
        }
    )*};
}

nibbles!(Q40 Q41 Q50);

/// Rows one after the other; the integers of x are loaded once for all of them.
#[inline(always)]
unsafe fn nibble_rows<R: Nibbles, const N: usize>(r: &R, first: usize, x: &Integers) -> [f32; N] {
    // SAFETY: AVX-512 is there; x is filled up to whole fours of groups.
    unsafe {
        let zero = NibbleSums { products: _mm512_setzero_ps(), minimums: _mm256_setzero_ps() };
        let (mut sums, places) = ([zero; N], places([0, 2, 4, 6]));
        let whole = x.groups / 4 * 4;
        for g in (0..whole).step_by(4) {
            nibbles_at(r, first, g, 4, x, places, &mut sums);
        }
        if whole < x.groups {
            nibbles_at(r, first, whole, x.groups - whole, x, places, &mut sums);
        }
        let mut out = [0.0; N];
        for (out, sum) in out.iter_mut().zip(sums) {
            // The upper half has no minimums; those of the lower are in the odd places.
            let minimums = _mm512_zextps256_ps512(sum.minimums);
            *out = _mm512_reduce_add_ps(_mm512_mask_add_ps(sum.products, 0xaaaa, sum.products, minimums));
        }
        out
    }
}

/// A dot product of nibbles on its way, with minimums times sums in the odd places of their own.
#[derive(Clone, Copy)]
struct NibbleSums {
    products: __m512,
    minimums: __m256,
}

/// Adds up to four groups of each row.
#[inline(always)]
unsafe fn nibbles_at<R: Nibbles, const N: usize>(
    r: &R,
    first: usize,
    g: usize,
    n: usize,
    x: &Integers,
    places: __m512i,
    sums: &mut [NibbleSums; N],
) {
    // SAFETY: passed on from the caller.
    unsafe {
        let q = x.q.as_ptr().add(32 * g);
        let mut words = [_mm512_setzero_si512(); 4];
        for (i, words) in words.iter_mut().enumerate() {
            *words = _mm512_loadu_si512(q.add(32 * i).cast());
        }
        let pairs = _mm256_loadu_ps(x.pairs.as_ptr().add(g).cast());
        for (i, sum) in sums.iter_mut().enumerate() {
            let at = first + i * x.groups + g;
            let scales = _mm256_mul_ps(r.scales(at, n), pairs);
            sum.minimums = _mm256_add_ps(sum.minimums, scales);
            let w = r.words(at, n);
            let zero = _mm512_setzero_si512();
            let low = _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(zero, w[0], words[0]), w[1], words[1]);
            let high = _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(zero, w[2], words[2]), w[3], words[3]);
            let products = _mm512_cvtepi32_ps(_mm512_add_epi32(low, high));
            let scales = _mm512_permutexvar_ps(places, _mm512_castps256_ps512(scales));
            sum.products = _mm512_fmadd_ps(products, scales, sum.products);
        }
    }
}

/// (d, `times` d) of up to four groups whose halves begin at `p`.
#[inline(always)]
unsafe fn scales_of(p: *const u8, n: usize, times: f32) -> __m256 {
    // SAFETY: AVX-512 is there; only halves that are there are read.
    unsafe {
        let d = _mm_cvtph_ps(_mm_maskz_loadu_epi16(((1u32 << n) - 1) as __mmask8, p.cast()));
        let m = _mm_mul_ps(d, _mm_set1_ps(times));
        _mm256_set_m128(_mm_unpackhi_ps(d, m), _mm_unpacklo_ps(d, m))
    }
}

impl Nibbles for Q41 {
    #[inline(always)]
    unsafe fn words(&self, g: usize, n: usize) -> [__m512i; 4] {
        // SAFETY: passed on from the caller.
        unsafe { nibble_words(self.0[0].add(16 * g), n) }
    }

    #[inline(always)]
    unsafe fn scales(&self, g: usize, n: usize) -> __m256 {
        // SAFETY: passed on from the caller; only halves that are there are read.
        unsafe {
            let there = ((1u32 << (2 * n)) - 1) as __mmask8;
            _mm256_cvtph_ps(_mm_maskz_loadu_epi16(there, self.0[1].add(4 * g).cast()))
        }
    }
}

/// d (q − 8) = d q − 8 d.
impl Nibbles for Q40 {
    #[inline(always)]
    unsafe fn words(&self, g: usize, n: usize) -> [__m512i; 4] {
        // SAFETY: passed on from the caller.
        unsafe { nibble_words(self.0[0].add(16 * g), n) }
    }

    #[inline(always)]
    unsafe fn scales(&self, g: usize, n: usize) -> __m256 {
        // SAFETY: passed on from the caller.
        unsafe { scales_of(self.0[1].add(2 * g), n, -8.0) }
    }
}

/// d (q − 16) with a plane of fifth bits.
impl Nibbles for Q50 {
    #[inline(always)]
    unsafe fn words(&self, g: usize, n: usize) -> [__m512i; 4] {
        // SAFETY: passed on from the caller; only bits that are there are read.
        unsafe {
            let w = nibble_words(self.0[0].add(16 * g), n);
            let there = ((1u32 << n) - 1) as __mmask8;
            let bits = _mm_maskz_loadu_epi32(there, self.0[1].add(4 * g).cast());
            // A lane gets its group's bits in all places. Words look at their own: those of a half in even places, those
            // of the other half in odd ones.
            let bits = _mm512_permutexvar_epi32(places([0, 1, 2, 3]), _mm512_castsi128_si512(bits));
            let low = _mm512_mask_blend_epi16(0xaaaa_aaaa, bits, _mm512_slli_epi32::<16>(bits));
            let high = _mm512_mask_blend_epi16(0x5555_5555, bits, _mm512_srli_epi32::<16>(bits));
            let even = _mm_setr_epi16(1, 1 << 2, 1 << 4, 1 << 6, 1 << 8, 1 << 10, 1 << 12, 1 << 14);
            let even = _mm512_broadcast_i32x4(even);
            let odd = _mm512_slli_epi16::<1>(even);
            [add_16(w[0], low, even), add_16(w[1], high, even), add_16(w[2], low, odd), add_16(w[3], high, odd)]
        }
    }

    #[inline(always)]
    unsafe fn scales(&self, g: usize, n: usize) -> __m256 {
        // SAFETY: passed on from the caller.
        unsafe { scales_of(self.0[2].add(2 * g), n, -16.0) }
    }
}

/// Adds 16 to words whose bit of `which` is set in `bits`.
#[inline(always)]
unsafe fn add_16(words: __m512i, bits: __m512i, which: __m512i) -> __m512i {
    // SAFETY: AVX-512 is there.
    unsafe { _mm512_mask_add_epi16(words, _mm512_test_epi16_mask(bits, which), words, _mm512_set1_epi16(16)) }
}

/// Adds a group of signed bytes, scaled.
#[inline(always)]
unsafe fn bytes_at(q: *const u8, x: *const i16, scale: f32, sum: __m512) -> __m512 {
    // SAFETY: AVX-512 and VNNI are there; 32 bytes and integers are readable.
    unsafe {
        let w = _mm512_cvtepi8_epi16(_mm256_loadu_si256(q.cast()));
        let x = _mm512_loadu_si512(x.cast());
        let product = _mm512_cvtepi32_ps(_mm512_dpwssd_epi32(_mm512_setzero_si512(), w, x));
        _mm512_fmadd_ps(product, _mm512_set1_ps(scale), sum)
    }
}

impl Wide for Q80 {
    const ORDER: Order = Order::Natural;

    #[inline(always)]
    unsafe fn dot(&self, first: usize, x: &Integers) -> f32 {
        // SAFETY: passed on from the caller; x is filled up to whole sixteens of groups.
        unsafe {
            let mut sums = [_mm512_setzero_ps(); 4];
            let evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            for g in (0..x.groups).step_by(16) {
                let n = (x.groups - g).min(16);
                let there = ((1u32 << n) - 1) as __mmask16;
                let d = _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(there, self.0[1].add(2 * (first + g)).cast()));
                let pairs = x.pairs.as_ptr().add(g).cast::<f32>();
                let of_x = _mm512_permutex2var_ps(_mm512_loadu_ps(pairs), evens, _mm512_loadu_ps(pairs.add(16)));
                let mut scales = [0.0f32; 16];
                _mm512_storeu_ps(scales.as_mut_ptr(), _mm512_mul_ps(d, of_x));
                let whole = n / 4 * 4;
                for i in (0..whole).step_by(4) {
                    let q = self.0[0].add(32 * (first + g + i));
                    ask_ahead(q);
                    ask_ahead(q.add(64));
                    for (j, sum) in sums.iter_mut().enumerate() {
                        *sum = bytes_at(q.add(32 * j), x.q.as_ptr().add(32 * (g + i + j)), scales[i + j], *sum);
                    }
                }
                for (i, scale) in scales.iter().enumerate().take(n).skip(whole) {
                    let q = self.0[0].add(32 * (first + g + i));
                    sums[0] = bytes_at(q, x.q.as_ptr().add(32 * (g + i)), *scale, sums[0]);
                }
            }
            let sum = _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
            _mm512_reduce_add_ps(sum)
        }
    }
}

impl Wide for Q4K {
    const ORDER: Order = Order::Across;

    #[inline(always)]
    unsafe fn dot(&self, first: usize, x: &Integers) -> f32 {
        // SAFETY: passed on from the caller; a row is whole super-blocks of eight groups.
        unsafe {
            let mut sums = Sums::new();
            let mask = _mm512_set1_epi16(15);
            for g in (0..x.groups).step_by(8) {
                let block = (first + g) / 8;
                let head = self.0[1].add(16 * block);
                let scales = _mm512_mul_ps(scales_of_q4_k(head), _mm512_loadu_ps(x.pairs.as_ptr().add(g).cast()));
                sums.minimums = _mm512_add_ps(sums.minimums, scales);
                for half in 0..2 {
                    let q = self.0[0].add(128 * block + 64 * half);
                    ask_ahead(q);
                    let v = _mm512_loadu_si512(q.cast());
                    let x = x.q.as_ptr().add(32 * g + 128 * half);
                    let even = [_mm512_and_si512(v, mask), _mm512_and_si512(_mm512_srli_epi16::<8>(v), mask)];
                    let odd = [_mm512_and_si512(_mm512_srli_epi16::<4>(v), mask), _mm512_srli_epi16::<12>(v)];
                    let at = 8 * half as i32;
                    sums.add(products(even, x), scales, places([at, at, at + 4, at + 4]));
                    sums.add(products(odd, x.add(64)), scales, places([at + 2, at + 2, at + 6, at + 6]));
                }
            }
            sums.total()
        }
    }
}

impl Wide for Q6K {
    const ORDER: Order = Order::Along;

    #[inline(always)]
    unsafe fn dot(&self, first: usize, x: &Integers) -> f32 {
        // SAFETY: passed on from the caller; a row is whole super-blocks of eight groups.
        unsafe {
            let mut sums = Sums::new();
            let (nibble, two) = (_mm512_set1_epi8(15), _mm512_set1_epi8(0x30));
            // By how much words of the first group of two are shifted, then of the second.
            let left = _mm512_inserti64x4::<1>(_mm512_set1_epi16(4), _mm256_set1_epi16(2));
            let right = _mm512_inserti64x4::<1>(_mm512_setzero_si512(), _mm256_set1_epi16(2));
            for g in (0..x.groups).step_by(8) {
                let block = (first + g) / 8;
                let d = self.0[3].add(2 * block).cast::<u16>().read_unaligned();
                let d = _mm512_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(d))));
                let of_x = _mm512_moveldup_ps(_mm512_loadu_ps(x.pairs.as_ptr().add(g).cast()));
                let scales = _mm512_cvtepi8_epi32(_mm_loadu_si128(self.0[2].add(16 * block).cast()));
                let scales = _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(scales), d), of_x);
                for half in 0..2 {
                    let q = self.0[0].add(128 * block + 64 * half);
                    ask_ahead(q);
                    let v = _mm512_loadu_si512(q.cast());
                    let bits = _mm256_loadu_si256(self.0[1].add(64 * block + 32 * half).cast());
                    let bits = _mm512_broadcast_i64x4(bits);
                    let x = x.q.as_ptr().add(32 * g + 128 * half);
                    let at = 8 * half as i32;
                    let low = _mm512_and_si512(v, nibble);
                    let top = _mm512_and_si512(_mm512_sllv_epi16(bits, left), two);
                    let w = words_less_32(_mm512_or_si512(low, top));
                    sums.add(products(w, x), scales, places([at, at + 1, at + 2, at + 3]));
                    let low = _mm512_and_si512(_mm512_srli_epi16::<4>(v), nibble);
                    let top = _mm512_and_si512(_mm512_srlv_epi16(bits, right), two);
                    let w = words_less_32(_mm512_or_si512(low, top));
                    sums.add(products(w, x.add(64)), scales, places([at + 4, at + 5, at + 6, at + 7]));
                }
            }
            sums.total()
        }
    }
}

/// Even and odd bytes as words, less 32.
#[inline(always)]
unsafe fn words_less_32(v: __m512i) -> [__m512i; 2] {
    // SAFETY: AVX-512 is there.
    unsafe {
        let bias = _mm512_set1_epi16(32);
        let even = _mm512_and_si512(v, _mm512_set1_epi16(255));
        [_mm512_sub_epi16(even, bias), _mm512_sub_epi16(_mm512_srli_epi16::<8>(v), bias)]
    }
}

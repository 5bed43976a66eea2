//! Unpacking with AVX2 of the types that models are mostly made of, 32 weights at a time.

use std::arch::x86_64::*;

use super::pairs_avx2::row_of_pairs;
use super::unpack::{Order, Row, Unpack};

/// Thirty-two weights.
pub(super) type Group = [__m256; 4];

/// Runs a product with the registers of a type; whether there are any.
macro_rules! with_registers {
    ($q:expr, $run:ident, $args:tt) => {{
        match $q {
            QuantType::Q4_0 => $run::<Q40> $args,
            QuantType::Q4_1 => $run::<Q41> $args,
            QuantType::Q5_0 => $run::<Q50> $args,
            QuantType::Q8_0 => $run::<Q80> $args,
            QuantType::Q4_K => $run::<Q4K> $args,
            QuantType::Q6_K => $run::<Q6K> $args,
            _ => return false,
        }
        true
    }};
}
pub(super) use with_registers;

/// Expands a group in registers. The methods may be called only where AVX2, FMA and F16C are there.
pub(super) trait Registers: Copy {
    /// The order of the integers that [`Registers::row`] reads, if it does.
    const ORDER: Option<Order>;

    fn over(planes: [*const u8; 4]) -> Self;
    unsafe fn group(&self, g: usize) -> Group;
    /// Σ w x over a row, in integers where it has any, whose weights begin at group `first`.
    unsafe fn row(&self, first: usize, x: &Row<'_>) -> f32;
}

/// Dot products in integers, a group at a time.
pub(super) trait Single: Copy {
    /// Adds the part of group `g` of a row, whose weights begin at group `first`, to a dot product in integers.
    unsafe fn dot_at(&self, first: usize, g: usize, x: &Integers, sums: &mut Sums);
}

/// A row by [`Single::dot_at`].
#[inline(always)]
pub(super) unsafe fn row_of_groups<R: Single>(r: &R, first: usize, x: &Row<'_>) -> f32 {
    // SAFETY: passed on from the caller.
    unsafe {
        let groups = x.values.len() / 32;
        let x = Integers { q: x.q.as_ptr(), pairs: x.pairs.as_ptr() };
        let zero = Sums { products: _mm256_setzero_ps(), minimums: _mm_setzero_ps() };
        // Two sums, so that one addition need not wait for the other.
        let (mut a, mut b) = (zero, zero);
        let mut g = 0;
        while g + 2 <= groups {
            r.dot_at(first, g, &x, &mut a);
            r.dot_at(first, g + 1, &x, &mut b);
            g += 2;
        }
        if g < groups {
            r.dot_at(first, g, &x, &mut a);
        }
        let minimums = _mm_add_ps(a.minimums, b.minimums);
        sum(_mm256_add_ps(a.products, b.products)) + _mm_cvtss_f32(_mm_shuffle_ps(minimums, minimums, 1))
    }
}

/// A row in integers: values, and (scale, sum of the values in f32) of each group.
#[derive(Clone, Copy)]
pub(super) struct Integers {
    q: *const i16,
    pairs: *const [f32; 2],
}

impl Integers {
    /// The two halves of group `g`.
    #[inline(always)]
    pub(super) unsafe fn halves(&self, g: usize) -> [__m256i; 2] {
        // SAFETY: AVX is there and the group is inside of the row.
        unsafe {
            let q = self.q.add(32 * g);
            [_mm256_loadu_si256(q.cast()), _mm256_loadu_si256(q.add(16).cast())]
        }
    }

    /// (scale, sum) of group `g` in the two lowest lanes.
    #[inline(always)]
    pub(super) unsafe fn pair(&self, g: usize) -> __m128 {
        // SAFETY: as above.
        unsafe { _mm_castsi128_ps(_mm_loadl_epi64(self.pairs.add(g).cast())) }
    }
}

/// A dot product on its way: products in eight lanes, and minimums times sums in lane 1.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    products: __m256,
    pub(super) minimums: __m128,
}

impl Sums {
    /// Adds scale · Σ w x over integers, the scale in lane 0 of `scale`.
    #[inline(always)]
    pub(super) unsafe fn add(&mut self, products: __m256i, scale: __m128) {
        // SAFETY: FMA is there.
        unsafe {
            self.products = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), _mm256_broadcastss_ps(scale), self.products);
        }
    }
}

/// How far ahead quants are asked for, in bytes: about as long as memory takes.
const AHEAD: usize = 4096;

/// Asks for the line `AHEAD` bytes after `p`; past the end of the planes it does nothing.
#[inline(always)]
pub(super) unsafe fn ask_ahead(p: *const u8) {
    // SAFETY: a prefetch never faults.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(AHEAD).cast()) }
}

/// Σ w x for 32 weights in two halves of bytes, by sums of pairs.
#[inline(always)]
pub(super) unsafe fn products(low: __m128i, high: __m128i, x: [__m256i; 2]) -> __m256i {
    // SAFETY: AVX2 is there.
    unsafe {
        let low = _mm256_madd_epi16(_mm256_cvtepi8_epi16(low), x[0]);
        _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_cvtepi8_epi16(high), x[1]))
    }
}

/// The halves at `p`, two of them, as floats in the two lowest lanes.
#[inline(always)]
pub(super) unsafe fn two_halves(p: *const u8) -> __m128 {
    // SAFETY: F16C is there; four bytes are readable.
    unsafe { _mm_cvtph_ps(_mm_cvtsi32_si128(p.cast::<i32>().read_unaligned())) }
}

/// The half at `p` in lane 0.
#[inline(always)]
pub(super) unsafe fn one_half(p: *const u8) -> __m128 {
    // SAFETY: F16C is there; two bytes are readable.
    unsafe { _mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(p.cast::<u16>().read_unaligned()))) }
}

/// A type's unpacking.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<R>(R);

impl<R: Registers> Unpack for Avx2<R> {
    const GROUP: usize = 32;
    const INTEGERS: Option<Order> = R::ORDER;

    fn new(words: &[u32], planes: &[u32; 4]) -> Self {
        Self(R::over(planes.map(|w| words[w as usize..].as_ptr().cast())))
    }

    #[inline(always)]
    unsafe fn expand(&self, first: usize, out: &mut [f32]) {
        // SAFETY: passed on from the caller.
        unsafe {
            for (g, out) in out.chunks_exact_mut(32).enumerate() {
                let group = self.0.group(first / 32 + g);
                for (i, v) in group.into_iter().enumerate() {
                    _mm256_storeu_ps(out.as_mut_ptr().add(8 * i), v);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn dot(&self, first: usize, x: &Row<'_>) -> f32 {
        // SAFETY: passed on from the caller.
        unsafe { self.0.row(first / 32, x) }
    }
}

#[inline(always)]
pub(super) unsafe fn sum(v: __m256) -> f32 {
    // SAFETY: AVX is there by the trait's word.
    unsafe {
        let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
        let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
        _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps(v, v, 1)))
    }
}

/// The half at `p`, in all lanes.
#[inline(always)]
pub(super) unsafe fn half(p: *const u8) -> __m256 {
    // SAFETY: F16C is there by the trait's word; two bytes are readable.
    unsafe {
        let bits = _mm_cvtsi32_si128(i32::from(p.cast::<u16>().read_unaligned()));
        _mm256_broadcastss_ps(_mm_cvtph_ps(bits))
    }
}

/// d times an integer, in all lanes.
#[inline(always)]
pub(super) unsafe fn by(d: __m256, times: i32) -> __m256 {
    // SAFETY: AVX is there.
    unsafe { _mm256_mul_ps(d, _mm256_set1_ps(times as f32)) }
}

/// Sixteen unsigned bytes as floats.
#[inline(always)]
pub(super) unsafe fn floats_u8(v: __m128i) -> [__m256; 2] {
    // SAFETY: AVX2 is there.
    unsafe {
        let high = _mm_unpackhi_epi64(v, v);
        [_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(v)), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(high))]
    }
}

/// Sixteen signed bytes as floats.
#[inline(always)]
unsafe fn floats_i8(v: __m128i) -> [__m256; 2] {
    // SAFETY: AVX2 is there.
    unsafe {
        let high = _mm_unpackhi_epi64(v, v);
        [_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high))]
    }
}

/// Sixteen bytes as their low and their high nibbles.
#[inline(always)]
pub(super) unsafe fn nibbles(p: *const u8) -> (__m128i, __m128i) {
    // SAFETY: AVX2 is there; sixteen bytes are readable.
    unsafe {
        let (v, mask) = (_mm_loadu_si128(p.cast()), _mm_set1_epi8(15));
        (_mm_and_si128(v, mask), _mm_and_si128(_mm_srli_epi16(v, 4), mask))
    }
}

/// d q + m for 32 unsigned bytes in two halves.
#[inline(always)]
pub(super) unsafe fn affine(low: __m128i, high: __m128i, d: __m256, m: __m256) -> Group {
    // SAFETY: FMA is there.
    unsafe {
        let ([a, b], [c, e]) = (floats_u8(low), floats_u8(high));
        let mut group = [a, b, c, e];
        for q in &mut group {
            *q = _mm256_fmadd_ps(*q, d, m);
        }
        group
    }
}

/// d q for 32 signed bytes in two halves.
#[inline(always)]
pub(super) unsafe fn scaled(low: __m128i, high: __m128i, d: [__m256; 2]) -> Group {
    // SAFETY: AVX2 is there.
    unsafe {
        let ([a, b], [c, e]) = (floats_i8(low), floats_i8(high));
        [_mm256_mul_ps(a, d[0]), _mm256_mul_ps(b, d[0]), _mm256_mul_ps(c, d[1]), _mm256_mul_ps(e, d[1])]
    }
}

/// Bytes of 0x10 where a bit of `bits` is set, one byte for each of 16 bits.
#[inline(always)]
unsafe fn fifth_bits(bits: u16) -> __m128i {
    // SAFETY: SSSE3 is there.
    unsafe {
        let spread = _mm_shuffle_epi8(
            _mm_set1_epi16(bits as i16),
            _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
        );
        let one = _mm_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
        _mm_and_si128(_mm_cmpeq_epi8(_mm_and_si128(spread, one), one), _mm_set1_epi8(16))
    }
}

/// Group `g` of nibbles with a plane of fifth bits as bytes.
#[inline(always)]
pub(super) unsafe fn with_fifth_bits(p: &[*const u8; 4], g: usize) -> (__m128i, __m128i) {
    // SAFETY: the group is inside of the planes and AVX2 is there.
    unsafe {
        ask_ahead(p[0].add(16 * g));
        let (low, high) = nibbles(p[0].add(16 * g));
        let bits = p[1].add(4 * g).cast::<u16>();
        let low = _mm_or_si128(low, fifth_bits(bits.read_unaligned()));
        (low, _mm_or_si128(high, fifth_bits(bits.add(1).read_unaligned())))
    }
}

/// Group `g` of `Q5_0` as signed bytes.
#[inline(always)]
unsafe fn q5_0(p: &[*const u8; 4], g: usize) -> (__m128i, __m128i) {
    // SAFETY: as above.
    unsafe {
        let ((low, high), sixteen) = (with_fifth_bits(p, g), _mm_set1_epi8(16));
        (_mm_sub_epi8(low, sixteen), _mm_sub_epi8(high, sixteen))
    }
}

/// Group `g` of `Q4_K`: bytes, the super-block's head (d, dmin), the group's scale and minimum.
#[inline(always)]
pub(super) unsafe fn q4_k(p: &[*const u8; 4], g: usize) -> (__m128i, __m128i, *const u8, u8, u8) {
    // SAFETY: as above.
    unsafe {
        let (block, i) = (g / 8, g % 8);
        let q = p[0].add(128 * block + i / 2 * 32);
        let (a, b) = (nibbles(q), nibbles(q.add(16)));
        let (low, high) = if i.is_multiple_of(2) { (a.0, b.0) } else { (a.1, b.1) };
        let head = p[1].add(16 * block);
        let s = head.add(4);
        let (scale, min) = if i < 4 {
            (*s.add(i) & 63, *s.add(i + 4) & 63)
        } else {
            (*s.add(i + 4) & 15 | (*s.add(i - 4) >> 6) << 4, *s.add(i + 4) >> 4 | (*s.add(i) >> 6) << 4)
        };
        (low, high, head, scale, min)
    }
}

/// Group `g` of `Q6_K` as signed bytes.
#[inline(always)]
pub(super) unsafe fn q6_k(p: &[*const u8; 4], g: usize) -> (__m128i, __m128i) {
    // SAFETY: as above.
    unsafe {
        let (block, i) = (g / 8, g % 8);
        let (part, run) = (i / 4, i % 4);
        let low = p[0].add(128 * block + 64 * part + run % 2 * 32);
        let bits = p[1].add(64 * block + 32 * part);
        let (a, b) = (nibbles(low), nibbles(low.add(16)));
        let (low, high) = if run < 2 { (a.0, b.0) } else { (a.1, b.1) };
        let shift = _mm_cvtsi32_si128(2 * run as i32);
        (with_top(low, bits, shift), with_top(high, bits.add(16), shift))
    }
}

/// Nibbles of `Q6_K` with two bits, `shift` up in the bytes at `at`, above them, less 32.
#[inline(always)]
unsafe fn with_top(q: __m128i, at: *const u8, shift: __m128i) -> __m128i {
    // SAFETY: AVX is there; sixteen bytes are readable.
    unsafe {
        let top = _mm_and_si128(_mm_srl_epi16(_mm_loadu_si128(at.cast()), shift), _mm_set1_epi8(3));
        _mm_sub_epi8(_mm_or_si128(q, _mm_slli_epi16(top, 4)), _mm_set1_epi8(32))
    }
}

/// A type's [`Registers`]: how a group becomes floats and, for types of single groups, how it is multiplied.
macro_rules! registers {
    ($($(#[$doc:meta])* $name:ident, |$p:ident, $g:ident| $body:expr
        $(, |$i:ident, $x:ident, $sums:ident| $dot:expr)?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name(pub(super) [*const u8; 4]);

        impl Registers for $name {
            const ORDER: Option<Order> = Some(registers!(@order $($x)?));

            fn over(planes: [*const u8; 4]) -> Self { Self(planes) }

            #[inline(always)]
            unsafe fn group(&self, $g: usize) -> Group {
                let $p = &self.0;
                // SAFETY: the group is inside of the planes and the instructions are there.
                unsafe { $body }
            }

            #[inline(always)]
            unsafe fn row(&self, first: usize, x: &Row<'_>) -> f32 {
                // SAFETY: passed on from the caller.
                unsafe { registers!(@row $($x)?)(self, first, x) }
            }
        }

        $(impl Single for $name {
            #[inline(always)]
            unsafe fn dot_at(&self, first: usize, $i: usize, $x: &Integers, $sums: &mut Sums) {
                let ($p, $g) = (&self.0, first + $i);
                // SAFETY: as above.
                unsafe { $dot }
            }
        })?
    )*};
    // Types without a product of one group have one of pairs.
    (@order $x:ident) => { Order::Natural };
    (@order) => { Order::Pairs };
    (@row $x:ident) => { row_of_groups };
    (@row) => { row_of_pairs };
}
pub(super) use registers;

registers! {
    /// d q + m.
    Q41, |p, g| {
        let (low, high) = nibbles(p[0].add(16 * g));
        affine(low, high, half(p[1].add(4 * g)), half(p[1].add(4 * g + 2)))
    };
    /// d (q − 8).
    Q40, |p, g| {
        let (low, high) = nibbles(p[0].add(16 * g));
        let eight = _mm_set1_epi8(8);
        let d = half(p[1].add(2 * g));
        scaled(_mm_sub_epi8(low, eight), _mm_sub_epi8(high, eight), [d, d])
    };
    /// d q.
    Q80, |p, g| {
        let q = p[0].add(32 * g);
        let d = half(p[1].add(2 * g));
        scaled(_mm_loadu_si128(q.cast()), _mm_loadu_si128(q.add(16).cast()), [d, d])
    }, |i, x, sums| {
        let q = p[0].add(32 * g);
        ask_ahead(q);
        let q = products(_mm_loadu_si128(q.cast()), _mm_loadu_si128(q.add(16).cast()), x.halves(i));
        sums.add(q, _mm_mul_ss(one_half(p[1].add(2 * g)), x.pair(i)));
    };
    /// d (q − 16) with a plane of fifth bits.
    Q50, |p, g| {
        let (low, high) = q5_0(p, g);
        let d = half(p[2].add(2 * g));
        scaled(low, high, [d, d])
    };
    /// Super-blocks of eight groups: d s q − dmin m.
    Q4K, |p, g| {
        let (low, high, head, scale, min) = q4_k(p, g);
        affine(low, high, by(half(head), i32::from(scale)), by(half(head.add(2)), -i32::from(min)))
    }, |i, x, sums| {
        let (low, high, head, scale, min) = q4_k(p, g);
        let scales = _mm_mul_ps(two_halves(head), _mm_setr_ps(f32::from(scale), -f32::from(min), 0.0, 0.0));
        let scales = _mm_mul_ps(scales, x.pair(i));
        sums.add(products(low, high, x.halves(i)), scales);
        sums.minimums = _mm_add_ps(sums.minimums, scales);
    };
    /// Super-blocks of eight groups, a signed scale for each half of one: d s (q − 32).
    Q6K, |p, g| {
        let (low, high) = q6_k(p, g);
        let (block, i) = (g / 8, g % 8);
        let d = half(p[3].add(2 * block));
        let scale = p[2].add(16 * block + 2 * i).cast::<i8>();
        scaled(low, high, [by(d, i32::from(*scale)), by(d, i32::from(*scale.add(1)))])
    }, |i, x, sums| {
        let (low, high) = q6_k(p, g);
        let d = _mm_mul_ss(one_half(p[3].add(2 * (g / 8))), x.pair(i));
        let scale = p[2].add(2 * g).cast::<i8>();
        let x = x.halves(i);
        let (low, high) = (_mm256_cvtepi8_epi16(low), _mm256_cvtepi8_epi16(high));
        sums.add(_mm256_madd_epi16(low, x[0]), _mm_mul_ss(d, _mm_set_ss(f32::from(*scale))));
        sums.add(_mm256_madd_epi16(high, x[1]), _mm_mul_ss(d, _mm_set_ss(f32::from(*scale.add(1)))));
    };
}

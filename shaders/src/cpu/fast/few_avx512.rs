//! A few tokens with AVX-512: weights are expanded in registers once for several rows of W and several tokens, and what
//! they add up to is summed sixteen products at a time.

use std::arch::x86_64::*;

use super::super::{Slot, Team};
use super::dot;
use super::floats_avx2::{BF16, F16, F32};
use super::matmul_q::Job;
use super::unpack_avx2::{Q4K, Q6K, Q40, Q41, Q50, Q80, Registers, ask_ahead, q4_k, q6_k};
use crate::QuantType;

/// Tokens from which on and up to which this form is the fastest without tiles of AMX, and with them.
const TOKENS: std::ops::RangeInclusive<usize> = 2..=32;
/// Rows of W at a time, so that y is written by whole registers.
const ROWS: usize = 16;
/// Products whose sums are made together.
pub(super) const SUMS: usize = 16;

/// Expands a group of 32 weights in two registers. The method may be called only where AVX-512 is there.
pub(super) trait Floats: Registers {
    /// Weights of group `g`, inside of the planes.
    unsafe fn floats(&self, g: usize) -> [__m512; 2];
}

/// Whether it has done the product: a few tokens with floats by whole groups it does.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn forward(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) -> bool {
    if !TOKENS.contains(&job.tokens()) {
        return false;
    }
    // SAFETY: passed on from the caller; floats have rows of any width.
    unsafe {
        match q {
            QuantType::F32 | QuantType::F16 | QuantType::BF16 if !job.p.k.is_multiple_of(32) => return false,
            QuantType::F32 => run::<F32>(job, s, team),
            QuantType::F16 => run::<F16>(job, s, team),
            QuantType::BF16 => run::<BF16>(job, s, team),
            _ => return false,
        }
    }
    true
}

#[inline(always)]
unsafe fn run<R: Floats>(job: &Job<'_>, s: &[Slot], team: &Team<'_>) {
    let p = &job.p;
    // SAFETY: the contract of `cpu::run`.
    unsafe {
        let r = R::over(p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast()));
        let x = s[0].f32()[p.x_offset as usize..].as_ptr();
        let few = Few { r, x, stride: p.x_stride as usize, groups: p.k as usize / 32, tokens: job.tokens() };
        dot::rows(job, s, team, &few);
    }
}

struct Few<R> {
    r: R,
    x: *const f32,
    stride: usize,
    groups: usize,
    tokens: usize,
}

impl<R: Floats> dot::Dots for Few<R> {
    const ROWS: usize = ROWS;
    const LEAST: usize = 4;
    const BY_TOKENS: bool = true;

    #[inline(always)]
    unsafe fn dots(&self, first: usize, rows: usize, sums: &mut [f32]) {
        // Rows and tokens that are not there repeat the last one.
        let row = |r: usize| first / 32 + r.min(rows - 1) * self.groups;
        for t0 in (0..self.tokens).step_by(8) {
            let left = self.tokens - t0;
            let x = |t: usize| self.x.wrapping_add((t0 + t.min(left - 1)) * self.stride);
            let sums = &mut sums[t0 * rows..];
            // SAFETY: passed on from the caller; the tokens are rows of x.
            unsafe {
                match left {
                    1 | 2 => {
                        for r in (0..rows).step_by(4) {
                            let out = self.block::<4, 2>(std::array::from_fn(|i| row(r + i)), std::array::from_fn(x));
                            put::<4, 2>(&out, rows, r, sums, left);
                        }
                    }
                    3 | 4 => {
                        for r in (0..rows).step_by(4) {
                            let out = self.block::<4, 4>(std::array::from_fn(|i| row(r + i)), std::array::from_fn(x));
                            put::<4, 4>(&out, rows, r, sums, left);
                        }
                    }
                    _ => {
                        for r in (0..rows).step_by(2) {
                            let out = self.block::<2, 8>([row(r), row(r + 1)], std::array::from_fn(x));
                            put::<2, 8>(&out, rows, r, sums, left);
                        }
                    }
                }
            }
        }
    }
}

/// Writes the sums `[token][N]` of rows from `r` on to `sums`, `[token][rows]`, as far as rows and tokens are there.
#[inline(always)]
pub(super) fn put<const N: usize, const T: usize>(
    out: &[f32; SUMS],
    rows: usize,
    r: usize,
    sums: &mut [f32],
    tokens: usize,
) {
    let (out, _) = out.as_chunks::<N>();
    if tokens >= T && r + N <= rows {
        // Of a fixed size: a copy of any would be a call.
        for (out, sums) in out[..T].iter().zip(sums[..T * rows].chunks_exact_mut(rows)) {
            sums[r..r + N].copy_from_slice(out);
        }
        return;
    }
    for (out, sums) in out[..T.min(tokens)].iter().zip(sums.chunks_exact_mut(rows)) {
        sums[r..].iter_mut().zip(out).for_each(|(sum, out)| *sum = *out);
    }
}

impl<R: Floats> Few<R> {
    /// Rows that begin at these groups with tokens: `[token][row]`.
    #[inline(always)]
    unsafe fn block<const N: usize, const T: usize>(&self, rows: [usize; N], x: [*const f32; T]) -> [f32; SUMS] {
        // SAFETY: the caller's rows and tokens; AVX-512 is there.
        unsafe {
            let mut acc = [[_mm512_setzero_ps(); T]; N];
            for g in 0..self.groups {
                let mut w = [[_mm512_setzero_ps(); 2]; N];
                for (w, row) in w.iter_mut().zip(rows) {
                    *w = self.r.floats(row + g);
                }
                for (half, at) in [0, 16].into_iter().enumerate() {
                    for t in 0..T {
                        let x = _mm512_loadu_ps(x[t].add(32 * g + at));
                        for n in 0..N {
                            acc[n][t] = _mm512_fmadd_ps(w[n][half], x, acc[n][t]);
                        }
                    }
                }
            }
            let mut all = [_mm512_setzero_ps(); SUMS];
            for (i, all) in all[..N * T].iter_mut().enumerate() {
                *all = acc[i % N][i / N];
            }
            let mut out = [0.0f32; SUMS];
            _mm512_storeu_ps(out.as_mut_ptr(), sums_of(all));
            out
        }
    }
}

/// The sum of each of sixteen vectors, in its place.
#[inline(always)]
pub(super) unsafe fn sums_of(v: [__m512; 16]) -> __m512 {
    // SAFETY: AVX-512 is there.
    unsafe {
        let mut two = [_mm512_setzero_ps(); 8];
        for (i, two) in two.iter_mut().enumerate() {
            let (a, b) = (v[2 * i], v[2 * i + 1]);
            *two = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        }
        // In each lane of 128 bits the part of four vectors that lay in it.
        let mut four = [_mm512_setzero_ps(); 4];
        for (i, four) in four.iter_mut().enumerate() {
            let (a, b) = (_mm512_castps_pd(two[2 * i]), _mm512_castps_pd(two[2 * i + 1]));
            let (low, high) = (_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
            *four = _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
        }
        join(join(four[0], four[1]), join(four[2], four[3]))
    }
}

/// Sums of neighbouring lanes of 128 bits, those of `a` before those of `b`.
#[inline(always)]
unsafe fn join(a: __m512, b: __m512) -> __m512 {
    // SAFETY: AVX-512 is there.
    unsafe { _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b)) }
}

/// `d i + m` of the places of a table.
#[inline(always)]
pub(super) unsafe fn table(d: __m512, m: __m512) -> __m512 {
    // SAFETY: AVX-512 is there.
    unsafe {
        let places = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0f32];
        _mm512_fmadd_ps(_mm512_loadu_ps(places.as_ptr()), d, m)
    }
}

/// The half at `p`, in all lanes.
#[inline(always)]
pub(super) unsafe fn half(p: *const u8) -> __m512 {
    // SAFETY: AVX-512 is there; two bytes are readable.
    unsafe { _mm512_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(p.cast::<u16>().read_unaligned())))) }
}

/// The values of a table at the low and the high nibbles of sixteen bytes.
#[inline(always)]
unsafe fn nibbles_of(p: *const u8, table: __m512) -> [__m512; 2] {
    // SAFETY: AVX-512 is there; sixteen bytes are readable.
    unsafe {
        ask_ahead(p);
        let v = _mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast()));
        [_mm512_permutexvar_ps(v, table), _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(v), table)]
    }
}

impl Floats for F32 {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let at = self.at(g);
            [_mm512_loadu_ps(at.cast()), _mm512_loadu_ps(at.add(64).cast())]
        }
    }
}

impl Floats for F16 {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let at = self.at(g);
            let (low, high) = (_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(32).cast()));
            [_mm512_cvtph_ps(low), _mm512_cvtph_ps(high)]
        }
    }
}

impl Floats for BF16 {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let at = self.at(g);
            let (low, high) = (_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(32).cast()));
            let (low, high) = (_mm512_cvtepu16_epi32(low), _mm512_cvtepu16_epi32(high));
            [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(low)), _mm512_castsi512_ps(_mm512_slli_epi32::<16>(high))]
        }
    }
}

impl Floats for Q40 {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let d = half(self.0[1].add(2 * g));
            nibbles_of(self.0[0].add(16 * g), table(d, _mm512_mul_ps(d, _mm512_set1_ps(-8.0))))
        }
    }
}

impl Floats for Q41 {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let both = self.0[1].add(4 * g).cast::<i32>().read_unaligned();
            let both = _mm_cvtph_ps(_mm_cvtsi32_si128(both));
            let (d, m) = (_mm512_broadcastss_ps(both), _mm512_broadcastss_ps(_mm_movehdup_ps(both)));
            nibbles_of(self.0[0].add(16 * g), table(d, m))
        }
    }
}

impl Q50 {
    /// The quants of group `g` plus 16.
    #[inline(always)]
    pub(super) unsafe fn places(&self, g: usize) -> [__m512i; 2] {
        // SAFETY: passed on from the caller; AVX-512 is there.
        unsafe {
            let bits = self.0[1].add(4 * g).cast::<u32>().read_unaligned();
            let (sixteen, nibble) = (_mm512_set1_epi32(16), _mm512_set1_epi32(15));
            let q = _mm512_cvtepu8_epi32(_mm_loadu_si128(self.0[0].add(16 * g).cast()));
            let (a, b) = (_mm512_and_si512(q, nibble), _mm512_and_si512(_mm512_srli_epi32::<4>(q), nibble));
            let a = _mm512_mask_or_epi32(a, bits as __mmask16, a, sixteen);
            [a, _mm512_mask_or_epi32(b, (bits >> 16) as __mmask16, b, sixteen)]
        }
    }
}

impl Floats for Q50 {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let d = half(self.0[2].add(2 * g));
            let low = table(d, _mm512_mul_ps(d, _mm512_set1_ps(-16.0)));
            let high = table(d, _mm512_setzero_ps());
            let [a, b] = self.places(g);
            [_mm512_permutex2var_ps(low, a, high), _mm512_permutex2var_ps(low, b, high)]
        }
    }
}

/// Sixteen signed bytes each.
#[inline(always)]
pub(super) unsafe fn signed(q: [__m128i; 2]) -> [__m512; 2] {
    // SAFETY: AVX-512 is there.
    unsafe { [_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q[0])), _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q[1]))] }
}

/// Signed bytes times their scales.
#[inline(always)]
unsafe fn scaled(q: [__m128i; 2], d: [__m512; 2]) -> [__m512; 2] {
    // SAFETY: AVX-512 is there.
    unsafe {
        let [low, high] = signed(q);
        [_mm512_mul_ps(low, d[0]), _mm512_mul_ps(high, d[1])]
    }
}

impl Floats for Q80 {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let (q, d) = (self.0[0].add(32 * g), half(self.0[1].add(2 * g)));
            ask_ahead(q);
            scaled([_mm_loadu_si128(q.cast()), _mm_loadu_si128(q.add(16).cast())], [d, d])
        }
    }
}

impl Floats for Q4K {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let (low, high, head, scale, min) = q4_k(&self.0, g);
            let d = _mm512_mul_ps(half(head), _mm512_set1_ps(f32::from(scale)));
            let m = _mm512_mul_ps(half(head.add(2)), _mm512_set1_ps(-f32::from(min)));
            let table = table(d, m);
            let (low, high) = (_mm512_cvtepu8_epi32(low), _mm512_cvtepu8_epi32(high));
            [_mm512_permutexvar_ps(low, table), _mm512_permutexvar_ps(high, table)]
        }
    }
}

impl Floats for Q6K {
    #[inline(always)]
    unsafe fn floats(&self, g: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe {
            let (low, high) = q6_k(&self.0, g);
            let d = half(self.0[3].add(2 * (g / 8)));
            let scale = self.0[2].add(2 * g).cast::<i8>();
            let scales = [_mm512_set1_ps(f32::from(*scale)), _mm512_set1_ps(f32::from(*scale.add(1)))];
            scaled([low, high], [_mm512_mul_ps(d, scales[0]), _mm512_mul_ps(d, scales[1])])
        }
    }
}

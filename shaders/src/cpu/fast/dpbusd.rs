//! One token with AVX-512's products of bytes (VNNI): the types that few models are made of, weights as they are, the
//! activations as three signed bytes, as exact as floats are.

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::super::{Slot, Team};
use super::bytes_avx512::{Bytes, FOUR, Iq4Nl, Planes, Q2K, Q3K, Q5K, Q51, with_bytes};
use super::digits::{FRACTION, TERMS, group_of};
use super::dot;
use super::few_avx512::sums_of;
use super::matmul_q::Job;
use crate::QuantType;

/// Rows of W at a time, so that y is written by whole registers.
const ROWS: usize = 16;

/// Four groups of a row of x. What is not there is zero.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Block {
    /// [term, the highest one first][half]: sixteen values of each group.
    bytes: [[[i8; 64]; 2]; TERMS],
    /// What products begin with, as their bytes are from zero on and not from the middle: of whole groups, of halves, or of the
    /// highest term and of the lower ones.
    begin: [[i32; 16]; 2],
    /// What the integers are scaled by.
    scale: [f32; 16],
    /// Sums of the values, of whole groups or of halves.
    sums: [f32; 8],
}

impl Block {
    const NONE: Self = Self { bytes: [[[0; 64]; 2]; TERMS], begin: [[0; 16]; 2], scale: [0.0; 16], sums: [0.0; 8] };

    /// At most four groups.
    #[inline(always)]
    unsafe fn fill<R: Bytes>(&mut self, x: &[f32]) {
        let (groups, _) = x.as_chunks::<32>();
        for (i, x) in groups.iter().enumerate() {
            let group = group_of(x);
            for (to, from) in self.bytes.iter_mut().zip(&group.bytes) {
                for (half, from) in from.chunks_exact(16).enumerate() {
                    to[half][16 * i..][..16].copy_from_slice(from);
                }
            }
            self.scale[4 * i..][..4].fill(group.scale);
            let [low, high] = group.sums;
            if R::HALVES {
                self.sums[2 * i..][..2].copy_from_slice(&[low, high]);
            } else {
                self.sums[i] = low + high;
            }
        }
        // SAFETY: AVX-512 and VNNI are there.
        unsafe {
            let zero = _mm512_setzero_si512();
            let middle = [_mm512_set1_epi8(R::MIDDLE as i8); 2];
            let all = integers::<R>(self, middle);
            for (begin, all) in self.begin.iter_mut().zip(all) {
                _mm512_store_si512(begin.as_mut_ptr().cast(), _mm512_sub_epi32(zero, all));
            }
        }
    }

    /// Adds the products with a term of both halves.
    #[inline(always)]
    unsafe fn both(&self, term: usize, w: [__m512i; 2], sum: __m512i) -> __m512i {
        // SAFETY: passed on from the caller.
        unsafe { self.half(term, 1, w, self.half(term, 0, w, sum)) }
    }

    /// Adds the products with a term of one half.
    #[inline(always)]
    unsafe fn half(&self, term: usize, half: usize, w: [__m512i; 2], sum: __m512i) -> __m512i {
        // SAFETY: VNNI is there.
        unsafe {
            let x = _mm512_load_si512(self.bytes[term][half].as_ptr().cast());
            _mm512_dpbusd_epi32(sum, w[half], x)
        }
    }
}

/// Whether bytes are too far from the middle for sums of 32 bits, of eight products each, with integers of 24.
const fn wide<R: Bytes>() -> bool {
    R::MIDDLE > 16
}

/// Products with four groups: of whole groups in the first register, or of halves in both, or with the highest term in the first
/// and with the lower ones in the second. What is on the way may not fit into 32 bits, and comes back when `begin` is added.
#[inline(always)]
unsafe fn integers<R: Bytes>(x: &Block, w: [__m512i; 2]) -> [__m512i; 2] {
    // Of halves four products are summed, and apart.
    const { assert!(!R::HALVES || R::MIDDLE <= 32) };
    // SAFETY: AVX-512 and VNNI are there.
    unsafe {
        let [a, b] = [_mm512_load_si512(x.begin[0].as_ptr().cast()), _mm512_load_si512(x.begin[1].as_ptr().cast())];
        let zero = _mm512_setzero_si512();
        if R::HALVES {
            let first = _mm512_slli_epi32::<8>(x.half(1, 0, w, _mm512_slli_epi32::<8>(x.half(0, 0, w, zero))));
            let second = _mm512_slli_epi32::<8>(x.half(1, 1, w, _mm512_slli_epi32::<8>(x.half(0, 1, w, zero))));
            [_mm512_add_epi32(first, x.half(2, 0, w, a)), _mm512_add_epi32(second, x.half(2, 1, w, b))]
        } else if wide::<R>() {
            let lower = _mm512_slli_epi32::<8>(x.both(1, w, zero));
            [x.both(0, w, a), _mm512_add_epi32(lower, x.both(2, w, b))]
        } else {
            let higher = _mm512_slli_epi32::<8>(x.both(1, w, _mm512_slli_epi32::<8>(x.both(0, w, zero))));
            [_mm512_add_epi32(higher, x.both(2, w, a)), b]
        }
    }
}

/// Adds the products with four groups, scaled.
#[inline(always)]
unsafe fn with_four<R: Bytes>(x: &Block, w: [__m512i; 2], d: [__m512; 2], m: __m256, sum: __m512) -> __m512 {
    // SAFETY: AVX-512 and VNNI are there.
    unsafe {
        let [a, b] = integers::<R>(x, w);
        let (a, b) = (_mm512_cvtepi32_ps(a), _mm512_cvtepi32_ps(b));
        // By d before the scale of x: that may be next to what is no normal number.
        let scaled = if R::HALVES {
            _mm512_fmadd_ps(b, d[1], _mm512_mul_ps(a, d[0]))
        } else if wide::<R>() {
            _mm512_mul_ps(_mm512_fmadd_ps(a, _mm512_set1_ps((1u32 << 16) as f32), b), d[0])
        } else {
            _mm512_mul_ps(a, d[0])
        };
        let sum = _mm512_fmadd_ps(scaled, _mm512_load_ps(x.scale.as_ptr()), sum);
        if !R::MINIMUMS {
            return sum;
        }
        _mm512_add_ps(sum, _mm512_zextps256_ps512(_mm256_mul_ps(m, _mm256_load_ps(x.sums.as_ptr()))))
    }
}

/// Whether it has done the product: types without another form and one token it does.
#[target_feature(enable = "avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn forward(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) -> bool {
    if job.tokens() != 1 {
        return false;
    }
    // SAFETY: passed on from the caller.
    unsafe { with_bytes!(q, run, (job, s, team)) }
}

#[inline(always)]
unsafe fn run<R: Bytes>(job: &Job<'_>, s: &[Slot], team: &Team<'_>) {
    let p = &job.p;
    let k = p.k as usize;
    // SAFETY: the contract of `cpu::run`.
    unsafe {
        let planes = p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast());
        let x = &s[0].f32()[p.x_offset as usize..][..k];
        let mut blocks = vec![Block::NONE; k.div_ceil(32 * FOUR)];
        for (block, x) in blocks.iter_mut().zip(x.chunks(32 * FOUR)) {
            block.fill::<R>(x);
        }
        dot::rows(job, s, team, &One::<R> { planes, blocks, groups: k / 32, of: PhantomData });
    }
}

struct One<R> {
    planes: Planes,
    blocks: Vec<Block>,
    groups: usize,
    of: PhantomData<R>,
}

impl<R: Bytes> dot::Dots for One<R> {
    const ROWS: usize = ROWS;
    const LEAST: usize = 4;
    const BY_TOKENS: bool = true;

    #[inline(always)]
    unsafe fn dots(&self, first: usize, rows: usize, sums: &mut [f32]) {
        // SAFETY: passed on from the caller; AVX-512 is there.
        unsafe {
            let mut all = [_mm512_setzero_ps(); ROWS];
            for (r, sum) in all.iter_mut().enumerate().take(rows) {
                *sum = self.row(first / 32 + r * self.groups);
            }
            _mm512_mask_storeu_ps(sums.as_mut_ptr(), ((1u32 << rows) - 1) as __mmask16, sums_of(all));
        }
    }
}

impl<R: Bytes> One<R> {
    /// The products of the row that begins at group `first`, to be added up.
    #[inline(always)]
    unsafe fn row(&self, first: usize) -> __m512 {
        // SAFETY: the caller's row; AVX-512 is there.
        unsafe {
            let mut sum = _mm512_setzero_ps();
            let (middle, fraction) = (_mm256_set1_ps(f32::from(R::MIDDLE)), 1.0 / (1u32 << FRACTION) as f32);
            for (b, x) in self.blocks.iter().enumerate() {
                let (at, n) = (first + FOUR * b, FOUR.min(self.groups - FOUR * b));
                let w = R::bytes(&self.planes, at, n);
                let [d, m] = R::scales(&self.planes, at, n);
                let m = _mm256_fmadd_ps(d, middle, m);
                let d = _mm512_castps256_ps512(_mm256_mul_ps(d, _mm256_set1_ps(fraction)));
                let d = if R::HALVES { [spread(d, 2, 0), spread(d, 2, 1)] } else { [spread(d, 1, 0); 2] };
                sum = with_four::<R>(x, w, d, m, sum);
            }
            sum
        }
    }
}

/// Each lane of 128 bits gets one value: the `times i + first`-th.
#[inline(always)]
unsafe fn spread(v: __m512, times: i32, first: i32) -> __m512 {
    // SAFETY: AVX-512 is there.
    unsafe {
        let lane = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        let at = _mm512_add_epi32(_mm512_mullo_epi32(lane, _mm512_set1_epi32(times)), _mm512_set1_epi32(first));
        _mm512_permutexvar_ps(at, v)
    }
}

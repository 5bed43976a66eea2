//! A few tokens with AVX-512's products of bytes (VNNI): weights as they are, activations as three signed bytes, as exact as
//! floats are.

use std::arch::asm;
use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::super::{Slot, Team};
use super::bytes_avx512::{Bytes, FOUR, Iq4Nl, Planes, Q2K, Q3K, Q5K, Q51, with_bytes};
use super::digits::{FRACTION, TERMS, group_of};
use super::dot;
use super::few_avx512::{SUMS, put, sums_of};
use super::matmul_q::Job;
use crate::QuantType;

/// Tokens up to which it does them, as many as the form of the other types.
const TOKENS: usize = 32;
/// Rows of W at a time, so that y is written by whole registers.
const ROWS: usize = 16;
/// Rows and tokens whose products are made together.
const FEW: usize = 4;
const AT_ONCE: usize = 4;

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

/// Products with four groups: of whole groups in the first register, or of halves in both, or with the highest term in the first
/// and with the lower ones in the second. They fit into 32 bits as long as bytes are no further from the middle than a type says:
/// what is on the way may not, and comes back when `begin` is added.
#[inline(always)]
unsafe fn integers<R: Bytes>(x: &Block, w: [__m512i; 2]) -> [__m512i; 2] {
    const { assert!(R::WIDE || R::MIDDLE <= if R::HALVES { 64 } else { 16 }) };
    // SAFETY: AVX-512 and VNNI are there.
    unsafe {
        let [a, b] = [_mm512_load_si512(x.begin[0].as_ptr().cast()), _mm512_load_si512(x.begin[1].as_ptr().cast())];
        let zero = _mm512_setzero_si512();
        if R::HALVES {
            let first = _mm512_slli_epi32::<8>(x.half(1, 0, w, _mm512_slli_epi32::<8>(x.half(0, 0, w, zero))));
            let second = _mm512_slli_epi32::<8>(x.half(1, 1, w, _mm512_slli_epi32::<8>(x.half(0, 1, w, zero))));
            [_mm512_add_epi32(first, x.half(2, 0, w, a)), _mm512_add_epi32(second, x.half(2, 1, w, b))]
        } else if R::WIDE {
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
        } else if R::WIDE {
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

/// Whether it has done the product: types without another form and a few tokens it does.
#[target_feature(enable = "avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn forward(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) -> bool {
    if job.tokens() > TOKENS {
        return false;
    }
    // SAFETY: passed on from the caller.
    unsafe { with_bytes!(q, run, (job, s, team)) }
}

#[inline(always)]
unsafe fn run<R: Bytes>(job: &Job<'_>, s: &[Slot], team: &Team<'_>) {
    let p = &job.p;
    let (k, stride) = (p.k as usize, p.x_stride as usize);
    let blocks = k.div_ceil(32 * FOUR);
    // SAFETY: the contract of `cpu::run`.
    unsafe {
        let planes = p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast());
        let x = &s[0].f32()[p.x_offset as usize..];
        // Each thread makes its own: threads would have to meet before they could share them.
        let mut tokens = vec![Block::NONE; job.tokens() * blocks];
        for (t, token) in tokens.chunks_exact_mut(blocks).enumerate() {
            for (block, x) in token.iter_mut().zip(x[t * stride..][..k].chunks(32 * FOUR)) {
                block.fill::<R>(x);
            }
        }
        let product = Product::<R> { planes, tokens, blocks, groups: k / 32, of: PhantomData };
        dot::rows(job, s, team, &product);
    }
}

struct Product<R> {
    planes: Planes,
    /// [token][block].
    tokens: Vec<Block>,
    blocks: usize,
    groups: usize,
    of: PhantomData<R>,
}

impl<R: Bytes> dot::Dots for Product<R> {
    const ROWS: usize = ROWS;
    const LEAST: usize = FEW;
    const BY_TOKENS: bool = true;

    #[inline(always)]
    unsafe fn dots(&self, first: usize, rows: usize, sums: &mut [f32]) {
        let tokens = self.tokens.len() / self.blocks;
        for t0 in (0..tokens).step_by(AT_ONCE) {
            let (left, sums) = (tokens - t0, &mut sums[t0 * rows..]);
            for r in (0..rows).step_by(FEW) {
                let first = first / 32 + r * self.groups;
                // SAFETY: passed on from the caller.
                unsafe {
                    let out = match left {
                        1 => self.multiply::<1>(first, rows - r, t0),
                        2 => self.multiply::<2>(first, rows - r, t0),
                        3 => self.multiply::<3>(first, rows - r, t0),
                        _ => self.multiply::<AT_ONCE>(first, rows - r, t0),
                    };
                    put::<FEW, AT_ONCE>(&out, rows, r, sums, left);
                }
            }
        }
    }
}

impl<R: Bytes> Product<R> {
    /// [`FEW`] rows, the first of which begins at group `first`, with `T` tokens from `t0` on: `[token][row]`. Rows that are not
    /// there, beyond `rows`, repeat the last one.
    #[inline(always)]
    unsafe fn multiply<const T: usize>(&self, first: usize, rows: usize, t0: usize) -> [f32; SUMS] {
        const { assert!(FEW * AT_ONCE == SUMS) };
        // SAFETY: the caller's rows and tokens; AVX-512 is there.
        unsafe {
            let mut sums = [_mm512_setzero_ps(); SUMS];
            let fraction = _mm512_set1_ps(1.0 / (1u32 << FRACTION) as f32);
            for b in 0..self.blocks {
                let (g, n) = (FOUR * b, FOUR.min(self.groups - FOUR * b));
                let x = self.tokens.as_ptr().add(t0 * self.blocks + b);
                // Written out: in loops, sums would not stay in registers.
                macro_rules! row {
                    ($r:literal; $($t:literal)*) => {
                        let at = first + $r.min(rows - 1) * self.groups + g;
                        let w = R::bytes(&self.planes, at, n);
                        let scales = R::scales(&self.planes, at, n);
                        let d = [_mm512_mul_ps(scales.d[0], fraction), _mm512_mul_ps(scales.d[1], fraction)];
                        // Read again for each row: kept for all of them, it would be copied to the stack.
                        let mut x = x;
                        asm!("/* {0} */", inout(reg) x, options(readonly, nostack, preserves_flags));
                        $(if $t < T {
                            let sum = &mut sums[$t * FEW + $r];
                            *sum = with_four::<R>(&*x.add($t * self.blocks), w, d, scales.m, *sum);
                        })*
                    };
                }
                const { assert!(FEW == 4 && AT_ONCE == 4) };
                row!(0; 0 1 2 3);
                row!(1; 0 1 2 3);
                row!(2; 0 1 2 3);
                row!(3; 0 1 2 3);
            }
            let mut out = [0.0; SUMS];
            _mm512_storeu_ps(out.as_mut_ptr(), sums_of(sums));
            out
        }
    }
}

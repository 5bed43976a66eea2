//! `matmul_q` and `matmul_gated` of a few tokens with AMX. Quants are nibbles times the scale of their group, plus a
//! minimum; tokens are integers of 24 bits, which is as much as a float holds of the largest value of a group. Tiles
//! multiply bytes: sixteen rows of a group, with eight tokens, and the scales come after.
//!
//! An integer of 24 bits is two of twelve, each a column of its own. One of twelve bits is 16 a + b: the nibbles are
//! multiplied with b, and sixteen times the nibbles, which are bytes, too, with a.

use std::arch::asm;
use std::arch::x86_64::*;

use super::super::{Slot, Team};
use super::amx_scales::{SCALES, Scales};
use super::amx_tiles::{Configured, DEPTH, TILE, WORDS, turned};
use super::dot;
use super::matmul_q::Job;
use super::unpack_avx2::{Q4K, Q40, Q41};
use crate::QuantType;

/// Tokens that this form takes: of more, products of floats are as fast.
const TOKENS: std::ops::RangeInclusive<usize> = 3..=23;
/// Tokens of a tile.
const BLOCK: usize = TILE / 2;
/// Blocks that there may be.
const BLOCKS: usize = TOKENS.end().div_ceil(BLOCK);
/// Groups that are multiplied before others are unpacked: what is multiplied shall lie in a first-level cache.
const STEPS: usize = 6;
/// Products that are on their way or wait to be scaled.
const PRODUCTS: usize = 4;
/// The largest integer: its upper half, in twelve bits, times 4096. Rounding may come out a little above it.
const MOST: f32 = (2047 * 4096) as f32;

/// Types whose weights are a nibble times the scale of their group, plus a minimum. The methods may be called only where
/// AVX-512 and VBMI are there.
trait Nibbles: Scales {
    /// The nibbles of group `g` as bytes, then sixteen times the same.
    unsafe fn bytes(&self, g: usize) -> __m512i;
}

/// Whether it has done the product: types of nibbles with a scale for 32, and a few tokens it does.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
pub(super) unsafe fn forward(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) -> bool {
    if !TOKENS.contains(&job.tokens()) {
        return false;
    }
    // SAFETY: passed on from the caller.
    unsafe {
        match q {
            QuantType::Q4_0 => run::<Q40>(q, job, s, team),
            QuantType::Q4_1 => run::<Q41>(q, job, s, team),
            QuantType::Q4_K => run::<Q4K>(q, job, s, team),
            _ => return false,
        }
    }
    true
}

#[inline(always)]
unsafe fn run<R: Nibbles>(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) {
    let p = &job.p;
    let (tokens, groups) = (job.tokens(), p.k as usize / DEPTH);
    let blocks = tokens.div_ceil(BLOCK);
    let layout = q.layout();
    // SAFETY: the contract of `cpu::run`.
    unsafe {
        let planes = p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast::<u8>());
        let bytes = |i: usize| layout.fields.get(i).map_or(0, |f| f.bytes * TILE * DEPTH / layout.weights);
        let x = Columns { at: team.scratch(blocks * groups * Columns::WORDS), groups };
        for chunk in team.chunks(blocks * groups) {
            let (block, g) = (chunk / groups, chunk % groups);
            let first = p.x_offset as usize + block * BLOCK * p.x_stride as usize + g * DEPTH;
            x.write(block, g, s[0].f32()[first..].as_ptr(), p.x_stride as usize, BLOCK.min(tokens - block * BLOCK));
        }
        team.sync();
        let mut memory = Memory::EMPTY;
        let mut scales = vec![[[_mm512_setzero_ps(); 2]; SCALES]; groups.div_ceil(SCALES)];
        let few = Few {
            r: R::over(planes),
            planes: std::array::from_fn(|i| (planes[i], bytes(i))),
            groups,
            blocks,
            x,
            memory: &raw mut memory,
            scales: scales.as_mut_ptr(),
            _configured: Configured::new(),
        };
        dot::rows::<true, _>(job, s, team, &few);
        team.sync();
    }
}

/// Eight tokens at a time as the columns of tiles: for each block and group a tile, then what its sums are multiplied
/// with, then the sums of the tokens' values.
struct Columns {
    at: *mut f32,
    groups: usize,
}

impl Columns {
    /// Words of a block's group.
    const WORDS: usize = WORDS + 2 * TILE;

    #[inline(always)]
    unsafe fn tile(&self, block: usize, g: usize) -> *mut f32 {
        // SAFETY: the caller's group is there.
        unsafe { self.at.add((block * self.groups + g) * Self::WORDS) }
    }

    /// Writes group `g` of tokens at `x`, `stride` from one to the next.
    #[inline(always)]
    unsafe fn write(&self, block: usize, g: usize, x: *const f32, stride: usize, tokens: usize) {
        let (mut scales, mut sums) = ([0.0f32; TILE], [0.0f32; TILE]);
        // SAFETY: the caller's tokens; AVX-512 is there, and there is room for a group.
        unsafe {
            let mut columns = [_mm512_setzero_ps(); TILE];
            for t in 0..tokens {
                let at = x.add(t * stride);
                let halves = [_mm512_loadu_ps(at), _mm512_loadu_ps(at.add(TILE))];
                let max = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(halves[0]), _mm512_abs_ps(halves[1])));
                sums[t] = _mm512_reduce_add_ps(_mm512_add_ps(halves[0], halves[1]));
                (scales[t], scales[t + BLOCK]) = (4096.0 * (max / MOST), max / MOST);
                let inverse = _mm512_set1_ps(if max > 0.0 { MOST / max } else { 0.0 });
                let low = twelve_bits(_mm512_cvtps_epi32(_mm512_mul_ps(halves[0], inverse)));
                let high = twelve_bits(_mm512_cvtps_epi32(_mm512_mul_ps(halves[1], inverse)));
                (columns[t], columns[t + BLOCK]) = (bytes_of(low[0], high[0]), bytes_of(low[1], high[1]));
            }
            let to = self.tile(block, g);
            for (r, row) in turned(columns).into_iter().enumerate() {
                _mm512_storeu_ps(to.add(r * TILE), row);
            }
            to.add(WORDS).cast::<[[f32; TILE]; 2]>().write([scales, sums]);
        }
    }
}

/// Integers of 24 bits as 4096 times one of twelve, to the nearest, and what is left.
#[inline(always)]
unsafe fn twelve_bits(x: __m512i) -> [__m512i; 2] {
    // SAFETY: AVX-512 is there.
    unsafe {
        let upper = _mm512_srai_epi32::<12>(_mm512_add_epi32(x, _mm512_set1_epi32(2048)));
        [upper, _mm512_sub_epi32(x, _mm512_slli_epi32::<12>(upper))]
    }
}

/// The lower nibbles of 32 integers of twelve bits as bytes, then what stands above them.
#[inline(always)]
unsafe fn bytes_of(low: __m512i, high: __m512i) -> __m512 {
    // SAFETY: AVX-512 is there.
    unsafe {
        let nibble = _mm512_set1_epi32(15);
        let below = bytes(_mm512_and_si512(low, nibble), _mm512_and_si512(high, nibble));
        let above = bytes(_mm512_srai_epi32::<4>(low), _mm512_srai_epi32::<4>(high));
        _mm512_castsi512_ps(_mm512_inserti64x4::<1>(_mm512_castsi256_si512(below), above))
    }
}

#[inline(always)]
unsafe fn bytes(low: __m512i, high: __m512i) -> __m256i {
    // SAFETY: AVX-512 is there.
    unsafe { _mm256_set_m128i(_mm512_cvtepi32_epi8(high), _mm512_cvtepi32_epi8(low)) }
}

/// What a thread needs of its own.
#[repr(align(64))]
struct Memory {
    /// Tiles of the groups that are unpacked.
    w: [[f32; WORDS]; STEPS],
    products: [[i32; WORDS]; PRODUCTS],
    /// The sums of each block.
    sums: [[f32; WORDS]; BLOCKS],
}

impl Memory {
    const EMPTY: Self =
        Self { w: [[0.0; WORDS]; STEPS], products: [[0; WORDS]; PRODUCTS], sums: [[0.0; WORDS]; BLOCKS] };
}

/// A plane of weights: where it begins, and the bytes of [`TILE`] groups.
type Plane = (*const u8, usize);

struct Few<R> {
    r: R,
    planes: [Plane; 4],
    groups: usize,
    blocks: usize,
    x: Columns,
    memory: *mut Memory,
    /// Scales and minimums of sixteen rows, group by group.
    scales: *mut [[__m512; 2]; SCALES],
    _configured: Configured,
}

impl<R: Nibbles> dot::Dots for Few<R> {
    const ROWS: usize = TILE;
    const BY_TOKENS: bool = true;

    #[inline(always)]
    unsafe fn dots(&self, first: usize, rows: usize, sums: &mut [f32]) {
        // SAFETY: the caller's rows are inside of W; AMX is there and set up.
        unsafe {
            let first = first / DEPTH;
            // Rows that are not there repeat the last one.
            let all: [usize; TILE] = std::array::from_fn(|r| first + r.min(rows - 1) * self.groups);
            for g in (0..self.groups).step_by(SCALES) {
                self.r.scales(all.map(|row| row + g), SCALES.min(self.groups - g), &mut *self.scales.add(g / SCALES));
            }
            for g0 in (0..self.groups).step_by(STEPS) {
                let steps = STEPS.min(self.groups - g0);
                for g in g0..g0 + steps {
                    // The same share of the rows that come next.
                    self.ask(first + TILE * (self.groups + g));
                }
                self.unpack(&all, g0, steps);
                for block in 0..self.blocks {
                    self.add(block, g0, steps);
                }
            }
            let there = ((1u32 << rows) - 1) as __mmask16;
            for (block, sums) in sums.chunks_mut(BLOCK * rows).enumerate() {
                let columns = turned(load((&raw const (*self.memory).sums[block]).cast()));
                for (t, sums) in sums.chunks_exact_mut(rows).enumerate() {
                    let sum = _mm512_add_ps(columns[t], columns[t + BLOCK]);
                    _mm512_mask_storeu_ps(sums.as_mut_ptr(), there, sum);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn load(tile: *const f32) -> [__m512; TILE] {
    // SAFETY: the caller's tile; AVX-512 is there.
    unsafe {
        let mut rows = [_mm512_setzero_ps(); TILE];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = _mm512_load_ps(tile.add(r * TILE));
        }
        rows
    }
}

/// Zeroes tile `c`, adds the products of `w` and `x` to it and writes it out.
macro_rules! multiply {
    ($c:literal, $a:literal, $b:literal, $w:expr, $x:expr, $to:expr) => {
        asm!(
            concat!("tilezero tmm", $c),
            concat!("tileloadd tmm", $a, ", [{w} + {row}]"),
            concat!("tileloadd tmm", $b, ", [{x} + {row}]"),
            concat!("tdpbusd tmm", $c, ", tmm", $a, ", tmm", $b),
            concat!("tilestored [{to} + {row}], tmm", $c),
            w = in(reg) $w,
            x = in(reg) $x,
            to = in(reg) $to,
            row = in(reg) 4 * TILE,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _,
            options(nostack)
        )
    };
}

impl<R: Nibbles> Few<R> {
    /// Adds the products of a block with the groups that are unpacked, from `g0` on, to its sums.
    #[inline(always)]
    unsafe fn add(&self, block: usize, g0: usize, steps: usize) {
        // SAFETY: the tiles are there; AMX is there and set up.
        unsafe {
            let memory = self.memory;
            let sums = (&raw mut (*memory).sums[block]).cast::<f32>();
            let w = |i: usize| (&raw const (*memory).w[i]).cast::<f32>();
            let product = |i: usize| (&raw mut (*memory).products[i % PRODUCTS]).cast::<i32>();
            let mut acc = if g0 == 0 { [_mm512_setzero_ps(); TILE] } else { load(sums) };
            // Products are scaled when those of the next two groups are under way.
            for i in (0..steps).step_by(2) {
                multiply!("0", "2", "3", w(i), self.x.tile(block, g0 + i), product(i));
                if i + 1 < steps {
                    multiply!("1", "4", "5", w(i + 1), self.x.tile(block, g0 + i + 1), product(i + 1));
                }
                if i > 0 {
                    self.scale(&mut acc, product(i - 2), block, g0 + i - 2);
                    self.scale(&mut acc, product(i - 1), block, g0 + i - 1);
                }
            }
            for i in (steps - 1) / 2 * 2..steps {
                self.scale(&mut acc, product(i), block, g0 + i);
            }
            for (r, acc) in acc.into_iter().enumerate() {
                _mm512_store_ps(sums.add(r * TILE), acc);
            }
        }
    }

    /// Adds the product of group `g`, times the scales of each row and token, and the sums of x times its minimum.
    #[inline(always)]
    unsafe fn scale(&self, acc: &mut [__m512; TILE], product: *const i32, block: usize, g: usize) {
        // SAFETY: the caller's tile; AVX-512 is there.
        unsafe {
            let of_x = self.x.tile(block, g).add(WORDS);
            let (of_x, sums) = (_mm512_loadu_ps(of_x), _mm512_loadu_ps(of_x.add(TILE)));
            let [scales, minimums] =
                [0, 1].map(|i| self.scales.cast::<[__m512; 2]>().add(g).cast::<f32>().add(i * TILE));
            for (r, acc) in acc.iter_mut().enumerate() {
                let product = _mm512_cvtepi32_ps(_mm512_load_si512(product.add(r * TILE).cast()));
                let scale = _mm512_mul_ps(of_x, _mm512_set1_ps(*scales.add(r)));
                *acc = _mm512_fmadd_ps(product, scale, *acc);
                *acc = _mm512_fmadd_ps(sums, _mm512_set1_ps(*minimums.add(r)), *acc);
            }
        }
    }

    /// The next `n` groups from `g0` on of sixteen rows.
    #[inline(always)]
    unsafe fn unpack(&self, rows: &[usize; TILE], g0: usize, n: usize) {
        // SAFETY: the caller's rows are inside of W; AVX-512 and VBMI are there.
        unsafe {
            let tiles = &mut (*self.memory).w;
            for (r, first) in rows.iter().enumerate() {
                for (i, tile) in tiles.iter_mut().enumerate().take(n) {
                    _mm512_store_si512(tile[r * TILE..].as_mut_ptr().cast(), self.r.bytes(first + g0 + i));
                }
            }
        }
    }

    /// Asks for the lines of sixteen groups from `first` on; past the end of the planes it does nothing.
    #[inline(always)]
    unsafe fn ask(&self, first: usize) {
        for (start, bytes) in self.planes {
            let at = start.wrapping_add(first * bytes / TILE);
            for line in (0..bytes).step_by(64) {
                // SAFETY: a prefetch never faults.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(at.wrapping_add(line).cast()) };
            }
        }
    }
}

/// Where eight bits begin that become a byte: those of a lane of sixteen bytes from `start` on, counted in its words of
/// 64 bits.
const fn from_bit(start: i64) -> i64 {
    let (mut all, mut i) = (0, 0);
    while i < 8 {
        all |= ((8 * i + start) & 63) << (8 * i);
        i += 1;
    }
    all
}

/// Bytes that begin at given bits of each lane, of which the lower two keep the lower nibble, the upper two the upper one.
#[inline(always)]
unsafe fn nibbles(bytes: __m512i, starts: [i64; 4]) -> __m512i {
    let [a, b, c, d] = starts;
    let (low, high) = (0x0f0f_0f0f_0f0f_0f0f, 0xf0f0_f0f0_f0f0_f0f0_u64 as i64);
    // SAFETY: AVX-512 and VBMI are there.
    unsafe {
        let starts = _mm512_setr_epi64(a, a, b, b, c, c, d, d);
        let kept = _mm512_setr_epi64(low, low, low, low, high, high, high, high);
        _mm512_and_si512(_mm512_multishift_epi64_epi8(starts, bytes), kept)
    }
}

/// The nibbles of sixteen bytes: the low ones are the first sixteen weights.
#[inline(always)]
unsafe fn low_then_high(p: *const u8) -> __m512i {
    // SAFETY: AVX-512 and VBMI are there; sixteen bytes are readable.
    unsafe {
        let v = _mm512_broadcast_i32x4(_mm_loadu_si128(p.cast()));
        nibbles(v, const { [from_bit(0), from_bit(4), from_bit(-4), from_bit(0)] })
    }
}

impl Nibbles for Q40 {
    #[inline(always)]
    unsafe fn bytes(&self, g: usize) -> __m512i {
        // SAFETY: passed on from the caller.
        unsafe { low_then_high(self.0[0].add(16 * g)) }
    }
}

impl Nibbles for Q41 {
    #[inline(always)]
    unsafe fn bytes(&self, g: usize) -> __m512i {
        // SAFETY: passed on from the caller.
        unsafe { low_then_high(self.0[0].add(16 * g)) }
    }
}

impl Nibbles for Q4K {
    #[inline(always)]
    unsafe fn bytes(&self, g: usize) -> __m512i {
        const LOW: [i64; 4] = [from_bit(0), from_bit(0), from_bit(-4), from_bit(-4)];
        const HIGH: [i64; 4] = [from_bit(4), from_bit(4), from_bit(0), from_bit(0)];
        // SAFETY: passed on from the caller.
        unsafe {
            let q = self.0[0].add(128 * (g / 8) + g % 8 / 2 * 32);
            let v = _mm512_broadcast_i64x4(_mm256_loadu_si256(q.cast()));
            nibbles(v, if g.is_multiple_of(2) { LOW } else { HIGH })
        }
    }
}

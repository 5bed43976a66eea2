//! `matmul_q` and `matmul_gated` of a few tokens with AMX. Quants are small integers, which bf16 holds as they are: tiles
//! multiply those, sixteen rows of a group at a time, and the group's scales come after.

use std::arch::asm;
use std::arch::x86_64::*;

use super::super::{Slot, Team};
use super::amx::{Configured, DEPTH, TILE, WORDS, terms, turned};
use super::dot;
use super::matmul_q::Job;
use super::unpack_avx2::{Q4K, Q40, Q41, Q50, Q80, Registers};
use super::vnni::scales_of_q4_k;
use crate::QuantType;

/// The most tokens: their three terms, which make a whole float, fill the columns of a tile.
const COLUMNS: usize = TILE / 3;
/// Tokens that this form takes: more would need a second tile, and are faster in registers.
const TOKENS: std::ops::RangeInclusive<usize> = 3..=COLUMNS;
/// Groups whose scales are unpacked at a time.
const SCALES: usize = 16;
/// Groups that are multiplied before others are unpacked: what is multiplied shall lie in a first-level cache.
const STEPS: usize = 8;

/// Types whose weights are an integer times the scale of their group, plus a minimum. The methods may be called only where
/// AVX-512 is there.
trait Quants: Registers {
    /// Whether there are minimums.
    const MINIMUMS: bool;

    /// The integers of group `g` as bf16 numbers: weight i and weight i + 16 side by side.
    unsafe fn pairs(&self, g: usize) -> __m512i;

    /// Scales and minimums of `n` groups from `g` on, at most [`SCALES`].
    unsafe fn scales(&self, g: usize, n: usize) -> [__m512; 2];
}

/// Whether it has done the product: types of quants with a scale for 32, and a few tokens it does.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn forward(q: QuantType, job: &Job, s: &[Slot], team: &Team<'_>) -> bool {
    if !TOKENS.contains(&job.tokens()) {
        return false;
    }
    // SAFETY: passed on from the caller.
    unsafe {
        match q {
            QuantType::Q4_0 => run::<Q40>(q, job, s, team),
            QuantType::Q4_1 => run::<Q41>(q, job, s, team),
            QuantType::Q5_0 => run::<Q50>(q, job, s, team),
            QuantType::Q8_0 => run::<Q80>(q, job, s, team),
            QuantType::Q4_K => run::<Q4K>(q, job, s, team),
            _ => return false,
        }
    }
    true
}

/// Four tiles. Which of four a group has is the same in weights, tokens and products: the processor takes a load for one of
/// what was stored shortly before as long as the last twelve bits of their addresses are the same.
#[derive(Clone)]
#[repr(align(4096))]
struct Page([[f32; WORDS]; PAGE]);

impl Page {
    const EMPTY: Self = Self([[0.0; WORDS]; PAGE]);
}

/// Tiles of a page.
const PAGE: usize = 4;

/// A plane of weights: where it begins, and the bytes of [`TILE`] groups.
type Plane = (*const u8, usize);

struct Few<R> {
    r: R,
    planes: [Plane; 4],
    groups: usize,
    x: Columns,
    /// [`STEPS`] groups of sixteen rows of W.
    w: *mut f32,
    /// Scales of the groups of those rows, a row after the other, and minimums.
    scales: *mut f32,
    minimums: *mut f32,
    /// The products of four groups, then the sums.
    out: *mut f32,
    _configured: Configured,
}

/// The tokens as the columns of tiles.
struct Columns {
    /// For each group a tile of the tokens' terms.
    tiles: Vec<Page>,
    /// For each group the sums of the tokens' values.
    sums: Vec<[f32; TILE]>,
}

#[inline(always)]
unsafe fn run<R: Quants>(q: QuantType, job: &Job, s: &[Slot], team: &Team<'_>) {
    let p = &job.p;
    let (tokens, groups) = (job.tokens(), p.k as usize / DEPTH);
    let layout = q.layout();
    // SAFETY: the contract of `cpu::run`.
    unsafe {
        let start = p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast::<u8>());
        let bytes = |i: usize| layout.fields.get(i).map_or(0, |f| f.bytes * TILE * DEPTH / layout.weights);
        let x = s[0].f32()[p.x_offset as usize..].as_ptr();
        let (mut w, mut out) = ([Page::EMPTY; STEPS / PAGE], [Page::EMPTY; 2]);
        let mut scales = vec![0.0f32; 2 * TILE * groups.next_multiple_of(SCALES)];
        let (scales, minimums) = scales.split_at_mut(TILE * groups.next_multiple_of(SCALES));
        let few = Few {
            r: R::over(start),
            planes: std::array::from_fn(|i| (start[i], bytes(i))),
            groups,
            x: Columns::new(x, p.x_stride as usize, tokens, groups),
            w: w.as_mut_ptr().cast(),
            scales: scales.as_mut_ptr(),
            minimums: minimums.as_mut_ptr(),
            out: out.as_mut_ptr().cast(),
            _configured: Configured::new(),
        };
        dot::rows::<true, _>(job, s, team, &few);
    }
}

impl Columns {
    #[inline(always)]
    unsafe fn new(x: *const f32, stride: usize, tokens: usize, groups: usize) -> Self {
        let mut columns = Self { tiles: vec![Page::EMPTY; groups.div_ceil(PAGE)], sums: vec![[0.0; TILE]; groups] };
        for (g, sums) in columns.sums.iter_mut().enumerate() {
            // SAFETY: the caller's tokens; AVX-512 is there.
            unsafe {
                let mut rows = [_mm512_setzero_ps(); TILE];
                for t in 0..tokens {
                    let at = x.add(t * stride + g * DEPTH);
                    let (low, high) = (_mm512_loadu_ps(at), _mm512_loadu_ps(at.add(TILE)));
                    sums[t] = _mm512_reduce_add_ps(_mm512_add_ps(low, high));
                    [rows[t], rows[t + COLUMNS], rows[t + 2 * COLUMNS]] = terms(low, high);
                }
                put(&mut columns.tiles[g / PAGE].0[g % PAGE], turned(rows));
            }
        }
        columns
    }

    /// The tile of a group, those of the next ones, and its sums.
    #[inline(always)]
    fn of(&self, g: usize) -> (*const f32, &[[f32; TILE]]) {
        (self.tiles[g / PAGE].0[g % PAGE].as_ptr(), &self.sums[g..])
    }
}

#[inline(always)]
unsafe fn put(tile: &mut [f32; WORDS], rows: [__m512; TILE]) {
    for (row, to) in rows.into_iter().zip(tile.chunks_exact_mut(TILE)) {
        // SAFETY: sixteen words; AVX-512 is there.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), row) };
    }
}

/// Zeroes tile `c`, adds the products of `w` and `x` to it and writes it out.
macro_rules! multiply {
    ($c:literal, $a:literal, $b:literal, $w:expr, $x:expr, $to:expr) => {
        asm!(
            concat!("tilezero tmm", $c),
            concat!("tileloadd tmm", $a, ", [{w} + {row}]"),
            concat!("tileloadd tmm", $b, ", [{x} + {row}]"),
            concat!("tdpbf16ps tmm", $c, ", tmm", $a, ", tmm", $b),
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

impl<R: Quants> dot::Dots for Few<R> {
    const ROWS: usize = TILE;
    const BY_TOKENS: bool = true;

    #[inline(always)]
    unsafe fn dots(&self, first: usize, rows: usize, sums: &mut [f32]) {
        // SAFETY: the caller's rows are inside of W; AMX is there and set up, and there is room for tiles and scales.
        unsafe {
            let first = first / DEPTH;
            self.unpack_scales(first, rows);
            for g0 in (0..self.groups).step_by(STEPS) {
                self.unpack(first, rows, g0);
                self.add(g0);
            }
            let there = ((1u32 << rows) - 1) as __mmask16;
            let columns = turned(load(self.out.add(PAGE * WORDS)));
            for (t, sums) in sums.chunks_exact_mut(rows).enumerate() {
                let sum = _mm512_add_ps(columns[t], _mm512_add_ps(columns[t + COLUMNS], columns[t + 2 * COLUMNS]));
                _mm512_mask_storeu_ps(sums.as_mut_ptr(), there, sum);
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

impl<R: Quants> Few<R> {
    /// Adds the products of the groups from `g0` on that are unpacked to the sums.
    #[inline(always)]
    unsafe fn add(&self, g0: usize) {
        let steps = STEPS.min(self.groups - g0);
        let (x, sums) = self.x.of(g0);
        // SAFETY: the tiles are there; AMX is there and set up.
        unsafe {
            let (c, sum) = (self.out, self.out.add(PAGE * WORDS));
            let mut acc = if g0 == 0 { [_mm512_setzero_ps(); TILE] } else { load(sum) };
            // Products are scaled when those of the next two groups are under way.
            for i in (0..steps).step_by(2) {
                let (w, x) = (self.w.add(i * WORDS), x.add(i * WORDS));
                let (now, before) = (c.add((i & 2) * WORDS), c.add((i & 2 ^ 2) * WORDS));
                multiply!("0", "2", "3", w, x, now);
                if i + 1 < steps {
                    multiply!("1", "4", "5", w.add(WORDS), x.add(WORDS), now.add(WORDS));
                }
                if i > 0 {
                    self.scale(&mut acc, before, g0 + i - 2, &sums[i - 2]);
                    self.scale(&mut acc, before.add(WORDS), g0 + i - 1, &sums[i - 1]);
                }
            }
            let last = (steps - 1) / 2 * 2;
            for (i, sums) in (last..steps).zip(&sums[last..]) {
                self.scale(&mut acc, c.add(i % PAGE * WORDS), g0 + i, sums);
            }
            for (r, acc) in acc.into_iter().enumerate() {
                _mm512_store_ps(sum.add(r * TILE), acc);
            }
        }
    }

    /// Adds the product of a group, times the scale of each row, and the sums of x times its minimum.
    #[inline(always)]
    unsafe fn scale(&self, acc: &mut [__m512; TILE], product: *const f32, g: usize, sums: &[f32; TILE]) {
        let stride = self.groups.next_multiple_of(SCALES);
        // SAFETY: the caller's tile; AVX-512 is there.
        unsafe {
            let sums = _mm512_loadu_ps(sums.as_ptr());
            for (r, acc) in acc.iter_mut().enumerate() {
                let scale = _mm512_set1_ps(*self.scales.add(r * stride + g));
                *acc = _mm512_fmadd_ps(_mm512_load_ps(product.add(r * TILE)), scale, *acc);
                if R::MINIMUMS {
                    *acc = _mm512_fmadd_ps(sums, _mm512_set1_ps(*self.minimums.add(r * stride + g)), *acc);
                }
            }
        }
    }

    /// The next groups from `g0` on of sixteen rows, the first of which begins at group `first`; rows that are not there repeat the
    /// last one.
    #[inline(always)]
    unsafe fn unpack(&self, first: usize, rows: usize, g0: usize) {
        // SAFETY: the caller's rows are inside of W; there is room for their tiles.
        unsafe {
            for g in g0..self.groups.min(g0 + STEPS) {
                // The same share of the rows that come next.
                self.ask(first + TILE * (self.groups + g));
                let mut at = first + g;
                for r in 0..TILE {
                    _mm512_store_si512(self.w.add((g - g0) * WORDS + r * TILE).cast(), self.r.pairs(at));
                    at += if r + 1 < rows { self.groups } else { 0 };
                }
            }
        }
    }

    /// The scales of all groups of those rows, and the minimums.
    #[inline(always)]
    unsafe fn unpack_scales(&self, first: usize, rows: usize) {
        let stride = self.groups.next_multiple_of(SCALES);
        // SAFETY: the caller's rows are inside of W; there is room for their scales and minimums.
        unsafe {
            for r in 0..TILE {
                for g in (0..self.groups).step_by(SCALES) {
                    let at = first + r.min(rows - 1) * self.groups + g;
                    let [scale, minimum] = self.r.scales(at, SCALES.min(self.groups - g));
                    _mm512_storeu_ps(self.scales.add(r * stride + g), scale);
                    if R::MINIMUMS {
                        _mm512_storeu_ps(self.minimums.add(r * stride + g), minimum);
                    }
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

/// bf16 numbers of the integers from `first` on, `N` of them over and over: what stands above the bits of an index does
/// not matter then.
const fn integers<const N: usize>(first: i32) -> [u16; 32] {
    let mut table = [0; 32];
    let mut i = 0;
    while i < 32 {
        table[i] = (((i % N) as i32 + first) as f32).to_bits().wrapping_shr(16) as u16;
        i += 1;
    }
    table
}

/// Nibbles less 8.
static NIBBLES: [u16; 32] = integers::<16>(-8);
/// Five bits less 16.
static FIVE_BITS: [u16; 32] = integers::<32>(-16);

/// The entries of a table at indices in the low bits of words.
#[inline(always)]
unsafe fn look_up(table: &[u16; 32], indices: __m512i) -> __m512i {
    // SAFETY: AVX-512 is there.
    unsafe { _mm512_permutexvar_epi16(indices, _mm512_loadu_si512(table.as_ptr().cast())) }
}

/// Sixteen bytes in words of 32 bits: the low nibble of each at the bottom of the low half, the high one of the high half.
#[inline(always)]
unsafe fn nibble_pairs(p: *const u8) -> __m512i {
    // SAFETY: AVX-512 is there; sixteen bytes are readable.
    unsafe {
        let v = _mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast()));
        _mm512_or_si512(v, _mm512_slli_epi32::<12>(v))
    }
}

/// `n` halves as floats, zeros after them.
#[inline(always)]
unsafe fn halves(p: *const u8, n: usize) -> __m512 {
    // SAFETY: AVX-512 is there; only halves that are there are read.
    unsafe { _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(((1u32 << n) - 1) as __mmask16, p.cast())) }
}

impl Quants for Q40 {
    const MINIMUMS: bool = false;

    #[inline(always)]
    unsafe fn pairs(&self, g: usize) -> __m512i {
        // SAFETY: passed on from the caller.
        unsafe { look_up(&NIBBLES, nibble_pairs(self.0[0].add(16 * g))) }
    }

    #[inline(always)]
    unsafe fn scales(&self, g: usize, n: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe { [halves(self.0[1].add(2 * g), n), _mm512_setzero_ps()] }
    }
}

/// d q + m = d (q − 8) + (m + 8 d).
impl Quants for Q41 {
    const MINIMUMS: bool = true;

    #[inline(always)]
    unsafe fn pairs(&self, g: usize) -> __m512i {
        // SAFETY: passed on from the caller.
        unsafe { look_up(&NIBBLES, nibble_pairs(self.0[0].add(16 * g))) }
    }

    #[inline(always)]
    unsafe fn scales(&self, g: usize, n: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller; only pairs that are there are read.
        unsafe {
            let there = ((1u32 << n) - 1) as __mmask16;
            let both = _mm512_maskz_loadu_epi32(there, self.0[1].add(4 * g).cast());
            let d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(both));
            let m = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(both)));
            [d, _mm512_fmadd_ps(d, _mm512_set1_ps(8.0), m)]
        }
    }
}

impl Quants for Q50 {
    const MINIMUMS: bool = false;

    #[inline(always)]
    unsafe fn pairs(&self, g: usize) -> __m512i {
        // SAFETY: passed on from the caller.
        unsafe {
            let bits = self.0[1].add(4 * g).cast::<u32>().read_unaligned();
            let q = _mm512_and_si512(nibble_pairs(self.0[0].add(16 * g)), _mm512_set1_epi32(0x000f_000f));
            let q = _mm512_mask_or_epi32(q, bits as __mmask16, q, _mm512_set1_epi32(16));
            let q = _mm512_mask_or_epi32(q, (bits >> 16) as __mmask16, q, _mm512_set1_epi32(16 << 16));
            look_up(&FIVE_BITS, q)
        }
    }

    #[inline(always)]
    unsafe fn scales(&self, g: usize, n: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe { [halves(self.0[2].add(2 * g), n), _mm512_setzero_ps()] }
    }
}

impl Quants for Q80 {
    const MINIMUMS: bool = false;

    #[inline(always)]
    unsafe fn pairs(&self, g: usize) -> __m512i {
        // SAFETY: passed on from the caller.
        unsafe {
            let q = self.0[0].add(32 * g);
            let (low, high) = (_mm_loadu_si128(q.cast()), _mm_loadu_si128(q.add(16).cast()));
            let low = _mm512_castps_si512(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(low)));
            let high = _mm512_castps_si512(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(high)));
            _mm512_or_si512(_mm512_srli_epi32::<16>(low), high)
        }
    }

    #[inline(always)]
    unsafe fn scales(&self, g: usize, n: usize) -> [__m512; 2] {
        // SAFETY: passed on from the caller.
        unsafe { [halves(self.0[1].add(2 * g), n), _mm512_setzero_ps()] }
    }
}

/// d s q − dmin m = d s (q − 8) + (8 d s − dmin m).
impl Quants for Q4K {
    const MINIMUMS: bool = true;

    #[inline(always)]
    unsafe fn pairs(&self, g: usize) -> __m512i {
        // SAFETY: passed on from the caller.
        unsafe {
            let q = self.0[0].add(128 * (g / 8) + g % 8 / 2 * 32);
            let low = _mm512_cvtepu8_epi32(_mm_loadu_si128(q.cast()));
            let high = _mm512_cvtepu8_epi32(_mm_loadu_si128(q.add(16).cast()));
            let both = _mm512_or_si512(low, _mm512_slli_epi32::<16>(high));
            look_up(&NIBBLES, _mm512_srl_epi32(both, _mm_cvtsi32_si128(g as i32 % 2 * 4)))
        }
    }

    #[inline(always)]
    unsafe fn scales(&self, g: usize, n: usize) -> [__m512; 2] {
        // Groups come by whole super-blocks of eight: one or two of them.
        // SAFETY: passed on from the caller; AVX-512 is there.
        unsafe {
            let first = scales_of_q4_k(self.0[1].add(16 * (g / 8)));
            let next = if n > 8 { scales_of_q4_k(self.0[1].add(16 * (g / 8 + 1))) } else { _mm512_setzero_ps() };
            let evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odds = _mm512_add_epi32(evens, _mm512_set1_epi32(1));
            let scales = _mm512_permutex2var_ps(first, evens, next);
            let minimums = _mm512_permutex2var_ps(first, odds, next);
            [scales, _mm512_fmadd_ps(scales, _mm512_set1_ps(8.0), minimums)]
        }
    }
}

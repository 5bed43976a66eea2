//! `matmul_q` and `matmul_gated` of a few tokens with AMX. Quants are nibbles times the scale of their group, plus a
//! minimum; tokens are integers. Tiles multiply bytes: eight tokens with a group of sixteen rows, and the scales come after.

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::super::{Slot, Team};
use super::amx_tiles::{Configured, DEPTH, TILE, WORDS, put};
use super::amx_tokens::{BLOCK, TOKENS, Tokens};
use super::dot;
use super::matmul_q::Job;
use super::scales_avx512::{SCALES, Scales};
use super::turn_avx512::quarters;
use super::unpack_avx2::{Q4K, Q40, Q41};
use crate::QuantType;

/// Blocks that there may be.
const BLOCKS: usize = TOKENS.end().div_ceil(BLOCK);
/// Tiles of rows of W that meet a tile of tokens.
const HALVES: usize = 2;
/// Groups that all blocks are multiplied with before others are unpacked: they shall lie in a first-level cache.
const STEPS: usize = 8;
/// Groups that are kept where there is one block.
const KEPT: usize = 2;
/// Steps whose products wait to be scaled.
const PRODUCTS: usize = 2;
const _: () = assert!(STEPS.is_power_of_two() && KEPT.is_power_of_two() && KEPT <= STEPS);

/// Types whose weights are a nibble times the scale of their group, plus a minimum. The methods may be called only where
/// AVX-512 is there.
trait Nibbles: Scales {
    /// Group `g` of sixteen rows, whose first groups are given, in the order of [`Tokens`]: of each four weights the nibbles of
    /// all rows as bytes, then sixteen times the same.
    unsafe fn columns(&self, rows: &[usize; TILE], g: usize) -> [__m512i; TILE];
}

/// Whether it has done the product: types of nibbles with a scale for 32, a few tokens, and at least as many rows as are
/// multiplied at a time it does.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
pub(super) unsafe fn forward(q: QuantType, job: &Job<'_>, s: &[Slot], team: &Team<'_>) -> bool {
    let Some(last) = job.last(HALVES * TILE).filter(|_| TOKENS.contains(&job.tokens())) else {
        return false;
    };
    // SAFETY: passed on from the caller.
    unsafe {
        match q {
            QuantType::Q4_0 => run::<Q40>(q, job, last, s, team),
            QuantType::Q4_1 => run::<Q41>(q, job, last, s, team),
            QuantType::Q4_K => run::<Q4K>(q, job, last, s, team),
            _ => return false,
        }
    }
    true
}

#[inline(always)]
unsafe fn run<R: Nibbles>(q: QuantType, job: &Job<'_>, last: usize, s: &[Slot], team: &Team<'_>) {
    let p = &job.p;
    let (tokens, groups) = (job.tokens(), p.k as usize / DEPTH);
    let blocks = tokens.div_ceil(BLOCK);
    let layout = q.layout();
    // SAFETY: the contract of `cpu::run`.
    unsafe {
        let planes = p.planes.map(|at| s[1].u32()[at as usize..].as_ptr().cast::<u8>());
        let bytes = |i: usize| layout.fields.get(i).map_or(0, |f| f.bytes * TILE * DEPTH / layout.weights);
        // Nothing of it is read before it is written.
        let mut memory = MaybeUninit::<Memory>::uninit();
        let mut scales = vec![[[_mm512_setzero_ps(); 2]; SCALES]; HALVES * groups.div_ceil(SCALES)];
        let few = Few {
            r: R::over(planes),
            planes: std::array::from_fn(|i| (planes[i], bytes(i))),
            groups,
            last: last * groups,
            blocks,
            kept: if blocks == 1 { KEPT } else { STEPS } - 1,
            x: Tokens::of(p, s[0].f32()),
            memory: memory.as_mut_ptr(),
            scales: scales.as_mut_ptr(),
            _configured: Configured::new(),
        };
        dot::rows(job, s, team, &few);
    }
}

/// What a thread needs of its own.
#[repr(align(64))]
struct Memory {
    /// Tiles of the groups that are unpacked.
    w: [[[f32; WORDS]; HALVES]; STEPS],
    products: [[[i32; WORDS]; HALVES]; PRODUCTS],
    /// The sums of each block.
    sums: [[[f32; TILE]; BLOCK * HALVES]; BLOCKS],
}

/// A plane of weights: where it begins, and the bytes of [`TILE`] groups.
type Plane = (*const u8, usize);

struct Few<R> {
    r: R,
    planes: [Plane; 4],
    groups: usize,
    /// The first group of the last rows that are as many as are multiplied at a time.
    last: usize,
    blocks: usize,
    /// As many groups as are kept, a power of two, less one: a mask.
    kept: usize,
    x: Tokens,
    memory: *mut Memory,
    /// Scales and minimums of sixteen rows, group by group; then those of the next sixteen.
    scales: *mut [[__m512; 2]; SCALES],
    _configured: Configured,
}

/// Sums of the tokens of a block: of sixteen rows, then of the next sixteen.
type Sums = [[__m512; BLOCK]; HALVES];

impl<R: Nibbles> dot::Dots for Few<R> {
    const ROWS: usize = HALVES * TILE;
    const BY_TOKENS: bool = true;

    #[inline(always)]
    unsafe fn dots(&self, first: usize, rows: usize, sums: &mut [f32]) {
        // SAFETY: the caller's rows are inside of W, and so are those before them back to the product's first; AMX is there and
        // set up.
        unsafe {
            // Where fewer rows are left, some before them are multiplied again.
            let wanted = first / DEPTH;
            let first = wanted.min(self.last);
            let again = (wanted - first) / self.groups;
            debug_assert!(again + rows <= HALVES * TILE, "rows outside of W");
            // A tile is not to be loaded right behind its stores.
            self.unpack(first, 0, 0);
            for half in 0..HALVES {
                for g in (0..self.groups).step_by(SCALES) {
                    let to = self.scales.add(half * self.groups.div_ceil(SCALES) + g / SCALES);
                    let rows = self.rows(first, half).map(|row| row + g);
                    self.r.scales(rows, SCALES.min(self.groups - g), &mut *to);
                }
            }
            // One block takes all groups at once; more take turns.
            let most = if self.blocks == 1 { self.groups } else { STEPS };
            for g0 in (0..self.groups).step_by(most) {
                let steps = most.min(self.groups - g0);
                for block in 0..self.blocks {
                    self.add(block, g0, steps, (block == 0).then_some(first));
                }
            }
            for (block, sums) in sums.chunks_mut(BLOCK * rows).enumerate() {
                let all = (&raw const (*self.memory).sums[block]).cast::<Sums>();
                for (t, sums) in sums.chunks_exact_mut(rows).enumerate() {
                    put(sums, again, &[(*all)[0][t], (*all)[1][t]]);
                }
            }
        }
    }
}

/// Row `r` of a product.
#[inline(always)]
unsafe fn row(product: *const i32, r: usize) -> __m512 {
    // SAFETY: AVX-512 is there; the caller's product, too.
    unsafe { _mm512_cvtepi32_ps(_mm512_load_si512(product.add(r * TILE).cast())) }
}

impl<R: Nibbles> Few<R> {
    /// The first groups of a half of the rows that begin with group `first`.
    #[inline(always)]
    fn rows(&self, first: usize, half: usize) -> [usize; TILE] {
        std::array::from_fn(|r| first + (half * TILE + r) * self.groups)
    }

    /// Adds the products of a block with `steps` groups from `g0` on to its sums; unpacks them for it where the rows' first
    /// group is given.
    ///
    /// What a step begins the next one writes out, and the one after that scales: what waits for a product shall not hold up
    /// what does not.
    #[inline(always)]
    unsafe fn add(&self, block: usize, g0: usize, steps: usize, first: Option<usize>) {
        // SAFETY: the groups are there; AMX is there and set up.
        unsafe {
            let sums = (&raw mut (*self.memory).sums[block]).cast::<Sums>();
            let mut acc = if g0 == 0 { [[_mm512_setzero_ps(); BLOCK]; HALVES] } else { *sums };
            if let Some(first) = first.filter(|_| g0 > 0) {
                self.unpack(first, g0, 0);
            }
            for i in 0..steps {
                if i > 0 {
                    self.write(i - 1);
                }
                self.multiply(block, g0, i);
                if let Some(first) = first {
                    // The same share of the rows that come next.
                    self.ask(first + HALVES * TILE * (self.groups + g0 + i));
                    if i + 1 < steps {
                        self.unpack(first, g0, i + 1);
                    }
                }
                if i > 1 {
                    self.scale(&mut acc, block, g0, i - 2);
                }
            }
            self.write(steps - 1);
            for i in steps.saturating_sub(2)..steps {
                self.scale(&mut acc, block, g0, i);
            }
            *sums = acc;
        }
    }

    /// Where step `i` has its tiles of weights.
    #[inline(always)]
    unsafe fn w(&self, i: usize) -> *mut f32 {
        // SAFETY: the memory is there.
        unsafe { (&raw mut (*self.memory).w[i & self.kept]).cast() }
    }

    /// Where step `i` leaves its products.
    #[inline(always)]
    unsafe fn products(&self, i: usize) -> *mut [[i32; WORDS]; HALVES] {
        // SAFETY: as above.
        unsafe { &raw mut (*self.memory).products[i % PRODUCTS] }
    }

    /// Begins the products of a block with step `i` of the groups from `g0` on, in tiles 0 and 1. They keep them until
    /// [`Few::write`]: the compiler itself uses no tiles.
    #[inline(always)]
    unsafe fn multiply(&self, block: usize, g0: usize, i: usize) {
        // SAFETY: the tiles are there; AMX is there and set up.
        unsafe {
            // As few registers as there can be: see `amx_tiles`.
            asm!(
                "tileloadd tmm2, [{x} + {row}]",
                "tileloadd tmm3, [{w} + {row}]",
                "tilezero tmm0",
                "tdpbsud tmm0, tmm2, tmm3",
                "tileloadd tmm3, [{w} + {row} + 1024]",
                "tilezero tmm1",
                "tdpbsud tmm1, tmm2, tmm3",
                x = in(reg) self.x.tile(block, g0 + i),
                w = in(reg) self.w(i),
                row = in(reg) 4 * TILE,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                options(nostack)
            );
        }
    }

    /// Writes the products of step `i` out.
    #[inline(always)]
    unsafe fn write(&self, i: usize) {
        // SAFETY: the products were begun; AMX is there and set up.
        unsafe {
            asm!(
                "tilestored [{to} + {row}], tmm0",
                "tilestored [{to} + {row} + 1024], tmm1",
                to = in(reg) self.products(i),
                row = in(reg) 4 * TILE,
                options(nostack)
            );
        }
    }

    /// Adds the products of step `i` times the scales of rows and tokens, and what their minimums add.
    #[inline(always)]
    unsafe fn scale(&self, acc: &mut Sums, block: usize, g0: usize, i: usize) {
        // SAFETY: the products were written; AVX-512 is there.
        unsafe {
            let scales_of_x = self.x.tile(block, g0 + i).add(WORDS);
            let sums_of_x = scales_of_x.add(BLOCK);
            let products = self.products(i).cast::<i32>();
            let of =
                |half: usize| self.scales.add(half * self.groups.div_ceil(SCALES)).cast::<[__m512; 2]>().add(g0 + i);
            let scales: [[__m512; 2]; HALVES] = [*of(0), *of(1)];
            // Token by token: what belongs to it serves both halves, and is not to be kept.
            for t in 0..BLOCK {
                let (of_x, sum_of_x) = (_mm512_set1_ps(*scales_of_x.add(t)), _mm512_set1_ps(*sums_of_x.add(t)));
                for (half, acc) in acc.iter_mut().enumerate() {
                    let products = products.add(half * WORDS);
                    let product = _mm512_fmadd_ps(row(products, t), _mm512_set1_ps(4096.0), row(products, BLOCK + t));
                    let [scale, minimum] = scales[half];
                    let sum = _mm512_fmadd_ps(product, scale, _mm512_mul_ps(minimum, sum_of_x));
                    acc[t] = _mm512_fmadd_ps(sum, of_x, acc[t]);
                }
            }
        }
    }

    /// Unpacks step `i` of the groups from `g0` on, of the rows from group `first` on.
    #[inline(always)]
    unsafe fn unpack(&self, first: usize, g0: usize, i: usize) {
        // SAFETY: the caller's rows are inside of W; AVX-512 is there.
        unsafe {
            let to = self.w(i);
            for half in 0..HALVES {
                // By reference: arrays of registers that are moved are copied.
                for (r, bytes) in self.r.columns(&self.rows(first, half), g0 + i).iter().enumerate() {
                    _mm512_store_si512(to.add(half * WORDS + r * TILE).cast(), *bytes);
                }
            }
        }
    }

    /// Asks for the lines of as many groups as a step has, from `first` on; past the end of the planes it does nothing.
    #[inline(always)]
    unsafe fn ask(&self, first: usize) {
        for (start, bytes) in self.planes {
            let at = start.wrapping_add(first * bytes / TILE);
            for line in (0..HALVES * bytes).step_by(64) {
                // SAFETY: a prefetch never faults.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(at.wrapping_add(line).cast()) };
            }
        }
    }
}

/// The lower nibbles of bytes, then sixteen times the same.
#[inline(always)]
unsafe fn lower(bytes: __m512i) -> [__m512i; 2] {
    // SAFETY: AVX-512 is there.
    unsafe {
        let upper = _mm512_set1_epi8(0xf0_u8 as i8);
        [_mm512_andnot_si512(upper, bytes), _mm512_and_si512(upper, _mm512_slli_epi16::<4>(bytes))]
    }
}

/// The upper nibbles of bytes, then sixteen times the same.
#[inline(always)]
unsafe fn upper(bytes: __m512i) -> [__m512i; 2] {
    // SAFETY: AVX-512 is there.
    unsafe {
        let upper = _mm512_set1_epi8(0xf0_u8 as i8);
        [_mm512_andnot_si512(upper, _mm512_srli_epi16::<4>(bytes)), _mm512_and_si512(upper, bytes)]
    }
}

/// Groups of sixteen bytes: the low nibbles are the first sixteen weights.
#[inline(always)]
unsafe fn low_then_high(plane: *const u8, rows: &[usize; TILE], g: usize) -> [__m512i; TILE] {
    // SAFETY: passed on from the caller.
    unsafe {
        let mut all = [_mm512_setzero_si512(); TILE];
        for (i, bytes) in quarters(rows, 16, plane.add(16 * g)).into_iter().enumerate() {
            [all[4 * i], all[4 * i + 1]] = lower(bytes);
            [all[4 * i + 2], all[4 * i + 3]] = upper(bytes);
        }
        all
    }
}

impl Nibbles for Q40 {
    #[inline(always)]
    unsafe fn columns(&self, rows: &[usize; TILE], g: usize) -> [__m512i; TILE] {
        // SAFETY: passed on from the caller.
        unsafe { low_then_high(self.0[0], rows, g) }
    }
}

impl Nibbles for Q41 {
    #[inline(always)]
    unsafe fn columns(&self, rows: &[usize; TILE], g: usize) -> [__m512i; TILE] {
        // SAFETY: passed on from the caller.
        unsafe { low_then_high(self.0[0], rows, g) }
    }
}

/// Two groups share 32 bytes: the low nibbles are the first one.
impl Nibbles for Q4K {
    #[inline(always)]
    unsafe fn columns(&self, rows: &[usize; TILE], g: usize) -> [__m512i; TILE] {
        // SAFETY: passed on from the caller; a row is whole super-blocks of eight groups.
        unsafe {
            let mut all = [_mm512_setzero_si512(); TILE];
            for half in 0..2 {
                let at = self.0[0].add(128 * (g / 8) + g % 8 / 2 * 32 + 16 * half);
                for (i, bytes) in quarters(rows, 16, at).into_iter().enumerate() {
                    let both = if g.is_multiple_of(2) { lower(bytes) } else { upper(bytes) };
                    [all[4 * i + 2 * half], all[4 * i + 2 * half + 1]] = both;
                }
            }
            all
        }
    }
}

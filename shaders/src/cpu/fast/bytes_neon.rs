//! The quantized types as bytes and scales in NEON, 32 weights at a time: all that products on ARM know of them.

use std::arch::aarch64::*;

use super::unpack::{q3_k_scales, six_bits};
use crate::quant::LEVELS;

/// Where the planes of a matrix begin.
pub(super) type Planes = [*const u8; 4];

/// Groups of 32 weights, `w = d q + m`. Integers that a file has without a sign are taken from their middle, and m with them:
/// so what d q and m come to in a sum is not the small difference of large numbers.
pub(crate) trait Bytes: Copy {
    /// Whether the halves of a group are scaled by themselves; where not, both have the same scales.
    const HALVES: bool = false;
    /// Whether m may be other than zero.
    const MINIMUMS: bool = false;

    /// The integers of group `g`, its halves one after the other.
    ///
    /// # Safety
    /// The group is inside of the planes.
    unsafe fn bytes(p: &Planes, g: usize) -> [int8x16_t; 2];

    /// The scales of `n` groups from `g` on, at most four. Where a super-block's are packed together, `g` is a multiple of four.
    ///
    /// # Safety
    /// The groups are inside of the planes.
    unsafe fn scales(p: &Planes, g: usize, n: usize) -> Scales;
}

/// What four groups are scaled by, those that are not there by zero.
#[derive(Clone, Copy)]
pub(crate) struct Scales {
    /// d of the first halves and of the second.
    pub(super) d: [float32x4_t; 2],
    /// m, likewise.
    pub(super) m: [float32x4_t; 2],
}

impl Scales {
    /// Those of whole groups without minimums.
    #[inline(always)]
    fn of(d: float32x4_t) -> Self {
        // SAFETY: every processor of the target has NEON.
        Self::whole(d, unsafe { vdupq_n_f32(0.0) })
    }

    /// Those of whole groups.
    #[inline(always)]
    fn whole(d: float32x4_t, m: float32x4_t) -> Self {
        Self { d: [d; 2], m: [m; 2] }
    }

    /// The same of integers that are less by `middle`.
    #[inline(always)]
    fn centred(self, middle: f32) -> Self {
        let m = |i: usize| {
            // SAFETY: every processor of the target has NEON.
            unsafe { vfmaq_n_f32(self.m[i], self.d[i], middle) }
        };
        Self { m: [m(0), m(1)], ..self }
    }
}

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident $(, $what:ident)*;
        |$p:ident, $g:ident| $bytes:expr;
        |$q:ident, $h:ident, $n:pat_param| $scales:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name;

        impl Bytes for $name {
            $(const $what: bool = true;)*

            #[inline(always)]
            unsafe fn bytes($p: &Planes, $g: usize) -> [int8x16_t; 2] {
                // SAFETY: passed on from the caller.
                unsafe { $bytes }
            }

            #[inline(always)]
            unsafe fn scales($q: &Planes, $h: usize, $n: usize) -> Scales {
                // SAFETY: passed on from the caller.
                unsafe { $scales }
            }
        }
    )*};
}

types! {
    /// d (q − 8).
    Q40;
    |p, g| less(nibbles(p[0].add(16 * g)), 8);
    |p, g, n| Scales::of(halves(p[1].add(2 * g), n));

    /// d q + m.
    Q41, MINIMUMS;
    |p, g| less(nibbles(p[0].add(16 * g)), 8);
    |p, g, n| {
        let [d, m] = pairs(p[1].add(4 * g), n);
        Scales::whole(d, m).centred(8.0)
    };

    /// d (q − 16) with a plane of fifth bits.
    Q50;
    |p, g| less(or(nibbles(p[0].add(16 * g)), fifth_bits(p[1].add(4 * g))), 16);
    |p, g, n| Scales::of(halves(p[2].add(2 * g), n));

    /// d q + m with a plane of fifth bits.
    Q51, MINIMUMS;
    |p, g| less(or(nibbles(p[0].add(16 * g)), fifth_bits(p[1].add(4 * g))), 16);
    |p, g, n| {
        let [d, m] = pairs(p[2].add(4 * g), n);
        Scales::whole(d, m).centred(16.0)
    };

    /// d q.
    Q80;
    |p, g| {
        let q = p[0].add(32 * g).cast();
        [vld1q_s8(q), vld1q_s8(q.add(16))]
    };
    |p, g, n| Scales::of(halves(p[1].add(2 * g), n));

    /// d times one of sixteen levels.
    Iq4Nl;
    |p, g| {
        let levels = vld1q_s8(LEVELS.as_ptr());
        nibbles(p[0].add(16 * g)).map(|q| vqtbl1q_s8(levels, q))
    };
    |p, g, n| Scales::of(halves(p[1].add(2 * g), n));

    /// Super-blocks of eight groups: d s q − dmin m, a byte of s and m for each half of one.
    Q2K, HALVES, MINIMUMS;
    |p, g| {
        let (block, i) = (g / 8, g % 8);
        less(two_bits(p[0].add(64 * block + 32 * (i / 4)), i % 4 * 2), 2)
    };
    |p, g, _| {
        let (both, head) = (vld1_u8(p[1].add(2 * g)), p[2].add(4 * (g / 8)));
        let (s, m) = (vand_u8(both, vdup_n_u8(15)), vshr_n_u8::<4>(both));
        let scaled = |bytes, by| even_and_odd(vreinterpret_s8_u8(bytes)).map(|v| vmulq_n_f32(v, by));
        Scales { d: scaled(s, half(head)), m: scaled(m, -half(head.add(2))) }.centred(2.0)
    };

    /// Super-blocks of eight groups, six bits of scale for each half of one: d (s − 32) q, and a clear high bit means −4.
    Q3K, HALVES;
    |p, g| {
        let (block, i) = (g / 8, g % 8);
        let low = two_bits(p[0].add(64 * block + 32 * (i / 4)), i % 4 * 2);
        less(or(low, where_set(p[1].add(32 * block), i, 4)), 4)
    };
    |p, g, _| {
        let s = q3_k_scales(p[2].add(12 * (g / 8)), g / 4 % 2 == 1);
        let s = vsub_s8(vcreate_s8(s), vdup_n_s8(32));
        let d = half(p[3].add(2 * (g / 8)));
        Scales { d: even_and_odd(s).map(|s| vmulq_n_f32(s, d)), m: [vdupq_n_f32(0.0); 2] }
    };

    /// Super-blocks of eight groups: d s q − dmin m.
    Q4K, MINIMUMS;
    |p, g| less(shared_nibbles(p[0].add(128 * (g / 8)), g % 8), 8);
    |p, g, _| scales_and_minimums(p[1].add(16 * (g / 8)), g % 8 >= 4).centred(8.0);

    /// As [`Q4K`] with a plane of fifth bits.
    Q5K, MINIMUMS;
    |p, g| {
        let (block, i) = (g / 8, g % 8);
        less(or(shared_nibbles(p[0].add(128 * block), i), where_set(p[1].add(32 * block), i, 16)), 16)
    };
    |p, g, _| scales_and_minimums(p[2].add(16 * (g / 8)), g % 8 >= 4).centred(16.0);

    /// Super-blocks of eight groups, a signed scale for each half of one: d s (q − 32).
    Q6K, HALVES;
    |p, g| {
        let (block, i) = (g / 8, g % 8);
        let (part, run) = (i / 4, i % 4);
        let q = p[0].add(128 * block + 64 * part + run % 2 * 32);
        let (a, b) = (nibbles(q), nibbles(q.add(16)));
        let top = two_bits(p[1].add(64 * block + 32 * part), 2 * run).map(|top| vshlq_n_u8::<4>(top));
        less(or([a[run / 2], b[run / 2]], top), 32)
    };
    |p, g, _| {
        let d = half(p[3].add(2 * (g / 8)));
        let s = even_and_odd(vld1_s8(p[2].add(2 * g).cast()));
        Scales { d: s.map(|s| vmulq_n_f32(s, d)), m: [vdupq_n_f32(0.0); 2] }
    };
}

/// What `with` is for a type, which it names `R`; what `floats` is for those that are no integers.
macro_rules! with_bytes {
    ($q:expr, $r:ident => $with:expr, $floats:expr) => {
        match $q {
            QuantType::Q4_0 => with_bytes!(@ $r, Q40, $with),
            QuantType::Q4_1 => with_bytes!(@ $r, Q41, $with),
            QuantType::Q5_0 => with_bytes!(@ $r, Q50, $with),
            QuantType::Q5_1 => with_bytes!(@ $r, Q51, $with),
            QuantType::Q8_0 => with_bytes!(@ $r, Q80, $with),
            QuantType::Q2_K => with_bytes!(@ $r, Q2K, $with),
            QuantType::Q3_K => with_bytes!(@ $r, Q3K, $with),
            QuantType::Q4_K => with_bytes!(@ $r, Q4K, $with),
            QuantType::Q5_K => with_bytes!(@ $r, Q5K, $with),
            QuantType::Q6_K => with_bytes!(@ $r, Q6K, $with),
            QuantType::IQ4_NL => with_bytes!(@ $r, Iq4Nl, $with),
            QuantType::F32 | QuantType::F16 | QuantType::BF16 => $floats,
        }
    };
    (@ $r:ident, $name:ident, $with:expr) => {{
        type $r = crate::cpu::fast::bytes_neon::$name;
        $with
    }};
}
pub(super) use with_bytes;

/// The low and the high nibbles of sixteen bytes.
#[inline(always)]
unsafe fn nibbles(p: *const u8) -> [uint8x16_t; 2] {
    // SAFETY: sixteen bytes are readable.
    unsafe {
        let v = vld1q_u8(p);
        [vandq_u8(v, vdupq_n_u8(15)), vshrq_n_u8::<4>(v)]
    }
}

/// 16 where a bit is set, a byte for each of the 32 bits at `p`.
#[inline(always)]
unsafe fn fifth_bits(p: *const u8) -> [uint8x16_t; 2] {
    // SAFETY: four bytes are readable.
    unsafe {
        let which = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
        let half = |i: usize| {
            let bits = vcombine_u8(vdup_n_u8(*p.add(2 * i)), vdup_n_u8(*p.add(2 * i + 1)));
            vandq_u8(vtstq_u8(bits, which), vdupq_n_u8(16))
        };
        [half(0), half(1)]
    }
}

/// Bytes less `bias`.
#[inline(always)]
fn less(q: [uint8x16_t; 2], bias: i8) -> [int8x16_t; 2] {
    // SAFETY: every processor of the target has NEON.
    unsafe {
        let bias = vdupq_n_s8(bias);
        [vsubq_s8(vreinterpretq_s8_u8(q[0]), bias), vsubq_s8(vreinterpretq_s8_u8(q[1]), bias)]
    }
}

/// `n` halves at `p`, at most four, then zeros.
#[inline(always)]
unsafe fn halves(p: *const u8, n: usize) -> float32x4_t {
    // SAFETY: that many are readable.
    unsafe {
        floats(vcreate_u16(match n {
            1 => u64::from(p.cast::<u16>().read_unaligned()),
            2 => u64::from(p.cast::<u32>().read_unaligned()),
            3 => u64::from(p.cast::<u32>().read_unaligned()) | u64::from(p.add(4).cast::<u16>().read_unaligned()) << 32,
            _ => p.cast::<u64>().read_unaligned(),
        }))
    }
}

/// `n` pairs of halves at `p`, at most four, then zeros: the first ones and the second ones.
#[inline(always)]
unsafe fn pairs(p: *const u8, n: usize) -> [float32x4_t; 2] {
    // SAFETY: that many are readable.
    unsafe {
        let two = |p: *const u8| p.cast::<u64>().read_unaligned();
        let one = |p: *const u8| u64::from(p.cast::<u32>().read_unaligned());
        let (low, high) = match n {
            1 => (one(p), 0),
            2 => (two(p), 0),
            3 => (two(p), one(p.add(8))),
            _ => (two(p), two(p.add(8))),
        };
        let (low, high) = (vcreate_u16(low), vcreate_u16(high));
        [floats(vuzp1_u16(low, high)), floats(vuzp2_u16(low, high))]
    }
}

#[inline(always)]
fn floats(halves: uint16x4_t) -> float32x4_t {
    // SAFETY: every processor of the target converts halves.
    unsafe { vcvt_f32_f16(vreinterpret_f16_u16(halves)) }
}

/// The half at `p`.
#[inline(always)]
unsafe fn half(p: *const u8) -> f32 {
    // SAFETY: two bytes are readable.
    unsafe { vgetq_lane_f32::<0>(floats(vdup_n_u16(p.cast::<u16>().read_unaligned()))) }
}

/// The four low bytes as floats.
#[inline(always)]
fn four_bytes(bytes: u32) -> float32x4_t {
    // SAFETY: every processor of the target has NEON.
    unsafe { vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(u64::from(bytes)))))) }
}

/// Eight signed bytes as floats, those in even places and those in odd ones.
#[inline(always)]
fn even_and_odd(bytes: int8x8_t) -> [float32x4_t; 2] {
    // SAFETY: every processor of the target has NEON.
    unsafe {
        let words = vmovl_s8(bytes);
        let (low, high) = (vget_low_s16(words), vget_high_s16(words));
        [vuzp1_s16(low, high), vuzp2_s16(low, high)].map(|words| vcvtq_f32_s32(vmovl_s16(words)))
    }
}

/// (d s, −dmin m) of four groups of a super-block whose head (d, dmin, then eight six-bit s and m) is at `head`, the first
/// four or the `last`.
#[inline(always)]
unsafe fn scales_and_minimums(head: *const u8, last: bool) -> Scales {
    // SAFETY: sixteen bytes are readable.
    unsafe {
        let [s, m] = six_bits(head.add(4)).map(|eight| (eight >> if last { 32 } else { 0 }) as u32);
        Scales::whole(vmulq_n_f32(four_bytes(s), half(head)), vmulq_n_f32(four_bytes(m), -half(head.add(2))))
    }
}

/// Nibbles of group `i` of eight that begin at `q`: two share 32 bytes, the low ones first.
#[inline(always)]
unsafe fn shared_nibbles(q: *const u8, i: usize) -> [uint8x16_t; 2] {
    // SAFETY: the group's bytes are readable.
    unsafe {
        let q = q.add(i / 2 * 32);
        let (a, b) = (nibbles(q), nibbles(q.add(16)));
        [a[i % 2], b[i % 2]]
    }
}

/// Two bits of each of 32 bytes, from bit `at` on.
#[inline(always)]
unsafe fn two_bits(p: *const u8, at: usize) -> [uint8x16_t; 2] {
    // SAFETY: that many bytes are readable.
    unsafe {
        let shift = vdupq_n_s8(-(at as i8));
        let bits = |i: usize| vandq_u8(vshlq_u8(vld1q_u8(p.add(16 * i)), shift), vdupq_n_u8(3));
        [bits(0), bits(1)]
    }
}

/// Whether bit `i` is set in each of 32 bytes: `value`, or zero.
#[inline(always)]
unsafe fn where_set(p: *const u8, i: usize, value: u8) -> [uint8x16_t; 2] {
    // SAFETY: that many bytes are readable.
    unsafe {
        let which = vdupq_n_u8(1 << i);
        let set = |at: usize| vandq_u8(vtstq_u8(vld1q_u8(p.add(16 * at)), which), vdupq_n_u8(value));
        [set(0), set(1)]
    }
}

/// Both one over the other.
#[inline(always)]
fn or(a: [uint8x16_t; 2], b: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
    // SAFETY: every processor of the target has NEON.
    unsafe { [vorrq_u8(a[0], b[0]), vorrq_u8(a[1], b[1])] }
}

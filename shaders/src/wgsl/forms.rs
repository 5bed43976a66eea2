//! Which of a kernel's WGSL forms runs.

use super::{FEW_PLACES, TILE};
use crate::{Kernel, Params, RawParams, params};

/// Tokens up to which a product with quantized weights is done row by row.
pub const FEW_TOKENS: u32 = 4;
/// Tokens that a workgroup of the tiled forms takes, for few and for many.
const NARROW_TOKENS: u32 = 16;
const TILED_TOKENS: u32 = 64;
/// Sides of the tiles of [`Variant::Split`], for few and for many.
const SPLIT_SIDES: (u32, u32) = (16, 32);
/// Dimensions of a head that [`Variant::Spans`] holds at a time, and queries that a workgroup takes.
const SPAN: u32 = 64;
pub(super) const SPAN_QUERIES: u32 = 16;
/// Depth that keeps the lanes of [`Variant::Vector`] busy.
const DEEP: u32 = 64;
/// Workgroups that keep a large GPU busy: with fewer, [`Many::Split`] splits.
const ENOUGH_GROUPS: u64 = 256;
/// Workgroups of [`Variant::Block`]'s largest side that do.
const BUSY_GROUPS: u64 = 96;

/// One of a kernel's WGSL forms; the CPU twins are the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Variant {
    /// The only form of most kernels.
    Single,
    /// Attention with large workgroups, for GPUs that small ones don't fill.
    Wide,
    /// Attention of many tokens by tiles of keys, for heads of this many spans of `SPAN` dimensions.
    Spans(u32),
    /// A product for a few tokens: many lanes share a row of W, which is read once for all of them.
    Vector,
    /// The same for rows of x that begin at quads and fill runs of 32: the lanes share two rows of W.
    Quads,
    /// As [`Variant::Quads`], where the lanes that share rows are a whole subgroup and add without a barrier.
    Subgroups,
    /// A product for a few tokens and little depth: a lane has a column of its own.
    Column,
    /// A product for some tokens, in tiles of a quarter of the height.
    Narrow,
    /// A product for many tokens, in tiles of workgroup memory.
    Tiled,
    /// A product in tiles of this side (16 or 32) whose lanes share the depth, too: many short workgroups.
    Split(u32),
    /// The same for products with W that take x by quads, with more sums a lane; also of side 64.
    Block(u32),
    /// A product for this many tokens (1, 4 or 8) at a time: a lane has rows of W of its own, and x goes round by
    /// subgroup broadcasts. It takes rows of x that begin at quads and fill runs of 32.
    Lanes(u32),
}

/// How a device does products of few tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Few {
    /// [`Variant::Quads`]: neighbours read neighbouring words, as GPUs like it.
    #[default]
    Split,
    /// [`Variant::Subgroups`].
    Subgroups,
    /// [`Variant::Lanes`].
    Lanes,
}

/// How a device does products of many tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Many {
    /// [`Variant::Narrow`] and [`Variant::Tiled`]; for attention of many tokens [`Variant::Spans`].
    #[default]
    Tiles,
    /// [`Variant::Block`] and [`Variant::Split`], and the forms of [`Many::Tiles`] where there are enough tiles; for attention
    /// that walks key by key [`Variant::Wide`].
    Split,
    /// [`Variant::Lanes`].
    Lanes,
}

/// The forms that suit a device, measured or assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Forms {
    /// For products of few tokens.
    pub few: Few,
    /// For products of many.
    pub many: Many,
    /// Whether weights are read from textures.
    pub textures: bool,
    /// The least and the most lanes of a subgroup, where the device has the operations.
    pub subgroups: Option<(u32, u32)>,
}

impl Forms {
    /// The forms that need nothing beyond what each WebGPU device has.
    pub const PLAIN: Self = Self { few: Few::Split, many: Many::Tiles, textures: false, subgroups: None };

    /// Whether [`Variant::Lanes`] can run: broadcasts reach the first four lanes at least.
    pub fn lanes(&self) -> bool {
        self.subgroups.is_some_and(|(least, most)| least >= 4 && most <= 128)
    }

    /// Lanes of a subgroup, where all have as many and [`Variant::Subgroups`] can run.
    pub fn whole_subgroups(&self) -> Option<u32> {
        self.subgroups.filter(|(least, most)| least == most && [8, 16, 32, 64].contains(least)).map(|(lanes, _)| lanes)
    }

    /// Lanes that share two rows of W in [`Variant::Quads`] and [`Variant::Subgroups`].
    pub(super) fn places(&self, variant: Variant) -> u32 {
        self.whole_subgroups().filter(|_| variant == Variant::Subgroups).unwrap_or(FEW_PLACES)
    }

    /// Whether products of few tokens can be done so.
    pub fn can(&self, few: Few) -> bool {
        match few {
            Few::Split => true,
            Few::Subgroups => self.whole_subgroups().is_some(),
            Few::Lanes => self.lanes(),
        }
    }

    /// Quads of x that one load of a subgroup's first lanes brings.
    pub(super) fn broadcasts(&self) -> u32 {
        if self.subgroups.is_some_and(|(least, _)| least >= 8) { 8 } else { 4 }
    }

    /// Invocations in a workgroup of [`Variant::Lanes`].
    pub(super) fn lanes_group(&self) -> u32 {
        self.subgroups.map_or(8, |(_, most)| most.clamp(8, 64))
    }
}

impl Variant {
    /// The forms that a kernel has on a device with these.
    pub fn all(kernel: Kernel, forms: &Forms) -> Vec<Self> {
        let some: &[Self] = match kernel {
            Kernel::MatmulQ(_) | Kernel::MatmulGated(_) => &[
                Self::Vector,
                Self::Quads,
                Self::Subgroups,
                Self::Narrow,
                Self::Tiled,
                Self::Block(16),
                Self::Block(32),
                Self::Block(64),
                Self::Lanes(1),
                Self::Lanes(4),
                Self::Lanes(8),
            ],
            Kernel::MatmulFew(..) => &[Self::Quads, Self::Subgroups, Self::Lanes(1), Self::Lanes(4)],
            Kernel::MatmulQT(_) => &[Self::Narrow, Self::Tiled, Self::Split(16), Self::Split(32)],
            Kernel::Attention(_) => {
                &[Self::Single, Self::Wide, Self::Spans(1), Self::Spans(2), Self::Spans(3), Self::Spans(4)]
            }
            Kernel::HeadsAttention(_) | Kernel::AttentionBackwardQ | Kernel::AttentionBackwardKv => {
                &[Self::Single, Self::Wide]
            }
            Kernel::MatmulF32 => &[Self::Vector, Self::Column, Self::Split(16), Self::Split(32)],
            _ => &[Self::Single],
        };
        let can = |form: &Self| match form {
            Self::Subgroups => forms.can(Few::Subgroups),
            Self::Lanes(_) => forms.lanes(),
            _ => true,
        };
        some.iter().copied().filter(can).collect()
    }

    /// Whether it takes x by quads.
    pub(super) const fn by_quads(self) -> bool {
        matches!(self, Self::Quads | Self::Subgroups | Self::Block(_) | Self::Lanes(_))
    }

    /// Tokens and rows that a lane of [`Variant::Block`] sums.
    pub(super) const fn block(side: u32) -> (u32, u32) {
        match side {
            ..32 => (4, 4),
            32..64 => (4, 8),
            _ => (8, 8),
        }
    }

    /// Whether it needs the operations of subgroups.
    pub const fn by_subgroups(self) -> bool {
        matches!(self, Self::Subgroups | Self::Lanes(_))
    }

    /// The form for these parameters.
    pub fn of(kernel: Kernel, raw: &RawParams, forms: &Forms) -> Self {
        let (tokens, columns, aligned) = match kernel {
            Kernel::MatmulQ(_) => {
                let p = params::MatmulQ::from_raw(raw);
                (p.n_tokens, p.n, p.k % 32 == 0 && (p.x_offset | p.x_stride) % 4 == 0)
            }
            Kernel::MatmulQT(_) => {
                let p = params::MatmulQ::from_raw(raw);
                (p.n_tokens, p.k, false)
            }
            Kernel::MatmulGated(_) => {
                let p = params::MatmulGated::from_raw(raw);
                (p.n_tokens, 2 * p.n, p.k % 32 == 0)
            }
            Kernel::MatmulFew(..) => {
                let p = params::MatmulFew::from_raw(raw);
                (p.n_tokens.min(FEW_TOKENS), p.n, true)
            }
            Kernel::MatmulF32 => {
                let all = params::MatmulF32::from_raw(raw);
                let deep = all.problems().all(|p| p.k >= DEEP);
                if all.problems().all(|p| p.m <= FEW_TOKENS) {
                    if deep && all.a_col == 1 && all.b_row == 1 {
                        return Self::Vector;
                    }
                    if !deep {
                        return Self::Column;
                    }
                }
                return Self::split(all.problems().map(|p| p.m.min(p.n)).max().unwrap_or(0));
            }
            Kernel::Attention(_)
            | Kernel::HeadsAttention(_)
            | Kernel::AttentionBackwardQ
            | Kernel::AttentionBackwardKv => {
                let walk = if forms.many == Many::Split { Self::Wide } else { Self::Single };
                let tiles = matches!(kernel, Kernel::Attention(_)) && forms.many != Many::Lanes;
                let spans = tiles.then(|| Self::spans(&params::Attention::from_raw(raw))).flatten();
                return spans.unwrap_or(walk);
            }
            _ => return Self::Single,
        };
        let forward = !matches!(kernel, Kernel::MatmulQT(_));
        let lanes = forward && aligned && forms.lanes();
        let tiles = u64::from(columns.div_ceil(TILE)) * u64::from(tokens.div_ceil(TILED_TOKENS));
        match tokens {
            ..=FEW_TOKENS if forward => match forms.few {
                _ if !aligned => Self::Vector,
                Few::Lanes if lanes => Self::Lanes(if tokens > 1 { 4 } else { 1 }),
                Few::Subgroups if forms.can(Few::Subgroups) => Self::Subgroups,
                _ => Self::Quads,
            },
            _ if lanes && forms.many == Many::Lanes => Self::Lanes(8),
            _ if forms.many == Many::Split && !forward && tiles < ENOUGH_GROUPS => Self::split(tokens),
            ..=NARROW_TOKENS if forms.many == Many::Split && aligned && tiles < ENOUGH_GROUPS => {
                Self::Block(SPLIT_SIDES.0)
            }
            _ if tokens > NARROW_TOKENS && forms.many == Many::Split && aligned => {
                Self::Block(if tiles < BUSY_GROUPS { 32 } else { 64 })
            }
            ..=NARROW_TOKENS => Self::Narrow,
            _ => Self::Tiled,
        }
    }

    /// The tiled form for attention of many tokens.
    fn spans(p: &params::Attention) -> Option<Self> {
        let fits = p.n_tokens > FEW_TOKENS && p.head_dim.is_multiple_of(4) && p.head_dim <= 4 * SPAN;
        fits.then(|| Self::Spans(p.head_dim.div_ceil(SPAN)))
    }

    /// The split form for a product with this many rows or columns.
    const fn split(few: u32) -> Self {
        Self::Split(if few <= SPLIT_SIDES.0 { SPLIT_SIDES.0 } else { SPLIT_SIDES.1 })
    }

    /// Tokens that a workgroup takes.
    pub(super) const fn tokens(self) -> u32 {
        match self {
            Self::Single | Self::Wide | Self::Spans(_) => 1,
            Self::Vector | Self::Quads | Self::Subgroups | Self::Column => FEW_TOKENS,
            Self::Narrow => NARROW_TOKENS,
            Self::Tiled => TILED_TOKENS,
            Self::Split(tokens) | Self::Block(tokens) | Self::Lanes(tokens) => tokens,
        }
    }
}

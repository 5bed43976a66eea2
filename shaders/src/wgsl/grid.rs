//! How many workgroups a dispatch takes, and roughly what it costs.

use super::forms::SPAN_QUERIES;
use super::{FEW_LANES, Forms, TILE, VECTOR_ROWS, Variant, lanes};
use crate::{Kernel, Params, RawParams, SQUARES, params};

/// Invocations in a workgroup of a kernel that takes values one by one.
const FLAT: u32 = 256;
/// Workgroups that a grid may have in one dimension.
const MAX_GROUPS: u32 = 65535;

/// The grid of a dispatch; a zero in it means that there is nothing to do.
pub fn workgroups(kernel: Kernel, raw: &RawParams, forms: &Forms) -> [u32; 3] {
    match kernel {
        Kernel::EmbedRows(_) => {
            let p = params::EmbedRows::from_raw(raw);
            each(u64::from(p.n_tokens) * u64::from(p.dim.div_ceil(8)))
        }
        Kernel::MatmulQ(_) => {
            let p = params::MatmulQ::from_raw(raw);
            product(Variant::of(kernel, raw, forms), p.n_tokens, p.n, forms)
        }
        Kernel::MatmulGated(_) => {
            let p = params::MatmulGated::from_raw(raw);
            product(Variant::of(kernel, raw, forms), p.n_tokens, 2 * p.n, forms)
        }
        Kernel::MatmulFew(_, along) => {
            let p = params::MatmulFew::from_raw(raw);
            product(Variant::of(kernel, raw, forms), p.n_tokens, p.n << u32::from(along.gate), forms)
        }
        Kernel::MatmulQT(_) => {
            let p = params::MatmulQ::from_raw(raw);
            let variant = Variant::of(kernel, raw, forms);
            [p.k.div_ceil(columns(variant)), p.n_tokens.div_ceil(variant.tokens()), 1]
        }
        Kernel::MatmulF32 => {
            let variant = Variant::of(kernel, raw, forms);
            let each = params::MatmulF32::from_raw(raw);
            let tiles = each.problems().map(|p| [p.n.div_ceil(columns(variant)), p.m.div_ceil(variant.tokens())]);
            tiles.fold([0; 3], |grid, [x, y]| [grid[0].max(x), grid[1].max(y), grid[2] + 1])
        }
        Kernel::RmsNorm | Kernel::RmsNormBackward => folded(params::RmsNorm::from_raw(raw).rows.into()),
        Kernel::AddNorm => folded(params::AddNorm::from_raw(raw).rows.into()),
        Kernel::QkvHeads(_) | Kernel::QkvHeadsBackward => {
            let p = params::QkvHeads::from_raw(raw);
            folded(u64::from(p.n_tokens) * u64::from(p.n_heads + 2 * p.n_kv_heads))
        }
        Kernel::ScatterRows | Kernel::GatherRows | Kernel::MoveRows => {
            let p = params::Rows::from_raw(raw);
            each(u64::from(p.n) * u64::from(p.width))
        }
        Kernel::Attention(_) if matches!(Variant::of(kernel, raw, forms), Variant::Spans(_)) => {
            let p = params::Attention::from_raw(raw);
            [p.n_tokens.div_ceil(SPAN_QUERIES), p.n_heads, 1]
        }
        Kernel::Attention(_) | Kernel::AttentionBackwardQ => {
            let p = params::Attention::from_raw(raw);
            folded(u64::from(p.n_tokens) * u64::from(p.n_heads))
        }
        Kernel::HeadsAttention(_) => {
            let p = params::HeadsAttention::from_raw(raw);
            folded(u64::from(p.n_tokens) * u64::from(p.n_heads) * u64::from(p.parts))
        }
        Kernel::AttentionBackwardKv => {
            let p = params::Attention::from_raw(raw);
            folded(u64::from(p.n_tokens) * u64::from(p.n_kv_heads))
        }
        Kernel::AttentionDelta => {
            let p = params::Attention::from_raw(raw);
            each(u64::from(p.n_tokens) * u64::from(p.n_heads))
        }
        Kernel::AttentionMerge => {
            let p = params::AttentionMerge::from_raw(raw);
            each(u64::from(p.rows) * u64::from(p.head_dim))
        }
        Kernel::GatedActivation | Kernel::GatedActivationBackward => {
            let p = params::GatedActivation::from_raw(raw);
            each(u64::from(p.rows) * u64::from(p.n))
        }
        Kernel::LogitsReduce => folded(params::Logits::from_raw(raw).n_tokens.into()),
        Kernel::LogitsBackward => {
            let p = params::Logits::from_raw(raw);
            each(u64::from(p.n_tokens) * u64::from(p.cols))
        }
        Kernel::Sample => folded(params::Sample::from_raw(raw).n.into()),
        Kernel::Add => each(params::Add::from_raw(raw).n.into()),
        Kernel::Fill => each(params::Fill::from_raw(raw).n.into()),
        Kernel::ToF16 => each(params::ToF16::from_raw(raw).n.div_ceil(2).into()),
        Kernel::SquaredNorm => folded(u64::from(params::SquaredNorm::from_raw(raw).n).div_ceil(SQUARES as u64)),
        Kernel::AdamW => each(params::AdamW::from_raw(raw).n.into()),
    }
}

/// A grid for a product of `tokens` tokens with `n` rows.
fn product(variant: Variant, tokens: u32, n: u32, forms: &Forms) -> [u32; 3] {
    match variant {
        _ if tokens == 0 || n == 0 => [0; 3],
        Variant::Vector => folded(n.div_ceil(VECTOR_ROWS).into()),
        Variant::Quads | Variant::Subgroups => folded(n.div_ceil(2 * FEW_LANES / forms.places(variant)).into()),
        Variant::Lanes(width) => [n.div_ceil(lanes::ROWS * forms.lanes_group()), tokens.div_ceil(width), 1],
        tiled => [n.div_ceil(columns(tiled)), tokens.div_ceil(tiled.tokens()), 1],
    }
}

/// Rows (or columns) of W that a workgroup takes.
const fn columns(variant: Variant) -> u32 {
    match variant {
        Variant::Vector => VECTOR_ROWS,
        Variant::Split(side) | Variant::Block(side) => side,
        _ => TILE,
    }
}

/// A grid for `n` values, one an invocation.
fn each(n: u64) -> [u32; 3] {
    folded(n.div_ceil(FLAT.into()))
}

/// A grid of `n` workgroups in two dimensions; the last row may have some too many, which do nothing.
fn folded(n: u64) -> [u32; 3] {
    let y = n.div_ceil(MAX_GROUPS.into());
    if y == 0 {
        return [0, 1, 1];
    }
    [n.div_ceil(y) as u32, y as u32, 1]
}

/// Roughly how many multiplications a dispatch costs: enough to tell when a pass is long.
pub fn work(kernel: Kernel, raw: &RawParams, forms: &Forms) -> u64 {
    // Places in a tile that no token fills cost the same.
    let product = |tokens: u32, k: u32, n: u32| {
        let tokens = tokens.next_multiple_of(Variant::of(kernel, raw, forms).tokens());
        u64::from(tokens) * u64::from(k) * u64::from(n)
    };
    match kernel {
        Kernel::MatmulQ(_) | Kernel::MatmulQT(_) => {
            let p = params::MatmulQ::from_raw(raw);
            product(p.n_tokens, p.k, p.n)
        }
        Kernel::MatmulGated(_) => {
            let p = params::MatmulGated::from_raw(raw);
            product(p.n_tokens, p.k, 2 * p.n)
        }
        Kernel::MatmulFew(_, along) => {
            let p = params::MatmulFew::from_raw(raw);
            product(p.n_tokens, p.k, p.n << u32::from(along.gate))
        }
        Kernel::MatmulF32 => {
            let each = params::MatmulF32::from_raw(raw);
            each.problems().map(|p| u64::from(p.m) * u64::from(p.n) * u64::from(p.k)).sum()
        }
        Kernel::Attention(_) | Kernel::HeadsAttention(_) | Kernel::AttentionBackwardQ | Kernel::AttentionBackwardKv => {
            // Those of attention come first.
            let p = params::Attention::from_raw(raw);
            let table = u64::from(p.max_blocks) * u64::from(p.block_size);
            let keys = if p.window > 0 { table.min(p.window.into()) } else { table };
            4 * u64::from(p.n_tokens) * u64::from(p.n_heads) * u64::from(p.head_dim) * keys
        }
        // Each pass over the vocabulary, of which a filter takes some.
        Kernel::Sample => {
            let p = params::Sample::from_raw(raw);
            100 * u64::from(p.n) * u64::from(p.vocab)
        }
        _ => workgroups(kernel, raw, forms).iter().map(|n| u64::from(*n)).product::<u64>() * u64::from(FLAT) * 4,
    }
}

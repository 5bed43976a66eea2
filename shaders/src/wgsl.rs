//! WGSL sources, put together by plain concatenation: a kernel's own file, the files in `wgsl/shared/` that it
//! calls, and for quantized ones the unpacking of the weight type.
//!
//! Group 0 holds the bindings of [`Kernel::bindings`], group 1 the parameters as a uniform buffer. The entry
//! point is `main`.

use crate::{Kernel, Params, QuantType, RawParams, params};

/// Tokens up to which a product with quantized weights is done row by row.
const VECTOR_TOKENS: u32 = 4;
/// Rows of W that a workgroup of the vector form takes.
const VECTOR_ROWS: u32 = 4;
/// Rows (or columns) of W that a workgroup of the tiled forms takes.
const TILE: u32 = 64;
/// Tokens that it takes, for few and for many.
const NARROW_TOKENS: u32 = 16;
const TILED_TOKENS: u32 = 64;
/// Side of the tile in `matmul_f32`.
const TILE_F32: u32 = 32;
/// Invocations in a workgroup of a kernel that takes values one by one.
const FLAT: u32 = 256;
/// Workgroups that a grid may have in one dimension.
const MAX_GROUPS: u32 = 65535;

/// Which of a kernel's WGSL forms runs; the CPU twins are the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// The only form of most kernels.
    Single,
    /// A product for a few tokens: the weights are the cost, each is read once.
    Vector,
    /// A product for some tokens, in tiles of a quarter of the height.
    Narrow,
    /// A product for many tokens, in tiles.
    Tiled,
}

impl Variant {
    /// The forms that a kernel has.
    pub const fn all(kernel: Kernel) -> &'static [Self] {
        match kernel {
            Kernel::MatmulQ(_) => &[Self::Vector, Self::Narrow, Self::Tiled],
            Kernel::MatmulQT(_) => &[Self::Narrow, Self::Tiled],
            _ => &[Self::Single],
        }
    }

    /// The form for these parameters.
    pub fn of(kernel: Kernel, raw: &RawParams) -> Self {
        match kernel {
            Kernel::MatmulQ(_) | Kernel::MatmulQT(_) => match params::MatmulQ::from_raw(raw).n_tokens {
                ..=VECTOR_TOKENS if matches!(kernel, Kernel::MatmulQ(_)) => Self::Vector,
                ..=NARROW_TOKENS => Self::Narrow,
                _ => Self::Tiled,
            },
            _ => Self::Single,
        }
    }

    /// Tokens that a workgroup takes.
    const fn tokens(self) -> u32 {
        match self {
            Self::Single => 1,
            Self::Vector => VECTOR_TOKENS,
            Self::Narrow => NARROW_TOKENS,
            Self::Tiled => TILED_TOKENS,
        }
    }
}

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("../wgsl/", $name, ".wgsl"))
    };
}

const GRID: &str = file!("shared/grid");
const MATH: &str = file!("shared/math");
const TURN: &str = file!("shared/turn");
const REDUCE: &str = file!("shared/reduce");
const PAGED: &str = file!("shared/paged");
const ACTIVATION: &str = file!("shared/activation");
const WEIGHTS: &str = file!("shared/weights");
const SCALE_MIN: &str = file!("shared/scale_min");

/// The WGSL of a kernel in one of its forms.
pub fn source(kernel: Kernel, variant: Variant) -> String {
    let mut source = own(kernel, variant).to_owned();
    let shared: &[&str] = match kernel {
        Kernel::EmbedRows(_) => &[GRID, WEIGHTS],
        Kernel::MatmulQ(_) if variant == Variant::Vector => &[GRID, WEIGHTS],
        Kernel::MatmulQ(_) | Kernel::MatmulQT(_) if variant == Variant::Narrow => &[WEIGHTS, "const BLOCKS = 1u;\n"],
        Kernel::MatmulQ(_) | Kernel::MatmulQT(_) => &[WEIGHTS, "const BLOCKS = 4u;\n"],
        Kernel::MatmulF32 => &[],
        Kernel::RmsNorm | Kernel::RmsNormBackward => &[GRID, REDUCE],
        Kernel::Rope => &[GRID, TURN],
        Kernel::Attention => &[GRID, MATH, REDUCE, PAGED],
        Kernel::AttentionBackwardQ | Kernel::AttentionBackwardKv => &[GRID, MATH, PAGED],
        Kernel::GatedActivation | Kernel::GatedActivationBackward => &[GRID, MATH, ACTIVATION],
        Kernel::LogitsReduce => &[GRID, MATH, REDUCE],
        Kernel::LogitsBackward => &[GRID, MATH],
        Kernel::SquaredNorm => &[REDUCE],
        Kernel::ScatterRows
        | Kernel::GatherRows
        | Kernel::MoveRows
        | Kernel::AttentionDelta
        | Kernel::Add
        | Kernel::AddBias
        | Kernel::Fill
        | Kernel::AdamW => &[GRID],
    };
    for part in shared.iter().chain(kernel.quant().map(unpacking).unwrap_or_default()) {
        source.push('\n');
        source.push_str(part);
    }
    source
}

fn own(kernel: Kernel, variant: Variant) -> &'static str {
    match kernel {
        Kernel::EmbedRows(_) => file!("embed_rows"),
        Kernel::MatmulQ(_) if variant == Variant::Vector => file!("matmul_q_vector"),
        Kernel::MatmulQ(_) => file!("matmul_q_tiled"),
        Kernel::MatmulQT(_) => file!("matmul_q_transposed"),
        Kernel::MatmulF32 => file!("matmul_f32"),
        Kernel::RmsNorm => file!("rms_norm"),
        Kernel::RmsNormBackward => file!("rms_norm_backward"),
        Kernel::Rope => file!("rope"),
        Kernel::ScatterRows => file!("scatter_rows"),
        Kernel::GatherRows => file!("gather_rows"),
        Kernel::MoveRows => file!("move_rows"),
        Kernel::Attention => file!("attention"),
        Kernel::AttentionDelta => file!("attention_delta"),
        Kernel::AttentionBackwardQ => file!("attention_backward_q"),
        Kernel::AttentionBackwardKv => file!("attention_backward_kv"),
        Kernel::GatedActivation => file!("gated_activation"),
        Kernel::GatedActivationBackward => file!("gated_activation_backward"),
        Kernel::LogitsReduce => file!("logits_reduce"),
        Kernel::LogitsBackward => file!("logits_backward"),
        Kernel::Add => file!("add"),
        Kernel::AddBias => file!("add_bias"),
        Kernel::Fill => file!("fill"),
        Kernel::SquaredNorm => file!("squared_norm"),
        Kernel::AdamW => file!("adamw"),
    }
}

fn unpacking(q: QuantType) -> &'static [&'static str] {
    match q {
        QuantType::F32 => &[file!("quant/f32")],
        QuantType::F16 => &[file!("quant/f16")],
        QuantType::BF16 => &[file!("quant/bf16")],
        QuantType::Q4_0 => &[file!("quant/q4_0")],
        QuantType::Q4_1 => &[file!("quant/q4_1")],
        QuantType::Q5_0 => &[file!("quant/q5_0")],
        QuantType::Q5_1 => &[file!("quant/q5_1")],
        QuantType::Q8_0 => &[file!("quant/q8_0")],
        QuantType::Q2_K => &[file!("quant/q2_k")],
        QuantType::Q3_K => &[file!("quant/q3_k")],
        QuantType::Q4_K => &[SCALE_MIN, file!("quant/q4_k")],
        QuantType::Q5_K => &[SCALE_MIN, file!("quant/q5_k")],
        QuantType::Q6_K => &[file!("quant/q6_k")],
        QuantType::IQ4_NL => &[file!("quant/iq4_nl")],
    }
}

/// The grid of a dispatch; a zero in it means that there is nothing to do.
pub fn workgroups(kernel: Kernel, raw: &RawParams) -> [u32; 3] {
    match kernel {
        Kernel::EmbedRows(_) => {
            let p = params::EmbedRows::from_raw(raw);
            each(u64::from(p.n_tokens) * u64::from(p.dim.div_ceil(8)))
        }
        Kernel::MatmulQ(_) => {
            let p = params::MatmulQ::from_raw(raw);
            match Variant::of(kernel, raw) {
                Variant::Vector if p.n_tokens == 0 => [0; 3],
                Variant::Vector => folded(p.n.div_ceil(VECTOR_ROWS).into()),
                tiled => [p.n.div_ceil(TILE), p.n_tokens.div_ceil(tiled.tokens()), 1],
            }
        }
        Kernel::MatmulQT(_) => {
            let p = params::MatmulQ::from_raw(raw);
            [p.k.div_ceil(TILE), p.n_tokens.div_ceil(Variant::of(kernel, raw).tokens()), 1]
        }
        Kernel::MatmulF32 => {
            let p = params::MatmulF32::from_raw(raw);
            [p.n.div_ceil(TILE_F32), p.m.div_ceil(TILE_F32), 1]
        }
        Kernel::RmsNorm | Kernel::RmsNormBackward => folded(params::RmsNorm::from_raw(raw).rows.into()),
        Kernel::Rope => {
            let p = params::Rope::from_raw(raw);
            each(u64::from(p.n_tokens) * u64::from(p.n_heads) * u64::from(p.rope_dim / 2))
        }
        Kernel::ScatterRows | Kernel::GatherRows | Kernel::MoveRows => {
            let p = params::Rows::from_raw(raw);
            each(u64::from(p.n) * u64::from(p.width))
        }
        Kernel::Attention | Kernel::AttentionBackwardQ => {
            let p = params::Attention::from_raw(raw);
            folded(u64::from(p.n_tokens) * u64::from(p.n_heads))
        }
        Kernel::AttentionBackwardKv => {
            let p = params::Attention::from_raw(raw);
            folded(u64::from(p.n_tokens) * u64::from(p.n_kv_heads))
        }
        Kernel::AttentionDelta => {
            let p = params::Attention::from_raw(raw);
            each(u64::from(p.n_tokens) * u64::from(p.n_heads))
        }
        Kernel::GatedActivation | Kernel::GatedActivationBackward => {
            each(params::GatedActivation::from_raw(raw).n.into())
        }
        Kernel::LogitsReduce => folded(params::Logits::from_raw(raw).n_tokens.into()),
        Kernel::LogitsBackward => {
            let p = params::Logits::from_raw(raw);
            each(u64::from(p.n_tokens) * u64::from(p.cols))
        }
        Kernel::Add => each(params::Add::from_raw(raw).n.into()),
        Kernel::AddBias => {
            let p = params::AddBias::from_raw(raw);
            each(u64::from(p.rows) * u64::from(p.dim))
        }
        Kernel::Fill => each(params::Fill::from_raw(raw).n.into()),
        Kernel::SquaredNorm => [1, 1, 1],
        Kernel::AdamW => each(params::AdamW::from_raw(raw).n.into()),
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
pub fn work(kernel: Kernel, raw: &RawParams) -> u64 {
    match kernel {
        Kernel::MatmulQ(_) | Kernel::MatmulQT(_) => {
            let p = params::MatmulQ::from_raw(raw);
            // Places in a tile that no token fills cost the same.
            let tokens = p.n_tokens.next_multiple_of(Variant::of(kernel, raw).tokens());
            u64::from(tokens) * u64::from(p.k) * u64::from(p.n)
        }
        Kernel::MatmulF32 => {
            let p = params::MatmulF32::from_raw(raw);
            u64::from(p.m) * u64::from(p.n) * u64::from(p.k)
        }
        Kernel::Attention | Kernel::AttentionBackwardQ | Kernel::AttentionBackwardKv => {
            let p = params::Attention::from_raw(raw);
            let table = u64::from(p.max_blocks) * u64::from(p.block_size);
            let keys = if p.window > 0 { table.min(p.window.into()) } else { table };
            4 * u64::from(p.n_tokens) * u64::from(p.n_heads) * u64::from(p.head_dim) * keys
        }
        _ => workgroups(kernel, raw).iter().map(|n| u64::from(*n)).product::<u64>() * u64::from(FLAT) * 4,
    }
}

//! The list of kernels and what each one binds.

use crate::kv::KvType;
use crate::quant::QuantType;

/// How a kernel uses one binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Only read.
    Read,
    /// Read and written; never the same buffer as another binding of the dispatch.
    Write,
}

/// What the words of a binding are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holds {
    /// Floats.
    F32,
    /// Floats of which some forms take four at a time.
    Quads,
    /// Integers, or words of any meaning.
    U32,
    /// Planes of quantized weights, which a GPU may keep in a texture.
    Weights,
}

/// One binding of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// Its name in WGSL.
    pub name: &'static str,
    /// How it is used.
    pub access: Access,
    /// What it holds.
    pub holds: Holds,
}

macro_rules! bind {
    ($($access:ident $name:ident $holds:ident),*) => {
        &[$(Binding { name: stringify!($name), access: Access::$access, holds: Holds::$holds }),*]
    };
}

/// What a product of few tokens takes along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Along {
    /// The norm of x before it.
    pub norm: bool,
    /// What a stack of LoRA pairs adds, from the product A x.
    pub adapter: bool,
    /// The activation of a gated feed-forward after it: W has the gates' rows, then the ups'.
    pub gate: bool,
}

/// Values whose squares [`Kernel::SquaredNorm`] sums at a time.
pub const SQUARES: usize = 1 << 14;

/// Every kernel. Quantized ones carry the type of their weights: one pipeline per type.
///
/// Shapes: `T` tokens (rows of the batch), `K`/`N` input/output width, `H` query heads,
/// `G` key/value heads, `D` head width. Everything is row-major `f32` unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kernel {
    /// `out[t, :] = scale * W[ids[t], :]`. Bindings: ids (u32 `[T]`), weights, out `[T, K]`.
    EmbedRows(QuantType),
    /// `y[t, n] (+)= x[t, :] · W[n, :]`. Bindings: x, weights, y.
    MatmulQ(QuantType),
    /// `y[t, n] = act(x[t, :] · W[n, :]) * (x[t, :] · W[N + n, :])`: a gated feed-forward's first half.
    /// Bindings: x, weights `[2 N, K]`, y.
    MatmulGated(QuantType),
    /// [`Kernel::MatmulQ`] or [`Kernel::MatmulGated`] for few tokens ([`crate::wgsl::FEW_TOKENS`]) of whole runs of 32
    /// values, with what else makes one pass over them: `y[t, n] (+)= norm(x[t, :]) · W[n, :] + scale · B[n, :] · ax[t, :]`.
    /// Bindings: x, weights, where there is one the norm's weight, where there is an adapter ax and the adapter in halves, y.
    MatmulFew(QuantType, Along),
    /// `dx[t, k] (+)= Σₙ dy[t, n] W[n, k]`. Bindings: dy, weights, dx.
    MatmulQT(QuantType),
    /// `C (+)= alpha · A B` with any strides of A and B; up to three of them. Bindings: a, b, c.
    MatmulF32,
    /// `out[r, :] (+)= x[r, :] / rms(x[r, :]) * weight`. Bindings: x, weight, out.
    RmsNorm,
    /// Gradient of [`Kernel::RmsNorm`] for x. Bindings: x, weight, dy, dx.
    RmsNormBackward,
    /// `x[r, :] += y[r, :] / rms(y[r, :]) * post`, then `out[r, :] = x[r, :] / rms(x[r, :]) * weight`.
    /// Bindings: x (written), y, post, weight, out.
    AddNorm,
    /// From projected queries, keys and values to what attention takes: biases are added, queries and keys are
    /// normed by head and turned by their position, keys and values join the cache.
    /// Bindings: qkv `[T, H + 2 G, D]`, positions (u32 `[T]`), cells (u32 `[T]`), inv_freq `[rope_dim / 2]`,
    /// extras (see [`crate::params::QkvHeads`]), q `[T, H, D]`, keys and values `[cells, G, D]` of the cache's type.
    QkvHeads(KvType),
    /// Gradient of [`Kernel::QkvHeads`] for the projections.
    /// Bindings: dq, dk, dv, qkv, positions, inv_freq, extras, dqkv `[T, H + 2 G, D]`.
    QkvHeadsBackward,
    /// `dst[index[i], :] = src[i, :]`. Bindings: src, index (u32), dst.
    ScatterRows,
    /// `dst[i, :] = src[index[i], :]`. Bindings: src, index (u32), dst.
    GatherRows,
    /// `buf[pairs[i].1, :] = buf[pairs[i].0, :]`, sources and targets disjoint. Bindings: pairs (u32 `[n, 2]`), buf.
    MoveRows,
    /// Causal attention over a paged cache. Bindings: q `[T, H, D]`, k and v `[cells, G, D]` of the cache's type, map
    /// (u32, see [`crate::params::Attention`]), out `[T, H, D]`, stats `[T, H, 2]` (slot 0: log-sum-exp).
    Attention(KvType),
    /// [`Kernel::QkvHeads`], then [`Kernel::Attention`], for tokens of which none sees another one of the batch.
    /// Bindings: qkv `[T, H + 2 G, D]`, inv_freq, extras, map, q `[T, H, D]`, keys and values of the cache, out `[T, H, D]`.
    /// Where the keys are divided into `P` parts, out `[T, H, P, D + 2]` has of each part the sum of the values times
    /// exp(score − top), then top, the largest score, and the sum of exp(score − top); which keys are in which part is the
    /// device's choice.
    HeadsAttention(KvType),
    /// From the parts of [`Kernel::HeadsAttention`] to attention. Bindings: parts `[T, H, P, D + 2]`, out `[T, H, D]`.
    AttentionMerge,
    /// `stats[t, h, 1] = Σ_d dout · out`. Bindings: dout, out, stats.
    AttentionDelta,
    /// Gradient for the queries. Bindings: q, k, v, dout, stats, map, dq `[T, H, D]`.
    AttentionBackwardQ,
    /// Gradient for keys and values *of the batch's own tokens*.
    /// Bindings: q, k, v, dout, stats, map, dk `[T, G, D]`, dv `[T, G, D]`.
    AttentionBackwardKv,
    /// `out = act(gate) * up`. Bindings: gate_up `[T, 2 N]` (gates, then ups), out `[T, N]`.
    GatedActivation,
    /// Bindings: gate_up, dout, dgate_up.
    GatedActivationBackward,
    /// Folds a chunk of logits into a running log-sum-exp. Bindings: logits `[T, C]`, targets (u32 `[T]`),
    /// state `[T, 3]` = (running maximum, sum of exp(logit − maximum), logit of the target).
    LogitsReduce,
    /// `logits[t, c] = grad[t] * ([c == target] − softmax(c))` in place.
    /// Bindings: logits (written), targets, state, grad `[T]`.
    LogitsBackward,
    /// Draws tokens from rows of logits. Bindings: logits `[rows, V]`, draws (`[T]` of [`crate::sample::Draw`], as words),
    /// out `[T, 2]` = (id as a word, its log p of all tokens).
    Sample,
    /// `x += alpha * y`. Bindings: x (written), y.
    Add,
    /// `x[offset .. offset + n] = value`. Bindings: x.
    Fill,
    /// Floats as halves, two a word, to the nearest. Bindings: x, out.
    ToF16,
    /// `out[i] = Σ x²` over the i-th run of [`SQUARES`] values. Bindings: x, out.
    SquaredNorm,
    /// One AdamW step with decoupled weight decay. Bindings: p, g, m, v (g only read).
    AdamW,
}

impl Kernel {
    /// The bindings in order.
    pub const fn bindings(self) -> &'static [Binding] {
        match self {
            Self::EmbedRows(_) => bind![Read ids U32, Read w Weights, Write out F32],
            Self::MatmulQ(_) | Self::MatmulGated(_) => bind![Read x Quads, Read w Weights, Write y F32],
            Self::MatmulFew(_, along) => match (along.norm, along.adapter) {
                (false, false) => bind![Read x Quads, Read w Weights, Write y F32],
                (true, false) => bind![Read x Quads, Read w Weights, Read norm Quads, Write y F32],
                (false, true) => bind![Read x Quads, Read w Weights, Read ax F32, Read adapter U32, Write y F32],
                (true, true) => bind![
                    Read x Quads, Read w Weights, Read norm Quads, Read ax F32, Read adapter U32, Write y F32
                ],
            },
            Self::MatmulQT(_) => bind![Read dy F32, Read w Weights, Write dx F32],
            Self::MatmulF32 => bind![Read a F32, Read b F32, Write c F32],
            Self::RmsNorm => bind![Read x F32, Read weight F32, Write out F32],
            Self::RmsNormBackward => bind![Read x F32, Read weight F32, Read dy F32, Write dx F32],
            Self::AddNorm => bind![Write x F32, Read y F32, Read post F32, Read weight F32, Write out F32],
            Self::QkvHeads(KvType::F32) => bind![
                Read qkv F32, Read positions U32, Read cells U32, Read inv_freq F32, Read extras F32,
                Write q F32, Write keys F32, Write values F32
            ],
            Self::QkvHeads(_) => bind![
                Read qkv F32, Read positions U32, Read cells U32, Read inv_freq F32, Read extras F32,
                Write q F32, Write keys U32, Write values U32
            ],
            Self::QkvHeadsBackward => bind![
                Read dq F32, Read dk F32, Read dv F32, Read qkv F32, Read positions U32, Read inv_freq F32,
                Read extras F32, Write dqkv F32
            ],
            Self::ScatterRows | Self::GatherRows => bind![Read src U32, Read index U32, Write dst U32],
            Self::MoveRows => bind![Read pairs U32, Write buf U32],
            Self::Attention(KvType::F32) => {
                bind![Read q F32, Read keys F32, Read values F32, Read map U32, Write out F32, Write stats F32]
            }
            Self::Attention(_) => {
                bind![Read q F32, Read keys U32, Read values U32, Read map U32, Write out F32, Write stats F32]
            }
            Self::HeadsAttention(KvType::F32) => bind![
                Read qkv F32, Read inv_freq F32, Read extras F32, Read map U32,
                Write q F32, Write keys F32, Write values F32, Write out F32
            ],
            Self::HeadsAttention(_) => bind![
                Read qkv F32, Read inv_freq F32, Read extras F32, Read map U32,
                Write q F32, Write keys U32, Write values U32, Write out F32
            ],
            Self::AttentionMerge => bind![Read parts F32, Write out F32],
            Self::AttentionDelta => bind![Read dout F32, Read out F32, Write stats F32],
            Self::AttentionBackwardQ => bind![
                Read q F32, Read k F32, Read v F32, Read dout F32, Read stats F32, Read map U32, Write dq F32
            ],
            Self::AttentionBackwardKv => bind![
                Read q F32, Read k F32, Read v F32, Read dout F32, Read stats F32, Read map U32,
                Write dk F32, Write dv F32
            ],
            Self::GatedActivation => bind![Read gate_up F32, Write out F32],
            Self::GatedActivationBackward => bind![Read gate_up F32, Read dout F32, Write dgate_up F32],
            // Minus infinity can be stored as a word but not written in WGSL.
            Self::LogitsReduce => bind![Read logits F32, Read targets U32, Write state U32],
            Self::LogitsBackward => bind![Write logits F32, Read targets U32, Read state F32, Read grad F32],
            Self::Sample => bind![Read logits F32, Read draws U32, Write out U32],
            Self::Add => bind![Write x F32, Read y F32],
            Self::Fill => bind![Write x F32],
            Self::ToF16 => bind![Read x F32, Write out U32],
            Self::SquaredNorm => bind![Read x F32, Write out F32],
            Self::AdamW => bind![Write x F32, Read grad F32, Write m F32, Write v F32],
        }
    }

    /// The file name of the kernel in `wgsl/` and in `src/cpu/`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EmbedRows(_) => "embed_rows",
            Self::MatmulQ(_) => "matmul_q",
            Self::MatmulGated(_) => "matmul_gated",
            Self::MatmulFew(..) => "matmul_few",
            Self::MatmulQT(_) => "matmul_q_transposed",
            Self::MatmulF32 => "matmul_f32",
            Self::RmsNorm => "rms_norm",
            Self::RmsNormBackward => "rms_norm_backward",
            Self::AddNorm => "add_norm",
            Self::QkvHeads(_) => "qkv_heads",
            Self::QkvHeadsBackward => "qkv_heads_backward",
            Self::ScatterRows => "scatter_rows",
            Self::GatherRows => "gather_rows",
            Self::MoveRows => "move_rows",
            Self::Attention(_) => "attention",
            Self::HeadsAttention(_) => "heads_attention",
            Self::AttentionMerge => "attention_merge",
            Self::AttentionDelta => "attention_delta",
            Self::AttentionBackwardQ => "attention_backward_q",
            Self::AttentionBackwardKv => "attention_backward_kv",
            Self::GatedActivation => "gated_activation",
            Self::GatedActivationBackward => "gated_activation_backward",
            Self::LogitsReduce => "logits_reduce",
            Self::LogitsBackward => "logits_backward",
            Self::Sample => "sample",
            Self::Add => "add",
            Self::Fill => "fill",
            Self::ToF16 => "to_f16",
            Self::SquaredNorm => "squared_norm",
            Self::AdamW => "adamw",
        }
    }

    /// The weight type of a quantized kernel.
    pub const fn quant(self) -> Option<QuantType> {
        match self {
            Self::EmbedRows(q)
            | Self::MatmulQ(q)
            | Self::MatmulGated(q)
            | Self::MatmulFew(q, _)
            | Self::MatmulQT(q) => Some(q),
            _ => None,
        }
    }
}

//! The list of kernels and what each one binds.

use crate::quant::QuantType;

/// How a kernel uses one binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Only read.
    Read,
    /// Read and written; never the same buffer as another binding of the dispatch.
    Write,
}

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
    /// `dx[t, k] (+)= Σₙ dy[t, n] W[n, k]`. Bindings: dy, weights, dx.
    MatmulQT(QuantType),
    /// `C (+)= alpha · A B` with any strides of A and B. Bindings: a, b, c.
    MatmulF32,
    /// `out[r, :] (+)= x[r, :] / rms(x[r, :]) * weight`. Bindings: x, weight, out.
    RmsNorm,
    /// Gradient of [`Kernel::RmsNorm`] for x. Bindings: x, weight, dy, dx.
    RmsNormBackward,
    /// Rotary position embedding in place; `sign = -1` is its transpose (backward).
    /// Bindings: x `[T, H, D]` (written), positions (u32 `[T]`), inv_freq `[D/2]`.
    Rope,
    /// `dst[index[i], :] = src[i, :]`. Bindings: src, index (u32), dst.
    ScatterRows,
    /// `dst[i, :] = src[index[i], :]`. Bindings: src, index (u32), dst.
    GatherRows,
    /// `buf[pairs[i].1, :] = buf[pairs[i].0, :]`, sources and targets disjoint. Bindings: pairs (u32 `[n, 2]`), buf.
    MoveRows,
    /// Causal attention over a paged cache. Bindings: q `[T, H, D]`, k and v `[cells, G, D]`, map
    /// (u32, see [`crate::params::Attention`]), out `[T, H, D]`, stats `[T, H, 2]` (slot 0: log-sum-exp).
    Attention,
    /// `stats[t, h, 1] = Σ_d dout · out`. Bindings: dout, out, stats.
    AttentionDelta,
    /// Gradient for the queries. Bindings: q, k, v, dout, stats, map, dq `[T, H, D]`.
    AttentionBackwardQ,
    /// Gradient for keys and values *of the batch's own tokens*.
    /// Bindings: q, k, v, dout, stats, map, dk `[T, G, D]`, dv `[T, G, D]`.
    AttentionBackwardKv,
    /// `out = act(gate) * up`. Bindings: gate, up, out.
    GatedActivation,
    /// Bindings: gate, up, dout, dgate, dup.
    GatedActivationBackward,
    /// Folds a chunk of logits into a running log-sum-exp. Bindings: logits `[T, C]`, targets (u32 `[T]`),
    /// state `[T, 3]` = (running maximum, sum of exp(logit − maximum), logit of the target).
    LogitsReduce,
    /// `logits[t, c] = grad[t] * ([c == target] − softmax(c))` in place.
    /// Bindings: logits (written), targets, state, grad `[T]`.
    LogitsBackward,
    /// `x += alpha * y`. Bindings: x (written), y.
    Add,
    /// `y[r, :] += bias`. Bindings: y (written), bias.
    AddBias,
    /// `x[offset .. offset + n] = value`. Bindings: x.
    Fill,
    /// `out[slot] = Σ x²`. Bindings: x, out.
    SquaredNorm,
    /// One AdamW step with decoupled weight decay. Bindings: p, g, m, v (g only read).
    AdamW,
}

use Access::{Read as R, Write as W};

impl Kernel {
    /// The bindings in order.
    pub const fn bindings(self) -> &'static [Access] {
        match self {
            Self::EmbedRows(_)
            | Self::MatmulQ(_)
            | Self::MatmulQT(_)
            | Self::MatmulF32
            | Self::RmsNorm
            | Self::ScatterRows
            | Self::GatherRows
            | Self::AttentionDelta
            | Self::GatedActivation
            | Self::LogitsReduce => &[R, R, W],
            Self::RmsNormBackward => &[R, R, R, W],
            Self::Rope => &[W, R, R],
            Self::MoveRows | Self::SquaredNorm => &[R, W],
            Self::Attention => &[R, R, R, R, W, W],
            Self::AttentionBackwardQ => &[R, R, R, R, R, R, W],
            Self::AttentionBackwardKv => &[R, R, R, R, R, R, W, W],
            Self::GatedActivationBackward => &[R, R, R, W, W],
            Self::LogitsBackward => &[W, R, R, R],
            Self::Add | Self::AddBias => &[W, R],
            Self::Fill => &[W],
            Self::AdamW => &[W, R, W, W],
        }
    }

    /// The file name of the kernel in `wgsl/` and in `src/cpu/`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EmbedRows(_) => "embed_rows",
            Self::MatmulQ(_) => "matmul_q",
            Self::MatmulQT(_) => "matmul_q_transposed",
            Self::MatmulF32 => "matmul_f32",
            Self::RmsNorm => "rms_norm",
            Self::RmsNormBackward => "rms_norm_backward",
            Self::Rope => "rope",
            Self::ScatterRows => "scatter_rows",
            Self::GatherRows => "gather_rows",
            Self::MoveRows => "move_rows",
            Self::Attention => "attention",
            Self::AttentionDelta => "attention_delta",
            Self::AttentionBackwardQ => "attention_backward_q",
            Self::AttentionBackwardKv => "attention_backward_kv",
            Self::GatedActivation => "gated_activation",
            Self::GatedActivationBackward => "gated_activation_backward",
            Self::LogitsReduce => "logits_reduce",
            Self::LogitsBackward => "logits_backward",
            Self::Add => "add",
            Self::AddBias => "add_bias",
            Self::Fill => "fill",
            Self::SquaredNorm => "squared_norm",
            Self::AdamW => "adamw",
        }
    }

    /// The weight type of a quantized kernel.
    pub const fn quant(self) -> Option<QuantType> {
        match self {
            Self::EmbedRows(q) | Self::MatmulQ(q) | Self::MatmulQT(q) => Some(q),
            _ => None,
        }
    }
}

//! What an architecture is: numbers and switches, read from GGUF metadata.
//!
//! To add an architecture, add an arm in [`Config::from_gguf`] that sets what differs from
//! [`Config::common`]; tensors keep llama.cpp's names.

use super::ModelError;
use super::rope::RopeScaling;
use crate::gguf::{GgufError, GgufFile, Metadata};

/// The gate's nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x · sigmoid(x).
    Silu,
    /// GELU in its tanh form.
    Gelu,
}

/// The shape and the switches of a transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `general.architecture`.
    pub architecture: String,
    /// Blocks.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub dim: usize,
    /// Width inside of the feed-forward part.
    pub ffn_dim: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key/value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Token ids.
    pub vocab: usize,
    /// Positions that the model was trained for.
    pub context_length: usize,
    /// Added to the mean square in the norms.
    pub rms_eps: f32,
    /// Leading values of a head that turn.
    pub rope_dim: usize,
    /// Pairs are (i, i + half) instead of neighbours.
    pub rope_neox: bool,
    /// Base of the frequencies.
    pub rope_base: f32,
    /// Base of the frequencies, not stretched, in layers with a sliding window, where they have their own.
    pub rope_base_local: Option<f32>,
    /// How the frequencies are stretched.
    pub rope_scaling: RopeScaling,
    /// Every n-th layer does not turn queries and keys; 0: all do.
    pub no_rope_every: usize,
    /// Factor on q·k.
    pub attention_scale: f32,
    /// Tokens that a sliding layer sees; 0 for none.
    pub window: usize,
    /// Every n-th layer has no window; 0: all have it (where there is one).
    pub window_pattern: usize,
    /// Queries and keys are normed by head.
    pub qk_norm: bool,
    /// Attention and feed-forward outputs are normed before they are added.
    pub post_norm: bool,
    /// Queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Queries, keys and values are rows of one stored matrix, in this order.
    pub fused_qkv: bool,
    /// Gate and up projection are rows of one stored matrix, in this order.
    pub fused_gate_up: bool,
    /// The gate's nonlinearity.
    pub activation: Activation,
    /// Factor on the embeddings.
    pub embedding_scale: f32,
}

/// Architectures that [`Config::from_gguf`] knows.
const SUPPORTED: &str = "llama (also Mistral), mistral3, qwen2, qwen3, gemma3, phi3, smollm3";
/// The key of a mixture of experts.
const EXPERTS: &str = "expert_count";

impl Config {
    /// Reads it.
    ///
    /// # Errors
    /// A missing or mistyped key, an unknown architecture, numbers that make no sense.
    pub fn from_gguf(file: &GgufFile) -> Result<Self, ModelError> {
        let meta = file.metadata();
        let architecture = meta.str("general.architecture")?.to_owned();
        let mut c = Self::common(&architecture, meta)?;
        match architecture.as_str() {
            "llama" => {}
            "mistral3" => {
                // Queries grow with the logarithm of the position from the end of the original context on, which
                // no kernel does: such a model runs up to there, where the factor is 1.
                if meta.opt_f32("mistral3.attention.temperature_scale")?.is_some_and(|s| s != 0.0) {
                    c.context_length = c.context_length.min(c.rope_scaling.original_context);
                }
            }
            "qwen2" | "phi3" => c.rope_neox = true,
            "smollm3" => c.no_rope_every = 4,
            "qwen3" => {
                c.rope_neox = true;
                c.qk_norm = true;
            }
            "gemma3" => {
                c.rope_neox = true;
                c.qk_norm = true;
                c.post_norm = true;
                c.activation = Activation::Gelu;
                c.embedding_scale = (c.dim as f32).sqrt();
                c.window_pattern = meta.opt_u32("gemma3.attention.sliding_window_pattern")?.map_or(6, |n| n as usize);
                c.rope_base_local = Some(meta.opt_f32("gemma3.rope.freq_base_swa")?.unwrap_or(10_000.0));
                if c.n_layers == 62 {
                    // The 27B model scales by the width of its heads as if they filled the residual stream.
                    c.attention_scale = ((c.dim / c.n_heads) as f32).sqrt().recip();
                }
            }
            _ => {
                return Err(ModelError::UnknownArchitecture { found: architecture, supported: SUPPORTED.into() });
            }
        }
        c.vocab = match file.tensor("token_embd.weight") {
            Some(t) if t.shape.len() == 2 => t.shape[1] as usize,
            _ => return Err(ModelError::Config("token_embd.weight is missing or not a matrix".into())),
        };
        let has = |tensor: &str| file.tensor(&format!("blk.0.{tensor}")).is_some();
        c.fused_qkv = has("attn_qkv.weight");
        c.qkv_bias = has("attn_q.bias") || has("attn_qkv.bias");
        c.fused_gate_up = !has("ffn_gate.weight");
        c.check()?;
        Ok(c)
    }

    /// What all architectures share, under their own prefix.
    fn common(arch: &str, meta: &Metadata) -> Result<Self, ModelError> {
        let key = |name: &str| format!("{arch}.{name}");
        let number = |name: &str| -> Result<usize, GgufError> { Ok(meta.u32(&key(name))? as usize) };
        let or = |name: &str, other: usize| -> Result<usize, GgufError> {
            Ok(meta.opt_u32(&key(name))?.map_or(other, |v| v as usize))
        };
        let (dim, n_heads) = (number("embedding_length")?, number("attention.head_count")?);
        if n_heads == 0 {
            return Err(ModelError::Config(format!("{} is 0", key("attention.head_count"))));
        }
        let head_dim = or("attention.key_length", dim / n_heads)?;
        let rope_base = meta.opt_f32(&key("rope.freq_base"))?.unwrap_or(10_000.0);
        if let Some(experts) = meta.opt_u32(&key(EXPERTS))?.filter(|n| *n > 0) {
            return Err(ModelError::Unsupported {
                what: key(EXPERTS),
                found: experts.to_string(),
                supported: "dense models only".into(),
            });
        }
        if let Some(cap) = meta.opt_f32(&key("final_logit_softcapping"))?.filter(|c| *c != 0.0) {
            return Err(ModelError::Unsupported {
                what: key("final_logit_softcapping"),
                found: cap.to_string(),
                supported: "0".into(),
            });
        }
        let context_length = number("context_length")?;
        Ok(Self {
            architecture: arch.to_owned(),
            n_layers: number("block_count")?,
            dim,
            ffn_dim: number("feed_forward_length")?,
            n_heads,
            n_kv_heads: or("attention.head_count_kv", n_heads)?,
            head_dim,
            vocab: 0,
            context_length,
            rms_eps: meta.f32(&key("attention.layer_norm_rms_epsilon"))?,
            rope_dim: or("rope.dimension_count", head_dim)?,
            rope_neox: false,
            rope_base,
            rope_base_local: None,
            rope_scaling: RopeScaling::read(arch, meta, context_length)?,
            no_rope_every: 0,
            attention_scale: (head_dim as f32).sqrt().recip(),
            window: or("attention.sliding_window", 0)?,
            window_pattern: 0,
            qk_norm: false,
            post_norm: false,
            qkv_bias: false,
            fused_qkv: false,
            fused_gate_up: false,
            activation: Activation::Silu,
            embedding_scale: 1.0,
        })
    }

    /// Bounds that keep every later product of sizes far from overflow.
    fn check(&self) -> Result<(), ModelError> {
        let bounded = [
            ("block_count", self.n_layers, 512),
            ("embedding_length", self.dim, 1 << 16),
            ("feed_forward_length", self.ffn_dim, 1 << 18),
            ("head_count", self.n_heads, 1 << 10),
            ("head_count_kv", self.n_kv_heads, 1 << 10),
            ("key_length", self.head_dim, 1 << 10),
            ("vocabulary", self.vocab, 1 << 21),
            ("context_length", self.context_length, 1 << 24),
        ];
        for (name, value, limit) in bounded {
            if value == 0 || value > limit {
                return Err(ModelError::Config(format!("{name} is {value}, expected 1 to {limit}")));
            }
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            return Err(ModelError::Config(format!(
                "{} query heads are no multiple of {} key/value heads",
                self.n_heads, self.n_kv_heads
            )));
        }
        if !self.rope_dim.is_multiple_of(2) || self.rope_dim > self.head_dim {
            return Err(ModelError::Config(format!(
                "rope dimension {} of head width {}",
                self.rope_dim, self.head_dim
            )));
        }
        let bases = [self.rope_base, self.rope_base_local.unwrap_or(1.0)];
        if !(self.rms_eps >= 0.0 && bases.iter().all(|b| b.is_finite() && *b > 0.0)) {
            return Err(ModelError::Config("norm epsilon and rope base must be positive numbers".into()));
        }
        Ok(())
    }

    /// Tokens that layer `layer` sees; 0 for all.
    pub fn window_of(&self, layer: usize) -> usize {
        let global = self.window_pattern > 0 && (layer + 1).is_multiple_of(self.window_pattern);
        if global { 0 } else { self.window }
    }

    /// Whether layer `layer` turns queries and keys.
    pub fn has_rope(&self, layer: usize) -> bool {
        self.no_rope_every == 0 || !(layer + 1).is_multiple_of(self.no_rope_every)
    }

    /// Width of all query heads.
    pub fn q_dim(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Width of all key heads.
    pub fn kv_dim(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A configuration of no real model, for tests of what is built on one.
    pub(crate) fn small() -> Config {
        Config {
            architecture: "llama".into(),
            n_layers: 2,
            dim: 64,
            ffn_dim: 96,
            n_heads: 4,
            n_kv_heads: 2,
            head_dim: 16,
            vocab: 32,
            context_length: 64,
            rms_eps: 1e-5,
            rope_dim: 16,
            rope_neox: false,
            rope_base: 10_000.0,
            rope_base_local: None,
            rope_scaling: RopeScaling::NONE,
            no_rope_every: 0,
            attention_scale: 0.25,
            window: 0,
            window_pattern: 0,
            qk_norm: false,
            post_norm: false,
            qkv_bias: false,
            fused_qkv: false,
            fused_gate_up: false,
            activation: Activation::Silu,
            embedding_scale: 1.0,
        }
    }

    #[test]
    fn every_sixth_layer_of_gemma_has_no_window() {
        let c = Config { window: 512, window_pattern: 6, ..small() };
        let windows: Vec<usize> = (0..12).map(|l| c.window_of(l)).collect();
        assert_eq!(windows, [512, 512, 512, 512, 512, 0, 512, 512, 512, 512, 512, 0]);
    }
}

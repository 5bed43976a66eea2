//! Frequencies of the rotary embedding (Su et al., arXiv 2104.09864) and how files stretch them.

use std::f64::consts::TAU;

use super::{Config, ModelError};
use crate::gguf::Metadata;

/// Names of the scalings that are read.
const SUPPORTED: &str = "none, linear, yarn, longrope";

/// How the frequencies are stretched for contexts longer than the model first saw. Factors by dimension (Llama 3's
/// `rope_freqs.weight`, LongRoPE's long and short ones, arXiv 2402.13753) are tensors and come on top.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RopeScaling {
    /// Positions are divided by this; 1 for no stretching.
    pub factor: f32,
    /// Which dimensions are left as they are; `None`: all are stretched.
    pub yarn: Option<Yarn>,
    /// Positions that the model first saw.
    pub original_context: usize,
    /// Factor on turned queries and keys.
    pub attention_factor: f32,
}

/// YaRN (Peng et al., arXiv 2309.00071): dimensions that turn more than `beta_fast` times within the original context
/// are left as they are, those that turn less than `beta_slow` times are stretched, and in between it is blended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// Turns above which nothing is stretched.
    pub beta_fast: f32,
    /// Turns below which all is.
    pub beta_slow: f32,
    /// Share of unstretched frequencies in the blend; 1 is the paper's.
    pub extrapolation: f32,
}

impl RopeScaling {
    /// No stretching.
    pub(super) const NONE: Self = Self { factor: 1.0, yarn: None, original_context: 0, attention_factor: 1.0 };

    /// Reads the keys under `arch.rope`.
    pub(super) fn read(arch: &str, meta: &Metadata, context: usize) -> Result<Self, ModelError> {
        let key = |name: &str| format!("{arch}.rope.{name}");
        let float = |name: &str| meta.opt_f32(&key(name));
        let kind = meta.opt_str(&key("scaling.type"))?;
        let factor = match float("scaling.factor")? {
            Some(f) => f,
            None => float("scale_linear")?.unwrap_or(0.0),
        };
        // 0 stands for a file that says nothing.
        let factor = if kind == Some("none") || factor == 0.0 { 1.0 } else { factor };
        let mut yarn = None;
        let mut attention_factor = float("scaling.attn_factor")?.unwrap_or(1.0);
        match kind {
            None | Some("none" | "linear" | "longrope") => {}
            Some("yarn") => {
                yarn = Some(Yarn {
                    beta_fast: float("scaling.yarn_beta_fast")?.unwrap_or(32.0),
                    beta_slow: float("scaling.yarn_beta_slow")?.unwrap_or(1.0),
                    extrapolation: float("scaling.yarn_ext_factor")?.unwrap_or(1.0),
                });
                // Section 3.4 of the paper; the divisor is DeepSeek's `mscale_all_dim`.
                let magnitude = |scale: f32| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
                let all = float("scaling.yarn_log_multiplier")?.filter(|m| *m != 0.0).map_or(1.0, magnitude);
                attention_factor *= magnitude(1.0) / all;
            }
            Some(found) => {
                return Err(ModelError::Unsupported {
                    what: key("scaling.type"),
                    found: found.into(),
                    supported: SUPPORTED.into(),
                });
            }
        }
        let original_context = meta.opt_u32(&key("scaling.original_context_length"))?.map_or(context, |n| n as usize);
        let read = Self { factor, yarn, original_context, attention_factor };
        read.check()?;
        Ok(read)
    }

    fn check(&self) -> Result<(), ModelError> {
        let positive = |x: f32| x.is_finite() && x > 0.0;
        let turns = self.yarn.is_none_or(|y| {
            positive(y.beta_fast) && positive(y.beta_slow) && y.extrapolation.is_finite() && self.original_context > 0
        });
        if positive(self.factor) && positive(self.attention_factor) && turns {
            return Ok(());
        }
        Err(ModelError::Config(format!("rope scaling makes no sense: {self:?}")))
    }
}

/// The inverse frequencies `[rope_dim / 2]` of layers with (`local`) and without a base of their own, with a divisor
/// for each where the file has them.
pub(super) fn inverse_frequencies(c: &Config, local: bool, factors: Option<&[f32]>) -> Vec<f32> {
    let local_base = c.rope_base_local.filter(|_| local);
    let base = f64::from(local_base.unwrap_or(c.rope_base));
    let scaling = if local_base.is_some() { RopeScaling::NONE } else { c.rope_scaling };
    let dim = c.rope_dim as f64;
    // The dimension that turns `turns` times within the original context (equation 7 of YaRN, solved for it).
    let turning =
        |turns: f32| dim * (scaling.original_context as f64 / (f64::from(turns) * TAU)).ln() / (2.0 * base.ln());
    let blend = scaling.yarn.map(|yarn| {
        let low = turning(yarn.beta_fast).floor().max(0.0);
        let high = turning(yarn.beta_slow).ceil().min(dim - 1.0);
        (low, (high - low).max(0.001), f64::from(yarn.extrapolation))
    });
    (0..c.rope_dim / 2)
        .map(|i| {
            let divisor = factors.and_then(|f| f.get(i)).map_or(1.0, |f| f64::from(*f));
            let own = base.powf(-2.0 * i as f64 / dim) / divisor;
            let stretched = own / f64::from(scaling.factor);
            let Some((low, width, extrapolation)) = blend else { return stretched as f32 };
            let ramp = ((i as f64 - low) / width).clamp(0.0, 1.0);
            let kept = (1.0 - ramp) * extrapolation;
            (stretched * (1.0 - kept) + own * kept) as f32
        })
        .collect()
}

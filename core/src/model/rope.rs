//! Frequencies of the rotary embedding.

use super::Config;

/// The inverse frequencies `[rope_dim / 2]` of layers with and without a window.
pub(super) fn inverse_frequencies(c: &Config, local: bool) -> Vec<f32> {
    let (base, scale) = if local { (c.rope_base_local, 1.0) } else { (c.rope_base, c.rope_scale) };
    (0..c.rope_dim / 2)
        .map(|i| {
            let exponent = -2.0 * i as f64 / c.rope_dim as f64;
            (f64::from(base).powf(exponent) / f64::from(scale)) as f32
        })
        .collect()
}

//! What a sampler on the host needs of logits, on the calling thread, whatever computed them.

use crate::math::{exp, max_of, sum_of};

/// The largest of some numbers, NaN aside; −∞ where there is none.
pub fn largest(x: &[f32]) -> f32 {
    max_of(x)
}

/// log Σ exp of logits.
pub fn log_sum_exp(logits: &[f32]) -> f32 {
    let max = largest(logits);
    max + exponentials(logits, max, 1.0, None).ln()
}

/// exp((x − max) · scale) of each logit, into `out` where it is given (of the same length), and their sum. What lies more
/// than 87 below counts as if it lay there.
pub fn exponentials(logits: &[f32], max: f32, scale: f32, out: Option<&mut [f32]>) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the instructions are there.
        return unsafe { exponentials_avx2(logits, max, scale, out) };
    }
    exponentials_of(logits, max, scale, out)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn exponentials_avx2(logits: &[f32], max: f32, scale: f32, out: Option<&mut [f32]>) -> f32 {
    exponentials_of(logits, max, scale, out)
}

#[inline(always)]
fn exponentials_of(logits: &[f32], max: f32, scale: f32, out: Option<&mut [f32]>) -> f32 {
    match out {
        None => sum_of(logits, |x| exp((x - max) * scale)),
        Some(out) => {
            out.iter_mut().zip(logits).for_each(|(out, x)| *out = exp((x - max) * scale));
            sum_of(out, |x| x)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_those_of_the_standard_library() {
        let logits: Vec<f32> = (0..1003).map(|i| ((i * 37) % 101) as f32 / 7.0 - 5.0).collect();
        let max = max_of(&logits);
        assert_eq!(max, logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let mut each = vec![0.0; logits.len()];
        let sum = exponentials(&logits, max, 1.25, Some(&mut each));
        let want: Vec<f64> = logits.iter().map(|x| (f64::from(x - max) * 1.25).exp()).collect();
        assert!(each.iter().zip(&want).all(|(a, b)| (f64::from(*a) / b - 1.0).abs() < 1e-5));
        assert!((f64::from(sum) / want.iter().sum::<f64>() - 1.0).abs() < 1e-5);
        assert!((exponentials(&logits, max, 1.25, None) / sum - 1.0).abs() < 1e-6);
        let lse = f64::from(max) + logits.iter().map(|x| f64::from(x - max).exp()).sum::<f64>().ln();
        assert!((f64::from(log_sum_exp(&logits)) - lse).abs() < 1e-5);
        // Excluded tokens add nothing that can be seen.
        assert_eq!(log_sum_exp(&[1.0, f32::NEG_INFINITY, f32::NEG_INFINITY]), 1.0);
    }
}

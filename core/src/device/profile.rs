//! Where the time of passes goes, kernel by kernel.

use std::collections::HashMap;
use std::time::Duration;

use unspoken_kernels::{Kernel, Params, params};

use super::Dispatch;

/// The dispatches of one kernel at one shape, together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelTime {
    /// The kernel, with the shape where it is a product: `matmul_q 1536 x 576, 1 token`.
    pub kernel: String,
    /// How many there were.
    pub dispatches: u64,
    /// The time they took.
    pub time: Duration,
}

/// Times counted so far.
#[derive(Debug, Default)]
pub(super) struct Profile(HashMap<String, (u64, Duration)>);

impl Profile {
    pub(super) fn add(&mut self, dispatch: &Dispatch, time: Duration) {
        let (count, sum) = self.0.entry(label(dispatch)).or_default();
        *count += 1;
        *sum += time;
    }

    /// The longest first.
    pub(super) fn times(self) -> Vec<KernelTime> {
        let mut times: Vec<_> =
            self.0.into_iter().map(|(kernel, (dispatches, time))| KernelTime { kernel, dispatches, time }).collect();
        times.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| a.kernel.cmp(&b.kernel)));
        times
    }
}

fn label(dispatch: &Dispatch) -> String {
    let (kernel, raw) = (dispatch.kernel, &dispatch.params);
    let shape = match kernel {
        Kernel::MatmulQ(_) | Kernel::MatmulQT(_) => {
            let p = params::MatmulQ::from_raw(raw);
            (p.n, p.k, p.n_tokens)
        }
        Kernel::MatmulGated(_) => {
            let p = params::MatmulGated::from_raw(raw);
            (2 * p.n, p.k, p.n_tokens)
        }
        Kernel::MatmulFew(_, along) => {
            let p = params::MatmulFew::from_raw(raw);
            (p.n << u32::from(along.gate), p.k, p.n_tokens)
        }
        Kernel::MatmulF32 => {
            let all = params::MatmulF32::from_raw(raw);
            let shapes: Vec<_> = all.problems().map(|p| format!("{} x {} x {}", p.m, p.n, p.k)).collect();
            return format!("{} {}", kernel.name(), shapes.join(", "));
        }
        _ => return kernel.name().to_owned(),
    };
    let (n, k, tokens) = shape;
    let plural = if tokens == 1 { "" } else { "s" };
    format!("{} {n} x {k}, {tokens} token{plural}", kernel.name())
}

//! Which forms of the products a device is fastest with: each is run on a matrix of the size that small models have.

use std::time::{Duration, Instant};

use unspoken_kernels::wgsl::{Few, Forms, Many};
use unspoken_kernels::{Kernel, QuantType, params};

use super::{PoisonError, WgpuDevice, pass};
use crate::device::{Buffer, DeviceError, Recording};

/// The matrix: its rows and columns.
const ROWS: usize = 1024;
const COLS: usize = 1024;
/// Tokens of a product of many.
const TOKENS: usize = 64;
/// Products of one token in a pass: one alone is over before it can be measured.
const TIMES: usize = 16;
/// Times that each is run after it was compiled.
const RUNS: usize = 3;
/// Weights in textures are slower for what no measurement here sees (embeddings, the backward pass): they must win by
/// this.
const MARGIN: f64 = 0.8;

/// The fastest.
pub(super) fn forms(gpu: &WgpuDevice, subgroups: Option<(u32, u32)>) -> Result<Forms, DeviceError> {
    let plain = Forms { subgroups, ..Forms::PLAIN };
    let q = QuantType::Q4_1;
    let planes = q.planes(q.blocks(ROWS * COLS).unwrap_or_default());
    // Where not even this finds room, no form is worth measuring.
    if planes.words.max(TOKENS * ROWS.max(COLS)) > gpu.max_words {
        return Ok(plain);
    }
    let bench = Bench {
        gpu,
        weights: gpu.alloc(planes.words)?,
        x: gpu.alloc(TOKENS * COLS)?,
        y: gpu.alloc(TOKENS * ROWS)?,
        planes: planes.offsets,
    };
    let texture = gpu.texture(&bench.weights)?;
    let by_lanes = plain.lanes();
    let few: Vec<_> = [Few::Split, Few::Subgroups, Few::Lanes].into_iter().filter(|few| plain.can(*few)).collect();
    let many: &[Many] = if by_lanes { &[Many::Tiles, Many::Split, Many::Lanes] } else { &[Many::Tiles, Many::Split] };
    let mut best: Option<(f64, Forms)> = None;
    for (weights, textures) in [(Some(&bench.weights), false), (texture.as_ref(), true)] {
        let Some(weights) = weights else { continue };
        let all = few.iter().map(|few| Forms { few: *few, textures, ..plain });
        let (one, few) = bench.fastest(all, weights, 1)?;
        let all = many.iter().map(|many| Forms { many: *many, textures, ..plain });
        let (more, many) = bench.fastest(all, weights, TOKENS)?;
        // A chat spends about as long on its prompts as on its answers.
        let cost = one.as_secs_f64() * (TOKENS / TIMES) as f64 + more.as_secs_f64() * 4.0;
        if best.is_none_or(|(c, _)| cost < MARGIN * c) {
            best = Some((cost, Forms { few: few.few, ..many }));
        }
    }
    Ok(best.map_or(plain, |(_, forms)| forms))
}

struct Bench<'a> {
    gpu: &'a WgpuDevice,
    weights: Buffer,
    x: Buffer,
    y: Buffer,
    planes: [u32; 4],
}

impl Bench<'_> {
    /// The fastest of some forms, and how long it takes.
    fn fastest(
        &self,
        all: impl Iterator<Item = Forms>,
        weights: &Buffer,
        tokens: usize,
    ) -> Result<(Duration, Forms), DeviceError> {
        let mut best = (Duration::MAX, Forms::PLAIN);
        for forms in all {
            let took = self.time(&forms, weights, tokens)?;
            log::debug!("{}: {tokens} tokens by {forms:?}: {took:?}", self.gpu.name);
            if took < best.0 {
                best = (took, forms);
            }
        }
        Ok(best)
    }

    fn time(&self, forms: &Forms, weights: &Buffer, tokens: usize) -> Result<Duration, DeviceError> {
        let p = params::MatmulQ {
            n_tokens: tokens as u32,
            k: COLS as u32,
            n: ROWS as u32,
            planes: self.planes,
            x_stride: COLS as u32,
            y_stride: ROWS as u32,
            ..Default::default()
        };
        let mut rec = Recording::new();
        for _ in 0..if tokens == 1 { TIMES } else { 1 } {
            rec.push(Kernel::MatmulQ(QuantType::Q4_1), &p, &[&self.x, weights, &self.y])?;
        }
        let mut best = Duration::MAX;
        for run in 0..=RUNS {
            let start = Instant::now();
            {
                let mut work = self.gpu.work.lock().unwrap_or_else(PoisonError::into_inner);
                pass::run(self.gpu, &mut work, &rec, forms, None)?;
            }
            self.gpu.wait();
            self.gpu.check()?;
            let took = start.elapsed();
            // The first time it is compiled.
            if run > 0 {
                best = best.min(took);
            }
            // A form that is far too slow is not worth more of the user's time.
            if run > 0 && took > Duration::from_millis(200) {
                break;
            }
        }
        Ok(best)
    }
}

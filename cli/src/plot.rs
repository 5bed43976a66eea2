//! The curves of an adaptation as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use serde_json::Value;

/// Two curves by step, one above the other: mean critic score and KL where there were rollouts, else loss and the
/// gradient's norm. `steps` are the lines of a job's log.
pub fn curves(path: &Path, steps: &[Value]) -> Result<()> {
    let of = |place: &str| -> Vec<(f64, f64)> {
        steps.iter().filter_map(|s| Some((s["step"].as_f64()?, s.pointer(place)?.as_f64()?))).collect()
    };
    let reward = of("/groups/mean_reward");
    let pictures = if reward.is_empty() {
        [("loss, nats per token", of("/loss")), ("norm of the gradient", of("/grad_norm"))]
    } else {
        [("mean critic score of the rollouts", reward), ("KL to the reference, nats per token", of("/groups/kl"))]
    };
    let last = steps.iter().filter_map(|s| s["step"].as_f64()).fold(1.0, f64::max);
    let root = SVGBackend::new(path, (760, 560)).into_drawing_area();
    let failed = |e: &dyn std::fmt::Display| anyhow!("{}: {e}", path.display());
    root.fill(&WHITE).map_err(|e| failed(&e))?;
    let (top, bottom) = root.split_vertically(280);
    for ((area, colour), (title, points)) in [(top, BLUE), (bottom, RED)].into_iter().zip(pictures) {
        let (mut low, mut high) = points.iter().fold((f64::MAX, f64::MIN), |m, p| (m.0.min(p.1), m.1.max(p.1)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let margin = ((high - low) * 0.1).max(1e-3);
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 18))
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(60)
            .build_cartesian_2d(0.5..last + 0.5, low - margin..high + margin)
            .map_err(|e| failed(&e))?;
        chart.configure_mesh().x_desc("step").draw().map_err(|e| failed(&e))?;
        chart.draw_series(LineSeries::new(points.iter().copied(), &colour)).map_err(|e| failed(&e))?;
        let dots = points.iter().map(|p| Circle::new(*p, 3, colour.filled()));
        chart.draw_series(dots).map_err(|e| failed(&e))?;
    }
    root.present().map_err(|e| failed(&e))
}

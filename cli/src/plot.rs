//! The curves of an adaptation as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use unspoken::align::StepReport;

/// Mean critic score and KL by step, one above the other.
pub fn curves(path: &Path, steps: &[StepReport]) -> Result<()> {
    let reward: Vec<(f64, f64)> =
        steps.iter().enumerate().filter_map(|(i, s)| Some((i as f64 + 1.0, f64::from(s.mean_reward?)))).collect();
    let kl: Vec<(f64, f64)> = steps.iter().enumerate().map(|(i, s)| (i as f64 + 1.0, f64::from(s.kl))).collect();
    let root = SVGBackend::new(path, (760, 560)).into_drawing_area();
    let failed = |e: &dyn std::fmt::Display| anyhow!("{}: {e}", path.display());
    root.fill(&WHITE).map_err(|e| failed(&e))?;
    let (top, bottom) = root.split_vertically(280);
    for (area, title, points, colour) in
        [(top, "mean critic score of the rollouts", reward, BLUE), (bottom, "KL to the base, nats per token", kl, RED)]
    {
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
            .build_cartesian_2d(0.5..steps.len().max(1) as f64 + 0.5, low - margin..high + margin)
            .map_err(|e| failed(&e))?;
        chart.configure_mesh().x_desc("CDPA step").draw().map_err(|e| failed(&e))?;
        chart.draw_series(LineSeries::new(points.iter().copied(), &colour)).map_err(|e| failed(&e))?;
        let dots = points.iter().map(|p| Circle::new(*p, 3, colour.filled()));
        chart.draw_series(dots).map_err(|e| failed(&e))?;
    }
    root.present().map_err(|e| failed(&e))
}

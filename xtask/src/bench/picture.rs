//! The ratios as bars.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::{Row, median};

/// A bar for each row that has a peer, with a line where we are as fast as it.
pub fn draw(path: &Path, rows: &[Row]) -> Result<()> {
    let bars: Vec<(&Row, f64)> = rows.iter().filter_map(|r| Some((r, median(&r.ours)? / median(&r.theirs)?))).collect();
    if bars.is_empty() {
        return Ok(());
    }
    let most = bars.iter().fold(1.0, |m: f64, b| m.max(b.1)) * 1.15;
    let (height, n) = (40 * bars.len() as u32 + 90, bars.len());
    let root = SVGBackend::new(path, (820, height)).into_drawing_area();
    let failed = |e: &dyn std::fmt::Display| anyhow!("{}: {e}", path.display());
    root.fill(&WHITE).map_err(|e| failed(&e))?;
    let mut chart = ChartBuilder::on(&root)
        .caption("tokens a second: unspoken / peer", ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(330)
        .build_cartesian_2d(0.0..most, (0..n as i32 - 1).into_segmented())
        .map_err(|e| failed(&e))?;
    let name = |place: &SegmentValue<i32>| match place {
        SegmentValue::CenterOf(i) | SegmentValue::Exact(i) => {
            bars.get(n.wrapping_sub(1).wrapping_sub(*i as usize)).map_or(String::new(), |b| b.0.what.clone())
        }
        SegmentValue::Last => String::new(),
    };
    chart.configure_mesh().disable_y_mesh().y_labels(n).y_label_formatter(&name).draw().map_err(|e| failed(&e))?;
    let place = |i: usize| (n - 1 - i) as i32;
    let drawn = bars.iter().enumerate().map(|(i, (_, ratio))| {
        let colour = if *ratio >= 1.0 { RGBColor(46, 125, 80) } else { RGBColor(190, 80, 60) };
        let corners = [(0.0, SegmentValue::Exact(place(i))), (*ratio, SegmentValue::Exact(place(i) + 1))];
        let mut bar = Rectangle::new(corners, colour.filled());
        bar.set_margin(6, 6, 0, 0);
        bar
    });
    chart.draw_series(drawn).map_err(|e| failed(&e))?;
    let labels = bars.iter().enumerate().map(|(i, (_, ratio))| {
        let at = (*ratio + most * 0.01, SegmentValue::CenterOf(place(i)));
        Text::new(format!("{ratio:.2}"), at, ("sans-serif", 14))
    });
    chart.draw_series(labels).map_err(|e| failed(&e))?;
    let par = [(1.0, SegmentValue::Exact(0)), (1.0, SegmentValue::Last)];
    chart.draw_series([PathElement::new(par, BLACK)]).map_err(|e| failed(&e))?;
    root.present().map_err(|e| failed(&e))
}

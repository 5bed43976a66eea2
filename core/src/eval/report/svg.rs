//! Small pictures as inline SVG. Colours come from the page's style, so that they follow light and dark.

use std::fmt::Write as _;

use crate::eval::Interval;

/// An interval with its mean on a bed from `low` to `high`; a mark stands at `mark`.
pub(super) fn track(mean: f64, i: &Interval, low: f64, high: f64, mark: Option<f64>) -> String {
    let x = |v: f64| 100.0 * ((v - low) / (high - low)).clamp(0.0, 1.0);
    let (from, to, at) = (x(i.low), x(i.high), x(mean).clamp(0.6, 99.4));
    let mark = mark.map_or(String::new(), |m| {
        format!("<line class=\"zero\" x1=\"{0:.2}\" x2=\"{0:.2}\" y1=\"0\" y2=\"14\"/>", x(m))
    });
    format!(
        "<svg class=\"track\" viewBox=\"0 0 100 14\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <rect class=\"bed\" x=\"0\" y=\"5\" width=\"100\" height=\"4\"/>{mark}\
         <rect class=\"range\" x=\"{from:.2}\" y=\"3\" width=\"{:.2}\" height=\"8\"/>\
         <rect class=\"mean\" x=\"{:.2}\" y=\"0\" width=\"1.2\" height=\"14\"/></svg>",
        (to - from).max(0.3),
        at - 0.6,
    )
}

/// A line of a chart: its colour's number and its points.
pub(super) struct Line {
    pub(super) colour: usize,
    pub(super) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 36.0;
/// Points that are marked with a dot each.
const DOTTED: usize = 40;

/// Lines over steps. `fixed` is the vertical range; without one it follows the points.
pub(super) fn chart(lines: &[Line], x_name: &str, fixed: Option<(f64, f64)>) -> String {
    let all = || lines.iter().flat_map(|l| &l.points).filter(|p| p.1.is_finite());
    let span = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |m, v| (m.0.min(v), m.1.max(v)))
    };
    let (x0, x1) = span(&mut all().map(|p| p.0));
    if x0 > x1 {
        return String::new();
    }
    let (y0, y1) = fixed.unwrap_or_else(|| span(&mut all().map(|p| p.1)));
    let ticks = ticks(y0, y1);
    let (y0, y1) = (y0.min(ticks[0]), y1.max(ticks[ticks.len() - 1]));
    let width = if x1 > x0 { x1 - x0 } else { 1.0 };
    let x = |v: f64| LEFT + (WIDTH - LEFT - RIGHT) * (v - x0) / width;
    let y = |v: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (v - y0) / (y1 - y0);
    let mut out = format!("<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    let decimals = decimals(ticks[1] - ticks[0]);
    for t in &ticks {
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/>\
             <text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{4:.5$}</text>",
            WIDTH - RIGHT,
            y(*t),
            LEFT - 6.0,
            y(*t) + 4.0,
            // No "-0".
            if *t == 0.0 { 0.0 } else { *t },
            decimals,
        );
    }
    // First, middle and last step; the middle only where it is one of its own.
    let middle = ((x0 + x1) / 2.0).round();
    let mut marks = vec![(x0, "start"), (x1, "end")];
    if middle > x0 && middle < x1 {
        marks.insert(1, (middle, "middle"));
    }
    if x1 <= x0 {
        marks.truncate(1);
    }
    for (v, anchor) in marks {
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{v:.0}</text>",
            x(v),
            HEIGHT - BOTTOM + 15.0
        );
    }
    let _ = write!(
        out,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/>\
         <text x=\"{2:.1}\" y=\"{3}\" text-anchor=\"middle\">{x_name}</text>",
        WIDTH - RIGHT,
        HEIGHT - BOTTOM,
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 6.0,
    );
    for line in lines {
        let points: Vec<(f64, f64)> =
            line.points.iter().filter(|p| p.1.is_finite()).map(|p| (x(p.0), y(p.1.clamp(y0, y1)))).collect();
        let path: Vec<String> = points.iter().map(|p| format!("{:.1},{:.1}", p.0, p.1)).collect();
        let _ = write!(out, "<g class=\"c{}\"><polyline class=\"path\" points=\"{}\"/>", line.colour, path.join(" "));
        for p in points.iter().filter(|_| points.len() <= DOTTED) {
            let _ = write!(out, "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"/>", p.0, p.1);
        }
        out += "</g>";
    }
    out + "</svg>"
}

/// Three to seven round numbers that span from `low` to `high`.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let range = if high - low > 1e-9 { high - low } else { low.abs().max(1e-3) };
    let rough = range / 4.0;
    let magnitude = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].iter().map(|m| m * magnitude).find(|s| *s >= rough * 0.999).unwrap_or(rough);
    let first = (low / step + 1e-9).floor();
    let last = (high / step - 1e-9).ceil().max(first + 1.0);
    (0..=(last - first) as usize).map(|i| (first + i as f64) * step).collect()
}

/// Decimals that tell multiples of `step` apart.
fn decimals(step: f64) -> usize {
    (0..6)
        .find(|d| {
            let s = step * 10f64.powi(*d);
            (s - s.round()).abs() < 1e-6
        })
        .unwrap_or(6) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_span_the_values() {
        for (low, high) in [(0.0, 1.0), (-0.37, 0.61), (0.0012, 0.0019), (5.0, 5.0), (0.0, 0.0), (-3.0, 1000.0)] {
            let t = ticks(low, high);
            assert!(
                t[0] <= low + 1e-9 && t[t.len() - 1] >= high - 1e-9 && (2..=8).contains(&t.len()),
                "{low} {high} {t:?}"
            );
        }
        assert_eq!(ticks(0.0, 1.0), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!((decimals(0.25), decimals(5.0), decimals(0.1)), (2, 0, 1));
    }

    #[test]
    fn a_track_keeps_inside() {
        let svg = track(1.0, &Interval { low: 0.9, high: 1.0 }, 0.0, 1.0, None);
        assert!(svg.contains("x=\"90.00\"") && svg.contains("x=\"98.80\""), "{svg}");
    }

    #[test]
    fn charts_leave_out_what_is_no_number() {
        let line = |points: &[(f64, f64)]| vec![Line { colour: 0, points: points.to_vec() }];
        let svg = chart(&line(&[(1.0, 0.5), (2.0, f64::NAN), (3.0, 0.7)]), "step", None);
        assert!(!svg.contains("NaN") && svg.matches("<circle").count() == 2, "{svg}");
        assert_eq!(chart(&line(&[(1.0, f64::NAN)]), "step", None), "");
        assert!(!chart(&line(&[(4.0, 0.5)]), "step", None).contains("NaN"));
    }
}

//! Products in which a lane has rows of W of its own and x goes round by subgroup broadcasts.
//!
//! A broadcast takes its lane as a constant, so the loop over a run of 32 weights is written out here. Drivers that
//! compute on the CPU are fastest with it: there each load costs more than the arithmetic that follows, and this form
//! loads the least: a run of weights once for all tokens, and a value of x once for all rows of a subgroup.

use std::fmt::Write;

use super::Forms;

/// Rows of W that a lane takes.
pub(super) const ROWS: u32 = 8;

/// The entry point for `tokens` tokens at a time.
pub(super) fn source(tokens: u32, forms: &Forms) -> String {
    let mut s = format!(
        "// A lane takes {ROWS} rows of W, a workgroup {tokens} tokens.
@compute @workgroup_size({group})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) sub: u32,
) {{
    let t0 = group.y * {tokens}u;
    let n0 = (group.x * {group}u + lane) * {ROWS}u;
    let count = row_count();
",
        group = forms.lanes_group()
    );
    let s = &mut s;
    // Lanes beyond the last row take it again: all of them must join the broadcasts.
    for r in 0..ROWS {
        line(s, 1, format!("let row{r} = weights_row(min(n0 + {r}u, count - 1u));"));
        (0..tokens).for_each(|t| line(s, 1, format!("var sum{r}_{t} = 0.0;")));
    }
    let width = forms.broadcasts();
    if tokens == 1 {
        one(s, width)
    } else {
        several(s, tokens, width.min(tokens))
    }
    for t in 0..tokens {
        line(s, 1, format!("if t0 + {t}u < p.n_tokens {{"));
        for r in 0..ROWS {
            let next = format!("sum{}_{t}", (r + 1) % ROWS);
            line(s, 2, format!("if n0 + {r}u < count {{ finish(t0 + {t}u, n0 + {r}u, sum{r}_{t}, {next}); }}"));
        }
        line(s, 1, "}".into());
    }
    s.push_str("}\n");
    std::mem::take(s)
}

fn line(s: &mut String, depth: usize, text: String) {
    let _ = writeln!(s, "{:1$}{text}", "", 4 * depth);
}

/// One token: lanes bring neighbouring quads of it.
fn one(s: &mut String, width: u32) {
    line(s, 1, format!("let lane_quad = x_row(0u) / 4u + sub % {width}u;"));
    line(s, 1, "for (var k = 0u; k < p.k; k += 32u) {".into());
    for load in 0..8 / width {
        line(s, 2, format!("let load{load} = x[lane_quad + k / 4u + {}u];", load * width));
    }
    for j in 0..8 {
        line(s, 2, format!("let x{j} = subgroupBroadcast(load{}, {}u);", j / width, j % width));
    }
    line(s, 2, "let first = dot(x0 + x1 + x2 + x3, vec4(1.0));".into());
    line(s, 2, "let second = dot(x4 + x5 + x6 + x7, vec4(1.0));".into());
    for r in 0..ROWS {
        line(s, 2, format!("let run{r} = run(row{r} + k);"));
        let half = |from: u32| {
            let terms: Vec<_> = (from..from + 4).map(|j| format!("part(run{r}, {j}u) * x{j}")).collect();
            format!("dot({}, vec4(1.0))", terms.join(" + "))
        };
        line(s, 2, format!("let dots{r} = vec2({}, {});", half(0), half(4)));
        line(s, 2, format!("sum{r}_0 += dot(run{r}.d, dots{r}) + dot(run{r}.m, vec2(first, second));"));
    }
    line(s, 1, "}".into());
}

/// Several tokens: lanes bring the same quad of different ones.
fn several(s: &mut String, tokens: u32, width: u32) {
    let loads = tokens / width;
    for load in 0..loads {
        let token = format!("min(t0 + {}u + sub % {width}u, p.n_tokens - 1u)", load * width);
        line(s, 1, format!("let quad{load} = x_row({token}) / 4u;"));
    }
    line(s, 1, "for (var k = 0u; k < p.k; k += 32u) {".into());
    (0..ROWS).for_each(|r| line(s, 2, format!("let run{r} = run(row{r} + k);")));
    for j in 0..8 {
        let half = if j < 4 { "x" } else { "y" };
        line(s, 2, "{".into());
        (0..loads).for_each(|l| line(s, 3, format!("let load{l} = x[quad{l} + k / 4u + {j}u];")));
        for r in 0..ROWS {
            line(s, 3, format!("let w{r} = part(run{r}, {j}u) * run{r}.d.{half} + run{r}.m.{half};"));
        }
        for t in 0..tokens {
            line(s, 3, format!("let x{t} = subgroupBroadcast(load{}, {}u);", t / width, t % width));
            (0..ROWS).for_each(|r| line(s, 3, format!("sum{r}_{t} += dot(x{t}, w{r});")));
        }
        line(s, 2, "}".into());
    }
    line(s, 1, "}".into());
}

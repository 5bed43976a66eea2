//! Products in which a lane has rows of W of its own and x goes round by subgroup broadcasts.
//!
//! A broadcast takes its lane as a constant, so the loop over a run of 32 weights is written out here. Drivers that
//! compute on the CPU are fastest with it: there each load costs more than the arithmetic that follows, and this form
//! loads the least: a run of weights once for all tokens, and a value of x once for all rows of a subgroup.

use std::fmt::Write;

use super::Forms;
use crate::Along;

/// Rows of W that a lane takes.
pub(super) const ROWS: u32 = 8;

/// The entry point for `tokens` tokens at a time.
pub(super) fn source(tokens: u32, along: Along, forms: &Forms) -> String {
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
    let width = forms.broadcasts().min(if tokens == 1 { 8 } else { tokens });
    if tokens == 1 {
        one(s, width, along)
    } else {
        several(s, tokens, width, along)
    }
    if along.adapter {
        (0..ROWS).for_each(|r| line(s, 1, format!("let beside{r} = adapted(min(n0 + {r}u, count - 1u), 0u, 1u);")));
    }
    for t in 0..tokens {
        if along.norm {
            line(s, 1, format!("let inverse{t} = inverse_rms({});", squares(t, tokens, width)));
        }
        line(s, 1, format!("if t0 + {t}u < p.n_tokens {{"));
        for r in 0..ROWS {
            let scaled = if along.norm { format!("sum{r}_{t} * inverse{t}") } else { format!("sum{r}_{t}") };
            let beside = if along.adapter { format!(" + beside{r}[{t}]") } else { String::new() };
            line(s, 2, format!("let value{r} = {scaled}{beside};"));
        }
        for r in 0..ROWS {
            let at = format!("t0 + {t}u, n0 + {r}u");
            let put = format!("put({at}, standing({at}) + value{r}, value{});", (r + 1) % ROWS);
            line(s, 2, format!("if n0 + {r}u < count {{ {put} }}"));
        }
        line(s, 1, "}".into());
    }
    s.push_str("}\n");
    std::mem::take(s)
}

fn line(s: &mut String, depth: usize, text: String) {
    let _ = writeln!(s, "{:1$}{text}", "", 4 * depth);
}

/// Token t's sum of squares, from the lanes that brought its quads.
fn squares(t: u32, tokens: u32, width: u32) -> String {
    if tokens == 1 {
        let each: Vec<_> = (0..width).map(|lane| format!("subgroupBroadcast(squares0, {lane}u)")).collect();
        return each.join(" + ");
    }
    format!("subgroupBroadcast(squares{}, {}u)", t / width, t % width)
}

/// The quad at `i` of x, weighted where a norm comes first; its squares are summed.
fn load(s: &mut String, depth: usize, along: Along, (name, squares): (&str, u32), i: &str, norm: &str) {
    if along.norm {
        line(s, depth, format!("let raw_{name} = x[{i}];"));
        line(s, depth, format!("squares{squares} += dot(raw_{name}, raw_{name});"));
        line(s, depth, format!("let {name} = raw_{name} * norm_quad({norm});"));
    } else {
        line(s, depth, format!("let {name} = x[{i}];"));
    }
}

/// One token: lanes bring neighbouring quads of it.
fn one(s: &mut String, width: u32, along: Along) {
    if along.norm {
        line(s, 1, "var squares0 = 0.0;".into());
    }
    line(s, 1, format!("let lane_quad = x_row(0u) / 4u + sub % {width}u;"));
    line(s, 1, "for (var k = 0u; k < p.k; k += 32u) {".into());
    for i in 0..8 / width {
        let at = format!("k / 4u + {}u", i * width);
        let norm = format!("sub % {width}u + {at}");
        load(s, 2, along, (&format!("load{i}"), 0), &format!("lane_quad + {at}"), &norm);
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
fn several(s: &mut String, tokens: u32, width: u32, along: Along) {
    let loads = tokens / width;
    for load in 0..loads {
        let token = format!("min(t0 + {}u + sub % {width}u, p.n_tokens - 1u)", load * width);
        line(s, 1, format!("let quad{load} = x_row({token}) / 4u;"));
        if along.norm {
            line(s, 1, format!("var squares{load} = 0.0;"));
        }
    }
    line(s, 1, "for (var k = 0u; k < p.k; k += 32u) {".into());
    (0..ROWS).for_each(|r| line(s, 2, format!("let run{r} = run(row{r} + k);")));
    for j in 0..8 {
        let half = if j < 4 { "x" } else { "y" };
        line(s, 2, "{".into());
        for i in 0..loads {
            let at = format!("k / 4u + {j}u");
            load(s, 3, along, (&format!("load{i}"), i), &format!("quad{i} + {at}"), &at);
        }
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

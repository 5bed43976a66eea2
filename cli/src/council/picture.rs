//! A tree as text and as a page with an SVG.

use std::fmt::Write as _;

use unspoken::align::{ThoughtNode, TreeRecord};

/// Width of a layer and height of a leaf, in pixels.
const COLUMN: usize = 330;
const ROW: usize = 74;
/// The box of a thought.
const BOX: (usize, usize) = (290, 62);

/// The tree with one line a thought.
pub fn text(tree: &TreeRecord) -> String {
    let mut out =
        format!("{}\n  preference: {}\n  question:   {}\n", tree.id, tree.user_profile, tree.initial_question);
    for (i, n) in tree.thought_tree.iter().enumerate() {
        branch(&mut out, n, "  ", i + 1 == tree.thought_tree.len());
    }
    match tree.response_list.first() {
        Some(best) => out + &format!("  best path {:+.2}: {}\n", best.score, best.answer),
        None => out + "  no path reaches a reply\n",
    }
}

fn branch(out: &mut String, n: &ThoughtNode, indent: &str, last: bool) {
    let (fork, under) = if last { ("└─", "  ") } else { ("├─", "│ ") };
    let score = n.score.map_or("failed".to_owned(), |s| format!("{s:+.2}"));
    let cut = if n.pruned { " ✂" } else { "" };
    let _ = writeln!(out, "{indent}{fork} {score}{cut} {}: {}", n.persona, n.thought);
    let below = format!("{indent}{under}");
    let _ = writeln!(out, "{below}     ↳ {}", n.reasoning);
    for (i, c) in n.children.iter().enumerate() {
        branch(out, c, &format!("{below} "), i + 1 == n.children.len());
    }
}

/// A page with a picture of each tree: layers from left to right, green for good and red for bad.
pub fn page(trees: &[TreeRecord]) -> String {
    let mut out = String::from(
        "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>Council</title><style>body{font:14px \
         system-ui,sans-serif;margin:2em;color:#222}svg{max-width:none}.scroll{overflow-x:auto}text{font:11px \
         system-ui,sans-serif}dt{font-weight:600}</style><h1>Council</h1>\n",
    );
    for t in trees {
        let _ = write!(
            out,
            "<section><h2>{}</h2><dl><dt>Preference</dt><dd>{}</dd><dt>Question</dt><dd>{}</dd>",
            escape(&t.id),
            escape(&t.user_profile),
            escape(&t.initial_question)
        );
        if let Some(best) = t.response_list.first() {
            let _ = write!(out, "<dt>Best reply ({:+.2})</dt><dd>{}</dd>", best.score, escape(&best.answer));
        }
        let _ = writeln!(out, "</dl><div class=\"scroll\">{}</div></section>", svg(t));
    }
    out + "</html>\n"
}

/// Leaves of a subtree.
fn leaves(n: &ThoughtNode) -> usize {
    n.children.iter().map(leaves).sum::<usize>().max(1)
}

fn layers(nodes: &[ThoughtNode]) -> usize {
    nodes.iter().map(|n| 1 + layers(&n.children)).max().unwrap_or(0)
}

fn svg(t: &TreeRecord) -> String {
    let rows: usize = t.thought_tree.iter().map(leaves).sum();
    let (width, height) = (layers(&t.thought_tree) * COLUMN + 20, rows * ROW + 10);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">"
    );
    let mut row = 0;
    for n in &t.thought_tree {
        draw(&mut out, n, 0, row, None);
        row += leaves(n);
    }
    out + "</svg>"
}

/// Draws a subtree whose first leaf lies in row `row`, and the line from its parent.
fn draw(out: &mut String, n: &ThoughtNode, column: usize, row: usize, parent: Option<(usize, usize)>) {
    let (x, y) = (column * COLUMN + 10, row * ROW + (leaves(n) - 1) * ROW / 2 + 5);
    let middle = y + BOX.1 / 2;
    if let Some((px, py)) = parent {
        let bend = (px + x) / 2;
        let _ = write!(
            out,
            "<path d=\"M{px} {py} C{bend} {py} {bend} {middle} {x} {middle}\" fill=\"none\" stroke=\"#999\"/>"
        );
    }
    // From red over white to green; grey where the critique failed.
    let fill = n.score.map_or("#ddd".to_owned(), |s| {
        let (hue, light) = (if s < 0.0 { 0 } else { 130 }, 97.0 - 22.0 * s.abs().min(1.0));
        format!("hsl({hue} 70% {light:.0}%)")
    });
    let dash = if n.pruned { " stroke-dasharray=\"4 3\"" } else { "" };
    let score = n.score.map_or("failed".to_owned(), |s| format!("{s:+.2}"));
    let (w, h) = BOX;
    let _ = write!(
        out,
        "<g><title>{}\n\n{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"6\" fill=\"{fill}\" \
         stroke=\"#777\"{dash}/><text x=\"{}\" y=\"{}\" font-weight=\"600\">{} {score}</text>",
        escape(&n.thought),
        escape(&n.reasoning),
        x + 8,
        y + 15,
        escape(&n.persona)
    );
    for (i, line) in wrap(&n.thought, 50, 3).iter().enumerate() {
        let _ = write!(out, "<text x=\"{}\" y=\"{}\">{}</text>", x + 8, y + 29 + 13 * i, escape(line));
    }
    out.push_str("</g>");
    let mut below = row;
    for c in &n.children {
        draw(out, c, column + 1, below, Some((x + w, middle)));
        below += leaves(c);
    }
}

/// Lines of at most `width` characters, at most `lines` of them; the last ends with … where text is left.
fn wrap(text: &str, width: usize, lines: usize) -> Vec<String> {
    let mut out: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        let last = out.len() - 1;
        let line = &mut out[last];
        if line.is_empty() || line.chars().count() + 1 + word.chars().count() <= width {
            if !line.is_empty() {
                line.push(' ');
            }
            *line += word;
        } else if out.len() == lines {
            out[last] += "…";
            break;
        } else {
            out.push(word.to_owned());
        }
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_models_write_does_not_become_markup() {
        let node = ThoughtNode {
            persona: "p".into(),
            thought: "<script>alert(1)</script> & so on, for many words that need more than a single line".into(),
            reasoning: "</title>".into(),
            score: None,
            pruned: true,
            children: Vec::new(),
        };
        let tree = TreeRecord::new("<id>", "", "p", "q", vec![node], 2);
        let page = page(std::slice::from_ref(&tree));
        assert!(!page.contains("<script>") && !page.contains("<id>") && page.contains("&lt;/title&gt;"));
        assert!(text(&tree).contains("└─ failed ✂ p: <script>"));
        assert_eq!(wrap("a bb ccc dddd", 6, 2), ["a bb", "ccc…"]);
    }
}

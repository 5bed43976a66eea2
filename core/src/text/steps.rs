//! The steps of a response: spans marked "Step k:".

use std::ops::Range;

/// A response has at most this many steps; what follows belongs to the last one.
pub const MAX_STEPS: usize = 5;

/// A step of a response, in bytes of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its whole span, mark included. The spans of a response tile it.
    pub span: Range<usize>,
    /// What it says, without mark and surrounding space.
    pub body: Range<usize>,
}

/// Cuts a response at its marks: lines that begin with "Step k" (bold, any case, with ":", "." or "-").
/// Text before the first mark belongs to the first step; a response without marks is one step.
pub fn split_steps(text: &str) -> Vec<Step> {
    let mut marks: Vec<Range<usize>> = Vec::new();
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        if let Some(len) = mark_len(line)
            && marks.len() < MAX_STEPS
        {
            marks.push(line_start..line_start + len);
        }
        line_start += line.len();
    }
    if marks.is_empty() {
        marks.push(0..0);
    }
    let starts: Vec<usize> = marks.iter().enumerate().map(|(i, m)| if i == 0 { 0 } else { m.start }).collect();
    let end_of = |i: usize| starts.get(i + 1).copied().unwrap_or(text.len());
    marks
        .iter()
        .enumerate()
        .map(|(i, m)| {
            let end = end_of(i);
            // What stands before the first mark is part of what the first step says.
            let from = if i == 0 && !text[..m.start].trim().is_empty() { 0 } else { m.end };
            let body = &text[from..end];
            let lead = body.len() - body.trim_start().len();
            Step { span: starts[i]..end, body: from + lead..from + lead + body.trim().len() }
        })
        .collect()
}

/// Bytes of the mark that a line begins with.
fn mark_len(line: &str) -> Option<usize> {
    let trimmed = line.trim_start_matches([' ', '\t', '*', '#', '_']);
    let rest = trimmed.get(..4).filter(|w| w.eq_ignore_ascii_case("step")).map(|_| &trimmed[4..])?;
    let rest = rest.strip_prefix(' ')?;
    let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    if after.len() == rest.len() || rest.len() - after.len() > 2 {
        return None;
    }
    let after = after.trim_start_matches('*');
    let after = after.strip_prefix([':', '.', ')', '-']).or_else(|| after.strip_prefix(" -"))?;
    Some(line.len() - after.trim_start_matches('*').len())
}

/// Which step each token belongs to, by the first byte of its text; `None` for a token without text.
pub fn token_steps(offsets: &[Range<usize>], steps: &[Step]) -> Vec<Option<usize>> {
    let of = |r: &Range<usize>| steps.iter().position(|s| s.span.contains(&r.start));
    offsets.iter().map(|r| if r.is_empty() { None } else { of(r) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(text: &str) -> Vec<&str> {
        let steps = split_steps(text);
        assert_eq!(steps.iter().map(|s| &text[s.span.clone()]).collect::<String>(), text, "spans tile the text");
        steps.into_iter().map(|s| &text[s.body]).collect()
    }

    #[test]
    fn marks_cut_and_everything_else_does_not() {
        assert_eq!(bodies("Step 1: a\nStep 2: b\nmore\n"), ["a", "b\nmore"]);
        assert_eq!(bodies("**Step 1:** a\n  step 2 - b"), ["a", "b"]);
        assert_eq!(bodies("Well.\nStep 1: a\nStep 2. b"), ["Well.\nStep 1: a", "b"]);
        assert_eq!(bodies("no marks, a step 2: inside"), ["no marks, a step 2: inside"]);
        assert_eq!(bodies(""), [""]);
        assert_eq!(bodies("Stepping 1: x"), ["Stepping 1: x"]);
        let long: String = (1..8).map(|i| format!("Step {i}: é{i}\n")).collect();
        let steps = bodies(&long);
        assert_eq!(steps.len(), MAX_STEPS);
        assert!(steps[4].ends_with("é7"));
    }

    #[test]
    fn tokens_belong_to_the_step_they_begin_in() {
        let steps = split_steps("Step 1: a\nStep 2: b");
        let got = token_steps(&[0..4, 4..9, 9..12, 12..12, 12..19], &steps);
        assert_eq!(got, [Some(0), Some(0), Some(0), None, Some(1)]);
    }
}

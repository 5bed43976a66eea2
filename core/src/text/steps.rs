//! The steps of a response: spans marked "Step k:".

use std::ops::Range;

/// A response has at most this many steps; what follows belongs to the last one.
pub const MAX_STEPS: usize = 5;

/// A step of a response. Ranges are bytes of the response, on boundaries of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepSpan {
    /// Its place among the steps, from 0.
    pub index: usize,
    /// Its whole span, mark included. The spans of a response tile it.
    pub range: Range<usize>,
    /// What it says, without mark and surrounding space; inside of `range`. The first step's body begins with what
    /// stands before the first mark, if anything does.
    pub body: Range<usize>,
}

/// Cuts a response at its marks: lines that begin with "Step k", in any case, plain, bold, quoted or a heading,
/// followed by ":", ".", ")", a dash or the end of the line. What k is does not matter: steps count in their order.
/// Text before the first mark belongs to the first step, text after the fifth mark to the fifth; a response without
/// marks is one step. There is always at least one.
pub fn split_steps(text: &str) -> Vec<StepSpan> {
    let mut marks: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if let Some(len) = mark_len(line)
            && marks.len() < MAX_STEPS
        {
            marks.push(at..at + len);
        }
        at += line.len();
    }
    if marks.is_empty() {
        marks.push(0..0);
    }
    let ends = marks.iter().skip(1).map(|m| m.start).chain([text.len()]);
    let steps = marks.iter().zip(ends).enumerate().map(|(index, (mark, end))| {
        let start = if index == 0 { 0 } else { mark.start };
        let before = text.get(start..mark.start).unwrap_or("");
        let from = if before.trim().is_empty() { mark.end } else { start };
        StepSpan { index, range: start..end, body: trimmed(text, from..end) }
    });
    steps.collect()
}

/// A range of `text` without white space at its ends.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let part = text.get(range.clone()).unwrap_or("");
    let start = range.start + part.len() - part.trim_start().len();
    start..start + part.trim().len()
}

/// Bytes of the mark that a line begins with, through the sign after the number.
fn mark_len(line: &str) -> Option<usize> {
    let word = line.trim_start_matches([' ', '\t', '*', '#', '_', '>']);
    if !word.get(..4)?.eq_ignore_ascii_case("step") {
        return None;
    }
    let number = word.get(4..)?.strip_prefix([' ', '\u{a0}'])?;
    let after = number.trim_start_matches(|c: char| c.is_ascii_digit());
    if !(1..=2).contains(&(number.len() - after.len())) {
        return None;
    }
    let sign = after.trim_start_matches(['*', '_']);
    let rest = match sign.strip_prefix([':', ')', '–', '—']) {
        Some(rest) => rest,
        None => {
            // "Step 1.5" and "Step 2-based" are no marks: a point ends its word, a dash stands between words.
            let spaced = sign.trim_start_matches(' ');
            let ends_word = |r: &&str| r.is_empty() || r.starts_with([' ', '\t', '\r', '\n', '*', '_']);
            if let Some(rest) = sign.strip_prefix(['.', '-']).filter(ends_word) {
                rest
            } else if let Some(rest) = spaced.strip_prefix([':', '-', '–', '—']).filter(|_| spaced.len() < sign.len())
            {
                rest
            } else if sign.trim().is_empty() {
                sign
            } else {
                return None;
            }
        }
    };
    Some(line.len() - rest.trim_start_matches(['*', '_']).len())
}

/// The step of each token, by the first byte of its range; `None` for an empty range (a special token) and for one
/// that begins in no span. `offsets` are ranges of bytes of the text that `spans` tile.
pub fn token_steps(offsets: &[Range<usize>], spans: &[StepSpan]) -> Vec<Option<usize>> {
    let step = |r: &Range<usize>| {
        let span = spans.iter().find(|s| s.range.contains(&r.start)).filter(|_| !r.is_empty())?;
        Some(span.index)
    };
    offsets.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bodies(text: &str) -> Vec<&str> {
        split_steps(text).into_iter().map(|s| &text[s.body]).collect()
    }

    #[test]
    fn marks_of_many_kinds() {
        assert_eq!(bodies("Step 1: a\nStep 2: b\n"), ["a", "b"]);
        assert_eq!(bodies("**Step 1:** a\n\n**step 2** - b\n### STEP 3. c"), ["a", "b", "c"]);
        assert_eq!(bodies("Step 1 - a\nstep 2) b\n> Step 3 — c"), ["a", "b", "c"]);
        assert_eq!(bodies("Step 1\na\n**Step 2**\nb"), ["a", "b"]);
        assert_eq!(bodies("**Step 1**: a"), ["a"]);
    }

    #[test]
    fn what_is_no_mark() {
        for text in
            ["a Step 1: b", "Steps 1: a", "Step one: a", "Step 1.5 volts", "Step 2-based", "Step 123: a", "Step"]
        {
            assert_eq!(bodies(text), [text]);
        }
        assert_eq!(bodies("Step 1 is easy"), ["Step 1 is easy"]);
    }

    #[test]
    fn edges() {
        assert_eq!(split_steps(""), [StepSpan { index: 0, range: 0..0, body: 0..0 }]);
        assert_eq!(bodies("Sure!\nStep 1: a\nStep 2: b"), ["Sure!\nStep 1: a", "b"]);
        assert_eq!(bodies("\n\nStep 1: a"), ["a"]);
        let seven: String = (1..8).map(|k| format!("Step {k}: {k}\n")).collect();
        assert_eq!(bodies(&seven), ["1", "2", "3", "4", "5\nStep 6: 6\nStep 7: 7"]);
    }

    #[test]
    fn tokens_go_by_their_first_byte() {
        let text = "Step 1: a\nStep 2: b";
        let spans = split_steps(text);
        let offsets = [0..4, 4..9, 9..14, 14..14, 15..19, 19..20];
        assert_eq!(token_steps(&offsets, &spans), [Some(0), Some(0), Some(0), None, Some(1), None]);
    }

    proptest! {
        #[test]
        fn spans_tile_the_text(parts in proptest::collection::vec("(\\*\\*)?[Ss]tep [0-9]{1,2}[:. -]|[a-zé漢 *\n]{0,8}|\n", 0..20)) {
            let text = parts.concat();
            let spans = split_steps(&text);
            prop_assert!((1..=MAX_STEPS).contains(&spans.len()));
            let mut at = 0;
            for (i, s) in spans.iter().enumerate() {
                prop_assert_eq!(s.index, i);
                prop_assert_eq!(s.range.start, at);
                prop_assert!(s.range.start <= s.body.start && s.body.end <= s.range.end);
                prop_assert!(text.get(s.range.clone()).is_some() && text.get(s.body.clone()).is_some());
                at = s.range.end;
            }
            prop_assert_eq!(at, text.len());
        }
    }
}

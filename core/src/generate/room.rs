//! Many requests, cut into batches that find room in the cache.

use std::ops::Range;

use super::{Completion, GenerateError, Request, generate};
use crate::model::Context;
use crate::text::Tokenizer;

/// What blocks of the cache may leave empty in each sequence.
const SLACK: usize = 64;

/// Tokens that a request may take besides what its prompt shares with `before`.
fn room(request: &Request<'_>, before: Option<&Request<'_>>) -> usize {
    let shared = before.map_or(0, |b| b.prompt.iter().zip(request.prompt).take_while(|(a, b)| a == b).count());
    request.prompt.len() - shared + request.n * (request.max_tokens + SLACK)
}

/// Cuts requests into runs that find room in a cache of `free` tokens, each answer as long as it may get; one that has
/// none by itself stands alone. A prompt shares what it begins with with the one before.
fn batches(requests: &[Request<'_>], free: usize) -> Vec<Range<usize>> {
    let mut out: Vec<Range<usize>> = Vec::new();
    let mut used = 0;
    for (i, request) in requests.iter().enumerate() {
        let own = room(request, i.checked_sub(1).map(|j| &requests[j]));
        match out.last_mut() {
            Some(batch) if used + own <= free => {
                batch.end = i + 1;
                used += own;
            }
            _ => {
                out.push(i..i + 1);
                used = room(request, None);
            }
        }
    }
    out
}

/// As [`generate`], with as many requests at a time as the cache has room for. Answer i of a batch draws from stream i.
///
/// # Errors
/// As [`generate`].
pub fn generate_in_batches(
    context: &mut Context,
    tokenizer: &Tokenizer,
    requests: Vec<Request<'_>>,
    mut on_text: impl FnMut(usize, &str) -> bool,
) -> Result<Vec<Completion>, GenerateError> {
    let batches = batches(&requests, context.cache.free_tokens());
    let (mut requests, mut done) = (requests.into_iter(), Vec::new());
    for batch in batches {
        let (before, first) = (done.len(), batch.start);
        let some: Vec<Request<'_>> = requests.by_ref().take(batch.len()).collect();
        let answers = generate(context, tokenizer, some, |i, text| on_text(before + i, text))?;
        done.extend(answers.into_iter().map(|c| Completion { request: first + c.request, ..c }));
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_find_room() {
        let (a, b) = (vec![1; 100], [vec![1; 90], vec![2; 30]].concat());
        let requests = || [a.as_slice(), &b, &a].map(|p| Request::new(p, 36));
        assert!(batches(&requests(), 10_000).iter().eq([&(0..3)]));
        assert_eq!(batches(&requests(), 330), [0..2, 2..3]);
        assert_eq!(batches(&requests(), 10), [0..1, 1..2, 2..3]);
        assert!(batches(&[], 10).is_empty());
        // Answers to one prompt share it: 100 + 2 * 100, then 30 + 2 * 100.
        let twice = requests().map(|r| Request { n: 2, ..r });
        assert_eq!(batches(&twice, 530), [0..2, 2..3]);
        assert_eq!(batches(&twice, 529), [0..1, 1..2, 2..3]);
    }
}

//! Many answers at once: prompts are filled in, then all sequences take their next token in one batch.

use unspoken_kernels::softmax::log_sum_exp;

use super::sampler::argmax;
use super::{CancelToken, GenerateError, Kept, SampleParams, Sampler};
use crate::model::{Adapter, Context, Draw, Drawn, SeqId, Span, Wanted};
use crate::text::{Constraint, StreamDecoder, Tokenizer};

/// Tokens of a prompt that are filled in at a time.
const PREFILL: usize = 512;

/// What is asked for: `n` answers to one prompt.
#[derive(Debug)]
pub struct Request<'a> {
    /// The prompt's tokens; at least one.
    pub prompt: &'a [u32],
    /// The adapter that is on.
    pub adapter: Option<&'a Adapter>,
    /// Answers; they share the prompt's keys and values.
    pub n: usize,
    /// Tokens of an answer at the most.
    pub max_tokens: usize,
    /// How they are drawn; answer i of the whole call draws from stream i.
    pub sample: SampleParams,
    /// An answer ends before any of these.
    pub stop: &'a [String],
    /// A grammar for the answer; for `n` = 1.
    pub constraint: Option<Constraint>,
    /// Tokens whose log-probabilities are wanted at every position.
    pub watch: &'a [u32],
    /// Stops it from another thread: looked at before each part of a prompt and before each token.
    pub cancel: Option<&'a CancelToken>,
}

impl<'a> Request<'a> {
    /// One answer of at most `max_tokens` tokens.
    pub fn new(prompt: &'a [u32], max_tokens: usize) -> Self {
        Self {
            prompt,
            adapter: None,
            n: 1,
            max_tokens,
            sample: SampleParams::default(),
            stop: &[],
            constraint: None,
            watch: &[],
            cancel: None,
        }
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_some_and(CancelToken::is_cancelled)
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The model ended it.
    End,
    /// It has all tokens that were asked for.
    Length,
    /// A stop string came.
    StopString,
    /// The grammar is complete.
    Grammar,
    /// The host stopped it.
    Cancelled,
}

impl StopReason {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Length => "length",
            Self::StopString => "stop_string",
            Self::Grammar => "grammar",
            Self::Cancelled => "cancelled",
        }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Completion {
    /// Which request it answers.
    pub request: usize,
    /// Its tokens, the end token included where the model ended it.
    pub tokens: Vec<u32>,
    /// log p of each token under the policy at temperature 1, before filters and grammar, in nats.
    pub log_probs: Vec<f32>,
    /// log p of the watched tokens at each position.
    pub watched: Vec<Vec<f32>>,
    /// Its text, without what a stop string cut off.
    pub text: String,
    /// Why it ended.
    pub stop: StopReason,
}

struct Running<'a> {
    seq: SeqId,
    sampler: Sampler,
    constraint: Option<Constraint>,
    decoder: StreamDecoder,
    adapter: Option<&'a Adapter>,
    max_tokens: usize,
    stop_strings: &'a [String],
    watch: &'a [u32],
    cancel: Option<&'a CancelToken>,
    /// Bytes of text given to the host.
    given: usize,
    done: Option<StopReason>,
    out: Completion,
}

impl Running<'_> {
    /// Whether its tokens are chosen on the host: a grammar and watched tokens want all the logits there.
    fn wants_logits(&self) -> bool {
        self.constraint.is_some() || !self.watch.is_empty()
    }

    fn cancel(&mut self) {
        self.done = Some(StopReason::Cancelled);
        self.out.stop = StopReason::Cancelled;
    }
}

/// Answers all requests together. `on_text` gets (index of the answer, new text) as it comes and returns
/// whether to go on; text that could be the beginning of a stop string waits. Answers come in the order of
/// their requests. The sequences are gone from the cache afterwards, also after an error.
///
/// # Errors
/// An empty prompt, a prompt that does not fit, a lost device.
pub fn generate(
    context: &mut Context,
    tokenizer: &Tokenizer,
    requests: Vec<Request<'_>>,
    mut on_text: impl FnMut(usize, &str) -> bool,
) -> Result<Vec<Completion>, GenerateError> {
    let mut running = Vec::new();
    let result = run(context, tokenizer, requests, &mut Kept::default(), &mut running, &mut on_text);
    for r in &running {
        context.cache.remove(r.seq);
    }
    result?;
    Ok(running.into_iter().map(|r| r.out).collect())
}

/// As [`generate`] for one answer, which stays in the cache: what the next prompt shares with this prompt and
/// its answer under the same adapter is not computed again. After an error nothing is kept.
///
/// # Errors
/// As [`generate`]; a request for another number of answers than one.
pub fn generate_kept(
    context: &mut Context,
    tokenizer: &Tokenizer,
    request: Request<'_>,
    kept: &mut Kept,
    mut on_text: impl FnMut(usize, &str) -> bool,
) -> Result<Completion, GenerateError> {
    if request.n != 1 {
        return Err(GenerateError::Request("what is kept belongs to one answer".into()));
    }
    let (prompt, adapter) = (request.prompt, request.adapter);
    let mut running = Vec::new();
    let result = run(context, tokenizer, vec![request], kept, &mut running, &mut on_text);
    let one = running.pop();
    match (result, one) {
        (Ok(()), Some(r)) => {
            let mut tokens = [prompt, &r.out.tokens].concat();
            tokens.truncate(context.cache.len(r.seq));
            kept.keep(tokens, adapter.cloned(), r.seq);
            Ok(r.out)
        }
        (result, one) => {
            kept.forget(context);
            if let Some(r) = one {
                context.cache.remove(r.seq);
            }
            Err(result.err().unwrap_or_else(|| GenerateError::Request("it has no answer".into())))
        }
    }
}

fn run<'a>(
    context: &mut Context,
    tokenizer: &Tokenizer,
    requests: Vec<Request<'a>>,
    kept: &mut Kept,
    running: &mut Vec<Running<'a>>,
    on_text: &mut impl FnMut(usize, &str) -> bool,
) -> Result<(), GenerateError> {
    let mut previous: Option<(&[u32], Option<&Adapter>, SeqId)> = None;
    for (index, mut request) in requests.into_iter().enumerate() {
        if request.prompt.is_empty() || request.n == 0 {
            return Err(GenerateError::Request("it needs a prompt token and an answer".into()));
        }
        // What the prompt shares with the one before is there already.
        let seq = match previous {
            Some((tokens, adapter, seq)) if same(adapter, request.adapter) => {
                let shared = tokens.iter().zip(request.prompt).take_while(|(a, b)| a == b).count();
                let fork = context.cache.fork(seq);
                context.cache.truncate(fork, shared.min(request.prompt.len() - 1));
                fork
            }
            _ => kept.take(context, request.prompt, request.adapter),
        };
        let first = running.len();
        let mut constraint = request.constraint.take();
        let new = |seq, constraint, sampler| Running {
            seq,
            sampler,
            constraint,
            decoder: StreamDecoder::new(),
            adapter: request.adapter,
            max_tokens: request.max_tokens,
            stop_strings: request.stop,
            watch: request.watch,
            cancel: request.cancel,
            given: 0,
            done: (request.max_tokens == 0).then_some(StopReason::Length),
            out: Completion {
                request: index,
                tokens: Vec::new(),
                log_probs: Vec::new(),
                watched: Vec::new(),
                text: String::new(),
                stop: StopReason::Length,
            },
        };
        let mut samplers = (first..first + request.n).map(|stream| Sampler::new(request.sample, stream as u64));
        running.extend(samplers.next().map(|sampler| new(seq, constraint.take(), sampler)));
        let mut samplers: Vec<Sampler> = samplers.collect();
        let mut left = &request.prompt[context.cache.len(seq)..];
        let mut stopped = request.cancelled();
        while left.len() > PREFILL && !stopped {
            let (tokens, rest) = left.split_at(PREFILL);
            kept.make_room(context, |c| c.forward(&[Span { seq, tokens, adapter: request.adapter }]))?;
            left = rest;
            stopped = request.cancelled();
        }
        if stopped {
            running.extend(samplers.into_iter().map(|sampler| new(context.cache.create(), None, sampler)));
            running[first..].iter_mut().for_each(Running::cancel);
            continue;
        }
        // All its answers begin after the same row. Of them only the first can have a grammar.
        let on_host =
            if request.watch.is_empty() { usize::from(running[first].constraint.is_some()) } else { request.n };
        let all = running[first..].iter_mut().map(|r| &mut r.sampler).chain(&mut samplers);
        let draws: Vec<Draw> = all.skip(on_host).map(|sampler| sampler.draw(0)).collect();
        let wanted = Wanted { rows: &[left.len() as u32 - 1], draws: &draws, logits: on_host.min(1) };
        let span = Span { seq, tokens: left, adapter: request.adapter };
        let decoded = kept.make_room(context, |c| c.decode(&[span], wanted))?;
        previous = Some((request.prompt, request.adapter, seq));
        running.extend(samplers.into_iter().map(|sampler| new(context.cache.fork(seq), None, sampler)));
        for (i, drawn) in (first + on_host..).zip(decoded.drawn) {
            take(&mut running[i], i, Choice::of(drawn), tokenizer, on_text)?;
        }
        for (i, r) in running.iter_mut().enumerate().skip(first).take(on_host) {
            let choice = choose(r, &decoded.logits)?;
            take(r, i, choice, tokenizer, on_text)?;
        }
    }
    // The last token of each sequence that goes on, by adapter so that each is applied once.
    loop {
        for r in running.iter_mut().filter(|r| r.done.is_none()) {
            if r.cancel.is_some_and(CancelToken::is_cancelled) {
                r.cancel();
            }
        }
        let mut active: Vec<usize> = (0..running.len()).filter(|i| running[*i].done.is_none()).collect();
        active.sort_by_key(|i| running[*i].adapter.map(|a| std::ptr::from_ref(a) as usize));
        if active.is_empty() {
            break;
        }
        let last: Vec<u32> = active.iter().filter_map(|i| running[*i].out.tokens.last().copied()).collect();
        let spans: Vec<Span<'_>> = active
            .iter()
            .zip(&last)
            .map(|(i, t)| Span { seq: running[*i].seq, tokens: std::slice::from_ref(t), adapter: running[*i].adapter })
            .collect();
        // Those whose logits are wanted on the host come last.
        let mut rows: Vec<u32> = (0..active.len() as u32).collect();
        rows.sort_by_key(|row| running[active[*row as usize]].wants_logits());
        let (device, host): (Vec<usize>, Vec<usize>) =
            rows.iter().map(|row| active[*row as usize]).partition(|i| !running[*i].wants_logits());
        let draws: Vec<Draw> = device.iter().zip(0..).map(|(i, row)| running[*i].sampler.draw(row)).collect();
        let wanted = Wanted { rows: &rows, draws: &draws, logits: host.len() };
        let decoded = kept.make_room(context, |c| c.decode(&spans, wanted))?;
        for (i, drawn) in device.into_iter().zip(decoded.drawn) {
            take(&mut running[i], i, Choice::of(drawn), tokenizer, on_text)?;
        }
        let vocab = context.model().config.vocab;
        for (i, logits) in host.into_iter().zip(decoded.logits.chunks_exact(vocab)) {
            let choice = choose(&mut running[i], logits)?;
            take(&mut running[i], i, choice, tokenizer, on_text)?;
        }
    }
    Ok(())
}

/// Whether both are the same adapter, or none.
pub(super) fn same(a: Option<&Adapter>, b: Option<&Adapter>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.same(b),
        _ => false,
    }
}

/// An answer's next token.
struct Choice {
    token: Drawn,
    watched: Vec<f32>,
}

impl Choice {
    /// One that the device has drawn.
    fn of(token: Drawn) -> Self {
        Self { token, watched: Vec::new() }
    }
}

/// Draws the next token of one answer on the host, where its constraint has a word.
fn choose(r: &mut Running<'_>, logits: &[f32]) -> Result<Choice, GenerateError> {
    let lse = log_sum_exp(logits);
    let log_prob = |id: u32| logits.get(id as usize).map_or(f32::NEG_INFINITY, |x| x - lse);
    let watched = r.watch.iter().map(|id| log_prob(*id)).collect();
    let id = match &mut r.constraint {
        None => r.sampler.sample(logits),
        Some(c) => {
            // The likeliest of all tokens is the likeliest of those allowed, where it is one of them.
            let likeliest = r.sampler.is_greedy().then(|| argmax(logits));
            match likeliest {
                Some(id) if c.allows(id)? => id,
                _ => {
                    let mut allowed = logits.to_vec();
                    c.apply(&mut allowed)?;
                    r.sampler.sample(&allowed)
                }
            }
        }
    };
    Ok(Choice { token: Drawn { id, log_prob: log_prob(id) }, watched })
}

/// Adds the next token to an answer and sees whether it ends.
fn take(
    r: &mut Running<'_>,
    index: usize,
    choice: Choice,
    tokenizer: &Tokenizer,
    on_text: &mut impl FnMut(usize, &str) -> bool,
) -> Result<(), GenerateError> {
    if r.done.is_some() {
        return Ok(());
    }
    let Drawn { id, log_prob } = choice.token;
    r.out.watched.push(choice.watched);
    r.out.tokens.push(id);
    r.out.log_probs.push(log_prob);
    let ended = tokenizer.is_end_of_generation(id);
    if !ended && !tokenizer.is_special(id) {
        r.out.text.extend(r.decoder.push(&tokenizer.token_bytes(id)));
    }
    let complete = match &mut r.constraint {
        Some(c) if !ended => c.accept(id)?,
        _ => false,
    };
    r.done = if ended {
        Some(StopReason::End)
    } else if let Some(at) = r.stop_strings.iter().filter_map(|s| r.out.text.find(s.as_str())).min() {
        r.out.text.truncate(at);
        Some(StopReason::StopString)
    } else if complete {
        Some(StopReason::Grammar)
    } else if r.out.tokens.len() >= r.max_tokens {
        Some(StopReason::Length)
    } else {
        None
    };
    if r.done.is_some_and(|d| d != StopReason::StopString) {
        r.out.text.extend(r.decoder.finish());
    }
    let safe = if r.done.is_some() { r.out.text.len() } else { settled(&r.out.text, r.stop_strings) };
    if safe > r.given {
        if !on_text(index, &r.out.text[r.given..safe]) {
            r.done = Some(StopReason::Cancelled);
        }
        r.given = safe;
    }
    r.out.stop = r.done.unwrap_or(StopReason::Length);
    Ok(())
}

/// How much of `text` can't become part of a stop string any more.
fn settled(text: &str, stops: &[String]) -> usize {
    let held = |stop: &String| {
        let ends = stop.char_indices().map(|(i, _)| i).skip(1);
        ends.filter(|n| text.ends_with(&stop[..*n])).max().unwrap_or(0)
    };
    text.len() - stops.iter().map(held).max().unwrap_or(0)
}

//! Preferences concluded from conversations, in the two implicit forms of PrefEval (arXiv 2502.09597):
//! what a user tells of themselves in passing, and what they pick of several offered answers.
//!
//! The policy model itself does it, under a grammar, so that what it writes always is a sentence in the user's
//! voice or "None". What it claims must stand on the user's own words (at least half of its content words come
//! from the evidence), and its confidence is read from its probabilities, not asked for.

use std::sync::Arc;

use super::words::stems;
use super::{AlignError, Assistant, Evidence, Inferred, same_preference};
use crate::generate::{Completion, Request, SampleParams, StopReason, generate};
use crate::model::{Context, ContextParams};
use crate::text::{GrammarEnv, Message, Specials};
use crate::train::{Group, log_probs};

/// A message to conclude from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its number, for the evidence.
    pub id: i64,
    /// `user` or `assistant`.
    pub role: String,
    /// What it says.
    pub content: String,
}

/// The user picked one of several answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The message in which they did, for the evidence.
    pub id: i64,
    /// What they had asked.
    pub question: String,
    /// What was offered.
    pub options: Vec<String>,
    /// Which one they picked, from 0.
    pub chosen: usize,
    /// What they said while picking.
    pub said: String,
}

/// Constants of inference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InferParams {
    /// Proposals below this confidence are left out.
    pub min_confidence: f32,
    /// Characters of a message that are read; the rest is cut off.
    pub max_chars: usize,
    /// Wordings drawn for one choice; the one that explains the choice best is kept.
    pub candidates: usize,
    /// Seed of those draws.
    pub seed: u64,
}

impl Default for InferParams {
    fn default() -> Self {
        Self { min_confidence: 0.35, max_chars: 800, candidates: 4, seed: 0 }
    }
}

/// Concludes preferences with a model.
#[derive(Debug)]
pub struct Inferrer<'a> {
    assistant: &'a mut Assistant,
    grammars: Arc<GrammarEnv>,
    scoring: Context,
    params: InferParams,
    none: u32,
}

const TELLS: &str = "You note what a person says about their own lasting likes, dislikes, needs and limits. Write \
one short sentence that begins with I, in their words, or None if the message says nothing of the kind.";

/// Examples of our own, so that small models see the form: what was said, what is noted.
const EXAMPLES: &[(&str, &str)] = &[
    ("Could you sum up chapter four for me? I have the exam on Friday.", "None"),
    (
        "I'm looking for a birthday present for my nephew. Nothing that makes noise, though, I can't stand noisy toys. \
         He turns six.",
        "I can't stand noisy toys.",
    ),
    ("Thanks, that helped! How long does the train to Ghent take?", "None"),
    (
        "My shift at the bakery starts at four, so I usually go to bed before nine. What could I read on the way to work?",
        "I go to bed before nine because my shift starts at four.",
    ),
];

const CHOOSES: &str = "You explain a person's choices. Write one short sentence that begins with I: the lasting \
preference for which they would pick what they picked and leave the rest.";

const CHOICE_EXAMPLE: (&str, &str) = (
    "Asked: Where can we eat tonight?\nPicked: the garden café with the long tables\nLeft: the cellar bar; the karaoke \
     room; the food court\nSaid: The garden café, please.",
    "I prefer quiet places in the open air.",
);

/// What a sentence may look like.
const SENTENCE: &str = r" I('m| am| prefer| like| love| enjoy| avoid| dislike| hate| never| always| only| need| want| can't| cannot| don't| do not| refuse| have| go| work| live| try| usually| would| care| value)( [A-Za-z0-9,'’\-]{1,24}){2,24}\.";

impl<'a> Inferrer<'a> {
    /// On a model with a chat template.
    ///
    /// # Errors
    /// A vocabulary that no grammar can be made for; memory that the device refuses.
    pub fn new(assistant: &'a mut Assistant, params: InferParams) -> Result<Self, AlignError> {
        let grammars = assistant.tokenizer.grammar_env()?;
        let room = ContextParams { cache_tokens: 1536, max_sequence: 1536, block_size: 1, ..ContextParams::default() };
        let scoring = Context::new(&assistant.model, room)?;
        let none = assistant.tokenizer.encode(" None", Specials::Text)?;
        let none = none.first().copied().ok_or_else(|| AlignError::Params("the vocabulary has no None".into()))?;
        Ok(Self { assistant, grammars, scoring, params, none })
    }

    /// What a conversation tells: from each of the user's messages by itself, and from each choice in it
    /// ([`choices`]). What comes twice comes once, with both as evidence.
    ///
    /// # Errors
    /// A message that does not fit in the context; a lost device.
    pub fn conversation(&mut self, turns: &[Turn]) -> Result<Vec<Inferred>, AlignError> {
        let choices = choices(turns);
        let mut found = Vec::new();
        for turn in turns.iter().filter(|t| t.role == "user" && choices.iter().all(|c| c.id != t.id)) {
            found.extend(self.told(turn)?);
        }
        for choice in &choices {
            found.extend(self.chosen(choice)?);
        }
        Ok(joined(found))
    }

    /// What one message tells of the user, if anything. Confidence: P(a sentence and not None) · the geometric mean
    /// of its tokens' probabilities, square root.
    ///
    /// # Errors
    /// As [`Inferrer::conversation`].
    pub fn told(&mut self, turn: &Turn) -> Result<Option<Inferred>, AlignError> {
        let content = cut(&turn.content, self.params.max_chars);
        let mut messages = vec![Message::system(TELLS)];
        for (said, noted) in EXAMPLES {
            messages.extend([Message::user(format!("Message: {said}")), Message::assistant(format!("Note: {noted}"))]);
        }
        messages.push(Message::user(format!("Message: {content}")));
        let prompt = self.assistant.prompt(&messages, "Note:")?;
        let done = self.write(&prompt, &format!("( None|{SENTENCE})"), 1, 0.0)?;
        let Some(note) = done.first() else { return Ok(None) };
        let text = note.text.trim();
        let p_none = note.watched.first().and_then(|w| w.first()).map_or(0.0, |lp| lp.exp());
        if text == "None" || !matches!(note.stop, StopReason::Grammar | StopReason::End) {
            return Ok(None);
        }
        let p_first = note.log_probs.first().map_or(0.0, |lp| lp.exp());
        let says = p_first / (p_first + p_none).max(f32::MIN_POSITIVE);
        let confidence = says * mean(&note.log_probs).exp().sqrt();
        Ok(self.grounded(text, content, turn.id, confidence))
    }

    /// Why the user may have picked what they picked. Several wordings are drawn; kept is the one under which the
    /// model finds the picked answer likeliest among those offered. Confidence: that probability, a softmax of the
    /// options' mean log-likelihoods over the change that the wording makes.
    ///
    /// # Errors
    /// [`AlignError::Params`] for a choice that was not offered; as [`Inferrer::conversation`].
    pub fn chosen(&mut self, choice: &Choice) -> Result<Option<Inferred>, AlignError> {
        if choice.options.len() < 2 || choice.chosen >= choice.options.len() {
            return Err(AlignError::Params(format!("choice {} of {} options", choice.chosen, choice.options.len())));
        }
        let chars = self.params.max_chars / 4;
        let others = choice.options.iter().enumerate().filter(|(i, _)| *i != choice.chosen);
        let left: Vec<&str> = others.map(|(_, o)| cut(o, chars)).collect();
        let ask = format!(
            "Asked: {}\nPicked: {}\nLeft: {}\nSaid: {}",
            cut(&choice.question, chars),
            cut(&choice.options[choice.chosen], chars),
            left.join("; "),
            cut(&choice.said, chars)
        );
        let messages = [
            Message::system(CHOOSES),
            Message::user(CHOICE_EXAMPLE.0),
            Message::assistant(format!("Because {}", CHOICE_EXAMPLE.1)),
            Message::user(ask.clone()),
        ];
        let prompt = self.assistant.prompt(&messages, "Because")?;
        let mut drawn = self.write(&prompt, SENTENCE, 1, 0.0)?;
        for i in 1..self.params.candidates.max(1) {
            drawn.extend(self.write(&prompt, SENTENCE, i as u64, 0.7)?);
        }
        let plain = self.option_scores(choice, None)?;
        let mut best: Option<(f32, String)> = None;
        for c in drawn.iter().filter(|c| matches!(c.stop, StopReason::Grammar | StopReason::End)) {
            let text = c.text.trim().to_owned();
            let with = self.option_scores(choice, Some(&text))?;
            let lift: Vec<f32> = with.iter().zip(&plain).map(|(a, b)| a - b).collect();
            let max = lift.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total: f32 = lift.iter().map(|l| (l - max).exp()).sum();
            let share = (lift[choice.chosen] - max).exp() / total;
            if best.as_ref().is_none_or(|(s, _)| share > *s) {
                best = Some((share, text));
            }
        }
        let Some((share, text)) = best else { return Ok(None) };
        Ok(self.grounded(&text, &ask, choice.id, share).map(|mut inferred| {
            // What was picked is the evidence, said or not.
            inferred.evidence = vec![Evidence { message: choice.id, quote: choice.options[choice.chosen].clone() }];
            inferred
        }))
    }

    fn write(
        &mut self,
        prompt: &[u32],
        form: &str,
        stream: u64,
        temperature: f32,
    ) -> Result<Vec<Completion>, AlignError> {
        let watch = [self.none];
        let sample =
            SampleParams { temperature, seed: self.params.seed.wrapping_add(stream), ..SampleParams::default() };
        let constraint = Some(self.grammars.regex(form)?);
        let request = Request { sample, constraint, watch: &watch, ..Request::new(prompt, 64) };
        let tokenizer = self.assistant.tokenizer.clone();
        Ok(generate(&mut self.assistant.context, &tokenizer, vec![request], |_, _| true)?)
    }

    /// Mean log p of each option as the answer, with a preference known or none.
    fn option_scores(&mut self, choice: &Choice, preference: Option<&str>) -> Result<Vec<f32>, AlignError> {
        let mut messages = vec![Message::user(cut(&choice.question, self.params.max_chars))];
        if let Some(p) = preference {
            messages.insert(0, Message::system(format!("The user's preferences: {p}")));
        }
        let prompt = self.assistant.prompt(&messages, "")?;
        let mut options = Vec::new();
        for o in &choice.options {
            options.push(self.assistant.tokenizer.encode(cut(o, self.params.max_chars / 2), Specials::Text)?);
        }
        if options.iter().any(Vec::is_empty) {
            return Err(AlignError::Params("an option is empty".into()));
        }
        let group = Group { prompt: &prompt, answers: options.iter().map(Vec::as_slice).collect() };
        Ok(log_probs(&mut self.scoring, &group, None, false)?.iter().map(|lp| mean(lp)).collect())
    }

    /// A proposal, if it stands on what was said and is sure enough.
    fn grounded(&self, text: &str, said: &str, message: i64, confidence: f32) -> Option<Inferred> {
        let heard = stems(said);
        let claimed = stems(text);
        let found = claimed.iter().filter(|w| heard.contains(w)).count();
        let share = found as f32 / claimed.len().max(1) as f32;
        let confidence = confidence.clamp(0.0, 0.99) * share.min(1.0);
        (share >= 0.5 && confidence >= self.params.min_confidence).then(|| Inferred {
            text: text.to_owned(),
            evidence: vec![Evidence { message, quote: quote(text, said) }],
            confidence,
        })
    }
}

/// Choices in a conversation: the assistant's message numbers two or more answers ("1. …" or "1) …"), and the
/// user's next one names a number of them or repeats most of one and of no other.
pub fn choices(turns: &[Turn]) -> Vec<Choice> {
    let mut out = Vec::new();
    for (i, pair) in turns.windows(2).enumerate() {
        let [offer, reply] = pair else { continue };
        if offer.role != "assistant" || reply.role != "user" {
            continue;
        }
        let options = numbered(&offer.content);
        let Some(chosen) = picked(&options, &reply.content) else { continue };
        let question = turns[..i].iter().rev().find(|t| t.role == "user").map(|t| t.content.clone());
        out.push(Choice {
            id: reply.id,
            question: question.unwrap_or_default(),
            options,
            chosen,
            said: reply.content.clone(),
        });
    }
    out
}

/// The texts after "1.", "2.", … in order; nothing unless there are two or more.
fn numbered(text: &str) -> Vec<String> {
    let mark = |n: usize, from: usize| {
        [format!("{n}. "), format!("{n}) ")]
            .iter()
            .filter_map(|m| {
                let found = text[from..].match_indices(m.as_str()).map(|(at, _)| from + at);
                let free = |at: &usize| !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '.');
                found.into_iter().find(free).map(|at| (at, at + m.len()))
            })
            .min()
    };
    let mut marks = Vec::new();
    let mut from = 0;
    while let Some((at, end)) = mark(marks.len() + 1, from) {
        marks.push((at, end));
        from = end;
    }
    if marks.len() < 2 {
        return Vec::new();
    }
    let ends = marks.iter().skip(1).map(|m| m.0).chain([text.len()]);
    marks
        .iter()
        .zip(ends)
        .map(|((_, start), end)| text[*start..end].trim().trim_end_matches(['\n', ' ']).to_owned())
        .collect()
}

/// Which option a reply picks.
fn picked(options: &[String], reply: &str) -> Option<usize> {
    if options.is_empty() {
        return None;
    }
    let lower = reply.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let ordinals = ["first", "second", "third", "fourth", "fifth"];
    let named: Vec<usize> = words
        .windows(2)
        .filter(|w| ["option", "number", "choice"].contains(&w[0]))
        .filter_map(|w| w[1].parse::<usize>().ok())
        .chain(ordinals.iter().enumerate().filter(|(_, o)| words.contains(o)).map(|(i, _)| i + 1))
        .filter(|n| (1..=options.len()).contains(n))
        .collect();
    if let [one] = named[..] {
        return Some(one - 1);
    }
    let said = stems(reply);
    let share = |o: &String| {
        let words = stems(o);
        words.iter().filter(|w| said.contains(w)).count() as f32 / words.len().max(1) as f32
    };
    let mut shares: Vec<(f32, usize)> = options.iter().enumerate().map(|(i, o)| (share(o), i)).collect();
    shares.sort_by(|a, b| b.0.total_cmp(&a.0));
    match shares[..] {
        [(best, i), (second, _), ..] if best >= 0.5 && best - second >= 0.2 => Some(i),
        _ => None,
    }
}

/// Joins proposals that mean the same.
fn joined(found: Vec<Inferred>) -> Vec<Inferred> {
    let mut out: Vec<Inferred> = Vec::new();
    for f in found {
        match out.iter_mut().find(|o| same_preference(&o.text, &f.text)) {
            Some(o) => {
                o.confidence = 1.0 - (1.0 - o.confidence) * (1.0 - f.confidence);
                o.evidence.extend(f.evidence);
            }
            None => out.push(f),
        }
    }
    out
}

/// The sentence of `said` that shares most words with `text`.
fn quote(text: &str, said: &str) -> String {
    let claimed = stems(text);
    let sentences = said.split_inclusive(['.', '!', '?', '\n']).map(str::trim).filter(|s| !s.is_empty());
    let shared = |s: &&str| stems(s).iter().filter(|w| claimed.contains(w)).count();
    // The first among equals.
    let best = sentences.fold(None, |best: Option<&str>, s| match best {
        Some(b) if shared(&b) >= shared(&s) => Some(b),
        _ => Some(s),
    });
    best.unwrap_or(said).to_owned()
}

/// The first `chars` characters.
fn cut(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(at, _)| &text[..at])
}

fn mean(x: &[f32]) -> f32 {
    x.iter().sum::<f32>() / x.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(id: i64, role: &str, content: &str) -> Turn {
        Turn { id, role: role.into(), content: content.into() }
    }

    #[test]
    fn choices_are_found_where_there_are_any() {
        let offer =
            "Here are a few: 1. A cellar bar with live jazz. 2. The garden café. 3) not a mark, 3. A food court.";
        let found = choices(&[
            turn(1, "user", "Where can we eat?"),
            turn(2, "assistant", offer),
            turn(3, "user", "Option 2 sounds right to me."),
            turn(4, "assistant", "Enjoy!"),
            turn(5, "user", "Thanks, option 1 of my plans is done."),
        ]);
        assert_eq!(found.len(), 1);
        let c = &found[0];
        assert_eq!((c.id, c.chosen, c.question.as_str()), (3, 1, "Where can we eat?"));
        assert_eq!(c.options[0], "A cellar bar with live jazz.");
        assert_eq!(c.options[1], "The garden café.");
        let by_words = |reply| picked(&c.options, reply);
        assert_eq!(by_words("The cellar with the jazz, please"), Some(0));
        assert_eq!(by_words("I'd take the first."), Some(0));
        assert_eq!(by_words("first or second, I can't say"), None);
        assert_eq!(by_words("None of them, thanks"), None);
        assert!(numbered("In 2024. 1. Only one.").is_empty());
    }

    #[test]
    fn quotes_are_the_user_s_words() {
        let said = "I need a present. I can't stand noisy toys! He turns six.";
        assert_eq!(quote("I can't stand noisy toys.", said), "I can't stand noisy toys!");
        assert_eq!(cut("äöü", 2), "äö");
    }
}

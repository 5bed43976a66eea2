//! Which preferences matter for a question.
//!
//! Three scores, all on the device: words that question and preference share (BM25), how much likelier the
//! model finds the preference once it has read the question (lift), and the cosine of mean-pooled hidden states.
//! [`Scorer::Lift`] is the default, for it finds most of the single ones on DeepPref-mini; `data/README.md` has the
//! numbers.

use super::words::bm25;
use super::{AlignError, Assistant};
use crate::model::{Context, ContextParams, Span};
use crate::text::Specials;
use crate::train::{Group, log_probs};

/// How preferences are scored for a question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scorer {
    /// BM25 of the words; needs no model.
    Lexical,
    /// Mean over the preference's tokens of log p(preference | question) − log p(preference), in nats.
    #[default]
    Lift,
    /// Cosine of the mean-pooled hidden states before the last norm, less their mean over the profile.
    Hidden,
    /// Lift and BM25, each brought to mean 0 and deviation 1 over the profile, added.
    Combined,
}

/// A preference that matters.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Relevant {
    /// Its place in the list that was given.
    pub index: usize,
    /// How much it matters; comparable within one call only.
    pub score: f32,
}

/// Ranks preferences for questions, with what can be kept between questions kept.
#[derive(Debug)]
pub struct Retriever {
    scorer: Scorer,
    texts: Vec<String>,
    tokens: Vec<Vec<u32>>,
    /// log p of each preference with no question before it, mean over tokens.
    alone: Vec<f32>,
    /// Hidden states of the preferences, mean-pooled, with their mean taken away.
    pooled: Vec<Vec<f32>>,
    centre: Vec<f32>,
    context: Option<Context>,
}

/// What stands before a preference when the model reads it.
const LEAD: &str = "About me: ";
/// Tokens of questions and preferences in one pass at the most.
const ROOM: usize = 1024;

impl Retriever {
    /// For `preferences`; the model reads them once.
    ///
    /// # Errors
    /// [`AlignError::Params`] for a scorer that needs a model where there is none; a preference of more than 512
    /// tokens; a lost device.
    pub fn new(scorer: Scorer, assistant: Option<&Assistant>, preferences: &[&str]) -> Result<Self, AlignError> {
        let mut new = Self {
            scorer,
            texts: preferences.iter().map(|p| (*p).to_owned()).collect(),
            tokens: Vec::new(),
            alone: Vec::new(),
            pooled: Vec::new(),
            centre: Vec::new(),
            context: None,
        };
        if scorer == Scorer::Lexical || preferences.is_empty() {
            return Ok(new);
        }
        let Some(assistant) = assistant else {
            return Err(AlignError::Params("this way of retrieving needs a model".into()));
        };
        let params =
            ContextParams { cache_tokens: ROOM, max_sequence: ROOM, block_size: 1, ..ContextParams::default() };
        let mut context = Context::new(&assistant.model, params)?;
        for p in preferences {
            let tokens = assistant.tokenizer.encode(&format!(" {p}"), Specials::Text)?;
            if tokens.is_empty() || tokens.len() > ROOM / 2 {
                return Err(AlignError::Params(format!("a preference of {} tokens; 1 to {}", tokens.len(), ROOM / 2)));
            }
            new.tokens.push(tokens);
        }
        match scorer {
            Scorer::Hidden => {
                for tokens in &new.tokens {
                    new.pooled.push(pooled(&mut context, tokens)?);
                }
                let n = new.pooled.len() as f32;
                new.centre = (0..new.pooled.first().map_or(0, Vec::len))
                    .map(|i| new.pooled.iter().map(|p| p[i]).sum::<f32>() / n)
                    .collect();
                new.pooled.iter_mut().for_each(|p| p.iter_mut().zip(&new.centre).for_each(|(x, c)| *x -= c));
            }
            _ => new.alone = likelihoods(&mut context, &alone_prompt(assistant)?, &new.tokens)?,
        }
        new.context = Some(context);
        Ok(new)
    }

    /// The `k` preferences that matter most for `question`, best first.
    ///
    /// # Errors
    /// A question of more than 512 tokens; a lost device.
    pub fn retrieve(
        &mut self,
        assistant: Option<&Assistant>,
        question: &str,
        k: usize,
    ) -> Result<Vec<Relevant>, AlignError> {
        let scores = self.scores(assistant, question)?;
        let mut ranked: Vec<Relevant> =
            scores.into_iter().enumerate().map(|(index, score)| Relevant { index, score }).collect();
        // Stable, so that among equals the older one comes first.
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranked.truncate(k);
        Ok(ranked)
    }

    /// One score for each preference.
    fn scores(&mut self, assistant: Option<&Assistant>, question: &str) -> Result<Vec<f32>, AlignError> {
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        let lexical = bm25(question, &texts);
        let (Some(context), Some(assistant)) = (&mut self.context, assistant) else { return Ok(lexical) };
        if self.scorer == Scorer::Hidden {
            let tokens = assistant.tokenizer.encode(&format!(" {question}"), Specials::Text)?;
            if tokens.is_empty() {
                return Ok(lexical);
            }
            let mut q = pooled(context, &tokens)?;
            q.iter_mut().zip(&self.centre).for_each(|(x, c)| *x -= c);
            return Ok(self.pooled.iter().map(|p| cosine(p, &q)).collect());
        }
        let with = likelihoods(context, &asked_prompt(assistant, question)?, &self.tokens)?;
        let lift: Vec<f32> = with.iter().zip(&self.alone).map(|(a, b)| a - b).collect();
        if self.scorer == Scorer::Lift {
            return Ok(lift);
        }
        Ok(standard(&lift).iter().zip(standard(&lexical)).map(|(a, b)| a + b).collect())
    }
}

/// The prompt after which a preference is read when nothing was asked.
fn alone_prompt(assistant: &Assistant) -> Result<Vec<u32>, AlignError> {
    prompt(assistant, LEAD)
}

/// The prompt after which a preference is read when `question` was asked.
fn asked_prompt(assistant: &Assistant, question: &str) -> Result<Vec<u32>, AlignError> {
    prompt(assistant, &format!("{question}\n{LEAD}"))
}

fn prompt(assistant: &Assistant, text: &str) -> Result<Vec<u32>, AlignError> {
    let mut tokens = assistant.tokenizer.encode_prompt(text.trim_end(), Specials::Text)?;
    if tokens.len() > ROOM / 2 {
        return Err(AlignError::Params(format!("a question of {} tokens; at most {}", tokens.len(), ROOM / 2)));
    }
    if tokens.is_empty() {
        tokens.extend(assistant.tokenizer.bos().or(assistant.tokenizer.eos()));
    }
    Ok(tokens)
}

/// Mean log p of the tokens of each answer after `prompt`, in nats; the prompt is shared within a pass.
fn likelihoods(context: &mut Context, prompt: &[u32], answers: &[Vec<u32>]) -> Result<Vec<f32>, AlignError> {
    let mut out = Vec::new();
    let mut rest = answers;
    while !rest.is_empty() {
        let mut room = ROOM - prompt.len();
        let n = rest
            .iter()
            .take_while(|a| {
                a.len() <= room && {
                    room -= a.len();
                    true
                }
            })
            .count()
            .max(1);
        let group = Group { prompt, answers: rest[..n].iter().map(Vec::as_slice).collect() };
        let scored = log_probs(context, &group, None, false)?;
        out.extend(scored.iter().map(|lp| lp.iter().sum::<f32>() / lp.len() as f32));
        rest = &rest[n..];
    }
    Ok(out)
}

/// The mean of the hidden states of a text, each brought to length 1.
fn pooled(context: &mut Context, tokens: &[u32]) -> Result<Vec<f32>, AlignError> {
    let tokens = &tokens[..tokens.len().min(ROOM / 2)];
    let seq = context.cache.create();
    let run = context.forward(&[Span { seq, tokens, adapter: None }]);
    context.cache.remove(seq);
    let rows = run?;
    let states = context.hidden_states()?;
    let dim = states.len() / rows.max(1);
    let mut mean = vec![0.0; dim];
    for state in states.chunks_exact(dim) {
        let length = state.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        mean.iter_mut().zip(state).for_each(|(m, x)| *m += x / length / rows as f32);
    }
    Ok(mean)
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f32::MIN_POSITIVE)
}

/// Brought to mean 0 and deviation 1; all 0 where they don't differ.
fn standard(x: &[f32]) -> Vec<f32> {
    let n = x.len().max(1) as f32;
    let mean = x.iter().sum::<f32>() / n;
    let deviation = (x.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / n).sqrt();
    x.iter().map(|v| if deviation > 1e-9 { (v - mean) / deviation } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_alone_need_no_model() {
        let texts = ["I avoid crowded restaurants", "I never lend my car", "I am afraid of dogs"];
        let mut r = Retriever::new(Scorer::Lexical, None, &texts).unwrap();
        let found = r.retrieve(None, "May my neighbour borrow the car?", 2).unwrap();
        assert_eq!(found.iter().map(|f| f.index).collect::<Vec<_>>(), [1, 0]);
        assert!(found[0].score > 0.0 && found[1].score == 0.0);
        assert!(matches!(Retriever::new(Scorer::Lift, None, &texts), Err(AlignError::Params(_))));
        assert!(Retriever::new(Scorer::Lift, None, &[]).unwrap().retrieve(None, "x", 3).unwrap().is_empty());
    }
}

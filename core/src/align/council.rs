//! The council: personas that think about a preference and a question, and a critic that weighs each thought.
//!
//! From each thought that is still alive, several personas go on; the critic critiques and scores what they think,
//! and what is at or under the threshold is pruned. The last layer is the reply. Siblings are generated in one
//! batch on a shared prompt. An expansion (all children of one node) is kept before the next one begins, so that a
//! killed run goes on where it was, and ends as if it had never been killed: what is drawn depends on the seed and
//! the place in the tree alone.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::council_tree::{ThoughtNode, TreeRecord};
use super::{AlignError, Assistant, Critic};
use crate::generate::{Request, SampleParams, StopReason, generate};
use crate::model::Adapter;
use crate::text::{MAX_STEPS, Message};

/// Somebody on the council.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Persona {
    /// What to call them.
    pub name: String,
    /// What they look at, as an instruction.
    pub brief: String,
}

/// The council that sits where the host names no other.
pub fn default_personas() -> Vec<Persona> {
    let persona = |name: &str, brief: &str| Persona { name: name.into(), brief: brief.into() };
    vec![
        persona(
            "sociologist",
            "Look at the people around the user: family, colleagues, customs, who owes what to whom.",
        ),
        persona("psychologist", "Look at what the user feels and fears, and at the need that lies under the wish."),
        persona(
            "pragmatist",
            "Look at what can be done this week with the time, money and strength that the user has.",
        ),
        persona("pedagogue", "Look at what would help the user to manage alone next time."),
        persona(
            "contrarian",
            "Doubt the obvious answer: say for whom it would be wrong, and why this user may be that one.",
        ),
        persona(
            "security expert",
            "Look at what could go wrong for this user: harm, leaks, loss, and how to prevent it.",
        ),
    ]
}

/// How a council grows its trees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CouncilParams {
    /// Who sits on it.
    pub personas: Vec<Persona>,
    /// Children of a node; each is another persona's as long as there are enough.
    pub branch: usize,
    /// Layers, the reply included: 2 to 5.
    pub depth: usize,
    /// A thought is pruned where its score is at or under this.
    pub threshold: f32,
    /// Living thoughts of a layer that are gone on from, the best first.
    pub width: usize,
    /// Tokens of a thought at the most.
    pub max_tokens: usize,
    /// How thoughts are drawn.
    pub temperature: f32,
    /// Cuts off unlikely tokens.
    pub top_p: f32,
    /// The same seed grows the same trees on the same device.
    pub seed: u64,
}

impl Default for CouncilParams {
    fn default() -> Self {
        Self {
            personas: default_personas(),
            branch: 3,
            depth: 3,
            threshold: 0.0,
            width: 4,
            max_tokens: 96,
            temperature: 0.7,
            top_p: 0.95,
            seed: 0,
        }
    }
}

impl CouncilParams {
    /// Whether they make sense.
    ///
    /// # Errors
    /// [`AlignError::Params`], which names the one that doesn't.
    pub fn check(&self) -> Result<(), AlignError> {
        let bad = |m: &str| Err(AlignError::Params(m.into()));
        if self.personas.is_empty()
            || self.personas.iter().any(|p| p.name.trim().is_empty() || p.brief.trim().is_empty())
        {
            return bad("personas: one or more, each with a name and a brief");
        }
        if !(1..=16).contains(&self.branch) || !(1..=64).contains(&self.width) {
            return bad("branch is 1 to 16, width 1 to 64");
        }
        if !(2..=MAX_STEPS).contains(&self.depth) {
            return bad("depth is 2 to 5");
        }
        if !(-1.0..=1.0).contains(&self.threshold) {
            return bad("threshold is in [-1, 1]");
        }
        if self.max_tokens == 0 || !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return bad("max_tokens is at least 1, temperature at least 0");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return bad("top_p is in (0, 1]");
        }
        Ok(())
    }

    /// Nodes of one tree at the most.
    pub fn max_nodes(&self) -> usize {
        self.branch + (1..self.depth).map(|_| self.width.saturating_mul(self.branch)).sum::<usize>()
    }
}

/// What a tree is grown for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeSeed {
    /// Unique in its set.
    pub id: String,
    /// One of the twenty topics, or the host's own.
    #[serde(default)]
    pub topic: String,
    /// The preference.
    pub preference: String,
    /// The question.
    pub question: String,
}

impl super::Line for TreeSeed {
    fn check(&self) -> Result<(), String> {
        let fields = [("id", &self.id), ("preference", &self.preference), ("question", &self.question)];
        fields.iter().find(|(_, v)| v.trim().is_empty()).map_or(Ok(()), |(f, _)| Err(format!("{f}: empty")))
    }
}

/// All children of one node, whose place is the list of child numbers from the root.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expansion {
    /// The tree's [`TreeSeed::id`].
    pub id: String,
    /// The node's place; empty for the root.
    pub at: Vec<usize>,
    /// Its children, without theirs.
    pub children: Vec<ThoughtNode>,
}

/// What is kept of a run.
pub trait Journal {
    /// Keeps an expansion for good before it returns; gives whether to go on.
    ///
    /// # Errors
    /// What the system says.
    fn keep(&mut self, expansion: &Expansion) -> Result<bool, AlignError>;
}

/// A council at work.
#[derive(Debug)]
pub struct Council<'a> {
    /// Who speaks for all personas.
    pub policy: &'a mut Assistant,
    /// Its adapter.
    pub adapter: Option<&'a Adapter>,
    /// Who weighs what they say.
    pub critic: &'a mut Critic,
    /// How the trees grow.
    pub params: CouncilParams,
}

impl Council<'_> {
    /// Grows one tree, going on from the expansions that are `kept` of it. Gives nothing where the journal says
    /// stop.
    ///
    /// # Errors
    /// Parameters that make no sense; a prompt that does not fit; a lost device; what the journal raises.
    pub fn grow(
        &mut self,
        seed: &TreeSeed,
        kept: &[Expansion],
        journal: &mut impl Journal,
    ) -> Result<Option<TreeRecord>, AlignError> {
        self.params.check()?;
        let mut known: HashMap<Vec<usize>, Vec<ThoughtNode>> =
            kept.iter().filter(|e| e.id == seed.id).map(|e| (e.at.clone(), e.children.clone())).collect();
        let mut layer: Vec<Vec<usize>> = vec![Vec::new()];
        for depth in 1..=self.params.depth {
            let mut next: Vec<(f32, Vec<usize>)> = Vec::new();
            for at in &layer {
                if !known.contains_key(at) {
                    let path = thoughts(&known, at);
                    let children = self.expand(seed, at, &path, depth == self.params.depth)?;
                    let expansion = Expansion { id: seed.id.clone(), at: at.clone(), children: children.clone() };
                    let go_on = journal.keep(&expansion)?;
                    known.insert(at.clone(), children);
                    if !go_on {
                        return Ok(None);
                    }
                }
                for (i, child) in known.get(at).into_iter().flatten().enumerate() {
                    if let (false, Some(score)) = (child.pruned, child.score) {
                        next.push((score, [at.as_slice(), &[i]].concat()));
                    }
                }
            }
            next.sort_by(|a, b| b.0.total_cmp(&a.0));
            layer = next.into_iter().take(self.params.width).map(|(_, at)| at).collect();
        }
        let tree = assemble(&mut known, &[]);
        Ok(Some(TreeRecord::new(&seed.id, &seed.topic, &seed.preference, &seed.question, tree, self.params.depth)))
    }

    /// What the personas think after `path`, or reply in the end.
    fn expand(
        &mut self,
        seed: &TreeSeed,
        at: &[usize],
        path: &[String],
        reply: bool,
    ) -> Result<Vec<ThoughtNode>, AlignError> {
        let who = self.council(seed, at);
        let mut prompts = Vec::new();
        for persona in &who {
            prompts.push(self.policy.prompt(&messages(seed, path, persona, reply), "")?);
        }
        let stop = ["\n".to_owned(), "Step ".to_owned()];
        let requests = who.iter().zip(&prompts).enumerate().map(|(i, (_, prompt))| Request {
            adapter: self.adapter,
            sample: SampleParams {
                temperature: self.params.temperature,
                top_p: self.params.top_p,
                seed: place_seed(self.params.seed, &seed.id, at, i),
                ..SampleParams::default()
            },
            stop: &stop,
            ..Request::new(prompt, self.params.max_tokens)
        });
        let requests = requests.collect();
        let tokenizer = self.policy.tokenizer.clone();
        let drawn = generate(&mut self.policy.context, &tokenizer, requests, |_, _| true)?;
        let thoughts: Vec<String> = drawn.iter().map(|c| tidy(&c.text, c.stop == StopReason::Length)).collect();
        // Nothing said is nothing to critique.
        let said: Vec<usize> = (0..thoughts.len()).filter(|i| !thoughts[*i].is_empty()).collect();
        let chains: Vec<Vec<&str>> =
            said.iter().map(|i| path.iter().chain([&thoughts[*i]]).map(String::as_str).collect()).collect();
        let critiques = self.critic.critique_last(&seed.preference, &seed.question, &chains)?;
        let children = said.iter().zip(critiques).map(|(i, c)| ThoughtNode {
            persona: who[*i].name.clone(),
            thought: thoughts[*i].clone(),
            reasoning: c.critique,
            score: c.score,
            pruned: c.score.is_none_or(|s| s <= self.params.threshold),
            children: Vec::new(),
        });
        Ok(children.collect())
    }

    /// Who speaks at a place: the personas in turn, beginning where the place says, so that all are heard.
    fn council(&self, seed: &TreeSeed, at: &[usize]) -> Vec<Persona> {
        let p = &self.params.personas;
        let first = place_seed(self.params.seed, &seed.id, at, usize::MAX) as usize % p.len().max(1);
        (0..self.params.branch).map(|i| p[(first + i) % p.len()].clone()).collect()
    }
}

/// The thoughts on the way to a place.
fn thoughts(known: &HashMap<Vec<usize>, Vec<ThoughtNode>>, at: &[usize]) -> Vec<String> {
    let thought = |n: usize| Some(known.get(&at[..n])?.get(at[n])?.thought.clone());
    (0..at.len()).filter_map(thought).collect()
}

/// Hangs the expansions into each other.
fn assemble(known: &mut HashMap<Vec<usize>, Vec<ThoughtNode>>, at: &[usize]) -> Vec<ThoughtNode> {
    let mut nodes = known.remove(at).unwrap_or_default();
    for (i, n) in nodes.iter_mut().enumerate() {
        n.children = assemble(known, &[at, &[i]].concat());
    }
    nodes
}

/// The seed of a place: the first eight bytes of a SHA-256.
fn place_seed(seed: u64, id: &str, at: &[usize], child: usize) -> u64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update((id.len() as u64).to_le_bytes());
    hash.update(id);
    for i in at.iter().chain([&child]) {
        hash.update((*i as u64).to_le_bytes());
    }
    let digest = hash.finalize();
    digest.iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b))
}

/// What a persona is asked. It comes last, so that siblings share their prompt up to there.
fn messages(seed: &TreeSeed, path: &[String], persona: &Persona, reply: bool) -> Vec<Message> {
    let system = "You help to find out what a user needs but does not say. You think in short steps. \
                  Answer with one or two sentences and nothing else.";
    let mut ask = format!("The user's preference: {}\nThe user's question: {}\n", seed.preference, seed.question);
    for (i, thought) in path.iter().enumerate() {
        ask += &format!("Step {}: {thought}\n", i + 1);
    }
    ask += &format!("You are the {}. {}\n", persona.name, persona.brief);
    ask += match (reply, path.is_empty()) {
        (true, _) => {
            "Write the reply to the user now: concrete advice that follows from the steps and respects the preference."
        }
        (false, true) => "What does this user need that the question does not say?",
        (false, false) => "What follows from the last step for this user? Say something new.",
    };
    vec![Message::system(system), Message::user(ask)]
}

/// One line without a mark or quotes in front; what ran out of tokens ends with its last whole sentence.
fn tidy(text: &str, cut: bool) -> String {
    let line = text.trim().trim_matches('"').trim();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.rfind(['.', '!', '?']) {
        Some(end) if cut => line[..=end].to_owned(),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_seeds_of_their_own() {
        let all = [
            place_seed(1, "a", &[], 0),
            place_seed(1, "a", &[], 1),
            place_seed(1, "a", &[0], 0),
            place_seed(1, "b", &[], 0),
            place_seed(2, "a", &[], 0),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b));
        }
        assert_eq!(place_seed(1, "a", &[], 0), all[0]);
    }

    #[test]
    fn thoughts_are_one_line() {
        assert_eq!(tidy(" \"A thought.\nAnd more\" ", false), "A thought. And more");
        assert_eq!(tidy("First one. Second is cut in the", true), "First one.");
        assert_eq!(tidy("  ", true), "");
    }

    #[test]
    fn parameters_are_checked() {
        let ok = CouncilParams::default();
        ok.check().unwrap();
        assert_eq!(ok.max_nodes(), 3 + 12 + 12);
        for bad in [
            CouncilParams { depth: 1, ..ok.clone() },
            CouncilParams { depth: 6, ..ok.clone() },
            CouncilParams { branch: 0, ..ok.clone() },
            CouncilParams { threshold: f32::NAN, ..ok.clone() },
            CouncilParams { personas: Vec::new(), ..ok.clone() },
            CouncilParams { top_p: 0.0, ..ok.clone() },
        ] {
            assert!(matches!(bad.check(), Err(AlignError::Params(_))), "{bad:?}");
        }
        let unknown = r#"[{"name": "x", "brief": "y", "brif": "z"}]"#;
        assert!(serde_json::from_str::<Vec<Persona>>(unknown).is_err());
    }
}

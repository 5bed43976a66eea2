//! Trees of critiqued thoughts as DeepPref keeps them, and the rows for training that are read off them.

use serde::{Deserialize, Serialize};

use super::{Chain, ChainKind, ChainStep, Line, Record};
use crate::text::MAX_STEPS;

/// A thought of one persona, critiqued, with the thoughts that go on from it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct ThoughtNode {
    /// Who thought it.
    pub persona: String,
    /// What they thought; in the last layer, the reply.
    pub thought: String,
    /// What the critic says of it.
    pub reasoning: String,
    /// The critic's score in [−1, 1]; nothing where the critique failed.
    pub score: Option<f32>,
    /// Whether nothing may go on from here: the score is at or under the threshold, or the critique failed.
    #[serde(default)]
    pub pruned: bool,
    /// What goes on from it.
    #[serde(default)]
    pub children: Vec<ThoughtNode>,
}

/// A path of a tree from the first thought to the reply.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct TreeResponse {
    /// The thoughts.
    pub response: Vec<String>,
    /// The reply.
    pub answer: String,
    /// Mean score of all its nodes.
    pub score: f32,
}

/// What a council grew for one preference and question.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct TreeRecord {
    /// Unique in its set.
    pub id: String,
    /// One of the twenty topics, or the host's own.
    #[serde(default)]
    pub topic: String,
    /// The preference.
    pub user_profile: String,
    /// The question.
    pub initial_question: String,
    /// The first thoughts.
    pub thought_tree: Vec<ThoughtNode>,
    /// The paths that reach a reply, best first.
    pub response_list: Vec<TreeResponse>,
}

/// A critique with its score.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Label {
    /// The critique.
    pub critique: String,
    /// Its score in [−1, 1].
    pub score: f32,
}

/// A row for the critic: a path with a critique and a score for every step.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct CriticRow {
    /// The preference.
    pub preference: String,
    /// The question.
    pub question: String,
    /// The steps; the last is the reply where the path reaches one.
    pub process: Vec<String>,
    /// One for each step.
    pub label: Vec<Label>,
    /// The whole path's score in [−1, 1].
    pub final_score: f32,
}

/// A row for the policy (RFT): a best path.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct PathRow {
    /// The preference.
    pub preference: String,
    /// The question.
    pub question: String,
    /// The steps; the last is the reply.
    pub process: Vec<String>,
    /// The path's score in [−1, 1].
    pub final_score: f32,
}

/// Rows as records that a critic learns from: neighbours with the same preference and question become one, which offers
/// no replies.
pub fn council_records(rows: &[CriticRow]) -> Vec<Record> {
    let same = |a: &CriticRow, b: &CriticRow| (&a.preference, &a.question) == (&b.preference, &b.question);
    let chain = |r: &CriticRow| Chain {
        kind: if r.final_score > 0.0 { ChainKind::Good } else { ChainKind::Flawed },
        steps: r
            .process
            .iter()
            .zip(&r.label)
            .map(|(text, l)| ChainStep { text: text.clone(), critique: l.critique.clone(), score: l.score })
            .collect(),
        final_score: r.final_score,
    };
    let records = rows.chunk_by(same).enumerate().map(|(i, of)| Record {
        id: format!("council-{:04}", i + 1),
        topic: "council".into(),
        preference: of[0].preference.clone(),
        question: of[0].question.clone(),
        chains: of.iter().map(chain).collect(),
        options: Vec::new(),
    });
    records.collect()
}

impl ThoughtNode {
    /// Nodes of this subtree, itself included.
    pub fn size(&self) -> usize {
        1 + self.children.iter().map(Self::size).sum::<usize>()
    }
}

/// All paths from a first thought to where the tree ends.
fn paths(nodes: &[ThoughtNode]) -> Vec<Vec<&ThoughtNode>> {
    let mut out = Vec::new();
    for n in nodes {
        let below = paths(&n.children);
        if below.is_empty() {
            out.push(vec![n]);
        }
        out.extend(below.into_iter().map(|mut p| {
            p.insert(0, n);
            p
        }));
    }
    out
}

/// The mean of scores that are all there.
fn mean_score(path: &[&ThoughtNode]) -> Option<f32> {
    let scores: Vec<f32> = path.iter().map(|n| n.score).collect::<Option<_>>()?;
    (!scores.is_empty()).then(|| scores.iter().sum::<f32>() / scores.len() as f32)
}

impl TreeRecord {
    /// A record of a grown tree whose replies lie in layer `depth` (from 1).
    pub fn new(id: &str, topic: &str, preference: &str, question: &str, tree: Vec<ThoughtNode>, depth: usize) -> Self {
        let reached = paths(&tree).into_iter().filter(|p| p.len() == depth && p.iter().all(|n| !n.pruned));
        let mut response_list: Vec<TreeResponse> = reached
            .filter_map(|p| {
                let (reply, thoughts) = p.split_last()?;
                let response = thoughts.iter().map(|n| n.thought.clone()).collect();
                Some(TreeResponse { response, answer: reply.thought.clone(), score: mean_score(&p)? })
            })
            .collect();
        response_list.sort_by(|a, b| b.score.total_cmp(&a.score));
        Self {
            id: id.into(),
            topic: topic.into(),
            user_profile: preference.into(),
            initial_question: question.into(),
            thought_tree: tree,
            response_list,
        }
    }

    /// Every path as a row for the critic, pruned ones too: it must see bad steps. A path ends before a failed
    /// critique; a path that is the beginning of another one is no row of its own.
    pub fn critic_rows(&self) -> Vec<CriticRow> {
        let mut rows: Vec<CriticRow> = Vec::new();
        for path in paths(&self.thought_tree) {
            let scored: Vec<&ThoughtNode> = path.into_iter().take_while(|n| n.score.is_some()).collect();
            let Some(final_score) = mean_score(&scored) else { continue };
            let label = |n: &&ThoughtNode| Label { critique: n.reasoning.clone(), score: n.score.unwrap_or(0.0) };
            let row = CriticRow {
                preference: self.user_profile.clone(),
                question: self.initial_question.clone(),
                process: scored.iter().map(|n| n.thought.clone()).collect(),
                label: scored.iter().map(label).collect(),
                final_score,
            };
            rows.push(row);
        }
        let whole = |r: &CriticRow| {
            let longer = |o: &CriticRow| o.process.len() > r.process.len() && o.process.starts_with(&r.process);
            !rows.iter().any(longer)
        };
        rows.iter().filter(|r| whole(r)).cloned().collect()
    }

    /// The best path as a row for the policy, if a path reaches a reply.
    pub fn best_path(&self) -> Option<PathRow> {
        let best = self.response_list.first()?;
        Some(PathRow {
            preference: self.user_profile.clone(),
            question: self.initial_question.clone(),
            process: best.response.iter().chain([&best.answer]).cloned().collect(),
            final_score: best.score,
        })
    }
}

impl Record {
    /// Its chains as rows for the critic.
    pub fn critic_rows(&self) -> Vec<CriticRow> {
        let row = |c: &Chain| CriticRow {
            preference: self.preference.clone(),
            question: self.question.clone(),
            process: c.steps.iter().map(|s| s.text.clone()).collect(),
            label: c.steps.iter().map(|s| Label { critique: s.critique.clone(), score: s.score }).collect(),
            final_score: c.final_score,
        };
        self.chains.iter().map(row).collect()
    }

    /// Its best good chain as a row for the policy.
    pub fn best_path(&self) -> Option<PathRow> {
        let good = self.chains.iter().filter(|c| c.kind == ChainKind::Good);
        let best = good.max_by(|a, b| a.final_score.total_cmp(&b.final_score))?;
        Some(PathRow {
            preference: self.preference.clone(),
            question: self.question.clone(),
            process: best.steps.iter().map(|s: &ChainStep| s.text.clone()).collect(),
            final_score: best.final_score,
        })
    }
}

fn check_row(question: &str, process: &[String], scores: &[f32]) -> Result<(), String> {
    if question.trim().is_empty() {
        return Err("question: empty".into());
    }
    if process.is_empty() || process.len() > MAX_STEPS {
        return Err(format!("process: {} steps, expected 1 to {MAX_STEPS}", process.len()));
    }
    if let Some(i) = process.iter().position(|s| s.trim().is_empty()) {
        return Err(format!("process[{i}]: empty"));
    }
    match scores.iter().position(|s| !(-1.0..=1.0).contains(s)) {
        Some(i) => Err(format!("score {i}: {} is outside of [-1, 1]", scores[i])),
        None => Ok(()),
    }
}

impl Line for CriticRow {
    fn check(&self) -> Result<(), String> {
        if self.label.len() != self.process.len() {
            return Err(format!("label: {} for {} steps", self.label.len(), self.process.len()));
        }
        let scores: Vec<f32> = self.label.iter().map(|l| l.score).chain([self.final_score]).collect();
        check_row(&self.question, &self.process, &scores)
    }
}

impl Line for PathRow {
    fn check(&self) -> Result<(), String> {
        check_row(&self.question, &self.process, &[self.final_score])
    }
}

impl Line for TreeRecord {
    fn check(&self) -> Result<(), String> {
        fn node(n: &ThoughtNode, at: &str, depth: usize) -> Result<(), String> {
            if depth > MAX_STEPS {
                return Err(format!("{at}: deeper than {MAX_STEPS}"));
            }
            if n.thought.trim().is_empty() {
                return Err(format!("{at}.thought: empty"));
            }
            if n.score.is_some_and(|s| !(-1.0..=1.0).contains(&s)) {
                return Err(format!("{at}.score: outside of [-1, 1]"));
            }
            n.children.iter().enumerate().try_for_each(|(i, c)| node(c, &format!("{at}.children[{i}]"), depth + 1))
        }
        if self.id.trim().is_empty() || self.initial_question.trim().is_empty() {
            return Err("id or initial_question: empty".into());
        }
        self.thought_tree.iter().enumerate().try_for_each(|(i, n)| node(n, &format!("thought_tree[{i}]"), 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(thought: &str, score: Option<f32>, children: Vec<ThoughtNode>) -> ThoughtNode {
        let pruned = score.is_none_or(|s| s <= 0.0);
        let reasoning = format!("on {thought}");
        ThoughtNode { persona: "p".into(), thought: thought.into(), reasoning, score, pruned, children }
    }

    fn tree() -> TreeRecord {
        let nodes = vec![
            node("a", Some(0.5), vec![node("a1", Some(0.7), vec![]), node("a2", Some(-0.5), vec![])]),
            node("b", Some(0.4), vec![node("b1", Some(0.9), vec![]), node("b2", None, vec![])]),
            node("c", Some(-0.2), vec![]),
        ];
        TreeRecord::new("t", "topic", "pref", "question?", nodes, 2)
    }

    #[test]
    fn rows_are_read_off_a_tree() {
        let t = tree();
        t.check().unwrap();
        let answers: Vec<(&str, f32)> = t.response_list.iter().map(|r| (r.answer.as_str(), r.score)).collect();
        assert_eq!(answers.len(), 2);
        assert!(answers[0].0 == "b1" && (answers[0].1 - 0.65).abs() < 1e-6 && answers[1].0 == "a1");
        assert_eq!(t.best_path().unwrap().process, ["b", "b1"]);
        let rows = t.critic_rows();
        let processes: Vec<String> = rows.iter().map(|r| r.process.join(">")).collect();
        // b2's critique failed: what is left of its path is in b1's already.
        assert_eq!(processes, ["a>a1", "a>a2", "b>b1", "c"]);
        assert!((rows[1].final_score - 0.0).abs() < 1e-6 && rows[1].label[1].critique == "on a2");
        rows.iter().for_each(|r| r.check().unwrap());
        let records = council_records(&rows);
        assert_eq!((records.len(), records[0].chains.len(), records[0].preference.as_str()), (1, 4, "pref"));
        let chain = &records[0].chains[1];
        assert_eq!((chain.kind, chain.steps[1].critique.as_str()), (ChainKind::Flawed, "on a2"));
    }

    #[test]
    fn bad_trees_are_named_by_their_path() {
        let mut t = tree();
        t.thought_tree[1].children[0].score = Some(3.0);
        assert_eq!(t.check().unwrap_err(), "thought_tree[1].children[0].score: outside of [-1, 1]");
        let mut row = tree().critic_rows().remove(0);
        row.label.pop();
        assert_eq!(row.check().unwrap_err(), "label: 1 for 2 steps");
    }
}

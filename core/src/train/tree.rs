//! Rows with common beginnings as one tree, so that each shared token is computed once, forward and backward.

use crate::model::{Adapter, Context, ModelError, TreeNode};

/// A prompt with the answers whose log-probabilities are wanted. The prompt is computed once.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// The prompt's tokens; at least one.
    pub prompt: &'a [u32],
    /// The answers' tokens; each at least one.
    pub answers: Vec<&'a [u32]>,
}

/// A node: where it begins, and its tokens.
#[derive(Debug)]
struct Node {
    from: Option<(usize, usize)>,
    /// Positions before it.
    start: usize,
    tokens: Vec<u32>,
}

/// (prompt, answer) pairs as a tree. Prompts share what they begin with; answers share nothing, so that each
/// scored token has a row of its own.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    /// The node and the answer of each pair, in order.
    leaves: Vec<(usize, Vec<u32>)>,
}

impl Tree {
    /// Cuts items into passes of at most `capacity` computed tokens, each with its tree; an item that is larger stands
    /// alone. `pairs` gives an item's pairs.
    pub(crate) fn passes<'a, 'b, T>(
        mut rest: &'b [T],
        capacity: usize,
        pairs: impl Fn(&'b T) -> Vec<(&'a [u32], &'a [u32])>,
    ) -> Result<Vec<(&'b [T], Self)>, ModelError> {
        let tree = |items: &'b [T]| Self::of(&items.iter().flat_map(&pairs).collect::<Vec<_>>());
        let mut out = Vec::new();
        while !rest.is_empty() {
            let (mut n, mut pass) = (1, tree(&rest[..1])?);
            while n < rest.len() {
                let larger = tree(&rest[..n + 1])?;
                if larger.tokens() > capacity {
                    break;
                }
                (n, pass) = (n + 1, larger);
            }
            let (head, tail) = rest.split_at(n);
            out.push((head, pass));
            rest = tail;
        }
        Ok(out)
    }

    /// The tree of some pairs. Pairs that begin alike should stand beside each other: each is compared with those
    /// before it.
    ///
    /// # Errors
    /// An empty prompt or answer; no pair.
    pub fn of(rows: &[(&[u32], &[u32])]) -> Result<Self, ModelError> {
        if rows.is_empty() {
            return Err(ModelError::Batch("no rows".into()));
        }
        // The whole token sequence of each prompt node, to compare with.
        let mut paths: Vec<(usize, Vec<u32>)> = Vec::new();
        let mut tree = Self { nodes: Vec::new(), leaves: Vec::new() };
        for (prompt, answer) in rows {
            let Some((last, before)) = prompt.split_last() else {
                return Err(ModelError::Batch("a prompt needs a token".into()));
            };
            let Some((_, given)) = answer.split_last() else {
                return Err(ModelError::Batch("an answer needs a token".into()));
            };
            let common = |path: &[u32]| path.iter().zip(before).take_while(|(a, b)| a == b).count();
            let best = paths.iter().map(|(node, path)| (common(path), *node)).max_by_key(|c| c.0);
            let mut from = best.filter(|c| c.0 > 0).map(|(len, node)| (node, len));
            let shared = from.map_or(0, |f| f.1);
            if shared < before.len() {
                let node = tree.push(from, &before[shared..]);
                paths.push((node, before.to_vec()));
                from = Some((node, before.len()));
            }
            // A branch begins with the prompt's last token, so that each answer's first token has a row of its own.
            let leaf = tree.push(from, &[std::slice::from_ref(last), given].concat());
            tree.leaves.push((leaf, answer.to_vec()));
        }
        Ok(tree)
    }

    fn push(&mut self, from: Option<(usize, usize)>, tokens: &[u32]) -> usize {
        self.nodes.push(Node { from, start: from.map_or(0, |f| f.1), tokens: tokens.to_vec() });
        self.nodes.len() - 1
    }

    /// Tokens that are computed.
    pub fn tokens(&self) -> usize {
        self.nodes.iter().map(|n| n.tokens.len()).sum()
    }

    /// Tokens that are scored.
    pub fn scored(&self) -> usize {
        self.leaves.iter().map(|l| l.1.len()).sum()
    }

    /// Positions of its longest sequence.
    pub fn longest(&self) -> usize {
        self.nodes.iter().map(|n| n.start + n.tokens.len()).max().unwrap_or(0)
    }

    /// log π of every token of every answer, in nats; the context has blocks of one position. `keep` is for
    /// [`Context::backward`], whose gradients are those of the answers one after the other.
    ///
    /// # Errors
    /// More tokens than the context holds; a token outside of the vocabulary; a lost device.
    pub fn log_probs(
        &self,
        context: &mut Context,
        adapter: Option<&Adapter>,
        keep: bool,
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let nodes: Vec<TreeNode<'_>> =
            self.nodes.iter().map(|n| TreeNode { from: n.from, tokens: &n.tokens }).collect();
        context.forward_tree(&nodes, adapter, keep)?;
        let firsts: Vec<usize> = self
            .nodes
            .iter()
            .scan(0, |at, n| {
                *at += n.tokens.len();
                Some(*at - n.tokens.len())
            })
            .collect();
        let rows: Vec<u32> = self
            .leaves
            .iter()
            .flat_map(|(node, answer)| (firsts[*node]..firsts[*node] + answer.len()).map(|row| row as u32))
            .collect();
        let targets: Vec<u32> = self.leaves.iter().flat_map(|(_, answer)| answer).copied().collect();
        let flat = context.log_probs(&rows, &targets)?;
        let mut rest = flat.as_slice();
        Ok(self
            .leaves
            .iter()
            .map(|(_, answer)| {
                let (head, tail) = rest.split_at(answer.len());
                rest = tail;
                head.to_vec()
            })
            .collect())
    }
}

/// log π of every token of every answer, in nats; the context has blocks of one position.
pub(crate) fn log_probs(
    context: &mut Context,
    group: &Group<'_>,
    adapter: Option<&Adapter>,
    keep: bool,
) -> Result<Vec<Vec<f32>>, ModelError> {
    let rows: Vec<_> = group.answers.iter().map(|a| (group.prompt, *a)).collect();
    Tree::of(&rows)?.log_probs(context, adapter, keep)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tokens of a leaf's whole sequence.
    fn path(tree: &Tree, node: usize) -> Vec<u32> {
        let n = &tree.nodes[node];
        let mut out = n.from.map_or(Vec::new(), |(parent, len)| path(tree, parent)[..len].to_vec());
        out.extend(&n.tokens);
        out
    }

    #[test]
    fn a_group_is_a_prompt_with_branches() {
        let (prompt, a, b) = ([1, 2, 3], [4, 5], [6]);
        let tree = Tree::of(&[(&prompt[..], &a[..]), (&prompt[..], &b[..])]).unwrap();
        assert_eq!((tree.nodes.len(), tree.tokens(), tree.scored(), tree.longest()), (3, 5, 3, 4));
        assert!(Tree::of(&[(&[][..], &a[..])]).is_err() && Tree::of(&[(&prompt[..], &[][..])]).is_err());
        assert!(Tree::of(&[]).is_err());
    }

    #[test]
    fn growing_prefixes_share_their_trunk() {
        let rows: [(&[u32], &[u32]); 3] =
            [(&[1, 2, 3, 90, 91], &[7]), (&[1, 2, 3, 4, 90, 91], &[8]), (&[1, 2, 3, 4, 5, 90, 91], &[9])];
        let tree = Tree::of(&rows).unwrap();
        // 1 2 3 4 5 once, "90 91" three times; the last token of each prompt stands in its branch.
        assert_eq!(tree.tokens(), 5 + 3 * 2);
    }

    proptest! {
        #[test]
        fn every_leaf_has_its_own_sequence(
            rows in proptest::collection::vec((proptest::collection::vec(0u32..3, 1..8), proptest::collection::vec(0u32..3, 1..4)), 1..8)
        ) {
            let pairs: Vec<(&[u32], &[u32])> = rows.iter().map(|(p, a)| (p.as_slice(), a.as_slice())).collect();
            let tree = Tree::of(&pairs).unwrap();
            for ((prompt, answer), (leaf, scored)) in rows.iter().zip(&tree.leaves) {
                let all = [prompt.as_slice(), answer].concat();
                prop_assert_eq!(path(&tree, *leaf), &all[..all.len() - 1]);
                prop_assert_eq!(scored, answer);
                prop_assert_eq!(tree.nodes[*leaf].tokens.len(), answer.len());
            }
            prop_assert!(tree.tokens() <= rows.iter().map(|(p, a)| p.len() + a.len() - 1).sum());
        }
    }
}

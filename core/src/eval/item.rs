//! What is measured on: a preference, a question where it matters, answers of which one fits.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use crate::align::{Record, crossed_chains};
use crate::text::Message;

/// An item of a suite.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Unique in its suite.
    pub id: String,
    /// Its topic.
    pub topic: String,
    /// What the user prefers.
    pub preference: String,
    /// What the user asks, the preference left unsaid.
    pub question: String,
    /// Answers to choose among; empty where there are none.
    pub options: Vec<String>,
    /// Which of them fits.
    pub fitting: usize,
    /// Chains to choose among, the good one first: see [`By::Chain`](super::By::Chain); empty where there are none.
    pub chains: Vec<String>,
    /// A conversation in which a persona lets the preference show.
    pub persona: Option<Vec<Message>>,
    /// A conversation in which a choice gives it away.
    pub choice: Option<Vec<Message>>,
}

impl From<&Record> for Item {
    fn from(r: &Record) -> Self {
        Self {
            id: r.id.clone(),
            topic: r.topic.clone(),
            preference: r.preference.clone(),
            question: r.question.clone(),
            options: r.options.iter().map(|o| o.text.clone()).collect(),
            fitting: r.fitting().unwrap_or(0),
            chains: crossed_chains(r),
            persona: None,
            choice: None,
        }
    }
}

impl Item {
    /// The order in which a seed shows the options: `order[place]` is the option's index. It depends on seed and
    /// item alone, so that an item is shown alike whatever else is measured.
    pub fn order(&self, seed: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.options.len()).collect();
        order.shuffle(&mut ChaCha8Rng::from_seed(digest("order", seed, &self.id)));
        order
    }

    /// A seed of this item's own for random draws.
    pub fn stream(&self, seed: u64) -> u64 {
        let d = digest("draw", seed, &self.id);
        d[..8].iter().fold(0, |n, b| n << 8 | u64::from(*b))
    }
}

fn digest(what: &str, seed: u64, id: &str) -> [u8; 32] {
    Sha256::digest(format!("{what}/{seed}/{id}")).into()
}

/// `n` of the items, drawn by a seed without replacement, in their order. Which ones depends on the seed and on
/// their ids, so that two runs with the same seed and data measure the same items.
pub fn draw(items: Vec<Item>, n: usize, seed: u64) -> Vec<Item> {
    let mut ranked: Vec<([u8; 32], usize)> =
        items.iter().enumerate().map(|(i, item)| (digest("sample", seed, &item.id), i)).collect();
    ranked.sort_unstable();
    let mut kept = vec![false; items.len()];
    ranked.iter().take(n).for_each(|(_, i)| kept[*i] = true);
    items.into_iter().zip(kept).filter_map(|(item, kept)| kept.then_some(item)).collect()
}

#[cfg(test)]
pub(super) fn example(id: &str) -> Item {
    Item {
        id: id.into(),
        topic: "tea".into(),
        preference: "I drink nothing with caffeine.".into(),
        question: "What should I order at the café?".into(),
        options: ["A rooibos.", "An espresso.", "A cola.", "A matcha."].map(String::from).to_vec(),
        fitting: 0,
        chains: Vec::new(),
        persona: None,
        choice: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_permutations_that_seeds_change_and_hit_every_place() {
        let mut places = [0; 4];
        for i in 0..400 {
            let item = example(&format!("tea/{i}"));
            let order = item.order(7);
            assert_eq!(order, item.order(7));
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3]);
            places[order.iter().position(|o| *o == 0).unwrap()] += 1;
        }
        // 400 draws over 4 places: sd 8.7.
        assert!(places.iter().all(|n| (60..140).contains(n)), "{places:?}");
        assert!((0..20).any(|seed| example("x").order(seed) != example("x").order(7)));
    }

    #[test]
    fn a_draw_is_the_same_for_the_same_seed_and_keeps_the_order() {
        let all: Vec<Item> = (0..50).map(|i| example(&format!("tea/{i:02}"))).collect();
        let a = draw(all.clone(), 20, 1);
        assert_eq!(a, draw(all.clone(), 20, 1));
        assert_eq!(a.len(), 20);
        assert!(a.windows(2).all(|w| w[0].id < w[1].id));
        assert_ne!(a, draw(all.clone(), 20, 2));
        assert_eq!(draw(all.clone(), 99, 1), all);
    }
}

//! Words of a text, for comparing short sentences without a model: stems, similarity, BM25.

use std::collections::{BTreeMap, BTreeSet};

/// Hashes of the content words of a sentence, and whether it says no.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Marks {
    /// One for each stem.
    pub words: BTreeSet<u32>,
    /// Whether it denies something.
    pub denies: bool,
}

/// Words that carry no content of their own.
const EMPTY: &[&str] = &[
    "a",
    "about",
    "after",
    "all",
    "also",
    "am",
    "an",
    "and",
    "any",
    "are",
    "as",
    "at",
    "be",
    "because",
    "been",
    "before",
    "being",
    "but",
    "by",
    "can",
    "could",
    "did",
    "do",
    "does",
    "for",
    "from",
    "get",
    "had",
    "has",
    "have",
    "he",
    "her",
    "him",
    "his",
    "how",
    "i",
    "if",
    "in",
    "into",
    "is",
    "it",
    "its",
    "just",
    "me",
    "more",
    "most",
    "my",
    "myself",
    "of",
    "on",
    "only",
    "or",
    "our",
    "out",
    "own",
    "prefer",
    "preference",
    "rather",
    "she",
    "should",
    "so",
    "some",
    "such",
    "than",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "to",
    "too",
    "up",
    "user",
    "very",
    "was",
    "we",
    "were",
    "what",
    "when",
    "where",
    "which",
    "who",
    "will",
    "with",
    "would",
    "you",
    "your",
    "s",
    "m",
    "ve",
    "re",
    "ll",
    "d",
    "t",
];

/// Words that turn a sentence round.
const DENIALS: &[&str] = &[
    "no", "not", "never", "none", "nothing", "neither", "nor", "without", "dont", "doesnt", "didnt", "cant", "cannot",
    "wont", "wouldnt", "isnt", "arent", "shouldnt", "don", "doesn", "didn", "won", "wouldn", "isn", "aren", "shouldn",
];

/// The stems of the content words, in order, in lower case.
pub(super) fn stems(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
    words.filter(|w| !EMPTY.contains(w) && !DENIALS.contains(w)).map(stem).collect()
}

/// Cuts the commonest English endings, so that "avoids" and "avoiding" meet; other languages keep their words.
fn stem(word: &str) -> String {
    let cut = |ending: &str, put: &str| {
        let base = word.strip_suffix(ending)?;
        (base.chars().count() >= 3 && base.is_ascii()).then(|| base.to_owned() + put)
    };
    let stem = cut("ies", "y").or_else(|| cut("sses", "ss"));
    let stem = stem.or_else(|| cut("ing", "")).or_else(|| cut("ed", "")).or_else(|| cut("es", ""));
    let plain = || if word.ends_with("ss") || word.ends_with("us") { None } else { cut("s", "") };
    let mut stem = stem.or_else(plain).unwrap_or_else(|| word.to_owned());
    if stem.len() > 3 && stem.is_ascii() && stem.ends_with('e') {
        stem.pop();
    }
    stem
}

/// The marks of a sentence.
pub(super) fn marks(text: &str) -> Marks {
    let lower = text.to_lowercase().replace(['\'', '’'], "");
    let denials = lower.split(|c: char| !c.is_alphanumeric()).filter(|w| DENIALS.contains(w)).count();
    Marks { words: stems(&text.replace('’', "'")).iter().map(|s| hash(s)).collect(), denies: denials % 2 == 1 }
}

/// FNV-1a, 32 bits: stable between runs and machines, since it is kept.
fn hash(word: &str) -> u32 {
    word.bytes().fold(0x811c_9dc5, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
}

/// Jaccard's overlap of the words; 0 where one denies and the other doesn't.
pub(super) fn similarity(a: &Marks, b: &Marks) -> f32 {
    let both = a.words.intersection(&b.words).count();
    if a.denies != b.denies || both == 0 {
        return 0.0;
    }
    both as f32 / (a.words.len() + b.words.len() - both) as f32
}

/// BM25 scores of `documents` for `query` (Robertson and Zaragoza, 2009), k₁ = 1.2, b = 0.75, with
/// idf = ln(1 + (N − n + ½)/(n + ½)).
pub(super) fn bm25(query: &str, documents: &[&str]) -> Vec<f32> {
    const K1: f32 = 1.2;
    const B: f32 = 0.75;
    let docs: Vec<Vec<String>> = documents.iter().map(|d| stems(d)).collect();
    let mean = docs.iter().map(Vec::len).sum::<usize>() as f32 / docs.len().max(1) as f32;
    let mut containing: BTreeMap<&str, usize> = BTreeMap::new();
    for doc in &docs {
        for word in doc.iter().map(String::as_str).collect::<BTreeSet<_>>() {
            *containing.entry(word).or_default() += 1;
        }
    }
    let query: BTreeSet<String> = stems(query).into_iter().collect();
    let score = |doc: &Vec<String>| {
        let term = |word: &String| {
            let n = *containing.get(word.as_str()).unwrap_or(&0) as f32;
            let idf = (1.0 + (docs.len() as f32 - n + 0.5) / (n + 0.5)).ln();
            let tf = doc.iter().filter(|w| *w == word).count() as f32;
            idf * tf * (K1 + 1.0) / (tf + K1 * (1.0 - B + B * doc.len() as f32 / mean.max(1.0)))
        };
        query.iter().map(term).sum()
    };
    docs.iter().map(score).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_meet() {
        assert_eq!(
            stems("She avoids avoiding; avoided parties and a party"),
            ["avoid", "avoid", "avoid", "party", "party"]
        );
        assert_eq!(stems("Größe über 8 ß"), ["größe", "über", "8", "ß"]);
        assert!(marks("I don't fly").denies && marks("I don’t fly").denies && !marks("I can't not fly").denies);
    }

    #[test]
    fn bm25_prefers_rare_words() {
        let docs = ["the cat eats fish", "the dog eats meat", "the bird eats seeds"];
        let s = bm25("which fish eats the cat", &docs);
        assert!(s[0] > s[1] && (s[1] - s[2]).abs() < 1e-6 && s[1] > 0.0, "{s:?}");
        // One document, one word: idf = ln(1 + 0.5/1.5), tf part = 2.2/2.2.
        assert!((bm25("fish", &["fish"])[0] - (1.0f32 + 0.5 / 1.5).ln()).abs() < 1e-6);
        assert!(bm25("", &docs).iter().all(|s| *s == 0.0) && bm25("cat", &[]).is_empty());
    }
}

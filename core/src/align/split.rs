//! Which records are learned from, which stop the training, and which are only measured.

use std::collections::BTreeSet;

use super::{AlignError, Record, split_by_topic};

/// How records are split.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitParams {
    /// Share of each topic's records that only validate, in [0, 1); at least one where it is above 0 and the topic
    /// has two.
    pub validation: f32,
    /// Topics that are held out whole: their records are only measured.
    pub hold_out_topics: Vec<String>,
    /// Topics of which all records go to the validation.
    pub validation_topics: Vec<String>,
    /// The same seed gives the same split, whatever the order of the records.
    pub seed: u64,
}

impl Default for SplitParams {
    fn default() -> Self {
        Self { validation: 0.1, hold_out_topics: Vec::new(), validation_topics: Vec::new(), seed: 0 }
    }
}

/// Records by their use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Split {
    /// Learned from.
    pub train: Vec<Record>,
    /// Of the same topics, for early stopping and choices.
    pub validation: Vec<Record>,
    /// Of the topics held out, for the last measurement only.
    pub test: Vec<Record>,
}

/// Splits records within each topic (METHOD: 90/10 by a fixed seed), whole topics apart.
///
/// # Errors
/// A share outside of [0, 1); a topic to hold out that no record has.
pub fn split(records: &[Record], params: &SplitParams) -> Result<Split, AlignError> {
    if !(0.0..1.0).contains(&params.validation) {
        return Err(AlignError::Params(format!("validation share {}, expected 0 to below 1", params.validation)));
    }
    let topics: BTreeSet<&str> = records.iter().map(|r| r.topic.as_str()).collect();
    if let Some(missing) =
        params.hold_out_topics.iter().chain(&params.validation_topics).find(|t| !topics.contains(t.as_str()))
    {
        let known = topics.into_iter().collect::<Vec<_>>().join(", ");
        return Err(AlignError::Params(format!("no record has the topic {missing:?}; there are {known}")));
    }
    let held_out = |r: &Record| params.hold_out_topics.contains(&r.topic);
    let validates = |r: &Record| params.validation_topics.contains(&r.topic) && !held_out(r);
    let seen: Vec<Record> = records.iter().filter(|r| !held_out(r) && !validates(r)).cloned().collect();
    let (train, mut validation) = split_by_topic(&seen, params.validation, params.seed);
    validation.extend(records.iter().filter(|r| validates(r)).cloned());
    let mut test: Vec<Record> = records.iter().filter(|r| held_out(r)).cloned().collect();
    test.sort_by(|a, b| (&a.topic, &a.id).cmp(&(&b.topic, &b.id)));
    Ok(Split { train, validation, test })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let record = |topic: &str, i| Record {
            id: format!("{topic}-{i:02}"),
            topic: topic.into(),
            preference: "p".into(),
            question: "q".into(),
            chains: Vec::new(),
            options: Vec::new(),
        };
        ["a", "b", "c"].iter().flat_map(|t| (0..10).map(|i| record(t, i))).collect()
    }

    fn ids(records: &[Record]) -> Vec<&str> {
        records.iter().map(|r| r.id.as_str()).collect()
    }

    #[test]
    fn topics_are_split_one_by_one_and_whole_ones_held_out() {
        let all = records();
        let params = SplitParams { hold_out_topics: vec!["b".into()], seed: 3, ..SplitParams::default() };
        let s = split(&all, &params).unwrap();
        assert_eq!((s.train.len(), s.validation.len(), s.test.len()), (18, 2, 10));
        assert!(s.test.iter().all(|r| r.topic == "b") && s.train.iter().all(|r| r.topic != "b"));
        let mut reversed = all.clone();
        reversed.reverse();
        assert_eq!(split(&reversed, &params).unwrap(), s, "the order of the records does not matter");
        let other = split(&all, &SplitParams { seed: 4, ..params.clone() }).unwrap();
        assert_ne!(ids(&other.validation), ids(&s.validation));
        // Without the topic held out the others are split as before.
        let more = split(&all, &SplitParams { hold_out_topics: Vec::new(), ..params }).unwrap();
        assert!(s.validation.iter().all(|r| more.validation.contains(r)));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let params = SplitParams { hold_out_topics: vec!["x".into()], ..SplitParams::default() };
        assert!(split(&records(), &params).unwrap_err().to_string().contains("a, b, c"));
        assert!(split(&records(), &SplitParams { validation: 1.0, ..SplitParams::default() }).is_err());
    }
}

//! One user over some days: preferences, feedback day by day, adaptation within a budget, versions that only get
//! better; on a model of a few hundred kilobytes.

use unspoken::align::{Budget, ChoiceOption, Control, GuardParams, Method, Progress, Record, Reward, Rollouts};
use unspoken::device::DeviceChoice;
use unspoken::engine::{AdaptationParams, Engine, EngineParams};
use unspoken::store::Verdict;
use unspoken_tests::tiny_model;

const PREFERENCES: [&str; 5] = [
    "Reply 0 suits me for food and cooking.",
    "For travel and hotels give reply 1.",
    "Money or savings: choose reply 2.",
    "My office and career need reply 0.",
    "Sleep and rest call for reply 1.",
];
/// Tokens of a day.
const DAY: u64 = 1500;

/// A question on which preference `p` bears: of three replies the user picks the one that it names.
fn record(p: usize, n: usize) -> Record {
    let picked = [0, 1, 2, 0, 1][p];
    let option = |i: usize| ChoiceOption {
        text: format!("Reply {i}."),
        violates: (i != picked).then(|| "was not picked".to_owned()),
        fits: None,
    };
    Record {
        id: format!("{p}-{n}"),
        topic: "day".into(),
        preference: PREFERENCES[p].into(),
        question: format!("Question {n}?"),
        chains: Vec::new(),
        options: (0..3).map(option).collect(),
    }
}

#[test]
fn a_user_is_adapted_to_day_by_day_and_within_budget() {
    let folder = std::env::temp_dir().join(format!("unspoken-story-{}", std::process::id()));
    std::fs::remove_dir_all(&folder).ok();
    let open = || {
        let params = EngineParams {
            device: DeviceChoice::Cpu,
            threads: Some(2),
            store: Some(folder.clone()),
            ..EngineParams::new(tiny_model())
        };
        Engine::load(&params.with_critic(None)).unwrap()
    };
    let mut go = |_: &Progress| Control::Continue;
    let (mut shares, mut versions) = (Vec::new(), Vec::new());
    for day in 0..4 {
        // The app was closed overnight: everything is read from the disk.
        let engine = open();
        let user = engine.profile("kim").unwrap();
        if day == 0 {
            PREFERENCES.iter().for_each(|p| drop(user.state(p).unwrap()));
            (0..5).for_each(|p| user.hold_out(&record(p, 100 + p)).unwrap());
        }
        assert_eq!(user.preferences().unwrap().len(), 5);
        assert_eq!(user.version().unwrap(), versions.last().copied().unwrap_or(0), "the night changes nothing");
        // The day's feedback: picks among answers.
        let picks: Vec<Record> = (0..5).map(|p| record(p, 10 * day + p)).collect();
        for r in &picks {
            let options: Vec<String> = r.options.iter().map(|o| o.text.clone()).collect();
            user.feedback(None, &Verdict::Choice { options, chosen: r.fitting().unwrap() }).unwrap();
        }
        let mut params = AdaptationParams {
            records: picks,
            budget: Budget { tokens: Some(DAY), ..Budget::default() },
            ..AdaptationParams::default()
        };
        (params.method.method, params.method.steps, params.method.seed) = (Method::Cdpa, 1000, day as u64);
        (params.method.rank, params.method.optimizer.lr) = (4, 1e-2);
        params.method.guard = GuardParams { lost_hits: 0, lost_share: 0.0 };
        (params.method.cdpa.rollouts, params.method.cdpa.reward) = (Rollouts::Replies, Reward::Labels);
        params.method.cdpa.prompts = 5;
        let job = user.adaptation(params).unwrap();
        let mut largest = 0;
        while let Some(step) = job.step(&mut go).unwrap() {
            largest = largest.max(step.cost.tokens());
        }
        let spent = job.spent().unwrap().tokens();
        assert!(spent >= DAY && spent < DAY + largest, "{spent}: over by one step at the most");
        let end = job.conclude().unwrap();
        let c = end.conclusion.unwrap();
        assert_eq!(c.before.n, 5);
        shares.push((c.before.fitting_share, c.after.fitting_share));
        // What is in use has not become worse, whatever the day taught.
        if end.committed {
            assert!(c.after.hits >= c.before.hits);
            assert_eq!(end.version, versions.last().copied().unwrap_or(0) + 1);
        } else {
            assert_eq!(end.version, versions.last().copied().unwrap_or(0));
        }
        versions.push(end.version);
    }
    println!("held-out share before and after each day: {shares:?}, versions {versions:?}");
    let (first, last) = (shares[0].0, shares[3].0.max(shares[3].1));
    assert!(versions[3] >= 1 && last > first + 0.02, "{shares:?}");
    // Forgotten, nothing of it is left.
    let engine = open();
    let user = engine.profile("kim").unwrap();
    assert_eq!(i64::try_from(user.versions().unwrap().len()).unwrap(), versions[3]);
    engine.delete_user("kim").unwrap();
    assert!(engine.users().unwrap().is_empty());
    drop(engine);
    std::fs::remove_dir_all(folder).unwrap();
}

//! Learning from the replies that records offer.

use unspoken::align::{
    AdaptParams, Adaptation, AlignError, Assistant, Budget, ChoiceOption, Critic, CriticParams, CriticTraining,
    CriticTrainingParams, Estimator, Method, Reader, Record, RefineWhen, Reward, Rollouts, Split, StepEnd, Supervision,
    critic_report,
};
use unspoken::eval::{self, By, Form, Item, Setting, Subject, choice_accuracy};
use unspoken::model::Adapter;
use unspoken::train::AdamWParams;

use crate::common::{assistant, bits, critic, go, params, record, records};

/// A question with two users, each of whom another reply suits.
fn two_users() -> Record {
    let mut r = record(1);
    (r.preference, r.question) = ("I like tea.".into(), "What shall I drink?".into());
    r.options[0].text = "Green leaves.".into();
    r.options[1] = ChoiceOption {
        text: "An espresso.".into(),
        violates: Some("no tea".into()),
        fits: Some("I like coffee.".into()),
    };
    r
}

#[test]
fn a_critic_learns_which_reply_fits_whom_and_says_so_at_once() {
    let split = Split { train: vec![two_users()], validation: vec![two_users()], test: Vec::new() };
    let params = CriticTrainingParams {
        supervision: Supervision::Replies,
        rank: 4,
        alpha: 8.0,
        epochs: 60,
        patience: 0,
        optimizer: AdamWParams { lr: 1e-2, ..AdamWParams::default() },
        ..CriticTrainingParams::default()
    };
    let mut training = CriticTraining::open(assistant(), &split, params, None).unwrap();
    training.run(&Budget::default(), &mut go).unwrap();
    // Saying the same of both replies costs ln 2 and what the sign of one of them costs.
    assert!(training.report().best.unwrap().1 < 0.2, "{:?}", training.report());
    let (a, adapter) = training.finish().unwrap();
    let params = CriticParams { reader: Reader::AtOnce, ..CriticParams::default() };
    let mut critic = Critic::new(a, Some(adapter), params).unwrap();
    let report = critic_report(&mut critic, &split.train, Supervision::Replies, &mut |_| true).unwrap();
    assert_eq!((report.reply_records, report.failure_rate, report.tokens_per_step), (2, 0.0, 0.0));
    assert_eq!((report.verdict.reply_pairs, report.verdict.reply_choice), (Some(1.0), Some(1.0)));
    // Alone or among others, a reply is judged the same, and by Yes and No.
    let r = two_users();
    let texts: Vec<&str> = r.options.iter().map(|o| o.text.as_str()).collect();
    let all = critic.critique_all(&r.preference, &r.question, &texts).unwrap();
    let alone = critic.critique(&r.preference, &r.question, texts[1]).unwrap();
    assert!((all[1].score.unwrap() - alone.score.unwrap()).abs() < 1e-4);
    assert!(all[0].score.unwrap() > 0.0 && alone.score.unwrap() < 0.0, "{all:?}");
    assert!(all.iter().all(|c| c.steps[0].critique.is_empty() && c.steps[0].stated.is_none()));
    // Cut short, it has failed.
    let cut = critic.critique_while("p", "q", &["r"], &mut || false).unwrap();
    assert!(cut[0].steps[0].failed && cut[0].score.is_none());
}

#[test]
fn choices_teach_the_preference_where_all_users_have_the_same_replies() {
    let users = two_users().counterbalanced().unwrap();
    let mut p = params(Method::Choice);
    (p.steps, p.warm_start.passes) = (60, 0);
    let mut job = Adaptation::open(assistant(), None, &[two_users()], p, None, None, &Budget::default()).unwrap();
    let right = |job: &mut Adaptation, told| {
        let adapter = job.adapter().clone();
        choice_accuracy(job.policy(), Some(&adapter), &users, told).unwrap().hits
    };
    // Who ignores the preference is right once.
    assert_eq!((right(&mut job, true), right(&mut job, false)), (1, 1));
    job.run(&Budget::default(), &mut go).unwrap();
    assert_eq!((right(&mut job, true), right(&mut job, false)), (2, 1));
    let none = Record { options: Vec::new(), ..record(1) };
    let refused = Adaptation::open(assistant(), None, &[none], params(Method::Choice), None, None, &Budget::default());
    assert!(matches!(refused, Err(AlignError::Params(_))));
}

/// A question with three replies, each of which suits another user.
fn asked(i: usize) -> Record {
    let option = |k: usize| ChoiceOption {
        text: format!("Reply {k} to {i}."),
        violates: (k != 1).then(|| "is another one".to_owned()),
        fits: (k != 1).then(|| format!("I want reply {k}.")),
    };
    Record { preference: "I want reply 1.".into(), options: (0..3).map(option).collect(), ..record(i) }
}

fn by_replies(method: Method, reward: Reward, lr: f32) -> AdaptParams {
    let mut p = params(method);
    (p.warm_start.passes, p.optimizer.lr, p.steps) = (0, lr, 8);
    (p.cdpa.rollouts, p.cdpa.reward, p.cdpa.prompts) = (Rollouts::Replies, reward, 3);
    p
}

#[test]
fn replies_are_compared_for_every_user_and_the_fitting_ones_rise() {
    let all: Vec<Record> = (0..2).map(asked).collect();
    let p = by_replies(Method::Grpo, Reward::Labels, 1e-2);
    let mut job = Adaptation::open(assistant(), None, &all, p, None, None, &Budget::default()).unwrap();
    let askers: Vec<Record> = all.iter().flat_map(|r| r.counterbalanced().unwrap()).collect();
    let share = |a: &Assistant, adapter| choice_accuracy(a, Some(adapter), &askers, true).unwrap().fitting_share;
    let adapter = job.adapter().clone();
    let before = share(job.policy(), &adapter);
    let mut seen = std::collections::BTreeSet::new();
    while !job.is_done() {
        let StepEnd::Done(step) = job.step(&mut go).unwrap() else { panic!("interrupted") };
        let groups = step.groups.unwrap();
        assert_eq!((step.cost.generated, step.cost.critiqued, groups.critiques.1), (0, 0, 0));
        assert_eq!(groups.rewards.iter().flatten().filter(|r| **r == 1.0).count(), groups.records.len());
        assert!(groups.zero.active_tokens == groups.zero.tokens && groups.drift == 0.0, "{groups:?}");
        seen.extend(groups.records);
    }
    assert_eq!(seen.len(), 6, "every user of every question: {seen:?}");
    let after = share(job.policy(), &adapter);
    assert!(after > before + 0.05, "{before} {after}");
}

#[test]
fn of_replies_with_one_step_every_estimator_but_by_position_says_the_same() {
    let end = |estimator| {
        let mut p = by_replies(Method::Cdpa, Reward::Critic, 1e-3);
        (p.steps, p.cdpa.estimator, p.cdpa.refine.when) = (2, estimator, RefineWhen::Never);
        let all = [asked(0)];
        let mut job = Adaptation::open(assistant(), Some(critic()), &all, p, None, None, &Budget::default()).unwrap();
        job.run(&Budget::default(), &mut go).unwrap();
        assert!(job.spent().critiqued > 0);
        bits(job.adapter())
    };
    let outcome = end(Estimator::Outcome);
    assert_eq!(end(Estimator::StepIndex), outcome);
    assert_eq!(end(Estimator::ReturnToGo), outcome);
}

#[test]
fn offered_chains_teach_by_the_scores_of_their_steps() {
    let setting = Setting { form: Form::Profile, method: eval::Method::Cot, turns: 0 };
    let mut reader = assistant();
    let mut share = |adapter: &Adapter| {
        let mut subject = Subject::new(&mut reader, Some(adapter), None);
        let mut of = |r: &Record| subject.choose(&Item::from(r), setting, By::Chain, 0).unwrap().share.unwrap();
        records(2).iter().map(&mut of).sum::<f64>() / 2.0
    };
    let open = |estimator, records: &[Record]| {
        let mut p = params(Method::Cdpa);
        (p.warm_start.passes, p.optimizer.lr, p.steps) = (0, 1e-2, 8);
        (p.cdpa.rollouts, p.cdpa.reward, p.cdpa.prompts) = (Rollouts::OfferedChains, Reward::Labels, 2);
        p.cdpa.estimator = estimator;
        Adaptation::open(assistant(), None, records, p, None, None, &Budget::default())
    };
    let mut job = open(Estimator::StepIndex, &records(2)).unwrap();
    let before = share(job.adapter());
    while !job.is_done() {
        let StepEnd::Done(step) = job.step(&mut go).unwrap() else { panic!("interrupted") };
        let groups = step.groups.unwrap();
        // Two records, four chains of three steps each.
        assert_eq!((step.cost.generated, step.cost.critiqued, groups.critiques), (0, 0, (24, 0)));
        assert_eq!(groups.zero.zero_step, 0);
    }
    let after = share(job.adapter());
    assert!(after > before + 0.05, "{before} {after}");
    let mut whole = open(Estimator::Outcome, &records(2)).unwrap();
    whole.run(&Budget::default(), &mut go).unwrap();
    assert_ne!(bits(whole.adapter()), bits(job.adapter()), "steps are told apart");
    let good_alone = Record { chains: record(1).chains[..1].to_vec(), ..record(1) };
    assert!(matches!(open(Estimator::StepIndex, &[good_alone]), Err(AlignError::Params(_))));
}

#[test]
fn only_what_is_offered_has_labels() {
    let mut p = by_replies(Method::Grpo, Reward::Labels, 1e-3);
    p.cdpa.rollouts = Rollouts::Chains;
    let open = |p: AdaptParams| Adaptation::open(assistant(), None, &[asked(0)], p, None, None, &Budget::default());
    assert!(matches!(open(p), Err(AlignError::Params(_))));
    let p = by_replies(Method::Grpo, Reward::Critic, 1e-3);
    assert!(matches!(open(p), Err(AlignError::Params(_))), "no critic");
}

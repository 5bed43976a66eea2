//! Evaluation with the real model: scores against plain passes, every method, a judge, the report.

use std::path::Path;

use unspoken::align::{AnswerScorer, Assistant, Critic, CriticParams, Record, TpoParams, read_jsonl};
use unspoken::eval::{
    By, EvalError, Form, Item, Judge, Method, Plan, Question, Report, Setting, Subject, choice_accuracy, compare,
    measure,
};
use unspoken::model::{Adapter, ContextParams, Span};
use unspoken::text::{Message, Specials};
use unspoken_tests::{SMOLLM2, cpu, model};

const ZERO: Setting = Setting { form: Form::Profile, method: Method::ZeroShot, turns: 0 };

fn records() -> Vec<Record> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/deeppref-mini");
    read_jsonl(&folder.join("smart_home.jsonl")).unwrap()
}

fn assistant() -> Option<Assistant> {
    let params = ContextParams { cache_tokens: 2048, ..ContextParams::default() };
    Some(Assistant::open(&model(SMOLLM2)?, &cpu(), params).unwrap())
}

/// The mean log-likelihood of an answer by a plain pass over prompt and answer.
fn plain(a: &mut Assistant, messages: &[Message], answer: &str) -> f32 {
    let prompt = a.prompt(messages, "").unwrap();
    let ids = a.tokenizer.encode(answer, Specials::Text).unwrap();
    let tokens = [prompt.as_slice(), &ids].concat();
    let seq = a.context.cache.create();
    a.context.forward(&[Span { seq, tokens: &tokens, adapter: None }]).unwrap();
    let rows: Vec<u32> = (0..ids.len()).map(|i| (prompt.len() - 1 + i) as u32).collect();
    let lp = a.context.log_probs(&rows, &ids).unwrap();
    a.context.cache.remove(seq);
    lp.iter().sum::<f32>() / ids.len() as f32
}

#[test]
fn choices_are_those_of_plain_passes() {
    let Some(mut a) = assistant() else { return };
    let records = &records()[..3];
    let result = choice_accuracy(&a, None, records, true).unwrap();
    let mut share = 0.0;
    for (r, right) in records.iter().zip(&result.items) {
        let messages =
            [Message::system(format!("The user's preferences: {}", r.preference)), Message::user(&r.question)];
        let scores: Vec<f32> = r.options.iter().map(|o| plain(&mut a, &messages, &o.text)).collect();
        let fitting = r.fitting().unwrap();
        let best = (0..4).max_by(|i, j| scores[*i].total_cmp(&scores[*j])).unwrap();
        assert_eq!(*right, best == fitting, "{}: {scores:?}", r.id);
        share += f64::from(1.0 / scores.iter().map(|s| (s - scores[fitting]).exp()).sum::<f32>());
    }
    assert_eq!((result.n, result.hits), (3, result.items.iter().filter(|i| **i).count()));
    assert!((result.fitting_share - share / 3.0).abs() < 1e-4, "{} {}", result.fitting_share, share / 3.0);
}

#[test]
fn a_letter_is_read_after_a_list_in_the_seeds_order() {
    let Some(mut a) = assistant() else { return };
    let item = Item::from(&records()[0]);
    let order = item.order(5);
    let list: Vec<String> =
        order.iter().zip(["A", "B", "C", "D"]).map(|(o, l)| format!("{l}. {}", item.options[*o])).collect();
    let ask = format!(
        "{}\n\nWhich of these answers fits me best?\n{}\nReply with its letter.",
        item.question,
        list.join("\n")
    );
    let mut prompt = a.prompt(&[Message::user(ask)], "").unwrap();
    prompt.extend(a.tokenizer.encode("Answer:", Specials::Text).unwrap());
    let seq = a.context.cache.create();
    let n = a.context.forward(&[Span { seq, tokens: &prompt, adapter: None }]).unwrap();
    let logits = a.context.logits(&[n as u32 - 1]).unwrap();
    a.context.cache.remove(seq);
    let scores = [" A", " B", " C", " D"].map(|l| logits[a.tokenizer.encode(l, Specials::Text).unwrap()[0] as usize]);
    let place = order.iter().position(|o| *o == item.fitting).unwrap();
    let best = (0..4).max_by(|i, j| scores[*i].total_cmp(&scores[*j])).unwrap();
    let setting = Setting { form: Form::Unsaid, ..ZERO };
    let choice = Subject::new(&mut a, None, None).choose(&item, setting, By::Letter, 5).unwrap();
    assert_eq!(choice.right, best == place);
    let share = 1.0 / scores.iter().map(|s| f64::from(s - scores[place]).exp()).sum::<f64>();
    assert!((choice.share.unwrap() - share).abs() < 1e-3, "{choice:?} {share}");
}

#[test]
fn a_lift_is_what_the_preference_adds() {
    let Some(mut a) = assistant() else { return };
    let item = Item::from(&records()[2]);
    let setting = Setting { form: Form::Profile, ..ZERO };
    let answers: Vec<Vec<u32>> = item.options.iter().map(|o| a.tokenizer.encode(o, Specials::Text).unwrap()).collect();
    let means = |messages: &[Message]| {
        let prompt = a.prompt(messages, "").unwrap();
        AnswerScorer::default().means(&a.model, None, &prompt, &answers).unwrap()
    };
    let with = means(&unspoken::align::reply_messages(&item.preference, &item.question));
    let without = means(&[Message::user(&item.question)]);
    let lift: Vec<f64> = with.iter().zip(&without).map(|(a, b)| f64::from(a - b)).collect();
    let share = 1.0 / lift.iter().map(|l| (l - lift[item.fitting]).exp()).sum::<f64>();
    let mut subject = Subject::new(&mut a, None, None);
    let choice = subject.choose(&item, setting, By::Lift, 0).unwrap();
    assert_eq!(choice.right, (0..lift.len()).all(|i| i == item.fitting || lift[i] < lift[item.fitting]));
    assert!((choice.share.unwrap() - share).abs() < 1e-4, "{choice:?} {share}");
    // What is unsaid lifts nothing, and thoughts are another prompt.
    for s in [Setting { form: Form::Unsaid, ..setting }, Setting { method: Method::Cot, ..setting }] {
        assert!(!s.chooses(By::Lift) && subject.choose(&item, s, By::Lift, 0).is_err());
    }
}

#[test]
fn chains_are_chosen_by_plain_passes_over_what_the_policy_would_write() {
    let Some(mut a) = assistant() else { return };
    let (r, setting) = (&records()[0], Setting { method: Method::Cot, ..ZERO });
    let item = Item::from(r);
    let chain = |i: usize| r.chains[i].steps.iter().map(|s| s.text.as_str()).collect::<Vec<_>>();
    let (good, flawed) = (chain(0), chain(1));
    let cross = |thoughts: &[&str], reply: &str| {
        let steps = thoughts[..thoughts.len() - 1].iter().copied().chain([reply]);
        steps.enumerate().map(|(i, s)| format!("Step {}: {s}", i + 1)).collect::<Vec<_>>().join("\n")
    };
    let replies = (good[good.len() - 1], flawed[flawed.len() - 1]);
    let chains =
        [cross(&good, replies.0), cross(&flawed, replies.1), cross(&good, replies.1), cross(&flawed, replies.0)];
    assert_eq!(item.chains, chains);
    let messages = unspoken::align::policy_messages(&r.preference, &r.question);
    let scores = chains.map(|c| plain(&mut a, &messages, &c));
    let share = 1.0 / scores.iter().map(|s| f64::from(s - scores[0]).exp()).sum::<f64>();
    let mut subject = Subject::new(&mut a, None, None);
    let choice = subject.choose(&item, setting, By::Chain, 0).unwrap();
    assert_eq!(choice.right, scores[1..].iter().all(|s| *s < scores[0]));
    assert!((choice.share.unwrap() - share).abs() < 1e-4, "{choice:?} {share}");
    assert!(subject.choose(&item, ZERO, By::Chain, 0).is_err(), "a plain reply is not a chain");
    let none = Item { chains: Vec::new(), ..item };
    assert!(subject.choose(&none, setting, By::Chain, 0).is_err());
}

#[test]
fn every_method_answers_and_says_what_it_took() {
    let Some(mut policy) = assistant() else { return };
    let params = ContextParams { cache_tokens: 4096, ..ContextParams::default() };
    let critic = policy.share(params).unwrap();
    let limits = CriticParams { max_chars: 24, ..CriticParams::default() };
    let mut critic = Critic::new(critic, None, limits).unwrap();
    let item = Item::from(&records()[1]);
    let tpo = TpoParams { rounds: 1, samples: 2, note_tokens: 12 };
    let mut subject = Subject::new(&mut policy, None, Some(&mut critic));
    subject.max_tokens = 16;
    let mut answers = Vec::new();
    for method in [Method::ZeroShot, Method::Reminder, Method::Cot, Method::BestOfN { samples: 2 }, Method::Tpo(tpo)] {
        let setting = Setting { method, ..ZERO };
        let written = subject.answer(&item, setting, 1).unwrap();
        assert!(!written.text.is_empty() && written.cost.written > 0 && written.cost.policy_seconds > 0.0);
        assert_eq!(
            written,
            subject.answer(&item, setting, 1).map(|a| unspoken::eval::Answer { cost: written.cost, ..a }).unwrap()
        );
        assert_eq!(method.searches(), written.cost.critiques > 0);
        let chosen = subject.choose(&item, setting, By::Text, 1).unwrap();
        assert!(chosen.cost.scored > 0);
        assert_eq!(method.searches(), chosen.share.is_none());
        if let Method::Tpo(p) = method {
            // Two drafts, a loss, an advice, two drafts.
            assert!(written.cost.written > p.samples && written.cost.read > 4 * 40, "{:?}", written.cost);
            assert!(chosen.cost.written > 0, "notes are written for choices, too");
        }
        answers.push(written.text);
    }
    assert_ne!(answers[0], answers[1], "a reminder changes the prompt");
    assert!(subject.choose(&item, Setting { method: Method::Tpo(tpo), ..ZERO }, By::Letter, 1).is_err());
    subject.critic = None;
    assert!(subject.answer(&item, Setting { method: Method::BestOfN { samples: 2 }, ..ZERO }, 1).is_err());
}

#[test]
fn an_evaluation_with_a_judge_makes_a_report() {
    let Some(mut policy) = assistant() else { return };
    let items: Vec<Item> = records()[..2].iter().map(Item::from).collect();
    let judge = policy.share(ContextParams { cache_tokens: 32, ..ContextParams::default() }).unwrap();
    let mut judge = Judge::new("smollm2", judge, None, None).unwrap();
    let questions = [Question::PREFEVAL, Question::DEEPPREF].concat();
    let mut arms = Vec::new();
    for method in [Method::ZeroShot, Method::Reminder] {
        let plan = Plan {
            label: method.name(),
            adapter: None,
            setting: Setting { method, ..ZERO },
            choices: &[By::Text, By::Letter],
            questions: &questions,
            steps: true,
            seeds: &[1, 2],
        };
        let mut subject = Subject::new(&mut policy, None, None);
        subject.max_tokens = 12;
        let mut seen = 0;
        let mut on_item = || {
            seen += 1;
            true
        };
        let arm = measure(&mut subject, Some(&mut judge), &items, &plan, &mut on_item).unwrap().unwrap();
        assert_eq!(seen, 8);
        let names: Vec<&str> = arm.measures.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names[..3], ["choice by text", "choice by letter", "preference followed"]);
        assert_eq!((names.len(), names[11]), (12, "no step blamed"));
        let two = subject.answers(&items, plan.setting, 1).unwrap();
        assert!(two.len() == 2 && two.iter().all(|a| a.cost.written > 0 && a.cost.written <= 12));
        assert!(arm.measures.iter().all(|m| m.outcomes.iter().all(|o| o.hits.len() == 2)));
        // By text seeds make no difference and are not computed again.
        assert_eq!((arm.measures[0].runs, arm.measures[1].runs), (2, 4));
        let stopped = measure(&mut subject, Some(&mut judge), &items, &plan, &mut || false).unwrap();
        assert!(stopped.is_none());
        arms.push(arm);
    }
    let report = Report {
        suite: "DeepPref".into(),
        policy: SMOLLM2.into(),
        critic: None,
        judge: Some(judge.name.clone()),
        device: "cpu".into(),
        items: items.len(),
        topics: vec!["smart_home".into()],
        seeds: vec![1, 2],
        comparisons: compare(&arms),
        arms,
        shown: None,
        training: Vec::new(),
        training_of: None,
        seconds: 1.0,
    };
    assert_eq!(report.comparisons.len(), 12);
    assert!(report.html().unwrap().contains("the opinion of one model, smollm2"));
}

#[test]
fn a_judges_yes_is_that_of_plain_passes_and_the_critic_cannot_judge() {
    let Some(a) = assistant() else { return };
    let item = Item::from(&records()[0]);
    let answer = "Put a lamp on a timer.";
    let small = ContextParams { cache_tokens: 32, ..ContextParams::default() };
    let mut judge = Judge::new("j", a.share(small).unwrap(), None, None).unwrap();
    let together = judge.ask(&item, answer, &Question::DEEPPREF).unwrap();
    for (i, q) in Question::DEEPPREF.into_iter().enumerate() {
        let alone = judge.ask(&item, answer, &[q]).unwrap();
        let (x, y) = (together.all()[i], alone.all()[0]);
        assert!(x.0 == y.0 && (x.1 - y.1).abs() < 1e-4 && (0.0..=1.0).contains(&x.1), "{x:?} {y:?}");
    }
    let mut critic = Critic::new(a.share(small).unwrap(), None, CriticParams::default()).unwrap();
    let refused = Judge::new("j", a.share(small).unwrap(), None, Some(&critic));
    assert!(matches!(refused, Err(EvalError::JudgeIsCritic { .. })));
    // An adapter of the critic's makes it another; the same values in another file do not.
    let adapter = |seed| Adapter::new(&a.model, 4, 8.0, seed).unwrap();
    critic.adapter = Some(adapter(1));
    assert!(Judge::new("j", a.share(small).unwrap(), None, Some(&critic)).is_ok());
    assert!(Judge::new("j", a.share(small).unwrap(), Some(adapter(2)), Some(&critic)).is_ok());
    assert!(Judge::new("j", a.share(small).unwrap(), Some(adapter(1)), Some(&critic)).is_err());
}

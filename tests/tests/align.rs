//! Jobs that train: critics and policies, killed, paused, resumed, over budget; on a model of a few hundred kilobytes.
#![allow(missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use unspoken::align::{
    AdaptParams, Adaptation, AlignError, Assistant, Budget, CdpaParams, Chain, ChainKind, ChainStep, ChoiceOption,
    Control, Critic, CriticParams, CriticTraining, CriticTrainingParams, Estimator, Gate, HeldOut, Host, Method, Phase,
    Progress, Reader, Record, Reference, RefineParams, RefineWhen, Reward, Rollouts, RunEnd, Split, StepEnd,
    Supervision, Verdict, WarmStart, critic_report, critic_rows, train_rows,
};
use unspoken::eval::choice_accuracy;
use unspoken::generate::{Canceller, SampleParams};
use unspoken::model::{Adapter, ContextParams, ModelError};
use unspoken::train::{AdamWParams, Group, Trainer};
use unspoken_tests::{SMOLLM2, cpu, model, tiny_model};

fn record(i: usize) -> Record {
    let chain = |kind, score: f32| Chain {
        kind,
        steps: (0..3)
            .map(|k| ChainStep {
                text: format!("Thought {k} of {i}, {kind:?}."),
                critique: format!("It is {kind:?} for this user."),
                score: score * (1.0 - 0.2 * k as f32),
            })
            .collect(),
        final_score: score,
    };
    let option = |text: &str, violates: Option<&str>| ChoiceOption {
        text: text.into(),
        violates: violates.map(Into::into),
        fits: None,
    };
    Record {
        id: format!("r{i}"),
        topic: "t".into(),
        preference: format!("I prefer {i}."),
        question: format!("What about {i}?"),
        chains: vec![chain(ChainKind::Good, 0.8), chain(ChainKind::Flawed, -0.6)],
        options: vec![option("This.", None), option("That.", Some("no"))],
    }
}

fn records(n: usize) -> Vec<Record> {
    (0..n).map(record).collect()
}

fn assistant() -> Assistant {
    let params = ContextParams { cache_tokens: 8192, max_sequence: 4096, ..ContextParams::default() };
    Assistant::open(&tiny_model(), &cpu(), params).unwrap()
}

fn critic() -> Critic {
    let params = CriticParams { max_chars: 20, ..CriticParams::default() };
    Critic::new(assistant(), None, params).unwrap()
}

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("unspoken-align-{name}-{}", std::process::id()));
    std::fs::remove_dir_all(&path).ok();
    path
}

fn bits(adapter: &Adapter) -> Vec<u32> {
    adapter.read(&cpu()).unwrap().iter().map(|x| x.to_bits()).collect()
}

fn go(_: &Progress) -> Control {
    Control::Continue
}

// --- The critic ---

const CRITIC_STEPS: usize = 12;

fn critic_training(folder: Option<&Path>) -> CriticTraining {
    let split = Split { train: records(4), validation: vec![record(9)], test: Vec::new() };
    let params = CriticTrainingParams {
        rank: 4,
        alpha: 8.0,
        epochs: 20,
        max_steps: Some(CRITIC_STEPS),
        evaluate_every: 5,
        patience: 0,
        ..CriticTrainingParams::default()
    };
    CriticTraining::open(assistant(), &split, params, folder).unwrap()
}

/// Not a test by itself: what the killed process does.
#[test]
fn child() {
    let Some(folder) = std::env::var_os("UNSPOKEN_TEST_TRAINING") else { return };
    let folder = PathBuf::from(folder);
    if std::env::var_os("UNSPOKEN_TEST_POLICY").is_some() {
        let mut job = adaptation(Method::Cdpa, Some(&folder)).unwrap();
        job.run(&Budget::default(), &mut go).unwrap();
    } else {
        critic_training(Some(&folder)).run(&Budget::default(), &mut go).unwrap();
    }
}

/// Runs [`child`] and kills it (SIGKILL) after each of the delays in turn.
fn kill_again_and_again(folder: &Path, policy: bool, delays: &[u64]) -> usize {
    let mut killed = 0;
    for ms in delays {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["child", "--exact", "--test-threads", "1"]).env("UNSPOKEN_TEST_TRAINING", folder);
        if policy {
            command.env("UNSPOKEN_TEST_POLICY", "1");
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(*ms));
        let was_running = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        killed += usize::from(was_running);
    }
    killed
}

/// The lines of a log without what depends on the clock.
fn log(folder: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("log.jsonl")).unwrap();
    let mut lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for line in &mut lines {
        for key in ["seconds", "cost", "spent"] {
            line.as_object_mut().unwrap().remove(key);
        }
    }
    lines
}

#[test]
fn a_critic_training_that_is_killed_ends_as_if_it_had_not_been() {
    let (whole, torn) = (folder("whole"), folder("torn"));
    let mut training = critic_training(Some(&whole));
    assert_eq!(training.run(&Budget::default(), &mut go).unwrap(), RunEnd::Done);
    let report = training.report();
    assert!(report.best.unwrap().1 < report.validation_before.unwrap(), "{report:?}");
    let want = bits(&training.finish().unwrap().1);

    let killed = kill_again_and_again(&torn, false, &[150, 400, 250, 333, 180]);
    assert!(killed > 0, "no process lived long enough to be killed");
    let mut training = critic_training(Some(&torn));
    println!("killed {killed} times, resumed after step {}", training.steps_done());
    assert_eq!(training.run(&Budget::default(), &mut go).unwrap(), RunEnd::Done);
    assert_eq!(bits(&training.finish().unwrap().1), want);
    let (a, b) = (log(&whole), log(&torn));
    assert_eq!(a.len(), CRITIC_STEPS);
    assert_eq!(a, b);
    std::fs::remove_dir_all(whole).unwrap();
    std::fs::remove_dir_all(torn).unwrap();
}

#[test]
fn a_critic_checkpoint_of_other_settings_is_refused() {
    let path = folder("other");
    let mut training = critic_training(Some(&path));
    let end = training.run(&Budget { steps: Some(1), ..Budget::default() }, &mut go).unwrap();
    assert_eq!((end, training.steps_done()), (RunEnd::Budget, 1));
    let split = Split { train: records(4), validation: vec![record(9)], test: Vec::new() };
    let other = CriticTrainingParams { rank: 4, alpha: 8.0, seed: 1, ..CriticTrainingParams::default() };
    let refused = CriticTraining::open(assistant(), &split, other, Some(&path)).unwrap_err();
    assert!(refused.to_string().contains("other settings"), "{refused}");
    // A torn file is an error, not a new beginning.
    let file = path.join("checkpoint.gguf");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let split = Split { train: records(4), validation: vec![record(9)], test: Vec::new() };
    let torn = CriticTraining::open(assistant(), &split, CriticTrainingParams::default(), Some(&path)).unwrap_err();
    assert!(matches!(torn, AlignError::Checkpoint(_)), "{torn}");
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn rows_of_a_chain_learn_together_as_they_would_alone() {
    let a = assistant();
    let chains = critic_rows(&a, &records(2), Supervision::Chains, 3.0).unwrap();
    let rows: Vec<_> = chains.iter().flat_map(|c| &c.rows).collect();
    assert_eq!(rows.len(), 12);
    let of = |capacity: usize| {
        let adapter = Adapter::new(&a.model, 4, 8.0, 1).unwrap();
        // B away from zero, so that A has a gradient too.
        let device = a.model.device();
        let values: Vec<f32> =
            adapter.read(device).unwrap().iter().enumerate().map(|(i, x)| x + 0.02 * (i as f32).sin()).collect();
        adapter.write(device, &values).unwrap();
        let optimizer = AdamWParams { lr: 0.0, max_norm: f32::INFINITY, ..AdamWParams::default() };
        let mut trainer = Trainer::new(&a.model, adapter, optimizer, capacity).unwrap();
        let r = train_rows(&mut trainer, &rows).unwrap();
        (r.loss, r.grad_norm, r.tokens)
    };
    let longest = rows.iter().map(|r| r.prompt.len() + r.answer.len()).max().unwrap();
    let (together, alone) = (of(8192), of(longest));
    assert!((together.0 - alone.0).abs() < 1e-4 && (together.1 / alone.1 - 1.0).abs() < 1e-3, "{together:?} {alone:?}");
    println!("{} tokens together, {} alone", together.2, alone.2);
    assert!(together.2 * 2 < alone.2);
    // The weights stand on verdict and score: the critique's own tokens count 1, the prompt is not trained at all.
    for row in &rows {
        assert_eq!(row.weights.len(), row.answer.len());
        let from = row.weights.iter().position(|w| *w == 3.0).unwrap();
        assert!(row.weights[..from].iter().all(|w| *w == 1.0) && row.weights[from..].iter().all(|w| *w == 3.0));
        let text: Vec<u8> = row.answer[from..].iter().flat_map(|t| a.tokenizer.token_bytes(*t)).collect();
        assert!(String::from_utf8_lossy(&text).starts_with("\nVerdict:"));
    }
}

#[test]
fn the_critique_follows_the_preference() {
    let Some(path) = model(SMOLLM2) else { return };
    let params = ContextParams { cache_tokens: 1024, ..ContextParams::default() };
    let params =
        (Assistant::open(&path, &cpu(), params).unwrap(), CriticParams { max_chars: 60, ..CriticParams::default() });
    let mut critic = Critic::new(params.0, None, params.1).unwrap();
    let mut read = |preference: &str| {
        let c = critic
            .critique(preference, "How can my family know I am safe?", "Step 1: Share your live location.")
            .unwrap();
        assert!(c.steps.iter().all(|s| !s.failed && s.stated.is_some() && s.verdict.is_some()), "{c:?}");
        c
    };
    let (private, open) = (read("I never share my location."), read("I like to share my location with everybody."));
    assert_ne!(private.score, open.score);
    assert_ne!(private.steps[0].critique, open.steps[0].critique);
    assert_eq!(private, read("I never share my location."), "the same is read the same");
}

#[test]
fn a_report_counts_what_it_saw() {
    let mut critic = critic();
    let report = critic_report(&mut critic, &records(2), Supervision::Both, &mut |_| true).unwrap();
    // Six steps of chains and two replies each.
    assert_eq!((report.records, report.steps, report.pairs, report.reply_records), (2, 16, 2, 2));
    assert!(report.seconds_per_step > 0.0 && report.tokens_per_step > 10.0);
    let verdict = report.verdict;
    assert!(report.failure_rate < 1.0 && verdict.mae.is_some() && verdict.pairwise_accuracy.is_some());
    // Several samples need a temperature; their mean is a score like others.
    critic.params.samples = 3;
    assert!(matches!(critic.critique("p", "q", "r"), Err(AlignError::Params(_))));
    critic.params.sample = SampleParams { temperature: 1.0, seed: 5, ..SampleParams::default() };
    critic.params.reader = Reader::Stated;
    let c = critic.critique("p", "q", "Step 1: r\nStep 2: s").unwrap();
    assert_eq!(c.steps.len(), 2);
    assert!(c.steps.iter().all(|s| s.failed || s.score == s.stated));
    // Cut short, all of it has failed, and nothing of it counts as 0.
    let cut = critic.critique_while("p", "q", &["r"], &mut || false).unwrap();
    assert!(cut[0].steps[0].failed && cut[0].steps[0].score.is_none() && cut[0].score.is_none());
}

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

// --- The policy ---

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

fn params(method: Method) -> AdaptParams {
    AdaptParams {
        method,
        steps: 3,
        rank: 4,
        alpha: 8.0,
        optimizer: AdamWParams { lr: 1e-2, ..AdamWParams::default() },
        warm_start: WarmStart { passes: 1, lr: 1e-3, batch: 2 },
        cdpa: CdpaParams {
            group: 3,
            max_tokens: 24,
            epochs: 2,
            refine: RefineParams { when: RefineWhen::Always, ..RefineParams::default() },
            ..CdpaParams::default()
        },
        ..AdaptParams::default()
    }
}

fn adaptation(method: Method, folder: Option<&Path>) -> Result<Adaptation, AlignError> {
    let critic = (!method.is_supervised()).then(critic);
    Adaptation::open(assistant(), critic, &records(3), params(method), None, folder, &Budget::default())
}

#[test]
fn every_method_runs_in_the_same_harness_and_says_what_it_cost() {
    for method in [Method::Sft, Method::Choice, Method::Rft, Method::Grpo, Method::Cdpa] {
        let path = folder(&format!("{method:?}"));
        let mut job = adaptation(method, Some(&path)).unwrap();
        let before = bits(job.adapter());
        assert_eq!(job.run(&Budget::default(), &mut go).unwrap(), RunEnd::Done, "{method:?}");
        assert_ne!(bits(job.adapter()), before);
        let spent = job.spent();
        assert!(spent.trained > 0 && spent.training > 0.0);
        assert_eq!(spent.generated > 0, !method.is_supervised());
        assert_eq!(spent.critiqued > 0, !method.is_supervised());
        let lines = log(&path);
        assert_eq!(lines.len(), job.steps());
        assert_eq!(lines[0]["stage"], "warm_start");
        let last = lines.last().unwrap();
        assert_eq!(last["stage"], serde_json::to_value(method).unwrap());
        if method == Method::Cdpa {
            let groups = &last["groups"];
            assert_eq!(groups["refined"]["tried"], 1);
            assert_eq!(groups["rewards"].as_array().unwrap().len(), 3);
            assert!(groups["kl"].as_f64().unwrap() >= 0.0 && groups["zero"]["groups"] == 1);
            // The sampler's log π and the trainer's are those of one policy.
            assert!(groups["drift"].as_f64().unwrap() < 0.05, "{groups}");
        }
        std::fs::remove_dir_all(path).unwrap();
    }
}

#[test]
fn an_adaptation_that_is_killed_ends_as_if_it_had_not_been() {
    let (whole, torn) = (folder("policy-whole"), folder("policy-torn"));
    let mut job = adaptation(Method::Cdpa, Some(&whole)).unwrap();
    job.run(&Budget::default(), &mut go).unwrap();
    let want = bits(job.adapter());
    let killed = kill_again_and_again(&torn, true, &[200, 500, 350]);
    let mut job = adaptation(Method::Cdpa, Some(&torn)).unwrap();
    println!("killed {killed} times, resumed after step {}", job.steps_done());
    assert!(killed > 0);
    job.run(&Budget::default(), &mut go).unwrap();
    assert_eq!(bits(job.adapter()), want);
    assert_eq!(log(&whole), log(&torn));
    std::fs::remove_dir_all(whole).unwrap();
    std::fs::remove_dir_all(torn).unwrap();
}

#[test]
fn a_step_left_off_changes_nothing_and_can_be_taken_again() {
    let mut job = adaptation(Method::Cdpa, None).unwrap();
    let steps = job.steps();
    job.run(&Budget { steps: Some(steps - 1), ..Budget::default() }, &mut go).unwrap();
    let before = bits(job.adapter());
    for phase in [Phase::Rollouts, Phase::Critiques, Phase::Refinement, Phase::Update] {
        for (control, end) in [(Control::Pause, RunEnd::Paused(None)), (Control::Stop, RunEnd::Stopped)] {
            // The second time it is asked in this phase: in the middle of it, where it has a middle.
            let mut asked = 0;
            let mut host = |p: &Progress| {
                asked += usize::from(p.phase == phase);
                if asked >= 2 || (asked == 1 && phase == Phase::Update) { control } else { Control::Continue }
            };
            let StepEnd::Interrupted(got) = job.step(&mut host).unwrap() else { panic!("{phase:?} went on") };
            assert_eq!(got, end);
            assert_eq!((bits(job.adapter()), job.steps_done()), (before.clone(), steps - 1));
        }
    }
    assert_eq!(job.run(&Budget::default(), &mut go).unwrap(), RunEnd::Done);
    let mut other = adaptation(Method::Cdpa, None).unwrap();
    other.run(&Budget::default(), &mut go).unwrap();
    assert_eq!(bits(job.adapter()), bits(other.adapter()), "interruptions leave no trace");
    assert!(matches!(job.step(&mut go), Err(AlignError::Params(_))));
}

#[test]
fn where_every_critique_fails_nothing_is_learned_and_nothing_moves() {
    let mut job = {
        let mut p = params(Method::Cdpa);
        p.cdpa.policy.beta = 0.0;
        let stop = Canceller::default();
        let mut critic = critic();
        critic.cancel = Some(stop.token());
        stop.cancel();
        Adaptation::open(assistant(), Some(critic), &records(3), p, None, None, &Budget::default()).unwrap()
    };
    // The warm start leaves the optimizer with momentum.
    let warm = job.steps() - 3;
    job.run(&Budget { steps: Some(warm), ..Budget::default() }, &mut go).unwrap();
    let before = bits(job.adapter());
    let StepEnd::Done(step) = job.step(&mut go).unwrap() else { panic!("interrupted") };
    let groups = step.groups.unwrap();
    assert!(groups.critiques.0 > 0 && groups.critiques.0 == groups.critiques.1, "{groups:?}");
    assert!(groups.mean_reward.is_none() && groups.rewards.iter().all(Option::is_none));
    assert_eq!((groups.zero.active_tokens, groups.zero.zero_step), (0, 1));
    assert_eq!(bits(job.adapter()), before);
}

#[test]
fn the_kl_holds_on_to_the_base_or_to_what_the_job_began_with() {
    let mut warm = adaptation(Method::Sft, None).unwrap();
    warm.run(&Budget { steps: Some(2), ..Budget::default() }, &mut go).unwrap();
    let first_kl = |reference| {
        let mut p = params(Method::Cdpa);
        (p.warm_start.passes, p.cdpa.reference, p.cdpa.policy.beta) = (0, reference, 0.1);
        let critic = Some(critic());
        let budget = Budget::default();
        let mut job =
            Adaptation::open(assistant(), critic, &records(3), p, Some(warm.adapter()), None, &budget).unwrap();
        let StepEnd::Done(step) = job.step(&mut go).unwrap() else { panic!("interrupted") };
        step.groups.unwrap().kl.unwrap()
    };
    // Before its first step the policy is what it began with, and far from the base.
    let (start, base) = (first_kl(Reference::Start), first_kl(Reference::Base));
    assert!(start.abs() < 1e-5, "{start}");
    assert!(base > 1e-4, "{base}");
}

struct Hot(usize);

impl Host for Hot {
    fn progress(&mut self, _: &Progress) -> Control {
        Control::Continue
    }

    fn gate(&mut self) -> Gate {
        self.0 += 1;
        if self.0 > 3 { Gate::Closed("too hot".into()) } else { Gate::Open }
    }
}

#[test]
fn gates_and_budgets_end_a_run() {
    let mut job = adaptation(Method::Cdpa, None).unwrap();
    assert_eq!(job.run(&Budget::default(), &mut Hot(0)).unwrap(), RunEnd::Paused(Some("too hot".into())));
    assert_eq!(job.run(&Budget { seconds: Some(0.0), ..Budget::default() }, &mut go).unwrap(), RunEnd::Budget);
    let at = job.steps_done();
    let tokens = Some(job.spent().tokens() + 1);
    assert_eq!(job.run(&Budget { tokens, ..Budget::default() }, &mut go).unwrap(), RunEnd::Budget);
    assert_eq!(job.steps_done(), at + 1, "one step over at the most");
    let small = Budget { bytes: Some(1 << 20), ..Budget::default() };
    let open = |method, critic, records: &[Record], budget: &Budget| {
        Adaptation::open(assistant(), critic, records, params(method), None, None, budget).map(drop)
    };
    let refused = open(Method::Sft, None, &records(1), &small).unwrap_err();
    let AlignError::Model(ModelError::DoesNotFit { needed, budget, largest }) = refused else { panic!("{refused}") };
    assert!(needed > budget && budget == 1 << 20 && largest.is_some());
    assert!(matches!(open(Method::Cdpa, None, &records(1), &Budget::default()), Err(AlignError::Params(_))));
    assert!(matches!(open(Method::Sft, None, &[], &Budget::default()), Err(AlignError::Params(_))));
}

#[test]
fn the_guard_keeps_what_helps_and_takes_back_what_harms() {
    for (after, verdict) in [(6, Verdict::Committed), (3, Verdict::RolledBack)] {
        let path = folder(&format!("guard-{after}"));
        let mut job = adaptation(Method::Sft, Some(&path)).unwrap();
        let start = bits(job.adapter());
        let mut hits = 5;
        let mut measure = |_: &Assistant, _: &Adapter| {
            Ok(HeldOut { n: 10, hits: std::mem::replace(&mut hits, after), fitting_share: 0.3 })
        };
        assert!(matches!(job.conclude(&mut measure), Err(AlignError::Params(_))), "not measured before");
        job.measure_before(&mut measure).unwrap();
        job.run(&Budget::default(), &mut go).unwrap();
        let learned = bits(job.adapter());
        // A job that is opened again remembers what was measured before.
        drop(job);
        let mut job = adaptation(Method::Sft, Some(&path)).unwrap();
        assert!(job.is_done());
        let end = job.conclude(&mut measure).unwrap();
        assert_eq!((end.verdict, end.before.hits, end.after.hits), (verdict, 5, after));
        let kept = path.join("adapter.gguf");
        assert_eq!(kept.exists(), verdict == Verdict::Committed);
        assert_eq!(bits(job.adapter()), if verdict == Verdict::Committed { learned } else { start });
        std::fs::remove_dir_all(path).unwrap();
    }
}

// --- Replies that records offer ---

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
fn only_offered_replies_have_labels() {
    let mut p = by_replies(Method::Grpo, Reward::Labels, 1e-3);
    p.cdpa.rollouts = Rollouts::Chains;
    let open = |p: AdaptParams| Adaptation::open(assistant(), None, &[asked(0)], p, None, None, &Budget::default());
    assert!(matches!(open(p), Err(AlignError::Params(_))));
    let p = by_replies(Method::Grpo, Reward::Critic, 1e-3);
    assert!(matches!(open(p), Err(AlignError::Params(_))), "no critic");
}

#[test]
fn an_adapter_of_the_upper_blocks_learns_there_only_and_is_the_same_from_its_file() {
    let a = assistant();
    let layers = a.model.config.n_layers;
    assert!(layers > 1);
    let upper = Adapter::upper(&a.model, 1, 4, 8.0, 1).unwrap();
    assert_eq!(upper.shape.first, layers - 1);
    assert!(upper.shape.pairs().all(|(layer, _)| layer == layers - 1));
    assert!(Adapter::upper(&a.model, 0, 4, 8.0, 1).is_err());
    assert_eq!(
        Adapter::upper(&a.model, 99, 4, 8.0, 1).unwrap().shape,
        Adapter::new(&a.model, 4, 8.0, 1).unwrap().shape
    );
    // The gradient of its pairs is that which an adapter of all blocks has there: with B = 0 both are the base.
    let whole = Adapter::new(&a.model, 4, 8.0, 1).unwrap();
    let (from, n) = (whole.shape.words - upper.shape.words, upper.shape.words);
    let cpu = cpu();
    let mut values = whole.read(&cpu).unwrap();
    values[from..].copy_from_slice(&upper.read(&cpu).unwrap());
    whole.write(&cpu, &values).unwrap();
    let gradients = |adapter: Adapter| {
        let mut t = Trainer::new(&a.model, adapter, AdamWParams::default(), 64).unwrap();
        let (prompt, answer) = ([1, 2, 3, 4], [5, 6, 7]);
        t.log_probs(&Group { prompt: &prompt, answers: vec![&answer[..]] }).unwrap();
        t.backward(&[-1.0, -0.5, 0.25]).unwrap();
        t.gradients().unwrap()
    };
    let (got, want) = (gradients(upper.clone()), gradients(whole));
    assert_eq!(got.len(), n);
    assert!(got.iter().any(|g| *g != 0.0));
    assert_eq!(got, want[from..]);
    // As a job: trained, saved, and read again.
    let path = folder("upper");
    let mut p = params(Method::Sft);
    p.blocks = 1;
    let mut job = Adaptation::open(a, None, &records(2), p, None, Some(&path), &Budget::default()).unwrap();
    job.run(&Budget { steps: Some(2), ..Budget::default() }, &mut go).unwrap();
    let mut p = params(Method::Sft);
    p.blocks = 1;
    let mut job = Adaptation::open(assistant(), None, &records(2), p, None, Some(&path), &Budget::default()).unwrap();
    assert_eq!(job.steps_done(), 2);
    job.run(&Budget::default(), &mut go).unwrap();
    let file = job.commit().unwrap().unwrap();
    let loaded = Adapter::load(&job.policy().model, &file).unwrap();
    assert_eq!((&loaded.shape, bits(&loaded)), (&job.adapter().shape, bits(job.adapter())));
    std::fs::remove_dir_all(path).unwrap();
}

//! The host's facade, what is kept of users: profiles, adaptation, evaluation.

use std::path::{Path, PathBuf};

use unspoken::align::{Control, GuardParams, Method, Phase, Progress, Record, RunEnd, Source, read_jsonl};
use unspoken::device::DeviceChoice;
use unspoken::engine::{
    Adaptation, AdaptationParams, ChatParams, Engine, EngineParams, Profile, ReplyParams, StoreKey,
};
use unspoken::generate::SampleParams;
use unspoken::store::{JobState, Verdict};
use unspoken::{Code, Error};
use unspoken_tests::tiny_model;

/// A store of its own for a test, gone with it.
struct Store(PathBuf);

impl Store {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("unspoken-users-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn params(&self) -> EngineParams {
        let params = EngineParams { device: DeviceChoice::Cpu, threads: Some(2), ..EngineParams::new(tiny_model()) };
        EngineParams { store: Some(self.0.clone()), ..params }.with_critic(None)
    }

    fn engine(&self) -> Engine {
        Engine::load(&self.params()).unwrap()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn records(n: usize) -> Vec<Record> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/deeppref-mini/weather_planning.jsonl");
    read_jsonl(&file).unwrap().into_iter().take(n).collect()
}

fn code<T>(result: Result<T, Error>) -> Code {
    result.err().map_or(Code::Ok, |e| e.code())
}

/// Two steps of two answers of eight tokens.
fn two_steps() -> AdaptationParams {
    let questions = vec!["Where to?".to_owned(), "What to eat?".to_owned()];
    let mut params = AdaptationParams { questions, ..AdaptationParams::default() };
    params.method.steps = 2;
    params.method.rank = 2;
    params.method.optimizer.lr = 0.02;
    params.method.cdpa.group = 2;
    params.method.cdpa.max_tokens = 8;
    params
}

fn go_on(_: &Progress) -> Control {
    Control::Continue
}

fn sam(engine: &Engine) -> Profile {
    let profile = engine.profile("sam").unwrap();
    profile.state("I avoid crowds.").unwrap();
    profile
}

fn reply(engine: &Engine, profile: &Profile) -> Vec<u32> {
    let chat = engine.chat(ChatParams { profile: Some(profile.clone()), context_tokens: 512, ..Default::default() });
    // Drawn, for the likeliest token of random weights is the same again and again.
    let sample = SampleParams { temperature: 1.0, seed: 3, ..SampleParams::default() };
    let params = ReplyParams { max_tokens: 24, sample, ..ReplyParams::default() };
    chat.unwrap().send("Where to?", &params).unwrap().tokens
}

#[test]
fn preferences_are_stated_listed_corrected_and_thrown_out() {
    let store = Store::new("preferences");
    let engine = store.engine();
    let profile = sam(&engine);
    let fish = profile.state("I eat no fish.").unwrap();
    assert_eq!(profile.edit(fish.id, "I eat no meat.").unwrap().text, "I eat no meat.");
    let texts = |p: &Profile| p.preferences().unwrap().into_iter().map(|p| p.text).collect::<Vec<_>>();
    assert_eq!(texts(&profile), ["I avoid crowds.", "I eat no meat."]);
    assert!(profile.preferences().unwrap().iter().all(|p| matches!(p.source, Source::Stated)));
    profile.remove(fish.id).unwrap();
    assert_eq!(code(profile.remove(fish.id)), Code::NoSuchItem);
    assert_eq!(code(profile.edit(fish.id, "x")), Code::NoSuchItem);
    assert_eq!(code(profile.state(" ")), Code::InvalidArgument);
    assert_eq!(code(profile.state(&"x".repeat(1 << 24))), Code::InvalidArgument);
    // Another engine on the same folder sees the same user.
    let again = store.engine();
    assert_eq!((again.users().unwrap(), texts(&again.profile("sam").unwrap())), (vec!["sam".into()], texts(&profile)));
    engine.delete_user("sam").unwrap();
    assert_eq!(code(profile.state("x")), Code::NoUser);
    assert_eq!(code(engine.delete_user("sam")), Code::NoUser);
    assert_eq!(code(engine.profile("")), Code::InvalidArgument);
    let without = EngineParams { store: None, ..store.params() };
    assert_eq!(code(Engine::load(&without).unwrap().profile("sam")), Code::InvalidArgument);
}

#[test]
fn a_reply_is_rated_and_kept() {
    let store = Store::new("feedback");
    let engine = store.engine();
    let profile = sam(&engine);
    let chat = engine.chat(ChatParams { profile: Some(profile.clone()), context_tokens: 512, ..Default::default() });
    let reply = chat.unwrap().send("Where to?", &ReplyParams::greedy(8)).unwrap();
    profile.feedback(reply.message, &Verdict::Rating { value: -1.0 }).unwrap();
    profile.feedback(reply.message, &Verdict::Correction { text: "To the library.".into() }).unwrap();
    assert_eq!(code(profile.feedback(reply.message, &Verdict::Rating { value: f32::NAN })), Code::InvalidArgument);
    assert_eq!(code(profile.feedback(Some(999), &Verdict::Rating { value: 1.0 })), Code::NoSuchItem);
    assert_eq!(profile.store().feedback().unwrap().len(), 2);
    // What was asked is what is learned from where the host names nothing.
    let mut params = two_steps();
    params.questions.clear();
    params.method.steps = 1;
    assert_eq!(profile.adaptation(params).unwrap().run(&mut go_on).unwrap(), RunEnd::Done);
}

#[test]
fn a_better_adapter_is_committed_and_a_worse_one_taken_back() {
    let store = Store::new("guard");
    let engine = store.engine();
    let profile = sam(&engine);
    records(3).iter().for_each(|r| profile.hold_out(r).unwrap());
    let base = reply(&engine, &profile);
    let adapt = |guard: GuardParams| {
        let mut params = two_steps();
        params.method.guard = guard;
        let job = profile.adaptation(params).unwrap();
        assert_eq!(job.steps().unwrap(), (0, 2));
        assert_eq!(job.run(&mut go_on).unwrap(), RunEnd::Done);
        let outcome = job.conclude().unwrap();
        assert_eq!(code(job.conclude()), Code::InvalidArgument);
        assert_eq!(code(job.step(&mut go_on)), Code::InvalidArgument);
        assert_eq!(profile.store().job(job.id()).unwrap().state, JobState::Done);
        outcome
    };
    // No share is as high as this guard wants it.
    let strict = adapt(GuardParams { lost_hits: 0, lost_share: -2.0 });
    let conclusion = strict.conclusion.unwrap();
    if conclusion.after.hits <= conclusion.before.hits {
        assert!(!strict.committed);
        assert_eq!((strict.version, reply(&engine, &profile)), (0, base.clone()));
    }
    let lenient = adapt(GuardParams { lost_hits: 3, lost_share: 1.0 });
    assert!(lenient.committed && lenient.version > strict.version);
    assert_eq!(lenient.conclusion.unwrap().before.n, 3);
    let adapted = reply(&engine, &profile);
    assert_ne!(adapted, base, "two steps at this rate change what is said");
    // Versions are chosen, and the base model is one of them.
    assert_eq!(profile.versions().unwrap().last().unwrap().number, lenient.version);
    profile.use_version(0).unwrap();
    assert_eq!((profile.version().unwrap(), reply(&engine, &profile)), (0, base));
    assert_eq!(code(profile.roll_back()), Code::InvalidArgument);
    profile.use_version(lenient.version).unwrap();
    let reopened = store.engine();
    assert_eq!(reply(&reopened, &reopened.profile("sam").unwrap()), adapted);
    assert_eq!(code(profile.use_version(77)), Code::NoSuchItem);
}

/// The adapter that a job came to.
fn committed(profile: &Profile, job: &Adaptation) -> Vec<u8> {
    let outcome = job.conclude().unwrap();
    assert!(outcome.committed);
    profile.store().adapter_bytes(outcome.version).unwrap()
}

#[test]
fn a_budget_ends_a_run_and_a_larger_one_goes_on_with_it() {
    let store = Store::new("budget");
    let engine = store.engine();
    let profile = sam(&engine);
    let mut params = two_steps();
    params.budget.tokens = Some(1);
    let job = profile.adaptation(params.clone()).unwrap();
    assert_eq!(job.run(&mut go_on).unwrap(), RunEnd::Budget);
    assert_eq!(job.steps().unwrap(), (1, 2));
    assert!(job.spent().unwrap().tokens() > 0 && job.step(&mut go_on).unwrap().is_none());
    let id = job.id();
    drop(job);
    params.job = Some(id);
    params.budget.tokens = None;
    let job = profile.adaptation(params.clone()).unwrap();
    assert_eq!(job.steps().unwrap(), (1, 2), "the step before is not lost");
    assert_eq!(job.run(&mut go_on).unwrap(), RunEnd::Done);
    let resumed = committed(&profile, &job);
    profile.use_version(0).unwrap();
    params.job = None;
    let job = profile.adaptation(params.clone()).unwrap();
    job.run(&mut go_on).unwrap();
    assert!(resumed == committed(&profile, &job), "a resumed job is bit for bit the one that ran through");
    // Others than it was begun with.
    params.job = Some(id);
    params.method.cdpa.group = 3;
    assert_eq!(code(profile.adaptation(params.clone())), Code::InvalidArgument);
    params.budget.bytes = Some(1);
    params.job = None;
    assert_eq!(code(profile.adaptation(params)), Code::OutOfMemory);
}

#[test]
fn pausing_and_cancelling_change_nothing() {
    let store = Store::new("pause");
    let engine = store.engine();
    let profile = sam(&engine);
    let job = profile.adaptation(two_steps()).unwrap();
    assert_eq!(job.run(&mut |_: &Progress| Control::Pause).unwrap(), RunEnd::Paused(None));
    for phase in [Phase::Rollouts, Phase::Critiques, Phase::Update] {
        let mut stop = |p: &Progress| if p.phase == phase { Control::Stop } else { Control::Continue };
        assert!(job.step(&mut stop).unwrap().is_none(), "stopped at {phase:?}");
    }
    let (other, mut cancelled) = (job.clone(), false);
    let cancel = &mut |_: &Progress| {
        other.cancel();
        cancelled = true;
        Control::Continue
    };
    assert!(job.step(cancel).unwrap().is_none());
    assert!(cancelled);
    assert_eq!(job.steps().unwrap(), (0, 2));
    assert_eq!(profile.store().job(job.id()).unwrap().state, JobState::Paused);
    assert_eq!(job.run(&mut go_on).unwrap(), RunEnd::Done);
    let interrupted = committed(&profile, &job);
    profile.use_version(0).unwrap();
    let job = profile.adaptation(two_steps()).unwrap();
    job.run(&mut go_on).unwrap();
    assert!(interrupted == committed(&profile, &job));
}

#[test]
fn what_cannot_be_adapted_is_named() {
    let store = Store::new("refused");
    let engine = store.engine();
    let profile = sam(&engine);
    let refused = |change: &dyn Fn(&mut AdaptationParams)| {
        let mut params = two_steps();
        change(&mut params);
        code(profile.adaptation(params))
    };
    assert_eq!(refused(&|p| p.questions.clear()), Code::InvalidArgument);
    assert_eq!(refused(&|p| p.job = Some(99)), Code::NoSuchItem);
    assert_eq!(refused(&|p| p.method.cdpa.group = 1), Code::InvalidArgument);
    assert_eq!(refused(&|p| p.method.cdpa.max_tokens = usize::MAX), Code::InvalidArgument);
    for rank in [0, 1 << 20] {
        assert_eq!(refused(&|p| p.method.rank = rank), Code::InvalidArgument);
    }
    for bad in [-1.0, f32::NAN, f32::INFINITY] {
        assert_eq!(refused(&|p| p.method.optimizer.lr = bad), Code::InvalidArgument);
    }
    assert_eq!(code(engine.profile("nobody").unwrap().adaptation(two_steps())), Code::InvalidArgument);
    let mut without = records(1)[0].clone();
    without.options.clear();
    assert_eq!(code(profile.hold_out(&without)), Code::InvalidArgument);
    assert!(profile.store().jobs().unwrap().is_empty(), "nothing is left of what was refused");
    // Found when it is asked.
    let long = AdaptationParams { questions: vec!["long ".repeat(600)], ..two_steps() };
    let job = profile.adaptation(long).unwrap();
    assert_eq!(code(job.run(&mut go_on)), Code::ContextFull);
    assert_eq!(profile.store().job(job.id()).unwrap().state, JobState::Failed);
    let plain = EngineParams { critic: None, ..store.params() };
    let plain = Engine::load(&plain).unwrap().profile("sam").unwrap();
    assert_eq!(code(plain.adaptation(two_steps())), Code::NoCritic);
    // Supervised on records it needs none.
    let mut supervised = AdaptationParams { records: records(1), ..AdaptationParams::default() };
    supervised.method.method = Method::Sft;
    supervised.method.steps = 1;
    assert_eq!(plain.adaptation(supervised).unwrap().run(&mut go_on).unwrap(), RunEnd::Done);
}

#[test]
fn an_evaluation_counts_right_choices() {
    let store = Store::new("evaluation");
    let engine = store.engine();
    let evaluation = sam(&engine).evaluation().unwrap();
    let items = records(4);
    let mut told = Vec::new();
    let result = evaluation.run(&items, true, |done, all| {
        told.push((done, all));
        true
    });
    let result = result.unwrap();
    assert_eq!((result.n, told.last(), told.len()), (4, Some(&(4, 4)), 5));
    assert_eq!(result.hits, result.items.iter().filter(|hit| **hit).count());
    assert!(result.interval.low <= result.accuracy && result.accuracy <= result.interval.high);
    assert!((0.0..1.0).contains(&result.fitting_share));
    assert_eq!(evaluation.run(&items, true, |_, _| true).unwrap().items, result.items);
    let stopping = evaluation.clone();
    let stopped = evaluation.run(&items, true, |done, _| {
        if done == 2 {
            stopping.cancel();
        }
        true
    });
    assert_eq!(code(stopped), Code::Cancelled);
    assert_eq!(code(evaluation.run(&items, true, |_, _| false)), Code::Cancelled);
    assert_eq!(code(evaluation.run(&[], true, |_, _| true)), Code::InvalidArgument);
    let mut without = items[0].clone();
    without.options.clear();
    assert_eq!(code(evaluation.run(&[without], true, |_, _| true)), Code::InvalidArgument);
    assert_eq!(code(evaluation.run_file(Path::new("/nowhere.jsonl"), true, |_, _| true)), Code::NotFound);
    assert_eq!(code(engine.evaluation(Some(Path::new("/nowhere.gguf")))), Code::NotFound);
}

#[test]
fn an_encrypted_store_keeps_jobs_and_nothing_readable() {
    let store = Store::new("sealed");
    let params = EngineParams { store_key: Some(StoreKey([7; 32])), ..store.params() };
    let engine = Engine::load(&params).unwrap();
    let profile = engine.profile("sam").unwrap();
    profile.state("I avoid crowds.").unwrap();
    let mut adapt = two_steps();
    let job = profile.adaptation(adapt.clone()).unwrap();
    assert!(job.step(&mut go_on).unwrap().is_some());
    adapt.job = Some(job.id());
    drop((job, profile, engine));
    for file in files(&store.0) {
        let bytes = std::fs::read(&file).unwrap();
        for word in ["GGUF", "crowds", "Where to", "mean_reward"] {
            let found = bytes.windows(word.len()).any(|w| w == word.as_bytes());
            assert!(!found, "{word:?} in {}", file.display());
        }
    }
    let profile = Engine::load(&params).unwrap().profile("sam").unwrap();
    let job = profile.adaptation(adapt).unwrap();
    assert_eq!(job.steps().unwrap(), (1, 2), "the step before is not lost");
    assert_eq!(job.run(&mut go_on).unwrap(), RunEnd::Done);
    assert!(job.conclude().unwrap().committed);
    let other = EngineParams { store_key: Some(StoreKey([8; 32])), ..store.params() };
    assert_eq!(code(Engine::load(&other)), Code::WrongKey);
    assert_eq!(code(Engine::load(&store.params())), Code::KeyNeeded);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|p| if p.is_dir() { files(&p) } else { vec![p] }).collect()
}

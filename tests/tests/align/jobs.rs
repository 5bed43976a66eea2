//! Adaptations: methods, budgets, pauses, the guard.

use unspoken::align::{
    Adaptation, AlignError, Assistant, Budget, Control, Gate, HeldOut, Host, Method, Phase, Progress, Record,
    Reference, RunEnd, StepEnd, Verdict,
};
use unspoken::generate::Canceller;
use unspoken::model::{Adapter, ModelError};
use unspoken::train::{AdamWParams, Group, Trainer};
use unspoken_tests::cpu;

use crate::common::{adaptation, assistant, bits, critic, folder, go, log, params, records};

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
            // A random model ends no answer before the limit cuts it off.
            let limit = params(method).cdpa.max_tokens;
            let lengths: Vec<u64> = groups["lengths"].as_array().unwrap().iter().filter_map(|n| n.as_u64()).collect();
            let cut = lengths.iter().filter(|n| **n == limit as u64).count() as f64 / lengths.len() as f64;
            assert!((groups["unended"].as_f64().unwrap() - cut).abs() < 1e-6, "{groups}");
            // The sampler's log π and the trainer's are those of one policy.
            assert!(groups["drift"].as_f64().unwrap() < 0.05, "{groups}");
        }
        std::fs::remove_dir_all(path).unwrap();
    }
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

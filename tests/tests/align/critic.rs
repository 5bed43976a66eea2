//! Critics: what they learn and what they say.

use unspoken::align::{
    AlignError, Assistant, Budget, Critic, CriticParams, CriticTraining, CriticTrainingParams, Reader, RunEnd, Split,
    Supervision, critic_report, critic_rows, train_rows,
};
use unspoken::generate::SampleParams;
use unspoken::model::{Adapter, ContextParams};
use unspoken::train::{AdamWParams, Trainer};
use unspoken_tests::{SMOLLM2, cpu, model};

use crate::common::{assistant, critic, critic_training, folder, go, record, records};

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

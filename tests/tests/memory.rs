//! The memory plan against the memory that jobs on SmolLM2 take, each measured in a process of its own.
#![allow(missing_docs)]

use std::process::Command;
use std::sync::Arc;

use unspoken::device::{CpuDevice, Device};
use unspoken::gguf::GgufFile;
use unspoken::model::{Adapter, Context, ContextParams, Model, ModelError, Span};
use unspoken::train::{AdamWParams, Group, Job, Planner, Trainer};
use unspoken_tests::{SMOLLM2, cpu, model, tiny_file};

/// Names the job that a process measures.
const VARIABLE: &str = "UNSPOKEN_MEASURE";

fn chat() -> Job {
    let context = ContextParams { cache_tokens: 768, max_sequence: 768, ..ContextParams::default() };
    Job::Chat { context, batch: 256, answers: 4, rank: Some(8) }
}

const TRAIN: Job = Job::Train { prompt: 64, answers: 4, answer: 32, rank: 8, activation_bytes: None };

/// A line of /proc/self/status, in bytes.
fn status(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|l| l.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Runs a job as a host would; prints by how much the process grew at its largest.
#[test]
fn measured_process() {
    let Ok(job) = std::env::var(VARIABLE) else { return };
    let file = GgufFile::open(&model(SMOLLM2).unwrap()).unwrap();
    let device = cpu();
    let before = status("VmRSS");
    // The peak so far is forgotten.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let model = Model::load(&file, &device).unwrap();
    match (job.as_str(), chat(), TRAIN) {
        ("chat", Job::Chat { context: params, batch, answers, rank }, _) => {
            let mut context = Context::new(&model, params).unwrap();
            let adapter = Adapter::new(&model, rank.unwrap(), 16.0, 1).unwrap();
            let prompt: Vec<u32> = (0..(params.cache_tokens - 128) as u32).collect();
            let seq = context.cache.create();
            for tokens in prompt.chunks(batch) {
                let n = context.forward(&[Span { seq, tokens, adapter: Some(&adapter) }]).unwrap();
                context.logits(&[n as u32 - 1]).unwrap();
            }
            let seqs: Vec<_> = (0..answers - 1).map(|_| context.cache.create()).chain([seq]).collect();
            for t in [[1], [2], [3], [4]] {
                let spans: Vec<_> =
                    seqs.iter().map(|s| Span { seq: *s, tokens: &t, adapter: Some(&adapter) }).collect();
                context.forward(&spans).unwrap();
                context.logits(&(0..answers as u32).collect::<Vec<_>>()).unwrap();
            }
        }
        ("train", _, Job::Train { prompt, answers, answer, rank, .. }) => {
            let adapter = Adapter::new(&model, rank, 16.0, 1).unwrap();
            let tokens = prompt + answers * answer;
            let mut trainer = Trainer::new(&model, adapter, AdamWParams::default(), tokens).unwrap();
            let tokens: Vec<u32> = (0..tokens as u32).collect();
            let (prompt, rest) = tokens.split_at(prompt);
            let group = Group { prompt, answers: rest.chunks(answer).collect() };
            let log_probs = trainer.log_probs(&group).unwrap().concat();
            trainer.backward(&vec![0.1; log_probs.len()]).unwrap();
            trainer.step().unwrap();
        }
        _ => panic!("no job {job:?}"),
    }
    println!("grew by {}", status("VmHWM") - before);
}

fn measured(job: &str) -> u64 {
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "measured_process", "--nocapture"])
        .env(VARIABLE, job)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    let at = text.find("grew by ").unwrap() + "grew by ".len();
    text[at..].split_whitespace().next().unwrap().parse().unwrap()
}

fn within_a_tenth(name: &str, job: &Job) {
    if !cfg!(target_os = "linux") {
        return eprintln!("skipped: /proc is Linux's");
    }
    let Some(path) = model(SMOLLM2) else { return };
    let planner = Planner::new(&GgufFile::open(&path).unwrap(), &cpu()).unwrap();
    let plan = planner.plan(job).unwrap();
    let measured = measured(name);
    let ratio = measured as f64 / plan.total() as f64;
    println!("{name}: measured {measured}, planned {} ({plan:?}), ratio {ratio:.3}", plan.total());
    assert!((0.9..1.1).contains(&ratio), "{name}: measured {measured}, {plan:?}");
}

#[test]
fn a_chat_takes_what_was_planned() {
    within_a_tenth("chat", &chat());
}

#[test]
fn a_training_step_takes_what_was_planned() {
    within_a_tenth("train", &TRAIN);
}

#[test]
fn planning_takes_no_weights_and_names_the_largest_job_that_fits() {
    let file = GgufFile::open(&tiny_file("qwen2")).unwrap();
    let planner = Planner::new(&file, &cpu()).unwrap();
    let context = ContextParams { cache_tokens: 1024, max_sequence: 1024, ..ContextParams::default() };
    for job in [
        Job::Chat { context, batch: 512, answers: 1, rank: None },
        Job::Train { prompt: 100, answers: 4, answer: 50, rank: 4, activation_bytes: Some(0) },
    ] {
        let whole = planner.plan(&job).unwrap();
        assert_eq!(planner.fit(&job, whole.total()).unwrap(), whole);
        let budget = whole.weights + (whole.total() - whole.weights) / 2;
        let Err(ModelError::DoesNotFit { needed, largest: Some(largest), .. }) = planner.fit(&job, budget) else {
            panic!("{job:?} fits")
        };
        assert!(needed == whole.total() && largest > 10 && largest < job.tokens(), "{job:?}: {largest}");
        assert!(matches!(planner.fit(&job, whole.weights), Err(ModelError::DoesNotFit { largest: None, .. })));
    }
    // What a job would refuse, its plan refuses.
    let job = Job::Train { prompt: 2000, answers: 1, answer: 10, rank: 4, activation_bytes: None };
    assert!(matches!(planner.plan(&job), Err(ModelError::ContextFull { limit: 1024, .. })));
    let small = Device::Cpu(Arc::new(CpuDevice::new(Some(1)).unwrap().with_max_buffer_words(64 * 1024)));
    let planner = Planner::new(&file, &small).unwrap();
    let job = Job::Chat { context, batch: 512, answers: 1, rank: None };
    assert!(planner.plan(&job).is_ok());
    let large = ContextParams { cache_tokens: 1 << 14, ..context };
    let job = Job::Chat { context: large, batch: 16, answers: 1, rank: None };
    assert!(planner.plan(&job).unwrap_err().to_string().contains("over the device's limit"));
}

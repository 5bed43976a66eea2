//! Small random models of every architecture and every weight type, against llama.cpp's logits and JAX's gradients
//! (`goldens/tiny.py`). They are in the repository: these tests need neither a network nor Python.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use unspoken::device::{CpuDevice, Device};
use unspoken::generate::{SampleParams, Sampler};
use unspoken::gguf::GgufFile;
use unspoken::model::{Adapter, Context, ContextParams, Draw, Model, ModelError, Span, Wanted};
use unspoken::text::{Specials, Tokenizer};
use unspoken_tests::{cpu, golden, gpus, ids, tiny_file, uniform};

fn floats(v: &Value) -> Vec<f32> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

fn architectures() -> Vec<(String, Value)> {
    let golden = golden("tiny.json");
    golden["architectures"].as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn context(model: &Arc<Model>, room: usize) -> Context {
    Context::new(
        model,
        ContextParams { cache_tokens: room, max_sequence: room, block_size: 16, ..ContextParams::default() },
    )
    .unwrap()
}

/// The logits after the last `rows` tokens of a batch.
fn last_logits(c: &mut Context, tokens: &[u32], adapter: Option<&Adapter>, rows: usize) -> Vec<f32> {
    let seq = c.cache.create();
    let n = c.forward(&[Span { seq, tokens, adapter }]).unwrap() as u32;
    let logits = c.logits(&(n - rows as u32..n).collect::<Vec<_>>()).unwrap();
    c.cache.remove(seq);
    logits
}

/// The largest difference as a share of the largest value.
fn gap(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let most = |x: &mut dyn Iterator<Item = f32>| x.fold(0.0f32, |m, x| m.max(x.abs()));
    most(&mut got.iter().zip(want).map(|(a, b)| a - b)) / most(&mut want.iter().copied())
}

/// llama.cpp's GELU reads a table of halves; the others are f32 throughout.
fn tolerance(architecture: &str) -> f32 {
    if architecture == "gemma3" { 4e-4 } else { 1e-5 }
}

fn logits_on(device: &Device) {
    for (name, golden) in architectures() {
        let model = Model::open(&tiny_file(&name), device).unwrap();
        let adapter = Adapter::load(&model, &tiny_file(&format!("{name}.lora"))).unwrap();
        let tokens = ids(&golden["tokens"]);
        for case in golden["cases"].as_array().unwrap() {
            let mut c = context(&model, case["room"].as_u64().unwrap() as usize);
            for (adapter, key) in [(None, "logits"), (Some(&adapter), "adapted")] {
                let want = floats(&case[key]);
                let rows = want.len() / model.config.vocab;
                let gap = gap(&last_logits(&mut c, &tokens, adapter, rows), &want);
                println!("{name} {key} on {}: {gap:.1e}", device.name());
                assert!(gap < tolerance(&name), "{name} {key} on {}: {gap}", device.name());
            }
        }
    }
}

#[test]
fn every_architecture_has_llama_cpps_logits() {
    logits_on(&cpu());
}

#[test]
fn every_architecture_has_llama_cpps_logits_with_the_plain_kernels() {
    logits_on(&Device::Cpu(Arc::new(CpuDevice::plain().unwrap())));
}

#[test]
fn every_architecture_has_llama_cpps_logits_on_the_gpus() {
    gpus().iter().for_each(logits_on);
}

#[test]
fn token_by_token_is_the_same_as_all_at_once() {
    for (name, golden) in architectures() {
        let model = Model::open(&tiny_file(&name), &cpu()).unwrap();
        let adapter = Adapter::load(&model, &tiny_file(&format!("{name}.lora"))).unwrap();
        let tokens = ids(&golden["tokens"]);
        let mut c = context(&model, 256);
        let want = last_logits(&mut c, &tokens, Some(&adapter), 1);
        let seq = c.cache.create();
        for t in &tokens {
            c.forward(&[Span { seq, tokens: std::slice::from_ref(t), adapter: Some(&adapter) }]).unwrap();
        }
        let gap = gap(&c.logits(&[0]).unwrap(), &want);
        assert!(gap < 1e-4, "{name}: {gap}");
    }
}

/// Tokens drawn in a pass are those that the host draws from its logits, and may be drawn beside logits that are read.
fn draws_on(device: &Device) {
    let (name, golden) = &architectures()[0];
    let model = Model::open(&tiny_file(name), device).unwrap();
    let tokens = ids(&golden["tokens"]);
    let mut c = context(&model, 256);
    let seqs = [c.cache.create(), c.cache.create()];
    let half = tokens.len() / 2;
    let span = |seq, tokens| Span { seq, tokens, adapter: None };
    let spans = [span(seqs[0], &tokens[..half]), span(seqs[1], &tokens[half..])];
    let rows = [half as u32 - 1, tokens.len() as u32 - 1];
    let params = SampleParams { top_p: 0.9, top_k: 40, min_p: 0.01, seed: 7, ..SampleParams::default() };
    let mut samplers =
        [(SampleParams::greedy(), 0), (params, 1), (params, 2)].map(|(p, stream)| Sampler::new(p, stream));
    let mut on_host = samplers.clone();
    let draws: Vec<Draw> = samplers.iter_mut().zip([0, 0, 1]).map(|(sampler, row)| sampler.draw(row)).collect();
    for wrong in [
        Wanted { rows: &[], draws: &[], logits: 0 },
        Wanted { rows: &[tokens.len() as u32], draws: &[], logits: 1 },
        Wanted { rows: &rows[..1], draws: &draws, logits: 0 },
        Wanted { rows: &rows, draws: &[], logits: 3 },
    ] {
        assert!(matches!(c.decode(&spans, wrong), Err(ModelError::Batch(_))));
        assert_eq!(c.cache.len(seqs[0]), 0);
    }
    let got = c.decode(&spans, Wanted { rows: &rows, draws: &draws, logits: 1 }).unwrap();
    let logits = c.logits(&rows).unwrap();
    let (first, second) = logits.split_at(model.config.vocab);
    assert_eq!(got.logits, second);
    for ((drawn, sampler), logits) in got.drawn.iter().zip(&mut on_host).zip([first, first, second]) {
        assert_eq!(drawn.id, sampler.sample(logits), "on {}", device.name());
        let sum = logits.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
        assert!((f64::from(drawn.log_prob) - f64::from(logits[drawn.id as usize]) + sum).abs() < 1e-5);
    }
}

#[test]
fn tokens_drawn_in_a_pass_are_those_that_the_host_draws() {
    draws_on(&cpu());
    gpus().iter().for_each(draws_on);
}

fn gradients_on(device: &Device) {
    for (name, golden) in architectures() {
        let model = Model::open(&tiny_file(&name), device).unwrap();
        let adapter = Adapter::load(&model, &tiny_file(&format!("{name}.lora"))).unwrap();
        let tokens = ids(&golden["tokens"]);
        let scored = unspoken_tests::golden("tiny.json")["scored"].as_u64().unwrap() as usize;
        for case in golden["cases"].as_array().unwrap() {
            let mut c = context(&model, case["room"].as_u64().unwrap() as usize);
            let (seq, n) = (c.cache.create(), tokens.len());
            c.forward_kept(&[Span { seq, tokens: &tokens[..n - 1], adapter: Some(&adapter) }]).unwrap();
            let rows: Vec<u32> = (n - scored - 1..n - 1).map(|r| r as u32).collect();
            let log_probs = c.log_probs(&rows, &tokens[n - scored..]).unwrap();
            let loss = -log_probs.iter().sum::<f32>() / scored as f32;
            let want = case["loss"].as_f64().unwrap();
            assert!((f64::from(loss) / want - 1.0).abs() < 1e-5, "{name}: loss {loss}, {want}");
            let grads = device.alloc(adapter.shape.words).unwrap();
            c.backward(&vec![-1.0 / scored as f32; scored], &grads).unwrap();
            let grads = device.read_f32(&grads, 0..adapter.shape.words).unwrap();
            let rank = adapter.shape.rank;
            let places = adapter.shape.pairs().flat_map(|(_, p)| [(p.a, rank * p.inp), (p.b, p.out * rank)]);
            let mut count = 0;
            for (i, ((at, len), want)) in places.zip(case["gradients"].as_array().unwrap()).enumerate() {
                let want = [0, 1].map(|j| want[j].as_f64().unwrap());
                let g = &grads[at..at + len];
                let norm = g.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                let probe = |j: usize| uniform(j as u64, i as u64 + 1000) - 0.5;
                let dot: f64 = g.iter().enumerate().map(|(j, x)| f64::from(*x) * probe(j)).sum();
                // The probe of a vector of this norm is about norm / √12.
                assert!((norm / want[0] - 1.0).abs() < 1e-4, "{name} matrix {i}: norm {norm}, {}", want[0]);
                assert!((dot - want[1]).abs() < 1e-4 * want[0], "{name} matrix {i}: dot {dot}, {}", want[1]);
                count += 1;
            }
            assert_eq!(count, case["gradients"].as_array().unwrap().len());
        }
    }
}

#[test]
fn every_architecture_has_jaxs_gradients() {
    gradients_on(&cpu());
}

#[test]
fn every_architecture_has_jaxs_gradients_on_the_gpus() {
    gpus().iter().for_each(gradients_on);
}

fn types_on(device: &Device) {
    for (name, golden) in golden("tiny.json")["types"].as_object().unwrap() {
        let model = Model::open(&tiny_file(name), device).unwrap();
        let want = floats(&golden["logits"]);
        let tokens = ids(&golden["tokens"]);
        let rows = want.len() / model.config.vocab;
        let mut c = context(&model, 64);
        let gap = gap(&last_logits(&mut c, &tokens, None, rows), &want);
        println!("{name} on {}: {gap:.1e}", device.name());
        assert!(gap < 2e-5, "{name} on {}: {gap}", device.name());
    }
}

#[test]
fn every_weight_type_computes_as_its_f32_copy_in_llama_cpp() {
    types_on(&cpu());
    types_on(&Device::Cpu(Arc::new(CpuDevice::plain().unwrap())));
}

#[test]
fn every_weight_type_computes_as_its_f32_copy_in_llama_cpp_on_the_gpus() {
    gpus().iter().for_each(types_on);
}

#[test]
fn a_saved_adapter_of_every_architecture_comes_back() {
    let folder = tempdir();
    for (name, _) in architectures() {
        let device = cpu();
        let model = Model::open(&tiny_file(&name), &device).unwrap();
        let adapter = Adapter::load(&model, &tiny_file(&format!("{name}.lora"))).unwrap();
        let path = folder.join(format!("{name}.gguf"));
        adapter.save(&model, &path).unwrap();
        let (ours, theirs) =
            (GgufFile::open(&path).unwrap(), GgufFile::open(&tiny_file(&format!("{name}.lora"))).unwrap());
        // Tensor for tensor what llama.cpp read.
        assert_eq!(ours.tensors().len(), theirs.tensors().len());
        for t in theirs.tensors() {
            let own = ours.tensor(&t.name).unwrap();
            assert!(own.shape == t.shape && ours.data(own) == theirs.data(t), "{name} {}", t.name);
        }
        let back = Adapter::load(&model, &path).unwrap();
        assert_eq!(back.read(&device).unwrap(), adapter.read(&device).unwrap());
    }
    std::fs::remove_dir_all(folder).unwrap();
}

fn tempdir() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("unspoken-tiny-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn small_vocabularies_have_llama_cpps_ids() {
    for (name, golden) in architectures() {
        let tokenizer = Tokenizer::from_gguf(&GgufFile::open(&tiny_file(&name)).unwrap()).unwrap();
        let got = tokenizer.encode_prompt(golden["text"].as_str().unwrap(), Specials::Parse).unwrap();
        let want = ids(&golden["tokens"]);
        assert_eq!(got[..want.len()], want, "{name}");
    }
}

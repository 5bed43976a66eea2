//! Weights and logits of the real models against the `gguf` package and an f32 JAX model.

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};
use unspoken::device::{CpuDevice, Device, DeviceChoice};
use unspoken::gguf::GgufFile;
use unspoken::model::{Adapter, Context, ContextParams, Model, Span};
use unspoken_kernels::QuantType;
use unspoken_tests::{GEMMA3, SMOLLM2, cpu, golden, ids, model};

fn dequantization(key: &str, name: &str) {
    let Some(path) = model(name) else { return };
    let file = GgufFile::open(&path).unwrap();
    let golden = golden("dequant.json");
    for t in golden["models"][key]["tensors"].as_array().unwrap() {
        let info = file.tensor(t["name"].as_str().unwrap()).unwrap();
        let kind = t["type"].as_str().unwrap();
        let q = QuantType::ALL.iter().find(|q| q.name().eq_ignore_ascii_case(kind)).unwrap();
        let count = info.shape[0] as usize * t["rows"].as_u64().unwrap() as usize;
        let mut values = vec![0.0f32; count];
        q.dequantize_gguf(file.data(info), &mut values);
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hash, t["sha256"].as_str().unwrap(), "{} ({kind})", info.name);
    }
}

#[test]
fn smollm2_dequantizes_bit_for_bit() {
    dequantization("smollm2", SMOLLM2);
}

#[test]
fn gemma3_dequantizes_bit_for_bit() {
    dequantization("gemma3", GEMMA3);
}

/// The mean absolute difference at each position is under 1e-3 of the logits' range, the likeliest token the same.
fn logits(device: &Device, name: &str, golden_name: &str, cases: usize) {
    let Some(path) = model(name) else { return };
    let golden = golden(golden_name);
    let stride = golden["stride"].as_u64().unwrap() as usize;
    let model = Model::open(&path, device).unwrap();
    let mut context = Context::new(&model, ContextParams { cache_tokens: 1024, ..Default::default() }).unwrap();
    for case in golden["cases"].as_array().unwrap().iter().take(cases) {
        let tokens = ids(&case["tokens"]);
        let seq = context.cache.create();
        context.forward(&[Span { seq, tokens: &tokens, adapter: None }]).unwrap();
        let positions: Vec<&Value> = case["positions"].as_array().unwrap().iter().collect();
        let rows: Vec<u32> = positions.iter().map(|p| p["position"].as_u64().unwrap() as u32).collect();
        let logits = context.logits(&rows).unwrap();
        let vocab = model.config.vocab;
        for (p, got) in positions.iter().zip(logits.chunks(vocab)) {
            let range = p["max"].as_f64().unwrap() - p["min"].as_f64().unwrap();
            let want = p["logits"].as_array().unwrap();
            let sum: f64 =
                want.iter().enumerate().map(|(i, w)| (w.as_f64().unwrap() - f64::from(got[i * stride])).abs()).sum();
            let share = sum / want.len() as f64 / range;
            println!("{name} position {}: mean |Δ| / range = {share:.2e}", p["position"]);
            assert!(share < 1e-3, "{share} at {}", p["position"]);
            let best = got.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
            assert_eq!(best as u64, p["argmax"].as_u64().unwrap());
        }
        context.cache.remove(seq);
    }
}

#[test]
fn smollm2_logits_are_those_of_an_f32_model() {
    logits(&cpu(), SMOLLM2, "logits_smollm2.json", 9);
}

#[test]
fn gemma3_logits_are_those_of_an_f32_model() {
    logits(&cpu(), GEMMA3, "logits_gemma3.json", 9);
}

/// Its embedding has 178 MB, more than the 128 MiB that many phones bind at a time.
#[test]
fn gemma3_within_the_binding_limit_of_phones() {
    let limit = (128 << 20) / size_of::<u32>();
    let device = Device::Cpu(Arc::new(CpuDevice::new(None).unwrap().with_max_buffer_words(limit)));
    assert!(device.alloc(limit + 1).is_err());
    logits(&device, GEMMA3, "logits_gemma3.json", 2);
}

/// The shortest case only: software drivers need seconds for a token.
#[test]
fn smollm2_logits_on_a_gpu_are_those_of_an_f32_model() {
    match Device::open(DeviceChoice::Gpu, None) {
        Ok(device) => logits(&device, SMOLLM2, "logits_smollm2.json", 1),
        Err(e) => {
            assert!(std::env::var_os("UNSPOKEN_REQUIRE_GPU").is_none(), "{e}");
            eprintln!("skipped: {e}");
        }
    }
}

/// Five dispatches a block and token; two more with norms after its parts, and one where values have another type than
/// queries and keys. An adapter has one for each input that its pairs read.
fn dispatches(name: &str, most: usize) {
    let Some(path) = model(name) else { return };
    let model = Model::open(&path, &cpu()).unwrap();
    let mut context = Context::new(&model, ContextParams { cache_tokens: 64, ..Default::default() }).unwrap();
    let seq = context.cache.create();
    context.forward(&[Span { seq, tokens: &[1], adapter: None }]).unwrap();
    let blocks = model.config.n_layers;
    println!("{name}: {} dispatches, {} bytes of weights a token", context.dispatches(), model.weight_bytes());
    // The embedding, and the last residual where it waits for a norm.
    let rest = 1 + usize::from(model.config.post_norm);
    assert!(context.dispatches() <= rest + most * blocks, "{} for {blocks} blocks", context.dispatches());
    let adapter = Adapter::new(&model, 4, 8.0, 0).unwrap();
    let plain = context.dispatches();
    context.forward(&[Span { seq, tokens: &[2], adapter: Some(&adapter) }]).unwrap();
    assert_eq!(context.dispatches(), plain + 4 * blocks);
}

#[test]
fn a_token_takes_few_dispatches() {
    dispatches(SMOLLM2, 5);
    dispatches(GEMMA3, 8);
}

/// What goes along with products of few tokens is what is done apart for many. A strong adapter makes much of roundings.
fn few_are_as_many(name: &str, strength: f32) {
    let Some(path) = model(name) else { return };
    let model = Model::open(&path, &cpu()).unwrap();
    let adapter = Adapter::new(&model, 6, 12.0, 3).unwrap();
    let mut values = adapter.read(model.device()).unwrap();
    for (i, (_, p)) in adapter.shape.pairs().enumerate() {
        let b = &mut values[p.b..p.b + 6 * p.out];
        b.iter_mut().enumerate().for_each(|(j, x)| *x = strength * (((i * 7 + j * 13) % 29) as f32 / 29.0 - 0.5));
    }
    adapter.write(model.device(), &values).unwrap();
    let mut context = Context::new(&model, ContextParams { cache_tokens: 256, ..Default::default() }).unwrap();
    let tokens: Vec<u32> = (0..12).map(|i| 40 + 91 * i).collect();
    let mut last = |tokens: &[u32], at_once: usize, adapter: Option<&Adapter>| {
        let seq = context.cache.create();
        for tokens in tokens.chunks(at_once) {
            context.forward(&[Span { seq, tokens, adapter }]).unwrap();
        }
        context.logits(&[(at_once - 1) as u32]).unwrap()
    };
    let want = last(&tokens, 12, Some(&adapter));
    let range = want.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let gap = |got: &[f32]| want.iter().zip(got).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / range;
    let without = gap(&last(&tokens, 12, None));
    println!("{name}: the adapter makes {without:.1e}");
    assert!(without > 0.02, "the adapter does too little: {without}");
    for at_once in [1, 2, 3, 4] {
        let gap = gap(&last(&tokens, at_once, Some(&adapter)));
        println!("{name}, {at_once} at once: {gap:.1e}");
        assert!(gap < 1e-3, "{name}, {at_once} at once: {gap}");
    }
}

#[test]
fn few_tokens_with_an_adapter_are_as_many() {
    few_are_as_many(SMOLLM2, 1.0);
    few_are_as_many(GEMMA3, 0.1);
}

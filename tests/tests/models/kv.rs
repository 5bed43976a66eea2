//! Caches of halves and of eight bits against the f32 model's logits, and what they refuse.

use unspoken::model::{Context, ContextParams, KvType, Model, ModelError, Span};
use unspoken_tests::{SMOLLM2, cpu, golden, ids, model, tiny_file};

fn params(kv: KvType) -> ContextParams {
    ContextParams { cache_tokens: 1024, max_sequence: 1024, block_size: 16, kv }
}

/// The mean absolute difference to the f32 model, as a share of the logits' range: its largest and mean value over
/// all positions, and how often the likeliest token is another.
fn distance(kv: KvType) -> Option<(f64, f64, usize)> {
    let golden = golden("logits_smollm2.json");
    let stride = golden["stride"].as_u64().unwrap() as usize;
    let model = Model::open(&model(SMOLLM2)?, &cpu()).unwrap();
    let mut c = Context::new(&model, params(kv)).unwrap();
    let (mut most, mut sum, mut n, mut other) = (0.0f64, 0.0, 0, 0);
    for case in golden["cases"].as_array().unwrap() {
        let tokens = ids(&case["tokens"]);
        let seq = c.cache.create();
        // The first half fills the cache that the second half reads.
        let (first, second) = tokens.split_at(tokens.len() / 2);
        if !first.is_empty() {
            c.forward(&[Span { seq, tokens: first, adapter: None }]).unwrap();
        }
        c.forward(&[Span { seq, tokens: second, adapter: None }]).unwrap();
        for p in case["positions"].as_array().unwrap() {
            let Some(row) = (p["position"].as_u64().unwrap() as usize).checked_sub(first.len()) else { continue };
            let got = c.logits(&[row as u32]).unwrap();
            let want = p["logits"].as_array().unwrap();
            let off: f64 =
                want.iter().enumerate().map(|(i, w)| (w.as_f64().unwrap() - f64::from(got[i * stride])).abs()).sum();
            let share = off / want.len() as f64 / (p["max"].as_f64().unwrap() - p["min"].as_f64().unwrap());
            let best = got.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0 as u64;
            (most, sum, n) = (most.max(share), sum + share, n + 1);
            other += usize::from(best != p["argmax"].as_u64().unwrap());
        }
        c.cache.remove(seq);
    }
    println!("{}: mean |Δ| / range: most {most:.2e}, mean {:.2e} of {n}; {other} other", kv.name(), sum / n as f64);
    Some((most, sum / n as f64, other))
}

#[test]
fn a_cache_of_halves_is_as_good_as_one_of_floats() {
    let Some((most, _, other)) = distance(KvType::F16) else { return };
    // The bound of the cache of floats.
    assert!(most < 1e-3 && other == 0, "{most}, {other}");
}

/// A value is off by up to 1/254 of the largest of its 32, where a half is off by up to 1/4096 of itself: 24 times as
/// much on average for normally distributed values, and more where a few channels of the keys stand out, as here.
#[test]
fn a_cache_of_eight_bits_stays_close() {
    let (Some((_, halves, _)), Some((most, mean, other))) = (distance(KvType::F16), distance(KvType::Q8_0)) else {
        return;
    };
    assert!(mean < 64.0 * halves && most < 1e-2 && other == 0, "{most}, {mean} against {halves}, {other}");
}

/// Branches copy packed cells (of halves: the heads of these models are too narrow for eight bits); a batch of many tokens and one token at a time read the same ones.
#[test]
fn branches_of_packed_caches_say_the_same() {
    for name in ["qwen3", "gemma3", "llama"] {
        let model = Model::open(&tiny_file(name), &cpu()).unwrap();
        let tokens: Vec<u32> = (0..70).map(|i| i * 31 % model.config.vocab as u32).collect();
        let run = |kv: KvType| {
            let mut c = Context::new(&model, params(kv)).unwrap();
            let (whole, root) = (c.cache.create(), c.cache.create());
            let n = c.forward(&[Span { seq: whole, tokens: &tokens, adapter: None }]).unwrap();
            let want = c.logits(&[n as u32 - 1]).unwrap();
            c.forward(&[Span { seq: root, tokens: &tokens[..37], adapter: None }]).unwrap();
            let branch = c.cache.fork(root);
            for t in &tokens[37..] {
                c.forward(&[Span { seq: branch, tokens: std::slice::from_ref(t), adapter: None }]).unwrap();
            }
            (want, c.logits(&[0]).unwrap())
        };
        let gap = |a: &[f32], b: &[f32]| {
            let most = b.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            a.iter().zip(b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / most
        };
        let (exact, _) = run(KvType::F32);
        let (whole, branch) = run(KvType::F16);
        println!("{name}: {} to floats, {} to itself", gap(&whole, &exact), gap(&branch, &whole));
        // Both read the same halves, but what the second half adds was rounded from sums in another order.
        assert!(gap(&branch, &whole) < 2e-3 && gap(&whole, &exact) < 5e-3, "{name}");
        assert!(gap(&whole, &exact) > 0.0, "{name}: nothing was packed");
    }
}

#[test]
fn what_a_packed_cache_cannot_do_is_refused_by_name() {
    let model = Model::open(&tiny_file("llama"), &cpu()).unwrap();
    // Its heads are 12 wide.
    let error = Context::new(&model, params(KvType::Q8_0)).unwrap_err();
    assert!(matches!(&error, ModelError::Unsupported { what, .. } if what.contains("q8_0")), "{error}");
    let mut c = Context::new(&model, params(KvType::F16)).unwrap();
    let seq = c.cache.create();
    let error = c.forward_kept(&[Span { seq, tokens: &[1, 2], adapter: None }]).unwrap_err();
    assert!(error.to_string().contains("f32"), "{error}");
    assert_eq!((c.cache.len(seq), c.cache.free_tokens()), (0, 1024));
    assert!("f64".parse::<KvType>().unwrap_err().contains("q8_0"));
}

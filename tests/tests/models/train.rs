//! LoRA gradients and AdamW steps on the real model against JAX autograd and its optimizer.

use std::sync::Arc;

use serde_json::Value;
use unspoken::device::Device;
use unspoken::model::{Adapter, Context, ContextParams, Model, Span};
use unspoken::train::{AdamWParams, Group, Trainer, objective};
use unspoken_tests::{SMOLLM2, cpu, golden, golden_bytes, ids, model, uniform};

/// Every matrix of an adapter: (number in the golden, offset, length).
fn matrices(adapter: &Adapter) -> Vec<(usize, usize, usize)> {
    let rank = adapter.shape.rank;
    let mut out = Vec::new();
    for (i, (_, pair)) in adapter.shape.pairs().enumerate() {
        out.push((2 * i, pair.a, rank * pair.inp));
        out.push((2 * i + 1, pair.b, pair.out * rank));
    }
    out
}

fn golden_adapter(model: &Arc<Model>, golden: &Value) -> Adapter {
    let rank = golden["rank"].as_u64().unwrap() as usize;
    let adapter = Adapter::new(model, rank, golden["alpha"].as_f64().unwrap() as f32, 0).unwrap();
    let mut values = vec![0.0; adapter.shape.words];
    for (t, at, len) in matrices(&adapter) {
        for i in 0..len {
            values[at + i] = ((uniform(i as u64, t as u64) - 0.5) * 0.08) as f32;
        }
    }
    adapter.write(model.device(), &values).unwrap();
    adapter
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn check(device: &Device) {
    let Some(path) = model(SMOLLM2) else { return };
    let golden = golden("gradients.json");
    let model = Model::open(&path, device).unwrap();
    let adapter = golden_adapter(&model, &golden);
    let tokens = ids(&golden["tokens"]);
    let scored = golden["scored"].as_u64().unwrap() as usize;

    // The adapter acts on the logits as it does in the other implementation.
    let mut context = Context::new(&model, ContextParams { cache_tokens: 64, ..Default::default() }).unwrap();
    let seq = context.cache.create();
    context.forward(&[Span { seq, tokens: &tokens, adapter: Some(&adapter) }]).unwrap();
    let stride = golden["logits"]["stride"].as_u64().unwrap() as usize;
    for p in golden["logits"]["positions"].as_array().unwrap() {
        let got = context.logits(&[p["position"].as_u64().unwrap() as u32]).unwrap();
        let range = p["max"].as_f64().unwrap() - p["min"].as_f64().unwrap();
        let want = p["logits"].as_array().unwrap();
        let sum: f64 =
            want.iter().enumerate().map(|(i, w)| (w.as_f64().unwrap() - f64::from(got[i * stride])).abs()).sum();
        assert!(sum / want.len() as f64 / range < 1e-3);
    }

    let c = &golden["adamw"];
    let f = |key: &str| c[key].as_f64().unwrap() as f32;
    let optimizer = AdamWParams {
        lr: f("lr"),
        beta1: f("beta1"),
        beta2: f("beta2"),
        eps: f("eps"),
        weight_decay: f("weight_decay"),
        max_norm: f32::INFINITY,
    };
    context.cache.remove(seq);
    let mut last = |adapter: &Adapter, at_once: usize| {
        let seq = context.cache.create();
        for tokens in tokens[..12].chunks(at_once) {
            context.forward(&[Span { seq, tokens, adapter: Some(adapter) }]).unwrap();
        }
        let logits = context.logits(&[at_once as u32 - 1]).unwrap();
        context.cache.remove(seq);
        logits
    };
    let before = last(&adapter, 12);

    let mut trainer = Trainer::new(&model, adapter, optimizer, 64).unwrap();
    let (prompt, answer) = tokens.split_at(tokens.len() - scored);
    let group = Group { prompt, answers: vec![answer] };
    let losses = c["losses"].as_array().unwrap();
    let binary = golden_bytes(golden["bin"].as_str().and_then(|s| s.split(':').next()).unwrap());
    for (step, want) in losses.iter().enumerate() {
        let log_probs = trainer.log_probs(&group).unwrap().concat();
        let o = objective::sft(&log_probs);
        let want = want.as_f64().unwrap();
        println!("loss before step {step}: {} (golden {want})", o.loss);
        assert!((f64::from(o.loss) / want - 1.0).abs() < 1e-4, "step {step}: {} {want}", o.loss);
        if step + 1 == losses.len() {
            break;
        }
        trainer.backward(&o.grad).unwrap();
        if step == 0 {
            gradients(&trainer, &golden, &binary);
        }
        trainer.step().unwrap();
    }

    // What a step made of the adapter is what passes of few tokens read, too.
    let (many, few) = (last(&trainer.adapter, 12), last(&trainer.adapter, 2));
    let gap = |a: &[f32]| many.iter().zip(a).fold(0.0f32, |m, (x, y)| m.max((x - y).abs()));
    println!("training moved logits by {}, few tokens differ by {}", gap(&before), gap(&few));
    assert!(gap(&few) < 0.05 * gap(&before));
}

fn gradients(trainer: &Trainer, golden: &Value, binary: &[u8]) {
    let grads = trainer.gradients().unwrap();
    let matrices = matrices(&trainer.adapter);
    let (mut worst, mut full) = (1.0f64, 0);
    for t in golden["tensors"].as_array().unwrap() {
        let index = t["index"].as_u64().unwrap() as usize;
        let &(_, at, len) = matrices.iter().find(|m| m.0 == index).unwrap();
        let got = &grads[at..at + len];
        let norm = got.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let want = t["l2"].as_f64().unwrap();
        assert!((norm / want - 1.0).abs() < 1e-3, "{}: norm {norm}, golden {want}", t["name"]);
        let dot: f64 =
            got.iter().enumerate().map(|(i, g)| f64::from(*g) * (uniform(i as u64, index as u64 + 1000) - 0.5)).sum();
        assert!((dot - t["dot"].as_f64().unwrap()).abs() < 1e-3 * want * (len as f64 / 12.0).sqrt().max(1.0));
        if let Some(offset) = t["offset"].as_u64() {
            let bytes = &binary[offset as usize..][..4 * len];
            let want: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            worst = worst.min(cosine(got, &want));
            full += 1;
        }
    }
    println!("smallest cosine of {full} gradients: {worst}");
    assert!(full >= 42 && worst > 0.9999, "{worst}");
}

#[test]
fn gradients_and_steps_are_autograds() {
    check(&cpu());
}

#[test]
fn a_group_has_the_log_probs_and_gradients_of_its_members() {
    let Some(path) = model(SMOLLM2) else { return };
    let device = cpu();
    let model = Model::open(&path, &device).unwrap();
    let adapter = golden_adapter(&model, &golden("gradients.json"));
    let mut trainer = Trainer::new(&model, adapter, AdamWParams::default(), 64).unwrap();
    let tokens = ids(&golden("gradients.json")["tokens"]);
    let (prompt, a, b) = (&tokens[..12], &tokens[12..20], &tokens[20..31]);
    let together = trainer.log_probs(&Group { prompt, answers: vec![a, b] }).unwrap();
    let weights: Vec<f32> = (0..a.len() + b.len()).map(|i| (i as f32 * 0.7).sin()).collect();
    trainer.backward(&weights).unwrap();
    let joint = trainer.gradients().unwrap();
    trainer.optimizer.params.lr = 0.0;
    trainer.step().unwrap();
    for (answer, weights, joint_lp) in [(a, &weights[..a.len()], &together[0]), (b, &weights[a.len()..], &together[1])]
    {
        let alone = trainer.log_probs(&Group { prompt, answers: vec![answer] }).unwrap();
        assert!(alone[0].iter().zip(joint_lp).all(|(x, y)| (x - y).abs() < 1e-4));
        trainer.backward(weights).unwrap();
    }
    assert!(cosine(&joint, &trainer.gradients().unwrap()) > 0.99999);
}

#[test]
fn a_saved_adapter_comes_back_and_a_wrong_one_does_not() {
    let Some(path) = model(SMOLLM2) else { return };
    let device = cpu();
    let model = Model::open(&path, &device).unwrap();
    let folder = std::env::temp_dir().join(format!("unspoken-adapter-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("a.gguf");
    let adapter = golden_adapter(&model, &golden("gradients.json"));
    adapter.save(&model, &file).unwrap();
    let back = Adapter::load(&model, &file).unwrap();
    assert_eq!(back.read(&device).unwrap(), adapter.read(&device).unwrap());
    assert_eq!((back.alpha, back.shape.rank), (8.0, 4));
    // One that changes nothing, a truncated one, a model in place of an adapter.
    Adapter::new(&model, 4, 8.0, 1).unwrap().save(&model, &file).unwrap();
    assert!(Adapter::load(&model, &file).unwrap_err().to_string().contains("changes nothing"));
    adapter.save(&model, &file).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    assert!(Adapter::load(&model, &file).unwrap_err().to_string().contains("outside of the file"));
    assert!(Adapter::load(&model, &path).unwrap_err().to_string().contains("general.type"));
    std::fs::remove_dir_all(&folder).unwrap();
}

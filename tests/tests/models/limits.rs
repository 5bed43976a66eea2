//! Limits of devices, contexts and files on small models: what is too large or unknown is refused by name, before
//! anything is computed or changed; what is long or many works.

use std::sync::Arc;

use unspoken::device::{CpuDevice, Device, DeviceError, WgpuDevice, adapters};
use unspoken::gguf::{GgufError, GgufFile};
use unspoken::model::{Adapter, Context, ContextParams, Model, ModelError, Span};
use unspoken::text::{TextError, Tokenizer};
use unspoken_tests::{cpu, tiny_file};

fn params(tokens: usize) -> ContextParams {
    ContextParams { cache_tokens: tokens, max_sequence: tokens, block_size: 16, ..ContextParams::default() }
}

fn limited(words: usize) -> Device {
    Device::Cpu(Arc::new(CpuDevice::new(Some(2)).unwrap().with_max_buffer_words(words)))
}

/// Numbers below `vocab` without an order.
fn tokens(n: usize, vocab: usize) -> Vec<u32> {
    (0..n as u64).map(|i| (((i * 2_654_435_761) >> 7) % vocab as u64) as u32).collect()
}

fn logits(context: &mut Context, tokens: &[u32], adapter: Option<&Adapter>) -> Vec<f32> {
    let seq = context.cache.create();
    let n = context.forward(&[Span { seq, tokens, adapter }]).unwrap();
    let logits = context.logits(&[n as u32 - 1]).unwrap();
    context.cache.remove(seq);
    logits
}

/// The largest difference as a share of the largest value.
fn gap(got: &[f32], want: &[f32]) -> f32 {
    let most = want.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    got.iter().zip(want).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / most
}

/// Forward and backward through matrices that lie in many buffers.
fn split(device: &Device) {
    for name in ["llama3", "phi3", "qwen2"] {
        let run = |device: &Device| {
            let model = Model::open(&tiny_file(name), device).unwrap();
            let adapter = Adapter::load(&model, &tiny_file(&format!("{name}.lora"))).unwrap();
            let mut c = Context::new(&model, params(32)).unwrap();
            let tokens = tokens(16, model.config.vocab);
            let seq = c.cache.create();
            c.forward_kept(&[Span { seq, tokens: &tokens, adapter: Some(&adapter) }]).unwrap();
            let mut out = c.log_probs(&[13, 14], &tokens[14..]).unwrap();
            let grads = device.alloc(adapter.shape.words).unwrap();
            c.backward(&[1.0, -0.5], &grads).unwrap();
            out.extend(device.read_f32(&grads, 0..grads.len()).unwrap());
            out
        };
        let gap = gap(&run(device), &run(&cpu()));
        assert!(gap < 2e-5, "{name} on {}: {gap}", device.name());
    }
}

#[test]
fn matrices_over_a_binding_limit_are_split() {
    // The embedding of a vocabulary of 300 has 9600 words, gate and up 6144; activations of 16 tokens just fit.
    split(&limited(3100));
    for i in 0..adapters().len() {
        split(&Device::Gpu(Arc::new(WgpuDevice::open_adapter(i).unwrap().with_max_buffer_words(3100))));
    }
}

#[test]
fn a_buffer_over_the_limit_is_refused() {
    let device = limited(1000);
    assert!(matches!(device.alloc(1001), Err(DeviceError::TooLarge { bytes: 4004, limit: 4000 })));
    let model = Model::open(&tiny_file("llama"), &limited(4096)).unwrap();
    let error = Context::new(&model, params(1024)).unwrap_err();
    assert!(matches!(error, ModelError::Device(DeviceError::TooLarge { .. })), "{error}");
}

#[test]
fn a_batch_that_is_too_large_changes_nothing() {
    let device = limited(48 * 50);
    let model = Model::open(&tiny_file("llama"), &device).unwrap();
    let mut c = Context::new(&model, params(128)).unwrap();
    let tokens = tokens(100, model.config.vocab);
    let want = logits(&mut c, &tokens[..7], None);
    let seq = c.cache.create();
    c.forward(&[Span { seq, tokens: &tokens[..5], adapter: None }]).unwrap();
    let free = c.cache.free_tokens();
    let error = c.forward(&[Span { seq, tokens: &tokens[5..], adapter: None }]).unwrap_err();
    let ModelError::BatchTooLarge { tokens: 95, limit } = error else { panic!("{error}") };
    assert_eq!((c.cache.len(seq), c.cache.free_tokens()), (5, free));
    // What the error allows works, and one token more does not.
    let more = c.forward(&[Span { seq, tokens: &tokens[..limit + 1], adapter: None }]).unwrap_err();
    assert!(matches!(more, ModelError::BatchTooLarge { .. }));
    c.forward(&[Span { seq, tokens: &tokens[5..7], adapter: None }]).unwrap();
    assert!(gap(&c.logits(&[1]).unwrap(), &want) < 1e-4);
    let other = c.cache.create();
    c.forward(&[Span { seq: other, tokens: &tokens[..limit], adapter: None }]).unwrap();
}

#[test]
fn contexts_and_caches_have_an_end() {
    let model = Model::open(&tiny_file("llama"), &cpu()).unwrap();
    // The model's own limit is 1024, whatever is asked for.
    let mut c = Context::new(&model, params(4096)).unwrap();
    let tokens = tokens(1025, model.config.vocab);
    let (seq, adapter) = (c.cache.create(), None);
    let error = c.forward(&[Span { seq, tokens: &tokens, adapter }]).unwrap_err();
    assert!(matches!(error, ModelError::ContextFull { wanted: 1025, limit: 1024 }), "{error}");
    c.forward(&[Span { seq, tokens: &tokens[..1024], adapter }]).unwrap();
    let error = c.forward(&[Span { seq, tokens: &[1], adapter }]).unwrap_err();
    assert!(matches!(error, ModelError::ContextFull { .. }), "{error}");
    let mut c = Context::new(&model, params(64)).unwrap();
    let (a, b) = (c.cache.create(), c.cache.create());
    c.forward(&[Span { seq: a, tokens: &tokens[..40], adapter }]).unwrap();
    let error = c.forward(&[Span { seq: b, tokens: &tokens[..40], adapter }]).unwrap_err();
    assert!(matches!(error, ModelError::CacheFull { needed: 3, free: 1 }), "{error}");
    assert_eq!((c.cache.len(a), c.cache.len(b)), (40, 0));
}

#[test]
fn adapters_of_another_base_are_refused() {
    let device = cpu();
    let open = |name: &str| Model::open(&tiny_file(name), &device).unwrap();
    let (llama, linear, phi3) = (open("llama"), open("llama_linear"), open("phi3"));
    let adapter = Adapter::load(&llama, &tiny_file("llama.lora")).unwrap();
    let mut c = Context::new(&linear, params(64)).unwrap();
    let seq = c.cache.create();
    let error = c.forward(&[Span { seq, tokens: &[1, 2], adapter: Some(&adapter) }]).unwrap_err();
    assert!(error.to_string().contains("another base"), "{error}");
    assert_eq!((c.cache.len(seq), c.cache.free_tokens()), (0, 64));
    // Another architecture; the same with other shapes.
    let error = Adapter::load(&phi3, &tiny_file("llama.lora")).unwrap_err();
    assert!(error.to_string().contains("general.architecture"), "{error}");
    let error = Adapter::load(&open("q4_k"), &tiny_file("llama.lora")).unwrap_err();
    assert!(matches!(&error, ModelError::Adapter(m) if m.contains("expected")), "{error}");
}

/// A small model's file with some bytes written over by others of the same length.
fn patched(name: &str, from: &str, to: &str) -> GgufFile {
    let mut bytes = std::fs::read(tiny_file(name)).unwrap();
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> =
        bytes.windows(from.len()).enumerate().filter(|(_, w)| *w == from.as_bytes()).map(|(i, _)| i).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|i| bytes[i..i + to.len()].copy_from_slice(to.as_bytes()));
    GgufFile::from_bytes(bytes).unwrap()
}

/// A small model's file with another number of a metadata key that holds one of 32 bits.
fn with_u32(name: &str, key: &str, value: u32) -> GgufFile {
    let mut bytes = std::fs::read(tiny_file(name)).unwrap();
    let at = bytes.windows(key.len()).position(|w| w == key.as_bytes()).unwrap() + key.len();
    assert_eq!(bytes[at..at + 4], 4u32.to_le_bytes(), "the value is no 32-bit integer");
    bytes[at + 4..at + 8].copy_from_slice(&value.to_le_bytes());
    GgufFile::from_bytes(bytes).unwrap()
}

fn names(supported: &str, wanted: &[&str]) {
    assert!(wanted.iter().all(|w| supported.contains(w)), "{supported}");
}

#[test]
fn what_is_not_built_in_is_named_with_what_is() {
    let load = |file: &GgufFile| Model::load(file, &cpu()).unwrap_err();
    match load(&patched("qwen3", "qwen3", "qwen9")) {
        ModelError::UnknownArchitecture { found, supported } => {
            assert_eq!(found, "qwen9");
            names(&supported, &["llama", "mistral3", "qwen2", "qwen3", "gemma3", "phi3", "smollm3"]);
        }
        other => panic!("{other}"),
    }
    match load(&patched("qwen2", "yarn", "yurt")) {
        ModelError::Unsupported { what, found, supported } => {
            assert_eq!((what.as_str(), found.as_str()), ("qwen2.rope.scaling.type", "yurt"));
            names(&supported, &["none", "linear", "yarn", "longrope"]);
        }
        other => panic!("{other}"),
    }
    match Tokenizer::from_gguf(&patched("llama3", "llama-bpe", "llama-xyz")).unwrap_err() {
        TextError::Unsupported { key, found, supported } => {
            assert_eq!((key, found.as_str()), ("tokenizer.ggml.pre", "llama-xyz"));
            names(supported, &["tekken", "qwen2", "llama-bpe", "smollm", "gpt-2"]);
        }
        other => panic!("{other}"),
    }
    // A tensor more than the architecture has: an expert's router in place of a norm.
    let error = load(&patched("qwen2", "blk.1.ffn_norm", "blk.1.ffn_nerm"));
    assert!(matches!(error, ModelError::Config(_)), "{error}");
}

#[test]
fn weight_types_that_no_kernel_reads_are_named_with_those_that_are() {
    let mut bytes = std::fs::read(tiny_file("q8_0")).unwrap();
    let name = b"blk.0.attn_q.weight";
    let at = bytes.windows(name.len()).position(|w| w == name).unwrap() + name.len();
    // After the name: dimensions, two extents, type.
    let place = at + 4 + 16;
    let mut with_type = |id: u32| {
        bytes[place..place + 4].copy_from_slice(&id.to_le_bytes());
        GgufFile::from_bytes(bytes.clone())
    };
    // IQ1_S: ggml has it, the container is not read with it.
    match with_type(19).unwrap_err().root() {
        GgufError::UnsupportedTensorType { id: 19, supported, .. } => {
            assert!(supported.contains("Q4_K"), "{supported}")
        }
        other => panic!("{other}"),
    }
    // Integers: read, but no weights.
    let error = Model::load(&with_type(24).unwrap(), &cpu()).unwrap_err();
    let ModelError::UnsupportedType { found, supported, .. } = &error else { panic!("{error}") };
    assert!(found == "I8" && supported.contains("q4_k") && supported.contains("iq4_nl"), "{error}");
}

/// A context of thousands of tokens, beyond the original one of phi3 and many windows long.
#[test]
fn long_prompts_work_to_the_last_position() {
    const LEN: usize = 3000;
    for (name, arch) in [("llama", "llama"), ("phi3", "phi3"), ("gemma3", "gemma3"), ("mistral3", "mistral3")] {
        let file = with_u32(name, &format!("{arch}.context_length"), LEN as u32);
        let model = Model::load(&file, &cpu()).unwrap();
        let mut c = Context::new(&model, params(LEN)).unwrap();
        let tokens = tokens(LEN, model.config.vocab);
        let mut by_pieces = |len: usize| {
            let seq = c.cache.create();
            let mut last = 0;
            for piece in tokens.chunks(len) {
                last = c.forward(&[Span { seq, tokens: piece, adapter: None }]).unwrap() as u32 - 1;
            }
            let logits = c.logits(&[last]).unwrap();
            assert!(matches!(
                c.forward(&[Span { seq, tokens: &[1], adapter: None }]),
                Err(ModelError::ContextFull { wanted, limit: LEN }) if wanted == LEN + 1
            ));
            c.cache.remove(seq);
            logits
        };
        let gap = gap(&by_pieces(512), &by_pieces(1499));
        assert!(gap < 1e-4 && gap.is_finite(), "{name}: {gap}");
    }
}

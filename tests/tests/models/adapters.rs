//! Several adapters over one base: together in one batch, and in turn in one conversation.

use unspoken::generate::{Kept, Request, SampleParams, generate_kept};
use unspoken::gguf::GgufFile;
use unspoken::model::{Adapter, Context, ContextParams, Model, Span};
use unspoken::text::Tokenizer;
use unspoken_tests::{cpu, tiny_file};

fn params(tokens: usize) -> ContextParams {
    ContextParams { cache_tokens: tokens, max_sequence: tokens, block_size: 16, ..ContextParams::default() }
}

/// The file's adapter, and one that does the opposite.
fn two(model: &Model, name: &str) -> [Adapter; 2] {
    let a = Adapter::load(model, &tiny_file(&format!("{name}.lora"))).unwrap();
    let b = Adapter::load(model, &tiny_file(&format!("{name}.lora"))).unwrap();
    let mut values = b.read(&cpu()).unwrap();
    for (_, p) in b.shape.pairs() {
        values[p.b..p.b + p.out * b.shape.rank].iter_mut().for_each(|x| *x = -*x);
    }
    b.write(&cpu(), &values).unwrap();
    [a, b]
}

#[test]
fn each_sequence_of_a_batch_has_its_own_adapter() {
    for name in ["qwen3", "gemma3", "phi3"] {
        let model = Model::open(&tiny_file(name), &cpu()).unwrap();
        let [a, b] = two(&model, name);
        let adapters = [Some(&a), None, Some(&b), Some(&a)];
        let tokens: Vec<u32> = (0..44).map(|i| i * 13 % model.config.vocab as u32).collect();
        let parts: Vec<&[u32]> = tokens.chunks(11).collect();
        let mut c = Context::new(&model, params(128)).unwrap();
        let alone: Vec<Vec<f32>> = adapters
            .iter()
            .zip(&parts)
            .map(|(adapter, tokens)| {
                let seq = c.cache.create();
                c.forward(&[Span { seq, tokens, adapter: *adapter }]).unwrap();
                let logits = c.logits(&[10]).unwrap();
                c.cache.remove(seq);
                logits
            })
            .collect();
        let spans: Vec<Span<'_>> = adapters
            .iter()
            .zip(&parts)
            .map(|(adapter, tokens)| Span { seq: c.cache.create(), tokens, adapter: *adapter })
            .collect();
        c.forward(&spans).unwrap();
        let together = c.logits(&[10, 21, 32, 43]).unwrap();
        for (i, (got, want)) in together.chunks(model.config.vocab).zip(&alone).enumerate() {
            let most = want.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            let off = got.iter().zip(want).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(off < 1e-4 * most, "{name}, sequence {i}: {off} of {most}");
        }
        assert_ne!(alone[0], alone[3]);
    }
}

fn request<'a>(prompt: &'a [u32], adapter: Option<&'a Adapter>) -> Request<'a> {
    let sample = SampleParams { temperature: 0.0, ..SampleParams::default() };
    Request { adapter, sample, ..Request::new(prompt, 4) }
}

/// Tokens that a turn has to compute, seen by the room that it takes: the cache is too small for two conversations.
#[test]
fn switching_back_keeps_what_was_computed_under_an_adapter() {
    let file = GgufFile::open(&tiny_file("qwen3")).unwrap();
    let (model, tokenizer) = (Model::load(&file, &cpu()).unwrap(), Tokenizer::from_gguf(&file).unwrap());
    let [a, b] = two(&model, "qwen3");
    let prompt: Vec<u32> = (0..40).map(|i| i * 13 % 200).collect();
    let longer = [&prompt[..], &prompt[..8]].concat();
    let fresh = |adapter| {
        let mut c = Context::new(&model, params(64)).unwrap();
        let done = generate_kept(&mut c, &tokenizer, request(&longer, adapter), &mut Kept::default(), |_, _| true);
        done.unwrap().tokens
    };
    let want = [fresh(Some(&a)), fresh(Some(&b))];
    // Room for all of both, then for one only.
    for (room, other_stays) in [(128, true), (64, false)] {
        let (mut c, mut kept) = (Context::new(&model, params(room)).unwrap(), Kept::default());
        let mut turn = |c: &mut Context, prompt: &[u32], adapter| {
            generate_kept(c, &tokenizer, request(prompt, adapter), &mut kept, |_, _| true).unwrap().tokens
        };
        turn(&mut c, &prompt, Some(&a));
        let free = c.cache.free_tokens();
        turn(&mut c, &prompt, Some(&b));
        let both = c.cache.free_tokens();
        assert_eq!(both < free, other_stays, "{both} of {free} with room for {room}");
        assert_eq!(turn(&mut c, &longer, Some(&a)), want[0]);
        assert_eq!(turn(&mut c, &longer, Some(&b)), want[1]);
        kept.forget(&mut c);
        assert_eq!(c.cache.free_tokens(), room);
    }
}

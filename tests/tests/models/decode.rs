//! Decoding reuses what it recorded for the tokens before: that must never show.

use unspoken::device::Device;
use unspoken::model::{Adapter, Context, ContextParams, KvType, Model, SeqId, Span, Wanted};
use unspoken_tests::{cpu, gpus, tiny_file, uniform};

/// A sequence that lives in the context at hand.
struct Chat {
    seq: SeqId,
    tokens: Vec<u32>,
    adapted: bool,
}

/// Many decoding steps of one or two chats that come, branch and go, with other passes in between; each against
/// all its tokens in one pass of another context, which records nothing.
fn chats_on(device: &Device) {
    let model = Model::open(&tiny_file("qwen3"), device).unwrap();
    let adapter = Adapter::load(&model, &tiny_file("qwen3.lora")).unwrap();
    let params = ContextParams { cache_tokens: 256, max_sequence: 128, block_size: 8, kv: KvType::F32 };
    let vocab = model.config.vocab;
    let mut context = Context::new(&model, params).unwrap();
    let mut fresh = Context::new(&model, params).unwrap();
    let mut at = 0;
    let mut below = |n: usize| {
        at += 1;
        (uniform(at, 7) * n as f64) as usize
    };
    let mut chats: Vec<Chat> = Vec::new();
    for step in 0..120 {
        if chats.len() > 3 || (chats.len() > 1 && below(4) == 0) {
            let gone = chats.swap_remove(below(chats.len()));
            context.cache.remove(gone.seq);
        }
        match below(6) {
            0 => {
                let seq = context.cache.create();
                chats.push(Chat { seq, tokens: Vec::new(), adapted: below(2) == 1 });
            }
            1 if !chats.is_empty() => {
                let from = &chats[below(chats.len())];
                let seq = context.cache.fork(from.seq);
                chats.push(Chat { seq, tokens: from.tokens.clone(), adapted: from.adapted });
            }
            2 if !chats.is_empty() => {
                // Several tokens at once, whose logits or log-probabilities take scratch of their own.
                let n = 2 + below(5);
                let more: Vec<u32> = (0..n).map(|_| below(vocab) as u32).collect();
                let i = below(chats.len());
                let chat = &mut chats[i];
                let span = Span { seq: chat.seq, tokens: &more, adapter: chat.adapted.then_some(&adapter) };
                context.forward(&[span]).unwrap();
                chat.tokens.extend(&more);
                let rows: Vec<u32> = (0..n as u32).collect();
                match below(3) {
                    0 => drop(context.logits(&rows).unwrap()),
                    1 => drop(context.log_probs(&rows, &more).unwrap()),
                    _ => {}
                }
            }
            3 if !chats.is_empty() => {
                // What is refused changes nothing.
                let long = vec![0; 300];
                let span = Span { seq: chats[0].seq, tokens: &long, adapter: None };
                assert!(context.forward(&[span]).is_err());
            }
            _ => {}
        }
        if chats.is_empty() {
            continue;
        }
        // Any of them, for some steps.
        let first = below(chats.len());
        chats.rotate_left(first);
        let n = 1 + below(chats.len().min(2));
        for _ in 0..1 + below(3) {
            let next: Vec<u32> = (0..n).map(|_| below(vocab) as u32).collect();
            for (chat, token) in chats.iter_mut().zip(&next) {
                chat.tokens.push(*token);
            }
            let adapter_of = |chat: &Chat| chat.adapted.then_some(&adapter);
            let span =
                |(chat, tokens): (&Chat, _)| Span { seq: chat.seq, tokens, adapter: chat.adapted.then_some(&adapter) };
            let spans: Vec<Span<'_>> = chats.iter().zip(next.chunks(1)).map(span).collect();
            let rows: Vec<u32> = (0..n as u32).collect();
            let got = context.decode(&spans, Wanted { rows: &rows, draws: &[], logits: n }).unwrap().logits;
            for (chat, got) in chats.iter().zip(got.chunks_exact(vocab)) {
                let seq = fresh.cache.create();
                fresh.forward(&[Span { seq, tokens: &chat.tokens, adapter: adapter_of(chat) }]).unwrap();
                let want = fresh.logits(&[chat.tokens.len() as u32 - 1]).unwrap();
                fresh.cache.remove(seq);
                let worst = want.iter().zip(got).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                let size = want.iter().map(|x| x.abs()).fold(0.0, f32::max);
                // Adapters are read as halves where there are few tokens.
                let bound = if chat.adapted { 2e-3 } else { 1e-4 };
                assert!(worst <= bound * size, "{}, step {step}: {worst} of {size}", device.name());
            }
        }
        // Room for more.
        chats.retain(|chat| {
            let long = chat.tokens.len() > 40;
            if long {
                context.cache.remove(chat.seq);
            }
            !long
        });
    }
}

/// A branch copies the cells of the block that it goes on in once, and not again when others live where they came from.
fn branches_on(device: &Device) {
    let model = Model::open(&tiny_file("qwen3"), device).unwrap();
    let params = ContextParams { cache_tokens: 64, max_sequence: 32, block_size: 8, kv: KvType::F32 };
    let mut c = Context::new(&model, params).unwrap();
    let vocab = model.config.vocab as u32;
    let tokens: Vec<u32> = (0..12).map(|i| i * 5 % vocab).collect();
    let next = |c: &mut Context, seq: SeqId, token: u32| {
        let span = Span { seq, tokens: &[token], adapter: None };
        c.decode(&[span], Wanted { rows: &[0], draws: &[], logits: 1 }).unwrap().logits
    };
    let trunk = c.cache.create();
    c.forward(&[Span { seq: trunk, tokens: &tokens[..5], adapter: None }]).unwrap();
    let branch = c.cache.fork(trunk);
    next(&mut c, branch, tokens[5]);
    c.cache.remove(trunk);
    let other = c.cache.create();
    for token in [9, 8, 7, 6, 5, 4] {
        next(&mut c, other, token);
    }
    let got = next(&mut c, branch, tokens[6]);
    let mut fresh = Context::new(&model, params).unwrap();
    let seq = fresh.cache.create();
    fresh.forward(&[Span { seq, tokens: &tokens[..7], adapter: None }]).unwrap();
    let want = fresh.logits(&[6]).unwrap();
    let worst = want.iter().zip(&got).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4, "{}: {worst}", device.name());
}

#[test]
fn cells_are_copied_once() {
    branches_on(&cpu());
    gpus().iter().for_each(branches_on);
}

#[test]
fn what_was_recorded_never_shows() {
    chats_on(&cpu());
}

#[test]
fn what_was_recorded_never_shows_on_the_gpus() {
    gpus().iter().for_each(chats_on);
}

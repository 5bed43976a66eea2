//! The host's facade: streams, cancellation, memory of a conversation, threads, errors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use unspoken::device::DeviceChoice;
use unspoken::engine::{Chat, ChatParams, Engine, EngineParams, ReplyParams};
use unspoken::generate::{SampleParams, StopReason};
use unspoken::text::Message;
use unspoken::{Code, Error};
use unspoken_tests::{SMOLLM2, model, tiny_model};

fn engine() -> Engine {
    let params = EngineParams { device: DeviceChoice::Cpu, threads: Some(2), ..EngineParams::new(tiny_model()) };
    Engine::load(&params.with_critic(None)).unwrap()
}

fn chat(engine: &Engine) -> Chat {
    engine.chat(ChatParams { system: Some("Be brief.".into()), context_tokens: 512, ..Default::default() }).unwrap()
}

#[test]
fn three_ways_to_stream_say_the_same() {
    let e = engine();
    let params = ReplyParams::greedy(24);
    let waited = chat(&e).send("Hello", &params).unwrap();
    assert_eq!(waited.stop, StopReason::Length);
    assert_eq!(waited.tokens.len(), 24);
    let mut called = String::new();
    let by_call = chat(&e).send_with("Hello", &params, |piece| {
        called += piece;
        true
    });
    assert_eq!((by_call.unwrap().tokens, &called), (waited.tokens.clone(), &waited.text));
    let mut stream = chat(&e).stream("Hello", &params).unwrap();
    let pulled: String = stream.by_ref().map(Result::unwrap).collect();
    assert_eq!((stream.reply().unwrap().tokens, pulled), (waited.tokens, waited.text));
}

#[test]
fn a_conversation_goes_on_and_its_cache_changes_nothing() {
    let e = engine();
    let params = ReplyParams::greedy(8);
    let long = chat(&e);
    let replies: Vec<_> = ["one", "two", "three"].iter().map(|t| long.send(t, &params).unwrap()).collect();
    let said = long.messages();
    assert_eq!(said.len(), 6);
    assert_eq!(said[4], Message::user("three"));
    // The same last turn without anything kept.
    let fresh = chat(&e);
    fresh.set_messages(said[..4].to_vec());
    let again = fresh.send("three", &params).unwrap();
    assert_eq!((again.tokens, again.prompt_tokens), (replies[2].tokens.clone(), replies[2].prompt_tokens));
}

#[test]
fn old_messages_leave_and_what_never_fits_is_an_error() {
    let e = engine();
    let c = e.chat(ChatParams { context_tokens: 128, ..ChatParams::default() }).unwrap();
    let params = ReplyParams::greedy(16);
    let left_out: Vec<usize> = (0..5).map(|i| c.send(&format!("message {i}"), &params).unwrap().left_out).collect();
    assert_eq!(left_out[0], 0);
    assert!(left_out[4] > 0 && left_out[4].is_multiple_of(2), "{left_out:?}");
    let before = c.messages();
    let error = c.send(&"x".repeat(300), &params).unwrap_err();
    assert_eq!(error.code(), Code::ContextFull);
    assert!(matches!(error.context_full(), Some((wanted, 128)) if wanted > 300));
    assert_eq!(c.messages(), before, "an error changes nothing");
    assert!(c.send("and on", &params).is_ok());
}

#[test]
fn cancel_stops_from_another_thread() {
    let e = engine();
    let c = e.chat(ChatParams { context_tokens: 4096, ..ChatParams::default() }).unwrap();
    let params = ReplyParams { max_tokens: 3500, sample: SampleParams { seed: 3, ..Default::default() }, stop: vec![] };
    let whole = Instant::now();
    std::thread::scope(|s| {
        let call = s.spawn(|| c.send("Talk", &params).unwrap());
        std::thread::sleep(Duration::from_millis(60));
        c.cancel();
        let reply = call.join().unwrap();
        assert_eq!(reply.stop, StopReason::Cancelled);
        assert!(reply.tokens.len() < 3500);
    });
    assert!(whole.elapsed() < Duration::from_secs(20));
    // Stopped by its callback; stopped by dropping the stream, which nobody pulls; stopped while waiting in line.
    assert_eq!(c.send_with("Talk", &params, |_| false).unwrap().stop, StopReason::Cancelled);
    drop(c.stream("Talk", &params).unwrap());
    let stream = c.stream("Talk", &params).unwrap();
    assert!(stream.next_piece().unwrap().is_some());
    stream.cancel();
    assert_eq!(stream.reply().unwrap().stop, StopReason::Cancelled);
    assert!(c.send("Still there?", &ReplyParams::greedy(4)).is_ok());
}

#[test]
fn eight_threads_share_an_engine() {
    let e = engine();
    let params = ReplyParams::greedy(12);
    let alone = chat(&e).send("Hello", &params).unwrap().tokens;
    let shared = Arc::new(chat(&e));
    std::thread::scope(|s| {
        for i in 0..8 {
            let (e, params, alone, shared) = (&e, &params, &alone, shared.clone());
            s.spawn(move || {
                assert_eq!(&chat(e).send("Hello", params).unwrap().tokens, alone);
                shared.send(&format!("from {i}"), params).unwrap();
                assert!(!e.critic().unwrap().critique("quiet", "music?", "Step 1: loud").unwrap().steps.is_empty());
            });
        }
    });
    assert_eq!(shared.messages().len(), 16);
}

#[test]
fn a_panic_in_a_callback_is_an_error_and_the_chat_goes_on() {
    let e = engine();
    let c = chat(&e);
    let params = ReplyParams::greedy(4);
    let before = c.send("Hello", &params).unwrap();
    let error = c.send_with("Hello", &params, |_| panic!("in the host's code")).unwrap_err();
    assert!(matches!(&error, Error::Panicked(m) if m == "in the host's code"));
    assert_eq!(c.messages().len(), 2);
    c.set_messages(Vec::new());
    assert_eq!(c.send("Hello", &params).unwrap().tokens, before.tokens);
}

#[test]
fn what_makes_no_sense_is_named() {
    let e = engine();
    let c = chat(&e);
    let code = |p: ReplyParams| c.send("Hello", &p).unwrap_err().code();
    let sample = SampleParams::default();
    assert_eq!(code(ReplyParams { max_tokens: 0, ..Default::default() }), Code::InvalidArgument);
    for bad in [
        SampleParams { temperature: f32::NAN, ..sample },
        SampleParams { temperature: -1.0, ..sample },
        SampleParams { top_p: 0.0, ..sample },
        SampleParams { min_p: 1.0, ..sample },
    ] {
        assert_eq!(code(ReplyParams { sample: bad, ..Default::default() }), Code::InvalidArgument);
    }
    assert_eq!(code(ReplyParams { stop: vec![String::new()], ..Default::default() }), Code::InvalidArgument);
    let missing = Engine::load(&EngineParams::new("/nowhere/at/all.gguf")).unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    assert!(missing.to_string().contains("/nowhere/at/all.gguf"), "{missing}");
    let text = Engine::load(&EngineParams::new(file!().replace("tests/tests", "tests"))).unwrap_err();
    assert_eq!(text.code(), Code::NotGguf);
    let plain = EngineParams { device: DeviceChoice::Cpu, ..EngineParams::new(tiny_model()) };
    assert!(matches!(Engine::load(&plain).unwrap().critic(), Err(Error::NoCritic)));
    let adapter = ChatParams { adapter: Some(tiny_model()), ..ChatParams::default() };
    assert_eq!(e.chat(adapter).unwrap_err().code(), Code::Adapter);
}

#[test]
fn a_cancelled_critique_says_so() {
    let Some(path) = model(SMOLLM2) else { return };
    let params = EngineParams { device: DeviceChoice::Cpu, ..EngineParams::new(path) };
    let critic = Engine::load(&params.with_critic(None)).unwrap().critic().unwrap();
    std::thread::scope(|s| {
        let call = s.spawn(|| critic.critique("quiet places", "Where to?", "Step 1: a bar\nStep 2: a club"));
        std::thread::sleep(Duration::from_millis(150));
        critic.cancel();
        assert!(matches!(call.join().unwrap(), Err(Error::Cancelled)));
    });
    let read = critic.critique("quiet places", "Where to?", "A library.").unwrap();
    assert_eq!(read.steps.len(), 1);
    assert!(read.steps[0].score.is_some());
}

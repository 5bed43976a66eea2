//! The scenario of `tests/scenario.md` in Rust: `scenario MODEL STORE`.

use std::path::PathBuf;
use std::time::Duration;

use unspoken::Error;
use unspoken::align::{Control, Progress};
use unspoken::device::DeviceChoice;
use unspoken::engine::{AdaptationParams, ChatParams, Engine, EngineParams, ReplyParams};
use unspoken::generate::{SampleParams, StopReason};

fn ids(tokens: &[u32]) -> String {
    tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

fn main() -> Result<(), Error> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(model), Some(store)) = (args.next(), args.next()) else {
        return Err(Error::argument("arguments", "scenario MODEL STORE"));
    };
    let params = EngineParams {
        device: DeviceChoice::Cpu,
        threads: Some(2),
        store: Some(store),
        ..EngineParams::new(model).with_critic(None)
    };
    let greedy = ReplyParams::greedy(12);
    let adapted = {
        let engine = Engine::load(&params)?;
        let chat = engine.chat(ChatParams::default())?;
        let base = chat.send("Name three colours.", &greedy)?;
        println!("base: {}", ids(&base.tokens));

        chat.set_messages(Vec::new());
        let mut stream = chat.stream("Name three colours.", &greedy)?;
        let text = stream.by_ref().collect::<Result<String, Error>>()?;
        println!("stream: {}", text == base.text && stream.reply()?.tokens == base.tokens);

        let long = engine.chat(ChatParams::default())?;
        let sample = SampleParams::default();
        let params = ReplyParams { max_tokens: 1500, sample, stop: Vec::new() };
        let canceller = long.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            canceller.cancel();
        });
        let cancelled = long.send("Tell me a long story.", &params)?;
        assert!(thread.join().is_ok());
        println!("cancelled: {}", cancelled.stop == StopReason::Cancelled && cancelled.tokens.len() < 1500);

        let (query, response) = ("What should I do tonight?", "Step 1: Go to a big concert.");
        let critique = engine.critic()?.critique("I avoid crowds.", query, response)?;
        println!("critique: {} {:.4}", critique.steps.len(), critique.score.unwrap_or(f32::NAN));

        let profile = engine.profile("sam")?;
        profile.state("I avoid crowds and noise.")?;
        println!("preferences: {}", profile.preferences()?.len());
        let mut params = AdaptationParams {
            questions: vec!["What should I do tonight?".into(), "Where could we have dinner?".into()],
            ..AdaptationParams::default()
        };
        params.method.steps = 2;
        params.method.rank = 4;
        params.method.alpha = 8.0;
        params.method.optimizer.lr = 0.01;
        params.method.cdpa.group = 2;
        params.method.cdpa.max_tokens = 24;
        let job = profile.adaptation(params)?;
        let mut steps = 0;
        while job.step(&mut |_: &Progress| Control::Continue)?.is_some() {
            steps += 1;
        }
        println!("steps: {steps}");
        let outcome = job.conclude()?;
        println!("version: {} {}", outcome.version, outcome.committed);
        let chat = engine.chat(ChatParams { profile: Some(profile), ..ChatParams::default() })?;
        let adapted = chat.send("What should I do tonight?", &greedy)?.tokens;
        println!("adapted: {}", ids(&adapted));
        let sample = SampleParams { top_p: 0.0, ..SampleParams::default() };
        let bad = ReplyParams { sample, ..ReplyParams::default() };
        let error = engine.chat(ChatParams::default())?.send("x", &bad);
        println!("error: {}", error.err().map_or(0, |e| e.code() as i32));
        adapted
    };
    let engine = Engine::load(&params)?;
    let profile = engine.profile("sam")?;
    let chat = engine.chat(ChatParams { profile: Some(profile), ..ChatParams::default() })?;
    println!("reloaded: {}", chat.send("What should I do tonight?", &greedy)?.tokens == adapted);
    let base = engine.chat(ChatParams::default())?.send("Name three colours.", &greedy)?;
    println!("base_again: {}", ids(&base.tokens));
    engine.delete_user("sam")?;
    println!("users: {}", engine.users()?.len());
    Ok(())
}

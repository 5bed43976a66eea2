//! One simulated user, day by day: `example-personalize MODEL USER STORE [SECONDS [DAYS]]`.

use std::path::PathBuf;

use unspoken::Error;
use unspoken::align::{Control, Phase, Progress, User};
use unspoken::engine::{AdaptationParams, Chat, ChatParams, Engine, EngineParams, Profile, ReplyParams};
use unspoken::store::Verdict;

/// What is asked before and after, by somebody who does not want their location seen.
const QUESTION: &str = "I travel alone next week. How can my family know that I am safe without calling all the time?";

fn main() -> Result<(), Error> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(model), Some(user), Some(store)) = (args.next(), args.next(), args.next()) else {
        return Err(Error::argument("arguments", "example-personalize MODEL USER STORE [SECONDS [DAYS]]"));
    };
    let mut number = || args.next().and_then(|s| s.to_str()?.parse::<f64>().ok());
    let (seconds, days) = (number().unwrap_or(60.0), number().map(|d| d as usize));
    let user = User::read(&user)?;
    let engine = Engine::load(&EngineParams { store: Some(store), ..EngineParams::new(model) }.with_critic(None))?;
    let profile = engine.profile(&user.name)?;
    if profile.preferences()?.is_empty() {
        user.held_out.iter().try_for_each(|record| profile.hold_out(record))?;
    }
    let measure = |p: &Profile| p.evaluation()?.run(&user.held_out, true, |_, _| true);
    let before = (ask(&engine, &profile)?, measure(&profile)?);

    for (day, preference) in user.preferences.iter().enumerate().take(days.unwrap_or(usize::MAX)) {
        println!("\n== day {}: {} says {preference:?}", day + 1, user.name);
        profile.state(preference)?;
        let chat = engine.chat(ChatParams { profile: Some(profile.clone()), ..ChatParams::default() })?;
        for record in user.train.iter().filter(|r| r.preference == *preference).take(2) {
            live(&engine, &chat, &profile, preference, &record.question)?;
        }
        night(&profile, &user, day, seconds / user.preferences.len() as f64)?;
    }

    let after = (ask(&engine, &profile)?, measure(&profile)?);
    println!("\n== {QUESTION}\nbefore: {}\nafter:  {}", before.0, after.0);
    for (when, r) in [("before", before.1), ("after", after.1)] {
        let (low, high) = (100.0 * r.interval.low, 100.0 * r.interval.high);
        println!(
            "{when}: {} of {} held-out choices (95 %: {low:.0}–{high:.0} %), fitting share {:.4}",
            r.hits, r.n, r.fitting_share
        );
    }
    Ok(())
}

fn ask(engine: &Engine, profile: &Profile) -> Result<String, Error> {
    let chat = engine.chat(ChatParams { profile: Some(profile.clone()), ..ChatParams::default() })?;
    Ok(chat.send(QUESTION, &ReplyParams::greedy(160))?.answer.replace('\n', " "))
}

/// A question, a reply, a thumb.
fn live(engine: &Engine, chat: &Chat, profile: &Profile, preference: &str, question: &str) -> Result<(), Error> {
    let reply = chat.send(question, &ReplyParams::greedy(96))?;
    let read = engine.critic()?.critique(preference, question, &reply.text)?;
    let score = read.score.unwrap_or(0.0);
    println!(
        "{question}\n  {}\n  score {score:+.2}: thumb {}",
        reply.answer.replace('\n', " "),
        if score > 0.0 { "up" } else { "down" }
    );
    profile.feedback(reply.message, &Verdict::Rating { value: if score > 0.0 { 1.0 } else { -1.0 } })
}

/// What the device does while it charges.
fn night(profile: &Profile, user: &User, day: usize, seconds: f64) -> Result<(), Error> {
    let known: Vec<_> =
        user.train.iter().filter(|r| user.preferences[..=day].contains(&r.preference)).cloned().collect();
    let mut params = AdaptationParams { records: known, ..AdaptationParams::default() };
    params.method.steps = 6;
    params.method.cdpa.max_tokens = 96;
    params.method.seed = day as u64;
    params.budget.seconds = Some(seconds);
    let job = profile.adaptation(params)?;
    let end = job.run(&mut |p: &Progress| {
        if p.phase == Phase::StepDone {
            println!("  step {}: {:.0} s, {} tokens so far", p.step, p.spent.seconds(), p.spent.tokens());
        }
        Control::Continue
    })?;
    let outcome = job.conclude()?;
    println!(
        "  night {}: {end:?}; version {} {}",
        day + 1,
        outcome.version,
        if outcome.committed { "is new" } else { "stays" }
    );
    Ok(())
}

//! `unspoken profile`.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use unspoken::align::{Assistant, InferParams, Inferrer, Learned, Preference, Retriever, Scorer, Turn};
use unspoken::model::ContextParams;
use unspoken::store::{Store, UserStore};
use unspoken::text::Message;

use crate::args::Args;
use crate::args::profile::{self as asked, Action, Profile};
use crate::output::print;

pub fn run(args: &Args, a: &Profile) -> Result<()> {
    let key = a.key_file.as_deref().map(key).transpose()?;
    let store = Store::open(&a.store, key.as_ref()).with_context(|| a.store.display().to_string())?;
    match &a.action {
        Action::Forget { .. } => {
            let rewritten = store.delete_user(&a.user)?;
            return print(args.json, &json!({ "forgotten": a.user, "database_rewritten": rewritten }), || {
                format!("forgot {}", a.user)
            });
        }
        Action::Import { from } => {
            let user = store.import_user(from, Some(&a.user))?;
            return list(args, &user);
        }
        _ => {}
    }
    // Reading does not make a user.
    let user = match &a.action {
        Action::Add { .. } | Action::Infer(_) => store.user(&a.user)?,
        _ => store.find_user(&a.user)?.with_context(|| format!("there is no user {:?}", a.user))?,
    };
    match &a.action {
        Action::Add { text } => one(args, &user.state_preference(text)?),
        Action::List => list(args, &user),
        Action::Edit { id, text } => one(args, &user.edit_preference(*id, text)?),
        Action::Delete { id } => {
            user.delete_preference(*id)?;
            print(args.json, &json!({ "deleted": id }), || format!("deleted {id}"))
        }
        Action::Infer(i) => infer(args, i, &user),
        Action::Retrieve(r) => retrieve(args, r, &user),
        Action::Export { out } => {
            user.export(out)?;
            print(args.json, &json!({ "exported": out }), || {
                format!("{} holds everything, not encrypted", out.display())
            })
        }
        Action::Import { .. } | Action::Forget { .. } => Ok(()),
    }
}

/// 32 bytes, or as many as 64 hexadecimal digits say.
fn key(path: &Path) -> Result<[u8; 32]> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    if let Ok(key) = <[u8; 32]>::try_from(bytes.as_slice()) {
        return Ok(key);
    }
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
    if text.len() == 64 && text.is_ascii() {
        let digits = (0..32).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16));
        if let Ok(key) = digits.collect::<Result<Vec<u8>, _>>() {
            return <[u8; 32]>::try_from(key).map_err(|_| anyhow::anyhow!("a key has 32 bytes"));
        }
    }
    bail!("{}: a key has 32 bytes, or 64 hexadecimal digits", path.display())
}

fn line(p: &Preference) -> String {
    let source = format!("{:?}", p.source).to_lowercase();
    let quotes = p.evidence.iter().map(|e| format!("\n     message {}: {}", e.message, e.quote.replace('\n', " ")));
    format!("{:>3}  {}  ({source}, {:.2}){}", p.id, p.text, p.confidence, quotes.collect::<String>())
}

fn one(args: &Args, p: &Preference) -> Result<()> {
    print(args.json, &serde_json::to_value(p)?, || line(p))
}

fn list(args: &Args, user: &UserStore) -> Result<()> {
    let all = user.preferences()?;
    let value = json!({ "user": user.name(), "preferences": all });
    print(args.json, &value, || all.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn infer(args: &Args, a: &asked::Infer, user: &UserStore) -> Result<()> {
    let text = std::fs::read_to_string(&a.conversation).with_context(|| a.conversation.display().to_string())?;
    let messages: Vec<Message> = serde_json::from_str(&text).with_context(|| a.conversation.display().to_string())?;
    let device = super::device(args)?;
    let mut assistant = Assistant::open(&a.model, &device, ContextParams::default())?;
    let params = InferParams { min_confidence: a.min_confidence, seed: a.seed, ..InferParams::default() };
    let mut inferrer = Inferrer::new(&mut assistant, params)?;
    let turn = |(id, m): (i64, &Message)| Turn { id, role: m.role.clone(), content: m.content.clone() };
    if a.dry_run {
        let turns: Vec<Turn> = (1..).zip(&messages).map(turn).collect();
        let found = inferrer.conversation(&turns)?;
        return print(args.json, &json!({ "proposed": found }), || {
            let lines = found.iter().map(|f| format!("{:.2}  {}  <- {}", f.confidence, f.text, f.evidence[0].quote));
            lines.collect::<Vec<_>>().join("\n")
        });
    }
    // Concluded first, kept then: an error leaves no half conversation.
    let places: Vec<Turn> = (0..).zip(&messages).map(turn).collect();
    let mut found = inferrer.conversation(&places)?;
    let talk = user.begin_conversation()?;
    let ids: Vec<i64> =
        messages.iter().map(|m| user.add_message(talk, &m.role, &m.content)).collect::<Result<_, _>>()?;
    for e in found.iter_mut().flat_map(|f| &mut f.evidence) {
        e.message = usize::try_from(e.message).ok().and_then(|i| ids.get(i).copied()).unwrap_or(0);
    }
    let learned = user.learn_preferences(&found)?;
    print(args.json, &json!({ "conversation": talk, "learned": learned }), || {
        let tell = |(l, f): (&Learned, &unspoken::align::Inferred)| match l {
            Learned::Added(p) => format!("new   {}", line(p)),
            Learned::Merged(p) => format!("known {}", line(p)),
            Learned::Dismissed => format!("out   {} (thrown out before)", f.text),
        };
        if learned.is_empty() {
            "nothing".to_owned()
        } else {
            learned.iter().zip(&found).map(tell).collect::<Vec<_>>().join("\n")
        }
    })
}

fn retrieve(args: &Args, a: &asked::Retrieve, user: &UserStore) -> Result<()> {
    let profile = user.preferences()?;
    let texts: Vec<&str> = profile.iter().map(|p| p.text.as_str()).collect();
    let scorer = match (a.scorer, &a.model) {
        (Some(asked::Scorer::Lexical), _) | (None, None) => Scorer::Lexical,
        (Some(asked::Scorer::Lift), _) => Scorer::Lift,
        (Some(asked::Scorer::Hidden), _) => Scorer::Hidden,
        (Some(asked::Scorer::Combined), _) => Scorer::Combined,
        (None, Some(_)) => Scorer::default(),
    };
    let assistant = match &a.model {
        Some(path) if scorer != Scorer::Lexical => {
            let params = ContextParams { cache_tokens: 32, ..ContextParams::default() };
            Some(Assistant::open(path, &super::device(args)?, params)?)
        }
        _ => None,
    };
    let mut retriever = Retriever::new(scorer, assistant.as_ref(), &texts)?;
    let found = retriever.retrieve(assistant.as_ref(), &a.question, a.k)?;
    let hits: Vec<_> = found.iter().map(|f| json!({ "score": f.score, "preference": profile[f.index] })).collect();
    print(args.json, &json!({ "retrieved": hits }), || {
        let lines = found.iter().map(|f| format!("{:>7.3}  {}", f.score, profile[f.index].text));
        lines.collect::<Vec<_>>().join("\n")
    })
}

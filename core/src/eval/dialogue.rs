//! How an item becomes a conversation.

use serde::{Deserialize, Serialize};

use super::distractors::DISTRACTORS;
use super::{Item, Method};
use crate::align::{AlignError, STEPS};
use crate::text::Message;

/// How the model learns of the preference before it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// The system message states it, as the runtime does with a user's profile.
    Profile,
    /// The user says it in the first turn.
    Explicit,
    /// A conversation of several turns with a persona lets it show (PrefEval).
    Persona,
    /// A choice that the user made gives it away (PrefEval).
    Choice,
    /// It is not there: the control.
    Unsaid,
}

impl Form {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Explicit => "explicit",
            Self::Persona => "persona",
            Self::Choice => "choice",
            Self::Unsaid => "unsaid",
        }
    }
}

/// Turns on other subjects that there are to put between the preference and the question.
pub const MAX_TURNS: usize = DISTRACTORS.len();

/// What the assistant says when a preference was told to it.
const ACKNOWLEDGED: &str = "Thanks for telling me. I will keep it in mind.";

/// The conversation up to and with the question, which `task` follows in the same message where it is not empty.
///
/// # Errors
/// A form that the item has no conversation for; a reminder of an unsaid preference; more turns than there are.
pub(super) fn dialogue(
    item: &Item,
    form: Form,
    method: Method,
    turns: usize,
    task: &str,
) -> Result<Vec<Message>, AlignError> {
    if turns > MAX_TURNS {
        return Err(AlignError::Params(format!("{turns} turns on other subjects, there are {MAX_TURNS}")));
    }
    let profile = format!("The user's preferences: {}", item.preference);
    let mut messages = match (form, method) {
        (Form::Profile, Method::Cot) => vec![Message::system(format!("{profile}\n{STEPS}"))],
        (Form::Profile, _) => vec![Message::system(profile)],
        (_, Method::Cot) => vec![Message::system(STEPS)],
        _ => Vec::new(),
    };
    let missing = |what| AlignError::Params(format!("item {} has no {what} conversation", item.id));
    match form {
        Form::Profile | Form::Unsaid => {}
        Form::Explicit => messages.extend([Message::user(&item.preference), Message::assistant(ACKNOWLEDGED)]),
        Form::Persona => messages.extend_from_slice(item.persona.as_ref().ok_or_else(|| missing("persona"))?),
        Form::Choice => messages.extend_from_slice(item.choice.as_ref().ok_or_else(|| missing("choice"))?),
    }
    for (user, assistant) in &DISTRACTORS[..turns] {
        messages.extend([Message::user(*user), Message::assistant(*assistant)]);
    }
    let mut ask = item.question.clone();
    if method == Method::Reminder {
        if form == Form::Unsaid {
            return Err(AlignError::Params("a reminder repeats the preference, which the form leaves unsaid".into()));
        }
        ask += &format!("\n\nRemember what I told you about myself: {}", item.preference);
    }
    if !task.is_empty() {
        ask += &format!("\n\n{task}");
    }
    messages.push(Message::user(ask));
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align::{policy_messages, reply_messages};
    use crate::eval::item::example;

    fn roles(m: &[Message]) -> String {
        m.iter().map(|m| &m.role[..1]).collect()
    }

    #[test]
    fn forms_tell_the_preference_where_they_should() {
        let mut item = example("x");
        item.persona = Some(vec![Message::user("I'm a night nurse."), Message::assistant("Noted.")]);
        let p = item.preference.clone();
        let says = |m: &[Message]| m.iter().filter(|m| m.content.contains(&p)).count();
        let of = |form, method, turns| dialogue(&item, form, method, turns, "").unwrap();
        let m = of(Form::Explicit, Method::ZeroShot, 0);
        assert_eq!((roles(&m).as_str(), says(&m)), ("uau", 1));
        let m = of(Form::Profile, Method::ZeroShot, 2);
        assert_eq!((roles(&m).as_str(), says(&m)), ("suauau", 1));
        assert_eq!(m.last().unwrap().content, item.question);
        assert_eq!(says(&of(Form::Unsaid, Method::ZeroShot, 0)), 0);
        assert_eq!(says(&of(Form::Persona, Method::ZeroShot, 0)), 0);
        let m = of(Form::Persona, Method::Reminder, 0);
        assert!(m[2].content.starts_with(&item.question) && m[2].content.ends_with(&p));
        assert!(dialogue(&item, Form::Choice, Method::ZeroShot, 0, "").is_err());
        assert!(dialogue(&item, Form::Unsaid, Method::Reminder, 0, "").is_err());
        assert!(dialogue(&item, Form::Unsaid, Method::ZeroShot, MAX_TURNS + 1, "").is_err());
    }

    #[test]
    fn a_profile_is_asked_as_the_policy_is_trained() {
        let item = example("x");
        let m = dialogue(&item, Form::Profile, Method::Cot, 0, "").unwrap();
        assert_eq!(m, policy_messages(&item.preference, &item.question));
        let m = dialogue(&item, Form::Profile, Method::ZeroShot, 0, "").unwrap();
        assert_eq!(m, reply_messages(&item.preference, &item.question));
    }
}

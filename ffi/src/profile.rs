//! Users.

use std::ffi::c_char;
use std::path::Path;
use std::sync::Arc;

use unspoken::Code;
use unspoken::align::Record;
use unspoken::engine::Profile;
use unspoken::store::Verdict;

use crate::engine::{self, free, unspoken_engine};
use crate::handles;
use crate::status::{Failure, call, value};
use crate::text::{Text, optional, put, text};

/// A user: what they prefer, what they said, the adapter that fits them.
pub struct unspoken_profile {
    _private: [u8; 0],
}

/// Texts in a row: names of users, preferences.
pub struct unspoken_texts {
    _private: [u8; 0],
}

struct ProfileObject {
    profile: Profile,
    name: Text,
}

/// Numbers and texts.
type Texts = Vec<(i64, Text)>;

/// Gives the user of this name, who is new where there is none yet, to `*out`.
///
/// # Safety
/// Pointers are null or valid; text ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_profile_open(
    engine: *const unspoken_engine,
    name: *const c_char,
    out: *mut *mut unspoken_profile,
) -> Code {
    call(|| {
        let engine = engine::object(engine)?;
        // SAFETY: the host's promise.
        let name = unsafe { text("name", name) }?;
        // SAFETY: the host's promise.
        unsafe { put("out", out, || insert(engine.engine.profile(name)?)) }
    })
}

/// Takes in what `unspoken_profile_export` wrote, under another name where `name` is not null.
///
/// # Safety
/// As `unspoken_profile_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_profile_import(
    engine: *const unspoken_engine,
    folder: *const c_char,
    name: *const c_char,
    out: *mut *mut unspoken_profile,
) -> Code {
    call(|| {
        let engine = engine::object(engine)?;
        // SAFETY: the host's promise.
        let (folder, name) = unsafe { (text("folder", folder)?, optional("name", name)?) };
        // SAFETY: the host's promise.
        unsafe { put("out", out, || insert(engine.engine.import_user(Path::new(folder), name)?)) }
    })
}

/// Gives the handle back; the user stays. Null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_profile_free(profile: *mut unspoken_profile) -> Code {
    free::<_, ProfileObject>(profile)
}

/// The user's name. Valid while the handle is; null for a bad one.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_profile_name(profile: *const unspoken_profile) -> *const c_char {
    value(std::ptr::null(), || Ok(object(profile)?.name.as_ptr()))
}

/// Gives the names of all users to `*out`.
///
/// # Safety
/// `out` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_engine_users(engine: *const unspoken_engine, out: *mut *mut unspoken_texts) -> Code {
    call(|| {
        let users = engine::object(engine)?.engine.users()?;
        let texts: Texts = users.iter().enumerate().map(|(i, u)| (i as i64, Text::new(u))).collect();
        // SAFETY: the host's promise.
        unsafe { put("out", out, || handles::insert(texts)) }
    })
}

/// Forgets a user: profile, conversations, adapters, jobs.
///
/// # Safety
/// As `unspoken_profile_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_engine_delete_user(engine: *const unspoken_engine, name: *const c_char) -> Code {
    call(|| {
        let engine = engine::object(engine)?;
        // SAFETY: the host's promise.
        Ok(engine.engine.delete_user(unsafe { text("name", name) }?)?)
    })
}

/// Gives the user's preferences, with their numbers, to `*out`.
///
/// # Safety
/// `out` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_profile_preferences(
    profile: *const unspoken_profile,
    out: *mut *mut unspoken_texts,
) -> Code {
    call(|| {
        let preferences = object(profile)?.profile.preferences()?;
        let texts: Texts = preferences.iter().map(|p| (p.id, Text::new(&p.text))).collect();
        // SAFETY: the host's promise.
        unsafe { put("out", out, || handles::insert(texts)) }
    })
}

/// Keeps a preference that the user stated, a sentence in their voice, and gives its number to `*id` where that is
/// not null.
///
/// # Safety
/// As `unspoken_profile_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_profile_state(
    profile: *const unspoken_profile,
    text: *const c_char,
    id: *mut i64,
) -> Code {
    call(|| {
        let profile = object(profile)?;
        // SAFETY: the host's promise.
        let kept = profile.profile.state(unsafe { self::text("text", text) }?)?;
        if id.is_null() {
            return Ok(());
        }
        // SAFETY: the host's promise.
        unsafe { put("id", id, || Ok(kept.id)) }
    })
}

/// Corrects a preference; it is a stated one then.
///
/// # Safety
/// As `unspoken_profile_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_profile_edit(profile: *const unspoken_profile, id: i64, text: *const c_char) -> Code {
    call(|| {
        let profile = object(profile)?;
        // SAFETY: the host's promise.
        profile.profile.edit(id, unsafe { self::text("text", text) }?)?;
        Ok(())
    })
}

/// Throws a preference out; inference does not bring it back.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_profile_remove(profile: *const unspoken_profile, id: i64) -> Code {
    call(|| Ok(object(profile)?.profile.remove(id)?))
}

/// Concludes preferences from a conversation (`unspoken_chat_conversation`), keeps what is new, and gives it to `*out`
/// where that is not null. Takes seconds.
///
/// # Safety
/// `out` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_profile_learn(
    profile: *const unspoken_profile,
    conversation: i64,
    out: *mut *mut unspoken_texts,
) -> Code {
    call(|| {
        let learned = object(profile)?.profile.learn(conversation)?;
        if out.is_null() {
            return Ok(());
        }
        let texts: Texts = learned.iter().map(|p| (p.id, Text::new(&p.text))).collect();
        // SAFETY: the host's promise.
        unsafe { put("out", out, || handles::insert(texts)) }
    })
}

/// Stops what has begun on this handle and can be stopped, from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_profile_cancel(profile: *const unspoken_profile) -> Code {
    call(|| {
        object(profile)?.profile.cancel();
        Ok(())
    })
}

/// Keeps a rating from −1 to 1 of a reply (`unspoken_reply_message`).
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_profile_rate(profile: *const unspoken_profile, message: i64, rating: f32) -> Code {
    call(|| Ok(object(profile)?.profile.feedback(Some(message), &Verdict::Rating { value: rating })?))
}

/// Keeps what a reply should have been.
///
/// # Safety
/// As `unspoken_profile_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_profile_correct(
    profile: *const unspoken_profile,
    message: i64,
    text: *const c_char,
) -> Code {
    call(|| {
        let profile = object(profile)?;
        // SAFETY: the host's promise.
        let text = unsafe { self::text("text", text) }?.to_owned();
        Ok(profile.profile.feedback(Some(message), &Verdict::Correction { text })?)
    })
}

/// Keeps a record (JSON, a line of a DeepPref file) that is only measured on: an adaptation that makes it worse is
/// taken back.
///
/// # Safety
/// As `unspoken_profile_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_profile_hold_out(profile: *const unspoken_profile, record: *const c_char) -> Code {
    call(|| {
        let profile = object(profile)?;
        // SAFETY: the host's promise.
        let record: Record = serde_json::from_str(unsafe { text("record", record) }?)
            .map_err(|e| Failure::new(Code::Data, format!("record: {e}")))?;
        Ok(profile.profile.hold_out(&record)?)
    })
}

/// The adapter's version in use, 0 for the base model; −1 for a failure.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_profile_version(profile: *const unspoken_profile) -> i64 {
    value(-1, || Ok(object(profile)?.profile.version()?))
}

/// Uses another version from the next reply on; 0 for the base model.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_profile_use_version(profile: *const unspoken_profile, number: i64) -> Code {
    call(|| Ok(object(profile)?.profile.use_version(number)?))
}

/// Goes back to the version before.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_profile_roll_back(profile: *const unspoken_profile) -> Code {
    call(|| {
        object(profile)?.profile.roll_back()?;
        Ok(())
    })
}

/// Writes everything that is kept of the user into a folder, unencrypted, for them to take away.
///
/// # Safety
/// As `unspoken_profile_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_profile_export(profile: *const unspoken_profile, folder: *const c_char) -> Code {
    call(|| {
        let profile = object(profile)?;
        // SAFETY: the host's promise.
        Ok(profile.profile.export(Path::new(unsafe { text("folder", folder) }?))?)
    })
}

/// How many texts; 0 for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_texts_count(texts: *const unspoken_texts) -> usize {
    value(0, || Ok(list(texts)?.len()))
}

/// A text, from 0 on; null for a bad handle or a number that is too high. Valid while `texts` is.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_texts_get(texts: *const unspoken_texts, index: usize) -> *const c_char {
    value(std::ptr::null(), || Ok(entry(list(texts)?.as_slice(), index)?.1.as_ptr()))
}

/// The number that a text has in the store; −1 for a bad handle or an index that is too high.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_texts_id(texts: *const unspoken_texts, index: usize) -> i64 {
    value(-1, || Ok(entry(list(texts)?.as_slice(), index)?.0))
}

/// Gives texts back. Null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_texts_free(texts: *mut unspoken_texts) -> Code {
    free::<_, Texts>(texts)
}

fn insert(profile: Profile) -> Result<*mut unspoken_profile, Failure> {
    handles::insert(ProfileObject { name: Text::new(profile.name()), profile })
}

fn object(profile: *const unspoken_profile) -> Result<Arc<ProfileObject>, Failure> {
    handles::get(profile)
}

/// The user of a handle.
pub(crate) fn profile(profile: *const unspoken_profile) -> Result<Profile, Failure> {
    object(profile).map(|o| o.profile.clone())
}

fn list(texts: *const unspoken_texts) -> Result<Arc<Texts>, Failure> {
    handles::get(texts)
}

fn entry(texts: &[(i64, Text)], index: usize) -> Result<&(i64, Text), Failure> {
    texts.get(index).ok_or_else(|| Failure::argument(format!("no text {index}")))
}

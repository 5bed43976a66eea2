//! Critiques.

use std::ffi::c_char;
use std::sync::Arc;

use unspoken::Code;
use unspoken::align::Critique;
use unspoken::engine::Critic;

use crate::engine::{self, free, unspoken_engine};
use crate::handles;
use crate::status::{Failure, call, value};
use crate::text::{Text, put, text};

/// Reads answers for a user. All critics of an engine take turns.
pub struct unspoken_critic {
    _private: [u8; 0],
}

/// What the critic says of a response.
pub struct unspoken_critique {
    _private: [u8; 0],
}

struct CritiqueObject {
    critique: Critique,
    /// Step and critique.
    texts: Vec<[Text; 2]>,
}

/// What the critic says of one step.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct unspoken_step_critique {
    /// The step.
    pub step: *const c_char,
    /// The critique.
    pub critique: *const c_char,
    /// Its score from −1 to 1; not a number where the critique failed.
    pub score: f32,
    /// Other than 0 where it failed.
    pub failed: i32,
}

/// Gives a handle on the engine's critic to `*out`.
///
/// # Safety
/// `out` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_critic_create(
    engine: *const unspoken_engine,
    out: *mut *mut unspoken_critic,
) -> Code {
    call(|| {
        let engine = engine::object(engine)?;
        // SAFETY: the host's promise.
        unsafe { put("out", out, || handles::insert(engine.engine.critic()?)) }
    })
}

/// Critiques each step of `response` ("Step 1: …", or all of it as one step) into `*out`.
///
/// # Safety
/// Pointers are null or valid; text ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_critic_critique(
    critic: *const unspoken_critic,
    preference: *const c_char,
    query: *const c_char,
    response: *const c_char,
    out: *mut *mut unspoken_critique,
) -> Code {
    call(|| {
        let critic: Arc<Critic> = handles::get(critic)?;
        // SAFETY: the host's promise.
        let (preference, query, response) =
            unsafe { (text("preference", preference)?, text("query", query)?, text("response", response)?) };
        // SAFETY: the host's promise.
        unsafe {
            put("out", out, || {
                let critique = critic.critique(preference, query, response)?;
                let texts = critique.steps.iter().map(|s| [Text::new(&s.text), Text::new(&s.critique)]).collect();
                handles::insert(CritiqueObject { critique, texts })
            })
        }
    })
}

/// Stops the critiques that have begun on this handle, from any thread; their calls return
/// `UNSPOKEN_CODE_CANCELLED`.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_critic_cancel(critic: *const unspoken_critic) -> Code {
    call(|| {
        handles::get::<_, Critic>(critic)?.cancel();
        Ok(())
    })
}

/// Gives a critic's handle back. Null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_critic_free(critic: *mut unspoken_critic) -> Code {
    free::<_, Critic>(critic)
}

/// The mean score of a critique's steps from −1 to 1; not a number where all failed or for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_critique_score(critique: *const unspoken_critique) -> f32 {
    value(f32::NAN, || Ok(object(critique)?.critique.score.unwrap_or(f32::NAN)))
}

/// How many steps a critique has; 0 for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_critique_count(critique: *const unspoken_critique) -> usize {
    value(0, || Ok(object(critique)?.texts.len()))
}

/// A step of a critique, from 0 on; nulls for a bad handle or a number that is too high. Valid while the critique
/// is.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_critique_step(critique: *const unspoken_critique, index: usize) -> unspoken_step_critique {
    let null =
        unspoken_step_critique { step: std::ptr::null(), critique: std::ptr::null(), score: f32::NAN, failed: 1 };
    value(null, || {
        let c = object(critique)?;
        let (Some([step, critique]), Some(read)) = (c.texts.get(index), c.critique.steps.get(index)) else {
            return Err(Failure::argument(format!("no step {index}")));
        };
        Ok(unspoken_step_critique {
            step: step.as_ptr(),
            critique: critique.as_ptr(),
            score: read.score.unwrap_or(f32::NAN),
            failed: read.failed.into(),
        })
    })
}

/// Gives a critique back. Null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_critique_free(critique: *mut unspoken_critique) -> Code {
    free::<_, CritiqueObject>(critique)
}

fn object(critique: *const unspoken_critique) -> Result<Arc<CritiqueObject>, Failure> {
    handles::get(critique)
}

//! Measuring.

use std::ffi::{c_char, c_void};
use std::path::Path;
use std::sync::Arc;

use unspoken::Code;
use unspoken::engine::Evaluation;

use crate::engine::{self, free, unspoken_engine};
use crate::handles;
use crate::profile::{self, unspoken_profile};
use crate::status::call;
use crate::text::{path, put, text};

/// Choice accuracy on records: of four answers, is the one that fits the likeliest?
pub struct unspoken_evaluation {
    _private: [u8; 0],
}

/// How many choices were right.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct unspoken_evaluation_report {
    /// Records.
    pub n: usize,
    /// Right choices.
    pub hits: usize,
    /// The lower end of the 95 % interval of their share.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Mean probability of the right choice: moves where the accuracy does not yet.
    pub fitting_share: f64,
}

/// Is told how many records of how many are measured; returns other than 0 to go on.
pub type unspoken_evaluation_callback =
    Option<unsafe extern "C" fn(done: usize, all: usize, user_data: *mut c_void) -> i32>;

/// An evaluation of the policy into `*out`, with a LoRA adapter (GGUF) where `adapter` is not null.
///
/// # Safety
/// Pointers are null or valid; text ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_evaluation_create(
    engine: *const unspoken_engine,
    adapter: *const c_char,
    out: *mut *mut unspoken_evaluation,
) -> Code {
    call(|| {
        let engine = engine::object(engine)?;
        // SAFETY: the host's promise.
        let adapter = unsafe { path("adapter", adapter) }?;
        // SAFETY: the host's promise.
        unsafe { put("out", out, || handles::insert(engine.engine.evaluation(adapter.as_deref())?)) }
    })
}

/// An evaluation with the version of the adapter that a user has now, into `*out`.
///
/// # Safety
/// `out` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_evaluation_of_profile(
    profile: *const unspoken_profile,
    out: *mut *mut unspoken_evaluation,
) -> Code {
    call(|| {
        let profile = profile::profile(profile)?;
        // SAFETY: the host's promise.
        unsafe { put("out", out, || handles::insert(profile.evaluation()?)) }
    })
}

/// Measures a file of records (JSON lines), with the preference in the prompt where `with_preference` is not 0.
/// `on_progress` may be null.
///
/// # Safety
/// Pointers are null or valid; text ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_evaluation_run(
    evaluation: *const unspoken_evaluation,
    records: *const c_char,
    with_preference: i32,
    on_progress: unspoken_evaluation_callback,
    user_data: *mut c_void,
    out: *mut unspoken_evaluation_report,
) -> Code {
    call(|| {
        let evaluation: Arc<Evaluation> = handles::get(evaluation)?;
        // SAFETY: the host's promise.
        let records = unsafe { text("records", records) }?;
        let report = || {
            let r = evaluation.run_file(Path::new(records), with_preference != 0, |done, all| match on_progress {
                // SAFETY: the host's function.
                Some(f) => unsafe { f(done, all, user_data) != 0 },
                None => true,
            })?;
            Ok(unspoken_evaluation_report {
                n: r.n,
                hits: r.hits,
                low: r.interval.low,
                high: r.interval.high,
                fitting_share: r.fitting_share,
            })
        };
        // SAFETY: the host's promise.
        unsafe { put("out", out, report) }
    })
}

/// Stops the calls that have begun, from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_evaluation_cancel(evaluation: *const unspoken_evaluation) -> Code {
    call(|| {
        handles::get::<_, Evaluation>(evaluation)?.cancel();
        Ok(())
    })
}

/// Gives an evaluation back. Null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_evaluation_free(evaluation: *mut unspoken_evaluation) -> Code {
    free::<_, Evaluation>(evaluation)
}

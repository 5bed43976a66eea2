//! The engine.

use std::ffi::c_char;

use unspoken::align::Reader;
use unspoken::device::DeviceChoice;
use unspoken::engine::{CriticSource, Engine, EngineParams, StoreKey};

use crate::handles;
use crate::status::{Failure, call, value};
use crate::text::{Text, params, path, put, text};
use unspoken::Code;

/// Weights on a device. Heavy; share it.
pub struct unspoken_engine {
    _private: [u8; 0],
}

pub(crate) struct EngineObject {
    pub engine: Engine,
    device: Text,
}

/// Where an engine runs.
#[repr(i32)]
pub enum unspoken_device {
    /// A real GPU where there is one, else the CPU.
    Auto = 0,
    /// The CPU.
    Cpu = 1,
    /// A GPU, software ones included; an error where there is none.
    Gpu = 2,
}

/// How a critic's scores are read off.
#[repr(i32)]
pub enum unspoken_reader {
    /// The number that it writes.
    Stated = 0,
    /// The probabilities of its verdict, after its critique.
    Verdict = 1,
    /// The same, asked for before a word of critique: for critics that learned replies.
    AtOnce = 2,
}

/// What an engine is loaded with. Begin with `unspoken_engine_default_params`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct unspoken_engine_params {
    /// Bytes of this struct.
    pub size: usize,
    /// The policy's model file (GGUF).
    pub policy: *const c_char,
    /// Other than 0 to load a critic.
    pub with_critic: i32,
    /// The critic's model file (GGUF); null for the policy's weights, which are then in memory once.
    pub critic: *const c_char,
    /// The critic's LoRA adapter (GGUF), or null.
    pub critic_adapter: *const c_char,
    /// An `unspoken_device`.
    pub device: i32,
    /// CPU threads; 0 for as many as there are fast cores.
    pub threads: u32,
    /// The folder where users are kept, or null. Nothing is written elsewhere.
    pub store: *const c_char,
    /// 32 bytes that encrypt what is personal in there, or null; the library keeps them in memory only.
    pub store_key: *const u8,
    /// An `unspoken_reader`.
    pub critic_reader: i32,
}

/// The best device, no critic.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_engine_default_params() -> unspoken_engine_params {
    unspoken_engine_params {
        size: size_of::<unspoken_engine_params>(),
        policy: std::ptr::null(),
        with_critic: 0,
        critic: std::ptr::null(),
        critic_adapter: std::ptr::null(),
        device: unspoken_device::Auto as i32,
        threads: 0,
        store: std::ptr::null(),
        store_key: std::ptr::null(),
        critic_reader: unspoken_reader::Verdict as i32,
    }
}

/// Loads an engine into `*out`.
///
/// # Safety
/// Pointers are null or valid; text ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_engine_load(
    params: *const unspoken_engine_params,
    out: *mut *mut unspoken_engine,
) -> Code {
    call(|| {
        // SAFETY: the host's promise; the struct is plain data.
        let p = unsafe { self::params("params", params, unspoken_engine_default_params()) }?;
        let device = match p.device {
            0 => DeviceChoice::Auto,
            1 => DeviceChoice::Cpu,
            2 => DeviceChoice::Gpu,
            other => return Err(Failure::argument(format!("device {other}: expected 0, 1 or 2"))),
        };
        let reader = match p.critic_reader {
            0 => Reader::Stated,
            1 => Reader::Verdict,
            2 => Reader::AtOnce,
            other => return Err(Failure::argument(format!("critic_reader {other}: expected 0, 1 or 2"))),
        };
        // SAFETY: the host's promise.
        let (policy, model, adapter) = unsafe {
            (text("policy", p.policy)?, path("critic", p.critic)?, path("critic_adapter", p.critic_adapter)?)
        };
        let critic = (p.with_critic != 0).then_some(CriticSource { model, adapter, reader });
        let threads = (p.threads > 0).then_some(p.threads as usize);
        // SAFETY: the host's promise.
        let store = unsafe { path("store", p.store) }?;
        let store_key = (!p.store_key.is_null()).then(|| {
            // SAFETY: the host's promise.
            StoreKey(unsafe { p.store_key.cast::<[u8; 32]>().read_unaligned() })
        });
        let params = EngineParams { critic, device, threads, store, store_key, ..EngineParams::new(policy) };
        // SAFETY: the host's promise.
        unsafe {
            put("out", out, || {
                let engine = Engine::load(&params)?;
                handles::insert(EngineObject { device: Text::new(engine.device_name()), engine })
            })
        }
    })
}

/// Gives an engine back. Handles made from it stay good. Null is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_engine_free(engine: *mut unspoken_engine) -> Code {
    free::<_, EngineObject>(engine)
}

/// What it runs on: "cpu (2 threads, avx2)". Valid while the engine is; null for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_engine_device_name(engine: *const unspoken_engine) -> *const c_char {
    value(std::ptr::null(), || Ok(object(engine)?.device.as_ptr()))
}

/// Tokens that the policy was trained to keep in view; 0 for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_engine_context_length(engine: *const unspoken_engine) -> usize {
    value(0, || Ok(object(engine)?.engine.context_length()))
}

/// Bytes of its weights; 0 for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn unspoken_engine_weight_bytes(engine: *const unspoken_engine) -> usize {
    value(0, || Ok(object(engine)?.engine.weight_bytes()))
}

/// Writes the policy's tokens of `text` to `tokens` where they fit into `capacity`, and their number to `*count`
/// always. `tokens` may be null where `capacity` is 0.
///
/// # Safety
/// Pointers are null or valid; `tokens` has room for `capacity` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unspoken_engine_tokenize(
    engine: *const unspoken_engine,
    text: *const c_char,
    tokens: *mut u32,
    capacity: usize,
    count: *mut usize,
) -> Code {
    call(|| {
        // SAFETY: the host's promise.
        let ids = object(engine)?.engine.tokenize(unsafe { self::text("text", text) }?)?;
        if ids.len() <= capacity && !tokens.is_null() {
            // SAFETY: there is room.
            unsafe { std::ptr::copy_nonoverlapping(ids.as_ptr(), tokens, ids.len()) };
        }
        // SAFETY: the host's promise.
        unsafe { put("count", count, || Ok(ids.len())) }
    })
}

pub(crate) fn object(engine: *const unspoken_engine) -> Result<std::sync::Arc<EngineObject>, Failure> {
    handles::get(engine)
}

/// Takes the object of a handle away; null is nothing.
pub(crate) fn free<H, T: Send + Sync + 'static>(handle: *mut H) -> Code {
    if handle.is_null() { Code::Ok } else { call(|| handles::remove::<H, T>(handle).map(drop)) }
}

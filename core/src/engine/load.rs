//! The engine: weights on a device.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::guarded;
#[cfg(not(feature = "store"))]
use super::profile::Store;
use crate::Error;
use crate::align::{self, Assistant, Reader};
use crate::device::{Device, DeviceChoice};
use crate::model::{Adapter, ContextParams};
#[cfg(feature = "store")]
use crate::store::Store;

/// Where the critic comes from.
#[derive(Clone, Debug, Default)]
pub struct CriticSource {
    /// Its model file (GGUF); nothing for the policy's weights, which are then in memory once.
    pub model: Option<PathBuf>,
    /// Its LoRA adapter (GGUF).
    pub adapter: Option<PathBuf>,
    /// How scores are read off its critiques.
    pub reader: Reader,
}

/// What an engine is loaded with.
#[derive(Clone, Debug)]
pub struct EngineParams {
    /// The policy's model file (GGUF).
    pub policy: PathBuf,
    /// The critic, for hosts that critique or adapt.
    pub critic: Option<CriticSource>,
    /// Where it runs.
    pub device: DeviceChoice,
    /// CPU threads; `None` for as many as there are fast cores.
    pub threads: Option<usize>,
    /// The folder where users are kept, for hosts that have any. Nothing is written elsewhere.
    pub store: Option<PathBuf>,
    /// Encrypts what is personal in there ([`crate::store`]). The library keeps it in memory only.
    pub store_key: Option<StoreKey>,
}

/// A key of a store. It is not shown in logs.
#[derive(Clone)]
pub struct StoreKey(pub [u8; 32]);

impl std::fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreKey")
    }
}

impl EngineParams {
    /// The model file `policy` on the best device, without a critic.
    pub fn new(policy: impl Into<PathBuf>) -> Self {
        Self {
            policy: policy.into(),
            critic: None,
            device: DeviceChoice::Auto,
            threads: None,
            store: None,
            store_key: None,
        }
    }

    /// The same with the policy's weights as critic, with the critic's own adapter where there is one.
    #[must_use]
    pub fn with_critic(mut self, adapter: Option<PathBuf>) -> Self {
        self.critic = Some(CriticSource { adapter, ..CriticSource::default() });
        self
    }
}

/// Weights on a device: heavy to load, shared by everything made from it. Clones are the same engine; its memory
/// is given back when the last handle is gone.
#[derive(Clone, Debug)]
pub struct Engine(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) device: Device,
    /// The mould of contexts: its own has room for one block only.
    pub(super) policy: Assistant,
    pub(super) critic: Option<Critics>,
    pub(super) store: Option<Store>,
}

#[derive(Debug)]
pub(super) struct Critics {
    pub(super) mould: Assistant,
    pub(super) adapter: Option<Adapter>,
    pub(super) reader: Reader,
    /// Made when it is first used, thrown away after a panic.
    pub(super) one: Mutex<Option<align::Critic>>,
}

/// A context that holds next to nothing.
fn mould() -> ContextParams {
    ContextParams { cache_tokens: 32, max_sequence: 32, ..ContextParams::default() }
}

impl Engine {
    /// Loads it.
    ///
    /// # Errors
    /// A file that is not there, is no model, or is one that is not supported; no GPU where one was asked for;
    /// memory that the device refuses; a store that cannot be opened.
    pub fn load(params: &EngineParams) -> Result<Self, Error> {
        guarded(|| {
            if params.threads == Some(0) {
                return Err(Error::argument("threads", "0; leave it out for all fast cores"));
            }
            let store = {
                let key = params.store_key.as_ref().map(|k| &k.0);
                params.store.as_ref().map(|dir| Store::open(dir, key)).transpose()?
            };
            let device = Device::open(params.device, params.threads)?;
            log::info!("loading {} on {}", params.policy.display(), device.name());
            let policy = Assistant::open(&params.policy, &device, mould())?;
            let critic = match &params.critic {
                Some(source) => Some(Critics::load(source, &params.policy, &policy, &device)?),
                None => None,
            };
            Ok(Self(Arc::new(Inner { device, policy, critic, store })))
        })
    }

    /// What it runs on, for people: "cpu (2 threads, avx2)".
    pub fn device_name(&self) -> &str {
        self.0.device.name()
    }

    /// The policy's architecture: "llama".
    pub fn architecture(&self) -> &str {
        &self.0.policy.model.config.architecture
    }

    /// Tokens that the policy was trained to keep in view.
    pub fn context_length(&self) -> usize {
        self.0.policy.model.config.context_length
    }

    /// Bytes of the weights on the device, the critic's own included.
    pub fn weight_bytes(&self) -> usize {
        let policy = &self.0.policy.model;
        let other = self.0.critic.as_ref().map(|c| &c.mould.model).filter(|m| !Arc::ptr_eq(m, policy));
        policy.weight_bytes() + other.map_or(0, |m| m.weight_bytes())
    }

    /// The policy's tokens of `text`; names of control tokens are text like any other.
    ///
    /// # Errors
    /// Text that cannot be cut into tokens.
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>, Error> {
        Ok(self.0.policy.tokenizer.encode(text, crate::text::Specials::Text)?)
    }

    /// The text of tokens, without special ones.
    pub fn detokenize(&self, tokens: &[u32]) -> String {
        self.0.policy.tokenizer.decode(tokens, true)
    }

    pub(super) fn adapter(&self, path: &Path) -> Result<Adapter, Error> {
        Ok(Adapter::load(&self.0.policy.model, path)?)
    }
}

impl Critics {
    fn load(source: &CriticSource, policy_path: &Path, policy: &Assistant, device: &Device) -> Result<Self, Error> {
        let mould = match &source.model {
            Some(path) if path != policy_path => Assistant::open(path, device, mould())?,
            _ => policy.share(mould())?,
        };
        let adapter = source.adapter.as_ref().map(|p| Adapter::load(&mould.model, p)).transpose()?;
        Ok(Self { mould, adapter, reader: source.reader, one: Mutex::new(None) })
    }
}

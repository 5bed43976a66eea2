//! The engine.

use std::path::PathBuf;
use std::sync::Arc;

use unspoken::align::Reader;
use unspoken::device::DeviceChoice;
use unspoken::engine as core;

use crate::{Chat, ChatOptions, Critic, UnspokenError};

/// Where an engine runs.
#[derive(Clone, Copy, Debug, uniffi::Enum)]
pub enum DeviceKind {
    /// A real GPU where there is one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU, software ones included; an error where there is none.
    Gpu,
}

/// How a critic's scores are read off.
#[derive(Clone, Copy, Debug, uniffi::Enum)]
pub enum CriticReader {
    /// The number that it writes.
    Stated,
    /// The probabilities of its verdict, after its critique.
    Verdict,
    /// The same, asked for before a word of critique: for critics that learned replies.
    AtOnce,
}

/// Where the critic comes from.
#[derive(Clone, Debug, uniffi::Record)]
pub struct CriticOptions {
    /// Its model file (GGUF); nothing for the policy's weights, which are then in memory once.
    #[uniffi(default = None)]
    pub model: Option<String>,
    /// Its LoRA adapter (GGUF).
    #[uniffi(default = None)]
    pub adapter: Option<String>,
    /// How its scores are read off; by its verdict if nothing is said.
    #[uniffi(default = None)]
    pub reader: Option<CriticReader>,
}

/// What an engine is loaded with.
#[derive(Clone, uniffi::Record)]
pub struct EngineOptions {
    /// The policy's model file (GGUF).
    pub policy: String,
    /// The critic, for hosts that critique or adapt.
    #[uniffi(default = None)]
    pub critic: Option<CriticOptions>,
    /// Where it runs; a real GPU where there is one if nothing is said.
    #[uniffi(default = None)]
    pub device: Option<DeviceKind>,
    /// CPU threads; nothing for as many as there are fast cores.
    #[uniffi(default = None)]
    pub threads: Option<u32>,
    /// The folder where users are kept, for hosts that have any. Nothing is written elsewhere.
    #[uniffi(default = None)]
    pub store: Option<String>,
    /// 32 bytes that encrypt what is personal in there; the library keeps them in memory only.
    #[uniffi(default = None)]
    pub store_key: Option<Vec<u8>>,
}

/// Weights on a device: heavy to load, shared by everything made from it.
#[derive(Debug, uniffi::Object)]
pub struct Engine(pub(crate) core::Engine);

#[uniffi::export]
impl Engine {
    /// Loads it.
    #[uniffi::constructor]
    pub fn new(options: EngineOptions) -> Result<Arc<Self>, UnspokenError> {
        let critic = options.critic.map(|c| core::CriticSource {
            model: c.model.map(PathBuf::from),
            adapter: c.adapter.map(PathBuf::from),
            reader: match c.reader {
                Some(CriticReader::Stated) => Reader::Stated,
                None | Some(CriticReader::Verdict) => Reader::Verdict,
                Some(CriticReader::AtOnce) => Reader::AtOnce,
            },
        });
        let device = match options.device {
            None | Some(DeviceKind::Auto) => DeviceChoice::Auto,
            Some(DeviceKind::Cpu) => DeviceChoice::Cpu,
            Some(DeviceKind::Gpu) => DeviceChoice::Gpu,
        };
        let threads = options.threads.map(|n| n as usize);
        let store_key = options.store_key.map(<[u8; 32]>::try_from).transpose().map_err(|key| {
            UnspokenError::InvalidArgument { reason: format!("store_key has {} bytes, expected 32", key.len()) }
        })?;
        let params = core::EngineParams {
            critic,
            device,
            threads,
            store: options.store.map(PathBuf::from),
            store_key: store_key.map(core::StoreKey),
            ..core::EngineParams::new(options.policy)
        };
        Ok(Arc::new(Self(core::Engine::load(&params)?)))
    }

    /// What it runs on, for people: "cpu (2 threads, avx2)".
    pub fn device_name(&self) -> String {
        self.0.device_name().into()
    }

    /// The policy's architecture: "llama".
    pub fn architecture(&self) -> String {
        self.0.architecture().into()
    }

    /// Tokens that the policy was trained to keep in view.
    pub fn context_length(&self) -> u64 {
        self.0.context_length() as u64
    }

    /// Bytes of the weights on the device.
    pub fn weight_bytes(&self) -> u64 {
        self.0.weight_bytes() as u64
    }

    /// The policy's tokens of a text.
    pub fn tokenize(&self, text: String) -> Result<Vec<u32>, UnspokenError> {
        Ok(self.0.tokenize(&text)?)
    }

    /// The text of tokens, without special ones.
    pub fn detokenize(&self, tokens: Vec<u32>) -> String {
        self.0.detokenize(&tokens)
    }

    /// A conversation.
    #[uniffi::method(default(options = None))]
    pub fn chat(&self, options: Option<ChatOptions>) -> Result<Arc<Chat>, UnspokenError> {
        Ok(Arc::new(Chat(self.0.chat(options.map(Into::into).unwrap_or_default())?)))
    }

    /// A handle on the engine's critic.
    pub fn critic(&self) -> Result<Arc<Critic>, UnspokenError> {
        Ok(Arc::new(Critic(self.0.critic()?)))
    }
}

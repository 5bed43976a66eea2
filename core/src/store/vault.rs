//! Encryption at rest: XChaCha20-Poly1305 (RFC 8439 with the nonces of draft-irtf-cfrg-xchacha) on text and files.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use rusqlite::types::{Value, ValueRef};
use sha2::Sha256;

use super::StoreError;

const NONCE: usize = 24;

/// Seals what is personal, or leaves it as it is where the host gave no key.
pub(super) enum Vault {
    /// No key.
    Plain,
    /// A key, from which one for sealing and one for finding names are derived.
    Sealed {
        /// Seals texts and files.
        cipher: Box<XChaCha20Poly1305>,
        /// Turns a user's name into what it is found under.
        names: Hmac<Sha256>,
    },
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_sealed() { "Sealed" } else { "Plain" })
    }
}

fn hmac(key: &[u8; 32], message: &[u8]) -> Result<[u8; 32], StoreError> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).map_err(|e| StoreError::Invalid(e.to_string()))?;
    mac.update(message);
    Ok(mac.finalize().into_bytes().into())
}

impl Vault {
    pub(super) fn new(key: Option<&[u8; 32]>) -> Result<Self, StoreError> {
        let Some(key) = key else { return Ok(Self::Plain) };
        let sealing = hmac(key, b"unspoken store 1: sealing")?;
        let naming = hmac(key, b"unspoken store 1: names")?;
        let names = <Hmac<Sha256> as Mac>::new_from_slice(&naming).map_err(|e| StoreError::Invalid(e.to_string()))?;
        Ok(Self::Sealed { cipher: Box::new(XChaCha20Poly1305::new((&sealing).into())), names })
    }

    pub(super) fn is_sealed(&self) -> bool {
        matches!(self, Self::Sealed { .. })
    }

    /// What a user's name is found under.
    pub(super) fn handle(&self, name: &str) -> Vec<u8> {
        match self {
            Self::Plain => name.as_bytes().to_vec(),
            Self::Sealed { names, .. } => {
                let mut mac = names.clone();
                mac.update(name.as_bytes());
                mac.finalize().into_bytes().to_vec()
            }
        }
    }

    /// Nonce, then ciphertext and tag; `place` says where it belongs, so that it opens nowhere else.
    pub(super) fn seal_bytes(&self, place: &str, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
        let Self::Sealed { cipher, .. } = self else { return Ok(bytes.to_vec()) };
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|e| StoreError::Invalid(format!("no random numbers: {e}")))?;
        let payload = Payload { msg: bytes, aad: place.as_bytes() };
        let sealed = cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| StoreError::Invalid("too long to be encrypted".into()))?;
        Ok([&nonce, sealed.as_slice()].concat())
    }

    /// Undoes [`Vault::seal_bytes`].
    pub(super) fn open_bytes(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        let Self::Sealed { cipher, .. } = self else { return Ok(sealed.to_vec()) };
        let damaged = || StoreError::Damaged(format!("{place} does not open with the key"));
        let (nonce, body) = sealed.split_first_chunk::<NONCE>().ok_or_else(damaged)?;
        cipher.decrypt(&XNonce::from(*nonce), Payload { msg: body, aad: place.as_bytes() }).map_err(|_| damaged())
    }

    /// A text as it is kept in a column.
    pub(super) fn seal(&self, place: &str, text: &str) -> Result<Value, StoreError> {
        match self {
            Self::Plain => Ok(Value::Text(text.to_owned())),
            Self::Sealed { .. } => Ok(Value::Blob(self.seal_bytes(place, text.as_bytes())?)),
        }
    }

    /// Undoes [`Vault::seal`].
    pub(super) fn open(&self, place: &str, value: ValueRef<'_>) -> Result<String, StoreError> {
        let bytes = match (self, value) {
            (Self::Plain, ValueRef::Text(t)) => t.to_vec(),
            (Self::Sealed { .. }, ValueRef::Blob(b)) => self.open_bytes(place, b)?,
            (_, other) => return Err(StoreError::Damaged(format!("{place} is {:?}", other.data_type()))),
        };
        String::from_utf8(bytes).map_err(|_| StoreError::Damaged(format!("{place} is no text")))
    }
}

//! What a conversation has in the cache between its turns.

use super::batch::same;
use crate::model::{Adapter, Context, ModelError, SeqId};

/// What a conversation has in the cache, so that its next turn fills in only what is new: a beginning for each
/// adapter that was on, for keys and values hold for one only. The least recently used ones make room when the cache is full.
#[derive(Debug, Default)]
pub struct Kept {
    /// The last used at the end.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    tokens: Vec<u32>,
    adapter: Option<Adapter>,
    seq: SeqId,
}

impl Kept {
    /// Takes all of it out of the cache.
    pub fn forget(&mut self, context: &mut Context) {
        for entry in self.entries.drain(..) {
            context.cache.remove(entry.seq);
        }
    }

    /// A sequence with what `prompt` shares with what was kept of `adapter`, without the prompt's last token; a new
    /// one where that is nothing.
    pub(super) fn take(&mut self, context: &mut Context, prompt: &[u32], adapter: Option<&Adapter>) -> SeqId {
        let Some(i) = self.entries.iter().position(|e| same(e.adapter.as_ref(), adapter)) else {
            return context.cache.create();
        };
        let entry = self.entries.remove(i);
        let shared = entry.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        context.cache.truncate(entry.seq, shared.min(prompt.len().saturating_sub(1)));
        entry.seq
    }

    /// Keeps a sequence that holds `tokens`.
    pub(super) fn keep(&mut self, tokens: Vec<u32>, adapter: Option<Adapter>, seq: SeqId) {
        self.entries.push(Entry { tokens, adapter, seq });
    }

    /// A pass, with what is kept of other adapters given up where the cache has no room for it.
    pub(super) fn make_room<T>(
        &mut self,
        context: &mut Context,
        mut pass: impl FnMut(&mut Context) -> Result<T, ModelError>,
    ) -> Result<T, ModelError> {
        loop {
            match pass(context) {
                Err(ModelError::CacheFull { .. }) if !self.entries.is_empty() => {
                    context.cache.remove(self.entries.remove(0).seq);
                }
                result => return result,
            }
        }
    }
}

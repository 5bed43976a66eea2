//! A reply to be pulled.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use super::Reply;
use crate::Error;
use crate::generate::{CancelToken, Canceller};

/// Pieces that may wait to be pulled; the reply is not computed further ahead.
const AHEAD: usize = 32;

/// A reply that is being computed on a thread of its own. Dropping it cancels the reply and waits for the thread.
///
/// It iterates over the pieces of text; [`Stream::reply`] has the whole.
#[derive(Debug)]
pub struct Stream {
    pieces: Mutex<Option<Receiver<String>>>,
    end: Mutex<End>,
    canceller: Canceller,
}

#[derive(Debug)]
struct End {
    thread: Option<JoinHandle<Result<Reply, Error>>>,
    /// An error is given out once.
    result: Option<Result<Reply, Option<Error>>>,
}

impl Stream {
    pub(super) fn spawn(
        token: CancelToken,
        call: impl FnOnce(&CancelToken, &mut dyn FnMut(&str) -> bool) -> Result<Reply, Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let canceller = Canceller::default();
        let token = token.or(canceller.token());
        let (to, pieces): (SyncSender<String>, _) = sync_channel(AHEAD);
        let thread = std::thread::Builder::new()
            .name("unspoken-stream".into())
            .spawn(move || call(&token, &mut |piece| to.send(piece.to_owned()).is_ok()))
            .map_err(Error::Thread)?;
        Ok(Self {
            pieces: Mutex::new(Some(pieces)),
            end: Mutex::new(End { thread: Some(thread), result: None }),
            canceller,
        })
    }

    /// The next piece of text, in whole characters; `None` at the end.
    ///
    /// # Errors
    /// What ended the reply, once; `None` comes after it.
    pub fn next_piece(&self) -> Result<Option<String>, Error> {
        if let Some(pieces) = &*self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
            && let Ok(piece) = pieces.recv()
        {
            return Ok(Some(piece));
        }
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        match end.wait() {
            Err(e) => e.take().map_or(Ok(None), Err),
            Ok(_) => Ok(None),
        }
    }

    /// The whole reply; waits for it. Pieces that were not pulled yet are dropped.
    ///
    /// # Errors
    /// What ended the reply, where [`Stream::next_piece`] has not given it yet; [`Error::Cancelled`] after that.
    pub fn reply(&self) -> Result<Reply, Error> {
        if let Some(pieces) = &*self.pieces.lock().unwrap_or_else(PoisonError::into_inner) {
            while pieces.recv().is_ok() {}
        }
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        match end.wait() {
            Ok(reply) => Ok(reply.clone()),
            Err(e) => Err(e.take().unwrap_or(Error::Cancelled)),
        }
    }

    /// Stops it, from any thread: what was said so far is its reply.
    pub fn cancel(&self) {
        self.canceller.cancel();
    }
}

impl End {
    fn wait(&mut self) -> &mut Result<Reply, Option<Error>> {
        let thread = self.thread.take();
        self.result.get_or_insert_with(|| match thread.map(JoinHandle::join) {
            Some(Ok(result)) => result.map_err(Some),
            _ => Err(Some(Error::Panicked("the stream's thread ended".into()))),
        })
    }
}

impl Iterator for Stream {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_piece().transpose()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.cancel();
        // A thread that waits to hand over a piece sees that nobody takes it any more.
        *self.pieces.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        let _ended = self.end.get_mut().unwrap_or_else(PoisonError::into_inner).wait();
    }
}

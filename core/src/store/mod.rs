//! What is kept of each user on the device: profile, conversations, feedback, held-out items, jobs, adapters.
//!
//! A store is one folder that the host names: a SQLite database (WAL), `adapters/` and `jobs/`. Nothing is
//! written elsewhere, and several processes may have it open: each change is one transaction, and a process
//! that waits longer than the busy timeout gets [`StoreError::Busy`].
//!
//! # Encryption
//! With a 32-byte key from the host, these are sealed by XChaCha20-Poly1305: users' names, preferences with
//! their evidence, what is left of dismissed ones, messages, feedback, held-out records, budgets, progress and
//! errors of jobs, reports of adapters, adapter files, checkpoints. These are not: numbers of rows and which
//! row belongs to which, roles of messages, source and confidence of preferences, kinds and states of jobs,
//! times, lengths and SHA-256 of adapter files, and whatever a host writes itself into [`UserStore::job_folder`].
//! Lengths show through. The library keeps the key in memory only and can't restore a lost one.
//!
//! # Deleting
//! SQLite overwrites what it deletes (`secure_delete`), [`Store::delete_user`] also empties the log and rewrites
//! the database, and files are overwritten before they are unlinked. A disk that moves blocks (flash, snapshots,
//! copy-on-write) may still hold old ones: there only a key that is thrown away helps. Overwriting goes through the
//! log and needs as much free room as what is deleted, so that on a full disk deleting may be [`StoreError::Full`] too.

mod adapters;
mod chats;
mod error;
mod export;
mod files;
mod jobs;
mod preferences;
mod schema;
#[cfg(test)]
mod tests;
mod types;
mod user;
mod vault;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

pub use chats::{Conversation, Feedback, HeldOut, StoredMessage};
pub use error::StoreError;
pub use jobs::{Job, JobState};
pub use types::{AdapterVersion, Verdict};
pub use user::UserStore;

use vault::Vault;

/// The database's file in the store's folder.
const DATABASE: &str = "unspoken.db";
/// Says whether the key is right.
const KEY_CHECK: &str = "key_check";
/// Set while deleted content may be left in the log.
const VACUUM_DUE: &str = "vacuum_due";

/// A clock of the host: milliseconds since 1970 (UTC).
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How a store is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// Encrypts what is personal; see the [module](self).
    pub key: Option<[u8; 32]>,
    /// How long a call waits for another process before it is [`StoreError::Busy`].
    pub busy_timeout: Duration,
    /// Where times come from; the system's clock where there is none.
    pub clock: Option<Clock>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { key: None, busy_timeout: Duration::from_secs(5), clock: None }
    }
}

impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the key.
        f.debug_struct("StoreOptions")
            .field("key", &self.key.is_some())
            .field("busy_timeout", &self.busy_timeout)
            .finish_non_exhaustive()
    }
}

/// The store of one folder. Clones share one connection; it may be used from any thread.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    vault: Vault,
    clock: Option<Clock>,
    conn: Mutex<Connection>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("dir", &self.dir).field("vault", &self.vault).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in `dir`, or makes one there; encrypted where there is a key.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`], [`StoreError::KeyNeeded`], [`StoreError::NotEncrypted`],
    /// [`StoreError::NewerSchema`], [`StoreError::Damaged`], [`StoreError::Busy`]; a folder that the system refuses.
    pub fn open(dir: &Path, key: Option<&[u8; 32]>) -> Result<Self, StoreError> {
        Self::open_with(dir, StoreOptions { key: key.copied(), ..StoreOptions::default() })
    }

    /// As [`Store::open`], with a clock and a busy timeout.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(dir: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        for folder in [dir.to_owned(), dir.join(files::ADAPTERS), dir.join(files::JOBS)] {
            files::make_folder(&folder)?;
        }
        let mut conn = Connection::open(dir.join(DATABASE))?;
        conn.busy_timeout(options.busy_timeout)?;
        conn.pragma_update(None, "secure_delete", true)?;
        conn.pragma_update(None, "foreign_keys", true)?;
        conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        // A commit is on disk when it returns: adapters are named by one.
        conn.pragma_update(None, "synchronous", "full")?;
        schema::migrate(&mut conn, schema::MIGRATIONS)?;
        let vault = Vault::new(options.key.as_ref())?;
        check_key(&mut conn, &vault)?;
        let inner = Inner { dir: dir.to_owned(), vault, clock: options.clock, conn: Mutex::new(conn) };
        let store = Self { inner: Arc::new(inner) };
        match store.inner.sweep().and_then(|()| store.inner.finish_deleting()) {
            // Somebody else is at work; the next one to open sweeps.
            Ok(_) | Err(StoreError::Busy) => Ok(store),
            Err(e) => Err(e),
        }
    }

    /// The store's folder.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Whether it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.inner.vault.is_sealed()
    }

    /// The user of this name, who is new where there is none yet.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for an empty name or one of more than 256 bytes; those of any write.
    pub fn user(&self, name: &str) -> Result<UserStore, StoreError> {
        if let Some(user) = self.find_user(name)? {
            return Ok(user);
        }
        match self.inner.write(|tx| self.new_user(tx, name)) {
            Ok(id) => Ok(UserStore::new(self.clone(), id, name)),
            // Another process was faster.
            Err(e) => self.find_user(name)?.ok_or(e),
        }
    }

    fn new_user(&self, tx: &Transaction<'_>, name: &str) -> Result<i64, StoreError> {
        if name.trim().is_empty() || name.len() > 256 {
            return Err(StoreError::Invalid("a user's name has 1 to 256 bytes".into()));
        }
        let (handle, sealed) = (self.inner.vault.handle(name), self.inner.vault.seal("users.name", name)?);
        let insert = "INSERT INTO users (handle, name, created) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
        if tx.execute(insert, (&handle, &sealed, self.inner.now()))? == 0 {
            return Err(StoreError::Invalid(format!("there is a user {name:?} already")));
        }
        Ok(tx.last_insert_rowid())
    }

    /// The user of this name, if there is one.
    ///
    /// # Errors
    /// Those of any read.
    pub fn find_user(&self, name: &str) -> Result<Option<UserStore>, StoreError> {
        let handle = self.inner.vault.handle(name);
        let find = "SELECT id FROM users WHERE handle = ?";
        let id = self.inner.read(|c| Ok(c.query_row(find, [handle], |r| r.get(0)).optional()?))?;
        Ok(id.map(|id| UserStore::new(self.clone(), id, name)))
    }

    /// The names of all users, in the order in which they came.
    ///
    /// # Errors
    /// Those of any read.
    pub fn users(&self) -> Result<Vec<String>, StoreError> {
        self.inner.read(|c| {
            let mut select = c.prepare("SELECT name FROM users ORDER BY id")?;
            let mut rows = select.query([])?;
            let mut out = Vec::new();
            while let Some(row) = rows.next()? {
                out.push(self.inner.vault.open("users.name", row.get_ref(0)?)?);
            }
            Ok(out)
        })
    }

    /// Forgets a user: every row, every adapter, every checkpoint. Returns whether the database could be rewritten
    /// at once; where another process kept it from that, the next open does it. What was asked for is gone for every
    /// reader in either case.
    ///
    /// # Errors
    /// [`StoreError::NoUser`]; those of any write. Files that could not be removed go at the next open.
    pub fn delete_user(&self, name: &str) -> Result<bool, StoreError> {
        let handle = self.inner.vault.handle(name);
        self.inner.write(|tx| {
            if tx.execute("DELETE FROM users WHERE handle = ?", [handle])? == 0 {
                return Err(StoreError::NoUser(name.to_owned()));
            }
            tx.execute("INSERT OR REPLACE INTO meta VALUES (?, 1)", [VACUUM_DUE])?;
            Ok(())
        })?;
        // Rows first: a file without a row is swept, a row without its file would be damage.
        self.inner.sweep()?;
        match self.inner.finish_deleting() {
            Ok(done) => Ok(done),
            Err(StoreError::Busy) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// Makes the key's check on a new store, and reads it on an old one.
fn check_key(conn: &mut Connection, vault: &Vault) -> Result<(), StoreError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let find = "SELECT value FROM meta WHERE key = ?";
    let found: Option<rusqlite::types::Value> = tx.query_row(find, [KEY_CHECK], |r| r.get(0)).optional()?;
    match (found, vault.is_sealed()) {
        (None, _) => {
            tx.execute("INSERT INTO meta VALUES (?, ?)", (KEY_CHECK, vault.seal(KEY_CHECK, KEY_CHECK)?))?;
            tx.commit()?;
        }
        (Some(rusqlite::types::Value::Text(_)), false) => {}
        (Some(rusqlite::types::Value::Text(_)), true) => return Err(StoreError::NotEncrypted),
        (Some(_), false) => return Err(StoreError::KeyNeeded),
        (Some(sealed), true) => {
            vault.open(KEY_CHECK, (&sealed).into()).map_err(|_| StoreError::WrongKey)?;
        }
    }
    Ok(())
}

impl Inner {
    /// Milliseconds since 1970, by the host's clock or the system's.
    fn now(&self) -> i64 {
        match &self.clock {
            Some(clock) => clock(),
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64),
        }
    }

    fn read<T>(&self, f: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        f(&self.conn.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One transaction that holds the write lock from its beginning; an error undoes it.
    fn write<T>(&self, f: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut conn = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let out = f(&tx)?;
        tx.commit()?;
        Ok(out)
    }

    /// Empties the log and rewrites the database where something was deleted; gives whether that is done.
    fn finish_deleting(&self) -> Result<bool, StoreError> {
        self.read(|c| {
            let due: i64 = c.query_row("SELECT count(*) FROM meta WHERE key = ?", [VACUUM_DUE], |r| r.get(0))?;
            if due == 0 {
                return Ok(true);
            }
            c.execute_batch("VACUUM")?;
            let busy: i64 = c.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get(0))?;
            if busy == 0 {
                c.execute("DELETE FROM meta WHERE key = ?", [VACUUM_DUE])?;
            }
            Ok(busy == 0)
        })
    }
}

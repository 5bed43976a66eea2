//! One user's part of the store.

use rusqlite::{Connection, Params, Row, Transaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Store, StoreError};

/// Bytes of one text at the most.
const MAX_TEXT: usize = 1 << 20;

/// What is kept of one user. Clones are cheap.
#[derive(Clone, Debug)]
pub struct UserStore {
    pub(super) store: Store,
    pub(super) id: i64,
    name: String,
}

impl UserStore {
    pub(super) fn new(store: Store, id: i64, name: &str) -> Self {
        Self { store, id, name: name.to_owned() }
    }

    /// The user's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The store that the user is in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    fn check(&self, conn: &Connection) -> Result<(), StoreError> {
        let there: i64 = conn.query_row("SELECT count(*) FROM users WHERE id = ?", [self.id], |r| r.get(0))?;
        if there == 0 { Err(StoreError::NoUser(self.name.clone())) } else { Ok(()) }
    }

    pub(super) fn now(&self) -> i64 {
        self.store.inner.now()
    }

    /// Reads, if the user is still there.
    pub(super) fn read<T>(&self, f: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.store.inner.read(|c| {
            self.check(c)?;
            f(c)
        })
    }

    /// Writes in one transaction, if the user is still there.
    pub(super) fn write<T>(&self, f: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.store.inner.write(|tx| {
            self.check(tx)?;
            f(tx)
        })
    }

    /// Where a sealed column's value belongs: it opens for this user and column only.
    fn place(&self, column: &str) -> String {
        format!("{column} of user {}", self.id)
    }

    pub(super) fn seal(&self, column: &str, text: &str) -> Result<rusqlite::types::Value, StoreError> {
        self.store.inner.vault.seal(&self.place(column), text)
    }

    pub(super) fn seal_json(&self, column: &str, x: &impl Serialize) -> Result<rusqlite::types::Value, StoreError> {
        let text = serde_json::to_string(x).map_err(|e| StoreError::Invalid(format!("{column}: {e}")))?;
        self.seal(column, &text)
    }

    pub(super) fn open(&self, column: &str, row: &Row<'_>, index: usize) -> Result<String, StoreError> {
        self.store.inner.vault.open(&self.place(column), row.get_ref(index)?)
    }

    pub(super) fn open_json<T: DeserializeOwned>(
        &self,
        column: &str,
        row: &Row<'_>,
        index: usize,
    ) -> Result<T, StoreError> {
        let text = self.open(column, row, index)?;
        serde_json::from_str(&text).map_err(|e| StoreError::Damaged(format!("{column}: {e}")))
    }

    pub(super) fn seal_file(&self, file: &str, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.store.inner.vault.seal_bytes(&self.place(file), bytes)
    }

    pub(super) fn open_file(&self, file: &str, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.store.inner.vault.open_bytes(&self.place(file), bytes)
    }

    /// The rows of a query on this user (its only parameter), each read by `f`.
    pub(super) fn rows<T>(
        &self,
        conn: &Connection,
        sql: &str,
        f: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.rows_of(conn, sql, [self.id], f)
    }

    /// The rows of a query with any parameters, each read by `f`.
    pub(super) fn rows_of<T>(
        &self,
        conn: &Connection,
        sql: &str,
        params: impl Params,
        mut f: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut select = conn.prepare(sql)?;
        let mut rows = select.query(params)?;
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            out.push(f(row)?);
        }
        Ok(out)
    }

    /// Whether row `id` of `table` is this user's.
    pub(super) fn owns(&self, conn: &Connection, table: &str, what: &'static str, id: i64) -> Result<(), StoreError> {
        let sql = format!("SELECT count(*) FROM {table} WHERE id = ? AND user = ?");
        let there: i64 = conn.query_row(&sql, [id, self.id], |r| r.get(0))?;
        if there == 0 { Err(StoreError::NotFound { what, id }) } else { Ok(()) }
    }

    /// Deletes row `id` of `table` if it is this user's.
    pub(super) fn remove(&self, table: &str, what: &'static str, id: i64) -> Result<(), StoreError> {
        self.write(|tx| {
            let sql = format!("DELETE FROM {table} WHERE id = ? AND user = ?");
            if tx.execute(&sql, [id, self.id])? == 0 { Err(StoreError::NotFound { what, id }) } else { Ok(()) }
        })
    }
}

/// Refuses a text that is empty or longer than 1 MiB.
pub(super) fn check_text(field: &str, text: &str) -> Result<(), StoreError> {
    if text.trim().is_empty() {
        return Err(StoreError::Invalid(format!("{field} is empty")));
    }
    if text.len() > MAX_TEXT {
        return Err(StoreError::Invalid(format!("{field} has {} bytes, at most {MAX_TEXT} are kept", text.len())));
    }
    Ok(())
}

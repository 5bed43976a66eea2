//! Versions of a user's adapter: committed, rolled back, never half there.

use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

use super::files::{ADAPTERS, erase, reached};
use super::{AdapterVersion, StoreError, UserStore};

impl UserStore {
    /// Keeps an adapter file (the bytes of [`Adapter::to_bytes`](crate::model::Adapter::to_bytes)) as the next
    /// version and makes it the current one. The file is written beside, synced and renamed, then one transaction
    /// names it: a process killed at any moment leaves the old version current or the new one.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for bytes that are no GGUF file; [`StoreError::Full`]; those of any write. The
    /// current version is the old one then.
    pub fn commit_adapter(&self, bytes: &[u8], report: &serde_json::Value) -> Result<AdapterVersion, StoreError> {
        let now = self.now();
        self.write(|tx| {
            let (current, last): (i64, i64) =
                tx.query_row("SELECT adapter, last_adapter FROM users WHERE id = ?", [self.id], |r| {
                    Ok((r.get(0)?, r.get(1)?))
                })?;
            let version = AdapterVersion {
                number: last + 1,
                previous: current,
                bytes: bytes.len() as i64,
                sha256: sha256(bytes),
                report: report.clone(),
                created: now,
            };
            self.put_adapter(tx, &version, bytes)?;
            self.set_current(tx, version.number)?;
            reached("rows");
            Ok(version)
        })
        .inspect(|_| reached("committed"))
    }

    /// Writes the file and its row; the version is not current yet.
    pub(super) fn put_adapter(&self, tx: &Connection, v: &AdapterVersion, bytes: &[u8]) -> Result<(), StoreError> {
        if !bytes.starts_with(b"GGUF") {
            return Err(StoreError::Invalid("an adapter is a GGUF file, and these bytes are none".into()));
        }
        let file = format!("{ADAPTERS}/{}-{}.gguf", self.id, v.number);
        reached("begun");
        self.store.inner.write_file(&file, &self.seal_file(&file, bytes)?)?;
        tx.execute(
            "INSERT INTO adapters (user, number, previous, file, bytes, sha256, report, created) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self.id,
                v.number,
                v.previous,
                &file,
                v.bytes,
                &v.sha256,
                self.seal_json("adapters.report", &v.report)?,
                v.created,
            ),
        )?;
        tx.execute("UPDATE users SET last_adapter = max(last_adapter, ?) WHERE id = ?", [v.number, self.id])?;
        Ok(())
    }

    pub(super) fn set_current(&self, tx: &Connection, number: i64) -> Result<(), StoreError> {
        tx.execute("UPDATE users SET adapter = ? WHERE id = ?", [number, self.id])?;
        Ok(())
    }

    /// All versions that are kept, oldest first.
    ///
    /// # Errors
    /// Those of any read.
    pub fn adapters(&self) -> Result<Vec<AdapterVersion>, StoreError> {
        self.read(|c| self.all_adapters(c))
    }

    pub(super) fn all_adapters(&self, conn: &Connection) -> Result<Vec<AdapterVersion>, StoreError> {
        let sql =
            "SELECT number, previous, bytes, sha256, report, created FROM adapters WHERE user = ? ORDER BY number";
        self.rows(conn, sql, |row| {
            Ok(AdapterVersion {
                number: row.get(0)?,
                previous: row.get(1)?,
                bytes: row.get(2)?,
                sha256: row.get(3)?,
                report: self.open_json("adapters.report", row, 4)?,
                created: row.get(5)?,
            })
        })
    }

    /// The version in use; none where the base model is.
    ///
    /// # Errors
    /// Those of any read.
    pub fn current_adapter(&self) -> Result<Option<AdapterVersion>, StoreError> {
        self.read(|c| {
            let current = self.current(c)?;
            Ok(self.all_adapters(c)?.into_iter().find(|v| v.number == current))
        })
    }

    pub(super) fn current(&self, conn: &Connection) -> Result<i64, StoreError> {
        Ok(conn.query_row("SELECT adapter FROM users WHERE id = ?", [self.id], |r| r.get(0))?)
    }

    /// The adapter file of version `number`, for [`Adapter::from_bytes`](crate::model::Adapter::from_bytes).
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Damaged`] for a file that is not what was committed.
    pub fn adapter_bytes(&self, number: i64) -> Result<Vec<u8>, StoreError> {
        let (file, sum): (String, String) = self.read(|c| {
            let sql = "SELECT file, sha256 FROM adapters WHERE user = ? AND number = ?";
            let found = c.query_row(sql, [self.id, number], |r| Ok((r.get(0)?, r.get(1)?))).optional()?;
            found.ok_or(StoreError::NotFound { what: "adapter version", id: number })
        })?;
        let bytes = self.open_file(&file, &self.store.inner.read_file(&file)?)?;
        if sha256(&bytes) != sum {
            return Err(StoreError::Damaged(format!("{file} is not the file that was committed")));
        }
        Ok(bytes)
    }

    /// Makes the version before the current one current; gives its number, 0 for the base model. The version that was
    /// left stays, for [`UserStore::use_adapter`], until it is pruned.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] where the base model is current already; [`StoreError::NotFound`] where the version
    /// before was pruned; those of any write.
    pub fn rollback_adapter(&self) -> Result<i64, StoreError> {
        self.write(|tx| {
            let (current, all) = (self.current(tx)?, self.all_adapters(tx)?);
            let previous = match all.iter().find(|v| v.number == current) {
                Some(v) => v.previous,
                None => return Err(StoreError::Invalid("the base model is current; nothing to roll back".into())),
            };
            self.switch(tx, &all, previous)
        })
    }

    /// Makes version `number` current; 0 for the base model.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; those of any write.
    pub fn use_adapter(&self, number: i64) -> Result<(), StoreError> {
        self.write(|tx| self.switch(tx, &self.all_adapters(tx)?, number)).map(drop)
    }

    fn switch(&self, tx: &Connection, all: &[AdapterVersion], number: i64) -> Result<i64, StoreError> {
        if number != 0 && all.iter().all(|v| v.number != number) {
            return Err(StoreError::NotFound { what: "adapter version", id: number });
        }
        self.set_current(tx, number)?;
        Ok(number)
    }

    /// Deletes all versions but the current one and the `keep` versions that rollbacks from it would reach. Returns
    /// how many went.
    ///
    /// # Errors
    /// Those of any write.
    pub fn prune_adapters(&self, keep: usize) -> Result<usize, StoreError> {
        let gone: Vec<String> = self.write(|tx| {
            let all = self.all_adapters(tx)?;
            let mut kept = vec![self.current(tx)?];
            for _ in 0..keep {
                let last = kept.last().copied().unwrap_or(0);
                match all.iter().find(|v| v.number == last) {
                    Some(v) => kept.push(v.previous),
                    None => break,
                }
            }
            let mut gone = Vec::new();
            for v in all.iter().filter(|v| !kept.contains(&v.number)) {
                let sql = "DELETE FROM adapters WHERE user = ? AND number = ? RETURNING file";
                gone.push(tx.query_row(sql, [self.id, v.number], |r| r.get(0))?);
            }
            Ok(gone)
        })?;
        for file in &gone {
            erase(&self.store.inner.dir.join(file))?;
        }
        Ok(gone.len())
    }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

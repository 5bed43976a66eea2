//! The tables, and how a store of an older version becomes one of this version.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// Step i brings schema i to schema i + 1. A step that was published never changes.
///
/// Columns that hold BLOB or TEXT without a type are sealed where the store has a key.
pub(super) const MIGRATIONS: &[&str] = &["
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    handle BLOB NOT NULL UNIQUE,
    name NOT NULL,
    created INTEGER NOT NULL,
    adapter INTEGER NOT NULL DEFAULT 0,
    last_adapter INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE preferences (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    text NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('stated', 'inferred')),
    evidence NOT NULL,
    confidence REAL NOT NULL CHECK (confidence > 0 AND confidence <= 1),
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
);
CREATE INDEX preferences_of ON preferences (user);
CREATE TABLE dismissed (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    marks NOT NULL
);
CREATE INDEX dismissed_of ON dismissed (user);
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    created INTEGER NOT NULL
);
CREATE INDEX conversations_of ON conversations (user);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    conversation INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
    content NOT NULL,
    created INTEGER NOT NULL
);
CREATE INDEX messages_in ON messages (conversation);
CREATE TABLE feedback (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    response INTEGER REFERENCES messages ON DELETE CASCADE,
    verdict NOT NULL,
    created INTEGER NOT NULL
);
CREATE INDEX feedback_of ON feedback (user);
CREATE INDEX feedback_on ON feedback (response);
CREATE TABLE held_out (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    record NOT NULL,
    created INTEGER NOT NULL
);
CREATE INDEX held_out_of ON held_out (user);
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    budget NOT NULL,
    progress NOT NULL,
    error,
    checkpoint TEXT,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
);
CREATE INDEX jobs_of ON jobs (user);
CREATE TABLE adapters (
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    number INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    file TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    report NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (user, number)
);
"];

/// Brings the store to the newest schema, each step in its own transaction.
pub(super) fn migrate(conn: &mut Connection, steps: &[&str]) -> Result<(), StoreError> {
    let known = steps.len() as i64;
    loop {
        // Under the write lock, so that two processes don't migrate at once.
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found: i64 = tx.query_row("PRAGMA user_version", [], |r| r.get(0))?;
        if found == known {
            return Ok(());
        }
        let Some(step) = usize::try_from(found).ok().and_then(|i| steps.get(i)) else {
            return Err(StoreError::NewerSchema { found, known });
        };
        if found == 0 && tx.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get::<_, i64>(0))? > 0 {
            return Err(StoreError::Damaged("the database is none of ours".into()));
        }
        tx.execute_batch(step)?;
        tx.pragma_update(None, "user_version", found + 1)?;
        tx.commit()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[&str] =
        &["CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (1);", "ALTER TABLE a ADD y INTEGER DEFAULT 7;"];

    #[test]
    fn old_stores_become_new_ones() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &TWO[..1]).unwrap();
        migrate(&mut conn, TWO).unwrap();
        migrate(&mut conn, TWO).unwrap();
        assert_eq!(conn.query_row("SELECT x + y FROM a", [], |r| r.get::<_, i64>(0)).unwrap(), 8);
        let newer = migrate(&mut conn, &TWO[..1]).unwrap_err();
        assert!(matches!(newer, StoreError::NewerSchema { found: 2, known: 1 }));
    }

    #[test]
    fn a_step_that_fails_leaves_the_schema_before_it() {
        let mut conn = Connection::open_in_memory().unwrap();
        let broken = [TWO[0], "ALTER TABLE a ADD y INTEGER; NO SQL;"];
        assert!(matches!(migrate(&mut conn, &broken), Err(StoreError::Database(_))));
        assert!(conn.prepare("SELECT y FROM a").is_err());
        migrate(&mut conn, TWO).unwrap();
    }
}

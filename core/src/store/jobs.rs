//! Adaptation jobs: what was asked, how far it is, where to go on.

use std::path::PathBuf;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files::{JOBS, erase, make_folder};
use super::user::check_text;
use super::{StoreError, UserStore};

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Not begun.
    Queued,
    /// Under way, or its process died: then it goes on from its checkpoint.
    Running,
    /// Stopped for now.
    Paused,
    /// Ended; its adapter was committed or rolled back.
    Done,
    /// Ended by an error.
    Failed,
    /// Ended by the user.
    Cancelled,
}

impl JobState {
    /// Its name in the database and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    fn parse(name: &str) -> Result<Self, StoreError> {
        use JobState::{Cancelled, Done, Failed, Paused, Queued, Running};
        let all = [Queued, Running, Paused, Done, Failed, Cancelled];
        let found = all.into_iter().find(|s| s.name() == name);
        found.ok_or_else(|| StoreError::Damaged(format!("jobs.state is {name:?}")))
    }
}

/// An adaptation job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: i64,
    /// What it does, such as `cdpa`.
    pub kind: String,
    /// Where it is.
    pub state: JobState,
    /// What it may use: tokens, seconds, bytes; as the job defines it.
    pub budget: Value,
    /// How far it is; as the job defines it.
    pub progress: Value,
    /// What ended it, where it failed.
    pub error: Option<String>,
    /// Where its checkpoint lies, relative to the store's folder.
    pub checkpoint: Option<String>,
    /// When it was asked for, in milliseconds since 1970 (UTC).
    pub created: i64,
    /// When it changed last, in milliseconds since 1970 (UTC).
    pub updated: i64,
}

impl UserStore {
    /// Adds a job, queued; gives its number.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for an empty kind; those of any write.
    pub fn add_job(&self, kind: &str, budget: &Value) -> Result<i64, StoreError> {
        check_text("kind", kind)?;
        let now = self.now();
        let job = Job {
            id: 0,
            kind: kind.to_owned(),
            state: JobState::Queued,
            budget: budget.clone(),
            progress: Value::Null,
            error: None,
            checkpoint: None,
            created: now,
            updated: now,
        };
        self.write(|tx| self.put_job(tx, &job))
    }

    pub(super) fn put_job(&self, tx: &Connection, j: &Job) -> Result<i64, StoreError> {
        let error = j.error.as_ref().map(|e| self.seal("jobs.error", e)).transpose()?;
        let (budget, progress) =
            (self.seal_json("jobs.budget", &j.budget)?, self.seal_json("jobs.progress", &j.progress)?);
        tx.execute(
            "INSERT INTO jobs (user, kind, state, budget, progress, error, created, updated) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (self.id, &j.kind, j.state.name(), budget, progress, error, j.created, j.updated),
        )?;
        Ok(tx.last_insert_rowid())
    }

    /// All jobs, oldest first.
    ///
    /// # Errors
    /// Those of any read.
    pub fn jobs(&self) -> Result<Vec<Job>, StoreError> {
        self.read(|c| self.all_jobs(c))
    }

    pub(super) fn all_jobs(&self, conn: &Connection) -> Result<Vec<Job>, StoreError> {
        let sql = "SELECT id, kind, state, budget, progress, error, checkpoint, created, updated FROM jobs \
                   WHERE user = ? ORDER BY id";
        self.rows(conn, sql, |row| {
            let has_error = row.get_ref(5)? != rusqlite::types::ValueRef::Null;
            Ok(Job {
                id: row.get(0)?,
                kind: row.get(1)?,
                state: JobState::parse(&row.get::<_, String>(2)?)?,
                budget: self.open_json("jobs.budget", row, 3)?,
                progress: self.open_json("jobs.progress", row, 4)?,
                error: if has_error { Some(self.open("jobs.error", row, 5)?) } else { None },
                checkpoint: row.get(6)?,
                created: row.get(7)?,
                updated: row.get(8)?,
            })
        })
    }

    /// Job `id`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; those of any read.
    pub fn job(&self, id: i64) -> Result<Job, StoreError> {
        let found = self.jobs()?.into_iter().find(|j| j.id == id);
        found.ok_or(StoreError::NotFound { what: "job", id })
    }

    /// Notes where a job is and how far.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; those of any write.
    pub fn update_job(
        &self,
        id: i64,
        state: JobState,
        progress: &Value,
        error: Option<&str>,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let error = error.map(|e| self.seal("jobs.error", e)).transpose()?;
        let progress = self.seal_json("jobs.progress", progress)?;
        self.write(|tx| {
            self.owns(tx, "jobs", "job", id)?;
            let sql = "UPDATE jobs SET state = ?, progress = ?, error = ?, updated = ? WHERE id = ?";
            tx.execute(sql, (state.name(), progress, error, now, id))?;
            Ok(())
        })
    }

    /// Keeps a job's checkpoint (encrypted where the store is) in the place of the one before; a process killed at
    /// any moment leaves the old or the new one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Full`]; those of any write.
    pub fn write_checkpoint(&self, id: i64, bytes: &[u8]) -> Result<(), StoreError> {
        let file = format!("{JOBS}/{id}/checkpoint");
        let (now, sealed) = (self.now(), self.seal_file(&file, bytes)?);
        self.job_folder(id)?;
        self.write(|tx| {
            self.owns(tx, "jobs", "job", id)?;
            self.store.inner.write_file(&file, &sealed)?;
            tx.execute("UPDATE jobs SET checkpoint = ?, updated = ? WHERE id = ?", (&file, now, id))?;
            Ok(())
        })
    }

    /// A job's checkpoint, where there is one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Damaged`] for a file that is gone or does not open.
    pub fn read_checkpoint(&self, id: i64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(file) = self.job(id)?.checkpoint else { return Ok(None) };
        self.open_file(&file, &self.store.inner.read_file(&file)?).map(Some)
    }

    /// A folder for whatever else a job writes. It goes with the job and with the user. The store does not encrypt
    /// what is put there.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; a folder that the system refuses.
    pub fn job_folder(&self, id: i64) -> Result<PathBuf, StoreError> {
        self.write(|tx| {
            self.owns(tx, "jobs", "job", id)?;
            let path = self.store.inner.dir.join(JOBS).join(id.to_string());
            make_folder(&path)?;
            Ok(path)
        })
    }

    /// Deletes a job with its folder.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; those of any write.
    pub fn delete_job(&self, id: i64) -> Result<(), StoreError> {
        self.remove("jobs", "job", id)?;
        erase(&self.store.inner.dir.join(JOBS).join(id.to_string()))
    }
}

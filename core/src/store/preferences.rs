//! The profile of a user in the store.

use rusqlite::{Connection, Transaction};

use super::user::check_text;
use super::{StoreError, UserStore};
use crate::align::{Dismissed, Inferred, Learned, Preference, Source, place_inferred, same_preference};

const COLUMNS: &str = "id, text, source, evidence, confidence, created, updated";

impl UserStore {
    /// The profile, oldest first.
    ///
    /// # Errors
    /// Those of any read.
    pub fn preferences(&self) -> Result<Vec<Preference>, StoreError> {
        self.read(|c| self.profile(c))
    }

    /// Adds what the user says of themselves. Where the profile has the same in other words, this wording and its
    /// certainty take their place; what was dismissed before is welcome again.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for an empty or overlong text; those of any write.
    pub fn state_preference(&self, text: &str) -> Result<Preference, StoreError> {
        let text = text.trim();
        check_text("preference", text)?;
        let now = self.now();
        self.write(|tx| {
            for (id, d) in self.dismissed(tx)? {
                if d.keeps_out(&Inferred { text: text.to_owned(), evidence: Vec::new(), confidence: 0.5 }) {
                    tx.execute("DELETE FROM dismissed WHERE id = ?", [id])?;
                }
            }
            let known = self.profile(tx)?.into_iter().find(|p| same_preference(&p.text, text));
            let stated = Preference {
                id: 0,
                text: text.to_owned(),
                source: Source::Stated,
                evidence: Vec::new(),
                confidence: 1.0,
                created: now,
                updated: now,
            };
            let stated = match known {
                Some(p) => Preference { id: p.id, evidence: p.evidence, created: p.created, ..stated },
                None => stated,
            };
            self.put(tx, stated)
        })
    }

    /// Takes in what inference proposes: new ones are added, known ones gain evidence, dismissed ones stay out.
    /// All or, on an error, nothing.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for an empty text, missing evidence or a confidence outside of (0, 1]; those of any
    /// write.
    pub fn learn_preferences(&self, inferred: &[Inferred]) -> Result<Vec<Learned>, StoreError> {
        for i in inferred {
            check_text("preference", &i.text)?;
            if i.evidence.is_empty() {
                return Err(StoreError::Invalid(format!("preference {:?} has no evidence", i.text)));
            }
            if !(i.confidence > 0.0 && i.confidence <= 1.0) {
                return Err(StoreError::Invalid(format!("confidence {} is not in (0, 1]", i.confidence)));
            }
        }
        let now = self.now();
        self.write(|tx| {
            let dismissed: Vec<Dismissed> = self.dismissed(tx)?.into_iter().map(|(_, d)| d).collect();
            let mut profile = self.profile(tx)?;
            let mut out = Vec::new();
            for i in inferred {
                out.push(match place_inferred(&profile, &dismissed, i, now) {
                    Learned::Dismissed => Learned::Dismissed,
                    Learned::Added(p) => {
                        let p = self.put(tx, p)?;
                        profile.push(p.clone());
                        Learned::Added(p)
                    }
                    Learned::Merged(p) => {
                        let p = self.put(tx, p)?;
                        profile.iter_mut().filter(|old| old.id == p.id).for_each(|old| *old = p.clone());
                        Learned::Merged(p)
                    }
                });
            }
            Ok(out)
        })
    }

    /// Puts the user's wording in the place of preference `id`, which counts as stated from then on. What an inferred
    /// one said before is dismissed, so that it does not come back beside its correction.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Invalid`] for an empty or overlong text; those of any write.
    pub fn edit_preference(&self, id: i64, text: &str) -> Result<Preference, StoreError> {
        let text = text.trim();
        check_text("preference", text)?;
        let now = self.now();
        self.write(|tx| {
            let old = self.preference(tx, id)?;
            if old.source == Source::Inferred && !same_preference(&old.text, text) {
                self.dismiss(tx, &old)?;
            }
            let new =
                Preference { text: text.to_owned(), source: Source::Stated, confidence: 1.0, updated: now, ..old };
            self.put(tx, new)
        })
    }

    /// Throws preference `id` out. Inference does not bring it back; the user can, by stating it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; those of any write.
    pub fn delete_preference(&self, id: i64) -> Result<(), StoreError> {
        self.write(|tx| {
            let old = self.preference(tx, id)?;
            self.dismiss(tx, &old)?;
            tx.execute("DELETE FROM preferences WHERE id = ?", [id])?;
            Ok(())
        })
    }

    pub(super) fn profile(&self, conn: &Connection) -> Result<Vec<Preference>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM preferences WHERE user = ? ORDER BY id");
        self.rows(conn, &sql, |row| {
            let source: String = row.get(2)?;
            Ok(Preference {
                id: row.get(0)?,
                text: self.open("preferences.text", row, 1)?,
                source: if source == "stated" { Source::Stated } else { Source::Inferred },
                evidence: self.open_json("preferences.evidence", row, 3)?,
                confidence: row.get(4)?,
                created: row.get(5)?,
                updated: row.get(6)?,
            })
        })
    }

    fn preference(&self, conn: &Connection, id: i64) -> Result<Preference, StoreError> {
        let found = self.profile(conn)?.into_iter().find(|p| p.id == id);
        found.ok_or(StoreError::NotFound { what: "preference", id })
    }

    /// Writes a preference; its number is new where it is 0.
    pub(super) fn put(&self, tx: &Transaction<'_>, p: Preference) -> Result<Preference, StoreError> {
        let id = (p.id != 0).then_some(p.id);
        let source = if p.source == Source::Stated { "stated" } else { "inferred" };
        let (text, evidence) =
            (self.seal("preferences.text", &p.text)?, self.seal_json("preferences.evidence", &p.evidence)?);
        let sql = format!("INSERT OR REPLACE INTO preferences (user, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
        tx.execute(&sql, (self.id, id, text, source, evidence, p.confidence, p.created, p.updated))?;
        Ok(Preference { id: tx.last_insert_rowid(), ..p })
    }

    pub(super) fn dismissed(&self, conn: &Connection) -> Result<Vec<(i64, Dismissed)>, StoreError> {
        self.rows(conn, "SELECT id, marks FROM dismissed WHERE user = ? ORDER BY id", |row| {
            Ok((row.get(0)?, self.open_json("dismissed.marks", row, 1)?))
        })
    }

    fn dismiss(&self, tx: &Transaction<'_>, p: &Preference) -> Result<(), StoreError> {
        self.put_dismissed(tx, &Dismissed::of(p))
    }

    pub(super) fn put_dismissed(&self, tx: &Transaction<'_>, d: &Dismissed) -> Result<(), StoreError> {
        let marks = self.seal_json("dismissed.marks", d)?;
        tx.execute("INSERT INTO dismissed (user, marks) VALUES (?, ?)", (self.id, marks))?;
        Ok(())
    }
}

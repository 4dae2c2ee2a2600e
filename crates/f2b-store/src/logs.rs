//! How far each jail has read each log.
//!
//! A position is a number of bytes with the hash of the log's first line, or for a journal the time of the last entry
//! with that time as text, behind which the server puts the entry's cursor.
//!
//! Upstream: `Fail2BanDb.addLog`, `updateLog`, `getJournalPos`, `updateJournal`.

use f2b_types::Number;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{OptionalExtension, ToSql};

use crate::error::{Doing, StoreError};
use crate::store::Store;

/// How far a jail has read a log before.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownLog {
    /// Where it went on.
    pub position: Number,
    /// What told it from others then.
    pub md5: Option<String>,
    /// It is the same log still.
    pub is_same: bool,
}

/// How far a jail has read a file that had the name of a log before.
#[derive(Debug, Clone, PartialEq)]
pub struct OldLog {
    /// What tells it from others.
    pub md5: String,
    /// Where reading goes on.
    pub position: Number,
}

impl Store {
    /// How far the jail has read the log before; takes note of the log where there is something to note. (fail2ban gives
    /// the position of the same log only.)
    ///
    /// # Errors
    ///
    /// [`StoreError::Query`], for example where there is no such jail.
    pub fn add_log(
        &mut self,
        jail: &str,
        path: &str,
        position: Number,
        md5: Option<&str>,
    ) -> Result<Option<KnownLog>, StoreError> {
        let known = self.log_position(jail, path).doing("look up a log")?;
        let (known_md5, known_position) = known.unwrap_or((None, None));
        if known_md5.is_none() && (position.as_f64() != 0.0 || md5.is_some()) {
            self.insert_log(jail, path, position, md5).doing("add a log")?;
        }
        let is_same = md5.is_none() || md5 == known_md5.as_deref();
        Ok(known_position.map(|position| KnownLog { position, md5: known_md5, is_same }))
    }

    /// Takes note of the position up to which the jail has read the log.
    ///
    /// # Errors
    ///
    /// [`StoreError::Query`], for example where there is no such jail.
    pub fn update_log(
        &mut self,
        jail: &str,
        path: &str,
        position: Number,
        md5: Option<&str>,
    ) -> Result<(), StoreError> {
        let update = || {
            let sql = "UPDATE logs SET firstlinemd5 = ?3, lastfilepos = ?4 WHERE jail = ?1 AND path = ?2";
            self.connection.prepare_cached(sql)?.execute((jail, path, md5, Sql(position)))
        };
        if update().doing("update a log")? == 0 {
            self.insert_log(jail, path, position, md5).doing("add a log")?;
        }
        Ok(())
    }

    /// How far the jail has read files that had the name of the log and are still written to, as far as it has told
    /// ([`Self::update_old_log`]).
    ///
    /// # Errors
    ///
    /// [`StoreError::Query`].
    pub fn old_logs(&self, jail: &str, path: &str) -> Result<Vec<OldLog>, StoreError> {
        let logs = || -> rusqlite::Result<Vec<OldLog>> {
            let sql =
                "SELECT firstlinemd5, lastfilepos FROM logs WHERE jail = ?1 AND path = ?2 || firstlinemd5";
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query((jail, old_log(path, "")))?;
            let mut logs = Vec::new();
            while let Some(row) = rows.next()? {
                let md5 = row.get_ref(0)?.as_str().ok().map(str::to_owned);
                let log = md5.zip(number(row.get_ref(1)?));
                logs.extend(log.map(|(md5, position)| OldLog { md5, position }));
            }
            Ok(logs)
        };
        logs().doing("list the old files of a log")
    }

    /// Takes note of the position up to which the jail has read a file that had the name of the log. fail2ban, which has no
    /// such rows, takes it for another log that is not watched any more.
    ///
    /// # Errors
    ///
    /// [`StoreError::Query`], for example where there is no such jail.
    pub fn update_old_log(&mut self, jail: &str, path: &str, old: &OldLog) -> Result<(), StoreError> {
        self.update_log(jail, &old_log(path, &old.md5), old.position, Some(&old.md5))
    }

    /// Forgets a file that had the name of the log.
    ///
    /// # Errors
    ///
    /// [`StoreError::Query`].
    pub fn del_old_log(&mut self, jail: &str, path: &str, md5: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM logs WHERE jail = ?1 AND path = ?2";
        let delete = || self.connection.prepare_cached(sql)?.execute((jail, old_log(path, md5)));
        delete().doing("forget an old file of a log").map(drop)
    }

    /// The paths of the logs of one jail, or of all.
    ///
    /// # Errors
    ///
    /// [`StoreError::Query`].
    pub fn log_paths(&self, jail: Option<&str>) -> Result<Vec<String>, StoreError> {
        let paths = || -> rusqlite::Result<Vec<String>> {
            let sql = "SELECT DISTINCT path FROM logs WHERE ?1 IS NULL OR jail = ?1 ORDER BY path";
            self.connection
                .prepare_cached(sql)?
                .query_map([jail], |row| row.get(0))?
                .collect::<Result<_, _>>()
        };
        paths().doing("list the logs")
    }

    fn insert_log(
        &self,
        jail: &str,
        path: &str,
        position: Number,
        md5: Option<&str>,
    ) -> rusqlite::Result<usize> {
        let sql =
            "INSERT OR REPLACE INTO logs (jail, path, firstlinemd5, lastfilepos) VALUES (?1, ?2, ?3, ?4)";
        self.connection.prepare_cached(sql)?.execute((jail, path, md5, Sql(position)))
    }

    /// What the table says, as far as it has the right types.
    fn log_position(
        &self,
        jail: &str,
        path: &str,
    ) -> rusqlite::Result<Option<(Option<String>, Option<Number>)>> {
        let sql = "SELECT firstlinemd5, lastfilepos FROM logs WHERE jail = ?1 AND path = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        statement
            .query_row((jail, path), |row| {
                let md5 = row.get_ref(0)?.as_str_or_null().ok().flatten().map(Into::into);
                Ok((md5, number(row.get_ref(1)?)))
            })
            .optional()
    }
}

/// What stands for a file that had the name of a log: no path that somebody would give.
fn old_log(path: &str, md5: &str) -> String {
    format!("{path}//{md5}")
}

/// A number with the type that Python gives it.
pub(crate) struct Sql(pub(crate) Number);

impl ToSql for Sql {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(match self.0 {
            Number::Int(n) => Value::Integer(n),
            Number::Float(x) => Value::Real(x),
        }))
    }
}

/// The number in a column, if there is one.
pub(crate) fn number(value: ValueRef<'_>) -> Option<Number> {
    match value {
        ValueRef::Integer(n) => Some(Number::Int(n)),
        ValueRef::Real(x) => Some(Number::Float(x)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use f2b_types::{Recorder, Time};

    fn store() -> Store {
        let mut store = Store::open(":memory:", Time(0.0), &Recorder::default()).expect("a database");
        store.add_jail("sshd").expect("a jail");
        store
    }

    const LOG: &str = "/var/log/auth.log";

    #[test]
    fn a_log_goes_on_where_it_was_left() {
        let mut store = store();
        assert_eq!(store.add_log("sshd", LOG, Number::Int(0), Some("abc")).expect("noted"), None);
        store.update_log("sshd", LOG, Number::Int(42), Some("abc")).expect("noted");
        let known = |is_same| Some(KnownLog { position: Number::Int(42), md5: Some("abc".into()), is_same });
        assert_eq!(store.add_log("sshd", LOG, Number::Int(0), Some("abc")).expect("known"), known(true));
        assert_eq!(store.add_log("sshd", LOG, Number::Int(0), Some("new")).expect("known"), known(false));
        assert_eq!(store.log_paths(Some("sshd")).expect("a list"), [LOG]);
    }

    #[test]
    fn an_empty_log_is_not_worth_a_note() {
        let mut store = store();
        assert_eq!(store.add_log("sshd", LOG, Number::Int(0), None).expect("nothing"), None);
        assert!(store.log_paths(None).expect("a list").is_empty());
        store.update_log("sshd", LOG, Number::Int(7), None).expect("noted");
        let known = KnownLog { position: Number::Int(7), md5: None, is_same: true };
        assert_eq!(store.add_log("sshd", LOG, Number::Int(0), None).expect("known"), Some(known));
    }

    #[test]
    fn a_journal_is_known_by_its_time() {
        let mut store = store();
        let (path, time) = ("systemd-journal", Number::Float(1124012400.5));
        store.update_log("sshd", path, time, Some("2005-08-14 09:40:00")).expect("noted");
        let known = store.add_log("sshd", path, Number::Int(0), None).expect("an answer").expect("a place");
        assert_eq!((known.position, known.is_same), (time, true));
    }

    #[test]
    fn old_files_of_a_log_are_known_apart() {
        let mut store = store();
        let old = |md5: &str, position| OldLog { md5: md5.into(), position: Number::Int(position) };
        store.update_log("sshd", LOG, Number::Int(1), Some("now")).expect("noted");
        for log in [old("abc", 7), old("def", 8), old("abc", 9)] {
            store.update_old_log("sshd", LOG, &log).expect("noted");
        }
        store.update_old_log("sshd", "/var/log/auth", &old("xyz", 3)).expect("noted");
        let known = store.old_logs("sshd", LOG).expect("a list");
        assert_eq!(known, [old("abc", 9), old("def", 8)]);
        store.del_old_log("sshd", LOG, "abc").expect("forgotten");
        assert_eq!(store.old_logs("sshd", LOG).expect("a list"), [old("def", 8)]);
        let known = KnownLog { position: Number::Int(1), md5: Some("now".into()), is_same: true };
        assert_eq!(store.add_log("sshd", LOG, Number::Int(0), Some("now")).expect("known"), Some(known));
        assert!(store.old_logs("nobody", LOG).expect("a list").is_empty());
    }

    #[test]
    fn a_jail_must_be_there() {
        assert!(store().add_log("nobody", LOG, Number::Int(1), None).is_err());
    }

    #[test]
    fn columns_of_other_types_count_for_nothing() {
        let mut store = store();
        let sql =
            "INSERT INTO logs (jail, path, firstlinemd5, lastfilepos) VALUES ('sshd', ?1, x'00', 'far')";
        store.connection.execute(sql, [LOG]).expect("a row");
        assert_eq!(store.add_log("sshd", LOG, Number::Int(3), Some("abc")).expect("noted"), None);
    }
}

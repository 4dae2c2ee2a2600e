//! The open database: opening, settings, jails and tidying up.
//!
//! Upstream: `database.Fail2BanDb`.

use std::path::Path;
use std::time::Duration;

use f2b_types::{Level, Log, Number, Record, Time};
use rusqlite::{Connection, ErrorCode};

use crate::error::{Doing, StoreError, message};
use crate::{repair, schema};

pub(crate) const LOGGER: &str = "database";

/// How long to wait for somebody else who reads or writes the file.
const PATIENCE: Duration = Duration::from_secs(1);

/// Files up to this size are checked through and through when they are opened.
const CHECKED_SIZE: u64 = 64 << 20;

/// A last ban is kept for this many times its duration.
const OUTDATED_FACTOR: i64 = 3;

/// Prepared statements that are kept.
const STATEMENTS: usize = 32;

/// The database, owned by one thread.
#[derive(Debug)]
pub struct Store {
    filename: String,
    pub(crate) connection: Connection,
    pub(crate) max_matches: i64,
    purge_age: Number,
}

impl Store {
    /// Opens or creates the database; `:memory:` is one that lasts as long as the process.
    ///
    /// The last level of the directory is created where it is missing. Older schemas are brought up to date, after a
    /// backup. A file that is damaged or no database at all is put aside under a name with the time `now`, and what can
    /// be read of it is carried over.
    ///
    /// # Errors
    ///
    /// [`StoreError`] names the file: a directory, a file that may not be read, the schema of a later release.
    pub fn open(filename: &str, now: Time, log: &dyn Log) -> Result<Self, StoreError> {
        if filename != MEMORY {
            create_directory(Path::new(filename))?;
        }
        let connection = Self::open_connection(filename, now, log)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Self {
            filename: filename.to_owned(),
            connection,
            max_matches: 10,
            purge_age: Number::Int(86_400),
        })
    }

    fn open_connection(filename: &str, now: Time, log: &dyn Log) -> Result<Connection, StoreError> {
        let failed = |error| StoreError::Open { filename: filename.to_owned(), error };
        let mut connection = connect(filename, log)?;
        let version = match configure(&connection).and_then(|()| checked_version(&connection, filename)) {
            Ok(version) => version,
            Err(error) if is_damage(&error) && Path::new(filename).is_file() => {
                say(log, Level::ERROR, || {
                    format!("Error opening fail2ban persistent database '{filename}': {}", message(&error))
                });
                drop(connection);
                return repair::repair(filename, now, log);
            }
            Err(error) => return Err(failed(error)),
        };
        match version {
            None => {
                schema::create(&mut connection).map_err(failed)?;
                say(log, Level::WARNING, || format!("New database created. Version '{}'", schema::VERSION));
            }
            // Somebody may have dropped a table.
            Some(schema::VERSION) => schema::create(&mut connection).map_err(failed)?,
            Some(version) if version > schema::VERSION => {
                return Err(StoreError::Future { filename: filename.to_owned(), version });
            }
            Some(version) => return update(connection, filename, version, now, log),
        }
        Ok(connection)
    }

    /// The name of the file, as it was given.
    pub fn filename(&self) -> &str {
        &self.filename
    }

    /// Sets how many lines are kept for each ban (`dbmaxmatches`).
    pub fn set_max_matches(&mut self, max: i64) {
        self.max_matches = max;
    }

    /// How many lines are kept for each ban.
    pub fn max_matches(&self) -> i64 {
        self.max_matches
    }

    /// Sets for how many seconds bans are kept (`dbpurgeage`).
    pub fn set_purge_age(&mut self, seconds: Number) {
        self.purge_age = seconds;
    }

    /// For how many seconds bans are kept.
    pub fn purge_age(&self) -> Number {
        self.purge_age
    }

    /// Adds a jail, or enables it again.
    ///
    /// # Errors
    ///
    /// [`StoreError::Query`], as all that follow.
    pub fn add_jail(&mut self, name: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO jails (name, enabled) VALUES (?1, 1)
                   ON CONFLICT (name) DO UPDATE SET enabled = 1 WHERE enabled != 1";
        self.connection.prepare_cached(sql).and_then(|mut s| s.execute([name])).map(drop).doing("add a jail")
    }

    /// Disables a jail; it goes with its last ban.
    ///
    /// # Errors
    ///
    /// [`StoreError::Query`].
    pub fn del_jail(&mut self, name: &str) -> Result<(), StoreError> {
        let sql = "UPDATE jails SET enabled = 0 WHERE name = ?1";
        self.connection.execute(sql, [name]).map(drop).doing("disable a jail")
    }

    /// Disables all jails.
    ///
    /// # Errors
    ///
    /// [`StoreError::Query`].
    pub fn del_all_jails(&mut self) -> Result<(), StoreError> {
        self.connection.execute("UPDATE jails SET enabled = 0", []).map(drop).doing("disable all jails")
    }

    /// The names of the jails that are enabled, or of those that are not, or of all.
    ///
    /// # Errors
    ///
    /// [`StoreError::Query`].
    pub fn jail_names(&self, enabled: Option<bool>) -> Result<Vec<String>, StoreError> {
        let names = || -> rusqlite::Result<Vec<String>> {
            let sql = "SELECT name FROM jails WHERE ?1 IS NULL OR enabled = ?1 ORDER BY name";
            self.connection
                .prepare_cached(sql)?
                .query_map([enabled], |row| row.get(0))?
                .collect::<Result<_, _>>()
        };
        names().doing("list the jails")
    }

    /// Deletes what is older than the purge age, then the disabled jails without bans.
    ///
    /// # Errors
    ///
    /// [`StoreError::Query`].
    pub fn purge(&mut self, now: Time) -> Result<(), StoreError> {
        let age = self.purge_age.as_f64();
        let purge = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM bans WHERE timeofban < ?1", [now.0 - age])?;
            transaction.execute(
                "DELETE FROM bips WHERE timeofban < ?1 AND bantime != -1 AND timeofban + bantime * ?2 < ?1",
                (now.0.trunc() - age, OUTDATED_FACTOR),
            )?;
            transaction.execute(
                "DELETE FROM jails WHERE enabled = 0
                 AND NOT EXISTS (SELECT 1 FROM bans WHERE bans.jail = jails.name)
                 AND NOT EXISTS (SELECT 1 FROM bips WHERE bips.jail = jails.name)",
                [],
            )?;
            transaction.commit()
        };
        purge(&mut self.connection).doing("purge")
    }

    /// Closes the database.
    pub fn close(self, log: &dyn Log) {
        say(log, Level::DEBUG, || "Close connection to database ...".into());
        drop(self);
        say(log, Level::INFO, || "Connection to database closed.".into());
    }
}

/// A database without a file.
pub(crate) const MEMORY: &str = ":memory:";

pub(crate) fn say(log: &dyn Log, level: Level, text: impl FnOnce() -> String) {
    if log.enabled(level) {
        log.write(Record::new(level, LOGGER, text()));
    }
}

/// Creates the last level of the directory of a file with an absolute name.
fn create_directory(file: &Path) -> Result<(), StoreError> {
    let Some(directory) = file.parent().filter(|directory| directory.is_absolute() && !directory.is_dir())
    else {
        return Ok(());
    };
    std::fs::create_dir(directory).map_err(|error| StoreError::Directory { path: directory.into(), error })
}

pub(crate) fn connect(filename: &str, log: &dyn Log) -> Result<Connection, StoreError> {
    let connection =
        if filename == MEMORY { Connection::open_in_memory() } else { Connection::open(filename) };
    match connection {
        Ok(connection) => {
            say(log, Level::INFO, || format!("Connected to fail2ban persistent database '{filename}'"));
            Ok(connection)
        }
        Err(error) => {
            say(log, Level::ERROR, || {
                let reason = message(&error);
                format!("Error connecting to fail2ban persistent database '{filename}': {reason}")
            });
            Err(StoreError::Open { filename: filename.to_owned(), error })
        }
    }
}

/// Upstream keeps the rollback journal in memory, so that a server that is killed in the middle of a transaction leaves
/// a file that nobody can put right. Here the journal is a file, cut to zero after each transaction: the next one who
/// opens the database finds it and rolls back. Nothing waits for the disk (`synchronous` is off as upstream has it): what
/// a process has written survives its death, and only a crash of the machine can lose or damage something.
pub(crate) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    match connection.query_row("PRAGMA journal_mode = TRUNCATE", [], |_| Ok(())) {
        // Somebody else has the file open in another mode; theirs does too.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
        result => result,
    }
}

/// The version of the schema of a database that is in order.
fn checked_version(connection: &Connection, filename: &str) -> rusqlite::Result<Option<i64>> {
    let version = schema::version(connection)?;
    let size = std::fs::metadata(filename).map_or(0, |file| file.len());
    if version.is_some() && size <= CHECKED_SIZE {
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(rusqlite::Error::SqliteFailure(code, Some(verdict)));
        }
    }
    Ok(version)
}

/// Whether an error means that the file does not hold what it should, so that another attempt would fare no better.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(code, _) => {
            matches!(code.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        }
        // What should be a table is none, or lacks a column.
        rusqlite::Error::SqlInputError { .. } => true,
        rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::FromSqlConversionFailure(..) => true,
        rusqlite::Error::IntegralValueOutOfRange(..) => true,
        _ => false,
    }
}

/// Brings an older schema up to date.
fn update(
    mut connection: Connection,
    filename: &str,
    version: i64,
    now: Time,
    log: &dyn Log,
) -> Result<Connection, StoreError> {
    if filename != MEMORY {
        repair::copy_aside(filename, version, now, log)?;
    }
    match schema::migrate(&mut connection, version) {
        Ok(()) => {
            let newest = schema::VERSION;
            say(log, Level::WARNING, || format!("Database updated from '{version}' to '{newest}'"));
            Ok(connection)
        }
        Err(error) => {
            say(log, Level::ERROR, || {
                format!("Failed to upgrade database '{filename}': {}", message(&error))
            });
            drop(connection);
            if is_damage(&error) {
                repair::repair(filename, now, log)
            } else {
                Err(StoreError::Open { filename: filename.to_owned(), error })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NewBan;
    use f2b_types::{Id, Recorder, Ticket};

    const NOW: Time = Time(1_124_012_400.0);

    fn store() -> Store {
        Store::open(":memory:", NOW, &Recorder::default()).expect("a database")
    }

    fn ticket(number: u32) -> Ticket {
        Ticket::new(Id::parse(&format!("192.0.2.{number}")), NOW)
    }

    #[test]
    fn a_store_can_be_handed_to_a_thread() {
        fn sendable<T: Send>() {}
        sendable::<Store>();
        sendable::<StoreError>();
    }

    #[test]
    fn jails_come_and_go() {
        let mut store = store();
        for jail in ["a", "b", "c"] {
            store.add_jail(jail).expect("a jail");
        }
        store.del_jail("a").expect("disabled");
        assert_eq!(store.jail_names(Some(true)).expect("names"), ["b", "c"]);
        store.del_all_jails().expect("disabled");
        store.add_jail("b").expect("enabled");
        assert_eq!(store.jail_names(Some(false)).expect("names"), ["a", "c"]);
        let ticket = ticket(1);
        store.add_ban(NewBan { jail: "c", ticket: &ticket, default_ban_time: 600.0 }).expect("a ban");
        store.purge(NOW).expect("purged");
        assert_eq!(store.jail_names(None).expect("names"), ["b", "c"]);
    }

    #[test]
    fn what_is_old_is_purged() {
        let mut store = store();
        store.add_jail("sshd").expect("a jail");
        for (number, ban_time) in [(1, 600.0), (2, -1.0), (3, 100_000.0)] {
            let mut ticket = ticket(number);
            ticket.ban_time = Some(Number::Float(ban_time));
            store.add_ban(NewBan { jail: "sshd", ticket: &ticket, default_ban_time: 600.0 }).expect("a ban");
        }
        let left = |store: &Store, table: &str| -> i64 {
            store
                .connection
                .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
                .expect("n")
        };
        store.set_purge_age(Number::Int(3600));
        store.purge(NOW + 3600.0).expect("purged");
        assert_eq!((left(&store, "bans"), left(&store, "bips")), (3, 3));
        store.purge(NOW + 3600.0 + 3.0 * 600.0 + 1.0).expect("purged");
        assert_eq!((left(&store, "bans"), left(&store, "bips")), (0, 2));
        store.purge(NOW + 1e9).expect("purged");
        assert_eq!(left(&store, "bips"), 1);
    }
}

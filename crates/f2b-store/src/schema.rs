//! The tables of schema version 4, and the way there from older versions.
//!
//! The tables, their columns, keys and indices are an interface: upstream opens the file again, and others read it.
//!
//! Upstream: `database.Fail2BanDb` (`_CREATE_SCRIPTS`, `updateDb`).

use rusqlite::{Connection, OptionalExtension, Transaction};

/// The version of the schema that this release writes.
pub(crate) const VERSION: i64 = 4;

const VERSIONS: &str = "
    CREATE TABLE IF NOT EXISTS fail2banDb (version INTEGER);
";

const JAILS: &str = "
    CREATE TABLE IF NOT EXISTS jails (
        name    TEXT    NOT NULL UNIQUE,
        enabled INTEGER NOT NULL DEFAULT 1
    );
    CREATE INDEX IF NOT EXISTS jails_name ON jails (name);
";

const LOGS: &str = "
    CREATE TABLE IF NOT EXISTS logs (
        jail         TEXT NOT NULL,
        path         TEXT,
        firstlinemd5 TEXT,
        lastfilepos  INTEGER DEFAULT 0,
        FOREIGN KEY (jail) REFERENCES jails (name) ON DELETE CASCADE,
        UNIQUE (jail, path),
        UNIQUE (jail, path, firstlinemd5)
    );
    CREATE INDEX IF NOT EXISTS logs_path ON logs (path);
    CREATE INDEX IF NOT EXISTS logs_jail_path ON logs (jail, path);
";

/// Every ban there was.
const BANS: &str = "
    CREATE TABLE IF NOT EXISTS bans (
        jail      TEXT    NOT NULL,
        ip        TEXT,
        timeofban INTEGER NOT NULL,
        bantime   INTEGER NOT NULL,
        bancount  INTEGER NOT NULL DEFAULT 1,
        data      JSON,
        FOREIGN KEY (jail) REFERENCES jails (name)
    );
    CREATE INDEX IF NOT EXISTS bans_jail_timeofban_ip ON bans (jail, timeofban);
    CREATE INDEX IF NOT EXISTS bans_jail_ip ON bans (jail, ip);
    CREATE INDEX IF NOT EXISTS bans_ip ON bans (ip);
";

/// The last ban of each id in each jail.
const BIPS: &str = "
    CREATE TABLE IF NOT EXISTS bips (
        ip        TEXT    NOT NULL,
        jail      TEXT    NOT NULL,
        timeofban INTEGER NOT NULL,
        bantime   INTEGER NOT NULL,
        bancount  INTEGER NOT NULL DEFAULT 1,
        data      JSON,
        PRIMARY KEY (ip, jail),
        FOREIGN KEY (jail) REFERENCES jails (name)
    );
    CREATE INDEX IF NOT EXISTS bips_timeofban ON bips (timeofban);
    CREATE INDEX IF NOT EXISTS bips_ip ON bips (ip);
";

/// One step from a version to the next. Steps are never changed, only added.
type Migration = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// The step at index `n` leads from version `n + 1` to `n + 2`.
const MIGRATIONS: &[Migration] = &[logs_of_many_jails, bans_with_times, last_bans_apart];

/// Creates what is missing, and writes the version if there is none.
pub(crate) fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for table in [VERSIONS, JAILS, LOGS, BANS, BIPS] {
        transaction.execute_batch(table)?;
    }
    transaction.execute(
        "INSERT INTO fail2banDb (version) SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM fail2banDb)",
        [VERSION],
    )?;
    transaction.commit()
}

/// The version of the schema; `None` where the file has no table of that name or nothing in it.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    if !has_table(connection, "fail2banDb")? {
        return Ok(None);
    }
    connection.query_row("SELECT version FROM fail2banDb LIMIT 1", [], |row| row.get(0)).optional()
}

/// Takes the schema from `version` to the present one, all at once or not at all.
pub(crate) fn migrate(connection: &mut Connection, version: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(JAILS)?;
    let first = usize::try_from(version - 1).unwrap_or(0);
    for migration in MIGRATIONS.iter().skip(first) {
        migration(&transaction)?;
    }
    transaction.execute("UPDATE fail2banDb SET version = ?1", [VERSION])?;
    transaction.commit()
}

/// From version 2 on, several jails may watch the same log.
fn logs_of_many_jails(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    replace(
        transaction,
        "logs",
        LOGS,
        "INSERT OR REPLACE INTO logs (jail, path, firstlinemd5, lastfilepos)
         SELECT jail, path, firstlinemd5, lastfilepos FROM old_logs WHERE jail IN (SELECT name FROM jails)",
    )
}

/// From version 3 on, a ban knows how long it lasts and the how-manieth it is. Of the old ones nobody knows it: −2.
fn bans_with_times(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    replace(
        transaction,
        "bans",
        BANS,
        "INSERT INTO bans (jail, ip, timeofban, bantime, bancount, data)
         SELECT jail, ip, timeofban, -2, 1, data FROM old_bans WHERE jail IN (SELECT name FROM jails)",
    )
}

/// From version 4 on, the last ban of each id has a table of its own.
fn last_bans_apart(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(BANS)?;
    transaction.execute_batch(BIPS)?;
    transaction.execute_batch(
        "INSERT OR REPLACE INTO bips (ip, jail, timeofban, bantime, bancount, data)
         SELECT ip, jail, timeofban, bantime, bancount, data FROM bans WHERE ip IS NOT NULL ORDER BY timeofban",
    )
}

/// Gives a table, if it is there, the definition `create`, and lets `copy` bring the rows over from `old_<table>`.
/// A mere renaming would leave the indices at the old table, so the rows are put aside instead.
fn replace(transaction: &Transaction<'_>, table: &str, create: &str, copy: &str) -> rusqlite::Result<()> {
    if !has_table(transaction, table)? {
        return transaction.execute_batch(create);
    }
    transaction.execute_batch(&format!(
        "CREATE TEMPORARY TABLE old_{table} AS SELECT * FROM {table}; DROP TABLE {table}; {create}; {copy}; \
         DROP TABLE old_{table};"
    ))
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1 COLLATE NOCASE)",
        [name],
        |row| row.get(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables as they were in a version, with a row in each.
    fn old(version: i64) -> Connection {
        let connection = Connection::open_in_memory().expect("a database");
        let logs = if version == 1 { "path TEXT UNIQUE" } else { "path TEXT" };
        let bans =
            if version < 3 { "" } else { "bantime INTEGER NOT NULL, bancount INTEGER NOT NULL DEFAULT 1," };
        connection
            .execute_batch(&format!(
                "PRAGMA foreign_keys = OFF;
                 CREATE TABLE fail2banDb (version INTEGER); INSERT INTO fail2banDb VALUES ({version});
                 CREATE TABLE jails (name TEXT NOT NULL UNIQUE, enabled INTEGER NOT NULL DEFAULT 1);
                 CREATE INDEX jails_name ON jails (name);
                 INSERT INTO jails VALUES ('sshd', 1);
                 CREATE TABLE logs (jail TEXT NOT NULL, {logs}, firstlinemd5 TEXT, lastfilepos INTEGER DEFAULT 0,
                     FOREIGN KEY (jail) REFERENCES jails (name) ON DELETE CASCADE);
                 CREATE INDEX logs_path ON logs (path);
                 INSERT INTO logs VALUES ('sshd', '/var/log/auth.log', 'abc', 42);
                 INSERT INTO logs VALUES ('gone', '/var/log/gone.log', 'abc', 42);
                 CREATE TABLE bans (jail TEXT NOT NULL, ip TEXT, timeofban INTEGER NOT NULL, {bans} data JSON,
                     FOREIGN KEY (jail) REFERENCES jails (name));
                 CREATE INDEX bans_ip ON bans (ip);"
            ))
            .expect("old tables");
        let values = if version < 3 { "" } else { "600, 2," };
        for time in [100, 200] {
            let sql = format!("INSERT INTO bans VALUES ('sshd', '192.0.2.1', {time}, {values} '{{}}')");
            connection.execute(&sql, []).expect("a ban");
        }
        connection.execute_batch("PRAGMA foreign_keys = ON").expect("a pragma");
        connection
    }

    fn definitions(connection: &Connection) -> Vec<(String, String)> {
        let sql = "SELECT name, COALESCE(sql, '') FROM sqlite_master ORDER BY name";
        let mut statement = connection.prepare(sql).expect("a statement");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
        rows.collect::<Result<_, _>>().expect("rows")
    }

    #[track_caller]
    fn check(version: i64, bips: &str) {
        let mut migrated = old(version);
        migrate(&mut migrated, version).expect("migrated");
        assert_eq!(super::version(&migrated).expect("a version"), Some(VERSION));
        let rows = |table: &str| -> String {
            let columns =
                "ip || ' ' || jail || ' ' || timeofban || ' ' || bantime || ' ' || bancount || ' ' || data";
            let sql = format!("SELECT COALESCE(group_concat({columns}, '; '), '') FROM {table}");
            migrated.query_row(&sql, [], |row| row.get(0)).expect("rows")
        };
        assert_eq!(rows("bips"), bips);
        assert_eq!(rows("bans"), format!("{}; {bips}", bips.replace("200", "100")));
        let paths: String =
            migrated.query_row("SELECT group_concat(path) FROM logs", [], |row| row.get(0)).expect("paths");
        let all = version >= 2;
        assert_eq!(paths, if all { "/var/log/auth.log,/var/log/gone.log" } else { "/var/log/auth.log" });
        // Twice over: a migrated database differs from a new one only where it was not touched.
        create(&mut migrated).expect("complete");
        let mut new = Connection::open_in_memory().expect("a database");
        create(&mut new).expect("created");
        let names =
            |connection: &Connection| definitions(connection).into_iter().map(|d| d.0).collect::<Vec<_>>();
        let missing: Vec<_> =
            names(&new).into_iter().filter(|name| !names(&migrated).contains(name)).collect();
        let expected: &[&str] =
            if all { &["sqlite_autoindex_logs_1", "sqlite_autoindex_logs_2"] } else { &[] };
        assert_eq!(missing, expected);
    }

    #[test]
    fn version_1_learns_all() {
        check(1, "192.0.2.1 sshd 200 -2 1 {}");
    }

    #[test]
    fn version_2_learns_durations() {
        check(2, "192.0.2.1 sshd 200 -2 1 {}");
    }

    #[test]
    fn version_3_learns_last_bans() {
        check(3, "192.0.2.1 sshd 200 600 2 {}");
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let mut connection = old(2);
        connection.execute_batch("CREATE VIEW bips AS SELECT 1").expect("a view in the way");
        assert!(migrate(&mut connection, 2).is_err());
        assert_eq!(version(&connection).expect("a version"), Some(2));
        let bans: i64 =
            connection.query_row("SELECT count(*) FROM bans", [], |row| row.get(0)).expect("bans");
        assert_eq!(bans, 2);
    }

    #[test]
    fn creating_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().expect("a database");
        create(&mut connection).expect("created");
        let before = definitions(&connection);
        create(&mut connection).expect("created");
        assert_eq!(definitions(&connection), before);
        let versions: i64 =
            connection.query_row("SELECT count(*) FROM fail2banDb", [], |row| row.get(0)).expect("a count");
        assert_eq!(versions, 1);
    }
}

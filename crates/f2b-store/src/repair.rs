//! Backups, and what can be saved of a file that is damaged.
//!
//! The damaged file is moved aside, never written to. Every table is read from its beginning until it breaks, and then
//! from its end, row by row; what has the right types goes into a fresh database.
//!
//! Upstream: `Fail2BanDb.repairDB`, which calls the program `sqlite3`, and `updateDb`.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use f2b_types::{Level, Log, Time, local_time};
use jiff::tz::TimeZone;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use crate::error::{StoreError, message};
use crate::schema;
use crate::store::{configure, connect, say};

/// What SQLite keeps beside a database.
const COMPANIONS: &[&str] = &["-journal", "-wal", "-shm"];

/// Replaces a damaged file by what can be saved of it.
pub(crate) fn repair(filename: &str, now: Time, log: &dyn Log) -> Result<Connection, StoreError> {
    say(log, Level::INFO, || format!("Trying to repair database {filename}"));
    let backup = backup_name(filename, now);
    move_aside(filename, &backup, log)
        .map_err(|error| StoreError::Backup { filename: filename.to_owned(), error })?;
    let failed = |error| StoreError::Open { filename: filename.to_owned(), error };
    let mut connection = connect(filename, log)?;
    configure(&connection).and_then(|()| schema::create(&mut connection)).map_err(failed)?;
    let rows = match salvage(&backup, &mut connection) {
        Ok(rows) => rows,
        Err(error) => {
            say(log, Level::ERROR, || {
                format!("  Error repairing of fail2ban database '{filename}': {}", message(&error))
            });
            0
        }
    };
    if rows > 0 {
        let size = fs::metadata(filename).map_or(0, |file| file.len());
        say(log, Level::INFO, || format!("  Repair seems to be successful, restored {size} byte(s)."));
    } else {
        say(log, Level::INFO, || "  Repair seems to be failed, restored 0 byte(s).".into());
        say(log, Level::WARNING, || format!("New database created. Version '{}'", schema::VERSION));
    }
    Ok(connection)
}

/// Copies the file before its schema is changed.
pub(crate) fn copy_aside(filename: &str, version: i64, now: Time, log: &dyn Log) -> Result<(), StoreError> {
    let backup = backup_name(filename, now);
    say(log, Level::INFO, || format!("Upgrade database: {backup} from version '{version}'"));
    if !Path::new(&backup).is_file() {
        fs::copy(filename, &backup)
            .map_err(|error| StoreError::Backup { filename: filename.to_owned(), error })?;
        say(log, Level::INFO, || format!("  Database backup created: {backup}"));
    }
    Ok(())
}

/// `FILE.20261122-101112`, in UTC.
fn backup_name(filename: &str, now: Time) -> String {
    match local_time(now, &TimeZone::UTC) {
        Some(time) => format!("{filename}.{}", time.strftime("%Y%m%d-%H%M%S")),
        None => format!("{filename}.backup"),
    }
}

/// Moves the database and what belongs to it: a journal that stayed behind would be played into the next file.
fn move_aside(filename: &str, backup: &str, log: &dyn Log) -> io::Result<()> {
    if Path::new(backup).is_file() {
        fs::remove_file(filename)?;
    } else {
        fs::rename(filename, backup)?;
        say(log, Level::INFO, || format!("  Database backup created: {backup}"));
    }
    for companion in COMPANIONS {
        match fs::rename(format!("{filename}{companion}"), format!("{backup}{companion}")) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// A column, and what may be in it.
type Column = (&'static str, fn(&Value) -> bool);

fn text(value: &Value) -> bool {
    matches!(value, Value::Text(_))
}

fn optional_text(value: &Value) -> bool {
    matches!(value, Value::Text(_) | Value::Null)
}

fn number(value: &Value) -> bool {
    matches!(value, Value::Integer(_) | Value::Real(_))
}

fn data(value: &Value) -> bool {
    matches!(value, Value::Text(_) | Value::Blob(_) | Value::Null)
}

/// A table and its columns; of each kind of rows the later ones count.
const TABLES: &[(&str, &[Column])] = &[
    ("jails", &[("name", text), ("enabled", number)]),
    ("logs", &[("jail", text), ("path", text), ("firstlinemd5", optional_text), ("lastfilepos", number)]),
    (
        "bans",
        &[
            ("jail", text),
            ("ip", text),
            ("timeofban", number),
            ("bantime", number),
            ("bancount", number),
            ("data", data),
        ],
    ),
    (
        "bips",
        &[
            ("ip", text),
            ("jail", text),
            ("timeofban", number),
            ("bantime", number),
            ("bancount", number),
            ("data", data),
        ],
    ),
];

/// Copies what can be read; the number of rows. Fails only if the fresh database does.
fn salvage(backup: &str, fresh: &mut Connection) -> rusqlite::Result<usize> {
    let Ok(damaged) = open_read_only(backup) else { return Ok(0) };
    let transaction = fresh.transaction()?;
    let mut rows = 0;
    for (table, columns) in TABLES {
        for order in ["ASC", "DESC"] {
            let complete = copy_rows(&damaged, &transaction, table, columns, order, &mut rows)?;
            if complete {
                break;
            }
        }
    }
    transaction.commit()?;
    Ok(rows)
}

/// Nothing is written to the file, not even a rollback.
fn open_read_only(file: &str) -> rusqlite::Result<Connection> {
    let path: String = file
        .bytes()
        .map(|byte| match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)?;
    // Lets SQLite pass over definitions that it can't read.
    connection.pragma_update(None, "writable_schema", true)?;
    Ok(connection)
}

/// Copies the rows of one table in one direction until the end (true) or until an error (false).
fn copy_rows(
    damaged: &Connection,
    fresh: &Connection,
    table: &str,
    columns: &[Column],
    order: &str,
    rows: &mut usize,
) -> rusqlite::Result<bool> {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let marks = vec!["?"; names.len()].join(", ");
    let list = names.join(", ");
    // `NOT INDEXED` keeps to the table itself, whatever state its indices are in.
    let select = format!("SELECT {list} FROM {table} NOT INDEXED ORDER BY rowid {order}");
    let insert = format!("INSERT OR IGNORE INTO {table} ({list}) VALUES ({marks})");
    // The second pass over a table without a key meets again what the first one has seen.
    let known = format!(
        "SELECT EXISTS (SELECT 1 FROM {table} WHERE {})",
        names.iter().map(|name| format!("{name} IS ?")).collect::<Vec<_>>().join(" AND ")
    );
    let Ok(mut read) = damaged.prepare(&select) else { return Ok(true) };
    let mut write = fresh.prepare_cached(&insert)?;
    let mut look = fresh.prepare_cached(&known)?;
    let Ok(mut found) = read.query([]) else { return Ok(false) };
    loop {
        let row = match found.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(true),
            Err(_) => return Ok(false),
        };
        let values: Result<Vec<Value>, _> = (0..names.len()).map(|index| row.get(index)).collect();
        let Ok(values) = values else { continue };
        if !std::iter::zip(columns, &values).all(|((_, valid), value)| valid(value)) {
            continue;
        }
        if order == "DESC" && look.query_row(params_from_iter(&values), |row| row.get::<_, bool>(0))? {
            continue;
        }
        if let Some((index, _)) = names.iter().enumerate().find(|(_, name)| **name == "jail") {
            // The list of jails may be what was lost.
            fresh
                .prepare_cached("INSERT OR IGNORE INTO jails (name, enabled) VALUES (?1, 1)")?
                .execute([&values[index]])?;
        }
        *rows += write.execute(params_from_iter(&values))?;
    }
}

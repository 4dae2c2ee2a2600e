//! What becomes of files of all kinds: new, old, damaged, in use by others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use f2b_store::{CurrentBans, NewBan, Store, StoreError};
use f2b_types::{Id, Recorder, Ticket, Time};
use rusqlite::Connection;
use tempfile::TempDir;

const NOW: Time = Time(1_124_012_400.0);
const STAMP: &str = "20050814-094000";

struct Place {
    directory: TempDir,
    log: Recorder,
}

impl Place {
    fn new() -> Self {
        Self { directory: TempDir::new().expect("a directory"), log: Recorder::default() }
    }

    fn file(&self) -> String {
        self.directory.path().join("f2b.sqlite3").to_string_lossy().into_owned()
    }

    fn backup(&self) -> String {
        format!("{}.{STAMP}", self.file())
    }

    fn open(&self) -> Result<Store, StoreError> {
        Store::open(&self.file(), NOW, &self.log)
    }

    /// A database with so many bans.
    fn fill(&self, bans: u32) {
        let mut store = self.open().expect("a database");
        store.add_jail("sshd").expect("a jail");
        let tickets: Vec<Ticket> = (0..bans).map(ticket).collect();
        let new = |ticket| NewBan { jail: "sshd", ticket, default_ban_time: 600.0 };
        store.add_bans(&tickets.iter().map(new).collect::<Vec<_>>()).expect("bans");
    }

    #[track_caller]
    fn check_log(&self, expected: &[&str]) {
        let (file, backup) = (self.file(), self.backup());
        let shorten = |line: &String| line.replace(&backup, "BACKUP").replace(&file, "FILE");
        assert_eq!(self.log.lines().iter().map(shorten).collect::<Vec<_>>(), expected);
    }
}

fn ticket(number: u32) -> Ticket {
    let mut ticket = Ticket::new(Id::parse(&format!("10.0.{}.{}", number / 250, number % 250)), NOW);
    ticket.data.matches.push("x".repeat(100).as_str().into());
    ticket
}

fn count(store: &Store) -> usize {
    let asked = CurrentBans {
        jail: "sshd",
        now: NOW,
        for_ban_time: None,
        max_ban_time: None,
        jail_ban_time: 600.0,
        max_matches: None,
    };
    store.current_bans(&asked, &Recorder::default()).expect("bans").len()
}

#[test]
fn a_new_file_becomes_a_database() {
    let place = Place::new();
    let file = place.directory.path().join("new/f2b.sqlite3");
    let store = Store::open(&file.to_string_lossy(), NOW, &place.log).expect("a database");
    assert_eq!(store.filename(), file.to_string_lossy());
    store.close(&place.log);
    let lines = place.log.lines();
    assert_eq!(
        lines[1..],
        [
            "WARNING New database created. Version '4'",
            "DEBUG Close connection to database ...",
            "INFO Connection to database closed.",
        ]
    );
    let deep = place.directory.path().join("a/b/f2b.sqlite3");
    assert!(matches!(
        Store::open(&deep.to_string_lossy(), NOW, &place.log),
        Err(StoreError::Directory { .. })
    ));
}

#[test]
fn an_empty_file_becomes_a_database() {
    let place = Place::new();
    fs::write(place.file(), "").expect("a file");
    assert_eq!(count(&place.open().expect("a database")), 0);
    place.check_log(&[
        "INFO Connected to fail2ban persistent database 'FILE'",
        "WARNING New database created. Version '4'",
    ]);
}

#[test]
fn a_text_file_is_put_aside() {
    let place = Place::new();
    fs::write(place.file(), "this is no database\n".repeat(200)).expect("a file");
    assert_eq!(count(&place.open().expect("a fresh database")), 0);
    place.check_log(&[
        "INFO Connected to fail2ban persistent database 'FILE'",
        "ERROR Error opening fail2ban persistent database 'FILE': file is not a database",
        "INFO Trying to repair database FILE",
        "INFO   Database backup created: BACKUP",
        "INFO Connected to fail2ban persistent database 'FILE'",
        "INFO   Repair seems to be failed, restored 0 byte(s).",
        "WARNING New database created. Version '4'",
    ]);
    assert!(fs::read_to_string(place.backup()).expect("a backup").starts_with("this is no database"));
    place.fill(1);
    assert_eq!(count(&place.open().expect("the same database")), 1);
}

#[test]
fn random_bytes_are_put_aside() {
    for seed in 0..20_u32 {
        let place = Place::new();
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        })
        .take(20_000)
        .collect();
        fs::write(place.file(), &bytes).expect("a file");
        assert_eq!(count(&place.open().expect("a fresh database")), 0);
    }
}

#[test]
fn a_truncated_file_is_saved_in_part() {
    let place = Place::new();
    place.fill(2000);
    let bytes = fs::read(place.file()).expect("the file");
    fs::write(place.file(), &bytes[..bytes.len() / 2]).expect("the file");
    let saved = count(&place.open().expect("a database"));
    assert!((1..2000).contains(&saved), "{saved}");
    assert_eq!(fs::read(place.backup()).expect("a backup"), bytes[..bytes.len() / 2]);
    let lines = place.log.lines();
    assert!(lines.iter().any(|l| l.starts_with("INFO   Repair seems to be successful")), "{lines:?}");
    place.fill(1);
}

#[test]
fn a_hole_in_a_file_costs_what_was_in_it() {
    let place = Place::new();
    place.fill(2000);
    let original = fs::read(place.file()).expect("the file");
    let pages = original.len() / 4096;
    let mut saved_most = 0;
    for hole in (1..pages).step_by(pages / 12) {
        let place = Place::new();
        let mut bytes = original.clone();
        bytes[hole * 4096..(hole + 1) * 4096].fill(0xa5);
        fs::write(place.file(), &bytes).expect("the file");
        let store = place.open().expect("a database");
        saved_most = saved_most.max(count(&store));
        let verdict: String = Connection::open(place.file())
            .and_then(|c| c.query_row("PRAGMA integrity_check", [], |row| row.get(0)))
            .expect("a verdict");
        assert_eq!(verdict, "ok");
    }
    assert!(saved_most > 1900, "{saved_most}");
}

#[test]
fn flipped_bits_never_panic() {
    let place = Place::new();
    place.fill(60);
    let original = fs::read(place.file()).expect("the file");
    for position in (0..original.len().min(12_000)).step_by(211) {
        let place = Place::new();
        let mut bytes = original.clone();
        bytes[position] ^= 0x55;
        fs::write(place.file(), &bytes).expect("the file");
        if let Ok(mut store) = place.open() {
            let _ = store.add_jail("sshd");
            let _ = store.purge(NOW);
            let _ = store.bans_merged(&Id::parse("10.0.0.1"), None);
            let _ = store.history(&Id::parse("10.0.0.1"), None, true);
        }
    }
}

#[test]
fn a_foreign_schema_is_put_aside() {
    for sql in [
        "CREATE TABLE fail2banDb (version TEXT); INSERT INTO fail2banDb VALUES ('four')",
        "CREATE TABLE fail2banDb (other TEXT)",
    ] {
        let place = Place::new();
        Connection::open(place.file()).and_then(|c| c.execute_batch(sql)).expect("a database");
        assert_eq!(count(&place.open().expect("a fresh database")), 0);
        assert!(Path::new(&place.backup()).is_file());
    }
}

#[test]
fn the_future_is_an_error() {
    let place = Place::new();
    place.fill(1);
    let bump = |c: Connection| c.execute("UPDATE fail2banDb SET version = 5", []);
    Connection::open(place.file()).and_then(bump).expect("a later version");
    let error = place.open().expect_err("an error");
    assert!(error.to_string().contains("Attempt to travel to future version of database"), "{error}");
    assert!(error.to_string().contains(&place.file()), "{error}");
}

#[test]
fn an_old_schema_is_brought_up_to_date_after_a_backup() {
    let place = Place::new();
    let sql = "CREATE TABLE fail2banDb (version INTEGER); INSERT INTO fail2banDb VALUES (2);
               CREATE TABLE jails (name TEXT NOT NULL UNIQUE, enabled INTEGER NOT NULL DEFAULT 1);
               INSERT INTO jails VALUES ('sshd', 1);
               CREATE TABLE bans (jail TEXT NOT NULL, ip TEXT, timeofban INTEGER NOT NULL, data JSON);
               INSERT INTO bans VALUES ('sshd', '192.0.2.1', 1124012399, '{}');";
    Connection::open(place.file()).and_then(|c| c.execute_batch(sql)).expect("an old database");
    let before = fs::read(place.file()).expect("the file");
    assert_eq!(count(&place.open().expect("a database")), 1);
    place.check_log(&[
        "INFO Connected to fail2ban persistent database 'FILE'",
        "INFO Upgrade database: BACKUP from version '2'",
        "INFO   Database backup created: BACKUP",
        "WARNING Database updated from '2' to '4'",
    ]);
    assert_eq!(fs::read(place.backup()).expect("a backup"), before);
}

#[test]
fn what_is_no_file_is_an_error() {
    let place = Place::new();
    fs::create_dir(place.file()).expect("a directory");
    let error = place.open().expect_err("an error");
    assert!(error.to_string().contains(&place.file()), "{error}");
    assert!(Path::new(&place.file()).is_dir());
}

#[test]
fn a_file_that_may_not_be_read_is_an_error() {
    let place = Place::new();
    place.fill(1);
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o000)).expect("permissions");
    // For root there is no such file.
    if fs::File::open(place.file()).is_err() {
        assert!(matches!(place.open(), Err(StoreError::Open { .. })));
    }
}

#[test]
fn a_journal_left_behind_by_a_crash_is_rolled_back() {
    let place = Place::new();
    place.fill(300);
    // What a process leaves behind that is killed in a transaction, after it has begun to write to the file: the
    // pages of the transaction in the file, and their former content in the journal.
    let connection = Connection::open(place.file()).expect("the database");
    connection
        .execute_batch(
            "PRAGMA cache_size = 1; PRAGMA synchronous = OFF; PRAGMA journal_mode = TRUNCATE;
        BEGIN; UPDATE bips SET data = randomblob(300), bantime = 0;",
        )
        .expect("a transaction");
    let (file, journal) = (fs::read(place.file()), fs::read(format!("{}-journal", place.file())));
    drop(connection);
    let file = file.expect("the file");
    let torn = Place::new();
    fs::write(torn.file(), &file).expect("a copy");
    assert_ne!(
        torn.open().map(|store| count(&store)).ok(),
        Some(300),
        "nothing was written before the crash"
    );
    let crashed = Place::new();
    fs::write(crashed.file(), file).expect("a copy");
    let mut journal = journal.expect("a journal");
    // The number of records in the header says: as many as there are.
    journal[8..12].fill(0xff);
    fs::write(format!("{}-journal", crashed.file()), journal).expect("a copy");
    let store = crashed.open().expect("a database");
    assert_eq!(count(&store), 300);
    assert!(!Path::new(&crashed.backup()).exists());
}

#[test]
fn an_outside_reader_and_a_vacuum_disturb_nobody() {
    let place = Place::new();
    place.fill(10);
    let mut store = place.open().expect("a database");
    let (started, begun) = std::sync::mpsc::channel();
    let file = place.file();
    let reader = std::thread::spawn(move || {
        let outside = Connection::open(&file).expect("the database");
        outside.execute_batch("BEGIN; SELECT count(*) FROM bans;").expect("a transaction");
        let mut statement = outside.prepare("SELECT ip FROM bans").expect("a query");
        let mut rows = statement.query([]).expect("rows");
        rows.next().expect("a row");
        started.send(()).expect("heard");
        std::thread::sleep(Duration::from_millis(200));
        drop(rows);
        drop(statement);
        outside.execute_batch("COMMIT; VACUUM").expect("a vacuum");
    });
    begun.recv().expect("begun");
    for number in 10..20 {
        let ticket = ticket(number);
        store.add_ban(NewBan { jail: "sshd", ticket: &ticket, default_ban_time: 600.0 }).expect("a ban");
    }
    reader.join().expect("no panic");
    assert_eq!(count(&store), 20);
}

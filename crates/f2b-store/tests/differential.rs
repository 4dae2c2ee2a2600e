//! The same file, written by one and read by the other: f2b and the installed fail2ban.
//!
//! Skipped where fail2ban is not installed, unless `F2B_CI` is set.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use f2b_store::{CurrentBans, NewBan, Store};
use f2b_types::{Id, MatchedLine, Number, Recorder, Ticket, Time};
use rusqlite::Connection;
use tempfile::TempDir;

const NOW: f64 = 1_700_000_000.0;

/// What both know about: a jail and its tickets.
const PRELUDE: &str = r#"
import json, sys
from fail2ban.server.database import Fail2BanDb
from fail2ban.server.mytime import MyTime
from fail2ban.server.ticket import FailTicket
MyTime.setTime(1700000000)
class Actions:
    def getBanTime(self): return 600
class Jail:
    def __init__(self, name): self.name, self.actions = name, Actions()
    def getMaxBanTime(self): return -1
class Log:
    def __init__(self, *args): self.args = args
    def getFileName(self): return self.args[0]
    def getPos(self): return self.args[1]
    def getHash(self): return self.args[2]
db = Fail2BanDb(sys.argv[1])
sshd, nginx = Jail("sshd"), Jail("nginx")
def ticket(ip, ago, bantime, count, user):
    t = FailTicket(ip, 1700000000.25 - ago, [("", "Nov 14", " sshd: it's \u00e9"), "line"], {"user": user, "failures": 3})
    t.setBanTime(bantime)
    t.setBanCount(count)
    return t
"#;

const WRITE: &str = r#"
for jail in sshd, nginx:
    db.addJail(jail)
db.addLog(sshd, Log("/var/log/auth.log", 42, "abc"))
db.addBan(sshd, ticket("192.0.2.1", 500, None, 1, "root"))
db.addBan(sshd, ticket("192.0.2.1", 100, 1200, 2, "admin"))
db.addBan(sshd, ticket("2001:db8::1", 50, -1, 1, "x"))
db.addBan(sshd, ticket("someone", 50, 600.5, 1, "y"))
db.addBan(nginx, ticket("192.0.2.1", 50, 600, 5, "z"))
"#;

const READ: &str = r#"
def show(t):
    return [str(t.getID()), t.getTime(), t.getBanTime(), t.getBanCount(), t.getMatches(), t.getAttempt(), t.getData("user")]
print(json.dumps({
    "current": [show(t) for t in db.getCurrentBans(jail=sshd)],
    "merged": [[m.getMatches(), m.getAttempt(), m.getData("user")]
        for m in (db.getBansMerged(ip="192.0.2.1", jail=sshd), db.getBansMerged(ip="192.0.2.1"))],
    "history": [list(map(list, db.getBan("192.0.2.1", sshd))), list(map(list, db.getBan("192.0.2.1", sshd, overalljails=True)))],
    "log": [db.addLog(sshd, Log("/var/log/auth.log", 0, "abc")), db.addLog(sshd, Log("/var/log/auth.log", 0, "new"))],
}))
"#;

/// What the program prints, run by Python with the database's name; `None` without fail2ban.
fn python(program: &str, file: &Path) -> Option<String> {
    let python = |program: &str| {
        Command::new("/usr/bin/python3").args(["-W", "ignore", "-c", program]).arg(file).output()
    };
    let installed = python("import fail2ban.server.database").is_ok_and(|output| output.status.success());
    if !installed {
        assert!(std::env::var_os("F2B_CI").is_none(), "fail2ban is not installed");
        let test = std::thread::current();
        let _ = writeln!(std::io::stderr(), "skipped: {} needs fail2ban", test.name().unwrap_or("a test"));
        return None;
    }
    let output = python(&format!("{PRELUDE}{program}")).expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn ticket(ip: &str, ago: f64, ban_time: Option<f64>, count: i64, user: &str) -> Ticket {
    let mut ticket = Ticket::new(Id::parse(ip), Time(NOW + 0.25 - ago));
    ticket.ban_time = ban_time.map(Number::Float);
    ticket.ban_count = count;
    let line = ["".into(), "Nov 14".into(), " sshd: it's \u{e9}".into()];
    ticket.data.matches = vec![MatchedLine::Split(line), "line".into()];
    ticket.data.failures = 3;
    ticket.data.fields.insert("user".into(), user.into());
    ticket
}

fn open(file: &Path) -> Store {
    Store::open(&file.to_string_lossy(), Time(NOW), &Recorder::default()).expect("a database")
}

/// What [`WRITE`] does.
fn write(file: &Path) {
    let mut store = open(file);
    for jail in ["sshd", "nginx"] {
        store.add_jail(jail).expect("a jail");
    }
    store.add_log("sshd", "/var/log/auth.log", Number::Int(42), Some("abc")).expect("a log");
    for (jail, ticket) in [
        ("sshd", ticket("192.0.2.1", 500.0, None, 1, "root")),
        ("sshd", ticket("192.0.2.1", 100.0, Some(1200.0), 2, "admin")),
        ("sshd", ticket("2001:db8::1", 50.0, Some(-1.0), 1, "x")),
        ("sshd", ticket("someone", 50.0, Some(600.5), 1, "y")),
        ("nginx", ticket("192.0.2.1", 50.0, Some(600.0), 5, "z")),
    ] {
        store.add_ban(NewBan { jail, ticket: &ticket, default_ban_time: 600.0 }).expect("a ban");
    }
}

/// What [`READ`] prints.
fn read(file: &Path) -> serde_json::Value {
    let mut store = open(file);
    let asked = CurrentBans {
        jail: "sshd",
        now: Time(NOW),
        for_ban_time: None,
        max_ban_time: None,
        jail_ban_time: 600.0,
        max_matches: None,
    };
    let lines = |lines: &[MatchedLine]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
    let number = |number| match number {
        Number::Int(n) => serde_json::json!(n),
        Number::Float(x) => serde_json::json!(x),
    };
    let current = store.current_bans(&asked, &Recorder::default()).expect("bans");
    let show = |t: &Ticket| {
        serde_json::json!([
            t.id.to_string(),
            number(t.time_number()),
            t.ban_time.map(number),
            t.ban_count,
            lines(&t.data.matches),
            t.data.failures,
            t.data.field("user")
        ])
    };
    let id = Id::parse("192.0.2.1");
    let merged = [Some("sshd"), None].map(|jail| {
        let data = store.bans_merged(&id, jail).expect("an answer").expect("bans");
        serde_json::json!([lines(&data.matches), data.failures, data.field("user")])
    });
    let history = [false, true].map(|overall| {
        let h = store.history(&id, Some("sshd"), overall).expect("an answer").expect("bans");
        serde_json::json!([[h.ban_count, h.time_of_ban.0 as i64, number(h.ban_time)]])
    });
    let log = ["abc", "new"].map(|md5| {
        let known = store.add_log("sshd", "/var/log/auth.log", Number::Int(0), Some(md5)).expect("an answer");
        known.filter(|known| known.is_same).map(|known| known.position.as_i64())
    });
    serde_json::json!({
        "current": current.iter().map(show).collect::<Vec<_>>(),
        "merged": merged,
        "history": history,
        "log": log,
    })
}

/// Tables, columns, keys and indices, whatever words define them.
fn shape(file: &Path) -> Vec<String> {
    let connection = Connection::open(file).expect("the database");
    let mut shape = Vec::new();
    for table in ["fail2banDb", "jails", "logs", "bans", "bips"] {
        for pragma in ["table_xinfo", "index_list", "foreign_key_list"] {
            let mut statement = connection.prepare(&format!("PRAGMA {pragma}({table})")).expect("a pragma");
            let columns = statement.column_count();
            let mut rows = statement.query([]).expect("rows");
            let mut lines = Vec::new();
            while let Some(row) = rows.next().expect("a row") {
                // The case of a default's quotes or words is nobody's business, the order of indices neither.
                let values: Vec<_> =
                    (0..columns).map(|c| format!("{:?}", row.get_ref(c).expect("a value"))).collect();
                let skip = usize::from(pragma == "index_list");
                lines.push(format!("{table} {pragma} {}", values[skip..].join(" ")));
            }
            lines.sort();
            shape.extend(lines);
        }
    }
    let mut statement =
        connection.prepare("SELECT name, tbl_name FROM sqlite_master WHERE type = 'index' ORDER BY name");
    let statement = statement.as_mut().expect("a statement");
    let names = statement
        .query_map([], |row| Ok(format!("{} on {}", row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
        .expect("rows");
    shape.extend(names.map(|name| name.expect("a name")));
    shape
}

/// All rows, with the types of their values.
fn rows(file: &Path) -> Vec<String> {
    let connection = Connection::open(file).expect("the database");
    let mut all = Vec::new();
    for table in ["fail2banDb", "jails", "logs", "bans", "bips"] {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).expect("a statement");
        let columns = statement.column_count();
        let mut rows = statement.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            let mut values = Vec::new();
            for column in 0..columns {
                let value = row.get_ref(column).expect("a value");
                // The order of the names in the data is not the same.
                values.push(match value.as_blob() {
                    Ok(blob) => {
                        let json: serde_json::Value = serde_json::from_slice(blob).expect("JSON");
                        let mut names: Vec<_> = json.as_object().expect("an object").iter().collect();
                        names.sort_by_key(|(name, _)| name.as_str());
                        assert_eq!(blob.len(), blob_length(&json), "blanks as Python writes them");
                        format!("blob {names:?}")
                    }
                    Err(_) => format!("{value:?}"),
                });
            }
            all.push(format!("{table}: {}", values.join(" ")));
        }
    }
    all
}

/// The length of compact JSON, and a blank behind each comma and colon between values.
fn blob_length(json: &serde_json::Value) -> usize {
    fn blanks(json: &serde_json::Value) -> usize {
        match json {
            serde_json::Value::Array(items) => {
                items.len().saturating_sub(1) + items.iter().map(blanks).sum::<usize>()
            }
            serde_json::Value::Object(entries) => {
                (2 * entries.len()).saturating_sub(1) + entries.values().map(blanks).sum::<usize>()
            }
            _ => 0,
        }
    }
    json.to_string().len() + blanks(json)
}

#[test]
fn both_write_the_same_file() {
    let directory = TempDir::new().expect("a directory");
    let (theirs, ours) = (directory.path().join("theirs"), directory.path().join("ours"));
    let Some(_) = python(WRITE, &theirs) else { return };
    write(&ours);
    assert_eq!(shape(&ours), shape(&theirs));
    assert_eq!(rows(&ours), rows(&theirs));
}

#[test]
fn each_reads_what_the_other_wrote() {
    let directory = TempDir::new().expect("a directory");
    let (theirs, ours) = (directory.path().join("theirs"), directory.path().join("ours"));
    let Some(answer) = python(&format!("{WRITE}{READ}"), &theirs) else { return };
    write(&ours);
    let expected: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    let copy = directory.path().join("copy");
    std::fs::copy(&ours, &copy).expect("a copy");
    let by_python = python(READ, &copy).expect("python as before");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&by_python).expect("JSON"), expected);
    assert_eq!(read(&ours), expected);
    // Reading has taken note of another log file by now.
    let Some(_) = python(WRITE, &directory.path().join("again")) else { return };
    assert_eq!(read(&directory.path().join("again")), expected);
}

/// Opens the database, and so brings it up to date.
const OPEN: &str = "db.close()";

/// Takes back what a version of the schema has brought, so that the file is one of the version before.
const TO_VERSION_3: &str = "DROP TABLE bips; UPDATE fail2banDb SET version = 3;";

#[test]
fn old_databases_become_what_upstream_makes_of_them() {
    let files = Path::new("/usr/lib/python3/dist-packages/fail2ban/tests/files");
    let directory = TempDir::new().expect("a directory");
    let third = directory.path().join("third");
    let Some(_) = python(WRITE, &third) else { return };
    Connection::open(&third).and_then(|c| c.execute_batch(TO_VERSION_3)).expect("an older database");
    for (original, version) in
        [(files.join("database_v1.db"), 1), (files.join("database_v2.db"), 2), (third, 3)]
    {
        assert!(original.is_file(), "{} is missing", original.display());
        let (theirs, ours) = (directory.path().join("theirs"), directory.path().join("ours"));
        for copy in [&theirs, &ours] {
            std::fs::copy(&original, copy).expect("a copy");
        }
        assert_eq!(schema_version(&ours), version);
        python(OPEN, &theirs).expect("python as before");
        drop(open(&ours));
        assert_eq!(schema_version(&ours), 4);
        assert_eq!(shape(&ours), shape(&theirs), "version {version}");
        let (ours, theirs) = (rows(&ours), rows(&theirs));
        assert!(ours.iter().any(|row| row.starts_with("bips")), "{ours:?}");
        assert_eq!(ours, theirs, "version {version}");
    }
}

fn schema_version(file: &Path) -> i64 {
    Connection::open(file)
        .and_then(|c| c.query_row("SELECT version FROM fail2banDb", [], |row| row.get(0)))
        .expect("a version")
}

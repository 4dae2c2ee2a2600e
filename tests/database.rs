//! The database between servers: written by one, carried on by the other, and given back; beside what upstream's server writes
//! to its own.

#[path = "support/bans.rs"]
mod bans;
mod support;
#[path = "support/upstream.rs"]
mod upstream;

use jiff::Zoned;

use bans::check_bans;
use support::{Place, Process, run, wait_until};

/// A jail with growing bans, of addresses that failed twice.
fn place() -> Place {
    let place = Place::new();
    let dir = place.path().display();
    place.write(
        "filter.d/login.conf",
        "[Definition]\nfailregex = ^ ?fail from <HOST>(?: by <F-USER>\\S+</F-USER>)?$\n",
    );
    place.write("action.d/none.conf", "[Definition]\nactionban =\n");
    place.write(
        "jail.conf",
        &format!(
            "[j]\nenabled = true\nbackend = polling\nusedns = no\nignoreself = false\nmaxretry = 2\nbantime = 10m\n\
             bantime.increment = true\nfindtime = 10m\nfilter = login\naction = none\nlogpath = {dir}/j.log\n"
        ),
    );
    place.write("j.log", "");
    place
}

fn fail(place: &Place, ip: &str, times: usize) {
    let now = Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    place.append("j.log", &format!("{now} fail from {ip} by root\n").repeat(times));
}

/// Waits until somebody is banned, which the log has not said before.
#[track_caller]
fn expect_ban(place: &Place, ip: &str, what: &str) {
    let length = place.log().len();
    fail(place, ip, 2);
    wait_until(&format!("{what} {ip}"), || place.log()[length..].contains(&format!("{what} {ip}")));
}

#[track_caller]
fn stop(place: &Place, mut server: Process) {
    place.ask(&["stop"]);
    assert!(server.0.wait().expect("a process").success());
}

/// The bans with their ends, as the server tells them.
fn bans(place: &Place) -> String {
    place.ask(&["get", "j", "banip", "--with-time"])
}

/// Waits until there are so many bans in the table of the last ones.
#[track_caller]
fn wait_for_rows(place: &Place, number: usize) {
    let count = || rows(place).iter().filter(|row| row.starts_with("bips")).count();
    wait_until(&format!("{number} bans in the database"), || count() == number);
}

/// All that the tables say of bans but when they began: which jail and address, how long, the how-manieth, and with what
/// data.
fn rows(place: &Place) -> Vec<String> {
    let script = r#"
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print("version", db.execute("SELECT version FROM fail2banDb").fetchall())
print("jails", db.execute("SELECT * FROM jails ORDER BY name").fetchall())
for table in "bans", "bips":
    for *row, data in sorted(db.execute("SELECT ip, jail, bantime, bancount, data FROM " + table)):
        data = json.loads(data)
        data["matches"] = [len(m) if isinstance(m, list) else "flat" for m in data.get("matches", [])]
        print(table, *row, json.dumps(data, sort_keys=True))"#;
    let mut command = upstream::python(script);
    run(command.arg(place.file("f2b.sqlite3"))).lines().map(str::to_owned).collect()
}

/// Whoever of the two.
type Start = fn(&Place) -> Process;

/// The first server bans, the second one takes over and bans for longer, the first one goes on.
#[track_caller]
fn hand_over_and_back(first: Start, second: Start) {
    let place = place();
    let server = first(&place);
    // One that is over soon, and remembered.
    place.ask(&["set", "j", "bantime", "3"]);
    expect_ban(&place, "198.51.100.7", "[j] Ban");
    place.wait_for_log("[j] Unban 198.51.100.7");
    place.ask(&["set", "j", "bantime", "600"]);
    expect_ban(&place, "198.51.100.1", "[j] Ban");
    place.ask(&["set", "j", "banip", "2001:db8::1", "192.0.2.0/24", "some-user"]);
    wait_for_rows(&place, 5);
    let before = bans(&place);
    stop(&place, server);

    let length = place.log().len();
    let server = second(&place);
    for id in ["198.51.100.1", "2001:db8::1", "192.0.2.0/24", "some-user"] {
        wait_until(id, || place.log()[length..].contains(&format!("[j] Restore Ban {id}\n")));
    }
    check_bans(&bans(&place), &before);
    expect_ban(&place, "198.51.100.7", "[j] Increase Ban");
    place.ask(&["set", "j", "unbanip", "198.51.100.1"]);
    expect_ban(&place, "198.51.100.3", "[j] Ban");
    // Nobody remembers one that was taken back by hand.
    expect_ban(&place, "198.51.100.1", "[j] Ban");
    wait_for_rows(&place, 6);
    let told = bans(&place);
    stop(&place, server);
    let longer = rows(&place).into_iter().find(|row| row.starts_with("bips 198.51.100.7 j 1200 2 "));
    assert!(longer.is_some(), "{:?}", rows(&place));

    let length = place.log().len();
    let server = first(&place);
    for id in ["198.51.100.7", "198.51.100.1", "198.51.100.3", "2001:db8::1", "192.0.2.0/24", "some-user"] {
        wait_until(id, || place.log()[length..].contains(&format!("[j] Restore Ban {id}\n")));
    }
    check_bans(&bans(&place), &told);
    stop(&place, server);
}

#[test]
fn upstreams_bans_come_to_us_and_go_back() {
    if upstream::version().is_some() {
        hand_over_and_back(upstream::start, Place::start);
    }
}

#[test]
fn our_bans_go_to_upstream_and_come_back() {
    if upstream::version().is_some() {
        hand_over_and_back(Place::start, upstream::start);
    }
}

/// What each server writes to a database of its own for the same events.
#[test]
fn both_servers_write_the_same() {
    if upstream::version().is_none() {
        return;
    }
    let write = |start: Start| {
        let place = place();
        let conf = place.read("fail2ban.conf").replace("dbmaxmatches = 10", "dbmaxmatches = 3");
        place.write("fail2ban.conf", &conf);
        let server = start(&place);
        place.ask(&["set", "j", "maxretry", "4"]);
        place.ask(&["set", "j", "maxmatches", "10"]);
        fail(&place, "198.51.100.1", 4);
        place.wait_for_log("[j] Ban 198.51.100.1");
        place.ask(&["set", "j", "banip", "192.0.2.1", "some-user"]);
        place.ask(&["set", "j", "attempt", "192.0.2.9", "one", "two", "three", "four"]);
        place.wait_for_log("[j] Ban 192.0.2.9");
        place.ask(&["set", "dbmaxmatches", "0"]);
        fail(&place, "198.51.100.2", 4);
        place.wait_for_log("[j] Ban 198.51.100.2");
        wait_for_rows(&place, 5);
        place.ask(&["set", "j", "unbanip", "192.0.2.1"]);
        wait_for_rows(&place, 4);
        stop(&place, server);
        rows(&place)
    };
    assert_eq!(write(Place::start), write(upstream::start));
}

/// Bans that are older than `dbpurgeage` are forgotten when a server starts.
#[test]
fn both_servers_forget_what_is_old() {
    if upstream::version().is_none() {
        return;
    }
    let age = r#"
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1])
for table in "bans", "bips":
    db.execute("UPDATE %s SET timeofban = ? - 90000, bantime = 60 WHERE ip = '192.0.2.1'" % table, (int(time.time()),))
    db.execute("UPDATE %s SET timeofban = ? - 80000, bantime = 60 WHERE ip = '192.0.2.2'" % table, (int(time.time()),))
db.commit()"#;
    let forget = |start: Start| {
        let place = place();
        let server = start(&place);
        place.ask(&["set", "j", "banip", "192.0.2.1", "192.0.2.2", "192.0.2.3"]);
        wait_for_rows(&place, 3);
        stop(&place, server);
        run(upstream::python(age).arg(place.file("f2b.sqlite3")));
        let length = place.log().len();
        let server = start(&place);
        wait_until("one is restored", || place.log()[length..].contains("[j] Restore Ban 192.0.2.3"));
        let told = place.ask(&["get", "j", "banip"]);
        stop(&place, server);
        (told, rows(&place))
    };
    let (ours, theirs) = (forget(Place::start), forget(upstream::start));
    assert_eq!(ours.0.trim(), "192.0.2.3");
    assert_eq!(ours, theirs);
}

#[test]
fn without_a_file_nothing_is_kept() {
    for (database, told) in [("None", "Database currently disabled"), (":memory:", ":memory:")] {
        let place = place();
        let file = place.file("f2b.sqlite3").display().to_string();
        place.write("fail2ban.conf", &place.read("fail2ban.conf").replace(&file, database));
        for _ in 0..2 {
            let server = place.start();
            assert!(place.ask(&["get", "dbfile"]).contains(told));
            assert_eq!(bans(&place).trim(), "");
            place.ask(&["set", "j", "banip", "192.0.2.1"]);
            assert!(bans(&place).starts_with("192.0.2.1 "));
            stop(&place, server);
        }
        assert!(!place.file("f2b.sqlite3").exists() && !place.file(database).exists());
    }
}

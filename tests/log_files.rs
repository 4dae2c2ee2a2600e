//! Which log files a jail follows and where it goes on reading them: by globs, links, commands; after a restart; without
//! permission, without inotify, two thousand at a time. What fail2ban does with the same files is compared where it matters.

#[path = "support/mounts.rs"]
mod mounts;
mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;

use mounts::Mounts;
use support::{Place, Process, available, binary, has_program, wait_until};

const NOBODY: u32 = 65534;

/// A directory with a jail `j` that follows these logs, a line each.
fn place(backend: &str, logs: &str) -> Place {
    let place = Place::new();
    place.write("filter.d/f1.conf", "[Definition]\nfailregex = fail from <HOST>$\n");
    place.write("action.d/none.conf", "[Definition]\nactionban = true\n");
    let logs = logs.replace("DIR", &place.path().display().to_string());
    place.write(
        "jail.conf",
        &format!(
            "[DEFAULT]\nbackend = {backend}\nusedns = no\nignoreself = false\nmaxretry = 100\nfindtime = 1h\n\
             filter = f1\naction = none\ndatepattern = ^EPOCH\n[j]\nenabled = true\nlogpath = {logs}\n"
        ),
    );
    place
}

/// A failure of now.
fn failure(number: u32) -> String {
    format!("{} fail from {}\n", Timestamp::now().as_second(), address(number))
}

fn address(number: u32) -> String {
    format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255)
}

/// Who was found in a part of the log, in the order in which that was.
fn found_in(log: &str) -> Vec<u32> {
    let addresses = log.lines().filter_map(|line| line.split_once("[j] Found 10.")?.1.split(' ').next());
    let numbers = |text: &str| text.split('.').map(|part| part.parse::<u32>().expect("a number")).collect();
    let numbers = addresses.map(numbers).collect::<Vec<Vec<u32>>>();
    numbers.iter().map(|parts| (parts[0] << 16) + (parts[1] << 8) + parts[2]).collect()
}

/// Waits until these, and nobody else, have been found, once each.
#[track_caller]
fn wait_for_found(place: &Place, expected: impl IntoIterator<Item = u32>) {
    let expected: BTreeSet<u32> = expected.into_iter().collect();
    wait_until("failures are found", || found_in(&place.log()).len() >= expected.len());
    let found = found_in(&place.log());
    assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), expected, "{}", place.log());
    assert_eq!(found.len(), expected.len(), "{}", place.log());
}

#[track_caller]
fn stop(place: &Place, mut server: Process) {
    place.ask(&["stop"]);
    assert!(server.0.wait().expect("a process").success());
}

/// Starts our server, or upstream's.
fn start(place: &Place, is_ours: bool) -> Process {
    if is_ours { place.start() } else { upstream::start(place) }
}

/// The servers that there are: ours, and upstream's if it is installed.
fn servers() -> Vec<bool> {
    if upstream::version().is_some() { vec![true, false] } else { vec![true] }
}

/// What the servers' logs say of files, without the time and without the directory of the test.
fn messages(place: &Place, of: &str) -> Vec<String> {
    let (log, dir) = (place.log(), place.path().display().to_string());
    let lines = log.lines().filter(|line| line.contains(of)).filter_map(|line| line.split_once("]: "));
    lines.map(|(_, message)| message.replace(&dir, "DIR")).collect()
}

/// The watches that a server has, as the kernel lists them.
fn watches(server: &Process) -> String {
    let descriptors = fs::read_dir(format!("/proc/{}/fdinfo", server.0.id())).expect("a process");
    let lists = descriptors.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let list: String = lists.collect();
    list.lines().filter(|line| line.starts_with("inotify wd:")).map(|line| format!("{line}\n")).collect()
}

/// The places that the database has.
fn rows(place: &Place) -> String {
    let mut sqlite = Command::new("sqlite3");
    let sql = "SELECT path, firstlinemd5, lastfilepos FROM logs ORDER BY path";
    support::run(sqlite.arg(place.file("f2b.sqlite3")).arg(sql))
        .replace(&place.path().display().to_string(), "DIR")
}

#[test]
fn logs_are_utf_8_whatever_the_locale() {
    for locale in ["POSIX", "de_DE.ISO-8859-1"] {
        let place = place("polling", "DIR/f.log");
        place.write("filter.d/f1.conf", "[Definition]\nfailregex = ^ Jos\u{e9} fail from <HOST>$\n");
        let log = failure(1).replace(" fail", " Jos\u{e9} fail")
            + &failure(2).replace(" fail", " Jos\u{c3}\u{a9} fail");
        place.write("f.log", &log);
        let server = place.spawn(place.server().env("LC_ALL", locale));
        place.append("f.log", &failure(3).replace(" fail", " Jos\u{e9} fail"));
        wait_for_found(&place, [1, 3]);
        assert!(place.ask(&["get", "j", "logencoding"]).contains("UTF-8"));
        stop(&place, server);
    }
}

/// A command is a text: what can't be named in one is told wherever somebody may look, and the others are followed.
#[test]
fn a_log_whose_name_is_no_text_is_told() {
    let place = place("polling", "DIR/logs/*.log");
    place.write("logs/a.log", &failure(1));
    let odd = place.file("logs").join(OsStr::from_bytes(b"caf\xe9.log"));
    fs::write(&odd, failure(99)).expect("a log");
    let told = "logs/caf\u{fffd}.log cannot be monitored, its name is not UTF-8; rename it";
    let test = place.client(binary("f2b-client"), &["--test"]).output().expect("the client runs");
    assert!(support::both(&test).contains(told), "{}", support::both(&test));
    assert!(test.status.success());
    let server = place.start();
    wait_for_found(&place, [1]);
    assert_eq!(messages(&place, told), [format!("ERROR   Jail 'j': File DIR/{told}")]);
    fs::rename(odd, place.file("logs/b.log")).expect("another name");
    place.ask(&["reload"]);
    wait_for_found(&place, [1, 99]);
    assert_eq!(messages(&place, told).len(), 1);
    stop(&place, server);
}

#[test]
fn globs_links_head_and_tail_are_followed_as_fail2ban_follows_them() {
    let logs = "DIR/a/*.log\n DIR/b.log tail\n DIR/nothing/*.log\n DIR/c.log head";
    let run = |is_ours: bool| {
        let place = place("polling", logs);
        for (number, name) in (1..).zip(["a/1.log", "a/2.log", "real", "b.log", "c.log"]) {
            place.write(name, &failure(number));
        }
        symlink(place.file("real"), place.file("a/link.log")).expect("a link");
        symlink(place.file("nowhere"), place.file("a/dangling.log")).expect("a link");
        place.write("a/1.log.1", &failure(99));
        let server = start(&place, is_ours);
        wait_for_found(&place, [1, 2, 3, 5]);
        for (number, name) in (11..).zip(["a/1.log", "a/2.log", "a/link.log", "b.log", "c.log"]) {
            place.append(name, &failure(number));
        }
        wait_for_found(&place, [1, 2, 3, 5, 11, 12, 13, 14, 15]);
        // One that comes later is looked for at a reload.
        place.append("a/new.log", &failure(21));
        place.append("b.log", &failure(22));
        wait_for_found(&place, [1, 2, 3, 5, 11, 12, 13, 14, 15, 22]);
        place.ask(&["reload"]);
        wait_for_found(&place, [1, 2, 3, 5, 11, 12, 13, 14, 15, 22, 21]);
        let added = messages(&place, "Added logfile: ");
        let listed = place.ask(&["get", "j", "logpath"]).replace(&place.path().display().to_string(), "DIR");
        let status = place.ask(&["status", "j"]).replace(&place.path().display().to_string(), "DIR");
        stop(&place, server);
        let positions = if has_program("sqlite3") { rows(&place) } else { String::new() };
        (added, listed, status, positions)
    };
    let results: Vec<_> = servers().into_iter().map(run).collect();
    let (added, listed, ..) = &results[0];
    assert_eq!(added.len(), 6);
    assert!(!listed.contains("dangling") && !listed.contains("1.log.1"), "{listed}");
    // The first lines are of this moment, so the hashes are not.
    let comparable = |(added, listed, status, positions): &(Vec<String>, String, String, String)| {
        let positions = positions.lines().map(|row| row.split('|').map(String::from).collect::<Vec<_>>());
        let positions: Vec<_> = positions.map(|row| (row[0].clone(), row[1].len(), row[2].clone())).collect();
        let added = added.iter().map(|line| line.split(", hash").next().map(String::from));
        (added.collect::<Vec<_>>(), listed.clone(), status.clone(), positions)
    };
    assert!(results.iter().all(|result| comparable(result) == comparable(&results[0])), "{results:#?}");
}

/// Whatever the lines are like, the database gets the place and the hash that it gets from fail2ban, and the next start goes
/// on there.
#[test]
fn places_are_kept_as_fail2ban_keeps_them() {
    if !available("sqlite3", has_program("sqlite3")) {
        return;
    }
    let now = Timestamp::now().as_second();
    let line = |number: u32| format!("{now} fail from {}", address(number)).into_bytes();
    let join = |parts: &[&[u8]]| parts.concat();
    let contents: [(&str, Vec<u8>); 9] = [
        ("plain", join(&[&line(1), b"\n"])),
        ("crlf", join(&[&line(2), b"\r\n"])),
        ("partial", join(&[&line(3), b"\n", &line(103)])),
        ("only-partial", line(104)),
        ("empty", Vec::new()),
        ("blank", join(&[b"\n\r\n\n", &line(6), b"\n\n"])),
        ("nul", join(&[b"\0\0\0\n", &line(7), b"\n\0"])),
        ("latin", join(&[b"caf\xe9\n", &line(8)[..10], b" \xe9 fail from 10.0.0.8\n"])),
        ("carriage", join(&[b"one\rtwo\r\n", &line(9), b"\n"])),
    ];
    let run = |is_ours: bool| {
        let place = place("polling", "DIR/logs/*.log");
        fs::create_dir(place.file("logs")).expect("a directory");
        for (name, content) in &contents {
            fs::write(place.file(&format!("logs/{name}.log")), content).expect("a log");
        }
        let server = start(&place, is_ours);
        wait_for_found(&place, [1, 2, 3, 6, 7, 8, 9]);
        stop(&place, server);
        let first = rows(&place);
        for (number, (name, _)) in (201..).zip(&contents) {
            place.append(&format!("logs/{name}.log"), &format!("\n{now} fail from {}\n", address(number)));
        }
        let server = start(&place, is_ours);
        let news = (201..=209).chain([103, 104]);
        wait_for_found(&place, news.chain([1, 2, 3, 6, 7, 8, 9]));
        stop(&place, server);
        let warnings = messages(&place, "Error decoding line");
        (first, rows(&place), warnings.into_iter().collect::<BTreeSet<_>>())
    };
    let results: Vec<_> = servers().into_iter().map(run).collect();
    assert!(results[0].0.contains("DIR/logs/partial.log|"), "{}", results[0].0);
    assert_eq!(results[0].2.len(), 1);
    assert!(results.iter().all(|result| *result == results[0]), "{results:#?}");
}

/// What nobody had read before a rotation while no server ran is read before the new log; fail2ban begins with that. What
/// has been compressed is left alone.
#[test]
fn a_rotation_while_nobody_reads_skips_nothing() {
    for is_ours in servers() {
        let place = place("polling", "DIR/f.log");
        place.append("f.log", &failure(1));
        let server = start(&place, is_ours);
        wait_for_found(&place, [1]);
        stop(&place, server);
        place.append("f.log", &failure(2));
        place.write("f.log.2.gz", &failure(95));
        place.write("f.log-error", &failure(96));
        place.write("f.log.1.bak", &failure(97));
        fs::rename(place.file("f.log"), place.file("f.log.2")).expect("a rotation");
        std::thread::sleep(std::time::Duration::from_millis(20));
        place.append("f.log.1", &failure(3));
        std::thread::sleep(std::time::Duration::from_millis(20));
        place.append("f.log", &failure(4));
        let server = start(&place, is_ours);
        if is_ours {
            wait_for_found(&place, [1, 2, 3, 4]);
            assert_eq!(found_in(&place.log()), [1, 2, 3, 4]);
        } else {
            wait_for_found(&place, [1, 4]);
        }
        stop(&place, server);
        if has_program("sqlite3") {
            // Ours has two more, of the old ones.
            let rows = rows(&place);
            let place_of_the_new_one = rows.lines().next().unwrap_or_default();
            assert!(place_of_the_new_one.ends_with(&format!("|{}", failure(4).len())), "{rows}");
        }
        // An old one that can't be read any more is no loss to the new one.
        place.append("f.log", &failure(5));
        fs::rename(place.file("f.log"), place.file("f.log.gz")).expect("a rotation");
        place.append("f.log", &failure(6));
        let server = start(&place, is_ours);
        wait_for_found(&place, if is_ours { vec![1, 2, 3, 4, 6] } else { vec![1, 4, 6] });
        stop(&place, server);
        assert!(!place.log().contains("ERROR"), "{}", place.log());
    }
}

/// However long its first line is, a log is known by it: after a restart, and when it has been renamed meanwhile. The hash is
/// fail2ban's.
#[test]
fn a_log_with_a_very_long_first_line_is_known_again() {
    let run = |is_ours: bool| {
        let place = place("polling", "DIR/f.log");
        place.write("f.log", &("x".repeat(3_000_000) + "\n" + &failure(1)));
        let server = start(&place, is_ours);
        wait_for_found(&place, [1]);
        stop(&place, server);
        let known = if has_program("sqlite3") { rows(&place) } else { String::new() };
        place.append("f.log", &failure(2));
        if is_ours {
            fs::rename(place.file("f.log"), place.file("f.log.1")).expect("a rotation");
            std::thread::sleep(std::time::Duration::from_millis(20));
            place.append("f.log", &(failure(3) + &"y\n".repeat(2_000_000) + &failure(4)));
        }
        let server = start(&place, is_ours);
        wait_for_found(&place, if is_ours { 1..=4 } else { 1..=2 });
        stop(&place, server);
        known
    };
    let known: Vec<String> = servers().into_iter().map(run).collect();
    assert!(known.iter().all(|rows| *rows == known[0]), "{known:?}");
}

/// Of a log that was empty nothing has been read: what has come since counts wherever it is by now, and nothing older.
#[test]
fn a_log_that_was_empty_skips_nothing_over_a_rotation() {
    let rename = |place: &Place, from: &str, to: &str| {
        fs::rename(place.file(from), place.file(to)).expect("a rotation");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    // It is renamed, or copied and emptied.
    for is_renamed in [true, false] {
        let place = place("polling", "DIR/f.log");
        place.write("f.log.1", &failure(99));
        place.write("f.log", "");
        let server = place.start();
        stop(&place, server);
        rename(&place, "f.log.1", "f.log.3");
        for number in [1, 2] {
            place.append("f.log", &failure(number));
            rename(&place, "f.log", "f.log.1");
            if number == 1 {
                rename(&place, "f.log.1", "f.log.2");
            }
            place.write("f.log", "");
        }
        if !is_renamed {
            fs::copy(place.file("f.log.1"), place.file("new")).expect("a copy");
            rename(&place, "new", "f.log.1");
        }
        place.append("f.log", &failure(3));
        let server = place.start();
        wait_for_found(&place, 1..=3);
        stop(&place, server);
        let server = place.start();
        place.append("f.log", &failure(4));
        wait_for_found(&place, 1..=4);
        stop(&place, server);
    }
    // The one before has been compressed, so that nothing leads on from there.
    let place = place("polling", "DIR/f.log");
    place.write("f.log", &failure(1));
    let server = place.start();
    wait_for_found(&place, [1]);
    rename(&place, "f.log", "f.log.1");
    place.write("f.log", "");
    std::thread::sleep(std::time::Duration::from_millis(500));
    stop(&place, server);
    rename(&place, "f.log.1", "f.log.1.gz");
    place.append("f.log", &failure(2));
    rename(&place, "f.log", "f.log.1");
    place.append("f.log", &failure(3));
    let server = place.start();
    wait_for_found(&place, 1..=3);
    stop(&place, server);
}

/// Has an `ignorecommand` wait for as long as there is a file `hold`, but for those whom it answers at once.
fn hold_command(place: &Place, at_once: &str) {
    let dir = place.path().display();
    let command = format!("echo <ip> >> {dir}/asked; while test -e {dir}/hold; do sleep 0.1; done; exit 1");
    let option = format!("ignorecommand = {at_once} {command}\n");
    place.write("jail.conf", &(place.read("jail.conf") + &option));
    place.write("hold", "");
}

/// Failures count when `ignorecommand` has answered. Those that it has not answered for are read again at the next start, also
/// from before a rotation; those that count by then are not. fail2ban waits for the command, and loses the line behind unless the
/// stop comes late.
#[test]
fn failures_that_wait_for_a_command_count_after_a_restart() {
    for is_ours in servers() {
        let place = place("polling", "DIR/f.log");
        hold_command(&place, "test <ip> = 10.0.0.1 && exit 1;");
        place.append("f.log", &(failure(1) + &failure(2)));
        let mut server = start(&place, is_ours);
        wait_until("the command is asked", || place.read("asked").contains("10.0.0.2"));
        place.append("f.log", &(failure(3) + "no failure\n"));
        if is_ours {
            std::thread::sleep(std::time::Duration::from_millis(500));
            fs::rename(place.file("f.log"), place.file("f.log.1")).expect("a rotation");
            place.append("f.log", &failure(4));
            std::thread::sleep(std::time::Duration::from_millis(500));
        } else {
            place.append("f.log", &failure(4));
        }
        let mut stop = place.client(binary("f2b-client"), &["stop"]).spawn().expect("the client starts");
        if !is_ours {
            place.wait_for_log("Stopping all jails");
            std::thread::sleep(std::time::Duration::from_millis(500));
            fs::remove_file(place.file("hold")).expect("a file");
        }
        assert!(stop.wait().expect("a process").success());
        assert!(server.0.wait().expect("a process").success());
        let _ = fs::remove_file(place.file("hold"));
        let server = start(&place, is_ours);
        place.append("f.log", &failure(5));
        match is_ours {
            true => wait_for_found(&place, 1..=5),
            false => {
                wait_until("the last one is found", || found_in(&place.log()).contains(&5));
                assert!([1, 2, 4].iter().all(|number| found_in(&place.log()).contains(number)));
            }
        }
        self::stop(&place, server);
    }
}

/// Who goes on writing in a log that has been renamed is heard also after a restart, even if the new log had been begun before; no
/// line comes twice. Those that wait for `ignorecommand` then are asked again.
#[test]
fn late_lines_survive_a_restart() {
    for (backend, is_killed) in
        [("polling", false), ("polling", true), ("pyinotify", false), ("pyinotify", true)]
    {
        let place = place(backend, "DIR/f.log");
        hold_command(&place, "test <ip> = 10.0.0.6 || exit 1;");
        place.write("f.log", "");
        let late = |number| place.append("f.log.1", &failure(number));
        let mut server = place.start();
        for number in [1, 2] {
            place.append("f.log", &failure(number));
            wait_for_found(&place, 1..=number);
        }
        fs::rename(place.file("f.log"), place.file("f.log.1")).expect("a rotation");
        place.write("f.log", "");
        late(3);
        wait_for_found(&place, 1..=3);
        place.append("f.log", &failure(4));
        wait_for_found(&place, 1..=4);
        late(5);
        wait_for_found(&place, 1..=5);
        late(6);
        wait_until("the command is asked", || place.read("asked").contains("10.0.0.6"));
        if is_killed {
            server.0.kill().expect("the process is there");
            server.0.wait().expect("a process");
        } else {
            stop(&place, server);
            assert!(!has_program("sqlite3") || rows(&place).lines().count() == 2, "{}", rows(&place));
        }
        late(7);
        fs::remove_file(place.file("hold")).expect("a file");
        let server = place.spawn(&mut place.server_with(&["-x"]));
        wait_until("the late ones are found", || {
            [6, 7].iter().all(|late| found_in(&place.log()).contains(late))
        });
        late(8);
        place.append("f.log", &failure(9));
        wait_until("the last ones are found", || {
            [8, 9].iter().all(|last| found_in(&place.log()).contains(last))
        });
        if !is_killed {
            wait_for_found(&place, 1..=9);
        }
        stop(&place, server);
    }
}

/// The database knows at once that another file is read, though the first line of that is the same: after a kill reading does not
/// go on in it where it was in the old one. It is renamed, or copied and emptied.
#[test]
fn a_kill_skips_nothing_in_a_new_log_that_begins_like_the_old_one() {
    const HEADER: &str = "# the fields of this log\n";
    for is_renamed in [true, false] {
        let place = place("polling", "DIR/f.log");
        let all = |numbers: std::ops::RangeInclusive<u32>| numbers.map(failure).collect::<String>();
        place.write("f.log", &(HEADER.to_owned() + &all(1..=4)));
        let server = place.start();
        wait_for_found(&place, 1..=4);
        stop(&place, server);
        let mut server = place.start();
        let old = place.file("f.log.1");
        if is_renamed {
            fs::rename(place.file("f.log"), old).expect("a rotation");
        } else {
            fs::copy(place.file("f.log"), old).expect("a copy");
        }
        place.write("f.log", &(HEADER.to_owned() + &failure(5)));
        wait_for_found(&place, 1..=5);
        std::thread::sleep(std::time::Duration::from_millis(500));
        server.0.kill().expect("the process is there");
        server.0.wait().expect("a process");
        place.append("f.log", &all(6..=12));
        let server = place.spawn(&mut place.server_with(&["-x"]));
        wait_until("those behind are found", || {
            (6..=12).all(|number| found_in(&place.log()).contains(&number))
        });
        stop(&place, server);
    }
}

/// A log without a line is renamed, and what is in the new one is copied over it: nobody writes there, late as it may be.
#[test]
fn a_copy_over_an_empty_old_log_is_no_news() {
    for is_emptied in [false, true] {
        let place = place("polling", "DIR/f.log");
        place.write("f.log", "");
        let server = place.start();
        place.wait_for_log("Jail 'j' started");
        std::thread::sleep(std::time::Duration::from_millis(500));
        fs::rename(place.file("f.log"), place.file("f.log.1")).expect("a rotation");
        place.write("f.log", &(failure(1) + &failure(2)));
        wait_for_found(&place, 1..=2);
        fs::write(place.file("f.log.1"), place.read("f.log")).expect("a copy");
        if is_emptied {
            place.write("f.log", "");
        }
        std::thread::sleep(std::time::Duration::from_millis(1500));
        place.append("f.log", &failure(3));
        wait_for_found(&place, 1..=3);
        stop(&place, server);
    }
}

/// The same when the server is killed: the place that it has saved is not beyond them.
#[test]
fn failures_that_wait_for_a_command_survive_a_kill() {
    let place = place("polling", "DIR/f.log");
    hold_command(&place, "");
    place.append("f.log", &failure(1));
    let mut server = place.start();
    wait_until("the command is asked", || !place.read("asked").is_empty());
    // Another file makes the server save the place.
    fs::rename(place.file("f.log"), place.file("f.log.1")).expect("a rotation");
    place.append("f.log", &failure(2));
    std::thread::sleep(std::time::Duration::from_secs(1));
    server.0.kill().expect("the process is there");
    server.0.wait().expect("a process");
    fs::remove_file(place.file("hold")).expect("a file");
    let server = place.spawn(&mut place.server_with(&["-x"]));
    wait_for_found(&place, 1..=2);
    stop(&place, server);
}

/// What comes first in a log that had nothing to read at the start counts at its own time, however late that is.
#[test]
fn what_comes_first_is_no_news() {
    for (backend, was_empty) in [("polling", true), ("pyinotify", true), ("polling", false)] {
        for is_ours in servers() {
            if !is_ours && backend == "pyinotify" {
                continue;
            }
            let place = place(backend, "DIR/f.log");
            place.write("f.log", &if was_empty { String::new() } else { failure(9) });
            let server = start(&place, is_ours);
            place.wait_for_log(if was_empty { "Jail 'j' started" } else { "[j] Found 10.0.0.9" });
            std::thread::sleep(std::time::Duration::from_millis(300));
            let old = format!("{} fail from {}\n", Timestamp::now().as_second() - 7200, address(1));
            place.append("f.log", &old);
            place.wait_for_log(if was_empty {
                "Ignoring all log entries older than"
            } else {
                "[j] Found 10.0.0.1"
            });
            std::thread::sleep(std::time::Duration::from_millis(300));
            place.append("f.log", &(failure(2) + &old));
            place.append("f.log", &failure(3));
            wait_until("the last one is found", || found_in(&place.log()).contains(&3));
            let expected: &[u32] = if was_empty { &[2, 1, 3] } else { &[9, 1, 2, 1, 3] };
            assert_eq!(found_in(&place.log()), expected, "{backend}, empty: {was_empty}, ours: {is_ours}");
            stop(&place, server);
        }
    }
}

/// The database learns of a new log as soon as what was found in the old one counts: when that one is gone, nothing else tells
/// which of the files that were renamed since comes behind it.
#[test]
fn a_new_log_is_known_as_soon_as_what_was_found_in_the_old_one_counts() {
    let place = place("pyinotify", "DIR/f.log");
    hold_command(&place, "");
    place.append("f.log", &failure(1));
    let mut server = place.start();
    wait_until("the command is asked", || !place.read("asked").is_empty());
    fs::rename(place.file("f.log"), place.file("f.log.1")).expect("a rotation");
    place.append("f.log", "no failure\n");
    std::thread::sleep(std::time::Duration::from_millis(300));
    fs::remove_file(place.file("hold")).expect("a file");
    wait_for_found(&place, [1]);
    std::thread::sleep(std::time::Duration::from_secs(1));
    fs::remove_file(place.file("f.log.1")).expect("a file");
    // What has not been read yet is older than what the database has got last.
    place.ask(&["set", "j", "idle", "on"]);
    place.append("f.log", &failure(2));
    std::thread::sleep(std::time::Duration::from_millis(50));
    place.ask(&["set", "j", "banip", "192.0.2.1"]);
    std::thread::sleep(std::time::Duration::from_secs(1));
    server.0.kill().expect("the process is there");
    server.0.wait().expect("a process");
    fs::rename(place.file("f.log"), place.file("f.log.1")).expect("a rotation");
    place.append("f.log", &failure(3));
    let server = place.spawn(&mut place.server_with(&["-x"]));
    wait_for_found(&place, 1..=3);
    stop(&place, server);
}

/// A log that gets its name back is read on from where that was: by a link that goes elsewhere and comes back, by renaming.
#[test]
fn a_log_that_gets_its_name_back_is_not_read_twice() {
    for backend in ["pyinotify", "polling"] {
        let place = place(backend, "DIR/link.log\n DIR/f.log");
        let link_to = |name: &str| {
            symlink(place.file(name), place.file("new")).expect("a link");
            fs::rename(place.file("new"), place.file("link.log")).expect("a link");
        };
        place.append("a", &failure(1));
        place.append("b", &failure(2));
        place.append("f.log", &failure(3));
        link_to("a");
        let server = place.start();
        wait_for_found(&place, [1, 3]);
        link_to("b");
        fs::rename(place.file("f.log"), place.file("aside")).expect("a rotation");
        place.append("f.log", &failure(4));
        wait_for_found(&place, 1..=4);
        place.append("a", &failure(5));
        place.append("aside", &failure(6));
        wait_for_found(&place, 1..=6);
        link_to("a");
        fs::rename(place.file("aside"), place.file("f.log")).expect("a way back");
        place.append("a", &failure(7));
        place.append("f.log", &failure(8));
        wait_for_found(&place, 1..=8);
        // Nothing of it is still to come when something that is written later has been found.
        place.append("a", &failure(9));
        place.append("f.log", &failure(10));
        wait_for_found(&place, 1..=10);
        stop(&place, server);
        wait_for_found(&place, 1..=10);
    }
}

/// Rotations name old logs in many ways.
#[test]
fn a_log_that_was_renamed_in_any_usual_way_is_read_on() {
    let old =
        ["f-20261125.log", "f.1.log", "f.2026-11-25.log", "f.log.bak", "f.log.prev", "f.log.old", "f.log.0"];
    let logs: Vec<String> = (0..old.len()).map(|number| format!("DIR/{number}/f.log")).collect();
    let place = place("polling", &logs.join("\n "));
    let log = |number: u32, name: &str| format!("{number}/{name}");
    for (number, _) in (0..).zip(old) {
        place.write(&log(number, "f.log"), &failure(number));
    }
    let server = place.start();
    wait_for_found(&place, 0..7);
    stop(&place, server);
    for (number, name) in (0..).zip(old) {
        place.append(&log(number, "f.log"), &failure(10 + number));
        fs::rename(place.file(&log(number, "f.log")), place.file(&log(number, name))).expect("a rotation");
        place.append(&log(number, "f-error.log"), &failure(30 + number));
        place.append(&log(number, "f.log"), &failure(20 + number));
    }
    let server = place.start();
    wait_for_found(&place, (0..7).chain(10..17).chain(20..27));
    stop(&place, server);
}

/// Somebody goes on writing in the oldest log while nobody reads: what came behind it is read nevertheless.
#[test]
fn a_late_writer_hides_no_log_that_came_later() {
    let pass_time = || std::thread::sleep(std::time::Duration::from_millis(20));
    for (is_down, names) in [true, false].into_iter().flat_map(|is_down| {
        [["f.log.1", "f.log.2", "f.log.1"], ["f.log-20261124", "f.log-20261124", "f.log-20261125"]]
            .map(|names| (is_down, names))
    }) {
        let place = place("pyinotify", "DIR/f.log");
        let rename = |from: &str, to: &str| {
            fs::rename(place.file(from), place.file(to)).expect("a rotation");
            pass_time();
        };
        place.append("f.log", &failure(1));
        let server = place.start();
        wait_for_found(&place, [1]);
        let server = if is_down {
            stop(&place, server);
            None
        } else {
            place.ask(&["set", "j", "idle", "on"]);
            Some(server)
        };
        let [first, oldest, later] = names;
        rename("f.log", first);
        place.append("f.log", &failure(3));
        pass_time();
        place.append(first, &failure(2));
        rename(first, oldest);
        rename("f.log", later);
        place.append("f.log", &failure(4));
        let server = server.unwrap_or_else(|| place.start());
        place.ask(&["set", "j", "idle", "off"]);
        wait_for_found(&place, 1..=4);
        assert_eq!(found_in(&place.log()), [1, 2, 3, 4]);
        stop(&place, server);
    }
}

/// What a link leads to is rotated beside itself, not beside the link: any number of times at once, and while no server runs.
/// inotify tells of the new one.
#[test]
fn a_log_behind_a_link_is_rotated_like_any_other() {
    for backend in ["pyinotify", "polling"] {
        let place = place(backend, "DIR/logs/f.log\n DIR/linked/f.log");
        let logs = ["data/app.log", "real/f.log"];
        for directory in ["logs", "data", "real"] {
            fs::create_dir(place.file(directory)).expect("a directory");
        }
        symlink(place.file(logs[0]), place.file("logs/f.log")).expect("a link");
        symlink(place.file("real"), place.file("linked")).expect("a link");
        let mut number = 0;
        let mut write = |log: &str| {
            number += 1;
            place.append(log, &failure(number));
            std::thread::sleep(std::time::Duration::from_millis(20));
            number
        };
        let mut last = 0;
        let mut rotate = |first: u32, write: &mut dyn FnMut(&str) -> u32| {
            for log in logs {
                for generation in first..first + 3 {
                    let old = format!("{log}-{}", 20_261_100 + generation);
                    fs::rename(place.file(log), place.file(&old)).expect("a rotation");
                    last = write(log);
                }
            }
            last
        };
        for log in logs {
            write(log);
        }
        let server = place.start();
        wait_for_found(&place, 1..=2);
        place.ask(&["set", "j", "idle", "on"]);
        let last = rotate(1, &mut write);
        place.ask(&["set", "j", "idle", "off"]);
        wait_for_found(&place, 1..=last);
        stop(&place, server);
        let last = rotate(4, &mut write);
        let server = place.start();
        wait_for_found(&place, 1..=last);
        if backend == "pyinotify" {
            let descriptors = fs::read_dir(format!("/proc/{}/fdinfo", server.0.id())).expect("a process");
            let watches: String =
                descriptors.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect();
            let data = fs::metadata(place.file("data")).expect("a directory").ino();
            assert!(watches.contains(&format!(" ino:{data:x} ")), "{watches}");
        }
        stop(&place, server);
    }
}

#[test]
fn files_are_added_and_removed_while_the_server_runs() {
    for backend in ["pyinotify", "polling"] {
        let place = place(backend, "DIR/f.log");
        place.append("f.log", &failure(1));
        place.append("g.log", &failure(2));
        let g = place.file("g.log").display().to_string();
        let server = place.start();
        wait_for_found(&place, [1]);
        let added = place.ask(&["set", "j", "addlogpath", &g, "tail"]);
        assert!(added.contains("g.log"), "{added}");
        place.append("g.log", &failure(3));
        wait_for_found(&place, [1, 3]);
        for number in 4..24 {
            let removed = place.ask(&["set", "j", "dellogpath", &g]);
            assert!(!removed.contains("g.log"), "{removed}");
            place.append("g.log", &failure(number));
            place.ask(&["set", "j", "addlogpath", &g]);
        }
        wait_for_found(&place, [1].into_iter().chain(3..24));
        // Of what nobody follows nobody reports changes: the directory is left, and the other log.
        place.ask(&["set", "j", "dellogpath", &g]);
        let expected = if backend == "polling" { 0 } else { 2 };
        wait_until("watches have ended", || watches(&server).lines().count() == expected);
        stop(&place, server);
    }
}

/// A log that may not be read is named once, and read as soon as it may.
#[test]
fn a_log_that_may_not_be_read_for_a_while_is_read_later() {
    if !available("root", nix::unistd::geteuid().is_root()) {
        return;
    }
    for backend in ["pyinotify", "polling"] {
        let place = place(backend, "DIR/f.log");
        place.append("f.log", &failure(1));
        let program = place.file("f2b-server");
        fs::copy(binary("f2b-server"), &program).expect("a copy");
        fs::write(place.file("server.out"), "").expect("a file");
        for path in [place.path().to_owned(), place.file("f.log"), place.file("server.out")] {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("a new owner");
        }
        let mut command = Command::new(program);
        command.arg("-c").arg(place.path()).args(["-f", "start"]).stdin(Stdio::null());
        let server = place.spawn(command.stderr(Stdio::null()).uid(NOBODY).gid(NOBODY));
        wait_for_found(&place, [1]);
        place.append("aside", &failure(2));
        let permit = |mode| {
            fs::set_permissions(place.file("aside"), fs::Permissions::from_mode(mode)).expect("permissions");
        };
        permit(0o600);
        fs::rename(place.file("f.log"), place.file("f.log.1")).expect("a rotation");
        fs::rename(place.file("aside"), place.file("f.log")).expect("another log");
        place.wait_for_log("Permission denied");
        // The old one is read on meanwhile.
        place.append("f.log.1", &failure(3));
        wait_for_found(&place, [1, 3]);
        fs::set_permissions(place.file("f.log"), fs::Permissions::from_mode(0o644)).expect("permissions");
        wait_for_found(&place, [1, 2, 3]);
        place.append("f.log", &failure(4));
        wait_for_found(&place, [1, 2, 3, 4]);
        assert_eq!(place.log().matches("Permission denied").count(), 1, "{}", place.log());
        stop(&place, server);
    }
}

/// With fewer watches than logs the others are polled, which is said once.
#[test]
fn logs_beyond_the_limit_of_watches_are_polled() {
    for (limit, value, warning) in [
        ("max_inotify_watches", 5, "inotify has no watches left"),
        ("max_inotify_instances", 0, "inotify is not available"),
    ] {
        let place = place("auto", "DIR/logs/*.log");
        for number in 0..12 {
            place.write(&format!("logs/{number}.log"), &failure(number));
        }
        let script = format!("echo {value} > /proc/sys/user/{limit} && exec \"$0\" \"$@\"");
        let in_namespace = |script: &str| {
            let mut command = Command::new("unshare");
            command.args(["-U", "-r", "sh", "-c", script]);
            command
        };
        let can_limit = in_namespace(&format!("echo {value} > /proc/sys/user/{limit}")).output();
        if !available("user namespaces with limits", can_limit.is_ok_and(|output| output.status.success())) {
            return;
        }
        let mut command = in_namespace(&script);
        command.arg(binary("f2b-server")).arg("-c").arg(place.path()).args(["-f", "start"]);
        let server = place.spawn(command.stdin(Stdio::null()).stderr(Stdio::null()));
        wait_for_found(&place, 0..12);
        for number in 0..12 {
            place.append(&format!("logs/{number}.log"), &failure(100 + number));
        }
        wait_for_found(&place, (0..12).chain(100..112));
        // A rotation needs another watch.
        for number in 0..12 {
            let log = place.file(&format!("logs/{number}.log"));
            fs::rename(&log, log.with_extension("log.1")).expect("a rotation");
            place.append(&format!("logs/{number}.log"), &failure(200 + number));
        }
        wait_for_found(&place, (0..12).chain(100..112).chain(200..212));
        let mut warnings = messages(&place, "WARNING");
        warnings.retain(|warning| !warning.contains("New database created"));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(warning), "{warnings:?}");
        stop(&place, server);
    }
}

/// A file system with one file, `log`, which has what another file has and grows with it, without anybody who writes here:
/// the kernel's protocol for file systems in user space, as far as one file needs it.
const FUSE: &str = r#"
import os, struct, subprocess, sys
mount, behind = sys.argv[1:]
fd = os.open('/dev/fuse', os.O_RDWR)
options = 'fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other' % fd
subprocess.run(['mount', '-i', '-t', 'fuse', '-o', options, 'none', mount], pass_fds=[fd], check=True)
LOG = 0xf2b

def attributes(node):
    stat = os.stat(behind)
    size, mode = (stat.st_size, 0o100644) if node == LOG else (0, 0o040755)
    second, nano = divmod(stat.st_mtime_ns, 10**9)
    return struct.pack('<6Q10I', node, size, 0, second, second, second, nano, nano, nano, mode, 1, 0, 0, 0, 4096, 0)

def answer(kind, node, body):
    if kind == 26:
        return struct.pack('<4I2H2I2HI7I', 7, 31, 0, 0, 8, 8, 4096, 1, 0, 0, 0, *[0] * 7)
    if kind == 1:
        return struct.pack('<4Q2I', LOG, 0, 0, 0, 0, 0) + attributes(LOG) if body == b'log\0' else 2
    if kind == 3:
        return struct.pack('<Q2I', 0, 0, 0) + attributes(node)
    if kind in (14, 27):
        return struct.pack('<Q2I', 0, 1, 0)
    if kind == 15:
        offset, size = struct.unpack_from('<QI', body, 8)
        with open(behind, 'rb') as file:
            file.seek(offset)
            return file.read(size)
    if kind == 17:
        return struct.pack('<5Q10I', *[0] * 5, 4096, 255, 4096, *[0] * 7)
    return b'' if kind in (18, 25, 28, 29) else 38

while True:
    request = os.read(fd, 1 << 20)
    kind, unique, node = struct.unpack_from('<IQQ', request, 4)
    if kind in (2, 36, 42): continue
    result = answer(kind, node, request[40:])
    error, data = (-result, b'') if isinstance(result, int) else (0, result)
    os.write(fd, struct.pack('<IiQ', 16 + len(data), error, unique) + data)
"#;

/// Whatever changes a file elsewhere, nobody reports it here: such a log is polled, whatever the backend.
#[test]
fn a_log_that_is_elsewhere_is_polled() {
    if !available("a kernel with FUSE", Path::new("/dev/fuse").exists()) {
        return;
    }
    let place = place("pyinotify", "DIR/mount/log\n DIR/here.log");
    let Some(mounts) = Mounts::new("true") else { return };
    place.write("behind", &failure(1));
    place.write("here.log", &failure(2));
    fs::create_dir(place.file("mount")).expect("a directory");
    let mut daemon = mounts.command("python3");
    daemon.args(["-c", FUSE]).args([place.file("mount"), place.file("behind")]);
    let daemon = Process(daemon.spawn().expect("Python starts"));
    let log = place.file("mount/log");
    wait_until("it is mounted", || mounts.path(log.to_str().expect("a name")).exists());
    let server = place.spawn(&mut mounts.wrap(&place.server()));
    wait_for_found(&place, [1, 2]);
    place.append("behind", &failure(3));
    place.append("here.log", &failure(4));
    wait_for_found(&place, 1..=4);
    let watches = watches(&server);
    let here = fs::metadata(place.file("here.log")).expect("a log").ino();
    assert!(watches.contains(&format!(" ino:{here:x} ")), "{watches}");
    assert!(!watches.contains(" ino:f2b "), "{watches}");
    stop(&place, server);
    drop(daemon);
}

/// More logs than a process may usually have open, and a line in any of them is found.
#[test]
fn two_thousand_logs_are_followed() {
    const LOGS: u32 = 2000;
    for backend in ["pyinotify", "polling"] {
        let place = place(backend, "DIR/logs/*/*.log");
        for number in 0..LOGS {
            place.write(&format!("logs/{}/{number}.log", number / 100), "");
        }
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -S -n 1024; exec \"$0\" \"$@\""]);
        command.arg(binary("f2b-server")).arg("-c").arg(place.path()).args(["-f", "start"]);
        let server = place.spawn(command.stdin(Stdio::null()).stderr(Stdio::null()));
        for number in 0..LOGS {
            place.append(&format!("logs/{}/{number}.log", number / 100), &failure(number));
        }
        wait_for_found(&place, 0..LOGS);
        for number in [0, 777, LOGS - 1] {
            let log = place.file(&format!("logs/{}/{number}.log", number / 100));
            fs::rename(&log, log.with_extension("log.1")).expect("a rotation");
            fs::write(log, failure(LOGS + number)).expect("a log");
        }
        wait_for_found(&place, (0..LOGS).chain([LOGS, LOGS + 777, 2 * LOGS - 1]));
        let complaints = [messages(&place, "ERROR"), messages(&place, "WARNING")].concat();
        assert!(complaints.iter().all(|text| text.contains("New database created")), "{complaints:?}");
        stop(&place, server);
    }
}

/// More logs than the process may have open: they take turns, nothing is missed or read twice, and clients and actions get
/// their descriptors.
#[test]
fn logs_beyond_the_limit_of_open_files_take_turns() {
    const LOGS: u32 = 300;
    for backend in ["pyinotify", "polling"] {
        let place = place(backend, "DIR/logs/*.log");
        let log = |number: u32| format!("logs/{number}.log");
        for number in 0..LOGS {
            place.write(&log(number), &format!("first line of {number}\n"));
        }
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 120; exec \"$0\" \"$@\""]);
        command.arg(binary("f2b-server")).arg("-c").arg(place.path()).args(["-f", "start"]);
        let server = place.spawn(command.stdin(Stdio::null()).stderr(Stdio::null()));
        for number in 0..LOGS {
            place.append(&log(number), &failure(number));
        }
        wait_for_found(&place, 0..LOGS);
        let open = fs::read_dir(format!("/proc/{}/fd", server.0.id())).expect("its descriptors").count();
        assert!(open < 80, "{open}");
        for number in 0..LOGS {
            match number % 3 {
                0 => place.append(&log(number), &failure(LOGS + number)),
                // It is renamed and its writer goes on for a moment.
                1 => {
                    let old = format!("{}.1", log(number));
                    fs::rename(place.file(&log(number)), place.file(&old)).expect("a rotation");
                    place.append(&old, &failure(LOGS + number));
                    place.write(&log(number), &format!("another line of {number}\n"));
                }
                // It is emptied and has the same first line and more behind it than before.
                _ => place.write(
                    &log(number),
                    &format!("first line of {number}\n{}{}", failure(LOGS + number), "x\n".repeat(100)),
                ),
            }
        }
        wait_for_found(&place, 0..2 * LOGS);
        assert!(place.ask(&["set", "j", "banip", "192.0.2.1"]).contains('1'));
        place.wait_for_log("[j] Ban 192.0.2.1");
        let complaints = [messages(&place, "ERROR"), messages(&place, "WARNING")].concat();
        let limit =
            "300 log files need more open files than the limit of 120 allows: no more than 30 stay open";
        let expected = |text: &String| text.contains("New database created") || text.contains(limit);
        assert!(complaints.iter().all(expected), "{complaints:?}");
        assert_eq!(complaints.iter().filter(|text| text.contains(limit)).count(), 1, "{complaints:?}");
        stop(&place, server);
    }
}

/// A jail without logs is left out where it says so, and the others run; as with fail2ban.
#[test]
fn a_jail_without_logs_may_be_skipped() {
    let run = |is_ours: bool| {
        let place = place(
            "polling",
            "DIR/f.log\n[k]\nenabled = true\nskip_if_nologs = true\nlogpath = /nowhere/*.log\n[l]\nenabled = true\n\
             backend = auto\nskip_if_nologs = true\nsystemd_if_nologs = false\njournalmatch = A=1\n\
             logpath = /nowhere/*.log",
        );
        place.append("f.log", &failure(1));
        let server = start(&place, is_ours);
        wait_for_found(&place, [1]);
        let said = (place.ask(&["status"]), messages(&place, "ERROR"));
        stop(&place, server);
        said
    };
    // Switching to the journal is new in 1.1.
    let is_known =
        |is_ours: &bool| *is_ours || upstream::version().is_some_and(|version| version.starts_with("1.1"));
    let results: Vec<_> = servers().into_iter().filter(is_known).map(run).collect();
    assert!(results[0].0.ends_with("Jail list:\tj\n"), "{}", results[0].0);
    assert_eq!(results[0].1.len(), 2, "{:?}", results[0].1);
    assert!(results.iter().all(|result| *result == results[0]), "{results:#?}");
}

/// Backends have fail2ban's names, in the log and in `status`, and a jail without logs follows the journal if it may.
#[test]
fn backends_have_their_names() {
    if !available("libsystemd", f2b_journal::load().is_ok()) {
        return;
    }
    let run = |is_ours: bool| {
        let mut jails = "DIR/f.log".to_owned();
        for (name, options) in [
            ("inotify", "backend = pyinotify\nlogpath = DIR/f.log"),
            ("poll", "backend = polling\nlogpath = DIR/f.log"),
            ("journal", "backend = systemd\njournalmatch = A=1"),
            ("nologs", "backend = auto\njournalmatch = A=1 + B=2\nlogpath = /nowhere/*.log"),
        ] {
            jails += &format!("\n[{name}]\nenabled = true\n{options}");
        }
        let place = place("auto", &jails);
        place.append("f.log", &failure(1));
        let server = start(&place, is_ours);
        wait_for_found(&place, [1]);
        let hide = |text: String| text.replace(&place.path().display().to_string(), "DIR");
        let mut said: Vec<String> = ["j", "inotify", "poll", "journal", "nologs"]
            .map(|jail| hide(place.ask(&["status", jail])))
            .into();
        said.push(place.ask(&["status", "--all", "stats"]));
        said.extend(messages(&place, "' uses ").into_iter().chain(messages(&place, "Initiated '")));
        stop(&place, server);
        said
    };
    let python = "import pyinotify, systemd.journal";
    let has_backends = || upstream::python(python).output().is_ok_and(|output| output.status.success());
    let is_new = || upstream::version().is_some_and(|version| version.starts_with("1.1"));
    let ours = run(true);
    assert!(ours[4].contains("Journal matches:\tA=1 + B=2"), "{ours:#?}");
    if is_new() && available("python3-pyinotify and python3-systemd", has_backends()) {
        assert_eq!(ours, run(false));
    }
}

//! Jails that follow the journal, in files that `systemd-journal-remote` makes: what was there before, what comes, what a
//! rotation takes away, where a restart goes on; and the same commands for upstream's server and for ours.

#[path = "support/journal.rs"]
mod journal;
#[path = "support/mounts.rs"]
mod mounts;
mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use journal::entry;
use mounts::Mounts;
use support::{Place, Process, binary, wait_until};
use upstream::Driver;

const FILTER: &str = "[INCLUDES]\n[Definition]\nfailregex = ^\\S+ prog(?:\\[\\d+\\])?: fail from <HOST>$\n\
                      journalmatch = _COMM=prog + _COMM=other\n";
const ACTION: &str = "[Definition]\nactionban = echo + <ip> >> <file>\nactionunban = echo - <ip> >> <file>\n";

fn place(options: &str) -> Place {
    let place = Place::new();
    place.write("filter.d/f1.conf", FILTER);
    place.write("action.d/note.conf", ACTION);
    let dir = place.path().display();
    place.write(
        "jail.conf",
        &format!(
            "[DEFAULT]\nusedns = no\nignoreself = false\nmaxretry = 100\nbantime = 1h\nfindtime = 1h\n\
             filter = f1\naction = note[file={dir}/bans]\n\
             backend = systemd[journalfiles=\"{dir}/journal/system.journal\"]\n[j]\nenabled = true\n{options}\n"
        ),
    );
    fs::create_dir(place.file("journal")).expect("a directory");
    place
}

fn file(place: &Place) -> PathBuf {
    place.file("journal/system.journal")
}

/// Microseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    u64::try_from(since.as_micros()).expect("a number")
}

fn address(number: u64) -> String {
    format!("10.0.{}.{}", number / 256, number % 256)
}

/// Failures of these addresses in the journal, written some seconds ago.
fn fail(place: &Place, comm: &str, age: u64, numbers: impl IntoIterator<Item = u64>) {
    write_failures(&file(place), comm, age, numbers);
}

fn write_failures(file: &Path, comm: &str, age: u64, numbers: impl IntoIterator<Item = u64>) {
    let entries = numbers.into_iter().map(|number| failure(comm, number, now() - age * 1_000_000, None));
    journal::write(file, &entries.collect::<Vec<_>>().concat());
}

/// A failure that is received at that time, and that may have a time of its own (microseconds since 1970).
fn failure(comm: &str, number: u64, received: u64, own: Option<u64>) -> Vec<u8> {
    let message = format!("fail from {}", address(number));
    let own = own.map(|micros| micros.to_string());
    let mut fields: Vec<(&str, &[u8])> = vec![
        ("_HOSTNAME", b"h"),
        ("SYSLOG_IDENTIFIER", b"prog"),
        ("_COMM", comm.as_bytes()),
        ("MESSAGE", message.as_bytes()),
    ];
    fields.extend(own.as_ref().map(|own| ("_SOURCE_REALTIME_TIMESTAMP", own.as_bytes())));
    entry(received, &fields)
}

/// The number of an address behind `10.0.`.
fn number(address: &str) -> Option<u64> {
    let (high, low) = address.split_once('.')?;
    Some(high.parse::<u64>().ok()? * 256 + low.parse::<u64>().ok()?)
}

/// The numbers of the addresses that were found, in their order.
fn found(place: &Place) -> Vec<u64> {
    let log = place.log();
    let addresses = log.lines().filter_map(|line| line.split_once("] Found 10.0.")?.1.split(' ').next());
    addresses.map(|text| number(text).expect("a number")).collect()
}

#[track_caller]
fn wait_for_found(place: &Place, expected: &[u64]) {
    support::comes_true(|| found(place).len() >= expected.len());
    check_found(place, &found(place), expected);
}

#[track_caller]
fn check_found(place: &Place, found: &[u64], expected: &[u64]) {
    if found == expected {
        return;
    }
    let missing: Vec<_> = expected.iter().filter(|number| !found.contains(number)).collect();
    let mut seen = BTreeSet::new();
    let twice: Vec<_> = found.iter().filter(|number| !seen.insert(**number)).collect();
    let log = place.log();
    let rest: Vec<_> = log.lines().filter(|line| !line.contains("] Found ")).collect();
    let (found, expected) = (found.len(), expected.len());
    let rest = rest.join("\n");
    panic!("{found} of {expected}, missing {missing:?}, twice {twice:?}, or in another order\n{rest}");
}

/// Of several journals it is not certain which one is heard first.
#[track_caller]
fn wait_for_found_in_any_order(place: &Place, expected: &[u64]) {
    support::comes_true(|| found(place).len() >= expected.len());
    let mut found = found(place);
    found.sort_unstable();
    check_found(place, &found, expected);
}

/// Stops the server and waits for its end.
#[track_caller]
fn stop(place: &Place, mut server: Process) {
    place.ask(&["stop"]);
    assert!(server.0.wait().expect("a process").success());
}

#[test]
fn a_growing_journal_is_read_once() {
    if !journal::can_be_made() {
        return;
    }
    let place = place("");
    // Too old, not too old, and of no interest.
    fail(&place, "prog", 7200, [1]);
    fail(&place, "prog", 60, [2, 3]);
    fail(&place, "third", 50, [4]);
    fail(&place, "other", 40, [5]);
    let server = place.start();
    wait_for_found(&place, &[2, 3, 5]);
    place.wait_for_log("[j] Jail is in operation now (process new journal entries)");
    fail(&place, "prog", 0, [6, 7]);
    wait_for_found(&place, &[2, 3, 5, 6, 7]);
    assert!(place.ask(&["status", "j"]).contains("Journal matches:\t_COMM=prog + _COMM=other"));
    stop(&place, server);
    // While nobody reads, and after the next start.
    fail(&place, "prog", 0, [8, 9]);
    let server = place.start();
    wait_for_found(&place, &[2, 3, 5, 6, 7, 8, 9]);
    fail(&place, "other", 0, [10]);
    wait_for_found(&place, &[2, 3, 5, 6, 7, 8, 9, 10]);
    // A reload changes nothing, other matches change what is read from now on.
    place.ask(&["reload"]);
    place.ask(&["set", "j", "deljournalmatch", "_COMM=other"]);
    fail(&place, "other", 0, [11]);
    fail(&place, "prog", 0, [12]);
    wait_for_found(&place, &[2, 3, 5, 6, 7, 8, 9, 10, 12]);
    drop(server);
}

/// The database has the place, whoever wrote it there.
#[test]
fn the_place_in_the_journal_is_handed_from_server_to_server() {
    if !journal::can_be_made() || upstream::version().is_none() || !journal::upstream_reads() {
        return;
    }
    let place = place("");
    fail(&place, "prog", 60, [2, 3]);
    let server = upstream::start(&place);
    wait_for_found(&place, &[2, 3]);
    fail(&place, "prog", 0, [4]);
    wait_for_found(&place, &[2, 3, 4]);
    stop(&place, server);
    fail(&place, "prog", 0, [5]);
    let server = place.start();
    wait_for_found(&place, &[2, 3, 4, 5]);
    stop(&place, server);
    fail(&place, "prog", 0, [6]);
    let server = upstream::start(&place);
    wait_until("the new failure is found", || found(&place).contains(&6));
    // It may read the last entry once more (`journal-after-restart`), but none of those before.
    assert!([&[2, 3, 4, 5, 6][..], &[2, 3, 4, 5, 5, 6]].contains(&&*found(&place)), "{:?}", found(&place));
    stop(&place, server);
}

/// Entries may have times of their own, which are not those at which they were received, and which need not grow. Reading goes
/// on where it was left all the same.
#[test]
fn entries_with_times_of_their_own_are_read_once() {
    if !journal::can_be_made() {
        return;
    }
    let second = 1_000_000;
    let write = |place: &Place, of: &[(u64, u64, Option<u64>)]| {
        let entries = of.iter().map(|(number, received, own)| failure("prog", *number, *received, *own));
        journal::write(&file(place), &entries.collect::<Vec<_>>().concat());
    };
    // Far behind, also behind what counts; ahead; all at once; and none.
    let begun = now() - 60 * second;
    let times = [begun - 1800 * second, begun - 7200 * second, begun + 90 * second, begun].map(Some);
    for own in times.into_iter().chain([None]) {
        let place = place("");
        // The last entry decides what the database knows.
        let first: Vec<_> = (1..=20).map(|number| (number, begun + number, None)).collect();
        write(&place, &first);
        let received = begun + 20;
        write(&place, &[(30, received, own), (31, received, own), (32, received, own)]);
        let mut server = place.start();
        place.wait_for_log("[j] Jail is in operation now");
        let counts = own.is_none_or(|own| own > begun - 3600 * second);
        let mut expected: Vec<u64> = (1..=20).collect();
        expected.extend(if counts { 30..33 } else { 30..30 });
        wait_for_found(&place, &expected);
        stop(&place, server);
        server = place.start();
        write(&place, &[(40, now(), None)]);
        expected.push(40);
        wait_for_found(&place, &expected);
        // In operation an entry counts however old it says that it is.
        write(&place, &[(50, now(), own)]);
        expected.push(50);
        wait_for_found(&place, &expected);
        stop(&place, server);
        write(&place, &[(60, now(), own), (61, now(), None)]);
        expected.extend(counts.then_some(60));
        expected.push(61);
        server = place.start();
        wait_for_found(&place, &expected);
        stop(&place, server);
    }
}

/// The place that is saved is not behind failures that nobody has answered for, be the server stopped or killed, and the
/// journal rotated before the next start.
#[test]
fn failures_that_wait_for_a_command_are_read_again() {
    if !journal::can_be_made() {
        return;
    }
    // A kill comes as soon as the place where reading began has been saved, or that of the first failure.
    for (held, kill_after) in [(2, None), (2, Some(12)), (1, Some(1))] {
        let place = place("");
        let dir = place.path().display().to_string();
        let command = format!(
            "ignorecommand = echo <ip> >> {dir}/asked; \
             test <ip> != 10.0.0.{held} || while test -e {dir}/hold; do sleep 0.1; done; exit 1\n"
        );
        place.write("jail.conf", &(place.read("jail.conf") + &command));
        place.write("hold", "");
        fail(&place, "prog", 60, 1..=3);
        let mut server = place.start();
        let asked = || fs::read_to_string(place.file("asked")).unwrap_or_default();
        wait_until("the command hangs", || asked().contains(&address(held)));
        wait_for_found(&place, &(1..held).collect::<Vec<_>>());
        if let Some(seconds) = kill_after {
            thread::sleep(Duration::from_secs(seconds));
            server.0.kill().expect("the process is there");
            server.0.wait().expect("a process");
            fs::rename(file(&place), place.file("journal/system@1.journal")).expect("a rotation");
            fail(&place, "prog", 0, [4]);
        } else {
            stop(&place, server);
            fail(&place, "prog", 0, [4]);
        }
        fs::remove_file(place.file("hold")).expect("a file");
        server = place.spawn(&mut place.server_with(&["-x"]));
        wait_for_found(&place, &[1, 2, 3, 4]);
        stop(&place, server);
    }
}

/// Whatever stands in place of the cursor, the time leads to the entry.
#[test]
fn a_cursor_that_is_none_does_no_harm() {
    if !journal::can_be_made() || !support::available("sqlite3", support::has_program("sqlite3")) {
        return;
    }
    let place = place("");
    fail(&place, "prog", 60, [1, 2, 3]);
    let mut next = 3;
    let mut server = place.start();
    for cursor in ["", "x", "t=ffffffffffffffff", "s=1;i=1;b=1;m=1;t=7ffffffffffff;x=1", &"x".repeat(5000)] {
        wait_for_found(&place, &(1..=next).collect::<Vec<_>>());
        stop(&place, server);
        let sql = format!("UPDATE logs SET firstlinemd5 = '2026-01-01T00:00:00+00:00 {cursor}'");
        support::run(Command::new("sqlite3").arg(place.file("f2b.sqlite3")).arg(sql));
        next += 1;
        fail(&place, "prog", 0, [next]);
        server = place.start();
    }
    wait_for_found(&place, &(1..=next).collect::<Vec<_>>());
    drop(server);
}

/// Upstream keeps the entry's own time only. Whatever that is, we go on behind that entry.
#[test]
fn upstreams_place_is_found_by_the_entrys_own_time() {
    if !journal::can_be_made() || upstream::version().is_none() || !journal::upstream_reads() {
        return;
    }
    let second = 1_000_000;
    for own in [now() - 1800 * second, now() - 7200 * second, now() + 30 * second] {
        let place = place("");
        let begun = now() - 60 * second;
        let entries = (1..=5).map(|number| failure("prog", number, begun + number, None));
        let entries = entries.chain([failure("prog", 6, begun + 6, Some(own))]);
        journal::write(&file(&place), &entries.collect::<Vec<_>>().concat());
        let server = upstream::start(&place);
        // Not before the last entry, all others are of the past.
        place.wait_for_log("[j] Jail is in operation now");
        stop(&place, server);
        let before = found(&place);
        journal::write(&file(&place), &failure("prog", 7, now(), None));
        let server = place.start();
        wait_for_found(&place, &[&before[..], &[7]].concat());
        drop(server);
    }
}

/// What was written before the rotation and had not been read is not lost, whatever the order in which it is noticed.
#[test]
fn a_rotated_journal_is_read_to_its_end_before_the_new_one() {
    if !journal::can_be_made() {
        return;
    }
    let place = place("");
    fail(&place, "prog", 1, [1]);
    let server = place.start();
    wait_for_found(&place, &[1]);
    let mut expected = vec![1];
    for round in 1..=5_u64 {
        let number = round * 10;
        fail(&place, "prog", 0, number..number + 5);
        let rotated = place.file(&format!("journal/system@{round}.journal"));
        fs::rename(file(&place), rotated).expect("a rotation");
        fail(&place, "prog", 0, number + 5..number + 10);
        expected.extend(number..number + 10);
        wait_for_found(&place, &expected);
    }
    // A server that starts afterwards goes on where this one was.
    stop(&place, server);
    fail(&place, "prog", 0, [200]);
    fs::rename(file(&place), place.file("journal/system@6.journal")).expect("a rotation while nobody reads");
    fail(&place, "prog", 0, [201]);
    let server = place.start();
    expected.extend([200, 201]);
    wait_for_found(&place, &expected);
    drop(server);
}

/// Where a journal was not closed before the machine went down, journald gives it another name at the next boot: what is in it
/// counts all the same.
#[test]
fn a_journal_that_was_not_closed_is_read_to_its_end() {
    if !journal::can_be_made() {
        return;
    }
    let place = place("");
    fail(&place, "prog", 1, [1]);
    let put_aside = |name: &str| {
        let mut opened = fs::OpenOptions::new().write(true).open(file(&place)).expect("the journal");
        // The byte of the header that says whether somebody is writing.
        opened.seek(SeekFrom::Start(16)).expect("a header");
        opened.write_all(&[1]).expect("a header");
        fs::rename(file(&place), place.file("journal").join(name)).expect("a rotation");
    };
    let server = place.start();
    wait_for_found(&place, &[1]);
    stop(&place, server);
    fail(&place, "prog", 0, [2, 3]);
    put_aside("system@0001-abc.journal~");
    fail(&place, "prog", 0, [4]);
    let mut server = place.start();
    wait_for_found(&place, &[1, 2, 3, 4]);
    // While a server runs it is read to its end beside the new one.
    place.ask(&["set", "j", "idle", "on"]);
    fail(&place, "prog", 0, [5, 6]);
    put_aside("system@0002-abc.journal~");
    fail(&place, "prog", 0, [7]);
    place.ask(&["set", "j", "idle", "off"]);
    wait_for_found(&place, &[1, 2, 3, 4, 5, 6, 7]);
    // After a kill something may come once more.
    server.0.kill().expect("the server is there");
    server.0.wait().expect("a process");
    fail(&place, "prog", 0, [8, 9]);
    put_aside("system@0003-abc.journal~");
    fail(&place, "prog", 0, [10]);
    server = place.spawn(&mut place.server_with(&["-x"]));
    wait_until("the last entry is found", || found(&place).contains(&10));
    assert_eq!(found(&place).into_iter().collect::<BTreeSet<_>>(), (1..=10).collect());
    stop(&place, server);
}

/// The library maps the files into memory. One that is cut short costs nothing but what was in it, whether another one takes
/// its place or its contents come back.
#[test]
fn a_journal_file_that_is_cut_short_is_opened_again() {
    if !journal::can_be_made() {
        return;
    }
    let place = place("");
    let dir = place.path().display();
    place.write(
        "jail.conf",
        &format!(
            "{}[k]\nenabled = true\nbackend = systemd[journalfiles=\"{dir}/other.journal\"]\n",
            place.read("jail.conf")
        ),
    );
    let other = place.file("other.journal");
    fail(&place, "prog", 1, [1, 2, 3]);
    write_failures(&other, "prog", 1, [4]);
    let mut server = place.start();
    let wait_for = |number: u64| wait_until("a failure is found", || found(&place).contains(&number));
    let told = || place.log().matches("[j] Unable to read the journal: a journal file was cut short").count();
    let cut = |length: u64| {
        let opened = fs::OpenOptions::new().write(true).open(file(&place)).expect("the journal");
        opened.set_len(length).expect("it is cut short");
    };
    let mut next = 5;
    wait_for(3);
    wait_for(4);
    for (round, length) in [0, 1].into_iter().enumerate() {
        cut(length);
        wait_until("the log says so", || told() > round);
        write_failures(&other, "prog", 0, [next]);
        wait_for(next);
        // The file is found broken, renamed, and a new one begun.
        fail(&place, "prog", 0, [next + 1, next + 2]);
        wait_for(next + 2);
        next += 3;
    }
    // In the middle of what is to be read.
    place.ask(&["set", "j", "idle", "on"]);
    fail(&place, "prog", 0, 10_000..15_000);
    cut(400_000);
    place.ask(&["set", "j", "idle", "off"]);
    wait_until("the log says so", || told() > 2);
    fail(&place, "prog", 0, [next]);
    wait_for(next);
    next += 1;
    // The contents come back, and grow.
    let saved = fs::read(file(&place)).expect("the journal");
    cut(0);
    wait_until("the log says so", || told() > 3);
    fs::write(file(&place), saved).expect("the journal");
    fail(&place, "prog", 0, [next]);
    wait_for(next);
    // What was in a file is gone if nobody had read it; nothing came twice, and everything is told once.
    let mut found = found(&place);
    let partly = found.extract_if(.., |number| *number >= 10_000).collect::<Vec<_>>();
    assert!((10_000..14_900).zip(&partly).all(|(expected, number)| expected == *number), "{partly:?}");
    found.sort_unstable();
    check_found(&place, &found, &(1..=next).collect::<Vec<_>>());
    assert_eq!(told(), 4, "{}", place.log());
    assert!(server.0.try_wait().expect("a process").is_none());
    stop(&place, server);
}

/// A jail that follows all files of the directory, and the journal of a user there.
fn place_with_user() -> (Place, PathBuf) {
    let place = place("");
    let dir = place.path().display();
    let file = format!("systemd[journalfiles=\"{dir}/journal/system.journal\"]");
    let all = format!("systemd[journalpath=\"{dir}/journal\"]");
    place.write("jail.conf", &place.read("jail.conf").replace(&file, &all));
    let user = place.file("journal/user-1000.journal");
    (place, user)
}

/// The library opens all files of a list or none. One that is broken does not take the others away, and is read as soon as it
/// can be.
#[test]
fn a_broken_file_of_several_is_left_out() {
    if !journal::can_be_made() {
        return;
    }
    let (place, user) = place_with_user();
    let cut = || {
        let opened = fs::OpenOptions::new().write(true).open(&user).expect("the journal");
        opened.set_len(0).expect("it is cut short");
    };
    let told = || place.log().matches("/user-1000.journal can't be opened, it is left out").count();
    fail(&place, "prog", 1, [1]);
    write_failures(&user, "prog", 1, [2]);
    let server = place.start();
    wait_until("both are found", || found(&place).len() == 2);
    let saved = fs::read(&user).expect("the journal");
    cut();
    wait_until("it is left out", || told() == 1);
    fail(&place, "prog", 0, [3]);
    wait_for_found_in_any_order(&place, &[1, 2, 3]);
    stop(&place, server);
    // So it is at a start.
    let server = place.start();
    wait_until("it is left out", || told() == 2);
    fail(&place, "prog", 0, [4]);
    wait_for_found_in_any_order(&place, &[1, 2, 3, 4]);
    fs::write(&user, saved).expect("the journal");
    write_failures(&user, "prog", 0, [5]);
    wait_for_found_in_any_order(&place, &[1, 2, 3, 4, 5]);
    // Another file takes its place.
    cut();
    wait_until("it is left out", || told() == 3);
    write_failures(&user, "prog", 0, [6]);
    wait_for_found_in_any_order(&place, &[1, 2, 3, 4, 5, 6]);
    drop(server);
}

/// Where the only file is broken the jail waits for another one, at a start as later on.
#[test]
fn a_jail_waits_for_a_journal_that_can_be_read() {
    if !journal::can_be_made() {
        return;
    }
    for content in [&b""[..], &[b'x'; 10_000]] {
        let place = place("");
        let told = |times: usize| {
            wait_until("it is said", || {
                place.log().matches("[j] Unable to read the journal: ").count() == times
            });
        };
        fs::write(file(&place), content).expect("a file");
        let server = place.start();
        assert!(place.ask(&["status"]).contains("Jail list:\tj\n"));
        told(1);
        fs::remove_file(file(&place)).expect("a file");
        fail(&place, "prog", 0, [1]);
        wait_for_found(&place, &[1]);
        fs::rename(file(&place), place.file("old")).expect("another name");
        fs::write(file(&place), content).expect("a file");
        told(2);
        fs::remove_file(file(&place)).expect("a file");
        fail(&place, "prog", 0, [2, 3]);
        wait_for_found(&place, &[1, 2, 3]);
        assert_eq!(place.log().matches("[j] The journal can be read again").count(), 2);
        stop(&place, server);
    }
}

/// The system's journal is rotated beside the one of a user, which is read on meanwhile.
#[test]
fn a_file_that_comes_back_beside_others_is_read_from_its_beginning() {
    if !journal::can_be_made() {
        return;
    }
    let (place, user) = place_with_user();
    fail(&place, "prog", 2, [1]);
    write_failures(&user, "prog", 1, [2]);
    let server = place.start();
    wait_for_found_in_any_order(&place, &[1, 2]);
    for (round, next) in [3, 6, 9].into_iter().enumerate() {
        let rotated = place.file(&format!("journal/system@{round}.journal"));
        fs::rename(file(&place), rotated).expect("a rotation");
        // Long enough for the server to go on without it.
        thread::sleep(Duration::from_millis(1500));
        write_failures(&user, "prog", 0, [next]);
        wait_until("the other one is read on", || found(&place).contains(&next));
        // An entry may have been on its way while its file was being made.
        fail(&place, "prog", 2, [next + 1]);
        write_failures(&user, "prog", 0, [next + 2]);
        wait_for_found_in_any_order(&place, &(1..=next + 2).collect::<Vec<_>>());
    }
    // Nothing comes twice later on.
    fail(&place, "prog", 0, [12]);
    wait_for_found_in_any_order(&place, &(1..=12).collect::<Vec<_>>());
    stop(&place, server);
}

/// Early in a boot journald has its entries in `/run`, and moves them to `/var` later: the file is another one, with other numbers
/// for the same entries. It has come by the time that the old one goes, or comes afterwards.
#[test]
fn entries_that_move_to_another_file_are_read_once() {
    if !journal::can_be_made() {
        return;
    }
    for is_beside in [true, false] {
        let (place, other) = place_with_user();
        let begun = now() - 3_000_000;
        let write = |file: &Path, numbers: std::ops::RangeInclusive<u64>| {
            let entries = numbers.map(|number| failure("prog", number, begun + number * 1_000_000, None));
            journal::write(file, &entries.collect::<Vec<_>>().concat());
        };
        write(&other, 1..=3);
        let server = place.start();
        wait_for_found(&place, &[1, 2, 3]);
        if !is_beside {
            fs::remove_file(&other).expect("a file");
        }
        write(&file(&place), 1..=4);
        wait_until("the new file is read", || found(&place).contains(&4));
        if is_beside {
            fs::remove_file(&other).expect("a file");
        }
        write(&file(&place), 5..=6);
        wait_for_found(&place, &[1, 2, 3, 4, 5, 6]);
        stop(&place, server);
    }
}

/// Where a server finds no file, since a rotation is under way, it does not read the system's journal in its place; and it
/// goes on where it was.
#[test]
fn a_start_in_the_middle_of_a_rotation_skips_nothing() {
    if !journal::can_be_made() {
        return;
    }
    let place = place("");
    fail(&place, "prog", 60, [1]);
    let server = place.start();
    wait_for_found(&place, &[1]);
    stop(&place, server);
    fail(&place, "prog", 1, [2, 3]);
    fs::rename(file(&place), place.file("journal/system@1.journal")).expect("a rotation");
    for next in [4, 5] {
        let server = place.start();
        // Upstream's way, to read the system's journal instead, is taken after a while.
        thread::sleep(Duration::from_secs(if next == 4 { 0 } else { 4 }));
        fail(&place, "prog", 0, [next]);
        wait_for_found(&place, &(1..=next).collect::<Vec<_>>());
        stop(&place, server);
        fs::rename(file(&place), place.file(&format!("journal/system@{next}.journal"))).expect("a rotation");
    }
}

/// What has been read of the files does not stay in memory, where the library has put it.
#[test]
fn a_long_past_is_let_go() {
    if !journal::can_be_made() {
        return;
    }
    let place = place("");
    let received = now() - 60_000_000;
    let entries = (0..30_000).map(|number| failure("prog", number, received + number, None));
    journal::write(&file(&place), &entries.collect::<Vec<_>>().concat());
    let server = place.start();
    place.wait_for_log("[j] Jail is in operation now");
    fail(&place, "prog", 0, [30_000]);
    wait_for_found(&place, &(0..=30_000).collect::<Vec<_>>());
    let pages = fs::metadata(file(&place)).expect("the journal").len() / 1024;
    let resident = || {
        let maps = fs::read_to_string(format!("/proc/{}/smaps", server.0.id())).expect("maps");
        let of_journal = maps.split("VmFlags").filter(|map| map.contains("/system.journal\n"));
        let sizes = of_journal.filter_map(|map| map.split_once("\nRss:")?.1.split_whitespace().next());
        sizes.map(|kib| kib.parse::<u64>().expect("a number")).sum::<u64>()
    };
    assert!(pages > 10_000, "{pages} KiB");
    wait_until("the memory is free again", || resident() < pages / 4);
    drop(server);
}

/// Writers, rotations and a restart at random; in the end each failure was found once, in the order of the journal.
#[test]
fn nothing_is_missed_and_nothing_is_read_twice() {
    if !journal::can_be_made() {
        return;
    }
    let place = place("");
    fail(&place, "prog", 1, [0]);
    let mut server = place.start();
    let (mut next, mut rotations) = (1, 0);
    // A sequence without a pattern, the same in every run.
    let mut dice = 7_u64;
    for round in 0..40 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let count = 1 + (dice >> 33) % 25;
        fail(&place, "prog", 0, next..next + count);
        next += count;
        if (dice >> 40).is_multiple_of(3) {
            rotations += 1;
            let rotated = place.file(&format!("journal/system@{rotations}.journal"));
            fs::rename(file(&place), rotated).expect("a rotation");
        }
        if round % 13 == 12 {
            stop(&place, server);
            fail(&place, "prog", 0, [next]);
            next += 1;
            server = place.start();
        }
    }
    fail(&place, "prog", 0, [next]);
    let expected: Vec<u64> = (0..=next).collect();
    wait_for_found(&place, &expected);
    assert!(rotations > 5);
    drop(server);
}

/// Killed at any time, also while the journal is rotated and while it has been down: each entry is found once or more often.
#[test]
fn a_kill_skips_no_entry() {
    if !journal::can_be_made() {
        return;
    }
    let place = place("");
    fail(&place, "prog", 1, [0]);
    // Once there is a place to go on from; up to that what a rotation takes away is not asked for.
    let mut server = place.start();
    wait_for_found(&place, &[0]);
    stop(&place, server);
    server = place.spawn(&mut place.server_with(&["-x"]));
    let seed = std::env::var("F2B_TORTURE_SEED").map_or(7, |text| text.parse().expect("a number"));
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut next, mut rotations, mut kills) = (1, 0, 0);
    let write = |next: &mut u64, rng: &mut fastrand::Rng| {
        let count = rng.u64(1..40);
        fail(&place, "prog", 0, *next..*next + count);
        *next += count;
    };
    let mut rotate = || {
        rotations += 1;
        let rotated = place.file(&format!("journal/system@{rotations}.journal"));
        fs::rename(file(&place), rotated).expect("a rotation");
    };
    for _ in 0..60 {
        write(&mut next, &mut rng);
        if rng.u8(..4) == 0 {
            rotate();
            write(&mut next, &mut rng);
        }
        if rng.u8(..4) == 0 {
            server.0.kill().expect("the server is there");
            server.0.wait().expect("a process");
            kills += 1;
            if rng.bool() {
                write(&mut next, &mut rng);
                rotate();
            }
            write(&mut next, &mut rng);
            let mut command = Command::new(binary("f2b-server"));
            command.arg("-c").arg(place.path()).args(["-x", "-f", "start"]);
            server = place.spawn(command.stdin(Stdio::null()).stderr(Stdio::null()));
        }
    }
    fail(&place, "prog", 0, [next]);
    wait_until("the last entry is found", || found(&place).contains(&next));
    let found: BTreeSet<u64> = found(&place).into_iter().collect();
    let skipped: Vec<u64> = (0..=next).filter(|number| !found.contains(number)).collect();
    assert!(skipped.is_empty(), "F2B_TORTURE_SEED={seed}: {kills} kills, skipped {skipped:?}");
    assert!(kills > 5 && rotations > 5, "{kills} kills, {rotations} rotations");
    drop(server);
}

const JOURNALD: &str = "/lib/systemd/systemd-journald";

/// A journal daemon in mounts of its own.
struct Daemon {
    process: Process,
    mounts: Mounts,
}

impl Daemon {
    /// With these lines of `journald.conf`; `None`, and a word about it, where that can't be.
    fn start(config: &str) -> Option<Self> {
        let has_tools = ["systemd-cat", "journalctl"].into_iter().all(support::has_program);
        let has_daemon = Path::new(JOURNALD).exists() && has_tools;
        if !support::available("systemd-journald", has_daemon) {
            return None;
        }
        // It leaves the kernel's messages and its auditing alone.
        let mounts = Mounts::new(&format!(
            "mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /run/log/journal; \
             printf '[Journal]\\nStorage=volatile\\nReadKMsg=no\\nAudit=\\n{config}' \
             >/run/systemd/journald.conf.d/test.conf"
        ))?;
        let mut command = mounts.command(JOURNALD);
        let process = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("the daemon starts");
        let daemon = Self { process: Process(process), mounts };
        wait_until("the daemon listens", || daemon.mounts.path("/run/systemd/journal/stdout").exists());
        Some(daemon)
    }

    fn write(&self, numbers: std::ops::Range<u64>) {
        let text: String = numbers.map(|number| format!("fail from {}\n", address(number))).collect();
        let mut command = self.mounts.command("systemd-cat");
        let mut cat = command.args(["-t", "prog"]).stdin(Stdio::piped()).spawn().expect("systemd-cat starts");
        cat.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
        assert!(cat.wait().expect("it ends").success());
    }

    /// The numbers that the journal has, in its order; not all of them while it begins a file.
    fn all_numbers(&self) -> Vec<u64> {
        self.directories().iter().flat_map(|directory| self.numbers(directory)).collect()
    }

    fn numbers(&self, directory: &Path) -> Vec<u64> {
        let mut journalctl = Command::new("journalctl");
        let text = support::run(journalctl.args(["-t", "prog", "-o", "cat", "-D"]).arg(directory));
        text.lines().filter_map(|line| number(line.strip_prefix("fail from 10.0.")?)).collect()
    }

    fn rotate(&self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.0.id()).expect("a process id"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR2).expect("the daemon is there");
    }

    /// The directories of its journals.
    fn directories(&self) -> Vec<PathBuf> {
        let directories = fs::read_dir(self.mounts.path("/run/log/journal")).expect("a directory");
        directories.flatten().map(|directory| directory.path()).collect()
    }

    fn count_files(&self) -> usize {
        let count = |directory: &PathBuf| fs::read_dir(directory).expect("a directory").count();
        self.directories().iter().map(count).sum()
    }

    /// Starts a server that sees what this one writes.
    #[track_caller]
    fn serve(&self, place: &Place, server: &Command) -> Process {
        place.spawn(&mut self.mounts.wrap(server))
    }
}

/// A jail that reads what the daemon is told.
fn place_at_daemon() -> Place {
    let place = place("");
    let dir = place.path().display();
    place.write("filter.d/f1.conf", &FILTER.replace("_COMM=prog + _COMM=other", "SYSLOG_IDENTIFIER=prog"));
    let jail = format!("backend = systemd[journalfiles=\"{dir}/journal/system.journal\"]");
    place.write("jail.conf", &place.read("jail.conf").replace(&jail, "backend = systemd"));
    place
}

/// A journal daemon that runs, writes and rotates; what it is told is found once, in its order.
#[test]
fn a_live_journald_is_followed() {
    let Some(daemon) = Daemon::start("") else { return };
    let [place, other] = [place_at_daemon(), place_at_daemon()];
    daemon.write(0..20);
    let server = daemon.serve(&place, &place.server());
    wait_for_found(&place, &(0..20).collect::<Vec<_>>());
    daemon.write(20..60);
    wait_for_found(&place, &(0..60).collect::<Vec<_>>());
    if upstream::version().is_some() && journal::upstream_reads() {
        let theirs = daemon.serve(&other, &upstream::server(&other));
        wait_for_found(&other, &(0..60).collect::<Vec<_>>());
        stop(&other, theirs);
    }
    let mut next = 60;
    for _ in 0..5 {
        daemon.write(next..next + 30);
        daemon.rotate();
        daemon.write(next + 30..next + 60);
        next += 60;
    }
    wait_for_found(&place, &(0..next).collect::<Vec<_>>());
    stop(&place, server);
    daemon.write(next..next + 10);
    let before = daemon.count_files();
    daemon.rotate();
    wait_until("the journal is rotated", || daemon.count_files() > before);
    daemon.write(next + 10..next + 20);
    let server = daemon.serve(&place, &place.server());
    wait_for_found(&place, &(0..next + 20).collect::<Vec<_>>());
    drop((server, daemon));
}

/// A daemon that writes as fast as it can, begins a new file every few thousand entries, and throws old ones away; and a server
/// that is stopped meanwhile.
#[test]
fn a_journald_at_full_speed_is_followed() {
    let config = "RuntimeMaxFileSize=512K\\nRuntimeMaxFiles=1000\\nRateLimitIntervalSec=0\\n";
    let Some(daemon) = Daemon::start(config) else { return };
    let place = place_at_daemon();
    daemon.write(0..1);
    let mut server = daemon.serve(&place, &place.server());
    let (mut next, mut expected) = (1, vec![0]);
    for round in 0..4 {
        let rounds_end = next + 4000;
        server = thread::scope(|scope| {
            scope.spawn(|| daemon.write(next..rounds_end));
            if round % 2 == 0 {
                return server;
            }
            stop(&place, server);
            daemon.serve(&place, &place.server())
        });
        // When it begins a new file the daemon may write an entry once more, which counts as two.
        let before = expected.len();
        support::comes_true(|| {
            let written = daemon.all_numbers().into_iter();
            expected.truncate(before);
            expected.extend(written.filter(|number| (next..rounds_end).contains(number)));
            expected.len() >= before + 4000 && found(&place) == expected
        });
        check_found(&place, &found(&place), &expected);
        let whole: BTreeSet<u64> = expected[before..].iter().copied().collect();
        assert_eq!(whole.len(), 4000);
        next = rounds_end;
        let before = daemon.count_files();
        for directory in daemon.directories() {
            let mut vacuum = Command::new("journalctl");
            support::run(vacuum.args(["--vacuum-files=2", "-D"]).arg(directory));
        }
        assert!(daemon.count_files() < before, "{before} files");
    }
    daemon.write(next..next + 1);
    expected.push(next);
    wait_for_found(&place, &expected);
    drop((server, daemon));
}

/// `namespace=` opens the journals that systemd keeps under that name, and no others.
#[test]
fn a_namespace_has_a_journal_of_its_own() {
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default().trim().to_owned();
    if !journal::can_be_made() || !support::available("a machine id", machine.len() == 32) {
        return;
    }
    let run = |is_ours: bool| {
        let place = place("");
        let dir = place.path().display();
        let mounts =
            Mounts::new(&format!("mount --bind {dir}/journal /var/log/journal; mount -t tmpfs tmpfs /run"))?;
        for (name, number) in [(machine.clone(), 100), (format!("{machine}.fred"), 1)] {
            fs::create_dir(place.file("journal").join(&name)).expect("a directory");
            write_failures(&place.file("journal").join(name).join("system.journal"), "prog", 10, [number]);
        }
        let jail = format!("backend = systemd[journalfiles=\"{dir}/journal/system.journal\"]");
        place
            .write("jail.conf", &place.read("jail.conf").replace(&jail, "backend = systemd[namespace=fred]"));
        let server = if is_ours { place.server() } else { upstream::server(&place) };
        let server = place.spawn(&mut mounts.wrap(&server));
        wait_for_found(&place, &[1]);
        for (name, number) in [(machine.clone(), 101), (format!("{machine}.fred"), 2)] {
            write_failures(&place.file("journal").join(name).join("system.journal"), "prog", 0, [number]);
        }
        wait_for_found(&place, &[1, 2]);
        let status = place.ask(&["status", "j"]);
        stop(&place, server);
        Some(status)
    };
    let Some(ours) = run(true) else { return };
    // It is new in 1.1.
    let is_known = upstream::version().is_some_and(|version| version.starts_with("1.1"));
    if is_known && journal::upstream_reads() {
        assert_eq!(run(false), Some(ours));
    }
}

/// Journals by their parameters, restricted by filter and jail, with entries of every kind, those that were there and those that
/// come: each jail reads the lines that upstream's reads.
#[test]
fn entries_are_the_lines_that_upstream_reads() {
    if !journal::can_be_made() || upstream::version().is_none() || !journal::upstream_reads() {
        return;
    }
    let kinds: [&[(&str, &[u8])]; 12] = [
        &[("_HOSTNAME", b"h"), ("SYSLOG_IDENTIFIER", b"prog"), ("_COMM", b"prog"), ("MESSAGE", b"plain")],
        &[("_HOSTNAME", b"h"), ("_COMM", b"other"), ("_PID", b"12"), ("MESSAGE", b"no identifier")],
        &[
            ("SYSLOG_IDENTIFIER", b"prog"),
            ("_COMM", b"prog"),
            ("SYSLOG_PID", b"x7"),
            ("MESSAGE", b"an odd process"),
        ],
        &[("SYSLOG_IDENTIFIER", b"prog"), ("_COMM", b"prog"), ("_PID", b"0"), ("MESSAGE", b"process zero")],
        &[("_COMM", b"other"), ("MESSAGE", b"one"), ("MESSAGE", b"and \xff another"), ("MESSAGE", b"third")],
        &[("_COMM", b"other"), ("MESSAGE", b"caf\xe9 \xc3\xa9\0")],
        &[("_COMM", b"prog"), ("MESSAGE", b"several\nlines\n")],
        &[("_COMM", b"third"), ("A", b"1"), ("B", b"2"), ("MESSAGE", b"a and b")],
        &[("_COMM", b"third"), ("A", b"1"), ("A", b"3"), ("MESSAGE", b"a twice")],
        &[("SYSLOG_IDENTIFIER", b"kernel"), ("_COMM", b"prog"), ("MESSAGE", b"since the start")],
        &[("_COMM", b"prog")],
        &[("MESSAGE", b"nobody's")],
    ];
    let write = |places: &[Place], received: u64| {
        for (at, name) in (0..).zip(["system@1.journal", "system.journal", "user-1000.journal"]) {
            let times = (received + at * 1000)..;
            let entries: Vec<_> = kinds.iter().zip(times).map(|(fields, time)| entry(time, fields)).collect();
            for place in places {
                journal::write(&place.file("journal").join(name), &entries.concat());
            }
        }
    };
    let places = [place(""), place("")];
    let is_1_1 = upstream::version().is_some_and(|version| version.starts_with("1.1"));
    let mut names = vec!["all", "some", "jail", "plus", "none", "latin"];
    for place in &places {
        let dir = place.file("journal");
        let dir = dir.display();
        place.write("filter.d/all.conf", "[Definition]\nfailregex = ^nothing <HOST>$\n");
        let mut jails = format!(
            "[DEFAULT]\nenabled = true\nusedns = no\nfilter = f1\nfindtime = 1h\naction =\n\
             backend = systemd[journalfiles=\"{dir}/*.journal\"]\n[all]\n\
             [some]\nbackend = systemd[journalfiles=\"{dir}/system.journal, {dir}/user-*.journal\"]\n\
             [jail]\nfilter = f1[journalmatch='_COMM=third']\n\
             [plus]\njournalmatch = A=1 B=2 + A=3 + _COMM=prog _PID=0\n[none]\nfilter = all\n\
             [latin]\nfilter = all\nlogencoding = latin1\n"
        );
        if is_1_1 {
            jails += &format!(
                "[path]\nbackend = systemd[journalpath=\"{dir}\"]\n\
                 [rotated]\nbackend = systemd[journalpath=\"{dir}\", rotated=on]\n\
                 [system]\nbackend = systemd[journalpath=\"{dir}\", journalflags=4]\n"
            );
        }
        place.write("jail.conf", &jails);
    }
    write(&places, now() - 60_000_000);
    names.extend(if is_1_1 { &["path", "rotated", "system"][..] } else { &[] });
    let verbose = ["--loglevel", "HEAVYDEBUG"];
    let servers = [
        places[0].spawn(&mut places[0].server_with(&verbose)),
        places[1].spawn(&mut upstream::server_with(&places[1], &verbose)),
    ];
    // What stands behind the time, which is another one in each place.
    let lines = |place: &Place, jail: &str| {
        let log = place.log();
        let start = format!("[{jail}] Read systemd journal entry: ");
        let read = log.split("\n2").filter_map(|line| line.split_once(&start)?.1.split_once(' '));
        read.map(|(_time, text)| text.trim_end().to_owned()).collect::<Vec<_>>()
    };
    // Both have read the past when they say so.
    for (place, name) in places.iter().flat_map(|place| names.iter().map(move |name| (place, name))) {
        place.wait_for_log(&format!("[{name}] Jail is in operation now"));
    }
    let before = names.iter().map(|name| lines(&places[0], name).len()).collect::<Vec<_>>();
    for name in &names {
        assert_eq!(lines(&places[0], name), lines(&places[1], name), "{name}");
    }
    write(&places, now());
    for (name, before) in names.iter().zip(before) {
        assert!(before > 0, "{name}");
        let have_all = || places.iter().all(|place| lines(place, name).len() == 2 * before);
        support::comes_true(have_all);
        assert_eq!(lines(&places[0], name).len(), 2 * before, "{name}");
        assert_eq!(lines(&places[0], name), lines(&places[1], name), "{name}");
    }
    drop(servers);
}

/// A jail without a log file falls back to the journal.
#[test]
fn a_jail_without_logs_follows_the_journal() {
    if !support::available("libsystemd", f2b_journal::load().is_ok()) {
        return;
    }
    let place = place(
        "backend = auto\nsystemd_if_nologs = true\njournalmatch = _COMM=x\nlogpath = /nonexistent/*.log",
    );
    let server = place.start();
    assert!(place.log().contains("Jail 'j' uses systemd {}"), "{}", place.log());
    assert!(place.ask(&["status", "j"]).contains("Journal matches:\t_COMM=x\n"));
    assert_eq!(place.ask(&["get", "j", "logpath"]), "No file is currently monitored\n");
    drop(server);
}

#[test]
fn a_journal_that_is_not_there_costs_its_own_jail_only() {
    if !journal::can_be_made() {
        return;
    }
    let place = place("[k]\nenabled = true\nbackend = systemd[journalpath=/nonexistent]\n");
    fail(&place, "prog", 1, [1]);
    let server = place.start();
    wait_for_found(&place, &[1]);
    assert!(place.log().contains("Jail 'k' skipped"), "{}", place.log());
    drop(server);
}

#[test]
fn a_missing_library_costs_the_jails_that_need_it() {
    let place = place("");
    let Some(mut command) = journal::without_library(&binary("f2b-server")) else { return };
    let output = command.arg("-c").arg(place.path()).args(["-f", "start"]).output().expect("it runs");
    assert!(!output.status.success());
    let text = support::both(&output);
    assert!(text.contains("Jail 'j': the backend 'systemd' can't be used: "), "{text}");
    assert!(text.contains("libsystemd.so.0"), "{text}");
}

#[test]
fn commands_about_the_journal_are_answered_as_upstream_answers_them() {
    if !journal::can_be_made() || upstream::version().is_none() || !journal::upstream_reads() {
        return;
    }
    let places = [place(""), place("")];
    for place in &places {
        fail(place, "prog", 60, [2, 3]);
        fail(place, "other", 40, [4]);
    }
    let servers = [places[0].start(), upstream::start(&places[1])];
    let mut driver = Driver::start();
    for place in &places {
        wait_for_found(place, &[2, 3, 4]);
    }
    for command in [
        "get j journalmatch",
        "status j",
        "set j addjournalmatch _COMM=third",
        "set j addjournalmatch A=1 B=2 + C=3",
        "set j addjournalmatch a=1",
        "set j addjournalmatch __X=1",
        "set j addjournalmatch nothing",
        "get j journalmatch",
        "set j deljournalmatch C=3",
        "set j deljournalmatch C=3",
        "set j deljournalmatch A=1 B=2",
        "set j deljournalmatch A=1",
        "get j logpath",
        "set j addlogpath /etc/passwd",
        "set j dellogpath /etc/passwd",
        "get j datepattern",
        "get j journalmatch",
        "status j short",
        "reload",
        "get j journalmatch",
        "status j",
    ] {
        let words: Vec<String> = command.split(' ').map(Into::into).collect();
        let [ours, theirs] = [0, 1].map(|at| {
            let printed = driver.client(&places[at], &words);
            let stderr = printed.stderr.split_once("]: ").map_or("", |(_, message)| message).to_owned();
            (printed.stdout, stderr, printed.code)
        });
        assert_eq!(ours, theirs, "{command}");
    }
    let fresh = |place: &Place| fail(place, "prog", 0, [7, 8]);
    places.iter().for_each(fresh);
    for place in &places {
        wait_for_found(place, &[2, 3, 4, 7, 8]);
    }
    let journal_lines = |place: &Place| {
        let log = place.log();
        let lines =
            log.lines().filter(|line| line.contains("fail2ban.filtersystemd") && !line.contains("MSG"));
        lines.map(|line| line.split_once("]: ").expect("a message").1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(journal_lines(&places[0]), journal_lines(&places[1]));
    for place in &places {
        place.client(binary("f2b-client"), &["stop"]).output().expect("the client runs");
    }
    drop(servers);
    let position = |place: &Place| {
        let sql = "SELECT path, typeof(lastfilepos), abs(lastfilepos - strftime('%s', 'now')) < 60, \
                   substr(firstlinemd5, 1, 2) || instr(firstlinemd5, ' ') FROM logs";
        let mut sqlite = std::process::Command::new("sqlite3");
        support::run(sqlite.arg(place.file("f2b.sqlite3")).arg(sql))
    };
    if support::has_program("sqlite3") {
        assert_eq!(position(&places[0]), position(&places[1]));
    }
}

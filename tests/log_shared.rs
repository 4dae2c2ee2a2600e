//! One reader for a log however many jails watch it: its bytes are read once, and every jail gets each line as if it were
//! alone, whatever it is at the moment: behind, paused, busy, or with settings of its own.

#[path = "support/rotated.rs"]
mod rotated;
mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;

use fastrand::Rng;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rotated::{Deed, RotatedLog};
use support::{Place, Process, wait_until};

/// Local time of so many seconds before now.
fn date(ago: i64) -> String {
    let time = Timestamp::from_second(Timestamp::now().as_second() - ago).expect("a time");
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A configuration with these jails, each a name and options of its own, all on `log`.
fn configure(place: &Place, jails: &[(String, String)]) {
    place.write("filter.d/f1.conf", "[Definition]\nfailregex = ^ ?fail <ADDR>\n");
    place.write("action.d/note.conf", "[Definition]\nactionban = true\n");
    place.write(
        "action.d/slow.conf",
        &format!(
            "[Definition]\nactionban = while [ -e {}/hold ]; do sleep 0.02; done\n",
            place.path().display()
        ),
    );
    let mut text = format!(
        "[DEFAULT]\nbackend = pyinotify\nfilter = f1\naction = note\nusedns = no\nmaxretry = 100000\nfindtime = 1h\n\
         ignoreself = false\nlogpath = {}/log\n",
        place.path().display()
    );
    for (name, options) in jails {
        let _ = writeln!(text, "[{name}]\nenabled = true\n{options}");
    }
    place.write("jail.conf", &text);
}

fn alike(count: usize) -> Vec<(String, String)> {
    (0..count).map(|n| (format!("j{n}"), String::new())).collect()
}

/// What a jail has found, in order.
fn found(place: &Place, jail: &str) -> Vec<String> {
    // An address begins with a digit here; there is a warning that begins in the same way.
    let mark = format!("[{jail}] Found ");
    let found = |line: &str| line.split_once(&mark).map(|(_, text)| text.to_owned());
    let is_address = |text: &String| text.starts_with(|c: char| c.is_ascii_digit());
    place.log().lines().filter_map(found).filter(is_address).collect()
}

#[track_caller]
fn wait_for(place: &Place, jail: &str, count: usize) {
    let mark = format!("[{jail}] Found ");
    wait_until(&format!("{jail} has found {count}"), || place.log().matches(&mark).count() >= count);
}

/// Bytes that a process has read.
fn bytes_read(process: &Process) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", process.0.id())).expect("its figures");
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("a line");
    line.parse().expect("a number")
}

#[test]
fn a_log_of_fifty_jails_is_read_once() {
    let place = Place::new();
    let jails = alike(50);
    configure(&place, &jails);
    let filler = |ago: i64| format!("{} nothing of interest {}\n", date(ago), "x".repeat(60)).repeat(20_000);
    let part = |n: u32| format!("{}{} fail 192.0.2.{n}\n", filler(600), date(60));
    place.write("log", &part(1));
    let size = part(1).len() as u64;
    let server = place.spawn(place.server().env("TZ", "UTC"));
    jails.iter().for_each(|(jail, _)| wait_for(&place, jail, 1));
    // Who came later caught up together; a search for the place to begin at reads a little for each.
    let at_start = bytes_read(&server);
    assert!(at_start < 10 * size, "{at_start} of {size}");
    // By now all are at the end of the log.
    std::thread::sleep(std::time::Duration::from_millis(500));
    for n in 2..=4 {
        let before = bytes_read(&server);
        place.append("log", &part(n));
        jails.iter().for_each(|(jail, _)| wait_for(&place, jail, n as usize));
        let read = bytes_read(&server) - before;
        assert!(read >= size && read < size + size / 2, "{read} of {size}");
    }
    let expected: Vec<String> = found(&place, "j0");
    assert_eq!(expected.len(), 4);
    for (jail, _) in &jails {
        assert_eq!(found(&place, jail), expected, "{jail}");
    }
}

/// Jails that differ in all that a line depends on before it is searched.
fn different() -> Vec<(String, String)> {
    [
        ("plain", ""),
        ("same", ""),
        ("narrow", "findtime = 10m"),
        ("pattern", "datepattern = ^%%Y-%%m-%%d %%H:%%M:%%S"),
        ("pattern2", "datepattern = ^%%Y-%%m-%%d %%H:%%M:%%S"),
        ("zone", "logtimezone = UTC+0030"),
        ("latin", "logencoding = iso-8859-1"),
        ("ascii", "logencoding = ascii"),
        ("lines", "maxlines = 3"),
        ("polling", "backend = polling"),
        ("strict", "maxretry = 2"),
    ]
    .map(|(name, options)| (name.to_owned(), options.to_owned()))
    .to_vec()
}

/// Lines of these ages, with dates of several kinds, without dates, and with characters that are not ASCII.
fn varied(ages: impl Iterator<Item = i64>) -> String {
    let mut text = String::new();
    for (n, ago) in ages.enumerate() {
        let address = format!("198.51.100.{}", n % 40);
        let _ = match n % 7 {
            0 => writeln!(text, "{} fail {address} é", date(ago)),
            1 => writeln!(text, "{} fine {address}", date(ago)),
            2 => writeln!(text, "{} host: fail {address}", date(ago)),
            3 => writeln!(text, "no date\n\nfail 203.0.113.1"),
            4 => writeln!(text, "{}Z fail {address}", date(ago).replace(' ', "T")),
            _ => writeln!(text, "{} fail {address} since 2004-01-01 00:00:00", date(ago)),
        };
    }
    text
}

/// What each jail has found; what is of the time since `start` without its time, which may be the moment at which it was read.
fn results(place: &Place, jails: &[(String, String)], start: &str) -> Vec<(String, Vec<String>)> {
    let of = |jail: &str| {
        let found = found(place, jail).into_iter();
        let past = found.map(|text| match text.split_once(" - ") {
            Some((address, time)) if time >= start => address.to_owned(),
            _ => text,
        });
        past.collect()
    };
    jails.iter().map(|(jail, _)| (jail.clone(), of(jail))).collect()
}

/// Waits until nothing more is found for a while.
fn settle(place: &Place, jails: &[(String, String)], start: &str) -> Vec<(String, Vec<String>)> {
    let mut before = results(place, jails, start);
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
        let now = results(place, jails, start);
        if now == before && now.iter().all(|(_, found)| !found.is_empty()) {
            return now;
        }
        before = now;
    }
}

#[test]
fn jails_with_one_log_find_what_each_finds_alone_and_what_upstream_finds() {
    let jails = different();
    // Nothing is near an age that divides those that count, in local time and in the zone of `zone`, for as long as this takes.
    let ages = [(5400, 3700), (3300, 1900), (1500, 700), (400, 100)];
    let past = varied(ages.into_iter().flat_map(|(old, young)| (young..old).rev().step_by(7)));
    let start = date(60);
    let run = |place: &Place, begin: &(dyn Fn(&Place) -> Process + Sync), jails: &[(String, String)]| {
        place.write("log", &past);
        let server = begin(place);
        let before = settle(place, jails, &start);
        for line in varied((0..200).map(|_| 0)).lines() {
            place.append("log", &format!("{line}\n"));
        }
        wait_until("what is new has been read", || results(place, jails, &start) != before);
        (settle(place, jails, &start), server)
    };
    let ours = |place: &Place| place.spawn(place.server().env("TZ", "UTC"));
    let together = Place::new();
    configure(&together, &jails);
    let (found, _server) = run(&together, &ours, &jails);
    let (run, ours) = (&run, &ours);
    std::thread::scope(|scope| {
        for (jail, expected) in jails.iter().zip(&found) {
            scope.spawn(move || {
                let (alone, jail) = (Place::new(), [jail.clone()]);
                configure(&alone, &jail);
                let (found, _server) = run(&alone, ours, &jail);
                assert_eq!(&found[0], expected);
            });
        }
    });
    if upstream::version().is_none() {
        return;
    }
    let theirs = Place::new();
    configure(&theirs, &jails);
    theirs.write("jail.conf", &theirs.read("jail.conf").replace("pyinotify", "polling"));
    let (expected, _server) = run(&theirs, &|place| upstream::start(place), &jails);
    for (ours, theirs) in found.iter().zip(&expected) {
        assert_eq!(ours, theirs);
    }
}

#[test]
fn a_busy_jail_holds_nobody_up_and_loses_nothing() {
    let place = Place::new();
    let busy = "maxretry = 1\naction = slow\nbantime = 1h".to_owned();
    configure(&place, &[("busy".into(), busy), ("j0".into(), String::new()), ("j1".into(), String::new())]);
    place.write("hold", "");
    place.write("log", "");
    let _server = place.spawn(place.server().env("TZ", "UTC"));
    // More than its queue and one round of reading hold.
    let lines: String = (0..10_000)
        .map(|n| format!("{} fail 10.0.{}.{} {}\n", date(1), n >> 8, n & 255, "x".repeat(250)))
        .collect();
    place.append("log", &lines);
    wait_for(&place, "j0", 10_000);
    wait_for(&place, "j1", 10_000);
    assert!(found(&place, "busy").len() < 10_000, "the jail is not busy");
    fs::remove_file(place.file("hold")).expect("the file");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while found(&place, "busy").len() < 10_000 {
        assert!(std::time::Instant::now() < until, "{} of 10000", found(&place, "busy").len());
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let strip =
        |all: Vec<String>| all.into_iter().map(|text| text[..text.len() - 22].to_owned()).collect::<Vec<_>>();
    assert_eq!(strip(found(&place, "busy")), strip(found(&place, "j0")));
}

#[test]
fn a_jail_that_pauses_or_comes_later_gets_its_lines() {
    let place = Place::new();
    let other = format!("logpath = {}/other", place.path().display());
    configure(&place, &[("j0".into(), String::new()), ("j1".into(), String::new()), ("late".into(), other)]);
    let line = |n: u32| format!("{} fail 192.0.2.{n}\n", date(0));
    place.write("log", &line(1));
    place.write("other", "");
    let server = place.spawn(place.server().env("TZ", "UTC"));
    ["j0", "j1"].iter().for_each(|jail| wait_for(&place, jail, 1));
    place.ask(&["set", "j1", "idle", "on"]);
    place.append("log", &line(2));
    wait_for(&place, "j0", 2);
    // A rotation meanwhile.
    fs::rename(place.file("log"), place.file("log.1")).expect("a rename");
    std::thread::sleep(std::time::Duration::from_millis(50));
    place.append("log", &line(3));
    wait_for(&place, "j0", 3);
    assert_eq!(found(&place, "j1").len(), 1);
    place.ask(&["set", "late", "addlogpath", place.file("log").to_str().expect("a name")]);
    wait_for(&place, "late", 1);
    place.ask(&["set", "j1", "idle", "off"]);
    wait_for(&place, "j1", 3);
    place.append("log", &line(4));
    [("j0", 4), ("j1", 4), ("late", 2)].iter().for_each(|(jail, count)| wait_for(&place, jail, *count));
    place.ask(&["set", "j1", "dellogpath", place.file("log").to_str().expect("a name")]);
    place.append("log", &line(5));
    wait_for(&place, "j0", 5);
    place.ask(&["set", "j1", "addlogpath", place.file("log").to_str().expect("a name")]);
    wait_for(&place, "j1", 5);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(found(&place, "j0"), found(&place, "j1"), "{}", place.log());
    assert_eq!(found(&place, "late").len(), 3);
    // By now all read together again.
    let before = bytes_read(&server);
    let more = format!("{} nothing\n", date(0)).repeat(50_000) + &line(6);
    place.append("log", &more);
    [("j0", 6), ("j1", 6), ("late", 4)].iter().for_each(|(jail, count)| wait_for(&place, jail, *count));
    let read = bytes_read(&server) - before;
    assert!(read < more.len() as u64 * 3 / 2, "{read} of {}", more.len());
}

#[test]
fn jails_that_fall_behind_while_a_log_is_rotated_get_each_line_once() {
    for backend in ["pyinotify", "polling"] {
        let seed = std::env::var("F2B_TORTURE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
        rotate(backend, seed);
    }
}

/// Writes a log and renames it, while some of its jails pause and one has too much to do.
fn rotate(backend: &str, seed: u64) {
    let place = Place::new();
    let jail = |name: &str, options: &str| (name.to_owned(), format!("backend = {backend}\n{options}"));
    let busy = "maxretry = 1\naction = brief\nbantime = 1h";
    configure(&place, &[jail("j0", ""), jail("j1", ""), jail("j2", ""), jail("j3", ""), jail("busy", busy)]);
    place.write(
        "filter.d/f1.conf",
        "[Definition]\nfailregex = ^ line <F-ID>a\\d+</F-ID>$\ndatepattern = ^EPOCH\n",
    );
    place.write("action.d/brief.conf", "[Definition]\nactionban = true\n");
    let mut log = RotatedLog::new(place.path(), "a", seed);
    place.write("jail.conf", &place.read("jail.conf").replace("/log\n", "/a/f.log\n"));
    let _server = place.start();
    let mut rng = Rng::with_seed(seed);
    let mut idle = [false; 2];
    let until = std::time::Instant::now() + std::time::Duration::from_secs(4);
    while std::time::Instant::now() < until {
        match rng.u8(..10) {
            0 => log.append_noise(),
            1 => log.append_in_pieces(rng.u64(1..20)),
            2 => {
                let deed = [Deed::Rename, Deed::Shift][rng.usize(..2)];
                log.rotate(deed, &mut |_| {});
            }
            3 | 4 => {
                let jail = rng.usize(..2);
                idle[jail] = !idle[jail];
                let word = if idle[jail] { "on" } else { "off" };
                let words = ["set", &format!("j{}", jail + 2), "idle", word];
                let output = place.client(support::binary("f2b-client"), &words).output();
                let output = output.expect("the client starts");
                let said = || {
                    let log = place.log();
                    let lines =
                        log.lines().filter(|line| !line.contains("] Found ") && !line.contains("] Ban "));
                    lines.map(|line| format!("{line}\n")).collect::<String>()
                };
                assert!(output.status.success(), "{}{}", support::both(&output), said());
            }
            5 => std::thread::sleep(std::time::Duration::from_millis(rng.u64(..50))),
            _ => log.append(rng.u64(1..15)),
        }
    }
    log.append(1);
    ["j2", "j3"].iter().for_each(|jail| drop(place.ask(&["set", jail, "idle", "off"])));
    let jails = ["j0", "j1", "j2", "j3", "busy"];
    let counts = || {
        let mut counts: HashMap<(String, String), u32> = HashMap::new();
        for line in place.log().lines() {
            let Some((head, id)) = line.split_once("] Found a") else { continue };
            let jail = head.rsplit('[').next().unwrap_or("").to_owned();
            // Another warning begins in the same way.
            let id = id.split(' ').next().unwrap_or("").to_owned();
            if !id.is_empty() {
                *counts.entry((jail, id)).or_default() += 1;
            }
        }
        counts
    };
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let expected = log.lines as usize * jails.len();
    while counts().len() < expected && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    let counts = counts();
    for jail in jails {
        let times = |number: u64| counts.get(&(jail.into(), number.to_string())).copied().unwrap_or(0);
        let wrong: Vec<(u64, u32)> =
            (1..=log.lines).map(|number| (number, times(number))).filter(|(_, times)| *times != 1).collect();
        let near = |line: u64| wrong.iter().any(|(number, _)| line.abs_diff(*number) < 1000);
        let history: Vec<_> = log.history.iter().filter(|(line, _)| near(*line)).collect();
        let few: Vec<_> = wrong.iter().take(5).chain(wrong.last()).collect();
        assert!(
            wrong.is_empty(),
            "{backend}, F2B_TORTURE_SEED={seed}, {jail}: {} of {}, {few:?}, {history:?}",
            wrong.len(),
            log.lines,
        );
    }
}

#[test]
fn all_jails_on_a_fifo_get_every_line() {
    let place = Place::new();
    let jails = alike(5);
    configure(&place, &jails);
    nix::unistd::mkfifo(&place.file("log"), nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let _server = place.start();
    let mut writer = fs::File::options().write(true).open(place.file("log")).expect("a reader is there");
    use std::io::Write;
    for n in 0..5000 {
        writeln!(writer, "{} fail 10.0.{}.{}", date(0), n / 256, n % 256).expect("a write");
    }
    jails.iter().for_each(|(jail, _)| wait_for(&place, jail, 5000));
    let expected = found(&place, "j0");
    jails.iter().for_each(|(jail, _)| assert_eq!(found(&place, jail), expected, "{jail}"));
    // One that comes in the middle of a line joins them.
    write!(writer, "{} fail 192.", date(0)).expect("a write");
    std::thread::sleep(std::time::Duration::from_millis(300));
    let log = place.file("log").display().to_string();
    place.ask(&["add", "late", "polling"]);
    place.ask(&["set", "late", "addfailregex", "fail <ADDR>"]);
    place.ask(&["set", "late", "addlogpath", &log]);
    place.ask(&["start", "late"]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    writeln!(writer, "0.2.1").expect("a write");
    wait_for(&place, "late", 1);
    jails.iter().for_each(|(jail, _)| wait_for(&place, jail, 5001));
    drop(writer);
}

//! A log is read from where it begins to count (`findtime`), found without reading what is before: the same places as
//! upstream's in the same number of steps.

mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::fmt::Write as _;
use std::fs;
use std::io::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use support::{Place, Process, wait_until};

/// A generator of numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Local time of so many seconds before `now`.
fn date(now: Timestamp, ago: i64) -> String {
    let time = Timestamp::from_second(now.as_second() - ago).expect("a time").to_zoned(TimeZone::UTC);
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Logs of every kind by what they are like. No line is within half a minute of the age that divides those that count.
fn histories(now: Timestamp, random: &mut Random) -> Vec<(String, String)> {
    let mut all = vec![
        ("one".into(), format!("{} fail 192.0.2.1\n", date(now, 60))),
        ("part".into(), format!("{} fail 192.0.2.1", date(now, 60))),
        ("dateless".into(), "fail 192.0.2.2\n".repeat(50)),
        (
            "crlf".into(),
            (0..60).map(|n| format!("{} fail 192.0.2.3\r\n", date(now, 3630 - 60 * n))).collect(),
        ),
        ("invalid".into(), "Feb 30 10:00:00 fail 192.0.2.4\n".repeat(30)),
    ];
    for seed in 0..40 {
        // How many lines, how old the first one is, how far apart they are, and how often one lacks a date, is odd or long.
        let count = 1 + random.below(400);
        let step = 60 * (1 + random.below(5)) as i64;
        let first = 30 + step * random.below(2 * count) as i64;
        let (gap, disorder) = (random.below(15), random.below(3) == 0);
        let mut text = String::new();
        let mut ago = first;
        for number in 0..count {
            let address = format!("198.51.100.{}", random.below(20));
            match random.below(12) {
                0 => (0..random.below(gap + 1)).for_each(|n| {
                    let _ = writeln!(text, "  at frame {n} of something");
                }),
                1 => text.push_str("Feb 30 10:00:00 fail 192.0.2.4\n"),
                2 => {
                    let _ =
                        writeln!(text, "{} {}", date(now, ago), "long ".repeat(random.below(900) as usize));
                }
                3 => text.push('\n'),
                _ => {}
            }
            let odd = if disorder { 60 * random.below(30) as i64 } else { 0 };
            let _ = writeln!(text, "{} fail {address}", date(now, ago + odd));
            if number % 3 > 0 {
                ago = (ago - step).max(30);
            }
        }
        // Its size is its name in the messages.
        text.push_str(&"#".repeat(seed));
        text.push('\n');
        all.push((format!("seed{seed}"), text));
    }
    all
}

fn configure(place: &Place, histories: &[(String, String)]) {
    place.write("fail2ban.conf", &place.read("fail2ban.conf").replace("INFO", "DEBUG"));
    place.write("filter.d/f1.conf", "[Definition]\nfailregex = ^ ?fail <ADDR>$\n");
    place.write("action.d/note.conf", "[Definition]\nactionban = true\n");
    let mut jails =
        "[DEFAULT]\nbackend = polling\nusedns = no\nignoreself = false\nbantime = 600\nfindtime = 20m\n\
                     maxretry = 3\nfilter = f1\naction = note\n"
            .to_owned();
    for (name, text) in histories {
        place.write(&format!("{name}.log"), text);
        let path = place.file(&format!("{name}.log"));
        let _ = writeln!(jails, "[{name}]\nenabled = true\nlogpath = {}", path.display());
        if name == "dateless" {
            jails.push_str("datepattern = {NONE}\n");
        }
    }
    place.write("jail.conf", &jails);
}

/// The messages of searches, without what depends on the moment, and those of failures and bans.
fn messages(log: &str) -> (Vec<String>, Vec<String>) {
    let part = |line: &str, from: &str| line.find(from).map(|at| line[at..].trim_end().to_owned());
    let mut searches: Vec<String> = log
        .lines()
        .filter_map(|line| {
            let begun = part(line, "Seek to find time").map(|text| {
                let size = text.rsplit(' ').next().unwrap_or("").to_owned();
                format!("Seek in {size}")
            });
            begun.or_else(|| part(line, "Position "))
        })
        .collect();
    let is_result = |line: &&str| line.contains("] Found ") || line.contains("] Ban ");
    // From the name of the jail on. A line without a date is of the moment at which it was read.
    let result = |line: &str| {
        let result = &line[line.rfind('[')?..];
        let end = if result.starts_with("[dateless]") { result.find(" - ") } else { None };
        Some(result[..end.unwrap_or(result.len())].to_owned())
    };
    let mut results: Vec<String> = log.lines().filter(is_result).filter_map(result).collect();
    searches.sort();
    results.sort();
    (searches, results)
}

#[track_caller]
fn wait_for_searches(place: &Place, count: usize) -> (Vec<String>, Vec<String>) {
    wait_until("all logs are searched", || place.log().matches("Seek to find time").count() >= count);
    // Two seconds without any more failures and bans.
    let mut before = messages(&place.log());
    loop {
        std::thread::sleep(std::time::Duration::from_secs(2));
        let now = messages(&place.log());
        if now == before {
            return now;
        }
        before = now;
    }
}

/// Compares what both servers have said; there may be a thousand lines of it.
#[track_caller]
fn check(ours: &[String], theirs: &[String]) {
    let place = ours.iter().zip(theirs).position(|(ours, theirs)| ours != theirs);
    let place = place.unwrap_or(ours.len().min(theirs.len()));
    assert_eq!(ours.get(place), theirs.get(place), "line {place} of {} and {}", ours.len(), theirs.len());
}

#[test]
fn the_place_in_a_log_is_found_in_upstreams_steps() {
    if upstream::version().is_none() {
        return;
    }
    let now = Timestamp::now();
    let histories = histories(now, &mut Random(20_050_814));
    let (theirs, ours) = (Place::new(), Place::new());
    for place in [&theirs, &ours] {
        configure(place, &histories);
    }
    let start = || {
        let process = ours.spawn(ours.server().env("TZ", "UTC"));
        [upstream::start(&theirs), process]
    };
    let count = histories.len();
    let processes = start();
    let (expected, found) = (wait_for_searches(&theirs, count), wait_for_searches(&ours, count));
    check(&found.0, &expected.0);
    check(&found.1, &expected.1);
    assert!(expected.1.len() > 100, "{expected:?}");
    // Once more, from where the database says.
    for (mut process, place) in processes.into_iter().zip([&theirs, &ours]) {
        support::run(&mut place.client(support::binary("f2b-client"), &["stop"]));
        process.0.wait().expect("the server ends");
        fs::remove_file(place.file("f2b.log")).expect("the log");
    }
    let _processes = start();
    let (expected, found) = (wait_for_searches(&theirs, count), wait_for_searches(&ours, count));
    check(&found.0, &expected.0);
    assert!(expected.0.iter().filter(|line| line.contains("within 0 seeks")).count() > 40, "{expected:?}");
}

/// Bytes that a process has read.
fn bytes_read(process: &Process) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", process.0.id())).expect("its figures");
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("a line");
    line.parse().expect("a number")
}

#[test]
fn the_past_of_a_large_log_is_not_read() {
    let place = Place::new();
    let now = Timestamp::now();
    configure(&place, &[("big".into(), String::new())]);
    let mut log = fs::File::create(place.file("big.log")).expect("a file");
    let old = format!("{} fail 198.51.100.1\n", date(now, 86_400)).repeat(25_000);
    while log.metadata().expect("a size").len() < 200_000_000 {
        log.write_all(old.as_bytes()).expect("a write");
    }
    let new = format!("{} fail 192.0.2.1\n", date(now, 60)).repeat(3);
    log.write_all(new.as_bytes()).expect("a write");
    let server = place.spawn(place.server().env("TZ", "UTC"));
    place.wait_for_log("[big] Ban 192.0.2.1");
    assert!(bytes_read(&server) < 4_000_000, "{}", bytes_read(&server));
    assert!(!place.log().contains("198.51.100.1"));
}

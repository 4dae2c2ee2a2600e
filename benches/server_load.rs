//! What many bans and many jails cost, beside fail2ban where that is installed.
//!
//! `cargo bench --bench server_load` (`F2B_BANS=10000` for more bans; `PYTHONPATH` names another release of fail2ban)
//!
//! | figure | from | until |
//! |---|---|---|
//! | bans | all lines are written, each jail's to its own log | the last `actionban` has run |
//! | CPU | the same | the server's own time, without the shells, for each ban |
//! | by hand | the first `banip`, of a hundred addresses each, one jail after the other | the last `actionban` has run |
//! | restart | the start of a server with these bans in its database | the last `actionban` has run |
//! | flush | `stop` with these bans in force | the process has ended, after one `actionflush` |
//! | stop | `stop` with fifty jails | the process has ended |

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "../tests/support/upstream.rs"]
mod upstream;

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use support::{Place, Process};

const JAILS: usize = 10;
const MANY_JAILS: usize = 50;

/// The figures of one server.
struct Figures {
    bans: f64,
    cpu: f64,
    by_hand: f64,
    restart: f64,
    flush: f64,
    stop: f64,
}

fn main() {
    let count = std::env::var("F2B_BANS").ok().and_then(|text| text.parse().ok()).unwrap_or(2000);
    let ours = measure(count, Place::start);
    let theirs = upstream::version().map(|version| (version, measure(count, upstream::start)));
    println!(
        "{count} bans in {JAILS} jails, each through a shell; f2b{}",
        match &theirs {
            Some((version, _)) => format!(", fail2ban {version}, ratio"),
            None => "; fail2ban is not installed".into(),
        }
    );
    let row = |name: &str, unit: &str, figure: fn(&Figures) -> f64, more_is_better: bool| {
        let mut line = format!("  {name:<28} {:>10.2} {unit}", figure(&ours));
        if let Some((_, theirs)) = &theirs {
            let (a, b) = (figure(&ours), figure(theirs));
            let ratio = if more_is_better { a / b } else { b / a };
            // Writing into a String never fails.
            let _ = write!(line, " {b:>10.2} {unit} {ratio:>8.1} x");
        }
        println!("{line}");
    };
    row("bans a second", "/s", |figures| figures.bans, true);
    row("CPU of the server for a ban", "ms", |figures| figures.cpu * 1e3, false);
    row("bans a second by hand", "/s", |figures| figures.by_hand, true);
    row("restart until the last ban", "s ", |figures| figures.restart, false);
    row("stop with all bans, flushed", "s ", |figures| figures.flush, false);
    row("stop with fifty jails", "s ", |figures| figures.stop, false);
}

fn measure(count: usize, start: fn(&Place) -> Process) -> Figures {
    let place = place(JAILS);
    let server = start(&place);
    let ips = |jail| (0..count).filter(move |n| n % JAILS == jail).map(address);
    let before = cpu_of(&server);
    let began = Instant::now();
    for jail in 0..JAILS {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
        let lines: String = ips(jail).map(|ip| format!("{now} failed login from {ip}\n")).collect();
        place.append(&format!("j{jail}.log"), &lines);
    }
    wait_for_bans(&place, count);
    let (bans, cpu) =
        (count as f64 / began.elapsed().as_secs_f64(), (cpu_of(&server) - before) / count as f64);
    place.ask(&["unban", "--all"]);
    forget_bans(&place);
    let began = Instant::now();
    for jail in 0..JAILS {
        let (name, ips) = (format!("j{jail}"), ips(jail).collect::<Vec<_>>());
        for some in ips.chunks(100) {
            let mut words = vec!["set", &name, "banip"];
            words.extend(some.iter().map(String::as_str));
            place.ask(&words);
        }
    }
    wait_for_bans(&place, count);
    let by_hand = count as f64 / began.elapsed().as_secs_f64();
    stop(&place, server);
    forget_bans(&place);
    let began = Instant::now();
    let server = start(&place);
    wait_for_bans(&place, count);
    let restart = began.elapsed().as_secs_f64();
    let flush = stop(&place, server);

    let many = crate::place(MANY_JAILS);
    let server = start(&many);
    let stop = stop(&many, server);
    Figures { bans, cpu, by_hand, restart, flush, stop }
}

fn place(jails: usize) -> Place {
    let place = Place::new();
    let dir = place.path().display().to_string();
    let mut text = format!(
        "[DEFAULT]\nenabled = true\nfilter = f\nbackend = polling\nbantime = 1d\nignoreself = false\nmaxretry = 1\n\
         action = touch[dir={dir}/banned]\n"
    );
    for jail in 0..jails {
        let _ = writeln!(text, "[j{jail}]\nlogpath = {dir}/j{jail}.log");
        place.write(&format!("j{jail}.log"), "");
    }
    place.write("jail.conf", &text);
    place.write("filter.d/f.conf", "[Definition]\nfailregex = ^.* failed login from <HOST>$\n");
    place.write(
        "action.d/touch.conf",
        "[Definition]\nactionban = : > \"<dir>/<ip>\"\nactionunban = rm -f \"<dir>/<ip>\"\nactionflush = true\n",
    );
    place.write("banned/.keep", "");
    place
}

/// Forgets what the actions have done.
fn forget_bans(place: &Place) {
    std::fs::remove_dir_all(place.file("banned")).expect("a directory");
    place.write("banned/.keep", "");
}

fn address(number: usize) -> String {
    format!("10.{}.{}.{}", 1 + number / 60_000, number / 240 % 250, 1 + number % 240)
}

fn wait_for_bans(place: &Place, count: usize) {
    let until = Instant::now() + Duration::from_secs(600);
    // Beside the bans there is a file that keeps the directory.
    while std::fs::read_dir(place.file("banned")).expect("a directory").count() <= count {
        assert!(Instant::now() < until, "not all bans came\n{}", place.log());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Stops a server; seconds until its process has ended.
fn stop(place: &Place, mut server: Process) -> f64 {
    let began = Instant::now();
    place.ask(&["stop"]);
    server.0.wait().expect("the server ends");
    began.elapsed().as_secs_f64()
}

/// Seconds of CPU that the process itself has used.
fn cpu_of(server: &Process) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.0.id())).expect("a process");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime");
    ticks / 100.0
}

//! What a server costs that has little to do, and what a question to it costs, beside fail2ban where that is installed.
//!
//! `cargo bench --bench server_costs` (`PYTHONPATH` names another release of fail2ban)
//!
//! | figure | what it is |
//! |---|---|
//! | ping | the client's process from its start to its end, each client with a server of its own kind; the median |
//! | ready | from the start of a server with fifty jails until it answers |
//! | idle | the resident memory of that server |
//! | bans | the resident memory of a server with 10 000 bans in force, loaded from its database |

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "../tests/support/upstream.rs"]
mod upstream;

use std::fmt::Write as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Place, Process, binary};

const JAILS: usize = 50;
const PINGS: usize = 60;
const IN_A_ROW: usize = 10;
const BANS: usize = 10_000;
const ORIGINAL: &str = "/usr/bin/fail2ban-client";

fn main() {
    let place = place();
    let (server, ready) = ready(&place, &mut place.server());
    let idle = memory(&server);
    let other = crate::place();
    let theirs = upstream::version().map(|version| {
        let (server, ready) = crate::ready(&other, &mut upstream::server(&other));
        (version, ready, memory(&server), server)
    });
    let pings = pings(&place, theirs.as_ref().map(|_| &other));
    match &theirs {
        Some((version, ..)) => println!("a server with {JAILS} jails; f2b, fail2ban {version}, ratio"),
        None => println!("a server with {JAILS} jails; fail2ban is not installed"),
    }
    let row = |name: &str, unit: &str, ours: f64, theirs: Option<f64>| {
        let mut line = format!("  {name:<28} {ours:>10.2} {unit}");
        if let Some(theirs) = theirs {
            let _ = write!(line, " {theirs:>10.2} {unit} {:>8.1} x", theirs / ours);
        }
        println!("{line}");
    };
    row("ping, process and all", "ms", pings.0, pings.1);
    row("ready", "ms", ready, theirs.as_ref().map(|theirs| theirs.1));
    row("resident, idle", "KiB", idle, theirs.as_ref().map(|theirs| theirs.2));
    drop((server, theirs));
    row(&format!("resident, {BANS} bans"), "KiB", with_bans(), None);
}

fn place() -> Place {
    let place = Place::new();
    let dir = place.path().display().to_string();
    let mut text = format!(
        "[DEFAULT]\nenabled = true\nfilter = f\nbackend = polling\nbantime = 1d\nlogpath = {dir}/f.log\naction = none\n"
    );
    for jail in 0..JAILS {
        let _ = writeln!(text, "[j{jail}]");
    }
    place.write("jail.conf", &text);
    place.write("filter.d/f.conf", "[Definition]\nfailregex = ^.* failed login from <HOST>$\n");
    place.write("action.d/none.conf", "[Definition]\nactionban = true\nactionflush = true\n");
    place.write("f.log", "");
    place
}

/// Starts a server; milliseconds until it has its jails.
fn ready(place: &Place, command: &mut Command) -> (Process, f64) {
    command.stdout(std::fs::File::create(place.file("server.out")).expect("a file"));
    let began = Instant::now();
    let server = Process(command.spawn().expect("the server starts"));
    while !std::fs::read_to_string(place.file("server.out")).is_ok_and(|text| text.contains("Server ready"))
        || UnixStream::connect(place.file("f2b.sock")).is_err()
    {
        assert!(began.elapsed() < Duration::from_secs(60), "no server\n{}", place.log());
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = began.elapsed().as_secs_f64() * 1e3;
    std::thread::sleep(Duration::from_secs(1));
    (server, took)
}

/// The medians of both clients in milliseconds, who take turns of ten, so that neither pays each time for what the other has
/// left in the processor's caches.
fn pings(ours: &Place, theirs: Option<&Place>) -> (f64, Option<f64>) {
    let ping = |place: &Place, client: &std::path::Path| {
        let mut command = place.client(client, &["ping"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let status = command.status().expect("the client runs");
        let took = began.elapsed().as_secs_f64() * 1e3;
        assert!(status.success());
        took
    };
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..PINGS / IN_A_ROW {
        first.extend((0..IN_A_ROW).map(|_| ping(ours, &binary("f2b-client"))));
        second.extend(
            theirs.into_iter().flat_map(|place| (0..IN_A_ROW).map(|_| ping(place, ORIGINAL.as_ref()))),
        );
    }
    (median(first), theirs.map(|_| median(second)))
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// What a server with many bans has, after it has found them in its database.
fn with_bans() -> f64 {
    let place = place();
    let server = place.start();
    let ips: Vec<String> = (0..BANS).map(|n| format!("10.1.{}.{}", n / 250, n % 250)).collect();
    for some in ips.chunks(500) {
        let mut words = vec!["set", "j0", "banip"];
        words.extend(some.iter().map(String::as_str));
        place.ask(&words);
    }
    wait(&place);
    place.ask(&["stop"]);
    drop(server);
    let server = place.start();
    wait(&place);
    memory(&server)
}

/// Until all bans are in force and carried out.
fn wait(place: &Place) {
    let until = Instant::now() + Duration::from_secs(300);
    while !place.ask(&["status", "j0", "short"]).contains(&format!("Currently banned:\t{BANS}")) {
        assert!(Instant::now() < until, "not all bans came");
        std::thread::sleep(Duration::from_millis(100));
    }
    // A question about the actions waits for what they have to do.
    place.ask(&["get", "j0", "actions"]);
}

/// Resident memory in KiB.
fn memory(server: &Process) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.0.id())).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

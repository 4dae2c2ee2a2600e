//! What it costs to follow logs, and how soon a line is found, beside fail2ban where that is installed.
//!
//! `cargo bench --bench log_watch` (`PYTHONPATH` names another release of fail2ban, and pyinotify where it is not installed)
//!
//! | figure | what it is |
//! |---|---|
//! | found | from right before a line is written until the log of the server says "Found" |
//! | idle | the CPU time of a server in ten seconds in which nothing is written to any of its logs |

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "../tests/support/upstream.rs"]
mod upstream;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use support::{Place, Process};

const LINES: usize = 200;
const IDLE: Duration = Duration::from_secs(10);

fn main() {
    let version = upstream::version();
    let has_pyinotify =
        upstream::python("import pyinotify").output().is_ok_and(|output| output.status.success());
    println!("f2b, and fail2ban {}", version.unwrap_or("(not installed)"));
    println!(
        "{:<10} {:<9} {:>6} {:>34} {:>20}",
        "server", "backend", "logs", "found: median, 90%, worst", "idle for 10 s"
    );
    for logs in [1, 200, 2000] {
        for backend in ["pyinotify", "polling"] {
            measure("f2b", backend, logs, Place::server);
            if version.is_some() && (backend == "polling" || has_pyinotify) {
                measure("fail2ban", backend, logs, upstream::server);
            }
        }
    }
}

fn measure(name: &str, backend: &str, logs: usize, command: impl Fn(&Place) -> Command) {
    let place = Place::new();
    place.write(
        "jail.conf",
        &format!(
            "[j]\nenabled = true\nfilter = f\nbackend = {backend}\nmaxretry = 1000000\nusedns = no\naction = none\n\
             datepattern = ^EPOCH\nlogpath = {}/logs/*.log\n",
            place.path().display()
        ),
    );
    place.write("filter.d/f.conf", "[Definition]\nfailregex = failed login from <HOST>$\n");
    place.write("action.d/none.conf", "[Definition]\nactionban = true\n");
    for log in 0..logs {
        place.write(&format!("logs/{log}.log"), "");
    }
    let output = File::create(place.file("server.out")).expect("a file");
    let server = Process(command(&place).stdout(output).spawn().expect("the server starts"));
    let began = Instant::now();
    while !place.read("server.out").contains("Server ready") {
        assert!(began.elapsed() < Duration::from_secs(120), "no server\n{}", place.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_secs(3));
    let before = cpu_of(&server);
    std::thread::sleep(IDLE);
    let idle = cpu_of(&server) - before;
    // fail2ban looks every second.
    let lines = if name == "f2b" { LINES } else { 20 };
    let mut samples: Vec<f64> = (0..lines).map(|line| found_after(&place, line, logs)).collect();
    samples.sort_by(f64::total_cmp);
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize];
    println!(
        "{name:<10} {backend:<9} {logs:>6} {:>8.2} ms {:>8.2} ms {:>8.2} ms {idle:>17.2} ms",
        at(0.5),
        at(0.9),
        at(1.0),
    );
}

/// Milliseconds from a line until it is found.
fn found_after(place: &Place, line: usize, logs: usize) -> f64 {
    let ip = format!("198.51.100.{}", line % 250);
    let mut log = File::open(place.file("f2b.log")).expect("the log");
    log.seek(SeekFrom::End(0)).expect("its end");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs();
    // Not in step with whoever looks at intervals.
    std::thread::sleep(Duration::from_millis(20 + (line as u64 * 37) % 200));
    let (start, mut said) = (Instant::now(), String::new());
    place.append(&format!("logs/{}.log", line * 7 % logs), &format!("{now} failed login from {ip}\n"));
    while !said.contains(&format!("[j] Found {ip}")) {
        assert!(start.elapsed() < Duration::from_secs(20), "{ip} is not found\n{}", place.log());
        std::thread::sleep(Duration::from_micros(50));
        log.read_to_string(&mut said).expect("text");
    }
    start.elapsed().as_secs_f64() * 1e3
}

/// CPU time of all threads so far, in milliseconds.
fn cpu_of(server: &Process) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.0.id())).expect("a process");
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e6
}

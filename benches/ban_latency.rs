//! How long it takes from the line that decides to the action that has run.
//!
//! `cargo bench --bench ban_latency`
//!
//! A server follows a log with two jails' worth of files around it. Each round writes the line that is the last one a
//! client can afford and waits for the file that `actionban` creates. Both ends are measured in this process: from
//! right before the write until the file is there, so the figure contains the shell that runs the action.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::Write;
use std::time::{Duration, Instant};

use support::Place;

const ROUNDS: usize = 100;

fn main() {
    let place = Place::new();
    place.write(
        "jail.conf",
        &format!(
            "[latency]\nenabled = true\nfilter = latency\nlogpath = {0}/latency.log\nmaxretry = 3\nignoreself = false\n\
             action = touch[dir={0}/banned]\n",
            place.path().display()
        ),
    );
    place.write("filter.d/latency.conf", "[Definition]\nfailregex = ^.* failed login from <HOST>$\n");
    place.write("action.d/touch.conf", "[Definition]\nactionban = : > \"<dir>/<ip>\"\n");
    place.write("banned/.keep", "");
    place.write("latency.log", "");
    let _server = place.start();
    std::thread::sleep(Duration::from_millis(200));

    let mut log = std::fs::File::options().append(true).open(place.file("latency.log")).expect("the log");
    let mut samples: Vec<Duration> = (0..ROUNDS).map(|round| ban(&place, &mut log, round)).collect();
    samples.sort();
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("from the deciding line to the action having run, {ROUNDS} bans:");
    println!("  median {:.2} ms   90% {:.2} ms   worst {:.2} ms", at(0.5), at(0.9), at(1.0));
}

/// Writes three failures of one client and times the third.
fn ban(place: &Place, log: &mut std::fs::File, round: usize) -> Duration {
    let ip = format!("198.51.{}.{}", 100 + round / 250, 1 + round % 250);
    let marker = place.file("banned").join(&ip);
    let mut fail = || {
        let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
        writeln!(log, "{now} failed login from {ip}").expect("a write");
    };
    fail();
    fail();
    std::thread::sleep(Duration::from_millis(20));
    let start = Instant::now();
    fail();
    while !marker.exists() {
        assert!(start.elapsed() < Duration::from_secs(10), "no ban of {ip}\n{}", place.log());
        std::thread::sleep(Duration::from_micros(50));
    }
    start.elapsed()
}

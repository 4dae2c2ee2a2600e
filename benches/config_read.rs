//! How long it takes to read the whole stock configuration with all jails on, against the original.
//!
//! `cargo bench --bench config_read`
//!
//! Both clients print the commands for a copy of the installed configuration (`-d`), each as a process of its own, in
//! turn, so that whatever else the machine does meets both. The time is that from the start of the process to its end, of
//! the second of two in a row.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{binary, copy, repository};

const ROUNDS: usize = 21;
/// What fail2ban has installed.
const STOCK: &str = "/etc/fail2ban";
const ORIGINAL: &str = "/usr/bin/fail2ban-client";

fn main() {
    let stock = Path::new(STOCK);
    let is_installed = Path::new(ORIGINAL).is_file() && stock.join("jail.conf").is_file();
    let root = tempfile::tempdir().expect("a directory");
    if is_installed {
        copy(stock, root.path());
    } else {
        println!("fail2ban is not installed: this is f2b alone, with the configuration of this repository");
        copy_parts(&repository(), root.path());
    }
    fs::write(root.path().join("jail.local"), "[DEFAULT]\nenabled = true\n").expect("a file");

    let ours = binary("f2b-client");
    let clients: Vec<&Path> =
        [ours.as_path()].into_iter().chain(is_installed.then_some(Path::new(ORIGINAL))).collect();
    // What is read once lies in memory from then on, for both.
    let _ = times(&clients, root.path());
    let rounds: Vec<Vec<f64>> = (0..ROUNDS).map(|_| times(&clients, root.path())).collect();

    println!("reading all jails of the stock configuration, {ROUNDS} times:");
    for (client, name) in ["f2b-client -d", "fail2ban-client -d"].iter().enumerate().take(clients.len()) {
        println!("  {name:<20} median {:7.2} ms", median(rounds.iter().map(|round| round[client])));
    }
    if is_installed {
        println!("  median of the ratios {:7.1}", median(rounds.iter().map(|round| round[1] / round[0])));
    }
    match peak_memory(&ours, root.path()) {
        Some(memory) => println!("  f2b-client at its peak has {memory} KiB"),
        None => println!("  /usr/bin/time is not there to tell the memory"),
    }
}

/// How long each client takes, in milliseconds, where it finds in the processor's caches what it has left there itself.
fn times(clients: &[&Path], root: &Path) -> Vec<f64> {
    let time = |client: &&Path| {
        dump(client, root);
        dump(client, root).as_secs_f64() * 1e3
    };
    clients.iter().map(time).collect()
}

/// Lets a client print the commands, and tells how long it took.
fn dump(client: &Path, root: &Path) -> Duration {
    let mut command = Command::new(client);
    command.arg("-c").arg(root).arg("-d").stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().expect("the client runs");
    let took = start.elapsed();
    assert!(status.success(), "{command:?}");
    took
}

fn median(samples: impl Iterator<Item = f64>) -> f64 {
    let mut samples: Vec<f64> = samples.collect();
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// The largest resident set in KiB. A process of ours would start with what this one has, so another program asks.
fn peak_memory(client: &Path, root: &Path) -> Option<u64> {
    let report = root.join("memory");
    let mut command = Command::new("/usr/bin/time");
    command.args(["-f", "%M", "-o"]).arg(&report).arg(client).arg("-c").arg(root).arg("-d");
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    fs::read_to_string(report).ok()?.trim().parse().ok()
}

/// Copies what belongs to a configuration out of a directory with other things in it.
fn copy_parts(from: &Path, to: &Path) {
    for name in ["filter.d", "action.d", "jail.d"] {
        copy(&from.join(name), &to.join(name));
    }
    for name in ["fail2ban.conf", "jail.conf"] {
        fs::copy(from.join(name), to.join(name)).expect("a copy");
    }
}

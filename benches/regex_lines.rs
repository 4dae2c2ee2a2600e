//! Lines a second through the stock filters, f2b-regex and fail2ban-regex in turn.
//!
//! `cargo bench --bench regex_lines`, with `F2B_LINES=1000000` for other than 100,000 lines.
//!
//! The logs are the lines of upstream's installed sample logs and of `examples/npm`, drawn by a fixed seed, those of syslog with
//! another process id every few lines, since what was said in a connection is kept as long as that goes on. Both programs
//! run as whole processes with the same options, and with `--usedns=no`: the time-out of the name server is none of
//! theirs. The memory is that of f2b-regex alone, for so many lines and for four times as many.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use support::{binary, repository};

const LINES: usize = 100_000;
const ROUNDS: usize = 3;
const SEED: u64 = 20_261_125;
/// Lines of one process, which serves one connection.
const SESSION: usize = 8;
const SAMPLES: &str = "/usr/lib/python3/dist-packages/fail2ban/tests/files/logs";
const ORIGINAL: &str = "/usr/bin/fail2ban-regex";
const STOCK: [&str; 5] = ["sshd", "nginx-http-auth", "nginx-botsearch", "postfix", "dovecot"];

fn main() {
    let lines = std::env::var("F2B_LINES").ok().and_then(|lines| lines.parse().ok()).unwrap_or(LINES);
    let root = tempfile::tempdir().expect("a directory");
    let npm = repository().join("examples/npm");
    let stock = STOCK.iter().map(|name| (*name, Path::new(SAMPLES).join(name), PathBuf::from(name)));
    let npm_filter = npm.join("filter.d/npm-general-forceful-browsing.conf");
    let cases = stock.chain([("npm", npm.join("proxy-host-1_access.log"), npm_filter)]);

    println!("{lines} lines of each log, the best of {ROUNDS} rounds, in lines a second:");
    println!("  {:<16} {:>10} {:>14} {:>6}   peak memory", "", "f2b-regex", "fail2ban-regex", "ratio");
    for (name, sample, filter) in cases {
        let Ok(sample) = fs::read(&sample) else {
            println!("  {name:<16} {} is not there", sample.display());
            continue;
        };
        let log = root.path().join("log");
        write_log(&log, &sample, lines);
        let (ours, theirs) = race(&log, &filter);
        let few = peak_memory(&log, &filter, root.path());
        write_log(&log, &sample, 4 * lines);
        let many = peak_memory(&log, &filter, root.path());
        let rate = |seconds: f64| lines as f64 / seconds;
        let theirs = match theirs {
            Some(theirs) => format!("{:>14.0} {:>6.1}", rate(theirs), theirs / ours),
            None => format!("{:>14} {:>6}", "-", "-"),
        };
        println!("  {name:<16} {:>10.0} {theirs}   {few}, {many} for four times the lines", rate(ours));
    }
}

/// The seconds that each program takes at best; `None` for fail2ban's where it is not installed.
fn race(log: &Path, filter: &Path) -> (f64, Option<f64>) {
    let ours = binary("f2b-regex");
    let theirs = Path::new(ORIGINAL);
    (0..ROUNDS).fold((f64::INFINITY, None), |(best, other), _| {
        let best = best.min(seconds(&ours, log, filter));
        let round = theirs.is_file().then(|| seconds(theirs, log, filter));
        (best, round.map(|round| other.map_or(round, |other: f64| other.min(round))))
    })
}

fn seconds(program: &Path, log: &Path, filter: &Path) -> f64 {
    let start = Instant::now();
    let status = with_options(&mut Command::new(program), log, filter).status().expect("the program runs");
    let took = start.elapsed().as_secs_f64();
    assert!(status.success(), "{} fails", program.display());
    took
}

fn with_options<'c>(command: &'c mut Command, log: &Path, filter: &Path) -> &'c mut Command {
    command
        .args(["--usedns=no", "--print-no-missed", "--print-no-ignored"])
        .args([log, filter])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
}

/// The largest resident set of f2b-regex. A process of ours would start with what this one has, so another program asks.
fn peak_memory(log: &Path, filter: &Path, root: &Path) -> String {
    let report = root.join("memory");
    let mut command = Command::new("/usr/bin/time");
    command.args(["-f", "%M", "-o"]).arg(&report).arg(binary("f2b-regex"));
    let ran = with_options(&mut command, log, filter).status().is_ok();
    let memory = fs::read_to_string(report).ok().filter(|_| ran);
    memory.map_or_else(|| "unknown".into(), |memory| format!("{} KiB", memory.trim()))
}

/// A log of lines drawn from a sample, whose comments say what is expected of them.
fn write_log(path: &Path, sample: &[u8], lines: usize) {
    let sample: Vec<&[u8]> = sample
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
        .collect();
    let mut log = BufWriter::new(File::create(path).expect("a file"));
    let mut random = SEED;
    for number in 0..lines {
        // The steps of Knuth's MMIX, of which the upper bits are good.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let line = sample[(random >> 33) as usize % sample.len()];
        let written = match around_process_id(line) {
            Some((before, behind)) => log
                .write_all(before)
                .and_then(|()| write!(log, "{}", number / SESSION))
                .and_then(|()| log.write_all(behind)),
            None => log.write_all(line),
        };
        written.and_then(|()| log.write_all(b"\n")).expect("a line");
    }
    log.flush().expect("the rest");
}

/// What stands around the number in `sshd[123]: `.
fn around_process_id(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = line.windows(3).position(|window| window == b"]: ")?;
    let start = line[..end].iter().rposition(|byte| !byte.is_ascii_digit())? + 1;
    (start < end && line[start - 1] == b'[').then(|| (&line[..start], &line[end..]))
}

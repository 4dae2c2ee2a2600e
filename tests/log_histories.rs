//! The same histories of a log for fail2ban's server and for ours: the same lines are found, in the same order, and the same
//! bans come of them. Only such histories as fail2ban survives: each line is read before something happens to its log, and
//! a log that takes the place of another one is shorter for a moment.

#[path = "support/rotated.rs"]
mod rotated;
mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use rotated::{Deed, RotatedLog};
use support::{Place, Process, available, binary};

/// A line is told by its last two digits only, so that some clients come twice and are banned.
const FILTER: &str = "[Definition]\nfailregex = ^ line a\\d*<F-ID>\\d\\d</F-ID>$\n";

/// fail2ban looks at a log every second, and later where it was away.
const PATIENCE: Duration = Duration::from_secs(20);

/// What becomes of a line is told here.
struct Server {
    place: Place,
    process: Option<Process>,
    is_ours: bool,
    /// Lines that were judged, who failed once since the start, and who has to be banned by now.
    judged: u64,
    failed: HashSet<String>,
    banned: Vec<String>,
}

impl Server {
    fn new(backend: &str, is_ours: bool) -> Self {
        let place = Place::new();
        place.write("filter.d/f1.conf", FILTER);
        place.write("action.d/none.conf", "[Definition]\nactionban = true\nactionunban = true\n");
        place.write(
            "jail.conf",
            &format!(
                "[j]\nenabled = true\nbackend = {backend}\nfilter = f1\naction = none\nusedns = no\nmaxretry = 2\n\
                 findtime = 1h\nbantime = 1h\ndatepattern = ^EPOCH\nlogpath = {}/a/f.log\n",
                place.path().display()
            ),
        );
        Self { place, process: None, is_ours, judged: 9, failed: HashSet::new(), banned: Vec::new() }
    }

    fn start(&mut self) {
        self.process = Some(if self.is_ours {
            let mut command = Command::new(binary("f2b-server"));
            command.arg("-c").arg(self.place.path()).args(["-f", "start"]);
            self.place.spawn(command.stdin(Stdio::null()).stderr(Stdio::null()))
        } else {
            upstream::start(&self.place)
        });
    }

    /// Stops it. Failures are forgotten, bans are not.
    fn stop(&mut self) {
        self.failed.clear();
        self.place.ask(&["stop"]);
        if let Some(mut process) = self.process.take() {
            process.0.wait().expect("a process");
        }
    }

    /// What the log says of the jail in these words, one behind the other.
    fn said(&self, word: &str) -> Vec<String> {
        let word = format!("[j] {word} ");
        let log = self.place.log();
        let said = log.lines().filter_map(|line| line.split_once(&word));
        said.map(|(_, behind)| behind.split(' ').next().unwrap_or_default().to_owned()).collect()
    }

    /// Waits until as many lines have been found as were written with two digits, and whoever came twice is banned.
    fn wait_for(&mut self, log: &RotatedLog) {
        for number in self.judged + 1..=log.lines {
            let id = digits(number);
            if !self.banned.contains(&id) && !self.failed.insert(id.clone()) {
                self.banned.push(id);
            }
        }
        self.judged = log.lines;
        let (expected, until) = (log.lines.saturating_sub(9), Instant::now() + PATIENCE);
        while (self.said("Found").len() as u64) < expected || self.said("Ban").len() < self.banned.len() {
            let found = self.said("Found").len();
            let (is_ours, history) = (self.is_ours, &log.history);
            assert!(
                Instant::now() < until,
                "ours: {is_ours}, {history:?}: {found} of {expected} lines found"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What tells a line.
fn digits(number: u64) -> String {
    format!("{:02}", number % 100)
}

/// What a server makes of a history: whom it found, whom it banned, whom it still bans.
fn outcome(backend: &str, is_ours: bool, seed: u64) -> [Vec<String>; 3] {
    let mut rng = Rng::with_seed(seed);
    let mut server = Server::new(backend, is_ours);
    let mut log = RotatedLog::new(server.place.path(), "a", rng.u64(..));
    log.has_late_writers = false;
    log.append(9);
    server.start();
    let mut deeds: Vec<Deed> = Deed::ALL.into_iter().filter(|deed| *deed != Deed::Rewrite).collect();
    rng.shuffle(&mut deeds);
    for (step, deed) in deeds.into_iter().enumerate() {
        log.append(rng.u64(25..35));
        log.append_in_pieces(rng.u64(3..8));
        server.wait_for(&log);
        log.rotate(deed, &mut |log| server.wait_for(log));
        log.append(3);
        server.wait_for(&log);
        if step == 4 || step == 8 && backend == "polling" {
            if backend == "pyinotify" {
                // There fail2ban forgets at a stop how far it has come in the last ten seconds.
                thread::sleep(Duration::from_millis(10_200));
                log.append(1);
                server.wait_for(&log);
            }
            server.stop();
            log.append(2);
            server.start();
            server.wait_for(&log);
        }
    }
    // Whoever reads something twice has had time to.
    thread::sleep(Duration::from_secs(2));
    let mut banned: Vec<String> =
        server.place.ask(&["get", "j", "banip"]).split_whitespace().map(Into::into).collect();
    banned.sort();
    let outcome = [server.said("Found"), server.said("Ban"), banned];
    server.stop();
    let mut lines = (10..=log.lines).map(digits);
    let is_right = lines.clone().eq(outcome[0].iter().cloned());
    let wrong = outcome[0].iter().position(|found| lines.next().as_ref() != Some(found));
    assert!(is_right, "ours: {is_ours}, F2B_TORTURE_SEED={seed}, {:?}: wrong from {wrong:?} on", log.history);
    assert_eq!(outcome[1], server.banned, "ours: {is_ours}, F2B_TORTURE_SEED={seed}");
    outcome
}

/// Compares the servers that there are.
fn check(backend: &'static str, has_theirs: bool) {
    let seed = std::env::var("F2B_TORTURE_SEED").map_or(7, |text| text.parse().expect("a number"));
    let theirs = has_theirs.then(|| thread::spawn(move || outcome(backend, false, seed)));
    let ours = outcome(backend, true, seed);
    assert!(ours[1].len() > 20, "{ours:?}");
    if let Some(theirs) = theirs {
        let theirs = theirs.join().unwrap_or_else(|failure| std::panic::resume_unwind(failure));
        assert_eq!(ours[1..], theirs[1..], "F2B_TORTURE_SEED={seed}");
    }
}

#[test]
fn polled_logs_give_the_same_bans() {
    check("polling", upstream::version().is_some());
}

#[test]
fn watched_logs_give_the_same_bans() {
    let has_pyinotify =
        || upstream::python("import pyinotify").output().is_ok_and(|output| output.status.success());
    check("pyinotify", upstream::version().is_some() && available("python3-pyinotify", has_pyinotify()));
}

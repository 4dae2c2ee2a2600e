//! Logs that are written at full speed and rotated in every way, while the server is stopped, started, killed and told to
//! look elsewhere. In the end each line has been found: once, where the server was stopped in order; once or more often,
//! where it was killed. A run in which not all of this has happened proves nothing, and fails.
//!
//! What a line is worth depends on what happens to it, and on nothing else:
//!
//! - A log that is *renamed*, or *copied and emptied*, keeps its lines: at any time, also while no server runs, as often as one
//!   likes.
//! - Lines of a log that is *emptied* without that are lost for every reader that has not read them. So they are waited for.
//! - A log that is *removed* or *replaced*, whose *link* or *directory* goes elsewhere, can be read to its end by a server
//!   that has it open, and only by it. So nobody stops the server until the new log is known; but nobody waits for lines.
//! - Who *goes on writing* in a log that has been renamed is heard as well, also when no server runs, or another one than before:
//!   where old logs are all named by numbers, or all by dates.
//!
//! `F2B_TORTURE_SEED` is the seed, `F2B_TORTURE_SECONDS` the time that each test takes.

#[path = "support/rotated.rs"]
mod rotated;
mod support;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write, stderr};
use std::process::{Command, Stdio};
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use rotated::{Deed, Naming, RotatedLog};
use support::{Place, Process, binary};

const LOGS: [&str; 3] = ["a", "b", "c"];

const NAMINGS: [Naming; 3] = [Naming::Dates, Naming::Numbers, Naming::Both];

/// So many lines of a log may be on their way to the server.
const AHEAD: u64 = 3000;

/// How long a line is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is done to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Trouble {
    Reload,
    Pause,
    /// A log is removed and added again.
    ChangeLogs,
    Stop,
    Terminate,
    Kill,
}

impl Trouble {
    fn all(kills: bool) -> Vec<Self> {
        let all = [Self::Reload, Self::Pause, Self::ChangeLogs, Self::Stop, Self::Terminate, Self::Kill];
        all.into_iter().filter(|trouble| kills || *trouble != Self::Kill).collect()
    }
}

/// Takes one of all kinds, in any order, but each before one comes again.
fn draw<T: Copy>(bag: &mut Vec<T>, all: &[T], rng: &mut Rng) -> T {
    if bag.is_empty() {
        bag.extend_from_slice(all);
    }
    bag.swap_remove(rng.usize(..bag.len()))
}

/// The lines that the server has found, and how often.
#[derive(Default)]
struct Found {
    read: u64,
    rest: String,
    times: HashMap<String, u32>,
}

/// What the threads of a test share.
struct Torture {
    place: Place,
    seed: u64,
    found: Mutex<Found>,
    /// Who holds this to read needs a server that goes on running.
    running: RwLock<()>,
    /// Who holds this to read has taken the log away: nobody may look for it.
    looking: RwLock<()>,
    /// What is to be done to any of the logs before something is done again.
    deeds: Mutex<Vec<Deed>>,
    end: Instant,
}

impl Torture {
    fn new(backend: &str, seed: u64, seconds: u64) -> Self {
        let place = Place::new();
        place.write("filter.d/f1.conf", "[Definition]\nfailregex = ^ line <F-ID>[abc]\\d+</F-ID>$\n");
        place.write("action.d/none.conf", "[Definition]\nactionban = true\n");
        fs::create_dir(place.file("logs")).expect("a directory");
        place.write(
            "jail.conf",
            &format!(
                "[torture]\nenabled = true\nbackend = {backend}\nfilter = f1\naction = none\nusedns = no\n\
                 maxretry = 1000\nfindtime = 1d\ndatepattern = ^EPOCH\nlogpath = {}/logs/?/f.log\n",
                place.path().display()
            ),
        );
        Self {
            place,
            seed,
            found: Mutex::default(),
            running: RwLock::default(),
            looking: RwLock::default(),
            deeds: Mutex::default(),
            end: Instant::now() + Duration::from_secs(seconds),
        }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// How often a line has been found.
    fn times(&self, id: &str) -> u32 {
        let mut found = self.found.lock().expect("nobody has failed");
        found.read_log(&self.place);
        found.times.get(id).copied().unwrap_or(0)
    }

    #[track_caller]
    fn wait_for(&self, log: &RotatedLog, number: u64) {
        let (id, until) = (log.id(number), Instant::now() + PATIENCE);
        while self.times(&id) == 0 {
            if Instant::now() >= until {
                let missed = (1..=log.lines).filter(|number| self.times(&log.id(*number)) == 0);
                let missed: Vec<u64> = missed.collect();
                let missed = missed.chunk_by(|one, next| one + 1 == *next);
                let missed: Vec<_> = missed.map(|run| run[0]..=run[run.len() - 1]).collect();
                let deeds = &log.history[log.history.len().saturating_sub(20)..];
                let (seed, said) = (self.seed, self.last_words());
                panic!("seed {seed}: {id} of {} is not found: {missed:?}, {deeds:?}\n{said}", log.lines);
            }
            thread::sleep(Duration::from_millis(3));
        }
    }

    /// What the server has said last, but for what it has found.
    fn last_words(&self) -> String {
        let log = self.place.log();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("] Found ")).collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Writes a log and does to it what may be done, until the time is over.
    fn write(&self, log: &mut RotatedLog, rng: &mut Rng) {
        while !self.is_over() {
            if log.lines > AHEAD {
                self.wait_for(log, log.lines - AHEAD);
            }
            match rng.u8(..10) {
                0 => log.append_noise(),
                1 | 2 => log.append_in_pieces(rng.u64(1..20)),
                3 | 4 => self.rotate(log, rng),
                5 => thread::sleep(Duration::from_millis(rng.u64(..30))),
                _ => log.append(rng.u64(1..500)),
            }
        }
        log.append(1);
    }

    fn rotate(&self, log: &mut RotatedLog, rng: &mut Rng) {
        let deed = draw(&mut self.deeds.lock().expect("nobody has failed"), &Deed::ALL, rng);
        let needs_an_open_file = deed.needs_an_open_file()
            // Its name does not tell whether it comes before the next one, and its time tells the opposite.
            || (deed == Deed::RenameLate && log.naming == Naming::Both);
        let is_needed = deed.destroys_lines() || needs_an_open_file;
        let _running = is_needed.then(|| self.running.read().expect("nobody has failed"));
        if is_needed {
            // The server that runs now has this log open, and if need be has read all of it.
            log.append(1);
            self.wait_for(log, log.lines);
            if !deed.destroys_lines() {
                log.append(rng.u64(1..200));
            }
        }
        let mut looking = Some(self.looking.read().expect("nobody has failed"));
        log.rotate(deed, &mut |log| {
            looking.take_if(|_| !needs_an_open_file);
            self.wait_for(log, log.lines);
        });
        drop(looking);
        log.append_beside();
        // When the second one is found, the database has been told which file the first one is in: nothing else leads there.
        for _ in 0..if is_needed { 2 } else { 0 } {
            log.append(1);
            self.wait_for(log, log.lines);
        }
    }

    /// Stops and starts the server in every way, until the time is over; gives the one that runs then, and what was done.
    fn restart(&self, mut server: Process, kills: bool, rng: &mut Rng) -> (Process, HashSet<Trouble>) {
        let (all, mut bag, mut done) = (Trouble::all(kills), Vec::new(), HashSet::new());
        while !self.is_over() {
            thread::sleep(Duration::from_millis(rng.u64(200..1500)));
            let trouble = draw(&mut bag, &all, rng);
            match trouble {
                Trouble::Reload => {
                    let _looking = self.looking.write().expect("nobody has failed");
                    self.place.ask(&["reload"]);
                }
                Trouble::Pause => {
                    self.place.ask(&["set", "torture", "idle", "on"]);
                    thread::sleep(Duration::from_millis(rng.u64(..300)));
                    self.place.ask(&["set", "torture", "idle", "off"]);
                }
                Trouble::ChangeLogs => {
                    let _running = self.running.write().expect("nobody has failed");
                    let path = self.place.file(&format!("logs/{}/f.log", LOGS[rng.usize(..LOGS.len())]));
                    let path = path.to_str().expect("a name");
                    self.place.ask(&["set", "torture", "dellogpath", path]);
                    thread::sleep(Duration::from_millis(rng.u64(..100)));
                    let _looking = self.looking.write().expect("nobody has failed");
                    self.place.ask(&["set", "torture", "addlogpath", path]);
                }
                Trouble::Stop | Trouble::Terminate | Trouble::Kill => {
                    let _running = self.running.write().expect("nobody has failed");
                    self.end(&mut server, trouble);
                    thread::sleep(Duration::from_millis(rng.u64(..200)));
                    let _looking = self.looking.write().expect("nobody has failed");
                    server = self.start();
                }
            }
            done.insert(trouble);
        }
        (server, done)
    }

    fn end(&self, server: &mut Process, how: Trouble) {
        let pid = Pid::from_raw(i32::try_from(server.0.id()).expect("a process id"));
        match how {
            Trouble::Kill => kill(pid, Signal::SIGKILL).expect("the process is there"),
            Trouble::Terminate => kill(pid, Signal::SIGTERM).expect("the process is there"),
            _ => drop(self.place.ask(&["stop"])),
        }
        assert_eq!(server.0.wait().expect("a process").success(), how != Trouble::Kill);
    }

    fn start(&self) -> Process {
        let mut command = Command::new(binary("f2b-server"));
        command.arg("-c").arg(self.place.path()).args(["-x", "-f", "start"]);
        self.place.spawn(command.stdin(Stdio::null()).stderr(Stdio::null()))
    }
}

impl Found {
    fn read_log(&mut self, place: &Place) {
        let Ok(mut file) = File::open(place.file("f2b.log")) else { return };
        file.seek(SeekFrom::Start(self.read)).expect("a place in the log");
        self.read += file.read_to_string(&mut self.rest).expect("the log is text") as u64;
        let Some(whole) = self.rest.rfind('\n') else { return };
        let behind = self.rest.split_off(whole + 1);
        for line in std::mem::replace(&mut self.rest, behind).lines() {
            if let Some((_, found)) = line.split_once("[torture] Found ") {
                let id = found.split(' ').next().unwrap_or_default();
                *self.times.entry(id.into()).or_default() += 1;
            }
        }
    }
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn torture(backend: &str, kills: bool) {
    let seed = number_from("F2B_TORTURE_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let torture = Torture::new(backend, seed, number_from("F2B_TORTURE_SECONDS").unwrap_or(15));
    let mut rng = Rng::with_seed(seed);
    let below = torture.place.file("logs");
    let mut logs: Vec<RotatedLog> =
        LOGS.iter().map(|name| RotatedLog::new(&below, name, rng.u64(..))).collect();
    logs.iter_mut().zip(NAMINGS).for_each(|(log, naming)| log.naming = naming);
    let server = torture.start();
    let (mut server, done) = thread::scope(|scope| {
        for log in &mut logs {
            let mut rng = rng.fork();
            let torture = &torture;
            scope.spawn(move || torture.write(log, &mut rng));
        }
        torture.restart(server, kills, &mut rng)
    });
    for log in &logs {
        torture.wait_for(log, log.lines);
    }
    torture.end(&mut server, Trouble::Stop);
    let mut wrong = Vec::new();
    for log in &logs {
        assert_eq!(torture.times(&log.id(0)), 0, "a line of another log, seed {seed}");
        let is_wrong = |times| times == 0 || (times > 1 && !kills);
        let times = (1..=log.lines).map(|number| (number, torture.times(&log.id(number))));
        let lines: Vec<(u64, u32)> = times.filter(|(_, times)| is_wrong(*times)).collect();
        for run in lines.chunk_by(|one, next| (one.0 + 1, one.1) == *next) {
            let (first, last) = (run[0], run[run.len() - 1].0);
            let around = log.history.iter().filter(|(line, _)| line + 1000 > first.0 && *line < last + 1000);
            let around: Vec<_> = around.collect();
            wrong.push(format!("{} to {last}: {} times; {around:?}", log.id(first.0), first.1));
        }
    }
    let lines: u64 = logs.iter().map(|log| log.lines).sum();
    let deeds = logs.iter().flat_map(|log| &log.history);
    let kinds: HashSet<Deed> = deeds.clone().map(|(_, deed)| *deed).collect();
    let what = format!(
        "{backend}, kills: {kills}, F2B_TORTURE_SEED={seed}: {lines} lines, {} rotations of {} kinds",
        deeds.count(),
        kinds.len(),
    );
    let _ = writeln!(stderr(), "{what}");
    assert!(wrong.is_empty(), "{what}\n{}", wrong.join("\n"));
    let not_done: Vec<Deed> = Deed::ALL.into_iter().filter(|deed| !kinds.contains(deed)).collect();
    assert!(not_done.is_empty(), "{what}; not done: {not_done:?}");
    let not_done: Vec<Trouble> = Trouble::all(kills).into_iter().filter(|one| !done.contains(one)).collect();
    assert!(not_done.is_empty(), "{what}; not done: {not_done:?}");
}

#[test]
fn stopped_in_order_inotify_finds_each_line_once() {
    torture("pyinotify", false);
}

#[test]
fn stopped_in_order_polling_finds_each_line_once() {
    torture("polling", false);
}

#[test]
fn killed_at_any_time_inotify_skips_no_line() {
    torture("pyinotify", true);
}

#[test]
fn killed_at_any_time_polling_skips_no_line() {
    torture("polling", true);
}

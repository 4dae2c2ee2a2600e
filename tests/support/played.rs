//! The same play with upstream's server and with ours: what was run, answered and logged in each scene.
#![allow(dead_code, unreachable_pub, reason = "each test includes this file and uses its own part of it")]

use std::thread;
use std::time::{Duration, Instant};

use crate::recorder::Recorder;
use crate::support::{Place, Process, binary};
use crate::upstream;

/// The loggers of upstream that speak about actions.
const LOGGERS: [&str; 4] =
    ["fail2ban.actions ", "fail2ban.action ", "fail2ban.CommandAction ", "fail2ban.utils "];

/// One of the two servers on stage.
pub struct Actor {
    pub place: Place,
    pub recorder: Recorder,
    ours: bool,
    server: Option<Process>,
    /// How much of the log belongs to earlier scenes.
    logged: usize,
    scenes: Vec<Scene>,
}

/// What happened since the scene before.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    pub name: String,
    pub answers: Vec<String>,
    pub calls: Vec<Vec<String>>,
    /// The bans. We decide on all bans of a command before the first one is carried out.
    pub bans: Vec<String>,
    /// All that the log says about actions besides.
    pub log: Vec<String>,
}

impl Actor {
    fn new(ours: bool, set: &dyn Fn(&Place)) -> Self {
        let place = Place::new();
        let conf = place.read("fail2ban.conf").replace("loglevel = INFO", "loglevel = TRACEDEBUG");
        // What the system says, and what it is asked, differs from release to release.
        place.write("fail2ban.conf", &format!("{conf}allowipv6 = yes\n"));
        set(&place);
        let recorder = Recorder::new(place.path());
        Self { place, recorder, ours, server: None, logged: 0, scenes: Vec::new() }
    }

    /// Starts the server, and waits until a program was called as often as it is going to be.
    #[track_caller]
    pub fn start(&mut self, times: usize, last_call: &str) {
        let mut server = if self.ours { self.place.server() } else { upstream::server(&self.place) };
        self.server = Some(self.place.spawn(server.env("PATH", self.recorder.path()).env("TZ", "UTC")));
        self.wait_for_calls(times, last_call);
        self.end_scene("start", Vec::new());
    }

    /// Waits until there were so many calls that contain a text, and then until the log has nothing to add.
    #[track_caller]
    pub fn wait_for_calls(&self, times: usize, text: &str) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.recorder.count(text) < times {
            assert!(Instant::now() < until, "no call of {text}\n{}", self.place.log());
            thread::sleep(Duration::from_millis(20));
        }
        let mut logged = 0;
        while logged != self.place.log().len() {
            logged = self.place.log().len();
            thread::sleep(Duration::from_millis(300));
        }
    }

    /// Sends commands one after the other, each of which is answered when its actions are done.
    pub fn scene(&mut self, name: &str, commands: &[&str]) {
        let mut answers = Vec::new();
        for command in commands {
            let words: Vec<&str> = command.split(' ').collect();
            let output = self.place.client(binary("f2b-client"), &words).output().expect("the client starts");
            answers.push(format!("{:?} {}", output.status.code(), String::from_utf8_lossy(&output.stdout)));
        }
        self.end_scene(name, answers);
    }

    /// Lets the bans, and the last look at the environment, get older than the seconds in which nobody wonders about
    /// somebody who is banned and seen again. Without this it depends on the machine who wonders.
    pub fn pause(&self) {
        thread::sleep(Duration::from_millis(3200));
    }

    /// Stops the server and waits for its end.
    #[track_caller]
    pub fn stop(&mut self) {
        self.place.ask(&["stop"]);
        if let Some(mut server) = self.server.take() {
            server.0.wait().expect("the server ends");
        }
        self.end_scene("stop", Vec::new());
    }

    /// Closes a scene that the test itself has played.
    pub fn end_scene(&mut self, name: &str, answers: Vec<String>) {
        let text = self.place.log();
        let log = entries(&text[self.logged..], &self.place.path().display().to_string());
        self.logged = text.len();
        let root = self.place.path().display().to_string();
        let clean = |text: &String| without_times(&text.replace(&root, "ROOT"));
        let calls = self.recorder.take().iter().map(|calls| calls.iter().map(clean).collect()).collect();
        let decided = |entry: &String| entry.contains("] Ban ") || entry.contains("] Restore Ban ");
        let (bans, log) = log.into_iter().partition(decided);
        self.scenes.push(Scene { name: name.into(), answers, calls, bans, log });
    }
}

/// Plays a piece with both servers at a time and compares them, scene by scene.
#[track_caller]
pub fn compare(set: impl Fn(&Place) + Sync, play: impl Fn(&mut Actor) + Sync) {
    let perform = |ours: bool| {
        let mut actor = Actor::new(ours, &set);
        play(&mut actor);
        actor.scenes
    };
    let (theirs, ours) = thread::scope(|scope| {
        let theirs = scope.spawn(|| perform(false));
        let ours = perform(true);
        (theirs.join().expect("upstream's server plays"), ours)
    });
    for (theirs, ours) in std::iter::zip(&theirs, &ours) {
        assert_eq!(theirs.name, ours.name);
        same(&ours.name, "calls", &theirs.calls, &ours.calls);
        same(&ours.name, "answers", &theirs.answers, &ours.answers);
        same(&ours.name, "bans", &theirs.bans, &ours.bans);
        same(&ours.name, "log", &theirs.log, &ours.log);
    }
    assert_eq!(theirs.len(), ours.len());
}

#[track_caller]
fn same<T: std::fmt::Debug + PartialEq>(scene: &str, what: &str, theirs: &[T], ours: &[T]) {
    let same = std::iter::zip(theirs, ours).take_while(|(theirs, ours)| theirs == ours).count();
    let rest = |list: &[T]| {
        let before = same.saturating_sub(3);
        list[before.min(list.len())..].iter().take(12).map(|line| format!("\n  {line:?}")).collect::<String>()
    };
    assert!(
        theirs == ours,
        "{what} of the scene {scene:?} differ from number {same} on ({} theirs, {} ours)\ntheirs:{}\nours:{}",
        theirs.len(),
        ours.len(),
        rest(theirs),
        rest(ours)
    );
}

/// One jail, called `all`, with these actions.
pub fn configure(place: &Place, actions: &str) {
    place.write("log", "");
    place.write(
        "filter.d/any.conf",
        "[Definition]\nfailregex = ^ login of <F-USER>.*</F-USER> from <HOST>$\n",
    );
    let root = place.path().display();
    place.write(
        "jail.conf",
        &format!(
            "[all]\nenabled = true\nfilter = any\nbackend = polling\nlogpath = {root}/log\nignoreself = false\n\
             usedns = no\nmaxretry = 3\nbantime = 1h\naction ={actions}"
        ),
    );
}

/// What the log says about actions, without what differs from run to run.
fn entries(text: &str, root: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    let mut wanted = false;
    for line in text.lines() {
        if let Some(rest) = after_time(line) {
            wanted = LOGGERS.iter().any(|logger| rest.starts_with(logger));
            if wanted && let Some((_, rest)) = rest.split_once("]: ") {
                entries.push(rest.to_owned());
            }
        } else if wanted && let Some(entry) = entries.last_mut() {
            *entry += "\n";
            *entry += line;
        }
    }
    let entries = entries.iter().map(|entry| clean(&entry.replace(root, "ROOT")));
    entries
        .filter(|entry| !entry.contains("Actions: enter idle") && !entry.contains("Actions: leave idle"))
        .collect()
}

/// What follows the time of a line that begins an entry.
fn after_time(line: &str) -> Option<&str> {
    let (time, rest) = line.split_at_checked(24)?;
    let digits = time.starts_with(|c: char| c.is_ascii_digit()) && time.as_bytes()[19] == b',';
    digits.then_some(rest)
}

fn clean(entry: &str) -> String {
    // What a traceback of Python says is of no use to anybody else.
    let entry = entry.split("\nTraceback (most recent call last)").next().unwrap_or_default();
    let mut entry = entry.to_owned();
    // The number that ties the lines of one command together.
    if let Some((head, rest)) = entry.split_once(" -- ")
        && let Some((level, id)) = head.rsplit_once(' ')
        && !id.is_empty()
        && id.chars().all(|c| c.is_ascii_hexdigit())
    {
        entry = format!("{level} ID -- {rest}");
    }
    entry = without_times(&entry);
    // The addresses of functions.
    if let (Some(start), Some(end)) = (entry.find(" info 'ActionInfo("), entry.rfind(")': ")) {
        entry = format!("{} info ...{}", &entry[..start], &entry[end + 2..]);
    }
    // Its level says how long ago the ban was, and one of the servers is slower.
    if entry.ends_with(" already banned")
        && let Some((_, text)) = entry.split_once(' ')
    {
        entry = format!("LEVEL {}", text.trim_start());
    }
    // Before release 1.1.
    entry.replace("] Repeal Ban ", "] Unban ").replace(" individualy", " individually")
}

/// Seconds since 1970, with their fractions, as `TIME`.
fn without_times(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (head, tail) = rest.split_at(start);
        out += head;
        let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, mut behind) = tail.split_at(digits);
        if digits == 10 && number != "1700000000" {
            out += "TIME";
            if let Some(fraction) = behind.strip_prefix('.') {
                behind = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            }
        } else {
            out += number;
        }
        rest = behind;
    }
    out + rest
}

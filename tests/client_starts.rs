//! What a client says that starts, reloads and stops a server whose configuration or surroundings are wrong: as upstream's, with
//! the place in the files besides.

mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::fs;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::{Place, binary};

/// Files with their new texts; one without a text goes. `DIR` stands for the directory.
type Spoilt = [(&'static str, Option<&'static str>)];

/// What a sound configuration is spoilt by.
const CASES: &[(&str, &Spoilt)] = &[
    ("nothing", &[]),
    ("no jail", &[("jail.conf", Some("[DEFAULT]\nx = 1\n"))]),
    ("no jail.conf", &[("jail.conf", None)]),
    ("no filter", &[("filter.d/f.conf", None)]),
    ("no action", &[("action.d/n.conf", None)]),
    ("no log", &[("j.log", None)]),
    ("no log, which is no matter", &[("j.log", None), ("jail.local", Some("[j]\nskip_if_nologs = true\n"))]),
    ("no section", &[("jail.local", Some("[j\n"))]),
    ("a section twice", &[("jail.local", Some("[j]\nenabled = true\n[j]\nenabled = true\n"))]),
    ("an unknown level", &[("fail2ban.local", Some("[Definition]\nloglevel = BOGUS\n"))]),
    (
        "no directory of the log",
        &[("fail2ban.local", Some("[Definition]\nlogtarget = /nonexistent/x/y.log\n"))],
    ),
    (
        "no directory of the socket",
        &[("fail2ban.local", Some("[Definition]\nsocket = /nonexistent/x/y.sock\n"))],
    ),
    (
        "no directory of the pid file",
        &[("fail2ban.local", Some("[Definition]\npidfile = /nonexistent/x/y.pid\n"))],
    ),
    ("no number", &[("jail.local", Some("[j]\nmaxretry = abc\n"))]),
    ("no option", &[("jail.local", Some("[j]\nlogpath = %(nope)s\n"))]),
    ("no stack size", &[("fail2ban.local", Some("[Thread]\nstacksize = abc\n"))]),
    ("neither on nor off", &[("fail2ban.local", Some("[Definition]\nallowipv6 = maybe\n"))]),
    ("no expression", &[("filter.d/f.conf", Some("[Definition]\nfailregex =\n"))]),
    ("a socket in the way", &[("f2b.sock", Some(""))]),
    ("a stale pid file", &[("f2b.pid", Some("999999\n"))]),
];

/// What 1.0 told in other words, or did not find fault with.
const OTHERWISE_IN_1_0: &[&str] = &["no jail.conf", "no log", "no log, which is no matter"];

fn place(spoilt: &Spoilt) -> Place {
    let place = Place::new();
    let dir = place.path().display().to_string();
    let jail = "[j]\nenabled = true\nbackend = polling\nfilter = f\naction = n\nlogpath = DIR/j.log\n";
    place.append("fail2ban.conf", "allowipv6 = auto\n");
    place.write("jail.conf", &jail.replace("DIR", &dir));
    place.write("filter.d/f.conf", "[Definition]\nfailregex = ^x <HOST>\n");
    place.write("action.d/n.conf", "[Definition]\nactionban =\n");
    place.write("j.log", "");
    for (name, text) in spoilt {
        match text {
            Some(text) => place.write(name, &text.replace("DIR", &dir)),
            None => fs::remove_file(place.file(name)).expect("the file"),
        }
    }
    place
}

/// A server in the background ends with the test.
struct Background<'a>(&'a Place);

impl Drop for Background<'_> {
    fn drop(&mut self) {
        if let Ok(pid) = self.0.read("f2b.pid").trim().parse::<i32>() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// What is told, and with which code: standard output, and the lines of standard error.
type Told = (String, Vec<String>, Option<i32>);

fn tell(place: &Place, output: &Output) -> Told {
    let dir = place.path().display().to_string();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&dir, "DIR");
    let line = |line: &str| line.split_once("]: ").map_or(line, |(_, message)| message).trim_end().to_owned();
    (text(&output.stdout), text(&output.stderr).lines().map(line).collect(), output.status.code())
}

/// A start, a reload and a stop.
fn life(place: &Place, what: &str, client: impl Fn() -> Command) -> Vec<Told> {
    // There is nothing to wait for.
    let patience = if what == "no directory of the socket" { "3" } else { "60" };
    let _server = Background(place);
    ["start", "reload", "stop"]
        .iter()
        .map(|word| {
            let mut client = client();
            client.arg("-c").arg(place.path()).args(["--timeout", patience, word]).stdin(Stdio::null());
            tell(place, &client.output().expect("the client starts"))
        })
        .collect()
}

/// Upstream's client does not find its server where it was started from the text of a script.
fn is_of_the_test(line: &str) -> bool {
    line.contains("Initial start attempt failed")
}

#[test]
fn starts_are_refused_as_upstream_refuses_them() {
    let Some(version) = upstream::version() else { return };
    let is_otherwise = |what: &str| version.starts_with("1.0") && OTHERWISE_IN_1_0.contains(&what);
    let cases: Vec<_> = CASES.iter().filter(|(what, _)| !is_otherwise(what)).collect();
    // Most of the time Python starts, and somebody waits.
    std::thread::scope(|scope| {
        for some in cases.chunks(cases.len().div_ceil(4)) {
            scope.spawn(move || some.iter().for_each(|(what, spoilt)| compare(what, spoilt)));
        }
    });
}

#[track_caller]
fn compare(what: &str, spoilt: &Spoilt) {
    let ours = place(spoilt);
    let ours = life(&ours, what, || Command::new(binary("f2b-client")));
    let theirs = place(spoilt);
    let theirs = life(&theirs, what, || upstream::python(upstream::CLIENT));
    for ((out, err, code), (their_out, their_err, their_code)) in ours.iter().zip(&theirs) {
        let told = format!("{what}:\nours {ours:#?}\nupstream's {theirs:#?}");
        assert_eq!((out, code), (their_out, their_code), "{told}");
        // Besides, ours says where in a file the cause stands, and what follows from it.
        let missing: Vec<&String> =
            their_err.iter().filter(|line| !err.contains(line) && !is_of_the_test(line)).collect();
        assert!(missing.is_empty(), "{missing:?} is missing: {told}");
    }
}

/// What a client with `-vv` says at its end, and a server where there is one already.
#[test]
fn the_last_words_are_upstreams() {
    let place = place(&[]);
    let _server = place.start();
    let told = |mut program: Command, words: &str| {
        program.arg("-c").arg(place.path()).args(words.split(' ')).stdin(Stdio::null());
        let (out, err, code) = tell(&place, &program.output().expect("the program starts"));
        let is_last = |line: &String| !line.contains(" INFO ") && !line.contains("Reading config");
        // The time and the thread stand before the level.
        let from_level = |line: String| match line.find(" DEBUG ").or_else(|| line.find(" ERROR ")) {
            Some(at) => line[at..].to_owned(),
            None => line,
        };
        (out, err.into_iter().filter(is_last).map(from_level).collect::<Vec<_>>(), code)
    };
    let nok = |words: &str, text: &str, out: &str, exception: &str| {
        let beautify = format!(" DEBUG Beautify (error) {exception} with {words}");
        let err = vec![format!(" ERROR NOK: {text}"), beautify, " DEBUG Exit with code 255".to_owned()];
        (format!("{out}\n"), err, Some(255))
    };
    let twice = ["ERROR   Server already running", "ERROR   Async configuration of server failed"]
        .map(str::to_owned)
        .to_vec();
    let twice = (String::new(), twice, Some(255));
    let ping = ("Server replied: pong\n".to_owned(), vec![" DEBUG Exit with code 0".to_owned()], Some(0));
    let no_jail = "Sorry but the jail 'nojail' does not exist";
    for (is_server, words, expected) in [
        (false, "-vv ping", ping),
        (
            false,
            "-vv status nojail",
            nok("['status', 'nojail']", "('nojail',)", no_jail, "UnknownJailException('nojail')"),
        ),
        (
            false,
            "-vv bla",
            nok("['bla']", "('Invalid command',)", "Invalid command", "Exception('Invalid command')"),
        ),
        (true, "start", twice.clone()),
        (true, "-f start", twice),
    ] {
        let (name, script) = match is_server {
            true => ("f2b-server", upstream::SERVER),
            false => ("f2b-client", upstream::CLIENT),
        };
        assert_eq!(told(Command::new(binary(name)), words), expected, "{words}");
        if upstream::version().is_some() {
            assert_eq!(told(upstream::python(script), words), expected, "upstream's {words}");
        }
    }
}

//! Where the log goes, and what its lines look like there: the targets and their options, changed while the server runs, beside
//! upstream's.

mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Place, Process, available, binary, has_program};

fn place() -> Place {
    let place = Place::new();
    place.write("filter.d/f.conf", "[Definition]\nfailregex = ^fail from <HOST>$\n");
    place.write("action.d/none.conf", "[Definition]\nactionban =\n");
    place.write(
        "jail.conf",
        &format!(
            "[j]\nenabled = true\nbackend = polling\nfilter = f\naction = none\nlogpath = {}/j.log\n",
            place.path().display()
        ),
    );
    place.write("j.log", "");
    place
}

/// What both servers do, one after the other; the second is skipped without upstream.
fn with_both(what: impl Fn(&Place, &mut Command) -> Vec<String>) -> (Vec<String>, Option<Vec<String>>) {
    let ours = place();
    let told = what(&ours, &mut ours.server());
    let theirs = upstream::version().map(|_| {
        let theirs = place();
        what(&theirs, &mut upstream::server(&theirs))
    });
    (told, theirs)
}

#[track_caller]
fn check(what: impl Fn(&Place, &mut Command) -> Vec<String>, expected: &[&str]) {
    let (ours, theirs) = with_both(what);
    assert_eq!(ours, expected);
    if let Some(theirs) = theirs {
        assert_eq!(theirs, expected, "upstream's");
    }
}

/// A line without its time and the number of the process.
fn plain(line: &str, server: &Process) -> String {
    let line = line.replace(&format!("[{}]", server.0.id()), "[PID]");
    match line.get(..24) {
        Some(time) if time.as_bytes()[10] == b' ' && time.as_bytes()[23] == b' ' => {
            format!("TIME {}", &line[24..])
        }
        _ => line,
    }
}

/// Lets the server say something, and finds it.
fn say(place: &Place) {
    place.ask(&["set", "j", "maxretry", "5"]);
}

fn is_said(line: &&str) -> bool {
    line.contains("maxRetry: 5")
}

#[test]
fn options_of_a_file_change_its_lines() {
    check(
        |place, server| {
            let server = place.spawn(server);
            let options = [
                "",
                "[datetime=off]",
                "[padding=off]",
                "[datetime=off, padding=off]",
                "[format=\"%(levelname)s|%(name)s|%(message)s\"]",
                "[format='%(asctime)s %(message)s']",
                "[datetime=on, padding=on, facility=local3]",
            ];
            let mut lines = Vec::new();
            for (number, options) in options.iter().enumerate() {
                let name = format!("{number}.log");
                let target = format!("{}{options}", place.file(&name).display());
                // The answer is the target without its options.
                assert!(place.ask(&["set", "logtarget", &target]).contains(&name));
                say(place);
                let log = place.read(&name);
                lines.push(plain(log.lines().find(is_said).unwrap_or(&log), &server));
            }
            place.ask(&["stop"]);
            lines
        },
        &[
            "TIME fail2ban.filter         [PID]: INFO      maxRetry: 5",
            "fail2ban.filter         [PID]: INFO      maxRetry: 5",
            "TIME fail2ban.filter[PID]: INFO   maxRetry: 5",
            "fail2ban.filter[PID]: INFO   maxRetry: 5",
            "INFO|fail2ban.filter|  maxRetry: 5",
            "TIME   maxRetry: 5",
            "TIME fail2ban.filter         [PID]: INFO      maxRetry: 5",
        ],
    );
}

#[test]
fn the_outputs_of_the_process_have_their_lines() {
    check(
        |place, server| {
            let out = fs::File::create(place.file("both.out")).expect("a file");
            server.stderr(out.try_clone().expect("a file"));
            let mut server = Process(server.stdout(out).spawn().expect("the server starts"));
            support::wait_until("it is ready", || place.read("both.out").contains("Server ready"));
            let mut lines = Vec::new();
            for target in ["STDOUT", "STDERR", "SYSOUT", "stdout", "STDOUT[datetime=off]"] {
                place.ask(&["set", "logtarget", &place.file("f2b.log").display().to_string()]);
                place.ask(&["set", "logtarget", target]);
                let before = place.read("both.out").len();
                say(place);
                let flushed = place.ask(&["flushlogs"]);
                let new = place.read("both.out").split_off(before);
                let line = plain(new.lines().find(is_said).unwrap_or(&new), &server);
                lines.push(format!(
                    "{} {flushed}{line}",
                    place.ask(&["get", "logtarget"]).lines().last().unwrap_or("")
                ));
            }
            place.ask(&["stop"]);
            server.0.wait().expect("an end");
            lines
        },
        &[
            "`- STDOUT logs: flushed\nTIME fail2ban.filter         [PID]: INFO      maxRetry: 5",
            "`- STDERR logs: flushed\nTIME fail2ban.filter         [PID]: INFO      maxRetry: 5",
            "`- SYSOUT logs: rolled over\nfail2ban.filter         [PID]: INFO      maxRetry: 5",
            "`- stdout logs: rolled over\nTIME fail2ban.filter         [PID]: INFO      maxRetry: 5",
            "`- STDOUT logs: flushed\nfail2ban.filter         [PID]: INFO      maxRetry: 5",
        ],
    );
}

/// The packets that have come so far.
fn received(socket: &UnixDatagram) -> Vec<String> {
    let mut packets = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer) {
        packets.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    packets
}

fn listen(place: &Place, name: &str) -> UnixDatagram {
    let socket = UnixDatagram::bind(place.file(name)).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket");
    socket
}

#[test]
fn syslog_gets_packets_with_facility_and_severity() {
    check(
        |place, server| {
            let syslog = listen(place, "syslog");
            let server = place.spawn(server);
            place.ask(&["set", "syslogsocket", &place.file("syslog").display().to_string()]);
            let mut packets = Vec::new();
            for target in ["SYSLOG", "SYSLOG[facility=local3]", "SYSLOG[padding=on, datetime=on]"] {
                place.ask(&["set", "logtarget", &place.file("f2b.log").display().to_string()]);
                place.ask(&["set", "logtarget", target]);
                say(place);
                let _ = place.client(binary("f2b-client"), &["nonsense"]).output();
                let told = received(&syslog);
                for text in ["maxRetry: 5", "Invalid command"] {
                    let packet = told.iter().find(|packet| packet.contains(text)).expect("a packet");
                    let (facility, line) = packet.split_at(packet.find('>').expect("a priority") + 1);
                    packets.push(format!("{facility} {}", plain(line, &server).replace('\0', "NUL")));
                }
            }
            place.ask(&["stop"]);
            packets
        },
        &[
            "<30> fail2ban.filter[PID]: INFO   maxRetry: 5NUL",
            "<27> fail2ban.transmitter[PID]: ERROR Command ['nonsense'] has failed. Received Exception('Invalid command')NUL",
            "<158> fail2ban.filter[PID]: INFO   maxRetry: 5NUL",
            "<155> fail2ban.transmitter[PID]: ERROR Command ['nonsense'] has failed. Received Exception('Invalid command')NUL",
            "<30> TIME fail2ban.filter         [PID]: INFO      maxRetry: 5NUL",
            "<27> TIME fail2ban.transmitter    [PID]: ERROR   Command ['nonsense'] has failed. Received Exception('Invalid command')NUL",
        ],
    );
}

/// The server where a directory of the test takes the place of that of the journal's socket.
fn with_journal(place: &Place, server: &Command) -> Command {
    let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && \
                  mount --bind \"$0/journal\" /run/systemd/journal && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(place.path()).arg(server.get_program());
    command.args(server.get_args()).stdin(Stdio::null()).stderr(Stdio::null());
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

#[test]
fn the_journal_gets_fields() {
    let may_mount = has_program("unshare") && nix::unistd::geteuid().is_root();
    if !available("mount namespaces", may_mount) {
        return;
    }
    check(
        |place, server| {
            fs::create_dir(place.file("journal")).expect("a directory");
            let journal = listen(place, "journal/socket");
            let _server = place.spawn(&mut with_journal(place, server));
            place.ask(&["set", "logtarget", "SYSTEMD-JOURNAL"]);
            say(place);
            let _ = place.client(binary("f2b-client"), &["nonsense"]).output();
            place.ask(&["set", "j", "banip", "192.0.2.1"]);
            let told = received(&journal);
            let fields = ["MESSAGE", "PRIORITY", "LOGGER", "SYSLOG_IDENTIFIER"];
            let entry = |text: &&str| {
                let entry = told.iter().find(|entry| entry.contains(text)).expect("an entry");
                let named = |field: &&str| entry.lines().find(|line| line.starts_with(&format!("{field}=")));
                fields.iter().filter_map(named).collect::<Vec<_>>().join(" ")
            };
            let entries = ["maxRetry: 5", "Invalid command", "Ban 192.0.2.1"].iter().map(entry).collect();
            let target = place.ask(&["get", "logtarget"]);
            assert_eq!(target.lines().last(), Some("`- SYSTEMD-JOURNAL"));
            place.ask(&["stop"]);
            entries
        },
        &[
            "MESSAGE=  maxRetry: 5 PRIORITY=6 LOGGER=fail2ban.filter SYSLOG_IDENTIFIER=fail2ban",
            "MESSAGE=Command ['nonsense'] has failed. Received Exception('Invalid command') PRIORITY=3 \
             LOGGER=fail2ban.transmitter SYSLOG_IDENTIFIER=fail2ban",
            "MESSAGE=[j] Ban 192.0.2.1 PRIORITY=4 LOGGER=fail2ban.actions SYSLOG_IDENTIFIER=fail2ban",
        ],
    );
}

#[test]
fn levels_are_changed_while_the_server_runs() {
    check(
        |place, server| {
            let _server = place.spawn(server);
            let mut told = Vec::new();
            for level in ["DEBUG", "INFO", "ERROR", "heavydebug", "9", "10", "TRACEDEBUG", "CRITICAL"] {
                place.ask(&["set", "loglevel", level]);
                let before = place.log().len();
                say(place);
                let _ = place.client(binary("f2b-client"), &["nonsense"]).output();
                place.ask(&["server-status"]);
                let new = place.log().split_off(before);
                let heard = |text: &'static str| if new.contains(text) { text } else { "-" };
                let heard = [
                    heard("Command: ['nonsense']"),
                    heard("Status: ready"),
                    heard("maxRetry: 5"),
                    heard("ERROR"),
                ];
                let level = place.ask(&["get", "loglevel"]);
                told.push(format!("{} {}", level.lines().last().unwrap_or(""), heard.join(" ")));
            }
            place.ask(&["stop"]);
            told
        },
        &[
            "Current logging level is 'DEBUG' - Status: ready maxRetry: 5 ERROR",
            "Current logging level is 'INFO' - - maxRetry: 5 ERROR",
            "Current logging level is 'ERROR' - - - ERROR",
            "Current logging level is 'HEAVYDEBUG' Command: ['nonsense'] Status: ready maxRetry: 5 ERROR",
            "Current logging level is '9' - Status: ready maxRetry: 5 ERROR",
            "Current logging level is '10' - Status: ready maxRetry: 5 ERROR",
            "Current logging level is 'TRACEDEBUG' - Status: ready maxRetry: 5 ERROR",
            "Current logging level is 'CRITICAL' - - - -",
        ],
    );
}

#[test]
fn a_target_that_cannot_be_used_leaves_the_old_one() {
    check(
        |place, server| {
            let _server = place.spawn(server);
            let mut told = Vec::new();
            for target in ["/nonexistent/directory/log", "SYSLOG"] {
                place.ask(&["set", "syslogsocket", "/nonexistent/socket"]);
                let output = place
                    .client(binary("f2b-client"), &["set", "logtarget", target])
                    .output()
                    .expect("a client");
                let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                let log = place.log();
                let reason = [
                    "Unable to log to",
                    "Syslog socket file: /nonexistent/socket does not exists or is not a socket",
                ];
                let reason = reason.iter().rfind(|reason| log.contains(**reason)).unwrap_or(&"no reason");
                let kept = place.ask(&["get", "logtarget"]).contains("f2b.log");
                told.push(format!("{said} {:?} {reason} {kept}", output.status.code()));
            }
            place.ask(&["stop"]);
            told
        },
        &[
            "Failed to change log target Some(255) Unable to log to true",
            "Failed to change log target Some(255) Syslog socket file: /nonexistent/socket does not exists or is not a \
             socket true",
        ],
    );
}

/// Everything that is done to both servers; `ROOT` stands for the directory, `~` for a blank.
const DONE: &str = "\
ping
status
status j
status j odd
set j banip 192.0.2.1
set j banip 192.0.2.1
set j unbanip 192.0.2.1
set j unbanip 192.0.2.99
set j banip 2001:db8::1 192.0.2.0/25 some-user
unban --all
set j addignoreip 192.0.2.7 10.0.0.0/8
set j addignoreip 192.0.2.7
set j delignoreip 192.0.2.7
set j usedns odd
set j usedns no
set j addfailregex ^x~<HOST>
set j addfailregex (
set j delfailregex 1
set j delfailregex 99
set j addignoreregex ^y
set j prefregex ''
set j maxlines 5
set j maxretry 3
set j maxmatches 3
set j findtime 10m
set j bantime 10m
set j logencoding ascii
set j logtimezone UTC+0100
set j datepattern EPOCH
set j datepattern %Y-%m-%d~%H:%M:%S
set j ignorecache key=\"<ip>\"
set j idle on
set j idle off
set j bantime.increment true
set j bantime.maxtime 1d
set j bantime.increment false
set j attempt 192.0.2.50 one two
set j addaction a
set j action a actionban echo
set j action a timeout 10
set j action a other 10
set j delaction a
set j delaction a
set dbmaxmatches 10
set dbpurgeage 1d
flushlogs
add j2 polling
set j2 addlogpath ROOT/j.log tail
start j2
stop j2
nonsense
set j maxretry x
get nojail x
status nojail
set j dellogpath ROOT/j.log
set j addlogpath ROOT/j.log
set j addlogpath /nonexistent/log
reload
reload --restart j
reload nojail
server-status";

/// Beginnings of what upstream says of its version, its own threads and objects, and of each line that it reads.
const ITS_OWN: &[&str] = &[
    "INFO fail2ban.server Starting Fail2ban v",
    "INFO fail2ban.observer Observer st",
    "DEBUG fail2ban.observer ",
    "DEBUG fail2ban.filter Created ",
    "DEBUG fail2ban.filterpoll ",
    "DEBUG fail2ban.filter Setting usedns",
    "DEBUG fail2ban.filter Seek to find time",
    "DEBUG fail2ban.filter Position ",
    "DEBUG fail2ban.filter Processing line with time",
    "DEBUG fail2ban.server Jail j is not a ",
    "DEBUG fail2ban.asyncserver ",
    "DEBUG fail2ban Exit with code",
];

/// Parts of what 1.0 said in other words.
const OTHERWISE_IN_1_0: &[&str] = &["Unban tickets each", "date pattern", "Unsupported extended jail status"];

#[test]
fn the_log_has_upstreams_lines() {
    let tell = |start: fn(&Place) -> Process, place: &Place| {
        let conf = place.read("fail2ban.conf").replace("loglevel = INFO", "loglevel = DEBUG");
        place.write("fail2ban.conf", &(conf + "allowipv6 = auto\n"));
        place.append(
            "jail.conf",
            "usedns = warn\nignoreself = false\nignoreip = 203.0.113.0/24\nbantime = 10m\n",
        );
        let action = "[Definition]\nactionstart = true\nactionban = echo <ip>\nactionunban = true\nactionstop = true\n";
        place.write("action.d/none.conf", action);
        let root = place.path().display().to_string();
        let mut server = start(place);
        for command in DONE.lines() {
            let word = |word: &str| {
                if word == "''" { String::new() } else { word.replace("ROOT", &root).replace('~', " ") }
            };
            let words: Vec<String> = command.split(' ').map(word).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let _ = place.client(binary("f2b-client"), &words).output().expect("the client starts");
        }
        place.ask(&["stop"]);
        server.0.wait().expect("an end");
        let mut lines: Vec<String> = place.log().lines().filter_map(|line| logged(line, &root)).collect();
        lines.sort();
        lines.dedup();
        lines
    };
    let Some(version) = upstream::version() else { return };
    let theirs = tell(upstream::start, &place());
    let ours = tell(Place::start, &place());
    let own = |line: &&String| {
        let otherwise = version.starts_with("1.0") && OTHERWISE_IN_1_0.iter().any(|part| line.contains(part));
        otherwise || ITS_OWN.iter().any(|own| line.starts_with(own))
    };
    let missing: Vec<&String> = theirs.iter().filter(|line| !ours.contains(line) && !own(line)).collect();
    let more: Vec<&String> = ours.iter().filter(|line| !theirs.contains(line) && !own(line)).collect();
    assert!(missing.is_empty() && more.is_empty(), "missing {missing:#?}\nmore {more:#?}");
}

/// Level, logger and text, without what differs from run to run; nothing for lines of a stack trace.
fn logged(line: &str, root: &str) -> Option<String> {
    let (head, rest) = line.split_once("]: ")?;
    let logger = head.split_whitespace().nth(2)?;
    let (level, text) = rest.split_at_checked(8)?;
    let text = text.trim().replace(root, "ROOT");
    let text = match text.split_once(" Attempt ") {
        Some((jail, attempt)) => format!("{jail} Attempt {}", attempt.split(' ').next()?),
        None => text,
    };
    // The name of a call is a number.
    let text = match text.split_once(" -- ") {
        Some((call, rest)) if call.chars().all(|c| c.is_ascii_hexdigit()) => format!("CALL -- {rest}"),
        _ => text,
    };
    Some(format!("{} {logger} {text}", level.trim()))
}

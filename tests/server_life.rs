//! The life of a server: what survives its end, a crash, a reload and the change from upstream's server to ours; how
//! it is started, and how it ends.

#[path = "support/bans.rs"]
mod bans;
mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use jiff::Zoned;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getsid};

use bans::check_bans;
use support::{Place, Process, available, binary, both, has_program, wait_until};

const FILTER: &str = "[Definition]\nfailregex = ^ ?fail from <HOST>$\n";
const ACTION: &str = "[Definition]\nactionban = echo + <ip> >> <file>\nactionunban = echo - <ip> >> <file>\n";

/// A directory with the jails of these names.
fn place(jails: &[&str]) -> Place {
    let place = Place::new();
    place.write("filter.d/f1.conf", FILTER);
    place.write("action.d/note.conf", ACTION);
    configure(&place, "", jails);
    place
}

/// Writes `jail.conf` anew, with more options for each of the jails.
fn configure(place: &Place, options: &str, jails: &[&str]) {
    let dir = place.path().display();
    let mut text = format!(
        "[DEFAULT]\nbackend = polling\nusedns = no\nignoreself = false\nmaxretry = 2\nbantime = 1h\nfindtime = 1h\n\
         filter = f1\naction = note[file={dir}/%(__name__)s.bans]\nlogpath = {dir}/%(__name__)s.log\n"
    );
    for jail in jails {
        text += &format!("[{jail}]\nenabled = true\n{options}\n");
        place.append(&format!("{jail}.log"), "");
    }
    place.write("jail.conf", &text);
}

/// Failures of an address, now.
fn fail(place: &Place, jail: &str, ip: &str, times: usize) {
    let now = Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    place.append(&format!("{jail}.log"), &format!("{now} fail from {ip}\n").repeat(times));
}

/// Waits until the log has a text behind what it had at first.
#[track_caller]
fn wait_behind(place: &Place, length: usize, text: &str) {
    let until = Instant::now() + Duration::from_secs(10);
    while !place.log().get(length..).is_some_and(|new| new.contains(text)) {
        assert!(Instant::now() < until, "not in the log: {text}\n{}", place.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a command of our client to its end.
fn client(place: &Place, words: &[&str]) -> Output {
    place.client(binary("f2b-client"), words).output().expect("the client starts")
}

/// Starts our server where one has left its socket behind.
#[track_caller]
fn start_again(place: &Place) -> Process {
    let mut command = Command::new(binary("f2b-server"));
    command.arg("-c").arg(place.path()).args(["-x", "-f", "start"]);
    place.spawn(command.stdin(Stdio::null()).stderr(Stdio::null()))
}

/// Stops a server and waits for its end.
#[track_caller]
fn stop(place: &Place, mut server: Process) {
    place.ask(&["stop"]);
    assert!(server.0.wait().expect("a process").success());
}

#[track_caller]
fn send(signal: Signal, server: &Process) {
    let pid = i32::try_from(server.0.id()).expect("a process id");
    kill(Pid::from_raw(pid), signal).expect("the process is there");
}

/// The bans of a jail with their times, in the order of their ends.
#[track_caller]
fn bans(place: &Place, jail: &str) -> String {
    place.ask(&["get", jail, "banip", "--with-time"])
}

#[test]
fn bans_survive_a_restart_with_their_ends() {
    let place = place(&["j1", "j2"]);
    let server = place.start();
    fail(&place, "j1", "198.51.100.1", 2);
    place.wait_for_log("[j1] Ban 198.51.100.1");
    place.ask(&["set", "j1", "banip", "198.51.100.2", "2001:db8::2"]);
    place.ask(&["set", "j2", "bantime", "-1"]);
    place.ask(&["set", "j2", "banip", "some-user"]);
    place.ask(&["set", "j1", "banip", "198.51.100.3"]);
    place.ask(&["set", "j1", "unbanip", "198.51.100.3"]);
    let (before, length) = (bans(&place, "j1"), place.log().len());
    stop(&place, server);
    assert!(place.log()[length..].contains("[j1] Repeal Ban 198.51.100.1"), "{}", place.log());
    let length = place.log().len();
    let server = place.start();
    wait_behind(&place, length, "[j1] Restore Ban 2001:db8::2");
    wait_behind(&place, length, "[j1] Restore Ban 198.51.100.1");
    check_bans(&bans(&place, "j1"), &before);
    assert!(!place.log()[length..].contains("198.51.100.3"));
    // The failures in the log have been read before.
    assert!(!place.log()[length..].contains("Found"));
    let expected = "+ 198.51.100.1\n+ 198.51.100.2\n+ 2001:db8::2\n+ 198.51.100.3\n- 198.51.100.3\n";
    assert!(place.read("j1.bans").starts_with(expected), "{}", place.read("j1.bans"));
    stop(&place, server);
}

#[test]
fn a_ban_in_the_log_survives_a_kill() {
    // Early, late, and in the middle of it.
    for bans_before in [1, 5, 17, 40, 59] {
        kill_and_start_again(bans_before);
    }
}

#[track_caller]
fn kill_and_start_again(bans_before: usize) {
    let place = place(&["j1"]);
    let mut server = place.start();
    for number in 1..=60 {
        fail(&place, "j1", &format!("198.51.100.{number}"), 2);
    }
    wait_until("some bans", || place.log().matches("] Ban ").count() >= bans_before);
    server.0.kill().expect("the process is there");
    server.0.wait().expect("a process");
    let log = place.log();
    let banned: Vec<&str> = log.lines().filter_map(|line| Some(line.split_once("[j1] Ban ")?.1)).collect();
    let server = start_again(&place);
    for ip in &banned {
        wait_behind(&place, log.len(), &format!("[j1] Restore Ban {ip}\n"));
    }
    // What had not become a ban yet becomes one now: the place in the log is not ahead of the bans.
    wait_until("all are banned", || bans(&place, "j1").lines().count() == 60);
    stop(&place, server);
}

#[test]
fn bans_of_upstreams_server_are_taken_over() {
    if upstream::version().is_none() {
        return;
    }
    let place = place(&["j1"]);
    let server = upstream::start(&place);
    fail(&place, "j1", "198.51.100.1", 2);
    place.wait_for_log("[j1] Ban 198.51.100.1");
    place.ask(&["set", "j1", "banip", "198.51.100.2", "192.0.2.0/24", "some-user"]);
    place.ask(&["set", "j1", "banip", "198.51.100.3"]);
    place.ask(&["unban", "198.51.100.3"]);
    let before = bans(&place, "j1");
    wait_until("the bans are written", || rows(&place) == 4);
    stop(&place, server);
    let length = place.log().len();
    let server = place.start();
    for ip in ["198.51.100.1", "198.51.100.2", "192.0.2.0/24", "some-user"] {
        wait_behind(&place, length, &format!("[j1] Restore Ban {ip}\n"));
    }
    check_bans(&bans(&place, "j1"), &before);
    stop(&place, server);
}

#[test]
fn upstreams_server_takes_over_our_bans() {
    if upstream::version().is_none() {
        return;
    }
    let place = place(&["j1"]);
    let server = place.start();
    fail(&place, "j1", "198.51.100.1", 2);
    place.wait_for_log("[j1] Ban 198.51.100.1");
    place.ask(&["set", "j1", "banip", "198.51.100.2", "192.0.2.0/24", "some-user"]);
    let before = bans(&place, "j1");
    stop(&place, server);
    let length = place.log().len();
    let server = upstream::start(&place);
    for ip in ["198.51.100.1", "198.51.100.2", "192.0.2.0/24", "some-user"] {
        wait_behind(&place, length, &format!("[j1] Restore Ban {ip}\n"));
    }
    check_bans(&bans(&place, "j1"), &before);
    stop(&place, server);
}

#[test]
fn the_place_in_the_log_is_handed_from_server_to_server() {
    if upstream::version().is_none() {
        return;
    }
    let place = place(&["j1"]);
    let server = place.start();
    fail(&place, "j1", "198.51.100.1", 1);
    place.wait_for_log("[j1] Found 198.51.100.1");
    stop(&place, server);
    // What has been counted once is not counted again.
    let length = place.log().len();
    let server = upstream::start(&place);
    fail(&place, "j1", "198.51.100.2", 1);
    wait_behind(&place, length, "[j1] Found 198.51.100.2");
    assert!(!place.log()[length..].contains("Found 198.51.100.1"), "{}", place.log());
    stop(&place, server);
    let length = place.log().len();
    let server = place.start();
    fail(&place, "j1", "198.51.100.3", 1);
    wait_behind(&place, length, "[j1] Found 198.51.100.3");
    assert!(!place.log()[length..].contains("Found 198.51.100.2"), "{}", place.log());
    stop(&place, server);
}

#[test]
fn a_reload_keeps_bans_failures_and_the_place_in_the_log() {
    let place = place(&["j1", "j2", "gone"]);
    let server = place.start();
    fail(&place, "j1", "198.51.100.1", 2);
    fail(&place, "j1", "198.51.100.2", 1);
    place.wait_for_log("[j1] Ban 198.51.100.1");
    place.wait_for_log("[j1] Found 198.51.100.2");
    place.ask(&["set", "gone", "banip", "198.51.100.9"]);
    let (before, length) = (bans(&place, "j1"), place.log().len());
    configure(&place, "bantime = 2h\nmaxretry = 3", &["j1", "j2", "new"]);
    place.write(
        "filter.d/f1.conf",
        &(FILTER.to_owned() + "            ^ ?oops <HOST>\nignoreregex = never\n"),
    );
    assert_eq!(place.ask(&["reload"]), "OK\n");
    let log = place.log()[length..].to_owned();
    for text in ["Reload jail 'j1'", "Jail 'j1' reloaded", "Creating new jail 'new'", "Jail 'gone' stopped"] {
        assert!(log.contains(text), "{text} not in\n{log}");
    }
    assert!(!log.contains("j1] Unban") && !log.contains("j1] Repeal") && !log.contains("Found"), "{log}");
    assert!(place.ask(&["status"]).ends_with("j1, j2, new\n"));
    assert_eq!(place.ask(&["get", "j1", "maxretry"]), "3\n");
    assert_eq!(place.ask(&["get", "j1", "bantime"]), "7200\n");
    assert_eq!(place.ask(&["get", "j1", "actions"]).lines().last(), Some("note"));
    assert!(place.ask(&["get", "j1", "failregex"]).contains("[1]: ^ ?oops"));
    assert!(place.read("gone.bans").ends_with("- 198.51.100.9\n"));
    // A ban without a time of its own follows the new ban time.
    let ids =
        |bans: &str| bans.lines().filter_map(|l| Some(l.split_once(' ')?.0.to_owned())).collect::<Vec<_>>();
    assert_eq!(ids(&bans(&place, "j1")), ids(&before));
    // The failure from before counts, as do the new expression and the new number.
    fail(&place, "j1", "198.51.100.2", 1);
    let now = Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    place.append("j1.log", &format!("{now} oops 198.51.100.2\n"));
    wait_behind(&place, length, "[j1] Ban 198.51.100.2");
    fail(&place, "new", "198.51.100.5", 3);
    wait_behind(&place, length, "[new] Ban 198.51.100.5");
    stop(&place, server);
    assert_eq!(place.read("j1.bans"), "+ 198.51.100.1\n+ 198.51.100.2\n- 198.51.100.1\n- 198.51.100.2\n");
}

#[test]
fn a_reload_with_another_backend_starts_the_jail_anew() {
    let place = place(&["j1"]);
    let server = place.start();
    place.ask(&["set", "j1", "banip", "198.51.100.1"]);
    let (before, length) = (bans(&place, "j1"), place.log().len());
    configure(&place, "backend = pyinotify", &["j1"]);
    assert_eq!(place.ask(&["reload"]), "OK\n");
    wait_behind(&place, length, "Restart jail 'j1' (reason: 'polling' != 'pyinotify')");
    wait_behind(&place, length, "[j1] Restore Ban 198.51.100.1");
    check_bans(&bans(&place, "j1"), &before);
    stop(&place, server);
}

/// The log says what upstream's says, whose jail is gone then.
#[test]
fn a_reload_with_an_unknown_backend_changes_nothing() {
    let place = place(&["j1"]);
    let server = place.start();
    place.ask(&["set", "j1", "banip", "198.51.100.1"]);
    configure(&place, "backend = nonsense\nmaxretry = 77", &["j1"]);
    let output = client(&place, &["reload"]);
    assert_eq!(output.status.code(), Some(255), "{}", both(&output));
    assert!(both(&output).contains("Unknown backend nonsense"), "{}", both(&output));
    let log = place.log();
    for text in [
        "Restart jail 'j1' (reason: 'polling' != 'nonsense')",
        "Unknown backend nonsense",
        "Reload finished.",
    ] {
        assert!(log.contains(text), "{text} not in\n{log}");
    }
    assert_eq!(place.ask(&["get", "j1", "maxretry"]), "2\n");
    assert_eq!(place.ask(&["get", "j1", "failregex"]).lines().count(), 2);
    assert!(bans(&place, "j1").starts_with("198.51.100.1"));
    stop(&place, server);
}

#[test]
fn a_reload_can_restart_unban_and_concern_one_jail() {
    let place = place(&["j1", "j2"]);
    let server = place.start();
    for jail in ["j1", "j2"] {
        place.ask(&["set", jail, "banip", "198.51.100.1"]);
    }
    let length = place.log().len();
    assert_eq!(place.ask(&["reload", "--restart", "j1"]), "OK\n");
    wait_behind(&place, length, "[j1] Restore Ban 198.51.100.1");
    assert!(place.log()[length..].contains("Jail 'j1' stopped"));
    assert!(!place.log()[length..].contains("'j2'"), "{}", &place.log()[length..]);

    assert_eq!(place.ask(&["reload", "--unban", "j1"]), "OK\n");
    assert_eq!(place.ask(&["banned"]), "[{'j2': ['198.51.100.1']}, {'j1': []}]\n");
    assert_eq!(place.ask(&["reload", "--restart", "--unban"]), "OK\n");
    assert_eq!(place.ask(&["banned"]).matches("198").count(), 0);
    assert_eq!(place.ask(&["restart", "j2"]), "OK\n");
    assert_eq!(place.ask(&["reload", "--restart", "--if-exists", "j2"]), "OK\n");

    place.ask(&["stop", "j2"]);
    assert!(both(&client(&place, &["reload", "j2"])).contains("j2"));
    assert_eq!(place.ask(&["reload", "--if-exists", "j2"]), "OK\n");
    assert!(place.ask(&["status"]).ends_with("j1, j2\n"));
    stop(&place, server);
}

#[test]
fn signals_end_the_server_cleanly() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let place = place(&["j1"]);
        let mut server = place.start();
        place.ask(&["set", "j1", "banip", "198.51.100.1"]);
        assert_eq!(place.read("f2b.pid"), format!("{}\n", server.0.id()));
        send(signal, &server);
        assert_eq!(server.0.wait().expect("a process").code(), Some(0));
        assert!(!place.file("f2b.sock").exists() && !place.file("f2b.pid").exists());
        assert_eq!(place.read("j1.bans"), "+ 198.51.100.1\n- 198.51.100.1\n");
        assert!(place.log().ends_with("Exiting Fail2ban\n"), "{}", place.log());
    }
}

/// A terminal that goes away takes a server with it that runs there, unless it was told to stay.
#[test]
fn a_hangup_ends_a_server_in_the_foreground_only() {
    let place = place(&["j1"]);
    // Whoever runs the tests may be one whom `nohup` has told to stay.
    let mut goes = Command::new("env");
    goes.arg("--default-signal=HUP").arg(binary("f2b-server"));
    goes.arg("-c").arg(place.path()).args(["-f", "start"]).stdin(Stdio::null());
    let mut server = place.spawn(&mut goes);
    place.ask(&["set", "j1", "banip", "198.51.100.1"]);
    send(Signal::SIGHUP, &server);
    assert_eq!(server.0.wait().expect("a process").code(), Some(0));
    assert_eq!(place.read("j1.bans"), "+ 198.51.100.1\n- 198.51.100.1\n");

    let mut stays = Command::new("sh");
    stays.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(binary("f2b-server"));
    stays.arg("-c").arg(place.path()).args(["-f", "start"]).stdin(Stdio::null());
    let server = place.spawn(&mut stays);
    send(Signal::SIGHUP, &server);
    place.ask(&["set", "j1", "banip", "198.51.100.2"]);
    stop(&place, server);

    let output = client(&place, &["start"]);
    assert!(output.status.success(), "{}", both(&output));
    let background = Background(&place);
    kill(background.pid().expect("a pid file"), Signal::SIGHUP).expect("the process is there");
    place.ask(&["set", "j1", "banip", "198.51.100.3"]);
    place.ask(&["stop"]);
}

/// Scripts look for the server by its name in the list of processes.
#[test]
fn the_process_has_upstreams_name_or_the_one_that_is_given() {
    let name = |server: &Process| {
        fs::read_to_string(format!("/proc/{}/comm", server.0.id())).expect("a process").trim_end().to_owned()
    };
    for (options, expected) in [(&[][..], "fail2ban-server"), (&["--pname", "f2b-of-mine"], "f2b-of-mine")] {
        let ours = place(&["j1"]);
        assert_eq!(name(&ours.spawn(&mut ours.server_with(options))), expected);
        if upstream::version().is_some() {
            let theirs = place(&["j1"]);
            assert_eq!(name(&theirs.spawn(&mut upstream::server_with(&theirs, options))), expected);
        }
    }
}

/// Somebody who restarts a server that is stopping already waits for its end, and the new one keeps its pid file.
#[test]
fn a_restart_waits_for_a_server_that_stops() {
    let place = place(&["j1"]);
    place.write(
        "action.d/note.conf",
        "[Definition]\nactionban = echo + <ip> >> <file>\nactionunban = sleep 0.5; echo - <ip> >> <file>\n",
    );
    let output = client(&place, &["start"]);
    assert!(output.status.success(), "{}", both(&output));
    let server = Background(&place);
    place.ask(&["set", "j1", "banip", "198.51.100.1"]);
    let before = server.pid().expect("a pid file");
    kill(before, Signal::SIGTERM).expect("the process is there");
    place.wait_for_log("Shutdown in progress...");
    let output = client(&place, &["restart"]);
    assert!(output.status.success(), "{}", both(&output));
    let after = server.pid().expect("a pid file");
    assert_ne!(before, after);
    place.wait_for_log("[j1] Restore Ban 198.51.100.1");
    assert_eq!(server.pid(), Some(after));
    assert!(place.read("j1.bans").starts_with("+ 198.51.100.1\n- 198.51.100.1\n"));
    place.ask(&["stop"]);
}

/// A server that hangs before it has a socket is given up.
#[test]
fn a_server_that_does_not_come_is_given_up() {
    let place = place(&["j1"]);
    fs::create_dir(place.file("bin")).expect("a directory");
    // It is the server's binary that takes the client's place.
    fs::copy(binary("f2b-server"), place.file("bin/f2b-client")).expect("a copy");
    place.write("bin/f2b-server", "#!/bin/sh\nexec sleep 2\n");
    fs::set_permissions(place.file("bin/f2b-server"), fs::Permissions::from_mode(0o755)).expect("a program");
    let start = |more: &[&str]| {
        let words = [more, &["start"]].concat();
        place.client(place.file("bin/f2b-client"), &words).output().expect("the client starts")
    };
    let output = start(&["--timeout", "0.2"]);
    assert_eq!(output.status.code(), Some(255), "{}", both(&output));
    assert!(both(&output).contains("Could not start server. Maybe an old socket file is still present."));
    // One that ends at once is not waited for.
    place.write("bin/f2b-server", "#!/bin/sh\nexit 3\n");
    let output = start(&[]);
    assert_eq!(output.status.code(), Some(255), "{}", both(&output));
    assert!(both(&output).contains("exit status: 3"), "{}", both(&output));
}

#[test]
fn who_connects_is_told_to_those_who_listen() {
    let place = place(&["j1"]);
    let server = place.start();
    let ping = || {
        let mut ping = place.client(binary("f2b-client"), &["ping"]);
        let mut ping = ping.stdout(Stdio::null()).spawn().expect("the client starts");
        assert!(ping.wait().expect("a client").success());
        ping.id()
    };
    let unseen = ping();
    place.ask(&["set", "loglevel", "DEBUG"]);
    let seen = ping();
    let (user, group) = (nix::unistd::getuid(), nix::unistd::getgid());
    place.wait_for_log(&format!("Client of pid {seen}, uid {user}, gid {group}\n"));
    assert!(!place.log().contains(&format!("Client of pid {unseen},")));
    stop(&place, server);
}

/// What a server writes is nobody's business but its own.
#[test]
fn files_are_for_the_owner_as_upstreams_are() {
    let modes = |place: &Place| {
        ["f2b.sock", "f2b.pid", "f2b.log", "f2b.sqlite3"].map(|name| {
            let mode = fs::metadata(place.file(name)).expect("a file").permissions().mode();
            format!("{name} {mode:o}")
        })
    };
    let expected = ["f2b.sock 140700", "f2b.pid 100600", "f2b.log 100600", "f2b.sqlite3 100600"];
    let ours = place(&["j1"]);
    let _server = ours.start();
    assert_eq!(modes(&ours), expected);
    if upstream::version().is_some() {
        let theirs = place(&["j1"]);
        let _server = upstream::start(&theirs);
        assert_eq!(modes(&theirs), expected);
    }
}

#[test]
fn the_log_is_opened_anew_on_request() {
    let place = place(&["j1"]);
    let server = place.start();
    let rotate = |name: &str| fs::rename(place.file("f2b.log"), place.file(name)).expect("the log is there");
    rotate("first.log");
    send(Signal::SIGUSR1, &server);
    place.wait_for_log("rollover performed on");
    rotate("second.log");
    assert_eq!(place.ask(&["flushlogs"]), "logs: rolled over\n");
    place.ask(&["set", "j1", "banip", "198.51.100.1"]);
    place.wait_for_log("[j1] Ban 198.51.100.1");
    assert!(!place.read("second.log").contains("Ban"));
    stop(&place, server);
}

/// A server in the background, ended with the test if nothing else has ended it.
struct Background<'a>(&'a Place);

impl Background<'_> {
    fn pid(&self) -> Option<Pid> {
        self.0.read("f2b.pid").trim().parse().ok().map(Pid::from_raw)
    }
}

impl Drop for Background<'_> {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

#[test]
fn a_server_in_the_background_is_on_its_own() {
    for (program, words) in
        [("f2b-client", ["start"].as_slice()), ("f2b-server", &["-b", "start"]), ("f2b-server", &[])]
    {
        let place = place(&["j1"]);
        let server = Background(&place);
        let output = Command::new(binary(program))
            .arg("-c")
            .arg(place.path())
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "Server ready\n", "{}", both(&output));
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
        let pid = server.pid().expect("a pid file");
        assert_ne!(getsid(Some(pid)), getsid(None), "{program} {words:?}");
        assert!(place.ask(&["status"]).ends_with("Jail list:\tj1\n"));
        // A second one finds the first and leaves it alone.
        let second = client(&place, &["start"]);
        assert_eq!(second.status.code(), Some(255), "{}", both(&second));
        assert!(both(&second).contains("Server already running"), "{}", both(&second));
        assert_eq!(server.pid(), Some(pid));

        assert_eq!(place.ask(&["stop"]), "Shutdown successful\n");
        wait_until("the process has gone", || kill(pid, None).is_err());
        assert!(!place.file("f2b.sock").exists() && !place.file("f2b.pid").exists());
    }
}

/// Number of bans in the database.
fn rows(place: &Place) -> usize {
    let script = "import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute('SELECT COUNT(*) FROM bips').fetchone()[0])";
    let mut command = upstream::python(script);
    let output = support::run(command.arg(place.file("f2b.sqlite3")));
    output.trim().parse().expect("a number")
}

/// Binds the socket as a service manager does, and becomes the server with it.
const ACTIVATE: &str = "
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(5)
os.dup2(listener.fileno(), 4)
os.dup2(os.open(os.devnull, os.O_RDONLY), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2', LISTEN_FDNAMES='other:fail2ban')
os.execv(sys.argv[2], sys.argv[2:])";

#[test]
fn a_socket_can_be_handed_over() {
    if !available("python3", has_program("python3")) {
        return;
    }
    let place = place(&["j1"]);
    let mut command = Command::new("python3");
    command.args(["-c", ACTIVATE]).arg(place.file("f2b.sock")).arg(binary("f2b-server"));
    command.arg("-c").arg(place.path()).args(["-x", "-f", "start"]).stdin(Stdio::null());
    let server = place.spawn(&mut command);
    assert!(place.log().contains("Using socket activation, inherited socket"), "{}", place.log());
    place.ask(&["status", "j1"]);
    place.ask(&["stop"]);
    wait_until("the server has gone", || !place.file("f2b.pid").exists());
    // It belongs to whoever has made it.
    assert!(place.file("f2b.sock").exists());
    drop(server);
}

#[test]
fn clients_that_say_nothing_make_room() {
    let place = place(&["j1"]);
    let server = place.start();
    let open = || std::os::unix::net::UnixStream::connect(place.file("f2b.sock"));
    // As many as are served at once, and some that wait behind them.
    let silent: Vec<_> = (0..520).filter_map(|_| open().ok()).collect();
    assert!(silent.len() > 512, "{} clients", silent.len());
    assert_eq!(place.ask(&["ping"]), "Server replied: pong\n");
    drop(silent);
    stop(&place, server);
}

/// The end of the server waits for its actions, and an action that asks the server for its answer.
#[test]
fn an_action_that_asks_a_server_which_stops_is_sent_away() {
    let place = place(&["j"]);
    let dir = place.path().display();
    let client = format!("{} -c {dir} -s {dir}/f2b.sock", binary("f2b-client").display());
    place.write(
        "action.d/note.conf",
        &format!(
            "[Definition]\nactionban = echo + <ip> >> <file>\n\
             actionunban = {client} status j >/dev/null 2>&1; echo - $? >> <file>\n\
             actionstop = {client} ping >/dev/null 2>&1; echo stop $? >> <file>\n"
        ),
    );
    let server = place.start();
    place.ask(&["set", "j", "banip", "192.0.2.1"]);
    stop(&place, server);
    assert_eq!(place.read("j.bans"), "+ 192.0.2.1\n- 255\nstop 255\n");
}

/// Each ban waits at a gate of its own, so that the test knows which has begun.
#[test]
fn nobody_waits_for_bans_that_have_not_begun() {
    let place = place(&["j"]);
    let conf = place.read("fail2ban.conf").replace("loglevel = INFO", "loglevel = DEBUG");
    place.write("fail2ban.conf", &conf);
    let dir = place.path().display().to_string();
    place.write(
        "action.d/note.conf",
        &format!(
            "[Definition]\nactionban = echo + <ip> >> <file>\n            until test -e {dir}/open-<ip>; do sleep 0.02; \
             done\nactionunban = echo - <ip> >> <file>\n"
        ),
    );
    let ip = |number: usize| format!("192.0.2.{number}");
    let open = |number: usize| place.write(&format!("open-{}", ip(number)), "");
    let calls = || place.read("j.bans");
    let started =
        |number: usize| wait_until("the ban begins", || calls().ends_with(&format!("+ {}\n", ip(number))));
    let server = place.start();
    std::thread::scope(|scope| {
        let banning = scope.spawn(|| {
            let all = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"];
            client(&place, &[&["set", "j", "banip"], all.as_slice()].concat())
        });
        started(1);
        let unbanning = scope.spawn(|| place.ask(&["set", "j", "unbanip", "192.0.2.3"]));
        wait_until("the unban is decided", || !place.ask(&["get", "j", "banip"]).contains("192.0.2.3"));
        open(1);
        started(2);
        assert_eq!(unbanning.join().expect("an answer"), "1\n");
        let stopping = scope.spawn(|| place.ask(&["stop"]));
        place.wait_for_log("  Flush ban list");
        open(2);
        stopping.join().expect("an answer");
        assert!(banning.join().expect("an answer").status.success());
    });
    drop(server);
    assert_eq!(calls(), "+ 192.0.2.1\n+ 192.0.2.2\n- 192.0.2.1\n- 192.0.2.2\n");
    let log = place.log();
    for number in [1, 2, 4, 5] {
        assert!(log.contains(&format!("[j] Repeal Ban {}\n", ip(number))), "{log}");
    }
    (1..=5).for_each(open);
    let server = start_again(&place);
    started(5);
    stop(&place, server);
    let restored: Vec<String> = [1, 2, 4, 5].map(|number| format!("+ {}\n", ip(number))).into();
    assert!(calls().contains(&restored.concat()), "{}", calls());
}

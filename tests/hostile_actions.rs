//! Log lines that attack the shell, and actions that misbehave, through a whole server: text stays text, and whatever one
//! command does the jail goes on and the log tells about it.

mod support;

use std::fs;

use support::{Place, wait_until};

/// A jail that bans whoever fails twice, so that what matched has two lines.
fn configure(place: &Place, actions: &[&str]) {
    place.write("log", "");
    place.write(
        "filter.d/login.conf",
        "[Definition]\nfailregex = ^ login of <F-USER>.*</F-USER> from <HOST>$\n",
    );
    let root = place.path().display();
    place.write(
        "jail.conf",
        &format!(
            "[j]\nenabled = true\nfilter = login\nbackend = polling\nlogpath = {root}/log\nignoreself = false\n\
             usedns = no\nmaxretry = 2\nbantime = 1h\naction = {}\n",
            actions.join("\n         ")
        ),
    );
}

/// Two failures of this user.
fn fail(place: &Place, user: &str, ip: &str) {
    let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    let line = format!("{now} login of {user} from {ip}\n");
    place.append("log", &line.repeat(2));
}

/// `EVIL` stands for a file that nobody may make.
const ATTACKS: [&str; 18] = [
    "$(touch EVIL)",
    "`touch EVIL`",
    "'; touch EVIL; '",
    "\"; touch EVIL; \"",
    "\"$(touch EVIL)\"",
    "' $(touch EVIL) '",
    "a && touch EVIL || touch EVIL",
    "a | touch EVIL > EVIL < EVIL & touch EVIL",
    "\\'; touch EVIL #",
    "\\\\\"; touch EVIL #",
    "${IFS}$0$1${f2bV_F_user}${f2bV_matches}$@",
    "<ip> <matches> <F-USER> <F-*> <raw-ticket> <fid>",
    "<ip> from 203.0.113.99",
    "x=$(touch EVIL) y=`touch EVIL`\r`touch EVIL`",
    "* ? ~ [a-z] {a,b} !! ^ %s %n %(known)s",
    "--help -rf / -- -e",
    "ünïcödé \u{1f600} \u{202e}`touch EVIL`",
    "\u{b}\u{c}\u{1b}]0;touch EVIL\u{7}`touch EVIL`",
];

#[test]
fn captured_text_stays_text() {
    let place = Place::new();
    let root = place.path().display();
    // Quoted and bare, as a word, as an option, in a document and in a comment.
    place.write(
        "action.d/note.conf",
        &format!(
            "[Definition]\n\
             actionban = printf '%%s' \"<F-USER>\" > {root}/user.<ip>\n\
             \x20           printf '%%s' \"<matches>\" > {root}/matches.<ip>\n\
             \x20           echo <F-USER> \"<F-*>\" \"<raw-ticket>\" <matches> '<ip>' > /dev/null\n\
             \x20           cat > /dev/null <<END\n\
             \x20           <F-USER> <matches>\n\
             \x20           END\n\
             \x20           : # <F-USER>\n\
             \x20           touch {root}/done.<ip>\n\
             actionunban = printf '%%s' \"<F-USER> <matches>\" > {root}/unban.<ip>\n"
        ),
    );
    configure(&place, &["note"]);
    let mut server = place.start();
    let evil = place.file("evil");
    let attacks = ATTACKS.map(|text| text.replace("EVIL", &evil.display().to_string()));
    for (index, user) in attacks.iter().enumerate() {
        fail(&place, user, &format!("192.0.2.{}", index + 1));
    }
    for (index, user) in attacks.iter().enumerate() {
        let file = |kind: &str| format!("{kind}.192.0.2.{}", index + 1);
        wait_until(&format!("the ban for {user:?}\n{}", place.log()), || place.file(&file("done")).exists());
        assert_eq!(place.read(&file("user")), *user);
        let matches = place.read(&file("matches"));
        let parts: Vec<&str> = matches.split('\n').collect();
        assert!(
            matches!(parts.as_slice(), [one, two] if [one, two].iter().all(|line| line.contains(user.as_str()))),
            "{user:?}: {matches:?}"
        );
    }
    place.ask(&["stop"]);
    server.0.wait().expect("the server ends");
    for index in 0..attacks.len() {
        assert!(place.file(&format!("unban.192.0.2.{}", index + 1)).exists(), "{}", place.log());
    }
    assert!(!evil.exists(), "{}", place.log());
    assert!(!place.log().contains("ERROR"), "{}", place.log());
    let strays = fs::read_dir(place.path()).expect("the directory").flatten();
    assert!(strays.into_iter().all(|entry| !entry.file_name().to_string_lossy().contains("203.0.113.99")));
}

/// What no shell can be given costs the command that wants it, and nothing else.
#[test]
fn text_that_fits_into_no_command_costs_that_command_only() {
    let place = Place::new();
    let root = place.path().display();
    place.write(
        "action.d/wants.conf",
        &format!("[Definition]\nactionban = echo '<F-USER>' > {root}/wants.<ip>\n"),
    );
    place.write("action.d/spares.conf", &format!("[Definition]\nactionban = touch {root}/spares.<ip>\n"));
    configure(&place, &["wants", "spares"]);
    let _server = place.start();
    let long = format!("{}`touch {root}/evil`", "'x".repeat(500_000));
    for (user, ip, reason) in [
        (long.as_str(), "192.0.2.1", "Argument list too long: '/bin/sh'"),
        ("ro\0ot", "192.0.2.2", "embedded null byte"),
    ] {
        fail(&place, user, ip);
        wait_until(&format!("the ban of {ip}"), || place.file(&format!("spares.{ip}")).exists());
        assert!(!place.file(&format!("wants.{ip}")).exists());
        let log = place.log();
        assert!(log.contains(reason), "no {reason} in the log of {} bytes", log.len());
        assert!(log.contains("Failed to execute ban jail 'j' action 'wants' info "));
    }
    fail(&place, "harmless", "192.0.2.3");
    wait_until("the next ban", || place.file("wants.192.0.2.3").exists());
    assert!(!place.file("evil").exists());
}

/// Each of these is an action of its own, with what the log has to say about its end.
const MISBEHAVING: [(&str, &str, &str); 10] = [
    ("hangs", "echo $$ >> PIDS; sleep 600", "timed out after 1 seconds."),
    ("ignores", "echo $$ >> PIDS; trap '' TERM INT HUP; sleep 600; sleep 600", "timed out after 1 seconds."),
    (
        "forks",
        "(trap '' TERM HUP; sleep 600; echo late) & echo $! >> PIDS; sleep 600 & wait",
        "timed out after 1 seconds.",
    ),
    ("leaves", "(sleep 5; echo late) & exit 4", "returned 4"),
    ("floods", "head -c 300000000 /dev/zero; head -c 100000000 /dev/zero >&2; exit 5", "returned 5"),
    ("chatters", "yes | head -c 50000000; exit 6", "returned 6"),
    ("missing", "no-such-program-at-all <ip>", "returned 127"),
    ("forbidden", "/dev/null <ip>", "returned 126"),
    ("kills", "sh -c 'kill -9 0'", "killed with SIGKILL (return code: -9)"),
    ("segfaults", "sh -c 'kill -SEGV $$'", "killed with SIGSEGV (return code: 139)"),
];

#[test]
fn an_action_that_misbehaves_stops_neither_the_others_nor_the_jail() {
    let place = Place::new();
    let pids = place.file("pids");
    let mut names = Vec::new();
    for (name, command, _) in MISBEHAVING {
        let command = command.replace("PIDS", &pids.display().to_string());
        place.write(
            &format!("action.d/{name}.conf"),
            &format!("[Definition]\nactionban = {command}\n[Init]\ntimeout = 1\n"),
        );
        names.push(name);
    }
    let note = format!("[Definition]\nactionban = echo <ip> >> {}/banned\n", place.path().display());
    place.write("action.d/last.conf", &note);
    names.push("last");
    configure(&place, &names);
    let server = place.start();
    place.ask(&["set", "j", "banip", "192.0.2.1"]);
    assert_eq!(place.read("banned"), "192.0.2.1\n");

    let log = place.log();
    for (name, command, end) in MISBEHAVING {
        let command = command.replace("PIDS", &pids.display().to_string()).replace("<ip>", "192.0.2.1");
        // What belongs to one command begins with the same number.
        let exec = log.lines().find(|line| line.ends_with(&format!(" -- exec: {command}")));
        assert!(exec.is_some(), "{name}: no {command}");
        let end = log.lines().find(|line| line.contains(" ERROR ") && line.ends_with(&format!(" -- {end}")));
        assert!(end.is_some(), "{name}: its end is not in the log");
        let failed = format!("Failed to execute ban jail 'j' action '{name}' info ");
        assert!(log.contains(&failed), "{name}: no {failed}");
    }
    assert!(log.contains("HINT on 127: \"Command not found\"."));
    // Nothing of what was started in the group of a command that took too long is left.
    for pid in place.read("pids").lines() {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        assert!(status.is_empty() || status.contains("State:\tZ"), "{pid} still runs:\n{status}");
    }
    // Of 800 MB that two attempts wrote, little was ever kept.
    let status = fs::read_to_string(format!("/proc/{}/status", server.0.id())).expect("the server runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a number");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < 150_000, "{peak} kB");

    assert!(log.len() < 20_000_000, "{} bytes of log", log.len());

    // By a log line, too.
    fail(&place, "root", "192.0.2.2");
    wait_for_ban(&place, "192.0.2.2");
    assert!(place.ask(&["get", "j", "banip"]).contains("192.0.2.2"));
}

/// The actions before the last one take some seconds to be given up.
fn wait_for_ban(place: &Place, ip: &str) {
    place.wait_for_log(&format!("Ban {ip}"));
    place.ask(&["set", "j", "unbanip", "192.0.2.1"]);
    assert!(place.read("banned").contains(ip), "{}", place.read("banned"));
}

//! `f2b-regex systemd-journal[...]` on journal files that `systemd-journal-remote` made, against the installed
//! `fail2ban-regex` with `python3-systemd`.

#[path = "support/journal.rs"]
mod journal;
mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::path::Path;
use std::process::{Command, Output};

use journal::entry;
use support::{available, binary, both};

const REGEX: &str = r"^\S+ sshd(?:\[\d+\])?: Failed \w+ for <F-USER>\S+</F-USER> from <ADDR>";

const UPSTREAM: &str = "
import sys; sys.argv[0] = 'fail2ban-regex'
from fail2ban.client.fail2banregex import exec_command_line; exec_command_line()";

const START: u64 = 1_404_101_101_501_873;

/// Entries in their variety: of programs and the kernel, with several messages or none, with bytes that are no text.
fn entries() -> Vec<u8> {
    let ssh = |micros: u64, pid: &'static [u8], message: &[u8]| {
        let source = (micros - 17).to_string();
        entry(
            micros,
            &[
                ("_HOSTNAME", b"host1"),
                ("SYSLOG_IDENTIFIER", b"sshd"),
                ("_PID", pid),
                ("_COMM", b"sshd"),
                ("_SYSTEMD_UNIT", b"sshd.service"),
                ("_SOURCE_REALTIME_TIMESTAMP", source.as_bytes()),
                ("MESSAGE", message),
            ],
        )
    };
    let mut all = Vec::new();
    for index in 0..30_u64 {
        let message = format!("Failed password for user{} from 192.0.2.{index} port 22 ssh2", index % 4);
        all.extend(ssh(START + index * 1_000_000, b"8278", message.as_bytes()));
        let message = format!("Accepted publickey for user from 192.0.2.{index} port 22");
        all.extend(ssh(START + index * 1_000_000 + 500_127, b"0", message.as_bytes()));
    }
    let later = START + 100_000_000;
    let host: (&str, &[u8]) = ("_HOSTNAME", b"h\xc3\xb6st");
    all.extend(ssh(later, b"12", "Failed password for jürgen from 2001:db8::1 port 22".as_bytes()));
    all.extend(ssh(later + 1, b"x1", b"Failed none for caf\xe9 from 192.0.2.77"));
    all.extend(ssh(later + 2, b"0x1F", b"Failed none for a from 192.0.2.78\nsecond line\r\n"));
    all.extend(entry(
        later + 3,
        &[host, ("SYSLOG_IDENTIFIER", b"kernel"), ("MESSAGE", b"Failed from 192.0.2.79")],
    ));
    all.extend(entry(
        later + 4,
        &[
            host,
            ("SYSLOG_IDENTIFIER", b"kernel"),
            ("_SOURCE_MONOTONIC_TIMESTAMP", b"1500000"),
            ("MESSAGE", b"x"),
        ],
    ));
    all.extend(entry(later + 5, &[host, ("_COMM", b"sshd"), ("MESSAGE", b"Failed a for b from 192.0.2.80")]));
    all.extend(entry(later + 6, &[("SYSLOG_IDENTIFIER", b"sshd"), ("SYSLOG_PID", b"5"), ("_PID", b"6")]));
    all.extend(entry(later + 7, &[("MESSAGE", b"first"), ("MESSAGE", b"second of the same name")]));
    all.extend(entry(later + 8, &[("OTHER", b"no message at all")]));
    all.extend(entry(later + 9, &[host, ("SYSLOG_IDENTIFIER", b""), ("_COMM", b"cron"), ("MESSAGE", b"")]));
    let named: (&str, &[u8]) = ("SYSLOG_IDENTIFIER", b"sshd");
    let long = [&b"Failed none for long from 192.0.2.90 "[..], &[b'x'; 70_000]].concat();
    let odd: [&[(&str, &[u8])]; 17] = [
        &[named, ("_PID", b"1"), ("_PID", b"2"), ("MESSAGE", b"two processes")],
        &[named, ("SYSLOG_PID", b"x"), ("SYSLOG_PID", b"07"), ("_PID", b"3"), ("MESSAGE", b"two more")],
        &[named, ("SYSLOG_PID", b"-7"), ("MESSAGE", b"below zero")],
        &[named, ("SYSLOG_PID", b" 1_000 "), ("MESSAGE", b"a thousand")],
        &[named, ("SYSLOG_PID", b"0x0"), ("_PID", b"5"), ("MESSAGE", b"zero with a base")],
        &[named, ("SYSLOG_PID", b"0"), ("_PID", b"5"), ("MESSAGE", b"zero")],
        &[named, ("SYSLOG_PID", b"\xff"), ("_PID", b"5"), ("MESSAGE", b"no number")],
        &[named, ("_PID", b"99999999999999999999999"), ("MESSAGE", b"a long number")],
        &[named, ("_SOURCE_REALTIME_TIMESTAMP", b"1_404101101000001"), ("MESSAGE", b"a time")],
        &[named, ("_SOURCE_REALTIME_TIMESTAMP", b"-5"), ("MESSAGE", b"before 1970")],
        &[("_HOSTNAME", b"kernel:"), ("MESSAGE", b"a host")],
        &[("_COMM", b"kernel"), ("_SOURCE_MONOTONIC_TIMESTAMP", b"-5"), ("MESSAGE", b"before the start")],
        &[
            ("_HOSTNAME", b"h\xff"),
            ("SYSLOG_IDENTIFIER", b"p\xfe"),
            ("MESSAGE", b"Failed a for b from 192.0.2.91"),
        ],
        &[named, ("MESSAGE", b"nul\0in it"), ("MESSAGE", b"\xff\n")],
        &[named, ("MESSAGE", &long)],
        &[named, ("MESSAGE", "line\u{2028}ends\u{85}of Unicode".as_bytes())],
        &[("SYSLOG_IDENTIFIER", b"p\nq"), ("MESSAGE", b"\x1b[31m\xed\xa0\x80\t ")],
    ];
    for (micros, fields) in (later + 10..).zip(odd) {
        all.extend(entry(micros, fields));
    }
    all.extend(entry(
        START + 200_000_000,
        &[("MESSAGE", b"# no comment"), ("_SOURCE_REALTIME_TIMESTAMP", b"1404101301000000")],
    ));
    all
}

fn ours(args: &[&str]) -> Output {
    Command::new(binary("f2b-regex")).args(args).env("TZ", "UTC").output().expect("f2b-regex runs")
}

fn theirs(args: &[&str]) -> Output {
    upstream::python(UPSTREAM).args(args).output().expect("fail2ban-regex runs")
}

/// A report without times of this moment, and without the numbers of processes.
fn comparable(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter(|line| !line.starts_with("[processed in "));
    let plain = lines.map(|line| match line.split_once("]: ") {
        Some((head, message)) if head.starts_with("20") && head.contains(" fail2ban.") => message,
        _ => line,
    });
    // Since 1.1 an address may hold a single colon in more places.
    plain.map(|line| line.replace("::?|::){1,7}", "::?|:){1,7}") + "\n").collect()
}

#[track_caller]
fn check_same(args: &[&str]) {
    let (ours, theirs) = (ours(args), theirs(args));
    assert_eq!(comparable(&ours), comparable(&theirs), "{args:?}");
    assert_eq!(ours.status.code(), theirs.status.code(), "{args:?}");
}

fn log_of(files: &Path) -> String {
    format!("systemd-journal[journalfiles={}]", files.display())
}

#[test]
fn reports_on_a_journal_are_upstreams() {
    if !journal::can_be_made() || !upstream::version().is_some_and(|_| journal::upstream_reads()) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("x.journal");
    journal::write(&file, &entries());
    let log = log_of(&file);
    for options in [
        &["--print-all-matched", "--print-all-missed"][..],
        &["-m", "_SYSTEMD_UNIT=sshd.service"],
        &["-m", "_SYSTEMD_UNIT=sshd.service _PID=8278 + SYSLOG_IDENTIFIER=kernel", "--print-all-missed"],
        &["-m", "_PID=8278 _PID=12", "--print-all-matched"],
        &["-m", "'MESSAGE=first' + _COMM=cron", "--print-all-missed"],
        &["-m", "+ _COMM=cron +", "--print-all-missed"],
        &["-m", "_COMM=none"],
        &["-m", ""],
        &["-o", "row"],
        &["-o", "id"],
        &["-o", "msg"],
        &["-o", "<time> <ip> <F-USER> <msg>"],
        &["-e", "latin1", "--print-all-matched"],
        &["-e", "ascii", "--print-all-matched"],
        &["-L", "3", "--print-all-matched"],
        &["-d", "%Y", "--print-all-missed"],
        &["-l", "info", "-m", "_COMM=cron"],
        &["-l", "debug", "-m", "_COMM=cron"],
        &["-l", "heavydebug", "-m", "_PID=12 + _COMM=cron"],
        &["-l", "heavydebug", "-m", "SYSLOG_PID=5 + _PID=0x1F"],
        &["--TZ", "UTC+0300", "-o", "row"],
    ] {
        let args = [&["--usedns=no"], options, &[&log, REGEX]].concat();
        check_same(&args);
    }
    for filter in ["sshd", "sshd[mode=aggressive]", "sshd[journalmatch='_COMM=cron']", "recidive"] {
        check_same(&["--usedns=no", "-c", "/etc/fail2ban", "-o", "<time> <ip> <F-USER>", &log, filter]);
    }
    check_same(&["--usedns=no", "-o", "row", &log, REGEX, "192.0.2.1[0-9]"]);
    check_same(&["--usedns=no", "-m", "'unfinished", &log, REGEX]);
}

#[test]
fn several_files_are_one_journal() {
    if !journal::can_be_made() || !upstream::version().is_some_and(|_| journal::upstream_reads()) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let line = |index: u64| {
        let message = format!("Failed password for user from 192.0.2.{index} port 22 ssh2");
        let fields: [(&str, &[u8]); 3] =
            [("_HOSTNAME", b"h"), ("SYSLOG_IDENTIFIER", b"sshd"), ("MESSAGE", message.as_bytes())];
        entry(START + index * 1_000_000, &fields)
    };
    let lines = |numbers: &[u64]| numbers.iter().flat_map(|index| line(*index)).collect::<Vec<_>>();
    journal::write(&dir.path().join("system@1.journal"), &lines(&[1, 3]));
    journal::write(&dir.path().join("system.journal"), &lines(&[2, 4, 6]));
    journal::write(&dir.path().join("user-1000.journal"), &lines(&[5]));
    let path = dir.path().display().to_string();
    let ids =
        |output: &Output| String::from_utf8_lossy(&output.stdout).replace("192.0.2.", "").replace('\n', " ");
    let is_1_1 = upstream::version().is_some_and(|version| version.starts_with("1.1"));
    for (parameters, expected) in [
        (format!("journalfiles=\"{path}/*.journal\""), "1 2 3 4 5 6 "),
        (format!("journalfiles=\"{path}/system.journal, {path}/user-*.journal\""), "2 4 5 6 "),
        (format!("journalpath={path}"), "2 4 5 6 "),
        (format!("journalpath={path}, rotated=on"), "1 2 3 4 5 6 "),
        (format!("journalpath={path}, journalflags=4"), "2 4 6 "),
    ] {
        let log = format!("systemd-journal[{parameters}]");
        let args = ["-o", "id", &log, REGEX];
        assert_eq!(ids(&ours(&args)), expected, "{parameters}");
        if is_1_1 || parameters.starts_with("journalfiles") {
            assert_eq!(ids(&theirs(&args)), expected, "{parameters}");
        }
    }
}

#[test]
fn what_can_not_be_read_is_told() {
    if !available("libsystemd", f2b_journal::load().is_ok()) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let broken = dir.path().join("x.journal");
    std::fs::write(&broken, "no journal").expect("a file");
    for (parameters, options, expected) in [
        ("journalpath=/nonexistent", &[][..], "ERROR: [Errno 2] No such file or directory"),
        (&format!("journalfiles={}", broken.display()), &[], "ERROR: [Errno "),
        ("journalflags=x", &[], "ERROR: invalid literal for int() with base 10: 'x'"),
        ("pth=/x", &[], "ERROR: Filter.__init__() got an unexpected keyword argument 'pth'"),
        ("rotated=on", &["-m", "x=1"], "ERROR: Invalid match: x=1"),
    ] {
        let log = format!("systemd-journal[{parameters}]");
        let output = ours(&[options, &[&log, REGEX]].concat());
        let is_told = both(&output).lines().any(|line| line.starts_with(expected));
        assert!(is_told, "{parameters}: {}", both(&output));
        assert_eq!(output.status.code(), Some(255));
    }
}

/// Without the library everything else works, and its absence is told in upstream's words.
#[test]
fn a_missing_library_is_told() {
    let Some(mut command) = journal::without_library(&binary("f2b-regex")) else { return };
    let output = command.args(["systemd-journal", REGEX]).output().expect("it runs");
    assert!(both(&output).ends_with("Error: systemd library not found. Exiting...\n"), "{}", both(&output));
    assert_eq!(output.status.code(), Some(255));
    let mut command = journal::without_library(&binary("f2b-regex")).expect("as before");
    let output = command.args(["x 192.0.2.1", "<ADDR>", "-o", "id"]).output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "192.0.2.1\n");
}

/// The rule that tells good matches from bad ones without the library is the library's.
#[test]
fn matches_are_judged_as_the_library_judges_them() {
    if !available("libsystemd", f2b_journal::load().is_ok()) {
        return;
    }
    let source = f2b_journal::Source::parse(&[("rotated".into(), "on".into())]).expect("parameters");
    let mut journal = f2b_journal::Journal::open(&source).expect("the journal of this machine");
    let texts = [
        "A=1", "A=", "_A=1", "__A=1", "A9=1", "9A=1", "A-B=1", "a=1", "", "=", "A", "A=é", "É=1", "A\0=x",
        "_=",
    ];
    for text in texts {
        let taken = journal.set_matches(&[vec![text.to_owned()]]).is_ok();
        assert_eq!(f2b_journal::is_valid_match(text), taken, "{text:?}");
    }
}

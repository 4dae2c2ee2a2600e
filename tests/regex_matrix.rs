//! Reports of `f2b-regex` over many logs, filters and options, byte for byte those of the installed `fail2ban-regex` but
//! for times and processes; and its answers to wrong input.
//!
//! `F2B_FAIL2BAN_REGEX` names another `fail2ban-regex`, `F2B_SAMPLES` and `F2B_SAMPLES_CONFIG` another directory of sample
//! logs and of the configuration they belong to.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::{available, binary, repository};

/// Options to be tried on every log below, one row after the other.
const OPTIONS: &[&[&str]] = &[
    &[],
    &["-v"],
    &["--verbosity", "1", "--usedns", "no"],
    &["--print-all-matched"],
    &["--print-all-missed", "--print-no-ignored"],
    &["--print-all-ignored", "--print-no-missed"],
    &["-D", "--usedns", "no"],
    &["-D", "--print-all-matched", "--usedns", "no"],
    &["--no-check-all", "--usedns", "no"],
    &["-o", "id"],
    &["-o", "fid", "--raw"],
    &["-o", "ip", "-r"],
    &["-o", "msg", "-r"],
    &["-o", "user", "-r"],
    &["-o", "ip4", "--usedns", "raw"],
    &["-o", "matches", "-r"],
    &["-o", "<ip> <time> <F-USER> | <msg>", "-r"],
    &["-o", "<F-ID>;<fid>;<family>;<ip-rev>;<failures>;<br>x<sp>", "-r"],
    &["-o", "msg", "-i", "-r"],
    &["-o", "<time> <msg>", "--invert", "-r"],
    &["-o", "matches", "-i", "-r"],
    &["-L", "2", "--usedns", "no"],
    &["-L", "5", "--print-all-matched", "-r"],
    &["-L", "3", "-D", "--print-all-matched", "--usedns", "no"],
    &["-e", "latin1", "--print-all-missed", "--usedns", "no"],
    &["-e", "ascii", "-r"],
    &["-e", "utf-16", "-r"],
    &["--timezone", "UTC", "-o", "<time>", "-r"],
    &["--TZ", "CET+0100", "-r"],
    &["-d", "%Y-%m-%d %H:%M:%S", "-r"],
    &["-d", "{^LN-BEG}", "-o", "<time>", "-r"],
    &["-d", "^{DATE}", "-r"],
    &["-d", "{NONE}", "-r"],
    &["-vv", "--verbose-date", "-r"],
    &["-l", "error", "-r"],
    &["-l", "INFO", "-r"],
    &["-l", "info", "-vv", "-r"],
    &["-l", "info", "-vvv", "-r"],
    &["-t", "-r"],
    &["--log-traceback", "--full-traceback", "--usedns", "no"],
    &["-m", "A=1", "-r"],
    &["-vvvv", "-l", "info", "-r"],
    &["--verbosity", "4", "-r"],
    &["-l", "debug", "-r"],
    &["-l", "tracedebug", "-r"],
    &["-l", "HEAVYDEBUG", "--usedns", "no"],
    &["-l", "heavydebug", "-vv", "-r"],
    &["-l", "heavydebug", "-L", "3", "-r"],
    &["-l", "heavydebug", "--no-check-all", "-r"],
    &["-l", "heavydebug", "-o", "id", "-r"],
    &["-l", "heavydebug", "-d", "{^LN-BEG}", "-r"],
];

/// Filters of the configuration, with their own sample logs.
const FILTERS: &[&str] = &[
    "sshd",
    "sshd[mode=aggressive]",
    "nginx-http-auth",
    "postfix",
    "dovecot",
    "apache-auth",
    "recidive",
    "mysqld-auth",
    "asterisk",
    "exim",
    "vsftpd",
    "proftpd",
    "squid",
    "apache-badbots",
    "sogo-auth",
    "selinux-ssh",
];

/// What stands in place of a log, an expression and maybe another one.
const GIVEN: &[&[&str]] = &[
    &["2005-08-14 11:59:59 x from 192.0.2.1", "from <HOST>$"],
    &["2005-08-14 11:59:59 x from 192.0.2.1", "from <HOST>$", "x"],
    &["a\nb from 192.0.2.1\nc from 192.0.2.2", "<F-USER>\\w</F-USER> from <ADDR>"],
    &["a\nb\nc\nd\ne\nf\ng", "(<HOST>"],
    &["", "from <IP4>"],
    &["/nonexistent/log", "from <HOST>"],
    &["/tmp", "from <HOST>"],
    &["x", "nofilter.conf"],
    &["x", "filter.d/nofilter.conf"],
    &["x", "/nonexistent/filter.conf"],
    &["x", "/tmp"],
    &["x", "sshd[mode=zzz]"],
    &["x", "sshd["],
    &["x", "apache-auth[mode=normal, x=y]"],
    &["x", "filter.d/sshd.conf"],
    &["x", ""],
    &["x", "\\"],
    &["x", "<HOST> <HOST>"],
    &["x", "<HOST>", "("],
    &["x", "<HOST>", ""],
    &["x", "<F-ID/>", "sshd"],
    &["12:00:00 from ::1", "from <HOST>", "-d", "%Q"],
    &["x from ::1", "from <HOST>", "--TZ", "Foo/Bar"],
    &["x from ::1", "from <HOST>", "-L", "-3"],
    &["x from ::1", "from <HOST>", "-c", "/nonexistent"],
    &["x from ::1", "sshd", "-c", "/nonexistent"],
];

fn upstream() -> PathBuf {
    std::env::var_os("F2B_FAIL2BAN_REGEX").map_or_else(|| "/usr/bin/fail2ban-regex".into(), PathBuf::from)
}

fn from_environment(name: &str, default: &str) -> PathBuf {
    std::env::var_os(name).map_or_else(|| default.into(), PathBuf::from)
}

/// Logs of all kinds, made for the purpose.
fn write_logs(dir: &Path) -> Vec<(String, &'static str)> {
    let mut binary: Vec<u8> = (0..=255).cycle().take(5000).collect();
    binary.extend(b"\n2005-08-14 11:59:59 \xff\xfe from 192.0.2.1\n\0\n");
    let many: String = (0..120)
        .map(|i| {
            let text = if i % 2 == 0 { "a" } else { "b" }.repeat(i % 90);
            format!("2005-08-14 11:{:02}:{:02} {text} from 192.0.2.{i}\n", i % 60, i % 50)
        })
        .collect();
    let utf16: Vec<u8> =
        "2005-08-14 11:59:59 é from 192.0.2.1\nx\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let logs: [(&str, &[u8], &str); 7] = [
        ("binary", &binary, "from <HOST>$"),
        ("empty", b"", "from <HOST>$"),
        ("noend", b"2005-08-14 11:59:59 from 192.0.2.1\n2005-08-14 11:59:59 from 192.0.2.2", "from <ADDR>$"),
        (
            "crlf",
            b"2005-08-14 11:59:59 from 192.0.2.1\r\n\r\n# c\r\n2005-08-14 11:59:59 from ::1\r\n",
            "from <ADDR>$",
        ),
        ("many", many.as_bytes(), "^ (?:a*|b{3,40}) from <ADDR>$"),
        (
            "latin",
            b"2005-08-14 11:59:59 \xe9 from 192.0.2.1\n2005-08-14 11:59:59 \xc3\xa9 from 192.0.2.2\n",
            "é from <ADDR>",
        ),
        ("utf16", &utf16, "from <ADDR>$"),
    ];
    logs.iter()
        .map(|(name, bytes, regex)| {
            fs::write(dir.join(name), bytes).unwrap();
            (dir.join(name).to_str().unwrap().to_owned(), *regex)
        })
        .collect()
}

/// Every command line: each log with some of the options, each option with some of the logs.
fn command_lines(dir: &Path, is_old: bool) -> Vec<Vec<String>> {
    let samples = from_environment("F2B_SAMPLES", "/usr/lib/python3/dist-packages/fail2ban/tests/files/logs");
    let config = from_environment("F2B_SAMPLES_CONFIG", "/etc/fail2ban");
    let third = repository().join("tests/third_party");
    let own = [
        "two-lines",
        "login-daemon",
        "ike-sessions",
        "tuples",
        "caddy-json",
        "blog",
        "engine-room",
        "alternatives",
    ];
    let mut logs: Vec<(String, String)> = Vec::new();
    for name in own {
        logs.push((
            third.join(format!("logs/{name}.log")).to_str().unwrap().into(),
            third.join(format!("filter.d/{name}.conf")).to_str().unwrap().into(),
        ));
    }
    logs.extend(write_logs(dir).into_iter().map(|(log, regex)| (log, regex.to_owned())));
    for filter in FILTERS {
        let name = filter.split('[').next().unwrap();
        // A name is that of a jail first, which releases before 1.1 don't try.
        let regex = match is_old {
            true => filter.replacen(name, config.join(format!("filter.d/{name}.conf")).to_str().unwrap(), 1),
            false => (*filter).into(),
        };
        logs.push((samples.join(name).to_str().unwrap().into(), regex));
    }
    let mut lines = Vec::new();
    for (index, (log, regex)) in logs.iter().enumerate() {
        for step in 0..2 {
            let options = OPTIONS[(index * 2 + step * 17 + 3) % OPTIONS.len()];
            lines.push([log.as_str(), regex].iter().chain(options).map(|word| (*word).to_owned()).collect());
        }
    }
    for (index, options) in OPTIONS.iter().enumerate() {
        let (log, regex) = &logs[index % 11];
        lines.push([log.as_str(), regex].iter().chain(*options).map(|word| (*word).to_owned()).collect());
    }
    // What is no file is a line, even if something of that name is there; nobody waits for it.
    let fifo = dir.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let fifo = fifo.to_str().unwrap().to_owned();
    lines.push(vec![fifo.clone(), "from <HOST>".into()]);
    lines.push(vec!["x from ::1".into(), fifo]);
    lines.extend(GIVEN.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect()));
    lines
}

fn run(program: &Path, words: &[String]) -> Output {
    let mut command = Command::new(program);
    if !words.iter().any(|word| word == "-c") {
        command.arg("-c").arg(from_environment("F2B_SAMPLES_CONFIG", "/etc/fail2ban"));
    }
    command.args(words).env("LC_ALL", "C.UTF-8").env("TZ", "Europe/Zurich").stdin(Stdio::null());
    command.output().unwrap()
}

/// A report without times, numbers of processes and threads, and what Python prints of its own stack.
fn comparable(output: &Output, is_old: bool) -> String {
    let report = String::from_utf8_lossy(&output.stdout);
    let report = report.split("\nTraceback (most recent call last)").next().unwrap_or("");
    let mut text = format!("{:?}\n", output.status.code());
    for line in report.lines() {
        // Releases before 1.1 put the name of the filter in other words.
        if line.starts_with("[processed in ") || (is_old && line.contains("filter file : ")) {
            continue;
        }
        // Since 1.1 an address may hold a single colon in more places.
        text += &without_head(line).replace("::?|::){1,7}", "::?|:){1,7}");
        text.push('\n');
    }
    text
}

/// A line without what depends on the moment: a message of the log without its time and process, lines without a date
/// without the time that it is now.
fn without_head(line: &str) -> String {
    let is_now = |word: &str| word.parse::<f64>().is_ok_and(|time| time > 1.7e9 && word.contains('.'));
    // With `-v`: `192.0.2.1  Wed Nov 25 10:00:00 2026`.
    let year = jiff::Zoned::now().strftime(" %Y").to_string();
    let bare = line.trim_end_matches(" (multiple regex matched)");
    if bare.ends_with(&year) && line.starts_with("|      ") {
        return bare.split("  ").filter(|part| !part.ends_with(&year)).collect();
    }
    if line.split(' ').next().is_some_and(is_now) {
        return line.split_once(' ').map_or("now", |(_, rest)| rest).to_owned();
    }
    if let Some(at) = line.find("]: ").filter(|_| line.starts_with("20") && line.contains(" fail2ban.")) {
        let name = line.split(' ').nth(2).unwrap_or("").split('[').next().unwrap_or("");
        return format!("{name}{}", line.get(at..).unwrap_or(""));
    }
    let levels = [" DEBUG ", " INFO  ", " NOTIC ", " WARNI ", " ERROR ", " CRITI ", " TRACE ", " HEAVY "];
    match levels.iter().find_map(|level| line.find(level)).filter(|_| line.starts_with([' '])) {
        Some(at) => line.get(at..).unwrap_or("").to_owned(),
        None => line.to_owned(),
    }
}

/// Whether releases before 1.1 say the same: they have another form of one date template, other words for patterns in
/// messages, no `--invert`, no jails, and end `<F-ID/>` at a slash.
fn is_of_all_releases(words: &[String]) -> bool {
    let other = ["-D", "-v", "-vv", "--verbosity", "-i", "--invert", "-l", "-d", "<HOST> <HOST>"];
    let is_other = |word: &String| {
        other.contains(&word.as_str())
            || word.ends_with("tuples.conf")
            || ["sshd", "apache-auth", "filter.d/"].iter().any(|name| word.starts_with(name))
    };
    !words.iter().any(is_other)
}

#[test]
fn reports_over_logs_filters_and_options_are_upstreams() {
    if !available("fail2ban-regex", upstream().exists()) {
        return;
    }
    let version = Command::new(upstream()).arg("-V").output().unwrap().stdout;
    let is_old = version.starts_with(b"1.0");
    let dir = tempfile::tempdir().unwrap();
    let lines = command_lines(dir.path(), is_old);
    let lines: Vec<_> = lines.into_iter().filter(|words| !is_old || is_of_all_releases(words)).collect();
    assert!(lines.len() >= 60, "{}", lines.len());
    let (next, differences) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(words) = lines.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (ours, theirs) = (run(&binary("f2b-regex"), words), run(&upstream(), words));
                    let (ours, theirs) = (comparable(&ours, is_old), comparable(&theirs, is_old));
                    if ours != theirs {
                        let at = ours.lines().zip(theirs.lines()).find(|(ours, theirs)| ours != theirs);
                        let (ours, theirs) = at.unwrap_or(("", "the rest is missing or too much"));
                        let difference = format!("{words:?}\n  ours   {ours}\n  theirs {theirs}");
                        differences.lock().unwrap().push(difference);
                    }
                }
            });
        }
    });
    let differences = differences.into_inner().unwrap();
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), lines.len(), differences.join("\n"));
}

//! What other programs read of the server: exporters over the socket, monitors and log analysers in the log. The expressions
//! are of the kind that they use.

mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use f2b_protocol::Value;
use f2b_protocol::frame::END;
use f2b_protocol::pickle::{self, Limits};
use fancy_regex::Regex;
use jiff::Zoned;

use support::{Place, Process, available, binary, run, wait_until};

/// A jail that bans after two failures, and writes down what its actions do.
fn place() -> Place {
    let place = Place::new();
    let dir = place.path().display();
    place.write("filter.d/login.conf", "[Definition]\nfailregex = ^ ?fail from <HOST>$\n");
    place.write("action.d/note.conf", &format!("[Definition]\nactionban = echo <ip> >> {dir}/<name>.bans\n"));
    place.write(
        "jail.conf",
        &format!(
            "[j]\nenabled = true\nbackend = polling\nusedns = no\nignoreself = false\nmaxretry = 2\nbantime = 1h\n\
             findtime = 10m\nfilter = login\naction = note[name=j]\nlogpath = {dir}/j.log\n"
        ),
    );
    place.write("j.log", "");
    place
}

fn fail(place: &Place, ip: &str, times: usize) {
    fail_since(place, ip, times, 0);
}

/// Failures that came so many seconds ago.
fn fail_since(place: &Place, ip: &str, times: usize, seconds: i64) {
    let now = Zoned::now().saturating_sub(jiff::SignedDuration::from_secs(seconds));
    let now = now.strftime("%Y-%m-%d %H:%M:%S").to_string();
    place.append("j.log", &format!("{now} fail from {ip}\n").repeat(times));
}

/// A pickle as Go's library writes it: protocol 2, a list from a mark on, texts as bytes with their length.
fn from_go(words: &[&str]) -> Vec<u8> {
    let mut frame = b"\x80\x02(".to_vec();
    for word in words {
        frame.push(b'U');
        frame.push(u8::try_from(word.len()).expect("a short word"));
        frame.extend(word.as_bytes());
    }
    frame.extend(b"l.");
    frame.extend(END);
    frame
}

#[test]
fn the_exporter_of_prometheus_is_answered() {
    let place = place();
    let _server = place.start();
    place.ask(&["set", "j", "banip", "192.0.2.1"]);
    let mut stream = UnixStream::connect(place.file("f2b.sock")).expect("the socket");
    let mut ask = |words: &[&str], piece: usize| {
        for piece in from_go(words).chunks(piece) {
            stream.write_all(piece).expect("a write");
        }
        let mut reply = Vec::new();
        while !reply.ends_with(END) {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).expect("a reply");
            assert!(count > 0, "the server has hung up at {words:?}");
            reply.extend_from_slice(&chunk[..count]);
        }
        reply.truncate(reply.len() - END.len());
        pickle::decode(&reply, &Limits::default()).expect("a pickle").to_string()
    };
    for piece in [1, 7, 1000] {
        assert_eq!(ask(&["ping", "100"], piece), "(0, 'pong')");
        assert_eq!(ask(&["status"], piece), "(0, [('Number of jail', 1), ('Jail list', 'j')])");
        let log = Value::from(place.file("j.log").display().to_string());
        let filter =
            format!("('Filter', [('Currently failed', 0), ('Total failed', 0), ('File list', [{log}])])");
        let actions =
            "('Actions', [('Currently banned', 1), ('Total banned', 1), ('Banned IP list', ['192.0.2.1'])])";
        assert_eq!(ask(&["status", "j"], piece), format!("(0, [{filter}, {actions}])"));
        assert!(ask(&["version"], piece).starts_with("(0, '1.1.1"));
        assert_eq!(ask(&["get", "j", "bantime"], piece), "(0, 3600)");
        assert_eq!(ask(&["get", "j", "findtime"], piece), "(0, 600)");
        assert_eq!(ask(&["get", "j", "maxretry"], piece), "(0, 2)");
    }
}

/// Everything that happens to an address, in a log of the server that the command starts.
fn log_of(start: impl Fn(&Place) -> Process) -> String {
    let place = place();
    let mut server = start(&place);
    // To be banned already is news after a few seconds.
    fail_since(&place, "198.51.100.1", 2, 10);
    place.wait_for_log("[j] Ban 198.51.100.1");
    place.ask(&["set", "j", "banip", "2001:db8::1"]);
    place.wait_for_log("[j] Ban 2001:db8::1");
    fail(&place, "198.51.100.1", 2);
    place.wait_for_log("already banned");
    place.ask(&["set", "j", "unbanip", "2001:db8::1"]);
    place.ask(&["stop"]);
    server.0.wait().expect("an end");
    let length = place.log().len();
    let mut server = start(&place);
    wait_until("the ban is restored", || place.log()[length..].contains("] Restore Ban 198.51.100.1"));
    place.ask(&["stop"]);
    server.0.wait().expect("an end");
    place.log()
}

/// A search in lines, and what it finds, joined.
fn found(log: &str, expression: &str) -> Vec<String> {
    let regex = Regex::new(expression).expect("an expression");
    let line = |line: &str| {
        let groups = regex.captures(line).expect("an answer")?;
        let groups: Vec<&str> =
            groups.iter().skip(1).map(|group| group.map_or("", |group| group.as_str())).collect();
        Some(groups.join(" "))
    };
    log.lines().filter_map(line).collect()
}

/// How home automation, log analysers, log shippers and nagging monitors look for bans, each with what they find.
const EXPRESSIONS: &[(&str, &[&str])] = &[
    // The last event of a jail decides who is banned.
    (r"\[j\] *(Ban|Unban) (\S+)$", &["Ban 198.51.100.1", "Ban 2001:db8::1", "Unban 2001:db8::1"]),
    // Date, module, level, jail, event.
    (
        r"^[-\d]+ [:\d]+,\d+ fail2ban\.(\w+)\s*\[\d+\]:\s*(\w+)\s*\[(\w+)\]\s(Found|Ban|Unban|Restore Ban|Repeal Ban) ([\w.:]+)",
        &[
            "filter INFO j Found 198.51.100.1",
            "filter INFO j Found 198.51.100.1",
            "actions NOTICE j Ban 198.51.100.1",
            "actions NOTICE j Ban 2001:db8::1",
            "filter INFO j Found 198.51.100.1",
            "filter INFO j Found 198.51.100.1",
            "actions NOTICE j Unban 2001:db8::1",
            "actions NOTICE j Repeal Ban 198.51.100.1",
            "actions NOTICE j Restore Ban 198.51.100.1",
            "actions NOTICE j Repeal Ban 198.51.100.1",
        ],
    ),
    (r"fail2ban\.actions\s+\[\d+\]: \w+\s+\[(\w+)\] (\S+) already banned", &["j 198.51.100.1"]),
    // Daily reports count starts and stops.
    (
        r"fail2ban\.jail +\[\d+\]: INFO +Jail '(\w+)' (started|stopped)",
        &["j started", "j stopped", "j started", "j stopped"],
    ),
    (
        r"fail2ban\.server +\[\d+\]: INFO +(Starting Fail2ban v|Exiting Fail2ban)",
        &["Starting Fail2ban v", "Exiting Fail2ban", "Starting Fail2ban v", "Exiting Fail2ban"],
    ),
];

#[test]
fn expressions_for_the_log_find_what_happened() {
    let ours = log_of(Place::start);
    for (expression, expected) in EXPRESSIONS {
        assert_eq!(found(&ours, expression), *expected, "{expression} in\n{ours}");
    }
    let Some(version) = upstream::version() else { return };
    let theirs = log_of(upstream::start);
    for (expression, expected) in EXPRESSIONS {
        // In 1.0 bans that come back end with the word of those that don't.
        if !(version.starts_with("1.0")
            && expected.iter().any(|text| text.starts_with("Unban") || text.contains("Repeal")))
        {
            assert_eq!(found(&theirs, expression), *expected, "{expression} in\n{theirs}");
        }
    }
}

#[test]
fn the_stock_filter_for_repeated_bans_finds_them() {
    let stock = Path::new("/etc/fail2ban/filter.d");
    if !available("fail2ban's stock configuration", stock.join("recidive.conf").is_file()) {
        return;
    }
    let place = place();
    for name in ["recidive.conf", "common.conf"] {
        fs::copy(stock.join(name), place.file(&format!("filter.d/{name}"))).expect("a copy");
    }
    let dir = place.path().display();
    place.append(
        "jail.conf",
        &format!(
            "[recidive]\nenabled = true\nbackend = polling\nfilter = recidive\nlogpath = {dir}/f2b.log\n\
             maxretry = 2\nbantime = 1d\nfindtime = 1h\nignoreself = false\naction = note[name=recidive]\n"
        ),
    );
    place.write("f2b.log", "");
    let server = place.start();
    for _ in 0..2 {
        fail(&place, "198.51.100.1", 2);
        wait_until("the ban", || place.ask(&["get", "j", "banip"]).contains("198.51.100.1"));
        place.ask(&["set", "j", "unbanip", "198.51.100.1"]);
    }
    wait_until("the ban for bans", || place.read("recidive.bans").contains("198.51.100.1"));
    assert!(place.ask(&["get", "recidive", "banip"]).contains("198.51.100.1"));
    place.ask(&["stop"]);
    drop(server);
    // And upstream's program that tries filters on logs.
    let bans = found(&place.log(), r"\[j\] (Ban) ").len();
    let counted = |program: &Path| {
        let log = place.file("f2b.log");
        let mut command = Command::new(program);
        command.arg("--usedns=no").arg(log).arg(stock.join("recidive.conf")).stdin(Stdio::null());
        let told = run(&mut command);
        found(&told, r"(\d+) matched").first().and_then(|number| number.parse::<usize>().ok())
    };
    assert_eq!(counted(&binary("f2b-regex")), Some(bans));
    assert_eq!(counted(Path::new("/usr/bin/fail2ban-regex")), Some(bans));
}

/// What checks from cron and monitors read of the client's output.
#[test]
fn expressions_for_the_status_find_jails_and_numbers() {
    let place = place();
    let _server = place.start();
    place.ask(&["set", "j", "banip", "192.0.2.1", "192.0.2.2"]);
    let told = |words: &[&str], expression: &str| found(&place.ask(words), expression).join("; ");
    assert_eq!(told(&["ping"], "^Server replied: (pong)$"), "pong");
    assert_eq!(told(&["status"], r"Number of jail:\s+(\d+)$"), "1");
    assert_eq!(told(&["status"], r"Jail list:\s+(.+)$"), "j");
    assert_eq!(told(&["status", "j"], r"Currently (failed|banned):\s+(\d+)$"), "failed 0; banned 2");
    assert_eq!(told(&["status", "j"], r"Total (failed|banned):\s+(\d+)$"), "failed 0; banned 2");
    assert_eq!(told(&["status", "j"], r"Banned IP list:\s+(.*)$"), "192.0.2.1 192.0.2.2");
}

//! `logformat`, which fail2ban has not: logs in JSON, of which the expressions see the messages, and the time of an entry
//! counts. What fail2ban finds in the messages by themselves has to be found in the entries.

mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::fs;
use std::process::Command;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;
use support::{Place, Process, binary, both, run, wait_until};

/// So many seconds before `now`, in a format.
fn time(now: Timestamp, ago: i64, format: &str) -> String {
    let time = Timestamp::from_second(now.as_second() - ago).expect("a time").to_zoned(TimeZone::UTC);
    time.strftime(format).to_string()
}

/// A line of Docker's log.
fn docker(log: &str, stream: &str, time: &str) -> String {
    format!("{}\n", json!({"log": log, "stream": stream, "time": time}))
}

/// A jail `j` with more options.
fn configure(place: &Place, options: &str) {
    place.write(
        "filter.d/f1.conf",
        "[Definition]\nfailregex = ^ ?fail \"?<ADDR>\"?$\n            ^<ADDR> - - \\[\\] \"GET /secret\"$\n",
    );
    place.write("action.d/note.conf", "[Definition]\nactionban = true\n");
    place.write(
        "jail.conf",
        &format!(
            "[j]\nenabled = true\nbackend = polling\nfilter = f1\naction = note\nusedns = no\nmaxretry = 2\n\
             findtime = 1h\nbantime = 1h\nignoreself = false\nlogpath = {}/j.log\n{options}",
            place.path().display()
        ),
    );
}

/// What the log says of failures and bans, sorted, from the name of the jail on.
fn results(place: &Place) -> Vec<String> {
    let log = place.log();
    let is_result = |line: &&str| line.contains("[j] Found ") || line.contains("[j] Ban ");
    let mut lines: Vec<String> =
        log.lines().filter(is_result).filter_map(|line| Some(line.split_once("[j]")?.1.to_owned())).collect();
    lines.sort();
    lines
}

#[test]
fn what_upstream_finds_in_messages_is_found_in_entries() {
    if upstream::version().is_none() {
        return;
    }
    let now = Timestamp::now();
    let (theirs, ours) = (Place::new(), Place::new());
    configure(&theirs, "");
    configure(&ours, "logformat = docker-json\n");
    let (mut plain, mut entries) = (String::new(), String::new());
    for n in 0..200 {
        let ago = 7200 - 36 * n;
        let address = format!("198.51.100.{}", n % 23);
        let message = match n % 4 {
            0 => format!("{} fail {address}", time(now, ago, "%Y-%m-%d %H:%M:%S")),
            1 => {
                format!("{address} - - [{}] \"GET /secret\"", time(now, ago, "%d/%b/%Y:%H:%M:%S +0000"))
            }
            2 => {
                format!("{} fail \"{address}\"\t", time(now, ago, "%Y-%m-%dT%H:%M:%SZ")).trim_end().to_owned()
            }
            _ => format!("{} fine \\ {address} é\u{1f600}", time(now, ago, "%Y-%m-%d %H:%M:%S")),
        };
        plain.push_str(&format!("{message}\n"));
        // Every tenth one in parts, with something of the other stream in between.
        let stamp = time(now, ago, "%Y-%m-%dT%H:%M:%S.000000000Z");
        let (first, second) = message.split_at(if n % 10 == 0 { 9 } else { 0 });
        if !first.is_empty() {
            entries.push_str(&docker(first, "stdout", &stamp));
            entries.push_str(&docker("something else\n", "stderr", &stamp));
        }
        entries.push_str(&docker(&format!("{second}\n"), "stdout", &stamp));
    }
    theirs.write("j.log", &plain);
    ours.write("j.log", &entries);
    let _ours = ours.spawn(ours.server().env("TZ", "UTC"));
    let _theirs = upstream::start(&theirs);
    let count = |place: &Place| results(place).len();
    wait_until("upstream has found them", || count(&theirs) > 50);
    std::thread::sleep(std::time::Duration::from_secs(2));
    wait_until("ours has found as many", || count(&ours) >= count(&theirs));
    assert_eq!(results(&ours), results(&theirs), "{}", ours.log());
}

#[test]
fn the_time_of_an_entry_counts() {
    let now = Timestamp::now();
    let place = Place::new();
    configure(&place, "logformat = json[message=log.msg, time=ts]\n");
    let entry = |ago: i64, address: &str| {
        let ts = (now.as_second() - ago) * 1000;
        format!("{}\n", json!({"ts": ts, "level": "info", "log": {"msg": format!("fail {address}")}}))
    };
    // Too old, which no date in the message says.
    place
        .write("j.log", &[entry(7200, "192.0.2.1"), entry(90, "192.0.2.2"), entry(60, "192.0.2.3")].concat());
    let _server = place.spawn(place.server().env("TZ", "UTC"));
    place.wait_for_log("[j] Found 192.0.2.3");
    let expected = [(90, 2), (60, 3)]
        .map(|(ago, n)| format!(" Found 192.0.2.{n} - {}", time(now, ago, "%Y-%m-%d %H:%M:%S")));
    assert_eq!(results(&place), expected);
}

#[test]
fn a_message_whose_rest_is_missing_survives_a_restart() {
    let now = time(Timestamp::now(), 0, "%Y-%m-%dT%H:%M:%S.5Z");
    let place = Place::new();
    configure(&place, "logformat = docker-json\n");
    place.write("j.log", &docker("fail 192.0.2.1\n", "stdout", &now));
    let mut server = place.start();
    place.wait_for_log("[j] Found 192.0.2.1");
    place.append("j.log", &docker("fail 192.0", "stdout", &now));
    std::thread::sleep(std::time::Duration::from_millis(500));
    run(&mut place.client(binary("f2b-client"), &["stop"]));
    server.0.wait().expect("the server ends");
    place.append("j.log", &docker(".2.2\n", "stdout", &now));
    let _server = place.start();
    place.wait_for_log("[j] Found 192.0.2.2");
    assert_eq!(results(&place).len(), 2, "{}", place.log());
}

/// Stops the server, has something happen, and starts it again.
fn restart(place: &Place, mut server: Process, meanwhile: impl FnOnce()) -> Process {
    run(&mut place.client(binary("f2b-client"), &["stop"]));
    server.0.wait().expect("the server ends");
    meanwhile();
    place.start()
}

fn found(place: &Place) -> Vec<String> {
    let lines = results(place);
    lines.iter().filter_map(|line| line.split(' ').nth(2).map(String::from)).collect()
}

#[test]
fn a_message_that_goes_on_behind_a_rotation_survives_a_restart() {
    let now = time(Timestamp::now(), 0, "%Y-%m-%dT%H:%M:%S.5Z");
    for is_known in [true, false] {
        let place = Place::new();
        configure(&place, "logformat = docker-json\n");
        place.write("j.log", &docker("fail 192.0.2.1\n", "stdout", &now));
        let server = place.start();
        place.wait_for_log("[j] Found 192.0.2.1");
        place.append("j.log", &docker("fail 192.0", "stdout", &now));
        place.append("j.log", &docker("fail 192.0.2.3\n", "stderr", &now));
        place.wait_for_log("[j] Found 192.0.2.3");
        let rotate = || {
            fs::rename(place.file("j.log"), place.file("j.log.1")).expect("a rotation");
            place.append("j.log", &docker("fail 192.0.2.4\n", "stderr", &now));
        };
        // With the server or without it.
        if is_known {
            rotate();
            place.wait_for_log("[j] Found 192.0.2.4");
        }
        let _server = restart(&place, server, || {
            if !is_known {
                rotate();
            }
            place.append("j.log", &docker(".2.2\n", "stdout", &now));
            place.append("j.log", &docker("fail 192.0.2.5\n", "stdout", &now));
        });
        place.wait_for_log("[j] Found 192.0.2.5");
        assert_eq!(found(&place), [1, 2, 3, 4, 5].map(|n| format!("192.0.2.{n}")), "{}", place.log());
    }
}

#[test]
fn a_message_that_never_ends_has_nothing_read_again() {
    let now = time(Timestamp::now(), 0, "%Y-%m-%dT%H:%M:%S.5Z");
    let place = Place::new();
    configure(&place, "logformat = docker-json\n");
    let first = [docker("no end", "stdout", &now), docker("fail 192.0.2.1\n", "stderr", &now)].concat();
    place.write("j.log", &first);
    let server = place.start();
    place.wait_for_log("[j] Found 192.0.2.1");
    let server = restart(&place, server, || {
        place.append("j.log", &docker("fail 192.0.2.2\n", "stderr", &now));
    });
    place.wait_for_log("[j] Found 192.0.2.2");
    let _server = restart(&place, server, || {
        // It goes on, far behind where it began, and is no failure.
        place.append("j.log", &docker("fail 192.0.2.9\n", "stdout", &now));
        place.append("j.log", &docker("fail 192.0.2.3\n", "stdout", &now));
    });
    place.wait_for_log("[j] Found 192.0.2.3");
    assert_eq!(found(&place), [1, 2, 3].map(|n| format!("192.0.2.{n}")), "{}", place.log());
}

/// What somebody has sent is no message because reading begins in the middle of it.
#[test]
fn reading_that_begins_in_a_message_does_not_take_its_rest_for_one() {
    let now = time(Timestamp::now(), 0, "%Y-%m-%dT%H:%M:%S.5Z");
    let place = Place::new();
    configure(&place, "logformat = docker-json\n");
    let jails = place.read("jail.conf").replace("j.log", "j.log tail");
    place.write("jail.conf", &jails);
    place.write("j.log", &docker(&format!("sent: {}", "x".repeat(16_000)), "stdout", &now));
    let _server = place.start();
    place.append("j.log", &docker("fail 192.0.2.9\n", "stdout", &now));
    place.append("j.log", &docker("fail 192.0.2.1\n", "stdout", &now));
    place.wait_for_log("[j] Found 192.0.2.1");
    assert_eq!(found(&place), ["192.0.2.1"], "{}", place.log());
}

#[test]
fn what_is_no_entry_is_left_out_with_one_warning() {
    let now = time(Timestamp::now(), 0, "%Y-%m-%dT%H:%M:%SZ");
    let place = Place::new();
    configure(&place, "logformat = docker-json\n");
    place.write("j.log", "");
    let _server = place.start();
    let deep = format!("{{\"x\":{}{}", "[".repeat(400_000), "{\"log\":\"fail 192.0.2.9\\n\"}");
    let long = format!("{{\"log\":\"{}\n", "fail 192.0.2.9 ".repeat(200_000));
    let mut log =
        b"fail 192.0.2.9\n{\"message\":\"fail 192.0.2.9\"}\n{\"log\":[\"fail 192.0.2.9\\n\"]}\n".to_vec();
    log.extend(deep.bytes().chain(*b"\n").chain(long.bytes()).chain(*b"\xff\xfe{}\n\0\n"));
    log.extend(b"{\"log\":\"fail 192.0.2.8\\n\",\"log\":\"\xff\xfe\\n\",\"time\":{}}\n");
    log.extend(docker("fail 192.0.2.1\n", "stdout", &now).into_bytes());
    use std::io::Write;
    let file = fs::File::options().append(true).open(place.file("j.log"));
    file.expect("the log").write_all(&log).expect("a write");
    place.wait_for_log("[j] Found 192.0.2.1");
    let warning = format!(
        "A line of '{}' is no entry of the logformat docker-json and is left out, as every such line is: \
         'fail 192.0.2.9'",
        place.file("j.log").display()
    );
    assert_eq!(place.log().matches(&warning).count(), 1, "{}", place.log());
    assert_eq!(place.log().matches("is no entry").count(), 1, "{}", place.log());
    assert_eq!(results(&place).len(), 1, "{}", place.log());
}

#[test]
fn the_option_is_told_set_and_checked() {
    let place = Place::new();
    configure(&place, "");
    place.write("j.log", "");
    let dump = |place: &Place| run(place.client(binary("f2b-client"), &["-d"]).env("TZ", "UTC"));
    let without = dump(&place);
    assert!(!without.contains("logformat"), "{without}");
    let server = place.start();
    assert_eq!(place.ask(&["get", "j", "logformat"]).trim(), "None");
    assert_eq!(place.ask(&["set", "j", "logformat", "docker-json"]).trim(), "docker-json");
    let format = "json[message=\"log.msg\", time=\"ts\"]";
    assert_eq!(place.ask(&["set", "j", "logformat", "json[message=log.msg,time='ts']"]).trim(), format);
    assert_eq!(place.ask(&["get", "j", "logformat"]).trim(), format);
    let output = place.client(binary("f2b-client"), &["set", "j", "logformat", "xml"]).output();
    let output = output.expect("the client starts");
    assert_eq!(output.status.code(), Some(255));
    assert!(both(&output).contains("'xml' is no logformat; write docker-json or json["), "{}", both(&output));
    assert_eq!(place.ask(&["set", "j", "logformat", ""]).trim(), "None");
    // A reload makes it what the configuration says.
    configure(&place, "logformat = docker-json\n");
    run(&mut place.client(binary("f2b-client"), &["reload"]));
    assert_eq!(place.ask(&["get", "j", "logformat"]).trim(), "docker-json");
    configure(&place, "");
    run(&mut place.client(binary("f2b-client"), &["reload"]));
    assert_eq!(place.ask(&["get", "j", "logformat"]).trim(), "None");
    drop(server);
    configure(&place, "logformat = docker-json\n");
    let with = dump(&place);
    let lines: Vec<_> = with.lines().filter(|line| !line.contains("'logformat'")).collect();
    assert_eq!(lines, without.lines().collect::<Vec<_>>());
    assert!(with.contains("['set', 'j', 'logformat', 'docker-json']"), "{with}");
    configure(&place, "logformat = json[msg=log]\n");
    let output = place.client(binary("f2b-client"), &["--test"]).output().expect("the client starts");
    let text = both(&output);
    assert_eq!(output.status.code(), Some(255), "{text}");
    assert!(text.contains("jail.conf:12:13: error: "), "{text}");
    assert!(text.contains("the logformat json has no option 'msg', only message and time"), "{text}");
}

#[test]
fn lines_are_tried_as_a_jail_reads_them() {
    let place = Place::new();
    let log = [
        docker("2005-08-14 11:59:59 from 192.0.2.1\n", "stdout", "2005-08-14T10:00:00.5Z"),
        docker("from 192.", "stdout", "2005-08-14T10:00:01Z"),
        docker("0.2.2\n", "stdout", "2005-08-14T10:00:01.25Z"),
        docker("nothing\n", "stdout", "2005-08-14T10:00:01Z"),
        "from 192.0.2.3\n".into(),
    ]
    .concat();
    place.write("log", &log);
    let path = place.file("log").display().to_string();
    let regex = |words: &[&str]| run(Command::new(binary("f2b-regex")).args(words).env("TZ", "UTC"));
    let format = "--logformat=docker-json";
    assert_eq!(
        regex(&[&path, "^ ?from <ADDR>$", format, "-o", "<ip> <time>"]),
        "192.0.2.1 1124013600.5\n192.0.2.2 1124013601.25\n"
    );
    let report = regex(&[&path, "^ ?from <ADDR>$", "--logformat", "docker-json", "--explain"]);
    assert!(report.contains("Use        logformat : docker-json\n"), "{report}");
    assert!(report.contains("Lines: 4 lines, 0 ignored, 2 matched, 2 missed"), "{report}");
    assert!(report.contains("no entry of the logformat docker-json"), "{report}");
    let line = r#"{"m":"from 192.0.2.4","t":"2005-08-14T10:00:00"}"#;
    let found = regex(&[
        line,
        "^from <ADDR>$",
        "--logformat=json[message=m, time=t]",
        "--TZ=UTC+0200",
        "-o",
        "<ip> <time>",
    ]);
    assert_eq!(found, "192.0.2.4 1124006400.0\n");
    let wrong = |words: &[&str]| Command::new(binary("f2b-regex")).args(words).output().expect("it runs");
    let output = wrong(&[line, "x <ADDR>", "--logformat=xml"]);
    assert_eq!(output.status.code(), Some(255));
    assert!(both(&output).contains("'xml' is no logformat"), "{}", both(&output));
    let output = wrong(&[line, "x <ADDR>", "--logformat"]);
    assert_eq!(output.status.code(), Some(2));
}

//! Whole lines through whole filters, against upstream's `Filter.processLine`: lines that Python writes from the
//! expressions of a filter, right, spoilt and hostile, and what both find in them: expressions, ids, times, every field,
//! in order.
//!
//! `F2B_SEED` makes up other lines, `F2B_CONFIG` names another configuration than `/etc/fail2ban`, and `PYTHONPATH`
//! another fail2ban.

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use f2b_filter::{Clock, Field, Filter, Found, LineContext, UseDns, Who};
use f2b_types::{Number, Time};
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};
use support::filters::{read_filter, read_filter_with_dns};
use support::{available, repository};

const ORACLE: &str = include_str!("support/filter_lines.py");

/// 2005-08-14 10:00:00 UTC
const NOW: f64 = 1_124_013_600.0;

/// A filter to try, with lines that somebody wrote.
struct Request {
    name: String,
    options: Vec<(String, String)>,
    mode: &'static str,
    use_dns: &'static str,
    lines: Vec<String>,
}

/// The addresses of the host names that lines are made of.
const HOSTS: &[(&str, &[&str])] =
    &[("host.example.com", &["192.0.2.33"]), ("a-b.example", &["192.0.2.34", "2001:db8::34"]), ("x", &[])];

/// In what order requests treat host names.
const USE_DNS: [&str; 4] = ["raw", "no", "yes", "warn"];

fn seed() -> u64 {
    std::env::var("F2B_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// What upstream says to each request; `None` where it isn't there.
fn upstream(config: &Path, requests: &[Request], wanted: usize) -> Option<Vec<Json>> {
    let library = Path::new("/usr/lib/python3/dist-packages/fail2ban");
    if !available("fail2ban's library", library.exists() || std::env::var_os("PYTHONPATH").is_some()) {
        return None;
    }
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", ORACLE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = String::new();
    for request in requests {
        let Request { name, options, mode, use_dns, lines } = request;
        let options: serde_json::Map<String, Json> =
            options.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        let request = json!({
            "config": config, "name": name, "options": options, "mode": mode, "lines": lines,
            "usedns": use_dns, "hosts": HOSTS.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
            "seed": seed(), "wanted": wanted,
        });
        input += &format!("{request}\n");
    }
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn process(filter: &mut Filter, line: &str, mode: &str) -> Json {
    let clock = Clock::new(Time(NOW), TimeZone::get("Europe/Zurich").unwrap());
    let server = mode == "server";
    let context = LineContext { clock: &clock, in_operation: server, check_find_time: server };
    match filter.process_line(line, &context) {
        Err(error) => error.to_string().into(),
        Ok(found) => {
            let mut found: Vec<Json> = found.iter().flat_map(each_found_json).collect();
            // The addresses of a name have no order.
            if filter.use_dns() != UseDns::Raw {
                found.sort_by_key(|found| (found[0].as_u64(), found[1].as_str().map(String::from)));
            }
            found.into()
        }
    }
}

/// One for each address of a host.
fn each_found_json(found: &Found) -> Vec<Json> {
    match &found.who {
        Some(Who::Id(id)) => vec![found_json(found, id.to_string().into())],
        Some(Who::Host(host)) => {
            let known = HOSTS.iter().find(|(name, _)| name == host).map_or(&[][..], |(_, ids)| ids);
            known.iter().map(|id| found_json(found, (*id).into())).collect()
        }
        None => vec![found_json(found, Json::Null)],
    }
}

fn found_json(found: &Found, who: Json) -> Json {
    let time = match found.time {
        Some(Number::Int(seconds)) => seconds.into(),
        Some(Number::Float(seconds)) => seconds.into(),
        None => Json::Null,
    };
    let fields: serde_json::Map<String, Json> = found
        .fields
        .iter()
        .filter(|(_, value)| **value != Field::None)
        .map(|(name, value)| (name.to_owned(), field_json(value)))
        .collect();
    json!([found.regex, who, time, fields])
}

fn field_json(field: &Field) -> Json {
    match field {
        Field::None => Json::Null,
        Field::Text(text) => text.to_string().into(),
        Field::Flag => 1.into(),
        Field::Tuple(parts) => parts.iter().map(|part| part.as_deref()).collect(),
        Field::Users(users) => {
            let mut users: Vec<Json> = users.iter().map(field_json).collect();
            users.sort_by_key(Json::to_string);
            users.into()
        }
        Field::Lines(lines) => lines.iter().map(|line| line.to_vec()).collect(),
        Field::Ip(id) => id.to_string().into(),
    }
}

/// Runs all requests through both; answers with the differences, and how many lines were compared and how many of them
/// found something.
fn compare(config: &Path, requests: &[Request], wanted: usize) -> Option<(Vec<String>, usize, usize)> {
    let answers = upstream(config, requests, wanted)?;
    assert_eq!(answers.len(), requests.len());
    let (mut differences, mut compared, mut hits) = (Vec::new(), 0, 0);
    for (request, answer) in requests.iter().zip(&answers) {
        let about = format!("{}{:?} ({}, {})", request.name, request.options, request.mode, request.use_dns);
        let mut filter = match (
            read_filter_with_dns(config, &request.name, &request.options, request.use_dns),
            answer.get("error"),
        ) {
            (Ok(filter), None) => filter,
            (Err(_), Some(_)) => continue,
            (Ok(_), Some(error)) => {
                differences.push(format!("{about}: read, upstream says {error}"));
                continue;
            }
            (Err(error), None) => {
                differences.push(format!("{about}: {error}"));
                continue;
            }
        };
        filter.set_check_all(request.mode == "regex");
        let lines = answer["lines"].as_array().unwrap();
        for (line, theirs) in lines.iter().zip(answer["found"].as_array().unwrap()) {
            let line = line.as_str().unwrap();
            let ours = process(&mut filter, line, request.mode);
            compared += 1;
            hits += usize::from(theirs.as_array().is_some_and(|found| !found.is_empty()));
            // It stumbles over an empty date in an empty line.
            if ours != *theirs && *theirs != "IndexError('string index out of range')" {
                differences.push(format!("{about} on {line:?}\n  ours     {ours}\n  upstream {theirs}"));
                break;
            }
        }
    }
    Some((differences, compared, hits))
}

/// The names of the filters of a configuration, without the parts that others include.
fn filters_of(config: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(config.join("filter.d"))
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".conf")?.to_owned()))
        .filter(|name| !name.ends_with("common"))
        .collect();
    names.sort();
    names
}

fn report((differences, compared, hits): (Vec<String>, usize, usize)) -> usize {
    let _ = writeln!(std::io::stderr(), "{compared} lines compared, {hits} of them with failures");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    hits
}

#[test]
fn lines_made_of_the_stock_filters_are_found_as_upstream_finds_them() {
    let config = std::env::var_os("F2B_CONFIG").map_or_else(|| "/etc/fail2ban".into(), PathBuf::from);
    if !available("fail2ban's filters", config.join("filter.d").exists()) {
        return;
    }
    let next = std::cell::Cell::new(seed() as usize);
    let request = |name: &str, options: &[(&str, &str)], mode| {
        next.set(next.get() + 1);
        Request {
            name: name.into(),
            options: options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            mode,
            use_dns: USE_DNS[next.get() / 2 % USE_DNS.len()],
            lines: Vec::new(),
        }
    };
    let mut requests = Vec::new();
    for (index, name) in filters_of(&config).iter().enumerate() {
        requests.push(request(
            name,
            &[],
            if (index as u64 + seed()).is_multiple_of(2) { "regex" } else { "server" },
        ));
    }
    for (name, option, values) in [
        ("sshd", "mode", &["normal", "ddos", "extra", "aggressive"][..]),
        ("postfix", "mode", &["more", "auth", "rbl", "ddos", "extra", "aggressive", "errors"]),
        ("dovecot", "mode", &["aggressive"]),
        ("exim", "mode", &["aggressive"]),
        ("sendmail-reject", "mode", &["extra", "aggressive"]),
        ("nginx-http-auth", "mode", &["aggressive", "fallback"]),
        ("apache-auth", "mode", &["aggressive"]),
        ("roundcube-auth", "logtype", &["journal"]),
    ] {
        for value in values {
            requests.push(request(name, &[(option, value)], "server"));
            requests.push(request(name, &[(option, value)], "regex"));
        }
    }
    if let Some(result) = compare(&config, &requests, 24) {
        assert!(report(result) > 1000);
    }
}

/// The lines of the log that belongs to a filter of a third party.
fn log_of(config: &Path, name: &str) -> Vec<String> {
    let log = std::fs::read_to_string(config.join("logs").join(name).with_extension("log"));
    log.unwrap_or_default().lines().map(Into::into).collect()
}

/// Needs no fail2ban: the ids in each log are those that `expected` lists.
#[test]
fn logs_of_third_parties_hold_the_expected_failures() {
    let config = repository().join("tests/third_party");
    let mut found = String::new();
    for name in filters_of(&config) {
        let Ok(mut filter) = read_filter(&config, &name, &[]) else {
            found += &format!("{name} is refused\n");
            continue;
        };
        filter.set_check_all(true);
        let lines = log_of(&config, &name);
        let mut ids = Vec::new();
        for line in &lines {
            let failures = process(&mut filter, line, "regex");
            for failure in failures.as_array().unwrap() {
                let no_failure = failure[3].get("nofail").is_some();
                ids.push(format!(
                    "{}{}",
                    if no_failure { "~" } else { "" },
                    failure[1].as_str().unwrap_or("-")
                ));
            }
        }
        if !lines.is_empty() {
            found += &format!("{name}: {}\n", ids.join(" "));
        }
    }
    let expected = std::fs::read_to_string(config.join("expected")).unwrap();
    assert_eq!(found, expected);
}

/// Filters as people publish them, with a log for each: its lines, and others made of the expressions.
#[test]
fn filters_of_third_parties_find_what_they_find_upstream() {
    let config = repository().join("tests/third_party");
    let mut requests = Vec::new();
    for name in filters_of(&config) {
        let lines = log_of(&config, &name);
        for mode in ["regex", "server"] {
            for use_dns in [USE_DNS[0], USE_DNS[1 + requests.len() % 3]] {
                let (name, lines) = (name.clone(), lines.clone());
                requests.push(Request { name, options: Vec::new(), mode, use_dns, lines });
            }
        }
    }
    assert!(requests.len() >= 60);
    if let Some(result) = compare(&config, &requests, 24) {
        assert!(report(result) > 1000);
    }
}

//! `f2b-regex` and the filter against upstream: reports compared with those of the installed `fail2ban-regex`, and
//! upstream's annotated sample logs.
//!
//! `F2B_FAIL2BAN_REGEX` names another `fail2ban-regex` to compare with, `F2B_SAMPLES` and `F2B_SAMPLES_CONFIG` another
//! directory of sample logs and of the configuration they belong to.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use f2b_filter::{Clock, Field, Filter, Found, LineContext, Who};
use f2b_types::{Id, Number, Time};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value as Json;
use support::filters::read_filter;
use support::{available, binary, both, repository};

/// Runs `f2b-regex`; answers with its exit status and everything it printed.
fn ours(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(binary("f2b-regex")).args(args).output().unwrap();
    (output.status.code(), both(&output))
}

fn upstream() -> PathBuf {
    std::env::var_os("F2B_FAIL2BAN_REGEX").map_or_else(|| "/usr/bin/fail2ban-regex".into(), PathBuf::from)
}

/// Whether to compare with upstream for these arguments. Releases before 1.1 have other date templates, another
/// expression for addresses, and no `--invert`.
fn is_comparable(args: &[&str]) -> bool {
    is_1_1() || !args.iter().any(|arg| ["-D", "-v", "-i", "(<HOST>"].contains(arg))
}

fn is_1_1() -> bool {
    Command::new(upstream()).arg("-V").output().unwrap().stdout.starts_with(b"1.1")
}

/// A report without the time it took, and without the name of the filter, which 1.0 puts in other words than 1.1.
fn comparable(report: &str) -> String {
    let lines =
        report.lines().filter(|line| !line.starts_with("[processed in ") && !line.contains("filter file : "));
    lines.map(|line| format!("{line}\n")).collect()
}

#[track_caller]
fn check_same_report(args: &[&str]) {
    let theirs = Command::new(upstream()).args(args).env("LC_ALL", "C.UTF-8").output().unwrap();
    let (status, report) = ours(args);
    assert_eq!(status, theirs.status.code(), "{report}");
    assert_eq!(comparable(&report), comparable(&String::from_utf8_lossy(&theirs.stdout)), "{args:?}");
}

/// Lines of the user's setup in their variety: matching, ignored, missed, odd.
fn proxy_log() -> String {
    let mut log = String::new();
    let paths = ["/.env", "/", "/a.png", "/x.js/", "/é\u{7f}", "/foo \"bar\""];
    let hosts = ["203.0.113.7", "2001:db8::1", "::ffff:198.51.100.7", "999.1.1.1", "[2001:db8::2]"];
    for (index, path) in paths.iter().cycle().take(90).enumerate() {
        let host = hosts[index % hosts.len()];
        let (status, upstream) = [("404", "404"), ("200", "200"), ("-", "404"), ("403", "403")][index % 4];
        log += &format!(
            "[22/Nov/2026:10:{:02}:12 +0{}00] - {status} {upstream} - GET https git.example.org \"{path}\" [Client {host}] \
             [Length 150] [Gzip -] [Sent-to 172.18.0.5] \"Mozilla/5.0 (X11; Linux x86_64)\" \"-\"\n",
            index % 60,
            index % 3,
        );
    }
    log + "# a comment\n\nrubbish\n10:11:12 404 404 - x\nthe last line has no end"
}

#[test]
fn reports_on_the_npm_filter_are_upstreams() {
    if !available("fail2ban-regex", upstream().exists()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("proxy-host-1_access.log");
    fs::write(&log, proxy_log()).unwrap();
    let log = log.to_str().unwrap();
    let filter = repository().join("examples/npm/filter.d/npm-general-forceful-browsing.conf");
    let filter = filter.to_str().unwrap();
    for options in [
        &[][..],
        &["--print-all-matched"],
        &["--print-all-missed"],
        &["--print-all-ignored"],
        &["--print-all-matched", "--print-all-missed", "--print-all-ignored", "-D"],
        &["--print-no-missed", "--print-no-ignored"],
        &["--no-check-all"],
        &["--usedns", "no", "-o", "row"],
        &["-o", "id"],
        &["-o", "ip"],
        &["-o", "msg"],
        &["-o", "container"],
        &["-o", "<ip> at <time>: <F-USERAGENT> <msg>"],
        &["-i", "-o", "msg"],
        &["-L", "3", "--print-all-matched"],
        &["-d", "%d/%b/%Y:%H:%M:%S"],
        &["-d", r"^\[{DATE}\]", "-o", "row"],
        &["--TZ", "UTC+0100", "-o", "row"],
        &["-e", "latin1", "--print-all-missed"],
        &["-e", "ascii", "--print-all-missed"],
    ] {
        let args: Vec<&str> = [log, filter].into_iter().chain(options.iter().copied()).collect();
        if is_comparable(&args) {
            check_same_report(&args);
        }
    }
}

/// Files without commands, patterns that are no dates, and forms of `--out` that are hardly any.
#[test]
fn what_makes_no_sense_is_taken_as_upstream_takes_it() {
    if !available("fail2ban-regex", upstream().exists()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("none.conf", "[Definition]\nignoreregexp = x\n"),
        ("lower.conf", "[definition]\nfailregex = <HOST>\n"),
        ("jail.conf", "[DEFAULT]\nmaxretry = 3\n[j]\nenabled = true\n"),
        ("empty.conf", ""),
        ("ignore.conf", "[Definition]\nignoreregex = x\n"),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
        let file = dir.path().join(name);
        let args = ["2005-08-14 11:59:59 x", file.to_str().unwrap()];
        let (status, report) = ours(&args);
        let is_none = report.ends_with(&format!("ERROR: No failure-id group in '{}'\n", file.display()));
        let expected = if name == "ignore.conf" { (Some(0), false) } else { (Some(255), true) };
        assert_eq!((status, is_none), expected, "{report}");
        // Earlier releases report on no expressions.
        if is_1_1() {
            check_same_report(&args);
        }
    }
    let line = "2005-08-14 11:59:59 a\0b from 127.0.0.1";
    let log = dir.path().join("log");
    fs::write(&log, line).unwrap();
    for form in ["", "<matches>|<F-X>", "<msg>", "<ip-host> <ip>", "x", "matches"] {
        check_same_report(&[log.to_str().unwrap(), "(?P<x>a.b) from <HOST>", "--usedns", "no", "-o", form]);
    }
    let flow = "2005-08-14 11:59:59 [1] user root from 192.0.2.1\n2005-08-14 11:59:59 [1] end 192.0.2.1\n";
    fs::write(&log, flow).unwrap();
    let filter = dir.path().join("flow.conf");
    fs::write(
        &filter,
        "[Definition]\nprefregex = ^\\s*\\[<F-MLFID>\\d+</F-MLFID>\\] <F-CONTENT>.+</F-CONTENT>$\n\
         failregex = ^<F-NOFAIL>user</F-NOFAIL> <F-USER>\\S+</F-USER> from <HOST>$\n            ^end <HOST>$\n",
    )
    .unwrap();
    for form in ["<F-USERS>", "<F-*>"] {
        check_same_report(&[log.to_str().unwrap(), filter.to_str().unwrap(), "--usedns", "no", "-o", form]);
    }
    // Where upstream ends with a stack trace and 1.
    for pattern in ["(", "%d"] {
        let args = ["2005-08-14 x", "<HOST>", "-d", pattern];
        let (status, report) = ours(&args);
        let theirs = Command::new(upstream()).args(args).output().unwrap();
        let last = report.lines().last().unwrap_or_default();
        assert!(last.starts_with("ERROR: ") && !report.contains("Results"), "{pattern}: {report}");
        assert_eq!((status, theirs.status.code()), (Some(255), Some(1)), "{pattern}: {report}");
    }
}

/// A name that `/etc/hosts` has, looked up for real.
#[test]
fn names_are_looked_up_as_upstream_looks_them_up() {
    if !available("fail2ban-regex", upstream().exists()) {
        return;
    }
    let line = "2005-08-14 11:59:59 x from localhost";
    for options in [
        &["--usedns", "yes", "-o", "id"][..],
        &["--usedns", "warn", "-o", "<ip> <F-USER>"],
        &["--usedns", "no", "-o", "id"],
        &["--usedns", "raw", "-o", "id"],
        &["--raw", "-o", "row"],
        &["--usedns", "yes"],
    ] {
        let args: Vec<&str> = [line, "from <HOST>$"].into_iter().chain(options.iter().copied()).collect();
        let theirs = Command::new(upstream()).args(&args).env("LC_ALL", "C.UTF-8").output().unwrap();
        let (status, report) = ours(&args);
        // The addresses of a name have no order.
        let sorted = |text: &str| {
            let text = comparable(text);
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&report), sorted(&String::from_utf8_lossy(&theirs.stdout)), "{args:?}");
        assert_eq!(status, theirs.status.code());
        assert_eq!(
            report.contains("127.0.0.1"),
            matches!(options[1], "yes" | "warn") && options.len() > 2,
            "{report}"
        );
    }
}

#[test]
fn reports_on_given_lines_are_upstreams() {
    if !available("fail2ban-regex", upstream().exists()) {
        return;
    }
    let long = "2005-08-14 10:00:00 x from 192.0.2.1 and a tail that is longer than what fits";
    for args in [
        &[long, "from <HOST>"][..],
        &[long, "from <HOST>", "tail"],
        &[long, "from <ADDR>", "-v"],
        &["a\nb 192.0.2.1\nc\nd\ne\nf", "^b <HOST>$", "--print-all-matched"],
        &[
            "Aug 14 11:59:58 a\nAug 14 11:59:59 b 192.0.2.1",
            "^ a<SKIPLINES>^ b <HOST>$",
            "-L",
            "2",
            "-vo",
            "msg",
        ],
        &["1124013600 192.0.2.1", "^ <HOST>", "-o", "row"],
        &["@4000000043bbdd2a2a8b1c2c 192.0.2.1", "<HOST>", "-o", "row"],
        &["12:00:00 UTC x", "x <F-ID>", "-d", "{NONE}"],
        &["x u=a", "u=<F-ID>.+</F-ID>", "-d", "{NONE}", "-o", "id"],
        &["x", "(<HOST>"],
        &["x", "y"],
        &["x", " "],
        &["x", "<HOST>", "["],
        &["systemd-journal", "<HOST>"],
    ] {
        let args: Vec<&str> = args.iter().copied().chain(["--usedns", "no"]).collect();
        if is_comparable(&args) {
            check_same_report(&args);
        }
    }
}

/// Dates in all forms, of all seasons, in a zone that moves its clocks.
#[test]
fn dates_are_read_as_upstream_reads_them() {
    if !available("fail2ban-regex", upstream().exists()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let forms = [
        "%Y-%m-%dT%H:%M:%S.123+0200",
        "%Y/%m/%d %H:%M:%S",
        "%Y-%m-%d %H:%M:%S,250 Z",
        "%a %b %d %H:%M:%S.011 %Y",
        "%b %e %H:%M:%S",
        "%d/%b/%Y:%H:%M:%S +0530",
        "[%d/%b/%Y:%H:%M:%S -0930]",
        "%d-%b-%Y %H:%M:%S.252",
        "%d/%m/%y %k:%M:%S",
        "%m/%d/%Y:%H:%M:%S",
        "%m-%d-%Y %H:%M:%S.5",
        "<%m/%d/%y@%H:%M:%S>",
        "%y%m%d %k:%M:%S",
        "%b %d, %Y %I:%M:%S %p",
        "%b-%d-%y %H:%M:%S",
        "%Y%m%dT%H%M%S",
        "CEST %b %d %H:%M:%S",
        "+01:00 %b %d %H:%M:%S",
        "audit(%s.123:9)",
        "%H:%M:%S",
        "x %Y-%m-%d %H:%M:%S y",
        "some words before %b %d %H:%M:%S %Y and behind",
        "99/99/2005 25:61:61",
        "Feb 30 10:00:00",
    ];
    let mut text = String::new();
    let mut state = 1_u32;
    for (index, form) in forms.iter().cycle().take(forms.len() * 40).enumerate() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let second = 1_104_537_600 + i64::from(state >> 8) * 39 + i64::try_from(index).unwrap();
        // Forms stay together for a while, as in a log, so that templates rise and fall.
        let form = if index % 100 < 60 { forms[index / 100 % forms.len()] } else { form };
        let date =
            jiff::Timestamp::from_second(second).unwrap().to_zoned(TimeZone::UTC).strftime(form).to_string();
        text += &format!("{date} from 192.0.2.{}\n", index % 250);
    }
    fs::write(&log, text).unwrap();
    let log = log.to_str().unwrap();
    for (place, zone) in ["Europe/Zurich", "America/New_York", "UTC"].into_iter().enumerate() {
        // Each zone gets a third of the options; the detector itself is compared in `f2b-filter`.
        let options = [
            &[][..],
            &["--TZ", "UTC+0100"],
            &["-d", r"^\[{DATE}\]"],
            &["-d", "{^LN-BEG}"],
            &["-d", "%d/%b/%Y:%H:%M:%S\n{^LN-BEG}"],
            &["-d", "%Y-%m-%d"],
            &["-d", "%H:%M"],
            &["-d", "audit\\({EPOCH}"],
        ];
        for options in options.into_iter().skip(place).step_by(3) {
            let rows = |program: &Path| {
                let mut command = Command::new(program);
                command.args([log, "from <ADDR>$", "-o", "<ip> <time>"]).args(options).env("TZ", zone);
                String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
            };
            let (ours, theirs) = (rows(&binary("f2b-regex")), rows(&upstream()));
            // What has no date is of now.
            let now = jiff::Timestamp::now().as_second() as f64;
            let dated = |line: &&str| {
                let time: f64 = line.rsplit(' ').next().unwrap_or("").parse().unwrap();
                (time - now).abs() > 600.0
            };
            let differing: Vec<_> = ours
                .lines()
                .zip(theirs.lines())
                .filter(|(ours, theirs)| ours != theirs && (dated(ours) || dated(theirs)))
                .collect();
            assert!(differing.is_empty(), "{zone} {options:?}: {differing:#?}");
            assert_eq!(ours.lines().count(), theirs.lines().count());
            assert!(ours.lines().count() > 100 || options.contains(&"audit\\({EPOCH}"), "{ours}");
        }
    }
}

#[test]
fn hostile_lines_and_patterns_end_in_a_report() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut bytes = b"2005-08-14 10:00:00 \xff\xfe\x00\x01 from 192.0.2.1\n".to_vec();
    bytes.extend(std::iter::repeat_n(b'a', 10 << 20));
    bytes.extend(b" from 192.0.2.2\n\xed\xa0\x80\n");
    fs::write(&log, bytes).unwrap();
    let log = log.to_str().unwrap();
    for (regex, matched) in [
        (" from <ADDR>$", 2),
        ("^ (a+)+$<ADDR>", 0),
        (r"(?:(?!b)a+)+(?<=c)<ADDR>", 0),
        ("(?i)FROM <HOST>", 2),
    ] {
        let (status, report) = ours(&[log, regex, "--print-no-missed", "--usedns", "no"]);
        assert_eq!(status, Some(0), "{report}");
        assert!(
            report.contains(&format!("Lines: 3 lines, 0 ignored, {matched} matched")),
            "{regex}: {report}"
        );
    }
    let deep = "(".repeat(5000) + "<HOST>";
    for regex in ["", "(", "[", "(?P<", "a{2,1}<HOST>", "\\", "(?<=a*)<HOST>", &deep] {
        let (status, report) = ours(&["x", regex]);
        assert_eq!(status, Some(255), "{regex}: {report}");
        assert!(report.contains("ERROR: "), "{report}");
    }
    let (status, report) = ours(&[log, "<HOST>", "-e", "klingon"]);
    assert_eq!((status, report.contains("ERROR: unknown encoding: klingon")), (Some(255), true), "{report}");
}

/// 2005-08-14 12:00:00 in the zone of the samples.
const TEST_NOW: f64 = 1_124_013_600.0;
const TEST_NOW_TEXT: &str = "2005-08-14T10:00:00";
const TEST_ZONE: &str = "CET-01CEST-02,M3.5.0,M10.5.0";

fn samples() -> (PathBuf, PathBuf) {
    let from =
        |name: &str, default: &str| std::env::var_os(name).map_or_else(|| default.into(), PathBuf::from);
    (
        from("F2B_SAMPLES", "/usr/lib/python3/dist-packages/fail2ban/tests/files/logs"),
        from("F2B_SAMPLES_CONFIG", "/etc/fail2ban"),
    )
}

/// Upstream's own tests of its filters (`samplestestcase.py`): each annotated line matches as it says.
#[test]
fn upstreams_sample_logs_match_as_annotated() {
    let (logs, config) = samples();
    if !available("fail2ban's sample logs", logs.exists() && config.join("filter.d").exists()) {
        return;
    }
    let mut names: Vec<String> = fs::read_dir(config.join("filter.d"))
        .unwrap()
        .filter_map(|entry| {
            Some(entry.unwrap().path().file_name()?.to_str()?.strip_suffix(".conf")?.to_owned())
        })
        .filter(|name| logs.join(name).exists() && !name.ends_with("common"))
        .collect();
    names.sort();
    let (mut checked, mut failures) = (0, Vec::new());
    for name in &names {
        let mut sample = Sample { name, config: &config, filters: BTreeMap::new(), tests: Vec::new() };
        sample.run(&logs, &mut checked, &mut failures);
    }
    let counts = format!("{} filters, {checked} lines checked, {} wrong", names.len(), failures.len());
    let _ = writeln!(std::io::stderr(), "{counts}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(checked > 1000, "{checked}");
}

/// The sample log of one filter.
struct Sample<'a> {
    name: &'a str,
    config: &'a Path,
    /// Of each kind two, the second of which gets to know of its lines what is found ahead of their turn.
    filters: BTreeMap<String, [Filter; 2]>,
    /// The options that the following lines are tried with.
    tests: Vec<serde_json::Map<String, Json>>,
}

impl Sample<'_> {
    fn run(&mut self, logs: &Path, checked: &mut usize, failures: &mut Vec<String>) {
        let mut files = vec![self.name.to_owned()];
        let mut common = serde_json::Map::new();
        let mut next = 0;
        while let Some(file) = files.get(next).cloned() {
            next += 1;
            let text = fs::read(logs.join(&file)).unwrap();
            let text = String::from_utf8_lossy(&text).into_owned();
            let mut lines = text.split('\n').enumerate();
            let mut ignored = false;
            while let Some((number, line)) = lines.next() {
                let (json, line) = match annotation(line) {
                    Some(("fileOptions", json)) => {
                        common = json.as_object().unwrap().clone();
                        continue;
                    }
                    Some(("filterOptions", json)) => {
                        ignored = !self.set_options(&json, &common);
                        continue;
                    }
                    Some(("addFILE", json)) => {
                        files.push(json.as_str().unwrap().into());
                        continue;
                    }
                    Some((_, json)) => (json, lines.next().unwrap().1),
                    None if line.starts_with('#') || line.trim().is_empty() => continue,
                    None => (Json::Null, line),
                };
                if ignored {
                    continue;
                }
                *checked += 1;
                if let Err(reason) = self.check_line(line.trim_end_matches('\r'), &json) {
                    failures.push(format!("{}: {file}:{}: {reason}\n  {line}", self.name, number + 1));
                }
            }
        }
    }

    /// Sets the options for the following lines; false if they don't concern this filter.
    fn set_options(&mut self, json: &Json, common: &serde_json::Map<String, Json>) -> bool {
        self.tests.clear();
        let list = match json {
            Json::Array(list) => list.clone(),
            single => vec![single.clone()],
        };
        for options in list {
            let mut all = common.clone();
            all.extend(options.as_object().unwrap().clone());
            if let Some(condition) = all.get("test.condition")
                && condition.as_str() != Some(&format!("name=='{}'", self.name))
            {
                return false;
            }
            self.tests.push(all);
        }
        true
    }

    fn check_line(&mut self, line: &str, json: &Json) -> Result<(), String> {
        if self.tests.is_empty() {
            self.tests.push(serde_json::Map::new());
        }
        for options in self.tests.clone() {
            if !holds(json["constraint"].as_str(), self.name, &options) {
                continue;
            }
            let found = self.process(line, &options)?;
            check_found(&found, json)?;
        }
        Ok(())
    }

    fn process(&mut self, line: &str, options: &serde_json::Map<String, Json>) -> Result<Vec<Found>, String> {
        let given: Vec<(String, String)> = options
            .iter()
            .filter(|(name, _)| !name.starts_with("test."))
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect();
        let key = format!("{given:?}");
        if !self.filters.contains_key(&key) {
            self.filters.insert(key.clone(), {
                let mut filter = read_filter(self.config, self.name, &given).unwrap();
                filter.set_check_all(true);
                let mut other = Filter::new("~jailless~", 2026);
                other.adopt(&filter);
                [filter, other]
            });
        }
        let [filter, other] = self.filters.get_mut(&key).unwrap();
        let clock = Clock::new(Time(TEST_NOW), TimeZone::posix(TEST_ZONE).unwrap());
        let context = LineContext { clock: &clock, in_operation: true, check_find_time: false };
        let found = if options.get("logtype").and_then(Json::as_str) == Some("journal") {
            let prefix = options.get("test.prefix-line").and_then(Json::as_str).unwrap_or("");
            filter.process_dated(
                ["", TEST_NOW_TEXT, &format!("{prefix}{line}")],
                Number::Int(TEST_NOW as i64),
                &context,
            )
        } else {
            let found = filter.process_line(line, &context);
            let mut dates = other.take_date_detector().unwrap();
            let date = dates.find(line, &context);
            other.restore_date_detector(dates);
            let mut matches = other.searcher().map(|mut searcher| searcher.search(line, &date));
            assert_eq!(other.process_found(line, &date, matches.as_mut(), &context), found, "{line}");
            found.map_err(|error| error.to_string())?
        };
        Ok(found.into_iter().filter(|found| found.who.is_some() && !found.fields.is_no_failure()).collect())
    }
}

/// The keyword and the JSON of a line such as `# failJSON: {...}`.
fn annotation(line: &str) -> Option<(&str, Json)> {
    let text = line.strip_prefix('#')?.trim_start_matches('#');
    let text = text.strip_prefix(' ').unwrap_or(text);
    let (keyword, json) = text.split_once(':')?;
    if !["failJSON", "fileOptions", "filterOptions", "addFILE"].contains(&keyword) {
        return None;
    }
    Some((keyword, serde_json::from_str(json).unwrap()))
}

/// The few Python expressions that restrict a line to some options.
fn holds(constraint: Option<&str>, name: &str, options: &serde_json::Map<String, Json>) -> bool {
    let Some(constraint) = constraint else { return true };
    let (left, equal, right) = match (constraint.split_once(" == "), constraint.split_once(" != ")) {
        (Some((left, right)), _) => (left, true, right),
        (_, Some((left, right))) => (left, false, right),
        _ => panic!("{constraint}"),
    };
    let value = match left {
        "name" => Some(name),
        left => {
            let option = left.strip_prefix("opts.get('").and_then(|rest| rest.strip_suffix("')")).unwrap();
            options.get(option).and_then(Json::as_str)
        }
    };
    (value == Some(right.trim_matches('\''))) == equal
}

fn check_found(found: &[Found], json: &Json) -> Result<(), String> {
    let expected = json["match"].as_bool().unwrap_or(false);
    let found = match (found, expected) {
        ([], false) => return Ok(()),
        ([], true) => return Err("not matched".into()),
        (_, false) => return Err("matched".into()),
        ([found], true) => found,
        (many, true) => {
            return Err(format!("matched by {:?}", many.iter().map(|found| found.regex).collect::<Vec<_>>()));
        }
    };
    for (name, expected) in json.as_object().unwrap() {
        let actual = match name.as_str() {
            "match" | "desc" | "constraint" => continue,
            // Addresses are equal in whatever form they are written.
            "host" => {
                let host = Json::from(Id::parse(expected.as_str().unwrap()).to_string());
                match value_of(found, name) {
                    actual if actual == host => continue,
                    actual => actual,
                }
            }
            "time" => {
                let date = DateTime::strptime("%Y-%m-%dT%H:%M:%S%.f", expected.as_str().unwrap()).unwrap();
                let zone = TimeZone::posix(TEST_ZONE).unwrap();
                let seconds = zone.to_timestamp(date).unwrap().as_duration().as_secs_f64();
                let time = found.time.map(Number::as_f64);
                if time != Some(seconds) {
                    return Err(format!("time {time:?} instead of {seconds}"));
                }
                continue;
            }
            name => value_of(found, name),
        };
        if sorted(&actual) != sorted(expected) {
            return Err(format!("{name} is {actual} instead of {expected}"));
        }
    }
    Ok(())
}

fn value_of(found: &Found, name: &str) -> Json {
    match (name, found.fields.get(name)) {
        ("host", None | Some(Field::None)) => match &found.who {
            Some(Who::Id(id)) => id.to_string().into(),
            Some(Who::Host(host)) => host.as_str().into(),
            None => Json::Null,
        },
        ("attempts", None | Some(Field::None)) => found.fields.matches().len().into(),
        (_, Some(Field::Ip(ip))) => ip.to_string().into(),
        (_, Some(Field::Text(text))) => text.to_string().into(),
        (_, Some(Field::Tuple(parts))) => {
            parts.iter().map(|part| part.as_deref().map(str::to_owned)).collect()
        }
        (_, Some(Field::Users(users))) => users
            .iter()
            .map(|user| match user {
                Field::Text(text) => Json::from(text.to_string()),
                Field::Tuple(parts) => parts.iter().map(|part| part.as_deref().map(str::to_owned)).collect(),
                other => other.to_string().into(),
            })
            .collect(),
        (_, Some(other)) => other.to_string().into(),
        (_, None) => Json::Null,
    }
}

/// Lists compare without regard to their order, as upstream compares them.
fn sorted(json: &Json) -> String {
    match json {
        Json::Array(items) => {
            let mut items: Vec<String> = items.iter().map(sorted).collect();
            items.sort();
            items.join(",")
        }
        other => other.to_string(),
    }
}

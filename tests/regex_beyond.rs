//! What `f2b-regex` does beyond fail2ban-regex: compressed logs, standard input, `--json`, `--explain`, `--profile`.

mod support;

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};
use support::{binary, repository, run};

const LOG: &str = "2005-08-14 11:59:59 from 192.0.2.1\nx\n";

/// `LOG` as xz packs it.
const XZ: &[u8] = &[
    0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00, 0x21, 0x01, 0x1c,
    0x00, 0x00, 0x00, 0x10, 0xcf, 0x58, 0xcc, 0x01, 0x00, 0x24, 0x32, 0x30, 0x30, 0x35, 0x2d, 0x30, 0x38,
    0x2d, 0x31, 0x34, 0x20, 0x31, 0x31, 0x3a, 0x35, 0x39, 0x3a, 0x35, 0x39, 0x20, 0x66, 0x72, 0x6f, 0x6d,
    0x20, 0x31, 0x39, 0x32, 0x2e, 0x30, 0x2e, 0x32, 0x2e, 0x31, 0x0a, 0x78, 0x0a, 0x00, 0x00, 0x00, 0x00,
    0x9f, 0xa6, 0x85, 0xaa, 0x8a, 0xaf, 0x3d, 0x45, 0x00, 0x01, 0x3d, 0x25, 0xd2, 0x29, 0x6a, 0x01, 0x1f,
    0xb6, 0xf3, 0x7d, 0x01, 0x00, 0x00, 0x00, 0x00, 0x04, 0x59, 0x5a,
];

fn regex(args: &[&str]) -> String {
    run(Command::new(binary("f2b-regex")).args(args).env("TZ", "UTC"))
}

/// What `f2b-regex` prints of a text on its standard input.
fn piped(input: &[u8], args: &[&str]) -> String {
    let mut child = Command::new(binary("f2b-regex"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn compressed_logs_are_read_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(LOG.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(LOG.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    for (name, bytes, lines) in [
        ("log", LOG.as_bytes().to_vec(), 1),
        ("log.gz", gzip.clone(), 1),
        ("two.gz", [gzip.clone(), gzip].concat(), 2),
        ("log.xz", XZ.to_vec(), 1),
        ("two.xz", [XZ, XZ].concat(), 2),
        ("log.zst", zstd.clone(), 1),
        ("two.zst", [zstd.clone(), zstd].concat(), 2),
    ] {
        let log = dir.path().join(name);
        fs::write(&log, &bytes).unwrap();
        let found = regex(&[log.to_str().unwrap(), "from <ADDR>$", "-o", "id"]);
        assert_eq!(found, "192.0.2.1\n".repeat(lines), "{name}");
        assert_eq!(piped(&bytes, &["-", "from <ADDR>$", "-o", "id"]), found, "{name}");
    }
}

#[test]
fn a_broken_archive_ends_with_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("xz", XZ.get(..50).unwrap()),
        ("gz", &[0x1f, 0x8b, 8, 0, 1, 2][..]),
        ("zst", &[0x28, 0xb5, 0x2f, 0xfd, 0xff]),
    ] {
        let log = dir.path().join(name);
        fs::write(&log, bytes).unwrap();
        let output = Command::new(binary("f2b-regex")).arg(log).arg("from <ADDR>$").output().unwrap();
        assert_eq!(output.status.code(), Some(255), "{name}");
        assert!(!output.stderr.is_empty(), "{name}");
    }
}

#[test]
fn the_last_line_of_standard_input_needs_no_end() {
    assert_eq!(
        piped(b"from 192.0.2.1\nfrom 192.0.2.2", &["-", "from <ADDR>$", "-o", "id"]),
        "192.0.2.1\n192.0.2.2\n"
    );
}

#[test]
fn json_has_an_object_for_each_line_and_a_summary() {
    let log = "2005-08-14 11:59:59 u=bob from 192.0.2.1\nx\n2005-08-14 11:59:59 u=eve from ::1";
    let text = regex(&[log, "u=<F-USER>\\w+</F-USER> from <ADDR>$", "::1$", "--json"]);
    let mut objects: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut summary = objects.pop().unwrap();
    summary["summary"]["seconds"].take();
    assert_eq!(
        objects,
        [
            json!({
                "line": "2005-08-14 11:59:59 u=bob from 192.0.2.1",
                "verdict": "matched",
                "failures": [{
                    "regex": 1, "id": "192.0.2.1", "time": 1_124_020_799.0, "nofail": false,
                    "fields": {"user": "bob", "ip4": "192.0.2.1"},
                }],
                "ignored_by": [],
            }),
            json!({"line": "x", "verdict": "missed", "failures": [], "ignored_by": []}),
            json!({
                "line": "2005-08-14 11:59:59 u=eve from ::1", "verdict": "ignored", "failures": [], "ignored_by": [1],
            }),
        ]
    );
    assert_eq!(
        summary["summary"],
        json!({
            "lines": 3, "matched": 1, "missed": 1, "ignored": 1, "prefregex": null,
            "failregex": [{"regex": "u=<F-USER>\\w+</F-USER> from <ADDR>$", "hits": 1}],
            "ignoreregex": [{"regex": "::1$", "hits": 1}],
            "dates": [{
                "template": "{^LN-BEG}ExYear(?P<_sep>[-/.])Month(?P=_sep)Day(?:T|  ?)24hour:Minute:Second(?:[.,]Microseconds)?\
                             (?:\\s*Zone offset)?",
                "hits": 2,
            }],
            "seconds": null,
        })
    );
}

#[test]
fn missed_lines_are_explained() {
    let text = regex(&[
        "2005-08-14 11:59:59 login of bob refused at 192.0.2.1",
        "^ login of <F-USER>\\w+</F-USER> refused by <ADDR>$",
        "--explain",
    ]);
    let explained = text.split("|- Missed line(s):\n").nth(1).unwrap();
    let expected = [
        "|  2005-08-14 11:59:59 login of bob refused at 192.0.2.1",
        concat!(
            "|       date: 2005-08-14 11:59:59 ({^LN-BEG}ExYear(?P<_sep>[-/.])Month(?P=_sep)Day(?:T|  ?)24hour:Minute:Second",
            r"(?:[.,]Microseconds)?(?:\s*Zone offset)?)",
        ),
        "|       nearest: failregex 1, which matched up to the marks",
        concat!(
            r"|        regex: ^ login of (?P<user>\w+) refused by \[?(?:(?:::f{4,6}:)?(?P<ip4>(?:\d{1,3}\.){3}\d{1,3})|(?P<",
            "…",
        ),
        "|                                                ^",
        "|         line:  login of bob refused at 192.0.2.1",
        "|                                     ^",
        "`-",
    ];
    assert_eq!(explained.lines().collect::<Vec<_>>(), expected);
    let filter = repository().join("tests/third_party/filter.d/login-daemon.conf");
    let text = regex(&["Aug 14 11:59:01 h logind3[1]: x", filter.to_str().unwrap(), "--explain"]);
    assert!(text.contains("prefregex: did not match\n"), "{text}");
}

#[test]
fn a_profile_names_what_is_not_linear() {
    let filter = repository().join("tests/third_party/filter.d/engine-room.conf");
    let log = repository().join("tests/third_party/logs/engine-room.log");
    let text = regex(&[log.to_str().unwrap(), filter.to_str().unwrap(), "--profile"]);
    let profile: Vec<&str> = text.split("\nProfile:\n").nth(1).unwrap().lines().skip(1).take(4).collect();
    let marked: Vec<&str> = profile
        .iter()
        .filter(|line| line.ends_with(", not linear"))
        .map(|line| line.get(4..6).unwrap())
        .collect();
    assert_eq!(marked, ["1)"], "{text}");
    assert!(profile.iter().all(|line| line.contains(" of 8 lines")), "{text}");
    // A step is a byte for what is linear; what is not tells where it gave up.
    let line = "a".repeat(60) + "bc";
    let text = regex(&[&line, r"^<F-ID>(?:a|aa)+</F-ID>(b|c)\2$", "--profile"]);
    let profile = text.split("\nProfile:\n").nth(1).unwrap();
    assert!(profile.contains("1000063 steps, 0 of 1 lines, given up 1 times, not linear"), "{text}");
    let text = regex(&["a 192.0.2.1", "^a <ADDR>", "--profile"]);
    assert!(text.contains(" and 12 steps, 1 of 1 lines\n"), "{text}");
}

/// What a command prints on a terminal, standard error and all.
fn on_terminal(command: &str) -> String {
    let mut script = Command::new("script");
    script.args(["-qec", command, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR").env_remove("CI");
    run(script.stdin(Stdio::null()))
}

#[test]
fn a_terminal_gets_colours_and_nothing_else_does() {
    if !support::available("script", support::has_program("script")) {
        return;
    }
    let program = binary("f2b-regex");
    let command = format!("{} 'x 192.0.2.1' 'x <ADDR>' --print-all-matched", program.display());
    let plain = regex(&["x 192.0.2.1", "x <ADDR>", "--print-all-matched"]);
    assert!(!plain.contains('\u{1b}'));
    let coloured = on_terminal(&command);
    assert!(coloured.contains("\u{1b}[32mMatched line(s):\u{1b}[0m"), "{coloured}");
    assert!(!on_terminal(&format!("NO_COLOR=1 {command}")).contains('\u{1b}'));
    assert!(!on_terminal(&format!("{command} -o id")).contains('\u{1b}'));
}

#[test]
fn a_terminal_sees_how_far_a_long_log_has_been_read() {
    if !support::available("script", support::has_program("script")) {
        return;
    }
    let program = binary("f2b-regex").display().to_string();
    let log = "yes 'x 192.0.2.1' | head -600; sleep 1.2; yes 'x 192.0.2.1' | head -600";
    let command = format!("({log}) | {program} - 'x <ADDR>' >/dev/null");
    let shown = on_terminal(&command);
    assert!(shown.contains("1024 lines, ") && shown.contains(" lines/s"), "{shown:?}");
    assert_eq!(on_terminal(&format!("{command} 2>/dev/null")), "");
    assert_eq!(on_terminal(&format!("yes 'x' | head -2000 | {program} - 'x <ADDR>' >/dev/null")), "");
}

/// Dates and matches are found ahead of their turn, but for a profile, which takes one line after the other.
#[test]
fn what_is_found_ahead_changes_no_report() {
    let dir = tempfile::tempdir().unwrap();
    let (log, filter) = (dir.path().join("log"), dir.path().join("filter.conf"));
    let rules = r"[Definition]
prefregex = ^\s*(?:<F-MLFID>c\d+</F-MLFID> |host: )?<F-CONTENT>(?!\S+ else).+</F-CONTENT>$
failregex = ^<F-NOFAIL>\S+ <F-USER>user\d+</F-USER></F-NOFAIL> from <ADDR>$
            (?P<word>f)rom <ADDR>(?!(?P=word))$
            from 192.0.2.<F-ID>\d+</F-ID>$
ignoreregex = 192\.0\.2\.7$
";
    fs::write(&filter, rules).unwrap();
    // More than is read at once, with dates that make templates overtake each other, and none.
    let dates =
        ["2005-08-14 11:59:59", "Aug 14 11:59:58", "[14/Aug/2005:11:59:57 +0000]", "no date", "1124020799"];
    let mut text = Vec::new();
    for n in 0..20_000_usize {
        let date = dates[n / 97 % dates.len()];
        let line = match n % 7 {
            0 => "# a comment".into(),
            1 => String::new(),
            2 => format!("{date} c{} <F> user{n} from 192.0.2.{}", n / 50, n % 256),
            3 => format!("{date} \u{e9} from 2001:db8::{n:x}"),
            4 => format!("host: {date} from 192.0.2.1"),
            _ => format!("{date} something else {n}"),
        };
        text.extend_from_slice(line.as_bytes());
        text.extend_from_slice(if n == 9000 { b"\xff\n" } else { b"\n" });
    }
    fs::write(&log, text).unwrap();
    let report = |args: &[&str]| {
        let text = regex(&[&["--json", log.to_str().unwrap()], args].concat());
        let (lines, summary) = text.trim_end().rsplit_once('\n').unwrap();
        let mut summary: Json = serde_json::from_str(summary).unwrap();
        summary["summary"]["seconds"].take();
        (lines.to_owned(), summary)
    };
    for args in [vec!["from <ADDR>$", "192.0.2.7$"], vec![filter.to_str().unwrap()]] {
        let (lines, summary) = report(&args);
        assert_eq!(lines.lines().count(), 14285);
        assert_eq!(summary["summary"]["dates"].as_array().unwrap().len(), 7, "{summary}");
        for kind in ["failregex", "ignoreregex"] {
            let hits = summary["summary"][kind].as_array().unwrap().iter().map(|regex| &regex["hits"]);
            assert!(hits.clone().all(|hits| *hits != 0), "{summary}");
        }
        let (other_lines, other_summary) = report(&[&args[..], &["--profile"]].concat());
        assert_eq!(summary, other_summary);
        for (line, other) in lines.lines().zip(other_lines.lines()) {
            assert_eq!(line, other);
        }
    }
}

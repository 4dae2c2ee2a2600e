//! `--test` names every problem with its place, what fail2ban lets through among them, and `--explain` says where the value
//! of an option comes from. Standard output and exit codes of a test are fail2ban's.

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;
use support::{Place, available, binary};

/// What the client prints on standard output and standard error, and its exit code; the directory is called ROOT.
fn client(place: &Place, words: &[&str]) -> (String, String, i32) {
    let mut command = Command::new(binary("f2b-client"));
    let output = command.arg("-c").arg(place.path()).args(words).output().expect("the client starts");
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes).replace(&place.path().to_string_lossy().into_owned(), "ROOT")
    };
    (text(&output.stdout), text(&output.stderr), output.status.code().expect("an exit code"))
}

/// A directory with one sound jail, its filter and its action; `more` are further files.
fn place(more: &[(&str, &str)]) -> Place {
    let place = Place::new();
    place.write("j.log", "");
    place.write("filter.d/login.conf", "[Definition]\nfailregex = ^.* failed login from <HOST>$\n");
    place.write(
        "action.d/note.conf",
        "[Definition]\nactionban = echo <ip> >> <file>\n\n[Init]\nfile = /dev/null\n",
    );
    place.write(
        "jail.conf",
        "[DEFAULT]\nmaxretry = 5\n[j]\nenabled = true\nfilter = login\naction = note\nlogpath = ROOT/j.log\n",
    );
    for (name, text) in more {
        place.write(name, text);
    }
    for name in ["jail.conf", "jail.local"] {
        let text = place.read(name).replace("ROOT", &place.path().to_string_lossy());
        if !text.is_empty() {
            place.write(name, &text);
        }
    }
    place
}

/// Compares the problems, each by its first line and its hint, and the verdict.
#[track_caller]
fn check(more: &[(&str, &str)], expected: &[&str], ok: bool) {
    let (out, err, code) = client(&place(more), &["-t"]);
    let is_told =
        |line: &&str| line.contains("error: ") || line.contains("warning: ") || line.contains(" = ");
    let is_quote = |line: &str| line.contains(" | ");
    let told: Vec<&str> = err.lines().filter(is_told).filter(|line| !is_quote(line)).map(str::trim).collect();
    assert_eq!(told, expected, "{err}");
    let verdict =
        if ok { "OK: configuration test is successful\n" } else { "ERROR: test configuration failed\n" };
    assert_eq!((&*out, code), (verdict, if ok { 0 } else { 255 }), "{err}");
}

#[test]
fn nothing_is_said_of_a_sound_configuration() {
    let (out, err, code) = client(&place(&[]), &["-t"]);
    assert_eq!((&*out, &*err, code), ("OK: configuration test is successful\n", "", 0));
}

#[test]
fn a_problem_is_shown_with_its_line_a_caret_a_hint_and_counted() {
    let (out, err, code) =
        client(&place(&[("jail.local", "[j]\nmaxretri = 3\nfilter = logn\n")]), &["--test"]);
    assert_eq!(
        err,
        "ROOT/jail.local:2:1: warning: nothing reads the option `maxretri`
  |
2 | maxretri = 3
  | ^
  = did you mean `maxretry`?
ROOT/jail.local:3:10: error: Unable to read the filter 'logn'
  |
3 | filter = logn
  |          ^
  = neither ROOT/filter.d/logn.conf nor ROOT/filter.d/logn.local can be read; did you mean `login`?
Errors in jail 'j'.
1 error, 1 warning
"
    );
    assert_eq!((&*out, code), ("ERROR: test configuration failed\n", 255));
}

#[test]
fn every_syntax_error_is_named() {
    check(
        &[
            ("jail.local", "[j]\nmaxretry = 1\nnonsense\nmaxretry = 2\n[j]\n[k]\nx\n"),
            ("filter.d/login.local", "failregex = x\n"),
        ],
        &[
            "ROOT/jail.local:3:1: error: this is neither a section nor an option",
            "= an option is written as name = value, a line that continues a value is indented",
            "ROOT/jail.local:4:1: error: the option `maxretry` is set twice in the section `j`",
            "= it stands in line 2 already",
            "ROOT/jail.local:5:1: error: the section `j` is opened twice",
            "= it stands in line 1 already",
            "ROOT/jail.local:7:1: error: this is neither a section nor an option",
            "= an option is written as name = value, a line that continues a value is indented",
        ],
        false,
    );
}

#[test]
fn every_wrong_reference_is_named() {
    let missing = |option: &str, section: &str, key: &str| {
        format!(
            "error: Bad value substitution: option '{option}' in section '{section}' contains an interpolation key \
             '{key}' which is not a valid option name. Raw value: '%({key})s'"
        )
    };
    check(
        &[
            ("jail.local", "[j]\nfindtime = %(nope)s\nbantime = %(neither)s\n"),
            ("action.d/note.local", "[Definition]\nactionban = %(away)s\nactionunban = %(gone)s\n"),
        ],
        &[
            &format!("ROOT/jail.local:2:12: {}", missing("findtime", "j", "nope")),
            &format!("ROOT/jail.local:3:11: {}", missing("bantime", "j", "neither")),
        ],
        false,
    );
    check(
        &[
            ("action.d/note.local", "[Definition]\nactionban = %(away)s\nactionunban = %(gone)s\n"),
            ("filter.d/login.local", "[Definition]\nfailregex = %(lost)s\nignoreregex = %(astray)s\n"),
        ],
        &[
            &format!("ROOT/filter.d/login.local:2:13: {}", missing("failregex", "Definition", "lost")),
            &format!("ROOT/filter.d/login.local:3:15: {}", missing("ignoreregex", "Definition", "astray")),
        ],
        false,
    );
    let wrong_action = missing("actionban", "Definition", "away");
    let wrong_action = wrong_action.replace("error: ", "error: Error in action definition 'note': ");
    check(
        &[("action.d/note.local", "[Definition]\nactionban = %(away)s\nactionunban = %(gone)s\n")],
        &[
            &format!("ROOT/action.d/note.local:2:13: {wrong_action}"),
            &format!("ROOT/action.d/note.local:3:15: {}", missing("actionunban", "Definition", "gone")),
        ],
        false,
    );
}

#[test]
fn one_wrong_jail_hides_no_other() {
    check(
        &[(
            "jail.local",
            "[a]\nenabled = true\nfilter = login[\n[b]\nenabled = true\nfilter = login\naction = nota\nlogpath = ROOT/j.log\n[c]\n\
             enabled = true\nfilter = login\naction = note\nlogpath = ROOT/none.log\n",
        )],
        &[
            "ROOT/jail.local:3:10: error: Invalid filter definition 'login[': unexpected option syntax",
            "ROOT/jail.local:7:10: error: Unable to read action 'nota'",
            "= neither ROOT/action.d/nota.conf nor ROOT/action.d/nota.local can be read; did you mean `note`?",
            "ROOT/jail.local:13:11: error: Have not found any log file for 'c' jail.",
        ],
        false,
    );
}

#[test]
fn what_a_server_would_refuse_is_found() {
    let failregex =
        "[Definition]\nfailregex = ^ok <HOST>$\n            ^(broken <HOST>$\n            ^nobody$\n";
    check(
        &[
            ("filter.d/login.local", failregex),
            ("jail.local", "[j]\nbantime = soon\nlogencoding = klingon\n"),
        ],
        &[
            "ROOT/filter.d/login.local:3:13: error: Unable to compile regular expression '^(broken (?:\\[?(?:(?:::f{4,6}:)?(?P<ip4>(?:\\d{1,3}\\.){3}\\d{1,3})|(?P<ip6>(?:[0-9a-fA-F]{1,4}::?|:){1,7}(?:[0-9a-fA-F]{1,4}|(?<=:):)))\\]?|(?P<dns>[\\w\\-.^_]*\\w))$':",
            "ROOT/filter.d/login.local:4:13: error: No failure-id group in '^nobody$'",
            "ROOT/jail.local:2:11: error: bantime: 'soon' is no duration; write seconds or units as in '1d 12h 30m'",
            "ROOT/jail.local:3:15: error: unknown encoding: klingon",
        ],
        false,
    );
}

#[test]
fn what_fail2ban_lets_through_is_found() {
    check(
        &[
            ("fail2ban.local", "[Definition]\ndbpurgage = 2d\n[Defintion]\nloglevel = DEBUG\n"),
            (
                "jail.local",
                "[DEFAULT]\nfintime = 3\nport = 0:65535\n[j]\nport = 22\nlogpath = ROOT/j.log\n    ROOT/none*.log\n",
            ),
            (
                "filter.d/login.local",
                "[Definition]\nfailregexp = x\nfailregex = ^<host> <HOST> (?P<name>x)<OTHER>$\n[Init]\nmaxlinse = 2\nunused = 1\n",
            ),
            (
                "action.d/note.local",
                "[Definition]\nactionban = echo <ip> <falures> <F-USER> <name> <in >out <other> <br>\n[Inti]\nx = 1\n",
            ),
        ],
        &[
            "ROOT/action.d/note.local:2:23: warning: the tag `<falures>` in `actionban` stands for nothing",
            "= did you mean `failures`?",
            "ROOT/action.d/note.local:2:58: warning: the tag `<other>` in `actionban` stands for nothing",
            "ROOT/action.d/note.local:3:1: warning: nothing reads the section `Inti`",
            "= did you mean `Init`?",
            "ROOT/fail2ban.local:2:1: warning: nothing reads the option `dbpurgage`",
            "= did you mean `dbpurgeage`?",
            "ROOT/fail2ban.local:3:1: warning: nothing reads the section `Defintion`",
            "= did you mean `Definition`?",
            "ROOT/filter.d/login.local:2:1: warning: nothing reads the option `failregexp`",
            "= did you mean `failregex`?",
            "ROOT/filter.d/login.local:3:14: warning: the tag `<host>` in `failregex` stands for nothing",
            "= did you mean `HOST`?",
            "ROOT/filter.d/login.local:5:1: warning: nothing reads the option `maxlinse`",
            "= did you mean `maxlines`?",
            "ROOT/jail.local:2:1: warning: nothing reads the option `fintime`",
            "= did you mean `findtime`?",
            "ROOT/jail.local:5:1: warning: nothing reads the option `port`",
            "ROOT/jail.local:7:5: warning: No file(s) found for glob ROOT/none*.log",
        ],
        true,
    );
}

#[test]
fn slips_are_found_where_they_matter_and_nothing_else_is() {
    check(
        &[
            (
                "jail.local",
                "[DEFAULT]\nchain = INPUT\nchian = FORWARD\nignoreself = maybe\n[j]\nmaxretries = 2\naction = note[fle=\"%(chain)s\", other=1]\n",
            ),
            (
                "action.d/note.local",
                "[Definition]\nactionban = mail \"<b>banned</b>\" '<<sender>>' </etc/x>/tmp/y <fil>\n[Init]\nsender = root\n",
            ),
            (
                "filter.d/login.local",
                "[Definition]\nfailregex = <mode-agressive> <HOST>\nmode-aggressive = x\n",
            ),
        ],
        &[
            "ROOT/action.d/note.local:2:62: warning: the tag `<fil>` in `actionban` stands for nothing",
            "= did you mean `file`?",
            "ROOT/filter.d/login.local:2:13: warning: the tag `<mode-agressive>` in `failregex` stands for nothing",
            "= did you mean `mode-aggressive`?",
            "ROOT/filter.d/login.local:3:1: warning: nothing reads the option `mode-aggressive`",
            "= did you mean `mode-agressive`?",
            "ROOT/jail.local:3:1: warning: nothing reads the option `chian`",
            "= did you mean `chain`?",
            "ROOT/jail.local:4:14: warning: `ignoreself` is neither on nor off, and so it is off",
            "ROOT/jail.local:6:1: warning: nothing reads the option `maxretries`",
            "= did you mean `maxretry`?",
            "ROOT/jail.local:7:15: warning: nothing reads the option `fle` in the brackets of `action`",
            "= did you mean `file`?",
        ],
        true,
    );
}

#[test]
fn all_stock_actions_and_filters_are_not_complained_about() {
    let stock = Path::new("/etc/fail2ban");
    if !available("fail2ban", stock.join("jail.conf").is_file()) {
        return;
    }
    let place = Place::new();
    let names = |directory: &str| {
        let entries = std::fs::read_dir(stock.join(directory)).expect("a directory").flatten();
        let names =
            entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".conf").map(str::to_owned));
        let mut names: Vec<_> = names.filter(|name| !name.ends_with("common")).collect();
        names.sort();
        names
    };
    for directory in ["action.d", "filter.d"] {
        for entry in std::fs::read_dir(stock.join(directory)).expect("a directory").flatten() {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            place.write(&format!("{directory}/{}", entry.file_name().to_string_lossy()), &text);
        }
    }
    place.write("j.log", "");
    let mut jails = String::from("[DEFAULT]\nenabled = true\n");
    let log = place.file("j.log");
    let (filters, actions) = (names("filter.d"), names("action.d"));
    for (number, filter) in filters.iter().enumerate() {
        let action = &actions[number % actions.len()];
        jails += &format!(
            "[{filter}]\nfilter = {filter}\naction = {action}[name=x]\nlogpath = {}\n",
            log.display()
        );
    }
    place.write("jail.conf", &jails);
    let (_, err, _) = client(&place, &["-t"]);
    let told = err.lines().filter(|line| line.contains("warning: "));
    // Three options there are left over from earlier, and one has to come from the user.
    let true_ones = ["`iso8601`", "`timeout-bantime`", "`loglines`", "`<cfzone>`"];
    let is_true = |line: &&str| true_ones.iter().any(|name| line.contains(name));
    let told: Vec<_> = told.filter(|line| !is_true(line)).collect();
    assert!(told.is_empty(), "{told:#?}");
}

#[test]
fn includes_that_are_missing_are_named() {
    check(
        &[("filter.d/login.local", "[INCLUDES]\nbefore = commn.conf\n         there.local\nbefor = x\n")],
        &[
            "ROOT/filter.d/login.local:2:10: warning: Included file 'commn.conf' is left out, it can't be read",
            "ROOT/filter.d/login.local:4:1: warning: nothing reads the option `befor`",
            "= did you mean `before`?",
        ],
        true,
    );
}

#[test]
fn files_that_include_each_other_are_named() {
    check(
        &[
            ("filter.d/login.local", "[INCLUDES]\nbefore = other.conf\n"),
            ("filter.d/other.conf", "[INCLUDES]\nafter = third.conf\n"),
            ("filter.d/third.conf", "[INCLUDES]\nbefore = other.conf\n"),
        ],
        &[
            "ROOT/filter.d/third.conf:2:10: warning: Included file 'other.conf' includes this one in turn, it is read once",
        ],
        true,
    );
}

#[test]
fn the_stock_configuration_is_not_complained_about() {
    let stock = Path::new("/etc/fail2ban");
    if !available("fail2ban", stock.join("jail.conf").is_file()) {
        return;
    }
    let output = Command::new(binary("f2b-client"))
        .arg("-c")
        .arg(stock)
        .arg("-t")
        .output()
        .expect("the client starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Whether there are log files is up to the machine.
    let told = said.lines().filter(|line| line.contains("error: ") || line.contains("warning: "));
    let told: Vec<_> = told.filter(|line| !line.contains("log file") && !line.contains("for glob")).collect();
    assert!(told.is_empty(), "{told:#?}");
}

#[test]
fn a_test_for_programs_is_json() {
    let (out, err, code) = client(&place(&[("jail.local", "[j]\nmaxretri = 3\n")]), &["-t", "--json"]);
    let report: Json = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&*err, code), ("", 0));
    let expected = serde_json::json!({
        "ok": true, "errors": 0, "warnings": 1, "broken": [],
        "problems": [{
            "severity": "warning", "message": "nothing reads the option `maxretri`", "path": "ROOT/jail.local",
            "line": 2, "column": 1, "text": "maxretri = 3", "hint": "did you mean `maxretry`?",
        }],
    });
    assert_eq!(report, expected);
    let (out, _, code) = client(&place(&[("fail2ban.conf", "[Definition\n")]), &["-t", "--json"]);
    let report: Json = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&report["ok"], &report["errors"], code), (&Json::Bool(false), &serde_json::json!(1), 255));
}

#[test]
fn the_server_tests_alike() {
    let place = place(&[("jail.local", "[j]\nmaxretri = 3\n")]);
    let mut command = Command::new(binary("f2b-server"));
    let output = command.arg("-c").arg(place.path()).arg("-t").output().expect("the server starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "OK: configuration test is successful\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean `maxretry`?"));
    assert_eq!(output.status.code(), Some(0));
}

const LAYERS: &[(&str, &str)] = &[
    ("jail.d/a.conf", "[DEFAULT]\nmaxretry = 4\n[j]\nmaxretry = 3\n"),
    ("jail.local", "[j]\nmaxretry = %(known/maxretry)s0\naction = note[file=\"/tmp/%(__name__)s\"]\n"),
    ("filter.d/login.local", "[Definition]\nfailregex = <start><HOST>$\n[Init]\nstart = ^\n"),
];

#[test]
fn an_option_is_explained_by_its_layers() {
    let (out, err, code) = client(&place(LAYERS), &["--explain", "j.maxretry"]);
    assert_eq!(
        out,
        "maxretry = 30
  # ROOT/jail.local:2:1 [j]: %(known/maxretry)s0
  # overrides ROOT/jail.d/a.conf:4:1 [j]: 3
  # overrides ROOT/jail.d/a.conf:2:1 [DEFAULT]: 4
  # overrides ROOT/jail.conf:2:1 [DEFAULT]: 5
"
    );
    assert_eq!((&*err, code), ("", 0));
}

#[test]
fn a_jail_is_explained_with_its_filter_and_its_actions() {
    let (out, err, code) = client(&place(LAYERS), &["--explain", "j"]);
    assert_eq!((&*err, code), ("", 0));
    for expected in [
        "enabled = True\n  # ROOT/jail.conf:4:1 [j]: true\n",
        "backend = auto\n  # by default\n",
        "action = note[file=\"/tmp/j\"]\n  # ROOT/jail.local:3:1 [j]: note[file=\"/tmp/%(__name__)s\"]\n  # overrides ROOT/jail.conf:6:1 [j]: note\n",
        "filter[login].failregex = ^<HOST>$\n  # ROOT/filter.d/login.local:2:1 [Definition]: <start><HOST>$\n  \
         # overrides ROOT/filter.d/login.conf:2:1 [Definition]: ^.* failed login from <HOST>$\n",
        "filter[login].start = ^\n  # ROOT/filter.d/login.local:4:1 [Init]\n",
        "action[note].actionban = echo <ip> >> /tmp/j\n  # ROOT/action.d/note.conf:2:1 [Definition]: echo <ip> >> <file>\n",
        "action[note].file = /tmp/j\n  # ROOT/jail.local:3:1 [action]: note[file=\"/tmp/%(__name__)s\"]\n  \
         # overrides ROOT/action.d/note.conf:5:1 [Init]: /dev/null\n",
    ] {
        assert!(out.contains(expected), "{expected}is not in\n{out}");
    }
    let (out, _, _) = client(&place(LAYERS), &["--explain", "j.actionban"]);
    assert!(out.starts_with("action[note].actionban = ") && out.lines().count() == 2, "{out}");
}

#[test]
fn a_program_is_explained_by_its_brackets() {
    let tree = place(&[("jail.local", "[j]\naction = mail.py[dest=\"a@b\",\n  actname=post]\nport = 1\n")]);
    let (out, err, code) = client(&tree, &["--explain", "j.dest"]);
    assert_eq!(
        out,
        "action[post].dest = a@b\n  # ROOT/jail.local:2:1 [action]: mail.py[dest=\"a@b\",\n        actname=post]\n"
    );
    assert_eq!((&*err, code), ("", 0));
}

#[test]
fn what_can_not_be_explained_is_an_error_with_a_hint() {
    let say = |what: &str| {
        let (out, err, code) = client(&place(&[("jail.local", "[nginx]\nx = 1\n")]), &["--explain", what]);
        assert_eq!((&*out, code), ("", 255));
        err.split_once("]: ").map(|(_, text)| text.to_owned()).unwrap_or(err)
    };
    assert_eq!(say("ngnix"), "ERROR   There is no jail 'ngnix'\n  = did you mean `nginx`?\n");
    assert_eq!(
        say("j.maxretri"),
        "ERROR   The jail 'j' has no option 'maxretri'\n  = did you mean `maxretry`?\n"
    );
}

#[test]
fn an_explanation_for_programs_is_json() {
    let (out, _, code) = client(&place(LAYERS), &["--json", "--explain", "j.maxretry"]);
    let explained: Json = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        (&explained[0]["value"], &explained[0]["layers"][3]["line"], code),
        (&Json::from(30), &Json::from(2), 0)
    );
}

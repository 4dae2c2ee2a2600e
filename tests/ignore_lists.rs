//! `ignoreip` with lists that are kept elsewhere: `file:`, as fail2ban 1.1.1 has it, and `url:`.

mod support;
#[path = "support/upstream.rs"]
mod upstream;
#[path = "support/web.rs"]
mod web;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use f2b_action::parse_file;
use f2b_jail::IdSet;
use f2b_types::Id;
use jiff::Zoned;
use serde_json::{Value as Json, json};

use support::{Place, Process, binary, wait_until};
use web::{Answer, Web};

/// A directory with the jail `j`, which bans at the first failure and ignores what `ignored` says.
fn place(ignored: &str) -> Place {
    let place = Place::new();
    place.write("filter.d/f1.conf", "[Definition]\nfailregex = ^ ?fail from <HOST>$\n");
    place.write("action.d/none.conf", "[Definition]\nactionban =\n");
    configure(&place, ignored);
    place.append("j.log", "");
    place
}

fn configure(place: &Place, ignored: &str) {
    let dir = place.path().display();
    let text = format!(
        "[j]\nenabled = true\nbackend = polling\nusedns = no\nignoreself = false\nignoreip = {ignored}\n\
         maxretry = 1\nbantime = 1h\nfindtime = 1h\nfilter = f1\naction = none\nlogpath = {dir}/j.log\n"
    );
    place.write("jail.conf", &text);
}

fn fail(place: &Place, ip: &str) {
    let now = Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    place.append("j.log", &format!("{now} fail from {ip}\n"));
}

/// Lets an address fail and waits until it is ignored by this entry.
#[track_caller]
fn check_ignored(place: &Place, ip: &str, entry: &str) {
    fail(place, ip);
    place.wait_for_log(&format!("[j] Ignore {ip} by {entry}"));
}

/// Lets an address fail and waits until it is banned.
#[track_caller]
fn check_banned(place: &Place, ip: &str) {
    fail(place, ip);
    place.wait_for_log(&format!("[j] Ban {ip}"));
}

/// Stops a server and waits for its end.
#[track_caller]
fn stop(place: &Place, mut server: Process) {
    place.ask(&["stop"]);
    assert!(server.0.wait().expect("a process").success());
}

#[test]
fn a_file_is_known_before_the_first_failure_and_followed() {
    let place = place("");
    let list = place.file("office");
    place.write("office", "# the office\n203.0.113.0/24, 2001:db8::7 ; both\n");
    configure(&place, &format!("192.0.2.1 file:{} 198.51.100.0/30", list.display()));
    let entry = format!("file:/{}", list.display());
    fail(&place, "203.0.113.77");
    let server = place.start();
    place.wait_for_log(&format!("[j] Ignore 203.0.113.77 by {entry}"));
    check_ignored(&place, "2001:db8::7", &entry);
    check_banned(&place, "192.0.2.2");
    let shown = place.ask(&["get", "j", "ignoreip"]);
    let expected = "These IP addresses/networks are ignored:\n|- ";
    assert_eq!(shown, format!("{expected}{entry}\n|- 198.51.100.0/30\n`- 192.0.2.1\n"));

    place.write("office", "203.0.113.0/28\n");
    wait_until("the file is read anew", || {
        fail(&place, "203.0.113.78");
        place.log().contains("[j] Ban 203.0.113.78")
    });
    check_ignored(&place, "203.0.113.1", &entry);

    // What has gone stays in force; the log says why.
    std::fs::remove_file(&list).expect("removed");
    let shown = list.display();
    place.wait_for_log(&format!(
        "WARNING Retrieving IPs set from '{shown}' failed: [Errno 2] No such file or directory: '{shown}'"
    ));
    check_ignored(&place, "203.0.113.2", &entry);
    stop(&place, server);
}

#[test]
fn lists_come_and_go_by_command() {
    let web = Web::text("203.0.113.0/24\n");
    let place = place("");
    let (url, file) = (format!("url:{}", web.url()), format!("file:{}", place.file("office").display()));
    place.write("office", "localhost 198.51.100.0/24\n");
    let _server = place.start();
    let shown = place.ask(&["set", "j", "addignoreip", &url, &file, "192.0.2.0/24"]);
    let file_shown = file.replace("file:", "file:/");
    let head = "These IP addresses/networks are ignored:\n|- ";
    assert_eq!(shown, format!("{head}{url}\n|- {file_shown}\n`- 192.0.2.0/24\n"));
    place.wait_for_log(&format!("[j] The 1 entries of {url} are ignored"));
    check_ignored(&place, "203.0.113.1", &url);
    check_ignored(&place, "198.51.100.1", &file_shown);
    // Names in files are looked up.
    wait_until("the name is known", || {
        fail(&place, "127.0.0.1");
        place.log().contains(&format!("[j] Ignore 127.0.0.1 by {file_shown}"))
    });
    // Twice is once, and any spelling takes a file out again.
    assert_eq!(place.ask(&["set", "j", "addignoreip", &file]), shown);
    place.ask(&["set", "j", "delignoreip", &file.replace("file:", "file://")]);
    check_banned(&place, "198.51.100.2");
    assert_eq!(
        place.ask(&["set", "j", "delignoreip", &url]),
        format!("{}192.0.2.0/24\n", head.replace("|-", "`-"))
    );
    check_banned(&place, "203.0.113.2");
    let output =
        place.client(binary("f2b-client"), &["set", "j", "delignoreip", &url]).output().expect("starts");
    assert_eq!(output.status.code(), Some(255));
    let output = place
        .client(binary("f2b-client"), &["set", "j", "addignoreip", "url:ftp://h"])
        .output()
        .expect("starts");
    let text = support::both(&output);
    assert!(text.contains("a list needs an address such as https://host/path, not \"ftp://h\""), "{text}");
}

#[test]
fn a_fetched_list_is_refreshed_and_survives_every_bad_answer() {
    let web = Web::text("# v1\n203.0.113.0/25\n2001:db8::/32\n");
    let entry = format!("url:{}[refresh=1s]", web.url());
    let place = place(&entry);
    let _server = place.start();
    place.wait_for_log(&format!("[j] The 2 entries of {entry} are ignored"));
    check_ignored(&place, "203.0.113.1", &entry);
    check_ignored(&place, "2001:db8::1", &entry);
    check_banned(&place, "203.0.113.201");
    web.set(Answer::Text(200, "203.0.113.0/25 203.0.113.202\r\n198.51.100.0/24".into()));
    place.wait_for_log(&format!("[j] The 3 entries of {entry} are ignored"));
    check_ignored(&place, "203.0.113.202", &entry);
    check_banned(&place, "2001:db8::2");

    let html = "<!DOCTYPE html>\n<html><body>Please log in</body></html>\n";
    let cases = [
        (Answer::Text(500, "x".into()), "the server answers with status 500"),
        (Answer::Text(200, html.into()), "line 1: \"<!DOCTYPE\" is neither an address nor a network"),
        (Answer::Text(200, "# none\n".into()), "there is no entry in it"),
        (Answer::Huge(50 << 20), "the answer is larger than 1048576 bytes"),
        (Answer::Redirect("/".into()), "the server redirects time and again"),
        (
            Answer::Text(200, "203.0.113.0/25\n0.0.0.0/0\n".into()),
            "line 2: \"0.0.0.0/0\" is wider than /6, which nobody can mean",
        ),
    ];
    for (answer, reason) in cases {
        web.set(answer);
        place.wait_for_log(&format!(
            "WARNING [j] Unable to fetch {entry}: {reason}; the 3 entries that are known stay in force"
        ));
    }
    check_ignored(&place, "198.51.100.9", &entry);
    check_banned(&place, "192.0.2.9");
    // A reload asks nobody and forgets nothing.
    drop(web);
    place.ask(&["reload"]);
    check_ignored(&place, "198.51.100.10", &entry);
    assert_eq!(place.log().matches("Nothing is known of").count(), 1);
}

#[test]
fn a_restart_without_the_server_uses_the_copy() {
    let web = Web::text("203.0.113.0/24\n");
    let entry = format!("url:{}", web.url());
    let place = place(&entry);
    let server = place.start();
    place
        .wait_for_log(&format!("[j] Nothing is known of {entry} yet: it ignores nobody until it is fetched"));
    place.wait_for_log(&format!("[j] The 1 entries of {entry} are ignored"));
    let copies =
        || std::fs::read_dir(place.file("f2b-lists")).expect("a folder").flatten().collect::<Vec<_>>();
    wait_until("the copy is there", || copies().iter().any(|copy| copy.path().extension().is_none()));
    stop(&place, server);
    drop(web);
    fail(&place, "203.0.113.1");
    let server = place.start();
    place.wait_for_log(&format!("[j] The 1 entries of {entry} come from its copy"));
    place.wait_for_log(&format!("[j] Ignore 203.0.113.1 by {entry}"));
    place.wait_for_log("the 1 entries that are known stay in force");
    check_banned(&place, "192.0.2.1");
    stop(&place, server);

    // A copy that somebody has spoilt is no better than a bad answer.
    let [copy] = &copies()[..] else { panic!("more than one copy") };
    let text = std::fs::read_to_string(copy.path()).expect("a copy");
    assert_eq!(text, format!("# {}\n203.0.113.0/24\n", &entry[4..]));
    std::fs::write(copy.path(), "0.0.0.0/0\n").expect("written");
    let _server = place.start();
    place.wait_for_log(&format!(
        "WARNING [j] Unable to use the copy of {entry}: line 1: \"0.0.0.0/0\" is wider"
    ));
    check_banned(&place, "203.0.113.2");
}

#[test]
fn a_server_that_does_not_answer_holds_up_no_ban() {
    let web = Web::new(Answer::Slow);
    let entry = format!("url:{}", web.url());
    let place = place(&entry);
    let begin = Instant::now();
    let server = place.start();
    wait_until("the server is asked", || web.hits() > 0);
    check_banned(&place, "203.0.113.1");
    place.wait_for_log(&format!("[j] Nothing is known of {entry} yet"));
    stop(&place, server);
    assert!(begin.elapsed() < Duration::from_secs(9), "the answer has been waited for");
}

/// Tells for each file which ids upstream's class finds in it.
const PLAYER: &str = r#"
import json, sys, tempfile
from fail2ban.server.ipdns import FileIPAddrSet, IPAddr
found = []
for text, ids in json.load(sys.stdin):
    with tempfile.NamedTemporaryFile('w') as file:
        file.write(text)
        file.flush()
        listed = FileIPAddrSet(file.name)
        found.append([IPAddr(id) in listed for id in ids])
shown = []
for entry in ['file:/etc/x', 'file://etc/x', 'file:///etc/x', 'file:./x', 'file:/../x', 'file:x', 'file:/xyz/y']:
    shown.append(repr(FileIPAddrSet(FileIPAddrSet.RE_FILE_IGN_IP.match(entry).group(1))))
print(json.dumps([found, shown]))
"#;

/// What is in a file and how it is shown, beside upstream's class. Debian's fail2ban does not have it yet: run it with
/// `PYTHONPATH` at the source of a later one.
#[test]
fn files_are_read_as_fail2ban_reads_them() {
    let python = |program: &str| {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-W", "ignore", "-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    };
    let has_class = python("from fail2ban.server.ipdns import FileIPAddrSet").stderr(Stdio::null()).status();
    if !has_class.is_ok_and(|status| status.success()) {
        // Not `support::available`: this is so in CI too.
        let _ = writeln!(std::io::stderr(), "skipped: this fail2ban knows no `ignoreip = file:`");
        return;
    }
    let ids = [
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.130",
        "2001:db8::1",
        "2001:db8:1::1",
        "198.51.100.9",
        "::",
        "10.0.0.1",
    ];
    let texts = [
        "",
        "192.0.2.1",
        "192.0.2.1,192.0.2.2 , 2001:db8::1\n",
        "192.0.2.0/25;192.0.2.130\n",
        "192.0.2.0/25 ;192.0.2.130\n198.51.100.0/255.255.255.0",
        "#192.0.2.1\n  # 192.0.2.2\n192.0.2.130#x\n\t;x\n2001:db8::/32\r\n10.0.0.1",
        "192.0.2.1\r192.0.2.2\r\n[2001:db8::1]\u{b}198.51.100.9\u{a0}10.0.0.1",
        "0.0.0.0/0",
        "::/0 0.0.0.0",
        "192.0.2.0/24,10.0.0.0/8,2001:db8::/48",
        "::ffff:192.0.2.2 300.1.2.3/8",
    ];
    let cases: Vec<Json> = texts.iter().map(|text| json!([text, ids])).collect();
    let mut child = python(PLAYER).spawn().expect("python starts");
    let input = serde_json::to_vec(&cases).expect("JSON");
    child.stdin.take().expect("a pipe").write_all(&input).expect("python listens");
    let output = child.wait_with_output().expect("python ends");
    let theirs: Json = serde_json::from_slice(&output.stdout).expect("JSON");
    for (text, theirs) in texts.iter().zip(theirs[0].as_array().expect("a list")) {
        let set: IdSet = parse_file(text).into_iter().collect();
        let ours: Vec<bool> = ids.iter().map(|id| set.contains(&Id::parse(id))).collect();
        assert_eq!(&json!(ours), theirs, "{text:?}");
    }
    let entries =
        ["file:/etc/x", "file://etc/x", "file:///etc/x", "file:./x", "file:/../x", "file:x", "file:/xyz/y"];
    let ours: Vec<String> = entries
        .iter()
        .map(|entry| f2b_jail::ListSource::parse(entry).expect("no error").expect("a list").to_string())
        .collect();
    assert_eq!(json!(ours), theirs[1]);
}

/// What a server says of failures whom a command is asked about, and how often the command is run.
fn asked(start: impl FnOnce(&Place) -> Process, cache: &str) -> (Vec<String>, Vec<String>) {
    let place = place("192.0.2.9");
    let dir = place.path().display().to_string();
    let command = "echo \"<ip> <F-USER>\" >> DIR/asked; test '<ip>' = 192.0.2.2 -o '<ip>' = 2001:db8::2 && exit 0; exit 1";
    let text =
        place.read("jail.conf") + &format!("ignorecommand = {command}\n{cache}\n").replace("DIR", &dir);
    place.write("jail.conf", &text.replace("maxretry = 1", "maxretry = 2"));
    place
        .write("filter.d/f1.conf", "[Definition]\nfailregex = ^ ?fail of <F-USER>.*</F-USER> from <HOST>$\n");
    let server = start(&place);
    let now = Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    for ip in ["192.0.2.1", "192.0.2.2", "192.0.2.9", "2001:db8::2", "192.0.2.2", "192.0.2.1"] {
        place.append("j.log", &format!("{now} fail of $(it's) from {ip}\n"));
    }
    place.wait_for_log("[j] Ban 192.0.2.1");
    let log = place.log();
    let said = log.lines().filter_map(|line| line.split_once("[j] ")).map(|(_, text)| text);
    let said = said.filter(|text| ["Ignore", "Found", "Ban"].iter().any(|word| text.starts_with(word)));
    let without_time = |text: &str| text.split(" - ").next().unwrap_or_default().to_owned();
    let said = said.map(without_time).collect();
    drop(server);
    (said, place.read("asked").lines().map(str::to_owned).collect())
}

#[test]
fn a_command_has_the_last_word() {
    let (said, calls) = asked(Place::start, "");
    assert_eq!(
        said,
        [
            "Found 192.0.2.1",
            "Ignore 192.0.2.2 by command",
            "Ignore 192.0.2.9 by ip",
            "Ignore 2001:db8::2 by command",
            "Ignore 192.0.2.2 by command",
            "Found 192.0.2.1",
            "Ban 192.0.2.1",
        ]
        .map(String::from)
    );
    let user = |ip: &str| format!("{ip} $(it's)");
    assert_eq!(calls, ["192.0.2.1", "192.0.2.2", "2001:db8::2", "192.0.2.2", "192.0.2.1"].map(user));
    let cached = asked(Place::start, "ignorecache = key=\"<ip>\", max-count=10, max-time=1m");
    assert_eq!(cached.1, ["192.0.2.1", "192.0.2.2", "2001:db8::2"].map(user));
    if upstream::version().is_some() {
        assert_eq!((said, calls), asked(upstream::start, ""), "ours first");
        let theirs = asked(upstream::start, "ignorecache = key=\"<ip>\", max-count=10, max-time=1m");
        assert_eq!(cached, theirs, "with a cache, ours first");
    }
}

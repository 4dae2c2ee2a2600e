//! `docs/differences.md` is the one list of what differs from fail2ban on purpose: each entry names a test that exists.
//! The tests of entries that belong nowhere else are here.

mod support;

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use f2b_protocol::frame::{END, pack};
use f2b_protocol::pickle::{self, Limits};
use f2b_protocol::{Command, Value, reply_from_value};
use support::{Place, binary, both, repository, wait_until};

#[test]
fn every_entry_of_the_list_is_shown_by_a_test() {
    let list = fs::read_to_string(repository().join("docs/differences.md")).expect("the list");
    let rows: Vec<Vec<&str>> = list
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    assert!(rows.len() >= 15, "{} entries", rows.len());
    let mut ids = HashSet::new();
    for row in rows {
        let [id, theirs, ours, why, shown] = row.as_slice() else { panic!("not five cells: {row:?}") };
        assert!(ids.insert(*id), "{id} is there twice");
        assert!([theirs, ours, why].iter().all(|text| !text.is_empty()), "{id} has an empty cell");
        let (file, test) = shown.split_once("::").unwrap_or_else(|| panic!("{id} names no test"));
        let source =
            fs::read_to_string(repository().join(file)).unwrap_or_else(|e| panic!("{id}: {file}: {e}"));
        let test = format!("#[test]\n{}fn {test}()", indentation(&source, test));
        assert!(source.contains(&test), "{id}: no {test} in {file}");
    }
}

/// What stands before the test in its file.
fn indentation<'a>(source: &'a str, test: &str) -> &'a str {
    let head = format!("fn {test}()");
    let line = source.lines().find(|line| line.contains(&head)).unwrap_or_default();
    &line[..line.find("fn ").unwrap_or(0)]
}

/// Two jails; the action of the first waits until there is a file `go`.
fn place() -> Place {
    let place = Place::new();
    let dir = place.path().display().to_string();
    place.write("filter.d/login.conf", "[Definition]\nfailregex = ^.* failed login from <HOST>$\n");
    place.write(
        "action.d/note.conf",
        "[Definition]\nactionban = until [ -e <gate> ]; do sleep 0.05; done; echo <ip> >> <file>\n",
    );
    let mut conf = "[DEFAULT]\nenabled = true\nfilter = login\nmaxretry = 1\nignoreself = false\n".to_owned();
    for (jail, gate) in [("slow", "go"), ("quick", "jail.conf")] {
        place.write(&format!("{jail}.log"), "");
        conf += &format!(
            "[{jail}]\nlogpath = {dir}/{jail}.log\naction = note[gate={dir}/{gate}, file={dir}/{jail}.bans]\n"
        );
    }
    place.write("jail.conf", &conf);
    place
}

fn fail(place: &Place, jail: &str, ip: &str) {
    let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    place.append(&format!("{jail}.log"), &format!("{now} failed login from {ip}\n"));
}

fn start(place: &Place) -> support::Process {
    let server = place.start();
    wait_until("the jails run", || {
        let mut status = place.client(binary("f2b-client"), &["status", "quick"]);
        status.output().is_ok_and(|output| output.status.success())
    });
    server
}

/// Sends a message as it is.
fn send(place: &Place, command: Command) -> Result<Value, String> {
    let mut stream = UnixStream::connect(place.file("f2b.sock")).expect("the socket");
    stream.write_all(&pack(&command.into())).expect("a write");
    let mut reply = Vec::new();
    while !reply.ends_with(END) {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).expect("a reply");
        assert!(count > 0, "the server has hung up");
        reply.extend_from_slice(&chunk[..count]);
    }
    reply.truncate(reply.len() - END.len());
    let value = pickle::decode(&reply, &Limits::default()).expect("a pickle");
    reply_from_value(value).expect("a reply").map_err(|exception| exception.to_string())
}

#[test]
fn a_slow_action_delays_no_other_jail() {
    let place = place();
    let _server = start(&place);
    fail(&place, "slow", "192.0.2.1");
    place.wait_for_log("[slow] Ban 192.0.2.1");
    for host in 1..=20 {
        fail(&place, "quick", &format!("198.51.100.{host}"));
    }
    wait_until("the quick jail has banned", || place.read("quick.bans").lines().count() == 20);
    assert!(!place.read("slow.bans").contains("192.0.2.1"), "the slow action is still at it");
    assert!(place.ask(&["status", "slow"]).contains("192.0.2.1"), "and commands are answered");
    place.write("go", "");
    wait_until("the slow jail has banned", || place.read("slow.bans").contains("192.0.2.1"));
}

#[test]
fn a_reload_with_a_broken_jail_changes_nothing() {
    let place = place();
    let _server = start(&place);
    place.write("jail.local", "[slow]\nfailregex = ^(\n[quick]\nmaxretry = 77\n");
    let output = place.client(binary("f2b-client"), &["reload"]).output().expect("the client starts");
    let said = both(&output);
    assert_eq!(output.status.code(), Some(255), "{said}");
    assert!(said.contains("jail.local:2:13"), "{said}");
    assert_eq!(place.ask(&["get", "quick", "maxretry"]).trim(), "1");
    assert!(place.ask(&["status"]).contains("quick, slow"));
}

#[test]
fn a_reload_without_commands_changes_nothing() {
    let place = place();
    let _server = start(&place);
    let command = Command(vec!["reload".into(), "--all".into(), Value::List(Vec::new())]);
    assert!(send(&place, command).is_err_and(|error| error.starts_with("IndexError(")));
    assert!(place.ask(&["status"]).contains("quick, slow"));
}

#[test]
fn an_address_that_is_no_text_is_refused() {
    let place = place();
    let _server = start(&place);
    for words in [vec!["set".into(), "quick".into(), "banip".into()], vec!["banned".into()]] {
        let mut command = Command(words);
        command.0.push(Value::Int(5));
        assert!(send(&place, command).is_err());
    }
    assert!(place.ask(&["status", "quick"]).contains("Currently banned:\t0"));
}

#[test]
fn any_spelling_of_an_address_ends_its_ban() {
    let place = place();
    let _server = start(&place);
    assert_eq!(place.ask(&["set", "quick", "banip", "2001:DB8:0::6"]).trim(), "1");
    assert_eq!(place.ask(&["get", "quick", "banip"]).trim(), "2001:db8::6");
    assert_eq!(place.ask(&["set", "quick", "unbanip", "2001:DB8:0::6"]).trim(), "1");
    assert_eq!(place.ask(&["get", "quick", "banip"]).trim(), "");
}

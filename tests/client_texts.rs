//! What the client prints of the server, command by command and error by error, as it is pinned in
//! `snapshots/client.txt`. `server_interop.rs` compares the same commands with upstream's programs; with `F2B_UPDATE` set
//! this test writes the file anew.

#[path = "support/commands.rs"]
mod commands;
mod support;
#[path = "support/upstream.rs"]
mod upstream;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use commands::{PINNED, Pinned, ask_ours, configure, is_output, pinned, shown};
use serde_json::Value as Json;
use support::{Place, Process, repository, wait_until};

/// Our server with its jails, once it has read their logs.
fn start(place: &Place) -> Process {
    let now = Timestamp::now();
    configure(place, now);
    let server = place.spawn(place.server().env("TZ", "UTC"));
    let settle = |jail: &str, text: &str| {
        wait_until(&format!("{text} in {jail}"), || place.ask(&["status", jail]).contains(text));
    };
    settle("j1", "Total banned:\t1");
    settle("j2", "Total failed:\t1");
    let time = now.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S");
    place.append("j1.log", &format!("{time} other joe 198.51.100.4\n").repeat(3));
    settle("j1", "Total banned:\t2");
    server
}

#[test]
fn every_command_can_be_answered_as_json() {
    let place = Place::new();
    let _server = start(&place);
    let mut wrong = Vec::new();
    // That one asks no server.
    for Pinned { command, expected, .. } in
        pinned().into_iter().filter(|pinned| !pinned.command.starts_with("--str2sec"))
    {
        let told = ask_ours(&place, &format!("--json {command}"));
        let fails = expected.lines().any(|line| line == "= 255");
        let fits = match serde_json::from_str(&told.stdout) {
            Ok(Json::Object(refusal)) if fails => {
                refusal["error"].is_string() && refusal["class"].is_string()
            }
            Ok(_) => !fails,
            // Nobody has answered.
            Err(_) => fails && told.stdout.is_empty() && !told.stderr.is_empty(),
        };
        if !fits || told.code != if fails { 255 } else { 0 } {
            wrong.push(format!("{command}: {told:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} commands:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn texts_are_as_pinned() {
    let place = Place::new();
    let _server = start(&place);
    let found: Vec<(Pinned, String)> = pinned()
        .into_iter()
        .map(|pinned| {
            let text = shown(&pinned.command, &ask_ours(&place, &pinned.command));
            (pinned, text)
        })
        .collect();
    if std::env::var_os("F2B_UPDATE").is_some() {
        write(found.iter().map(|(_, text)| text.as_str()));
        return;
    }
    let wrong = found.iter().filter(|(pinned, text)| pinned.expected != *text);
    let wrong: Vec<String> = wrong
        .map(|(Pinned { command, expected, .. }, text)| format!("$ {command}\n{expected}has become\n{text}"))
        .collect();
    assert!(wrong.is_empty(), "{} texts:\n{}", wrong.len(), wrong.join("\n"));
}

/// Writes the file anew: its commands and headings, with these texts.
fn write<'a>(mut texts: impl Iterator<Item = &'a str>) {
    let mut file = String::new();
    for line in PINNED.lines().filter(|line| !is_output(line)) {
        file += &format!("{line}\n");
        if line.starts_with("$ ") {
            file += texts.next().expect("a text for each command");
        }
    }
    std::fs::write(repository().join("tests/snapshots/client.txt"), file).expect("the file is written");
}

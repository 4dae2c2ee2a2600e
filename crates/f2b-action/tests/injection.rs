//! Text from a log line on its way through a real shell: whatever it is, it stays text.

use std::path::Path;
use std::time::{Duration, Instant};

use f2b_action::{Actions, Context, FixedNames, JailCounts, Shell};
use f2b_types::{Id, Recorder, Ticket, Time};
use tempfile::TempDir;

struct Place {
    directory: TempDir,
    names: FixedNames,
    log: Recorder,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        Self { directory, names: FixedNames::default(), log: Recorder::default() }
    }

    fn context(&self) -> Context<'_> {
        Context {
            now: Time(1e9),
            ban_time: 600.0,
            counts: JailCounts::default(),
            ipv6: true,
            shell: &Shell,
            names: &self.names,
            earlier: None,
            log: &self.log,
        }
    }

    /// Actions of which the one called `name` bans by this command.
    fn actions(&self, name: &str, command: &str, timeout: &str) -> Actions {
        let mut actions = Actions::new("j");
        actions.add(name, &self.context()).expect("added");
        let out = self.directory.path().join("out").to_string_lossy().into_owned();
        for (property, value) in [("actionban", command), ("timeout", timeout), ("out", &out)] {
            actions.set(name, property, value.into(), &self.context()).expect("set");
        }
        actions
    }

    fn out(&self) -> Option<String> {
        let bytes = std::fs::read(self.directory.path().join("out")).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn ticket(text: &str) -> Ticket {
    let mut ticket = Ticket::new(Id::raw(text), Time(1e9));
    ticket.data.matches.push(text.into());
    ticket.data.fields.insert("user".into(), text.into());
    ticket
}

#[test]
fn captured_text_is_never_executed() {
    let place = Place::new();
    let evil = place.directory.path().join("evil").to_string_lossy().into_owned();
    let texts = [
        "$(touch EVIL)",
        "`touch EVIL`",
        "'; touch EVIL; '",
        "\"; touch EVIL; \"",
        "\"$(touch EVIL)\"",
        "a\ntouch EVIL\n",
        "a\rtouch EVIL\r",
        "x && touch EVIL",
        "x | touch EVIL",
        "x > EVIL",
        "x & touch EVIL &",
        "\\'; touch EVIL #",
        "$0 $1 ${f2bV_matches} <ip> <matches> <F-USER>",
        "* ? ~ [a-z] {a,b} !! ^",
        "-rf / --help",
        "ünïcödé \u{1f600} \u{202e}",
    ];
    for command in [
        "printf %s \"<matches>\" > <out>",
        "x=\"<F-USER>\"; printf %s \"$x\" > <out>",
        "printf %s \"<F-USER>\" > <out>\n# <ip> <fid> <raw-ticket> <F-*>",
        "cat > <out> <<EOF\n<ip>\nEOF\ntruncate -s -1 <out>",
    ] {
        for text in texts {
            let text = text.replace("EVIL", &evil);
            place.actions("a", command, "10").ban(&ticket(&text), &place.context());
            assert!(!Path::new(&evil).exists(), "{command} with {text}");
            assert_eq!(place.out(), Some(text), "{command}");
        }
    }
}

#[test]
fn a_nul_is_refused() {
    let place = Place::new();
    place.actions("a", "echo <F-USER> > <out>", "10").ban(&ticket("a\0b"), &place.context());
    assert_eq!(place.out(), None);
    let lines = place.log.lines();
    let failed = |line: &String| {
        line.starts_with("ERROR Failed to execute ban jail 'j' action 'a' info 'ActionInfo({")
            && line.ends_with(": embedded null byte")
    };
    assert!(lines.iter().any(failed), "{lines:?}");
}

#[test]
fn what_hangs_is_ended_and_tried_again() {
    let place = Place::new();
    let started = Instant::now();
    place.actions("a", "echo x >> <out>; sleep 60 & sleep 60", "2.5").ban(&ticket("x"), &place.context());
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(place.out().as_deref(), Some("x\nx\n"));
    let lines = place.log.lines();
    assert_eq!(lines.iter().filter(|line| line.ends_with(" -- timed out after 2.5 seconds.")).count(), 2);
    let killed = |line: &&String| line.ends_with(" -- killed with SIGTERM (return code: -15)");
    assert_eq!(lines.iter().filter(killed).count(), 2, "{lines:?}");
}

#[test]
fn a_missing_command_is_explained() {
    let place = Place::new();
    place.actions("a", "no-such-command-at-all <ip>", "10").ban(&ticket("x"), &place.context());
    let lines = place.log.lines();
    for part in [" -- exec: no-such-command-at-all x", " -- stderr: ", " -- returned 127"] {
        assert!(
            lines.iter().any(|line| line.starts_with("ERROR ") && line.contains(part)),
            "{part}: {lines:?}"
        );
    }
    assert!(
        lines.iter().any(|line| line.starts_with("INFO HINT on 127: \"Command not found\".")),
        "{lines:?}"
    );
    assert!(lines.last().is_some_and(|line| line.ends_with(": Error banning x")), "{lines:?}");
}

//! What a mail server receives, and what is logged about it: the built-in action beside the installed `smtp.py`.
//!
//! Each scenario is played twice against servers of the same mood. Compared are envelopes, and headers and bodies as a
//! reader sees them: the release that Debian has chooses other encodings than 1.1.1 for the same text. Skipped where
//! fail2ban is not installed, unless `F2B_CI` is set; `F2B_TEST_SMTP` names another `smtp.py`.

#[path = "../../../tests/support/mailbox.rs"]
mod mailbox;

use std::io::{Write, stderr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use f2b_action::{Actions, Context, EarlierBans, FixedNames, JailCounts, Shell};
use f2b_types::{FailData, Id, Level, Log, Record, Recorder, Ticket, Time};
use mailbox::{Letter, Mailbox, Mood};
use serde_json::{Value as Json, json};

/// Plays a scenario with the class in `smtp.py`.
const PLAYER: &str = r#"
import importlib.machinery, json, logging, socket, sys, types
socket.gethostname = lambda: "host"
socket.getfqdn = lambda *args: "host.example.org"
from fail2ban.server.actions import Actions
from fail2ban.server.ticket import FailTicket

log = []
class Collect(logging.Handler):
    def emit(self, record):
        if record.levelno >= logging.WARNING:
            log.append("%s %s" % (record.levelname, record.getMessage()))
logging.getLogger("fail2ban").setLevel(logging.WARNING)
logging.getLogger("fail2ban").addHandler(Collect())

scenario = json.load(sys.stdin)
class Database:
    def getBansMerged(self, ip=None, jail=None, bantime=None):
        return FailTicket(ip, 1, ["x in jail" if jail else "x anywhere"], {"failures": 7})
class Jail:
    name, database = scenario["jail"], Database()
    class actions:
        @staticmethod
        def getBanTime(): return 600
jail = Jail()
loader = importlib.machinery.SourceFileLoader("smtp", scenario["file"])
module = types.ModuleType(loader.name)
loader.exec_module(module)
action = module.Action(jail, "smtp", **scenario["options"])

for step in scenario["steps"]:
    try:
        if step["do"] == "ban":
            ticket = FailTicket(step["id"], 1700000000.0, step["matches"], {"failures": 3})
            ticket.restored = step.get("restored", False)
            action.ban(Actions.ActionInfo(ticket, jail))
        else:
            getattr(action, step["do"])()
    except Exception as e:
        logging.getLogger("fail2ban.actions").error("Failed to %s jail '%s' action '%s': %s", step["do"], jail.name, "smtp", e)
print(json.dumps(log))
"#;

/// Shows mails as a reader sees them.
const READER: &str = r#"
import email, email.policy, json, sys
shown = []
for text in json.load(sys.stdin):
    mail = email.message_from_bytes(text.encode("latin-1"), policy=email.policy.default)
    hidden = ("date", "message-id", "content-type", "content-transfer-encoding")
    headers = sorted([name.lower(), str(value)] for name, value in mail.items() if name.lower() not in hidden)
    shown.append([headers, mail.get_content_type(), mail.get_content().replace("\r\n", "\n").rstrip("\n")])
print(json.dumps(shown))
"#;

fn python(program: &str, input: &Json) -> Json {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-W", "ignore", "-c", program]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("python starts");
    let bytes = serde_json::to_vec(input).expect("JSON");
    child.stdin.take().expect("a pipe").write_all(&bytes).expect("python listens");
    let output = child.wait_with_output().expect("python ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The `smtp.py` to compare with; says why a test is skipped where there is none.
fn upstreams_file() -> Option<String> {
    let file = std::env::var("F2B_TEST_SMTP").unwrap_or("/etc/fail2ban/action.d/smtp.py".into());
    let mut import = Command::new("/usr/bin/python3");
    import.args(["-W", "ignore", "-c", "import fail2ban.server.actions"]).stderr(Stdio::null());
    if Path::new(&file).is_file() && import.status().is_ok_and(|status| status.success()) {
        return Some(file);
    }
    assert!(std::env::var_os("F2B_CI").is_none(), "fail2ban is not installed");
    let _ = writeln!(stderr(), "skipped: {} needs fail2ban", thread::current().name().unwrap_or("a test"));
    None
}

/// All earlier bans.
struct Earlier;

impl EarlierBans for Earlier {
    fn merged(&self, _: &Id, jail: Option<&str>) -> Result<Option<FailData>, String> {
        let line = if jail.is_some() { "x in jail" } else { "x anywhere" };
        Ok(Some(FailData { matches: vec![line.into()], failures: 7, ..FailData::default() }))
    }
}

/// Only what an administrator is to see.
#[derive(Default)]
struct Warnings(Recorder);

impl Log for Warnings {
    fn enabled(&self, level: Level) -> bool {
        level >= Level::WARNING
    }

    fn write(&self, record: Record) {
        if self.enabled(record.level) {
            self.0.write(record);
        }
    }
}

/// Plays a scenario with the built-in action; its log.
fn play(jail: &str, options: &Json, steps: &[Json]) -> Vec<String> {
    let (names, log) = (FixedNames::default(), Warnings::default());
    let context = Context {
        now: Time(1_700_000_000.0),
        ban_time: 600.0,
        counts: JailCounts::default(),
        ipv6: true,
        shell: &Shell,
        names: &names,
        earlier: Some(&Earlier),
        log: &log,
    };
    let mut actions = Actions::new(jail);
    actions.add_mail("smtp", &options.to_string()).expect("added");
    for step in steps {
        let ticket = || {
            let mut ticket = Ticket::new(Id::parse(step["id"].as_str().expect("an id")), context.now);
            ticket.restored = step["restored"] == true;
            ticket.data.failures = 3;
            let lines = step["matches"].as_array().expect("lines");
            ticket.data.matches = lines.iter().map(|line| line.as_str().expect("a line").into()).collect();
            ticket
        };
        match step["do"].as_str() {
            Some("start") => actions.start(&context),
            Some("stop") => actions.stop(&[], &context),
            _ => actions.ban(&ticket(), &context),
        }
    }
    log.0.lines()
}

/// Plays a scenario there and here; true unless it was skipped.
#[track_caller]
fn check(mood: Mood, jail: &str, options: &Json, steps: &[Json]) {
    let Some(file) = upstreams_file() else { return };
    let (theirs, ours) = (Mailbox::new(mood), Mailbox::new(mood));
    let with_host = |mailbox: &Mailbox| {
        let mut options = options.clone();
        options["host"] = mailbox.host().into();
        options
    };
    let scenario = json!({"file": file, "jail": jail, "options": with_host(&theirs), "steps": steps});
    let their_log: Vec<String> = serde_json::from_value(python(PLAYER, &scenario)).expect("lines");
    let our_log = play(jail, &with_host(&ours), steps);
    let hostless = |log: &[String], mailbox: &Mailbox| -> Vec<String> {
        log.iter().map(|line| line.replace(&mailbox.host(), "HOST")).collect()
    };
    assert_eq!(hostless(&our_log, &ours), hostless(&their_log, &theirs));

    let (their_letters, our_letters) = (theirs.letters(), ours.letters());
    let envelope = |letter: &Letter| (letter.from.clone(), letter.to.clone(), letter.login.clone());
    assert_eq!(
        our_letters.iter().map(envelope).collect::<Vec<_>>(),
        their_letters.iter().map(envelope).collect::<Vec<_>>()
    );
    let read = |letters: &[Letter]| {
        let texts: Vec<Json> = letters.iter().map(|letter| letter.data.as_str().into()).collect();
        python(READER, &texts.into())
    };
    assert_eq!(read(&our_letters), read(&their_letters));
}

fn ban(id: &str, matches: &[&str]) -> Json {
    json!({"do": "ban", "id": id, "matches": matches})
}

#[test]
fn the_life_of_a_jail_is_told() {
    let restored = json!({"do": "ban", "id": "192.0.2.9", "matches": ["x"], "restored": true});
    let steps = [
        json!({"do": "start"}),
        ban("192.0.2.1", &["line 1", "line 2"]),
        restored,
        ban("2001:db8::1", &[]),
        json!({"do": "stop"}),
    ];
    check(Mood::Kind, "sshd", &json!({}), &steps);
}

#[test]
fn bans_are_told_with_the_lines_that_are_wanted() {
    for matches in ["matches", "ipmatches", "ipjailmatches", "other"] {
        let steps = [ban("192.0.2.1", &["Nov 1 host sshd: one", "Nov 1 host sshd: two"])];
        check(Mood::Kind, "sshd", &json!({"matches": matches}), &steps);
    }
}

#[test]
fn any_text_arrives_as_it_was() {
    let long = "x ".repeat(1000);
    let lines = [
        ".",
        "..two",
        "From here",
        "100%s %(ip)s",
        "tab\there",
        "Zürich ☃",
        "trailing ",
        "=3D =?utf-8?q?x?=",
        &long,
    ];
    check(Mood::Kind, "sshd", &json!({"matches": "matches"}), &[ban("192.0.2.1", &lines)]);
    check(Mood::Kind, "sshd", &json!({"matches": "matches"}), &[ban("192.0.2.1", &lines[..5])]);
    let jail = "a-jail-with-a-name-that-makes-its-subject-longer-than-a-line-should-be";
    let steps = [json!({"do": "start"}), ban("some user with a name", &[])];
    check(Mood::Kind, jail, &json!({}), &steps);
}

#[test]
fn senders_and_recipients_are_those_of_the_configuration() {
    let start = [json!({"do": "start"})];
    for name in ["Test", "", "Fail2Ban, at \"home\"", "Wächter"] {
        let options =
            json!({"sendername": name, "sender": "f@example.org", "dest": "a@example.org, b@example.org"});
        check(Mood::Kind, "sshd", &options, &start);
    }
    let options = json!({"user": "me", "password": "it's secret"});
    check(Mood::Kind, "sshd", &options, &start);
}

#[test]
fn refusals_are_logged_in_the_same_words() {
    let steps = [json!({"do": "start"})];
    let two = json!({"dest": "nobody@example.org, b@example.org"});
    let login = json!({"user": "me", "password": "wrong"});
    for mood in [Mood::NoSender, Mood::NoRecipient(""), Mood::NoData] {
        check(mood, "sshd", &json!({}), &steps);
    }
    check(Mood::NoRecipient("nobody"), "sshd", &two, &steps);
    check(Mood::NoLogin, "sshd", &login, &steps);
}

#[test]
fn a_server_that_is_no_help_is_an_error_and_no_more() {
    let refused = play("sshd", &json!({"host": "127.0.0.1:1"}), &[json!({"do": "start"})]);
    let expected = "ERROR Failed to start jail 'sshd' action 'smtp': [Errno 111] Connection refused";
    assert_eq!(refused, [expected]);
    // Upstream means to log the first line, and connects where it does not catch the error.
    let busy = Mailbox::new(Mood::Busy);
    let log = play("sshd", &json!({"host": busy.host()}), &[json!({"do": "start"})]);
    let connecting = format!("ERROR Error connecting to host '{}'", busy.host());
    let failed = "ERROR Failed to start jail 'sshd' action 'smtp': (554, b'5.3.2 go away')";
    assert_eq!(log, [connecting.as_str(), failed]);
    let rude = Mailbox::new(Mood::Rude);
    let log = play("sshd", &json!({"host": rude.host()}), &[ban("192.0.2.1", &[])]);
    assert!(
        log.last().is_some_and(|line| line.contains("Failed to execute ban jail 'sshd' action 'smtp'")),
        "{log:?}"
    );
    let log = play("sshd", &json!({"host": rude.host(), "ssl": "yes"}), &[json!({"do": "start"})]);
    assert!(!log.is_empty());
    let plain = Mailbox::new(Mood::Kind);
    let log = play("sshd", &json!({"host": plain.host(), "ssl": true}), &[json!({"do": "start"})]);
    let expected =
        "ERROR Failed to start jail 'sshd' action 'smtp': STARTTLS extension not supported by server.";
    assert_eq!(log.last().map(String::as_str), Some(expected));
    assert!(plain.letters().is_empty());
}

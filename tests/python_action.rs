//! Actions written in Python in a configuration: the same files, in the manner of what people publish, run by upstream's
//! server and by ours, with the same commands; what they do, answer and log has to be the same.

mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use support::{Place, Process, wait_until};
use upstream::Driver;

/// Writes down everything it hears of, and counts.
const NOTE: &str = r#"
import threading
from fail2ban.server.actions import ActionBase, CallingMap

class NoteAction(ActionBase):
    """Keeps a diary."""
    shared = []

    def __init__(self, jail, name, file, prefix="", limit="3"):
        super(NoteAction, self).__init__(jail, name)
        self.file, self.prefix, self.limit = file, prefix, int(limit)
        self.count, self.seen = 0, {}
        self.lock = threading.Lock()
        self.values = CallingMap(jail=self._jail.name, count=lambda: self.count, bantime=lambda: self._jail.actions.getBanTime())
        self._note("init", self._name, self._jail)

    def _note(self, *words):
        with self.lock, open(self.file, "a") as out:
            out.write(self.prefix + " ".join(str(word) for word in words) + "\n")

    def start(self):
        self._note("start %(jail)s %(count)d %(bantime)d" % self.values)

    def stop(self):
        self._note("stop %(count)d" % self.values, sorted(self.seen.items()), self.shared)

    def ban(self, aInfo):
        self.count += 1
        self.seen[str(aInfo["ip"])] = self.seen.get(str(aInfo["ip"]), 0) + 1
        self.shared.append(self.count)
        for key in sorted(aInfo):
            if key not in ("time", "ip-host", "raw-ticket", "jail.name"):
                self._note("ban", key, type(aInfo[key]).__name__, repr(aInfo[key]))
        self._note("ban", repr(aInfo["raw-ticket"]).count("matches="), abs(aInfo["time"] - __import__("time").time()) < 600)
        aInfo["ip"] = "changed"
        self._logSys.info("Noted %s, %s so far", aInfo["fid"], self.count)
        if self.count >= self.limit:
            self._logSys.warning("That is a lot: %r", self.shared)

    def unban(self, aInfo):
        self._note("unban", aInfo["ip"], aInfo["failures"], aInfo["bantime"], "F-*" in aInfo, aInfo.get("nothing"))

    @property
    def double(self):
        return 2 * self.count

    def report(self, text, times=1, **more):
        self._logSys.notice("report %s", text)
        return {"text": text * times, "more": more, "tuple": (1, 2.5, None, True), "jail": self._jail.name}

    def broken(self, kind="ValueError"):
        raise {"ValueError": ValueError, "KeyError": KeyError, "OSError": OSError}[kind](5, "as wanted")

Action = NoteAction
"#;

/// Tells a web service.
const HOOK: &str = r#"
import json
import urllib.request
from fail2ban.server.action import ActionBase

class Action(ActionBase):
    def __init__(self, jail, name, url, **fields):
        super().__init__(jail, name)
        self.url, self.fields = url, fields
        self.norestored = 1

    def send(self, **values):
        body = json.dumps(dict(self.fields, jail=self._jail.name, **values), sort_keys=True).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()

    def start(self): self._logSys.info("start: %s", self.send(what="start"))
    def stop(self): self.send(what="stop")

    def ban(self, aInfo):
        answer = self.send(what="ban", ip=str(aInfo["ip"]), failures=aInfo["failures"], lines=aInfo["matches"])
        self._logSys.info("ban: %s", answer)

    def unban(self, aInfo): self.send(what="unban", ip=str(aInfo["ip"]))
"#;

/// Fails wherever it can.
const RAISES: &str = r#"
from fail2ban.server.action import ActionBase

class Action(ActionBase):
    def start(self): raise RuntimeError("no start")
    def stop(self): raise RuntimeError()
    def ban(self, aInfo): raise KeyError(str(aInfo["ip"]))
    def unban(self, aInfo): raise OSError(13, "not you", "/etc/x")
    def flush(self): raise ValueError("no flush")
"#;

/// Web requests that somebody got, by their bodies.
struct Hook {
    url: String,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Hook {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
        let taken = Arc::clone(&bodies);
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let (mut text, mut buffer) = (String::new(), [0; 4096]);
                while !text.contains("\r\n\r\n") || !text.ends_with('}') {
                    let count = stream.read(&mut buffer).unwrap_or(0);
                    if count == 0 {
                        break;
                    }
                    text += &String::from_utf8_lossy(&buffer[..count]);
                }
                let body = text.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned();
                let answer = format!("HTTP/1.0 200 OK\r\n\r\nthank you for {} bytes", body.len());
                taken.lock().expect("no panic").push(body);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { url, bodies }
    }
}

/// A server in its own directory.
struct Side {
    place: Place,
    hook: Hook,
    process: Option<Process>,
    is_ours: bool,
}

const FILES: &[(&str, &str)] = &[
    ("note", NOTE),
    ("hook", HOOK),
    ("raises", RAISES),
    ("syntax", "def x(:\n    pass\n"),
    ("indent", "class Action:\nx = 1\n"),
    ("empty", "x = 1\n"),
    ("lacks", "class Action:\n    def start(self): pass\n"),
    (
        "duck",
        "class Action:\n    def __init__(self, jail, name): self.jail = jail\n    def start(self): pass\n    stop = start\n    def ban(self, i): pass\n    reban = unban = ban\n",
    ),
    ("number", "Action = 5\n"),
    ("module", "import no_such_module\n"),
    ("name", "from fail2ban.server.action import NoSuchName\n"),
    ("early", "raise ValueError('too early', 7)\n"),
    (
        "late",
        "from fail2ban.server.action import ActionBase\nclass Action(ActionBase):\n    def __init__(self, jail, name, key=None):\n        raise KeyError(key)\n",
    ),
];

impl Side {
    fn new(is_ours: bool) -> Self {
        let (place, hook) = (Place::new(), Hook::new());
        let root = place.path().display().to_string();
        place.append("fail2ban.conf", "allowipv6 = auto\n");
        for (name, text) in FILES {
            place.write(&format!("action.d/{name}.py"), text);
        }
        place.write(
            "filter.d/f1.conf",
            "[Definition]\nfailregex = ^ ?fail of <F-USER>\\S+</F-USER> from <HOST>$\n",
        );
        place.write("j.log", "");
        place.write(
            "jail.conf",
            &format!(
                "[j]\nenabled = true\nbackend = polling\nusedns = no\nignoreself = false\nbantime = 600\nmaxretry = 2\n\
                 filter = f1\nlogpath = {root}/j.log\naction = raises.py\n         note.py[file=\"{root}/note.out\"]\n         \
                 note.py[actname=second, file=\"{root}/second.out\", prefix=\"2: \", limit=1]\n         \
                 hook.py[url=\"{}\", channel=\"#ops\", text=\"it's fine\"]\n",
                hook.url
            ),
        );
        let mut side = Self { place, hook, process: None, is_ours };
        side.start();
        side
    }

    fn start(&mut self) {
        let process = if self.is_ours {
            let mut command = self.place.server();
            // The same Python as upstream's: the texts of its errors change with its version.
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("/usr/bin:{path}")).env("TZ", "UTC");
            command.env_remove("LC_ALL").env("LANG", "C.UTF-8");
            self.place.spawn(&mut command)
        } else {
            upstream::start(&self.place)
        };
        self.process = Some(process);
        wait_until("the jail runs", || self.place.log().contains("Jail 'j' started"));
    }

    fn stop(&mut self, driver: &mut Driver) {
        driver.client(&self.place, &["stop".into()]);
        if let Some(mut process) = self.process.take() {
            let _ = process.0.wait();
        }
    }

    fn ask(&self, driver: &mut Driver, message: &str) -> String {
        let root = self.place.path().display().to_string();
        driver.raw(&self.place, &message.replace("ROOT", &root)).replace(&root, "ROOT")
    }

    /// What the log says of actions: records of warnings and errors, and all that the actions say themselves.
    fn log(&self) -> Vec<String> {
        let root = self.place.path().display().to_string();
        let log = self.place.log().replace(&root, "ROOT").replace(&self.hook.url, "URL");
        let wanted = |line: &&str| {
            let own = ["fail2ban.NoteAction", "fail2ban.Action "].iter().any(|name| line.contains(name));
            own || line.contains("Failed to ")
                || line.contains("has failed. Received")
                || line.contains("Flush ")
        };
        log.lines().filter(wanted).map(normal).collect()
    }
}

/// A log line from its logger on, without the process, and without what was known of a ban: there, functions have addresses.
fn normal(line: &str) -> String {
    let line = line.get(24..).unwrap_or(line);
    let line = match (line.find('['), line.find("]: ")) {
        (Some(start), Some(end)) if start < end => format!("{}{}", &line[..start], &line[end..]),
        _ => line.to_owned(),
    };
    match (line.find(" info '"), line.find("})': ")) {
        (Some(start), Some(end)) => format!("{}{}", &line[..start], &line[end..]),
        _ => line,
    }
}

/// A text without the place of the package `fail2ban`: ours has none.
fn without_place(text: &str) -> String {
    const NAME: &str = "'fail2ban.server.action' (";
    let mut parts = text.split(NAME);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, rest| text + NAME + &rest[rest.find(')').unwrap_or(0)..])
}

/// Upstream's server and ours, and what has differed so far.
struct Pair {
    driver: Driver,
    sides: [Side; 2],
    differences: Vec<String>,
}

impl Pair {
    fn compare(&mut self, what: &str, of: impl Fn(&Side, &mut Driver) -> String) {
        let [theirs, ours] = &self.sides;
        let (theirs, ours) = (of(theirs, &mut self.driver), of(ours, &mut self.driver));
        let (theirs, ours) = (without_place(&theirs), without_place(&ours));
        let (theirs, ours): (Vec<&str>, Vec<&str>) = (theirs.lines().collect(), ours.lines().collect());
        let of_lines = |lines: &[&str], others: &[&str]| -> String {
            lines.iter().filter(|line| !others.contains(line)).map(|line| format!("\n    {line}")).collect()
        };
        if theirs != ours {
            let (theirs, ours) = (of_lines(&theirs, &ours), of_lines(&ours, &theirs));
            self.differences.push(format!("{what}\n  upstream:{theirs}\n  ours:{ours}"));
        }
    }

    fn raw(&mut self, message: &str) {
        self.compare(message, |side, driver| side.ask(driver, message));
    }

    /// Waits until both have as many requests to their web service.
    #[track_caller]
    fn settle(&self, requests: usize) {
        for side in &self.sides {
            let count = || side.hook.bodies.lock().expect("no panic").len();
            let until = std::time::Instant::now() + Duration::from_secs(20);
            while count() < requests {
                assert!(std::time::Instant::now() < until, "{} requests\n{}", count(), side.place.log());
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

#[test]
fn upstreams_server_and_ours_run_the_same_files_alike() {
    let Some(version) = upstream::version() else { return };
    let sides = [Side::new(false), Side::new(true)];
    let mut pair = Pair { driver: Driver::start(), sides, differences: Vec::new() };

    // Names, properties, methods.
    for command in [
        "['get', 'j', 'actions']",
        "['get', 'j', 'actionproperties', 'note']",
        "['get', 'j', 'actionmethods', 'note']",
        "['get', 'j', 'actionmethods', 'raises']",
        "['get', 'j', 'actionproperties', 'hook']",
        "['get', 'j', 'action', 'note', 'prefix']",
        "['get', 'j', 'action', 'note', 'double']",
        "['get', 'j', 'action', 'note', 'seen']",
        "['get', 'j', 'action', 'note', 'missing']",
        "['get', 'j', 'action', 'second', 'limit']",
        "['set', 'j', 'action', 'note', 'prefix', '1: ']",
        "['set', 'j', 'action', 'note', 'limit', 2]",
        "['set', 'j', 'action', 'note', 'new', ['a', (1, 2.5), {'b': None}, b'x']]",
        "['get', 'j', 'action', 'note', 'new']",
        "['set', 'j', 'action', 'note', 'double', '5']",
        "['set', 'j', 'action', 'note', 'prefix']",
        "['set', 'j', 'action', 'note', 'report', '{\"text\": \"ab\", \"times\": 2, \"x\": [1, {\"y\": null}]}']",
        "['set', 'j', 'action', 'note', 'report']",
        "['set', 'j', 'action', 'note', 'report', '{\"text\"']",
        "['set', 'j', 'action', 'note', 'broken']",
        "['set', 'j', 'action', 'note', 'broken', '{\"kind\": \"KeyError\"}']",
        "['set', 'j', 'action', 'note', 'broken', '{\"kind\": \"OSError\"}']",
        "['multi-set', 'j', 'action', 'note', [['prefix', '1: '], ['limit', 2]]]",
        "['set', 'j', 'action', 'note', 'start']",
        "['set', 'j', 'action', 'none', 'start']",
    ] {
        pair.raw(command);
    }
    // The same client, and what it prints.
    for words in
        ["get j action note prefix", "set j action note report {\"text\":\"x\"}", "get j action raises x"]
    {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        pair.compare(&words.join(" "), |side, driver| {
            let printed = driver.client(&side.place, &words);
            let error = printed.stderr.lines().map(normal).collect::<String>();
            format!("{} {} {error}", printed.stdout, printed.code)
        });
    }
    // What is wrong with a file.
    for (name, _) in &FILES[3..] {
        pair.raw(&format!("['set', 'j', 'addaction', '{name}', 'ROOT/action.d/{name}.py', '{{}}']"));
    }
    for command in [
        "['set', 'j', 'addaction', 'gone', 'ROOT/action.d/gone.py', '{}']",
        "['set', 'j', 'addaction', 'note', 'ROOT/action.d/note.py', '{}']",
        "['set', 'j', 'addaction', 'less', 'ROOT/action.d/note.py', '{}']",
        "['set', 'j', 'addaction', 'more', 'ROOT/action.d/raises.py', '{\"more\": 1}']",
        "['set', 'j', 'addaction', 'json', 'ROOT/action.d/raises.py', '{']",
        "['set', 'j', 'addaction', 'late', 'ROOT/action.d/late.py', '{\"key\": \"x\"}']",
        "['set', 'j', 'delaction', 'duck']",
        "['set', 'j', 'delaction', 'duck']",
        "['get', 'j', 'actions']",
    ] {
        pair.raw(command);
    }
    // Bans: from a log with captures, by hand, of both families; the end of one.
    let now =
        jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string();
    for side in &pair.sides {
        let line = |user: &str| format!("{now} fail of {user} from 198.51.100.4\n");
        side.place.append("j.log", &(line("joe") + &line("\u{e9}'$(id)\"\\")));
    }
    pair.settle(2);
    pair.raw("['set', 'j', 'banip', '2001:db8::1']");
    pair.settle(3);
    pair.raw("['set', 'j', 'unbanip', '198.51.100.4']");
    pair.settle(4);
    pair.raw("['get', 'j', 'action', 'note', 'seen']");
    pair.raw("['get', 'j', 'action', 'note', 'double']");

    // A new life, in which a ban comes back, ends.
    let [theirs, ours] = &mut pair.sides;
    for side in [theirs, ours] {
        side.stop(&mut pair.driver);
        side.place.write("f2b.log.1", &side.place.log());
        std::fs::remove_file(side.place.file("f2b.log")).expect("a log");
        side.start();
        wait_until("the ban is back", || side.place.log().contains("Restore Ban 2001:db8::1"));
        wait_until("the actions have run", || {
            side.place.read("second.out").matches("restored int 1").count() == 1
        });
        side.stop(&mut pair.driver);
        let both = side.place.read("f2b.log.1") + &side.place.log();
        side.place.write("f2b.log", &both);
    }
    pair.compare("log", |side, _| side.log().join("\n"));
    for file in ["note.out", "second.out"] {
        pair.compare(file, |side, _| {
            side.place.read(file).replace(&side.place.path().display().to_string(), "ROOT")
        });
    }
    pair.compare("requests", |side, _| side.hook.bodies.lock().expect("no panic").join("\n"));
    let differences = pair.differences;
    assert!(differences.is_empty(), "{version}: {} differ:\n{}", differences.len(), differences.join("\n"));
}

/// A jail with one action of its own, and a log in it.
fn place(action: &str, file: &str) -> Place {
    configure(Place::new(), action, file)
}

fn configure(place: Place, action: &str, file: &str) -> Place {
    let root = place.path().display().to_string();
    place.write("action.d/a.py", file);
    place.write("action.d/plain.conf", "[Definition]\nactionban = echo <ip> >> <out>\n");
    place.write("filter.d/f1.conf", "[Definition]\nfailregex = ^ ?fail from <HOST>$\n");
    place.append("j.log", "");
    place.write(
        "jail.conf",
        &format!(
            "[j]\nenabled = true\nbackend = polling\nbantime = 1h\nfilter = f1\nlogpath = {root}/j.log\n\
             action = {action}\n         plain[out=\"{root}/plain.out\"]\n"
        ),
    );
    place
}

const HEAD: &str = "import os, sys\nfrom fail2ban.server.action import ActionBase\n";

#[test]
fn without_python_an_action_is_left_out_and_the_others_run() {
    let place = place("a.py", "");
    let mut command = place.server();
    // A directory with a shell and nothing else.
    std::fs::create_dir(place.file("bin")).expect("a directory");
    let _server = place.spawn(command.env("PATH", place.file("bin")));
    place.ask(&["set", "j", "banip", "192.0.2.1"]);
    place.wait_for_log(
        "a.py: python3 can't be started, and Python actions need it: No such file or directory",
    );
    wait_until("the other action runs", || place.read("plain.out") == "192.0.2.1\n");
    assert_eq!(place.ask(&["get", "j", "actions"]), "The jail j has the following actions:\nplain\n");
}

#[test]
fn a_crash_and_a_flood_cost_no_ban() {
    if !support::available("python3", support::has_program("python3")) {
        return;
    }
    let body = "
class Action(ActionBase):
    def ban(self, info):
        if str(info['ip']) == '192.0.2.1': os._exit(7)
        if str(info['ip']) == '192.0.2.2':
            for number in range(20000): self._logSys.info('flood %d', number)
            os.write(2, b'\\xff' * 10000000)
            os.write(1, b'nobody reads this')
        if str(info['ip']) == '192.0.2.3':
            for fd in range(3, 20):
                try: os.write(fd, b'no JSON\\n')
                except OSError: pass
";
    let place = place("a.py", &format!("{HEAD}{body}"));
    let mut server = place.start();
    for ip in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"] {
        place.ask(&["set", "j", "banip", ip]);
    }
    let all = "192.0.2.1\n192.0.2.2\n192.0.2.3\n192.0.2.4\n";
    wait_until("the other action runs", || place.read("plain.out") == all);
    place.wait_for_log("ERROR   [j] action 'a' ban: its process ");
    place.wait_for_log("sent what is no answer, and is killed");
    place.wait_for_log("fail2ban.Action         [");
    let log = place.log();
    assert!(log.contains("ended with status 7"));
    assert!(log.matches("INFO    flood ").count() <= 1000 && log.len() < 5_000_000, "{}", log.len());
    assert!(place.ask(&["status", "j"]).contains("192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4"));
    place.ask(&["stop"]);
    assert!(server.0.wait().expect("a process").success());
}

#[test]
fn a_reload_takes_up_a_file_that_was_changed() {
    if !support::available("python3", support::has_program("python3")) {
        return;
    }
    let file = |version: &str| {
        format!(
            "{HEAD}
class Action(ActionBase):
    def __init__(self, jail, name, out):
        super().__init__(jail, name)
        self.out = out
    def note(self, *words):
        with open(self.out, 'a') as out: print('{version}', *words, file=out)
    def start(self): self.note('start')
    def stop(self): self.note('stop')
    def ban(self, info): self.note('ban', info['ip'])
    def unban(self, info): self.note('unban', info['ip'])
"
        )
    };
    let place = Place::new();
    let out = place.file("a.out").display().to_string();
    let place = configure(place, &format!("a.py[out=\"{out}\"]"), &file("one"));
    let _server = place.start();
    place.ask(&["set", "j", "banip", "192.0.2.1"]);
    let first = "one start\none ban 192.0.2.1\n";
    wait_until("the ban is noted", || place.read("a.out") == first);
    place.ask(&["reload"]);
    assert_eq!(place.ask(&["get", "j", "action", "a", "out"]), out.clone() + "\n");
    place.write("action.d/a.py", &file("second"));
    place.ask(&["reload"]);
    let second = "one unban 192.0.2.1\none stop\nsecond start\nsecond ban 192.0.2.1\n";
    wait_until("the new one has the ban", || place.read("a.out") == first.to_owned() + second);
    // One that is broken is not taken up.
    place.write("action.d/a.py", "x =");
    place.ask(&["reload"]);
    place.wait_for_log("has failed. Received SyntaxError('invalid syntax'");
    place.ask(&["set", "j", "banip", "192.0.2.2"]);
    wait_until("the old one goes on", || place.read("a.out").ends_with("second ban 192.0.2.2\n"));
}

/// As an action does that follows a list of its own, in the middle of a call and from a thread between two of them.
#[test]
fn an_action_bans_and_unbans_in_its_jail() {
    if !support::available("python3", support::has_program("python3")) {
        return;
    }
    let body = "
import threading
class Action(ActionBase):
    def ban(self, info):
        actions = self._jail.actions
        if str(info['ip']) == '192.0.2.1':
            assert actions.addBannedIP(['192.0.2.2', '2001:db8::/48']) == 2
            threading.Timer(0.1, actions.addBannedIP, ['192.0.2.3']).start()
        elif str(info['ip']) == '192.0.2.3':
            assert actions.removeBannedIP('192.0.2.2') == 1
            actions.removeBannedIP('192.0.2.99', ifexists=True)
";
    let place = place("a.py", &format!("{HEAD}{body}"));
    let _server = place.start();
    place.ask(&["set", "j", "banip", "192.0.2.1"]);
    place.wait_for_log("[j] Unban 192.0.2.2\n");
    let expected = "192.0.2.1\n192.0.2.2\n2001:db8::/48\n192.0.2.3\n";
    assert_eq!(place.read("plain.out"), expected);
    assert_eq!(place.ask(&["get", "j", "banip"]).trim(), "192.0.2.1 2001:db8::/48 192.0.2.3");
}

/// A published list has more entries than anybody wants to see lines in a log.
#[test]
fn a_list_of_thousands_is_banned_behind_a_flood_of_lines() {
    if !support::available("python3", support::has_program("python3")) {
        return;
    }
    let body = "
class Action(ActionBase):
    def ban(self, info):
        if str(info['ip']) == '192.0.2.1':
            for number in range(2000): self._logSys.info('flood %d', number)
            for number in range(3000):
                self._jail.actions.addBannedIP('198.18.%d.%d' % (number // 250, number % 250))
";
    let place = place("a.py", &format!("{HEAD}{body}"));
    // The other action would start a shell for each.
    let jail = place.read("jail.conf");
    place.write("jail.conf", &jail[..jail.find("         plain").expect("the other action")]);
    let _server = place.start();
    place.ask(&["set", "j", "banip", "192.0.2.1"]);
    wait_until("all bans", || place.ask(&["status", "j", "short"]).contains("Currently banned:\t3001"));
}

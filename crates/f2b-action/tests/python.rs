//! Actions written in Python: small files of the tests, played through the life of a jail.
//!
//! Skipped where there is no `python3`, unless `F2B_CI` is set.

use std::cell::Cell;
use std::fs;
use std::io::{Write, stderr};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use f2b_action::{Actions, Context, EarlierBans, FixedNames, JailCounts, Orders, Outside, Shell};
use f2b_protocol::Value;
use f2b_types::{FailData, Id, Level, Log, MatchedLine, Number, Record, Recorder, Ticket, Time};

const HEAD: &str = "from fail2ban.server.action import ActionBase\n";

/// Nobody orders anything here.
struct NoOrders;

impl Orders for NoOrders {
    fn ban(&self, _: Vec<Id>) {}

    fn unban(&self, _: Vec<Id>) {}
}

/// A jail with one action, in a directory of its own.
struct Desk {
    dir: tempfile::TempDir,
    log: Arc<Recorder>,
    names: FixedNames,
    earlier: Database,
    counts: Cell<JailCounts>,
}

/// Ten failures in all jails, five in this one.
struct Database;

impl EarlierBans for Database {
    fn merged(&self, _: &Id, jail: Option<&str>) -> Result<Option<FailData>, String> {
        let failures = if jail.is_some() { 5 } else { 10 };
        Ok(Some(FailData { matches: vec!["x".into(), "y".into()], failures, ..FailData::default() }))
    }
}

impl Desk {
    /// `None` where there is no Python.
    fn new() -> Option<Self> {
        if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
            assert!(std::env::var_os("F2B_CI").is_none(), "CI lacks python3");
            let name = thread::current().name().unwrap_or("a test").to_owned();
            let _ = writeln!(stderr(), "skipped: {name} needs python3");
            return None;
        }
        Some(Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
            log: Arc::default(),
            names: FixedNames { host: Some("host.example.net".into()), ..FixedNames::default() },
            earlier: Database,
            counts: Cell::new(JailCounts { banned: 1, banned_total: 2, found: 3, found_total: 4 }),
        })
    }

    fn context(&self) -> Context<'_> {
        Context {
            now: Time(1000.0),
            ban_time: 600.0,
            counts: self.counts.get(),
            ipv6: true,
            shell: &Shell,
            names: &self.names,
            earlier: Some(&self.earlier),
            log: &*self.log,
        }
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Adds the action `a` with what follows the usual import; it finds the path of its notes in `out`.
    fn add(&self, actions: &mut Actions, body: &str) -> Result<(), f2b_action::ActionError> {
        let note = format!(
            "{HEAD}def note(*words):\n    with open({:?}, 'a') as out: out.write(' '.join(map(str, words)) + '\\n')\n",
            self.file("out")
        );
        fs::write(self.file("a.py"), note + body).expect("a file");
        self.add_again(actions, "{}")
    }

    fn add_again(&self, actions: &mut Actions, options: &str) -> Result<(), f2b_action::ActionError> {
        let outside = Outside { log: Arc::<Recorder>::clone(&self.log), orders: Arc::new(NoOrders) };
        actions.add_python("a", (&self.file("a.py"), options), &outside, &self.context())
    }

    /// What the action has noted since the last time.
    #[track_caller]
    fn check(&self, expected: &[&str]) {
        let text = fs::read_to_string(self.file("out")).unwrap_or_default();
        let _ = fs::remove_file(self.file("out"));
        assert_eq!(text.lines().collect::<Vec<_>>(), expected, "{:#?}", self.log.lines());
    }

    #[track_caller]
    fn logged(&self, text: &str) {
        let until = Instant::now() + Duration::from_secs(5);
        while !self.log.lines().iter().any(|line| line.contains(text)) {
            assert!(Instant::now() < until, "not in the log: {text}\n{:#?}", self.log.lines());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn ticket(ip: &str) -> Ticket {
    let mut ticket = Ticket::new(Id::parse(ip), Time(1_124_012_400.5));
    ticket.data.failures = 3;
    ticket.data.matches = vec![
        MatchedLine::Split(["".into(), "Aug 14".into(), " it's".into()]),
        MatchedLine::Whole("\u{e9}nd".into()),
    ];
    ticket.data.fields.insert("user".into(), "root".into());
    ticket
}

#[test]
fn an_action_follows_the_life_of_its_jail() {
    let Some(desk) = Desk::new() else { return };
    let mut actions = Actions::new("j");
    let body = "
class Action(ActionBase):
    def __init__(self, jail, name):
        super().__init__(jail, name)
        self.count = 0
        note('init', jail.name, name, jail, jail.database is None, jail.actions.getBanTime())
    def start(self): note('start')
    def stop(self): note('stop', self._jail.actions.banManager.size(), self._jail.filter.failManager.getFailTotal())
    def ban(self, info):
        self.count += 1
        note('ban', info['ip'], self.count)
    def unban(self, info): note('unban', info['ip'])
";
    desk.add(&mut actions, body).expect("an action");
    actions.start(&desk.context());
    let tickets = [ticket("192.0.2.1"), ticket("2001:db8::1")];
    for ticket in &tickets {
        actions.ban(ticket, &desk.context());
    }
    actions.prolong(&tickets[0], &desk.context());
    actions.unban(&tickets[0], &desk.context());
    actions.stop(&tickets[1..], &desk.context());
    desk.check(&[
        "init j a Jail('j') False 600",
        "start",
        "ban 192.0.2.1 1",
        "ban 2001:db8::1 2",
        "unban 192.0.2.1",
        "unban 2001:db8::1",
        "stop 1 4",
    ]);
}

#[test]
fn all_that_is_known_of_a_ban_can_be_asked() {
    let Some(desk) = Desk::new() else { return };
    let mut actions = Actions::new("j");
    let body = r#"
import threading
class Action(ActionBase):
    def ban(self, info):
        for key in info: note(key, repr(info[key]))
        note(len(info), "ip" in info, info.get("none", 5), "%(ip)s of %(jail.name)s" % info)
        ip = info["ip"]
        note(type(ip).__name__, ip.isIPv4, ip.familyStr, ip == "192.0.2.1", {ip: 1}["192.0.2.1"], "<" + ip, ip.getPTR())
        info["own"] = lambda: "called"
        info.update(ip="x")
        del info["fid"]
        note(info["own"], info["ip"], "fid" in info, info.copy()["failures"])
        info.reset()
        note(info["ip"], "fid" in info)
    def unban(self, info):
        done = threading.Thread(target=lambda: note("within", info["ipfailures"]))
        done.start()
        done.join()
        def later():
            release.wait()
            note("later", info["ip"], info["ipjailfailures"])
        self.thread = threading.Thread(target=later)
        release = self.release = threading.Event()
        self.thread.start()
    def stop(self):
        self.release.set()
        self.thread.join()
"#;
    desk.add(&mut actions, body).expect("an action");
    actions.ban(&ticket("192.0.2.1"), &desk.context());
    desk.check(&[
        "ip '192.0.2.1'",
        "family 'inet4'",
        "ip-rev '1.2.0.192.'",
        "ip-host 'host.example.net'",
        "fid '192.0.2.1'",
        "failures 3",
        "time 1124012400.5",
        "bantime 600",
        "bancount 0",
        "matches \"Aug 14 it's\\n\u{e9}nd\"",
        "restored 0",
        "F-* {'matches': [('', 'Aug 14', \" it's\"), '\u{e9}nd'], 'failures': 3, 'user': 'root'}",
        "ipmatches 'x\\ny'",
        "ipjailmatches 'x\\ny'",
        "ipfailures 10",
        "ipjailfailures 5",
        "raw-ticket 'BanTicket: ip=192.0.2.1 time=1124012400.5 bantime=None bancount=0 #attempts=3 \
         matches=[(\\'\\', \\'Aug 14\\', \" it\\'s\"), \\'\u{e9}nd\\']'",
        "jail.name 'j'",
        "jail.banned 1",
        "jail.banned_total 2",
        "jail.found 3",
        "jail.found_total 4",
        "22 True 5 192.0.2.1 of j",
        "IPAddr True inet4 True 1 <192.0.2.1 1.2.0.192.in-addr.arpa.",
        "called x False 3",
        "192.0.2.1 True",
    ]);
    // What runs on beside later calls goes on with what it has.
    actions.unban(&ticket("192.0.2.1"), &desk.context());
    actions.stop(&[], &desk.context());
    desk.check(&["within 10", "later 192.0.2.1 3"]);
}

#[test]
fn exceptions_cost_one_call_of_one_action() {
    let Some(desk) = Desk::new() else { return };
    let mut actions = Actions::new("j");
    let body = "
class Action(ActionBase):
    def start(self): raise OSError(5, 'no way', '/file')
    def ban(self, info):
        note('ban', info['ip'], info['failures'])
        raise ValueError('wrong \\ud800 ' + str(info['ip']))
    def flush(self): raise KeyError('x')
    def unban(self, info): note('unban', info['ip'])
    def stop(self): 1 / 0
";
    desk.add(&mut actions, body).expect("an action");
    let ticket = ticket("192.0.2.1");
    actions.start(&desk.context());
    actions.ban(&ticket, &desk.context());
    actions.stop(&[ticket], &desk.context());
    desk.check(&["ban 192.0.2.1 3", "unban 192.0.2.1"]);
    let start =
        "ERROR Failed to start jail 'j' action 'a': [Errno 5] no way: '/file'\nTraceback (most recent";
    for text in [
        start,
        "ERROR Failed to execute ban jail 'j' action 'a' info 'ActionInfo({'ip': '192.0.2.1', 'fid': '192.0.2.1', \
         'failures': 3, 'raw-ticket': 'BanTicket: ip=",
        "})': wrong ? 192.0.2.1\nTraceback (most recent call last):",
        "ERROR Failed to flush bans in jail 'j' action 'a': 'x'\n",
        "INFO No flush occurred, do consistency check",
        "ERROR Failed to stop jail 'j' action 'a': division by zero",
    ] {
        desk.logged(text);
    }
}

#[test]
fn a_flush_that_says_no_is_followed_by_single_unbans() {
    let Some(desk) = Desk::new() else { return };
    for (answer, expected) in [("True", &["flush"][..]), ("None", &["flush", "unban 192.0.2.1"])] {
        let mut actions = Actions::new("j");
        let body = format!(
            "
class Action(ActionBase):
    def flush(self):
        note('flush')
        return {answer}
    def unban(self, info): note('unban', info['ip'])
"
        );
        desk.add(&mut actions, &body).expect("an action");
        actions.flush(&[ticket("192.0.2.1")], &desk.context());
        desk.check(expected);
    }
}

#[test]
fn attributes_decide_about_restored_and_prolonged_bans() {
    let Some(desk) = Desk::new() else { return };
    let mut actions = Actions::new("j");
    let body = "
class Action(ActionBase):
    norestored = 1
    _prolongable = True
    def ban(self, info): note('ban', info['restored'])
    def prolong(self, info): note('prolong', info['bantime'])
";
    desk.add(&mut actions, body).expect("an action");
    let mut ticket = ticket("192.0.2.1");
    ticket.restored = true;
    ticket.ban_time = Some(Number::Int(77));
    actions.ban(&ticket, &desk.context());
    assert_eq!(actions.tell("a", "norestored", Some(Value::Int(0)), &desk.context()), Ok(Value::Int(0)));
    actions.ban(&ticket, &desk.context());
    actions.prolong(&ticket, &desk.context());
    desk.check(&["ban 1", "prolong 77"]);
}

#[test]
fn properties_and_methods_are_those_of_the_object() {
    let Some(desk) = Desk::new() else { return };
    let mut actions = Actions::new("j");
    let body = "
class Action(ActionBase):
    def __init__(self, jail, name, one='1', two=None):
        super().__init__(jail, name)
        self.one, self.two = one, {'a': (1, 2.5, b'x', {3}), None: self._jail}
    def add(self, a, b=1): return [a, b, self.one]
    def fail(self): raise FileNotFoundError(2, 'gone', 'f')
    @property
    def fixed(self): return 1
";
    desk.add(&mut actions, body).expect("an action");
    let context = desk.context();
    let mut tell = |name: &str, value: Option<Value>| {
        actions.tell("a", name, value, &context).map_err(|error| error.to_exception().to_string())
    };
    assert_eq!(tell("one", Some("x".into())), Ok("x".into()));
    assert_eq!(
        tell("add", Some(r#"{"a": [null]}"#.into())),
        Ok(Value::List(vec![Value::List(vec![Value::None]), 1.into(), "x".into()]))
    );
    assert_eq!(tell("fail", None), Err("FileNotFoundError(2, 'gone', 'f')".into()));
    assert_eq!(tell("one", None), Err("IndexError('list index out of range')".into()));
    assert!(tell("fixed", Some("x".into())).is_err_and(|error| error.starts_with("AttributeError(")));
    let missing = "Action.add() missing 1 required positional argument: 'a'";
    assert_eq!(tell("add", None), Err(format!("TypeError(\"{missing}\")")));
    assert!(tell("add", Some("{".into())).is_err_and(|error| error.starts_with("JSONDecodeError(")));
    let two = actions.property("a", "two", &context).expect("a value").to_string();
    assert_eq!(two, "{'a': (1, 2.5, b'x', {3}), None: \"Jail('j')\"}");
    let none = actions.property("a", "none", &context).expect_err("no such property").to_string();
    assert_eq!(none, "'Action' object has no attribute 'none'");
    assert_eq!(actions.properties("a", &context).expect("names"), ["fixed", "one", "two"]);
    let methods = actions.methods("a", &context).expect("names");
    assert_eq!(methods, ["add", "ban", "fail", "reban", "start", "stop", "unban"]);
}

#[test]
fn what_is_wrong_with_a_file_is_said_as_python_says_it() {
    let Some(desk) = Desk::new() else { return };
    let file = desk.file("a.py");
    let class = "class Action(ActionBase):\n    def __init__(self, jail, name): pass\n";
    for (body, options, expected) in [
        ("x = 1", "{}", format!("RuntimeError(\"{file} module does not have 'Action' class\")")),
        (
            "class Action: pass",
            "{}",
            format!("RuntimeError('{file} module Action does not implement required methods')"),
        ),
        ("import nowhere", "{}", "ModuleNotFoundError(\"No module named 'nowhere'\")".into()),
        ("import fail2ban.client", "{}", "ModuleNotFoundError(\"No module named 'fail2ban.client'\")".into()),
        (
            "from fail2ban.server.action import CommandAction",
            "{}",
            "ImportError(\"CommandAction runs in the server; ".into(),
        ),
        ("x = = 1", "{}", format!("SyntaxError('invalid syntax', ('{file}', 4, ")),
        (
            class,
            "{\"x\": 1}",
            "TypeError(\"Action.__init__() got an unexpected keyword argument 'x'\")".into(),
        ),
        (class, "{", "JSONDecodeError(".into()),
        (
            "import urllib.error\nraise urllib.error.HTTPError('u', 500, 'm', None, open('/dev/null'))",
            "{}",
            "Exception('HTTP Error 500: m')".into(),
        ),
        ("raise OSError(OSError(1, 'x'))", "{}", "OSError(PermissionError(1, 'x'))".into()),
        ("class Own(Exception): pass\nraise Own('a', 1)", "{}", "Exception(\"('a', 1)\")".into()),
    ] {
        let mut actions = Actions::new("j");
        let _ = desk.add(&mut actions, body);
        let mut actions = Actions::new("j");
        let error = desk.add_again(&mut actions, options).expect_err(body).to_exception().to_string();
        assert!(error.starts_with(&expected), "{body}: {error}");
        assert!(actions.names().is_empty());
    }
    fs::remove_file(&file).expect("removed");
    let error = desk.add_again(&mut Actions::new("j"), "{}").expect_err("no file").to_exception();
    assert_eq!(error.to_string(), format!("FileNotFoundError(2, 'No such file or directory', '{file}')"));
}

#[test]
fn a_child_that_ends_is_replaced_and_told_what_it_has_to_know() {
    let Some(desk) = Desk::new() else { return };
    let mut actions = Actions::new("j");
    let body = "
import os, signal
class Action(ActionBase):
    def __init__(self, jail, name):
        super().__init__(jail, name)
        self.word = 'old'
    def start(self): note('start', self.word)
    def ban(self, info):
        if info['ip'] == '192.0.2.1': os._exit(3)
        if info['ip'] == '192.0.2.2': os.kill(os.getpid(), signal.SIGSEGV)
        note('ban', info['ip'], self.word)
    def say(self): return self.word
";
    desk.add(&mut actions, body).expect("an action");
    actions.start(&desk.context());
    actions.tell("a", "word", Some("new".into()), &desk.context()).expect("set");
    for ip in ["192.0.2.1", "192.0.2.3", "192.0.2.2", "192.0.2.4"] {
        actions.ban(&ticket(ip), &desk.context());
    }
    desk.check(&["start old", "start new", "ban 192.0.2.3 new", "start new", "ban 192.0.2.4 new"]);
    let lines = desk.log.lines().join("\n");
    for text in ["ended with status 3", "was ended by SIGSEGV"] {
        assert_eq!(lines.matches(text).count(), 2, "{lines}");
    }
    assert!(
        lines
            .contains("ERROR Failed to execute ban jail 'j' action 'a' info 'ActionInfo({'fid': '192.0.2.1'")
    );
    assert_eq!(lines.matches("NOTICE [j] action 'a' runs in a new process, for ban").count(), 2, "{lines}");
}

#[test]
fn what_an_action_logs_and_prints_is_in_the_log() {
    let Some(desk) = Desk::new() else { return };
    let mut actions = Actions::new("j");
    let body = "
import logging, os, subprocess, sys
from fail2ban.helpers import getLogger
class Note(ActionBase):
    def ban(self, info):
        self._logSys.notice('to %s', info['ip'])
        getLogger('my.module').log(7, 'deep')
        try: 1 / 0
        except Exception: self._logSys.exception('caught')
        logging.warning('of the root')
        print('printed', end='')
        print(' line')
        print('flushed', flush=True)
        sys.stderr.write('complaint\\n')
        subprocess.call(['sh', '-c', 'echo out; echo err >&2'])
        note(sys.stdin.read() == '')
    def unban(self, info):
        for number in range(3000): self._logSys.info('line %d', number)
Action = Note
";
    desk.add(&mut actions, body).expect("an action");
    actions.ban(&ticket("192.0.2.1"), &desk.context());
    for text in [
        "NOTICE to 192.0.2.1",
        "TRACE deep",
        "ERROR caught\nTraceback (most recent call last):",
        "DEBUG -- stdout: 'printed line'",
        "DEBUG -- stdout: 'flushed'",
        "ERROR [j] action 'a' -- stderr: 'complaint'",
        "ERROR [j] action 'a' -- stderr: 'err'",
        "ERROR [j] action 'a' -- stderr: 'WARNING:root:of the root'",
    ] {
        desk.logged(text);
    }
    desk.check(&["True"]);
    actions.unban(&ticket("192.0.2.1"), &desk.context());
    actions.stop(&[], &desk.context());
    let lines = desk.log.lines();
    assert_eq!(lines.iter().filter(|line| line.starts_with("INFO line ")).count(), 1000);
    desk.logged("WARNING [j] action 'a': 2000 more lines of its log are left out");
}

#[test]
fn a_reload_keeps_what_is_the_same_and_replaces_what_is_not() {
    let Some(desk) = Desk::new() else { return };
    let mut actions = Actions::new("j");
    let body = "
class Action(ActionBase):
    def __init__(self, jail, name, x=1):
        super().__init__(jail, name)
        self.x = x
        if x == 9: raise ValueError('nine')
    def start(self): note('start', self.x)
    def stop(self): note('stop', self.x)
    def ban(self, info): note('ban', info['ip'], self.x)
    def unban(self, info): note('unban', info['ip'], self.x)
";
    desk.add(&mut actions, body).expect("an action");
    let tickets = [ticket("192.0.2.1")];
    actions.start(&desk.context());
    actions.ban(&tickets[0], &desk.context());
    desk.check(&["start 1", "ban 192.0.2.1 1"]);
    let reload = |actions: &mut Actions, options: &str| {
        actions.begin_reload();
        let added = desk.add_again(actions, options);
        actions.end_reload(&tickets, &desk.context()).expect("reloaded");
        added
    };
    reload(&mut actions, "{}").expect("kept");
    desk.check(&[]);
    assert!(reload(&mut actions, "{\"x\": 9}").is_err());
    desk.check(&[]);
    reload(&mut actions, "{\"x\": 2}").expect("replaced");
    desk.check(&["unban 192.0.2.1 1", "stop 1", "start 2", "ban 192.0.2.1 2"]);
    actions.begin_reload();
    actions.end_reload(&tickets, &desk.context()).expect("reloaded");
    desk.check(&["unban 192.0.2.1 2", "stop 2"]);
    assert!(actions.names().is_empty());
}

#[test]
fn an_action_that_can_reload_does() {
    let Some(desk) = Desk::new() else { return };
    let mut actions = Actions::new("j");
    let body = "
class Action(ActionBase):
    def clearAllParams(self): note('clear')
    def reload(self, **options): note('reload', options)
    def consistencyCheck(self): note('check')
";
    desk.add(&mut actions, body).expect("an action");
    actions.begin_reload();
    desk.add_again(&mut actions, "{\"x\": \"2\"}").expect("kept");
    actions.end_reload(&[], &desk.context()).expect("reloaded");
    actions.check_consistency(&desk.context());
    desk.check(&["clear", "reload {'x': '2'}", "check"]);
}

#[test]
fn helpers_that_published_actions_import_do_what_they_do_there() {
    let Some(desk) = Desk::new() else { return };
    let mut actions = Actions::new("j");
    let body = r#"
from fail2ban.server.actions import Actions, CallingMap
from fail2ban.server.utils import Utils
from fail2ban.server.ipdns import IPAddr, DNSUtils
from fail2ban.server.mytime import MyTime
from fail2ban.helpers import *
from fail2ban.version import version
class Action(ActionBase):
    def start(self):
        note(version.split('.')[0], splitwords("a, b c"), extractOptions('n[a=1, b="2,3"]'), str2LogLevel("notice"))
        note(MyTime.str2seconds("1d 12h"), MyTime.str2seconds("2m30s"), MyTime.str2seconds(5))
        note(IPAddr("10.1.2.3").isInNet(IPAddr("10.0.0.0/8")), IPAddr("::ffff:192.0.2.1"), IPAddr("10.1.2.3/8"))
        note(Utils.executeCmd("exit 3"), Utils.executeCmd(["echo", "x"], shell=False, output=True))
        note(Utils.executeCmd('printf "%s" "$v"', output=True, varsDict={"v": "$(id) '\""}))
        note(Utils.executeCmd("sleep 30", timeout=0.2))
"#;
    desk.add(&mut actions, body).expect("an action");
    actions.start(&desk.context());
    desk.check(&[
        "1 ['a', 'b', 'c'] ('n', {'a': '1', 'b': '2,3'}) 25",
        "129600 150 5",
        "True 192.0.2.1 10.0.0.0/8",
        "False (True, b'x\\n', b'', 0)",
        "(True, b'$(id) \\'\"', b'', 0)",
        "False",
    ]);
    desk.logged("timed out after 0.2 seconds.");
    desk.logged("killed with SIGTERM (return code: -15)");
}

/// The server's log goes to whoever wants it, at his level.
#[test]
fn records_that_nobody_wants_are_not_sent() {
    struct Quiet(Recorder);
    impl Log for Quiet {
        fn enabled(&self, level: Level) -> bool {
            level >= Level::INFO
        }
        fn write(&self, record: Record) {
            self.0.write(record);
        }
    }
    let Some(desk) = Desk::new() else { return };
    let log = Arc::new(Quiet(Recorder::default()));
    let body = "class Action(ActionBase):\n    def start(self):\n        self._logSys.debug('d')\n        \
                self._logSys.info('i %d', self._logSys.getEffectiveLevel())\n        raise ValueError('v')\n";
    fs::write(desk.file("a.py"), format!("{HEAD}{body}")).expect("a file");
    let mut actions = Actions::new("j");
    let outside = Outside { log: Arc::<Quiet>::clone(&log), orders: Arc::new(NoOrders) };
    let context = Context { log: &*log, ..desk.context() };
    actions.add_python("a", (&desk.file("a.py"), "{}"), &outside, &context).expect("an action");
    actions.start(&context);
    assert_eq!(log.0.lines(), ["INFO i 20", "ERROR Failed to start jail 'j' action 'a': v"]);
}

#[test]
fn an_action_asks_for_earlier_bans() {
    let body = "
class Action(ActionBase):
    def ban(self, info):
        database = self._jail.database
        everywhere, here = database.getBansMerged(ip=info['ip']), database.getBansMerged(info['ip'], self._jail)
        self._logSys.info('%s %s %s %s', everywhere.getIP(), everywhere.getAttempt(), here.getAttempt(), here.getMatches())
    def stop(self):
        self._logSys.info('%s', self._jail.database.getBansMerged(ip='192.0.2.1'))
";
    let Some(desk) = Desk::new() else { return };
    let mut actions = Actions::new("sshd");
    desk.add(&mut actions, body).expect("an action");
    actions.ban(&ticket("192.0.2.1"), &desk.context());
    actions.stop(&[], &desk.context());
    let lines = desk.log.lines();
    for line in ["INFO 192.0.2.1 10 5 ['x', 'y']", "INFO None"] {
        assert!(lines.iter().any(|found| found == line), "{line}: {lines:#?}");
    }
}

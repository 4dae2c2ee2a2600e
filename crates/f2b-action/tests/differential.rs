//! What `/bin/sh` receives, and what is logged about it: f2b beside the installed fail2ban.
//!
//! Each scenario is played twice, there with upstream's classes and here with ours, and every command counts with its
//! arguments. Skipped where fail2ban is not installed, unless `F2B_CI` is set. The stock actions are those of the
//! configuration in `/etc/fail2ban`, or in `F2B_TEST_CONFIG`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{Write, stderr};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use f2b_action::{Actions, Context, FixedNames, JailCounts, Outcome, Runner, Script};
use f2b_protocol::Value;
use f2b_types::{Id, Level, Log, MatchedLine, Number, Record, Ticket, Time};
use serde_json::{Value as Json, json};

const NOW: f64 = 1_700_000_000.0;

/// Plays a scenario from its input with upstream's classes.
const PLAYER: &str = r#"
import json, logging, re, sys
from fail2ban.server import action as action_module
from fail2ban.server.actions import Actions
from fail2ban.server.ipdns import DNSUtils
from fail2ban.server.mytime import MyTime
from fail2ban.server.ticket import FailTicket
from fail2ban.server.utils import Utils

commands, log = [], []
class Collect(logging.Handler):
    def emit(self, record):
        text = record.getMessage()
        if record.levelno >= logging.INFO and not re.match(r"\[sshd\] (Restore )?Ban |.* already banned", text):
            log.append("%s %s" % (record.levelname, text))
logging.addLevelName(25, "NOTICE")
logging.getLogger("fail2ban").setLevel(logging.INFO)
logging.getLogger("fail2ban").addHandler(Collect())

class Fails:
    def size(self): return 3
    def getFailTotal(self): return 4
class Filter: failManager = Fails()
class Jail:
    name, filter, database = "sshd", Filter(), None
    def __repr__(self): return "Jail('sshd')"

scenario = json.load(sys.stdin)
failures = scenario.get("failures", {})
def execute(cmd, *args, **kwargs):
    commands.append(cmd if isinstance(cmd, list) else [cmd])
    for part in failures:
        if part in commands[-1][0] and failures[part] > 0:
            failures[part] -= 1
            return False
    return True
Utils.executeCmd = staticmethod(execute)
DNSUtils.getHostname = staticmethod(lambda fqdn=True: "host.example.org" if fqdn else "host")
DNSUtils.setIPv6IsAllowed(True)
DNSUtils.ipToName = staticmethod(lambda ip: None)

jail = Jail()
jail.actions = actions = Actions(jail)
actions.setBanTime(600)
log.clear()

def configure(settings, reload=False):
    for name, properties in settings:
        actions.add(name, reload=reload)
        for key, value in properties:
            setattr(actions[name], key, value)

def ticket(step):
    t = FailTicket(step["id"], 1700000000.0 + step.get("later", 0), [tuple(m) if isinstance(m, list) else m for m in step["matches"]], dict(step["data"], failures=3))
    t.restored = step.get("restored", False)
    # As the filter has it; the database makes a list of it.
    users = t._data.get("users")
    if users and not t.restored: t._data["users"] = set(users)
    return t

configure(scenario["actions"])
for step in scenario["steps"]:
    MyTime.setTime(1700000000.0 + step.get("now", 0))
    do = step["do"]
    if do == "start":
        for name, action in actions._actions.items():
            try: action.start()
            except Exception as e: logging.getLogger("fail2ban.actions").error("Failed to start jail '%s' action '%s': %s", "sshd", name, e)
    elif do == "ban": actions._Actions__checkBan([ticket(step)])
    elif do == "prolong":
        t = ticket(step)
        actions._prolongBan(actions.banManager._BanManager__banList[t.getID()])
    elif do == "unban": actions.removeBannedIP(step["id"])
    elif do == "flush": actions.removeBannedIP(None)
    elif do == "reload":
        actions.reload(begin=True)
        configure(step["actions"], reload=True)
        actions.reload(begin=False)
    elif do == "stop":
        actions._Actions__flushBan(stop=True)
        actions.stopActions()
print(json.dumps({"commands": commands, "log": log}))
"#;

/// Prints the settings of every action of a configuration, as the client sends them to the server.
const READER: &str = r#"
import glob, json, os, sys
from fail2ban.client.actionreader import ActionReader
root, found = sys.stdin.read().strip(), []
for path in sorted(glob.glob(root + "/action.d/*.conf")):
    name = os.path.basename(path)[:-5]
    if "common" in name: continue
    reader = ActionReader(name, "sshd", {"port": "22", "bantime": "600", "name": "sshd"}, share_config={}, basedir=root)
    if not reader.read(): continue
    reader.getOptions({})
    try: stream = reader.convert()
    except Exception: continue
    settings = []
    for command in stream:
        if command[0] == "multi-set": settings += command[4]
        elif command[0] == "set" and command[2] == "action": settings.append(command[4:])
    found.append([name, settings])
print(json.dumps(found))
"#;

fn python(program: &str, input: &str) -> Option<Json> {
    let python = |program: &str| {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-W", "ignore", "-c", program]).stdin(Stdio::piped());
        command
    };
    let installed = python("import fail2ban.server.actions").stderr(Stdio::null()).status();
    if !installed.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("F2B_CI").is_none(), "fail2ban is not installed");
        say_skipped("fail2ban");
        return None;
    }
    let mut child =
        python(program).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("python starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("python listens");
    let output = child.wait_with_output().expect("python ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// Says once for each test that it is skipped, past libtest, which shows the output of failing tests only.
fn say_skipped(what: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let line = format!("skipped: {} needs {what}", thread::current().name().unwrap_or("a test"));
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(line.clone()) {
        let _ = writeln!(stderr(), "{line}");
    }
}

/// Writes commands down instead of running them, and lets some of them fail.
struct Recording {
    commands: RefCell<Vec<Json>>,
    failures: RefCell<Vec<(String, i64)>>,
}

impl Runner for Recording {
    fn run(&self, script: &Script, _: Number) -> Outcome {
        let words: Vec<&String> = std::iter::once(&script.text).chain(&script.args).collect();
        self.commands.borrow_mut().push(json!(words));
        for (part, left) in self.failures.borrow_mut().iter_mut() {
            if script.text.contains(part.as_str()) && *left > 0 {
                *left -= 1;
                return Outcome::exited(1);
            }
        }
        Outcome::exited(0)
    }
}

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Log for Lines {
    fn enabled(&self, level: Level) -> bool {
        level >= Level::INFO
    }

    fn write(&self, record: Record) {
        if record.logger != "utils" {
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push(format!("{} {}", record.level, record.message));
        }
    }
}

/// Plays a scenario with our actions.
struct Player {
    actions: Actions,
    bans: Vec<Ticket>,
    total: i64,
    shell: Recording,
    names: FixedNames,
    log: Lines,
}

impl Player {
    fn play(scenario: &Json) -> Json {
        let failures = scenario["failures"].as_object().into_iter().flatten();
        let failures = failures.map(|(part, n)| (part.clone(), n.as_i64().expect("a number"))).collect();
        let mut player = Self {
            actions: Actions::new("sshd"),
            bans: Vec::new(),
            total: 0,
            shell: Recording { commands: RefCell::default(), failures: RefCell::new(failures) },
            names: FixedNames::default(),
            log: Lines::default(),
        };
        player.configure(&scenario["actions"]);
        for step in scenario["steps"].as_array().expect("steps") {
            player.step(step);
        }
        json!({"commands": player.shell.commands.into_inner(), "log": player.log.0.into_inner().expect("no panic")})
    }

    fn with(&mut self, now: f64, work: impl FnOnce(&mut Actions, &mut Vec<Ticket>, &Context<'_>)) {
        let counts =
            JailCounts { banned: self.bans.len() as i64, banned_total: self.total, found: 3, found_total: 4 };
        let context = Context {
            now: Time(NOW + now),
            ban_time: 600.0,
            counts,
            ipv6: true,
            shell: &self.shell,
            names: &self.names,
            earlier: None,
            log: &self.log,
        };
        work(&mut self.actions, &mut self.bans, &context);
    }

    fn configure(&mut self, settings: &Json) {
        for action in settings.as_array().expect("actions") {
            let name = action[0].as_str().expect("a name");
            self.with(0.0, |actions, _, context| {
                actions.add(name, context).expect("added");
                for setting in action[1].as_array().expect("settings") {
                    let property = setting[0].as_str().expect("a name");
                    let value = match &setting[1] {
                        Json::String(text) => Value::from(text.as_str()),
                        Json::Bool(b) => Value::Bool(*b),
                        Json::Null => Value::None,
                        other => panic!("{other}"),
                    };
                    actions.set(name, property, value, context).expect("set");
                }
            });
        }
    }

    fn step(&mut self, step: &Json) {
        let now = step["now"].as_f64().unwrap_or(0.0);
        let known = |bans: &[Ticket]| {
            let id = Id::parse(step["id"].as_str().expect("an id"));
            bans.iter().position(|ban| ban.id == id)
        };
        match step["do"].as_str().expect("what to do") {
            "start" => self.with(now, |actions, _, context| actions.start(context)),
            "ban" => match known(&self.bans) {
                Some(index) => self.with(now, |actions, bans, context| {
                    let check = step["later"].as_f64().unwrap_or(0.0) > 3.0;
                    actions.verify(&bans[index], check, context);
                }),
                None => {
                    let mut ticket = ticket(step);
                    ticket.ban_count = 1;
                    self.bans.push(ticket);
                    self.total += 1;
                    self.with(now, |actions, bans, context| actions.ban(&bans[bans.len() - 1], context));
                }
            },
            "prolong" => {
                let index = known(&self.bans).expect("a ban");
                self.with(now, |actions, bans, context| actions.prolong(&bans[index], context));
            }
            "unban" => {
                let index = known(&self.bans).expect("a ban");
                let ticket = self.bans.remove(index);
                self.with(now, |actions, _, context| actions.unban(&ticket, context));
            }
            "flush" => {
                let tickets = std::mem::take(&mut self.bans);
                self.with(now, |actions, _, context| actions.flush(&tickets, context));
            }
            "reload" => {
                self.actions.begin_reload();
                self.configure(&step["actions"]);
                self.with(now, |actions, bans, context| actions.end_reload(bans, context).expect("reloaded"));
            }
            "stop" => {
                let tickets = std::mem::take(&mut self.bans);
                self.with(now, |actions, _, context| actions.stop(&tickets, context));
            }
            other => panic!("{other}"),
        }
    }
}

fn ticket(step: &Json) -> Ticket {
    let later = step["later"].as_f64().unwrap_or(0.0);
    let mut ticket = Ticket::new(Id::parse(step["id"].as_str().expect("an id")), Time(NOW + later));
    ticket.data.failures = 3;
    for line in step["matches"].as_array().expect("lines") {
        let text = |json: &Json| json.as_str().expect("a text").to_owned();
        ticket.data.matches.push(match line {
            Json::Array(parts) => MatchedLine::Split([0, 1, 2].map(|n| text(&parts[n]))),
            whole => MatchedLine::Whole(text(whole)),
        });
    }
    ticket.data.fields = step["data"].as_object().expect("fields").clone();
    ticket.restored = step["restored"].as_bool().unwrap_or(false);
    ticket
}

/// What upstream prints of a ban for which an action failed has addresses of functions in it, and before release 1.1 it
/// had one word less for the end of a ban.
fn without_infos(result: &mut Json) {
    for line in result["log"].as_array_mut().expect("lines") {
        *line = line.as_str().expect("a text").replace("] Repeal Ban ", "] Unban ").into();
        let text = line.as_str().expect("a text");
        if let (Some(start), Some(end)) = (text.find(" info 'ActionInfo("), text.rfind(")': ")) {
            *line = format!("{} info ...{}", &text[..start], &text[end + 2..]).into();
        }
    }
}

#[track_caller]
fn check(scenario: &Json) {
    let Some(mut expected) = python(PLAYER, &scenario.to_string()) else { return };
    let mut found = Player::play(scenario);
    without_infos(&mut expected);
    without_infos(&mut found);
    for what in ["commands", "log"] {
        let list = |json: &Json| json[what].as_array().cloned().expect("a list");
        let (found, expected) = (list(&found), list(&expected));
        let same = std::iter::zip(&found, &expected).take_while(|(ours, theirs)| ours == theirs).count();
        let rest = |list: &[Json]| list[same..].iter().map(|line| format!("\n  {line}")).collect::<String>();
        assert!(
            found == expected,
            "{what} differ from number {same} on\nours:{}\ntheirs:{}\nscenario: {scenario}",
            rest(&found),
            rest(&expected)
        );
    }
}

fn ban(id: &str) -> Json {
    json!({"do": "ban", "id": id, "matches": [["", "Nov 14", " it's $(reboot) `id` \"x\" \n; rm"], "plain"],
           "data": {"user": "ro'ot$(id)", "fid": "x y", "users": ["a"], "n": 17}})
}

fn with(mut step: Json, name: &str, value: impl Into<Json>) -> Json {
    step[name] = value.into();
    step
}

fn unban(id: &str) -> Json {
    json!({"do": "unban", "id": id})
}

fn start() -> Json {
    json!({"do": "start"})
}

fn stop() -> Json {
    json!({"do": "stop"})
}

/// An action of the kind that administrators write: several lines, a value for each family, captured text.
fn household() -> Json {
    json!([
        "household",
        [
            ["actionstart", "start <name> <family> <br> <ip>|<failures>|<matches>|<time>|<bantime>"],
            ["actionstop", "stop <name> <family>"],
            ["actioncheck", "check <family>"],
            [
                "actionban",
                "block -d '{\"target\":\"<cftarget>\",\"value\":\"<ip>\"}' <url>\nnotify -b <ip> -r \"on <F-CONTAINER> by <F-USER> (<name>)\" <F-USERS> <F-N> <F-ID>"
            ],
            ["actionunban", "unblock <cftarget> <ip> <F-USER> <unknown> <HOST>"],
            ["name", "sshd"],
            ["actname", "household"],
            ["url", "https://example.org/<part>"],
            ["part", "x<sp>y"],
            ["cftarget", "ip"],
            ["cftarget?family=inet6", "ip6"],
        ]
    ])
}

fn plain() -> Json {
    json!([
        "plain",
        [
            ["actionstart", "plain start"],
            ["actionstop", "plain stop"],
            ["actionflush", "plain flush"],
            [
                "actionban",
                "plain ban <ip> <fid> <family> <ip-rev> <ip-host> <failures> <time> <bantime> <bancount> <restored> <matches>"
            ],
            ["actionprolong", "plain prolong <ip> <bantime> <time>"],
            ["actionunban", "plain unban <ip>"],
            ["actionreload", "plain reload"],
            ["timeout", "1m"],
            ["norestored", true],
        ]
    ])
}

fn all_tags() -> Json {
    json!([
        "tags",
        [
            [
                "actionban",
                "<ip>|<family>|<ip-rev>|<ip-host>|<fid>|<failures>|<time>|<bantime>|<bancount>|<matches>|<restored>|<ipmatches>|<ipjailmatches>|<ipfailures>|<ipjailfailures>|<jail.banned>|<jail.banned_total>|<jail.found>|<jail.found_total>|<br>|<sp>|<fq-hostname>|<sh-hostname>|<timeout>"
            ],
            ["actionunban", "<raw-ticket>|<F-MATCHES>|<F-FAILURES>|<F-USER>|<F-NONE>|<F-user>|<f-user>"],
        ]
    ])
}

#[test]
fn bans_of_both_families_and_of_none() {
    let ids = ["192.0.2.1", "2001:db8::1", "someone"];
    let mut steps = vec![start()];
    steps.extend(ids.map(ban));
    steps.extend([unban("192.0.2.1"), unban("someone"), ban("192.0.2.7"), stop()]);
    check(&json!({"actions": [household(), plain(), all_tags()], "steps": steps}));
}

#[test]
fn raw_tickets_and_captured_fields() {
    let steps = [start(), ban("192.0.2.1"), unban("192.0.2.1"), stop()];
    check(&json!({"actions": [all_tags()], "steps": steps}));
}

#[test]
fn restored_bans_and_prolonged_ones() {
    let restored = with(ban("192.0.2.1"), "restored", true);
    let prolong = with(ban("192.0.2.2"), "do", "prolong");
    let steps = [start(), with(restored, "matches", json!(["x"])), ban("192.0.2.2"), prolong, stop()];
    check(&json!({"actions": [plain(), household()], "steps": steps}));
}

#[test]
fn flushing_and_reloading() {
    let mut changed = household();
    changed[1][3][1] = json!("another <ip>");
    let reload = json!({"do": "reload", "actions": [changed]});
    let steps = [
        start(),
        ban("192.0.2.1"),
        ban("2001:db8::1"),
        reload,
        ban("192.0.2.2"),
        json!({"do": "flush"}),
        stop(),
    ];
    check(&json!({"actions": [household(), plain()], "steps": steps}));
}

#[test]
fn a_command_that_fails_once_is_repeated() {
    for (part, times) in [("block -d", 1), ("block -d", 2), ("unblock", 1), ("unblock", 3), ("plain ban", 9)]
    {
        let steps = [start(), ban("192.0.2.1"), ban("2001:db8::1"), unban("192.0.2.1"), stop()];
        check(&json!({"actions": [household(), plain()], "steps": steps, "failures": {part: times}}));
    }
}

#[test]
fn a_broken_environment_is_restarted_or_repaired() {
    let mut repaired = household();
    repaired[1].as_array_mut().expect("settings").push(json!(["actionrepair", "repair <family>"]));
    let mut on_unban = repaired.clone();
    on_unban[1].as_array_mut().expect("settings").push(json!(["actionrepair_on_unban", true]));
    let again = |now: i64| with(with(ban("192.0.2.1"), "later", now), "now", now);
    let steps = json!([
        start(),
        ban("192.0.2.1"),
        ban("2001:db8::1"),
        again(10),
        again(20),
        ban("192.0.2.3"),
        again(1),
        ban("192.0.2.3"),
        unban("192.0.2.1"),
        unban("2001:db8::1"),
        stop()
    ]);
    for action in [household(), repaired, on_unban] {
        for failures in [
            json!({"block -d": 1, "check": 1}),
            json!({"block -d": 1, "check": 2}),
            json!({"block -d": 2, "check": 1}),
            json!({"check": 1}),
            json!({"check": 2}),
            json!({"check": 3, "repair": 1}),
            json!({"unblock": 1, "check": 9}),
            json!({"unblock": 9, "check": 1, "start": 1}),
            json!({"start": 1}),
            json!({"stop": 5, "check": 1}),
        ] {
            check(&json!({"actions": [action, plain()], "steps": steps, "failures": failures}));
        }
    }
}

#[test]
fn a_flush_that_fails_ends_in_a_check() {
    let mut action = plain();
    action[1].as_array_mut().expect("settings").push(json!(["actioncheck", "plain check"]));
    let steps = json!([start(), ban("192.0.2.1"), ban("192.0.2.2"), stop()]);
    for failures in
        [json!({"flush": 1}), json!({"flush": 1, "check": 1}), json!({"stop": 1}), json!({"start": 1})]
    {
        check(&json!({"actions": [action], "steps": steps, "failures": failures}));
    }
}

#[test]
fn starting_on_demand_and_naming_families() {
    let action = |extra: Json| {
        let mut action = household();
        action[1].as_array_mut().expect("settings").push(extra);
        action
    };
    let steps = json!([start(), ban("192.0.2.1"), ban("someone"), ban("2001:db8::1"), stop()]);
    for extra in [
        json!(["actionstart_on_demand", true]),
        json!(["actionstart_on_demand", false]),
        json!(["actionstart_on_demand", ""]),
        json!(["actionstart_on_demand", "false"]),
        json!(["families", "inet4"]),
        json!(["actionreban", "again <ip>"]),
        json!(["actionban?family=inet6", "six <ip>"]),
        json!(["part", "<url>"]),
        json!(["actionstart", ""]),
    ] {
        let on_demand_only =
            |name: &str| json!({"actions": [action(extra.clone())], "steps": steps, "name": name});
        check(&on_demand_only("conditions"));
        let mut unconditional = action(extra.clone());
        let settings = unconditional[1].as_array_mut().expect("settings");
        settings.retain(|setting| setting[0] != "cftarget?family=inet6");
        check(&json!({"actions": [unconditional], "steps": steps}));
    }
}

#[test]
fn the_stock_actions() {
    let root = std::env::var("F2B_TEST_CONFIG").unwrap_or_else(|_| "/etc/fail2ban".into());
    let Some(found) = python(READER, &root) else { return };
    let found = found.as_array().expect("actions");
    assert!(!found.is_empty(), "no actions in {root}");
    let again = with(with(ban("192.0.2.1"), "later", 10), "now", 10);
    let steps = json!([
        start(),
        ban("192.0.2.1"),
        ban("2001:db8::1"),
        again,
        unban("192.0.2.1"),
        ban("192.0.2.2"),
        stop()
    ]);
    for action in found {
        check(&json!({"actions": [action], "steps": steps}));
    }
    check(&json!({"actions": found, "steps": steps}));
}

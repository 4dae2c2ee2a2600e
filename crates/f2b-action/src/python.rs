//! An action written in Python: any `name.py` in `action.d` but `smtp.py`, which is built in.
//!
//! The file runs unchanged in a process of its own, one for each action, that finds a package `fail2ban` of ours
//! (`python/package.py`) and is asked for one thing at a time (`python/child.py`). Each call has a limit. A child that does
//! not answer in time is killed, one that has ended is a failure of that call alone: the next call starts a new one,
//! sets what clients had set, and starts the action if it had been started.
//!
//! Upstream: `actions.Actions.add`, `utils.Utils.load_python_module`, and the objects of `action.ActionBase`, which live in
//! the server there.

mod child;
mod wire;

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use f2b_protocol::Value;
use f2b_types::{Id, Level, Log, Record, Ticket};
use serde_json::{Value as Json, json};

use crate::error::{ActionError, Raised};
use crate::info::BanInfo;
use crate::run::Run;
use child::{Budget, Child, Gone};
use wire::{exception, from_json, to_json};

/// How long a call may take, unless the action asks for longer by a property `timeout`. Published actions mean one request
/// by that name, so it never shortens the time.
const LIMIT: Duration = Duration::from_secs(60);

/// The longest time that an action may ask for.
const LONGEST: f64 = 86_400.0;

/// Bans and unbans in the jail, for an action that asks for it. Nobody waits for what comes of it.
pub trait Orders: Send + Sync {
    /// Bans them.
    fn ban(&self, ids: Vec<Id>);

    /// Ends their bans.
    fn unban(&self, ids: Vec<Id>);
}

/// Whom the process of an action reaches, also between two calls.
#[derive(Clone)]
pub struct Outside {
    /// Takes its log.
    pub log: Arc<dyn Log>,
    /// Takes its orders.
    pub orders: Arc<dyn Orders>,
}

/// What a new action is made from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source {
    file: String,
    /// The arguments of its class, an object in JSON.
    options: String,
    /// What the file was when it was loaded.
    stamp: Option<(SystemTime, u64)>,
}

impl Source {
    pub(crate) fn new(file: &str, options: &str) -> Self {
        let stamp = |data: fs::Metadata| Some((data.modified().ok()?, data.len()));
        Self { file: file.into(), options: options.into(), stamp: fs::metadata(file).ok().and_then(stamp) }
    }
}

/// One action of a jail that is written in Python.
pub(crate) struct PythonAction {
    name: String,
    source: Source,
    child: Option<Child>,
    budget: Arc<Budget>,
    outside: Outside,
    limit: Duration,
    next_id: u64,
    started: bool,
    /// What clients have set, for the next child, which knows what of it are properties.
    set: Vec<(String, Value)>,
    traits: Traits,
    /// It is to reload with its new options at the end of a reload.
    reloads: bool,
}

/// What the child has last told about its action.
#[derive(Debug, Clone, Default)]
struct Traits {
    norestored: bool,
    prolongable: bool,
    timeout: f64,
    has: Vec<String>,
}

impl PythonAction {
    /// Loads the file and makes the action.
    ///
    /// # Errors
    ///
    /// Whatever the file raises when it is loaded, and its class when it is called.
    pub(crate) fn new(
        name: &str,
        source: Source,
        outside: &Outside,
        run: &Run<'_>,
    ) -> Result<Self, ActionError> {
        let who = format!("[{}] action {}", run.jail, Value::from(name));
        let mut action = Self {
            name: name.into(),
            source,
            child: None,
            budget: Budget::new(outside.clone(), who),
            outside: outside.clone(),
            limit: LIMIT,
            next_id: 0,
            started: false,
            set: Vec::new(),
            traits: Traits::default(),
            reloads: false,
        };
        action.revive(run)?;
        Ok(action)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn skips(&self, ticket: &Ticket) -> bool {
        ticket.restored && self.traits.norestored
    }

    pub(crate) fn is_prolongable(&self) -> bool {
        self.traits.prolongable
    }

    /// Whether it has a method beyond those that all have.
    pub(crate) fn has(&self, method: &str) -> bool {
        self.traits.has.iter().any(|name| name == method)
    }

    /// Whether it can go on for this source after a reload, from whose end on it has the new options.
    pub(crate) fn takes_over(&mut self, source: &Source, run: &Run<'_>) -> Result<bool, ActionError> {
        if self.has("reload") {
            if self.has("clearAllParams") {
                self.call("clearAllParams", run)?;
                self.source = source.clone();
                self.reloads = true;
            }
            return Ok(true);
        }
        Ok(self.source == *source)
    }

    pub(crate) fn reload(&mut self, run: &Run<'_>) -> Result<(), ActionError> {
        if !std::mem::take(&mut self.reloads) {
            return Ok(());
        }
        let request = json!({ "do": "call", "method": "reload", "options": self.source.options });
        self.request("reload", request, None, run).map(drop)
    }

    pub(crate) fn start(&mut self, run: &Run<'_>) -> Result<(), ActionError> {
        self.call("start", run)?;
        self.started = true;
        Ok(())
    }

    pub(crate) fn stop(&mut self, run: &Run<'_>) -> Result<(), ActionError> {
        self.call("stop", run)?;
        self.started = false;
        Ok(())
    }

    /// Calls a method without arguments; whether what it returns is true.
    pub(crate) fn call(&mut self, method: &str, run: &Run<'_>) -> Result<bool, ActionError> {
        let request = json!({ "do": "call", "method": method });
        self.request(method, request, None, run).map(|value| value == Value::Bool(true))
    }

    /// Calls a method about a ban.
    pub(crate) fn about(
        &mut self,
        method: &str,
        info: &BanInfo<'_>,
        run: &Run<'_>,
    ) -> Result<(), ActionError> {
        let ban: serde_json::Map<String, Json> =
            info.at_hand().iter().map(|(name, value)| ((*name).to_owned(), to_json(value))).collect();
        let request = json!({ "do": "call", "method": method, "ban": ban });
        self.request(method, request, Some(info), run).map(drop)
    }

    /// `set J action A NAME [VALUE]`: calls a method, or sets a property and tells it.
    pub(crate) fn tell(
        &mut self,
        name: &str,
        value: Option<&Value>,
        run: &Run<'_>,
    ) -> Result<Value, ActionError> {
        let given: Vec<Json> = value.into_iter().map(to_json).collect();
        let request = json!({ "do": "tell", "name": name, "value": given });
        let answer = self.request(name, request, None, run)?;
        if let Some(value) = value {
            self.set.retain(|(known, _)| known != name);
            self.set.push((name.into(), value.clone()));
        }
        Ok(answer)
    }

    pub(crate) fn get(&mut self, name: &str, run: &Run<'_>) -> Result<Value, ActionError> {
        self.request("get", json!({ "do": "get", "name": name }), None, run)
    }

    /// The public names of its methods, or of its properties, in Python's order.
    pub(crate) fn names(&mut self, methods: bool, run: &Run<'_>) -> Result<Vec<String>, ActionError> {
        let names = self.request("get", json!({ "do": "names", "callable": methods }), None, run)?;
        let names = names.as_items().unwrap_or_default();
        Ok(names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }
    /// Has the child do something, in a new one if the last one has gone.
    fn request(
        &mut self,
        doing: &str,
        request: Json,
        info: Option<&BanInfo<'_>>,
        run: &Run<'_>,
    ) -> Result<Value, ActionError> {
        if self.child.is_none() {
            self.revive(run)?;
            self.say(Level::NOTICE, &format!("runs in a new process, for {doing}"));
        }
        self.exchange(doing, request, info, run)
    }

    /// Starts a child and brings it to where the last one was.
    fn revive(&mut self, run: &Run<'_>) -> Result<(), ActionError> {
        let child = Child::start(&self.source.file, &self.budget);
        self.child = Some(child.map_err(|error| ActionError::Child {
            doing: self.source.file.clone(),
            reason: format!("python3 can't be started, and Python actions need it: {error}"),
        })?);
        let set: Vec<Json> = self.set.iter().map(|(name, value)| json!([name, to_json(value)])).collect();
        let Source { file, options, .. } = &self.source;
        let request = json!({ "do": "new", "name": self.name, "file": file, "options": options, "set": set });
        let started = self.exchange("__init__", request, None, run).and_then(|_| match self.started {
            true => self.exchange("start", json!({ "do": "call", "method": "start" }), None, run).map(drop),
            false => Ok(()),
        });
        if started.is_err() {
            self.child = None;
        }
        started
    }

    /// Sends a request and waits for its reply, answering what the child asks until then.
    fn exchange(
        &mut self,
        doing: &str,
        mut request: Json,
        info: Option<&BanInfo<'_>>,
        run: &Run<'_>,
    ) -> Result<Value, ActionError> {
        self.next_id += 1;
        let counts = &run.context.counts;
        let level = (1..50).find(|level| self.outside.log.enabled(Level(*level))).unwrap_or(50);
        for (name, value) in [
            ("id", self.next_id.into()),
            ("level", level.into()),
            ("jail", run.jail.into()),
            ("bantime", to_json(&whole(run.context.ban_time))),
            ("database", run.context.earlier.is_some().into()),
            (
                "counts",
                json!({
                    "jail.banned": counts.banned, "jail.banned_total": counts.banned_total,
                    "jail.found": counts.found, "jail.found_total": counts.found_total,
                }),
            ),
        ] {
            request[name] = value;
        }
        let wanted = Duration::from_secs_f64(self.traits.timeout.clamp(0.0, LONGEST));
        let outcome = self.converse(&request, info, self.limit.max(wanted));
        let reply = outcome.map_err(|gone| {
            let id = self.child.take().map_or(0, |child| child.id());
            let reason = match gone {
                Gone::Ended(how) => format!("its process {id} {how}"),
                Gone::Silent(limit) => {
                    format!("no end after {} seconds, its process {id} is killed", limit.as_secs_f64())
                }
                Gone::Garbled => format!("its process {id} sent what is no answer, and is killed"),
            };
            self.say(Level::ERROR, &format!("{doing}: {reason}"));
            ActionError::Child { doing: doing.into(), reason }
        })?;
        self.take(&reply, info)
    }

    fn converse(
        &mut self,
        request: &Json,
        info: Option<&BanInfo<'_>>,
        limit: Duration,
    ) -> Result<Json, Gone> {
        let deadline = Instant::now() + limit;
        let child = self.child.as_mut().ok_or(Gone::Garbled)?;
        child.begin();
        child.send(request, limit, deadline)?;
        loop {
            let message = child.receive(limit, deadline)?;
            if let Some(tag) = message.get("ask").and_then(Json::as_str) {
                let answer = info.and_then(|info| info.ask(tag)).unwrap_or(Value::None);
                child.send(&json!({ "answer": to_json(&answer) }), limit, deadline)?;
            } else if let Some(question) = message.get("merged") {
                let ip = Id::parse(question["ip"].as_str().unwrap_or_default());
                let is_overall = question["here"] != true;
                let answer = info.and_then(|info| info.earlier(&ip, is_overall)).unwrap_or(Value::None);
                child.send(&json!({ "answer": to_json(&answer) }), limit, deadline)?;
            } else if message.get("id") == request.get("id") {
                return Ok(message);
            } else {
                return Err(child.give_up(Gone::Garbled));
            }
        }
    }

    /// What a reply says.
    fn take(&mut self, reply: &Json, info: Option<&BanInfo<'_>>) -> Result<Value, ActionError> {
        let traits = &reply["traits"];
        let is_set = |name: &str| traits[name].as_bool().unwrap_or(false);
        let names = traits["has"].as_array().map(Vec::as_slice).unwrap_or_default();
        self.traits = Traits {
            norestored: is_set("norestored"),
            prolongable: is_set("prolongable"),
            timeout: traits["timeout"].as_f64().unwrap_or(0.0),
            has: names.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        };
        // The log shows what the action has asked for.
        for tag in reply["asked"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            info.and_then(|info| if tag == "ip-host" { None } else { info.ask(tag) });
        }
        let text = |name: &str| reply[name].as_str().unwrap_or_default().to_owned();
        match reply.get("raised").and_then(exception) {
            Some(exception) => Err(ActionError::Raised(Box::new(Raised {
                exception,
                text: text("text"),
                trace: text("trace"),
            }))),
            None => Ok(from_json(&reply["value"]).unwrap_or(Value::None)),
        }
    }

    fn say(&self, level: Level, text: &str) {
        if self.outside.log.enabled(level) {
            self.outside.log.write(Record::new(level, "action", format!("{} {text}", self.budget.who())));
        }
    }
}

/// A number of seconds as upstream keeps it: whole unless it has a fraction.
fn whole(seconds: f64) -> Value {
    if seconds.fract() == 0.0 { Value::Int(seconds as i64) } else { Value::Float(seconds) }
}

impl fmt::Debug for PythonAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PythonAction").field("name", &self.name).field("source", &self.source).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use f2b_types::{Recorder, Time};

    use super::*;
    use crate::context::Context;
    use crate::info::JailCounts;
    use crate::names::FixedNames;
    use crate::shell::Shell;

    /// Nobody orders anything here.
    struct NoOrders;

    impl Orders for NoOrders {
        fn ban(&self, _: Vec<Id>) {}

        fn unban(&self, _: Vec<Id>) {}
    }

    const HANGS: &str = "
import os, signal, subprocess, threading, time
from fail2ban.server.action import ActionBase
from fail2ban.server.utils import Utils
class Action(ActionBase):
    def ban(self, info):
        ip = str(info['ip'])
        if ip == '192.0.2.2': signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if ip == '192.0.2.3': Utils.executeCmd('exec sleep SECONDS')
        if ip == '192.0.2.4': os.kill(os.getpid(), signal.SIGSTOP)
        if ip == '192.0.2.5': threading.Thread(target=lambda: time.sleep(0.2) or os.kill(os.getpid(), signal.SIGSTOP)).start()
        if ip < '192.0.2.3':
            subprocess.Popen(['sleep', 'SECONDS'])
            time.sleep(60)
";

    /// How many processes bear this command line.
    fn processes(words: &[&str]) -> usize {
        let line: Vec<u8> = words.iter().flat_map(|word| word.bytes().chain([0])).collect();
        let of = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).ok();
        fs::read_dir("/proc").expect("/proc").flatten().filter_map(of).filter(|found| *found == line).count()
    }

    #[test]
    fn a_child_that_hangs_ends_with_all_that_it_started() {
        if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
            assert!(std::env::var_os("F2B_CI").is_none(), "CI lacks python3");
            return;
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (file, seconds) = (dir.path().join("a.py"), format!("77.{}", std::process::id()));
        fs::write(&file, HANGS.replace("SECONDS", &seconds)).expect("a file");
        let (names, recorder) = (FixedNames::default(), Arc::new(Recorder::default()));
        let log: Arc<dyn Log> = Arc::<Recorder>::clone(&recorder);
        let context = Context {
            now: Time(1000.0),
            ban_time: 600.0,
            counts: JailCounts::default(),
            ipv6: true,
            shell: &Shell,
            names: &names,
            earlier: None,
            log: &*log,
        };
        let run = Run { jail: "j", context: &context, epoch: &mut 0 };
        let source = Source::new(&file.display().to_string(), "{}");
        let outside = Outside { log: Arc::clone(&log), orders: Arc::new(NoOrders) };
        let mut action = PythonAction::new("a", source, &outside, &run).expect("an action");
        let mut ban = |ip: &str, limit: Duration| {
            let mut ticket = Ticket::new(Id::parse(ip), Time(1.0));
            // More than fits into a pipe, so that a child which does not read holds up who writes.
            ticket.data.fields.insert("user".into(), "x".repeat(200_000).into());
            action.limit = limit;
            action.about("ban", &BanInfo::new(&ticket, context.jail("j")), &run)
        };
        for ip in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"] {
            // The last one stops a moment after it has answered.
            let (first, second) = if ip == "192.0.2.5" { (ip, "192.0.2.9") } else { ("192.0.2.9", ip) };
            assert_eq!(ban(first, LIMIT), Ok(()), "{:#?}", recorder.lines());
            std::thread::sleep(Duration::from_millis(500));
            let started = Instant::now();
            let error = ban(second, Duration::from_millis(1500)).expect_err(ip).to_string();
            assert!(error.starts_with("ban: no end after 1.5 seconds, its process "), "{ip}: {error}");
            assert!(started.elapsed() < Duration::from_secs(20), "{ip}: {:?}", started.elapsed());
            assert_eq!(processes(&["sleep", &seconds]), 0, "{ip}");
            let line = format!("ERROR [j] action 'a' {error}");
            assert!(recorder.lines().contains(&line), "{line}: {:#?}", recorder.lines());
        }
    }
}

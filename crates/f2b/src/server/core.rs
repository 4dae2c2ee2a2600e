//! The core thread: owns the jails, hears everything, decides, and waits for nobody.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::Duration;

use f2b_filter::Filter;
use f2b_jail::{Act, Effect, Event, Jail, Token};
use f2b_protocol::{Command, Reply, Value};
use f2b_types::{Id, Level, Log, Record, Time, local_time};
use jiff::tz::TimeZone;

use super::database::{Ask, Database, Wanted};
use super::errors::{duplicate_jail, runtime_error, unknown_jail, value_error};
use super::jails::Running;
use super::reader::{Reader, Watch};
use super::resolver::{Resolver, own_addresses};
use super::transmitter::{Answer, Outcome, Result};
use super::worker::{Work, Worker};
use super::{JailKey, Msg};
use crate::clock;
use crate::logging::ServerLog;

/// How often the database forgets what is too old, in seconds.
const PURGE_INTERVAL: f64 = 3600.0;

/// The server's state and the ways to its other threads.
pub(super) struct Core {
    pub(super) logger: Arc<ServerLog>,
    pub(super) zone: TimeZone,
    pub(super) database: Option<Database>,
    /// In the order in which they were added.
    pub(super) jails: Vec<Running>,
    pub(super) reader: Reader,
    pub(super) options: ServerOptions,
    resolver: Resolver,
    inbox: Receiver<Msg>,
    sender: Sender<Msg>,
    next_key: u64,
    next_token: u64,
    waiting: HashMap<u64, SyncSender<Reply>>,
    /// Commands that came while another one was under way.
    held: VecDeque<(Command, SyncSender<Reply>)>,
    busy: bool,
    /// Names of jails that a reload has not touched yet; `None` outside of a reload.
    pub(super) reloading: Option<Vec<String>>,
    next_purge: Time,
    quitting: bool,
    /// The server ends because it could not be configured.
    pub(super) is_useless: bool,
}

/// What `set` without a jail has set, as `get` answers it.
pub(super) struct ServerOptions {
    pub(super) loglevel: String,
    pub(super) logtarget: String,
    pub(super) syslogsocket: String,
    pub(super) thread: Value,
    pub(super) dbmaxmatches: i64,
    pub(super) dbpurgeage: f2b_types::Number,
}

impl Core {
    pub(super) fn new(
        logger: Arc<ServerLog>,
        options: ServerOptions,
        inbox: Receiver<Msg>,
        sender: Sender<Msg>,
    ) -> anyhow::Result<Self> {
        let zone = clock::local_zone();
        let resolver = Resolver::start(&sender, &logger)?;
        Ok(Self {
            reader: Reader::start(&sender, &resolver, &logger, zone.clone())?,
            resolver,
            next_purge: clock::now() + PURGE_INTERVAL,
            logger,
            zone,
            options,
            inbox,
            sender,
            database: None,
            jails: Vec::new(),
            next_key: 0,
            next_token: 0,
            waiting: HashMap::new(),
            held: VecDeque::new(),
            busy: false,
            reloading: None,
            quitting: false,
            is_useless: false,
        })
    }

    /// Runs until somebody stops the server.
    pub(super) fn run(&mut self) {
        while !self.quitting {
            match self.held.pop_front() {
                Some((command, answer)) => self.command(&command, answer),
                None => self.pump(None),
            }
        }
        // Whoever still waits for an answer learns that the server has gone.
        self.held.clear();
    }

    pub(super) fn log(&self, level: Level, logger: &'static str, message: impl Into<String>) {
        self.logger.write(Record::new(level, logger, message));
    }

    /// Carries on with everything but commands until something has come true.
    pub(super) fn pump_until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        while !done(self) {
            self.pump(Some(Duration::from_millis(20)));
        }
    }

    /// Waits for the next message or deadline and deals with it.
    fn pump(&mut self, longest: Option<Duration>) {
        let deadline =
            self.jails.iter().filter(|jail| !jail.idle).filter_map(|jail| jail.jail.next_deadline());
        let next = deadline.fold(self.next_purge, |first, time| if time < first { time } else { first });
        let wait = Duration::from_secs_f64((next - clock::now()).clamp(0.0, 3600.0));
        match self.inbox.recv_timeout(longest.map_or(wait, |longest| wait.min(longest))) {
            Ok(msg) => self.hear(msg),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.quitting = true,
        }
        self.meet_deadlines();
    }

    fn hear(&mut self, msg: Msg) {
        match msg {
            Msg::Command { command, answer } if self.busy => self.held.push_back((command, answer)),
            Msg::Command { command, answer } => self.command(&command, answer),
            Msg::Found { jail, failure } => {
                self.step(jail, Event::Found(failure));
                self.leave(jail);
            }
            Msg::Resolved { jail, name, addresses } => {
                if let Some(running) = self.by_key(jail) {
                    running.jail.ignore.resolved(&name, addresses);
                }
            }
            Msg::Told { jail, asked, history } => {
                self.step(jail, Event::Told(asked, history));
                self.leave(jail);
            }
            Msg::Remembered { jail, ban } => {
                self.step(jail, Event::Remembered(ban));
                self.leave(jail);
            }
            Msg::Stopped { jail } => {
                if let Some(running) = self.by_key(jail) {
                    running.worker = None;
                }
            }
            Msg::Signal(signal) => self.signal(signal),
            Msg::Misconfigured => self.misconfigured(),
        }
    }

    fn command(&mut self, command: &Command, answer: SyncSender<Reply>) {
        self.busy = true;
        self.transmit(command, answer);
        self.ship_changes();
        self.busy = false;
    }

    fn signal(&mut self, signal: i32) {
        if signal == nix::sys::signal::Signal::SIGUSR1 as i32 {
            self.log(Level::DEBUG, "server", format!("Caught signal {signal}. Flushing logs"));
            self.flush_logs();
        } else {
            self.log(Level::DEBUG, "server", format!("Caught signal {signal}. Exiting"));
            self.quit();
        }
    }

    /// The configuration could not be taken over as a whole. Jails that run go on; a server without any is of no use.
    fn misconfigured(&mut self) {
        if self.jails.iter().any(|jail| jail.started) {
            self.log(Level::ERROR, "server", "The configuration has errors, see above. The other jails run.");
        } else {
            self.is_useless = true;
            self.quit();
        }
    }

    fn meet_deadlines(&mut self) {
        let now = clock::now();
        let due = |jail: &Running| !jail.idle && jail.jail.next_deadline().is_some_and(|time| time <= now);
        let keys: Vec<JailKey> = self.jails.iter().filter(|jail| due(jail)).map(|jail| jail.key).collect();
        for key in keys {
            self.step(key, Event::Tick);
        }
        if self.next_purge <= now {
            self.next_purge = now + PURGE_INTERVAL;
            self.tell_database(Ask::Purge);
        }
    }

    fn by_key(&mut self, key: JailKey) -> Option<&mut Running> {
        self.jails.iter_mut().find(|jail| jail.key == key)
    }

    fn leave(&mut self, key: JailKey) {
        if let Some(jail) = self.by_key(key) {
            jail.backlog.leave();
        }
    }

    pub(super) fn jail(&mut self, name: &str) -> Result<&mut Running> {
        self.jails.iter_mut().find(|jail| jail.jail.name() == name).ok_or_else(|| unknown_jail(name))
    }

    pub(super) fn tell_database(&self, ask: Ask) {
        if let Some(database) = &self.database {
            database.tell(ask);
        }
    }

    /// Lets a jail take a step and carries out what it wants.
    fn step(&mut self, key: JailKey, event: Event) {
        let Some(index) = self.jails.iter().position(|jail| jail.key == key) else { return };
        let effects = self.jails[index].jail.step(event, clock::now());
        for effect in effects {
            self.carry_out(index, effect);
        }
    }

    fn carry_out(&mut self, index: usize, effect: Effect) {
        let running = &self.jails[index];
        let (key, name) = (running.key, running.jail.name());
        match effect {
            Effect::Log(record) => self.logger.write(record),
            Effect::AskHistory { asked, id, overall } => {
                running.backlog.enter();
                self.tell_database(Ask::History { key, jail: name.into(), asked, id, overall });
            }
            Effect::Remember { ban, ticket } => {
                running.backlog.enter();
                self.tell_database(Ask::Remember { key, jail: name.into(), ban, ticket });
            }
            Effect::Forget(ids) => self.tell_database(Ask::Forget { jail: name.into(), ids }),
            Effect::Act(act) => running.act(act),
            Effect::Answer { token, result } => {
                let Some(answer) = self.waiting.remove(&token.0) else { return };
                let reply = match result {
                    Ok(count) => Ok(Value::Int(count)),
                    Err(message) => Err(value_error(message)),
                };
                running.send(Work::Answer { answer, reply });
            }
        }
    }

    /// Lets a jail take a step whose answer goes to a client when the actions have run.
    pub(super) fn step_with_answer(
        &mut self,
        name: &str,
        answer: Answer<'_>,
        event: impl FnOnce(Token) -> Event,
    ) -> Result<Outcome> {
        let key = self.jail(name)?.key;
        let token = Token(self.next_token);
        self.next_token += 1;
        if let Some(answer) = answer {
            self.waiting.insert(token.0, answer.clone());
        }
        self.step(key, event(token));
        Ok(Outcome::Later)
    }

    /// Ends bans in one jail or in all of them.
    pub(super) fn unban(
        &mut self,
        name: Option<&str>,
        ids: Option<Vec<Id>>,
        report_absent: bool,
        answer: Answer<'_>,
    ) -> Result<Outcome> {
        if let Some(name) = name {
            return self.step_with_answer(name, answer, |token| Event::Unban { ids, report_absent, token });
        }
        let mut total = 0;
        for name in self.names() {
            let (sender, receiver) = mpsc::sync_channel(1);
            let ids = ids.clone();
            self.step_with_answer(&name, Some(&sender), |token| Event::Unban { ids, report_absent, token })?;
            drop(sender);
            total += self.wait_for(&receiver)?;
        }
        Ok(total.into())
    }

    /// Carries on until the number that a jail owes has come.
    fn wait_for(&mut self, receiver: &Receiver<Reply>) -> Result<i64> {
        let mut reply = None;
        self.pump_until(|_| {
            match receiver.try_recv() {
                Ok(came) => reply = Some(came),
                Err(mpsc::TryRecvError::Disconnected) => reply = Some(Ok(Value::Int(0))),
                Err(mpsc::TryRecvError::Empty) => {}
            }
            reply.is_some()
        });
        match reply {
            Some(Ok(Value::Int(count))) => Ok(count),
            Some(Err(exception)) => Err(exception),
            _ => Ok(0),
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.jails.iter().map(|jail| jail.jail.name().to_owned()).collect()
    }

    /// Creates a jail, or takes up the one that is being reloaded.
    pub(super) fn add_jail(&mut self, name: &str, backend: &str) -> Result<()> {
        let reloading = self.reloading.as_ref().is_some_and(|names| names.iter().any(|n| n == name));
        if reloading && let Ok(old) = self.jail(name) {
            let old_backend = old.backend.clone();
            if old_backend == backend {
                self.log(Level::INFO, "server", format!("Reload jail '{name}'"));
                self.tell_database(Ask::AddJail(name.into()));
                return Ok(());
            }
            let reason = format!("Restart jail '{name}' (reason: '{old_backend}' != '{backend}')");
            self.log(Level::INFO, "server", reason);
            self.stop_jail(name)?;
        }
        if self.jail(name).is_ok() {
            return Err(duplicate_jail(name));
        }
        if name.chars().count() >= 26 {
            let message = format!(
                "Jail name '{name}' might be too long and some commands might not function correctly. Please shorten"
            );
            self.log(Level::WARNING, "jail", message);
        }
        self.log(Level::INFO, "jail", format!("Creating new jail '{name}'"));
        let real_backend = self.choose_backend(name, backend)?;
        let mut jail = Jail::new(name, self.zone.clone(), fastrand::u64(..));
        jail.has_database = self.database.is_some();
        jail.log_level = self.logger.level();
        jail.ignore.set_own(own_addresses());
        let key = JailKey(self.next_key);
        self.next_key += 1;
        let worker = Worker::start(key, name, &self.sender, &self.logger, self.database.as_ref())
            .map_err(|error| runtime_error(error.to_string()))?;
        let year = local_time(clock::now(), &self.zone).map_or(1970, |local| local.year());
        let filter = Filter::new(name, year);
        self.jails.push(Running::new(key, jail, filter, (backend, real_backend), worker));
        self.tell_database(Ask::AddJail(name.into()));
        Ok(())
    }

    /// The backend that follows the logs of a jail, upstream's words for it in the log.
    fn choose_backend(&self, name: &str, backend: &str) -> Result<&'static str> {
        let wanted = backend.split('[').next().unwrap_or_default().trim().to_lowercase();
        let real = match wanted.as_str() {
            "auto" | "pyinotify" => "pyinotify",
            "polling" => "polling",
            "systemd" => {
                let message = "Backend 'systemd' failed to initialize due to not being part of this version";
                self.log(Level::ERROR, "jail", message);
                let message = format!("Failed to initialize any backend for Jail '{name}'");
                self.log(Level::ERROR, "jail", message.clone());
                return Err(runtime_error(message));
            }
            _ => {
                let known = "['pyinotify', 'polling', 'systemd'] or 'auto'";
                let message = format!("Unknown backend {wanted}. Must be among {known}");
                self.log(Level::ERROR, "jail", message.clone());
                return Err(value_error(message));
            }
        };
        let uses = if real == "polling" { "poller" } else { real };
        self.log(Level::INFO, "jail", format!("Jail '{name}' uses {uses} {{}}"));
        self.log(Level::INFO, "jail", format!("Initiated '{real}' backend"));
        Ok(real)
    }

    /// Starts a jail, or ends its reload.
    pub(super) fn start_jail(&mut self, name: &str) -> Result<()> {
        let index = self.jails.iter().position(|jail| jail.jail.name() == name);
        let index = index.ok_or_else(|| unknown_jail(name))?;
        if !self.jails[index].started {
            self.log(Level::DEBUG, "jail", format!("Starting jail '{name}'"));
            let running = &mut self.jails[index];
            running.started = true;
            running.send(Work::Start);
            self.resolver.look_up(running.key, running.jail.ignore.names());
            self.ship_changes();
            self.restore_bans(index);
            self.reader.tell(Watch::Start(self.jails[index].key));
            self.log(Level::INFO, "jail", format!("Jail '{name}' started"));
        } else if let Some(names) = &mut self.reloading {
            names.retain(|untouched| untouched != name);
            self.log(Level::INFO, "server", format!("Jail '{name}' reloaded"));
        }
        self.set_idle(name, false)
    }

    fn restore_bans(&mut self, index: usize) {
        let Some(database) = self.database.clone() else { return };
        let jail = &self.jails[index].jail;
        let (increments, longest) = (jail.increment.enabled, jail.max_ban_time());
        let wanted = Wanted {
            for_ban_time: (!increments).then_some(jail.bans.ban_time),
            max_ban_time: (longest != -1.0).then_some(longest),
            ban_time: jail.bans.ban_time,
            max_matches: jail.fails.max_matches,
        };
        let name = jail.name().to_owned();
        let tickets = database.ask(|answer| Ask::Current { jail: name, wanted, answer });
        let key = self.jails[index].key;
        self.step(key, Event::Restore(tickets.unwrap_or_default()));
    }

    pub(super) fn set_idle(&mut self, name: &str, idle: bool) -> Result<()> {
        let running = self.jail(name)?;
        running.idle = idle;
        let key = running.key;
        self.reader.tell(Watch::Idle(key, idle));
        Ok(())
    }

    /// Stops a jail and waits until its bans are taken back.
    pub(super) fn stop_jail(&mut self, name: &str) -> Result<()> {
        let key = self.jail(name)?.key;
        self.begin_stop(key);
        self.pump_until(|core| !core.jails.iter().any(|jail| jail.key == key && jail.worker.is_some()));
        self.end_stop(key);
        Ok(())
    }

    /// Drops a jail that can't be set up. One that was running before a reload goes with its bans taken back.
    pub(super) fn abandon(&mut self, name: &str) {
        if self.jail(name).is_ok() {
            // Only this thread takes jails away, and it has just seen this one.
            let _ = self.stop_jail(name);
        }
    }

    /// Stops all jails beside each other.
    pub(super) fn stop_all_jails(&mut self) {
        self.log(Level::INFO, "server", "Stopping all jails");
        let keys: Vec<JailKey> = self.jails.iter().map(|jail| jail.key).collect();
        for key in &keys {
            self.begin_stop(*key);
        }
        self.pump_until(|core| core.jails.iter().all(|jail| jail.worker.is_none()));
        for key in keys {
            self.end_stop(key);
        }
    }

    fn begin_stop(&mut self, key: JailKey) {
        self.reader.stop(key);
        let Some(running) = self.by_key(key) else { return };
        let (name, started) = (running.jail.name().to_owned(), running.started);
        self.log(Level::DEBUG, "jail", format!("Stopping jail '{name}'"));
        if started {
            self.step(key, Event::Stop);
        } else if let Some(running) = self.by_key(key) {
            running.act(Act::Stop(Vec::new()));
        }
    }

    fn end_stop(&mut self, key: JailKey) {
        let Some(index) = self.jails.iter().position(|jail| jail.key == key) else { return };
        let name = self.jails.remove(index).jail.name().to_owned();
        self.log(Level::INFO, "jail", format!("Jail '{name}' stopped"));
        self.tell_database(Ask::DeleteJail(name));
    }

    /// Stops everything; the loop ends when the command that asked for it is answered.
    pub(super) fn quit(&mut self) {
        if self.quitting {
            return;
        }
        self.quitting = true;
        self.log(Level::INFO, "server", "Shutdown in progress...");
        self.stop_all_jails();
        if let Some(database) = self.database.take() {
            database.close();
        }
        self.log(Level::INFO, "server", "Exiting Fail2ban");
    }

    /// Opens a file for bans, or goes on without one.
    pub(super) fn set_database(&mut self, filename: &str) -> Result<()> {
        let none = filename.eq_ignore_ascii_case("none");
        match &self.database {
            Some(database) if database.filename == filename => return Ok(()),
            None if none => return Ok(()),
            _ => {}
        }
        if !self.jails.is_empty() {
            return Err(runtime_error("Cannot change database when there are jails present"));
        }
        if let Some(old) = self.database.take() {
            old.close();
        }
        if !none {
            let opened = Database::open(filename, &self.sender, &self.logger);
            let database = opened.map_err(|error| {
                let message =
                    format!("Error connecting to fail2ban persistent database '{filename}': {error}");
                self.log(Level::ERROR, "database", message);
                super::errors::operational_error(error.to_string())
            })?;
            self.database = Some(database);
        }
        self.reader.tell(Watch::Database(self.database.clone()));
        Ok(())
    }

    pub(super) fn flush_logs(&self) -> &'static str {
        let answer = self.logger.flush();
        let what = if answer == "flushed" { "flush" } else { "rollover" };
        self.log(Level::INFO, "server", format!("{what} performed on {}", self.logger.target()));
        answer
    }

    /// Marks the jails that a reload concerns; what it does not touch goes away at its end.
    pub(super) fn begin_reload(&mut self, name: &str, options: &[String]) -> Result<()> {
        let has = |option: &str| options.iter().any(|o| o == option);
        let all = name == "--all";
        if self.reloading.is_some() {
            return Err(value_error("Reload already in progress"));
        }
        let what = if all { "all jails".into() } else { format!("jail {name}") };
        self.log(Level::INFO, "server", format!("Reload {what}"));
        if !all && !has("--if-exists") {
            self.jail(name)?;
        }
        let concerned: Vec<String> = self.names().into_iter().filter(|n| all || n == name).collect();
        for name in &concerned {
            if has("--unban") {
                let (sender, receiver) = mpsc::sync_channel(1);
                self.unban(Some(name), None, false, Some(&sender))?;
                drop(sender);
                self.wait_for(&receiver)?;
            }
            if has("--restart") {
                self.stop_jail(name)?;
            }
        }
        let untouched: Vec<String> = concerned.into_iter().filter(|name| self.jail(name).is_ok()).collect();
        for name in &untouched {
            self.set_idle(name, true)?;
            self.jail(name)?.begin_reload();
        }
        self.reloading = Some(untouched);
        Ok(())
    }

    /// Drops the jails that the reload did not touch and what the others no longer have.
    pub(super) fn end_reload(&mut self) {
        let untouched = self.reloading.take().unwrap_or_default();
        for name in self.names() {
            if untouched.contains(&name) {
                // The jail was there a moment ago, and only this thread takes jails away.
                let _ = self.stop_jail(&name);
            } else if let Ok(running) = self.jail(&name) {
                running.end_reload();
            }
        }
        self.ship_changes();
        self.log(Level::INFO, "server", "Reload finished.");
    }

    /// Sends changed filters, files and actions to the threads that use them.
    pub(super) fn ship_changes(&mut self) {
        for running in self.jails.iter_mut().filter(|jail| jail.started) {
            running.ship(&self.reader);
        }
    }

    /// Looks up the host names that a jail ignores.
    pub(super) fn look_up_ignored(&mut self, name: &str) {
        if let Some(running) = self.jails.iter().find(|jail| jail.jail.name() == name && jail.started) {
            self.resolver.look_up(running.key, running.jail.ignore.names());
        }
    }
}

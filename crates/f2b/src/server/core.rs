//! The core thread: owns the jails, hears everything, decides, and waits for nobody.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::Duration;

use f2b_jail::{Asked, Effect, Event, Token};
use f2b_protocol::{Reply, Value};
use f2b_types::{Level, Log, Record, Ticket, Time};
use jiff::tz::TimeZone;

use super::database::{Ask, Database};
use super::errors::{runtime_error, unknown_jail, value_error};
use super::ignorer::Ignorer;
use super::ipv6::Ipv6;
use super::jails::Running;
use super::lists::Lists;
use super::patience::{Patience, Step};
use super::reader::{Reader, Watch};
use super::resolver::Resolver;
use super::transmitter::{self, Answer, Outcome, Result};
use super::worker::{Work, earlier_bans};
use super::{JailKey, Msg, Unbanning};
use crate::clock;
use crate::logging::ServerLog;

/// How often the host names that jails ignore are looked up anew, in seconds. The resolver keeps what it knows for longer;
/// this is how soon it is noticed that an answer has gone stale.
const LOOK_UP_INTERVAL: f64 = 30.0;

/// How many host names are looked up for one command that ends bans.
const MAX_NAMES: usize = 1000;

/// How often the database forgets what is too old, in seconds.
const PURGE_INTERVAL: f64 = 3600.0;

/// The server's state and the ways to its other threads.
pub(super) struct Core {
    pub(super) logger: Arc<ServerLog>,
    pub(super) zone: TimeZone,
    pub(super) database: Option<Database>,
    /// The name of one that could not be opened.
    missed_database: String,
    /// In the order in which they were added.
    pub(super) jails: Vec<Running>,
    pub(super) reader: Reader,
    pub(super) options: ServerOptions,
    pub(super) resolver: Resolver,
    pub(super) lists: Lists,
    pub(super) ipv6: Ipv6,
    pub(super) sender: Sender<Msg>,
    inbox: Receiver<Msg>,
    next_key: u64,
    next_token: u64,
    waiting: HashMap<u64, SyncSender<Reply>>,
    /// Commands that came while another one was under way.
    held: VecDeque<Msg>,
    busy: bool,
    /// Names of jails that a reload has not touched yet; `None` outside of a reload.
    pub(super) reloading: Option<Vec<String>>,
    next_purge: Time,
    next_look_up: Time,
    patience: Patience,
    pub(super) quitting: bool,
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
        let ipv6 = Ipv6::default();
        let resolver = Resolver::start(&sender, &logger, &ipv6)?;
        Ok(Self {
            reader: Reader::start(&sender, &resolver, &logger, zone.clone())?,
            resolver,
            ipv6,
            lists: Lists::start(&sender, &logger)?,
            next_purge: clock::now() + PURGE_INTERVAL,
            next_look_up: clock::now() + LOOK_UP_INTERVAL,
            patience: Patience::default(),
            logger,
            zone,
            options,
            inbox,
            sender,
            database: None,
            missed_database: String::new(),
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
                Some(msg) => self.hear(msg),
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
        let deadline = deadline.chain(self.patience.next_end()).chain([self.next_look_up]);
        let next = deadline.fold(self.next_purge, |first, time| if time < first { time } else { first });
        let wait = Duration::try_from_secs_f64((next - clock::now()).clamp(0.0, 3600.0)).unwrap_or_default();
        match self.inbox.recv_timeout(longest.map_or(wait, |longest| wait.min(longest))) {
            Ok(msg) => self.hear(msg),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.quitting = true,
        }
        self.meet_deadlines();
    }

    fn hear(&mut self, msg: Msg) {
        match msg {
            // Whoever asks may be an action for which the end of the server waits.
            Msg::Command { .. } | Msg::Unban { .. } if self.quitting => {}
            Msg::Command { .. } | Msg::Unban { .. } if self.busy => self.held.push_back(msg),
            Msg::Command { command, answer } => self.busily(|core| core.transmit(&command, answer)),
            Msg::Unban { unbanning, answer } => self.busily(|core| {
                let outcome = core.unban(unbanning, answer.as_ref());
                if let Some(answer) = answer {
                    transmitter::reply(outcome, &answer);
                }
            }),
            Msg::Found { jail, failure, uncounted } => {
                let asked = self.by_key(jail).map(|running| running.jail.questions().end);
                self.step(jail, Event::Found(failure));
                self.leave(jail);
                if let (Some(running), Some(asked)) = (self.by_key(jail), asked) {
                    running.keep_if_asked(asked, uncounted);
                }
            }
            Msg::Resolved { jail, name, addresses } => {
                if let Some(running) = self.by_key(jail) {
                    running.jail.ignore.resolved(&name, &addresses);
                }
            }
            Msg::Listed { jail, list, set } => {
                self.resolver.look_up(jail, set.names());
                if let Some(running) = self.by_key(jail) {
                    running.jail.ignore.listed(&list, set);
                }
            }
            Msg::Judged { jail, question, ignored, known } => {
                self.step(jail, Event::Judged { question, ignored, known });
                self.leave(jail);
            }
            Msg::Told { jail, asked, history } => {
                let in_time = match asked {
                    Asked::Ban(ban) => self.patience.end((jail, Step::History, ban)),
                    Asked::Failure { .. } => true,
                };
                if in_time {
                    self.step(jail, Event::Told(asked, history));
                    self.leave(jail);
                }
            }
            Msg::Remembered { jail, ban } => {
                if self.patience.end((jail, Step::Record, ban)) {
                    self.step(jail, Event::Remembered(ban));
                    self.leave(jail);
                }
            }
            Msg::Repaired { jail } => {
                if let Some(running) = self.by_key(jail) {
                    running.jail.was_repaired = true;
                }
            }
            Msg::ReadUpTo(position) => self.tell_database(position),
            Msg::Settled { jail } => {
                if let Some(running) = self.by_key(jail) {
                    running.awaits_reader = false;
                }
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

    /// Does what a client wants, while other clients wait.
    fn busily(&mut self, work: impl FnOnce(&mut Self)) {
        self.busy = true;
        work(self);
        self.ship_changes();
        self.busy = false;
    }

    fn signal(&mut self, signal: i32) {
        if signal == nix::sys::signal::Signal::SIGUSR1 as i32 {
            self.log(Level::DEBUG, "server", format!("Caught signal {signal}. Flushing logs"));
            self.flush_logs();
        } else {
            self.log(Level::DEBUG, "server", format!("Caught signal {signal}. Exiting"));
            // Nobody's command is carried out by a server that is about to go.
            self.busy = true;
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
        while let Some((key, event)) = self.patience.overdue(now) {
            self.step(key, event);
            self.leave(key);
        }
        if self.next_purge <= now {
            self.next_purge = now + PURGE_INTERVAL;
            self.tell_database(Ask::Purge);
        }
        if self.next_look_up <= now {
            self.next_look_up = now + LOOK_UP_INTERVAL;
            for running in self.jails.iter().filter(|jail| jail.started) {
                self.resolver.look_up(running.key, running.jail.ignore.names());
            }
        }
    }

    pub(super) fn by_key(&mut self, key: JailKey) -> Option<&mut Running> {
        self.jails.iter_mut().find(|jail| jail.key == key)
    }

    /// Tells the reader something that it answers with [`Msg::Settled`], and waits until what it had found before has been
    /// dealt with.
    pub(super) fn tell_and_wait(&mut self, key: JailKey, watch: Watch) {
        let Some(running) = self.by_key(key) else { return };
        running.awaits_reader = true;
        self.reader.tell(watch);
        self.pump_until(|core| !core.jails.iter().any(|jail| jail.key == key && jail.awaits_reader));
    }

    fn leave(&mut self, key: JailKey) {
        if let Some(jail) = self.by_key(key) {
            jail.backlog.leave();
        }
    }

    pub(super) fn jail(&mut self, name: &str) -> Result<&mut Running> {
        self.jails.iter_mut().find(|jail| jail.jail.name() == name).ok_or_else(|| unknown_jail(name))
    }

    /// Tells the database. Where there is none, or none any more, a jail gets its answer at once: it never waits for
    /// somebody who isn't there.
    pub(super) fn tell_database(&self, ask: Ask) {
        let unheard = match &self.database {
            Some(database) => database.tell(ask).err(),
            None => Some(ask),
        };
        let answer = match unheard {
            Some(Ask::History { key, asked, .. }) => Msg::Told { jail: key, asked, history: None },
            Some(Ask::Remember { key, ban, .. }) => Msg::Remembered { jail: key, ban },
            _ => return,
        };
        let _ = self.sender.send(answer);
    }

    /// Lets a jail take a step and carries out what it wants.
    pub(super) fn step(&mut self, key: JailKey, event: Event) {
        let Some(index) = self.jails.iter().position(|jail| jail.key == key) else { return };
        let effects = self.jails[index].jail.step(event, clock::now());
        for effect in effects {
            self.carry_out(index, effect);
        }
        self.jails[index].let_answered_go();
    }

    fn carry_out(&mut self, index: usize, effect: Effect) {
        let running = &self.jails[index];
        let (key, name) = (running.key, running.jail.name());
        match effect {
            Effect::Log(record) => self.logger.write(record),
            Effect::AskHistory { asked, id, overall } => {
                running.backlog.enter();
                if let Asked::Ban(ban) = asked {
                    self.patience.begin((key, Step::History, ban), clock::now());
                }
                let jail = name.to_owned();
                self.tell_database(Ask::History { key, jail, asked, id, overall });
            }
            Effect::AskCommand { question, ticket } => self.ask_command(index, question, ticket),
            Effect::Remember { ban, ticket } => {
                running.backlog.enter();
                self.patience.begin((key, Step::Record, ban), clock::now());
                let jail = name.to_owned();
                self.tell_database(Ask::Remember { key, jail, ban, ticket });
            }
            Effect::Forget(ids) => self.tell_database(Ask::Forget { jail: name.into(), ids }),
            Effect::Act(act) => running.act(act),
            Effect::Answer { token, result } => {
                let Some(answer) = self.waiting.remove(&token.0) else { return };
                let reply = match result {
                    Ok(count) => Ok(Value::Int(count)),
                    Err(message) => Err(value_error(message)),
                };
                running.send(Work::Answer { answer, reply, token });
            }
        }
    }

    /// Asks the command of `ignorecommand`; without a thread for it nobody is ignored.
    fn ask_command(&mut self, index: usize, number: u64, ticket: Box<Ticket>) {
        let running = &mut self.jails[index];
        let (key, name) = (running.key, running.jail.name());
        running.backlog.enter();
        if running.ignorer.is_none() {
            let earlier = self.database.as_ref().map(earlier_bans);
            match Ignorer::start(key, name, &self.sender, &self.logger, earlier) {
                Ok(ignorer) => running.ignorer = Some(ignorer),
                Err(error) => {
                    let message = format!("[{name}] ignorecommand can't be asked: {error}");
                    self.logger.write(Record::new(Level::ERROR, "filter", message));
                    let _ = self.sender.send(Msg::Judged {
                        jail: key,
                        question: number,
                        ignored: false,
                        known: false,
                    });
                    return;
                }
            }
        }
        let question = running.ignore_question(number, ticket);
        if let Some(ignorer) = &running.ignorer {
            ignorer.ask(question);
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

    /// Ends bans in one jail or in all of them, once the host names among them have been looked up.
    pub(super) fn find_and_unban(&mut self, unbanning: Unbanning, answer: Answer<'_>) -> Result<Outcome> {
        let is_concerned =
            |jail: &&Running| unbanning.jail.is_none() || unbanning.jail.as_deref() == Some(jail.jail.name());
        let ids = unbanning.ids.as_deref().unwrap_or_default();
        let jails = self.jails.iter().filter(is_concerned);
        let names: BTreeSet<Box<str>> =
            jails.flat_map(|jail| jail.jail.names_among(ids)).map(Box::from).take(MAX_NAMES).collect();
        if names.is_empty() {
            return self.unban(unbanning, answer);
        }
        let (sender, answer) = (self.sender.clone(), answer.cloned());
        self.resolver.find(names, move |names| {
            let _ = sender.send(Msg::Unban { unbanning: Unbanning { names, ..unbanning }, answer });
        });
        Ok(Outcome::Later)
    }

    /// Ends bans in one jail or in all of them.
    pub(super) fn unban(&mut self, unbanning: Unbanning, answer: Answer<'_>) -> Result<Outcome> {
        let Unbanning { jail, ids, names, report_absent } = unbanning;
        if let Some(name) = jail {
            let event = |token| Event::Unban { ids, names, report_absent, token };
            return self.step_with_answer(&name, answer, event);
        }
        let mut total = 0;
        for name in self.names() {
            let (sender, receiver) = mpsc::sync_channel(1);
            let (ids, names) = (ids.clone(), names.clone());
            let event = |token| Event::Unban { ids, names, report_absent, token };
            self.step_with_answer(&name, Some(&sender), event)?;
            drop(sender);
            total += self.wait_for(&receiver)?;
        }
        Ok(total.into())
    }

    /// Carries on until the number that a jail owes has come.
    pub(super) fn wait_for(&mut self, receiver: &Receiver<Reply>) -> Result<i64> {
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

    /// The key of a jail that is about to be added.
    pub(super) fn new_key(&mut self) -> JailKey {
        self.next_key += 1;
        JailKey(self.next_key)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.jails.iter().map(|jail| jail.jail.name().to_owned()).collect()
    }

    /// Opens a file for bans, or goes on without one.
    pub(super) fn set_database(&mut self, filename: &str) -> Result<()> {
        let none = filename.eq_ignore_ascii_case("none");
        match &self.database {
            Some(database) if database.filename == filename => return Ok(()),
            None if none => return Ok(()),
            _ => {}
        }
        if self.database.is_none() && !self.jails.is_empty() && self.missed_database == filename {
            // Jails that have begun without it go on without it; that is no reason to fail each reload.
            let message =
                format!("The database '{filename}' could not be opened; the next start tries again.");
            self.log(Level::WARNING, "database", message);
            return Ok(());
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
                self.missed_database = filename.into();
                super::errors::operational_error(error.to_string())
            })?;
            self.database = Some(database);
        }
        self.lists.keep_beside((!none).then_some(filename));
        Ok(())
    }

    pub(super) fn flush_logs(&self) -> &'static str {
        let answer = self.logger.flush();
        let what = if self.logger.is_file() { "rollover" } else { "flush" };
        self.log(Level::INFO, "server", format!("{what} performed on {}", self.logger.target()));
        answer
    }

    /// Sends changed filters, files and actions to the threads that use them.
    pub(super) fn ship_changes(&mut self) {
        for running in self.jails.iter_mut().filter(|jail| jail.started) {
            running.ship(&self.reader);
        }
    }

    /// Looks up the host names and reads the lists that a jail ignores.
    pub(super) fn look_up_ignored(&mut self, name: &str) {
        if let Some(running) = self.jails.iter().find(|jail| jail.jail.name() == name && jail.started) {
            self.resolver.look_up(running.key, running.jail.ignore.names());
            self.lists.watch(running.key, name, running.jail.ignore.lists());
        }
    }
}

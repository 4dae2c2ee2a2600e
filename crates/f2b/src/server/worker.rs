//! The thread that runs the actions of one jail, in order.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use f2b_action::{Actions, Context, EarlierBans, JailCounts, Orders, Outside, Shell, SystemNames};
use f2b_jail::{Act, Token};
use f2b_protocol::{Command, Exception, Reply, Value};
use f2b_types::{FailData, Id, Level, Log, Record, Ticket};

use super::agenda::Agenda;
use super::database::{Ask, Database};
use super::errors::shown;
use super::ipv6::Ipv6;
use super::{Backlog, JailKey, Msg};
use crate::clock;
use crate::logging::ServerLog;

/// What a worker is told.
pub(super) enum Work {
    /// Go by this from now on.
    Ipv6(Ipv6),
    /// Start the actions.
    Start,
    /// Ban, unban, stop. [`Act::Stop`] is the last thing that a worker does.
    Act(Deed),
    /// A ban is over that has never begun: there is nothing to do but to say so, in this word.
    Undone { id: Id, word: &'static str },
    /// Everything before this is done: the answer may go out, with the bans counted in that were repeated for it.
    Answer { answer: SyncSender<Reply>, reply: Reply, token: Token },
    /// Change the actions, and answer if somebody waits.
    Change { change: Change, answer: Option<SyncSender<Reply>> },
    /// Properties are about to be set anew.
    BeginReload,
    /// Properties have been set anew: reload the actions, and take these bans back in those that are no longer there.
    EndReload { tickets: Vec<Ticket>, answer: Option<Arc<LastAnswer>> },
}

/// Something for the actions to do.
pub(super) struct Deed {
    pub(super) act: Act,
    /// The ban time of the jail at that moment, and its numbers.
    pub(super) ban_time: f64,
    pub(super) counts: JailCounts,
    /// To be left when it is done.
    pub(super) backlog: Backlog,
}

impl Deed {
    /// Whether somebody waits for it.
    pub(super) fn is_urgent(&self) -> bool {
        matches!(self.act, Act::Unban { by_hand: true, .. } | Act::Flush(_) | Act::Stop(_))
    }

    /// Whether it closes the bans of this command.
    pub(super) fn counts_for(&self, command: Token) -> bool {
        matches!(self.act, Act::Banned { token: Some(token), .. } if token == command)
    }
}

/// An answer to a client that goes out when nobody holds it any more.
#[derive(Debug)]
pub(super) struct LastAnswer {
    answer: SyncSender<Reply>,
    reply: Mutex<Reply>,
}

impl LastAnswer {
    pub(super) fn new(answer: &SyncSender<Reply>, reply: Reply) -> Self {
        Self { answer: answer.clone(), reply: Mutex::new(reply) }
    }

    /// Makes an error of it, unless it is one already.
    fn fail(&self, exception: Exception) {
        let mut reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner);
        if reply.is_ok() {
            *reply = Err(exception);
        }
    }
}

impl Drop for LastAnswer {
    fn drop(&mut self) {
        let reply = self.reply.get_mut().unwrap_or_else(PoisonError::into_inner);
        // A client that has gone away does not get it.
        let _ = self.answer.send(std::mem::replace(reply, Ok(Value::None)));
    }
}

/// A change of the actions, or a question about them.
pub(super) enum Change {
    Add(String),
    /// A name, and options in JSON.
    AddMail(String, String),
    /// A name, a file, and arguments in JSON.
    AddPython(String, String, String),
    Delete(String),
    Set {
        action: String,
        properties: Vec<(String, Value)>,
    },
    /// Call a method, or set a property.
    Tell {
        action: String,
        name: String,
        value: Option<Value>,
    },
    /// The command is wrong in this way, once it is sure that there is such an action.
    Refuse {
        action: String,
        exception: Exception,
    },
    Names,
    Get {
        action: String,
        property: String,
    },
    Properties(String),
    Methods(String),
}

/// The way to a worker. A channel keeps room for some thirty messages, in each jail, hence the boxes.
#[derive(Debug)]
pub(super) struct Worker {
    works: Sender<Box<Work>>,
}

impl Worker {
    /// Starts the thread of a jail.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub(super) fn start(
        key: JailKey,
        name: &str,
        core: &Sender<Msg>,
        log: &Arc<ServerLog>,
        database: Option<&Database>,
    ) -> io::Result<Self> {
        let (works, inbox) = mpsc::channel();
        let thread = Box::new(Actor {
            key,
            name: name.into(),
            actions: Actions::new(name),
            core: core.clone(),
            log: Arc::clone(log),
            earlier: database.map(|database| Earlier(database.clone())),
            names: SystemNames::default(),
            ipv6: Ipv6::default(),
            ban_time: 600.0,
            counts: JailCounts::default(),
            repeated: HashMap::new(),
            unsaid: 0,
        });
        thread::Builder::new().name(super::thread_name('a', name)).spawn(move || thread.run(&inbox))?;
        Ok(Self { works })
    }

    pub(super) fn send(&self, work: Work) {
        // A worker ends only after the core has told it to, and the core tells it nothing more.
        let _ = self.works.send(Box::new(work));
    }
}

/// Tells the core that the worker has gone, whatever ended it: a jail that stops waits for this.
struct Farewell {
    jail: JailKey,
    core: Sender<Msg>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let _ = self.core.send(Msg::Stopped { jail: self.jail });
    }
}

struct Actor {
    key: JailKey,
    name: String,
    actions: Actions,
    core: Sender<Msg>,
    log: Arc<ServerLog>,
    earlier: Option<Earlier>,
    names: SystemNames,
    ipv6: Ipv6,
    ban_time: f64,
    counts: JailCounts,
    /// How many bans were repeated for a command that has not been answered yet.
    repeated: HashMap<Token, i64>,
    /// How many bans have been carried out since the log told how many there are.
    unsaid: i64,
}

impl Actor {
    fn run(mut self: Box<Self>, inbox: &Receiver<Box<Work>>) {
        let _farewell = Farewell { jail: self.key, core: self.core.clone() };
        let mut agenda = Agenda::default();
        while let Some(work) = self.next(&mut agenda, inbox) {
            match work {
                Work::Ipv6(ipv6) => self.ipv6 = ipv6,
                Work::Start => self.with(|actions, context| actions.start(context)),
                Work::Undone { id, word } => {
                    let message = format!("[{}] {word} {id}", self.name);
                    self.log.write(Record::new(Level::NOTICE, "actions", message));
                }
                Work::Act(Deed { act: Act::Banned { count, token: None }, backlog, .. }) => {
                    self.unsaid += count;
                    backlog.leave();
                }
                Work::Act(Deed { act, ban_time, counts, backlog }) => {
                    (self.ban_time, self.counts) = (ban_time, counts);
                    let last = matches!(act, Act::Stop(_));
                    self.act(act);
                    backlog.leave();
                    if last {
                        return;
                    }
                }
                Work::Answer { answer, reply, token } => {
                    let repeated = self.repeated.remove(&token).unwrap_or(0);
                    let reply = reply.map(|value| match value {
                        Value::Int(count) => Value::Int(count + repeated),
                        other => other,
                    });
                    drop(answer.send(reply));
                }
                Work::Change { change, answer } => {
                    let added = self.added(&change);
                    let reply = self.change(change);
                    match (answer, reply) {
                        (Some(answer), reply) => drop(answer.send(reply)),
                        (None, Ok(_)) => {}
                        // Nobody waits, so that the log is the place to say it.
                        (None, Err(exception)) => {
                            let message = match added {
                                Some(command) => {
                                    format!("Command {command} has failed. Received {}", shown(&exception))
                                }
                                None => format!("Jail '{}': {exception}", self.name),
                            };
                            self.log.write(Record::new(Level::ERROR, "transmitter", message));
                        }
                    }
                }
                Work::BeginReload => self.actions.begin_reload(),
                Work::EndReload { tickets, answer } => {
                    let result = self.with(|actions, context| actions.end_reload(&tickets, context));
                    if let Err(error) = result {
                        self.log.write(Record::new(Level::ERROR, "action", error.to_string()));
                        if let Some(answer) = &answer {
                            answer.fail(error.to_exception());
                        }
                    }
                    drop(answer);
                }
            }
        }
    }

    /// The command behind an action that is written in Python, since much can be wrong with it.
    fn added(&self, change: &Change) -> Option<Command> {
        let Change::AddPython(name, file, options) = change else { return None };
        Some(Command::words(["set", &self.name, "addaction", name, file, options]))
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Verify { ticket, check, token } => {
                if self.with(|actions, context| actions.verify(&ticket, check, context)) {
                    match token {
                        Some(token) => *self.repeated.entry(token).or_default() += 1,
                        None => self.unsaid += 1,
                    }
                }
            }
            Act::Banned { count, token } => {
                let repeated = token.and_then(|token| self.repeated.get(&token)).copied().unwrap_or(0);
                self.log_banned(count + repeated);
            }
            Act::Unbanned(count) => {
                let (left, jail) = (self.counts.banned, Value::from(self.name.as_str()));
                self.debug(|| format!("Unbanned {count}, {left} ticket(s) in {jail}"));
            }
            act => self.run_actions(act),
        }
    }

    /// The next thing to do; nothing when nobody is left to send any. When the bans that have come so far are all carried
    /// out, the log gets to know it.
    fn next(&mut self, agenda: &mut Agenda, inbox: &Receiver<Box<Work>>) -> Option<Work> {
        inbox.try_iter().for_each(|work| agenda.add(*work));
        if !agenda.has_bans() {
            let count = std::mem::take(&mut self.unsaid);
            self.log_banned(count);
        }
        agenda.next().or_else(|| inbox.recv().ok().map(|work| *work))
    }

    fn log_banned(&self, count: i64) {
        let JailCounts { banned, banned_total, .. } = self.counts;
        if count > 0 {
            let jail = Value::from(self.name.as_str());
            self.debug(|| format!("Banned {count} / {banned_total}, {banned} ticket(s) in {jail}"));
        }
    }

    fn debug(&self, text: impl FnOnce() -> String) {
        if self.log.enabled(Level::DEBUG) {
            self.log.write(Record::new(Level::DEBUG, "actions", text()));
        }
    }

    fn run_actions(&mut self, act: Act) {
        self.with(|actions, context| match act {
            Act::Verify { .. } | Act::Banned { .. } | Act::Unbanned(_) => {}
            Act::Ban { ticket, .. } => actions.ban(&ticket, context),
            Act::Prolong(ticket) => actions.prolong(&ticket, context),
            Act::Unban { ticket, .. } => actions.unban(&ticket, context),
            Act::Flush(tickets) => actions.flush(&tickets, context),
            Act::Stop(tickets) => actions.stop(&tickets, context),
        });
    }

    fn change(&mut self, change: Change) -> Reply {
        let mut refusal = None;
        let outside = self.outside();
        let result = self.with(|actions, context| match change {
            Change::Add(name) => actions.add(&name, context).map(|()| name.into()),
            Change::AddMail(name, options) => actions.add_mail(&name, &options).map(|()| name.into()),
            Change::AddPython(name, file, options) => {
                actions.add_python(&name, (&file, &options), &outside, context).map(|()| name.into())
            }
            Change::Delete(name) => actions.delete(&name).map(|()| Value::None),
            Change::Set { action, properties } => {
                for (property, value) in properties {
                    actions.tell(&action, &property, Some(value), context)?;
                }
                Ok(Value::Bool(true))
            }
            Change::Tell { action, name, value } => actions.tell(&action, &name, value, context),
            Change::Refuse { action, exception } => {
                actions.find(&action)?;
                refusal = Some(exception);
                Ok(Value::None)
            }
            Change::Names => Ok(Value::strings(actions.names())),
            Change::Get { action, property } => actions.property(&action, &property, context),
            Change::Properties(action) => actions.properties(&action, context).map(Value::strings),
            Change::Methods(action) => actions.methods(&action, context).map(Value::strings),
        });
        match (result, refusal) {
            (Err(error), _) => Err(error.to_exception()),
            (Ok(_), Some(exception)) => Err(exception),
            (Ok(value), None) => Ok(value),
        }
    }

    /// Whom an action written in Python reaches.
    fn outside(&self) -> Outside {
        let orders = JailOrders { jail: self.name.clone(), core: self.core.clone() };
        Outside { log: Arc::<ServerLog>::clone(&self.log), orders: Arc::new(orders) }
    }

    /// Does something with the actions in the surroundings of this moment.
    fn with<T>(&mut self, what: impl FnOnce(&mut Actions, &Context<'_>) -> T) -> T {
        let context = Context {
            now: clock::now(),
            ban_time: self.ban_time,
            counts: self.counts,
            ipv6: self.ipv6.is_allowed(),
            shell: &Shell,
            names: &self.names,
            earlier: self.earlier.as_ref().map(|earlier| earlier as &dyn EarlierBans),
            log: &*self.log,
        };
        let epoch = self.actions.epoch();
        let result = what(&mut self.actions, &context);
        if self.actions.epoch() > epoch {
            // The core is told before whoever waits for these actions gets an answer.
            let _ = self.core.send(Msg::Repaired { jail: self.key });
        }
        result
    }
}

/// Bans and unbans as a client would, whose answer nobody hears.
struct JailOrders {
    jail: String,
    core: Sender<Msg>,
}

impl JailOrders {
    fn send(&self, what: &str, ids: &[Id]) {
        let words = ["set", &self.jail, what].into_iter().map(str::to_owned);
        let command = Command::words(words.chain(ids.iter().map(Id::to_string)));
        let (answer, _) = mpsc::sync_channel(1);
        let _ = self.core.send(Msg::Command { command, answer });
    }
}

impl Orders for JailOrders {
    fn ban(&self, ids: Vec<Id>) {
        self.send("banip", &ids);
    }

    fn unban(&self, ids: Vec<Id>) {
        self.send("unbanip", &ids);
    }
}

/// Who asks the database thread for earlier bans.
pub(super) fn earlier_bans(database: &Database) -> Box<dyn EarlierBans + Send> {
    Box::new(Earlier(database.clone()))
}

/// Earlier bans, asked of the database thread.
#[derive(Debug)]
struct Earlier(Database);

impl EarlierBans for Earlier {
    fn merged(&self, ip: &Id, jail: Option<&str>) -> Result<Option<FailData>, String> {
        let (ip, jail) = (ip.clone(), jail.map(str::to_owned));
        match self.0.ask(|answer| Ask::Merged { ip, jail, answer }) {
            Some(result) => result,
            None => Err("the database is closed".into()),
        }
    }
}

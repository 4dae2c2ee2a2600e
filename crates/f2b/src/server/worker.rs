//! The thread that runs the actions of one jail, in order.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use f2b_action::{Actions, Context, EarlierBans, JailCounts, Shell, SystemNames};
use f2b_jail::Act;
use f2b_protocol::{Exception, Reply, Value};
use f2b_types::{FailData, Id, Level, Log, Record, Ticket};

use super::database::{Ask, Database};
use super::{Backlog, JailKey, Msg};
use crate::clock;
use crate::logging::ServerLog;

/// What a worker is told.
pub(super) enum Work {
    /// Start the actions.
    Start,
    /// Ban, unban, stop. [`Act::Stop`] is the last thing that a worker does.
    Act { act: Act, ban_time: f64, counts: JailCounts, backlog: Backlog },
    /// Everything before this is done: the answer may go out.
    Answer { answer: SyncSender<Reply>, reply: Reply },
    /// Change the actions, and answer if somebody waits.
    Change { change: Change, answer: Option<SyncSender<Reply>> },
    /// Properties are about to be set anew.
    BeginReload,
    /// Properties have been set anew: reload the actions, and take these bans back in those that are no longer there.
    EndReload { tickets: Vec<Ticket> },
}

/// A change of the actions, or a question about them.
pub(super) enum Change {
    Add(String),
    /// A name, and options in JSON.
    AddMail(String, String),
    Delete(String),
    Set {
        action: String,
        properties: Vec<(String, Value)>,
    },
    SetOne {
        action: String,
        property: String,
        value: Value,
    },
    Call {
        action: String,
        method: String,
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

/// The way to a worker.
#[derive(Debug)]
pub(super) struct Worker {
    works: Sender<Work>,
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
        let thread = Actor {
            key,
            name: name.into(),
            actions: Actions::new(name),
            core: core.clone(),
            log: Arc::clone(log),
            earlier: database.map(|database| Earlier(database.clone())),
            names: SystemNames::default(),
            ban_time: 600.0,
            counts: JailCounts::default(),
        };
        thread::Builder::new().name(format!("f2b/a.{name}")).spawn(move || thread.run(&inbox))?;
        Ok(Self { works })
    }

    pub(super) fn send(&self, work: Work) {
        // A worker ends only after the core has told it to, and the core tells it nothing more.
        let _ = self.works.send(work);
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
    ban_time: f64,
    counts: JailCounts,
}

impl Actor {
    fn run(mut self, inbox: &Receiver<Work>) {
        let _farewell = Farewell { jail: self.key, core: self.core.clone() };
        while let Ok(work) = inbox.recv() {
            match work {
                Work::Start => self.with(|actions, context| actions.start(context)),
                Work::Act { act, ban_time, counts, backlog } => {
                    (self.ban_time, self.counts) = (ban_time, counts);
                    let last = matches!(act, Act::Stop(_));
                    self.act(act);
                    backlog.leave();
                    if last {
                        return;
                    }
                }
                Work::Answer { answer, reply } => drop(answer.send(reply)),
                Work::Change { change, answer } => {
                    let reply = self.change(change);
                    match (answer, reply) {
                        (Some(answer), reply) => drop(answer.send(reply)),
                        (None, Ok(_)) => {}
                        // Nobody waits, so that the log is the place to say it.
                        (None, Err(exception)) => {
                            let message = format!("Jail '{}': {exception}", self.name);
                            self.log.write(Record::new(Level::ERROR, "transmitter", message));
                        }
                    }
                }
                Work::BeginReload => self.actions.begin_reload(),
                Work::EndReload { tickets } => {
                    let result = self.with(|actions, context| actions.end_reload(&tickets, context));
                    if let Err(error) = result {
                        self.log.write(Record::new(Level::ERROR, "action", error.to_string()));
                    }
                }
            }
        }
    }

    fn act(&mut self, act: Act) {
        self.with(|actions, context| match act {
            Act::Ban(ticket) => actions.ban(&ticket, context),
            Act::Verify { ticket, check } => drop(actions.verify(&ticket, check, context)),
            Act::Prolong(ticket) => actions.prolong(&ticket, context),
            Act::Unban(ticket) => actions.unban(&ticket, context),
            Act::Flush(tickets) => actions.flush(&tickets, context),
            Act::Stop(tickets) => actions.stop(&tickets, context),
        });
    }

    fn change(&mut self, change: Change) -> Reply {
        let mut refusal = None;
        let result = self.with(|actions, context| match change {
            Change::Add(name) => actions.add(&name, context).map(|()| name.into()),
            Change::AddMail(name, options) => actions.add_mail(&name, &options).map(|()| name.into()),
            Change::Delete(name) => actions.delete(&name).map(|()| Value::None),
            Change::Set { action, properties } => {
                for (property, value) in properties {
                    actions.set(&action, &property, value, context)?;
                }
                Ok(Value::Bool(true))
            }
            Change::SetOne { action, property, value } => {
                actions.set(&action, &property, value, context)?;
                actions.get(&action)?.get(&property)
            }
            Change::Call { action, method } => {
                actions.call(&action, &method, context).map(|()| Value::Bool(true))
            }
            Change::Refuse { action, exception } => {
                actions.get(&action)?;
                refusal = Some(exception);
                Ok(Value::None)
            }
            Change::Names => Ok(Value::strings(actions.names())),
            Change::Get { action, property } => actions.get(&action)?.get(&property),
            Change::Properties(action) => Ok(Value::strings(actions.get(&action)?.properties())),
            Change::Methods(action) => Ok(Value::strings(actions.get(&action)?.methods().iter().copied())),
        });
        match (result, refusal) {
            (Err(error), _) => Err(error.to_exception()),
            (Ok(_), Some(exception)) => Err(exception),
            (Ok(value), None) => Ok(value),
        }
    }

    /// Does something with the actions in the surroundings of this moment.
    fn with<T>(&mut self, what: impl FnOnce(&mut Actions, &Context<'_>) -> T) -> T {
        let context = Context {
            now: clock::now(),
            ban_time: self.ban_time,
            counts: self.counts,
            ipv6: true,
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
